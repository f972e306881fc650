"""The recorded caches of chapter 26, and the recipe that measures them."""

import hashlib
import json
import sys
from collections import Counter

import pytest
from committed import ROOT

from minidiff.evaluation.sparse_cache import FRACTIONS, MODES

sys.path.insert(0, str(ROOT / "book" / "recipes"))

import pair_record
import sparse_caches

RECORD = ROOT / "book/results/sparse_caches.json"


def test_the_record_is_of_the_shipped_weights():
    for name, digest in json.loads(RECORD.read_text())["weights"].items():
        weights = (ROOT / "book/weights" / name).read_bytes()
        assert digest == hashlib.sha256(weights).hexdigest(), (
            f"{name} has changed: run book/recipes/sparse_caches.py again"
        )


def test_every_cell_was_measured():
    assert_complete(json.loads(RECORD.read_text()))


@pytest.mark.slow
def test_the_recipe_measures_every_cell(tmp_path):
    out = tmp_path / "record.json"
    sparse_caches.main(["--rows", "1", "--documents", "1", "--out", str(out)])
    assert_complete(json.loads(out.read_text()))


def assert_complete(record):
    found = Counter(
        tuple(
            cell.get(name)
            for name in (
                *("kind", "measure", "denominators", "score", "mode"),
                "fraction",
            )
        )
        for cell in record["cells"]
    )
    expected = {
        (kind, *where, score, mode, share)
        for kind in pair_record.KINDS
        for score in sparse_caches.all_scores(kind)
        for measure, modes in (("lookup", MODES), ("text", (None,)))
        for mode in modes
        for where, shares in (
            ((measure, "kept keys"), FRACTIONS),
            ((measure, "all keys"), FRACTIONS[1:]),
        )
        for share in shares
    }
    assert set(found) == expected
    assert set(found.values()) == {1}
    for cell in record["cells"]:
        if cell["measure"] == "text":
            assert len(cell["nats_by_document"]) == len(record["documents"])


def test_texts_are_long_enough_and_too_many_are_refused(monkeypatch):
    class Words:
        vocab_size = 300

        def encode(self, text):
            return list(text.encode())

        def decode(self, ids):
            return bytes(ids).decode(errors="replace")

    documents = pair_record.text_documents(Words(), 3)
    assert len({d.path for d in documents}) == 3
    assert {len(d.ids) for d in documents} == {2 * 512 + 1}
    with pytest.raises(ValueError, match="--documents: got 99999, expected"):
        pair_record.text_documents(Words(), 99999)
