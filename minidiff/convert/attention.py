"""Conversion of one attention module's weights to DiffLlama's and back."""

from collections.abc import Mapping

import torch
from torch import Tensor

from minidiff.files.checks import positive_int
from minidiff.files.tensors import check_tensors
from minidiff.nn.attention import MultiheadDiffAttention

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
        H and Hkv, counted as differential heads: half of DiffLlama's numbers.

    Returns
    -------
    Copies: q_proj.weight (2 H D, E), k_proj.weight and v_proj.weight
    (2 Hkv D, E), o_proj.weight (E, 2 H D), and four lambda vectors (D,). The
    rows of the first three are reordered; o_proj is W_O times the head norm's
    weight g (2D,), ``W_O diag(g, ..., g)``: g multiplies each head before
    W_O does (Ye et al. 2025, eq. 3), and DiffLlama has no such weight.

    Raises
    ------
    ValueError
        Naming the first tensor that is missing, unknown or of another shape
        than expected, or num_heads.
    """
    H, Hkv = num_heads, num_kv_heads
    own = _checked(state, _blank(state, H, Hkv))
    return {
        "q_proj.weight": _branches_out(own["q_proj.weight"], H),
        "k_proj.weight": _branches_out(own["k_proj.weight"], Hkv),
        "v_proj.weight": _swap(own["v_proj.weight"], Hkv, 2),
        # The 2D columns of W_O that belong to a head get the norm's weights.
        "o_proj.weight": own["out_proj.weight"] * own["norm_weight"].repeat(H),
    } | {name: own[name] for name in LAMBDAS}


def attention_from_diffllama(
    state: Mapping[str, Tensor], num_heads: int, num_kv_heads: int
) -> dict[str, Tensor]:
    """Return the weights of one DiffLlamaAttention under our names.

    This is the inverse of :func:`attention_to_diffllama`, except that
    norm_weight (2D,) is all ones. DiffLlama has no such weight; its effect
    is contained in o_proj. Shapes and errors are the same.
    """
    H, Hkv = num_heads, num_kv_heads
    blank = attention_to_diffllama(_blank(state, H, Hkv), H, Hkv)
    theirs = _checked(state, blank)
    out = theirs["o_proj.weight"]
    return {
        "q_proj.weight": _branches_in(theirs["q_proj.weight"], H),
        "k_proj.weight": _branches_in(theirs["k_proj.weight"], Hkv),
        "v_proj.weight": _swap(theirs["v_proj.weight"], 2, Hkv),
        "out_proj.weight": out,
        "norm_weight": out.new_ones(out.shape[1] // H),
    } | {name: theirs[name] for name in LAMBDAS}


def _swap(weight: Tensor, a: int, b: int) -> Tensor:
    """Reorder rows counted as (a, b, D) to (b, a, D)."""
    return weight.unflatten(0, (a, b, -1)).transpose(0, 1).flatten(0, 2)


def _branches_out(weight: Tensor, heads: int) -> Tensor:
    """Reorder rows (head, branch, pair, 2) to (branch, head, 2, pair)."""
    weight = weight.unflatten(0, (heads, 2, -1, 2))
    return weight.permute(1, 0, 3, 2, 4).flatten(0, 3)


def _branches_in(weight: Tensor, heads: int) -> Tensor:
    """Reorder rows (branch, head, 2, pair) to (head, branch, pair, 2)."""
    weight = weight.unflatten(0, (2, heads, 2, -1))
    return weight.permute(1, 0, 3, 2, 4).flatten(0, 3)


def _blank(state: Mapping[str, Tensor], H: int, Hkv: int) -> dict[str, Tensor]:
    """Return our state dict for these sizes, on the meta device."""
    q = state.get("q_proj.weight")
    if q is None or q.ndim != 2:
        raise ValueError(
            "state: q_proj.weight is missing or not a matrix, expected the "
            "weights of one attention module"
        )
    E = q.shape[1]
    if E % (4 * positive_int("num_heads", H)):
        raise ValueError(
            f"num_heads: got {H} with E = {E}, expected 4 num_heads to "
            "divide E, so that D is even as rotary positions need"
        )
    with torch.device("meta"):
        return MultiheadDiffAttention(E, H, Hkv, depth=0).state_dict()


def _checked(
    state: Mapping[str, Tensor], expected: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Check names and shapes of the tensors, and return copies."""
    check_tensors("state", "", dict(state), expected)
    return {name: tensor.detach().clone() for name, tensor in state.items()}
