"""A run goes on after anything, bit for bit, or says why it cannot."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from minidiff.train import train
from tests import small

RUN = """
import sys, torch
torch.set_num_threads(1)
from minidiff.train import train
from tests import small
train(small.model(), small.TASK, small.config(steps=100000),
      run_dir=sys.argv[1], progress=False)
"""


def go(folder, resume=False, attention="diff", task=small.TASK, **changes):
    return train(
        small.model(attention, seed=5 if resume else 0),
        task,
        small.config(**changes),
        run_dir=folder,
        resume=resume,
        progress=False,
    )


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_after_kill_9_the_losses_are_the_same_bit_for_bit(
    tmp_path, one_thread
):
    folder = tmp_path / "run"
    child = subprocess.Popen([sys.executable, "-c", RUN, folder])
    log = folder / "log.jsonl"
    deadline = time.monotonic() + 120
    while not log.exists() or log.read_text().count("\n") < 30:
        assert child.poll() is None, "the run ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    # The plan was 100000 steps: the schedule depends on it, so both runs
    # below keep it and are stopped by their data at step 60.
    lengths = []
    for run_dir, resume in ((folder, True), (tmp_path / "whole", False)):
        task = StopsAt(60)
        with pytest.raises(KeyboardInterrupt):
            go(run_dir, resume, task=task, steps=100000)
        lengths.append(task.first)
    assert 0 < lengths[0] <= 60 and lengths[1] == 0
    resumed, whole = (
        (tmp_path / name / "log.jsonl").read_text()
        for name in ("run", "whole")
    )
    assert resumed == whole
    assert whole.count("\n") == 60


class StopsAt:
    """The small task, interrupted when a step is asked for."""

    vocab_size = small.TASK.vocab_size
    describe = staticmethod(small.TASK.describe)

    def __init__(self, step):
        self.last, self.first = step, None

    def batch(self, step, batch_size, split="train"):
        if split == "train":
            self.first = step if self.first is None else self.first
            if step == self.last:
                raise KeyboardInterrupt
        return small.TASK.batch(step, batch_size, split)


def test_a_torn_last_line_is_dropped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, task=StopsAt(7))
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 7, "lo')
    resumed = go(tmp_path, resume=True)
    assert resumed == go(tmp_path / "whole")


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    log = go(tmp_path)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    assert go(tmp_path, resume=True) == log
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    go(tmp_path)
    before = (tmp_path / "log.jsonl").read_text()
    with pytest.raises(ValueError, match="already holds a run"):
        go(tmp_path)
    assert (tmp_path / "log.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 1e-4}, r"config\.lr: got 0\.0001, expected 0\.003"),
        ({"attention": "softmax"}, r"model\.attention: got 'softmax'"),
        ({"steps": 13}, r"config\.steps: got 13, expected 12"),
    ],
)
def test_another_setting_is_refused_by_name(tmp_path, changes, message):
    go(tmp_path)
    with pytest.raises(ValueError, match=message):
        go(tmp_path, resume=True, **changes)


def test_a_log_that_lost_lines_is_refused(tmp_path):
    go(tmp_path)
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join(log.read_text().splitlines()[1:]) + "\n")
    with pytest.raises(ValueError, match="expected the 12 steps"):
        go(tmp_path, resume=True)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(ValueError, match="expected the folder of a run"):
        go(tmp_path / "nowhere", resume=True)
