"""Exercise 6.3: both branches of all heads in one call."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.ops.sdpa import softmax_attention

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


class HeadsError(ValueError):
    """q, k and v of one call have different numbers of heads."""


def one_call(q: Tensor, k: Tensor, v: Tensor, lam: float, attend) -> Tensor:
    """Return A1 v - lam A2 v, (B, H, T, Dv), from one call of attend.

    q and k (B, H, 2, T, D), v (B, H, T, Dv). attend(q, k, v) is causal
    attention for any number of heads, the same in all three.
    """
    values = v.repeat_interleave(2, 1)
    out = attend(q.flatten(1, 2), k.flatten(1, 2), values)
    o1, o2 = out.unflatten(1, (-1, 2)).unbind(2)
    return o1 - lam * o2


def any_heads(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention; the heads must agree."""
    if not q.shape[:2] == k.shape[:2] == v.shape[:2]:
        raise HeadsError(
            f"attend got q {tuple(q.shape)}, k {tuple(k.shape)}, "
            f"v {tuple(v.shape)}: batch and heads differ"
        )
    return softmax_attention(q, k, v)


def _run(
    answer: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, lam: float
) -> tuple[Tensor, int] | None:
    """What came out, and by how many calls."""
    calls = []

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        calls.append(q)
        return any_heads(q, k, v)

    out = answer(q, k, v, lam, attend)
    return None if out is None else (out, len(calls))


def _cases() -> list[Case]:
    cases = []
    for seed, (B, H, T, D, Dv) in enumerate(
        [(1, 1, 1, 2, 4), (1, 2, 4, 3, 6), (2, 3, 5, 2, 4), (2, 4, 3, 2, 2)]
    ):
        generator = torch.Generator().manual_seed(seed)
        q, k = torch.randn(2, B, H, 2, T, D, generator=generator).double()
        v = torch.randn(B, H, T, Dv, generator=generator).double()
        cases.append(
            Case(
                name=f"B = {B}, H = {H}, T = {T}, D = {D}, Dv = {Dv}",
                args=(q, k, v, 0.7),
            )
        )
    return cases


def _by_pairs(x: Tensor) -> Tensor:
    """Heads in the order head 0 branch 1, head 0 branch 2, head 1, ..."""
    return x.flatten(1, 2)


def _by_halves(x: Tensor) -> Tensor:
    """All heads of branch 1, then all of branch 2."""
    return x.transpose(1, 2).flatten(1, 2)


def _tile(v: Tensor) -> Tensor:
    return torch.cat([v, v], 1)


def _twice(v: Tensor) -> Tensor:
    return v.repeat_interleave(2, 1)


def _take_pairs(out: Tensor) -> tuple[Tensor, Tensor]:
    return out[:, ::2], out[:, 1::2]


def _take_halves(out: Tensor) -> tuple[Tensor, Tensor]:
    one, two = out.chunk(2, 1)
    return one, two


def _steps(
    order: Callable[[Tensor], Tensor],
    values: Callable[[Tensor], Tensor],
    take: Callable[[Tensor], tuple[Tensor, Tensor]],
) -> Callable[..., Tensor]:
    """An answer of three steps, any of which may not fit the others."""

    def wrong(
        q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
    ) -> Tensor:
        o1, o2 = take(attend(order(q), order(k), values(v)))
        return o1 - lam * o2

    return wrong


def _two_calls(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    o1, o2 = (attend(q[:, :, j], k[:, :, j], v) for j in (0, 1))
    return o1 - lam * o2


def _no_lam(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    return one_call(q, k, v, 1.0, attend)


def _all_heads(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    return attend(_by_pairs(q), _by_pairs(k), _twice(v))


def _no_repeat(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    return attend(_by_pairs(q), _by_pairs(k), v)


EXERCISE = Exercise(
    id="6.3",
    cases=_cases,
    solution=one_call,
    run=_run,
    mistakes=(
        Mistake(
            key="values not repeated",
            diagnosis="You give attend 2H heads of queries and H of values. "
            "Each head of values is needed twice, once for each branch.",
            wrong=_no_repeat,
        ),
        Mistake(
            key="values tiled beside pairs",
            diagnosis="Your queries go head 0, head 0, head 1, head 1, but "
            "your values 0, 1, ..., 0, 1, ...: most heads read another "
            "head's values. repeat_interleave gives 0, 0, 1, 1.",
            wrong=_steps(_by_pairs, _tile, _take_pairs),
        ),
        Mistake(
            key="values doubled beside halves",
            diagnosis="Your queries go 0, 1, ..., 0, 1, ..., first all of "
            "branch 1, but your values 0, 0, 1, 1: most heads read another "
            "head's values. Beside this order, repeat tiles them.",
            wrong=_steps(_by_halves, _twice, _take_halves),
        ),
        Mistake(
            key="halves taken from pairs",
            diagnosis="You put the branches of a head side by side, but cut "
            "the output into a first and a last half: you subtract one head "
            "from another. Take every second head.",
            wrong=_steps(_by_pairs, _twice, _take_halves),
        ),
        Mistake(
            key="pairs taken from halves",
            diagnosis="You put all heads of branch 1 first, but take every "
            "second head of the output: you subtract one head from another. "
            "Cut it into a first and a last half.",
            wrong=_steps(_by_halves, _tile, _take_pairs),
        ),
        Mistake(
            key="tiled and cut by halves beside pairs",
            diagnosis="Only the queries and keys have the branches of a head "
            "side by side; your values and your output are ordered by "
            "branch. Choose one order for all: transpose(1, 2) before "
            "flattening q and k would give yours.",
            wrong=_steps(_by_pairs, _tile, _take_halves),
        ),
        Mistake(
            key="doubled and taken by pairs beside halves",
            diagnosis="Your values and your output have the two branches of "
            "a head side by side, but your queries and keys have all heads "
            "of branch 1 first. Choose one order for all: flatten(1, 2) of q "
            "as it is gives the first.",
            wrong=_steps(_by_halves, _twice, _take_pairs),
        ),
        Mistake(
            key="two calls",
            diagnosis="The numbers are right, but it takes two calls. Put "
            "the branches on the axis of heads and call once.",
            wrong=_two_calls,
        ),
        Mistake(
            key="not subtracted",
            diagnosis="You return all 2H heads. Take them apart into "
            "branches again and subtract.",
            wrong=_all_heads,
        ),
        Mistake(
            key="lambda dropped",
            diagnosis="lambda is not used: this is A1 v - A2 v.",
            wrong=_no_lam,
        ),
    ),
    hints=(
        "attend treats each head by itself. What must stand at the same "
        "head's place in q, k and v?",
        "q.flatten(1, 2) gives heads (0, 1), (0, 2), (1, 1), ...: head and "
        "branch. So the values must go 0, 0, 1, 1, ..., and of the output "
        "every second head belongs to branch 1.",
        "out = attend(q.flatten(1, 2), k.flatten(1, 2), "
        "v.repeat_interleave(2, 1)); return out[:, ::2] - lam * out[:, "
        "1::2].",
    ),
)
