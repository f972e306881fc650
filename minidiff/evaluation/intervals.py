"""Confidence intervals: of a share, and of a loss over documents."""

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

    tokens : how many were predicted
    size : in UTF-8 bytes
    nats : the sum over the tokens
    right : tokens that were the model's first choice
    """

    domain: str
    path: str
    tokens: int
    size: float
    nats: float
    right: int


def wilson(right: int, total: int) -> Interval:
    """Return a share with its Wilson score interval (Wilson 1927), 95 %.

    Unlike the normal interval it stays within 0 and 1, and has a width where
    all answers are right.
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
    """Return the nats per token of documents, with a bootstrap's interval.

    Documents are drawn anew, not tokens: the tokens of one document are not
    independent. One document has no interval (NaN).
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

    Paired: both models have read the same documents, and one draw takes the
    same ones of both. It tells what other documents would change, not what
    other seeds of the training would.

    Raises ValueError where the documents differ.
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
    """Interval of sum(nats) / sum(tokens) over documents drawn anew."""
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
