"""Multi-head attention of three kinds: softmax, differential V1 and V2.

All three are causal and have the same ``forward``, ``MultiheadBase.forward``.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from minidiff.files.checks import (
    LARGEST_SIZE,
    flag,
    integer,
    number,
    one_of,
    positive,
    positive_int,
)
from minidiff.nn.multihead import MultiheadBase, head_sizes
from minidiff.nn.plain import call_wide, is_plain
from minidiff.ops import AttentionMaps, attention_maps, diff_attention
from minidiff.ops.arguments import check_key_lengths
from minidiff.ops.autocast import without_autocast
from minidiff.ops.eager import for_each_head
from minidiff.ops.epilogue import finish
from minidiff.ops.logits import masked_softmax, scaled_logits
from minidiff.ops.masks import blank_padding, visible
from minidiff.ops.sdpa import softmax_attention
from minidiff.ops.wide import wide
from minidiff.reference.lam import lambda_init

# Values of second_map, each with the factor that multiplies lambda.
SIGNS = {"subtract": 1, "add": -1, "off": 0}


class MultiheadAttention(MultiheadBase):
    """Softmax attention, as in the plain model matched to a DIFF model.

    Its heads are those of Vaswani et al. 2017, section 3.2.

    Parameters
    ----------
    embed_dim : int
        E; each head is D = E / num_heads wide.
    num_heads : int
        Query heads: twice the differential heads of the matched DIFF model.
    num_kv_heads : int, optional
        Key/value heads, a divisor of num_heads; num_heads by default.
    head_norm : bool
        Normalise each head over its own D channels and multiply by a learned
        weight, as in one row of the paper's Table 6. It separates the effect
        of the norm from that of the subtraction.
    norm_eps : float
        Added to the mean square in the head norm.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        *,
        head_norm: bool = False,
        norm_eps: float = 1e-5,
    ) -> None:
        D, Hkv = head_sizes(embed_dim, num_heads, num_kv_heads, 1)
        flag("head_norm", head_norm)
        norm_eps = positive("norm_eps", norm_eps)
        super().__init__(embed_dim, (num_heads, D), (Hkv, D), (Hkv, D))
        self.norm_eps = norm_eps
        self.norm_weight = nn.Parameter(torch.ones(D)) if head_norm else None

    def attend(
        self,
        x: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        key_lengths: Tensor | None,
        backend: str,
    ) -> Tensor:
        """Return the output of the heads, (B, H, T, D)."""
        one_of("backend", backend, ("auto", "eager", "sdpa"))
        if key_lengths is not None:
            check_key_lengths(q, k.unsqueeze(2), key_lengths)
        if backend != "eager":
            out = softmax_attention(q, k, v, key_lengths=key_lengths)
        else:
            A = self.maps(x, q, k, key_lengths)
            v = for_each_head(blank_padding(v, key_lengths), q.shape[1])
            out = (A @ v.to(A.dtype)).to(q.dtype)
        if self.norm_weight is None:
            return out
        return finish(wide(out), q.dtype, self.norm_weight, 1.0, self.norm_eps)

    def maps(
        self, x: Tensor, q: Tensor, k: Tensor, key_lengths: Tensor | None
    ) -> Tensor:
        """Return the causal map (B, H, T, S) in float32 or wider."""
        k = for_each_head(blank_padding(k, key_lengths), q.shape[1])
        T, S, D = q.shape[2], k.shape[2], q.shape[3]
        mask = visible(T, S, True, key_lengths, q.device)
        return masked_softmax(scaled_logits(q, k, D**-0.5), mask)


class MultiheadDiffAttention(MultiheadBase):
    """Differential attention as in the paper (V1; Ye et al. 2025, eq. 1-3).

    Head i uses queries and keys 2i and 2i + 1 of width D as its two branches,
    and values of width 2D. All heads and tokens of the layer share one lambda.
    Without ``head_norm`` (Table 6) the factor 1 - lam_init is omitted too,
    because its purpose is to rescale the norm's output; the paper does not
    specify this case.

    Parameters
    ----------
    embed_dim : int
        E; D = E / (2 num_heads).
    num_heads : int
        H, differential heads: half of the matched plain model's heads.
    num_kv_heads : int, optional
        Differential key/value heads, a divisor of H; H by default.
    depth : int
        Index of the layer, from 0; determines lam_init.
    head_norm : bool
        Normalise each head over its own 2D channels.
    lam_init : float, optional
        A constant in [0, 1) instead of ``lambda_init(depth)``.
    norm_eps : float
        Added to the mean square in the head norm.
    second_map : "subtract", "add" or "off"
        How the second map is combined with the first. "add" and "off" are
        controls: "add" gives lambda the opposite sign, and "off" sets it to
        0, so that the second queries and keys, a quarter of the attention's
        weights, have no effect.
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
        second_map: str = "subtract",
    ) -> None:
        D, Hkv = head_sizes(embed_dim, num_heads, num_kv_heads, 2)
        integer("depth", depth, 0, LARGEST_SIZE)
        flag("head_norm", head_norm)
        norm_eps = positive("norm_eps", norm_eps)
        one_of("second_map", second_map, tuple(SIGNS))
        if lam_init is None:
            lam_init = lambda_init(depth)
        elif not 0 <= number("lam_init", lam_init) < 1:
            raise ValueError(
                f"lam_init: got {lam_init}, expected None or 0 <= lam_init < 1"
            )
        super().__init__(
            embed_dim, (num_heads, 2, D), (Hkv, 2, D), (Hkv, 2 * D)
        )
        self.second_map = second_map
        self.lam_init = float(lam_init)
        self.norm_eps = norm_eps
        self.lambda_q1, self.lambda_k1, self.lambda_q2, self.lambda_k2 = (
            # The official code's initialisation; the paper gives none.
            nn.Parameter(wide(torch.empty(D)).normal_(std=0.1))
            for _ in range(4)
        )
        self.norm_weight = (
            nn.Parameter(torch.ones(2 * D)) if head_norm else None
        )

    def lam(self) -> Tensor:
        """Return ``exp(q1 . k1) - exp(q2 . k2) + lam_init``, eq. 2, 0-d.

        The result is float32 or wider, also under autocast and in a bfloat16
        model, because near 0.8 adjacent bfloat16 numbers differ by 0.004.
        """
        # Products and sums, because autocast would narrow a matmul.
        dot1 = (wide(self.lambda_q1) * wide(self.lambda_k1)).sum()
        dot2 = (wide(self.lambda_q2) * wide(self.lambda_k2)).sum()
        return dot1.exp() - dot2.exp() + self.lam_init

    @property
    def norm_scale(self) -> float | None:
        """The factor after the head norm, 1 - lam_init; None without it."""
        return None if self.norm_weight is None else 1 - self.lam_init

    def _subtracted(self) -> Tensor:
        """Return the factor of the second map in the subtraction."""
        return SIGNS[self.second_map] * self.lam()

    def attend(
        self,
        x: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        key_lengths: Tensor | None,
        backend: str,
        k_scale: Tensor | None = None,
        v_scale: Tensor | None = None,
    ) -> Tensor:
        """Return the normalised output of the heads, (B, H, T, 2D), eq. 3."""
        return diff_attention(
            q,
            k,
            v,
            self._subtracted(),
            norm_weight=self.norm_weight,
            norm_scale=self.norm_scale,
            eps=self.norm_eps,
            key_lengths=key_lengths,
            k_scale=k_scale,
            v_scale=v_scale,
            backend=backend,
        )

    def maps(
        self, x: Tensor, q: Tensor, k: Tensor, key_lengths: Tensor | None
    ) -> AttentionMaps:
        """Return A1, A2 and A1 - lam A2, each (B, H, T, S)."""
        return attention_maps(
            q, k, self._subtracted(), key_lengths=key_lengths
        )


class MultiheadDiffAttentionV2(MultiheadBase):
    """Differential attention V2 (Microsoft, January 2026).

    Head i has queries 2i and 2i + 1, which share one key head and one value
    head, all of width D. Lambda is ``sigmoid(x W_lambda)``, one number for
    each token and head. There is no head norm and no lam_init, and W_O maps
    H D channels to E.

    Parameters
    ----------
    embed_dim : int
        E.
    num_heads : int
        H, differential heads: half of the query heads.
    num_kv_heads : int, optional
        Key/value heads of width D, a divisor of H; H by default.
    head_dim : int, optional
        D; E / (2 num_heads) by default, so that the module has as many
        queries as a plain one with 2 num_heads heads. With E / num_heads it
        has the keys, values and W_O of a plain one with num_heads heads, and
        twice its queries.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        *,
        head_dim: int | None = None,
    ) -> None:
        maps = 2 if head_dim is None else 1
        D, Hkv = head_sizes(embed_dim, num_heads, num_kv_heads, maps)
        if head_dim is not None:
            D = positive_int("head_dim", head_dim)
        super().__init__(embed_dim, (num_heads, 2, D), (Hkv, 1, D), (Hkv, D))
        self.lambda_proj = nn.Linear(embed_dim, num_heads, bias=False)

    def lam(self, x: Tensor) -> Tensor:
        """Return lambda (B, H, T) in (0, 1) for x (B, T, E).

        The result is float32 or wider, also under autocast and in a bfloat16
        model.
        """
        proj = self.lambda_proj
        with without_autocast(x.device):
            if is_plain(proj, nn.Linear):
                weight = wide(proj.weight)
                logits = linear(x.to(weight.dtype), weight)
            else:
                logits = call_wide(proj, x)
        return logits.sigmoid().transpose(1, 2)

    def attend(
        self,
        x: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        key_lengths: Tensor | None,
        backend: str,
        k_scale: Tensor | None = None,
        v_scale: Tensor | None = None,
    ) -> Tensor:
        """Return the output of the heads, (B, H, T, D)."""
        return diff_attention(
            q,
            k,
            v,
            self.lam(x),
            key_lengths=key_lengths,
            k_scale=k_scale,
            v_scale=v_scale,
            backend=backend,
        )

    def maps(
        self, x: Tensor, q: Tensor, k: Tensor, key_lengths: Tensor | None
    ) -> AttentionMaps:
        """Return A1, A2 and A1 - lam A2, each (B, H, T, S)."""
        return attention_maps(q, k, self.lam(x), key_lengths=key_lengths)
