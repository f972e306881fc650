"""Problem P4.5: what each of many experiments shows after each seed."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def shown(plain: np.ndarray, diff: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return what each experiment shows after each seed: 1, -1 or 0.

    plain, diff (R, N): losses of R experiments of N seeds, in pairs by seed.
    Entry (r, n - 1) looks at the first n seeds of experiment r. It is 1 if
    the 95 % interval of the mean of plain - diff lies above 0, -1 if it lies
    below 0, and 0 if it holds 0. t[n] is Student's t for n values, n = 2 to
    N. One seed shows nothing.
    """
    gaps = plain - diff
    out = np.zeros(gaps.shape)
    for n in range(2, gaps.shape[1] + 1):
        first = gaps[:, :n]
        mean = first.mean(1)
        half = t[n] * first.std(1, ddof=1) / np.sqrt(n)
        out[:, n - 1] = np.sign(mean) * (np.abs(mean) > half)
    return out


# Student's t, 95 %, for n values: rounded, as tables have it.
T = np.array(
    [np.nan, np.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
     2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101]
)  # fmt: skip


def _cases() -> list[Case]:
    cases = []
    for seed, (R, N, gap, shared) in enumerate(
        [(60, 3, 1.0, 1.0), (200, 8, -0.6, 2.0), (300, 19, 0.2, 0.5)]
    ):
        rng = np.random.default_rng(seed)
        base = shared * rng.normal(size=(R, N))
        plain = 3 + base + 0.7 * rng.normal(size=(R, N)) + gap
        diff = 3 + base + 0.7 * rng.normal(size=(R, N))
        name = f"{R} experiments of {N} seeds, true gap {gap}"
        cases.append(Case(name=name, args=(plain, diff, T)))
    return cases


def _like(
    half: Callable[..., np.ndarray] | None = None,
    *,
    factor: Callable[[np.ndarray, int], float] = lambda t, n: t[n],
    spread: Callable[..., np.ndarray] = lambda p, d: (p - d).std(1, ddof=1),
    root: Callable[[int], float] = np.sqrt,
    gaps: Callable[..., np.ndarray] = lambda p, d: p - d,
    which: Callable[[int, int], slice] = lambda n, N: slice(0, n),
    verdict: Callable[..., np.ndarray] = lambda mean, half: (
        np.sign(mean) * (np.abs(mean) > half)
    ),
    one_seed: float = 0.0,
) -> Callable[..., np.ndarray]:
    """A laboratory with something about it changed."""

    def wrong(
        plain: np.ndarray, diff: np.ndarray, t: np.ndarray
    ) -> np.ndarray:
        R, N = plain.shape
        out = np.zeros((R, N))
        out[:, 0] = one_seed * np.sign(gaps(plain, diff)[:, 0])
        for n in range(2, N + 1):
            p, d = (x[:, which(n, N)] for x in (plain, diff))
            mean = gaps(p, d).mean(1)
            h = factor(t, n) * spread(p, d) / root(n)
            out[:, n - 1] = verdict(mean, h)
        return out

    return wrong


def _unpaired(p: np.ndarray, d: np.ndarray) -> np.ndarray:
    return np.sqrt(p.var(1, ddof=1) + d.var(1, ddof=1))


def _late(plain: np.ndarray, diff: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Entry n looks at the first n seeds, so the last seed is never used."""
    right = shown(plain, diff, t)
    return np.concatenate([np.zeros((len(right), 1)), right[:, :-1]], axis=1)


def _early(plain: np.ndarray, diff: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The verdict on two seeds stands first, and 0 last."""
    return np.roll(shown(plain, diff, t), -1, axis=1)


def _spread_of_all(
    plain: np.ndarray, diff: np.ndarray, t: np.ndarray
) -> np.ndarray:
    """Means of the first n, with the standard deviation of all N."""
    s = (plain - diff).std(1, ddof=1)
    return _like(spread=lambda p, d: s)(plain, diff, t)


EXERCISE = Exercise(
    id="P4.5",
    cases=_cases,
    solution=shown,
    mistakes=(
        Mistake(
            key="not paired",
            diagnosis="You add the variances of both kinds, as if their "
            "seeds had nothing in common. Take the gaps first, then the "
            "spread of the gaps.",
            wrong=_like(spread=_unpaired),
        ),
        Mistake(
            key="spread of one kind",
            diagnosis="The spread is that of one kind's losses. The "
            "interval is about the gap: take the spread of the gaps.",
            wrong=_like(spread=lambda p, d: p.std(1, ddof=1)),
            also=(_like(spread=lambda p, d: d.std(1, ddof=1)),),
        ),
        Mistake(
            key="divides by n",
            diagnosis="The standard deviation divides by n. Around a mean "
            "from the same values it divides by n - 1: ddof=1.",
            wrong=_like(spread=lambda p, d: (p - d).std(1)),
            also=(_like(spread=lambda p, d: (p - d).std(1), one_seed=1.0),),
        ),
        Mistake(
            key="t of another n",
            diagnosis="t is taken one place off. t[n] is for n values; the "
            "subtraction of one is in the table already.",
            wrong=_like(factor=lambda t, n: t[max(n - 1, 2)]),
            also=(
                _like(factor=lambda t, n: t[n - 1]),
                _like(factor=lambda t, n: t[min(n + 1, len(t) - 1)]),
            ),
        ),
        Mistake(
            key="one t for all",
            diagnosis="You take the t of all N seeds for every n. Two or "
            "three seeds know their own spread badly: t[n].",
            wrong=lambda plain, diff, t: _like(
                factor=lambda t, n: t[plain.shape[1]]
            )(plain, diff, t),
        ),
        Mistake(
            key="normal instead of t",
            diagnosis="1.96 or 2 is for many seeds. For few of them the "
            "factor is t[n].",
            wrong=_like(factor=lambda t, n: 1.96),
            also=(_like(factor=lambda t, n: 2.0),),
        ),
        Mistake(
            key="spread of one run",
            diagnosis="The half-width is that of a single gap. For the mean "
            "of n divide it by the root of n.",
            wrong=_like(root=lambda n: 1.0),
        ),
        Mistake(
            key="divided by n",
            diagnosis="The spread is divided by n. The standard error "
            "divides by the root of n.",
            wrong=_like(root=lambda n: n),
        ),
        Mistake(
            key="n - 1 twice",
            diagnosis="You divide by the root of n - 1. The standard "
            "deviation has divided by n - 1 already; its error is over the "
            "root of n.",
            wrong=_like(root=lambda n: np.sqrt(n - 1)),
        ),
        Mistake(
            key="variance",
            diagnosis="The half-width holds the variance. Take its root, the "
            "standard deviation.",
            wrong=_like(spread=lambda p, d: (p - d).var(1, ddof=1)),
        ),
        Mistake(
            key="sum of the gaps",
            diagnosis="You hold the sum of the gaps against the half-width "
            "of their mean.",
            wrong=_like(
                spread=lambda p, d: (p - d).std(1, ddof=1) / p.shape[1]
            ),
        ),
        Mistake(
            key="no interval",
            diagnosis="This is the sign of the mean gap. It shows something "
            "only where the whole interval lies on its side.",
            wrong=_like(verdict=lambda mean, half: np.sign(mean)),
            also=(
                _like(verdict=lambda mean, half: np.sign(mean), one_seed=1.0),
            ),
        ),
        Mistake(
            key="whole width",
            diagnosis="You compare the mean with half of the half-width, or "
            "with the whole width. t s / sqrt(n) reaches to *either* side.",
            wrong=_like(root=lambda n: 2 * np.sqrt(n)),
            also=(_like(root=lambda n: np.sqrt(n) / 2),),
        ),
        Mistake(
            key="other sign",
            diagnosis="The sign is turned round. The gap is plain - diff: 1 "
            "means that diff has the lower loss.",
            wrong=_like(gaps=lambda p, d: d - p),
        ),
        Mistake(
            key="one side",
            diagnosis="An interval below 0 is taken for nothing. It shows "
            "something as well: -1.",
            wrong=_like(verdict=lambda mean, half: 1.0 * (mean > half)),
        ),
        Mistake(
            key="sides not told apart",
            diagnosis="An interval below 0 counts as 1. It is -1.",
            wrong=_like(
                verdict=lambda mean, half: 1.0 * (np.abs(mean) > half)
            ),
        ),
        Mistake(
            key="all seeds every time",
            diagnosis="Every entry looks at all N seeds. Entry n - 1 may "
            "look at the first n only.",
            wrong=_like(which=lambda n, N: slice(None)),
            also=(
                _like(
                    which=lambda n, N: slice(None),
                    factor=lambda t, n: t[-1],
                    root=lambda n: 1.0,
                ),
            ),
        ),
        Mistake(
            key="spread of all seeds",
            diagnosis="Right means, but each half-width has the standard "
            "deviation of all N gaps. After n seeds you know n gaps.",
            wrong=_spread_of_all,
        ),
        Mistake(
            key="last seeds",
            diagnosis="You look at the last n seeds. Seeds come one after "
            "the other: take the first n.",
            wrong=_like(which=lambda n, N: slice(N - n, N)),
        ),
        Mistake(
            key="one column late",
            diagnosis="Your verdict on the first n seeds stands one column "
            "too far right. Columns count from 0: it belongs to n - 1.",
            wrong=_late,
        ),
        Mistake(
            key="one column early",
            diagnosis="Your verdict on two seeds stands first. The first "
            "column is for one seed, which shows nothing: 0.",
            wrong=_early,
            also=(lambda plain, diff, t: shown(plain, diff, t)[:, 1:],),
        ),
        Mistake(
            key="one seed shows",
            diagnosis="Right but for the first column: one seed has no "
            "spread, so it shows nothing. A spread of 0 there is not "
            "certainty.",
            wrong=_like(one_seed=1.0),
        ),
        slip(
            "no gaps",
            "Your values are not the gaps, plain - diff, of the pairs.",
            shown,
            ("plain - diff", "plain"),
            ("plain - diff", "diff"),
            ("plain - diff", "plain + diff"),
        ),
        slip(
            "last columns missing",
            "Your last columns are empty. n goes up to N, included.",
            shown,
            ("gaps.shape[1] + 1)", "gaps.shape[1])"),
            ("gaps.shape[1] + 1)", "gaps.shape[1] - 1)"),
        ),
        slip(
            "two seeds left out",
            "Two seeds have an interval too: n begins at 2.",
            shown,
            ("range(2,", "range(3,"),
        ),
        slip(
            "one seed too few or too many",
            "Entry n - 1 looks at one seed too few or too many. The first n "
            "are [:n].",
            shown,
            ("gaps[:, :n]", "gaps[:, : n - 1]"),
            ("gaps[:, :n]", "gaps[:, : n + 1]"),
            ("gaps[:, :n]", "gaps[:, 1:n]"),
            ("gaps[:, :n]", "gaps[:, 1 : n + 1]"),
        ),
        slip(
            "t forgotten",
            "Your half-width is one standard error. Multiply it by t[n].",
            shown,
            ("t[n] * first", "first"),
        ),
        slip(
            "spread left out",
            "Your half-width does not depend on how much the gaps scatter, "
            "or not as a factor.",
            shown,
            ("t[n] * first.std(1, ddof=1)", "t[n]"),
            ("t[n] * first.std(1, ddof=1)", "t[n] / first.std(1, ddof=1)"),
            ("t[n] * first.std(1, ddof=1)", "(t[n] + first.std(1, ddof=1))"),
        ),
        slip(
            "grows with n",
            "Your half-width grows with the number of seeds: divide by the "
            "root of n.",
            shown,
            ("/ np.sqrt(n)", "* np.sqrt(n)"),
        ),
        slip(
            "means, not signs",
            "Where the interval excludes 0 you return the mean gap. Return "
            "its sign.",
            shown,
            ("np.sign(mean) *", "mean *"),
        ),
        slip(
            "the wrong way round",
            "You conclude something where the interval holds 0, and nothing "
            "where it does not.",
            shown,
            ("> half", "< half"),
        ),
    ),
    hints=(
        "First the gaps, (R, N). For one n you need of each row's first n "
        "the mean, the standard deviation and a half-width.",
        "half = t[n] * s / sqrt(n) with s from std(1, ddof=1). The interval "
        "leaves 0 out where abs(mean) > half; the sign of the mean says on "
        "which side.",
        "for n in range(2, N + 1): first = gaps[:, :n]; mean = "
        "first.mean(1); half = t[n] * first.std(1, ddof=1) / np.sqrt(n); "
        "out[:, n - 1] = np.sign(mean) * (np.abs(mean) > half).",
    ),
)
