"""The home page: a picture, a sentence, a button, and a card a reader."""

import re

import pytest
from built import SCREENS, chrome, html, opened


@pytest.mark.parametrize("width", SCREENS)
def test_the_figure_comes_first_and_the_button_is_in_sight(
    html, chrome, width
):
    tab = opened(chrome, html / "book" / "intro.html", width)
    picture = tab.locator(".bd-article img").first.bounding_box()
    assert (
        picture["y"] < tab.locator(".bd-article p").nth(1).bounding_box()["y"]
    )
    button = tab.get_by_role("link", name="Start with chapter 00")
    assert (
        button.evaluate("a => getComputedStyle(a).display") == "inline-block"
    )
    assert button.bounding_box()["y"] + 30 < SCREENS[width]
    button.click()
    assert "/00_" in tab.url
    tab.close()


def test_a_card_for_each_reader_leads_on(html, chrome):
    tab = opened(chrome, html / "book" / "intro.html", 1440)
    cards = tab.locator(".sd-card")
    pages = cards.locator("a").evaluate_all("all => all.map(a => a.href)")
    assert [p.split("/")[-1] for p in pages] == [
        "00_start_here.html",
        "api.html",
        "for_teachers.html",
    ]
    tab.close()


def test_a_narrow_table_is_as_wide_as_its_content(html, chrome):
    tab = opened(chrome, html / "book" / "intro.html", 1440)
    table = tab.locator(".bd-article table").first
    assert table.evaluate("t => getComputedStyle(t).display") == "table"
    row, whole = table.locator("tr").first.bounding_box(), table.bounding_box()
    article = tab.locator(".bd-article").bounding_box()
    assert abs(row["width"] - whole["width"]) <= 2 < article["width"] / 3
    assert whole["width"] < 0.8 * article["width"]
    tab.close()


def test_logo_icon_and_link_preview(html):
    text = (html / "book" / "intro.html").read_text(encoding="utf-8")
    assert '<link rel="icon" href="../_static/logo.svg"' in text
    assert 'class="logo__image' in text
    assert (html / "_static" / "preview.png").stat().st_size < 100_000
    assert '<meta property="og:title" content="Differential att' in text
    assert '<meta property="og:description" content="Two attention' in text
    # There is no address yet, and so no link that leads nowhere.
    assert "example.invalid" not in text


def test_the_site_s_own_address_has_the_preview_of_the_home_page(html, chrome):
    """Who shares a site shares its address, where a redirect stands."""
    front = (html / "index.html").read_text(encoding="utf-8")
    home = (html / "book" / "intro.html").read_text(encoding="utf-8")
    tags = re.findall(r'<meta (?:property="og|name="[dt]).*? />', front)
    assert len(tags) == 5 and all(tag in home for tag in tags)
    tab = chrome.new_page()
    tab.goto((html / "index.html").as_uri())
    tab.wait_for_url("**/book/intro.html")
    tab.close()
