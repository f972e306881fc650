"""How an answer that is a kernel is launched, watched and judged."""

import inspect

import numpy as np
import pytest
import torch

from minidiff.check.compare import same, source_of
from minidiff.check.core import Case, Exercise, check
from minidiff.check.ex09.add import EXERCISE as ADD
from minidiff.check.kernels import (
    NothingWrittenError,
    RaceError,
    ReadsOutsideError,
    Variant,
    WritesOutsideError,
    draw,
    launch,
)
from minidiff.course.kernels import DEVICE, INTERPRETED
from minidiff.course.kernels.memory import fenced, poisoned

# isort: split
import triton
import triton.language as tl

interpreted = pytest.mark.skipif(
    not INTERPRETED, reason="only the interpreter sees this"
)


@triton.jit
def double_kernel(p_x, p_out, n, BLOCK: tl.constexpr):
    """Write 2 x into out, both (n,)."""
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(p_out + o, 2 * tl.load(p_x + o, o < n), o < n)


@triton.jit
def stub_kernel(p_x, p_out, n, BLOCK: tl.constexpr):
    """Write 2 x into out, both (n,)."""
    # your code


@triton.jit
def unmasked_load(p_x, p_out, n, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(p_out + o, 2 * tl.load(p_x + o), o < n)


@triton.jit
def unmasked_store(p_x, p_out, n, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(p_out + o, 2 * tl.load(p_x + o, o < n))


@triton.jit
def far_store(p_x, p_out, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK).to(tl.int64) * 10_000_000_000
    tl.store(p_out + o, 2 * tl.load(p_x + tl.arange(0, BLOCK)))


@triton.jit
def same_place(p_x, p_out, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    tl.store(p_out + o, 2 * tl.load(p_x + o, o < n), o < n)


@triton.jit
def others_result(p_x, p_out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0)
    b = tl.load(p_out + 0) if i == 1 else 0.0
    tl.store(p_out + i, b)


@triton.jit
def into_input(p_x, p_out, n, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(p_x + o, 2 * tl.load(p_x + o, o < n), o < n)


@triton.jit
def only_reads(p_x, p_out, n, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.load(p_x + o, o < n)


@triton.jit
def adds_atomically(p_x, p_out, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    tl.atomic_add(p_out + o, tl.load(p_x + o, o < n), o < n)


@triton.jit
def breaks(p_x, p_out, n, BLOCK: tl.constexpr):
    missing + 1  # noqa: F821


def try_on(kernel, n=50, programs=4, empty=poisoned):
    x = fenced(draw(0, n).to(DEVICE))
    out = empty(n)
    return launch(kernel, (programs,), (x, out, n), [out], BLOCK=16)


def test_a_right_kernel():
    (out,) = try_on(double_kernel)
    assert out.dtype == "float64"
    assert (out == 2 * draw(0, 50).double().numpy()).all()


def test_a_stub_gives_none():
    assert try_on(stub_kernel) is None


@pytest.mark.parametrize(
    ("kernel", "error", "says"),
    [
        pytest.param(
            unmasked_load,
            ReadsOutsideError,
            r"program 3 reads 14 elements outside p_x, .* shape \(50,\)",
            marks=interpreted,
        ),
        (unmasked_store, WritesOutsideError, "14 elements .*p_out"),
        pytest.param(
            far_store,
            WritesOutsideError,
            "program 0 writes 15 elements outside p_out",
            marks=interpreted,
        ),
        pytest.param(
            same_place,
            RaceError,
            r"program 1 writes element \[0\] of p_out, which program 0 wrote",
            marks=interpreted,
        ),
        pytest.param(
            others_result,
            RaceError,
            r"program 1 reads element \[0\] of p_out, which program 0 wrote",
            marks=interpreted,
        ),
        (into_input, WritesOutsideError, "p_x.* is an input"),
        pytest.param(
            only_reads, NothingWrittenError, "tl.store", marks=interpreted
        ),
        pytest.param(breaks, NameError, "missing", marks=interpreted),
        (lambda *a: None, TypeError, "@triton.jit above it missing"),
    ],
)
def test_what_goes_wrong_is_raised(kernel, error, says):
    with pytest.raises(error, match=says):
        try_on(kernel)


def test_atomics_may_meet():
    def zeros(n):
        return poisoned(n).zero_()

    (out,) = try_on(adds_atomically, n=16, empty=zeros)
    assert out == pytest.approx(4 * draw(0, 16).double().numpy(), abs=1e-6)


@interpreted
def test_errors_of_one_kind_agree_by_what_they_touch():
    one, two = ReadsOutsideError("a", "load", "p_x"), ReadsOutsideError("b")
    assert same(one, ReadsOutsideError("c", "load", "p_x"))
    assert not same(one, two)


def run(kernel, n):
    return try_on(kernel, n)


EX = Exercise(
    id="9.0",
    cases=lambda: [
        Case(name=f"n = {n}", args=(n,))
        for n in (16, 50)  # whole, and not
    ],
    solution=double_kernel,
    run=run,
    mistakes=(),
    hints=("1", "2", "3"),
    tolerance=1e-6,
)


def test_an_exercise_takes_kernels():
    assert check(EX, double_kernel)
    assert check(EX, stub_kernel).status == "not attempted"
    if INTERPRETED:
        text = check(EX, unmasked_load).text
        assert "raised    ReadsOutsideError: program 1 reads" in text
    assert "@triton.jit" in check(EX, lambda *a: None).text


def fails_two_calls_deep(p_x, p_out, n):
    return divided(n, 0)


def divided(a, b):
    return a / b


@triton.jit
def fails_in_the_language(p_x, p_out, n, BLOCK: tl.constexpr):
    tl.zeros([BLOCK, 3], tl.float32)


@pytest.mark.skipif(not INTERPRETED, reason="the interpreter's frames")
def test_an_error_inside_the_language_shows_the_line_of_the_answer():
    text = check(EX, fails_in_the_language).text
    assert "must be a power of 2\n" in text
    assert "  in line   tl.zeros([BLOCK, 3], tl.float32)\n" in text


def test_an_error_shows_the_line_of_the_answer_that_raised_it():
    if INTERPRETED:
        text = check(EX, unmasked_load).text
        line = source_of(unmasked_load).splitlines()[-1].strip()
        assert f"  in line   {line}\n" in text
    plain = Exercise(
        id=EX.id,
        cases=lambda: [Case(name="3", args=(0, 0, 3))],
        solution=lambda p_x, p_out, n: n,
        mistakes=(),
        hints=EX.hints,
    )
    text = check(plain, fails_two_calls_deep).text
    assert "raised    ZeroDivisionError: division by zero\n" in text
    assert "  in line   return a / b\n" in text
    # Where no line of the answer raised it, none is shown.
    assert "in line" not in check(ADD, lambda *a: None).text


def test_the_source_of_a_kernel_begins_with_its_decorator():
    text = source_of(double_kernel)
    assert text.startswith("@triton.jit\ndef double_kernel(")
    assert source_of(try_on) == inspect.getsource(try_on)


@triton.jit
def scaled_kernel(p_x, p_out, n, BLOCK: tl.constexpr, BY: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(p_out + o, BY * tl.load(p_x + o, o < n), o < n)


def test_a_variant_is_the_kernel_with_something_fixed():
    assert check(EX, Variant(scaled_kernel, BY=2))
    assert not check(EX, Variant(scaled_kernel, BY=3))


def test_what_a_mask_holds_back_is_nan_without_other():
    (out,) = try_on(Variant(masked_sum, OTHER=False), n=16, programs=1)
    if INTERPRETED:
        assert np.isnan(out).all()
    (out,) = try_on(Variant(masked_sum, OTHER=True), n=16, programs=1)
    assert out == pytest.approx(draw(0, 16)[:9].sum().item(), abs=1e-6)


@triton.jit
def masked_sum(p_x, p_out, n, BLOCK: tl.constexpr, OTHER: tl.constexpr):
    o = tl.arange(0, BLOCK)
    b = tl.load(p_x + o, o < 9, 0.0) if OTHER else tl.load(p_x + o, o < 9)
    tl.store(p_out + o, tl.sum(b, 0) + 0 * o)


def test_drawn_inputs_are_the_same_each_time():
    assert torch.equal(draw(3, 4, 5), draw(3, 4, 5))
    assert draw(0, 2, dtype=torch.float16).dtype == torch.float16
