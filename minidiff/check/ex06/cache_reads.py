"""Exercise 6.4: how often the calls of a form read the cache."""

from minidiff.check.core import Case, Exercise, Mistake


def cache_reads(calls: list[tuple[str, ...]], widths: dict[str, int]) -> float:
    """Return how many times over the whole cache is read for one token.

    widths: the numbers that the cache holds for each past token, by name.
    calls: for each call, the names of what it reads.
    """
    read = sum(widths[name] for call in calls for name in call)
    return read / sum(widths.values())


def _tensors(calls: list[tuple[str, ...]], widths: dict[str, int]) -> float:
    """Count tensors, not numbers."""
    return sum(len(call) for call in calls) / len(widths)


def _once(calls: list[tuple[str, ...]], widths: dict[str, int]) -> float:
    """Count each tensor once, however many calls read it."""
    names = {name for call in calls for name in call}
    return sum(widths[name] for name in names) / sum(widths.values())


def _of_touched(calls: list[tuple[str, ...]], widths: dict[str, int]) -> float:
    names = {name for call in calls for name in call}
    return _read(calls, widths) / sum(widths[name] for name in names)


def _read(calls: list[tuple[str, ...]], widths: dict[str, int]) -> int:
    return sum(widths[name] for call in calls for name in call)


def _cases() -> list[Case]:
    v1 = {"k1": 4, "k2": 4, "v": 8}
    halves = {"k1": 4, "k2": 4, "left": 4, "right": 4}
    grouped = {"k1": 4, "k2": 4, "k3": 4, "v": 24}
    return [
        Case(name=name, args=(calls, widths))
        for name, calls, widths in (
            ("one call that reads all", [("k1", "k2", "v")], v1),
            ("two calls, values 2D wide", [("k1", "v"), ("k2", "v")], v1),
            (
                "four calls, values by halves",
                [
                    (k, half)
                    for k in ("k1", "k2")
                    for half in ("left", "right")
                ],
                halves,
            ),
            ("keys and values shared, one call", [("k", "v")], dict(k=8, v=8)),
            (
                "three maps on wide values",
                [("k1", "v"), ("k2", "v"), ("k3", "v")],
                grouped,
            ),
            ("the first branch alone", [("k1", "v")], v1),
            ("v again for all keys", [("k1", "k2", "v"), ("v",)], v1),
        )
    ]


EXERCISE = Exercise(
    id="6.4",
    cases=_cases,
    solution=cache_reads,
    mistakes=(
        Mistake(
            key="each once",
            diagnosis="You count each tensor once. Two calls that read the "
            "values read them twice.",
            wrong=_once,
        ),
        Mistake(
            key="widths left out",
            diagnosis="You count tensors, not numbers. The values are wider "
            "than the keys of one branch.",
            wrong=_tensors,
        ),
        Mistake(
            key="upside down",
            diagnosis="Your ratio is upside down: numbers read, divided by "
            "numbers in the cache.",
            wrong=lambda calls, widths: (
                sum(widths.values()) / _read(calls, widths)
            ),
        ),
        Mistake(
            key="numbers, not times",
            diagnosis="You return the numbers read. Divide by what the cache "
            "holds for a token.",
            wrong=_read,
        ),
        Mistake(
            key="mean over the calls",
            diagnosis="You divide by the number of calls. What the calls "
            "read adds up.",
            wrong=lambda calls, widths: (
                _read(calls, widths) / sum(widths.values()) / len(calls)
            ),
        ),
        Mistake(
            key="first call only",
            diagnosis="You count the first call only. Does your function "
            "return inside its loop?",
            wrong=lambda calls, widths: (
                _read(calls[:1], widths) / sum(widths.values())
            ),
        ),
        Mistake(
            key="whole number",
            diagnosis="You round down: // drops what / keeps.",
            wrong=lambda calls, widths: (
                _read(calls, widths) // sum(widths.values())
            ),
        ),
        Mistake(
            key="part of the cache",
            diagnosis="You divide by what these calls touch. Divide by all "
            "that the cache holds, read or not.",
            wrong=_of_touched,
        ),
        Mistake(
            key="number of calls",
            diagnosis="You count calls. A call need not read the whole "
            "cache: add up the widths of what it reads.",
            wrong=lambda calls, widths: len(calls),
        ),
    ),
    hints=(
        "For two calls: which tensors does the first read, which the second?",
        "Add widths[name] over every name in every call, repeats included, "
        "and compare with what the cache holds once.",
        "sum(widths[name] for call in calls for name in call) / "
        "sum(widths.values()).",
    ),
)
