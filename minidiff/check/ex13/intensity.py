"""Exercise 13.1: FLOPs for each byte of a fused forward."""

from collections.abc import Callable

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def intensity(T: int, S: int, D: int, H: int, Hkv: int, size: int) -> float:
    """Return the FLOPs of a fused forward pass for each byte it must move.

    H pairs of query heads, D wide, share Hkv pairs of key heads and as many
    heads of values, 2D wide. T queries, S keys, nothing is hidden. Each
    input is read once and the output, 2D wide, written once. A number takes
    size bytes.
    """
    flops = 6 * 2 * T * S * D * H
    numbers = H * (2 * T * D + T * 2 * D) + Hkv * (2 * S * D + S * 2 * D)
    return flops / (size * numbers)


def _count(
    units: int = 6,
    each: int = 2,
    out: int = 2,
    values: int = 2,
    keys: int = 2,
    queries: int = 2,
    all_heads: bool = False,
    few_heads: bool = False,
    in_bytes: bool = True,
    upside_down: bool = False,
    maps: int = 0,
) -> Callable[..., float]:
    """Count in a way that may be wrong; widths in multiples of D."""

    def count(T: int, S: int, D: int, H: int, Hkv: int, size: int) -> float:
        flops = units * each * T * S * D * (Hkv if few_heads else H)
        read = (H if all_heads else Hkv) * S * D * (keys + values)
        numbers = H * T * D * (queries + out) + read + maps * H * T * S
        moved = numbers * (size if in_bytes else 1)
        return moved / flops if upside_down else flops / moved

    return count


EXERCISE = Exercise(
    id="13.1",
    cases=lambda: [
        Case(
            name=f"T = {T}, S = {S}, D = {D}, H = {H}, Hkv = {Hkv}, "
            f"{size} bytes a number",
            args=(T, S, D, H, Hkv, size),
        )
        for T, S, D, H, Hkv, size in (
            (1, 1, 1, 1, 1, 1),
            (256, 256, 64, 8, 8, 2),
            (1, 4096, 64, 8, 2, 2),
            (16, 48, 32, 6, 3, 4),
        )
    ],
    solution=intensity,
    mistakes=(
        Mistake(
            key="one for two",
            diagnosis="You have half of the FLOPs. A unit is 2 T S D, a "
            "multiplication and an addition each, and no mask hides a half.",
            wrong=_count(each=1),
        ),
        Mistake(
            key="four units",
            diagnosis="You count 4 units. A fused forward multiplies each "
            "branch's weights by the values, 2 units each: 6.",
            wrong=_count(units=4),
        ),
        Mistake(
            key="output left out",
            diagnosis="You count what is read only. The output is written, "
            "T rows of 2D numbers a head.",
            wrong=_count(out=0),
        ),
        Mistake(
            key="two outputs",
            diagnosis="You write an output for each branch. The fused kernel "
            "subtracts in registers and writes one, 2D wide.",
            wrong=_count(out=4),
        ),
        Mistake(
            key="three widths",
            diagnosis="You count 3D numbers for a token somewhere. Two keys, "
            "D wide, and values, 2D wide, make 4D; so do two queries and "
            "the output.",
            wrong=_count(values=1),
            also=(
                _count(values=1, out=1),
                _count(out=1),
                _count(values=1, out=1, units=4),
            ),
        ),
        Mistake(
            key="values for each branch",
            diagnosis="You read the values once for each branch, as two "
            "calls do. A fused kernel reads them once.",
            wrong=_count(values=4),
        ),
        Mistake(
            key="maps moved",
            diagnosis="You move the maps. A fused kernel makes them tile by "
            "tile; they never reach memory.",
            wrong=_count(maps=2),
            also=(_count(maps=4), _count(maps=1)),
        ),
        Mistake(
            key="one length",
            diagnosis="You take T for S somewhere. T queries meet S keys, "
            "and keys and values have S rows.",
            wrong=lambda T, S, *rest: _count()(T, T, *rest),
            also=(
                lambda T, S, *rest: _count()(T, T, *rest) * S / T,
                lambda T, S, *rest: _count()(T, S, *rest) * T / S,
            ),
        ),
        Mistake(
            key="keys for every query head",
            diagnosis="You read keys and values for each of the H pairs of "
            "query heads. There are only Hkv of them, each read once.",
            wrong=_count(all_heads=True),
        ),
        Mistake(
            key="products for key heads",
            diagnosis="You count products for Hkv heads. Each of the H pairs "
            "of query heads makes its own, whoever shares its keys.",
            wrong=_count(few_heads=True),
        ),
        Mistake(
            key="numbers, not bytes",
            diagnosis="You divide by numbers moved. Each takes size bytes.",
            wrong=_count(in_bytes=False),
        ),
        Mistake(
            key="upside down",
            diagnosis="You return bytes for each FLOP. Intensity is FLOPs "
            "for each byte.",
            wrong=_count(upside_down=True),
        ),
        slip(
            "a factor left out of the FLOPs",
            "A length, the width or the heads are missing from your FLOPs. "
            "A unit is 2 T S D, and each of the H pairs of heads has its "
            "own.",
            intensity,
            ("6 * 2 * T * S * D * H", "6 * 2 * T * S * D"),
            ("6 * 2 * T * S * D * H", "6 * 2 * T * S * H"),
            ("6 * 2 * T * S * D * H", "6 * 2 * T * D * H"),
            ("6 * 2 * T * S * D * H", "6 * 2 * S * D * H"),
        ),
        slip(
            "another number of units",
            "You count another number of units. For each pair of heads "
            "there are two products of queries and keys, and two of weights "
            "and values that are twice as wide.",
            intensity,
            ("6 * 2", "5 * 2"),
            ("6 * 2", "7 * 2"),
            ("6 * 2", "2 * 2"),
            ("6 * 2", "6 * 3"),
        ),
        slip(
            "keys or values left out",
            "Keys or values, or both, are missing from what is read.",
            intensity,
            (" + Hkv * (2 * S * D + S * 2 * D)", ""),
            ("Hkv * (2 * S * D + S * 2 * D)", "Hkv * (2 * S * D)"),
            ("Hkv * (2 * S * D + S * 2 * D)", "Hkv * (S * 2 * D)"),
        ),
        slip(
            "queries and output left out",
            "Queries and output are missing from what is moved. With many "
            "queries they count as much as the keys.",
            intensity,
            ("H * (2 * T * D + T * 2 * D) + ", ""),
        ),
        slip(
            "one head's numbers",
            "The number of heads is missing from what is moved: queries and "
            "output have H of them, keys and values Hkv.",
            intensity,
            ("Hkv * (2 * S", "(2 * S"),
            ("numbers = H * (", "numbers = ("),
            (
                "numbers = H * (2 * T * D + T * 2 * D) + Hkv *",
                "numbers = (2 * T * D + T * 2 * D) +",
            ),
        ),
        slip(
            "rows or width left out",
            "One of the tensors that you count lacks its rows or its width: "
            "each has rows times width numbers a head.",
            intensity,
            ("2 * S * D", "2 * D"),
            ("S * 2 * D", "2 * D"),
            ("2 * T * D", "2 * D"),
            ("T * 2 * D", "2 * D"),
            ("2 * S * D", "2 * S"),
            ("S * 2 * D", "S * 2"),
            ("2 * T * D", "2 * T"),
            ("T * 2 * D", "T * 2"),
        ),
        slip(
            "brackets forgotten",
            "You do not divide by all bytes. a / b * c multiplies by c: put "
            "what you divide by into brackets.",
            intensity,
            ("flops / (size * numbers)", "flops / size * numbers"),
            ("flops / (size * numbers)", "flops / size"),
            ("flops / (size * numbers)", "flops * size * numbers"),
            ("flops / (size * numbers)", "flops / (size + numbers)"),
        ),
        slip(
            "rounded down",
            "You round down. Intensity is no whole number: divide with /.",
            intensity,
            ("flops / (", "flops // ("),
        ),
    ),
    hints=(
        "Two counts, then one division. Which tensors are there, how many "
        "heads has each, how many rows, and how wide is a row?",
        "A head has 6 units of 2 T S D FLOPs, and there are H heads. q and "
        "the output have H heads of T rows, 2D numbers each; k and v have "
        "Hkv heads of S rows, 2D numbers each.",
        "12 * T * S * D * H / (size * 4 * D * (H * T + Hkv * S)).",
    ),
)
