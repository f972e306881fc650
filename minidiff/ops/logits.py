"""The softmax of the eager backend, and a place to see or change its logits.

Only the eager backend writes the logits out; fused kernels never hold them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_change: Callable[[Tensor, Tensor | None], Tensor] | None = None


def masked_softmax(logits: Tensor, mask: Tensor | None) -> Tensor:
    """Return the softmax over the visible keys, in float32 or wider.

    logits are (..., T, S) and mask is True where a query sees a key; hidden
    keys get 0, and so does every key of a query that sees none.
    """
    wide = torch.promote_types(logits.dtype, torch.float32)
    if _change is not None:
        logits = _change(logits, mask)
    if mask is None:
        return logits.softmax(-1, dtype=wide)
    # A row with nothing to see is softmaxed over all keys and then set to
    # zero: an all -inf row would be NaN, in the gradient too.
    seen = mask.any(-1, keepdim=True)
    logits = logits.masked_fill(~mask & seen, float("-inf"))
    return logits.softmax(-1, dtype=wide).masked_fill(~mask, 0)


@contextmanager
def logits_through(
    change: Callable[[Tensor, Tensor | None], Tensor],
) -> Iterator[None]:
    """Let every eager attention inside the block pass its logits through.

    Parameters
    ----------
    change : callable
        Takes the scaled logits ``q k' scale`` before masking, (B, H, T, S),
        or (B, H, 2, T, S) of a differential head, and the mask that
        broadcasts to them or None; returns the logits to go on with. It is
        called once a layer, in the order of the layers.

    Raises
    ------
    RuntimeError
        At the end of the block, if nothing came: the attention ran on another
        backend.
    """
    global _change
    called = False

    def noted(logits: Tensor, mask: Tensor | None) -> Tensor:
        nonlocal called
        called = True
        return change(logits, mask)

    before, _change = _change, noted
    try:
        yield
    finally:
        _change = before
    if not called:
        raise RuntimeError(
            "logits_through: no logits came, expected attention with "
            "backend='eager' inside the block"
        )
