"""Multi-head attention, three kinds: softmax, differential V1 and V2.

All three are causal and share one call: ``module(x, rope=..., cache=...)``
with x (B, T, E). ``rope`` holds the angles of x's T positions and ``cache`` a
KVCache of the module's own ``new_cache``; ``key_lengths`` (B,) hides padding.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.functional import scaled_dot_product_attention as sdpa

from minidiff.cache import KVCache
from minidiff.layers import apply_rope, positive_int
from minidiff.ops import AttentionMaps, attention_maps, diff_attention
from minidiff.ops.masks import blank_padding, visible
from minidiff.reference.lam import lambda_init

__all__ = [
    "MultiheadAttention",
    "MultiheadDiffAttention",
    "MultiheadDiffAttentionV2",
    "lambda_init",
]

Rope = tuple[Tensor, Tensor]


class _Multihead(nn.Module):
    """What the three kinds share: projections, positions and the cache.

    A key head is ``branches`` maps of width D, a value head Dv wide.
    """

    q_shape: tuple[int, ...]  # a token's queries, (heads, ..., D)
    k_shape: tuple[int, ...]
    v_shape: tuple[int, ...]

    def _build(self, embed_dim: int, out_width: int) -> None:
        def project(*shape: int) -> nn.Linear:
            width = torch.Size(shape).numel()
            return nn.Linear(embed_dim, width, bias=False)

        self.embed_dim = embed_dim
        self.q_proj = project(*self.q_shape)
        self.k_proj = project(*self.k_shape)
        self.v_proj = project(*self.v_shape)
        self.out_proj = nn.Linear(out_width, embed_dim, bias=False)

    def new_cache(
        self,
        batch_size: int,
        capacity: int,
        *,
        dtype: torch.dtype | None = None,
    ) -> KVCache:
        """Make an empty cache; dtype and device are the weights' own.

        Give dtype where autocast computes in another one.
        """
        positive_int("batch_size", batch_size)
        positive_int("capacity", capacity)
        weight = self.k_proj.weight
        k_shape, v_shape = (
            (batch_size, *shape[:-1], capacity, shape[-1])
            for shape in (self.k_shape, self.v_shape)
        )
        return KVCache(
            k_shape,
            v_shape,
            dtype=dtype or weight.dtype,
            device=weight.device,
        )

    def _project(
        self, x: Tensor, rope: Rope | None, cache: KVCache | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v as (B, heads, ..., tokens, width)."""
        if x.ndim != 3 or x.shape[-1] != self.embed_dim or 0 in x.shape:
            raise ValueError(
                f"x: got shape {tuple(x.shape)}, expected "
                f"(B, T, {self.embed_dim}) with B, T >= 1"
            )
        q, k, v = (
            proj(x).unflatten(-1, shape).movedim(1, -2)
            for proj, shape in (
                (self.q_proj, self.q_shape),
                (self.k_proj, self.k_shape),
                (self.v_proj, self.v_shape),
            )
        )
        if rope is not None:
            q, k = apply_rope(q, *rope), apply_rope(k, *rope)
        if cache is not None:
            k, v = cache.append(k, v)
        return q, k, v

    def _merge(self, heads: Tensor) -> Tensor:
        """Project heads (B, H, T, Dv) to (B, T, E)."""
        return self.out_proj(heads.transpose(1, 2).flatten(2))


class MultiheadAttention(_Multihead):
    """Softmax attention: the plain model that a DIFF model is matched to.

    Parameters
    ----------
    embed_dim : int
        E; each head is D = E / num_heads wide.
    num_heads : int
        Query heads: twice the differential heads of the matched DIFF model.
    num_kv_heads : int, optional
        Key/value heads, a divisor of num_heads, which is the default.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
    ) -> None:
        super().__init__()
        D, Hkv = _sizes(embed_dim, num_heads, num_kv_heads, 1)
        self.q_shape = (num_heads, D)
        self.k_shape = self.v_shape = (Hkv, D)
        self._build(embed_dim, embed_dim)

    def forward(
        self,
        x: Tensor,
        *,
        rope: Rope | None = None,
        cache: KVCache | None = None,
        key_lengths: Tensor | None = None,
        return_maps: bool = False,
        backend: str = "auto",
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return (B, T, E); with return_maps also the map (B, H, T, S)."""
        if backend not in ("auto", "eager", "sdpa"):
            raise ValueError(
                f"backend: got {backend!r}, expected 'auto', 'eager' or 'sdpa'"
            )
        q, k, v = self._project(x, rope, cache)
        if return_maps or backend == "eager":
            A = _softmax_map(q, k, key_lengths)
        if backend == "eager":
            v = blank_padding(v, key_lengths)
            groups = q.shape[1] // v.shape[1]
            heads = A.to(v.dtype) @ v.repeat_interleave(groups, 1)
        else:
            heads = _softmax_sdpa(q, k, v, key_lengths)
        out = self._merge(heads)
        return (out, A) if return_maps else out


class MultiheadDiffAttention(_Multihead):
    """Differential attention as in the paper (V1; Ye et al. 2025, eq. 1-3).

    Each head i reads queries and keys 2i and 2i + 1 of width D as its two
    branches and values of width 2D. One lambda serves all heads and tokens of
    the layer. Without ``head_norm`` (Table 6) the factor 1 - lam_init goes
    too, since it stands there to undo the norm; the paper does not say.

    Parameters
    ----------
    embed_dim : int
        E; D = E / (2 num_heads).
    num_heads : int
        H, differential heads: half of the matched plain model's.
    num_kv_heads : int, optional
        Differential key/value heads, a divisor of H, which is the default.
    depth : int
        Number of the layer, from 0; sets lam_init.
    head_norm : bool
        Normalise each head over its own 2D channels.
    lam_init : float, optional
        A constant in [0, 1) instead of ``lambda_init(depth)``.
    norm_eps : float
        Added to the mean square in the head norm.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        *,
        depth: int,
        head_norm: bool = True,
        lam_init: float | None = None,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        D, Hkv = _sizes(embed_dim, num_heads, num_kv_heads, 2)
        if isinstance(depth, bool) or not isinstance(depth, int):
            raise TypeError(
                f"depth: got {type(depth).__name__}, expected an int >= 0"
            )
        if depth < 0:
            raise ValueError(f"depth: got {depth}, expected an int >= 0")
        if lam_init is not None and not 0 <= lam_init < 1:
            raise ValueError(
                f"lam_init: got {lam_init}, expected None or 0 <= lam_init < 1"
            )
        self.q_shape = (num_heads, 2, D)
        self.k_shape, self.v_shape = (Hkv, 2, D), (Hkv, 2 * D)
        self._build(embed_dim, embed_dim)
        self.lam_init = lambda_init(depth) if lam_init is None else lam_init
        self.norm_eps = norm_eps
        for name in ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2"):
            # The official code's choice; the paper gives none.
            start = torch.empty(D, dtype=torch.float32).normal_(std=0.1)
            self.register_parameter(name, nn.Parameter(start))
        self.norm_weight = (
            nn.Parameter(torch.ones(2 * D)) if head_norm else None
        )

    def lam(self) -> Tensor:
        """Return ``exp(q1 . k1) - exp(q2 . k2) + lam_init``, eq. 2, 0-d.

        float32 or wider, also under autocast and in a bfloat16 model: near
        0.8 bfloat16 has steps of 0.004.
        """
        # Products and sums, not a matmul: autocast leaves these alone.
        dots = [
            (q.to(_wide(q)) * k.to(_wide(k))).sum()
            for q, k in (
                (self.lambda_q1, self.lambda_k1),
                (self.lambda_q2, self.lambda_k2),
            )
        ]
        return dots[0].exp() - dots[1].exp() + self.lam_init

    def forward(
        self,
        x: Tensor,
        *,
        rope: Rope | None = None,
        cache: KVCache | None = None,
        key_lengths: Tensor | None = None,
        return_maps: bool = False,
        backend: str = "auto",
    ) -> Tensor | tuple[Tensor, AttentionMaps]:
        """Return (B, T, E); with return_maps also A1, A2 and A1 - lam A2."""
        q, k, v = self._project(x, rope, cache)
        lam = self.lam()
        heads = diff_attention(
            q,
            k,
            v,
            lam,
            norm_weight=self.norm_weight,
            norm_scale=None if self.norm_weight is None else 1 - self.lam_init,
            eps=self.norm_eps,
            key_lengths=key_lengths,
            backend=backend,
        )
        out = self._merge(heads)
        if not return_maps:
            return out
        return out, attention_maps(q, k, lam, key_lengths=key_lengths)


class MultiheadDiffAttentionV2(_Multihead):
    """Differential attention V2 (Microsoft, January 2026).

    Queries 2i and 2i + 1 of head i share one key and one value head, all of
    width D; lambda is ``sigmoid(x W_lambda)`` for each token and head. There
    is no head norm and no lam_init, and W_O maps H D to E.

    Parameters
    ----------
    embed_dim : int
        E; D = E / (2 num_heads).
    num_heads : int
        H, differential heads: half of the query heads.
    num_kv_heads : int, optional
        Key/value heads of width D, a divisor of H, which is the default.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
    ) -> None:
        super().__init__()
        D, Hkv = _sizes(embed_dim, num_heads, num_kv_heads, 2)
        self.q_shape = (num_heads, 2, D)
        self.k_shape, self.v_shape = (Hkv, 1, D), (Hkv, D)
        self._build(embed_dim, num_heads * D)
        self.lambda_proj = nn.Linear(embed_dim, num_heads, bias=False)

    def lam(self, x: Tensor) -> Tensor:
        """Return lambda (B, H, T) in (0, 1) for x (B, T, E).

        float32 or wider, also under autocast and in a bfloat16 model.
        """
        with torch.autocast(x.device.type, enabled=False):
            wide = torch.promote_types(
                _wide(x), _wide(self.lambda_proj.weight)
            )
            logits = linear(x.to(wide), self.lambda_proj.weight.to(wide))
        return logits.sigmoid().transpose(1, 2)

    def forward(
        self,
        x: Tensor,
        *,
        rope: Rope | None = None,
        cache: KVCache | None = None,
        key_lengths: Tensor | None = None,
        return_maps: bool = False,
        backend: str = "auto",
    ) -> Tensor | tuple[Tensor, AttentionMaps]:
        """Return (B, T, E); with return_maps also A1, A2 and A1 - lam A2."""
        q, k, v = self._project(x, rope, cache)
        lam = self.lam(x)
        out = self._merge(
            diff_attention(
                q, k, v, lam, key_lengths=key_lengths, backend=backend
            )
        )
        if not return_maps:
            return out
        return out, attention_maps(q, k, lam, key_lengths=key_lengths)


def _sizes(
    embed_dim: int, num_heads: int, num_kv_heads: int | None, maps: int
) -> tuple[int, int]:
    """Return D and Hkv of heads with one or two maps each, checked."""
    positive_int("embed_dim", embed_dim)
    positive_int("num_heads", num_heads)
    if embed_dim % (maps * num_heads):
        raise ValueError(
            f"embed_dim: got {embed_dim}, expected a multiple of "
            f"{maps * num_heads}, the number of attention maps"
        )
    if num_kv_heads is None:
        num_kv_heads = num_heads
    if num_heads % positive_int("num_kv_heads", num_kv_heads):
        raise ValueError(
            f"num_kv_heads: got {num_kv_heads}, expected a divisor of "
            f"num_heads = {num_heads}"
        )
    return embed_dim // (maps * num_heads), num_kv_heads
