"""The diagrams hold what their chapters say of them."""

import matplotlib.pyplot as plt
import pytest

from minidiff.course import attention_diagrams


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def words(figure):
    (axis,) = figure.axes
    return [text.get_text().strip() for text in axis.texts]


@pytest.mark.parametrize("tokens", [1, 4])
def test_a_decode_step_keeps_keys_and_values_and_no_query(tokens):
    shown = words(attention_diagrams.show_decode_step(tokens))
    for kept in ("$k_1$", "$k_2$", "$v$"):
        assert shown.count(kept) == tokens + 1
    for once in ("$q_1$", "$q_2$", "$o$"):
        assert shown.count(once) == 1


def test_text_stands_at_its_station():
    below = {"scores": "SqrtTwoD", "lambda": "PerHead"}
    (axis,) = attention_diagrams.show_stations(below).axes
    place = {text.get_text(): text.get_position() for text in axis.texts}
    x, y = place["scores,\nsoftmax"]
    assert place["SqrtTwoD"][0] == x
    assert place["SqrtTwoD"][1] < y
    # Lambda's arrow goes down, so its text stands beside it.
    x, y = place[r"$\lambda$"]
    assert place["PerHead"][0] > x
    assert place["PerHead"][1] == y
