"""Tiles: load a block of a tensor from memory, and store it.

There are two ways; a kernel is compiled for one of them. With TMA, on Hopper
and later GPUs, an argument is a tensor descriptor: the copy engine moves the
block; beyond the end of an axis it reads zeros and writes nothing. Without
TMA, an argument is a tuple (pointer, length, width, strides...), and the
threads of the program load and store the block with masks.

Names, here and in the kernels:

    x_  a tensor in one of these two forms     i_  program index
    p_  a pointer                              o_  offsets
    b_  a tile: a block in registers           m_  a mask

A tile of a map has BT queries and BS keys; a comment above each tile gives
its shape. `start` is the first row of a block; j = 0 or 1 is the branch.
"""

import triton
import triton.language as tl


@triton.jit
def corners(
    length, width, step, step_d, start, N: tl.constexpr, W: tl.constexpr
):
    """Return offsets and mask of N rows from `start`, W entries each."""
    o_t = tl.arange(0, N)
    o_d = tl.arange(0, W)
    # (N, W)
    m = (start + o_t < length)[:, None] & (o_d < width)[None, :]
    return o_t[:, None] * step + o_d[None, :] * step_d, m


@triton.jit
def read(
    x, i_b, i_h, start, N: tl.constexpr, W: tl.constexpr, TMA: tl.constexpr
):
    """Load N rows of x (B, H, T, W)."""
    # (N, W)
    if TMA:
        b_x = x.load([i_b, i_h, start, 0]).reshape(N, W)
    else:
        p = x[0] + i_b.to(tl.int64) * x[3] + i_h.to(tl.int64) * x[4]
        p += tl.cast(start, tl.int64) * x[5]
        at, m = corners(x[1], x[2], x[5], x[6], start, N=N, W=W)
        b_x = tl.load(p + at, m, 0.0)
    return b_x


@triton.jit
def write(x, b_x, i_b, i_h, start, TMA: tl.constexpr):
    """Store rows of x (B, H, T, W)."""
    N: tl.constexpr = b_x.shape[0]
    W: tl.constexpr = b_x.shape[1]
    if TMA:
        x.store([i_b, i_h, start, 0], b_x.to(x.dtype).reshape(1, 1, N, W))
    else:
        p = x[0] + i_b.to(tl.int64) * x[3] + i_h.to(tl.int64) * x[4]
        p += tl.cast(start, tl.int64) * x[5]
        at, m = corners(x[1], x[2], x[5], x[6], start, N=N, W=W)
        tl.store(p + at, b_x.to(x[0].dtype.element_ty), m)


@triton.jit
def read_branch(
    x, i_b, i_h, j, start, N: tl.constexpr, W: tl.constexpr, TMA: tl.constexpr
):
    """Load N rows of branch j of x (B, H, 2, T, W)."""
    # (N, W)
    if TMA:
        b_x = x.load([i_b, i_h, j, start, 0]).reshape(N, W)
    else:
        p = x[0] + i_b.to(tl.int64) * x[3] + i_h.to(tl.int64) * x[4]
        p += j * x[5]
        p += tl.cast(start, tl.int64) * x[6]
        at, m = corners(x[1], x[2], x[6], x[7], start, N=N, W=W)
        b_x = tl.load(p + at, m, 0.0)
    return b_x


@triton.jit
def write_branch(x, b_x, i_b, i_h, j, start, TMA: tl.constexpr):
    """Store rows of branch j of x (B, H, 2, T, W)."""
    N: tl.constexpr = b_x.shape[0]
    W: tl.constexpr = b_x.shape[1]
    if TMA:
        # (1, 1, 1, N, W)
        b_x = b_x.to(x.dtype).reshape(1, 1, 1, N, W)
        x.store([i_b, i_h, j, start, 0], b_x)
    else:
        p = x[0] + i_b.to(tl.int64) * x[3] + i_h.to(tl.int64) * x[4]
        p += j * x[5]
        p += tl.cast(start, tl.int64) * x[6]
        at, m = corners(x[1], x[2], x[6], x[7], start, N=N, W=W)
        tl.store(p + at, b_x.to(x[0].dtype.element_ty), m)


@triton.jit
def read_row(x, i_b, i_h, start, N: tl.constexpr, TMA: tl.constexpr):
    """Load N numbers of x (B, H, T), one for each row."""
    # (N,)
    if TMA:
        b_x = x.load([i_b, i_h, start]).reshape(N)
    else:
        p = x[0] + i_b.to(tl.int64) * x[2] + i_h.to(tl.int64) * x[3]
        o = start + tl.arange(0, N)
        b_x = tl.load(p + o, o < x[1], 0.0)
    return b_x


@triton.jit
def read_branch_row(x, i_b, i_h, j, start, N: tl.constexpr, TMA: tl.constexpr):
    """Load N numbers of branch j of x (B, H, 2, T)."""
    # (N,)
    if TMA:
        b_x = x.load([i_b, i_h, j, start]).reshape(N)
    else:
        p = x[0] + i_b.to(tl.int64) * x[2] + i_h.to(tl.int64) * x[3]
        p += j * x[4]
        o = start + tl.arange(0, N)
        b_x = tl.load(p + o, o < x[1], 0.0)
    return b_x
