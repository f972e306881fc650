"""The fused forward pass: two running softmaxes, one subtraction, one norm.

One program computes a block of BT queries of one head, from the first key to
the last it may see. The two branches cannot share an accumulator: each is
rescaled by its own running maximum until its last key. So there are two ways:

    together  both branches walk the keys in step: V is read once, and two
              accumulators of BT x Dv lie in registers
    in turn   branch 2 walks first and leaves its output in memory, then
              branch 1: V is read twice (the second time mostly from L2), and
              half the registers are enough
"""

import triton
import triton.language as tl

from minidiff.ops.triton.kernels.softmax import (
    close,
    key_range,
    seen,
    softmax_step,
)
from minidiff.ops.triton.kernels.tiles import read, read_branch, write


@triton.jit
def walk_one(
    b_acc, b_top, b_sum, b_q, x_k, x_v, b, h, j, start, end, o_t, n_keys,
    shift, c, D: tl.constexpr, DV: tl.constexpr, BS: tl.constexpr,
    CAUSAL: tl.constexpr, PADDED: tl.constexpr, MASKED: tl.constexpr,
    PRECISION: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """One branch over the keys from start to end."""
    for i_s in tl.range(start, end, BS):
        o_s = i_s + tl.arange(0, BS)
        b_k = read_branch(x_k, b, h, j, i_s, BS, D, TMA)
        b_v = read(x_v, b, h, i_s, BS, DV, TMA)
        m_seen = True
        if MASKED:
            m_seen = seen(o_t, o_s, n_keys, shift, CAUSAL)
            if PADDED:  # a weight of 0 does not hide a NaN
                b_v = tl.where((o_s < n_keys)[:, None], b_v, 0.0)
        b_acc, b_top, b_sum = softmax_step(
            b_acc, b_top, b_sum, b_q, b_k, b_v, m_seen, c, MASKED, PRECISION
        )
    return b_acc, b_top, b_sum


@triton.jit
def walk_both(
    b_acc1, b_top1, b_sum1, b_acc2, b_top2, b_sum2, b_q1, b_q2, x_k, x_v,
    b, h, start, end, o_t, n_keys, shift, c, D: tl.constexpr,
    DV: tl.constexpr, BS: tl.constexpr, SHARED: tl.constexpr,
    CAUSAL: tl.constexpr, PADDED: tl.constexpr, MASKED: tl.constexpr,
    PRECISION: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """Both branches in step over the keys from start to end."""
    for i_s in tl.range(start, end, BS):
        o_s = i_s + tl.arange(0, BS)
        b_k1 = read_branch(x_k, b, h, 0, i_s, BS, D, TMA)
        b_k2 = b_k1
        if not SHARED:
            b_k2 = read_branch(x_k, b, h, 1, i_s, BS, D, TMA)
        b_v = read(x_v, b, h, i_s, BS, DV, TMA)
        m_seen = True
        if MASKED:
            m_seen = seen(o_t, o_s, n_keys, shift, CAUSAL)
            if PADDED:
                b_v = tl.where((o_s < n_keys)[:, None], b_v, 0.0)
        b_acc1, b_top1, b_sum1 = softmax_step(
            b_acc1, b_top1, b_sum1, b_q1, b_k1, b_v, m_seen, c,
            MASKED, PRECISION,
        )  # fmt: skip
        b_acc2, b_top2, b_sum2 = softmax_step(
            b_acc2, b_top2, b_sum2, b_q2, b_k2, b_v, m_seen, c,
            MASKED, PRECISION,
        )  # fmt: skip
    return b_acc1, b_top1, b_sum1, b_acc2, b_top2, b_sum2


@triton.jit
def forward_kernel(
    x_q, x_k, x_v, x_y, x_o, p_o2, p_lse, p_lam, p_weight, p_lengths,
    o2_b, o2_h, o2_t, lam_b, lam_h, lam_t, lse_row,
    H, G, T, S, dv, c, norm_scale, eps,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
    TOGETHER: tl.constexpr, SHARED: tl.constexpr, CAUSAL: tl.constexpr,
    PADDED: tl.constexpr, NORM: tl.constexpr, WEIGHT: tl.constexpr,
    KEEP: tl.constexpr, PRECISION: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """y = norm_scale * weight * RMSNorm(o), o = A1 v - lam A2 v.

    x_* are tensors as tiles.py moves them. With KEEP, what the backward pass
    needs is written too: o, o2 = A2 v and both log-sums.
    What a call does not need (x_o, p_o2) may be y again: it is not written.
    """
    b = tl.program_id(0) // H
    h = tl.program_id(0) % H
    i_t = tl.program_id(1)
    if CAUSAL:  # the last queries see most keys: long rows start first
        i_t = tl.num_programs(1) - 1 - i_t
    o_t = i_t * BT + tl.arange(0, BT)
    o_d = tl.arange(0, DV)
    shift = S - T
    n_keys = S
    if PADDED:
        n_keys = tl.minimum(S, tl.load(p_lengths + b).to(tl.int32))
    whole, end = key_range(i_t, n_keys, shift, BT, BS, CAUSAL)
    # In 64 bits: a tensor may hold more than 2**31 elements.
    at = b.to(tl.int64) * o2_b + h.to(tl.int64) * o2_h
    at = at + o_t.to(tl.int64)[:, None] * o2_t + o_d[None, :]
    m_o2 = (o_t < T)[:, None] & (o_d < dv)[None, :]

    b_q1 = read_branch(x_q, b, h, 0, i_t * BT, BT, D, TMA)
    b_q2 = read_branch(x_q, b, h, 1, i_t * BT, BT, D, TMA)
    b_acc = tl.zeros([BT, DV], tl.float32)
    b_top = tl.full([BT], float("-inf"), tl.float32)
    b_sum = tl.zeros([BT], tl.float32)
    # Each branch walks twice: keys that all queries see, then those at the
    # edge, with a mask.
    if TOGETHER:
        b_acc1, b_top1, b_sum1, b_acc2, b_top2, b_sum2 = walk_both(
            b_acc, b_top, b_sum, b_acc, b_top, b_sum, b_q1, b_q2, x_k, x_v,
            b, h // G, 0, whole, o_t, n_keys, shift, c, D, DV, BS, SHARED,
            CAUSAL, PADDED, False, PRECISION, TMA,
        )  # fmt: skip
        b_acc1, b_top1, b_sum1, b_acc2, b_top2, b_sum2 = walk_both(
            b_acc1, b_top1, b_sum1, b_acc2, b_top2, b_sum2, b_q1, b_q2, x_k,
            x_v, b, h // G, whole, end, o_t, n_keys, shift, c, D, DV, BS,
            SHARED, CAUSAL, PADDED, True, PRECISION, TMA,
        )  # fmt: skip
        b_o2, b_lse2 = close(b_acc2, b_top2, b_sum2, c)
        if KEEP:
            tl.store(p_o2 + at, b_o2.to(p_o2.dtype.element_ty), m_o2)
        b_o1, b_lse1 = close(b_acc1, b_top1, b_sum1, c)
    else:
        j2: tl.constexpr = 0 if SHARED else 1
        b_acc2, b_top2, b_sum2 = walk_one(
            b_acc, b_top, b_sum, b_q2, x_k, x_v, b, h // G, j2, 0, whole,
            o_t, n_keys, shift, c, D, DV, BS, CAUSAL, PADDED, False,
            PRECISION, TMA,
        )  # fmt: skip
        b_acc2, b_top2, b_sum2 = walk_one(
            b_acc2, b_top2, b_sum2, b_q2, x_k, x_v, b, h // G, j2, whole,
            end, o_t, n_keys, shift, c, D, DV, BS, CAUSAL, PADDED, True,
            PRECISION, TMA,
        )  # fmt: skip
        b_o2, b_lse2 = close(b_acc2, b_top2, b_sum2, c)
        # It waits in memory: registers are needed for branch 1.
        tl.store(p_o2 + at, b_o2.to(p_o2.dtype.element_ty), m_o2)
        b_acc1, b_top1, b_sum1 = walk_one(
            b_acc, b_top, b_sum, b_q1, x_k, x_v, b, h // G, 0, 0, whole,
            o_t, n_keys, shift, c, D, DV, BS, CAUSAL, PADDED, False,
            PRECISION, TMA,
        )  # fmt: skip
        b_acc1, b_top1, b_sum1 = walk_one(
            b_acc1, b_top1, b_sum1, b_q1, x_k, x_v, b, h // G, 0, whole,
            end, o_t, n_keys, shift, c, D, DV, BS, CAUSAL, PADDED, True,
            PRECISION, TMA,
        )  # fmt: skip
        b_o1, b_lse1 = close(b_acc1, b_top1, b_sum1, c)
        tl.debug_barrier()  # another thread may have written what we read
        b_o2 = tl.load(p_o2 + at, m_o2, 0.0).to(tl.float32)

    at_lam = b * lam_b + h * lam_h + o_t * lam_t
    b_lam = tl.load(p_lam + at_lam, o_t < T, 0.0).to(tl.float32)
    b_o = b_o1 - b_lam[:, None] * b_o2
    if KEEP:
        at_lse = (b * H + h).to(tl.int64) * 2 * lse_row + o_t
        tl.store(p_lse + at_lse, b_lse1, o_t < T)
        tl.store(p_lse + at_lse + lse_row, b_lse2, o_t < T)
    if NORM:
        if KEEP:
            write(x_o, b_o, b, h, i_t * BT, TMA)
        # Columns beyond dv are zeros and add nothing to the mean square.
        b_r = tl.rsqrt(tl.sum(b_o * b_o, 1) / dv + eps)
        b_o = b_o * (b_r * norm_scale)[:, None]
        if WEIGHT:
            b_w = tl.load(p_weight + o_d, o_d < dv, 0.0).to(tl.float32)
            b_o = b_o * b_w[None, :]
    write(x_y, b_o, b, h, i_t * BT, TMA)
