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
    inverse_root,
    key_range,
    seen,
    softmax_step,
)
from minidiff.ops.triton.kernels.tiles import read, read_branch, write


@triton.jit
def walk_one(
    b_acc, b_top, b_sum, b_q, x_k, x_v, i_b, i_h, j, start, end, o_t, n_keys,
    shift, c, D: tl.constexpr, DV: tl.constexpr, BS: tl.constexpr,
    CAUSAL: tl.constexpr, PADDED: tl.constexpr, MASKED: tl.constexpr,
    TMA: tl.constexpr,
):  # fmt: skip
    """One branch over the keys from start to end."""
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
            if PADDED:  # a weight of 0 does not hide a NaN
                b_v = tl.where((o_s < n_keys)[:, None], b_v, 0.0)
        # (BT, Dv), (BT,), (BT,)
        b_acc, b_top, b_sum = softmax_step(
            b_acc, b_top, b_sum, b_q, b_k, b_v, m_seen, c, MASKED=MASKED
        )
    return b_acc, b_top, b_sum


@triton.jit
def walk_both(
    b_acc1, b_top1, b_sum1, b_acc2, b_top2, b_sum2, b_q1, b_q2, x_k, x_v,
    i_b, i_h, start, end, o_t, n_keys, shift, c, D: tl.constexpr,
    DV: tl.constexpr, P: tl.constexpr, BS: tl.constexpr,
    CAUSAL: tl.constexpr, PADDED: tl.constexpr, MASKED: tl.constexpr,
    TMA: tl.constexpr,
):  # fmt: skip
    """Both branches in step over the keys from start to end."""
    for start_s in tl.range(start, end, BS):
        o_s = start_s + tl.arange(0, BS)
        # (BS, D)
        b_k1 = read_branch(x_k, i_b, i_h, 0, start_s, N=BS, W=D, TMA=TMA)
        b_k2 = b_k1
        if P == 2:
            b_k2 = read_branch(x_k, i_b, i_h, 1, start_s, N=BS, W=D, TMA=TMA)
        # (BS, Dv)
        b_v = read(x_v, i_b, i_h, start_s, N=BS, W=DV, TMA=TMA)
        m_seen = True
        if MASKED:
            # (BT, BS)
            m_seen = seen(o_t, o_s, n_keys, shift, CAUSAL=CAUSAL)
            if PADDED:
                b_v = tl.where((o_s < n_keys)[:, None], b_v, 0.0)
        # (BT, Dv), (BT,), (BT,)
        b_acc1, b_top1, b_sum1 = softmax_step(
            b_acc1, b_top1, b_sum1, b_q1, b_k1, b_v, m_seen, c, MASKED=MASKED
        )
        b_acc2, b_top2, b_sum2 = softmax_step(
            b_acc2, b_top2, b_sum2, b_q2, b_k2, b_v, m_seen, c, MASKED=MASKED
        )
    return b_acc1, b_top1, b_sum1, b_acc2, b_top2, b_sum2


@triton.jit
def forward_kernel(
    x_q, x_k, x_v, x_y, x_o, p_o2, p_lse, p_lam, p_weight, p_lengths,
    o2_b, o2_h, o2_t, lam_b, lam_h, lam_t, lse_row,
    H, G, T, S, dv, c, norm_scale, eps,
    D: tl.constexpr, DV: tl.constexpr, P: tl.constexpr, BT: tl.constexpr,
    BS: tl.constexpr, TOGETHER: tl.constexpr, CAUSAL: tl.constexpr,
    PADDED: tl.constexpr, NORM: tl.constexpr, WEIGHT: tl.constexpr,
    KEEP: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """y = norm_scale * weight * RMSNorm(o), o = A1 v - lam A2 v.

    x_* are tensors as tiles.py moves them. With KEEP, what the backward pass
    needs is written too: o, o2 = A2 v and both log-sums.
    What a call does not need (x_o, p_o2) may be y again: it is not written.
    """
    i_b = tl.program_id(0) // H
    i_h = tl.program_id(0) % H
    i_t = tl.program_id(1)
    if CAUSAL:  # the last queries see most keys: long rows start first
        i_t = tl.num_programs(1) - 1 - i_t
    o_t = i_t * BT + tl.arange(0, BT)
    o_d = tl.arange(0, DV)
    shift = S - T
    n_keys = S
    if PADDED:
        n_keys = tl.minimum(S, tl.load(p_lengths + i_b).to(tl.int32))
    whole, end = key_range(i_t, n_keys, shift, BT=BT, BS=BS, CAUSAL=CAUSAL)
    # (BT, Dv), in 64 bits: a tensor may hold more than 2**31 elements
    at = i_b.to(tl.int64) * o2_b + i_h.to(tl.int64) * o2_h
    at = at + o_t.to(tl.int64)[:, None] * o2_t + o_d[None, :]
    m_o2 = (o_t < T)[:, None] & (o_d < dv)[None, :]

    # (BT, D)
    b_q1 = read_branch(x_q, i_b, i_h, 0, i_t * BT, N=BT, W=D, TMA=TMA)
    b_q2 = read_branch(x_q, i_b, i_h, 1, i_t * BT, N=BT, W=D, TMA=TMA)
    # (BT, Dv)
    b_acc = tl.zeros([BT, DV], tl.float32)
    # (BT,)
    b_top = tl.full([BT], float("-inf"), tl.float32)
    b_sum = tl.zeros([BT], tl.float32)
    # Each branch walks twice: keys that all queries see, then those at the
    # edge, with a mask. b_acc* are (BT, Dv); b_top*, b_sum*, b_lse* (BT,).
    if TOGETHER:
        b_acc1, b_top1, b_sum1, b_acc2, b_top2, b_sum2 = walk_both(
            b_acc, b_top, b_sum, b_acc, b_top, b_sum, b_q1, b_q2, x_k, x_v,
            i_b, i_h // G, 0, whole, o_t, n_keys, shift, c, D=D, DV=DV, P=P,
            BS=BS, CAUSAL=CAUSAL, PADDED=PADDED, MASKED=False, TMA=TMA,
        )  # fmt: skip
        b_acc1, b_top1, b_sum1, b_acc2, b_top2, b_sum2 = walk_both(
            b_acc1, b_top1, b_sum1, b_acc2, b_top2, b_sum2, b_q1, b_q2, x_k,
            x_v, i_b, i_h // G, whole, end, o_t, n_keys, shift, c, D=D, DV=DV,
            P=P, BS=BS, CAUSAL=CAUSAL, PADDED=PADDED, MASKED=True, TMA=TMA,
        )  # fmt: skip
        # (BT, Dv), (BT,)
        b_o2, b_lse2 = close(b_acc2, b_top2, b_sum2, c)
        if KEEP:
            tl.store(p_o2 + at, b_o2.to(p_o2.dtype.element_ty), m_o2)
        b_o1, b_lse1 = close(b_acc1, b_top1, b_sum1, c)
    else:
        b_acc2, b_top2, b_sum2 = walk_one(
            b_acc, b_top, b_sum, b_q2, x_k, x_v, i_b, i_h // G, P - 1, 0,
            whole, o_t, n_keys, shift, c, D=D, DV=DV, BS=BS, CAUSAL=CAUSAL,
            PADDED=PADDED, MASKED=False, TMA=TMA,
        )  # fmt: skip
        b_acc2, b_top2, b_sum2 = walk_one(
            b_acc2, b_top2, b_sum2, b_q2, x_k, x_v, i_b, i_h // G, P - 1,
            whole, end, o_t, n_keys, shift, c, D=D, DV=DV, BS=BS,
            CAUSAL=CAUSAL, PADDED=PADDED, MASKED=True, TMA=TMA,
        )  # fmt: skip
        # (BT, Dv), (BT,)
        b_o2, b_lse2 = close(b_acc2, b_top2, b_sum2, c)
        # It waits in memory: registers are needed for branch 1.
        tl.store(p_o2 + at, b_o2.to(p_o2.dtype.element_ty), m_o2)
        b_acc1, b_top1, b_sum1 = walk_one(
            b_acc, b_top, b_sum, b_q1, x_k, x_v, i_b, i_h // G, 0, 0, whole,
            o_t, n_keys, shift, c, D=D, DV=DV, BS=BS, CAUSAL=CAUSAL,
            PADDED=PADDED, MASKED=False, TMA=TMA,
        )  # fmt: skip
        b_acc1, b_top1, b_sum1 = walk_one(
            b_acc1, b_top1, b_sum1, b_q1, x_k, x_v, i_b, i_h // G, 0, whole,
            end, o_t, n_keys, shift, c, D=D, DV=DV, BS=BS, CAUSAL=CAUSAL,
            PADDED=PADDED, MASKED=True, TMA=TMA,
        )  # fmt: skip
        # (BT, Dv), (BT,)
        b_o1, b_lse1 = close(b_acc1, b_top1, b_sum1, c)
        tl.debug_barrier()  # another thread may have written what we read
        b_o2 = tl.load(p_o2 + at, m_o2, 0.0).to(tl.float32)

    # (BT,)
    at_lam = i_b * lam_b + i_h * lam_h + o_t * lam_t
    b_lam = tl.load(p_lam + at_lam, o_t < T, 0.0).to(tl.float32)
    # (BT, Dv)
    b_o = b_o1 - b_lam[:, None] * b_o2
    if KEEP:
        # (BT,)
        at_lse = (i_b * H + i_h).to(tl.int64) * 2 * lse_row + o_t
        tl.store(p_lse + at_lse, b_lse1, o_t < T)
        tl.store(p_lse + at_lse + lse_row, b_lse2, o_t < T)
    if NORM:
        if KEEP:
            write(x_o, b_o, i_b, i_h, i_t * BT, TMA=TMA)
        # (BT,); columns beyond dv are zeros and add nothing to the square
        b_r = inverse_root(tl.sum(b_o * b_o, 1) / dv + eps)
        # (BT, Dv)
        b_o = b_o * (b_r * norm_scale)[:, None]
        if WEIGHT:
            # (Dv,)
            b_w = tl.load(p_weight + o_d, o_d < dv, 0.0).to(tl.float32)
            # (BT, Dv)
            b_o = b_o * b_w[None, :]
    write(x_y, b_o, i_b, i_h, i_t * BT, TMA=TMA)
