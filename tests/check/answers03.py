"""Chapter 03: right and wrong answers written another way than ours."""

import numpy as np

from minidiff import reference


def causal(q, k, hide_from=1, width=None, late=False, hidden=None, safe=True):
    """One row at a time; ``hidden`` is a score that hidden keys get."""
    T, D = q.shape
    A = np.zeros((T, T))
    for t in range(T):
        n = min(T, t + hide_from)
        scores = k @ q[t] / (width or D) ** 0.5
        if hidden is not None:
            scores[n:] = hidden
        elif not late:
            scores = scores[:n]
        e = np.exp(scores - (np.max(scores) if safe else 0))
        A[t, : len(e)] = e / np.sum(e)
        if late:
            A[t, n:] = 0
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


def partner(row, needle, lam, keys=None):
    """One key at a time: what cancels it, and the rest for the needle."""
    keys = (
        [s for s in range(len(row)) if s != needle] if keys is None else keys
    )
    out = np.zeros(len(row))
    for s in keys:
        out[s] = row[s] / lam
    out[needle] += 1 - np.sum(out)
    return out


def unscaled(row, needle, lam):
    out = np.array([w for w in row])
    out[needle] = 0.0
    return out


def weights_of(scores):
    e = np.exp(scores)
    return e / np.sum(e, axis=1)[:, None]


def slopes_of(a, b, needle, lift, lam, both=0, count=1.0):
    """Slopes of log(SNR) in lift and lam, derived by hand.

    The needle's weight w grows with slope w (1 - w), every other weight u
    with slope -u w. ``both``: branch 2 has the lift as well.
    """
    hot = np.eye(len(a[0]))[needle]
    A1, A2 = weights_of(a + lift * hot), weights_of(b + both * lift * hot)
    A = A1 - lam * A2
    in_lift = A1 * (hot - A1[:, [needle]])
    in_lift -= both * lam * A2 * (hot - A2[:, [needle]])
    rest = (1 - hot) * A
    noise = np.sum(rest**2)
    slopes = []
    for slope in (in_lift, -A2):
        signal = np.sum(slope[:, needle]) / np.sum(A[:, needle])
        slopes.append(signal - count * np.sum(rest * slope) / noise)
    return slopes


def climb(a, b, needle, start, rate, steps, how=slopes_of, order=(0, 1)):
    path = np.zeros((steps + 1, 2))
    path[0] = start
    for n in range(steps):
        slopes = how(a, b, needle, *path[n])
        for i in order:
            path[n + 1, i] = path[n, i] + rate * slopes[i]
    return path


def snr_of(a, b, needle, lift, lam, sign=-1, one_softmax=False):
    """All that a goal may need: signal of each row, weights elsewhere."""
    hot = np.eye(len(a[0]))[needle]
    if one_softmax:
        A = weights_of(a + lift * hot - lam * b)
    else:
        A = weights_of(a + lift * hot) + sign * lam * weights_of(b)
    keep = [s for s in range(len(a[0])) if s != needle]
    return A[:, needle], A[:, keep]


def with_maps(goal):
    """Learning by a goal of the whole difference of the maps."""

    def answer(a, b, needle, start, rate, steps, h=1e-4):
        hot = np.eye(len(a[0]))[needle]

        def at(x, y):
            A = weights_of(a + x * hot) - y * weights_of(b)
            return goal(A, needle)

        def how(a, b, needle, x, y):
            return (
                (at(x + h, y) - at(x - h, y)) / h / 2,
                (at(x, y + h) - at(x, y - h)) / h / 2,
            )

        return climb(a, b, needle, start, rate, steps, how=how)

    return answer


@with_maps
def of_a_row(A, needle):
    rest = np.hstack([A[:, :needle], A[:, needle + 1 :]])
    return np.log(abs(sum(A[needle]) / len(A[0]))) - 0.5 * np.log(
        np.sum(rest**2) / len(A)
    )


@with_maps
def of_a_flat_array(A, needle):
    flat = list(A.flatten())
    del flat[needle]
    noise = sum(x * x for x in flat) / len(flat)
    return np.log(abs(A[:, needle].mean()) / noise**0.5)


def lifted_row(a, b, needle, start, rate, steps):
    """The lift in a row has no effect on its softmax: only lam moves."""
    flat = measured(log_ratio)
    path = [start]
    for _ in range(steps):
        lift, lam = path[-1]
        lam = flat(a, b, needle, (0.0, lam), rate, 1)[1][1]
        path.append((lift, lam))
    return np.array(path)


def measured(goal, **options):
    """Learning by a goal(signals, others, all), slopes by differences."""

    def how(a, b, needle, lift, lam, h=1e-5):
        def at(x, y):
            return goal(*snr_of(a, b, needle, x, y, **options))

        return (
            (at(lift + h, lam) - at(lift - h, lam)) / h / 2,
            (at(lift, lam + h) - at(lift, lam - h)) / h / 2,
        )

    return lambda *args: climb(*args, how=how)


def in_turn(a, b, needle, start, rate, steps):
    lift, lam = start
    path = [start]
    for _ in range(steps):
        lift = lift + rate * slopes_of(a, b, needle, lift, lam)[0]
        lam = lam + rate * slopes_of(a, b, needle, lift, lam)[1]
        path.append((lift, lam))
    return np.array(path)


def log_ratio(w, rest):
    return np.log(abs(np.mean(w))) - np.log(np.mean(np.sum(rest**2, 1))) / 2


def norm(o, layer, eps=1e-5, axis=2, scale=None, centre=False, outside=False):
    start = 0.8 - 0.6 * np.exp(-0.3 * layer)
    scale = (1 - start) if scale is None else scale(start)
    if centre:
        o = o - np.mean(o, axis=axis, keepdims=True)
    size = np.mean(np.square(o), axis=axis, keepdims=True)
    size = size**0.5 + eps if outside else (size + eps) ** 0.5
    return scale * (o / size)


def schedule(layer):
    return 0.8 - 0.6 * np.exp(-0.3 * layer)


RIGHT = {"3.1": partner, "3.2": head, "3.3": norm, "3.4": climb}

WRONG = {
    "3.1": {
        "needle's old weight counted": lambda row, i, lam: (
            (
                row * (np.arange(len(row)) != i)
                + (lam - 1) * np.eye(len(row))[i]
            )
            / lam
        ),
        "needle cancelled as well": lambda row, i, lam: np.divide(row, lam),
        "row 1 again": lambda row, i, lam: row * lam / lam,
        "needle left at 0": lambda row, i, lam: (
            partner(row, i, lam) * (np.arange(len(row)) != i)
        ),
        "needle left at 0, rescaled": lambda row, i, lam: (
            unscaled(row, i, lam) / (1 - row[i])
        ),
        "multiplied by lam": lambda row, i, lam: partner(row, i, 1 / lam),
        "lam forgotten": unscaled,
        "needle gets 1 - lam": lambda row, i, lam: np.array(
            [1 - lam if s == i else w / lam for s, w in enumerate(row)]
        ),
        "the difference": lambda row, i, lam: row - lam * partner(row, i, lam),
        "lam times row 2": lambda row, i, lam: np.array(
            [lam - 1 + row[i] if s == i else w for s, w in enumerate(row)]
        ),
        "all equal": lambda row, i, lam: np.ones(len(row)) / len(row),
        "key 0 as the needle": lambda row, i, lam: partner(row, 0, lam),
        "loudest key as the needle": lambda row, i, lam: partner(
            row, list(row).index(max(row)), lam
        ),
        "scores": lambda row, i, lam: (
            np.log2(partner(row, i, lam)) * np.log(2)
        ),
    },
    "3.2": {
        "keys ask queries": lambda x, Wq, Wk, Wv, lam: head(
            x, Wk, Wq, Wv, lam
        ),
        "cut at 2D": lambda x, Wq, *a: head(
            x, Wq, *a, pick=(list(range(len(Wq[0]))), [])
        ),
        "one column lost": lambda x, Wq, *a: head(
            x,
            Wq,
            *a,
            pick=(
                list(range(len(Wq[0]) // 2)),
                list(range(len(Wq[0]) // 2 + 1, len(Wq[0]))),
            ),
        ),
        "values not projected": lambda x, Wq, Wk, Wv, lam: head(
            x, Wq, Wk, np.identity(x.shape[1]), lam
        ),
        "imported answer": lambda x, Wq, Wk, Wv, lam: reference.diff_head(
            x @ Wq, x @ Wk, x @ Wq, x @ Wk, x @ Wv, lam
        ),
        "scale by 2D": lambda x, Wq, *a: head(x, Wq, *a, width=Wq.shape[1]),
        "no mask": lambda x, *a: head(x, *a, hide_from=len(x)),
        "mask off by one": lambda *a: head(*a, hide_from=2),
        "scale by E": lambda x, *a: head(x, *a, width=len(x[0])),
        "hidden by a finite number": lambda *a: head(*a, hidden=-1e4),
        "hidden scores set to 0": lambda *a: head(*a, hidden=0),
        "masked after the softmax": lambda *a: head(*a, late=True),
        "maximum forgotten": lambda *a: head(*a, safe=False),
        "cut at E / 2": lambda x, Wq, *a: head(
            x,
            Wq,
            *a,
            pick=(
                list(range(len(Wq[0])))[: len(x[0]) // 2],
                list(range(len(Wq[0])))[len(x[0]) // 2 :],
            ),
        ),
        "transposed weights": lambda x, Wq, Wk, Wv, lam: head(
            x, *(np.swapaxes(W, 0, 1) for W in (Wq, Wk, Wv)), lam
        ),
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
        "multiplied by the root": lambda o, n, eps: (
            (1 - schedule(n)) * o * np.sqrt(np.mean(o * o, 2) + eps)[..., None]
        ),
        "plus in the factor": lambda o, n, eps: norm(
            o, n, eps, scale=lambda s: 1 + s
        ),
        "lam_init rises too fast": lambda o, n, eps: norm(
            o, n, eps, scale=lambda s: 1 - schedule(-n)
        ),
        "axis put back too early": lambda o, n, eps: (
            (1 - schedule(n))
            * o
            / np.expand_dims(np.mean(o * o, axis=-1) + eps, 1) ** 0.5
        ),
        "brackets of lam_init": lambda o, n, eps: norm(
            o, n, eps, scale=lambda s: 1 - 0.8 - 0.6 * np.exp(-0.3 * n)
        ),
        "imported answer": lambda o, n, eps: reference.headwise_norm(o),
        "heads together": lambda o, n, eps: (
            norm(o.transpose(1, 0, 2).reshape(o.shape[1], -1), n, eps, axis=1)
            .reshape(o.shape[1], o.shape[0], -1)
            .transpose(1, 0, 2)
        ),
        "tokens together": lambda o, n, eps: norm(
            o.reshape(len(o), -1), n, eps, axis=1
        ).reshape(o.shape),
        "everything together": lambda o, n, eps: norm(
            o.reshape(1, -1), n, eps, axis=1
        ).reshape(o.shape),
        "no scale": lambda o, n, eps: norm(o, n, eps, scale=lambda s: 1),
        "scale by lam_init": lambda o, n, eps: norm(
            o, n, eps, scale=lambda s: s
        ),
        "mean subtracted": lambda o, n, eps: norm(o, n, eps, centre=True),
        "own eps": lambda o, n, eps: norm(o, n),
        "no eps": lambda o, n, eps: norm(o, n, 0.0),
        "eps outside": lambda o, n, eps: norm(o, n, eps, outside=True),
        "no keepdims": lambda o, n, eps: (
            (1 - schedule(n)) * o / (np.square(o).mean(axis=2) + eps) ** 0.5
        ),
        "mean before the square": lambda o, n, eps: (
            (1 - schedule(n))
            * o
            / np.sqrt((o.sum(2) / o.shape[2])[..., None] ** 2 + eps)
        ),
        "divided by the factor": lambda o, n, eps: norm(
            o, n, eps, scale=lambda s: 1 / (1 - s)
        ),
        "sum, not mean": lambda o, n, eps: (
            (1 - schedule(n))
            * o
            / np.sqrt(np.einsum("htc,htc->ht", o, o)[..., None] + eps)
        ),
        "no root": lambda o, n, eps: (
            norm(o, n, eps) ** 2 / o / (1 - schedule(n))
        ),
        "standard deviation": lambda o, n, eps: (
            norm(o - o.mean(2)[..., None], n, eps)
            * o
            / (o - o.mean(2)[..., None])
        ),
        "wrong axis": lambda o, n, eps: norm(o, n, eps, axis=0),
        "scale before the norm": lambda o, n, eps: norm(
            o * (1 - schedule(n)), n, eps, scale=lambda s: 1
        ),
        "another layer": lambda o, n, eps: norm(
            o, n, eps, scale=lambda s: 1 - schedule(n + 1)
        ),
    },
    "3.4": {
        "lift for a score": lambda a, b, i, *rest: climb(
            np.where(np.arange(len(a[0])) == i, 0, a), b, i, *rest
        ),
        "lift in a row": lifted_row,
        "another logarithm": lambda a, b, i, start, rate, n: climb(
            a, b, i, start, rate / np.log(2), n
        ),
        "a row for the needle": of_a_row,
        "delete without an axis": of_a_flat_array,
        "start swapped": lambda a, b, i, start, *rest: np.vstack(
            [start[::-1], climb(a, b, i, start, *rest)[1:]]
        ),
        "brackets": lambda a, b, i, start, rate, n: climb(
            a, b, i, start, rate * 1e-8, n
        ),
        "one side": lambda *a: climb(
            *a,
            how=lambda u, v, i, x, y: (
                1e4
                * (
                    log_ratio(*snr_of(u, v, i, x + 1e-4, y))
                    - log_ratio(*snr_of(u, v, i, x, y))
                ),
                1e4
                * (
                    log_ratio(*snr_of(u, v, i, x, y + 1e-4))
                    - log_ratio(*snr_of(u, v, i, x, y))
                ),
            ),
        ),
        "one array in all rows": lambda *a: 0 * climb(*a) + climb(*a)[-1:],
        "downhill": lambda a, b, i, start, rate, n: climb(
            a, b, i, start, -rate, n
        ),
        "one after the other": in_turn,
        "lift in both branches": lambda *a: climb(
            *a, how=lambda *x: slopes_of(*x, both=1)
        ),
        "scores subtracted": measured(log_ratio, one_softmax=True),
        "added": measured(log_ratio, sign=1),
        "needle in the noise": measured(
            lambda w, rest: (
                np.log(abs(w.mean()))
                - np.log(np.mean(w**2 + np.sum(rest**2, 1))) / 2
            )
        ),
        "a ratio for each row": measured(
            lambda w, rest: np.mean(
                np.log(np.abs(w)) - np.log(np.linalg.norm(rest, axis=1))
            )
        ),
        "mean of the roots": measured(
            lambda w, rest: np.log(
                abs(w.sum()) / np.linalg.norm(rest, axis=1).sum()
            )
        ),
        "absolute weights": measured(
            lambda w, rest: np.log(abs(w.sum()) / np.abs(rest).sum())
        ),
        "no root": lambda *a: climb(
            *a, how=lambda *x: slopes_of(*x, count=2.0)
        ),
        "no logarithm": measured(
            lambda w, rest: abs(w.mean()) / np.mean(np.sum(rest**2, 1)) ** 0.5
        ),
        "no absolute value": measured(
            lambda w, rest: (
                np.log(w.mean() / np.mean(np.sum(rest**2, 1)))
                + np.log(np.mean(np.sum(rest**2, 1))) / 2
            )
        ),
        "divided by h": lambda a, b, i, start, rate, n: climb(
            a, b, i, start, 2 * rate, n
        ),
        "lam stays": lambda *a: climb(
            *a, how=lambda *x: (slopes_of(*x)[0], 0.0)
        ),
        "lift stays": lambda *a: climb(
            *a, how=lambda *x: (0.0, slopes_of(*x)[1])
        ),
        "rate dropped": lambda a, b, i, start, rate, n: climb(
            a,
            b,
            i,
            start,
            rate,
            n,
            how=lambda *x: np.divide(slopes_of(*x), rate),
        ),
        "key 0 as the needle": lambda a, b, i, *rest: climb(a, b, 0, *rest),
        "start left out": lambda *a: np.delete(climb(*a), 0, 0),
        "end left out": lambda *a: climb(*a)[: a[-1]],
        "only the end": lambda *a: climb(*a)[a[-1]],
        "columns swapped": lambda *a: climb(*a)[:, [1, 0]],
        "sideways": lambda *a: np.array(list(zip(*climb(*a), strict=True))),
    },
}
