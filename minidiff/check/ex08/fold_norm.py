"""Exercise 8.5: a norm's weight moves into the matrix after it."""

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake


def fold_norm(W: Tensor, g: Tensor) -> Tensor:
    """Return W (E, H * 2D) with the norm's weight g (2D,) moved into it.

    m (T, H * 2D) holds heads side by side. Until now each head is multiplied
    by g, then all by W.T. With the result W2, m @ W2.T must give the same.
    """
    H = W.shape[1] // g.shape[0]
    return W * g.repeat(H)


def _cases() -> list[Case]:
    cases = []
    for seed, (E, H, n) in enumerate([(4, 1, 4), (6, 3, 2), (8, 2, 8)]):
        generator = torch.Generator().manual_seed(seed)
        W = torch.randn(E, H * n, generator=generator).double()
        g = torch.randn(n, generator=generator).double()
        cases.append(Case(name=f"E = {E}, H = {H}, 2D = {n}", args=(W, g)))
    return cases


def _heads(W: Tensor, g: Tensor) -> int:
    return W.shape[1] // g.shape[0]


EXERCISE = Exercise(
    id="8.5",
    cases=_cases,
    solution=fold_norm,
    mistakes=(
        Mistake(
            key="interleaved",
            diagnosis="Each entry of g is repeated H times in a row. The "
            "heads stand side by side, so g as a whole is repeated: "
            ".repeat, not .repeat_interleave.",
            wrong=lambda W, g: W * g.repeat_interleave(_heads(W, g)),
        ),
        Mistake(
            key="rows",
            diagnosis="You multiply rows. A row of W makes one output; g "
            "belongs to what comes in, the columns.",
            wrong=lambda W, g: W * g[:, None],
        ),
        Mistake(
            key="not repeated",
            diagnosis="g has 2D entries and W has H * 2D columns. All heads "
            "share g: repeat it once for each head.",
            wrong=lambda W, g: W * g,
        ),
        Mistake(
            key="first head only",
            diagnosis="Only the first head's columns are multiplied. All "
            "heads share g.",
            wrong=lambda W, g: torch.cat(
                [W[:, : len(g)] * g, W[:, len(g) :]], 1
            ),
        ),
        Mistake(
            key="divided",
            diagnosis="You divide by g. Without it the heads arrive too "
            "small by the factor g, so W must bring it in.",
            wrong=lambda W, g: W / g.repeat(_heads(W, g)),
        ),
        Mistake(
            key="heads kept apart",
            diagnosis="The numbers are right, but the columns are still "
            "cut into heads: flatten(1).",
            wrong=lambda W, g: W.unflatten(1, (-1, len(g))) * g,
        ),
        Mistake(
            key="W changed",
            diagnosis="You change W itself, as *= and mul_ do. Return a new "
            "tensor: W * ...",
            wrong=lambda W, g: W.mul_(g.repeat(_heads(W, g))),
        ),
        Mistake(
            key="transposed",
            diagnosis="The result is transposed: W2 has the shape of W.",
            wrong=lambda W, g: (W * g.repeat(_heads(W, g))).T,
        ),
    ),
    hints=(
        "(m * g) @ W.T: write out one entry of it as a sum. Whom can g be "
        "given to?",
        "Column j of W meets channel j of the merged heads, whose g is "
        "g[j % 2D].",
        "W * g.repeat(H), with H = W.shape[1] // g.shape[0].",
    ),
)
