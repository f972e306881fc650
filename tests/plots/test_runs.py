"""Runs side by side in one picture."""

import json

import matplotlib
import numpy as np
import pytest

matplotlib.use("agg")
import matplotlib.pyplot as plt

from minidiff.cli import main
from minidiff.plots.runs import draw_runs, read_log


def write(folder, steps, first=5.0):
    folder.mkdir(parents=True)
    log = []
    for step in range(steps):
        record = {"step": step, "loss": first - step / steps, "lr": 1e-3}
        record |= {"grad_norm": 1.0 + step, "tokens": 8 * (step + 1)}
        if step % 10 == 9:
            record["valid_loss"] = record["loss"] + 0.1
        log.append(record)
    lines = [json.dumps(record) + "\n" for record in log]
    (folder / "log.jsonl").write_text("".join(lines))
    return log


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_what_is_drawn(tmp_path):
    logs = {"a": write(tmp_path / "a", 100), "b": write(tmp_path / "b", 20, 4)}
    loss, valid, norm = draw_runs(logs).axes
    for axis in (loss, valid, norm):
        assert [line.get_label() for line in axis.lines] == ["a", "b"]
        assert axis.get_xlabel() == "tokens read"
    x, y = loss.lines[0].get_data()
    # Means of two steps: the first stands where the second step ends.
    assert (x[0], x[-1], len(x)) == (16, 800, 99)
    assert y[0] == pytest.approx(5 - 0.005)
    np.testing.assert_allclose(loss.lines[1].get_ydata()[0], 4)
    x, y = valid.lines[0].get_data()
    assert list(x) == [8 * 10 * i for i in range(1, 11)]
    assert y[0] == pytest.approx(5 - 0.09 + 0.1)
    assert norm.lines[1].get_ydata()[-1] == 20
    assert [t.get_text() for t in loss.get_legend().texts] == ["a", "b"]


def test_a_run_that_is_going_on(tmp_path):
    log = write(tmp_path / "a", 5)
    with (tmp_path / "a" / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    assert read_log(tmp_path / "a") == log
    draw_runs({"a": log})  # nothing validated yet


def test_the_command(tmp_path, capsys):
    for name in ("plain/run", "diff/run"):
        write(tmp_path / name, 30)
    out = tmp_path / "two.png"
    runs = [str(tmp_path / name) for name in ("plain/run", "diff/run")]
    assert main(["plot", *runs, "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert "plain/run: 30 steps, last loss" in said and "diff/run: 30" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "log.jsonl does not exist, expected a folder that"),
        ("", "no step yet"),
        ("nothing\n", "not a run's log"),
        ('{"step": 0}\n', "not a run's log"),
    ],
)
def test_what_is_no_run_is_named(tmp_path, capsys, text, says):
    if text is not None:
        (tmp_path / "log.jsonl").write_text(text)
    assert main(["plot", str(tmp_path)]) == 2
    assert says in capsys.readouterr().err
