"""A notebook that its source does not make is refused, with the reason."""

import check_notebooks
import nbformat
import pytest
from build_notebooks import jobs

SMALL = """# %% [markdown]
# # 1. Small

# %% tags=["nbval-ignore-output"]
print("hello")
"""


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """A course of one chapter: where its notebook is to lie."""
    chapter = tmp_path / "book" / "chapters" / "01_small.py"
    chapter.parent.mkdir(parents=True)
    chapter.write_text(SMALL)
    monkeypatch.setattr(check_notebooks, "ROOT", tmp_path)
    (job,) = jobs(tmp_path)
    job.target.parent.mkdir()
    nbformat.write(check_notebooks.expected(job), job.target)
    return job.target


def change(path, edit):
    nb = nbformat.read(path, as_version=4)
    edit(nb)
    nbformat.write(nb, path)


def check(path, capsys):
    return check_notebooks.main([str(path)]), capsys.readouterr().out


def run(nb):
    output = nbformat.v4.new_output("stream", text="hello\n")
    nb.cells[1].update(execution_count=1, outputs=[output])


def test_outputs_are_free(notebook, capsys):
    change(notebook, run)
    assert check(notebook, capsys) == (0, "")


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda nb: nb.cells[1].update(source="pass"), "cell 2: source"),
        (lambda nb: nb.cells[1].metadata.clear(), "cell 2: metadata"),
        (lambda nb: nb.cells[1].update(id="mine"), "cell 2: id"),
        (lambda nb: nb.cells.pop(), "1 cells, 01_small.py makes 2"),
        (lambda nb: nb.metadata.update(mine=1), "ipynb: metadata"),
    ],
)
def test_what_was_edited_is_said(notebook, capsys, edit, says):
    change(notebook, edit)
    code, out = check(notebook, capsys)
    assert code == 1
    assert says in out and "01_small.py" in out and "make notebooks" in out


def test_a_notebook_without_a_source_is_refused(notebook, capsys):
    mine = notebook.rename(notebook.with_name("mine.ipynb"))
    code, out = check(mine, capsys)
    assert code == 1 and "no source in book/ makes it" in out


def test_a_file_that_is_no_notebook_is_refused(notebook, capsys):
    notebook.write_text("<<<<<<< HEAD\n")
    code, out = check(notebook, capsys)
    assert code == 1 and "not a notebook" in out
