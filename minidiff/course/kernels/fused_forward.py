"""The course's fused differential forward: two softmaxes, one walk.

Chapter 11 builds this kernel; chapter 12 goes back through it. One program
computes BT queries of one head, from the first key to the last that they may
see. Both branches take each block of values while it is there. The shipped
kernel, `minidiff.ops.triton.kernels.forward`, is the same algorithm, made
fast.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from minidiff.course.kernels.flash import LOG2_E, softmax_step
from minidiff.course.kernels.memory import refuse_bf16
from minidiff.ops.arguments import Arguments, check_arguments


class Forward(NamedTuple):
    """What the kernel writes: y, and what the backward pass needs.

    y, o and o2 (B, H, T, Dv): the normed output, A1 v - lam A2 v, and A2 v.
    lse (B, H, 2, T), float32: each branch's log-sum, in base 2.
    """

    y: Tensor
    o: Tensor
    o2: Tensor
    lse: Tensor


@triton.jit
def fused_forward_kernel(
    p_q, p_k, p_v, p_lam, p_weight, p_y, p_o, p_o2, p_lse,
    q_b, q_h, q_j, q_t, k_b, k_h, k_j, k_s, v_b, v_h, v_s,
    H, G, T, S, c, norm_scale, eps,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
    CAUSAL: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    """y = norm_scale * weight * RMSNorm(o), o = A1 v - lam A2 v.

    q_b, q_h, ... are the strides of batch, head, branch j and row; columns
    lie side by side. The outputs are contiguous, and so is lam, (B, H). G
    query heads share a head of keys, c is the scale times log2(e). Causal:
    query t sees keys 0 to t + S - T. The grid is (B H, blocks of queries).
    """
    i_bh = tl.program_id(0).to(tl.int64)  # tensors may exceed 2**31 numbers
    i_t = tl.program_id(1)
    i_b, i_h = i_bh // H, i_bh % H
    i_hkv = i_h // G
    o_t = i_t * BT + tl.arange(0, BT)
    o_d = tl.arange(0, D)
    o_v = tl.arange(0, DV)
    m_t = o_t < T

    # (BT, D)
    at_q = i_b * q_b + i_h * q_h + o_t[:, None] * q_t + o_d[None, :]
    b_q1 = tl.load(p_q + at_q, m_t[:, None], 0.0)
    b_q2 = tl.load(p_q + at_q + q_j, m_t[:, None], 0.0)
    # (BT, DV)
    b_acc1 = tl.zeros([BT, DV], tl.float32)
    b_acc2 = tl.zeros([BT, DV], tl.float32)
    # (BT,)
    b_top1 = tl.full([BT], float("-inf"), tl.float32)
    b_top2 = tl.full([BT], float("-inf"), tl.float32)
    b_sum1 = tl.zeros([BT], tl.float32)
    b_sum2 = tl.zeros([BT], tl.float32)

    end = S  # from this key on none of these queries sees any
    if CAUSAL:
        end = tl.minimum(S, (i_t + 1) * BT + S - T)
    for start_s in range(0, end, BS):
        o_s = start_s + tl.arange(0, BS)
        m_s = o_s < S
        # (BS, D)
        at_k = i_b * k_b + i_hkv * k_h + o_s[:, None] * k_s + o_d[None, :]
        b_k1 = tl.load(p_k + at_k, m_s[:, None], 0.0)
        b_k2 = tl.load(p_k + at_k + k_j, m_s[:, None], 0.0)
        # (BS, DV)
        at_v = i_b * v_b + i_hkv * v_h + o_s[:, None] * v_s + o_v[None, :]
        b_v = tl.load(p_v + at_v, m_s[:, None], 0.0)
        # (1, BS), and causal (BT, BS)
        m_seen = m_s[None, :]
        if CAUSAL:
            m_seen = m_seen & (o_t[:, None] + S - T >= o_s[None, :])
        # (BT, BS)
        b_s1 = tl.dot(b_q1, b_k1.T, input_precision="ieee") * c
        b_s1 = tl.where(m_seen, b_s1, float("-inf"))
        # (BT, DV), (BT,), (BT,)
        b_acc1, b_top1, b_sum1 = softmax_step(
            b_acc1, b_top1, b_sum1, b_s1, b_v
        )
        # (BT, BS)
        b_s2 = tl.dot(b_q2, b_k2.T, input_precision="ieee") * c
        b_s2 = tl.where(m_seen, b_s2, float("-inf"))
        # (BT, DV), (BT,), (BT,)
        b_acc2, b_top2, b_sum2 = softmax_step(
            b_acc2, b_top2, b_sum2, b_s2, b_v
        )

    lam = tl.load(p_lam + i_bh)
    # (BT, DV)
    b_o2 = b_acc2 / b_sum2[:, None]
    b_o = b_acc1 / b_sum1[:, None] - lam * b_o2
    at_o = (i_bh * T + o_t)[:, None] * DV + o_v[None, :]
    tl.store(p_o + at_o, b_o, m_t[:, None])
    tl.store(p_o2 + at_o, b_o2, m_t[:, None])
    # (BT,)
    at_lse = i_bh * 2 * T + o_t
    tl.store(p_lse + at_lse, b_top1 + tl.log2(b_sum1), m_t)
    tl.store(p_lse + at_lse + T, b_top2 + tl.log2(b_sum2), m_t)
    if NORM:  # the whole row is here, in this program
        # (BT,)
        b_r = tl.rsqrt(tl.sum(b_o * b_o, 1) / DV + eps)
        # (DV,)
        b_w = tl.load(p_weight + o_v)
        # (BT, DV)
        b_o = b_o * (norm_scale * b_r)[:, None] * b_w[None, :]
    tl.store(p_y + at_o, b_o, m_t[:, None])


def fused_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: float | Tensor,
    *,
    causal: bool = True,
    scale: float | None = None,
    norm_weight: Tensor | None = None,
    norm_scale: float | None = None,
    eps: float = 1e-5,
    BT: int = 32,
    BS: int = 32,
) -> Forward:
    """Run the kernel; arguments as in :func:`minidiff.diff_attention`.

    q (B, H, 2, T, D), k (B, Hkv, 2, S, D), v (B, Hkv, S, Dv); D and Dv
    powers of two, lam one number or one for each head, (B or 1, H or 1, 1),
    scale above 0. BT queries by BS keys are taken at a time, powers of two;
    a GPU needs 16 or more for each of these. Raises ValueError or TypeError
    for anything else.
    """
    check_arguments(
        Arguments(q, k, v, lam, causal, scale, norm_weight, norm_scale, eps)
    )
    _check(q, k, v, lam, scale)
    (B, H, _, T, D), (Hkv, S, Dv) = q.shape, v.shape[1:]
    scale = D**-0.5 if scale is None else scale
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
    # One number for each batch and head, side by side in memory.
    lam = torch.as_tensor(lam, dtype=torch.float32, device=q.device)
    lam = lam.expand(B, H, 1).contiguous()
    if norm_weight is None:
        norm_weight = q.new_ones(Dv)
    y, o, o2 = (q.new_empty(B, H, T, Dv) for _ in range(3))
    lse = q.new_empty(B, H, 2, T, dtype=torch.float32)
    fused_forward_kernel[(B * H, triton.cdiv(T, BT))](
        q, k, v, lam, norm_weight.contiguous(), y, o, o2, lse,
        *q.stride()[:4], *k.stride()[:4], *v.stride()[:3],
        H, H // Hkv, T, S, scale * LOG2_E,
        1.0 if norm_scale is None else norm_scale, eps,
        D=D, DV=Dv, BT=BT, BS=BS, CAUSAL=causal, NORM=norm_scale is not None,
    )  # fmt: skip
    return Forward(y, o, o2, lse)


def _check(
    q: Tensor, k: Tensor, v: Tensor, lam: float | Tensor, scale: float | None
) -> None:
    """Refuse what the operator takes and this simple kernel does not."""
    refuse_bf16(q, "q")
    if q.dtype == torch.float64:
        raise TypeError("q: got float64, expected float32 or float16")
    if k.shape[2] != 2:
        raise ValueError("k: got keys shared by the branches, expected P = 2")
    for name, width in (("q", q.shape[-1]), ("v", v.shape[-1])):
        if width & (width - 1):
            raise ValueError(f"{name}: width {width} is no power of two")
    if isinstance(lam, Tensor) and lam.ndim and lam.shape[-1] != 1:
        raise ValueError(
            f"lam: got one for each token, {tuple(lam.shape)}, expected one "
            "for each head, (B or 1, H or 1, 1)"
        )
    if scale is not None and scale <= 0:
        raise ValueError(f"scale: got {scale}, expected above 0")
