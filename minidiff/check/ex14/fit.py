"""Exercise 14.5: the training loop."""

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from minidiff.check.compare import source_of
from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited, slip
from minidiff.data.text import TextData
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM
from minidiff.training.config import TrainConfig, learning_rate
from minidiff.training.loop import train
from minidiff.training.step import adamw

Record = dict[str, Any]


def measure(model: nn.Module, held_out: Tensor, B: int) -> float:
    """Return the mean loss over all targets of held_out, B rows at a time."""
    model.eval()
    total = 0.0
    with torch.no_grad():
        for part in held_out.split(B):
            logits = model(part[:, :-1]).flatten(0, 1)
            targets = part[:, 1:].flatten()
            total += cross_entropy(logits, targets, reduction="sum").item()
    model.train()
    return total / held_out[:, 1:].numel()


def fit(
    model: nn.Module,
    rows: Tensor,
    held_out: Tensor,
    config: TrainConfig,
    report: Callable[[Record], None],
) -> list[Record]:
    """Train model in place; return the log, one record for each step.

    rows (N, T + 1): windows of tokens in the order in which they are read,
    the next config.batch_size at each step. held_out (M, T + 1): windows to
    measure on. model(inputs) returns logits (B, T, V).

    A record is a dict of plain numbers, not tensors: "step" (from 0), "loss"
    (mean over this step's targets, before the update), "lr", "grad_norm"
    (before clipping to config.clip_norm) and, only after every
    config.eval_every steps and after the last one, "valid_loss": what measure
    gives on held_out, config.batch_size rows at a time. Each record goes to
    report when it is complete, before the next step. The model may arrive in
    eval mode.
    """
    B, optimizer, log = config.batch_size, adamw(model, config), []
    model.train()
    for step in range(config.steps):
        lr = learning_rate(step, config)
        for group in optimizer.param_groups:
            group["lr"] = lr
        batch = rows[step * B : (step + 1) * B]
        logits = model(batch[:, :-1])
        loss = cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        record = {"step": step, "loss": loss.item(), "lr": lr}
        record["grad_norm"] = norm.item()
        done = step + 1
        if done % config.eval_every == 0 or done == config.steps:
            record["valid_loss"] = measure(model, held_out, B)
        log.append(record)
        report(record)
    return log


class Small(nn.Module):
    """A small model that computes differently in training, as dropout does.

    In training mode it halves its logits. It notes whether a gradient was
    prepared in eval mode.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        config = ModelConfig(
            vocab_size=11, embed_dim=16, num_layers=1, num_heads=4
        )
        self.model = DecoderLM(config).double()
        with torch.no_grad():  # larger than usual, so that clipping acts
            for weight in self.parameters():
                if weight.ndim == 2:
                    weight.mul_(10)
        self.with_gradient = False

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits (B, T, V) for tokens (B, T)."""
        if not self.training:
            self.with_gradient |= torch.is_grad_enabled()
        logits: Tensor = self.model(tokens)
        return logits * 0.5 if self.training else logits


class RecordError(Exception):
    """Raised if a record of the log is not a dict of plain numbers."""

    def __init__(self, step: int, name: str, value: Any) -> None:
        kind = type(value).__name__
        if value is None and name == "valid_loss":
            said = "is None; it belongs only in records of measured steps"
        elif value is None:
            said = "is missing"
        else:
            said = f"is a {kind}, expected a plain number"
        # A tensor is one mistake, whichever entry it is in.
        self.key = name if value is None else "not a number"
        super().__init__(f'record {step} of the log: "{name}" {said}')


NAMES = ("step", "loss", "lr", "grad_norm")


def _check_record(step: int, record: Record) -> None:
    measured = ("valid_loss",) if "valid_loss" in record else ()
    for name in (*NAMES, *measured):
        value = record.get(name)
        if not isinstance(value, Real):
            raise RecordError(step, name, value)


def _cases() -> list[Case]:
    flat: dict[str, Any] = {
        "warmup_steps": 0,
        "final_lr_fraction": 1.0,
        "lr": 0.01,
    }
    every: dict[str, Any] = {"clip_norm": 1e9, "eval_every": 99}
    return [
        Case(name=name, args=(TrainConfig(**settings),))
        for name, settings in (
            ("one step", flat | every | {"steps": 1, "batch_size": 3}),
            (
                "four steps, lr constant, no gradient as long as clip_norm",
                flat | every | {"steps": 4, "batch_size": 3},
            ),
            (
                "six steps, clip_norm = 0.2",
                flat
                | {"steps": 6, "batch_size": 2, "clip_norm": 0.2}
                | {"eval_every": 99},
            ),
            (
                "five steps, measured after every second one",
                flat | every | {"steps": 5, "batch_size": 2, "eval_every": 2},
            ),
            (
                "twenty steps, warm-up and fall",
                {"steps": 20, "batch_size": 2, "warmup_steps": 5, "lr": 0.02}
                | {"eval_every": 7},
            ),
        )
    ] + [
        Case(
            name="twenty steps beside minidiff.train, in float64",
            args=(BESIDE,),
        )
    ]


BESIDE = TrainConfig(
    steps=20,
    batch_size=4,
    warmup_steps=5,
    eval_every=8,
    eval_batches=2,
    clip_norm=0.5,
)


def _run(answer: Callable[..., Any], config: TrainConfig) -> Any:
    """Train the small model; return what the log says, part by part."""
    if config == BESIDE:
        return _beside(answer, config)
    random = np.random.default_rng(0)
    windows = random.integers(0, 11, (config.steps * config.batch_size, 7))
    held_out = random.integers(0, 11, (5, 7))  # not a multiple of batches
    model, reports = Small().eval(), []
    reported_at = set()  # sums of all weights, one for each state of them

    def report(record: Record) -> None:
        reports.append(dict(record))
        reported_at.add(sum(p.sum().item() for p in model.parameters()))

    log = answer(
        model,
        torch.from_numpy(windows),
        torch.from_numpy(held_out),
        config,
        report,
    )
    if log is None:
        return None
    complete = sum(
        sent == kept for sent, kept in zip(reports, log, strict=False)
    )
    return (
        *_columns(log),
        float(model.with_gradient),
        complete,
        len(reported_at),
    )


def _columns(log: list[Record]) -> list[np.ndarray]:
    """Return each entry of the records, as a column."""
    for step, record in enumerate(log):
        _check_record(step, record)
    columns = [np.array([float(r[name]) for r in log]) for name in NAMES]
    valid = np.array([float(r.get("valid_loss", -1)) for r in log])
    return [*columns, valid]


def _beside(answer: Callable[..., Any], config: TrainConfig) -> Any:
    """Train a model of the package on text; minidiff.train is the solution.

    An answer whose log this accepts has the losses of ``minidiff.train`` to
    1e-9.
    """
    tokens = np.random.default_rng(1).integers(0, 11, 400).tolist()
    data = TextData(tokens[:300], tokens[300:], vocab_size=11, length=6)
    torch.manual_seed(2)
    model = DecoderLM(
        ModelConfig(vocab_size=11, embed_dim=16, num_layers=1, num_heads=4)
    ).double()
    B = config.batch_size
    if answer is fit:
        log = train(model, data, config, progress=False)
        reported = len(log)
    else:
        reports: list[Record] = []
        log = answer(
            model,
            _windows(data, config.steps, B, "train"),
            _windows(data, config.eval_batches, B, "valid"),
            config,
            reports.append,
        )
        reported = len(reports)
    if log is None:
        return None
    return (*_columns(log), 0.0, reported, reported)


def _windows(data: TextData, batches: int, size: int, split: str) -> Tensor:
    """Return the rows of so many batches, (N, T + 1)."""
    pairs = [data.batch(n, size, split) for n in range(batches)]
    return torch.cat([torch.cat([x, y[:, -1:]], 1) for x, y in pairs])


RESULTS = (
    *NAMES,
    "valid_loss (-1: not in the record)",
    "1 if a measurement prepared gradients, else 0",
    "number of reports that are equal to their record in the log",
    "number of reports with new weights since the one before",
)


def _mistake(
    key: str, diagnosis: str, *variants: tuple[tuple[str, str], ...]
) -> Mistake:
    """Return a mistake: variants of the right loop."""
    wrong, *also = map(_variant, variants)
    return Mistake(key=key, diagnosis=diagnosis, wrong=wrong, also=tuple(also))


def _variant(changes: tuple[tuple[str, str], ...]) -> Any:
    """Return fit with text replaced, in it or in the measure that it uses."""
    source = source_of(measure)
    inside = [change for change in changes if change[0] in source]
    loop = edited(fit, *(change for change in changes if change not in inside))
    loop.__globals__["measure"] = edited(measure, *inside)
    return loop


_TRAIN = "cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())"
_ZERO = "        optimizer.zero_grad()\n"
_CLIP = (
    "        norm = clip_grad_norm_(model.parameters(), config.clip_norm)\n"
)
_STEP = "        optimizer.step()\n"
_SET = """        for group in optimizer.param_groups:
            group["lr"] = lr
"""
_DUE = "if done % config.eval_every == 0 or done == config.steps:"
_NORM = "nn.utils.get_total_norm([p.grad for p in model.parameters()])"
_RECORD = '{"step": step, "loss": loss.item(), "lr": lr}'
_AFTER = """        logits = model(batch[:, :-1])
        loss = cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
"""

MISTAKES = (
    _mistake(
        "no step number",
        'Your records do not say which step they are of. Put "step": step '
        "into each.",
        ((_RECORD, '{"loss": loss.item(), "lr": lr}'),),
    ),
    _mistake(
        "steps counted from 1",
        'Your "step" counts from 1. The first record has "step" 0.',
        (('{"step": step,', '{"step": step + 1,'),),
    ),
    _mistake(
        "tensors in the record",
        "A record holds a tensor, which cannot be written to a file as a "
        "number, and may keep the activations of its step. Take the number "
        "out with .item().",
        (("loss.item()", "loss"), ("norm.item()", "norm")),
        (("loss.item()", "loss"),),
        (("norm.item()", "norm"),),
    ),
    _mistake(
        "None where nothing was measured",
        "valid_loss belongs only in the records of measured steps. In the "
        "others leave the name out.",
        ((_RECORD, _RECORD[:-1] + ', "valid_loss": None}'),),
    ),
    _mistake(
        "loss after the update",
        "Your loss is computed again after the update. Keep the loss from "
        "which the gradients were computed.",
        ((_STEP, _STEP + _AFTER),),
    ),
    _mistake(
        "clipped to 1",
        "You clip to length 1 whatever the configuration says. Use "
        "config.clip_norm.",
        (("config.clip_norm)\n", "1.0)\n"),),
    ),
    _mistake(
        "one batch measured",
        "You measure on the first rows of held_out only. Go through all of "
        "them.",
        (
            ("held_out.split(B)", "[held_out[:B]]"),
            ("held_out[:, 1:].numel()", "held_out[:B, 1:].numel()"),
        ),
        (("held_out.split(B)", "[held_out[:B]]"),),
    ),
    _mistake(
        "reported at the end",
        "All records are reported after the training, so nobody can watch "
        "it. Call report(record) at the end of each step.",
        (
            ("        report(record)\n", ""),
            (
                "    return log\n",
                "    for record in log:\n        report(record)\n"
                "    return log\n",
            ),
        ),
    ),
    _mistake(
        "something else reported",
        "What you give to report is not the record that is in the log. Call "
        "report(record) with the whole record.",
        (
            (
                "        report(record)\n",
                "        report(dict.fromkeys(record, 0.0))\n",
            ),
        ),
        (("        report(record)\n", "        report({})\n"),),
    ),
    _mistake(
        "no zero_grad",
        "The gradients of all steps add up, because backward adds to what is "
        "there. Call optimizer.zero_grad() before loss.backward().",
        ((_ZERO, ""),),
    ),
    _mistake(
        "no gradient left",
        "There is no gradient to step by. Either loss.backward() is missing, "
        "or zero_grad() stands between it and the clipping.",
        ((_ZERO, ""), (_CLIP, _ZERO + _CLIP)),
        (("        loss.backward()\n", ""),),
    ),
    _mistake(
        "loss summed",
        "Your loss is the sum over this step's targets. Take their mean, "
        "cross_entropy's default: a sum grows with the batch, and so do its "
        "gradients.",
        ((_TRAIN, _TRAIN[:-1] + ', reduction="sum")'),),
        (
            (_TRAIN, _TRAIN[:-1] + ', reduction="sum")'),
            ("total / held_out[:, 1:].numel()", "total"),
        ),
    ),
    _mistake(
        "measurement not divided",
        "Your valid_loss is not a mean over all targets. Divide the sum by "
        "their number, rows times T: held_out[:, 1:].numel().",
        (("total / held_out[:, 1:].numel()", "total"),),
        (("total / held_out[:, 1:].numel()", "total / len(held_out)"),),
        (("held_out[:, 1:].numel()", "held_out.numel()"),),
    ),
    _mistake(
        "not clipped",
        "The step uses the gradient as it is. Between backward and step, "
        "clip_grad_norm_(model.parameters(), config.clip_norm) shortens it, "
        "and returns how long it was.",
        ((_CLIP, f"        norm = {_NORM}\n"),),
        ((_CLIP, ""), (_STEP, _STEP + _CLIP)),
    ),
    _mistake(
        "clipped too early",
        "You clip before backward, so you shorten the gradient of the step "
        "before, or none. Clip between backward and step.",
        (
            (_CLIP, ""),
            ("        loss.backward()\n", _CLIP + "        loss.backward()\n"),
        ),
        (
            (_ZERO, ""),
            (_CLIP, ""),
            (
                "        loss.backward()\n",
                _CLIP + _ZERO + "        loss.backward()\n",
            ),
        ),
    ),
    _mistake(
        "clipped to exactly the norm",
        "Your steps agree with minidiff's to about one part in a million, "
        "but not exactly: clip_grad_norm_ divides by the norm plus 1e-6, "
        "which keeps a gradient of zeros finite. Call it, or add the 1e-6.",
        (
            (
                _CLIP,
                f"        norm = {_NORM}\n"
                "        for p in model.parameters():\n"
                "            if norm > config.clip_norm:\n"
                "                p.grad *= config.clip_norm / norm\n",
            ),
        ),
    ),
    _mistake(
        "length after clipping",
        "Your grad_norm is the length after clipping. What clip_grad_norm_ "
        "returns is the length before.",
        ((_CLIP, f"{_CLIP}        norm = {_NORM}\n"),),
    ),
    _mistake(
        "each number clipped",
        "You cut each number of the gradient by itself, which turns its "
        "direction. clip_grad_norm_ shortens all of it by one factor.",
        (
            (
                _CLIP,
                f"        norm = {_NORM}\n"
                "        nn.utils.clip_grad_value_(\n"
                "            model.parameters(), config.clip_norm)\n",
            ),
        ),
    ),
    _mistake(
        "rate one step ahead",
        "The rate is that of the next step. Steps are counted from 0: "
        "learning_rate(step, config).",
        (("learning_rate(step,", "learning_rate(step + 1,"),),
    ),
    _mistake(
        "rate one step behind",
        "The rate is that of the step before. Steps are counted from 0, and "
        "the first one has learning_rate(0, config).",
        (("learning_rate(step,", "learning_rate(max(step - 1, 0),"),),
        (("learning_rate(step,", "learning_rate(step - 1,"),),
    ),
    _mistake(
        "rate set after the step",
        "You set the rate after the step, so each step uses the rate of the "
        "one before, and the first one the peak. Set it before.",
        ((_SET, ""), (_STEP, _STEP + _SET)),
    ),
    _mistake(
        "rate not logged",
        'Your "lr" is config.lr in every record. Log the rate of this step.',
        (('"lr": lr}', '"lr": config.lr}'),),
    ),
    _mistake(
        "rate not used",
        "The log has the rate, but the optimiser keeps the one it was made "
        'with. Set group["lr"] in every group of optimizer.param_groups.',
        ((_SET, ""),),
    ),
    _mistake(
        "one group",
        "You set the rate in the first group only. adamw makes two, matrices "
        "and vectors: go through optimizer.param_groups.",
        ((_SET, '        optimizer.param_groups[0]["lr"] = lr\n'),),
    ),
    _mistake(
        "another optimiser",
        "Your AdamW has PyTorch's betas, or decays vectors too. Make it with "
        "adamw(model, config).",
        (
            (
                "adamw(model, config)",
                "torch.optim.AdamW(model.parameters(), lr=config.lr)",
            ),
        ),
        (
            (
                "adamw(model, config)",
                "torch.optim.AdamW(model.parameters(), lr=config.lr, "
                "betas=config.betas, weight_decay=config.weight_decay)",
            ),
        ),
    ),
    _mistake(
        "a new optimiser at every step",
        "You make the optimiser inside the loop, and its averages begin at 0 "
        "in every step. Make it once, before the loop.",
        (
            (
                "        logits = model(batch[:, :-1])\n",
                "        optimizer = adamw(model, config)\n"
                + _SET
                + "        logits = model(batch[:, :-1])\n",
            ),
        ),
    ),
    _mistake(
        "no step",
        "The weights never change. Either optimizer.step() is missing, or "
        "zero_grad() stands between backward and step.",
        ((_STEP, ""),),
        ((_ZERO, ""), (_CLIP, _CLIP + _ZERO)),
    ),
    _mistake(
        "not shifted",
        "Inputs and targets are the same tokens, so the model learns to "
        "copy. The target of a place is the token after it: inputs "
        "[:, :-1], targets [:, 1:].",
        (
            ("batch[:, 1:].flatten()", "batch[:, :-1].flatten()"),
            ("part[:, 1:].flatten()", "part[:, :-1].flatten()"),
        ),
        (("batch[:, 1:].flatten()", "batch[:, :-1].flatten()"),),
    ),
    _mistake(
        "shifted the wrong way",
        "Your targets are the tokens before, which the model has seen. "
        "Inputs are [:, :-1], targets [:, 1:].",
        (
            ("model(batch[:, :-1])", "model(batch[:, 1:])"),
            ("batch[:, 1:].flatten()", "batch[:, :-1].flatten()"),
            ("model(part[:, :-1])", "model(part[:, 1:])"),
            ("part[:, 1:].flatten()", "part[:, :-1].flatten()"),
        ),
    ),
    _mistake(
        "the same rows",
        "Every step reads the first rows. Step s reads "
        "rows[s * B : (s + 1) * B].",
        (("rows[step * B : (step + 1) * B]", "rows[:B]"),),
    ),
    _mistake(
        "rows overlap",
        "Each step starts one row after the last one started. It starts "
        "batch_size rows after: rows[s * B : (s + 1) * B].",
        (("rows[step * B : (step + 1) * B]", "rows[step : step + B]"),),
    ),
    _mistake(
        "measured in training mode",
        "You measure in training mode, in which dropout is active. Call "
        "model.eval() first, and model.train() after it.",
        (("    model.eval()\n", ""),),
    ),
    _mistake(
        "training mode not set",
        "The model arrives in eval mode and begins to train in it. Call "
        "model.train() before the first step.",
        (("    model.train()\n    for step", "    for step"),),
    ),
    _mistake(
        "trained in eval mode",
        "After the first measurement the model stays in eval mode. Call "
        "model.train() before training goes on.",
        (("    model.train()\n    return total", "    return total"),),
    ),
    _mistake(
        "measured with gradients",
        "The numbers are right, but autograd keeps the activations of every "
        "measurement. Measure under torch.no_grad().",
        (("torch.no_grad()", "torch.enable_grad()"),),
    ),
    _mistake(
        "mean of means",
        "You average the means of parts of unequal size, and a target in a "
        'small part counts more. Add up with reduction="sum", and divide by '
        "the number of all targets.",
        (
            (', reduction="sum"', ""),
            (" / held_out[:, 1:].numel()", " / len(held_out.split(B))"),
        ),
    ),
    _mistake(
        "measured before the step",
        "You measure before this step's update. Measure after "
        "optimizer.step().",
        (
            (_STEP, ""),
            (
                "        log.append(record)\n",
                _STEP + "        log.append(record)\n",
            ),
        ),
    ),
    _mistake(
        "measured one step early",
        "You measure where step is a multiple of eval_every, one step too "
        "late. Steps are counted from 0: after eval_every steps, step + 1 is.",
        ((_DUE, "if step % config.eval_every == 0 or done == config.steps:"),),
        ((_DUE, "if step % config.eval_every == 0:"),),
        (
            (
                _DUE,
                "if step and step % config.eval_every == 0 "
                "or done == config.steps:",
            ),
        ),
    ),
    _mistake(
        "not measured at the end",
        "The last step is not measured unless it is a multiple of "
        "eval_every. It always is to be.",
        ((_DUE, "if done % config.eval_every == 0:"),),
    ),
    _mistake(
        "measured only at the end",
        "You measure after the last step only. Measure after every "
        "config.eval_every steps as well.",
        ((_DUE, "if done == config.steps:"),),
    ),
    _mistake(
        "measured at every step",
        "You measure after every step, which takes longer than training. "
        "Measure after every config.eval_every steps and after the last one.",
        ((_DUE, "if True:"),),
    ),
    _mistake(
        "not reported",
        "report is not called with every record. Call report(record) at the "
        "end of each step.",
        (("        report(record)\n", ""),),
        (("        report(record)\n", "    report(record)\n"),),
    ),
    _mistake(
        "reported too early",
        "You report before the measurement, so report never sees valid_loss. "
        "Call it when the record is complete.",
        (
            ("        report(record)\n", ""),
            (
                "        done = step + 1\n",
                "        report(record)\n        done = step + 1\n",
            ),
        ),
    ),
    slip(
        "another number of rows",
        "A step reads more or fewer rows than config.batch_size, or "
        "none that it should.",
        fit,
        ("rows[step * B : (step + 1) * B]", "rows[: (step + 1) * B]"),
        ("rows[step * B : (step + 1) * B]", "rows[step * B :]"),
        (
            "rows[step * B : (step + 1) * B]",
            "rows[step * B : (step + 1) * B + 1]",
        ),
        (
            "rows[step * B : (step + 1) * B]",
            "rows[step * B : (step + 1) * B - 1]",
        ),
        (
            "rows[step * B : (step + 1) * B]",
            "rows[step * B + 1 : (step + 1) * B]",
        ),
        ("rows[step * B : (step + 1) * B]", "rows[step : (step + 1) * B]"),
        ("rows[step * B : (step + 1) * B]", "rows[step * B : step + 1]"),
        ("rows[step * B : (step + 1) * B]", "rows[step * B : (step + 2) * B]"),
    ),
    slip(
        "measured at other steps",
        "You measure at other steps: after every config.eval_every "
        "steps, and after the last one.",
        fit,
        (" or done ==", " and done =="),
        ("% config.eval_every == 0", "% config.eval_every != 0"),
        ("done % config.eval_every", "config.eval_every % done"),
        ("done % config.eval_every", "done // config.eval_every"),
        ("done == config.steps", "done != config.steps"),
    ),
)

EXERCISE = Exercise(
    id="14.5",
    cases=_cases,
    solution=fit,
    run=_run,
    results=RESULTS,
    tolerance=1e-9,
    mistakes=MISTAKES,
    hints=(
        "Order inside a step: set the rate, compute the loss, forget the old "
        "gradients, compute the new ones, clip them, step. Then measure.",
        "Inputs are batch[:, :-1], targets batch[:, 1:]. cross_entropy wants "
        "logits of shape (B T, V) and targets (B T,): flatten both.",
        "Set the rate of every group in optimizer.param_groups. What "
        "clip_grad_norm_ returns is grad_norm. A step is measured if "
        "(step + 1) % config.eval_every == 0, and if it is the last.",
    ),
)
