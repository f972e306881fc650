"""One reader for every JSON file: errors name the file and the key."""

import ast
import json
import shutil
from functools import partial
from pathlib import Path

import matplotlib
import pytest
from committed import ROOT
from safetensors import safe_open
from safetensors.torch import load_file, save_file

matplotlib.use("agg")

from minidiff.cli import main
from minidiff.data import ByteTokenizer, Piece, read_documents, write_tokens
from minidiff.files.json import parse_json, read_json
from minidiff.files.reading import read_bytes, read_text
from minidiff.files.schema import (
    anything,
    fields,
    flag,
    integer,
    list_of,
    map_of,
    maybe,
    number,
    one_of,
    row_of,
    scalar,
    text,
)

TINY = [
    *("--width", "16", "--layers", "1", "--heads", "2", "--steps", "2"),
    *("--batch-size", "2", "--length", "16"),
]
BROKEN = {
    "nested": "[" * 100_000,
    "nested objects": '{"a":' * 100_000,
    "cut": '{"a": 1',
    "empty": "",
    "NaN": '{"a": NaN}',
    "infinity": '{"a": -Infinity}',
    "a list": "[1, 2]",
    "null": "null",
    "digits": "9" * 5000,
    "two values": "{} {}",
    "not UTF-8": b"\xff\xfe{}",
}


@pytest.mark.parametrize(
    ("schema", "value", "says"),
    [
        (text, 1, "got 1, expected a string"),
        (flag, 1, "got 1, expected true or false"),
        (integer(1, 5), 6, "got 6, expected a whole number from 1 to 5"),
        (integer(), True, "got True"),
        (integer(), 1.0, r"got 1\.0"),
        (integer(), 10**70, "got a number of more than 30 digits"),
        (number(), "1", "got '1', expected a finite number"),
        (number(0, 1), 2, "got 2, expected a finite number from 0 to 1"),
        (number(), 10**400, "got a number of more than 30 digits"),
        (number(), float("nan"), "got nan"),
        (number(), float("inf"), "got inf"),
        (scalar, [], "got list of 0"),
        (scalar, 10**400, "more than 30 digits"),
        (one_of(1), True, "got True, expected 1"),
        (one_of("a", "b"), "c", "got 'c', expected 'a' or 'b'"),
        (maybe(text), 1, "got 1"),
        (list_of(text), {}, "got dict of 0, expected a list"),
        (list_of(text), ["a", 1], r"\[1\]: got 1"),
        (list_of(text, 1), [], "got 0 entries, expected 1 or more"),
        (row_of(text, text), ["a"], "expected a list of 2 entries"),
        (row_of(text, text), ["a", 1], r"\[1\]: got 1"),
        (map_of(text), [], "expected an object"),
        (map_of(text), {"a": 1}, "a: got 1"),
        (map_of(text, "[a-z]+"), {"a/b": ""}, "got the key 'a/b'"),
        (fields({"a": text}), {}, "a: missing"),
        (fields({"a": fields({"b": text})}), {"a": {}}, r"a\.b: missing"),
        (fields({}, {"a": text}), {"a": 1}, "a: got 1"),
        (fields({}), [], "expected an object"),
        (text, "x" * 500, None),
        (flag, "x" * 500, r"got 'x{76}\.\.\., expected"),
    ],
)
def test_a_schema_names_the_key_and_what_was_expected(schema, value, says):
    if says is None:
        schema(value, "")
        return
    with pytest.raises(ValueError, match=says):
        schema(value, "")


def test_what_fits_is_accepted():
    schema = fields(
        {"a": map_of(list_of(row_of(integer(), maybe(number()))))},
        {"b": scalar, "c": one_of("x")},
    )
    value = {"a": {"k": [[1, None], [2, 0.5]]}, "b": False, "more": [1]}
    assert parse_json(json.dumps(value), schema, "f", "it") == value
    for good in ("x", True, None, 1, -0.5):
        scalar(good, "")


@pytest.mark.parametrize("name", BROKEN)
def test_broken_json_is_refused_by_the_files_name(tmp_path, name):
    path, content = tmp_path / "a.json", BROKEN[name]
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.json: .*, expected a thing"):
        read_json(path, fields({}), "a thing")


def test_what_is_no_file_is_named_as_what_it_is(tmp_path, monkeypatch):
    path = tmp_path / "a"
    read = partial(read_text, path, "a thing")
    with pytest.raises(ValueError, match="a: no such file, expected a thing"):
        read()
    path.mkdir()
    with pytest.raises(ValueError, match="a: a folder, expected a thing"):
        read()
    path.rmdir()
    path.write_bytes(b"one\r\ntwo\xff")
    with pytest.raises(ValueError, match=r"a: not UTF-8 \(byte 8\)"):
        read()
    with pytest.raises(ValueError, match="a: larger than 3 bytes"):
        read_bytes(path, "a thing", most=3)
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    assert read() == "one\ntwo"

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(ValueError, match=r"a: cannot be read \(Permission de"):
        read()


def test_the_package_parses_json_in_one_place():
    """Only texts that the package itself has just made are parsed elsewhere.

    These are the settings of a run, dumped and parsed so that tuples become
    lists, and what a notebook of `minidiff check` printed.
    """
    places = set()
    for path in (ROOT / "minidiff").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Attribute)
                and node.attr in ("load", "loads")
                and isinstance(node.value, ast.Name)
                and node.value.id == "json"
            ):
                places.add(path.relative_to(ROOT / "minidiff").as_posix())
    places = {place for place in places if not place.startswith("check/")}
    assert places == {
        "files/json.py",
        "training/run_folder.py",
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    where = tmp_path_factory.mktemp("made")
    texts = where / "texts"
    texts.mkdir()
    for i in range(20):
        (texts / f"{i}.txt").write_text(f"text {i}: " + "la li lu " * 20)
    kind = ["--tokenizer", "bpe", "--vocab-size", "270"]
    out = ["--out", str(where / "run"), "--data", str(texts)]
    assert main(["train", *out, *TINY, *kind]) == 0
    out = ["--out", str(where / "tokens")]
    assert main(["tokens", str(texts), *out]) == 0
    record = {
        "provenance": {"device": "cpu"},
        "setting": {"dtype": "float32"},
        "rows": [
            {"peer": "plain/a", "T": 8, "forward_ratio": 1.0},
            {"peer": "diff/b", "T": 8, "forward_ratio": 1.5},
        ],
    }
    (where / "record.json").write_text(json.dumps(record))
    return where


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def commands(folder):
    """The commands that read each file."""
    run, png = str(folder / "run"), str(folder / "a.png")
    resume = ["train", "--out", run, "--resume"]
    generate = ["generate", run, "--prompt", "la"]
    measure = ["evaluate", run, "--parts", "loss", "--windows", "1"]
    tokens = ["--data", str(folder / "tokens"), "--out", str(folder / "new")]
    file = str(folder / "run" / "checkpoint.safetensors")
    return {
        "run/run.json": [resume, generate, measure],
        "run/tokenizer.json": [resume, generate, measure],
        "run/files.json": [resume, measure],
        "run/log.jsonl": [resume, ["plot", run, "--out", png]],
        "tokens/tokens.json": [
            ["train", *tokens, *TINY],
            ["evaluate", file, "--tokens", str(folder / "tokens")],
        ],
        "record.json": [["plot", str(folder / "record.json"), "--out", png]],
    }


FILES = list(commands(Path()))


@pytest.mark.parametrize("file", FILES)
def test_every_file_may_be_broken(copy, capsys, file):
    whole = (copy / file).read_bytes()
    for content in BROKEN.values():
        content = content.encode() if isinstance(content, str) else content
        if file.endswith("l"):
            content += b"\n"
        (copy / file).write_bytes(content)
        for command in commands(copy)[file]:
            capsys.readouterr()
            assert main(command) == 2, (command, content[:20])
            said = capsys.readouterr().err.splitlines()[-1]
            assert said.startswith("minidiff: error: ")
            assert Path(file).name in said
    (copy / file).write_bytes(whole)
    for command in commands(copy)[file][:1]:
        assert main(command) == 0
    assert not list(copy.rglob("*.part"))


def leaves(value, key=()):
    """Every key of an object that is asked for, with its path."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield (*key, name)
            yield from leaves(part, (*key, name))


def without(value, key):
    value = json.loads(json.dumps(value))
    inner = value
    for name in key[:-1]:
        inner = inner[name]
    del inner[key[-1]]
    return value


NEEDED = {
    "run/run.json": [
        ("settings",),
        *(
            ("settings", name)
            for name in ("data", "tokenizer", "vocab_size", "length", "seed")
        ),
        *(("settings", name) for name in ("attention", "width", "layers")),
        *(("settings", name) for name in ("steps", "batch_size", "lr")),
        *(("settings", name) for name in ("device", "heads", "needles")),
    ],
    "run/files.json": [("files",)],
    "tokens/tokens.json": [
        *((n,) for n in ("format", "version", "dtype", "vocab_size")),
        *((n,) for n in ("tokenizer", "train", "valid")),
        *((n, k) for n in ("train", "valid") for k in ("tokens", "sha256")),
    ],
    "record.json": [
        *((n,) for n in ("provenance", "setting", "rows")),
        ("provenance", "device"),
        ("setting", "dtype"),
    ],
    "run/tokenizer.json": [
        *((n,) for n in ("model", "pre_tokenizer", "decoder")),
        *(("model", n) for n in ("type", "vocab", "merges")),
    ],
}


@pytest.mark.parametrize("file", NEEDED)
def test_a_missing_key_is_named(copy, capsys, file):
    value = json.loads((copy / file).read_text())
    keys = set(leaves(value))
    for key in NEEDED[file]:
        assert key in keys
        (copy / file).write_text(json.dumps(without(value, key)))
        capsys.readouterr()
        assert main(commands(copy)[file][0]) == 2
        said = capsys.readouterr().err
        assert Path(file).name in said
        assert f"{'.'.join(key)}: missing" in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"loss": None}, "loss: got None"),
        ({"loss": "1"}, "loss: got '1'"),
        ({"step": True}, "step: got True"),
        ({"tokens": 1.5}, "tokens: got 1.5"),
        ({"valid_loss": []}, "valid_loss: got list of 0"),
        ({"grad_norm": 10**400}, "grad_norm: got a number of more than"),
    ],
)
def test_a_wrong_line_of_a_log_is_named(copy, capsys, change, says):
    path = copy / "run" / "log.jsonl"
    first, *more = path.read_text().splitlines(keepends=True)
    bad = json.dumps(json.loads(first) | change) + "\n"
    path.write_text(bad + "".join(more))
    for command in commands(copy)["run/log.jsonl"]:
        capsys.readouterr()
        assert main(command) == 2
        said = capsys.readouterr().err
        assert "log.jsonl, line 1: not a run's log" in said and says in said


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"peer": 1}], r"rows[0].peer: got 1"),
        ([{"peer": "a", "forward_ratio": "1"}], "forward_ratio: got '1'"),
        ([{"peer": "a", "train_ratio": 0}], "train_ratio: got 0"),
        ([[]], "rows[0]: got list of 0"),
        ({}, "rows: got dict of 0"),
    ],
)
def test_a_wrong_row_of_a_record_is_named(copy, capsys, rows, says):
    path = copy / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rows": rows}))
    assert main(commands(copy)["record.json"][0]) == 2
    said = capsys.readouterr().err
    assert "record.json: not a benchmark's record" in said and says in said


@pytest.mark.parametrize(
    ("train", "says"),
    [
        ("[]", "train: the model or train entry cannot be read (got list"),
        ("null", "got None, expected an object"),
        ("{}", "train.step: missing"),
        ('{"step": "2"}', "step: got '2'"),
        ('{"step": -1}', "step: got -1"),
        ('{"step": 1e400}', "step: got inf"),
        ('{"step": 2, "config": []}', "config: got list"),
        ('{"step": 2, "data": 7}', "data: got 7"),
    ],
)
def test_a_checkpoint_without_its_train_state(copy, capsys, train, says):
    path = copy / "run" / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = json.loads(metadata["train"])
    if train.startswith('{"step"') or train == "{}":
        merged = {k: v for k, v in state.items() if k != "step"}
        train = json.dumps(merged | json.loads(train.replace("1e400", "9")))
        train = train.replace('"step": 9', '"step": 1e400')
    save_file(load_file(path), path, metadata | {"train": train})
    assert main(["train", "--out", str(copy / "run"), "--resume"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "checkpoint.safetensors: " in said and says in said


@pytest.mark.parametrize("step", [3, 10**15])
def test_a_step_beyond_the_log_is_refused_at_once(copy, capsys, step):
    path = copy / "run" / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = json.loads(metadata["train"]) | {"step": step}
    save_file(load_file(path), path, metadata | {"train": json.dumps(state)})
    assert main(["train", "--out", str(copy / "run"), "--resume"]) == 2
    assert f"log.jsonl: expected the {step} steps" in capsys.readouterr().err


def test_a_wrong_list_of_documents_is_named(tmp_path):
    pieces = [Piece(s, "abc", "d", s) for s in ("train", "valid")]
    folder = tmp_path / "t"
    write_tokens(folder, pieces, ByteTokenizer(), about={})
    path = folder / "documents.json"
    for rows, says in (
        ({"valid": [["a", "b", 1]]}, r"valid\[0\]: got list of 3"),
        ({"valid": [["a", "b", 1, -1]]}, r"valid\[0\]\[3\]: got -1"),
        ({"valid": 7}, "valid: got 7"),
        ([], "got list of 0"),
    ):
        path.write_text(json.dumps(rows))
        with pytest.raises(ValueError, match=rf"documents\.json: .*{says}"):
            next(read_documents(folder))


def test_anything_accepts_anything():
    for value in (None, [], {}, 1, "x"):
        anything(value, "")
