import json

import numpy as np
import pytest
import torch
from known_models import KINDS, small
from torch.nn.functional import cross_entropy

from minidiff.data import NeedleTask
from minidiff.data.token_documents import TokenDocument
from minidiff.evaluation.loss import text_windows
from minidiff.evaluation.recall import draw_questions, recall
from minidiff.evaluation.sparse_cache import (
    MODES,
    sparse_recall,
    sparse_text_loss,
)
from minidiff.nn.key_scores import (
    h2o_difference,
    key_weights,
    scores_of,
    snapkv,
    streaming,
)

TASK = NeedleTask(
    needles=4, questions=3, length=60, keys=8, values=8, noise=24
)
P = 60 + 1 - 2 * 3  # tokens before the first question
PART = (1.0, 1 / 8)


def model_of(kind, **sizes):
    sizes = {"vocab_size": 40, "max_length": 60} | sizes
    return small(kind, **sizes).double().requires_grad_(False)


def documents():
    random = np.random.default_rng(0)
    return [
        TokenDocument(name, str(i), 3 * n, random.integers(0, 40, n))
        for i, (name, n) in enumerate((("a", 90), ("a", 75), ("b", 130)))
    ]


def cells(found, **wanted):
    return [
        row for row in found if all(row[k] == v for k, v in wanted.items())
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_at_fraction_1_recall_is_that_of_the_full_cache(kind):
    model, scores = model_of(kind), scores_of(kind, window=8)
    found = sparse_recall(
        model, TASK, scores, fractions=PART, rows=10, batch_size=4
    )
    json.dumps(found, allow_nan=False)
    assert len(found) == 2 * len(scores) * 2
    full = recall(model, TASK, rows=10, batch_size=4)
    nats = 0.0  # in float64; those of recall are in float32
    for step, rows in enumerate((4, 4, 2)):
        asked = draw_questions(TASK, model, rows, step)
        logits = model(asked.tokens, positions=asked.questions)
        nats += cross_entropy(
            logits.flatten(0, 1), asked.targets.flatten(), reduction="sum"
        ).item()
    assert full["nats"] == pytest.approx(nats / 30, rel=1e-6)
    whole = cells(found, fraction=1.0)
    assert len(whole) == 2 * len(scores)
    for row in whole:
        assert row["kept"] == P
        for name in ("accuracy", "low", "high", "questions"):
            assert row[name] == full[name]
        assert row["nats"] == pytest.approx(nats / 30, abs=1e-12)
        assert row["nats"] == whole[0]["nats"], "not the same bits"
    for row in cells(found, fraction=1 / 8):
        assert row["kept"] == P // 8
        assert row["nats"] != pytest.approx(full["nats"], abs=1e-9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_is_what_a_cache_with_a_budget_gives(kind, mode):
    model = model_of(kind)
    score = scores_of(kind, window=8)
    name = "snapkv" if kind == "softmax" else "snapkv, difference"
    found = sparse_recall(
        model, TASK, {name: score[name]}, fractions=(1 / 4,), rows=3
    )
    asked = draw_questions(TASK, model, 3)
    tokens, nats, right = asked.tokens, 0.0, 0
    end = 60 if mode == "query-aware" else P
    for i in range(3):
        _, maps = model(tokens[i : i + 1, :end], return_maps=True)
        cache = model.new_cache(1, 60, budget=P // 4)
        model(tokens[i : i + 1, :P], cache)
        for part, of_layer in zip(cache, maps, strict=True):
            A = key_weights(of_layer, "difference")
            part.evict(snapkv(A, window=8)[..., :P])
        for t in range(P, 60):
            logits = model(tokens[i : i + 1, t : t + 1], cache)[0, 0]
            if t in asked.questions[i]:
                place = asked.questions[i].tolist().index(t)
                target = asked.targets[i, place]
                nats += cross_entropy(logits, target).item()
                right += int(logits.argmax() == target)
    (cell,) = cells(found, mode=mode)
    assert cell["nats"] == pytest.approx(nats / 9, abs=1e-12)
    assert cell["accuracy"] == right / 9


@pytest.mark.parametrize("kind", KINDS)
def test_kept_denominators_leave_the_weights_of_the_full_cache(kind):
    model = model_of(kind)
    name = "h2o" if kind == "softmax" else "h2o, difference"
    (cell,) = cells(
        sparse_recall(
            model,
            TASK,
            {name: scores_of(kind, 8)[name]},
            fractions=(1 / 4,),
            rows=3,
            keep_denominators=True,
        ),
        mode="question-blind",
    )
    asked = draw_questions(TASK, model, 3)
    tokens = asked.tokens
    cache = model.new_cache(3, 60)
    _, maps = model(tokens[:, :P], cache, return_maps=True)
    for part, of_layer in zip(cache, maps, strict=True):
        scores = h2o_difference(of_layer)
        kv_scores = scores.unflatten(1, (part._v.shape[1], -1)).mean(2)
        order = kv_scores.argsort(-1, descending=True)
        for b in range(3):
            for h in range(order.shape[1]):
                part._v[b, h, order[b, h, P // 4 :]] = 0
    logits = model(tokens[:, P:], cache, positions=asked.questions - P)
    nats = cross_entropy(logits.flatten(0, 1), asked.targets.flatten())
    assert cell["nats"] == pytest.approx(nats.item(), abs=1e-12)


def test_text_loss_with_kept_denominators():
    model = model_of("diff", max_length=32)
    scores = {"streaming": scores_of("diff")["streaming"]}
    given = {"fractions": (1.0, 1 / 4), "prompt": 20}
    plain, control = (
        sparse_text_loss(
            model, documents(), scores, **given, keep_denominators=kept
        )
        for kept in (False, True)
    )
    assert control[0] == plain[0]
    assert control[1]["nats"] != pytest.approx(plain[1]["nats"], abs=1e-9)


def test_only_query_aware_scores_see_the_questions():
    sizes = []

    def score(maps):
        sizes.append(tuple(maps.A.shape[2:]))
        return streaming(maps.A)

    sparse_recall(
        model_of("diff"), TASK, {"streaming": score}, fractions=(0.5,), rows=2
    )
    assert sizes == [(60, 60)] * 2 + [(P, P)] * 2


def test_first_token_id():
    model = model_of("diff", vocab_size=100)
    at_start = draw_questions(TASK, model, 5, first=0)
    at_end = draw_questions(TASK, model, 5)
    assert torch.equal(at_start.tokens + 60, at_end.tokens)
    assert torch.equal(at_start.targets + 60, at_end.targets)
    scores = {"streaming": scores_of("diff")["streaming"]}
    found = {
        first: sparse_recall(model, TASK, scores, first=first, rows=3)[0]
        for first in (None, 60, 7)
    }
    assert found[None] == found[60]
    assert found[7]["nats"] != found[60]["nats"]
    with pytest.raises(ValueError, match="first: got 61, expected 0 to 60"):
        sparse_recall(model, TASK, scores, first=61)


@pytest.mark.parametrize("kind", KINDS)
def test_at_fraction_1_the_text_loss_is_that_of_whole_windows(kind):
    model, scores = model_of(kind, max_length=32), scores_of(kind, window=4)
    found = sparse_text_loss(
        model, documents(), scores, fractions=PART, prompt=20, batch_size=3
    )
    json.dumps(found, allow_nan=False)
    x, y, _ = (
        torch.from_numpy(rows) for rows in text_windows(documents(), 32)
    )
    expected = cross_entropy(
        model(x)[:, 20:].flatten(0, 1), y[:, 20:].flatten(), reduction="sum"
    )
    count = int((y[:, 20:] != -100).sum())
    whole = cells(found, fraction=1.0)
    for row in whole:
        assert (row["kept"], row["tokens"]) == (20, count)
        assert row["nats"] == pytest.approx(expected.item() / count, abs=1e-12)
        assert row["nats"] == whole[0]["nats"], "not the same bits"
    assert len(cells(found, fraction=1 / 8, kept=2)) == len(scores)
    for row in cells(found, fraction=1 / 8):
        assert row["nats"] != pytest.approx(whole[0]["nats"], abs=1e-9)


def test_a_window_that_ends_within_the_prompt_is_left_out():
    model, scores = model_of("diff", max_length=32), scores_of("diff", 4)
    one = {"streaming": scores["streaming"]}
    text = [TokenDocument("a", "0", 99, np.arange(33 + 10) % 40)]
    (row,) = sparse_text_loss(model, text, one, fractions=(1.0,))
    assert (row["tokens"], row["kept"]) == (16, 16)
    short = [TokenDocument("a", "0", 9, np.arange(9))]
    with pytest.raises(ValueError, match="no window of more than 16 tokens"):
        sparse_text_loss(model, short, one)


def test_refusals():
    model, scores = model_of("diff"), scores_of("diff", window=4)
    for bad in (0, 1.5, -1):
        with pytest.raises(ValueError, match=f"fractions: got {bad}, "):
            sparse_recall(model, TASK, scores, fractions=(bad,))
    with pytest.raises(ValueError, match="prompt: got 60, expected 1 to 59"):
        sparse_text_loss(model, documents(), scores, prompt=60)
