"""What a browser sees of a built page: used by test_site.py and the Lab."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium() -> str | None:
    """The system's Chromium; the environment's CHROMIUM comes first."""
    if os.environ.get("CHROMIUM"):
        return os.environ["CHROMIUM"]
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser() -> Iterator[Any]:
    """A headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chrome = play.chromium.launch(executable_path=chromium())
        try:
            yield chrome
        finally:
            chrome.close()


def problems(chrome: Any, page: Path, scheme: str) -> list[str]:
    """Open a built page in a light or dark scheme; what is wrong with it.

    Mathematics that did not render, requests that failed or left this
    machine, images that are broken or have no alternative text, errors of
    scripts.
    """
    found: list[str] = []
    context = chrome.new_context(color_scheme=scheme)
    tab = context.new_page()
    tab.on("requestfailed", lambda r: found.append(f"failed: {r.url}"))
    tab.on("pageerror", lambda error: found.append(f"script: {error}"))

    def watch(request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            found.append(f"off this machine: {request.url}")

    tab.on("request", watch)
    tab.goto(page.as_uri(), wait_until="load")
    tab.wait_for_function(
        "() => !document.querySelector('.math, mjx-container')"
        " || document.querySelector('mjx-container')"
    )
    found += tab.evaluate(
        """async () => {
          const out = [];
          // A picture below the window is only loaded when it is needed.
          for (const x of document.images) x.loading = 'eager';
          await Promise.allSettled(
            [...document.images].map((x) => x.decode()));
          for (const x of document.querySelectorAll('mjx-merror'))
            out.push('mathematics: ' + x.textContent);
          for (const x of document.querySelectorAll('.math')) {
            if (!x.querySelector('mjx-container'))
              out.push('not rendered: ' + x.textContent.slice(0, 60));
          }
          for (const x of document.querySelectorAll('article p'))
            if (x.textContent.includes('$$'))
              out.push('dollars on the page: ' + x.textContent);
          for (const x of document.images) {
            if (x.offsetParent && !x.naturalWidth)
              out.push('broken image: ' + x.src);
            if (!x.alt) out.push('no alt text: ' + x.src);
          }
          return out;
        }"""
    )
    theme = tab.evaluate("document.documentElement.dataset.theme")
    if theme != scheme:
        found.append(f"theme: expected {scheme}, got {theme}")
    context.close()
    return found
