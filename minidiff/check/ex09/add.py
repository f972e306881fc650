"""Exercise 9.1: the sum of two vectors, and nothing else."""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited
from minidiff.check.kernels import Variant, draw, launch
from minidiff.course.kernels import DEVICE
from minidiff.course.kernels.memory import fenced, poisoned

BLOCK = 8


@triton.jit
def add_kernel(p_x, p_y, p_out, n, BLOCK: tl.constexpr):
    """Write x + y into out; each has n elements, side by side in memory.

    Program i takes elements i * BLOCK to (i + 1) * BLOCK - 1, if there.
    """
    o_n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m_n = o_n < n
    # (BLOCK,)
    b_x = tl.load(p_x + o_n, m_n)
    b_y = tl.load(p_y + o_n, m_n)
    tl.store(p_out + o_n, b_x + b_y, m_n)


def _run(answer: Any, x: Tensor, y: Tensor) -> Any:
    n = len(x)
    given = fenced(x.to(DEVICE)), fenced(y.to(DEVICE)), poisoned(n)
    grid = (triton.cdiv(n, BLOCK),)
    return launch(answer, grid, (*given, n), given[2:], BLOCK=BLOCK)


def _cases() -> list[Case]:
    return [
        Case(
            name=f"n = {n} in blocks of {BLOCK}",
            args=(draw(n, n), draw(n + 1, n)),
        )
        for n in (8, 16, 21, 1)
    ]


@triton.jit
def _wrong(
    p_x, p_y, p_out, n, BLOCK: tl.constexpr, WRONG: tl.constexpr
):  # fmt: skip
    i = tl.program_id(0)
    o = i * BLOCK + tl.arange(0, BLOCK)
    m_load = o < n
    m_store = m_load
    if WRONG == "load" or WRONG == "both":
        m_load = o < n + BLOCK
    if WRONG == "store" or WRONG == "both":
        m_store = o < n + BLOCK
    if WRONG == "one too many":
        m_load = o <= n
        m_store = m_load
    if WRONG == "first block":
        o = tl.arange(0, BLOCK)
    if WRONG == "step 1":
        o = i + tl.arange(0, BLOCK)
    if WRONG == "step 1" or WRONG == "first block":
        m_load = o < n
        m_store = m_load
    if WRONG == "whole blocks":
        m_load = (o < n) & (i * BLOCK + BLOCK <= n)
        m_store = m_load
    b_x = tl.load(p_x + o, m_load)
    b_y = tl.load(p_y + o, m_load)
    if WRONG == "x twice":
        b_y = tl.load(p_x + o, m_load)
    tl.store(p_out + o, b_x + b_y, m_store)


EXERCISE = Exercise(
    id="9.1",
    cases=_cases,
    solution=add_kernel,
    run=_run,
    mistakes=(
        Mistake(
            key="load without mask",
            diagnosis="The last program loads elements that are not yours. "
            "Give both loads the mask o < n; with <= it lets one too many "
            "through.",
            wrong=Variant(_wrong, WRONG="load"),
            also=(
                Variant(_wrong, WRONG="both"),
                Variant(_wrong, WRONG="one too many"),
            ),
        ),
        Mistake(
            key="mask counts within the block",
            diagnosis="Your mask compares places within the block with n. "
            "It needs places in the vector: i * BLOCK + tl.arange(0, BLOCK).",
            wrong=edited(add_kernel, ("o_n < n", "tl.arange(0, BLOCK) < n")),
        ),
        Mistake(
            key="store without mask",
            diagnosis="The loads are masked, the store is not. It writes "
            "over whatever lies behind out: tl.store takes the mask too.",
            wrong=Variant(_wrong, WRONG="store"),
        ),
        Mistake(
            key="programs overlap",
            diagnosis="Your programs write the same elements, or overlapping "
            "ones. Program i begins at element i * BLOCK, and i is "
            "tl.program_id(0).",
            wrong=Variant(_wrong, WRONG="first block"),
            also=(Variant(_wrong, WRONG="step 1"),),
        ),
        Mistake(
            key="unfinished block skipped",
            diagnosis="The last block is left out where it is not full. A "
            "mask is for each element, not for a whole block.",
            wrong=Variant(_wrong, WRONG="whole blocks"),
        ),
        Mistake(
            key="x twice",
            diagnosis="This is x + x: the second load begins at p_x too.",
            wrong=Variant(_wrong, WRONG="x twice"),
        ),
    ),
    hints=(
        "Which elements belong to program 2 if BLOCK is 8? Which of them "
        "are there if n is 21?",
        "The offsets are tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), the "
        "mask is offsets < n. Two loads and one store, and all three take "
        "the mask.",
        "o_n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK); m_n = o_n < n; "
        "b_x = tl.load(p_x + o_n, m_n), b_y likewise; "
        "tl.store(p_out + o_n, b_x + b_y, m_n).",
    ),
    tolerance=1e-6,
)
