"""Log of a training in the format of TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from minidiff.files.extras import need

FOLDER = "tensorboard"
TAGS = {
    "loss": "loss/train",
    "valid_loss": "loss/validation",
    "valid_accuracy": "accuracy/validation",
    "lr": "training/learning_rate",
    "grad_norm": "training/gradient_norm",
}


def need_library() -> None:
    """Raise MissingPackageError if tensorboardX is not installed."""
    need("tensorboardX", "tensorboard=True")


class TensorBoard:
    """Writes records as scalars into a run's folder, from ``step`` on.

    What an earlier part of the run had written of later steps counts no more.
    """

    def __init__(self, run_dir: Path, step: int) -> None:
        from tensorboardX import SummaryWriter

        # Files are named by the second: a suffix keeps two of one apart.
        self._writer = SummaryWriter(
            str(run_dir / FOLDER),
            purge_step=step or None,
            filename_suffix=f".{step}",
        )

    def add(self, record: Mapping[str, Any]) -> None:
        """Write what a record measured."""
        for key, tag in TAGS.items():
            if key in record:
                self._writer.add_scalar(tag, record[key], record["step"])

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is left."""
        self._writer.close()
