"""The fused backend for torch alone: one SDPA call for each branch."""

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

from minidiff.ops.finish import subtract
from minidiff.ops.masks import blank_padding, visible


def sdpa_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: float | Tensor,
    causal: bool,
    scale: float,
    key_lengths: Tensor | None,
) -> Tensor:
    """Return ``A1 v - lam A2 v`` (B, H, T, Dv) in float32 or wider.

    No map is kept, so memory grows with T, not T squared, wherever PyTorch
    has a fused kernel for the shapes.
    """
    T, S = q.shape[3], k.shape[3]
    # SDPA's own is_causal aligns the edge to the start: right for T = S only.
    square = causal and T == S and key_lengths is None
    mask = None if square else visible(T, S, causal, key_lengths, q.device)
    seen = None
    if mask is not None and key_lengths is not None:
        # Rows with nothing to see attend to everything here and are zeroed
        # below, so that no backend has to softmax an empty row.
        seen = mask.any(-1, keepdim=True)
        mask = mask | ~seen
    v = blank_padding(v, key_lengths)
    out1, out2 = (
        sdpa(
            q[:, :, branch],
            blank_padding(k[:, :, branch % k.shape[2]], key_lengths),
            v,
            attn_mask=mask,
            is_causal=square,
            scale=scale,
            enable_gqa=q.shape[1] != v.shape[1],
        )
        for branch in (0, 1)
    )
    out = subtract(out1, out2, lam)
    return out if seen is None else out.masked_fill(~seen, 0)
