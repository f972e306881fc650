"""axe-core finds nothing on six pages, light and dark, phone and desktop."""

from importlib.resources import files
from importlib.util import find_spec

import pytest
from built import chrome, html, named, opened
from conftest import need

NAMES = [
    "book/intro",
    named("01"),
    "book/exercises",
    "book/gallery",
    "exercises/part_1",
    "search",
]


@pytest.fixture(scope="module")
def axe() -> str:
    """The script, which this package brings with it."""
    need(
        find_spec("axe_playwright_python"), "axe-playwright-python is missing"
    )
    script = files("axe_playwright_python").joinpath("axe.min.js")
    return script.read_text(encoding="utf-8")


def violations(tab, axe):
    """What axe-core finds on a page, a line for each kind."""
    tab.wait_for_load_state("networkidle")
    tab.wait_for_function(
        "() => !document.querySelector('.math')"
        " || document.querySelector('mjx-container')"
    )
    tab.evaluate(axe)
    return [
        f"{v['id']}: {v['nodes'][0]['html'][:200]}"
        for v in tab.evaluate("axe.run()")["violations"]
    ]


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_page_is_accessible(html, chrome, axe, name, scheme, width):
    tab = opened(chrome, html / f"{name}.html", width, scheme)
    assert violations(tab, axe) == []
    tab.close()


def test_the_check_can_fail(html, chrome, axe):
    tab = opened(chrome, html / "book" / "intro.html", 390)
    tab.evaluate(
        "document.querySelector('article p:not(:has(img))')"
        ".style.color = '#cccccc'"
    )
    found = violations(tab, axe)
    assert [line.split(":")[0] for line in found] == ["color-contrast"]
    tab.close()
