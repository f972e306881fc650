"""Problem P6.1: how far int8 keys can move a difference of two maps."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def error_bound(q: Tensor, k: Tensor, lam: float) -> Tensor:
    """Return how far int8 keys can move each row of A1 - lam A2, (H, T).

    q, k (H, 2, T, D): of H causal heads, with logits q k' / sqrt(D). lam may
    be negative. Before the keys are stored they lose their mean over the T
    tokens, for each head and branch by itself. The codes are int8, with a
    scale for each token, head and branch: its largest absolute number
    becomes 127 or -127. Rounding moves a number by at most half a step, and
    a step is the scale. The queries stay exact.

    First bound the error of every logit that a query sees, for each branch.
    If no logit of a row moves by more than e, then the weights of its softmax
    move by at most e, absolute values added up. The result bounds the sum of
    the absolute errors of a row of A1 - lam A2.
    """
    centred = k - k.mean(2, keepdim=True)
    steps = centred.abs().amax(-1) / 127
    largest = steps.cummax(-1).values  # among the keys that a query sees
    e = q.abs().sum(-1) * largest / 2 / q.shape[-1] ** 0.5
    return e[:, 0] + abs(lam) * e[:, 1]


def _cases() -> list[Case]:
    cases = []
    for seed, (H, T, D, lam) in enumerate(
        [(1, 3, 4, 0.5), (2, 5, 8, 0.8), (3, 7, 2, -0.3), (1, 2, 3, 1.2)]
    ):
        g = torch.Generator().manual_seed(seed)
        q, k = torch.randn(2, H, 2, T, D, generator=g).double()
        k *= 1 + torch.rand(H, 2, T, 1, generator=g)  # tokens of all sizes
        k += 3 * torch.randn(H, 2, 1, D, generator=g)  # and an offset
        name = f"H = {H}, T = {T}, D = {D}, lam = {lam}"
        cases.append(Case(name=name, args=(q, k, lam)))
    return cases


Part = Callable[[Tensor], Tensor]


def _with(
    centre: Part = lambda k: k - k.mean(2, keepdim=True),
    size: Part = lambda k: k.abs().amax(-1) / 127,
    seen: Part = lambda steps: steps.cummax(-1).values,
    norm: Part = lambda q: q.abs().sum(-1) / q.shape[-1] ** 0.5,
    half: float = 0.5,
    join: Callable[[Tensor, Tensor, float], Tensor] = lambda e1, e2, lam: (
        e1 + abs(lam) * e2
    ),
) -> Callable[[Tensor, Tensor, float], Tensor]:
    """The same steps, one of them otherwise."""

    def answer(q: Tensor, k: Tensor, lam: float) -> Tensor:
        e = norm(q) * seen(size(centre(k))) * half
        return join(e[:, 0], e[:, 1], lam)

    return answer


EXERCISE = Exercise(
    id="P6.1",
    cases=_cases,
    solution=error_bound,
    mistakes=(
        Mistake(
            key="errors subtracted",
            diagnosis="You subtract the bounds as the maps are subtracted. A "
            "rounding error may have either sign, so in the worst case the "
            "two add up: e1 + |lam| e2.",
            wrong=_with(join=lambda e1, e2, lam: e1 - lam * e2),
            also=(_with(join=lambda e1, e2, lam: (e1 - lam * e2).abs()),),
        ),
        Mistake(
            key="sign of lam",
            diagnosis="With a negative lam your bound becomes smaller. An "
            "error counts by its size: |lam|.",
            wrong=_with(join=lambda e1, e2, lam: e1 + lam * e2),
        ),
        Mistake(
            key="lam forgotten",
            diagnosis="You add the error of branch 2 whole. Its map is "
            "multiplied by lam, and so is its error.",
            wrong=_with(join=lambda e1, e2, lam: e1 + e2),
        ),
        Mistake(
            key="larger branch only",
            diagnosis="You take the larger of the two errors. In the worst "
            "case both occur, and they add up.",
            wrong=_with(
                join=lambda e1, e2, lam: torch.maximum(e1, abs(lam) * e2)
            ),
        ),
        Mistake(
            key="root of squares",
            diagnosis="The root of the sum of squares is what independent "
            "errors usually do. A bound is for the worst case: they add up.",
            wrong=_with(
                join=lambda e1, e2, lam: (e1**2 + (lam * e2) ** 2).sqrt()
            ),
        ),
        Mistake(
            key="mean kept",
            diagnosis="You quantise the keys with their mean. Without it the "
            "scales are smaller and the softmax is the same.",
            wrong=_with(centre=lambda k: k),
        ),
        Mistake(
            key="one mean for both branches",
            diagnosis="You subtract one mean from the keys of both branches. "
            "Each softmax allows a mean of its own: for each head and branch.",
            wrong=_with(centre=lambda k: k - k.mean((1, 2), keepdim=True)),
        ),
        Mistake(
            key="mean over the width",
            diagnosis="You subtract from each key the mean of its D numbers. "
            "That changes the logits of keys differently. The mean is one "
            "vector, over the tokens.",
            wrong=_with(centre=lambda k: k - k.mean(-1, keepdim=True)),
        ),
        Mistake(
            key="mean over the heads",
            diagnosis="You subtract a mean over the heads. It is over the "
            "tokens, axis 2, for each head by itself.",
            wrong=_with(centre=lambda k: k - k.mean(0, keepdim=True)),
            also=(_with(centre=lambda k: k - k.mean((0, 2), keepdim=True)),),
        ),
        Mistake(
            key="keys of the future",
            diagnosis="You use the largest step of all tokens. Each token has "
            "its own, and a query sees only the keys up to its own.",
            wrong=_with(seen=lambda s: s.amax(-1, keepdim=True)),
        ),
        Mistake(
            key="own key only",
            diagnosis="You use the step of the query's own key. A query sees "
            "all earlier keys too, and the largest step counts.",
            wrong=_with(seen=lambda s: s),
        ),
        Mistake(
            key="whole step",
            diagnosis="You take a whole step. Rounding to the nearest moves a "
            "number by at most half of one.",
            wrong=_with(half=1.0),
        ),
        Mistake(
            key="norm of the query",
            diagnosis="You use the length of the query. Each of its numbers "
            "meets an error of either sign, so the worst case is the sum of "
            "their absolute values.",
            wrong=_with(norm=lambda q: q.norm(dim=-1) / q.shape[-1] ** 0.5),
        ),
        Mistake(
            key="largest number of the query",
            diagnosis="You use the largest number of the query. A logit is a "
            "sum over all D numbers, and each of them adds an error.",
            wrong=_with(norm=lambda q: q.abs().amax(-1) / q.shape[-1] ** 0.5),
        ),
        Mistake(
            key="sum with signs",
            diagnosis="You add up the query's numbers with their signs. The "
            "errors have signs too: take absolute values.",
            wrong=_with(norm=lambda q: q.sum(-1) / q.shape[-1] ** 0.5),
            also=(_with(norm=lambda q: q.sum(-1).abs() / q.shape[-1] ** 0.5),),
        ),
        Mistake(
            key="not divided by sqrt(D)",
            diagnosis="You bound the error of q k'. A logit is that over "
            "sqrt(D), and so is its error.",
            wrong=_with(norm=lambda q: q.abs().sum(-1)),
        ),
        Mistake(
            key="another largest code",
            diagnosis="Your scale is not 1/127 of the largest number. int8 "
            "codes here reach from -127 to 127.",
            wrong=_with(size=lambda k: k.abs().amax(-1) / 128),
            also=(
                _with(size=lambda k: k.abs().amax(-1) / 255),
                _with(size=lambda k: k.abs().amax(-1) / 256),
            ),
        ),
        slip(
            "no mean taken away",
            "You do not subtract the mean of the keys: a sum is no mean, or "
            "it is added.",
            error_bound,
            ("k.mean(2, keepdim=True)", "k.sum(2, keepdim=True)"),
            ("k - k.mean", "k + k.mean"),
        ),
        slip(
            "largest with its sign",
            "A scale of yours is not made from the largest absolute number "
            "of a key.",
            error_bound,
            ("centred.abs().amax(-1)", "centred.amax(-1)"),
            ("amax(-1)", "amin(-1)"),
        ),
        slip(
            "scale without codes",
            "Your scale is the largest number of a key, not the part of it "
            "that one code stands for.",
            error_bound,
            (" / 127", ""),
            (" / 127", " * 127"),
        ),
        slip(
            "another division by the width",
            "A logit is the product divided by the root of D, the width of "
            "a key. You divide by something else, or multiply.",
            error_bound,
            ("/ q.shape[-1] ** 0.5", "/ q.shape[-1]"),
            ("/ q.shape[-1] ** 0.5", "* q.shape[-1] ** 0.5"),
            ("/ q.shape[-1] ** 0.5", "/ q.shape[-2] ** 0.5"),
            ("/ q.shape[-1] ** 0.5", "/ q.shape[1] ** 0.5"),
            ("/ q.shape[-1] ** 0.5", "/ q.shape[0] ** 0.5"),
        ),
        slip(
            "queries or steps left out",
            "One of the two is missing from your bound: the size of the "
            "query's numbers, or of a step.",
            error_bound,
            ("q.abs().sum(-1) * largest", "largest"),
            ("q.abs().sum(-1) * largest", "q.abs().sum(-1)"),
            ("q.abs().sum(-1) * largest", "(q.abs().sum(-1) + largest)"),
        ),
        slip(
            "mean for sum",
            "You take the mean of a query's absolute numbers. The errors of "
            "all D products add up.",
            error_bound,
            ("q.abs().sum(-1)", "q.abs().mean(-1)"),
        ),
        slip(
            "one branch",
            "One of the two branches is missing from your bound, or stands "
            "in both places.",
            error_bound,
            ("e[:, 0] + abs(lam) * e[:, 1]", "e[:, 0]"),
            ("e[:, 0] + abs(lam) * e[:, 1]", "abs(lam) * e[:, 1]"),
            ("e[:, 0] + abs(lam) * e[:, 1]", "e[:, 0] + abs(lam) * e[:, 0]"),
            ("e[:, 0] + abs(lam) * e[:, 1]", "e[:, 1] + abs(lam) * e[:, 1]"),
            ("e[:, 0] + abs(lam) * e[:, 1]", "e[:, 1] + abs(lam) * e[:, 0]"),
        ),
    ),
    hints=(
        "The error of a logit is a sum of D products q_i times an error of "
        "k_i, divided by sqrt(D). How large can it be at most?",
        "At most sum |q_i| times half a step, over sqrt(D). Of the keys that "
        "a query sees, the one with the largest step counts: cummax.",
        "steps = (k - k.mean(2, keepdim=True)).abs().amax(-1) / 127; e = "
        "q.abs().sum(-1) * steps.cummax(-1).values / 2 / D**0.5; add e of "
        "branch 1 and |lam| times that of branch 2.",
    ),
)
