"""Memory of this machine, and what a group of processes takes of it."""

import os
from contextlib import suppress
from pathlib import Path

# Places in /proc/PID/stat, counted behind the process's name.
_GROUP, _PAGES = 2, 21


def physical_memory() -> int:
    """Return the machine's memory in bytes, or 1 TiB if it is unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return 2**40


def memory_of(group: int | None) -> int:
    """Return the bytes of memory that the processes of a group take.

    0 if the system does not tell, as only Linux does. Memory that several of
    them share counts for each.
    """
    pages = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            # A process may have any name; it stands in brackets.
            text = file.read_text(errors="replace").rpartition(")")[2]
            entries = text.split()
            if int(entries[_GROUP]) == group:
                pages += int(entries[_PAGES])
    return pages * os.sysconf("SC_PAGE_SIZE") if pages else 0
