"""Faults, done for real: full disks, kills, signals, damaged files."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest
from commands import POSIX, Command
from conftest import need
from safetensors.torch import load_file

from minidiff.training.checkpoint import load, load_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not POSIX, reason="forks, signals and limits"),
]

TRAIN = [
    *("train", "--data", "needles", "--length", "16", "--width", "16"),
    *("--layers", "1", "--heads", "2", "--batch-size", "4"),
]
CHECKPOINT = "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"


def resume(folder):
    assert Command("train", "--out", folder, "--resume").finish()[0] == 0
    return (folder / "log.jsonl").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The log of 250 steps that nothing disturbed, in a new Python."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    arguments = [*TRAIN, "--steps", "250", "--out", str(folder)]
    subprocess.run([sys.executable, "-m", "minidiff", *arguments], check=True)
    return (folder / "log.jsonl").read_bytes()


def limit(size):
    """What a command does first: no file of its may grow beyond size."""
    return f"import resource as r; r.setrlimit(r.RLIMIT_FSIZE, ({size},) * 2)"


def test_a_checkpoint_that_does_not_fit_on_the_disk(tmp_path, whole):
    run = tmp_path / "run"
    # Weights alone fit; with the optimiser's averages they are three times
    # as large.
    size = 16 * 4 * 1100
    arguments = (*TRAIN, "--steps", 250, "--out", run)
    status, said = Command(*arguments, code=limit(size)).finish()
    assert status == 2
    assert f"{run / CHECKPOINT}: could not be written" in said[0]
    assert "File too large" in said[0] and "step 0" in said[0]
    assert load_checkpoint(run).train["step"] == 0
    assert not list(run.glob("*.part"))
    assert resume(run) == whole


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 kB, and a way to make it larger."""
    mount = shutil.which("mount")
    need(mount and os.geteuid() == 0, "mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()

    def size(text, *options):
        options = ("-t", "tmpfs", "-o", f"size={text}", *options)
        return subprocess.run(
            [mount, *options, "tmpfs", folder], capture_output=True, text=True
        )

    done = size("200k")
    need(done.returncode == 0, f"no small disk: {done.stderr.strip()}")
    yield folder, lambda text: size(text, "-o", "remount")
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk(small_disk, whole):
    disk, grow = small_disk
    run = disk / "run"
    status, said = Command(*TRAIN, "--steps", 250, "--out", run).finish()
    assert status == 2
    assert "No space left on device" in said[0] and "resume" in said[0]
    step = load_checkpoint(run).train["step"]
    assert f"step {step}" in said[0] and step < 250
    # Still full: nothing is lost by trying.
    status, _ = Command("train", "--out", run, "--resume").finish()
    assert status == 2 and load_checkpoint(run).train["step"] == step
    assert grow("2m").returncode == 0
    assert resume(run) == whole


def test_a_log_that_does_not_fit_on_the_disk(tmp_path, whole):
    run = tmp_path / "run"
    arguments = (*TRAIN, "--steps", 250, "--out", run)
    # Checkpoints are rare, so that it is the log that grows too long.
    rare = (
        "from minidiff.training.run_folder import Run\n"
        "Run.checkpoint = lambda *a: None"
    )
    code = f"{rare}\n{limit(9000)}"
    status, said = Command(*arguments, code=code).finish()
    assert status == 2
    assert f"{run / 'log.jsonl'}: could not be written" in said[0]
    assert (run / "log.jsonl").stat().st_size == 9000  # a torn line


DIE = (
    "import os, signal; real, left = os.replace, [{}]\n"
    "def replace(*names):\n"
    "    if '.safetensors' in str(names[0]):\n"
    "        left[0] -= 1\n"
    "    if left[0] < 0:\n"
    "        os.kill(os.getpid(), signal.SIGKILL)\n"
    "    real(*names)\n"
    "os.replace = replace"
)


@pytest.mark.parametrize("renames", range(6))
def test_killed_between_writing_and_renaming(tmp_path, whole, renames):
    run = tmp_path / "run"
    arguments = (*TRAIN, "--steps", 250, "--out", run)
    status, _ = Command(*arguments, code=DIE.format(renames)).finish()
    assert status == -signal.SIGKILL
    if renames:  # at every later moment there is a model to load
        load(run)
    assert resume(run) == whole


# Also where the tests themselves are run by nohup.
NO_NOHUP = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, whole, name):
    run = tmp_path / "run"
    command = Command(*TRAIN, "--steps", 250, "--out", run, code=NO_NOHUP)
    log = run / "log.jsonl"
    while not log.exists() or log.read_bytes().count(b"\n") < 120:
        assert command.process.is_alive()
        time.sleep(0.001)
    os.kill(command.process.pid, getattr(signal, name))
    status, said = command.finish()
    assert status == 130
    steps = log.read_bytes().count(b"\n")
    assert load_checkpoint(run).train["step"] == steps < 250
    assert f"after {steps} of 250 steps" in said[0]
    assert f"minidiff train --out {run} --resume" in said[0]
    assert resume(run) == whole


def test_a_terminal_that_closes(tmp_path, whole):
    import pty  # on POSIX only

    run = tmp_path / "run"
    arguments = [*TRAIN, "--steps", "250", "--out", str(run)]
    process, terminal = pty.fork()
    if not process:
        exec(NO_NOHUP)
        os.execv(
            sys.executable, [sys.executable, "-m", "minidiff", *arguments]
        )
    log = run / "log.jsonl"
    while not log.exists() or log.read_bytes().count(b"\n") < 120:
        if select.select([terminal], [], [], 0.001)[0]:
            os.read(terminal, 4096)  # or the bar would wait for a reader
    os.close(terminal)
    status = os.waitpid(process, 0)[1]
    assert os.waitstatus_to_exitcode(status) == 130
    steps = log.read_bytes().count(b"\n")
    assert load_checkpoint(run).train["step"] == steps < 250
    assert resume(run) == whole


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_truncated_checkpoint(tmp_path, whole, share):
    run = tmp_path / "run"
    assert Command(*TRAIN, "--steps", 250, "--out", run).finish()[0] == 0
    assert load_checkpoint(run / PREVIOUS).train["step"] == 200
    # A copy: what load_file returns still reads the file.
    before = {n: t.clone() for n, t in load_file(run / CHECKPOINT).items()}
    cut(run / CHECKPOINT, share)
    status, said = Command("train", "--out", run, "--resume").finish()
    assert status == 2
    assert f"{run / CHECKPOINT}: cut short" in said[0]
    assert f"{PREVIOUS} is whole, of step 200" in said[0]
    (run / PREVIOUS).rename(run / CHECKPOINT)
    assert resume(run) == whole
    after = load_file(run / CHECKPOINT)
    assert all((before[name] == after[name]).all() for name in before)


def test_both_checkpoints_truncated(tmp_path):
    run = tmp_path / "run"
    assert Command(*TRAIN, "--steps", 120, "--out", run).finish()[0] == 0
    for name in (CHECKPOINT, PREVIOUS):
        cut(run / name, 0.5)
    status, said = Command("train", "--out", run, "--resume").finish()
    assert status == 2 and "is whole" not in said[0]


def test_a_config_that_does_not_fit_the_weights(tmp_path):
    run = tmp_path / "run"
    assert Command(*TRAIN, "--steps", 4, "--out", run).finish()[0] == 0
    files = {p: p.read_bytes() for p in run.glob("*.safetensors")}
    card = json.loads((run / "run.json").read_text())
    card["settings"]["width"] = 32
    (run / "run.json").write_text(json.dumps(card))
    status, said = Command("train", "--out", run, "--resume").finish()
    assert status == 2
    assert "model.embed_dim: got 32, expected 16 as in the run" in said[0]
    assert files == {p: p.read_bytes() for p in run.glob("*.safetensors")}


def test_a_loss_that_is_not_finite(tmp_path):
    run = tmp_path / "run"
    # So large a rate that the second step's weights overflow.
    arguments = (*TRAIN, "--steps", 250, "--lr", "1e30", "--out", run)
    status, said = Command(*arguments).finish()
    assert status == 2
    assert "expected a finite number: try a lower lr than 1e+30" in said[0]
    assert all(p.isfinite().all() for p in load(run).parameters())
