"""The options of ``minidiff train``."""

import argparse

# What makes the run: resuming takes them from it, and refuses another value.
WHAT = (
    *("data", "tokenizer", "vocab_size", "length", "needles", "seed"),
    *("attention", "width", "layers", "heads"),
    *("steps", "batch_size", "lr", "precision", "device"),
)
# By what means: resuming takes them from the run unless given anew.
MEANS = {
    "accumulate": 1,
    "compile": False,
    "parallel": "ddp",
    "backend": "auto",
    "threads": None,
    "tensorboard": False,
}


def add_options(train: argparse.ArgumentParser) -> None:
    """Describe every option, with its default and what it is good for."""
    add = train.add_argument
    add("--out", required=True, metavar="RUN", help="the run folder, new")
    add(
        "--resume",
        action="store_true",
        help="go on with the run in --out; its settings are taken from it",
    )
    data = train.add_argument_group("data")
    add = data.add_argument
    add(
        "--data",
        default="stdlib",
        metavar="stdlib|needles|FOLDER",
        help="what to learn: Python's own source (no download), the needle "
        "task, a folder of text files, or one that minidiff tokens made, "
        "which has its own tokenizer (default: stdlib)",
    )
    add(
        "--tokenizer",
        choices=["byte", "bpe"],
        default="byte",
        help="byte needs no training; bpe makes rows of text about 3.5 "
        "times shorter (default: byte)",
    )
    add(
        "--vocab-size",
        type=int,
        default=4096,
        help="tokens of bpe; more would be mostly embedding (default: 4096)",
    )
    add(
        "--length",
        type=int,
        default=64,
        help="tokens in a window; time grows with it (default: 64)",
    )
    add(
        "--needles",
        type=int,
        default=2,
        help="hidden pairs in a row of the needle task (default: 2)",
    )
    add(
        "--seed",
        type=int,
        default=0,
        help="of the first weights and of the data (default: 0)",
    )
    model = train.add_argument_group("model")
    add = model.add_argument
    add(
        "--attention",
        choices=["softmax", "diff", "diff_v2"],
        default="diff",
        help="softmax is the plain, matched model (default: diff)",
    )
    add("--width", type=int, default=64, help="E (default: 64)")
    add("--layers", type=int, default=2, help="L (default: 2)")
    add(
        "--heads",
        type=int,
        default=4,
        help="heads of the plain model; diff has half as many (default: 4)",
    )
    loop = train.add_argument_group("training")
    add = loop.add_argument
    add(
        "--steps",
        type=int,
        default=800,
        help="updates; about a minute at these sizes (default: 800)",
    )
    add("--batch-size", type=int, default=32, help="rows (default: 32)")
    add(
        "--lr",
        type=float,
        default=3e-3,
        help="highest learning rate; lower it for a wider model "
        "(default: 0.003)",
    )
    add(
        "--precision",
        choices=["float32", "bfloat16"],
        default="float32",
        help="bfloat16 is autocast, for GPUs; weights stay float32 "
        "(default: float32)",
    )
    add(
        "--device",
        default="cpu",
        help="cpu, cuda or mps; only cpu resumes bit for bit (default: cpu)",
    )
    means = train.add_argument_group(
        "means", "they change speed, memory and rounding, nothing else"
    )
    add = means.add_argument
    add(
        "--accumulate",
        type=int,
        metavar="N",
        help="compute the rows in N parts, for less memory (default: 1)",
    )
    add(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="compile the model first, which takes minutes (default: no)",
    )
    add(
        "--parallel",
        choices=["ddp", "fsdp"],
        help="under torchrun: all weights in every process, or a share each "
        "(default: ddp)",
    )
    add(
        "--backend",
        choices=["auto", "eager", "sdpa", "triton"],
        help="of differential attention (default: auto)",
    )
    add(
        "--threads",
        type=int,
        metavar="N",
        help="CPU threads (default: 1 for a small model, which more threads "
        "make much slower beside other programs; else all that PyTorch has)",
    )
    add(
        "--tensorboard",
        action=argparse.BooleanOptionalAction,
        help="write the log for TensorBoard too, into the run folder "
        "(default: no)",
    )
