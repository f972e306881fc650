"""Confidence intervals for shares and for losses over documents."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DRAWS = 1000


class Interval(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


class DocumentLoss(NamedTuple):
    """Loss of one document.

    tokens : number of predicted tokens
    size : number of UTF-8 bytes
    nats : sum of the losses of the tokens
    right : number of tokens that were the model's most likely prediction
    """

    domain: str
    path: str
    tokens: int
    size: float
    nats: float
    right: int


def wilson(right: int, total: int) -> Interval:
    """Return a share with its Wilson score interval (Wilson 1927), 95 %.

    Unlike the normal approximation, it stays within 0 and 1, and its width is
    not zero if all answers are right.
    """
    if not 0 <= right <= total or total == 0:
        raise ValueError(
            f"right, total: got {right} of {total}, expected 0 <= right <= "
            "total, and total above 0"
        )
    z, share = 1.959964, right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = (
        z
        * math.sqrt(share * (1 - share) / total + z * z / (4 * total**2))
        / (1 + z * z / total)
    )
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def loss_interval(
    documents: Sequence[DocumentLoss], *, seed: int = 0
) -> Interval:
    """Return the nats per token of documents, with a bootstrap interval.

    The bootstrap resamples documents and not tokens, because the tokens of a
    document are not independent. The interval of one document is NaN.
    """
    nats = np.array([d.nats for d in documents])
    return _bootstrap(nats, _tokens(documents), seed)


def difference_interval(
    first: Sequence[DocumentLoss],
    second: Sequence[DocumentLoss],
    *,
    seed: int = 0,
) -> Interval:
    """Return how much higher the first loss is, in nats per token.

    The bootstrap is paired: both models have read the same documents, and
    each resample takes the same documents for both. The interval covers the
    choice of documents but not the seed of the training.

    Raises ValueError if the documents differ.
    """
    for a, b in zip(first, second, strict=True):
        if (a.domain, a.path, a.tokens) != (b.domain, b.path, b.tokens):
            raise ValueError(
                f"second: got {b.path} of {b.domain} with {b.tokens} tokens "
                f"where the first has {a.path} of {a.domain} with "
                f"{a.tokens}, expected the same documents"
            )
    nats = np.array(
        [a.nats - b.nats for a, b in zip(first, second, strict=True)]
    )
    return _bootstrap(nats, _tokens(first), seed)


def _tokens(documents: Sequence[DocumentLoss]) -> np.ndarray:
    return np.array([d.tokens for d in documents], dtype=np.float64)


def _bootstrap(nats: np.ndarray, tokens: np.ndarray, seed: int) -> Interval:
    """Return sum(nats) / sum(tokens) with a bootstrap interval."""
    n = len(nats)
    if n == 0 or tokens.sum() == 0:
        raise ValueError("documents: got no tokens, expected some")
    value = float(nats.sum() / tokens.sum())
    if n == 1:
        return Interval(value, math.nan, math.nan)
    random = np.random.default_rng(seed)
    means = np.empty(DRAWS)
    for i in range(DRAWS):
        drawn = random.integers(0, n, n)
        means[i] = nats[drawn].sum() / max(tokens[drawn].sum(), 1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(value, float(low), float(high))
