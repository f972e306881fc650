"""Exercise 18.4: tokens until a loss is reached."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def tokens_until(tokens: np.ndarray, losses: np.ndarray, goal: float) -> float:
    """Return after how many tokens the loss first reaches the goal.

    tokens (P,) increasing, losses (P,) measured there; the losses fall, but
    not at every step. Between two measurements the loss is taken as a
    straight line. If the first loss is at or below the goal, return the
    first entry of tokens; if the goal is never reached, infinity.
    """
    reached = losses <= goal
    if not reached.any():
        return float("inf")
    i = int(reached.argmax())
    if i == 0:
        return float(tokens[0])
    part = (losses[i - 1] - goal) / (losses[i - 1] - losses[i])
    return float(tokens[i - 1] + part * (tokens[i] - tokens[i - 1]))


def _cases() -> list[Case]:
    tokens = np.array([10.0, 20.0, 40.0, 50.0, 70.0])
    falling = np.array([4.0, 3.0, 2.5, 2.0, 1.0])
    bumpy = np.array([4.0, 2.4, 3.0, 2.0, 1.5])
    rising = np.array([4.0, 3.0, 1.0, 2.0, 3.0])
    many = np.arange(1.0, 9.0)
    long = np.array([3.74, 3.52, 3.46, 3.31, 1.78, 2.46, 1.97, 1.31])
    return [
        Case(
            name=name,
            args=(many if losses is long else tokens, losses, goal),
        )
        for name, losses, goal in (
            ("a falling curve, goal 2.75", falling, 2.75),
            ("a falling curve, goal 1.3", falling, 1.3),
            ("a curve with a bump, goal 2.6", bumpy, 2.6),
            ("a goal equal to a measurement", falling, 2.5),
            ("a goal that the first loss meets", falling, 4.5),
            ("a goal that is never reached", falling, 0.5),
            ("a curve that ends above the goal", rising, 2.5),
            ("a goal that is only touched", rising, 1.0),
            ("a long curve with bumps", long, 2.1),
        )
    ]


def _measured(tokens: np.ndarray, losses: np.ndarray, goal: float) -> float:
    reached = losses <= goal
    return float(tokens[reached.argmax()]) if reached.any() else float("inf")


def _point_before(
    tokens: np.ndarray, losses: np.ndarray, goal: float
) -> float:
    reached = losses <= goal
    if not reached.any():
        return float("inf")
    return float(tokens[max(int(reached.argmax()) - 1, 0)])


def _last_crossing(
    tokens: np.ndarray, losses: np.ndarray, goal: float
) -> float:
    above = np.flatnonzero(losses > goal)
    if not len(above):
        return float(tokens[0])
    if above[-1] == len(losses) - 1:
        return float("inf")
    i = int(above[-1]) + 1
    part = (losses[i - 1] - goal) / (losses[i - 1] - losses[i])
    return float(tokens[i - 1] + part * (tokens[i] - tokens[i - 1]))


def _at_the_end(tokens: np.ndarray, losses: np.ndarray, goal: float) -> float:
    return float(min(tokens_until(tokens, losses, goal), tokens[-1]))


def _extrapolated(
    tokens: np.ndarray, losses: np.ndarray, goal: float
) -> float:
    reached = losses <= goal
    i = int(reached.argmax()) if reached.any() else len(losses) - 1
    i = max(i, 1)
    part = (losses[i - 1] - goal) / (losses[i - 1] - losses[i])
    return float(tokens[i - 1] + part * (tokens[i] - tokens[i - 1]))


def _strict(tokens: np.ndarray, losses: np.ndarray, goal: float) -> float:
    return tokens_until(tokens, losses, float(np.nextafter(goal, -np.inf)))


def _last_must_reach(
    tokens: np.ndarray, losses: np.ndarray, goal: float
) -> float:
    if losses[-1] > goal:
        return float("inf")
    return tokens_until(tokens, losses, goal)


def _not_asked(tokens: np.ndarray, losses: np.ndarray, goal: float) -> float:
    reached = losses <= goal
    if not reached.any():
        return float(tokens[0])
    return tokens_until(tokens, losses, goal)


def _guarded(tokens: np.ndarray, losses: np.ndarray, goal: float) -> float:
    if not (losses <= goal).any():
        return float("inf")
    return _reversed(tokens, losses, goal)


def _index(tokens: np.ndarray, losses: np.ndarray, goal: float) -> float:
    return tokens_until(np.arange(len(tokens)) * 1.0, losses, goal)


def _interp(tokens: np.ndarray, losses: np.ndarray, goal: float) -> float:
    return float(np.interp(goal, losses, tokens))


def _reversed(tokens: np.ndarray, losses: np.ndarray, goal: float) -> float:
    return float(np.interp(goal, losses[::-1], tokens[::-1]))


def _around(tokens: np.ndarray, losses: np.ndarray, goal: float) -> float:
    reached = losses <= goal
    if not reached.any():
        return float("inf")
    i = int(reached.argmax())
    part = (losses[i - 1] - goal) / (losses[i - 1] - losses[i])
    return float(tokens[i - 1] + part * (tokens[i] - tokens[i - 1]))


def _backwards(tokens: np.ndarray, losses: np.ndarray, goal: float) -> float:
    reached = losses <= goal
    if not reached.any():
        return float("inf")
    i = int(reached.argmax())
    if i == 0:
        return float(tokens[0])
    part = (goal - losses[i]) / (losses[i - 1] - losses[i])
    return float(tokens[i - 1] + part * (tokens[i] - tokens[i - 1]))


EXERCISE = Exercise(
    id="18.4",
    cases=_cases,
    solution=tokens_until,
    mistakes=(
        Mistake(
            key="point after",
            diagnosis="You return the first measurement at or below the "
            "goal. The loss crossed the goal before it: interpolate.",
            wrong=_measured,
        ),
        Mistake(
            key="point before",
            diagnosis="You return the last measurement above the goal. "
            "Interpolate between it and the next one.",
            wrong=_point_before,
        ),
        Mistake(
            key="last crossing",
            diagnosis="Where the curve rises again, you return a later "
            "crossing. The first one is asked for.",
            wrong=_last_crossing,
        ),
        Mistake(
            key="only touched",
            diagnosis="You miss a goal that the curve touches and does not "
            "pass: at or below the goal counts, so use <=.",
            wrong=_strict,
        ),
        Mistake(
            key="judged by the last loss",
            diagnosis="You return infinity because the last loss is above "
            "the goal. The curve may have reached it before.",
            wrong=_last_must_reach,
        ),
        Mistake(
            key="never becomes the start",
            diagnosis="argmax of an array without True is 0, so a goal that "
            "is never reached gives the first number of tokens. Test "
            "reached.any() before.",
            wrong=_not_asked,
        ),
        Mistake(
            key="index -1",
            diagnosis="Where the first loss meets the goal, i is 0, and index "
            "i - 1 is -1, which is the last measurement. Return tokens[0] "
            "there.",
            wrong=_around,
        ),
        Mistake(
            key="index, not tokens",
            diagnosis="That is a place in the array. Return the number of "
            "tokens there.",
            wrong=_index,
        ),
        Mistake(
            key="never becomes the end",
            diagnosis="A goal that is never reached gives the last number of "
            "tokens: it looks like success at the last moment. Return "
            "infinity.",
            wrong=_at_the_end,
        ),
        Mistake(
            key="line prolonged",
            diagnosis="You prolong a line beyond the measurements, where the "
            "goal lies outside them. Treat both ends as the docstring says.",
            wrong=_extrapolated,
        ),
        Mistake(
            key="np.interp on a falling curve",
            diagnosis="np.interp needs x values that increase. Losses fall, "
            "and then its result means nothing.",
            wrong=_interp,
        ),
        Mistake(
            key="np.interp on a reversed curve",
            diagnosis="Reversed, the losses increase only if the curve falls "
            "at every step; and np.interp answers with an end of the curve "
            "where the goal is outside it.",
            wrong=_reversed,
            also=(_guarded,),
        ),
        Mistake(
            key="line run backwards",
            diagnosis="Your share of the way is counted from the wrong end. "
            "It is 0 where the loss is that of the earlier point.",
            wrong=_backwards,
        ),
        slip(
            "share rounded down",
            "You round the share of the way down to 0. Divide with /.",
            tokens_until,
            ("goal) / (", "goal) // ("),
        ),
        slip(
            "share upside down",
            "Your share of the way is above 1: the fall down to the goal is "
            "a part of the whole fall.",
            tokens_until,
            (
                "(losses[i - 1] - goal) / (losses[i - 1] - losses[i])",
                "(losses[i - 1] - losses[i]) / (losses[i - 1] - goal)",
            ),
        ),
        slip(
            "a loss for a share",
            "Your share of the way is a difference of losses. Divide the "
            "fall down to the goal by the whole fall.",
            tokens_until,
            (
                "(losses[i - 1] - goal) / (losses[i - 1] - losses[i])",
                "(losses[i - 1] - goal)",
            ),
            (
                "(losses[i - 1] - goal) / (losses[i - 1] - losses[i])",
                "(losses[i - 1] - losses[i])",
            ),
            (
                "(losses[i - 1] - goal) / (losses[i - 1] - losses[i])",
                "(losses[i - 1] - goal) * (losses[i - 1] - losses[i])",
            ),
        ),
        slip(
            "negative share",
            "Your share of the way is negative, or taken away: the crossing "
            "lies after the earlier point.",
            tokens_until,
            ("(losses[i - 1] - goal)", "(goal - losses[i - 1])"),
            ("/ (losses[i - 1] - losses[i])", "/ (losses[i] - losses[i - 1])"),
            ("] + part", "] - part"),
            ("(tokens[i] - tokens[i - 1])", "(tokens[i - 1] - tokens[i])"),
        ),
        slip(
            "measured from the later point",
            "Your share of the way begins at the later point, and your "
            "tokens at the earlier one.",
            tokens_until,
            ("(losses[i - 1] - goal)", "(losses[i] - goal)"),
        ),
        slip(
            "divided by a loss",
            "You divide by a loss, not by how much it falls between the two "
            "points.",
            tokens_until,
            ("(losses[i - 1] - losses[i])", "losses[i - 1]"),
            ("(losses[i - 1] - losses[i])", "losses[i]"),
            ("(losses[i - 1] - losses[i])", "(losses[i - 1] + losses[i])"),
        ),
        slip(
            "not from the goal",
            "The goal, or the earlier loss, is missing from your share of "
            "the way.",
            tokens_until,
            ("(losses[i - 1] - goal)", "losses[i - 1]"),
            ("(losses[i - 1] - goal)", "goal"),
            ("(losses[i - 1] - goal)", "(losses[i - 1] + goal)"),
        ),
        slip(
            "from the wrong point",
            "You go the share of the way from the later point. Begin at the "
            "earlier one.",
            tokens_until,
            ("tokens[i - 1] + part", "tokens[i] + part"),
        ),
        slip(
            "start left out",
            "You return how many tokens after the earlier point the goal is "
            "reached. Add its own.",
            tokens_until,
            ("tokens[i - 1] + part * (", "part * ("),
        ),
        slip(
            "share without a distance",
            "The share of the way is not multiplied by the tokens between "
            "the two points.",
            tokens_until,
            ("part * (tokens[i] - tokens[i - 1])", "part"),
            ("part * (tokens[i] - tokens[i - 1])", "part * tokens[i]"),
            ("part * (tokens[i] - tokens[i - 1])", "part * tokens[i - 1]"),
            (
                "part * (tokens[i] - tokens[i - 1])",
                "part / (tokens[i] - tokens[i - 1])",
            ),
            (
                "part * (tokens[i] - tokens[i - 1])",
                "part * (tokens[i] + tokens[i - 1])",
            ),
        ),
        slip(
            "other points",
            "You do not interpolate between the last point above the goal "
            "and the first at or below it.",
            tokens_until,
            ("/ (losses[i - 1] - losses[i])", "/ (losses[i - 2] - losses[i])"),
            ("/ (losses[i - 1] - losses[i])", "/ (losses[i + 1] - losses[i])"),
            ("(losses[i - 1] - goal)", "(losses[i - 2] - goal)"),
            ("(losses[i - 1] - goal)", "(losses[i + 1] - goal)"),
            ("tokens[i - 1] + part", "tokens[i - 2] + part"),
            ("tokens[i - 1] + part", "tokens[i + 1] + part"),
            ("(tokens[i] - tokens[i - 1])", "(tokens[i] - tokens[i - 2])"),
            ("(tokens[i] - tokens[i - 1])", "(tokens[i] - tokens[i + 1])"),
        ),
        slip(
            "first above",
            "You look for the first loss at or above the goal. Losses fall: "
            "it is reached at or below.",
            tokens_until,
            ("losses <= goal", "losses >= goal"),
        ),
    ),
    hints=(
        "First find the first measurement at or below the goal. Then look at "
        "the straight line that leads to it.",
        "reached = losses <= goal; i = reached.argmax() is the first True, "
        "and also 0 if there is none: test reached.any() before.",
        "part = (losses[i-1] - goal) / (losses[i-1] - losses[i]); then "
        "tokens[i-1] + part * (tokens[i] - tokens[i-1]). i = 0 and 'never' "
        "are cases of their own.",
    ),
)
