"""Blocks of keys that must be used when they come."""

from collections.abc import Iterator, Sequence

import numpy as np

Page = tuple[np.ndarray, ...]


def pages(blocks: Sequence[Page]) -> Iterator[Page]:
    """Give copies of the blocks, and spoil each when the next is asked for.

    Who keeps the blocks in order to look at them again finds NaN in them.
    """
    for block in blocks:
        page = tuple(np.array(x) for x in block)
        yield page
        for x in page:
            x.fill(np.nan)


def cut(block: int, *arrays: np.ndarray) -> list[Page]:
    """Cut arrays along their first axis into blocks; the last may be short."""
    n = len(arrays[0])
    return [
        tuple(x[i : i + block] for x in arrays) for i in range(0, n, block)
    ]
