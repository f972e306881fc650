"""Exercise 7.4: count the parameters of a model."""

from collections.abc import Callable

from minidiff.check.core import Case, Exercise, Mistake


def parameters(V: int, E: int, L: int, D: int, F: int, diff: bool) -> int:
    """Return the number of parameters of a model without biases.

    V tokens, width E, L layers, branch width D, inner width F of SwiGLU. The
    embedding serves as the output matrix too. Plain: E / D heads of width D.
    With diff: half as many differential heads, V1.
    """
    attention = 4 * E * E + (6 * D if diff else 0)
    layer = attention + 3 * E * F + 2 * E
    return V * E + L * layer + E


def _cases() -> list[Case]:
    sizes = (
        (256, 64, 2, 16, 176),
        (1000, 24, 3, 4, 40),
        (100_288, 1536, 24, 96, 4096),
    )
    return [
        Case(
            name=f"V = {V}, E = {E}, L = {L}, D = {D}, F = {F}, "
            f"{'differential' if differential else 'plain'}",
            args=(V, E, L, D, F, differential),
        )
        for V, E, L, D, F in sizes
        for differential in (False, True)
    ]


def _count(
    *,
    embeddings: int = 1,
    matrices: int = 3,
    projections: int = 4,
    layer_norms: int = 2,
    last_norm: int = 1,
    extra: Callable[[int, int, int], float] = lambda E, D, L: 6 * D,
    plain: bool = False,
) -> Callable[..., float]:
    """The count with something about it changed: the mistakes below."""

    def count(
        V: int, E: int, L: int, D: int, F: int, differential: bool
    ) -> float:
        layer: float = projections * E * E + matrices * E * F + layer_norms * E
        if differential or plain:
            layer += extra(E, D, L)
        return embeddings * V * E + L * layer + last_norm * E

    return count


EXERCISE = Exercise(
    id="7.4",
    cases=_cases,
    solution=parameters,
    tolerance=1e-12,
    mistakes=(
        Mistake(
            key="embedding twice",
            diagnosis="V E is counted twice. The output matrix is the "
            "embedding, read again.",
            wrong=_count(embeddings=2),
        ),
        Mistake(
            key="no embedding",
            diagnosis="The embedding is missing: V rows of E numbers.",
            wrong=_count(embeddings=0),
        ),
        Mistake(
            key="two matrices",
            diagnosis="You count two matrices for SwiGLU. It has three: "
            "gate, up and down.",
            wrong=_count(matrices=2),
        ),
        Mistake(
            key="no last norm",
            diagnosis="E are missing: the norm after the last layer.",
            wrong=_count(last_norm=0),
        ),
        Mistake(
            key="no norms in the layers",
            diagnosis="Each layer has two norms with E weights each. They "
            "are missing.",
            wrong=_count(layer_norms=0),
        ),
        Mistake(
            key="no norms at all",
            diagnosis="The norms are missing: two in each layer and one at "
            "the end, E weights each.",
            wrong=_count(layer_norms=0, last_norm=0),
        ),
        Mistake(
            key="one norm a layer",
            diagnosis="You count one norm a layer. There are two: before "
            "attention and before SwiGLU.",
            wrong=_count(layer_norms=1),
        ),
        Mistake(
            key="nothing extra",
            diagnosis="Both kinds come out equal. A differential layer also "
            "has four lambda vectors and the weight of its headwise norm.",
            wrong=_count(extra=lambda E, D, L: 0),
        ),
        Mistake(
            key="extra in the plain model",
            diagnosis="You give the plain model lambda vectors too. Only the "
            "differential one has them.",
            wrong=_count(plain=True),
        ),
        Mistake(
            key="extra for each head",
            diagnosis="You count the extra parameters for each head. All "
            "heads of a layer share them.",
            wrong=_count(extra=lambda E, D, L: 6 * D * (E // (2 * D))),
        ),
        Mistake(
            key="lambdas per head",
            diagnosis="You count four lambda vectors for each head. One "
            "lambda serves all heads of a layer, so a layer has four: 4D "
            "numbers.",
            wrong=_count(extra=lambda E, D, L: 4 * D * (E // (2 * D)) + 2 * D),
            also=(_count(extra=lambda E, D, L: 4 * E + 2 * D),),
        ),
        Mistake(
            key="lambda as a number",
            diagnosis="You count lambda as a number, or one for each head. It "
            "is computed from four vectors of D numbers, and they are what a "
            "layer learns.",
            wrong=_count(extra=lambda E, D, L: 1 + 2 * D),
            also=(_count(extra=lambda E, D, L: E // (2 * D) + 2 * D),),
        ),
        Mistake(
            key="lambda vectors only",
            diagnosis="You count four lambda vectors. The headwise norm has "
            "a weight as well, 2D wide.",
            wrong=_count(extra=lambda E, D, L: 4 * D),
        ),
        Mistake(
            key="norm weight D wide",
            diagnosis="The weight of the headwise norm is as wide as a "
            "head's output: 2D, not D.",
            wrong=_count(extra=lambda E, D, L: 5 * D),
        ),
        Mistake(
            key="extra once",
            diagnosis="You count the extra parameters once. Each of the L "
            "layers has its own.",
            wrong=_count(extra=lambda E, D, L: 6 * D / L),
        ),
        Mistake(
            key="three projections",
            diagnosis="You count three E x E matrices for attention. There "
            "are four: queries, keys, values and output.",
            wrong=_count(projections=3),
        ),
        Mistake(
            key="queries and keys doubled",
            diagnosis="You double the matrices of queries and keys for the "
            "two branches. There are half as many heads, so they stay "
            "E x E.",
            wrong=_count(extra=lambda E, D, L: 2 * E * E + 6 * D),
        ),
        Mistake(
            key="vectors 2D wide",
            diagnosis="A lambda vector is as wide as one branch: D, not 2D.",
            wrong=_count(extra=lambda E, D, L: 10 * D),
        ),
        Mistake(
            key="norm weight E wide",
            diagnosis="You give each head a norm weight of its own, E "
            "numbers in all. The heads of a layer share one of 2D.",
            wrong=_count(extra=lambda E, D, L: 4 * D + E),
        ),
        Mistake(
            key="head norm only",
            diagnosis="The four lambda vectors are missing.",
            wrong=_count(extra=lambda E, D, L: 2 * D),
        ),
    ),
    hints=(
        "Three sums: the embedding, one layer L times, and what comes after "
        "the last layer. What learned things does a layer hold?",
        "A layer: four E x E matrices for attention, three of E x F for "
        "SwiGLU, two norms of E. A differential one has 6 D more.",
        "V * E + L * (4 * E * E + 3 * E * F + 2 * E, and 6 * D with diff) "
        "+ E.",
    ),
)
