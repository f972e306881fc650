"""Every chapter and problem set keeps the rules of rules.py."""

import subprocess
from collections import Counter

import committed
import nbformat
import pytest
import rules
from builder import source
from check_notebooks import problem
from conftest import need

from minidiff import check
from minidiff.check.teacher import set_name

ALL = sorted(committed.JOBS)
SOLVED = [path for path in ALL if committed.JOBS[path].solved]
each = pytest.mark.parametrize("path", ALL)
each_chapter = pytest.mark.parametrize("path", committed.CHAPTERS)


def none(problems):
    found = list(problems)
    assert not found, "\n".join(["", *found])


@each
def test_notebook_is_what_its_source_makes(path):
    nb = committed.notebook(path)
    wrong = problem(nb, committed.JOBS[path])
    assert wrong is None, f"{path}: {wrong}: run `make notebooks`"
    nbformat.validate(nb)


def test_no_two_pages_share_a_cell_id():
    pages = [committed.notebook(path) for path in ALL]
    ids = Counter(cell.id for page in pages for cell in page.cells)
    assert [name for name, count in ids.items() if count > 1] == []


def test_every_notebook_has_a_source():
    folders = ["notebooks", "exercises"]
    found = [p for f in folders for p in (committed.ROOT / f).rglob("*.ipynb")]
    names = {p.relative_to(committed.ROOT).as_posix() for p in found}
    tracked = {n for n in names if "checkpoint" not in n and _tracked(n)}
    assert tracked <= set(ALL)


def _tracked(name):
    # A reader's own copies beside the chapters are no concern of ours.
    done = subprocess.run(
        ["git", "ls-files", "--error-unmatch", name],
        cwd=committed.ROOT,
        capture_output=True,
    )
    return done.returncode == 0


@each
def test_every_cell_was_executed(path):
    none(rules.executed(committed.notebook(path)))


@each
def test_code(path):
    none(rules.code(committed.notebook(path)))


@each
def test_figures(path):
    none(rules.figures(committed.notebook(path)))


@each
def test_mathematics(path):
    none(rules.mathematics(committed.notebook(path)))


@each
def test_cells_equal_the_package(path):
    none(rules.ties(committed.notebook(path)))


@each
def test_numbers_in_prose(path, bibliography):
    none(rules.numbers(committed.notebook(path), bibliography))


@each
def test_size(path):
    size = len(committed.text(path).encode())
    assert size <= 500_000, f"{path}: {size} bytes, allowed are 500000"


@each_chapter
def test_template(path):
    if "/00_" not in path:  # a welcome, not a chapter
        none(rules.template(committed.notebook(path)))


@pytest.mark.parametrize(
    "path", [p for p in ALL if p not in committed.CHAPTERS]
)
def test_problem_set(path):
    none(rules.problem_set(committed.notebook(path)))


@each
def test_card_is_measured(path):
    text = committed.text(path)
    assert "{card}" not in text
    assert "Running every cell: " in text


@each
def test_stubs_and_solutions(path):
    nb = committed.expected(path)
    for cell in rules.cells(nb, "code"):
        name = source.tagged(cell, source.STUB)
        if name is not None and not committed.JOBS[path].solved:
            assert "# your code" in cell.source, name
            none(rules.only_adds(cell.source, check.solution_source(name)))


@each
def test_exercises_are_those_of_the_checker(path):
    nb = committed.expected(path)
    stubs = [source.tagged(c, source.STUB) for c in nb.cells]
    assert [s for s in stubs if s] == check.exercises(set_name(path))


@pytest.mark.parametrize("path", SOLVED)
def test_every_check_of_the_solutions_passes(path):
    nb = committed.notebook(path)
    names = [source.tagged(c, "check:") for c in nb.cells]
    assert [n for n in names if n] == check.exercises(set_name(path))
    for name, cell in zip(names, nb.cells, strict=True):
        if name:
            text = "".join(out.get("text", "") for out in cell.outputs)
            assert text.startswith(f"{name} passed: "), text


@pytest.fixture(scope="module")
def bibliography():
    text = (committed.ROOT / "book" / "bibliography.md").read_text()
    return set(rules.KEY.findall(text))


def test_source_keys_are_in_the_bibliography(bibliography):
    assert bibliography
    for path in ALL:
        for cell in rules.cells(committed.notebook(path), "markdown"):
            assert set(rules.source_keys(cell.source)) <= bibliography, path


def test_tracked_files_are_small():
    try:
        done = subprocess.run(
            ["git", "ls-files", "-z"],
            cwd=committed.ROOT,
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        need(False, "git is not installed, or this is not a clone")
    names = done.stdout.decode().split("\0")[:-1]
    files = [committed.ROOT / name for name in names]
    total = sum(f.stat().st_size for f in files if f.exists())
    assert total <= 45_000_000, f"{total} bytes are tracked"
