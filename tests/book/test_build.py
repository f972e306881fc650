"""The builder: stable, careful with a reader's work, whole or not at all."""

import os
import subprocess
from pathlib import Path

import build_notebooks
import nbformat
import pytest
from builder import card, execute, guard, source

GOOD = """# %% [markdown]
# # 1. Small
#
# {card}

# %%
import sys

print("hello")
print("a bar", file=sys.stderr)
"""


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True)


@pytest.fixture
def course(tmp_path: Path) -> Path:
    chapters = tmp_path / "book" / "chapters"
    chapters.mkdir(parents=True)
    (chapters / "01_small.py").write_text(GOOD)
    (tmp_path / ".gitignore").write_text("book/_build/\n")
    git(tmp_path, "init", "-q")
    return tmp_path


@pytest.fixture
def quick(monkeypatch):
    """Pretend to execute: most of these tests are about files."""

    def run(nb, cwd, threads):
        for n, cell in enumerate(c for c in nb.cells if c.source):
            if cell.cell_type == "code":
                cell.execution_count = n
        return 1.0

    monkeypatch.setattr(execute, "run", run)


def build(root: Path, force: bool = False) -> tuple[int, str]:
    lines: list[str] = []
    todo = build_notebooks.jobs(root)
    failed = build_notebooks.build_all(todo, root, force, lines.append)
    return failed, "\n".join(lines)


def target(root: Path) -> Path:
    return root / "notebooks" / "01_small.ipynb"


@pytest.mark.slow
def test_a_rebuild_is_byte_identical(course):
    assert build(course)[0] == 0
    first = target(course).read_bytes()
    nb = nbformat.reads(first, as_version=4)
    assert nb.cells[1].outputs[0].text == "hello\n"
    assert len(nb.cells[1].outputs) == 1  # nothing of stderr
    assert "Running every cell: under 10 seconds" in nb.cells[0].source
    failed, said = build(course)
    assert failed == 0
    assert "01_small.ipynb: unchanged" in said
    assert target(course).read_bytes() == first


@pytest.mark.slow
def test_a_failing_cell_writes_nothing(course):
    build(course)
    before = target(course).read_bytes()
    script = course / "book" / "chapters" / "01_small.py"
    script.write_text(GOOD + "\n# %%\nraise ValueError('broken')\n")
    failed, said = build(course)
    assert failed == 1
    assert "broken" in said
    assert target(course).read_bytes() == before
    allowed = '\n# %% tags=["raises-exception"]\nraise ValueError("shown")\n'
    script.write_text(GOOD + allowed)
    assert build(course)[0] == 0


def test_a_readers_work_is_kept(course, quick):
    build(course)
    git(course, "add", "-A")
    git(course, "commit", "-qm", "built")
    mine = target(course).read_text().replace("hello", "my answer")
    target(course).write_text(mine)
    failed, said = build(course)
    assert failed == 1
    assert "notebooks/01_small.ipynb" in said
    assert "FORCE=1" in said
    assert target(course).read_text() == mine
    assert build(course, force=True)[0] == 0
    assert target(course).read_text() != mine


def test_a_readers_work_is_kept_without_git(course, quick, monkeypatch):
    build(course)
    target(course).write_text("mine")
    monkeypatch.setenv("PATH", os.devnull)
    assert build(course)[0] == 1
    assert target(course).read_text() == "mine"


def test_an_author_may_build_twice_before_committing(course, quick):
    build(course)
    git(course, "add", "-A")
    git(course, "commit", "-qm", "built")
    script = course / "book" / "chapters" / "01_small.py"
    for greeting in ("goodbye", "good night"):
        script.write_text(GOOD.replace("hello", greeting))
        assert build(course)[0] == 0
        assert greeting in target(course).read_text()


def test_only_what_the_last_commit_holds_is_committed(course):
    path = target(course)
    path.parent.mkdir()
    path.write_text("one")
    assert not guard.committed(course, path)
    git(course, "add", "-A")
    assert not guard.committed(course, path)
    git(course, "commit", "-qm", "one")
    assert guard.committed(course, path)
    path.write_text("two")
    assert not guard.committed(course, path)


def test_names_of_chapters(course):
    (course / "book" / "problems").mkdir()
    (course / "book" / "problems" / "part_1.py").write_text("# %%\n1\n")
    every = build_notebooks.jobs(course)
    assert [job.name for job in every] == [
        "01_small",
        "part_1",
        "solutions/part_1",
    ]
    for name in ("01", "01_small", "book/chapters/01_small.py"):
        assert build_notebooks.jobs(course, [name]) == every[:1]
    assert build_notebooks.jobs(course, ["part_1"]) == every[1:]
    with pytest.raises(ValueError, match="no chapter '02'; there are 01_sm"):
        build_notebooks.jobs(course, ["02"])


def test_cell_ids_follow_the_source():
    nb = source.from_text("# %%\na\n\n# %%\na\n\n# %%\nb\n")
    ids = [c.id for c in nb.cells]
    assert ids[1] == f"{ids[0]}-2"
    later = source.from_text("# %%\nnew\n\n# %%\na\n\n# %%\nb\n")
    assert [c.id for c in later.cells][1:] == [ids[0], ids[2]]


PROBLEM = """# %% [markdown]
# # Problem set 1: Small
#
# {card} See [a chapter](../notebooks/03.ipynb).
#
# *Easy, 5 minutes.* Do this.

# %% tags=["stub:P1.1"]
def f(x):
    # your code

# %% tags=["check:P1.1"]
f(1)
"""


def test_a_filled_problem_set_is_a_page_of_its_own():
    nb = source.from_text(PROBLEM)
    filled, done = source.fill(nb, lambda name: "def f(x):\n    return x")
    source.as_solutions(filled)
    assert done == ["P1.1"]
    text = filled.cells[0].source
    assert text.startswith("# Problem set 1: Small (solutions)\n")
    assert "(../../notebooks/03.ipynb)" in text
    assert "# your code" not in filled.cells[1].source
    assert filled.cells[0].id != nb.cells[0].id
    assert "(../notebooks" in nb.cells[0].source
    timing = {"under": 10, "threads": 1}
    assert "Exercises: about 5 more" in card.text(nb, timing)
    assert "Exercises" not in card.text(filled, timing)


def test_a_script_without_cells_is_refused():
    with pytest.raises(ValueError, match="cells"):
        source.from_text("")


def test_threads():
    plain = source.from_text("# %%\n1\n")
    asked = source.from_text('# %% tags=["two-threads"]\n1\n')
    assert execute.threads(plain, "03_x") == 1
    assert execute.threads(plain, "15_x") == 2
    assert execute.threads(asked, "07_x") == 2


def test_no_setting_of_the_builder_reaches_a_kernel(monkeypatch):
    monkeypatch.setenv("PYTHONSTARTUP", "mine.py")
    monkeypatch.setenv("MPLBACKEND", "agg")
    env = execute.environment(2)
    assert "PYTHONSTARTUP" not in env
    assert "inline" in env["MPLBACKEND"]
    assert env["OMP_NUM_THREADS"] == "2"
    assert env["CUDA_VISIBLE_DEVICES"] == ""
    assert env["MINIDIFF_STILL"] == "1"
    assert env["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"


@pytest.mark.parametrize(
    ("seconds", "before", "after"),
    [
        (3, None, 10),
        (11, None, 30),
        (9, 30, 30),  # close to the edge: the recorded bucket stays
        (3, 30, 10),
        (300, 1800, 360),  # measured on a busy machine before
        (31, 30, 60),
        (11, 10, 30),
        (3, 17, 10),  # an edge of an older table
    ],
)
def test_buckets(seconds, before, after):
    assert card.bucket(seconds, before) == after


def test_a_chapter_of_hours_is_refused():
    with pytest.raises(ValueError, match="too long"):
        card.bucket(4000)


def test_reading_time():
    words = "# %% [markdown]\n# " + "word " * 1300
    assert card.reading_minutes(source.from_text(words)) == 10


def test_folded_code_takes_no_time_to_read():
    code = "\n".join(["x = 1"] * 100)
    open_, folded = (
        source.from_text(f"# %%{tags}\n{code}\n")
        for tags in ("", ' tags=["hide-input"]')
    )
    assert card.reading_minutes(open_) == 10
    assert card.reading_minutes(folded) == 5  # the least there is


def test_optional_sections_are_counted_by_themselves():
    text = f"""# %% [markdown]
# *Easy, 5 minutes.* {"word " * 1300}

# %%
# your code

# %% [markdown]
# ## Optional: more
#
# *Hard, 30 minutes.* {"word " * 500}

# %%
# your code
"""
    nb = source.from_text(text)
    line = card.text(nb, {"under": 10, "threads": 1})
    assert "Reading: about 15 minutes. Exercises: about 5 more. " in line
    assert "Optional sections: about 35 more. " in line
    main = source.from_text(text.replace("## Optional", "## Not optional"))
    assert "Optional" not in card.text(main, {"under": 10, "threads": 1})


def test_time_to_solve_is_the_sum_of_the_labels():
    text = """# %% [markdown]
# *Easy, 5 minutes.* Do this.

# %% [markdown]
# *Hard, 20 minutes.* Do that; it takes 90 minutes if you sing.

# %%
# your code
"""
    nb = source.from_text(text)
    assert card.solving_minutes(nb) == 25
    assert "Exercises: about 25 more." in card.text(
        nb, {"under": 10, "threads": 1}
    )
