"""Chapter 03: right and wrong answers written another way than ours."""

import numpy as np


def soft(x):
    e = np.exp(x)
    return e / np.sum(e, axis=1)[:, None]


def causal(q, k, hide_from=1, width=None):
    T, D = q.shape
    A = np.zeros((T, T))
    for t in range(T):
        n = min(T, t + hide_from)
        e = np.exp(k[:n] @ q[t] / (width or D) ** 0.5)
        A[t, :n] = e / e.sum()
    return A


def head(x, Wq, Wk, Wv, lam, pick=None, lam1=1, **options):
    D = Wq.shape[1] // 2
    q, k = x @ Wq, x @ Wk
    one, two = pick or (list(range(D)), list(range(D, 2 * D)))
    A1 = causal(q[:, one], k[:, one], **options)
    A2 = causal(q[:, two], k[:, two], **options)
    return lam1 * A1 @ x @ Wv - lam * A2 @ x @ Wv


def interleaved(x, Wq, Wk, Wv, lam):
    n = Wq.shape[1]
    pick = ([i for i in range(n) if i % 2 == 0], list(range(1, n, 2)))
    return head(x, Wq, Wk, Wv, lam, pick)


def swapped(x, Wq, Wk, Wv, lam):
    D = Wq.shape[1] // 2
    return head(x, Wq, Wk, Wv, lam, (list(range(D, 2 * D)), list(range(D))))


def crossed(x, Wq, Wk, Wv, lam):
    D = Wq.shape[1] // 2
    k = x @ Wk
    A1 = causal(x @ Wq[:, :D], k[:, D:])
    return (A1 - lam * causal(x @ Wq[:, D:], k[:, :D])) @ (x @ Wv)


def values_split(x, Wq, Wk, Wv, lam):
    return head(x, Wq, Wk, Wv, lam)[:, : Wv.shape[1] // 2]


def one_map(x, Wq, Wk, Wv, lam):
    D = Wq.shape[1] // 2
    # One branch twice as wide computes s1 - lam s2 in a single product.
    sign = np.repeat([1.0, -lam], D)
    return causal(x @ Wq * sign, x @ Wk, width=D) @ x @ Wv


def ratio(w, needle, root=True, power=2, skip=True, mean=False, signed=False):
    total, n = 0.0, 0
    for i, value in enumerate(w):
        if skip and i == needle:
            continue
        total += value if signed else abs(value) ** power
        n += 1
    total = total / n if mean else total
    return abs(w[needle]) / (total**0.5 if root else abs(total))


def lam_terms(lq1, lk1, lq2, lk2, layer, sign=-1, start=0.8, late=0):
    first = np.exp(np.sum(lq1 * lk1))
    second = np.exp(np.sum(lq2 * lk2))
    decay = 0.6 * np.exp(-0.3 * (layer - late)) if start else 0
    return first + sign * second + start - decay


def norm(o, layer, axis=2, scale=None, centre=False, eps=1e-5, outside=False):
    start = 0.8 - 0.6 * np.exp(-0.3 * layer)
    scale = (1 - start) if scale is None else scale(start)
    if centre:
        o = o - np.mean(o, axis=axis, keepdims=True)
    size = np.mean(np.square(o), axis=axis, keepdims=True)
    size = size**0.5 + eps if outside else (size + eps) ** 0.5
    return scale * (o / size)


def schedule(layer):
    return 0.8 - 0.6 * np.exp(-0.3 * layer)


RIGHT = {
    "3.1": lambda a, b, lam: np.array(
        [
            soft(x[None])[0] - lam * soft(y[None])[0]
            for x, y in zip(a, b, strict=True)
        ]
    ),
    "3.2": head,
    "3.3": ratio,
    "3.4": lam_terms,
    "3.5": norm,
}

WRONG = {
    "3.1": {
        "before the softmax": lambda a, b, lam: soft(a - lam * b),
        "lam dropped": lambda a, b, lam: soft(a) - soft(b),
        "lam inside": lambda a, b, lam: soft(a) - soft(b * lam),
        "wrong axis": lambda a, b, lam: (
            np.exp(a) / np.exp(a).sum(axis=0)
            - lam * np.exp(b) / np.exp(b).sum(axis=0)
        ),
        "whole matrix": lambda a, b, lam: (
            soft(a.reshape(1, -1)) - lam * soft(b.reshape(1, -1))
        ).reshape(a.shape),
        "lam on both": lambda a, b, lam: lam * soft(a) - lam * soft(b),
        "rows rescaled": lambda a, b, lam: (
            lambda d: d / d.sum(axis=1, keepdims=True)
        )(soft(a) - lam * soft(b)),
        "no keepdims": lambda a, b, lam: (
            np.exp(a) / np.einsum("ts->t", np.exp(a))
            - lam * (np.exp(b) / np.einsum("ts->t", np.exp(b)))
        ),
        "no sum": lambda a, b, lam: np.e**a - lam * np.e**b,
        "added": lambda a, b, lam: soft(a) - (-lam) * soft(b),
        "branches swapped": lambda a, b, lam: -lam * soft(a) + soft(b),
        "lam on the first": lambda a, b, lam: soft(a) * lam - soft(b),
        "negative weights removed": lambda a, b, lam: (
            lambda d: np.where(d < 0, 0, d)
        )(soft(a) - lam * soft(b)),
        "a third softmax": lambda a, b, lam: soft(soft(a) - lam * soft(b)),
    },
    "3.2": {
        "scale by 2D": lambda x, Wq, *a: head(x, Wq, *a, width=Wq.shape[1]),
        "no mask": lambda x, *a: head(x, *a, hide_from=len(x)),
        "mask off by one": lambda *a: head(*a, hide_from=2),
        "interleaved split": interleaved,
        "branches swapped": swapped,
        "keys crossed": crossed,
        "lam dropped": lambda x, Wq, Wk, Wv, lam: head(x, Wq, Wk, Wv, 1),
        "before the softmax": one_map,
        "values split": values_split,
        "one branch's keys twice": lambda x, Wq, Wk, Wv, lam: (
            (
                causal(
                    x @ Wq[:, : len(Wq[0]) // 2], x @ Wk[:, : len(Wk[0]) // 2]
                )
                - lam
                * causal(
                    x @ Wq[:, len(Wq[0]) // 2 :], x @ Wk[:, : len(Wk[0]) // 2]
                )
            )
            @ (x @ Wv)
        ),
        "map returned": lambda x, Wq, Wk, Wv, lam: (
            causal(x @ Wq[:, : len(Wq[0]) // 2], x @ Wk[:, : len(Wk[0]) // 2])
            - lam
            * causal(
                x @ Wq[:, len(Wq[0]) // 2 :], x @ Wk[:, len(Wk[0]) // 2 :]
            )
        ),
        "scaled twice": lambda x, Wq, *a: head(
            x, Wq, *a, width=(Wq.shape[1] / 2) ** 2
        ),
        "no scale": lambda x, Wq, *a: head(x, Wq, *a, width=1),
        "added": lambda x, Wq, Wk, Wv, lam: head(x, Wq, Wk, Wv, -lam),
        "lam on the first": lambda x, Wq, Wk, Wv, lam: head(
            x, Wq, Wk, Wv, 1, lam1=lam
        ),
        "rows rescaled": lambda *a: head(*a) / (1 - a[-1]),
        "one wide map": lambda x, Wq, Wk, Wv, lam: (
            causal(x @ Wq, x @ Wk) @ x @ Wv
        ),
    },
    "3.3": {
        "needle in the noise": lambda w, i: ratio(w, i, skip=False),
        "no absolute value": lambda w, i: ratio(w, i) * np.sign(w[i]),
        "no root": lambda w, i: ratio(w, i, root=False),
        "absolute sum": lambda w, i: ratio(w, i, root=False, power=1),
        "signed sum": lambda w, i: ratio(w, i, root=False, signed=True),
        "mean of squares": lambda w, i: ratio(w, i, mean=True),
        "needle always key 0": lambda w, i: ratio(w, 0),
        "squared": lambda w, i: w[i] ** 2 / sum(np.delete(w, i) ** 2),
        "standard deviation": lambda w, i: (
            abs(w[i]) / np.sqrt(np.var([x for x in w if x != w[i]]))
        ),
        "share": lambda w, i: abs(w[i] / np.linalg.norm(w, 1)),
        "upside down": lambda w, i: (
            np.linalg.norm(np.delete(w, i)) / abs(w[i])
        ),
    },
    "3.4": {
        "layer off by one": lambda *a: lam_terms(*a, late=1),
        "layer counted from one": lambda *a: lam_terms(*a, late=-1),
        "no lam_init": lambda *a: lam_terms(*a, start=0),
        "exponentials added": lambda *a: lam_terms(*a, sign=1),
        "no exponential": lambda a, b, c, d, n: (
            sum(a * b) - sum(c * d) + (0.8 - 0.6 * np.exp(-0.3 * n))
        ),
        "exponential of each product": lambda a, b, c, d, n: (
            sum(
                np.exp(x) - np.exp(y)
                for x, y in zip(a * b, c * d, strict=True)
            )
            + (0.8 - 0.6 * np.exp(-0.3 * n))
        ),
        "no schedule": lambda a, b, c, d, n: (
            np.exp(sum(a * b)) - np.exp(sum(c * d)) + 0.8
        ),
        "product without a sum": lambda a, b, c, d, n: (
            np.array(
                [
                    np.exp(a[i] * b[i]) - np.exp(c[i] * d[i])
                    for i in range(len(a))
                ]
            )
            + schedule(n)
        ),
        "terms swapped": lambda a, b, c, d, n: (
            np.exp(sum(c * d)) - np.exp(sum(a * b)) + schedule(n)
        ),
        "wrong partners": lambda a, b, c, d, n: (
            np.exp(sum(a * c)) - np.exp(sum(b * d)) + schedule(n)
        ),
        "one exponential": lambda a, b, c, d, n: (
            np.exp(sum(a * b)) / np.exp(sum(c * d)) + schedule(n)
        ),
        "exponentials of the vectors": lambda a, b, c, d, n: (
            np.exp(a + b).sum() - np.exp(c + d).sum() + schedule(n)
        ),
        "lam_init subtracted": lambda a, b, c, d, n: (
            np.exp(sum(a * b)) - np.exp(sum(c * d)) - schedule(n)
        ),
        "schedule rising": lambda a, b, c, d, n: (
            lam_terms(a, b, c, d, 0) + 0.6 - 0.6 * np.exp(0.3 * n)
        ),
    },
    "3.5": {
        "heads together": lambda o, n: (
            norm(o.transpose(1, 0, 2).reshape(o.shape[1], -1), n, axis=1)
            .reshape(o.shape[1], o.shape[0], -1)
            .transpose(1, 0, 2)
        ),
        "tokens together": lambda o, n: norm(
            o.reshape(len(o), -1), n, axis=1
        ).reshape(o.shape),
        "everything together": lambda o, n: norm(
            o.reshape(1, -1), n, axis=1
        ).reshape(o.shape),
        "no scale": lambda o, n: norm(o, n, scale=lambda s: 1),
        "scale by lam_init": lambda o, n: norm(o, n, scale=lambda s: s),
        "mean subtracted": lambda o, n: norm(o, n, centre=True),
        "no eps": lambda o, n: norm(o, n, eps=0.0),
        "eps outside": lambda o, n: norm(o, n, outside=True),
        "no keepdims": lambda o, n: (
            (1 - schedule(n)) * o / (np.square(o).mean(axis=2) + 1e-5) ** 0.5
        ),
        "mean before the square": lambda o, n: (
            (1 - schedule(n))
            * o
            / np.sqrt((o.sum(2) / o.shape[2])[..., None] ** 2 + 1e-5)
        ),
        "divided by the factor": lambda o, n: norm(
            o, n, scale=lambda s: 1 / (1 - s)
        ),
        "sum, not mean": lambda o, n: (
            (1 - schedule(n))
            * o
            / np.sqrt(np.einsum("htc,htc->ht", o, o)[..., None] + 1e-5)
        ),
        "no root": lambda o, n: norm(o, n) ** 2 / o / (1 - schedule(n)),
        "standard deviation": lambda o, n: (
            norm(o - o.mean(2)[..., None], n) * o / (o - o.mean(2)[..., None])
        ),
        "wrong axis": lambda o, n: norm(o, n, axis=0),
        "scale before the norm": lambda o, n: norm(
            o * (1 - schedule(n)), n, scale=lambda s: 1
        ),
        "another layer": lambda o, n: norm(
            o, n, scale=lambda s: 1 - schedule(n + 1)
        ),
    },
}
