"""The files in book/weights are what the book says of them."""

import json
from functools import cache

import pytest
import torch
from committed import ROOT

from minidiff import course, load
from minidiff.data import (
    BPETokenizer,
    FewShotTask,
    NeedleTask,
    standard_library,
)
from minidiff.data.protocol import IGNORE
from minidiff.data.token_documents import encode_documents
from minidiff.evaluation.loss import ALL, document_losses

KINDS = {"softmax": "plain", "diff": "diff"}  # names of files and record
RECORD = json.loads((ROOT / "book/results/pair.json").read_text())
TOKENIZER = BPETokenizer.load(course.weights("pair_tokenizer.json"))


def recorded(kind):
    """The record's row of the shipped seed: the first that looks keys up."""
    by_kind = {j["job"]["kind"]: j["rows"] for j in RECORD["jobs"]}
    pairs = zip(*(by_kind[name] for name in KINDS.values()), strict=True)
    pair = next(p for p in pairs if min(r["lookup"] for r in p) >= 0.9)
    assert pair[0]["seed"] == pair[1]["seed"]
    return pair[list(KINDS).index(kind)]


@cache
def shipped(kind):
    return load(course.weights(f"pair_{kind}.safetensors"))


@pytest.mark.parametrize("kind", KINDS)
def test_each_model_is_one_of_the_record(kind):
    model = shipped(kind)
    assert model.config.to_dict() == RECORD["kinds"][KINDS[kind]]
    (job,) = (j for j in RECORD["jobs"] if j["job"]["kind"] == KINDS[kind])
    assert {r["parameters"] for r in job["rows"]} == {model.num_parameters()}
    size = course.weights(f"pair_{kind}.safetensors").stat().st_size
    assert 0 < size - 2 * model.num_parameters() < 10_000  # bfloat16


def test_the_ids_of_the_text_come_before_those_of_the_tasks():
    data, first = RECORD["data"]["short"], TOKENIZER.vocab_size
    assert data["text"]["vocab_size"] == data["needles"]["first"] == first
    first += NeedleTask().vocab_size
    assert data["few_shot"]["first"] == first
    first += FewShotTask().vocab_size
    assert {shipped(kind).config.vocab_size for kind in KINDS} == {first}


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_models_look_keys_up(kind):
    # A seed that no model was trained with; validation rows have no seed.
    task = NeedleTask(needles=8, questions=8, length=512, seed=2026)
    inputs, targets = task.batch(0, 8)
    asked = targets != IGNORE
    logits = shipped(kind)(inputs + TOKENIZER.vocab_size)[asked]
    right = logits.argmax(-1) == targets[asked] + TOKENIZER.vocab_size
    assert right.double().mean() > 0.9
    assert abs(right.double().mean() - recorded(kind)["lookup"]) < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_the_models_need_few_bits_for_library_text(kind):
    """Both need about a bit and a quarter per byte."""
    texts = encode_documents(standard_library().valid, TOKENIZER, "library")
    found = document_losses(
        shipped(kind), texts, length=512, windows=24, batch_size=4
    )
    assert found["domains"][ALL]["bits_per_byte"] < 1.4


def test_the_licences_of_all_that_was_read_are_listed():
    path = course.weights("pair_licences.json")
    about = json.loads(path.read_text("utf-8"))
    used = [entry for entry in about["packages"] if entry["used"]]
    assert about["source"] == "evidence" and len(used) > 100
    assert all(entry["licence"] for entry in used)
