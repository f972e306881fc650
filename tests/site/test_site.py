"""The website builds without a warning, and a browser finds nothing wrong."""

import os
import subprocess
import sys
from pathlib import Path

import build_site
import pages
import pytest
import yaml
from committed import JOBS, ROOT
from conftest import need


def toc() -> list[str]:
    """The pages of the table of contents, without suffix."""
    tree = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    chapters = [c["file"] for p in tree["parts"] for c in p["chapters"]]
    return [tree["root"], *chapters]


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once by the command of `make book`."""
    tool = Path(build_site.command(Path("x"))[0])
    need(tool.exists(), 'jupyter-book is missing: pip install -e ".[book]"')
    output = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "book/build_site.py", str(output)],
        cwd=ROOT,
        env=dict(os.environ, NO_COLOR="1"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return output / "_build" / "html"


@pytest.fixture(scope="module")
def chrome():
    need(pages.chromium(), "no Chromium: apt-get install chromium")
    with pages.browser() as chrome:
        yield chrome


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", toc())
def test_page(html, chrome, name, scheme):
    assert pages.problems(chrome, html / f"{name}.html", scheme) == []


def test_home_leads_to_the_book(html):
    assert "book/intro.html" in (html / "index.html").read_text()


def test_search_and_copy_buttons_and_theme_switch(html, chrome):
    assert (html / "searchindex.js").stat().st_size > 1000
    tab = chrome.new_page()
    chapter = next(n for n in toc() if "/03_" in n)
    tab.goto((html / f"{chapter}.html").as_uri())
    cells = tab.locator("div.cell_input div.highlight").count()
    assert tab.locator("div.cell_input button.copybtn").count() == cells > 5
    assert tab.locator("button.theme-switch-button").count() >= 1
    tab.goto((html / "search.html").as_uri() + "?q=softmax")
    tab.wait_for_selector("#search-results li")


def test_no_page_names_another_host_for_its_parts(html):
    for page in html.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for kind in ('<script src="http', '<link rel="stylesheet" href="http'):
            assert kind not in text, page


def test_every_notebook_is_in_the_contents():
    made = {path.removesuffix(".ipynb") for path in JOBS}
    assert {n for n in toc() if not n.startswith("book/")} == made


NO_PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
BAD = {
    "mathematics": "<p><mjx-merror>bad</mjx-merror></p>",
    "not rendered": "<p class='math tex2jax_ignore'>x</p>",
    "dollars": "<article><p class='tex2jax_ignore'>$$ x</p></article>",
    "no alt text": f"<p><img src='{NO_PIXEL}'></p>",
    "broken image": "<p><img alt='a picture' src='gone.png'></p>",
    "failed": "<p><img alt='a picture' src='gone.png'></p>",
    "off this machine": "<script src='http://127.0.0.1:9/x.js'></script>",
    "script": "<script>undefinedFunction()</script>",
}


@pytest.mark.parametrize("problem", BAD)
def test_the_browser_check_can_fail(chrome, html, problem):
    """A page made wrong on purpose, in the shell of a real one."""
    text = (html / "book" / "notation.html").read_text(encoding="utf-8")
    page = html / "book" / "made_wrong.html"
    page.write_text(text.replace("<article", BAD[problem] + "<article", 1))
    try:
        found = pages.problems(chrome, page, "light")
    finally:
        page.unlink()
    assert any(problem in line for line in found), found
