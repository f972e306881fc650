"""The picture of a benchmark's record."""

import json

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest

from minidiff.cli import main
from minidiff.plots.benchmarks import draw_record, read_record


def row(peer, T, **ratios):
    return {"peer": peer, "kind": "plain", "B": 1, "T": T, **ratios}


def record(*rows):
    return {
        "provenance": {"device": "cuda (a card)"},
        "setting": {"dtype": "bfloat16"},
        "rows": list(rows),
    }


ROWS = (
    row("plain/a", 64, forward_ratio=1.0, train_ratio=1.0),
    row("diff/b", 64, forward_ratio=1.5, train_ratio=4.0),
    row("diff/c", 64, forward_ratio=2.0, train_error="no memory"),
    row("diff/d", 64, forward_error="no kernel"),
    row("plain/a", 128, forward_ratio=1.0, train_ratio=1.0),
    row("diff/b", 128, forward_ratio=1.2, train_ratio=0.5),
    row("diff/c", 128, forward_ratio=3.0, train_ratio=1.2),
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_every_time_has_its_mark():
    figure = draw_record(record(*ROWS))
    forward, train = figure.axes
    assert [axis.get_title() for axis in figure.axes] == [
        "forward",
        "forward + backward",
    ]
    # By the mean logarithm of training: 0, log 1.2, log sqrt(2).
    names = [t.get_text() for t in forward.get_yticklabels()]
    assert names == ["plain/a", "diff/c", "diff/b"]
    marks = [
        {(names[int(y)], x) for x, y in np.transpose(line.get_data())}
        for axis in (forward, train)
        for line in axis.lines[:2]
    ]
    assert marks == [
        {("plain/a", 1), ("diff/b", 1.5), ("diff/c", 2)},
        {("plain/a", 1), ("diff/b", 1.2), ("diff/c", 3)},
        {("plain/a", 1), ("diff/b", 4)},
        {("plain/a", 1), ("diff/b", 0.5), ("diff/c", 1.2)},
    ]
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.texts] == ["B 1, T 64", "B 1, T 128"]
    assert legend.get_title().get_text() == "cuda (a card)\nbfloat16"


def test_a_real_record_is_drawn(tmp_path, capsys):
    written, drawn = tmp_path / "record.json", tmp_path / "record.png"
    sizes = "--rounds 1 --batch 1 --length 8 --width 4 --hidden 16"
    bench = f"bench decode --device cpu {sizes} --out {written}"
    assert main(bench.split()) == 0
    assert main(["plot", str(written), "--out", str(drawn)]) == 0
    assert drawn.read_bytes().startswith(b"\x89PNG")
    peers = {r["peer"] for r in json.loads(written.read_text())["rows"]}
    draw_record(read_record(written))
    names = {t.get_text() for t in plt.gca().get_yticklabels()}
    assert "diff/matmul" in names and names <= peers


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nothing", "not a benchmark's record"),
        ("[]", "not a benchmark's record"),
        ('{"rows": []}', "not a benchmark's record"),
        (json.dumps(record()), "nothing in it was timed"),
        (json.dumps(record(ROWS[3])), "nothing in it was timed"),
    ],
)
def test_what_is_no_record_is_named(tmp_path, capsys, text, says):
    path = tmp_path / "record.json"
    path.write_text(text)
    assert main(["plot", str(path)]) == 2
    said = capsys.readouterr().err
    assert says in said and str(path) in said


def test_a_record_is_drawn_by_itself(capsys):
    assert main(["plot", "a.json", "b.json"]) == 2
    assert "got 2 with a.json first, expected one" in capsys.readouterr().err
