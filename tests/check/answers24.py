"""Chapter 24: right and wrong answers written another way than ours."""

from functools import partial

import numpy as np

from minidiff.check.edited import edited


def by_hand(y, order="ab", sign=1, where="mean", inter="full"):
    """Loop over seeds, with named results."""
    rows = []
    for (none, norm), (second, both) in np.asarray(y).tolist():
        effects = {
            "a": {"alone": second - none, "with": both - norm},
            "b": {"alone": norm - none, "with": both - second},
        }
        for e in effects.values():
            e["sum"] = e["alone"] + e["with"]
            e["mean"] = e["sum"] / 2
        beyond = effects["b"]["with"] - effects["b"]["alone"]
        last = {
            "full": beyond,
            "half": beyond / 2,
            "minus": -beyond,
            "both": both - none,
        }[inter]
        rows.append([sign * effects[k][where] for k in order] + [sign * last])
    return np.array(rows)


def one_row(y):
    return np.array([sum(c) / len(c) for c in by_hand(y).T.tolist()])


def stepwise(p, factor=lambda r, m: m - r, climb=True, cap=True, back=True):
    """Go through the contrasts from the smallest p-value up."""
    values = [float(x) for x in p]
    m, last, out = len(values), 0.0, {}
    for r, i in enumerate(sorted(range(m), key=lambda i: values[i])):
        x = factor(r, m) * values[i]
        last = max(last, x) if climb else x
        out[i] = min(last, 1.0) if cap else last
    return np.array([out[i] for i in (range(m) if back else out)])


def fetched(p):
    values, order = sorted(stepwise(p).tolist()), np.argsort(p)
    return np.array([values[i] for i in order])


def from_the_top(p, factor=lambda r, m: m - r, largest=False):
    """Go down from the largest p-value, keeping the minimum or maximum."""
    values = [float(x) for x in p]
    m = len(values)
    places = sorted(range(m), key=lambda i: values[i])
    out, last = np.zeros(m), 0.0 if largest else 1.0
    for r in reversed(range(m)):
        i = places[r]
        # Counted from the top, the largest has the rank 0.
        x = values[i] * factor(m - 1 - r if largest else r, m)
        last = min(max(last, x), 1.0) if largest else min(last, x)
        out[i] = last
    return out


def scaled(W, w, gain, each=lambda w, g, H: w * g, rows=False, mixed=False):
    """Loop over the entries of the matrix."""
    E, width = W.shape
    H = width // len(w)
    factor = [float(x) for x in each(w, gain, H)]
    out = np.zeros((E, width))
    for i in range(E):
        for j in range(width):
            at = i if rows else j
            at = at // H if mixed else at % len(w)
            out[i, j] = W[i, j] * factor[at]
    return out


def settings(weight, gain, lr, decay, eps, W="x", rate="x", wd="/", e="/"):
    change = {
        "x": lambda x: x * gain,
        "/": lambda x: x / gain,
        "=": lambda x: x,
        "xx": lambda x: x * gain * gain,
    }
    return (
        change[W](weight),
        change[rate](lr),
        change[wd](decay),
        change[e](eps),
    )


RIGHT = {
    "24.1": by_hand,
    "24.2": stepwise,
    "24.3": scaled,
    "24.4": settings,
}

WRONG = {
    "24.1": {
        "parts exchanged": partial(by_hand, order="ba"),
        "without minus with": partial(by_hand, sign=-1),
        "added to nothing": partial(by_hand, where="alone"),
        "taken from the whole": partial(by_hand, where="with"),
        "added, not averaged": partial(by_hand, where="sum"),
        "interaction halved": partial(by_hand, inter="half"),
        "both against none": partial(by_hand, inter="both"),
        "sign of the interaction": partial(by_hand, inter="minus"),
        "mean over seeds": one_row,
        "results, not effects": lambda y: np.column_stack(
            [np.mean(y[:, 1], axis=1), by_hand(y)[:, 1:]]
        ),
        "one main effect added up": lambda y: by_hand(y) * [1, 2, 1],
        "one main effect reversed": lambda y: by_hand(y) * [1, -1, 1],
        "same result subtracted": lambda y: by_hand(y) * [0, 1, 1],
        "rows for columns": lambda y: np.column_stack(
            [
                by_hand(y)[:, 0],
                ((y[:, 1] - y[:, :, 0]).sum(1)) / 2,
                by_hand(y)[:, 2],
            ]
        ),
        "one effect for the interaction": lambda y: np.column_stack(
            [by_hand(y)[:, :2], np.diff(y[:, 1]).ravel()]
        ),
        "effects added": lambda y: np.column_stack(
            [by_hand(y)[:, :2], np.diff(y).sum((1, 2))]
        ),
        "results mixed up in the interaction": lambda y: np.column_stack(
            [by_hand(y)[:, :2], by_hand(y)[:, 2] + 2 * y[:, 1, 0]]
        ),
    },
    "24.2": {
        "Bonferroni": lambda p: np.minimum(len(p) * p, 1.0),
        "may fall": partial(stepwise, climb=False),
        "above 1": partial(stepwise, cap=False),
        "left sorted": partial(stepwise, back=False),
        "sorted back wrongly": fetched,
        "rank": partial(stepwise, factor=lambda r, m: r + 1),
        "largest first": partial(from_the_top, largest=True),
        "one too few": partial(stepwise, factor=lambda r, m: m - r - 1),
        "Hochberg": from_the_top,
        "Benjamini and Hochberg": partial(
            from_the_top, factor=lambda r, m: m / (r + 1)
        ),
        "not multiplied": lambda p: stepwise(p, factor=lambda r, m: 1),
        "factors that grow": lambda p: stepwise(p, factor=lambda r, m: m + r),
        "running minimum": edited(
            stepwise, ("max(last, x)", "min(last or 1.0, x)")
        ),
        "cut off at the wrong side": lambda p: np.maximum(
            stepwise(p, cap=False), 1
        ),
    },
    "24.3": {
        "gain only": partial(scaled, each=lambda w, g, H: 0 * w + g),
        "weight only": partial(scaled, each=lambda w, g, H: w),
        "each entry repeated": partial(scaled, mixed=True),
        "undone": partial(scaled, each=lambda w, g, H: 1 / (w * g)),
        "rows": partial(scaled, rows=True),
        "gain once a head": partial(scaled, each=lambda w, g, H: w * g**H),
        "added": edited(
            scaled, ("W[i, j] * factor[at]", "W[i, j] + factor[at]")
        ),
        "unchanged": partial(scaled, each=lambda w, g, H: w * 0 + 1),
    },
    "24.4": {
        "same weight": partial(settings, W="="),
        "weight divided": partial(settings, W="/", rate="/", wd="x", e="x"),
        "same rate": partial(settings, rate="=", wd="=", e="="),
        "rate squared": partial(settings, rate="xx"),
        "rate divided": partial(settings, rate="/", wd="x"),
        "same decay": partial(settings, wd="="),
        "decay multiplied": partial(settings, wd="x", e="x"),
        "same eps": partial(settings, e="="),
        "eps multiplied": partial(settings, e="x"),
        "another order": lambda *a: tuple(
            settings(*a)[i] for i in (0, 2, 1, 3)
        ),
        "sum or rounded down": lambda W, gain, *rest: (
            W + gain,
            *settings(W, gain, *rest)[1:],
        ),
    },
}
