"""Chapter 23: right and wrong answers written another way than ours."""

import math
from functools import partial

import numpy as np

from minidiff.check.edited import edited


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
    reach,
    *,
    among="query",
    size=lambda x: x,
    clip=True,
    drop=False,
    to=np.rint,
    top=lambda b: 2**b - 1,
    back=True,
    down=-1,
    sign=-1,
):
    """Loop over branches, queries and keys."""
    T = logits.shape[-1]
    out = np.zeros((T, T))
    step = reach / top(bits)
    for b, factor in enumerate((1, sign * lam)):
        for t in range(T):
            compared = {
                "query": logits[b, t, : t + 1],
                "map": logits[b][np.tril_indices(T)],
                "both": logits[:, t, : t + 1].ravel(),
                "future": logits[b, t],
            }[among]
            highest = max(size(x) for x in compared)
            weights = []
            for x in logits[b, t, : t + 1]:
                far = highest - x
                if clip and not drop:
                    far = min(far, reach)
                whole = to(far / step) * (step if back else 1)
                gone = drop and far > reach
                weights.append(0.0 if gone else math.exp(down * whole))
            for s, weight in enumerate(weights):
                out[t, s] += factor * weight / sum(weights)
    return out


def around_zero(logits, lam, bits, reach):
    top = 2 ** (bits - 1) - 1
    near = np.rint(np.clip(logits * top / reach, -top, top)) * reach / top
    return two_branches(near, lam, bits, reach, clip=False, to=lambda x: x)


def itself(x):
    return x


unsummed = edited(by_loops, ("weights / weights.sum()", "weights"))
one_branch = edited(two_branches, ("weight / sum(weights)", "weight"))
from_zero = edited(two_branches, ("max(size(x) for x in compared)", "0.0"))


def by_column(logits, *rest):
    """One map whose columns sum to 1."""
    A = one_branch(logits, 0.0, *rest)
    return A / A.sum(0)


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
        "not sorted": edited(
            picked,
            (
                "sorted(set(seen) if once else seen, reverse=not up)",
                "seen[::-1]",
            ),
        ),
        "sorted over the heads": lambda logits, k: np.sort(
            abs(logits), axis=0
        )[:, *np.tril_indices(logits.shape[1])][:, -k],
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
        "another share of the second map": partial(
            searched, second=lambda S, lam: lam / S / (S - 1)
        ),
        "no logarithm": lambda *a: (
            math.exp(searched(*a)) if searched(*a) else 0.0
        ),
        "another logarithm": lambda *a: searched(*a) / math.log(2),
        "another ratio": lambda S, eps, lam: (
            0.0
            if searched(S, eps, lam) == 0
            else math.log((S - 1) / (eps + lam * (S - 1) / S))
        ),
        "zero in the wrong place": edited(
            searched,
            ("elsewhere(low) <= allowed", "allowed + others * taken >= 1 / S"),
        ),
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
        "another division by the width": edited(
            by_loops, ("math.sqrt(D) if root else 1", "D")
        ),
        "logits rounded too early": edited(
            by_loops,
            (
                "(math.sqrt(D) if root else 1)\n",
                "(math.sqrt(D) if root else 1)\n    exact = np.floor(exact)\n",
            ),
        ),
        "least logit": edited(
            by_loops, ('"head": max(seen[h])', '"head": min(seen[h])')
        ),
        "another number of integers": partial(
            by_loops, top=lambda b: 2 ** (b - 2) - 1
        ),
        "no integers": partial(by_loops, top=lambda b: 1),
        "step upside down": edited(
            by_loops,
            ("step = largest / top(bits)", "step = top(bits) / largest"),
        ),
        "softmax over another axis": lambda *a: (
            unsummed(*a) / unsummed(*a).sum(1, keepdims=True)
        ),
        "not normalised": edited(
            by_loops, ("weights / weights.sum()", "weights")
        ),
        "mask the wrong way round": lambda q, k, bits: by_loops(
            q[:, ::-1], k[:, ::-1], bits
        )[:, ::-1, ::-1],
        "no mask at all": partial(by_loops, scale="all keys", causal=False),
        "hidden by a number": edited(
            by_loops,
            (
                "weights = np.exp(",
                "row = np.append(row, [-1e4] * (T - len(row)))\n"
                "            weights = np.exp(",
            ),
        ),
    },
    "23.4": {
        "one largest for the map": partial(two_branches, among="map"),
        "both branches share": partial(two_branches, among="both"),
        "the future counts": partial(two_branches, among="future"),
        "absolute values": partial(two_branches, size=abs),
        "a bit for the sign": partial(
            two_branches, top=lambda b: 2 ** (b - 1) - 1
        ),
        "one integer too many": partial(two_branches, top=lambda b: 2**b),
        "not clipped": partial(two_branches, clip=False),
        "dropped": partial(two_branches, drop=True),
        "rounded down": partial(two_branches, to=math.floor),
        "not scaled back": partial(two_branches, back=False),
        "distances added": partial(two_branches, down=1),
        "second map added": partial(two_branches, sign=1),
        "not shifted": around_zero,
        "not rounded": partial(two_branches, to=lambda x: x),
        "no mask": edited(two_branches, (": t + 1]", ":]")),
        "mask the wrong way round": lambda x, *a: two_branches(
            x[:, ::-1, ::-1], *a
        )[::-1, ::-1],
        "hidden keys weigh 1": edited(
            two_branches,
            (
                "in enumerate(weights)",
                "in enumerate(weights := weights + [1.0] * (T - 1 - t))",
            ),
        ),
        "distance the wrong way round": edited(
            two_branches, ("highest - x", "x - highest")
        ),
        "maximum over the queries": lambda x, *a: from_zero(
            x
            - np.where(np.tri(x.shape[1]) > 0, x, -np.inf).max(
                1, keepdims=True
            ),
            *a,
        ),
        "another number of integers": partial(
            two_branches, top=lambda b: 2**b - 2
        ),
        "no integers": partial(two_branches, top=lambda b: 1),
        "step upside down": edited(
            two_branches,
            ("step = reach / top(bits)", "step = top(bits) / reach"),
        ),
        "clipped from below": edited(
            two_branches, ("min(far, reach)", "max(far, reach)")
        ),
        "softmax over another axis": lambda x, lam, *a: (
            by_column(x, *a) - lam * by_column(x[::-1], *a)
        ),
        "not normalised": edited(
            two_branches, ("factor * weight / sum(weights)", "factor * weight")
        ),
        "one map only": lambda x, lam, *a: two_branches(x, 0.0, *a),
        "lambda dropped": lambda x, lam, *a: two_branches(x, 1.0, *a),
        "maps swapped": lambda x, *a: two_branches(x[::-1], *a),
        "hidden by a number": edited(
            two_branches,
            (
                "max(size(x) for x in compared)",
                "max([*map(size, compared), *[-1e4] * (t < T - 1)])",
            ),
        ),
    },
}
