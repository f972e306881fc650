"""Chapter 16: right and wrong answers written another way than ours."""

import math
from contextlib import contextmanager
from itertools import chain

import numpy as np
import torch

from minidiff.check.edited import edited


def weights(scores):
    best = max(scores)
    e = [math.exp(s - best) for s in scores]
    return [x / sum(e) for x in e]


def dot(a, b):
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def grown(k, v, K, V):
    return np.stack([np.vstack([K[b], k[b]]) for b in (0, 1)]), np.vstack(
        [V, v]
    )


def loops(q, k, v, K, V, lam, *, scale=None, keys=(0, 1), past=True, own=True):
    """One branch after the other, one token after the other."""
    new_K, new_V = grown(k, v, K, V)
    n = len(new_V) if own else len(V)
    root = math.sqrt(q.shape[1]) if scale is None else scale
    out = np.zeros(V.shape[1])
    for b, sign in ((0, 1), (1, -lam)):
        scores = [dot(q[b], new_K[keys[b], s]) / root for s in range(n)]
        if b == 1 and not past:
            scores = [-math.inf] * (n - 1) + scores[-1:]
        for s, w in enumerate(weights(scores)):
            out += sign * w * new_V[s]
    return out, new_K, new_V


def one_softmax(q, k, v, K, V, lam):
    new_K, new_V = grown(k, v, K, V)
    scores = [
        (dot(q[0], a) - lam * dot(q[1], b)) / math.sqrt(len(a))
        for a, b in zip(*new_K, strict=True)
    ]
    return np.array(weights(scores)) @ new_V, new_K, new_V


def across(q, k, v, K, V, lam):
    new_K, new_V = grown(k, v, K, V)
    out = np.zeros(V.shape[1])
    for a, b, value in zip(*new_K, new_V, strict=True):
        x = (dot(q[0], a) - dot(q[1], b)) / math.sqrt(len(a))
        first, _ = weights([x, 0.0])
        out += (first - lam * (1 - first)) * value
    return out, new_K, new_V


def joint(q, k, v, K, V, lam):
    """One softmax over the scores of both branches in a row."""
    new_K, new_V = grown(k, v, K, V)
    scores = [
        dot(q[b], key) / math.sqrt(len(key))
        for b in (0, 1)
        for key in new_K[b]
    ]
    first, second = np.split(np.array(weights(scores)), 2)
    return (first - lam * second) @ new_V, new_K, new_V


def bare_exponentials(q, k, v, K, V, lam):
    """Exponentials of the scores as they are."""
    new_K, new_V = grown(k, v, K, V)
    out = np.zeros(V.shape[1])
    for b, sign in ((0, 1), (1, -lam)):
        e = np.exp(new_K[b] @ q[b] / math.sqrt(len(q[b])))
        out += sign * (e @ new_V) / e.sum()
    return out, new_K, new_V


def halves(q, k, v, K, V, lam):
    D = q.shape[1]
    both, new_K, new_V = loops(q, k, v, K, V, lam)
    first, *_ = loops(q, k, v, K, V, 0.0)
    return np.append(first[:D], (both - first)[D:]), new_K, new_V


def front(q, k, v, K, V, lam):
    out, *_ = loops(q, k, v, K, V, lam)
    return (
        out,
        np.concatenate([k[:, None, :], K], 1),
        np.concatenate([v[None], V]),
    )


def per_head(kind):
    names = {
        "softmax": ["k", "v"],
        "diff": ["k1", "k2", "left", "right"],
        "diff_v2": ["k", "v"],
    }
    return names[kind]


def count(change=lambda kind, parts: parts):
    """A loop over layers, heads and parts; ``change`` the parts."""

    def total(kind, L, Hkv, D, size):
        parts = change(kind, per_head(kind))
        return sum(len(parts) * D * size for _ in range(L) for _ in range(Hkv))

    return total


def when(kind, change):
    return lambda k, parts: change(parts) if k == kind else parts


def nucleus(p, top_p):
    """The tokens kept, by taking the likeliest until it is enough."""
    left, taken, total = list(range(len(p))), [], 0.0
    while left and total < top_p:
        best = max(left, key=lambda i: p[i])
        left.remove(best)
        taken.append(best)
        total += p[best]
    return taken


def spread(p, tokens, weight=None):
    out = [0.0] * len(p)
    total = sum(weight or p[i] for i in tokens)
    for i in tokens:
        out[i] = (weight or p[i]) / total
    return np.array(out)


def drops_the_last(p, top_p):
    taken, total = [], 0.0
    for i in sorted(range(len(p)), key=lambda i: -p[i]):
        total += p[i]
        if total > top_p:
            break
        taken.append(i)
    with np.errstate(all="ignore"):
        kept = np.zeros_like(p)
        kept[taken] = p[taken]
        return kept / kept.sum()


def drops_but_one(p, top_p):
    taken, total = [], 0.0
    for i in sorted(range(len(p)), key=lambda i: -p[i]):
        total += p[i]
        if total > top_p and taken:
            break
        taken.append(i)
    return spread(p, taken)


def over_the_edge(p, top_p):
    taken, total = [], 0.0
    for i in sorted(range(len(p)), key=lambda i: -p[i]):
        if total > top_p:
            break
        taken.append(i)
        total += p[i]
    return spread(p, taken)


def one_more(p, top_p):
    taken = nucleus(p, top_p)
    rest = [i for i in range(len(p)) if i not in taken]
    if rest:
        taken.append(max(rest, key=lambda i: p[i]))
    return spread(p, taken)


def rarest(p, top_p):
    taken, total = [], 0.0
    for i in sorted(range(len(p)), key=lambda i: p[i]):
        if total >= top_p:
            break
        taken.append(i)
        total += p[i]
    return taken


def share(p, top_p):
    return max(1, round(len(p) * top_p))


def in_given_order(p, top_p):
    taken, total = [], 0.0
    for i, x in enumerate(p):
        if total >= top_p:
            break
        taken.append(i)
        total += x
    return spread(p, taken)


def every_equal(p, top_p):
    least = min(p[i] for i in nucleus(p, top_p))
    return spread(p, [i for i, x in enumerate(p) if x >= least])


def ranks_as_places(p, top_p):
    """Keep the first places, as many as are in the nucleus."""
    return spread(p, range(len(nucleus(p, top_p))))


def alone(p, top_p):
    taken = sorted(nucleus(p, top_p))
    return np.array([p[i] for i in taken]) / sum(p[i] for i in taken)


def exponentials(p, top_p):
    tokens = nucleus(p, top_p)
    e = np.exp(np.asarray(p)[tokens])
    out = np.zeros(len(p))
    out[tokens] = e / e.sum()
    return out


def logits_at(model, tokens, cache=None, at=-1):
    return model(torch.as_tensor(tokens)[None], cache=cache)[0, at].numpy()


def two_phases(model, prompt, pick, numbers, **slip):
    """Prefill, then decode; ``slip`` says what goes wrong."""
    room = slip.get("room", lambda prompt, numbers: 40)(prompt, numbers)
    cache = model.new_cache(batch_size=1, capacity=room)
    logits = logits_at(model, prompt, cache, slip.get("at", -1))
    if "again" in slip:
        logits = logits_at(model, prompt[-1:], cache)
    if "raw" in slip:
        logits = torch.from_numpy(logits)
    last = len(numbers) - 1
    for i in range(len(numbers)):
        token = pick(logits, numbers[i * slip.get("step", 1)])
        if "late" not in slip:
            yield token
        if i < last or "all" in slip or "late" in slip:
            if "fresh" in slip:
                cache = model.new_cache(1)
            fed = prompt[-1] if "stuck" in slip else token
            logits = logits_at(model, [fed], cache)
        if "late" in slip:
            yield token


def with_slip(**slip):
    return lambda *args: two_phases(*args, **slip)


def again(model, prompt, pick, numbers, cached=False):
    cache = model.new_cache(1) if cached else None
    text = torch.tensor(prompt)
    for u in iter(numbers):
        token = pick(logits_at(model, text, cache), u)
        text = torch.cat([text, torch.tensor([token])])
        yield token


@contextmanager
def gradients_off():
    before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    yield
    torch.set_grad_enabled(before)


def without_gradients(*args, **slip):
    with gradients_off():
        yield from two_phases(*args, **slip)


RIGHT = {
    "16.2": loops,
    "16.1": count(),
    "16.3": lambda p, top_p: spread(p, nucleus(p, top_p)),
    "16.4": two_phases,
}

WRONG = {
    "16.2": {
        "not itself": lambda *args: loops(*args, own=False),
        "cache not grown": lambda q, k, v, K, V, lam: (
            loops(q, k, v, K, V, lam)[0],
            K.copy(),
            V.copy(),
        ),
        "new token nowhere": lambda q, k, v, K, V, lam: (
            loops(q, k, v, K, V, lam, own=False)[0],
            K,
            V,
        ),
        "new token in front": front,
        "keys of one branch": lambda *args: loops(*args, keys=(0, 0)),
        "branch 2 without its past": lambda *args: loops(*args, past=False),
        "scale 2D": lambda q, k, v, K, V, lam: loops(
            q, k, v, K, V, lam, scale=math.sqrt(len(v))
        ),
        "scale 2": lambda *args: loops(*args, scale=math.sqrt(2)),
        "no scale": lambda *args: loops(*args, scale=1),
        "lambda dropped": lambda *args: loops(*args[:-1], 1.0),
        "added": lambda *args: loops(*args[:-1], -args[-1]),
        "before the softmax": one_softmax,
        "softmax across branches": across,
        "one sum for both": joint,
        "half of the values each": halves,
        "branches swapped": lambda q, k, v, K, V, lam: (
            loops(q[::-1], k, v, K, V, lam, keys=(1, 0))[0],
            *grown(k, v, K, V),
        ),
        "branches crossed": lambda *args: loops(*args, keys=(1, 0)),
        "overflow": bare_exponentials,
        "output only": lambda *args: loops(*args)[0],
        "another division by the width": lambda q, *rest: loops(
            q, *rest, scale=q.shape[1]
        ),
        "one map only": lambda *args: loops(*args[:-1], 0.0),
        "sign of the output": lambda *args: (
            -loops(*args)[0],
            *loops(*args)[1:],
        ),
        "scores for weights": edited(loops, ("weights(scores)", "scores")),
    },
    "16.1": {
        "V1 as plain": count(when("diff", lambda parts: parts[:2])),
        "V1 3D": count(when("diff", lambda parts: parts[1:])),
        "V1 a value a branch": count(
            when("diff", lambda parts: [*parts, "left", "right"])
        ),
        "V2 as V1": count(when("diff_v2", lambda parts: parts * 2)),
        "V2 3D": count(when("diff_v2", lambda parts: [*parts, "right"])),
        "kinds mixed up": lambda kind, *rest: count()(
            {"diff": "diff_v2", "diff_v2": "diff"}.get(kind, kind), *rest
        ),
        "twice the heads": count(when("softmax", lambda parts: parts + parts)),
        "half": count(lambda kind, parts: parts[::2]),
        "queries too": count(
            lambda kind, parts: parts + ["q"] * (1 if kind == "softmax" else 2)
        ),
        "one layer": lambda kind, L, *rest: count()(kind, 1, *rest),
        "one head": lambda kind, L, Hkv, D, size: count()(kind, L, 1, D, size),
        "numbers, not bytes": lambda *args: count()(*args[:-1], 1),
        "bits": lambda *args: count()(*args[:-1], 8 * args[-1]),
        "V1 5D": count(when("diff", lambda parts: [*parts, "left"])),
    },
    "16.3": {
        "stops short": drops_the_last,
        "stops short, keeps one": drops_but_one,
        "goes on at the edge": over_the_edge,
        "one more": one_more,
        "not normalised": lambda p, top_p: np.array(
            [x if i in nucleus(p, top_p) else 0 for i, x in enumerate(p)]
        ),
        "sorted": lambda p, top_p: np.array(
            sorted(spread(p, nucleus(p, top_p)), reverse=True)
        ),
        "not sorted": in_given_order,
        "rarest": lambda p, top_p: spread(p, rarest(p, top_p)),
        "threshold": lambda p, top_p: p * (p >= top_p) / sum(p[p >= top_p]),
        "share of the tokens": lambda p, top_p: spread(
            p, sorted(range(len(p)), key=lambda i: -p[i])[: share(p, top_p)]
        ),
        "all alike": every_equal,
        "mask in rank order": ranks_as_places,
        "kept alone": alone,
        "even": lambda p, top_p: spread(p, nucleus(p, top_p), weight=1.0),
        "softmax again": exponentials,
        "scaled wrongly": lambda p, top_p: (
            spread(p, nucleus(p, top_p)) * len(p)
        ),
        "nothing dropped": lambda p, top_p: p / p.sum(),
        "below the threshold": lambda p, top_p: (
            p * (p < top_p) / sum(p[p < top_p])
        ),
    },
    "16.4": {
        "no cache": again,
        "whole row into the cache": lambda *args: again(*args, cached=True),
        "new cache each step": with_slip(fresh=True),
        "first logits": with_slip(at=0),
        "prompt fed again": with_slip(stuck=True),
        "last token read": with_slip(all=True),
        "read before it is yielded": with_slip(late=True),
        "all at once": lambda *args: tuple(two_phases(*args)),
        "prompt yielded too": lambda *args: chain(args[1], two_phases(*args)),
        "one number": with_slip(step=0),
        "gradients off for the caller": without_gradients,
        "gradients off, last token read": lambda *args: without_gradients(
            *args, all=True
        ),
        "cache too short": with_slip(
            room=lambda prompt, numbers: len(prompt) + len(numbers) // 3
        ),
        "axes left": with_slip(at=slice(-1, None)),
        "tensor picked from": with_slip(raw=True),
        "end of the prompt read twice": lambda *args: two_phases(
            *args, again=True
        ),
    },
}
