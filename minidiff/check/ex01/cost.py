"""Exercise 1.5: operations and bytes of attention."""

from minidiff.check.core import Case, Exercise, Mistake


def cost(
    T: int, S: int, D: int, Dv: int, H: int, itemsize: int
) -> tuple[int, int, int]:
    """Return (FLOPs, bytes of all maps, bytes of q, k and v together).

    H heads; q (H, T, D), k (H, S, D), v (H, S, Dv); a number takes itemsize
    bytes; a multiply-add counts 2.
    """
    flops = 2 * H * T * S * (D + Dv)
    maps = H * T * S * itemsize
    qkv = H * (T * D + S * D + S * Dv) * itemsize
    return flops, maps, qkv


def _cases() -> list[Case]:
    sizes = [
        (4, 4, 8, 8, 2, 8),
        (1, 7, 3, 5, 2, 2),
        (10, 12, 16, 32, 4, 4),
        (5, 6, 2, 2, 1, 2),
    ]
    names = ("T", "S", "D", "Dv", "H", "itemsize")
    return [
        Case(
            name=", ".join(
                f"{n} = {x}" for n, x in zip(names, args, strict=True)
            ),
            args=args,
        )
        for args in sizes
    ]


def _times(
    args: tuple[int, ...], flops: float = 1, maps: float = 1, qkv: float = 1
) -> tuple[float, ...]:
    """The right answer with some of its parts multiplied: the mistakes."""
    right = cost(*args)
    return right[0] * flops, right[1] * maps, right[2] * qkv


EXERCISE = Exercise(
    id="1.5",
    cases=_cases,
    solution=cost,
    mistakes=(
        Mistake(
            key="half the operations",
            diagnosis="Half of the FLOPs. A multiply and an add count 2, and "
            "no entry is left out for a mask.",
            wrong=lambda *a: _times(a, flops=0.5),
        ),
        Mistake(
            key="counted to the last",
            diagnosis="You count one sum less than products, as the counter "
            "did. That is exact; the custom, and the docstring, is 2 for "
            "each multiply-add.",
            wrong=lambda T, S, D, Dv, H, n: (
                H * T * (S * (2 * D - 1) + Dv * (2 * S - 1)),
                *cost(T, S, D, Dv, H, n)[1:],
            ),
        ),
        Mistake(
            key="scores only",
            diagnosis="The FLOPs of the values are missing: A @ v is a "
            "matrix product too, 2 T S Dv for each head.",
            wrong=lambda T, S, D, Dv, H, n: (
                2 * H * T * S * D,
                *cost(T, S, D, Dv, H, n)[1:],
            ),
        ),
        Mistake(
            key="no heads",
            diagnosis="H is not used. Every head has its own scores, map, "
            "queries, keys and values.",
            wrong=lambda T, S, D, Dv, H, n: cost(T, S, D, Dv, 1, n),
        ),
        Mistake(
            key="no heads in the operations",
            diagnosis="The FLOPs are those of one head. There are H.",
            wrong=lambda *a: _times(a, flops=1 / a[4]),
        ),
        Mistake(
            key="one map",
            diagnosis="The bytes are those of one map. Every head has one.",
            wrong=lambda *a: _times(a, maps=1 / a[4]),
        ),
        Mistake(
            key="one head's q, k and v",
            diagnosis="The bytes of q, k and v are those of one head. There "
            "are H.",
            wrong=lambda *a: _times(a, qkv=1 / a[4]),
        ),
        Mistake(
            key="numbers, not bytes",
            diagnosis="You count numbers. Each takes itemsize bytes.",
            wrong=lambda *a: _times(a, maps=1 / a[5], qkv=1 / a[5]),
        ),
        Mistake(
            key="S taken as T",
            diagnosis="You use T where S belongs. There are T queries, but S "
            "keys and S values; a map is (T, S).",
            wrong=lambda T, S, D, Dv, H, n: cost(T, T, D, Dv, H, n),
        ),
        Mistake(
            key="k and v with T rows",
            diagnosis="The bytes of q, k and v count T rows for each. k and "
            "v have S rows.",
            wrong=lambda T, S, D, Dv, H, n: (
                *cost(T, S, D, Dv, H, n)[:2],
                H * T * (2 * D + Dv) * n,
            ),
        ),
        Mistake(
            key="Dv taken as D",
            diagnosis="Dv is not used. A value has Dv numbers, not D.",
            wrong=lambda T, S, D, Dv, H, n: cost(T, S, D, D, H, n),
        ),
        Mistake(
            key="counted to the last, scores",
            diagnosis="The scores count one sum less than products. That is "
            "exact; the custom, and the docstring, is 2 for each "
            "multiply-add.",
            wrong=lambda T, S, D, Dv, H, n: (
                H * T * S * (2 * D - 1 + 2 * Dv),
                *cost(T, S, D, Dv, H, n)[1:],
            ),
        ),
        Mistake(
            key="scores only, no heads",
            diagnosis="Two things. A @ v is a matrix product too, 2 T S Dv "
            "for each head. And H is not used: every head has its own "
            "scores, map, queries, keys and values.",
            wrong=lambda T, S, D, Dv, H, n: (
                2 * T * S * D,
                *cost(T, S, D, Dv, 1, n)[1:],
            ),
        ),
        Mistake(
            key="values without a sum",
            diagnosis="The FLOPs of A @ v lack a factor S: each entry of the "
            "output is a sum over S keys.",
            wrong=lambda T, S, D, Dv, H, n: (
                2 * H * T * (S * D + Dv),
                *cost(T, S, D, Dv, H, n)[1:],
            ),
        ),
        Mistake(
            key="widths multiplied",
            diagnosis="You multiply D by Dv. Scores and values are two "
            "products, one after the other: their FLOPs add.",
            wrong=lambda T, S, D, Dv, H, n: (
                2 * H * T * S * D * Dv,
                *cost(T, S, D, Dv, H, n)[1:],
            ),
        ),
        Mistake(
            key="values once",
            diagnosis="The multiply-adds of A @ v count 1, those of the "
            "scores 2. Both count 2.",
            wrong=lambda T, S, D, Dv, H, n: (
                H * T * S * (2 * D + Dv),
                *cost(T, S, D, Dv, H, n)[1:],
            ),
        ),
        Mistake(
            key="three times q",
            diagnosis="You take q, k and v to be equally large. There are S "
            "keys and values, and a value has Dv numbers.",
            wrong=lambda T, S, D, Dv, H, n: (
                *cost(T, S, D, Dv, H, n)[:2],
                3 * H * T * D * n,
            ),
        ),
        Mistake(
            key="operations times itemsize",
            diagnosis="The FLOPs are multiplied by itemsize. An operation is "
            "one whatever the size of its numbers.",
            wrong=lambda *a: _times(a, flops=a[5]),
        ),
        Mistake(
            key="Dv not in the operations",
            diagnosis="The FLOPs of A @ v are counted with D. A value has Dv "
            "numbers.",
            wrong=lambda T, S, D, Dv, H, n: (
                4 * H * T * S * D,
                *cost(T, S, D, Dv, H, n)[1:],
            ),
        ),
        Mistake(
            key="output counted",
            diagnosis="The output, (H, T, Dv), is among your bytes. Only q, "
            "k and v are asked for.",
            wrong=lambda T, S, D, Dv, H, n: (
                *cost(T, S, D, Dv, H, n)[:2],
                cost(T, S, D, Dv, H, n)[2] + H * T * Dv * n,
            ),
        ),
        Mistake(
            key="map as wide as a key",
            diagnosis="Your map has D numbers for each pair of query and "
            "key. It has one: the weight.",
            wrong=lambda *a: _times(a, maps=a[2]),
        ),
    ),
    hints=(
        "How many numbers has one map, and how many multiply-adds went into "
        "each? How many does an entry of A @ v take?",
        "One score takes D multiply-adds, and there are T S of them. One "
        "entry of the output takes S multiply-adds, and there are T Dv.",
        "FLOPs 2 H T S (D + Dv); maps H T S itemsize; q has H T D numbers, k "
        "has H S D, v has H S Dv.",
    ),
)
