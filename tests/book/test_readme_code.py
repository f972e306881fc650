"""The README's Python is run, block by block, in the order of a reader."""

import importlib.util
import re
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest
import torch
from committed import ROOT
from conftest import need

from minidiff.cli import main

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
TINY = "--width 16 --layers 1 --heads 2 --steps 2 --batch-size 2"


def block(word: str) -> str:
    """The one block of the README that has ``word``."""
    (found,) = (text for text in BLOCKS if word in text)
    return found


def run(text: str) -> dict[str, Any]:
    """Run a block by itself; return its names."""
    names: dict[str, Any] = {}
    exec(text, names)
    return names


@pytest.fixture(scope="module")
def llama() -> Any:
    """A Llama whose attention was swapped, as the README does it."""
    need(importlib.util.find_spec("transformers"), "transformers is missing")
    torch.manual_seed(0)
    return run(block("LlamaForCausalLM"))["llama"]


def test_every_block_is_run_here():
    words = ("diff_attention(q", "LlamaFor", "load_tokenizer(", "save_diffl")
    assert {block(word) for word in words} == set(BLOCKS)


def test_attend():
    assert run(block("diff_attention(q"))["out"].shape == (1, 4, 128, 128)


def test_a_swapped_llama_sees_the_past_in_order_and_only_that(llama):
    tokens = torch.randint(0, 1024, (2, 12))
    later, swapped = tokens.clone(), tokens.clone()
    later[:, 8:] = 5
    swapped[:, [1, 2]] = tokens[:, [2, 1]]
    with torch.no_grad():
        logits, after, other = (
            llama(x).logits for x in (tokens, later, swapped)
        )
    torch.testing.assert_close(logits[:, :8], after[:, :8])
    assert (logits[:, 8:] - after[:, 8:]).abs().max() > 1e-3
    assert (logits[:, 8] - other[:, 8]).abs().max() > 1e-5


def test_a_swapped_llama_has_one_lambda_a_layer_and_trains(llama):
    starts = [layer.self_attn.lam_init for layer in llama.model.layers]
    assert starts == sorted(set(starts)) and len(starts) == 4
    tokens = torch.randint(0, 1024, (2, 12))
    llama(tokens, labels=tokens).loss.backward()
    for name, parameter in llama.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_swapped_angles_are_those_of_the_llama(monkeypatch):
    """Neighbours share an angle with us, halves with Hugging Face."""
    need(importlib.util.find_spec("transformers"), "transformers is missing")
    from minidiff import MultiheadDiffAttention
    from minidiff.nn.layers import rope_angles

    llama = run(block("LlamaForCausalLM"))["llama"]
    x, places = torch.zeros(1, 6, 256), torch.arange(6)[None]
    taken = {}

    def forward(self, x, **given):
        taken.update(given)
        return x

    monkeypatch.setattr(MultiheadDiffAttention, "forward", forward)
    llama.model.layers[0](
        x, position_embeddings=llama.model.rotary_emb(x, places)
    )
    for mine, want in zip(taken["rope"], rope_angles(6, 32), strict=True):
        torch.testing.assert_close(mine, want[:6])


def test_train_generate_and_convert(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("def mean(x): " * 200)
    train = ["train", "--data", "text.txt", "--out", "runs/code"]
    assert main([*train, *TINY.split()]) == 0
    said = StringIO()
    with redirect_stdout(said):
        run(block("load_tokenizer("))
    assert said.getvalue().startswith("def mean(")
    assert run(block("save_diffl"))["model"].num_parameters() > 0
