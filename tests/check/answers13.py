"""Chapter 13: right and wrong answers written another way than ours."""

import numpy as np

from minidiff.check.edited import edited


def by_tensors(
    T, S, D, H, Hkv, size, q=None, k=None, v=None, out=None, each=2, wide=2
):
    """List the tensors of all heads; count products branch by branch."""
    shapes = {
        "q": q or (H, 2, T, D),
        "k": k or (Hkv, 2, S, D),
        "v": v or (Hkv, S, 2 * D),
        "out": out or (H, T, 2 * D),
    }
    moved = size * sum(np.prod(shape) for shape in shapes.values())
    flops = 0
    for _ in range(H):
        for _branch in range(2):
            flops += each * T * S * D  # scores
            flops += each * T * S * wide * D  # times values
    return flops / moved


def longest_and_all(work, rates, scale=1e3, unit=1e12, count=3):
    longest = total = 0.0
    for i in range(count):
        time = scale * work[i] / (unit * rates[i])
        total += time
        if time > longest:
            longest = time
    return longest, total


def shortest(work, rates):
    times = np.array(work) / np.array(rates) * 1e-9
    return times.min(), times.sum()


def by_numpy(ours, theirs, drop, middle=np.median):
    x = np.sort(np.divide(ours, theirs))
    return x[drop], middle(x), x[::-1][drop]


def cut(ours, theirs, left, right):
    x = np.sort(np.divide(ours, theirs))
    kept = x[left : len(x) - right]
    return kept.min(), np.median(x), kept.max()


def rounds_cut(ours, theirs, drop):
    x = [ours[i] / theirs[i] for i in range(len(ours))]
    return (
        x[drop],
        sorted(x)[len(x) // 2] / 2 + sorted(x)[(len(x) - 1) // 2] / 2,
        x[::-1][drop],
    )


RIGHT = {
    "13.1": by_tensors,
    "13.2": longest_and_all,
    "13.3": by_numpy,
}

WRONG = {
    "13.1": {
        "one for two": lambda *a: by_tensors(*a, each=1),
        "four units": lambda *a: by_tensors(*a, wide=1),
        "output left out": lambda *a: by_tensors(*a, out=(0,)),
        "two outputs": lambda T, S, D, H, Hkv, size: by_tensors(
            T, S, D, H, Hkv, size, out=(H, 2, T, 2 * D)
        ),
        "three widths": lambda T, S, D, H, Hkv, size: by_tensors(
            T, S, D, H, Hkv, size, v=(Hkv, S, D)
        ),
        "values for each branch": lambda T, S, D, H, Hkv, size: by_tensors(
            T, S, D, H, Hkv, size, v=(2, Hkv, S, 2 * D)
        ),
        "maps moved": lambda T, S, D, H, Hkv, size: (
            1
            / (
                1 / by_tensors(T, S, D, H, Hkv, size)
                + 2 * H * T * S * size / (12 * H * T * S * D)
            )
        ),
        "one length": lambda T, S, D, H, Hkv, size: by_tensors(
            T, T, D, H, Hkv, size
        ),
        "keys for every query head": lambda T, S, D, H, Hkv, size: by_tensors(
            T, S, D, H, H, size
        ),
        "products for key heads": lambda T, S, D, H, Hkv, size: (
            by_tensors(T, S, D, H, Hkv, size) * Hkv / H
        ),
        "numbers, not bytes": lambda T, S, D, H, Hkv, size: by_tensors(
            T, S, D, H, Hkv, 1
        ),
        "upside down": lambda *a: by_tensors(*a) ** -1,
        "a factor left out of the FLOPs": lambda T, S, D, H, Hkv, size: (
            by_tensors(T, S, D, H, Hkv, size) / H
        ),
        "another number of units": lambda *a: by_tensors(*a) * 5 / 6,
        "keys or values left out": lambda *a: by_tensors(*a, k=(0,)),
        "queries and output left out": lambda *a: by_tensors(
            *a, q=(0,), out=(0,)
        ),
        "one head's numbers": lambda T, S, D, H, Hkv, size: by_tensors(
            T, S, D, H, Hkv, size, k=(2, S, D), v=(S, 2 * D)
        ),
        "rows or width left out": lambda T, S, D, H, Hkv, size: by_tensors(
            T, S, D, H, Hkv, size, k=(Hkv, 2, D)
        ),
        "brackets forgotten": lambda T, S, D, H, Hkv, size: (
            12 * T * S * D * H / size * (4 * D * (H * T + Hkv * S))
        ),
        "rounded down": lambda *a: by_tensors(*a) // 1,
    },
    "13.2": {
        "seconds": lambda *a: longest_and_all(*a, scale=1),
        "power of ten": lambda *a: longest_and_all(*a, scale=1e6),
        "factor left out": lambda *a: longest_and_all(*a, unit=1),
        "least for most": shortest,
        "turned over": lambda *a: longest_and_all(*a)[::-1],
        "exponentials left out": lambda *a: longest_and_all(*a, count=2),
        "memory beside": lambda w, r: (
            longest_and_all(w, r)[0],
            max(w[1] / r[1], longest_and_all(w[::2], r[::2], count=2)[1] * 1e9)
            / 1e9,
        ),
        "mean for sum": lambda w, r: (
            longest_and_all(w, r)[0],
            np.mean(np.array(w) / np.array(r)) / 1e9,
        ),
        "rates added": lambda w, r: (
            longest_and_all(w, r)[0],
            np.sum(w) / np.sum(r) / 1e9,
        ),
        "upside down": lambda w, r: (
            max(1e3 * 1e12 * y / x for x, y in zip(w, r, strict=True)),
            sum(1e3 * 1e12 * y / x for x, y in zip(w, r, strict=True)),
        ),
        "rates left out": edited(
            longest_and_all, ("(unit * rates[i])", "unit")
        ),
        "multiplied by the rate": edited(
            longest_and_all,
            ("work[i] / (unit * rates[i])", "work[i] * unit * rates[i]"),
        ),
        "brackets forgotten": lambda *a: longest_and_all(*a, unit=1e-12),
    },
    "13.3": {
        "unpaired": lambda a, b, n: by_numpy(np.sort(a), np.sort(b), n),
        "ratio of medians": lambda a, b, n: (
            by_numpy(a, b, n)[0],
            np.median(a) / np.median(b),
            by_numpy(a, b, n)[2],
        ),
        "mean": lambda *a: by_numpy(*a, middle=np.mean),
        "middle of an even number": lambda *a: by_numpy(
            *a, middle=lambda x: x[len(x) // 2]
        ),
        "upside down": lambda a, b, n: by_numpy(b, a, n),
        "not sorted": rounds_cut,
        "nothing dropped": lambda a, b, n: cut(a, b, 0, 0),
        "one end only": lambda a, b, n: cut(a, b, 0, n),
        "off by one": lambda a, b, n: (
            *by_numpy(a, b, n)[:2],
            sorted(x / y for x, y in zip(a, b, strict=True))[-n],
        ),
        "slice to minus zero": lambda a, b, n: (
            np.sort(np.divide(a, b))[n:-n][0],
            np.median(np.divide(a, b)),
            np.sort(np.divide(a, b))[n:-n][-1],
        ),
        "another order": lambda *a: (by_numpy(*a)[1], *by_numpy(*a)[::2]),
        "no ratios": lambda a, b, n: by_numpy(a, np.ones(len(b)), n),
        "one more dropped": lambda a, b, n: cut(a, b, n + 1, n),
    },
}
