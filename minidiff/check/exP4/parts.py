"""Problem P4.2: the gradient of a batch that comes in parts."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip

Parts = Iterable[tuple[Tensor, Tensor]]


def mean_gradient(
    model: nn.Module, parts: Iterable[tuple[Tensor, Tensor]]
) -> float:
    """Leave in .grad the gradient of the mean loss of all parts; return it.

    parts gives (inputs, targets), ids (B, T) each; B and T may differ, and
    nobody knows how many will come. model(inputs) gives logits (B, T, V). The
    mean is over all targets but those of -100; in some parts none may count.
    What .grad held before is dropped. Before the next part is asked for, the
    backward pass of the last one is done: only one fits in memory.
    """
    model.zero_grad()
    loss, count = 0.0, 0
    for inputs, targets in parts:
        logits = model(inputs).flatten(0, 1)
        part = cross_entropy(logits, targets.flatten(), reduction="sum")
        part.backward()
        loss += part.item()
        count += int((targets != -100).sum())
    for parameter in model.parameters():
        if parameter.grad is not None:  # it is where nothing used it
            parameter.grad /= count
    return loss / count


def _run(
    answer: Callable[..., Any], model: nn.Module, *parts: tuple[Tensor, Tensor]
) -> Any:
    """The loss, the gradient, and what was kept: parts, and forward passes.

    Both are the most that waited for a backward pass: parts when the next
    one was asked for, forward passes when the next one began.
    """
    counts = {id(x): bool((y != -100).any()) for x, y in parts}
    begun: list[int] = []
    done: list[int] = []
    held, waiting = [0], [0]

    def watch(module: nn.Module, args: Any, out: Tensor) -> None:
        waiting.append(len(begun) - len(done))
        # A part of which no target counts needs no backward pass.
        if counts.get(id(args[0]), True):
            begun.append(1)
            out.register_hook(lambda grad: done.append(1))

    def stream() -> Iterator[tuple[Tensor, Tensor]]:
        given = 0
        for inputs, targets in parts:
            yield inputs, targets
            given += counts[id(inputs)]
            held.append(given - len(done))

    handle = model.register_forward_hook(watch)
    for parameter in model.parameters():  # of an older step
        parameter.grad = torch.ones_like(parameter)
    loss = answer(model, stream())
    handle.remove()
    if loss is None:
        return None
    grads = [
        torch.zeros_like(p) if p.grad is None else p.grad
        for p in model.parameters()
    ]
    return (
        loss,
        torch.cat([g.flatten() for g in grads]),
        max(held),
        max(waiting),
    )


def _cases() -> list[Case]:
    cases = []
    for seed, (name, shapes) in enumerate(
        [
            ("one part, all targets count", [(2, 3, 6)]),
            ("two parts with 2 and 6 targets", [(1, 6, 2), (1, 6, 6)]),
            (
                "5, 0 and 2 targets, unequal shapes",
                [(2, 4, 5), (1, 3, 0), (3, 2, 2)],
            ),
            (
                "0, 1, 6 and 3 targets",
                [(1, 4, 0), (2, 2, 1), (2, 3, 6), (1, 7, 3)],
            ),
        ]
    ):
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5)).double()
        parts = []
        for B, T, counted in shapes:
            inputs, targets = torch.randint(
                0, 5, (2, B, T), generator=generator
            )
            hidden = torch.randperm(B * T, generator=generator)[counted:]
            targets.view(-1)[hidden] = -100
            parts.append((inputs, targets))
        cases.append(Case(name=name, args=(model, *parts)))
    return cases


def _sum(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    logits = model(inputs).flatten(0, 1)
    return cross_entropy(logits, targets.flatten(), reduction="sum")


def _counted(targets: Tensor) -> int:
    return int((targets != -100).sum())


Weigh = Callable[[Tensor], float]


def _like(
    weigh: Weigh = lambda targets: 1.0,
    size: Weigh = _counted,
    *,
    divide_loss: bool = True,
    divide_grad: bool = True,
    clear: str = "first",
    divide_each: bool = False,
    careful: bool = False,
) -> Callable[..., float]:
    """Sums of the parts' losses times `weigh`, divided by the sum of `size`.

    clear: when .grad is set to zero, "first", "each" or "never".
    """

    def wrong(model: nn.Module, parts: Parts) -> float:
        loss, count = 0.0, 0.0
        if clear == "first":
            model.zero_grad()
        for inputs, targets in parts:
            if clear == "each":
                model.zero_grad()
            part = _sum(model, inputs, targets) * weigh(targets)
            part.backward()
            loss += part.item()
            count += size(targets)
            if divide_each and (count or not careful):
                _divide(model, count)
        if divide_grad and not divide_each:
            _divide(model, count)
        return loss / count if divide_loss else loss

    return wrong


def _divide(model: nn.Module, n: float) -> None:
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad = parameter.grad / n


def _over(targets: Tensor) -> float:
    """One over the targets that count; in a part of none, as 0 / 0."""
    n = _counted(targets)
    return 1 / n if n else float("nan")


def _safe(targets: Tensor) -> float:
    return 1 / max(_counted(targets), 1)


def _at_the_end(model: nn.Module, parts: Parts) -> float:
    model.zero_grad()
    loss, count = torch.zeros(()), 0
    for inputs, targets in parts:
        loss = loss + _sum(model, inputs, targets)
        count += _counted(targets)
    (loss / count).backward()
    return loss.item() / count


def _collected(model: nn.Module, parts: Parts) -> float:
    return mean_gradient(model, list(parts))


def _mean_times_count(model: nn.Module, parts: Parts) -> float:
    """Means times counts, so a part of none gives 0 / 0 times 0."""
    return _like(lambda t: _over(t) * _counted(t))(model, parts)


EXERCISE = Exercise(
    id="P4.2",
    cases=_cases,
    solution=mean_gradient,
    run=_run,
    mistakes=(
        Mistake(
            key="mean of means",
            diagnosis="You take the mean of the parts' means, so a target "
            "weighs more where few count. Add up sums, and divide once, by "
            "the number of all targets.",
            wrong=_like(_safe, lambda t: 1),
            also=(
                _like(_safe, lambda t: int(_counted(t) > 0)),
                _like(_over, lambda t: 1),
            ),
        ),
        Mistake(
            key="nothing divided by nothing",
            diagnosis="Right but for a part in which no target counts: its "
            "mean is 0 / 0, which is NaN, and one NaN spoils the sum. Take "
            'sums, reduction="sum", or leave such a part out.',
            wrong=_mean_times_count,
        ),
        Mistake(
            key="means added",
            diagnosis="The parts' means are added and never divided, so the "
            "step grows with the number of parts.",
            wrong=_like(_safe, divide_loss=False, divide_grad=False),
            also=(
                _like(_over, divide_loss=False, divide_grad=False),
                _like(_safe, lambda t: 1, divide_grad=False),
                _like(
                    _safe, lambda t: int(_counted(t) > 0), divide_grad=False
                ),
            ),
        ),
        Mistake(
            key="hidden targets counted",
            diagnosis="You divide by the number of all targets. Those of "
            "-100 give no loss and do not count.",
            wrong=_like(size=lambda t: t.numel()),
        ),
        Mistake(
            key="weighed by size",
            diagnosis="The parts' means are weighed by the tokens in each. "
            "What counts is targets: weigh with those that are not -100.",
            wrong=_like(lambda t: _safe(t) * t.numel(), lambda t: t.numel()),
            also=(_like(lambda t: _over(t) * t.numel(), lambda t: t.numel()),),
        ),
        Mistake(
            key="weighed by rows",
            diagnosis="The parts' means are weighed by the rows in each. "
            "Rows hold unequal numbers of targets: weigh with those.",
            wrong=_like(lambda t: _safe(t) * len(t), len),
            also=(
                _like(lambda t: _over(t) * len(t), len),
                _like(
                    lambda t: _safe(t) * len(t),
                    lambda t: len(t) * (_counted(t) > 0),
                ),
            ),
        ),
        Mistake(
            key="last part only",
            diagnosis="The loss is right, but .grad holds the last part "
            "alone: zero_grad() stands inside the loop. It belongs before "
            "it.",
            wrong=_like(clear="each"),
        ),
        Mistake(
            key="old gradient kept",
            diagnosis="The loss is right, but what .grad held before is "
            "still in it. Drop it first: model.zero_grad().",
            wrong=_like(clear="never"),
        ),
        Mistake(
            key="gradient of the sum",
            diagnosis="The loss is right, but .grad holds the gradient of "
            "the sum. Divide it by the same count.",
            wrong=_like(divide_grad=False),
        ),
        Mistake(
            key="loss of the sum",
            diagnosis="The gradient is right, but you return the sum of the "
            "losses. Divide it by the same count.",
            wrong=_like(divide_loss=False),
        ),
        Mistake(
            key="divided in every round",
            diagnosis="The gradient is divided inside the loop, so the first "
            "part is divided again with each part that follows. Divide "
            "once, after the loop.",
            wrong=_like(divide_each=True),
            also=(_like(divide_each=True, careful=True),),
        ),
        Mistake(
            key="one backward at the end",
            diagnosis="The numbers are right, but all parts wait for a "
            "single backward pass, so that all their activations are kept: "
            "nothing is gained. Call backward() in each round.",
            wrong=_at_the_end,
        ),
        Mistake(
            key="all parts collected",
            diagnosis="The numbers are right, but you collect all parts "
            "before you begin. They need not fit in memory: work with each "
            "as it comes, and divide at the end by what you have counted.",
            wrong=_collected,
        ),
        slip(
            "last loss only",
            "You return the loss of the last part, not of all: add it up.",
            mean_gradient,
            ("loss += part.item()", "loss = part.item()"),
        ),
        slip(
            "last count only",
            "You divide by the targets of the last part, not of all: add "
            "them up.",
            mean_gradient,
            ("count += int(", "count = int("),
        ),
    ),
    hints=(
        "The gradient of a sum is the sum of the gradients. Which number do "
        "you know only at the end, and where does it stand in the mean?",
        'In each round: cross_entropy(..., reduction="sum"), which leaves '
        "targets of -100 out; backward(), which adds to .grad; and count the "
        "targets. Divide after the loop.",
        "model.zero_grad() first. In the loop: part = cross_entropy(model("
        'inputs).flatten(0, 1), targets.flatten(), reduction="sum"); '
        "part.backward(); loss += part.item(); count += (targets != "
        "-100).sum(). Then p.grad /= count for each parameter.",
    ),
)
