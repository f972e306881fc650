"""Steps that the kernels share: running softmax, norm and causal mask."""

import triton
import triton.language as tl


@triton.jit
def key_range(
    i_t, n_keys, shift, BT: tl.constexpr, BS: tl.constexpr,
    CAUSAL: tl.constexpr,
):  # fmt: skip
    """Return two numbers of keys for a block of queries: whole and end.

    All queries of the block see the first ``whole`` keys, a multiple of BS,
    so those need no mask. No query sees a key from ``end`` on.
    """
    end = n_keys
    whole = n_keys
    if CAUSAL:  # query t sees keys up to t + shift, shift = S - T
        end = tl.minimum(n_keys, (i_t + 1) * BT + shift)
        whole = tl.minimum(n_keys, i_t * BT + shift + 1)
    return whole // BS * BS, end


@triton.jit
def seen(o_t, o_s, n_keys, shift, CAUSAL: tl.constexpr):
    """Return the mask: which of the keys o_s each of the queries o_t sees."""
    # (1, BS), and causal (BT, BS)
    m_seen = (o_s < n_keys)[None, :]
    if CAUSAL:
        m_seen = m_seen & (o_t[:, None] + shift >= o_s[None, :])
    return m_seen


@triton.jit
def softmax_step(
    b_acc, b_top, b_sum, b_q, b_k, b_v, m_seen, c,
    MASKED: tl.constexpr,
):  # fmt: skip
    """Take one block of keys and values into a running softmax.

    b_acc (BT, Dv) is the output before normalisation, b_top (BT,) the largest
    logit so far, before scaling, and b_sum (BT,) the sum of the exponentials
    relative to it. c is the scale times log2(e), because exp2 is one
    instruction and exp is two.
    """
    # (BT, BS)
    b_s = tl.dot(b_q, b_k.T, input_precision="ieee")
    # (BT, BS), (BT, Dv), (BT,), (BT,)
    b_p, b_acc, b_top, b_sum = weigh(
        b_s, b_acc, b_top, b_sum, m_seen, c, MASKED=MASKED
    )
    b_acc = tl.dot(b_p.to(b_v.dtype), b_v, b_acc, input_precision="ieee")
    return b_acc, b_top, b_sum


@triton.jit
def low_bit_step(
    b_acc, b_top, b_sum, b_q, b_k, b_v, b_k_scale, b_v_scale, m_seen, c,
):  # fmt: skip
    """Do the same with codes of 8 bits and a scale (BS,) for each key.

    The codes are exact in 16 bits. A key's scale multiplies its logit, and
    that of its value multiplies its weight, so both cost a multiplication for
    an entry of the map instead of one for each entry of the keys.
    """
    # (BT, BS)
    b_s = tl.dot(b_q, b_k.to(b_q.dtype).T, input_precision="ieee")
    b_s = b_s * b_k_scale[None, :]
    # (BT, BS), (BT, Dv), (BT,), (BT,)
    b_p, b_acc, b_top, b_sum = weigh(
        b_s, b_acc, b_top, b_sum, m_seen, c, MASKED=True
    )
    # (BT, BS)
    b_p = (b_p * b_v_scale[None, :]).to(b_q.dtype)
    # (BT, Dv)
    b_v = b_v.to(b_q.dtype)
    b_acc = tl.dot(b_p, b_v, b_acc, input_precision="ieee")
    return b_acc, b_top, b_sum


@triton.jit
def weigh(b_s, b_acc, b_top, b_sum, m_seen, c, MASKED: tl.constexpr):
    """Turn logits (BT, BS) into weights relative to the new maximum.

    Returns them, and b_acc, b_top and b_sum with these keys in the maximum
    and the sum; their values are still to be added to b_acc.
    """
    if MASKED:
        # (BT, BS)
        b_s = tl.where(m_seen, b_s, float("-inf"))
    # (BT,)
    b_new = tl.maximum(b_top, tl.max(b_s, 1))
    b_ref = b_new
    if MASKED:  # in a row without keys so far, -inf minus -inf would be NaN
        b_ref = tl.where(b_new == float("-inf"), 0.0, b_new)
    # (BT, BS); s * c - ref * c compiles to one fused instruction
    b_p = tl.exp2(b_s * c - (b_ref * c)[:, None])
    # (BT,)
    b_shrink = tl.exp2((b_top - b_ref) * c)
    b_sum = b_sum * b_shrink + tl.sum(b_p, 1)
    return b_p, b_acc * b_shrink[:, None], b_new, b_sum


@triton.jit
def close(b_acc, b_top, b_sum, c):
    """Return a branch's output and log2 of its sum of exponentials.

    A row without keys gets zeros and +inf, so that the backward pass computes
    weights of exp2(-inf) = 0.
    """
    # (BT,)
    m_any = b_sum > 0
    b_sum = tl.where(m_any, b_sum, 1.0)
    b_lse = tl.where(m_any, b_top * c + tl.log2(b_sum), float("inf"))
    return b_acc / b_sum[:, None], b_lse


@triton.jit
def inverse_root(b_square):
    """Return 1 / sqrt(x), and 0 for x = 0: a row of zeros with eps = 0."""
    return tl.where(b_square > 0, tl.rsqrt(b_square), 0.0)


@triton.jit
def normalised(b_o, p_weight, o_d, dv, norm_scale, eps, WEIGHT: tl.constexpr):
    """Return norm_scale * weight * RMSNorm(o) of rows (BT, Dv).

    Columns beyond dv are zeros and do not change the sum.
    """
    # (BT,)
    b_r = inverse_root(tl.sum(b_o * b_o, 1) / dv + eps)
    # (BT, Dv)
    b_o = b_o * (b_r * norm_scale)[:, None]
    if WEIGHT:
        # (Dv,)
        b_w = tl.load(p_weight + o_d, o_d < dv, 0.0).to(tl.float32)
        # (BT, Dv)
        b_o = b_o * b_w[None, :]
    return b_o
