"""The fused backward pass, in three kernels; all are bitwise reproducible.

    prepare_kernel     the norm's backward pass, and the row sums D1 and D2
    keys_kernel        dK1, dK2 and dV, of a block of keys in each program
    queries_kernel     dQ1 and dQ2, of a block of queries in each program

Let P2 = lam A2, so that o = (A1 - P2) v. Then:

    dP  = dO v'                     computed once for both branches
    dS1 = A1 * (dP - D1)            D1 = rowsum(dO * o1)
    dS2 = P2 * (D2 - dP)            D2 = rowsum(dO * o2)
    dV  = (A1 - P2)' dO             computed once for both branches
    dQj = scale * dSj Kj,  dKj = scale * dSj' Qj,  dlam = -D2

D1 and D2 are delta_1 and delta_2 in the rest of the package. The maps are
recomputed from q, k and the forward pass's log-sums.
"""

import triton
import triton.language as tl

from minidiff.ops.triton.kernels.softmax import (
    inverse_root,
    key_range,
    seen,
)
from minidiff.ops.triton.kernels.tiles import (
    read,
    read_branch,
    read_branch_row,
    read_row,
    write,
    write_branch,
)


@triton.jit
def prepare_kernel(
    p_dy, p_o, p_o2, p_do, p_weight, p_lam, p_delta, p_rows, p_dweight,
    dy_b, dy_h, dy_t, dy_d, o2_b, o2_h, o2_t, lam_b, lam_h, lam_t, row,
    H, T, dv, norm_scale, eps,
    DV: tl.constexpr, BT: tl.constexpr, NORM: tl.constexpr,
    WEIGHT: tl.constexpr,
):  # fmt: skip
    """Compute dO from dy, D1, D2, lam for each row, and a part of dw.

    o, o2 and do have the same strides.

    With g = norm_scale * w * dy and r = 1 / sqrt(mean(o^2) + eps):
    dO = r (g - o r^2 mean(g o)) and dw = sum of norm_scale * dy * o * r.
    """
    i_b = tl.program_id(0) // H
    i_h = tl.program_id(0) % H
    i_t = tl.program_id(1)
    o_t = i_t * BT + tl.arange(0, BT)
    o_d = tl.arange(0, DV)
    # (BT, Dv)
    m = (o_t < T)[:, None] & (o_d < dv)[None, :]
    at_dy = i_b.to(tl.int64) * dy_b + i_h.to(tl.int64) * dy_h
    at_dy = at_dy + o_t.to(tl.int64)[:, None] * dy_t
    at_dy = at_dy + o_d.to(tl.int64)[None, :] * dy_d
    at = i_b.to(tl.int64) * o2_b + i_h.to(tl.int64) * o2_h
    at = at + o_t.to(tl.int64)[:, None] * o2_t + o_d[None, :]
    b_dy = tl.load(p_dy + at_dy, m, 0.0).to(tl.float32)
    b_o = tl.load(p_o + at, m, 0.0).to(tl.float32)
    b_o2 = tl.load(p_o2 + at, m, 0.0).to(tl.float32)
    b_do = b_dy
    if NORM:
        # (BT, 1)
        b_r = inverse_root(tl.sum(b_o * b_o, 1) / dv + eps)[:, None]
        # (BT, Dv)
        b_g = b_dy * norm_scale
        if WEIGHT:
            # (Dv,)
            b_part = tl.sum(b_g * b_o * b_r, 0)
            i_part = tl.program_id(0) * tl.num_programs(1) + i_t
            at_part = i_part.to(tl.int64) * dv + o_d
            tl.store(p_dweight + at_part, b_part, o_d < dv)
            b_w = tl.load(p_weight + o_d, o_d < dv, 0.0).to(tl.float32)
            # (BT, Dv)
            b_g = b_g * b_w[None, :]
        # (BT, 1)
        b_mean = tl.sum(b_g * b_o, 1)[:, None] / dv
        # (BT, Dv)
        b_do = b_r * (b_g - b_o * b_r * b_r * b_mean)
    b_do = b_do.to(p_do.dtype.element_ty)
    tl.store(p_do + at, b_do, m)
    # Use the rounded dO, as the other kernels do.
    b_do = b_do.to(tl.float32)
    # (BT,)
    at_lam = i_b * lam_b + i_h * lam_h + o_t * lam_t
    b_lam = tl.load(p_lam + at_lam, o_t < T, 0.0).to(tl.float32)
    b_delta2 = tl.sum(b_do * b_o2, 1)
    b_delta1 = tl.sum(b_do * b_o, 1) + b_lam * b_delta2
    at_row = (i_b * H + i_h).to(tl.int64) * row + o_t
    at_delta = (i_b * H + i_h).to(tl.int64) * 2 * row + o_t
    tl.store(p_rows + at_row, b_lam, o_t < T)
    tl.store(p_delta + at_delta, b_delta1, o_t < T)
    tl.store(p_delta + at_delta + row, b_delta2, o_t < T)


@triton.jit
def keys_step(
    b_dk1, b_dk2, b_dv, b_k1, b_k2, b_v, x_q, x_do, x_lse, x_delta, x_lam,
    i_b, i_h, start_t, o_s, shift, c, D: tl.constexpr, DV: tl.constexpr,
    P: tl.constexpr, BT: tl.constexpr, KEYS: tl.constexpr,
    VALUES: tl.constexpr, MASKED: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """Add one block of queries to the sums; maps are transposed, (BS, BT)."""
    # (BT, D)
    b_q1 = read_branch(x_q, i_b, i_h, 0, start_t, N=BT, W=D, TMA=TMA)
    b_q2 = read_branch(x_q, i_b, i_h, 1, start_t, N=BT, W=D, TMA=TMA)
    # (BT, Dv)
    b_do = read(x_do, i_b, i_h, start_t, N=BT, W=DV, TMA=TMA)
    # Rows beyond T are read as zeros; with dO = 0 and D = 0 they add nothing.
    # (BT,)
    b_lse1 = read_branch_row(x_lse, i_b, i_h, 0, start_t, N=BT, TMA=TMA)
    b_lse2 = read_branch_row(x_lse, i_b, i_h, 1, start_t, N=BT, TMA=TMA)
    b_delta1 = read_branch_row(x_delta, i_b, i_h, 0, start_t, N=BT, TMA=TMA)
    b_delta2 = read_branch_row(x_delta, i_b, i_h, 1, start_t, N=BT, TMA=TMA)
    b_lam = read_row(x_lam, i_b, i_h, start_t, N=BT, TMA=TMA)
    # (BS, BT)
    b_s1 = tl.dot(b_k1, b_q1.T, input_precision="ieee")
    b_s2 = tl.dot(b_k2, b_q2.T, input_precision="ieee")
    b_p1 = tl.exp2(b_s1 * c - b_lse1[None, :])
    b_p2 = tl.exp2(b_s2 * c - b_lse2[None, :]) * b_lam[None, :]
    if MASKED:
        o_t = start_t + tl.arange(0, BT)
        m_seen = o_t[None, :] + shift >= o_s[:, None]
        b_p1 = tl.where(m_seen, b_p1, 0.0)
        b_p2 = tl.where(m_seen, b_p2, 0.0)
    if VALUES:
        # (BS, BT)
        b_p = (b_p1 - b_p2).to(b_do.dtype)
        # (BS, Dv)
        b_dv = tl.dot(b_p, b_do, b_dv, input_precision="ieee")
    if KEYS:
        # (BS, BT), and from these (BS, D)
        b_dp = tl.dot(b_v, b_do.T, input_precision="ieee")
        b_ds1 = (b_p1 * (b_dp - b_delta1[None, :])).to(b_q1.dtype)
        b_dk1 = tl.dot(b_ds1, b_q1, b_dk1, input_precision="ieee")
        b_ds2 = (b_p2 * (b_delta2[None, :] - b_dp)).to(b_q2.dtype)
        if P == 2:
            b_dk2 = tl.dot(b_ds2, b_q2, b_dk2, input_precision="ieee")
        else:
            b_dk1 = tl.dot(b_ds2, b_q2, b_dk1, input_precision="ieee")
    return b_dk1, b_dk2, b_dv


@triton.jit
def keys_kernel(
    x_q, x_k, x_v, x_do, x_lse, x_delta, x_lam, x_dk, x_dv, p_lengths,
    HKV, G, T, S, c, scale,
    D: tl.constexpr, DV: tl.constexpr, P: tl.constexpr, BT: tl.constexpr,
    BS: tl.constexpr, KEYS: tl.constexpr, VALUES: tl.constexpr,
    CAUSAL: tl.constexpr, PADDED: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """Compute dK1, dK2 and dV of BS keys, from all G heads that read them.

    One program sums over the whole group, so the order of the sum is fixed.
    If there are not enough registers for all three, the kernel is launched
    twice: with KEYS, then with VALUES.
    """
    i_b = tl.program_id(0) // HKV
    i_hkv = tl.program_id(0) % HKV
    # The first keys are seen by most queries.
    start_s = tl.program_id(1) * BS
    o_s = start_s + tl.arange(0, BS)
    shift = S - T
    # (BS, D)
    b_k1 = read_branch(x_k, i_b, i_hkv, 0, start_s, N=BS, W=D, TMA=TMA)
    b_k2 = b_k1
    if P == 2:
        b_k2 = read_branch(x_k, i_b, i_hkv, 1, start_s, N=BS, W=D, TMA=TMA)
    # (BS, Dv)
    b_v = read(x_v, i_b, i_hkv, start_s, N=BS, W=DV, TMA=TMA)
    # (BS,)
    m_real = o_s < S
    if PADDED:
        # Padding may hold NaN, but only in its own rows: zeroed at the end.
        m_real = o_s < tl.load(p_lengths + i_b)
    first = 0
    first_whole = 0
    if CAUSAL:  # key s is seen by the queries from t = s - shift on
        first = tl.maximum(start_s - shift, 0) // BT
        first_whole = tl.cdiv(tl.maximum(start_s + BS - 1 - shift, 0), BT)
    blocks = tl.cdiv(T, BT)
    first_whole = tl.minimum(first_whole, blocks)
    n_edge = first_whole - first  # blocks of queries of a head with a mask
    n_whole = blocks - first_whole
    # (BS, D)
    b_dk1 = tl.zeros([BS, D], tl.float32)
    b_dk2 = tl.zeros([BS, D], tl.float32)
    # (BS, Dv)
    b_dv = tl.zeros([BS, DV], tl.float32)
    # One loop over heads and blocks, as nested loops take more registers.
    if CAUSAL:
        for n in tl.range(0, G * n_edge):
            i_h = i_hkv * G + n // n_edge
            start_t = (first + n % n_edge) * BT
            b_dk1, b_dk2, b_dv = keys_step(
                b_dk1, b_dk2, b_dv, b_k1, b_k2, b_v, x_q, x_do, x_lse,
                x_delta, x_lam, i_b, i_h, start_t, o_s, shift, c, D=D, DV=DV,
                P=P, BT=BT, KEYS=KEYS, VALUES=VALUES, MASKED=True, TMA=TMA,
            )  # fmt: skip
    for n in tl.range(0, G * n_whole):
        i_h = i_hkv * G + n // n_whole
        start_t = (first_whole + n % n_whole) * BT
        b_dk1, b_dk2, b_dv = keys_step(
            b_dk1, b_dk2, b_dv, b_k1, b_k2, b_v, x_q, x_do, x_lse,
            x_delta, x_lam, i_b, i_h, start_t, o_s, shift, c, D=D, DV=DV,
            P=P, BT=BT, KEYS=KEYS, VALUES=VALUES, MASKED=False, TMA=TMA,
        )  # fmt: skip
    if KEYS:
        # (BS, D)
        b_dk1 = tl.where(m_real[:, None], b_dk1 * scale, 0.0)
        write_branch(x_dk, b_dk1, i_b, i_hkv, 0, start_s, TMA=TMA)
        if P == 2:
            b_dk2 = tl.where(m_real[:, None], b_dk2 * scale, 0.0)
            write_branch(x_dk, b_dk2, i_b, i_hkv, 1, start_s, TMA=TMA)
    if VALUES:
        # (BS, Dv)
        b_dv = tl.where(m_real[:, None], b_dv, 0.0)
        write(x_dv, b_dv, i_b, i_hkv, start_s, TMA=TMA)


@triton.jit
def queries_step(
    b_dq1, b_dq2, b_q1, b_q2, b_do, b_lse1, b_lse2, b_delta1, b_delta2,
    b_lam, x_k, x_v, i_b, i_hkv, start_s, o_t, n_keys, shift, c,
    D: tl.constexpr, DV: tl.constexpr, P: tl.constexpr, BS: tl.constexpr,
    CAUSAL: tl.constexpr, PADDED: tl.constexpr, MASKED: tl.constexpr,
    TMA: tl.constexpr,
):  # fmt: skip
    """Add one block of keys to the sums; maps are (BT, BS)."""
    o_s = start_s + tl.arange(0, BS)
    # (BS, D)
    b_k1 = read_branch(x_k, i_b, i_hkv, 0, start_s, N=BS, W=D, TMA=TMA)
    b_k2 = b_k1
    if P == 2:
        b_k2 = read_branch(x_k, i_b, i_hkv, 1, start_s, N=BS, W=D, TMA=TMA)
    # (BS, Dv)
    b_v = read(x_v, i_b, i_hkv, start_s, N=BS, W=DV, TMA=TMA)
    if MASKED and PADDED:
        # (BS, 1)
        m_real = (o_s < n_keys)[:, None]
        b_k1 = tl.where(m_real, b_k1, 0.0)
        b_k2 = tl.where(m_real, b_k2, 0.0)
        b_v = tl.where(m_real, b_v, 0.0)
    # (BT, BS)
    b_s1 = tl.dot(b_q1, b_k1.T, input_precision="ieee")
    b_s2 = tl.dot(b_q2, b_k2.T, input_precision="ieee")
    b_p1 = tl.exp2(b_s1 * c - b_lse1[:, None])
    b_p2 = tl.exp2(b_s2 * c - b_lse2[:, None]) * b_lam[:, None]
    if MASKED:
        m_seen = seen(o_t, o_s, n_keys, shift, CAUSAL=CAUSAL)
        b_p1 = tl.where(m_seen, b_p1, 0.0)
        b_p2 = tl.where(m_seen, b_p2, 0.0)
    # (BT, BS), and from these (BT, D)
    b_dp = tl.dot(b_do, b_v.T, input_precision="ieee")
    b_ds1 = (b_p1 * (b_dp - b_delta1[:, None])).to(b_k1.dtype)
    b_dq1 = tl.dot(b_ds1, b_k1, b_dq1, input_precision="ieee")
    b_ds2 = (b_p2 * (b_delta2[:, None] - b_dp)).to(b_k2.dtype)
    b_dq2 = tl.dot(b_ds2, b_k2, b_dq2, input_precision="ieee")
    return b_dq1, b_dq2


@triton.jit
def queries_kernel(
    x_q, x_k, x_v, x_do, x_lse, x_delta, x_lam, x_dq, p_lengths,
    H, G, T, S, c, scale,
    D: tl.constexpr, DV: tl.constexpr, P: tl.constexpr, BT: tl.constexpr,
    BS: tl.constexpr, CAUSAL: tl.constexpr, PADDED: tl.constexpr,
    TMA: tl.constexpr,
):  # fmt: skip
    """Compute dQ1 and dQ2 of BT queries, in a loop over the keys."""
    i_b = tl.program_id(0) // H
    i_h = tl.program_id(0) % H
    i_t = tl.program_id(1)
    if CAUSAL:
        i_t = tl.num_programs(1) - 1 - i_t
    shift = S - T
    n_keys = S
    if PADDED:
        n_keys = tl.minimum(S, tl.load(p_lengths + i_b).to(tl.int32))
    whole, end = key_range(i_t, n_keys, shift, BT=BT, BS=BS, CAUSAL=CAUSAL)
    start_t = i_t * BT
    o_t = start_t + tl.arange(0, BT)
    # (BT, D)
    b_q1 = read_branch(x_q, i_b, i_h, 0, start_t, N=BT, W=D, TMA=TMA)
    b_q2 = read_branch(x_q, i_b, i_h, 1, start_t, N=BT, W=D, TMA=TMA)
    # (BT, Dv)
    b_do = read(x_do, i_b, i_h, start_t, N=BT, W=DV, TMA=TMA)
    # (BT,)
    b_lse1 = read_branch_row(x_lse, i_b, i_h, 0, start_t, N=BT, TMA=TMA)
    b_lse2 = read_branch_row(x_lse, i_b, i_h, 1, start_t, N=BT, TMA=TMA)
    b_delta1 = read_branch_row(x_delta, i_b, i_h, 0, start_t, N=BT, TMA=TMA)
    b_delta2 = read_branch_row(x_delta, i_b, i_h, 1, start_t, N=BT, TMA=TMA)
    b_lam = read_row(x_lam, i_b, i_h, start_t, N=BT, TMA=TMA)
    # (BT, D)
    b_dq1 = tl.zeros([BT, D], tl.float32)
    b_dq2 = tl.zeros([BT, D], tl.float32)
    for start_s in tl.range(0, whole, BS):
        b_dq1, b_dq2 = queries_step(
            b_dq1, b_dq2, b_q1, b_q2, b_do, b_lse1, b_lse2, b_delta1,
            b_delta2, b_lam, x_k, x_v, i_b, i_h // G, start_s, o_t, n_keys,
            shift, c, D=D, DV=DV, P=P, BS=BS, CAUSAL=CAUSAL, PADDED=PADDED,
            MASKED=False, TMA=TMA,
        )  # fmt: skip
    for start_s in tl.range(whole, end, BS):
        b_dq1, b_dq2 = queries_step(
            b_dq1, b_dq2, b_q1, b_q2, b_do, b_lse1, b_lse2, b_delta1,
            b_delta2, b_lam, x_k, x_v, i_b, i_h // G, start_s, o_t, n_keys,
            shift, c, D=D, DV=DV, P=P, BS=BS, CAUSAL=CAUSAL, PADDED=PADDED,
            MASKED=True, TMA=TMA,
        )  # fmt: skip
    write_branch(x_dq, b_dq1 * scale, i_b, i_h, 0, start_t, TMA=TMA)
    write_branch(x_dq, b_dq2 * scale, i_b, i_h, 1, start_t, TMA=TMA)
