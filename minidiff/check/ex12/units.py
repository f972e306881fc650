"""Exercise 12.4: the products of a backward pass cut into kernels."""

from collections.abc import Callable

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def backward_units(kernels: list[str]) -> int:
    """Return the units of one head's backward pass, fused.

    kernels: what each of them computes, out of dq, dk and dv, for both
    branches. ["dk dv", "dq"] are our two. A kernel keeps nothing for the
    next: what it needs, it computes. Values are 2D wide; delta_1 and delta_2
    are known.
    """
    total = 0
    for kernel in kernels:
        made = kernel.split()
        total += 2  # both branches' scores
        total += 2 * ("dq" in made or "dk" in made)  # dA, 2D wide, once
        total += 2 * len(made)
    return total


def _count(
    scores: int = 2,
    slopes: int = 2,
    each: dict[str, int] | None = None,
    again: bool = True,
    slopes_again: bool = True,
    slopes_for: str = "dq dk",
) -> Callable[[list[str]], int]:
    """Count in a way that may be wrong."""
    each = {"dq": 2, "dk": 2, "dv": 2} | (each or {})

    def count(kernels: list[str]) -> int:
        total = scores * (len(kernels) if again else 1)
        need = [any(n in k for n in slopes_for.split()) for k in kernels]
        total += slopes * (sum(need) if slopes_again else any(need))
        return total + sum(each[n] for k in kernels for n in k.split())

    return count


EXERCISE = Exercise(
    id="12.4",
    cases=lambda: [
        Case(name=str(kernels), args=(kernels,))
        for kernels in (
            ["dk dv", "dq"],
            ["dq dk dv"],
            ["dv", "dq dk"],
            ["dv", "dk", "dq"],
            ["dq dv", "dk"],
            ["dv"],
            ["dk dv"],
            ["dq"],
        )
    ],
    solution=backward_units,
    mistakes=(
        Mistake(
            key="scores once",
            diagnosis="You count the scores once for all kernels. Nobody "
            "stores the maps: each kernel computes both again.",
            wrong=_count(again=False),
        ),
        Mistake(
            key="slopes once",
            diagnosis="You count dA once for all kernels. Each kernel that "
            "makes dq or dk computes it for itself.",
            wrong=_count(slopes_again=False),
        ),
        Mistake(
            key="nothing again",
            diagnosis="You count each product once. A kernel keeps nothing "
            "for the next: each computes the scores, and dA if it needs it.",
            wrong=_count(again=False, slopes_again=False),
            also=(lambda kernels: 4 + 2 * len(" ".join(kernels).split()),),
        ),
        Mistake(
            key="each result by itself",
            diagnosis="You count scores, or dA, once for each result. A "
            "kernel that makes two results computes them once for both.",
            wrong=lambda kernels: sum(
                {"dq": 6, "dk": 6, "dv": 4}[n]
                for kernel in kernels
                for n in kernel.split()
            ),
            also=(
                lambda kernels: sum(
                    2 + sum({"dq": 4, "dk": 4, "dv": 2}[n] for n in k.split())
                    for k in kernels
                ),
            ),
        ),
        Mistake(
            key="slopes in each branch",
            diagnosis="You count dA for each branch. do v' is the same "
            "product for both: 2 units, once a kernel.",
            wrong=_count(slopes=4),
        ),
        Mistake(
            key="slopes D wide",
            diagnosis="You count dA as 1 unit. Its vectors, do and v, are 2D "
            "wide: 2 units.",
            wrong=_count(slopes=1),
        ),
        Mistake(
            key="slopes for dv",
            diagnosis="You count dA in a kernel that makes dv alone. dv is "
            "(A1 - lam A2)' do: it needs the maps and no dA.",
            wrong=_count(slopes_for="dq dk dv"),
        ),
        Mistake(
            key="dv in each branch",
            diagnosis="You count dv for each branch. The maps are subtracted "
            "first, then one product 2D wide: 2 units.",
            wrong=_count(each={"dv": 4}),
        ),
        Mistake(
            key="one branch",
            diagnosis="You count one branch of dq and dk. Each has two, of 1 "
            "unit each.",
            wrong=_count(each={"dq": 1, "dk": 1}),
            also=(_count(each={"dq": 1, "dk": 1, "dv": 1}),),
        ),
        Mistake(
            key="scores of one branch",
            diagnosis="You count the scores of one branch. There are two "
            "maps, 1 unit each.",
            wrong=_count(scores=1),
        ),
        Mistake(
            key="scores not computed again",
            diagnosis="You leave the scores out. The maps were not kept: "
            "each kernel computes them again, 2 units.",
            wrong=_count(scores=0),
        ),
        slip(
            "slopes left out",
            "You leave dA out. A kernel that makes dq or dk needs it.",
            backward_units,
            ('2 * ("dq" in made or "dk" in made)', "0"),
        ),
        slip(
            "slopes for one result",
            "You count dA for dq alone, or for dk alone, or only if both "
            "are made. Each of them needs it.",
            backward_units,
            ('"dq" in made or "dk" in made', '"dq" in made'),
            ('"dq" in made or "dk" in made', '"dk" in made'),
            ('"dq" in made or "dk" in made', '"dq" in made and "dk" in made'),
        ),
        slip(
            "results left out",
            "You count what a kernel needs, and not the products that make "
            "its results: 2 units for each.",
            backward_units,
            ("total += 2 * len(made)", "total += 0"),
            ("total += 2 * len(made)", "total += 2"),
        ),
        slip(
            "last kernel only",
            "You return the units of the last kernel. Add up over all.",
            backward_units,
            ("total += 2  #", "total = 2  #"),
        ),
        slip(
            "letters counted",
            "You count the letters of a kernel's text. Its results are the "
            "words: kernel.split().",
            backward_units,
            ("made = kernel.split()", "made = kernel"),
        ),
        slip(
            "count begun anew",
            "You put a number in the place of what you have counted so far. "
            "Add to it.",
            backward_units,
            ("total += 2 * len(made)", "total = 2 * len(made)"),
            ('total += 2 * ("dq"', 'total = 2 * ("dq"'),
        ),
    ),
    hints=(
        "Five products: scores, dA, dq, dk, dv. What is each one's inner "
        "width, how often in a head, and which kernels need it?",
        "Every kernel needs both maps, 2 units. dA is one product 2D wide, 2 "
        "units, in each kernel that makes dq or dk. Each of dq, dk, dv is 2 "
        "units: two branches D wide, or once 2D wide.",
        "For each kernel: 2, and 2 more if it makes dq or dk, and 2 for each "
        "of its results. Add up over the kernels.",
    ),
)
