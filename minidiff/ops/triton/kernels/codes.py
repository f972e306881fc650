"""Codes of queries and keys in 8 bits, and their scales.

    sum_kernel        sums of the keys of one part, for their mean
    quantise_kernel   codes of a block of queries or keys, and their scale

The arithmetic is that of minidiff/ops/low_bit_products.py.
"""

import triton
import triton.language as tl

from minidiff.ops.triton.kernels.tiles import read_branch, write_branch

# The same as in ops/low_bit.py: a scale is rounded down, and zeros divide by
# no zero.
DOWN = tl.constexpr(1 - 2 * 2.0**-23)
TINY = tl.constexpr(2.0**-126)


@triton.jit
def sum_kernel(
    x, p_sums, p_lengths, H, T, d, size, D: tl.constexpr, P: tl.constexpr,
    N: tl.constexpr, PADDED: tl.constexpr,
):  # fmt: skip
    """Sum ``size`` rows, a multiple of N, of one branch of x (B, H, P, T, D).

    p_sums is (B, H, P, parts, D). Each part has a sum of its own, because
    atomic additions would not be bitwise reproducible.
    """
    i_row = tl.program_id(0)
    i_b = i_row // P // H
    i_h = i_row // P % H
    first = tl.program_id(1) * size
    o_d = tl.arange(0, D)
    n_keys = T
    if PADDED:
        n_keys = tl.minimum(T, tl.load(p_lengths + i_b).to(tl.int32))
    # (N, D)
    b_sum = tl.zeros([N, D], tl.float32)
    for start in range(first, tl.minimum(first + size, n_keys), N):
        b_x = read_branch(x, i_b, i_h, i_row % P, start, N=N, W=D, TMA=False)
        if PADDED:
            m_key = start + tl.arange(0, N) < n_keys
            b_x = tl.where(m_key[:, None], b_x, 0.0)
        b_sum += b_x.to(tl.float32)
    at = i_row.to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
    tl.store(p_sums + at * d + o_d, tl.sum(b_sum, 0), o_d < d)


@triton.jit
def quantise_kernel(
    x, x_codes, p_scale, p_sums, p_lengths, H, T, d, LARGEST: tl.constexpr,
    D: tl.constexpr, P: tl.constexpr, N: tl.constexpr, PARTS: tl.constexpr,
    PADDED: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """Write the codes of N rows of one branch of x (B, H, P, T, D).

    If there are PARTS, p_sums has the sums of so many parts of the rows;
    their mean is subtracted first, and padding becomes zeros. WHOLE numbers
    are codes of int8, others of fp8.
    """
    i_row = tl.program_id(0)
    i_b = i_row // P // H
    i_h = i_row // P % H
    j = i_row % P
    start = tl.program_id(1) * N
    o_t = start + tl.arange(0, N)
    o_d = tl.arange(0, D)
    # (N, D)
    b_x = read_branch(x, i_b, i_h, j, start, N=N, W=D, TMA=False)
    b_x = b_x.to(tl.float32)
    if PARTS:
        n_keys = T
        count = T
        if PADDED:
            n_keys = tl.minimum(T, tl.load(p_lengths + i_b).to(tl.int32))
            count = tl.maximum(n_keys, 1)  # a row may have no keys
        # (PARTS, D)
        at = i_row.to(tl.int64) * PARTS + tl.arange(0, PARTS)
        at = at[:, None] * d + o_d[None, :]
        b_sums = tl.load(p_sums + at, (o_d < d)[None, :], 0.0)
        # (D,)
        b_mean = tl.sum(b_sums, 0) / count
        # (N, D); rows beyond the keys are zeros and stay so
        m_key = o_t < n_keys
        if PADDED:
            b_x = tl.where(m_key[:, None], b_x, 0.0)
        b_x -= m_key.to(tl.float32)[:, None] * b_mean[None, :]
    # Read as integers, absolute numbers are in the same order, and NaN comes
    # after infinity. If there is one of them, the scale is infinite and codes
    # are 0 or NaN, so all logits of the block are NaN.
    b_bits = b_x.to(tl.int32, bitcast=True) & 0x7FFFFFFF
    bits = tl.minimum(tl.max(tl.max(b_bits, 1), 0), 0x7F800000)
    scale = bits.to(tl.float32, bitcast=True) / LARGEST * DOWN
    scale = tl.maximum(scale, TINY)
    b_x = b_x / scale
    if WHOLE:
        b_x = tl.floor(b_x + 0.5)
    write_branch(x_codes, b_x, i_b, i_h, j, start, TMA=False)
    at = i_row.to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
    tl.store(p_scale + at, scale)
