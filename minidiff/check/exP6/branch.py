"""Problem P6.3: a second branch, with the same start and first step."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake

Result = tuple[Tensor, Tensor, Tensor, Tensor]


def second_branch(
    W_q: Tensor, W_o: Tensor, lam: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the new queries and W_O, and factors for their learning rates.

    W_q (H D, E) and W_o (E, H D) are those of a plain layer with H heads,
    which may share keys and values in groups. In the new layer, head h
    computes (A1 - lam[h] A2) v with the old keys and values; lam (H,), from 0
    to below 1, is not trained. Results:

    - queries (2 H D, E): head after head, in each the D rows of branch 1,
      then those of branch 2, which begins as a copy of branch 1;
    - W_O (E, H D), with which the layer computes what the plain one does;
    - a factor (H,) for the learning rate of each head's queries, the same in
      both branches, and one (H,) for that of its columns of W_O. With these
      factors, a small step of gradient descent in the queries alone, or in
      W_O alone, changes the outputs as the plain layer's step would.
    """
    H = len(lam)
    queries = torch.stack([W_q.unflatten(0, (H, -1))] * 2, 1).flatten(0, 2)
    scale = 1 / (1 - lam)
    wider = (W_o.unflatten(1, (H, -1)) * scale[:, None]).flatten(1)
    return queries, wider, (1 - lam) ** 2 / (1 + lam**2), scale**2


def _cases() -> list[Case]:
    cases = []
    for seed, (lam, D, E) in enumerate(
        [([0.5], 2, 3), ([0.2, 0.8], 4, 8), ([0.0, 0.5, 0.3], 2, 5)]
    ):
        g = torch.Generator().manual_seed(seed)
        H = len(lam)
        W_q = torch.randn(H * D, E, generator=g).double()
        W_o = torch.randn(E, H * D, generator=g).double()
        name = f"lam = {lam}, D = {D}, E = {E}"
        args = W_q, W_o, torch.tensor(lam).double()
        cases.append(Case(name=name, args=args))
    return cases


def _with(
    queries: Callable[[Tensor, int], Tensor] | None = None,
    out: Callable[[Tensor, Tensor], Tensor] | None = None,
    rate: Callable[[Tensor], Tensor] | None = None,
    out_rate: Callable[[Tensor], Tensor] | None = None,
) -> Callable[[Tensor, Tensor, Tensor], Result]:
    """The solution with some of its results replaced."""

    def answer(W_q: Tensor, W_o: Tensor, lam: Tensor) -> Result:
        a, b, c, d = second_branch(W_q, W_o, lam)
        return (
            a if queries is None else queries(W_q, len(lam)),
            b if out is None else out(W_o, lam),
            c if rate is None else rate(lam),
            d if out_rate is None else out_rate(lam),
        )

    return answer


def _heads(W_o: Tensor, factor: Tensor) -> Tensor:
    """Multiply the columns of each head by its factor."""
    return (W_o.unflatten(1, (len(factor), -1)) * factor[:, None]).flatten(1)


def _pairs(W: Tensor, H: int, second: float) -> Tensor:
    heads = W.unflatten(0, (H, -1))
    return torch.stack((heads, second * heads), 1).flatten(0, 2)


EXERCISE = Exercise(
    id="P6.3",
    cases=_cases,
    solution=second_branch,
    results=("queries", "W_O", "factor of the queries", "factor of W_O"),
    mistakes=(
        Mistake(
            key="branch after branch",
            diagnosis="Your rows are branch 1 of all heads, then branch 2. "
            "They are read head after head, so a head would get the queries "
            "of two heads, perhaps of two groups of keys.",
            wrong=_with(queries=lambda W, H: torch.cat((W, W))),
        ),
        Mistake(
            key="row after row",
            diagnosis="Every row stands twice in succession. In a head the D "
            "rows of branch 1 come first, then the D rows of branch 2.",
            wrong=_with(queries=lambda W, H: W.repeat_interleave(2, 0)),
        ),
        Mistake(
            key="second queries zero",
            diagnosis="The second queries are zero. Their map is then the "
            "mean over all keys, and is no copy of the first.",
            wrong=_with(queries=lambda W, H: _pairs(W, H, 0.0)),
        ),
        Mistake(
            key="W_O left",
            diagnosis="W_O is as before. A head now gives A v - lam A v, only "
            "1 - lam of what it gave.",
            wrong=_with(out=lambda W, lam: W.clone()),
        ),
        Mistake(
            key="W_O made smaller",
            diagnosis="You multiply W_O by 1 - lam. The heads give less by "
            "this factor, so W_O has to be divided by it.",
            wrong=_with(out=lambda W, lam: _heads(W, 1 - lam)),
        ),
        Mistake(
            key="W_O doubled",
            diagnosis="You double W_O. That is right for lam = 1/2 only.",
            wrong=_with(out=lambda W, lam: 2 * W),
        ),
        Mistake(
            key="columns of another head",
            diagnosis="Your factors go round from column to column. The D "
            "columns of a head stand together, and have the same factor.",
            wrong=_with(
                out=lambda W, lam: (
                    W * (1 / (1 - lam)).repeat(W.shape[1] // len(lam))
                )
            ),
        ),
        Mistake(
            key="same rate for the queries",
            diagnosis="The factor of the queries is 1. But W_O is larger, so "
            "are their gradients, and both branches move: the output would "
            "move further than the plain layer's.",
            wrong=_with(rate=torch.ones_like),
        ),
        Mistake(
            key="one branch moves",
            diagnosis="You count the step of branch 1 only. Branch 2 moves "
            "too, by lam times as much, and its change is multiplied by lam "
            "again.",
            wrong=_with(rate=lambda lam: (1 - lam) ** 2),
        ),
        Mistake(
            key="two signs for one",
            diagnosis="That is (1 - lam) / (1 + lam). Either you subtract the "
            "effect of branch 2: its gradient has the opposite sign, and so "
            "has its map in the output, so the effects add up. Or you take "
            "steps that do not depend on the size of a gradient, as AdamW's: "
            "in gradient descent they do.",
            wrong=_with(rate=lambda lam: (1 - lam) ** 2 / (1 - lam**2)),
        ),
        Mistake(
            key="lam once",
            diagnosis="You weigh branch 2 by lam. Lam comes in twice: in its "
            "gradient, and in what its step does to the output.",
            wrong=_with(rate=lambda lam: (1 - lam) ** 2 / (1 + lam)),
        ),
        Mistake(
            key="W_O once",
            diagnosis="You weigh the queries' step by the larger W_O once. It "
            "comes in twice: in the gradient, and in what the step does to "
            "the output.",
            wrong=_with(rate=lambda lam: (1 - lam) / (1 + lam**2)),
        ),
        Mistake(
            key="queries the wrong way round",
            diagnosis="That is how much further the output would move. The "
            "factor of the learning rate is its inverse.",
            wrong=_with(rate=lambda lam: (1 + lam**2) / (1 - lam) ** 2),
        ),
        Mistake(
            key="same rate for W_O",
            diagnosis="The factor of W_O is 1. But the heads give 1 - lam of "
            "what they gave, so the gradient of W_O is smaller, and so is "
            "what a step does.",
            wrong=_with(out_rate=torch.ones_like),
        ),
        Mistake(
            key="1 - lam once for W_O",
            diagnosis="The factor of W_O has 1 - lam once. It comes in twice: "
            "in the gradient, and in what the step does to the output.",
            wrong=_with(out_rate=lambda lam: 1 / (1 - lam)),
        ),
        Mistake(
            key="W_O the wrong way round",
            diagnosis="That is how much less the output would move by a step "
            "of W_O. The factor of the learning rate is its inverse.",
            wrong=_with(out_rate=lambda lam: (1 - lam) ** 2),
        ),
    ),
    hints=(
        "With equal maps a head gives (1 - lam) A v. That settles W_O. Then "
        "let g be the plain layer's gradient of a head's queries: what are "
        "the gradients of the two branches?",
        "They are g / (1 - lam) and -lam g / (1 - lam). A step in branch 1 "
        "acts on the output by 1 / (1 - lam), one in branch 2 by "
        "-lam / (1 - lam). Add up both products.",
        "The output moves (1 + lam**2) / (1 - lam)**2 times as far by the "
        "queries, and (1 - lam)**2 times as far by W_O. The factors are the "
        "inverses.",
    ),
)
