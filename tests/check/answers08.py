"""Chapter 08: right and wrong answers written another way than ours."""

import math

import torch


def first_rows(A, lam):
    return every_row(A[:, :, :1], lam)


def every_row(A, lam, total=None, allowed=1e-6, test=abs, join=all):
    total = 1 - lam if total is None else total
    rows = A.reshape(-1, A.shape[-1]).tolist()
    return join(test(math.fsum(row) - total) < allowed for row in rows)


def looped(q, k, v, lam, source, lam1=1.0):
    """Head by head: source gives the flat key heads of a head's branches."""
    _, n, T, D = q.shape
    H, Hkv = n // 2, k.shape[1] // 2
    mask = torch.full((T, T), -math.inf).triu(1)
    heads = []
    for i in range(H):
        value = v[:, source(i, H, Hkv)[4]]
        parts = []
        for row, key in zip(*[iter(source(i, H, Hkv)[:4])] * 2, strict=True):
            s = torch.einsum("btd,bsd->bts", q[:, row], k[:, key])
            parts.append(torch.softmax(s / D**0.5 + mask, 2) @ value)
        heads.append(lam1 * parts[0] - lam * parts[1])
    return torch.stack(heads, 1)


def pairs(i, H, Hkv):
    g = i * Hkv // H
    return 2 * i, 2 * g, 2 * i + 1, 2 * g + 1, g


def naive(i, H, Hkv):
    g = i * Hkv // H
    return 2 * i, 2 * i * Hkv // H, 2 * i + 1, (2 * i + 1) * Hkv // H, g


def halves(i, H, Hkv):
    g = i * Hkv // H
    return i, g, H + i, Hkv + g, g


def keys_by_halves(i, H, Hkv):
    g = i * Hkv // H
    return 2 * i, g, 2 * i + 1, Hkv + g, g


def queries_by_halves(i, H, Hkv):
    g = i * Hkv // H
    return i, 2 * g, H + i, 2 * g + 1, g


def tiled(i, H, Hkv):
    # Flat heads are tiled, then dealt out in pairs: the groups alternate.
    return 2 * i, 2 * (i % Hkv), 2 * i + 1, 2 * (i % Hkv) + 1, i % Hkv


def first_twice(i, H, Hkv):
    g = i * Hkv // H
    return 2 * i, 2 * g, 2 * i + 1, 2 * g, g


def first_queries_twice(i, H, Hkv):
    g = i * Hkv // H
    return 2 * i, 2 * g, 2 * i, 2 * g + 1, g


def swapped(i, H, Hkv):
    g = i * Hkv // H
    return 2 * i + 1, 2 * g + 1, 2 * i, 2 * g, g


def with_source(source):
    return lambda q, k, v, lam: looped(q, k, v, lam, source)


def each_token_alone(layer, x, skipped=0):
    T = x.shape[1]
    want = layer(x)
    for t in range(T - skipped):
        other = torch.cat([x[:, : t + 1], torch.randn(x[:, t + 1 :].shape)], 1)
        if (layer(other) - want)[:, t].abs().max() > 1e-9:
            return False
    return True


def after(layer, x, first, look):
    other = torch.stack(
        [
            x[:, t] * (t < first) - 1.0 * (t >= first)
            for t in range(x.shape[1])
        ],
        1,
    )
    same = (layer(other) - layer(x)).abs().amax((0, 2)) < 1e-9
    return bool(same[look].all())


def in_the_given_tensor(layer, x):
    want = layer(x)
    for t in reversed(range(1, x.shape[1])):
        x[:, t] = 0
        if (layer(x) - want)[:, :t].abs().max() > 1e-9:
            return False
    return True


def next_to_it(layer, x):
    want = layer(x)
    answers = []
    for t in range(x.shape[1] - 1):
        other = x.clone()
        other[:, t + 1] = -other[:, t + 1] - 2
        answers.append((layer(other) - want)[:, t].abs().max() < 1e-9)
    return all(answers)


def only_first_changed(layer, x):
    other = torch.cat([x[:, :1] * 3 - 2, x[:, 1:]], 1)
    same = (layer(other) - layer(x)).abs().amax((0, 2)) < 1e-9
    return bool(same[1:].all())


def move(W, D, place):
    out = torch.empty_like(W)
    for row in range(len(W)):
        out[place(row, D, len(W))] = W[row]
    return out


def to_half(row, D, n):
    block, c = divmod(row, D)
    return block * D + c // 2 + (c % 2) * (D // 2)


def back(row, D, n):
    block, c = divmod(row, D)
    return block * D + (2 * c if c < D // 2 else 2 * (c - D // 2) + 1)


def odd_first(row, D, n):
    block, c = divmod(row, D)
    return block * D + c // 2 + (1 - c % 2) * (D // 2)


def in_d_blocks(row, D, n):
    d, j = divmod(row, n // D)
    return (d // 2 + (d % 2) * (D // 2)) * (n // D) + j


def overwritten(W, D):
    out = torch.empty_like(W)
    for row in range(len(W)):
        block, c = divmod(row, D)
        source = 2 * c if c < D // 2 else 2 * (c - D // 2) + 1
        if c >= D // 2 > source:
            source *= 2
        out[row] = W[block * D + source]
    return out


def moved_inside(W, D):
    for block in W.split(D):
        block.copy_(torch.cat([block[0::2], block[1::2]]))
    return W


def scaled(W, g, factor):
    E, n = W.shape
    return torch.stack(
        [
            torch.stack([W[i, j] * factor(i, j, g, n) for j in range(n)])
            for i in range(E)
        ]
    )


RIGHT = {
    "8.1": every_row,
    "8.2": with_source(pairs),
    "8.3": each_token_alone,
    "8.4": lambda W, D: move(W, D, to_half),
    "8.5": lambda W, g: scaled(W, g, lambda i, j, g, n: g[j % len(g)]),
}

WRONG = {
    "8.1": {
        "sum to one": lambda A, lam: every_row(A, lam, total=1.0),
        "sum to lam": lambda A, lam: every_row(A, lam, total=lam),
        "columns": lambda A, lam: torch.allclose(
            A.sum(2), torch.tensor(1 - lam)
        ),
        "on average": lambda A, lam: torch.isclose(
            A.sum() / A[..., 0].numel(), torch.tensor(1 - lam)
        ),
        "first row only": first_rows,
        "tensor against number": lambda A, lam: torch.isclose(
            A.sum(3), 1 - lam
        ).all(),
        "any row": lambda A, lam: every_row(A, lam, join=any),
        "exactly": lambda A, lam: A.sum(3).eq(1 - lam).all(),
        "one side": lambda A, lam: every_row(A, lam, test=float),
        "too loose": lambda A, lam: torch.allclose(
            A.sum(-1), torch.tensor(1 - lam), atol=0.02
        ),
        "nothing negative": lambda A, lam: (
            every_row(A, lam) and not (A < 0).any()
        ),
        "one answer a row": lambda A, lam: torch.isclose(
            A.sum(-1), torch.tensor(1 - lam)
        ),
    },
    "8.2": {
        "repeated before the split": with_source(naive),
        "halves": with_source(halves),
        "keys by halves": with_source(keys_by_halves),
        "queries by halves": with_source(queries_by_halves),
        "groups tiled": with_source(tiled),
        "first keys twice": with_source(first_twice),
        "branches swapped": with_source(swapped),
        "first queries twice": with_source(first_queries_twice),
        "added": lambda q, k, v, lam: looped(q, k, v, -lam, pairs),
        "first branch only": lambda q, k, v, lam: looped(q, k, v, 0, pairs),
        "values cut": lambda q, k, v, lam: (
            looped(q, k, v[..., : q.shape[3]], 0, pairs)
            + looped(q, k, v[..., q.shape[3] :], lam, pairs, lam1=0)
        ),
        "lam dropped": lambda q, k, v, lam: looped(q, k, v, 1.0, pairs),
    },
    "8.3": {
        "last token only": lambda layer, x: after(
            layer, x, x.shape[1] - 1, slice(None, -1)
        ),
        "all outputs compared": lambda layer, x: after(
            layer, x, x.shape[1] - 1, slice(None)
        ),
        "later outputs compared": only_first_changed,
        "one place only": lambda layer, x: after(
            layer, x, x.shape[1] // 2, slice(None, x.shape[1] // 2)
        ),
        "first output only": lambda layer, x: after(
            layer, x, 1, slice(None, 1)
        ),
        "last token left out": lambda layer, x: each_token_alone(layer, x, 2),
        "neighbour only": next_to_it,
        "x changed": in_the_given_tensor,
        "the change is lost": lambda layer, x: torch.equal(
            layer(x.clone()), layer(x)
        ),
        "backwards": lambda layer, x: not each_token_alone(layer, x),
    },
    "8.4": {
        "the way back": lambda W, D: move(W, D, back),
        "blocks mixed": lambda W, D: move(
            W, D, lambda row, D, n: row // 2 + (row % 2) * (n // 2)
        ),
        "odd rows first": lambda W, D: move(W, D, odd_first),
        "columns moved": lambda W, D: W[
            :, [*range(0, W.shape[1], 2), *range(1, W.shape[1], 2)]
        ],
        "cut the wrong way": lambda W, D: move(W, D, in_d_blocks),
        "overwritten": overwritten,
        "weight changed": moved_inside,
        "stacked": lambda W, D: move(W, D, to_half).reshape(
            2 * len(W) // D, D // 2, -1
        ),
        "left as it was": lambda W, D: W + 0,
        "blocks kept apart": lambda W, D: move(W, D, to_half).view(
            -1, D, W.shape[1]
        ),
    },
    "8.5": {
        "interleaved": lambda W, g: scaled(
            W, g, lambda i, j, g, n: g[j * len(g) // n]
        ),
        "rows": lambda W, g: torch.einsum("i,ij->ij", g, W),
        "not repeated": lambda W, g: torch.einsum("ij,j->ij", W, g),
        "first head only": lambda W, g: scaled(
            W, g, lambda i, j, g, n: g[j] if j < len(g) else 1
        ),
        "divided": lambda W, g: scaled(
            W, g, lambda i, j, g, n: 1 / g[j % len(g)]
        ),
        "heads kept apart": lambda W, g: torch.stack(
            [part * g for part in W.split(len(g), 1)], 1
        ),
        "W changed": lambda W, g: W.copy_(
            scaled(W, g, lambda i, j, g, n: g[j % len(g)])
        ),
        "transposed": lambda W, g: (
            scaled(W, g, lambda i, j, g, n: g[j % len(g)]).mT
        ),
    },
}
