"""Exercise 3.3: signal and noise of a row."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake


def signal_to_noise(weights: np.ndarray, needle: int) -> float:
    """Return |weight on the needle| / root of the summed squares elsewhere.

    weights (S,): one row of a map; needle: the index of the key we want.
    """
    signal = abs(weights[needle])
    others = np.delete(weights, needle)
    return signal / np.sqrt((others**2).sum())


def _cases() -> list[Case]:
    cases = []
    for seed, (S, needle) in enumerate([(3, 0), (8, 5), (5, 4)]):
        weights = np.random.default_rng(seed).normal(size=S) / S
        weights[needle] *= -3 if seed == 1 else 3
        cases.append(
            Case(name=f"S = {S}, needle = {needle}", args=(weights, needle))
        )
    return cases


EXERCISE = Exercise(
    id="3.3",
    cases=_cases,
    solution=signal_to_noise,
    mistakes=(
        Mistake(
            key="needle in the noise",
            diagnosis="The needle's own weight is counted as noise too. "
            "Leave it out of the sum.",
            wrong=lambda w, i: abs(w[i]) / np.sqrt((w**2).sum()),
        ),
        Mistake(
            key="no absolute value",
            diagnosis="A needle with a negative weight gives a negative "
            "ratio. Take the absolute value of its weight.",
            wrong=lambda w, i: w[i] / np.sqrt((np.delete(w, i) ** 2).sum()),
        ),
        Mistake(
            key="no root",
            diagnosis="The root is missing: you divide a weight by a sum of "
            "squares.",
            wrong=lambda w, i: abs(w[i]) / (np.delete(w, i) ** 2).sum(),
        ),
        Mistake(
            key="absolute sum",
            diagnosis="You add up absolute weights. Values that point "
            "nowhere in common add like squares: square, sum, root.",
            wrong=lambda w, i: abs(w[i]) / np.abs(np.delete(w, i)).sum(),
        ),
        Mistake(
            key="signed sum",
            diagnosis="You add up signed weights, so negative ones hide the "
            "positive ones. Square them first.",
            wrong=lambda w, i: abs(w[i]) / abs(np.delete(w, i).sum()),
        ),
        Mistake(
            key="mean of squares",
            diagnosis="You take the mean of the squares. Noise adds up over "
            "all keys: take their sum.",
            wrong=lambda w, i: (
                abs(w[i]) / np.sqrt((np.delete(w, i) ** 2).mean())
            ),
        ),
        Mistake(
            key="needle always key 0",
            diagnosis="Key 0 is taken as the needle. Its index is given: "
            "weights[needle].",
            wrong=lambda w, i: signal_to_noise(w, 0),
        ),
        Mistake(
            key="squared",
            diagnosis="This is the square of the ratio: squares on both "
            "sides of the line, and no root.",
            wrong=lambda w, i: signal_to_noise(w, i) ** 2,
        ),
        Mistake(
            key="standard deviation",
            diagnosis="You divide by the standard deviation of the other "
            "weights. It takes their mean off; here equal weights are noise "
            "too: square, sum, root.",
            wrong=lambda w, i: abs(w[i]) / np.delete(w, i).std(),
        ),
        Mistake(
            key="share",
            diagnosis="This is the needle's share of all absolute weights. "
            "Here noise adds like squares, and the needle is not part of it.",
            wrong=lambda w, i: abs(w[i]) / np.abs(w).sum(),
        ),
        Mistake(
            key="upside down",
            diagnosis="This is noise over signal. Signal over noise is "
            "wanted.",
            wrong=lambda w, i: 1 / signal_to_noise(w, i),
        ),
    ),
    hints=(
        "Each other key adds its weight times an independent random value. "
        "How do independent random numbers add up?",
        "np.delete(weights, needle) gives all the others; their squares add.",
        "abs(weights[needle]) divided by np.sqrt((others**2).sum()).",
    ),
)
