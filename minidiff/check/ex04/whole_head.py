"""Exercise 4.5: backward through a whole differential head."""

from typing import Any

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.imported import own_work
from minidiff.reference import (
    attention_map,
    diff_attention_backward,
    softmax_backward,
)


def head_backward(
    q1: np.ndarray,
    k1: np.ndarray,
    q2: np.ndarray,
    k2: np.ndarray,
    v: np.ndarray,
    lam: float,
    do: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Return dq1, dk1, dq2, dk2, dv, dlam for o = (A1 - lam A2) v.

    q1, q2 (T, D), k1, k2 (S, D), v (S, Dv), do (T, Dv); both maps are causal.
    Each gradient has the shape of its input; dlam is a number.
    """
    A1, A2 = attention_map(q1, k1), attention_map(q2, k2)
    dA = do @ v.T
    dS1 = softmax_backward(A1, dA) / np.sqrt(q1.shape[1])
    dS2 = softmax_backward(A2, -lam * dA) / np.sqrt(q1.shape[1])
    dv = (A1 - lam * A2).T @ do
    dlam = -(dA * A2).sum()
    return dS1 @ k1, dS1.T @ q1, dS2 @ k2, dS2.T @ q2, dv, dlam


def _cases() -> list[Case]:
    cases = []
    for seed, (T, S, D, Dv, lam) in enumerate(
        [(2, 2, 2, 4, 0.75), (5, 5, 3, 6, 0.2), (3, 6, 4, 5, -0.3)]
    ):
        rng = np.random.default_rng(seed)
        q1, q2 = rng.normal(size=(2, T, D))
        k1, k2 = rng.normal(size=(2, S, D))
        v, do = rng.normal(size=(S, Dv)), rng.normal(size=(T, Dv))
        cases.append(
            Case(
                name=f"T = {T}, S = {S}, D = {D}, Dv = {Dv}, lam = {lam}",
                args=(q1, k1, q2, k2, v, lam, do),
            )
        )
    return cases


def _like(
    q1: np.ndarray,
    k1: np.ndarray,
    q2: np.ndarray,
    k2: np.ndarray,
    v: np.ndarray,
    lam: float,
    do: np.ndarray,
    *,
    causal: bool = True,
    factor: float | None = None,
    means: str = "own",
    scale: tuple[float, float] | None = None,
    value_map: str = "difference",
    dlam: float = -1.0,
) -> tuple[np.ndarray, ...]:
    """The gradients with something about them changed: the mistakes."""
    A1, A2 = attention_map(q1, k1, causal), attention_map(q2, k2, causal)
    A, dA = A1 - lam * A2, do @ v.T
    weights = {
        "own": (A1, A2),
        "none": (0 * A1, 0 * A2),
        "first": (A1, A1),
        "difference": (A, A),
        "times -lam": (A1, -lam * A2),
    }[means]
    m1, m2 = ((dA * w).sum(-1, keepdims=True) for w in weights)
    factor = -lam if factor is None else factor
    to_q, to_k = scale or (q1.shape[1] ** -0.5,) * 2
    dS1, dS2 = A1 * (dA - m1), factor * A2 * (dA - m2)
    W = {"difference": A, "first": A1, "sum": A1 + lam * A2}[value_map]
    return (
        to_q * dS1 @ k1,
        to_k * dS1.T @ q1,
        to_q * dS2 @ k2,
        to_k * dS2.T @ q2,
        W.T @ do,
        dlam * (dA * A2).sum(),
    )


def _one_scaled(*args: Any, branch: int) -> tuple[np.ndarray, ...]:
    """The gradients with the scale in this branch alone."""
    right, bare = _like(*args), _like(*args, scale=(1.0, 1.0))
    parts = (right, bare) if branch == 0 else (bare, right)
    return *parts[0][:2], *parts[1][2:4], *right[4:]


def _one_softmax(
    q1: np.ndarray,
    k1: np.ndarray,
    q2: np.ndarray,
    k2: np.ndarray,
    v: np.ndarray,
    lam: float,
    do: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Pass the difference through the backward of one softmax."""
    A1, A2 = attention_map(q1, k1), attention_map(q2, k2)
    A, dA = A1 - lam * A2, do @ v.T
    dS = softmax_backward(A, dA) / np.sqrt(q1.shape[1])
    out = dS @ k1, dS.T @ q1, -lam * dS @ k2, -lam * dS.T @ q2
    return *out, A.T @ do, -(dA * A2).sum()


def _untransposed(
    q1: np.ndarray,
    k1: np.ndarray,
    q2: np.ndarray,
    k2: np.ndarray,
    v: np.ndarray,
    lam: float,
    do: np.ndarray,
    *,
    keys: bool,
) -> tuple[np.ndarray, ...]:
    """Forget the transpose in both dk, or in dv."""
    out = list(head_backward(q1, k1, q2, k2, v, lam, do))
    A1, A2 = attention_map(q1, k1), attention_map(q2, k2)
    if keys:
        dA = do @ v.T / np.sqrt(q1.shape[1])
        out[1] = softmax_backward(A1, dA) @ q1
        out[3] = softmax_backward(A2, -lam * dA) @ q2
    else:
        out[4] = (A1 - lam * A2) @ do
    return tuple(out)


EXERCISE = Exercise(
    id="4.5",
    cases=_cases,
    solution=head_backward,
    run=own_work(diff_attention_backward),
    results=("dq1", "dk1", "dq2", "dk2", "dv", "dlam"),
    mistakes=(
        Mistake(
            key="imported answer",
            diagnosis="You call minidiff's gradients of the whole operator. "
            "Go back step by step yourself: v, difference, softmaxes, "
            "products.",
            wrong=lambda q1, *a: diff_attention_backward(q1, *a),
        ),
        Mistake(
            key="no scale",
            diagnosis="1 / sqrt(D) is missing. The scores are q k' / "
            "sqrt(D), so both products on the way back carry it.",
            wrong=lambda *a: _like(*a, scale=(1.0, 1.0)),
        ),
        Mistake(
            key="scale on the queries alone",
            diagnosis="The gradients of the keys lack 1 / sqrt(D). It "
            "belongs to the scores, so queries and keys both get it.",
            wrong=lambda *a: _like(*a, scale=(a[0].shape[1] ** -0.5, 1.0)),
        ),
        Mistake(
            key="scale by sqrt(2D)",
            diagnosis="The scores are divided by sqrt(2D) on the way back. "
            "Forward it was sqrt(D), the width of one branch.",
            wrong=lambda *a: _like(
                *a, scale=((2 * a[0].shape[1]) ** -0.5,) * 2
            ),
        ),
        Mistake(
            key="scale by D",
            diagnosis="The products on the way back are divided by D. "
            "Forward the scores were divided by its root.",
            wrong=lambda *a: _like(*a, scale=(1 / a[0].shape[1],) * 2),
        ),
        Mistake(
            key="scale by the length",
            diagnosis="The scale uses q1.shape[0], the number of tokens. D "
            "is q1.shape[1].",
            wrong=lambda *a: _like(*a, scale=(len(a[0]) ** -0.5,) * 2),
        ),
        Mistake(
            key="multiplied by the root",
            diagnosis="The products on the way back are multiplied by "
            "sqrt(D). Divide, as forward.",
            wrong=lambda *a: _like(*a, scale=(a[0].shape[1] ** 0.5,) * 2),
        ),
        Mistake(
            key="scale in one branch",
            diagnosis="1 / sqrt(D) is missing in one of the two branches. "
            "The scores of both were divided by it.",
            wrong=lambda *a: _one_scaled(*a, branch=0),
            also=(lambda *a: _one_scaled(*a, branch=1),),
        ),
        Mistake(
            key="no mask",
            diagnosis="The maps are not causal. attention_map masks unless "
            "causal=False.",
            wrong=lambda *a: _like(*a, causal=False),
        ),
        Mistake(
            key="lam dropped",
            diagnosis="Branch 2's gradients lack lam: the second map enters "
            "the difference with the factor -lam.",
            wrong=lambda *a: _like(*a, factor=-1.0),
        ),
        Mistake(
            key="sign",
            diagnosis="Branch 2's gradients have the wrong sign: the second "
            "map is subtracted.",
            wrong=lambda *a: _like(*a, factor=a[5]),
        ),
        Mistake(
            key="lam and sign dropped",
            diagnosis="Branch 2 is treated like branch 1. It enters with the "
            "factor -lam.",
            wrong=lambda *a: _like(*a, factor=1.0),
        ),
        Mistake(
            key="lam twice",
            diagnosis="-lam stands in branch 2's gradients twice. It is one "
            "factor, on the way from the difference to A2.",
            wrong=lambda *a: _like(*a, factor=a[5] ** 2),
        ),
        Mistake(
            key="lam in the map",
            diagnosis="You hand softmax_backward the map times -lam. It "
            "wants the softmax itself, whose rows sum to 1; -lam belongs to "
            "dA.",
            wrong=lambda *a: _like(*a, means="times -lam"),
        ),
        Mistake(
            key="lam in dlam",
            diagnosis="dlam has a factor lam. lambda enters the difference "
            "as -lam A2, so its slope is -A2.",
            wrong=lambda *a: _like(*a, dlam=-a[5]),
        ),
        Mistake(
            key="transpose forgotten",
            diagnosis="The gradients of the keys need the transposed scores: "
            "dk = dS.T @ q, because key s meets every query of column s.",
            wrong=lambda *a: _untransposed(*a, keys=True),
        ),
        Mistake(
            key="transpose of the map forgotten",
            diagnosis="dv needs the transposed map: dv = (A1 - lam A2).T @ "
            "do, because value s enters every row of column s.",
            wrong=lambda *a: _untransposed(*a, keys=False),
        ),
        Mistake(
            key="means forgotten",
            diagnosis="The row sums are missing: this is rule 2 of the cold "
            "open, in both branches. softmax_backward has them.",
            wrong=lambda *a: _like(*a, means="none"),
        ),
        Mistake(
            key="mean of branch 1",
            diagnosis="Both branches use the row sums of dA * A1. Branch 2's "
            "own are those of dA * A2.",
            wrong=lambda *a: _like(*a, means="first"),
        ),
        Mistake(
            key="mean of the difference",
            diagnosis="Both branches use the row sums of dA with A1 - lam "
            "A2. Each softmax has a mean of its own, weighted by its map.",
            wrong=lambda *a: _like(*a, means="difference"),
        ),
        Mistake(
            key="one softmax",
            diagnosis="You pass A1 - lam A2 through the backward of one "
            "softmax. The difference is not a softmax: its rows sum to 1 - "
            "lam. Pass each map through by itself.",
            wrong=_one_softmax,
        ),
        Mistake(
            key="values of branch 1",
            diagnosis="dv uses A1 alone. The values are multiplied by the "
            "difference, so dv = (A1 - lam A2)' do.",
            wrong=lambda *a: _like(*a, value_map="first"),
        ),
        Mistake(
            key="values of the sum",
            diagnosis="dv uses A1 + lam A2. It is the difference: dv = (A1 - "
            "lam A2)' do.",
            wrong=lambda *a: _like(*a, value_map="sum"),
        ),
        Mistake(
            key="dlam sign",
            diagnosis="dlam has the wrong sign: more lambda means less of "
            "A2, so it is minus the sum of dA * A2.",
            wrong=lambda *a: _like(*a, dlam=1.0),
        ),
        Mistake(
            key="order",
            diagnosis="The results are in the order dq1, dq2, dk1, dk2. "
            "Return dq1, dk1, dq2, dk2, dv, dlam.",
            wrong=lambda *a: tuple(
                head_backward(*a)[i] for i in (0, 2, 1, 3, 4, 5)
            ),
        ),
        Mistake(
            key="queries and keys swapped",
            diagnosis="dq and dk are swapped in each branch. dq = dS k, and "
            "dk = dS' q.",
            wrong=lambda *a: tuple(
                head_backward(*a)[i] for i in (1, 0, 3, 2, 4, 5)
            ),
        ),
    ),
    hints=(
        "Go from the end: which gradient does A = A1 - lam A2 get from o = A "
        "v? Then equation 4.6, then each softmax, then the scores.",
        "dA = do @ v.T; the two maps get dA and -lam * dA; "
        "softmax_backward(A1, dA) is the gradient of branch 1's scores.",
        "With dS1 = softmax_backward(A1, dA) / np.sqrt(D): dq1 = dS1 @ k1, "
        "dk1 = dS1.T @ q1. Branch 2 likewise with -lam * dA; dv = (A1 - lam "
        "* A2).T @ do; dlam = -(dA * A2).sum().",
    ),
)
