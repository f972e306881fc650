"""Origin of a recorded number: machine, versions, commit and command."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch


def provenance(device: str, command: str) -> dict[str, Any]:
    """Describe this run, ready for JSON.

    ``device`` is a torch device's name; a GPU is given by its model's name.
    The commit is None outside a checkout of minidiff, and ends in "+" where
    tracked files differ from it.
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
    """The commit of the package's own checkout, if it is in one.

    Not of a repository around an environment that it is installed in.
    """
    here = Path(__file__).resolve().parent
    git = ["git", "-C", str(here)]
    try:
        _, head, status = (
            subprocess.run(
                [*git, *arguments], capture_output=True, text=True, check=True
            ).stdout.strip()
            for arguments in (
                # Fails if it is in a repository that does not know it.
                ["ls-files", "--error-unmatch", __file__],
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if status else "")
