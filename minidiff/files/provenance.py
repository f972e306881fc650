"""Provenance of recorded results: machine, versions, commit and command."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch


def provenance(device: str, command: str) -> dict[str, Any]:
    """Describe this run as a dict that JSON can hold.

    ``device`` is the name of a torch device; for a GPU, the dict has its
    model's name too. ``command`` is the command of the run. The commit is
    None outside a checkout of minidiff, and ends in "+" if tracked files have
    been changed.
    """
    name = device
    if torch.device(device).type == "cuda":
        name = f"{device} ({torch.cuda.get_device_name(device)})"
    return {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "device": name,
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "versions": {
            "python": platform.python_version(),
            **{n: _version(n) for n in ("minidiff", "torch", "numpy")},
            "triton": _version("triton"),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        },
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the package's own checkout, or None.

    The package may also be installed in an environment inside another
    repository; that repository's commit is not returned.
    """
    here = Path(__file__).resolve().parent
    git = ["git", "-C", str(here)]
    try:
        _, head, status = (
            subprocess.run(
                [*git, *arguments], capture_output=True, text=True, check=True
            ).stdout.strip()
            for arguments in (
                # Fails if the repository does not track this file.
                ["ls-files", "--error-unmatch", __file__],
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if status else "")
