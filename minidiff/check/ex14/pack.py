"""Exercise 14.2: documents packed into rows of equal length."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.ex14.lists import unchanged

Documents = list[list[int]]


def pack(documents: list[list[int]], end: int, T: int) -> np.ndarray:
    """Join all documents into one row; return its windows (W, T + 1).

    After each document comes the id end. A window has T inputs and one id
    more, its last target, which is also the first input of the next window.
    What is left over at the end is dropped.
    """
    row = [x for document in documents for x in [*document, end]]
    W = (len(row) - 1) // T
    return np.array([row[w * T : (w + 1) * T + 1] for w in range(W)])


def _cases() -> list[Case]:
    return [
        Case(
            name=f"documents of {lengths} ids, T = {T}",
            args=(_documents(*lengths), 99, T),
        )
        for lengths, T in (
            ((3, 4), 4),  # nine ids with both ends: two windows exactly
            ((5, 2, 7, 4), 3),
            ((1, 1, 6), 2),
            ((12,), 5),
            ((4, 2), 4),  # eight ids: the last target of a second is missing
        )
    ]


def _documents(*lengths: int) -> Documents:
    ends = np.cumsum(lengths)
    return [
        list(range(int(end) - n, int(end)))
        for n, end in zip(lengths, ends, strict=True)
    ]


def _row(documents: Documents, end: int) -> list[int]:
    return [x for document in documents for x in [*document, end]]


def _windows(row: list[int], T: int) -> np.ndarray:
    W = (len(row) - 1) // T
    return np.array([row[w * T : (w + 1) * T + 1] for w in range(W)])


def _of(
    row: Callable[[Documents, int], list[int]],
) -> Callable[[Documents, int, int], np.ndarray]:
    return lambda documents, end, T: _windows(row(documents, end), T)


def _steps_of_one_more(documents: Documents, end: int, T: int) -> np.ndarray:
    row = _row(documents, end)
    starts = range(0, len(row) - T, T + 1)
    return np.array([row[i : i + T + 1] for i in starts])


def _every_place(documents: Documents, end: int, T: int) -> np.ndarray:
    row = _row(documents, end)
    return np.array([row[i : i + T + 1] for i in range(len(row) - T)])


def _one_too_few(documents: Documents, end: int, T: int) -> np.ndarray:
    row = _row(documents, end)
    starts = range(0, len(row) - T - 1, T)
    return np.array([row[i : i + T + 1] for i in starts])


def _counted(
    number: Callable[[int, int], int],
) -> Callable[[Documents, int, int], np.ndarray]:
    """Windows that begin where they should, but fewer."""

    def answer(documents: Documents, end: int, T: int) -> np.ndarray:
        row = _row(documents, end)
        W = number(len(row), T)
        return np.array([row[w * T : (w + 1) * T + 1] for w in range(W)])

    return answer


def _inputs_only(documents: Documents, end: int, T: int) -> np.ndarray:
    return pack(documents, end, T)[:, :-1]


def _inputs_to_the_end(documents: Documents, end: int, T: int) -> np.ndarray:
    row = _row(documents, end)
    W = len(row) // T
    return np.array(row[: W * T]).reshape(W, T)


def _short_window(documents: Documents, end: int, T: int) -> np.ndarray:
    row = _row(documents, end)
    W = len(row) // T
    return np.array([row[w * T : (w + 1) * T + 1] for w in range(W)])


def _padded(documents: Documents, end: int, T: int) -> np.ndarray:
    row = _row(documents, end)
    W = -(-(len(row) - 1) // T)
    row = row + [end] * (W * T + 1 - len(row))
    return _windows(row, T)


def _each_alone(documents: Documents, end: int, T: int) -> np.ndarray:
    rows = [_row([document], end) for document in documents]
    found = [w for row in rows for w in _windows(row, T)]
    return np.array(found)


def _ends_written(documents: Documents, end: int, T: int) -> np.ndarray:
    for document in documents:
        document.append(end)
    return _windows([x for document in documents for x in document], T)


EXERCISE = Exercise(
    id="14.2",
    run=unchanged,
    cases=_cases,
    solution=pack,
    mistakes=(
        Mistake(
            key="no ends",
            diagnosis="The ends are missing: one document runs into the "
            "next, and nothing says so.",
            wrong=_of(
                lambda documents, end: [x for d in documents for x in d]
            ),
        ),
        Mistake(
            key="one end",
            diagnosis="One end stands behind all of them. Each document "
            "needs its own.",
            wrong=_of(
                lambda documents, end: (
                    [x for d in documents for x in d] + [end]
                )
            ),
        ),
        Mistake(
            key="end in front",
            diagnosis="The end stands in front of each document. It comes "
            "behind.",
            wrong=_of(
                lambda documents, end: [
                    x for document in documents for x in [end, *document]
                ]
            ),
        ),
        Mistake(
            key="steps of T + 1",
            diagnosis="Your windows share no id, so the first id of a window "
            "is never a target. Begin each window at the last id of the one "
            "before: steps of T.",
            wrong=_steps_of_one_more,
        ),
        Mistake(
            key="steps of 1",
            diagnosis="Your windows begin at every place. Side by side they "
            "begin T places apart.",
            wrong=_every_place,
        ),
        Mistake(
            # Without the last end the very same window is lost.
            key="last window lost",
            diagnosis="Where the ids come out even you lose the last window. "
            "There is an end behind the last document too, and a window from "
            "i takes ids i to i + T, both included.",
            wrong=_one_too_few,
        ),
        Mistake(
            key="windows counted by T + 1",
            diagnosis="You lose windows at the end. Each has T + 1 ids, but "
            "shares one with the next: (len(row) - 1) // T of them fit.",
            wrong=_counted(lambda n, T: n // (T + 1)),
        ),
        Mistake(
            key="one window too few",
            diagnosis="You return one window too few: (len(row) - 1) // T "
            "of them fit, and range(W) runs to W - 1 already.",
            wrong=_counted(lambda n, T: (n - 1) // T - 1),
            also=(_counted(lambda n, T: n // T - 1),),
        ),
        Mistake(
            key="T ids a window",
            diagnosis="Your windows have T ids. T inputs need one id more, "
            "the last target.",
            wrong=_inputs_only,
            also=(_inputs_to_the_end,),
        ),
        Mistake(
            key="short window",
            diagnosis="Where T divides the number of ids your last window "
            "lacks its target. One id is needed beyond the windows: "
            "(len(row) - 1) // T of them.",
            wrong=_short_window,
        ),
        Mistake(
            key="padded",
            diagnosis="You fill up the last window. What is left over is "
            "dropped.",
            wrong=_padded,
        ),
        Mistake(
            key="each document alone",
            diagnosis="You cut each document by itself, and lose the rest of "
            "every one. Put them all in one row first.",
            wrong=_each_alone,
        ),
        Mistake(
            key="ends written",
            diagnosis="You append to the documents themselves: the next call "
            "would find two ends behind each. Append to a list of your own.",
            wrong=_ends_written,
        ),
    ),
    hints=(
        "First one long list, then the cuts. How many windows fit?",
        "Window w is row[w * T : (w + 1) * T + 1].",
        "row = [x for d in documents for x in [*d, end]], and there are "
        "(len(row) - 1) // T windows.",
    ),
)
