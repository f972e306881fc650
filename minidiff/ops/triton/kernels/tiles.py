"""Tiles: load a block of a tensor from memory, and store it.

Two ways, chosen when a kernel is compiled. With TMA, on Hopper and later, an
argument is a tensor descriptor: the copy engine moves the block, reads zeros
beyond the end of an axis and writes nothing there. Without, it is a tuple
(pointer, length, width, strides...), and threads do the same by masks.
"""

import triton
import triton.language as tl


@triton.jit
def corners(
    length, width, step, step_d, start, N: tl.constexpr, W: tl.constexpr
):
    """Offsets and mask of N rows from `start`, W entries each."""
    o_t = tl.arange(0, N)
    o_d = tl.arange(0, W)
    m = (start + o_t < length)[:, None] & (o_d < width)[None, :]
    return o_t[:, None] * step + o_d[None, :] * step_d, m


@triton.jit
def read(x, b, h, start, N: tl.constexpr, W: tl.constexpr, TMA: tl.constexpr):
    """N rows of x (B, H, T, W)."""
    if TMA:
        b_x = x.load([b, h, start, 0]).reshape(N, W)
    else:
        p = x[0] + b.to(tl.int64) * x[3] + h.to(tl.int64) * x[4]
        p += tl.cast(start, tl.int64) * x[5]
        at, m = corners(x[1], x[2], x[5], x[6], start, N, W)
        b_x = tl.load(p + at, m, 0.0)
    return b_x


@triton.jit
def write(x, b_x, b, h, start, TMA: tl.constexpr):
    """Rows of x (B, H, T, W)."""
    N: tl.constexpr = b_x.shape[0]
    W: tl.constexpr = b_x.shape[1]
    if TMA:
        x.store([b, h, start, 0], b_x.to(x.dtype).reshape(1, 1, N, W))
    else:
        p = x[0] + b.to(tl.int64) * x[3] + h.to(tl.int64) * x[4]
        p += tl.cast(start, tl.int64) * x[5]
        at, m = corners(x[1], x[2], x[5], x[6], start, N, W)
        tl.store(p + at, b_x.to(x[0].dtype.element_ty), m)


@triton.jit
def read_branch(
    x, b, h, j, start, N: tl.constexpr, W: tl.constexpr, TMA: tl.constexpr
):
    """N rows of branch j of x (B, H, 2, T, W)."""
    if TMA:
        b_x = x.load([b, h, j, start, 0]).reshape(N, W)
    else:
        p = x[0] + b.to(tl.int64) * x[3] + h.to(tl.int64) * x[4] + j * x[5]
        p += tl.cast(start, tl.int64) * x[6]
        at, m = corners(x[1], x[2], x[6], x[7], start, N, W)
        b_x = tl.load(p + at, m, 0.0)
    return b_x


@triton.jit
def write_branch(x, b_x, b, h, j, start, TMA: tl.constexpr):
    """Rows of branch j of x (B, H, 2, T, W)."""
    N: tl.constexpr = b_x.shape[0]
    W: tl.constexpr = b_x.shape[1]
    if TMA:
        b_x = b_x.to(x.dtype).reshape(1, 1, 1, N, W)
        x.store([b, h, j, start, 0], b_x)
    else:
        p = x[0] + b.to(tl.int64) * x[3] + h.to(tl.int64) * x[4] + j * x[5]
        p += tl.cast(start, tl.int64) * x[6]
        at, m = corners(x[1], x[2], x[6], x[7], start, N, W)
        tl.store(p + at, b_x.to(x[0].dtype.element_ty), m)


@triton.jit
def read_row(x, b, h, start, N: tl.constexpr, TMA: tl.constexpr):
    """N numbers of x (B, H, T): one for each row."""
    if TMA:
        b_x = x.load([b, h, start]).reshape(N)
    else:
        p = x[0] + b.to(tl.int64) * x[2] + h.to(tl.int64) * x[3]
        o = start + tl.arange(0, N)
        b_x = tl.load(p + o, o < x[1], 0.0)
    return b_x


@triton.jit
def read_branch_row(x, b, h, j, start, N: tl.constexpr, TMA: tl.constexpr):
    """N numbers of branch j of x (B, H, 2, T)."""
    if TMA:
        b_x = x.load([b, h, j, start]).reshape(N)
    else:
        p = x[0] + b.to(tl.int64) * x[2] + h.to(tl.int64) * x[3] + j * x[4]
        o = start + tl.arange(0, N)
        b_x = tl.load(p + o, o < x[1], 0.0)
    return b_x
