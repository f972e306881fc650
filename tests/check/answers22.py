"""Chapter 22: right and wrong answers written another way than ours."""

import math
import re
from functools import partial

import numpy as np

from minidiff.check.edited import edited

NOT = "not stated"


def trimmed(text):
    return re.sub(r"^\s+|\s*\.?\s*$", "", text)


def named(
    text,
    right,
    others,
    memory,
    trim=trimmed,
    matches=str.__eq__,
    early=(),
    refusal=NOT,
    skip=(),
):
    """Go through a list of pairs; the first that matches names the source."""
    said = trim(text)
    pairs = [("right", right)]
    pairs += [("another document", other) for other in others]
    pairs += [("memory", memory)] * (memory is not None)
    pairs.append((refusal, NOT))
    pairs.sort(key=lambda pair: pair[0] not in early)
    for name, value in pairs:
        if name not in skip and matches(said, value):
            return name
    return "nowhere"


def surest(confidence, right, key=lambda c: -c, good=False, by="answered"):
    """Loop over the answers, the surest first."""
    pairs = sorted(
        zip(confidence, right, strict=True), key=lambda x: key(x[0])
    )
    n, hits, coverage, risk = len(pairs), 0, [], []
    for k, (_, fine) in enumerate(pairs, 1):
        hits += bool(fine) == good
        coverage.append(k / n)
        risk.append(hits / (k if by == "answered" else n))
    return np.array(coverage), np.array(risk)


def by_rank(confidence, right):
    place = [int(sum(confidence > c)) for c in confidence]
    return surest(-np.arange(len(right)), right[place])


def sorted_alone(confidence, right):
    good = sorted(right.tolist(), reverse=True)
    return surest(-np.arange(len(right)), good)


def from_none(confidence, right):
    coverage, risk = surest(confidence, right)
    return coverage - 1 / len(right), risk


def counted(confidence, right):
    coverage, risk = surest(confidence, right)
    return np.round(coverage * len(right)), risk


def backwards(confidence, right):
    coverage, risk = surest(confidence, right)
    return np.flip(coverage), np.flip(risk)


def counts(
    text,
    documents,
    about,
    parts=lambda text: sorted(set(filter(None, text.split(", ")))),
    inside=lambda said, facts: said in facts,
    drop=False,
    missing=None,
    overlap=False,
):
    """Loop over statements and documents."""
    facts = [[" ".join(pair) for pair in d.items()] for d in documents]
    right = elsewhere = nowhere = 0
    said = parts(text)
    for statement in said:
        where = [i for i, own in enumerate(facts) if inside(statement, own)]
        if about in where:
            right += 1
            elsewhere += overlap
        elif where and not drop:
            elsewhere += 1
        else:
            nowhere += 1
    left = [fact for fact in facts[about] if fact not in said]
    if missing is not None:
        return right, elsewhere, nowhere, missing(said, documents[about])
    return right, elsewhere, nowhere, len(left)


def values_counts(text, documents, about):
    own = set(documents[about].values())
    rest = [d for i, d in enumerate(documents) if i != about]
    others = {v for d in rest for v in d.values()}
    said = {x for x in text.split(", ") if x}
    ends = {
        x: next((v for v in own | others if x.endswith(v)), "") for x in said
    }
    right = sum(v in own for v in ends.values())
    there = sum(v in others - own for v in ends.values())
    told = {v for v in ends.values() if v in own}
    return right, there, len(said) - right - there, len(own - told)


def placed(text, documents, about):
    facts = [[" ".join(pair) for pair in d.items()] for d in documents]
    own = dict(enumerate(facts.pop(about)))
    said = list(dict.fromkeys(filter(None, text.split(", "))))
    hits = [own.get(i) == s for i, s in enumerate(said)]
    there = [
        any(s in f for f in facts) and not hit
        for s, hit in zip(said, hits, strict=True)
    ]
    right, elsewhere = sum(hits), sum(there)
    return right, elsewhere, len(said) - right - elsewhere, len(own) - right


def first_enough(
    effect,
    seed_sd,
    p,
    questions,
    t,
    models=2,
    power=2,
    spread=1,
    noise=1,
    root=0.5,
    factor=None,
    choose=min,
    none=lambda t: 0,
    combine=None,
    asked_by_n=True,
):
    """Collect every n that suffices, and choose one."""
    asked = models * p * (1 - p) / questions
    good = []
    for n in t:
        own = spread * seed_sd**power / n
        error = own + noise * asked / (n if asked_by_n else 1)
        if root != 0.5:
            error = (seed_sd**2 + asked) / n ** (2 * root)
        if combine:
            error = combine(seed_sd, asked) / n
        if (factor or t[n]) * math.sqrt(error) < effect:
            good.append(n)
    return choose(good) if good else none(t)


def place_of(effect, seed_sd, p, questions, t):
    n = first_enough(effect, seed_sd, p, questions, t)
    return sorted(t).index(n) if n else 0


RIGHT = {
    "22.1": named,
    "22.2": surest,
    "22.3": counts,
    "22.4": first_enough,
}

WRONG = {
    "22.1": {
        "not cleaned": partial(named, trim=lambda text: text[:]),
        "a space before the full stop": partial(
            named, trim=lambda text: re.sub(r"^\s+|\.?\s*$", "", text)
        ),
        "cut at the first full stop": partial(
            named, trim=lambda text: text.split(".")[0].strip()
        ),
        "a part is enough": partial(
            named, matches=lambda said, value: value.find(said) >= 0
        ),
        "capitals ignored": partial(
            named,
            matches=lambda said, value: said.casefold() == value.casefold(),
        ),
        "memory before the documents": partial(
            named, early=("right", "memory")
        ),
        "refusals first": partial(named, early=(NOT,)),
        "refusals are nowhere": partial(named, refusal="nowhere"),
        "others forgotten": partial(named, skip=("another document",)),
        "memory as text": lambda text, right, others, memory: named(
            text, right, others, f"{memory}"
        ),
        "full stop first": partial(
            named, trim=lambda text: text.removesuffix(".").strip()
        ),
        "refusal for all the rest": edited(
            named, ('return "nowhere"', 'return "not stated"')
        ),
    },
    "22.2": {
        "least sure first": partial(surest, key=lambda c: c),
        "not sorted": partial(surest, key=lambda c: 0),
        "ranks for an order": by_rank,
        "right answers sorted": sorted_alone,
        "right answers counted": partial(surest, good=True),
        "divided by all questions": partial(surest, by="all"),
        "coverage as a count": counted,
        "from no answer": from_none,
        "reversed": backwards,
        "risk as a count": edited(
            surest, ('hits / (k if by == "answered" else n)', "hits")
        ),
        "last answer only": edited(surest, ("hits += ", "hits = ")),
        "coverage upside down": edited(surest, ("k / n)", "n / k)")),
    },
    "22.3": {
        "values alone": values_counts,
        "by place": placed,
        "repetitions counted": partial(
            counts, parts=lambda text: [x for x in text.split(", ") if x]
        ),
        "an empty statement": partial(
            counts, parts=lambda text: sorted(set(text.split(", ")))
        ),
        "mentioned is not left out": partial(
            counts,
            missing=lambda said, own: sum(
                not re.search(rf"(^|, ){name}", ", ".join(said))
                for name in own
            ),
        ),
        "left out by length": partial(
            counts,
            missing=lambda said, own: max(len(own) - len(said), 0),
        ),
        "this document among the others": partial(counts, overlap=True),
        "other documents forgotten": partial(counts, drop=True),
        "a beginning is enough": partial(
            counts,
            inside=lambda said, facts: any(
                fact[: len(said)] == said for fact in facts
            ),
        ),
        "other documents made up": edited(
            counts,
            (
                "            elsewhere += 1\n",
                "            elsewhere += 1\n            nowhere += 1\n",
            ),
        ),
        "made up, but counted elsewhere": edited(
            counts, ("nowhere += 1", "elsewhere += 1")
        ),
        "every statement right": edited(
            counts,
            (
                "return right, elsewhere, nowhere, len(left)",
                "return len(said), elsewhere, nowhere, len(left)",
            ),
        ),
        "facts counted": edited(
            counts, ("nowhere, len(left)", "nowhere, len(facts[about])")
        ),
        "left out the other way": edited(
            counts, ("nowhere, len(left)", "nowhere, elsewhere + nowhere")
        ),
        "counted twice": edited(
            counts, ("elsewhere += overlap", "elsewhere += len(where) > 1")
        ),
        "letters": lambda *a: counts(*a, parts=lambda text: sorted(set(text))),
    },
    "22.4": {
        "one model's questions": partial(first_enough, models=1),
        "questions forgotten": partial(first_enough, noise=0),
        "seeds forgotten": partial(first_enough, spread=0),
        "a standard deviation for a variance": partial(first_enough, power=1),
        "deviations added": partial(
            first_enough, combine=lambda s, v: (s + math.sqrt(v)) ** 2
        ),
        "not divided by n": partial(first_enough, root=0),
        "divided by n outside the root": partial(first_enough, root=1),
        "seeds alone divided by n": partial(first_enough, asked_by_n=False),
        "1.96 for every n": partial(first_enough, factor=1.96),
        "no factor": partial(first_enough, factor=1.0),
        "the place in the table": place_of,
        "the last that suffices": partial(first_enough, choose=max),
        "none, but a number": partial(first_enough, none=max),
        "seed_sd not squared": lambda *a: first_enough(*a, power=3),
        "questions do not help": edited(first_enough, (" / questions", "")),
        "another variance of a share": edited(
            first_enough, ("p * (1 - p)", "p")
        ),
        "equal counts": edited(first_enough, ("< effect", "<= effect")),
        "too wide": edited(first_enough, ("< effect", "> effect")),
        "variance for error": edited(
            first_enough, ("math.sqrt(error)", "error")
        ),
        "grows with n": edited(
            first_enough,
            ("seed_sd**power / n", "seed_sd**power * n"),
            ("(n if asked_by_n else 1)", "(1 / n if asked_by_n else 1)"),
        ),
        "another sign for none": lambda *a: first_enough(
            *a, none=lambda t: -1
        ),
    },
}
