"""Parts that only the book needs: its files, and the kernels of Part III."""

from minidiff.course.paths import results, root, weights

__all__ = ["results", "root", "weights"]
