"""Problem P1.4: the best lambda in closed form."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.reference import softmax


def best_lam(A1: np.ndarray, A2: np.ndarray, needle: int) -> float:
    """Return the lambda at which the ratio R of equation P1.4 is largest.

    A1, A2 (N, S): N pairs of rows of weights; needle: the index of the key
    we want, the same in all rows.
    """
    a, b = A1[:, needle].mean(), A2[:, needle].mean()
    noise1, noise2 = np.delete(A1, needle, 1), np.delete(A2, needle, 1)
    n11 = (noise1 * noise1).sum(-1).mean()
    n12 = (noise1 * noise2).sum(-1).mean()
    n22 = (noise2 * noise2).sum(-1).mean()
    return (a * n12 - b * n11) / (a * n22 - b * n12)


def _cases() -> list[Case]:
    cases = []
    for seed, (N, S, needle, shared) in enumerate(
        [(1, 5, 0, 0.5), (40, 8, 3, 0.9), (30, 16, 15, 0.0)]
    ):
        rng = np.random.default_rng(seed)
        common, own1, own2 = rng.normal(size=(3, N, S))
        scores1 = shared * common + (1 - shared) * own1
        scores2 = shared * common + (1 - shared) * own2
        scores1[:, needle] += 2.0
        scores2[:, needle] += 0.4
        cases.append(
            Case(
                name=f"N = {N}, S = {S}, needle = {needle}",
                args=(softmax(scores1), softmax(scores2), needle),
            )
        )
    return cases


Moments = tuple[float, float, float, float, float]


def _moments(
    A1: np.ndarray,
    A2: np.ndarray,
    needle: int,
    *,
    keep: bool = False,
    centred: bool = False,
) -> Moments:
    """a, b, n11, n12, n22, rightly or not."""
    a, b = A1[:, needle].mean(), A2[:, needle].mean()
    if not keep:
        A1, A2 = np.delete(A1, needle, 1), np.delete(A2, needle, 1)
    if centred:
        A1, A2 = (x - x.mean(-1, keepdims=True) for x in (A1, A2))
    n11, n12, n22 = (
        (x * y).sum(-1).mean() for x, y in ((A1, A1), (A1, A2), (A2, A2))
    )
    return a, b, n11, n12, n22


def _peak(a: float, b: float, n11: float, n12: float, n22: float) -> float:
    return (a * n12 - b * n11) / (a * n22 - b * n12)


def _by_sign(
    above: int, below: int
) -> Callable[[float, float, float, float, float], float]:
    """The formula with the signs of the terms that hold b."""
    return lambda a, b, n11, n12, n22: (
        (a * n12 + above * b * n11) / (a * n22 + below * b * n12)
    )


def _mean_rows(A1: np.ndarray, A2: np.ndarray, needle: int) -> Any:
    return best_lam(A1.mean(0)[None], A2.mean(0)[None], needle)


def _with(
    formula: Callable[..., float], **options: Any
) -> Callable[..., float]:
    return lambda *args: formula(*_moments(*args, **options))


# A sum over the rows too; a mean over the keys too; that mean of that sum.
_OTHER_MEANS: tuple[Callable[[int, int], float], ...] = (
    lambda N, S: N,
    lambda N, S: 1 / (S - 1),
    lambda N, S: N / (S - 1),
)


def _mixed(
    which: int, factor: Callable[[int, int], float]
) -> Callable[..., float]:
    """One of n11, n12, n22, a, b with another sum or mean than the others."""

    def wrong(A1: np.ndarray, A2: np.ndarray, needle: int) -> float:
        a, b, *noise = _moments(A1, A2, needle)
        numbers = [*noise, a, b]
        numbers[which] *= factor(*A1.shape)
        *noise, a, b = numbers
        return _peak(a, b, *noise)

    return wrong


def _each_row(A1: np.ndarray, A2: np.ndarray, needle: int) -> Any:
    return np.mean(
        [
            best_lam(x[None], y[None], needle)
            for x, y in zip(A1, A2, strict=True)
        ]
    )


EXERCISE = Exercise(
    id="P1.4",
    cases=_cases,
    solution=best_lam,
    mistakes=(
        Mistake(
            key="noise alone",
            diagnosis="This lambda makes the noise smallest: n12 / n22. But "
            "branch 2 gives the needle some weight too, so the signal "
            "changes with lambda as well. Maximise the ratio.",
            wrong=_with(lambda a, b, n11, n12, n22: n12 / n22),
        ),
        Mistake(
            key="needle in the noise",
            diagnosis="The needle's own weight is counted as noise. Leave "
            "its column out of n11, n12 and n22.",
            wrong=_with(_peak, keep=True),
        ),
        Mistake(
            key="mean subtracted",
            diagnosis="You subtract the mean weight before you square. The "
            "noise of equation P1.4 is the bare sum of squares: a constant "
            "weight on useless keys is noise as well.",
            wrong=_with(_peak, centred=True),
            also=(
                _with(
                    lambda a, b, n11, n12, n22: n12 / n22,
                    centred=True,
                ),
            ),
        ),
        Mistake(
            key="sign",
            diagnosis="The sign is wrong: this is the best weight of A2 in "
            "A1 + weight A2. Here the second map is subtracted.",
            wrong=_with(lambda *x: -_peak(*x)),
        ),
        Mistake(
            key="upside down",
            diagnosis="This is 1 / lambda: numerator and denominator are "
            "swapped, or the two branches are.",
            wrong=_with(lambda *x: 1 / _peak(*x)),
        ),
        Mistake(
            key="mean of each row's best",
            diagnosis="You find the best lambda of each row and average. One "
            "lambda serves all rows: average a, b and the moments first.",
            wrong=_each_row,
        ),
        Mistake(
            key="rows averaged first",
            diagnosis="You average the rows and then multiply. Noise "
            "averages out of a mean row: multiply in each row, sum over its "
            "keys, then average.",
            wrong=_mean_rows,
        ),
        Mistake(
            key="a sum and a mean",
            diagnosis="n11, n12 and n22 are not taken alike. Each is a sum "
            "over the other keys, averaged over the rows; a sum over the "
            "rows, or a mean over the keys, in one of them alone changes the "
            "answer.",
            wrong=_mixed(0, _OTHER_MEANS[0]),
            also=tuple(
                _mixed(which, factor)
                for which in range(3)
                for factor in _OTHER_MEANS[which == 0 :]
            ),
        ),
        Mistake(
            key="needle's weights added up",
            diagnosis="One of a and b is a sum over the rows, the other a "
            "mean. Both are means.",
            wrong=_mixed(3, _OTHER_MEANS[0]),
            also=(_mixed(4, _OTHER_MEANS[0]),),
        ),
        Mistake(
            key="no signal left",
            diagnosis="This is a / b, where the signal a - lam b is zero: "
            "the smallest R, not the largest. The factor a - lam b cancels; "
            "the answer is the zero of what is left.",
            wrong=_with(lambda a, b, n11, n12, n22: a / b),
        ),
        Mistake(
            key="sign of the terms with b",
            diagnosis="A term with b has the wrong sign. The slope of the "
            "signal is -b, and that of the noise is -2 n12 + 2 lam n22.",
            wrong=_with(_by_sign(1, 1)),
            also=(_with(_by_sign(1, -1)), _with(_by_sign(-1, 1))),
        ),
        Mistake(
            key="correlation",
            diagnosis="This is the correlation of the two noises. It says "
            "how much they share, not how much of A2 to subtract.",
            wrong=_with(lambda a, b, n11, n12, n22: n12 / np.sqrt(n11 * n22)),
        ),
        Mistake(
            key="one minus the needle",
            diagnosis="This is a rule of thumb, 1 - a of chapter 03 or "
            "(1 - a) / (1 - b). It holds where all noise is shared; here "
            "much of it is not. Use n11, n12 and n22.",
            wrong=lambda A1, A2, needle: 1 - A1[:, needle].mean(),
            also=(_with(lambda a, b, *noise: (1 - a) / (1 - b)),),
        ),
    ),
    hints=(
        "R is largest where its derivative is zero. Where is the derivative "
        "of a quotient zero?",
        "Set 2 (a - lam b)(-b) N = (a - lam b)^2 N', with N = n11 - 2 lam "
        "n12 + lam^2 n22 and N' = -2 n12 + 2 lam n22. Cancel a - lam b; the "
        "terms with lam^2 cancel as well, and a linear equation is left.",
        "lam = (a n12 - b n11) / (a n22 - b n12), where a and b are the mean "
        "weights on the needle, and n12 is the sum over the other keys of "
        "A1 * A2, averaged over the rows.",
    ),
)
