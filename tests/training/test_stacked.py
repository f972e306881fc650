"""Stacked training gives each model what training alone would give it."""

from dataclasses import replace

import pytest
import torch

from minidiff import ModelConfig, TrainConfig, train
from minidiff.data.mqar import MQARTask
from minidiff.nn.kinds import KINDS, build_kind
from minidiff.training.stacked.train import train_stacked
from minidiff.training.validation import validate

TASK = MQARTask(pairs=2, length=16, vocab_size=32)
BASE = ModelConfig(
    vocab_size=32, embed_dim=32, num_layers=2, num_heads=4, max_length=16
)
CONFIG = TrainConfig(
    steps=6, batch_size=4, warmup_steps=2, eval_every=3, eval_batches=2
)
RATES = (1e-2, 1e-3)


class EveryTarget:
    """A source of text, in which every target counts."""

    vocab_size = 32

    def __init__(self, seed):
        self.seed = seed

    def batch(self, step, batch_size, split="train", rows=slice(None)):
        g = torch.Generator().manual_seed(1000 * self.seed + step)
        tokens = torch.randint(32, (batch_size, 17), generator=g)
        return tokens[rows, :-1], tokens[rows, 1:]

    def describe(self):
        return {"seed": self.seed}


def stack(kind):
    """Two seeds at two rates: the models, their sources and their rates."""
    seeds, rates = [0, 1, 0, 1], [r for r in RATES for _ in (0, 1)]
    sources = [replace(TASK, seed=s) for s in (0, 1)]
    models = [build_kind(BASE, kind, s).double() for s in seeds]
    return models, [sources[s] for s in seeds], rates


@pytest.mark.parametrize("kind", KINDS)
def test_each_model_trains_as_it_would_alone(kind):
    models, sources, rates = stack(kind)
    alone = [build_kind(BASE, kind, s).double() for s in (0, 1, 0, 1)]
    curves = train_stacked(models, sources, CONFIG, rates, progress=False)
    assert curves.eval_steps == [3, 6]
    for i, (model, source, rate) in enumerate(
        zip(alone, sources, rates, strict=True)
    ):
        config = replace(CONFIG, lr=rate)
        log = train(model, source, config, progress=False)
        losses = torch.tensor([r["loss"] for r in log], dtype=torch.float64)
        assert torch.allclose(curves.loss[:, i], losses, rtol=0, atol=1e-9)
        for row, step in enumerate((2, 5)):
            for name, got in (
                ("valid_loss", curves.valid_loss[row, i]),
                ("valid_accuracy", curves.valid_accuracy[row, i]),
            ):
                # Validation rounds logits to float32.
                assert got == pytest.approx(log[step][name], abs=1e-6)
        for name, p in model.named_parameters():
            got = dict(models[i].named_parameters())[name]
            assert torch.allclose(got, p, rtol=0, atol=1e-9), name
    assert len({round(x, 9) for x in curves.loss[-1].tolist()}) == 4


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_of_32_bits_train_alike_up_to_rounding(precision):
    config = replace(CONFIG, precision=precision)
    models = [build_kind(BASE, "diff", s) for s in (0, 1)]
    sources = [EveryTarget(s) for s in (0, 1)]
    curves = train_stacked(models, sources, config, progress=False)
    log = train(
        build_kind(BASE, "diff", 0), sources[0], config, progress=False
    )
    assert models[0].embedding.weight.dtype == torch.float32
    assert curves.loss[:, 0].tolist() == pytest.approx(
        [r["loss"] for r in log], rel=1e-5 if precision == "float32" else 1e-2
    )


def alone_and_stacked(config=CONFIG, **options):
    """Losses of one model trained alone, and stacked with another."""
    sources = [EveryTarget(s) for s in (0, 1)]
    model = build_kind(BASE, "diff", 0).double()
    log = train(model, sources[0], config, progress=False)
    models = [build_kind(BASE, "diff", s).double() for s in (0, 1)]
    curves = train_stacked(models, sources, config, progress=False, **options)
    return [r["loss"] for r in log], curves.loss[:, 0].tolist()


def test_every_target_may_count():
    assert torch.allclose(*map(torch.tensor, alone_and_stacked()), atol=1e-9)


def test_batches_may_be_made_by_other_processes():
    config = replace(CONFIG, steps=45, eval_every=45)
    alone, stacked = alone_and_stacked(config, workers=2)
    assert len(stacked) == 45  # three chunks, the last one shorter
    assert torch.allclose(torch.tensor(alone), torch.tensor(stacked))


class Ragged(EveryTarget):
    """A source with longer and fewer rows at every third step."""

    def batch(self, step, batch_size, split="train", rows=slice(None)):
        x, y = super().batch(step, batch_size, split, rows)
        if split == "train" and step % 3 == 1:
            return x[::2], y[::2]
        return x[:, :8], y[:, :8]


@pytest.mark.parametrize("workers", [0, 1])
def test_rows_of_some_steps_may_have_another_length(workers):
    config = replace(CONFIG, steps=22, eval_every=22)
    sources = [Ragged(s) for s in (0, 1)]
    model = build_kind(BASE, "diff", 0).double()
    log = train(model, sources[0], config, progress=False)
    models = [build_kind(BASE, "diff", s).double() for s in (0, 1)]
    curves = train_stacked(
        models, sources, config, progress=False, workers=workers
    )
    losses = torch.tensor([r["loss"] for r in log], dtype=torch.float64)
    assert torch.allclose(curves.loss[:, 0], losses, rtol=0, atol=1e-9)
    assert curves.valid_loss[0, 0] == pytest.approx(
        log[-1]["valid_loss"], abs=1e-6
    )


def test_parts_are_measured_by_themselves():
    models, sources, rates = stack("diff")
    parts = {"own": sources[0], "other": EveryTarget(7)}
    curves = train_stacked(
        models, sources, CONFIG, rates, parts=parts, progress=False
    )
    # The validation rows are the same for every seed.
    own = torch.stack([curves.valid_loss, curves.valid_accuracy])
    assert torch.equal(curves.parts["own"], own)
    assert curves.parts["other"].shape == (2, 2, 4)
    for i, model in enumerate(models):
        alone = validate(model, parts["other"], batches=2, batch_size=4)
        got = curves.parts["other"][:, -1, i].tolist()
        assert got == pytest.approx(alone, abs=1e-6)


@pytest.mark.slow
def test_a_compiled_stack_is_the_same():
    alone, stacked = alone_and_stacked(compile=True)
    assert torch.allclose(torch.tensor(alone), torch.tensor(stacked))


def test_a_broken_model_does_not_touch_the_others():
    config = replace(CONFIG, clip_norm=1e9)
    models, sources, _ = stack("plain")
    curves = train_stacked(
        models, sources, config, [1e-3, 1e300, 1e-3, 1e-3], progress=False
    )
    assert not curves.loss[-1, 1].isfinite()
    models, sources, _ = stack("plain")
    good = train_stacked(models, sources, config, [1e-3] * 4, progress=False)
    for i in (0, 2, 3):
        assert torch.equal(curves.loss[:, i], good.loss[:, i])


class Uneven(EveryTarget):
    """A source whose rows have one target that counts, and later two."""

    def batch(self, step, batch_size, split="train", rows=slice(None)):
        x, y = super().batch(step, batch_size, split, rows)
        y[:, 1 + (step > 3) :] = -100
        return x, y


def test_bad_stacks_are_refused_by_name():
    models, sources, rates = stack("plain")
    other = build_kind(replace(BASE, num_layers=1), "plain", 0).double()
    for error, arguments in (
        ("models: got none", ([], [], [])),
        ("data: got 3, expected 4", (models, sources[:3], rates)),
        ("rates: got 1, expected 4", (models, sources, [0.1])),
        ("models: number 1 has", ([models[0], other], sources[:2], [0, 0])),
        (
            "data: source 0 has 64 token ids, expected the models' 32",
            (models[:1], [replace(TASK, vocab_size=64)], [0.1]),
        ),
        (
            "data: a row of step 0 or soon after has more targets",
            (models[:1], [Uneven(0)], [0.1]),
        ),
    ):
        data, rates_given = arguments[1:]
        with pytest.raises(ValueError, match=error):
            train_stacked(
                arguments[0], data, CONFIG, rates_given, progress=False
            )


def test_a_part_with_other_ids_is_refused_by_name():
    models, sources, rates = stack("plain")
    more = {"more": replace(TASK, vocab_size=64)}
    with pytest.raises(ValueError, match="parts: more has 64 token ids"):
        train_stacked(models, sources, CONFIG, rates, parts=more)
