"""Writers touch nothing that is not their own, and leave nothing behind."""

import os
import stat

import matplotlib
import pytest
import torch

matplotlib.use("agg")
import matplotlib.pyplot as plt

import minidiff
from minidiff.cli import main
from minidiff.convert.diffllama import load_diffllama, save_diffllama
from minidiff.data import BPETokenizer, ByteTokenizer, write_tokens
from minidiff.files.atomic import write_text
from minidiff.files.json import write_json
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM
from minidiff.plots import save_figure
from minidiff.training.checkpoint import load_checkpoint, save_checkpoint

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX files")
TEXTS = [("train", "abc" * 9), ("valid", "xyz" * 9)]


def model(seed=0):
    torch.manual_seed(seed)
    sizes = {"embed_dim": 16, "num_layers": 1, "num_heads": 2}
    return DecoderLM(ModelConfig(**sizes, max_length=8))


def figure(path):
    save_figure(plt.figure(), path)
    plt.close("all")


WRITERS = {
    "save": lambda path: minidiff.save(model(), path),
    "text": lambda path: write_text(path, "new"),
    "json": lambda path: write_json(path, {"a": 1}),
    "tokenizer": BPETokenizer.train(["la " * 50], 260).save,
    "figure": figure,
}
each = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@each
def test_files_of_similar_names_are_left_alone(tmp_path, write):
    others = ["m.part", "m.tmp", "m~", ".m.part", "m.0.part"]
    for name in others:
        (tmp_path / name).write_text("mine")
    write(tmp_path / "m")
    for name in others:
        assert (tmp_path / name).read_text() == "mine"
    assert names(tmp_path) == sorted(["m", *others])


@each
def test_a_folder_is_refused_by_name(tmp_path, write):
    (tmp_path / "m").mkdir()
    with pytest.raises(OSError, match=r"m: could not be written .*folder"):
        write(tmp_path / "m")
    assert names(tmp_path) == ["m"] and names(tmp_path / "m") == []


@posix
@each
def test_what_is_no_regular_file_is_refused(tmp_path, write):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "loop").symlink_to("loop")
    before = names(tmp_path)
    for name in before:
        with pytest.raises(OSError, match=f"{name}: could not be written"):
            write(tmp_path / name)
    assert names(tmp_path) == before
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


@posix
@each
@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_written_through(tmp_path, write, there):
    (tmp_path / "far").mkdir()
    real, link = tmp_path / "far" / "real", tmp_path / "link"
    if there:
        real.write_text("old")
        real.chmod(0o640)
    link.symlink_to("far/real")
    write(link)
    assert link.is_symlink() and real.read_bytes() not in (b"", b"old")
    assert names(tmp_path / "far") == ["real"]
    if there:
        assert stat.S_IMODE(real.stat().st_mode) == 0o640


@each
def test_a_name_as_long_as_can_be(tmp_path, write):
    write(tmp_path / ("é" * 127))
    assert names(tmp_path) == ["é" * 127]


@posix
def test_a_linked_checkpoint_keeps_the_one_before(tmp_path):
    (tmp_path / "run").mkdir()
    real = tmp_path / "real"
    path = tmp_path / "run" / "checkpoint.safetensors"
    path.symlink_to(real)
    for step in range(3):
        save_checkpoint(path, model(step), train={"step": step})
    assert path.is_symlink() and load_checkpoint(real).train["step"] == 2
    previous = path.with_name("checkpoint.previous.safetensors")
    assert load_checkpoint(previous).train["step"] == 1
    assert len(names(path.parent)) == 2 and len(names(tmp_path)) == 2


@posix
def test_a_linked_config_of_a_diffllama_stays_a_link(tmp_path):
    folder = tmp_path / "llama"
    save_diffllama(model(), folder)
    (folder / "config.json").rename(tmp_path / "shared.json")
    (folder / "config.json").symlink_to("../shared.json")
    save_diffllama(model(1), folder)
    assert (folder / "config.json").is_symlink()
    assert load_diffllama(folder).config.num_layers == 1


def test_a_folder_of_a_similar_name_is_left_alone(tmp_path):
    other = tmp_path / "data.part"
    other.mkdir()
    (other / "mine").write_text("mine")
    write_tokens(tmp_path / "data", TEXTS, ByteTokenizer(), about={})
    assert (other / "mine").read_text() == "mine"
    assert names(tmp_path) == ["data", "data.part"]


def test_a_folder_that_appears_during_the_build_is_kept(tmp_path):
    out = tmp_path / "data"

    def texts():
        yield from TEXTS
        out.mkdir()
        (out / "mine").write_text("mine")

    with pytest.raises(OSError, match="data: exists, expected a new folder"):
        write_tokens(out, texts(), ByteTokenizer(), about={})
    assert names(tmp_path) == ["data"] and names(out) == ["mine"]


def test_an_error_while_writing_names_the_file_once(tmp_path, monkeypatch):
    def full(tensors, path, metadata):
        raise OSError("disk full")

    monkeypatch.setattr("minidiff.files.tensors.save_file", full)
    path = tmp_path / "m"
    with pytest.raises(OSError, match=r"m: could not be written \(disk full"):
        minidiff.save(model(), path)
    assert names(tmp_path) == []


@posix
@pytest.mark.parametrize(
    "command",
    [
        "evaluate {run}",
        "plot {run}",
        "bench attention --device cpu --rounds 1",
        "bench compile",
    ],
)
@pytest.mark.parametrize("out", ["folder", "null", "folder/a/file/x.json"])
def test_an_out_that_cannot_be_written_is_refused_first(
    tmp_path, monkeypatch, capsys, command, out
):
    def never(*args, **kwargs):
        raise AssertionError("measured before --out was checked")

    (tmp_path / "folder" / "a").mkdir(parents=True)
    (tmp_path / "folder" / "a" / "file").write_text("mine")
    (tmp_path / "null").symlink_to("/dev/null")
    for place in (
        "minidiff.training.checkpoint.load",
        "minidiff.plots.runs.read_log",
        "minidiff.bench.attention.run",
        "minidiff.bench.compiled.compile_one",
    ):
        monkeypatch.setattr(place, never)
    words = command.format(run=tmp_path / "run").split()
    assert main([*words, "--out", str(tmp_path / out)]) == 2
    assert "could not be written" in capsys.readouterr().err
