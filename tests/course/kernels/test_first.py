"""The first kernels against PyTorch, in fences, at every odd length."""

import os
import subprocess
import sys

import pytest
import torch

from minidiff.check.compare import source_of
from minidiff.check.ex09 import EXERCISES
from minidiff.course.kernels import DEVICE, first
from minidiff.course.kernels.memory import fenced, outside_touched, poisoned

# isort: split
import triton

LENGTHS = [1, 2, 15, 16, 17, 33, 50]
FLOATS = [torch.float32, torch.float16]
each_dtype = pytest.mark.parametrize("dtype", FLOATS, ids=str)


def draw(*shape, dtype=torch.float32, scale=1.0):
    g = torch.Generator().manual_seed(sum(shape))
    x = (scale * torch.randn(shape, generator=g)).to(dtype)
    return fenced(x.to(DEVICE))


def near(got, want, dtype):
    """Within one rounding of dtype, or a few of float32 on the way."""
    eps = torch.finfo(dtype).eps
    size = want.abs().max()
    assert got.dtype == dtype and got.shape == want.shape
    assert (got.double() - want).abs().max() <= max(eps, 1e-6) * size


@each_dtype
@pytest.mark.parametrize("n", LENGTHS)
def test_add(n, dtype):
    x, y = draw(n, dtype=dtype), draw(n + 1, dtype=dtype)[:n]
    near(first.add(x, y), x.double() + y.double(), dtype)


@each_dtype
@pytest.mark.parametrize("rows", LENGTHS)
@pytest.mark.parametrize("cols", [1, 17, 50])
def test_transpose(rows, cols, dtype):
    x = draw(rows, cols, dtype=dtype)
    assert torch.equal(first.transpose(x), x.T)


@each_dtype
@pytest.mark.parametrize("scale", [1.0, 1000.0])
@pytest.mark.parametrize("width", LENGTHS)
def test_softmax(width, scale, dtype):
    x = draw(3, width, dtype=dtype, scale=scale)
    near(first.softmax(x), x.double().softmax(-1), dtype)


@each_dtype
@pytest.mark.parametrize(
    ("M", "N", "K"),
    [(1, 1, 1), (2, 15, 33), (16, 16, 16), (17, 50, 2), (33, 17, 50)],
)
def test_matmul(M, N, K, dtype):
    a, b = draw(M, K, dtype=dtype), draw(K, N, dtype=dtype)
    near(first.matmul(a, b), a.double() @ b.double(), dtype)


def test_columns_apart_are_copied_first():
    a, b = draw(20, 30).T, draw(10, 20).T
    near(first.matmul(a, b), a.double() @ b.double(), torch.float32)
    assert torch.equal(first.transpose(a), a.T)
    near(first.softmax(a), a.double().softmax(-1), torch.float32)


# The puzzles after them, from 9.5 on, lead to none of the package's kernels.
@pytest.mark.parametrize("exercise", EXERCISES[:4], ids=lambda e: e.id)
def test_the_exercises_lead_to_these_kernels(exercise):
    ours = getattr(first, exercise.solution.fn.__name__)
    assert source_of(exercise.solution) == source_of(ours)


@pytest.mark.parametrize("block", [16, 32, 64])
def test_nothing_around_an_output_is_written(block):
    x, y = draw(50), draw(50)
    out = poisoned(50)
    grid = (triton.cdiv(50, block) + 1,)  # one program too many
    first.add_kernel[grid](x, y, out, 50, BLOCK=block)
    assert torch.equal(out, x + y) and not outside_touched(out)
    x, out = draw(17, 33), poisoned(33, 17)
    first.transpose_kernel[4, 4](
        x, out, 17, 33, x.stride(0), out.stride(0), BLOCK=block
    )
    assert torch.equal(out, x.T) and not outside_touched(out)
    x, out = draw(5, 13), poisoned(5, 13)
    first.softmax_kernel[(5,)](
        x, out, 13, x.stride(0), out.stride(0), BLOCK=block
    )
    near(out, x.double().softmax(-1), torch.float32)
    assert not outside_touched(out)
    a, b, out = draw(17, 33), draw(33, 20), poisoned(17, 20)
    first.matmul_kernel[4, 4](
        a, b, out, 17, 20, 33, a.stride(0), b.stride(0), out.stride(0),
        BM=block, BN=16, BK=32,
    )  # fmt: skip
    near(out, a.double() @ b.double(), torch.float32)
    assert not outside_touched(out)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: first.add(draw(3), draw(4)), ValueError, r"y: got \(4,\)"),
        (lambda: first.softmax(draw(3)), ValueError, "x: got shape"),
        (lambda: first.matmul(draw(3, 4), draw(3, 4)), ValueError, "b: got"),
        (
            lambda: first.add(torch.arange(3), torch.arange(3)),
            TypeError,
            "x: got torch.int64",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call, error, says):
    with pytest.raises(error, match=says):
        call()


# In a process of its own: the interpreter takes the compiler's place.
COMPILE = """
import torch
torch.cuda.is_available = lambda: True  # leave the interpreter off
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from minidiff.course.kernels import first
for name, constants in {
    "add_kernel": {"BLOCK": 128},
    "transpose_kernel": {"BLOCK": 32},
    "softmax_kernel": {"BLOCK": 256},
    "matmul_kernel": {"BM": 32, "BN": 32, "BK": 32},
}.items():
    kernel = getattr(first, name)
    signature = {
        n: "constexpr" if n in constants
        else "*fp16" if n.startswith("p_") else "i32"
        for n in kernel.arg_names
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    triton.compile(source, target=GPUTarget("cuda", 90, 32))
    print(name)
"""


@pytest.mark.slow
def test_the_same_code_compiles_for_a_gpu(tmp_path):
    env = {n: v for n, v in os.environ.items() if n != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env={**env, "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 4
