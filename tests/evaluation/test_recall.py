from math import log

import pytest
import torch
from known_models import lookup, small, uniform

from minidiff.data import NeedleTask
from minidiff.data.mqar import MQARTask
from minidiff.evaluation.recall import (
    draw_questions,
    effective_length,
    needle_grid,
    recall,
)

TASK = NeedleTask(
    needles=4, questions=3, length=60, keys=8, values=8, noise=24
)


@pytest.mark.parametrize(
    "task", [TASK, MQARTask(pairs=3, length=32, vocab_size=40)]
)
def test_looking_up_is_right_everywhere(task):
    found = recall(lookup(40), task, rows=40, batch_size=16)
    assert found["accuracy"] == 1
    assert found["high"] == pytest.approx(1)
    assert found["questions"] == 120
    assert found["chance"] == 1 / (4 if task is TASK else 3)
    assert 0.96 < found["low"] < 1
    assert found.get("by_depth", [1] * 5) == [1] * 5


def test_depth_is_where_the_answer_lies():
    found = recall(lookup(40, reach=0.4), TASK, rows=200)
    first, second, third, *late = found["by_depth"]
    # The key stands one token before its value, at the edge of a fifth.
    assert first == second == 1 and third < 0.2 and late == [0, 0]
    assert found["accuracy"] == pytest.approx(0.4, abs=0.1)


def test_what_knows_nothing_has_ln_v_nats():
    found = recall(uniform(40, max_length=60), TASK, rows=4)
    assert found["nats"] == pytest.approx(log(40))


def test_ids_come_after_those_of_text():
    model = small(vocab_size=100, max_length=60)
    asked = draw_questions(TASK, model, 5)
    plain = TASK.sample(0, 5, "valid")
    assert torch.equal(asked.tokens, plain.inputs + 60)
    keys = asked.tokens.take_along_dim(asked.questions, 1)
    values = asked.tokens.take_along_dim(asked.answers, 1)
    before = asked.tokens.take_along_dim(asked.answers - 1, 1)
    assert torch.equal(values, asked.targets) and torch.equal(before, keys)


def test_the_first_id_can_be_given():
    model = small(vocab_size=100, max_length=60)
    asked = draw_questions(TASK, model, 5, first=7)
    assert torch.equal(asked.tokens, TASK.sample(0, 5, "valid").inputs + 7)
    with pytest.raises(ValueError, match="first: got 61, expected 0 to 60"):
        recall(model, TASK, rows=1, first=61)


def test_batches_are_different_rows():
    model = small(vocab_size=40, max_length=60)
    first, second = (draw_questions(TASK, model, 4, i) for i in (0, 1))
    assert not torch.equal(first.tokens, second.tokens)


def test_all_batches_count():
    model = lookup(40, reach=0.5)
    found = recall(model, TASK, rows=9, batch_size=4)
    right = 0
    for step, rows in enumerate((4, 4, 1)):
        asked = draw_questions(TASK, model, rows, step)
        said = model(asked.tokens, asked.questions).argmax(-1)
        right += int((said == asked.targets).sum())
    assert found["questions"] == 27
    assert found["accuracy"] == pytest.approx(right / 27)


def test_tasks_must_fit():
    with pytest.raises(ValueError, match=r"got 40 token ids, .* model's 30"):
        recall(small(vocab_size=30), TASK)
    with pytest.raises(ValueError, match=r"got length 60, .*max_length 32"):
        recall(small(), TASK)
    with pytest.raises(ValueError, match="rows: got 0"):
        recall(lookup(40), TASK, rows=0)


def test_a_grid_leaves_out_what_has_no_room():
    grid = needle_grid([2, 8], [1, 2], [16, 64], keys=16)
    sizes = [(t.needles, t.questions, t.length) for t in grid]
    assert sizes == [
        *((2, 1, 16), (2, 1, 64), (2, 2, 16), (2, 2, 64)),
        *((8, 1, 64), (8, 2, 64)),
    ]
    assert grid[0].keys == 16


def cell(length, accuracy, low=0.9):
    return {
        "task": {"length": length},
        "accuracy": accuracy,
        "low": low,
        "chance": 0.25,
    }


def test_effective_length():
    cells = [cell(64, 0.86), cell(32, 1.0), cell(128, 0.84), cell(256, 0.2)]
    assert effective_length(cells) == 64
    assert effective_length([cell(64, 0.7), cell(32, 0.8)]) == 64
    assert effective_length(cells, share=0.5) == 128


def test_chance_has_no_effective_length():
    cells = [cell(32, 0.3, low=0.2), cell(64, 0.3, low=0.2)]
    assert effective_length(cells) is None
