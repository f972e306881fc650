"""Decoding: a few queries against a long cache, in two kernels.

With one program for each key head, the queries of one token would use only a
few of a GPU's multiprocessors. So the cache is cut into splits, which are
computed in parallel (split-K), and a second, small kernel combines their
softmaxes. Every key and value is read once, for both branches and for all
query heads that share it.

One or two rows of queries against codes of 8 bits have another first kernel,
decode_row.py.
"""

import triton
import triton.language as tl

from minidiff.ops.triton.kernels.softmax import (
    inverse_root,
    low_bit_step,
    seen,
    softmax_step,
)


@triton.jit
def decode_kernel(
    p_q, p_k, p_v, p_k_scale, p_v_scale, p_lengths, p_acc, p_top, p_sum,
    q_b, q_h, q_j, q_t, q_d, k_b, k_h, k_j, k_s, k_d, v_b, v_h, v_s, v_d,
    ks_b, ks_h, ks_j, ks_s, vs_b, vs_h, vs_s,
    HKV, G, T, S, d, dv, c, split,
    D: tl.constexpr, DV: tl.constexpr, P: tl.constexpr, BT: tl.constexpr,
    BS: tl.constexpr, CAUSAL: tl.constexpr, PADDED: tl.constexpr,
    LOW: tl.constexpr,
):  # fmt: skip
    """Compute both branches for one split of the keys of one key head.

    With LOW, keys and values are codes of 8 bits, and p_k_scale and p_v_scale
    have a scale for each key, head and branch.

    The BT rows are queries of the G heads that share the key head: row r is
    query r % T of head r // T. Outputs are written before normalisation,
    because branches can be subtracted only after each softmax has all its
    keys.
    """
    i_b = tl.program_id(0) // HKV
    i_hkv = tl.program_id(0) % HKV
    i_split = tl.program_id(1)
    o_r = tl.program_id(2) * BT + tl.arange(0, BT)
    o_t = o_r % T
    o_h = i_hkv * G + o_r // T
    o_d = tl.arange(0, D)
    o_dv = tl.arange(0, DV)
    m_r = o_r < G * T
    # (BT, D)
    m_q = m_r[:, None] & (o_d < d)[None, :]
    at_q = i_b.to(tl.int64) * q_b + o_h.to(tl.int64)[:, None] * q_h
    at_q = at_q + o_t[:, None] * q_t + o_d[None, :] * q_d
    b_q1 = tl.load(p_q + at_q, m_q, 0.0)
    b_q2 = tl.load(p_q + at_q + q_j, m_q, 0.0)

    p_k += i_b.to(tl.int64) * k_b + i_hkv.to(tl.int64) * k_h
    p_v += i_b.to(tl.int64) * v_b + i_hkv.to(tl.int64) * v_h
    if LOW:
        p_k_scale += i_b.to(tl.int64) * ks_b + i_hkv.to(tl.int64) * ks_h
        p_v_scale += i_b.to(tl.int64) * vs_b + i_hkv.to(tl.int64) * vs_h
    n_keys = S
    if PADDED:
        n_keys = tl.minimum(S, tl.load(p_lengths + i_b).to(tl.int32))
    start = i_split * split
    end = tl.minimum(start + split, n_keys)
    # (BT, Dv)
    b_acc1 = tl.zeros([BT, DV], tl.float32)
    b_acc2 = tl.zeros([BT, DV], tl.float32)
    # (BT,)
    b_top1 = tl.full([BT], float("-inf"), tl.float32)
    b_top2 = tl.full([BT], float("-inf"), tl.float32)
    b_sum1 = tl.zeros([BT], tl.float32)
    b_sum2 = tl.zeros([BT], tl.float32)
    for start_s in tl.range(start, end, BS):
        o_s = start_s + tl.arange(0, BS)
        m_s = (o_s < end)[:, None]
        at_s = o_s.to(tl.int64)[:, None]
        # (BS, D)
        m_k = m_s & (o_d < d)[None, :]
        at_k = at_s * k_s + o_d[None, :] * k_d
        b_k1 = tl.load(p_k + at_k, m_k, 0.0)
        b_k2 = b_k1
        if P == 2:
            b_k2 = tl.load(p_k + at_k + k_j, m_k, 0.0)
        # (BS, Dv)
        at_v = at_s * v_s + o_dv[None, :] * v_d
        b_v = tl.load(p_v + at_v, m_s & (o_dv < dv)[None, :], 0.0)
        # (BT, BS)
        m_seen = seen(o_t, o_s, end, S - T, CAUSAL=CAUSAL)
        # b_acc* are (BT, Dv); b_top*, b_sum* (BT,); b_*_scale (BS,)
        if LOW:
            at_scale = o_s.to(tl.int64)
            b_k1_scale = tl.load(p_k_scale + at_scale * ks_s, o_s < end, 0.0)
            b_k2_scale = b_k1_scale
            if P == 2:
                b_k2_scale = tl.load(
                    p_k_scale + ks_j + at_scale * ks_s, o_s < end, 0.0
                )
            b_v_scale = tl.load(p_v_scale + at_scale * vs_s, o_s < end, 0.0)
            b_v_scale = b_v_scale.to(tl.float32)
            b_acc1, b_top1, b_sum1 = low_bit_step(
                b_acc1, b_top1, b_sum1, b_q1, b_k1, b_v,
                b_k1_scale.to(tl.float32), b_v_scale, m_seen, c,
            )  # fmt: skip
            b_acc2, b_top2, b_sum2 = low_bit_step(
                b_acc2, b_top2, b_sum2, b_q2, b_k2, b_v,
                b_k2_scale.to(tl.float32), b_v_scale, m_seen, c,
            )  # fmt: skip
        else:
            b_acc1, b_top1, b_sum1 = softmax_step(
                b_acc1, b_top1, b_sum1, b_q1, b_k1, b_v, m_seen, c,
                MASKED=True,
            )  # fmt: skip
            b_acc2, b_top2, b_sum2 = softmax_step(
                b_acc2, b_top2, b_sum2, b_q2, b_k2, b_v, m_seen, c,
                MASKED=True,
            )  # fmt: skip

    # (BT,): one element for each row, branch and split
    n_split = tl.num_programs(1)
    o_row = (i_b * HKV * G + o_h).to(tl.int64) * T + o_t
    at1 = o_row * 2 * n_split + i_split
    at2 = at1 + n_split
    tl.store(p_top + at1, b_top1 * c, m_r)
    tl.store(p_top + at2, b_top2 * c, m_r)
    tl.store(p_sum + at1, b_sum1, m_r)
    tl.store(p_sum + at2, b_sum2, m_r)
    # (BT, Dv)
    m_acc = m_r[:, None] & (o_dv < dv)[None, :]
    tl.store(p_acc + at1[:, None] * dv + o_dv[None, :], b_acc1, m_acc)
    tl.store(p_acc + at2[:, None] * dv + o_dv[None, :], b_acc2, m_acc)


@triton.jit
def join_splits(
    p_acc, p_top, p_sum, at, n_split, dv,
    DV: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Combine the splits of one branch of one row.

    Each split is rescaled to the common maximum of all.
    """
    o_n = tl.arange(0, SPLITS)
    o_d = tl.arange(0, DV)
    m_n = o_n < n_split
    # (SPLITS,)
    b_top = tl.load(p_top + at + o_n, m_n, float("-inf"))
    b_sum = tl.load(p_sum + at + o_n, m_n, 0.0)
    top = tl.max(b_top, 0)
    top = tl.where(top == float("-inf"), 0.0, top)
    b_share = tl.exp2(b_top - top)
    total = tl.sum(b_share * b_sum, 0)
    # (SPLITS, Dv)
    m_acc = m_n[:, None] & (o_d < dv)[None, :]
    at_acc = (at + o_n)[:, None] * dv + o_d[None, :]
    b_acc = tl.load(p_acc + at_acc, m_acc, 0.0)
    # (Dv,)
    b_out = tl.sum(b_share[:, None] * b_acc, 0)
    return b_out / tl.where(total > 0, total, 1.0)


@triton.jit
def combine_kernel(
    p_acc, p_top, p_sum, p_lam, p_weight, p_y,
    lam_b, lam_h, lam_t, y_b, y_h, y_t,
    H, T, n_split, dv, norm_scale, eps,
    DV: tl.constexpr, SPLITS: tl.constexpr, NORM: tl.constexpr,
    WEIGHT: tl.constexpr,
):  # fmt: skip
    """Combine the splits of one row, subtract the branches, normalise."""
    i_row = tl.program_id(0).to(tl.int64)
    i_t = i_row % T
    i_h = i_row // T % H
    i_b = i_row // T // H
    at = i_row * 2 * n_split
    # (Dv,)
    b_o1 = join_splits(
        p_acc, p_top, p_sum, at, n_split, dv, DV=DV, SPLITS=SPLITS
    )
    at += n_split
    b_o2 = join_splits(
        p_acc, p_top, p_sum, at, n_split, dv, DV=DV, SPLITS=SPLITS
    )
    at_lam = i_b * lam_b + i_h * lam_h + i_t * lam_t
    lam = tl.load(p_lam + at_lam).to(tl.float32)
    b_o = b_o1 - lam * b_o2
    o_d = tl.arange(0, DV)
    if NORM:
        b_r = inverse_root(tl.sum(b_o * b_o, 0) / dv + eps)
        b_o = b_o * (b_r * norm_scale)
        if WEIGHT:
            b_o *= tl.load(p_weight + o_d, o_d < dv, 0.0).to(tl.float32)
    at_y = i_b * y_b + i_h * y_h + i_t * y_t + o_d
    tl.store(p_y + at_y, b_o.to(p_y.dtype.element_ty), o_d < dv)
