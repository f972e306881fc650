"""Problem P2.3: a differential layer as a layer of ordinary heads."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.exP2.layers import normal

Weights = tuple[Tensor, Tensor, Tensor, Tensor]


def as_ordinary_heads(
    Wq: Tensor, Wk: Tensor, Wv: Tensor, Wo: Tensor, lam: float, H: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the weights of 4H ordinary heads of width D that do the same.

    The weights of H differential heads without norm: Wq, Wk, Wv (2HD, E), Wo
    (E, 2HD). Rows of Wq and Wk are ordered (H, 2, D), head, branch, column;
    rows of Wv and columns of Wo are ordered (H, 2D). Returned are Wq, Wk, Wv
    (4HD, E) and Wo (E, 4HD).
    """
    E, D = Wq.shape[1], Wq.shape[0] // (2 * H)
    # Ordinary heads ordered (H, branch, half of the values).
    q, k = (
        W.view(H, 2, 1, D, E).expand(H, 2, 2, D, E).reshape(4 * H * D, E)
        for W in (Wq, Wk)
    )
    v = Wv.view(H, 1, 2, D, E).expand(H, 2, 2, D, E).reshape(4 * H * D, E)
    weight = torch.tensor([1.0, -lam], dtype=Wo.dtype).view(2, 1, 1)
    o = Wo.view(E, H, 1, 2, D) * weight  # (E, H, 2, 2, D)
    return q, k, v, o.reshape(E, 4 * H * D)


def ordinary_layer(x: Tensor, weights: Weights, D: int) -> Tensor:
    """Return causal softmax attention (B, T, E) with heads of width D."""
    q, k, v = (
        linear(x, W).unflatten(-1, (-1, D)).transpose(1, 2)
        for W in weights[:3]
    )
    heads = scaled_dot_product_attention(q, k, v, is_causal=True)
    return linear(heads.transpose(1, 2).flatten(2), weights[3])


def _run(
    answer: Callable[..., Any],
    x: Tensor,
    Wq: Tensor,
    Wk: Tensor,
    Wv: Tensor,
    Wo: Tensor,
    lam: float,
    H: int,
) -> Any:
    """What the answer's heads do to x: their order is the reader's choice."""
    weights = answer(Wq, Wk, Wv, Wo, lam, H)
    if weights is None:
        return None
    return ordinary_layer(x, weights, len(Wq) // (2 * H))


def _cases() -> list[Case]:
    cases = []
    for seed, (B, T, H, D, lam) in enumerate(
        [(1, 1, 1, 2, 0.8), (2, 5, 1, 3, 0.3), (1, 6, 3, 2, 1.4)]
    ):
        E = 2 * H * D
        W = normal(seed, 4, E, E)
        cases.append(
            Case(
                name=f"B = {B}, T = {T}, H = {H}, D = {D}, lam = {lam}",
                args=(normal(50 + seed, B, T, E), *W, lam, H),
            )
        )
    return cases


def _like(
    *,
    factors: Callable[[float], list[float]] = lambda lam: [1.0, -lam],
    value_factors: Callable[[float], list[float]] = lambda lam: [1.0, 1.0],
    query_factors: Callable[[float], list[float]] = lambda lam: [1.0, 1.0],
    tiled: bool = False,
) -> Callable[..., Weights]:
    """The folding with something about it changed: the mistakes below."""

    def wrong(
        Wq: Tensor, Wk: Tensor, Wv: Tensor, Wo: Tensor, lam: float, H: int
    ) -> Weights:
        E, D = Wq.shape[1], Wq.shape[0] // (2 * H)

        def spread(W: Tensor, axis: int, factors: list[float]) -> Tensor:
            shape = [H, 2, 2, D, E]
            shape[axis] = 1
            weight = torch.tensor(factors, dtype=W.dtype).view(1, 2, 1, 1, 1)
            return (W.view(shape) * weight).expand(H, 2, 2, D, E)

        axis = 1 if tiled else 2
        q = spread(Wq, axis, query_factors(lam)).reshape(-1, E)
        k = spread(Wk, axis, [1.0, 1.0]).reshape(-1, E)
        v = spread(Wv, 1, value_factors(lam)).reshape(-1, E)
        weight = torch.tensor(factors(lam), dtype=Wo.dtype).view(2, 1, 1)
        return q, k, v, (Wo.view(E, H, 1, 2, D) * weight).reshape(E, -1)

    return wrong


def _two_heads(
    Wq: Tensor, Wk: Tensor, Wv: Tensor, Wo: Tensor, lam: float, H: int
) -> Weights:
    weight = torch.tensor([1.0, -lam], dtype=Wo.dtype).view(2, 1)
    E = len(Wo)
    return Wq, Wk, Wv, (Wo.view(E, H, 2, -1) * weight).reshape(E, -1)


def _halves(
    Wq: Tensor, Wk: Tensor, Wv: Tensor, Wo: Tensor, lam: float, H: int
) -> Weights:
    weight = torch.tensor([1.0, -lam], dtype=Wo.dtype).view(2, 1)
    Wo = (Wo.view(len(Wo), H, 2, -1) * weight).flatten(1)
    return _like(factors=lambda lam: [1.0, 1.0])(Wq, Wk, Wv, Wo, lam, H)


def _blocks(
    Wq: Tensor, Wk: Tensor, Wv: Tensor, Wo: Tensor, lam: float, H: int
) -> Weights:
    """Queries and keys by head and branch, values and Wo by branch first."""
    q, k = (
        W.unflatten(0, (2 * H, -1)).repeat_interleave(2, 0).flatten(0, 1)
        for W in (Wq, Wk)
    )
    return q, k, Wv.repeat(2, 1), torch.cat([Wo, -lam * Wo], 1)


def _branch_first(
    Wq: Tensor, Wk: Tensor, Wv: Tensor, Wo: Tensor, lam: float, H: int
) -> Weights:
    """Rows of Wq and Wk read as (2, H, D)."""
    Wq, Wk = (
        W.unflatten(0, (2, H, -1)).transpose(0, 1).flatten(0, 2)
        for W in (Wq, Wk)
    )
    return as_ordinary_heads(Wq, Wk, Wv, Wo, lam, H)


def _rounded(
    Wq: Tensor, Wk: Tensor, Wv: Tensor, Wo: Tensor, lam: float, H: int
) -> Weights:
    lam = torch.tensor(lam, dtype=torch.float32).item()
    return as_ordinary_heads(Wq, Wk, Wv, Wo, lam, H)


EXERCISE = Exercise(
    id="P2.3",
    cases=_cases,
    solution=as_ordinary_heads,
    run=_run,
    mistakes=(
        Mistake(
            key="2H heads only",
            diagnosis="You return 2H heads: branch 1 carries the first half "
            "of the values and branch 2 the second. In a differential head "
            "both branches carry both halves: four heads each.",
            wrong=_two_heads,
        ),
        Mistake(
            key="branches and halves out of step",
            diagnosis="Queries and keys are repeated in another order than "
            "the values, so that branch 1 meets only the first half of them. "
            "Order all of them (head, branch, half).",
            wrong=_like(tiled=True),
        ),
        Mistake(
            key="heads out of step",
            diagnosis="Right for one head, wrong for more. Rows are ordered "
            "head first, and queries, keys, values and columns of Wo must "
            "all come in one order of heads, branches and halves.",
            wrong=_blocks,
            also=(_branch_first,),
        ),
        Mistake(
            key="lam rounded",
            diagnosis="Right but for rounding: torch.tensor([1, -lam]) holds "
            "lam in single precision. Give it dtype=Wo.dtype.",
            wrong=_rounded,
        ),
        Mistake(
            key="lam dropped",
            diagnosis="Branch 2's columns of Wo are multiplied by -1. It is "
            "-lam.",
            wrong=_like(factors=lambda lam: [1.0, -1.0]),
        ),
        Mistake(
            key="added",
            diagnosis="Branch 2 is added: its columns of Wo are multiplied "
            "by lam. It is -lam.",
            wrong=_like(factors=lambda lam: [1.0, lam]),
        ),
        Mistake(
            key="not subtracted",
            diagnosis="Wo is repeated as it is: both branches are added. "
            "Branch 2's columns must be multiplied by -lam.",
            wrong=_like(factors=lambda lam: [1.0, 1.0]),
        ),
        Mistake(
            key="branches swapped",
            diagnosis="The branches are swapped: this is A2 - lam A1.",
            wrong=_like(factors=lambda lam: [-lam, 1.0]),
        ),
        Mistake(
            key="lam before the softmax",
            diagnosis="lam scales the queries of branch 2, so it acts inside "
            "the softmax. It belongs behind it: in Wo, or in Wv.",
            wrong=_like(
                factors=lambda lam: [1.0, 1.0],
                query_factors=lambda lam: [1.0, -lam],
            ),
            also=(
                _like(
                    factors=lambda lam: [1.0, -1.0],
                    query_factors=lambda lam: [1.0, lam],
                ),
            ),
        ),
        Mistake(
            key="lam twice",
            diagnosis="lam stands in Wv and in Wo, so that branch 2 gets its "
            "square. Once is enough.",
            wrong=_like(value_factors=lambda lam: [1.0, lam]),
            also=(_like(value_factors=lambda lam: [1.0, -lam]),),
        ),
        Mistake(
            key="halves weighted",
            diagnosis="1 and -lam are given to the two halves of the values, "
            "not to the two branches.",
            wrong=_halves,
        ),
    ),
    hints=(
        "An ordinary head here has one map and values D wide. How many are "
        "needed for two maps and values 2D wide?",
        "Four for each differential head: (branch 1, half 1), (branch 1, "
        "half 2), (branch 2, half 1), (branch 2, half 2). Which rows of Wq "
        "and of Wv does each take? Where does -lam go?",
        "With E columns kept: Wq.view(H, 2, 1, D, E) and Wv.view(H, 1, 2, D, "
        "E), both expanded to (H, 2, 2, D, E); Wo.view(E, H, 1, 2, D) times "
        "1 and -lam along the branch axis.",
    ),
)
