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

    Both kinds are exact in float16. fp8 has an instruction that converts two
    codes to it at once; int8 has none. But the bits of the float16 number
    1024 + u are 0x6400 + u for every byte u, here code + 128. So permuting
    the bytes of four codes with 0x64 makes four numbers in two instructions.
    """
    if b_codes.dtype == tl.int8 and PERMUTED:
        # (of the shape of b_codes)
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
def stream_logits(b_q, p_k, p_scale, m_codes, m_s):
    """Return the logits (N,) of one key of each stream, for one branch.

    b_q (D,) is the query in units of log2, p_k (N, D) points to the codes and
    p_scale (N,) to their scales.
    """
    # (N, D)
    b_k = widened(tl.load(p_k, m_codes, 0.0))
    # (N,)
    b_scale = tl.load(p_scale, m_s, 0.0).to(tl.float32)
    b_s = tl.sum(b_q[None, :] * b_k, 1) * b_scale
    return tl.where(m_s, b_s, float("-inf"))


@triton.jit
def stream_weights(b_s, b_top, b_sum, U: tl.constexpr):
    """Turn U logits of each stream, a tuple of (N,), into weights.

    Also returns the factor by which what was summed before is to be
    multiplied, and the streams' new maxima and sums (N,).
    """
    # (N,)
    b_new = b_top
    for u in tl.static_range(U):
        b_new = tl.maximum(b_new, b_s[u])
    # In a stream without keys so far, -inf minus -inf would be NaN.
    b_ref = tl.where(b_new == float("-inf"), 0.0, b_new)
    b_shrink = tl.exp2(b_top - b_ref)
    b_sum *= b_shrink
    b_p: tl.tuple = ()
    for u in tl.static_range(U):
        b_p += (tl.exp2(b_s[u] - b_ref),)
        b_sum += b_p[u]
    return b_p, b_shrink, b_new, b_sum


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
    o_n = tl.arange(0, N)
    for start_s in tl.range(start, end, BS, num_stages=STAGES):
        # Tuples of U tensors, one for each of a stream's keys in this block.
        b_s1: tl.tuple = ()
        b_s2: tl.tuple = ()
        b_v: tl.tuple = ()
        b_v_right: tl.tuple = ()
        b_v_scale: tl.tuple = ()
        for u in tl.static_range(U):
            o_s = start_s + u * N + o_n
            m_s = o_s < end
            m_codes = m_s[:, None] & m_d[None, :]
            at_s = o_s.to(tl.int64)
            p_key = p_k + at_s[:, None] * k_s + o_d[None, :] * k_d
            p_scale = p_k_scale + at_s * ks_s
            b_s1 += (stream_logits(b_q1, p_key, p_scale, m_codes, m_s),)
            if P == 2:
                p_key += k_j
                p_scale += ks_j
            b_s2 += (stream_logits(b_q2, p_key, p_scale, m_codes, m_s),)
            p_value = p_v + at_s[:, None] * v_s + o_d[None, :] * v_d
            b_v += (tl.load(p_value, m_codes, 0.0),)
            if DV > D:
                b_v_right += (tl.load(p_value + d * v_d, m_codes, 0.0),)
            b_scale = tl.load(p_v_scale + at_s * vs_s, m_s, 0.0)
            b_v_scale += (b_scale.to(tl.float32),)
        b_p1, b_shrink1, b_top1, b_sum1 = stream_weights(
            b_s1, b_top1, b_sum1, U=U
        )
        b_p2, b_shrink2, b_top2, b_sum2 = stream_weights(
            b_s2, b_top2, b_sum2, U=U
        )
        b_acc1 *= b_shrink1[:, None]
        b_acc2 *= b_shrink2[:, None]
        b_acc1_right *= b_shrink1[:, None]
        b_acc2_right *= b_shrink2[:, None]
        for u in tl.static_range(U):
            # (N, 1)
            b_w1 = (b_p1[u] * b_v_scale[u])[:, None]
            b_w2 = (b_p2[u] * b_v_scale[u])[:, None]
            # (N, D)
            b_x = widened(b_v[u])
            b_acc1 += b_w1 * b_x
            b_acc2 += b_w2 * b_x
            if DV > D:
                b_x = widened(b_v_right[u])
                b_acc1_right += b_w1 * b_x
                b_acc2_right += b_w2 * b_x

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
