"""minidiff.course finds book/, and says what to do where there is none."""

from pathlib import Path

import pytest

from minidiff import course
from minidiff.course import paths


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "book" / "chapters").mkdir(parents=True)
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "minidiff")
    return tmp_path


def test_root_is_this_checkout():
    assert (course.root() / "pyproject.toml").exists()


def test_outside_a_checkout_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "minidiff")
    with pytest.raises(FileNotFoundError, match="pip install -e"):
        course.root()


def test_runs_are_beside_the_book_or_where_the_variable_says(
    checkout, monkeypatch
):
    monkeypatch.delenv("MINIDIFF_RUNS", raising=False)
    assert course.runs("mine") == checkout / "runs" / "mine"
    monkeypatch.setenv("MINIDIFF_RUNS", str(checkout / "elsewhere"))
    assert course.runs("mine") == checkout / "elsewhere" / "mine"


@pytest.mark.parametrize("kind", ["results", "weights"])
def test_finds_a_file(checkout, kind):
    file = checkout / "book" / kind / "small.json"
    file.parent.mkdir()
    file.write_text("{}")
    assert getattr(course, kind)("small.json") == file


def test_a_missing_file_lists_what_is_there(checkout):
    (checkout / "book" / "results").mkdir()
    (checkout / "book" / "results" / "small.json").touch()
    with pytest.raises(FileNotFoundError, match=r"holds small\.json"):
        course.results("large.json")


@pytest.mark.parametrize("name", ["", ".", "../chapters", "/etc/passwd"])
def test_names_cannot_leave_the_folder(checkout, name):
    (checkout / "book" / "results").mkdir()
    with pytest.raises(ValueError, match="name"):
        course.results(name)
