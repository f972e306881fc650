"""The command line: a file a command, with its options and what it does.

PyTorch, and whatever needs it, is imported where a command runs: it takes a
second to load, and --help should not.
"""

# The package's attribute `main` is the function, not its module.
from minidiff.cli.main import main

__all__ = ["main"]
