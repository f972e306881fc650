"""A wrong answer that no exercise knows is described in general words."""

import numpy as np
import pytest
import torch

from minidiff.check.core import Case, Exercise, check
from minidiff.reference import softmax


def exercise(solution, *cases, **more):
    return Exercise(
        id="0.1",
        cases=lambda: [Case(name=f"case {n}", args=x) for n, x in cases],
        solution=solution,
        mistakes=(),
        hints=("", "", ""),
        **more,
    )


def arrays(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


ROWS = exercise(
    lambda x, lam: lam * x,
    ("A", (arrays(4, 6), 0.5)),
    ("B", (arrays(2, 4, seed=1), 0.25)),
    ("C", (arrays(6, 4, seed=2), 2.0)),
)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda x, lam: -lam * x, "every number has the wrong sign"),
        (lambda x, lam: 3 * lam * x, "the expected one times 3"),
        (lambda x, lam: lam * x + 1, "every number is too large by 1"),
        (lambda x, lam: lam * x * len(x), "expected one times x.shape[0]"),
        (
            lambda x, lam: lam * x / lam**0.5,
            "expected one times 1 / sqrt(lam)",
        ),
        (
            lambda x, lam: lam * x - lam,
            "every number is too small by lam",
        ),
        (lambda x, lam: 1 / (lam * x), "one divided by the expected number"),
        (lambda x, lam: lam * x // 1, "the expected number rounded down"),
        (lambda x, lam: (lam * x) ** 2, "the square of the expected number"),
        (lambda x, lam: 0 * x, "every number is 0"),
        (lambda x, lam: lam * x[:1] + 0 * x, "all rows are equal"),
        (lambda x, lam: lam * x[:, :1] + 0 * x, "all columns are equal"),
        (lambda x, lam: x, "this is the argument x, unchanged"),
        (lambda x, lam: lam * x[::-1], "the rows come in reverse order"),
        (
            lambda x, lam: np.roll(lam * x, 1, 1),
            "the columns are one too late",
        ),
        (
            lambda x, lam: np.hstack(np.split(lam * x, 2, 1)[::-1]),
            "first and the second half of the columns are swapped",
        ),
        (
            lambda x, lam: lam * x[np.argsort(x[:, 0])],
            "the rows are right, but in another order",
        ),
        (
            lambda x, lam: np.sort(lam * x, None).reshape(x.shape),
            "the expected numbers, but in another order",
        ),
        (
            lambda x, lam: (lam * x).T.reshape(x.shape),
            "the numbers of the transposed result",
        ),
        (
            lambda x, lam: lam * x * np.arange(1, len(x) + 1)[:, None],
            "each row is the expected one times its own factor",
        ),
        (
            lambda x, lam: lam * x + np.arange(x.shape[1]),
            "each column is off by a number of its own",
        ),
        (
            lambda x, lam: np.vstack([lam * x[:-1], x[-1:] ** 2]),
            "wrong only in the last row",
        ),
        (
            lambda x, lam: np.hstack([x[:, :1] ** 2, lam * x[:, 1:]]),
            "wrong only in the first column",
        ),
        (
            lambda x, lam: np.where(np.tri(*x.shape) > 0, lam * x, x**2),
            "wrong only above the diagonal",
        ),
        (lambda x, lam: x**2 + x**3, "the result does not depend on lam"),
        (
            lambda x, lam: lam * (x + x**2),
            "if every number of x is doubled, the right result doubles; yours",
        ),
        (
            lambda x, lam: lam * x if lam < 1 else x**2 * lam,
            "right in 2 of 3 cases; wrong with case C",
        ),
    ],
)
def test_what_is_said_of_a_matrix(wrong, says):
    result = check(ROWS, wrong)
    assert result.status == "failed"
    assert result.described
    assert says in result.text
    assert "diagnosis" not in result.text


WEIGHTS = exercise(
    lambda s, v: softmax(s),
    ("A", (arrays(3, 3), 0.5)),
    ("B", (arrays(4, 4, seed=1), 0.5)),
)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            lambda s, v: softmax(s).T,
            "the result is transposed",
        ),
        (
            lambda s, v: softmax(s) ** 2 + softmax(s.T).T,
            "each row of the right result adds up to 1; one of yours",
        ),
        (
            lambda s, v: softmax(s + np.arange(len(s)) * v * s[:, :1]),
            "if 1 is added to every number of s, the right result stays as "
            "it is; yours does not",
        ),
    ],
)
def test_what_is_said_of_weights(wrong, says):
    result = check(WEIGHTS, wrong)
    assert says in result.text
    assert result.described


def test_what_another_row_reaches():
    causal = exercise(
        lambda x, y: np.cumsum(np.tanh(x), 0),
        ("A", (arrays(5, 3), 0)),
        ("B", (arrays(4, 2, seed=1), 0)),
    )
    result = check(causal, lambda x, y: np.tanh(x) * (x * x).mean())
    says = (
        "if only the last row of x changes, the right result changes in the "
        "last row, and yours in every row"
    )
    assert says in result.text


def shares(a, b, c):
    return a / (a + b * c)


SHARES = exercise(
    shares,
    ("A", (1.0, 3.0, 0.5)),
    ("B", (2.0, 5.0, 0.25)),
    ("C", (3.0, 0.5, 2.0)),
)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda a, b, c: (a + b * c) / a, "one divided by the expected"),
        (lambda a, b, c: 1.0, "every number is 1"),
        (lambda a, b, c: a / (a + b / c), "it is right if c is 1"),
        (
            lambda a, b, c: shares(a, b, c) + c,
            "every number is too large by c",
        ),
        (
            lambda a, b, c: shares(a, b, c) + c * np.sin(c),
            "the difference between your numbers and the right ones depends "
            "on c, not on a or b",
        ),
    ],
)
def test_what_is_said_of_single_numbers(wrong, says):
    result = check(SHARES, wrong)
    assert says in result.text
    assert result.described


def test_a_range_tells_only_if_it_holds_for_many_numbers():
    text = "every right number lies between 0 and 1; one of yours is 2.5"
    few = check(SHARES, lambda a, b, c: a + b * c)
    assert text in few.text
    assert not few.described
    many = exercise(lambda x: 1 / (1 + np.exp(-x)), ("A", (arrays(8, 4),)))
    result = check(many, lambda x: 3 * np.cos(x) ** 2 + x)
    assert "every right number lies between 0 and 1" in result.text
    assert result.described


def test_what_the_wrong_cases_have_in_common():
    counted = exercise(
        lambda n, causal: n * (n + 1) // 2 if causal else n * n,
        ("A", (3, False)),
        ("B", (3, True)),
        ("C", (5, False)),
        ("D", (6, True)),
        ("E", (1, True)),
    )
    result = check(counted, lambda n, causal: n * n)
    says = "right in 3 of 5 cases; wrong only with causal = True"
    assert says in result.text
    assert result.described
    result = check(counted, lambda n, causal: n * n + n * causal)
    assert "the difference between your numbers" not in result.text


def test_a_product_of_sizes():
    counted = exercise(
        lambda n, d, m: n * d + m,
        *(
            (str(i), x)
            for i, x in enumerate([(3, 4, 7), (5, 2, 3), (7, 9, 2)])
        ),
    )
    result = check(counted, lambda n, d, m: n * d + m - 2 * n * m)
    assert "every number is too small by 2 * n * m" in result.text
    # Products of 1 and 2 fit many sizes: none is named.
    small = exercise(
        lambda n, d: n + d,
        ("A", (1, 2)),
        ("B", (2, 1)),
        ("C", (2, 2)),
    )
    result = check(small, lambda n, d: n + d + n * d)
    assert "too large" not in result.text


def test_functions_among_the_arguments():
    layer = exercise(
        lambda x, f, g: x + g(f(x)),
        ("A", (arrays(3), lambda x: np.tanh(x), lambda x: x**2)),
        ("B", (arrays(4, seed=1), lambda x: np.exp(x), lambda x: x - 1)),
    )
    text = check(layer, lambda x, f, g: x + g(x)).text
    assert "the result does not depend on f" in text


def test_what_holds_in_one_case_alone_is_said_of_it_alone():
    larger = exercise(
        lambda a, b: max(a, b) + 2.3 * b,
        ("A", (1.0, 4.0)),
        ("B", (5.0, 2.0)),
        ("C", (7.0, 3.0)),
    )
    text = check(larger, lambda a, b: a * a + a * np.sin(b)).text
    says = "if a is doubled, the right result stays as it is; yours does not"
    assert f"{says} (with case A)" in text


def test_one_of_several_results():
    two = exercise(
        lambda x, y: (x * y, x + y, x - y),
        ("A", (arrays(3), arrays(3, seed=1))),
        ("B", (arrays(3, seed=2), arrays(3, seed=3))),
        results=("product", "sum", "difference"),
    )
    text = check(two, lambda x, y: (x * y, x + y, y - x)).text
    assert "only difference is wrong" in text
    assert "difference: every number has the wrong sign" in text
    text = check(two, lambda x, y: (x + y, x * y, x - y)).text
    assert "product and sum are in each other's place" in text
    text = check(two, lambda x, y: (x * y, x * y, x - y)).text
    assert "what you return as sum is product" in text


def test_a_later_case_that_says_more_is_shown():
    mixed = exercise(
        lambda x: x.sum(0),
        ("A", (arrays(3, 3),)),
        ("B", (arrays(2, 4, seed=1),)),
    )
    result = check(mixed, lambda x: x.sum(1))
    assert "tried     case B" in result.text
    assert "got       shape (2,), expected (4,)" in result.text
    assert not result.described


def test_what_narrows_down_without_telling():
    """The first row is right whatever comes after it: that tells nothing."""
    path = exercise(
        lambda start, key: np.vstack([start, arrays(3, 2, seed=len(key))]),
        ("A", (arrays(2), "a")),
        ("B", (arrays(2, seed=1), "bc")),
    )
    result = check(
        path, lambda start, key: np.vstack([start, arrays(3, 2, seed=7)])
    )
    assert "compared  wrong only in the rows after the first" in result.text
    assert not result.described
    assert "diagnosis none" in result.text


def test_random_answers_are_not_tried_with_other_arguments():
    random = np.random.default_rng()
    result = check(SHARES, lambda a, b, c: random.uniform())
    assert not result.described
    assert "compared" not in result.text


def test_trying_other_arguments_leaves_no_trace(capsys):
    calls = []

    def wrong(a, b, c):
        calls.append(a)
        print("called")
        if len(calls) > len(SHARES.cases()):
            np.tanh = np.sin
        return a / (a + b / c)

    tanh = np.tanh
    result = check(SHARES, wrong)
    assert result.described
    assert len(calls) > 3
    assert capsys.readouterr().out.count("called") == 3
    assert np.tanh is tanh


def test_tensors_and_whole_numbers():
    scaled = exercise(
        lambda x, n: x.sum(-1) * n,
        ("A", (torch.from_numpy(arrays(3, 4)), 3)),
        ("B", (torch.from_numpy(arrays(2, 5, seed=1)), 2)),
    )
    result = check(scaled, lambda x, n: x[:, :-1].sum(-1) * n)
    assert "if only the last column of x changes" in result.text
    counted = exercise(
        lambda n, d: n * n * d, ("A", (3, 4)), ("B", (5, 2)), ("C", (7, 6))
    )
    result = check(counted, lambda n, d: n * d + d)
    assert (
        "if n is doubled, the right result becomes 4 times as large; yours "
        "does not" in result.text
    )
