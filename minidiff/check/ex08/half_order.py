"""Exercise 8.4: from adjacent rotary pairs to halves."""

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake


def half_order(weight: Tensor, D: int) -> Tensor:
    """Return the rows of weight (n * D, E) in the order of DiffLlama.

    Each block of D rows is one branch of a head. Rows 2i and 2i + 1 of a
    block go to places i and i + D / 2 of the same block.
    """
    blocks = weight.unflatten(0, (-1, D))  # (n, D, E)
    return torch.cat([blocks[:, 0::2], blocks[:, 1::2]], 1).flatten(0, 1)


def _cases() -> list[Case]:
    cases = []
    for seed, (n, D, E) in enumerate([(1, 6, 2), (4, 8, 3), (3, 2, 5)]):
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(E, n * D, generator=generator).double().T
        cases.append(Case(name=f"n = {n}, D = {D}, E = {E}", args=(weight, D)))
    return cases


def _inverse(weight: Tensor, D: int) -> Tensor:
    halves = weight.unflatten(0, (-1, 2, D // 2))
    return halves.transpose(1, 2).flatten(0, 2)


EXERCISE = Exercise(
    id="8.4",
    cases=_cases,
    solution=half_order,
    mistakes=(
        Mistake(
            key="the way back",
            diagnosis="This is the inverse: it turns halves into adjacent "
            "pairs. (With D = 4 both are the same, so test with more.)",
            wrong=_inverse,
        ),
        Mistake(
            key="blocks mixed",
            diagnosis="You take every second row of the whole matrix, so "
            "rows leave their blocks. Cut into blocks of D first.",
            wrong=lambda weight, D: torch.cat([weight[0::2], weight[1::2]]),
        ),
        Mistake(
            key="odd rows first",
            diagnosis="The odd rows come first. Even rows go to the first "
            "half of a block.",
            wrong=lambda weight, D: (
                half_order(weight, D)
                .unflatten(0, (-1, 2, D // 2))
                .flip(1)
                .flatten(0, 2)
            ),
        ),
        Mistake(
            key="columns moved",
            diagnosis="You move columns. What turns in a rotation is the "
            "output of the matrix, and its rows make it.",
            wrong=lambda weight, D: torch.cat(
                [weight[:, 0::2], weight[:, 1::2]], 1
            ),
        ),
        Mistake(
            key="left as it was",
            diagnosis="The rows are where they were.",
            wrong=lambda weight, D: weight.clone(),
        ),
        Mistake(
            key="blocks kept apart",
            diagnosis="The order is right, but the blocks are still on an "
            "axis of their own: flatten(0, 1).",
            wrong=lambda weight, D: half_order(weight, D).unflatten(
                0, (-1, D)
            ),
        ),
    ),
    hints=(
        "Write down for D = 6 which old row stands at each new place.",
        "Even rows first: 0, 2, 4, then 1, 3, 5. Do it in each block of D "
        "rows by itself.",
        "blocks = weight.unflatten(0, (-1, D)); join blocks[:, 0::2] and "
        "blocks[:, 1::2] along axis 1, then flatten(0, 1).",
    ),
)
