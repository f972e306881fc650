"""Flash attention, forward: softmax(q k') v without ever holding the map.

Chapter 10 builds it. One softmax, in steps of one block of keys: simple and
complete, right for any lengths and any strides between heads and rows.
"""

from math import e, log2

import torch
import triton
import triton.language as tl
from torch import Tensor

from minidiff.course.kernels.memory import refuse_bf16

LOG2_E = log2(e)
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@triton.jit
def softmax_step(b_acc, b_top, b_sum, b_s, b_v):
    """Take one block of keys into a running softmax; return what it holds.

    b_top (BT,) is the largest score so far. A key's weight is
    2 ** (score - b_top): b_sum (BT,) is the sum of the weights, b_acc
    (BT, DV) that of weights times values, not divided yet. b_s (BT, BS) are
    the block's scores in base 2, -inf where hidden, and b_v (BS, DV) its
    values. No row's first block may be hidden whole: -inf minus -inf is NaN.
    """
    # (BT,)
    b_new = tl.maximum(b_top, tl.max(b_s, 1))
    b_shrink = tl.exp2(b_top - b_new)
    # (BT, BS)
    b_p = tl.exp2(b_s - b_new[:, None])
    # (BT,)
    b_sum = b_sum * b_shrink + tl.sum(b_p, 1)
    # (BT, DV)
    b_acc = b_acc * b_shrink[:, None]
    b_acc = tl.dot(b_p.to(b_v.dtype), b_v, b_acc, input_precision="ieee")
    return b_acc, b_new, b_sum


@triton.jit
def flash_kernel(
    p_q, p_k, p_v, p_out, p_lse,
    q_n, q_t, k_n, k_s, v_n, v_s, out_n, out_t, lse_n,
    T, S, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
    CAUSAL: tl.constexpr,
):  # fmt: skip
    """out = softmax(q k') v and each row's log-sum, for BT queries of a head.

    q (N, T, D), k (N, S, D), v (N, S, DV), out (N, T, DV), lse (N, T): N
    heads. q_n and q_t are the strides of q between heads and between rows,
    and so on; numbers of a row lie side by side. c is the scale times
    log2(e). Causal: query t sees keys 0 to t + S - T, and T <= S. The grid is
    (N, blocks of queries).
    """
    i_n = tl.program_id(0).to(tl.int64)  # tensors may exceed 2**31 numbers
    i_t = tl.program_id(1)
    o_t = i_t * BT + tl.arange(0, BT)
    o_d = tl.arange(0, D)
    o_v = tl.arange(0, DV)
    m_t = o_t < T
    # (BT, D)
    at_q = i_n * q_n + o_t[:, None] * q_t + o_d[None, :]
    b_q = tl.load(p_q + at_q, m_t[:, None], 0.0)
    # (BT, DV)
    b_acc = tl.zeros([BT, DV], tl.float32)
    # (BT,)
    b_top = tl.full([BT], float("-inf"), tl.float32)
    b_sum = tl.zeros([BT], tl.float32)

    shift = S - T
    whole = S  # keys before this one are seen by every query of the block
    end = S  # from this one on no query sees any
    if CAUSAL:
        whole = tl.minimum(S, i_t * BT + shift + 1)
        end = tl.minimum(S, (i_t + 1) * BT + shift)
    for start_s in range(0, end, BS):
        o_s = start_s + tl.arange(0, BS)
        m_s = o_s < S
        # (BS, D)
        at_k = i_n * k_n + o_s[:, None] * k_s + o_d[None, :]
        b_k = tl.load(p_k + at_k, m_s[:, None], 0.0)
        # (BS, DV)
        at_v = i_n * v_n + o_s[:, None] * v_s + o_v[None, :]
        b_v = tl.load(p_v + at_v, m_s[:, None], 0.0)
        # (BT, BS)
        b_s = tl.dot(b_q, b_k.T, input_precision="ieee") * c
        if start_s + BS > whole:
            # (1, BS), and causal (BT, BS)
            m_seen = m_s[None, :]
            if CAUSAL:
                m_seen = m_seen & (o_t[:, None] + shift >= o_s[None, :])
            b_s = tl.where(m_seen, b_s, float("-inf"))
        # (BT, DV), (BT,), (BT,)
        b_acc, b_top, b_sum = softmax_step(b_acc, b_top, b_sum, b_s, b_v)

    # (BT, DV)
    at_out = i_n * out_n + o_t[:, None] * out_t + o_v[None, :]
    tl.store(p_out + at_out, b_acc / b_sum[:, None], m_t[:, None])
    tl.store(p_lse + i_n * lse_n + o_t, b_top + tl.log2(b_sum), m_t)


def blocks_seen(
    i_t: int, T: int, S: int, BT: int, BS: int
) -> tuple[int, int, int]:
    """Return how many blocks of keys are whole, masked and skipped.

    For block i_t of BT queries: the first is i_t * BT. Query t sees keys 0 to
    t + S - T, T <= S; the last blocks may be cut short by T and S. Whole: all
    BS keys exist and every query of the block sees them. Skipped: none sees
    any. Masked: the rest.
    """
    first = i_t * BT + S - T + 1  # keys that the first query sees
    last = min(S, first + BT - 1)
    whole = min(S, first) // BS
    visited = -(-last // BS)
    return whole, visited - whole, -(-S // BS) - visited


def flash(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = True,
    scale: float | None = None,
    BT: int = 64,
    BS: int = 32,
) -> tuple[Tensor, Tensor]:
    """Return softmax(scale q k') v and each row's log-sum, in base 2.

    q (N, T, D), k (N, S, D), v (N, S, Dv), for N heads; the result is
    (N, T, Dv), in q's dtype, and (N, T), in float32. Causal: query t sees
    keys 0 to t + S - T. The scale is 1 / sqrt(D) unless given. D and Dv are
    powers of two from 16. BT queries by BS keys are taken at a time, powers
    of two, on a GPU 16 or more. Raises ValueError for other shapes, TypeError
    for dtypes that differ or have no form, and for bfloat16 in the
    interpreter.
    """
    _refuse(q, k, v, causal=causal)
    N, T, D = q.shape
    S, DV = v.shape[1:]
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
    out = q.new_empty(N, T, DV)
    lse = q.new_empty(N, T, dtype=torch.float32)
    c = (D**-0.5 if scale is None else scale) * LOG2_E
    flash_kernel[(N, triton.cdiv(T, BT))](
        q, k, v, out, lse,
        *q.stride()[:2], *k.stride()[:2], *v.stride()[:2],
        *out.stride()[:2], lse.stride(0),
        T, S, c, D=D, DV=DV, BT=BT, BS=BS, CAUSAL=causal,
    )  # fmt: skip
    return out, lse


def _refuse(q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> None:
    """Refuse inputs the kernel does not support, by name."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.ndim != 3:
            raise ValueError(
                f"{name}: got shape {tuple(x.shape)}, expected (heads, "
                "length, width)"
            )
        width = x.shape[2]
        if width < 16 or width & (width - 1):
            raise ValueError(
                f"{name}: got width {width}, expected a power of two, 16 or "
                "more"
            )
        if x.dtype != q.dtype or x.dtype not in DTYPES:
            raise TypeError(
                f"{name}: got {x.dtype}, expected float32, float16 or "
                "bfloat16, the same for q, k and v"
            )
        refuse_bf16(x, name)
    (N, T, D), S = q.shape, k.shape[1]
    if k.shape != (N, S, D):
        raise ValueError(
            f"k: got shape {tuple(k.shape)}, expected ({N}, S, {D})"
        )
    if v.shape[:2] != (N, S):
        raise ValueError(
            f"v: got shape {tuple(v.shape)}, expected ({N}, {S}, Dv)"
        )
    if causal and T > S:
        raise ValueError(
            f"q: got {T} queries and {S} keys, expected no more queries than "
            "keys if causal"
        )
