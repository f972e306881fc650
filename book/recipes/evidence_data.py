"""The mixture that the pool and the shipped pair are trained on.

Text (Python source and English) with shares of needles, few-shot labels and
questions to the fact book, in rows of 512 tokens; every eighth batch has rows
of 2,048, of text and needles. Needles begin easy, 2 of them in a row and twice
as many questions, then 4, then 8: lookup is all or nothing, and with 8 from
the start some seeds never find it.
"""

from dataclasses import dataclass, replace
from typing import Any

from minidiff.data import (
    Curriculum,
    FactBook,
    FewShotTask,
    LongRows,
    Mixture,
    NeedleTask,
    Part,
    TokenData,
    small_table,
)
from minidiff.data.evidence.countries import read_countries
from minidiff.data.token_files import TOKENIZER_NAME
from minidiff.data.tokenizers import BPETokenizer

SHARES = {"needles": 0.2, "few_shot": 0.1, "facts": 0.1}  # text: 0.6
LONG_NEEDLES = 0.25
# From which share of the steps on, needles, questions by those of the task.
STAGES = ((0, 2, 2), (0.2, 4, 1.5), (0.35, 8, 1))


@dataclass(frozen=True, kw_only=True)
class Rows:
    """How large the rows of each part are."""

    needles: NeedleTask  # the last stage of the curriculum
    few_shot: FewShotTask
    facts: dict[str, Any]  # documents in a scene, facts in a document
    times: int  # a long row is as long as so many others
    every: int  # steps, one of which is long

    @property
    def length(self) -> int:
        """Tokens in a short row."""
        return self.needles.length


# Many questions: else the few answers weigh next to nothing beside text.
FULL = Rows(
    needles=NeedleTask(needles=8, questions=96, length=512),
    few_shot=FewShotTask(classes=8, shots=15, questions=8),
    facts={"documents": 4, "facts": 4},
    times=4,
    every=8,
)
QUICK = Rows(
    needles=NeedleTask(needles=8, questions=16, length=384),
    few_shot=FewShotTask(classes=4, shots=23, questions=4),
    facts={"documents": 2, "facts": 2},
    times=2,
    every=3,
)


def evidence_data(
    tokens: str, archives: str | None, rows: Rows, *, steps: int, seed: int
) -> LongRows:
    """Build the mixture of one seed, for a training of so many steps.

    Countries are the fact book's in ``archives``, or the small table's.
    """
    text = TokenData(tokens, length=rows.length, seed=seed)
    tokenizer = BPETokenizer.load(f"{tokens}/{TOKENIZER_NAME}")
    countries = read_countries(archives) if archives else small_table()
    facts = FactBook(
        countries, tokenizer, length=rows.length, seed=seed, **rows.facts
    )
    short = Mixture(
        text,
        seed=seed,
        needles=Part(
            curriculum(replace(rows.needles, seed=seed), steps),
            SHARES["needles"],
        ),
        few_shot=Part(replace(rows.few_shot, seed=seed), SHARES["few_shot"]),
        facts=Part(facts, SHARES["facts"], own_ids=False),
    )
    length = rows.times * rows.length
    long_needles = replace(rows.needles, length=length, seed=seed)
    long = Mixture(
        TokenData(tokens, length=length, seed=seed),
        seed=seed,
        needles=Part(curriculum(long_needles, steps), LONG_NEEDLES),
    )
    return LongRows(short, long, times=rows.times, every=rows.every)


def curriculum(task: NeedleTask, steps: int) -> Curriculum:
    """Few needles first; after a third of the steps the task itself."""
    return Curriculum(
        [
            (
                round(share * steps),
                replace(
                    task,
                    needles=needles,
                    questions=round(times * task.questions),
                ),
            )
            for share, needles, times in STAGES
        ]
    )
