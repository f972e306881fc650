"""The languages that chapter 21 asks about were kept for validation."""

import json

import pytest
from committed import ROOT

from minidiff.data import BPETokenizer
from minidiff.data.corpus import is_held_out
from minidiff.data.snippets import VALID_FRACTION

WEIGHTS = ROOT / "book" / "weights"
TEXTS = json.loads((WEIGHTS / "eight_languages.json").read_text("utf-8"))
LANGUAGES = TEXTS["languages"]
TOKENIZERS = sorted(WEIGHTS.glob("*_tokenizer.json"))
each = pytest.mark.parametrize("language", LANGUAGES, ids=lambda x: x["code"])


@each
def test_no_training_row_has_it(language):
    assert is_held_out(language["code"], VALID_FRACTION)


@each
@pytest.mark.parametrize("path", TOKENIZERS, ids=lambda p: p.stem)
def test_there_are_snippets_for_all_questions(language, path):
    ids = BPETokenizer.load(path).encode(language["text"])
    # 3 demonstrations, and 8 questions when the reader asks 64
    assert len(ids) // 15 >= 3 + 8


def test_each_is_another_language_and_has_a_licence():
    assert len({x["code"] for x in LANGUAGES}) == len(LANGUAGES) == 8
    assert len({x["text"] for x in LANGUAGES}) == 8
    assert TEXTS["licence"] == "MIT" and "Copyright" in TEXTS["notice"]
