"""The fused kernels against float64: values, gradients, and odd corners."""

import pytest
import torch
from cases import DEVICE, GPU, HALF, Case, check, error, run, wide
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import diff_attention
from minidiff.bench.peak_memory import Meter
from minidiff.ops.arguments import Arguments
from minidiff.ops.low_bit import quantise
from minidiff.ops.triton.launch import backward as launch_backward
from minidiff.ops.triton.launch import common
from minidiff.ops.triton.launch import decode as launch_decode
from minidiff.ops.triton.launch import forward as launch_forward
from minidiff.ops.triton.tuning import for_row

FLOATS = [torch.float32, *HALF]
NORM = {"norm_scale": 0.8}
LENGTHS = [1, 2, 15, 16, 17, 63, 64, 65, 129]
if GPU:
    LENGTHS += [127, 200, 1000, 1025]

CASES = {
    "V1": Case(T=65),
    "V2, lam a token": Case(P=1, wide=False, lam="token", H=4, norm=False),
    "V2 with values 2D wide": Case(P=1, lam="token"),
    "own keys, narrow values": Case(wide=False),
    "full": Case(causal=False, T=40, S=21),
    "T < S": Case(T=20, S=70),
    "pairs of 2": Case(H=4, Hkv=2, T=37),
    "pairs of 4": Case(H=4, Hkv=1, T=37, lam="head"),
    "pairs of 8": Case(H=8, Hkv=1, T=17),
    "padded": Case(B=3, T=21, S=40, lengths=(40, 13, 1)),
    "rows without keys": Case(B=3, T=21, S=40, lengths=(0, 40, 25)),
    "padded, full, grouped": Case(
        B=2, H=4, Hkv=2, T=21, S=70, lengths=(70, 33), causal=False
    ),
    "no norm": Case(norm=False, lam="head"),
    "norm without weight": Case(weight=False),
    # The kernels round the maps to 16 bits, which costs most where logits are
    # large; eager does not.
    "saturated": Case(logits=100.0, lam=0.8, slack=4.0),
    # Equal maps: o = -0.2 A v, so rounding o2 while it waits counts six times.
    "q = k = 0": Case(logits=0.0, lam=1.2, slack=6.0),
    "lam 0": Case(lam=0.0),
    "lam -0.3": Case(lam=-0.3),
    "lam 1.2": Case(lam=1.2),
    "scale below 0": Case(scale=-0.4),
    "scale 0": Case(scale=0.0, norm=False, slack=6.0),
    "D = 32": Case(D=32, T=40),
    "D = 64": Case(D=64, T=70, H=1, Hkv=1),
    "D = 96": Case(D=96, T=40, H=1, Hkv=1),
    "D = 128": Case(D=128, T=40, H=1, Hkv=1),
}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, dtype, poisoned):
    check(CASES[name], dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(
    "name", ["V1", "V2, lam a token", "padded, full, grouped", "D = 96"]
)
def test_without_the_copy_engine(name, dtype, poisoned, monkeypatch):
    monkeypatch.setattr(common, "capability", lambda device: 80)
    check(CASES[name], dtype)


@pytest.mark.parametrize("T", LENGTHS)
def test_every_length(T, poisoned):
    check(Case(T=T, norm=False, H=1, Hkv=1), torch.float32)
    check(Case(T=T, S=T + 5, P=1, H=1, Hkv=1), torch.float32)


# Many blocks of the shapes that are shipped, on a GPU.
LONG = [
    Case(T=1025, D=64, H=4, Hkv=2),
    Case(T=2500, D=64, H=2, lam="token"),
    Case(T=300, S=2500, D=64, B=2, H=4, lengths=(2500, 1111)),
    Case(T=1025, D=128, H=4, Hkv=2),
    Case(T=700, S=1500, D=128, B=2, H=2, lengths=(1500, 801)),
    Case(T=1100, D=96, H=2),
    Case(T=1025, D=64, H=4, Hkv=1, P=1, wide=False, lam="token", norm=False),
    Case(T=700, S=900, D=128, H=4, P=1, wide=False, lam="token", norm=False,
         B=2, lengths=(900, 500)),
    Case(T=1000, S=1300, D=64, causal=False, B=2, lengths=(1300, 77)),
]  # fmt: skip


@pytest.mark.parametrize("case", LONG if GPU else [Case(T=80, H=2, Hkv=1)])
def test_many_blocks(case, poisoned):
    dtype = HALF[0]
    check(case, dtype)
    x, options = case.inputs(dtype), case.options()
    first = run(x, options, "triton")
    for _ in range(20 if GPU else 1):
        again = run(x, options, "triton")
        for name, value in first.items():
            assert torch.equal(again[name], value), name


@pytest.mark.parametrize("shift", [14, 15, 16, 30, 31, 32])
def test_every_edge_between_masked_and_whole_blocks(shift, poisoned):
    check(Case(T=33, S=33 + shift, H=1, Hkv=1), torch.float32)


@pytest.mark.slow
@settings(max_examples=40 if GPU else 12, deadline=None, derandomize=True)
@given(st.data())
def test_drawn_shapes(data):
    draw = data.draw
    T = draw(st.integers(1, 50), "T")
    G = draw(st.sampled_from([1, 2, 3]), "G")
    Hkv = draw(st.integers(1, 2), "Hkv")
    causal = draw(st.booleans(), "causal")
    S = (
        T + draw(st.integers(0, 30), "more")
        if causal
        else draw(st.integers(1, 60), "S")
    )
    B = draw(st.integers(1, 2), "B")
    lengths = tuple(draw(st.integers(0, S), "length") for _ in range(B))
    check(
        Case(
            B=B, H=G * Hkv, Hkv=Hkv, T=T, S=S, causal=causal,
            P=draw(st.sampled_from([1, 2]), "P"),
            wide=draw(st.booleans(), "wide"),
            lam=draw(st.sampled_from(["layer", "head", "token", 0.5]), "lam"),
            norm=draw(st.booleans(), "norm"),
            lengths=draw(st.sampled_from([None, lengths]), "lengths"),
            seed=draw(st.integers(0, 9), "seed"),
        ),
        torch.float32,
    )  # fmt: skip


@pytest.mark.parametrize("lam", [1.0, 0.5])
def test_equal_branches_cancel(lam):
    x = Case(lam=lam, norm=False).inputs(torch.float32)
    x["q"] = x["q"][:, :, :1].expand(-1, -1, 2, -1, -1)
    x["k"] = x["k"][:, :, :1].expand(-1, -1, 2, -1, -1)
    got = run(x, {}, "triton")
    want = run(wide(x), {}, "eager")
    assert error(got["out"], want["out"]) < 1e-6
    assert bool(got["out"].abs().max() < 1e-6) == (lam == 1.0)
    # With lam = 1 nothing reaches q, k or v but rounding.
    for name in ("q", "k", "v"):
        assert error(got[name], want[name]) < 2e-6


def fenced(x, margin):
    """The same tensor as a slice of a larger one that is NaN elsewhere."""
    sizes = [n + 2 * margin for n in x.shape]
    big = torch.full(sizes, float("nan"), dtype=x.dtype, device=x.device)
    inner = big[tuple(slice(margin, margin + n) for n in x.shape)]
    inner.copy_(x)
    return inner


# float32 comes by pointers, what is half as wide by the copy engine.
BOTH_WAYS = pytest.mark.parametrize("dtype", [torch.float32, HALF[0]], ids=str)


@BOTH_WAYS
@pytest.mark.parametrize("margin", [8, 3])  # 3: rows off the 16-byte grid
@pytest.mark.parametrize("T", [17, 3])  # 3: the decode kernels too
@pytest.mark.parametrize("grads", [True, False])
def test_nothing_outside_is_read_or_written(T, margin, grads, dtype, poisoned):
    x = Case(T=T, S=40, H=4).inputs(dtype)
    want = run(x, NORM, "triton", grads)
    around = {
        n: fenced(a, margin) if n in ("q", "k", "v") else a
        for n, a in x.items()
    }
    got = run(around, NORM, "triton", grads)
    for name, value in want.items():
        assert torch.equal(got[name], value), name


@BOTH_WAYS
@pytest.mark.parametrize("grads", [True, False])
@pytest.mark.parametrize("T", [17, 3])
def test_padding_may_hold_anything(T, grads, dtype, poisoned):
    case = Case(B=3, H=4, T=T, S=40, lengths=(40, 13, 0))
    x = case.inputs(dtype)
    want = run(x, case.options(), "triton", grads)
    for b, n in enumerate(case.lengths):
        x["k"][b, :, :, n:] = float("nan")
        x["v"][b, :, n:] = float("inf")
    got = run(x, case.options(), "triton", grads)
    for name, value in want.items():
        assert torch.equal(got[name], value), name
        assert value.isfinite().all(), name
    assert not got["out"][2].any()


STRIDES = {
    "tokens inside": lambda a: a.mT.contiguous().mT,
    "every other entry": lambda a: a.repeat_interleave(2, -1)[..., ::2],
    "heads last": lambda a: a.movedim(1, -2).contiguous().movedim(-2, 1),
    "one batch row for all": lambda a: a[:1].expand_as(a),
    "off the grid of 16 bytes": lambda a: torch.cat(
        [a.new_zeros(1), a.flatten()]
    )[1:].view(a.shape),
}


@BOTH_WAYS
@pytest.mark.parametrize("T", [17, 3])
@pytest.mark.parametrize("strides", STRIDES)
def test_any_strides(strides, T, dtype):
    x = Case(B=1, T=T, S=20).inputs(dtype)
    x = {
        n: a.repeat(2, *[1] * (a.ndim - 1)) if n in ("q", "k", "v") else a
        for n, a in x.items()
    }
    laid = {
        n: STRIDES[strides](a) if n in ("q", "k", "v") else a
        for n, a in x.items()
    }
    for grads in (True, False):
        want, got = (run(y, NORM, "triton", grads) for y in (x, laid))
        for name, value in want.items():
            torch.testing.assert_close(got[name], value)


def test_any_gradient_of_the_output():
    x = Case(H=2).inputs(torch.float32)
    x = {n: a.detach().requires_grad_() for n, a in x.items()}
    leaves = list(x.values())
    for backward in (lambda y: y.sum(), lambda y: y.mT[..., ::2].sum()):
        got, want = (
            torch.autograd.grad(
                backward(diff_attention(**x, norm_scale=0.8, backend=b)),
                leaves,
            )
            for b in ("triton", "eager")
        )
        torch.testing.assert_close(got, want, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("case", [CASES["pairs of 2"], Case(T=1, S=600)])
def test_repeats_are_equal_to_the_bit(case):
    dtype = HALF[0]
    x, options = case.inputs(dtype), case.options()
    first = run(x, options, "triton")
    for _ in range(200 if GPU else 2):
        again = run(x, options, "triton")
        for name, value in first.items():
            assert torch.equal(again[name], value), name


@pytest.mark.parametrize("T", [1, 3, 16])
def test_decode_is_the_end_of_prefill_for_any_split(T, poisoned):
    case = Case(B=2, H=4, Hkv=2, T=40, S=333, lengths=(333, 290), lam="token")
    x = case.inputs(torch.float32)
    options = case.options()
    whole = diff_attention(**x, **options, backend="eager")
    last = {**x, "q": x["q"][:, :, :, -T:], "lam": x["lam"][..., -T:]}
    public = diff_attention(**last, **options, backend="triton")
    for splits in (1, 2, 3, 7, 50):
        got = launch_decode.decode(
            Arguments(**last, **options | {"scale": 0.25}), splits
        )
        torch.testing.assert_close(got, whole[:, :, -T:], atol=2e-5, rtol=2e-5)
        torch.testing.assert_close(public, got, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("precision", ["int8", "fp8"])
@pytest.mark.parametrize("P", [1, 2])
@pytest.mark.parametrize("T", [1, 3])
def test_decode_reads_eight_bits(T, P, precision, poisoned):
    case = Case(B=2, H=4, Hkv=2, P=P, T=T, S=333, lengths=(333, 290))
    x = case.inputs(torch.float32)
    # Of very different sizes, so that a scale in the wrong place shows.
    x["k"] *= torch.logspace(-1, 1, 333, device=DEVICE)[:, None]
    x["v"] *= torch.logspace(1, -1, 333, device=DEVICE)[:, None]
    k, k_scale = quantise(x["k"], precision)
    v, v_scale = quantise(x["v"], precision)
    restored = {"k": k.float() * k_scale, "v": v.float() * v_scale}
    options = case.options()
    want = diff_attention(**x | restored, **options, backend="eager")
    given = Arguments(**x | {"k": k, "v": v}, **options | {"scale": 0.25})
    B, H, _, T, _ = given.q.shape
    given = given._replace(lam=given.lam.expand(B, H, T))
    scales = {"k_scale": k_scale, "v_scale": v_scale}
    for splits in (1, 3, 50):
        got = launch_decode.decode(given, splits, **scales)
        torch.testing.assert_close(got, want, atol=2e-5, rtol=2e-5)


def in_codes(case, precision):
    """Arguments with codes in float32, their scales, and float64 inputs."""
    x = case.arguments(torch.float32)
    codes = {n: quantise(getattr(x, n), precision) for n in ("k", "v")}
    scales = {f"{n}_scale": scale for n, (_, scale) in codes.items()}
    restored = {n: c.double() * scale for n, (c, scale) in codes.items()}
    return x._replace(k=codes["k"][0], v=codes["v"][0]), scales, restored


@pytest.mark.parametrize("precision", ["int8", "fp8"])
@pytest.mark.parametrize("keys", [1, 2, 4])
@pytest.mark.parametrize("D", [64, 96])
def test_one_row_of_codes_in_any_block(D, keys, precision, poisoned):
    case = Case(B=2, T=1, S=203, D=D, lengths=(203, 5), lam="token")
    x, scales, restored = in_codes(case, precision)
    want = diff_attention(
        **wide(x._asdict()) | restored | {"key_lengths": x.key_lengths},
        backend="eager",
    )
    shape = for_row(128 if D == 96 else D, keys=keys)
    for splits in (1, 3):
        got = launch_decode.decode(x, splits, shape, **scales)
        assert error(got, want) < 2e-6


@pytest.mark.parametrize("T", [1, 3])  # one row, and tiles of rows
def test_scales_of_codes_may_be_float64(T):
    x, scales, _ = in_codes(Case(T=T, S=60, D=64), "int8")
    want = launch_decode.decode(x, 2, **scales)
    doubles = {name: scale.double() for name, scale in scales.items()}
    assert torch.equal(launch_decode.decode(x, 2, **doubles), want)


@pytest.mark.parametrize("precision", ["int8", "fp8"])
@pytest.mark.parametrize("T", [1, 3])  # one row, and tiles of rows
@pytest.mark.parametrize("name", ["k_scale", "v_scale"])
def test_a_broken_token_shows_and_padding_does_not(name, T, precision):
    case = Case(B=2, T=T, S=60, D=64, lengths=(60, 20))
    x, scales, _ = in_codes(case, precision)
    want = launch_decode.decode(x, 2, **scales)
    for bad in (float("nan"), float("inf")):
        broken = scales[name].clone()
        broken[1, ..., 20:, :] = bad
        got = launch_decode.decode(x, 2, **scales | {name: broken})
        assert torch.equal(got, want)
        broken[0, ..., 7, :] = bad
        got = launch_decode.decode(x, 2, **scales | {name: broken})
        assert got[0].isnan().any(-1).all()
        assert torch.equal(got[1], want[1])


@pytest.mark.parametrize(
    ("T", "grads", "split"), [(16, False, True), (17, False, False),
                              (16, True, False)]
)  # fmt: skip
def test_few_queries_that_learn_nothing_split_the_keys(
    T, grads, split, monkeypatch
):
    calls = []
    real = launch_decode.decode

    def decode(x):
        calls.append(x)
        return real(x)

    monkeypatch.setattr(launch_decode, "decode", decode)
    run(Case(T=T).inputs(torch.float32), NORM, "triton", grads)
    assert bool(calls) == split


def test_rows_without_keys_have_no_weight():
    x = Case(B=2, lengths=(0, 33), weight=False).arguments(HALF[0])
    _, _, o2, lse = launch_forward.forward(x, keep=True)
    # What backward makes of them: exp2(s - inf) = 0.
    assert (lse[0] == torch.inf).all() and lse[1].isfinite().all()
    assert not o2[0].any()


def test_splits_fill_a_gpu_and_no_more():
    cpu = torch.device("cpu")
    assert launch_decode.busy(1, 100, cpu) == 1
    assert launch_decode.busy(1, 1000, cpu) == 3  # none shorter than 256 keys
    assert launch_decode.busy(16, 10**6, cpu) == 16  # one round of 2 x 132
    assert launch_decode.busy(200, 10**6, cpu) == 6  # or four, nearly full
    assert launch_decode.busy(10**4, 10**6, cpu) == 1


def test_the_norm_makes_one_delta_of_the_other():
    # D1 = lam D2 + eps r^3 sum(g o): o is what RMSNorm cannot scale.
    x = Case(T=20, eps=0.1, lam="token").arguments(torch.float32)
    y, o, o2, _ = launch_forward.forward(x, keep=True)
    dy = torch.ones_like(y)
    _, delta, _, _ = launch_backward.prepare(dy, x, o, o2)
    r = (o.square().mean(-1) + x.eps).rsqrt()
    small = x.eps * r**3 * (0.8 * x.norm_weight * dy * o).sum(-1)
    assert small.abs().max() > 0.01
    torch.testing.assert_close(
        delta[:, :, 0], x.lam * delta[:, :, 1] + small, atol=1e-5, rtol=1e-5
    )


def test_memory_grows_with_the_length_not_its_square():
    peaks = []
    for T in (256, 512):
        x = Case(T=T, H=1, Hkv=1).arguments(HALF[0])
        with Meter() as meter:
            y, *kept = launch_forward.forward(x, keep=True)
            launch_backward.backward(y, x, *kept)
        peaks.append(meter.peak)
    assert 1.8 < peaks[1] / peaks[0] < 2.2


def test_on_this_device():
    assert (DEVICE.type == "cuda") != common.INTERPRETED
