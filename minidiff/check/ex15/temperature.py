"""Exercise 15.1: probabilities at a temperature."""

from functools import partial

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake


def probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Return the probabilities (V,) of the next token.

    logits (V,) may be in the thousands. At temperature 1 the probabilities
    are the model's own. A lower temperature makes the likely tokens likelier;
    at 0 all of the probability is on the largest logit.
    """
    if temperature == 0:
        out = torch.zeros_like(logits)
        out[logits.argmax()] = 1
        return out
    return (logits / temperature).softmax(0)


def _cases() -> list[Case]:
    cases = []
    for V, temperature, size, tie in (
        (6, 1.0, 2.0, 0.0),
        (3, 0.5, 2.0, 0.0),
        (8, 2.0, 2.0, 0.0),
        (5, 0.1, 300.0, 0.05),
        (7, 0.0, 2.0, 0.0),
        (4, 0.0, 2.0, 1e-3),
    ):
        random = torch.Generator().manual_seed(V)
        logits = size * torch.randn(V, generator=random, dtype=torch.float64)
        name = f"{V} logits of size {size:g}, temperature = {temperature}"
        if tie:  # another logit is nearly as large, so that two may count
            best = int(logits.argmax())
            logits[(best + 1) % V] = logits[best] - tie
            name += f", the largest two {tie:g} apart"
        cases.append(Case(name=name, args=(logits, temperature)))
    return cases


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


def _naive(x: Tensor) -> Tensor:
    return x.exp() / x.exp().sum()


EXERCISE = Exercise(
    id="15.1",
    cases=_cases,
    solution=probabilities,
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
            also=(
                *(partial(_at_least, small=10.0**-n) for n in range(5)),
                *(partial(_increased, small=10.0**-n) for n in range(3, 9)),
            ),
        ),
        Mistake(
            key="only the index",
            diagnosis="At temperature 0 you return which logit is largest. "
            "Return V probabilities: 1 there, 0 elsewhere.",
            wrong=lambda x, t: x.argmax() if t == 0 else probabilities(x, t),
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
