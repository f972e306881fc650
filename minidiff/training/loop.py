"""Training: one loop for a laptop, for a GPU and for many."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minidiff.data.protocol import DataSource
from minidiff.nn.model import DecoderLM
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
    """Train a model in place and return the log, one record a step.

    Started by torchrun and inside
    :func:`minidiff.training.distributed.joined`, all processes train one
    model together: each takes its share of every batch, and the losses are
    those of one process up to rounding.

    Parameters
    ----------
    model : DecoderLM
        On the device where it is to be trained.
    data : DataSource
        Gives the batch of each step by its number.
    config : TrainConfig
    compute : Compute, optional
        Execution options: accumulation, compiler, sharding and backend.
    run_dir : path, optional
        Folder for ``log.jsonl`` and ``checkpoint.safetensors``; made if
        missing. Without it nothing is written.
    resume : bool
        Go on where the run in ``run_dir`` stopped, however it stopped. The
        losses are those of a run that never stopped, bit for bit on a CPU
        with the same number of threads and processes.
    progress : bool
        Show a bar with loss, tokens in a second and the time left.
    tensorboard : bool
        Write the log for TensorBoard too, into ``run_dir``.

    Returns
    -------
    Records with ``step`` (from 0), ``loss`` (nats), ``lr``, ``grad_norm``
    (before clipping) and ``tokens`` (seen so far); after an evaluation also
    ``valid_loss`` and ``valid_accuracy``.

    Raises
    ------
    ValueError
        If ``run_dir`` holds a run and ``resume`` is not set, or holds one of
        another model, data or config: names the field.
    FloatingPointError
        If loss or gradient is not finite: names the step. The model is left
        as it was before that step, and so is the last good checkpoint.
    OSError
        If the disk is full. The last good checkpoint stays.
    Stopped
        A KeyboardInterrupt: with ``run_dir``, Ctrl-C or SIGTERM lets the step
        end and saves a checkpoint first. A second Ctrl-C breaks off. Several
        processes stop together, about half a second later.

    Notes
    -----
    In one process on a CPU the log is written at every step. Elsewhere values
    are read, checked and logged about twice a second, and at each evaluation
    and checkpoint, so that the program does not wait for the GPU in between.

    The number of threads is PyTorch's own and left as it is: it is a setting
    of the whole process. See :mod:`minidiff.training.threads`.
    """
    compute = compute or Compute()
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
    updates, me = Updates(model, config, compute), world()
    run, records = None, []
    if run_dir is not None:
        settings = {"data": data.describe(), "config": asdict(config)}
        run = Run(Path(run_dir), model, updates.optimizer, settings)
        records = run.resume() if resume else run.begin()
    model.train()
    bar = tqdm(
        total=config.steps,
        initial=len(records),
        disable=not (progress and me.first),
        unit="step",
    )
    # Without a folder nothing can be saved, so nothing should wait.
    stopping = nullcontext() if run is None else Stopping(patient=me.size > 1)
    board: AbstractContextManager[Any] = nullcontext()
    if tensorboard and me.first and run_dir is not None:
        board = TensorBoard(Path(run_dir), len(records))
    reading = Reading(len(records), waits=updates.reading_waits)
    with bar, stopping as stop, board:
        for step in range(len(records), config.steps):
            updates.update(data, step)
            last = step + 1 == config.steps
            validate = last or (step + 1) % config.eval_every == 0
            save = last or (step + 1) % config.checkpoint_every == 0
            asked = stop is not None and stop.asked
            if not (validate or save or reading.due(step, asked)):
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
            asked = reading.agree(step, asked)
            if run is not None and (save or asked):
                run.checkpoint(step + 1)
            if asked and not last:
                raise Stopped(
                    f"stopped after {step + 1} of {config.steps} steps, "
                    f"saved in {run_dir}"
                )
    return records


def _show(bar: tqdm, fresh: list[dict[str, Any]]) -> None:
    """Bring the bar up to date: loss, and tokens in a second."""
    if bar.disable or not fresh:
        return
    record = fresh[-1]
    tokens = record["tokens"] / (record["step"] + 1)
    rate = (bar.format_dict["rate"] or 0) * tokens
    shown = {"loss": f"{record['loss']:.3f}", "tokens/s": f"{rate:.3g}"}
    bar.set_postfix(shown, refresh=False)
    bar.update(len(fresh))
