"""Problem P1.3: one causal branch, a block of keys at a time."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.exP1.pages import cut, pages
from minidiff.reference import softmax


def streamed_branch(
    q: np.ndarray, blocks: Iterable[tuple[np.ndarray, np.ndarray]], S: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (out, lse) of softmax(q k' / sqrt(D)) v, causal.

    q (T, D). blocks gives (k, v) of the next keys, (n, D) and (n, Dv); the
    last block may be shorter, and S is the number of all keys. Query t sees
    keys 0 to t + S - T. out (T, Dv); lse (T,) is the logarithm of each row's
    sum of exp(score).
    """
    T, D = q.shape
    m, z, u, start = np.full(T, -np.inf), np.zeros(T), np.zeros((T, 1)), 0
    for k, v in blocks:
        scores = q @ k.T / np.sqrt(D)  # (T, n)
        hidden = start + np.arange(len(k)) > np.arange(T)[:, None] + S - T
        scores = np.where(hidden, -np.inf, scores)
        new = np.maximum(m, scores.max(-1))
        old, e = np.exp(m - new), np.exp(scores - new[:, None])
        z = old * z + e.sum(-1)
        u = old[:, None] * u + e @ v
        m, start = new, start + len(k)
    return u / z[:, None], m + np.log(z)


def _run(
    answer: Callable[..., Any],
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    block: int,
) -> Any:
    return answer(q, pages(cut(block, k, v)), len(k))


def _cases() -> list[Case]:
    cases = []
    for seed, (T, S, D, Dv, block) in enumerate(
        [(1, 1, 2, 2, 1), (5, 5, 4, 6, 2), (3, 8, 4, 3, 3), (6, 6, 3, 2, 4)]
    ):
        rng = np.random.default_rng(seed)
        q, k = rng.normal(size=(T, D)), rng.normal(size=(S, D))
        v = rng.normal(size=(S, Dv))
        name = f"T = {T}, S = {S}, D = {D}, Dv = {Dv}, blocks of {block}"
        cases.append(Case(name=name, args=(q, k, v, block)))
    # One row's scores are a thousand above those of the other rows.
    k[:, 0] = 1.0
    q = np.concatenate([q[:5], [[2000.0, 0.0, 1.0]]])
    name = "T = 6, S = 6, the last row's scores over a thousand"
    cases.append(Case(name=name, args=(q, k, v, 2)))
    # Query 0 sees one key. Its score is -1.7e10, below any usual number.
    q = np.concatenate([[[-3e10, 0.0, 1.0]], q[1:5]])
    k = k[:5]
    name = "T = 5, S = 5, the first row's score far below zero"
    cases.append(Case(name=name, args=(q, k, v[:5], 2)))
    return cases


def _like(
    *,
    mask: Callable[..., Any] = lambda start, n, t, S, T: start + n > t + S - T,
    width: Callable[[int], float] = np.sqrt,
    rescale: bool = True,
    provisional: bool = False,
    per_block: Callable[..., np.ndarray] | None = None,
    shared: bool = False,
    forget: bool = False,
    shift: bool = True,
    last_length: bool = False,
    divide: bool = True,
    hidden: float = -np.inf,
    lse: Callable[..., np.ndarray] = lambda m, z: m + np.log(z),
) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """The loop with something about it changed: the mistakes below."""

    def wrong(q: np.ndarray, blocks: Iterable[Any], S: int) -> Any:
        T, D = q.shape
        m, z, u, start = np.full(T, -np.inf), np.zeros(T), 0.0, 0
        for i, (k, v) in enumerate(blocks):
            start = i * len(k) if last_length else start
            n, t = np.arange(len(k)), np.arange(T)[:, None]
            scores = q @ k.T / width(D)
            scores = np.where(mask(start, n, t, S, T), hidden, scores)
            new = np.maximum(m, scores.max(-1))
            if shared:
                new = np.full(T, new.max())
            if not shift:
                m, new = np.zeros(T), np.zeros(T)
            old, e = np.exp(m - new), np.exp(scores - new[:, None])
            z = old * z + e.sum(-1)
            if per_block is not None:
                u = u + per_block(softmax(scores)) @ v
            elif provisional:
                u = u + e / z[:, None] @ v
            else:
                u = (old[:, None] if rescale else 1.0) * u + e @ v
            m, start = m if forget else new, start + len(k)
        done = provisional or per_block is not None or not divide
        return u if done else u / z[:, None], lse(m, z)

    return wrong


def _kept(q: np.ndarray, blocks: Iterable[Any], S: int) -> Any:
    k, v = (np.concatenate(x) for x in zip(*blocks, strict=True))
    return _like()(q, [(k, v)], S)


EXERCISE = Exercise(
    id="P1.3",
    cases=_cases,
    solution=streamed_branch,
    run=_run,
    results=("out", "lse"),
    mistakes=(
        Mistake(
            key="mask of each block alone",
            diagnosis="The mask is drawn as if each block began at key 0. "
            "Count the keys of the blocks before it.",
            wrong=_like(mask=lambda start, n, t, S, T: n > t + S - T),
            also=(
                _like(mask=lambda start, n, t, S, T: n > t),
                _like(mask=lambda start, n, t, S, T: n > t + len(n) - T),
            ),
        ),
        Mistake(
            key="start from the last block's length",
            diagnosis="The number of keys before a block is taken as i times "
            "the block's own length. The last block may be shorter: add up "
            "the lengths as the blocks come.",
            wrong=_like(last_length=True),
        ),
        Mistake(
            key="mask aligned to the start",
            diagnosis="Query t sees keys 0 to t only. With more keys than "
            "queries the last query sees the last key: keys 0 to t + S - T.",
            wrong=_like(mask=lambda start, n, t, S, T: start + n > t),
        ),
        Mistake(
            key="mask off by one",
            diagnosis="Query t sees one key too many. It sees keys 0 to "
            "t + S - T, that one included and the next one not.",
            wrong=_like(
                mask=lambda start, n, t, S, T: start + n > t + S - T + 1
            ),
        ),
        Mistake(
            key="own key hidden",
            diagnosis="Query t sees one key too few, and a first query sees "
            "none, so its row is 0 / 0. Key t + S - T is seen: hide a key "
            "where its number is larger (>, not >=).",
            wrong=_like(mask=lambda start, n, t, S, T: start + n >= t + S - T),
        ),
        Mistake(
            key="no mask",
            diagnosis="Every query sees every key. Give a hidden key the "
            "score -inf before the maximum is taken.",
            wrong=_like(mask=lambda start, n, t, S, T: start + n < 0),
        ),
        Mistake(
            key="hidden keys score zero",
            diagnosis="Hidden keys get the score 0, and exp(0) is 1. Their "
            "score is -inf.",
            wrong=_like(hidden=0.0),
        ),
        Mistake(
            key="maximum not kept",
            diagnosis="m stays at -inf, so every block begins anew and only "
            "the last one counts. After each block the new maximum becomes "
            "the old one.",
            wrong=_like(forget=True),
        ),
        Mistake(
            key="vector not rescaled",
            diagnosis="lse is right, so z is rescaled; u is not. When the "
            "maximum grows, u shrinks by the same factor as z.",
            wrong=_like(rescale=False),
        ),
        Mistake(
            key="provisional weights",
            diagnosis="Each block is divided by the sum so far and then "
            "left alone. That sum grows when later blocks come, so the "
            "weights of early keys stay too large. Divide once, at the end.",
            wrong=_like(provisional=True),
        ),
        Mistake(
            key="a softmax for each block",
            diagnosis="Each block gets a softmax of its own, and the "
            "outputs are added. All keys of a row share one sum.",
            wrong=_like(per_block=np.nan_to_num),
            also=(_like(per_block=lambda A: A),),
        ),
        Mistake(
            key="one maximum for all rows",
            diagnosis="One maximum serves all queries. Where a row's scores "
            "are far below it, every exponential is 0 and the row is "
            "0 / 0. Each query has its own: max over axis -1.",
            wrong=_like(shared=True),
        ),
        Mistake(
            key="no maximum",
            diagnosis="exp(score) is summed without the maximum subtracted. "
            "Scores of a thousand overflow. Keep each row's maximum so far, "
            "as in P1.1.",
            wrong=_like(shift=False),
        ),
        Mistake(
            key="never divided",
            diagnosis="lse is right, but out is u, the sum that still has to "
            "be divided. Return u / z, each row by its own z.",
            wrong=_like(divide=False),
        ),
        Mistake(
            key="no scale",
            diagnosis="The scores are not divided by sqrt(D).",
            wrong=_like(width=lambda D: 1.0),
            also=(_like(width=lambda D: D),),
        ),
        Mistake(
            key="multiplied by the root",
            diagnosis="The scores are multiplied by sqrt(D). Divide.",
            wrong=_like(width=lambda D: 1 / np.sqrt(D)),
        ),
        Mistake(
            key="lse without the maximum",
            diagnosis="out is right, lse is not: z is relative to m, so "
            "the logarithm of the whole sum is m + log(z).",
            wrong=_like(lse=lambda m, z: np.log(z)),
            also=(
                _like(lse=lambda m, z: z),
                _like(lse=lambda m, z: m - np.log(z)),
            ),
        ),
        Mistake(
            key="blocks kept",
            diagnosis="You join the blocks and look at them at the end. By "
            "then they are written over. Use a block when it comes.",
            wrong=_kept,
        ),
    ),
    hints=(
        "It is P1.1 with a vector beside z. Which of m, z, u are one number "
        "for each query, and what is their shape?",
        "m and z are (T,), u is (T, Dv). Count the keys seen so far in "
        "`start`; column j of a block is key start + j, hidden from query t "
        "if start + j > t + S - T. Scores of hidden keys are -inf.",
        "new = np.maximum(m, scores.max(-1)); old = np.exp(m - new); e = "
        "np.exp(scores - new[:, None]); z = old * z + e.sum(-1); u = "
        "old[:, None] * u + e @ v; and after the loop u / z[:, None] and "
        "m + np.log(z).",
    ),
)
