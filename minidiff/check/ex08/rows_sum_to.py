"""Exercise 8.1: a property of every differential map."""

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake


def rows_sum_to(A: Tensor, lam: float) -> bool:
    """Whether each row of A (B, H, T, S) sums to 1 - lam, up to rounding.

    Return True or False, not one answer a row.
    """
    sums = A.sum(-1)
    return torch.allclose(sums, torch.full_like(sums, 1 - lam))


def _maps(seed: int, lam: float, T: int = 5, S: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, 2, 3, T, S, generator=generator)
    A1, A2 = logits.softmax(-1)
    return A1 - lam * A2


def _cases() -> list[Case]:
    uneven = _maps(3, 0.5)
    uneven[:, :, 0] += 0.02
    uneven[:, :, 1] -= 0.02
    heads = _maps(10, 0.5)
    heads[:, 0] += 0.02
    heads[:, 1] -= 0.02
    third = _maps(11, 0.5)
    third[0, 2, 1, 0] += 0.1
    near = _maps(4, 0.5)
    near[0, 0, 2, 0] -= 1e-3
    columns = _maps(5, 0.25).mT.contiguous()
    kinds = [
        ("a right map, lam = 0.8: expected True", _maps(0, 0.8), 0.8),
        ("a right map, lam = -0.3: expected True", _maps(1, -0.3), -0.3),
        ("a right map, T = 1, lam = 1.2", _maps(2, 1.2, 1, 4), 1.2),
        ("a softmax map, lam = 0.5: expected False", _maps(6, 0.0), 0.5),
        ("A1 - A2, lam = 0.5: expected False", _maps(9, 1.0), 0.5),
        ("rows right only on average: expected False", uneven, 0.5),
        ("one head too large, one too small: expected False", heads, 0.5),
        ("a row of the third head is off: expected False", third, 0.5),
        ("one row off by 0.001: expected False", near, 0.5),
        ("columns sum to 1 - lam: expected False", columns, 0.25),
        ("rows sum to lam: expected False", _maps(7, 0.8), 0.2),
    ]
    cases = [Case(name=name, args=(A, lam)) for name, A, lam in kinds]
    for sign in (0.1, -0.1):
        A = _maps(8, 0.8)
        A[1, 2, -1, -1] += sign
        word = "large" if sign > 0 else "small"
        name = f"the last row's sum too {word}: expected False"
        cases.append(Case(name=name, args=(A, 0.8)))
    return cases


def _gap(A: Tensor, lam: float) -> Tensor:
    return A.sum(-1) - (1 - lam)


EXERCISE = Exercise(
    id="8.1",
    cases=_cases,
    solution=rows_sum_to,
    mistakes=(
        Mistake(
            key="sum to one",
            diagnosis="You ask for rows that sum to 1. That is a softmax "
            "map; the difference keeps 1 - lam.",
            wrong=lambda A, lam: _gap(A, 0.0).abs().max() < 1e-6,
        ),
        Mistake(
            key="sum to lam",
            diagnosis="You ask for rows that sum to lam. A1 gives 1 and "
            "lam A2 takes lam away.",
            wrong=lambda A, lam: _gap(A, 1 - lam).abs().max() < 1e-6,
        ),
        Mistake(
            key="columns",
            diagnosis="You add up columns. The softmax runs over the keys, "
            "the last axis.",
            wrong=lambda A, lam: (
                A.shape[-1] > 1 and _gap(A.mT, lam).abs().max() < 1e-6
            ),
        ),
        Mistake(
            key="on average",
            diagnosis="You test the mean of the rows' sums. A row too large "
            "and a row too small then pass together: test each.",
            wrong=lambda A, lam: _gap(A, lam).mean().abs() < 1e-6,
        ),
        Mistake(
            key="mean over the rows",
            diagnosis="You take the mean over the rows of each map. A row "
            "too large and a row too small in one map then pass together: "
            "test each row.",
            wrong=lambda A, lam: _gap(A, lam).mean(-1).abs().max() < 1e-6,
            also=(
                lambda A, lam: torch.allclose(
                    A.mean(2).sum(-1), torch.full(A.shape[:2], 1 - lam)
                ),
            ),
        ),
        Mistake(
            key="first head only",
            diagnosis="You look at the first head only. All heads must be "
            "right, in all sequences of the batch.",
            wrong=lambda A, lam: _gap(A, lam)[:, 0].abs().max() < 1e-6,
            also=(lambda A, lam: _gap(A, lam)[0, 0].abs().max() < 1e-6,),
        ),
        Mistake(
            key="first sequence only",
            diagnosis="You look at the first sequence of the batch only. "
            "All must be right.",
            wrong=lambda A, lam: _gap(A, lam)[0].abs().max() < 1e-6,
        ),
        Mistake(
            key="first row only",
            diagnosis="You look at the first row of each map. All T rows "
            "must be right.",
            wrong=lambda A, lam: _gap(A, lam)[..., 0].abs().max() < 1e-6,
        ),
        Mistake(
            key="tensor against number",
            diagnosis="torch.allclose takes two tensors, and 1 - lam is a "
            "number. Subtract it from the sums and compare with zeros, or "
            "use .abs().max() < 1e-6.",
            wrong=lambda A, lam: torch.allclose(A.sum(-1), 1 - lam),
        ),
        Mistake(
            key="any row",
            diagnosis="One right row is enough for you. All must be right.",
            wrong=lambda A, lam: (_gap(A, lam).abs() < 1e-6).any(),
        ),
        Mistake(
            key="exactly",
            diagnosis="Right maps fail. Either you compare with ==, and sums "
            "of rounded numbers are off in the last digit: allow 1e-6. Or "
            "what you compare is not the sum of each row over the last axis, "
            "but a mean, say, or the sum over another axis.",
            wrong=lambda A, lam: (_gap(A, lam) == 0).all(),
        ),
        Mistake(
            key="one side",
            diagnosis="A sum that is too small passes. Take the absolute "
            "value of the gap.",
            wrong=lambda A, lam: _gap(A, lam).max() < 1e-6,
        ),
        Mistake(
            key="too loose",
            diagnosis="A row off by 0.001 passes. Rounding is far smaller: "
            "allow 1e-6, say.",
            wrong=lambda A, lam: _gap(A, lam).abs().max() < 0.01,
        ),
        Mistake(
            key="nothing negative",
            diagnosis="You also ask that no weight be negative. In a "
            "difference of maps negative weights are right.",
            wrong=lambda A, lam: bool(
                _gap(A, lam).abs().max() < 1e-6 and (A >= 0).all()
            ),
        ),
        Mistake(
            key="one answer a row",
            diagnosis="You return one answer for each row. Join them: "
            "torch.allclose, or .all().",
            wrong=lambda A, lam: _gap(A, lam).abs() < 1e-6,
        ),
    ),
    hints=(
        "Over which axis did the softmax run? Along that axis A1 sums to 1, "
        "and so does A2.",
        "A.sum(-1) has one sum for each row. Compare all of them with one "
        "number, and leave room for rounding.",
        "(A.sum(-1) - (1 - lam)).abs().max() < 1e-6",
    ),
)
