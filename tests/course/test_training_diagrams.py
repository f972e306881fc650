"""The ribbon shows the windows that exercise 14.2 cuts."""

import matplotlib.pyplot as plt
import pytest

from minidiff.check.ex14.pack import pack
from minidiff.course import training_diagrams


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def row(axis, y):
    found = [
        t for t in axis.texts if t.get_position()[1] == y and t.get_text()
    ]
    found = sorted(found, key=lambda t: t.get_position()[0])
    return [t.get_text().strip() for t in found][1:]  # without its name


def test_the_windows_are_those_of_pack():
    tokens = [str(i) for i in range(1, 9)]
    (axis,) = training_diagrams.show_ribbon([*tokens, "0"], 4).axes
    windows = pack([list(range(1, 9))], end=0, T=4)
    assert row(axis, 0) == [*tokens, "0"]
    assert row(axis, -1.2) == [str(i) for w in windows for i in w[:-1]]
    assert row(axis, -2.4) == [str(i) for w in windows for i in w[1:]]
    names = [t.get_text() for t in axis.texts]
    assert "window 1" in names and "window 2" not in names
