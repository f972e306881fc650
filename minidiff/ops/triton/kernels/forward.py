"""The fused forward pass: two running softmaxes, one subtraction, one norm.

One program computes a block of BT queries of one head. It loops over blocks
of keys, from the first key to the last one that these queries see. The two
branches cannot share an accumulator, because each is rescaled by its own
running maximum until the last key. So there are two ways:

    together  one loop computes both branches: V is read once, and two
              accumulators of BT x Dv are in registers
    in turn   a first loop computes branch 2 and stores its output in memory,
              a second one computes branch 1: V is read twice (the second
              time mostly from L2), but only one accumulator is in registers
"""

import triton
import triton.language as tl

from minidiff.ops.triton.kernels.softmax import (
    close,
    key_range,
    normalised,
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
    """Take the keys from start to end into the softmaxes of both branches."""
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

    x_* are tensors in one of the two forms of tiles.py. With KEEP, the kernel
    also writes what the backward pass needs: o, o2 = A2 v and the logarithms
    of both sums. Without it, y may be passed for x_o and p_o2, which are not
    written then.
    """
    i_b = tl.program_id(0) // H
    i_h = tl.program_id(0) % H
    i_t = tl.program_id(1)
    if CAUSAL:  # start with the last queries, which see the most keys
        i_t = tl.num_programs(1) - 1 - i_t
    o_t = i_t * BT + tl.arange(0, BT)
    o_d = tl.arange(0, DV)
    shift = S - T
    n_keys = S
    if PADDED:
        n_keys = tl.minimum(S, tl.load(p_lengths + i_b).to(tl.int32))
    whole, end = key_range(i_t, n_keys, shift, BT=BT, BS=BS, CAUSAL=CAUSAL)
    # (BT, Dv), 64-bit: a tensor may have more than 2**31 elements
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
    # First the keys that all queries of the block see, without a mask, then
    # the others, with one. b_acc* are (BT, Dv); b_top*, b_sum*, b_lse* (BT,).
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
        # Stored in memory, because branch 1 needs the registers.
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
        tl.debug_barrier()  # other threads have written what this one reads
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
        b_o = normalised(
            b_o, p_weight, o_d, dv, norm_scale, eps, WEIGHT=WEIGHT
        )
    write(x_y, b_o, i_b, i_h, i_t * BT, TMA=TMA)
