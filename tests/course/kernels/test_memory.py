"""Fences and poison: what they hold, and what they show."""

import subprocess
import sys

import pytest
import torch

from minidiff.course.kernels import DEVICE, INTERPRETED
from minidiff.course.kernels.memory import (
    bits,
    fenced,
    outside_touched,
    poisoned,
    refuse_bf16,
)

# isort: split
import triton
import triton.language as tl

SHAPES = [(1,), (50,), (3, 5), (2, 3, 2, 7, 16)]


@triton.jit
def copy_kernel(p_x, p_out, n, BLOCK: tl.constexpr, MASKED: tl.constexpr):
    o = tl.arange(0, BLOCK)
    if MASKED:
        tl.store(p_out + o, tl.load(p_x + o, o < n), o < n)
    else:
        tl.store(p_out + o, tl.load(p_x + o))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_fence_holds_the_same_numbers_and_nan_around(shape, dtype):
    x = torch.randn(shape).to(dtype)
    y = fenced(x, margin=64)
    assert torch.equal(x, y) and y.dtype == dtype
    around = torch.empty(0, dtype=dtype).set_(y.untyped_storage())
    assert around[:64].isnan().all() and around[-64:].isnan().all()
    assert int((~around.isnan()).sum()) == x.numel()
    assert y.stride(-1) == 1
    if x.ndim > 1:
        assert y.stride(-2) == x.shape[-1] + 3


def test_a_fence_keeps_no_gradient_and_refuses_integers():
    assert not fenced(torch.ones(3, requires_grad=True)).requires_grad
    with pytest.raises(TypeError, match=r"x: got torch\.int64"):
        fenced(torch.arange(3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_poison_shows_what_was_written_around_it(shape, dtype):
    y = poisoned(*shape, dtype=dtype)
    assert y.isnan().all() and y.shape == shape and y.dtype == dtype
    assert outside_touched(y) == 0
    y.fill_(1.0)
    assert outside_touched(y) == 0
    around = torch.empty(0, dtype=dtype, device=y.device)
    around.set_(y.untyped_storage())
    last = y.storage_offset() + sum(
        (n - 1) * s for n, s in zip(shape, y.stride(), strict=True)
    )
    around[last + 1] = 5.0
    around[y.storage_offset() - 1] = float("nan")
    assert outside_touched(y) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_poison_is_no_other_nan(dtype):
    x, y = fenced(torch.ones(3, dtype=dtype)), poisoned(3, dtype=dtype)
    assert not bits(y).equal(bits(x.fill_(torch.nan).to(DEVICE)))
    assert not bits(y).equal(bits(x.to(DEVICE) / 0 * 0))
    assert bits(y).equal(bits(poisoned(3, dtype=dtype)))


def test_both_show_a_mask_that_is_missing():
    x, y = fenced(torch.ones(50).to(DEVICE)), poisoned(50)
    copy_kernel[(1,)](x, y, 50, BLOCK=64, MASKED=True)
    assert torch.equal(y, x) and not outside_touched(y)
    copy_kernel[(1,)](x, y, 50, BLOCK=64, MASKED=False)
    assert outside_touched(y) == 14


def test_bf16_is_refused_in_the_interpreter_with_the_reason():
    refuse_bf16(torch.ones(2), "q")
    if INTERPRETED:
        with pytest.raises(TypeError, match="q: got bfloat16"):
            refuse_bf16(torch.ones(2, dtype=torch.bfloat16), "q")


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PATH": "", "CUDA_VISIBLE_DEVICES": "", **environment},
    )


def test_without_a_gpu_the_interpreter_is_switched_on():
    done = run(
        "from minidiff.course.kernels import DEVICE, INTERPRETED\n"
        "import triton.language as tl\n"
        "print(DEVICE, INTERPRETED, type(tl.max).__name__)"
    )
    assert done.stdout.split() == ["cpu", "True", "InterpretedFunction"]


def test_triton_imported_too_early_is_refused():
    done = run("import triton, minidiff.course.kernels")
    assert "import minidiff.course.kernels first" in done.stderr
    done = run("import triton, minidiff.course.kernels", TRITON_INTERPRET="1")
    assert not done.stderr


def test_where_triton_is_missing_the_reason_is_said():
    done = run(
        "import sys; sys.modules['triton'] = None\n"
        "import minidiff.course.kernels"
    )
    says = "minidiff.course.kernels needs triton: pip install"
    assert says in done.stderr
    assert "It exists for Linux only" in done.stderr
