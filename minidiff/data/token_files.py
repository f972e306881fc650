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
from tqdm.auto import tqdm

from minidiff.data.document_list import DocumentList, Piece
from minidiff.data.protocol import SPLITS
from minidiff.data.tokenizers import BPETokenizer, ByteTokenizer, Tokenizer
from minidiff.files.atomic import new_folder
from minidiff.files.json import read_json, write_json
from minidiff.files.lock import locked
from minidiff.files.reading import check_readable
from minidiff.files.schema import fields, integer, map_of, one_of, text

FORMAT = "minidiff tokens"
VERSION = 1
CARD_NAME = "tokens.json"
TOKENIZER_NAME = "tokenizer.json"
AT_ONCE = 256  # texts encoded together

_SIDE = fields({"tokens": integer(1), "sha256": text})
_COUNTS = fields({"tokens": integer(0), "documents": integer(0)})
CARD = fields(
    {
        "format": one_of(FORMAT),
        "version": one_of(VERSION),
        # No other dtype: NumPy would also accept objects and floats.
        "dtype": one_of("<u2", "<u4"),
        "vocab_size": integer(1, 2**32),
        "tokenizer": one_of("byte", "bpe"),
        **dict.fromkeys(SPLITS, _SIDE),
    },
    {
        "held_out": map_of(_SIDE, "[a-z0-9-]+"),
        "domains": map_of(map_of(_COUNTS), "[a-z0-9-]+"),
        "tokenizer_sha256": text,
    },
)


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
        Stop after the text with which there are more tokens than this.

    Raises
    ------
    ValueError
        If the folder exists, ``about`` is not JSON, a side has no text, a
        document occurs twice, or a document of a held-out domain is on
        another side.
    OSError
        If the folder cannot be written; nothing is left behind.
    """
    folder = Path(folder)
    check_new(folder, "folder")
    try:
        json.dumps(about, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"about: got what JSON cannot hold ({error}), expected strings, "
            "finite numbers, true, false, null, lists and dicts"
        ) from error
    folder.resolve().parent.mkdir(parents=True, exist_ok=True)
    with locked(_lock(folder), f"folder: {folder}"):
        check_new(folder, "folder", held=True)
        with new_folder(folder.resolve()) as part:
            card = _write(part, texts, tokenizer, size, most, progress)
            card |= {"about": dict(about)}
            write_json(part / CARD_NAME, card)
    return card


def check_new(folder: Path, name: str, *, held: bool = False) -> None:
    """Raise ValueError if a folder exists or is being built.

    ``name`` is the argument or option that named the folder. With ``held``
    this process is the one that builds it.
    """
    if folder.exists():
        raise ValueError(f"{name}: {folder} exists, expected a new folder")
    if not held and _lock(folder).exists():
        with locked(_lock(folder), f"{name}: {folder}"):
            pass  # left by a killed process


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
    card = read_card(path)
    dtype = np.dtype(card["dtype"])
    entries = card.get("held_out", {}) | {s: card[s] for s in SPLITS}
    found_ids: dict[str, np.ndarray] = {}
    for side in sides:
        if side not in entries:
            raise ValueError(
                f"{path}: {side}: missing, expected it among "
                f"{', '.join(map(repr, entries))}"
            )
        count = entries[side]["tokens"]
        file = path.with_name(f"{side}.tokens")
        found = file.stat().st_size if file.exists() else 0
        if found != count * dtype.itemsize:
            raise ValueError(
                f"{file}: got {found} bytes, expected {count} tokens of "
                f"{dtype.itemsize} bytes: cut short, or not built to the end"
            )
        check_readable(file, f"{count} tokens")
        found_ids[side] = np.memmap(file, dtype, "r", shape=(count,))
    return card, found_ids


def read_card(path: Path) -> dict[str, Any]:
    """Read and check ``tokens.json``; raise ValueError, naming the file."""
    expected = f"a folder of minidiff tokens, version {VERSION}"
    return read_json(path, CARD, expected)


def read_tokenizer(folder: str | os.PathLike[str]) -> Tokenizer:
    """Return the tokenizer that a folder's tokens were made with.

    Raises ValueError, naming the file, if it is missing or another one.
    """
    card = read_card(Path(folder) / CARD_NAME)
    if card["tokenizer"] == "byte":
        tokenizer: Tokenizer = ByteTokenizer()
    else:
        path = Path(folder) / TOKENIZER_NAME
        bpe = tokenizer = BPETokenizer.load(path)
        wanted = card.get("tokenizer_sha256", bpe.sha256)
        if bpe.sha256 != wanted:
            raise ValueError(
                f"{path}: another tokenizer than the one that made the "
                f"tokens (SHA-256 {bpe.sha256[:12]}...), expected "
                f"{wanted[:12]}... as in {CARD_NAME}"
            )
    if tokenizer.vocab_size != card["vocab_size"]:
        raise ValueError(
            f"{Path(folder) / CARD_NAME}: vocab_size: got "
            f"{card['vocab_size']}, expected {tokenizer.vocab_size} as its "
            f"{card['tokenizer']} tokenizer has"
        )
    return tokenizer


def _lock(folder: Path) -> Path:
    # Absolute, because "data/.." has no name to which a suffix could be added.
    path = folder.resolve()
    return path.with_name(f"{path.name}.lock")


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
    kind, about_tokenizer = "byte", {}
    if isinstance(tokenizer, BPETokenizer):
        kind = "bpe"
        tokenizer.save(folder / TOKENIZER_NAME)
        about_tokenizer = {"tokenizer_sha256": tokenizer.sha256}
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
        **about_tokenizer,
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
