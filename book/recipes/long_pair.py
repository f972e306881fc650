"""Measure the shipped pair in rows longer than those of its training.

    python book/recipes/long_pair.py
    python book/recipes/long_pair.py --device cuda
    python book/recipes/long_pair.py --quick --out tried.json

Both models, without further training, with the RoPE base of their training
and with three larger ones, are asked for eight needles in rows of up to four
times their longest training row, and read held-out files of the standard
library in rows of that length. Takes half an hour on two CPU cores and
seconds on a GPU. The record names the weights by their SHA-256, so that
chapter 20 can tell whether it is about the models that are shipped.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minidiff import DecoderLM, course, load
from minidiff.data import (
    BPETokenizer,
    NeedleTask,
    TokenDocument,
    encode_documents,
    standard_library,
)
from minidiff.evaluation.loss import ALL, document_losses
from minidiff.evaluation.recall import recall
from minidiff.files.json import write_json
from minidiff.files.provenance import provenance

OUT = Path(__file__).resolve().parents[1] / "results" / "long_pair.json"
KINDS = ("softmax", "diff")
TIMES = (0.25, 0.5, 1, 2, 4)  # lengths, in longest rows of the training
PAPER = 640_000.0  # the base of the paper's extension
ROWS = 16  # with eight questions each
WINDOWS = 32  # of held-out text


def bases(trained: int, D: int, base: float) -> list[float]:
    """Return the training's base, exercise 20.2's for 2 and 4 times, PAPER."""
    found = [base]
    for times in (2, 4):
        ratio = (times * trained - 1) / (trained - 1)
        found.append(base * ratio ** (D / (D - 2)))
    return [*found, PAPER]


def with_base(model: DecoderLM, length: int, base: float) -> DecoderLM:
    """Return a copy with another base and a longer window."""
    copy = DecoderLM(replace(model.config, max_length=length, rope_base=base))
    copy.load_state_dict(model.state_dict())
    return copy.to(next(model.parameters()).device).eval()


def measure(
    model: DecoderLM,
    lengths: Sequence[int],
    documents: list[TokenDocument],
    first: int,
    quick: bool,
) -> dict[str, Any]:
    """Return needles by length and depth, and loss by position.

    ``first`` is the first token id of the needles: those of text come before.
    """
    needles = []
    for length in lengths:
        task = NeedleTask(needles=8, questions=8, length=length)
        rows = 1 if quick else ROWS
        cell = recall(model, task, rows=rows, batch_size=1, first=first)
        needles.append(
            {
                "length": length,
                "asked": cell["questions"],
                "right": round(cell["accuracy"] * cell["questions"]),
                "by_depth": cell["by_depth"],
            }
        )
        print(needles[-1], flush=True)
    text = document_losses(
        model,
        documents,
        length=max(lengths),
        windows=1 if quick else WINDOWS,
        batch_size=1,
    )["domains"][ALL]
    return {"needles": needles, "by_position": text["by_position"]}


def main() -> None:
    """Measure both models; write the record after each base."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--quick", action="store_true", help="only try it")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    if options.quick and options.out == OUT:
        parser.error(f"--quick: expected --out, another file than {OUT.name}")
    tokenizer = BPETokenizer.load(str(course.weights("pair_tokenizer.json")))
    held_out = standard_library().valid[: 20 if options.quick else None]
    documents = encode_documents(held_out, tokenizer, "library")
    record: dict[str, Any] = {
        "what": "the shipped pair in long rows, by RoPE base, not trained",
        "provenance": provenance(options.device, " ".join(sys.argv)),
        "quick": options.quick,
        "rows": [],
    }
    for kind in KINDS:
        path = course.weights(f"pair_{kind}.safetensors")
        model = load(path).to(options.device)
        config = model.config
        trained = config.max_length
        times = TIMES[:2] if options.quick else TIMES
        lengths = [int(t * trained) for t in times]
        for base in bases(trained, config.head_dim, config.rope_base):
            print(kind, f"base {base:.0f}", flush=True)
            long = with_base(model, 4 * trained, base)
            first = tokenizer.vocab_size
            found = measure(long, lengths, documents, first, options.quick)
            about = {"kind": kind, "trained": trained, "base": base}
            about["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
            record["rows"].append(about | found)
            write_json(options.out, record)


if __name__ == "__main__":
    main()
