"""Chapter 27: right and wrong answers written another way than ours."""

import math
from functools import partial

import torch


def softmax_row(scores):
    top = max(scores)
    e = [math.exp(s - top) for s in scores]
    return [x / sum(e) for x in e]


def causal(q, k):
    """The map of queries and keys (T, D), in loops."""
    T, D = q.shape
    A = torch.zeros(T, T, dtype=q.dtype)
    for t in range(T):
        scores = [float(q[t] @ k[s]) / D**0.5 for s in range(t + 1)]
        A[t, : t + 1] = torch.tensor(softmax_row(scores), dtype=q.dtype)
    return A


def by_heads(
    q,
    k,
    v,
    lam,
    noise_of=lambda g, G, h: g,
    signals=slice(0, -1),
    noise=-1,
    noise_keys=1,
    swap=False,
    sign=1,
    one=False,
    share=False,
):
    B, G, n, _, _ = q.shape
    factor = sign * (1.0 if one else lam) / (n - 1 if share else 1)
    rows = []
    for b in range(B):
        heads = []
        for g in range(G):
            for i in range(n)[signals]:
                h = len(heads)
                other = noise_of(g, G, h)
                A1 = causal(q[b, g, i], k[b, g, 0])
                A2 = causal(q[b, other, noise], k[b, g, noise_keys])
                if swap:
                    A1 = causal(q[b, g, noise], k[b, g, 0])
                    A2 = causal(q[b, g, i], k[b, g, 1])
                heads.append((A1 - factor * A2) @ v[b, g])
        rows.append(torch.stack(heads))
    return torch.stack(rows)


def looped(A1, A2, lam, rows=None, of=None, divide=None, c=None):
    """Row by row; rows gives the rows that row t averages."""
    T = A1.shape[1]
    a, b, g = c or (1, -lam, lam)
    source = A1 if of is None else of(A1, A2, lam)
    out = torch.empty_like(A1)
    for t in range(T):
        used = range(t + 1) if rows is None else rows(t, T)
        count = len(used) if divide is None else divide(t, T)
        total = sum(source[:, r] for r in used)
        G = total / torch.tensor(float(count), dtype=A1.dtype)
        out[:, t] = a * A1[:, t] + b * A2[:, t] + g * G
    return out


def along_keys(A1, A2, lam):
    G = torch.zeros_like(A1)
    for s in range(A1.shape[2]):
        G[:, :, s] = A1[:, :, : s + 1].mean(2)
    return A1 + lam * (G - A2)


def no_lam(A1, A2, lam):
    return looped(A1, A2, lam, c=(1, -lam, 1))


def mean_logits(q, k, v, factor=lambda S: 1 / S, used=None):
    """Softmax over a weighted sum of the signals' logits."""
    S, T, D = q.shape[2:]
    used = range(S) if used is None else used
    logits = sum(
        torch.einsum("bhtd,bhsd->bhts", q[:, :, s], k[:, :, s]) for s in used
    )
    logits = logits * factor(S) / D**0.5
    hidden = torch.ones(T, T).triu(1).bool()
    return logits.masked_fill(hidden, -math.inf).softmax(3) @ v


def mean_maps(q, k, v):
    S = q.shape[2]
    one = (mean_logits(q, k, v, lambda S: 1.0, [s]) for s in range(S))
    return sum(one) / S


def mixed(q, k, v):
    B, H, S, T, D = q.shape
    a, b = (x.contiguous().view(B, H, 1, T, S * D) for x in (q, k))
    return mean_logits(a, b, v, lambda _: S**-0.5)


def means(q, k, v):
    a, b = (x.sum(2, keepdim=True) / x.shape[2] for x in (q, k))
    return mean_logits(a, b, v)


def rows_of(W_q, W_o, H, place=None, second=1.0, factor=2.0, gate=0.0):
    """Row by row: place says where row d of a branch of head h goes."""
    n, E = W_q.shape
    D = n // H
    place = place or (lambda h, b, d: (2 * h + b) * D + d)
    q = torch.empty(2 * n, E, dtype=W_q.dtype)
    for h in range(H):
        for d in range(D):
            q[place(h, 0, d)] = W_q[h * D + d]
            q[place(h, 1, d)] = second * W_q[h * D + d]
    return q, torch.full((H, E), gate, dtype=W_q.dtype), factor * W_o


def blocks(W_q, W_o, H):
    D = W_q.shape[0] // H
    return rows_of(W_q, W_o, H, lambda h, b, d: (b * H + h) * D + d)


def doubled_rows(W_q, W_o, H):
    D = W_q.shape[0] // H
    return rows_of(W_q, W_o, H, lambda h, b, d: 2 * (h * D + d) + b)


RIGHT = {
    "27.1": by_heads,
    "27.2": looped,
    "27.3": mean_logits,
    "27.4": rows_of,
}

WRONG = {
    "27.1": {
        "noise tiled": partial(by_heads, noise_of=lambda g, G, h: h % G),
        "noise first": partial(by_heads, signals=slice(1, None), noise=0),
        "noise minus signal": partial(by_heads, swap=True),
        "signal keys twice": partial(by_heads, noise_keys=0),
        "lam dropped": partial(by_heads, one=True),
        "added": partial(by_heads, sign=-1),
        "lam shared out": partial(by_heads, share=True),
        "another query for noise": partial(by_heads, noise=-2),
    },
    "27.2": {
        "mean of all rows": partial(looped, rows=lambda t, T: range(T)),
        "not divided": partial(looped, divide=lambda t, T: 1),
        "divided by T": partial(looped, divide=lambda t, T: T),
        "divided by t": partial(looped, divide=lambda t, T: t),
        "along the keys": along_keys,
        "mean of A2": partial(looped, of=lambda A1, A2, lam: A2),
        "mean of the difference": partial(
            looped, of=lambda A1, A2, lam: A1 - lam * A2
        ),
        "G not scaled": no_lam,
        "G subtracted": lambda A1, A2, lam: looped(
            A1, A2, lam, c=(1, -lam, -lam)
        ),
        "A2 left out": lambda A1, A2, lam: looped(A1, A2, lam, c=(1, 0, lam)),
        "another count": partial(looped, divide=lambda t, T: t + 2),
        "divided along the keys": lambda A1, A2, lam: looped(
            A1,
            A2,
            lam,
            of=lambda a, b, c: a / torch.arange(1, a.shape[1] + 1),
            divide=lambda t, T: 1,
        ),
        "own row only": partial(
            looped, rows=lambda t, T: [t], divide=lambda t, T: t + 1
        ),
        "over the heads": lambda A1, A2, lam: looped(
            A1,
            A2,
            lam,
            of=lambda a, b, c: a.cumsum(0),
            rows=lambda t, T: [t],
            divide=lambda t, T: t + 1,
        ),
        "a term lost or reversed": lambda A1, A2, lam: looped(
            A1, A2, lam, c=(1, -lam, 0)
        ),
    },
    "27.3": {
        "scale of the joined width": partial(
            mean_logits, factor=lambda S: S**-0.5
        ),
        "sum of the logits": partial(mean_logits, factor=lambda S: 1.0),
        "both divided": partial(mean_logits, factor=lambda S: S**-1.5),
        "mean of the maps": mean_maps,
        "axes mixed up": mixed,
        "mean of queries and keys": means,
        "first signal only": partial(
            mean_logits, factor=lambda S: 1.0, used=[0]
        ),
        "another size for S": lambda q, k, v: mean_logits(
            q, k, v, factor=lambda S: 1 / (S * q.shape[3]) ** 0.5
        ),
        "arguments in another order": lambda q, k, v: mean_logits(k, q, v),
        "no root of S": partial(mean_logits, factor=lambda S: 2 / S**1.5),
    },
    "27.4": {
        "branch after branch": blocks,
        "row after row": doubled_rows,
        "second queries zero": partial(rows_of, second=0.0),
        "second queries negated": partial(rows_of, second=-1.0),
        "W_O left": partial(rows_of, factor=1.0),
        "W_O halved": partial(rows_of, factor=0.5),
        "lambda one half in the matrix": partial(rows_of, gate=0.5),
        "lambda meant to be zero": partial(rows_of, factor=1.0, gate=-100.0),
        "heads cut at the wrong place": lambda W_q, W_o, H: (
            rows_of(W_q, W_o, len(W_q) // H)[:1] + rows_of(W_q, W_o, H)[1:]
        ),
        "W_O by another factor": partial(rows_of, factor=4.0),
    },
}
