"""Exercise 15.1: probabilities at a temperature."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Return the probabilities (V,) of the next token.

    logits (V,) may be in the thousands. At temperature 1 the probabilities
    are the model's own. A lower temperature makes the likely tokens likelier;
    at 0 all of the probability is on the largest logit, and on one token
    only, even if several share that logit.
    """
    if temperature == 0:
        out = torch.zeros_like(logits)
        out[logits.argmax()] = 1
        return out
    return (logits / temperature).softmax(0)


def _cases() -> list[Case]:
    cases = []
    for V, temperature, size, tie in (
        (6, 1.0, 2.0, None),
        (3, 0.5, 2.0, None),
        (8, 2.0, 2.0, None),
        (5, 0.1, 300.0, 0.05),
        (5, 0.02, 2.0, 0.05),
        (6, 1.0, 9000.0, 1.0),
        (7, 0.0, 2.0, None),
        (4, 0.0, 2.0, 1e-3),
        (9, 0.0, 2.0, 0.0),
    ):
        random = torch.Generator().manual_seed(V)
        logits = size * torch.randn(V, generator=random, dtype=torch.float64)
        name = f"{V} logits of size {size:g}, temperature = {temperature}"
        if tie is not None:  # another logit is as large, or nearly
            best = int(logits.argmax())
            logits[(best + 1) % V] = logits[best] - tie
            apart = f"{tie:g} apart" if tie else "equal"
            name += f", the largest two {apart}"
        cases.append(Case(name=name, args=(logits, temperature)))
    return cases


class WholeNumbersError(TypeError):
    """Raised if an answer gives integers, which cannot be drawn from."""

    key = "integers"


def _run(
    answer: Callable[[Tensor, float], Any], logits: Tensor, temperature: float
) -> Any:
    """The probabilities; which of two equal logits has the 1 is left open."""
    out = answer(logits, temperature)
    if type(out) is not Tensor or out.shape != logits.shape:
        return out
    if not out.is_floating_point():
        raise WholeNumbersError(
            f"torch.multinomial does not draw from {out.dtype}"
        )
    best = logits == logits.max()
    if temperature == 0 and best.sum() > 1:
        out = out.clone()
        out[best] = out[best].sort(descending=True).values
    return out


def _power(x: Tensor, t: float, stable: bool = True) -> Tensor:
    e = (x - stable * x.max()).exp() ** (1 / t)
    return e / e.sum()


def _or_greedy(x: Tensor, t: float, wrong: Tensor) -> Tensor:
    """Return the right answer at temperature 0, else a wrong one."""
    return probabilities(x, 0) if t == 0 else wrong


def _at_least(x: Tensor, t: float, small: float) -> Tensor:
    return (x / max(t, small)).softmax(0)


def _increased(x: Tensor, t: float, small: float) -> Tensor:
    return (x / (t + small)).softmax(0)


def _all_largest(x: Tensor, t: float, shared: bool) -> Tensor:
    """Give each of the largest logits 1, or an equal share of it."""
    best = (x == x.max()).to(x.dtype)
    best = best / best.sum() if shared else best
    return best if t == 0 else probabilities(x, t)


def _integers_at_zero(x: Tensor, t: float) -> Tensor:
    return probabilities(x, t).long() if t == 0 else probabilities(x, t)


def _naive(x: Tensor) -> Tensor:
    return x.exp() / x.exp().sum()


EXERCISE = Exercise(
    id="15.1",
    cases=_cases,
    solution=probabilities,
    run=_run,
    mistakes=(
        Mistake(
            key="multiplied",
            diagnosis="You multiply by the temperature. Divide: a low "
            "temperature makes differences larger and the choice surer.",
            wrong=lambda x, t: _or_greedy(x, t, (x * t).softmax(0)),
            also=(lambda x, t: (x * t).softmax(0),),
        ),
        Mistake(
            key="after the softmax",
            diagnosis="You divide the probabilities, and they no longer sum "
            "to 1. Divide the logits, then take the softmax.",
            wrong=lambda x, t: _or_greedy(x, t, x.softmax(0) / (t or 1)),
            also=(lambda x, t: x.softmax(0) / t,),
        ),
        Mistake(
            key="softmax twice",
            diagnosis="You take the softmax of probabilities. Divide the "
            "logits themselves.",
            wrong=lambda x, t: _or_greedy(
                x, t, (x.softmax(0) / (t or 1)).softmax(0)
            ),
            also=(lambda x, t: (x.softmax(0) / t).softmax(0),),
        ),
        Mistake(
            key="temperature unused",
            diagnosis="The temperature has no effect.",
            wrong=lambda x, t: _or_greedy(x, t, x.softmax(0)),
            also=(lambda x, t: x.softmax(0),),
        ),
        Mistake(
            key="overflow",
            diagnosis="exp of a large number overflows, and the result is "
            "NaN. Take the largest logit away first, or use softmax.",
            wrong=lambda x, t: _or_greedy(x, t, _naive(x / (t or 1))),
            also=(
                lambda x, t: _naive(x / t),
                lambda x, t: _or_greedy(x, t, _power(x, t or 1, False)),
                lambda x, t: _power(x, t, False),
            ),
        ),
        Mistake(
            key="divided by zero",
            diagnosis="At temperature 0 you divide by 0. There the largest "
            "logit gets probability 1.",
            wrong=lambda x, t: (x / t).softmax(0),
            also=(lambda x, t: ((x - x.max()) / t).softmax(0),),
        ),
        Mistake(
            key="nearly zero",
            diagnosis="You put another number in place of temperature 0, "
            "and near ties still share. Treat 0 by itself: the largest logit "
            "gets 1.",
            wrong=lambda x, t: (x / (t + 1e-2)).softmax(0),
            also=tuple(partial(_at_least, small=10.0**-n) for n in range(5)),
        ),
        Mistake(
            key="added to every temperature",
            diagnosis="You add a small number to every temperature, so the "
            "result changes where the temperature is not 0, too. Treat 0 by "
            "itself: the largest logit gets 1.",
            wrong=partial(_increased, small=1e-8),
            also=tuple(
                partial(_increased, small=10.0**-n) for n in range(3, 9)
            ),
        ),
        Mistake(
            key="ties share",
            diagnosis="At temperature 0 equal logits share the probability. "
            "Give all of it to one token: treat 0 by itself, with a 1 at "
            "logits.argmax(), whatever else is as large.",
            wrong=partial(_at_least, small=1e-9),
            also=(partial(_all_largest, shared=True),),
        ),
        Mistake(
            key="every largest",
            diagnosis="At temperature 0 each of several equal logits gets 1, "
            "and the sum is above 1. Give it to one of them: "
            "logits.argmax() is one index.",
            wrong=partial(_all_largest, shared=False),
        ),
        Mistake(
            key="integers at 0",
            diagnosis="At temperature 0 you return integers, as one_hot "
            "makes them, and torch.multinomial cannot draw from these. Give "
            "the result the dtype of the logits: .to(logits.dtype).",
            wrong=_integers_at_zero,
        ),
        Mistake(
            key="only the index",
            diagnosis="At temperature 0 you return which logit is largest. "
            "Return V probabilities: 1 there, 0 elsewhere.",
            wrong=lambda x, t: x.argmax() if t == 0 else probabilities(x, t),
        ),
        slip(
            "smallest logit",
            "At temperature 0 you choose the smallest logit. The largest "
            "gets all of the probability.",
            probabilities,
            ("argmax", "argmin"),
        ),
        slip(
            "no softmax",
            "Your numbers are logits. Probabilities need a softmax.",
            probabilities,
            ("(logits / temperature).softmax(0)", "(logits / temperature)"),
        ),
        slip(
            "rounded down",
            "You round the logits down. Divide with /.",
            probabilities,
            ("logits / temperature", "logits // temperature"),
        ),
    ),
    hints=(
        "Does the temperature act on logits or on probabilities? And can you "
        "divide by 0?",
        "At temperature 0: zeros, and a 1 at logits.argmax(). Else the "
        "differences of logits grow as the temperature falls.",
        "(logits / temperature).softmax(0).",
    ),
)
