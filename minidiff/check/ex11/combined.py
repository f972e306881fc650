"""Exercise 11.4: one product, once both log-sums are known."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from minidiff.check.core import Case, Exercise, Mistake


def combined(
    s1: Tensor, s2: Tensor, lse1: Tensor, lse2: Tensor, lam: float, v: Tensor
) -> Tensor:
    """Return A1 v - lam A2 v, (T, Dv), by one product with v.

    s1, s2 (T, S): logits times log2(e), -inf where a key is hidden; lse1,
    lse2 (T,): each branch's log2 of the row sums of 2 ** s; v (S, Dv).
    """
    A1 = torch.exp2(s1 - lse1[:, None])
    A2 = torch.exp2(s2 - lse2[:, None])
    return (A1 - lam * A2) @ v


class TwoProductsError(Exception):
    """The right output, with more multiplications than it takes."""


def _run(answer: Callable[..., Tensor], *args: Any) -> Tensor:
    with FlopCounterMode(display=False) as counter:
        out = answer(*args)
    s1, v = args[0], args[-1]
    one = 2 * s1.numel() * v.shape[1]
    if counter.get_total_flops() > one and isinstance(out, Tensor):
        right = combined(*args)
        if out.shape == right.shape and torch.allclose(out, right):
            raise TwoProductsError("the output is right, by two products")
    return out


def _from_maps(
    s1: Tensor,
    s2: Tensor,
    lse1: Tensor,
    lse2: Tensor,
    lam: float,
    v: Tensor,
    *,
    power: Callable[[Tensor], Tensor] = torch.exp2,
) -> Tensor:
    A1, A2 = power(s1 - lse1[:, None]), power(s2 - lse2[:, None])
    return (A1 - lam * A2) @ v


def _divided_by_log(s1, s2, lse1, lse2, lam, v) -> Tensor:
    A1 = torch.exp2(s1) / lse1[:, None]
    return (A1 - lam * torch.exp2(s2) / lse2[:, None]) @ v


def _before(s1, s2, lse1, lse2, lam, v) -> Tensor:
    """Subtract logits, then exponentiate."""
    return torch.exp2(s1 - lse1[:, None] - lam * (s2 - lse2[:, None])) @ v


def _per_column(s1, s2, lse1, lse2, lam, v) -> Tensor:
    A1, A2 = torch.exp2(s1 - lse1), torch.exp2(s2 - lse2)
    return (A1 - lam * A2) @ v


def _not_normalised(s1, s2, lse1, lse2, lam, v) -> Tensor:
    return (torch.exp2(s1) - lam * torch.exp2(s2)) @ v


def _cases() -> list[Case]:
    cases = []
    for seed, (T, S, Dv) in enumerate([(1, 1, 2), (4, 4, 3), (5, 9, 4)]):
        g = torch.Generator().manual_seed(seed)
        s = 2 * torch.randn(2, T, S, generator=g).double()
        hidden = torch.ones(T, S, dtype=torch.bool).triu(1 + S - T)
        s1, s2 = s.masked_fill(hidden, -torch.inf)
        lse1, lse2 = (torch.exp2(x).sum(-1).log2() for x in (s1, s2))
        v = torch.randn(S, Dv, generator=g).double()
        args = (s1, s2, lse1, lse2, 0.7, v)
        cases.append(Case(name=f"T = {T}, S = {S}, Dv = {Dv}", args=args))
    return cases


EXERCISE = Exercise(
    id="11.4",
    cases=_cases,
    solution=combined,
    run=_run,
    tolerance=1e-6,
    mistakes=(
        Mistake(
            key="base e",
            diagnosis="You raise e. These logits carry log2(e) and these "
            "log-sums are base 2: torch.exp2.",
            wrong=lambda *a: _from_maps(*a, power=torch.exp),
            also=(
                lambda s1, s2, lse1, lse2, lam, v: (
                    (s1.softmax(-1) - lam * s2.softmax(-1)) @ v
                ),
            ),
        ),
        Mistake(
            key="divided by the log",
            diagnosis="You divide by the log-sum. It is the logarithm of the "
            "sum: subtract it in the exponent.",
            wrong=_divided_by_log,
        ),
        Mistake(
            key="not normalised",
            diagnosis="The log-sums are not used: subtract each from its "
            "branch's logits, row by row.",
            wrong=_not_normalised,
        ),
        Mistake(
            key="one log-sum for both",
            diagnosis="Both branches are normalised by branch 1's log-sum.",
            wrong=lambda s1, s2, lse1, lse2, lam, v: _from_maps(
                s1, s2, lse1, lse1, lam, v
            ),
        ),
        Mistake(
            key="lambda on both",
            diagnosis="lambda multiplies both maps. It belongs to branch 2.",
            wrong=lambda s1, s2, lse1, lse2, lam, v: (
                lam * _from_maps(s1, s2, lse1, lse2, 1.0, v)
            ),
        ),
        Mistake(
            key="lambda dropped",
            diagnosis="lambda is not used: this is A1 v - A2 v.",
            wrong=lambda s1, s2, lse1, lse2, lam, v: _from_maps(
                s1, s2, lse1, lse2, 1.0, v
            ),
        ),
        Mistake(
            key="subtracted in the exponent",
            diagnosis="You subtract logits. Differential attention subtracts "
            "maps: first exp2, then the difference.",
            wrong=_before,
            also=(
                lambda s1, s2, lse1, lse2, lam, v: (
                    (s1 - lam * s2).softmax(-1) @ v
                ),
            ),
        ),
        Mistake(
            key="two products",
            diagnosis="Right, but each map meets v by itself. Subtract the "
            "maps first; then one product is enough.",
            wrong=lambda s1, s2, lse1, lse2, lam, v: (
                torch.exp2(s1 - lse1[:, None]) @ v
                - lam * (torch.exp2(s2 - lse2[:, None]) @ v)
            ),
        ),
        Mistake(
            key="columns",
            diagnosis="The log-sums meet the keys instead of the queries. "
            "Give them a second axis: lse1[:, None].",
            wrong=_per_column,
        ),
    ),
    hints=(
        "A softmax weight is 2 ** s over the sum. What is it if you know the "
        "sum's log2?",
        "A1 = torch.exp2(s1 - lse1[:, None]): no maximum, no sum, no second "
        "look. Build A2 alike, subtract, multiply by v once.",
        "return (A1 - lam * A2) @ v.",
    ),
)
