"""A loop that does not wait for a GPU, shown on a CPU: what reads, and when.

Fused AdamW runs on a CPU as well, and the loop then does what it does on CUDA:
it reads values only where it logs them.
"""

import json
from dataclasses import replace

import pytest
import torch
from test_compute import fused
from test_loop import DATA, SHORT, make
from torch.utils._python_dispatch import TorchDispatchMode

from minidiff.data import NeedleTask
from minidiff.training import reading, step
from minidiff.training.config import Compute
from minidiff.training.loop import train
from minidiff.training.step import Updates, adamw

CONFIG = replace(SHORT, steps=12, eval_every=6, checkpoint_every=4)
READS = ("aten._local_scalar_dense", "aten.nonzero", "aten.equal")


@pytest.fixture
def as_on_cuda(monkeypatch):
    """Let an update do what it does on CUDA, and time not matter."""
    monkeypatch.setattr(step, "adamw", fused)
    # A model reads its tokens to check them, but never on a GPU.
    monkeypatch.setattr("minidiff.nn.model.is_readable", lambda ids: False)
    monkeypatch.setattr(reading, "SECONDS", 1e9)


class Watch(TorchDispatchMode):
    """Note the training steps in which a value is read."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.step, self.read_in = -1, set()
        tolist = torch.Tensor.tolist

        def noted(x):
            if x.is_floating_point():  # what processes agree on is no value
                self.read_in.add(self.step)
            return tolist(x)

        monkeypatch.setattr(torch.Tensor, "tolist", noted)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if str(func).startswith(READS):
            self.read_in.add(self.step)
        return func(*args, **(kwargs or {}))


class Counting(NeedleTask):
    """Tells a watch which step begins."""

    watch = None

    def batch(self, step, batch_size, split, rows):
        if split == "train" and self.watch is not None:
            self.watch.step = step
        return super().batch(step, batch_size, split, rows)


FIELDS = {"needles": 1, "length": 8, "keys": 4, "values": 4, "noise": 4}


def watched(monkeypatch, folder):
    data = Counting(**FIELDS)
    Counting.watch = Watch(monkeypatch)
    with Counting.watch as watch:
        log = train(make(), data, CONFIG, run_dir=folder, progress=False)
    Counting.watch = None
    return watch.read_in - {-1}, log


def test_values_are_read_where_they_are_logged(
    as_on_cuda, monkeypatch, tmp_path
):
    read_in, log = watched(monkeypatch, tmp_path)
    # The first step, evaluations after 6 and 12, checkpoints after 4 and 8.
    assert read_in == {0, 3, 5, 7, 11}
    assert [r["step"] for r in log] == list(range(12))
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == log


def test_the_watch_sees_an_update_that_reads(
    as_on_cuda, monkeypatch, tmp_path
):
    monkeypatch.setattr(step, "adamw", adamw)
    read_in, _ = watched(monkeypatch, tmp_path)
    assert read_in == set(range(12))


def test_read_late_the_log_is_the_same(as_on_cuda, monkeypatch):
    late = train(make(), DATA, CONFIG, progress=False)
    monkeypatch.setattr(reading, "SECONDS", 0.0)
    assert train(make(), DATA, CONFIG, progress=False) == late


def breaks_at(model, at):
    """Let the loss of one step be NaN, and no other step's."""
    real, calls = model.loss, []

    def loss(*args, **kwargs):
        calls.append(None)
        factor = float("nan") if len(calls) == at + 1 else 1.0
        return real(*args, **kwargs) * factor

    model.loss = loss
    return model


@pytest.mark.parametrize("late", [False, True])
def test_a_broken_step_leaves_model_and_run_as_they_were(
    late, request, tmp_path
):
    if late:
        request.getfixturevalue("as_on_cuda")
    model = breaks_at(make(), 5)
    message = "loss is nan at step 5, expected a finite number"
    with pytest.raises(FloatingPointError, match=message):
        train(model, DATA, CONFIG, run_dir=tmp_path, progress=False)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(5))
    good = make()
    updates = Updates(good, CONFIG, Compute())
    for i in range(5):
        updates(DATA, i)
    got = dict(model.named_parameters())
    for name, parameter in good.named_parameters():
        assert torch.equal(got[name], parameter), name


@pytest.mark.parametrize("late", [False, True])
def test_later_updates_are_skipped_too(late, request):
    if late:
        request.getfixturevalue("as_on_cuda")
    model = breaks_at(make(), 1)
    updates = Updates(model, CONFIG, Compute())
    for i in range(4):
        updates.update(DATA, i)
        if i == 0:
            before = [p.detach().clone() for p in model.parameters()]
    records, error = updates.read()
    assert [r["step"] for r in records] == [0]
    assert "loss is nan at step 1" in str(error)
    after = model.parameters()
    assert all(map(torch.equal, before, after))
    for state in updates.optimizer.state.values():
        assert state["step"] == 1 and state["exp_avg"].isfinite().all()


def test_a_gradient_that_is_not_finite_is_named():
    model = make()
    model.norm.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(FloatingPointError, match=r"grad_norm is .* at step 0"):
        train(model, DATA, CONFIG, progress=False)
