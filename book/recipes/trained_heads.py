"""Record what two heads of the shipped plain model do with one sentence.

    python book/recipes/trained_heads.py

Of all the heads it takes the two with the largest mean weight on

- the token before the query's ("previous");
- the token that followed an earlier occurrence of the query's own token
  ("copying"), over the queries that have one.

Writes book/results/trained_heads.json with the tokens, for each of the two
heads its queries, keys and values (T, D) and its map (T, T), both measures of
every head, and the model's guesses for the next token. Queries and keys are
recorded after the rotation by their positions (chapter 7), so that
softmax(q k' / sqrt(D)) under the causal mask is the map. Chapter 1 reads it.
"""

import argparse
import hashlib
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from minidiff import DecoderLM, MultiheadAttention, course, load
from minidiff.data import BPETokenizer
from minidiff.files.json import write_json
from minidiff.files.provenance import provenance

# Chosen among many that repeat themselves, because its maps are clear.
TEXT = "Return the name of the module and not the name of the"
DIGITS = 4


def heads_of(model: DecoderLM, row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the queries, keys and values of every head, (L, H, T, D)."""
    found = []
    attend = MultiheadAttention.attend

    def watched(self: Any, x: Any, *qkv: Any) -> Any:
        found.append([tensor[0] for tensor in qkv[:3]])
        return attend(self, x, *qkv)

    with patch.object(MultiheadAttention, "attend", watched):
        model(row)
    q, k, v = (torch.stack(part) for part in zip(*found, strict=True))
    return q, k, v


def measures(maps: Tensor, row: Tensor) -> dict[str, Tensor]:
    """Return each measure of every head, (L, H), for maps (L, H, T, T)."""
    equal = torch.tril(row[0, :, None] == row[0], -1)  # an earlier occurrence
    after = torch.zeros_like(equal)
    after[:, 1:] = equal[:, :-1]
    asking = equal.any(-1)
    return {
        "previous": maps.diagonal(-1, -2, -1).mean(-1),
        "copying": (maps * after).sum(-1)[..., asking].mean(-1),
    }


def main() -> None:
    """Record the two heads."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    path = course.weights("pair_softmax.safetensors")
    model = load(path).requires_grad_(False)
    words = BPETokenizer.load(course.weights("pair_tokenizer.json"))
    row = torch.tensor([words.encode(TEXT)])
    logits, maps = model(row, return_maps=True)
    guesses = torch.softmax(logits[0, -1].double(), -1).topk(3)
    found = measures(torch.stack([m[0] for m in maps]), row)
    qkv = heads_of(model, row)
    heads = {}
    for name, scores in found.items():
        layer, head = divmod(int(scores.argmax()), scores.shape[1])
        heads[name] = {
            "layer": layer,
            "head": head,
            **{
                part: rounded(tensor[layer, head])
                for part, tensor in zip("qkv", qkv, strict=True)
            },
            "map": rounded(maps[layer][0, head]),
        }
    write_json(
        options.out or course.root() / "book/results/trained_heads.json",
        {
            "what": "two heads of the shipped plain model, one sentence",
            "provenance": provenance(
                "cpu", "python book/recipes/trained_heads.py"
            ),
            "weights": {
                "file": path.name,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            },
            "text": TEXT,
            "tokens": [words.decode([token]) for token in row[0].tolist()],
            "heads": heads,
            "all_heads": {name: rounded(s) for name, s in found.items()},
            "next": [
                [words.decode([int(token)]), round(float(p), DIGITS)]
                for p, token in zip(*guesses, strict=True)
            ],
        },
    )


def rounded(x: Tensor) -> list[Any]:
    """Return a matrix as lists of rounded numbers."""
    return [[round(y, DIGITS) for y in row] for row in x.tolist()]


if __name__ == "__main__":
    main()
