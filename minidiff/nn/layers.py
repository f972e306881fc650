"""Layers that all decoders use: RMSNorm, rotary positions and SwiGLU."""

import torch
from torch import Tensor, nn
from torch.nn import RMSNorm
from torch.nn.functional import silu

from minidiff.files.checks import positive, positive_int

__all__ = [
    "RMSNorm",
    "SwiGLU",
    "apply_rope",
    "rope_angles",
    "swiglu_width",
]


def rope_angles(
    length: int, dim: int, base: float = 10000.0
) -> tuple[Tensor, Tensor]:
    """Return cos and sin of the rotary angles, each (length, dim / 2).

    Position t rotates channel pair i by ``t * base**(-2 i / dim)`` radians
    (Su et al. 2021). The tables have torch's default dtype.
    """
    positive_int("length", length)
    if positive_int("dim", dim) % 2:
        raise ValueError(f"dim: got {dim}, expected an even number")
    base = positive("base", base)
    # In float64, because a float32 angle of a few thousand radians has an
    # error in its fourth decimal place.
    i = torch.arange(dim // 2, dtype=torch.float64)
    t = torch.arange(length, dtype=torch.float64)
    angles = t[:, None] * base ** (-2 * i / dim)
    dtype = torch.get_default_dtype()
    return angles.cos().to(dtype), angles.sin().to(dtype)


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate x (..., T, D) by the angles of its T positions.

    cos and sin are (T, D / 2). Pair i consists of channels 2i and 2i + 1,
    the interleaved convention of the official code; other libraries pair
    channel i with channel i + D / 2. The result has x's dtype.
    """
    T, D = x.shape[-2:]
    for name, table in (("cos", cos), ("sin", sin)):
        if 2 * table.shape[-1] != D or table.shape[:-1] != (T,):
            raise ValueError(
                f"{name}: got shape {tuple(table.shape)}, expected "
                f"({T}, {D / 2:g}), half the width of x "
                f"{tuple(x.shape)}"
            )
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = torch.stack(
        (even * cos - odd * sin, even * sin + odd * cos), dim=-1
    )  # (..., T, D / 2, 2)
    # float32 tables promote a bfloat16 x to float32, but q and k must keep the
    # dtype of v.
    return turned.flatten(-2).to(x.dtype)


def swiglu_width(embed_dim: int) -> int:
    """Return 8/3 of embed_dim, rounded up to a multiple of 8.

    Three matrices of this width have as many parameters as two matrices of
    width 4 embed_dim.
    """
    return 8 * -(-positive_int("embed_dim", embed_dim) // 3)


class SwiGLU(nn.Module):
    """Feed-forward layer ``(silu(x W_gate) * x W_up) W_down``, no biases.

    Shazeer 2020; Ye et al. 2025, section 2.2. x is (..., E) in and out.

    Parameters
    ----------
    embed_dim : int
        E.
    ffn_dim : int, optional
        Inner width; ``swiglu_width(embed_dim)`` if not given.
    """

    def __init__(self, embed_dim: int, ffn_dim: int | None = None) -> None:
        super().__init__()
        if ffn_dim is None:
            ffn_dim = swiglu_width(embed_dim)
        positive_int("ffn_dim", ffn_dim)
        self.gate_proj = nn.Linear(embed_dim, ffn_dim, bias=False)
        self.up_proj = nn.Linear(embed_dim, ffn_dim, bias=False)
        self.down_proj = nn.Linear(ffn_dim, embed_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., E) for x (..., E)."""
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))
