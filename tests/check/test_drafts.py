"""Drafts of problems hold what the checks of exercises hold."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

from minidiff.check.core import check as run

DRAFTS = Path(__file__).resolve().parents[2] / "book" / "drafts"


def draft(name, monkeypatch):
    monkeypatch.syspath_prepend(str(DRAFTS))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return import_module(name)


@pytest.mark.parametrize("name", ["queries", "ranks"])
def test_a_draft_of_part_5_passes_and_names_its_mistakes(name, monkeypatch):
    exercise = draft(f"part_5_{name}", monkeypatch).EXERCISE
    answers = draft("part_5_answers", monkeypatch)
    for right in (exercise.solution, answers.RIGHT[name]):
        result = run(exercise, right)
        assert result, result.text
    wrong = answers.WRONG[name]
    assert set(wrong) == {m.key for m in exercise.mistakes}
    for mistake in exercise.mistakes:
        for answer in (mistake.wrong, *mistake.also, wrong[mistake.key]):
            assert run(exercise, answer).mistake == mistake.key
