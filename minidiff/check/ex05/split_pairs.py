"""Exercise 5.2: from columns to heads and branches."""

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake


def split_pairs(y: Tensor, H: int) -> Tensor:
    """Return y (B, T, H * 2 * D) as (B, H, 2, T, D).

    The columns hold head 0, branch 1; head 0, branch 2; head 1, branch 1;
    and so on, D columns each.
    """
    D = y.shape[-1] // (2 * H)
    return y.unflatten(-1, (H, 2, D)).movedim(1, -2)


def _cases() -> list[Case]:
    cases = []
    for seed, (B, T, H, D) in enumerate(
        [(1, 1, 1, 2), (2, 3, 2, 4), (1, 5, 3, 2), (2, 6, 3, 1)]
    ):
        generator = torch.Generator().manual_seed(seed)
        y = torch.randn(B, T, 2 * H * D, generator=generator).double()
        cases.append(
            Case(name=f"B = {B}, T = {T}, H = {H}, D = {D}", args=(y, H))
        )
    return cases


def _width(y: Tensor, H: int) -> int:
    return y.shape[-1] // (2 * H)


EXERCISE = Exercise(
    id="5.2",
    cases=_cases,
    solution=split_pairs,
    mistakes=(
        Mistake(
            key="reshaped only",
            diagnosis="You give the numbers a new shape without moving the "
            "tokens' axis, so tokens and heads are mixed up. Cut the last "
            "axis first, then move axis 1.",
            wrong=lambda y, H: y.reshape(
                y.shape[0], H, 2, y.shape[1], _width(y, H)
            ),
            also=(
                lambda y, H: y.reshape(
                    y.shape[0], H, y.shape[1], 2, _width(y, H)
                ).transpose(2, 3),
            ),
        ),
        Mistake(
            key="halves of the columns",
            diagnosis="You take the first half of all columns as branch 1. "
            "Here the branches of one head stand side by side: cut into "
            "(H, 2, D), not (2, H, D).",
            wrong=lambda y, H: y.unflatten(-1, (2, H, _width(y, H))).permute(
                0, 3, 2, 1, 4
            ),
        ),
        Mistake(
            key="every second column",
            diagnosis="You take every second column for each branch. A "
            "branch is D columns in a row: cut into (H, 2, D), not "
            "(H, D, 2).",
            wrong=lambda y, H: y.unflatten(-1, (H, _width(y, H), 2)).permute(
                0, 2, 4, 1, 3
            ),
        ),
        Mistake(
            key="tokens not moved",
            diagnosis="The cut is right, but the result is (B, T, H, 2, D): "
            "the tokens belong on axis -2, beside the width.",
            wrong=lambda y, H: y.unflatten(-1, (H, 2, _width(y, H))),
        ),
        Mistake(
            key="branch before head",
            diagnosis="The result is (B, 2, H, T, D). Heads come first, then "
            "the branches of each head.",
            wrong=lambda y, H: split_pairs(y, H).transpose(1, 2),
        ),
        Mistake(
            key="tokens before branches",
            diagnosis="The result is (B, H, T, 2, D): tokens and heads have "
            "changed places. The tokens go further, behind the branches.",
            wrong=lambda y, H: split_pairs(y, H).transpose(2, 3),
        ),
        Mistake(
            key="tokens last",
            diagnosis="The result is (B, H, 2, D, T). The width stays last, "
            "the tokens come before it: axis -2.",
            wrong=lambda y, H: split_pairs(y, H).transpose(3, 4),
        ),
        Mistake(
            key="branches moved",
            diagnosis="The result is (B, 2, T, H, D): the branches were "
            "moved to the front. Move the tokens: axis 1 to -2.",
            wrong=lambda y, H: y.unflatten(-1, (H, 2, _width(y, H))).movedim(
                -2, 1
            ),
        ),
        Mistake(
            key="one axis for heads and branches",
            diagnosis="Heads and branches share one axis: (B, 2 H, T, D). Cut "
            "the columns into three: (H, 2, D).",
            wrong=lambda y, H: split_pairs(y, H).flatten(1, 2),
        ),
    ),
    hints=(
        "Two steps: first cut the last axis into three, then move one axis.",
        "y.unflatten(-1, (H, 2, D)) has shape (B, T, H, 2, D). Which axis is "
        "in the wrong place?",
        "y.unflatten(-1, (H, 2, D)).movedim(1, -2) with "
        "D = y.shape[-1] // (2 * H).",
    ),
)
