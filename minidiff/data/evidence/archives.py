"""Package archives: checked by SHA-256 and read in memory, never unpacked.

An archive comes from a registry and is not trusted: it must have the expected
SHA-256, it must not unpack to more than ``MOST_BYTES``, and its member names
are only compared with the wanted ones, never used as paths on the disk.
"""

import gzip
import hashlib
import io
import os
import re
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from minidiff.files.reading import problem

MOST_BYTES = 128 * 2**20
"""Largest size of an unpacked archive; the largest used here has 35 MB."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One version of a package, as a registry's .tar.gz archive."""

    name: str
    version: str
    registry: str  # "npm" or "PyPI"
    licence: str  # SPDX expression of the text in it
    notice: str  # copyright notice of the text
    file: str  # name of the archive
    sha256: str

    @property
    def command(self) -> list[str]:
        """Return the registry client's command that downloads the archive."""
        if self.registry == "npm":
            what = f"{self.name}@{self.version}"
            return ["npm", "pack", "--ignore-scripts", what]
        what = f"{self.name}=={self.version}"
        return ["pip", "download", "--no-deps", what]


def checked_bytes(path: Path, archive: Archive) -> bytes:
    """Return an archive's bytes if they are the expected ones.

    Raises ValueError, naming the file, if it is missing or differs.
    """
    found = problem(path)
    if found is not None:
        raise ValueError(
            f"{path}: cannot be read ({found}), expected the archive that "
            f"`{' '.join(archive.command)}` downloads"
        )
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != archive.sha256:
        raise ValueError(
            f"{path}: got SHA-256 {digest[:12]}..., expected "
            f"{archive.sha256[:12]}... of {archive.name} {archive.version}: "
            "it is damaged or another version; delete it and fetch it again"
        )
    return data


def read_members(
    folder: str | os.PathLike[str],
    archive: Archive,
    pattern: str,
    most_bytes: int = MOST_BYTES,
) -> dict[str, str]:
    r"""Read the members whose whole name matches a pattern, as UTF-8 text.

    Parameters
    ----------
    folder : path
        Where ``archive.file`` is.
    pattern : str
        Regular expression, as in ``package/data/.*\.txt``.
    most_bytes : int
        Limit of the unpacked archive, members and headers together.

    Returns
    -------
    dict
        Text by member name, sorted by name; lines end in ``\n``.

    Raises
    ------
    ValueError
        If the archive is missing, not the expected version, not a gzipped
        tar or too large, a member's name leads outside the archive, a member
        is not UTF-8, or none matches. The message names the archive and, if
        there is one, the member at fault.
    """
    path = Path(folder) / archive.file
    unpacked = _unpacked(path, checked_bytes(path, archive), most_bytes)
    found = {}
    try:
        with tarfile.open(fileobj=unpacked, mode="r:") as tar:
            for member in tar:
                _check_name(path, member.name)
                if not member.isreg() or not re.fullmatch(
                    pattern, member.name
                ):
                    continue
                # A sparse member can claim any size without taking any bytes.
                if member.size > most_bytes:
                    raise _too_large(path, most_bytes)
                file = tar.extractfile(member)
                assert file is not None  # because it is a regular file
                data = file.read()
                found[member.name] = _text(path, member.name, data)
    except tarfile.TarError as error:
        raise ValueError(
            f"{path}: cannot be read ({error}), expected a gzipped tar"
        ) from error
    if not found:
        raise ValueError(
            f"{path}: has no member that matches {pattern!r}, expected some"
        )
    return dict(sorted(found.items()))


def _unpacked(path: Path, data: bytes, most: int) -> io.BytesIO:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: cannot be read ({error}), expected a gzipped tar"
        ) from error
    if len(unpacked) > most:
        raise _too_large(path, most)
    return io.BytesIO(unpacked)


def _too_large(path: Path, most: int) -> ValueError:
    return ValueError(
        f"{path}: unpacks to more than {most} bytes, expected less"
    )


def _check_name(path: Path, name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts or name.startswith(("/", "\\")) or ":" in name:
        raise ValueError(
            f"{path}: has a member named {name!r}, expected names inside the "
            "archive"
        )


def _text(path: Path, name: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: {name} is not UTF-8 (byte {error.start}), expected text"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
