"""Extend models of the pool to long texts, and measure them there.

As in the paper's extension to 64K tokens, only smaller: the RoPE base becomes
640,000, the rate a quarter of the first training's (the paper's are 8e-5 and
3.2e-4), and the models are trained on 20 million tokens in rows of 16,384.
They are measured on rows of up to 65,536 tokens. Fixed before the run:

primary metric: accuracy with eight needles of which one is asked, at 8,192
    tokens, as the mean over five depths;
primary contrast: "diff" minus "plain", paired by seed; "diff" minus "wide" is
    the control.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from minidiff import DecoderLM, TrainConfig
from minidiff.data import Mixture, NeedleTask, Part, TokenData, read_documents
from minidiff.evaluation.loss import ALL, document_losses
from minidiff.evaluation.recall import recall
from minidiff.training.stacked.train import train_stacked

ROPE_BASE = 640_000.0
SHARE_OF_RATE = 0.25
NEEDLES = 0.25  # share of the rows, as in the pool's long rows


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes of the extension and of its measures."""

    length: int  # of a training row
    lengths: tuple[int, ...]  # of the rows that are measured
    rows: int  # of each length
    windows: int  # of the longest length, in each domain of the text
    config: TrainConfig


FULL = Plan(
    length=16_384,
    lengths=(512, 2_048, 8_192, 16_384, 32_768, 65_536),
    rows=64,
    windows=8,
    config=TrainConfig(
        steps=305,
        batch_size=4,
        warmup_steps=15,
        eval_every=305,
        eval_batches=2,
        precision="bfloat16",
    ),
)
QUICK = Plan(
    length=512,
    lengths=(256, 1_024),
    rows=2,
    windows=1,
    config=TrainConfig(
        steps=2, batch_size=1, warmup_steps=1, eval_every=2, eval_batches=1
    ),
)


def extend(
    models: Sequence[DecoderLM],
    seeds: Sequence[int],
    rate: float,
    *,
    tokens: str,
    needles: NeedleTask,
    plan: Plan,
    backend: str,
    compile: bool,
    workers: int,
) -> list[DecoderLM]:
    """Return extended copies of stacked models, one for each seed."""
    longer = []
    for model in models:
        copy = DecoderLM(
            replace(
                model.config,
                rope_base=ROPE_BASE,
                max_length=max(plan.lengths),
            )
        )
        copy.load_state_dict(model.state_dict())
        longer.append(copy.to(next(model.parameters()).device))
    data = [long_rows(tokens, needles, plan, seed) for seed in seeds]
    for source in data:
        # The models also know the ids of tasks that long rows do not have.
        source.vocab_size = models[0].config.vocab_size
    train_stacked(
        longer,
        data,
        plan.config,
        [SHARE_OF_RATE * rate] * len(longer),
        backend=backend,
        compile=compile,
        workers=workers,
        progress=False,
    )
    return longer


def long_rows(
    tokens: str, needles: NeedleTask, plan: Plan, seed: int
) -> Mixture:
    """Return rows of text and needles, with the pool's token ids."""
    task = replace(needles, length=plan.length, seed=seed)
    text = TokenData(tokens, length=plan.length, seed=seed)
    return Mixture(text, seed=seed, needles=Part(task, NEEDLES))


def measure_long(
    model: DecoderLM, tokens: str, needles: NeedleTask, first: int, plan: Plan
) -> dict[str, Any]:
    """Return accuracy by length and depth, and text loss by position.

    The needles' token ids begin at ``first``.
    """
    longest = max(plan.lengths)
    cells = [
        recall(
            model,
            replace(needles, needles=8, questions=1, length=length),
            rows=plan.rows,
            batch_size=max(1, longest // length // 4),
            first=first,
        )
        for length in plan.lengths
    ]
    text = document_losses(
        model,
        read_documents(tokens),
        length=longest,
        windows=plan.windows,
        batch_size=1,
    )["domains"][ALL]
    return {
        "needles": {
            str(cell["task"]["length"]): {
                "accuracy": round(cell["accuracy"], 4),
                "by_depth": [
                    None if share is None else round(share, 4)
                    for share in cell["by_depth"]
                ],
            }
            for cell in cells
        },
        "text": {
            "nats": round(text["nats"], 4),
            "by_position": [
                row | {"nats": round(row["nats"], 4)}
                for row in text["by_position"]
            ],
        },
    }
