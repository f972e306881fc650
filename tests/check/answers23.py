"""Chapter 23: right and wrong answers written another way than ours."""

import math
from functools import partial

import numpy as np


def picked(
    logits, k, size=abs, late=None, future=False, start=1, up=False, once=False
):
    """Collect each head's logits in a list, and sort it."""
    found = []
    for head in logits:
        seen = [
            size(float(head[t, s]))
            for t in range(len(head))
            for s in range(len(head) if future else t + 1)
        ]
        seen = sorted(set(seen) if once else seen, reverse=not up)
        value = seen[min(k - 1 if start else k, len(seen) - 1)]
        found.append(late(value) if late else value)
    return np.array(found)


def of_all_heads(logits, k):
    every = [
        abs(x) for h in logits for t, row in enumerate(h) for x in row[: t + 1]
    ]
    return float(sorted(every)[len(every) - k])


def searched(S, eps, lam, others=None, second=None, share=None):
    """Halve an interval of leads until it is tiny."""
    others = S - 1 if others is None else others
    taken = lam / S if second is None else second(S, lam)

    def elsewhere(lead):
        each = math.exp(-lead) / (1 + others * math.exp(-lead))
        return others * (each - taken)

    allowed = eps if share is None else share(S, eps)
    low, high = 0.0, 80.0
    if elsewhere(low) <= allowed:
        return 0.0
    for _ in range(200):
        middle = (low + high) / 2
        if elsewhere(middle) <= allowed:
            high = middle
        else:
            low = middle
    return high


def near_zero(S, eps, lam):
    """Start from the far side: the sum elsewhere is -eps."""
    a = lam * (S - 1) / S - eps
    if a <= 0:
        return math.inf
    return 0.0 if a >= (S - 1) / S else math.log(S - 1) + math.log(1 / a - 1)


def unguarded(S, eps, lam):
    a = eps + lam - lam / S
    return math.log(S - 1) + math.log1p(-a) - math.log(a)


def to_one(S, eps, lam):
    a = eps + lam - lam / S
    if a >= 1 - 1 / S or a >= 0.5:
        return 0.0
    return math.log(1 / a - 1)


def shared_by_all(S, eps, lam):
    a = eps + lam - lam / S
    return 0.0 if a >= 1 - 1 / S else math.log(S / a - S)


def by_loops(
    q,
    k,
    bits,
    *,
    scale="head",
    size=abs,
    top=lambda b: 2 ** (b - 1) - 1,
    to=np.rint,
    back=True,
    root=True,
    causal=True,
):
    """One row at a time."""
    H, T, D = q.shape
    A = np.zeros((H, T, T))
    exact = np.array(
        [
            [[q[h, t] @ k[h, s] for s in range(T)] for t in range(T)]
            for h in range(H)
        ]
    ) / (math.sqrt(D) if root else 1)
    seen = {
        h: [size(exact[h, t, s]) for t in range(T) for s in range(t + 1)]
        for h in range(H)
    }
    for h in range(H):
        for t in range(T):
            largest = {
                "head": max(seen[h]),
                "all keys": max(map(size, exact[h].ravel())),
                "all heads": max(max(values) for values in seen.values()),
                "query": max(map(size, exact[h, t, : t + 1])),
            }[scale]
            row = exact[h, t, : t + 1 if causal else T]
            step = largest / top(bits)
            row = to(row / step) * (step if back else 1)
            weights = np.exp(row - row.max())
            A[h, t, : len(row)] = weights / weights.sum()
    return A


def exact_map(q, k, bits):
    return by_loops(q, k, bits, to=lambda x: x)


def coarse_weights(q, k, bits):
    A = exact_map(q, k, bits)
    for head in A:
        step = head.max() / (2 ** (bits - 1) - 1)
        head[:] = np.rint(head / step) * step
    return A


def two_branches(
    logits,
    lam,
    bits,
    *,
    scale="query",
    size=abs,
    top=lambda b: 2 ** (b - 1) - 1,
    zero=1.0,
    sign=-1,
    rounds=True,
):
    """Loop over branches and queries."""
    T = logits.shape[-1]
    out = np.zeros((T, T))
    for b, weight in enumerate((1, sign * lam)):
        for t in range(T):
            row = logits[b, t, : t + 1]
            among = {
                "query": row,
                "map": [
                    logits[b, u, s] for u in range(T) for s in range(u + 1)
                ],
                "both": np.concatenate(
                    [logits[0, t, : t + 1], logits[1, t, : t + 1]]
                ),
                "future": logits[b, t],
            }
            if scale == "key":
                largest = np.array(
                    [max(abs(logits[b, s:, s])) for s in range(t + 1)]
                )
            else:
                largest = np.array(max(size(x) for x in among[scale]))
            step = largest / top(bits)
            step = np.where(step == 0, zero, step)
            with np.errstate(all="ignore"):
                near = np.rint(row / step) * step if rounds else row
            weights = np.exp(near - near.max())
            out[t, : t + 1] += weight * weights / weights.sum()
    return out


def rows_on_a_grid(x, bits):
    x = np.tril(x)
    for t in range(x.shape[-1]):
        for row in x[..., t, :].reshape(-1, x.shape[-1]):
            step = max(abs(row)) / (2 ** (bits - 1) - 1) or 1.0
            row[:] = np.rint(row / step) * step
    return x


def late_grid(logits, lam, bits):
    return rows_on_a_grid(two_branches(logits, lam, bits, rounds=False), bits)


def one_softmax(logits, lam, bits):
    x = np.stack([rows_on_a_grid(b, bits) for b in logits])
    joined = np.stack([x[0] - lam * x[1], np.zeros_like(x[0])])
    return two_branches(joined, 0.0, bits, rounds=False)


def itself(x):
    return x


RIGHT = {
    "23.1": picked,
    "23.2": searched,
    "23.3": by_loops,
    "23.4": two_branches,
}

WRONG = {
    "23.1": {
        "signs kept": partial(picked, size=itself),
        "size of the largest": partial(picked, size=itself, late=abs),
        "hidden keys counted": partial(picked, future=True),
        "smallest": partial(picked, up=True),
        "counted from 0": partial(picked, start=0),
        "all heads together": of_all_heads,
        "equal values once": partial(picked, once=True),
    },
    "23.2": {
        "second map forgotten": lambda S, eps, lam: (
            searched(S, eps, 0.0) if eps else math.inf
        ),
        "lambda on all keys": partial(
            searched, second=lambda S, lam: lam / (S - 1)
        ),
        "eps for each key": partial(
            searched, share=lambda S, eps: eps * (S - 1)
        ),
        "sum below zero": near_zero,
        "other keys counted once": to_one,
        "S keys share": shared_by_all,
        "negative lead": unguarded,
        "sign": lambda *x: -searched(*x),
    },
    "23.3": {
        "hidden keys set the scale": partial(by_loops, scale="all keys"),
        "one scale for all heads": partial(by_loops, scale="all heads"),
        "a scale for each query": partial(by_loops, scale="query"),
        "largest with its sign": partial(by_loops, size=itself),
        "no bit for the sign": partial(by_loops, top=lambda b: 2**b - 1),
        "one integer too many": partial(by_loops, top=lambda b: 2 ** (b - 1)),
        "rounded down": partial(by_loops, to=np.floor),
        "not scaled back": partial(by_loops, back=False),
        "weights rounded": coarse_weights,
        "not rounded": exact_map,
        "no mask": partial(by_loops, causal=False),
        "no root of D": partial(by_loops, root=False),
    },
    "23.4": {
        "a scale for the map": partial(two_branches, scale="map"),
        "a scale for the key": partial(two_branches, scale="key"),
        "both branches share": partial(two_branches, scale="both"),
        "the future sets the scale": partial(two_branches, scale="future"),
        "largest with its sign": partial(two_branches, size=itself),
        "divided by 0": partial(two_branches, zero=0.0),
        "no bit for the sign": partial(two_branches, top=lambda b: 2**b - 1),
        "added": partial(two_branches, sign=1),
        "difference rounded": late_grid,
        "subtracted before the softmax": one_softmax,
        "not rounded": partial(two_branches, rounds=False),
    },
}
