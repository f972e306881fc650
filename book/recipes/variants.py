"""Variants of differential attention for the ablations of chapter 24.

Each changes one thing of "diff" (V1). They are used in recipes only, so they
are no part of the package.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from minidiff import DecoderLM, ModelConfig, MultiheadDiffAttention
from minidiff.nn.kinds import build_kind
from minidiff.ops.wide import wide

VECTORS = ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")


class LambdaFixed(MultiheadDiffAttention):
    """Lambda stays lam_init: its vectors are zero and are not trained."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in VECTORS:
            nn.init.zeros_(getattr(self, name).requires_grad_(False))


class LambdaPerHead(MultiheadDiffAttention):
    """Each head has a lambda of its own: vectors (H, D) instead of (D,)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in VECTORS:
            new = torch.empty(self.q_shape[0], self.q_shape[-1])
            setattr(self, name, nn.Parameter(new.normal_(std=0.1)))

    def lam(self) -> Tensor:
        """Return lambda (1, H, 1)."""
        q1, k1, q2, k2 = (wide(getattr(self, name)) for name in VECTORS)
        lam = (q1 * k1).sum(-1).exp() - (q2 * k2).sum(-1).exp() + self.lam_init
        return lam[None, :, None]


class LambdaWithoutExp(MultiheadDiffAttention):
    """Lambda is ``q1 . k1 - q2 . k2 + lam_init``, without exponentials."""

    def lam(self) -> Tensor:
        """Return lambda, 0-d."""
        q1, k1, q2, k2 = (wide(getattr(self, name)) for name in VECTORS)
        return (q1 * k1).sum() - (q2 * k2).sum() + self.lam_init


class WithoutGain(MultiheadDiffAttention):
    """The norm's output is not multiplied by ``1 - lam_init``."""

    @property
    def norm_scale(self) -> float | None:
        """The factor after the head norm."""
        return None if self.norm_weight is None else 1.0


class SharedKeys(MultiheadDiffAttention):
    """Both branches have the same keys, as in V2: half the key weights."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        H, _, D = self.k_shape
        self.k_shape = (H, 1, D)
        self.k_proj = nn.Linear(self.embed_dim, H * D, bias=False)


MODULES: dict[str, type[MultiheadDiffAttention]] = {
    "lambda fixed": LambdaFixed,
    "lambda per head": LambdaPerHead,
    "lambda without exp": LambdaWithoutExp,
    "without gain": WithoutGain,
    "shared keys": SharedKeys,
}
CHANGES: dict[str, dict[str, Any]] = {
    "lambda_init 0.8": {"lam_init": 0.8},
    "without norm": {"head_norm": False},
}
VARIANTS = (*CHANGES, *MODULES)


def build_variant(base: ModelConfig, variant: str, seed: int) -> DecoderLM:
    """Build one variant.

    Every weight whose name and shape also occur in "diff" has the initial
    value that it has there for this seed. Raises ValueError for an unknown
    variant.
    """
    if variant not in VARIANTS:
        raise ValueError(
            f"variant: got {variant!r}, expected one of {', '.join(VARIANTS)}"
        )
    shared = build_kind(base, "diff", seed).state_dict()
    torch.manual_seed(seed)
    changes = CHANGES.get(variant, {})
    model = DecoderLM(replace(base, attention="diff", **changes))
    if variant in MODULES:
        for depth, block in enumerate(model.blocks):
            block.attention = MODULES[variant](
                model.config.embed_dim,
                model.config.heads,
                depth=depth,
                norm_eps=model.config.norm_eps,
            )
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    own = model.state_dict()
    agreed = {
        name: shared[name]
        for name, value in own.items()
        if name in shared
        and name not in frozen
        and shared[name].shape == value.shape
    }
    model.load_state_dict(own | agreed)
    return model
