"""Exercise 17.1: what a process multiplies its own mean loss by."""

from minidiff.check.core import Case, Exercise, Mistake


def factor(counts: list[int], rank: int) -> float:
    """Return what the process `rank` multiplies its own mean loss by.

    counts: targets that count, 1 or more, in each process's rows. The plain
    mean over the processes' gradients must then be the gradient of the mean
    over all targets.
    """
    return len(counts) * counts[rank] / sum(counts)


def _cases() -> list[Case]:
    return [
        Case(name=f"counts = {list(counts)}, rank = {rank}", args=args)
        for counts in ((3, 1), (4, 4, 4), (1, 32, 1, 66), (7,))
        for rank in range(len(counts))
        for args in [(list(counts), rank)]
    ]


EXERCISE = Exercise(
    id="17.1",
    cases=_cases,
    solution=factor,
    mistakes=(
        Mistake(
            key="mean forgotten",
            diagnosis="That is the weight in equation 17.1. The plain mean "
            "divides by W once more, so multiply by W.",
            wrong=lambda counts, rank: counts[rank] / sum(counts),
        ),
        Mistake(
            key="all alike",
            diagnosis="You give every process the same factor. One with "
            "more targets must weigh more.",
            wrong=lambda counts, rank: 1.0,
            also=(
                lambda counts, rank: 1 / len(counts),
                lambda counts, rank: float(len(counts)),
                lambda counts, rank: 1 / sum(counts),
                lambda counts, rank: len(counts) / sum(counts),
            ),
        ),
        Mistake(
            key="upside down",
            diagnosis="Your factor is large where there are few targets. "
            "Turn the fraction over: a target weighs the same everywhere.",
            wrong=lambda counts, rank: (
                sum(counts) / (len(counts) * counts[rank])
            ),
            also=(
                lambda counts, rank: sum(counts) / counts[rank],
                lambda counts, rank: len(counts) * sum(counts) / counts[rank],
                lambda counts, rank: 1 / counts[rank],
            ),
        ),
        Mistake(
            key="own count",
            diagnosis="You multiply by the process's own count, which "
            "makes a sum over targets. Divide by their number in all.",
            wrong=lambda counts, rank: float(counts[rank]),
            also=(
                lambda counts, rank: len(counts) * counts[rank],
                lambda counts, rank: counts[rank] / len(counts),
            ),
        ),
        Mistake(
            key="divided twice",
            diagnosis="You divide by W as well. The mean over processes does "
            "that already: multiply by W to undo it.",
            wrong=lambda counts, rank: (
                counts[rank] / (len(counts) * sum(counts))
            ),
        ),
        Mistake(
            key="against the others",
            diagnosis="You compare the process with the others. The mean is "
            "over all targets, its own among them.",
            wrong=lambda counts, rank: (
                len(counts) * counts[rank] / max(1, sum(counts) - counts[rank])
            ),
            also=(
                lambda counts, rank: (
                    counts[rank] / max(1, sum(counts) - counts[rank])
                ),
                lambda counts, rank: (
                    len(counts) * counts[rank] / (sum(counts) - counts[rank])
                ),
                lambda counts, rank: (
                    counts[rank] / (sum(counts) - counts[rank])
                ),
            ),
        ),
        Mistake(
            key="against the largest",
            diagnosis="You compare with the process that has most. Divide by "
            "the number of all targets.",
            wrong=lambda counts, rank: counts[rank] / max(counts),
            also=(
                lambda counts, rank: len(counts) * counts[rank] / max(counts),
            ),
        ),
        Mistake(
            key="always process 0",
            diagnosis="You use the count of process 0, whoever asks.",
            wrong=lambda counts, rank: len(counts) * counts[0] / sum(counts),
            also=(lambda counts, rank: counts[0] / sum(counts),),
        ),
        Mistake(
            key="whole division",
            diagnosis="// throws away what is after the point. Use /.",
            wrong=lambda counts, rank: (
                len(counts) * counts[rank] // sum(counts)
            ),
            also=(lambda counts, rank: counts[rank] // sum(counts),),
        ),
        Mistake(
            key="two processes",
            diagnosis="You multiply by 2, but there may be more processes: "
            "len(counts) of them.",
            wrong=lambda counts, rank: 2 * counts[rank] / sum(counts),
        ),
    ),
    hints=(
        "Equation 17.1 has a weight for each process. Which one? And what "
        "does a plain mean do that the equation does not?",
        "The weight is counts[rank] / sum(counts). The plain mean divides "
        "the sum of gradients by W = len(counts).",
        "len(counts) * counts[rank] / sum(counts).",
    ),
)
