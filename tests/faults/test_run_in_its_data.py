"""A run reads the text that it began with, whatever is added beside it."""

import json

import pytest

from minidiff.cli import main
from minidiff.data import ByteTokenizer, TextData, read_folder, write_tokens
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM
from minidiff.training.config import TrainConfig
from minidiff.training.loop import train

TINY = [
    *("--width", "16", "--layers", "1", "--heads", "2", "--steps", "2"),
    *("--batch-size", "2", "--length", "16"),
]


@pytest.fixture
def folder(tmp_path):
    for i in range(20):
        (tmp_path / f"{i}.txt").write_text(f"text {i}: " + "la li lu " * 20)
    return tmp_path


@pytest.mark.parametrize("kind", ["byte", "bpe"])
def test_the_run_and_other_files_lie_in_the_data(folder, capsys, kind):
    run = folder / "runs" / "a"
    command = ["train", "--data", str(folder), "--out", str(run), *TINY]
    kind = ["--tokenizer", kind, "--vocab-size", "270"]
    assert main([*command, *kind, "--steps", "3"]) == 0
    before = (run / "log.jsonl").read_bytes()
    (folder / "train.log").write_text("step 1\n")
    (folder / "notebook.ipynb").write_text("{}")
    (folder / "figure.svg").write_text("<svg/>")
    (folder / "0.md").write_text("a new text " * 50)
    again = ["train", "--out", str(run), "--resume"]
    assert main(again) == 0
    assert (run / "log.jsonl").read_bytes() == before
    assert main(["evaluate", str(run), "--parts", "loss"]) == 0
    (folder / "7.txt").unlink()
    capsys.readouterr()
    assert main(again) == 2
    said = capsys.readouterr().err
    assert "7.txt: cannot be read (No such file" in said


def test_a_single_file_beside_its_run(folder):
    run = folder / "run"
    data = ["--data", str(folder / "3.txt"), "--out", str(run)]
    assert main(["train", *data, *TINY]) == 0
    assert json.loads((run / "files.json").read_text()) == {"files": ["3.txt"]}
    assert main(["train", "--out", str(run), "--resume"]) == 0


def test_what_training_wrote_is_no_text(folder):
    texts = [("train", "abc" * 9), ("valid", "xyz" * 9)]
    write_tokens(folder / "t", texts, ByteTokenizer(), about={})
    config = TrainConfig(steps=2, batch_size=2, warmup_steps=1)
    sizes = {"embed_dim": 16, "num_layers": 1, "num_heads": 2}
    logs = []
    for resume in (False, True):
        corpus = read_folder(folder)
        data = TextData.from_corpus(corpus, ByteTokenizer(), length=16)
        model = DecoderLM(ModelConfig(**sizes, max_length=16))
        logs.append(
            train(
                model,
                data,
                config,
                run_dir=folder / "run",
                resume=resume,
                progress=False,
            )
        )
    assert logs[0] == logs[1]
    assert dict(corpus.reasons) == {
        "run": "a run folder",
        "t": "a folder of token files",
    }


def test_token_files_built_inside_their_source(folder):
    out = folder / "tokens"
    assert main(["tokens", str(folder), "--out", str(out)]) == 0
    run = folder / "run"
    assert main(["train", "--data", str(out), "--out", str(run), *TINY]) == 0
    assert main(["train", "--out", str(run), "--resume"]) == 0


@pytest.fixture
def made(folder, capsys):
    """Folders that this package wrote, each with the file that shows it."""
    run, left, tokens = (folder / name for name in ("a", "b", "c"))
    assert (
        main(["train", "--data", str(folder), "--out", str(run), *TINY]) == 0
    )
    assert main(["tokens", str(folder), "--out", str(tokens)]) == 0
    # What a killed run may leave.
    left.mkdir()
    last = run / "checkpoint.safetensors"
    (left / "checkpoint.previous.safetensors").write_bytes(last.read_bytes())
    (left / "run.json").write_text("{}")
    capsys.readouterr()
    return {
        run: "a run folder (it has checkpoint.safetensors)",
        left: "a run folder (it has checkpoint.previous.safetensors)",
        tokens: "a folder of token files (it has train.tokens)",
    }


def test_what_training_wrote_is_no_folder_of_texts(made, folder, capsys):
    out, expected = folder / "new", "expected a folder of texts"
    for path, what in made.items():
        command = ["tokens", str(path), "--out", str(out)]
        assert main(command) == 2
        said = capsys.readouterr().err
        assert f"error: SOURCE: {path} is {what}, {expected}" in said
        with pytest.raises(ValueError, match=rf"path: {path} is a "):
            read_folder(path)
        if "token" in what:
            continue  # data of their own
        assert (
            main(["train", "--data", str(path), "--out", str(out), *TINY]) == 2
        )
        said = capsys.readouterr().err
        assert f"error: --data: {path} is {what}, {expected}" in said
    assert not out.exists()


def test_a_run_whose_data_became_a_run_folder(folder, tmp_path, capsys):
    data, run = folder / "texts", folder / "a"
    data.mkdir()
    (data / "x.txt").write_text("la li lu " * 200)
    assert main(["train", "--data", str(data), "--out", str(run), *TINY]) == 0
    (data / "checkpoint.safetensors").write_bytes(b"")
    # It reads the files that it began with, and no others.
    assert main(["evaluate", str(run), "--parts", "loss"]) == 0
    (run / "files.json").unlink()
    capsys.readouterr()
    assert main(["evaluate", str(run), "--parts", "loss"]) == 2
    said = capsys.readouterr().err
    assert f"error: {run}: its --data: {data} is a run folder (it has" in said
