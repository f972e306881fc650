"""Everything that a run needs, built and checked before a file is written."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from minidiff.cli.run_data import RunData, run_data
from minidiff.training.saved_run import read_card, run_tokenizer

# The options that the arguments of functions come from.
OPTIONS = {
    "path": "--data",
    "train": "--data, --length: text to train on",
    "valid": "--data, --length: text to validate with",
    "length": "--length",
    "max_length": "--length",
    "keys": "--needles",
    "needles": "--needles",
    "seed": "--seed",
    "vocab_size": "--vocab-size",
    "embed_dim": "--width",
    "num_heads": "--heads",
    "num_layers": "--layers",
    "steps": "--steps",
    "batch_size": "--batch-size",
    "accumulate": "--accumulate",
    "lr": "--lr",
    "backend": "--backend",
    "threads": "--threads",
}


class Plan(NamedTuple):
    """A run that is ready to start."""

    data: RunData
    model: Any
    config: Any
    compute: Any
    threads: int

    def card(
        self, settings: dict[str, Any], device: Any, command: str
    ) -> dict[str, Any]:
        """Return the contents of ``run.json``."""
        from minidiff.files.provenance import provenance
        from minidiff.training.distributed import world

        tokenizer = self.data.tokenizer
        return provenance(str(device), command) | {
            "threads": self.threads,
            "processes": world().size,
            "settings": settings,
            "data": self.data.source.describe(),
            "tokenizer_sha256": tokenizer and tokenizer.sha256,
        }

    def title(self, settings: dict[str, Any], device: Any) -> str:
        """Return one line that describes the run."""
        from minidiff.training.distributed import world

        word = "thread" if self.threads == 1 else "threads"
        return (
            f"{settings['attention']}: {self.model.num_parameters():,} "
            f"parameters, {self.config.steps} steps of "
            f"{self.config.batch_size} x {settings['length']} tokens on "
            f"{world().size} x {device.type}, {self.threads} CPU {word} "
            "(--threads changes that)"
        )


def make_plan(
    settings: dict[str, Any], out: Path, device: Any, *, begun: bool
) -> Plan:
    """Check the settings, read the data and build the model.

    Sizes are checked before the data are read. At the end one row goes
    through the model. With ``begun`` the run has a checkpoint, so it must
    have its own tokenizer too.

    Raises ValueError or TypeError, naming what cannot be used.
    """
    import torch

    from minidiff.nn.config import ModelConfig
    from minidiff.nn.memory import check_batch, check_memory
    from minidiff.nn.model import DecoderLM
    from minidiff.training.config import Compute, TrainConfig
    from minidiff.training.distributed import world

    config = TrainConfig(
        steps=settings["steps"],
        batch_size=settings["batch_size"],
        lr=settings["lr"],
        precision=settings["precision"],
        warmup_steps=min(TrainConfig.warmup_steps, settings["steps"]),
    )
    compute = Compute(**{f.name: settings[f.name] for f in fields(Compute)})
    parts = world().size * compute.accumulate
    if config.batch_size % parts:
        s = "" if world().size == 1 else "es"
        raise ValueError(
            f"--batch-size: got {config.batch_size}, expected a multiple of "
            f"{parts}: {world().size} process{s}, --accumulate "
            f"{compute.accumulate}"
        )
    bpe = settings["tokenizer"] == "bpe"
    model_config = ModelConfig(
        vocab_size=settings["vocab_size"] if bpe else 256,
        embed_dim=settings["width"],
        num_layers=settings["layers"],
        num_heads=settings["heads"],
        attention=settings["attention"],
        max_length=settings["length"],
    )
    sizes = "--width, --layers, --vocab-size, --length"
    check_memory(model_config, sizes, copies=4)
    if device.type == "cpu":
        rows = config.batch_size // parts
        check_batch(model_config, rows, "--batch-size, --length")
    if begun and settings["data"] != "needles":
        run_tokenizer(read_card(out), out)
    data = run_data(settings, out)
    model_config = replace(model_config, vocab_size=data.source.vocab_size)
    check_memory(model_config, sizes, copies=4)
    torch.manual_seed(settings["seed"])
    model = DecoderLM(model_config).to(device)
    tokens = config.batch_size // parts * settings["length"]
    _try_one_row(model, data.source, config.batch_size, compute.backend)
    threads = _threads(settings, model, tokens, device)
    return Plan(data, model, config, compute, threads)


def _try_one_row(model: Any, data: Any, batch_size: int, backend: str) -> None:
    """Compute one loss, so that nothing is written for a run that cannot."""
    import torch

    if model.config.attention == "softmax":
        backend = "auto"  # the option is for differential attention
    device = next(model.parameters()).device
    row = data.batch(0, batch_size, "train", slice(0, 1))
    with torch.no_grad():
        model.loss(*(x.to(device) for x in row), backend=backend)


def _threads(
    settings: dict[str, Any], model: Any, tokens: int, device: Any
) -> int:
    """Return the requested number of CPU threads, or one that suits."""
    import torch

    from minidiff.training.threads import choose_threads

    if settings["threads"] is not None:
        return settings["threads"]
    if device.type != "cpu":
        return torch.get_num_threads()
    return choose_threads(model, tokens)
