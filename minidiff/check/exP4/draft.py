"""Problem P4.4: several guesses, verified in one call of the model."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.nn.cache import KVCache
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM


def verify(
    model: DecoderLM, cache: list[KVCache], last: int, draft: list[int]
) -> list[int]:
    """Return the tokens that greedy decoding writes next, as many as found.

    cache: a part for each layer, of all tokens before the token last. draft:
    guesses at what comes after it, none or more. The model is called once.
    The result is the guesses up to the first wrong one, then the model's own
    token. Afterwards the cache holds last and the guesses that were right.
    """
    start = cache[0].length
    row = torch.tensor([[last, *draft]])
    with torch.no_grad():
        said = model(row, cache=cache)[0].argmax(-1).tolist()
    n = 0
    while n < len(draft) and draft[n] == said[n]:
        n += 1
    for part in cache:
        part.length = start + 1 + n
    return [*draft[:n], said[n]]


def _run(
    answer: Callable[..., Any],
    model: DecoderLM,
    prompt: list[int],
    drafts: list[list[int]],
) -> Any:
    """Every call's tokens, their number, the cache, the calls of the model.

    A call's last token is the next call's first one.
    """
    cache = model.new_cache(1, capacity=model.config.max_length)
    for part in cache:  # what was never written must not look like a key
        part._k[...] = torch.tensor(torch.nan)
        part._v[...] = torch.tensor(torch.nan)
    with torch.no_grad():
        model(torch.tensor([prompt[:-1]]), cache=cache)
    calls: list[int] = []
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    last, tokens, counts, lengths = prompt[-1], [], [], []
    for draft in drafts:
        found = answer(model, cache, last, list(draft))
        if found is None:
            handle.remove()
            return None
        found = [int(token) for token in found]
        tokens += found
        counts.append(len(found))
        lengths.append([part.length for part in cache])
        last = found[-1] if found else last
    handle.remove()
    arrays = (np.array(x, float) for x in (tokens, counts, lengths))
    return *arrays, float(len(calls))


def _model(seed: int, kind: str) -> DecoderLM:
    """An untrained model whose choices hang on all that it has read."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        config = ModelConfig(
            vocab_size=13,
            embed_dim=16,
            num_layers=2,
            num_heads=4,
            max_length=48,
            attention=kind,
            tie_embeddings=False,
        )
        model = DecoderLM(config).double()
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(20)
    return model.requires_grad_(False)


def _greedy(model: DecoderLM, tokens: list[int], n: int) -> list[int]:
    """The next n tokens, each from the whole text."""
    row = list(tokens)
    for _ in range(n):
        row.append(int(model(torch.tensor([row]))[0, -1].argmax()))
    return row[len(tokens) :]


def _drafts(
    model: DecoderLM, prompt: list[int], plan: list[tuple[int, int]]
) -> list[list[int]]:
    """Drafts of n guesses for each call, of which the first m are right.

    What stands behind the wrong one is what the model would say after it, so
    that it agrees again.
    """
    text, drafts = list(prompt), []
    for n, m in plan:
        draft = _greedy(model, text, m)
        if m < n:
            right = _greedy(model, text + draft, 1)[0]
            draft.append((right + 1) % model.config.vocab_size)
            draft += _greedy(model, text + draft, n - m - 1)
        drafts.append(draft)
        text += _greedy(model, text, m + 1)
    return drafts


def _cases() -> list[Case]:
    cases = []
    for seed, (kind, plan) in enumerate(
        [
            ("diff", [(0, 0), (0, 0)]),
            ("diff", [(3, 3), (1, 1), (2, 2)]),
            ("diff", [(4, 0), (4, 2), (1, 0), (5, 4), (3, 1)]),
            ("diff_v2", [(3, 1), (3, 3), (4, 2), (0, 0), (2, 0)]),
        ]
    ):
        model = _model(seed, kind)
        prompt = [1, 5, 2, 7, 3][: 3 + seed % 3]
        guesses = ", ".join(f"{m} of {n}" for n, m in plan)
        cases.append(
            Case(
                name=f"{kind}, right guesses in each call: {guesses}",
                args=(model, prompt, _drafts(model, prompt, plan)),
            )
        )
    return cases


def _prefix(draft: list[int], said: list[int]) -> int:
    n = 0
    while n < len(draft) and draft[n] == said[n]:
        n += 1
    return n


Accept = Callable[[list[int], list[int]], int]


def _like(
    accept: Accept = _prefix,
    tokens: Callable[[list[int], list[int], int], list[int]] = (
        lambda draft, said, n: [*draft[:n], said[n]]
    ),
    keep: Callable[[int, int, int], int] = lambda start, n, length: (
        start + 1 + n
    ),
    layers: slice = slice(None),
) -> Callable[..., list[int]]:
    """A call with something about it changed."""

    def wrong(
        model: DecoderLM, cache: list[KVCache], last: int, draft: list[int]
    ) -> list[int]:
        start = cache[0].length
        row = torch.tensor([[last, *draft]])
        said = model(row, cache=cache)[0].argmax(-1).tolist()
        n = accept(draft, said)
        for part in cache[layers]:
            part.length = keep(start, n, part.length)
        return tokens(draft, said, n)

    return wrong


def _agreements(draft: list[int], said: list[int]) -> int:
    return sum(a == b for a, b in zip(draft, said[:-1], strict=True))


def _off_by_one(draft: list[int], said: list[int]) -> int:
    return _prefix(draft, said[1:])


def _all_or_nothing(draft: list[int], said: list[int]) -> int:
    return len(draft) * (draft == said[:-1])


def _without_cache(
    model: DecoderLM, cache: list[KVCache], last: int, draft: list[int]
) -> list[int]:
    """The model is not given the cache."""
    said = model(torch.tensor([[last, *draft]]))[0].argmax(-1).tolist()
    n = _prefix(draft, said)
    start = cache[0].length
    for part in cache:
        part.length = start + 1 + n
    return [*draft[:n], said[n]]


def _without_cache_or_length(
    model: DecoderLM, cache: list[KVCache], last: int, draft: list[int]
) -> list[int]:
    said = model(torch.tensor([[last, *draft]]))[0].argmax(-1).tolist()
    n = _prefix(draft, said)
    return [*draft[:n], said[n]]


def _one_by_one(
    model: DecoderLM, cache: list[KVCache], last: int, draft: list[int]
) -> list[int]:
    """A call for each token."""
    found = []
    for guess in [*draft, None]:
        row = torch.tensor([[last]])
        last = int(model(row, cache=cache)[0, -1].argmax())
        found.append(last)
        if last != guess:
            break
    return found


def _reads_its_own(
    model: DecoderLM, cache: list[KVCache], last: int, draft: list[int]
) -> list[int]:
    """The model's own token is put in the cache at once."""
    found = verify(model, cache, last, draft)
    model(torch.tensor([found[-1:]]), cache=cache)
    return found


EXERCISE = Exercise(
    id="P4.4",
    cases=_cases,
    solution=verify,
    run=_run,
    mistakes=(
        Mistake(
            key="not rolled back",
            diagnosis="The cache keeps the wrong guesses, and every later "
            "token reads them. Set the length of each layer's part back.",
            wrong=_like(keep=lambda start, n, length: length),
        ),
        Mistake(
            key="one layer rolled back",
            diagnosis="Only one layer's part is set back. Each layer has its "
            "own length: loop over the cache.",
            wrong=_like(layers=slice(0, 1)),
            also=(_like(layers=slice(1, None)),),
        ),
        Mistake(
            key="one too few kept",
            diagnosis="The cache is set back by one token too many. Besides "
            "the right guesses it has read the token last, and keeps it.",
            wrong=_like(keep=lambda start, n, length: start + n),
        ),
        Mistake(
            key="one too many kept",
            diagnosis="The cache keeps the first wrong guess. The model's "
            "own token, which takes its place, has not been read yet.",
            wrong=_like(
                keep=lambda start, n, length: min(start + n + 2, length)
            ),
            also=(_like(keep=lambda start, n, length: start + n + 2),),
        ),
        Mistake(
            key="everything forgotten",
            diagnosis="The cache is set back to where it was, so the token "
            "last and the right guesses are lost.",
            wrong=_like(keep=lambda start, n, length: start),
        ),
        Mistake(
            key="counted from zero",
            diagnosis="The length forgets what the cache held before: add "
            "it to what is kept.",
            wrong=_like(keep=lambda start, n, length: n + 1),
        ),
        Mistake(
            key="counted from behind",
            diagnosis="The length is taken after the call, when the cache "
            "has read last and all guesses already. Note it before, or take "
            "off the wrong guesses.",
            wrong=_like(keep=lambda start, n, length: length + 1 + n),
            also=(_like(keep=lambda start, n, length: length + n),),
        ),
        Mistake(
            key="cache not used",
            diagnosis="The model is not given the cache, so it reads last "
            "and the guesses as if they were the whole text: cache=cache.",
            wrong=_without_cache,
            also=(_without_cache_or_length,),
        ),
        Mistake(
            key="own token in the cache",
            diagnosis="You put the model's own token in the cache. It is "
            "the next call's token last, and would be read twice.",
            wrong=_reads_its_own,
        ),
        Mistake(
            key="agreements counted",
            diagnosis="You count how many guesses agree. Behind a wrong one "
            "nothing counts: the model has read a text that will not be. "
            "Stop at the first that differs.",
            wrong=_like(_agreements),
            also=(_like(_agreements, lambda draft, said, n: said[: n + 1]),),
        ),
        Mistake(
            key="one place off",
            diagnosis="Guesses are compared with what the model says one "
            "place too late. It says the first of them after reading last: "
            "draft[0] belongs to said[0].",
            wrong=_like(_off_by_one),
            also=(_like(_off_by_one, lambda draft, said, n: said[: n + 1]),),
        ),
        Mistake(
            key="all or nothing",
            diagnosis="One wrong guess, and you throw away the right ones "
            "before it.",
            wrong=_like(_all_or_nothing),
        ),
        Mistake(
            key="no guess taken",
            diagnosis="You return the model's first token only. The text is "
            "right, and nothing is saved: right guesses come with it.",
            wrong=_like(lambda draft, said: 0),
        ),
        Mistake(
            key="own token left out",
            diagnosis="You return the right guesses and leave the model's "
            "own token out. It is known already, and with no right guess "
            "the text would never go on.",
            wrong=_like(tokens=lambda draft, said, n: draft[:n]),
        ),
        Mistake(
            key="nothing after a whole draft",
            diagnosis="When all guesses are right you return no token more. "
            "The model has said what comes after the last one, too.",
            wrong=_like(
                tokens=lambda draft, said, n: (
                    draft
                    if draft and n == len(draft)
                    else [*draft[:n], said[n]]
                )
            ),
            also=(
                _like(
                    tokens=lambda draft, said, n: (
                        draft if n == len(draft) else said[: n + 1]
                    )
                ),
            ),
        ),
        Mistake(
            key="all that it said",
            diagnosis="You return what the model said behind the wrong guess "
            "as well. There it has read a text that will not be.",
            wrong=_like(tokens=lambda draft, said, n: said),
            also=(
                _like(
                    tokens=lambda draft, said, n: said,
                    keep=lambda start, n, length: length,
                ),
            ),
        ),
        Mistake(
            key="wrong guess kept",
            diagnosis="You return the first wrong guess where the model's "
            "own token belongs.",
            wrong=_like(
                tokens=lambda draft, said, n: (
                    draft[: n + 1] if n < len(draft) else [*draft, said[n]]
                )
            ),
            also=(_like(tokens=lambda draft, said, n: draft[: n + 1]),),
        ),
        Mistake(
            key="last repeated",
            diagnosis="Your result begins with the token last. The text has "
            "it already: return what comes after it.",
            wrong=lambda model, cache, last, draft: [
                last,
                *verify(model, cache, last, draft),
            ],
        ),
        Mistake(
            key="a call for each token",
            diagnosis="The text is right, but the model is called for each "
            "token. One call reads last and all guesses.",
            wrong=_one_by_one,
        ),
    ),
    hints=(
        "The model reads last and n guesses, T = n + 1 tokens, and gives "
        "n + 1 rows of logits. Which row judges which guess?",
        "Row i judges draft[i]: said[i] is what follows last and the first i "
        "guesses. Accept while they agree; at the first that does not, "
        "said[i] is the right token. How many of the tokens in the cache "
        "are then part of the text?",
        "start = cache[0].length; said = model(torch.tensor([[last, "
        "*draft]]), cache=cache)[0].argmax(-1).tolist(); n: the equal ones "
        "from the left; part.length = start + 1 + n for each part; return "
        "draft[:n] + [said[n]].",
    ),
)
