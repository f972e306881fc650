"""What cannot be trained is refused by name, before a folder is made."""

import numpy as np
import pytest
import torch
from tiny_models import V, make

from minidiff import TrainConfig, generate, train

CONFIG = TrainConfig(steps=2, batch_size=2, warmup_steps=0, eval_batches=1)


class Rows:
    vocab_size = V

    def batch(self, step, batch_size, split="train", rows=slice(None)):
        x = torch.ones(batch_size, 8, dtype=torch.int64)[rows]
        return x, x

    def describe(self):
        return {"rows": 2}


def frozen(model):
    return model.requires_grad_(False)


def on_meta(model):
    return model.to("meta")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (frozen, "model: every weight is frozen, expected at least one"),
        (on_meta, "model: got weights on meta, expected values"),
    ],
)
def test_a_model_that_cannot_learn(change, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        train(change(make()), Rows(), CONFIG, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_where_gradients_are_switched_off(mode, tmp_path):
    with (
        mode(),
        pytest.raises(ValueError, match="train: gradients are switched off"),
    ):
        train(make(), Rows(), CONFIG, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "value", [np.int64(3), float("nan"), torch.ones(1), {1, 2}]
)
def test_data_described_by_other_things_than_json(value, tmp_path):
    """A file that holds NaN could not be read again."""

    class Odd(Rows):
        def describe(self):
            return {"rows": value}

    with pytest.raises(ValueError, match="data: its description is not JSON"):
        train(make(), Odd(), CONFIG, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        ((np.ones((2, 8), int),) * 2, "ndarray, ndarray"),
        ([[1, 2], [3, 4]], "list, list"),
        (None, "NoneType"),
        (torch.ones(2, 8, dtype=torch.int64), "Tensor"),
    ],
)
def test_batches_of_other_things_than_tensors(batch, says):
    class Odd(Rows):
        def batch(self, *_):
            return batch

    with pytest.raises(TypeError, match=f"data: batch returned {says}, exp"):
        train(make(), Odd(), CONFIG, progress=False)


def test_progress_is_a_flag():
    with pytest.raises(TypeError, match="progress: got 'no', expected True"):
        train(make(), Rows(), CONFIG, progress="no")


def test_a_model_on_meta_does_not_generate():
    row = torch.ones(1, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match="model: got weights on meta"):
        generate(make().to("meta"), row, max_new_tokens=1)
