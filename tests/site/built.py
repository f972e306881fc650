"""The built site and a browser, shared by the tests of this folder."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import build_site
import pages
import pytest
import yaml
from committed import ROOT
from conftest import need

# Widths in pixels of a phone, a tablet and a desktop, with their heights.
SCREENS = {390: 844, 820: 1180, 1440: 900}


def toc() -> list[str]:
    """The pages of the table of contents, without suffix."""
    tree = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    found = [tree["root"]]
    for part in tree["parts"]:
        for chapter in part["chapters"]:
            found += [chapter["file"]]
            found += [page["file"] for page in chapter.get("sections", [])]
    return found


def named(number: str) -> str:
    """The page of a chapter, such as "03"."""
    return next(name for name in toc() if f"/{number}_" in name)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """The site, built once by the command of `make book`."""
    folder = tempfile.TemporaryDirectory(prefix="site-")
    done = subprocess.run(
        [sys.executable, "book/build_site.py", folder.name],
        cwd=ROOT,
        env=dict(os.environ, NO_COLOR="1"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def html() -> Path:
    tool = Path(build_site.command(Path("x"))[0])
    need(tool.exists(), 'jupyter-book is missing: pip install -e ".[book]"')
    return Path(_folder().name, "_build", "html")


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    need(pages.chromium(), "no Chromium: apt-get install chromium")
    with pages.browser() as chrome:
        yield chrome


def opened(
    chrome: Any,
    page: Path,
    width: int,
    scheme: str = "light",
    touch: bool = False,
) -> Any:
    """A tab of this width with a page of the site in it."""
    tab = chrome.new_page(
        viewport={"width": width, "height": SCREENS[width]},
        color_scheme=scheme,
        has_touch=touch,
    )
    tab.goto(page.as_uri())
    return tab
