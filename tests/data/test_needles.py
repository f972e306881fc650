import math

import pytest
import torch

from minidiff.data import NeedleTask

TASKS = [
    NeedleTask(),
    NeedleTask(needles=4, questions=6, length=40, keys=5, values=4, noise=3),
    # The haystack is full: no noise at all.
    NeedleTask(needles=3, questions=1, length=7, keys=3, values=3, noise=1),
    NeedleTask(needles=1, questions=1, length=3, keys=1, values=1, noise=1),
]


@pytest.mark.parametrize("task", TASKS)
def test_the_answer_stands_behind_its_key(task):
    sample = task.sample(0, 64)
    inputs, targets = sample.inputs, sample.targets
    assert inputs.shape == targets.shape == (64, task.length)
    assert inputs.dtype == targets.dtype == torch.int64
    for row in range(64):
        for q, position in enumerate(sample.questions.tolist()):
            answer = sample.answers[row, q]
            assert targets[row, position] == inputs[row, answer]
            assert inputs[row, position] == inputs[row, answer - 1]
            assert answer in sample.needles[row]


@pytest.mark.parametrize("task", TASKS)
def test_tokens_are_of_the_right_kind(task):
    sample = task.sample(1, 64)
    haystack = sample.inputs[:, : sample.questions[0]]
    is_key = haystack < task.keys
    is_noise = haystack >= task.keys + task.values
    assert (is_key.sum(1) == task.needles).all()
    assert ((~is_key & ~is_noise).sum(1) == task.needles).all()
    rows = torch.arange(64)[:, None]
    assert (is_key[rows, sample.needles - 1]).all()
    for name, ids in (
        ("keys", haystack[rows, sample.needles - 1]),
        ("values", haystack[rows, sample.needles]),
    ):
        assert all(len(set(r)) == task.needles for r in ids.tolist()), name
    assert sample.inputs.max() < task.vocab_size
    assert sample.inputs.min() >= 0


def test_loss_is_on_the_answers_only():
    task = TASKS[1]
    sample = task.sample(0, 8)
    kept = sample.targets != -100
    assert (kept.sum(1) == task.questions).all()
    assert kept[:, sample.questions].all()
    values = sample.targets[kept]
    assert ((values >= task.keys) & (values < task.keys + task.values)).all()


def test_needles_lie_everywhere():
    sample = NeedleTask(length=16).sample(0, 2000)
    assert set(sample.needles.flatten().tolist()) == set(range(1, 15))


def test_a_later_question_is_not_answered_by_elimination():
    # Asked once each, the second of two needles would never be the first.
    task = NeedleTask(needles=2, questions=2)
    answers = task.sample(0, 2000).answers
    same = (answers[:, 0] == answers[:, 1]).float().mean().item()
    assert 0.45 < same < 0.55


def test_without_repeats_every_needle_is_asked_once():
    task = NeedleTask(needles=3, questions=3, repeats=False)
    sample = task.sample(0, 500)
    assert torch.equal(sample.answers.sort(1).values, sample.needles)
    first = (sample.answers[:, 0] == sample.needles[:, 0]).float().mean()
    assert 0.25 < first < 0.42


def test_chance_is_what_guessing_among_the_needles_gets():
    task = NeedleTask(needles=4, questions=8, length=64)
    sample = task.sample(0, 500)
    first = sample.needles[:, :1]
    right = (sample.answers == first).float().mean().item()
    assert abs(right - task.chance.accuracy) < 0.03
    assert task.chance.loss == pytest.approx(math.log(4))


def test_chance_without_repeats_is_guessing_among_those_left():
    task = NeedleTask(needles=2, questions=2, repeats=False)
    assert task.chance.accuracy == 0.75
    assert task.chance.loss == pytest.approx(math.log(2) / 2)


def test_a_batch_depends_on_seed_split_and_step_alone():
    task = NeedleTask()
    other = NeedleTask(seed=1)
    same = [task.batch(3, 4)[0], NeedleTask().batch(3, 4)[0]]
    assert torch.equal(*same)
    assert not torch.equal(task.batch(3, 4)[0], task.batch(4, 4)[0])
    assert not torch.equal(task.batch(3, 4)[0], other.batch(3, 4)[0])
    valid = task.batch(3, 4, "valid")[0]
    assert torch.equal(valid, other.batch(3, 4, "valid")[0])
    assert not torch.equal(valid, task.batch(3, 4)[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"needles": 0}, "needles: got 0"),
        ({"questions": 0}, "questions: got 0"),
        ({"noise": 0}, "noise: got 0"),
        ({"needles": 9, "keys": 8}, "keys: got 8, expected at least"),
        ({"needles": 9, "values": 8}, "values: got 8, expected at least"),
        ({"length": 4}, "length: got 4, expected at least 5"),
        ({"seed": -1}, "seed: got -1"),
        (
            {"questions": 3, "repeats": False},
            "questions: got 3 without repeats, expected at most",
        ),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        NeedleTask(**arguments)
