"""Exercise 16.2: one token more for a differential head with a cache."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip
from minidiff.reference import softmax

Step = tuple[np.ndarray, np.ndarray, np.ndarray]


def decode_step(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    K: np.ndarray,
    V: np.ndarray,
    lam: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the output (2D,) of one more token, and the grown K and V.

    q, k (2, D) and v (2D,): the new token's, both branches in q and k.
    K (2, S, D) and V (S, 2D): the cache of the S tokens before it, S >= 1.
    The output is that of a causal differential head, without a norm. Scores
    may be in the thousands.
    """
    K = np.concatenate([K, k[:, None]], axis=1)  # (2, S + 1, D)
    V = np.concatenate([V, v[None]])
    logits = np.einsum("bd,bsd->bs", q, K) / np.sqrt(q.shape[-1])
    A1, A2 = softmax(logits)
    return (A1 - lam * A2) @ V, K, V


def _cases() -> list[Case]:
    cases = []
    for S, D, lam, size in (
        (1, 2, 0.5, 1),
        (2, 3, 0.2, 1),
        (5, 4, 0.8, 1),
        (3, 2, 0.5, 3000),
    ):
        rng = np.random.default_rng(S)
        q, k = rng.normal(size=(2, 2, D))
        q *= size
        # Steps through memory larger than one, as a view would have them.
        K = rng.normal(size=(2, 2 * S, D))[:, ::2]
        V = rng.normal(size=(S, 2 * D))
        args = (q, k, rng.normal(size=2 * D), K, V, lam)
        name = f"S = {S}, D = {D}, lam = {lam}"
        if size > 1:
            name += f", queries of size {size}"
        cases.append(Case(name=name, args=args))
    return cases


def _grown(
    k: np.ndarray, v: np.ndarray, K: np.ndarray, V: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([K, k[:, None]], axis=1), np.concatenate([V, [v]])


def _step(
    head: Callable[..., np.ndarray],
) -> Callable[..., Step]:
    """Grow the cache rightly, and compute the output by ``head``."""

    def answer(
        q: np.ndarray,
        k: np.ndarray,
        v: np.ndarray,
        K: np.ndarray,
        V: np.ndarray,
        lam: float,
    ) -> Step:
        K, V = _grown(k, v, K, V)
        logits = np.einsum("bd,bsd->bs", q, K)
        return head(logits, V, lam, q, K), K, V

    return answer


def _combine(logits: np.ndarray, V: np.ndarray, lam: float) -> np.ndarray:
    A1, A2 = softmax(logits)
    return (A1 - lam * A2) @ V


def _first_keys(
    logits: np.ndarray, V: np.ndarray, lam: float, q: np.ndarray, K: np.ndarray
) -> np.ndarray:
    return _combine(q @ K[0].T / np.sqrt(q.shape[-1]), V, lam)


def _own_key_only(
    logits: np.ndarray, V: np.ndarray, lam: float, q: np.ndarray, K: np.ndarray
) -> np.ndarray:
    A1 = softmax(logits[0] / np.sqrt(q.shape[-1]))
    return A1 @ V - lam * V[-1]


def _before_softmax(
    logits: np.ndarray, V: np.ndarray, lam: float, q: np.ndarray, K: np.ndarray
) -> np.ndarray:
    logits = logits / np.sqrt(q.shape[-1])
    return softmax(logits[0] - lam * logits[1]) @ V


def _across_branches(
    logits: np.ndarray, V: np.ndarray, lam: float, q: np.ndarray, K: np.ndarray
) -> np.ndarray:
    A1, A2 = softmax((logits / np.sqrt(q.shape[-1])).T).T
    return (A1 - lam * A2) @ V


def _one_sum(
    logits: np.ndarray, V: np.ndarray, lam: float, q: np.ndarray, K: np.ndarray
) -> np.ndarray:
    both = softmax((logits / np.sqrt(q.shape[-1])).ravel())
    A1, A2 = both.reshape(logits.shape)
    return (A1 - lam * A2) @ V


def _halves(
    logits: np.ndarray, V: np.ndarray, lam: float, q: np.ndarray, K: np.ndarray
) -> np.ndarray:
    A1, A2 = softmax(logits / np.sqrt(q.shape[-1]))
    left, right = np.split(V, 2, axis=1)
    return np.concatenate([A1 @ left, -lam * (A2 @ right)])


def _naive(x: np.ndarray) -> np.ndarray:
    e = np.exp(x)
    return np.asarray(e / e.sum(-1, keepdims=True))


def _overflowing(
    logits: np.ndarray, V: np.ndarray, lam: float, q: np.ndarray, K: np.ndarray
) -> np.ndarray:
    A1, A2 = _naive(logits / np.sqrt(q.shape[-1]))
    return (A1 - lam * A2) @ V


def _crossed(
    logits: np.ndarray, V: np.ndarray, lam: float, q: np.ndarray, K: np.ndarray
) -> np.ndarray:
    crossed = np.einsum("bd,bsd->bs", q, K[::-1])
    return _combine(crossed / np.sqrt(q.shape[-1]), V, lam)


def _one_key_for_both(
    logits: np.ndarray, V: np.ndarray, lam: float, q: np.ndarray, K: np.ndarray
) -> np.ndarray:
    return _combine(q @ K[1].T / np.sqrt(q.shape[-1]), V, lam)


def _swapped(
    logits: np.ndarray, V: np.ndarray, lam: float, q: np.ndarray, K: np.ndarray
) -> np.ndarray:
    return _combine(logits[::-1] / np.sqrt(q.shape[-1]), V, lam)


def _not_itself(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    K: np.ndarray,
    V: np.ndarray,
    lam: float,
) -> Step:
    logits = np.einsum("bd,bsd->bs", q, K) / np.sqrt(q.shape[-1])
    return (_combine(logits, V, lam), *_grown(k, v, K, V))


def _not_grown(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    K: np.ndarray,
    V: np.ndarray,
    lam: float,
) -> Step:
    return decode_step(q, k, v, K, V, lam)[0], K, V


def _neither(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    K: np.ndarray,
    V: np.ndarray,
    lam: float,
) -> Step:
    return _not_itself(q, k, v, K, V, lam)[0], K, V


def _in_front(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    K: np.ndarray,
    V: np.ndarray,
    lam: float,
) -> Step:
    out, K, V = decode_step(q, k, v, K, V, lam)
    return out, np.roll(K, 1, axis=1), np.roll(V, 1, axis=0)


EXERCISE = Exercise(
    id="16.2",
    cases=_cases,
    solution=decode_step,
    results=("the output", "K", "V"),
    mistakes=(
        Mistake(
            key="not itself",
            diagnosis="The new token reads the old ones only. A causal head "
            "reads its own key and value too: let the cache grow first.",
            wrong=_not_itself,
        ),
        Mistake(
            key="cache not grown",
            diagnosis="The output is right, but you return the cache as it "
            "came. The next token must find this one's key and value in it.",
            wrong=_not_grown,
        ),
        Mistake(
            key="new token nowhere",
            diagnosis="The new token's key and value are not used at all: "
            "they join the cache, and the output reads them.",
            wrong=_neither,
        ),
        Mistake(
            key="new token in front",
            diagnosis="The new token stands in front of the old ones. The "
            "output does not notice, but the cache is in order of time.",
            wrong=_in_front,
        ),
        Mistake(
            key="keys of one branch",
            diagnosis="Both queries meet the keys of one branch. In V1 each "
            "branch has keys of its own: q[0] belongs to K[0] and q[1] to "
            "K[1].",
            wrong=_step(_first_keys),
            also=(_step(_one_key_for_both),),
        ),
        Mistake(
            key="branch 2 without its past",
            diagnosis="Branch 2 sees the new key alone: its past keys are "
            "lost. The cache holds the keys of both branches.",
            wrong=_step(_own_key_only),
        ),
        Mistake(
            key="scale 2D",
            diagnosis="The scores are divided by the root of 2D. Queries "
            "and keys of one branch are D wide.",
            wrong=_step(
                lambda x, V, lam, q, K: _combine(
                    x / np.sqrt(2 * q.shape[-1]), V, lam
                )
            ),
        ),
        Mistake(
            key="scale 2",
            diagnosis="The scores are divided by the root of the number of "
            "branches. Divide by that of their width D: q.shape[1].",
            wrong=_step(
                lambda x, V, lam, q, K: _combine(x / np.sqrt(len(q)), V, lam)
            ),
        ),
        Mistake(
            key="no scale",
            diagnosis="The scores are not divided by the root of D.",
            wrong=_step(lambda x, V, lam, q, K: _combine(x, V, lam)),
        ),
        Mistake(
            key="lambda dropped",
            diagnosis="A2 is subtracted whole. It is weighed by lam.",
            wrong=_step(
                lambda x, V, lam, q, K: _combine(
                    x / np.sqrt(q.shape[-1]), V, 1
                )
            ),
        ),
        Mistake(
            key="added",
            diagnosis="You add lam A2. A differential head subtracts it.",
            wrong=_step(
                lambda x, V, lam, q, K: _combine(
                    x / np.sqrt(q.shape[-1]), V, -lam
                )
            ),
        ),
        Mistake(
            key="before the softmax",
            diagnosis="You subtract scores and take one softmax. There are "
            "two softmaxes, and their maps are subtracted.",
            wrong=_step(_before_softmax),
        ),
        Mistake(
            key="softmax across branches",
            diagnosis="The softmax runs over the two branches. It runs over "
            "the tokens, for each branch on its own.",
            wrong=_step(_across_branches),
        ),
        Mistake(
            key="one sum for both",
            diagnosis="Both maps are divided by one sum over both branches. "
            "Each branch has a softmax of its own: its row sums to 1.",
            wrong=_step(_one_sum),
        ),
        Mistake(
            key="half of the values each",
            diagnosis="Branch 1 reads the left half of the values and branch "
            "2 the right half. Both read all 2D numbers.",
            wrong=_step(_halves),
        ),
        Mistake(
            key="branches swapped",
            diagnosis="You compute A2 - lam A1. Branch 2 is taken away from "
            "branch 1.",
            wrong=_step(_swapped),
        ),
        Mistake(
            key="branches crossed",
            diagnosis="The query of one branch meets the keys of the other. "
            "q[0] belongs to K[0] and q[1] to K[1].",
            wrong=_step(_crossed),
        ),
        Mistake(
            key="overflow",
            diagnosis="exp of a large number overflows, and the result is "
            "NaN. Take the largest score of each branch away first.",
            wrong=_step(_overflowing),
        ),
        Mistake(
            key="output only",
            diagnosis="You return the output alone. The next token needs the "
            "grown K and V: return all three.",
            wrong=lambda *args: decode_step(*args)[0],
        ),
        slip(
            "another division by the width",
            "Your scores are divided by something else than the root of D, "
            "or multiplied by it.",
            decode_step,
            ("/ np.sqrt(q.shape[-1])", "/ q.shape[-1]"),
            ("/ np.sqrt(", "* np.sqrt("),
            ("/ np.sqrt(", "// np.sqrt("),
        ),
        slip(
            "one map only",
            "One of the two maps is missing from your output.",
            decode_step,
            ("(A1 - lam * A2)", "(A1)"),
            ("(A1 - lam * A2)", "(lam * A2)"),
        ),
        slip(
            "sign of the output",
            "Your output has the wrong sign. A2 is taken away from A1.",
            decode_step,
            ("A1 - lam * A2", "lam * A2 - A1"),
        ),
        slip(
            "scores for weights",
            "You use the scores as weights. Each branch needs a softmax.",
            decode_step,
            ("softmax(logits)", "logits"),
        ),
    ),
    hints=(
        "The new token is the last of S + 1. What does it read, and which "
        "of that is not in the cache yet?",
        "Put k and v at the end of K and V first. Then each branch's query "
        "meets all S + 1 keys of its branch.",
        "logits = np.einsum('bd,bsd->bs', q, K) / np.sqrt(D), a softmax "
        "over the tokens, then (A1 - lam * A2) @ V. Return K and V too.",
    ),
)
