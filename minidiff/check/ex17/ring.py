"""Exercise 17.2: one round of the first half of a ring all-reduce."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def ring_round(chunks: np.ndarray, r: int) -> np.ndarray:
    """Return everyone's chunks after round r, 0 to W - 2, of the first half.

    chunks (W, W, n): processes, chunks, numbers, before that round. All send
    one chunk at the same time to the right; the sender keeps its own copy.
    """
    W, new = len(chunks), chunks.copy()
    for w in range(W):
        c = (w - r) % W
        new[(w + 1) % W, c] += chunks[w, c]
    return new


def _cases() -> list[Case]:
    return [
        Case(
            name=f"{W} processes, round {r}, chunks of {n}",
            args=(np.random.default_rng(W).normal(size=(W, W, n)), r),
        )
        for W, n in ((2, 1), (3, 1), (4, 3), (5, 2))
        for r in range(W - 1)
    ]


Choice = Callable[[int, int, int], int]


def _each(
    chunk: Choice,
    to: Choice = lambda w, r, W: (w + 1) % W,
    place: Choice | None = None,
) -> Callable[[np.ndarray, int], np.ndarray]:
    """Each process sends that chunk there, where it joins that place."""

    def answer(chunks: np.ndarray, r: int) -> np.ndarray:
        W, new = len(chunks), chunks.copy()
        for w in range(W):
            c = chunk(w, r, W)
            p = c if place is None else place(w, r, W)
            new[to(w, r, W), p] += chunks[w, c]
        return new

    return answer


def _chunk(w: int, r: int, W: int) -> int:
    return (w - r) % W


def _left(w: int, r: int, W: int) -> int:
    return (w - 1) % W


def _replaced(chunks: np.ndarray, r: int) -> np.ndarray:
    W, new = len(chunks), chunks.copy()
    for w in range(W):
        c = (w - r) % W
        new[(w + 1) % W, c] = chunks[w, c]
    return new


def _handed_over(chunks: np.ndarray, r: int) -> np.ndarray:
    new = ring_round(chunks, r)
    W = len(chunks)
    for w in range(W):
        new[w, (w - r) % W] = 0
    return new


def _whole_vector(chunks: np.ndarray, r: int) -> np.ndarray:
    return chunks + np.roll(chunks, 1, axis=0)


def _no_ring(chunks: np.ndarray, r: int) -> np.ndarray:
    W, new = len(chunks), chunks.copy()
    for w in range(W - 1):
        c = (w - r) % W
        new[w + 1, c] += chunks[w, c]
    return new


def _all_rounds(chunks: np.ndarray, r: int) -> np.ndarray:
    for i in range(r + 1):
        chunks = ring_round(chunks, i)
    return chunks


def _whole_half(chunks: np.ndarray, r: int) -> np.ndarray:
    for i in range(len(chunks) - 1):
        chunks = ring_round(chunks, i)
    return chunks


def _summed(chunks: np.ndarray, r: int) -> np.ndarray:
    return np.broadcast_to(chunks.sum(0), chunks.shape)


def _from_there(
    get: Callable[[int, int, int], int],
) -> Callable[[np.ndarray, int], np.ndarray]:
    """Each process fetches from its right neighbour."""

    def answer(chunks: np.ndarray, r: int) -> np.ndarray:
        W, new = len(chunks), chunks.copy()
        for w in range(W):
            c = get(w, r, W)
            new[w, c] += chunks[(w + 1) % W, c]
        return new

    return answer


EXERCISE = Exercise(
    id="17.2",
    cases=_cases,
    solution=ring_round,
    mistakes=(
        Mistake(
            key="same chunk each round",
            diagnosis="Process w sends chunk w in every round. After the "
            "first it passes on the chunk it has just added to.",
            wrong=_each(lambda w, r, W: w),
        ),
        Mistake(
            key="next chunk",
            diagnosis="You go up: w + r. The chunk that process w has just "
            "added to came from the left, so it is one lower each round: "
            "w - r.",
            wrong=_each(lambda w, r, W: (w + r) % W),
        ),
        Mistake(
            key="a round off",
            diagnosis="You are one round off: in round 0 process w sends "
            "chunk w.",
            wrong=_each(lambda w, r, W: (w - r - 1) % W),
            also=(
                _each(lambda w, r, W: (w + r + 1) % W),
                _each(lambda w, r, W: (w - r + 1) % W),
            ),
        ),
        Mistake(
            key="chunk of the round",
            diagnosis="Everyone sends chunk r. Each process sends another "
            "one, so that all chunks are on their way at once.",
            wrong=_each(lambda w, r, W: r),
        ),
        Mistake(
            key="to the left",
            diagnosis="You send to the left. The right neighbour of w is "
            "(w + 1) % W.",
            wrong=_each(_chunk, _left),
            also=(
                _each(lambda w, r, W: (w + r) % W, _left),
                _from_there(lambda w, r, W: (w + 1 - r) % W),
                _from_there(_chunk),
            ),
        ),
        Mistake(
            key="replaced",
            diagnosis="You put the chunk in the neighbour's place. In the "
            "first half the neighbour adds it; replacing is the second.",
            wrong=_replaced,
        ),
        Mistake(
            key="handed over",
            diagnosis="You take the chunk away from the sender. It keeps its "
            "copy, which is not needed but costs nothing.",
            wrong=_handed_over,
        ),
        Mistake(
            key="wrong place",
            diagnosis="The chunk is added to another one. Chunk c joins the "
            "neighbour's chunk c: they are the same piece of the vector.",
            wrong=_each(_chunk, place=lambda w, r, W: (w + 1 - r) % W),
            also=(
                _each(_chunk, place=lambda w, r, W: (w + 1) % W),
                _each(_chunk, place=lambda w, r, W: w),
            ),
        ),
        Mistake(
            key="whole vector",
            diagnosis="You send all chunks. One for each process is what "
            "makes the ring cheap.",
            wrong=_whole_vector,
        ),
        Mistake(
            key="no ring",
            diagnosis="The last process sends nothing. Its right neighbour "
            "is process 0.",
            wrong=_no_ring,
        ),
        Mistake(
            key="past the neighbour",
            diagnosis="You send a process's own chunk past its neighbour. In "
            "every round all send to the right neighbour, what they hold "
            "before that round.",
            wrong=_each(lambda w, r, W: w, lambda w, r, W: (w + r + 1) % W),
        ),
        Mistake(
            key="several rounds",
            diagnosis="You do more than one round. What comes in is the "
            "state before round r: do that one alone.",
            wrong=_all_rounds,
            also=(_whole_half,),
        ),
        Mistake(
            key="the result",
            diagnosis="That is the result of the whole all-reduce. This is "
            "one round: each process receives one chunk.",
            wrong=_summed,
        ),
        slip(
            "subtracted",
            "The neighbour's chunk becomes smaller. It adds what it receives.",
            ring_round,
            ("+= chunks", "-= chunks"),
        ),
        slip(
            "nothing sent",
            "No chunk has changed. Each process receives one, and adds it.",
            ring_round,
            ("new[(w + 1) % W, c] += chunks[w, c]", "pass"),
        ),
        slip(
            "indices exchanged",
            "The first index is the process, the second the chunk: yours "
            "are exchanged somewhere.",
            ring_round,
            (
                "new[(w + 1) % W, c] += chunks[w, c]",
                "new[c, (w + 1) % W] += chunks[c, w]",
            ),
            ("new[(w + 1) % W, c]", "new[c, (w + 1) % W]"),
            ("chunks[w, c]", "chunks[c, w]"),
        ),
        slip(
            "kept to itself",
            "Each process adds a chunk of its own to itself. The right "
            "neighbour adds it.",
            ring_round,
            ("new[(w + 1) % W, c]", "new[w, c]"),
        ),
        slip(
            "one too far",
            "The chunk arrives one process too far to the right.",
            ring_round,
            ("new[(w + 1) % W, c]", "new[(w + 2) % W, c]"),
        ),
        slip(
            "the other sign",
            "The chunk of process w goes down as w goes up. Process w "
            "begins with chunk w in round 0.",
            ring_round,
            ("(w - r) % W", "(r - w) % W"),
        ),
    ),
    hints=(
        "Which chunk did process w add to in round 0? It came from the "
        "process on the left, who sent its own number.",
        "So in round 1 process w sends chunk w - 1, in round r chunk "
        "(w - r) % W.",
        "In a loop over w, on a copy: new[(w + 1) % W, c] += chunks[w, c] "
        "with c = (w - r) % W.",
    ),
)
