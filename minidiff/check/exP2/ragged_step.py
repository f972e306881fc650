"""Problem P2.2: one more token for rows of unequal lengths."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.exP2.layers import layer, normal
from minidiff.nn.attention import MultiheadDiffAttention
from minidiff.ops import diff_attention


def ragged_step(
    layer: MultiheadDiffAttention,
    x: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the outputs (B, 1, E) of one more token a row, and the cache.

    x (B, 1, E). k (B, Hkv, 2, C, D) and v (B, Hkv, C, 2D) have room for C
    tokens. Row b holds lengths[b] < C of them, at the front; what stands
    behind them may be anything, NaN too. New tensors are returned, k and v
    stay as they are. No RoPE.
    """
    q = layer.q_proj(x).unflatten(-1, layer.q_shape).movedim(1, -2)
    k_new = layer.k_proj(x).unflatten(-1, layer.k_shape).movedim(1, -2)
    v_new = layer.v_proj(x).unflatten(-1, layer.v_shape).movedim(1, -2)
    here = torch.arange(k.shape[-2]) == lengths[:, None]  # (B, C)
    k = torch.where(here[:, None, None, :, None], k_new, k)
    v = torch.where(here[:, None, :, None], v_new, v)
    heads = diff_attention(
        q,
        k,
        v,
        layer.lam(),
        norm_weight=layer.norm_weight,
        norm_scale=1 - layer.lam_init,
        key_lengths=lengths + 1,
    )  # (B, H, 1, 2D)
    return layer.out_proj(heads.transpose(1, 2).flatten(2)), k, v


def _run(answer: Callable[..., Any], *args: Any) -> Any:
    out = answer(*args)
    if out is None:
        return None
    y, k, v = out
    return y, k.nan_to_num(-7.0), v.nan_to_num(-7.0)


def _cases() -> list[Case]:
    cases = []
    for seed, (H, Hkv, D, C, lengths) in enumerate(
        [
            (1, 1, 2, 4, [3]),
            (2, 2, 2, 6, [2, 4]),
            (2, 1, 4, 5, [0, 3, 1]),
            (1, 1, 3, 5, [2, 4, 2, 1]),
        ]
    ):
        E, B = 2 * H * D, len(lengths)
        behind = torch.arange(C) >= torch.tensor(lengths)[:, None]
        k = normal(10 + seed, B, Hkv, 2, C, D)
        v = normal(20 + seed, B, Hkv, C, 2 * D)
        k[behind[:, None, None].expand(k.shape[:-1])] = float("nan")
        v[behind[:, None].expand(v.shape[:-1])] = float("nan")
        cases.append(
            Case(
                name=f"H = {H}, Hkv = {Hkv}, D = {D}, C = {C}, lengths = "
                f"{lengths}",
                args=(
                    layer(seed, E, H, Hkv, seed),
                    normal(seed, B, 1, E),
                    k,
                    v,
                    torch.tensor(lengths),
                ),
            )
        )
    return cases


Write = Callable[[Tensor, Tensor, Tensor], Tensor]


def _own_place(old: Tensor, new: Tensor, lengths: Tensor) -> Tensor:
    out = old.clone()
    for b, n in enumerate(lengths.tolist()):
        out[b, ..., n, :] = new[b, ..., 0, :]
    return out


def _longest(old: Tensor, new: Tensor, lengths: Tensor) -> Tensor:
    return _own_place(old, new, lengths.max().expand(len(lengths)))


def _first_row(old: Tensor, new: Tensor, lengths: Tensor) -> Tensor:
    return _own_place(old, new, lengths[0].expand(len(lengths)))


def _every_place(old: Tensor, new: Tensor, lengths: Tensor) -> Tensor:
    out = old.clone()
    out[..., lengths, :] = new
    return out


def _behind(old: Tensor, new: Tensor, lengths: Tensor) -> Tensor:
    return torch.cat([old, new], -2)


def _early(old: Tensor, new: Tensor, lengths: Tensor) -> Tensor:
    return _own_place(old, new, (lengths - 1) % old.shape[-2])


def _by_product(old: Tensor, new: Tensor, lengths: Tensor) -> Tensor:
    """Mask with 0 and 1; what stood there may be NaN."""
    here = _own_place(torch.zeros_like(old), torch.ones_like(new), lengths)
    return old * (1 - here) + new * here


def _nowhere(old: Tensor, new: Tensor, lengths: Tensor) -> Tensor:
    return old


def _like(
    write: Write = _own_place,
    lengths_of: Callable[..., Tensor | None] = lambda n, S: n + 1,
    *,
    blank: bool = False,
    norm: bool = True,
    write_v: Write | None = None,
    project: bool = True,
) -> Callable[..., Any]:
    """A step with something about it changed: the mistakes below."""

    def wrong(
        layer: MultiheadDiffAttention,
        x: Tensor,
        k: Tensor,
        v: Tensor,
        lengths: Tensor,
    ) -> Any:
        q, k_new, v_new = (
            proj(x).unflatten(-1, shape).movedim(1, -2)
            for proj, shape in (
                (layer.q_proj, layer.q_shape),
                (layer.k_proj, layer.k_shape),
                (layer.v_proj, layer.v_shape),
            )
        )
        k = write(k, k_new, lengths)
        v = (write_v or write)(v, v_new, lengths)
        heads = diff_attention(
            q,
            k.nan_to_num(0) if blank else k,
            v.nan_to_num(0) if blank else v,
            layer.lam(),
            norm_weight=layer.norm_weight if norm else None,
            norm_scale=1 - layer.lam_init if norm else None,
            key_lengths=lengths_of(lengths, k.shape[-2]),
        )
        y = heads.transpose(1, 2).flatten(2)
        return layer.out_proj(y) if project else y, k, v

    return wrong


def _none(n: Tensor, S: int) -> None:
    return None


EXERCISE = Exercise(
    id="P2.2",
    cases=_cases,
    solution=ragged_step,
    run=_run,
    results=("the outputs", "k", "v"),
    mistakes=(
        Mistake(
            key="appended at the end",
            diagnosis="The new keys are appended behind all C places, the "
            "empty ones too. Row b's new token belongs at place lengths[b].",
            wrong=_like(_behind),
            also=(
                _like(_behind, lambda n, S: n),
                _like(_behind, _none),
            ),
        ),
        Mistake(
            key="one place for all rows",
            diagnosis="Every row's token is written at one place, that of "
            "the longest or the first row. Row b has its own: lengths[b].",
            wrong=_like(_longest),
            also=(
                _like(_first_row),
                _like(_longest, lambda n, S: (n.max() + 1).expand(len(n))),
            ),
        ),
        Mistake(
            key="every row at every place",
            diagnosis="k[..., lengths, :] = ... writes each row's token at "
            "the places of *all* rows, over older tokens. Each row is "
            "written at its own place only.",
            wrong=_like(_every_place),
        ),
        Mistake(
            key="last token overwritten",
            diagnosis="The new token is written at place lengths - 1, over "
            "the row's last one. The first free place is lengths.",
            wrong=_like(_early),
            also=(_like(_early, lambda n, S: n),),
        ),
        Mistake(
            key="only one of two written",
            diagnosis="The new token's keys are written or its values, not "
            "both. Both caches need it.",
            wrong=_like(write_v=_nowhere),
            also=(_like(_nowhere, write_v=_own_place),),
        ),
        Mistake(
            key="masked by a product",
            diagnosis="The old contents of the place are multiplied by 0 "
            "before the new ones are added. 0 times NaN is NaN: replace "
            "them, with an assignment or torch.where.",
            wrong=_like(_by_product),
        ),
        Mistake(
            key="not projected",
            diagnosis="The output matrix is missing: the heads, side by "
            "side, go through layer.out_proj.",
            wrong=_like(project=False),
        ),
        Mistake(
            key="new token not seen",
            diagnosis="The caches are right, but the new token does not see "
            "itself: key_lengths counts it as well, lengths + 1.",
            wrong=_like(lengths_of=lambda n, S: n),
        ),
        Mistake(
            key="empty places seen",
            diagnosis="The caches are right, but the query sees what stands "
            "behind the tokens. A causal mask does not hide it from the "
            "newest token; key_lengths does.",
            wrong=_like(lengths_of=_none),
            also=(
                _like(lengths_of=lambda n, S: (n.max() + 1).expand(len(n))),
                _like(lengths_of=lambda n, S: torch.full_like(n, S)),
            ),
        ),
        Mistake(
            key="empty places zero",
            diagnosis="Empty places are set to zero, but not hidden. A key "
            "of zeros has the score 0, not -inf, and takes a share of the "
            "weight. Use key_lengths.",
            wrong=_like(lengths_of=_none, blank=True),
        ),
        Mistake(
            key="norm dropped",
            diagnosis="The headwise norm is missing. Give norm_weight and "
            "norm_scale as in P2.1.",
            wrong=_like(norm=False),
        ),
    ),
    hints=(
        "Where does the new token of row b belong, and how many keys may it "
        "see then?",
        "At place lengths[b], and lengths[b] + 1 keys. Compare "
        "torch.arange(C) with lengths[:, None]: a mask (B, C) that is True "
        "at one place in each row. torch.where puts the new token there.",
        "here = torch.arange(C) == lengths[:, None]; k = torch.where(here[:, "
        "None, None, :, None], k_new, k); v likewise with one None less; "
        "then the operator with key_lengths=lengths + 1.",
    ),
)
