"""`make notebooks` writes only over its own work or what git holds."""

import json
import os

import build_notebooks
import check_notebooks
import pytest
from builder import card, execute, guard

from tests.book.test_build import GOOD, build, course, git, quick, target

__all__ = ["course", "quick"]  # fixtures

MINE = '{"my": "answers"}'


def refused(course, text=MINE):
    """The build leaves the reader's notebook alone, and says so."""
    failed, said = build(course)
    assert failed == 1
    assert "01_small.ipynb" in said
    return target(course).read_text() == text


@pytest.fixture
def mine(course):
    """A reader's notebook, in no commit."""
    target(course).parent.mkdir()
    target(course).write_text(MINE)
    return course


def test_a_repository_with_nothing_committed(mine, quick):
    """The course came as a ZIP; git init, git add, and no commit yet."""
    assert refused(mine)
    git(mine, "add", "-A")
    assert refused(mine)


def test_untracked_in_another_repository(mine, quick, tmp_path_factory):
    outer = tmp_path_factory.mktemp("outer")
    git(outer, "init", "-q")
    git(outer, "commit", "-qm", "first", "--allow-empty")
    inner = outer / "course"
    mine.rename(inner)
    (inner / ".git").rename(outer / "old")
    assert refused(inner)


def test_a_folder_that_git_ignores(mine, quick):
    (mine / ".gitignore").write_text("book/_build/\nnotebooks/\n")
    git(mine, "add", "-A")
    git(mine, "commit", "-qm", "without notebooks")
    assert refused(mine)


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_file_that_git_does_not_look_at(course, quick, flag):
    build(course)
    git(course, "add", "-A")
    git(course, "commit", "-qm", "built")
    git(course, "update-index", flag, "notebooks/01_small.ipynb")
    target(course).write_text(MINE)
    assert refused(course)


def test_a_file_changed_and_staged(course, quick):
    build(course)
    git(course, "add", "-A")
    git(course, "commit", "-qm", "built")
    target(course).write_text(MINE)
    git(course, "add", "-A")
    assert refused(course)


def test_a_file_of_the_same_length_and_time(course, quick):
    """git may trust size and time; here the bytes count."""
    build(course)
    git(course, "add", "-A")
    git(course, "commit", "-qm", "built")
    before = target(course).stat()
    text = target(course).read_text().replace("hello", "adieu")
    target(course).write_text(text)
    os.utime(target(course), ns=(before.st_atime_ns, before.st_mtime_ns))
    assert refused(course, text)


@pytest.mark.parametrize("force", [False, True])
def test_a_notebook_saved_while_the_build_runs(course, monkeypatch, force):
    def run(nb, cwd, threads):
        target(course).parent.mkdir(exist_ok=True)
        target(course).write_text(MINE)
        return 1.0

    monkeypatch.setattr(execute, "run", run)
    failed, said = build(course, force)
    assert failed == 1
    assert "saved meanwhile" in said
    assert target(course).read_text() == MINE
    assert not list(target(course).parent.glob("*.part"))


def test_a_notebook_saved_as_the_new_one_is_written(course, quick):
    ledger = guard.Ledger(course)
    ledger.look(target(course))
    target(course).parent.mkdir()
    target(course).write_text(MINE)
    with pytest.raises(guard.SavedMeanwhileError, match="01_small"):
        ledger.write(target(course), "built")
    assert target(course).read_text() == MINE


def test_a_commit_with_other_line_ends_counts(course, quick):
    build(course)
    git(course, "add", "-A")
    git(course, "commit", "-qm", "built")
    (course / "book" / "_build" / "notebooks.json").unlink()
    data = target(course).read_bytes().replace(b"\n", b"\r\n")
    target(course).write_bytes(data)
    assert build(course)[0] == 0


BAD_JSON = ["{", "", "[]", "null", "[" * 100_000, "\xff\xfe"]


@pytest.mark.parametrize("text", BAD_JSON)
def test_a_corrupt_record_is_named(course, quick, text, monkeypatch, capsys):
    record = course / "book" / "_build" / "notebooks.json"
    record.parent.mkdir()
    record.write_bytes(text.encode("latin-1"))
    monkeypatch.setattr(build_notebooks, "ROOT", course)
    for page in (build_notebooks.exercise_list, build_notebooks.evidence):
        monkeypatch.setattr(page, "update", lambda root: None)
    with pytest.raises(SystemExit) as end:
        build_notebooks.main([])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "notebooks.json" in said and "delete it" in said
    assert not target(course).exists()


@pytest.mark.parametrize(
    "text", [*BAD_JSON, '{"01_small": []}', '{"01_small": {"under": "x"}}']
)
def test_corrupt_timings_are_named(tmp_path, text):
    path = tmp_path / "timings.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"timings\.json.*restore it"):
        card.load(path)


def test_no_timings_yet(tmp_path):
    assert card.load(tmp_path / "timings.json") == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "not readable"),
        *((text, "not a notebook") for text in BAD_JSON if text != "[]"),
        ("[]", "not a notebook"),
        (json.dumps({"cells": [], "nbformat": "x"}), "not a notebook"),
    ],
)
def test_a_broken_notebook_is_refused_by_name(
    course, text, says, monkeypatch, capsys
):
    monkeypatch.setattr(check_notebooks, "ROOT", course)
    path = target(course)
    path.parent.mkdir()
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    assert check_notebooks.main([str(path)]) == 1
    assert f"{path}: {says}" in capsys.readouterr().out


@pytest.mark.slow
def test_the_builder_takes_the_kernel_of_its_own_python(
    course, tmp_path_factory, monkeypatch
):
    for variable in ("JUPYTER_DATA_DIR", "JUPYTER_PATH"):
        folder = tmp_path_factory.mktemp(variable)
        spec = folder / "kernels" / "python3" / "kernel.json"
        spec.parent.mkdir(parents=True)
        spec.write_text('{"argv": ["/no/such/python"], "display_name": "x"}')
        monkeypatch.setenv(variable, str(folder))
    chapter = course / "book" / "chapters" / "01_small.py"
    chapter.write_text(GOOD)
    assert build(course)[0] == 0
