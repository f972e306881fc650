"""Problem P4.1: differential heads over documents packed in a row."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def packed_heads(
    q: Tensor, k: Tensor, v: Tensor, lam: float, tokens: Tensor, end: int
) -> Tensor:
    """Return (A1 - lam A2) v (B, H, T, 2D); no document sees another.

    q, k (B, H, 2, T, D) and v (B, H, T, 2D), of B packed rows. tokens (B, T):
    their ids. The id end closes a document and belongs to it; the last
    document of a row may be without one. Causal, no norm.
    """
    closes = (tokens == end).long()
    document = closes.cumsum(-1) - closes  # (B, T)
    same = document[:, :, None] == document[:, None, :]  # (B, T, S)
    mask = same.tril()[:, None, None]
    logits = q @ k.mT * q.shape[-1] ** -0.5  # (B, H, 2, T, S)
    A1, A2 = logits.masked_fill(~mask, float("-inf")).softmax(-1).unbind(2)
    return (A1 - lam * A2) @ v


def _cases() -> list[Case]:
    cases = []
    for seed, (H, D, rows) in enumerate(
        [
            (1, 2, [[5, 9, 7]]),  # here 9 is the end, elsewhere 0
            (2, 3, [[4, 0, 6, 7, 0, 5, 5]]),
            (
                2,
                2,
                [[3, 4, 5, 0, 6, 7], [0, 3, 3, 0, 4, 0], [6, 5, 4, 3, 3, 7]],
            ),
            (1, 2, [[4, 0, 6, 7, 0, 5]]),  # with scores in the billions
        ]
    ):
        B, T = len(rows), len(rows[0])
        generator = torch.Generator().manual_seed(seed)
        q, k = torch.randn(
            (2, B, H, 2, T, D), generator=generator, dtype=torch.float64
        )
        v = torch.randn(
            (B, H, T, 2 * D), generator=generator, dtype=torch.float64
        )
        end = 0 if seed else 9
        q *= 2 if seed < 3 else 4e10
        args = (q, k, v, 0.7 - 0.2 * seed, torch.tensor(rows), end)
        name = f"H = {H}, D = {D}, rows {rows}, end {end}"
        cases.append(Case(name=name, args=args))
    return cases


Mask = Callable[[Tensor, int], Tensor]


def _numbers(tokens: Tensor, end: int) -> Tensor:
    closes = (tokens == end).long()
    return closes.cumsum(-1) - closes


def _alike(document: Tensor) -> Tensor:
    return (document[:, :, None] == document[:, None, :]).tril()


def _right(tokens: Tensor, end: int) -> Tensor:
    return _alike(_numbers(tokens, end))


def _causal(tokens: Tensor) -> Tensor:
    B, T = tokens.shape
    return torch.ones(T, T, dtype=torch.bool).tril().expand(B, T, T)


def _end_opens(tokens: Tensor, end: int) -> Tensor:
    return _alike((tokens == end).long().cumsum(-1))


def _end_alone(tokens: Tensor, end: int) -> Tensor:
    closes = (tokens == end).long()
    return _alike(2 * closes.cumsum(-1) - closes)


def _first_border(tokens: Tensor, end: int) -> Tensor:
    closes = (tokens == end).long()
    return _alike(((closes.cumsum(-1) - closes) > 0).long())


def _border_if_none(tokens: Tensor, end: int) -> Tensor:
    """By argmax, which says 0 where a row has no end."""
    first = (tokens == end).long().argmax(-1, keepdim=True)
    return _alike((torch.arange(tokens.shape[1]) > first).long())


def _last_open(tokens: Tensor, end: int) -> Tensor:
    """A document gets its borders at its end; the last may have none."""
    document = _numbers(tokens, end)
    closed = document < (tokens == end).sum(-1, keepdim=True)
    return _right(tokens, end) | (_causal(tokens) & ~closed[:, :, None])


def _one_count(tokens: Tensor, end: int) -> Tensor:
    return _right(tokens[:1], end).expand(len(tokens), -1, -1)


def _ends_hidden(tokens: Tensor, end: int) -> Tensor:
    return _causal(tokens) & ((tokens != end)[:, None, :] | _own(tokens))


def _own(tokens: Tensor) -> Tensor:
    return torch.eye(tokens.shape[1], dtype=torch.bool)


def _two_ways(tokens: Tensor, end: int) -> Tensor:
    document = _numbers(tokens, end)
    return document[:, :, None] == document[:, None, :]


def _strict(tokens: Tensor, end: int) -> Tensor:
    """Nobody sees itself, but for those who would see nothing at all."""
    mask = _right(tokens, end) & ~_own(tokens)
    return mask | (~mask.any(-1, keepdim=True) & _own(tokens))


def _hidden(logits: Tensor, mask: Tensor) -> Tensor:
    return logits.masked_fill(~mask, float("-inf")).softmax(-1)


def _like(
    mask: Mask = _right,
    mask2: Mask | None = None,
    *,
    maps: Callable[[Tensor, Tensor], Tensor] = _hidden,
    scale: Callable[[int], float] = lambda D: D**-0.5,
    combine: Callable[..., Tensor] = lambda A, v, lam: (
        (A[:, :, 0] - lam * A[:, :, 1]) @ v
    ),
) -> Callable[..., Tensor]:
    """Packed heads with something about them changed."""

    def wrong(
        q: Tensor, k: Tensor, v: Tensor, lam: float, tokens: Tensor, end: int
    ) -> Tensor:
        both = [m(tokens, end) for m in (mask, mask2 or mask)]
        seen = torch.stack(both, 1)[:, None]  # (B, 1, 2, T, S)
        logits = q @ k.mT * scale(q.shape[-1])
        return combine(maps(logits, seen), v, lam)

    return wrong


def _after_causal(logits: Tensor, mask: Tensor) -> Tensor:
    causal = torch.ones_like(mask).tril()
    return _hidden(logits, causal) * mask


def _zero_logits(logits: Tensor, mask: Tensor) -> Tensor:
    causal = torch.ones_like(mask).tril()
    return _hidden((logits * mask), causal)


def _plain_causal(tokens: Tensor, end: int) -> Tensor:
    return _causal(tokens)


def _no_axis_for_heads(
    q: Tensor, k: Tensor, v: Tensor, lam: float, tokens: Tensor, end: int
) -> Tensor:
    """A mask (B, T, T), which meets (B, H, T, T) with B on the heads."""
    mask = _right(tokens, end)
    logits = (q @ k.mT * q.shape[-1] ** -0.5).unbind(2)
    A1, A2 = (_hidden(x, mask) for x in logits)
    return (A1 - lam * A2) @ v


def _before_softmax(
    q: Tensor, k: Tensor, v: Tensor, lam: float, tokens: Tensor, end: int
) -> Tensor:
    logits = q @ k.mT * q.shape[-1] ** -0.5
    mask = _right(tokens, end)[:, None]
    return _hidden(logits[:, :, 0] - lam * logits[:, :, 1], mask) @ v


EXERCISE = Exercise(
    id="P4.1",
    cases=_cases,
    solution=packed_heads,
    mistakes=(
        Mistake(
            key="end opens",
            diagnosis="The id end is counted to the document behind it. It "
            "closes the one before: from the running count of ends take off "
            "the end that stands here.",
            wrong=_like(_end_opens),
        ),
        Mistake(
            key="end alone",
            diagnosis="Each end is a document of its own. It belongs to the "
            "one that it closes, and sees it.",
            wrong=_like(_end_alone),
        ),
        Mistake(
            key="one border",
            diagnosis="Only the first border of a row counts, and all that "
            "follows is taken for one document. Number the documents.",
            wrong=_like(_first_border),
            also=(_like(_border_if_none),),
        ),
        Mistake(
            key="last document open",
            diagnosis="The last document, which has no end, sees those "
            "before it. It begins behind the last end, as any other.",
            wrong=_like(_last_open),
        ),
        Mistake(
            key="zero for the end",
            diagnosis="You look for the id 0. Which id closes a document is "
            "said by the argument end.",
            wrong=_like(lambda tokens, end: _right(tokens, 0)),
        ),
        Mistake(
            key="no axis for heads",
            diagnosis="Right for one row, and with three nothing fits: the "
            "mask's axes must meet those of the logits. For one branch's, (B, "
            "H, T, T), it is (B, 1, T, T); for both, (B, 1, 1, T, T).",
            wrong=_no_axis_for_heads,
        ),
        Mistake(
            key="one mask for all rows",
            diagnosis="Every row gets the mask of the first one. Each row "
            "has borders of its own.",
            wrong=_like(_one_count),
        ),
        Mistake(
            key="no borders",
            diagnosis="This is the causal mask alone: each token sees all "
            "documents before its own.",
            wrong=_like(_plain_causal),
        ),
        Mistake(
            key="ends hidden",
            diagnosis="You hide the ends, and nothing else. What has to be "
            "hidden is every token of the other documents.",
            wrong=_like(_ends_hidden),
        ),
        Mistake(
            key="not causal",
            diagnosis="Inside its document a token sees what comes after it. "
            "The causal mask is needed too.",
            wrong=_like(_two_ways),
        ),
        Mistake(
            key="not itself",
            diagnosis="A token does not see itself. The diagonal is open: "
            "tril(), not tril(-1).",
            wrong=_like(_strict),
            also=(
                _like(lambda tokens, end: _right(tokens, end) & ~_own(tokens)),
            ),
        ),
        Mistake(
            key="branch 2 across borders",
            diagnosis="One branch keeps to its document, the other does not. "
            "Both maps need the mask, or what is subtracted comes from other "
            "texts.",
            wrong=_like(_right, _plain_causal),
            also=(_like(_plain_causal, _right),),
        ),
        Mistake(
            key="masked after the softmax",
            diagnosis="The softmax runs over all documents, and the weights "
            "of the others are set to 0 afterwards. They have had their "
            "share: rows no longer sum to 1 - lam. Mask the logits.",
            wrong=_like(maps=_after_causal),
            also=(_like(maps=lambda logits, mask: logits.softmax(-1) * mask),),
        ),
        Mistake(
            key="logits zero",
            diagnosis="Hidden logits are set to 0, and exp(0) = 1 is a good "
            "share of the weight. They must be minus infinity.",
            wrong=_like(maps=_zero_logits),
            also=(
                _like(maps=lambda logits, mask: (logits * mask).softmax(-1)),
            ),
        ),
        Mistake(
            key="subtracted before the softmax",
            diagnosis="You subtract logits and take one softmax. Two maps "
            "are made, and then subtracted.",
            wrong=_before_softmax,
        ),
        Mistake(
            key="lam dropped",
            diagnosis="A2 is subtracted whole. It is weighed by lam.",
            wrong=_like(
                combine=lambda A, v, lam: (A[:, :, 0] - A[:, :, 1]) @ v
            ),
        ),
        Mistake(
            key="added",
            diagnosis="You add lam A2. It is taken away.",
            wrong=_like(
                combine=lambda A, v, lam: (A[:, :, 0] + lam * A[:, :, 1]) @ v
            ),
        ),
        Mistake(
            key="branches swapped",
            diagnosis="The branches are swapped: you take lam A1 from A2.",
            wrong=_like(
                combine=lambda A, v, lam: (A[:, :, 1] - lam * A[:, :, 0]) @ v
            ),
        ),
        Mistake(
            key="scale 2D",
            diagnosis="The logits are divided by the root of 2D. A query is "
            "D wide.",
            wrong=_like(scale=lambda D: (2 * D) ** -0.5),
        ),
        Mistake(
            key="no scale",
            diagnosis="The logits are not divided by the root of D.",
            wrong=_like(scale=lambda D: 1.0),
        ),
        slip(
            "another division by the width",
            "The logits are divided by something else than the root of D, "
            "or multiplied.",
            packed_heads,
            ("* q.shape[-1] ** -0.5", "/ q.shape[-1]"),
            ("* q.shape[-1] ** -0.5", "* q.shape[-1] ** 0.5"),
            ("* q.shape[-1] ** -0.5", "/ q.shape[-2] ** 0.5"),
            ("* q.shape[-1] ** -0.5", "/ q.shape[1] ** 0.5"),
            ("* q.shape[-1] ** -0.5", "/ q.shape[0] ** 0.5"),
            ("* q.shape[-1] ** -0.5", "* q.shape[-1]"),
        ),
        slip(
            "one map only",
            "One of the two maps is missing from your result.",
            packed_heads,
            ("(A1 - lam * A2)", "(A1)"),
            ("(A1 - lam * A2)", "(lam * A2)"),
        ),
        slip(
            "hidden by a number",
            "Hidden logits are set to a large negative number. A query "
            "whose visible logits are as low would look at hidden keys: use "
            "minus infinity.",
            packed_heads,
            ('float("-inf")', "-1e4"),
            ('float("-inf")', "-1e9"),
            ('float("-inf")', "-1e3"),
        ),
    ),
    hints=(
        "Write the number of its document under each token of a row with "
        "two ends. Which of the running count of ends is it?",
        "closes = (tokens == end).long(), and the number is "
        "closes.cumsum(-1) - closes. A query sees the keys of its own number "
        "that are not behind it; both branches do.",
        "same = document[:, :, None] == document[:, None, :]; the logits of "
        "both branches, q @ k.mT / sqrt(D), get minus infinity where "
        "same.tril()[:, None, None] is False; softmax, then A1 - lam A2.",
    ),
)
