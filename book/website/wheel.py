"""A wheel of the package for the browser, written without a build tool.

It asks for no other package: PyTorch does not exist there. Beside the package
it has the course's files that the chapters read, laid out as in the
repository, because that is where `minidiff.course` looks for them.
"""

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from minidiff import __version__

NAME = f"minidiff-{__version__}-py3-none-any.whl"
INFO = f"minidiff-{__version__}.dist-info"
METADATA = f"""\
Metadata-Version: 2.1
Name: minidiff
Version: {__version__}
Summary: minidiff for a browser: what needs PyTorch does not work there
License: MIT
Requires-Python: >=3.11
"""
WHEEL = """\
Wheel-Version: 1.0
Generator: minidiff
Root-Is-Purelib: true
Tag: py3-none-any
"""
RESULT = re.compile(r'course\.results\(\s*"([^"]+)"')


def read_by(chapters: Iterable[Path]) -> set[str]:
    """Return the names of the recorded results that these chapters read."""
    texts = (path.read_text(encoding="utf-8") for path in chapters)
    return {name for text in texts for name in RESULT.findall(text)}


def contents(root: Path, chapters: Iterable[Path]) -> dict[str, bytes]:
    """Return the files of the wheel by their names in it."""
    chapters = list(chapters)
    results = root / "book" / "results"
    files = [
        *(root / "minidiff").rglob("*.py"),
        *chapters,
        *(results / name for name in read_by(chapters)),
    ]
    found = {
        path.relative_to(root).as_posix(): path.read_bytes() for path in files
    }
    found[f"{INFO}/METADATA"] = METADATA.encode()
    found[f"{INFO}/WHEEL"] = WHEEL.encode()
    found[f"{INFO}/licenses/LICENSE"] = (root / "LICENSE").read_bytes()
    return found


def write(root: Path, chapters: Iterable[Path], folder: Path) -> Path:
    """Write the wheel into a folder and return its path.

    The same files make the same wheel, byte for byte.
    """
    files = contents(root, chapters)
    record = "".join(
        f"{name},sha256={_hash(files[name])},{len(files[name])}\n"
        for name in sorted(files)
    )
    files[f"{INFO}/RECORD"] = f"{record}{INFO}/RECORD,,\n".encode()
    path = folder / NAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name)  # dated 1980, whenever it is built
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, files[name])
    return path


def _hash(data: bytes) -> str:
    digest = hashlib.sha256(data).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
