"""A second branch for a trained plain model, without a change of its outputs.

Each plain head becomes a head of differential attention V2 that keeps its
keys and values. Only the queries are doubled, as V2's authors describe next
to a baseline with as many heads.
"""

import copy

import torch
from torch import nn

from minidiff.nn.attention import MultiheadAttention, MultiheadDiffAttentionV2
from minidiff.nn.model import DecoderLM
from minidiff.nn.wrappers import check_unchanged, unwrapped


def add_second_branch(model: nn.Module) -> DecoderLM:
    """Return a differential model that computes what a plain model computes.

    The second queries begin as copies of the first, and lambda's matrix with
    zeros. So both maps of a head are equal and lambda is 1/2: a head gives
    ``A v - A v / 2``, half of what it gave before, and W_O is doubled. In
    binary numbers both factors are exact. From here the two queries of a head
    get gradients of opposite sign, so training takes the maps apart. With H
    heads of width D, q_proj.weight grows from (H D, E) to (2 H D, E), and
    lambda_proj.weight (H, E) is new.

    The result has copies of all weights. Its blocks have
    :class:`minidiff.MultiheadDiffAttentionV2`, which its config does not
    describe: it is saved and loaded by its state dict, into another result of
    this function.

    Raises TypeError if model is not a DecoderLM, and ValueError naming what is
    not supported: another attention than "softmax", a head norm, or a part
    that was replaced, such as an adapter.
    """
    check_unchanged(model)
    plain = unwrapped(model)
    for name, got, only in (
        ("attention", plain.config.attention, "softmax"),
        ("head_norm", plain.config.normed, False),
    ):
        if got != only:
            raise ValueError(
                f"{name}: got {got!r}, expected {only!r}: a second branch is "
                "added to plain heads"
            )
    result = copy.deepcopy(plain)
    for block in result.blocks:
        block.attention = _mirrored(block.get_submodule("attention"))
    return result


@torch.no_grad()
def _mirrored(plain: nn.Module) -> MultiheadDiffAttentionV2:
    """Return V2 with two equal branches in place of a plain attention."""
    assert isinstance(plain, MultiheadAttention)
    (H, D), (Hkv, _) = plain.q_shape, plain.k_shape
    weight = plain.q_proj.weight
    with torch.device(weight.device):
        new = MultiheadDiffAttentionV2(plain.embed_dim, H, Hkv, head_dim=D)
    new = new.to(weight.dtype).train(plain.training)
    twice = weight.unflatten(0, (H, 1, D)).expand(H, 2, D, -1)
    new.q_proj.weight.copy_(twice.flatten(0, 2))
    new.k_proj.weight.copy_(plain.k_proj.weight)
    new.v_proj.weight.copy_(plain.v_proj.weight)
    new.out_proj.weight.copy_(2 * plain.out_proj.weight)
    new.lambda_proj.weight.zero_()
    return new
