"""Odd sizes, texts and descriptions of data are refused by name."""

import json
import math

import numpy as np
import pytest
from tiny_models import make

from minidiff import evaluate
from minidiff.data import (
    BPETokenizer,
    ByteTokenizer,
    NeedleTask,
    TextData,
    TokenData,
    write_tokens,
)
from minidiff.data.mqar import MQARTask
from minidiff.data.token_documents import TokenDocument
from minidiff.evaluation.loss import document_losses
from minidiff.evaluation.recall import recall
from minidiff.files.json import parse_json, read_json, write_json
from minidiff.files.schema import anything

TEXTS = [("train", "abc" * 20), ("valid", "abd" * 20)]
IDS = [1, 2, 3, 4] * 9


@pytest.fixture
def tokens(tmp_path):
    write_tokens(tmp_path / "t", TEXTS, ByteTokenizer(), about={})
    return tmp_path / "t"


def text_data(**options):
    given = {"length": 8} | options
    return TextData(IDS, IDS, vocab_size=9, **given)


@pytest.mark.parametrize("value", [8.0, 2.5, "8", None, True])
@pytest.mark.parametrize("name", ["length", "seed", "batch_size"])
@pytest.mark.parametrize("kind", ["text", "tokens", "needles", "mqar"])
def test_a_size_that_is_no_whole_number(kind, name, value, tokens):
    """512 / 2 is 256.0: it failed later, inside NumPy."""
    make = {
        "text": text_data,
        "tokens": lambda **o: TokenData(tokens, **{"length": 8} | o),
        "needles": NeedleTask,
        "mqar": MQARTask,
    }[kind]
    kind_of = type(value).__name__
    with pytest.raises(TypeError, match=f"{name}: got {kind_of}, expected an"):
        if name == "batch_size":
            make().batch(0, value)
        else:
            make(**{name: value})


@pytest.mark.parametrize("value", [0, -3, 2.5, "all", True])
@pytest.mark.parametrize("name", ["rows", "batch_size", "length", "windows"])
def test_a_size_of_an_evaluation(name, value):
    """length=0 measured with the model's window, and said so nowhere."""
    model = make(vocab_size=256, max_length=64)
    given = {"tasks": [NeedleTask()], "rows": 2, "parts": ["recall"]}
    with pytest.raises((ValueError, TypeError), match=f"{name}: got .* >= 1"):
        evaluate(model, **given | {name: value})
    text = TokenDocument("a", "a", 40, np.arange(40))
    if name in ("batch_size", "length"):
        with pytest.raises((ValueError, TypeError), match=f"{name}: got"):
            document_losses(model, [text], **{name: value})
    if name in ("rows", "batch_size"):
        with pytest.raises((ValueError, TypeError), match=f"{name}: got"):
            recall(model, NeedleTask(), **{name: value})


def test_sizes_of_numpy_are_taken():
    data = text_data(length=np.int64(8), seed=np.int32(1))
    assert data.batch(0, np.int64(2))[0].shape == (2, 8)


def test_a_text_is_not_several_texts():
    """Its letters would be: a tokenizer of bytes alone, without an error."""
    with pytest.raises(TypeError, match="texts: got str, expected several"):
        BPETokenizer.train("hello hello hello", 300)


@pytest.mark.parametrize("value", [np.int64(3), math.nan, {1}, b"x"])
def test_what_a_card_cannot_hold_is_refused_first(value, tmp_path):
    """Before the texts are read, which takes hours where they are many."""

    def texts():
        raise AssertionError("was read")
        yield

    with pytest.raises(ValueError, match="about: got what JSON cannot hold"):
        write_tokens(
            tmp_path / "t", texts(), ByteTokenizer(), about={"n": value}
        )
    assert not list(tmp_path.iterdir())


def test_a_record_with_nan_can_be_read(tmp_path):
    path = tmp_path / "r.json"
    value = {"a": math.nan, "b": [math.inf, 1.5, {"c": -math.inf}], "d": (1,)}
    write_json(path, value)
    want = {"a": None, "b": [None, 1.5, {"c": None}], "d": [1]}
    assert read_json(path, anything, "a record") == want
    assert math.isnan(value["a"])


@pytest.mark.parametrize(
    "text", ['{"a": 1, "b": 2, "a": 3}', '[{"x": {"a": 1, "a": 1}}]']
)
def test_a_key_that_comes_twice_is_refused(text):
    """One of the two would be taken, and other programs take the other."""
    with pytest.raises(ValueError, match="the key 'a' comes twice"):
        parse_json(text, anything, "f", "an object")
    assert json.loads(text)
