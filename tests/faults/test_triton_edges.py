"""Edge cases of the fused kernels; on a CPU in Triton's interpreter."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import torch
from tiny_models import qkv

from minidiff import diff_attention

GPU = torch.cuda.is_available()
pytest.importorskip("triton")
DEVICE = "cuda" if GPU else "cpu"


def inputs(T):
    return [x.to(DEVICE) for x in qkv(T=T, Dv=16)]


def both(given, **options):
    """Results and gradients of the kernels and of eager."""
    found = []
    for backend in ("triton", "eager"):
        leaves = [x.clone().requires_grad_() for x in given]
        y = diff_attention(*leaves, 0.5, backend=backend, **options)
        found.append([y, *torch.autograd.grad(y.square().sum(), leaves)])
    return found


@pytest.mark.parametrize("scale", [-0.25, 0.0, 1e-50, -1e-45])
def test_any_scale(scale):
    got, want = both(inputs(20), scale=scale)
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("T", [3, 20])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_that_see_nothing_are_zeros_without_an_eps(T, weighted):
    given = inputs(T)
    options = {
        "norm_scale": 0.7,
        "norm_weight": torch.rand(16, device=DEVICE) if weighted else None,
        "eps": 0.0,
        "key_lengths": torch.tensor([0, T], device=DEVICE),
    }
    with torch.no_grad():  # few queries are decoded
        y = diff_attention(*given, 0.5, backend="triton", **options)
    assert not y[0].any()
    got, want = both(given, **options)
    torch.testing.assert_close(y, want[0], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(got, want, atol=1e-3, rtol=1e-3)


def test_the_gradient_of_a_weight_without_an_eps():
    found = []
    for backend in ("triton", "eager"):
        weight = torch.ones(16, device=DEVICE, requires_grad=True)
        y = diff_attention(
            *inputs(33), 0.5, norm_scale=0.7, norm_weight=weight, eps=0.0,
            backend=backend,
        )  # fmt: skip
        found += torch.autograd.grad(y.square().sum(), weight)
    torch.testing.assert_close(*found, atol=1e-3, rtol=1e-3)


def test_what_has_no_rule_is_refused_by_name():
    q, k, v = inputs(20)

    def loss(x):
        return diff_attention(x, k, v, 0.5, backend="triton").sum()

    two = torch.stack([q, q])
    for call in (
        lambda: torch.func.grad(loss)(q),
        lambda: torch.vmap(torch.func.grad(loss))(two),
        lambda: torch.func.grad(lambda x: torch.vmap(loss)(x).sum())(two),
        lambda: torch.func.jvp(loss, (q,), (q,)),
    ):
        with pytest.raises(
            NotImplementedError, match=r"backend: .*func\.grad"
        ):
            call()


def test_batched_gradients():
    q, k, v = inputs(20)
    leaf = q.clone().requires_grad_()
    y = diff_attention(leaf, k, v, 0.5, backend="triton")
    g = torch.stack([y, y.cos()]).detach()
    (got,) = torch.autograd.grad(
        y, leaf, g, is_grads_batched=True, retain_graph=True
    )
    for i in (0, 1):
        (want,) = torch.autograd.grad(y, leaf, g[i], retain_graph=True)
        torch.testing.assert_close(got[i], want, atol=1e-5, rtol=1e-4)


@pytest.mark.skipif(GPU, reason="the interpreter, which is for CPUs")
def test_a_call_in_the_middle_of_one_in_another_thread(monkeypatch):
    from triton.runtime.interpreter import interpreter_builder as builder

    inside, done, real = Event(), Event(), builder.set_grid_idx

    def program(*index):
        real(*index)
        if not inside.is_set():
            inside.set()
            done.wait(0.5)  # the other call ends meanwhile if it can

    monkeypatch.setattr(builder, "set_grid_idx", program)
    given = inputs(20), [x + 1 for x in inputs(20)]
    with torch.no_grad(), ThreadPoolExecutor(1) as pool:
        first = pool.submit(diff_attention, *given[0], 0.5, backend="triton")
        assert inside.wait(60)
        second = diff_attention(*given[1], 0.5, backend="triton")
        done.set()
        got = [first.result(), second]
    want = [diff_attention(*x, 0.5, backend="eager") for x in given]
    torch.testing.assert_close(got, want, atol=1e-3, rtol=1e-3)
