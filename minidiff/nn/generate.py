"""Text generation: sampling with temperature, top-p and a cache."""

import torch
from torch import Tensor, nn

from minidiff.files.checks import (
    LARGEST_COUNT,
    flag,
    integer,
    number,
    one_of,
)
from minidiff.nn.key_scores import h2o_difference
from minidiff.nn.modes import in_mode
from minidiff.nn.prompt import evict_prompt
from minidiff.nn.wrappers import unwrapped
from minidiff.ops.arguments import check_tensor
from minidiff.ops.low_bit import CODES
from minidiff.ops.readable import is_readable


@torch.no_grad()
def generate(
    model: nn.Module,
    tokens: Tensor,
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int | torch.Generator | None = None,
    cache: bool = True,
    budget: int | None = None,
    cache_precision: str | None = None,
    slide: bool = False,
) -> Tensor:
    """Append ``max_new_tokens`` sampled tokens to each row of tokens.

    Parameters
    ----------
    model : DecoderLM
        Also compiled, or inside a wrapper of DDP.
    tokens : (B, T) integers
        Prompts, all of the same length T >= 1.
    max_new_tokens : int
        ``T + max_new_tokens`` must not exceed the model's ``max_length``,
        unless ``slide`` is set. Prompts are never truncated.
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
    budget : int, optional
        Number of the prompt's keys that each key head keeps in the cache; the
        others are evicted when the prompt has been read, by
        :func:`minidiff.nn.key_scores.h2o_difference`. New tokens are all
        kept. The cache then takes less memory, and the text may differ.
        Reading the prompt takes more memory, as it stores a layer's maps. All
        keys are kept if not given.
    cache_precision : "int8" or "fp8", optional
        Store the cache in 8 bits, in about half the memory of 16 bits. The
        text may differ, and it takes no less time.
    slide : bool
        Go on past the model's ``max_length``. Whenever the context has
        reached it, the model reads the last half of it again and goes on
        from there, so it forgets what came before.

    Returns
    -------
    (B, T + max_new_tokens) int64: the prompts with the new tokens appended.

    Raises
    ------
    ValueError, TypeError
        The message names the argument, the value received and the value
        expected; "logits" if the model gives NaN, and "model" if another
        thread trains it. The model is in the mode in which it was, also after
        an error. Several threads may generate from one model at a time.
    """
    inner = unwrapped(model)
    longest = inner.config.max_length
    flag("slide", slide)
    _check(longest, tokens, max_new_tokens, slide)
    if any(weight.is_meta for weight in inner.parameters()):
        raise ValueError("model: got weights on meta, expected values")
    _check_sampling(temperature, top_p)
    flag("cache", cache)
    if budget is not None and not cache:
        raise ValueError(
            f"budget: got {budget} with cache=False, expected cache=True, as "
            "it is the number of keys that the cache keeps"
        )
    if cache_precision is not None:
        one_of("cache_precision", cache_precision, tuple(CODES))
        if not cache:
            raise ValueError(
                f"cache_precision: got {cache_precision!r} with cache=False, "
                "expected cache=True, as it is how the cache stores numbers"
            )
    generator = _generator("seed", seed)
    row = tokens.to(torch.int64)
    capacity = min(row.shape[1] + max_new_tokens, longest)
    state, new, start = None, row, 0  # the context is row[:, start:]
    with in_mode(model, training=False):
        for _ in range(max_new_tokens):
            if row.shape[1] - start > longest:
                start = row.shape[1] - max(longest // 2, 1)
                state, new = None, row[:, start:]
            reads = cache and state is None  # the prompt, or what is left
            if reads:
                state = inner.new_cache(
                    row.shape[0],
                    capacity,
                    budget=budget,
                    precision=cache_precision,
                )
            evicts = reads and budget is not None and budget < new.shape[1]
            if state is not None and evicts:
                logits = evict_prompt(inner, new, state, h2o_difference)
            else:
                logits = model(new if cache else row[:, start:], cache=state)
                logits = logits[:, -1]
            new = sample(logits, temperature, top_p, generator)[:, None]
            row = torch.cat([row, new], dim=1)
    if temperature == 0 and not is_readable(logits):
        # Sampling has not looked at them on a GPU. NaN in a token reaches
        # every later one, so the last logits tell.
        _check_logits(logits.float().cpu())
    return row


def sample(
    logits: Tensor,
    temperature: float,
    top_p: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Sample one token id for each row: logits (B, V), result (B,).

    The other arguments are as in :func:`generate`; the generator is on the
    CPU. Raises ValueError or TypeError naming the argument; for logits that
    are NaN, infinite, or all -inf, if they can be read.
    """
    check_tensor("logits", logits, "(B, V) of floats", 2)
    if not logits.is_floating_point() or logits.shape[1] == 0:
        raise ValueError(
            f"logits: got dtype {logits.dtype} and shape "
            f"{tuple(logits.shape)}, expected floats (B, V)"
        )
    _check_sampling(temperature, top_p)
    if temperature == 0:
        if is_readable(logits):
            _check_logits(logits)
        return logits.argmax(-1)
    if logits.is_meta:
        raise ValueError("logits: got a tensor on meta, expected values")
    generator = _generator("generator", generator)
    # On the CPU, so that a seed gives the same draws on every device.
    values = logits.float().cpu()
    if is_readable(values):
        _check_logits(values)
    probabilities = _probabilities(values, float(temperature))
    if top_p < 1:
        probabilities = keep_top_p(probabilities, float(top_p))
    drawn = torch.multinomial(probabilities, 1, generator=generator)
    return drawn[:, 0].to(logits.device)


def _probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Return softmax(logits / temperature), which may be any number > 0."""
    scaled = logits / temperature
    if is_readable(scaled) and not scaled.amax(-1).isfinite().all():
        # The division overflowed, but differences to the maximum do not.
        relative = logits.double() - logits.double().amax(-1, keepdim=True)
        scaled = (relative / temperature).float()
    return scaled.softmax(-1)


def keep_top_p(probabilities: Tensor, top_p: float) -> Tensor:
    """Set to 0 all but the smallest set whose sum reaches ``top_p``.

    probabilities and the result are (B, V). The result is not normalised
    again. The most likely token is always kept.
    """
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    # A token is kept if the sum of all more likely tokens is below top_p.
    before = ordered.cumsum(-1) - ordered
    below = before < top_p
    below[..., 0] = True  # even if top_p rounds to 0 in float32
    kept = torch.where(below, ordered, 0.0)
    return torch.zeros_like(probabilities).scatter(-1, order, kept)


def _generator(
    name: str, seed: int | torch.Generator | None
) -> torch.Generator | None:
    """Return a generator on the CPU, or None for PyTorch's own."""
    if seed is None:
        return None
    if isinstance(seed, torch.Generator):
        if seed.device.type != "cpu":
            raise ValueError(
                f"{name}: got a generator on {seed.device}, expected one on "
                "the CPU"
            )
        return seed
    integer(name, seed, -(2**63), 2**64 - 1)
    return torch.Generator().manual_seed(seed)


def _check_logits(logits: Tensor) -> None:
    """Raise ValueError unless each row has a largest, finite logit."""
    largest = logits.amax(-1)
    if not largest.isfinite().all():
        raise ValueError(
            f"logits: the largest is {largest[~largest.isfinite()][0]}, "
            "expected finite numbers: are the model's weights finite?"
        )


def _check_sampling(temperature: float, top_p: float) -> None:
    if number("temperature", temperature) < 0:
        raise ValueError(f"temperature: got {temperature}, expected >= 0")
    if not 0 < number("top_p", top_p) <= 1:
        raise ValueError(f"top_p: got {top_p}, expected above 0 and at most 1")


def _check(
    max_length: int, tokens: Tensor, max_new_tokens: int, slide: bool
) -> None:
    check_tensor("tokens", tokens, "(B, T) of integers")
    kind = tokens.dtype
    if kind == torch.bool or kind.is_floating_point or kind.is_complex:
        raise TypeError(f"tokens: got dtype {kind}, expected integers")
    if tokens.is_meta:
        raise ValueError("tokens: got a tensor on meta, expected values")
    if tokens.ndim != 2 or 0 in tokens.shape:
        raise ValueError(
            f"tokens: got shape {tuple(tokens.shape)}, expected (B, T) with "
            "at least one token a row"
        )
    integer("max_new_tokens", max_new_tokens, 1, LARGEST_COUNT)
    room = max_length - tokens.shape[1]
    if slide and room < 0:
        raise ValueError(
            f"tokens: got {tokens.shape[1]} tokens a row, expected at most "
            f"{max_length}, the model's max_length"
        )
    if not slide and max_new_tokens > room:
        raise ValueError(
            f"max_new_tokens: got {max_new_tokens} after a prompt of "
            f"{tokens.shape[1]} tokens, expected at most {room}, as the "
            f"model's max_length is {max_length}, or slide=True"
        )
