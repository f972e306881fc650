from math import exp

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from minidiff.nn.attention import (
    MultiheadAttention,
    MultiheadDiffAttention,
    MultiheadDiffAttentionV2,
)
from minidiff.nn.layers import apply_rope, rope_angles
from minidiff.reference.lam import lambda_init

KINDS = ["softmax", "diff", "diff_v2"]
E, H, D, T = 48, 6, 4, 7  # H differential heads; 12 plain ones


def make(kind, grouped=True, seed=0, dtype=torch.float64, **options):
    """Return a matched module: grouped has 2 pairs of key heads for 6."""
    torch.manual_seed(seed)
    hkv = 2 if grouped else H
    if kind == "softmax":
        module = MultiheadAttention(E, 2 * H, 2 * hkv)
    elif kind == "diff":
        module = MultiheadDiffAttention(E, H, hkv, depth=1, **options)
    else:
        module = MultiheadDiffAttentionV2(E, H, hkv)
    return module.to(dtype)


def inputs(batch=2, length=T, dtype=torch.float64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, length, E, generator=generator, dtype=dtype)
    rope = rope_angles(length, D)
    return x, tuple(table.to(dtype) for table in rope)


def set_lam(module, value):
    """Choose the four vectors of eq. 2 so that lambda is the value."""
    with torch.no_grad():
        for p in (module.lambda_k1, module.lambda_k2):
            p.zero_()
        module.lambda_q1.zero_()
        module.lambda_q2.zero_()
        rest = value - module.lam_init
        branch = "1" if rest >= 0 else "2"
        getattr(module, f"lambda_q{branch}")[0] = 1
        dot = torch.tensor(1 + abs(rest), dtype=torch.float64).log()
        getattr(module, f"lambda_k{branch}")[0] = dot


def softmax_head(q, k, v):
    """One causal head by loops over queries: q, k (T, D), v (T, Dv)."""
    rows = []
    for t in range(len(q)):
        logits = k[: t + 1] @ q[t] * q.shape[-1] ** -0.5
        rows.append(logits.softmax(0) @ v[: t + 1])
    return torch.stack(rows)


def by_loops(module, kind, x, rope, pairing="adjacent"):
    """Compute the module as its paper says: one head, one branch at a time.

    The weights are sliced by hand, so that the layout is tested as well.
    """
    out = []
    for row in x:
        q = (row @ module.q_proj.weight.T).split(D, -1)
        k = (row @ module.k_proj.weight.T).split(D, -1)
        q = [apply_rope(part, *rope) for part in q]
        k = [apply_rope(part, *rope) for part in k]
        width = 2 * D if kind == "diff" else D
        v = (row @ module.v_proj.weight.T).split(width, -1)
        heads = []
        if kind == "softmax":
            share = len(q) // len(k)
            heads = [
                softmax_head(q[i], k[i // share], v[i // share])
                for i in range(len(q))
            ]
        for i in range(H if kind == "diff" else 0):
            g = i // (H // len(v))
            o1 = softmax_head(q[2 * i], k[2 * g], v[g])
            o2 = softmax_head(q[2 * i + 1], k[2 * g + 1], v[g])
            o = o1 - module.lam() * o2
            rms = (o.square().mean(-1, keepdim=True) + 1e-5).sqrt()
            heads.append(o / rms * module.norm_weight * (1 - module.lam_init))
        for i in range(H if kind == "diff_v2" else 0):
            first, second = 2 * i, 2 * i + 1
            if pairing == "halves":
                first, second = i, H + i
            share = 2 * H // len(k)
            o1, o2 = (
                softmax_head(q[m], k[m // share], v[m // share])
                for m in (first, second)
            )
            lam = (row @ module.lambda_proj.weight[i]).sigmoid()
            heads.append(o1 - lam[:, None] * o2)
        out.append(torch.cat(heads, -1) @ module.out_proj.weight.T)
    return torch.stack(out)


@pytest.mark.parametrize("backend", ["auto", "eager", "sdpa"])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_module_equals_loops_over_heads_and_pairs(kind, grouped, backend):
    module = make(kind, grouped)
    if kind == "diff":
        torch.nn.init.normal_(module.norm_weight)
    x, rope = inputs()
    got = module(x, rope=rope, backend=backend)
    want = by_loops(module, kind, x, rope)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("grouped", [False, True])
def test_v1_with_maps_two_calls_and_four_calls_agree(grouped):
    """The three forms of the official code; four calls halve the values."""
    module = make("diff", grouped)
    torch.nn.init.normal_(module.norm_weight)
    x, rope = inputs()
    maps = module(x, rope=rope, backend="eager")
    two = module(x, rope=rope, backend="sdpa")
    lam, n = module.lam(), module.v_proj.out_features // (2 * D)
    q, k, v = (
        proj(x).unflatten(-1, shape).movedim(1, -2)
        for proj, shape in (
            (module.q_proj, (H, 2, D)),
            (module.k_proj, (n, 2, D)),
            (module.v_proj, (n, 2, D)),
        )
    )  # (B, heads, 2, T, D)
    q, k = apply_rope(q, *rope), apply_rope(k, *rope)
    a11, a12, a21, a22 = (
        scaled_dot_product_attention(
            q[:, :, branch],
            k[:, :, branch],
            v[:, :, half],
            is_causal=True,
            enable_gqa=True,
        )
        for branch in (0, 1)
        for half in (0, 1)
    )
    o = torch.cat([a11, a12], -1) - lam * torch.cat([a21, a22], -1)
    o = o / (o.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    o = o * module.norm_weight * (1 - module.lam_init)
    four = module.out_proj(o.transpose(1, 2).flatten(2))
    torch.testing.assert_close(maps, two, rtol=0, atol=1e-12)
    torch.testing.assert_close(four, two, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_those_of_the_loops(kind):
    module = make(kind)
    x, rope = inputs(batch=1)
    x.requires_grad_()
    weighing = torch.randn(1, T, E, dtype=torch.float64)
    wanted = [x, *module.parameters()]
    got, want = (
        torch.autograd.grad((out * weighing).sum(), wanted)
        for out in (
            module(x, rope=rope),
            by_loops(module, kind, x, rope),
        )
    )
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
        assert a.abs().max() > 0


def test_v2_pairs_neighbours_not_halves():
    x, rope = inputs()
    for grouped in (True, False):
        module = make("diff_v2", grouped)
        got = module(x, rope=rope)
        halves = by_loops(module, "diff_v2", x, rope, "halves")
        assert (got - halves).abs().max() > 1e-3


def test_v2_with_lambda_0_is_attention_of_the_even_heads():
    module = make("diff_v2")
    x, rope = inputs()
    module.lam = lambda x: torch.zeros(1, 1, 1, dtype=x.dtype)
    plain = MultiheadAttention(2 * H * D, 2 * H, 2).double()
    with torch.no_grad():
        plain.q_proj.weight.copy_(module.q_proj.weight)
        plain.k_proj.weight.copy_(module.k_proj.weight)
        plain.v_proj.weight.copy_(module.v_proj.weight)
        plain.out_proj.weight.copy_(torch.eye(2 * H * D))
        heads = plain(x, rope=rope).unflatten(-1, (H, 2, D))
        want = heads[:, :, :, 0].flatten(2) @ module.out_proj.weight.T
        got = module(x, rope=rope)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sign", [-1, 1])
def test_v2_lambda_saturates_to_0_and_1(sign):
    """s -> -inf leaves the even heads; s -> inf with q1 = q2 cancels all."""
    module = make("diff_v2")
    x, _ = inputs()
    x[..., 0] = 1
    with torch.no_grad():
        module.lambda_proj.weight.zero_()
        module.lambda_proj.weight[:, 0] = sign * 1e3
        w = module.q_proj.weight.unflatten(0, (H, 2, D))
        w[:, 1] = w[:, 0]
        out = module(x)
        module.lam = lambda x: torch.zeros(1, 1, 1, dtype=x.dtype)
        even = module(x)
    want = even if sign < 0 else torch.zeros_like(even)
    torch.testing.assert_close(out, want, rtol=0, atol=1e-12)


def test_lambda_init_table():
    assert lambda_init(0) == pytest.approx(0.2, abs=1e-15)
    table = {1: 0.3555, 2: 0.4707, 3: 0.5561, 7: 0.7265, 23: 0.7994}
    for depth, value in table.items():
        assert lambda_init(depth) == pytest.approx(value, abs=5e-5)
        module = MultiheadDiffAttention(8, 1, depth=depth)
        assert module.lam_init == lambda_init(depth)


def test_lambda_is_eq_2():
    module = make("diff")
    q1, k1, q2, k2 = (
        p.tolist()
        for p in (
            module.lambda_q1,
            module.lambda_k1,
            module.lambda_q2,
            module.lambda_k2,
        )
    )
    dot1 = sum(a * b for a, b in zip(q1, k1, strict=True))
    dot2 = sum(a * b for a, b in zip(q2, k2, strict=True))
    want = exp(dot1) - exp(dot2) + 0.8 - 0.6 * exp(-0.3)
    assert module.lam().ndim == 0
    assert module.lam().item() == pytest.approx(want, abs=1e-12)
    set_lam(module, module.lam_init)
    assert module.lam().item() == module.lam_init


def test_lambda_vectors_start_with_std_0_1():
    module = MultiheadDiffAttention(4096, 1, depth=0)
    for name in ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2"):
        vector = getattr(module, name)
        assert vector.shape == (2048,)
        assert 0.09 < vector.std() < 0.11
        assert vector.mean().abs() < 0.01


@pytest.mark.parametrize("kind", ["diff", "diff_v2"])
def test_rows_of_the_maps_sum_to_1_minus_lambda(kind):
    module = make(kind)
    x, rope = inputs()
    out, maps = module(x, rope=rope, return_maps=True)
    assert torch.equal(out, module(x, rope=rope))
    lam = module.lam() if kind == "diff" else module.lam(x)
    want = (1 - lam).expand(2, H, T)
    torch.testing.assert_close(maps.A.sum(-1), want, rtol=0, atol=1e-12)
    for A in (maps.A1, maps.A2):
        assert A.shape == (2, H, T, T)
        assert (A >= 0).all()
        assert A.triu(1).abs().max() == 0


def test_the_plain_map_sums_to_1():
    x, rope = inputs()
    module = make("softmax")
    out, A = module(x, rope=rope, return_maps=True)
    assert torch.equal(out, module(x, rope=rope))
    assert A.shape == (2, 2 * H, T, T)
    assert A.triu(1).abs().max() == 0
    torch.testing.assert_close(A.sum(-1), torch.ones_like(A[..., 0]))


def test_equal_branches_with_lambda_1_cancel():
    module = make("diff")
    set_lam(module, 1.0)
    with torch.no_grad():
        for proj in (module.q_proj, module.k_proj):
            w = proj.weight.view(-1, 2, D, E)
            w[:, 1] = w[:, 0]
    x, rope = inputs()
    out = module(x, rope=rope)
    assert out.abs().max() < 1e-10
    out.sum().backward()
    assert all(p.grad.isfinite().all() for p in module.parameters())


def test_normalised_heads_have_rms_1_minus_lam_init():
    module = make("diff")
    with torch.no_grad():
        module.out_proj.weight.copy_(torch.eye(E))
    x, _ = inputs()
    # Large inputs, so that eps is lost beside the mean square.
    rms = module(1e6 * x).unflatten(-1, (H, 2 * D)).square().mean(-1).sqrt()
    want = torch.full_like(rms, 1 - module.lam_init)
    torch.testing.assert_close(rms, want, rtol=0, atol=1e-12)


def test_without_head_norm_there_is_no_weight_and_no_factor():
    module = make("diff", head_norm=False)
    assert module.norm_weight is None
    assert not any("norm" in name for name in module.state_dict())
    with torch.no_grad():
        module.out_proj.weight.copy_(torch.eye(E))
    x, rope = inputs()
    out, maps = module(x, rope=rope, return_maps=True)
    v = (x @ module.v_proj.weight.T).unflatten(-1, (2, 2 * D))
    v = v.transpose(1, 2).repeat_interleave(H // 2, 1)
    want = (maps.A @ v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(out, want, rtol=0, atol=1e-12)


def test_lam_init_can_be_a_constant():
    module = make("diff", lam_init=0.5)
    assert module.lam_init == 0.5
    set_lam(module, 0.5)
    assert module.lam().item() == 0.5


@pytest.mark.parametrize("changed", [1, T - 1])
@pytest.mark.parametrize("lam", [-1.5, 0.0, 0.3, 2.0])
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_token_sees_the_future(kind, lam, backend, changed):
    module = make(kind)
    if kind == "diff":
        set_lam(module, lam)
        assert module.lam().item() == pytest.approx(lam, abs=1e-12)
    elif kind == "diff_v2":
        module.lam = lambda x: x.new_full((1, 1, 1), lam)
    x, rope = inputs()
    other = x.clone()
    # Noise, because a norm would undo one number added to all channels.
    other[:, changed] += torch.randn_like(other[:, changed])
    before = module(x, rope=rope, backend=backend)
    after = module(other, rope=rope, backend=backend)
    torch.testing.assert_close(
        before[:, :changed], after[:, :changed], rtol=0, atol=1e-13
    )
    assert (before - after)[:, changed].abs().max() > 1e-6


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_hidden_whatever_it_holds(kind, backend):
    module = make(kind)
    x, rope = inputs()
    lengths = torch.tensor([T, 3])
    want = module(x[1:, :3], rope=tuple(t[:3] for t in rope))
    x = x.clone()
    x[1, 3:] = 1e9
    got = module(x, rope=rope, key_lengths=lengths, backend=backend)
    torch.testing.assert_close(got[1:, :3], want, rtol=0, atol=1e-12)
    nothing = module(x, key_lengths=torch.tensor([0, 0]), backend=backend)
    assert nothing.abs().max() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_maps_are_zero_on_padding_and_gradients_finite(kind):
    module = make(kind)
    x, rope = inputs()
    x.requires_grad_()
    lengths = torch.tensor([0, 3])
    out, maps = module(x, rope=rope, key_lengths=lengths, return_maps=True)
    for A in (maps,) if kind == "softmax" else maps:
        assert A[0].abs().max() == 0
        assert A[1, ..., 3:].abs().max() == 0
        assert A[1, ..., :3].abs().max() > 0
    out.square().sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_keeps_lambda_in_float32(kind):
    module = make(kind, dtype=torch.float32)
    x, rope = inputs(dtype=torch.float32)
    want = module(x, rope=rope)
    lam = module.lam() if kind == "diff" else None
    with torch.autocast("cpu", torch.bfloat16):
        out, maps = module(x, rope=rope, return_maps=True)
        if kind == "diff":
            assert torch.equal(module.lam(), lam)
        if kind == "diff_v2":
            assert module.lam(x).dtype == torch.float32
    assert out.dtype == torch.bfloat16
    assert (out - want).abs().max() < 0.05 * want.abs().max()
    A = maps if kind == "softmax" else maps.A
    assert A.dtype == torch.float32


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_runs_and_learns(kind, backend):
    module = make(kind, dtype=torch.bfloat16)
    x, _ = inputs(dtype=torch.bfloat16)
    if kind == "diff":
        assert module.lam().dtype == torch.float32
    if kind == "diff_v2":
        assert module.lam(x).dtype == torch.float32
    out = module(x, rope=rope_angles(T, D), backend=backend)
    assert out.dtype == torch.bfloat16
    out.float().square().mean().backward()
    for name, p in module.named_parameters():
        assert p.grad.isfinite().all(), name
        assert p.grad.abs().max() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_one_token_attends_to_itself(kind):
    module = make(kind)
    x, rope = inputs(length=1)
    want = by_loops(module, kind, x, rope)
    got = module(x, rope=rope)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_calls_are_refused_by_name(kind):
    module = make(kind)
    x, rope = inputs()
    short = tuple(table[:3] for table in rope)
    lengths = torch.tensor([1.0, 2.0])
    cases = [
        (ValueError, r"x: got shape \(7, 48\)", (x[0],), {}),
        (ValueError, r"x: .*\(B, T, 48\)", (x[..., :9],), {}),
        (ValueError, "x: .*T >= 1", (x[:, :0],), {}),
        (TypeError, "x: got list", ([1.0],), {}),
        (ValueError, r"cos: got shape \(3, 2\)", (x,), {"rope": short}),
        (ValueError, "backend: got 'fast'", (x,), {"backend": "fast"}),
        (TypeError, "key_lengths: .*float", (x,), {"key_lengths": lengths}),
        (ValueError, "key_lengths", (x,), {"key_lengths": lengths[:1].int()}),
    ]
    for error, message, args, options in cases:
        with pytest.raises(error, match=message):
            module(*args, **options)


@pytest.mark.parametrize(
    "message, options",
    [
        ("embed_dim: got 50, expected a multiple of 12", {"embed_dim": 50}),
        ("num_heads: got 0", {"num_heads": 0}),
        ("num_kv_heads: got 4, expected a divisor", {"num_kv_heads": 4}),
        ("depth: got -1", {"depth": -1}),
        ("lam_init: got 1.0", {"lam_init": 1.0}),
    ],
)
def test_bad_sizes_are_refused_by_name(message, options):
    good = {"embed_dim": E, "num_heads": H, "depth": 0}
    with pytest.raises(ValueError, match=message):
        MultiheadDiffAttention(**(good | options))


def test_a_printed_module_shows_its_heads():
    module = MultiheadDiffAttention(64, 4, 2, depth=0)
    assert "num_heads=4, num_kv_heads=2, width=8" in repr(module)
