"""Exercise 21.1: the tokens of a few-shot prompt."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def few_shot_prompt(
    texts: list[list[int]],
    classes: np.ndarray,
    labels: np.ndarray,
    order: np.ndarray,
    end: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the token ids of a prompt, and the positions before its labels.

    texts: the token ids of each of I items. classes (I,): the class of each
    item. labels (C,): the token id that stands for each class in this row.
    order (I,): order[n] is the number of the item that comes n-th. Each item
    is its text, then its class's label, then the token id end. A position
    predicts the token after it: return those whose next token is a label.
    """
    ids: list[int] = []
    places = []
    for item in order:
        ids += texts[item]
        places.append(len(ids) - 1)
        ids += [labels[classes[item]], end]
    return np.array(ids), np.array(places)


def _cases() -> list[Case]:
    cases = []
    for C, count, longest in ((1, 1, 1), (2, 3, 1), (3, 7, 4), (8, 24, 9)):
        rng = np.random.default_rng(count)
        sizes = rng.integers(1, longest + 1, count)
        texts = [rng.integers(100, 200, n).tolist() for n in sizes]
        classes = rng.permutation(np.arange(count) % C)
        labels = 10 + rng.permutation(10)[:C]
        order = rng.permutation(count)
        name = f"{C} classes, {count} items of 1 to {longest} tokens"
        args = (texts, classes, labels, order, 7)
        cases.append(Case(name=name, args=args))
    return cases


Texts = list[list[int]]
Prompt = tuple[np.ndarray, np.ndarray]


def _written(
    items: Callable[[Texts, np.ndarray, np.ndarray], list[tuple[int, int]]],
    place: int = -1,
    after: bool = True,
    label: Callable[[int, np.ndarray], int] = lambda c, labels: labels[c],
) -> Callable[..., Prompt]:
    """Write a prompt with one thing changed.

    items: pairs of the text's and the class's number, as they are written.
    place: added to the number of ids before a label. after: whether end
    follows a label.
    """

    def answer(
        texts: Texts,
        classes: np.ndarray,
        labels: np.ndarray,
        order: np.ndarray,
        end: int,
    ) -> Prompt:
        ids: list[int] = []
        places = []
        for text, c in items(texts, classes, order):
            ids += texts[text]
            places.append(len(ids) + place)
            ids += [label(c, labels), end] if after else [label(c, labels)]
        return np.array(ids), np.array(places)

    return answer


def _right(
    texts: Texts, classes: np.ndarray, order: np.ndarray
) -> list[tuple[int, int]]:
    return [(i, classes[i]) for i in order]


def _in_order_of_items(*given: object) -> Prompt:
    ids, places = few_shot_prompt(*given)  # type: ignore[arg-type]
    order = given[3]
    assert isinstance(order, np.ndarray)
    back = np.empty_like(places)
    back[order] = places
    return ids, back


EXERCISE = Exercise(
    id="21.1",
    cases=_cases,
    solution=few_shot_prompt,
    mistakes=(
        Mistake(
            key="places of the labels",
            diagnosis="Your positions are those of the labels themselves. "
            "There the model has already read the answer: take the position "
            "before.",
            wrong=_written(_right, place=0),
        ),
        Mistake(
            key="places after the labels",
            diagnosis="Your positions come after the labels. A position "
            "predicts the next token, so the label must be the next one.",
            wrong=_written(_right, place=1),
        ),
        Mistake(
            key="no end",
            diagnosis="The token `end` is missing after the labels. It "
            "separates an item from the next one.",
            wrong=_written(_right, after=False),
        ),
        Mistake(
            key="order not used",
            diagnosis="The items come in the order in which they were given. "
            "Item order[n] comes n-th.",
            wrong=_written(lambda t, c, order: [*enumerate(c)]),
        ),
        Mistake(
            key="order the other way",
            diagnosis="You put item n at place order[n]. It is the other way: "
            "item order[n] comes at place n.",
            wrong=_written(
                lambda t, c, order: [(i, c[i]) for i in np.argsort(order)]
            ),
        ),
        Mistake(
            key="only the texts in order",
            diagnosis="The texts are in the new order, the labels in the old "
            "one, so that most items have a wrong label. Take the class of "
            "the same item.",
            wrong=_written(lambda t, c, order: [*zip(order, c, strict=True)]),
        ),
        Mistake(
            key="only the labels in order",
            diagnosis="The labels are in the new order, the texts in the old "
            "one. Take the text of the same item.",
            wrong=_written(
                lambda t, c, order: [(n, c[i]) for n, i in enumerate(order)]
            ),
        ),
        Mistake(
            key="class instead of label",
            diagnosis="You wrote the number of the class. In this row its "
            "token is labels[class].",
            wrong=_written(_right, label=lambda c, labels: c),
        ),
        Mistake(
            key="places by item",
            diagnosis="Your positions are sorted by the items' numbers. "
            "Return them as they stand in the row, from left to right.",
            wrong=_in_order_of_items,
        ),
        slip(
            "one place early",
            "Your positions are too far left. The position before a label "
            "is that of the last token of its text.",
            few_shot_prompt,
            ("places.append(len(ids) - 1)", "places.append(len(ids) - 2)"),
        ),
    ),
    hints=(
        "Write the items one after another into a list, and note how long "
        "the list is before each label.",
        "`for item in order:` add texts[item], then labels[classes[item]] "
        "and end. The last token of the text predicts the label.",
        "After `ids += texts[item]` the position is len(ids) - 1; then "
        "`ids += [labels[classes[item]], end]`.",
    ),
    results=("token ids", "positions"),
)
