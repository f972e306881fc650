"""Parts that only the book needs: its files, and the kernels of Part III."""

from minidiff.course.paths import results, root, runs, weights

__all__ = ["results", "root", "runs", "weights"]
