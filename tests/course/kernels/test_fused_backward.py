"""The course's fused backward pass: chapter, shipped kernels, reference."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from minidiff.course.kernels import DEVICE, INTERPRETED
from minidiff.course.kernels import fused_backward as room
from minidiff.course.kernels.fused_forward import fused_forward
from minidiff.course.kernels.memory import fenced
from minidiff.course.kernels.trace import OUTSIDE, watch

# isort: split
from minidiff import diff_attention, reference

LENGTHS = [1, 2, 15, 16, 17, 33, 50]
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3}
if not INTERPRETED:
    TOLERANCE[torch.bfloat16] = 2e-2
each_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
NAMES = ("q", "k", "v", "lam", "norm_weight")


def draw(B=1, H=2, Hkv=2, T=17, S=None, D=16, DV=32, dtype=torch.float32):
    g = torch.Generator().manual_seed(T * 100 + H)
    S = S or T
    shapes = (B, H, 2, T, D), (B, Hkv, 2, S, D), (B, Hkv, S, DV)
    x = [torch.randn(n, generator=g) for n in (*shapes, (B, H, T, DV))]
    x = [y.to(DEVICE, dtype) for y in x]
    lam = torch.linspace(0.9, -0.2, H, device=DEVICE).view(1, H, 1)
    weight = torch.linspace(0.5, 1.5, DV, device=DEVICE)
    return dict(zip(NAMES, (*x[:3], lam, weight), strict=True)), x[3]


def gradients(attend, x, dy, **options):
    """Gradients of sum(dy * attend), by autograd."""
    x = {n: y.detach().requires_grad_() for n, y in x.items()}
    given = [x[n] for n in NAMES[:4]]
    y = attend(*given, norm_weight=x.get("norm_weight"), **options)
    found = torch.autograd.grad(y, list(x.values()), dy)
    return dict(zip(x, found, strict=True))


def truth(x, dy, **options):
    """The same by the hand-derived backward in NumPy's float64."""
    x = {n: y.detach().double().cpu().numpy() for n, y in x.items()}
    grads = reference.diff_attention_backward(
        dy.double().cpu().numpy(), **x, **options
    )
    return {n: getattr(grads, n) for n in x}


def close(got, want, tolerance):
    """Hold each gradient's error small against its own size."""
    for name, x in got.items():
        x, y = x.double().cpu().numpy(), np.asarray(want[name])
        assert np.isfinite(x).all(), name
        error = np.linalg.norm(x - y) / (np.linalg.norm(y) + 1)
        slack = 10 if name == "lam" else 1  # a sum that cancels
        assert error < slack * tolerance, f"{name}: {error}"


@each_dtype
@pytest.mark.parametrize("T", LENGTHS)
def test_every_length_is_the_reference(T, dtype):
    x, dy = draw(T=T, dtype=dtype)
    got = gradients(room.fused_attention, x, dy, norm_scale=0.4)
    close(got, truth(x, dy, norm_scale=0.4), TOLERANCE[dtype])


FORMS = {
    "grouped queries": ({"B": 2, "H": 4, "Hkv": 2}, {"norm_scale": 0.4}),
    "all heads share": ({"H": 3, "Hkv": 1}, {"norm_scale": 0.4}),
    "more keys": ({"T": 17, "S": 40}, {"norm_scale": 0.4}),
    "one query": ({"T": 1, "S": 33}, {"norm_scale": 0.4}),
    "no mask": ({"T": 17, "S": 40}, {"norm_scale": 0.4, "causal": False}),
    "fewer keys": ({"T": 33, "S": 5}, {"norm_scale": 0.4, "causal": False}),
    "a scale": ({}, {"norm_scale": 0.4, "scale": 0.7, "eps": 0.3}),
    "values as wide": ({"DV": 16}, {"norm_scale": 0.4}),
    "no norm": ({}, {}),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_reference_eager_and_shipped(name):
    sizes, options = FORMS[name]
    x, dy = draw(**sizes)
    if "norm_scale" not in options:
        del x["norm_weight"]
    got = gradients(room.fused_attention, x, dy, **options)
    close(got, truth(x, dy, **options), 2e-6)
    for backend in ("eager", "triton"):
        rung = gradients(diff_attention, x, dy, backend=backend, **options)
        close(got, {n: y.cpu() for n, y in rung.items()}, 2e-6)


def test_half_precision_is_as_near_the_truth_as_the_shipped_kernels():
    x, dy = draw(T=50, dtype=torch.float16)
    want = truth(x, dy, norm_scale=0.4)
    ours = gradients(room.fused_attention, x, dy, norm_scale=0.4)
    theirs = gradients(diff_attention, x, dy, norm_scale=0.4, backend="triton")
    for name, y in want.items():
        a, b = (
            np.linalg.norm(g[name].double().cpu().numpy() - y)
            for g in (ours, theirs)
        )
        assert a < 1.5 * b + 1e-3, name


@pytest.mark.parametrize(("BT", "BS"), [(16, 32), (32, 16), (64, 64)])
@pytest.mark.parametrize("shift", [0, 1, 15, 16, 17])
def test_every_edge_of_the_blocks(shift, BT, BS):
    x, dy = draw(H=1, Hkv=1, T=33, S=33 + shift)
    lam = x["lam"].expand(1, 1, 1)
    given = (*(x[n] for n in "qkv"), lam)
    saved = fused_forward(*given, norm_scale=0.4)[1:]
    got = room.fused_backward(dy, *given, *saved, norm_scale=0.4, BT=BT, BS=BS)
    del x["norm_weight"]
    want = truth(x, dy, norm_scale=0.4)
    close({n: getattr(got, n) for n in x}, want, 2e-6)


@pytest.mark.parametrize("lam", [0.0, 0.8, -0.3, 1.2])
def test_any_lambda_with_its_own_gradient(lam):
    x, dy = draw(H=2)
    x["lam"] = torch.tensor(lam, device=DEVICE)
    got = gradients(room.fused_attention, x, dy, norm_scale=0.4)
    close(got, truth(x, dy, norm_scale=0.4), 2e-6)


def test_a_number_for_lambda():
    x, dy = draw()
    given = [x[n].requires_grad_() for n in "qkv"]
    y = room.fused_attention(*given, 0.7)
    x["lam"] = torch.tensor(0.7)
    del x["norm_weight"]
    got = torch.autograd.grad(y, given, dy)
    close(dict(zip("qkv", got, strict=True)), truth(x, dy), 2e-6)


@pytest.mark.filterwarnings("ignore:overflow")
def test_rows_that_cancel_and_rows_that_saturate():
    x, dy = draw(T=33)
    x["q"] = x["q"][:, :, :1].expand_as(x["q"])
    x["k"] = x["k"][:, :, :1].expand_as(x["k"])
    x["lam"] = torch.ones((), device=DEVICE)  # o = 0
    got = gradients(room.fused_attention, x, dy, norm_scale=0.4)
    # The norm multiplies rounding by 1 / sqrt(eps).
    close(got, truth(x, dy, norm_scale=0.4), 1e-3)
    x, dy = draw(T=33)
    x["q"] = 30 * x["q"]
    got = gradients(room.fused_attention, x, dy, norm_scale=0.4)
    close(got, truth(x, dy, norm_scale=0.4), 2e-5)


STRIDES = {
    "rows inside": lambda x: x.mT.contiguous().mT,
    "every other number": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "heads between rows": lambda x: x.movedim(1, -2).contiguous().movedim(
        -2, 1
    ),
    "one head for all": lambda x: x[:, :1].expand_as(x),
}  # fmt: skip


@pytest.mark.parametrize("name", STRIDES)
def test_any_strides(name):
    x, dy = draw()
    for n in "qkv":
        x[n] = STRIDES[name](x[n])
    dy = STRIDES[name](dy)
    got = gradients(room.fused_attention, x, dy, norm_scale=0.4)
    close(got, truth(x, dy, norm_scale=0.4), 2e-6)


def test_the_gradient_of_a_sum_has_no_strides():
    x, dy = draw()
    given = {n: x[n].requires_grad_() for n in "qkv"}
    room.fused_attention(*given.values(), 0.5, norm_scale=0.4).sum().backward()
    x = {n: x[n] for n in "qkv"} | {"lam": torch.tensor(0.5)}
    want = truth(x, torch.ones_like(dy), norm_scale=0.4)
    close({n: y.grad for n, y in given.items()}, want, 2e-6)


@pytest.mark.parametrize("T", LENGTHS)
def test_inside_fences_and_nothing_left_out(T, poisoned):
    x, dy = draw(H=4, Hkv=2, T=T, S=T + 7)
    want = truth(x, dy, norm_scale=0.4)
    walled = {n: fenced(y) for n, y in x.items()}
    for n in "qkv":  # the kernels read inside the fence, not a copy
        assert room._heads(walled[n]).data_ptr() == walled[n].data_ptr()
    got = gradients(room.fused_attention, walled, fenced(dy), norm_scale=0.4)
    close(got, want, 2e-6)


@pytest.mark.skipif(not INTERPRETED, reason="only the interpreter sees it")
@pytest.mark.parametrize("T", [1, 17, 33])
def test_every_element_is_written_once(T):
    x, dy = draw(H=4, Hkv=2, T=T, S=T + 7)
    lam = x["lam"].expand(1, 4, 1)
    given = (*(x[n] for n in "qkv"), lam)
    saved = fused_forward(*given, norm_scale=0.4)[1:]
    touches = []
    with watch(touches.append):
        room.fused_backward(dy, *given, *saved, norm_scale=0.4, BT=16, BS=16)
    written = {}
    for touch in touches:
        assert not (touch.element == OUTSIDE).any(), touch
        if touch.kind == "store":
            written.setdefault(touch.name, []).append(touch)
        else:
            assert touch.kind == "load"
    outputs = {"p_do", "p_delta", "p_dq", "p_dk", "p_dv"}
    assert set(written) == outputs
    for name, stores in written.items():
        at = np.concatenate([t.element[t.element >= 0] for t in stores])
        count = np.prod(stores[0].shape)
        assert np.array_equal(np.sort(at), np.arange(count)), name


@pytest.mark.skipif(not INTERPRETED, reason="only the interpreter sees it")
def test_no_walk_goes_beyond_the_diagonal():
    x, dy = draw(H=1, Hkv=1, T=64, S=80)
    lam = x["lam"].expand(1, 1, 1)
    given = (*(x[n] for n in "qkv"), lam)
    saved = fused_forward(*given)[1:]
    touches = []
    with watch(touches.append):
        room.fused_backward(dy, *given, *saved, BT=16, BS=16)
    for kernel, name in (("keys_kernel", "p_do"), ("queries_kernel", "p_v")):
        seen = {}
        for touch in touches:
            if (touch.kernel, touch.name) == (kernel, name):
                block = touch.element.max() // (16 * 32)
                seen.setdefault(touch.program[1], []).append(block)
        # Query t sees key t + 16: block a of queries blocks 0 to a + 1.
        want = (
            {b: list(range(max(b - 1, 0), 4)) for b in range(5)}
            if kernel == "keys_kernel"
            else {a: list(range(a + 2)) for a in range(4)}
        )
        assert seen == want


def test_ten_runs_give_the_same_bits():
    x, dy = draw(H=4, Hkv=2, T=33, dtype=torch.float16)
    runs = [
        gradients(room.fused_attention, x, dy, norm_scale=0.4)
        for _ in range(10)
    ]
    assert all(torch.equal(r[n], runs[0][n]) for r in runs for n in x)


def prepared(x, dy, dtype, **options):
    """What the first kernel makes: dO, D1 and D2, for one head."""
    lam = x["lam"].expand(1, 1, 1)
    saved = fused_forward(*(x[n] for n in "qkv"), lam, **options)
    o, o2, lse = (y.flatten(0, 1) for y in saved[1:])
    do, delta = torch.empty_like(o), torch.empty_like(lse)
    T, DV = o.shape[1:]
    room.prepare_kernel[1, 1](
        dy[0], o, o2, lam.flatten().contiguous(), do, delta,
        *dy.stride()[1:3], *o.stride()[:2], *delta.stride()[:2], T, 0.4,
        1e-5, DV=DV, BT=32, NORM=True,
    )  # fmt: skip
    return o[0], o2[0], do[0], delta[0], lam


@each_dtype
def test_both_row_sums_are_those_of_the_stored_gradient(dtype):
    x, dy = draw(H=1, Hkv=1, T=20, dtype=dtype)
    o, o2, do, delta, lam = prepared(x, dy, dtype, norm_scale=0.4)
    o, o2, do = (y.double() for y in (o, o2, do))
    D2 = (do * o2).sum(-1)
    D1 = (do * o).sum(-1) + lam.item() * D2
    got = delta.double()
    torch.testing.assert_close(got, torch.stack([D1, D2]), rtol=0, atol=1e-5)


def test_under_the_norm_one_row_sum_gives_the_other():
    x, dy = draw(H=1, Hkv=1, T=20)
    x["q"] = 0.1 * x["q"]  # flat maps, small o: eps counts for something
    x["v"] = 0.02 * x["v"]
    o, _, _, (D1, D2), lam = prepared(x, dy, torch.float32, norm_scale=0.4)
    r = (o.double().square().mean(-1) + 1e-5).rsqrt()
    tiny = 1e-5 * r**3 * (0.4 * dy[0, 0].double() * o).sum(-1)
    assert tiny.abs().max() > 0.1
    gap = D1.double() - lam.item() * D2.double() - tiny
    assert gap.abs().max() < 1e-4


def test_gradients_are_not_differentiated_again():
    x, dy = draw(T=5)
    q = x["q"].requires_grad_()
    y = room.fused_attention(q, x["k"], x["v"], 0.5)
    (dq,) = torch.autograd.grad(y, q, dy.requires_grad_(), create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        dq.sum().backward()


# In a process of its own: the interpreter takes the compiler's place.
COMPILE = """
import torch
torch.cuda.is_available = lambda: True  # leave the interpreter off
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from minidiff.course.kernels import fused_backward as room
tiles = {"D": 64, "DV": 128, "BT": 32, "BS": 32, "CAUSAL": True}
for name, constants in {
    "prepare_kernel": {"DV": 128, "BT": 32, "NORM": True},
    "keys_kernel": tiles,
    "queries_kernel": tiles,
}.items():
    kernel = getattr(room, name)
    def kind(n):
        if n in constants:
            return "constexpr"
        if n in ("p_lse", "p_delta", "p_lam"):
            return "*fp32"
        if n.startswith("p_"):
            return "*bf16"
        return "fp32" if n in ("norm_scale", "eps", "scale", "c") else "i32"
    signature = {n: kind(n) for n in kernel.arg_names}
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
    assert len(done.stdout.split()) == 3
