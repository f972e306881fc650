"""Claims of chapters 21 and 22: learning from a prompt, faithfulness."""

from functools import partial

from builder.claims.claim import (
    CONTRASTS,
    NO_FIGURE,
    PAIR,
    POOL,
    Claim,
    Section,
)
from builder.claims.measures import (
    from_prompt,
    learned,
    right_of_given,
    source,
    spread,
)
from builder.contrasts import Paired

HOTPOT = 0.10  # Table 4
FIGURE_6 = "0.052 to 0.216 more [P, Figure 6]"
# The paper's best minus worst, plain and diff, by kind of order.
FIGURE_7 = {"random": (0.190, 0.040), "alternating": (0.567, 0.134)}


def accuracy(claim: str, task: str, orders: str, record: str = PAIR) -> Claim:
    """Return a row on the accuracy after demonstrations."""
    return Claim(
        claim,
        FIGURE_6,
        f"{task}: share right over ten orders, diff minus plain",
        Paired(
            record=record,
            measure=partial(from_prompt, orders),
            sign=1,
            effect=0.216,
            learned=partial(learned, orders),
        ),
    )


def order(
    claim: str,
    task: str,
    orders: str,
    which: str,
    record: str = PAIR,
    fixed: bool = False,
    against: str = "plain",
) -> Claim:
    """Return a row on best minus worst over orders of demonstrations."""
    plain, diff = FIGURE_7[which]
    return Claim(
        claim,
        f"best minus worst: {plain:.3f} to {diff:.3f} [P, Figure 7]",
        f"{task}: best minus worst with the same demonstrations, diff minus "
        f"{against}",
        Paired(
            record=record,
            against=against,
            measure=partial(spread, orders, which),
            sign=-1,
            effect=plain - diff,
            learned=partial(learned, orders),
            both=True,
        ),
        fixed,
    )


in_context = Section(
    21,
    "In-context learning and order",
    (
        accuracy(
            "higher accuracy from demonstrations",
            "languages of 8 classes, 66 million tokens of training",
            "language_orders",
        ),
        accuracy(
            "the same, longer training",
            "languages of 8 classes, 262 million tokens of training",
            "language_orders",
            "pair_64_rows.json",
        ),
        accuracy(
            "the same, larger models",
            "languages of 8 classes, 15 M parameters",
            "language_orders",
            POOL,
        ),
        accuracy(
            "higher accuracy, labels drawn anew",
            "symbols, 8 fresh labels",
            "orders",
        ),
        *(
            order(
                f"order matters less, {which} orders",
                "languages",
                "language_orders",
                which,
            )
            for which in FIGURE_7
        ),
        *(
            order(
                f"order matters less, {which} orders, larger models",
                "languages, 15 M parameters",
                "language_orders",
                which,
                POOL,
            )
            for which in FIGURE_7
        ),
        order(
            "order matters less, labels drawn anew",
            "symbols, 8 fresh labels, random orders",
            "orders",
            "random",
        ),
        *(
            order(
                f"order matters less, labels drawn anew, {claim}",
                "symbols, 8 fresh labels, random orders, 15 M parameters",
                "orders",
                "random",
                POOL,
                True,
                against,
            )
            for claim, against in CONTRASTS
        ),
        *(
            Claim(
                f"order matters less, {which} orders",
                NO_FIGURE,
                f"languages{size}: share of answers that change, diff minus "
                "plain",
                Paired(
                    record=record,
                    measure=lambda row, which=which: row["language_orders"][
                        which
                    ]["changed"],
                    sign=-1,
                    learned=partial(learned, "language_orders"),
                    both=True,
                ),
            )
            for record, size in ((PAIR, ""), (POOL, ", 15 M parameters"))
            for which in FIGURE_7
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
            record=PAIR,
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
            Paired(record=PAIR, measure=right_of_given, sign=1, effect=HOTPOT),
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
                record=PAIR,
                measure=lambda row: source("list", "right", row),
                sign=1,
                effect=0.09,
            ),
        ),
        *(
            Claim(
                claim,
                TABLE_4,
                "several documents: share from another document, diff minus "
                f"{against}, 15 M parameters",
                Paired(
                    record=POOL,
                    against=against,
                    measure=partial(source, "several", "another document"),
                    sign=-1,
                    effect=HOTPOT,
                ),
                True,
            )
            for claim, against in CONTRASTS
        ),
    ),
)
