"""Build the website: python book/build_site.py [OUTPUT_FOLDER].

The site is written to OUTPUT_FOLDER/_build/html (book/_build/html when none
is named) from the committed, executed notebooks. No network is used, and a
warning is an error.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def command(output: Path) -> list[str]:
    """The jupyter-book command, to be run in the repository's root.

    --all, because a page that is not rebuilt does not repeat its warnings:
    a second build would pass where the first one failed.
    """
    tool = Path(sys.executable).with_name("jupyter-book")
    return [
        str(tool), "build", ".",
        "--config", "book/_config.yml", "--toc", "book/_toc.yml",
        "--path-output", str(output),
        "-W", "-n", "--keep-going", "--all", "-q",
    ]  # fmt: skip


def main() -> int:
    """Build; the exit status of jupyter-book."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "book")
    status = subprocess.run(command(output.resolve()), cwd=ROOT).returncode
    if status == 0:
        page = output.resolve() / "_build" / "html" / "index.html"
        print(f"The site is ready: {page.as_uri()}")
    return status


if __name__ == "__main__":
    sys.exit(main())
