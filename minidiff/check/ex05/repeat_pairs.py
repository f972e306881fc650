"""Exercise 5.3: grouped queries share pairs of keys."""

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake


def repeat_pairs(k: Tensor, H: int) -> Tensor:
    """Return k (B, Hkv, 2, S, D) written out for H heads: (B, H, 2, S, D).

    Heads share keys in groups of H / Hkv neighbours: the first group reads
    pair 0, the next one pair 1. Branch 1 reads branch 1, branch 2 branch 2.
    """
    return k.repeat_interleave(H // k.shape[1], dim=1)


def _cases() -> list[Case]:
    cases = []
    for seed, (B, H, Hkv, S, D) in enumerate(
        [(1, 4, 2, 3, 2), (2, 6, 2, 1, 3), (1, 4, 1, 5, 2), (1, 2, 2, 3, 4)]
    ):
        generator = torch.Generator().manual_seed(seed)
        k = torch.randn(B, Hkv, S, 2, D, generator=generator).double()
        # A view in another order of memory, as the module makes them.
        cases.append(
            Case(
                name=f"H = {H}, Hkv = {Hkv}, S = {S}, D = {D}",
                args=(k.transpose(2, 3), H),
            )
        )
    return cases


EXERCISE = Exercise(
    id="5.3",
    cases=_cases,
    solution=repeat_pairs,
    mistakes=(
        Mistake(
            key="single heads repeated",
            diagnosis="You repeat single key heads, so both branches of a "
            "head may read the same keys. Keep each pair whole: repeat on "
            "axis 1 only.",
            wrong=lambda k, H: (
                k.flatten(1, 2)
                .repeat_interleave(H // k.shape[1], 1)
                .unflatten(1, (H, 2))
            ),
        ),
        Mistake(
            key="groups interleaved",
            diagnosis="Head h reads key head h % Hkv, as .repeat lays them "
            "out. Neighbours share: head h reads h // (H / Hkv), as "
            ".repeat_interleave does.",
            wrong=lambda k, H: k.repeat(1, H // k.shape[1], 1, 1, 1),
        ),
        Mistake(
            key="branches repeated",
            diagnosis="The axis of branches is repeated, it must stay 2 "
            "long. The heads are on axis 1.",
            wrong=lambda k, H: k.repeat_interleave(H // k.shape[1], 2),
        ),
        Mistake(
            key="first key head only",
            diagnosis="Every head reads pair 0. There are Hkv of them, "
            "each for H / Hkv heads.",
            wrong=lambda k, H: k[:, :1].repeat(1, H, 1, 1, 1),
        ),
        Mistake(
            key="repeated H times",
            diagnosis="Each key head appears H times, so Hkv * H come back. "
            "H are wanted in all: each appears H / Hkv times.",
            wrong=lambda k, H: k.repeat_interleave(H, 1),
        ),
        Mistake(
            key="not repeated",
            diagnosis="k comes back as it was. Each key head must appear "
            "H / Hkv times.",
            wrong=lambda k, H: k * 1,
        ),
        Mistake(
            key="no axis given",
            diagnosis="Without dim, repeat_interleave makes one long row and "
            "repeats single numbers. Name the axis of the pairs.",
            wrong=lambda k, H: k.repeat_interleave(H // k.shape[1]),
            also=(
                lambda k, H: k.repeat_interleave(H // k.shape[1]).reshape(
                    k.shape[0], H, 2, *k.shape[3:]
                ),
            ),
        ),
        Mistake(
            key="batch repeated",
            diagnosis="The batch gets longer: that is axis 0. The pairs are "
            "on axis 1.",
            wrong=lambda k, H: k.repeat_interleave(H // k.shape[1], 0),
            also=(lambda k, H: k.repeat(H // k.shape[1], 1, 1, 1, 1),),
        ),
        Mistake(
            key="repeated Hkv times",
            diagnosis="Each pair appears Hkv times. H are wanted in all, so "
            "each appears H / Hkv times.",
            wrong=lambda k, H: k.repeat_interleave(k.shape[1], 1),
        ),
        Mistake(
            key="a float number of times",
            diagnosis="PyTorch wants a whole number of copies. In Python "
            "H / Hkv is a float, also where it comes out even: use //.",
            wrong=lambda k, H: k.repeat_interleave(H / k.shape[1], 1),
        ),
    ),
    hints=(
        "Which axis counts the pairs? Only that one gets longer.",
        "Each key head appears H // Hkv times, and its copies are "
        "neighbours. repeat and repeat_interleave differ in just that.",
        "k.repeat_interleave(H // k.shape[1], dim=1).",
    ),
)
