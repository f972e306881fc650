"""Exercise 24.4: settings with which a model without a gain trains alike."""

from collections.abc import Callable
from itertools import product

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def same_path(
    weight: np.ndarray,
    gain: float,
    lr: float,
    weight_decay: float,
    eps: float,
) -> tuple[np.ndarray, float, float, float]:
    """Return what W_O needs to train without a gain as it did with it.

    A model multiplies by gain, then by weight, W_O. AdamW trains weight with
    lr, weight_decay and eps. Its twin has no gain. Return the initial W_O of
    the twin, and its lr, weight_decay and eps, with which both compute the
    same function after every step. A step of AdamW is
    weight <- weight - lr * (weight_decay * weight + m / (sqrt(v) + eps)),
    with m and v running means of the gradient and of its square.
    """
    return gain * weight, gain * lr, weight_decay / gain, eps / gain


def _cases() -> list[Case]:
    cases = []
    for n, (gain, lr, decay, eps) in enumerate(
        (
            (0.5, 1e-2, 0.0, 0.0),  # the rate alone
            (0.8, 3e-3, 0.1, 0.0),  # and the decay
            (0.25, 1e-3, 0.0, 1e-3),  # and eps
            (0.645, 2e-3, 0.1, 1e-8),
            (1.0, 1e-3, 0.1, 1e-8),
        )
    ):
        weight = np.random.default_rng(n).normal(size=(2, n + 1))
        name = f"gain = {gain}, lr = {lr}, weight_decay = {decay}, eps = {eps}"
        cases.append(Case(name=name, args=(weight, gain, lr, decay, eps)))
    return cases


Settings = tuple[np.ndarray, float, float, float]


def _powers(*powers: int) -> Callable[..., Settings]:
    """Multiply each of the four by a power of the gain."""

    def answer(
        weight: np.ndarray, gain: float, lr: float, decay: float, eps: float
    ) -> Settings:
        a, b, c, d = (gain**n for n in powers)
        return a * weight, b * lr, c * decay, d * eps

    return answer


def _all(*choices: tuple[int, ...]) -> tuple[Callable[..., Settings], ...]:
    """Answers with every combination of the powers."""
    return tuple(_powers(*powers) for powers in product(*choices))


# Whatever else is wrong, the first wrong part in this order is named.
ANY = (-1, 0, 1)


def _mistake(key: str, diagnosis: str, *choices: tuple[int, ...]) -> Mistake:
    first, *others = _all(*choices)
    return Mistake(
        key=key, diagnosis=diagnosis, wrong=first, also=tuple(others)
    )


EXERCISE = Exercise(
    id="24.4",
    cases=_cases,
    solution=same_path,
    results=("the initial W_O", "lr", "weight_decay", "eps"),
    mistakes=(
        _mistake(
            "same weight",
            "Your twin begins with the same W_O. Without the gain it then "
            "computes another function before the first step.",
            (0,),
            (0, 1, -1, 2),
            (-1, 0, 1),
            (-1, 0, 1),
        ),
        _mistake(
            "weight divided",
            "You divide W_O by the gain. The twin has to do what the gain "
            "did: multiply.",
            (-1,),
            (-1, 0, 1, -2),
            (1, 0, -1),
            (1, 0, -1),
        ),
        _mistake(
            "same rate",
            "Your twin keeps lr. AdamW divides a gradient by its size, so a "
            "step of W_O has about the size lr, whatever the gain. But the "
            "function sees gain times the first model's step.",
            (1,),
            (0,),
            (0, -1, 1),
            (0, -1, 1),
        ),
        _mistake(
            "rate squared",
            "You multiply lr by the square of the gain. That is right for "
            "plain gradient descent, where the gradient's own size counts. "
            "AdamW divides it away, and one gain remains.",
            (1,),
            (2,),
            (-2, -1, 0, 1),
            (-2, -1, 0, 1),
        ),
        _mistake(
            "rate divided",
            "You divide lr by the gain. The twin's W_O is gain times the "
            "first one's, and so are its steps.",
            (1,),
            (-1,),
            ANY,
            ANY,
        ),
        _mistake(
            "same decay",
            "Your twin keeps weight_decay. A step takes the share lr * "
            "weight_decay of the weight away, which has to stay, and lr has "
            "changed.",
            (1,),
            (1,),
            (0,),
            ANY,
        ),
        _mistake(
            "decay multiplied",
            "You multiply weight_decay by the gain. The share lr * "
            "weight_decay has to stay, and lr has become smaller.",
            (1,),
            (1,),
            (1,),
            ANY,
        ),
        _mistake(
            "same eps",
            "Your twin keeps eps. Its gradient is larger than the first "
            "model's, by 1 / gain, and eps is added to that size.",
            (1,),
            (1,),
            (-1,),
            (0,),
        ),
        _mistake(
            "eps multiplied",
            "You multiply eps by the gain. The twin's gradient is larger "
            "than the first model's, not smaller: the chain rule gave that "
            "one the factor gain.",
            (1,),
            (1,),
            (-1,),
            (1, -2),
        ),
        slip(
            "another order",
            "Your numbers are in another order: W_O, lr, weight_decay, eps.",
            same_path,
            (
                "gain * weight, gain * lr, weight_decay / gain, eps / gain",
                "gain * weight, weight_decay / gain, gain * lr, eps / gain",
            ),
            (
                "gain * weight, gain * lr, weight_decay / gain, eps / gain",
                "gain * weight, gain * lr, eps / gain, weight_decay / gain",
            ),
        ),
        slip(
            "sum or rounded down",
            "One of your numbers is a sum, or is rounded down. The gain is "
            "a factor everywhere.",
            same_path,
            ("gain * weight", "gain + weight"),
            ("gain * lr", "gain + lr"),
            ("weight_decay / gain", "weight_decay // gain"),
            ("eps / gain", "eps // gain"),
            ("gain * lr", "gain"),
            ("gain * weight", "gain / weight"),
            ("gain * lr", "gain / lr"),
            ("weight_decay / gain", "gain"),
            ("eps / gain", "gain"),
        ),
    ),
    hints=(
        "Call the twin's matrix V = gain * W. If this holds before a step, "
        "what has V's step to be, so that it holds after it?",
        "The chain rule: the gradient for W is gain times that for V. So m "
        "and sqrt(v) of W both have the factor gain. What does m / (sqrt(v) "
        "+ eps) become if you divide by it?",
        "Multiply W's step by gain and write it in V: V <- V - lr * "
        "weight_decay * V - gain * lr * m' / (sqrt(v') + eps / gain). Now "
        "compare with a step of AdamW: lr is gain * lr, and lr * weight_decay "
        "has not changed.",
    ),
)
