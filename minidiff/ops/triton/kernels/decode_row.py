"""Decoding one row of queries against codes of 8 bits, in one kernel.

A tensor core would multiply a tile of 16 rows of which 15 are empty, and
before that, the codes would have to be converted and rearranged in shared
memory, with all warps waiting for each other. For a single row the plain
arithmetic units are fast enough: a code of the keys takes one multiplication
and addition, one of the values takes two. The thread that loads a code uses
it, so nothing is rearranged.

The keys of a split are dealt out to N streams: stream n takes the keys n,
n + N, n + 2N, ... A few threads share a stream, and each has its own running
softmax, so that no thread waits for another warp before the end, where the
streams are combined as the splits are in decode.py.
"""

import triton
import triton.language as tl

from minidiff.ops.triton.interpreter import INTERPRETED

# The interpreter does not run instructions of a GPU.
PERMUTED = tl.constexpr(not INTERPRETED)


@triton.jit
def widened(b_codes):
    """Return codes of 8 bits as float32.

    Both kinds are exact in float16, and converted to that two at a time. fp8
    has an instruction for it; that for int8 is 8 times slower than a
    multiplication. But the bits of the float16 number 1024 + u are 0x6400 + u
    for a byte u = code + 128, so permuting the bytes of four codes with 0x64
    makes four numbers.
    """
    if b_codes.dtype == tl.int8 and PERMUTED:
        b_half = tl.inline_asm_elementwise(
            """{
            .reg .b32 u;
            xor.b32 u, $2, 0x80808080;
            prmt.b32 $0, u, 0x64646464, 0x4140;
            prmt.b32 $1, u, 0x64646464, 0x4342;
            }""",
            "=r,=r,r",
            [b_codes],
            dtype=tl.float16,
            is_pure=True,
            pack=4,
        )
        return (b_half - 1152.0).to(tl.float32)
    return b_codes.to(tl.float16).to(tl.float32)


@triton.jit
def stream_weights(b_q, b_k, b_scale, b_top, b_sum, m_s):
    """Return the weights (U, N) of U keys of each stream, for one branch.

    b_q (D,) is a query in units of log2, b_k (U, N, D) are codes and b_scale
    (U, N) their scales. b_top and b_sum (N,) are the streams' maxima and sums.
    Also returns the factor of what was summed before, and both updated.
    """
    # (U, N)
    b_s = tl.sum(b_q[None, None, :] * widened(b_k), 2) * b_scale
    b_s = tl.where(m_s, b_s, float("-inf"))
    # (N,)
    b_new = tl.maximum(b_top, tl.max(b_s, 0))
    b_ref = tl.where(b_new == float("-inf"), 0.0, b_new)  # no keys so far
    b_shrink = tl.exp2(b_top - b_ref)
    # (U, N)
    b_p = tl.exp2(b_s - b_ref[None, :])
    return b_p, b_shrink, b_new, b_sum * b_shrink + tl.sum(b_p, 0)


@triton.jit
def added(b_acc, b_shrink, b_p, b_v):
    """Return the streams' sums (N, D) with U more values each."""
    return b_acc * b_shrink[:, None] + tl.sum(b_p[:, :, None] * b_v, 0)


@triton.jit
def write_split(
    p_acc, p_top, p_sum, at, dv, d, b_acc, b_acc_right, b_top, b_sum,
    D: tl.constexpr, DV: tl.constexpr,
):  # fmt: skip
    """Combine the streams of one branch, and write its partial result."""
    o_d = tl.arange(0, D)
    top = tl.max(b_top, 0)
    # (N,)
    b_share = tl.exp2(b_top - tl.where(top == float("-inf"), 0.0, top))
    tl.store(p_top + at, top)
    tl.store(p_sum + at, tl.sum(b_sum * b_share, 0))
    # (D,)
    p_acc += at * dv + o_d
    tl.store(p_acc, tl.sum(b_acc * b_share[:, None], 0), o_d < d)
    if DV > D:
        tl.store(p_acc + d, tl.sum(b_acc_right * b_share[:, None], 0), o_d < d)


@triton.jit
def decode_row_kernel(
    p_q, p_k, p_v, p_k_scale, p_v_scale, p_lengths, p_acc, p_top, p_sum,
    q_b, q_h, q_j, q_t, q_d, k_b, k_h, k_j, k_s, k_d, v_b, v_h, v_s, v_d,
    ks_b, ks_h, ks_j, ks_s, vs_b, vs_h, vs_s,
    HKV, G, T, S, d, dv, c, split,
    D: tl.constexpr, DV: tl.constexpr, P: tl.constexpr, BS: tl.constexpr,
    N: tl.constexpr, STAGES: tl.constexpr, CAUSAL: tl.constexpr,
    PADDED: tl.constexpr,
):  # fmt: skip
    """Compute both branches of one row for one split of the keys.

    The arguments and the partial results are those of decode_kernel. Values
    are as wide as keys or twice as wide; the right half is treated as a
    second tensor, so that keys and values are distributed over the threads in
    the same way.
    """
    U: tl.constexpr = BS // N
    i_b = tl.program_id(0) // HKV
    i_hkv = tl.program_id(0) % HKV
    i_split = tl.program_id(1)
    i_t = tl.program_id(2) % T
    i_h = i_hkv * G + tl.program_id(2) // T
    o_d = tl.arange(0, D)
    m_d = o_d < d
    # (D,)
    at_q = i_b.to(tl.int64) * q_b + i_h.to(tl.int64) * q_h + i_t * q_t
    at_q = at_q + o_d * q_d
    b_q1 = tl.load(p_q + at_q, m_d, 0.0).to(tl.float32) * c
    b_q2 = tl.load(p_q + at_q + q_j, m_d, 0.0).to(tl.float32) * c

    p_k += i_b.to(tl.int64) * k_b + i_hkv.to(tl.int64) * k_h
    p_v += i_b.to(tl.int64) * v_b + i_hkv.to(tl.int64) * v_h
    p_k_scale += i_b.to(tl.int64) * ks_b + i_hkv.to(tl.int64) * ks_h
    p_v_scale += i_b.to(tl.int64) * vs_b + i_hkv.to(tl.int64) * vs_h
    n_keys = S
    if PADDED:
        n_keys = tl.minimum(S, tl.load(p_lengths + i_b).to(tl.int32))
    if CAUSAL:
        n_keys = tl.minimum(n_keys, i_t + S - T + 1)
    start = i_split * split
    end = tl.minimum(start + split, n_keys)
    # (N, D), of both branches; right: the second half of wide values
    b_acc1 = tl.zeros([N, D], tl.float32)
    b_acc2 = tl.zeros([N, D], tl.float32)
    b_acc1_right = tl.zeros([N, D], tl.float32)
    b_acc2_right = tl.zeros([N, D], tl.float32)
    # (N,)
    b_top1 = tl.full([N], float("-inf"), tl.float32)
    b_top2 = tl.full([N], float("-inf"), tl.float32)
    b_sum1 = tl.zeros([N], tl.float32)
    b_sum2 = tl.zeros([N], tl.float32)
    # (U, N)
    o_block = tl.arange(0, U)[:, None] * N + tl.arange(0, N)[None, :]
    for start_s in tl.range(start, end, BS, num_stages=STAGES):
        o_s = start_s + o_block
        m_s = o_s < end
        at_s = o_s.to(tl.int64)
        b_k1_scale = tl.load(p_k_scale + at_s * ks_s, m_s, 0.0)
        b_k2_scale = b_k1_scale
        b_v_scale = tl.load(p_v_scale + at_s * vs_s, m_s, 0.0)
        # (U, N, D)
        m_codes = m_s[:, :, None] & m_d[None, None, :]
        at_k = at_s[:, :, None] * k_s + o_d[None, None, :] * k_d
        b_k1 = tl.load(p_k + at_k, m_codes, 0.0)
        b_k2 = b_k1
        if P == 2:
            at_scale = at_s * ks_s + ks_j
            b_k2_scale = tl.load(p_k_scale + at_scale, m_s, 0.0)
            b_k2 = tl.load(p_k + at_k + k_j, m_codes, 0.0)
        at_v = at_s[:, :, None] * v_s + o_d[None, None, :] * v_d
        b_v = widened(tl.load(p_v + at_v, m_codes, 0.0))
        # (U, N), (N,), (N,), (N,)
        b_p1, b_shrink1, b_top1, b_sum1 = stream_weights(
            b_q1, b_k1, b_k1_scale, b_top1, b_sum1, m_s
        )
        b_p2, b_shrink2, b_top2, b_sum2 = stream_weights(
            b_q2, b_k2, b_k2_scale, b_top2, b_sum2, m_s
        )
        b_p1 *= b_v_scale
        b_p2 *= b_v_scale
        # (N, D)
        b_acc1 = added(b_acc1, b_shrink1, b_p1, b_v)
        b_acc2 = added(b_acc2, b_shrink2, b_p2, b_v)
        if DV > D:
            b_v = widened(tl.load(p_v + at_v + d * v_d, m_codes, 0.0))
            b_acc1_right = added(b_acc1_right, b_shrink1, b_p1, b_v)
            b_acc2_right = added(b_acc2_right, b_shrink2, b_p2, b_v)

    # One partial result for each row, branch and split.
    n_split = tl.num_programs(1)
    o_row = (i_b * HKV * G + i_h).to(tl.int64) * T + i_t
    at = o_row * 2 * n_split + i_split
    write_split(
        p_acc, p_top, p_sum, at, dv, d, b_acc1, b_acc1_right, b_top1, b_sum1,
        D=D, DV=DV,
    )  # fmt: skip
    write_split(
        p_acc, p_top, p_sum, at + n_split, dv, d, b_acc2, b_acc2_right,
        b_top2, b_sum2, D=D, DV=DV,
    )  # fmt: skip
