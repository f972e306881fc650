"""Closed standard streams, and names that a program gives a meaning."""

import os
import subprocess
import sys

import matplotlib
import pytest

matplotlib.use("agg")
import matplotlib.pyplot as plt

from minidiff.check import kept
from minidiff.cli import main
from minidiff.course import paths
from minidiff.plots import LiveTraining
from minidiff.plots.runs import draw_runs

TINY = [
    *("--width", "16", "--layers", "1", "--heads", "2", "--steps", "2"),
    *("--batch-size", "2", "--length", "16", "--data", "needles"),
]
RECORD = {"loss": 1.0, "lr": 1e-3, "grad_norm": 1.0}
LOG = [RECORD | {"step": i, "tokens": 8 * (i + 1)} for i in range(3)]


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", "<&-"])
@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_training_with_a_closed_stream(closed, tmp_path):
    """As in a service; there sys.stderr is None, and a bar writes to it."""
    train = [sys.executable, "-m", "minidiff", "train", *TINY, "--out", "run"]
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *train]
    assert subprocess.run(command, cwd=tmp_path, timeout=300).returncode == 0
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_streams_are_as_before(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["generate", "no such run", "--prompt", "a"]) == 2
    assert sys.stderr is None


NOBODY = "~no-such-user/texts"


def test_the_home_of_a_user_who_does_not_exist(tmp_path, capsys, monkeypatch):
    """A shell leaves such a name as it was typed."""
    out = str(tmp_path / "run")
    assert main(["train", *TINY[:-2], "--data", NOBODY, "--out", out]) == 2
    err = capsys.readouterr().err
    assert "--data: got " in err and NOBODY in err
    monkeypatch.setenv(kept.VARIABLE, NOBODY)
    assert str(kept.folder()) == NOBODY
    monkeypatch.setenv("MINIDIFF_RUNS", NOBODY)
    assert str(paths.runs("a")) == f"{NOBODY}/a"


@pytest.mark.parametrize("name", ["a", "_a", "a$b$c", "$\\foo$", "$_{", "a_b"])
def test_a_run_of_any_name_is_in_the_legend(name):
    """Matplotlib leaves out _a, and reads $...$ as mathematics."""
    figure = draw_runs({"plain": LOG, name: LOG})
    figure.canvas.draw()
    texts = figure.axes[0].get_legend().texts
    shown = [text.get_text().replace(r"\$", "$") for text in texts]
    assert shown == ["plain", f"./{name}" if name[0] == "_" else name]
    assert not any(text._preprocess_math(text.get_text())[1] for text in texts)
    plt.close(figure)


def test_a_training_of_any_name_is_drawn(capsys):
    live = LiveTraining(2, r"$\foo$")
    live(LOG[0])
    figure = live.draw()
    figure.canvas.draw()
    plt.close(figure)
