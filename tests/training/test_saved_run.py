"""A run's folder is all that it takes to use its model."""

import json

import pytest
import torch

from minidiff import generate, load, load_tokenizer
from minidiff.cli import main
from minidiff.data import BPETokenizer, ByteTokenizer

TINY = "--width 16 --layers 1 --heads 2 --steps 2 --batch-size 2 --length 24"


@pytest.fixture(params=["byte", "bpe"])
def run(request, tmp_path):
    """A run on text; chapter 15 saves the same files, without data."""
    text, folder = tmp_path / "text.txt", tmp_path / "run"
    text.write_text("la li lu, " * 300)
    how = ["--tokenizer", request.param, "--vocab-size", "260"]
    words = ["train", "--data", str(text), "--out", str(folder), *how]
    assert main([*words, *TINY.split()]) == 0
    return folder


def test_a_folder_gives_the_model_and_its_tokenizer(run):
    model, tokenizer = load(run), load_tokenizer(run)
    assert tokenizer.vocab_size == model.config.vocab_size
    row = torch.tensor([tokenizer.encode("la li")])
    row = generate(model, row, max_new_tokens=30, seed=0, slide=True)
    assert tokenizer.decode(row[0].tolist()).startswith("la li")
    kind = BPETokenizer if (run / "tokenizer.json").exists() else ByteTokenizer
    assert type(tokenizer) is kind


def test_a_card_without_the_tokenizers_hash_is_enough(run):
    card = json.loads((run / "run.json").read_text())
    del card["tokenizer_sha256"], card["data"]  # as chapter 15 saves it
    (run / "run.json").write_text(json.dumps(card))
    assert load_tokenizer(run).encode("la")


def test_a_tokenizers_file_is_read_too(tmp_path):
    trained = BPETokenizer.train(["la li lu"], 258)
    trained.save(tmp_path / "tokenizer.json")
    found = load_tokenizer(tmp_path / "tokenizer.json")
    assert found.sha256 == trained.sha256


def test_what_has_no_tokenizer_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"path: .*run.json does not exist"):
        load_tokenizer(tmp_path)
    needles = ["train", "--data", "needles", "--out", str(tmp_path / "run")]
    assert main([*needles, *TINY.split()]) == 0
    with pytest.raises(ValueError, match=r"path: .*trained on needles"):
        load_tokenizer(tmp_path / "run")
