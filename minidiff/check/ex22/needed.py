"""Exercise 22.4: how many seeds an effect needs to be seen."""

from collections.abc import Callable, Mapping
from math import sqrt

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip

STUDENT = {
    3: 4.303,
    4: 3.182,
    5: 2.776,
    6: 2.571,
    8: 2.365,
    10: 2.262,
    16: 2.131,
    30: 2.045,
    60: 2.001,
    120: 1.980,
}


def seeds_needed(
    effect: float,
    seed_sd: float,
    p: float,
    questions: int,
    t: dict[int, float],
) -> int:
    """Return how many pairs of trainings it takes to see an effect.

    Both models of a pair answer this many questions, each right with a
    probability near p, independently, so the difference of their shares has
    a variance of 2 p (1 - p) / questions from the questions alone. On top of
    this, pairs differ with the standard deviation seed_sd. t: Student's
    factor for each number n of pairs, in increasing order of n. The mean of
    n pairs has the half-width t[n] times its standard error. Return the
    first n of t whose half-width is below effect, or 0 if there is none.
    """
    variance = seed_sd**2 + 2 * p * (1 - p) / questions
    for n, factor in t.items():
        if factor * (variance / n) ** 0.5 < effect:
            return n
    return 0


def _cases() -> list[Case]:
    return [
        Case(
            name=f"effect {effect}, seeds {seed_sd}, p {p}, {questions} "
            "questions",
            args=(effect, seed_sd, p, questions, dict(STUDENT)),
        )
        for effect, seed_sd, p, questions in (
            (0.1, 0.05, 0.5, 135),
            (0.1, 0.0, 0.5, 100),
            (0.1, 0.08, 0.3, 10_000),
            (0.19, 0.05, 0.9, 50),
            (0.05, 0.02, 0.4, 400),
            (0.07, 0.04, 0.5, 135),
            (0.03, 0.02, 0.2, 135),
            (0.02, 0.05, 0.5, 135),
            (0.005, 0.05, 0.5, 135),
            (0.5, 0.01, 0.95, 1000),
            (0.12, 0.06, 0.1, 20),
            (0.06, 0.1, 0.5, 500),
        )
    ] + [
        Case(
            name="effect 1.0, equal to the half-width of 4 pairs",
            args=(1.0, 1.0, 0.0, 100, {4: 2.0, 16: 2.0}),
        )
    ]


Half = Callable[[float, float, int, float, int], float]


def _half(s: float, p: float, questions: int, t: float, n: int) -> float:
    return t * sqrt((s * s + 2 * p * (1 - p) / questions) / n)


def _first(
    half: Half = _half, none: int = 0, last: bool = False, enough: float = 1.0
) -> Callable[..., int]:
    def answer(
        effect: float,
        seed_sd: float,
        p: float,
        questions: int,
        t: Mapping[int, float],
    ) -> int:
        found = [
            n
            for n, factor in t.items()
            if half(seed_sd, p, questions, factor, n) < enough * effect
        ]
        if not found:
            return none if none >= 0 else max(t)
        return found[-1] if last else found[0]

    return answer


def _place(
    effect: float,
    seed_sd: float,
    p: float,
    questions: int,
    t: Mapping[int, float],
) -> int:
    n = seeds_needed(effect, seed_sd, p, questions, dict(t))
    return list(t).index(n) if n else 0


def _spread_alone(
    s: float, p: float, questions: int, t: float, n: int
) -> float:
    return t * s / sqrt(n) if s else 0.0


def _rounded(
    effect: float,
    seed_sd: float,
    p: float,
    questions: int,
    t: Mapping[int, float],
) -> int:
    """The n that 1.96 asks for, whatever t says."""
    variance = seed_sd**2 + 2 * p * (1 - p) / questions
    n = (1.96 / effect) ** 2 * variance
    return next((k for k in t if k > n), 0)


EXERCISE = Exercise(
    id="22.4",
    cases=_cases,
    solution=seeds_needed,
    mistakes=(
        Mistake(
            key="one model's questions",
            diagnosis="Both models answer questions, and both errors are in "
            "the difference: 2 p (1 - p) / questions.",
            wrong=_first(
                lambda s, p, q, t, n: t * sqrt((s * s + p * (1 - p) / q) / n)
            ),
        ),
        Mistake(
            key="questions forgotten",
            diagnosis="You leave out the variance that the questions bring.",
            wrong=_first(_spread_alone),
        ),
        Mistake(
            key="seeds forgotten",
            diagnosis="You leave out how much the pairs differ. More "
            "questions do not make up for few seeds.",
            wrong=_first(
                lambda s, p, q, t, n: t * sqrt(2 * p * (1 - p) / q / n)
            ),
        ),
        Mistake(
            key="a standard deviation for a variance",
            diagnosis="You add seed_sd itself to a variance. Square it first.",
            wrong=_first(
                lambda s, p, q, t, n: t * sqrt((s + 2 * p * (1 - p) / q) / n)
            ),
        ),
        Mistake(
            key="deviations added",
            diagnosis="You add two standard deviations. Of independent "
            "errors the variances add.",
            wrong=_first(
                lambda s, p, q, t, n: (
                    t * (s + sqrt(2 * p * (1 - p) / q)) / sqrt(n)
                )
            ),
        ),
        Mistake(
            key="not divided by n",
            diagnosis="Your half-width is that of one pair. The variance of "
            "a mean of n pairs is n times smaller.",
            wrong=_first(
                lambda s, p, q, t, n: t * sqrt(s * s + 2 * p * (1 - p) / q)
            ),
        ),
        Mistake(
            key="divided by n outside the root",
            diagnosis="You divide the standard deviation by n. It is the "
            "variance that is n times smaller.",
            wrong=_first(lambda s, p, q, t, n: _half(s, p, q, t, 1) / n),
        ),
        Mistake(
            key="seeds alone divided by n",
            diagnosis="Only one of your two variances is divided by n. More "
            "pairs make both smaller, as each pair answers anew.",
            wrong=_first(
                lambda s, p, q, t, n: t * sqrt(s * s / n + 2 * p * (1 - p) / q)
            ),
            also=(
                _first(
                    lambda s, p, q, t, n: (
                        t * sqrt(s * s + 2 * p * (1 - p) / (q * n))
                    )
                ),
            ),
        ),
        Mistake(
            key="1.96 for every n",
            diagnosis="You use 1.96, which is for many pairs. Of few pairs "
            "the spread is not well known, and Student's factor is larger: "
            "t[n].",
            wrong=_first(lambda s, p, q, t, n: _half(s, p, q, 1.96, n)),
            also=(_rounded,),
        ),
        Mistake(
            key="no factor",
            diagnosis="You compare the standard error with the effect. The "
            "half-width is t[n] times that.",
            wrong=_first(lambda s, p, q, t, n: _half(s, p, q, 1.0, n)),
        ),
        Mistake(
            key="the place in the table",
            diagnosis="You return a position in t, not a number of pairs.",
            wrong=_place,
        ),
        Mistake(
            key="the last that suffices",
            diagnosis="You return the largest n that suffices. The first one "
            "is asked for.",
            wrong=_first(last=True),
        ),
        Mistake(
            key="none, but a number",
            diagnosis="If no n of t suffices, return 0.",
            wrong=_first(none=-1),
        ),
        slip(
            "seed_sd not squared",
            "The term of the seeds is not a variance: the square of seed_sd.",
            seeds_needed,
            ("seed_sd**2", "seed_sd * 2"),
            ("seed_sd**2", "seed_sd**3"),
            ("seed_sd**2", "2**seed_sd"),
        ),
        slip(
            "questions do not help",
            "Your variance does not become smaller with more questions.",
            seeds_needed,
            (" / questions", ""),
            (" / questions", " * questions"),
        ),
        slip(
            "another variance of a share",
            "Your variance of a share of right answers is not p (1 - p) "
            "over their number.",
            seeds_needed,
            ("p * (1 - p)", "p"),
            ("p * (1 - p)", "(1 - p)"),
            ("p * (1 - p)", "p * p"),
            ("p * (1 - p)", "p * (1 + p)"),
            ("p * (1 - p)", "p / (1 - p)"),
            ("2 * p * (1 - p)", "(2 * p + 1 - p)"),
            ("2 * p * (1 - p)", "(2 + p) * (1 - p)"),
        ),
        slip(
            "equal counts",
            "A half-width equal to the effect is enough for you. It has to "
            "be below.",
            seeds_needed,
            ("< effect", "<= effect"),
        ),
        slip(
            "too wide",
            "You return a number of pairs whose half-width is above the "
            "effect. It has to be below.",
            seeds_needed,
            ("< effect", "> effect"),
            ("< effect", ">= effect"),
        ),
        slip(
            "variance for error",
            "You multiply t by a variance. The standard error is its root.",
            seeds_needed,
            ("(variance / n) ** 0.5", "(variance / n)"),
            ("(variance / n) ** 0.5", "(variance / n * 0.5)"),
        ),
        slip(
            "grows with n",
            "Your standard error grows with the number of pairs. The "
            "variance of their mean is n times smaller than that of one.",
            seeds_needed,
            ("variance / n", "variance * n"),
            ("variance / n", "n / variance"),
            ("factor * (variance / n) ** 0.5", "factor * n**0.5"),
        ),
        slip(
            "another sign for none",
            "If no n of t suffices, return 0, not another number.",
            seeds_needed,
            ("return 0", "return -1"),
            ("return 0", "return 1"),
        ),
    ),
    hints=(
        "First the variance of one pair's difference, then that of the mean "
        "of n pairs, then the half-width for each n.",
        "variance = seed_sd**2 + 2 * p * (1 - p) / questions, and the mean of "
        "n pairs has variance / n.",
        "for n, factor in t.items(): if factor * (variance / n) ** 0.5 < "
        "effect: return n. After the loop return 0.",
    ),
)
