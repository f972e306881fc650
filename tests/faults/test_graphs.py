"""Compilers, exporters, fake tensors and function transforms.

On a machine with a GPU all of it runs there, and with the compiled kernels.
"""

import pytest
import tiny_models
import torch
from tiny_models import KINDS
from torch._subclasses import FakeTensorMode
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from minidiff import diff_attention
from minidiff.ops.low_bit import quantise
from minidiff.ops.readable import is_ordinary, is_readable

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
KERNELS = ["triton"] if GPU else []
LENGTHS = torch.tensor([3, 7], device=DEVICE)
CALLS = [
    {},
    {"causal": False},
    {"key_lengths": LENGTHS},
    {"norm_scale": 0.5, "scale": 0.3},
]


def make(kind):
    # The kernels need heads of width 16 or more.
    with DEVICE:
        return tiny_models.make(kind, embed_dim=128 if GPU else 32)


def tokens(rows=2, length=tiny_models.T):
    return tiny_models.tokens(rows, length).to(DEVICE)


def qkv():
    return [x.to(DEVICE) for x in tiny_models.qkv()]


def same(got, want):
    atol = 1e-4 if GPU else 1e-5
    torch.testing.assert_close(got, want, atol=atol, rtol=1e-4)


def call(backend, options):
    def attention(q, k, v):
        return diff_attention(q, k, v, 0.5, backend=backend, **options)

    return attention


def counters():
    # Imported here: it imports Triton, too early for the interpreter's tests.
    from torch._dynamo.utils import counters

    return counters


def compiled(f):
    torch._dynamo.reset()
    counters().clear()
    return torch.compile(f, fullgraph=True, backend="eager")


def decode(step, model, x):
    """Logits of a prompt of 5 tokens and then of one token at a time."""
    cache = model.new_cache(len(x))
    parts = [step(x[:, :5], cache)]
    parts += [step(x[:, i : i + 1], cache) for i in range(5, x.shape[1])]
    return torch.cat(parts, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_decoding_with_a_cache(kind):
    model, x = make(kind).eval(), tokens(length=12)
    with torch.no_grad():
        same(decode(compiled(model), model, x), model(x))
    # A graph for the prompt and one for a token at any position.
    assert counters()["stats"]["unique_graphs"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_at_any_length(kind):
    model = make(kind)
    loss = compiled(lambda x: model.loss(x, x))
    for length in (5, 6, 7, 9):
        x = tokens(length=length)
        same(loss(x), model.loss(x, x))
    assert counters()["stats"]["unique_graphs"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sdpa", "eager", "flex", *KERNELS])
def test_compiled_operator_with_all_options(backend):
    options = {"norm_scale": 0.5, "eps": 1e-6, "lam": 0.3, "scale": 0.2}

    def f(q, k, v, n, scale):
        given = options | {"scale": scale, "key_lengths": n}
        return diff_attention(q, k, v, backend=backend, **given)

    g, given = compiled(f), qkv()
    for scale in (0.2, 0.3, 0.4):  # a number that changes becomes a symbol
        same(g(*given, LENGTHS, scale), f(*given, LENGTHS, scale))


@pytest.mark.slow
@pytest.mark.parametrize("part", ["decoding", "codes", "eviction"])
@torch.no_grad()
def test_compiled_with_every_size_a_symbol(part):
    """With dynamic=True all sizes are symbols from the first call on."""
    model, x = make("diff_v2").eval(), tokens(length=8)
    q, k, v = qkv()
    scores = torch.rand(2, 2, 8, generator=torch.Generator().manual_seed(0))
    scores = scores.to(DEVICE)

    def from_codes(q, *codes):
        k, k_scale, v, v_scale = codes
        given = {"k_scale": k_scale, "v_scale": v_scale}
        return diff_attention(q, k, v, 0.5, **given)

    def evicted(x, scores):
        cache = model.new_cache(2, budget=3)
        model(x, cache)
        for layer in cache:
            layer.evict(scores)
        return model(x[:, :1], cache)

    torch._dynamo.reset()
    options = {"fullgraph": True, "dynamic": True, "backend": "eager"}
    if part == "decoding":
        same(decode(torch.compile(model, **options), model, x), model(x))
        return
    f, given = {
        "codes": (from_codes, (q, *quantise(k, "int8"), *quantise(v, "int8"))),
        "eviction": (evicted, (x, scores)),
    }[part]
    same(torch.compile(f, **options)(*given), f(*given))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_exported_with_a_dynamic_length(kind):
    model, x = make(kind).eval(), tokens(length=12)
    sizes = ({1: torch.export.Dim("T", min=2, max=20)},)
    with torch.no_grad():
        program = torch.export.export(model, (x,), dynamic_shapes=sizes)
        for length in (3, 12):
            same(program.module()(x[:, :length]), model(x[:, :length]))


@pytest.mark.slow
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("backend", ["sdpa", "eager", "flex", *KERNELS])
@torch.no_grad()
def test_exported_operator(backend, strict):
    class Operator(torch.nn.Module):
        def forward(self, q, k, v):
            return diff_attention(q, k, v, 0.5, backend=backend)

    operator, given = Operator(), tuple(qkv())
    program = torch.export.export(operator, given, strict=strict)
    same(program.module()(*given), operator(*given))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["auto", "eager", *KERNELS])
def test_fake_tensors(kind, backend):
    if (kind, backend) == ("softmax", "triton"):
        pytest.skip("plain attention has no kernels of ours")
    with FakeTensorMode(), torch.no_grad():
        model = make(kind)
        x = torch.zeros(2, 5, dtype=torch.int64, device=DEVICE)
        assert model(x, backend=backend).shape == (2, 5, 20)
        model.loss(x, x, backend=backend)
        cache = model.new_cache(2)
        model(x, cache, backend=backend)
        assert model(x[:, :1], cache, backend=backend).shape == (2, 1, 20)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["auto", "eager"])
@torch.no_grad()
def test_meta_tensors(kind, backend):
    model = make(kind).to("meta")
    x = torch.zeros(2, 5, dtype=torch.int64, device="meta")
    assert model(x, backend=backend).shape == (2, 5, 20)
    assert model.loss(x, x, backend=backend).is_meta
    cache = model.new_cache(2)
    model(x, cache, backend=backend)
    assert model(x[:, :1], cache, backend=backend).shape == (2, 1, 20)


@pytest.mark.parametrize("backend", ["sdpa", "eager", "flex", *KERNELS])
@pytest.mark.parametrize("options", CALLS)
def test_meta_tensors_in_the_operator(backend, options):
    q, k, v = (x.to("meta") for x in qkv())
    if "key_lengths" in options:
        options = options | {"key_lengths": LENGTHS.to("meta")}
    if backend in ("flex", "triton"):
        with pytest.raises(ValueError, match=f"backend: got '{backend}'"):
            diff_attention(q, k, v, 0.5, backend=backend, **options)
        return
    y = diff_attention(q, k, v, 0.5, backend=backend, **options)
    assert y.shape == (2, 4, 7, 32) and y.is_meta


@pytest.mark.parametrize("backend", ["sdpa", "eager", "flex", *KERNELS])
@pytest.mark.parametrize("options", CALLS)
def test_fake_tensors_in_the_operator(backend, options):
    options = dict(options)
    with FakeTensorMode() as mode:
        q, k, v = (mode.from_tensor(x) for x in qkv())
        if "key_lengths" in options:
            options["key_lengths"] = mode.from_tensor(LENGTHS)
        y = diff_attention(q, k, v, 0.5, backend=backend, **options)
    assert y.shape == (2, 4, 7, 32)


@pytest.mark.parametrize("backend", ["sdpa", "eager", *KERNELS])
@pytest.mark.parametrize("options", CALLS)
def test_function_transforms(backend, options):
    f, (q, k, v) = call(backend, options), qkv()
    both = torch.stack([q, 2 * q])
    want = torch.stack([f(x, k, v) for x in both])
    same(torch.vmap(lambda x: f(x, k, v))(both), want)

    def total(x):
        return f(x, k, v).sum()

    if backend == "triton":
        with pytest.raises(NotImplementedError, match=r"torch\.func\.grad"):
            torch.func.grad(total)(q)
        return
    gradients = torch.vmap(torch.func.grad(total))(both)
    leaf = both.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(sum(total(x) for x in leaf), leaf)
    same(gradients, wanted)


def test_lengths_may_be_mapped():
    q, k, v = qkv()
    lengths = torch.stack([LENGTHS, LENGTHS + 0 * 2])

    def f(n):
        return diff_attention(q, k, v, 0.5, key_lengths=n)

    same(torch.vmap(f)(lengths), torch.stack([f(n) for n in lengths]))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_each_sample(kind):
    model, x = make(kind), tokens(3)
    parameters = {n: p.detach() for n, p in model.named_parameters()}

    def loss(parameters, row):
        logits = functional_call(model, parameters, (row[None],))
        return logits.logsumexp(-1).sum()

    each = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))
    found = each(parameters, x)
    for name, one in torch.func.grad(loss)(parameters, x[1]).items():
        same(found[name][1], one)


@pytest.mark.parametrize("transform", ["vmap", "grad", "jvp"])
def test_flex_refuses_transforms_by_name(transform):
    q, k, v = qkv()
    f = call("flex", {})
    with pytest.raises(ValueError, match="backend: got 'flex' inside a func"):
        if transform == "vmap":
            torch.vmap(lambda x: f(x, k, v))(q[None])
        elif transform == "grad":
            torch.func.grad(lambda x: f(x, k, v).sum())(q)
        else:
            torch.func.jvp(lambda x: f(x, k, v), (q,), (q,))


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
@pytest.mark.parametrize("backend", ["sdpa", "eager", "flex", *KERNELS])
def test_traced_by_make_fx(backend, mode):
    q, k, v = qkv()
    f = call(backend, {})
    if backend == "flex":
        with pytest.raises(ValueError, match="backend: got 'flex' inside mak"):
            make_fx(f, tracing_mode=mode)(q, k, v)
        return
    same(make_fx(f, tracing_mode=mode)(q, k, v)(q, k, v), f(q, k, v))


def test_one_place_decides_what_may_be_read():
    x, seen = torch.ones(3), {}

    def note(name, y=x):
        seen[name] = is_readable(y), is_ordinary(y.device)
        return y * 2

    note("plain")
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = mode.from_tensor(x)
        note("fake", fake)
        note("real among fake")
    assert not is_readable(fake)
    torch.vmap(lambda y: note("vmap", y))(x)
    torch.func.grad(lambda y: note("grad", y).sum())(x)
    torch.jit.trace(lambda y: note("trace", y), x, check_trace=False)
    make_fx(lambda y: note("make_fx", y))(x)
    assert seen.pop("plain") == (True, True)
    assert set(seen.values()) == {(False, False)}
    assert not is_readable(torch.ones(2, device="meta"))
    assert is_readable(0.5)
