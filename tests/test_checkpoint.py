"""Checkpoints: whole or not at all, and refused clearly when foreign."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import minidiff
from minidiff.checkpoint import load_checkpoint
from tests import small


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "model.safetensors"
    minidiff.save(small.model(), file)
    return file


@pytest.mark.parametrize("attention", ["softmax", "diff", "diff_v2"])
def test_there_and_back(tmp_path, attention):
    model = small.model(attention)
    minidiff.save(model, tmp_path / "m.safetensors")
    loaded = minidiff.load(tmp_path / "m.safetensors")
    assert loaded.config == model.config
    x = torch.randint(0, 16, (2, 9))
    assert torch.equal(loaded(x), model(x))
    assert not list(tmp_path.glob("*.part"))


def test_tied_weights_are_stored_once(path):
    names = load_file(path)
    assert "model.embedding.weight" in names
    assert not any("head" in name.split(".") for name in names)


def test_a_failed_write_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr("minidiff.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space"):
        minidiff.save(small.model(seed=1), path)
    assert path.read_bytes() == before


def rewritten(path, metadata=None, drop=None, reshape=None):
    tensors = load_file(path)
    saved = {
        "format": "minidiff",
        "version": "1",
        "model": json.dumps(small.model().config.to_dict()),
        "train": "{}",
    }
    if drop:
        del tensors[drop]
    if reshape:
        tensors[reshape] = tensors[reshape][:1].contiguous()
    save_file(tensors, path, saved | (metadata or {}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:-9]), "cut short or not"),
        (lambda p: p.write_bytes(p.read_bytes()[:99]), "cut short or not"),
        (lambda p: p.write_bytes(b""), "cut short or not"),
        (lambda p: p.write_text("hello, this is a text"), "cut short or not"),
        (lambda p: p.unlink(), "no such file"),
        (lambda p: save_file({"a": torch.ones(1)}, p), "another program"),
        (lambda p: rewritten(p, {"version": "9"}), "version '9'"),
        (lambda p: rewritten(p, {"model": "{}}"}), "model or train entry"),
        (
            lambda p: rewritten(p, {"model": '{"wings": 2}'}),
            "unknown wings",
        ),
        (
            lambda p: rewritten(p, drop="model.norm.weight"),
            "tensor model.norm.weight is missing",
        ),
        (
            lambda p: rewritten(p, reshape="model.embedding.weight"),
            r"shape \(1, 16\), expected \(16, 16\)",
        ),
    ],
)
def test_a_damaged_file_is_refused(path, damage, message):
    damage(path)
    with pytest.raises(ValueError, match=message) as error:
        minidiff.load(path)
    assert path.name in str(error.value)


def test_what_a_checkpoint_holds(path):
    checkpoint = load_checkpoint(path)
    assert checkpoint.config == small.model().config
    assert checkpoint.optimizer == {} and checkpoint.train == {}
