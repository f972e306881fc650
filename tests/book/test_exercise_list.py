"""The page that lists the exercises lists them all."""

from pathlib import Path

import pytest
from builder import exercise_list

ROOT = Path(__file__).resolve().parents[2]


def test_the_list_is_what_the_checks_say():
    page = (ROOT / "book" / "exercises.md").read_text(encoding="utf-8")
    assert page == exercise_list.updated(ROOT), "run `make notebooks`"
    assert "| 3.3 | the headwise norm |" in page


@pytest.mark.parametrize("lost", [exercise_list.BEGIN, exercise_list.END])
def test_a_page_without_its_lines_is_not_cut(tmp_path, lost):
    page = tmp_path / "book" / "exercises.md"
    page.parent.mkdir()
    text = f"head\n{exercise_list.BEGIN}\n{exercise_list.END}\ntail\n"
    page.write_text(text)
    exercise_list.update(tmp_path)
    assert page.read_text().startswith("head")
    assert page.read_text().endswith("tail\n")
    assert list(page.parent.iterdir()) == [page]
    page.write_text(text.replace(lost, ""))
    with pytest.raises(ValueError, match="exercises:begin"):
        exercise_list.update(tmp_path)
    assert "tail" in page.read_text()
