"""Exercise 27.3: the mean of several logits is one ordinary head."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip
from minidiff.ops.sdpa import softmax_attention


def integral(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return softmax(mean of the S signals' logits) v, (B, H, T, Dv).

    q and k (B, H, S, T, D), v (B, H, T, Dv). The logits of signal s are
    q_s k_s' / sqrt(D). Use one call of softmax_attention(q, k, v), which takes
    (B, H, T, width) and divides its logits by sqrt(width).
    """
    S = q.shape[2]
    q, k = (x.transpose(2, 3).flatten(3) for x in (q, k))
    return softmax_attention(q / S**0.5, k, v)


def _cases() -> list[Case]:
    cases = []
    for seed, (B, H, S, T, D) in enumerate(
        [(1, 1, 1, 3, 4), (1, 2, 2, 5, 4), (2, 1, 3, 4, 2), (1, 2, 4, 1, 3)]
    ):
        generator = torch.Generator().manual_seed(seed)
        q, k = 2 * torch.randn(2, B, H, S, T, D, generator=generator).double()
        v = torch.randn(B, H, T, D, generator=generator).double()
        name = f"S = {S}, T = {T}, D = {D}"
        cases.append(Case(name=name, args=(q, k, v)))
    return cases


def _joined(factor: Callable[[int], float]) -> Callable[..., Tensor]:
    """The joined head with another factor of its queries."""

    def answer(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        S = q.shape[2]
        a, b = (x.transpose(2, 3).flatten(3) for x in (q, k))
        return softmax_attention(a * factor(S), b, v)

    return answer


def _mean_of_maps(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    outs = [
        softmax_attention(q[:, :, s], k[:, :, s], v) for s in range(q.shape[2])
    ]
    return torch.stack(outs).mean(0)


def _reshaped(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    B, H, S, T, D = q.shape
    q, k = (x.reshape(B, H, T, S * D) for x in (q, k))
    return softmax_attention(q / S**0.5, k, v)


EXERCISE = Exercise(
    id="27.3",
    cases=_cases,
    solution=integral,
    mistakes=(
        Mistake(
            key="scale of the joined width",
            diagnosis="The logits are the sum over the signals, divided by "
            "sqrt(S D). The mean divided by sqrt(D) is smaller: by another "
            "sqrt(S).",
            wrong=_joined(lambda S: 1.0),
        ),
        Mistake(
            key="sum of the logits",
            diagnosis="The logits are the sum of the signals' logits. The "
            "mean divides it by S.",
            wrong=_joined(lambda S: S**0.5),
        ),
        Mistake(
            key="both divided",
            diagnosis="You divide by S beside the scale of the joined width, "
            "sqrt(S D). Half of that is in the scale already: one sqrt(S) is "
            "enough.",
            wrong=_joined(lambda S: 1 / S),
        ),
        Mistake(
            key="mean of the maps",
            diagnosis="You take S softmaxes and their mean. Here the mean is "
            "taken first, of the logits, and then one softmax.",
            wrong=_mean_of_maps,
        ),
        Mistake(
            key="axes mixed up",
            diagnosis="A reshape of (S, T, D) to (T, S D) mixes tokens with "
            "signals. Bring T before S first: transpose(2, 3).",
            wrong=_reshaped,
        ),
        Mistake(
            key="mean of queries and keys",
            diagnosis="The mean of the queries times the mean of the keys "
            "has products of different signals in it. Join the signals along "
            "the width.",
            wrong=lambda q, k, v: softmax_attention(q.mean(2), k.mean(2), v),
        ),
        Mistake(
            key="first signal only",
            diagnosis="Only the first signal is used.",
            wrong=lambda q, k, v: softmax_attention(q[:, :, 0], k[:, :, 0], v),
        ),
        slip(
            "another size for S",
            "Your number of signals is another axis of q: (B, H, S, T, D).",
            integral,
            ("q.shape[2]", "q.shape[3]"),
            ("q.shape[2]", "q.shape[1]"),
            ("q.shape[2]", "q.shape[4]"),
        ),
        slip(
            "arguments in another order",
            "The arguments of softmax_attention are in another order: "
            "queries, keys, values.",
            integral,
            (
                "softmax_attention(q / S**0.5, k, v)",
                "softmax_attention(k, q / S**0.5, v)",
            ),
            (
                "softmax_attention(q / S**0.5, k, v)",
                "softmax_attention(q / S**0.5, v, k)",
            ),
        ),
        slip(
            "no root of S",
            "The joined logits are divided by sqrt(S D). Your own factor is "
            "not what turns that into S sqrt(D): a root of S.",
            integral,
            ("q / S**0.5", "q / (S * 0.5)"),
            ("q / S**0.5", "q / 0.5"),
            ("q / S**0.5", "q // S**0.5"),
            ("q / S**0.5", "S**0.5 / q"),
            ("q / S**0.5", "q / S**2"),
        ),
    ),
    hints=(
        "A sum of dot products is a dot product of longer vectors. Of which?",
        "transpose(2, 3).flatten(3) gives (B, H, T, S D). Its dot products "
        "are the sums over the signals. What are they divided by, and what "
        "should they be?",
        "They are divided by sqrt(S D), and should be by S sqrt(D): divide "
        "the queries by sqrt(S).",
    ),
)
