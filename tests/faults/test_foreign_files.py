"""Files from elsewhere: sizes, dtypes and counts are checked before use."""

import json
import os
import shutil
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import minidiff
from minidiff.cli import main
from minidiff.convert.diffllama import load_diffllama, save_diffllama
from minidiff.data import (
    BPETokenizer,
    ByteTokenizer,
    TokenData,
    read_held_out,
    token_counts,
    write_tokens,
)
from minidiff.nn import memory
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM
from minidiff.training.checkpoint import load_checkpoint

TEXTS = [("train", "abc" * 40), ("valid", "xyz" * 40)]
TINY = [
    *("--width", "16", "--layers", "1", "--heads", "2", "--steps", "2"),
    *("--batch-size", "2", "--length", "16"),
]


def make():
    sizes = {"embed_dim": 16, "num_layers": 2, "num_heads": 2}
    return DecoderLM(ModelConfig(**sizes, max_length=8))


@pytest.fixture
def tokens(tmp_path):
    folder = tmp_path / "tokens"
    write_tokens(folder, TEXTS, ByteTokenizer(), about={})
    return folder


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# Token files


@pytest.mark.parametrize("dtype", ["O", "<f2", "<i2", ">u2", "u2", "<u8", 2])
def test_only_two_dtypes_are_legal(tokens, dtype):
    change(tokens / "tokens.json", dtype=dtype)
    with pytest.raises(ValueError, match=r"tokens\.json: .*dtype: got .*<u2"):
        TokenData(tokens, length=4)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"vocab_size": 0}, "vocab_size: got 0"),
        ({"vocab_size": 10**20}, "vocab_size: got 1000"),
        ({"vocab_size": 256.0}, r"vocab_size: got 256\.0"),
        ({"vocab_size": True}, "vocab_size: got True"),
        ({"train": {"tokens": 0, "sha256": ""}}, r"train\.tokens: got 0"),
        ({"train": {"tokens": -1, "sha256": ""}}, r"train\.tokens: got -1"),
        ({"train": {"tokens": 10**18, "sha256": ""}}, "tokens: got 10000000"),
        ({"train": {"tokens": 10**12, "sha256": ""}}, "got 244 bytes, expec"),
        ({"train": []}, "train: got list of 0, expected an object"),
        ({"tokenizer": "words"}, "tokenizer: got 'words'"),
        ({"held_out": {"../x": {}}}, r"held_out: got the key '\.\./x'"),
        ({"version": True}, "version: got True, expected 1"),
    ],
)
def test_a_wrong_card_is_refused_by_key(tokens, values, says):
    change(tokens / "tokens.json", **values)
    with pytest.raises(ValueError, match=says) as error:
        TokenData(tokens, length=4)
    assert str(tokens) in str(error.value)


def test_ids_above_the_vocabulary_are_refused(tokens):
    change(tokens / "tokens.json", vocab_size=50)
    for read in (token_counts, lambda f: list(read_held_out(f))):
        with pytest.raises(ValueError, match=r"token id 99|vocab_size"):
            read(tokens)


# Checkpoints


def header(path, **values):
    """Write a checkpoint's entries anew, its tensors as they are."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(load_file(path), path, metadata | values)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.safetensors"
    minidiff.save(make(), path)
    return path


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"num_layers": 10**8}, "num_layers: got 100000000, expected at most"),
        ({"num_layers": 4000}, r"blocks\.2\.\* is missing: num_layers: got 4"),
        ({"embed_dim": 10**9}, "embed_dim: got 1000000000, expected at most"),
        ({"embed_dim": 2**17}, "has shape"),
        ({"vocab_size": 10**13}, "vocab_size: got 10000000000000, expected"),
        ({"vocab_size": 2**24}, "has shape"),
        ({"ffn_dim": 2**20}, "has shape"),
        ({"max_length": 10**12}, "max_length: got 1000000000000, expected at"),
        (
            {"num_heads": 10**40},
            "num_heads: got a number of more than 30 digits",
        ),
        ({"rope_base": 10**400}, "rope_base: got a number of more than 30"),
        ({"lam_init": []}, "lam_init: got list of 0"),
    ],
)
def test_sizes_are_compared_with_the_file(weights, values, says):
    config = make().config.to_dict() | values
    header(weights, model=json.dumps(config))
    start = time.process_time()
    with pytest.raises(ValueError, match=says) as error:
        minidiff.load(weights)
    assert str(weights) in str(error.value)
    assert time.process_time() - start < 30  # nothing of that size was built


def test_a_model_larger_than_the_machine_is_refused(weights, monkeypatch):
    monkeypatch.setattr(memory, "physical_memory", lambda: 10_000)
    with pytest.raises(ValueError, match="memory of this machine") as error:
        minidiff.load(weights)
    assert str(weights) in str(error.value)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_weights_that_are_no_floats_are_refused(weights, dtype):
    tensors = load_file(weights)
    name = "model.norm.weight"
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata()
    tensors[name] = tensors[name].to(dtype)
    save_file(tensors, weights, metadata)
    with pytest.raises(ValueError, match=f"{name} has dtype {dtype}"):
        minidiff.load(weights)


@pytest.mark.parametrize("entry", ["model", "train"])
@pytest.mark.parametrize(
    "text", ["[]", "null", "7", '"x"', "[" * 10**5, '{"step": NaN}', "{", ""]
)
def test_a_wrong_entry_is_refused_by_name(weights, entry, text):
    header(weights, **{entry: text})
    with pytest.raises(ValueError, match=f"{weights}: {entry}: the model or"):
        load_checkpoint(weights)


@pytest.mark.parametrize("entry", ["format", "version"])
def test_a_long_entry_is_not_printed_whole(weights, entry):
    header(weights, **{entry: "x" * 10**5})
    with pytest.raises(ValueError, match=rf"{entry} 'xxx.*\.\.\.") as error:
        load_checkpoint(weights)
    assert len(str(error.value).replace(str(weights), "")) < 300


@pytest.mark.skipif(os.name != "posix", reason="POSIX files")
def test_a_checkpoint_that_is_no_file_is_not_called_missing(
    tmp_path, weights, monkeypatch
):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe: a named pipe, expected"):
        minidiff.load(tmp_path / "pipe")
    real = open

    def denied(path, *args, **kwargs):
        if str(path) == str(weights):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(ValueError, match=r"cannot be read \(Permission den"):
        minidiff.load(weights)


# DiffLlama


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"num_hidden_layers": 10**8}, "num_hidden_layers: got 100000000, "),
        ({"num_hidden_layers": 4000}, "num_hidden_layers: got 4000, expected"),
        ({"hidden_size": 10**9}, "hidden_size: got 1000000000, expected at m"),
        ({"vocab_size": 10**12}, "vocab_size: got 1000000000000, expected at"),
        ({"intermediate_size": 10**9}, "intermediate_size: got 1000000000, e"),
        ({"max_position_embeddings": 10**12}, "max_position_embeddings: got "),
        ({"rope_parameters": {"rope_theta": 10**400}}, "rope_theta: got 1000"),
        ({"rms_norm_eps": 10**400}, "rms_norm_eps: got 1000"),
    ],
)
def test_a_config_is_compared_with_its_weights(tmp_path, values, says):
    save_diffllama(make(), tmp_path)
    change(tmp_path / "config.json", **values)
    with pytest.raises(ValueError, match=says) as error:
        load_diffllama(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert str(error.value).endswith((".json)", ".safetensors)"))


# Tokenizers


@pytest.fixture
def bpe(tmp_path):
    path = tmp_path / "tokenizer.json"
    BPETokenizer.train(["la li lu " * 50], 262).save(path)
    return path


def change_model(path, **values):
    value = json.loads(path.read_text())
    value["model"] |= values
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"padding": {"strategy": {"Fixed": 10**9}}}, "padding: got dict"),
        ({"truncation": {"max_length": 1}}, "truncation: got dict"),
        ({"normalizer": {"type": "Lowercase"}}, "normalizer: got dict"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, r"pre_tokenizer\.type: g"),
        ({"pre_tokenizer": None}, "pre_tokenizer: got None"),
        ({"decoder": {"type": "BPEDecoder"}}, r"decoder\.type: got"),
        ({"model": {"type": "WordLevel"}}, r"model\.type: got 'WordLevel'"),
        ({"model": []}, "model: got list of 0"),
        (
            {"added_tokens": [{"id": 9}]},
            r"added_tokens\[0\]\.content: mi",
        ),
    ],
)
def test_a_tokenizer_of_another_kind_is_refused(bpe, values, says):
    change(bpe, **values)
    with pytest.raises(ValueError, match=f"{bpe}: not a tokenizer .*{says}"):
        BPETokenizer.load(bpe)


def test_ids_of_a_tokenizer_are_numbered_without_gaps(bpe):
    vocab = json.loads(bpe.read_text())["model"]["vocab"]
    last = max(vocab, key=vocab.get)
    for wrong in (4_000_000_000, 7, -1, "x", 10**30):
        change_model(bpe, vocab=vocab | {last: wrong})
        with pytest.raises(ValueError, match=r"model\.vocab"):
            BPETokenizer.load(bpe)


def test_a_tokenizer_without_all_bytes_is_refused(bpe):
    change_model(bpe, vocab={"a": 0, "b": 1}, merges=[])
    with pytest.raises(ValueError, match="254 bytes have no token"):
        BPETokenizer.load(bpe)


@pytest.mark.parametrize("size", [-1, 255, 2**20 + 1, 99999999999])
def test_a_vocabulary_has_a_limit(size):
    with pytest.raises(ValueError, match=f"vocab_size: got {size}, expected"):
        BPETokenizer.train(["la"], size)


# Parts that do not belong together


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs with trained tokenizers, one of bytes and one of tokens."""
    where = tmp_path_factory.mktemp("runs")
    texts = where / "texts"
    texts.mkdir()
    for i in range(20):
        (texts / f"{i}.txt").write_text(f"text {i}: " + "la li lu " * 20)
    tokens = ["tokens", str(texts), "--out", str(where / "tokens")]
    kind = ["--tokenizer", "bpe", "--vocab-size", "280"]
    assert main([*tokens, *kind]) == 0
    for name, data, options in (
        ("a", texts, [*kind[:3], "270"]),
        ("b", texts, [*kind[:3], "280"]),
        ("seed", texts, [*kind[:3], "270", "--seed", "1"]),
        ("byte", texts, []),
        ("of tokens", where / "tokens", []),
    ):
        out = ["--out", str(where / name), "--data", str(data)]
        assert main(["train", *out, *TINY, *options]) == 0
    return where


@pytest.fixture
def run(runs, tmp_path):
    return lambda name: shutil.copytree(runs / name, tmp_path / name)


def refused(capsys, says, *commands):
    for command in commands:
        capsys.readouterr()
        assert main([str(word) for word in command]) == 2, command
        said = capsys.readouterr().err.splitlines()[-1]
        assert says in said


@pytest.mark.parametrize("name", ["a", "of tokens"])
def test_a_run_without_its_tokenizer(run, capsys, name):
    folder = run(name)
    (folder / "tokenizer.json").unlink()
    commands = [
        ["generate", folder, "--prompt", "la"],
        ["train", "--out", folder, "--resume"],
    ]
    refused(capsys, "tokenizer.json: no such file", *commands)


@pytest.mark.parametrize("name", ["a", "of tokens"])
def test_a_run_with_another_tokenizer(run, tmp_path, capsys, name):
    folder, path = run(name), tmp_path / name / "tokenizer.json"
    same_size = 270 if name == "a" else 280
    BPETokenizer.train(["mo mu me " * 50] * 9, same_size).save(path)
    commands = [
        ["generate", folder, "--prompt", "la"],
        ["train", "--out", folder, "--resume"],
    ]
    refused(capsys, "tokenizer.json: another tokenizer", *commands)


def test_an_older_run_is_held_to_the_size_of_its_tokenizer(run, capsys):
    a, b = run("a"), run("b")
    card = json.loads((a / "run.json").read_text())
    del card["tokenizer_sha256"], card["data"]
    (a / "run.json").write_text(json.dumps(card))
    assert main(["generate", str(a), "--prompt", "la"]) == 0
    shutil.copy(b / "tokenizer.json", a)
    command = ["generate", a, "--prompt", "la"]
    refused(capsys, "tokenizer.json: the tokenizer has 280 tokens", command)
    (a / "tokenizer.json").unlink()
    refused(capsys, "tokenizer.json: no such file", command)


def test_a_run_of_bytes_does_not_use_a_tokenizer_beside_it(run, capsys):
    folder = run("byte")
    ask = ["generate", str(folder), "--prompt", "la", "--seed", "1"]
    assert main(ask) == 0
    said = capsys.readouterr().out
    shutil.copy(run("a") / "tokenizer.json", folder)
    assert main(ask) == 0
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("other", "says"), [("b", "other data"), ("seed", "other data")]
)
def test_weights_of_another_run(run, capsys, other, says):
    folder = run("a")
    name = "checkpoint.safetensors"
    shutil.copy(run(other) / name, folder / name)
    commands = [["generate", folder, "--prompt", "l"], ["evaluate", folder]]
    refused(capsys, says, *commands)
    minidiff.save(make(), folder / name)
    refused(capsys, "num_layers: got 2, expected 1", *commands)
    refused(capsys, "", ["train", "--out", folder, "--resume"])


def test_token_files_with_another_tokenizer(run, capsys):
    folder = run("tokens")
    shutil.copy(run("a") / "tokenizer.json", folder)
    out = folder.parent / "new"
    train = ["train", "--data", folder, "--out", out, *TINY]
    refused(capsys, "tokenizer.json: another tokenizer", train)
    assert not out.exists()
    (folder / "tokenizer.json").unlink()
    refused(capsys, "tokenizer.json: no such file", train)


def test_tokens_that_are_not_the_models(run, capsys):
    a, tokens = run("a"), run("tokens")
    command = ["evaluate", a, "--tokens", tokens]
    refused(capsys, "--tokens: ", command)
    file = a / "checkpoint.safetensors"
    command = ["evaluate", file, "--tokens", tokens]
    refused(capsys, "has 280 token ids, expected at most 270", command)
