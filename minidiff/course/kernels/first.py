"""First kernels: a sum, a transposed copy, softmax of rows, a product."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from minidiff.course.kernels.memory import refuse_bf16

BLOCK = 32


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


@triton.jit
def transpose_kernel(
    p_x, p_out, rows, cols, x_row, out_row, BLOCK: tl.constexpr
):
    """Write x (rows, cols) transposed into out (cols, rows).

    x_row and out_row are strides: from a row to the next, in elements.
    Program (i, j) takes BLOCK rows of x from i * BLOCK on, and BLOCK
    columns from j * BLOCK on.
    """
    o_r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o_c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    # (BLOCK, BLOCK): rows of x, columns of x
    m = (o_r < rows)[:, None] & (o_c < cols)[None, :]
    b_x = tl.load(p_x + o_r[:, None] * x_row + o_c[None, :], m)
    tl.store(p_out + o_c[None, :] * out_row + o_r[:, None], b_x, m)


@triton.jit
def softmax_kernel(p_x, p_out, width, x_row, out_row, BLOCK: tl.constexpr):
    """Write the softmax of each row of x into out, both (rows, width).

    x_row and out_row are the strides of their rows. Program i takes row i.
    BLOCK is a power of two, width or more. Compute in float32.
    """
    i_r = tl.program_id(0)
    o_w = tl.arange(0, BLOCK)
    m_w = o_w < width
    # (BLOCK,)
    b_x = tl.load(p_x + i_r * x_row + o_w, m_w, float("-inf"))
    b_x = b_x.to(tl.float32)
    b_e = tl.exp(b_x - tl.max(b_x, 0))
    tl.store(p_out + i_r * out_row + o_w, b_e / tl.sum(b_e, 0), m_w)


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


def add(x: Tensor, y: Tensor) -> Tensor:
    """Return x + y for two tensors of one shape and dtype."""
    _floats(x=x, y=y)
    if x.shape != y.shape or x.dtype != y.dtype:
        raise ValueError(
            f"y: got {tuple(y.shape)} in {y.dtype}, expected as x, "
            f"{tuple(x.shape)} in {x.dtype}"
        )
    x, y = x.contiguous(), y.contiguous()
    out = torch.empty_like(x)
    n = x.numel()
    add_kernel[(triton.cdiv(n, BLOCK),)](x, y, out, n, BLOCK=BLOCK)
    return out


def transpose(x: Tensor) -> Tensor:
    """Return a copy of x (rows, cols), transposed: (cols, rows)."""
    _matrices(x=x)
    x = _side_by_side(x)
    rows, cols = x.shape
    out = x.new_empty(cols, rows)
    grid = triton.cdiv(rows, BLOCK), triton.cdiv(cols, BLOCK)
    transpose_kernel[grid](
        x, out, rows, cols, x.stride(0), out.stride(0), BLOCK=BLOCK
    )
    return out


def softmax(x: Tensor) -> Tensor:
    """Return the softmax of each row of x (rows, width), in x's dtype."""
    _matrices(x=x)
    x = _side_by_side(x)
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    rows, width = x.shape
    softmax_kernel[(rows,)](
        x, out, width, x.stride(0), out.stride(0),
        BLOCK=triton.next_power_of_2(width),
    )  # fmt: skip
    return out


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b for a (M, K) and b (K, N) of one dtype."""
    _matrices(a=a, b=b)
    if a.shape[1] != b.shape[0] or a.dtype != b.dtype:
        raise ValueError(
            f"b: got {tuple(b.shape)} in {b.dtype}, expected "
            f"({a.shape[1]}, any) in {a.dtype}"
        )
    a, b = _side_by_side(a), _side_by_side(b)
    (M, K), N = a.shape, b.shape[1]
    out = a.new_empty(M, N)
    grid = triton.cdiv(M, BLOCK), triton.cdiv(N, BLOCK)
    matmul_kernel[grid](
        a, b, out, M, N, K, a.stride(0), b.stride(0), out.stride(0),
        BM=BLOCK, BN=BLOCK, BK=BLOCK,
    )  # fmt: skip
    return out


def _side_by_side(x: Tensor) -> Tensor:
    """Any stride of rows will do, but a row's elements must be neighbours."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _floats(**given: Tensor) -> None:
    for name, x in given.items():
        refuse_bf16(x, name)
        if not x.is_floating_point():
            raise TypeError(f"{name}: got {x.dtype}, expected floats")


def _matrices(**given: Tensor) -> None:
    _floats(**given)
    for name, x in given.items():
        if x.ndim != 2:
            raise ValueError(
                f"{name}: got shape {tuple(x.shape)}, expected two axes"
            )
