"""The kernels as PyTorch operators: traced, compiled, refused by name."""

import pytest
import torch
from cases import DEVICE, GPU, Case, run
from torch.utils._python_dispatch import TorchDispatchMode

from minidiff import diff_attention
from minidiff.nn.attention import (
    MultiheadDiffAttention,
    MultiheadDiffAttentionV2,
)
from minidiff.ops.arguments import Arguments
from minidiff.ops.low_bit import quantise
from minidiff.ops.triton import low_bit, operator, tuning
from minidiff.ops.triton.launch import common
from minidiff.ops.triton.launch import decode as launch_decode
from minidiff.ops.triton.launch import forward as launch_forward

NORM = {"norm_scale": 0.8}


OPCHECKED = {
    "norm": Case(T=5),
    "no norm, V2": Case(T=5, P=1, norm=False, lam="token"),
    "padded, odd rows": Case(B=2, T=5, S=9, lengths=(9, 3)),
}


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", OPCHECKED)
def test_opcheck_forward(name, keep):
    x = OPCHECKED[name].arguments(torch.float32)
    if keep:
        learn = {
            n: a.detach().requires_grad_()
            for n, a in x._asdict().items()
            if isinstance(a, torch.Tensor) and a.is_floating_point()
        }
        x = x._replace(**learn)
    torch.library.opcheck(operator.forward, (*x, keep))


@pytest.mark.parametrize("name", OPCHECKED)
def test_opcheck_backward_and_decode(name):
    x = OPCHECKED[name].arguments(torch.float32)
    torch.library.opcheck(operator.decode, tuple(x))
    y, o, o2, lse = launch_forward.forward(x, True)
    o = y if x.norm_scale is None else o
    torch.library.opcheck(operator.backward, (y, *x, o, o2, lse))


def in_eight_bits(x, precision="int8"):
    """Arguments with codes, and their scales."""
    k, k_scale = quantise(x.k, precision)
    v, v_scale = quantise(x.v, precision)
    return x._replace(k=k, v=v), (k_scale, v_scale)


@pytest.mark.parametrize("name", OPCHECKED)
def test_opcheck_decode_low_bit(name):
    x, scales = in_eight_bits(OPCHECKED[name].arguments(torch.float32))
    torch.library.opcheck(low_bit.decode, (*x, *scales))


@pytest.mark.parametrize(
    ("T", "grads", "read"),
    [(16, False, True), (17, False, False), (3, True, False)],
)
def test_codes_are_read_where_a_kernel_does(T, grads, read, monkeypatch):
    calls = []
    real = launch_decode.decode

    def decode(x, **scales):
        calls.append(x.k.dtype)
        return real(x, **scales)

    monkeypatch.setattr(launch_decode, "decode", decode)
    case = Case(T=T, S=20)
    x, options = case.inputs(torch.float32), case.options()
    x["q"] = x["q"].detach().requires_grad_(grads)
    (k, k_scale), (v, v_scale) = (quantise(x[n], "int8") for n in "kv")
    low = {"k": k, "v": v, "k_scale": k_scale, "v_scale": v_scale}
    got = diff_attention(**x | low, **options, backend="triton")
    want = diff_attention(**x | low, **options, backend="eager")
    torch.testing.assert_close(got, want, atol=2e-5, rtol=2e-5)
    assert calls == ([torch.int8] if read else [])


def test_vmap_over_codes_is_refused_by_name():
    x, scales = in_eight_bits(Case(T=3, S=20).arguments(torch.float32))

    def call(k):
        return low_bit.decode(*x._replace(k=k), *scales)

    with pytest.raises(NotImplementedError, match=r"k_scale: torch\.vmap"):
        torch.vmap(call)(torch.stack([x.k, x.k]))


def test_the_schema_is_that_of_the_arguments():
    names = [part.split()[1] for part in operator.SCHEMA.split(", ")]
    assert names == list(Arguments._fields)


@pytest.mark.parametrize("T", [20, 3])
def test_compiles_into_one_graph(T):
    case = Case(T=T, S=20)
    x, options = case.inputs(torch.float32), case.options()

    def f(q, k, v, lam, norm_weight):
        x = dict(q=q, k=k, v=v, lam=lam, norm_weight=norm_weight)
        return diff_attention(**x, **options, backend="triton") * 2

    how = "inductor" if GPU else "aot_eager"
    compiled = torch.compile(f, fullgraph=True, backend=how)
    for grads in (True, False):
        leaves = {n: a.detach().requires_grad_(grads) for n, a in x.items()}
        got, want = compiled(**leaves), f(**leaves)
        torch.testing.assert_close(got, want)
        if grads:
            torch.testing.assert_close(
                torch.autograd.grad(got.sum(), list(leaves.values())),
                torch.autograd.grad(want.sum(), list(leaves.values())),
            )


def test_autocast_computes_in_its_dtype_and_returns_the_given_one():
    x = Case().inputs(torch.float32)
    with torch.autocast(DEVICE.type, dtype=torch.float16):
        got = run(x, NORM, "triton")
    half = {n: a.half() if n in "qkv" else a for n, a in x.items()}
    want = run(half, NORM, "triton")
    assert {a.dtype for a in got.values()} == {torch.float32}
    torch.testing.assert_close(got["out"], want["out"].float())
    assert not torch.equal(got["out"], run(x, NORM, "triton")["out"])


def test_a_second_derivative_is_refused():
    x = Case(T=5).inputs(torch.float32)
    q = x.pop("q").detach().requires_grad_()
    out = diff_attention(q=q, **x, norm_scale=0.5, backend="triton")
    (dq,) = torch.autograd.grad(out.sum(), q, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        dq.sum().backward()


def test_only_what_learns_gets_a_gradient():
    x = Case(T=5).inputs(torch.float32)
    v = x.pop("v").detach().requires_grad_()
    out = diff_attention(v=v, **x, norm_scale=0.5, backend="triton")
    out.sum().backward()
    assert v.grad.isfinite().all() and v.grad.any()
    with torch.no_grad():
        out = diff_attention(v=v, **x, norm_scale=0.5, backend="triton")
        assert not out.requires_grad


@pytest.mark.parametrize(
    "changes, dtype, says",
    [
        ({"D": 48}, torch.float32, r"q: got width D = 48 .* expected one of"),
        ({}, torch.float64, "q: got float64 with backend 'triton'"),
        pytest.param(
            {},
            torch.bfloat16,
            "in Triton's interpreter, which silently computes it incorrectly",
            marks=pytest.mark.skipif(GPU, reason="right on a GPU"),
        ),
    ],
)
def test_what_the_kernels_lack_is_refused_by_name(changes, dtype, says):
    x = Case(**changes).inputs(dtype)
    with pytest.raises((ValueError, TypeError), match=says):
        diff_attention(**x, norm_scale=1.0, backend="triton")


def test_odd_values_are_refused():
    x = Case(norm=False).inputs(torch.float32)
    x["v"] = torch.cat([x["v"], x["v"][..., :8]], -1)
    with pytest.raises(ValueError, match=r"v: got width Dv = 40 with backend"):
        diff_attention(**x, backend="triton")


def test_without_a_gpu_or_the_interpreter_it_says_so(monkeypatch):
    monkeypatch.setattr(operator, "INTERPRETED", False)
    x = {
        n: a.cpu() if isinstance(a, torch.Tensor) else a
        for n, a in Case().inputs(torch.float32).items()
    }
    with pytest.raises(ValueError, match="got 'triton' with q on cpu"):
        diff_attention(**x, norm_scale=0.8, backend="triton")


@pytest.mark.parametrize(
    "kind", [MultiheadDiffAttention, MultiheadDiffAttentionV2]
)
@torch.no_grad()
def test_a_module_reads_and_decodes_through_it(kind):
    torch.manual_seed(0)
    depth = {"depth": 1} if kind is MultiheadDiffAttention else {}
    module = kind(64, 2, **depth).to(DEVICE)
    x = torch.randn(2, 21, 64, device=DEVICE)
    want = module(x, backend="eager")
    torch.testing.assert_close(module(x, backend="triton"), want)
    cache = module.new_cache(2, 30)
    parts = [
        module(part, cache=cache, backend="triton")
        for part in (x[:, :18], x[:, 18:20], x[:, 20:])
    ]
    torch.testing.assert_close(torch.cat(parts, 1), want)


@pytest.mark.parametrize("precision", ["int8", "fp8"])
@torch.no_grad()
def test_a_module_decodes_from_the_codes_of_its_cache(precision, monkeypatch):
    read = []
    real = launch_decode.decode

    def decode(x, **scales):
        read.append(x.k.dtype)
        return real(x, **scales)

    monkeypatch.setattr(launch_decode, "decode", decode)
    torch.manual_seed(0)
    module = MultiheadDiffAttention(64, 2, depth=1).to(DEVICE)
    x = torch.randn(2, 21, 64, device=DEVICE)
    outs = []
    for backend in ("eager", "triton"):
        cache = module.new_cache(2, 30, precision=precision)
        parts = (x[:, :18], x[:, 18:20], x[:, 20:])
        some = [module(part, cache=cache, backend=backend) for part in parts]
        outs.append(torch.cat(some, 1))
    torch.testing.assert_close(*outs, atol=1e-5, rtol=1e-4)
    code = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}[precision]
    assert read == [code, code]


def test_every_case_has_a_shape():
    for kernel in ("forward", "keys", "queries", "decode"):
        for D in (16, 32, 64, 128):
            for DV in (D, 2 * D):
                for bits in (16, 32):
                    for capability in (80, 86, 89, 90, 100, 120):
                        for P in (1, 2):
                            found = tuning.choose(
                                kernel, D=D, DV=DV, P=P, bits=bits,
                                length=10**6, capability=capability,
                            )  # fmt: skip
                            assert found is not None


@pytest.mark.parametrize("T", [20, 3])
def test_lengths_and_weight_of_any_stride(T):
    case = Case(B=2, T=T, S=20, lengths=(13, 13))
    x, options = case.inputs(torch.float32), case.options()
    want = run(x, options, "triton", T > 16)
    x["norm_weight"] = x["norm_weight"].repeat_interleave(2)[::2]
    options["key_lengths"] = torch.tensor([13], device=DEVICE).expand(2)
    got = run(x, options, "triton", T > 16)
    assert torch.equal(got["out"], want["out"])


def test_lengths_beyond_the_keys_read_nothing_there():
    # The contract cannot look at them on a GPU without waiting for it.
    x = Case(T=3, S=40, causal=False).arguments(torch.float32)
    far = x._replace(key_lengths=torch.tensor([50], device=DEVICE))
    for f in (
        launch_decode.decode,
        lambda x: launch_forward.forward(x, keep=False)[0],
    ):
        assert torch.equal(f(far), f(x))


def test_an_old_gpu_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(common, "capability", lambda device: 75)
    with pytest.raises(ValueError, match=r"compute capability 7\.5, expected"):
        diff_attention(
            **Case().inputs(torch.float32), norm_scale=0.8, backend="triton"
        )


def test_another_default_dtype_changes_nothing():
    x = Case(T=5).inputs(torch.float32)
    want = run(x, NORM, "triton"), run(x, NORM, "triton", False)
    torch.set_default_dtype(torch.bfloat16)
    try:
        got = run(x, NORM, "triton"), run(x, NORM, "triton", False)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(got[0]["out"], want[0]["out"])
    assert all(a.isfinite().all() for a in got[0].values())
    assert torch.equal(got[1]["out"], want[1]["out"])


class Heard(TorchDispatchMode):
    """A mode that hears of all operators, by name."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("T, name", [(20, "forward"), (3, "decode")])
def test_a_listener_hears_of_the_operators(T, name):
    case = Case(T=T, S=20)
    x, options = case.inputs(torch.float32), case.options()
    with Heard() as heard:
        run(x, options, "triton", T == 20)
    want = {f"minidiff::diff_{name}"}
    want |= {"minidiff::diff_backward"} if T == 20 else set()
    assert {n for n in heard.names if "minidiff" in n} == want


@pytest.mark.parametrize("T", [20, 3])
def test_without_a_listener_the_results_are_the_same(T, monkeypatch):
    case = Case(T=T, S=20)
    x, options = case.inputs(torch.float32), case.options()
    with Heard():
        want = run(x, options, "triton", T == 20)
    for op in ("forward", "backward", "decode"):  # none is called
        monkeypatch.setattr(operator, op, None)
    got = run(x, options, "triton", T == 20)
    assert got.keys() == want.keys()
    for n in want:
        assert torch.equal(got[n], want[n]), n
