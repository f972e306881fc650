"""Build the website: python book/build_site.py [OUTPUT_FOLDER].

The site is built from the committed, executed notebooks and written to
OUTPUT_FOLDER/_build/html (book/_build/html if no folder is given). The build
does not use a network and treats warnings as errors.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def command(output: Path) -> list[str]:
    """Return the jupyter-book command, to be run in the repository's root.

    It needs --all, because warnings of a page appear only when the page is
    built: otherwise a second build would pass after the first one failed.
    """
    tool = Path(sys.executable).with_name("jupyter-book")
    return [
        str(tool), "build", ".",
        "--config", "book/_config.yml", "--toc", "book/_toc.yml",
        "--path-output", str(output),
        "-W", "-n", "--keep-going", "--all", "-q",
    ]  # fmt: skip


def main() -> int:
    """Build the site; return the exit status of jupyter-book."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "book")
    status = subprocess.run(command(output.resolve()), cwd=ROOT).returncode
    if status == 0:
        page = output.resolve() / "_build" / "html" / "index.html"
        print(f"The site is ready: {page.as_uri()}")
    return status


if __name__ == "__main__":
    sys.exit(main())
