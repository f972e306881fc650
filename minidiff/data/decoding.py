"""Text of token ids, with a visible sign for ids that a tokenizer lacks."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from operator import index

from minidiff.files.checks import integer

UNKNOWN = "\ufffd"
"""Stands for an id without text, as for bytes that are not UTF-8."""


def decoded(
    ids: Iterable[int], vocab_size: int, known: Callable[[list[int]], str]
) -> str:
    """Return the text of token ids, with ``UNKNOWN`` for each beyond them.

    A model can have more ids than its tokenizer, for tasks that are no text.
    ``known`` returns the text of ids below ``vocab_size``.

    Raises ValueError or TypeError, naming the place, unless each id is an
    integer from 0 on.
    """
    parts: list[list[int]] = [[]]
    for token in _integers(ids):
        if token < vocab_size:
            parts[-1].append(token)
        else:
            parts.append([])
    return UNKNOWN.join(map(known, parts))


def _integers(ids: Iterable[int]) -> list[int]:
    """Return ids, also of an array or tensor, as ints of Python."""
    given = ids.tolist() if hasattr(ids, "tolist") else ids
    if not isinstance(given, Iterable):
        raise TypeError(
            f"ids: got {type(given).__name__}, expected a sequence of ints"
        )
    values = list(given)
    for place, value in enumerate(values):
        if type(value) is not int or not 0 <= value < 2**32:
            values[place] = _integer(place, value)
    return values


def _integer(place: int, value: object) -> int:
    # Numbers of NumPy and 0-d tensors are integers too.
    if not isinstance(value, bool) and getattr(value, "ndim", 0) == 0:
        with suppress(TypeError):
            value = index(value)  # type: ignore[arg-type]
    return integer(f"ids[{place}]", value, 0, 2**32 - 1)
