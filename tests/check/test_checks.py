"""The checks are checked: every known mistake gets its own diagnosis."""

import re
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from minidiff import check
from minidiff.check.core import Case, Mistake, known_outcome
from minidiff.check.core import check as run

# Kernels need Triton, which exists for Linux only.
KERNELS = ("09", "10", "11", "12", "13", "P3")
SETS = [s for s in check.sets() if s not in KERNELS or find_spec("triton")]
# Where there is a GPU, kernels are compiled for it, and nobody watches them.
WATCHED = (
    find_spec("triton") is None
    or import_module("minidiff.course.kernels").INTERPRETED
)
ANSWERS = {s: import_module(f"tests.check.answers{s}") for s in SETS}
EXERCISES = [
    e for s in SETS for e in import_module(f"minidiff.check.ex{s}").EXERCISES
]
MISTAKES = [(e, m) for e in EXERCISES for m in e.mistakes]
# Hundreds of wrong kernels in the interpreter: minutes, so not among the
# quick tests. Chapter 13's exercises are plain functions.
INTERPRETED = set(KERNELS) - {"13"}
EACH_MISTAKE = [
    pytest.param(
        e,
        m,
        marks=[pytest.mark.slow] if check.set_of(e.id) in INTERPRETED else [],
    )
    for e, m in MISTAKES
]


def answers(exercise):
    return ANSWERS[check.set_of(exercise.id)]


def name(x):
    return x.key if isinstance(x, Mistake) else getattr(x, "id", None)


def expect_named(result, mistake):
    """The mistake is named, where kernels are watched at work.

    On a GPU nobody sees what is read, or two programs at one element: there
    a wrong answer may pass by luck, or look like another; and a kernel that
    writes nothing looks like none.
    """
    silent = mistake.key == "nothing returned"
    assert silent or result.status != "not attempted", result.text
    if check.set_of(result.id) not in INTERPRETED or WATCHED:
        assert result.status == "failed"
        assert result.mistake == mistake.key, result.text
        assert mistake.diagnosis in result.text


def test_there_is_something_to_check():
    assert {"00", "03", "P1", "P2", "P4"} <= set(SETS)
    assert ("P3" in SETS) == (find_spec("triton") is not None)
    assert len(MISTAKES) > 20


@pytest.mark.parametrize("exercise", EXERCISES, ids=name)
def test_the_solution_passes(exercise):
    result = run(exercise, exercise.solution, known=remembered)
    assert result, result.text


@pytest.mark.parametrize("exercise", EXERCISES, ids=name)
def test_an_independent_right_answer_passes(exercise):
    right = answers(exercise).RIGHT[exercise.id]
    result = run(exercise, right, known=remembered)
    assert result, result.text


@pytest.mark.parametrize("exercise", EXERCISES, ids=name)
def test_enough_mistakes_and_three_hints(exercise):
    assert len(exercise.mistakes) >= 3
    keys = [m.key for m in exercise.mistakes]
    assert len(set(keys)) == len(keys)
    assert set(answers(exercise).WRONG[exercise.id]) == set(keys)
    assert len(set(exercise.hints)) == 3


KNOWN = {}


def remembered(exercise, answer, case):
    """Run a solution or known mistake once per case, not for each answer.

    The answer that is checked always runs, so a known mistake is compared
    with another run of itself.
    """
    key = exercise.id, answer, case.name
    if key not in KNOWN:
        KNOWN[key] = known_outcome(exercise, answer, case)
    return KNOWN[key]


@pytest.mark.parametrize(("exercise", "mistake"), EACH_MISTAKE, ids=name)
def test_a_known_mistake_is_named(exercise, mistake):
    otherwise = answers(exercise).WRONG[exercise.id][mistake.key]
    for wrong in (mistake.wrong, *mistake.also, otherwise):
        expect_named(run(exercise, wrong, known=remembered), mistake)


EX = next(e for e in EXERCISES if e.id == "0.1")


def test_what_a_failure_says():
    result = run(EX, lambda a, b, lam: np.zeros(a.shape))
    for line in ("tried     3 weights", "index     [0]", "number is 0"):
        assert line in result.text
    assert result.mistake is None


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda a, b, lam: 1 / 0, "raised    ZeroDivisionError"),
        (lambda a, b, lam: a[:2], "shape"),
        (lambda a, b, lam: (a, b), "got       2 results, expected 1"),
        (lambda a, b, lam: "text", "got       text, expected an array"),
        (lambda a, b, lam: a.tolist(), "got       a list, expected an array"),
        (
            lambda *x: EX.solution(*x).astype("f4"),
            "dtype float32, expected float64",
        ),
        (lambda a, b, lam: a.astype("f4"), "expected  "),
        (
            lambda a, b, lam: a.fill(0) or a,
            "got       your function changed an argument",
        ),
        (lambda a, b, lam: a * np.nan, "got       nan"),
        ("not a function", "expected the function itself"),
        (lambda a, b, lam: print(a + b), "and should return it"),
        (lambda a, b, lam: a - lam * b if len(a) == 3 else None, "missing?"),
    ],
)
def test_answers_that_go_wrong_otherwise(answer, says):
    result = run(EX, answer)
    assert result.status == "failed"
    assert says in result.text


def test_a_wrong_dtype_hides_no_mistake():
    mistake = EX.mistakes[0]
    result = run(EX, lambda *x: mistake.wrong(*x).astype("f4"))
    assert result.mistake == mistake.key
    assert "dtype" not in result.text
    # A dtype that is wrong in the first case, and numbers in the second.
    some = replace(EX, cases=lambda: EX.cases()[:2], mistakes=())
    first = some.cases()[0].args[0].shape
    result = run(
        some,
        lambda a, b, lam: (
            EX.solution(a, b, lam).astype("f4") if a.shape == first else a
        ),
    )
    assert "dtype" not in result.text
    # A mistake that a float32 cannot tell from the right numbers.
    near = replace(
        mistake, wrong=lambda a, b, lam: EX.solution(a, b, lam) + 1e-7
    )
    close = replace(EX, mistakes=(near,))
    result = run(close, lambda *x: EX.solution(*x).astype("f4"))
    assert result.mistake is None
    assert "dtype float32, expected float64" in result.text


def test_a_narrow_dtype_behind_a_converting_run_is_named_last():
    wide = replace(EX, run=lambda f, *x: np.asarray(f(*x), float), mistakes=())
    result = run(wide, lambda *x: EX.solution(*x).astype("f4"))
    assert "returned  float32 array; expected float64 array" in result.text
    result = run(wide, lambda a, b, lam: a.astype("f4"))
    assert "returned" not in result.text
    assert "expected  " in result.text


def raises_elsewhere(a, b, lam):
    half = np.split(a, 2)  # raised inside NumPy
    return half[0]


def test_an_exception_shows_the_line_of_the_answer():
    text = run(EX, raises_elsewhere).text
    assert "raised    ValueError: array split does not" in text
    assert "in line   half = np.split(a, 2)  # raised inside NumPy\n" in text
    # Code without a source has no line to show.
    names = {}
    exec("def divide(a, b, lam): return 1 / 0", names)
    text = run(EX, names["divide"]).text
    assert "ZeroDivisionError" in text
    assert "in line" not in text


def documented(a, b, lam):
    """Say what is to be done."""


def without_return(a, b, lam):
    """Say what is to be done."""
    out = a - lam * b  # noqa: F841


class WithoutReturn(torch.nn.Module):
    def forward(self, a, b, lam):
        out = a - lam * b  # noqa: F841


class Untouched(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))

    def forward(self, a, b, lam):
        """Say what is to be done."""


def test_a_forgotten_return_is_told_from_an_untouched_stub():
    assert run(EX, documented).status == "not attempted"
    result = run(EX, without_return)
    assert result.status == "failed"
    assert "got       None: is the `return` missing?" in result.text
    built = replace(EX, run=lambda model, *args: model()(*args))
    assert run(built, Untouched).status == "not attempted"
    assert run(built, WithoutReturn).status == "failed"


def test_api_prints_and_returns(capsys):
    assert not check.ex03_1(lambda a, b, lam: None)
    assert "not attempted" in capsys.readouterr().out
    check.hint("3.1")
    assert "3.1, hint 1: " in capsys.readouterr().out
    check.hint("3.1", 2)
    assert capsys.readouterr().out.startswith("3.1, hint 2: ")
    check.solution("3.1")
    assert "def perfect_partner" in capsys.readouterr().out
    check.report()
    assert '"3.1": "not attempted"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: check.hint("3.1", 4), ValueError, "level: got 4"),
        (lambda: check.hint("3.99", 1), ValueError, "one of 3.1, 3.2"),
        (lambda: check.solution("x"), ValueError, "exercise_id: got 'x'"),
        (lambda: check.ex03_99, AttributeError, "one of 3.1"),
        (lambda: check.hint("P1.99", 1), ValueError, "one of P1.1, P1.2"),
        (lambda: check.solution("P9.1"), ValueError, "exercise_id: got 'P9.1"),
        (lambda: check.exP1_99, AttributeError, "one of P1.1"),
        (lambda: check.hint(3.1, 1), TypeError, "got 3.1, expected text"),
        (lambda: check.other, AttributeError, "'other'"),
    ],
)
def test_wrong_names_are_refused(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_a_near_miss_is_told_from_the_answer():
    result = run(EX, lambda a, b, lam: EX.solution(a, b, lam) + 1e-8)
    expected, got = re.findall(r"(?:expected|got) +(\S+)", result.text)
    assert expected != got


def test_arguments_inside_arguments_are_watched_too():
    def first(blocks):
        return blocks[0][0]

    def fill(blocks):
        out = blocks[0][0].copy()
        blocks[1][0][:] = 0
        return out

    def cases():
        return [Case(name="two", args=([(np.ones(2),), (np.ones(2),)],))]

    nested = replace(EX, cases=cases, solution=first, mistakes=())
    assert run(nested, first)
    assert "changed an argument" in run(nested, fill).text


def test_another_exception_is_another_mistake():
    def wrong(a, b, lam):
        raise KeyError

    mistake = Mistake(key="k", diagnosis="the diagnosis", wrong=wrong)
    exercise = replace(EX, mistakes=(mistake,))
    assert run(exercise, lambda *x: {}["x"]).mistake == "k"
    assert run(exercise, lambda *x: 1 / 0).mistake is None


def test_one_of_several_results_is_named():
    pair = replace(EX, solution=lambda a, b, lam: (a, b))
    result = run(pair, lambda a, b, lam: (a, b + 1))
    assert "result    number 2" in result.text
    named = replace(pair, results=("loss", "valid_loss"))
    result = run(named, lambda a, b, lam: (a, b + 1))
    assert "result    valid_loss" in result.text
    assert "got       1 result, expected 2" in run(pair, lambda *x: x[0]).text
