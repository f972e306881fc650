import json

import pytest
import torch

from minidiff.data import NeedleTask
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM
from minidiff.training.checkpoint import load
from minidiff.training.config import TrainConfig, learning_rate
from minidiff.training.loop import train
from minidiff.training.step import adamw
from minidiff.training.validation import validate

DATA = NeedleTask(needles=1, length=8, keys=4, values=4, noise=4)
SHORT = TrainConfig(
    steps=6,
    batch_size=4,
    warmup_steps=2,
    eval_every=3,
    eval_batches=2,
    checkpoint_every=2,
)


def make(attention="diff"):
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=DATA.vocab_size,
        embed_dim=16,
        num_layers=1,
        num_heads=2,
        attention=attention,
        max_length=DATA.length,
    )
    return DecoderLM(config)


def test_learning_rate_rises_and_falls():
    config = TrainConfig(
        steps=11, warmup_steps=4, lr=1.0, final_lr_fraction=0.4
    )
    rates = [learning_rate(step, config) for step in range(11)]
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert rates == pytest.approx(expected)


def test_no_warmup_starts_at_the_top():
    config = TrainConfig(steps=1, warmup_steps=0, lr=1.0)
    assert learning_rate(0, config) == 1.0
    config = TrainConfig(steps=3, warmup_steps=3, lr=3.0)
    rates = [learning_rate(i, config) for i in range(3)]
    assert rates == pytest.approx([1, 2, 3])


@pytest.mark.parametrize("attention", ["softmax", "diff", "diff_v2"])
def test_training_learns(attention):
    config = TrainConfig(steps=150, batch_size=16, lr=1e-2)
    log = train(make(attention), DATA, config, progress=False)
    assert log[0]["loss"] > 2
    # One needle: the only value in sight is the answer.
    assert log[-1]["valid_accuracy"] > 0.9
    assert log[-1]["valid_loss"] < 0.5


def test_log_says_what_happened(tmp_path):
    model = make()
    log = train(model, DATA, SHORT, run_dir=tmp_path / "run", progress=False)
    assert [r["step"] for r in log] == list(range(6))
    assert [r["tokens"] for r in log] == [32 * (i + 1) for i in range(6)]
    assert [r["lr"] for r in log] == [
        learning_rate(i, SHORT) for i in range(6)
    ]
    assert ["valid_loss" in r for r in log] == [False, False, True] * 2
    measured = validate(model, DATA, batches=2, batch_size=4)
    assert log[-1]["valid_loss"] == measured.loss
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == log


def test_a_run_leaves_a_model_that_loads(tmp_path):
    model = make()
    train(model, DATA, SHORT, run_dir=tmp_path, progress=False)
    inputs, _ = DATA.batch(0, 2)
    assert torch.equal(load(tmp_path)(inputs), model(inputs))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "log.jsonl",
        "checkpoint.safetensors",
        "checkpoint.previous.safetensors",
    }


def test_same_seed_same_losses():
    logs = [train(make(), DATA, SHORT, progress=False) for _ in range(2)]
    assert logs[0] == logs[1]


def test_first_step_is_adamw_by_hand():
    model = make("softmax")
    config = TrainConfig(
        steps=1, batch_size=4, warmup_steps=0, lr=0.01, clip_norm=1e9
    )
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    model.loss(*DATA.batch(0, 4)).backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters()}
    train(model, DATA, config, progress=False)
    for name, p in model.named_parameters():
        # Adam's first step is the sign of the gradient, with eps beside it.
        step = grads[name] / (grads[name].abs() + config.eps)
        decay = 0.1 if p.ndim == 2 else 0.0
        expected = before[name] * (1 - 0.01 * decay) - 0.01 * step
        torch.testing.assert_close(p.detach(), expected)


def test_only_matrices_decay():
    model = make()
    groups = adamw(model, SHORT).param_groups
    decay = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.1 if parameter.ndim > 1 else 0)
        if "lambda" in name or "norm" in name:
            assert decay[id(parameter)] == 0


def test_gradients_are_clipped_and_reported_before(monkeypatch):
    config = TrainConfig(steps=1, batch_size=4, clip_norm=1e-3, warmup_steps=0)
    model = make()
    log = train(model, DATA, config, progress=False)
    norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)
    assert log[0]["grad_norm"] > 0.01


def test_evaluation_is_of_the_targets_alone():
    model = make()
    model.loss = None  # validate has its own sums
    measured = validate(model, DATA, batches=3, batch_size=5)
    losses, right = [], []
    for step in range(3):
        inputs, targets = DATA.batch(step, 5, "valid")
        kept = targets != -100
        logits, targets = model(inputs)[kept], targets[kept]
        losses.append(torch.nn.functional.cross_entropy(logits, targets))
        right.append((logits.argmax(-1) == targets).double().mean())
    assert measured.loss == pytest.approx(torch.stack(losses).mean().item())
    assert measured.accuracy == pytest.approx(torch.stack(right).mean())
    assert model.training


class Spoiled(NeedleTask):
    """Breaks the model's weights when a certain step is asked for."""

    model = None
    at = 5

    def batch(self, step, batch_size, split, rows):
        if split == "train" and step == self.at:
            type(self).model.norm.weight.data[0] = float("inf")
        return super().batch(step, batch_size, split, rows)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    fields = {"needles": 1, "length": 8, "keys": 4, "values": 4, "noise": 4}
    data = Spoiled(**fields)
    Spoiled.model = make()
    with pytest.raises(FloatingPointError, match="loss is nan at step 5"):
        train(Spoiled.model, data, SHORT, run_dir=tmp_path, progress=False)
    good = load(tmp_path)
    assert all(p.isfinite().all() for p in good.parameters())
    # Steps 0 to 4 are logged, the checkpoint is that of four steps.
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 5
    Spoiled.at = -1
    log = train(
        make(), data, SHORT, run_dir=tmp_path, resume=True, progress=False
    )
    assert log == train(make(), DATA, SHORT, progress=False)


def test_progress_shows_the_loss(capsys):
    log = train(make(), DATA, SHORT, progress=True)
    shown = capsys.readouterr().err
    assert "6/6" in shown
    assert f"loss={log[-1]['loss']:.3f}" in shown
    train(make(), DATA, SHORT, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps: got 0"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"warmup_steps": 801}, "warmup_steps: got 801, expected 0 to 800"),
        ({"lr": 0.0}, "lr: got 0"),
        ({"lr": float("nan")}, "lr: got nan"),
        ({"final_lr_fraction": 2.0}, "final_lr_fraction: got 2"),
        ({"weight_decay": -1.0}, "weight_decay: got -1"),
        ({"clip_norm": 0.0}, "clip_norm: got 0"),
        ({"betas": (0.9, 1.0)}, "betas: got"),
        ({"eval_every": 0}, "eval_every: got 0"),
    ],
)
def test_bad_config_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**arguments)


def test_data_of_another_vocabulary_is_refused():
    other = NeedleTask(needles=1, length=8, keys=4, values=4, noise=5)
    with pytest.raises(ValueError, match=r"got 13 token ids, expected .* 12"):
        train(make(), other, SHORT, progress=False)
