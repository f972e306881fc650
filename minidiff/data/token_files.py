"""Token files: a tokenized corpus on disk, built once and memory-mapped.

A folder holds ``train.tokens`` and ``valid.tokens``, the ids as consecutive
16-bit or 32-bit little-endian numbers; the card ``tokens.json``, which
describes them; and ``tokenizer.json`` if the tokenizer was trained. If
documents have domains, the folder also has ``documents.json``, the list of
those that are not for training, and a file ``DOMAIN.tokens`` for each domain
that is held out as a whole.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from minidiff.data.document_list import DocumentList, Piece
from minidiff.data.protocol import SPLITS
from minidiff.data.tokenizers import BPETokenizer, Tokenizer
from minidiff.files.atomic import new_folder
from minidiff.files.json import write_json

FORMAT = "minidiff tokens"
VERSION = 1
CARD_NAME = "tokens.json"
TOKENIZER_NAME = "tokenizer.json"
AT_ONCE = 256  # texts encoded together


def write_tokens(
    folder: str | os.PathLike[str],
    texts: Iterable[tuple[str, str] | Piece],
    tokenizer: Tokenizer,
    *,
    about: Mapping[str, Any],
    size: int | None = None,
    most: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Tokenize texts into a new folder, and return its card.

    The folder appears complete or not at all. Texts are separated by an
    empty line.

    Parameters
    ----------
    texts : pairs of a side, "train" or "valid", and a text
        Or ``Piece`` objects, with the document's domain and path.
    about : mapping
        Further entries of the card that JSON can hold, such as the source of
        the texts and their licences.
    size : int, optional
        Characters in all texts, for the progress bar.
    most : int, optional
        Largest number of tokens; the rest of the texts is not used.

    Raises
    ------
    ValueError
        If the folder exists, a side has no text, a document occurs twice, or
        a document of a held-out domain is on another side.
    OSError
        If the folder cannot be written; nothing is left behind.
    """
    folder = Path(folder)
    if folder.exists():
        raise ValueError(f"folder: {folder} exists, expected a new one")
    # Make the path absolute: "data/.." has no name to which a suffix could
    # be added.
    with new_folder(folder.resolve()) as part:
        card = _write(part, texts, tokenizer, size, most, progress)
        card |= {"about": dict(about)}
        write_json(part / CARD_NAME, card)
    return card


def open_tokens(
    folder: str | os.PathLike[str],
    sides: Sequence[str] = SPLITS,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a folder's card and the ids of some sides, memory-mapped.

    A held-out domain is a side too. Ids are read from disk only when they
    are used. Raises ValueError, naming the file, if one is missing,
    truncated or different from the card's description.
    """
    path = Path(folder) / CARD_NAME
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        if (card["format"], card["version"]) != (FORMAT, VERSION):
            raise ValueError(f"format {card['format']}, {card['version']}")
        dtype = np.dtype(card["dtype"])
        entries = card.get("held_out", {}) | {s: card[s] for s in SPLITS}
        counts = {side: entries[side]["tokens"] for side in sides}
    except FileNotFoundError:
        raise ValueError(
            f"{path}: no such file, expected a folder of minidiff tokens"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: cannot be read ({error}), expected format {FORMAT!r}, "
            f"version {VERSION}"
        ) from error
    found_ids: dict[str, np.ndarray] = {}
    for side, count in counts.items():
        file = path.with_name(f"{side}.tokens")
        found = file.stat().st_size if file.exists() else 0
        if found != count * dtype.itemsize:
            raise ValueError(
                f"{file}: got {found} bytes, expected {count} tokens of "
                f"{dtype.itemsize} bytes: cut short, or not built to the end"
            )
        found_ids[side] = np.memmap(file, dtype, "r", shape=(count,))
    return card, found_ids


def is_tokens(folder: str | os.PathLike[str]) -> bool:
    """Tell whether a folder holds token files."""
    return (Path(folder) / CARD_NAME).is_file()


def _write(
    folder: Path,
    texts: Iterable[tuple[str, str] | Piece],
    tokenizer: Tokenizer,
    size: int | None,
    most: int | None,
    progress: bool,
) -> dict[str, Any]:
    kind = "byte"
    if isinstance(tokenizer, BPETokenizer):
        kind = "bpe"
        tokenizer.save(folder / TOKENIZER_NAME)
    dtype = np.dtype("<u2" if tokenizer.vocab_size <= 2**16 else "<u4")
    sides = {s: _Side(folder / f"{s}.tokens") for s in SPLITS}
    documents = DocumentList()
    bar = tqdm(
        total=size,
        unit="char",
        unit_scale=True,
        desc="tokenizing",
        disable=not progress,
    )
    with bar:
        for piece, ids in _encoded(texts, tokenizer):
            documents.add(piece, len(ids))
            if piece.side not in sides:
                path = folder / f"{piece.side}.tokens"
                sides[piece.side] = _Side(path)
            sides[piece.side].add(np.asarray(ids, dtype=dtype))
            bar.update(len(piece.text))
            if (
                most is not None
                and sum(s.count for s in sides.values()) > most
            ):
                break
    for side, file in sides.items():
        file.close()
        if file.count == 0:
            raise ValueError(f"texts: none for {side!r}, expected some")
    entries = {
        side: {"tokens": f.count, "sha256": f.digest.hexdigest()}
        for side, f in sides.items()
    }
    card: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "dtype": dtype.str,
        "vocab_size": tokenizer.vocab_size,
        "tokenizer": kind,
        **{side: entries.pop(side) for side in SPLITS},
    }
    if documents.domains:
        documents.save(folder)
        card |= {"held_out": entries, "domains": documents.domains}
    return card


def _encoded(
    texts: Iterable[tuple[str, str] | Piece], tokenizer: Tokenizer
) -> Iterator[tuple[Piece, list[int]]]:
    """Yield each text and its ids, encoded in groups to use all cores."""
    pieces = (Piece(*text) for text in texts)
    while group := list(islice(pieces, AT_ONCE)):
        ids = tokenizer.encode_many([p.text + "\n\n" for p in group])
        yield from zip(group, ids, strict=True)


class _Side:
    """Writer of one file of ids, with their count and SHA-256."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")
        self.count, self.digest = 0, hashlib.sha256()

    def add(self, ids: np.ndarray) -> None:
        data = ids.tobytes()
        self._file.write(data)
        self.digest.update(data)
        self.count += len(ids)

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
