"""The training loop, for a CPU, one GPU or several GPUs."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minidiff.data.protocol import DataSource
from minidiff.files.checks import flag
from minidiff.nn.model import DecoderLM
from minidiff.nn.modes import check_mode, in_mode
from minidiff.nn.wrappers import unwrapped
from minidiff.training.bars import progress_bar
from minidiff.training.config import Compute, TrainConfig
from minidiff.training.distributed import world
from minidiff.training.reading import Reading
from minidiff.training.run_folder import Run
from minidiff.training.signals import Stopped, Stopping
from minidiff.training.step import Updates
from minidiff.training.tensorboard import TensorBoard, need_library


def train(
    model: DecoderLM,
    data: DataSource,
    config: TrainConfig,
    *,
    compute: Compute | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
    tensorboard: bool = False,
) -> list[dict[str, Any]]:
    """Train a model in place and return the log, one record for each step.

    To train on several GPUs, start the program with torchrun and call this
    inside :func:`minidiff.training.distributed.joined`. Each process then
    computes its share of every batch, and the losses equal those of a single
    process up to rounding.

    Parameters
    ----------
    model : DecoderLM
        Already on the device where it is to be trained. It may be compiled;
        whether the training is, ``compute`` says. Its mode, training or
        evaluation, is the same afterwards.
    data : DataSource
        Returns the batch of each step, given the step's number.
    config : TrainConfig
        Steps, batch size, optimiser settings and intervals.
    compute : Compute, optional
        Execution options: accumulation, compiler, sharding and backend.
    run_dir : path, optional
        Folder for ``log.jsonl`` and ``checkpoint.safetensors``; created if
        missing. Without it nothing is written.
    resume : bool
        Continue the run in ``run_dir`` from its last checkpoint, even if the
        run was killed. The losses equal those of an uninterrupted run; they
        are bitwise equal on a CPU with the same number of threads and
        processes.
    progress : bool
        Show a progress bar with loss, tokens per second and remaining time.
    tensorboard : bool
        Also write the log in TensorBoard's format, into ``run_dir``.

    Returns
    -------
    Records with ``step`` (from 0), ``loss`` (nats), ``lr``, ``grad_norm``
    (before clipping) and ``tokens`` (seen so far); after an evaluation also
    ``valid_loss`` and ``valid_accuracy``.

    Raises
    ------
    ValueError
        If ``run_dir`` has a run already and ``resume`` is not set, or if the
        run to resume has another model, data or config; names the field.
        If no target of a batch, or of the validation batches, counts. If no
        weight can be trained, or ``data.describe()`` is not JSON. If another
        thread uses the model.
    FloatingPointError
        If the loss or the gradient is not finite; names the step. The model
        and the last good checkpoint are as they were before that step.
    OSError
        If a file cannot be written, for example because the disk is full. The
        last good checkpoint is kept.
    Stopped
        On Ctrl-C, SIGTERM or SIGHUP (the terminal was closed, and ``nohup``
        was not used), if ``run_dir`` is given: the current step is finished
        and a checkpoint saved first. A second Ctrl-C interrupts at once.
        Several processes stop after the same step, about half a second later.
        Stopped is a KeyboardInterrupt.

    Notes
    -----
    In a single process on a CPU the log is written at every step. Otherwise
    values are read, checked and logged about twice a second and at each
    evaluation and checkpoint, so that the program does not wait for the GPU
    at every step.

    This function does not change PyTorch's number of threads, because that
    applies to the whole process. See :mod:`minidiff.training.threads`.
    """
    compute = compute or Compute()
    model = unwrapped(model)
    for name, value in (
        ("resume", resume),
        ("progress", progress),
        ("tensorboard", tensorboard),
    ):
        flag(name, value)
    if data.vocab_size != model.config.vocab_size:
        raise ValueError(
            f"data: got {data.vocab_size} token ids, expected the model's "
            f"vocab_size {model.config.vocab_size}"
        )
    for name, asked in (("resume", resume), ("tensorboard", tensorboard)):
        if asked and run_dir is None:
            raise ValueError(
                f"{name}: got True without run_dir, expected both"
            )
    if tensorboard:
        need_library()
    check_mode(model, training=True)
    updates, me = Updates(model, config, compute), world()
    run, records = None, []
    if run_dir is not None:
        settings = {"data": data.describe(), "config": asdict(config)}
        run = Run(Path(run_dir), model, updates.optimizer, settings)
        records = run.resume() if resume else run.begin()
    bar = progress_bar(
        model.config.attention,
        [data],
        config.steps,
        shown=progress and me.first,
        done=len(records),
    )
    # Without a folder nothing can be saved, so signals interrupt at once.
    stopping = nullcontext() if run is None else Stopping(patient=me.size > 1)
    board: AbstractContextManager[Any] = nullcontext()
    if tensorboard and me.first and run_dir is not None:
        board = TensorBoard(Path(run_dir), len(records))
    reading = Reading(len(records), waits=updates.reading_waits)
    with (
        run or nullcontext(),
        bar,
        in_mode(model, training=True),
        stopping as stop,
        board,
    ):
        for step in range(len(records), config.steps):
            updates.update(data, step)
            last = step + 1 == config.steps
            validate = last or (step + 1) % config.eval_every == 0
            save = last or (step + 1) % config.checkpoint_every == 0
            asked = stop is not None and stop.asked
            if not (validate or save or reading.due(step, stop_asked=asked)):
                continue
            fresh, error = updates.read()
            if validate and error is None:
                measured = updates.validate(data)
                fresh[-1]["valid_loss"] = measured.loss
                fresh[-1]["valid_accuracy"] = measured.accuracy
            records += fresh
            _show(bar, fresh)
            if run is not None:
                run.log(fresh)
            if isinstance(board, TensorBoard):
                for record in fresh:
                    board.add(record)
            if error is not None:
                raise error
            asked = reading.agree(step, stop_asked=asked)
            if run is not None and (save or asked):
                run.checkpoint(step + 1)
            if asked and not last:
                raise Stopped(
                    f"stopped after {step + 1} of {config.steps} steps, "
                    f"saved in {run_dir}"
                )
    return records


def _show(bar: Any, fresh: list[dict[str, Any]]) -> None:
    """Update the progress bar: steps, loss and tokens per second."""
    if bar.disable or not fresh:
        return
    record = fresh[-1]
    tokens = record["tokens"] / (record["step"] + 1)
    rate = (bar.format_dict["rate"] or 0) * tokens
    shown = {"loss": f"{record['loss']:.3f}", "tokens/s": f"{rate:.3g}"}
    bar.set_postfix(shown, refresh=False)
    bar.update(len(fresh))
