"""Logits and masked softmax of the eager backend, with a hook for the logits.

The hook can read or change the logits. It works with the eager backend only,
because fused kernels never store the logits.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import local

from torch import Tensor

from minidiff.ops.autocast import without_autocast
from minidiff.ops.wide import wide, wide_dtype

_here = local()  # a thread's change of its logits, if any


def scaled_logits(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """Return ``q k' scale`` in float32 or wider, also under autocast.

    In 16 bits a logit of a few thousand is rounded to whole numbers, and a
    larger one overflows. q is (..., T, D) and k is (..., S, D).
    """
    with without_autocast(q.device):
        return (wide(q) * scale) @ wide(k).transpose(-1, -2)


def masked_softmax(logits: Tensor, mask: Tensor | None) -> Tensor:
    """Return the softmax over the visible keys, in float32 or wider.

    logits are (..., T, S); mask broadcasts to them and is True where a query
    sees a key. Hidden keys get weight 0. If a query sees no key, all its
    weights are 0.
    """
    change = getattr(_here, "change", None)
    if change is not None:
        logits = change(logits, mask)
    if mask is None:
        return logits.softmax(-1, dtype=wide_dtype(logits))
    # A row without visible keys is computed over all keys and then set to
    # zero. The softmax of a row of -inf would be NaN, and so its gradient.
    seen = mask.any(-1, keepdim=True)
    logits = logits.masked_fill(~mask & seen, float("-inf"))
    return logits.softmax(-1, dtype=wide_dtype(logits)).masked_fill(~mask, 0)


@contextmanager
def logits_through(
    change: Callable[[Tensor, Tensor | None], Tensor],
) -> Iterator[None]:
    """Apply ``change`` to the logits of every eager attention in the block.

    Attention in other threads is not changed.

    Parameters
    ----------
    change : callable
        Takes two arguments: the scaled logits ``q k' scale`` before masking,
        (B, H, T, S), or (B, H, 2, T, S) for differential attention; and the
        mask, which broadcasts to them, or None. Returns the logits to use.
        It is called once for each layer, in the order of the layers.

    Raises
    ------
    RuntimeError
        At the end of the block, if ``change`` was never called because the
        attention ran on another backend.
    """
    called = False

    def noted(logits: Tensor, mask: Tensor | None) -> Tensor:
        nonlocal called
        called = True
        return change(logits, mask)

    before = getattr(_here, "change", None)
    _here.change = noted
    try:
        yield
    finally:
        _here.change = before
    if not called:
        raise RuntimeError(
            "logits_through: no logits came, expected attention with "
            "backend='eager' inside the block"
        )
