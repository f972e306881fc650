"""The diagrams of a GPU and of a walk: what they hold, what overlaps."""

from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from minidiff.course.gpu_diagrams import show_gpu, show_stages
from minidiff.course.tile_walk import DONE, NOW, show_tile_walk


def texts(figure):
    return [t.get_text() for t in figure.axes[0].texts]


def test_two_programs_of_four_warps_share_a_multiprocessor():
    figure = show_gpu()
    found = texts(figure)
    assert sum(t.startswith("warp") for t in found) == 8
    assert "one multiprocessor of 132" in found
    plt.close(figure)


def test_loads_overlap_only_with_two_stages():
    figure = show_stages()
    boxes = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    names = [t for t in texts(figure) if t.startswith(("load", "compute"))]
    assert len(boxes) == len(names) == 12
    starts = dict(zip(names[:6], (b.get_x() for b in boxes[:6]), strict=True))
    ahead = dict(zip(names[6:], (b.get_x() for b in boxes[6:]), strict=True))
    for i in range(2):
        assert starts[f"load {i + 1}"] == starts[f"compute {i}"] + 1
        assert ahead[f"load {i + 1}"] == ahead[f"compute {i}"]
    plt.close(figure)


def test_tiles_before_the_step_are_done():
    figure = show_tile_walk(step=3, blocks=5)
    boxes = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    row = [b for b in boxes if b.get_y() == 1 and 0 <= b.get_x() < 5]
    colours = [to_hex(b.get_facecolor()).upper() for b in row[:5]]
    assert colours[:4] == [DONE, DONE, DONE, NOW]
    assert colours[4] not in (DONE, NOW)
    plt.close(figure)
