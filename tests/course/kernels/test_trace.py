"""What the recorder keeps, and what is drawn from it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from minidiff.course.kernels import INTERPRETED, first, trace
from minidiff.course.kernels.memory import fenced, poisoned
from minidiff.course.kernels.picture import show_touches
from minidiff.course.kernels.trace import MASKED, OUTSIDE, record, watch

# isort: split
import triton
import triton.language as tl
from triton.runtime import interpreter

interpreted = pytest.mark.skipif(
    not INTERPRETED, reason="the recorder works in the interpreter only"
)


@triton.jit
def reckless_kernel(p_x, p_out, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(p_out + o, tl.load(p_x + o))


@triton.jit
def total_kernel(p_x, p_out, BLOCK: tl.constexpr, ATOMIC: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    b = tl.sum(tl.load(p_x + o), 0)
    if ATOMIC:
        tl.atomic_add(p_out, b)
    else:
        tl.store(p_out, tl.load(p_out) + b)


@triton.jit
def without_other(p_x, p_out, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    tl.store(p_out + o, tl.load(p_x + o, o < n))


def added(n=10, block=4):
    x, out = fenced(torch.ones(n)), poisoned(n)
    with record() as log:
        grid = (triton.cdiv(n, block),)
        first.add_kernel[grid](x, x.clone(), out, n, BLOCK=block)
    return log


@interpreted
def test_each_touch_of_a_vector():
    log = added()
    assert len(log.touches) == 3 * 3
    touch = log.of("p_out", "store")[2]
    assert (touch.kernel, touch.program) == ("add_kernel", (2, 0, 0))
    assert touch.shape == (10,)
    assert touch.element.tolist() == [8, 9, MASKED, MASKED]
    assert log.count("p_x") == log.count("p_out", "store") == 10
    assert log.count("p_x", "store") == 0
    assert log.programs("p_y").tolist() == [
        {(i // 4, 0, 0)} for i in range(10)
    ]
    assert log.races() == [] and log.outside("p_x") == 0


@interpreted
def test_views_are_told_by_their_own_elements():
    x = torch.zeros(9, 20)[1:7:2, 3:8]  # odd rows, and not all of them
    out = poisoned(5, 3)
    with record() as log:
        first.transpose_kernel[1, 1](
            x, out, 3, 5, x.stride(0), out.stride(0), BLOCK=8
        )
    (read,) = log.of("p_x")
    inside = np.arange(15).reshape(3, 5)
    assert (read.element[:3, :5] == inside).all()
    assert (read.element[3:] == MASKED).all()
    (written,) = log.of("p_out")
    assert (written.element[:3, :5] == np.arange(15).reshape(5, 3).T).all()


@interpreted
def test_tensors_in_one_storage_are_told_apart():
    x, y, out = torch.zeros(3, 10)
    with record() as log:
        first.add_kernel[(3,)](x, y, out, 10, BLOCK=4)
    for name in ("p_x", "p_y", "p_out"):
        assert log.count(name) == 10 and log.outside(name) == 0


@interpreted
def test_what_misses_a_tensor_is_counted():
    x, out = torch.zeros(16)[:10], torch.zeros(16)[:10]
    with record() as log:
        reckless_kernel[(3,)](x, out, BLOCK=4)
    assert log.outside("p_x") == log.outside("p_out") == 2
    assert log.of("p_out")[-1].element.tolist() == [8, 9, OUTSIDE, OUTSIDE]


@interpreted
def test_races_are_found_and_atomics_are_none():
    x = torch.arange(8.0)
    for atomic, found in ((False, ["p_out"]), (True, [])):
        out = torch.zeros(1)
        with record() as log:
            total_kernel[(2,)](x, out, BLOCK=4, ATOMIC=atomic)
        assert out.item() == 28  # right, in the interpreter
        assert log.races() == found
    assert len(log.of("p_out", "atomic")) == 2


@interpreted
def test_what_a_mask_holds_back_is_undefined_if_asked():
    x, out = torch.ones(4), torch.ones(4)
    without_other[(1,)](x, out, 3, BLOCK=4)
    assert out[3] == 0
    with watch(lambda touch: None, undefined=True):
        without_other[(1,)](x, out, 3, BLOCK=4)
    assert out[3].isnan() and (out[:3] == 1).all()
    whole = torch.ones(4, dtype=torch.int32)
    with watch(lambda touch: None, undefined=True):  # integers have no NaN
        without_other[(1,)](whole, whole, 3, BLOCK=4)


@interpreted
def test_the_interpreter_is_left_as_it_was():
    run = interpreter.InterpretedFunction.run
    with pytest.raises(KeyError), record() as log:
        raise KeyError
    assert interpreter.InterpretedFunction.run is run
    assert "create_masked_load" not in vars(interpreter.interpreter_builder)
    first.add(torch.ones(3), torch.ones(3))
    assert log.touches == []


def test_a_gpu_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(trace, "INTERPRETED", False)
    with pytest.raises(RuntimeError, match="interpreter only"), record():
        pass


@interpreted
def test_an_argument_that_was_not_touched_is_named():
    with pytest.raises(ValueError, match="expected one of p_out, p_x, p_y"):
        added().of("p_z")


def texts(axis):
    return [t.get_text() for t in axis.texts]


@interpreted
def test_pictures():
    _, axes = show_touches(added(), "p_x", "p_out")
    assert [len(axes), axes[0].get_title()] == [2, "p_x: loads"]
    assert texts(axes[1]) == [str(i // 4) for i in range(10)]
    a, b, out = fenced(torch.ones(6, 9)), fenced(torch.ones(9, 5)), None
    out = poisoned(6, 5)
    with record() as log:
        first.matmul_kernel[2, 2](
            a, b, out, 6, 5, 9, 12, 8, 8, BM=4, BN=4, BK=4
        )
    _, axes = show_touches(log, "p_a", "p_out")
    assert set(texts(axes[0])) == {"×2"}
    assert texts(axes[1])[:5] == ["0,0"] * 4 + ["0,1"]
    _, axes = show_touches(log, "p_a", program=(1, 1))
    white = (axes[0].images[0].get_array() == 1).all(-1)
    assert white[:4].all() and not white[4:].any()
    x, out = torch.zeros(16)[:10], torch.zeros(16)[:10]
    with record() as log:
        reckless_kernel[(3,)](x, out, BLOCK=4)
    _, axes = show_touches(log, "p_x")
    assert axes[0].get_title() == "p_x: loads, 2 outside"
    plt.close("all")
