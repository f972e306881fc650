"""The recipe of the course's first pair, tried whole and tiny."""

import json
import subprocess
import sys
from math import log

import pytest
import torch
from committed import ROOT

import minidiff
from minidiff.data import BPETokenizer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the commands leave behind."""
    folder = tmp_path_factory.mktemp("pair")
    recipe = ROOT / "book" / "recipes" / "train_pair.py"
    for kind in (["softmax"], ["diff"], ["diff", "--seed", "1"]):
        done = subprocess.run(
            [sys.executable, recipe, *kind, "--quick", "--out", folder],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    return folder


def record(made, kind, seed=0):
    path = made / f"train_pair_{kind}_seed{seed}.json"
    return json.loads(path.read_text())


def test_the_pair_is_matched(made):
    plain, diff = (record(made, kind) for kind in ("softmax", "diff"))
    D = plain["model"]["embed_dim"] // plain["model"]["num_heads"]
    assert diff["parameters"] - plain["parameters"] == 6 * D
    assert diff["data"] == plain["data"] and diff["config"] == plain["config"]
    del plain["model"]["attention"], diff["model"]["attention"]
    assert diff["model"] == plain["model"]


@pytest.mark.parametrize("kind", ["softmax", "diff"])
def test_the_weights_load_and_are_those_that_were_measured(made, kind):
    path = made / f"{kind}_seed0.safetensors"
    model = minidiff.load(path)
    assert model.config.attention == kind
    assert path.stat().st_size < 2.2 * model.num_parameters() + 10_000
    tokenizer = BPETokenizer.load(made / "tokens" / "tokenizer.json")
    tokens = torch.tensor([tokenizer.encode("import os")])
    ids = tokenizer.vocab_size + 256
    assert model(tokens).shape[-1] == ids
    said = record(made, kind)
    assert said["provenance"]["command"].endswith(f"--quick --out {made}")
    assert len(said["curve"]) == 6
    # After six steps it guesses among all tokens, on both kinds of rows.
    for part in ("text", "recall"):
        assert said["shipped"][part]["loss"] == pytest.approx(
            log(ids), abs=0.3
        )


def test_another_seed_is_another_run(made):
    first, second = (record(made, "diff", seed) for seed in (0, 1))
    assert (first.pop("seed"), second.pop("seed")) == (0, 1)
    assert first["model"] == second["model"]
    losses = [[c["loss"] for c in r["curve"]] for r in (first, second)]
    assert losses[0] != losses[1]


def test_how_much_text_was_read(made):
    text = record(made, "diff")["text"]
    rows, left = divmod(text["text_tokens_read"], 64)
    assert left == 0 and 24 < rows < 44  # 36 of 48 rows, give or take
    windows = (text["train_tokens"] - 1) // 64
    assert text["epochs"] == pytest.approx(48 / windows, abs=1e-4)


def test_everything_that_was_read_is_listed(made):
    about = json.loads((made / "tokens" / "tokens.json").read_text())["about"]
    (library,) = about["packages"]
    assert library["licence"] == "PSF-2.0" and library["files"] == 50
