"""Products of queries and keys in 8 bits: the arithmetic, without kernels.

``diff_attention(..., precision="int8")`` rounds q and k to codes of 8 bits
and multiplies the codes: int8 codes give sums in int32, fp8 codes (e4m3) sums
in float32. A block of QUERY_BLOCK queries or of KEY_BLOCK keys shares a scale,
in each head and branch, and a logit is its sum times two scales. Softmax,
values, subtraction and norm are those of the unrounded operator.

Keys lose their mean first. Without it their numbers are smaller, and so are
the steps of the codes, above all where all keys share a large offset. The
maps stay the same: with m the mean of a branch's keys,

    q . (k_s - m) = q . k_s - q . m,

and q . m is the same for all keys s, so softmax cancels it. This holds in
each branch by itself, whatever the other one subtracts.

Nothing saturates, and an outlier makes its own block coarse. Only a key that
is S times as large as the others, of S, moves the mean as far as they are
wide, and so makes all blocks coarser.

The mean and the scales are taken over tokens that a causal mask hides from
earlier queries. So a later token can change how earlier logits are rounded;
without rounding it would change nothing.

The kernels of triton/kernels/low_bit.py multiply the codes themselves. The
method is that of SageAttention (Zhang et al. 2024) with two branches.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from minidiff.files.checks import one_of
from minidiff.ops.arguments import Arguments
from minidiff.ops.low_bit import CODES, quantise
from minidiff.ops.masks import blank_padding
from minidiff.ops.readable import in_func_gradient
from minidiff.ops.wide import wide, wide_dtype

# Tokens that share a scale. The kernels' tiles divide them.
QUERY_BLOCK, KEY_BLOCK = 128, 64
BACKENDS = ("eager", "triton")


def check_products(
    x: Arguments, precision: str, backend: str, *, codes: bool
) -> None:
    """Raise, naming ``precision``, for what has no products in 8 bits.

    ``codes`` tells whether k and v are codes already.
    """
    one_of("precision", precision, tuple(CODES))
    if codes:
        raise ValueError(
            f"precision: got {precision!r} with k_scale and v_scale, expected "
            "one or the other: k and v are codes already, and q is not rounded"
        )
    if backend not in ("auto", *BACKENDS):
        raise ValueError(
            f"precision: got {precision!r} with backend {backend!r}, expected "
            "backend 'triton', or 'eager' for its readable reference"
        )
    learning = [
        name
        for name, a in x._asdict().items()
        if isinstance(a, Tensor) and a.requires_grad
    ]
    if in_func_gradient() or (torch.is_grad_enabled() and learning):
        which = f" of {', '.join(learning)}" if learning else ""
        raise NotImplementedError(
            f"precision: got {precision!r} where gradients{which} are asked "
            "for, but rounded products have none; expected None, or a call "
            "inside torch.no_grad()"
        )


def rounded_products(x: Arguments, precision: str) -> Arguments:
    """Return the arguments with q and k as their codes stand for them.

    q and k are then float32, or float64 if they were. Keys have no mean, and
    padded keys are zeros.
    """
    k = centred_keys(x.k, x.key_lengths)
    return x._replace(
        q=_rounded(x.q, precision, QUERY_BLOCK),
        k=_rounded(k, precision, KEY_BLOCK),
    )


def mean_key(k: Tensor, key_lengths: Tensor | None) -> Tensor:
    """Return the mean (B, Hkv, P, 1, D) over the keys k (B, Hkv, P, S, D).

    Padding does not count. The mean is float32 or wider.
    """
    dtype = wide_dtype(k)
    if key_lengths is None:
        return k.mean(-2, keepdim=True, dtype=dtype)
    total = blank_padding(k, key_lengths).sum(-2, keepdim=True, dtype=dtype)
    count = key_lengths.clamp(1, k.shape[-2])  # a row may have no keys
    return total / count.view(-1, 1, 1, 1, 1)


def centred_keys(k: Tensor, key_lengths: Tensor | None) -> Tensor:
    """Return the keys minus their mean, float32 or wider; padding is zeros."""
    return blank_padding(wide(k) - mean_key(k, key_lengths), key_lengths)


def quantise_blocks(
    x: Tensor, precision: str, rows: int
) -> tuple[Tensor, Tensor]:
    """Return codes (..., T, D) and scales (..., blocks) of x (..., T, D).

    Row t has the scale of block t // rows.
    """
    T = x.shape[-2]
    blocks = pad(x, (0, 0, 0, -T % rows)).unflatten(-2, (-1, rows))
    codes, scales = quantise(blocks, precision, axes=(-2, -1))
    return codes.flatten(-3, -2)[..., :T, :], scales.flatten(-3)


def _rounded(x: Tensor, precision: str, rows: int) -> Tensor:
    codes, scales = quantise_blocks(x, precision, rows)
    of_row = scales.repeat_interleave(rows, -1)[..., : x.shape[-2], None]
    return codes.to(scales.dtype) * of_row
