"""A notebook built before one of its records changed is refused."""

import check_notebooks
import nbformat
import pytest
from build_notebooks import jobs

CHAPTER = """# %% [markdown]
# # 1. Records
#
# Prose may name other.json freely.

# %%
text = course.results("text.json")
pairs = [course.weights(f"pair_{kind}.safetensors") for kind in KINDS]
for name in ("pool", "lookup"):
    runs = course.results(f"{name}.json")
"""
READ = [
    "results/lookup.json",
    "results/text.json",
    "weights/pair_diff.safetensors",
]


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one chapter with records, built."""
    chapter = tmp_path / "book" / "chapters" / "01_records.py"
    chapter.parent.mkdir(parents=True)
    chapter.write_text(CHAPTER)
    for name in (*READ, "results/other.json"):
        file = tmp_path / "book" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("{}")
    monkeypatch.setattr(check_notebooks, "ROOT", tmp_path)
    (job,) = jobs(tmp_path)
    job.target.parent.mkdir()
    nbformat.write(check_notebooks.expected(job), job.target)
    return tmp_path


def check(course, capsys):
    path = course / "notebooks" / "01_records.ipynb"
    return check_notebooks.main([str(path)]), capsys.readouterr().out


@pytest.mark.parametrize("name", READ)
def test_a_changed_record_makes_outputs_stale(course, capsys, name):
    assert check(course, capsys) == (0, "")
    (course / "book" / name).write_text('{"jobs": []}')
    code, out = check(course, capsys)
    assert code == 1 and f"outputs are older than book/{name}" in out


def test_a_record_that_comes_or_goes_makes_outputs_stale(course, capsys):
    (course / "book/results/text.json").unlink()
    (course / "book/results/pool.json").write_text("{}")
    code, out = check(course, capsys)
    both = "book/results/pool.json, book/results/text.json"
    assert code == 1 and f"older than {both}" in out


def test_other_records_do_not_matter(course, capsys):
    (course / "book/results/other.json").write_text("[]")
    assert check(course, capsys) == (0, "")
