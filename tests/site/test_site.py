"""The website builds without a warning, and a browser finds nothing wrong."""

import pages
import pytest
from built import chrome, html, named, toc
from committed import JOBS


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", toc())
def test_page(html, chrome, name, scheme):
    assert pages.problems(chrome, html / f"{name}.html", scheme) == []


def test_home_leads_to_the_book(html):
    assert "book/intro.html" in (html / "index.html").read_text()


def test_search_and_copy_buttons_and_theme_switch(html, chrome):
    assert (html / "searchindex.js").stat().st_size > 1000
    tab = chrome.new_page()
    tab.goto((html / f"{named('03')}.html").as_uri())
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
