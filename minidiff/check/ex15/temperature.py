"""Exercise 15.4: probabilities at a temperature."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.reference import softmax


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities (V,) of the next token.

    logits (V,). Below temperature 1 likely tokens get likelier, above 1 less
    so.
    """
    return softmax(logits / temperature)


def _cases() -> list[Case]:
    return [
        Case(
            name=f"{V} tokens, temperature = {t}",
            args=(3 * np.random.default_rng(V).normal(size=V), t),
        )
        for V, t in ((3, 0.5), (8, 2.0), (5, 0.1))
    ]


EXERCISE = Exercise(
    id="15.4",
    cases=_cases,
    solution=probabilities,
    mistakes=(
        Mistake(
            key="multiplied",
            diagnosis="You multiply by the temperature. Divide: a low "
            "temperature makes logits larger and the choice surer.",
            wrong=lambda x, t: softmax(x * t),
        ),
        Mistake(
            key="after the softmax",
            diagnosis="You divide the probabilities, and they no longer sum "
            "to 1. Divide the logits, then take the softmax.",
            wrong=lambda x, t: softmax(x) / t,
        ),
        Mistake(
            key="temperature unused",
            diagnosis="The temperature has no effect.",
            wrong=lambda x, t: softmax(x),
        ),
    ),
    hints=(
        "Does the temperature act on logits or on probabilities?",
        "At a temperature near 0 differences between logits must become huge.",
        "softmax(logits / temperature).",
    ),
)
