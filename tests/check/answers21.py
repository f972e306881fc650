"""Chapter 21: right and wrong answers written another way than ours."""

from collections import defaultdict
from functools import partial
from itertools import combinations

import numpy as np

from minidiff.check.edited import edited


def prompt(
    texts,
    classes,
    labels,
    order,
    end,
    *,
    text=lambda n, order: order[n],
    named=lambda n, order: order[n],
    said=lambda c, labels: int(labels[c]),
    tail=True,
    shift=-1,
):
    """Join blocks, and find the places by their lengths."""
    blocks, places, total = [], [], 0
    for n in range(len(order)):
        words = list(texts[text(n, order)])
        label = said(classes[named(n, order)], labels)
        block = [*words, label, end] if tail else [*words, label]
        places.append(total + len(words) + shift)
        total += len(block)
        blocks.append(np.array(block))
    return np.concatenate(blocks), np.array(places)


def inverse(n, order):
    return list(order).index(n)


def by_item(texts, classes, labels, order, end):
    ids, places = prompt(texts, classes, labels, order, end)
    return ids, places[np.argsort(order)]


def guess(
    classes,
    shots,
    *,
    chance=lambda known, c, seen: 1 / len(known) if c in known else 0.0,
    with_own=False,
    capped=True,
    by_row=False,
):
    """Count what each row has said so far in a dictionary."""
    sums, counts = defaultdict(float), defaultdict(int)
    means = []
    for row in classes.tolist():
        own_sums, own_counts = defaultdict(float), defaultdict(int)
        known = defaultdict(int)
        for c in row:
            n = known[c] + 1 if with_own else known[c]
            if not known[c]:
                del known[c]
            n = min(n, shots) if capped else n
            p = chance(known, c, row)
            known[c] += 1
            sums[n] += p
            counts[n] += 1
            own_sums[n] += p
            own_counts[n] += 1
        means.append(
            [
                own_sums[n] / own_counts[n] if own_counts[n] else np.nan
                for n in range(shots + 1)
            ]
        )
    if by_row:
        return np.nanmean(np.array(means), axis=0)
    return np.array(
        [
            sums[n] / counts[n] if counts[n] else np.nan
            for n in range(shots + 1)
        ]
    )


def copied(known, c, row):
    total = sum(known.values())
    return known.get(c, 0) / total if total else 0.0


def orders(
    said,
    labels,
    *,
    lowest=min,
    over_questions=False,
    deviation=False,
    verdicts=False,
    average=False,
    pairs="all",
):
    """Loop over orders and questions."""
    K, Q = said.shape
    right = [
        [int(a == t) for a, t in zip(row, labels, strict=True)] for row in said
    ]
    scores = [sum(row) / Q for row in right]
    if over_questions:
        scores = [sum(column) / K for column in zip(*right, strict=True)]
    mean = sum(scores) / len(scores)
    spread = max(scores) - lowest(scores)
    if deviation:
        spread = (sum((s - mean) ** 2 for s in scores) / K) ** 0.5
    shown = right if verdicts else said.tolist()
    moved = [len({row[q] for row in shown}) > 1 for q in range(Q)]
    changed = sum(moved) / Q
    if average:
        changed = sum(
            shown[k][q] != shown[0][q] for k in range(K) for q in range(Q)
        ) / (K * Q)

    def apart(i, j):
        return sum(a != b for a, b in zip(shown[i], shown[j], strict=True)) / Q

    chosen = {
        "all": list(combinations(range(K), 2)),
        "first": [(0, k) for k in range(1, K)],
        "next": [(k - 1, k) for k in range(1, K)],
        "itself": [(i, j) for i in range(K) for j in range(K)],
        "twice": list(combinations(range(K), 2)),
    }[pairs]
    found = sum(apart(i, j) for i, j in chosen) / len(chosen)
    return spread, changed, found / 2 if pairs == "twice" else found


def mean_of(scores):
    return sum(scores) / len(scores)


def shuffled(
    right,
    shuffles,
    *,
    same=False,
    inverse=False,
    over_questions=False,
    deviation=False,
    p=lambda spreads, real: (
        (sum(s >= real for s in spreads) + 1) / (len(spreads) + 1)
    ),
):
    """Loop over draws, and over questions."""

    def spread(table):
        if deviation:
            return float(np.std([np.mean(row) for row in table]))
        scores = [np.mean(x) for x in (table.T if over_questions else table)]
        return float(max(scores) - min(scores))

    spreads = []
    for draw in shuffles:
        table = np.empty(right.shape)
        for q in range(right.shape[1]):
            which = draw[:, 0 if same else q]
            if inverse:
                table[which, q] = right[:, q]
            else:
                table[:, q] = right[which, q]
        spreads.append(spread(table))
    return np.array(spreads), float(p(spreads, spread(right)))


RIGHT = {
    "21.1": prompt,
    "21.2": guess,
    "21.3": orders,
    "21.4": shuffled,
}

WRONG = {
    "21.1": {
        "places of the labels": partial(prompt, shift=0),
        "places after the labels": partial(prompt, shift=1),
        "no end": partial(prompt, tail=False),
        "order not used": partial(
            prompt, text=lambda n, order: n, named=lambda n, order: n
        ),
        "order the other way": partial(prompt, text=inverse, named=inverse),
        "only the texts in order": partial(prompt, named=lambda n, order: n),
        "only the labels in order": partial(prompt, text=lambda n, order: n),
        "class instead of label": partial(
            prompt, said=lambda c, labels: int(c)
        ),
        "places by item": by_item,
        "one place early": partial(prompt, shift=-2),
    },
    "21.2": {
        "all labels of the row": partial(
            guess, chance=lambda known, c, row: 1 / len(set(row))
        ),
        "own label counted as said": partial(
            guess, chance=lambda known, c, row: 1 / len(set(known) | {c})
        ),
        "never wrong at a new class": partial(
            guess, chance=lambda known, c, row: 1 / (len(known) or 1)
        ),
        "one of the earlier items": partial(guess, chance=copied),
        "item counts itself": partial(guess, with_own=True),
        "last group exact": partial(guess, capped=False),
        "mean of rows": partial(guess, by_row=True),
        "another chance": partial(
            guess, chance=lambda known, c, seen: 1.0 if c in known else 0.0
        ),
        "right at a new class": partial(
            guess,
            chance=lambda known, c, seen: (
                1 / len(known) if c in known else 1.0
            ),
        ),
        "sums": edited(
            guess, ("sums[n] / counts[n] if counts[n] else np.nan", "sums[n]")
        ),
    },
    "21.3": {
        "questions as orders": partial(orders, over_questions=True),
        "standard deviation": partial(orders, deviation=True),
        "best minus mean": partial(orders, lowest=mean_of),
        "only right or wrong": partial(orders, verdicts=True),
        "changed on average": partial(orders, average=True),
        "pairs with themselves": partial(orders, pairs="itself"),
        "pairs with the first only": partial(orders, pairs="first"),
        "neighbours only": partial(orders, pairs="next"),
        "pairs counted twice": partial(orders, pairs="twice"),
        "counts": edited(orders, ("sum(moved) / Q", "sum(moved)")),
        "changed in every order": edited(orders, ("> 1 for q", "> K for q")),
        "alike": edited(orders, ("a != b", "a == b")),
        "share of orders": edited(
            orders,
            (
                "changed = sum(moved) / Q",
                "changed = sum(row != shown[0] for row in shown) / K",
            ),
        ),
        "no difference": edited(
            orders, ("max(scores) - lowest(scores)", "max(scores)")
        ),
        "another number of pairs": edited(
            orders, ("/ len(chosen)", "* 2 / K")
        ),
        "each with itself": edited(
            orders,
            (
                "found = sum(apart(i, j) for i, j in chosen) / len(chosen)",
                "found = 0.0",
            ),
        ),
    },
    "21.4": {
        "whole orders shuffled": partial(shuffled, same=True),
        "the inverse permutation": partial(shuffled, inverse=True),
        "spread over questions": partial(shuffled, over_questions=True),
        "standard deviation": partial(shuffled, deviation=True),
        "strictly larger": partial(
            shuffled,
            p=lambda spreads, real: (
                (sum(s > real for s in spreads) + 1) / (len(spreads) + 1)
            ),
        ),
        "real one not counted": partial(
            shuffled,
            p=lambda spreads, real: (
                sum(s >= real for s in spreads) / len(spreads)
            ),
        ),
        "the small ones counted": partial(
            shuffled,
            p=lambda spreads, real: (
                (sum(s <= real for s in spreads) + 1) / (len(spreads) + 1)
            ),
        ),
        "counts": edited(shuffled, ("np.mean(x) for x", "np.sum(x) for x")),
        "no share": partial(
            shuffled,
            p=lambda spreads, real: 1 + sum(s >= real for s in spreads),
        ),
        "1 added to a share": partial(
            shuffled,
            p=lambda spreads, real: (
                (1 + np.mean([s >= real for s in spreads]))
                / (1 + len(spreads))
            ),
        ),
        "1 added elsewhere": partial(
            shuffled,
            p=lambda spreads, real: (
                (2 + sum(s >= real for s in spreads)) / (1 + len(spreads))
            ),
        ),
        "real spread never reached": edited(
            shuffled,
            ("p(spreads, spread(right))", "p(spreads, spread(right.T))"),
        ),
    },
}
