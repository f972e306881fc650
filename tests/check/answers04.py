"""Chapter 04: right and wrong answers written another way than ours."""

import numpy as np

from minidiff import reference


def moved(x, i, by):
    x = np.array(x)
    x[i] = x[i] + by
    return x


def slopes(f, x, h, below=True, width=2, only_first=False):
    x, out = np.array(x), []
    for i in np.ndindex(x.shape):
        low = f(moved(x, i, -h)) if below else f(x)
        out.append((f(moved(x, i, h)) - low) / (width * h))
    return np.reshape(out, x.shape)


def in_place(f, x, h):
    x, out = np.array(x), []
    for i in np.ndindex(x.shape):
        x[i] = x[i] + h
        high = f(x)
        x[i] = x[i] - h - h
        out.append((high - f(x)) / 2 / h)
    return np.reshape(out, x.shape)


def drifting(f, x, h):
    out, step = np.empty_like(x), np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step[i] = h
        out[i] = (f(x + step) - f(x - step)) / (2 * h)
    return out


def second_name(f, x, h):
    grad = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        up = x
        up[i] += h
        down = x
        down[i] -= h
        grad[i] = (f(up) - f(down)) / (2 * h)
    return grad


def by_rows(f, x, h):
    grad = np.zeros(x.shape)
    for i, _ in enumerate(x):
        grad[i] = (f(moved(x, i, h)) - f(moved(x, i, -h))) / 2 / h
    return grad


def together(f, x, h):
    return np.ones_like(x) * (f(x + h) - f(x - h)) / 2 / h


def jacobian(A, dA, own=True, others=True, sign=1):
    """Every pair (i, j) written out, for any number of leading axes."""
    eye = np.eye(A.shape[-1])
    J = own * A[..., None] * eye - others * A[..., None] * A[..., None, :]
    return sign * np.einsum("...ij,...j->...i", J, dA)


def diagonal_only(A, dA):
    return (A - A**2) * dA


def own_twice(A, dA):
    return jacobian(A, dA) - A**2 * dA


def by_columns(A, dA):
    return A * dA - A * np.sum(A * dA, axis=A.ndim - 2)[..., None, :]


def lost_axis(A, dA):
    return A * dA - A * np.einsum("...ts,...ts->...t", A, dA)


def scores_of(q, k):
    """A causal map, one row at a time."""
    T, S = len(q), len(k)
    A = np.zeros((T, S))
    for t in range(T):
        seen = S - T + t + 1
        e = np.exp(k[:seen] @ q[t] / len(q[t]) ** 0.5)
        A[t, :seen] = e / np.sum(e)
    return A


def head(
    q1,
    k1,
    q2,
    k2,
    v,
    lam,
    do,
    factor=None,
    first=None,
    second=None,
    width=None,
    plus=-1,
    maps=scores_of,
    value_map=None,
):
    """Row by row; first and second(A1, A2) weight the two means."""
    A1, A2 = maps(q1, k1), maps(q2, k2)
    factor = -lam if factor is None else factor
    width = width or len(q1[0])
    out = [np.zeros_like(x) for x in (q1, k1, q2, k2, v)]
    W = A1 - lam * A2 if value_map is None else value_map(A1, A2)
    dlam = 0.0
    for t, row in enumerate(do):
        dA = v @ row
        m1 = (A1 if first is None else first(A1, A2))[t] @ dA
        m2 = (A2 if second is None else second(A1, A2))[t] @ dA
        for b, q, k, A, m, f in (
            (0, q1, k1, A1, m1, 1),
            (2, q2, k2, A2, m2, factor),
        ):
            dS = f * A[t] * (dA - m) / width**0.5
            out[b][t] += dS @ k
            out[b + 1] += np.outer(dS, q[t])
        out[4] += np.outer(W[t], row)
        dlam += plus * float(A2[t] @ dA)
    return (*out, dlam)


def unmasked(q, k):
    e = np.exp(q @ k.T / len(q[0]) ** 0.5)
    return e / np.sum(e, 1)[:, None]


def as_one(q1, k1, q2, k2, v, lam, do):
    A = scores_of(q1, k1) - lam * scores_of(q2, k2)
    dS = jacobian(A, do @ v.T) / len(q1[0]) ** 0.5
    dlam = head(q1, k1, q2, k2, v, lam, do)[5]
    branch2 = -lam * dS @ k2, -lam * dS.T @ q2
    return dS @ k1, dS.T @ q1, *branch2, A.T @ do, dlam


def keys_not_turned(*a):
    out = list(head(*a))
    for q, k in ((0, 1), (2, 3)):
        A = scores_of(a[q], a[k])
        dS = jacobian(A, a[6] @ a[4].T) / len(a[0][0]) ** 0.5
        out[k] = dS @ a[q] * (1 if q == 0 else -a[5])
    return tuple(out)


def half_scaled(*a):
    out = list(head(*a))
    for i in (1, 3):
        out[i] = out[i] * len(a[0][0]) ** 0.5
    return tuple(out)


def vectors(x, dlam, sign=-1, exps=None, rows=(0, 1, 2, 3)):
    a, b, c, d = (x[i] for i in rows)
    e, f = exps or (np.exp(np.sum(a * b)), np.exp(np.sum(c * d)))
    out = np.zeros(x.shape)
    for i, row in zip(
        rows, (b * e, a * e, sign * d * f, sign * c * f), strict=True
    ):
        out[i] = dlam * row
    return out


def whole_lambda(x, dlam):
    both = np.exp(np.dot(x[0], x[1])) - np.exp(np.dot(x[2], x[3]))
    return np.array([dlam * both * x[i] for i in (1, 0, 3, 2)])


def same_vector(x, dlam):
    e = [np.exp(x[0] @ x[1]), -np.exp(x[2] @ x[3])]
    return dlam * np.repeat(e, 2)[:, None] * x


def norm(o, dy, scale, eps=1e-5, through=1.0, power=1.5, pool=None):
    """Mean square first: r is its power of -1/2, r's slope one of -3/2."""
    square = np.mean(o * o, axis=2, keepdims=True) + eps
    pool = pool or (lambda x: np.mean(x, axis=2, keepdims=True))
    meet = through * pool(dy * o) * o
    return scale * (dy * square**-0.5 - meet * square**-power)


def with_root(o, dy, scale, r):
    """The derivative of o r, with a wrong r, term by term."""
    along = np.einsum("htd,htd->ht", o, dy)[..., None] / o.shape[2]
    return scale * (r * dy - r**3 * o * along)


RIGHT = {
    "4.1": slopes,
    "4.2": jacobian,
    "4.3": vectors,
    "4.4": norm,
    "4.5": head,
}

WRONG = {
    "4.1": {
        "imported answer": lambda f, x, h: reference.numerical_gradient(f, x),
        "one side": lambda f, x, h: slopes(f, x, h, below=False, width=1),
        "divided by h": lambda f, x, h: slopes(f, x, h, width=1),
        "brackets": lambda f, x, h: slopes(f, x, h) * h * h,
        "all at once": together,
        "one slope": lambda f, x, h: f(x + h) / h / 2 - f(x - h) / h / 2,
        "in one line": lambda f, x, h: slopes(f, x, h).reshape(-1),
        "rows at once": by_rows,
        "not put back": in_place,
        "copied once": drifting,
        "same array": second_name,
        "own step": lambda f, x, h: slopes(f, x, 1e-5),
        "sign": lambda f, x, h: slopes(f, x, h, width=-2),
    },
    "4.2": {
        "imported answer": lambda A, dA: reference.softmax_backward(A, dA),
        "mean forgotten": lambda A, dA: jacobian(A, dA, others=False),
        "own path only": diagonal_only,
        "own path twice": own_twice,
        "wrong axis": by_columns,
        "whole map": lambda A, dA: A * dA - A * np.vdot(A, dA),
        "keepdims": lost_axis,
        "plain sum": lambda A, dA: (
            A * dA - A * np.einsum("...s->...", dA)[..., None]
        ),
        "plain mean": lambda A, dA: (
            A * dA - A * dA.sum(-1)[..., None] / A.shape[-1]
        ),
        "mean of the products": lambda A, dA: (
            A * dA - A * np.average(A * dA, axis=-1)[..., None]
        ),
        "others' sign": lambda A, dA: jacobian(A, dA, others=-1),
        "no A on the sum": lambda A, dA: (
            A * dA - np.einsum("...s,...s->...", A, dA)[..., None]
        ),
        "1 - A as well": lambda A, dA: jacobian(A, dA) * (1.0 - A),
        "through Z only": lambda A, dA: jacobian(A, dA, own=False),
        "axis put back too early": lambda A, dA: (
            A * (dA - np.expand_dims((A * dA).sum(axis=-1), 1))
        ),
        "factor A forgotten": lambda A, dA: jacobian(A, dA) / A,
        "sign": lambda A, dA: jacobian(A, dA, sign=-1),
    },
    "4.3": {
        "own vector": same_vector,
        "minus dropped": lambda *a: vectors(*a, sign=1),
        "no exponential": lambda *a: vectors(*a, exps=(1.0, 1.0)),
        "entry by entry": lambda x, n: vectors(
            x, n, exps=(np.exp(x[0] * x[1]), np.exp(x[2] * x[3]))
        ),
        "one exponential": lambda x, n: vectors(
            x, n, exps=(np.exp(x[0] @ x[1]),) * 2
        ),
        "difference in front": whole_lambda,
        "dlam dropped": lambda x, n: vectors(x, 1),
        "not stacked": lambda *a: (*vectors(*a),),
        "order": lambda *a: np.array([vectors(*a)[i] for i in (0, 2, 1, 3)]),
        "vectors read in another order": lambda *a: vectors(
            *a, rows=(0, 2, 1, 3)
        ),
    },
    "4.4": {
        "root forgotten": lambda o, dy, scale, eps: with_root(
            o, dy, scale, 1 / (np.mean(o * o, 2)[..., None] + eps)
        ),
        "r upside down": lambda o, dy, scale, eps: with_root(
            o, dy, scale, np.sqrt(np.mean(o * o, 2)[..., None] + eps)
        ),
        "axis put back too early": lambda o, dy, scale, eps: norm(
            o, dy, scale, eps, pool=lambda x: x.mean(2)[:, None]
        ),
        "imported answer": lambda o, dy, scale, eps: (
            reference.headwise_norm_backward(o, dy)
        ),
        "own eps": lambda o, dy, scale, eps: norm(o, dy, scale),
        "r constant": lambda o, dy, scale, eps: (
            scale * dy / np.sqrt(np.mean(o * o, 2)[..., None] + eps)
        ),
        "own path": lambda *a: norm(*a, pool=lambda x: x / x.shape[2]),
        "own path, no mean": lambda *a: norm(*a, pool=lambda x: x),
        "o in front forgotten": lambda o, dy, scale, eps: (
            norm(o, dy, scale, eps, through=0)
            - (norm(o, dy, scale, eps, through=0) - norm(o, dy, scale, eps))
            / o
        ),
        "sum": lambda *a: norm(*a, pool=lambda x: x.sum(2)[..., None]),
        "twice": lambda *a: norm(*a, through=2),
        "half": lambda *a: norm(*a, through=1 / 2),
        "r to the second": lambda *a: norm(*a, power=1),
        "r to the first": lambda *a: norm(*a, power=0.5),
        "sign": lambda *a: norm(*a, through=-1),
        "keepdims": lambda *a: norm(*a, pool=lambda x: x.mean(axis=2)),
        "everything pooled": lambda *a: norm(*a, pool=np.mean),
        "whole part along o": lambda o, dy, scale, eps: (
            scale
            * (dy - o * ((o * dy).sum(2) / (o * o).sum(2))[..., None])
            * (np.mean(o * o, 2)[..., None] + eps) ** -0.5
        ),
        "eps outside the root": lambda o, dy, scale, eps: norm(
            o,
            dy,
            scale,
            (2 * eps * np.mean(o * o, 2) ** 0.5 + eps**2)[..., None],
        ),
        "scale twice": lambda o, dy, scale, eps: (
            scale * norm(o, dy, scale, eps)
        ),
        "scale dropped": lambda o, dy, scale, eps: norm(o, dy, 1, eps),
        "scale in one term": lambda o, dy, scale, eps: (
            norm(o, dy, scale, eps, through=0)
            + norm(o, dy, 1, eps)
            - norm(o, dy, 1, eps, through=0)
        ),
        "no eps": lambda o, dy, scale, eps: norm(o, dy, scale, 0.0),
        "mean subtracted": lambda *a: (lambda x: x - x.mean(2)[..., None])(
            norm(*a)
        ),
    },
    "4.5": {
        "scale by D": lambda *a: head(*a, width=len(a[0][0]) ** 2),
        "scale by the length": lambda *a: head(*a, width=len(a[0])),
        "multiplied by the root": lambda *a: head(*a, width=1 / len(a[0][0])),
        "scale in one branch": lambda *a: (
            *head(*a, width=1)[:2],
            *head(*a)[2:],
        ),
        "lam in the map": lambda *a: head(
            *a, second=lambda A1, A2: -a[5] * A2
        ),
        "lam in dlam": lambda *a: head(*a, plus=-a[5]),
        "transpose forgotten": keys_not_turned,
        "transpose of the map forgotten": lambda *a: (
            *head(*a)[:4],
            (scores_of(*a[:2]) - a[5] * scores_of(*a[2:4])) @ a[6],
            head(*a)[5],
        ),
        "imported answer": lambda *a: reference.diff_attention_backward(*a),
        "no scale": lambda *a: head(*a, width=1),
        "scale on the queries alone": half_scaled,
        "scale by sqrt(2D)": lambda *a: head(*a, width=2 * len(a[0][0])),
        "no mask": lambda *a: head(*a, maps=unmasked),
        "lam dropped": lambda *a: head(*a, factor=-1),
        "sign": lambda *a: head(*a, factor=a[5]),
        "lam and sign dropped": lambda *a: head(*a, factor=1),
        "lam twice": lambda *a: head(*a, factor=a[5] * a[5]),
        "means forgotten": lambda *a: head(
            *a, first=lambda A1, A2: 0 * A1, second=lambda A1, A2: 0 * A2
        ),
        "mean of branch 1": lambda *a: head(*a, second=lambda A1, A2: A1),
        "mean of the difference": lambda *a: head(
            *a,
            first=lambda A1, A2: A1 - a[5] * A2,
            second=lambda A1, A2: A1 - a[5] * A2,
        ),
        "one softmax": as_one,
        "values of branch 1": lambda *a: head(*a, value_map=lambda A1, A2: A1),
        "values of the sum": lambda *a: head(
            *a, value_map=lambda A1, A2: A1 + a[5] * A2
        ),
        "dlam sign": lambda *a: head(*a, plus=1),
        "order": lambda *a: (lambda q, k, r, m, v, n: (q, r, k, m, v, n))(
            *head(*a)
        ),
        "queries and keys swapped": lambda *a: (
            lambda q, k, r, m, v, n: (k, q, m, r, v, n)
        )(*head(*a)),
    },
}
