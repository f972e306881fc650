"""The fuzz finds planted faults, and its reproducing line reproduces them."""

import json
import math
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import pytest
import torch
from conftest import need

from minidiff import cli, diff_attention
from minidiff.bench import fuzz_judge
from minidiff.bench.fuzz import Fuzz
from minidiff.bench.fuzz_cases import DTYPES, draw, make
from minidiff.bench.fuzz_judge import LIMIT, Error, bits, judge
from minidiff.ops.eager import attention_maps, for_each_head
from minidiff.ops.masks import blank_padding

CPU = torch.device("cpu")
eager = partial(diff_attention, backend="eager")


def causal_from_the_start(q, k, v, lam, **options):
    """Query t sees keys 0 to t, also if there are more keys than queries."""
    T = q.shape[-2]
    if options["causal"] and options["key_lengths"] is None:
        k, v = k[..., :T, :], v[..., :T, :]
    return eager(q, k, v, lam, **options)


def heads_dealt_out(q, k, v, lam, **options):
    """Query head h reads key head h mod Hkv."""
    G = q.shape[1] // k.shape[1]
    k, v = (torch.cat([x] * G, 1) for x in (k, v))
    return eager(q, k, v, lam, **options)


def size_of_lambda(q, k, v, lam, **options):
    return eager(q, k, v, abs(lam), **options)


def padding_is_weighted(q, k, v, lam, **options):
    lengths = options["key_lengths"]
    out = eager(q, k, v, lam, **options)
    return out if lengths is None else out + 0 * v.sum()


def no_gradient_of_lambda(q, k, v, lam, **options):
    lam = lam.detach() + 0 * lam if isinstance(lam, torch.Tensor) else lam
    return eager(q, k, v, lam, **options)


def norm_without_eps(q, k, v, lam, **options):
    return eager(q, k, v, lam, **options | {"eps": 0.0})


def last_query_not_written(q, k, v, lam, **options):
    whole = eager(q, k, v, lam, **options)
    out = torch.empty_like(whole)
    out[:, :, :-1] = whole[:, :, :-1]
    return out


def writes_to_keys(q, k, v, lam, **options):
    out = eager(q, k, v, lam, **options)
    with torch.no_grad():
        k[..., 0, 0] += 1
    return out


def too_low(q, k, v, lam, **options):
    """Values with 8 bits less."""
    low = {torch.float32: torch.float16, torch.float16: torch.float8_e5m2}
    v = v + (v.detach().to(low[v.dtype]).to(v) - v.detach())
    return eager(q, k, v, lam, **options)


FAULTS = [
    causal_from_the_start,
    heads_dealt_out,
    size_of_lambda,
    padding_is_weighted,
    no_gradient_of_lambda,
    norm_without_eps,
    last_query_not_written,
    writes_to_keys,
    too_low,
]


def first_failure(operator, cases):
    for number in range(cases):
        found = judge(draw(0, number, "cpu"), operator, CPU)
        if found.failure:
            return number
    return None


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault):
    assert first_failure(fault, 40) is not None


def test_the_reference_passes():
    assert first_failure(eager, 25) is None


def test_the_same_seed_and_number_draw_the_same_case():
    case = draw(3, 17, "cpu")
    assert draw(3, 17, "cpu") == case
    assert draw(3, 18, "cpu") != case != draw(4, 17, "cpu")
    first, second = make(case, CPU), make(case, CPU)
    for name, x in first.tensors.items():
        assert torch.equal(bits(x), bits(second.tensors[name]))
        assert x.stride() == second.tensors[name].stride()
    half = draw(3, 17, "cpu", torch.float16)
    assert half == replace(case, dtype=torch.float16)


def test_everything_is_drawn():
    cases = [draw(0, n, "cpu") for n in range(1000)]
    some = {
        "vmap": lambda c: c.M,
        "one query": lambda c: c.T == 1 and not c.learns,
        "T < S": lambda c: c.causal and c.T < c.S,
        "T > S": lambda c: c.T > c.S,
        "groups": lambda c: c.H > c.Hkv > 1,
        "padding": lambda c: c.lengths,
        "no key at all": lambda c: c.lengths and 0 in c.lengths,
        "negative scale": lambda c: c.scale and c.scale < 0,
        "scale 0": lambda c: c.scale == 0,
        "cancel": lambda c: c.alike == c.lam == 1,
        "norm without weight": lambda c: c.norm_scale and not c.weight,
        "off the grid": lambda c: c.margin == 3,
        "transposed keys": lambda c: c.layouts[1] == "transposed",
    }
    for name, condition in some.items():
        assert any(map(condition, cases)), name
    assert {c.D for c in cases} == {16, 32, 64, 96, 128}
    assert {c.P for c in cases} == {1, 2}
    assert {c.Dv // c.D for c in cases} == {1, 2}
    # All eight shapes of (B or 1, H or 1, T or 1), 0-d tensors and numbers.
    assert {
        c.lam_shape
        and tuple(
            n == 1
            for n, full in zip(c.lam_shape, (c.B, c.H, c.T), strict=True)
            if full > 1
        )
        for c in cases
        if min(c.B, c.H, c.T) > 1
    } >= {
        None,
        (),
        *((a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)),
    }
    assert torch.bfloat16 not in DTYPES["cpu"]
    assert torch.bfloat16 in {draw(0, n, "cuda").dtype for n in range(20)}


def test_around_the_inputs_is_nan():
    case = replace(draw(0, 0, "cpu"), margin=3, cache=5, lengths=None)
    for x, memory in zip("qkv", make(case, CPU).memory, strict=True):
        view = make(case, CPU).tensors[x]
        assert not view.isnan().any() and memory.isnan().any()
        assert memory.isnan().sum() == memory.numel() - view.numel()


def test_errors_are_relative_to_the_terms_that_cancel():
    """With lam 1 and equal branches nothing is left but rounding."""
    number = next(
        n
        for n in range(400)
        if (c := draw(0, n, "cpu")).alike == c.lam == 1
        and c.P == 2
        and c.logits
        and not (c.norm_scale or c.M)
    )
    case = draw(0, number, "cpu", torch.float32)
    found = judge(case, partial(diff_attention, backend="sdpa"), CPU)
    assert found.failure is None


@pytest.mark.parametrize("code", [(7, 46), (0, 13), (1, 15)])
def test_denormal_numbers_may_be_lost_where_kernels_are_compiled(code):
    """With these cases an H200 gives the errors that a flush gives here."""
    case = draw(*code, "cuda")
    call = make(case, CPU)
    results = partial(fuzz_judge._results, case, call, eager)
    truth, own = results(torch.float64), results(case.dtype)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # only this thread flushes
    assert torch.set_flush_denormal(True)
    try:
        got = results(case.dtype)
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)

    def worst(flushes):
        tiny = fuzz_judge.smallest(case.dtype, flushes=flushes)
        errors = fuzz_judge._errors(case, call, got, own, truth, tiny)
        return max(e.ratio for e in errors)

    assert worst(flushes=False) > 5 * LIMIT > LIMIT > worst(flushes=True)


@pytest.mark.parametrize("fault", FAULTS[:4])
def test_what_may_be_lost_hides_no_fault(fault, monkeypatch):
    lenient = partial(fuzz_judge.smallest, flushes=True)
    monkeypatch.setattr(
        fuzz_judge, "smallest", lambda dtype, flushes: lenient(dtype)
    )
    assert first_failure(fault, 40) is not None


class Rounded(torch.autograd.Function):
    """Fused attention without a norm, with its roundings written out.

    Weights and dS are rounded before they are multiplied, and o and o2 are
    kept rounded for the backward pass, which takes D1 and D2 from them.
    """

    @staticmethod
    def forward(ctx, q, k, v, lam, options, low):
        H, scale = q.shape[1], options["scale"]
        lengths = options["key_lengths"]
        wide = [x.float() for x in (q, k, v)]
        A1, A2, _ = attention_maps(
            *wide[:2], 0.0, causal=True, scale=scale, key_lengths=lengths
        )
        k, v = (for_each_head(blank_padding(x, lengths), H) for x in wide[1:])
        lam = lam[..., None] if lam.ndim else lam

        def times_v(A):
            most = A.amax(-1, keepdim=True)
            return low(A / most) @ v * most

        o1, o2 = times_v(A1), times_v(A2)
        ctx.kept = q.float(), k, v, A1, A2, low(o1 - lam * o2), low(o2), lam
        ctx.low, ctx.scale, ctx.shared = low, scale, wide[1].shape
        return (o1 - lam * o2).to(q.dtype)

    @staticmethod
    def backward(ctx, do):
        q, k, v, A1, A2, o, o2, lam = ctx.kept
        do = do.float()
        D2 = (do * o2).sum(-1, keepdim=True)
        D1 = (do * o).sum(-1, keepdim=True) + lam * D2
        dP = do @ v.mT
        dS = torch.stack([A1 * (dP - D1), lam * A2 * (D2 - dP)], 2)
        dS = ctx.low(dS) * ctx.scale
        dk = (dS.mT @ q).sum(2, keepdim=True)  # one key for both branches
        dv = ctx.low(A1 - lam * A2).mT @ do
        groups = (ctx.shared[1], -1)
        dk, dv = (x.unflatten(1, groups).sum(2) for x in (dk, dv))
        dlam = -D2[..., 0]
        dlam = dlam if lam.ndim else dlam.sum()
        return *(x.bfloat16() for x in (dS @ k, dk, dv)), dlam, None, None


def round_to(bits, x):
    mantissa, exponent = torch.frexp(x)
    return torch.ldexp((mantissa * 2**bits).round(), exponent - bits)


# A part of the second case, whose whole takes a minute here.
SHORTER = {"B": 1, "H": 3, "Hkv": 1, "T": 300, "S": 640, "lengths": (500,)}


@pytest.mark.parametrize(
    ("code", "part"), [((150, 2), {}), ((132, 7), SHORTER)]
)
def test_roundings_of_the_fused_kernels_pass_and_coarser_ones_do_not(
    code, part
):
    """An H200 gave the first case's errors, as this does.

    There lambda's gradient is a row sum that cancels; in the second, lambda is
    -20, and an error of D1 is the same for all keys of a row.
    """
    case = replace(draw(*code, "cuda"), **part)

    def operator(bits, q, k, v, lam, **options):
        return Rounded.apply(q, k, v, lam, options, partial(round_to, bits))

    assert judge(case, partial(operator, 8), CPU).failure is None
    assert judge(case, partial(operator, 6), CPU).failure is not None


def test_inf_is_right_beyond_the_range_of_the_dtype_and_nowhere_else():
    case = draw(204, 3, "cuda")  # a gradient of k is 107,733, in float16
    assert judge(case, eager, CPU).failure is None

    def error(got, want):
        got, want = (torch.tensor([[x, 1.0]]) for x in (got, want))
        size = want.abs().double()
        return fuzz_judge._relative(got.half(), want.double(), size, True)

    inf = float("inf")
    assert error(inf, 1e5) == error(-inf, -1e5) == error(inf, inf) == 0
    for wrong in (-inf, 0.0, 6e4):
        assert error(wrong, 1e5) > 0.05
    assert error(inf, 100.0) > 100
    assert math.isnan(error(float("nan"), 1e5))


def test_nan_fails_and_eagers_nan_excuses_nothing():
    nan = float("nan")
    assert not Error("out", nan, 1.0, 1.0).ratio <= LIMIT
    assert Error("out", 5.0, nan, 1.0).ratio == 5.0


def test_the_line_reproduces_the_failure(monkeypatch, capsys, tmp_path):
    need(find_spec("triton"), "triton is not installed")
    monkeypatch.setattr(fuzz_judge, "triton", last_query_not_written)
    out = tmp_path / "fuzz.json"
    given = ["bench", "fuzz", "--device", "cpu", "--seed", "4"]
    assert cli.main([*given, "--cases", "3", "--out", str(out)]) == 1
    printed = capsys.readouterr().out
    assert "3 cases, 3 failures" in printed
    failures = json.loads(out.read_text())["failures"]
    assert [f["case"] for f in failures] == ["4:0", "4:1", "4:2"]
    line = failures[1]["line"]
    assert f"  {line}\n" in printed and line.startswith("minidiff bench fuzz ")
    assert cli.main(line.split()[1:]) == 1
    again = capsys.readouterr().out
    assert f"failed: {failures[1]['said']}" in again
    monkeypatch.setattr(fuzz_judge, "triton", eager)
    assert cli.main(line.split()[1:]) == 0
    assert capsys.readouterr().out.endswith("passed\n")


@pytest.mark.slow
def test_our_kernels_pass_and_a_fault_in_them_is_found(monkeypatch):
    need(find_spec("triton"), "triton is not installed")
    from minidiff.ops.triton.launch import backward as launch_backward

    numbers = [
        n
        for n in range(500)
        if (c := draw(1, n, "cpu")).learns and c.lam and c.D == 16 and c.T < 20
    ][:3]
    cases = [draw(1, n, "cpu") for n in numbers]
    assert not any(judge(c, fuzz_judge.triton, CPU).failure for c in cases)
    real = launch_backward.prepare

    def prepare(dy, x, o, o2):
        do, delta, rows, dweight = real(dy, x, o, o2)
        delta[:, :, 1] = 0  # the row sums of the second branch
        return do, delta, rows, dweight

    monkeypatch.setattr(launch_backward, "prepare", prepare)
    assert any(judge(c, fuzz_judge.triton, CPU).failure for c in cases)


def test_ctrl_c_reports_what_was_done():
    said = []
    calls = []

    def stopped(*given, **options):
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return eager(*given, **options)

    fuzz = Fuzz(operator=stopped, device=CPU, cases=9, say=said.append)
    with pytest.raises(KeyboardInterrupt):
        fuzz.run()
    assert "3 cases, 0 failures" in said[-1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--dtype bfloat16", "--dtype: got bfloat16 on a CPU, where Triton's"),
        ("--cases 0", "--cases: got 0, expected 1 or more"),
        ("--minutes -1", "--minutes: got -1.0, expected a finite number"),
        ("--case 17", "--case: got '17', expected SEED:NUMBER"),
        ("--case 1:2 --seed 3", "--seed: got 3 beside --case 1:2"),
        ("--device meta", "--device: got 'meta', expected cpu or cuda"),
    ],
)
def test_bad_options_are_named(options, says, capsys):
    need(find_spec("triton"), "triton is not installed")
    given = ["bench", "fuzz", "--device", "cpu", *options.split()]
    assert cli.main(given) == 2
    assert says in capsys.readouterr().err
