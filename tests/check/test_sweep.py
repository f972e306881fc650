"""The sweep of wrong answers counts what a check says of each."""

from dataclasses import replace

import pytest
from mutants import mutants, plain
from sweep import changed_line, sweep

from minidiff.check.compare import source_of
from minidiff.check.core import Case, Exercise, Mistake


def share(part, whole):
    """Return the share of a whole, in percent."""
    if part <= 0:
        return 0
    return 100 * part / whole


CASES = [(1, 2), (3, 4), (-1, 4)]
EXERCISE = Exercise(
    id="0.1",
    cases=lambda: [Case(name=str(args), args=args) for args in CASES],
    solution=share,
    mistakes=(
        Mistake(
            key="not in percent",
            diagnosis="Multiply by 100.",
            wrong=lambda part, whole: part / whole if part > 0 else 0,
        ),
    ),
    hints=("", "", ""),
)


def test_survivors_are_printed_and_the_others_counted():
    count = sweep(EXERCISE)
    # No case has a part of 0.
    survivor = "    - if part <= 0:\n    + if part < 0:"
    assert survivor in count.survived
    said = next(x for x in count.compared if "+ return 100 / whole" in x)
    assert "the result does not depend on part" in said
    assert count.unnamed == []
    assert (count.diagnosed, count.told) == (1, 2)
    total = len(list(mutants(source_of(share))))
    assert count.failed + len(count.survived) == total


def scattered(n):
    """Return a number that follows from n by no simple rule."""
    return n * 7919 % 1009


def test_what_shows_only_unequal_numbers_is_unnamed():
    exercise = replace(
        EXERCISE,
        cases=lambda: [Case(name=str(n), args=(n,)) for n in (3, 17, 911)],
        solution=scattered,
        mistakes=(),
    )
    count = sweep(exercise)
    assert any("+ return n * 7920 % 1009" in line for line in count.unnamed)
    assert "100%" not in count.row("0.1")


def test_another_case_catches_a_survivor():
    more = [*CASES, (0, 0)]
    exercise = replace(
        EXERCISE, cases=lambda: [Case(name=str(x), args=x) for x in more]
    )
    count = sweep(exercise)
    assert not any("part < 0" in line for line in count.survived)
    assert count.told > 0  # it divides by 0 there


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("a[:, None] * b", "a * b"),
        ("a[:, None] * b", "a[:, None] / b"),
        ("a - b", "b - a"),
        ("a - b", "a"),
        ("a <= b", "a < b"),
        ("np.exp(a)", "a"),
        ("a.astype(int)", "a"),
        ("a.max(0, keepdims=True)", "a.max(0)"),
        ("a.max(-1)", "a.max(1)"),
        ("a.max(-1)", "a.min(-1)"),
        ("f(a, b)", "f(b, a)"),
        ("(a, b)", "(b, a)"),
        ("a[1:n]", "a[:n]"),
        ("a[1:n]", "a[1:n + 1]"),
        ("a if b else c", "a"),
        ("sum(x for x in a if x)", "sum((x for x in a))"),
        ("a", "np.float32(a)"),
    ],
)
def test_each_kind_of_change_is_made(right, wrong):
    source = f"def f(a, b):\n    return {right}"
    expected = plain(f"def f(a, b):\n    return {wrong}")
    found = list(mutants(source, {"np"}))
    assert expected in found
    assert len(set(found)) == len(found)
    assert plain(source) not in found
    assert not any("return np\n" in text + "\n" for text in found)


def test_a_diff_is_one_line():
    old, new = "def f():\n    x = 1\n    return x", "def f():\n    return 2"
    line = changed_line(old, new)
    assert line == "    - x = 1\n    + return 2"
