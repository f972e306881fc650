"""Chapter 17: right and wrong answers written another way than ours."""

import numpy as np


def by_gradients(counts, rank, weight=None):
    """Ask which factor makes the mean right, from gradients of one rank."""
    W = len(counts)
    own = 1.0  # its mean gradient; the others' are 0
    wanted = own * counts[rank] / sum(counts)
    return wanted / (own / W)


def share(counts, rank):
    part = np.array(counts) / np.sum(counts)
    return part[rank]


def even(counts, rank):
    n = sum(counts) / len(counts)
    return n / n


def inverse(counts, rank):
    mean = sum(counts) / len(counts)
    return mean / counts[rank]


def others(counts, rank):
    rest = sum(n for i, n in enumerate(counts) if i != rank)
    return counts[rank] / max(rest, 1) * len(counts)


def move(chunks, r, *, step=1, index=None, add=True, keep=True, place=None):
    """All at once, by index arrays."""
    W = chunks.shape[0]
    w = np.arange(W)
    c = (w - r) % W if index is None else index(w, r, W) % W
    p = c if place is None else place(c) % W
    out = np.array(chunks)
    there = (w + step) % W
    if not keep:
        out[w, c] = 0
        out[there, p] = chunks[there, p] + chunks[w, c]
        # What was sent away and came in again are different chunks.
    elif add:
        out[there, p] = chunks[there, p] + chunks[w, c]
    else:
        out[there, p] = chunks[w, c]
    return out


def by_receiver(chunks, r):
    """Each process looks to its left."""
    rows = []
    for w, mine in enumerate(chunks):
        mine = mine.copy()
        left = w - 1  # -1 is the last one
        c = (w - 1 - r) % len(chunks)
        mine[c] = mine[c] + chunks[left][c]
        rows.append(mine)
    return np.stack(rows)


def line(chunks, r):
    out = by_receiver(chunks, r)
    out[0] = chunks[0]
    return out


def up_to(chunks, r):
    state = chunks
    done = 0
    while done <= r:
        state = by_receiver(state, done)
        done += 1
    return state


def everything_right(chunks, r):
    return np.stack([part + chunks[w - 1] for w, part in enumerate(chunks)])


def count(W, N, gathers, scatters, *, chunk=None, size=4):
    """Round by round."""
    total = 0
    for _ in range(gathers + scatters):
        for _ in range(W - 1):
            total += size * (N / W if chunk is None else chunk)
    return total


def right_count(kind, W, N, m, **changes):
    if kind == "ddp":
        return count(W, N, 1, 1, **changes)
    return count(W, N, 2 * m, 1, **changes)


def wrong_count(ddp, fsdp):
    def answer(kind, W, N, m):
        return count(W, N, *(ddp(m) if kind == "ddp" else fsdp(m)))

    return answer


def seconds(N, W, f, b, *, ring=2, operations=6, size=4):
    chunk = size * N / W
    talk = ring * (W - 1) * chunk / b
    return talk, operations * N / f


def ratio(*args, **changes):
    talk, token = seconds(*args, **changes)
    return talk / token


RIGHT = {
    "17.1": by_gradients,
    "17.2": by_receiver,
    "17.3": right_count,
    "17.4": lambda N, W, f, b: f * (W - 1) * 4 / (3 * W * b),
}

WRONG = {
    "17.1": {
        "mean forgotten": share,
        "all alike": even,
        "upside down": inverse,
        "own count": lambda counts, rank: sum(
            1.0 for _ in range(counts[rank])
        ),
        "divided twice": lambda counts, rank: (
            share(counts, rank) / len(counts)
        ),
        "against the others": others,
        "against the largest": lambda counts, rank: (
            counts[rank] / sorted(counts)[-1]
        ),
        "always process 0": lambda counts, rank: by_gradients(counts, 0),
        "whole division": lambda counts, rank: (
            (
                counts[rank] * len(counts)
                - counts[rank] * len(counts) % sum(counts)
            )
            / sum(counts)
        ),
        "two processes": lambda counts, rank: share(counts, rank) / 0.5,
    },
    "17.2": {
        "same chunk each round": lambda x, r: move(x, 0),
        "next chunk": lambda x, r: move(x, -r),
        "a round off": lambda x, r: move(x, r + 1),
        "chunk of the round": lambda x, r: move(
            x, r, index=lambda w, r, W: 0 * w + r
        ),
        "to the left": lambda x, r: move(x, r, step=-1),
        "replaced": lambda x, r: move(x, r, add=False),
        "handed over": lambda x, r: move(x, r, keep=False),
        "wrong place": lambda x, r: move(x, r, place=lambda c: c + 1),
        "whole vector": everything_right,
        "no ring": line,
        "past the neighbour": lambda x, r: move(x, 0, step=r + 1),
        "several rounds": up_to,
        "the result": lambda x, r: np.stack([np.sum(x, axis=0)] * len(x)),
        "subtracted": lambda x, r: 2 * x - by_receiver(x, r),
        "nothing sent": lambda x, r: x.copy(),
        "indices exchanged": lambda x, r: by_receiver(
            x.swapaxes(0, 1), r
        ).swapaxes(0, 1),
        "kept to itself": lambda x, r: (
            x + np.roll(by_receiver(x, r) - x, -1, axis=0)
        ),
        "one too far": lambda x, r: (
            x + np.roll(by_receiver(x, r) - x, 1, axis=0)
        ),
        "the other sign": lambda x, r: move(
            x, r, index=lambda w, r, W: (r - w) % W
        ),
    },
    "17.3": {
        "numbers, not bytes": lambda *args: right_count(*args, size=1),
        "all that is held": lambda *args: right_count(*args, size=16),
        "all of N": lambda kind, W, N, m: right_count(
            kind, W, N, m, chunk=N / (W - 1)
        ),
        "one chunk": lambda kind, W, N, m: (
            right_count(kind, W, N, m) / (W - 1)
        ),
        "N each round": lambda kind, W, N, m: right_count(
            kind, W, N, m, chunk=N
        ),
        "fsdp as ddp": wrong_count(lambda m: (1, 1), lambda m: (1, 1)),
        "gathered once": wrong_count(lambda m: (1, 1), lambda m: (m, 1)),
        "two in each part": wrong_count(lambda m: (1, 1), lambda m: (m, m)),
        "gather as a whole ring": wrong_count(
            lambda m: (1, 1), lambda m: (4 * m, 2)
        ),
        "gathered in one part": wrong_count(
            lambda m: (1, 1), lambda m: (2, 1)
        ),
        "scattered in each part": wrong_count(
            lambda m: (1, 1), lambda m: (2 * m, m)
        ),
        "ddp in each part": wrong_count(
            lambda m: (m, m), lambda m: (2 * m, 1)
        ),
        "all-reduce at the end": wrong_count(
            lambda m: (1, 1), lambda m: (2 * m + 1, 1)
        ),
        "half an all-reduce": wrong_count(
            lambda m: (0, 1), lambda m: (2 * m, 1)
        ),
        "kinds mixed up": lambda kind, W, N, m: right_count(
            {"ddp": "fsdp", "fsdp": "ddp"}[kind], W, N, m
        ),
        "another number of halves": wrong_count(
            lambda m: (1, 1), lambda m: (3 * m, 1)
        ),
        "ddp as fsdp": wrong_count(lambda m: (2 * m, 1), lambda m: (2 * m, 1)),
        "one half for all": wrong_count(lambda m: (0, 1), lambda m: (0, 1)),
        "another number of rounds": lambda kind, W, N, m: (
            right_count(kind, W, N, m) * (W + 1) / (W - 1)
        ),
        "N left out": lambda kind, W, N, m: right_count(kind, W, 1, m),
    },
    "17.4": {
        "upside down": lambda *args: seconds(*args)[1] / seconds(*args)[0],
        "speeds exchanged": lambda N, W, f, b: ratio(N, W, b, f),
        "forward only": lambda *args: ratio(*args, operations=2),
        "no operations": lambda *args: ratio(*args, operations=1),
        "numbers, not bytes": lambda *args: ratio(*args, size=1),
        "half of the ring": lambda *args: ratio(*args, ring=1),
        "all of N": lambda N, W, f, b: f * 4 / (3 * b),
        "one chunk": lambda N, W, f, b: ratio(N, W, f, b) / (W - 1),
        "W times as many": lambda N, W, f, b: ratio(N, W, f, b, ring=2 * W),
        "FSDP": lambda *args: ratio(*args, ring=3),
        "divided by W": lambda N, W, f, b: f * (W - 1) * 4 / (3 * W**2 * b),
        "N on one side": lambda N, W, f, b: ratio(N, W, f, b) * N,
        "a time": lambda *args: seconds(*args)[0],
        "multiplied by a speed": lambda N, W, f, b: ratio(N, W, f, 1 / b),
        "a speed left out": lambda N, W, f, b: ratio(N, W, f, 1.0),
        "another number of rounds": lambda N, W, f, b: (
            ratio(N, W, f, b) * (W + 1) / (W - 1)
        ),
        "rounded down": lambda N, W, f, b: (
            (2 * (W - 1) / W * 4 * N / b) // (6 * N / f)
        ),
    },
}
