"""Outcome of an answer for one case: its results, and what it returned."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np

from minidiff.check.compare import Part, kinds_in, part_of, unchanged


class ArgumentChangedError(Exception):
    """Raised if an answer changed one of its arguments."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The results of an answer for one case.

    ``returned`` says what the answer itself returned, before
    ``Exercise.run`` made results of it. ``listed`` is True if the results
    came as a list, where several results are a tuple.
    """

    parts: list[Part]
    returned: set[str]
    listed: bool


def outcome_of(
    run: Callable[..., Any],
    answer: Callable[..., Any],
    args: tuple[Any, ...],
) -> Outcome | None:
    """Return the outcome of ``run(answer, *args)``; None if it is None.

    Raises what the answer raises, and ArgumentChangedError.
    """
    given = copy.deepcopy(args)
    returned: set[str] = set()
    with np.errstate(all="ignore"):
        out = run(_noting(answer, returned), *given)
    if out is None:
        return None
    parts = out if isinstance(out, tuple) else (out,)
    found = Outcome(
        parts=[part_of(part) for part in parts],
        returned=returned,
        listed=isinstance(out, list),
    )
    if not unchanged(given, args):
        raise ArgumentChangedError("your function changed an argument")
    return found


def _noting(answer: Callable[..., Any], returned: set[str]) -> Any:
    """Return a function that notes the kinds of what ``answer`` returns.

    Kernels and classes are returned as they are, because they are launched
    and built, not called.
    """
    if isinstance(answer, type) or hasattr(answer, "arg_names"):
        return answer

    @wraps(answer)
    def noted(*args: Any, **kwargs: Any) -> Any:
        out = answer(*args, **kwargs)
        returned.update(kinds_in(out))
        return out

    return noted
