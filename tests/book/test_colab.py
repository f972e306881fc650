"""The cell that installs the course on Colab."""

import ast
import importlib.util
import subprocess
import sys

import build_notebooks
import pytest
from builder import colab, source
from website.address import Address

GITHUB = Address("https://github.com/someone/minidiff", "github")
TEXT = "# %% [markdown]\n# # A title\n\n# %%\nimport minidiff\n"


@pytest.fixture
def cell():
    nb = source.from_text(TEXT)
    colab.add_cell(nb, GITHUB)
    assert [c.cell_type for c in nb.cells] == ["markdown", "code", "code"]
    return nb.cells[1]


def test_it_fetches_and_installs_where_minidiff_is_missing(cell, monkeypatch):
    commands = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(
        subprocess, "run", lambda command, check: commands.append(command)
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    exec(cell.source, {})
    clone, install = commands
    assert clone[:2] == ["git", "clone"] and GITHUB.url in clone
    assert install[-1].startswith(clone[-1])
    assert sys.path[0] == clone[-1]


def test_it_does_nothing_where_minidiff_is_there(cell, monkeypatch):
    def run(*args, **options):
        raise AssertionError("nothing may be run")

    monkeypatch.setattr(subprocess, "run", run)
    before = list(sys.path)
    exec(cell.source, {})
    assert sys.path == before


def test_it_keeps_the_rules_of_a_cell(cell):
    lines = cell.source.splitlines()
    assert len(lines) <= 15 and max(map(len, lines)) <= 79
    ast.parse(cell.source)
    assert cell.metadata.tags == ["remove-cell"]


@pytest.mark.parametrize("address, cells", [(None, 0), (GITHUB, 1)])
def test_a_chapter_has_it_once_there_is_an_address(
    monkeypatch, address, cells
):
    monkeypatch.setattr(build_notebooks.address, "read", lambda: address)
    (job,) = build_notebooks.jobs(build_notebooks.ROOT, ["03"])
    made = build_notebooks.draft(job)
    assert sum("On Colab" in c.source for c in made.cells) == cells
    assert len({c.id for c in made.cells}) == len(made.cells)
