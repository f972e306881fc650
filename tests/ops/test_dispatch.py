"""What "auto" means: the fused kernels where they were measured."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from minidiff import diff_attention
from minidiff.ops import dispatch


def inputs(D=64, Dv=128, dtype=torch.bfloat16, is_cuda=True):
    """Stand-ins for tensors on a GPU, which this machine may not have."""
    q = SimpleNamespace(
        is_cuda=is_cuda,
        dtype=dtype,
        shape=(1, 1, 2, 1, D),
        device=torch.device("cuda"),
    )
    return q, SimpleNamespace(shape=(1, 1, 1, Dv))


@pytest.fixture
def card(monkeypatch):
    """A GPU of a capability that the test may change."""
    found = {"capability": (9, 0)}
    monkeypatch.setattr(dispatch, "TRITON", True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(
        torch.cuda,
        "get_device_capability",
        lambda device: found["capability"],
    )
    return found


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("D", "Dv"), [(16, 32), (96, 192), (128, 128)])
def test_fused_kernels_on_a_gpu(card, D, Dv, dtype):
    assert dispatch.choose(*inputs(D, Dv, dtype)) == "triton"


@pytest.mark.parametrize(
    "change",
    [
        {"is_cuda": False},
        {"dtype": torch.float32},
        {"dtype": torch.float64},
        {"D": 48, "Dv": 96},
        {"D": 256, "Dv": 256},
        {"D": 64, "Dv": 96},
    ],
    ids=str,
)
def test_everything_else_is_sdpa(card, change):
    assert dispatch.choose(*inputs(**change)) == "sdpa"


def test_a_gpu_that_is_too_old(card):
    card["capability"] = (7, 5)
    assert dispatch.choose(*inputs()) == "sdpa"


@pytest.mark.parametrize("missing", ["TRITON", "cuda"])
def test_without_triton_or_cuda(card, monkeypatch, missing):
    if missing == "cuda":
        monkeypatch.setattr(torch.version, "cuda", None)
    else:
        monkeypatch.setattr(dispatch, "TRITON", False)
    assert dispatch.choose(*inputs()) == "sdpa"


def test_autocast_makes_float32_fit(card):
    wide = inputs(dtype=torch.float32)
    with torch.autocast("cuda", torch.bfloat16, enabled=False):
        assert dispatch.choose(*wide) == "sdpa"
    # Without a GPU, autocast for one cannot be switched on but by hand.
    torch.set_autocast_enabled("cuda", True)
    try:
        assert dispatch.choose(*wide) == "triton"
    finally:
        torch.set_autocast_enabled("cuda", False)


def test_what_is_chosen_computes():
    device = "cuda" if torch.cuda.is_available() else "cpu"
    g = torch.Generator(device).manual_seed(0)

    def draw(*sizes):
        return torch.randn(
            sizes, generator=g, device=device, dtype=torch.bfloat16
        )

    q, k, v = draw(1, 2, 2, 9, 16), draw(1, 2, 2, 9, 16), draw(1, 2, 9, 32)
    chosen = dispatch.choose(q, v)
    assert chosen == ("triton" if device == "cuda" else "sdpa")
    got = diff_attention(q, k, v, 0.5)
    assert torch.equal(got, diff_attention(q, k, v, 0.5, backend=chosen))


@pytest.mark.parametrize(("value", "chosen"), [("1", "False"), ("0", "True")])
def test_the_interpreter_is_to_be_looked_at(value, chosen):
    pytest.importorskip("triton")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from minidiff.ops import dispatch; print(dispatch.TRITON)",
        ],
        env=dict(os.environ, TRITON_INTERPRET=value),
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == chosen, done.stderr
