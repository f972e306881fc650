"""Exercise 13.3: what one step of decoding must read."""

from collections.abc import Callable

from minidiff.check.core import Case, Exercise, Mistake


def step_bytes(
    weights: int, L: int, H: int, Hkv: int, D: int, S: int, B: int
) -> int:
    """Return the bytes that one decoding step of a whole model must read.

    A model of `weights` numbers, used once each, in L layers. Each layer has
    H pairs of query heads of width D, which share Hkv pairs of key heads and
    Hkv heads of values, 2D wide. B sequences get a token each; S tokens of
    each are cached. A number takes 2 bytes. Leave out what is not read from
    weights or cache.
    """
    cache = B * L * Hkv * S * (2 * D + 2 * D)
    return 2 * (weights + cache)


def _count(
    each_sequence: bool = False,
    layers: bool = True,
    batch: bool = True,
    query_heads: bool = False,
    width: int = 4,
    size: int = 2,
    factor: int = 1,
) -> Callable[..., int]:
    """Count in a way that may be wrong."""

    def count(
        weights: int, L: int, H: int, Hkv: int, D: int, S: int, B: int
    ) -> int:
        cache = (H if query_heads else Hkv) * S * width * D
        cache *= (L if layers else 1) * (B if batch else 1)
        return size * (factor * weights * (B if each_sequence else 1) + cache)

    return count


EXERCISE = Exercise(
    id="13.3",
    cases=lambda: [
        Case(
            name=f"{weights} weights, L = {L}, H = {H}, Hkv = {Hkv}, D = {D}, "
            f"S = {S}, B = {B}",
            args=(weights, L, H, Hkv, D, S, B),
        )
        for weights, L, H, Hkv, D, S, B in (
            (100, 1, 1, 1, 1, 1, 1),
            (7_000, 3, 8, 2, 64, 50, 1),
            (1_000, 2, 6, 3, 16, 10, 4),
            (500, 5, 4, 4, 8, 0, 3),
        )
    ],
    solution=step_bytes,
    mistakes=(
        Mistake(
            key="numbers, not bytes",
            diagnosis="You count numbers where bytes are asked. Each takes "
            "2, those of the weights too.",
            wrong=_count(size=1),
            also=(lambda weights, *rest: _count()(weights, *rest) - weights,),
        ),
        Mistake(
            key="weights for each sequence",
            diagnosis="You read the weights once for each sequence. A batch "
            "shares them: that is why servers batch.",
            wrong=_count(each_sequence=True),
        ),
        Mistake(
            key="one cache for the batch",
            diagnosis="You read one cache for the whole batch. Each "
            "sequence has its own.",
            wrong=_count(batch=False),
        ),
        Mistake(
            key="one layer",
            diagnosis="You count the cache of one layer. Each of the L has "
            "its own.",
            wrong=_count(layers=False),
        ),
        Mistake(
            key="query heads",
            diagnosis="You count keys and values for each query head. Only "
            "Hkv pairs are stored, and a group shares its reading.",
            wrong=_count(query_heads=True),
        ),
        Mistake(
            key="three widths",
            diagnosis="You count 3D numbers for a token. Two keys, D wide, "
            "and a row of values, 2D wide, make 4D.",
            wrong=_count(width=3),
        ),
        Mistake(
            key="one branch",
            diagnosis="Your cache has half of its bytes. A pair keeps k1, k2 "
            "and v, 4D numbers a token, of 2 bytes each.",
            wrong=_count(width=2),
        ),
        Mistake(
            key="two calls",
            diagnosis="You read the values once for each branch, as two "
            "calls do. The least is once.",
            wrong=_count(width=6),
        ),
        Mistake(
            key="weights left out",
            diagnosis="You count the cache only. Each weight is read for the "
            "new token too.",
            wrong=_count(factor=0),
        ),
        Mistake(
            key="cache left out",
            diagnosis="You count the weights only. Each sequence reads its "
            "keys and values too.",
            wrong=_count(width=0),
        ),
        Mistake(
            key="weights in each layer",
            diagnosis="You multiply the weights by L. They are those of the "
            "whole model already.",
            wrong=lambda weights, L, *rest: _count()(weights * L, L, *rest),
        ),
    ),
    hints=(
        "Two things are read: weights and caches. Which of them do the "
        "sequences of a batch share? The layers? The heads of a group?",
        "A pair of key heads with its values keeps 2D + 2D numbers for each "
        "token. Multiply by tokens, pairs, layers and sequences. The weights "
        "come once.",
        "2 * (weights + 4 * D * S * Hkv * L * B).",
    ),
)
