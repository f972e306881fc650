"""Chapter 01: right and wrong answers written another way than ours."""

import math

import numpy as np


def lookup(q, k, v, score=np.dot, weigh=None, pick=None):
    """One query at a time."""
    out = []
    for query in q:
        s = np.array([score(query, key) for key in k])
        w = weigh(s) if weigh else np.exp(s) / sum(np.exp(s))
        out.append(
            pick(w) if pick else sum(a * b for a, b in zip(w, v, strict=True))
        )
    return np.array(out)


def lookup_columns(q, k, v):
    e = np.exp(np.einsum("td,sd->ts", q, k))
    return np.einsum("ts,sc->tc", e / np.add.reduce(e), v)


def lookup_keepdims(q, k, v):
    e = np.exp(np.matmul(q, k.T))
    return np.matmul(e / np.sum(e, axis=1), v)


def lookup_turned(axis):
    def answer(q, k, v):
        e = np.exp(np.matmul(k, q.T))
        total = np.expand_dims(np.sum(e, axis=axis), axis)
        return np.matmul(e / total, v)

    return answer


def by_row(x, constant):
    """The softmax of each row, after taking some constant off it."""
    flat = x.reshape(-1, x.shape[-1])
    rows = [np.exp(row - constant(row)) for row in flat]
    return np.array([row / sum(row) for row in rows]).reshape(x.shape)


def along(x, axis, keep=(True, True), shift=True):
    top = np.amax(x, axis=axis, keepdims=keep[0]) if shift else 0
    e = np.exp(np.subtract(x, top))
    return np.divide(e, np.sum(e, axis=axis, keepdims=keep[1]))


def clipped(x, low, high):
    e = np.exp(np.where(x > high, high, np.where(x < low, low, x)))
    return e / np.sum(e, axis=-1)[..., None]


def causal(q, k, see=lambda t, s, gap: s <= t + gap, scale=None):
    """One row at a time; `see` says which keys query t sees."""
    (T, D), S = q.shape, len(k)
    A = np.zeros((T, S))
    for t in range(T):
        seen = [s for s in range(S) if see(t, s, S - T)]
        if not seen:
            A[t] = np.nan
            continue
        x = np.array([q[t] @ k[s] / (scale or D**0.5) for s in seen])
        e = np.exp(x - max(x))
        A[t, seen] = e / e.sum()
    return A


def scores(q, k):
    return np.einsum("td,sd->ts", q, k) * q.shape[1] ** -0.5


def share(x):
    """Softmax of the rows of x, by logarithms."""
    top = x - np.max(x, axis=1)[:, None]
    return np.exp(top - np.log(np.sum(np.exp(top), axis=1))[:, None])


def lower(q, k):
    return np.arange(len(k)) <= np.arange(len(q))[:, None] + len(k) - len(q)


def start(q, k):
    return np.arange(len(k)) <= np.arange(len(q))[:, None]


def zeros_before(q, k, seen=lower):
    return share(np.where(seen(q, k), scores(q, k), 0.0))


def after(q, k):
    return np.tril(share(scores(q, k)), len(k) - len(q))


def columns(q, k):
    return share(np.where(lower(q, k), scores(q, k), -np.inf).T).T


def square(n):
    def answer(q, k):
        size = (len(q), len(k))[n]
        hidden = np.triu(np.ones((size, size)), 1).astype(bool)
        return share(np.where(hidden, -np.inf, scores(q, k)))

    return answer


def added(q, k):
    """A mask of minus one million, added."""
    return share(scores(q, k) - 1e6 * ~lower(q, k))


def keys_ask(q, k):
    x = np.einsum("sd,td->st", k, q) / math.sqrt(k.shape[1])
    hidden = np.triu(np.ones((len(q), len(k))), 1 + len(k) - len(q)) > 0
    return share(np.where(hidden, -math.inf, x))


def split(y, H):
    return np.array(np.split(y, H, axis=1))


def layer(x, W, H, cut=split, join=np.hstack, **options):
    """One head at a time."""
    q, k, v = (cut(x @ w, H) for w in W[:3])
    out = [
        causal(a, b, **options) @ c for a, b, c in zip(q, k, v, strict=True)
    ]
    return join(out) @ W[3]


def dealt(y, H):
    return np.reshape(y.ravel(), (H, len(y), -1))


def dealt_back(out):
    T = len(out[0])
    return np.concatenate([o.ravel() for o in out]).reshape(T, -1)


def every(y, H):
    return [y[:, h::H] for h in range(H)]


def every_back(out):
    joined = np.zeros((len(out[0]), len(out) * out[0].shape[1]))
    for h, o in enumerate(out):
        joined[:, h :: len(out)] = o
    return joined


def own_columns(W):
    """Cut x itself, one matrix after the other."""
    matrices = iter(W)

    def cut(x, H):
        w, D = next(matrices), x.shape[1] // H
        places = [slice(h * D, (h + 1) * D) for h in range(H)]
        return [x[:, s] @ w[s, s] for s in places]

    return cut


def among_heads(x, W, H):
    rows = []
    for q, k, v in zip(x @ W[0], x @ W[1], x @ W[2], strict=True):
        q, k, v = (y.reshape(H, -1) for y in (q, k, v))
        rows.append((causal(q, k) @ v).ravel())
    return np.array(rows) @ W[3]


def without(x, W, H, n):
    unit = np.diag(np.ones(x.shape[1]))
    return layer(x, [unit if i == n else w for i, w in enumerate(W)], H)


def width(x, H):
    return x.shape[1] // H


RIGHT = {
    "1.1": lookup,
    "1.2": lambda x: by_row(x, max),
    "1.3": causal,
    "1.4": layer,
}

WRONG = {
    "1.1": {
        "wrong axis": lookup_columns,
        "whole matrix": lambda q, k, v: (
            np.exp(q @ k.T) @ v / np.exp(q @ k.T).sum()
        ),
        "keepdims": lookup_keepdims,
        "no softmax": lambda *a: lookup(*a, weigh=lambda s: s),
        "no division": lambda *a: lookup(*a, weigh=np.exp),
        "no exponential": lambda *a: lookup(*a, weigh=lambda s: s / sum(s)),
        "hard lookup": lambda q, k, v: lookup(
            q, k, v, pick=lambda w: v[list(w).index(max(w))]
        ),
        "scaled": lambda *a: lookup(
            *a, score=lambda x, y: np.dot(x, y) / len(x) ** 0.5
        ),
        "scores turned, over rows": lookup_turned(1),
        "scores turned, over columns": lookup_turned(0),
        "k not turned": lambda q, k, v: np.exp(np.matmul(q, k)),
        "exp of math": lambda q, k, v: lookup(q, k, v, weigh=math.exp),
        "first query only": lambda q, k, v: lookup(q[:1], k, v).ravel(),
        "values not added up": lambda q, k, v: lookup(
            q, k, v, pick=lambda w: (w[:, None] * v).T
        ),
        "weights returned": lambda *a: lookup(*a, pick=lambda w: w),
    },
    "1.2": {
        "nothing subtracted": lambda x: by_row(x, lambda row: 0),
        "epsilon": lambda x: (
            np.exp(x) / (1e-10 + np.exp(x).sum(-1)[..., None])
        ),
        "epsilon beside the maximum": lambda x: (
            lambda e: e / (1e-6 + np.sum(e, -1)[..., None])
        )(np.exp(x - np.amax(x, -1)[..., None])),
        "max of Python": lambda x: (
            lambda e: e / np.sum(e, axis=-1, keepdims=True)
        )(np.exp(np.subtract(x, sorted(x)[-1]))),
        "mean": lambda x: by_row(x, np.mean),
        "minimum": lambda x: by_row(x, min),
        "one maximum for all": lambda x: by_row(x, lambda row: np.max(x)),
        "largest absolute value": lambda x: by_row(
            x, lambda row: max(abs(row))
        ),
        "divided by the maximum": lambda x: along(
            x / np.amax(x, axis=-1)[..., None], -1, shift=False
        ),
        "clipped": lambda x: clipped(x, -np.inf, 600),
        "clipped both ways": lambda x: clipped(x, -700, 700),
        "axis 0": lambda x: along(x, 0),
        "axis 1": lambda x: along(x, 1),
        "whole array": lambda x: along(x, None),
        "sum over the whole array": lambda x: (lambda e: e / e.ravel().sum())(
            np.exp(x - np.max(x, axis=-1)[..., None])
        ),
        "nothing subtracted, no keepdims": lambda x: np.divide(
            np.exp(x), np.add.reduce(np.exp(x), axis=-1)
        ),
        "nothing subtracted, whole array": lambda x: along(
            x, None, shift=False
        ),
        "nan replaced": lambda x: (lambda y: np.where(y == y, y, 0))(
            by_row(x, lambda row: 0)
        ),
        "numerator only": lambda x: (
            np.exp(x - np.amax(x, -1)[..., None])
            / np.exp(x).sum(-1)[..., None]
        ),
        "after the exponential": lambda x: (
            lambda e: e / np.sum(e, -1)[..., None]
        )(np.exp(x) / np.exp(np.amax(x, -1))[..., None]),
        "no division": lambda x: np.exp(x - np.amax(x, -1)[..., None]),
        "1000 for all": lambda x: by_row(x, lambda row: 1000),
        "axis 1, no keepdims": lambda x: along(x, 1, (False, False)),
        "exp of math": lambda x: math.exp(x) / sum(x),
        "None in the second place": lambda x: (
            lambda e: e * (1 / np.add.reduce(e, -1))[:, np.newaxis]
        )(np.exp(x - np.amax(x, axis=-1)[:, np.newaxis])),
        "keepdims, both": lambda x: along(x, -1, (False, False)),
        "keepdims, maximum": lambda x: along(x, -1, (False, True)),
        "keepdims, sum": lambda x: along(x, -1, (True, False)),
    },
    "1.3": {
        "aligned to the start": lambda *a: causal(
            *a, see=lambda t, s, gap: s <= t
        ),
        "mask T by T": square(0),
        "mask S by S": square(1),
        "sees the next token": lambda *a: causal(
            *a, see=lambda t, s, gap: s <= t + gap + 1
        ),
        "own token hidden": lambda *a: causal(
            *a, see=lambda t, s, gap: s < t + gap
        ),
        "past hidden": lambda *a: causal(
            *a, see=lambda t, s, gap: s > t + gap
        ),
        "upper triangle": lambda *a: causal(
            *a, see=lambda t, s, gap: s >= t + gap
        ),
        "no mask": lambda *a: causal(*a, see=lambda t, s, gap: True),
        "zeros before the softmax": zeros_before,
        "after the softmax": after,
        "a large negative number": added,
        "scores times -inf": lambda q, k: share(
            scores(q, k) / np.where(lower(q, k), 1.0, -0.0)
        ),
        "masked late, divided again": lambda q, k: (
            after(q, k) * (1 / np.sum(after(q, k), 1))[:, None]
        ),
        "k asks q": keys_ask,
        "nan from the mask": lambda q, k: np.full((len(q), len(k)), np.nan),
        "shifted the wrong way": lambda *a: causal(
            *a, see=lambda t, s, gap: s <= t - gap
        ),
        "start, zeros before": lambda q, k: zeros_before(q, k, start),
        "start, after the softmax": lambda q, k: np.tril(
            causal(q, k, see=lambda t, s, gap: True)
        ),
        "start, no scale": lambda *a: causal(
            *a, see=lambda t, s, gap: s <= t, scale=1
        ),
        "start, past hidden": lambda *a: causal(
            *a, see=lambda t, s, gap: s > t
        ),
        "no softmax": lambda q, k: scores(q, k) + np.log(lower(q, k)),
        "mask added": lambda q, k: share(scores(q, k) + 1.0 * lower(q, k)),
        "k not turned": np.matmul,
        "no scale": lambda *a: causal(*a, scale=1),
        "scale by D": lambda q, k: causal(q, k, scale=q.shape[1]),
        "scale by the length T": lambda q, k: causal(
            q, k, scale=q.shape[0] ** 0.5
        ),
        "scale by the length S": lambda q, k: causal(
            q, k, scale=k.shape[0] ** 0.5
        ),
        "multiplied by the root": lambda q, k: causal(q * q.shape[1], k * 1.0),
        "down the columns": columns,
    },
    "1.4": {
        "cut by reshape": lambda *a: layer(*a, cut=dealt),
        "cut and joined by reshape": lambda *a: layer(
            *a, cut=dealt, join=dealt_back
        ),
        "joined by reshape": lambda *a: layer(*a, join=dealt_back),
        "axes not swapped": among_heads,
        "every H-th column": lambda *a: layer(*a, cut=every),
        "every H-th column, and back": lambda *a: layer(
            *a, cut=every, join=every_back
        ),
        "one head": lambda x, W, H: (
            causal(x @ W[0], x @ W[1]) @ x @ W[2] @ W[3]
        ),
        "Wo forgotten": lambda *a: without(*a, 3),
        "Wv forgotten": lambda *a: without(*a, 2),
        "weights transposed": lambda x, W, H: layer(x, [w.T for w in W], H),
        "Wo transposed": lambda x, W, H: (
            (W[3] @ layer(x, [*W[:3], np.eye(x.shape[1])], H).T).T
        ),
        "x is cut": lambda x, W, H: layer(
            x, [np.eye(x.shape[1])] * 3 + [W[3]], H, cut=own_columns(W)
        ),
        "T of three axes": lambda x, W, H: np.matmul(
            split(x @ W[0], H), np.transpose(split(x @ W[1], H))
        ),
        "no scale": lambda *a: layer(*a, scale=1),
        "joined in turn": lambda *a: layer(*a, join=every_back),
        "queries and keys swapped": lambda x, W, H: layer(
            x, [W[1], W[0], *W[2:]], H
        ),
        "keys as values": lambda x, W, H: layer(x, W[[0, 1, 1, 3]], H),
        "heads added": lambda *a: layer(*a, join=lambda out: sum(out)),
        "no mask": lambda *a: layer(*a, see=lambda t, s, gap: True),
        "scale by E": lambda x, *a: layer(x, *a, scale=x.shape[1] ** 0.5),
        "heads not joined": lambda x, W, H: layer(
            x, [*W[:3], np.eye(width(x, H))], H, join=np.array
        ),
        "softmax twice": lambda x, W, H: (
            np.hstack(
                [
                    by_row(causal(q, k), max) @ v
                    for q, k, v in zip(
                        *(split(x @ w, H) for w in W[:3]), strict=True
                    )
                ]
            )
            @ W[3]
        ),
        "scaled twice": lambda x, *a: layer(x, *a, scale=width(x, a[-1])),
    },
}
