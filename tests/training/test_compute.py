"""Other means, same losses: parts, precision, the compiler, one kernel."""

import shutil
from dataclasses import replace

import pytest
import torch
from conftest import need
from test_loop import DATA, SHORT, make

from minidiff.data import NeedleTask
from minidiff.data.protocol import ALL
from minidiff.training.checkpoint import load_checkpoint
from minidiff.training.config import Compute
from minidiff.training.loop import train
from minidiff.training.step import Updates, adamw
from minidiff.training.validation import validate


class Uneven(NeedleTask):
    """Some rows have one target that counts, some have nine."""

    def batch(self, step, batch_size, split="train", rows=ALL):
        inputs, targets = super().batch(step, batch_size, split)
        targets[::3] = inputs[::3].roll(-1, 1)
        return inputs[rows], targets[rows]


UNEVEN = Uneven(needles=1, length=8, keys=4, values=4, noise=4)


def losses(log):
    return [record["loss"] for record in log]


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_change_nothing(parts):
    whole = train(make(), UNEVEN, SHORT, progress=False)
    log = train(
        make(),
        UNEVEN,
        SHORT,
        compute=Compute(accumulate=parts),
        progress=False,
    )
    for key in ("loss", "grad_norm"):
        got, want = ([r[key] for r in x] for x in (log, whole))
        assert got == pytest.approx(want, rel=1e-6)
    assert [r["tokens"] for r in log] == [r["tokens"] for r in whole]
    assert log[-1]["valid_loss"] == pytest.approx(whole[-1]["valid_loss"])


def test_parts_are_computed_one_by_one(monkeypatch):
    seen = []
    model = make()
    real = model.loss

    def loss(inputs, targets, **options):
        seen.append(tuple(inputs.shape))
        return real(inputs, targets, **options)

    model.loss = loss
    config = replace(SHORT, steps=1, warmup_steps=0)
    train(model, DATA, config, compute=Compute(accumulate=4), progress=False)
    assert seen == [(1, 8)] * 4


def test_a_batch_that_cannot_be_divided_is_refused():
    with pytest.raises(ValueError, match=r"batch_size: got 4, .* of 3: 1 pro"):
        train(make(), DATA, SHORT, compute=Compute(accumulate=3))


@pytest.mark.parametrize("attention", ["softmax", "diff", "diff_v2"])
def test_bfloat16_is_autocast(attention, tmp_path):
    narrow = replace(SHORT, precision="bfloat16")
    model, seen = make(attention), set()
    projection = model.blocks[0].attention.q_proj
    projection.register_forward_hook(lambda *x: seen.add(x[-1].dtype))
    log = train(model, DATA, narrow, run_dir=tmp_path, progress=False)
    assert seen == {torch.bfloat16}  # when evaluating as well
    wide = train(make(attention), DATA, SHORT, progress=False)
    assert losses(log) == pytest.approx(losses(wide), rel=0.02)
    assert losses(log) != losses(wide)
    checkpoint = load_checkpoint(tmp_path)
    for tensors in (checkpoint.model, checkpoint.optimizer):
        assert {t.dtype for t in tensors.values()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["softmax", "diff"])
def test_compiled_it_learns_the_same(attention):
    need(shutil.which("c++") or shutil.which("g++"), "no C++ compiler")
    from torch._dynamo.utils import counters

    counters.clear()
    compute = Compute(compile=True, accumulate=2)
    log = train(make(attention), UNEVEN, SHORT, compute=compute)
    assert counters["stats"]["unique_graphs"] > 0
    plain = train(make(attention), UNEVEN, SHORT, progress=False)
    assert losses(log) == pytest.approx(losses(plain), rel=1e-5)


def test_the_fused_optimiser_on_cuda_alone(monkeypatch):
    assert adamw(make(), SHORT).defaults["fused"] is False
    asked = []

    def look(groups, **options):
        asked.append(options["fused"])

    # Meta tensors stand in for a GPU's; only their device is looked at.
    class Model:
        def parameters(self):
            yield torch.empty(2, 2).as_subclass(OnCuda)

    class OnCuda(torch.Tensor):
        device = torch.device("cuda")

    monkeypatch.setattr(torch.optim, "AdamW", look)
    adamw(Model(), SHORT)
    assert asked == [True]


def fused(model, config):
    """The optimiser of a GPU, here on a CPU."""
    groups = adamw(model, config).param_groups
    for group in groups:
        group["fused"], group["foreach"] = True, False
    return torch.optim.AdamW(groups, fused=True)


def test_a_fused_run_resumes(monkeypatch, tmp_path):
    import minidiff.training.step

    monkeypatch.setattr(minidiff.training.step, "adamw", fused)
    whole = train(make(), DATA, SHORT, progress=False)
    plain = Updates.update

    def stop(self, data, step):
        if step == 5:
            raise KeyboardInterrupt
        return plain(self, data, step)

    monkeypatch.setattr(Updates, "update", stop)
    with pytest.raises(KeyboardInterrupt):
        train(make(), DATA, SHORT, run_dir=tmp_path, progress=False)
    monkeypatch.setattr(Updates, "update", plain)
    options = {"run_dir": tmp_path, "resume": True, "progress": False}
    assert train(make(), DATA, SHORT, **options) == whole


def test_other_means_may_resume_a_run(tmp_path):
    log = train(make(), DATA, SHORT, run_dir=tmp_path, progress=False)
    compute = Compute(accumulate=2)
    options = {"run_dir": tmp_path, "resume": True, "compute": compute}
    assert train(make(), DATA, SHORT, **options) == log


def test_the_backend_reaches_the_attention(monkeypatch):
    with pytest.raises(ValueError, match="backend: got 'toaster'"):
        train(make(), DATA, SHORT, compute=Compute(backend="toaster"))
    eager = Compute(backend="eager")
    log = train(make(), DATA, SHORT, compute=eager, progress=False)
    auto = train(make(), DATA, SHORT, progress=False)
    assert losses(log) == pytest.approx(losses(auto), rel=1e-5)
    # A plain model has no such backend: it trains as ever.
    triton = Compute(backend="triton")
    log = train(make("softmax"), DATA, SHORT, compute=triton, progress=False)
    assert log == train(make("softmax"), DATA, SHORT, progress=False)


def test_evaluating_in_parts_changes_nothing():
    sizes = {"batches": 3, "batch_size": 6}
    whole = validate(make(), UNEVEN, **sizes)
    parts = validate(make(), UNEVEN, **sizes, parts=3)
    assert parts.accuracy == whole.accuracy
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"accumulate": 0}, "accumulate: got 0, expected 1 or more"),
        ({"parallel": "tp"}, r"parallel: got 'tp', expected one of 'ddp'"),
    ],
)
def test_bad_means_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Compute(**arguments)


def test_an_unknown_precision_is_named():
    with pytest.raises(ValueError, match="precision: got 'fp8', expected one"):
        replace(SHORT, precision="fp8")
