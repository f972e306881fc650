"""Scores of cached keys, computed from attention maps: which keys to keep.

Each score takes the weights (B, H, T, S) of a layer's last T queries on its S
keys, and returns (B, H, S) for :meth:`minidiff.KVCache.evict`. A plain layer
has one map. For a differential layer :func:`key_weights` chooses what takes
its place.

The definitions are those of kvpress (NVIDIA, Apache-2.0), so that results can
be compared; where a paper defines its method otherwise, the docstring says so.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, max_pool1d

from minidiff.files.checks import LARGEST_SIZE, integer, one_of
from minidiff.ops import AttentionMaps
from minidiff.ops.arguments import check_tensor

Score = Callable[[AttentionMaps | Tensor], Tensor]
WEIGHTS = ("first", "second", "mass", "difference")


def key_weights(maps: AttentionMaps | Tensor, weights: str) -> Tensor:
    """Return the weights (B, H, T, S) >= 0 by which keys are scored.

    Parameters
    ----------
    maps : AttentionMaps, or (B, H, T, S) for softmax
        As a model returns them for one layer. A plain layer's map is returned
        as it is, whatever ``weights`` is.
    weights : str
        - "first": A1; "second": A2;
        - "mass": (A1 + A2) / 2, a key's part in both softmax denominators;
        - "difference": |A1 - lam A2|, a key's part in the output.

    Notes
    -----
    "difference" has a trap. A key with A1 = lam A2 gets the score 0, because
    its value has no effect. But it is part of both denominators: without it
    the other weights of the first map grow by 1 / (1 - A1) and those of the
    second by 1 / (1 - A2). These factors are equal only if lam = 1, or if the
    key has no weight at all.
    """
    one_of("weights", weights, WEIGHTS)
    if isinstance(maps, Tensor):
        return maps
    if weights == "mass":
        return (maps.A1 + maps.A2) / 2
    chosen = {"first": maps.A1, "second": maps.A2, "difference": maps.A}
    return chosen[weights].abs()


def streaming(weights: Tensor, sinks: int = 4) -> Tensor:
    """Score the first ``sinks`` keys highest, then the most recent ones.

    Only the shape of the weights (B, H, T, S) matters. The result is
    (B, H, S).

    References
    ----------
    StreamingLLM (Xiao et al. 2024, arXiv 2309.17453), with 4 sinks as in
    kvpress. In the paper the kept keys are also rotated to new positions
    without gaps; here and in kvpress's StreamingLLMPress they keep theirs.
    """
    _check(weights)
    B, H, _, S = weights.shape
    integer("sinks", sinks, 0, S)
    scores = torch.arange(S, dtype=torch.float64, device=weights.device)
    scores[:sinks] = 2 * S - scores[:sinks]  # the first one highest
    return scores.expand(B, H, S)


def h2o(weights: Tensor) -> Tensor:
    """Score a key by its mean weight over the queries that see it.

    weights are (B, H, T, S) of T causal queries, the last of which sees all S
    keys. The result is (B, H, S).

    References
    ----------
    ObservedAttentionPress of kvpress. H2O (Zhang et al. 2023, arXiv
    2306.14048) takes the sum instead of the mean, which prefers early keys,
    and always keeps recent keys too, with half of its budget.
    """
    _check(weights)
    T, S = weights.shape[2:]
    # Key j is seen by the queries at positions j to S - 1, of which T exist.
    places = torch.arange(S, device=weights.device)
    return weights.sum(2) / (S - places).clamp(max=T)


def snapkv(
    weights: Tensor, window: int = 64, kernel: int = 5, pooling: str = "mean"
) -> Tensor:
    """Score a key by the last queries' weight on it and on its neighbours.

    Parameters
    ----------
    weights : (B, H, T, S)
    window : int
        Number of last queries that count, below T. Their own keys come before
        all others.
    kernel : int
        Number of neighbouring keys, odd, over which the mean weight of the
        window is pooled. A mean at the border divides by ``kernel`` too.
    pooling : "mean" or "max"

    Returns
    -------
    (B, H, S), infinite for the window's own keys.

    References
    ----------
    SnapKV (Li et al. 2024, arXiv 2404.14469) and SnapKVPress of kvpress:
    window 64, kernel 5, "mean". kvpress gives the window the largest score
    that occurs, which another key may share.
    """
    _check(weights)
    T, S = weights.shape[2:]
    if integer("window", window, 1, S) >= T:
        raise ValueError(
            f"window: got {window}, expected fewer than the {T} queries"
        )
    if integer("kernel", kernel, 1, LARGEST_SIZE) % 2 == 0:
        raise ValueError(f"kernel: got {kernel}, expected an odd number")
    one_of("pooling", pooling, ("mean", "max"))
    pool = avg_pool1d if pooling == "mean" else max_pool1d
    before = weights[:, :, -window:, : S - window].mean(2)
    scores = torch.full_like(weights[:, :, 0], torch.inf)
    scores[..., : S - window] = pool(before, kernel, 1, kernel // 2)
    return scores


def h2o_difference(maps: AttentionMaps | Tensor) -> Tensor:
    """Score keys by their mean part in the output: H2O of |A1 - lam A2|.

    For a plain layer this is :func:`h2o` of its map. maps are those of a
    layer, and the result is (B, H, S).
    """
    return h2o(key_weights(maps, "difference"))


def scores_of(attention: str, window: int = 64) -> dict[str, Score]:
    """Return the scores to compare: StreamingLLM, H2O and SnapKV.

    ``attention`` is that of a ModelConfig, and ``window`` is SnapKV's. For a
    differential model H2O and SnapKV come with each kind of weights, as
    "h2o, difference". For a plain model they are "h2o" and "snapkv".
    """
    methods: dict[str, Callable[[Tensor], Tensor]] = {
        "h2o": h2o,
        "snapkv": partial(snapkv, window=window),
    }
    scores = {"streaming": _of(streaming, "mass")}
    for name, method in methods.items():
        if attention == "softmax":
            scores[name] = _of(method, "mass")
            continue
        for weights in WEIGHTS:
            scores[f"{name}, {weights}"] = _of(method, weights)
    return scores


def _of(method: Callable[[Tensor], Tensor], weights: str) -> Score:
    return lambda maps: method(key_weights(maps, weights))


def _check(weights: Tensor) -> None:
    check_tensor("weights", weights, "(B, H, T, S)", 4)
    T, S = weights.shape[2:]
    if not 1 <= T <= S:
        raise ValueError(
            f"weights: got T = {T} queries and S = {S} keys, expected "
            "1 <= T <= S"
        )
