"""Problem P2.4: the gradient of lambda, whatever its shape."""

from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.exP2.layers import normal


def lam_gradient_like(o2: Tensor, dout: Tensor, lam: Tensor) -> Tensor:
    """Return the gradient of sum(dout * (o1 - lam o2)), shaped like lam.

    o2, dout (B, H, T, Dv). lam is () or (B or 1, H or 1, T or 1); an axis of
    length 1 is shared.
    """
    grad = -(dout * o2).sum(-1)  # (B, H, T)
    if lam.ndim == 0:
        return grad.sum()
    for axis, n in enumerate(lam.shape):
        if n == 1:
            grad = grad.sum(axis, keepdim=True)
    return grad


def _cases() -> list[Case]:
    cases = []
    for seed, (shape, lam) in enumerate(
        [
            ((2, 3, 4, 5), ()),
            ((2, 3, 4, 5), (1, 1, 1)),
            ((2, 3, 4, 5), (1, 3, 1)),
            ((2, 3, 4, 5), (2, 3, 4)),
            ((3, 2, 5, 2), (3, 1, 1)),
            ((2, 2, 5, 3), (1, 2, 5)),
            ((1, 3, 1, 2), (1, 3, 1)),
        ]
    ):
        o2, dout = normal(seed, 2, *shape)
        cases.append(
            Case(
                name=f"out {shape}, lam {lam}",
                args=(o2, dout, 0.2 + normal(9, *lam).abs()),
            )
        )
    return cases


def _axes(lam: Tensor) -> list[int]:
    return [i for i, n in enumerate(lam.shape) if n == 1]


def _dropped(o2: Tensor, dout: Tensor, lam: Tensor) -> Tensor:
    grad = -(dout * o2).sum(-1)
    if lam.ndim == 0:
        return grad.sum()
    return grad.sum(_axes(lam)) if _axes(lam) else grad


def _mean(o2: Tensor, dout: Tensor, lam: Tensor) -> Tensor:
    grad = -(dout * o2).sum(-1)
    for axis in _axes(lam):
        grad = grad.mean(axis, keepdim=True)
    return grad if lam.ndim else grad.mean()


def _no_axes(o2: Tensor, dout: Tensor, lam: Tensor) -> Tensor:
    """sum([]) is the sum over everything."""
    grad = -(dout * o2).sum(-1)
    return grad.sum(_axes(lam), keepdim=True) if lam.ndim else grad.sum()


def _channels(o2: Tensor, dout: Tensor, lam: Tensor) -> Tensor:
    grad = -dout.sum(-1) * o2.sum(-1)
    return grad.sum_to_size(lam.shape)


EXERCISE = Exercise(
    id="P2.4",
    cases=_cases,
    solution=lam_gradient_like,
    mistakes=(
        Mistake(
            key="sign",
            diagnosis="The sign is wrong: lam stands with a minus.",
            wrong=lambda o2, dout, lam: -lam_gradient_like(o2, dout, lam),
        ),
        Mistake(
            key="lam multiplied",
            diagnosis="The result is multiplied by lam. That is part of the "
            "gradient of o2; the derivative of -lam o2 for lam is -o2.",
            wrong=lambda o2, dout, lam: lam * lam_gradient_like(o2, dout, lam),
        ),
        Mistake(
            key="not summed",
            diagnosis="There is one number for each (b, h, t) whatever lam's "
            "shape. Where one number of lam serves several, their gradients "
            "are added.",
            wrong=lambda o2, dout, lam: -(dout * o2).sum(-1),
        ),
        Mistake(
            key="summed over everything",
            diagnosis="Every number of lam gets the whole sum. Add up only "
            "over the axes along which lam is shared.",
            wrong=lambda o2, dout, lam: -(dout * o2).sum().expand(lam.shape),
            also=(lambda o2, dout, lam: -(dout * o2).sum(),),
        ),
        Mistake(
            key="an empty list of axes",
            diagnosis="When no axis is shared you call sum with an empty "
            "list of axes. PyTorch then sums over all of them. Sum axis by "
            "axis, or treat that case apart.",
            wrong=_no_axes,
        ),
        Mistake(
            key="shared axes dropped",
            diagnosis="The sums are right, but the shared axes are gone. A "
            "gradient has its variable's shape: keepdim=True.",
            wrong=_dropped,
            also=(
                lambda o2, dout, lam: (
                    -(dout * o2).sum(-1).sum_to_size(lam.shape).squeeze()
                ),
            ),
        ),
        Mistake(
            key="mean",
            diagnosis="You take means over the shared axes. Each use adds "
            "to the gradient: sums.",
            wrong=_mean,
        ),
        Mistake(
            key="channels summed first",
            diagnosis="dout and o2 are summed over the channels before they "
            "are multiplied. Multiply channel by channel, then sum.",
            wrong=_channels,
        ),
    ),
    hints=(
        "Each (b, h, t) has its own number -sum(dout * o2) over the "
        "channels. Which of them used the same number of lam?",
        "Those along an axis where lam has length 1. Add them up, and keep "
        "the axis. What if there is no such axis?",
        "grad = -(dout * o2).sum(-1); for each axis with lam.shape[axis] == "
        "1: grad = grad.sum(axis, keepdim=True); for a 0-d lam grad.sum().",
    ),
)
