"""Exercise 6.2: values of width 2D through calls of width D."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.ex06.attend import Attend, draw, one_width

Outputs = tuple[Tensor, ...]


def four_narrow(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: float,
    attend: Callable[..., Tensor],
) -> Tensor:
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


def _run(
    answer: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, lam: float
) -> Tensor | None:
    return answer(q, k, v, lam, one_width)


def _cases() -> list[Case]:
    return draw((2, 1, 1, 1, 2), (2, 2, 5, 3, 6), (3, 3, 4, 2, 4))


def _then(end: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A wrong answer: the right four outputs, and a wrong end.

    ``end`` gets branch 1's left and right half, branch 2's, and lambda.
    """

    def wrong(
        q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
    ) -> Tensor:
        halves = v.chunk(2, -1)
        one, two = (
            [attend(q[:, :, j], k[:, :, j], w) for w in halves] for j in (0, 1)
        )
        return end(*one, *two, lam)

    return wrong


def _values_whole(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    o1, o2 = (attend(q[:, :, j], k[:, :, j], v) for j in (0, 1))
    return o1 - lam * o2


def _axis_kept(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    return attend(q[:, :, :1], k[:, :, :1], v[..., : q.shape[-1]])


def _keys_of_one(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    return four_narrow(q, k[:, :, [0, 0]], v, lam, attend)


EXERCISE = Exercise(
    id="6.2",
    cases=_cases,
    solution=four_narrow,
    run=_run,
    mistakes=(
        Mistake(
            key="not cut by columns",
            diagnosis="The values that attend gets are not D wide. Cut their "
            "last axis in two, v.chunk(2, -1): without the axis, chunk cuts "
            "the batch.",
            wrong=_values_whole,
        ),
        Mistake(
            key="axis of branches kept",
            diagnosis="q and k keep the axis of branches. q[:, :, 0] takes "
            "branch 1 and drops it; chunk leaves an axis of length 1.",
            wrong=_axis_kept,
        ),
        Mistake(
            key="half for each branch",
            diagnosis="Branch 1 reads only the first half of the values, "
            "branch 2 only the other. Both read all of v: four calls.",
            wrong=_then(lambda l1, r1, l2, r2, lam: l1 - lam * r2),
            also=(
                _then(
                    lambda l1, r1, l2, r2, lam: torch.cat([l1, -lam * r2], -1)
                ),
            ),
        ),
        Mistake(
            key="keys of branch 1 twice",
            diagnosis="Branch 2's queries meet branch 1's keys. Each branch "
            "has its own.",
            wrong=_keys_of_one,
        ),
        Mistake(
            key="halves not side by side",
            diagnosis="The halves are joined along the wrong axis. They are "
            "columns and belong side by side, along -1; when no axis is "
            "named, cat takes the first, the batch.",
            wrong=_then(
                lambda l1, r1, l2, r2, lam: (
                    torch.cat([l1, r1]) - lam * torch.cat([l2, r2])
                )
            ),
            also=(
                _then(
                    lambda l1, r1, l2, r2, lam: (
                        torch.cat([l1, r1], -2) - lam * torch.cat([l2, r2], -2)
                    )
                ),
            ),
        ),
        Mistake(
            key="halves added",
            diagnosis="You add the two halves of the output. They are "
            "different columns: put them side by side.",
            wrong=_then(lambda l1, r1, l2, r2, lam: l1 + r1 - lam * (l2 + r2)),
        ),
        Mistake(
            key="four side by side",
            diagnosis="All four outputs stand side by side, 4D wide. Only "
            "the halves do; the branches are subtracted.",
            wrong=_then(
                lambda l1, r1, l2, r2, lam: torch.cat(
                    [l1, r1, -lam * l2, -lam * r2], -1
                )
            ),
        ),
        Mistake(
            key="lambda dropped",
            diagnosis="lambda is not used: this is A1 v - A2 v.",
            wrong=_then(
                lambda l1, r1, l2, r2, lam: torch.cat([l1 - l2, r1 - r2], -1)
            ),
        ),
        Mistake(
            key="branches swapped",
            diagnosis="The branches are swapped: this is A2 v - lam A1 v.",
            wrong=_then(
                lambda l1, r1, l2, r2, lam: torch.cat(
                    [l2 - lam * l1, r2 - lam * r1], -1
                )
            ),
        ),
        Mistake(
            key="added",
            diagnosis="The second branch is added. It is subtracted.",
            wrong=_then(
                lambda l1, r1, l2, r2, lam: torch.cat(
                    [l1 + lam * l2, r1 + lam * r2], -1
                )
            ),
        ),
        Mistake(
            key="keys ask queries",
            diagnosis="Queries and keys have changed places: attend takes "
            "q first, then k.",
            wrong=lambda q, k, v, lam, attend: four_narrow(
                k, q, v, lam, attend
            ),
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
