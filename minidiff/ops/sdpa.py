"""The sdpa backend: one call of PyTorch's SDPA for each branch."""

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.functional import scaled_dot_product_attention as sdpa

from minidiff.ops.arguments import Arguments
from minidiff.ops.epilogue import subtract
from minidiff.ops.masks import blank_padding, visible
from minidiff.ops.readable import is_certain
from minidiff.ops.scale import positive_scale


def softmax_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = True,
    scale: float | None = None,
    key_lengths: Tensor | None = None,
) -> Tensor:
    """Return softmax attention ``softmax(q k' scale) v`` (B, H, T, Dv).

    q (B, H, T, D), k (B, Hkv, S, D), v (B, Hkv, S, Dv). The causal mask is
    aligned to the end: query t sees keys 0 to t + S - T. A query that sees no
    key gets zeros.
    """
    if k.shape[1] == 0:  # SDPA would divide by it, and end the process
        raise ValueError(f"k: got shape {tuple(k.shape)}, expected Hkv >= 1")
    T, S = q.shape[2], k.shape[2]
    q, scale = positive_scale(
        q, q.shape[-1] ** -0.5 if scale is None else scale
    )
    # SDPA's is_causal aligns the mask to the start, which is correct only
    # if T = S. A compiler must know that for all lengths of its graph.
    square = causal and key_lengths is None and is_certain(T == S)
    mask = None if square else visible(T, S, causal, key_lengths, q.device)
    if mask is not None and key_lengths is not None:
        # A query without visible keys is allowed to see all keys, because an
        # SDPA kernel may return NaN for an empty row. All values of its batch
        # entry have been set to zero, so its output is still zero.
        mask = mask | ~mask.any(-1, keepdim=True)
    k = blank_padding(k, key_lengths)
    missing = v.shape[-1] - q.shape[-1]
    exact = q.device.type == "cpu" and q.dtype == torch.float32
    if square and exact and missing > 0 and not _has_gradient(q, k, v):
        # PyTorch's fused kernel for the CPU needs keys as wide as the values;
        # otherwise the map is stored. Zeros change no logit. Not in 16 bits,
        # where that kernel rounds the weights.
        q, k = pad(q, (0, missing)), pad(k, (0, missing))
    return sdpa(
        q,
        k,
        blank_padding(v, key_lengths),
        attn_mask=mask,
        is_causal=square,
        scale=scale,
        enable_gqa=not is_certain(q.shape[1] == v.shape[1]),
    )


def _has_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)


def sdpa_attention(x: Arguments) -> Tensor:
    """Return ``A1 v - lam A2 v`` (B, H, T, Dv) in float32 or wider.

    Where PyTorch has a fused kernel for the shapes, no map is stored, so
    memory grows linearly with T instead of quadratically.
    """
    out1, out2 = (
        softmax_attention(
            x.q[:, :, branch],
            x.k[:, :, branch % x.k.shape[2]],
            x.v,
            causal=x.causal,
            scale=x.scale,
            key_lengths=x.key_lengths,
        )
        for branch in (0, 1)
    )
    return subtract(out1, out2, x.lam)
