"""The fused backend for torch alone: one SDPA call for each branch."""

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

from minidiff.ops.arguments import Arguments
from minidiff.ops.epilogue import subtract
from minidiff.ops.masks import blank_padding, visible


def softmax_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = True,
    scale: float | None = None,
    key_lengths: Tensor | None = None,
) -> Tensor:
    """Return ``softmax(q k' scale) v`` (B, H, T, Dv), ordinary attention.

    q (B, H, T, D), k (B, Hkv, S, D), v (B, Hkv, S, Dv). The causal edge is
    aligned to the end, and a query that sees no key gets zeros.
    """
    T, S = q.shape[2], k.shape[2]
    # SDPA's own is_causal aligns the edge to the start: right for T = S only.
    square = causal and T == S and key_lengths is None
    mask = None if square else visible(T, S, causal, key_lengths, q.device)
    if mask is not None and key_lengths is not None:
        # Only a row without any key sees nothing. It attends to everything
        # here, so that no backend softmaxes an empty row; its values have
        # been blanked, so it gets zeros all the same.
        mask = mask | ~mask.any(-1, keepdim=True)
    return sdpa(
        q,
        blank_padding(k, key_lengths),
        blank_padding(v, key_lengths),
        attn_mask=mask,
        is_causal=square,
        scale=scale,
        enable_gqa=q.shape[1] != v.shape[1],
    )


def sdpa_attention(x: Arguments) -> Tensor:
    """Return ``A1 v - lam A2 v`` (B, H, T, Dv) in float32 or wider.

    No map is kept, so memory grows with T, not T squared, wherever PyTorch
    has a fused kernel for the shapes.
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
