"""The recipe of the shipped pair, tried whole and tiny."""

import json
import subprocess
import sys

import pytest
import torch
from committed import ROOT

import minidiff
from minidiff.data import BPETokenizer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What both commands leave behind."""
    folder = tmp_path_factory.mktemp("pair")
    for kind in ("softmax", "diff"):
        recipe = ROOT / "book" / "recipes" / "train_pair.py"
        done = subprocess.run(
            [sys.executable, recipe, kind, "--quick", folder],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    return folder


def record(made, kind):
    path = made / "results" / f"train_pair_{kind}.json"
    return json.loads(path.read_text())


def test_the_pair_is_matched(made):
    plain, diff = (record(made, kind) for kind in ("softmax", "diff"))
    D = 32 // 16
    assert diff["parameters"] - plain["parameters"] == 6 * D
    assert diff["data"] == plain["data"] and diff["config"] == plain["config"]
    del plain["model"]["attention"], diff["model"]["attention"]
    assert diff["model"] == plain["model"]


@pytest.mark.parametrize("kind", ["softmax", "diff"])
def test_the_weights_load_and_are_those_that_were_measured(made, kind):
    path = made / "weights" / f"pair_{kind}.safetensors"
    model = minidiff.load(path)
    assert model.config.attention == kind
    assert path.stat().st_size < 2.2 * model.num_parameters() + 10_000
    tokenizer = BPETokenizer.load(made / "weights" / "pair_tokenizer.json")
    tokens = torch.tensor([tokenizer.encode("import os")])
    assert model(tokens).shape[-1] == tokenizer.vocab_size + 256
    said = record(made, kind)
    assert said["provenance"]["command"].endswith(f"--quick {made}")
    assert len(said["curve"]) == 6
    # After six steps it guesses among all tokens, on both kinds of rows.
    for part in ("text", "recall"):
        assert said["shipped"][part]["loss"] == pytest.approx(7.7, abs=0.4)


def test_everything_that_was_read_is_listed(made):
    path = made / "weights" / "pair_licences.json"
    (library,) = json.loads(path.read_text())["packages"]
    assert library["licence"] == "PSF-2.0" and library["files"] == 50


def test_the_shipped_models_stay_small():
    """The full size by formula: at most 8 MB as bfloat16."""
    sys.path.insert(0, str(ROOT / "book" / "recipes"))
    from train_pair import FULL, MOST_BYTES, VOCAB

    from minidiff.model import ModelConfig, count_parameters

    for kind in ("softmax", "diff"):
        vocab = VOCAB + FULL.needles.vocab_size
        config = ModelConfig(**FULL.model, vocab_size=vocab, attention=kind)
        assert 2 * count_parameters(config) < MOST_BYTES - 20_000
