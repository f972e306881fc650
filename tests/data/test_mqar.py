import numpy as np
import pytest
import torch

from minidiff.data.mqar import MQARTask

TASKS = [
    MQARTask(),
    MQARTask(pairs=8, length=128, noise=True),
    # Every place behind the pairs is a query's, every id is somebody's.
    MQARTask(pairs=3, length=12, vocab_size=8),
    MQARTask(pairs=1, length=4, vocab_size=4, power=1),
]


@pytest.mark.parametrize("task", TASKS)
def test_each_key_is_asked_once_and_its_value_is_the_target(task):
    sample = task.sample(0, 64)
    N = task.pairs
    keys, values = (
        sample.inputs[:, 0 : 2 * N : 2],
        sample.inputs[:, 1 : 2 * N : 2],
    )
    assert sample.inputs.shape == (64, task.length)
    assert torch.equal(sample.inputs.gather(1, sample.queries), keys)
    assert torch.equal(sample.targets.gather(1, sample.queries), values)
    assert torch.equal(sample.inputs.gather(1, sample.answers), values)
    assert (sample.queries >= 2 * N).all()
    assert (sample.queries % 2 == 0).all()
    assert ((sample.targets != -100).sum(1) == N).all()


@pytest.mark.parametrize("task", TASKS)
def test_keys_and_values_differ_and_come_from_their_halves(task):
    sample = task.sample(1, 64)
    N, half = task.pairs, task.vocab_size // 2
    for first, low, high in ((0, 1, half), (1, half, task.vocab_size)):
        ids = sample.inputs[:, first : 2 * N : 2]
        assert ids.min() >= low
        assert ids.max() < high
        assert all(len(set(row)) == N for row in ids.tolist())


def test_all_ids_are_used():
    ids = MQARTask(pairs=3, length=12, vocab_size=8).sample(0, 64).inputs
    assert set(ids[:, :6].flatten().tolist()) == set(range(1, 8))


def test_blanks_are_blank_or_noise():
    for noise in (False, True):
        task = MQARTask(pairs=4, length=64, vocab_size=64, noise=noise)
        sample = task.sample(0, 64)
        blank = torch.ones_like(sample.inputs, dtype=torch.bool)
        blank[:, :8] = False
        blank.scatter_(1, sample.queries, False)
        found = sample.inputs[blank].unique()
        assert len(found) == (64 if noise else 1)


def test_queries_lie_at_distances_of_a_power_law():
    task = MQARTask(pairs=1, length=34, power=0.5)
    first = (task.sample(0, 40_000).queries[:, 0] - 2) // 2
    found = np.bincount(first.numpy(), minlength=16) / 40_000
    weight = np.arange(1, 17) ** -0.5
    assert np.abs(found - weight / weight.sum()).max() < 0.01


def test_batches_depend_on_seed_step_and_split_alone():
    task = MQARTask()
    assert torch.equal(task.batch(3, 8)[0], task.batch(3, 8)[0])
    assert torch.equal(
        task.batch(3, 8, rows=slice(2, 4))[0], task.batch(3, 8)[0][2:4]
    )
    others = [
        task.batch(4, 8)[0],
        MQARTask(seed=1).batch(3, 8)[0],
        task.batch(3, 8, "valid")[0],
    ]
    for other in others:
        assert not torch.equal(task.batch(3, 8)[0], other)
    seeds = [MQARTask(seed=s).batch(0, 8, "valid")[0] for s in (0, 1)]
    assert torch.equal(*seeds)
    assert task.describe()["kind"] == "mqar"


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        ("pairs: got 0", {"pairs": 0}),
        ("length: got 15, expected at least 4 pairs = 16", {"length": 15}),
        ("vocab_size: got 9, expected at least 10", {"vocab_size": 9}),
        ("power: got 0", {"power": 0}),
        ("power: got 1.5", {"power": 1.5}),
        ("seed: got -1", {"seed": -1}),
    ],
)
def test_bad_tasks_are_refused_by_name(message, changes):
    with pytest.raises(ValueError, match=message):
        MQARTask(**changes)
