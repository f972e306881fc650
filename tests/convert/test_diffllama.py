"""Hugging Face's DiffLlama and ours compute the same function."""

import importlib.util
import json
import subprocess
import sys
import warnings

import pytest
import torch
from conftest import need
from safetensors.torch import load_file, save_file

import minidiff.files.atomic
import minidiff.files.tensors
from minidiff.convert.config import config_from_diffllama
from minidiff.convert.diffllama import (
    attention_from_diffllama,
    attention_to_diffllama,
    from_diffllama,
    load_diffllama,
    save_diffllama,
    to_diffllama,
)
from minidiff.nn.attention import MultiheadDiffAttention
from minidiff.nn.config import ModelConfig
from minidiff.nn.generate import generate
from minidiff.nn.layers import rope_angles
from minidiff.nn.model import DecoderLM

D, T, V = 4, 9, 19
HEADS = [(4, 4), (4, 2), (6, 2), (2, 1)]  # H, Hkv


@pytest.fixture(scope="module")
def hf():
    """The module with DiffLlama's classes."""
    need(
        importlib.util.find_spec("transformers"),
        'transformers is missing: pip install -e ".[hf]"',
    )
    from transformers.models.diffllama import modeling_diffllama
    from transformers.utils import logging

    logging.disable_progress_bar()
    return modeling_diffllama


def scatter(module):
    """Fill a module with numbers that no start would give it."""
    torch.manual_seed(7)
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(std=0.3)
            if p.ndim == 1:  # norms and lambda vectors
                p.add_(0.2)
    return module


def make(dtype=torch.float64, **changes):
    sizes = {"vocab_size": V, "embed_dim": 32, "num_layers": 4}
    sizes |= {"num_heads": 8, "num_kv_heads": 4, "max_length": 24}
    return scatter(DecoderLM(ModelConfig(**(sizes | changes))).to(dtype))


def make_hf(hf, **changes):
    sizes = {"vocab_size": V, "hidden_size": 32, "num_hidden_layers": 4}
    sizes |= {"num_attention_heads": 8, "num_key_value_heads": 4}
    sizes |= {"intermediate_size": 40, "max_position_embeddings": 24}
    config = hf.DiffLlamaConfig(**(sizes | changes))
    return scatter(hf.DiffLlamaForCausalLM(config).double())


def tokens(length=24):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(V, (2, length), generator=generator)


def same_logits(theirs, ours):
    """Layer norms, lambda and angles are float32 in DiffLlama."""
    with torch.no_grad():
        got = ours(tokens())
        assert got.dtype == torch.float64
        assert got.std() > 0.5  # so that 1e-5 says something
        torch.testing.assert_close(
            theirs(tokens()).logits, got, rtol=0, atol=1e-5
        )


def states_equal(one, two):
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name


# One attention module


def both_attentions(hf, heads, depth, direction, implementation):
    """Return (ours, theirs, numbers of heads): one made from the other."""
    H, Hkv = heads
    config = hf.DiffLlamaConfig(
        hidden_size=2 * H * D,
        num_attention_heads=2 * H,
        num_key_value_heads=2 * Hkv,
        attn_implementation=implementation,
    )
    ours = scatter(MultiheadDiffAttention(2 * H * D, H, Hkv, depth=depth))
    theirs = scatter(hf.DiffLlamaAttention(config, depth).double().eval())
    ours.double()
    if direction == "to":
        state = attention_to_diffllama(ours.state_dict(), H, Hkv)
        theirs.load_state_dict(state)
    else:
        state = attention_from_diffllama(theirs.state_dict(), H, Hkv)
        ours.load_state_dict(state)
        assert torch.equal(ours.norm_weight, torch.ones(2 * D).double())
    return ours, theirs


def compare(ours, theirs, atol):
    x = torch.randn(2, T, ours.embed_dim, dtype=torch.float64)
    cos, sin = (table.double() for table in rope_angles(T, D))
    twice = [torch.cat([table, table], -1)[None] for table in (cos, sin)]
    mask = torch.full((T, T), float("-inf"), dtype=x.dtype).triu(1)
    with torch.no_grad():
        got = ours(x, rope=(cos, sin))
        want, _ = theirs(x, twice, mask[None, None])
    assert want.std() > 0.2
    torch.testing.assert_close(got, want, rtol=0, atol=atol)


@pytest.mark.parametrize("direction", ["to", "from"])
@pytest.mark.parametrize("depth", [0, 3])
@pytest.mark.parametrize("heads", HEADS, ids=str)
def test_attention_computes_the_same(hf, heads, depth, direction):
    # Their eager form has softmax and lambda in float32.
    compare(*both_attentions(hf, heads, depth, direction, "eager"), 1e-5)


@pytest.mark.parametrize("direction", ["to", "from"])
@pytest.mark.parametrize("heads", HEADS, ids=str)
def test_attention_is_exact_with_lambda_rounded_as_theirs(
    hf, heads, direction
):
    ours, theirs = both_attentions(hf, heads, 3, direction, "sdpa")

    def lam():
        one, two = (
            (q * k).sum(dtype=torch.float32).exp().double()
            for q, k in (
                (ours.lambda_q1, ours.lambda_k1),
                (ours.lambda_q2, ours.lambda_k2),
            )
        )
        return one - two + ours.lam_init

    ours.lam = lam
    compare(ours, theirs, 1e-12)


@pytest.mark.parametrize("heads", HEADS, ids=str)
def test_attention_there_and_back(heads):
    H, Hkv = heads
    module = scatter(MultiheadDiffAttention(2 * H * D, H, Hkv, depth=0))
    before = {n: t.clone() for n, t in module.state_dict().items()}
    theirs = attention_to_diffllama(before, *heads)
    again = attention_from_diffllama(theirs, *heads)
    norm = before.pop("norm_weight")
    assert torch.equal(again.pop("norm_weight"), torch.ones(2 * D))
    before["out_proj.weight"] *= norm.repeat(H)
    states_equal(again, before)
    states_equal(
        attention_to_diffllama(again | {"norm_weight": torch.ones(8)}, *heads),
        theirs,
    )


def test_the_order_of_rows_by_hand():
    """H = 2, D = 4: rows are named by their number in our order."""
    module = MultiheadDiffAttention(16, 2, 2, depth=0)
    state = module.state_dict()
    for name in ("q_proj.weight", "k_proj.weight", "v_proj.weight"):
        state[name] = torch.arange(16.0)[:, None].repeat(1, 16)
    theirs = attention_to_diffllama(state, 2, 2)
    first = [0, 2, 1, 3, 8, 10, 9, 11]  # branch 1 of both heads
    qk = first + [row + 4 for row in first]
    v = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15]
    assert theirs["q_proj.weight"][:, 0].tolist() == qk
    assert theirs["k_proj.weight"][:, 0].tolist() == qk
    assert theirs["v_proj.weight"][:, 0].tolist() == v


@pytest.mark.parametrize("Hkv", [1, 2])
def test_attention_weights_are_copies(Hkv):
    module = scatter(MultiheadDiffAttention(16, 2, Hkv, depth=0))
    theirs = attention_to_diffllama(module.state_dict(), 2, Hkv)
    again = attention_from_diffllama(theirs, 2, Hkv)
    kept = {n: t.clone() for n, t in theirs.items()}
    for tensor in [*module.state_dict().values(), *again.values()]:
        tensor.zero_()
    states_equal(theirs, kept)


def test_bad_attention_states_are_refused_by_name():
    state = MultiheadDiffAttention(16, 2, 2, depth=0).state_dict()
    theirs = attention_to_diffllama(state, 2, 2)
    no_norm = {n: t for n, t in state.items() if n != "norm_weight"}
    bias = state | {"q_proj.bias": torch.zeros(16)}
    flat = {"q_proj.weight": torch.zeros(3)}
    cases = [
        (attention_to_diffllama, no_norm, (2, 2), "norm_weight is missing"),
        (attention_to_diffllama, bias, (2, 2), r"q_proj\.bias is not of"),
        (attention_to_diffllama, theirs, (2, 2), "norm_weight is missing"),
        (attention_from_diffllama, state, (2, 2), "norm_weight is not of"),
        (attention_to_diffllama, state, (2, 1), r"k_proj.*\(16, 16\)"),
        (attention_from_diffllama, theirs, (2, 1), r"k_proj.*\(16, 16\)"),
        (attention_to_diffllama, state, (1, 1), r"lambda_\w\d has shape"),
        (attention_to_diffllama, state, (8, 8), "num_heads: got 8 with E"),
        (attention_to_diffllama, state, (0, 1), "num_heads: got 0"),
        (attention_to_diffllama, state, (2, 3), "num_kv_heads: got 3"),
        (attention_to_diffllama, {}, (2, 2), "q_proj.weight is missing"),
        (attention_from_diffllama, flat, (2, 2), "not a matrix"),
    ]
    for convert, bad, heads, message in cases:
        with pytest.raises(ValueError, match=message):
            convert(bad, *heads)


# Whole models

MODELS = {
    "tied": {},
    "untied": {"tie_embeddings": False},
    "no groups": {"num_kv_heads": None},
    "one pair of key heads": {"num_kv_heads": 2},
    "own sizes": {
        "ffn_dim": 20,
        "norm_eps": 1e-3,
        "rope_base": 500.0,
        "num_layers": 1,
    },
}


@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS)
def test_our_model_as_a_diffllama(hf, changes):
    model = make(**changes)
    config, state = to_diffllama(model)
    theirs = hf.DiffLlamaForCausalLM(hf.DiffLlamaConfig(**config)).double()
    theirs.load_state_dict(state)
    same_logits(theirs, model)
    # Every field we write is one of theirs, and all of theirs are written.
    assert config.keys() <= hf.DiffLlamaConfig().to_dict().keys()
    for name in config.keys() - {"bos_token_id", "eos_token_id"}:
        assert getattr(theirs.config, name) == config[name], name


HF_MODELS = {
    "tied": {"tie_word_embeddings": True},
    "untied": {},
    "no groups": {"num_key_value_heads": None},
    "own sizes": {
        "rms_norm_eps": 1e-3,
        "rope_parameters": {"rope_theta": 500.0, "rope_type": "default"},
        "num_hidden_layers": 1,
    },
}


@pytest.mark.parametrize("changes", HF_MODELS.values(), ids=HF_MODELS)
def test_a_diffllama_as_our_model(hf, changes):
    theirs = make_hf(hf, **changes)
    ours = from_diffllama(theirs.config.to_dict(), theirs.state_dict())
    same_logits(theirs, ours)


@pytest.mark.parametrize("tied", [True, False])
def test_there_and_back_is_the_same_model(tied):
    model = make(tie_embeddings=tied)
    again = from_diffllama(*to_diffllama(model))
    assert again.config == config_from_diffllama(to_diffllama(model)[0])
    with torch.no_grad():
        torch.testing.assert_close(
            again(tokens()), model(tokens()), rtol=0, atol=1e-12
        )
        for block in model.blocks:
            folded = block.attention.norm_weight.repeat(
                block.attention.q_shape[0]
            )
            block.attention.out_proj.weight *= folded
            block.attention.norm_weight.fill_(1)
    states_equal(again.state_dict(), model.state_dict())


def test_a_converted_state_is_a_copy():
    model = make()
    state = to_diffllama(model)[1]
    kept = {n: t.clone() for n, t in state.items()}
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    states_equal(state, kept)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ours_computes_in_float32(dtype):
    config, state = to_diffllama(make(dtype))
    assert {t.dtype for t in state.values()} == {dtype}
    model = from_diffllama(config, state)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(
        model.embedding.weight, state["model.embed_tokens.weight"].float()
    )


def test_greedy_text_is_the_same(hf, tmp_path):
    model = make(torch.float32, tie_embeddings=False)
    save_diffllama(model, tmp_path)
    theirs = hf.DiffLlamaForCausalLM.from_pretrained(tmp_path)
    prompt = tokens(5)
    want = generate(model, prompt, max_new_tokens=10, temperature=0)
    got = theirs.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=10,
        do_sample=False,
    )
    assert torch.equal(got, want)
    assert len(set(want[:, 5:].flatten().tolist())) > 3


# Folders


@pytest.mark.parametrize("tied", [True, False])
def test_transformers_reads_our_folder(hf, tmp_path, tied):
    model = make(tie_embeddings=tied)
    folder = tmp_path / "new" / "folder"
    save_diffllama(model, folder)
    names = {"config.json", "model.safetensors"}
    assert {p.name for p in folder.iterdir()} == names
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        theirs, report = hf.DiffLlamaForCausalLM.from_pretrained(
            folder, output_loading_info=True
        )
    assert not any(report.values()), report
    assert theirs.dtype == torch.float64
    assert ("lm_head.weight" in load_file(folder / "model.safetensors")) != (
        tied
    )
    same_logits(theirs, model)
    same_logits(theirs, load_diffllama(folder))


@pytest.mark.parametrize("tied", [True, False])
def test_we_read_the_folder_of_transformers(hf, tmp_path, tied):
    theirs = make_hf(hf, tie_word_embeddings=tied)
    theirs.save_pretrained(tmp_path)
    same_logits(theirs, load_diffllama(tmp_path))


def test_a_folder_of_transformers_4_is_read(tmp_path):
    """It had dtype and the rotary base under other names."""
    save_diffllama(make(rope_base=500.0), tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["torch_dtype"] = config.pop("dtype")
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config["rope_scaling"] = None
    path.write_text(json.dumps(config))
    model = load_diffllama(tmp_path)
    assert model.config.rope_base == 500.0
    assert torch.equal(model.cos, make(rope_base=500.0).cos)


def test_a_failed_write_leaves_the_old_folder(tmp_path, monkeypatch):
    model = make()
    save_diffllama(model, tmp_path)

    def fail(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(minidiff.files.tensors, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_diffllama(make(num_layers=1), tmp_path)
    assert load_diffllama(tmp_path).config.num_layers == 4


@pytest.mark.parametrize("before", ["model.safetensors", "config.json"])
def test_a_folder_stopped_between_the_files_is_not_loaded(
    tmp_path, monkeypatch, before
):
    save_diffllama(make(), tmp_path)
    real = minidiff.files.atomic.os.replace

    def stop(old, new):
        if str(new).endswith(before):
            raise KeyboardInterrupt
        real(old, new)

    monkeypatch.setattr(minidiff.files.atomic.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        save_diffllama(make(num_layers=1), tmp_path)
    with pytest.raises(ValueError, match=r"config\.json: no such file"):
        load_diffllama(tmp_path)


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"config\.json: no such file"):
        load_diffllama(tmp_path)
    save_diffllama(make(), tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    good = config.read_text()
    for text, message in [
        ("{", r"config\.json: cannot be read"),
        ("[]", "has no model_type"),
        ("{}", "has no model_type"),
        (good.replace('"diffllama"', '"llama"'), "model_type: got 'llama'"),
        (good.replace("ForCausalLM", "Model"), "architectures: got"),
        (good.replace('"silu"', '"gelu"'), f"{tmp_path}: hidden_act: got"),
    ]:
        config.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_diffllama(tmp_path)
    config.write_text(good)
    state = load_file(weights)
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"model\.safetensors: cut short"):
        load_diffllama(tmp_path)
    del state["model.norm.weight"]
    save_file(state, weights)
    with pytest.raises(ValueError, match=r"model\.norm\.weight is missing"):
        load_diffllama(tmp_path)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.safetensors.index.json"]
)
def test_pickles_and_shards_are_refused(tmp_path, name):
    save_diffllama(make(), tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / name)
    with pytest.raises(ValueError, match=f"there is {name}.*shards.*pickles"):
        load_diffllama(tmp_path)


# What cannot be said in the other one's words


@pytest.mark.parametrize(
    "message, changes",
    [
        ("attention: got 'softmax'", {"attention": "softmax"}),
        ("attention: got 'diff_v2'", {"attention": "diff_v2"}),
        ("head_norm: got False", {"head_norm": False}),
        ("lam_init: got 0.5", {"lam_init": 0.5}),
    ],
)
def test_our_models_that_are_no_diffllama(message, changes, tmp_path):
    with pytest.raises(ValueError, match=message):
        to_diffllama(make(**changes))
    with pytest.raises(ValueError, match=message):
        save_diffllama(make(**changes), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_is_no_model_of_ours():
    with pytest.raises(TypeError, match="model: got Linear"):
        to_diffllama(torch.nn.Linear(1, 1))
    model = make(torch.float32)
    model.embedding.bfloat16()
    with pytest.raises(ValueError, match=r"torch\.bfloat16 and torch\.float"):
        to_diffllama(model)


ROPE = {"rope_theta": 1e4, "rope_type": "default"}


@pytest.mark.parametrize(
    "message, changes",
    [
        ("attention_bias: got True, expected False", {"attention_bias": True}),
        ("mlp_bias: got True, expected False", {"mlp_bias": True}),
        ("hidden_act: got 'gelu', expected 'silu'", {"hidden_act": "gelu"}),
        ("attention_dropout: got 0.1", {"attention_dropout": 0.1}),
        ("model_type: got 'llama'", {"model_type": "llama"}),
        ("architectures: got", {"architectures": ["DiffLlamaModel"]}),
        ("head_dim: got 8, .* = 4", {"head_dim": 8}),
        ("num_key_value_heads: got 3", {"num_key_value_heads": 3}),
        ("num_key_value_heads: got 6", {"num_key_value_heads": 6}),
        ("num_key_value_heads: got 0", {"num_key_value_heads": 0}),
        ("num_attention_heads: got 7", {"num_attention_heads": 7}),
        ("hidden_size: got 40, .* = 16", {"hidden_size": 40}),
        ("hidden_size: got 0", {"hidden_size": 0}),
        ("vocab_size: got str", {"vocab_size": "19"}),
        ("num_hidden_layers: got float", {"num_hidden_layers": 4.0}),
        ("rms_norm_eps: got 0", {"rms_norm_eps": 0}),
        ("rms_norm_eps: got '1e-5'", {"rms_norm_eps": "1e-5"}),
        ("rope_theta: got -1", {"rope_parameters": ROPE | {"rope_theta": -1}}),
        ("rope_theta: got 0", {"rope_theta": 0, "rope_parameters": None}),
        (
            "rope_parameters: got .*linear",
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0}},
        ),
        ("rope_parameters: got .*fac", {"rope_parameters": {"factor": 2.0}}),
        ("rope_scaling: got .*dyn", {"rope_scaling": {"type": "dynamic"}}),
        ("rope_scaling: got 'linear'", {"rope_scaling": "linear"}),
        ("tie_word_embeddings: got 1", {"tie_word_embeddings": 1}),
        ("sliding_window: got 8, a field", {"sliding_window": 8}),
        ("partial_rotary_factor", {"partial_rotary_factor": 0.5}),
        ("quantization_config: got", {"quantization_config": {"bits": 4}}),
    ],
)
def test_configs_that_ours_cannot_hold(message, changes):
    config, state = to_diffllama(make())
    with pytest.raises((TypeError, ValueError), match=message):
        from_diffllama(config | changes, state)


def test_a_config_object_is_refused(hf):
    with pytest.raises(TypeError, match=r"config: got DiffLl.*to_dict\(\)"):
        from_diffllama(hf.DiffLlamaConfig(), {})


def test_missing_fields_are_what_transformers_takes(hf):
    ours = config_from_diffllama({})
    assert ours == config_from_diffllama(hf.DiffLlamaConfig().to_dict())
    assert ours.embed_dim == 2048 and ours.norm_eps == 1e-5


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_theta": 5e5},
        {"rope_parameters": {"rope_theta": 5e5}, "rope_theta": 2.0},
        {"rope_scaling": {"type": "default"}, "rope_theta": 5e5},
        {"rope_scaling": None, "rope_parameters": {"rope_theta": 5e5}},
    ],
)
def test_the_rotary_base_is_found_where_transformers_finds_it(hf, rope):
    theirs = hf.DiffLlamaConfig(**rope).rope_parameters["rope_theta"]
    assert config_from_diffllama(rope).rope_base == theirs == 5e5


def test_bad_states_are_named():
    config, state = to_diffllama(make(tie_embeddings=False))
    name = "model.layers.1.self_attn.k_proj.weight"
    less = {n: t for n, t in state.items() if n != name}
    no_head = {n: t for n, t in state.items() if n != "lm_head.weight"}
    extra = state | {"model.layers.4.mlp.up_proj.weight": torch.zeros(2)}
    integers = state | {name: state[name].to(torch.int8)}
    short = config | {"num_hidden_layers": 3}
    tied = config | {"tie_word_embeddings": True}
    cases = [
        (config, less, f"{name} is missing"),
        (config, no_head, "lm_head.weight is missing"),
        (config, extra, "layers.4.mlp.up_proj.weight is not of this"),
        (config, state | {name: state[name][:8]}, rf"{name} has shape \(8,"),
        (config, integers, f"{name} has dtype torch.int8"),
        (short, state, r"model.layers.3\..* is not of this"),
        (tied, state, "lm_head.weight differs"),
        (tied, {}, "tensor .* is missing"),
        (config | {"intermediate_size": 8}, state, "has shape"),
    ]
    for values, tensors, message in cases:
        with pytest.raises((TypeError, ValueError), match=message):
            from_diffllama(values, tensors)


def test_transformers_is_not_needed_and_not_imported():
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "import minidiff; assert 'minidiff.convert' not in sys.modules\n"
        "import minidiff.convert.diffllama as c\n"
        "from minidiff import DecoderLM, ModelConfig\n"
        "c.from_diffllama(*c.to_diffllama(DecoderLM(ModelConfig())))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
