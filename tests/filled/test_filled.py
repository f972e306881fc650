"""Each chapter runs with its stubs filled in, and its checks then pass."""

import copy
from pathlib import Path

import committed
import pytest
from builder import execute, source

from minidiff import check

WITH_STUBS = committed.slowest_first(
    path
    for path, job in committed.JOBS.items()
    if not job.solved
    and any(
        source.tagged(c, source.STUB) for c in committed.expected(path).cells
    )
)

SOLVED = {
    job.script: path for path, job in committed.JOBS.items() if job.solved
}
SETS = {
    path: SOLVED[committed.JOBS[path].script]
    for path in WITH_STUBS
    if committed.JOBS[path].script in SOLVED
}


def quicken(nb):
    """Small trainings: the metadata key `quick` overrides parameters."""
    nb = copy.deepcopy(nb)
    nb.cells = [c for c in nb.cells if "needs-training" not in source.tags(c)]
    for cell in nb.cells:
        if "parameters" in source.tags(cell):
            for name, value in cell.metadata.get("quick", {}).items():
                cell.source += f"\n{name} = {value!r}"
    return nb


def printed(cell):
    return "".join(out.get("text", "") for out in cell.outputs)


def assert_passed(nb, stubs, *says):
    """The check after each stub, of those stubs, says so."""
    for name in filter(None, stubs):
        after = nb.cells[stubs.index(name) + 1 :]
        call = f"check.ex{check.set_of(name)}_{name.partition('.')[2]}("
        checked = [c for c in after if call in c.source]
        assert checked, f"no cell after stub {name} calls {call}...)"
        text = printed(checked[0])
        for part in (f"{name} passed", *says):
            assert part in text, f"{name} printed: {text}"


@pytest.mark.parametrize("path", [p for p in WITH_STUBS if p not in SETS])
def test_filled_in(path, tmp_path: Path):
    nb = quicken(committed.expected(path))
    stubs = [source.tagged(c, source.STUB) for c in nb.cells]
    filled, done = source.fill(nb, check.solution_source)
    assert done
    answers = tmp_path / "answers"
    execute.run(filled, tmp_path, 1, str(answers))
    assert_passed(filled, stubs, f"kept in {answers}/ex")


@pytest.mark.parametrize("path", SETS)
def test_solutions_of_problem_sets_pass(path):
    """They are notebooks of their own, which nbval executes: read those."""
    nb = committed.notebook(SETS[path])
    stubs = [source.tagged(c, source.STUB) for c in nb.cells]
    assert any(stubs)
    assert_passed(nb, stubs)


@pytest.mark.parametrize("path", WITH_STUBS)
def test_an_untouched_chapter_says_not_attempted(path):
    text = "".join(
        printed(c)
        for c in committed.notebook(path).cells
        if c.cell_type == "code"
    )
    assert "not attempted" in text
