"""The figure of a running training: redrawn in a notebook, still elsewhere."""

import matplotlib.pyplot as plt
import pytest

from minidiff import plots
from minidiff.plots import live


def record(step, **more):
    return {"step": step, "loss": 2.0 - 0.1 * step, "lr": 0.1, **more}


@pytest.fixture
def shown(monkeypatch):
    """How many times a script showed a figure."""
    calls = []
    monkeypatch.setattr(plt, "show", lambda: calls.append(plt.gcf()))
    yield calls
    plt.close("all")


def test_elsewhere_a_line_a_tenth_and_one_figure(shown, capsys):
    bar = plots.LiveTraining(20, "mine", scale=0.5, unit="bits a byte")
    for step in range(19):
        bar(record(step))
    assert not shown
    bar(record(19, valid_loss=1.0))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("mine: 2 of 20 steps, about ")
    assert lines[0].endswith("s left; last batch 0.95 bits a byte")
    assert "20 of 20 steps, took" in lines[-1]
    (figure,) = shown
    bar_axis, loss, rate = figure.axes
    assert bar_axis.patches[0].get_width() == 20
    assert loss.lines[0].get_ydata()[0] == 1.0
    assert loss.lines[-1].get_xydata().tolist() == [[20, 0.5]]
    assert (loss.get_ylabel(), len(rate.lines[0].get_xdata())) == (
        "bits a byte",
        20,
    )


def test_fewer_steps_than_lines(shown, capsys):
    bar = plots.LiveTraining(3, "short")
    for step in range(3):
        bar(record(step))
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert len(shown) == 1


class Handle:
    def __init__(self):
        self.pictures = []

    def update(self, figure):
        self.pictures.append(figure)


def test_in_a_notebook_one_figure_is_drawn_again(shown, monkeypatch, capsys):
    handle, first = Handle(), []

    def display(figure, display_id):
        assert display_id
        first.append(figure)
        return handle

    monkeypatch.setattr(live, "is_live", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    bar = plots.LiveTraining(4, "mine", every=0.0)
    for step in range(4):
        bar(record(step))
    assert (len(first), len(handle.pictures)) == (1, 3)
    title = handle.pictures[-1].axes[0].get_title(loc="left")
    assert title.startswith("mine: 4 of 4 steps, took ")
    assert not shown
    assert not plt.get_fignums()
    assert capsys.readouterr().out == ""


def test_it_does_not_draw_at_every_step(monkeypatch):
    monkeypatch.setattr(live, "is_live", lambda: True)
    drawn = []
    monkeypatch.setattr(
        live.LiveTraining, "_show_again", lambda self: drawn.append(1)
    )
    bar = plots.LiveTraining(50, "mine", every=1000.0)
    for step in range(50):
        bar(record(step))
    assert len(drawn) == 1  # the end


def test_without_the_learning_rate(shown):
    bar = plots.LiveTraining(2, "second", rate=False)
    for step in range(2):
        bar(record(step))
    labels = [axis.get_ylabel() for axis in bar.draw().axes]
    assert "learning rate" not in labels
    assert "nats per token" in labels


def test_no_steps():
    with pytest.raises(ValueError, match="steps: got 0"):
        plots.LiveTraining(0, "mine")
