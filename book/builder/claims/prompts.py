"""Claims of chapters 21 and 22: learning from a prompt, faithfulness."""

from builder.claims.claim import NO_FIGURE, PAIR, POOL, Claim, Section
from builder.claims.measures import (
    labels,
    reads_labels,
    right_of_given,
    source,
    spread,
)
from builder.contrasts import Paired

HOTPOT = 0.10  # Table 4
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
