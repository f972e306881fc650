"""Check of causality: no logit may depend on later tokens."""

import torch

from minidiff.files.checks import positive_int
from minidiff.nn.model import DecoderLM
from minidiff.ops.autocast import autocast_dtype

CUTS = 4  # positions from which tokens are replaced, one for each row


@torch.no_grad()
def assert_causal(
    model: DecoderLM,
    *,
    length: int | None = None,
    backend: str = "auto",
    seed: int = 0,
) -> float:
    """Replace later tokens, and require that earlier logits do not change.

    Check this before you trust a loss: a model that sees one token ahead
    reaches a very low loss without having learnt to predict. Rows of random
    tokens are changed from several positions on, one of them the last. The
    logits before these positions must not change by more than rounding: 1e-4
    of the largest logit, or 1e-2 in 16 bits.

    Parameters
    ----------
    model : DecoderLM
    length : int, optional
        Tokens in a row; the model's window, at most 256, if not given.
    backend : str
        Backend of the attention. Check each one that you use, since a mask
        can be right in one backend and wrong in another.

    Returns
    -------
    The largest change, relative to the largest logit.

    Raises
    ------
    ValueError
        If logits changed or are not finite; names the first such position.
    """
    if length is not None:
        positive_int("length", length)
    T = length or min(model.config.max_length, 256)
    device = next(model.parameters()).device
    random = torch.Generator().manual_seed(seed)
    V = model.config.vocab_size
    row = torch.randint(V, (T,), generator=random)
    # Adding this to an id modulo V always gives a different id.
    shift = torch.randint(1, max(V, 2), (T,), generator=random)
    cuts = sorted({max(1, T * i // CUTS) for i in range(1, CUTS)} | {T - 1})
    before = torch.arange(T) < torch.tensor(cuts)[:, None]  # (cuts, T)
    changed = torch.where(before, row, (row + shift) % V)
    # Use batches of equal shape, so that sums are in the same order.
    as_was, as_is = (
        model(tokens.to(device), backend=backend).float()
        for tokens in (row.expand_as(changed).contiguous(), changed)
    )
    moved = (as_is - as_was).abs().amax(-1).cpu()  # (cuts, T)
    moved = moved.where(before, 0) / as_was.abs().max().item()
    half = next(model.parameters()).dtype.itemsize < 4
    half = half or autocast_dtype(device) is not None
    wrong = ~(moved <= (1e-2 if half else 1e-4))  # NaN counts as wrong
    if wrong.any():
        cut, position = (int(i) for i in wrong.nonzero()[0])
        raise ValueError(
            f"model: its logits at position {position} moved by "
            f"{moved[cut, position].item():.2g} of the largest when the "
            f"tokens from {cuts[cut]} on were replaced (backend "
            f"{backend!r}), expected none to move: the model sees the future"
        )
    return moved.max().item()
