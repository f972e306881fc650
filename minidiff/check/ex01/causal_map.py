"""Exercise 1.3: the causal attention map without loops."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.reference import softmax


def causal_map(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return the causal attention map (T, S) of eq. 1.3.

    q (T, D), k (S, D), T <= S; query t sees keys 0 to t + S - T.
    """
    T, D = q.shape
    S = len(k)
    logits = q @ k.T / np.sqrt(D)
    seen = np.tril(np.ones((T, S), dtype=bool), S - T)
    return softmax(np.where(seen, logits, -np.inf))


def _cases() -> list[Case]:
    cases = []
    for seed, (T, S, D) in enumerate(
        [(4, 4, 3), (3, 5, 2), (1, 6, 4), (1, 1, 3), (5, 7, 8)]
    ):
        rng = np.random.default_rng(seed)
        q, k = rng.normal(size=(T, D)), rng.normal(size=(S, D))
        cases.append(Case(name=f"T = {T}, S = {S}, D = {D}", args=(q, k)))
    q, k = -1e12 * np.ones((3, 2)), np.array([[4.0, 3], [2, 2], [1, 1]])
    cases.append(Case(name="all scores below -1e12", args=(q, k)))
    return cases


def _seen(T: int, S: int, late: int = 0) -> np.ndarray:
    """Which keys a query sees; late > 0 lets it look ahead."""
    return np.tril(np.ones((T, S), dtype=bool), S - T + late)


def _map_like(
    q: np.ndarray,
    k: np.ndarray,
    *,
    scale: float | None = None,
    seen: np.ndarray | None = None,
) -> np.ndarray:
    """The map with another scale or another mask: the mistakes below."""
    scale = np.sqrt(q.shape[1]) if scale is None else scale
    seen = _seen(len(q), len(k)) if seen is None else seen
    return softmax(np.where(seen, q @ k.T / scale, -np.inf))


def _logits(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    return q @ k.T / np.sqrt(q.shape[1])


def _zeros_before(q: np.ndarray, k: np.ndarray, late: int = 0) -> np.ndarray:
    return softmax(_logits(q, k) * _seen(len(q), len(k), late))


def _after(q: np.ndarray, k: np.ndarray, late: int = 0) -> np.ndarray:
    return softmax(_logits(q, k)) * _seen(len(q), len(k), late)


def _masked_scores(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    return np.where(_seen(len(q), len(k)), _logits(q, k), -np.inf)


def _mask_added(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    return softmax(_logits(q, k) + _seen(len(q), len(k)))


def _nan_mask(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    return softmax(_logits(q, k) + (1 - _seen(len(q), len(k))) * -np.inf)


def _times_infinity(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    return softmax(_logits(q, k) * np.where(_seen(len(q), len(k)), 1, -np.inf))


def _finite(q: np.ndarray, k: np.ndarray, lowest: float) -> np.ndarray:
    return softmax(np.where(_seen(len(q), len(k)), _logits(q, k), lowest))


def _turned(
    q: np.ndarray, k: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Scores k @ q.T under a mask of some shape."""
    scores = k @ q.T / np.sqrt(q.shape[1])
    return softmax(np.where(_seen(*shape), scores, -np.inf))


def _columns(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    return softmax(_masked_scores(q, k).T).T


EXERCISE = Exercise(
    id="1.3",
    cases=_cases,
    solution=causal_map,
    mistakes=(
        Mistake(
            key="aligned to the start",
            diagnosis="Query t sees keys 0 to t only. With more keys than "
            "queries the last query sees the last key: shift the triangle by "
            "S - T.",
            wrong=lambda q, k: _map_like(
                q, k, seen=_seen(len(q), len(k), len(q) - len(k))
            ),
        ),
        Mistake(
            key="mask T by T",
            diagnosis="Your mask has shape (T, T), the scores (T, S). Build "
            "it (T, S), with the triangle shifted by S - T.",
            wrong=lambda q, k: _map_like(q, k, seen=np.tri(len(q)) > 0),
        ),
        Mistake(
            key="mask S by S",
            diagnosis="Your mask has shape (S, S), the scores (T, S). Build "
            "it (T, S), with the triangle shifted by S - T.",
            wrong=lambda q, k: _map_like(q, k, seen=np.tri(len(k)) > 0),
        ),
        Mistake(
            key="sees the next token",
            diagnosis="Each query sees one key too many: its own token's "
            "successor. Query t sees keys 0 to t + S - T.",
            wrong=lambda q, k: _map_like(q, k, seen=_seen(len(q), len(k), 1)),
        ),
        Mistake(
            key="own token hidden",
            diagnosis="No query sees its own token, so the first row may "
            "have nothing to see and become nan. Key t + S - T is visible to "
            "query t.",
            wrong=lambda q, k: _map_like(q, k, seen=_seen(len(q), len(k), -1)),
        ),
        Mistake(
            key="past hidden",
            diagnosis="The mask is the wrong way round: it hides the keys a "
            "query may see, and shows it the future. np.where(a, b, c) takes "
            "b where a is true.",
            wrong=lambda q, k: _map_like(q, k, seen=~_seen(len(q), len(k))),
        ),
        Mistake(
            key="upper triangle",
            diagnosis="Your queries see their own token and the future: that "
            "is the upper triangle. They should see the lower one.",
            wrong=lambda q, k: _map_like(
                q, k, seen=~_seen(len(q), len(k), -1)
            ),
        ),
        Mistake(
            key="no mask",
            diagnosis="Every query sees every key. Query t may see keys 0 to "
            "t + S - T.",
            wrong=lambda q, k: _map_like(q, k, seen=np.array(True)),
        ),
        Mistake(
            key="zeros before the softmax",
            diagnosis="The hidden scores are 0, and exp(0) is 1: hidden keys "
            "get weight. They must be -inf.",
            wrong=_zeros_before,
        ),
        Mistake(
            key="a large negative number",
            diagnosis="Hidden scores are a large negative number. Where all "
            "visible scores are lower still, the hidden keys win. Only -inf "
            "is lower than every score.",
            wrong=lambda q, k: _finite(q, k, -1e9),
            also=(
                lambda q, k: softmax(
                    _logits(q, k) - 1e9 * ~_seen(len(q), len(k))
                ),
            ),
        ),
        Mistake(
            key="after the softmax",
            diagnosis="You take the softmax over all keys and then put zeros "
            "in. The rows do not sum to 1, and the future stays in their "
            "denominator. Mask the scores, with -inf.",
            wrong=_after,
        ),
        Mistake(
            key="nan from the mask",
            diagnosis="You multiply a mask of zeros and ones by -inf, and 0 "
            "* inf is nan, so the visible scores are lost. Use np.where to "
            "choose between the score and -inf.",
            wrong=_nan_mask,
        ),
        Mistake(
            key="scores times -inf",
            diagnosis="You multiply hidden scores by -inf. A negative score "
            "becomes +inf, and the row nan. Use np.where to choose between "
            "the score and -inf.",
            wrong=_times_infinity,
        ),
        Mistake(
            key="masked late, divided again",
            diagnosis="You mask the weights and divide by the new sums. On "
            "paper that is right. But where hidden scores are far above the "
            "visible ones, the visible weights have become 0, and the row is "
            "0 / 0. Mask the scores, with -inf.",
            wrong=lambda q, k: (
                _after(q, k) / _after(q, k).sum(-1, keepdims=True)
            ),
        ),
        Mistake(
            key="shifted the wrong way",
            diagnosis="The triangle is shifted by T - S. With more keys than "
            "queries it must reach further right: S - T.",
            wrong=lambda q, k: _map_like(
                q, k, seen=_seen(len(q), len(k), 2 * (len(q) - len(k)))
            ),
        ),
        Mistake(
            key="start, zeros before",
            diagnosis="Two things. The hidden scores are 0, and exp(0) is 1: "
            "they must be -inf. And the triangle must be shifted by S - T, "
            "so that the last query sees the last key.",
            wrong=lambda q, k: _zeros_before(q, k, len(q) - len(k)),
        ),
        Mistake(
            key="start, after the softmax",
            diagnosis="Two things. The mask comes after the softmax, so that "
            "the future stays in the denominator: mask the scores, with "
            "-inf. And the triangle must be shifted by S - T.",
            wrong=lambda q, k: _after(q, k, len(q) - len(k)),
        ),
        Mistake(
            key="start, no scale",
            diagnosis="Two things. The scores are not divided by sqrt(D). "
            "And the triangle must be shifted by S - T, so that the last "
            "query sees the last key.",
            wrong=lambda q, k: _map_like(
                q, k, scale=1.0, seen=_seen(len(q), len(k), len(q) - len(k))
            ),
        ),
        Mistake(
            key="start, past hidden",
            diagnosis="Two things. The mask is the wrong way round: "
            "np.where(a, b, c) takes b where a is true. And the triangle "
            "must be shifted by S - T.",
            wrong=lambda q, k: _map_like(
                q, k, seen=~_seen(len(q), len(k), len(q) - len(k))
            ),
        ),
        Mistake(
            key="no softmax",
            diagnosis="These are the masked scores. The softmax of each row "
            "is missing.",
            wrong=_masked_scores,
        ),
        Mistake(
            key="mask added",
            diagnosis="You add the mask of ones and zeros to the scores. "
            "Hidden scores must become -inf: choose with np.where.",
            wrong=_mask_added,
        ),
        Mistake(
            key="k not turned",
            diagnosis="Some operation does not fit, in none of the cases. q "
            "(T, D) and k (S, D) meet as q @ k.T, which is (T, S), and the "
            "mask is (T, S) too.",
            wrong=lambda q, k: softmax(q @ k),
        ),
        Mistake(
            key="k asks q",
            diagnosis="Your scores are k @ q.T, shape (S, T): each key asks "
            "all queries. The rows of a map are the queries: q @ k.T, "
            "(T, S).",
            wrong=lambda q, k: _turned(q, k, (len(q), len(k))),
            also=(
                lambda q, k: _turned(q, k, (len(k), len(q))),
                lambda q, k: causal_map(k, q),
            ),
        ),
        Mistake(
            key="no scale",
            diagnosis="The scores are not divided by sqrt(D).",
            wrong=lambda q, k: _map_like(q, k, scale=1.0),
        ),
        Mistake(
            key="scale by D",
            diagnosis="The scores are divided by D. Divide by its root.",
            wrong=lambda q, k: _map_like(q, k, scale=q.shape[1]),
        ),
        Mistake(
            key="scale by the length T",
            diagnosis="The scores are divided by the root of T, the number "
            "of queries. D is the width: q.shape[1].",
            wrong=lambda q, k: _map_like(q, k, scale=np.sqrt(len(q))),
        ),
        Mistake(
            key="scale by the length S",
            diagnosis="The scores are divided by the root of S, the number "
            "of keys. D is the width: k.shape[1].",
            wrong=lambda q, k: _map_like(q, k, scale=np.sqrt(len(k))),
        ),
        Mistake(
            key="multiplied by the root",
            diagnosis="The scores are multiplied by sqrt(D). Divide.",
            wrong=lambda q, k: _map_like(q, k, scale=q.shape[1] ** -0.5),
        ),
        Mistake(
            key="down the columns",
            diagnosis="The columns sum to 1, not the rows. Each query has "
            "weights of its own: the softmax runs over axis -1.",
            wrong=_columns,
        ),
    ),
    hints=(
        "Three steps, as in the loops: all scores, then the hidden ones, "
        "then the softmax. Which of them changes if T < S?",
        "np.tril(np.ones((T, S), dtype=bool), n) is true up to n places "
        "right of the diagonal. Which n lets the last query see the last key?",
        "logits = q @ k.T / np.sqrt(D); keep them where np.tril(np.ones((T, "
        "S), dtype=bool), S - T) is true, put -np.inf elsewhere with "
        "np.where, and call softmax.",
    ),
)
