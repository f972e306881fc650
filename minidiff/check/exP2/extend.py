"""Problem P2.1: more tokens for a layer with a cache."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.exP2.layers import layer, normal
from minidiff.nn.attention import MultiheadDiffAttention
from minidiff.nn.layers import apply_rope, rope_angles
from minidiff.ops import diff_attention


def extend(
    layer: MultiheadDiffAttention,
    x: Tensor,
    k: Tensor,
    v: Tensor,
    cos: Tensor,
    sin: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the outputs (B, T, E) of T more tokens, and the grown cache.

    x (B, T, E): the tokens at positions S to S + T - 1. The cache of the S
    tokens before them, S >= 0: k (B, Hkv, 2, S, D), already rotated, and v
    (B, Hkv, S, 2D). cos, sin (N, D / 2): the angles of positions 0 to N - 1.
    """
    S, T = k.shape[-2], x.shape[1]
    q = layer.q_proj(x).unflatten(-1, layer.q_shape).movedim(1, -2)
    k_new = layer.k_proj(x).unflatten(-1, layer.k_shape).movedim(1, -2)
    v_new = layer.v_proj(x).unflatten(-1, layer.v_shape).movedim(1, -2)
    angles = cos[S : S + T], sin[S : S + T]
    k = torch.cat([k, apply_rope(k_new, *angles)], -2)
    v = torch.cat([v, v_new], -2)
    heads = diff_attention(
        apply_rope(q, *angles),
        k,
        v,
        layer.lam(),
        norm_weight=layer.norm_weight,
        norm_scale=1 - layer.lam_init,
    )  # (B, H, T, 2D)
    return layer.out_proj(heads.transpose(1, 2).flatten(2)), k, v


def _run(
    answer: Callable[..., Any],
    module: MultiheadDiffAttention,
    x: Tensor,
    *sizes: int,
) -> Any:
    """Feed x in pieces: all outputs, and the cache at the end."""
    (Hkv, _, D), B = module.k_shape, len(x)
    k, v = x.new_zeros(B, Hkv, 2, 0, D), x.new_zeros(B, Hkv, 0, 2 * D)
    cos, sin = (a.double() for a in rope_angles(x.shape[1] + 3, D))
    outputs = []
    for piece in x.split(sizes, 1):
        out = answer(module, piece, k, v, cos, sin)
        if out is None:
            return None
        y, k, v = out
        outputs.append(y)
    return torch.cat(outputs, 1), k, v


def _cases() -> list[Case]:
    cases = []
    for seed, (B, H, Hkv, D, sizes) in enumerate(
        [(1, 1, 1, 2, (1,)), (2, 2, 2, 4, (1, 1, 1)), (1, 4, 2, 2, (4, 1, 3))]
    ):
        E, T = 2 * H * D, sum(sizes)
        pieces = ", ".join(map(str, sizes))
        cases.append(
            Case(
                name=f"B = {B}, H = {H}, Hkv = {Hkv}, D = {D}, tokens in "
                f"pieces of {pieces}",
                args=(
                    layer(seed, E, H, Hkv, seed),
                    normal(seed, B, T, E),
                    *sizes,
                ),
            )
        )
    return cases


def _like(
    *,
    first: Callable[[Tensor], int] = lambda k: k.shape[-2],
    first_q: Callable[[Tensor], int] | None = None,
    turn: str = "new",
    turn_q: bool = True,
    all_keys: bool = True,
    lam: Callable[[MultiheadDiffAttention], Any] = lambda layer: layer.lam(),
    scale: Callable[[MultiheadDiffAttention], Any] = lambda layer: (
        1 - layer.lam_init
    ),
    weight: bool = True,
    causal: bool = True,
    join: Callable[[Tensor, Tensor], Tensor] = lambda old, new: torch.cat(
        [old, new], -2
    ),
    merge: Callable[[Tensor], Tensor] = lambda heads: heads.transpose(
        1, 2
    ).flatten(2),
    project: bool = True,
    kept: Callable[[Tensor, Tensor], Tensor] = lambda whole, new: whole,
) -> Callable[..., Any]:
    """A step with something about it changed: the mistakes below."""

    def wrong(  # the arguments of extend
        layer: MultiheadDiffAttention,
        x: Tensor,
        k: Tensor,
        v: Tensor,
        cos: Tensor,
        sin: Tensor,
    ) -> Any:
        S, T = k.shape[-2], x.shape[1]
        q, k_new, v_new = (
            proj(x).unflatten(-1, shape).movedim(1, -2)
            for proj, shape in (
                (layer.q_proj, layer.q_shape),
                (layer.k_proj, layer.k_shape),
                (layer.v_proj, layer.v_shape),
            )
        )
        n, m = first(k), (first_q or first)(k)
        here = cos[n : n + T], sin[n : n + T]
        everything = cos[: S + T], sin[: S + T]
        if turn == "new":
            k_new = apply_rope(k_new, *here)
        k, v = join(k, k_new), join(v, v_new)
        if turn == "all, kept":
            k = apply_rope(k, *everything)
        seen = apply_rope(k, *everything) if turn == "all" else k
        heads = diff_attention(
            apply_rope(q, cos[m : m + T], sin[m : m + T]) if turn_q else q,
            seen if all_keys else k_new,
            v if all_keys else v_new,
            lam(layer),
            norm_weight=layer.norm_weight if weight else None,
            norm_scale=scale(layer),
            causal=causal,
        )
        y = merge(heads)
        y = layer.out_proj(y) if project else y
        return y, kept(k, k_new), kept(v, v_new)

    return wrong


EXERCISE = Exercise(
    id="P2.1",
    cases=_cases,
    solution=extend,
    run=_run,
    results=("the outputs", "k", "v"),
    mistakes=(
        Mistake(
            key="positions from zero",
            diagnosis="Queries, new keys or both are rotated as if each "
            "piece began at position 0. S tokens stand before it: its angles "
            "are cos[S : S + T].",
            wrong=_like(first=lambda k: 0),
            also=(
                _like(first_q=lambda k: 0),
                _like(first=lambda k: 0, first_q=lambda k: k.shape[-2]),
            ),
        ),
        Mistake(
            key="branches counted for tokens",
            diagnosis="Every piece is rotated as if it began at position 2: "
            "k.shape[2] counts the branches. The tokens are on axis -2.",
            wrong=_like(first=lambda k: k.shape[2]),
        ),
        Mistake(
            key="one position late",
            diagnosis="Every piece is rotated one position too far. "
            "Positions begin at 0, so after S tokens the next is S.",
            wrong=_like(first=lambda k: k.shape[-2] + 1),
        ),
        Mistake(
            key="kept without rotation",
            diagnosis="The outputs are right, but the cache holds keys that "
            "were not rotated, and all of them are rotated at every step. A "
            "key's position never changes: rotate it once, when it comes.",
            wrong=_like(turn="all"),
        ),
        Mistake(
            key="rotated again",
            diagnosis="The cached keys are rotated a second time when new "
            "ones come. They were rotated when they came: rotate only the "
            "new ones.",
            wrong=_like(turn="all, kept"),
        ),
        Mistake(
            key="keys not rotated",
            diagnosis="The new keys are not rotated, the queries are.",
            wrong=_like(turn=""),
        ),
        Mistake(
            key="queries not rotated",
            diagnosis="The keys are rotated, the queries are not. Both need "
            "the angles of the new positions.",
            wrong=_like(turn_q=False),
        ),
        Mistake(
            key="cache not read",
            diagnosis="The cache is grown, but the new tokens attend to each "
            "other only. Give the operator all keys and values.",
            wrong=_like(all_keys=False),
        ),
        Mistake(
            key="cache not whole",
            diagnosis="The cache that you return lacks the old tokens or the "
            "new ones. The next step needs both.",
            wrong=_like(kept=lambda whole, new: new),
            also=(
                _like(
                    kept=lambda whole, new: whole[
                        ..., : whole.shape[-2] - new.shape[-2], :
                    ]
                ),
            ),
        ),
        Mistake(
            key="new tokens in front",
            diagnosis="The new tokens are put before the old ones. They come "
            "after them: torch.cat([old, new], -2).",
            wrong=_like(join=lambda old, new: torch.cat([new, old], -2)),
        ),
        Mistake(
            key="not projected",
            diagnosis="The output matrix is missing: the heads, side by "
            "side, go through layer.out_proj.",
            wrong=_like(project=False),
        ),
        Mistake(
            key="heads merged with tokens",
            diagnosis="The heads are joined in the wrong order. The operator "
            "returns (B, H, T, 2D): swap H and T, then join the last two "
            "axes.",
            wrong=_like(
                merge=lambda heads: heads.reshape(
                    len(heads), heads.shape[2], -1
                )
            ),
            also=(
                _like(
                    merge=lambda heads: heads.permute(0, 2, 3, 1).flatten(2)
                ),
            ),
        ),
        Mistake(
            key="not causal",
            diagnosis="A piece of several tokens sees later ones. The "
            "operator's causal mask is aligned to the end, which is what "
            "new tokens need: leave it on.",
            wrong=_like(causal=False),
        ),
        Mistake(
            key="norm dropped",
            diagnosis="The headwise norm is missing. Give norm_scale as well "
            "as norm_weight.",
            wrong=_like(scale=lambda layer: None, weight=False),
        ),
        Mistake(
            key="norm without its weight",
            diagnosis="The heads are normalised, but not multiplied by "
            "layer.norm_weight.",
            wrong=_like(weight=False),
        ),
        Mistake(
            key="norm without its factor",
            diagnosis="norm_scale is 1. It is 1 - layer.lam_init.",
            wrong=_like(scale=lambda layer: 1.0),
        ),
        Mistake(
            key="scale by lam_init",
            diagnosis="norm_scale is layer.lam_init. It is "
            "1 - layer.lam_init.",
            wrong=_like(scale=lambda layer: layer.lam_init),
        ),
        Mistake(
            key="scale by lambda",
            diagnosis="norm_scale is 1 - lambda, with the learned lambda. It "
            "is the constant 1 - layer.lam_init.",
            wrong=_like(scale=lambda layer: 1 - float(layer.lam())),
        ),
        Mistake(
            key="lam_init for lambda",
            diagnosis="lambda is taken to be lam_init. That is where it "
            "starts; layer.lam() is what it has become.",
            wrong=_like(lam=lambda layer: layer.lam_init),
        ),
    ),
    hints=(
        "Which of q, k, v of the new tokens depend on the tokens before "
        "them? At what position does the first new token stand?",
        "None of them does. Project x, rotate q and the new k with "
        "cos[S : S + T] and sin[S : S + T], then torch.cat([k, k_new], -2). "
        "The operator takes fewer queries than keys.",
        "heads = diff_attention(q, k, v, layer.lam(), norm_weight="
        "layer.norm_weight, norm_scale=1 - layer.lam_init); y = "
        "layer.out_proj(heads.transpose(1, 2).flatten(2)).",
    ),
)
