"""Chapter 26: right and wrong answers written another way than ours."""

import math
from functools import partial

import numpy as np
import torch

from minidiff.check.edited import edited

# 26.1: from scores, as logarithms of the weights, one key after the other


def rescaled(A1, A2, lam, kept, *, factors="own", sign=-1, once=False):
    total = [sum(float(A[j]) for j in kept) for A in (A1, A2)]
    if factors == "first":
        total[1] = total[0]
    if factors == "none":
        total = [1.0, 1.0]
    if factors == "only the first":
        total[1] = 1.0
    found = []
    for j in kept:
        first = math.exp(math.log(A1[j]) - math.log(total[0]))
        second = math.exp(math.log(A2[j]) - math.log(total[1]))
        found.append(first + sign * (1 if once else lam) * second)
    return np.array(found)


def difference_rescaled(A1, A2, lam, kept, target):
    A = np.array([A1[j] - lam * A2[j] for j in kept])
    return target(lam) * A / math.fsum(A)


def exponentials(A1, A2, lam, kept):
    e1, e2 = np.exp(A1[kept]), np.exp(A2[kept])
    return e1 / e1.sum() - lam * (e2 / e2.sum())


def evicted_weights(A1, A2, lam, kept):
    others = [j for j in range(len(A1)) if j not in set(kept.tolist())]
    return rescaled(A1, A2, lam, others)


def with_zeros(A1, A2, lam, kept):
    out = np.zeros(len(A1))
    out[kept] = rescaled(A1, A2, lam, kept)
    return out


# 26.2: counting query by query


def counted(W, *, sees=None, counts=None, empty=None):
    T, S = W.shape
    if sees is None:

        def sees(i, j):
            return j <= S - T + i

    out = np.zeros(S)
    for j in range(S):
        queries = [i for i in range(T) if sees(i, j)]
        n = len(queries) if counts is None else counts(T, S, j)
        if n == 0 and empty is not None:
            n = empty
        with np.errstate(all="ignore"):
            out[j] = np.float64(sum(float(W[i, j]) for i in range(T))) / n
    return out


def nonzero_mean(W):
    out = []
    for column in W.T:
        some = [w for w in column if w != 0]
        out.append(sum(some) / len(some) if some else 0.0)
    return np.array(out)


# 26.3: head by head, with lists


def places_of(scores, n, key=None):
    key = key or (lambda s: s)
    order = sorted(range(len(scores)), key=lambda j: -key(scores[j]))
    return sorted(order[:n])


def by_head(K, V, scores, budget, choose=places_of, values=None, second=None):
    keys, vals, places = [], [], []
    for h in range(len(scores)):
        kept = choose(scores[h].tolist(), budget)
        first, other = K[h][0][kept], K[h][1][kept]
        if second is not None:
            other = K[h][1][second(kept)]
        keys.append(np.stack([first, other]))
        vals.append(V[h][kept if values is None else values(kept)])
        places.append(kept)
    return np.stack(keys), np.stack(vals), np.array(places)


def same_for_all(K, V, scores, budget):
    total = scores.sum(0)
    return by_head(K, V, np.stack([total] * len(scores)), budget)


def by_first_head(K, V, scores, budget):
    kept = places_of(scores[0].tolist(), budget)
    keys, _, places = by_head(K, V, scores, budget)
    return keys, V[:, np.array(kept)], places


def new_numbers(K, V, scores, budget):
    keys, vals, places = by_head(K, V, scores, budget)
    return keys, vals, np.cumsum(np.ones_like(places), axis=1) - 1


def worst(scores, n):
    return places_of([-s for s in scores], n)


def drop_budget(scores, n):
    return places_of(scores, len(scores) - min(n, len(scores)))


def unsorted(scores, n):
    return sorted(range(len(scores)), key=lambda j: -scores[j])[:n]


# 26.4: the prompt is read once more, where ours forgets the question


def asked(
    model,
    prompt,
    question,
    score,
    budget,
    aware,
    *,
    when=lambda aware: aware,
    of_layer=lambda i, n: i,
    part=lambda x, P: x[:, :, :P],
    sign=1,
    merged=False,
    twice=False,
    apart=False,
    out=lambda x: x,
):
    (B, P), Q = prompt.shape, question.shape[1]
    cache = model.new_cache(B, P + 2 * Q, budget=budget)
    rows = prompt
    if when(aware):
        rows = torch.cat((prompt, question), 1)
    maps = model(rows, cache=cache, return_maps=True)[1]
    if when(aware) and not twice:
        # Read the prompt once more instead of forgetting the question.
        cache = model.new_cache(B, P + 2 * Q, budget=budget)
        model(prompt, cache=cache)
    for i, layer in enumerate(cache):
        scores = sign * score(maps[of_layer(i, len(cache))])
        if not twice:
            scores = part(scores, P)
        if merged:
            scores = scores.sum(1, keepdim=True).repeat(1, scores.shape[1], 1)
        layer.evict(scores)
    if apart:
        found = []
        for t in range(Q):
            found.append(model(question[:, t : t + 1], cache=cache))
            for layer in cache:
                layer.length -= 1
        return torch.cat(found, dim=1)
    return out(model(question, cache=cache))


def everything_kept(model, prompt, question, score, budget, aware):
    cache = model.new_cache(len(prompt))
    model(prompt, cache)
    return model(question, cache)


def without_prompt(model, prompt, question, score, budget, aware):
    cache = model.new_cache(len(prompt))
    return model(question, cache)


RIGHT = {
    "26.1": rescaled,
    "26.2": counted,
    "26.3": by_head,
    "26.4": asked,
}

WRONG = {
    "26.1": {
        "not rescaled": partial(rescaled, factors="none"),
        "difference to 1": partial(difference_rescaled, target=lambda lam: 1),
        "difference to 1 - lam": partial(
            difference_rescaled, target=lambda lam: 1 - lam
        ),
        "one factor": partial(rescaled, factors="first"),
        "only one branch rescaled": partial(
            rescaled, factors="only the first"
        ),
        "lambda dropped": partial(rescaled, once=True),
        "added": partial(rescaled, sign=1),
        "softmax of weights": exponentials,
        "evicted keys instead": evicted_weights,
        "all S places": with_zeros,
        "branches swapped": lambda A1, A2, *a: rescaled(A2, A1, *a),
        "one branch only": lambda A1, A2, lam, kept: rescaled(
            A1, A2, 0.0, kept
        ),
        "divided by the mean": edited(
            rescaled,
            ("    found = []", "    total[0] /= len(kept)\n    found = []"),
        ),
        "multiplied": edited(
            rescaled, ("- math.log(total[0])", "+ math.log(total[0])")
        ),
        "divided by itself": edited(
            rescaled, ("math.exp(math.log(A1[j]) - math.log(total[0]))", "1.0")
        ),
    },
    "26.2": {
        "sum": partial(counted, counts=lambda T, S, j: 1),
        "all queries": partial(counted, counts=lambda T, S, j: T),
        "more queries than there are": partial(
            counted, counts=lambda T, S, j: S - j
        ),
        "aligned to the start": partial(
            counted, sees=lambda i, j: j <= i, empty=1
        ),
        "early and late swapped": partial(
            counted, counts=lambda T, S, j: min(T, j + 1)
        ),
        "off by one": partial(
            counted, counts=lambda T, S, j: min(T, S - j - 1)
        ),
        "positive weights only": nonzero_mean,
        "over the keys": lambda W: np.array([sum(r) / len(r) for r in W]),
        "last query only": lambda W: np.array([r[-1] for r in W.T.tolist()]),
        "over the queries, but turned": lambda W: (
            W.sum(-1) / np.minimum(len(W), np.arange(W.shape[1], 0, -1))
        ),
        "one column of times forgotten": lambda W: (
            W.sum(0)
            / np.array(
                np.arange(W.shape[1])
                <= np.arange(W.shape[1] - W.shape[0], W.shape[1])
            ).sum(0)
        ),
        "counts": lambda W: np.minimum(len(W), np.arange(W.shape[1], 0, -1)),
        "divided twice": lambda W: counted(W) / len(W),
        "shares for counts": lambda W: counted(W) * len(W),
    },
    "26.3": {
        "lowest kept": partial(by_head, choose=worst),
        "order of scores": partial(by_head, choose=unsorted),
        "one choice for all heads": same_for_all,
        "budget evicted": partial(by_head, choose=drop_budget),
        "most recent": partial(
            by_head, choose=lambda s, n: list(range(len(s)))[-n:]
        ),
        "first ones": partial(
            by_head, choose=lambda s, n: list(range(min(n, len(s))))
        ),
        "values not chosen": partial(
            by_head, values=lambda kept: list(range(len(kept)))
        ),
        "values of another head's choice": by_first_head,
        "second branch not chosen": partial(
            by_head, second=lambda kept: list(range(len(kept)))
        ),
        "places counted anew": new_numbers,
    },
    "26.4": {
        "always aware": partial(asked, when=lambda aware: True),
        "always blind": partial(asked, when=lambda aware: False),
        "aware swapped": partial(asked, when=lambda aware: not aware),
        "nothing evicted": everything_kept,
        "prompt not read": without_prompt,
        "question read twice": partial(asked, twice=True),
        "the last P scores": partial(
            asked, part=lambda x, P: x[:, :, x.shape[2] - P :]
        ),
        "one layer's scores": partial(asked, of_layer=lambda i, n: n - 1),
        "layers in reverse": partial(asked, of_layer=lambda i, n: n - 1 - i),
        "worst kept": partial(asked, sign=-1),
        "heads merged": partial(asked, merged=True),
        "tokens of the question apart": partial(asked, apart=True),
        "last token only": partial(asked, out=lambda x: x[:, -1, :]),
    },
}
