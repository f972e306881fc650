"""Exercise 15.1: inputs and targets of next-token prediction."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake


def inputs_and_targets(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets (B, T), so that targets are the next token.

    tokens (B, T + 1): rows of token ids.
    """
    return tokens[:, :-1], tokens[:, 1:]


def _cases() -> list[Case]:
    return [
        Case(
            name=f"tokens of shape ({B}, {n})",
            args=(np.random.default_rng(B).integers(0, 99, (B, n)),),
        )
        for B, n in ((1, 4), (3, 7), (2, 2))
    ]


EXERCISE = Exercise(
    id="15.1",
    cases=_cases,
    solution=inputs_and_targets,
    mistakes=(
        Mistake(
            key="not shifted",
            diagnosis="Inputs and targets are the same tokens: the model "
            "would learn to copy. Targets stand one place further right.",
            wrong=lambda t: (t[:, :-1], t[:, :-1]),
        ),
        Mistake(
            key="shifted the wrong way",
            diagnosis="The targets are the tokens before, which the model "
            "has seen. They must be the tokens after.",
            wrong=lambda t: (t[:, 1:], t[:, :-1]),
        ),
        Mistake(
            key="shifted along the batch",
            diagnosis="You shift along axis 0, from row to row. The next "
            "token stands on axis 1.",
            wrong=lambda t: (t[:-1], t[1:]),
        ),
        Mistake(
            key="wrapped around",
            diagnosis="The last target is the row's first token: np.roll "
            "wraps around. Use T of the T + 1 tokens for each.",
            wrong=lambda t: (t, np.roll(t, -1, axis=1)),
        ),
    ),
    hints=(
        "Position t of the inputs must predict which token of the row?",
        "There are T + 1 tokens for T predictions. Which one is never an "
        "input, and which one is never a target?",
        "tokens[:, :-1] and tokens[:, 1:].",
    ),
)
