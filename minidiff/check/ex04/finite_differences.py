"""Exercise 4.1: a gradient by central differences."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.imported import own_work
from minidiff.reference import numerical_gradient

Function = Callable[[np.ndarray], float]


def finite_differences(
    f: Callable[[np.ndarray], float], x: np.ndarray, h: float
) -> np.ndarray:
    """Return the gradient of f at x by eq. 4.1, shaped like x.

    f takes an array shaped like x and returns a number; x has any shape,
    float64. Leave x as it was.
    """
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        grad[i] = (f(up) - f(down)) / (2 * h)
    return grad


def _cases() -> list[Case]:
    cases = []
    # Powers of two add and subtract exactly: putting an entry back by
    # arithmetic leaves no trace in it.
    for seed, (shape, h) in enumerate(
        [((3,), 0.5), ((2, 3), 0.25), ((1, 4), 0.125), ((2, 1, 2), 0.25)]
    ):
        rng = np.random.default_rng(seed)
        x = rng.integers(-64, 64, size=shape) / 32
        weights = rng.normal(size=shape)

        def f(x: np.ndarray, weights: np.ndarray = weights) -> float:
            return float((weights * x**3).sum() + x.flat[0] * x.sum() + 2)

        cases.append(Case(name=f"x of shape {shape}, h = {h}", args=(f, x, h)))
    return cases


def _one_side(f: Function, x: np.ndarray, h: float) -> np.ndarray:
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up = x.copy()
        up[i] += h
        grad[i] = (f(up) - f(x)) / h
    return grad


def _rows(f: Function, x: np.ndarray, h: float) -> np.ndarray:
    grad = np.zeros_like(x)
    for i in range(len(x)):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        grad[i] = (f(up) - f(down)) / (2 * h)
    return grad


def _not_put_back(f: Function, x: np.ndarray, h: float) -> np.ndarray:
    x, grad = x.copy(), np.zeros_like(x)
    for i in np.ndindex(x.shape):
        x[i] += h
        above = f(x)
        x[i] -= 2 * h
        grad[i] = (above - f(x)) / (2 * h)
    return grad


def _copied_once(f: Function, x: np.ndarray, h: float) -> np.ndarray:
    up, down, grad = x.copy(), x.copy(), np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up[i] += h
        down[i] -= h
        grad[i] = (f(up) - f(down)) / (2 * h)
    return grad


EXERCISE = Exercise(
    id="4.1",
    cases=_cases,
    solution=finite_differences,
    run=own_work(numerical_gradient),
    mistakes=(
        Mistake(
            key="imported answer",
            diagnosis="You call minidiff's own function. Write the loop "
            "yourself.",
            wrong=lambda f, x, h: numerical_gradient(f, x, h),
        ),
        Mistake(
            key="one side",
            diagnosis="You go up only: (f(x + h) - f(x)) / h. Equation 4.1 "
            "goes up and down, which errs by h squared instead of h.",
            wrong=_one_side,
        ),
        Mistake(
            key="divided by h",
            diagnosis="Everything is twice too large. From x - h to x + h it "
            "is 2h, so divide by 2 * h. Mind the brackets: / 2 * h is "
            "another thing.",
            wrong=lambda f, x, h: 2 * finite_differences(f, x, h),
        ),
        Mistake(
            key="brackets",
            diagnosis="/ 2 * h divides by 2 and then multiplies by h. Write "
            "/ (2 * h).",
            wrong=lambda f, x, h: h**2 * finite_differences(f, x, h),
        ),
        Mistake(
            key="all at once",
            diagnosis="You move all entries together, so each gets the sum "
            "of all slopes. Move one entry at a time.",
            wrong=lambda f, x, h: np.full(
                x.shape, (f(x + h) - f(x - h)) / (2 * h)
            ),
        ),
        Mistake(
            key="one slope",
            diagnosis="You move all entries together and return one number. "
            "Move one entry at a time, and keep a slope for each.",
            wrong=lambda f, x, h: (f(x + h) - f(x - h)) / (2 * h),
        ),
        Mistake(
            key="in one line",
            diagnosis="The slopes are right, but stand in one line. Give "
            "them the shape of x: reshape(x.shape), or start from "
            "np.zeros_like(x).",
            wrong=lambda f, x, h: finite_differences(f, x, h).ravel(),
        ),
        Mistake(
            key="rows at once",
            diagnosis="You move x[i], a whole row where x has more than one "
            "axis. Move one entry at a time: np.ndindex(x.shape) gives all "
            "indices.",
            wrong=_rows,
        ),
        Mistake(
            key="not put back",
            diagnosis="The first entry is right, later ones are not: an "
            "entry stays moved while the next one is measured. Put it back.",
            wrong=_not_put_back,
        ),
        Mistake(
            key="copied once",
            diagnosis="The two copies are made before the loop, so they "
            "drift apart with every entry. Copy x anew for each entry.",
            wrong=_copied_once,
        ),
        Mistake(
            key="same array",
            diagnosis="All zeros: up and down are one and the same array, "
            "because up = x gives x a second name. Take x.copy().",
            wrong=lambda f, x, h: np.zeros_like(x),
        ),
        Mistake(
            key="own step",
            diagnosis="You do not use h, but a step of your own. With the "
            "large h of these cases the difference shows.",
            wrong=lambda f, x, h: finite_differences(f, x, 2.0**-18),
        ),
        Mistake(
            key="sign",
            diagnosis="The sign is wrong: it is up minus down.",
            wrong=lambda f, x, h: -finite_differences(f, x, h),
        ),
    ),
    hints=(
        "What must not change between f(up) and f(down), apart from one "
        "entry?",
        "for i in np.ndindex(x.shape): gives one index after another. "
        "x.copy() makes an array of its own.",
        "up, down = x.copy(), x.copy(); up[i] += h; down[i] -= h; the entry "
        "is (f(up) - f(down)) / (2 * h).",
    ),
    tolerance=1e-7,
)
