"""Exercise 27.2: DINT's map, with rows that sum to 1 and see no future."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def dint_map(A1: Tensor, A2: Tensor, lam: float) -> Tensor:
    """Return A1 - lam A2 + lam G, (H, T, T), for causal maps A1, A2.

    Row t of G is the mean of the rows 0 to t of A1, so that no row depends
    on a later query.
    """
    counts = torch.arange(1, A1.shape[1] + 1)
    G = A1.cumsum(1) / counts[:, None]
    return A1 - lam * A2 + lam * G


def _cases() -> list[Case]:
    cases = []
    for seed, (H, T) in enumerate([(1, 2), (2, 5), (1, 1), (3, 4)]):
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(2, H, T, T, generator=generator).double()
        seen = torch.ones(T, T).tril().bool()
        A1, A2 = logits.masked_fill(~seen, -torch.inf).softmax(-1)
        cases.append(Case(name=f"H = {H}, T = {T}", args=(A1, A2, 0.6)))
    return cases


def _with(
    mean: Callable[[Tensor, Tensor], Tensor],
    combine: Callable[[Tensor, Tensor, Tensor, float], Tensor] | None = None,
) -> Callable[..., Tensor]:
    """Another G, made of A1 and A2, or another way to combine it."""

    def answer(A1: Tensor, A2: Tensor, lam: float) -> Tensor:
        G = mean(A1, A2)
        if combine is not None:
            return combine(A1, A2, G, lam)
        return A1 - lam * A2 + lam * G

    return answer


def _running(A: Tensor, more: int = 1) -> Tensor:
    return A.cumsum(1) / torch.arange(more, A.shape[1] + more)[:, None]


EXERCISE = Exercise(
    id="27.2",
    cases=_cases,
    solution=dint_map,
    mistakes=(
        Mistake(
            key="mean of all rows",
            diagnosis="G is the mean over all queries, later ones too: the "
            "rows look into the future. Row t may use the rows 0 to t.",
            wrong=_with(lambda A1, A2: A1.mean(1, keepdim=True)),
            also=(_with(lambda A1, A2: A1.mean(1, keepdim=True).tril()),),
        ),
        Mistake(
            key="not divided",
            diagnosis="You add the rows up and do not divide by their "
            "number, t + 1.",
            wrong=_with(lambda A1, A2: A1.cumsum(1)),
        ),
        Mistake(
            key="divided by T",
            diagnosis="You divide every row by T. Row t has the mean of t + 1 "
            "rows.",
            wrong=_with(lambda A1, A2: A1.cumsum(1) / A1.shape[1]),
        ),
        Mistake(
            key="divided by t",
            diagnosis="You divide row t by t, row 0 by zero. Rows count from "
            "0, so that row t has the mean of t + 1 rows.",
            wrong=_with(lambda A1, A2: _running(A1, 0)),
        ),
        Mistake(
            key="along the keys",
            diagnosis="The mean runs along the keys of a row. It runs over "
            "the queries: axis 1.",
            wrong=_with(lambda A1, A2: _running(A1.mT).mT),
        ),
        Mistake(
            key="mean of A2",
            diagnosis="G is made of A2. It is the mean of the rows of A1.",
            wrong=_with(lambda A1, A2: _running(A2)),
        ),
        Mistake(
            key="mean of the difference",
            diagnosis="G is made of A1 - lam A2. It is the mean of the rows "
            "of A1 alone.",
            wrong=lambda A1, A2, lam: (
                A1 - lam * A2 + lam * _running(A1 - lam * A2)
            ),
        ),
        Mistake(
            key="G not scaled",
            diagnosis="G is added whole. With lam G the rows sum to "
            "1 - lam + lam = 1.",
            wrong=_with(
                lambda A1, A2: _running(A1),
                lambda A1, A2, G, lam: A1 - lam * A2 + G,
            ),
        ),
        Mistake(
            key="G subtracted",
            diagnosis="lam G is subtracted. It is added, to give back what "
            "lam A2 takes from the sum of a row.",
            wrong=_with(
                lambda A1, A2: _running(A1),
                lambda A1, A2, G, lam: A1 - lam * A2 - lam * G,
            ),
        ),
        Mistake(
            key="A2 left out",
            diagnosis="lam A2 is not subtracted.",
            wrong=_with(
                lambda A1, A2: _running(A1),
                lambda A1, A2, G, lam: A1 + lam * G,
            ),
        ),
        slip(
            "another count",
            "You divide row t by another number than t + 1, the number of "
            "rows that it averages.",
            dint_map,
            (
                "torch.arange(1, A1.shape[1] + 1)",
                "torch.arange(2, A1.shape[1] + 2)",
            ),
            (
                "G = A1.cumsum(1) / counts[:, None]",
                "G = A1.cumsum(1) * counts[:, None]",
            ),
            (
                "G = A1.cumsum(1) / counts[:, None]",
                "G = A1.cumsum(1) // counts[:, None]",
            ),
        ),
        slip(
            "divided along the keys",
            "You divide by the number of the key, not of the row: the "
            "counts belong to the queries, and need a new axis, [:, None].",
            dint_map,
            ("counts[:, None]", "counts"),
            ("counts[:, None]", "counts[None, :]"),
        ),
        slip(
            "own row only",
            "You divide each row of A1 and do not add up the rows before it.",
            dint_map,
            ("A1.cumsum(1) /", "A1 /"),
        ),
        slip(
            "over the heads",
            "You add up over heads. Each head is by itself: axis 1 counts "
            "the queries.",
            dint_map,
            ("A1.cumsum(1)", "A1.cumsum(0)"),
        ),
        slip(
            "a term lost or reversed",
            "One of the three terms is missing or has another sign or "
            "factor: A1, minus lam A2, plus lam G.",
            dint_map,
            ("+ lam * G", ""),
            ("A1 - lam * A2 + lam * G", "lam * G"),
            ("A1 - lam * A2", "A1 + lam * A2"),
            ("A1 - lam * A2", "lam * A2 - A1"),
            ("A1 - lam * A2", "A1 - A2"),
            ("A1 - lam * A2", "A1 - lam"),
            ("A1 - lam * A2", "A1 - (lam + A2)"),
            ("lam * G", "(lam + G)"),
            ("+ lam * G", "+ lam"),
            ("A1 - lam * A2 + lam * G", "A1 + lam * (A2 - G)"),
        ),
    ),
    hints=(
        "A running sum over the queries, and then a division. By how much, "
        "in row t?",
        "A1.cumsum(1) adds the rows 0 to t. There are t + 1 of them.",
        "A1.cumsum(1) / torch.arange(1, T + 1)[:, None] is G.",
    ),
)
