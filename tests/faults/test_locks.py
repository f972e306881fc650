"""One writer at a time: run folders and builds of token files are locked."""

import os
import signal
import subprocess
import sys
import threading

import pytest
import torch

from minidiff.cli import main
from minidiff.data import ByteTokenizer, NeedleTask, write_tokens
from minidiff.files.lock import Lock
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM
from minidiff.training.config import TrainConfig
from minidiff.training.loop import train
from minidiff.training.step import Updates

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX locks")
pytestmark = posix
DATA = NeedleTask(length=8, keys=4, values=4, noise=4)
CONFIG = TrainConfig(
    steps=4, batch_size=2, warmup_steps=1, eval_batches=1, checkpoint_every=1
)
TEXTS = [("train", "abc" * 9), ("valid", "xyz" * 9)]
# Holds the lock of sys.argv[1] and leaves a temporary file, as a run does.
HOLDER = (
    "import sys, time; from pathlib import Path\n"
    "from minidiff.files.lock import Lock\n"
    "from minidiff.files.atomic import replacing\n"
    "path = Path(sys.argv[1]); lock = Lock(path, 'it')\n"
    "with replacing(path.with_name('half')):\n"
    "    print('held', flush=True); time.sleep(600)\n"
)


def fit(folder, resume=False):
    torch.manual_seed(0)
    sizes = {"embed_dim": 16, "num_layers": 1, "num_heads": 2}
    model = DecoderLM(
        ModelConfig(**sizes, max_length=8, vocab_size=DATA.vocab_size)
    )
    return train(
        model, DATA, CONFIG, run_dir=folder, resume=resume, progress=False
    )


@pytest.fixture
def hold():
    """A function that makes another process hold the lock at a path."""
    started = []

    def hold(path):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_second_writer_is_refused_and_named(tmp_path, hold):
    fit(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    other = hold(tmp_path / "run.lock")
    with pytest.raises(
        ValueError,
        match=rf"run_dir: {tmp_path} is being written by process {other.pid} "
        "on .*, expected nobody else",
    ):
        fit(tmp_path, resume=True)
    after = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert before.items() <= after.items()


def test_the_lock_of_a_killed_process_is_recognised(tmp_path, hold):
    log = fit(tmp_path)
    before = names(tmp_path)
    other = hold(tmp_path / "run.lock")
    assert len(names(tmp_path)) == len(before) + 2
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert len(names(tmp_path)) == len(before) + 2  # nobody has cleaned up
    assert fit(tmp_path, resume=True) == log
    assert names(tmp_path) == before


def test_a_live_run_cannot_be_resumed_or_begun_again(tmp_path, monkeypatch):
    """Two runs in one process too: a notebook has threads."""
    real, said = Updates.update, []

    def update(self, data, step):
        if step == 2 and threading.current_thread() is first:
            for resume in (True, False):
                with pytest.raises(ValueError, match="is being written") as e:
                    fit(tmp_path / "run", resume)
                said.append(str(e.value))
        return real(self, data, step)

    first = threading.current_thread()
    monkeypatch.setattr(Updates, "update", update)
    log = fit(tmp_path / "run")
    assert len(said) == 2 and len(log) == 4
    assert fit(tmp_path / "run", resume=True) == log
    assert "run.lock" not in names(tmp_path / "run")


def test_the_lock_is_released_after_an_error(tmp_path):
    fit(tmp_path / "run")
    with pytest.raises(ValueError, match="already holds a run"):
        fit(tmp_path / "run")
    (tmp_path / "run" / "log.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"log\.jsonl: expected the 4 steps"):
        fit(tmp_path / "run", resume=True)
    assert "run.lock" not in names(tmp_path / "run")


@pytest.mark.parametrize("resume", [True, False])
def test_the_command_refuses_a_live_run(tmp_path, hold, capsys, resume):
    run = tmp_path / "run"
    sizes = ["--width", "16", "--heads", "2", "--layers", "1"]
    sizes += ["--steps", "1", "--length", "16"]
    command = ["train", "--data", "needles", "--out", str(run), *sizes]
    assert main(command) == 0
    hold(run / "run.lock")
    capsys.readouterr()
    again = ["train", "--out", str(run), "--resume"]
    assert main(again if resume else command) == 2
    assert f"{run} is being written by process" in capsys.readouterr().err


def test_two_new_runs_in_one_folder(tmp_path, hold, capsys):
    """The other has made the folder and its lock, and nothing else yet."""
    run = tmp_path / "run"
    run.mkdir()
    other = hold(run / "run.lock")
    command = ["train", "--data", "needles", "--out", str(run), "--steps", "1"]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert f"--out: {run} is being written by process {other.pid}" in said
    other.kill()
    other.wait()
    assert main([*command, "--width", "16", "--heads", "2"]) == 0


def test_two_builds_of_the_same_token_files(tmp_path, hold, capsys):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("la " * 99)
    out = tmp_path / "data"
    other = hold(tmp_path / "data.lock")
    with pytest.raises(
        ValueError, match=r"folder: .*data is being written by"
    ):
        write_tokens(out, TEXTS, ByteTokenizer(), about={})
    build = ["tokens", str(tmp_path / "texts"), "--out", str(out)]
    assert main(build) == 2
    assert "--out: " in capsys.readouterr().err
    write_tokens(tmp_path / "other", TEXTS, ByteTokenizer(), about={})
    other.kill()
    other.wait()
    assert main(build) == 0
    assert names(tmp_path) == ["data", "other", "texts"]


def test_a_file_of_somebody_else_is_no_lock(tmp_path):
    path = tmp_path / "data.lock"
    path.write_text("notes")
    with pytest.raises(ValueError, match=r"data\.lock: not a lock of minid"):
        write_tokens(tmp_path / "data", TEXTS, ByteTokenizer(), about={})
    assert path.read_text() == "notes" and names(tmp_path) == ["data.lock"]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match=r"data\.lock: not a regular file"):
        write_tokens(tmp_path / "data", TEXTS, ByteTokenizer(), about={})


def test_a_lock_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(file, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minidiff.files.lock.os.write", full)
    with pytest.raises(OSError, match=r"run\.lock: could not be written \(No"):
        fit(tmp_path)
    assert names(tmp_path) == []


def test_only_the_files_of_the_killed_process_are_removed(tmp_path, hold):
    other = hold(tmp_path / "run.lock")
    (half,) = (n for n in names(tmp_path) if n.startswith("half"))
    similar = half.replace(".part", ".txt"), "half.0123456789abcdef-0.part"
    for name in similar:
        (tmp_path / name).write_text("mine")
    other.kill()
    other.wait()
    lock = Lock(tmp_path / "run.lock", "it")
    assert names(tmp_path) == sorted([*similar, "run.lock"])
    lock.release()
    lock.release()  # twice is no error
    assert names(tmp_path) == sorted(similar)
