"""Exercise 9.5: the grid of a launch, a puzzle."""

import triton

from minidiff.check.core import Case, Exercise, Mistake


def grid_of(
    N: int, rows: int, cols: int, BR: int, BC: int
) -> tuple[int, int, int]:
    """Return the grid of a launch over x (N, rows, cols).

    Program (n, i, j) takes BR rows and BC columns of matrix n: rows from
    i * BR on, columns from j * BC on. The last blocks may be cut short.
    """
    return N, triton.cdiv(rows, BR), triton.cdiv(cols, BC)


def _cases() -> list[Case]:
    return [
        Case(
            name=f"N = {N}, {rows} rows, {cols} columns, BR = {BR}, BC = {BC}",
            args=(N, rows, cols, BR, BC),
        )
        for N, rows, cols, BR, BC in (
            (1, 16, 16, 16, 16),
            (3, 32, 64, 16, 32),
            (2, 33, 64, 16, 32),
            (5, 7, 100, 8, 16),
            (1, 1, 1, 4, 4),
        )
    ]


EXERCISE = Exercise(
    id="9.5",
    cases=_cases,
    solution=grid_of,
    results=("first axis", "second axis", "third axis"),
    mistakes=(
        Mistake(
            key="rounded down",
            diagnosis="Where a block is cut short, the last rows or columns "
            "have no program. Round up: triton.cdiv(rows, BR).",
            wrong=lambda N, rows, cols, BR, BC: (N, rows // BR, cols // BC),
        ),
        Mistake(
            key="one too many",
            diagnosis="Where the size is a multiple of the block, the last "
            "program has nothing to do. a // b + 1 is not a / b rounded up; "
            "triton.cdiv(a, b) is.",
            wrong=lambda N, rows, cols, BR, BC: (
                N,
                rows // BR + 1,
                cols // BC + 1,
            ),
        ),
        Mistake(
            key="elements for blocks",
            diagnosis="This is one program for each row and column. A program "
            "takes BR rows and BC columns, so there are fewer.",
            wrong=lambda N, rows, cols, BR, BC: (N, rows, cols),
        ),
        Mistake(
            key="block sizes for counts",
            diagnosis="The grid says how many programs there are along each "
            "axis, not how many rows and columns each of them takes.",
            wrong=lambda N, rows, cols, BR, BC: (N, BR, BC),
        ),
        Mistake(
            key="axes in another order",
            diagnosis="Program (n, i, j): the first axis of the grid counts "
            "matrices, the second blocks of rows, the third blocks of "
            "columns.",
            wrong=lambda N, rows, cols, BR, BC: (
                N,
                triton.cdiv(cols, BC),
                triton.cdiv(rows, BR),
            ),
            also=(
                lambda N, rows, cols, BR, BC: (
                    triton.cdiv(rows, BR),
                    triton.cdiv(cols, BC),
                    N,
                ),
                lambda N, rows, cols, BR, BC: (
                    N,
                    triton.cdiv(rows, BC),
                    triton.cdiv(cols, BR),
                ),
            ),
        ),
    ),
    hints=(
        "How many programs does it take along the rows of one matrix, if "
        "rows is 33 and BR is 16?",
        "33 / 16, rounded up, is 3: triton.cdiv(33, 16). The columns are "
        "counted in the same way, with BC.",
        "return N, triton.cdiv(rows, BR), triton.cdiv(cols, BC).",
    ),
)
