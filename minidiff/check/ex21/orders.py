"""Exercise 21.3: how much answers depend on the order of demonstrations."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def order_dependence(
    said: np.ndarray, labels: np.ndarray
) -> tuple[float, float, float]:
    """Return best minus worst, the share that changes, and disagreement.

    said (K, Q): the answers to Q questions with the demonstrations in each
    of K orders. labels (Q,): the right answers. Best and worst are the
    accuracies of single orders. The second result is the share of questions
    that did not get the same answer in all orders. The third is the share of
    questions answered differently by two different orders, as a mean over
    all pairs of orders.
    """
    accuracy = (said == labels).mean(1)
    changed = (said != said[0]).any(0).mean()
    K = len(said)
    differ = (said[:, None] != said[None]).mean(2)  # (K, K), 0 on its diagonal
    spread = accuracy.max() - accuracy.min()
    return float(spread), float(changed), float(differ.sum() / (K * (K - 1)))


def _cases() -> list[Case]:
    cases = []
    for K, Q, steady in ((2, 5, 0.5), (3, 8, 0.0), (10, 32, 0.6), (4, 9, 1)):
        rng = np.random.default_rng(K)
        labels = rng.integers(0, 6, Q)
        fixed = np.where(rng.random(Q) < 0.6, labels, rng.integers(0, 6, Q))
        other = rng.integers(0, 6, (K, Q))
        said = np.where(rng.random((K, Q)) < steady, fixed, other)
        cases.append(
            Case(name=f"{K} orders, {Q} questions", args=(said, labels))
        )
    return cases


Three = tuple[float, float, float]
Part = Callable[[np.ndarray, np.ndarray], float]


def _spread(said: np.ndarray, labels: np.ndarray) -> float:
    return order_dependence(said, labels)[0]


def _changed(said: np.ndarray, labels: np.ndarray) -> float:
    return order_dependence(said, labels)[1]


def _disagree(said: np.ndarray, labels: np.ndarray) -> float:
    return order_dependence(said, labels)[2]


def _with(
    spread: Part = _spread, changed: Part = _changed, pairs: Part = _disagree
) -> Callable[[np.ndarray, np.ndarray], Three]:
    def answer(said: np.ndarray, labels: np.ndarray) -> Three:
        parts = (f(said, labels) for f in (spread, changed, pairs))
        first, second, third = (float(x) for x in parts)
        return first, second, third

    return answer


def _right(said: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return said == labels


def _verdicts(said: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return _right(said, labels).astype(int)


EXERCISE = Exercise(
    id="21.3",
    cases=_cases,
    solution=order_dependence,
    mistakes=(
        Mistake(
            key="questions as orders",
            diagnosis="Your best and worst are over questions. Average over "
            "the questions first, so that each order has one accuracy.",
            wrong=_with(
                spread=lambda said, labels: float(
                    np.ptp(_right(said, labels).mean(0))
                )
            ),
        ),
        Mistake(
            key="standard deviation",
            diagnosis="You return the standard deviation over orders. The "
            "measure asked for is the largest accuracy minus the smallest.",
            wrong=_with(
                spread=lambda said, labels: _right(said, labels).mean(1).std()
            ),
            also=(
                _with(
                    spread=lambda said, labels: (
                        _right(said, labels).mean(1).std(ddof=1)
                    )
                ),
            ),
        ),
        Mistake(
            key="best minus mean",
            diagnosis="You subtract the mean accuracy. Subtract the worst.",
            wrong=_with(
                spread=lambda said, labels: (
                    _right(said, labels).mean(1).max()
                    - _right(said, labels).mean()
                )
            ),
        ),
        Mistake(
            key="only right or wrong",
            diagnosis="You compare whether answers are right. An answer also "
            "changes from one wrong label to another: compare the answers.",
            wrong=_with(
                changed=lambda said, labels: _changed(
                    _verdicts(said, labels), labels
                ),
                pairs=lambda said, labels: _disagree(
                    _verdicts(said, labels), labels
                ),
            ),
            also=(
                _with(
                    changed=lambda said, labels: _changed(
                        _verdicts(said, labels), labels
                    )
                ),
                _with(
                    pairs=lambda said, labels: _disagree(
                        _verdicts(said, labels), labels
                    )
                ),
            ),
        ),
        Mistake(
            key="changed on average",
            diagnosis="Your second result is the mean share that differs from "
            "the first order. A question counts as changed if any order "
            "gives another answer.",
            wrong=_with(changed=lambda said, labels: (said != said[0]).mean()),
            also=(
                _with(
                    changed=lambda said, labels: (said[1:] != said[0]).mean()
                ),
            ),
        ),
        Mistake(
            key="pairs with themselves",
            diagnosis="Your third result counts each order also with itself, "
            "where nothing can differ. There are K (K - 1) ordered pairs of "
            "two different orders.",
            wrong=_with(
                pairs=lambda said, labels: (said[:, None] != said).mean()
            ),
        ),
        Mistake(
            key="pairs with the first only",
            diagnosis="Your third result compares with the first order only. "
            "Take all pairs.",
            wrong=_with(
                pairs=lambda said, labels: (said[1:] != said[0]).mean()
            ),
        ),
        Mistake(
            key="neighbours only",
            diagnosis="Your third result compares each order with the next "
            "one only. Take all pairs.",
            wrong=_with(
                pairs=lambda said, labels: (said[1:] != said[:-1]).mean()
            ),
        ),
        Mistake(
            key="pairs counted twice",
            diagnosis="You sum each pair once but divide by K (K - 1), or sum "
            "it twice and divide by K (K - 1) / 2. There are K (K - 1) / 2 "
            "pairs, or twice as many if both directions count.",
            wrong=_with(
                pairs=lambda said, labels: _disagree(said, labels) / 2
            ),
            also=(
                _with(pairs=lambda said, labels: 2 * _disagree(said, labels)),
            ),
        ),
        slip(
            "counts",
            "One of your results is a count. All three are shares of "
            "questions.",
            order_dependence,
            ("labels).mean(1)", "labels).sum(1)"),
            (".any(0).mean()", ".any(0).sum()"),
            (".mean(2)", ".sum(2)"),
        ),
        slip(
            "changed in every order",
            "Your second result counts a question only if every order "
            "disagrees with the first, also the first itself. One other "
            "answer is enough.",
            order_dependence,
            (".any(0)", ".all(0)"),
        ),
        slip(
            "alike",
            "You count what stays the same. The second and the third result "
            "are shares of questions that are answered differently.",
            order_dependence,
            ("said != said[0]", "said == said[0]"),
            (
                "float(differ.sum() / (K * (K - 1)))",
                "1 - float(differ.sum() / (K * (K - 1)))",
            ),
            ("said[:, None] != said[None]", "said[:, None] == said[None]"),
        ),
        slip(
            "share of orders",
            "Your second result is a share of orders. It is a share of "
            "questions: look over the orders, the first axis.",
            order_dependence,
            (".any(0).mean()", ".any(1).mean()"),
        ),
        slip(
            "no difference",
            "Your first result is not the best accuracy minus the worst.",
            order_dependence,
            ("accuracy.max() - accuracy.min()", "accuracy.max()"),
            ("accuracy.max() - accuracy.min()", "accuracy.min()"),
            (
                "accuracy.max() - accuracy.min()",
                "accuracy.max() + accuracy.min()",
            ),
            (
                "accuracy.max() - accuracy.min()",
                "accuracy.min() - accuracy.max()",
            ),
        ),
        slip(
            "another number of pairs",
            "Your third result is not divided by the number of pairs that "
            "you added up. How many pairs of two different orders are "
            "there?",
            order_dependence,
            ("differ.sum() / (K * (K - 1))", "differ.sum() / K"),
            ("differ.sum() / (K * (K - 1))", "differ.sum() / (K - 1)"),
            ("differ.sum() / (K * (K - 1))", "differ.sum()"),
            ("differ.sum() / (K * (K - 1))", "differ.sum() / (K * (K + 1))"),
            ("differ.sum() / (K * (K - 1))", "differ.sum() / (2 * K - 1)"),
            ("differ.sum() / (K * (K - 1))", "differ.sum() / K * (K - 1)"),
            ("differ.sum() / (K * (K - 1))", "differ.mean() / (K * (K - 1))"),
        ),
        slip(
            "each with itself",
            "Your third result compares each order with itself, so that "
            "nothing differs. One of the two needs a new axis: [:, None].",
            order_dependence,
            ("said[:, None] != said[None]", "said[None] != said[None]"),
            ("said[:, None] != said[None]", "said != said[None]"),
        ),
    ),
    hints=(
        "said == labels has a row for each order. Which axis gives one "
        "accuracy for each order?",
        "An answer changed if any order differs from the first one: "
        "(said != said[0]).any(0). For pairs, said[:, None] != said has the "
        "shape (K, K, Q).",
        "The third result: the sum of (said[:, None] != said).mean(2), over "
        "K * (K - 1), since the diagonal is 0.",
    ),
    results=("best minus worst", "share that changes", "disagreement"),
)
