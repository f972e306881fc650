"""A page's first load is under a megabyte over the wire."""

import gzip
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from built import chrome, html, named

TEXT = {".html", ".js", ".css", ".svg", ".json"}
NAMES = [
    "book/intro",
    "book/api",
    "book/gallery",
    "book/exercises",
    "search",
    # Of the chapters, the first and those with the heaviest figures.
    *map(named, ("00", "03", "13", "15", "19", "20", "22", "23")),
]


def over_the_wire(url: str) -> int:
    """The bytes of a file as servers send it: text is compressed."""
    file = Path(unquote(urlsplit(url).path))
    data = file.read_bytes()
    return len(gzip.compress(data) if file.suffix in TEXT else data)


@pytest.mark.parametrize("name", NAMES)
def test_first_load(html, chrome, name):
    tab = chrome.new_page(viewport={"width": 390, "height": 844})
    urls = []
    tab.on("request", lambda request: urls.append(request.url))
    query = "?q=needle" if name == "search" else ""
    tab.goto((html / f"{name}.html").as_uri() + query)
    tab.wait_for_load_state("networkidle")
    sizes = {u: over_the_wire(u) for u in urls if u.startswith("file:")}
    assert len(sizes) > 10
    largest = sorted(sizes, key=sizes.get)[-3:]
    assert sum(sizes.values()) < 1_000_000, [(u, sizes[u]) for u in largest]
    tab.close()


# At 1.6 Mbit/s these arrive in a second.
BEFORE_PAINT = 200_000
BLOCKING = """() => [...document.head.querySelectorAll(
  'link[rel=stylesheet], script[src]:not([async]):not([defer])')].map(
  (x) => x.href || x.src)"""


@pytest.mark.parametrize(
    "name", ["book/intro", named("03"), "exercises/part_1"]
)
def test_little_is_loaded_before_the_first_paint(html, chrome, name):
    """Page, styles and scripts of its head; `tests/paint.py` takes times."""
    page = html / f"{name}.html"
    tab = chrome.new_page(viewport={"width": 390, "height": 844})
    tab.goto(page.as_uri())
    sizes = {url: over_the_wire(url) for url in tab.evaluate(BLOCKING)}
    sizes[page.as_uri()] = over_the_wire(page.as_uri())
    assert sum(url.split("?")[0].endswith(".css") for url in sizes) > 3
    assert sum(sizes.values()) < BEFORE_PAINT, sizes
    tab.close()
