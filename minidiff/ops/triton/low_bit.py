"""PyTorch operators for the kernels that read 8 bits; no gradients."""

from typing import Any

from torch import Tensor
from torch.library import custom_op

from minidiff.ops.arguments import SCHEMA, Arguments
from minidiff.ops.triton.launch import common
from minidiff.ops.triton.launch import decode as launch_decode
from minidiff.ops.triton.launch import low_bit as launch_low_bit


@custom_op(
    "minidiff::diff_decode_low_bit",
    mutates_args=(),
    schema=f"({SCHEMA}, Tensor k_scale, Tensor v_scale) -> Tensor",
)
def decode(*flat: Any) -> Tensor:
    """Decode from keys and values that are codes with scales."""
    *given, k_scale, v_scale = flat
    return launch_decode.decode(
        Arguments(*given), k_scale=k_scale, v_scale=v_scale
    )


@decode.register_fake
def _(*flat: Any) -> Tensor:
    return common.heads_last(Arguments(*flat[:-2]))


@decode.register_vmap
def _(info: Any, in_dims: Any, *flat: Any) -> tuple[Any, Any]:
    raise NotImplementedError(
        "k_scale: torch.vmap over 8-bit keys and values is not supported; "
        "expected one call for all rows"
    )


@custom_op(
    "minidiff::diff_forward_low_bit",
    mutates_args=(),
    schema=f"({SCHEMA}, str precision) -> Tensor",
)
def forward(*flat: Any) -> Tensor:
    """See :func:`minidiff.ops.triton.launch.low_bit.forward`."""
    *given, precision = flat
    return launch_low_bit.forward(Arguments(*given), precision)


@forward.register_fake
def _(*flat: Any) -> Tensor:
    return common.heads_last(Arguments(*flat[:-1]))


@forward.register_vmap
def _(info: Any, in_dims: Any, *flat: Any) -> tuple[Any, Any]:
    raise NotImplementedError(
        "precision: torch.vmap over the kernels for 8 bits is not supported; "
        "expected one call for all rows, or backend='eager'"
    )
