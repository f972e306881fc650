import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import minidiff.files.tensors
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM
from minidiff.training.checkpoint import (
    load,
    load_checkpoint,
    save,
    save_checkpoint,
)


def make(**changes):
    sizes = {"vocab_size": 16, "embed_dim": 16, "num_layers": 1}
    sizes |= {"num_heads": 2, "max_length": 8}
    return DecoderLM(ModelConfig(**(sizes | changes)))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.safetensors"
    save(make(), path)
    return path


def rewrite(path, tensors=None, **changes):
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() | changes
    save_file(load_file(path) if tensors is None else tensors, path, metadata)


@pytest.mark.parametrize("attention", ["softmax", "diff", "diff_v2"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_loaded_model_computes_the_same(tmp_path, attention, tied):
    model = make(attention=attention, tie_embeddings=tied)
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    tokens = torch.arange(8)[None]
    assert again.config == model.config
    assert torch.equal(again(tokens), model(tokens))
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_every_number_is_stored_once(file):
    stored = sum(t.numel() for t in load_file(file).values())
    assert stored == make().num_parameters()
    assert all(name.startswith("model.") for name in load_file(file))


def test_bfloat16_weights_are_computed_with_in_float32(tmp_path):
    model = make().bfloat16()
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    for a, b in zip(again.parameters(), model.parameters(), strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, b.float())


def test_a_run_folder_can_be_loaded(tmp_path):
    save(make(), tmp_path / "checkpoint.safetensors")
    assert load(tmp_path).config == make().config


def test_train_state_and_optimizer_come_back(tmp_path):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, make(), {"a.step": torch.tensor(3.0)}, {"step": 3})
    checkpoint = load_checkpoint(path)
    assert checkpoint.train == {"step": 3}
    assert checkpoint.optimizer["a.step"] == 3


def test_a_failed_write_leaves_the_old_file(file, monkeypatch):
    before = file.read_bytes()

    def fail(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(minidiff.files.tensors, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save(make(), file)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_named(file, share):
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"model\.safetensors: cut short"):
        load(file)


def test_foreign_files_are_named(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not a checkpoint, but long enough to be one " * 20)
    with pytest.raises(ValueError, match=r"notes\.txt: .*not a safetensors"):
        load(text)
    other = tmp_path / "other.safetensors"
    save_file({"w": torch.zeros(2)}, other)
    with pytest.raises(ValueError, match=r"other.*of another program"):
        load(other)
    with pytest.raises(ValueError, match=r"none\.safetensors: no such file"):
        load(tmp_path / "none.safetensors")


def test_another_version_is_named(file):
    rewrite(file, version="7")
    with pytest.raises(ValueError, match=r"version '7' .*expected '1'"):
        load(file)


@pytest.mark.parametrize("text", ["{", json.dumps({"colour": 1})])
def test_a_broken_config_is_named(file, text):
    rewrite(file, model=text)
    with pytest.raises(ValueError, match="model or train entry"):
        load(file)


def test_wrong_tensors_are_named(file):
    tensors = load_file(file)
    name = "model.norm.weight"
    rewrite(file, tensors | {name: torch.zeros(3)})
    with pytest.raises(ValueError, match=rf"{name} has shape \(3,\)"):
        load(file)
    rewrite(file, {n: t for n, t in tensors.items() if n != name})
    with pytest.raises(ValueError, match=f"{name} is missing"):
        load(file)
    rewrite(file, tensors | {"model.more": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"model\.more is not of this"):
        load(file)
