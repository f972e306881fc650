"""Run folder: log and checkpoints of a training run, and resuming it."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minidiff.files.atomic import sync, write_text
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

LOG_NAME = "log.jsonl"


class Run:
    """Writer and reader of a run's folder; a run may be killed at any time.

    Each step is logged before a checkpoint includes it, and checkpoints are
    written atomically. So the log always has at least the checkpoint's steps,
    and resuming deletes the lines of later steps. The previous checkpoint is
    kept as well, in case the last one gets damaged on disk.

    With several processes each creates a Run and makes the same calls. The
    first process writes; all processes read from the same folder.
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
        # Converted like the saved ones (tuples become lists), to compare them.
        self._settings = json.loads(json.dumps(settings))
        self._checkpoint_path = folder / FILE_NAME
        self._log_path = folder / LOG_NAME
        self._saved = 0  # steps in the last good checkpoint

    def begin(self) -> list[dict[str, Any]]:
        """Start a new run; return an empty log.

        Raises ValueError if the folder already has a run.
        """
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
        the given ones, or a file is damaged.
        """
        if not self._folder.is_dir():
            raise ValueError(
                f"run_dir: got {self._folder}, expected the folder of a run "
                "to resume"
            )
        path = self._checkpoint_path
        previous = path.with_name(PREVIOUS_NAME)
        with together():
            if self._first and not path.exists() and previous.exists():
                # The run was killed between two renames: restore the name.
                os.replace(previous, path)
        if not path.exists():
            return self._resume_before_checkpoint()
        checkpoint = self._load()
        _compare(
            path,
            "model",
            checkpoint.config.to_dict(),
            self._model.config.to_dict(),
        )
        for name, settings in self._settings.items():
            _compare(path, name, checkpoint.train.get(name, {}), settings)
        restore_weights(self._model, checkpoint, path)
        self._saved = step = checkpoint.train["step"]
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
                lines = (json.dumps(record) + "\n" for record in records)
                self._append("".join(lines))

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
            except ValueError:
                raise error from None
            raise ValueError(
                f"{error}; the one before it, {PREVIOUS_NAME} is whole, of "
                f"step {step}: rename it to {FILE_NAME} and resume"
            ) from error

    def _resume_before_checkpoint(self) -> list[dict[str, Any]]:
        # The run was killed before its first checkpoint: start again.
        if self._log_path.exists():
            raise ValueError(
                f"run_dir: {self._folder} has a log but no "
                f"{FILE_NAME}, expected both"
            )
        return self.begin()

    def _make_folder(self) -> None:
        for name in (FILE_NAME, PREVIOUS_NAME, LOG_NAME):
            if (self._folder / name).exists():
                raise ValueError(
                    f"run_dir: {self._folder} already holds a run ({name}), "
                    "expected resume=True or another folder"
                )
        self._folder.mkdir(parents=True, exist_ok=True)

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
        lines = []
        if self._log_path.exists():
            text = self._log_path.read_text(encoding="utf-8")
            lines = text.splitlines()[:steps]
        try:
            records = [json.loads(line) for line in lines]
            whole = [r["step"] for r in records] == list(range(steps))
        except (ValueError, TypeError, KeyError):
            whole = False
        if not whole:
            raise ValueError(
                f"{self._log_path}: expected the {steps} steps of the "
                "checkpoint beside it, one a line"
            )
        if self._first:
            text = "".join(line + "\n" for line in lines)
            write_text(self._log_path, text)
        return records


def _compare(
    path: Path, name: str, saved: Mapping[str, Any], given: Mapping[str, Any]
) -> None:
    """Raise ValueError naming the first setting that differs, if any."""
    for key in sorted(saved.keys() | given.keys()):
        if saved.get(key) != given.get(key):
            raise ValueError(
                f"{name}.{key}: got {given.get(key)!r}, expected "
                f"{saved.get(key)!r} as in the run to resume ({path})"
            )
