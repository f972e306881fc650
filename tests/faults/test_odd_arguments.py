"""Odd values of every argument are refused by name, or handled."""

import inspect
from dataclasses import fields
from fractions import Fraction

import numpy as np
import pytest
import torch
from tiny_models import make, qkv, tokens

from minidiff import (
    Compute,
    DecoderLM,
    ModelConfig,
    MultiheadAttention,
    MultiheadDiffAttention,
    MultiheadDiffAttentionV2,
    TrainConfig,
    attention_maps,
    diff_attention,
    generate,
    sample,
)
from minidiff.files.checks import number, shown

Q, K, X = *qkv()[:2], torch.randn(2, 3, 32)
ODD = {
    "text": "1",
    "word": "False",
    "bytes": b"1",
    "complex": 1j,
    "huge": 10**400,
    "huger": 10**5000,
    "minus huge": -(10**400),
    "nan": float("nan"),
    "inf": float("inf"),
    "fraction": Fraction(1, 3),
    "list": [1],
    "dict": {},
    "object": object(),
    "numpy": np.array([1, 2]),
    "numpy int": np.int64(2),
    "numpy float": np.float32(0.5),
    "type": int,
    "0-d": torch.tensor(0.5),
    "0-d int": torch.tensor(2),
    "meta": torch.empty((), device="meta"),
    "meta like q": torch.empty_like(Q, device="meta"),
    "sparse": torch.eye(3).to_sparse(),
    "sparse like q": Q.to_sparse(),
    "sparse like k": K.to_sparse(),
    "sparse like v": qkv()[2].to_sparse(),
    "sparse like x": X.to_sparse(),
    "sparse lam": torch.rand(2, 4, 7).to_sparse(),
    "sparse lengths": torch.tensor([2, 3]).to_sparse(),
    "sparse weight": torch.ones(32).to_sparse(),
    "complex like q": Q.to(torch.complex64),
    "complex like x": X.to(torch.complex64),
    "complex lam": torch.rand(2, 4, 7).to(torch.complex64),
    "complex weight": torch.ones(32).to(torch.complex64),
    "float tokens": tokens().float(),
    "complex tokens": tokens().to(torch.complex64),
    "bool tokens": tokens() > 3,
    "int like x": X.int(),
    "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "empty": torch.empty(0),
}


def module(kind, **more):
    def build(**arguments):
        return kind(**{"embed_dim": 32, "num_heads": 2} | more | arguments)

    build.arguments = inspect.signature(kind).parameters
    return build


def forward(build):
    """The forward of a module, whose arguments are its call's."""
    inner = build()

    def call(**arguments):
        with torch.no_grad():
            inner(**arguments)

    call.arguments = inspect.signature(inner.forward).parameters
    return call


def config(kind):
    kind.arguments = [field.name for field in fields(kind)]
    return kind


def model_call(**arguments):
    with torch.no_grad():
        make()(**arguments)


def model_loss(**arguments):
    make().loss(**{"targets": tokens()} | arguments)


model_call.arguments = inspect.signature(DecoderLM.forward).parameters
model_loss.arguments = inspect.signature(DecoderLM.loss).parameters
MODULES = {
    "softmax": module(MultiheadAttention),
    "diff": module(MultiheadDiffAttention, depth=0),
    "diff_v2": module(MultiheadDiffAttentionV2),
}
q, k, v = qkv()
# A call, and arguments that are right.
CALLS = {
    "diff_attention": (diff_attention, {"q": q, "k": k, "v": v, "lam": 0.5}),
    "its norm": (
        diff_attention,
        {"q": q, "k": k, "v": v, "lam": 0.5, "norm_scale": 0.5},
    ),
    "attention_maps": (attention_maps, {"q": q, "k": k, "lam": 0.5}),
    "sample": (
        sample,
        {"logits": torch.rand(2, 5), "temperature": 1.0, "top_p": 0.5},
    ),
    "generate": (
        generate,
        {"model": make(), "tokens": tokens(), "max_new_tokens": 2},
    ),
    "ModelConfig": (config(ModelConfig), {}),
    "TrainConfig": (config(TrainConfig), {}),
    "Compute": (config(Compute), {}),
    "the model's forward": (model_call, {"tokens": tokens()}),
    "the model's loss": (model_loss, {"tokens": tokens()}),
    **{name: (build, {}) for name, build in MODULES.items()},
    **{
        f"forward of {name}": (forward(build), {"x": X})
        for name, build in MODULES.items()
    },
}
ARGUMENTS = [
    (name, argument)
    for name, (call, _) in CALLS.items()
    for argument in getattr(
        call, "arguments", None
    ) or inspect.signature(call).parameters
    if argument != "self"
]  # fmt: skip


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_odd_values_are_refused_by_name(name, argument):
    call, good = CALLS[name]
    for what, value in ODD.items():
        if argument == "q" and what == "meta like q":
            continue  # right, and then k is the one that lies elsewhere
        try:
            call(**good | {argument: value})
        except (TypeError, ValueError) as error:
            text = str(error)
            assert argument in text.partition(":")[0], (what, text)
            assert "expected" in text, (what, text)
            assert len(text) < 400, (what, text)
        except Exception as error:
            raise AssertionError(
                f"{name}, {argument} = {what}: {type(error).__name__}: {error}"
            ) from error


# Values that were taken for something else without a word.
SILENT = [
    ("diff_attention", {"causal": "False"}),
    ("diff_attention", {"causal": 1}),
    ("diff_attention", {"causal": None}),
    ("diff_attention", {"lam": torch.rand(2, 4, 7).to_sparse()}),
    ("diff_attention", {"lam": 10**400}),
    ("diff_attention", {"lam": torch.empty((), device="meta")}),
    ("its norm", {"norm_weight": torch.ones(32).to(torch.complex64)}),
    ("its norm", {"norm_weight": torch.ones(32, dtype=torch.int64)}),
    ("attention_maps", {"causal": "False"}),
    ("attention_maps", {"k": k[..., :3]}),
    ("attention_maps", {"lam": torch.rand(4)}),
    ("attention_maps", {"key_lengths": torch.tensor([2, 99])}),
    ("generate", {"cache": "False"}),
    ("generate", {"slide": 1}),
    ("generate", {"tokens": tokens().float()}),
    ("generate", {"seed": True}),
    ("generate", {"max_new_tokens": 2.0}),
    ("generate", {"temperature": True}),
    ("sample", {"temperature": -1.0}),
    ("sample", {"top_p": 0.0}),
    ("ModelConfig", {"rope_base": float("nan")}),
    ("ModelConfig", {"rope_base": float("inf")}),
    ("ModelConfig", {"norm_eps": float("nan")}),
    ("ModelConfig", {"norm_eps": np.float32(1e-5)}),
    ("ModelConfig", {"max_length": 10**400}),
    ("TrainConfig", {"steps": 2.5}),
    ("TrainConfig", {"batch_size": True}),
    ("TrainConfig", {"weight_decay": float("inf")}),
    ("TrainConfig", {"lr": Fraction(1, 3)}),
    ("TrainConfig", {"lr": True}),
    ("TrainConfig", {"betas": "ab"}),
    ("Compute", {"compile": "False"}),
    ("Compute", {"backend": "toaster"}),
    ("Compute", {"accumulate": 1.0}),
    ("softmax", {"head_norm": "False"}),
    ("diff", {"norm_eps": float("nan")}),
    ("diff", {"depth": 10**400}),
    ("the model's forward", {"return_maps": "False"}),
]


@pytest.mark.parametrize(("name", "odd"), SILENT)
def test_silently_accepted_before(name, odd):
    call, good = CALLS[name]
    (argument,) = odd
    with pytest.raises((TypeError, ValueError), match=f"^{argument}: got"):
        call(**good | odd)


def test_numbers_of_other_kinds_are_numbers():
    want = diff_attention(q, k, v, 0.25, scale=0.5, norm_scale=0.5, eps=0.125)
    for kind in (Fraction, np.float32, np.float64):
        got = diff_attention(
            q, k, v, kind(0.25), scale=kind(0.5), norm_scale=kind(0.5),
            eps=kind(0.125),
        )  # fmt: skip
        assert torch.equal(got, want)


def test_the_checks_themselves():
    assert number("x", Fraction(1, 2)) == 0.5
    assert shown(10**5000) == "a number of more than 30 digits"
    assert shown("a" * 200).endswith("...")
    assert "\n" not in shown(torch.zeros(3, 3))
