"""Exercise 24.1: effects of two parts, and their interaction."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def effects(y: np.ndarray) -> np.ndarray:
    """Return two main effects and the interaction of each seed, (n, 3).

    y (n, 2, 2): y[i, a, b] is the result of seed i, with the second map if a
    = 1, and with the norm if b = 1. The effect of a part is the result with
    it minus the result without it. Column 0: the effect of the second map,
    averaged over both values of b. Column 1: the effect of the norm, averaged
    over both values of a. Column 2: the effect of the norm where there is a
    second map, minus its effect where there is none.
    """
    second = (y[:, 1] - y[:, 0]).mean(1)
    norm = (y[:, :, 1] - y[:, :, 0]).mean(1)
    both = (y[:, 1, 1] - y[:, 1, 0]) - (y[:, 0, 1] - y[:, 0, 0])
    return np.stack([second, norm, both], axis=1)


def _cases() -> list[Case]:
    cases = [
        Case(name=name, args=(np.array([table]),))
        for name, table in (
            ("only the second map does something", [[3.0, 3.0], [1.0, 1.0]]),
            ("only the norm does something", [[3.0, 2.0], [3.0, 2.0]]),
            ("only both together do something", [[2.0, 2.0], [2.0, 1.0]]),
        )
    ]
    for n in (1, 5, 8):
        y = np.random.default_rng(n).normal(size=(n, 2, 2))
        cases.append(Case(name=f"seeds: {n}", args=(y,)))
    return cases


Effects = Callable[[np.ndarray], np.ndarray]

# Weights of the results [0, 0], [0, 1], [1, 0], [1, 1] in each column.
RIGHT = ((-0.5, -0.5, 0.5, 0.5), (-0.5, 0.5, -0.5, 0.5), (1, -1, -1, 1))


def _weighted(*columns: tuple[float, ...]) -> Effects:
    def answer(y: np.ndarray) -> np.ndarray:
        return y.reshape(len(y), 4) @ np.array(columns).T

    return answer


def _scaled(a: float, b: float, c: float) -> Effects:
    columns = zip((a, b, c), RIGHT, strict=True)
    return _weighted(*(tuple(s * w for w in row) for s, row in columns))


def _mean(y: np.ndarray) -> np.ndarray:
    return effects(y).mean(0)


EXERCISE = Exercise(
    id="24.1",
    cases=_cases,
    solution=effects,
    mistakes=(
        Mistake(
            key="parts exchanged",
            diagnosis="Your two main effects are exchanged. The first index "
            "after the seed says whether there is a second map, the last one "
            "whether there is a norm.",
            wrong=_weighted(RIGHT[1], RIGHT[0], RIGHT[2]),
        ),
        Mistake(
            key="without minus with",
            diagnosis="Your effects have the wrong sign. An effect is the "
            "result with the part minus the result without it.",
            wrong=_scaled(-1, -1, -1),
            also=(_scaled(-1, -1, 1),),
        ),
        Mistake(
            key="added to nothing",
            diagnosis="You measure each part where the other one is missing. "
            "A main effect is the mean of that and of the effect where the "
            "other part is present.",
            wrong=_weighted((-1, 0, 1, 0), (-1, 1, 0, 0), RIGHT[2]),
        ),
        Mistake(
            key="taken from the whole",
            diagnosis="You measure each part where the other one is present, "
            "as an ablation does. A main effect is the mean of that and of "
            "the effect where the other part is missing.",
            wrong=_weighted((0, -1, 0, 1), (0, 0, -1, 1), RIGHT[2]),
        ),
        Mistake(
            key="added, not averaged",
            diagnosis="You add the two effects of a part. A main effect is "
            "their mean.",
            wrong=_scaled(2, 2, 1),
        ),
        Mistake(
            key="interaction halved",
            diagnosis="Your interaction is half of what is asked. It is one "
            "effect of the norm minus the other, with no division. (Some "
            "books do divide: always say which.)",
            wrong=_scaled(1, 1, 0.5),
        ),
        Mistake(
            key="both against none",
            diagnosis="Your last column is the effect of both parts together. "
            "The interaction is what that has beyond the effects of the two "
            "alone: subtract them.",
            wrong=_weighted(RIGHT[0], RIGHT[1], (-1, 0, 0, 1)),
        ),
        Mistake(
            key="sign of the interaction",
            diagnosis="Your interaction has the wrong sign: the effect of the "
            "norm with a second map comes first.",
            wrong=_scaled(1, 1, -1),
        ),
        Mistake(
            key="mean over seeds",
            diagnosis="You average over the seeds. Return a row for each "
            "seed: the spread between them is needed for the interval.",
            wrong=_mean,
        ),
        slip(
            "results, not effects",
            "One of your main effects is a mean of results. An effect is a "
            "difference: with the part minus without it.",
            effects,
            ("(y[:, 1] - y[:, 0]).mean(1)", "y[:, 1].mean(1)"),
            ("(y[:, 1] - y[:, 0]).mean(1)", "y[:, 0].mean(1)"),
            ("(y[:, :, 1] - y[:, :, 0]).mean(1)", "y[:, :, 1].mean(1)"),
            ("(y[:, :, 1] - y[:, :, 0]).mean(1)", "y[:, :, 0].mean(1)"),
            ("(y[:, 1] - y[:, 0])", "(y[:, 1] + y[:, 0])"),
            ("(y[:, :, 1] - y[:, :, 0])", "(y[:, :, 1] + y[:, :, 0])"),
        ),
        slip(
            "one main effect added up",
            "One of your main effects is the sum of its two effects. It is "
            "their mean.",
            effects,
            ("y[:, 0]).mean(1)", "y[:, 0]).sum(1)"),
            ("y[:, :, 0]).mean(1)", "y[:, :, 0]).sum(1)"),
        ),
        slip(
            "one main effect reversed",
            "One of your main effects has the wrong sign: it is the result "
            "with the part minus the result without it.",
            effects,
            ("(y[:, 1] - y[:, 0])", "(y[:, 0] - y[:, 1])"),
            ("(y[:, :, 1] - y[:, :, 0])", "(y[:, :, 0] - y[:, :, 1])"),
        ),
        slip(
            "same result subtracted",
            "One of your main effects is 0: you subtract a result from "
            "itself.",
            effects,
            ("(y[:, 1] - y[:, 0])", "(y[:, 1] - y[:, -1])"),
            ("(y[:, :, 1] - y[:, :, 0])", "(y[:, :, 1] - y[:, :, -1])"),
        ),
        slip(
            "rows for columns",
            "Your effect of the norm compares models that differ in the "
            "second map too. Both of its values of b have the same a.",
            effects,
            ("(y[:, :, 1] - y[:, :, 0])", "(y[:, 1, :] - y[:, :, 0])"),
            ("(y[:, :, 1] - y[:, :, 0])", "(y[:, :, 1] - y[:, 0, :])"),
            ("(y[:, :, 1] - y[:, :, 0])", "(y[:, 1, :] - y[:, 0, :])"),
        ),
        slip(
            "one effect for the interaction",
            "Your last column is a single effect of the norm. The "
            "interaction is how much this effect changes with the second "
            "map.",
            effects,
            (
                "(y[:, 1, 1] - y[:, 1, 0]) - (y[:, 0, 1] - y[:, 0, 0])",
                "(y[:, 1, 1] - y[:, 1, 0])",
            ),
            (
                "(y[:, 1, 1] - y[:, 1, 0]) - (y[:, 0, 1] - y[:, 0, 0])",
                "(y[:, 0, 1] - y[:, 0, 0])",
            ),
        ),
        slip(
            "effects added",
            "Your last column adds the two effects of the norm. The "
            "interaction is their difference.",
            effects,
            (
                "(y[:, 1, 1] - y[:, 1, 0]) - (y[:, 0, 1] - y[:, 0, 0])",
                "(y[:, 1, 1] - y[:, 1, 0]) + (y[:, 0, 1] - y[:, 0, 0])",
            ),
        ),
        slip(
            "results mixed up in the interaction",
            "Your last column is not made of the four results, each once: "
            "with both parts and with none they are added, with one part "
            "subtracted.",
            effects,
            (
                "(y[:, 1, 1] - y[:, 1, 0]) - (y[:, 0, 1] - y[:, 0, 0])",
                "(y[:, 1, 1] + y[:, 1, 0]) - (y[:, 0, 1] - y[:, 0, 0])",
            ),
            (
                "(y[:, 1, 1] - y[:, 1, 0]) - (y[:, 0, 1] - y[:, 0, 0])",
                "(y[:, 1, 0] - y[:, 1, 1]) - (y[:, 0, 1] - y[:, 0, 0])",
            ),
            ("(y[:, 0, 1] - y[:, 0, 0])", "(y[:, 0, 1] + y[:, 0, 0])"),
            ("(y[:, 0, 1] - y[:, 0, 0])", "y[:, 0, 1]"),
            ("(y[:, 0, 1] - y[:, 0, 0])", "y[:, 0, 0]"),
            ("(y[:, 1, 1] - y[:, 1, 0])", "y[:, 1, 1]"),
            ("(y[:, 1, 1] - y[:, 1, 0])", "y[:, 1, 0]"),
            ("(y[:, 0, 1] - y[:, 0, 0])", "(y[:, 0, 1] - y[:, 1, 0])"),
            ("(y[:, 0, 1] - y[:, 0, 0])", "(y[:, 1, 0] - y[:, 0, 0])"),
            ("(y[:, 0, 1] - y[:, 0, 0])", "(y[:, 1, 1] - y[:, 0, 0])"),
            ("(y[:, 1, 1] - y[:, 1, 0])", "(y[:, 1, 1] - y[:, 0, 0])"),
            ("(y[:, 1, 1] - y[:, 1, 0])", "(y[:, 1, 1] - y[:, 0, 1])"),
            ("(y[:, 1, 1] - y[:, 1, 0])", "(y[:, 0, 1] - y[:, 1, 0])"),
        ),
    ),
    hints=(
        "Write the four results of one seed as a table of two rows and two "
        "columns. Which differences of two of them are effects of the norm?",
        "y[:, :, 1] - y[:, :, 0] holds both effects of the norm, (n, 2). "
        "Their mean is its main effect; their difference the interaction.",
        "np.stack([(y[:, 1] - y[:, 0]).mean(1), (y[:, :, 1] - y[:, :, 0])"
        ".mean(1), y[:, 1, 1] - y[:, 1, 0] - y[:, 0, 1] + y[:, 0, 0]], "
        "axis=1).",
    ),
)
