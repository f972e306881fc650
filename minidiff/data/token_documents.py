"""Documents as tokens, to measure each document and domain separately."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minidiff.data.corpus import Document
from minidiff.data.document_list import DOCUMENTS_NAME
from minidiff.data.token_files import open_tokens, read_tokenizer
from minidiff.data.tokenizers import Tokenizer
from minidiff.data.unicode import without_surrogates
from minidiff.files.json import read_json
from minidiff.files.schema import integer, list_of, map_of, row_of, text

CHUNK = 2**24  # tokens counted at once

ROW = row_of(text, text, integer(0), integer(0))
"""An entry of the list: path, domain, tokens and bytes of a document."""


class TokenDocument(NamedTuple):
    """A document of a token file, including the empty line after it.

    ``size`` is in UTF-8 bytes, for a loss in bits per byte.
    """

    domain: str
    path: str
    size: int
    ids: np.ndarray  # (N,), mapped from disk


def read_documents(
    folder: str | os.PathLike[str], side: str = "valid"
) -> Iterator[TokenDocument]:
    """Yield the documents of one side, in the order of the file.

    Parameters
    ----------
    folder : path
        Folder of token files, built from documents with domains.
    side : str
        "valid", or a held-out domain: a key of the card's "held_out".

    Raises
    ------
    ValueError
        If the side has no documents, or if the list and the token file do
        not match; the message names the file.
    """
    path = Path(folder) / DOCUMENTS_NAME
    expected = (
        "token files of documents with domains, as `minidiff tokens "
        "evidence` builds them"
    )
    sides = read_json(path, map_of(list_of(ROW)), expected)
    if side not in sides:
        raise ValueError(
            f"side: got {side!r}, expected one of "
            f"{', '.join(map(repr, sides))}, which {path} lists"
        )
    rows = sides[side]
    ids = open_tokens(folder, (side,))[1][side]
    if sum(tokens for _, _, tokens, _ in rows) != len(ids):
        raise ValueError(
            f"{path}: {side} has {sum(row[2] for row in rows)} tokens in the "
            f"list, expected {len(ids)} as in its token file"
        )
    first = 0
    for name, domain, tokens, size in rows:
        yield TokenDocument(domain, name, size, ids[first : first + tokens])
        first += tokens


def read_held_out(
    folder: str | os.PathLike[str],
) -> Iterator[TokenDocument]:
    """Yield all documents of a folder that are not for training.

    These are the documents of the validation side and of every held-out
    domain. If the folder has no list of documents, the validation side is
    returned as a single document.
    """
    folder = Path(folder)
    card, sides = open_tokens(folder, ("valid",))
    if (folder / DOCUMENTS_NAME).exists():
        for side in ("valid", *card.get("held_out", {})):
            yield from read_documents(folder, side)
        return
    ids, tokenizer = sides["valid"], read_tokenizer(folder)
    _check_ids(folder, "valid", ids, card["vocab_size"])
    size = len(tokenizer.decode(ids.tolist()).encode())
    yield TokenDocument("valid", "valid.tokens", size, ids)


def encode_documents(
    documents: Iterable[Document], tokenizer: Tokenizer, domain: str
) -> list[TokenDocument]:
    """Encode the documents of a corpus, with an empty line after each."""
    documents = list(documents)
    texts = [document.text + "\n\n" for document in documents]
    return [
        TokenDocument(
            domain,
            document.path,
            len(without_surrogates(text).encode()),
            np.asarray(ids),
        )
        for document, text, ids in zip(
            documents, texts, tokenizer.encode_many(texts), strict=True
        )
    ]


def token_counts(folder: str | os.PathLike[str]) -> np.ndarray:
    """Count each token id in a folder's training text, (V,) int64."""
    card, sides = open_tokens(folder, ("train",))
    counts = np.zeros(card["vocab_size"], dtype=np.int64)
    ids = sides["train"]
    for start in range(0, len(ids), CHUNK):
        part = ids[start : start + CHUNK]
        _check_ids(folder, "train", part, len(counts))
        counts += np.bincount(part, minlength=len(counts))
    return counts


def _check_ids(
    folder: str | os.PathLike[str],
    side: str,
    ids: np.ndarray,
    vocab_size: int,
) -> None:
    if ids.max() >= vocab_size:
        raise ValueError(
            f"{Path(folder) / side}.tokens: got token id {ids.max()}, "
            f"expected 0 to {vocab_size - 1}: the file is damaged"
        )
