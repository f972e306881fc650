"""Data mixture on which the pool and the shipped pair are trained.

Rows of 512 tokens are text (Python source and English) or one of four tasks:
needles, few-shot labels, questions about the fact book, and languages to
identify from examples. Every eighth batch has rows of 2,048 tokens, of text
and needles only. The needle task begins easy, with 2 needles in a row and
twice as many questions; then it has 4 needles, then 8. A model either learns
to look keys up or it does not, and with 8 needles from the start some seeds
never learn it.
"""

from dataclasses import dataclass, replace
from typing import Any

from minidiff.data import (
    Curriculum,
    FactBook,
    FewShotTask,
    Languages,
    LongRows,
    Mixture,
    NeedleTask,
    Part,
    TokenData,
    small_languages,
    small_table,
)
from minidiff.data.evidence.countries import read_countries
from minidiff.data.evidence.languages import read_languages
from minidiff.data.token_files import TOKENIZER_NAME
from minidiff.data.tokenizers import BPETokenizer

SHARES = {  # text: 0.58
    "needles": 0.2,
    "few_shot": 0.07,
    "facts": 0.1,
    "languages": 0.05,
}
LONG_NEEDLES = 0.25
# Each stage of a curriculum: the share of the steps at which it begins, the
# needles in a row, and the factor on the task's number of questions. All end
# with the same task. "few first" was tried on the pair: of four plain models
# none learned to look keys up. A model that only knows which N values stand in
# the row has a loss of ln N at a question, so with two needles there is little
# left to gain from looking keys up, and with 32 much.
CURRICULA = {
    "constant": ((0, 8, 1),),
    "few first": ((0, 2, 2), (0.2, 4, 1.5), (0.35, 8, 1)),
    "dense longer": ((0, 8, 2.5), (0.7, 8, 1)),
    "many first": ((0, 32, 2), (0.4, 8, 1)),
}
CANDIDATES = ("dense longer", "many first")  # what "lookup" compares


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Sizes of the rows of each part."""

    needles: NeedleTask  # the last stage of the curriculum
    few_shot: FewShotTask
    facts: dict[str, Any]  # documents in a scene, facts in a document
    languages: dict[str, Any]  # classes, shots, questions, snippet
    times: int  # length of a long row over that of a short one
    every: int  # one step in so many has long rows

    @property
    def length(self) -> int:
        """Tokens in a short row."""
        return self.needles.length


# Many questions, or the answers would contribute almost nothing to the loss.
FULL = Rows(
    needles=NeedleTask(needles=8, questions=96, length=512),
    few_shot=FewShotTask(classes=8, shots=15, questions=8),
    facts={"documents": 4, "facts": 4},
    languages={"classes": 8, "shots": 3, "questions": 4, "snippet": 15},
    times=4,
    every=8,
)
QUICK = Rows(
    needles=NeedleTask(needles=8, questions=16, length=384),
    few_shot=FewShotTask(classes=4, shots=23, questions=4),
    facts={"documents": 2, "facts": 2},
    languages={"classes": 2, "shots": 3, "questions": 2, "snippet": 8},
    times=2,
    every=3,
)


def evidence_data(
    tokens: str,
    archives: str | None,
    rows: Rows,
    *,
    steps: int,
    seed: int,
    stages: str,
) -> LongRows:
    """Build the mixture of one seed, for a training of ``steps`` steps.

    ``stages`` names one of ``CURRICULA``.

    ``tokens`` is a folder of token files. Countries and languages come
    from the folder ``archives``, or from small tables if it is None.
    """
    text = TokenData(tokens, length=rows.length, seed=seed)
    tokenizer = BPETokenizer.load(f"{tokens}/{TOKENIZER_NAME}")
    countries = read_countries(archives) if archives else small_table()
    facts = FactBook(
        countries, tokenizer, length=rows.length, seed=seed, **rows.facts
    )
    texts = read_languages(archives) if archives else small_languages()
    languages = Languages(
        texts, tokenizer, length=rows.length, seed=seed, **rows.languages
    )
    short = Mixture(
        text,
        seed=seed,
        needles=Part(
            curriculum(replace(rows.needles, seed=seed), steps, stages),
            SHARES["needles"],
        ),
        few_shot=Part(replace(rows.few_shot, seed=seed), SHARES["few_shot"]),
        facts=Part(facts, SHARES["facts"], own_ids=False),
        languages=Part(languages, SHARES["languages"], own_ids=False),
    )
    length = rows.times * rows.length
    long_needles = replace(rows.needles, length=length, seed=seed)
    long = Mixture(
        TokenData(tokens, length=length, seed=seed),
        seed=seed,
        needles=Part(curriculum(long_needles, steps, stages), LONG_NEEDLES),
    )
    return LongRows(short, long, times=rows.times, every=rows.every)


def curriculum(task: NeedleTask, steps: int, stages: str) -> Curriculum:
    """Make the needle tasks of a curriculum; ``task`` itself is the last."""
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
            for share, needles, times in CURRICULA[stages]
        ]
    )
