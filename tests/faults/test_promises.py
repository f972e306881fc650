"""What a docstring or an error message promises."""

import os
import subprocess
import sys

import pytest
import torch
from conftest import need
from tiny_models import V, make, tokens
from torch import nn

from minidiff import TrainConfig, evaluate, generate, sample, train
from minidiff.data import NeedleTask
from minidiff.nn.generate import keep_top_p
from minidiff.training.validation import validate

LOGITS = torch.tensor([[1.0, 3.0, 2.0], [2.0, -5.0, 2.5]])


@pytest.mark.parametrize(
    "temperature", [1e-10, 1e-38, 1e-40, 1e-46, 5e-324, 1e-3]
)
def test_a_tiny_temperature_takes_the_likeliest(temperature):
    assert sample(LOGITS, temperature, 1.0).tolist() == [1, 2]
    large = LOGITS * 1e30
    assert sample(large, temperature, 0.5).tolist() == [1, 2]
    g = torch.Generator().manual_seed(0)
    drawn = {
        int(sample(torch.tensor([[1.0, 3.0, 3.0]]), temperature, 1.0, g))
        for _ in range(50)
    }
    assert drawn == {1, 2}  # equal logits stay equally likely


def test_a_huge_temperature_is_uniform():
    logits = LOGITS[:1].repeat(3000, 1)
    g = torch.Generator().manual_seed(0)
    share = torch.bincount(sample(logits, 1e300, 1.0, g)) / 3000
    assert (share - 1 / 3).abs().max() < 0.05


@pytest.mark.parametrize("top_p", [5e-324, 1e-300, 1e-46, 1e-9])
def test_a_tiny_top_p_takes_the_likeliest(top_p):
    assert sample(LOGITS, 1.0, top_p).tolist() == [1, 2]
    assert keep_top_p(LOGITS.softmax(-1), top_p).count_nonzero() == 2


def test_top_p_just_below_one():
    below = 1 - 2**-53
    g = torch.Generator().manual_seed(0)
    logits = torch.zeros(2000, 4)
    assert set(sample(logits, 1.0, below, g).tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("temperature", [0, 1e-40, 1.0])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_logits_without_a_largest_are_refused(temperature, bad):
    with pytest.raises(ValueError, match=f"logits: the largest is {bad}"):
        sample(LOGITS * 0 + bad, temperature, 1.0)
    one = LOGITS.clone()
    one[1, 0] = bad
    if bad == float("-inf"):  # a token that cannot be
        assert sample(one, temperature, 1.0)[1] == 2 or temperature == 1.0
        return
    with pytest.raises(ValueError, match="logits: the largest is"):
        sample(one, temperature, 1.0)


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("readable", [True, False])
def test_generating_from_broken_weights(temperature, readable, monkeypatch):
    if not readable:  # as on a GPU
        monkeypatch.setattr(
            "minidiff.nn.generate.is_readable", lambda x: False
        )
    model = make()
    model.embedding.weight.data[:] = float("nan")
    with pytest.raises((ValueError, RuntimeError)) as error:
        generate(model, tokens(), max_new_tokens=3, temperature=temperature)
    if readable or temperature == 0:
        assert "logits: the largest is nan" in str(error.value)


class Stop(BaseException):
    """Such as Ctrl-C."""


def mixed():
    """A model in training, with one part in evaluation."""
    model = make(vocab_size=NeedleTask().vocab_size, max_length=64)
    model.train()
    model.blocks[0].eval()
    return model


def modes(model):
    return {name: part.training for name, part in model.named_modules()}


def fails(model):
    def stop(*_):
        raise Stop

    model.norm.register_forward_hook(stop)
    return model


CONFIG = TrainConfig(steps=2, batch_size=2, warmup_steps=0, eval_batches=1)
CALLS = {
    "generate": lambda m: generate(m, tokens(), max_new_tokens=2),
    "train": lambda m: train(m, NeedleTask(), CONFIG, progress=False),
    "validate": lambda m: validate(
        m, NeedleTask(), batches=1, batch_size=2
    ),
    "evaluate": lambda m: evaluate(
        m, tasks=[NeedleTask()], parts=["recall"], rows=4
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_modes_are_as_before(name):
    model = mixed()
    before = modes(model)
    CALLS[name](model)
    assert modes(model) == before
    with pytest.raises(Stop):
        CALLS[name](fails(model))
    assert modes(model) == before
    model = make(vocab_size=NeedleTask().vocab_size, max_length=64).eval()
    CALLS[name](model)
    assert not any(modes(model).values())


class Noted(nn.Module):
    """Notes the mode in which it runs."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def forward(self, x):
        self.seen.add(self.training)
        return x


@pytest.mark.parametrize(
    ("name", "want"),
    [("generate", {False}), ("validate", {False}), ("evaluate", {False}),
     ("train", {True, False})],
)  # fmt: skip
def test_each_runs_in_its_mode(name, want):
    model = mixed()
    model.blocks[0].ffn = nn.Sequential(model.blocks[0].ffn, Noted())
    CALLS[name](model)
    assert model.blocks[0].ffn[1].seen == want


INTERPRETER = """
import os, torch
{before}
from minidiff import diff_attention
q, v = torch.randn(1, 2, 2, 20, 16), torch.randn(1, 2, 20, 32)
y = diff_attention(q, q, v, 0.5, backend="triton")
want = diff_attention(q, q, v, 0.5)
torch.testing.assert_close(y, want, atol=1e-4, rtol=1e-3)
print("right")
"""
SET = 'os.environ["TRITON_INTERPRET"] = "1"'


def interpreted(before):
    env = {n: x for n, x in os.environ.items() if n != "TRITON_INTERPRET"}
    code = INTERPRETER.format(before=before)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env
    )


@pytest.mark.slow
def test_the_interpreter_where_the_message_says():
    need(not torch.cuda.is_available(), "a GPU has no need of it")
    pytest.importorskip("triton")
    done = interpreted("pass")
    assert "set TRITON_INTERPRET=1 in the environment before" in done.stderr
    assert interpreted(SET).stdout == "right\n"
    done = interpreted(f"import triton\n{SET}")
    assert "TRITON_INTERPRET was set after Triton had been" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2.5.0rc1", "2.10.3", "3.0"])
def test_a_numpy_that_the_interpreter_cannot_use(version):
    need(not torch.cuda.is_available(), "a GPU has no need of it")
    pytest.importorskip("triton")
    numpy = f"import numpy\nnumpy.__version__ = {version!r}"
    said = interpreted(f"{SET}\n{numpy}").stderr.splitlines()[-1]
    assert f"got NumPy {version} with TRITON_INTERPRET, expected one" in said
    compiled = "\nimport minidiff.ops.triton.interpreter as i\n"
    done = interpreted(f"{numpy}{compiled}print(i.INTERPRETED)\nexit()")
    assert done.stdout == "False\n"


def test_token_ids_stay_in_the_vocabulary():
    row = generate(make(), tokens(), max_new_tokens=5, top_p=1e-12)
    assert int(row.max()) < V
