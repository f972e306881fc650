"""Figures with sliders: live in a reader's notebook, still on a page."""

import matplotlib
import nbclient
import nbformat
import numpy as np
import pytest
from builder import execute
from matplotlib.figure import Figure

matplotlib.use("agg")
import matplotlib.pyplot as plt

from minidiff import plots
from minidiff.plots import style

RANGES = {"needles": (1, 4, 1, 2), "noise": (0.0, 2.0, 0.1, 1.5)}


class Picture:
    """What display() gives for a figure: keeps what it is updated with."""

    def __init__(self):
        self.shown = []

    def update(self, figure):
        self.shown.append(figure)


@pytest.fixture
def drawn():
    """A function to draw with, which notes what it was called with."""
    plt.close("all")
    calls = []

    def draw(**values):
        calls.append(values)
        return plt.figure()

    draw.calls = calls
    yield draw
    plt.close("all")


@pytest.fixture
def live(monkeypatch):
    """A notebook with a reader: (what was displayed, the picture)."""
    pytest.importorskip("ipywidgets")
    displayed, picture = [], Picture()

    def display(thing, display_id=False):
        displayed.append(thing)
        return picture if display_id else None

    monkeypatch.setattr(style, "is_live", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    return displayed, picture


def test_still_it_is_one_figure_of_the_starts(drawn, monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.get_fignums()))
    plots.sliders(drawn, **RANGES)
    assert drawn.calls == [{"needles": 2, "noise": 1.5}]
    assert len(shown) == 1 and len(shown[0]) == 1


def test_live_there_are_sliders_with_these_ranges(drawn, live):
    plots.sliders(drawn, **RANGES)
    box, figure = live[0]
    needles, noise = box.children
    assert (needles.description, noise.description) == ("needles", "noise")
    assert (needles.min, needles.max, needles.value) == (1, 4, 2)
    assert (noise.min, noise.max, noise.step) == (0.0, 2.0, 0.1)
    assert noise.value == 1.5
    assert isinstance(figure, Figure)


def test_a_moved_slider_redraws_and_leaves_no_figure_open(drawn, live):
    plots.sliders(drawn, **RANGES)
    displayed, picture = live
    needles, noise = displayed[0].children
    noise.value = 0.3
    needles.value = 4
    assert drawn.calls[1:] == [
        {"needles": 2, "noise": 0.3},
        {"needles": 4, "noise": 0.3},
    ]
    assert isinstance(drawn.calls[-1]["needles"], int)
    assert len(picture.shown) == 2
    assert picture.shown[0] is not picture.shown[1]
    assert plt.get_fignums() == []


@pytest.mark.parametrize("start", [-0.1, 2.1])
def test_a_start_out_of_range_is_refused(drawn, start):
    with pytest.raises(ValueError, match=r"noise: start is .* 0 to 2"):
        plots.sliders(drawn, noise=(0, 2, 0.1, start))
    assert drawn.calls == []


def test_a_step_that_leads_nowhere_is_refused(drawn):
    with pytest.raises(ValueError, match=r"noise: step is 0, expected above"):
        plots.sliders(drawn, noise=(0, 2, 0, 1))
    assert drawn.calls == []


def test_whole_numbers_of_numpy_are_whole(drawn, live):
    plots.sliders(drawn, n=(1, np.int64(4), 1, 2), x=(0, 1, 0.5, 0))
    n, _ = live[0][0].children
    n.value = 3
    assert isinstance(drawn.calls[-1]["n"], int)
    assert isinstance(drawn.calls[-1]["x"], float)


class Shell:
    """What IPython says of itself inside a notebook's kernel."""

    kernel = object()


def test_a_kernel_is_live_unless_told_to_be_still(monkeypatch):
    pytest.importorskip("ipywidgets")
    monkeypatch.delenv("MINIDIFF_STILL", raising=False)
    assert not style.is_live()  # pytest is no notebook
    monkeypatch.setattr("IPython.get_ipython", Shell)
    assert style.is_live()
    monkeypatch.setenv("MINIDIFF_STILL", "0")
    assert style.is_live()
    monkeypatch.setenv("MINIDIFF_STILL", "1")
    assert not style.is_live()


def test_without_ipywidgets_it_is_still(monkeypatch):
    monkeypatch.delenv("MINIDIFF_STILL", raising=False)
    monkeypatch.setattr("IPython.get_ipython", Shell)
    monkeypatch.setattr(style, "find_spec", lambda name: None)
    assert not style.is_live()


PROGRAM = """
import matplotlib.pyplot as plt
from minidiff import plots
plots.sliders(lambda x: plt.subplots(figsize=(x, 2))[0], x=(2, 4, 1, 3))
"""


@pytest.mark.parametrize("still", [True, False])
def test_in_a_kernel(still, tmp_path, monkeypatch):
    pytest.importorskip("ipywidgets")
    env = execute.environment(1)
    if not still:
        del env["MINIDIFF_STILL"]
    nb = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(PROGRAM)],
        metadata={"kernelspec": {"name": "python3", "display_name": "3"}},
    )
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    client = nbclient.NotebookClient(
        nb, timeout=120, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(env=env)
    kinds = [sorted(out.data) for out in nb.cells[0].outputs]
    widget = "application/vnd.jupyter.widget-view+json"
    picture = ["image/png", "text/plain"]
    if still:
        assert kinds == [picture]
    else:
        assert kinds == [[widget, "text/plain"], picture]


def test_show_maps_wants_a_title_for_each_map():
    with pytest.raises(ValueError, match="titles: got 1, expected 2"):
        plots.show_maps([np.eye(2), np.eye(2)], ["A1"])


@pytest.mark.parametrize(("lowest", "scale"), [(0.0, 0.0), (-0.5, -1.0)])
def test_the_scale_begins_at_zero_if_no_weight_is_negative(lowest, scale):
    _, axes = plots.show_maps([np.array([[lowest, 1.0]])], ["A"])
    assert axes[0].images[0].get_clim() == (scale, 1.0)
    plt.close("all")


def test_another_format_of_figures_is_refused():
    with pytest.raises(ValueError, match="figures: got 'pdf', expected 'png'"):
        plots.use_style("pdf")


def test_svg_figures_are_the_same_when_drawn_again(tmp_path, monkeypatch):
    program = "plt.plot([1, 2]); plt.show()"
    start = "import matplotlib.pyplot as plt; from minidiff import plots"
    cells = [f'{start}; plots.use_style("svg")', program, program]
    nb = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "3"}},
    )
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    client = nbclient.NotebookClient(
        nb, timeout=120, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(env=execute.environment(1))
    one, other = (c.outputs[0].data["image/svg+xml"] for c in nb.cells[1:])
    assert one == other
    assert "dc:date" not in one
