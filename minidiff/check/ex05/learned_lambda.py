"""Exercise 5.1: lambda as a module."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.reference import lambda_init

NAMES = ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")


class LearnedLambda(nn.Module):
    """Lambda of one layer; layers count from 0.

    Parameters lambda_q1, lambda_k1, lambda_q2, lambda_k2, each (D,), start
    as normal random numbers with standard deviation 0.1.
    """

    def __init__(self, D: int, layer: int) -> None:
        super().__init__()
        self.lambda_q1 = nn.Parameter(0.1 * torch.randn(D))
        self.lambda_k1 = nn.Parameter(0.1 * torch.randn(D))
        self.lambda_q2 = nn.Parameter(0.1 * torch.randn(D))
        self.lambda_k2 = nn.Parameter(0.1 * torch.randn(D))
        self.lam_init = lambda_init(layer)

    def forward(self) -> Tensor:
        """Return lambda (equation 3.3), a 0-d tensor."""
        first = (self.lambda_q1 * self.lambda_k1).sum().exp()
        second = (self.lambda_q2 * self.lambda_k2).sum().exp()
        return first - second + self.lam_init


def _run(
    answer: Callable[..., nn.Module],
    what: str,
    D: int,
    layer: int,
    vectors: Tensor | None = None,
) -> Tensor | float | None:
    """Build the module and ask it for one thing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = answer(D, layer)
    if module() is None:
        return None
    if what == "count":
        return sum(p.numel() for p in module.parameters())
    held = [getattr(module, name) for name in NAMES]
    if what == "start":
        start = torch.stack([x.detach() for x in held])
        sizes = start.std(-1), start.square().mean(-1).sqrt()
        return (100 * torch.stack(sizes)).round() / 100
    assert vectors is not None  # what is left needs them
    for x, vector in zip(held, vectors, strict=True):
        x.data.copy_(vector)
    lam = module()
    if what == "value":
        return lam
    if isinstance(lam, Tensor) and lam.requires_grad:
        lam.backward()
    return torch.stack([torch.zeros(D) if x.grad is None else x.grad
                        for x in held])  # fmt: skip


def _cases() -> list[Case]:
    cases = []
    for seed, (D, layer) in enumerate([(4, 0), (7, 3)]):
        generator = torch.Generator().manual_seed(seed)
        vectors = 0.4 * torch.randn(4, D, generator=generator)
        for what, name in (
            ("value", "lambda for given vectors"),
            ("gradient", "its gradients for the four vectors"),
        ):
            cases.append(
                Case(
                    name=f"{name}, D = {D}, layer = {layer}",
                    args=(what, D, layer, vectors),
                )
            )
    cases.append(
        Case(name="number of parameters, D = 16", args=("count", 16, 0))
    )
    cases.append(
        Case(
            name="at the start, D = 5000: each vector's spread and size",
            args=("start", 5000, 0),
        )
    )
    return cases


def _like(
    *,
    draw: Callable[[int], Tensor] = lambda D: 0.1 * torch.randn(D),
    hold: Callable[[Tensor], Tensor] = nn.Parameter,
    late: int = 0,
    learn_start: bool = False,
    value: Callable[..., object] | None = None,
) -> type[nn.Module]:
    """A module with something about it changed: the mistakes below."""

    class Wrong(nn.Module):
        def __init__(self, D: int, layer: int) -> None:
            super().__init__()
            for name in NAMES:
                setattr(self, name, hold(draw(D)))
            start = lambda_init(layer - late)
            self.start = (
                nn.Parameter(torch.tensor(start)) if learn_start else start
            )

        def forward(self) -> object:
            q1, k1, q2, k2 = (getattr(self, name) for name in NAMES)
            if value is not None:
                return value(q1, k1, q2, k2, self.start)
            return (q1 @ k1).exp() - (q2 @ k2).exp() + self.start

    return Wrong


EXERCISE = Exercise(
    id="5.1",
    cases=_cases,
    solution=LearnedLambda,
    run=_run,
    tolerance=1e-5,
    mistakes=(
        Mistake(
            key="not parameters",
            diagnosis="The vectors are plain tensors, so the module has no "
            "parameters and nothing would be learned. Wrap each in "
            "nn.Parameter.",
            wrong=_like(hold=lambda x: x),
            also=(
                _like(hold=lambda x: x.requires_grad_()),
                _like(hold=lambda x: x.requires_grad_(), draw=torch.randn),
            ),
        ),
        Mistake(
            key="starts too large",
            diagnosis="The vectors start with standard deviation 1. They "
            "are to start at 0.1, or lambda begins anywhere.",
            wrong=_like(draw=torch.randn),
        ),
        Mistake(
            key="starts at zero",
            diagnosis="All four vectors start at zero. The gradient of each "
            "is a multiple of its partner, so it is zero too, and lambda "
            "would never move.",
            wrong=_like(draw=torch.zeros),
        ),
        Mistake(
            key="cut from the graph",
            diagnosis="The value is right, but no gradient reaches the "
            "vectors: .item(), float() and .detach() leave autograd behind. "
            "Return the tensor itself.",
            wrong=_like(
                value=lambda q1, k1, q2, k2, start: (
                    (q1 @ k1).exp() - (q2 @ k2).exp() + start
                ).detach()
            ),
        ),
        Mistake(
            key="lam_init learned",
            diagnosis="There is one parameter too many: lam_init. It is a "
            "constant of the layer; keep it as a plain number.",
            wrong=_like(learn_start=True),
        ),
        Mistake(
            key="layer off by one",
            diagnosis="Your schedule is one layer late: it uses layer - 1. "
            "The paper counts layers from 1, we count from 0.",
            wrong=_like(late=1),
        ),
        Mistake(
            key="layer counted from one",
            diagnosis="Your schedule is one layer early: it uses layer + 1. "
            "Layers count from 0 here, and so does lambda_init.",
            wrong=_like(late=-1),
        ),
        Mistake(
            key="product without a sum",
            diagnosis="The vectors are multiplied entry by entry and not "
            "added up, so lambda comes out with D entries. The dot product "
            "is one number.",
            wrong=_like(
                value=lambda q1, k1, q2, k2, start: (
                    (q1 * k1).exp() - (q2 * k2).exp() + start
                )
            ),
        ),
        Mistake(
            key="no lam_init",
            diagnosis="lam_init is not added, so lambda starts near 0 and "
            "nothing is subtracted.",
            wrong=_like(
                value=lambda q1, k1, q2, k2, start: (
                    (q1 @ k1).exp() - (q2 @ k2).exp()
                )
            ),
        ),
        Mistake(
            key="starts uniform",
            diagnosis="The vectors start with numbers that are never "
            "negative: torch.rand is uniform. Normal numbers come from "
            "torch.randn.",
            wrong=_like(draw=lambda D: 0.1 * torch.rand(D)),
            also=(_like(draw=torch.rand),),
        ),
        Mistake(
            key="starts alike",
            diagnosis="All entries start at 0.1. They are to be random, with "
            "standard deviation 0.1; equal vectors would learn in step.",
            wrong=_like(draw=lambda D: torch.full((D,), 0.1)),
        ),
        Mistake(
            key="no exponential",
            diagnosis="The dot products are used as they are. Each goes "
            "through exp first.",
            wrong=_like(
                value=lambda q1, k1, q2, k2, start: q1 @ k1 - q2 @ k2 + start
            ),
        ),
        Mistake(
            key="one exponential",
            diagnosis="You take one exponential of the difference. Each dot "
            "product has its own, and then they are subtracted.",
            wrong=_like(
                value=lambda q1, k1, q2, k2, start: (
                    (q1 @ k1 - q2 @ k2).exp() + start
                )
            ),
        ),
        Mistake(
            key="exponentials added",
            diagnosis="The second exponential is added. It is subtracted.",
            wrong=_like(
                value=lambda q1, k1, q2, k2, start: (
                    (q1 @ k1).exp() + (q2 @ k2).exp() + start
                )
            ),
        ),
        Mistake(
            key="exponentials swapped",
            diagnosis="The first exponential is subtracted from the second. "
            "Lambda is exp(q1 k1) - exp(q2 k2) + lam_init.",
            wrong=_like(
                value=lambda q1, k1, q2, k2, start: (
                    (q2 @ k2).exp() - (q1 @ k1).exp() + start
                )
            ),
        ),
        Mistake(
            key="mean for the sum",
            diagnosis="The products are averaged. A dot product is their sum.",
            wrong=_like(
                value=lambda q1, k1, q2, k2, start: (
                    (q1 * k1).mean().exp() - (q2 * k2).mean().exp() + start
                )
            ),
        ),
        Mistake(
            key="lam_init subtracted",
            diagnosis="lam_init is subtracted. It is added.",
            wrong=_like(
                value=lambda q1, k1, q2, k2, start: (
                    (q1 @ k1).exp() - (q2 @ k2).exp() - start
                )
            ),
        ),
        Mistake(
            key="wrong partners",
            diagnosis="The vectors have the wrong partners. The products are "
            "lambda_q1 with lambda_k1, and lambda_q2 with lambda_k2.",
            wrong=_like(
                value=lambda q1, k1, q2, k2, start: (
                    (q1 @ q2).exp() - (k1 @ k2).exp() + start
                )
            ),
            also=(
                _like(
                    value=lambda q1, k1, q2, k2, start: (
                        (q1 @ k2).exp() - (q2 @ k1).exp() + start
                    )
                ),
            ),
        ),
        Mistake(
            key="an axis left",
            diagnosis="lambda comes out with shape (1,). It is one number "
            "for the layer, 0-d.",
            wrong=_like(
                value=lambda q1, k1, q2, k2, start: (
                    (q1 @ k1).exp() - (q2 @ k2).exp() + start
                ).reshape(1)
            ),
        ),
        Mistake(
            key="starts too small",
            diagnosis="The vectors start with standard deviation 0.01. That "
            "is the square of the 0.1 they are to have.",
            wrong=_like(draw=lambda D: 0.01 * torch.randn(D)),
        ),
        Mistake(
            key="no schedule",
            diagnosis="lam_init is the same for every layer. It depends on "
            "the layer: lambda_init(layer).",
            wrong=_like(
                value=lambda q1, k1, q2, k2, start: (
                    (q1 @ k1).exp() - (q2 @ k2).exp() + 0.8
                )
            ),
            also=(
                _like(
                    value=lambda q1, k1, q2, k2, start: (
                        (q1 @ k1).exp() - (q2 @ k2).exp() + 0.2
                    )
                ),
            ),
        ),
        Mistake(
            key="exponential of each product",
            diagnosis="You take exp of every product and then sum. Sum "
            "first, the dot product, then one exp.",
            wrong=_like(
                value=lambda q1, k1, q2, k2, start: (
                    (q1 * k1).exp().sum() - (q2 * k2).exp().sum() + start
                )
            ),
        ),
    ),
    hints=(
        "Five things belong to the module. Which four are learned, and which "
        "one is a constant?",
        "self.lambda_q1 = nn.Parameter(0.1 * torch.randn(D)), and so on; "
        "self.lam_init = lambda_init(layer).",
        "In forward: (self.lambda_q1 * self.lambda_k1).sum().exp(), minus "
        "the same of the second pair, plus self.lam_init.",
    ),
)
