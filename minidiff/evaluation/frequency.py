"""Tokens by how often they were seen in training."""

import numpy as np
import torch
from torch import Tensor

BINS = 10


def frequency_deciles(counts: np.ndarray) -> Tensor:
    """Return the decile of each token id, (V,) int64; 0 holds the rarest.

    Ordered by their number of occurrences, the tokens of one decile make up
    a tenth of the training text; a token belongs where the middle of its own
    share lies. So the tenth decile can be the space alone, and a decile whose
    whole tenth is one token can be empty.

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
