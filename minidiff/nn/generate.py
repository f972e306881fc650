"""Text generation: sampling with temperature, top-p and a cache."""

import torch
from torch import Tensor

from minidiff.nn.model import DecoderLM


@torch.no_grad()
def generate(
    model: DecoderLM,
    tokens: Tensor,
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int | torch.Generator | None = None,
    cache: bool = True,
) -> Tensor:
    """Append ``max_new_tokens`` sampled tokens to each row of tokens.

    Parameters
    ----------
    tokens : (B, T) integers
        Prompts, all of the same length T >= 1.
    max_new_tokens : int
        ``T + max_new_tokens`` must not exceed the model's ``max_length``;
        prompts are never truncated.
    temperature : float
        Divides the logits. Below 1 the distribution is sharper, above 1
        flatter; 0 always takes the most likely token.
    top_p : float
        Sample from the smallest set of most likely tokens whose probabilities
        sum to at least this (Holtzman et al. 2020); 1 keeps all tokens.
    seed : int or torch.Generator (on the CPU), optional
        Makes the result reproducible. None uses PyTorch's global generator.
    cache : bool
        Store keys and values instead of recomputing them for each token. The
        result is the same up to rounding and takes less time.

    Returns
    -------
    (B, T + max_new_tokens) int64: the prompts with the new tokens appended.

    Raises
    ------
    ValueError
        The message names the argument, the value received and the value
        expected.
    """
    _check(model, tokens, max_new_tokens, temperature, top_p)
    if isinstance(seed, int):
        seed = torch.Generator().manual_seed(seed)
    row = tokens.to(torch.int64)
    training = model.training
    model.eval()
    length = row.shape[1] + max_new_tokens
    state = model.new_cache(row.shape[0], length) if cache else None
    new = row
    for _ in range(max_new_tokens):
        logits = model(new if cache else row, cache=state)[:, -1]
        new = sample(logits, temperature, top_p, seed)[:, None]
        row = torch.cat([row, new], dim=1)
    model.train(training)
    return row


def sample(
    logits: Tensor,
    temperature: float,
    top_p: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Sample one token id for each row: logits (B, V), result (B,)."""
    if temperature == 0:
        return logits.argmax(-1)
    # On the CPU, so that a seed gives the same draws on every device.
    probabilities = (logits.float().cpu() / temperature).softmax(-1)
    if top_p < 1:
        probabilities = keep_top_p(probabilities, top_p)
    drawn = torch.multinomial(probabilities, 1, generator=generator)
    return drawn[:, 0].to(logits.device)


def keep_top_p(probabilities: Tensor, top_p: float) -> Tensor:
    """Set to 0 all but the smallest set whose sum reaches ``top_p``.

    probabilities and the result are (B, V). The result is not normalised
    again. The most likely token is always kept.
    """
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    # A token is kept if the sum of all more likely tokens is below top_p.
    before = ordered.cumsum(-1) - ordered
    kept = torch.where(before < top_p, ordered, 0.0)
    return torch.zeros_like(probabilities).scatter(-1, order, kept)


def _check(
    model: DecoderLM,
    tokens: Tensor,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
) -> None:
    if tokens.ndim != 2 or 0 in tokens.shape:
        raise ValueError(
            f"tokens: got shape {tuple(tokens.shape)}, expected (B, T) with "
            "at least one token a row"
        )
    if max_new_tokens < 1:
        raise ValueError(
            f"max_new_tokens: got {max_new_tokens}, expected 1 or more"
        )
    room = model.config.max_length - tokens.shape[1]
    if max_new_tokens > room:
        raise ValueError(
            f"max_new_tokens: got {max_new_tokens} after a prompt of "
            f"{tokens.shape[1]} tokens, expected at most {room}: the model's "
            f"max_length is {model.config.max_length}"
        )
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature: got {temperature}, expected >= 0")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p: got {top_p}, expected above 0 and at most 1")
