"""Exercise 1.4: a whole layer of attention with many heads."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.ex01.causal_map import causal_map
from minidiff.reference import attention_map, softmax


def multi_head(x: np.ndarray, W: np.ndarray, H: int) -> np.ndarray:
    """Return causal attention with H heads, shape (T, E).

    x (T, E); W (4, E, E): the matrices Wq, Wk, Wv and Wo. Head h has columns
    h D to (h + 1) D - 1 of x @ Wq, x @ Wk and x @ Wv, where D = E // H.
    """
    D = x.shape[1] // H
    q, k, v = (x @ w for w in W[:3])  # (T, E) each
    heads = []
    for h in range(H):
        own = slice(h * D, (h + 1) * D)
        heads.append(causal_map(q[:, own], k[:, own]) @ v[:, own])
    return np.hstack(heads) @ W[3]


def _cases() -> list[Case]:
    cases = []
    for seed, (T, E, H) in enumerate(
        [(5, 8, 2), (4, 8, 4), (3, 6, 3), (1, 4, 2), (6, 4, 1)]
    ):
        rng = np.random.default_rng(seed)
        x, W = rng.normal(size=(T, E)), rng.normal(size=(4, E, E))
        name = f"T = {T}, E = {E}, H = {H}"
        cases.append(Case(name=name, args=(x, W, H)))
    return cases


def _layer_like(
    x: np.ndarray,
    W: np.ndarray,
    H: int,
    *,
    cut: str = "right",
    join: str = "right",
    causal: bool = True,
    sharper: float = 1.0,
    again: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> np.ndarray:
    """The layer with something about it changed: the mistakes below."""
    T, E = x.shape

    def heads(y: np.ndarray) -> np.ndarray:
        if cut == "reshape":
            return y.reshape(H, T, E // H)
        if cut == "columns":
            return y.reshape(T, E // H, H).transpose(2, 0, 1)
        if cut == "tokens first":
            return y.reshape(T, H, E // H)
        return y.reshape(T, H, E // H).swapaxes(0, 1)

    q, k, v = (heads(x @ w) for w in W[:3])
    o = again(attention_map(sharper * q, k, causal)) @ v
    if join == "none":
        return o
    if join == "reshape":
        return o.reshape(T, E) @ W[3]
    if join == "columns":
        return o.transpose(1, 2, 0).reshape(T, E) @ W[3]
    if join == "sum":
        return o.sum(0) @ W[3]
    return o.swapaxes(0, 1).reshape(T, E) @ W[3]


def _forget(W: np.ndarray, n: int) -> np.ndarray:
    """W with matrix n replaced by the identity, as if left out."""
    kept = W.copy()
    kept[n] = np.eye(len(W[n]))
    return kept


def _wo(W: np.ndarray) -> np.ndarray:
    """W with its last matrix transposed."""
    return np.stack([*W[:3], W[3].T])


def _blocks(W: np.ndarray, H: int) -> np.ndarray:
    """W of which each head uses only the rows with its own numbers."""
    E = W.shape[1]
    own = np.kron(np.eye(H), np.ones((E // H, E // H)))
    return np.stack([*(W[:3] * own), W[3]])


def _all_reversed(x: np.ndarray, W: np.ndarray, H: int) -> np.ndarray:
    T, E = x.shape
    q, k = ((x @ w).reshape(T, H, E // H).swapaxes(0, 1) for w in W[:2])
    return q @ k.T


_CUT = (
    "You cut with reshape(H, T, D) alone: it deals the numbers out in memory "
    "order, so that a head mixes columns of several tokens. First "
    "reshape(T, H, D), then swap the first two axes."
)
_COLUMNS = (
    "Your head h has every H-th column. It should have D neighbouring "
    "columns: reshape(T, H, D), not (T, D, H)."
)

EXERCISE = Exercise(
    id="1.4",
    cases=_cases,
    solution=multi_head,
    mistakes=(
        Mistake(
            key="cut by reshape",
            diagnosis=_CUT,
            wrong=lambda *a: _layer_like(*a, cut="reshape"),
        ),
        Mistake(
            key="cut and joined by reshape",
            diagnosis=_CUT + " Joining needs the same, backwards.",
            wrong=lambda *a: _layer_like(*a, cut="reshape", join="reshape"),
        ),
        Mistake(
            key="joined by reshape",
            diagnosis="The heads are cut well, but joined by reshape(T, E) "
            "alone, which mixes tokens. The axes are (H, T, D): swap the "
            "first two back before you reshape.",
            wrong=lambda *a: _layer_like(*a, join="reshape"),
        ),
        Mistake(
            key="axes not swapped",
            diagnosis="Your arrays are (T, H, D), so that the heads of one "
            "token attend to each other, and no token to another. Tokens "
            "belong on the last axis but one: (H, T, D).",
            wrong=lambda *a: _layer_like(
                *a, cut="tokens first", join="reshape"
            ),
        ),
        Mistake(
            key="every H-th column",
            diagnosis=_COLUMNS,
            wrong=lambda *a: _layer_like(*a, cut="columns"),
        ),
        Mistake(
            key="every H-th column, and back",
            diagnosis=_COLUMNS,
            wrong=lambda *a: _layer_like(*a, cut="columns", join="columns"),
        ),
        Mistake(
            key="one head",
            diagnosis="This is one head of width E: the columns are not cut. "
            "Each head has a map of its own.",
            wrong=lambda x, W, H: multi_head(x, W, 1),
        ),
        Mistake(
            key="Wo forgotten",
            diagnosis="The heads are not mixed at the end: multiply by Wo.",
            wrong=lambda x, W, H: multi_head(x, _forget(W, 3), H),
        ),
        Mistake(
            key="Wv forgotten",
            diagnosis="The values are x itself. They are x @ Wv.",
            wrong=lambda x, W, H: multi_head(x, _forget(W, 2), H),
        ),
        Mistake(
            key="weights transposed",
            diagnosis="You multiply by the transposes, as torch.nn.Linear "
            "does. Here it is x @ Wq, without .T.",
            wrong=lambda x, W, H: multi_head(x, W.swapaxes(1, 2), H),
            also=(lambda x, W, H: multi_head(x, _wo(W).swapaxes(1, 2), H),),
        ),
        Mistake(
            key="Wo transposed",
            diagnosis="Wo is transposed. The heads side by side, (T, E), are "
            "multiplied by it as it is: o @ Wo.",
            wrong=lambda x, W, H: multi_head(x, _wo(W), H),
        ),
        Mistake(
            key="x is cut",
            diagnosis="You cut x and give each head its own columns. Every "
            "head reads all of x: cut the products x @ Wq, x @ Wk, x @ Wv.",
            wrong=lambda x, W, H: multi_head(x, _blocks(W, H), H),
        ),
        Mistake(
            key="T of three axes",
            diagnosis="Some product does not fit, in none of the cases. If "
            "it is the one of queries and keys: .T reverses all three axes. "
            "Swap the last two: q @ k.swapaxes(-1, -2).",
            wrong=_all_reversed,
        ),
        Mistake(
            key="no scale",
            diagnosis="The scores are not divided by sqrt(D).",
            wrong=lambda *a: _layer_like(
                *a, sharper=(a[0].shape[1] // a[2]) ** 0.5
            ),
        ),
        Mistake(
            key="joined in turn",
            diagnosis="The heads are cut well, but their columns are joined "
            "in turn: first the first column of every head. Swap (H, T, D) "
            "to (T, H, D) before the last reshape.",
            wrong=lambda *a: _layer_like(*a, join="columns"),
        ),
        Mistake(
            key="queries and keys swapped",
            diagnosis="Wq and Wk are swapped: each key asks the queries. W "
            "holds Wq, Wk, Wv and Wo, in this order.",
            wrong=lambda x, W, H: multi_head(x, W[[1, 0, 2, 3]], H),
        ),
        Mistake(
            key="keys as values",
            diagnosis="The maps are multiplied by the keys. What is averaged "
            "are the values, x @ Wv.",
            wrong=lambda x, W, H: multi_head(x, W[[0, 1, 1, 3]], H),
        ),
        Mistake(
            key="heads added",
            diagnosis="The shapes do not fit when H > 1. Each head takes D "
            "columns of x @ Wq. At the end the heads stand side by side "
            "again, E columns, neither added up nor stacked.",
            wrong=lambda *a: _layer_like(*a, join="sum"),
        ),
        Mistake(
            key="no mask",
            diagnosis="Every token sees every other. The maps must be causal.",
            wrong=lambda *a: _layer_like(*a, causal=False),
        ),
        Mistake(
            key="scale by E",
            diagnosis="The scores are divided by sqrt(E). A head is D wide: "
            "sqrt(D).",
            wrong=lambda *a: _layer_like(*a, sharper=a[2] ** -0.5),
        ),
        Mistake(
            key="heads not joined",
            diagnosis="The heads come back apart, (H, T, D). Put them side "
            "by side, (T, E), and multiply by Wo.",
            wrong=lambda *a: _layer_like(*a, join="none"),
        ),
        Mistake(
            key="softmax twice",
            diagnosis="You take the softmax of attention_map, which has "
            "taken it already. Its rows are weights.",
            wrong=lambda *a: _layer_like(*a, again=softmax),
        ),
        Mistake(
            key="scaled twice",
            diagnosis="The scores are divided by sqrt(D) twice. "
            "attention_map does it already.",
            wrong=lambda *a: _layer_like(
                *a, sharper=(a[0].shape[1] // a[2]) ** -0.5
            ),
        ),
    ),
    hints=(
        "x @ Wq has the columns of head 0, then those of head 1, and so on. "
        "Which slice of columns belongs to head h?",
        "With own = slice(h * D, (h + 1) * D), head h gives "
        "causal_map(q[:, own], k[:, own]) @ v[:, own], which is (T, D). Put "
        "the heads side by side with np.hstack, and multiply by Wo.",
        "Without a loop: (x @ W[0]).reshape(T, H, D).swapaxes(0, 1) is "
        "(H, T, D), the same for k and v. At the end o.swapaxes(0, 1)"
        ".reshape(T, E) @ W[3].",
    ),
)
