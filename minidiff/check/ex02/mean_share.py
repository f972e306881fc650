"""Exercise 2.3: the mean share under noise, simulated."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.reference import softmax


def mean_share(lift: float, noise: np.ndarray) -> float:
    """Return the mean over the rows of the needle's softmax weight.

    noise (draws, n): the distractors' scores. The needle, one more key, has
    score lift.
    """
    needle = np.full((len(noise), 1), lift)
    weights = softmax(np.hstack([needle, noise]))
    return weights[:, 0].mean()


def _cases() -> list[Case]:
    cases = []
    for seed, (draws, n, lift, sigma) in enumerate(
        [(3, 4, 1.0, 1.0), (1, 6, 2.0, 2.0), (50, 20, 4.0, 1.5), (5, 1, -1, 1)]
    ):
        noise = sigma * np.random.default_rng(seed).normal(size=(draws, n))
        cases.append(
            Case(
                name=f"draws = {draws}, n = {n}, lift = {lift}",
                args=(lift, noise),
            )
        )
    return cases


def _column(lift: float, noise: np.ndarray, column: int) -> float:
    """The mean weight in one column; the needle is in column 0."""
    needle = np.full((len(noise), 1), lift)
    return softmax(np.hstack([needle, noise]))[:, column].mean()


def _first_key(lift: float, noise: np.ndarray, keep: float) -> float:
    """The needle put in the place of distractor 0: the mistakes."""
    scores = noise.copy()
    scores[:, 0] = keep * scores[:, 0] + lift
    return softmax(scores)[:, 0].mean()


EXERCISE = Exercise(
    id="2.3",
    cases=_cases,
    solution=mean_share,
    mistakes=(
        Mistake(
            key="mean noise",
            diagnosis="You average the noise over the rows before the "
            "softmax, and so remove what you want to measure. Take the "
            "softmax of every row, then average the shares.",
            wrong=lambda d, z: 1 / (1 + np.exp(z.mean(0) - d).sum()),
        ),
        Mistake(
            key="mean inside",
            diagnosis="You average the sums of the rows and divide once. "
            "The mean of 1 / x is not 1 / mean of x: divide in every row, "
            "then average.",
            wrong=lambda d, z: 1 / (1 + np.exp(z - d).sum(-1).mean()),
        ),
        Mistake(
            key="the formula",
            diagnosis="This is equation 2.3 with the noise level of these "
            "draws: a prediction. Measure the share in each row instead.",
            wrong=lambda d, z: 1 / (1 + z.shape[1] * np.exp(z.var() / 2 - d)),
        ),
        Mistake(
            key="first key replaced",
            diagnosis="The needle takes the place of a distractor, so n - 1 "
            "are left. It is one key more: each softmax runs over n + 1 "
            "scores.",
            wrong=lambda d, z: _first_key(d, z, 0.0),
        ),
        Mistake(
            key="first key raised",
            diagnosis="You raise the score of one of the distractors. The "
            "needle is one more key, and its own score is the lift, without "
            "noise.",
            wrong=lambda d, z: _first_key(d, z, 1.0),
        ),
        Mistake(
            key="needle left out of the sum",
            diagnosis="You divide by the distractors alone. The needle's "
            "own e^lift belongs to the sum of its row.",
            wrong=lambda d, z: (np.exp(d) / np.exp(z).sum(-1)).mean(),
        ),
        Mistake(
            key="no mean",
            diagnosis="These are the shares of the rows. Return their mean, "
            "one number.",
            wrong=lambda d, z: 1 / (1 + np.exp(z - d).sum(-1)),
        ),
        Mistake(
            key="median",
            diagnosis="This is the median of the shares. Asked for is the "
            "mean, the one equation 2.3 is a floor for.",
            wrong=lambda d, z: np.median(1 / (1 + np.exp(z - d).sum(-1))),
        ),
        Mistake(
            key="one sum",
            diagnosis="You sum over all rows at once. Each row is a softmax "
            "of its own: sum along the last axis.",
            wrong=lambda d, z: 1 / (1 + np.exp(z - d).sum()),
        ),
        Mistake(
            key="wrong axis",
            diagnosis="The softmax runs down the columns, over the draws. "
            "Each row is one softmax: take the last axis.",
            wrong=lambda d, z: 1 / len(z),
            also=(lambda d, z: (1 / (1 + np.exp(z - d).sum(0))).mean(),),
        ),
        Mistake(
            key="no noise",
            diagnosis="This is equation 2.1: the noise is not used, only "
            "the number of distractors.",
            wrong=lambda d, z: 1 / (1 + z.shape[1] * np.exp(-d)),
        ),
        Mistake(
            key="mean of the distractors",
            diagnosis="You average e^score over a row's distractors. All of "
            "them stand against the needle: add them up.",
            wrong=lambda d, z: (1 / (1 + np.exp(z - d).mean(-1))).mean(),
        ),
        Mistake(
            key="one distractor at a time",
            diagnosis="You compare the needle with one distractor at a time. "
            "In a row it stands against all of them: sum over the row before "
            "you divide.",
            wrong=lambda d, z: (1 / (1 + np.exp(z - d))).mean(),
            also=(lambda d, z: (1 / (1 + z.shape[1] * np.exp(z - d))).mean(),),
        ),
        Mistake(
            key="no needle",
            diagnosis="The lift is added to every distractor, which changes "
            "no weight, and there is no needle. It is one more key, with "
            "score lift.",
            wrong=lambda d, z: softmax(z + d)[:, 0].mean(),
        ),
        Mistake(
            key="sum of the shares",
            diagnosis="You add up the shares of the rows. Divide by the "
            "number of rows.",
            wrong=lambda d, z: (1 / (1 + np.exp(z - d).sum(-1))).sum(),
            also=(
                lambda d, z: (
                    (1 / (1 + np.exp(z - d).sum(-1))).sum() / z.shape[1]
                ),
            ),
        ),
        Mistake(
            key="another column",
            diagnosis="This is the mean weight of a distractor. Read the "
            "column where you put the needle.",
            wrong=lambda d, z: _column(d, z, -1),
            also=(lambda d, z: _column(d, z, 1),),
        ),
        Mistake(
            key="loudest key",
            diagnosis="You take the largest weight of each row. The needle "
            "is one fixed key, and in a noisy row another can be louder.",
            wrong=lambda d, z: (
                softmax(np.hstack([np.full((len(z), 1), d), z])).max(-1).mean()
            ),
        ),
        Mistake(
            key="every weight",
            diagnosis="You average over the keys. Take the needle's weight "
            "of each row, then the mean over the rows.",
            wrong=lambda d, z: 1 / (1 + z.shape[1]),
        ),
    ),
    hints=(
        "How many keys does one softmax row have here, and which of them is "
        "the needle?",
        "np.full((draws, 1), lift) is a column for the needle. np.hstack "
        "puts it beside the noise; then one softmax a row.",
        "softmax(np.hstack([needle, noise]))[:, 0].mean(), or the mean of "
        "1 / (1 + np.exp(noise - lift).sum(-1)).",
    ),
)
