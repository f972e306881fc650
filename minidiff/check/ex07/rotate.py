"""Exercise 7.1: rotary positions."""

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of channels of x (..., T, D) by its angle.

    cos and sin are (T, D / 2): row t for position t, column i for pair i,
    which is channels 2i and 2i + 1. The channels keep their places.
    """
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = (even * cos - odd * sin, even * sin + odd * cos)
    return torch.stack(turned, -1).flatten(-2)


def _cases() -> list[Case]:
    cases = []
    for seed, shape in enumerate(
        [(1, 2), (5, 4), (2, 3, 6), (2, 1, 2, 7, 8), (1, 2, 4, 8)]
    ):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        T, D = shape[-2:]
        i = torch.arange(D // 2, dtype=torch.float64)
        angles = (1 + torch.arange(T))[:, None] * 50.0 ** (-2 * i / D)
        cases.append(
            Case(name=f"x {shape}", args=(x, angles.cos(), angles.sin()))
        )
    return cases


def _pairs(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 0::2], x[..., 1::2]


def _zip(first: Tensor, second: Tensor) -> Tensor:
    return torch.stack((first, second), -1).flatten(-2)


def _halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


def _out_of_place(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = _pairs(x)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


def _backwards(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return rotate(x, cos, -sin)


def _two_minuses(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = _pairs(x)
    return _zip(a * cos - b * sin, b * cos - a * sin)


def _two_pluses(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = _pairs(x)
    return _zip(a * cos + b * sin, b * cos + a * sin)


def _overwritten(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = _pairs(x)
    a = a * cos - b * sin
    return _zip(a, a * sin + b * cos)


def _two_minuses_kept_order(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = _pairs(x)
    return _zip(a * cos - b * sin, a * sin - b * cos)


def _swapped(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return rotate(x, sin, cos)


def _channels_swapped(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = _pairs(x)
    return _zip(a * sin + b * cos, a * cos - b * sin)


def _cos_first(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = _pairs(x)
    return _zip(a * cos - b * sin, a * cos + b * sin)


def _not_flat(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = _pairs(x)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1)


def _tables_in_a_row(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = _pairs(x)
    turned = _zip(-b, a)
    return x * torch.cat((cos, cos), -1) + turned * torch.cat((sin, sin), -1)


EXERCISE = Exercise(
    id="7.1",
    cases=_cases,
    solution=rotate,
    mistakes=(
        Mistake(
            key="paired by halves",
            diagnosis="You turn channel i together with channel i + D/2, as "
            "other libraries do. Here a pair is two neighbours, 2i and "
            "2i + 1.",
            wrong=_halves,
        ),
        Mistake(
            key="channels moved",
            diagnosis="The numbers are right, but all first channels stand "
            "in front of all second ones. Put each pair back side by side: "
            "torch.stack(..., -1), then flatten(-2).",
            wrong=_out_of_place,
        ),
        Mistake(
            key="backwards",
            diagnosis="You turn the other way: the minus belongs to the "
            "first channel of a pair.",
            wrong=_backwards,
        ),
        Mistake(
            key="two minuses",
            diagnosis="Both lines have a minus. That is no rotation: it "
            "changes lengths. The second channel is even * sin + odd * cos.",
            wrong=_two_minuses,
            also=(_two_minuses_kept_order,),
        ),
        Mistake(
            key="two pluses",
            diagnosis="Both lines have a plus. That is no rotation: it "
            "changes lengths. The first channel is even * cos - odd * sin.",
            wrong=_two_pluses,
        ),
        Mistake(
            key="overwritten",
            diagnosis="The second channel is made from the first one after "
            "it was turned. Both need the old values: give the new ones "
            "names of their own.",
            wrong=_overwritten,
        ),
        Mistake(
            key="cos and sin swapped",
            diagnosis="cos and sin are swapped: at angle 0, where cos is 1, "
            "a vector must stay as it is.",
            wrong=_swapped,
        ),
        Mistake(
            key="cos with the first channel twice",
            diagnosis="Your second channel is even * cos + odd * sin. There "
            "cos and sin change places: even * sin + odd * cos.",
            wrong=_cos_first,
        ),
        Mistake(
            key="channels of a pair swapped",
            diagnosis="The two channels of each pair have changed places. "
            "The one with the minus comes first.",
            wrong=_channels_swapped,
        ),
        Mistake(
            key="not flattened",
            diagnosis="The numbers are right, but each pair has an axis of "
            "its own, at the end. flatten(-2) puts the pairs in a row.",
            wrong=_not_flat,
        ),
        Mistake(
            key="tables in a row",
            diagnosis="You double cos and sin as whole blocks, so channel "
            "2i does not get angle i. Neighbours share an angle: "
            "repeat_interleave(2, -1).",
            wrong=_tables_in_a_row,
        ),
    ),
    hints=(
        "Which columns of x are the first channels of the pairs, and which "
        "the second ones? A slice with a step of 2 gets them.",
        "even = x[..., 0::2] and odd = x[..., 1::2] are (..., T, D / 2), "
        "like cos and sin. Turn them with equation 7.1. Then the pairs must "
        "be side by side again.",
        "torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1) "
        "is (..., T, D / 2, 2), and .flatten(-2) puts the pairs in a row.",
    ),
)
