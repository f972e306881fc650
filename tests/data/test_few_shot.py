"""Few-shot rows: labels are the row's own, orders change nothing else."""

from dataclasses import replace

import pytest
import torch

from minidiff.data import FewShotTask
from minidiff.data.orders import ORDERS

TASKS = [
    FewShotTask(),
    FewShotTask(classes=3, shots=5, questions=4, features=2, order="sorted"),
    FewShotTask(classes=4, shots=3, questions=2, order="alternating"),
    # Nothing to spare: one class, as many labels and prototypes as classes.
    FewShotTask(classes=2, shots=1, prototypes=2, label_ids=2, feature_ids=8),
]


@pytest.mark.parametrize("task", TASKS)
def test_the_label_follows_its_item(task):
    sample = task.sample(0, 32)
    inputs, targets, places, classes, labels = sample
    assert inputs.shape == targets.shape == (32, task.length)
    assert inputs.dtype == targets.dtype == torch.int64
    said = labels.take_along_dim(classes, 1)
    assert torch.equal(targets[:, places], said)
    assert torch.equal(inputs[:, places + 1], said)
    counted = targets != -100
    assert (counted.sum(1) == task.items).all() and counted[:, places].all()
    is_label = inputs >= task.feature_ids
    assert (is_label.sum(1) == task.items).all()
    assert is_label[:, places + 1].all()
    assert inputs.min() >= 0 and inputs.max() < task.vocab_size
    assert all(len(set(row)) == task.classes for row in labels.tolist())


@pytest.mark.parametrize("task", TASKS)
def test_every_class_is_shown_as_often(task):
    shown = task.sample(0, 32).classes[:, : -task.questions]
    for c in range(task.classes):
        assert ((shown == c).sum(1) == task.shots).all()


def test_orders_are_what_they_are_called():
    task = FewShotTask(classes=3, shots=4)
    shown = {
        order: replace(task, order=order).sample(0, 32).classes[:, :-1]
        for order in ORDERS
    }
    blocks = shown["sorted"].view(32, 3, 4)
    assert (blocks == blocks[:, :, :1]).all()
    turns = shown["alternating"].view(32, 4, 3)
    assert (turns == turns[:, :1]).all()
    assert len({tuple(r) for r in shown["random"].tolist()}) > 28
    for order in ("sorted", "alternating"):
        assert len({tuple(r) for r in shown[order].tolist()}) == 6


@pytest.mark.parametrize("order", ORDERS)
def test_another_order_has_the_same_items_and_questions(order):
    task = FewShotTask(classes=3, shots=4, questions=2, order=order)
    first, second = (replace(task, order_seed=i).sample(5, 16) for i in (0, 1))
    assert torch.equal(first.labels, second.labels)
    rows = [x.inputs.view(16, task.items, 4) for x in (first, second)]
    assert torch.equal(rows[0][:, -2:], rows[1][:, -2:])
    assert not torch.equal(*rows)
    for a, b in zip(*rows, strict=True):
        assert sorted(a.tolist()) == sorted(b.tolist())


@pytest.mark.parametrize(
    ("noise", "low", "high"), [(0, 1, 1), (0.25, 0.73, 0.9), (1, 0.05, 0.4)]
)
def test_items_of_a_class_share_few_features(noise, low, high):
    """How many of the features of a row's first class fit one prototype."""
    task = FewShotTask(noise=noise)
    clean = replace(task, noise=0, shots=30).sample(0, 400)
    features = clean.inputs.view(400, -1, 4)[..., :3]
    prototypes = set()
    for row, classes in zip(features, clean.classes, strict=True):
        prototypes.add(frozenset(row[classes == 0].flatten().tolist()))
    assert {len(p) for p in prototypes} == {task.width}
    sample = task.sample(1, 100)
    features = sample.inputs.view(100, task.items, 4)[..., :3]
    shares = []
    for row, classes in zip(features, sample.classes, strict=True):
        found = row[classes == 0].flatten().tolist()
        hits = (sum(x in p for x in found) for p in prototypes)
        shares.append(max(hits) / len(found))
    assert low <= sum(shares) / len(shares) <= high


def test_the_label_of_a_class_says_nothing_in_another_row():
    sample = FewShotTask().sample(0, 500)
    features = sample.inputs[:, 0]
    labels = sample.inputs[:, 3]
    for value in features.unique()[:20]:
        here = labels[features == value]
        assert len(here.unique()) > 0.5 * len(here)


def test_a_batch_depends_on_seed_split_and_step_alone():
    task, other = FewShotTask(), FewShotTask(seed=1)
    assert torch.equal(task.batch(3, 4)[0], FewShotTask().batch(3, 4)[0])
    assert not torch.equal(task.batch(3, 4)[0], task.batch(4, 4)[0])
    assert not torch.equal(task.batch(3, 4)[0], other.batch(3, 4)[0])
    valid = task.batch(3, 4, "valid")[0]
    assert torch.equal(valid, other.batch(3, 4, "valid")[0])
    part = task.batch(3, 4, "train", slice(1, 3))[0]
    assert torch.equal(part, task.batch(3, 4)[0][1:3])


def test_chance_is_guessing_among_the_rows_labels():
    assert FewShotTask(classes=4).chance.accuracy == 0.25
    assert FewShotTask(classes=1).chance.loss == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 0}, "classes: got 0"),
        ({"shots": 0}, "shots: got 0"),
        ({"questions": 0}, "questions: got 0"),
        ({"features": 0}, "features: got 0"),
        ({"prototypes": 5}, "prototypes: got 5, expected at least classes"),
        ({"label_ids": 5}, "label_ids: got 5, expected at least classes = 6"),
        ({"feature_ids": 7}, "feature_ids: got 7, expected at least width"),
        ({"order": "best"}, "order: got 'best', expected one of"),
        ({"noise": 1.5}, "noise: got 1.5, expected 0 to 1"),
        ({"seed": -1}, "seed: got -1"),
        ({"order_seed": -1}, "order_seed: got -1"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        FewShotTask(**arguments)
