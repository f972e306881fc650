"""The menu and the contents open, by click or tap, at every width."""

import pytest
from built import SCREENS, chrome, html, named, opened

# The theme moves a sidebar into a dialog while it is open on a narrow page.
MENU = ":is(#pst-primary-sidebar, #pst-primary-sidebar-modal) .bd-links"
CONTENTS = ":is(#pst-secondary-sidebar, #pst-secondary-sidebar-modal)"
NARROW = [width for width in SCREENS if width < 992]


@pytest.fixture
def at(html, chrome):
    """A chapter at some width; its tab is closed after the test.

    Narrow screens are touched.
    """
    tabs = []

    def at(width):
        page = html / f"{named('03')}.html"
        tab = opened(chrome, page, width, touch=width in NARROW)
        tabs.append(tab)
        return tab

    yield at
    for tab in tabs:
        tab.close()


def in_sight(tab, sidebar):
    """Wait until a link of the sidebar stands inside the window."""
    tab.wait_for_function(
        """(sidebar) => {
          const inside = (link) => {
            const box = link.getBoundingClientRect();
            const top = document.elementFromPoint(
              box.x + box.width / 2, box.y + box.height / 2);
            return box.x >= 0 && box.right <= innerWidth &&
              top !== null && link.contains(top);
          };
          return [...document.querySelectorAll(sidebar + ' a')].some(inside);
        }""",
        arg=sidebar,
        timeout=5000,
    )


def out_of_sight(tab, sidebar):
    """Wait until no link of the sidebar stands inside the window."""
    tab.wait_for_function(
        """(sidebar) => [...document.querySelectorAll(sidebar + ' a')].every(
            (a) => !a.checkVisibility({visibilityProperty: true})
              || a.getBoundingClientRect().right <= 0
              || a.getBoundingClientRect().x >= innerWidth)""",
        arg=sidebar,
        timeout=5000,
    )


@pytest.mark.parametrize("width", NARROW)
@pytest.mark.parametrize(
    "sidebar, button",
    [(MENU, ".primary-toggle"), (CONTENTS, ".secondary-toggle")],
)
def test_a_narrow_page_opens_and_closes_its_menus(at, width, sidebar, button):
    tab = at(width)
    out_of_sight(tab, sidebar)
    tab.locator(f"{button}:visible").tap()
    in_sight(tab, sidebar)
    tab.keyboard.press("Escape")
    out_of_sight(tab, sidebar)


def test_a_wide_page_hides_its_menu_and_shows_it_again(at):
    tab = at(1440)
    in_sight(tab, MENU)
    in_sight(tab, CONTENTS)
    tab.locator(".primary-toggle:visible").click()
    out_of_sight(tab, MENU)
    tab.locator(".primary-toggle:visible").click()
    in_sight(tab, MENU)


@pytest.mark.parametrize("width", SCREENS)
def test_no_empty_band_and_one_way_to_search(at, width):
    tab = at(width)
    top = tab.locator("h1:visible").bounding_box()["y"]
    assert top < 120
    assert tab.locator(".bd-header:visible").count() == 0
    assert tab.locator(".search-button__button:visible").count() == 1


@pytest.mark.parametrize("name", ["intro", "api", "bibliography"])
def test_a_phone_does_not_scroll_sideways(html, chrome, name):
    tab = opened(chrome, html / "book" / f"{name}.html", 390)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    tab.close()
