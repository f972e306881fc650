"""The real loading code of the datasets library, on files made here."""

import json
from importlib.util import find_spec
from itertools import islice

import pytest
from conftest import need

from minidiff.cli import main
from minidiff.data import TokenData
from minidiff.data.hub import stream_dataset
from minidiff.data.token_files import open_tokens


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [
        json.dumps({"id": i, "text": f"row {i}", "code": f"x = {i}"})
        for i in range(1000)
    ]
    path.write_text("\n".join(lines) + "\n")
    return [str(path)]


@pytest.fixture(autouse=True)
def library(monkeypatch, tmp_path):
    need(find_spec("datasets"), "the datasets library is not installed")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def test_every_row_comes_with_its_side(rows):
    read = list(stream_dataset("json", files=rows))
    assert [text for _, text in read] == [f"row {i}" for i in range(1000)]
    held_out = [side for side, _ in read].count("valid")
    assert 2 <= held_out <= 25  # of 1 %
    assert read == list(stream_dataset("json", files=rows))


def test_a_column_is_chosen(rows):
    read = stream_dataset("json", files=rows, column="code")
    assert [t for _, t in islice(read, 2)] == ["x = 0", "x = 1"]


def test_it_is_streamed(rows):
    """What comes is there before all has been read."""
    rows.append(rows[0].replace("rows.", "broken."))
    with open(rows[1], "w") as file:
        file.write("this is no JSON\n")
    read = stream_dataset("json", files=rows)
    assert next(read)[1] == "row 0"


@pytest.mark.parametrize("column", ["body", "id"])
def test_a_column_without_text_is_named(rows, column):
    with pytest.raises(ValueError, match=rf"got '{column}', .*'id', 'text'"):
        next(stream_dataset("json", files=rows, column=column))


def test_the_command_builds_token_files(rows, tmp_path, capsys):
    out = tmp_path / "tokens"
    command = ["tokens", "hub:json", "--column", "code", "--out", str(out)]
    assert main([*command, "--files", *rows, "--most", "4000"]) == 0
    assert "tokens to train on" in capsys.readouterr().out
    data = TokenData(out, length=8)
    assert data.card["about"]["source"] == "hub:json"
    assert 4000 <= data.size("train") + data.size("valid") < 4020
    text = bytes(open_tokens(out)[1]["train"][:14].astype("u1"))
    assert text == b"x = 0\n\nx = 1\n\n"
