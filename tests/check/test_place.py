"""A check speaks of cells in a notebook, and of none in a program."""

import sys
from types import SimpleNamespace

import pytest

from minidiff import check


def stub(a, b, lam):
    """Nothing written yet."""


@pytest.mark.parametrize(
    ("ipython", "says"),
    [
        (None, "run the check again"),
        (SimpleNamespace(get_ipython=lambda: None), "run the check again"),
        (SimpleNamespace(get_ipython=object), "run this cell again"),
    ],
)
def test_an_empty_answer_is_told_to_run_it_again(
    monkeypatch, capsys, ipython, says
):
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert not check.ex00_1(stub)
    out = capsys.readouterr().out
    assert f"write at `# your code`, then {says}." in out
    assert ("cell" in out) == ("cell" in says)
