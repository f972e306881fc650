# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 11. The fused differential forward
#
# By the end of this chapter you will have shown that one walk over the keys
# computes a whole differential head, norm included; that its two accumulators
# cannot become one; and that the result is more accurate than the difference
# of two calls.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - say why two running softmaxes need two accumulators, and when one is enough;
# - write the walk of both branches, and its epilogue, as kernels;
# - count registers by hand, and choose between *together* and *in turn*;
# - say what fusing saves, and what it does not;
# - read the shipped kernel as your own with named optimisations.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | `softmax_step`, log-sums | every walk here | chapter 10 |
# | programs, blocks, masks | the kernels | chapter 9 |
# | units of FLOPs, two calls, four calls | counting | chapter 6 |
# | the headwise norm | the epilogue | chapter 3 |

# %%
import inspect
import json
import math
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import rms_norm

# %%
from minidiff.course.kernels import DEVICE, INTERPRETED  # before Triton

import triton
import triton.language as tl

# %%
from minidiff import check, course, diff_attention, plots
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course.kernels.flash import softmax_step
from minidiff.course.kernels.fused_forward import fused_forward
from minidiff.course.kernels.trace import record
from minidiff.ops.arguments import Arguments
from minidiff.ops.triton.kernels import forward as shipped
from minidiff.ops.triton.launch import forward as launch_forward
from minidiff.ops.triton.tuning import Shape, choose

plots.use_style()

# %% [markdown]
# ## A cold open: a third less work, and every test passes
#
# The eager form subtracts the maps first and multiplies by $v$ once: 4 units
# (chapter 6). Two flash calls need 6, because $v$ is multiplied twice. Can a
# walk over blocks of keys not subtract first, too?
#
# Let us try in PyTorch. An online softmax keeps, for each row, the largest
# score so far and the sum of exponentials. `step` takes one block of scores. It
# returns the block's weights, already normalised, and what is left of the
# weights of the past. Here both branches ride on axis 0.


# %%
def step(scores: Tensor, top: Tensor, total: Tensor) -> tuple[Tensor, ...]:
    """One block (2, T, BS) of scores; top and total (2, T, 1)."""
    new = torch.maximum(top, scores.amax(-1, keepdim=True))
    p = torch.exp(scores - new)
    past = total * torch.exp(top - new)
    total = past + p.sum(-1, keepdim=True)
    return p / total, past / total, new, total


# %%
def one_accumulator(q, k, v, lam, BS=32):
    """No mask; q (2, T, D), k (2, S, D), v (S, Dv)."""
    o, total = 0.0, torch.zeros(2, q.shape[1], 1).double()
    top = total - torch.inf
    for s in range(0, len(v), BS):
        scores = q @ k[:, s : s + BS].mT / q.shape[-1] ** 0.5
        p, keep, top, total = step(scores, top, total)
        o = keep[0] * o + (p[0] - lam * p[1]) @ v[s : s + BS]
    return o


def drawn(T: int, S: int, D: int = 16) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    q, k = torch.randn(2, T, D), torch.randn(2, S, D)
    return q.double(), k.double(), torch.randn(S, 2 * D).double()


# %% [markdown]
# One accumulator, one product with $v$, 4 units. Now test it, with more and
# more keys.


# %%
def error(way, S: int) -> float:
    """Largest error against minidiff's eager operator."""
    q, k, v = drawn(8, S)
    heads = (x[None, None] for x in (q, k, v))
    want = diff_attention(*heads, 0.8, causal=False, backend="eager")
    return (way(q, k, v, 0.8) - want).abs().max().item()


def table(way) -> None:
    for S in (1, 8, 31, 32, 33, 64, 256):
        off = error(way, S)
        text = f"{off:.2f}" if off > 1e-12 else "< 1e-12"
        print(f"{S:4d} keys: error {text}")


# %%
table(one_accumulator)
assert error(one_accumulator, 32) < 1e-12 < 0.01 < error(one_accumulator, 33)

# %% [markdown]
# Right to twelve digits up to 32 keys, and wrong from 33 on. A test whose
# sequences fit into one block would never have told.
#
# ## Why two accumulators cannot be one
#
# One query, two keys, one key a block. Values are single numbers, $v = (8, 0)$,
# and $\lambda = \tfrac12$. Branch 1 has scores $(0, 0)$, so its weights are
# $(\tfrac12, \tfrac12)$. Branch 2 has $(\ln 3, 0)$, weights
# $(\tfrac34, \tfrac14)$. The right output is
# $\tfrac12 \cdot 8 - \tfrac12 \cdot \tfrac34 \cdot 8 = 1$.
#
# After the first key each branch has seen that key alone, with weight 1: both
# outputs are 8. The second key brings no value, it only takes weight away. What
# is left of the past is $\tfrac12$ in branch 1 and $\tfrac34$ in branch 2:
#
# $$
# o_j \leftarrow \text{keep}_j\, o_j + p_j\, v, \qquad j = 1, 2
# \tag{11.1}
# $$
#
# So $o_1 = 4$, $o_2 = 6$, and $4 - \tfrac12 \cdot 6 = 1$. The single
# accumulator holds $8 - \tfrac12 \cdot 8 = 4$ and has one factor to apply. With
# branch 1's it ends at 2.
#
# No cleverer factor helps. Imagine another past, $o_1 = 4$ and $o_2 = 0$: the
# accumulator holds 4 as well, but now the right answer is 2. *From the
# difference nobody can tell which past it was.* Two numbers are needed for
# each entry of the output, until the last key.

# %%
scores = torch.tensor([[[0.0, 0.0]], [[math.log(3), 0.0]]]).double()
total = torch.zeros(2, 1, 1).double()
p, keep, top, total = step(scores[..., :1], total - torch.inf, total)
first = 8 * p.flatten()  # each branch after the first key
p, keep, top, total = step(scores[..., 1:], top, total)
keep = keep.flatten()
print("keep", keep.numpy(), "after the first key", first.numpy())
for past in (first, torch.tensor([4.0, 0.0]).double()):
    o1, o2 = keep * past
    held, right = past[0] - past[1] / 2, o1 - o2 / 2
    print(f"the accumulator holds {held:.0f}, right is {right:.0f}")

# %% [markdown]
# Chapter 10 puts the division off to the end. Then the factor is
# $2^{\text{old top} - \text{new top}}$, and one might let both branches measure
# from the larger top: one factor for both. It does not help. Now the sums are
# in the way: $o = a_1 / l_1 - \lambda\, a_2 / l_2$, with accumulators $a_j$ and
# sums $l_j$, and both sums are known only after the last key.
#
# The repair: keep the axis of branches until the end.


# %%
def two_accumulators(q, k, v, lam, BS=32):
    """No mask; q (2, T, D), k (2, S, D), v (S, Dv)."""
    o, total = 0.0, torch.zeros(2, q.shape[1], 1).double()
    top = total - torch.inf
    for s in range(0, len(v), BS):
        scores = q @ k[:, s : s + BS].mT / q.shape[-1] ** 0.5
        p, keep, top, total = step(scores, top, total)
        o = keep * o + p @ v[s : s + BS]  # (2, T, Dv)
    return o[0] - lam * o[1]


table(two_accumulators)
assert max(error(two_accumulators, S) for S in (32, 33, 256)) < 1e-12

# %% [markdown]
# ## Two branches, one walk
#
# Now in Triton. `softmax_step` is chapter 10's: it takes an accumulator, a top,
# a sum, a block of scores in base 2 and a block of values, and returns the
# first three anew. Twice as many of these three are carried along; the values
# and the mask are loaded and made once, and serve both.
#
# ### Exercise 11.1: the walk
#
# *Hard, 15 minutes.* What the loop starts from is given.


# %% tags=["stub:11.1"]
@triton.jit
def both_branches(
    p_q, p_k, p_v, p_acc, p_sum, q_j, q_t, k_j, k_s, v_s, acc_j, acc_t,
    sum_j, T, S, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """Leave two accumulators and their sums, not yet divided.

    One head: q (2, T, D), k (2, S, D), v (S, DV), T <= S; query t sees the
    keys up to t + S - T. To write: acc (2, T, DV) and sum (2, T). A stride
    ends in the axis it steps along: q_j to the next branch, q_t to the next
    query. Program i takes the queries from i BT on, for both branches. c is
    1 / sqrt(D) times log2(e).
    """
    o_t = tl.program_id(0) * BT + tl.arange(0, BT)
    o_d = tl.arange(0, D)
    o_v = tl.arange(0, DV)
    b_acc1 = tl.zeros([BT, DV], tl.float32)
    b_acc2 = tl.zeros([BT, DV], tl.float32)
    b_top1 = tl.full([BT], float("-inf"), tl.float32)
    b_top2 = tl.full([BT], float("-inf"), tl.float32)
    b_sum1 = tl.zeros([BT], tl.float32)
    b_sum2 = tl.zeros([BT], tl.float32)
    # your code


# %% tags=["check:11.1"]
check.ex11_1(both_branches)

# %% [markdown]
# ## What is saved, and what is not
#
# Count units for one differential head (1 for a product of width $D$), and the
# numbers that travel between memory and chip for one token, in multiples of
# $D$, each tensor counted once per kernel. Two calls read $q$, $k$ and twice
# $v$, that is $2 + 2 + 4$; they write $o_1$ and $o_2$, 4; a third kernel reads
# these 4, subtracts, normalises and writes 2. Guess what fusing saves.

# %%
# Widths of the products in D; numbers read; numbers written.
ways = {
    "plain, two heads": ([1, 1, 1, 1], [6], [2]),
    "two calls": ([1, 2, 1, 2], [4, 4, 4], [2, 2, 2]),
    "four calls": ([1, 1] * 4, [3, 3, 3, 3, 4], [1, 1, 1, 1, 2]),
    "fused": ([1, 2, 1, 2], [6], [2]),
    "fused, to train": ([1, 2, 1, 2], [6], [2, 2, 2]),
}
print("                  units  moved  kernels")
for name, (products, reads, writes) in ways.items():
    moved = sum(reads) + sum(writes)
    print(f"{name:17s} {sum(products):5d} {moved:6d} {len(reads):7d}")
two, fused = (ways[name] for name in ("two calls", "fused"))
assert sum(two[0]) == sum(fused[0]) == 6

# %% [markdown]
# Against two calls, no multiplication at all. What goes is two kernels of three,
# and more than half of the traffic: the second reading of $v$, and $o_1$ and
# $o_2$, written only to be read again. To train, the kernel leaves $o$, $o_2$
# and both log-sums behind, which chapter 12 needs.
#
# Attention over many keys waits for multiplications and exponentials, not for
# memory. So do not expect the forward's time to halve. Chapter 13 measures it;
# multiplications are saved in the backward, in chapter 12.
#
# ## Together or in turn: registers
#
# A large GPU is made of over a hundred *multiprocessors*, each with a few
# programs at work at a time and 65,536 registers of four bytes for all of
# them. A program's numbers are spread over its threads, 32 to a *warp*, and a
# thread can have 255 registers at most. What does not fit is *spilled* to
# memory, and fetched back in every step of the loop. So for a block of rows by
# columns:
#
# $$
# \text{registers per thread} = \frac{\text{rows} \times \text{columns}}
# {32 \times \text{warps}}
# \tag{11.2}
# $$
#
# The accumulators live through the whole walk. If two are too many, there is
# another order. *Together*, as above, both branches walk in step. *In turn*,
# branch 2 walks first, leaves $o_2$ in memory, and branch 1 walks after it with
# the same registers. Then $v$ is read twice again; the second time it mostly
# comes from the cache on the chip.
#
# ### Exercise 11.2: registers by hand
#
# *Easy, 5 minutes.* The scores' block dies before the other branch's is made.


# %% tags=["stub:11.2"]
def registers(BT: int, BS: int, Dv: int, warps: int, together: bool) -> int:
    """Return how many float32 registers each thread of a program needs.

    BT queries by BS keys at a time, values Dv wide, warps of 32 threads. To
    count: one block of scores, and the accumulators, two if both branches
    walk together, else one. The sizes divide evenly.
    """
    # your code


# %% tags=["check:11.2"]
check.ex11_2(registers)

# %% [markdown]
# minidiff keeps a table of block shapes, which a recipe fills in on a GPU. Here
# is what it holds for Hopper GPUs (H100, H200) and sixteen-bit numbers, with
# both counts by hand. Cover the last column and guess it.

# %%
print("  D   keys   BT x BS  warps  together  in turn  the table says")
for D, keys in [(D, n) for D in (64, 128) for n in (1024, 4096, 16384)]:
    size = {"D": D, "DV": 2 * D, "P": 2, "bits": 16, "capability": 90}
    x = choose("forward", length=keys, **size)
    both, one = (x.BT * (n * 2 * D + x.BS) // (32 * x.warps) for n in (2, 1))
    says = "together" if x.together else "in turn"
    blocks = f"{x.BT} x {x.BS}"
    print(f"{D:3d} {keys:6d} {blocks:>9s} {x.warps:6d}", end="")
    print(f"{both:10d} {one:8d}  {says}")
    assert (both if x.together else one) < 255 and x.together == (D == 64)

# %% [markdown]
# Where together does not fit, the table says in turn. Would smaller blocks have
# fitted? The recipe compiles each candidate, and refuses those that spill. At
# $D = 128$ it refused all that walk together. These among them, recorded and
# not run here:

# %%
tuned = json.loads(course.results("tuning.json").read_text())
print(tuned["provenance"]["device"], tuned["provenance"]["date"])
for r in tuned["refused"]:
    if (r["kernel"], r["D"], r["P"], r["stages"]) == ("forward", 128, 2, 2):
        by_hand = r["BT"] * (2 * 256 + r["BS"]) // (32 * r["warps"])
        blocks = f"{r['BT']:3d} x {r['BS']}, {r['warps']} warps"
        print(f"{blocks}, together: by hand {by_hand}, {r['why']}")
        assert r["together"] and "spills" in r["why"]
for r in tuned["rows"]:  # what was timed
    assert not (r["D"] == 128 and r["P"] == 2 and r["together"])

# %% [markdown]
# One fits by hand and spills all the same. The count is a lower bound:
# queries, addresses and counters come on top, and only the compiler tells how
# many.
#
# At $D = 64$ both orders fit. There the question is how many programs share a
# multiprocessor: while one waits for memory or for exponentials, another can
# multiply. With blocks of 64 by 64 and 4 warps the compiler ended at 255
# registers together, and at 165 in turn (`book/results/kernel-log.md`). But
# registers are not alone. The next blocks of keys and values, on their way
# already, wait beside the queries in *shared memory*, of which a Hopper
# multiprocessor has 228 KiB. Here a block of keys takes 8 KiB, one of values
# 16, the queries 16. How many programs fit, with the blocks of two steps on
# their way, and with those of three?

# %%
print("steps  order     registers   KiB  programs")
for steps in (2, 3):
    for name, each, keys in (("together", 255, 2), ("in turn", 165, 1)):
        kib = 16 + steps * (keys * 8 + 16)
        programs = min(65536 // (4 * 32 * each), 228 // kib)
        print(f"{steps:5d}  {name:8s} {each:10d} {kib:5d} {programs:9d}")

# %% [markdown]
# With two, in turn has a program more to set against its second reading of
# $v$; with three it has none. So we expect in turn to be faster with two, and
# together with three. Each order with its best block shape, as recorded:

# %%
best: dict[tuple, float] = {}
for r in tuned["rows"]:
    if (r["kernel"], r["D"], r["P"]) == ("forward", 64, 2):
        at = r["T"], r["stages"], r["together"]
        best[at] = min(r["ms"], best.get(at, math.inf))
print("time in turn / together")
for T in (1024, 4096, 16384):
    two, three = (best[T, n, False] / best[T, n, True] for n in (2, 3))
    print(f"{T:5d} tokens: two steps {two:.2f}, three {three:.2f}")
    assert two < 1.02 and 1 < three < 1.2
    assert best[T, 3, True] < best[T, 2, False]

# %% [markdown]
# As expected from 4096 tokens on, and three steps together are the fastest.
# That does not prove the reason; only a GPU's counters would.
#
# ## The epilogue
#
# After the walk: divide each accumulator by its sums, subtract, normalise. A
# norm of its own would read all rows and write them again. It needs the mean
# square over a row of $2D$ numbers, and here one program holds whole rows, in
# registers. So the norm costs a sum over numbers that are there already, and
# nothing is read or written for it but its weight.
#
# ### Exercise 11.3: divide, subtract, normalise
#
# *Medium, 10 minutes.* It starts from what 11.1 wrote.


# %% tags=["stub:11.3"]
@triton.jit
def epilogue(
    p_acc, p_sum, p_weight, p_y, acc_j, acc_t, sum_j, y_t, T, lam,
    norm_scale, eps, DV: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Write y = norm_scale * weight * RMSNorm(o1 - lam o2), (T, DV).

    o_j is branch j's accumulator over its sums: acc (2, T, DV), sum (2, T).
    weight (DV,); RMSNorm(o) = o / sqrt(mean(o * o) + eps), over a row.
    Program i takes the rows from i BT on.
    """
    # your code


# %% tags=["check:11.3"]
check.ex11_3(epilogue)

# %% [markdown]
# ## The whole kernel
#
# Walk and epilogue in one program, so that accumulators never see memory. A
# program's first number tells batch and head, its second the block of queries.
# Groups of `G` query heads share a head of keys and values, with *both*
# branches of it: `h // G`. $\lambda$ is one number for each head; if a layer has
# one, all are equal.


# %% tags=["same:minidiff.course.kernels.fused_forward.fused_forward_kernel"]
@triton.jit
def fused_forward_kernel(
    p_q, p_k, p_v, p_lam, p_weight, p_y, p_o, p_o2, p_lse,
    q_b, q_h, q_j, q_t, k_b, k_h, k_j, k_s, v_b, v_h, v_s,
    H, G, T, S, c, norm_scale, eps,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
    CAUSAL: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    """y = norm_scale * weight * RMSNorm(o), o = A1 v - lam A2 v.

    q_b, q_h, ... are the strides of batch, head, branch j and row; columns
    lie side by side. The outputs are contiguous, and so is lam, (B, H). G
    query heads share a head of keys, c is the scale times log2(e). Causal:
    query t sees keys 0 to t + S - T. The grid is (B H, blocks of queries).
    """
    i_bh = tl.program_id(0).to(tl.int64)  # tensors may exceed 2**31 numbers
    i_t = tl.program_id(1)
    b, h = i_bh // H, i_bh % H
    o_t = i_t * BT + tl.arange(0, BT)
    o_d = tl.arange(0, D)
    o_v = tl.arange(0, DV)
    m_t = o_t < T

    at_q = b * q_b + h * q_h + o_t[:, None] * q_t + o_d[None, :]
    b_q1 = tl.load(p_q + at_q, m_t[:, None], 0.0)
    b_q2 = tl.load(p_q + at_q + q_j, m_t[:, None], 0.0)
    b_acc1 = tl.zeros([BT, DV], tl.float32)
    b_acc2 = tl.zeros([BT, DV], tl.float32)
    b_top1 = tl.full([BT], float("-inf"), tl.float32)
    b_top2 = tl.full([BT], float("-inf"), tl.float32)
    b_sum1 = tl.zeros([BT], tl.float32)
    b_sum2 = tl.zeros([BT], tl.float32)

    end = S  # from this key on none of these queries sees any
    if CAUSAL:
        end = tl.minimum(S, (i_t + 1) * BT + S - T)
    for i_s in range(0, end, BS):
        o_s = i_s + tl.arange(0, BS)
        m_s = o_s < S
        at_k = b * k_b + h // G * k_h + o_s[:, None] * k_s + o_d[None, :]
        b_k1 = tl.load(p_k + at_k, m_s[:, None], 0.0)
        b_k2 = tl.load(p_k + at_k + k_j, m_s[:, None], 0.0)
        at_v = b * v_b + h // G * v_h + o_s[:, None] * v_s + o_v[None, :]
        b_v = tl.load(p_v + at_v, m_s[:, None], 0.0)
        m_seen = m_s[None, :]
        if CAUSAL:
            m_seen = m_seen & (o_t[:, None] + S - T >= o_s[None, :])
        b_s1 = tl.dot(b_q1, b_k1.T, input_precision="ieee") * c
        b_s1 = tl.where(m_seen, b_s1, float("-inf"))
        b_acc1, b_top1, b_sum1 = softmax_step(
            b_acc1, b_top1, b_sum1, b_s1, b_v
        )
        b_s2 = tl.dot(b_q2, b_k2.T, input_precision="ieee") * c
        b_s2 = tl.where(m_seen, b_s2, float("-inf"))
        b_acc2, b_top2, b_sum2 = softmax_step(
            b_acc2, b_top2, b_sum2, b_s2, b_v
        )

    b_lam = tl.load(p_lam + i_bh)
    b_o2 = b_acc2 / b_sum2[:, None]
    b_o = b_acc1 / b_sum1[:, None] - b_lam * b_o2
    at_o = (i_bh * T + o_t)[:, None] * DV + o_v[None, :]
    tl.store(p_o + at_o, b_o, m_t[:, None])
    tl.store(p_o2 + at_o, b_o2, m_t[:, None])
    at_lse = i_bh * 2 * T + o_t
    tl.store(p_lse + at_lse, b_top1 + tl.log2(b_sum1), m_t)
    tl.store(p_lse + at_lse + T, b_top2 + tl.log2(b_sum2), m_t)
    if NORM:  # the whole row is here, in this program
        b_r = tl.rsqrt(tl.sum(b_o * b_o, 1) / DV + eps)
        b_w = tl.load(p_weight + o_v)
        b_o = b_o * (norm_scale * b_r)[:, None] * b_w[None, :]
    tl.store(p_y + at_o, b_o, m_t[:, None])


# %% [markdown]
# `fused_forward` checks its arguments, makes the outputs and launches it. Four
# heads in two groups, five queries at the end of 40 keys:


# %%
def inputs(T: int, S: int, H: int = 4, Hkv: int = 2, D: int = 16):
    torch.manual_seed(1)
    q = torch.randn(1, H, 2, T, D, device=DEVICE)
    k = torch.randn(1, Hkv, 2, S, D, device=DEVICE)
    v = torch.randn(1, Hkv, S, 2 * D, device=DEVICE)
    lam = torch.rand(1, H, 1, device=DEVICE)
    return q, k, v, lam


ours = fused_forward(*inputs(5, 40), norm_scale=0.2)
print({name: tuple(x.shape) for name, x in ours._asdict().items()})

# %% [markdown]
# ## Rounding: why fused is more accurate
#
# Models train in bfloat16, numbers with 8 significant bits: from 1 to 2 they
# stand $\tfrac1{128}$ apart. Let a branch's output be $o_1 = 1 + \tfrac3{512}$,
# the other's $o_2 = 1$, and $\lambda = 1$. The difference is $\tfrac3{512}$.
# Two calls round $o_1$ before anyone subtracts:

# %%
exact = torch.tensor(1 + 3 / 512)
after = exact.bfloat16() - torch.tensor(1.0).bfloat16()
before = (exact - 1).bfloat16()
for name, x in (("two calls", after), ("one kernel", before)):
    print(f"{name}: {x.item() * 512:.0f}/512")

# %% [markdown]
# Off by a third, though each call was right to its last bit. The rounding error
# belongs to the size of $o_1$; what is left is much smaller. And cancelling is
# what the second branch is *for*.
#
# Now at full size. Queries, keys and values are bfloat16. Each form does what
# its kernels do: scores, exponentials and accumulators in float32, weights
# rounded for the product with $v$, outputs rounded when written. Two calls are
# then subtracted in bfloat16, as PyTorch does it. All of it runs in PyTorch,
# whose casts are right on a CPU; Triton's interpreter computes bfloat16 wrong
# (chapter 9). `alike` is the correlation of the two branches' queries, and of
# their keys.


# %%
def low(x: Tensor) -> Tensor:
    """Rounded to bfloat16, and back."""
    return x.bfloat16().float()


def drawn_alike(alike: float, H: int = 8, T: int = 256, D: int = 64):
    torch.manual_seed(3)
    first, second = torch.randn(2, 2, H, T, D)  # each q and k
    second = alike * first + (1 - alike**2) ** 0.5 * second
    return low(first), low(second), low(torch.randn(H, T, 2 * D))


# %%
def one_branch(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    """What a kernel has in registers: output, map; and the exact output."""
    hidden = torch.ones(len(q[0]), len(k[0]), dtype=torch.bool).triu(1)
    scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(hidden, -torch.inf)
    p = torch.exp(scores - scores.amax(-1, keepdim=True))
    total = p.sum(-1, keepdim=True)
    exact = scores.double().softmax(-1) @ v.double()
    return low(p) @ v / total, p / total, exact


# %%
def errors(alike: float, lam: float = 0.8) -> dict[str, float]:
    first, second, v = drawn_alike(alike)
    o1, A1, exact1 = one_branch(*first, v)
    o2, A2, exact2 = one_branch(*second, v)
    exact = exact1 - lam * exact2
    forms = {
        "two calls": o1.bfloat16() - lam * o2.bfloat16(),
        "fused, in turn": low(o1 - lam * low(o2)),  # o2 waits in memory
        "fused, together": low(o1 - lam * o2),
        "one product": low(low(A1 - lam * A2) @ v),
    }
    size = exact.norm()
    off = {name: float((x - exact).norm() / size) for name, x in forms.items()}
    return off | {"cancelled": float(exact1.norm() / size)}


# %% [markdown]
# The last form needs explaining. If a first walk has found both log-sums, a
# second one knows every weight at once. It can subtract the *weights* and
# multiply once. Predict the order of the four, and which of them does not mind
# how alike the branches are.

# %% mystnb={"image": {"alt": "Relative error in thousandths against cancellation from 1 to 5. Three lines rise: two calls the steepest, from about 4 to 14, then fused in turn, then fused together, which ends near 7. The line of one product stays level a little above 2."}}
found = [errors(alike) for alike in (0.0, 0.5, 0.9, 0.99, 0.999)]
x = [r["cancelled"] for r in found]
for name in list(found[0])[:-1]:
    plt.plot(x, [1000 * r[name] for r in found], marker="o", label=name)
plt.gca().set(
    xlabel="size of branch 1's output / size of the difference",
    ylabel="error, thousandths",
    ylim=(0, None),
)
plt.legend()
plt.show()

# %%
for r in found:
    two, turn, both, one, _ = r.values()
    assert two > turn > both and one < 0.0025
print(f"branches most alike: together / two calls {both / two:.2f}")
assert 0.4 < both / two < 0.6

# %% [markdown]
# - Two calls pay for every rounding at the size of $o_1$. When branches are
#   almost alike, fused together has about half their error.
# - In turn lies between: $o_2$ is rounded on its way through memory. The faster
#   order at $D = 128$ costs some of the accuracy.
# - Fused still grows with the cancelling. Each branch's weights are rounded
#   for the product with $v$, and those errors do not cancel.
# - One product has nothing left to cancel after rounding. It stays level.
#
# The headwise norm blows the difference up to size 1 again, error included. So
# this is what the next layer sees.
#
# The price of in turn has a bound. bfloat16 rounds a number by at most
# $\tfrac1{256}$ of it, so the detour adds at most $|\lambda o_2| / 256$ to each
# entry of the difference, however little is left of that. It costs most where
# the maps are equal. Here all queries are zero, and $\lambda o_2$ is six times the
# difference; together, only the result is rounded, as in the eager form.

# %%
(q, k), _, v = drawn_alike(0.0)
o, _, exact = one_branch(0 * q, k, v)  # either branch
lam = 1.2
want = (1 - lam) * exact
detour = (lam * (low(o) - o)).abs()
assert (detour <= (lam * o).abs() / 256).all()
for name, o2 in (("in turn", low(o)), ("together", o)):
    off = (low(o - lam * o2) - want).norm() / want.norm()
    print(f"{name}: relative error {1000 * off:.1f} thousandths")

# %% [markdown]
# In training $o_2$ is kept for the backward, rounded, in either order. So an
# error of up to $|o_2| / 256$ reaches the gradients of $\lambda$, queries and
# keys.
#
# ### Exercise 11.4: one product
#
# *Easy, 5 minutes.* Once the sums are known, one accumulator *is* enough.


# %% tags=["stub:11.4"]
def combined(
    s1: Tensor, s2: Tensor, lse1: Tensor, lse2: Tensor, lam: float, v: Tensor
) -> Tensor:
    """Return A1 v - lam A2 v, (T, Dv), by one product with v.

    s1, s2 (T, S): logits times log2(e), -inf where a key is hidden; lse1,
    lse2 (T,): each branch's log2 of the row sums of 2 ** s; v (S, Dv).
    """
    # your code


# %% tags=["check:11.4"]
check.ex11_4(combined)

# %% [markdown]
# As a forward this makes two walks: 2 units for the sums, then 2 for the scores
# again and 2 for one product. Again 6 units, but twice the exponentials, which
# are slow on a GPU. minidiff's forward does not do it. The backward must: there
# the log-sums are known, for the forward saved them. That is chapter 12.
#
# ## The control that fails: what the norm hides
#
# The norm makes every row the same size, so it hides whatever multiplies a whole
# row. Two wrong epilogues, looked at through the norm: one forgets the sums and
# subtracts the accumulators as they are, one applies $\lambda$ to both branches.
# At which $\lambda$ will a test on $y$ not notice?

# %%
torch.manual_seed(2)
a1, a2 = torch.randn(2, 32, 64).double()  # accumulators
l1, l2 = 1 + 9 * torch.rand(2, 32, 1).double()  # sums
print("lambda   sums forgotten   lambda on both")
for lam in (0.0, 0.8, 1.0):
    right = a1 / l1 - lam * a2 / l2
    wrong = a1 - lam * a2, lam * (a1 / l1 - a2 / l2)
    y, *ys = (rms_norm(o, (64,), eps=1e-5) for o in (right, *wrong))
    off = [float((x - y).abs().max()) for x in ys]
    print(f"{lam:6.1f}", *(f"{x:16.1f}" for x in off))
    assert [x < 0.01 for x in off] == [lam == 0, lam == 1]

# %% [markdown]
# With $\lambda = 0$ there is one branch, and its sums are a factor of the row:
# the norm hides that the division is missing. With two branches the *ratio* of
# the sums remains. With $\lambda = 1$ a $\lambda$ on both changes nothing, norm
# or no norm. So test the output before the norm as well, and with several
# $\lambda$, as our tests of the kernel do.
#
# ## The shipped kernel
#
# `minidiff/ops/triton/kernels/forward.py` is the kernel above, made fast. Its
# parts, by name:
#
# | optimisation | what it does | why |
# |---|---|---|
# | edge split | keys that all queries of the block see are walked without a mask, then the rest with one | a mask costs a comparison and a choice at every entry |
# | long rows first | the last queries start first | a causal program at the end has the most keys; started last, it would run on alone |
# | together or in turn | both orders, chosen by the table | registers |
# | copy engine | on Hopper GPUs blocks come by *tensor descriptors* (`tiles.py`) | no thread computes addresses or masks, and registers are saved |
# | late scale | $2^{s c - m c}$, with raw scores $s$ and top $m$ | the multiplication joins the subtraction in one instruction |
# | keep only if asked | $o$, both log-sums, and $o_2$ where branches walk together, are written in training only | up to a third of the traffic |
# | tuned shapes | `shapes.json` | measured, for each card, width and length |
#
# It also takes what ours does not: padding, a $\lambda$ for each token, V2's
# shared keys, widths such as 96. Here are four of the seven, in its own words.
# For each, find the place in the kernel above that it replaces.


# %%
def excerpt(function, first: str, lines: int) -> None:
    """Print some lines of a kernel's source, from the one that has `first`."""
    text = inspect.getsource(function.fn).splitlines()
    start = next(i for i, line in enumerate(text) if first in line)
    print(textwrap.dedent("\n".join(text[start : start + lines])))


print("# edge split: two edges, and a walk up to each")
excerpt(shipped.key_range, "if CAUSAL:", 4)
print("# long rows first")
excerpt(shipped.forward_kernel, "if CAUSAL:", 2)

# %%
print("# late scale")
excerpt(shipped.softmax_step, "b_p = tl.exp2", 3)
print("# in turn: branch 2 leaves its output in memory, and takes it back")
excerpt(shipped.forward_kernel, "# It waits in memory", 2)
excerpt(shipped.forward_kernel, "tl.debug_barrier()", 2)

# %% [markdown]
# The barrier stands there because another thread may have stored the number
# that this one reads.
#
# The recorder of chapter 9 shows the two orders and the long rows. It counts
# how often each program loads each block of values. 64 tokens, blocks of 16,
# one head. Sketch both pictures first.


# %%
def loads(together: bool) -> np.ndarray:
    """How often program i loads block s of the values, (4, 4)."""
    q, k, v, lam = inputs(64, 64, H=1, Hkv=1)
    shape = Shape(BT=16, BS=16, warps=4, stages=1, together=together)
    given = Arguments(q, k, v, lam.repeat(1, 1, 64), scale=0.25)
    with record() as log:
        launch_forward.forward(given, keep=True, shape=shape)
    counts = np.zeros((4, 4), dtype=int)
    for touch in log.of("x_v", "load"):
        counts[touch.program[1], touch.element.max() // (16 * 32)] += 1
    return counts


# %% mystnb={"image": {"alt": "Two grids of 4 programs by 4 blocks of values. In both, program 0 loads all four blocks, program 1 three, program 2 two and program 3 one. Together, each of these is loaded once; in turn, twice."}}
if INTERPRETED:  # on a GPU nobody sees the programs at work
    figure, axes = plt.subplots(1, 2, figsize=(6, 2.8), sharey=True)
    for axis, together in zip(axes, (True, False), strict=True):
        counts = loads(together)
        axis.imshow(counts, cmap="Blues", vmin=0, vmax=4)
        for (i, s), n in np.ndenumerate(counts):
            axis.text(s, i, n or "", ha="center", va="center")
        title = "together" if together else "in turn"
        axis.set(title=title, xlabel="block of values")
        axis.set(xticks=range(4), yticks=range(4))
        axis.grid(False)
        assert set(counts.flat) == ({0, 1} if together else {0, 2})
    axes[0].set_ylabel("program, in order")
    plt.show()

# %% [markdown]
# Program 0 has the last queries and walks all four blocks. In turn, each of its
# branches fetches them for itself.
#
# ## Check of this chapter
#
# Ours, the shipped kernel in both orders, and the eager operator in float64: the
# output, and what the backward needs.

# %%
q, k, v, lam = inputs(37, 50)
ours = fused_forward(q, k, v, lam, norm_scale=0.2)
truth = [x.double() for x in (q, k, v, lam)]
want = diff_attention(*truth, norm_scale=0.2, backend="eager")
print("this chapter -> eager, float64: differ by < 1e-5")
assert (ours.y - want).abs().max() < 1e-5

# %%
given = Arguments(q, k, v, lam.expand(1, 4, 37), scale=0.25, norm_scale=0.2)
for together in (True, False):
    shape = Shape(BT=16, BS=16, warps=4, stages=1, together=together)
    theirs = launch_forward.forward(given, keep=True, shape=shape)
    for name, x, y in zip(ours._fields, ours, theirs, strict=True):
        assert (x - y).abs().max() < 1e-5, name
    order = "together" if together else "in turn"
    print(f"this chapter -> minidiff, {order}: y, o, o2, lse < 1e-5")

# %% [markdown]
# What of this is proven? The interpreter ran every line on real numbers:
# indices, masks and arithmetic are right at the sizes tried. It says nothing
# of registers, of speed, or of threads that race, such as the barrier is for.
#
# ## Common mistakes
#
# - **Subtracting inside the walk.** Right for one block of keys.
# - **One top or one sum for both branches.**
# - **Subtracting before dividing by the sums,** hidden by the norm at
#   $\lambda = 0$.
# - **$\lambda$ on both branches,** right at $\lambda = 1$.
# - **Testing with sequences no longer than a block.**
#
# ## Summary
#
# - What is left of the past differs from branch to branch, so each needs an
#   accumulator until its last key. With known sums one is enough.
# - Fused costs 6 units, as two calls do. It saves two kernels of three, more
#   than half of the traffic, and roundings.
# - Registers decide the order: in turn where two accumulators do not fit. Where
#   they do, what else shares the multiprocessor decides, and a measurement.
# - The norm is free, since a program holds whole rows; and it hides mistakes.
# - Subtracting before rounding halves the error where branches almost cancel.
#   In turn rounds $o_2$ before, which adds up to $|\lambda o_2| / 256$.
#
# ## Further reading
#
# - Dao, *FlashAttention-2*, arXiv 2307.08691: the walk of one softmax, and why
#   the division waits for the end.
# - Milakov and Gimelshein, *Online normalizer calculation for softmax*, arXiv
#   1805.02867: where the running maximum and sum come from.
# - The official code's form of two calls: compare its bytes with ours. [U]
# - `minidiff/ops/triton/kernels/forward.py`, whole.
