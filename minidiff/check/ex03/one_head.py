"""Exercise 3.2: one differential head."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.ex03.wrong_heads import (
    cut_at_half_of_E,
    head_like,
    map_of,
    one_softmax,
    swapped_in_a_branch,
    values_added,
    values_joined,
)
from minidiff.check.imported import own_work
from minidiff.reference import attention_map, diff_head


def one_head(
    x: np.ndarray,
    Wq: np.ndarray,
    Wk: np.ndarray,
    Wv: np.ndarray,
    lam: float,
) -> np.ndarray:
    """Return the output (T, 2D) of one causal differential head.

    x (T, E); Wq, Wk, Wv (E, 2D). The first D columns of x @ Wq are q1, the
    other D are q2; k1 and k2 likewise; the values are not split.
    """
    q1, q2 = np.split(x @ Wq, 2, axis=-1)
    k1, k2 = np.split(x @ Wk, 2, axis=-1)
    A1 = attention_map(q1, k1)
    A2 = attention_map(q2, k2)
    return (A1 - lam * A2) @ (x @ Wv)


def _cases() -> list[Case]:
    cases = []
    for seed, (T, E, D, lam) in enumerate(
        [(5, 8, 4, 0.2), (7, 5, 3, 0.5), (6, 9, 2, -0.3), (1, 4, 3, 0.8)]
    ):
        rng = np.random.default_rng(seed)
        x, W = rng.normal(size=(T, E)), rng.normal(size=(3, E, 2 * D))
        cases.append(
            Case(
                name=f"T = {T}, E = {E}, D = {D}, lam = {lam}",
                args=(x, *W, lam),
            )
        )
    return [*cases, _far_below_zero()]


def _far_below_zero() -> Case:
    """A head whose scores are about -30000: a hidden -10000 is above them."""
    rng = np.random.default_rng(9)
    x, W = rng.normal(size=(4, 6)), rng.normal(size=(3, 6, 4))
    x[:, 0] = 1  # the same for all tokens
    W[:2, 1:, ::2] = 0
    W[0, 0, ::2], W[1, 0, ::2] = 200, -200
    name = "T = 4, E = 6, D = 2, lam = 0.5, scores below -28000"
    return Case(name=name, args=(x, *W, 0.5))


EXERCISE = Exercise(
    id="3.2",
    cases=_cases,
    solution=one_head,
    run=own_work(diff_head),
    mistakes=(
        Mistake(
            key="imported answer",
            diagnosis="You call minidiff's own head. Build it from two maps; "
            "attention_map is allowed.",
            wrong=lambda x, Wq, Wk, Wv, lam: diff_head(
                x @ Wq, x @ Wk, x @ Wq, x @ Wk, x @ Wv, lam
            ),
        ),
        Mistake(
            key="scale by 2D",
            diagnosis="The logits are divided by sqrt(2D). Each branch is D "
            "wide, so its scale is sqrt(D).",
            wrong=lambda *a: head_like(*a, width=2.0),
        ),
        Mistake(
            key="scale by E",
            diagnosis="The scores are divided by sqrt(E), the width of a "
            "token. It is sqrt(D), the width of one branch.",
            wrong=lambda x, Wq, *a: head_like(
                x, Wq, *a, width=2 * x.shape[1] / Wq.shape[1]
            ),
        ),
        Mistake(
            key="no mask",
            diagnosis="Every query sees every key. The maps must be causal: "
            "query t sees keys 0 to t.",
            wrong=lambda *a: head_like(*a, edge=None),
        ),
        Mistake(
            key="mask off by one",
            diagnosis="The causal mask lets query t see key t + 1. It may "
            "see keys 0 to t.",
            wrong=lambda *a: head_like(*a, edge=1),
        ),
        Mistake(
            key="hidden by a finite number",
            diagnosis="Hidden scores are large and negative, but not minus "
            "infinity. In the last case all scores lie below -28000, so the "
            "hidden keys win. Use -np.inf.",
            wrong=lambda *a: head_like(*a, hide=-1e4),
            also=(
                lambda *a: head_like(*a, hide=-1e3),
                lambda *a: head_like(*a, hide=-100.0),
            ),
        ),
        Mistake(
            key="hidden scores set to 0",
            diagnosis="Hidden scores are 0, and exp(0) is 1: the hidden keys "
            "still get weight. Set them to -np.inf.",
            wrong=lambda *a: head_like(*a, hide=0.0),
        ),
        Mistake(
            key="masked after the softmax",
            diagnosis="You set weights to 0 after the softmax, so later "
            "tokens are still part of the sums. Hide their scores first.",
            wrong=lambda *a: head_like(*a, late=True),
        ),
        Mistake(
            key="interleaved split",
            diagnosis="You take every second column for each branch. Here "
            "the first D columns are branch 1 and the last D branch 2.",
            wrong=lambda *a: head_like(
                *a, columns=(slice(0, None, 2), slice(1, None, 2))
            ),
        ),
        Mistake(
            key="maximum forgotten",
            diagnosis="You exponentiate the scores as they are. Below -28000 "
            "every exponential is 0, and 0 / 0 is NaN: subtract the largest "
            "score of the row first, as softmax does.",
            wrong=lambda *a: head_like(*a, safe=False),
        ),
        Mistake(
            key="transposed weights",
            diagnosis="You multiply by the transposed matrices. W is (E, "
            "2D), so the projection is x @ W.",
            wrong=lambda x, Wq, Wk, Wv, lam: one_head(
                x, Wq.T, Wk.T, Wv.T, lam
            ),
        ),
        Mistake(
            key="cut at 2D",
            diagnosis="You cut at the number of columns, so branch 2 is "
            "empty and its scores are 0 / 0. There are 2D columns: cut in "
            "the middle.",
            wrong=lambda *a: np.full((len(a[0]), a[3].shape[1]), np.nan),
        ),
        Mistake(
            key="one column lost",
            diagnosis="Branch 2 begins one column late. The second branch is "
            "[:, D:], with the column D itself.",
            wrong=lambda x, Wq, Wk, Wv, lam: (
                (
                    map_of(x, Wq, Wk, 0)
                    - lam
                    * attention_map(
                        (x @ Wq)[:, Wq.shape[1] // 2 + 1 :],
                        (x @ Wk)[:, Wq.shape[1] // 2 + 1 :],
                    )
                )
                @ (x @ Wv)
            ),
        ),
        Mistake(
            key="values not projected",
            diagnosis="The maps are multiplied by x. The values are x @ Wv.",
            wrong=lambda x, Wq, Wk, Wv, lam: one_head(
                x, Wq, Wk, np.eye(len(x[0])), lam
            ),
        ),
        Mistake(
            key="cut at E / 2",
            diagnosis="You cut the columns at E / 2. E is the width of a "
            "token and may be any number; the columns are 2D, so cut at D.",
            wrong=cut_at_half_of_E,
        ),
        Mistake(
            key="branches swapped",
            diagnosis="The branches are swapped: this is A2 - lam A1.",
            wrong=lambda x, Wq, Wk, Wv, lam: one_head(
                x,
                np.roll(Wq, Wq.shape[1] // 2, 1),
                np.roll(Wk, Wk.shape[1] // 2, 1),
                Wv,
                lam,
            ),
        ),
        Mistake(
            key="keys crossed",
            diagnosis="q1 is compared with k2 and q2 with k1. Each branch "
            "has its own queries and its own keys.",
            wrong=lambda x, Wq, Wk, Wv, lam: one_head(
                x, Wq, np.roll(Wk, Wk.shape[1] // 2, 1), Wv, lam
            ),
        ),
        Mistake(
            key="keys ask queries",
            diagnosis="Queries and keys have changed places: the scores are "
            "k @ q.T. Row t of a map belongs to query t: q @ k.T.",
            wrong=lambda x, Wq, Wk, Wv, lam: one_head(x, Wk, Wq, Wv, lam),
            also=(
                lambda *a: swapped_in_a_branch(*a, branch=0),
                lambda *a: swapped_in_a_branch(*a, branch=1),
            ),
        ),
        Mistake(
            key="lam dropped",
            diagnosis="lam is not used: the second map is subtracted whole.",
            wrong=lambda x, Wq, Wk, Wv, lam: one_head(x, Wq, Wk, Wv, 1.0),
        ),
        Mistake(
            key="before the softmax",
            diagnosis="You subtract the scores and take one softmax. Take "
            "two softmaxes, then subtract the maps.",
            wrong=one_softmax,
        ),
        Mistake(
            key="values split",
            diagnosis="The values are cut in half. Both maps read the same "
            "v, 2D wide.",
            wrong=lambda x, Wq, Wk, Wv, lam: one_head(
                x, Wq, Wk, Wv[:, : Wv.shape[1] // 2], lam
            ),
            also=(values_joined, values_added),
        ),
        Mistake(
            key="scaled twice",
            diagnosis="The scores are divided by sqrt(D) twice. "
            "attention_map has done it already.",
            wrong=lambda x, Wq, *a: head_like(
                x, Wq, *a, width=Wq.shape[1] / 2
            ),
        ),
        Mistake(
            key="no scale",
            diagnosis="The scores are not scaled. Divide them by sqrt(D), "
            "the width of one branch.",
            wrong=lambda x, Wq, *a: head_like(
                x, Wq, *a, width=2 / Wq.shape[1]
            ),
        ),
        Mistake(
            key="added",
            diagnosis="The second map is added. It is subtracted.",
            wrong=lambda *a: head_like(*a, factors=(1, a[-1])),
        ),
        Mistake(
            key="lam on the first",
            diagnosis="lam multiplies the first map. It belongs to the "
            "second.",
            wrong=lambda *a: head_like(*a, factors=(a[-1], -1)),
        ),
        Mistake(
            key="rows rescaled",
            diagnosis="You divide the rows of the difference by their sum. "
            "They are left as they are and sum to 1 - lam.",
            wrong=lambda *a: head_like(*a, rescaled=True),
        ),
        Mistake(
            key="one wide map",
            diagnosis="One map is made of all 2D columns, and nothing is "
            "subtracted. Cut queries and keys into branches first.",
            wrong=lambda x, Wq, Wk, Wv, lam: (
                attention_map(x @ Wq, x @ Wk) @ (x @ Wv)
            ),
        ),
        Mistake(
            key="one branch's keys twice",
            diagnosis="Both maps use the same keys, or the same queries. In "
            "V1 each branch has its own queries and its own keys.",
            wrong=lambda x, Wq, Wk, Wv, lam: one_head(
                x, Wq, np.tile(Wk[:, : Wk.shape[1] // 2], 2), Wv, lam
            ),
            also=(
                lambda x, Wq, Wk, Wv, lam: one_head(
                    x, np.tile(Wq[:, : Wq.shape[1] // 2], 2), Wk, Wv, lam
                ),
            ),
        ),
        Mistake(
            key="map returned",
            diagnosis="The map (T, T) comes back. The head's output is the "
            "map times the values, (T, 2D).",
            wrong=lambda x, Wq, Wk, Wv, lam: (
                map_of(x, Wq, Wk, 0) - lam * map_of(x, Wq, Wk, 1)
            ),
        ),
    ),
    hints=(
        "Which of the three projections are cut into two branches, and "
        "which one serves both?",
        "np.split(x @ Wq, 2, axis=-1) gives q1 and q2. attention_map already "
        "scales and masks.",
        "A1 = attention_map(q1, k1), A2 = attention_map(q2, k2); return "
        "(A1 - lam * A2) @ (x @ Wv).",
    ),
)
