"""Exercise 3.2: one differential head."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.reference import attention_map, softmax


def one_head(
    x: np.ndarray,
    Wq: np.ndarray,
    Wk: np.ndarray,
    Wv: np.ndarray,
    lam: float,
) -> np.ndarray:
    """Return the output (T, 2D) of one causal differential head.

    x (T, E); Wq, Wk, Wv (E, 2D). The first D columns of x @ Wq are q1, the
    other D are q2; k1 and k2 likewise; the values are not split.
    """
    q1, q2 = np.split(x @ Wq, 2, axis=-1)
    k1, k2 = np.split(x @ Wk, 2, axis=-1)
    A1 = attention_map(q1, k1)
    A2 = attention_map(q2, k2)
    return (A1 - lam * A2) @ (x @ Wv)


def _cases() -> list[Case]:
    cases = []
    for seed, (T, E, D, lam) in enumerate(
        [(5, 8, 4, 0.2), (7, 6, 3, 0.5), (1, 4, 2, 0.8)]
    ):
        rng = np.random.default_rng(seed)
        x, W = rng.normal(size=(T, E)), rng.normal(size=(3, E, 2 * D))
        cases.append(
            Case(
                name=f"T = {T}, E = {E}, D = {D}, lam = {lam}",
                args=(x, *W, lam),
            )
        )
    return cases


def _head_like(
    x: np.ndarray,
    Wq: np.ndarray,
    Wk: np.ndarray,
    Wv: np.ndarray,
    lam: float,
    *,
    columns: tuple[slice, slice] | None = None,
    width: float = 1.0,
    edge: int | None = 0,
    weights: tuple[float, float] | None = None,
    rescaled: bool = False,
) -> np.ndarray:
    """One head with something about it changed: the mistakes below."""
    T, D = len(x), Wq.shape[1] // 2
    first, second = columns or (slice(0, D), slice(D, None))
    maps = []
    for part in (first, second):
        q, k = (x @ Wq)[:, part], (x @ Wk)[:, part]
        logits = q @ k.T / np.sqrt(D * width)
        if edge is not None:
            hidden = ~np.tril(np.ones((T, T), dtype=bool), edge)
            logits = np.where(hidden, -np.inf, logits)
        maps.append(softmax(logits))
    w1, w2 = weights or (1, -lam)
    A = w1 * maps[0] + w2 * maps[1]
    if rescaled:
        A = A / A.sum(-1, keepdims=True)
    return A @ (x @ Wv)


def _values_dealt_out(
    x: np.ndarray,
    Wq: np.ndarray,
    Wk: np.ndarray,
    Wv: np.ndarray,
    lam: float,
) -> np.ndarray:
    D = Wv.shape[1] // 2
    first = one_head(x, Wq, Wk, Wv[:, :D], 0.0)
    return (
        first
        + one_head(x, Wq, Wk, Wv[:, D:], lam)
        - one_head(x, Wq, Wk, Wv[:, D:], 0.0)
    )


def _values_joined(
    x: np.ndarray,
    Wq: np.ndarray,
    Wk: np.ndarray,
    Wv: np.ndarray,
    lam: float,
) -> np.ndarray:
    D = Wv.shape[1] // 2
    first = one_head(x, Wq, Wk, Wv[:, :D], 0.0)
    second = one_head(x, Wq, Wk, Wv[:, D:], lam)
    second -= one_head(x, Wq, Wk, Wv[:, D:], 0.0)
    return np.concatenate([first, second], -1)


def _one_softmax(
    x: np.ndarray,
    Wq: np.ndarray,
    Wk: np.ndarray,
    Wv: np.ndarray,
    lam: float,
) -> np.ndarray:
    q1, q2 = np.split(x @ Wq, 2, axis=-1)
    k1, k2 = np.split(x @ Wk, 2, axis=-1)
    logits = (q1 @ k1.T - lam * q2 @ k2.T) / np.sqrt(q1.shape[1])
    hidden = ~np.tril(np.ones(logits.shape, dtype=bool))
    return softmax(np.where(hidden, -np.inf, logits)) @ (x @ Wv)


def _map(
    x: np.ndarray, Wq: np.ndarray, Wk: np.ndarray, branch: int
) -> np.ndarray:
    q, k = (np.split(x @ W, 2, -1)[branch] for W in (Wq, Wk))
    return attention_map(q, k)


EXERCISE = Exercise(
    id="3.2",
    cases=_cases,
    solution=one_head,
    mistakes=(
        Mistake(
            key="scale by 2D",
            diagnosis="The logits are divided by sqrt(2D). Each branch is D "
            "wide, so its scale is sqrt(D).",
            wrong=lambda *a: _head_like(*a, width=2.0),
        ),
        Mistake(
            key="no mask",
            diagnosis="Every query sees every key. The maps must be causal: "
            "query t sees keys 0 to t.",
            wrong=lambda *a: _head_like(*a, edge=None),
        ),
        Mistake(
            key="mask off by one",
            diagnosis="The causal mask lets query t see key t + 1. It may "
            "see keys 0 to t.",
            wrong=lambda *a: _head_like(*a, edge=1),
        ),
        Mistake(
            key="interleaved split",
            diagnosis="You take every second column for each branch. Here "
            "the first D columns are branch 1 and the last D branch 2.",
            wrong=lambda *a: _head_like(
                *a, columns=(slice(0, None, 2), slice(1, None, 2))
            ),
        ),
        Mistake(
            key="branches swapped",
            diagnosis="The branches are swapped: this is A2 - lam A1.",
            wrong=lambda x, Wq, Wk, Wv, lam: one_head(
                x,
                np.roll(Wq, Wq.shape[1] // 2, 1),
                np.roll(Wk, Wk.shape[1] // 2, 1),
                Wv,
                lam,
            ),
        ),
        Mistake(
            key="keys crossed",
            diagnosis="q1 is compared with k2 and q2 with k1. Each branch "
            "has its own queries and its own keys.",
            wrong=lambda x, Wq, Wk, Wv, lam: one_head(
                x, Wq, np.roll(Wk, Wk.shape[1] // 2, 1), Wv, lam
            ),
        ),
        Mistake(
            key="lam dropped",
            diagnosis="lam is not used: the second map is subtracted whole.",
            wrong=lambda x, Wq, Wk, Wv, lam: one_head(x, Wq, Wk, Wv, 1.0),
        ),
        Mistake(
            key="before the softmax",
            diagnosis="You subtract the scores and take one softmax. Take "
            "two softmaxes, then subtract the maps.",
            wrong=_one_softmax,
        ),
        Mistake(
            key="values split",
            diagnosis="The values are cut in half. Both maps read the same "
            "v, 2D wide.",
            wrong=lambda x, Wq, Wk, Wv, lam: one_head(
                x, Wq, Wk, Wv[:, : Wv.shape[1] // 2], lam
            ),
            also=(_values_dealt_out, _values_joined),
        ),
        Mistake(
            key="scaled twice",
            diagnosis="The scores are divided by sqrt(D) twice. "
            "attention_map has done it already.",
            wrong=lambda x, Wq, *a: _head_like(
                x, Wq, *a, width=Wq.shape[1] / 2
            ),
        ),
        Mistake(
            key="no scale",
            diagnosis="The scores are not scaled. Divide them by sqrt(D), "
            "the width of one branch.",
            wrong=lambda x, Wq, *a: _head_like(
                x, Wq, *a, width=2 / Wq.shape[1]
            ),
        ),
        Mistake(
            key="added",
            diagnosis="The second map is added. It is subtracted.",
            wrong=lambda *a: _head_like(*a, weights=(1, a[-1])),
        ),
        Mistake(
            key="lam on the first",
            diagnosis="lam multiplies the first map. It belongs to the "
            "second.",
            wrong=lambda *a: _head_like(*a, weights=(a[-1], -1)),
        ),
        Mistake(
            key="rows rescaled",
            diagnosis="You divide the rows of the difference by their sum. "
            "They are left as they are and sum to 1 - lam.",
            wrong=lambda *a: _head_like(*a, rescaled=True),
        ),
        Mistake(
            key="one wide map",
            diagnosis="One map is made of all 2D columns, and nothing is "
            "subtracted. Cut queries and keys into branches first.",
            wrong=lambda x, Wq, Wk, Wv, lam: (
                attention_map(x @ Wq, x @ Wk) @ (x @ Wv)
            ),
        ),
        Mistake(
            key="one branch's keys twice",
            diagnosis="Both maps use the same keys, or the same queries. In "
            "V1 each branch has its own queries and its own keys.",
            wrong=lambda x, Wq, Wk, Wv, lam: one_head(
                x, Wq, np.tile(Wk[:, : Wk.shape[1] // 2], 2), Wv, lam
            ),
            also=(
                lambda x, Wq, Wk, Wv, lam: one_head(
                    x, np.tile(Wq[:, : Wq.shape[1] // 2], 2), Wk, Wv, lam
                ),
            ),
        ),
        Mistake(
            key="map returned",
            diagnosis="The map (T, T) comes back. The head's output is the "
            "map times the values, (T, 2D).",
            wrong=lambda x, Wq, Wk, Wv, lam: (
                _map(x, Wq, Wk, 0) - lam * _map(x, Wq, Wk, 1)
            ),
        ),
    ),
    hints=(
        "Which of the three projections are cut into two branches, and "
        "which one serves both?",
        "np.split(x @ Wq, 2, axis=-1) gives q1 and q2. attention_map already "
        "scales and masks.",
        "A1 = attention_map(q1, k1), A2 = attention_map(q2, k2); return "
        "(A1 - lam * A2) @ (x @ Wv).",
    ),
)
