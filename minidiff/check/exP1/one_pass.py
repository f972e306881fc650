"""Problem P1.4: both branches of a differential head in one pass."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.exP1.pages import cut, pages

Blocks = Iterable[tuple[np.ndarray, ...]]


def one_pass(
    q1: np.ndarray,
    q2: np.ndarray,
    blocks: Iterable[tuple[np.ndarray, ...]],
    lam: float,
) -> np.ndarray:
    """Return the output (Dv,) of a differential head for its newest token.

    q1, q2 (D,): the token's two queries, which see every key. blocks gives
    (k1, k2, v) of the next keys, (n, D), (n, D) and (n, Dv), each once.
    """
    m, z, u = np.full(2, -np.inf), np.zeros(2), np.zeros((2, 1))
    for k1, k2, v in blocks:
        scores = np.stack([k1 @ q1, k2 @ q2]) / np.sqrt(len(q1))  # (2, n)
        new = np.maximum(m, scores.max(-1))
        old, e = np.exp(m - new), np.exp(scores - new[:, None])
        z = old * z + e.sum(-1)
        u = old[:, None] * u + e @ v
        m = new
    o1, o2 = u / z[:, None]
    return o1 - lam * o2


def _run(
    answer: Callable[..., Any],
    q1: np.ndarray,
    q2: np.ndarray,
    k1: np.ndarray,
    k2: np.ndarray,
    v: np.ndarray,
    lam: float,
    block: int,
) -> Any:
    return answer(q1, q2, pages(cut(block, k1, k2, v)), lam)


def _cases() -> list[Case]:
    cases = []
    for seed, (S, D, Dv, block, lam) in enumerate(
        [(1, 2, 3, 1, 0.8), (7, 4, 6, 3, 0.3), (8, 3, 2, 2, 1.2)]
    ):
        rng = np.random.default_rng(seed)
        q1, q2 = rng.normal(size=(2, D))
        k1, k2 = rng.normal(size=(2, S, D))
        v = rng.normal(size=(S, Dv))
        cases.append(
            Case(
                name=f"S = {S}, D = {D}, Dv = {Dv}, blocks of {block}, "
                f"lam = {lam}",
                args=(q1, q2, k1, k2, v, lam, block),
            )
        )
    k1[:, 0] = 1.0
    q1 = np.array([3000.0, 0.5, 1.0])
    cases.append(
        Case(
            name="branch 1 scores far above branch 2",
            args=(q1, q2, k1, k2, v, 0.5, 3),
        )
    )
    return cases


def _like(
    end: Callable[..., np.ndarray],
    *,
    width: float = 1.0,
    rescale: bool = True,
    shared: bool = False,
    forget: bool = False,
) -> Callable[..., np.ndarray]:
    """The pass with something about it changed: the mistakes below."""

    def wrong(q1: np.ndarray, q2: np.ndarray, blocks: Blocks, lam: float):
        m, z, u = np.full(2, -np.inf), np.zeros(2), np.zeros((2, 1))
        for k1, k2, v in blocks:
            scores = np.stack([k1 @ q1, k2 @ q2]) / np.sqrt(width * len(q1))
            new = np.maximum(m, scores.max(-1))
            if shared:
                new = np.full(2, new.max())
            old, e = np.exp(m - new), np.exp(scores - new[:, None])
            z = old * z + e.sum(-1)
            u = (old[:, None] if rescale else 1.0) * u + e @ v
            m = m if forget else new
        return end(u, z, lam)

    return wrong


def _end(u: np.ndarray, z: np.ndarray, lam: float) -> np.ndarray:
    return u[0] / z[0] - lam * u[1] / z[1]


def _maps_of(q1: np.ndarray, q2: np.ndarray, k1: Any, k2: Any) -> np.ndarray:
    scores = np.stack([k1 @ q1, k2 @ q2]) / np.sqrt(len(q1))
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _each_block(mean: bool) -> Callable[..., np.ndarray]:
    def wrong(q1: Any, q2: Any, blocks: Blocks, lam: float) -> np.ndarray:
        parts = []
        for k1, k2, v in blocks:
            A1, A2 = _maps_of(q1, q2, k1, k2)
            parts.append((A1 - lam * A2) @ v)
        return np.mean(parts, 0) if mean else np.sum(parts, 0)

    return wrong


def _provisional(
    q1: np.ndarray, q2: np.ndarray, blocks: Blocks, lam: float
) -> np.ndarray:
    m, z, out = np.full(2, -np.inf), np.zeros(2), 0.0
    for k1, k2, v in blocks:
        scores = np.stack([k1 @ q1, k2 @ q2]) / np.sqrt(len(q1))
        new = np.maximum(m, scores.max(-1))
        e = np.exp(scores - new[:, None])
        z = np.exp(m - new) * z + e.sum(-1)
        out = out + (e[0] / z[0] - lam * e[1] / z[1]) @ v
        m = new
    return out


def _one_factor(
    q1: np.ndarray, q2: np.ndarray, blocks: Blocks, lam: float
) -> np.ndarray:
    """The running difference shrunk as branch 1 shrinks."""
    m, z, out = np.full(2, -np.inf), np.zeros(2), 0.0
    for k1, k2, v in blocks:
        scores = np.stack([k1 @ q1, k2 @ q2]) / np.sqrt(len(q1))
        new = np.maximum(m, scores.max(-1))
        before = np.exp(m - new) * z
        e = np.exp(scores - new[:, None])
        z = before + e.sum(-1)
        here = (e[0] / z[0] - lam * e[1] / z[1]) @ v
        out = out * before[0] / z[0] + here
        m = new
    return out


def _one_softmax(
    q1: np.ndarray, q2: np.ndarray, blocks: Blocks, lam: float
) -> np.ndarray:
    m, z, u = -np.inf, 0.0, 0.0
    for k1, k2, v in blocks:
        scores = (k1 @ q1 - lam * k2 @ q2) / np.sqrt(len(q1))
        new = max(m, scores.max())
        old, e = np.exp(m - new), np.exp(scores - new)
        m, z, u = new, old * z + e.sum(), old * u + e @ v
    return u / z


EXERCISE = Exercise(
    id="P1.4",
    cases=_cases,
    solution=one_pass,
    run=_run,
    mistakes=(
        Mistake(
            key="one maximum for both",
            diagnosis="Both branches share one running maximum. Where one "
            "scores far above the other, the other's sum becomes 0 and its "
            "output 0 / 0. Keep a maximum for each.",
            wrong=_like(_end, shared=True),
        ),
        Mistake(
            key="one sum for both",
            diagnosis="The difference is divided by a difference of sums, so "
            "the row adds up to 1. Divide each branch by its own sum, then "
            "subtract: the row adds up to 1 - lam.",
            wrong=_like(
                lambda u, z, lam: (u[0] - lam * u[1]) / (z[0] - lam * z[1])
            ),
            also=(
                _like(
                    lambda u, z, lam: (
                        (u[0] - lam * u[1]) / (z[0] - lam * z[1])
                    ),
                    shared=True,
                ),
            ),
        ),
        Mistake(
            key="divided by the first sum",
            diagnosis="Both branches are divided by the first one's sum. "
            "Each has its own.",
            wrong=_like(lambda u, z, lam: (u[0] - lam * u[1]) / z[0]),
            also=(
                _like(
                    lambda u, z, lam: (u[0] - lam * u[1]) / z[0], shared=True
                ),
            ),
        ),
        Mistake(
            key="a difference for each block",
            diagnosis="Each block gets two softmaxes of its own, and the "
            "differences are put together. All keys of a row share one sum "
            "for each branch.",
            wrong=_each_block(mean=False),
            also=(_each_block(mean=True),),
        ),
        Mistake(
            key="last block only",
            diagnosis="Only the last block counts. Is the running maximum "
            "still -inf when the next block comes? Then everything before "
            "is multiplied by 0.",
            wrong=_like(_end, forget=True),
        ),
        Mistake(
            key="provisional weights",
            diagnosis="Each block's weights are divided by the sums so far "
            "and added for good. The sums grow later, so early keys keep too "
            "much weight. Divide once, at the end.",
            wrong=_provisional,
        ),
        Mistake(
            key="one factor for both",
            diagnosis="You keep the difference and shrink it by one factor. "
            "The two branches shrink by different factors: keep them apart "
            "until both sums are final.",
            wrong=_one_factor,
        ),
        Mistake(
            key="before the softmax",
            diagnosis="You subtract the scores and run one softmax. Run two, "
            "and subtract their outputs at the end.",
            wrong=_one_softmax,
        ),
        Mistake(
            key="lam dropped",
            diagnosis="lam is not used: the second branch is subtracted "
            "whole.",
            wrong=_like(lambda u, z, lam: _end(u, z, 1.0)),
        ),
        Mistake(
            key="vectors not rescaled",
            diagnosis="z is rescaled when a maximum grows, u is not. Both "
            "hold the same exponentials.",
            wrong=_like(_end, rescale=False),
        ),
        Mistake(
            key="scale by 2D",
            diagnosis="The scores are divided by sqrt(2D). Each branch is D "
            "wide.",
            wrong=_like(_end, width=2.0),
        ),
    ),
    hints=(
        "How many numbers and vectors did one branch need? Which of them can "
        "the two branches share?",
        "None of them; only v is shared. Keep m and z with shape (2,) and u "
        "with shape (2, Dv), stack both branches' scores to (2, n), and let "
        "e @ v serve both.",
        "After the loop: o1, o2 = u / z[:, None]; return o1 - lam * o2.",
    ),
)
