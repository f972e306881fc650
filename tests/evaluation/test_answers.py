"""An answer to a question about the fact book has one source."""

import pytest

from minidiff.data.fact_scenes import Question
from minidiff.evaluation.answers import answer_source


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("Oslo", "right"),
        ("Rome", "another document"),
        ("Paris", "memory"),
        ("not stated", "not stated"),
        ("Osl", "nowhere"),
    ],
)
def test_an_answer_has_one_source(text, source):
    question = Question(
        "several", "France", "capital", [" Oslo"], ("Rome", "Bonn"), "Paris"
    )
    assert answer_source(question, text) == source
