"""Exercise 6.2: values of width 2D through calls of width D."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.ops.sdpa import softmax_attention

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


class WidthError(ValueError):
    """The attention that an answer is given takes one width only."""


def four_narrow(q: Tensor, k: Tensor, v: Tensor, lam: float, attend) -> Tensor:
    """Return A1 v - lam A2 v, (B, H, T, 2D), from four calls of attend.

    q and k (B, H, 2, T, D), v (B, H, T, 2D). attend(q, k, v) is causal
    attention for q, k, v of one shape, (B, H, T, D); other widths fail.
    """
    left, right = v.chunk(2, -1)
    branches = []
    for j in (0, 1):
        qj, kj = q[:, :, j], k[:, :, j]
        outs = [attend(qj, kj, left), attend(qj, kj, right)]
        branches.append(torch.cat(outs, -1))
    return branches[0] - lam * branches[1]


def one_width(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention that refuses what a narrow kernel refuses."""
    if not q.shape == k.shape == v.shape:
        raise WidthError(
            f"attend got q {tuple(q.shape)}, k {tuple(k.shape)}, "
            f"v {tuple(v.shape)}: it takes one shape for all three"
        )
    return softmax_attention(q, k, v)


def _run(
    answer: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, lam: float
) -> Tensor | None:
    return answer(q, k, v, lam, one_width)


def _cases() -> list[Case]:
    cases = []
    for seed, (B, H, T, D) in enumerate(
        [(1, 1, 1, 1), (2, 2, 5, 3), (1, 3, 4, 2), (2, 1, 7, 4)]
    ):
        generator = torch.Generator().manual_seed(seed)
        q, k = torch.randn(2, B, H, 2, T, D, generator=generator).double()
        v = torch.randn(B, H, T, 2 * D, generator=generator).double()
        cases.append(
            Case(
                name=f"B = {B}, H = {H}, T = {T}, D = {D}",
                args=(q, k, v, 0.7),
            )
        )
    return cases


def _whole(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    """Values of width 2D given to a call of width D."""
    o1, o2 = (attend(q[:, :, j], k[:, :, j], v) for j in (0, 1))
    return o1 - lam * o2


def _parts(
    q: Tensor,
    k: Tensor,
    pieces: tuple[Tensor, ...],
    attend: Attend,
) -> list[list[Tensor]]:
    return [
        [attend(q[:, :, j], k[:, :, j], w) for w in pieces] for j in (0, 1)
    ]


def _swapped(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    one, two = _parts(q, k, v.chunk(2, -1)[::-1], attend)
    return torch.cat(one, -1) - lam * torch.cat(two, -1)


def _columns(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    pieces = v[..., ::2], v[..., 1::2]
    one, two = _parts(q, k, pieces, attend)
    return torch.cat(one, -1) - lam * torch.cat(two, -1)


def _half_each(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    left, right = v.chunk(2, -1)
    o1 = attend(q[:, :, 0], k[:, :, 0], left)
    o2 = attend(q[:, :, 1], k[:, :, 1], right)
    return o1 - lam * o2


def _half_each_joined(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    left, right = v.chunk(2, -1)
    o1 = attend(q[:, :, 0], k[:, :, 0], left)
    o2 = attend(q[:, :, 1], k[:, :, 1], right)
    return torch.cat([o1, -lam * o2], -1)


def _joined_by(axis: int) -> Callable[..., Tensor]:
    def wrong(
        q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
    ) -> Tensor:
        one, two = _parts(q, k, v.chunk(2, -1), attend)
        return torch.cat(one, axis) - lam * torch.cat(two, axis)

    return wrong


def _padded(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    """Queries and keys widened by zeros: attend scales by their width."""
    o1, o2 = (
        attend(
            torch.cat([q[:, :, j], torch.zeros_like(q[:, :, j])], -1),
            torch.cat([k[:, :, j], torch.zeros_like(k[:, :, j])], -1),
            v,
        )
        for j in (0, 1)
    )
    return o1 - lam * o2


def _added(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    one, two = _parts(q, k, v.chunk(2, -1), attend)
    return one[0] + one[1] - lam * (two[0] + two[1])


def _no_lam(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    return four_narrow(q, k, v, 1.0, attend)


def _chunk(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    left, right = v.chunk(2)
    one, two = _parts(q, k, (left, right), attend)
    return torch.cat(one, -1) - lam * torch.cat(two, -1)


EXERCISE = Exercise(
    id="6.2",
    cases=_cases,
    solution=four_narrow,
    run=_run,
    mistakes=(
        Mistake(
            key="values whole",
            diagnosis="You give attend the values whole. They are 2D wide, "
            "and it takes D: one call for each half of their columns.",
            wrong=_whole,
        ),
        Mistake(
            key="halves of the batch",
            diagnosis="v is cut along its first axis, the batch: that is "
            "what chunk does when no axis is named. Cut the last one, -1.",
            wrong=_chunk,
        ),
        Mistake(
            key="halves swapped",
            diagnosis="The halves of the output are swapped: the first half "
            "of the values gives its first half.",
            wrong=_swapped,
        ),
        Mistake(
            key="every second column",
            diagnosis="You cut the values into even and odd columns and put "
            "the results end to end. Cut them into a first and a last half.",
            wrong=_columns,
        ),
        Mistake(
            key="half for each branch",
            diagnosis="Branch 1 reads only the first half of the values, "
            "branch 2 only the other. Both read all of v: four calls.",
            wrong=_half_each,
        ),
        Mistake(
            key="half for each branch, joined",
            diagnosis="Branch 1 makes one half of the output, branch 2 the "
            "other, and nothing is subtracted from anything. Both branches "
            "read both halves: four calls.",
            wrong=_half_each_joined,
        ),
        Mistake(
            key="joined along the batch",
            diagnosis="The halves are put one after the other along the "
            "first axis: that is what cat does when no axis is named. They "
            "belong side by side, along -1.",
            wrong=_joined_by(0),
        ),
        Mistake(
            key="joined along the tokens",
            diagnosis="The halves are put one after the other along the "
            "tokens' axis. They belong side by side, along -1.",
            wrong=_joined_by(-2),
        ),
        Mistake(
            key="halves added",
            diagnosis="You add the two halves of the output. They are "
            "different columns: put them side by side.",
            wrong=_added,
        ),
        Mistake(
            key="padded with zeros",
            diagnosis="You widen q and k with zeros, which leaves their dot "
            "products alone. But attend divides by the root of the width it "
            "gets, now 2D. Cut v instead.",
            wrong=_padded,
        ),
        Mistake(
            key="lambda dropped",
            diagnosis="lambda is not used: this is A1 v - A2 v.",
            wrong=_no_lam,
        ),
    ),
    hints=(
        "A weight multiplies a whole row of v. Do the columns of v ever mix?",
        "They do not, so A [left, right] = [A left, A right]. Cut v by "
        "v.chunk(2, -1), call attend for each branch and each half, and put "
        "the halves side by side.",
        "o1 = torch.cat([attend(q[:, :, 0], k[:, :, 0], w) for w in "
        "v.chunk(2, -1)], -1), o2 the same with 1; return o1 - lam * o2.",
    ),
)
