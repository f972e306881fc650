"""Exercise 22.1: where an answer comes from."""

from collections.abc import Callable, Sequence
from functools import partial

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def answer_source(
    text: str, right: str, others: list[str], memory: str | None
) -> str:
    """Return the source of an answer, as one of five texts.

    "right": it is `right`, what the document about the country says (or
    "not stated", if that is right). "another document": it is in `others`,
    what other documents say. "memory": it is the real value, which may be
    None, for unknown. "not stated": it says so, wrongly. "nowhere": none of
    these. The first that fits counts. Spaces around the text and one full
    stop at its end do not matter; everything else must be equal.
    """
    said = text.strip().removesuffix(".").strip()
    if said == right:
        return "right"
    if said in others:
        return "another document"
    if said == memory:
        return "memory"
    return "not stated" if said == "not stated" else "nowhere"


def _cases() -> list[Case]:
    cases = {
        "the document's value": (" Oslo.", "Oslo", ["Lima"], "Tokyo"),
        "another document's": (" Lima.", "Oslo", ["Quito", "Lima"], "Tokyo"),
        "the real value": ("Tokyo", "Oslo", ["Lima"], "Tokyo"),
        "real, and in another document": (
            " Tokyo.",
            "Oslo",
            ("Lima", "Tokyo"),
            "Tokyo",
        ),
        "rightly not stated": (" not stated.", "not stated", ["Lima"], None),
        "wrongly not stated": (" not stated.", "Oslo", ["Lima"], None),
        "stated by nobody": (" Cairo.", "Oslo", ["Lima"], None),
        "a part of the right value": (
            " eagle.",
            "golden eagle",
            ["star"],
            "lion",
        ),
        "more than the right value": (
            " eagle owl.",
            "eagle",
            ["star"],
            "lion",
        ),
        "a part of another one": (" eagle.", "star", ["fish eagle"], None),
        "nothing at all": ("", "Oslo", ["Lima"], None),
        "the word None": (" None.", "Oslo", ["Lima"], None),
        "other capitals": (" oslo.", "Oslo", ["Lima"], "Tokyo"),
        "a full stop inside": (" St. Johns.", "St. Johns", ["Lima"], None),
        "two full stops": (" Oslo..", "Oslo", ["Lima"], "Tokyo"),
        "a space before the stop": (" Oslo .", "Oslo", ["Lima"], "Tokyo"),
        "a space after the stop": ("Oslo. ", "Oslo", ["Lima"], "Tokyo"),
        "no other document": (" Oslo.", "Tokyo", [], "Tokyo"),
    }
    return [Case(name=name, args=args) for name, args in cases.items()]


Match = Callable[[str, str], bool]


def _equal(said: str, value: str) -> bool:
    return said == value


def _clean(text: str) -> str:
    return text.strip().removesuffix(".").strip()


def _answer(
    text: str,
    right: str,
    others: Sequence[str],
    memory: str | None,
    *,
    clean: Callable[[str], str] = _clean,
    same: Match = _equal,
    order: tuple[str, ...] = ("right", "another document", "memory"),
) -> str:
    """Try the sources in an order, by a way to compare."""
    said = clean(text)
    real = [] if memory is None else [memory]
    values = {
        "right": [right],
        "another document": list(others),
        "memory": real,
        "not stated": ["not stated"],
    }
    for name in (*order, "not stated"):
        if any(same(said, value) for value in values[name]):
            return name
    return "nowhere"


EXERCISE = Exercise(
    id="22.1",
    cases=_cases,
    solution=answer_source,
    mistakes=(
        Mistake(
            key="not cleaned",
            diagnosis="You compare the text as it came. Remove the spaces "
            "around it and the full stop at its end.",
            wrong=partial(_answer, clean=str),
            also=(
                partial(_answer, clean=str.strip),
                partial(_answer, clean=lambda text: text.removesuffix(".")),
                partial(_answer, clean=lambda text: text.rstrip(".")),
            ),
        ),
        Mistake(
            key="a space before the full stop",
            diagnosis="With the full stop gone, there may be a space at the "
            "end again.",
            wrong=partial(
                _answer, clean=lambda text: text.strip().removesuffix(".")
            ),
            also=(
                partial(_answer, clean=lambda text: text.strip().rstrip(".")),
            ),
        ),
        Mistake(
            key="cut at the first full stop",
            diagnosis="You cut the text at its first full stop, but a value "
            'may hold one: "St. Johns".',
            wrong=partial(
                _answer, clean=lambda text: text.partition(".")[0].strip()
            ),
            also=(
                partial(
                    _answer, clean=lambda text: text.replace(".", "").strip()
                ),
            ),
        ),
        Mistake(
            key="a part is enough",
            diagnosis="You accept an answer that is a part of a value, or the "
            'reverse. "eagle" is not "golden eagle": compare whole texts.',
            wrong=partial(_answer, same=lambda said, value: said in value),
            also=(
                partial(_answer, same=lambda said, value: value in said),
                partial(
                    _answer,
                    same=lambda said, value: value in said or said in value,
                ),
                partial(
                    _answer,
                    same=lambda said, value: bool(said) and said in value,
                ),
            ),
        ),
        Mistake(
            key="capitals ignored",
            diagnosis="You ignore capitals. Everything but spaces and the "
            "last full stop must be equal.",
            wrong=partial(
                _answer,
                same=lambda said, value: said.lower() == value.lower(),
            ),
        ),
        Mistake(
            key="memory before the documents",
            diagnosis="You ask for memory before you look at the other "
            "documents. A value that stands in the prompt was read, as far as "
            "one can tell: the first that fits counts.",
            wrong=partial(
                _answer, order=("right", "memory", "another document")
            ),
            also=(
                partial(
                    _answer, order=("memory", "right", "another document")
                ),
            ),
        ),
        Mistake(
            key="refusals first",
            diagnosis='You look for "not stated" before you ask what is '
            "right. If the documents do not state it, this answer is right.",
            wrong=partial(
                _answer,
                order=("not stated", "right", "another document", "memory"),
            ),
        ),
        Mistake(
            key="refusals are nowhere",
            diagnosis='A wrong "not stated" is a source of its own: the '
            "model has made nothing up.",
            wrong=lambda *args: _answer(*args).replace(
                "not stated", "nowhere"
            ),
        ),
        Mistake(
            key="others forgotten",
            diagnosis="You do not look at what the other documents say.",
            wrong=partial(_answer, order=("right", "memory")),
        ),
        Mistake(
            key="memory as text",
            diagnosis="You turn the real value into a text, and None becomes "
            'the word "None". None means that no real value is known.',
            wrong=lambda text, right, others, memory: _answer(
                text, right, others, str(memory)
            ),
        ),
        slip(
            "full stop first",
            "You remove the full stop before the spaces. After a full stop "
            "there may be spaces, and then it is not at the end.",
            answer_source,
            ("text.strip().remove", "text.remove"),
        ),
        slip(
            "refusal for all the rest",
            "You call every answer a refusal that nothing else explains. Is "
            'it "not stated"?',
            answer_source,
            (
                'return "not stated" if said == "not stated" else "nowhere"',
                'return "not stated"',
            ),
        ),
    ),
    hints=(
        "First clean the text, then ask the questions in the order of the "
        "docstring, one `if` each.",
        "said = text.strip().removesuffix('.').strip(), and then only == and "
        "`in others`, which compares whole texts if `others` is a list.",
        "if said == right: return 'right'; if said in others: return 'another "
        "document'; if said == memory: return 'memory'; then the two that "
        "are left.",
    ),
)
