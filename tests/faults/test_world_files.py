"""Files and text as they are in the world: odd names, pipes, surrogates."""

import io
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from minidiff.cli import main
from minidiff.data import (
    BPETokenizer,
    ByteTokenizer,
    Document,
    encode_documents,
    read_folder,
    write_tokens,
)
from minidiff.data.corpus import is_held_out

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX files")
TINY = [
    *("--width", "16", "--layers", "1", "--heads", "2", "--steps", "2"),
    *("--batch-size", "2", "--length", "16"),
]
LONE = "half \ud83e of a pair"


@pytest.fixture
def folder(tmp_path):
    """Twenty texts, which is enough for both sides of the split."""
    where = tmp_path / "texts"
    where.mkdir()
    for i in range(20):
        (where / f"{i}.txt").write_text(f"text {i}: " + "la li lu " * 20)
    return where


def paths(corpus):
    return {document.path for document in corpus.train + corpus.valid}


@posix
def test_what_is_no_file_is_skipped_with_the_reason(folder):
    os.mkfifo(folder / "pipe")
    (folder / "linked pipe").symlink_to("pipe")
    server = socket.socket(socket.AF_UNIX)
    os.chdir(folder)  # a socket's path is short
    server.bind("socket")
    server.close()
    (folder / "device").symlink_to("/dev/zero")
    (folder / "loop").symlink_to("loop")
    (folder / "gone").symlink_to("nowhere")
    (folder / "up").symlink_to("..")
    (folder / "a.bin").write_bytes(b"\0\1")
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    corpus = read_folder(folder)
    assert paths(corpus) == {f"{i}.txt" for i in range(20)}
    assert dict(corpus.reasons) == {
        "pipe": "a named pipe",
        "linked pipe": "a named pipe",
        "socket": "a socket",
        "device": "a device",
        "loop": "cannot be read (Too many levels of symbolic links)",
        "gone": "cannot be read (No such file or directory)",
        "up": "a link to a folder",
        "a.bin": "not text: it has a NUL",
        "latin.txt": "not UTF-8 text",
    }
    assert set(corpus.skipped) == set(corpus.reasons)


@posix
@pytest.mark.parametrize("kind", ["pipe", "device", "loop"])
def test_a_path_that_is_no_folder_and_no_file_is_refused(tmp_path, kind):
    path = tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "loop" else "/dev/null")
    with pytest.raises(ValueError, match=f"path: got .*{kind}, expected a"):
        read_folder(path)


def test_an_unreadable_file_or_folder_is_named_with_the_reason(
    folder, monkeypatch
):
    (folder / "sub").mkdir()
    real_read, real_scan = Path.read_text, os.scandir

    def read(self, *args, **kwargs):
        if self.name == "3.txt":
            raise PermissionError(13, "Permission denied")
        return real_read(self, *args, **kwargs)

    def scan(path):
        if os.path.basename(path) == "sub":
            raise PermissionError(13, "Permission denied", path)
        return real_scan(path)

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(os, "scandir", scan)
    corpus = read_folder(folder)
    denied = "cannot be read (Permission denied)"
    assert dict(corpus.reasons) == {"3.txt": denied, "sub": denied}
    with pytest.raises(ValueError, match=r"no text .*cannot be read \(Perm"):
        read_folder(folder / "3.txt")


@posix
def test_a_name_that_is_not_utf8_is_read_and_printed(folder, capsys):
    name = os.fsencode(folder) + b"/caf\xe9.txt"
    Path(os.fsdecode(name)).write_text("bonjour " * 100)
    bad = os.fsencode(folder) + b"/bad\xff\n.bin"
    Path(os.fsdecode(bad)).write_bytes(b"\0")
    assert os.fsdecode(b"caf\xe9.txt") in paths(read_folder(folder))
    tokens = folder.parent / os.fsdecode(b"tok\xe9ns")
    assert main(["tokens", str(folder), "--out", str(tokens)]) == 0
    assert r"'bad\udcff\n.bin'" in capsys.readouterr().out
    run = folder.parent / os.fsdecode(b"r\xfcn")
    train = ["train", "--data", str(folder), "--tokenizer", "bpe", "--out"]
    assert main([*train, str(run), "--vocab-size", "270", *TINY]) == 0
    assert main(["train", "--out", str(run), "--resume"]) == 0
    assert main(["generate", str(run), "--prompt", "la"]) == 0
    assert main(["evaluate", str(run), "--parts", "loss"]) == 0
    png = str(folder.parent / "a.png")
    assert main(["plot", str(run), str(run), "--out", png]) == 0
    assert main(["train", "--data", str(folder), "--out", str(run)]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_the_side_of_an_ordinary_name_is_as_before():
    held_out = [n for n in map("{}.py".format, range(20)) if is_held_out(n)]
    assert held_out == ["8.py", "13.py", "14.py"]


@pytest.fixture(scope="module")
def bpe():
    return BPETokenizer.train(["la li lu " * 50, LONE], 270)


@pytest.mark.parametrize("text", [LONE, "\udcff", "\ud800\udc00", ""])
def test_lone_surrogates_become_the_replacement_character(bpe, text):
    whole = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    for tokenizer in (ByteTokenizer(), bpe):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == whole
        assert tokenizer.encode_many([text, text]) == [ids, ids]
        (document,) = encode_documents([Document("a", text)], tokenizer, "d")
        assert document.size == len(whole.encode()) + 2


def test_token_files_of_texts_with_surrogates(tmp_path, bpe):
    pieces = [
        ("train", LONE, "poems", "1"),
        ("valid", LONE, "poems", "2"),
        ("novel", LONE, "novel", "3"),
    ]
    for number, tokenizer in enumerate((ByteTokenizer(), bpe)):
        card = write_tokens(
            tmp_path / f"t{number}", pieces, tokenizer, about={"who": LONE}
        )
        whole = LONE.replace("\ud83e", "\ufffd").encode()
        size = card["domains"]["poems"]["train"]["bytes"]
        assert size == len(whole) + 2
        assert card["about"] == {"who": LONE}


def test_a_dataset_with_a_surrogate(tmp_path, monkeypatch):
    from minidiff.data import hub

    texts = [("train", LONE * 5), ("valid", LONE * 5)]
    monkeypatch.setattr(hub, "stream_dataset", lambda *a, **k: iter(texts))
    monkeypatch.setattr("minidiff.cli.tokens.need", lambda *a: None)
    for kind in ("byte", "bpe"):
        out = tmp_path / kind
        command = ["tokens", "hub:some", "--out", str(out)]
        assert main([*command, "--tokenizer", kind]) == 0
        assert json.loads((out / "tokens.json").read_text())["vocab_size"]


@pytest.fixture
def run(folder):
    where = str(folder.parent / "run")
    assert main(["train", "--data", str(folder), "--out", where, *TINY]) == 0
    return where


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_any_text_on_a_narrow_output(
    run, monkeypatch, capfd, encoding, errors
):
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding, errors=errors)
    monkeypatch.setattr(sys, "stdout", out)
    prompt = "λ漢\udcff"
    ask = ["generate", run, "--prompt", prompt, "--max-new-tokens", "5"]
    assert main([*ask, "--seed", "1"]) == 0
    printed = raw.getvalue().decode(encoding)
    wanted = prompt.replace("\udcff", "\ufffd")
    escaped = wanted.encode(encoding, "backslashreplace").decode(encoding)
    assert printed.startswith(escaped)
    assert out.errors == errors  # as it was


def test_output_that_cannot_be_written_is_named(run, monkeypatch, capsys):
    class Full(io.TextIOWrapper):
        full = False

        def write(self, text):
            self.full = True
            return super().write(text)

        def flush(self):
            if self.full:
                raise OSError(28, "No space left on device")

    monkeypatch.setattr("minidiff.cli.output.drop", lambda: None)
    monkeypatch.setattr(sys, "stdout", Full(io.BytesIO(), encoding="utf-8"))
    assert main(["generate", run, "--prompt", "la"]) == 2
    assert "standard output: could not be written" in capsys.readouterr().err


def test_a_reader_that_has_gone_is_no_error(run, monkeypatch, capsys):
    class Closed(io.TextIOWrapper):
        closing = False

        def write(self, text):
            self.closing = True
            return super().write(text)

        def flush(self):
            if self.closing:
                raise BrokenPipeError(32, "Broken pipe")

    module = sys.modules["minidiff.cli.main"]
    monkeypatch.setattr(module, "drop", lambda: None)
    monkeypatch.setattr(sys, "stdout", Closed(io.BytesIO(), encoding="utf-8"))
    assert main(["generate", run, "--prompt", "la"]) == 141
    assert "error" not in capsys.readouterr().err.replace("step/s", "")
