"""Exercise 20.3: the loss of each stretch, from a cumulative loss."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def stretches(ends: np.ndarray, cumulative: np.ndarray) -> np.ndarray:
    """Return the mean loss of each stretch of a text, (n,).

    ends (n,): increasing numbers of tokens. cumulative (n,): the mean loss of
    the first ends[j] tokens. Stretch j goes from ends[j - 1], or 0 for the
    first, to ends[j].
    """
    sums = ends * cumulative
    return np.diff(sums, prepend=0) / np.diff(ends, prepend=0)


def _cases() -> list[Case]:
    cases = []
    for ends in ([4, 8, 16, 32], [1, 2, 5], [10, 11, 40, 41, 100], [7, 9]):
        rng = np.random.default_rng(len(ends))
        losses = rng.gamma(2.0, 1.0, ends[-1])
        means = losses.cumsum() / np.arange(1, ends[-1] + 1)
        at = np.array(ends)
        cases.append(Case(name=f"ends {ends}", args=(at, means[at - 1])))
    return cases


EXERCISE = Exercise(
    id="20.3",
    cases=_cases,
    solution=stretches,
    mistakes=(
        Mistake(
            key="differences of means",
            diagnosis="You subtract means. Means of different numbers of "
            "tokens do not subtract; sums do: ends * cumulative.",
            wrong=lambda e, c: np.diff(c, prepend=0),
        ),
        Mistake(
            key="sums",
            diagnosis="These are the sums of the losses of each stretch. "
            "Divide each by its number of tokens.",
            wrong=lambda e, c: np.diff(e * c, prepend=0),
        ),
        Mistake(
            key="divided by the end",
            diagnosis="You divide by all tokens up to the end. A stretch has "
            "ends[j] - ends[j - 1] tokens.",
            wrong=lambda e, c: np.diff(e * c, prepend=0) / e,
        ),
        Mistake(
            key="slope of the curve",
            diagnosis="You divide the difference of two means by the tokens "
            "between them, a slope. Multiply the means by their numbers of "
            "tokens first.",
            wrong=lambda e, c: np.diff(c, prepend=0) / np.diff(e, prepend=0),
        ),
        Mistake(
            key="equal stretches",
            diagnosis="You count stretches, as if all were equally long. "
            "Weight each mean by its number of tokens.",
            wrong=lambda e, c: np.diff(
                c * np.arange(1, len(c) + 1), prepend=0
            ),
        ),
        Mistake(
            key="first stretch missing",
            diagnosis="The first stretch, from token 0 to ends[0], is "
            "missing.",
            wrong=lambda e, c: np.diff(e * c) / np.diff(e),
        ),
        Mistake(
            key="averaged again",
            diagnosis="You average what is an average already. Take the mean "
            "back apart, into a sum and a number of tokens.",
            wrong=lambda e, c: (np.diff(e, prepend=0) * c).cumsum() / e,
        ),
        slip(
            "sums made wrongly",
            "Your sums are not those of the losses. A mean over n tokens is "
            "a sum divided by n: undo the division.",
            stretches,
            ("ends * cumulative", "ends + cumulative"),
            ("ends * cumulative", "ends / cumulative"),
            ("ends * cumulative", "ends"),
        ),
        slip(
            "upside down",
            "You return tokens for each unit of loss. A mean is the sum of "
            "the losses over the number of tokens.",
            stretches,
            (
                "np.diff(sums, prepend=0) / np.diff(ends, prepend=0)",
                "np.diff(ends, prepend=0) / np.diff(sums, prepend=0)",
            ),
        ),
        slip(
            "multiplied by the tokens",
            "You multiply the sum of a stretch by its tokens. A mean "
            "divides by them.",
            stretches,
            ("prepend=0) / ", "prepend=0) * "),
        ),
        slip(
            "sums from the start",
            "Your sums run from the beginning of the text, your numbers of "
            "tokens do not. A stretch begins where the one before it ends.",
            stretches,
            ("np.diff(sums, prepend=0)", "sums"),
        ),
        slip(
            "first stretch begins elsewhere",
            "Your first stretch does not begin with nothing. Before token 0 "
            "there are 0 tokens, and the sum of their losses is 0.",
            stretches,
            ("np.diff(sums, prepend=0)", "np.diff(sums, prepend=1)"),
            ("np.diff(ends, prepend=0)", "np.diff(ends, prepend=1)"),
            ("np.diff(sums, prepend=0)", "np.diff(sums, prepend=-1)"),
            ("np.diff(ends, prepend=0)", "np.diff(ends, prepend=-1)"),
        ),
        slip(
            "rounded down",
            "You round down. A mean is no whole number: divide with /.",
            stretches,
            ("prepend=0) / ", "prepend=0) // "),
        ),
        slip(
            "tokens only",
            "These are the numbers of tokens of the stretches. What are the "
            "sums of their losses?",
            stretches,
            ("np.diff(sums, prepend=0) / ", ""),
        ),
    ),
    hints=(
        "A mean times its number of tokens is a sum, and sums of stretches "
        "add up.",
        "ends * cumulative are the sums up to each end. What lies between "
        "two ends is their difference.",
        "np.diff(ends * cumulative, prepend=0), divided by "
        "np.diff(ends, prepend=0).",
    ),
)
