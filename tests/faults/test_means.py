"""The options of Compute change nothing but speed, memory and rounding."""

import shutil
from importlib import import_module

import pytest
import torch
from conftest import need
from tiny_models import KINDS, V, make

from minidiff import Compute, TrainConfig, train
from minidiff.data.protocol import IGNORE
from minidiff.training.stacked.train import train_stacked
from minidiff.training.step import Updates
from minidiff.training.validation import Measure, validate

CONFIG = TrainConfig(
    steps=3, batch_size=4, warmup_steps=0, eval_batches=2, lr=1e-2
)


class Rows:
    """Rows of random tokens; ``hide`` takes targets away."""

    vocab_size = V

    def __init__(self, hide=lambda targets, split, step: None):
        self.hide = hide

    def batch(self, step, batch_size, split="train", rows=slice(None)):
        g = torch.Generator().manual_seed(step)
        x = torch.randint(0, V, (batch_size, 8), generator=g)
        y = x.roll(-1, 1)
        self.hide(y, split, step)
        return x[rows], y[rows]

    def describe(self):
        return {}


def half(targets, split, step):
    targets[: len(targets) // 2] = IGNORE


def some(targets, split, step):
    targets[1:] = IGNORE
    targets[0, 3:] = IGNORE


def log(kind="diff", hide=half, config=CONFIG, **options):
    # In float64, because three steps of Adam enlarge the rounding of float32
    # by a factor that depends on the machine.
    return train(
        make(kind).double(), Rows(hide), config, compute=Compute(**options),
        progress=False,
    )  # fmt: skip


def same(got, want):
    for a, b in zip(got, want, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            assert a[key] == pytest.approx(b[key], rel=1e-9), key


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hide", [half, some])
@pytest.mark.parametrize("accumulate", [2, 4])
def test_parts_without_targets(kind, hide, accumulate):
    same(log(kind, hide, accumulate=accumulate), log(kind, hide))


def test_a_part_without_targets_has_a_gradient_of_zero():
    model, x = make(), torch.zeros(1, 4, dtype=torch.int64)
    loss = model.loss(x, x - 100, counted=torch.tensor(3))
    assert loss.item() == 0
    loss.backward()
    assert all(not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("late", [False, True])
def test_a_batch_without_targets_is_named(late, monkeypatch):
    def hide(targets, split, step):
        if split == "train" and step == 1:
            targets[:] = IGNORE

    if late:  # as on a GPU, where nothing is read step by step
        monkeypatch.setattr("minidiff.nn.model.is_readable", lambda x: False)
    for n in (1, 2):
        with pytest.raises(ValueError, match="data: every target of step 1"):
            log(hide=hide, accumulate=n)


def test_validation_without_targets_is_named():
    def hide(targets, split, step):
        if split == "valid":
            targets[:] = IGNORE

    with pytest.raises(ValueError, match="validation batches is -100"):
        log(hide=hide)

    def hide_one(targets, split, step):
        if split == "valid" and step == 0:
            targets[:] = IGNORE

    got = validate(make(), Rows(hide_one), batches=2, batch_size=4)
    want = validate(make(), Rows(hide_one), batches=2, batch_size=4, parts=4)
    assert got == pytest.approx(want)


@pytest.fixture
def backends(monkeypatch):
    """The backends that were called."""
    operator = import_module("minidiff.ops.diff_attention")
    used = []
    for name, real in operator._BACKENDS.items():

        def noted(x, name=name, real=real):
            used.append(name)
            return real(x)

        monkeypatch.setitem(operator._BACKENDS, name, noted)
    return used


@pytest.mark.parametrize("kind", ["diff", "diff_v2"])
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_the_backend_evaluates_too(kind, backend, backends):
    log(kind, backend=backend)
    # Three steps and two batches, in two layers.
    assert backends == [backend] * 10


def test_a_compiled_run_evaluates_compiled(monkeypatch):
    compiled = []

    def record(module, layers):
        compiled.append(type(module).__name__)
        return module

    monkeypatch.setattr("minidiff.training.step.compiled", record)
    same(log(compile=True), log())
    assert sorted(compiled) == ["Loss", "Measure"]


@pytest.mark.slow
def test_compiled_parts_without_targets():
    need(shutil.which("c++") or shutil.which("g++"), "no C++ compiler")
    same(log(compile=True, accumulate=2), log())


def test_precision_evaluates_too():
    seen = set()
    model = make()
    config = TrainConfig(
        steps=1, batch_size=4, warmup_steps=0, precision="bfloat16"
    )
    updates = Updates(model, config, Compute())
    model.norm.register_forward_hook(
        lambda *_: seen.add(torch.is_autocast_enabled("cpu"))
    )
    updates.validate(Rows())
    assert seen == {True}


def test_a_float64_model_is_evaluated_in_float64():
    sums = Measure(make().double())(*Rows().batch(0, 4))
    assert sums.dtype == torch.float64


def test_frozen_weights_stay_in_a_stack_as_in_single_training():
    def frozen():
        model = make()
        model.embedding.weight.requires_grad_(False)
        model.blocks[0].attention.lambda_q1.requires_grad_(False)
        return model

    one, stacked = frozen(), [frozen(), frozen()]
    train(one, Rows(), CONFIG, progress=False)
    train_stacked(stacked, [Rows()] * 2, CONFIG, progress=False)
    want = dict(one.named_parameters())
    for name, p in stacked[1].named_parameters():
        torch.testing.assert_close(p, want[name], atol=1e-4, rtol=1e-3)
    assert torch.equal(stacked[0].embedding.weight, make().embedding.weight)


def test_a_stack_of_differently_frozen_models_is_refused():
    models = [make(), make()]
    models[1].norm.weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"models: number 1 .*norm\.weight"):
        train_stacked(models, [Rows()] * 2, CONFIG, progress=False)
