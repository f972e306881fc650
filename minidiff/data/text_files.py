"""Text files of a folder: which are read, and why the others are not."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

# What training and `minidiff tokens` write is not a text to learn from.
_MADE_HERE = (
    ("checkpoint.safetensors", "a run folder"),
    ("checkpoint.previous.safetensors", "a run folder"),
    ("train.tokens", "a folder of token files"),
)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotTextError(Exception):
    """A file is not a readable UTF-8 text; the message is the reason."""


def walk(
    root: Path,
    skip: set[str],
    reasons: dict[str, str],
    leave_out: Iterable[Path] = (),
) -> Iterator[Path]:
    """Yield the files below a folder.

    Hidden folders and those named in ``skip`` are not entered. Further
    folders that are not entered are added to ``reasons``: linked and
    unreadable ones, and those that this package wrote. Files and folders in
    ``leave_out`` are passed over.
    """
    out = {os.path.realpath(path) for path in leave_out}

    def unreadable(error: OSError) -> None:
        name = Path(error.filename).relative_to(root).as_posix()
        reasons[name] = f"cannot be read ({error.strerror})"

    for folder, subfolders, names in os.walk(root, onerror=unreadable):
        kept = []
        for name in subfolders:
            path = Path(folder, name)
            if name in skip or name[0] == "." or os.path.realpath(path) in out:
                continue
            reason = _not_entered(path)
            if reason is None:
                kept.append(name)
            else:
                reasons[path.relative_to(root).as_posix()] = reason
        subfolders[:] = kept
        for name in names:
            if not out or os.path.realpath(Path(folder, name)) not in out:
                yield Path(folder, name)


def text_of(path: Path) -> str:
    """Return a file's text with ``\\n`` line ends.

    Raises NotTextError with the reason if the file is a pipe or a device, is
    unreadable, is not UTF-8 or has a NUL.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind != stat.S_IFREG:  # opening a pipe would wait for a writer
            raise NotTextError(_KINDS.get(kind, "not a regular file"))
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise NotTextError(f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise NotTextError("not UTF-8 text") from error
    # NUL is valid UTF-8, but means that the file is binary.
    if "\0" in text:
        raise NotTextError("not text: it has a NUL")
    return text


def summary(reasons: Mapping[str, str]) -> str:
    """Count what was skipped by reason, each with an example."""
    names: dict[str, list[str]] = {}
    for name, reason in sorted(reasons.items()):
        names.setdefault(reason, []).append(name)
    return "; ".join(
        f"{len(same)} {reason}, such as {same[0]!r}"
        for reason, same in names.items()
    )


def check_texts(folder: Path) -> None:
    """Raise ValueError if this package wrote a folder that is to be read."""
    name, what = _made_here(folder)
    if what is not None:
        raise ValueError(
            f"path: {folder} is {what} (it has {name}), expected a folder of "
            "texts, or a text file"
        )


def _not_entered(folder: Path) -> str | None:
    """Return why a folder is not read, or None if it is."""
    if folder.is_symlink():
        return "a link to a folder"
    return _made_here(folder)[1]


def _made_here(folder: Path) -> tuple[str, str] | tuple[None, None]:
    """Return the file that shows what this package wrote, and what that is."""
    for name, what in _MADE_HERE:
        try:
            if (folder / name).exists():
                return name, what
        except OSError:
            break  # os.walk says that it is unreadable
    return None, None
