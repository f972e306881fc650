"""Orders of demonstrations in a row."""

import numpy as np

from minidiff.data.protocol import choose

ORDERS = ("random", "sorted", "alternating")


def item_order(
    random: np.random.Generator,
    order: str,
    *,
    rows: int,
    classes: int,
    shots: int,
    questions: int,
) -> np.ndarray:
    """Return which item stands at each place of a row, (rows, items).

    Items are numbered so that demonstration n has class ``n % classes``; the
    questions follow, and stay at the end. The order is "random", "sorted" by
    class, or has the classes "alternating".
    """
    B, C, S = rows, classes, shots
    if order == "random":
        found = choose(random, B, C * S, C * S)
    else:
        rank = choose(random, B, C, C)[:, None, :]  # order of classes
        turn = random.random((B, S, C)).argsort(axis=1)  # items by class
        items = turn * C + np.arange(C)  # item s C + c has class c
        found = np.take_along_axis(items, rank, axis=2)
        if order == "sorted":
            found = found.swapaxes(1, 2)
        found = found.reshape(B, C * S)
    last = np.arange(C * S, C * S + questions)
    return np.concatenate([found, np.tile(last, (B, 1))], axis=1)


def check_order(order: str) -> None:
    """Raise ValueError for an order that does not exist."""
    if order not in ORDERS:
        raise ValueError(f"order: got {order!r}, expected one of {ORDERS}")
