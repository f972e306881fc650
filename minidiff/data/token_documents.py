"""Documents as tokens, to measure each document and domain separately."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidiff.data.corpus import Document
from minidiff.data.document_list import DOCUMENTS_NAME
from minidiff.data.token_files import TOKENIZER_NAME, open_tokens
from minidiff.data.tokenizers import BPETokenizer, ByteTokenizer, Tokenizer

CHUNK = 2**24  # tokens counted at once


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
    try:
        sides = json.loads(path.read_text(encoding="utf-8"))
        rows = [_row(*row) for row in sides[side]] if side in sides else None
    except FileNotFoundError:
        raise ValueError(
            f"{path}: no such file, expected token files of documents with "
            "domains, as `minidiff tokens evidence` builds them"
        ) from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error
    if rows is None:
        raise ValueError(
            f"side: got {side!r}, expected one of "
            f"{', '.join(map(repr, sides))}, which {path} lists"
        )
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
    ids = sides["valid"]
    path = folder / TOKENIZER_NAME
    trained = path.exists()
    tokenizer = BPETokenizer.load(path) if trained else ByteTokenizer()
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
            domain, document.path, len(text.encode()), np.asarray(ids)
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
        counts += np.bincount(part, minlength=len(counts))
    return counts


def _row(
    path: Any, domain: Any, tokens: Any, size: Any
) -> tuple[str, str, int, int]:
    """Check the types of a row of the list; raise ValueError if wrong."""
    if not (isinstance(path, str) and isinstance(domain, str)):
        raise ValueError(f"got {path!r} of {domain!r}, expected names")
    if not (isinstance(tokens, int) and isinstance(size, int)) or tokens < 0:
        raise ValueError(f"{path}: got {tokens!r} tokens, expected a number")
    return path, domain, tokens, size
