"""Chapter 07: right and wrong answers written another way than ours."""

import math

import torch


def turn(x, cos, sin, pair=None, sign=1, place=None):
    """Multiply complex numbers, one for each pair."""
    D = x.shape[-1]
    pair = pair or (lambda i: (2 * i, 2 * i + 1))
    out = torch.empty_like(x)
    for i in range(D // 2):
        a, b = pair(i)
        z = torch.complex(x[..., a], x[..., b])
        z = z * torch.complex(cos[:, i], sign * sin[:, i])
        a, b = (place or (lambda i: (a, b)))(i)  # noqa: B023
        out[..., a], out[..., b] = z.real, z.imag
    return out


def halves(i, D):
    return i, i + D // 2


def matrix(x, cos, sin, a, b, c, d):
    """Each pair times a 2 x 2 matrix of cos and sin with these signs."""
    x0, x1 = x.unflatten(-1, (-1, 2)).unbind(-1)
    rows = torch.stack((a * cos, b * sin, c * sin, d * cos)).unflatten(
        0, (2, 2)
    )
    y = torch.einsum("abti,b...ti->a...ti", rows, torch.stack((x0, x1)))
    return torch.stack(tuple(y), dim=-1).reshape(x.shape)


def overwritten(x, cos, sin):
    y = x.clone()
    y[..., 0::2] = y[..., 0::2] * cos - y[..., 1::2] * sin
    y[..., 1::2] = y[..., 0::2] * sin + y[..., 1::2] * cos
    return y


def tables_twice(x, cos, sin):
    twice = [torch.cat([table] * 2, dim=-1) for table in (cos, sin)]
    other = torch.empty_like(x)
    other[..., ::2], other[..., 1::2] = -x[..., 1::2], x[..., ::2]
    return torch.addcmul(x * twice[0], other, twice[1])


def steps(x, *parts):
    """The stream as a list of contributions."""
    n1, attention, n2, ffn = parts
    contributions = [x]
    contributions.append(attention(n1(sum(contributions))))
    contributions.append(ffn(n2(sum(contributions))))
    return sum(contributions)


def post(x, n1, attention, n2, ffn):
    for n, part in ((n1, attention), (n2, ffn)):
        x = n(part(x) + x)
    return x


def norm_after(x, n1, attention, n2, ffn):
    for n, part in ((n1, attention), (n2, ffn)):
        x = x + n(part(x))
    return x


def chain(x, n1, attention, n2, ffn):
    for f in (n1, attention, n2, ffn):
        x = f(x)
    return x


def normed(x, n1, attention, n2, ffn):
    for n, part in ((n1, attention), (n2, ffn)):
        x = n(x)
        x = x + part(x)
    return x


def by_loops(logits, targets, log=math.log):
    total = 0.0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        best = max(row)
        total += best - row[target]
        total += log(sum(math.exp(z - best) for z in row))
    total /= len(targets)
    return total, math.exp(total)


def losses(logits, targets):
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none")


def naive(logits, targets):
    p = torch.exp(logits) / torch.exp(logits).sum(-1)[:, None]
    loss = -torch.log(p.gather(1, targets[:, None])).mean()
    return loss, torch.exp(loss)


def naive_sum(logits, targets):
    picked = logits.gather(1, targets[:, None])[:, 0]
    loss = (torch.log(torch.exp(logits).sum(1)) - picked).sum() / len(picked)
    return loss, torch.exp(loss)


def shifted_softmax(logits, targets):
    e = torch.exp(logits - logits.max(1, keepdim=True).values)
    p = (e / e.sum(1, keepdim=True)).gather(1, targets[:, None])
    loss = -p.log().mean()
    return loss, loss.exp()


def shifted(logits, targets, best, put_back=True):
    sums = torch.exp(logits - best).sum(1).log()
    if put_back:
        sums = sums + best.flatten()
    loss = (sums - logits.gather(1, targets[:, None])[:, 0]).mean()
    return loss, torch.exp(loss)


def count(V, E, L, D, F, differential, leave=(), add=0):
    """One tensor at a time."""
    tensors = [(V, E), ("last", E)]
    for _ in range(L):
        tensors += [("q", E, E), ("k", E, E), ("v", E, E), ("o", E, E)]
        tensors += [("gate", F, E), ("up", F, E), ("down", E, F)]
        tensors += [("norm1", E), ("norm2", E)]
        if differential:
            tensors += [("lambda", D)] * 4 + [("head norm", 2 * D)]
    numbers = [
        math.prod(n for n in t if isinstance(n, int))
        for t in tensors
        if t[0] not in leave
    ]
    return sum(numbers) + add


def without(*leave):
    return lambda *sizes: count(*sizes, leave=leave)


def more(extra):
    return lambda V, E, L, D, F, differential: count(
        V, E, L, D, F, differential, add=extra(V, E, L, D, F, differential)
    )


RIGHT = {
    "7.1": turn,
    "7.2": steps,
    "7.3": by_loops,
    "7.4": count,
}

WRONG = {
    "7.1": {
        "paired by halves": lambda x, c, s: turn(
            x, c, s, pair=lambda i: halves(i, x.shape[-1])
        ),
        "channels moved": lambda x, c, s: turn(
            x, c, s, place=lambda i: halves(i, x.shape[-1])
        ),
        "backwards": lambda x, c, s: turn(x, c, s, sign=-1),
        "two minuses": lambda x, c, s: matrix(x, c, s, 1, -1, -1, 1),
        "two pluses": lambda x, c, s: matrix(x, c, s, 1, 1, 1, 1),
        "overwritten": overwritten,
        "cos and sin swapped": lambda x, c, s: turn(x, s, c),
        "cos with the first channel twice": lambda x, c, s: torch.stack(
            (
                turn(x, c, s)[..., ::2],
                x[..., ::2] * c + x[..., 1::2] * s,
            ),
            dim=-1,
        ).reshape(x.shape),
        "not flattened": lambda x, c, s: turn(x, c, s).unflatten(-1, (-1, 2)),
        "tables in a row": tables_twice,
    },
    "7.2": {
        "post-norm": post,
        "norm after the part": norm_after,
        "nothing added": chain,
        "the stream normalised": normed,
        "both from x": lambda x, n1, a, n2, f: sum((f(n2(x)), a(n1(x)), x)),
        "x instead of y": lambda x, n1, a, n2, f: (
            f(n2(torch.add(x, a(n1(x))))) + x
        ),
        "no norms": lambda x, n1, a, n2, f: steps(
            x, lambda z: z, a, lambda z: z, f
        ),
        "second norm missing": lambda x, n1, a, n2, f: steps(
            x, n1, a, lambda z: z, f
        ),
        "ffn not added": lambda x, n1, a, n2, f: (
            steps(x, n1, a, n2, f) - steps(x, n1, a, n2, lambda z: 0 * z)
        ),
        "attention not added": lambda x, n1, a, n2, f: steps(
            a(n1(x)), n1, lambda z: 0 * z, n2, f
        ),
        "x added twice": lambda x, *parts: x + steps(x, *parts),
        "wrong norm": lambda x, n1, a, n2, f: steps(x, n2, a, n1, f),
        "ffn first": lambda x, n1, a, n2, f: steps(x, n2, f, n1, a),
    },
    "7.3": {
        "softmax overflows": naive,
        "sum overflows": naive_sum,
        "log of a rounded zero": shifted_softmax,
        "summed": lambda x, t: (
            losses(x, t).sum(),
            losses(x, t).sum().exp(),
        ),
        "sign": lambda x, t: (-losses(x, t).mean(), 1 / by_loops(x, t)[1]),
        "bits": lambda x, t: (
            by_loops(x, t)[0] * math.log2(math.e),
            by_loops(x, t)[1],
        ),
        "two to the loss": lambda x, t: (
            by_loops(x, t)[0],
            2 ** by_loops(x, t)[0],
        ),
        "mean of the exponentials": lambda x, t: (
            losses(x, t).mean(),
            torch.exp(losses(x, t)).sum() / len(t),
        ),
        "every target in every row": lambda x, t: (
            -torch.log_softmax(x, 1).index_select(1, t).mean(),
            torch.exp(-torch.log_softmax(x, 1).index_select(1, t).mean()),
        ),
        "normalised over the rows": lambda x, t: (
            (x.logsumexp(0)[t] - x.gather(1, t[:, None])[:, 0]).mean(),
            (x.logsumexp(0)[t] - x.gather(1, t[:, None])[:, 0]).mean().exp(),
        ),
        "not normalised": lambda x, t: (
            -x.gather(1, t[:, None]).mean(),
            torch.exp(-x.gather(1, t[:, None]).mean()),
        ),
        "swapped": lambda x, t: by_loops(x, t)[::-1],
        "not averaged": lambda x, t: (losses(x, t), losses(x, t).exp()),
        "one maximum for all rows": lambda x, t: shifted(
            x, t, x.flatten().sort().values[-1:]
        ),
        "maximum lost": lambda x, t: shifted(
            x, t, x.max(1, keepdim=True).values, put_back=False
        ),
        "logarithm of the mean": lambda x, t: (
            -torch.exp(-losses(x, t)).mean().log(),
            1 / torch.exp(-losses(x, t)).mean(),
        ),
        "smallest probability": lambda x, t: (
            -(torch.softmax(x, 1).gather(1, t[:, None]) + 1e-10).log().mean(),
            torch.exp(
                -torch.log(1e-10 + x.softmax(1)[range(len(t)), t]).mean()
            ),
        ),
    },
    "7.4": {
        "embedding twice": more(lambda V, E, *_: V * E),
        "no embedding": more(lambda V, E, *_: -V * E),
        "two matrices": without("gate"),
        "no last norm": without("last"),
        "no norms in the layers": without("norm1", "norm2"),
        "no norms at all": without("norm1", "norm2", "last"),
        "one norm a layer": without("norm2"),
        "nothing extra": lambda V, E, L, D, F, d: count(V, E, L, D, F, False),
        "extra in the plain model": lambda V, E, L, D, F, d: count(
            V, E, L, D, F, True
        ),
        "extra for each head": more(
            lambda V, E, L, D, F, d: (
                d * L * sum(6 * D for _ in range(1, E // D // 2))
            )
        ),
        "lambda vectors only": without("head norm"),
        "norm weight D wide": more(lambda V, E, L, D, F, d: -d * L * D),
        "extra once": more(lambda V, E, L, D, F, d: -d * (L - 1) * 6 * D),
        "three projections": without("o"),
        "queries and keys doubled": more(
            lambda V, E, L, D, F, d: 2 * L * E**2 * d
        ),
        "vectors 2D wide": more(lambda V, E, L, D, F, d: d * 4 * L * D),
        "norm weight E wide": more(
            lambda V, E, L, D, F, d: d * L * (E - 2 * D)
        ),
        "head norm only": without("lambda"),
    },
}
