"""Exercise 2.4: the temperature with the highest floor."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake


def best_temperature(
    lift: float, sigma: float, distractors: int
) -> tuple[float, float]:
    """Return the tau that makes the floor of eq. 2.3 highest, and that floor.

    lift and sigma > 0 are those at tau = 1.
    """
    tau = sigma**2 / lift
    price = (sigma / tau) ** 2 / 2
    return tau, 1 / (1 + distractors * np.exp(price - lift / tau))


def _cases() -> list[Case]:
    return [
        Case(
            name=f"lift = {lift}, sigma = {sigma}, distractors = {n}",
            args=(lift, sigma, n),
        )
        for lift, sigma, n in [(2.0, 0.5, 50), (3.0, 1.3, 1000), (1.0, 2.0, 4)]
    ]


def _at(tau: float, lift: float, sigma: float, n: int) -> tuple[float, float]:
    """A temperature, and the floor there: what follows a wrong tau."""
    price = sigma**2 / (2 * tau**2)
    return tau, 1 / (1 + n * np.exp(price - lift / tau))


EXERCISE = Exercise(
    id="2.4",
    cases=_cases,
    solution=best_temperature,
    mistakes=(
        Mistake(
            key="upside down, floor right",
            diagnosis="This is 1 / tau, the coldness. The floor beside it is "
            "right: now return tau.",
            wrong=lambda d, s, n: (d / s**2, _at(s**2 / d, d, s, n)[1]),
        ),
        Mistake(
            key="upside down",
            diagnosis="This tau is upside down: it is the best value of "
            "1 / tau. More noise must ask for more warmth, a larger tau.",
            wrong=lambda d, s, n: _at(d / s**2, d, s, n),
        ),
        Mistake(
            key="sigma not squared",
            diagnosis="Your tau is sigma / lift. The price in the exponent "
            "is sigma squared / (2 tau squared): keep the square of sigma.",
            wrong=lambda d, s, n: _at(s / d, d, s, n),
        ),
        Mistake(
            key="break-even",
            diagnosis="At your tau, sigma^2 / (2 lift), the gain lift / tau "
            "and the price sigma^2 / (2 tau^2) are equal, and nothing is "
            "won. The best tau makes their difference largest: the "
            "derivative of x^2 / 2 is x.",
            wrong=lambda d, s, n: _at(s**2 / (2 * d), d, s, n),
        ),
        Mistake(
            key="half lost",
            diagnosis="Your tau is twice the best. The price is sigma^2 / "
            "(2 tau^2), with a half that cancels the 2 from the derivative.",
            wrong=lambda d, s, n: _at(2 * s**2 / d, d, s, n),
        ),
        Mistake(
            key="price like one over tau",
            diagnosis="tau is right, the floor is not: its price is divided "
            "by tau once. The noise becomes sigma / tau, and it enters "
            "squared.",
            wrong=lambda d, s, n: (
                s**2 / d,
                1 / (1 + n * np.exp((s**2 / 2 - d) / (s**2 / d))),
            ),
        ),
        Mistake(
            key="noise left at one",
            diagnosis="tau is right, the floor is not: in it the lift is "
            "divided by tau and the noise is not. All scores are divided.",
            wrong=lambda d, s, n: (
                s**2 / d,
                1 / (1 + n * np.exp(s**2 / 2 - d**2 / s**2)),
            ),
        ),
        Mistake(
            key="noise left out",
            diagnosis="tau is right, but the floor leaves out the price of "
            "the noise: it is equation 2.1 at lift / tau.",
            wrong=lambda d, s, n: (
                s**2 / d,
                1 / (1 + n * np.exp(-(d**2) / s**2)),
            ),
        ),
        Mistake(
            key="floor at one",
            diagnosis="tau is right, but the floor is the one at tau = 1. "
            "Put your tau into it.",
            wrong=lambda d, s, n: (s**2 / d, _at(1.0, d, s, n)[1]),
        ),
        Mistake(
            key="swapped",
            diagnosis="Both numbers are right, in the wrong order: tau "
            "first, then the floor.",
            wrong=lambda d, s, n: best_temperature(d, s, n)[::-1],
        ),
        Mistake(
            key="lift left at one",
            diagnosis="tau is right, the floor is not: in it the noise is "
            "divided by tau and the lift is not. All scores are divided.",
            wrong=lambda d, s, n: (
                s**2 / d,
                1 / (1 + n * np.exp((d / s) ** 2 / 2 - d)),
            ),
        ),
        Mistake(
            key="distractors left out",
            diagnosis="tau is right, but the floor is the one against a "
            "single distractor.",
            wrong=lambda d, s, n: (s**2 / d, _at(s**2 / d, d, s, 1)[1]),
        ),
        Mistake(
            key="sign of the exponent",
            diagnosis="tau is right, but the exponent has the wrong sign: "
            "at the best tau the lift outweighs the noise.",
            wrong=lambda d, s, n: (
                s**2 / d,
                1 / (1 + n * np.exp((d / s) ** 2 / 2)),
            ),
        ),
        Mistake(
            key="only tau",
            diagnosis="This is the best tau. Return two numbers: tau, and "
            "the floor there.",
            wrong=lambda d, s, n: s**2 / d,
        ),
    ),
    hints=(
        "Write x for 1 / tau. What are the lift and the noise level, in "
        "terms of x?",
        "The exponent against the needle is sigma^2 x^2 / 2 - lift x. Where "
        "is it smallest?",
        "Its derivative sigma^2 x - lift is zero at x = lift / sigma^2. Turn "
        "x into tau, and put it into equation 2.3.",
    ),
)
