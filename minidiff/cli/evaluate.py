"""``minidiff evaluate``: every measure of a model, as tables and as JSON."""

import argparse
import re
from pathlib import Path
from typing import Any

from minidiff.cli.devices import usable_device
from minidiff.cli.options import as_options, named, names, numbers, whole
from minidiff.cli.output import check_out
from minidiff.cli.parser import new_parser
from minidiff.cli.run_data import run_documents
from minidiff.files.limits import LIMITS, MOST_ROWS, MOST_TOKENS
from minidiff.training.saved_run import RUN_NAME, load_run

VOCABULARY = "--pairs: the model's vocabulary"
PARTS = ("loss", "recall", "attention", "activations", "rounding")

EPILOG = """What is measured:
  loss         nats and bits per byte, by domain, by position in the window
               and by frequency of the token in training; on pairs of tokens
               that came before (AR-Hit) and on all others
  recall       questions answered right, by needles, length and depth
  attention    of each head: weight on the answer and around it; "support",
               the number of keys that a query is spread over (exp of the
               entropy of its absolute weights); "negative", the share of
               negative weight; "first", the share on the first token
  activations  the largest attention logits and hidden states
  rounding     loss and recall with attention logits rounded to 16 to 3 bits;
               "absmax": the largest absolute logit of a map is the largest
               number that the bits have

Before any of it the model must be causal: later tokens are replaced, and the
logits before must not move.

A run folder brings its own text or needles. A model in a file needs --tokens,
--needles or --pairs. Needles have 256 ids: 64 keys, 64 values, 128 of noise.
They are the model's last ids, or begin at --first: for the models in
book/weights, which have another task behind their needles, at 2048.

examples:
  minidiff evaluate runs/code
  minidiff evaluate book/weights/pair_diff.safetensors --needles 8,2
      --first 2048 --lengths 512
      about 20 seconds on two cores
  minidiff tokens stdlib --tokenizer book/weights/pair_tokenizer.json
      --out data/pair
  minidiff evaluate book/weights/pair_diff.safetensors --tokens data/pair
      --needles 6 --first 2048 --questions 2 --lengths 128,256,512
      --out pair_diff.json
  minidiff evaluate runs/code --parts loss --windows all --device cuda
"""


def add(subparsers: Any) -> None:
    """Describe the command and its options."""
    evaluate = new_parser(
        subparsers.add_parser,
        name="evaluate",
        help="measure a model: loss, recall, attention, outliers, rounding",
        description="Measure a model in every way this course does.",
        epilog=EPILOG,
    )
    evaluate.set_defaults(run=run)
    add = evaluate.add_argument
    add(
        "model",
        **named(),
        metavar="MODEL",
        help="a run folder, or a .safetensors file",
    )
    add(
        "--tokens",
        **named(),
        metavar="FOLDER",
        help="a folder that minidiff tokens made; its held-out text is read",
    )
    add(
        "--needles",
        type=numbers(1, 64),
        metavar="N,N",
        default=(),
        help="needles in a row; the first is measured most closely",
    )
    add(
        "--first",
        **whole(0, MOST_TOKENS),
        metavar="ID",
        help="first token id of the needles (default: theirs are the last)",
    )
    add(
        "--questions",
        type=numbers(1, LIMITS["max_length"]),
        metavar="N,N",
        default=(8,),
        help="questions in a row of needles (default: 8)",
    )
    add(
        "--pairs",
        type=numbers(1, LIMITS["max_length"]),
        metavar="N,N",
        default=(),
        help="key-value pairs in a row of the recall task MQAR, for models "
        "trained on it",
    )
    add(
        "--lengths",
        type=numbers(1, LIMITS["max_length"]),
        metavar="N,N",
        help="lengths of rows of needles or pairs (default: the model's "
        "window, and a quarter of it)",
    )
    add(
        "--parts",
        type=names(PARTS),
        metavar="NAME,NAME",
        default=list(PARTS),
        help=f"what to measure (default: {','.join(PARTS)})",
    )
    add(
        "--windows",
        type=_number_or_all,
        metavar="N|all",
        default=16,
        help="windows of text, of each domain (default: %(default)s)",
    )
    add(
        "--rows",
        **whole(1, MOST_ROWS),
        default=16,
        help="rows of each recall task (default: %(default)s)",
    )
    add(
        "--batch-size",
        **whole(1, MOST_ROWS),
        default=8,
        help="rows computed at once (default: %(default)s)",
    )
    add(
        "--device",
        **named(),
        default="cpu",
        help="such as cuda (default: %(default)s)",
    )
    add("--out", **named(), metavar="FILE", help="write the record as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Measure a model and print the tables."""
    from minidiff.data import read_held_out, token_counts
    from minidiff.evaluation.suite import evaluate
    from minidiff.evaluation.tables import tables
    from minidiff.files.json import write_json
    from minidiff.training.checkpoint import load

    check_out(arguments.out)
    device = usable_device(arguments.device)
    path, card = Path(arguments.model), None
    if (path / RUN_NAME).exists():
        card, model = load_run(path)
    else:
        model = load(path)
    config, model = model.config, model.to(device)
    tasks = _tasks(arguments, config)
    documents, counts = None, None
    if arguments.tokens is not None:
        _check_tokens(arguments, card, config.vocab_size)
        documents = list(read_held_out(arguments.tokens))
        counts = token_counts(arguments.tokens)
    elif card is not None:
        settings = card["settings"]
        own_text = settings["data"] != "needles"
        if own_text and ("loss" in arguments.parts or not tasks):
            documents, counts = run_documents(card, path, config.vocab_size)
        elif not own_text and not tasks:
            arguments.needles = (settings["needles"],)
            tasks = _tasks(arguments, config)
    if not tasks and documents is None:
        raise ValueError(
            "--tokens, --needles, --pairs: got none, expected text or tasks "
            "to measure a model in a file"
        )
    with as_options({"task": "--needles, --pairs", "first": "--first"}):
        record = evaluate(
            model,
            documents=documents,
            counts=counts,
            tasks=tasks,
            first=arguments.first,
            parts=arguments.parts,
            windows=arguments.windows,
            rows=arguments.rows,
            batch_size=arguments.batch_size,
            command=arguments.command,
        )
    print(tables(record))
    for part, missing in (
        ("loss", "--tokens"),
        ("recall", "--needles, for models that were trained on them"),
    ):
        if part in arguments.parts and part not in record:
            print(f"not measured: {part}, which needs {missing}")
    if arguments.out is not None:
        write_json(Path(arguments.out), record)


def _check_tokens(
    arguments: argparse.Namespace,
    card: dict[str, Any] | None,
    vocab_size: int,
) -> None:
    """Raise ValueError if --tokens are not those of the model's tokenizer.

    A model in a file does not say which tokenizer it has, only how many ids.
    """
    from minidiff.data.token_files import CARD_NAME, read_card

    tokens = Path(arguments.tokens)
    made = read_card(tokens / CARD_NAME)
    if made["vocab_size"] > vocab_size:
        raise ValueError(
            f"--tokens: {tokens} has {made['vocab_size']} token ids, expected "
            f"at most {vocab_size} as {arguments.model} has"
        )
    key = "tokenizer_sha256"
    if card is not None and key in card and made.get(key) != card[key]:
        raise ValueError(
            f"--tokens: {tokens} was made with another tokenizer than "
            f"{arguments.model}, expected the same"
        )


def _tasks(arguments: argparse.Namespace, config: Any) -> list[Any]:
    """Return the requested recall tasks: needle tasks first, then MQAR."""
    from minidiff.data.mqar import MQARTask
    from minidiff.evaluation.recall import needle_grid

    longest = config.max_length
    lengths = arguments.lengths or (longest, max(longest // 4, 1))
    if max(lengths) > longest:
        raise ValueError(
            f"--lengths: got {max(lengths)}, expected at most {longest}, the "
            "length of the model's window"
        )
    tasks: list[Any] = needle_grid(
        arguments.needles, arguments.questions, lengths
    )
    with as_options({"pairs": "--pairs", "vocab_size": VOCABULARY}):
        tasks += [
            MQARTask(pairs=N, length=T, vocab_size=config.vocab_size)
            for N in arguments.pairs
            for T in lengths
            if T >= 4 * N
        ]
    if (arguments.needles or arguments.pairs) and not tasks:
        raise ValueError(
            f"--lengths: got {', '.join(map(str, lengths))}, expected one "
            "with room for the needles, questions or pairs"
        )
    return tasks


def _number_or_all(text: str) -> int | None:
    if text == "all":
        return None
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"got {text[:80]!r}, expected a number from 1 on, or all"
        )
    return int(text)
