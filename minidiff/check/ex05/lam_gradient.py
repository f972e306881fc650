"""Exercise 5.4: the gradient of lambda by hand."""

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake


def lam_gradient(A1: Tensor, A2: Tensor, v: Tensor, dout: Tensor) -> Tensor:
    """Return the gradient of sum(dout * out) for lambda, a 0-d tensor.

    out = (A1 - lambda A2) v with one lambda for all. A1, A2 (B, H, T, S),
    v (B, H, S, Dv), dout (B, H, T, Dv).
    """
    return -(dout * (A2 @ v)).sum()


def _cases() -> list[Case]:
    cases = []
    for seed, (B, H, T, Dv) in enumerate(
        [(1, 1, 1, 2), (2, 3, 4, 6), (1, 2, 5, 4)]
    ):
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(2, B, H, T, T, generator=generator).double()
        v, dout = torch.randn(2, B, H, T, Dv, generator=generator).double()
        cases.append(
            Case(
                name=f"B = {B}, H = {H}, T = {T}, Dv = {Dv}",
                args=(*logits.softmax(-1), v, dout),
            )
        )
    return cases


EXERCISE = Exercise(
    id="5.4",
    cases=_cases,
    solution=lam_gradient,
    mistakes=(
        Mistake(
            key="sign",
            diagnosis="The sign is wrong. lambda stands with a minus: more "
            "lambda means less of the second map.",
            wrong=lambda A1, A2, v, dout: (dout * (A2 @ v)).sum(),
        ),
        Mistake(
            key="first map",
            diagnosis="You use A1. The derivative of A1 - lambda A2 with "
            "respect to lambda has no A1 in it.",
            wrong=lambda A1, A2, v, dout: -(dout * (A1 @ v)).sum(),
        ),
        Mistake(
            key="one for each head",
            diagnosis="You return one number for each head. One lambda "
            "serves all heads and sequences, so their gradients are added.",
            wrong=lambda A1, A2, v, dout: -(dout * (A2 @ v)).sum((-2, -1)),
        ),
        Mistake(
            key="mean",
            diagnosis="You take a mean. Each place where lambda is used adds "
            "to its gradient: take the sum.",
            wrong=lambda A1, A2, v, dout: -(dout * (A2 @ v)).mean(),
        ),
        Mistake(
            key="dout dropped",
            diagnosis="dout is not used. The chain rule weighs each entry of "
            "out by its entry of dout.",
            wrong=lambda A1, A2, v, dout: -(A2 @ v).sum(),
        ),
    ),
    hints=(
        "out is a straight line in lambda. What is its slope?",
        "The derivative of out is -(A2 @ v), of out's own shape. The chain "
        "rule multiplies by dout, entry by entry, and adds everything up.",
        "-(dout * (A2 @ v)).sum().",
    ),
)
