"""The command line, run as a person runs it."""

import json
import shlex
import subprocess
import sys

import pytest

from minidiff import __version__
from minidiff.cli import evaluate, main, train

TINY = [
    *("--width", "16", "--layers", "1", "--heads", "2"),
    *("--steps", "4", "--batch-size", "4", "--length", "24"),
]


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(20):
        (folder / f"{i}.txt").write_text(f"file {i}: " + "la li lu " * 30)
    (folder / "picture.bin").write_bytes(b"\xff\xfe\x00\x01")
    return folder


@pytest.mark.parametrize("tokenizer", ["byte", "bpe"])
def test_train_then_generate(tmp_path, texts, capsys, tokenizer):
    run = str(tmp_path / "run")
    train = ["train", "--data", str(texts), "--out", run, *TINY]
    train += ["--tokenizer", tokenizer, "--vocab-size", "300"]
    assert main(train) == 0
    out = capsys.readouterr().out
    assert "skipped 1 files" in out and "picture.bin" in out
    assert "validation loss" in out
    card = json.loads((tmp_path / "run" / "run.json").read_text())
    assert card["command"].startswith("minidiff train --data")
    assert card["settings"]["attention"] == "diff"
    assert {"python", "torch", "minidiff"} <= set(card["versions"])
    ask = ["generate", run, "--prompt", "la ", "--seed", "1"]
    assert main([*ask, "--max-new-tokens", "5"]) == 0
    assert capsys.readouterr().out.startswith("la ")
    assert main([*ask, "--max-new-tokens", "5", "--budget", "1"]) == 0
    assert capsys.readouterr().out.startswith("la ")
    assert main([*ask, "--budget", "0"]) == 2
    assert "--budget: got 0" in capsys.readouterr().err
    assert main(["train", "--out", run, "--resume"]) == 0
    capsys.readouterr()
    ask = ["generate", run, "--prompt", "la li", "--seed", "1"]
    assert main([*ask, "--max-new-tokens", "200"]) == 0
    written = capsys.readouterr().out  # past the window of 24 tokens
    assert len(written) > 100
    assert main([*ask, "--max-new-tokens", "40"]) == 0
    assert written.startswith(capsys.readouterr().out.rstrip("\n\ufffd"))
    assert main(["generate", run, "--prompt", "xyz!" * 24]) == 2
    err = capsys.readouterr().err
    assert "--prompt: got " in err and "expected at most 24" in err


@pytest.mark.parametrize("tokenizer", ["byte", "bpe"])
def test_tokens_then_train_then_generate(tmp_path, texts, capsys, tokenizer):
    tokens, run = str(tmp_path / "tokens"), str(tmp_path / "run")
    build = ["tokens", str(texts), "--out", tokens, "--tokenizer", tokenizer]
    assert main([*build, "--vocab-size", "300"]) == 0
    out = capsys.readouterr().out
    assert "picture.bin" in out and "tokens to train on" in out
    card = json.loads((tmp_path / "tokens" / "tokens.json").read_text())
    assert card["about"]["source"] == str(texts)
    assert main([*build, "--vocab-size", "300"]) == 2
    assert "exists, expected a new folder" in capsys.readouterr().err
    assert main(["train", "--data", tokens, "--out", run, *TINY]) == 0
    again = [*("train", "--out", run), "--resume"]
    assert main(again) == 0
    capsys.readouterr()
    ask = ["generate", run, "--prompt", "la ", "--max-new-tokens", "5"]
    assert main(ask) == 0
    assert capsys.readouterr().out.startswith("la ")
    file = tmp_path / "tokens" / "train.tokens"
    file.write_bytes(file.read_bytes()[:-2])
    assert main(again) == 2
    assert "train.tokens: got" in capsys.readouterr().err


def test_evaluate_a_run_of_text_and_its_file(tmp_path, texts, capsys):
    tokens, run = str(tmp_path / "tokens"), str(tmp_path / "run")
    kept = ["--tokenizer", "bpe", "--vocab-size", "300"]
    assert (
        main(["train", "--data", str(texts), "--out", run, *TINY, *kept]) == 0
    )
    capsys.readouterr()
    assert main(["evaluate", run, "--windows", "4"]) == 0
    printed = capsys.readouterr().out
    assert "bits/byte" in printed and "10, most frequent" in printed
    kept = ["--tokenizer", f"{run}/tokenizer.json"]
    assert main(["tokens", str(texts), "--out", tokens, *kept]) == 0
    model, out = f"{run}/checkpoint.safetensors", tmp_path / "record.json"
    ask = ["evaluate", model, "--tokens", tokens, "--windows", "4"]
    assert main([*ask, "--parts", "loss", "--out", str(out)]) == 0
    record = json.loads(out.read_text())
    assert set(record["seconds"]) == {"causality", "loss"}
    everything = record["loss"]["domains"]["all"]
    assert f"{everything['nats']:.3f}" in printed
    assert record["provenance"]["command"].startswith("minidiff evaluate ")
    capsys.readouterr()
    assert main(["evaluate", model]) == 2
    assert "expected text or tasks" in capsys.readouterr().err
    assert main(["evaluate", model, "--needles", "8"]) == 2
    assert "--lengths: got 24, 6" in capsys.readouterr().err


@pytest.mark.parametrize("data", ["texts", "needles"])
def test_the_commands_named_at_the_end_work(
    tmp_path, texts, capsys, monkeypatch, data
):
    monkeypatch.chdir(tmp_path)
    train = ["train", "--data", data, "--out", "my run", *TINY]
    assert main([*train, "--length", "40"]) == 0
    lines = capsys.readouterr().out.splitlines()
    commands = lines[lines.index("Next:") + 1 :]
    asked = [shlex.split(line) for line in commands]
    expected = {"texts": {"generate"}, "needles": set()}[data]
    assert {c[1] for c in asked} == {"evaluate", "plot"} | expected
    for minidiff, *command in asked:
        assert minidiff == "minidiff"
        assert main(command) == 0, capsys.readouterr().err
    assert (tmp_path / "runs.png").exists()
    capsys.readouterr()
    assert main(["evaluate", "my run", "--parts", "loss,recall"]) == 0
    out = capsys.readouterr().out
    missing = {"texts": "recall, which needs --needles"}
    missing |= {"needles": "loss, which needs --tokens"}
    assert out.count("not measured: ") == 1
    assert f"not measured: {missing[data]}" in out
    if data == "texts":
        tasks = ["--needles", "2", "--questions", "2", "--rows", "1"]
        asked = ["evaluate", "my run", *tasks, "--parts", "loss,recall"]
        assert main(asked) == 0
        assert "not measured: " not in capsys.readouterr().out


@pytest.mark.parametrize("said", ["", "stopped after 3 of 9 steps"])
def test_ctrl_c_always_says_something(monkeypatch, capsys, said):
    def stopped(arguments):
        raise KeyboardInterrupt(*filter(None, [said]))

    monkeypatch.setattr(evaluate, "run", stopped)
    assert main(["evaluate", "model"]) == 130
    assert capsys.readouterr().err == f"minidiff: {said or 'stopped'}\n"


def test_no_figure_is_proposed_without_matplotlib(monkeypatch):
    assert ["plot", "run"] in train._next("needles", "run")
    monkeypatch.setattr(train, "find_spec", lambda name: None)
    assert train._next("needles", "run") == [["evaluate", "run"]]


def test_evaluate_a_run_of_needles(tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", "--data", "needles", "--out", run, *TINY]) == 0
    capsys.readouterr()
    assert main(["evaluate", run, "--questions", "2", "--rows", "8"]) == 0
    out = capsys.readouterr().out
    assert "needles, N=2 R=2" in out and "bits/byte" not in out
    ask = ["evaluate", run, "--pairs", "2", "--lengths", "8,16"]
    assert main([*ask, "--parts", "recall"]) == 0
    out = capsys.readouterr().out
    assert out.count("MQAR, 2 pairs") == 3  # two lengths, and the effective


def test_needles_say_what_guessing_gives(tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", "--data", "needles", "--out", run, *TINY]) == 0
    assert "guessing among the needles: loss 0.6931" in capsys.readouterr().out
    assert main(["generate", run, "--prompt", "x"]) == 2
    assert "expected a model of text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--data", "/nowhere", "--out", "{}/r"], "--data: got"),
        (["train", "--out", "{}"], "is not empty"),
        (["train", "--out", "{}", "--resume"], "run.json does not exist"),
        (["generate", "{}", "--prompt", "x"], "run.json does not exist"),
        (
            ["train", "--data", "needles", "--heads", "3", "--out", "{}/r"],
            "--heads: got 3, expected an even",
        ),
        (["train", "--device", "toaster", "--out", "{}/r"], "--device: got"),
    ],
)
def test_errors_are_one_line(tmp_path, capsys, arguments, says):
    (tmp_path / "something").write_text("x")
    assert main([a.format(tmp_path) for a in arguments]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1
    assert err.startswith("minidiff: error: ")


def test_resuming_with_another_setting_is_refused(tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", "--data", "needles", "--out", run, *TINY]) == 0
    assert main(["train", "--out", run, "--resume", "--lr", "0.1"]) == 2
    assert "--lr: got 0.1, expected 0.003" in capsys.readouterr().err


def test_threads_are_chosen_said_and_kept(tmp_path, capsys, monkeypatch):
    import torch

    used, real = [], torch.set_num_threads
    monkeypatch.setattr(
        torch, "set_num_threads", lambda n: (used.append(n), real(n))
    )
    before = torch.get_num_threads()
    run = tmp_path / "run"
    train = ["train", "--data", "needles", "--out", str(run), *TINY]
    assert main(train) == 0
    out = capsys.readouterr().out
    assert "1 CPU thread (--threads changes that)" in out
    assert used == [1, before]
    assert json.loads((run / "run.json").read_text())["threads"] == 1
    again = ["train", "--out", str(run), "--resume", "--threads", "3"]
    assert main(again) == 0
    assert "3 CPU threads" in capsys.readouterr().out
    assert used == [1, before, 3, before]
    # A run made before there was the option.
    card = json.loads((run / "run.json").read_text())
    del card["settings"]["threads"]
    (run / "run.json").write_text(json.dumps(card))
    assert main(again[:-2]) == 0
    assert main([*again[:-1], "0"]) == 2
    assert "--threads: got 0, expected 1 or more" in capsys.readouterr().err


def test_help_teaches_and_loads_nothing_heavy():
    code = (
        "import sys; from minidiff.cli import main\n"
        "bench = ['bench', 'attention'], ['bench', 'decode']\n"
        "for words in (['train'], ['tokens'], *bench, ['check']):\n"
        "    try: main([*words, '--help'])\n"
        "    except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for word in ("examples:", "--attention", "(default: 0.003)", "--resume"):
        assert word in done.stdout
    assert "minidiff bench decode --width" in done.stdout


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"minidiff {__version__}\n"


def test_check_prints_a_table(tmp_path, capsys):
    (tmp_path / "03_no.ipynb").write_text("{")
    assert main(["check", str(tmp_path / "03_no.ipynb")]) == 1
    assert "not readable" in capsys.readouterr().out


def test_check_says_what_is_protected(capsys):
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    out = capsys.readouterr().out
    assert "What is protected" in out and "What is not" in out


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_check_needs_a_time_limit(seconds, capsys):
    assert main(["check", "x.ipynb", "--timeout", seconds]) == 2
    assert "--timeout: got" in capsys.readouterr().err
