"""Exercise 27.4: a second branch that changes no output."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip

Weights = tuple[Tensor, Tensor, Tensor]


def mirrored(
    W_q: Tensor, W_o: Tensor, H: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return V2's matrices of queries, of lambda and W_O, for a plain layer.

    W_q (H D, E) and W_o (E, H D) are the plain layer's, with H heads. The
    results are (2 H D, E), (H, E) and (E, H D). The rows of V2's queries are
    head after head, in each the D rows of branch 1 and then those of branch
    2; lambda is sigmoid(W_lambda x) for each token and head. Branch 2 begins
    as a copy of branch 1, all tokens begin with the same lambda, and the
    layer computes what the plain layer computes. Keys and values stay.
    """
    twice = torch.stack([W_q.unflatten(0, (H, -1))] * 2, 1)
    return twice.flatten(0, 2), W_q.new_zeros(H, W_q.shape[1]), 2 * W_o


def _cases() -> list[Case]:
    cases = []
    for seed, (H, D, E) in enumerate([(1, 2, 3), (2, 4, 8), (3, 2, 5)]):
        generator = torch.Generator().manual_seed(seed)
        W_q = torch.randn(H * D, E, generator=generator).double()
        W_o = torch.randn(E, H * D, generator=generator).double()
        name = f"H = {H}, D = {D}, E = {E}"
        cases.append(Case(name=name, args=(W_q, W_o, H)))
    return cases


def _with(
    queries: Callable[[Tensor, int], Tensor] | None = None,
    factor: float = 2.0,
    gate: float = 0.0,
) -> Callable[..., Weights]:
    """Another layout, factor of W_O or start of lambda's matrix."""

    def answer(W_q: Tensor, W_o: Tensor, H: int) -> Weights:
        q, zero, _ = mirrored(W_q, W_o, H)
        if queries is not None:
            q = queries(W_q, H)
        return q, zero + gate, factor * W_o

    return answer


def _pairs(W_q: Tensor, H: int, second: float) -> Tensor:
    heads = W_q.unflatten(0, (H, -1))
    return torch.stack((heads, second * heads), 1).flatten(0, 2)


EXERCISE = Exercise(
    id="27.4",
    cases=_cases,
    solution=mirrored,
    results=("queries", "W_lambda", "W_O"),
    mistakes=(
        Mistake(
            key="branch after branch",
            diagnosis="Your rows are branch 1 of all heads, then branch 2. "
            "V2 reads head after head, so a head would get the queries of two "
            "heads: both branches of a head stand together.",
            wrong=_with(lambda W, H: torch.cat((W, W))),
        ),
        Mistake(
            key="row after row",
            diagnosis="Every row stands twice in succession. In a head the D "
            "rows of branch 1 come first, then the D rows of branch 2.",
            wrong=_with(lambda W, H: W.repeat_interleave(2, 0)),
        ),
        Mistake(
            key="second queries zero",
            diagnosis="The second queries are zero. Then the second map is "
            "not empty: it is the mean over all keys, and it is subtracted.",
            wrong=_with(lambda W, H: _pairs(W, H, 0.0)),
        ),
        Mistake(
            key="second queries negated",
            diagnosis="The second queries have the opposite sign. Their map "
            "looks where the first does not; it is no copy.",
            wrong=_with(lambda W, H: _pairs(W, H, -1.0)),
        ),
        Mistake(
            key="W_O left",
            diagnosis="W_O is as before. With lambda = 1/2 a head gives "
            "A v - A v / 2, half of what it gave.",
            wrong=_with(factor=1.0),
        ),
        Mistake(
            key="W_O halved",
            diagnosis="W_O is halved. The heads give half of what they gave, "
            "so W_O has to make up for it.",
            wrong=_with(factor=0.5),
        ),
        Mistake(
            key="lambda one half in the matrix",
            diagnosis="Lambda's matrix is filled with one half. The sigmoid "
            "comes after it, and the product depends on the token: lambda is "
            "1/2 for all tokens if the matrix is zero.",
            wrong=_with(gate=0.5),
        ),
        Mistake(
            key="lambda meant to be zero",
            diagnosis="Large negative weights do not make lambda 0: their "
            "product with x has either sign. A matrix without a bias gives "
            "all tokens one lambda only if it is zero.",
            wrong=_with(factor=1.0, gate=-100.0),
            also=(_with(factor=1.0, gate=-10.0), _with(gate=-100.0)),
        ),
        slip(
            "heads cut at the wrong place",
            "The rows of W_q are not cut into H heads: head h has its rows "
            "h D to (h + 1) D.",
            mirrored,
            ("W_q.unflatten(0, (H, -1))", "W_q.unflatten(0, (-1, H))"),
        ),
        slip(
            "W_O by another factor",
            "W_O is not scaled by what the head has lost. With lambda = "
            "1/2, which share of A v does a head give?",
            mirrored,
            ("2 * W_o", "2 / W_o"),
            ("2 * W_o", "2 + W_o"),
            ("2 * W_o", "3 * W_o"),
            ("2 * W_o", "1.5 * W_o"),
            ("2 * W_o", "4 * W_o"),
        ),
    ),
    hints=(
        "Which matrix W_lambda gives every token the same lambda? Which "
        "lambda is it?",
        "sigmoid(0) = 1/2. With two equal maps a head gives A v - A v / 2. "
        "What makes up for it?",
        "W_lambda is zero, W_O is doubled, and the queries are "
        "torch.stack([W_q.unflatten(0, (H, -1))] * 2, 1).flatten(0, 2).",
    ),
)
