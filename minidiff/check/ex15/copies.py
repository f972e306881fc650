"""Exercise 15.4: the head that looks at the previous occurrence."""

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited, slip


def copy_score(A: Tensor, tokens: Tensor, reach: int) -> Tensor:
    """Return for each head how much more it looks at copies: (H,).

    A (B, H, T, T): maps, queries in rows. tokens (B, T): the rows they
    belong to. A query's copy is the nearest earlier place, at most reach
    places back, that has the query's own token.

    A copy at distance d has an excess: its weight, less the mean weight that
    this head has at distance d where the two tokens differ (over all queries
    of all rows). The score is the mean excess over all copies of all rows.
    Every distance that has a copy also has places where tokens differ.
    """
    B, H, T, _ = A.shape
    found = torch.zeros(B, T, dtype=torch.bool)  # the query has its copy
    total, count = torch.zeros(H, dtype=A.dtype), 0
    for d in range(1, min(reach, T - 1) + 1):
        weight = A.diagonal(-d, 2, 3)  # (B, H, T - d), queries d to T - 1
        equal = tokens[:, d:] == tokens[:, :-d]  # (B, T - d)
        copy = equal & ~found[:, d:]
        found[:, d:] |= copy
        if copy.any():
            here = weight.movedim(1, 2)[copy]  # (copies, H)
            other = weight.movedim(1, 2)[~equal].mean(0)
            total += (here - other).sum(0)
            count += len(here)
    return total / count


def _cases() -> list[Case]:
    cases = []
    for B, H, T, V, reach in (
        (1, 1, 5, 2, 3),
        (1, 2, 8, 3, 3),
        (2, 3, 9, 4, 5),
        (3, 2, 12, 3, 40),
    ):
        random = torch.Generator().manual_seed(T)
        A = torch.randn(B, H, T, T, generator=random, dtype=torch.float64)
        tokens = torch.randint(0, V, (B, T), generator=random)
        if T == 5:  # copies at distances 2 and 1
            tokens = torch.tensor([[1, 0, 1, 1, 2]])
        if reach > T:
            # The two ends of a row: copies in two rows, different in one.
            tokens[:, 0] = tokens[1:, -1] = V
        name = f"B = {B}, H = {H}, T = {T}, reach = {reach}"
        cases.append(Case(name=name, args=(A.tril(), tokens, reach)))
    return cases


def _mistake(
    key: str, diagnosis: str, *variants: tuple[tuple[str, str], ...]
) -> Mistake:
    """Return a mistake: the solution with text replaced."""
    wrong, *also = (edited(copy_score, *changes) for changes in variants)
    return Mistake(key=key, diagnosis=diagnosis, wrong=wrong, also=tuple(also))


_OTHER = "            other = weight.movedim(1, 2)[~equal].mean(0)\n"

EXERCISE = Exercise(
    id="15.4",
    cases=_cases,
    solution=copy_score,
    mistakes=(
        _mistake(
            "nothing compared",
            "That is the mean weight on copies. Near places get more weight "
            "whatever stands there, so take away what the head has at the "
            "same distance where tokens differ.",
            (("(here - other)", "here"),),
        ),
        _mistake(
            "compared with everything",
            "You compare with all places at that distance, copies included. "
            "Compare with those whose tokens differ.",
            (("[~equal].mean(0)", ".flatten(0, 1).mean(0)"),),
        ),
        _mistake(
            "farther copies among the rest",
            "Among the places you compare with are equal tokens that are not "
            "the nearest. Compare only with places whose tokens differ.",
            (("[~equal]", "[~copy]"),),
        ),
        _mistake(
            "all copies",
            "You count every earlier place with the same token. Count the "
            "nearest one only.",
            (("equal & ~found[:, d:]", "equal"),),
        ),
        _mistake(
            "the farthest copy",
            "You take the farthest place with the same token within reach. "
            "Take the nearest.",
            (
                (
                    "range(1, min(reach, T - 1) + 1)",
                    "range(min(reach, T - 1), 0, -1)",
                ),
            ),
        ),
        _mistake(
            "reach off by one",
            "A copy exactly reach places back counts too: range(1, reach + "
            "1).",
            (("min(reach, T - 1) + 1", "min(reach, T)"),),
        ),
        _mistake(
            "no reach",
            "You look back as far as the row goes. Look at most reach places "
            "back.",
            (("min(reach, T - 1) + 1", "T"),),
        ),
        _mistake(
            "itself",
            "You begin at distance 0, and every token equals itself. An "
            "earlier place is at least one back.",
            (
                ("range(1, min", "range(0, min"),
                ("tokens[:, :-d]", "tokens[:, : T - d]"),
                (
                    "[~equal].mean(0)",
                    "[~equal].sum(0) / max((~equal).sum(), 1)",
                ),
            ),
            (
                ("range(1, min", "range(0, min"),
                ("tokens[:, :-d]", "tokens[:, : T - d]"),
            ),
        ),
        _mistake(
            "looked ahead",
            "You read the map with query and key exchanged, above the "
            "diagonal. The weight of query t on key s is A[b, h, t, s].",
            (("A.diagonal(-d, 2, 3)", "A.diagonal(d, 2, 3)"),),
        ),
        _mistake(
            "distances weigh equally",
            "You average over distances, so a rare distance counts as much "
            "as a common one. Average over all copies.",
            (
                ("(here - other).sum(0)", "(here - other).mean(0)"),
                ("count += len(here)", "count += 1"),
            ),
        ),
        _mistake(
            "one mean for all distances",
            "You take away one mean over all distances. A head has more "
            "weight near the query than far away, so compare at the same "
            "distance.",
            (
                (
                    _OTHER,
                    "            pairs = torch.ones(T, T).tril(-1) - "
                    "torch.ones(T, T).tril(-min(reach, T - 1) - 1)\n"
                    "            unlike = (tokens[:, :, None] != "
                    "tokens[:, None]) & (pairs > 0)\n"
                    "            other = A.permute(0, 2, 3, 1)[unlike]"
                    ".mean(0)\n",
                ),
            ),
        ),
        _mistake(
            "rows one by one",
            "You take the means within each row, and then the mean over "
            "rows. A row with few copies then counts as much as one with "
            "many.",
            (
                (
                    "    B, H, T, _ = A.shape\n",
                    "    if len(A) > 1:\n"
                    "        rows = zip(A[:, None], tokens[:, None])\n"
                    "        return torch.stack(\n"
                    "            [copy_score(a, t, reach) for a, t in rows]\n"
                    "        ).mean(0)\n"
                    "    B, H, T, _ = A.shape\n",
                ),
            ),
        ),
        _mistake(
            "baseline row by row",
            "You take the usual weight from the copy's own row. It is the "
            "mean over all queries of all rows at that distance.",
            (
                (
                    _OTHER,
                    "            own = (weight * ~equal[:, None]).sum(2)\n"
                    "            own = own / (~equal).sum(1)[:, None]"
                    ".clamp(min=1)\n"
                    "            other = own[:, None].expand("
                    "-1, T - d, -1)[copy]\n",
                ),
            ),
        ),
        _mistake(
            "divided by all queries",
            "You divide by the number of queries, copy or no copy. The score "
            "is a mean over copies: count them.",
            (("count += len(here)", "count = B * T"),),
            (("count += len(here)", "count += B * (T - d)"),),
            (("count += len(here)", "count = B * (T - 1)"),),
        ),
        _mistake(
            "added up",
            "You add up the excesses of all copies. The score is their "
            "mean: divide by the number of copies.",
            (("return total / count", "return total"),),
        ),
        _mistake(
            "heads together",
            "You return one number. Keep the heads apart: (H,).",
            (("return total / count", "return (total / count).mean()"),),
        ),
        slip(
            "compared with equal ones",
            "You compare with the places whose tokens are equal. Take those "
            "whose tokens differ.",
            copy_score,
            ("[~equal].mean(0)", "[equal].mean(0)"),
        ),
        slip(
            "a sum to compare with",
            "You take away a sum of weights. Take away their mean.",
            copy_score,
            ("[~equal].mean(0)", "[~equal].sum(0)"),
        ),
        slip(
            "usual weight added",
            "You add the usual weight, or take the copy's weight from it. "
            "An excess is the copy's weight less the usual one.",
            copy_score,
            ("(here - other)", "(here + other)"),
            ("(here - other)", "(other - here)"),
        ),
        slip(
            "neighbour left out",
            "A copy may stand right before the query: distances begin at 1.",
            copy_score,
            ("range(1, min", "range(2, min"),
        ),
    ),
    hints=(
        "Go through the distances d = 1, 2, ... reach. At each one compare "
        "tokens[:, d:] with tokens[:, :-d], and remember which queries have "
        "found their copy at a smaller distance.",
        "A.diagonal(-d, 2, 3) has shape (B, H, T - d): the weights of the "
        "queries d to T - 1 on the places d before them.",
        "At each d: here = weights at equal places whose query has no copy "
        "yet, other = mean weight at places that differ; add up here - "
        "other, count the copies, divide at the end.",
    ),
)
