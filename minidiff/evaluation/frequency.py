"""Deciles of tokens by their frequency in the training text."""

import numpy as np
import torch
from torch import Tensor

BINS = 10


def frequency_deciles(counts: np.ndarray) -> Tensor:
    """Return the decile of each token id, (V,) int64; 0 holds the rarest.

    Tokens are ordered by their number of occurrences, and each decile makes
    up a tenth of the training text. A token belongs to the decile that
    contains the middle of its own share. So the last decile can be a single
    token such as the space, and if a token's share is larger than a tenth, a
    neighbouring decile can be empty.

    Parameters
    ----------
    counts : (V,) integers
        Occurrences of each token in the training text.
    """
    counts = np.asarray(counts)
    if counts.ndim != 1 or counts.sum() <= 0 or counts.min() < 0:
        raise ValueError(
            f"counts: got shape {counts.shape} with sum {counts.sum()}, "
            "expected (V,) numbers of occurrences, not all 0"
        )
    order = counts.argsort(kind="stable")
    ordered = counts[order].astype(np.float64)
    middle = (ordered.cumsum() - ordered / 2) / ordered.sum()
    deciles = np.empty(len(counts), dtype=np.int64)
    deciles[order] = np.minimum((middle * BINS).astype(np.int64), BINS - 1)
    return torch.from_numpy(deciles)
