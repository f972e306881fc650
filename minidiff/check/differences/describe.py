"""What is true of a wrong answer in all the cases, in a few words."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from minidiff.check.compare import as_array
from minidiff.check.differences.cases import cases
from minidiff.check.differences.change import Probe, is_real, is_whole
from minidiff.check.differences.finding import Finding, listed
from minidiff.check.differences.order import order
from minidiff.check.differences.pair import Pair, distinct
from minidiff.check.differences.place import is_vague, place
from minidiff.check.differences.properties import FORM, RANGE, lost
from minidiff.check.differences.relation import relation
from minidiff.check.differences.response import response

Table = Mapping[str, Sequence[Pair]]  # the pairs of each result, by its name


def describe(table: Table, probe: Callable[[str], Probe]) -> list[Finding]:
    """Return sentences on what is wrong; [] if there is none to say.

    ``probe(name)`` tries other arguments and looks at the result ``name``.
    """
    wrong = {
        name: [p for p in pairs if p.wrong.any()]
        for name, pairs in table.items()
    }
    wrong = {name: pairs for name, pairs in wrong.items() if pairs}
    if not wrong:
        return []
    swapped = _swapped(table, wrong)
    if swapped:
        return [Finding(swapped)]
    found = []
    if len(wrong) < len(table):
        verb = "is" if len(wrong) == 1 else "are"
        found.append(Finding(f"only {listed(list(wrong))} {verb} wrong"))
    name, pairs = next(iter(wrong.items()))
    how = _numbers_differ(table[name], pairs, probe(name))
    before = f"{name}: " if len(table) > 1 else ""
    found += [Finding(before + x.text, x.telling) for x in how]
    some = cases(table[name], pairs)
    return found + ([some] if some and len(found) < 2 else [])


def _numbers_differ(
    pairs: Sequence[Pair], wrong: Sequence[Pair], probe: Probe
) -> list[Finding]:
    """Say how one result differs in all of the ``wrong`` cases."""
    text = _argument(wrong) or order(wrong) or relation(wrong)
    if text:
        return [Finding(text)]
    where = place(wrong)
    if where and not is_vague(where):
        return [Finding(where)]
    found = [Finding(where, telling=False)] if where else []
    if text := lost(FORM, pairs, wrong):
        return [*found, Finding(text)]
    seen = response(wrong, probe)
    if not (seen and seen.telling) and (text := lost(RANGE, pairs, wrong)):
        # A few numbers lie in a range by accident.
        many = sum(p.want.size for p in pairs) >= 12
        return [*found, Finding(text, telling=many)]
    return [*found, *([seen] if seen else [])]


def _swapped(table: Table, wrong: Table) -> str | None:
    """Two results in each other's place, or one in the place of another."""
    for a in wrong:
        for b in table:
            if a == b or not _is_result(table, a, b):
                continue
            if b in wrong and _is_result(table, b, a):
                return f"{a} and {b} are in each other's place"
            return f"what you return as {a} is {b}"
    return None


def _is_result(table: Table, a: str, b: str) -> bool:
    pairs = list(zip(table[a], table[b], strict=True))
    some = any(distinct(q.want) > 1 for q in table[b])
    several = distinct(np.concatenate([q.want.ravel() for q in table[b]])) > 1
    return (some or several) and all(p.is_like(q.want) for p, q in pairs)


def _argument(pairs: Sequence[Pair]) -> str | None:
    """An argument that comes back unchanged."""
    if distinct(np.concatenate([p.got.ravel() for p in pairs])) < 2:
        return None
    for name in pairs[0].args:
        given = [p.args.get(name) for p in pairs]
        if all(
            (is_real(x) or is_whole(x)) and p.is_like(as_array(x))
            for p, x in zip(pairs, given, strict=True)
        ):
            return f"this is the argument {name}, unchanged"
    return None
