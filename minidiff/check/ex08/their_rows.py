"""Exercise 8.4: the rows of a query matrix in the order of DiffLlama."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake


def their_rows(weight: Tensor, D: int) -> Tensor:
    """Return the rows of a query matrix in the order of DiffLlama.

    weight (H * 2 * D, E): head after head; in each head the D rows of branch
    1, then the D rows of branch 2. Rows 2i and 2i + 1 of a branch are turned
    together by RoPE. The result has the same shape: branch 1 of all heads,
    then branch 2 of all heads. In each branch row 2i goes to place i, and
    row 2i + 1 to place i + D / 2.
    """
    rows = weight.unflatten(0, (-1, 2, D // 2, 2))  # head, branch, i, even
    return rows.permute(1, 0, 3, 2, 4).flatten(0, 3)


def _cases() -> list[Case]:
    cases = []
    for seed, (H, D, E) in enumerate([(1, 6, 2), (3, 8, 4), (4, 2, 5)]):
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(E, H * 2 * D, generator=generator).double().T
        name = f"H = {H}, D = {D}, E = {E}"
        cases.append(Case(name=name, args=(weight, D)))
    return cases


def _ordered(
    *axes: int, cut: tuple[int, int] = (-1, 2)
) -> Callable[..., Tensor]:
    """Cut the rows into four axes, order these, and join them again."""

    def answer(weight: Tensor, D: int) -> Tensor:
        rows = weight.unflatten(0, (*cut, D // 2, 2))
        return rows.permute(*axes, 4).flatten(0, 3)

    return answer


def _the_way_back(weight: Tensor, D: int) -> Tensor:
    rows = weight.unflatten(0, (2, -1, 2, D // 2))
    return rows.permute(1, 0, 3, 2, 4).flatten(0, 3)


def _interleaved(weight: Tensor, D: int) -> Tensor:
    rows = weight.unflatten(0, (-1, 2, 2, D // 2))
    return rows.permute(1, 0, 3, 2, 4).flatten(0, 3)


def _flipped(axis: int) -> Callable[..., Tensor]:
    def answer(weight: Tensor, D: int) -> Tensor:
        rows = weight.unflatten(0, (-1, 2, D // 2, 2)).flip(axis)
        return rows.permute(1, 0, 3, 2, 4).flatten(0, 3)

    return answer


def _over_the_head(weight: Tensor, D: int) -> Tensor:
    heads = weight.unflatten(0, (-1, D, 2))
    return heads.transpose(1, 2).flatten(0, 2)


def _in_place(weight: Tensor, D: int) -> Tensor:
    weight[:] = their_rows(weight, D)
    return weight


EXERCISE = Exercise(
    id="8.4",
    cases=_cases,
    solution=their_rows,
    mistakes=(
        Mistake(
            key="branches left",
            diagnosis="Inside each branch the order is right, but the two "
            "branches of a head still stand side by side. Put branch 1 of "
            "all heads first.",
            wrong=_ordered(0, 1, 3, 2),
        ),
        Mistake(
            key="rotary left",
            diagnosis="The branches are where they belong, but inside each "
            "branch the rotary pairs still stand side by side. Put the even "
            "rows of a branch first, then its odd rows.",
            wrong=_ordered(1, 0, 2, 3),
        ),
        Mistake(
            key="the way back",
            diagnosis="This is the inverse: it turns the order of DiffLlama "
            "into ours.",
            wrong=_the_way_back,
        ),
        Mistake(
            key="cut in halves",
            diagnosis="You read the rows you are given as branch 1 of all "
            "heads, then branch 2. That is the order of the result. They "
            "come head after head.",
            wrong=_ordered(1, 0, 3, 2, cut=(2, -1)),
        ),
        Mistake(
            key="rotary inverted",
            diagnosis="The branches are where they belong, but inside each "
            "branch you go the other way: from two halves to pairs side by "
            "side. We have pairs side by side, DiffLlama has halves.",
            wrong=_interleaved,
        ),
        Mistake(
            key="even and odd before the heads",
            diagnosis="You sort even and odd rows over all heads. Each head "
            "keeps its D rows of a branch together: even or odd counts after "
            "the head.",
            wrong=_ordered(1, 3, 0, 2),
            also=(_ordered(3, 1, 0, 2),),
        ),
        Mistake(
            key="odd rows first",
            diagnosis="In each branch the odd rows come first. The even rows "
            "go to the first half.",
            wrong=_flipped(3),
        ),
        Mistake(
            key="second branch first",
            diagnosis="Branch 2 of all heads comes first. Begin with branch "
            "1.",
            wrong=_flipped(1),
        ),
        Mistake(
            key="every second row",
            diagnosis="You take every second row of the whole matrix, so the "
            "rows leave their heads. Cut the matrix into branches of D rows "
            "first.",
            wrong=lambda weight, D: torch.cat([weight[0::2], weight[1::2]]),
        ),
        Mistake(
            key="rotary over the head",
            diagnosis="You sort even and odd rows over both branches of a "
            "head. Each branch of D rows is sorted by itself, and branch 1 of "
            "all heads comes first.",
            wrong=_over_the_head,
        ),
        Mistake(
            key="columns moved",
            diagnosis="You move columns. A row of the matrix makes one "
            "channel of the queries, and channels are what RoPE turns.",
            wrong=lambda weight, D: torch.cat(
                [weight[:, 0::2], weight[:, 1::2]], 1
            ),
        ),
        Mistake(
            key="weight changed",
            diagnosis="You move the rows of weight itself. Return a new "
            "tensor and leave weight as it was.",
            wrong=_in_place,
        ),
        Mistake(
            key="axes kept",
            diagnosis="The order is right, but the rows are still on several "
            "axes. Join them: flatten(0, 3).",
            wrong=lambda weight, D: their_rows(weight, D).unflatten(
                0, (2, -1, 2, D // 2)
            ),
        ),
        Mistake(
            key="left as it was",
            diagnosis="The rows are where they were.",
            wrong=lambda weight, D: weight.clone(),
        ),
    ),
    hints=(
        "A row's number has four parts: its head, its branch, its rotary "
        "pair, and whether it is the even or the odd row of that pair. In "
        "which order do these parts count in our matrix, and in theirs?",
        "Cut the rows into four axes: weight.unflatten(0, (-1, 2, D // 2, "
        "2)) has head, branch, pair, even or odd. DiffLlama's order is "
        "branch, head, even or odd, pair.",
        "permute(1, 0, 3, 2, 4), then flatten(0, 3).",
    ),
)
