"""Problem P1.1: the sum of exponentials of a row that comes in blocks."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.exP1.pages import pages


def running_sum(blocks: Iterable[np.ndarray]) -> tuple[float, float]:
    """Return (m, z) of a row of scores that arrives in blocks.

    m is the largest score of the whole row, z the sum of exp(score - m) over
    the whole row. Each block is an array (n,) of finite numbers, n >= 1, and
    is written over when the next one is asked for.
    """
    m, z = -np.inf, 0.0
    for scores in blocks:
        new = max(m, scores.max())
        z = z * np.exp(m - new) + np.exp(scores - new).sum()
        m = new
    return m, z


def _run(answer: Callable[..., Any], *blocks: np.ndarray) -> Any:
    return answer(page for (page,) in pages([(b,) for b in blocks]))


def _cases() -> list[Case]:
    rows = {
        "one block of one score": [[3.0]],
        "the largest score last": [[1.0, 2.0], [4.0, 3.5, 2.0]],
        "the largest score first": [[5.0], [1.0, 2.0], [2.0]],
        "scores far below zero": [[-30.0, -29.0], [-31.0, -33.0, -32.0]],
        "scores of minus some billions": [[-4e9, -3e9], [-3e9 + 1, -5e9]],
        "scores in the thousands": [[1000.0], [2000.0, 1999.0], [1998.0]],
    }
    return [
        Case(name=name, args=tuple(np.array(b) for b in blocks))
        for name, blocks in rows.items()
    ]


def _like(
    *,
    old: Callable[[float, float], float] = lambda m, new: np.exp(m - new),
    first: float = -np.inf,
    running: bool = True,
    everything: bool = False,
) -> Callable[..., tuple[float, float]]:
    """The loop with something about it changed: the mistakes below."""

    def wrong(blocks: Iterable[np.ndarray]) -> tuple[float, float]:
        m, z = first, 0.0
        for scores in blocks:
            new = max(m, scores.max()) if running else scores.max()
            here = np.exp(scores - new).sum()
            if everything:
                z = (z + here) * old(m, new)
            else:
                z = z * old(m, new) + here
            m = new
        return m, z

    return wrong


def _no_shift(blocks: Iterable[np.ndarray]) -> tuple[float, float]:
    m, z = -np.inf, 0.0
    for scores in blocks:
        m, z = max(m, scores.max()), z + np.exp(scores).sum()
    return m, z


def _shift_last(blocks: Iterable[np.ndarray]) -> tuple[float, float]:
    m, z = _no_shift(blocks)
    return m, z * np.exp(-m)


def _own_maximum(blocks: Iterable[np.ndarray]) -> tuple[float, float]:
    m, z = -np.inf, 0.0
    for scores in blocks:
        m, top = max(m, scores.max()), scores.max()
        z += np.exp(scores - top).sum()
    return m, z


def _own_beside(blocks: Iterable[np.ndarray]) -> tuple[float, float]:
    """The old sum is rescaled, the block is left at its own maximum."""
    m, z = -np.inf, 0.0
    for scores in blocks:
        new = max(m, scores.max())
        z = z * np.exp(m - new) + np.exp(scores - scores.max()).sum()
        m = new
    return m, z


def _bare_block(blocks: Iterable[np.ndarray]) -> tuple[float, float]:
    m, z = -np.inf, 0.0
    for scores in blocks:
        new = max(m, scores.max())
        m, z = new, z * np.exp(m - new) + np.exp(scores).sum()
    return m, z


def _skipping(blocks: Iterable[np.ndarray]) -> tuple[float, float]:
    """A block is used only where it brings a new maximum."""
    m, z = -np.inf, 0.0
    for scores in blocks:
        new = scores.max()
        if new > m:
            z = z * np.exp(m - new) + np.exp(scores - new).sum()
            m = new
    return m, z


def _kept(blocks: Iterable[np.ndarray]) -> tuple[float, float]:
    row = np.concatenate(list(blocks))
    return row.max(), np.exp(row - row.max()).sum()


def _forgetful(blocks: Iterable[np.ndarray]) -> tuple[float, float]:
    z = 0.0
    for scores in blocks:
        z = np.exp(scores - scores.max()).sum()
    return -np.inf, z


def _upside_down(m: float, new: float) -> float:
    """The factor inverted, by somebody who treats the first block apart."""
    return 0.0 if m == -np.inf else np.exp(new - m)


EXERCISE = Exercise(
    id="P1.1",
    cases=_cases,
    solution=running_sum,
    run=_run,
    results=("m", "z"),
    mistakes=(
        Mistake(
            key="old sum not rescaled",
            diagnosis="The old sum is kept as it is when the maximum grows. "
            "Its terms were exp(score - old maximum); they must become "
            "exp(score - new maximum). (Is the old maximum overwritten "
            "before you use it?)",
            wrong=_like(old=lambda m, new: 1.0),
        ),
        Mistake(
            key="rescaled the wrong way",
            diagnosis="The old sum is multiplied by exp(new - old). A larger "
            "maximum makes every term smaller: the factor is "
            "exp(old - new), never above 1.",
            wrong=_like(old=lambda m, new: np.exp(new - m)),
            also=(_like(old=_upside_down),),
        ),
        Mistake(
            key="own maximum of each block",
            diagnosis="Each block's terms are taken relative to that block's "
            "own maximum, and then added. Terms can only be added when all "
            "are relative to one maximum.",
            wrong=_own_maximum,
            also=(_own_beside,),
        ),
        Mistake(
            key="last maximum",
            diagnosis="m is the maximum of the last block. Compare it with "
            "the maximum so far.",
            wrong=_like(running=False),
        ),
        Mistake(
            key="only blocks with a new maximum",
            diagnosis="A block without a new maximum is left out. Its terms "
            "count too; only the rescaling of the old sum then does nothing.",
            wrong=_skipping,
        ),
        Mistake(
            key="starts at zero",
            diagnosis="The maximum so far starts at 0, so a row of negative "
            "scores never gets its own. Start below every score, at -inf.",
            wrong=_like(first=0.0),
        ),
        Mistake(
            key="no maximum",
            diagnosis="exp(score) is summed without the maximum subtracted. "
            "Scores of a thousand overflow. Subtract the maximum so far "
            "before exp.",
            wrong=_no_shift,
            also=(_shift_last, _bare_block),
        ),
        Mistake(
            key="new block rescaled too",
            diagnosis="The new block's terms are multiplied by the factor "
            "as well. They are relative to the new maximum already; only "
            "the old sum needs it.",
            wrong=_like(everything=True),
        ),
        Mistake(
            key="maximum not kept",
            diagnosis="m is still -inf at the end, so every block begins "
            "anew. After each block the new maximum becomes the old one.",
            wrong=_forgetful,
        ),
        Mistake(
            key="order swapped",
            diagnosis="You return (z, m). It is (m, z).",
            wrong=lambda blocks: running_sum(blocks)[::-1],
        ),
        Mistake(
            key="blocks kept",
            diagnosis="You keep the blocks and look at them at the end. By "
            "then they are written over. Use a block when it comes, and "
            "keep two numbers.",
            wrong=_kept,
        ),
    ),
    hints=(
        "z holds terms exp(score - m). The maximum grows from m to new. By "
        "what must each term be multiplied to become exp(score - new)?",
        "By exp(m - new), the same for all terms, so also for their sum. "
        "Start with m = -np.inf and z = 0: then the first factor is 0.",
        "For each block: new = max(m, scores.max()); z = z * np.exp(m - new) "
        "+ np.exp(scores - new).sum(); m = new.",
    ),
)
