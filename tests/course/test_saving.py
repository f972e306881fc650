"""A notebook that was run but not written in is saved as git has it."""

import copy
import subprocess

import committed
import nbformat
import pytest

from minidiff.course.saving import keep_recorded

PATH = next(path for path in committed.CHAPTERS if "/01_" in path)


def git(folder, *words):
    """What git prints; nobody's settings, and a name to commit under."""
    who = ["-c", "user.name=x", "-c", "user.email=x@x"]
    return subprocess.run(
        ["git", "-C", folder, *who, *words],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.fixture
def course(tmp_path):
    """A clone with one chapter, and one notebook beside the course's."""
    committed.export(PATH, tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.ipynb").write_text(committed.text(PATH))
    ignored = (committed.ROOT / ".gitignore").read_text()
    (tmp_path / ".gitignore").write_text(ignored)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "course")
    return tmp_path


@pytest.fixture
def manager(course):
    """Jupyter's own contents manager, as `make lab` configures it."""
    managers = pytest.importorskip(
        "jupyter_server.services.contents.largefilemanager"
    )
    return managers.LargeFileManager(
        root_dir=str(course), pre_save_hook=keep_recorded
    )


def opened(manager, path=PATH):
    """The model that Lab sends back when it saves."""
    model = copy.deepcopy(manager.get(path))
    return {key: model[key] for key in ("type", "format", "content")}


def run(model):
    """Do to a notebook what Run All does: counts, outputs, metadata."""
    for n, cell in enumerate(model["content"]["cells"], 1):
        if cell["cell_type"] == "code":
            cell["execution_count"] = n + 50
            cell["outputs"] = []
            cell["metadata"]["execution"] = {"iopub.status.busy": "now"}
    model["content"]["metadata"]["language_info"] = {"version": "3.99"}


def test_run_all_leaves_git_clean(course, manager):
    model = opened(manager)
    run(model)
    manager.save(model, PATH)
    assert git(course, "status", "--porcelain") == ""


def test_what_was_written_is_saved_with_its_outputs(course, manager):
    model = opened(manager)
    run(model)
    cells = model["content"]["cells"]
    code = next(c for c in cells if c["cell_type"] == "code")
    code["source"] += "\nmine = 1"
    manager.save(model, PATH)
    saved = nbformat.read(course / PATH, 4)
    assert "mine = 1" in "".join(c["source"] for c in saved["cells"])
    assert not any(c.get("outputs") for c in saved["cells"])
    # And when it is only run again, its new outputs are kept.
    code["outputs"] = [nbformat.v4.new_output("stream", text="passed")]
    manager.save(model, PATH)
    assert "passed" in (course / PATH).read_text()
    # Undone, it is the course's again.
    code["source"] = code["source"].removesuffix("\nmine = 1")
    manager.save(model, PATH)
    assert git(course, "status", "--porcelain") == ""


@pytest.mark.parametrize("change", ["added", "removed", "to_markdown"])
def test_cells_that_come_go_or_change_kind_are_saved(course, manager, change):
    model = opened(manager)
    cells = model["content"]["cells"]
    if change == "added":
        cells.append(nbformat.v4.new_markdown_cell("note"))
    elif change == "removed":
        del cells[-1]
    else:
        code = next(c for c in cells if c["cell_type"] == "code")
        at = cells.index(code)
        cells[at] = nbformat.v4.new_markdown_cell(code["source"])
    manager.save(model, PATH)
    assert git(course, "status", "--porcelain") != ""


def test_other_notebooks_are_saved_as_always(course, manager):
    model = opened(manager, "mine/own.ipynb")
    run(model)
    manager.save(model, "mine/own.ipynb")
    assert "own.ipynb" in git(course, "status", "--porcelain")


def test_without_git_everything_is_saved(course, manager):
    (course / ".git").rename(course / "gone")
    model = opened(manager)
    run(model)
    manager.save(model, PATH)
    assert '"execution_count": 5' in (course / PATH).read_text()
