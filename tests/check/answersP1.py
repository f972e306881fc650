"""Problem set 1: right and wrong answers written another way than ours."""

import math

import numpy as np

# P1.1 --------------------------------------------------------------------


def first_then_rest(blocks):
    """No -inf anywhere: the first block starts the count."""
    m = z = None
    for block in blocks:
        for s in block.tolist():
            if m is None:
                m, z = s, 1.0
            elif s <= m:
                z += math.exp(s - m)
            else:
                m, z = s, z * math.exp(m - s) + 1.0
    return m, z


def scan(blocks, step):
    """Fold `step(m, z, top, terms)` over the blocks."""
    m, z = -np.inf, 0.0
    for s in blocks:
        m, z = step(m, z, np.max(s), lambda x, s=s: np.sum(np.exp(s - x)))
    return m, z


def two_cases(m, z, top, terms):
    return (top, z + terms(top)) if top > m else (m, z + terms(m))


def divide(m, z, top, terms):
    new = np.maximum(m, top)
    return new, z / np.exp(m - new) + terms(new)


def whole(blocks):
    row = [s for block in list(blocks) for s in block]
    top = np.max(row)
    return top, sum(np.exp(s - top) for s in row)


# P1.2 --------------------------------------------------------------------


def by_logs(a, b):
    """Through the logarithm of the common sum's shift, no max of floats."""
    if a[0] < b[0]:
        a, b = b, a
    if not np.isfinite(a[0]):
        return a
    f = math.exp(b[0] - a[0])
    return a[0], a[1] + b[1] * f, np.add(a[2], f * b[2])


def pair(a, b, scale, finish=lambda z, u, parts: u):
    m = np.max([a[0], b[0]])
    f, g = scale(a[0], m), scale(b[0], m)
    z = a[1] * f + b[1] * g
    u = a[2] * f + b[2] * g
    return m, z, finish(z, u, ((f, *a), (g, *b)))


def shrink(x, m):
    return np.exp(x - m)


def outputs(z, u, parts):
    return sum(f * z1 * u1 for f, _, z1, u1 in parts) / z


# P1.3 --------------------------------------------------------------------


def rows(
    q, blocks, S, *, see=None, root=math.sqrt, keep=True, log=True, own=True
):
    """Query by query and key by key; `see` says how many keys a row sees."""
    T, D = q.shape
    see = see or (lambda t, start: t + S - T + 1)
    m, z, u = [-math.inf] * T, [0.0] * T, [0.0] * T
    start = 0
    for k, v in blocks:
        k, v = k.copy(), v.copy()
        for t in range(T):
            for j in range(len(k)):
                if start + j >= see(t, start):
                    continue
                s = float(q[t] @ k[j]) / root(D)
                new = max(m[t], s)
                f = math.exp(m[t] - new)
                z[t] = z[t] * f + math.exp(s - new)
                u[t] = u[t] * (f if keep else 1) + math.exp(s - new) * v[j]
                m[t] = new
        start += len(k)
    out = np.array([a / b for a, b in zip(u, z, strict=True)])
    m, z = np.array(m), np.array(z)
    return out, m + np.log(z) if log else np.log(z)


def block_rows(q, blocks, S, combine):
    """Per row and block: the scores seen; `combine` makes out and lse."""
    T, D = q.shape
    seen = [[] for _ in range(T)]
    start = 0
    for k, v in blocks:
        for t in range(T):
            n = min(max(t + S - T + 1 - start, 0), len(k))
            s = k[:n] @ q[t] / D**0.5
            seen[t].append((s.copy(), v[:n].copy()))
        start += len(k)
    pairs = [combine(parts) for parts in seen]
    return tuple(np.array(x) for x in zip(*pairs, strict=True))


def lse_of(parts):
    s = np.concatenate([s for s, _ in parts])
    return s.max() + np.log(np.exp(s - s.max()).sum())


def softmax_each(parts):
    out = 0.0
    for s, v in parts:
        if len(s):
            e = np.exp(s - s.max())
            out = out + e @ v / e.sum()
    return out, lse_of(parts)


def so_far(parts):
    out, done = 0.0, []
    for s, v in parts:
        done.append((s, v))
        out = out + np.exp(s - lse_of(done)) @ v
    return out, lse_of(parts)


def unscaled_vector(parts):
    m, u, z = -np.inf, 0.0, 0.0
    for s, v in parts:
        if len(s):
            new = max(m, s.max())
            z = z * np.exp(m - new) + np.exp(s - new).sum()
            u, m = u + np.exp(s - new) @ v, new
    return u / z, lse_of(parts)


def one_maximum(q, blocks, S):
    """The largest score of all queries so far, one number."""
    T, D = q.shape
    top, z, u, start = -np.inf, np.zeros((T, 1)), 0.0, 0
    for k, v in blocks:
        s = (q @ k.T) * D**-0.5
        for t in range(T):
            s[t, max(t + S - T + 1 - start, 0) :] = -np.inf
        new = max(top, s.max())
        w = np.exp(s - new)
        f = np.exp(top - new)
        z = f * z + w.sum(1, keepdims=True)
        u, top, start = f * u + w @ v, new, start + len(k)
    return u / z, top + np.log(z[:, 0])


def zero_scores(q, blocks, S):
    """Scores multiplied by the mask."""
    T, D = q.shape
    m, z, u, start = np.full((T, 1), -np.inf), 0.0, 0.0, 0
    for k, v in blocks:
        mask = np.tri(T, len(k), S - T - start)
        s = (q @ k.T) * D**-0.5 * mask
        new = np.maximum(m, s.max(1, keepdims=True))
        f, w = np.exp(m - new), np.exp(s - new)
        z, u = f * z + w.sum(1, keepdims=True), f * u + w @ v
        m, start = new, start + len(k)
    return u / z, (m + np.log(z))[:, 0]


def last_block(q, blocks, S):
    """What is left if each block forgets the ones before it."""
    T, D = q.shape
    start = 0
    for k, v in blocks:
        s = q @ k.T / D**0.5
        s[np.tri(T, len(k), S - T - start) == 0] = -np.inf
        w = np.exp(s - s.max(1, keepdims=True))
        out = w @ v / w.sum(1, keepdims=True)
        start += len(k)
    lse = np.where(np.isnan(out[:, 0]), np.nan, -np.inf)
    return out, lse


def at_once(
    q, blocks, S, *,
    start=lambda i, n, done: done, reach=1, shift=True, divide=True,
):  # fmt: skip
    """Copies of all blocks, one map; a row without keys becomes NaN."""
    T, D = q.shape
    keys, values, seen, done = [], [], [], 0
    for i, (k, v) in enumerate(blocks):
        keys.append(k.copy())
        values.append(v.copy())
        first = start(i, len(k), done)
        seen += [np.tri(T, len(k), S - T - 1 + reach - first) > 0]
        done += len(k)
    s = q @ np.vstack(keys).T / D**0.5
    s[~np.hstack(seen)] = -np.inf
    top = s.max(1, keepdims=True) if shift else np.zeros((T, 1))
    e = np.exp(s - top)
    z = e.sum(1, keepdims=True)
    u = e @ np.vstack(values)
    return u / z if divide else u, (top + np.log(z))[:, 0]


def joined(q, blocks, S):
    blocks = list(blocks)
    return rows(q, [tuple(np.vstack(x) for x in zip(*blocks, strict=True))], S)


# P1.4 --------------------------------------------------------------------


def others(A, needle):
    return A[:, [s for s in range(A.shape[1]) if s != needle]]


def matched_filter(A1, A2, needle):
    """Weights of the best combination: the inverse moments times signal."""
    X = np.stack([others(A1, needle), others(A2, needle)])
    M = np.einsum("ins,jns->ij", X, X)
    first, second = np.linalg.solve(
        M, [A1[:, needle].sum(), A2[:, needle].sum()]
    )
    return -second / first


def with_moments(A1, A2, i, n22=None, b=np.mean):
    """The closed form with another way to average n22 or b."""
    u, v = others(A1, i), others(A2, i)
    mean = [np.einsum("ns,ns->", x, y) / len(A1) for x, y in ((u, u), (u, v))]
    last = (n22 or (lambda x: np.sum(x) / len(A1)))(v * v)
    first, second = np.mean(A1[:, i]), b(A2[:, i])
    above = first * mean[1] - second * mean[0]
    return above / (first * last - second * mean[1])


def regression(A1, A2, needle):
    x, y = others(A2, needle).ravel(), others(A1, needle).ravel()
    return np.linalg.lstsq(x[:, None], y, rcond=None)[0][0]


def with_needle(A1, A2, needle):
    M = np.einsum("ins,jns->ij", np.stack([A1, A2]), np.stack([A1, A2]))
    x, y = np.linalg.inv(M) @ [A1[:, needle].sum(), A2[:, needle].sum()]
    return -y / x


def centred(A1, A2, needle):
    X = np.stack([others(A1, needle), others(A2, needle)])
    X = X - X.mean(2)[..., None]
    M = np.einsum("ins,jns->ij", X, X)
    x, y = np.linalg.inv(M) @ [A1[:, needle].sum(), A2[:, needle].sum()]
    return -y / x


def plus_b(A1, A2, needle):
    """The best lambda for a needle of which branch 2 has -b."""
    X = np.stack([others(A1, needle), others(A2, needle)])
    M = np.einsum("ins,jns->ij", X, X)
    signal = [A1[:, needle].sum(), -A2[:, needle].sum()]
    first, second = np.linalg.solve(M, signal)
    return -second / first


def correlation(A1, A2, needle):
    x, y = others(A1, needle).ravel(), others(A2, needle).ravel()
    return x @ y / np.linalg.norm(x) / np.linalg.norm(y)


# P1.5 --------------------------------------------------------------------


def soft(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def entries(
    q, k, v, lse, delta, dout, block, *,
    see=None, minus=None, power=1, dq_last=False, root=None,
):  # fmt: skip
    """One entry of the map at a time."""
    (T, D), S = q.shape, len(k)
    see = see or (lambda t, s: s <= t + S - T)
    minus = minus or (lambda t, s: delta[t])
    inner = root or math.sqrt(D)
    outer = math.sqrt(D) ** power
    dq, dk, dv = 0 * q, 0 * k, 0 * v
    for t in range(T):
        for s in range(S):
            if not see(t, s):
                continue
            a = math.exp(q[t] @ k[s] / inner - lse[t])
            d = a * (dout[t] @ v[s] - minus(t, s)) / outer
            if not dq_last or s >= (S - 1) // block * block:
                dq[t] += d * k[s]
            dk[s] += d * q[t]
            dv[s] += a * dout[t]
    return dq, dk, dv


def block_delta(q, k, v, lse, delta, dout, block):
    (T, D), S = q.shape, len(k)

    def minus(t, s):
        start = s // block * block
        end = min(start + block, S, t + S - T + 1)
        a = np.exp(k[start:end] @ q[t] / D**0.5 - lse[t])
        return a @ (v[start:end] @ dout[t])

    return entries(q, k, v, lse, delta, dout, block, minus=minus)


def block_softmax(q, k, v, lse, delta, dout, block):
    (T, D), S = q.shape, len(k)
    dq, dk, dv = 0 * q, 0 * k, 0 * v
    for t in range(T):
        for start in range(0, S, block):
            end = min(start + block, S, t + S - T + 1)
            if end <= start:
                continue
            here = slice(start, end)
            a = soft(k[here] @ q[t] / D**0.5)
            d = a * (v[here] @ dout[t] - delta[t]) / D**0.5
            dq[t] += d @ k[here]
            dk[here] += np.outer(d, q[t])
            dv[here] += np.outer(a, dout[t])
    return dq, dk, dv


RIGHT = {
    "P1.1": first_then_rest,
    "P1.2": by_logs,
    "P1.3": rows,
    "P1.4": matched_filter,
    "P1.5": entries,
}

WRONG = {
    "P1.1": {
        "old sum not rescaled": lambda b: scan(b, two_cases),
        "rescaled the wrong way": lambda b: scan(b, divide),
        "own maximum of each block": lambda b: scan(
            b, lambda m, z, top, terms: (max(m, top), z + terms(top))
        ),
        "last maximum": lambda b: scan(
            b,
            lambda m, z, top, terms: (
                top,
                z * np.exp(m - top) + terms(top),
            ),
        ),
        "only blocks with a new maximum": lambda b: scan(
            b,
            lambda m, z, top, terms: (
                two_cases(m, z * np.exp(m - top), top, terms)
                if top > m
                else (m, z)
            ),
        ),
        "starts at zero": lambda b: scan(
            b,
            lambda m, z, top, terms: (
                max(m, top, 0),
                z * np.exp(m - max(m, top, 0)) + terms(max(m, top, 0)),
            ),
        ),
        "no maximum": lambda b: scan(
            b, lambda m, z, top, terms: (max(m, top), z + terms(0))
        ),
        "new block rescaled too": lambda b: scan(
            b,
            lambda m, z, top, terms: (
                max(m, top),
                np.exp(m - max(m, top)) * (terms(max(m, top)) + z),
            ),
        ),
        "maximum not kept": lambda b: scan(
            b, lambda m, z, top, terms: (m, terms(top))
        ),
        "order swapped": lambda b: tuple(reversed(first_then_rest(b))),
        "blocks kept": whole,
    },
    "P1.2": {
        "nothing rescaled": lambda a, b: (
            max(a[0], b[0]),
            a[1] + b[1],
            a[2] + b[2],
        ),
        "only the first rescaled": lambda a, b: (
            max(a[0], b[0]),
            a[1] * np.exp(min(a[0] - b[0], 0)) + b[1],
            a[2] * np.exp(min(a[0] - b[0], 0)) + b[2],
        ),
        "second taken as larger": lambda a, b: (
            max(a[0], b[0]),
            a[1] / np.exp(b[0] - a[0]) + b[1],
            a[2] / np.exp(b[0] - a[0]) + b[2],
        ),
        "one part without keys": lambda a, b: (
            by_logs(a, b) if a[1] * b[1] else (-math.inf, 0, 0 * b[2])
        ),
        "rescaled the wrong way": lambda a, b: pair(
            a, b, lambda x, m: np.exp(m - x)
        ),
        "vector not rescaled": lambda a, b: pair(
            a, b, shrink, lambda z, u, parts: a[2] + b[2]
        ),
        "divided": lambda a, b: pair(
            a, b, shrink, lambda z, u, parts: u * (1 / z)
        ),
        "vectors averaged": lambda a, b: pair(a, b, shrink, outputs),
        "two parts without keys": lambda a, b: pair(a, b, shrink),
    },
    "P1.3": {
        "multiplied by the root": lambda q, b, S: at_once(q * len(q[0]), b, S),
        "mask of each block alone": lambda q, b, S: rows(
            q, b, S, see=lambda t, start: start + t + S - len(q) + 1
        ),
        "start from the last block's length": lambda q, b, S: at_once(
            q, b, S, start=lambda i, n, done: i * n
        ),
        "mask aligned to the start": lambda q, b, S: rows(
            q, b, S, see=lambda t, start: t + 1
        ),
        "mask off by one": lambda q, b, S: rows(
            q, b, S, see=lambda t, start: t + S - len(q) + 2
        ),
        "own key hidden": lambda q, b, S: at_once(q, b, S, reach=0),
        "no mask": lambda q, b, S: rows(q, b, S, see=lambda t, start: S),
        "no maximum": lambda q, b, S: at_once(q, b, S, shift=False),
        "never divided": lambda q, b, S: at_once(q, b, S, divide=False),
        "hidden keys score zero": zero_scores,
        "maximum not kept": last_block,
        "vector not rescaled": lambda q, b, S: block_rows(
            q, b, S, unscaled_vector
        ),
        "provisional weights": lambda q, b, S: block_rows(q, b, S, so_far),
        "a softmax for each block": lambda q, b, S: block_rows(
            q, b, S, softmax_each
        ),
        "one maximum for all rows": one_maximum,
        "no scale": lambda q, b, S: rows(q, b, S, root=lambda D: 1),
        "lse without the maximum": lambda q, b, S: rows(q, b, S, log=False),
        "blocks kept": joined,
    },
    "P1.4": {
        "a sum and a mean": lambda A1, A2, i: with_moments(
            A1, A2, i, n22=np.sum
        ),
        "needle's weights added up": lambda A1, A2, i: with_moments(
            A1, A2, i, b=np.sum
        ),
        "noise alone": regression,
        "needle in the noise": with_needle,
        "mean subtracted": centred,
        "sign": lambda *a: -matched_filter(*a),
        "upside down": lambda A1, A2, i: matched_filter(A2, A1, i),
        "mean of each row's best": lambda A1, A2, i: (
            sum(matched_filter(A1[[n]], A2[[n]], i) for n in range(len(A1)))
            / len(A1)
        ),
        "correlation": correlation,
        "rows averaged first": lambda A1, A2, i: matched_filter(
            *(np.mean(A, 0, keepdims=True) for A in (A1, A2)), i
        ),
        "no signal left": lambda A1, A2, i: A1[:, i].sum() / A2[:, i].sum(),
        "sign of the terms with b": plus_b,
        "one minus the needle": lambda A1, A2, i: np.mean(
            A1.sum(1) - A1[:, i]
        ),
    },
    "P1.5": {
        "delta missing": lambda *a: entries(*a, minus=lambda t, s: 0),
        "delta of the block": block_delta,
        "delta added": lambda q, k, v, lse, delta, *a: entries(
            q, k, v, lse, -delta, *a
        ),
        "a softmax for each block": block_softmax,
        "dq overwritten": lambda *a: entries(*a, dq_last=True),
        "scale forgotten": lambda *a: entries(*a, power=0),
        "scores not scaled": lambda *a: entries(*a, root=1),
        "order swapped": lambda *a: tuple(entries(*a)[i] for i in (1, 0, 2)),
        "scale in one place only": lambda q, *a: (
            lambda dq, dk, dv: (dq * q.shape[1] ** 0.5, dk, dv)
        )(*entries(q, *a)),
        "scale twice": lambda *a: entries(*a, power=2),
        "no mask": lambda *a: entries(*a, see=lambda t, s: True),
        "mask aligned to the start": lambda *a: entries(
            *a, see=lambda t, s: s <= t
        ),
        "mask of each block alone": lambda q, k, v, lse, delta, dout, n: (
            entries(
                q,
                k,
                v,
                lse,
                delta,
                dout,
                n,
                see=lambda t, s: s % n <= t + len(k) - len(q),
            )
        ),
    },
}
