"""The forward pass with queries and keys in 8 bits; no backward pass.

The arithmetic is that of minidiff/ops/low_bit_products.py, and codes.py makes
the codes. A tile of queries and a tile of keys lie in one block each, so a
tile of the map has one scale: the product of two numbers. Values and weights
stay in 16 bits.

The branches are computed together or in turn, as forward.py describes.
Together, both products come before the softmax: then the tensor cores weigh
the values of branch 1 while the other units compute the softmax of branch 2.
"""

import triton
import triton.language as tl

from minidiff.ops.triton.kernels.softmax import (
    close,
    key_range,
    normalised,
    seen,
)
from minidiff.ops.triton.kernels.tiles import read, read_branch, write


@triton.jit
def raised(
    b_s, m_seen, b_acc, b_top, b_sum, step, MASKED: tl.constexpr,
):  # fmt: skip
    """Take sums (BT, BS) of codes into the running maximum of a softmax.

    Returns b_acc, b_top and b_sum relative to the new maximum, and what
    `weights` subtracts. ``step``, the scales times c, is a number of this
    tile. A positive factor does not change which sum is the largest, so the
    largest is scaled instead of every sum; of integers it is found in fewer
    instructions. b_top (BT,) is therefore the largest logit times c.
    """
    # (BT,)
    if MASKED:
        least = -(2.0**31)  # of int32, less than any sum
        b_max = tl.max(tl.where(m_seen, b_s, tl.cast(least, b_s.dtype)), 1)
        b_max = tl.where(b_max == least, float("-inf"), b_max * step)
    else:
        b_max = tl.max(b_s, 1) * step
    b_new = tl.maximum(b_top, b_max)
    b_ref = b_new
    if MASKED:  # in a row without keys so far, -inf minus -inf would be NaN
        b_ref = tl.where(b_new == float("-inf"), 0.0, b_new)
    b_shrink = tl.exp2(b_top - b_ref)
    return b_acc * b_shrink[:, None], b_new, b_sum * b_shrink, b_ref


@triton.jit
def weights(b_s, m_seen, b_ref, step, MASKED: tl.constexpr):
    """Return the weights (BT, BS) of sums; one fused instruction and exp2."""
    # (BT, BS)
    b_p = tl.exp2(b_s.to(tl.float32) * step - b_ref[:, None])
    if MASKED:
        b_p = tl.where(m_seen, b_p, 0.0)
    return b_p


@triton.jit
def read_values(
    x_v, i_b, i_h, start, o_s, n_keys, BS: tl.constexpr, DV: tl.constexpr,
    HIDE: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """Load a tile of values; HIDE padding, because 0 times NaN is NaN."""
    # (BS, Dv)
    b_v = read(x_v, i_b, i_h, start, N=BS, W=DV, TMA=TMA)
    if HIDE:
        b_v = tl.where((o_s < n_keys)[:, None], b_v, 0.0)
    return b_v


@triton.jit
def walk_one(
    b_acc, b_top, b_sum, b_q, q_step, x_k, x_v, p_k_scale, i_b, i_h, j, start,
    end, o_t, n_keys, shift, D: tl.constexpr, DV: tl.constexpr,
    BS: tl.constexpr, KB: tl.constexpr, CAUSAL: tl.constexpr,
    PADDED: tl.constexpr, MASKED: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """Take the keys from start to end into the softmax of one branch."""
    for start_s in tl.range(start, end, BS):
        o_s = start_s + tl.arange(0, BS)
        # (BS, D)
        b_k = read_branch(x_k, i_b, i_h, j, start_s, N=BS, W=D, TMA=TMA)
        # (BS, Dv)
        b_v = read_values(
            x_v, i_b, i_h, start_s, o_s, n_keys, BS=BS, DV=DV,
            HIDE=MASKED and PADDED, TMA=TMA,
        )  # fmt: skip
        m_seen = True
        if MASKED:
            # (BT, BS)
            m_seen = seen(o_t, o_s, n_keys, shift, CAUSAL=CAUSAL)
        step = q_step * tl.load(p_k_scale + start_s // KB)
        # (BT, BS), int32 or float32
        b_s = tl.dot(b_q, b_k.T)
        # (BT, Dv), (BT,), (BT,), (BT,)
        b_acc, b_top, b_sum, b_ref = raised(
            b_s, m_seen, b_acc, b_top, b_sum, step, MASKED=MASKED
        )
        # (BT, BS)
        b_p = weights(b_s, m_seen, b_ref, step, MASKED=MASKED)
        b_sum += tl.sum(b_p, 1)
        b_p = b_p.to(b_v.dtype)
        b_acc = tl.dot(b_p, b_v, b_acc, input_precision="ieee")
    return b_acc, b_top, b_sum


@triton.jit
def walk_both(
    b_acc1, b_top1, b_sum1, b_acc2, b_top2, b_sum2, b_q1, b_q2, q_step1,
    q_step2, x_k, x_v, p_scale1, p_scale2, i_b, i_h, start, end, o_t, n_keys,
    shift, D: tl.constexpr, DV: tl.constexpr, P: tl.constexpr,
    BS: tl.constexpr, KB: tl.constexpr, CAUSAL: tl.constexpr,
    PADDED: tl.constexpr, MASKED: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """Take the keys from start to end into the softmaxes of both branches."""
    for start_s in tl.range(start, end, BS):
        o_s = start_s + tl.arange(0, BS)
        # (BS, D)
        b_k1 = read_branch(x_k, i_b, i_h, 0, start_s, N=BS, W=D, TMA=TMA)
        b_k2 = b_k1
        if P == 2:
            b_k2 = read_branch(x_k, i_b, i_h, 1, start_s, N=BS, W=D, TMA=TMA)
        # (BS, Dv)
        b_v = read_values(
            x_v, i_b, i_h, start_s, o_s, n_keys, BS=BS, DV=DV,
            HIDE=MASKED and PADDED, TMA=TMA,
        )  # fmt: skip
        m_seen = True
        if MASKED:
            # (BT, BS)
            m_seen = seen(o_t, o_s, n_keys, shift, CAUSAL=CAUSAL)
        step1 = q_step1 * tl.load(p_scale1 + start_s // KB)
        step2 = q_step2 * tl.load(p_scale2 + start_s // KB)
        # (BT, BS), int32 or float32
        b_s1 = tl.dot(b_q1, b_k1.T)
        b_s2 = tl.dot(b_q2, b_k2.T)
        # (BT, Dv), (BT,), (BT,), (BT,)
        b_acc1, b_top1, b_sum1, b_ref1 = raised(
            b_s1, m_seen, b_acc1, b_top1, b_sum1, step1, MASKED=MASKED
        )
        b_acc2, b_top2, b_sum2, b_ref2 = raised(
            b_s2, m_seen, b_acc2, b_top2, b_sum2, step2, MASKED=MASKED
        )
        # (BT, BS)
        b_p = weights(b_s1, m_seen, b_ref1, step1, MASKED=MASKED)
        b_sum1 += tl.sum(b_p, 1)
        b_p = b_p.to(b_v.dtype)
        b_acc1 = tl.dot(b_p, b_v, b_acc1, input_precision="ieee")
        b_p = weights(b_s2, m_seen, b_ref2, step2, MASKED=MASKED)
        b_sum2 += tl.sum(b_p, 1)
        b_p = b_p.to(b_v.dtype)
        b_acc2 = tl.dot(b_p, b_v, b_acc2, input_precision="ieee")
    return b_acc1, b_top1, b_sum1, b_acc2, b_top2, b_sum2


@triton.jit
def branch(
    j, x_q, x_k, x_v, q_step, p_k_scale, i_b, i_h, i_t, G, T, S, n_keys, whole,
    end, o_t, D: tl.constexpr, DV: tl.constexpr, P: tl.constexpr,
    BT: tl.constexpr, BS: tl.constexpr, KB: tl.constexpr,
    CAUSAL: tl.constexpr, PADDED: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """Return the output of branch j (BT, Dv) for a block of queries."""
    j_k = j * (P - 1)
    # (BT, D)
    b_q = read_branch(x_q, i_b, i_h, j, i_t * BT, N=BT, W=D, TMA=TMA)
    # (BT, Dv), (BT,), (BT,)
    b_acc = tl.zeros([BT, DV], tl.float32)
    b_top = tl.full([BT], float("-inf"), tl.float32)
    b_sum = tl.zeros([BT], tl.float32)
    # First the keys that all queries of the block see, then the others.
    b_acc, b_top, b_sum = walk_one(
        b_acc, b_top, b_sum, b_q, q_step, x_k, x_v, p_k_scale, i_b, i_h // G,
        j_k, 0, whole, o_t, n_keys, S - T, D=D, DV=DV, BS=BS, KB=KB,
        CAUSAL=CAUSAL, PADDED=PADDED, MASKED=False, TMA=TMA,
    )  # fmt: skip
    b_acc, b_top, b_sum = walk_one(
        b_acc, b_top, b_sum, b_q, q_step, x_k, x_v, p_k_scale, i_b, i_h // G,
        j_k, whole, end, o_t, n_keys, S - T, D=D, DV=DV, BS=BS, KB=KB,
        CAUSAL=CAUSAL, PADDED=PADDED, MASKED=True, TMA=TMA,
    )  # fmt: skip
    b_o, _ = close(b_acc, b_top, b_sum, 1.0)
    return b_o


@triton.jit
def both_branches(
    x_q, x_k, x_v, q_step1, q_step2, p_scale1, p_scale2, i_b, i_h, i_t, G, T,
    S, n_keys, whole, end, o_t, D: tl.constexpr, DV: tl.constexpr,
    P: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr, KB: tl.constexpr,
    CAUSAL: tl.constexpr, PADDED: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """Return the outputs of both branches (BT, Dv)."""
    # (BT, D)
    b_q1 = read_branch(x_q, i_b, i_h, 0, i_t * BT, N=BT, W=D, TMA=TMA)
    b_q2 = read_branch(x_q, i_b, i_h, 1, i_t * BT, N=BT, W=D, TMA=TMA)
    # (BT, Dv), (BT,), (BT,)
    b_acc = tl.zeros([BT, DV], tl.float32)
    b_top = tl.full([BT], float("-inf"), tl.float32)
    b_sum = tl.zeros([BT], tl.float32)
    b_acc1, b_top1, b_sum1, b_acc2, b_top2, b_sum2 = walk_both(
        b_acc, b_top, b_sum, b_acc, b_top, b_sum, b_q1, b_q2, q_step1, q_step2,
        x_k, x_v, p_scale1, p_scale2, i_b, i_h // G, 0, whole, o_t, n_keys,
        S - T, D=D, DV=DV, P=P, BS=BS, KB=KB, CAUSAL=CAUSAL, PADDED=PADDED,
        MASKED=False, TMA=TMA,
    )  # fmt: skip
    b_acc1, b_top1, b_sum1, b_acc2, b_top2, b_sum2 = walk_both(
        b_acc1, b_top1, b_sum1, b_acc2, b_top2, b_sum2, b_q1, b_q2, q_step1,
        q_step2, x_k, x_v, p_scale1, p_scale2, i_b, i_h // G, whole, end, o_t,
        n_keys, S - T, D=D, DV=DV, P=P, BS=BS, KB=KB, CAUSAL=CAUSAL,
        PADDED=PADDED, MASKED=True, TMA=TMA,
    )  # fmt: skip
    b_o1, _ = close(b_acc1, b_top1, b_sum1, 1.0)
    b_o2, _ = close(b_acc2, b_top2, b_sum2, 1.0)
    return b_o1, b_o2


@triton.jit
def low_bit_kernel(
    x_q, x_k, x_v, x_y, p_q_scale, p_k_scale, p_o2, p_lam, p_weight, p_lengths,
    o2_b, o2_h, o2_t, lam_b, lam_h, lam_t, H, G, T, S, dv, c, norm_scale, eps,
    D: tl.constexpr, DV: tl.constexpr, P: tl.constexpr, BT: tl.constexpr,
    BS: tl.constexpr, QB: tl.constexpr, KB: tl.constexpr,
    TOGETHER: tl.constexpr, CAUSAL: tl.constexpr, PADDED: tl.constexpr,
    NORM: tl.constexpr, WEIGHT: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """y = norm_scale * weight * RMSNorm(o), o = A1 v - lam A2 v.

    x_q (B, H, 2, T, D) and x_k (B, Hkv, P, S, D) are codes; the scales are
    (B, H, 2, blocks) and (B, Hkv, P, blocks), for QB queries and KB keys each.
    If the branches are computed in turn, branch 2 waits in memory, at p_o2,
    because branch 1 needs the registers.
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
    # Numbers by which sums of branch 1 and 2 are multiplied, but for the
    # keys' scale.
    i_q = ((i_b * H + i_h) * 2).to(tl.int64)
    p_q_scale += i_q * tl.cdiv(T, QB) + i_t * BT // QB
    q_step1 = tl.load(p_q_scale) * c
    q_step2 = tl.load(p_q_scale + tl.cdiv(T, QB)) * c
    i_k = ((i_b * (H // G) + i_h // G) * P).to(tl.int64)
    p_scale1 = p_k_scale + i_k * tl.cdiv(S, KB)
    p_scale2 = p_scale1 + (P - 1) * tl.cdiv(S, KB)
    # (BT, Dv)
    if TOGETHER:
        b_o1, b_o2 = both_branches(
            x_q, x_k, x_v, q_step1, q_step2, p_scale1, p_scale2, i_b, i_h,
            i_t, G, T, S, n_keys, whole, end, o_t, D=D, DV=DV, P=P, BT=BT,
            BS=BS, KB=KB, CAUSAL=CAUSAL, PADDED=PADDED, TMA=TMA,
        )  # fmt: skip
    else:
        # 64-bit: a tensor may have more than 2**31 elements
        at = i_b.to(tl.int64) * o2_b + i_h.to(tl.int64) * o2_h
        at = at + o_t.to(tl.int64)[:, None] * o2_t + o_d[None, :]
        m_o2 = (o_t < T)[:, None] & (o_d < dv)[None, :]
        b_o2 = branch(
            1, x_q, x_k, x_v, q_step2, p_scale2, i_b, i_h, i_t, G, T, S,
            n_keys, whole, end, o_t, D=D, DV=DV, P=P, BT=BT, BS=BS, KB=KB,
            CAUSAL=CAUSAL, PADDED=PADDED, TMA=TMA,
        )  # fmt: skip
        tl.store(p_o2 + at, b_o2.to(p_o2.dtype.element_ty), m_o2)
        b_o1 = branch(
            0, x_q, x_k, x_v, q_step1, p_scale1, i_b, i_h, i_t, G, T, S,
            n_keys, whole, end, o_t, D=D, DV=DV, P=P, BT=BT, BS=BS, KB=KB,
            CAUSAL=CAUSAL, PADDED=PADDED, TMA=TMA,
        )  # fmt: skip
        tl.debug_barrier()  # other threads have written what this one reads
        b_o2 = tl.load(p_o2 + at, m_o2, 0.0).to(tl.float32)
    # (BT,)
    at_lam = i_b * lam_b + i_h * lam_h + o_t * lam_t
    b_lam = tl.load(p_lam + at_lam, o_t < T, 0.0).to(tl.float32)
    # (BT, Dv)
    b_o = b_o1 - b_lam[:, None] * b_o2
    if NORM:
        b_o = normalised(
            b_o, p_weight, o_d, dv, norm_scale, eps, WEIGHT=WEIGHT
        )
    write(x_y, b_o, i_b, i_h, i_t * BT, TMA=TMA)
