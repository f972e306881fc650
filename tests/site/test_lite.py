"""Chapters that run in the reader's browser, as far as no network allows.

JupyterLite opens and lists them, and a kernel asks for Python at its public
address, which these tests do not reach. What runs with that Python is tested
in tests/book/test_browser_wheel.py.
"""

import json
import sys
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import nbformat
import pytest
from built import chrome, html, named, opened
from committed import ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from sphinx.errors import ExtensionError
from website import lite, wheel

PAGES = [named(number) for number in lite.CHAPTERS]
FILES = [f"{page.removeprefix('notebooks/')}.ipynb" for page in PAGES]
PYODIDE = "https://cdn.jsdelivr.net/pyodide/"


@pytest.fixture
def address(html: Path) -> Iterator[str]:
    """The site's address on a server, because JupyterLite needs one."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = partial(Quiet, directory=str(html))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_it_has_the_five_chapters_and_the_wheel(html):
    folder = html / lite.FOLDER
    assert sorted(p.name for p in (folder / "files").iterdir()) == FILES
    listed = json.loads((folder / "api/contents/all.json").read_text())
    assert sorted(entry["path"] for entry in listed["content"]) == FILES
    index = json.loads((folder / "pypi/all.json").read_text())
    (release,) = next(iter(index["minidiff"]["releases"].values()))
    assert release["filename"] == wheel.NAME
    with zipfile.ZipFile(folder / "pypi" / wheel.NAME) as archive:
        names = archive.namelist()
    assert {"minidiff/check/core.py", "book/results/trained_heads.json"} <= (
        set(names)
    )


def test_it_is_small_and_python_is_not_in_it(html):
    files = [p for p in (html / lite.FOLDER).rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 25e6
    assert not [p for p in files if p.suffix in (".wasm", ".map")]


@pytest.mark.parametrize("name", FILES)
def test_a_notebook_installs_first_and_fits_the_kernel(html, name):
    nb = nbformat.read(html / lite.FOLDER / "files" / name, as_version=4)
    nbformat.validate(nb)
    assert nb.metadata.kernelspec.name == "python"
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert code[0].source == lite.INSTALL
    assert "no time limit here" in nb.cells[nb.cells.index(code[0]) - 1].source


@pytest.mark.parametrize("width", [390, 1440])
def test_a_chapter_begins_with_the_button(chrome, address, width):
    tab = chrome.new_page(viewport={"width": width, "height": 800})
    tab.goto(f"{address}/{PAGES[3]}.html")
    button = tab.get_by_role("link", name=lite.LABEL)
    goals = tab.locator(".bd-article h2").first
    assert button.bounding_box()["y"] < goals.bounding_box()["y"]
    style = "a => getComputedStyle(a).display"
    assert button.evaluate(style) == "inline-block"
    assert button.evaluate("a => a.href") == (
        f"{address}/lite/lab/index.html?path={FILES[3]}"
    )
    tab.get_by_role("link", name="install the course").click()
    assert tab.url.endswith("book/intro.html#start")
    assert tab.locator("#start h2").inner_text().startswith("Start")
    tab.close()


def test_a_site_opened_as_a_file_says_how_to_serve_it(html, chrome):
    tab = opened(chrome, html / f"{PAGES[3]}.html", 390)
    assert tab.get_by_role("link", name=lite.LABEL).count() == 0
    assert "python -m http.server" in tab.locator("p.lite").inner_text()
    tab.close()


def test_no_other_page_has_the_button(html):
    for page in html.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        name = page.relative_to(html).with_suffix("").as_posix()
        assert (lite.LABEL in text) == (name in PAGES), name
        assert ("_static/lite.js" in text) == (name in PAGES), name


def test_jupyterlite_opens_and_its_kernel_asks_for_python(chrome, address):
    context = chrome.new_context(viewport={"width": 1400, "height": 900})
    outside = []

    def route(route, request):
        if request.url.startswith((address, "data:", "blob:")):
            return route.continue_()
        outside.append(request.url)
        return route.abort()

    context.route("**/*", route)
    tab = context.new_page()
    tab.goto(f"{address}/{lite.FOLDER}/lab/index.html?path={FILES[0]}")
    note = tab.locator("strong", has_text="You are in your browser.")
    note.wait_for(timeout=60_000)
    rows = tab.locator(".jp-DirListing-itemText").all_text_contents()
    assert rows == FILES
    end = time.monotonic() + 60
    while not outside and time.monotonic() < end:
        tab.wait_for_timeout(500)
    assert outside and all(url.startswith(PYODIDE) for url in outside)
    context.close()


def chapter(text: str):
    return new_notebook(cells=[new_markdown_cell(text), new_code_cell("1")])


TEXT = (
    "[next](01_attention_from_scratch.ipynb)"
    " [later](05_multihead_module.ipynb)"
    " [words](../book/glossary.md) [paper](https://arxiv.org/abs/2410.05258)"
)


def test_links_stay_in_jupyterlite_or_lead_to_the_site():
    base = "https://someone.github.io/minidiff/"
    first = lite.for_browser(chapter(TEXT), base).cells[0].source
    assert first == (
        "[next](01_attention_from_scratch.ipynb)"
        f" [later]({base}notebooks/05_multihead_module.html)"
        f" [words]({base}book/glossary.html)"
        " [paper](https://arxiv.org/abs/2410.05258)"
    )


def test_links_are_plain_text_where_the_site_has_no_address():
    first = lite.for_browser(chapter(TEXT), "").cells[0].source
    assert "later words [paper](https://" in first
    assert "[next](01_attention_from_scratch.ipynb)" in first


def test_an_error_of_jupyterlite_fails_the_build(monkeypatch, tmp_path):
    failing = [sys.executable, "-c", "1 / 0"]
    monkeypatch.setattr(lite, "command", lambda *folders: failing)
    with pytest.raises(ExtensionError, match="JupyterLite was not built"):
        lite.build(ROOT, tmp_path / "lite")


def test_a_missing_extension_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(lite, "EXTENSIONS", ("@jupyterlite/none",))
    with pytest.raises(ExtensionError, match=r"@jupyterlite/none is missing"):
        lite.build(ROOT, tmp_path / "lite")
