"""Time to first paint on a slow line: python tests/paint.py HTML PAGE...

It serves the built site of the folder HTML, compressed as web servers do, and
opens each page three times, as a phone with 1.6 Mbit/s and 150 ms a request.
It is no part of `make test`, because a time is no test.

    python tests/paint.py book/_build/html book/intro exercises/part_1
"""

import gzip
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pages

RUNS = 3
LINE = {
    "offline": False,
    "latency": 150,  # milliseconds
    "downloadThroughput": 1.6e6 / 8,
    "uploadThroughput": 0.75e6 / 8,
}
TEXT = {".html", ".js", ".css", ".svg", ".json"}
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


class Compressing(SimpleHTTPRequestHandler):
    """Serve a folder without a log, and text compressed."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        """Answer with a file, or 404."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        data = path.read_bytes()
        self.send_response(200)
        if path.suffix in TEXT:
            data = gzip.compress(data, 6)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def first_paint(chrome: Any, url: str) -> tuple[float, int]:
    """Return the seconds to the first contentful paint, and all bytes."""
    context = chrome.new_context(viewport={"width": 390, "height": 844})
    tab = context.new_page()
    line = context.new_cdp_session(tab)
    received: list[int] = []
    line.on(
        "Network.loadingFinished",
        lambda event: received.append(int(event["encodedDataLength"])),
    )
    line.send("Network.enable")
    line.send("Network.emulateNetworkConditions", LINE)
    tab.goto(url, wait_until="load", timeout=120_000)
    tab.wait_for_load_state("networkidle")
    seconds = tab.evaluate(PAINT) / 1000
    context.close()
    return seconds, sum(received)


def main(folder: str, names: list[str]) -> None:
    """Print the three times of each page, and its bytes over the wire."""
    handler = partial(Compressing, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pages.browser() as chrome:
            for name in names:
                url = f"http://127.0.0.1:{server.server_port}/{name}.html"
                runs = [first_paint(chrome, url) for _ in range(RUNS)]
                times = ", ".join(f"{seconds:.2f}" for seconds, _ in runs)
                print(f"{name}: {times} s, {runs[0][1] / 1e3:.0f} kB")
        server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
