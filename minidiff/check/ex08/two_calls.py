"""Exercise 8.2: the repair of a port that splits pairs."""

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.ops.sdpa import softmax_attention


def two_calls(q: Tensor, k: Tensor, v: Tensor, lam: float) -> Tensor:
    """Return A1 v - lam A2 v (B, H, T, 2D) by two softmax_attention calls.

    q (B, 2H, T, D): rows 2i and 2i + 1 of axis 1 are the branches of head i.
    k (B, 2Hkv, T, D) likewise; v (B, Hkv, T, 2D).
    """
    out1 = softmax_attention(q[:, 0::2], k[:, 0::2], v)
    out2 = softmax_attention(q[:, 1::2], k[:, 1::2], v)
    return out1 - lam * out2


def _cases() -> list[Case]:
    cases = []
    for seed, (B, H, Hkv, T, D) in enumerate(
        [(1, 4, 2, 5, 4), (2, 6, 2, 4, 2), (1, 4, 1, 1, 3), (1, 2, 2, 7, 2)]
    ):
        generator = torch.Generator().manual_seed(seed)
        q, k = (
            torch.randn(B, T, 2 * n, D, generator=generator).double()
            for n in (H, Hkv)
        )
        v = torch.randn(B, Hkv, T, 2 * D, generator=generator).double()
        cases.append(
            Case(
                name=f"H = {H}, Hkv = {Hkv}, T = {T}, D = {D}",
                args=(q.transpose(1, 2), k.transpose(1, 2), v, 0.6),
            )
        )
    return cases


def _with(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: float,
    *,
    q_order: str = "pairs",
    k_order: str = "pairs",
) -> Tensor:
    """Two calls with the branches taken in another way."""
    k1, k2 = _branches(k, k_order)
    q1, q2 = _branches(q, q_order)
    return softmax_attention(q1, k1, v) - lam * softmax_attention(q2, k2, v)


def _branches(x: Tensor, order: str) -> tuple[Tensor, ...]:
    if order == "halves":
        return x.chunk(2, 1)
    return x[:, 0::2], x[:, 1::2]


def _naive(q: Tensor, k: Tensor, v: Tensor, lam: float) -> Tensor:
    n = q.shape[1] // k.shape[1]
    return _with(q, k.repeat_interleave(n, 1), v.repeat_interleave(n, 1), lam)


def _tiled(q: Tensor, k: Tensor, v: Tensor, lam: float) -> Tensor:
    n = q.shape[1] // k.shape[1]
    return _with(q, k.repeat(1, n, 1, 1), v.repeat(1, n, 1, 1), lam)


def _swap(x: Tensor) -> Tensor:
    return x.unflatten(1, (-1, 2)).flip(2).flatten(1, 2)


EXERCISE = Exercise(
    id="8.2",
    cases=_cases,
    solution=two_calls,
    mistakes=(
        Mistake(
            key="repeated before the split",
            diagnosis="You repeat single key heads and take branches after "
            "that, as the naive file does. Take the branches first; "
            "softmax_attention shares each of them among the heads.",
            wrong=_naive,
        ),
        Mistake(
            key="halves",
            diagnosis="You take the first half of the heads as branch 1, of "
            "queries and of keys. Here the branches alternate: 0::2 and "
            "1::2.",
            wrong=lambda *a: _with(*a, q_order="halves", k_order="halves"),
        ),
        Mistake(
            key="keys by halves",
            diagnosis="The queries alternate and the keys are cut in "
            "halves. Both are stored in pairs: 0::2 and 1::2.",
            wrong=lambda *a: _with(*a, k_order="halves"),
        ),
        Mistake(
            key="queries by halves",
            diagnosis="The keys alternate and the queries are cut in "
            "halves. Both are stored in pairs: 0::2 and 1::2.",
            wrong=lambda *a: _with(*a, q_order="halves"),
        ),
        Mistake(
            key="groups tiled",
            diagnosis="Head i reads key head i % Hkv, as .repeat lays them "
            "out. Neighbours share; softmax_attention does that by itself.",
            wrong=_tiled,
        ),
        Mistake(
            key="first keys twice",
            diagnosis="Both branches read the first keys of a pair. Branch "
            "2 has keys of its own: k[:, 1::2].",
            wrong=lambda q, k, v, lam: two_calls(
                q, k[:, 0::2].repeat_interleave(2, 1), v, lam
            ),
        ),
        Mistake(
            key="branches swapped",
            diagnosis="The branches are swapped: this is A2 v - lam A1 v.",
            wrong=lambda q, k, v, lam: two_calls(_swap(q), _swap(k), v, lam),
        ),
        Mistake(
            key="key branches swapped",
            diagnosis="The first queries meet the second keys of a pair, and "
            "the second queries the first ones. Branch 1 of the queries "
            "belongs to branch 1 of the keys: q[:, 0::2] with k[:, 0::2].",
            wrong=lambda q, k, v, lam: two_calls(q, _swap(k), v, lam),
        ),
        Mistake(
            key="first queries twice",
            diagnosis="Both branches use the first queries of a head. "
            "Branch 2 has queries of its own: q[:, 1::2].",
            wrong=lambda q, k, v, lam: two_calls(
                q[:, 0::2].repeat_interleave(2, 1), k, v, lam
            ),
        ),
        Mistake(
            key="added",
            diagnosis="The second output is added. It is subtracted: that "
            "is the difference in differential attention.",
            wrong=lambda q, k, v, lam: two_calls(q, k, v, -lam),
        ),
        Mistake(
            key="first branch only",
            diagnosis="This is A1 v. The second call, times lam, is not "
            "taken away.",
            wrong=lambda q, k, v, lam: two_calls(q, k, v, 0.0),
        ),
        Mistake(
            key="values cut",
            diagnosis="You cut the values in two, D channels for each "
            "branch. Both branches read all 2D channels of v.",
            wrong=lambda q, k, v, lam: (
                softmax_attention(q[:, 0::2], k[:, 0::2], v.chunk(2, -1)[0])
                - lam
                * softmax_attention(q[:, 1::2], k[:, 1::2], v.chunk(2, -1)[1])
            ),
        ),
        Mistake(
            key="lam dropped",
            diagnosis="lam is not used: the second output is subtracted "
            "whole.",
            wrong=lambda q, k, v, lam: two_calls(q, k, v, 1.0),
        ),
    ),
    hints=(
        "If you take branch 1 out of q and out of k before anything is "
        "shared, what is left to go wrong?",
        "q[:, 0::2] is (B, H, T, D), k[:, 0::2] is (B, Hkv, T, D), v is "
        "(B, Hkv, T, 2D): that is ordinary grouped attention.",
        "softmax_attention(q[:, 0::2], k[:, 0::2], v), minus lam times the "
        "same with 1::2.",
    ),
)
