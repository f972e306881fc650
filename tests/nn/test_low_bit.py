"""A cache in 8 bits: its errors, its memory, and what a model loses."""

from copy import deepcopy

import pytest
import torch
from torch.nn.functional import cross_entropy

from minidiff import course, diff_attention, generate, load
from minidiff.data import BPETokenizer, NeedleTask, standard_library
from minidiff.evaluation.recall import draw_questions
from minidiff.nn import attention as nn_attention
from minidiff.nn.attention import (
    MultiheadAttention,
    MultiheadDiffAttention,
    MultiheadDiffAttentionV2,
)
from minidiff.nn.cache import KVCache
from minidiff.nn.config import ModelConfig
from minidiff.nn.low_bit import LowBit
from minidiff.nn.model import DecoderLM
from minidiff.ops.low_bit import CODES, quantise, restore

PRECISIONS = ("int8", "fp8")
KINDS = ("softmax", "diff", "diff_v2")
HALF = (torch.float16, torch.bfloat16)


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.manual_seed(seed)).to(dtype)


def read_back(x, precision):
    """x (B, Hkv, ..., T, D) written to memory and read from it."""
    memory = LowBit(tuple(x.shape), precision, dtype=x.dtype)
    memory[..., : x.shape[-2], :] = x
    return memory[..., : x.shape[-2], :]


def half_steps(x, precision):
    """The largest error there may be, worked out in float64."""
    x = x.double().abs()
    largest = x.amax(-1, keepdim=True)
    if precision == "int8":
        return (largest / 127 / 2).expand_as(x)
    return torch.maximum(x / 16, largest / 448 / 2**10)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALF])
@pytest.mark.parametrize("size", [1e-30, 1e-5, 1.0, 3e3, 1e30])
def test_the_error_is_at_most_half_a_step(precision, dtype, size):
    if dtype == torch.float16 and size in (1e-30, 1e30):
        pytest.skip("float16 has no such numbers")
    x = (size * numbers(2, 3, 2, 9, 32).double()).to(dtype)
    got = read_back(x, precision)
    assert got.dtype == dtype
    info = torch.finfo(dtype)
    # Restored numbers are rounded once more, to the dtype.
    allowed = half_steps(x, precision) * (1 + 1e-4) + got.double().abs() * (
        info.eps / 2
    )
    error = (got.double() - x.double()).abs()
    assert (error <= allowed + info.smallest_normal * info.eps).all()
    # Half a step is reached: a finer rounding would be another one.
    assert (error / half_steps(x, precision)).max() > 0.8


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALF])
def test_zeros_the_smallest_and_the_largest_numbers(precision, dtype):
    info = torch.finfo(dtype)
    smallest = info.smallest_normal * info.eps  # subnormal
    x = torch.zeros(1, 1, 5, 8, dtype=dtype)
    x[0, 0, 1] = smallest
    x[0, 0, 2] = info.max
    x[0, 0, 3] = -info.max
    x[0, 0, 4, 0] = info.max
    got = read_back(x, precision)
    assert (got[0, 0, 0] == 0).all()
    assert got.isfinite().all()
    assert (got[0, 0, 1] >= 0).all() and (got[0, 0, 1] <= smallest).all()
    torch.testing.assert_close(got[0, 0, 2:], x[0, 0, 2:], rtol=1e-2, atol=0)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dtype", [torch.float32, *HALF])
def test_an_outlier_is_kept_and_disturbs_only_its_own_numbers(
    precision, dtype
):
    x = numbers(1, 2, 2, 5, 16, dtype=dtype)
    loud = x.clone()
    loud[0, 1, 0, 3, 7] = 1e4
    quiet, got = read_back(x, precision), read_back(loud, precision)
    torch.testing.assert_close(
        got[0, 1, 0, 3, 7], loud[0, 1, 0, 3, 7], rtol=5e-3, atol=0
    )
    others = torch.ones_like(x, dtype=torch.bool)
    others[0, 1, 0, 3] = False  # head 1, branch 0, token 3
    assert torch.equal(got[others], quiet[others])
    assert not torch.equal(got, quiet)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_stay_visible(precision, bad):
    x = numbers(1, 2, 5, 16)
    x[0, 1, 3, 7] = bad
    got = read_back(x, precision)
    assert not got[0, 1, 3].isfinite().any()
    got[0, 1, 3] = 0
    assert got.isfinite().all()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_restored_numbers_are_the_same_when_stored_again(precision):
    once = read_back(numbers(1, 2, 5, 16), precision)
    torch.testing.assert_close(
        read_back(once, precision), once, rtol=1e-5, atol=1e-6
    )


def test_quantise_gives_codes_of_one_byte_and_a_scale_for_each_row():
    for precision in PRECISIONS:
        codes, scale = quantise(numbers(3, 4, 8).bfloat16(), precision)
        assert codes.element_size() == 1 and codes.shape == (3, 4, 8)
        assert scale.dtype == torch.float32 and scale.shape == (3, 4, 1)
        assert restore(codes, scale, torch.float16).dtype == torch.float16


def modules():
    """Grouped heads: keys of one or two branches, values of both widths."""
    torch.manual_seed(0)
    return {
        "softmax": MultiheadAttention(64, 8, 4),
        "diff": MultiheadDiffAttention(64, 4, 2, depth=1),
        "diff_v2": MultiheadDiffAttentionV2(64, 4, 2),
    }


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_nbytes_counts_all_memory(kind, precision):
    module = modules()[kind]
    cache = module.new_cache(3, 7, dtype=torch.bfloat16, precision=precision)
    wide = module.new_cache(3, 7, dtype=torch.bfloat16)
    rows = {"softmax": 4 + 4, "diff": 2 * 2 + 2, "diff_v2": 2 + 2}[kind]
    entries = wide.nbytes // 2
    assert cache.nbytes == entries + 4 * 3 * 7 * rows
    assert cache.numbers_per_token == wide.numbers_per_token
    held = [vars(x).values() for x in (cache._k, cache._v)]
    owned = [x for part in held for x in part if isinstance(x, torch.Tensor)]
    assert sum(x.untyped_storage().nbytes() for x in owned) == cache.nbytes


@pytest.mark.parametrize("precision", PRECISIONS)
def test_heads_of_64_take_little_more_than_half_of_16_bits(precision):
    module = MultiheadDiffAttention(512, 4, depth=1).bfloat16()
    sizes = [
        module.new_cache(2, 100, precision=p).nbytes for p in (precision, None)
    ]
    assert sizes[0] / sizes[1] == (64 * 2 + 128 + 3 * 4) / (2 * 256)


def model_of(kind, kv_heads=None):
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=20,
        embed_dim=64,
        num_layers=2,
        num_heads=4,
        num_kv_heads=kv_heads,
        max_length=16,
        attention=kind,
    )
    return DecoderLM(config).double().requires_grad_(False)


def row():
    return torch.randint(20, (2, 13), generator=torch.manual_seed(1))


GROUPED = [("softmax", 2), ("diff", 2), ("diff_v2", 1)]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "kind, kv_heads", [(kind, None) for kind in KINDS] + GROUPED
)
@pytest.mark.parametrize("steps", [[1] * 13, [9, 1, 3]])
def test_how_tokens_arrive_does_not_matter(kind, kv_heads, steps, precision):
    """A token's scale is its own, so a row in parts is the row at once."""
    model, tokens = model_of(kind, kv_heads), row()
    cache = model.new_cache(2, 13, precision=precision)
    found = [model(part, cache) for part in tokens.split(steps, 1)]
    once = model(tokens, model.new_cache(2, 13, precision=precision))
    torch.testing.assert_close(torch.cat(found, 1), once, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "kind, kv_heads", [(kind, None) for kind in KINDS] + GROUPED
)
def test_a_layer_stays_near_the_layer_without_a_cache(kind, kv_heads):
    """Keys and values of size 1: 1 % of the output in int8, 5 % in fp8."""
    module = model_of(kind, kv_heads).blocks[0].attention
    for proj in (module.k_proj, module.v_proj, module.q_proj):
        proj.weight.copy_(numbers(*proj.weight.shape, seed=3) / 8)
    x = numbers(2, 13, 64, seed=4).double()
    want = module(x)
    for precision, share in (("int8", 0.01), ("fp8", 0.05)):
        cache = module.new_cache(2, 13, precision=precision)
        error = (module(x, cache=cache) - want).norm() / want.norm()
        assert share / 10 < error < share


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_takes_the_dtype_of_its_keys(kind, dtype, precision):
    model, tokens = model_of(kind).to(dtype), row()
    cache = model.new_cache(2, 13, precision=precision)
    want = model(tokens).float()
    assert model(tokens, cache).dtype == dtype
    for part in cache:
        part.length = 0
    torch.testing.assert_close(
        model(tokens, cache).float(), want, rtol=0.05, atol=0.05
    )
    outside = model_of(kind).float().new_cache(2, 13, precision=precision)
    nbytes = outside[0].nbytes
    with torch.autocast("cpu", torch.bfloat16):
        model_of(kind).float()(tokens, outside)
    assert outside[0]._k.dtype == torch.bfloat16
    assert outside[0].nbytes == nbytes, "no longer in 8 bits"


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_eviction_keeps_codes_as_they_are(kind, precision):
    module = modules()[kind].requires_grad_(False)
    cache = module.new_cache(2, 9, budget=3, precision=precision)
    module(numbers(2, 6, 64), cache=cache)
    before, nbytes = deepcopy(cache), cache.nbytes
    Hkv = cache._v.shape[1]
    kept = cache.evict(torch.rand(2, Hkv, 6, generator=torch.manual_seed(5)))
    assert cache.nbytes == nbytes * (9 - 3) // 9
    for old, new in ((before._k, cache._k), (before._v, cache._v)):
        was, now = old[..., :6, :], new[..., :3, :]
        index = kept.view(2, Hkv, *(1,) * (was.ndim - 4), 3, 1)
        assert torch.equal(now, was.take_along_dim(index, -2))
    # There is room for the rest, and the kept keys are not moved by it.
    was = cache._k[..., :3, :]
    module(numbers(2, 3, 64, seed=1), cache=cache)
    assert torch.equal(cache._k[..., :3, :], was)
    assert (cache.length, cache.held) == (9, 6)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "kind", [MultiheadDiffAttention, MultiheadDiffAttentionV2]
)
@torch.no_grad()
def test_differential_attention_gets_the_codes(kind, precision, monkeypatch):
    layer = kind(
        64, 4, **({"depth": 1} if kind is MultiheadDiffAttention else {})
    )
    cache = layer.new_cache(2, 20, precision=precision)
    got = []

    def attend(q, k, v, *args, **options):
        got.append((k, v, options["k_scale"], options["v_scale"]))
        return diff_attention(q, k, v, *args, **options)

    monkeypatch.setattr(nn_attention, "diff_attention", attend)
    x = numbers(2, 9, 64)
    layer(x[:, :8], cache=cache)
    out = layer(x[:, 8:], cache=cache)
    for T, (k, v, k_scale, v_scale) in zip((8, 9), got, strict=True):
        assert k.dtype == v.dtype == CODES[precision]
        assert k.shape[-2] == v.shape[-2] == T
        restored = restore(k, k_scale, x.dtype), restore(v, v_scale, x.dtype)
    assert all(map(torch.equal, restored, cache.numbers()))
    cache.length = 8
    again, _ = layer(x[:, 8:], cache=cache, return_maps=True)
    assert torch.allclose(out, again, atol=1e-6)


@torch.no_grad()
def test_attention_of_another_kind_gets_numbers():
    class Other(MultiheadDiffAttention):
        def attend(self, x, q, k, v, key_lengths, backend):
            assert k.dtype == v.dtype == x.dtype
            return super().attend(x, q, k, v, key_lengths, backend)

    torch.manual_seed(0)
    layer, x = Other(64, 4, depth=1), numbers(2, 9, 64)
    own = MultiheadDiffAttention(64, 4, depth=1)
    own.load_state_dict(layer.state_dict())
    outs = [
        m(x, cache=m.new_cache(2, 9, precision="int8")) for m in (layer, own)
    ]
    assert torch.allclose(*outs, atol=1e-6)
    assert not MultiheadAttention.reads_codes


def test_codes_of_a_cache_without_any_are_refused():
    cache = MultiheadDiffAttention(64, 4, depth=1).new_cache(2, 9)
    with pytest.raises(ValueError, match="precision: got None, expected"):
        cache.codes()


def test_refusals_name_the_argument():
    with pytest.raises(ValueError, match="precision: got 'int4', expected"):
        KVCache((1, 2, 3, 4), (1, 2, 3, 4), precision="int4")
    model, tokens = model_of("diff"), row()
    with pytest.raises(ValueError, match="precision: got 8, expected one of"):
        model.new_cache(2, precision=8)
    with pytest.raises(ValueError, match=r"^cache_precision: got 'fp4', exp"):
        generate(model, tokens, max_new_tokens=1, cache_precision="fp4")
    with pytest.raises(ValueError, match=r"cache_precision: .*cache=False"):
        generate(
            model, tokens, max_new_tokens=1, cache=False, cache_precision="fp8"
        )
    cache = KVCache((1, 2, 3, 4), (1, 2, 3, 4), precision="int8")
    k = numbers(1, 2, 1, 4)
    with pytest.raises(ValueError, match=r"k: got torch\.float64 on cpu"):
        cache.append(k.double(), k)
    with pytest.raises(ValueError, match=r"k: .*records gradients"):
        cache.append(k.clone().requires_grad_(), k)
    with pytest.raises(ValueError, match="4 more tokens, but 0 of 3 places"):
        cache.append(*2 * [numbers(1, 2, 4, 4)])
    assert cache.length == 0


@pytest.mark.parametrize("kind", KINDS)
def test_generate_uses_the_cache_it_is_asked_for(kind, monkeypatch):
    model, made = model_of(kind), []
    new_cache = model.new_cache

    def noted(*sizes, **options):
        made.append(new_cache(*sizes, **options))
        return made[-1]

    monkeypatch.setattr(model, "new_cache", noted)
    for precision in (*PRECISIONS, None):
        text = generate(
            model,
            row()[:, :9],
            max_new_tokens=4,
            temperature=0,
            budget=5,
            cache_precision=precision,
        )
        assert text.shape == (2, 13)
        assert {part.precision for part in made[-1]} == {precision}
        assert {part.evicted for part in made[-1]} == {4}


PAIR = {"plain": "pair_softmax.safetensors", "diff": "pair_diff.safetensors"}
TOKENIZER = "pair_tokenizer.json"


@pytest.mark.slow
@pytest.mark.parametrize("kind", PAIR)
@torch.no_grad()
def test_the_shipped_models_lose_little_on_text(kind):
    """At most 0.002 nats a token in int8 and 0.01 in fp8."""
    words = BPETokenizer.load(course.weights(TOKENIZER))
    long = [d for d in standard_library().valid if len(d.text) > 9000][:4]
    tokens = torch.tensor([words.encode(d.text[:3000])[:257] for d in long])
    model = load(course.weights(PAIR[kind]))
    losses = {}
    for precision in (None, *PRECISIONS):
        cache = model.new_cache(4, 256, precision=precision)
        logits = model(tokens[:, :-1], cache)
        losses[precision] = cross_entropy(
            logits.flatten(0, 1), tokens[:, 1:].flatten()
        ).item()
    full = losses.pop(None)
    changes = {p: loss - full for p, loss in losses.items()}
    print(kind, full, changes)
    assert 0 < abs(changes["int8"]) < 0.002
    assert 0 < abs(changes["fp8"]) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("kind", PAIR)
@torch.no_grad()
def test_the_shipped_models_look_keys_up_in_8_bits(kind):
    """At least 0.9 right, and as many as from the exact cache but one."""
    words = BPETokenizer.load(course.weights(TOKENIZER))
    task = NeedleTask(needles=8, questions=4, length=512, repeats=False)
    model = load(course.weights(PAIR[kind]))
    asked = draw_questions(task, model, 8, first=words.vocab_size)
    right = {}
    for precision in (None, *PRECISIONS):
        cache = model.new_cache(8, 512, precision=precision)
        logits = model(asked.tokens, cache, positions=asked.questions)
        right[precision] = int((logits.argmax(-1) == asked.targets).sum())
    full = right.pop(None)
    assert full >= 0.9 * asked.targets.numel()
    assert min(right.values()) >= full - 1
