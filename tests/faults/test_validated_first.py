"""Everything is checked before the first file of a folder appears."""

import json
import os

import pytest
import torch

from minidiff.cli import main, train_plan
from minidiff.data.evidence import ENGLISH, fetch
from minidiff.files import atomic

TINY = [
    *("--width", "16", "--layers", "1", "--heads", "2", "--steps", "2"),
    *("--batch-size", "2", "--length", "16"),
]


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(20):
        (folder / f"{i}.txt").write_text(f"text {i}: " + "la li lu " * 20)
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--tokenizer bpe --heads 5", "--heads"),
        ("--tokenizer bpe --vocab-size 300 --length 9999", "--length"),
        ("--seed -1", "--seed: got -1"),
        ("--seed 18446744073709551616", "--seed: got 18446744073709551616"),
        ("--device meta", "--device: got 'meta'"),
        ("--device cuda:99", "--device: got 'cuda:99'"),
        ("--device toaster", "--device: got 'toaster'"),
        ("--batch-size 3 --accumulate 2", "--accumulate"),
        ("--batch-size 0", "--batch-size: got 0"),
        ("--steps 0", "--steps: got 0"),
        ("--steps -5", "--steps: got -5"),
        ("--lr nan", "--lr: got nan"),
        ("--lr inf", "--lr: got inf"),
        ("--lr 0", "--lr: got 0"),
        ("--threads 0", "--threads: got 0, expected 1 or more"),
        ("--length 0", "--length: got 0"),
        ("--width 33", "--width"),
        ("--layers 0", "--layers: got 0"),
        ("--layers 100000000000000000000", "--layers: got 1000"),
        ("--width 99999999999", "--width: got 99999999999, expected at mo"),
        ("--width 262144 --layers 4096", "--layers"),
        ("--length 16777216 --width 262144 --heads 2", "--length"),
        ("--vocab-size 99999999999", "--vocab-size: got 9999"),
        ("--vocab-size 3", "--vocab-size: got 3"),
        ("--needles 0", "--needles: got 0"),
        ("--accumulate 99999999999999999999", "--accumulate: got 99999"),
        ("--data needles --needles 65", "--needles: got 65"),
        ("--data needles --length 4", "--length"),
        ("--data /nowhere", "--data"),
        ("--backend triton --width 24 --heads 2 --attention diff", "got wid"),
    ],
)
def test_a_run_that_cannot_be_leaves_no_folder(texts, capsys, options, says):
    data = ["--data", str(texts), "--out", str(texts.parent / "run")]
    assert main(["train", *data, *options.split()]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
    assert names(texts.parent) == ["texts"]


def test_a_folder_that_was_there_stays_as_it_was(texts, capsys):
    out = texts.parent / "run"
    out.mkdir()
    data = ["--data", str(texts), "--out", str(out)]
    assert main(["train", *data, "--tokenizer", "bpe", "--heads", "5"]) == 2
    assert names(out) == []
    (out / "mine").write_text("mine")
    assert main(["train", *data, *TINY]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert names(out) == ["mine"]


@pytest.mark.parametrize("kind", ["byte", "bpe"])
@pytest.mark.parametrize("number", range(7))
def test_killed_at_each_write_a_rerun_or_resume_goes_on(
    texts, monkeypatch, capsys, kind, number
):
    """The process ends before its n-th rename, and leaves what is there."""
    run = texts.parent / "run"
    command = ["train", "--data", str(texts), "--out", str(run), *TINY]
    command += ["--tokenizer", kind, "--vocab-size", "270"]
    if os.name != "posix":
        pytest.skip("needs fork")
    if torch.version.cuda:
        pytest.skip("PyTorch's CUDA build allows no autograd after a fork")
    child = os.fork()
    if child == 0:
        count, real = iter(range(number + 1)), os.replace

        def replace(old, new):
            if next(count) == number:
                os._exit(9)
            real(old, new)

        try:
            monkeypatch.setattr(atomic.os, "replace", replace)
            main(command)
        finally:  # never a second copy of the tests
            os._exit(0)
    _, status = os.waitpid(child, 0)
    killed = os.waitstatus_to_exitcode(status) == 9
    again = main(["train", "--out", str(run), "--resume"])
    if again != 0:
        assert killed and not (run / "run.json").exists()
        assert main(command) == 0
    assert len((run / "log.jsonl").read_text().splitlines()) == 2
    assert main(["generate", str(run), "--prompt", "la"]) == 0
    assert not [n for n in names(run) if n.endswith((".part", ".lock"))]


def test_a_full_disk_leaves_no_new_folder(texts, monkeypatch, capsys):
    real = atomic.os.replace
    command = ["train", "--data", str(texts), "--tokenizer", "bpe", *TINY]
    for name in ("run.json", "files.json", "tokenizer.json"):

        def replace(old, new, name=name):
            if os.path.basename(new) == name:
                raise OSError(28, "No space left on device")
            real(old, new)

        monkeypatch.setattr(atomic.os, "replace", replace)
        assert main([*command, "--out", str(texts.parent / "run")]) == 2
        assert (
            f"{name}: could not be written (No sp" in capsys.readouterr().err
        )
        assert names(texts.parent) == ["texts"]


def test_a_resumed_run_is_checked_too(texts, capsys):
    run = texts.parent / "run"
    command = ["train", "--data", str(texts), "--out", str(run), *TINY]
    assert main(command) == 0
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    again = ["train", "--out", str(run), "--resume"]
    for options in ("--accumulate 3", "--threads -1", "--backend triton"):
        assert main([*again, *options.split()]) == 2
    card = json.loads((run / "run.json").read_text())
    for name, value in (("device", "meta"), ("seed", -1), ("lr", "x")):
        bad = card | {"settings": card["settings"] | {name: value}}
        (run / "run.json").write_text(json.dumps(bad))
        capsys.readouterr()
        assert main(again) == 2
        assert name in capsys.readouterr().err
    (run / "run.json").write_bytes(before["run.json"])
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before
    assert main(again) == 0


def test_the_model_is_tried_before_anything_is_written(texts, monkeypatch):
    def fail(*args):
        raise ValueError("this backend cannot")

    monkeypatch.setattr(train_plan, "_try_one_row", fail)
    command = ["train", "--data", str(texts), "--out", str(texts / "run")]
    assert main([*command, *TINY]) == 2
    assert not (texts / "run").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--tokenizer bpe --vocab-size 3", "--vocab-size: got 3"),
        ("--tokenizer bpe --vocab-size 99999999999", "--vocab-size: got 99"),
        ("--tokenizer nowhere.json", "nowhere.json: no such file"),
        ("--most 0", "--most: got 0"),
        ("--most -3", "--most: got -3"),
    ],
)
def test_token_files_that_cannot_be_leave_nothing(
    texts, monkeypatch, capsys, options, says
):
    def never(*args, **kwargs):
        raise AssertionError("read before the options were checked")

    monkeypatch.setattr("minidiff.data.read_folder", never)
    out = texts.parent / "t"
    command = ["tokens", str(texts), "--out", str(out), *options.split()]
    assert main(command) == 2
    assert says in capsys.readouterr().err
    assert names(texts.parent) == ["texts"]


def test_a_fetch_that_fails_leaves_no_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    archive = next(s.archive for s in ENGLISH if s.archive.registry == "npm")
    with pytest.raises(ValueError, match="could not be downloaded"):
        fetch(tmp_path / "new", [archive])
    assert names(tmp_path) == []
    (tmp_path / "file").write_text("mine")
    assert main(["fetch", str(tmp_path / "file")]) == 2
    assert "file is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ("generate r --prompt x --temperature nan", "--temperature"),
        ("generate r --prompt x --temperature -1", "--temperature"),
        ("generate r --prompt x --top-p 0", "--top-p"),
        ("generate r --prompt x --top-p nan", "--top-p"),
        ("generate r --prompt x --seed -1", "--seed"),
        ("generate r --prompt x --seed 99999999999999999999", "--seed"),
        ("generate r --prompt x --max-new-tokens 0", "--max-new-tokens"),
        ("evaluate r --rows 0", "--rows"),
        ("evaluate r --batch-size -1", "--batch-size"),
        ("evaluate r --first -1", "--first"),
        ("bench attention --rounds 0", "--rounds"),
        ("bench attention --device cpu --tokens 0", "--tokens"),
        ("bench decode --batch 1 -2", "--batch"),
        ("bench decode --hidden 99999999999999", "--hidden"),
        ("bench train --layers 99999999999999999999", "--layers"),
        ("bench train --vocab-size 0", "--vocab-size"),
        ("bench attention --device cpu --tokens 9007199254740992", "--tokens"),
        ("bench train --device cpu --layers 4096 --hidden 262144", "--hidden"),
        ("tokens evidence --out x --most-packages -1", "--most-packages"),
    ],
)
def test_an_odd_number_is_refused_by_the_flags_name(capsys, command, flag):
    assert main(command.split()) == 2
    said = capsys.readouterr().err
    assert f"error: {flag}" in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ("train --out r --layers 1e20", "--layers"),
        ("train --out r --steps two", "--steps"),
        ("evaluate r --needles 0,1", "--needles"),
        ("evaluate r --needles 1,,2", "--needles"),
        ("evaluate r --lengths 99999999999999", "--lengths"),
        ("evaluate r --parts loss,colour", "--parts"),
        ("evaluate r --windows 0", "--windows"),
        ("evaluate r --windows 3,4", "--windows"),
        ("evaluate r --windows 99999999999999", "--windows"),
    ],
)
def test_what_is_no_number_is_refused_by_the_flags_name(capsys, command, flag):
    assert main(command.split()) == 2
    assert f"error: {flag}: got " in capsys.readouterr().err


@pytest.mark.parametrize("bad", ["", "a\0b"])
@pytest.mark.parametrize(
    ("command", "flag"),
    [
        (["train", "--out"], "--out"),
        (["train", "--out", "r", "--data"], "--data"),
        (["train", "--out", "r", "--device"], "--device"),
        (["tokens"], "SOURCE"),
        (["tokens", "stdlib", "--out"], "--out"),
        (["tokens", "stdlib", "--out", "t", "--tokenizer"], "--tokenizer"),
        (["evaluate", "r", "--tokens"], "--tokens"),
        (["plot"], "RUN"),
        (["generate", "--prompt", "x"], "RUN"),
        (["fetch"], "FOLDER"),
    ],
)
def test_an_empty_name_is_refused(capsys, command, flag, bad):
    more = ["--out", "t"] if command == ["tokens"] else []
    assert main([*command, bad, *more]) == 2
    assert f"error: {flag}" in capsys.readouterr().err
