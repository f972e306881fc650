"""Exercise 27.1: several signal queries share one noise query."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip
from minidiff.check.imported import own_work
from minidiff.course import family
from minidiff.ops import diff_attention


def grouped(q: Tensor, k: Tensor, v: Tensor, lam: float) -> Tensor:
    """Return the heads of grouped differential attention, (B, G r, T, Dv).

    q (B, G, r + 1, T, D): in each of G groups r signal queries, then one
    noise query. k (B, G, 2, T, D): a group's signal keys and noise keys.
    v (B, G, T, Dv). A head is (A_signal - lam A_noise) v with the noise map,
    keys and values of its group. Use one call of diff_attention.
    """
    signal = q[:, :, :-1].flatten(1, 2)
    noise = q[:, :, -1].repeat_interleave(q.shape[2] - 1, 1)
    return diff_attention(torch.stack((signal, noise), 2), k, v, lam)


def _cases() -> list[Case]:
    cases = []
    for seed, (B, G, r, T, D) in enumerate(
        [(1, 1, 1, 4, 2), (1, 1, 3, 5, 4), (2, 2, 3, 4, 2), (1, 3, 2, 1, 3)]
    ):
        generator = torch.Generator().manual_seed(seed)
        q, k, v = (
            torch.randn(*shape, generator=generator).double()
            for shape in ((B, G, r + 1, T, D), (B, G, 2, T, D), (B, G, T, D))
        )
        name = f"G = {G}, r = {r}, T = {T}, D = {D}"
        cases.append(Case(name=name, args=(q, k, v, 0.6)))
    return cases


def _paired(
    pair: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]],
    keys: Callable[[Tensor], Tensor] = lambda k: k,
    of_lam: Callable[[float], float] = lambda lam: lam,
) -> Callable[..., Tensor]:
    """Another way to pair signal (B, G, r, T, D) and noise (B, G, T, D)."""

    def answer(q: Tensor, k: Tensor, v: Tensor, lam: float) -> Tensor:
        first, second = pair(q[:, :, :-1], q[:, :, -1], q.shape[2] - 1)
        q = torch.stack((first, second), 2)
        return diff_attention(q, keys(k), v, of_lam(lam))

    return answer


def _right(signal: Tensor, noise: Tensor, r: int) -> tuple[Tensor, Tensor]:
    return signal.flatten(1, 2), noise.repeat_interleave(r, 1)


EXERCISE = Exercise(
    id="27.1",
    cases=_cases,
    solution=grouped,
    run=own_work(family.grouped, family.with_noise),
    mistakes=(
        Mistake(
            key="noise tiled",
            diagnosis="The noise queries are repeated as a list, 0 1 0 1. "
            "The heads of a group are neighbours, so its noise query has to "
            "stand r times in a row: repeat_interleave.",
            wrong=_paired(
                lambda s, n, r: (s.flatten(1, 2), n.repeat(1, r, 1, 1))
            ),
        ),
        Mistake(
            key="noise first",
            diagnosis="You take the first query of a group as its noise. It "
            "is the last one: q[:, :, -1].",
            wrong=lambda q, k, v, lam: grouped(q.roll(-1, 2), k, v, lam),
        ),
        Mistake(
            key="noise minus signal",
            diagnosis="Signal and noise have changed places: this is "
            "A_noise v - lam A_signal v.",
            wrong=_paired(lambda s, n, r: _right(s, n, r)[::-1]),
            also=(
                _paired(
                    lambda s, n, r: _right(s, n, r)[::-1], lambda k: k.flip(2)
                ),
            ),
        ),
        Mistake(
            key="signal keys twice",
            diagnosis="The noise query meets the signal keys. It has keys of "
            "its own, k[:, :, 1]: hand k to diff_attention as it is.",
            wrong=_paired(_right, lambda k: k[:, :, :1]),
        ),
        Mistake(
            key="lam dropped",
            diagnosis="The noise map is subtracted whole: lam is not used.",
            wrong=_paired(_right, of_lam=lambda lam: 1.0),
        ),
        Mistake(
            key="added",
            diagnosis="The noise map is added. It has to be subtracted.",
            wrong=_paired(_right, of_lam=lambda lam: -lam),
        ),
        Mistake(
            key="lam shared out",
            diagnosis="You divide lam by r. The noise map is subtracted from "
            "each signal map with the whole lam.",
            wrong=lambda q, k, v, lam: grouped(
                q, k, v, lam / (q.shape[2] - 1)
            ),
        ),
        slip(
            "another query for noise",
            "You take another query of a group as its noise. It is the last "
            "one.",
            grouped,
            ("q[:, :, -1]", "q[:, :, 1]"),
            ("q[:, :, -1]", "q[:, :, -2]"),
        ),
    ),
    hints=(
        "diff_attention wants pairs of queries, (B, H, 2, T, D). How many "
        "heads are there, and which query is the second of each pair?",
        "q[:, :, :-1].flatten(1, 2) are the G r signal queries. Repeat "
        "q[:, :, -1] so that its entry g stands beside each of group g.",
        "torch.stack((signal, q[:, :, -1].repeat_interleave(r, 1)), 2). Keys "
        "and values are shared by diff_attention itself.",
    ),
)
