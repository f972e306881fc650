"""The fact book: what is right stands in the row, and nowhere else."""

import json
from collections import Counter
from dataclasses import replace

import pytest
import torch
from archive_maker import packed, put

from minidiff.data import (
    BPETokenizer,
    ByteTokenizer,
    FactBook,
    small_table,
)
from minidiff.data.countries import ATTRIBUTES, Country
from minidiff.data.evidence.countries import read_countries
from minidiff.data.evidence.english import ENGLISH
from minidiff.data.fact_scenes import KINDS

TABLE = small_table()
REAL = {country.name: country for country in TABLE}
BYTES = ByteTokenizer()
BOOK = FactBook(TABLE, BYTES, length=1500)


def text(ids):
    return BYTES.decode(ids.tolist())


def scene(sample, asked):
    """The sentences of the scene that a question belongs to."""
    before = text(sample.inputs[asked.row, : asked.start])
    *paragraphs, questions = before.split("\n\n")
    assert questions.startswith("Question: ")
    found = []
    while paragraphs and paragraphs[-1].startswith("The "):
        found = paragraphs.pop().splitlines() + found
    return found


@pytest.fixture(scope="module", params=["train", "valid"])
def sample(request):
    return BOOK.sample(0, 48, request.param)


def test_the_answer_stands_where_it_says(sample):
    targets = torch.full_like(sample.targets, -100)
    for asked in sample.questions:
        row, start, stop, question = asked
        answer = sample.inputs[row, start:stop]
        assert text(answer) == f" {question.answer}."
        assert text(sample.inputs[row, :start]).endswith("\nAnswer:")
        targets[row, start - 1 : stop - 1] = answer
    assert torch.equal(sample.targets, targets)


def test_questions_are_answered_by_the_row(sample):
    for asked in sample.questions:
        kind, country, attribute, _, others, memory = asked.question
        lines = scene(sample, asked)
        of_country = [x for x in lines if f" of {country} is " in x]
        if kind == "list":
            said = [x[4:-1].split(f" of {country} is ") for x in of_country]
            assert ", ".join(map(" ".join, said)) == asked.question.answer
            assert len(others) == 3 and memory is None
            continue
        stated = [x for x in lines if x.startswith(f"The {attribute} of ")]
        mine = [x for x in stated if x in of_country]
        if kind == "unanswerable":
            assert not mine and asked.question.answer == "not stated"
        else:
            assert mine == [
                f"The {attribute} of {country} is {asked.question.answer}."
            ]
        theirs = [x.rsplit(" is ", 1)[1][:-1] for x in stated if x not in mine]
        assert list(others) == theirs
        assert bool(theirs) == (kind != "single")
        facts = REAL[country].facts if country in REAL else {}
        assert memory == facts.get(attribute)


def test_memory_and_other_documents_are_wrong(sample):
    for asked in sample.questions:
        question = asked.question
        assert question.answer != question.memory
        assert question.answer not in question.others
        assert len(set(question.others)) == len(question.others)


def test_all_kinds_are_asked_of_real_and_invented_countries(sample):
    kinds = Counter(asked.question.kind for asked in sample.questions)
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) > 0.1 * kinds.total()
    real = sum(a.question.country in REAL for a in sample.questions)
    assert 0.3 < real / kinds.total() < 0.7


def test_validation_asks_about_other_countries():
    countries = {
        split: {
            a.question.country for a in BOOK.sample(0, 64, split).questions
        }
        for split in ("train", "valid")
    }
    assert not countries["train"] & countries["valid"]
    for split, names in countries.items():
        known = {c.name for c in TABLE if c.split == split}
        assert names & set(REAL) == known


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_can_be_asked_alone(kind):
    book = FactBook(TABLE, BYTES, length=1500, kinds=[kind])
    kinds = {a.question.kind for a in book.sample(0, 4).questions}
    assert kinds == {kind}


def test_ids_are_those_of_the_text_as_a_whole():
    texts = [text(row) for row in BOOK.batch(0, 64)[0]]
    tokenizer = BPETokenizer.train(texts, 500)
    book = FactBook(TABLE, tokenizer, length=700)
    for row in book.batch(1, 16)[0].tolist():
        said = tokenizer.decode(row).rstrip("\n")
        ids = tokenizer.encode(said)
        assert row[: len(ids)] == ids


def test_rows_are_mostly_full():
    inputs, _ = FactBook(TABLE, BYTES, length=2000).batch(0, 32)
    padding = [2000 - len(text(row).rstrip("\n")) for row in inputs]
    assert sum(padding) / len(padding) < 200


def test_a_batch_depends_on_seed_split_and_step_alone():
    other = FactBook(TABLE, BYTES, length=1500, seed=1)
    first = BOOK.batch(3, 4)
    assert torch.equal(first[0], BOOK.batch(3, 4)[0])
    assert not torch.equal(first[0], BOOK.batch(4, 4)[0])
    assert not torch.equal(first[0], other.batch(3, 4)[0])
    valid = BOOK.batch(3, 4, "valid")[0]
    assert torch.equal(valid, other.batch(3, 4, "valid")[0])
    for whole, part in zip(
        first, BOOK.batch(3, 4, "train", slice(1, 3)), strict=True
    ):
        assert torch.equal(whole[1:3], part)


def test_what_makes_it_itself():
    said = BOOK.describe()
    assert said == FactBook(TABLE, BYTES, length=1500).describe()
    capital = replace(TABLE[0], facts=TABLE[0].facts | {"capital": "Graz"})
    changed = FactBook([capital, *TABLE[1:]], BYTES, length=1500)
    assert changed.describe()["sha256"] != said["sha256"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"documents": 1}, "documents: got 1, expected 2 or more"),
        ({"documents": 5}, "countries: got 4 for 'valid', expected at least"),
        ({"facts": 0}, "facts: got 0, expected 1 to 7"),
        ({"facts": 8}, "facts: got 8, expected 1 to 7"),
        ({"kinds": ()}, r"kinds: got \(\), expected some of"),
        ({"kinds": ["hard"]}, r"kinds: got \('hard',\), expected some of"),
        ({"seed": -1}, "seed: got -1"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        FactBook(TABLE, BYTES, **({"length": 1500} | arguments))


def test_a_row_too_short_for_a_question_is_named():
    with pytest.raises(ValueError, match="length: got 100, expected more"):
        FactBook(TABLE, BYTES, length=100).batch(0, 1)


def test_an_attribute_with_too_few_values_is_named():
    poor = [replace(c, facts=c.facts | {"capital": "Rome"}) for c in TABLE]
    with pytest.raises(ValueError, match="got 1 different values of 'capita"):
        FactBook(poor, BYTES, length=1500)


PAGE = {
    "Geography": {
        "Natural resources": {"text": "iron ore, tin"},
        "Elevation extremes": {"highest point": {"text": "Mount Up 9 m"}},
    },
    "People and Society": {
        "Languages": {"text": "Testish (official) 96.5%, other"},
        "Religions": {"text": "NA"},
    },
    "Government": {
        "Country name": {"conventional short form": {"text": "Testland"}},
        "Capital": {"name": {"text": "Up; note - it moved"}},
        "National symbol(s)": {"text": None},
    },
    "Economy": {
        "Exchange rates": {"text": "marks (TSM) per US dollar - ++ 2 (2014)"},
        "Agriculture - products": {"text": "a plant that nobody knows, tea"},
    },
}


def test_values_are_the_first_few_plain_words_of_the_fact_book(tmp_path):
    pages = {"package/europe/tt.json": json.dumps(PAGE)}
    name = {"conventional short form": {"text": "Fewland"}}
    few = {"Government": {"Country name": name}}
    pages["package/europe/ff.json"] = json.dumps(PAGE | few)
    sea = {"Geography": PAGE["Geography"]}
    pages["package/oceans/xo.json"] = json.dumps(sea)
    archive = put(tmp_path, packed(pages), name="factbook")
    source = replace(ENGLISH[2], archive=archive)
    (country,) = read_countries(tmp_path, source)
    assert country == Country(
        name="Testland",
        facts={
            "capital": "Up",
            "currency": "marks",
            "language": "Testish",
            "main resource": "iron ore",
            "highest point": "Mount Up",
        },
        split=country.split,
    )
    assert set(country.facts) < set(ATTRIBUTES)


def test_a_damaged_page_is_named(tmp_path):
    pages = {"package/europe/tt.json": "[]"}
    archive = put(tmp_path, packed(pages), name="factbook")
    source = replace(ENGLISH[2], archive=archive)
    with pytest.raises(ValueError, match=r"tt\.json.*expected an object"):
        read_countries(tmp_path, source)


def test_a_fifth_of_the_countries_is_for_validation(tmp_path):
    pages = {}
    for i in range(100):
        page = json.loads(json.dumps(PAGE))
        name = f"Test {'abcdefghij'[i // 10]}{'abcdefghij'[i % 10]}"
        page["Government"]["Country name"] = {
            "conventional short form": {"text": name}
        }
        code = "abcdefghij"[i // 10] + "abcdefghij"[i % 10]
        pages[f"package/europe/{code}.json"] = json.dumps(page)
    archive = put(tmp_path, packed(pages), name="factbook")
    found = read_countries(tmp_path, replace(ENGLISH[2], archive=archive))
    counts = Counter(country.split for country in found)
    assert counts.total() == 100 and 8 < counts["valid"] < 32
