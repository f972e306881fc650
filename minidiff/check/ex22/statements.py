"""Exercise 22.3: a summary, statement by statement."""

from collections.abc import Callable

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip

Counts = tuple[int, int, int, int]
Documents = list[dict[str, str]]


def judge_summary(
    text: str, documents: list[dict[str, str]], about: int
) -> tuple[int, int, int, int]:
    """Count the statements of a summary by where they come from.

    text: statements such as "capital Oslo, main crop tea", an attribute and
    a value each, joined by ", ". documents: their values by attribute; the
    summary is about documents[about]. Return how many different statements
    the summary makes that are in this document; that are not, but are in
    another one; that are in none; and how many facts of this document it
    leaves out. A statement said twice counts once, and order is free.
    """
    stated = [{f"{a} {v}" for a, v in d.items()} for d in documents]
    own = stated.pop(about)
    said = set(text.split(", ")) - {""}
    elsewhere = (said - own) & set().union(*stated)
    nowhere = said - own - elsewhere
    return len(said & own), len(elsewhere), len(nowhere), len(own - said)


_DOCUMENTS = [
    {"capital": "Oslo", "main crop": "tea", "currency": "yen"},
    {"capital": "Lima", "main crop": "rice", "language": "Lao"},
    {"capital": "Cairo", "currency": "kips", "language": "Hindi"},
]


def _cases() -> list[Case]:
    cases = {
        "all of it": ("capital Oslo, main crop tea, currency yen", 0),
        "another order": ("currency yen, capital Oslo, main crop tea", 0),
        "one left out": ("capital Oslo, currency yen", 0),
        "one of another document": (
            "capital Lima, main crop tea, currency yen",
            0,
        ),
        "another document, whole": (
            "capital Lima, main crop rice, language Lao",
            0,
        ),
        "one from nowhere": ("capital Quito, main crop rice", 1),
        "a value under another name": ("capital tea, main crop Oslo", 0),
        "said twice": ("capital Oslo, capital Oslo, currency yen", 0),
        "wrong, and said twice": (
            "capital Lima, capital Oslo, capital Lima, language Thai, "
            "language Thai",
            0,
        ),
        "the last document": ("capital Cairo, language Lao, main crop", 2),
        "a value cut short": ("capital Os, currency yen", 0),
        "nothing": ("", 0),
    }
    of_two = [*_DOCUMENTS, {"capital": "Oslo"}]
    return [
        Case(name=name, args=(text, _DOCUMENTS, about))
        for name, (text, about) in cases.items()
    ] + [
        Case(
            name="a fact of two documents",
            args=("capital Oslo, language Lao", of_two, 0),
        )
    ]


def _statements(document: dict[str, str]) -> list[str]:
    return [f"{a} {v}" for a, v in document.items()]


Split = Callable[[str], list[str]]


def _split(text: str) -> list[str]:
    return list(dict.fromkeys(x for x in text.split(", ") if x))


def _all(text: str) -> list[str]:
    return [x for x in text.split(", ") if x]


def _with_empty(text: str) -> list[str]:
    return list(dict.fromkeys(text.split(", ")))


def _judged(
    split: Split = _split,
    make: Callable[[dict[str, str]], list[str]] = _statements,
    same: Callable[[str, list[str]], bool] = lambda x, known: x in known,
    variant: str = "",
) -> Callable[[str, Documents, int], Counts]:
    def answer(text: str, documents: Documents, about: int) -> Counts:
        own = make(documents[about])
        others = [
            statement
            for i, document in enumerate(documents)
            if i != about
            for statement in make(document)
        ]
        counts = [0, 0, 0]
        said = split(text)
        for statement in said:
            here, there = same(statement, own), same(statement, others)
            place = 0 if here else 1 if there else 2
            if variant == "no others" and place == 1:
                place = 2
            counts[place] += 1
        left = sum(not any(same(x, [s]) for x in said) for s in own)
        if variant == "strict":
            left = sum(x not in said for x in own)
        if variant == "by count":
            left = len(own) - counts[0]
        if variant == "as long":
            left = max(0, len(own) - len(said))
        right, elsewhere, nowhere = counts
        return right, elsewhere, nowhere, left

    return answer


def _by_place(text: str, documents: Documents, about: int) -> Counts:
    """Compare statement i with fact i."""
    right, elsewhere, nowhere, left = 0, 0, 0, 0
    own = _statements(documents[about])
    rest = [d for i, d in enumerate(documents) if i != about]
    others = [s for d in rest for s in _statements(d)]
    said = _split(text)
    for i, statement in enumerate(said):
        if i < len(own) and statement == own[i]:
            right += 1
        elif statement in others:
            elsewhere += 1
        else:
            nowhere += 1
    left = len(own) - right
    return right, elsewhere, nowhere, left


def _attributes(text: str, documents: Documents, about: int) -> Counts:
    """Leave-outs by attribute: a wrong value counts as mentioned."""
    right, elsewhere, nowhere, _ = judge_summary(text, documents, about)
    left = sum(
        not any(s.startswith(a) for s in _split(text))
        for a in documents[about]
    )
    return right, elsewhere, nowhere, left


def _any_document(text: str, documents: Documents, about: int) -> Counts:
    """Everything that some document states counts as found in another."""
    every = [s for d in documents for s in _statements(d)]
    own = _statements(documents[about])
    said = _split(text)
    right = sum(s in own for s in said)
    return (
        right,
        sum(s in every for s in said),
        sum(s not in every for s in said),
        len(own) - right,
    )


EXERCISE = Exercise(
    id="22.3",
    cases=_cases,
    solution=judge_summary,
    results=("right", "another document", "nowhere", "left out"),
    mistakes=(
        Mistake(
            key="values alone",
            diagnosis="You look for values and forget what they are said "
            'of. "capital tea" is a statement of no document.',
            wrong=_judged(
                make=lambda d: list(d.values()),
                same=lambda x, known: any(x.endswith(v) for v in known),
            ),
            also=(
                _judged(
                    make=lambda d: list(d.values()),
                    same=lambda x, known: any(v in x for v in known),
                ),
            ),
        ),
        Mistake(
            key="by place",
            diagnosis="You compare the first statement with the first fact, "
            "and so on. The order is free.",
            wrong=_by_place,
        ),
        Mistake(
            key="repetitions counted",
            diagnosis="You count a statement as often as it is said. "
            "Saying it again adds nothing.",
            wrong=_judged(split=_all),
            also=(_judged(split=_all, variant="by count"),),
        ),
        Mistake(
            key="an empty statement",
            diagnosis="An empty summary makes no statement, but ''.split(', "
            "') gives a list with one empty text.",
            wrong=_judged(split=_with_empty),
        ),
        Mistake(
            key="mentioned is not left out",
            diagnosis="You take a fact as told if its attribute is "
            "mentioned. With a wrong value it is left out.",
            wrong=_attributes,
        ),
        Mistake(
            key="left out by length",
            diagnosis="You compare the numbers of statements. A wrong "
            "statement does not stand for the one that is missing.",
            wrong=_judged(variant="as long"),
        ),
        Mistake(
            key="this document among the others",
            diagnosis="You count statements of this document among those of "
            "another one too. Leave documents[about] out there.",
            wrong=_any_document,
        ),
        Mistake(
            key="other documents forgotten",
            diagnosis="You call a statement of another document made up. "
            "Look into the others first.",
            wrong=_judged(variant="no others"),
        ),
        Mistake(
            key="a beginning is enough",
            diagnosis='You accept the beginning of a statement. "capital Os" '
            "does not name Oslo: compare whole statements.",
            wrong=_judged(
                same=lambda x, known: any(s.startswith(x) for s in known)
            ),
            also=(
                _judged(
                    same=lambda x, known: any(s.startswith(x) for s in known),
                    variant="strict",
                ),
                _judged(same=lambda x, known: any(x in s for s in known)),
                _judged(
                    same=lambda x, known: any(x in s for s in known),
                    variant="strict",
                ),
                _judged(same=lambda x, known: x in ", ".join(known)),
            ),
        ),
        slip(
            "other documents made up",
            "Your third number also counts statements that are in another "
            "document. Those are not made up.",
            judge_summary,
            ("said - own - elsewhere", "said - own"),
        ),
        slip(
            "made up, but counted elsewhere",
            "Your second number counts everything that is not in this "
            "document. Is it in another one?",
            judge_summary,
            ("(said - own) & set().union(*stated)", "said - own"),
        ),
        slip(
            "every statement right",
            "Your first number counts all statements. How many of them are "
            "in this document?",
            judge_summary,
            ("len(said & own)", "len(said)"),
        ),
        slip(
            "facts counted",
            "You count all facts of the document. Which of them does the "
            "summary make, and which does it leave out?",
            judge_summary,
            ("len(own - said)", "len(own)"),
            ("len(said & own)", "len(own)"),
        ),
        slip(
            "left out the other way",
            "Your last number counts statements that are not in the "
            "document. Asked for are facts of the document that are not "
            "stated.",
            judge_summary,
            ("len(own - said)", "len(said - own)"),
            ("len(own - said)", "len(said)"),
        ),
        slip(
            "counted twice",
            "A statement that this document and another one share counts "
            "twice for you. It is right, and nothing else.",
            judge_summary,
            ("(said - own) & set()", "said & set()"),
        ),
        slip(
            "letters",
            "You take the text apart into letters. Its statements are "
            "joined by a comma and a space.",
            judge_summary,
            ('text.split(", ")', "text"),
        ),
    ),
    hints=(
        "Make sets of statements: one of the summary, one of each document. "
        "The four counts are sizes of sets made of these.",
        'A document\'s set is {f"{a} {v}" for a, v in d.items()}. Take the '
        "empty text out of the summary's.",
        "said & own; (said - own) & others; said - own - others; own - said.",
    ),
)
