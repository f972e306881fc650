"""Chapter 06: right and wrong answers written another way than ours."""

import torch


def counted(T, S, D, Dv, causal, each=2, extra=None, first=None):
    """Walk over queries and keys, one pair at a time."""
    total = 0
    for t in range(T):
        last = t + S - T if first is None else t
        for s in range(S):
            if causal and s > last:
                continue
            if extra and causal and s == last:
                continue
            total += each * D + each * Dv
    return total


def scores_only(T, S, D, Dv, causal):
    return counted(T, S, D, Dv, causal) * D // (D + Dv)


def manual(q, k, v, lam, attend, pieces=None, join=None, weight=None):
    """Preallocate and fill column by column block."""
    B, H, _, T, D = q.shape
    q1, q2 = q.unbind(2)
    k1, k2 = k.unbind(2)
    out = torch.zeros(B, H, T, 2 * D, dtype=q.dtype)
    for half in (0, 1):
        w = v[..., half * D : half * D + D]
        first, second = attend(q1, k1, w), attend(q2, k2, w)
        out[..., half * D : half * D + D] = first - lam * second
    return out


def whole(q, k, v, lam, attend):
    return torch.sub(
        attend(q[:, :, 0], k[:, :, 0], v),
        attend(q[:, :, 1], k[:, :, 1], v),
        alpha=lam,
    )


def branches_sliced(q, k, v, lam, attend):
    left, right = v.split(q.shape[-1], -1)
    q1, q2 = q.split(1, 2)
    k1, k2 = k.split(1, 2)
    return torch.cat(
        [attend(q1, k1, left), attend(q2, k2, right).mul(lam)], -1
    )


def half_each(q, k, v, lam, attend):
    D = q.shape[-1]
    first = attend(q[:, :, 0], k[:, :, 0], v[..., :D])
    return first.sub(attend(q[:, :, 1], k[:, :, 1], v[..., D:]), alpha=lam)


def split_of(q, k, v, lam, attend):
    return manual(q, k, v, lam, attend).split(q.shape[-1], -1)


def loops(q, k, v, lam, attend, at=None, order=None, calls=1):
    """Place head by head into zeros, call, and take them out again."""
    B, H, _, T, D = q.shape
    at = at or (lambda h, j: h + j * H)
    source = order or at
    qs = torch.zeros(B, 2 * H, T, D, dtype=q.dtype)
    ks, vs = torch.zeros_like(qs), torch.zeros(B, 2 * H, T, v.shape[-1])
    vs = vs.to(v.dtype)
    for h in range(H):
        for j in (0, 1):
            qs[:, at(h, j)], ks[:, at(h, j)] = q[:, h, j], k[:, h, j]
            vs[:, source(h, j)] = v[:, h]
    return attend(qs, ks, vs)


def pairs(h, j):
    return 2 * h + j


def fold(place, values, take):
    """A wrong answer: heads placed, values placed and taken as told."""

    def answer(q, k, v, lam, attend):
        H = q.shape[1]
        positions = {"pairs": pairs, "halves": lambda h, j: h + j * H}
        out = loops(q, k, v, lam, attend, positions[place], positions[values])
        first = [positions[take](h, 0) for h in range(H)]
        second = [positions[take](h, 1) for h in range(H)]
        return out[:, first] - lam * out[:, second]

    return answer


def heads_short(q, k, v, lam, attend):
    B, H, _, T, D = q.shape
    return attend(q.reshape(B, 2 * H, T, D), k.reshape(B, 2 * H, T, D), v)


def per_branch(q, k, v, lam, attend):
    first = attend(q.select(2, 0), k.select(2, 0), v)
    return first.sub(attend(q.select(2, 1), k.select(2, 1), v), alpha=lam)


def undifferenced(q, k, v, lam, attend):
    return loops(q, k, v, lam, attend, pairs)


def stacked_axes(q, k, v, lam, attend):
    out = attend(q, k, v.unsqueeze(2))
    return out.select(2, 0) - lam * out.select(2, 1)


def bill(calls, widths, once=False, flat=False):
    total, seen = 0, []
    for call in calls:
        for name in call:
            if once and name in seen:
                continue
            seen.append(name)
            total += 1 if flat else widths[name]
    held = 0
    for name in widths:
        held += 1 if flat else widths[name]
    return total, held


def times(calls, widths):
    total, held = bill(calls, widths)
    return total / held


RIGHT = {
    "6.1": counted,
    "6.2": manual,
    "6.3": fold("halves", "halves", "halves"),
    "6.4": times,
}

WRONG = {
    "6.1": {
        "one for two": lambda *a: counted(*a, each=1),
        "full square": lambda T, S, D, Dv, causal: counted(T, S, D, Dv, False),
        "half the square": lambda T, S, D, Dv, causal: (
            counted(T, S, D, Dv, False) / (2 if causal else 1)
        ),
        "aligned to the start": lambda *a: counted(*a, first=0),
        "diagonal hidden": lambda *a: counted(*a, extra=True),
        "scores only": scores_only,
        "values as wide as keys": lambda T, S, D, Dv, causal: counted(
            T, S, D, D, causal
        ),
        "second product whole": lambda T, S, D, Dv, causal: (
            counted(T, S, D, 0, causal) + counted(T, S, 0, Dv, False)
        ),
        "one addition fewer": lambda T, S, D, Dv, causal: (
            counted(T, S, D, Dv, causal) - counted(T, S, 1, 1, causal, each=1)
        ),
        "S queries": lambda T, S, D, Dv, causal: counted(
            S if causal else T, S, D, Dv, causal
        ),
    },
    "6.2": {
        "branches swapped": lambda q, k, v, lam, attend: manual(
            q.flip(2), k.flip(2), v, lam, attend
        ),
        "added": lambda q, k, v, lam, attend: manual(q, k, v, -lam, attend),
        "keys ask queries": lambda q, k, v, lam, attend: manual(
            k, q, v, lam, attend
        ),
        "not cut by columns": whole,
        "axis of branches kept": branches_sliced,
        "half for each branch": half_each,
        "keys of branch 1 twice": lambda q, k, v, lam, attend: manual(
            q, k.narrow(2, 0, 1).expand_as(k), v, lam, attend
        ),
        "halves not side by side": lambda *a: torch.vstack(split_of(*a)),
        "halves added": lambda *a: sum(split_of(*a)),
        "four side by side": lambda q, k, v, lam, attend: torch.cat(
            [
                manual(q, k, v, 0, attend),
                manual(q.flip(2), k.flip(2), v, 0, attend) * -lam,
            ],
            -1,
        ),
        "lambda dropped": lambda q, k, v, lam, attend: manual(
            q, k, v, 1, attend
        ),
    },
    "6.3": {
        "five axes": stacked_axes,
        "values not repeated": heads_short,
        "values of other heads": fold("pairs", "halves", "pairs"),
        "output of other heads": fold("pairs", "pairs", "halves"),
        "queries in another order": fold("pairs", "halves", "halves"),
        "branches swapped": lambda q, k, v, lam, attend: (
            -lam * fold("pairs", "pairs", "pairs")(q, k, v, 1 / lam, attend)
        ),
        "two calls": per_branch,
        "not subtracted": undifferenced,
        "lambda dropped": lambda q, k, v, lam, attend: fold(
            "halves", "halves", "halves"
        )(q, k, v, 1, attend),
    },
    "6.4": {
        "each once": lambda c, w: bill(c, w, once=True)[0] / bill(c, w)[1],
        "widths left out": lambda c, w: (
            bill(c, w, flat=True)[0] / bill(c, w, flat=True)[1]
        ),
        "upside down": lambda c, w: 1 / times(c, w),
        "numbers, not times": lambda c, w: bill(c, w)[0],
        "mean over the calls": lambda c, w: times(c, w) / len(c),
        "first call only": lambda c, w: times([c[0]], w),
        "whole number": lambda c, w: int(times(c, w)),
        "part of the cache": lambda c, w: times(
            c, {n: w[n] for n in w if any(n in call for call in c)}
        ),
        "number of calls": lambda c, w: sum(1 for _ in c),
    },
}
