"""Jupyter Book 2 reads the same pages, checked with a theme that is a stub.

Its real theme comes from the network; parsing the pages does not need it.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from committed import ROOT
from conftest import need

STUB_THEME = """\
myst: v1
kind: site
title: Stub
version: 0.1.0
license: MIT
build: {install: "true", render: "true"}
"""


def myst() -> dict:
    """The configuration of Jupyter Book 2."""
    return yaml.safe_load((ROOT / "book" / "myst.yml").read_text())


def contents(entries: list[dict]) -> list[str]:
    """Its pages in order, named as in _toc.yml."""
    pages = []
    for entry in entries:
        if "file" in entry:
            path = os.path.normpath(Path("book", entry["file"]))
            pages.append(str(Path(path).with_suffix("")))
        pages += contents(entry.get("children", []))
    return pages


def build(folder: Path) -> str:
    """Build a copy of the book with the stub theme; the tool's words."""
    tool = os.environ.get("JUPYTER_BOOK_2", "")
    need(
        tool and Path(tool).exists(),
        "JUPYTER_BOOK_2 names no jupyter-book 2 (see .ci/run)",
    )
    book = folder / "book"
    theme = book / "stub"
    theme.mkdir()
    (theme / "template.yml").write_text(STUB_THEME)
    config = myst()
    config["site"]["template"] = "./stub"
    (book / "myst.yml").write_text(yaml.safe_dump(config))
    done = subprocess.run(
        [tool, "build", "--html", "--ci"],
        cwd=book,
        env=dict(os.environ, NO_COLOR="1"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the pages, to build in."""
    for part in ("book", "notebooks", "exercises"):
        shutil.copytree(
            ROOT / part,
            tmp_path / part,
            ignore=shutil.ignore_patterns(
                "_build", "__pycache__", ".ipynb_checkpoints", "_toc.yml"
            ),
        )
    return tmp_path


def complaints(output: str) -> list[str]:
    """The lines that are warnings or errors; this tool's status is 0."""
    marks = ("⚠", "⛔", "❌", "rror:")
    return [
        line for line in output.splitlines() if any(m in line for m in marks)
    ]


def test_every_page_is_read(copy):
    output = build(copy)
    assert complaints(output) == []
    made = list((copy / "book" / "_build" / "site" / "content").glob("*.json"))
    assert len(made) == len(contents(myst()["project"]["toc"])), output


def test_a_broken_link_is_seen(copy):
    with (copy / "book" / "glossary.md").open("a") as page:
        page.write("\n[gone](./nowhere.md) {ref}`no-such-label`\n")
    assert complaints(build(copy))
