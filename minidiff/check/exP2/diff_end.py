"""Problem P2.4: subtraction and norm as one operation with its gradient."""

from typing import Any

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.exP2.layers import normal


class DiffEnd(torch.autograd.Function):
    """out = scale * RMSNorm(o1 - lam o2) * weight, one operation.

    o1, o2 (B, H, T, Dv), lam 0-d, weight (Dv,); scale and eps are numbers.
    The mean of the norm runs over the last axis; eps joins it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        o1: Tensor,
        o2: Tensor,
        lam: Tensor,
        weight: Tensor,
        scale: float,
        eps: float,
    ) -> Tensor:
        """Return out (B, H, T, Dv); save in ctx what backward needs."""
        o = o1 - lam * o2
        r = (o.square().mean(-1, keepdim=True) + eps).rsqrt()
        ctx.save_for_backward(o, o2, lam, weight, r)
        ctx.scale = scale
        return scale * o * r * weight

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        """Return a gradient for each input of forward, None for numbers."""
        o, o2, lam, weight, r = ctx.saved_tensors
        g = ctx.scale * weight * dout
        do = r * (g - o * r**2 * (g * o).mean(-1, keepdim=True))
        dlam = -(do * o2).sum()
        dweight = (ctx.scale * dout * o * r).sum((0, 1, 2))
        return do, -lam * do, dlam, dweight, None, None


def _run(
    answer: type[torch.autograd.Function],
    o1: Tensor,
    o2: Tensor,
    lam: Tensor,
    weight: Tensor,
    scale: float,
    eps: float,
    dout: Tensor,
) -> Any:
    """The output, then the four gradients."""
    inputs = [x.clone().requires_grad_() for x in (o1, o2, lam, weight)]
    out = answer.apply(*inputs, scale, eps)
    if out is None:
        return None
    grads = torch.autograd.grad(out, inputs, dout, allow_unused=True)
    return out, *(
        torch.zeros_like(x) if grad is None else grad
        for x, grad in zip(inputs, grads, strict=True)
    )


def _cases() -> list[Case]:
    cases = []
    for seed, (shape, scale, eps) in enumerate(
        [((1, 1, 1, 2), 0.8, 1e-5), ((2, 3, 4, 6), 0.4, 1e-2)]
    ):
        o1, o2, dout = normal(seed, 3, *shape)
        weight = 1 + 0.3 * normal(30 + seed, shape[-1])
        lam = torch.tensor(0.7 - 0.2 * seed, dtype=torch.float64)
        cases.append(
            Case(
                name=f"shape {shape}, scale = {scale}, eps = {eps}",
                args=(o1, o2, lam, weight, scale, eps, dout),
            )
        )
    return cases


def _like(**change: Any) -> type[torch.autograd.Function]:
    """The operation with one expression replaced: the mistakes below."""
    parts = {
        "r": lambda s: (s.o.square().mean(-1, True) + s.eps).rsqrt(),
        "out": lambda s: s.scale * s.o * s.r * s.weight,
        "g": lambda s: s.scale * s.weight * s.dout,
        "do": lambda s: (
            s.r * (s.g - s.o * s.r**2 * (s.g * s.o).mean(-1, True))
        ),
        "do2": lambda s: -s.lam * s.do,
        "dlam": lambda s: -(s.do * s.o2).sum(),
        "dweight": lambda s: (s.scale * s.dout * s.o * s.r).sum((0, 1, 2)),
    } | change

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any,
            o1: Tensor,
            o2: Tensor,
            lam: Tensor,
            weight: Tensor,
            scale: float,
            eps: float,
        ) -> Any:
            ctx.s = s = type("Saved", (), {})()
            s.o1, s.o2, s.lam, s.weight = (
                x.detach() for x in (o1, o2, lam, weight)
            )
            s.scale, s.eps, s.o = scale, eps, s.o1 - s.lam * s.o2
            s.r = parts["r"](s)
            return parts["out"](s)

        @staticmethod
        def backward(ctx: Any, dout: Tensor) -> Any:
            s = ctx.s
            s.dout = dout
            for name in ("g", "do", "do2", "dlam", "dweight"):
                setattr(s, name, parts[name](s))
            return s.do, s.do2, s.dlam, s.dweight, None, None

    return Wrong


EXERCISE = Exercise(
    id="P2.4",
    cases=_cases,
    solution=DiffEnd,
    run=_run,
    results=(
        "the output",
        "the gradient of o1",
        "the gradient of o2",
        "the gradient of lam",
        "the gradient of weight",
    ),
    mistakes=(
        Mistake(
            key="root mean square held fixed",
            diagnosis="The output is right, but the gradient treats the root "
            "mean square as a constant. It depends on every channel: a "
            "second term is missing in do.",
            wrong=_like(do=lambda s: s.r * s.g),
        ),
        Mistake(
            key="r squared missing",
            diagnosis="In the second term of do a factor r^2 is missing. "
            "Check with o twice as large: do must halve.",
            wrong=_like(
                do=lambda s: s.r * (s.g - s.o * (s.g * s.o).mean(-1, True))
            ),
            also=(
                _like(
                    do=lambda s: (
                        s.r * (s.g - s.o * s.r * (s.g * s.o).mean(-1, True))
                    )
                ),
            ),
        ),
        Mistake(
            key="sum instead of mean",
            diagnosis="The second term of do holds a sum over the channels. "
            "The root is of a *mean* square, so it is a mean.",
            wrong=_like(
                do=lambda s: (
                    s.r * (s.g - s.o * s.r**2 * (s.g * s.o).sum(-1, True))
                )
            ),
        ),
        Mistake(
            key="second term added",
            diagnosis="The second term of do is added. A larger o has a "
            "smaller r: it is subtracted.",
            wrong=_like(
                do=lambda s: (
                    s.r * (s.g + s.o * s.r**2 * (s.g * s.o).mean(-1, True))
                )
            ),
        ),
        Mistake(
            key="mean over everything",
            diagnosis="The mean in the second term of do runs over all "
            "heads and tokens. Each normalises itself: mean(-1, "
            "keepdim=True).",
            wrong=_like(
                do=lambda s: s.r * (s.g - s.o * s.r**2 * (s.g * s.o).mean()),
            ),
            also=(
                _like(
                    do=lambda s: (
                        s.r * (s.g - s.o * s.r * (s.g * s.o * s.r).mean())
                    ),
                ),
            ),
        ),
        Mistake(
            key="weight missing in the second term",
            diagnosis="The first term of do holds the weight, the mean in "
            "the second does not. Multiply dout by weight once, before both.",
            wrong=_like(
                do=lambda s: (
                    s.r
                    * (
                        s.g
                        - s.o
                        * s.r**2
                        * (s.scale * s.dout * s.o).mean(-1, True)
                    )
                )
            ),
        ),
        Mistake(
            key="do without r",
            diagnosis="The two terms of do are right, the factor r before "
            "them is missing.",
            wrong=_like(
                do=lambda s: s.g - s.o * s.r**2 * (s.g * s.o).mean(-1, True)
            ),
        ),
        Mistake(
            key="sum in the forward norm",
            diagnosis="The output is divided by the root of the *sum* of "
            "squares. It is the root of their mean.",
            wrong=_like(
                r=lambda s: (s.o.square().sum(-1, True) + s.eps).rsqrt(),
                do=lambda s: (
                    s.r * (s.g - s.o * s.r**2 * (s.g * s.o).sum(-1, True))
                ),
            ),
            also=(
                _like(
                    r=lambda s: (s.o.square().sum(-1, True) + s.eps).rsqrt()
                ),
            ),
        ),
        Mistake(
            key="lam missing for o2",
            diagnosis="The gradient of o2 is -do. o2 stands with -lam: its "
            "gradient is -lam do.",
            wrong=_like(do2=lambda s: -s.do),
        ),
        Mistake(
            key="sign for o2",
            diagnosis="The gradient of o2 has the wrong sign: o2 stands with "
            "-lam.",
            wrong=_like(do2=lambda s: s.lam * s.do),
        ),
        Mistake(
            key="lambda past the norm",
            diagnosis="Lambda's gradient is made from dout. Lambda acts "
            "before the norm: use do, the gradient that has come through it.",
            wrong=_like(dlam=lambda s: -(s.dout * s.o2).sum()),
        ),
        Mistake(
            key="lambda with o",
            diagnosis="Lambda's gradient multiplies do by o. Lambda "
            "multiplies o2: it is -(do * o2).sum(). (do is at a right angle "
            "to o, so do * o adds up to almost nothing.)",
            wrong=_like(dlam=lambda s: -(s.do * s.o).sum()),
        ),
        Mistake(
            key="lambda without gradient",
            diagnosis="Lambda gets no gradient: None is for scale and eps "
            "only. It was to be learned.",
            wrong=_like(dlam=lambda s: None),
        ),
        Mistake(
            key="sign for lambda",
            diagnosis="Lambda's gradient has the wrong sign: more lambda "
            "means less of o2.",
            wrong=_like(dlam=lambda s: (s.do * s.o2).sum()),
        ),
        Mistake(
            key="scale forgotten on the way back",
            diagnosis="The output is multiplied by scale, the gradients of "
            "o1 and o2 are not.",
            wrong=_like(g=lambda s: s.weight * s.dout),
            also=(
                _like(
                    g=lambda s: s.weight * s.dout,
                    dweight=lambda s: (s.dout * s.o * s.r).sum((0, 1, 2)),
                ),
            ),
        ),
        Mistake(
            key="weight's gradient without scale",
            diagnosis="The gradient of weight lacks the factor scale.",
            wrong=_like(dweight=lambda s: (s.dout * s.o * s.r).sum((0, 1, 2))),
        ),
        Mistake(
            key="weight forgotten on the way back",
            diagnosis="The output is multiplied by weight, the gradients of "
            "o1 and o2 are not.",
            wrong=_like(g=lambda s: s.scale * s.dout),
        ),
        Mistake(
            key="weight's gradient without the norm",
            diagnosis="weight multiplies the *normalised* o. In its gradient "
            "the division by the root mean square is missing.",
            wrong=_like(
                dweight=lambda s: (s.scale * s.dout * s.o).sum((0, 1, 2))
            ),
        ),
        Mistake(
            key="eps forgotten",
            diagnosis="eps is not added to the mean square.",
            wrong=_like(r=lambda s: s.o.square().mean(-1, True).rsqrt()),
        ),
        Mistake(
            key="eps outside",
            diagnosis="eps is added to the root. It joins the mean square, "
            "under the root.",
            wrong=_like(
                r=lambda s: 1 / (s.o.square().mean(-1, True).sqrt() + s.eps)
            ),
            also=(
                _like(
                    r=lambda s: (
                        1 / (s.o.square().mean(-1, True).sqrt() + s.eps)
                    ),
                    do=lambda s: (
                        s.r * s.g
                        - s.o
                        * s.r**2
                        * (s.g * s.o).mean(-1, True)
                        / s.o.square().mean(-1, True).sqrt()
                    ),
                ),
            ),
        ),
    ),
    hints=(
        "Forward is two lines. Then go back through them: first the norm, "
        "as in chapter 04, then the subtraction. What did each line use?",
        "With r = 1 / root and g = scale * weight * dout: do = r (g - o r^2 "
        "mean(g o)). From do follow the gradients of o1, o2 and lam. "
        "weight's is a sum over everything but the channels.",
        "return do, -lam * do, -(do * o2).sum(), (scale * dout * o * "
        "r).sum((0, 1, 2)), None, None, with o, o2, lam, weight, r from "
        "ctx.saved_tensors and ctx.scale = scale set in forward.",
    ),
)
