"""Exercise 19.2: weight on the answer and on noise, with signs."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def answer_and_noise(
    A: np.ndarray, answers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return each head's share on the answer, and on all else, (H,) each.

    A (H, Q, S): weights of Q queries, of either sign. answers (Q,): the key
    that each query asks for. A share is relative to the sum of the query's
    absolute weights. On the answer it keeps its sign; on all else signs are
    dropped. Both are means over the queries.
    """
    share = A / np.abs(A).sum(-1, keepdims=True)
    found = share[:, np.arange(len(answers)), answers]
    return found.mean(-1), (1 - np.abs(found)).mean(-1)


def _cases() -> list[Case]:
    cases = []
    for H, Q, S, lam in ((1, 1, 4, 0.0), (2, 3, 5, 0.4), (3, 4, 9, 0.8)):
        rng = np.random.default_rng(S)
        A1, A2 = np.exp(2 * rng.normal(size=(2, H, Q, S)))
        A1, A2 = (x / x.sum(-1, keepdims=True) for x in (A1, A2))
        name = f"H = {H}, Q = {Q}, S = {S}, A1 - {lam} A2"
        answers = rng.integers(0, S, Q)
        cases.append(Case(name=name, args=(A1 - lam * A2, answers)))
    return cases


Shares = tuple[np.ndarray, np.ndarray]


def _at(x: np.ndarray, answers: np.ndarray) -> np.ndarray:
    return x[:, np.arange(len(answers)), answers]


def _of(
    parts: Callable[[np.ndarray, np.ndarray], Shares],
) -> Callable[[np.ndarray, np.ndarray], Shares]:
    """Average both parts over the queries."""

    def answer(A: np.ndarray, answers: np.ndarray) -> Shares:
        found, rest = parts(A, answers)
        return found.mean(-1), rest.mean(-1)

    return answer


def _share(A: np.ndarray) -> np.ndarray:
    return A / np.abs(A).sum(-1, keepdims=True)


def _by_signed_sum(A: np.ndarray, answers: np.ndarray) -> Shares:
    found = _at(A / A.sum(-1, keepdims=True), answers)
    return found, 1 - found


def _weights(A: np.ndarray, answers: np.ndarray) -> Shares:
    found = _at(A, answers)
    return found, np.abs(A).sum(-1) - np.abs(found)


def _no_sign(A: np.ndarray, answers: np.ndarray) -> Shares:
    found = np.abs(_at(_share(A), answers))
    return found, 1 - found


def _one_minus(A: np.ndarray, answers: np.ndarray) -> Shares:
    found = _at(_share(A), answers)
    return found, 1 - found


def _cancelled(A: np.ndarray, answers: np.ndarray) -> Shares:
    share = _share(A)
    found = _at(share, answers)
    return found, share.sum(-1) - found


def _ratio_of_means(A: np.ndarray, answers: np.ndarray) -> Shares:
    total = np.abs(A).sum(-1).mean(-1)
    found, rest = _of(_weights)(A, answers)
    return found / total, rest / total


def _every_answer(A: np.ndarray, answers: np.ndarray) -> Shares:
    found = _share(A)[:, :, answers]
    return found.mean((1, 2)), (1 - np.abs(found)).mean((1, 2))


def _one_number(A: np.ndarray, answers: np.ndarray) -> Shares:
    found, rest = answer_and_noise(A, answers)
    return found.mean(), rest.mean()


EXERCISE = Exercise(
    id="19.2",
    cases=_cases,
    solution=answer_and_noise,
    mistakes=(
        Mistake(
            key="signed sum",
            diagnosis="You divide by the plain sum of a row. In a difference "
            "that is 1 - lambda, and it can be near 0. Divide by the sum of "
            "the absolute weights.",
            wrong=_of(_by_signed_sum),
        ),
        Mistake(
            key="not divided",
            diagnosis="You return weights, not shares. Rows of a difference "
            "do not sum to 1: divide by the sum of the absolute weights.",
            wrong=_of(_weights),
        ),
        Mistake(
            key="sign of the answer dropped",
            diagnosis="On the answer the sign is dropped. A head that takes "
            "the answer away would look like one that finds it.",
            wrong=_of(_no_sign),
        ),
        Mistake(
            key="one minus a negative share",
            diagnosis="Where the answer has a negative weight, 1 - share is "
            "more than 1. All else has 1 - |share|.",
            wrong=_of(_one_minus),
        ),
        Mistake(
            key="noise cancelled",
            diagnosis="You add up the other weights with their signs, so "
            "that noise hides itself. Drop the signs first.",
            wrong=_of(_cancelled),
        ),
        Mistake(
            key="ratio of means",
            diagnosis="You average weights and divide then. Each query's "
            "shares first, then the mean over queries.",
            wrong=_ratio_of_means,
        ),
        Mistake(
            key="every query with every answer",
            diagnosis="A[:, :, answers] pairs every query with every answer. "
            "Pair query i with answers[i]: [:, np.arange(len(answers)), "
            "answers].",
            wrong=_every_answer,
            also=(
                lambda A, answers: (
                    _share(A)[:, :, answers].mean(-1),
                    (1 - np.abs(_share(A)[:, :, answers])).mean(-1),
                ),
                lambda A, answers: (
                    _share(A)[:, :, answers].mean(1),
                    (1 - np.abs(_share(A)[:, :, answers])).mean(1),
                ),
            ),
        ),
        Mistake(
            key="mean over heads",
            diagnosis="You average over heads too. One head may do the work "
            "among many that do not: return a number for each head.",
            wrong=_one_number,
        ),
        slip(
            "shares of something else",
            "You do not divide by the sum of the query's absolute weights, "
            "over the keys.",
            answer_and_noise,
            ("np.abs(A).sum(-1, keepdims=True)", "A.sum(-1, keepdims=True)"),
            ("A / np.abs(A).sum(-1, keepdims=True)", "A"),
            (
                "np.abs(A).sum(-1, keepdims=True)",
                "np.abs(A).mean(-1, keepdims=True)",
            ),
            (
                "np.abs(A).sum(-1, keepdims=True)",
                "np.abs(A).sum(1, keepdims=True)",
            ),
            (
                "np.abs(A).sum(-1, keepdims=True)",
                "np.abs(A).sum(0, keepdims=True)",
            ),
            ("A / np.abs(A).sum", "A * np.abs(A).sum"),
        ),
        slip(
            "sums over the queries",
            "You add up over the queries. Both results are means.",
            answer_and_noise,
            ("found.mean(-1),", "found.sum(-1),"),
            ("np.abs(found)).mean(-1)", "np.abs(found)).sum(-1)"),
        ),
        slip(
            "the answer again",
            "Your second result is not what is left beside the answer: "
            "absolute shares of all keys add up to 1.",
            answer_and_noise,
            ("(1 - np.abs(found)).mean(-1)", "np.abs(found).mean(-1)"),
            ("(1 - np.abs(found))", "(1 + np.abs(found))"),
            ("(1 - np.abs(found))", "(np.abs(found) - 1)"),
        ),
    ),
    hints=(
        "First divide each query's weights by one number. Which?",
        "np.abs(A).sum(-1, keepdims=True). The share at the answer of query "
        "i is share[:, i, answers[i]].",
        "found = share[:, np.arange(len(answers)), answers]; the rest of a "
        "query's absolute weight is 1 - np.abs(found).",
    ),
)
