"""The forward kernels in 8 bits against their reference, and odd corners."""

import pytest
import torch
from cases import DEVICE, GPU, HALF, Case, error
from test_right import STRIDES, fenced

from minidiff import diff_attention
from minidiff.ops.low_bit_products import (
    KEY_BLOCK,
    QUERY_BLOCK,
    centred_keys,
    quantise_blocks,
)
from minidiff.ops.triton import low_bit
from minidiff.ops.triton.launch import common
from minidiff.ops.triton.launch import low_bit as launch
from minidiff.ops.triton.launch.codes import quantise, quantise_keys

PRECISIONS = pytest.mark.parametrize("precision", ["int8", "fp8"])
# float32 comes by pointers, what is half as wide by the copy engine.
BOTH_WAYS = pytest.mark.parametrize("dtype", [torch.float32, HALF[0]], ids=str)
# For a code that may be another, because a number was halfway between two.
# It happens on a GPU, which divides less exactly; and Hopper adds products of
# fp8 in fewer bits than float32 has.
ANOTHER_CODE = {"int8": 1e-3, "fp8": 5e-3}
FLOOR = ANOTHER_CODE if GPU else {"int8": 1e-5, "fp8": 1e-5}

CASES = {
    "several blocks": Case(T=150, S=170, H=1, Hkv=1),
    "full": Case(causal=False, T=40, S=21),
    "full, T > S": Case(causal=False, T=140, S=70, H=1, Hkv=1),
    "V2, lam a token": Case(P=1, wide=False, lam="token", H=4, norm=False),
    "own keys, narrow values": Case(wide=False, S=70),
    "pairs of 2": Case(H=4, Hkv=2, T=37, lam="head"),
    "pairs of 4, V2": Case(H=4, Hkv=1, P=1, T=17, S=70),
    "padded": Case(B=3, T=21, S=70, lengths=(70, 65, 1)),
    "rows without keys": Case(B=3, T=21, S=40, lengths=(0, 40, 25)),
    "padded, full, grouped": Case(
        B=2, H=4, Hkv=2, T=21, S=70, lengths=(70, 33), causal=False
    ),
    "norm without weight": Case(weight=False),
    "saturated": Case(logits=100.0, lam=0.8),
    "q = k = 0": Case(logits=0.0, lam=1.2),
    "lam -0.3": Case(lam=-0.3),
    "scale below 0": Case(scale=-0.4),
    "scale 0": Case(scale=0.0, norm=False),
    "one query": Case(T=1, S=70),
    "D = 32": Case(D=32, T=40),
    "D = 64": Case(D=64, T=70, H=1, Hkv=1),
    "D = 96": Case(D=96, T=40, H=1, Hkv=1),
    "D = 128": Case(D=128, T=40, H=1, Hkv=1),
}


def check(x, options, precision, floor=FLOOR):
    """Hold the kernels to the reference in float32 of the same numbers.

    They round the weights and A2 v to the dtype of the inputs.
    """
    dtype = x["q"].dtype
    got = diff_attention(**x, **options, precision=precision, backend="triton")
    exact = x | {n: x[n].float() for n in "qkv"}
    want = diff_attention(
        **exact, **options, precision=precision, backend="eager"
    )
    plain = diff_attention(**exact, **options, backend="eager")
    assert got.shape == want.shape and got.dtype == dtype
    # Rounding A2 v counts more where the branches cancel.
    size = None
    if options["norm_scale"] is None:
        size = max(want.norm(), exact["v"].norm())
    bound = floor[precision]
    if dtype != torch.float32:
        bound = max(bound, 8 * torch.finfo(dtype).eps)
    assert error(got, want, size) < bound
    return want, plain


@PRECISIONS
@BOTH_WAYS
@pytest.mark.parametrize("name", CASES)
def test_the_kernels_compute_the_reference(name, dtype, precision, poisoned):
    case = CASES[name]
    check(case.inputs(dtype), case.options(), precision)


@PRECISIONS
@pytest.mark.parametrize("T", [1, 15, 63, 64, 65, 127, 128, 129])
def test_every_length(T, precision, poisoned):
    case = Case(T=T, H=1, Hkv=1)
    check(case.inputs(torch.float32), case.options(), precision)
    case = Case(T=T, S=T + 5, P=1, H=1, Hkv=1, norm=False)
    check(case.inputs(HALF[0]), case.options(), precision)


@PRECISIONS
@pytest.mark.parametrize("capability", [89, 90])
def test_without_the_copy_engine(capability, precision, poisoned, monkeypatch):
    monkeypatch.setattr(common, "capability", lambda device: capability)
    case = Case(T=70, S=90, D=32, H=1, Hkv=1)
    check(case.inputs(HALF[0]), case.options(), precision)


@PRECISIONS
@BOTH_WAYS
def test_codes_and_scales_are_those_of_the_reference(dtype, precision):
    lengths = torch.tensor([170, 70], device=DEVICE)
    x = Case(B=2, T=150, S=170).inputs(dtype)
    x["k"] = x["k"] * torch.logspace(-2, 1, 170, device=DEVICE)[:, None] + 3
    for given, n in ((None, None), (lengths, lengths)):
        pairs = (
            (
                quantise(x["q"], precision, QUERY_BLOCK),
                quantise_blocks(x["q"], precision, QUERY_BLOCK),
            ),
            (
                quantise_keys(x["k"], precision, given),
                quantise_blocks(centred_keys(x["k"], n), precision, KEY_BLOCK),
            ),
        )
        for (codes, scales), (want, steps) in pairs:
            torch.testing.assert_close(scales, steps)
            apart = (codes.float() - want.float()).abs()
            # A number halfway between two codes may become either.
            assert (apart > 0).float().mean() < 1e-3
            assert (apart <= want.float().abs().clamp(min=8) / 8).all()


@PRECISIONS
@pytest.mark.parametrize("of", ["q", "k"])
def test_an_outlier_and_an_offset(of, precision, poisoned):
    case = Case(T=150, S=170, H=1, Hkv=1, lam=0.3)
    x, options = case.inputs(torch.float32), case.options()
    x["k"] = x["k"] + 100.0  # which the mean removes
    x[of][:, :, :, 140, 5] += 30.0
    # Means near 100 depend on the order of the sum, in their last bits.
    want, plain = check(x, options, precision, ANOTHER_CODE)
    assert 1e-4 < error(want[:, :, :128], plain[:, :, :128]) < 0.2


@BOTH_WAYS
@PRECISIONS
def test_hidden_keys_stay_hidden_where_scales_are_tiny(precision, dtype):
    case = Case(T=40, logits=0.0)
    x = case.inputs(dtype)
    x["k"] = x["k"] * 0.0  # the product of both scales is 0 in float32
    check(x, case.options(), precision)


@BOTH_WAYS
@PRECISIONS
def test_a_block_of_hidden_keys_raises_no_maximum(precision, dtype):
    case = Case(T=160, S=192, H=1, Hkv=1)
    x = case.inputs(dtype)
    # The first queries see some of 64 keys with logits near -120, and none of
    # the next 64, whose scale is tiny. The mean of all keys is near 0.
    x["q"] = x["q"] * 0.01 - 1.0
    x["k"] = x["k"] * 1e-6
    x["k"][..., :64, :] += 30.0
    x["k"][..., 128:, :] -= 30.0
    check(x, case.options(), precision, ANOTHER_CODE)


@BOTH_WAYS
@PRECISIONS
@pytest.mark.parametrize("margin", [8, 3])  # 3: rows off the 16-byte grid
def test_nothing_outside_is_read_or_written(
    margin, precision, dtype, poisoned
):
    x = Case(T=17, S=70, H=4).inputs(dtype)
    how = {"norm_scale": 0.8, "precision": precision, "backend": "triton"}
    want = diff_attention(**x, **how)
    around = {
        n: fenced(a, margin) if n in ("q", "k", "v") else a
        for n, a in x.items()
    }
    got = diff_attention(**around, **how)
    # Not equal to the bit: the mean of the keys adds in memory's order.
    torch.testing.assert_close(got, want)


@BOTH_WAYS
@PRECISIONS
def test_padding_may_hold_anything(precision, dtype, poisoned):
    case = Case(B=3, H=4, T=17, S=70, lengths=(70, 13, 0))
    x = case.inputs(dtype)
    how = case.options() | {"precision": precision, "backend": "triton"}
    want = diff_attention(**x, **how)
    for b, n in enumerate(case.lengths):
        x["k"][b, :, :, n:] = float("nan")
        x["v"][b, :, n:] = float("inf")
    got = diff_attention(**x, **how)
    assert torch.equal(got, want) and got.isfinite().all()
    assert not got[2].any()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("of", ["q", "k", "v"])
@PRECISIONS
def test_nan_is_not_lost(precision, of, value):
    x = Case(B=2, T=20).inputs(torch.float32)
    x[of][(0, 0, 3, 2) if of == "v" else (0, 0, 1, 3, 2)] = value
    got = diff_attention(
        **x, norm_scale=0.8, precision=precision, backend="triton"
    )
    assert not got[0, 0, 3].isfinite().any() or of == "v"
    assert not got[0, 0, 3, 2].isfinite()
    assert got[1].isfinite().all()


@PRECISIONS
@pytest.mark.parametrize("strides", STRIDES)
def test_any_strides(strides, precision):
    x = Case(T=17, S=20).inputs(HALF[0])
    how = {"norm_scale": 0.8, "precision": precision, "backend": "triton"}
    laid = {
        n: STRIDES[strides](a) if n in ("q", "k", "v") else a
        for n, a in x.items()
    }
    want = diff_attention(**x, **how)
    torch.testing.assert_close(diff_attention(**laid, **how), want)


@PRECISIONS
def test_repeats_are_equal_to_the_bit(precision):
    case = CASES["several blocks"]
    how = case.options() | {"precision": precision, "backend": "triton"}
    x = case.inputs(HALF[0])
    first = diff_attention(**x, **how)
    for _ in range(50 if GPU else 1):
        assert torch.equal(diff_attention(**x, **how), first)


@PRECISIONS
@pytest.mark.parametrize(
    "case", [Case(T=5), Case(B=2, T=5, S=9, P=1, lam="token", lengths=(9, 3))]
)
def test_opcheck(case, precision):
    x = case.arguments(torch.float32)
    torch.library.opcheck(low_bit.forward, (*x, precision))


def test_compiles_into_one_graph():
    x, how = Case(T=20).inputs(torch.float32), {"norm_scale": 0.8}

    def f(q, k, v, lam, norm_weight):
        x = dict(q=q, k=k, v=v, lam=lam, norm_weight=norm_weight)
        y = diff_attention(**x, **how, precision="int8", backend="triton")
        return y * 2

    kind = "inductor" if GPU else "aot_eager"
    compiled = torch.compile(f, fullgraph=True, backend=kind)
    torch.testing.assert_close(compiled(**x), f(**x))


def test_autocast_and_another_default_dtype():
    x = Case(T=20).inputs(torch.float32)
    how = {"norm_scale": 0.8, "precision": "int8", "backend": "triton"}
    half = x | {n: x[n].half() for n in "qkv"}
    want = diff_attention(**half, **how).float()
    with torch.autocast(DEVICE.type, dtype=torch.float16):
        got = diff_attention(**x, **how)
    assert torch.equal(got, want)
    torch.set_default_dtype(torch.bfloat16)
    try:
        again = diff_attention(**half, **how).float()
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(again, want)


def test_vmap_is_refused_by_name():
    x = Case(T=5).arguments(torch.float32)

    def call(q):
        return low_bit.forward(*x._replace(q=q), "int8")

    with pytest.raises(NotImplementedError, match=r"precision: torch\.vmap"):
        torch.vmap(call)(torch.stack([x.q, x.q]))


@pytest.mark.parametrize(
    ("changes", "dtype", "says"),
    [
        ({"D": 48}, torch.float32, r"q: got width D = 48 .* expected one of"),
        ({}, torch.float64, "q: got float64 with backend 'triton'"),
    ],
)
def test_what_the_kernels_lack_is_refused_by_name(changes, dtype, says):
    x = Case(**changes).inputs(dtype)
    with pytest.raises((ValueError, TypeError), match=says):
        diff_attention(**x, norm_scale=1.0, precision="int8", backend="triton")


def test_gpus_without_fp8_multiply_int8(monkeypatch):
    monkeypatch.setattr(common, "capability", lambda device: 80)
    case = Case(T=20)
    x, options = case.inputs(torch.float32), case.options()
    check(x, options, "int8")
    with pytest.raises(ValueError, match=r"got 'fp8' on .* 8\.0, expected 8"):
        diff_attention(**x, **options, precision="fp8", backend="triton")


def test_lengths_beyond_the_keys_read_nothing_there():
    # The contract cannot look at them on a GPU without waiting for it.
    x = Case(T=3, S=40, causal=False).arguments(torch.float32)
    far = x._replace(key_lengths=torch.tensor([50], device=DEVICE))
    torch.testing.assert_close(
        launch.forward(far, "int8"), launch.forward(x, "int8")
    )
