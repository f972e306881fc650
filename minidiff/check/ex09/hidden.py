"""Exercise 9.12: scores that lie in the future, hidden, a puzzle."""

from functools import partial
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited
from minidiff.check.kernels import draw, launch
from minidiff.course.kernels import DEVICE
from minidiff.course.kernels.memory import fenced, poisoned

BLOCK = 4


@triton.jit
def hidden_kernel(p_x, p_out, T, S, x_row, out_row, BLOCK: tl.constexpr):
    """Copy scores x (T, S) into out, with -inf where a key is hidden.

    Query t sees keys 0 to t + S - T, and T <= S. Program (i, j) takes BLOCK
    queries from i * BLOCK on, and BLOCK keys from j * BLOCK on.
    """
    o_t = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o_s = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    m = (o_t < T)[:, None] & (o_s < S)[None, :]
    b_x = tl.load(p_x + o_t[:, None] * x_row + o_s[None, :], m)
    m_seen = o_s[None, :] <= o_t[:, None] + S - T
    b_x = tl.where(m_seen, b_x, float("-inf"))
    tl.store(p_out + o_t[:, None] * out_row + o_s[None, :], b_x, m)


def _run(answer: Any, x: Tensor) -> Any:
    T, S = x.shape
    x, out = fenced(x.to(DEVICE)), poisoned(T, S, dtype=x.dtype)
    grid = triton.cdiv(T, BLOCK), triton.cdiv(S, BLOCK)
    args = (x, out, T, S, x.stride(0), out.stride(0))
    return launch(answer, grid, args, [out], BLOCK=BLOCK)


def _cases() -> list[Case]:
    cases = [
        Case(name=f"T = {T}, S = {S}, BLOCK = 4", args=(draw(T, T, S),))
        for T, S in ((4, 4), (8, 8), (4, 8), (1, 6), (5, 7))
    ]
    x = (100 * draw(1, 3, 6)).half()
    return [*cases, Case(name="T = 3, S = 6, float16", args=(x,))]


_edited = partial(edited, hidden_kernel)
_SEEN = "o_s[None, :] <= o_t[:, None] + S - T"

EXERCISE = Exercise(
    id="9.12",
    cases=_cases,
    solution=hidden_kernel,
    run=_run,
    tolerance=1e-6,
    mistakes=(
        Mistake(
            key="not hidden",
            diagnosis="Every score is copied. Put -inf where the key lies "
            "beyond t + S - T: tl.where(condition, b, float('-inf')).",
            wrong=_edited((_SEEN, f"{_SEEN} + S")),
        ),
        Mistake(
            key="own key hidden",
            diagnosis="The diagonal is off by one: query t sees key "
            "t + S - T, its own. Use <=, not <.",
            wrong=_edited((_SEEN, _SEEN.replace("<=", "<"))),
        ),
        Mistake(
            key="one key too many",
            diagnosis="The diagonal is off by one: query t sees key "
            "t + S - T + 1, which comes after it.",
            wrong=_edited((_SEEN, f"{_SEEN} + 1")),
        ),
        Mistake(
            key="aligned to the start",
            diagnosis="Query t sees keys 0 to t here. With more keys than "
            "queries it sees S - T more: add S - T to o_t.",
            wrong=_edited((_SEEN, _SEEN.replace(" + S - T", ""))),
        ),
        Mistake(
            key="turned around",
            diagnosis="The past is hidden and the future shown. A key stays "
            "where its place is at most t + S - T.",
            wrong=_edited((_SEEN, _SEEN.replace("<=", ">="))),
            also=(_edited((_SEEN, _SEEN.replace("<=", ">"))),),
        ),
        Mistake(
            key="places inside the block",
            diagnosis="Places inside a block are compared. o_t and o_s "
            "count from the start of the sequence: use them.",
            wrong=_edited(
                (
                    _SEEN,
                    "tl.arange(0, BLOCK)[None, :] <= "
                    "tl.arange(0, BLOCK)[:, None] + S - T",
                )
            ),
        ),
        Mistake(
            key="hidden by a number",
            diagnosis="A hidden score is 0, or a large negative number. That "
            'is a score like any other: it has to be float("-inf").',
            wrong=_edited(('float("-inf")', "0.0")),
            also=tuple(
                _edited(('float("-inf")', number))
                for number in ("-1e4", "-1e9", "-1e30")
            ),
        ),
        Mistake(
            key="hidden scores not written",
            diagnosis="The mask of the store leaves hidden scores out, so "
            "nobody writes them. Store with m alone: -inf is written too.",
            wrong=_edited(("b_x, m)", "b_x, m & m_seen)")),
        ),
    ),
    hints=(
        "Two conditions, and they differ: which elements are there, and "
        "which of those does a query see?",
        "There: m, for load and store. Seen: o_s[None, :] <= o_t[:, None] + "
        "S - T. tl.where(condition, a, b) takes a where it holds, else b.",
        "b_x = tl.load(p_x + o_t[:, None] * x_row + o_s[None, :], m); "
        'b_x = tl.where(m_seen, b_x, float("-inf")), with m_seen as above; '
        "tl.store(p_out + o_t[:, None] * out_row + o_s[None, :], b_x, m).",
    ),
)
