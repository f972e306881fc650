"""The eager backend: compute both maps in full, then multiply by v."""

from typing import NamedTuple

from torch import Tensor

from minidiff.ops.arguments import Arguments, check_map_arguments
from minidiff.ops.epilogue import subtract
from minidiff.ops.logits import masked_softmax, scaled_logits
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

    Arguments and errors as in :func:`minidiff.diff_attention`. Logits and
    softmax are float32 or wider for every input dtype. Rows of A sum to
    1 - lam, and entries of A may be negative.
    """
    x = check_map_arguments(
        Arguments(q, k, k, lam, causal, scale, key_lengths=key_lengths)
    )
    if x.scale is None:
        x = x._replace(scale=q.shape[-1] ** -0.5)
    return maps_of(x)


def maps_of(x: Arguments) -> AttentionMaps:
    """Return the maps for checked arguments."""
    assert x.scale is not None
    H, T, S = x.q.shape[1], x.q.shape[3], x.k.shape[3]
    k = for_each_head(blank_padding(x.k, x.key_lengths), H)
    logits = scaled_logits(x.q, k, x.scale)  # (B, H, 2, T, S)
    mask = visible(T, S, x.causal, x.key_lengths, x.q.device)
    if mask is not None and mask.ndim == 4:
        mask = mask[:, :, None]
    A1, A2 = masked_softmax(logits, mask).unbind(2)
    return AttentionMaps(A1, A2, subtract(A1, A2, x.lam))


def eager_attention(x: Arguments) -> Tensor:
    """Return ``A v`` (B, H, T, Dv) in float32 or wider."""
    A = maps_of(x).A
    v = for_each_head(blank_padding(x.v, x.key_lengths), x.q.shape[1])
    return A @ v.to(A.dtype)


def for_each_head(x: Tensor, H: int) -> Tensor:
    """Repeat the key/value heads of x (B, Hkv, ...): return (B, H, ...).

    If Hkv = H, x itself is returned: repeat_interleave(1) would copy all of
    it without need.
    """
    return x if x.shape[1] == H else x.repeat_interleave(H // x.shape[1], 1)
