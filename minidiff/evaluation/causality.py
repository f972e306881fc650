"""Check that a model does not see the future, before its loss is believed."""

import torch

from minidiff.nn.model import DecoderLM

CUTS = 4  # positions from which on tokens are replaced, each in a row


@torch.no_grad()
def assert_causal(
    model: DecoderLM,
    *,
    length: int | None = None,
    backend: str = "auto",
    seed: int = 0,
) -> float:
    """Replace later tokens, and require that earlier logits stay.

    A model that sees one token ahead has a wonderful loss and says nothing.
    Random tokens are replaced by others from several positions on, the last
    token alone among them; the logits before must not move by more than
    rounding does: 1e-4 of the largest, or 1e-2 in 16 bits.

    Parameters
    ----------
    model : DecoderLM
    length : int, optional
        Tokens in a row; the model's window, at most 256, if not given.
    backend : str
        Of the attention: a mask is right in one and wrong in another.

    Returns
    -------
    The largest movement, as a share of the largest logit.

    Raises
    ------
    ValueError
        With the first position whose logits moved, or are not finite.
    """
    T = length or min(model.config.max_length, 256)
    device = next(model.parameters()).device
    random = torch.Generator().manual_seed(seed)
    V = model.config.vocab_size
    row = torch.randint(V, (T,), generator=random)
    # Added to an id this gives another id, whatever the id was.
    shift = torch.randint(1, max(V, 2), (T,), generator=random)
    cuts = sorted({max(1, T * i // CUTS) for i in range(1, CUTS)} | {T - 1})
    before = torch.arange(T) < torch.tensor(cuts)[:, None]  # (cuts, T)
    changed = torch.where(before, row, (row + shift) % V)
    # Two batches of one shape, so that equal sums are summed alike.
    as_was, as_is = (
        model(tokens.to(device), backend=backend).float()
        for tokens in (row.expand_as(changed).contiguous(), changed)
    )
    moved = (as_is - as_was).abs().amax(-1).cpu()  # (cuts, T)
    moved = moved.where(before, 0) / as_was.abs().max().item()
    half = next(model.parameters()).dtype.itemsize < 4
    half = half or torch.is_autocast_enabled(device.type)
    wrong = ~(moved <= (1e-2 if half else 1e-4))  # NaN is wrong too
    if wrong.any():
        cut, position = (int(i) for i in wrong.nonzero()[0])
        raise ValueError(
            f"model: its logits at position {position} moved by "
            f"{moved[cut, position].item():.2g} of the largest when the "
            f"tokens from {cuts[cut]} on were replaced (backend "
            f"{backend!r}), expected none to move: the model sees the future"
        )
    return moved.max().item()
