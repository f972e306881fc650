import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from test_loop import DATA, SHORT, make

from minidiff.data import (
    ByteTokenizer,
    NeedleTask,
    TokenData,
    write_tokens,
)
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM
from minidiff.training.checkpoint import load_checkpoint
from minidiff.training.loop import train
from minidiff.training.signals import HANGUP, SIGNALS, Stopping
from minidiff.training.step import Updates

# Checkpoints every 5 steps, so that most kills land between two of them.
PROGRAM = """
import sys, torch
torch.set_num_threads(1)
from minidiff.data import NeedleTask
from minidiff.nn.model import DecoderLM
from minidiff.nn.config import ModelConfig
from minidiff.training.config import TrainConfig
from minidiff.training.loop import train
data = NeedleTask(length=16, keys=8, values=8, noise=16)
torch.manual_seed(0)
model = DecoderLM(ModelConfig(
    vocab_size=data.vocab_size, embed_dim=32, num_layers=2, num_heads=4,
    max_length=16))
config = TrainConfig(
    steps=60, batch_size=8, eval_every=10, eval_batches=1,
    checkpoint_every=5)
train(model, data, config, run_dir=sys.argv[1],
      resume=sys.argv[2] == "resume", progress=False)
"""


def start(folder, mode):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), mode], env=environment
    )


def kill_after(process, log, lines):
    """Kill a process, as the kernel would, once the log is that long."""
    deadline = time.monotonic() + 120
    while not log.exists() or log.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, "the run ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.skipif(os.name != "posix", reason="needs kill -9")
def test_after_kill_9_the_losses_are_the_same_bit_for_bit(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert start(whole, "new").wait() == 0
    log = broken / "log.jsonl"
    mode = "new"
    for lines in (3, 17, 38):
        kill_after(start(broken, mode), log, lines)
        mode = "resume"
    assert start(broken, "resume").wait() == 0
    assert log.read_bytes() == (whole / "log.jsonl").read_bytes()
    # Weights and optimiser alike. The files' headers may differ in order.
    ends = [load_file(f / "checkpoint.safetensors") for f in (whole, broken)]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][n], ends[1][n]) for n in ends[0])


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A run that stopped at step 5: log ahead of the checkpoint of four."""
    real = Updates.update

    def stop(self, data, step):
        if step == 5:
            raise KeyboardInterrupt
        return real(self, data, step)

    monkeypatch.setattr(Updates, "update", stop)
    with pytest.raises(KeyboardInterrupt):
        train(make(), DATA, SHORT, run_dir=tmp_path, progress=False)
    monkeypatch.setattr(Updates, "update", real)
    return tmp_path


def resume(folder, model=None, data=DATA, config=SHORT):
    return train(
        model or make(),
        data,
        config,
        run_dir=folder,
        resume=True,
        progress=False,
    )


def test_log_is_cut_to_the_checkpoint(stopped):
    path = stopped / "log.jsonl"
    assert len(path.read_text().splitlines()) == 5
    # A line torn by the kill, too.
    with path.open("a") as file:
        file.write('{"step": 5, "lo')
    log = resume(stopped)
    assert log == train(make(), DATA, SHORT, progress=False)
    assert [json.loads(x) for x in path.read_text().splitlines()] == log


def test_resuming_does_not_need_the_same_first_weights(stopped):
    model = make()
    for parameter in model.parameters():
        torch.nn.init.ones_(parameter.data)
    assert resume(stopped, model) == train(make(), DATA, SHORT, progress=False)


def test_a_finished_run_is_returned_as_it_was(tmp_path):
    log = train(make(), DATA, SHORT, run_dir=tmp_path, progress=False)
    assert resume(tmp_path) == log


def test_a_folder_with_a_run_is_refused(stopped):
    before = (stopped / "log.jsonl").read_bytes()
    with pytest.raises(ValueError, match="already holds a run"):
        train(make(), DATA, SHORT, run_dir=stopped, progress=False)
    assert (stopped / "log.jsonl").read_bytes() == before


def test_killed_before_the_first_checkpoint_starts_again(tmp_path):
    assert resume(tmp_path) == train(make(), DATA, SHORT, progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"config": replace(SHORT, lr=0.1)},
            r"config\.lr: got 0.1, expected 0.003",
        ),
        (
            {"config": replace(SHORT, betas=(0.8, 0.9))},
            r"config\.betas\[0\]: got 0.8, expected 0.9",
        ),
        ({"config": replace(SHORT, steps=7)}, r"config\.steps: got 7"),
        ({"data": replace(DATA, seed=1)}, r"data\.seed: got 1, expected 0"),
        ({"data": replace(DATA, keys=3, noise=5)}, r"data\.keys: got 3"),
        (
            {"model": make("softmax")},
            r"model\.attention: got 'softmax', expected 'diff'",
        ),
    ],
)
def test_another_setting_is_refused_by_name(stopped, changes, message):
    with pytest.raises(ValueError, match=message):
        resume(stopped, **changes)


def test_other_data_are_named_in_one_line(tmp_path):
    """A source may describe itself at any length and depth."""

    class Described(NeedleTask):
        files = ()

        def describe(self):
            files = [{"path": path, "tokens": 7} for path in self.files]
            return super().describe() | {"about": {"files": files}}

    data = Described(needles=1, length=8, keys=4, values=4, noise=4)
    data.files = [f"{i}.txt" for i in range(3000)]
    train(make(), data, SHORT, run_dir=tmp_path, progress=False)
    data.files[2000] = "other.txt"
    message = (
        r"data\.about\.files\[2000\]\.path: got 'other\.txt', "
        r"expected '2000\.txt' as in the run"
    )
    with pytest.raises(ValueError, match=message):
        resume(tmp_path, data=data)
    data.files = data.files[:3]
    with pytest.raises(ValueError, match=r"files\[3\]: got nothing, exp") as e:
        resume(tmp_path, data=data)
    assert len(str(e.value)) < 300 + len(str(tmp_path))


def test_a_damaged_log_is_named(stopped):
    path = stopped / "log.jsonl"
    path.write_text("".join(path.read_text().splitlines(True)[1:]))
    with pytest.raises(ValueError, match=r"log\.jsonl: expected the 4 steps"):
        resume(stopped)


def test_killed_while_the_checkpoints_change_places(stopped):
    (stopped / "checkpoint.safetensors").unlink()
    assert load_checkpoint(stopped).train["step"] == 2
    assert resume(stopped) == train(make(), DATA, SHORT, progress=False)


def test_a_log_without_checkpoint_is_named(stopped):
    for name in ("checkpoint", "checkpoint.previous"):
        (stopped / f"{name}.safetensors").unlink()
    with pytest.raises(ValueError, match="has a log but no checkpoint"):
        resume(stopped)


def test_nothing_to_resume_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"run_dir: got .*nowhere"):
        resume(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="resume: got True without run_dir"):
        train(
            make(),
            NeedleTask(needles=1, length=8, keys=4, values=4, noise=4),
            SHORT,
            resume=True,
            progress=False,
        )


def test_the_place_in_a_stream_of_token_files_is_saved(tmp_path):
    texts = [("train", "abcdefgh" * 12), ("valid", "hgfedcba" * 12)]
    folder, run = tmp_path / "tokens", tmp_path / "run"
    tokenizer = ByteTokenizer()
    write_tokens(folder, texts, tokenizer, about={}, progress=False)

    def model():
        torch.manual_seed(0)
        sizes = {"embed_dim": 16, "num_layers": 1, "num_heads": 2}
        return DecoderLM(ModelConfig(**sizes, max_length=8))

    class Interrupted(TokenData):
        def batch(self, step, batch_size, split, rows):
            if split == "train" and step == 4:
                signal.raise_signal(signal.SIGINT)
            return super().batch(step, batch_size, split, rows)

    # 12 windows an epoch, 4 a step: it stops within the second epoch.
    with pytest.raises(KeyboardInterrupt):
        data = Interrupted(folder, length=8)
        train(model(), data, SHORT, run_dir=run, progress=False)
    place = load_checkpoint(run).train
    assert (place["step"], place["rows"]) == (5, 20)
    data = TokenData(folder, length=8)
    log = resume(run, model(), data)
    assert log == train(model(), data, SHORT, progress=False)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_a_program_saves_too(tmp_path, number):
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("the tests are run by nohup")

    class Interrupting(NeedleTask):
        at = 4

        def batch(self, step, batch_size, split, rows):
            if split == "train" and step == self.at:
                signal.raise_signal(number)
            return super().batch(step, batch_size, split, rows)

    data = Interrupting(needles=1, length=8, keys=4, values=4, noise=4)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt, match="after 5 of 6 steps"):
        train(make(), data, SHORT, run_dir=tmp_path, progress=False)
    assert signal.getsignal(number) == before
    Interrupting.at = -1
    assert resume(tmp_path, data=data) == train(
        make(), DATA, SHORT, progress=False
    )
    # Nothing to save: it breaks off where it is.
    number, Interrupting.at = signal.SIGINT, 2
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        train(make(), data, SHORT, progress=False)


@pytest.fixture
def hangup():
    """The number of SIGHUP, as programs find it that nohup does not run."""
    if not HANGUP:
        pytest.skip("needs SIGHUP")
    before = signal.signal(HANGUP, signal.SIG_DFL)
    yield HANGUP
    signal.signal(HANGUP, before)


def test_a_terminal_may_close_twice(hangup):
    with Stopping() as stop:
        for _ in range(3):  # the shell and the system each send one
            signal.raise_signal(hangup)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_under_nohup_a_run_goes_on(hangup):
    signal.signal(hangup, signal.SIG_IGN)
    with Stopping() as stop:
        signal.raise_signal(hangup)
    assert not stop.asked
    assert signal.getsignal(hangup) == signal.SIG_IGN
