"""The API reference, the gallery, and pages on paper."""

import re

from built import chrome, html, named, opened

import minidiff


def test_the_reference_is_on_the_site(html):
    text = (html / "book" / "api.html").read_text(encoding="utf-8")
    for name in minidiff._HOME:
        assert f"<h3>{name}<" in text, name
    assert "api:here" not in text


def test_every_figure_of_the_gallery_leads_to_its_place(html):
    text = (html / "book" / "gallery.html").read_text(encoding="utf-8")
    found = re.findall(
        r'<a href="\.\./(\S+?)#(\S+?)">'
        r'<img [^>]*src="\.\./(\S+?)" alt="(.*?)"',
        text,
    )
    assert len(found) == text.count("<figure>") > 50
    pages = {}
    for page, place, file, alt in found:
        if page not in pages:
            pages[page] = (html / page).read_text(encoding="utf-8")
        assert f'id="{place}"' in pages[page]
        assert file in pages[page]
        assert (html / file).exists()
        assert len(alt) > 11


def test_a_printed_page_is_the_article_alone(html, chrome):
    tab = opened(chrome, html / f"{named('03')}.html", 1440)
    tab.emulate_media(media="print")
    for part in (
        ".bd-sidebar-primary",
        ".bd-sidebar-secondary",
        ".bd-header-article",
        ".prev-next-footer",
        ".ladder",
        ".copybtn",
    ):
        assert tab.locator(part).count() > 0, part
        assert tab.locator(f"{part}:visible").count() == 0, part
    assert tab.locator(".bd-article h1").is_visible()
    tab.close()
