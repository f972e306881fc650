import sys

import pytest

from minidiff.data import read_folder, standard_library
from minidiff.data.corpus import is_held_out


def test_standard_library_is_about_twelve_megabytes_of_source():
    corpus = standard_library()
    paths = [d.path for d in corpus.train + corpus.valid]
    size = sum(len(d.text) for d in corpus.train + corpus.valid)
    assert 5e6 < size < 25e6
    assert "json/decoder.py" in paths
    assert all(path.endswith(".py") for path in paths)
    for word in ("test", "site-packages", "idle_test"):
        assert not any(word in path.split("/") for path in paths)
    assert 0.05 < len(corpus.valid) / len(paths) < 0.2


@pytest.mark.skipif(sys.platform == "win32", reason="paths with / only")
def test_a_file_keeps_its_side_for_ever():
    # Recorded once. A change of the hash would leak validation files of one
    # Python version into the training files of another.
    sides = {
        "json/decoder.py": False,
        "abc.py": False,
        "argparse.py": False,
        "statistics.py": False,
        "heapq.py": False,
    }
    assert {path: is_held_out(path) for path in sides} == sides
    held_out = [p for p in map("{}.py".format, range(1000)) if is_held_out(p)]
    assert held_out[:3] == ["8.py", "13.py", "14.py"]
    assert 70 < len(held_out) < 130


def test_side_does_not_depend_on_the_other_files(tmp_path):
    for i in range(40):
        (tmp_path / f"{i}.txt").write_text(f"text {i}")
    before = {d.path for d in read_folder(tmp_path).valid}
    for i in range(40, 60):
        (tmp_path / f"{i}.txt").write_text(f"text {i}")
    after = {d.path for d in read_folder(tmp_path).valid}
    assert before
    assert before == {p for p in after if int(p.split(".")[0]) < 40}


def test_what_is_not_text_is_skipped_and_counted(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "hidden.txt").write_text("not read")
    (tmp_path / "a.txt").write_text("good\n")
    (tmp_path / "sub" / "latin.txt").write_bytes("é".encode("latin-1"))
    (tmp_path / "nul.bin").write_bytes(b"a\0b")
    corpus = read_folder(tmp_path)
    assert corpus.skipped == ("nul.bin", "sub/latin.txt")
    assert {d.path for d in corpus.train + corpus.valid} == {"a.txt"}


def test_one_file_is_split_within(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("".join(str(i % 10) for i in range(1000)))
    corpus = read_folder(path)
    assert len(corpus.train[0].text) == 900
    assert corpus.train[0].text + corpus.valid[0].text == path.read_text()


def test_line_ends_are_made_equal(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\r\n")
    corpus = read_folder(tmp_path)
    assert "\r" not in corpus.train[0].text + corpus.valid[0].text


def test_nothing_to_read_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"path: got .*nowhere"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "nul.bin").write_bytes(b"\0")
    with pytest.raises(ValueError, match=r"no text \(1 files"):
        read_folder(tmp_path)
