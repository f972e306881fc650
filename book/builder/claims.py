"""The claims of book/evidence.md, each with the paper's figure and ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from builder.contrasts import Found, Paired, Read, Row, Solved
from builder.single_runs import Share, Shown, Speed, long_loss, long_needles

# The mixture's pair: the newer record takes the older one's place.
PAIR = "pair.json", "pair_64_rows.json"
TEXT, POOL = ("text.json",), ("pool.json",)
RACE, MQAR = ("needle_race.json",), ("mqar.json",)
ABLATIONS, RACED = ("ablations.json",), ("race_ablations.json",)
# The paper's: Figure 3a, Table 2, Table 4.
LOSS, NEEDLES, HOTPOT = 0.025, 0.30, 0.10


class Comparison(Protocol):
    """A comparison that can be looked up in the records."""

    @property
    def records(self) -> Sequence[str]:
        """Return the records it reads, the newest first."""

    def find(self, read: Read) -> Found:
        """Return our side of a row."""


@dataclass(frozen=True)
class Claim:
    """A row: what is claimed, the paper's figure, what we compare.

    ``fixed`` says whether metric and contrast were fixed before the run.
    """

    claim: str
    paper: str
    compared: str
    comparison: Comparison
    fixed: bool = False


@dataclass(frozen=True)
class Section:
    """The claims of one chapter."""

    chapter: int
    title: str
    claims: tuple[Claim, ...]


def top(name: str, row: Row) -> float:
    """Return the largest logit or hidden state."""
    return row["activations"][name]["all"]["top"]["1"]


def added(row: Row) -> float:
    """Return what rounding the logits to 4 bits adds to the text loss."""
    table = row["rounding"]
    return table["4 bits"]["text_loss"] - table["exact"]["text_loss"]


def dropped(row: Row) -> float:
    """Return what rounding to 4 bits takes from the accuracy at needles."""
    table = row["rounding"]
    return table["exact"]["needles"] - table["4 bits"]["needles"]


def six_needles(row: Row) -> float:
    """Return the accuracy with 6 needles of which 2 are asked."""
    return row["needles"]["N=6 R=2"]


def looks_up(rows: list[Row]) -> bool:
    """Whether any model answers half of the questions about 6 needles."""
    return max(map(six_needles, rows)) > 0.5


def labels(row: Row) -> float:
    """Return the accuracy at fresh labels, after all demonstrations."""
    return row["shots"]["few_shot"]["accuracy"][-1]


def reads_labels(rows: list[Row]) -> bool:
    """Whether any model beats a guess among 8 fresh labels clearly."""
    return max(map(labels, rows)) > 0.3


def spread(orders: str, which: str, row: Row) -> float:
    """Return the best minus the worst accuracy over orders."""
    return row[orders][which]["best"] - row[orders][which]["worst"]


def source(asked: str, name: str, row: Row) -> float:
    """Return the share of answers that come from a source."""
    return row["facts"][asked].get(name, 0.0)


def right_of_given(row: Row) -> float:
    """Return the share of right answers among those that are given."""
    given = 1 - source("several", "not stated", row)
    return source("several", "right", row) / given


def extended(row: Row) -> float:
    """Return the accuracy in rows of 8,192 tokens, the mean over depths."""
    by_depth = row["long"]["needles"]["8192"]["by_depth"]
    return float(np.nanmean(np.array(by_depth, float)))


def text_loss(row: Row) -> float:
    """Return the loss on held-out text, in nats per token."""
    return row["valid_loss"]


FIGURE_3A = "0.025 to 0.032 nats lower at every size [P-fig, Figure 3a]"
TABLE_2 = "0.55 to 0.85 with 6 needles, 2 asked [P, Table 2]"
NO_FIGURE = "no figure"
AGAINST_SUM = "no figure; held to 0.025 [P-fig, Figure 3a]"

language = Section(
    18,
    "Language modelling",
    (
        Claim(
            "lower loss at equal size and tokens",
            FIGURE_3A,
            "nats per token, diff minus plain, 8.4 M parameters",
            Paired(records=TEXT, measure=text_loss, sign=-1, effect=LOSS),
            True,
        ),
        Claim(
            "control: it is the subtraction",
            AGAINST_SUM,
            "nats per token, diff minus sum, 8.4 M parameters",
            Paired(
                records=TEXT,
                measure=text_loss,
                sign=-1,
                effect=LOSS,
                against="sum",
            ),
            True,
        ),
        Claim(
            "lower loss, text among other tasks",
            FIGURE_3A,
            "nats per token, diff minus plain, 3.8 M parameters",
            Paired(records=PAIR, measure=text_loss, sign=-1, effect=LOSS),
            True,
        ),
        Claim(
            "the same, larger models",
            FIGURE_3A,
            "nats per token, diff minus plain, 15 M parameters",
            Paired(records=POOL, measure=text_loss, sign=-1, effect=LOSS),
            True,
        ),
        Claim(
            "the same, control",
            AGAINST_SUM,
            "nats per token, diff minus sum, 15 M parameters",
            Paired(
                records=POOL,
                measure=text_loss,
                sign=-1,
                effect=LOSS,
                against="sum",
            ),
            True,
        ),
    ),
)

KNOWN = "second answers right after 400 steps, diff minus {}"
needles = Section(
    19,
    "Needles and attention noise",
    (
        *(
            Claim(
                "control: the second map helps lookup",
                NO_FIGURE,
                f"MQAR with {pairs} pairs, width {width}: seeds that solve "
                "it, diff against wide + norm",
                Solved(records=MQAR, pairs=pairs, width=width),
                True,
            )
            for pairs in (4, 8)
            for width in (64, 128)
        ),
        *(
            Claim(
                f"a race that a subtraction should win, against {kind}",
                NO_FIGURE,
                KNOWN.format(kind) + known,
                Paired(
                    records=RACE,
                    measure=lambda row: row["second"],
                    sign=1,
                    against=kind,
                ),
                True,
            )
            for kind, known in (
                ("plain", " (no fresh test: looked at before)"),
                ("wide", ""),
                ("wide + norm", ""),
                ("first map", " (no fresh test: looked at before)"),
                ("sum", ""),
            )
        ),
        Claim(
            "more needles found",
            TABLE_2,
            "6 needles, 2 asked: share right, diff minus plain",
            Paired(
                records=PAIR,
                measure=six_needles,
                sign=1,
                effect=NEEDLES,
                learned=looks_up,
            ),
            True,
        ),
        Claim(
            "the same, larger models",
            TABLE_2,
            "the same, 15 M parameters",
            Paired(
                records=POOL,
                measure=six_needles,
                sign=1,
                effect=NEEDLES,
                learned=looks_up,
            ),
            True,
        ),
        Claim(
            "more attention on the answer",
            "0.03 to 0.09 against 0.27 to 0.40, by depth [P, Table 3]",
            "best head's share on the answer in solved MQAR models, all "
            "settings and rates",
            Share(records=MQAR),
        ),
    ),
)

FIGURE_5 = "8 needles: 0.95 to 1.00 at 8K, 0.52 to 0.86 at 64K [P, Figure 5]"
long_context = Section(
    20,
    "Long context",
    (
        Claim(
            "lower loss in long rows",
            "lower up to 64K, without numbers [P, Figure 4]",
            "nats per token in the longest positions, RoPE base 640,000, "
            "not trained for length",
            Shown(
                records=("long_pair.json",),
                measure=long_loss,
                form="{:.3f}",
            ),
        ),
        Claim(
            "needles in long rows",
            FIGURE_5,
            "share right in the longest rows, same models",
            Shown(
                records=("long_pair.json",),
                measure=long_needles,
                form="{:.2f}",
            ),
        ),
        Claim(
            "needles after an extension",
            FIGURE_5,
            "8,192 tokens, 8 needles: share right, diff minus plain, 15 M "
            "parameters",
            Paired(records=POOL, measure=extended, sign=1, effect=0.05),
            True,
        ),
    ),
)

NOISE = "this measure is noise in our design"
in_context = Section(
    21,
    "In-context learning and order",
    (
        Claim(
            "higher accuracy from demonstrations",
            "0.052 to 0.216 more [P, Figure 6]",
            "languages of 8 classes: share right over ten orders, diff minus "
            "plain",
            Paired(
                records=PAIR,
                measure=lambda row: row["language_orders"]["random"]["mean"],
                sign=1,
                effect=0.216,
            ),
        ),
        Claim(
            "the same, labels drawn anew",
            "0.052 to 0.216 more [P, Figure 6]",
            "8 fresh labels: share right, diff minus plain",
            Paired(
                records=PAIR,
                measure=labels,
                sign=1,
                effect=0.216,
                learned=reads_labels,
            ),
        ),
        *(
            Claim(
                f"order matters less, {which} orders",
                NO_FIGURE,
                "languages: share of answers that change, diff minus plain",
                Paired(
                    records=PAIR,
                    measure=lambda row, which=which: row["language_orders"][
                        which
                    ]["changed"],
                    sign=-1,
                ),
            )
            for which in ("random", "alternating")
        ),
        *(
            Claim(
                f"order matters less, {which} orders",
                f"best minus worst: {paper} [P, Figure 7]",
                "languages: best minus worst, diff minus plain",
                Paired(
                    records=PAIR,
                    measure=lambda row, which=which: spread(
                        "language_orders", which, row
                    ),
                    sign=-1,
                    reason=NOISE,
                ),
            )
            for which, paper in (
                ("random", "0.190 to 0.040"),
                ("alternating", "0.567 to 0.134"),
            )
        ),
        *(
            Claim(
                "the same, labels drawn anew",
                "best minus worst: 0.190 to 0.040 [P, Figure 7]",
                "8 fresh labels, ten orders: best minus worst, diff minus "
                "plain" + size,
                Paired(
                    records=records,
                    measure=lambda row: spread("orders", "random", row),
                    sign=-1,
                    effect=0.15,
                    learned=reads_labels,
                ),
                True,
            )
            for records, size in ((PAIR, ""), (POOL, ", 15 M parameters"))
        ),
    ),
)

TABLE_4 = "accurate answers: 0.36 to 0.46 (HotpotQA) [P, Table 4]"


def faithful(claim: str, what: str, asked: str, name: str, sign: int) -> Claim:
    """Return a row on the source of answers, with the effect of HotpotQA."""
    return Claim(
        claim,
        TABLE_4,
        f"{what}, diff minus plain",
        Paired(
            records=PAIR,
            measure=lambda row: source(asked, name, row),
            sign=sign,
            effect=HOTPOT,
        ),
        (asked, name) == ("several", "another document"),
    )


faithfulness = Section(
    22,
    "Faithfulness",
    (
        faithful(
            "fewer answers from the wrong place",
            "several documents: share from another document",
            "several",
            "another document",
            -1,
        ),
        faithful(
            "more right answers",
            "several documents: share right",
            "several",
            "right",
            1,
        ),
        Claim(
            "more right answers among those given",
            TABLE_4,
            "several documents: share right, of those answered, diff minus "
            "plain",
            Paired(
                records=PAIR, measure=right_of_given, sign=1, effect=HOTPOT
            ),
        ),
        faithful(
            "nothing invented where nothing is stated",
            "unanswerable questions: share from another document",
            "unanswerable",
            "another document",
            -1,
        ),
        Claim(
            "more faithful summaries",
            "faithful summaries: 0.44 to 0.53 (XSum) [P, Table 4]",
            '"what is said of ...": share of complete and right lists, diff '
            "minus plain",
            Paired(
                records=PAIR,
                measure=lambda row: source("list", "right", row),
                sign=1,
                effect=0.09,
            ),
        ),
        Claim(
            "larger models",
            TABLE_4,
            "several documents: share from another document, diff minus "
            "plain, 15 M parameters",
            Paired(
                records=POOL,
                measure=lambda row: source("several", "another document", row),
                sign=-1,
                effect=HOTPOT,
            ),
            True,
        ),
    ),
)

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
                    records=records,
                    measure=lambda row, key=key: top(key, row),
                    sign=-1,
                    effect=float(np.log(plain / diff)),
                    ratio=True,
                ),
            )
            for records, size in ((PAIR, ""), (POOL, ", 15 M parameters"))
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
                records=PAIR,
                measure=dropped,
                sign=-1,
                effect=0.221,
                learned=looks_up,
            ),
        ),
        Claim(
            "the same, loss on text",
            NO_FIGURE,
            "nats per token added, diff minus plain",
            Paired(records=PAIR, measure=added, sign=-1),
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
                f"{kind}: higher loss",
                f"{effect:.3f} nats higher [P, Table 6]",
                "nats per token, variant minus diff, 8.4 M parameters",
                Paired(
                    records=ABLATIONS,
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
                f"{kind}: worse in the race of chapter 19",
                NO_FIGURE,
                "second answers right, variant minus diff",
                Paired(
                    records=RACED,
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
            f"a whole model of 336 M parameters, rows of {length:,}, diff "
            f"over plain on {name}",
            Speed(
                records=(f"bench_train_gpu_{length}.json",),
                first="diff/triton",
                second=f"plain/{peer}",
            ),
        )
        for length in (2048, 8192)
        for peer, name in (("flash", "FlashAttention-2"), ("cudnn", "cuDNN"))
    ),
)

SECTIONS = (
    language,
    needles,
    long_context,
    in_context,
    faithfulness,
    outliers,
    ablations,
    speed,
)
