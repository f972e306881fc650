"""Exercise 13.2: the least time that the ceilings allow."""

from collections.abc import Callable, Sequence

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip

Counts = tuple[float, ...]


def floors(
    work: tuple[float, ...], rates: tuple[float, ...]
) -> tuple[float, float]:
    """Return two least times of a kernel, in milliseconds.

    work: how many FLOPs, bytes and exponentials it needs. rates: how many
    of each the machine does in a second, in units of 10^12. The first time
    is for a kernel in which all three go on at once, the second for one in
    which they take turns.
    """
    times = [n / (r * 1e12) * 1e3 for n, r in zip(work, rates, strict=True)]
    return max(times), sum(times)


def _times(work: Counts, rates: Counts) -> list[float]:
    return [n / r / 1e9 for n, r in zip(work, rates, strict=True)]


def _then(
    take: Callable[[Sequence[float]], tuple[float, float]],
) -> Callable[[Counts, Counts], tuple[float, float]]:
    """The right three times, and a wrong end."""
    return lambda work, rates: take(_times(work, rates))


def _mean(x: Sequence[float]) -> float:
    return sum(x) / len(x)


EXERCISE = Exercise(
    id="13.2",
    cases=lambda: [
        Case(name=f"work {work}, rates {rates}", args=(work, rates))
        for work, rates in (
            ((2e12, 1e12, 0.5e12), (1.0, 1.0, 1.0)),
            ((6e11, 2e9, 1e9), (800.0, 4.0, 4.0)),
            ((4e9, 8e9, 3e6), (800.0, 4.0, 3.0)),
            ((1e11, 3e8, 9e9), (500.0, 3.0, 2.0)),
        )
    ],
    solution=floors,
    mistakes=(
        Mistake(
            key="seconds",
            diagnosis="You return seconds. A second is 1000 milliseconds.",
            wrong=_then(lambda x: (max(x) / 1e3, sum(x) / 1e3)),
        ),
        Mistake(
            key="power of ten",
            diagnosis="You are off by a power of ten. n / (r 10^12) is in "
            "seconds, and a second is 1000 milliseconds.",
            wrong=_then(lambda x: (max(x) * 1e3, sum(x) * 1e3)),
            also=(_then(lambda x: (max(x) / 1e6, sum(x) / 1e6)),),
        ),
        Mistake(
            key="factor left out",
            diagnosis="You take a rate for what is done in a second. It is "
            "in units of 10^12.",
            wrong=_then(lambda x: (max(x) * 1e12, sum(x) * 1e12)),
            also=(_then(lambda x: (max(x) * 1e9, sum(x) * 1e9)),),
        ),
        Mistake(
            key="least for most",
            diagnosis="You take the least of the three times. When all go on "
            "at once, the kernel is done when the slowest is.",
            wrong=_then(lambda x: (min(x), sum(x))),
        ),
        Mistake(
            key="turned over",
            diagnosis="You return the two times in the other order. All at "
            "once comes first.",
            wrong=_then(lambda x: (sum(x), max(x))),
        ),
        Mistake(
            key="exponentials left out",
            diagnosis="You leave the exponentials out. They have a ceiling "
            "of their own, the third.",
            wrong=_then(lambda x: (max(x[:2]), sum(x[:2]))),
            also=(_then(lambda x: (max(x[:2]), sum(x))),),
        ),
        Mistake(
            key="memory beside",
            diagnosis="In your second kernel memory still goes on beside the "
            "rest. It takes its turn too: the sum of all three.",
            wrong=_then(lambda x: (max(x), max(x[1], x[0] + x[2]))),
            also=(_then(lambda x: (max(x), x[0] + x[2])),),
        ),
        Mistake(
            key="mean for sum",
            diagnosis="You take the mean of the three times. Who takes turns "
            "waits for all: the sum.",
            wrong=_then(lambda x: (max(x), _mean(x))),
        ),
        Mistake(
            key="rates added",
            diagnosis="You divide all work by all rates. A FLOP is no byte: "
            "divide each count by its own rate, then take the times "
            "together.",
            wrong=lambda work, rates: (
                max(_times(work, rates)),
                sum(work) / sum(rates) / 1e9,
            ),
            also=(
                lambda work, rates: (
                    max(work) / max(rates) / 1e9,
                    sum(work) / sum(rates) / 1e9,
                ),
            ),
        ),
        Mistake(
            key="upside down",
            diagnosis="You divide rates by work. A time is work over rate.",
            wrong=lambda work, rates: _then(lambda x: (max(x), sum(x)))(
                tuple(r * 1e9 for r in rates), tuple(n / 1e9 for n in work)
            ),
            also=(
                lambda work, rates: _then(
                    lambda x: (max(x) * 1e3, sum(x) * 1e3)
                )(
                    tuple(1e12 * r for r in rates),
                    tuple(n / 1e9 for n in work),
                ),
            ),
        ),
        slip(
            "rates left out",
            "One of the two is missing from your times: how much work there "
            "is, or how fast the machine does it.",
            floors,
            ("n / (r * 1e12) * 1e3", "n / 1e12 * 1e3"),
            ("n / (r * 1e12) * 1e3", "n * 1e3"),
            ("n / (r * 1e12) * 1e3", "1 / (r * 1e12) * 1e3"),
        ),
        slip(
            "multiplied by the rate",
            "You multiply by a rate. A time is work over rate.",
            floors,
            ("n / (r * 1e12) * 1e3", "n * (r * 1e12) * 1e3"),
            ("n / (r * 1e12) * 1e3", "n * r * 1e-9"),
        ),
        slip(
            "brackets forgotten",
            "n / r * 1e12 multiplies by 1e12. Put what you divide by into "
            "brackets.",
            floors,
            ("n / (r * 1e12) * 1e3", "n / r * 1e12 * 1e3"),
            ("n / (r * 1e12) * 1e3", "n / r * 1e12 / 1e3"),
        ),
    ),
    hints=(
        "Each ceiling gives a time of its own: its work over its rate. What "
        "do three times make, if all run at once? And one after the other?",
        "n things at r 10^12 a second take n / (r 10^12) seconds, so "
        "n / (r 10^9) milliseconds. At once: the longest. In turn: the sum.",
        "times = [n / r / 1e9 for n, r in zip(work, rates)]; return "
        "max(times), sum(times).",
    ),
)
