"""Chapter 15: right and wrong answers written another way than ours."""

import math

import numpy as np
import torch

from minidiff.check.edited import edited


def in_bits(records, tokens, size, unit=2.0, key="valid_loss", share=None):
    share = tokens / size if share is None else share
    found = [r[key] for r in records if "valid_loss" in r]
    return np.array([loss / math.log(unit) * share for loss in found])


def boltzmann(x, t, zero=None):
    """Probabilities one by one; at temperature 0 as `zero` says."""
    if t == 0 and zero is None:
        return torch.nn.functional.one_hot(x.argmax(), len(x)).double()
    top = float(x.max())
    e = [math.exp((float(v) - top) / (t or zero)) for v in x]
    return torch.tensor([v / sum(e) for v in e], dtype=x.dtype)


def shares(
    A1,
    A2,
    lam,
    take=lambda a, b: min(a, b),
    second=lambda low, high: low / (low + high or math.nan),
    lam2=None,
):
    """Place by place, in plain floats."""
    removed, negative = [], []
    for one, two in zip(A1.tolist(), A2.tolist(), strict=True):
        pairs = [
            (a, b)
            for row, other in zip(one, two, strict=True)
            for a, b in zip(row, other, strict=True)
        ]
        taken = sum(take(a, lam * b) for a, b in pairs)
        removed.append(taken / sum(a for a, _ in pairs))
        apart = [a - (lam2 or lam) * b for a, b in pairs]
        low = -sum(x for x in apart if x < 0)
        high = sum(x for x in apart if x > 0)
        negative.append(second(low, high))
    wide = {"dtype": torch.float64}
    return torch.tensor(removed, **wide), torch.tensor(negative, **wide)


def counted(A1, A2, lam):
    A = A1 - lam * A2
    places = A.shape[1] * A.shape[2]
    return shares(A1, A2, lam)[0], (A < 0).sum(-1).sum(-1).double() / places


def rows_first(A1, A2, lam):
    """The second share of each row, then the mean of rows."""
    heads = []
    for one, two in zip(A1, A2, strict=True):
        rows = [
            shares(a[None, None], b[None, None], lam)[1]
            for a, b in zip(one, two, strict=True)
        ]
        heads.append(sum(rows) / len(rows))
    return shares(A1, A2, lam)[0], torch.cat(heads)


def one_number(A1, A2, lam):
    return tuple(part.mean() for part in one_by_weight(A1, A2, lam))


def one_by_weight(A1, A2, lam):
    """All heads as one large map."""
    wide = [x.flatten(0, 1)[None] for x in (A1, A2)]
    return shares(*wide, lam)


def half(A1, A2, lam):
    """lam scales the minimum."""
    taken, _ = shares(A1, A2, 1.0)
    return lam * taken, shares(A1, A2, lam)[1]


def excess(
    A,
    tokens,
    reach,
    *,
    base=lambda row, t, s: row[t] != row[s],
    minus=1,
    pick=max,
    every=False,
    ahead=False,
    from_=1,
    flat=False,
    per_distance=False,
):
    """Go through all queries, with the places of each as a list."""
    T = A.shape[2]
    rows = tokens.tolist()
    M = A.mT if ahead else A

    def places(row, t):
        first = max(t - reach, 0)
        last = t - from_
        return [s for s in range(first, last + 1) if row[s] == row[t]]

    def nearest(row, t):
        found = places(row, t)
        return found and pick(found)

    def usual(d):
        pairs = [
            M[b, :, t, t - e]
            for e in (range(1, min(reach, T - 1) + 1) if flat else [d])
            for b, row in enumerate(rows)
            for t in range(e, T)
            if base(row, t, t - e)
        ]
        return sum(pairs) / len(pairs) if pairs else math.nan

    gains = {}
    for b, row in enumerate(rows):
        for t in range(T):
            found = places(row, t)
            for s in found if every else [pick(found)] if found else []:
                gain = M[b, :, t, s] - minus * usual(t - s)
                gains.setdefault(t - s, []).append(gain)
    if per_distance:
        means = [sum(x) / len(x) for x in gains.values()]
        return sum(means) / len(means)
    flat_gains = [x for part in gains.values() for x in part]
    return sum(flat_gains) / len(flat_gains)


def with_(**flaw):
    return lambda *args: excess(*args, **flaw)


def not_the_copy(row, t, s):
    """Everything but the nearest equal place."""
    later = [i for i in range(s + 1, t) if row[i] == row[t]]
    return row[s] != row[t] or bool(later)


def row_means(A, tokens, reach):
    found = [
        excess(A[b : b + 1], tokens[b : b + 1], reach) for b in range(len(A))
    ]
    return sum(found) / len(found)


def copies_in(tokens, reach):
    return sum(
        any(row[s] == row[t] for s in range(max(t - reach, 0), t))
        for row in tokens.tolist()
        for t in range(len(row))
    )


def own_row(A, tokens, reach):
    """The usual weight of one row at a time; the mean over all copies."""
    total = 0
    for b in range(len(A)):
        row = tokens[b].tolist()
        for t in range(len(row)):
            near = [s for s in range(max(t - reach, 0), t) if row[s] == row[t]]
            if near:
                d = t - near[-1]
                usual = [
                    A[b, :, i, i - d]
                    for i in range(d, len(row))
                    if row[i] != row[i - d]
                ]
                total = total + A[b, :, t, t - d]
                total = total - sum(usual) / max(len(usual), 1)
    return total / copies_in(tokens, reach)


RIGHT = {
    "15.2": in_bits,
    "15.1": boltzmann,
    "15.3": shares,
    "15.4": excess,
}

WRONG = {
    "15.2": {
        "nats": lambda *a: in_bits(*a, unit=math.e),
        "nothing converted": lambda r, n, size: np.array(
            [x["valid_loss"] for x in r if "valid_loss" in x]
        ),
        "tokens forgotten": lambda r, n, size: in_bits(r, 1, size),
        "times ln 2": lambda r, n, size: (
            math.log(2) ** 2 * in_bits(r, n, size)
        ),
        "per token": lambda *a: in_bits(*a, share=1),
        "ratio inverted": lambda r, n, size: in_bits(r, size, n),
        "per text": lambda r, n, size: in_bits(r, n, 1),
        "training loss": lambda *a: in_bits(*a, key="loss"),
        "not every record": lambda r, n, size: np.array(
            [x["valid_loss"] / math.log(2) * n / size for x in r]
        ),
        "the last one": lambda *a: in_bits(*a)[-1],
        "another unit": lambda *a: in_bits(*a, unit=math.e**2),
        "share the wrong way": lambda records, tokens, size: in_bits(
            records, tokens, size, share=tokens * size
        ),
        "rounded down": lambda *a: in_bits(*a) // 1,
    },
    "15.1": {
        "multiplied": lambda x, t: (
            boltzmann(x, 1 / t) if t else boltzmann(x, 0)
        ),
        "after the softmax": lambda x, t: (
            boltzmann(x, 1) * (1 / t) if t else boltzmann(x, 0)
        ),
        "softmax twice": lambda x, t: (
            boltzmann(boltzmann(x, 1), t) if t else boltzmann(x, 0)
        ),
        "temperature unused": lambda x, t: boltzmann(x, 1),
        "overflow": lambda x, t: (
            torch.exp(x / t) / sum(torch.exp(x / t)) if t else boltzmann(x, 0)
        ),
        "divided by zero": lambda x, t: (
            boltzmann(x, t) if t else x * torch.nan
        ),
        "nearly zero": lambda x, t: boltzmann(x, max(t, 0.1)),
        "added to every temperature": lambda x, t: boltzmann(x, t + 1e-4),
        "ties share": lambda x, t: (
            boltzmann(x, t)
            if t
            else torch.tensor(
                [float(v == max(x)) / int((x == max(x)).sum()) for v in x]
            ).double()
        ),
        "every largest": lambda x, t: (
            boltzmann(x, t) if t else x.ge(x.max()).double()
        ),
        "integers at 0": lambda x, t: (
            boltzmann(x, t)
            if t
            else torch.nn.functional.one_hot(x.argmax(), len(x))
        ),
        "only the index": lambda x, t: boltzmann(x, t) if t else x.max(0)[1],
        "smallest logit": lambda x, t: (
            boltzmann(x, t) if t else boltzmann(-x, t)
        ),
        "no softmax": lambda x, t: x * (1 / t) if t else boltzmann(x, t),
        "rounded down": lambda x, t: (
            boltzmann((x / t).floor(), 1) if t else boltzmann(x, t)
        ),
    },
    "15.3": {
        "all of lam A2": lambda *a: shares(*a, take=lambda a, b: b),
        "lam dropped": lambda A1, A2, lam: shares(A1, A2, 1.0),
        "lam after the minimum": half,
        "the rest": lambda *a: shares(*a, take=lambda a, b: max(a - b, 0)),
        "only where it is all taken": lambda *a: shares(
            *a, take=lambda a, b: a if b > a else 0
        ),
        "signs kept": lambda *a: shares(
            *a, second=lambda low, high: low / (high - low)
        ),
        "below zero": lambda *a: shares(
            *a, second=lambda low, high: -low / (low + high)
        ),
        "compared with the positive": lambda *a: shares(
            *a, second=lambda low, high: low / high
        ),
        "places counted": counted,
        "row by row": rows_first,
        "of the maps": lambda *a: shares(
            *a, second=lambda low, high: low / a[0].shape[1]
        ),
        "mean over places": lambda A1, A2, lam: (
            shares(A1, A2, lam)[0] / A1.shape[2],
            shares(A1, A2, lam)[1],
        ),
        "not divided": lambda A1, A2, lam: (
            shares(A1, A2, lam)[0] * A1.shape[1],
            shares(A1, A2, lam)[1],
        ),
        "results swapped": lambda *a: tuple(reversed(shares(*a))),
        "heads together": one_number,
        "another difference": edited(
            shares, ("[a - (lam2 or lam) * b", "[a + (lam2 or lam) * b")
        ),
        "the larger of the two": lambda *a: shares(*a, take=max),
        "negative weight not divided": lambda *a: shares(
            *a, second=lambda low, high: low
        ),
    },
    "15.4": {
        "nothing compared": with_(minus=0),
        "compared with everything": with_(base=lambda row, t, s: True),
        "farther copies among the rest": with_(base=not_the_copy),
        "all copies": with_(every=True),
        "the farthest copy": with_(pick=min),
        "reach off by one": lambda A, tokens, reach: excess(
            A, tokens, min(reach, A.shape[2]) - 1
        ),
        "no reach": lambda A, tokens, reach: excess(A, tokens, 10**6),
        "itself": with_(from_=0),
        "looked ahead": with_(ahead=True),
        "distances weigh equally": with_(per_distance=True),
        "one mean for all distances": with_(flat=True),
        "rows one by one": row_means,
        "baseline row by row": own_row,
        "divided by all queries": lambda A, tokens, reach: (
            excess(A, tokens, reach)
            * copies_in(tokens, reach)
            / tokens.numel()
        ),
        "added up": lambda A, tokens, reach: (
            excess(A, tokens, reach) * copies_in(tokens, reach)
        ),
        "heads together": lambda *a: excess(*a).mean(),
        "compared with equal ones": with_(
            base=lambda row, t, s: row[t] == row[s]
        ),
        "a sum to compare with": edited(
            excess,
            ("sum(pairs) / len(pairs) if pairs else math.nan", "sum(pairs)"),
        ),
        "usual weight added": with_(minus=-1),
        "neighbour left out": with_(from_=2),
    },
}
