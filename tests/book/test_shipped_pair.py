"""The files in book/weights are what the book says of them."""

import json
import platform
import sys
from functools import cache

import pytest
import torch
from committed import ROOT

from minidiff import course, load
from minidiff.data import (
    BPETokenizer,
    FewShotTask,
    NeedleTask,
)
from minidiff.data.protocol import IGNORE
from minidiff.evaluation.loss import ALL, document_losses

sys.path.insert(0, str(ROOT / "book" / "recipes"))

import pair_record

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
def test_the_models_have_the_recorded_loss_on_library_text(kind):
    """On the beginnings of files that neither was trained on."""
    path = ROOT / "book/results/low_bit_prefill_accuracy.json"
    record = json.loads(path.read_text())
    texts = [
        document
        for document in pair_record.beginnings(TOKENIZER)
        if document.path in record["documents"]
    ]
    length = record["text_length"]
    found = document_losses(shipped(kind), texts, length=length, batch_size=4)
    found = found["domains"][ALL]
    (exact,) = (
        cell["nats"]
        for cell in record["cells"]
        if cell["kind"] == kind and cell["precision"] is None
    )
    # Another Python has other versions of these files, and lacks a few.
    recorded_with = record["provenance"]["versions"]["python"].split(".")[:2]
    same = platform.python_version_tuple()[:2] == tuple(recorded_with)
    assert len(texts) == len(record["documents"]) or not same
    assert abs(found["nats"] - exact) < (0.01 if same else 0.2)
    assert found["bits_per_byte"] < 1.4


def test_the_licences_of_all_that_was_read_are_listed():
    path = course.weights("pair_licences.json")
    about = json.loads(path.read_text("utf-8"))
    used = [entry for entry in about["packages"] if entry["used"]]
    assert about["source"] == "evidence" and len(used) > 100
    assert all(entry["licence"] for entry in used)
