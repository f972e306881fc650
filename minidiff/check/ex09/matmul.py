"""Exercise 9.4: a matrix product, block by block."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited
from minidiff.check.kernels import Variant, draw, launch
from minidiff.course.kernels import DEVICE
from minidiff.course.kernels.memory import fenced, poisoned

BM, BN, BK = 16, 32, 16


@triton.jit
def matmul_kernel(
    p_a, p_b, p_out, M, N, K, a_row, b_row, out_row,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Write a @ b into out: a (M, K), b (K, N), out (M, N).

    a_row, b_row and out_row are the strides of their rows. Program (i, j)
    computes BM rows of out from i * BM on, and BN columns from j * BN on,
    in steps of BK along K, and adds up in float32.
    """
    o_m = tl.program_id(0) * BM + tl.arange(0, BM)
    o_n = tl.program_id(1) * BN + tl.arange(0, BN)
    # (BM, BN)
    b_out = tl.zeros((BM, BN), tl.float32)
    for start in range(0, K, BK):
        o_k = start + tl.arange(0, BK)
        # (BM, BK)
        m_a = (o_m < M)[:, None] & (o_k < K)[None, :]
        b_a = tl.load(p_a + o_m[:, None] * a_row + o_k[None, :], m_a, 0.0)
        # (BK, BN)
        m_b = (o_k < K)[:, None] & (o_n < N)[None, :]
        b_b = tl.load(p_b + o_k[:, None] * b_row + o_n[None, :], m_b, 0.0)
        # (BM, BN)
        b_out = tl.dot(b_a, b_b, b_out, input_precision="ieee")
    m_out = (o_m < M)[:, None] & (o_n < N)[None, :]
    tl.store(p_out + o_m[:, None] * out_row + o_n[None, :], b_out, m_out)


def _run(answer: Any, a: Tensor, b: Tensor) -> Any:
    (M, K), N = a.shape, b.shape[1]
    # Rows of b lie further apart than those of out.
    b = fenced(torch.cat([b, b], 1).to(DEVICE))[:, :N]
    a, out = fenced(a.to(DEVICE)), poisoned(M, N)
    strides = (a.stride(0), b.stride(0), out.stride(0))
    grid = triton.cdiv(M, BM), triton.cdiv(N, BN)
    args = (a, b, out, M, N, K, *strides)
    return launch(answer, grid, args, [out], BM=BM, BN=BN, BK=BK)


def _cases() -> list[Case]:
    sizes = (
        (16, 32, 16),  # one block, one step
        (16, 32, 32),  # two steps
        (20, 32, 16),  # rows do not fill their blocks, then columns, then K
        (16, 40, 16),
        (16, 32, 23),
        (20, 40, 23),
    )
    return [
        Case(
            name=f"M = {M}, N = {N}, K = {K}",
            args=(draw(M, M, K), draw(N, K, N)),
        )
        for M, N, K in sizes
    ]


@triton.jit
def _wrong(
    p_a, p_b, p_out, M, N, K, a_row, b_row, out_row,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    WRONG: tl.constexpr,
):  # fmt: skip
    i_m = tl.program_id(0)
    i_n = tl.program_id(1)
    if WRONG == "ids":
        i_m = tl.program_id(1)
        i_n = tl.program_id(0)
    o_m = i_m * BM + tl.arange(0, BM)
    o_n = i_n * BN + tl.arange(0, BN)
    end = K
    step_a = a_row
    step_b = b_row
    step_out = out_row
    if WRONG == "dropped":
        end = K // BK * BK
    if WRONG == "width of a" or WRONG == "widths":
        step_a = K
    if WRONG == "width of b" or WRONG == "widths":
        step_b = N
    if WRONG == "width of out" or WRONG == "widths":
        step_out = N
    b_out = tl.zeros((BM, BN), tl.float32)
    for start in range(0, end, BK):
        o_k = start + tl.arange(0, BK)
        if WRONG == "first step":
            o_k = tl.arange(0, BK)
        m_m = o_m < M
        m_n = o_n < N
        m_k = o_k < K
        if WRONG == "rows" or WRONG == "all":
            m_m = o_m >= 0
        if WRONG == "columns" or WRONG == "all":
            m_n = o_n >= 0
        if WRONG == "K" or WRONG == "all":
            m_k = o_k >= 0
        m_a = m_m[:, None] & m_k[None, :]
        m_b = m_k[:, None] & m_n[None, :]
        if WRONG == "not moved":
            o_k = tl.arange(0, BK)
        p_as = p_a + o_m[:, None] * step_a + o_k[None, :]
        p_bs = p_b + o_k[:, None] * step_b + o_n[None, :]
        if WRONG == "b":
            p_bs = p_b + o_k[:, None] + o_n[None, :] * step_b
        if WRONG == "undefined":
            b_a = tl.load(p_as, m_a)
            b_b = tl.load(p_bs, m_b)
        else:
            b_a = tl.load(p_as, m_a, 0.0)
            b_b = tl.load(p_bs, m_b, 0.0)
        if WRONG == "last step":
            b_out = tl.dot(b_a, b_b, input_precision="ieee")
        else:
            b_out = tl.dot(b_a, b_b, b_out, input_precision="ieee")
    m_out = (o_m < M)[:, None] & (o_n < N)[None, :]
    p_outs = p_out + o_m[:, None] * step_out + o_n[None, :]
    if WRONG == "store":
        tl.store(p_outs, b_out)
    else:
        tl.store(p_outs, b_out, m_out)


_ANY_K = "(o_k >= 0)[:, None]"
_M_OUT = "(o_m < M)[:, None] & (o_n < N)[None, :]"


EXERCISE = Exercise(
    id="9.4",
    cases=_cases,
    solution=matmul_kernel,
    run=_run,
    mistakes=(
        Mistake(
            key="K without mask",
            diagnosis="The last step along K reaches beyond a's columns and "
            "b's rows. Both masks need o_k < K.",
            wrong=Variant(_wrong, WRONG="K"),
            also=(edited(matmul_kernel, ("(o_k < K)[:, None]", _ANY_K)),),
        ),
        Mistake(
            key="rows or columns without mask",
            diagnosis="A block at the edge of out reads rows of a or columns "
            "of b that are not there. a's mask needs o_m < M, b's o_n < N.",
            wrong=Variant(_wrong, WRONG="rows"),
            also=(Variant(_wrong, WRONG="columns"),),
        ),
        Mistake(
            key="no mask",
            diagnosis="The loads have no mask. Two conditions each, joined by "
            "&: rows and K for a, K and columns for b.",
            wrong=Variant(_wrong, WRONG="all"),
        ),
        Mistake(
            key="masked entries undefined",
            diagnosis="The loads name no value for what the mask holds back. "
            "On a GPU it is anything, and the product adds it up: give 0.0 "
            "as third argument.",
            wrong=Variant(_wrong, WRONG="undefined"),
        ),
        Mistake(
            key="masked entries minus infinity",
            diagnosis="Minus infinity stands in where masked, as in a "
            "softmax. Here these entries are multiplied and added: give 0.0.",
            wrong=edited(matmul_kernel, (", 0.0)", ', float("-inf"))')),
        ),
        Mistake(
            key="product not kept",
            diagnosis="tl.dot gives its result back and changes no block: "
            "b_out = tl.dot(b_a, b_b, b_out, ...).",
            wrong=edited(matmul_kernel, ("b_out = tl.dot", "tl.dot")),
        ),
        Mistake(
            key="added twice",
            diagnosis="tl.dot(b_a, b_b, b_out) has b_out in it already, and "
            "+= adds it again. Take = here, or leave out the third argument.",
            wrong=edited(matmul_kernel, ("b_out = tl.dot", "b_out += tl.dot")),
        ),
        Mistake(
            key="last step only",
            diagnosis="Each step writes over the one before. Add up: "
            "tl.dot(b_a, b_b, b_out) gives b_out plus the product.",
            wrong=Variant(_wrong, WRONG="last step"),
        ),
        Mistake(
            key="first step again",
            diagnosis="Every step reads the same columns of a and rows of b. "
            "Begin at start: o_k = start + tl.arange(0, BK).",
            wrong=Variant(_wrong, WRONG="first step"),
            also=(Variant(_wrong, WRONG="not moved"),),
        ),
        Mistake(
            key="start times BK",
            diagnosis="start is 0, BK, 2 * BK already, by range(0, K, BK). "
            "Times BK it leaps beyond K: o_k = start + tl.arange(0, BK).",
            wrong=edited(matmul_kernel, ("= start + tl", "= start * BK + tl")),
        ),
        Mistake(
            key="last step dropped",
            diagnosis="Where K is no multiple of BK, the rest is left out. "
            "Step from 0 to K by BK, and mask.",
            wrong=Variant(_wrong, WRONG="dropped"),
        ),
        Mistake(
            key="program's places swapped",
            diagnosis="tl.program_id(0) counts blocks of rows, "
            "tl.program_id(1) blocks of columns; you have it the other way.",
            wrong=Variant(_wrong, WRONG="ids"),
        ),
        Mistake(
            key="wrong stride",
            diagnosis="A wrong stride: a row's length, or that of another "
            "matrix. Rows of a lie a_row elements apart, rows of b b_row, "
            "rows of out out_row.",
            wrong=Variant(_wrong, WRONG="width of a"),
            also=(
                Variant(_wrong, WRONG="width of b"),
                Variant(_wrong, WRONG="width of out"),
                Variant(_wrong, WRONG="widths"),
                edited(matmul_kernel, ("* a_row", "* b_row")),
                edited(matmul_kernel, ("* b_row", "* a_row")),
                edited(matmul_kernel, ("* out_row", "* a_row")),
                edited(matmul_kernel, ("* out_row", "* b_row")),
            ),
        ),
        Mistake(
            key="b read across",
            diagnosis="In b the rows run along K: o_k is multiplied by "
            "b_row, o_n by nothing.",
            wrong=Variant(_wrong, WRONG="b"),
        ),
        Mistake(
            key="store without mask",
            diagnosis="Blocks at the edge write beyond out. The store needs "
            "a mask for rows and for columns, joined by &.",
            wrong=Variant(_wrong, WRONG="store"),
            also=(
                edited(matmul_kernel, (_M_OUT, "(o_m < M)[:, None]")),
                edited(matmul_kernel, (_M_OUT, "(o_n < N)[None, :]")),
            ),
        ),
    ),
    hints=(
        "Program (i, j) needs BM rows of a and BN columns of b, all K of "
        "them. How far does it get with one block of BM times BK and one of "
        "BK times BN?",
        "Begin with b_out = tl.zeros((BM, BN), tl.float32). For each start in "
        "range(0, K, BK) let o_k = start + tl.arange(0, BK), load both "
        "blocks, 0.0 where masked, and let b_out = tl.dot(b_a, b_b, b_out, "
        'input_precision="ieee").',
        "b_a is at p_a + o_m[:, None] * a_row + o_k[None, :], with the mask "
        "(o_m < M)[:, None] & (o_k < K)[None, :]; b_b at p_b + o_k[:, None] * "
        "b_row + o_n[None, :], with (o_k < K)[:, None] & (o_n < N)[None, :]. "
        "Store b_out at p_out + o_m[:, None] * out_row + o_n[None, :].",
    ),
    tolerance=1e-4,
)
