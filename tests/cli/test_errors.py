"""Errors use the words that the user typed: the option, never an argument.

Each case is a command with one mistake. Inside, the functions name their own
arguments, as ``embed_dim`` for --width.
"""

import os
import re
import subprocess
import sys

import pytest

from minidiff.cli import main
from minidiff.cli.options import as_options
from minidiff.cli.train_plan import OPTIONS
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM
from minidiff.training.checkpoint import save

NEEDLES = ["train", "--data", "needles", "--out", "{}/run", "--steps", "1"]
TEXT = ["train", "--out", "{}/run", "--steps", "1", "--data"]
TOKENS = ["tokens", "{}/texts", "--out", "{}/tokens"]
EVALUATE = ["evaluate", "{}/model.safetensors"]

CASES = [
    ([*NEEDLES, "--heads", "3"], "--heads: got 3, expected an even number"),
    ([*NEEDLES, "--width", "63"], "--width, --heads: got 63 and 4, expected"),
    ([*NEEDLES, "--heads", "1"], "--heads: got 1, expected an even number"),
    ([*NEEDLES, "--length", "3"], "--length: got 3, expected at least 5"),
    ([*NEEDLES, "--needles", "40"], "--length: got 64, expected at least 81"),
    ([*NEEDLES, "--lr", "1e200"], "--lr: got 1e+200, expected a finite"),
    (
        [*NEEDLES, "--batch-size", "5", "--accumulate", "2"],
        "--batch-size: got 5, expected a multiple of 2: 1 process, "
        "--accumulate 2",
    ),
    ([*NEEDLES, "--width", "200000"], "a model of --vocab-size 256, --width"),
    (
        [*NEEDLES, "--length", "10000000"],
        "--batch-size, --length: a batch of 32 x 10000000 tokens needs",
    ),
    ([*TEXT, "{}/nowhere"], "--data: got {}/nowhere, expected a folder"),
    ([*TEXT, "{}/empty"], "--data: {}/empty has no text"),
    (
        [*TEXT, "{}/texts", "--length", "9000"],
        "--data, --length: text to train on: got ",
    ),
    (["train", "--out", "{}/no", "--resume"], "--out: {}/no/run.json does"),
    (["generate", "{}/no", "--prompt", "a"], "RUN: {}/no/run.json does not"),
    (["tokens", "{}/nowhere", "--out", "{}/t"], "SOURCE: got {}/nowhere"),
    (["tokens", "{}/empty", "--out", "{}/t"], "SOURCE: {}/empty has no text"),
    ([*TOKENS, "--most", "1"], "SOURCE, --most: none for 'valid'"),
    ([*EVALUATE, "--needles", "2"], "--needles, --pairs: got 256 token ids"),
    ([*EVALUATE, "--pairs", "9", "--lengths", "40"], "--pairs: "),
    (
        [*EVALUATE, "--pairs", "2", "--lengths", "16", "--first", "3"],
        "--first: got 3, expected 0 to 0, so that the task's ids",
    ),
    (["fetch", "{}/texts/1.txt"], "FOLDER: {}/texts/1.txt is not a folder"),
    (
        ["bench", "attention", "--device", "cpu", "--length", "100"],
        "expected a multiple of 100, that is --length",
    ),
]

MISTYPED = [
    ("trian", "COMMAND: got 'trian', expected one of train, ", "train?"),
    ("bench atention", "WHAT: got 'atention', expected", "attention?"),
    ("train --out {} --stpes 3", "--stpes: not known here", "--steps?"),
    ("train --out {} --attention dif", "--attention: got 'dif'", "diff?"),
    ("train --out {} --data neddles", "--data: got neddles", "needles?"),
    ("tokens stdlb --out {}", "SOURCE: got stdlb, expected", "stdlib?"),
    ("evaluate {} --parts los", "--parts: got 'los', expected", "loss?"),
    ("help", "COMMAND: got 'help', expected one of train, ", ""),
    ("progress x", "x: not known here", ""),
    ("train", "--out: not given (see minidiff train --help)", ""),
    ("bench", "WHAT: not given (see minidiff bench --help)", ""),
    ("train --out", "--out: expected one argument", ""),
    ("train --out {} --steps 1e3", "got '1e3', expected a whole number", ""),
    ("train --out {} --lr x", "--lr: got 'x', expected a number", ""),
    ("train --out {} --device gpu", "'gpu', expected cpu, cuda or mps", ""),
    ("bench fuzz --cases few", "--cases: got 'few', expected a whole", ""),
    ("check a.ipynb --timeout no", "--timeout: got 'no', expected a num", ""),
    ("evaluate {}", "{}: no such file, expected a checkpoint or", ""),
]


@pytest.mark.parametrize(("command", "says", "meant"), MISTYPED, ids=str)
def test_a_slip_of_the_keyboard_is_one_line(
    tmp_path, capsys, command, says, meant
):
    out = str(tmp_path / "out")
    assert main([word.format(out) for word in command.split()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("minidiff: error: ")
    assert says.format(out) in line
    assert ("did you mean" in line) == bool(meant)
    assert f"did you mean {meant}" in line or not meant
    assert not os.path.lexists(out)


def test_a_folder_without_a_checkpoint_is_named(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert f"{tmp_path}: a folder without checkpoint.safetensors" in err


def test_no_command_shows_the_help(capsys):
    assert main([]) == 2
    err = capsys.readouterr().err
    assert "minidiff train --data needles" in err and "error" not in err


@pytest.mark.parametrize(("command", "says"), CASES, ids=str)
def test_an_error_names_what_was_typed(tmp_path, capsys, command, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    for n in range(20):
        text = f"file {n}: " + "la li lu " * 30
        (tmp_path / "texts" / f"{n}.txt").write_text(text)
    sizes = {"vocab_size": 16, "embed_dim": 16, "num_heads": 2}
    config = ModelConfig(num_layers=1, max_length=48, **sizes)
    save(DecoderLM(config), tmp_path / "model.safetensors")
    assert main([word.format(tmp_path) for word in command]) == 2
    err = capsys.readouterr().err
    (line,) = (x for x in err.splitlines() if x.startswith("minidiff: "))
    assert says.format(tmp_path) in line
    arguments = "|".join({"embed_dim", *OPTIONS})
    assert not re.search(rf"(?<![-/\w])({arguments}): ", line), line
    assert not re.search(r"(?<![/\w])[a-z]+_[a-z_]+", line), line
    assert not (tmp_path / "run").exists()


def test_a_missing_file_of_a_dataset_is_named(tmp_path, capsys):
    pytest.importorskip("datasets")
    command = ["tokens", "hub:json", "--out", str(tmp_path / "t"), "--files"]
    assert main([*command, str(tmp_path / "no.jsonl")]) == 2
    assert f"--files: {tmp_path / 'no.jsonl'}" in capsys.readouterr().err


def test_files_of_a_run_keep_their_words():
    text = "run/tokens.json: vocab_size: got 300, expected 256"
    with pytest.raises(ValueError) as raised, as_options(OPTIONS):
        raise ValueError(text)
    assert str(raised.value) == text


def test_the_kernels_on_a_cpu_are_an_error_of_the_backend(tmp_path):
    # In a process of its own: this one may have Triton's interpreter.
    words = [word.format(tmp_path) for word in NEEDLES]
    compiled = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "minidiff", *words, "--backend", "triton"],
        env=compiled | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--backend: got 'triton' with q on cpu" in done.stderr
