"""The eager backend: compute both maps in full, then multiply by v."""

from typing import NamedTuple

from torch import Tensor

from minidiff.ops.arguments import Arguments
from minidiff.ops.epilogue import subtract
from minidiff.ops.logits import masked_softmax
from minidiff.ops.masks import blank_padding, visible


class AttentionMaps(NamedTuple):
    """The two softmax maps and their difference, each (B, H, T, S)."""

    A1: Tensor
    A2: Tensor
    A: Tensor


def attention_maps(
    q: Tensor,
    k: Tensor,
    lam: float | Tensor,
    *,
    causal: bool = True,
    scale: float | None = None,
    key_lengths: Tensor | None = None,
) -> AttentionMaps:
    """Return ``A1``, ``A2`` and ``A = A1 - lam A2`` (Ye et al. 2025, eq. 1).

    Shapes as in :func:`minidiff.diff_attention`. The softmax runs in float32
    or wider for every input dtype. Rows of A sum to 1 - lam, and entries of A
    may be negative.
    """
    H, T, D = q.shape[1], q.shape[3], q.shape[4]
    S = k.shape[3]
    if scale is None:
        scale = D**-0.5
    k = for_each_head(blank_padding(k, key_lengths), H)
    logits = (q * scale) @ k.transpose(-1, -2)  # (B, H, 2, T, S)
    mask = visible(T, S, causal, key_lengths, q.device)
    if mask is not None and mask.ndim == 4:
        mask = mask[:, :, None]
    A12 = masked_softmax(logits, mask)
    A1, A2 = A12.unbind(2)
    return AttentionMaps(A1, A2, subtract(A1, A2, lam))


def eager_attention(x: Arguments) -> Tensor:
    """Return ``A v`` (B, H, T, Dv) in float32 or wider."""
    A = attention_maps(
        x.q,
        x.k,
        x.lam,
        causal=x.causal,
        scale=x.scale,
        key_lengths=x.key_lengths,
    ).A
    v = for_each_head(blank_padding(x.v, x.key_lengths), x.q.shape[1])
    return A @ v.to(A.dtype)


def for_each_head(x: Tensor, H: int) -> Tensor:
    """Repeat the key/value heads of x (B, Hkv, ...): return (B, H, ...).

    If Hkv = H, x itself is returned: repeat_interleave(1) would copy all of
    it without need.
    """
    return x if x.shape[1] == H else x.repeat_interleave(H // x.shape[1], 1)
