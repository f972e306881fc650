"""Text that UTF-8 can hold."""

import re

_LONE = re.compile("[\ud800-\udfff]")


def without_surrogates(text: str) -> str:
    """Replace each lone surrogate by U+FFFD, the replacement character.

    A Python string may hold such code points: from JSON with half of an
    escaped pair, or for the bytes of an argument that is not UTF-8. UTF-8 has
    no form of them. Every other text is returned unchanged.
    """
    return _LONE.sub("\ufffd", text)
