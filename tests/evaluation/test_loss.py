from itertools import pairwise
from math import exp, log

import numpy as np
import pytest
import torch
from known_models import small, successor, uniform

from minidiff.data import TokenDocument
from minidiff.evaluation.loss import (
    document_losses,
    position_edges,
    repeats,
    text_windows,
)

UP = np.arange(32)


def document(path, ids, domain="code", size=None):
    ids = np.asarray(ids)
    return TokenDocument(domain, path, size or len(ids), ids)


def test_a_uniform_model_needs_8_bits_for_a_byte():
    ids = np.random.default_rng(0).integers(0, 256, 100)
    found = document_losses(uniform(), [document("a", ids)])
    for domain in found["domains"].values():
        assert domain["tokens"] == domain["bytes"] == 99
        assert domain["nats"] == pytest.approx(log(256))
        assert domain["bits_per_byte"] == pytest.approx(8)
        assert domain["low"] is None


def test_bytes_are_the_documents_own():
    found = document_losses(uniform(), [document("a", UP, size=64)])
    assert found["domains"]["all"]["bytes"] == 62  # all but the first token's
    assert found["domains"]["all"]["bits_per_byte"] == pytest.approx(4)


def test_each_token_counts_for_its_document_and_domain():
    c = 2.0
    right = log(1 + 31 * exp(-c))  # nats where the successor follows
    wrong = right + c
    found = document_losses(
        successor(logit=c),
        [
            document("up", UP),
            document("down", UP[::-1]),
            document("again", UP, "prose"),
        ],
        length=8,
    )
    rows = [(d.path, d.tokens, d.right) for d in found["documents"]]
    # "down" begins with 31 after 31; only what is in it is its own.
    assert rows == [("up", 31, 31), ("down", 32, 0), ("again", 31, 31)]
    up, down, again = (d.nats for d in found["documents"])
    assert up == pytest.approx(31 * right, rel=1e-3)
    assert down == pytest.approx(32 * wrong, rel=1e-3)
    domains = found["domains"]
    assert list(domains) == ["code", "prose", "all"]
    assert domains["prose"]["nats"] == pytest.approx(right, rel=1e-3)
    assert domains["prose"]["accuracy"] == 1
    for name, number in (("code", 63), ("prose", 31), ("all", 94)):
        assert domains[name]["by_position"][0]["tokens"] == number
        # No pair comes twice in a window.
        assert domains[name]["other"]["tokens"] == number
        assert domains[name]["repeated"] == {"tokens": 0, "nats": None}
    assert domains["code"]["accuracy"] == pytest.approx(31 / 63)
    assert domains["all"]["nats"] == pytest.approx((up + down + again) / 94)
    assert domains["code"]["low"] < domains["code"]["nats"]


def test_positions_and_repeats_sum_to_the_whole():
    ids = np.random.default_rng(0).integers(0, 5, 150)
    model = small(max_length=64)
    whole = document_losses(model, [document("a", ids)])["domains"]["all"]
    rows = whole["by_position"]
    assert [(r["first"], r["last"]) for r in rows] == [(0, 31), (32, 63)]
    assert [r["tokens"] for r in rows] == [64 + 21, 64]
    for parts in (rows, (whole["repeated"], whole["other"])):
        assert sum(p["tokens"] for p in parts) == 149
        total = sum(p["tokens"] * p["nats"] for p in parts)
        assert total / 149 == pytest.approx(whole["nats"])
    assert whole["by_frequency"] is None


def test_a_position_is_its_place_in_the_window():
    # The successor follows in the first half of each window only.
    ids = np.concatenate([[*range(33), *range(30, -2, -1)]] * 2) % 64
    found = document_losses(
        successor(64, max_length=64), [document("a", ids[:65])]
    )
    early, late = found["domains"]["all"]["by_position"]
    assert early["nats"] < late["nats"] - 1.9


def test_frequency_is_that_of_the_target():
    counts = np.ones(32)
    counts[31] = 1000  # the last target, and never an input
    found = document_losses(successor(), [document("a", UP)], counts=counts)
    rows = found["domains"]["all"]["by_frequency"]
    assert [row["tokens"] for row in rows] == [30, *[0] * 4, 1, *[0] * 4]


def test_repeated_pairs():
    row = torch.tensor([[7, 8, 9, 7, 8, 5, 8, 9]])
    found = repeats(row[:, :-1], row[:, 1:])
    assert found.int().tolist() == [[0, 0, 0, 1, 0, 0, 1]]


def test_repeated_pairs_of_a_long_row():
    row = np.random.default_rng(0).integers(0, 5, 300).tolist()
    pairs = list(pairwise(row))
    expected = [pair in pairs[:i] for i, pair in enumerate(pairs)]
    row = torch.tensor([row])
    assert repeats(row[:, :-1], row[:, 1:])[0].tolist() == expected


def test_bins_double():
    assert position_edges(32) == [0, 32]
    assert position_edges(100) == [0, 32, 64, 100]


def test_windows_go_through_a_domain_without_a_gap():
    documents = [document("a", [1, 2, 3]), document("b", [4, 5, 6])]
    inputs, targets, owners = text_windows(documents, 3)
    assert inputs.tolist() == [[1, 2, 3], [4, 5, 0]]
    assert targets.tolist() == [[2, 3, 4], [5, 6, -100]]
    assert owners.tolist() == [[0, 0, 1], [1, 1, 0]]


def test_some_windows_are_a_part_of_all():
    documents = [document("a", np.arange(65)), document("b", UP, "prose")]
    every = text_windows(documents, 8)[0].tolist()
    some = text_windows(documents, 8, 3)[0].tolist()
    assert len(every) == 8 + 4 and len(some) == 6
    assert all(row in every for row in some)
    assert len({tuple(row) for row in some}) == 6
    found = document_losses(successor(128), documents, length=8, windows=3)
    a = found["documents"][0]
    assert a.tokens == 24 and a.size == 24


def test_what_cannot_be_measured_is_said():
    with pytest.raises(ValueError, match="documents: got none"):
        document_losses(small(), [])
    with pytest.raises(ValueError, match=r"got token id 40, .*vocab_size 40"):
        document_losses(small(), [document("a", [1, 40])])
    with pytest.raises(ValueError, match="windows: got 0"):
        document_losses(small(), [document("a", [1, 4])], windows=0)
    with pytest.raises(ValueError, match="got 1 tokens of code"):
        document_losses(small(), [document("a", [1])])
