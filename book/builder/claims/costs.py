"""Claims of chapters 23, 24 and 13: outliers, ablations, speed."""

import numpy as np

from builder.claims.claim import (
    ABLATIONS,
    NO_FIGURE,
    PAIR,
    POOL,
    RACED,
    Claim,
    Section,
)
from builder.claims.measures import added, dropped, looks_up, text_loss, top
from builder.contrasts import Paired
from builder.single_runs import Speed

FIGURE_8 = (
    "points of HellaSwag lost at 4 bits: 29.5 to 7.4 [P-fig, Figure 8; calc]"
)
outliers = Section(
    23,
    "Outliers and low bits",
    (
        *(
            Claim(
                f"smaller largest {name}",
                f"{plain} to {diff}: {diff / plain:.2f} times [P, Table 5]",
                "ratio of the largest, diff over plain" + size,
                Paired(
                    record=record,
                    measure=lambda row, key=key: top(key, row),
                    sign=-1,
                    effect=float(np.log(plain / diff)),
                    ratio=True,
                ),
            )
            for record, size in ((PAIR, ""), (POOL, ", 15 M parameters"))
            for name, key, plain, diff in (
                ("attention logits", "logits", 318.0, 38.8),
                ("hidden states", "hidden", 3608.6, 1688.2),
            )
        ),
        Claim(
            "less lost with logits of 4 bits",
            FIGURE_8,
            "6 needles, 2 asked: share right that is lost, diff minus plain",
            Paired(
                record=PAIR,
                measure=dropped,
                sign=-1,
                effect=0.221,
                learned=looks_up,
            ),
        ),
        *(
            Claim(
                "the same, loss on text",
                NO_FIGURE,
                f"nats per token added, diff minus plain{size}",
                Paired(record=record, measure=added, sign=-1),
            )
            for record, size in ((PAIR, ""), (POOL, ", 15 M parameters"))
        ),
    ),
)

ablated = (("without norm", 0.060), ("lambda_init 0.8", 0.003))
ablations = Section(
    24,
    "Ablations",
    (
        *(
            Claim(
                f"higher loss, {kind}",
                f"{effect:.3f} nats higher [P, Table 6]",
                "nats per token, variant minus diff, 8.4 M parameters",
                Paired(
                    record=ABLATIONS,
                    measure=text_loss,
                    sign=1,
                    effect=effect,
                    kind=kind,
                    against="diff",
                    base="text.json",
                ),
                True,
            )
            for kind, effect in ablated
        ),
        *(
            Claim(
                f"worse in the race of chapter 19, {kind}",
                NO_FIGURE,
                "second answers right, variant minus diff",
                Paired(
                    record=RACED,
                    measure=lambda row: row["second"],
                    sign=-1,
                    kind=kind,
                    against="diff",
                    base="needle_race.json",
                ),
            )
            for kind, _ in ablated
        ),
    ),
)

speed = Section(
    13,
    "Speed of the kernels",
    tuple(
        Claim(
            "training costs little more time",
            "0.92 and 0.90 of plain's tokens per second (3B, rows of 2K "
            "and 4K) [P, Table 7]",
            f"tokens per second of a model of 336 M parameters, rows of "
            f"{length:,}, diff over plain on {name}",
            Speed(
                record=f"bench_train_gpu_{length}.json",
                first="diff/triton",
                second=f"plain/{peer}",
            ),
        )
        for length in (2048, 8192)
        for peer, name in (("flash", "FlashAttention-2"), ("cudnn", "cuDNN"))
    ),
)
