"""Exercise 26.4: questions to a model that has evicted its prompt."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.nn.config import ModelConfig
from minidiff.nn.key_scores import Score, h2o_difference, key_weights
from minidiff.nn.model import DecoderLM
from minidiff.ops import AttentionMaps


def ask(
    model: DecoderLM,
    prompt: Tensor,
    question: Tensor,
    score: Callable[[AttentionMaps | Tensor], Tensor],
    budget: int,
    aware: bool,
) -> Tensor:
    """Return the logits (B, Q, V) at the tokens of the question.

    prompt (B, P) and question (B, Q): token ids. The question is read with a
    cache that holds `budget` of the prompt's keys in each head.

    model.new_cache(B, capacity, budget=budget): a list of caches, one for
    each layer, with room for `capacity` tokens. model(tokens, cache,
    return_maps=True): the logits and a list of maps, one entry for each
    layer. score(maps of a layer): scores (B, H, S) of the S keys so far.
    part.evict(scores), for one layer's cache: keeps the best of the keys
    held. part.length = P: forgets all tokens after P.

    aware: if True, the scores have seen the attention of the question too;
    the keys that are kept are the prompt's all the same. If False, they have
    seen the prompt only.
    """
    P = prompt.shape[1]
    both = torch.cat([prompt, question], dim=1)
    cache = model.new_cache(len(both), both.shape[1], budget=budget)
    _, maps = model(both if aware else prompt, cache, return_maps=True)
    for part, of_layer in zip(cache, maps, strict=True):
        part.length = P
        part.evict(score(of_layer)[..., :P])
    return model(question, cache)


def _last_query(maps: Any) -> Tensor:
    """Score keys by the weights of the last query, for both kinds."""
    return key_weights(maps, "first")[:, :, -1]


def _cases() -> list[Case]:
    cases = []
    for kind, B, P, Q, budget, score, aware in (
        ("diff", 1, 9, 2, 9, h2o_difference, False),
        ("diff", 2, 9, 3, 3, h2o_difference, False),
        ("softmax", 1, 12, 2, 4, _last_query, False),
        ("diff", 2, 10, 4, 2, _last_query, True),
        ("diff", 1, 12, 5, 4, h2o_difference, True),
    ):
        torch.manual_seed(P + Q)
        config = ModelConfig(
            vocab_size=12, embed_dim=32, num_layers=3, num_heads=4,
            max_length=32, attention=kind,
        )  # fmt: skip
        model = DecoderLM(config).double().requires_grad_(False)
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        row = torch.randint(12, (B, P + Q))
        seen = "the scores see the question" if aware else "they do not"
        cases.append(
            Case(
                name=f"{kind}, {B} rows, P = {P}, Q = {Q}, budget {budget}, "
                f"aware = {aware}: {seen}",
                args=(model, row[:, :P], row[:, P:], score, budget, aware),
            )
        )
    return cases


Scores = Callable[[Score, list[Any], int], list[Tensor]]


def _each(score: Score, maps: list[Any], P: int) -> list[Tensor]:
    return [score(of_layer)[..., :P] for of_layer in maps]


def _changed(
    *,
    scores: Scores = _each,
    sees: Callable[[bool], bool] = bool,
    logits: Callable[[Tensor], Tensor] = lambda x: x,
) -> Callable[..., Tensor]:
    """Answer rightly but for one of the steps."""

    def answer(
        model: DecoderLM,
        prompt: Tensor,
        question: Tensor,
        score: Score,
        budget: int,
        aware: bool,
    ) -> Tensor:
        P, both = prompt.shape[1], torch.cat([prompt, question], 1)
        cache = model.new_cache(len(both), both.shape[1], budget=budget)
        _, maps = model(
            both if sees(aware) else prompt, cache, return_maps=True
        )
        for part, chosen in zip(cache, scores(score, maps, P), strict=True):
            part.length = P
            part.evict(chosen)
        return logits(model(question, cache))

    return answer


def _full_cache(
    model: DecoderLM, prompt: Tensor, question: Tensor, *rest: Any
) -> Tensor:
    P = prompt.shape[1]
    return model(torch.cat([prompt, question], 1))[:, P:]


def _question_alone(
    model: DecoderLM, prompt: Tensor, question: Tensor, *rest: Any
) -> Tensor:
    return model(question)


def _question_stays(
    model: DecoderLM,
    prompt: Tensor,
    question: Tensor,
    score: Score,
    budget: int,
    aware: bool,
) -> Tensor:
    """Do not forget the question, so that it is read twice."""
    both = torch.cat([prompt, question], 1)
    capacity = both.shape[1] + question.shape[1]
    cache = model.new_cache(len(both), capacity, budget=budget)
    _, maps = model(both if aware else prompt, cache, return_maps=True)
    for part, of_layer in zip(cache, maps, strict=True):
        part.evict(score(of_layer))
    return model(question, cache)


def _last_keys_scored(score: Score, maps: list[Any], P: int) -> list[Tensor]:
    return [score(of_layer)[..., -P:] for of_layer in maps]


def _same_for_heads(score: Score, maps: list[Any], P: int) -> list[Tensor]:
    means = [x.mean(1, keepdim=True) for x in _each(score, maps, P)]
    H = score(maps[0]).shape[1]
    return [x.expand(-1, H, -1) for x in means]


def _one_by_one(
    model: DecoderLM,
    prompt: Tensor,
    question: Tensor,
    score: Score,
    budget: int,
    aware: bool,
) -> Tensor:
    """Read each token of the question with the evicted prompt only."""
    P, both = prompt.shape[1], torch.cat([prompt, question], 1)
    cache = model.new_cache(len(both), both.shape[1], budget=budget)
    _, maps = model(both if aware else prompt, cache, return_maps=True)
    for part, of_layer in zip(cache, maps, strict=True):
        part.length = P
        part.evict(score(of_layer)[..., :P])
    found = []
    for token in question.split(1, 1):
        found.append(model(token, cache))
        for part in cache:
            part.length = P
    return torch.cat(found, 1)


EXERCISE = Exercise(
    id="26.4",
    cases=_cases,
    solution=ask,
    mistakes=(
        Mistake(
            key="always aware",
            diagnosis="Your scores see the question also where aware is "
            "False. Then the whole row must not be read before the eviction, "
            "only the prompt.",
            wrong=_changed(sees=lambda aware: True),
        ),
        Mistake(
            key="always blind",
            diagnosis="Your scores never see the question. Where aware is "
            "True, read prompt and question before the eviction, and then "
            "forget the question's keys.",
            wrong=_changed(sees=lambda aware: False),
        ),
        Mistake(
            key="aware swapped",
            diagnosis="Your scores see the question where aware is False, "
            "and do not where it is True.",
            wrong=_changed(sees=lambda aware: not aware),
        ),
        Mistake(
            key="nothing evicted",
            diagnosis="Your logits are those of the full cache: nothing was "
            "evicted.",
            wrong=_full_cache,
        ),
        Mistake(
            key="prompt not read",
            diagnosis="The question is read without the prompt: pass the "
            "evicted cache to the model.",
            wrong=_question_alone,
        ),
        Mistake(
            key="question read twice",
            diagnosis="Where aware is True, the question's keys are still in "
            "the cache when the question is read: it is read twice, and its "
            "keys compete with the prompt's. Set part.length = P before the "
            "eviction.",
            wrong=_question_stays,
        ),
        Mistake(
            key="the last P scores",
            diagnosis="You cut the scores at the wrong end. The prompt's "
            "keys are the first P.",
            wrong=_changed(scores=_last_keys_scored),
        ),
        Mistake(
            key="one layer's scores",
            diagnosis="All layers are evicted by the scores of one layer. "
            "Each layer has its own maps.",
            wrong=_changed(
                scores=lambda score, maps, P: (
                    [score(maps[0])[..., :P]] * len(maps)
                )
            ),
            also=(
                _changed(
                    scores=lambda score, maps, P: (
                        [score(maps[-1])[..., :P]] * len(maps)
                    )
                ),
            ),
        ),
        Mistake(
            key="layers in reverse",
            diagnosis="The layers' scores are in the wrong order: the first "
            "entry of the maps belongs to the first cache.",
            wrong=_changed(
                scores=lambda score, maps, P: _each(score, maps, P)[::-1]
            ),
        ),
        Mistake(
            key="worst kept",
            diagnosis="You keep the keys of lowest score. part.evict keeps "
            "the highest: do not turn their sign.",
            wrong=_changed(
                scores=lambda score, maps, P: [
                    -x for x in _each(score, maps, P)
                ]
            ),
        ),
        Mistake(
            key="heads merged",
            diagnosis="All heads of a layer keep the same keys. Give "
            "part.evict the scores of each head, (B, H, P).",
            wrong=_changed(scores=_same_for_heads),
        ),
        Mistake(
            key="tokens of the question apart",
            diagnosis="The tokens of the question do not see each other. "
            "Read them in one call, or leave them in the cache.",
            wrong=_one_by_one,
        ),
        Mistake(
            key="last token only",
            diagnosis="You return the logits of the last token of the "
            "question. Return those of all its tokens, (B, Q, V).",
            wrong=_changed(logits=lambda x: x[:, -1]),
            also=(_changed(logits=lambda x: x[:, -1:]),),
        ),
    ),
    hints=(
        "Three steps: read what the scores may see, evict, read the "
        "question. The cache must have room for prompt and question.",
        "Where aware is True the first step reads the question too. Before "
        "you evict, set part.length = P and cut the scores to the first P "
        "keys; where aware is False neither changes anything.",
        "for part, of_layer in zip(cache, maps): part.length = P; "
        "part.evict(score(of_layer)[..., :P]). Then return model(question, "
        "cache).",
    ),
)
