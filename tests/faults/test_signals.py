"""A command that a signal ends keeps what it has and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from minidiff.cli.signals import Ended, ended_like_ctrl_c

if os.name == "nt":
    pytest.skip("Windows has no such signals", allow_module_level=True)
# As where nohup does not run, which would leave SIGHUP ignored.
AS_USUAL = (
    "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    "from minidiff.cli import main; sys.exit(main(sys.argv[1:]))"
)


def end(number, when, *arguments):
    """Start a command, send the signal when ``when`` is true."""
    process = subprocess.Popen(
        [sys.executable, "-c", AS_USUAL, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while process.poll() is None and not when():
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, said


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_benchmark_keeps_its_rows(name, tmp_path):
    out, number = tmp_path / "bench.json", getattr(signal, name)

    def measured():
        return out.exists() and json.loads(out.read_text())["rows"]

    options = ["--length", "64", "--rounds", "100000", "--device", "cpu"]
    code, said = end(
        number, measured, "bench", "attention", *options, "--out", out
    )
    assert code == 128 + number, said
    assert said.endswith(f"minidiff: ended by {name}\n")
    record = json.loads(out.read_text())
    assert record["stopped"] is True and record["rows"]
    assert os.listdir(tmp_path) == ["bench.json"]


def test_token_files_that_are_not_complete_are_removed(tmp_path):
    texts, out = tmp_path / "texts", tmp_path / "tokens"
    texts.mkdir()
    for i in range(40):
        (texts / f"{i}.txt").write_text(f"word{i} " * 200_000)

    def begun():
        return any(p.name != "texts" for p in tmp_path.iterdir())

    code, said = end(
        signal.SIGTERM, begun, "tokens", texts, "--tokenizer", "byte",
        "--out", out,
    )  # fmt: skip
    assert code == 128 + signal.SIGTERM, said
    assert os.listdir(tmp_path) == ["texts"]


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_a_callers_handler_is_left_alone(handler):
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with ended_like_ctrl_c():
            assert signal.getsignal(signal.SIGTERM) is handler
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_default_comes_back():
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with (
            pytest.raises(Ended, match="ended by SIGTERM"),
            ended_like_ctrl_c(),
        ):
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
