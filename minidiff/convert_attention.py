"""One attention module's weights, from our order to DiffLlama's and back."""

from collections.abc import Mapping

import torch
from torch import Tensor

from minidiff.attention import MultiheadDiffAttention
from minidiff.checkpoint import check_tensors
from minidiff.layers import positive_int

LAMBDAS = ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")


def attention_to_diffllama(
    state: Mapping[str, Tensor], num_heads: int, num_kv_heads: int
) -> dict[str, Tensor]:
    """Return the weights of one attention under DiffLlamaAttention's names.

    Parameters
    ----------
    state : mapping
        ``MultiheadDiffAttention.state_dict()``, norm_weight included.
    num_heads, num_kv_heads : int
        H and Hkv, differential heads: half of what DiffLlama counts.

    Raises ValueError naming the first tensor that does not fit.
    """
    blank = _blank_attention(state, "q_proj.weight", num_heads, num_kv_heads)
    check_tensors("state", "", dict(state), blank)
    return rows_to_diffllama(state, num_heads, num_kv_heads)


def attention_from_diffllama(
    state: Mapping[str, Tensor], num_heads: int, num_kv_heads: int
) -> dict[str, Tensor]:
    """Return the weights of one DiffLlamaAttention under our names.

    The inverse of :func:`attention_to_diffllama`, with a norm_weight of
    ones: theirs is part of o_proj.
    """
    blank = _blank_attention(state, "q_proj.weight", num_heads, num_kv_heads)
    expected = rows_to_diffllama(blank, num_heads, num_kv_heads)
    check_tensors("state", "", dict(state), expected)
    return rows_from_diffllama(state, num_heads, num_kv_heads)


def rows_to_diffllama(
    state: Mapping[str, Tensor], H: int, Hkv: int
) -> dict[str, Tensor]:
    weight = state["out_proj.weight"]
    return {
        "q_proj.weight": _branches_out(state["q_proj.weight"], H),
        "k_proj.weight": _branches_out(state["k_proj.weight"], Hkv),
        "v_proj.weight": _swap(state["v_proj.weight"], Hkv, 2),
        # Head by head, column c of 2D is multiplied by norm_weight[c].
        "o_proj.weight": weight * state["norm_weight"].repeat(H),
    } | {name: state[name].clone() for name in LAMBDAS}


def rows_from_diffllama(
    state: Mapping[str, Tensor], H: int, Hkv: int
) -> dict[str, Tensor]:
    weight = state["o_proj.weight"]
    return {
        "q_proj.weight": _branches_in(state["q_proj.weight"], H),
        "k_proj.weight": _branches_in(state["k_proj.weight"], Hkv),
        "v_proj.weight": _swap(state["v_proj.weight"], 2, Hkv),
        "out_proj.weight": weight.clone(),
        "norm_weight": weight.new_ones(weight.shape[1] // H),
    } | {name: state[name].clone() for name in LAMBDAS}


def _swap(weight: Tensor, a: int, b: int) -> Tensor:
    """Reorder rows counted as (a, b, ...) to (b, a, ...)."""
    return weight.unflatten(0, (a, b, -1)).transpose(0, 1).flatten(0, 2)


def _branches_out(weight: Tensor, heads: int) -> Tensor:
    """Rows (heads, branch, pair, even or odd) to their order."""
    weight = weight.unflatten(0, (heads, 2, -1, 2))
    return weight.permute(1, 0, 3, 2, 4).flatten(0, 3)


def _branches_in(weight: Tensor, heads: int) -> Tensor:
    """Rows (branch, heads, even or odd, pair) to our order."""
    weight = weight.unflatten(0, (2, heads, 2, -1))
    return weight.permute(1, 0, 3, 2, 4).flatten(0, 3)


def _blank_attention(
    state: Mapping[str, Tensor], name: str, H: int, Hkv: int
) -> dict[str, Tensor]:
    """Return our state of the right sizes, with shapes but no numbers."""
    if name not in state or state[name].ndim != 2:
        raise ValueError(
            f"state: {name} is missing or not a matrix, expected the "
            "weights of one attention module"
        )
    E = state[name].shape[1]
    if E % (4 * positive_int("num_heads", H)):
        raise ValueError(
            f"num_heads: got {H} with E = {E}, expected E to be a multiple "
            "of 4 num_heads, so that D is even as rotary positions need"
        )
    with torch.device("meta"):
        return MultiheadDiffAttention(E, H, Hkv, depth=0).state_dict()
