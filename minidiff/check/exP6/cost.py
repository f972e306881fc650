"""Problem P6.2: what the eviction of one key does to the outputs."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def eviction_cost(
    A1: np.ndarray, A2: np.ndarray, v: np.ndarray, lam: float
) -> np.ndarray:
    """Return the cost (S,) of evicting each key alone.

    A1, A2 (T, S): weights of T queries on S keys, each row a softmax; no
    weight is 1. v (S, Dv): the values of the keys. The output of a query is
    (A1 - lam A2) v. If key s alone is evicted, each branch takes its softmax
    over the same scores of the other keys. The cost of key s is the length
    (Euclidean norm) of the change of a query's output, as a mean over the
    T queries. All keys are compared with the full cache.
    """
    change = np.zeros((*A1.shape, v.shape[1]))
    for A, factor in ((A1, 1.0), (A2, -lam)):
        away = (A @ v)[:, None] - v  # from each value to the branch's output
        change += factor * (A / (1 - A))[..., None] * away
    cost: np.ndarray = np.linalg.norm(change, axis=-1).mean(0)
    return cost


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _cases() -> list[Case]:
    cases = []
    for seed, (T, S, Dv, lam) in enumerate(
        [(1, 3, 2, 0.5), (2, 4, 3, 0.8), (5, 6, 1, 0.3), (3, 2, 4, 1.1)]
    ):
        rng = np.random.default_rng(seed)
        A1, A2 = _softmax(1.5 * rng.normal(size=(2, T, S)))
        if lam == 0.5:  # the first key contributes nothing
            A1 = np.array([[4, 9, 3]]) / 16
            A2 = np.array([[8, 3, 5]]) / 16
        if lam == 0.8:  # the first query does not see the last key
            A1[0], A2[0] = [0.25, 0.5, 0.25, 0], [0.5, 0.125, 0.375, 0]
        v = rng.normal(size=(S, Dv)) + 1
        name = f"T = {T}, S = {S}, Dv = {Dv}, lam = {lam}"
        cases.append(Case(name=name, args=(A1, A2, v, lam)))
    return cases


Gain = Callable[[np.ndarray], np.ndarray]
Away = Callable[[np.ndarray, np.ndarray], np.ndarray]
Join = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def _length(x: np.ndarray) -> np.ndarray:
    """Lengths, as a mean over queries."""
    return np.asarray(np.linalg.norm(x, axis=-1).mean(0))


def _with(
    gain: Gain = lambda A: A / (1 - A),
    away: Away = lambda out, v: out[:, None] - v,
    join: Join = lambda a, b, lam: _length(a - lam * b),
) -> Callable[..., np.ndarray]:
    """The changes of the branches, one step otherwise."""

    def answer(
        A1: np.ndarray, A2: np.ndarray, v: np.ndarray, lam: float
    ) -> np.ndarray:
        one, two = (gain(A)[..., None] * away(A @ v, v) for A in (A1, A2))
        return join(one, two, lam)

    return answer


def _contribution(
    A1: np.ndarray, A2: np.ndarray, v: np.ndarray, lam: float
) -> np.ndarray:
    return _length((A1 - lam * A2)[..., None] * v)


def _one_factor(
    A1: np.ndarray, A2: np.ndarray, v: np.ndarray, lam: float
) -> np.ndarray:
    """The difference rescaled to its old sum, as if it were one map."""
    A = A1 - lam * A2
    kept = A.sum(1, keepdims=True) - A
    away = (A @ v)[:, None] - A.sum(1)[:, None, None] * v
    return _length((A / kept)[..., None] * away)


def _weights(
    A1: np.ndarray, A2: np.ndarray, v: np.ndarray, lam: float
) -> np.ndarray:
    return np.asarray(np.abs(A1 - lam * A2).mean(0))


def _output_after(
    A1: np.ndarray, A2: np.ndarray, v: np.ndarray, lam: float
) -> np.ndarray:
    change = _with(join=lambda a, b, lam: a - lam * b)(A1, A2, v, lam)
    return _length(change + ((A1 - lam * A2) @ v)[:, None])


EXERCISE = Exercise(
    id="P6.2",
    cases=_cases,
    solution=eviction_cost,
    mistakes=(
        Mistake(
            key="the contribution",
            diagnosis="That is the length of what the key contributes, "
            "(A1 - lam A2) v. It also has a part in both denominators: "
            "without it the weights of all other keys grow.",
            wrong=_contribution,
        ),
        Mistake(
            key="weights without values",
            diagnosis="You score by |A1 - lam A2| and do not use the values. "
            "The cost is the change of an output.",
            wrong=_weights,
        ),
        Mistake(
            key="one factor",
            diagnosis="You rescale the difference as one map. Each branch is "
            "rescaled by its own factor, 1 / (1 - A1) and 1 / (1 - A2).",
            wrong=_one_factor,
        ),
        Mistake(
            key="others not rescaled",
            diagnosis="You take the key's value away, and leave the part that "
            "the other keys gain: the branch's output is divided by 1 - A "
            "too.",
            wrong=_with(
                away=lambda out, v: np.broadcast_to(-v, (len(out), *v.shape))
            ),
        ),
        Mistake(
            key="not divided",
            diagnosis="The factor 1 / (1 - A) is missing: the other weights "
            "of a branch sum to 1 - A, and are divided by it.",
            wrong=_with(gain=lambda A: A),
        ),
        Mistake(
            key="branches one by one",
            diagnosis="You take a length for each branch and add them. The "
            "changes of the two branches can cancel: subtract first.",
            wrong=_with(
                join=lambda a, b, lam: _length(a) + abs(lam) * _length(b)
            ),
            also=(
                _with(
                    join=lambda a, b, lam: np.abs(
                        _length(a) - lam * _length(b)
                    )
                ),
            ),
        ),
        Mistake(
            key="added",
            diagnosis="The change of branch 2 is added. Its map is "
            "subtracted, and so is its change.",
            wrong=_with(join=lambda a, b, lam: _length(a + lam * b)),
        ),
        Mistake(
            key="lam forgotten",
            diagnosis="The change of branch 2 is not multiplied by lam.",
            wrong=_with(join=lambda a, b, lam: _length(a - b)),
        ),
        Mistake(
            key="branch 1 only",
            diagnosis="You compute the change of branch 1 only.",
            wrong=_with(join=lambda a, b, lam: _length(a)),
        ),
        Mistake(
            key="mean before the length",
            diagnosis="You average the changes of the queries and take one "
            "length. Opposite changes cancel so. First lengths, then the "
            "mean.",
            wrong=_with(
                join=lambda a, b, lam: np.linalg.norm(
                    (a - lam * b).mean(0), axis=-1
                )
            ),
        ),
        Mistake(
            key="squared",
            diagnosis="Those are squared lengths. Take the root before the "
            "mean.",
            wrong=_with(
                join=lambda a, b, lam: ((a - lam * b) ** 2).sum(-1).mean(0)
            ),
            also=(
                _with(
                    join=lambda a, b, lam: np.sqrt(
                        ((a - lam * b) ** 2).sum(-1).mean(0)
                    )
                ),
            ),
        ),
        Mistake(
            key="sum over the queries",
            diagnosis="You add up over the queries. The cost is a mean.",
            wrong=_with(join=lambda a, b, lam: len(a) * _length(a - lam * b)),
        ),
        Mistake(
            key="the output, not its change",
            diagnosis="That is the length of the output after the eviction. "
            "Subtract the output of the full cache first.",
            wrong=_output_after,
        ),
        slip(
            "value not subtracted",
            "The change points from the key's value to the branch's output: "
            "the value is subtracted from the output.",
            eviction_cost,
            ("(A @ v)[:, None] - v  #", "(A @ v)[:, None] + v  #"),
            ("(A @ v)[:, None] - v  #", "(A @ v)[:, None] + 0 * v  #"),
        ),
        slip(
            "another factor",
            "Your change is multiplied by another function of the weight. "
            "How much of a branch's output is gone, and what are the others "
            "divided by?",
            eviction_cost,
            ("(A / (1 - A))", "(A * (1 - A))"),
            ("(A / (1 - A))", "(1 - A)"),
            ("(A / (1 - A))", "(A / (1 + A))"),
            ("(A / (1 - A))", "(1 / (1 - A))"),
            ("(A / (1 - A))", "((1 - A) / A)"),
            ("(A / (1 - A))", "(A / (2 - A))"),
        ),
        slip(
            "last branch only",
            "You keep the change of the second branch only: add the "
            "branches' changes up.",
            eviction_cost,
            ("change +=", "change ="),
        ),
    ),
    hints=(
        "One branch first. Its output is o = A v. Without key s it is "
        "(o - A_s v_s) / (1 - A_s). What is the change?",
        "The change is A_s / (1 - A_s) times (o - v_s). Compute it in both "
        "branches for all queries and keys at once, (T, S, Dv).",
        "(A / (1 - A))[..., None] * ((A @ v)[:, None] - v) for A1 and A2; the "
        "first minus lam times the second; np.linalg.norm(..., axis=-1)"
        ".mean(0).",
    ),
)
