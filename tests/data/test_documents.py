"""Documents and domains in token files; held-out domains apart."""

import json

import pytest

from minidiff.data import (
    ByteTokenizer,
    Corpus,
    Document,
    Piece,
    TokenData,
    encode_documents,
    read_documents,
    read_held_out,
    token_counts,
    write_tokens,
)

PIECES = [
    Piece("novel", "whale", "novel", "chapter 1"),
    Piece("valid", "héllo", "speech", "1790"),
    Piece("valid", "def", "code", "a.py"),
    Piece("train", "world", "speech", "1791"),
    Piece("train", "pass", "code", "b.py"),
    Piece("novel", "ship", "novel", "chapter 2"),
]


def build(folder, pieces):
    return write_tokens(
        folder, pieces, ByteTokenizer(), about={}, progress=False
    )


def text(document):
    return bytes(document.ids.astype("u1")).decode()


@pytest.fixture
def folder(tmp_path):
    build(tmp_path / "t", PIECES)
    return tmp_path / "t"


def test_each_measured_document_is_found_again(folder):
    found = list(read_documents(folder))
    assert [(d.domain, d.path, text(d), d.size) for d in found] == [
        ("speech", "1790", "héllo\n\n", 8),
        ("code", "a.py", "def\n\n", 5),
    ]
    novel = list(read_documents(folder, "novel"))
    assert [text(d) for d in novel] == ["whale\n\n", "ship\n\n"]


def test_the_card_counts_by_domain_and_side(folder):
    card = TokenData(folder, length=4).card
    assert card["domains"]["speech"] == {
        "valid": {"documents": 1, "characters": 5, "bytes": 8, "tokens": 8},
        "train": {"documents": 1, "characters": 5, "bytes": 7, "tokens": 7},
    }
    assert card["train"]["tokens"] == 13 and card["valid"]["tokens"] == 13
    assert list(card["held_out"]) == ["novel"]
    assert card["held_out"]["novel"]["tokens"] == 13
    assert (folder / "train.tokens").read_bytes()[::2] == (
        b"world\n\npass\n\n"
    )


def test_folders_without_domains_are_as_before(tmp_path):
    pairs = [piece[:2] for piece in PIECES if piece.side != "novel"]
    card = build(tmp_path / "t", pairs)
    assert "domains" not in card and "held_out" not in card
    names = {p.name for p in (tmp_path / "t").iterdir()}
    assert names == {"tokens.json", "train.tokens", "valid.tokens"}
    assert TokenData(tmp_path / "t", length=4).size("train") == 13
    with pytest.raises(ValueError, match=r"documents\.json: no such file"):
        next(read_documents(tmp_path / "t"))


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (Piece("train", "x", "novel", "3"), "held out as a whole or not"),
        (Piece("novel", "x", "speech", "3"), "on side 'novel', expected"),
        (Piece("valid", "x", "code", "b.py"), "b.py of 'code' comes twice"),
        (Piece("speech", "x", "speech", "3"), "held out as a whole or not"),
        (Piece("../x", "x", "../x", "3"), "expected lower-case"),
        (Piece("train", "x", "valid", "3"), "not a side's name"),
        (Piece("novel", "x"), "without a domain and a path"),
    ],
)
def test_a_document_on_a_second_side_is_refused(tmp_path, piece, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path / "t", [*PIECES, piece])
    assert list(tmp_path.iterdir()) == []


def test_damage_is_named(folder):
    with pytest.raises(ValueError, match="side: got 'poems', expected one of"):
        next(read_documents(folder, "poems"))
    listed = folder / "documents.json"
    rows = json.loads(listed.read_text())
    for bad in ([["a", "b", "c", 1]], [["a", "b"]], [[1, "b", 2, 3]], 7):
        listed.write_text(json.dumps(rows | {"valid": bad}))
        with pytest.raises(ValueError, match=r"documents\.json: cannot be r"):
            next(read_documents(folder))
    listed.write_text(json.dumps(rows | {"valid": rows["valid"][1:]}))
    with pytest.raises(ValueError, match="valid has 5 tokens in the list, ex"):
        next(read_documents(folder))
    (folder / "novel.tokens").write_bytes(b"")
    with pytest.raises(ValueError, match=r"novel\.tokens: got 0 bytes"):
        next(read_documents(folder, "novel"))


def test_all_that_is_held_out_is_read_at_once(folder):
    found = [(d.domain, d.path) for d in read_held_out(folder)]
    assert found == [
        ("speech", "1790"),
        ("code", "a.py"),
        ("novel", "chapter 1"),
        ("novel", "chapter 2"),
    ]


def test_without_a_list_the_validation_side_is_one_document(tmp_path):
    build(tmp_path / "t", [("train", "abba"), ("valid", "hé"), ("valid", "o")])
    (found,) = read_held_out(tmp_path / "t")
    assert text(found) == "hé\n\no\n\n"
    assert (found.domain, found.size) == ("valid", 8)


def test_tokens_are_counted_on_the_training_side(tmp_path, monkeypatch):
    monkeypatch.setattr("minidiff.data.token_documents.CHUNK", 4)
    build(tmp_path / "t", [("train", "abba"), ("valid", "aaa")])
    counts = token_counts(tmp_path / "t")
    assert len(counts) == 256 and counts.sum() == 6
    assert [counts[ord(c)] for c in "ab\nc"] == [2, 2, 2, 0]


def test_documents_are_encoded_as_in_a_token_file(folder):
    documents = [Document("1790", "héllo"), Document("a.py", "def")]
    encoded = encode_documents(documents, ByteTokenizer(), "speech")
    for a, b in zip(encoded, read_documents(folder), strict=True):
        assert (a.path, a.size) == (b.path, b.size)
        assert a.ids.tolist() == b.ids.tolist()


def test_a_corpus_as_pieces_of_one_domain():
    corpus = Corpus(
        train=(Document("a", "x"),), valid=(Document("b", "y"),), skipped=()
    )
    assert list(corpus.pieces("code")) == [
        Piece("train", "x", "code", "a"),
        Piece("valid", "y", "code", "b"),
    ]
