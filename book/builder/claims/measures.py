"""Measures of a run, each from its row of a record."""

import numpy as np

from builder.contrasts import Row


def top(name: str, row: Row) -> float:
    """Return the largest logit or hidden state."""
    return row["activations"][name]["all"]["top"]["1"]


def added(row: Row) -> float:
    """Return what rounding the logits to 4 bits adds to the text loss."""
    table = row["rounding"]
    return table["4 bits"]["text_loss"] - table["exact"]["text_loss"]


def dropped(row: Row) -> float:
    """Return what rounding to 4 bits takes from the accuracy at needles."""
    table = row["rounding"]
    return table["exact"]["needles"] - table["4 bits"]["needles"]


def six_needles(row: Row) -> float:
    """Return the accuracy with 6 needles of which 2 are asked."""
    return row["needles"]["N=6 R=2"]


def looks_up(row: Row) -> bool:
    """Whether a model answers half of the questions about 6 needles."""
    return six_needles(row) > 0.5


def from_prompt(orders: str, row: Row) -> float:
    """Return the accuracy after demonstrations, over ten random orders."""
    return row[orders]["random"]["mean"]


def learned(orders: str, row: Row) -> bool:
    """Whether a model clearly beats a guess among 8 classes."""
    return from_prompt(orders, row) > 0.3


def spread(orders: str, which: str, row: Row) -> float:
    """Return best minus worst over orders, as a mean over sets.

    All questions of a set see the same demonstrations in the same orders.
    """
    found = row[orders][which]
    right = np.array(found["by_set"]) / found["asked"]
    return float(np.ptp(right, axis=1).mean())


def source(asked: str, name: str, row: Row) -> float:
    """Return the share of answers that come from a source."""
    return row["facts"][asked].get(name, 0.0)


def right_of_given(row: Row) -> float:
    """Return the share of right answers among those that are given."""
    given = 1 - source("several", "not stated", row)
    return source("several", "right", row) / given


def extended(row: Row) -> float:
    """Return the accuracy in rows of 8,192 tokens, the mean over depths."""
    by_depth = row["long"]["needles"]["8192"]["by_depth"]
    return float(np.nanmean(np.array(by_depth, float)))


def text_loss(row: Row) -> float:
    """Return the loss on held-out text, in nats per token."""
    return row["valid_loss"]
