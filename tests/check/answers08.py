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


def keys_swapped(i, H, Hkv):
    g = i * Hkv // H
    return 2 * i, 2 * g + 1, 2 * i + 1, 2 * g, g


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
            x[:, t] if t < first else torch.randn(x[:, t].shape).double()
            for t in range(x.shape[1])
        ],
        1,
    )
    same = (layer(other) - layer(x)).abs().amax((0, 2)) < 1e-9
    return bool(same[look].all())


def up_to_and_with(layer, x):
    want = layer(x)
    for t in reversed(range(1, x.shape[1])):
        other = torch.cat([x[:, :t], torch.randn(x[:, t:].shape)], 1)
        gap = (layer(other) - want).abs().amax((0, 2))
        if max(gap[: t + 1].tolist()) > 1e-9:
            return False
    return True


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


def same_everywhere(layer, x, change):
    """Each output alone, the tokens after it changed in one way."""
    for t in range(x.shape[1] - 1):
        parts = [x[:, : t + 1], change(x[:, t + 1 :])]
        gap = (layer(torch.cat(parts, 1)) - layer(x))[:, t]
        if gap.abs().max() > 1e-9:
            return False
    return True


def only_first_changed(layer, x):
    other = torch.cat([x[:, :1].sin() - 2, x[:, 1:]], 1)
    same = (layer(other) - layer(x)).abs().amax((0, 2)) < 1e-9
    return bool(same[1:].all())


def move(W, D, place):
    """Row by row: ``place`` says where row c of branch b of head h goes."""
    H = len(W) // (2 * D)
    out = torch.empty_like(W)
    for h in range(H):
        for b in range(2):
            for c in range(D):
                out[place(h, b, c, H, D)] = W[(2 * h + b) * D + c]
    return out


def half(c, D):
    return c // 2 + (c % 2) * (D // 2)


def theirs(h, b, c, H, D):
    return (b * H + h) * D + half(c, D)


def back(W, D):
    """Row by row: fetch, where ``move`` sends."""
    H = len(W) // (2 * D)
    rows = [
        W[theirs(h, b, c, H, D)]
        for h in range(H)
        for b in range(2)
        for c in range(D)
    ]
    return torch.stack(rows)


def moved_inside(W, D):
    W.copy_(move(W, D, theirs))
    return W


RIGHT = {
    "8.1": every_row,
    "8.2": with_source(pairs),
    "8.3": each_token_alone,
    "8.4": lambda W, D: move(W, D, theirs),
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
        "mean over the rows": lambda A, lam: all(
            abs(head.sum().item() / head.shape[0] - (1 - lam)) < 1e-6
            for head in A.flatten(0, 1)
        ),
        "first head only": lambda A, lam: every_row(A[:, :1], lam),
        "first sequence only": lambda A, lam: every_row(A[:1], lam),
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
        "key branches swapped": with_source(keys_swapped),
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
        "same number added": lambda layer, x: same_everywhere(
            layer, x, lambda later: later - 0.7
        ),
        "multiplied": lambda layer, x: same_everywhere(
            layer, x, lambda later: later / 3
        ),
        "tokens reordered": lambda layer, x: same_everywhere(
            layer, x, lambda later: later[:, list(range(later.shape[1]))[::-1]]
        ),
        "last token only": lambda layer, x: after(
            layer, x, x.shape[1] - 1, slice(None, -1)
        ),
        "all outputs compared": lambda layer, x: after(
            layer, x, x.shape[1] - 1, slice(None)
        ),
        "one output too many": up_to_and_with,
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
        "branches left": lambda W, D: move(
            W, D, lambda h, b, c, H, D: (2 * h + b) * D + half(c, D)
        ),
        "rotary left": lambda W, D: move(
            W, D, lambda h, b, c, H, D: (b * H + h) * D + c
        ),
        "the way back": back,
        "cut in halves": lambda W, D: torch.cat(
            [
                torch.cat([part[0::2], part[1::2]])
                for h in range(len(W) // (2 * D))
                for part in (
                    W[h * D : (h + 1) * D],
                    W[len(W) // 2 + h * D : len(W) // 2 + (h + 1) * D],
                )
            ]
        ),
        "rotary inverted": lambda W, D: move(
            W,
            D,
            lambda h, b, c, H, D: (
                (b * H + h) * D + 2 * (c % (D // 2)) + c // (D // 2)
            ),
        ),
        "even and odd before the heads": lambda W, D: torch.cat(
            [
                W[h * 2 * D + b * D + odd : h * 2 * D + (b + 1) * D : 2]
                for b in range(2)
                for odd in range(2)
                for h in range(len(W) // (2 * D))
            ]
        ),
        "odd rows first": lambda W, D: move(
            W,
            D,
            lambda h, b, c, H, D: (b * H + h) * D + (half(c, D) + D // 2) % D,
        ),
        "second branch first": lambda W, D: move(
            W, D, lambda h, b, c, H, D: theirs(h, 1 - b, c, H, D)
        ),
        "every second row": lambda W, D: torch.stack(
            [*W[0::2].unbind(0), *W[1::2].unbind(0)]
        ),
        "rotary over the head": lambda W, D: torch.cat(
            [
                torch.cat([W[i : i + 2 * D : 2], W[i + 1 : i + 2 * D : 2]])
                for i in range(0, len(W), 2 * D)
            ]
        ),
        "columns moved": lambda W, D: W[
            :, [*range(0, W.shape[1], 2), *range(1, W.shape[1], 2)]
        ],
        "weight changed": moved_inside,
        "axes kept": lambda W, D: move(W, D, theirs).view(
            2, -1, 2, D // 2, W.shape[1]
        ),
        "left as it was": lambda W, D: W + 0,
    },
}
