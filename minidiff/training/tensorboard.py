"""Training log in TensorBoard's format."""

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
    """Writer of records as scalars into a run's folder, from ``step`` on.

    When a run is resumed, TensorBoard ignores what was written for ``step``
    and later steps before.
    """

    def __init__(self, run_dir: Path, step: int) -> None:
        from tensorboardX import SummaryWriter

        # File names contain the time in seconds; the suffix distinguishes two
        # files of the same second.
        self._writer = SummaryWriter(
            str(run_dir / FOLDER),
            purge_step=step or None,
            filename_suffix=f".{step}",
        )

    def add(self, record: Mapping[str, Any]) -> None:
        """Write a record's measurements, those named in TAGS."""
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
        """Write pending records and close the file."""
        self._writer.close()
