"""Programs take all elements, and the mask is false behind the last."""

import matplotlib.pyplot as plt
import pytest

from minidiff.course.block_diagram import show_blocks


@pytest.mark.parametrize(
    ("n", "size", "programs"), [(10, 4, 3), (8, 4, 2), (1, 2, 1)]
)
def test_every_element_has_one_program_and_the_rest_is_masked(
    n, size, programs
):
    figure = show_blocks(n, size)
    axis = figure.axes[0]
    texts = [t.get_text() for t in axis.texts]
    dashed = [p.get_linestyle() == "--" for p in axis.patches]
    plt.close(figure)
    assert sum(t.startswith("program ") for t in texts) == programs
    squares = range(programs * size)
    assert [t for t in texts if t.isdigit()] == [str(o) for o in squares]
    masks = [t == "True" for t in texts if t in ("True", "False")]
    assert masks == [o < n for o in squares]
    assert dashed == [not there for there in masks]
