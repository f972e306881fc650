"""Run folders and devices: functions that several commands share."""

import json
import shutil
from pathlib import Path
from typing import Any

RUN_NAME = "run.json"
TOKENIZER_NAME = "tokenizer.json"


def read_card(folder: Path) -> dict[str, Any]:
    """Read a run folder's ``run.json``; raise ValueError if there is none."""
    path = folder / RUN_NAME
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        card["settings"]["data"]
    except FileNotFoundError:
        raise ValueError(
            f"RUN: {path} does not exist, expected a folder that "
            "minidiff train made"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a run's card ({error})") from error
    return card


def run_data(settings: dict[str, Any], folder: Path) -> Any:
    """Return the needle task, or the text with the run's own tokenizer.

    A trained tokenizer is kept in the run's folder. Raises ValueError if the
    settings or the folder of text cannot be used.
    """
    from minidiff.data import NeedleTask, TextData, TokenData
    from minidiff.data.token_files import is_tokens

    sizes = {"length": settings["length"], "seed": settings["seed"]}
    if settings["data"] == "needles":
        return NeedleTask(needles=settings["needles"], **sizes)
    if is_tokens(settings["data"]):
        made = Path(settings["data"], TOKENIZER_NAME)
        if made.exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made, folder / TOKENIZER_NAME)
        return TokenData(settings["data"], **sizes)
    corpus = _corpus(settings["data"])
    tokenizer = _tokenizer(settings, corpus, folder / TOKENIZER_NAME)
    return TextData.from_corpus(corpus, tokenizer, **sizes)


def run_documents(settings: dict[str, Any], folder: Path) -> Any:
    """Return a run's validation documents and training token counts.

    Documents are encoded by the run's own tokenizer; counts are (V,). The
    run must be one on text.
    """
    import numpy as np

    from minidiff.data import encode_documents, read_held_out, token_counts
    from minidiff.data.token_files import is_tokens

    data = settings["data"]
    if is_tokens(data):
        return list(read_held_out(data)), token_counts(data)
    corpus = _corpus(data)
    tokenizer = _tokenizer(settings, corpus, folder / TOKENIZER_NAME)
    domain = data if data == "stdlib" else Path(data).resolve().name
    train, valid = (
        encode_documents(side, tokenizer, domain)
        for side in (corpus.train, corpus.valid)
    )
    ids = np.concatenate([document.ids for document in train])
    return valid, np.bincount(ids, minlength=tokenizer.vocab_size)


def say_skipped(corpus: Any) -> None:
    """Print how many files are not text, with an example, if there are any."""
    if corpus.skipped:
        print(
            f"skipped {len(corpus.skipped)} files that are not UTF-8 text, "
            f"such as {corpus.skipped[0]}"
        )


def _corpus(name: str) -> Any:
    from minidiff.data import read_folder, standard_library
    from minidiff.training.distributed import world

    corpus = standard_library() if name == "stdlib" else read_folder(name)
    if world().first:
        say_skipped(corpus)
    return corpus


def _tokenizer(settings: dict[str, Any], corpus: Any, path: Path) -> Any:
    """Return the run's tokenizer, which is trained once and saved at path."""
    from minidiff.data import BPETokenizer, ByteTokenizer

    if settings["tokenizer"] == "byte":
        return ByteTokenizer()
    if path.exists():
        return BPETokenizer.load(path)
    texts = (document.text for document in corpus.train)
    tokenizer = BPETokenizer.train(texts, settings["vocab_size"])
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(path)
    return tokenizer


def usable_device(name: str) -> Any:
    """Return the torch device; raise ValueError if it cannot be used."""
    import torch

    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"--device: got {name!r}, expected one this PyTorch can use "
            f"({reason})"
        ) from error
    return device
