"""The commands of the command line: options beside what they do.

PyTorch, and whatever needs it, is imported where a command runs: it takes a
second to load, and --help should not.
"""
