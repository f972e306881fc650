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


def _overwritten(weight: Tensor, D: int) -> Tensor:
    blocks = weight.clone().unflatten(0, (-1, D))
    blocks[:, : D // 2] = blocks[:, 0::2].clone()
    blocks[:, D // 2 :] = blocks[:, 1::2].clone()
    return blocks.flatten(0, 1)


def _in_place(weight: Tensor, D: int) -> Tensor:
    weight[:] = half_order(weight, D)
    return weight


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
            key="cut the wrong way",
            diagnosis="You cut the rows into D blocks of n. They are n "
            "blocks of D: unflatten(0, (-1, D)).",
            wrong=lambda weight, D: torch.cat(
                [weight.unflatten(0, (D, -1))[i::2] for i in (0, 1)]
            ).flatten(0, 1),
        ),
        Mistake(
            key="overwritten",
            diagnosis="You write the first half of a block and then read "
            "odd rows that it has overwritten. Read from weight, write into "
            "a new tensor.",
            wrong=_overwritten,
        ),
        Mistake(
            key="weight changed",
            diagnosis="You move the rows of weight itself. Return a new "
            "tensor and leave weight as it was.",
            wrong=_in_place,
        ),
        Mistake(
            key="stacked",
            diagnosis="Even and odd rows are on an axis of their own, as "
            "torch.stack gives them. Join them along the axis they have: "
            "torch.cat(..., 1).",
            wrong=lambda weight, D: half_order(weight, D).unflatten(
                0, (-1, D // 2)
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
