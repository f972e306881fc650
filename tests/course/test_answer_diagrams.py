"""The pictures of answers show what they are given."""

import matplotlib.pyplot as plt
import pytest

from minidiff.course.answer_diagrams import SOURCES, show_shares, show_sources
from minidiff.data.fact_scenes import Question
from minidiff.evaluation.answers import answer_source


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_every_answer_stands_beside_its_source():
    (axis,) = show_sources().axes
    rows = {}
    for text in axis.texts:
        rows.setdefault(text.get_position()[1], []).append(text.get_text())
    question = Question(
        "several", "Japan", "capital", [" Oslo"], ("Lima",), "Tokyo"
    )
    found = {}
    for said, *source in rows.values():
        if source:  # the others name the prompt and the question
            found[said] = source[0]
            assert answer_source(question, said) == source[0]
    assert set(found.values()) == set(SOURCES)


def test_a_bar_is_cut_into_its_shares():
    bars = {
        "one": {"right": 0.5, "nowhere": 0.25, "questions": 4},
        "two": {"another document": 1.0},
    }
    figure = show_shares({"some": bars, "same": bars})
    assert [axis.get_title() for axis in figure.axes] == ["some", "same"]
    for axis in figure.axes:
        widths = [patch.get_width() for patch in axis.patches]
        assert widths == [0.5, 0, 0, 0, 0.25, 0, 1.0, 0, 0, 0]
        lefts = [patch.get_x() for patch in axis.patches[:5]]
        assert lefts == [0, 0.5, 0.5, 0.5, 0.5]
        assert axis.patches[0].get_y() > axis.patches[5].get_y()
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["one", "two"]
    (legend,) = figure.legends
    used = ["right", "another document", "nowhere"]
    assert [text.get_text() for text in legend.get_texts()] == used
