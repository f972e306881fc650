"""Reading of a run's folder: its card, its model and its tokenizer."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidiff.files.json import read_json
from minidiff.files.limits import LIMITS, MOST_SEED
from minidiff.files.schema import (
    anything,
    fields,
    flag,
    integer,
    map_of,
    maybe,
    number,
    one_of,
    text,
)

if TYPE_CHECKING:
    from minidiff.data.tokenizers import Tokenizer

RUN_NAME = "run.json"
TOKENIZER_NAME = "tokenizer.json"

SETTINGS = fields(
    {
        "data": text,
        "tokenizer": one_of("byte", "bpe"),
        "vocab_size": integer(1, LIMITS["vocab_size"]),
        "length": integer(1, LIMITS["max_length"]),
        "needles": integer(1),
        "seed": integer(0, MOST_SEED),
        "attention": one_of("softmax", "diff", "diff_v2"),
        "width": integer(1, LIMITS["embed_dim"]),
        "layers": integer(1, LIMITS["num_layers"]),
        "heads": integer(1, LIMITS["num_heads"]),
        "steps": integer(1),
        "batch_size": integer(1),
        "lr": number(0),
        "precision": text,
        "device": text,
    },
    {
        "accumulate": integer(1),
        "compile": flag,
        "parallel": text,
        "backend": text,
        "threads": maybe(integer(1)),
        "tensorboard": flag,
    },
)
CARD = fields(
    {"settings": SETTINGS},
    # What the run read and the tokenizer it has; older runs do not say it.
    {"data": map_of(anything), "tokenizer_sha256": maybe(text)},
)


def read_card(folder: Path) -> dict[str, Any]:
    """Read a run folder's ``run.json``; raise ValueError if there is none."""
    path = folder / RUN_NAME
    if not os.path.lexists(path):
        raise ValueError(
            f"path: {path} does not exist, expected a folder that "
            "minidiff train made"
        )
    expected = "the settings that minidiff train writes"
    return read_json(path, CARD, expected, wrong="not a run's card")


def load_run(folder: Path) -> tuple[dict[str, Any], Any]:
    """Return a run's card and its model.

    Raises ValueError, naming the file, if the weights are those of another
    run.
    """
    from minidiff.training.checkpoint import (
        checkpoint_path,
        load,
        load_checkpoint,
    )

    card = read_card(folder)
    path = checkpoint_path(folder)
    checkpoint = load_checkpoint(path)
    settings, config = card["settings"], checkpoint.config
    for option, field in (
        ("attention", "attention"),
        ("width", "embed_dim"),
        ("layers", "num_layers"),
        ("heads", "num_heads"),
        ("length", "max_length"),
    ):
        if settings[option] != getattr(config, field):
            raise ValueError(
                f"{path}: {field}: got {getattr(config, field)!r}, expected "
                f"{settings[option]!r} as in {folder / RUN_NAME}: the weights "
                "are those of another run"
            )
    read = checkpoint.train.get("data", card.get("data"))
    if read != card.get("data", read):
        raise ValueError(
            f"{path}: data: it was trained on other data than "
            f"{folder / RUN_NAME} says, expected the weights of this run"
        )
    return card, load(path)


def load_tokenizer(path: str | os.PathLike[str]) -> "Tokenizer":
    """Read the tokenizer of a run's model, for what ``load`` returns.

    ``path`` is the folder of a run on text, or the file of a trained
    tokenizer.

    Raises ValueError, naming the file, if there is none or if it cannot be
    read.
    """
    from minidiff.data.tokenizers import BPETokenizer

    path = Path(path)
    if path.is_file():
        return BPETokenizer.load(path)
    card = read_card(path)
    check_text(card, path)
    return run_tokenizer(card, path)


def check_text(card: dict[str, Any], folder: Path) -> None:
    """Raise ValueError if a run's model has not read text."""
    if card["settings"]["data"] == "needles":
        raise ValueError(
            f"path: {folder} was trained on needles, expected a model of text"
        )


def run_tokenizer(
    card: dict[str, Any], folder: Path, vocab_size: int | None = None
) -> Any:
    """Return the tokenizer of a run on text.

    Raises ValueError, naming the file, if it is missing, another one than
    that which the run was trained with, or does not have ``vocab_size``
    tokens, as the model has.
    """
    from minidiff.data.tokenizers import BPETokenizer, ByteTokenizer

    path = folder / TOKENIZER_NAME
    trained = card["settings"]["tokenizer"] == "bpe" or path.exists()
    if "tokenizer_sha256" in card:
        trained = card["tokenizer_sha256"] is not None
    if not trained:
        tokenizer: Any = ByteTokenizer()
    else:
        tokenizer = BPETokenizer.load(path)
        wanted = card.get("tokenizer_sha256", tokenizer.sha256)
        if tokenizer.sha256 != wanted:
            raise ValueError(
                f"{path}: another tokenizer than the run's (SHA-256 "
                f"{tokenizer.sha256[:12]}...), expected {wanted[:12]}... as "
                f"in {folder / RUN_NAME}"
            )
    if vocab_size not in (None, tokenizer.vocab_size):
        raise ValueError(
            f"{path}: the tokenizer has {tokenizer.vocab_size} tokens, "
            f"expected {vocab_size} as the run's model has"
        )
    return tokenizer
