"""Exercise 16.3: keep the fewest tokens whose probabilities reach top_p."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip
from minidiff.reference import softmax


def keep_top_p(p: np.ndarray, top_p: float) -> np.ndarray:
    """Return probabilities (V,) with all but the top tokens set to 0.

    p (V,): probabilities. Kept are the likeliest tokens, as few as together
    reach top_p (0 < top_p <= 1), at least one. What is kept is divided by
    its sum; every token keeps its place.
    """
    order = np.argsort(-p, kind="stable")
    before = np.cumsum(p[order]) - p[order]
    chosen = order[before < top_p]
    kept = np.zeros_like(p)
    kept[chosen] = p[chosen]
    return kept / kept.sum()


def _cases() -> list[Case]:
    # In 64ths, so that no sum is rounded.
    eighths = np.array([1.0, 4.0, 2.0, 1.0]) / 8
    six = np.array([3.0, 19.0, 6.0, 14.0, 21.0, 1.0]) / 64
    alike = np.array([3.0, 1.0, 1.0, 1.0, 1.0, 1.0]) / 8
    every_second = (np.array([10.0, 9, 35, 9, 3, 9, 16, 9]) / 64)[::2]
    return [
        Case(name=f"{name}, top_p = {top_p}", args=(p, top_p))
        for name, p, top_p in (
            ("p = (1, 4, 2, 1)/8", eighths, 0.7),
            ("p = (1, 4, 2, 1)/8, reached exactly", eighths, 0.75),
            ("one token above top_p", eighths, 0.4),
            ("six tokens", six, 0.8),
            ("six tokens", six, 0.5),
            ("every second of an array", every_second, 0.9),
            ("all", six, 1.0),
            ("p = (3, 1, 1, 1, 1, 1)/8", alike, 0.6),
        )
    ]


def _run(
    answer: Callable[..., np.ndarray], p: np.ndarray, top_p: float
) -> np.ndarray:
    """The answer; which of equally likely tokens it keeps is left to it."""
    out = answer(p, top_p)
    if type(out) is not np.ndarray or out.shape != p.shape:
        return out
    out = np.array(out, dtype=float)
    for x in np.unique(p):
        out[p == x] = np.sort(out[p == x])[::-1]
    return out


def _cut(p: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Keep where ``keep`` is true, divided by the sum."""
    kept = np.where(keep, p, 0)
    return kept / kept.sum()


def _ranked(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each token, in its place: the sum before it and with it."""
    order = np.argsort(-p, kind="stable")
    up_to = np.empty_like(p)
    up_to[order] = np.cumsum(p[order])
    before = np.empty_like(p)
    before[order] = np.cumsum(p[order]) - p[order]
    return before, up_to


def _short(p: np.ndarray, top_p: float) -> np.ndarray:
    return _cut(p, _ranked(p)[1] <= top_p)


def _short_strict(p: np.ndarray, top_p: float) -> np.ndarray:
    return _cut(p, _ranked(p)[1] < top_p)


def _short_or_one(p: np.ndarray, top_p: float) -> np.ndarray:
    return _cut(p, (_ranked(p)[1] <= top_p) | (p == p.max()))


def _short_strict_or_one(p: np.ndarray, top_p: float) -> np.ndarray:
    return _cut(p, (_ranked(p)[1] < top_p) | (p == p.max()))


def _too_many(p: np.ndarray, top_p: float) -> np.ndarray:
    return _cut(p, _ranked(p)[0] <= top_p)


def _ranks(p: np.ndarray) -> np.ndarray:
    """For each token how many are before it, the likeliest first."""
    return np.argsort(np.argsort(-p, kind="stable"))


def _one_more(p: np.ndarray, top_p: float) -> np.ndarray:
    count = np.count_nonzero(keep_top_p(p, top_p))
    return _cut(p, _ranks(p) <= count)


def _not_normalised(p: np.ndarray, top_p: float) -> np.ndarray:
    return np.where(keep_top_p(p, top_p) > 0, p, 0)


def _in_order(p: np.ndarray, top_p: float) -> np.ndarray:
    return np.sort(keep_top_p(p, top_p))[::-1]


def _unsorted(p: np.ndarray, top_p: float) -> np.ndarray:
    return _cut(p, np.cumsum(p) - p < top_p)


def _rarest(p: np.ndarray, top_p: float) -> np.ndarray:
    order = np.argsort(p, kind="stable")
    keep = np.zeros(len(p), dtype=bool)
    keep[order] = np.cumsum(p[order]) - p[order] < top_p
    return _cut(p, keep)


def _threshold(p: np.ndarray, top_p: float) -> np.ndarray:
    return _cut(p, p >= top_p)


def _threshold_left(p: np.ndarray, top_p: float) -> np.ndarray:
    return _cut(p, p >= 1 - top_p)


def _share_of_tokens(p: np.ndarray, top_p: float) -> np.ndarray:
    return _cut(p, _ranks(p) < max(1, round(top_p * len(p))))


def _share_rounded_down(p: np.ndarray, top_p: float) -> np.ndarray:
    return _cut(p, _ranks(p) < max(1, int(top_p * len(p))))


def _share_rounded_up(p: np.ndarray, top_p: float) -> np.ndarray:
    return _cut(p, _ranks(p) < np.ceil(top_p * len(p)))


def _all_alike(p: np.ndarray, top_p: float) -> np.ndarray:
    return _cut(p, p >= p[keep_top_p(p, top_p) > 0].min())


def _in_rank_order(p: np.ndarray, top_p: float) -> np.ndarray:
    ordered = np.sort(p)[::-1]
    return _cut(p, np.cumsum(ordered) - ordered < top_p)


def _wrong_way_back(p: np.ndarray, top_p: float) -> np.ndarray:
    order = np.argsort(-p, kind="stable")
    return _cut(p, (np.cumsum(p[order]) - p[order] < top_p)[order])


def _kept_alone(p: np.ndarray, top_p: float) -> np.ndarray:
    kept = keep_top_p(p, top_p)
    return kept[kept > 0]


def _even(p: np.ndarray, top_p: float) -> np.ndarray:
    keep = keep_top_p(p, top_p) > 0
    return keep / keep.sum()


def _softmax_again(p: np.ndarray, top_p: float) -> np.ndarray:
    keep = keep_top_p(p, top_p) > 0
    return softmax(np.where(keep, p, -np.inf))


def _softmax_of_zeros(p: np.ndarray, top_p: float) -> np.ndarray:
    return softmax(_not_normalised(p, top_p))


_SHORT = (
    "You stop before the sum reaches top_p. The token that takes it there "
    "is kept too."
)

EXERCISE = Exercise(
    id="16.3",
    cases=_cases,
    solution=keep_top_p,
    run=_run,
    mistakes=(
        Mistake(
            key="stops short",
            diagnosis=f"{_SHORT} And where the first token is above top_p "
            "already, you keep none.",
            wrong=_short,
            also=(_short_strict,),
        ),
        Mistake(
            key="stops short, keeps one",
            diagnosis=_SHORT,
            wrong=_short_or_one,
            also=(_short_strict_or_one,),
        ),
        Mistake(
            key="goes on at the edge",
            diagnosis="Where the sum is exactly top_p you take one token "
            "more. It has reached top_p: stop.",
            wrong=_too_many,
        ),
        Mistake(
            key="one more",
            diagnosis="You keep one token too many: the sum reaches top_p "
            "without the last one.",
            wrong=_one_more,
        ),
        Mistake(
            key="not normalised",
            diagnosis="The right tokens, but what is kept no longer sums to "
            "1. Divide by its sum.",
            wrong=_not_normalised,
        ),
        Mistake(
            key="sorted",
            diagnosis="Your result is in order of probability. Every token "
            "keeps its place: put the numbers back through the order.",
            wrong=_in_order,
        ),
        Mistake(
            key="not sorted",
            diagnosis="You add up in the order of the tokens. Begin with the "
            "likeliest.",
            wrong=_unsorted,
        ),
        Mistake(
            key="rarest",
            diagnosis="You begin with the rarest token. Begin with the "
            "likeliest.",
            wrong=_rarest,
        ),
        Mistake(
            key="threshold",
            diagnosis="You compare each probability with a bound. top_p is "
            "about the sum over the likeliest tokens.",
            wrong=_threshold,
            also=(
                _threshold_left,
                lambda p, top_p: _cut(p, p >= top_p * p.max()),
            ),
        ),
        Mistake(
            key="share of the tokens",
            diagnosis="You keep a share of the tokens, by count. top_p is a "
            "share of the probability.",
            wrong=_share_of_tokens,
            also=(_share_rounded_down, _share_rounded_up),
        ),
        Mistake(
            key="all alike",
            diagnosis="Of tokens that are equally likely you keep all or "
            "none. Keep as few as reach top_p.",
            wrong=_all_alike,
        ),
        Mistake(
            key="mask in rank order",
            diagnosis="What to keep you find in order of probability, but "
            "you use it on tokens in their own order. Put it back: "
            "keep[order] = ...",
            wrong=_in_rank_order,
            also=(_wrong_way_back,),
        ),
        Mistake(
            key="kept alone",
            diagnosis="You return the tokens kept and no others. The result "
            "is as long as p, with 0 for what is dropped.",
            wrong=_kept_alone,
            also=(lambda p, top_p: np.sort(_kept_alone(p, top_p))[::-1],),
        ),
        Mistake(
            key="even",
            diagnosis="The right tokens, but you make them equally likely. "
            "They keep their ratios: divide by the sum.",
            wrong=_even,
        ),
        Mistake(
            key="softmax again",
            diagnosis="You take a softmax of probabilities. They are no "
            "logits: divide what is kept by its sum.",
            wrong=_softmax_again,
            also=(_softmax_of_zeros,),
        ),
        slip(
            "scaled wrongly",
            "What you keep does not sum to 1: divide by its sum.",
            keep_top_p,
            ("kept.sum()", "kept.mean()"),
            ("kept / kept.sum()", "kept * kept.sum()"),
        ),
        slip(
            "nothing dropped",
            "All tokens stay. Keep as few as together reach top_p.",
            keep_top_p,
            ("np.cumsum(p[order]) - p[order]", "p[order] - p[order]"),
            ("np.zeros_like(p)", "p.copy()"),
        ),
        slip(
            "below the threshold",
            "You keep the tokens whose own probability is below top_p. It "
            "is about the sum over the likelier ones.",
            keep_top_p,
            ("np.cumsum(p[order]) - p[order]", "p[order]"),
        ),
    ),
    hints=(
        "Sort the tokens, the likeliest first. When may you stop?",
        "A token is kept if the sum of those before it is still below "
        "top_p. Keep the order from np.argsort, to find the places again.",
        "order = np.argsort(-p); before = np.cumsum(p[order]) - p[order]; "
        "kept are order[before < top_p]. Then divide by the sum.",
    ),
)
