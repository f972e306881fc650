"""Chapter 04: right and wrong answers written another way than ours."""

import numpy as np


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


def branches(A1, A2, lam, dA, factor=None, first=None, second=None):
    """One row at a time; first and second weight the two means."""
    factor = -lam if factor is None else factor
    first = A1 if first is None else first
    second = A2 if second is None else second
    dS1, dS2 = np.zeros_like(dA), np.zeros_like(dA)
    for t, row in enumerate(dA):
        dS1[t] = A1[t] * (row - first[t] @ row)
        dS2[t] = factor * A2[t] * (row - second[t] @ row)
    return dS1, dS2


def as_one(A1, A2, lam, dA):
    A = A1 - lam * A2
    dS = A * dA - A * np.sum(A * dA, axis=1)[:, None]
    return dS, -lam * dS


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


RIGHT = {
    "4.1": slopes,
    "4.2": jacobian,
    "4.3": branches,
    "4.4": vectors,
    "4.5": norm,
}

WRONG = {
    "4.1": {
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
        "lam dropped": lambda *a: branches(*a, factor=-1.0),
        "sign": lambda A1, A2, lam, dA: branches(A1, A2, lam, dA, lam),
        "lam and sign dropped": lambda *a: branches(*a, factor=1.0),
        "lam twice": lambda A1, A2, lam, dA: branches(
            A1, A2, lam, dA, lam * lam
        ),
        "lam in the map": lambda A1, A2, lam, dA: branches(
            A1, A2, lam, dA, second=-lam * A2
        ),
        "lam in the map, minus outside": lambda A1, A2, lam, dA: branches(
            A1, A2, lam, dA, second=lam * A2
        ),
        "A1 in both": lambda A1, A2, lam, dA: branches(A1, A1, lam, dA),
        "arguments swapped": lambda A1, A2, lam, dA: (
            jacobian(dA, A1),
            jacobian(-lam * dA, A2),
        ),
        "-lam in both": lambda A1, A2, lam, dA: tuple(
            x * y
            for x, y in zip(branches(A1, A2, lam, dA), (-lam, 1), strict=True)
        ),
        "mean of the difference": lambda A1, A2, lam, dA: branches(
            A1, A2, lam, dA, None, A1 - lam * A2, A1 - lam * A2
        ),
        "mean of branch 1": lambda A1, A2, lam, dA: branches(
            A1, A2, lam, dA, second=A1
        ),
        "means forgotten": lambda A1, A2, lam, dA: branches(
            A1, A2, lam, dA, None, 0 * A1, 0 * A2
        ),
        "one softmax": as_one,
        "maps, not scores": lambda A1, A2, lam, dA: (1.0 * dA, dA * -lam),
        "order": lambda *a: tuple(reversed(branches(*a))),
    },
    "4.4": {
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
    "4.5": {
        "r constant": lambda o, dy, scale: (
            scale * dy / np.sqrt(np.mean(o * o, 2)[..., None] + 1e-5)
        ),
        "own path": lambda *a: norm(*a, pool=lambda x: x / x.shape[2]),
        "own path, no mean": lambda *a: norm(*a, pool=lambda x: x),
        "o in front forgotten": lambda o, dy, scale: (
            norm(o, dy, scale, through=0)
            - (norm(o, dy, scale, through=0) - norm(o, dy, scale)) / o
        ),
        "sum": lambda *a: norm(*a, pool=lambda x: x.sum(2)[..., None]),
        "twice": lambda *a: norm(*a, through=2),
        "half": lambda *a: norm(*a, through=1 / 2),
        "r to the second": lambda *a: norm(*a, power=1),
        "r to the first": lambda *a: norm(*a, power=0.5),
        "sign": lambda *a: norm(*a, through=-1),
        "keepdims": lambda *a: norm(*a, pool=lambda x: x.mean(axis=2)),
        "everything pooled": lambda *a: norm(*a, pool=np.mean),
        "whole part along o": lambda o, dy, scale: (
            scale
            * (dy - o * ((o * dy).sum(2) / (o * o).sum(2))[..., None])
            * (np.mean(o * o, 2)[..., None] + 1e-5) ** -0.5
        ),
        "eps outside the root": lambda o, dy, scale: norm(
            o,
            dy,
            scale,
            eps=(2e-5 * np.mean(o * o, 2) ** 0.5 + 1e-10)[..., None],
        ),
        "scale twice": lambda o, dy, scale: scale * norm(o, dy, scale),
        "scale dropped": lambda o, dy, scale: norm(o, dy, 1),
        "scale in one term": lambda o, dy, scale: (
            norm(o, dy, scale, through=0)
            + norm(o, dy, 1)
            - norm(o, dy, 1, through=0)
        ),
        "no eps": lambda o, dy, scale: norm(o, dy, scale, eps=0.0),
        "mean subtracted": lambda *a: (lambda x: x - x.mean(2)[..., None])(
            norm(*a)
        ),
    },
}
