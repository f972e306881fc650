"""Stacked training gives each model what training alone would give it."""

from dataclasses import replace

import pytest
import torch

from minidiff import ModelConfig, TrainConfig, train
from minidiff.data.mqar import MQARTask
from minidiff.nn.kinds import KINDS, build_kind
from minidiff.training.stacked import train_stacked

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
