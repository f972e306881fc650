import json

import numpy as np
import pytest
from known_models import KINDS, leak, small

from minidiff import evaluate
from minidiff.data import NeedleTask, TokenDocument
from minidiff.evaluation.intervals import DocumentLoss, loss_interval
from minidiff.evaluation.recall import draw_questions, needle_grid
from minidiff.evaluation.suite import PARTS
from minidiff.evaluation.tables import tables

TASK = NeedleTask(needles=2, length=32, keys=4, values=4, noise=8)
SIZES = {"rows": 4, "windows": 3, "bits": (8, 2)}


def documents():
    random = np.random.default_rng(0)
    return [
        TokenDocument(domain, f"{i}", 90, random.integers(0, 20, 43))
        for domain in ("code", "prose")
        for i in range(3)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_one_record_holds_everything(kind):
    model = small(kind)
    record = evaluate(
        model,
        documents=documents(),
        counts=np.ones(20),
        tasks=needle_grid([2, 3], [1], [16, 32], keys=4, values=4, noise=8),
        **SIZES,
    )
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert set(PARTS) | {"causality"} == set(record["seconds"])
    assert record["parameters"] == model.num_parameters()
    assert record["model"]["attention"] == kind
    assert len(record["lam"]) == (2 if kind == "diff" else 0)
    assert {"commit", "versions"} <= set(record["provenance"])
    assert list(record["loss"]["domains"]) == ["code", "prose", "all"]
    assert record["loss"]["domains"]["all"]["tokens"] == 2 * 3 * 32
    cells = record["recall"]["cells"]
    assert [c["task"]["needles"] for c in cells] == [2, 2, 3, 3]
    effective = record["recall"]["effective"]
    assert [row["task"]["needles"] for row in effective] == [2, 3]
    assert effective[0]["longest"] == 32
    assert record["attention"]["answer"]["on_answer"]["heads"]
    assert record["attention"]["task"]["length"] == 16
    assert [row["bits"] for row in record["rounding"]] == [None, 8, 2]
    exact, fine, coarse = (r["text"]["nats"] for r in record["rounding"])
    assert exact == pytest.approx(fine, abs=1e-2) and exact != coarse
    # Written out or fused, on the same windows the loss is the same.
    text = tables(record)
    for title in ("loss in nats", "recall:", "largest", "rounded", "prose"):
        assert title in text, title
    assert max(map(len, text.splitlines())) < 140


def test_document_rows_serve_a_bootstrap():
    found = evaluate(
        small(), documents=documents(), parts=["loss"], windows=None
    )["loss"]
    rows = [DocumentLoss(*row) for row in found["documents"]]
    everything = found["domains"]["all"]
    assert [everything[k] for k in ("nats", "low", "high")] == pytest.approx(
        loss_interval(rows), rel=1e-4
    )


def test_parts_can_be_chosen():
    record = evaluate(
        small(), documents=documents(), parts=["activations"], **SIZES
    )
    assert set(record["seconds"]) == {"causality", "activations"}
    assert "loss" not in record and "largest" in tables(record)


def test_tasks_alone_are_enough():
    record = evaluate(small(), tasks=[TASK], **SIZES)
    assert "loss" not in record
    assert "text" not in record["attention"]
    assert set(record["rounding"][0]) == {"bits", "recall"}
    assert record["activations"]["tokens"] == 32
    assert record["recall"]["effective"] == []
    assert "needles, N=2 R=1" in tables(record)


@pytest.mark.parametrize(
    ("part", "rows"),
    [("recall", 4), ("attention", 1), ("activations", 1), ("rounding", 1)],
)
def test_every_part_asks_with_the_ids_from_first_on(part, rows):
    model, read = small(), []
    model.embedding.register_forward_hook(lambda m, x, out: read.extend(x))
    evaluate(model, tasks=[TASK], first=1, parts=[part], **SIZES)
    asked = draw_questions(TASK, model, rows, first=1).tokens
    assert any(np.array_equal(tokens, asked) for tokens in read)


def test_nothing_is_printed_of_a_model_that_sees_the_future():
    with pytest.raises(ValueError, match="sees the future"):
        evaluate(leak(small()), documents=documents(), parts=["activations"])


def test_what_is_asked_for_must_be_there():
    with pytest.raises(ValueError, match="documents, tasks: got neither"):
        evaluate(small())
    with pytest.raises(ValueError, match="parts: got 'los', expected"):
        evaluate(small(), tasks=[TASK], parts=["los"])
