"""The page that lists the exercises lists them all."""

from pathlib import Path

from builder import exercise_list

ROOT = Path(__file__).resolve().parents[2]


def test_the_list_is_what_the_checks_say():
    page = (ROOT / "book" / "exercises.md").read_text(encoding="utf-8")
    assert page == exercise_list.updated(ROOT), "run `make notebooks`"
    assert "| 3.5 | the headwise norm |" in page
