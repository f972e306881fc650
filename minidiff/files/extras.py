"""Optional packages, with a clear error if one is missing.

Each belongs to an extra of pyproject.toml; for example ``pip install
'minidiff[plot]'`` installs Matplotlib.
"""

from importlib.util import find_spec

EXTRA = {
    "argcomplete": "completion",
    "datasets": "datasets",
    "ipykernel": "check",
    "matplotlib": "plot",
    "nbclient": "check",
    "nbformat": "check",
    "tensorboardX": "tensorboard",
    "tokenizers": "bpe",
    "triton": "triton",
}
NOTE = {
    "triton": ". It exists for Linux only; on macOS and Windows use a Linux "
    "container, WSL 2 or a hosted notebook"
}


class MissingPackageError(ImportError):
    """Raised if a command or function needs a package not installed."""


def need(package: str, user: str) -> None:
    """Raise MissingPackageError unless ``package`` is installed.

    ``user`` is the command or option that needs it, as it was typed:
    ``need("matplotlib", "minidiff plot")``.
    """
    if find_spec(package) is None:
        raise MissingPackageError(
            f"{user} needs {package}: pip install "
            f"'minidiff[{EXTRA[package]}]'{NOTE.get(package, '')}",
            name=package,
        )
