"""The course's fused backward pass: three kernels, no map in memory.

    prepare_kernel   do from dy, through the norm; delta_1 and delta_2
    keys_kernel      dk1, dk2 and dv of BS keys: a walk over the queries
    queries_kernel   dq1 and dq2 of BT queries: a walk over the keys

Chapter 12 builds them. Arrays have N = B * H heads on one axis, and G query
heads read one head of keys. Strides end in what they step along: q_n to the
next head, q_j to the next branch, q_t or k_s to the next row; columns lie
side by side. The shipped kernels, `minidiff.ops.triton.kernels.backward`, are
the same algorithm, made fast.
"""

from math import e, log2
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from minidiff.course.kernels.fused_forward import fused_forward


class Gradients(NamedTuple):
    """Shaped like the inputs, lam's (B, H, 1); None without a norm_weight."""

    q: Tensor
    k: Tensor
    v: Tensor
    lam: Tensor
    norm_weight: Tensor | None


@triton.jit
def load_rows(p, o_t, stride, T, W: tl.constexpr):
    """Rows o_t of the matrix (T, W) at p; zeros where it has ended."""
    # (BT, W) for BT numbers in o_t
    at = o_t[:, None] * stride + tl.arange(0, W)[None, :]
    return tl.load(p + at, (o_t < T)[:, None], 0.0)


@triton.jit
def store_rows(p, b, o_t, stride, T, W: tl.constexpr):
    """Write b to rows o_t of the matrix (T, W) at p, in its dtype."""
    # (BT, W), as b
    at = o_t[:, None] * stride + tl.arange(0, W)[None, :]
    tl.store(p + at, b.to(p.dtype.element_ty), (o_t < T)[:, None])


@triton.jit
def prepare_kernel(
    p_dy, p_o, p_o2, p_lam, p_do, p_delta,
    dy_n, dy_t, out_n, out_t, delta_n, delta_j, T, norm_scale, eps,
    DV: tl.constexpr, BT: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    """do by eq. 4.8, or dy without a norm; the deltas by eq. 12.2.

    dy, o, o2 and do (N, T, DV), the last three with the strides out_n and
    out_t; lam (N,), contiguous; delta (N, 2, T) takes delta_1 and delta_2.
    """
    i_n = tl.program_id(0).to(tl.int64)
    o_t = tl.program_id(1) * BT + tl.arange(0, BT)
    # (BT, DV)
    b_do = load_rows(p_dy + i_n * dy_n, o_t, dy_t, T, W=DV).to(tl.float32)
    b_o = load_rows(p_o + i_n * out_n, o_t, out_t, T, W=DV).to(tl.float32)
    b_o2 = load_rows(p_o2 + i_n * out_n, o_t, out_t, T, W=DV).to(tl.float32)
    if NORM:
        # (BT, 1)
        b_r = tl.rsqrt(tl.sum(b_o * b_o, 1) / DV + eps)[:, None]
        # (BT, DV)
        b_g = norm_scale * b_do
        # (BT, 1)
        b_mean = tl.sum(b_g * b_o, 1)[:, None] / DV
        # (BT, DV)
        b_do = b_r * (b_g - b_o * b_r * b_r * b_mean)
    b_do = b_do.to(p_do.dtype.element_ty)
    store_rows(p_do + i_n * out_n, b_do, o_t, out_t, T, W=DV)
    b_do = b_do.to(tl.float32)  # rounded, as the other kernels read it
    # (BT,)
    b_delta2 = tl.sum(b_do * b_o2, 1)
    b_delta1 = tl.sum(b_do * b_o, 1) + tl.load(p_lam + i_n) * b_delta2
    p_row = p_delta + i_n * delta_n + o_t
    tl.store(p_row, b_delta1, o_t < T)
    tl.store(p_row + delta_j, b_delta2, o_t < T)


@triton.jit
def tile(
    b_q1, b_q2, b_k1, b_k2, b_v, b_do, b_lse1, b_lse2, b_delta1, b_delta2,
    lam, m_seen, c,
):  # fmt: skip
    """One tile of A1 - lam A2, of dS1 and of dS2: three of (BT, BS).

    b_q1, b_q2 (BT, D), b_k1, b_k2 (BS, D), b_v (BS, DV), b_do (BT, DV); the
    log-sums, base 2, and delta_1, delta_2 (BT,). m_seen (BT, BS) is true
    where the query sees the key; c is the scale times log2(e).
    """
    # (BT, BS)
    b_s1 = tl.dot(b_q1, b_k1.T, input_precision="ieee") * c
    b_s2 = tl.dot(b_q2, b_k2.T, input_precision="ieee") * c
    b_a1 = tl.where(m_seen, tl.exp2(b_s1 - b_lse1[:, None]), 0.0)
    b_a2 = tl.where(m_seen, tl.exp2(b_s2 - b_lse2[:, None]), 0.0)
    b_da = tl.dot(b_do, b_v.T, input_precision="ieee")
    b_ds1 = b_a1 * (b_da - b_delta1[:, None])
    b_ds2 = lam * b_a2 * (b_delta2[:, None] - b_da)
    return b_a1 - lam * b_a2, b_ds1, b_ds2


@triton.jit
def keys_kernel(
    p_q, p_k, p_v, p_do, p_lse, p_delta, p_lam, p_dk, p_dv,
    q_n, q_j, q_t, k_n, k_j, k_s, v_n, v_s, do_n, do_t, row_n, row_j,
    dk_n, dk_j, dk_s, dv_n, dv_s, G, T, S, scale, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
    CAUSAL: tl.constexpr,
):  # fmt: skip
    """dk1, dk2 and dv of BS keys, from all queries that see them.

    row_n and row_j are the strides of lse and of delta, both (N, 2, T). Rows
    beyond T come as zeros: with do and both deltas 0 they add nothing.
    """
    i_hkv = tl.program_id(0).to(tl.int64)  # a head of keys
    start_s = tl.program_id(1) * BS
    o_s = start_s + tl.arange(0, BS)
    # (BS, D)
    b_k1 = load_rows(p_k + i_hkv * k_n, o_s, k_s, S, W=D)
    b_k2 = load_rows(p_k + i_hkv * k_n + k_j, o_s, k_s, S, W=D)
    # (BS, DV)
    b_v = load_rows(p_v + i_hkv * v_n, o_s, v_s, S, W=DV)
    # (BS, D)
    b_dk1 = tl.zeros([BS, D], tl.float32)
    b_dk2 = tl.zeros([BS, D], tl.float32)
    # (BS, DV)
    b_dv = tl.zeros([BS, DV], tl.float32)
    first = 0
    if CAUSAL:  # key s is seen from query s - (S - T) on
        first = tl.maximum(start_s - (S - T), 0) // BT * BT
    for i_n in range(i_hkv * G, (i_hkv + 1) * G):  # query heads of these keys
        lam = tl.load(p_lam + i_n)
        for start_t in range(first, T, BT):
            o_t = start_t + tl.arange(0, BT)
            # (BT, D)
            b_q1 = load_rows(p_q + i_n * q_n, o_t, q_t, T, W=D)
            b_q2 = load_rows(p_q + i_n * q_n + q_j, o_t, q_t, T, W=D)
            # (BT, DV)
            b_do = load_rows(p_do + i_n * do_n, o_t, do_t, T, W=DV)
            # (BT,)
            at = i_n * row_n + o_t
            b_lse1 = tl.load(p_lse + at, o_t < T, 0.0)
            b_lse2 = tl.load(p_lse + at + row_j, o_t < T, 0.0)
            b_delta1 = tl.load(p_delta + at, o_t < T, 0.0)
            b_delta2 = tl.load(p_delta + at + row_j, o_t < T, 0.0)
            # (1, BS), and causal (BT, BS)
            m_seen = (o_s < S)[None, :]
            if CAUSAL:
                m_seen = m_seen & (o_t[:, None] + S - T >= o_s[None, :])
            # (BT, BS)
            b_a, b_ds1, b_ds2 = tile(
                b_q1, b_q2, b_k1, b_k2, b_v, b_do, b_lse1, b_lse2,
                b_delta1, b_delta2, lam, m_seen, c,
            )  # fmt: skip
            # (BS, BT), and from it (BS, DV)
            b_a = b_a.to(b_do.dtype).T
            b_dv = tl.dot(b_a, b_do, b_dv, input_precision="ieee")
            # (BS, BT), and from these (BS, D)
            b_ds1 = b_ds1.to(b_q1.dtype).T
            b_dk1 = tl.dot(b_ds1, b_q1, b_dk1, input_precision="ieee")
            b_ds2 = b_ds2.to(b_q2.dtype).T
            b_dk2 = tl.dot(b_ds2, b_q2, b_dk2, input_precision="ieee")
    store_rows(p_dk + i_hkv * dk_n, b_dk1 * scale, o_s, dk_s, S, W=D)
    store_rows(p_dk + i_hkv * dk_n + dk_j, b_dk2 * scale, o_s, dk_s, S, W=D)
    store_rows(p_dv + i_hkv * dv_n, b_dv, o_s, dv_s, S, W=DV)


@triton.jit
def queries_kernel(
    p_q, p_k, p_v, p_do, p_lse, p_delta, p_lam, p_dq,
    q_n, q_j, q_t, k_n, k_j, k_s, v_n, v_s, do_n, do_t, row_n, row_j,
    dq_n, dq_j, dq_t, G, T, S, scale, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
    CAUSAL: tl.constexpr,
):  # fmt: skip
    """dq1 and dq2 of BT queries, from all keys that they see."""
    i_n = tl.program_id(0).to(tl.int64)  # a head of queries
    i_hkv = i_n // G
    start_t = tl.program_id(1) * BT
    o_t = start_t + tl.arange(0, BT)
    # (BT, D)
    b_q1 = load_rows(p_q + i_n * q_n, o_t, q_t, T, W=D)
    b_q2 = load_rows(p_q + i_n * q_n + q_j, o_t, q_t, T, W=D)
    # (BT, DV)
    b_do = load_rows(p_do + i_n * do_n, o_t, do_t, T, W=DV)
    # (BT,)
    at = i_n * row_n + o_t
    b_lse1 = tl.load(p_lse + at, o_t < T, 0.0)
    b_lse2 = tl.load(p_lse + at + row_j, o_t < T, 0.0)
    b_delta1 = tl.load(p_delta + at, o_t < T, 0.0)
    b_delta2 = tl.load(p_delta + at + row_j, o_t < T, 0.0)
    lam = tl.load(p_lam + i_n)
    # (BT, D)
    b_dq1 = tl.zeros([BT, D], tl.float32)
    b_dq2 = tl.zeros([BT, D], tl.float32)
    end = S
    if CAUSAL:
        end = tl.minimum(S, start_t + BT + S - T)
    for start_s in range(0, end, BS):
        o_s = start_s + tl.arange(0, BS)
        # (BS, D)
        b_k1 = load_rows(p_k + i_hkv * k_n, o_s, k_s, S, W=D)
        b_k2 = load_rows(p_k + i_hkv * k_n + k_j, o_s, k_s, S, W=D)
        # (BS, DV)
        b_v = load_rows(p_v + i_hkv * v_n, o_s, v_s, S, W=DV)
        # (1, BS), and causal (BT, BS)
        m_seen = (o_s < S)[None, :]
        if CAUSAL:
            m_seen = m_seen & (o_t[:, None] + S - T >= o_s[None, :])
        # (BT, BS)
        _, b_ds1, b_ds2 = tile(
            b_q1, b_q2, b_k1, b_k2, b_v, b_do, b_lse1, b_lse2, b_delta1,
            b_delta2, lam, m_seen, c,
        )  # fmt: skip
        # (BT, BS), and from these (BT, D)
        b_ds1 = b_ds1.to(b_k1.dtype)
        b_dq1 = tl.dot(b_ds1, b_k1, b_dq1, input_precision="ieee")
        b_ds2 = b_ds2.to(b_k2.dtype)
        b_dq2 = tl.dot(b_ds2, b_k2, b_dq2, input_precision="ieee")
    store_rows(p_dq + i_n * dq_n, b_dq1 * scale, o_t, dq_t, T, W=D)
    store_rows(p_dq + i_n * dq_n + dq_j, b_dq2 * scale, o_t, dq_t, T, W=D)


def fused_backward(
    dy: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: Tensor,
    o: Tensor,
    o2: Tensor,
    lse: Tensor,
    *,
    causal: bool = True,
    scale: float | None = None,
    norm_weight: Tensor | None = None,
    norm_scale: float | None = None,
    eps: float = 1e-5,
    BT: int = 32,
    BS: int = 32,
) -> Gradients:
    """Run the three kernels: the gradients of ``sum(dy * y)``.

    dy (B, H, T, Dv), lam (B, H, 1); o, o2 and lse as ``fused_forward``
    returned them, and the rest as it took it.
    """
    (B, H, _, T, D), (Hkv, S, Dv) = q.shape, v.shape[1:]
    scale = D**-0.5 if scale is None else scale
    dweight = None
    # y = z * weight, where z has none; the forward pass refuses a weight
    # without a scale.
    if norm_weight is not None and norm_scale is not None:
        r = (o.float().square().mean(-1, keepdim=True) + eps).rsqrt()
        dweight = (norm_scale * dy.float() * o * r).sum((0, 1, 2))
        dy = dy * norm_weight
    dq, dk, dv = (x.new_empty(x.shape) for x in (q, k, v))
    x_q, x_k, x_v, x_dy, x_dq, x_dk, x_dv = map(
        _heads, (q, k, v, dy, dq, dk, dv)
    )
    o, o2, lse = map(_heads, (o, o2, lse))
    x_lam = lam.float().flatten().contiguous()
    do, delta = torch.empty_like(o), torch.empty_like(lse)
    prepare_kernel[B * H, triton.cdiv(T, BT)](
        x_dy, o, o2, x_lam, do, delta, *x_dy.stride()[:2], *o.stride()[:2],
        *delta.stride()[:2], T, 1.0 if norm_scale is None else norm_scale,
        eps, DV=Dv, BT=BT, NORM=norm_scale is not None,
    )  # fmt: skip
    given = (x_q, x_k, x_v, do, lse, delta, x_lam)
    strides = (
        *x_q.stride()[:3], *x_k.stride()[:3], *x_v.stride()[:2],
        *do.stride()[:2], *lse.stride()[:2],
    )  # fmt: skip
    sizes = (H // Hkv, T, S, scale, scale * log2(e))
    blocks = {"D": D, "DV": Dv, "BT": BT, "BS": BS, "CAUSAL": causal}
    keys_kernel[B * Hkv, triton.cdiv(S, BS)](
        *given, x_dk, x_dv, *strides, *x_dk.stride()[:3],
        *x_dv.stride()[:2], *sizes, **blocks,
    )  # fmt: skip
    queries_kernel[B * H, triton.cdiv(T, BT)](
        *given, x_dq, *strides, *x_dq.stride()[:3], *sizes, **blocks
    )
    # dlam = -sum of delta_2, eq. 4.7; added in a fixed order.
    dlam = -delta[:, 1].sum(-1).view(B, H, 1)
    return Gradients(dq, dk, dv, dlam, dweight)


def _heads(x: Tensor) -> Tensor:
    """Batch and heads on one axis, columns side by side; a view if it can."""
    return (x if x.stride(-1) == 1 else x.contiguous()).flatten(0, 1)


class FusedAttention(torch.autograd.Function):
    """Chapter 11's kernel forward, the three above backward, for autograd."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        """Return y; keep what grows with T, not with T * S."""
        q, k, v, lam, norm_weight, options = given
        done = fused_forward(q, k, v, lam, norm_weight=norm_weight, **options)
        ctx.options = options
        ctx.save_for_backward(*given[:5], *done[1:])
        return done.y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of each argument of forward."""
        q, k, v, lam, norm_weight, *done = ctx.saved_tensors
        grads = fused_backward(
            dy, q, k, v, lam, *done, norm_weight=norm_weight, **ctx.options
        )
        return *grads, None


def fused_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: float | Tensor,
    *,
    norm_weight: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Return y of ``fused_forward``, with gradients; the arguments are its.

    Gradients cannot be differentiated again.
    """
    lam = torch.as_tensor(lam, dtype=torch.float32, device=q.device)
    lam = lam.expand(*q.shape[:2], 1)  # autograd adds up what was spread
    return FusedAttention.apply(q, k, v, lam, norm_weight, options)
