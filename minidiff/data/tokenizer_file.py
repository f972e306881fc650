"""Reading of a trained tokenizer's file, with checks of what it promises.

The library aborts the process, or allocates any amount of memory, for some
files. So the parts that decide about sizes are checked before it gets them.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from minidiff.files.extras import need
from minidiff.files.json import parse_json
from minidiff.files.reading import read_text
from minidiff.files.schema import (
    anything,
    fields,
    integer,
    list_of,
    map_of,
    one_of,
    text,
)

if TYPE_CHECKING:
    import tokenizers as hf

EXPECTED = "the JSON that BPETokenizer.save writes"
_PROBE = "a  b\t1 \u00e9\u6f22\U0001f98a\n\0"

_SCHEMA = fields(
    {
        "model": fields(
            {
                "type": one_of("BPE"),
                "vocab": map_of(integer(0, 2**32 - 1)),
                "merges": list_of(anything),
            },
            {"dropout": one_of(None)},
        ),
        "pre_tokenizer": fields({"type": one_of("ByteLevel")}),
        "decoder": fields({"type": one_of("ByteLevel")}),
    },
    {
        "added_tokens": list_of(
            fields({"id": integer(0, 2**32 - 1), "content": text})
        ),
        # They would cut texts, or lengthen them to any size.
        "truncation": one_of(None),
        "padding": one_of(None),
        "normalizer": one_of(None),
    },
)


def read_tokenizer(path: Path) -> "tuple[hf.Tokenizer, str]":
    """Read a byte-level BPE tokenizer; return it and the text of its file.

    Raises ValueError, naming the file, if it is not one, if its ids are not
    0, 1, 2 and so on, or if it does not encode every text exactly.
    """
    need("tokenizers", "a tokenizer of byte pairs")
    import tokenizers as hf

    wrong = "not a tokenizer"
    contents = read_text(path, EXPECTED)
    value = parse_json(contents, _SCHEMA, str(path), EXPECTED, wrong=wrong)
    vocab = value["model"]["vocab"]
    ids = set(vocab.values())
    twice = len(vocab) - len(ids)
    ids |= {token["id"] for token in value.get("added_tokens", ())}
    if twice or ids != set(range(len(ids))):
        raise ValueError(
            f"{path}: {wrong} (model.vocab: got {len(ids)} ids up to "
            f"{max(ids)}, {twice} of them twice), expected each from 0 to "
            f"{len(ids) - 1} once"
        )
    # The library raises a plain Exception for any error in a file.
    try:
        tokenizer = hf.Tokenizer.from_str(contents)
    except Exception as error:
        raise ValueError(
            f"{path}: {wrong} ({error}), expected {EXPECTED}"
        ) from error
    missing = set(hf.pre_tokenizers.ByteLevel.alphabet()).difference(vocab)
    probe = tokenizer.encode(_PROBE).ids
    if missing or tokenizer.decode(probe, skip_special_tokens=False) != _PROBE:
        raise ValueError(
            f"{path}: {wrong} (it does not encode every text exactly: "
            f"{len(missing)} bytes have no token), expected {EXPECTED}"
        )
    return tokenizer, contents
