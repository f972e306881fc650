"""Commands of minidiff, each in a process of its own that starts at once.

A server, which has imported PyTorch already, forks for each command: that
saves dozens of commands two seconds each. Unlike new Pythons they share one
hash seed, so test_survive.py compares them with a run of a new Python.
"""

import multiprocessing
import os
from typing import Any

POSIX = os.name == "posix"
SERVER = multiprocessing.get_context("forkserver" if POSIX else None)
# Optimisers import torch._dynamo when they are made.
SERVER.set_forkserver_preload(
    ["minidiff.cli", "minidiff.training.loop", "torch._dynamo"]
)


class Command:
    """A running command; ``code`` is executed in its process first."""

    def __init__(self, *arguments: object, code: str = "") -> None:
        self.errors, errors = SERVER.Pipe(duplex=False)
        self.process = SERVER.Process(
            target=_run, args=([*map(str, arguments)], code, errors)
        )
        self.process.start()
        errors.close()

    def finish(self) -> tuple[int, list[str]]:
        """Exit code and last line of the errors, progress and all."""
        with os.fdopen(os.dup(self.errors.fileno())) as file:
            said = file.read()
        self.process.join()
        return self.process.exitcode, said.strip().splitlines()[-1:]


def _run(arguments: list[str], code: str, errors: Any) -> None:
    from minidiff.cli import main

    os.dup2(errors.fileno(), 2)
    errors.close()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    exec(code, {})
    raise SystemExit(main(arguments))
