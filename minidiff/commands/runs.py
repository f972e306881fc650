"""What commands share: a run folder's card and data, and the device."""

import json
from pathlib import Path
from typing import Any

RUN_NAME = "run.json"
TOKENIZER_NAME = "tokenizer.json"


def read_card(folder: Path) -> dict[str, Any]:
    """Read a run folder's ``run.json``; ValueError if there is none."""
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

    A tokenizer that has to be trained is kept in the folder. Raises
    ValueError for settings or a folder of text that do not do.
    """
    from minidiff.data import (
        BPETokenizer,
        ByteTokenizer,
        NeedleTask,
        TextData,
        read_folder,
        standard_library,
    )
    from minidiff.world import world

    if settings["data"] == "needles":
        return NeedleTask(
            needles=settings["needles"],
            length=settings["length"],
            seed=settings["seed"],
        )
    if settings["data"] == "stdlib":
        corpus = standard_library()
    else:
        corpus = read_folder(settings["data"])
    if corpus.skipped and world().first:
        print(
            f"skipped {len(corpus.skipped)} files that are not UTF-8 text, "
            f"such as {corpus.skipped[0]}"
        )
    tokenizer = ByteTokenizer()
    if settings["tokenizer"] == "bpe":
        path = folder / TOKENIZER_NAME
        if path.exists():
            tokenizer = BPETokenizer.load(path)
        else:
            texts = (document.text for document in corpus.train)
            tokenizer = BPETokenizer.train(texts, settings["vocab_size"])
            folder.mkdir(parents=True, exist_ok=True)
            tokenizer.save(path)
    return TextData.from_corpus(
        corpus, tokenizer, length=settings["length"], seed=settings["seed"]
    )


def usable_device(name: str) -> Any:
    """Return the torch device; ValueError if it cannot hold a tensor."""
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
