"""Problem P5.4: how many pairs see an effect in most experiments."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip

STUDENT = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 12: 2.201}


def pairs_for_power(
    effect: float,
    spread: float,
    noise: np.ndarray,
    t: dict[int, float],
    share: float,
) -> int:
    """Return how many pairs it takes to see an effect in most experiments.

    noise (R, N): standard normal numbers, a row for each of R imagined
    experiments. In an experiment with n pairs, pair i has the difference
    effect + spread * noise[r, i], for the first n entries of its row; effect
    is above 0. The experiment knows only its n differences. It sees the
    effect if the whole of its interval (18.1) is above 0: their mean plus and
    minus t[n] s / sqrt(n), where s is their standard deviation with n - 1 in
    the denominator. t holds Student's factor for each n, in increasing order
    of n, and no n is above N. Return the first n of t with which at least
    this share of all R experiments sees the effect, or 0 if there is none.
    """
    for n, factor in t.items():
        differences = effect + spread * noise[:, :n]
        s = differences.std(1, ddof=1)
        lowest = differences.mean(1) - factor * s / n**0.5
        if (lowest > 0).mean() >= share:
            return n
    return 0


def _cases() -> list[Case]:
    cases = []
    for seed, (effect, spread, R, share) in enumerate(
        (
            (1.0, 1.0, 400, 0.5),
            (1.0, 1.0, 400, 0.8),
            (0.02, 0.02, 200, 0.6),
            (2.0, 1.0, 300, 0.7),
            (0.05, 0.02, 500, 0.9),
            (0.1, 0.2, 300, 0.8),
            (0.01, 0.1, 200, 0.055),
            (3.0, 2.0, 300, 0.35),
            (0.4, 0.2, 250, 0.95),
        )
    ):
        noise = np.random.default_rng(seed).normal(size=(R, 12))
        name = f"effect {effect}, spread {spread}, share {share}"
        args = effect, spread, noise, dict(STUDENT), share
        cases.append(Case(name=name, args=args))
    # Two of the four experiments see it with 3 pairs, all with 4.
    noise = np.zeros((4, 12))
    noise[:2, :3] = 10, -10, 0
    noise[:, 3:] = 0.1
    noise[:2, 3] = 0
    few = {3: 2.0, 4: 0.01}
    name = "half of four experiments see it with 3 pairs, share 0.5"
    cases.append(Case(name=name, args=(1.0, 1.0, noise, few, 0.5)))
    # Three pairs suffice; a fourth hides the effect if it comes too early.
    noise = np.zeros((4, 12))
    noise[:, 3] = 50
    name = "all of four experiments see it with 3 pairs, share 0.4"
    cases.append(Case(name=name, args=(1.0, 1.0, noise, few, 0.4)))
    return cases


Sees = Callable[[np.ndarray, float], np.ndarray]


def _lowest(d: np.ndarray, factor: float) -> np.ndarray:
    n = d.shape[1]
    lowest: np.ndarray = d.mean(1) - factor * d.std(1, ddof=1) / n**0.5
    return lowest


def _first(
    sees: Sees = lambda d, factor: _lowest(d, factor) > 0,
    enough: Callable[[float, float], bool] = lambda found, share: (
        found >= share
    ),
    last: bool = False,
    none: str = "0",
    pick: Callable[[np.ndarray, int], np.ndarray] = lambda x, n: x[:, :n],
) -> Callable[..., int]:
    """Another way to see an effect, to compare shares or to choose n."""

    def answer(
        effect: float,
        spread: float,
        noise: np.ndarray,
        t: dict[int, float],
        share: float,
    ) -> int:
        found = [
            n
            for n, factor in t.items()
            if enough(
                float(sees(effect + spread * pick(noise, n), factor).mean()),
                share,
            )
        ]
        if not found:
            return 0 if none == "0" else max(t)
        return found[-1] if last else found[0]

    return answer


def _known_spread(
    effect: float,
    spread: float,
    noise: np.ndarray,
    t: dict[int, float],
    share: float,
) -> int:
    def sees(d: np.ndarray, factor: float) -> np.ndarray:
        low: np.ndarray = d.mean(1) - factor * spread / d.shape[1] ** 0.5
        return low > 0

    return _first(sees)(effect, spread, noise, t, share)


def _half_width(
    effect: float,
    spread: float,
    noise: np.ndarray,
    t: dict[int, float],
    share: float,
) -> int:
    return next((n for n, f in t.items() if f * spread / n**0.5 < effect), 0)


def _no_effect(
    effect: float,
    spread: float,
    noise: np.ndarray,
    t: dict[int, float],
    share: float,
) -> int:
    return _first()(0.0, spread, noise, t, share)


def _place(
    effect: float,
    spread: float,
    noise: np.ndarray,
    t: dict[int, float],
    share: float,
) -> int:
    n = pairs_for_power(effect, spread, noise, t, share)
    return list(t).index(n) if n else 0


def _either_side(d: np.ndarray, factor: float) -> np.ndarray:
    half = d.mean(1) - _lowest(d, factor)
    return np.abs(d.mean(1)) > half


def _biased(d: np.ndarray, factor: float) -> np.ndarray:
    low: np.ndarray = d.mean(1) - factor * d.std(1) / d.shape[1] ** 0.5
    return low > 0


EXERCISE = Exercise(
    id="P5.4",
    cases=_cases,
    solution=pairs_for_power,
    mistakes=(
        Mistake(
            key="half-width below the effect",
            diagnosis="You return the first n whose usual half-width is below "
            "the effect. With that n about half of the experiments see it, "
            "as the mean lies below the effect as often as above. Count the "
            "experiments that do.",
            wrong=_half_width,
        ),
        Mistake(
            key="the spread as known",
            diagnosis="Your interval is made of spread. An experiment does "
            "not know it, and takes the standard deviation of its own n "
            "differences.",
            wrong=_known_spread,
        ),
        Mistake(
            key="either side",
            diagnosis="You count intervals below 0 too. An experiment that "
            "finds the opposite has not seen the effect.",
            wrong=_first(_either_side),
        ),
        Mistake(
            key="mean above 0",
            diagnosis="You count experiments whose mean is above 0. The whole "
            "interval has to be.",
            wrong=_first(lambda d, factor: d.mean(1) > 0),
        ),
        Mistake(
            key="1.96 for every n",
            diagnosis="You use 1.96, which is for many pairs. For few pairs "
            "Student's factor is larger: t[n].",
            wrong=_first(lambda d, factor: _lowest(d, 1.96) > 0),
        ),
        Mistake(
            key="no factor",
            diagnosis="You subtract one standard error. The half-width is "
            "t[n] times that.",
            wrong=_first(lambda d, factor: _lowest(d, 1.0) > 0),
        ),
        Mistake(
            key="not divided by the root",
            diagnosis="You subtract t[n] s. The standard error of a mean of n "
            "differences is s / sqrt(n).",
            wrong=_first(
                lambda d, factor: _lowest(d, factor * d.shape[1] ** 0.5) > 0
            ),
        ),
        Mistake(
            key="divided by n outside the root",
            diagnosis="You divide s by n. The standard error of a mean of n "
            "differences is s / sqrt(n).",
            wrong=_first(
                lambda d, factor: _lowest(d, factor / d.shape[1] ** 0.5) > 0
            ),
        ),
        Mistake(
            key="n in the denominator of s",
            diagnosis="Your standard deviation divides by n, NumPy's default. "
            "Use n - 1: ddof=1.",
            wrong=_first(_biased),
        ),
        Mistake(
            key="no effect",
            diagnosis="Your differences are noise around 0. Add the effect.",
            wrong=_no_effect,
        ),
        Mistake(
            key="rows for pairs",
            diagnosis="You take the first n rows, and columns for "
            "experiments. A row is an experiment: noise[:, :n].",
            wrong=_first(pick=lambda noise, n: noise[:n].T),
        ),
        Mistake(
            key="all pairs",
            diagnosis="Your experiments have all N pairs, whatever n is. Use "
            "the first n numbers of a row.",
            wrong=_first(pick=lambda noise, n: noise),
        ),
        Mistake(
            key="more than the share",
            diagnosis="At least the share is enough; you want more than it.",
            wrong=_first(enough=lambda found, share: found > share),
        ),
        Mistake(
            key="the last that suffices",
            diagnosis="You return the largest n that suffices. The first one "
            "is asked for.",
            wrong=_first(last=True),
        ),
        Mistake(
            key="the place in the table",
            diagnosis="You return a position in t, not a number of pairs.",
            wrong=_place,
        ),
        Mistake(
            key="none, but a number",
            diagnosis="If no n of t suffices, return 0.",
            wrong=_first(none="largest"),
        ),
        slip(
            "noise taken away",
            "You take the noise away. Pair i has effect plus spread times "
            "its noise.",
            pairs_for_power,
            ("effect + spread * noise", "effect - spread * noise"),
        ),
        slip(
            "spread left out",
            "The noise is not multiplied by spread.",
            pairs_for_power,
            ("spread * noise", "noise"),
            ("spread * noise", "(spread + noise)"),
        ),
        slip(
            "one pair too few or too many",
            "Your experiments have one pair too few or too many. The first "
            "n numbers of a row are [:n].",
            pairs_for_power,
            (":n]", ": n - 1]"),
            (":n]", ": n + 1]"),
            (":n]", "1:n]"),
            (":n]", "1 : n + 1]"),
        ),
        slip(
            "sum for mean",
            "You compare the sum of the differences with the half-width of "
            "their mean.",
            pairs_for_power,
            ("differences.mean(1)", "differences.sum(1)"),
        ),
        slip(
            "the wrong side",
            "You count the experiments that do not see the effect, or take "
            "the mean away from the half-width.",
            pairs_for_power,
            ("lowest > 0", "lowest < 0"),
            ("lowest > 0", "lowest <= 0"),
            (
                "differences.mean(1) - factor * s / n**0.5",
                "factor * s / n**0.5 - differences.mean(1)",
            ),
        ),
        slip(
            "half-width without the spread",
            "Your half-width does not contain the standard deviation of the "
            "differences, or not as a factor.",
            pairs_for_power,
            ("factor * s / n", "factor / n"),
            ("factor * s / n", "(factor + s) / n"),
            ("factor * s / n", "factor / s / n"),
        ),
        slip(
            "another sign for none",
            "If no n of t suffices, return 0, not another number.",
            pairs_for_power,
            ("return 0", "return -1"),
            ("return 0", "return 1"),
        ),
    ),
    hints=(
        "For one n, compute all experiments at once: differences (R, n), a "
        "mean and a standard deviation for each row.",
        "An experiment sees the effect if mean - t[n] * s / n**0.5 is above "
        "0. The mean of these True and False is the share.",
        "for n, factor in t.items(): d = effect + spread * noise[:, :n]; "
        "low = d.mean(1) - factor * d.std(1, ddof=1) / n**0.5; return n if "
        "(low > 0).mean() >= share.",
    ),
)
