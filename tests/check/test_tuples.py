"""A tuple is one result where a list or an array is expected."""

import pytest

from minidiff.check.core import check
from minidiff.check.ex14 import merge, pack


@pytest.mark.parametrize(
    ("exercise", "expected"),
    [(merge.EXERCISE, "a list"), (pack.EXERCISE, "an array")],
    ids=["14.1", "14.2"],
)
def test_a_tuple_is_called_a_tuple(exercise, expected):
    result = check(exercise, lambda *args: tuple(exercise.solution(*args)))
    assert f"got       a tuple, expected {expected}" in result.text
