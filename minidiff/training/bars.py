"""Progress bars of trainings, with kind and seed; widgets in notebooks."""

from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm

from minidiff.data.protocol import DataSource


def progress_bar(
    name: str,
    data: Iterable[DataSource],
    steps: int,
    *,
    shown: bool,
    done: int = 0,
) -> Any:
    """Return a bar for so many steps, of which ``done`` were made before.

    Its label is ``name`` and the seeds of the data. If it is to be shown, the
    environment variable TQDM_DISABLE can still hide it.
    """
    hidden = {} if shown else {"disable": True}
    label = _label(name, data)
    return tqdm(total=steps, initial=done, desc=label, unit="step", **hidden)


def _label(name: str, data: Iterable[DataSource]) -> str:
    """Return a label such as "diff, seed 3" or "3 x diff, seeds 1, 5"."""
    seeds = {source.seed for source in data if hasattr(source, "seed")}
    if not seeds:
        return name
    word = "seed" if len(seeds) == 1 else "seeds"
    return f"{name}, {word} {', '.join(map(str, sorted(seeds)))}"
