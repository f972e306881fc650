"""The training loop: what it does to the model, and what it refuses."""

import json
import math
from itertools import pairwise

import pytest
import torch

from minidiff.data import NeedleTask
from minidiff.train import TrainConfig, evaluate, learning_rate, train
from tests import small


def test_the_rate_rises_and_falls():
    c = TrainConfig(steps=10, warmup_steps=4, lr=1.0, final_lr_fraction=0.1)
    rates = [learning_rate(step, c) for step in range(10)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[-1] == pytest.approx(0.1)
    falls = [a - b for a, b in pairwise(rates[4:])]
    assert falls == pytest.approx([falls[0]] * 5)


@pytest.mark.parametrize("attention", ["softmax", "diff", "diff_v2"])
def test_it_learns_the_task(attention):
    model = small.model(attention)
    c = small.config(steps=250, batch_size=16, lr=1e-2, eval_every=250)
    log = train(model, small.TASK, c, progress=False)
    assert log[0]["loss"] > math.log(16) - 0.3
    assert log[-1]["valid_accuracy"] > 0.9
    assert model.training


def test_what_a_record_holds():
    log = train(small.model(), small.TASK, small.config(), progress=False)
    assert [r["step"] for r in log] == list(range(12))
    assert log[3]["tokens"] == 4 * 4 * 12
    evaluated = [r["step"] for r in log if "valid_loss" in r]
    assert evaluated == [5, 11]
    assert all(r["grad_norm"] > 0 for r in log)


def test_the_same_seed_gives_the_same_losses():
    first, second = (
        train(small.model(), small.TASK, small.config(), progress=False)
        for _ in range(2)
    )
    assert first == second


def test_decay_touches_matrices_only():
    models = []
    for decay in (0.0, 0.9):
        model = small.model()
        # With a zero gradient only decay moves a weight.
        for p in model.parameters():
            p.register_hook(torch.zeros_like)
        c = small.config(steps=3, weight_decay=decay)
        train(model, small.TASK, c, progress=False)
        models.append(dict(model.named_parameters()))
    for name, p in models[0].items():
        moved = not torch.equal(p, models[1][name])
        assert moved == (p.ndim >= 2), name


def test_clipping_bounds_the_update():
    model = small.model()
    c = small.config(steps=1, warmup_steps=0, clip_norm=1e-3)
    record = train(model, small.TASK, c, progress=False)[0]
    total = sum(p.grad.square().sum() for p in model.parameters()).sqrt()
    assert record["grad_norm"] > 1e-2
    assert total.item() == pytest.approx(1e-3, rel=1e-3)


def test_evaluation_by_hand():
    model = small.model()
    got = evaluate(model, small.TASK, batches=2, batch_size=8)
    losses, right = [], []
    for step in range(2):
        x, y = small.TASK.batch(step, 8, "valid")
        losses.append(model.loss(x, y).item())
        kept = y != -100
        right.append((model(x).argmax(-1)[kept] == y[kept]).float().mean())
    assert got.loss == pytest.approx(sum(losses) / 2, rel=1e-5)
    assert got.accuracy == pytest.approx(float(sum(right)) / 2)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    c = small.config()

    class Breaks:
        vocab_size = small.TASK.vocab_size
        describe = staticmethod(small.TASK.describe)

        @staticmethod
        def batch(step, batch_size, split="train"):
            if step == 6:
                with torch.no_grad():
                    model.norm.weight.fill_(math.nan)
            return small.TASK.batch(step, batch_size, split)

    model = small.model()
    with pytest.raises(FloatingPointError, match="loss is nan at step 6"):
        train(model, Breaks(), c, run_dir=tmp_path, progress=False)
    resumed = small.model(seed=9)
    log = train(
        resumed, small.TASK, c, run_dir=tmp_path, resume=True, progress=False
    )
    whole = train(small.model(), small.TASK, c, progress=False)
    assert log == whole


def test_the_log_on_disk_is_the_log(tmp_path):
    log = train(
        small.model(),
        small.TASK,
        small.config(),
        run_dir=tmp_path,
        progress=False,
    )
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == log


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps: got 0"),
        ({"warmup_steps": 13}, "warmup_steps: got 13"),
        ({"lr": 0.0}, "lr: got 0.0"),
        ({"lr": math.inf}, "lr: got inf"),
        ({"final_lr_fraction": 2}, "final_lr_fraction: got 2"),
        ({"betas": (0.9, 1.0)}, "betas: got"),
        ({"weight_decay": -1}, "weight_decay: got -1"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        small.config(**change)


def test_data_of_another_vocabulary_is_refused():
    with pytest.raises(ValueError, match="data: got 256 token ids"):
        train(small.model(), NeedleTask(), small.config(), progress=False)


def test_resume_needs_a_folder():
    with pytest.raises(ValueError, match="resume: got True without run_dir"):
        train(
            small.model(),
            small.TASK,
            small.config(),
            resume=True,
            progress=False,
        )
