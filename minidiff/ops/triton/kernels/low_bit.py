"""The forward pass with queries and keys in 8 bits; no backward pass.

    quantise_kernel   codes of a block of queries or keys, and their scale
    low_bit_kernel    the walk of forward.py over the codes

The arithmetic is that of minidiff/ops/low_bit_products.py. A tile of queries
and a tile of keys lie in one block each, so a tile of the map has one scale:
the product of two numbers. Values and weights stay in 16 bits.

The branches are computed in turn, as forward.py describes. Together they would
need more registers, and in 16 bits this was at most a tenth faster with 4,096
keys or more (book/results/tuning.json).
"""

import triton
import triton.language as tl

from minidiff.ops.triton.kernels.softmax import (
    close,
    key_range,
    normalised,
    seen,
    weigh,
)
from minidiff.ops.triton.kernels.tiles import (
    read,
    read_branch,
    write,
    write_branch,
)

# The same as in ops/low_bit.py: a scale is rounded down, and zeros divide by
# no zero.
DOWN = tl.constexpr(1 - 2 * 2.0**-23)
TINY = tl.constexpr(2.0**-126)


@triton.jit
def quantise_kernel(
    x, x_codes, p_scale, p_mean, p_lengths, H, P, T, d, LARGEST: tl.constexpr,
    D: tl.constexpr, N: tl.constexpr, KEYS: tl.constexpr,
    PADDED: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """Write the codes of N rows of one branch of x (B, H, P, T, D).

    With KEYS, p_mean (B, H, P, D) is subtracted first, and padding becomes
    zeros. WHOLE numbers are codes of int8, others of fp8.
    """
    i_row = tl.program_id(0)
    i_b = i_row // (H * P)
    i_h = i_row // P % H
    j = i_row % P
    start = tl.program_id(1) * N
    o_t = start + tl.arange(0, N)
    o_d = tl.arange(0, D)
    # (N, D)
    b_x = read_branch(x, i_b, i_h, j, start, N=N, W=D, TMA=False)
    b_x = b_x.to(tl.float32)
    if KEYS:
        n_keys = T
        if PADDED:
            n_keys = tl.minimum(T, tl.load(p_lengths + i_b).to(tl.int32))
        # (D,)
        b_mean = tl.load(p_mean + i_row.to(tl.int64) * d + o_d, o_d < d, 0.0)
        # (N, D)
        b_x = tl.where((o_t < n_keys)[:, None], b_x - b_mean[None, :], 0.0)
    # NaN counts as infinite. Then the scale is infinite and all codes are 0,
    # so all logits of the block are NaN.
    b_size = tl.where(b_x == b_x, tl.abs(b_x), float("inf"))
    scale = tl.max(tl.max(b_size, 1), 0) / LARGEST * DOWN
    scale = tl.maximum(scale, TINY)
    b_x = tl.where(b_size < float("inf"), b_x / scale, 0.0)
    if WHOLE:
        b_x = tl.floor(b_x + 0.5)
    write_branch(x_codes, b_x, i_b, i_h, j, start, TMA=False)
    at = i_row.to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
    tl.store(p_scale + at, scale)


@triton.jit
def walk(
    b_acc, b_top, b_sum, b_q, q_scale, x_k, x_v, p_k_scale, i_b, i_h, j,
    start, end, o_t, n_keys, shift, c, D: tl.constexpr, DV: tl.constexpr,
    BS: tl.constexpr, BLOCK: tl.constexpr, CAUSAL: tl.constexpr,
    PADDED: tl.constexpr, MASKED: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """Take the keys from start to end into the softmax of one branch."""
    for start_s in tl.range(start, end, BS):
        o_s = start_s + tl.arange(0, BS)
        # (BS, D)
        b_k = read_branch(x_k, i_b, i_h, j, start_s, N=BS, W=D, TMA=TMA)
        # (BS, Dv)
        b_v = read(x_v, i_b, i_h, start_s, N=BS, W=DV, TMA=TMA)
        m_seen = True
        if MASKED:
            # (BT, BS)
            m_seen = seen(o_t, o_s, n_keys, shift, CAUSAL=CAUSAL)
            if PADDED:  # because 0 times NaN is NaN
                b_v = tl.where((o_s < n_keys)[:, None], b_v, 0.0)
        scale = q_scale * tl.load(p_k_scale + start_s // BLOCK)
        # (BT, BS), int32 or float32
        b_s = tl.dot(b_q, b_k.T)
        # (BT, BS), (BT, Dv), (BT,), (BT,)
        b_p, b_acc, b_top, b_sum = weigh(
            b_s.to(tl.float32) * scale, b_acc, b_top, b_sum, m_seen, c,
            MASKED=MASKED,
        )  # fmt: skip
        b_p = b_p.to(b_v.dtype)
        b_acc = tl.dot(b_p, b_v, b_acc, input_precision="ieee")
    return b_acc, b_top, b_sum


@triton.jit
def branch(
    j, x_q, x_k, x_v, p_q_scale, p_k_scale, i_b, i_h, i_t, H, G, T, S, n_keys,
    whole, end, o_t, c, D: tl.constexpr, DV: tl.constexpr, P: tl.constexpr,
    BT: tl.constexpr, BS: tl.constexpr, QB: tl.constexpr, KB: tl.constexpr,
    CAUSAL: tl.constexpr, PADDED: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """Return the output of branch j (BT, Dv) for a block of queries."""
    i_hkv = i_h // G
    j_k = j * (P - 1)
    # (BT, D)
    b_q = read_branch(x_q, i_b, i_h, j, i_t * BT, N=BT, W=D, TMA=TMA)
    i_q = ((i_b * H + i_h) * 2 + j).to(tl.int64)
    q_scale = tl.load(p_q_scale + i_q * tl.cdiv(T, QB) + i_t * BT // QB)
    i_k = ((i_b * (H // G) + i_hkv) * P + j_k).to(tl.int64)
    p_k_scale += i_k * tl.cdiv(S, KB)
    # (BT, Dv), (BT,), (BT,)
    b_acc = tl.zeros([BT, DV], tl.float32)
    b_top = tl.full([BT], float("-inf"), tl.float32)
    b_sum = tl.zeros([BT], tl.float32)
    # First the keys that all queries of the block see, then the others.
    b_acc, b_top, b_sum = walk(
        b_acc, b_top, b_sum, b_q, q_scale, x_k, x_v, p_k_scale, i_b, i_hkv,
        j_k, 0, whole, o_t, n_keys, S - T, c, D=D, DV=DV, BS=BS, BLOCK=KB,
        CAUSAL=CAUSAL, PADDED=PADDED, MASKED=False, TMA=TMA,
    )  # fmt: skip
    b_acc, b_top, b_sum = walk(
        b_acc, b_top, b_sum, b_q, q_scale, x_k, x_v, p_k_scale, i_b, i_hkv,
        j_k, whole, end, o_t, n_keys, S - T, c, D=D, DV=DV, BS=BS, BLOCK=KB,
        CAUSAL=CAUSAL, PADDED=PADDED, MASKED=True, TMA=TMA,
    )  # fmt: skip
    b_o, _ = close(b_acc, b_top, b_sum, c)
    return b_o


@triton.jit
def low_bit_kernel(
    x_q, x_k, x_v, x_y, p_q_scale, p_k_scale, p_o2, p_lam, p_weight, p_lengths,
    o2_b, o2_h, o2_t, lam_b, lam_h, lam_t, H, G, T, S, dv, c, norm_scale, eps,
    D: tl.constexpr, DV: tl.constexpr, P: tl.constexpr, BT: tl.constexpr,
    BS: tl.constexpr, QB: tl.constexpr, KB: tl.constexpr,
    CAUSAL: tl.constexpr, PADDED: tl.constexpr, NORM: tl.constexpr,
    WEIGHT: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """y = norm_scale * weight * RMSNorm(o), o = A1 v - lam A2 v.

    x_q (B, H, 2, T, D) and x_k (B, Hkv, P, S, D) are codes; the scales are
    (B, H, 2, blocks) and (B, Hkv, P, blocks), for QB queries and KB keys each.
    Branch 2 waits in memory, at p_o2, because branch 1 needs the registers.
    """
    i_b = tl.program_id(0) // H
    i_h = tl.program_id(0) % H
    i_t = tl.program_id(1)
    if CAUSAL:  # start with the last queries, which see the most keys
        i_t = tl.num_programs(1) - 1 - i_t
    o_t = i_t * BT + tl.arange(0, BT)
    o_d = tl.arange(0, DV)
    n_keys = S
    if PADDED:
        n_keys = tl.minimum(S, tl.load(p_lengths + i_b).to(tl.int32))
    whole, end = key_range(i_t, n_keys, S - T, BT=BT, BS=BS, CAUSAL=CAUSAL)
    # (BT, Dv), 64-bit: a tensor may have more than 2**31 elements
    at = i_b.to(tl.int64) * o2_b + i_h.to(tl.int64) * o2_h
    at = at + o_t.to(tl.int64)[:, None] * o2_t + o_d[None, :]
    m_o2 = (o_t < T)[:, None] & (o_d < dv)[None, :]
    b_o2 = branch(
        1, x_q, x_k, x_v, p_q_scale, p_k_scale, i_b, i_h, i_t, H, G, T, S,
        n_keys, whole, end, o_t, c, D=D, DV=DV, P=P, BT=BT, BS=BS, QB=QB,
        KB=KB, CAUSAL=CAUSAL, PADDED=PADDED, TMA=TMA,
    )  # fmt: skip
    tl.store(p_o2 + at, b_o2.to(p_o2.dtype.element_ty), m_o2)
    b_o1 = branch(
        0, x_q, x_k, x_v, p_q_scale, p_k_scale, i_b, i_h, i_t, H, G, T, S,
        n_keys, whole, end, o_t, c, D=D, DV=DV, P=P, BT=BT, BS=BS, QB=QB,
        KB=KB, CAUSAL=CAUSAL, PADDED=PADDED, TMA=TMA,
    )  # fmt: skip
    tl.debug_barrier()  # other threads have written what this one reads
    b_o2 = tl.load(p_o2 + at, m_o2, 0.0).to(tl.float32)
    # (BT,)
    at_lam = i_b * lam_b + i_h * lam_h + o_t * lam_t
    b_lam = tl.load(p_lam + at_lam, o_t < T, 0.0).to(tl.float32)
    # (BT, Dv)
    b_o = b_o1 - b_lam[:, None] * b_o2
    if NORM:
        b_o = normalised(b_o, p_weight, o_d, dv, norm_scale, eps, WEIGHT)
    write(x_y, b_o, i_b, i_h, i_t * BT, TMA=TMA)
