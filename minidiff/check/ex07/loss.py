"""Exercise 7.3: cross-entropy and perplexity."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake


def loss_and_perplexity(
    logits: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy in nats, and the perplexity.

    logits (N, V), which may be in the thousands; targets (N,): for each row
    the id of the right token.
    """
    rows = torch.arange(len(targets))
    loss = (logits.logsumexp(-1) - logits[rows, targets]).mean()
    return loss, loss.exp()


def _run(
    answer: Callable[..., tuple[Tensor, Tensor]],
    logits: Tensor,
    targets: Tensor,
) -> tuple[Tensor, ...] | None:
    out = answer(logits, targets)
    if not isinstance(out, tuple):
        return out
    # Overflow shows as inf or as NaN, depending on how it was written.
    numbers = (torch.as_tensor(x, dtype=torch.float64) for x in out)
    return tuple(x.masked_fill(x.isnan(), torch.inf) for x in numbers)


def _cases() -> list[Case]:
    cases = []
    for N, V in ((1, 3), (5, 4), (3, 7)):
        generator = torch.Generator().manual_seed(N)
        logits = 2 * torch.randn(
            N, V, generator=generator, dtype=torch.float64
        )
        targets = torch.randint(0, V, (N,), generator=generator)
        cases.append(Case(name=f"N = {N}, V = {V}", args=(logits, targets)))
    # Both rest on the last case, so that small answers are compared first.
    high = Case(
        name="the same with 1000 added to every logit",
        args=(logits + 1000, targets),
    )
    far = torch.zeros(4, 2, dtype=torch.float64)
    far[0, 1] = -800
    low = Case(
        name="one target 800 below the best logit",
        args=(far, torch.tensor([1, 0, 1, 0])),
    )
    # One maximum for all rows would make every exponential of row 1 zero.
    apart = logits.clone()
    apart[0] += 1000
    apart[1] -= 1000
    uneven = Case(
        name="1000 added to row 0, taken from row 1", args=(apart, targets)
    )
    return [*cases, high, low, uneven]


def _chosen(log_p: Tensor, targets: Tensor) -> Tensor:
    return -log_p[torch.arange(len(targets)), targets]


def _of(loss: Tensor) -> tuple[Tensor, Tensor]:
    return loss, loss.exp()


def _bare_softmax(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    e = x.exp()
    return _of(_chosen((e / e.sum(-1, keepdim=True)).log(), t).mean())


def _bare_sum(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    log_p = x - x.exp().sum(-1, keepdim=True).log()
    return _of(_chosen(log_p, t).mean())


def _log_of_softmax(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    return _of(_chosen(x.softmax(-1).log(), t).mean())


def _sum(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    return _of(_chosen(x.log_softmax(-1), t).sum())


def _sign(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    return _of(-_chosen(x.log_softmax(-1), t).mean())


def _bits(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    loss = loss_and_perplexity(x, t)[0] / torch.log(torch.tensor(2.0).double())
    return loss, 2**loss


def _two_to_the(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    loss = loss_and_perplexity(x, t)[0]
    return loss, 2**loss


def _mean_of_exp(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    each = _chosen(x.log_softmax(-1), t)
    return each.mean(), each.exp().mean()


def _every_target(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    return _of(-x.log_softmax(-1)[:, t].mean())


def _down_the_rows(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    return _of(_chosen(x.log_softmax(0), t).mean())


def _unnormalised(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    return _of(_chosen(x, t).mean())


def _swapped(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    loss, perplexity = loss_and_perplexity(x, t)
    return perplexity, loss


def _bits_float32(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    loss = loss_and_perplexity(x, t)[0] / torch.log(torch.tensor(2.0))
    return loss, 2**loss


def _not_averaged(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    return _of(_chosen(x.log_softmax(-1), t))


def _one_maximum(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    x = x - x.max()
    return _of(_chosen(x - x.exp().sum(-1, keepdim=True).log(), t).mean())


def _maximum_lost(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    log_sum = (x - x.max(-1, keepdim=True).values).exp().sum(-1).log()
    return _of((log_sum + _chosen(x, t)).mean())


def _log_of_mean(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    return _of(-(-_chosen(x.log_softmax(-1), t)).exp().mean().log())


def _floored(
    floor: float, add: bool
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Keep the logarithm finite by a smallest probability."""

    def answer(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        p = x.softmax(-1)
        p = p + floor if add else p.clamp(min=floor)
        return _of(_chosen(p.log(), t).mean())

    return answer


_FLOORS = tuple(
    _floored(10.0**-n, add) for n in (8, 9, 10, 12) for add in (False, True)
)

_TOO_LARGE = (
    "Right for small logits, but exp(1000) is infinite. Subtract the largest "
    "logit of each row first, or use logits.logsumexp(-1)."
)

EXERCISE = Exercise(
    id="7.3",
    cases=_cases,
    solution=loss_and_perplexity,
    run=_run,
    results=("the loss", "the perplexity"),
    mistakes=(
        Mistake(
            key="softmax overflows", diagnosis=_TOO_LARGE, wrong=_bare_softmax
        ),
        Mistake(key="sum overflows", diagnosis=_TOO_LARGE, wrong=_bare_sum),
        Mistake(
            key="log of a rounded zero",
            diagnosis="Right for most logits, but a probability of e^-800 is "
            "rounded to 0, and its logarithm is infinite. Take no softmax: "
            "the loss is logsumexp of the row less the target's logit.",
            wrong=_log_of_softmax,
        ),
        Mistake(
            key="summed",
            diagnosis="The loss is summed over the rows. Take the mean.",
            wrong=_sum,
        ),
        Mistake(
            key="sign",
            diagnosis="The sign is wrong: a logarithm of a probability is "
            "negative, and the loss is minus that.",
            wrong=_sign,
        ),
        Mistake(
            key="bits",
            diagnosis="The loss is in bits, with logarithms to base 2. Nats "
            "use the natural logarithm. (The perplexity is right.)",
            wrong=_bits,
            also=(_bits_float32,),
        ),
        Mistake(
            key="two to the loss",
            diagnosis="The loss is in nats, so the perplexity is e to the "
            "loss, not 2 to the loss.",
            wrong=_two_to_the,
        ),
        Mistake(
            key="mean of the exponentials",
            diagnosis="You take the exponential of each row, then the mean. "
            "The perplexity is the exponential of the mean loss.",
            wrong=_mean_of_exp,
        ),
        Mistake(
            key="every target in every row",
            diagnosis="logits[:, targets] takes all targets from every row, "
            "N x N numbers. Row n needs only target n: "
            "logits[torch.arange(N), targets].",
            wrong=_every_target,
        ),
        Mistake(
            key="normalised over the rows",
            diagnosis="You normalise along axis 0, over the rows. The "
            "probabilities of one row's V tokens sum to 1: axis -1.",
            wrong=_down_the_rows,
        ),
        Mistake(
            key="not normalised",
            diagnosis="That is minus the target's logit. The logarithm of "
            "the sum over all tokens is missing.",
            wrong=_unnormalised,
        ),
        Mistake(
            key="swapped",
            diagnosis="Both numbers are right, in the wrong order: the loss "
            "comes first.",
            wrong=_swapped,
        ),
        Mistake(
            key="not averaged",
            diagnosis="That is a loss for each row. Take the mean over the "
            "rows, and the exponential of that mean.",
            wrong=_not_averaged,
        ),
        Mistake(
            key="one maximum for all rows",
            diagnosis="Right while all rows are about equally large. You "
            "subtract the largest logit of all rows, and in a much lower row "
            "every exponential becomes 0. Each row needs its own maximum.",
            wrong=_one_maximum,
        ),
        Mistake(
            key="maximum lost",
            diagnosis="The row's maximum is taken out of the sum and not put "
            "back: subtract it from the target's logit as well.",
            wrong=_maximum_lost,
        ),
        Mistake(
            key="logarithm of the mean",
            diagnosis="You average probabilities, then take the logarithm. "
            "The loss is the mean of the logarithms.",
            wrong=_log_of_mean,
        ),
        Mistake(
            key="smallest probability",
            diagnosis="A smallest probability keeps the logarithm finite and "
            "changes the loss. No probability is needed: logsumexp of the "
            "row less the target's logit.",
            wrong=_FLOORS[0],
            also=_FLOORS[1:],
        ),
    ),
    hints=(
        "Write log p of the target with the logits, and simplify before you "
        "compute. What is left of the exponential in the numerator?",
        "-log p = log(sum of exp(logits)) - logit of the target, row by row. "
        "torch has logsumexp, which does not overflow.",
        "logits[torch.arange(len(targets)), targets] picks one logit a row. "
        "The perplexity is loss.exp().",
    ),
)
