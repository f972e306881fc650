"""Choice of the keys that a cache keeps, and their copy to smaller memory."""

import torch
from torch import Tensor

from minidiff.ops.arguments import check_tensor
from minidiff.ops.readable import is_readable


def highest(scores: Tensor, budget: int) -> Tensor:
    """Return the places of the highest scores, in ascending order.

    scores are (B, Hkv, S), and the result is (B, Hkv, min(budget, S)) int64.
    Of equal scores the later one is taken.
    """
    # Reversed, so that a stable sort puts the later of equals first.
    order = scores.flip(-1).sort(dim=-1, descending=True, stable=True).indices
    places = scores.shape[-1] - 1 - order[..., :budget]
    return places.sort(-1).values


def only(old: Tensor, kept: Tensor, S: int) -> Tensor:
    """Return smaller memory: the kept ones of S tokens, then the free places.

    kept is (B, Hkv, n). old is (B, Hkv, ..., capacity, width), and the result
    has S - n places less.
    """
    B, Hkv, n = kept.shape
    branches = (1,) * (old.ndim - 4)
    index = kept.view(B, Hkv, *branches, n, 1)
    shape = list(old.shape)
    shape[-2] -= S - n
    new = old.new_empty(shape)
    new[..., :n, :] = old[..., :S, :].take_along_dim(index, dim=-2)
    return new


def check_scores(
    scores: Tensor, B: int, Hkv: int, S: int, device: torch.device
) -> None:
    """Raise unless scores are (B, H, S) numbers with H a multiple of Hkv."""
    check_tensor("scores", scores, "(B, H, S)", 3)
    H = scores.shape[1]
    if (scores.shape[0], scores.shape[2]) != (B, S) or H == 0 or H % Hkv:
        raise ValueError(
            f"scores: got shape {tuple(scores.shape)}, expected (B, H, S) "
            f"with B = {B}, H a multiple of {Hkv}, and S = {S}, the keys held"
        )
    if not scores.is_floating_point():
        raise TypeError(
            f"scores: got dtype {scores.dtype}, expected a float dtype"
        )
    if scores.device != device:
        raise ValueError(
            f"scores: got {scores.device}, expected {device} as the cache"
        )
    if is_readable(scores) and scores.isnan().any():
        raise ValueError("scores: got NaN, expected numbers")
