"""Small archives made in a test, with the fingerprints they have."""

import gzip
import hashlib
import io
import tarfile

from minidiff.data.evidence import Archive


def packed(members):
    """Bytes of a .tar.gz; a member is a name with bytes or a TarInfo."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, data in members.items():
            if isinstance(data, tarfile.TarInfo):
                data.name = name
                tar.addfile(data)
                continue
            data = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)


def archive_of(data, name="texts", registry="npm"):
    """The description that fits an archive's bytes."""
    return Archive(
        name=name,
        version="1.0.0",
        registry=registry,
        licence="CC0-1.0",
        notice="nobody",
        file=f"{name}-1.0.0.tgz",
        sha256=hashlib.sha256(data).hexdigest(),
    )


def put(folder, data, **names):
    """Write an archive into a folder and return its description."""
    archive = archive_of(data, **names)
    folder.mkdir(exist_ok=True)
    (folder / archive.file).write_bytes(data)
    return archive
