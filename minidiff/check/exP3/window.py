"""Problem P3.4: splits of the keys that are seen, in a cache with gaps."""

from functools import partial
from math import log
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minidiff.course.kernels import DEVICE
from minidiff.course.kernels.flash import LOG2_E, softmax_step
from minidiff.course.kernels.memory import poisoned
from minidiff.course.kernels.trace import Touch

# The interpreter must be on before Triton comes.
import triton  # isort: skip
import triton.language as tl  # isort: skip

from minidiff.check.compare import same
from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import edited, slip
from minidiff.check.exP3.branch_slips import branch_slips
from minidiff.check.exP3.heads import (
    BS,
    DV,
    ROWS,
    D,
    OtherSplitError,
    heads,
    keys_read,
    wide,
)
from minidiff.check.kernels import launch


@triton.jit
def window_kernel(
    p_q, p_k, p_v, p_lengths, p_part, p_lse,
    q_n, q_j, q_g, k_n, k_j, k_s, v_n, v_s,
    part_n, part_i, part_j, part_g, lse_n, lse_i, lse_j, G, W, split, c,
    D: tl.constexpr, DV: tl.constexpr, ROWS: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """As split_kernel, for caches of unequal lengths and a window.

    Head n holds lengths[n] >= 1 keys, at the front of k and v, and its
    queries see the last W of them, or all if there are fewer. What is seen is
    cut into splits: program (n, i) takes of it keys number i * split to
    (i + 1) * split - 1, as far as there are any, and reads no other. If
    there are none, it writes log-sums of -inf, and zeros.
    """
    i_n, i_split = tl.program_id(0).to(tl.int64), tl.program_id(1)
    p_q += i_n * q_n
    p_k += i_n * k_n
    p_v += i_n * v_n
    p_part += i_n * part_n + i_split * part_i
    p_lse += i_n * lse_n + i_split * lse_i
    o_g, o_d, o_v = tl.arange(0, ROWS), tl.arange(0, D), tl.arange(0, DV)
    m_g = o_g < G
    # (ROWS, D)
    at_q = o_g[:, None] * q_g + o_d[None, :]
    b_q1 = tl.load(p_q + at_q, m_g[:, None], 0.0)
    b_q2 = tl.load(p_q + q_j + at_q, m_g[:, None], 0.0)
    # (ROWS, DV)
    b_acc1 = tl.zeros([ROWS, DV], tl.float32)
    b_acc2 = tl.zeros([ROWS, DV], tl.float32)
    # (ROWS,)
    b_top1 = tl.full([ROWS], float("-inf"), tl.float32)
    b_top2 = tl.full([ROWS], float("-inf"), tl.float32)
    b_sum1 = tl.zeros([ROWS], tl.float32)
    b_sum2 = tl.zeros([ROWS], tl.float32)
    length = tl.load(p_lengths + i_n)
    start = tl.maximum(length - W, 0) + i_split * split
    end = tl.minimum(start + split, length)
    for start_s in range(start, end, BS):
        o_s = start_s + tl.arange(0, BS)
        m_s = o_s < end
        # (BS, D)
        at_k = o_s[:, None] * k_s + o_d[None, :]
        b_k1 = tl.load(p_k + at_k, m_s[:, None], 0.0)
        b_k2 = tl.load(p_k + k_j + at_k, m_s[:, None], 0.0)
        # (BS, DV)
        at_v = o_s[:, None] * v_s + o_v[None, :]
        b_v = tl.load(p_v + at_v, m_s[:, None], 0.0)
        # (ROWS, BS)
        b_s1 = tl.dot(b_q1, b_k1.T, input_precision="ieee") * c
        b_s1 = tl.where(m_s[None, :], b_s1, float("-inf"))
        # (ROWS, DV), (ROWS,), (ROWS,)
        b_acc1, b_top1, b_sum1 = softmax_step(
            b_acc1, b_top1, b_sum1, b_s1, b_v
        )
        # (ROWS, BS)
        b_s2 = tl.dot(b_q2, b_k2.T, input_precision="ieee") * c
        b_s2 = tl.where(m_s[None, :], b_s2, float("-inf"))
        # (ROWS, DV), (ROWS,), (ROWS,)
        b_acc2, b_top2, b_sum2 = softmax_step(
            b_acc2, b_top2, b_sum2, b_s2, b_v
        )
    # Without keys: zeros over 1, and -inf + log2(1).
    b_sum1 = tl.where(b_sum1 > 0, b_sum1, 1.0)
    b_sum2 = tl.where(b_sum2 > 0, b_sum2, 1.0)
    # (ROWS, DV)
    at = o_g[:, None] * part_g + o_v[None, :]
    tl.store(p_part + at, b_acc1 / b_sum1[:, None], m_g[:, None])
    tl.store(p_part + part_j + at, b_acc2 / b_sum2[:, None], m_g[:, None])
    tl.store(p_lse + o_g, b_top1 + tl.log2(b_sum1), m_g)
    tl.store(p_lse + lse_j + o_g, b_top2 + tl.log2(b_sum2), m_g)


class HiddenKeyError(Exception):
    """A key was read that is not seen."""


def _run(
    answer: Any,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Tensor,
    W: int,
    split: int,
    splits: int,
) -> tuple[np.ndarray, ...] | None:
    N, _, G, _ = q.shape
    S = v.shape[1]
    right = _truth(q, k, v, lengths, W, split, splits)
    v = v.clone()
    for n, length in enumerate(lengths.tolist()):
        v[n, length:] = torch.nan
    q, k, v = wide(q, 0), wide(k, 4), wide(v, 2)
    part, lse = poisoned(N, splits, 2, G, DV), poisoned(N, splits, 2, G)
    hidden: list[tuple[int, int]] = []
    others: list[tuple[tuple[int, int], int]] = []

    def look(touch: Touch) -> None:
        keys, (n, i, _) = keys_read(touch, S), touch.program
        length = int(lengths[n])
        first = max(length - W, 0)
        seen = (keys >= first) & (keys < length)
        hidden.extend((n, int(key)) for key in keys[~seen])
        mine = (keys - first) // split == i
        others.extend(((n, i), int(key)) for key in keys[seen & ~mine])

    found = launch(
        answer,
        (N, splits),
        (
            q, k, v, lengths.to(DEVICE, torch.int32), part, lse,
            *q.stride()[:3], *k.stride()[:3], *v.stride()[:2],
            *part.stride()[:4], *lse.stride()[:3],
            G, W, split, LOG2_E / D**0.5,
        ),
        (part, lse),
        look,
        D=D, DV=DV, ROWS=ROWS, BS=BS,
    )  # fmt: skip
    if found is not None and same(found, right, 1e-4):
        if hidden:
            raise HiddenKeyError(
                f"values are right, but key {hidden[0][1]} of head "
                f"{hidden[0][0]} is read, and not seen"
            )
        if others:
            raise OtherSplitError(*others[0])
    return found


def _truth(
    q: Tensor, k: Tensor, v: Tensor, lengths: Tensor, W: int, split: int,
    splits: int,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """Each split's keys by slicing, in float64."""
    q, k, v = (x.double() for x in (q, k, v))
    N, _, G, _ = q.shape
    part = torch.zeros(N, splits, 2, G, DV, dtype=torch.float64)
    lse = torch.full((N, splits, 2, G), -torch.inf, dtype=torch.float64)
    for n, length in enumerate(lengths.tolist()):
        for i in range(splits):
            start = max(length - W, 0) + i * split
            keys = slice(start, min(start + split, length))
            if keys.start < keys.stop:
                logits = q[n] @ k[n, :, keys].mT / D**0.5
                part[n, i] = logits.softmax(-1) @ v[n, keys]
                lse[n, i] = logits.logsumexp(-1) * LOG2_E
    return part.numpy(), lse.numpy()


def _cases() -> list[Case]:
    cases = []
    for seed, (G, S, lengths, W, split, splits, logits) in enumerate(
        [
            (2, 13, [7, 2], 5, 3, 2, 2),
            (1, 48, [30, 1], 25, 20, 2, 2),
            (3, 4, [1], 4, 3, 2, 1e10),  # some below -1e9, of the only key
        ]
    ):
        args = (
            *heads(seed, len(lengths), G, S, logits),
            torch.tensor(lengths),
            W,
            split,
            splits,
        )
        name = (
            f"G = {G}, S = {S}, lengths {lengths}, W = {W}, {splits} splits "
            f"of {split} keys"
        )
        cases.append(Case(name=name, args=args))
    return cases


_edited = partial(edited, window_kernel)


_FIRST = "tl.maximum(length - W, 0)"
_END = "tl.minimum(start + split, length)"
_GUARD = (
    ("tl.where(b_sum1 > 0, b_sum1, 1.0)", "b_sum1"),
    ("tl.where(b_sum2 > 0, b_sum2, 1.0)", "b_sum2"),
)
_LSE = "b_top{0} + tl.log2(b_sum{0})"
_STORES = "    at = o_g[:, None] * part_g + o_v[None, :]\n"

EXERCISE = Exercise(
    id="P3.4",
    cases=_cases,
    solution=window_kernel,
    run=_run,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            key="window ignored",
            diagnosis="The splits begin at key 0, and keys older than the "
            "window count. The first key seen is lengths[n] - W, if that is "
            "above 0.",
            wrong=_edited((_FIRST, "0")),
        ),
        Mistake(
            key="window one too long",
            diagnosis="The window begins one key too early: the last W keys "
            "begin at lengths[n] - W.",
            wrong=_edited((_FIRST, "tl.maximum(length - W - 1, 0)")),
        ),
        Mistake(
            key="window one too short",
            diagnosis="The window begins one key too late: the last W keys "
            "begin at lengths[n] - W.",
            wrong=_edited((_FIRST, "tl.maximum(length - W + 1, 0)")),
        ),
        Mistake(
            key="window below 0",
            diagnosis="Where there are fewer than W keys, lengths[n] - W is "
            "below 0, and your kernel reads in front of the cache.",
            wrong=_edited((_FIRST, "(length - W)")),
        ),
        Mistake(
            key="one length for all",
            diagnosis="Every head takes the length of the first. Head n's is "
            "lengths[n].",
            wrong=_edited(("p_lengths + i_n", "p_lengths")),
        ),
        Mistake(
            key="length not the end",
            diagnosis="The last split of a head goes on behind the last key. "
            "What stands there may be NaN: it ends at lengths[n].",
            wrong=_edited((_END, "start + split")),
        ),
        Mistake(
            key="into the next split",
            diagnosis="The last block of a split runs over into the next "
            "one, so some keys count twice. The mask of keys ends where the "
            "split ends.",
            wrong=_edited(("o_s < end", "o_s < length")),
        ),
        Mistake(
            key="the cache is cut",
            diagnosis="Split i begins at key i * split of the cache, seen or "
            "not. Joined it would be right, but splits before the window idle "
            "while others are full. Cut what is seen: count from its "
            "first key.",
            wrong=_edited(
                (
                    _FIRST + " + i_split * split",
                    "tl.maximum(length - W, i_split * split)",
                ),
                (_END, "tl.minimum((i_split + 1) * split, length)"),
            ),
        ),
        Mistake(
            key="window by a mask",
            diagnosis="The walk begins before the split's first key, and a "
            "mask hides the rest. With a cache of thousands and a window of a "
            "hundred that takes nearly all the time, and a block hidden whole "
            "gives NaN. Begin at the split's first key.",
            wrong=_edited(
                (
                    "range(start, end, BS)",
                    "range(tl.where(start < end, start // BS * BS, end), "
                    "end, BS)",
                ),
                (
                    "tl.where(m_s[None, :], b_s",
                    "tl.where((m_s & (o_s >= start))[None, :], b_s",
                ),
            ),
            also=(
                _edited(
                    ("range(start, end, BS)", "range(0, length, BS)"),
                    ("o_s < end", "(o_s >= start) & (o_s < end)"),
                ),
                _edited(
                    ("range(start, end, BS)", "range(0, length, BS)"),
                    ("o_s < end", "(o_s >= start) & (o_s < end)"),
                    *_GUARD,
                ),
            ),
        ),
        Mistake(
            key="keys of the next split read",
            diagnosis="The values are right, but keys of the next split are "
            "read as well, and then hidden. The loads need the mask that ends "
            "where the split ends, too.",
            wrong=_edited(
                ("m_s[:, None], 0.0)", "(o_s < length)[:, None], 0.0)")
            ),
        ),
        Mistake(
            key="0 / 0",
            diagnosis="A split without keys has the sum 0, and 0 / 0 is NaN, "
            "which no share of 0 takes away again. Write zeros there.",
            wrong=_edited(*_GUARD),
        ),
        Mistake(
            key="empty split not written",
            diagnosis="A program without keys leaves its places as they were, "
            "and joining reads whatever lay there: write -inf and zeros.",
            wrong=_edited(
                (_STORES, "    m_g = m_g & (start < end)\n" + _STORES)
            ),
        ),
        Mistake(
            key="empty split has log-sum 0",
            diagnosis="A split without keys gets a log-sum of 0, as if its "
            "sum were 1. The logarithm of no sum at all is -inf.",
            wrong=_edited(
                (
                    _STORES,
                    _STORES
                    + "    b_top1 = tl.where(start < end, b_top1, 0.0)\n"
                    + "    b_top2 = tl.where(start < end, b_top2, 0.0)\n",
                )
            ),
        ),
        Mistake(
            key="a mistake of P3.1",
            diagnosis="Which keys a split has is right. What the program "
            "makes of them is not, and problem P3.1 asks for the same: copy "
            "your body there, with S for the length and no window, and its "
            "check may name the mistake.",
            wrong=_edited(
                ("b_acc1 / b_sum1[:, None]", "b_acc1"),
                ("b_acc2 / b_sum2[:, None]", "b_acc2"),
            ),
            also=tuple(
                _edited(*changes)
                for changes in (
                    [("b_top1 + tl", "tl"), ("b_top2 + tl", "tl")],
                    [(" + tl.log2(b_sum1)", ""), (" + tl.log2(b_sum2)", "")],
                    [("tl.log2", "tl.log")],
                    [
                        (_LSE.format(1), f"({_LSE.format(1)}) * {log(2)}"),
                        (_LSE.format(2), f"({_LSE.format(2)}) * {log(2)}"),
                    ],
                    [('"ieee") * c', '"ieee")')],
                    [("p_k + k_j", "p_k")],
                    [("p_q + q_j", "p_q")],
                    [
                        (
                            'tl.where(m_s[None, :], b_s1, float("-inf"))',
                            "b_s1",
                        ),
                        (
                            'tl.where(m_s[None, :], b_s2, float("-inf"))',
                            "b_s2",
                        ),
                    ],
                    [("at_q, m_g[:, None], 0.0)", "at_q)")],
                    [("_sum1[:, None], m_g[:, None])", "_sum1[:, None])")],
                    [("(b_sum1), m_g)", "(b_sum1))")],
                    [("m_s[:, None], 0.0)", "m_s[:, None])")],
                )
            ),
        ),
        *branch_slips(window_kernel),
        slip(
            "one row for all",
            "Queries, keys or values are all read from one row: rows lie "
            "q_g, k_s or v_s apart.",
            window_kernel,
            ("o_s[:, None] * v_s + o_v", "o_s[:, None] * 0 + o_v"),
            ("o_s[:, None] * k_s + o_d", "o_s[:, None] * 0 + o_d"),
            ("o_g[:, None] * q_g + o_d", "o_g[:, None] * 0 + o_d"),
            ("o_s[:, None] * v_s + o_v", "o_s[:, None] + o_v"),
            ("o_g[:, None] * q_g + o_d", "o_g[:, None] + o_d"),
        ),
        slip(
            "split not counted from the window",
            "Your splits do not begin i * split keys after the first key "
            "seen.",
            window_kernel,
            ("+ i_split * split", "+ 0"),
            ("+ i_split * split", "+ i_split"),
            ("+ i_split * split", "+ split"),
        ),
        slip(
            "end not counted from the start",
            "A split ends `split` keys after its own start, or at the last "
            "key.",
            window_kernel,
            ("tl.minimum(start + split, length)", "tl.minimum(split, length)"),
            (
                "tl.minimum(start + split, length)",
                "tl.minimum((i_split + 1) * split, length)",
            ),
        ),
    ),
    hints=(
        "Only three lines of your split_kernel change: where a split starts, "
        "where it ends, and what is divided by. By hand: lengths[n] = 10, W = "
        "7, split = 4. Which keys does program (n, 1) take?",
        "length = tl.load(p_lengths + i_n). The first key seen is "
        "tl.maximum(length - W, 0), and the split starts i_split * split "
        "after it. It ends split later, or at length. The loop is then empty "
        "by itself if there are no keys.",
        "end = tl.minimum(start + split, length), and after the loop b_sum1 "
        "= tl.where(b_sum1 > 0, b_sum1, 1.0), b_sum2 likewise: zeros over 1, "
        "and -inf + log2(1).",
    ),
)
