"""Problem P1.5: the gradient of a branch whose map was never kept."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.reference import attention_map, softmax


def branch_backward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    lse: np.ndarray,
    delta: np.ndarray,
    dout: np.ndarray,
    block: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return dq, dk, dv of sum(dout * A v), A = softmax(q k' / sqrt(D)).

    q (T, D), k (S, D), v (S, Dv), dout (T, Dv); A is causal: query t sees
    keys 0 to t + S - T. lse (T,) as in P1.3; delta (T,) is the row sum of
    dout * out. A is rebuilt for `block` keys at a time.
    """
    (T, D), S = q.shape, len(k)
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for start in range(0, S, block):
        keys = np.arange(start, min(start + block, S))
        scores = q @ k[keys].T / np.sqrt(D)  # (T, n)
        hidden = keys > np.arange(T)[:, None] + S - T
        A = np.exp(np.where(hidden, -np.inf, scores - lse[:, None]))
        dS = A * (dout @ v[keys].T - delta[:, None]) / np.sqrt(D)
        dq += dS @ k[keys]
        dk[keys] = dS.T @ q
        dv[keys] = A.T @ dout
    return dq, dk, dv


def _cases() -> list[Case]:
    cases = []
    for seed, (T, S, D, Dv, block) in enumerate(
        [(1, 1, 2, 2, 1), (4, 5, 4, 6, 2), (3, 8, 4, 3, 3), (6, 6, 3, 2, 4)]
    ):
        rng = np.random.default_rng(seed)
        q, k = rng.normal(size=(T, D)), rng.normal(size=(S, D))
        v, dout = rng.normal(size=(S, Dv)), rng.normal(size=(T, Dv))
        scores = q @ k.T / np.sqrt(D)
        hidden = ~np.tril(np.ones((T, S), dtype=bool), S - T)
        lse = np.log(np.where(hidden, 0, np.exp(scores)).sum(-1))
        delta = (dout * (attention_map(q, k) @ v)).sum(-1)
        cases.append(
            Case(
                name=f"T = {T}, S = {S}, D = {D}, Dv = {Dv}, blocks of "
                f"{block}",
                args=(q, k, v, lse, delta, dout, block),
            )
        )
    return cases


def _softmaxed(scores: np.ndarray, lse: np.ndarray) -> np.ndarray:
    """A softmax of the block; a row hidden in it gets zeros."""
    return np.nan_to_num(softmax(scores))


def _like(
    *,
    centre: Callable[..., Any] = lambda A, dA, delta: dA - delta,
    mask: bool = True,
    to_end: bool = True,
    each: bool = False,
    weights: Callable[..., np.ndarray] = lambda scores, lse: np.exp(
        scores - lse
    ),
    add: bool = True,
    power: float = 0.5,
    width: float = 0.5,
    only: str = "",
) -> Callable[..., Any]:
    """The backward with something about it changed: the mistakes below."""

    def wrong(
        q: np.ndarray,
        k: np.ndarray,
        v: np.ndarray,
        lse: np.ndarray,
        delta: np.ndarray,
        dout: np.ndarray,
        block: int,
    ) -> Any:
        (T, D), S = q.shape, len(k)
        dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
        for start in range(0, S, block):
            keys = np.arange(start, min(start + block, S))
            scores = q @ k[keys].T / D**width
            if mask:
                edge = np.arange(T)[:, None] + (S - T if to_end else 0)
                seen = keys - start if each else keys
                scores = np.where(seen > edge, -np.inf, scores)
            A = weights(scores, lse[:, None])
            dA = dout @ v[keys].T
            dS = A * centre(A, dA, delta[:, None]) / D**power
            root = np.sqrt(D)
            dq = (dq if add else 0) + dS @ k[keys] * (
                root if only == "dk" else 1
            )
            dk[keys] = dS.T @ q * (root if only == "dq" else 1)
            dv[keys] = A.T @ dout
        return dq, dk, dv

    return wrong


def _swapped(q: np.ndarray, *rest: Any) -> Any:
    dq, dk, dv = branch_backward(q, *rest)
    return dk, dq, dv


EXERCISE = Exercise(
    id="P1.5",
    cases=_cases,
    solution=branch_backward,
    results=("dq", "dk", "dv"),
    mistakes=(
        Mistake(
            key="delta missing",
            diagnosis="dv is right, but the scores' gradient is A * dA. The "
            "softmax couples the keys of a row: subtract delta from dA "
            "first.",
            wrong=_like(centre=lambda A, dA, delta: dA),
        ),
        Mistake(
            key="delta of the block",
            diagnosis="You sum A * dA over the block. delta is that sum over "
            "the whole row, and it comes as an argument.",
            wrong=_like(
                centre=lambda A, dA, delta: dA - (A * dA).sum(-1)[:, None]
            ),
        ),
        Mistake(
            key="delta added",
            diagnosis="delta is added to dA. It is subtracted: adding a "
            "constant to all of dA must not change dq.",
            wrong=_like(centre=lambda A, dA, delta: dA + delta),
        ),
        Mistake(
            key="a softmax for each block",
            diagnosis="Each block is normalised by its own sum. The weights "
            "are exp(score - lse), with the row's sum inside lse.",
            wrong=_like(weights=_softmaxed),
            also=(_like(weights=lambda s, lse: softmax(s)),),
        ),
        Mistake(
            key="dq overwritten",
            diagnosis="dq holds the last block only. Every block of keys "
            "adds to it.",
            wrong=_like(add=False),
        ),
        Mistake(
            key="scale forgotten",
            diagnosis="dv is right, dq and dk are sqrt(D) times too large. "
            "The score is q k' / sqrt(D), so the 1 / sqrt(D) comes back in "
            "both gradients.",
            wrong=_like(power=0.0),
        ),
        Mistake(
            key="scale in one place only",
            diagnosis="One of dq and dk has its 1 / sqrt(D), the other has "
            "not. Put it into dS, which both are made from.",
            wrong=_like(only="dq"),
            also=(_like(only="dk"),),
        ),
        Mistake(
            key="scale twice",
            diagnosis="dq and dk are sqrt(D) times too small: 1 / sqrt(D) "
            "is applied twice.",
            wrong=_like(power=1.0),
        ),
        Mistake(
            key="scores not scaled",
            diagnosis="A is rebuilt from q k' without / sqrt(D). lse was "
            "taken of scores q k' / sqrt(D), so these must be the same.",
            wrong=_like(width=0.0),
            also=(_like(width=0.0, power=0.0),),
        ),
        Mistake(
            key="order swapped",
            diagnosis="dq and dk have changed places. Return dq, dk, dv.",
            wrong=_swapped,
        ),
        Mistake(
            key="no mask",
            diagnosis="Hidden keys get weights when A is rebuilt. lse does "
            "not know of them: mask the scores again.",
            wrong=_like(mask=False),
        ),
        Mistake(
            key="mask aligned to the start",
            diagnosis="Query t sees keys 0 to t when A is rebuilt. With more "
            "keys than queries it sees keys 0 to t + S - T.",
            wrong=_like(to_end=False),
        ),
        Mistake(
            key="mask of each block alone",
            diagnosis="The mask is drawn as if each block began at key 0. "
            "Count the keys of the blocks before it.",
            wrong=_like(each=True),
        ),
    ),
    hints=(
        "lse is all that is left of the row. How do you get one weight back "
        "from one score?",
        "A = exp(score - lse) and 0 where hidden; no block needs the others. "
        "dA = dout @ v', then dS = A * (dA - delta), as in chapter 04, and "
        "1 / sqrt(D) once. Which of dq, dk, dv adds up over the blocks?",
        "For the keys of a block: dS = A * (dout @ v[keys].T - delta[:, "
        "None]) / np.sqrt(D); dq += dS @ k[keys]; dk[keys] = dS.T @ q; "
        "dv[keys] = A.T @ dout.",
    ),
)
