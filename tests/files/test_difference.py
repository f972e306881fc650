"""The first difference of two JSON values."""

import pytest

from minidiff.files.difference import NOTHING, difference

SAME = [0, "a", None, [], {}, {"a": [1, {"b": None}]}, [[1], [2]]]


@pytest.mark.parametrize("value", SAME, ids=str)
def test_equal_values_have_none(value):
    assert difference(value, value) is None


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        (1, 2, ("", 1, 2)),
        (None, 0, ("", None, 0)),
        ([1], {"a": 1}, ("", [1], {"a": 1})),
        ({"a": 1}, {"a": 2}, (".a", 1, 2)),
        ({"a": 1}, {}, (".a", 1, NOTHING)),
        ({"a": None}, {}, (".a", None, NOTHING)),
        ({"b": 1, "a": 1}, {"b": 2, "a": 2}, (".a", 1, 2)),
        ([1, 2], [1], ("[1]", 2, NOTHING)),
        ([1], [1, [2]], ("[1]", NOTHING, [2])),
        (
            {"a": [0, {"b": "x"}]},
            {"a": [0, {"b": "y"}]},
            (".a[1].b", "x", "y"),
        ),
    ],
)
def test_the_first_is_found(first, second, found):
    assert difference(first, second) == found
    path, *values = found
    assert difference(second, first) == (path, *reversed(values))


def test_nothing_is_said_in_words():
    assert repr(NOTHING) == "nothing"
