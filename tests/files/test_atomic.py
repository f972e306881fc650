"""Files and folders appear complete, or stay as they were."""

import errno
import json
import os

import pytest

from minidiff.files.atomic import new_folder, replacing, write_text
from minidiff.files.json import write_json


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    write_text(path, "new é")
    assert path.read_text(encoding="utf-8") == "new é"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_error_the_old_file_is_there(tmp_path, error):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(error), replacing(path) as part:
        part.write_text("half")
        assert path.read_text() == "old"
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_a_file_of_a_similar_name_is_left_alone(tmp_path):
    (tmp_path / "a.txt.part").write_text("something else")
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert (tmp_path / "a.txt.part").read_text() == "something else"
    assert names(tmp_path) == ["a.txt", "a.txt.part"]


def test_an_error_names_the_file_and_the_reason(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"a\.txt: could not.*No space left"):
        write_text(tmp_path / "a.txt", "new")
    assert names(tmp_path) == []
    with pytest.raises(OSError, match="none: could not be written"):
        write_text(tmp_path / "no" / "none", "new")


def test_an_error_of_an_inner_file_is_named_once(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    with (
        pytest.raises(OSError, match=r"b: could not be written \(full\)$"),
        replacing(a) as part,
        replacing(b),
    ):
        part.write_text("whole")
        raise OSError(errno.ENOSPC, "full")
    assert names(tmp_path) == []


def test_the_inner_of_two_files_is_renamed_first(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    with replacing(a) as part_a:
        with replacing(b) as part_b:
            part_a.write_text("a")
            part_b.write_text("b")
        part, *others = names(tmp_path)
        assert part == part_a.name and others == ["b"]
    assert names(tmp_path) == ["a", "b"]


def test_a_folder_appears_complete_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "new"
    with pytest.raises(RuntimeError), new_folder(path) as part:
        (part / "a").write_text("a")
        raise RuntimeError
    assert names(path.parent) == []
    with new_folder(path) as part:
        (part / "a").write_text("a")
        assert not path.exists()
    assert names(path.parent) == ["new"] and names(path) == ["a"]


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "new" / "record.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert names(path.parent) == ["record.json"]
