"""Second answers to problem set 6."""

import math
from functools import partial

import numpy as np
import torch

from minidiff.check.edited import edited

# P6.1: head by head, query by query, key by key ---------------------------


def by_key(
    q, k, lam, mean="own", seen="past", half=0.5, size="sum", root=True,
    largest=127, join="add",
):  # fmt: skip
    """The worst logit of each row, found in loops."""
    H, _, T, D = q.shape
    out = torch.empty(H, T, dtype=q.dtype)
    for h in range(H):
        errors = np.empty((2, T))
        for b in range(2):
            centre = {
                "own": lambda h=h, b=b: k[h, b].sum(0) / T,
                "none": lambda: torch.zeros(D).double(),
                "both": lambda h=h: k[h].reshape(-1, D).sum(0) / (2 * T),
                "heads": lambda b=b: k[:, b].sum(0) / H,
                "width": lambda h=h, b=b: k[h, b].mean(1)[:, None],
            }[mean]()
            keys = k[h, b] - centre
            for t in range(T):
                places = {"past": range(t + 1), "all": range(T), "own": [t]}
                numbers = [abs(float(x)) for x in q[h, b, t]]
                worst = 0.0
                for s in places[seen]:
                    step = max(abs(float(x)) for x in keys[s]) / largest
                    length = {
                        "sum": sum(numbers),
                        "norm": math.sqrt(sum(x * x for x in numbers)),
                        "largest": max(numbers),
                        "signs": float(q[h, b, t].sum()),
                    }[size]
                    moved = half * step * length
                    if abs(moved) > abs(worst):
                        worst = moved
                errors[b, t] = worst / (math.sqrt(D) if root else 1)
        one, two = errors
        out[h] = torch.from_numpy(
            {
                "add": one + abs(lam) * two,
                "subtract": one - lam * two,
                "signed": one + lam * two,
                "whole": one + two,
                "larger": np.fmax(one, abs(lam) * two),
                "squares": np.hypot(one, lam * two),
            }[join]
        )
    return out


# P6.2: evict each key, and compare outputs --------------------------------


def by_eviction(A1, A2, v, lam, how="usual", join="mean", sign=-1):
    """Evict each key in turn, for each query; compare the two outputs."""
    T, S = A1.shape
    costs = np.zeros(S)
    for s in range(S):
        kept = [j for j in range(S) if j != s]
        changes = []
        for t in range(T):
            moved = []
            for A in (A1[t], A2[t]):
                full = sum(A[j] * v[j] for j in range(S))
                rest = sum(A[j] * v[j] for j in kept)
                total = sum(A[j] for j in kept)
                moved.append(
                    {
                        "usual": rest / total - full,
                        "not grown": (rest - full) / total,
                        "not divided": rest - full * total,
                        "after": rest / total,
                    }[how]
                )
            changes.append(moved)
        costs[s] = joined(changes, lam, join, sign)
    return costs


def length(x):
    return math.sqrt(sum(x * x))


def joined(changes, lam, join, sign):
    """One cost from the changes (branch 1, branch 2) of all queries."""
    T = len(changes)
    weight = 1 if join == "whole" else lam
    both = [a + sign * weight * b for a, b in changes]
    if join == "length of mean":
        return length(sum(both) / T)
    if join == "first":
        return sum(length(a) for a, _ in changes) / T
    if join == "lengths":
        return sum(length(a) + lam * length(b) for a, b in changes) / T
    if join == "squares":
        return sum(length(x) ** 2 for x in both) / T
    return sum(length(x) for x in both) / (1 if join == "sum" else T)


def contribution(A1, A2, v, lam):
    lengths = [length(row) for row in v]
    return abs(A1 - lam * A2).mean(0) * np.array(lengths)


def one_map(A1, A2, v, lam):
    costs = np.zeros(len(v))
    for A in A1 - lam * A2:
        for s in range(len(v)):
            rest = A.copy()
            rest[s] = 0
            rest *= A.sum() / rest.sum()
            costs[s] += length((rest - A) @ v) / len(A1)
    return costs


# P6.3: row by row ---------------------------------------------------------


def rows(W_q, W_o, lam, order="heads", second=1.0, out=None, q=None, o=None):
    """Fill each matrix row by row or column by column."""
    H = len(lam)
    D, E = W_q.shape[0] // H, W_q.shape[1]
    queries = torch.zeros(2 * H * D, E, dtype=W_q.dtype)
    wider = torch.zeros_like(W_o)
    out = out or (lambda x: 1 / (1 - x))
    for h in range(H):
        for d in range(D):
            row = W_q[h * D + d]
            for b in range(2):
                place = {
                    "heads": (2 * h + b) * D + d,
                    "branches": (b * H + h) * D + d,
                    "rows": (h * D + d) * 2 + b,
                }[order]
                queries[place] = row * (second if b else 1.0)
            wider[:, h * D + d] = W_o[:, h * D + d] * out(float(lam[h]))
    # A step of the queries acts by the square of each branch's coefficient.
    q = q or (lambda x: 1 / ((1 / (1 - x)) ** 2 + (x / (1 - x)) ** 2))
    o = o or (lambda x: (1 - x) ** -2)
    factors = (
        torch.tensor([f(float(x)) for x in lam], dtype=W_q.dtype)
        for f in (q, o)
    )
    return queries, wider, *factors


def other_columns(W_q, W_o, lam):
    queries, _, *factors = rows(W_q, W_o, lam)
    columns = [
        W_o[:, c] / (1 - lam[c % len(lam)]) for c in range(W_o.shape[1])
    ]
    return queries, torch.stack(columns, 1), *factors


RIGHT = {"P6.1": by_key, "P6.2": by_eviction, "P6.3": rows}

WRONG = {
    "P6.1": {
        "errors subtracted": partial(by_key, join="subtract"),
        "sign of lam": partial(by_key, join="signed"),
        "lam forgotten": partial(by_key, join="whole"),
        "larger branch only": partial(by_key, join="larger"),
        "root of squares": partial(by_key, join="squares"),
        "mean kept": partial(by_key, mean="none"),
        "one mean for both branches": partial(by_key, mean="both"),
        "mean over the width": partial(by_key, mean="width"),
        "mean over the heads": partial(by_key, mean="heads"),
        "keys of the future": partial(by_key, seen="all"),
        "own key only": partial(by_key, seen="own"),
        "whole step": partial(by_key, half=1),
        "norm of the query": partial(by_key, size="norm"),
        "largest number of the query": partial(by_key, size="largest"),
        "sum with signs": partial(by_key, size="signs"),
        "not divided by sqrt(D)": partial(by_key, root=False),
        "another largest code": partial(by_key, largest=128),
        "no mean taken away": edited(
            by_key, ("k[h, b].sum(0) / T,", "k[h, b].sum(0),")
        ),
        "largest with its sign": edited(
            by_key,
            (
                "max(abs(float(x)) for x in keys[s])",
                "max(float(x) for x in keys[s])",
            ),
            ("if abs(moved) > abs(worst)", "if moved > worst or s == 0"),
        ),
        "scale without codes": partial(by_key, largest=1),
        "another division by the width": edited(
            by_key, ("math.sqrt(D) if root else 1", "D")
        ),
        "queries or steps left out": edited(
            by_key, ("half * step * length", "half * step")
        ),
        "mean for sum": edited(
            by_key, ('"sum": sum(numbers)', '"sum": sum(numbers) / D')
        ),
        "one branch": edited(
            by_key, ('"add": one + abs(lam) * two', '"add": one')
        ),
    },
    "P6.2": {
        "the contribution": contribution,
        "weights without values": lambda A1, A2, v, lam: contribution(
            A1, A2, np.ones((len(v), 1)), lam
        ),
        "one factor": one_map,
        "others not rescaled": partial(by_eviction, how="not grown"),
        "not divided": partial(by_eviction, how="not divided"),
        "branches one by one": partial(by_eviction, join="lengths"),
        "added": partial(by_eviction, sign=1),
        "lam forgotten": partial(by_eviction, join="whole"),
        "branch 1 only": partial(by_eviction, join="first"),
        "mean before the length": partial(by_eviction, join="length of mean"),
        "squared": partial(by_eviction, join="squares"),
        "sum over the queries": partial(by_eviction, join="sum"),
        "the output, not its change": partial(by_eviction, how="after"),
        "value not subtracted": edited(
            by_eviction,
            (
                '"usual": rest / total - full',
                '"usual": rest / total - full + 2 * A[s] * v[s] / total',
            ),
        ),
        "another factor": edited(
            by_eviction,
            (
                '"usual": rest / total - full',
                '"usual": (rest / total - full) * total**2',
            ),
        ),
        "last branch only": lambda A1, A2, v, lam: (
            by_eviction(A2, A1, v, 0.0) * abs(lam)
        ),
    },
    "P6.3": {
        "branch after branch": partial(rows, order="branches"),
        "row after row": partial(rows, order="rows"),
        "second queries zero": partial(rows, second=0.0),
        "W_O left": partial(rows, out=lambda x: 1.0),
        "W_O made smaller": partial(rows, out=lambda x: 1 - x),
        "W_O doubled": partial(rows, out=lambda x: 2.0),
        "columns of another head": other_columns,
        "same rate for the queries": partial(rows, q=lambda x: 1.0),
        "one branch moves": partial(rows, q=lambda x: 1 - 2 * x + x * x),
        "two signs for one": partial(rows, q=lambda x: 2 / (1 + x) - 1),
        "lam once": partial(rows, q=lambda x: (1 - x) * (1 - x) / (1 + x)),
        "W_O once": partial(rows, q=lambda x: (1 - x) / (1 + x * x)),
        "queries the wrong way round": partial(
            rows, q=lambda x: (1 + x * x) / (1 - x) / (1 - x)
        ),
        "same rate for W_O": partial(rows, o=lambda x: 1.0),
        "1 - lam once for W_O": partial(rows, o=lambda x: 1 / (1 - x)),
        "W_O the wrong way round": partial(rows, o=lambda x: (1 - x) ** 2),
    },
}
