"""Exercise 1.1: a soft lookup of many queries."""

from math import exp

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.reference import softmax


def soft_lookup(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return eq. 1.1 for every query: one row of answers each, (T, Dv).

    q (T, D), k (S, D), v (S, Dv). The scores are plain dot products.
    """
    e = np.exp(q @ k.T)  # (T, S)
    weights = e / e.sum(-1, keepdims=True)
    return weights @ v


def _cases() -> list[Case]:
    cases = []
    for seed, (T, S, D, Dv) in enumerate(
        [(1, 3, 2, 2), (4, 4, 3, 3), (3, 5, 2, 1), (2, 1, 4, 3)]
    ):
        rng = np.random.default_rng(seed)
        args = tuple(rng.normal(size=s) for s in ((T, D), (S, D), (S, Dv)))
        name = f"T = {T}, S = {S}, D = {D}, Dv = {Dv}"
        cases.append(Case(name=name, args=args))
    return cases


def _sum_over(e: np.ndarray, v: np.ndarray, axis: int | None) -> np.ndarray:
    """Exponentials divided by their sum over some axis: the mistakes."""
    return e / e.sum(axis, keepdims=True) @ v


def _no_keepdims(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    e = np.exp(q @ k.T)
    return e / e.sum(-1) @ v


def _divided_last(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    e = np.exp(q @ k.T)
    return e @ v / e.sum(-1)


_TURNED = (
    "Your scores are k @ q.T, shape (S, T). The rows of the result are the "
    "queries: q @ k.T, shape (T, S)."
)

EXERCISE = Exercise(
    id="1.1",
    cases=_cases,
    solution=soft_lookup,
    mistakes=(
        Mistake(
            key="wrong axis",
            diagnosis="You sum the exponentials over the queries. The "
            "weights of one query, over all keys, sum to 1: axis -1.",
            wrong=lambda q, k, v: _sum_over(np.exp(q @ k.T), v, 0),
        ),
        Mistake(
            key="whole matrix",
            diagnosis="You divide by the sum of all exponentials, so that "
            "all queries share a total of 1. Each query, each row, sums to 1 "
            "by itself: sum over axis -1.",
            wrong=lambda q, k, v: _sum_over(np.exp(q @ k.T), v, None),
        ),
        Mistake(
            key="keepdims",
            diagnosis="The row sums have shape (T,), and NumPy lays them "
            "along the columns. Keep the axis: e.sum(-1, keepdims=True) has "
            "shape (T, 1).",
            wrong=_no_keepdims,
            also=(_divided_last,),
        ),
        Mistake(
            key="no softmax",
            diagnosis="The scores themselves weigh the values. Take "
            "exponentials and divide them by their sum first.",
            wrong=lambda q, k, v: q @ k.T @ v,
        ),
        Mistake(
            key="no division",
            diagnosis="The exponentials are not divided by their sum. The "
            "weights of a query must sum to 1.",
            wrong=lambda q, k, v: np.exp(q @ k.T) @ v,
        ),
        Mistake(
            key="no exponential",
            diagnosis="The scores are divided by their sum, without the "
            "exponential. Some of your weights are negative.",
            wrong=lambda q, k, v: _sum_over(q @ k.T, v, -1),
        ),
        Mistake(
            key="hard lookup",
            diagnosis="You return the value of the best key alone: that is "
            "the hard lookup. Here every key contributes, by its weight.",
            wrong=lambda q, k, v: v[(q @ k.T).argmax(-1)],
        ),
        Mistake(
            key="scaled",
            diagnosis="The scores are divided by sqrt(D). That root comes "
            "later in the chapter; eq. 1.1 has plain dot products.",
            wrong=lambda q, k, v: softmax(q @ k.T / q.shape[1] ** 0.5) @ v,
        ),
        Mistake(
            key="scores turned, over rows",
            diagnosis=_TURNED,
            wrong=lambda q, k, v: _sum_over(np.exp(k @ q.T), v, -1),
        ),
        Mistake(
            key="scores turned, over columns",
            diagnosis=_TURNED,
            wrong=lambda q, k, v: _sum_over(np.exp(k @ q.T), v, 0),
        ),
        Mistake(
            key="k not turned",
            diagnosis="Some product does not fit, in none of the cases. q "
            "(T, D) and k (S, D) meet as q @ k.T, which is (T, S); weights "
            "(T, S) and v (S, Dv) meet as weights @ v, which is (T, Dv).",
            wrong=lambda q, k, v: softmax(q @ k) @ v,
        ),
        Mistake(
            key="exp of math",
            diagnosis="exp from the module math takes one number. For arrays "
            "it is np.exp.",
            wrong=lambda q, k, v: exp(q @ k.T),
        ),
        Mistake(
            key="first query only",
            diagnosis="Only one query is answered. Is there a return inside "
            "your loop? There are T answers, one row each.",
            wrong=lambda q, k, v: soft_lookup(q, k, v)[0],
        ),
        Mistake(
            key="values not added up",
            diagnosis="You weigh the values and do not add them up: the "
            "answer of one query is a sum over the keys, Dv numbers.",
            wrong=lambda q, k, v: softmax(q @ k.T)[:, None] * v.T,
        ),
        Mistake(
            key="weights returned",
            diagnosis="These are the weights, (T, S). One step is left: the "
            "mean of the values with these weights, (T, Dv).",
            wrong=lambda q, k, v: softmax(q @ k.T),
        ),
    ),
    hints=(
        "One matrix product holds all the scores. What is its shape, and "
        "along which axis do the weights of one query lie?",
        "e = np.exp(q @ k.T) has one row for each query. Divide each row by "
        "its own sum; keepdims=True makes the shapes fit.",
        "e / e.sum(-1, keepdims=True) are the weights, (T, S). Multiply them "
        "by v with @.",
    ),
)
