"""Optional packages: a clear error where one is missing.

Each belongs to an extra of pyproject.toml, so ``pip install
'minidiff[plot]'`` brings Matplotlib.
"""

from importlib.util import find_spec

EXTRA = {
    "datasets": "datasets",
    "ipykernel": "check",
    "matplotlib": "plot",
    "nbclient": "check",
    "nbformat": "check",
    "tensorboardX": "tensorboard",
    "triton": "triton",
}
NOTE = {
    "triton": ". It exists for Linux only; on macOS and Windows use a Linux "
    "container, WSL 2 or a hosted notebook"
}


class MissingPackageError(ImportError):
    """A command or function was used whose package is not installed."""


def need(package: str, user: str) -> None:
    """Raise MissingPackageError unless ``package`` is installed.

    ``user`` is what needs it, as the person who used it wrote it:
    ``need("matplotlib", "minidiff plot")``.
    """
    if find_spec(package) is None:
        raise MissingPackageError(
            f"{user} needs {package}: pip install "
            f"'minidiff[{EXTRA[package]}]'{NOTE.get(package, '')}",
            name=package,
        )
