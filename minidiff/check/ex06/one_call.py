"""Exercise 6.3: both branches of all heads in one call."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.ex06.attend import Attend, any_heads, draw

Step = Callable[[Tensor], Tensor]


class CallsError(RuntimeError):
    """attend was called more than once, or not at all."""


def one_call(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: float,
    attend: Callable[..., Tensor],
) -> Tensor:
    """Return A1 v - lam A2 v, (B, H, T, Dv), from one call of attend.

    q and k (B, H, 2, T, D), v (B, H, T, Dv). attend(q, k, v) is causal
    attention on (B, heads, T, width): any number of heads, in all the same.
    """
    values = v.repeat_interleave(2, 1)
    out = attend(q.flatten(1, 2), k.flatten(1, 2), values)
    o1, o2 = out.unflatten(1, (-1, 2)).unbind(2)
    return o1 - lam * o2


def _run(
    answer: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, lam: float
) -> Tensor | None:
    calls = []

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        calls.append(q)
        return any_heads(q, k, v)

    out = answer(q, k, v, lam, attend)
    if out is not None and len(calls) != 1:
        raise CallsError(f"attend was called {len(calls)} times, not once")
    return out


def _cases() -> list[Case]:
    return draw(
        (1, 1, 1, 2, 4), (1, 2, 4, 3, 6), (2, 3, 5, 2, 4), (2, 4, 3, 2, 2)
    )


def _pairs(x: Tensor) -> Tensor:
    """Heads in the order head 0 branch 1, head 0 branch 2, head 1, ..."""
    return x.flatten(1, 2)


def _halves(x: Tensor) -> Tensor:
    """All heads of branch 1, then all of branch 2."""
    return x.transpose(1, 2).flatten(1, 2)


def _doubled(v: Tensor) -> Tensor:
    return v.repeat_interleave(2, 1)


def _tiled(v: Tensor) -> Tensor:
    return v.repeat(1, 2, 1, 1)


def _from_pairs(out: Tensor, lam: float) -> Tensor:
    return out[:, ::2] - lam * out[:, 1::2]


def _from_halves(out: Tensor, lam: float) -> Tensor:
    o1, o2 = out.chunk(2, 1)
    return o1 - lam * o2


def _steps(
    order: Step, values: Step, take: Callable[[Tensor, float], Tensor]
) -> Callable[..., Tensor]:
    """An answer of three steps, any of which may not fit the others."""

    def wrong(
        q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
    ) -> Tensor:
        return take(attend(order(q), order(k), values(v)), lam)

    return wrong


def _two_calls(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    o1, o2 = (attend(q[:, :, j], k[:, :, j], v) for j in (0, 1))
    return o1 - lam * o2


def _five_axes(
    q: Tensor, k: Tensor, v: Tensor, lam: float, attend: Attend
) -> Tensor:
    return attend(q, k, torch.stack([v, v], 2))


EXERCISE = Exercise(
    id="6.3",
    cases=_cases,
    solution=one_call,
    run=_run,
    mistakes=(
        Mistake(
            key="five axes",
            diagnosis="You hand attend the axis of branches as it is. A "
            "kernel knows heads only: make 2H heads, flatten(1, 2).",
            wrong=_five_axes,
        ),
        Mistake(
            key="values not repeated",
            diagnosis="You give attend 2H heads of queries and H of values. "
            "Each head of values is needed twice, once for each branch.",
            wrong=_steps(_pairs, lambda v: v, _from_pairs),
        ),
        Mistake(
            key="values of other heads",
            diagnosis="Most heads read another head's values. Where queries "
            "go head 0, head 0, head 1, head 1, values must too: "
            "repeat_interleave. Where they go 0, 1, 0, 1: repeat.",
            wrong=_steps(_pairs, _tiled, _from_pairs),
            also=(_steps(_halves, _doubled, _from_halves),),
        ),
        Mistake(
            key="output of other heads",
            diagnosis="You subtract one head from another. The output comes "
            "in the order of your queries: if the branches of a head are "
            "side by side, take every second head; if all of branch 1 comes "
            "first, cut it into a first and a last half.",
            wrong=_steps(_pairs, _doubled, _from_halves),
            also=(_steps(_halves, _tiled, _from_pairs),),
        ),
        Mistake(
            key="queries in another order",
            diagnosis="Your values and output are in one order, your queries "
            "and keys in another. flatten(1, 2) puts the branches of a head "
            "side by side; transpose(1, 2) before it, all of branch 1 first.",
            wrong=_steps(_pairs, _tiled, _from_halves),
            also=(_steps(_halves, _doubled, _from_pairs),),
        ),
        Mistake(
            key="branches swapped",
            diagnosis="You subtract branch 1 from branch 2: lambda belongs "
            "to branch 2.",
            wrong=_steps(
                _pairs,
                _doubled,
                lambda out, lam: out[:, 1::2] - lam * out[:, ::2],
            ),
        ),
        Mistake(
            key="two calls",
            diagnosis="It takes two calls. Put the branches on the axis of "
            "heads and call once.",
            wrong=_two_calls,
        ),
        Mistake(
            key="not subtracted",
            diagnosis="You return all 2H heads. Take them apart into "
            "branches again and subtract.",
            wrong=_steps(_pairs, _doubled, lambda out, lam: out),
        ),
        Mistake(
            key="lambda dropped",
            diagnosis="lambda is not used: this is A1 v - A2 v.",
            wrong=_steps(
                _pairs, _doubled, lambda out, lam: _from_pairs(out, 1.0)
            ),
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
