"""Data of a run: the needle task, token files, or a folder of text."""

from pathlib import Path
from typing import Any, NamedTuple

from minidiff.cli.options import as_options
from minidiff.files.json import read_json
from minidiff.files.schema import fields, list_of, text
from minidiff.training.saved_run import TOKENIZER_NAME, run_tokenizer

FILES_NAME = "files.json"
FILES = fields({"files": list_of(text, least=1)})


class RunData(NamedTuple):
    """What a run learns from.

    ``tokenizer`` is a trained one, or None. ``files`` are the documents of a
    folder of text, or None: the run keeps the list, so that it reads the same
    text again if files are added to the folder, its own ones among them.
    """

    source: Any
    tokenizer: Any = None
    files: list[str] | None = None


def run_data(settings: dict[str, Any], folder: Path) -> RunData:
    """Return a run's data; nothing is written.

    If ``folder`` has the run's tokenizer and list of files, they are used.
    Raises ValueError if the settings or the text cannot be used.
    """
    from minidiff.data import NeedleTask, TextData, TokenData
    from minidiff.data.token_files import is_tokens, read_tokenizer

    data = settings["data"]
    sizes = {"length": settings["length"], "seed": settings["seed"]}
    if data == "needles":
        return RunData(NeedleTask(needles=settings["needles"], **sizes))
    if is_tokens(data):
        tokenizer = read_tokenizer(data)
        return RunData(TokenData(data, **sizes), _trained(tokenizer))
    corpus = read_corpus(settings, folder)
    tokenizer = _tokenizer(settings, corpus, folder)
    source = TextData.from_corpus(corpus, tokenizer, **sizes)
    files = None
    if data != "stdlib":
        # A document that was split within has a part on each side.
        both = (*corpus.train, *corpus.valid)
        files = sorted({document.path for document in both})
    return RunData(source, _trained(tokenizer), files)


def run_documents(
    card: dict[str, Any], folder: Path, vocab_size: int
) -> tuple[Any, Any]:
    """Return a run's validation documents and training token counts.

    Documents are encoded by the run's own tokenizer; counts are (V,). The
    run must be one on text.
    """
    import numpy as np

    from minidiff.data import encode_documents, read_held_out, token_counts
    from minidiff.data.token_files import is_tokens

    data = card["settings"]["data"]
    if is_tokens(data):
        return list(read_held_out(data)), token_counts(data)
    tokenizer = run_tokenizer(card, folder, vocab_size)
    with as_options({"path": f"{folder}: its --data"}):
        corpus = read_corpus(card["settings"], folder)
    domain = data if data == "stdlib" else Path(data).resolve().name
    train, valid = (
        encode_documents(side, tokenizer, domain)
        for side in (corpus.train, corpus.valid)
    )
    ids = np.concatenate([document.ids for document in train])
    return valid, np.bincount(ids, minlength=tokenizer.vocab_size)


def read_corpus(settings: dict[str, Any], folder: Path) -> Any:
    """Read the text of a run: the files that it began with, if it has."""
    from minidiff.data import read_folder, standard_library
    from minidiff.data.corpus import read_listed
    from minidiff.training.distributed import world

    data, listed = settings["data"], folder / FILES_NAME
    if data != "stdlib" and listed.exists():
        files = read_json(listed, FILES, "the files that the run read")
        return read_listed(data, files["files"])
    if data == "stdlib":
        corpus = standard_library()
    else:
        corpus = read_folder(data, leave_out=[folder])
    if world().first:
        say_skipped(corpus)
    return corpus


def say_skipped(corpus: Any) -> None:
    """Print how many files were skipped and why, with examples."""
    from minidiff.data.text_files import summary

    if corpus.skipped:
        print(
            f"skipped {len(corpus.skipped)} files or folders: "
            f"{summary(corpus.reasons)}"
        )


def _tokenizer(settings: dict[str, Any], corpus: Any, folder: Path) -> Any:
    """Return the run's tokenizer, trained if it is not in the folder."""
    from minidiff.data import BPETokenizer, ByteTokenizer

    if settings["tokenizer"] == "byte":
        return ByteTokenizer()
    path = folder / TOKENIZER_NAME
    if path.exists():
        return BPETokenizer.load(path)
    texts = (document.text for document in corpus.train)
    return BPETokenizer.train(texts, settings["vocab_size"])


def _trained(tokenizer: Any) -> Any:
    from minidiff.data import BPETokenizer

    return tokenizer if isinstance(tokenizer, BPETokenizer) else None
