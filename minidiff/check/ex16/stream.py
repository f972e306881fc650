"""Exercise 16.4: yield tokens one by one, with a cache."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM

Pick = Callable[[np.ndarray, float], int]


def stream(
    model: DecoderLM, prompt: list[int], pick: Pick, numbers: list[float]
) -> Iterator[int]:
    """Yield a token for each of the numbers, as soon as it is chosen.

    model.new_cache(1, capacity) makes an empty cache; capacity is how many
    tokens it must hold, prompt and new ones. model(tokens, cache=cache)
    returns logits (1, T, V) for tokens (1, T), and adds the tokens to the
    cache. pick(logits, u) chooses the next token for logits (V,), a NumPy
    array, and one of the numbers. Each token passes through the model once;
    the last one is yielded and does not pass through it.
    """
    cache = model.new_cache(1, len(prompt) + len(numbers))
    new = prompt
    for u in numbers:
        logits = model(torch.tensor([new]), cache=cache)[0, -1]
        new = [pick(logits.numpy(), u)]
        yield new[0]


class MisuseError(ValueError):
    """Raised if an answer calls the model or ``pick`` wrongly.

    ``key`` tells one misuse from another.
    """

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


class Watched:
    """A model that counts the tokens that pass through it.

    ``needed`` is how many tokens a cache must hold at least.
    """

    def __init__(self, model: DecoderLM, needed: int) -> None:
        self.model = model
        self.config = model.config
        self.needed = needed
        self.read = 0

    def new_cache(self, *sizes: int, **options: Any) -> Any:
        """Return the model's own empty cache."""
        return self.model.new_cache(*sizes, **options)

    @torch.no_grad()
    def __call__(self, tokens: Tensor, *more: Any, **options: Any) -> Tensor:
        """Return the model's logits; refuse a cache without room for them."""
        self.read += tokens.numel()
        for part in options.get("cache") or []:
            end = part.length + tokens.shape[-1]
            if end > part.capacity:
                short = part.capacity < self.needed
                raise MisuseError(
                    "cache too short" if short else "cache full",
                    f"the cache can hold {part.capacity}, and now {end} "
                    "tokens were to be in it",
                )
        logits = self.model(tokens, *more, **options)
        assert isinstance(logits, Tensor)
        return logits


def _pick(logits: np.ndarray, u: float) -> int:
    """Choose by u among the tokens, each as likely as its softmax says."""
    if type(logits) is not np.ndarray:
        kind = type(logits).__name__
        raise MisuseError(
            kind, f"pick: logits: got {kind}, expected a NumPy array"
        )
    if logits.ndim != 1:
        raise MisuseError(
            "axes",
            f"pick: logits: got shape {logits.shape}, expected "
            f"({logits.shape[-1]},)",
        )
    e = np.exp(np.asarray(logits) - np.max(logits))
    return int(np.searchsorted(np.cumsum(e)[:-1], u * e.sum(), side="right"))


def _cases() -> list[Case]:
    config = ModelConfig(
        vocab_size=12, embed_dim=16, num_layers=2, num_heads=4,
        max_length=48, attention="diff",
    )  # fmt: skip
    cases = []
    for T, n in ((1, 1), (4, 1), (3, 4), (2, 6)):
        torch.manual_seed(10 * T + n)
        model = DecoderLM(config).double().requires_grad_(False)
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        prompt = torch.randint(12, (T,)).tolist()
        numbers = torch.rand(n).tolist()
        s = "" if n == 1 else "s"
        name = f"a prompt of {T}, {n} number{s}"
        cases.append(Case(name=name, args=(model, prompt, numbers)))
    return cases


def _run(
    answer: Callable[..., Any],
    model: DecoderLM,
    prompt: list[int],
    numbers: list[float],
) -> Any:
    """The tokens; how many were read when each came, and at the end.

    And, for each token, whether gradients are on for the caller as before.
    """
    watched = Watched(model, len(prompt) + len(numbers) - 1)
    out = answer(watched, prompt, _pick, numbers)
    if out is None:
        return None
    tokens, read, as_before = [], [], []
    gradients = torch.is_grad_enabled()
    for token in islice(out, 2 * (len(prompt) + len(numbers))):
        tokens.append(int(token))
        read.append(watched.read)
        as_before.append(torch.is_grad_enabled() == gradients)
    counts = np.array([*read, watched.read])
    return np.array(tokens), counts, np.array(as_before)


def _logits(model: Any, tokens: list[int], cache: Any = None) -> np.ndarray:
    out: np.ndarray = model(torch.tensor([tokens]), cache=cache)[0].numpy()
    return out


def _no_cache(
    model: Any, prompt: list[int], pick: Pick, numbers: list[float]
) -> Iterator[int]:
    row = list(prompt)
    for u in numbers:
        row.append(pick(_logits(model, row)[-1], u))
        yield row[-1]


def _whole_row(capacity: bool) -> Callable[..., Iterator[int]]:
    def answer(
        model: Any, prompt: list[int], pick: Pick, numbers: list[float]
    ) -> Iterator[int]:
        room = (len(prompt) + len(numbers),) if capacity else ()
        cache, row = model.new_cache(1, *room), list(prompt)
        for u in numbers:
            row.append(pick(_logits(model, row, cache)[-1], u))
            yield row[-1]

    return answer


def _fresh_cache(
    model: Any, prompt: list[int], pick: Pick, numbers: list[float]
) -> Iterator[int]:
    new = prompt
    for u in numbers:
        cache = model.new_cache(1, len(new))
        new = [pick(_logits(model, new, cache)[-1], u)]
        yield new[0]


def _first_logits(
    model: Any, prompt: list[int], pick: Pick, numbers: list[float]
) -> Iterator[int]:
    cache = model.new_cache(1)
    new = prompt
    for u in numbers:
        new = [pick(_logits(model, new, cache)[0], u)]
        yield new[0]


def _never_fed(
    model: Any, prompt: list[int], pick: Pick, numbers: list[float]
) -> Iterator[int]:
    cache = model.new_cache(1)
    new = prompt
    for u in numbers:
        token = pick(_logits(model, new, cache)[-1], u)
        new = prompt[-1:]
        yield token


def _read_too_much(early: bool) -> Callable[..., Iterator[int]]:
    def answer(
        model: Any, prompt: list[int], pick: Pick, numbers: list[float]
    ) -> Iterator[int]:
        cache = model.new_cache(1)
        logits = _logits(model, prompt, cache)
        for u in numbers:
            token = pick(logits[-1], u)
            if not early:
                yield token
            logits = _logits(model, [token], cache)
            if early:
                yield token

    return answer


def _short_cache(
    capacity: Callable[[list[int], list[float]], int],
) -> Callable[..., Iterator[int]]:
    def answer(
        model: Any, prompt: list[int], pick: Pick, numbers: list[float]
    ) -> Iterator[int]:
        cache = model.new_cache(1, capacity(prompt, numbers))
        new = prompt
        for u in numbers:
            new = [pick(_logits(model, new, cache)[-1], u)]
            yield new[0]

    return answer


def _picks_from(
    logits_of: Callable[[Tensor], Any],
) -> Callable[..., Iterator[int]]:
    """Return an answer that gives ``pick`` this of the logits (1, T, V)."""

    def answer(
        model: Any, prompt: list[int], pick: Pick, numbers: list[float]
    ) -> Iterator[int]:
        cache = model.new_cache(1)
        new = prompt
        for u in numbers:
            logits = model(torch.tensor([new]), cache=cache)
            new = [pick(logits_of(logits), u)]
            yield new[0]

    return answer


def _last_read_twice(
    model: Any, prompt: list[int], pick: Pick, numbers: list[float]
) -> Iterator[int]:
    cache = model.new_cache(1)
    _logits(model, prompt, cache)
    new = prompt[-1:]
    for u in numbers:
        new = [pick(_logits(model, new, cache)[-1], u)]
        yield new[0]


def _prompt_too(*args: Any) -> Iterator[int]:
    yield from args[1]
    yield from stream(*args)


def _one_number(
    model: Any, prompt: list[int], pick: Pick, numbers: list[float]
) -> Iterator[int]:
    return stream(model, prompt, pick, numbers[:1] * len(numbers))


def _gradients_off(
    answer: Callable[..., Iterator[int]],
) -> Callable[..., Iterator[int]]:
    def off(*args: Any) -> Iterator[int]:
        with torch.no_grad():
            yield from answer(*args)

    return off


EXERCISE = Exercise(
    id="16.4",
    cases=_cases,
    solution=stream,
    run=_run,
    results=(
        "the tokens",
        "tokens read when each came, and at the end",
        "gradients on as before",
    ),
    mistakes=(
        Mistake(
            key="no cache",
            diagnosis="The tokens are right, but each step reads the whole "
            "text again. Make a cache before the loop, pass it with every "
            "call, and after the prompt read only the new token.",
            wrong=_no_cache,
        ),
        Mistake(
            key="whole row into the cache",
            diagnosis="Each step reads the whole text again *and* adds it to "
            "the cache, which then holds the beginning several times. After "
            "the prompt read only the new token.",
            wrong=_whole_row(True),
            also=(_whole_row(False),),
        ),
        Mistake(
            key="new cache each step",
            diagnosis="Each step begins with an empty cache, so that a new "
            "token sees only itself. Make the cache once, before the loop, "
            "and pass it with every call.",
            wrong=_fresh_cache,
        ),
        Mistake(
            key="first logits",
            diagnosis="You take the logits at the first token of the prompt. "
            "The next token comes from those at the last one: [0, -1].",
            wrong=_first_logits,
        ),
        Mistake(
            key="prompt fed again",
            diagnosis="The new token does not go back into the model: it "
            "reads the last token of the prompt in every step. Read the "
            "token that was chosen.",
            wrong=_never_fed,
        ),
        Mistake(
            key="last token read",
            diagnosis="The tokens are right, but the last one passes through "
            "the model too, and nobody uses its logits. Read a token when the "
            "next one is asked for.",
            wrong=_read_too_much(early=False),
        ),
        Mistake(
            key="read before it is yielded",
            diagnosis="Each token passes through the model before you yield "
            "it, so that it comes one step late. Yield it as soon as it is "
            "chosen.",
            wrong=_read_too_much(early=True),
        ),
        Mistake(
            key="all at once",
            diagnosis="All tokens come at the end, in a list. Yield each one "
            "inside the loop, and return nothing.",
            wrong=lambda *args: list(stream(*args)),
        ),
        Mistake(
            key="prompt yielded too",
            diagnosis="You yield the prompt too. Yield the new tokens only.",
            wrong=_prompt_too,
        ),
        Mistake(
            key="one number",
            diagnosis="You use the first number for every token. Each token "
            "has its own.",
            wrong=_one_number,
        ),
        Mistake(
            key="gradients off for the caller",
            diagnosis="The tokens are right, but your `with torch.no_grad()` "
            "encloses a `yield`, so gradients stay off in the code that asks "
            "for the tokens. Let it enclose the call of the model only.",
            wrong=_gradients_off(stream),
        ),
        Mistake(
            key="gradients off, last token read",
            diagnosis="The tokens are right, but there are two things. Your "
            "`with torch.no_grad()` encloses a `yield`, so gradients stay off "
            "in the code that asks for the tokens. And the last token passes "
            "through the model too, although nobody uses its logits.",
            wrong=_gradients_off(_read_too_much(early=False)),
        ),
        Mistake(
            key="cache too short",
            diagnosis="Your cache is too short. Prompt and new tokens go into "
            "it: len(prompt) + len(numbers).",
            wrong=_short_cache(lambda prompt, numbers: len(prompt)),
            also=(
                _short_cache(lambda prompt, numbers: len(numbers)),
                _short_cache(lambda prompt, numbers: 1),
                _short_cache(
                    lambda prompt, numbers: max(len(prompt), len(numbers))
                ),
            ),
        ),
        Mistake(
            key="axes left",
            diagnosis="Your logits still have the axis of the batch or that "
            "of the tokens. pick takes those at the last token of the one "
            "row, (V,): [0, -1].",
            wrong=_picks_from(lambda z: z[:, -1].numpy()),
            also=(
                _picks_from(lambda z: z[0].numpy()),
                _picks_from(lambda z: z.numpy()),
            ),
        ),
        Mistake(
            key="tensor picked from",
            diagnosis="pick takes a NumPy array, and you give it a tensor: "
            "logits.numpy().",
            wrong=_picks_from(lambda z: z[0, -1]),
            also=(_picks_from(lambda z: z[:, -1]),),
        ),
        Mistake(
            key="end of the prompt read twice",
            diagnosis="The last token of the prompt passes through the model "
            "twice, in the prompt and alone after it, and the cache then "
            "holds it twice. The prompt's own logits choose the first token.",
            wrong=_last_read_twice,
        ),
    ),
    hints=(
        "Two phases: the prompt passes through the model at once, then each "
        "chosen token alone. What do both phases do with the logits? One loop "
        "can serve for both.",
        "Before the loop: make the cache, and let `new` be the prompt. In the "
        "loop: read `new`, choose by the last logits, let `new` be the list "
        "of the chosen token, yield it.",
        "logits = model(torch.tensor([new]), cache=cache)[0, -1]; new = "
        "[pick(logits.numpy(), u)]; yield new[0].",
    ),
)
