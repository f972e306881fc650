"""The command line: one file for each command and its options.

PyTorch takes a second to load. So PyTorch, and every module that needs it, is
imported only in the function that runs a command, which keeps --help fast.
"""

# Make the package's attribute `main` the function, not the module.
from minidiff.cli.main import main

__all__ = ["main"]
