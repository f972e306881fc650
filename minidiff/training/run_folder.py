"""Run folder: log and checkpoints of a training run, and resuming it."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from minidiff.files.atomic import sync, write_text
from minidiff.files.checks import shown
from minidiff.files.difference import difference
from minidiff.files.lock import Lock
from minidiff.files.tensors import check_tensors
from minidiff.nn.model import DecoderLM
from minidiff.nn.wrappers import named_weights
from minidiff.training.checkpoint import (
    FILE_NAME,
    PREVIOUS_NAME,
    Checkpoint,
    load_checkpoint,
    restore_weights,
    save_checkpoint,
)
from minidiff.training.distributed import like, together, world
from minidiff.training.log_file import LOG_NAME, lines_of, read_records

LOCK_NAME = "run.lock"


class Run:
    """Writer and reader of a run's folder; a run may be killed at any time.

    Each step is logged before a checkpoint includes it, and checkpoints are
    written atomically. So the log always has at least the checkpoint's steps,
    and resuming deletes the lines of later steps. The previous checkpoint is
    kept as well, in case the last one gets damaged on disk.

    With several processes each creates a Run and makes the same calls. The
    first process writes; all processes read from the same folder.

    From ``begin`` or ``resume`` until ``close`` no other program can write
    the run: it is refused by name. Use it as a context manager to close it.
    """

    def __init__(
        self,
        folder: Path,
        model: DecoderLM,
        optimizer: torch.optim.Optimizer,
        settings: Mapping[str, Any],
    ) -> None:
        self._folder, self._model = folder, model
        self._first = world().first
        self._optimizer = optimizer
        self._settings = _as_saved(settings)
        self._checkpoint_path = folder / FILE_NAME
        self._log_path = folder / LOG_NAME
        self._saved = 0  # steps in the last good checkpoint
        self._lock: Lock | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the run."""
        self.close()

    def close(self) -> None:
        """Let other programs write the run."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def begin(self) -> list[dict[str, Any]]:
        """Start a new run; return an empty log.

        Raises ValueError if the folder already has a run, or another program
        writes one there.
        """
        with self._closed_after_errors():
            with together():
                if self._first:
                    self._make_folder()
            # So that a run killed in its first steps can be resumed too.
            self.checkpoint(0)
        return []

    def resume(self) -> list[dict[str, Any]]:
        """Restore the last checkpoint and return the log up to its step.

        In a folder without checkpoint and log, start a new run. Raises
        ValueError if the folder is missing, the run's settings differ from
        the given ones, a file is damaged, or another program writes the run.
        """
        if not self._folder.is_dir():
            raise ValueError(
                f"run_dir: got {self._folder}, expected the folder of a run "
                "to resume"
            )
        with self._closed_after_errors():
            with together():
                if self._first:
                    self._hold()
            return self._resume()

    def _resume(self) -> list[dict[str, Any]]:
        path = self._checkpoint_path
        previous = path.with_name(PREVIOUS_NAME)
        with together():
            if self._first and not path.exists() and previous.exists():
                # The run was killed between two renames: restore the name.
                os.replace(previous, path)
        if not path.exists():
            self._check_no_log()
            # The run was killed before its first checkpoint: start again.
            self.checkpoint(0)
            return []
        checkpoint = self._load()
        _compare(
            path,
            "model",
            checkpoint.config.to_dict(),
            self._model.config.to_dict(),
        )
        for name, settings in self._settings.items():
            _compare(path, name, checkpoint.train.get(name, {}), settings)
        step = checkpoint.train.get("step")
        if step is None:
            raise ValueError(
                f"{path}: train.step: missing, expected the checkpoint of a "
                "run, not of a model alone"
            )
        restore_weights(self._model, checkpoint, path)
        self._saved = step
        if step > 0:
            self._restore_optimizer(checkpoint.optimizer)
        return self._cut_log(step)

    def log(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Append a line for each record to the log file.

        The lines are kept if the process is killed afterwards. Raises
        OSError, naming the checkpoint to resume from, if writing fails.
        """
        with together():
            if self._first:
                self._append(lines_of(records))

    def checkpoint(self, step: int) -> None:
        """Write weights, optimiser state and settings after ``step`` steps.

        Raises OSError, naming the checkpoint to resume from, if writing
        fails.
        """
        with together():
            if self._first and self._log_path.exists():
                sync(self._log_path)
        with together():
            try:
                save_checkpoint(
                    self._checkpoint_path,
                    self._model,
                    self._optimizer_tensors(),
                    {**self._place(step), **self._settings},
                )
            except OSError as error:
                raise self._lost(str(error)) from error
        self._saved = step

    def _place(self, step: int) -> dict[str, int]:
        """Return the steps done and the rows of the data stream read."""
        rows = step * self._settings["config"]["batch_size"]
        return {"step": step, "rows": rows}

    def _append(self, lines: str) -> None:
        try:
            with self._log_path.open("a", encoding="utf-8") as file:
                file.write(lines)
        except OSError as error:
            text = f"{self._log_path}: could not be written ({error.strerror})"
            raise self._lost(text) from error

    def _lost(self, text: str) -> OSError:
        return OSError(
            f"{text}; the checkpoint of step {self._saved} is whole: make "
            "room, then resume the run"
        )

    def _load(self) -> Checkpoint:
        """Read the checkpoint.

        If it is damaged, the ValueError names the previous one if that is
        good.
        """
        path = self._checkpoint_path
        try:
            return load_checkpoint(path)
        except ValueError as error:
            previous = path.with_name(PREVIOUS_NAME)
            try:
                step = load_checkpoint(previous).train["step"]
            except (ValueError, KeyError):
                raise error from None
            raise ValueError(
                f"{error}; the one before it, {PREVIOUS_NAME} is whole, of "
                f"step {step}: rename it to {FILE_NAME} and resume"
            ) from error

    def _check_no_log(self) -> None:
        if self._log_path.exists():
            raise ValueError(
                f"run_dir: {self._folder} has a log but no "
                f"{FILE_NAME}, expected both"
            )

    def _make_folder(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._hold()
        for name in (FILE_NAME, PREVIOUS_NAME, LOG_NAME):
            if os.path.lexists(self._folder / name):
                raise ValueError(
                    f"run_dir: {self._folder} already holds a run ({name}), "
                    "expected resume=True or another folder"
                )

    def _hold(self) -> None:
        if self._lock is None:
            what = f"run_dir: {self._folder}"
            self._lock = Lock(self._folder / LOCK_NAME, what)

    @contextmanager
    def _closed_after_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        return {
            f"{name}.{key}": value
            for name, parameter in named_weights(self._model).items()
            for key, value in self._optimizer.state[parameter].items()
        }

    def _restore_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        # A parameter that had no gradient yet has no state: it is frozen, or
        # does not take part.
        stated = {name.rpartition(".")[0] for name in tensors}
        weights = {
            name: parameter
            for name, parameter in named_weights(self._model).items()
            if name in stated
        }
        expected = {}
        for name, parameter in weights.items():
            expected[f"{name}.step"] = torch.zeros(())
            expected[f"{name}.exp_avg"] = parameter
            expected[f"{name}.exp_avg_sq"] = parameter
        check_tensors(
            self._checkpoint_path, "optimizer.", dict(tensors), expected
        )
        fused = self._optimizer.defaults["fused"]
        for name, parameter in weights.items():
            counter = tensors[f"{name}.step"].clone()
            self._optimizer.state[parameter] = {
                # The fused update kernel reads the counter on the device.
                "step": counter.to(parameter.device) if fused else counter,
                "exp_avg": like(tensors[f"{name}.exp_avg"], parameter),
                "exp_avg_sq": like(tensors[f"{name}.exp_avg_sq"], parameter),
            }

    def _cut_log(self, steps: int) -> list[dict[str, Any]]:
        """Delete lines logged after the checkpoint; return the others.

        An incomplete last line is among those that are deleted.
        """
        expected = (
            f"{self._log_path}: expected the {steps} steps of the checkpoint "
            "beside it, one a line"
        )
        records: list[dict[str, Any]] = []
        if os.path.lexists(self._log_path):
            try:
                records = read_records(self._log_path, steps)
            except ValueError as error:
                raise ValueError(f"{expected} ({error})") from error
        count = len(records)
        if count < steps or [r["step"] for r in records] != list(range(count)):
            raise ValueError(expected)
        if self._first:
            write_text(self._log_path, lines_of(records))
        return records


def _as_saved(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as a file gives them back: tuples become lists.

    Raises ValueError if a file cannot hold them.
    """
    found: dict[str, Any] = {}
    for name, values in settings.items():
        try:
            found[name] = json.loads(json.dumps(values, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"{name}: its description is not JSON ({error}), expected "
                "strings, finite numbers, true, false, null, lists and dicts"
            ) from error
    return found


def _compare(
    path: Path, name: str, saved: Mapping[str, Any], given: Mapping[str, Any]
) -> None:
    """Raise ValueError naming the first setting that differs, if any."""
    # A setting that an older run does not have counts as None.
    before, now = (
        {key: settings.get(key) for key in saved.keys() | given.keys()}
        for settings in (saved, given)
    )
    found = difference(before, now)
    if found is not None:
        raise ValueError(
            f"{name}{found.path}: got {shown(found.second)}, expected "
            f"{shown(found.first)} as in the run to resume ({path})"
        )
