"""On a phone wide equations and figures are readable, and scroll in a box."""

import pytest
from built import chrome, html, named, opened

EQUATIONS = [named(number) for number in ("01", "03", "12")]
FIGURES = [named(number) for number in ("01", "03", "12", "19")]
BEGINS_OUTSIDE = """() => [...document.querySelectorAll('div.math')].filter(
  (box) => {
    const line = box.querySelector('mjx-itable, mjx-math');
    return line.getBoundingClientRect().left
      < box.getBoundingClientRect().left - 1;
  }).map((box) => box.textContent.slice(0, 40))"""
NARROW = """() => [...document.querySelectorAll('.cell_output > img')].filter(
  (x) => x.clientWidth < 0.95 * Math.min(x.naturalWidth, 576)
    || getComputedStyle(x.parentElement).overflowX !== 'auto'
    || x.parentElement.tabIndex !== 0).map((x) => x.src)"""

UNFOLD = "document.querySelectorAll('details').forEach((x) => x.open = true)"


@pytest.fixture
def phone(html, chrome):
    tabs = []

    def phone(name):
        tab = opened(chrome, html / f"{name}.html", 390)
        tabs.append(tab)
        tab.wait_for_selector("mjx-container", state="attached")
        tab.evaluate(UNFOLD)
        tab.wait_for_function(
            "document.images.length && [...document.images]"
            ".every((x) => x.complete)"
        )
        return tab

    yield phone
    for tab in tabs:
        tab.close()


@pytest.mark.parametrize("name", EQUATIONS)
def test_an_equation_shows_its_beginning(phone, name):
    tab = phone(name)
    assert tab.locator("div.math").count() > 2
    assert tab.evaluate(BEGINS_OUTSIDE) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_not_shrunk_until_it_cannot_be_read(phone, name):
    tab = phone(name)
    assert tab.locator(".cell_output > img").count() > 2
    assert tab.evaluate(NARROW) == []
