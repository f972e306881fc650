# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 12. The fused backward
#
# By the end of this chapter you will have shown that the backward pass of a
# differential head needs no more multiplications than that of the two plain
# heads that it replaces. You will have written it as kernels whose results are
# bitwise reproducible, and seen how two trainings part that lack this.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - say what a forward pass must keep, and compute maps again from log-sums;
# - count the multiplications of a backward pass, at best and as built here;
# - write its parts as kernels: a tile, and the walk over the keys;
# - show why sums in a changing order change bits, and what a fixed order
#   costs.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | gradients by hand; the equations are repeated below | all of it | chapter 4 |
# | units of FLOPs | counting | chapter 6 |
# | programs, blocks, masks | the kernels | chapter 9 |
# | log-sums; what the fused forward returns | where we begin | chapters 10, 11 |

# %%
from minidiff.course.kernels import DEVICE, INTERPRETED  # before Triton

import inspect
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

# %%
from minidiff import check, diff_attention, plots
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course.kernel_diagrams import show_backward
from minidiff.course.kernels.fused_backward import fused_attention, keys_kernel
from minidiff.course.kernels.fused_backward import load_rows  # noqa: F401
from minidiff.course.kernels.fused_backward import store_rows  # noqa: F401
from minidiff.course.kernels.fused_backward import tile  # noqa: F401
from minidiff.course.kernels.walks import record_walks, show_walks
from minidiff.course.summing_order import distances, train
from minidiff.course.wrong_backward import dq_errors

plots.use_style("svg")

# %% [markdown]
# ## A cold open: brackets moved
#
# Forward, fusing saved no multiplications (chapter 11): no map is finished
# while the kernel walks, so each branch is multiplied by $v$. Here are both
# ways to write the head, with whole maps. They are one formula with its
# brackets moved.


# %%
def maps(q: Tensor, k: Tensor) -> tuple[Tensor, ...]:
    """Both causal maps, whole, (T, T) each."""
    hidden = torch.ones(q.shape[-2], k.shape[-2]).bool().triu(1)
    scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(hidden, -torch.inf)
    return scores.softmax(-1).unbind()


def apart(q, k, v, lam: float = 0.8) -> Tensor:
    A1, A2 = maps(q, k)
    return A1 @ v - lam * (A2 @ v)


def joined(q, k, v, lam: float = 0.8) -> Tensor:
    A1, A2 = maps(q, k)
    return (A1 - lam * A2) @ v


# %% [markdown]
# PyTorch counts FLOPs, and we divide by $2 T^2 D$, one unit. Forward `apart`
# will take 6 units and `joined` 4. And backward?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
T, D = 256, 16
print("        forward  backward")
for way in (apart, joined):
    q, k = torch.randn(2, 2, T, D, requires_grad=True)
    v = torch.randn(T, 2 * D, requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        y = way(q, k, v).sum()
    with FlopCounterMode(display=False) as backward:
        torch.autograd.grad(y, (q, k, v))
    found = [
        c.get_total_flops() / (2 * T * T * D) for c in (forward, backward)
    ]
    print("{:7s} {:6.0f} {:9.0f}".format(way.__name__, *found))

# %% [markdown]
# Moving the brackets saves a third of the backward pass. Each product with $v$
# leads to two products in the backward pass, $do\,v^\top$ and $A^\top do$, of
# 2 units each. `apart` uses $v$ twice, and computes
# $A_1^\top do - \lambda\,A_2^\top do$ where $(A_1 - \lambda A_2)^\top do$ is
# enough.
#
# Forward, a fused kernel could not subtract first, because it knows a row's
# log-sum only after its last key. The backward pass begins when both log-sums
# are known. So it knows each weight of both maps at once, and can use the
# second brackets.
#
# ## What chapter 4 found
#
# These are the equations of chapter 4 that we build, with its numbers. Back
# through the product $o = A\,v$:
#
# $$
# dA = do\,v^\top, \qquad dv = A^\top do
# \tag{4.2}
# $$
#
# Back through the softmax that made $A$ from scores $S$. From each row of $dA$
# it takes off one number, $\delta_t$, and that needs no map, only two rows:
#
# $$
# dS_{ts} = A_{ts}\,(dA_{ts} - \delta_t), \qquad
# \delta_t = \sum_s dA_{ts} A_{ts} = do_t \cdot o_t
# \tag{4.4, 4.5}
# $$
#
# For two branches, $o = (A_1 - \lambda A_2)\,v$, one $dA$ serves both, and
# $\delta_j$ is $do \cdot o_j$ with $o_j = A_j\,v$:
#
# $$
# dS_1 = A_1\,(dA - \delta_1), \quad
# dS_2 = \lambda\,A_2\,(\delta_2 - dA), \quad
# d\lambda = -\sum_t \delta_{2,t}
# \tag{4.6, 4.7}
# $$
#
# And back through the headwise norm, with $r$ the inverse root of
# $\operatorname{mean}(o^2) + \varepsilon$ and $g$ the gradient $dy$ times the
# norm's constant:
#
# $$
# do = r \left( g - o\, r^2 \operatorname{mean}(g\,o) \right)
# \tag{4.8}
# $$
#
# ## Keep, or compute again
#
# Above, autograd kept whole maps for the backward pass. A flash kernel keeps
# one number a row, chapter 10's log-sum $\ell$, and computes each weight
# again:
#
# $$
# A_j = 2^{\,c\,q_j k_j^\top - \ell_j}, \qquad
# c = \frac{\log_2 e}{\sqrt D}, \qquad j = 1, 2
# \tag{12.1}
# $$
#
# By hand: scores 2, 1, 1 in base 2 have the powers 4, 2, 2, with the sum 8, so
# $\ell = 3$. The weights are $2^{2-3} = \tfrac12$ and twice $2^{1-3} =
# \tfrac14$. No maximum is needed, because the power is never above 1.
#
# Our forward also keeps $o$ and $o_2$. It does not keep $o_1$, which is
# $o + \lambda\,o_2$. For 16 heads of $D = 64$, 4,096 tokens, bfloat16:

# %%
H, T, D = 16, 4096, 64
print(f"two maps: {2 * H * T * T * 2 / 1e6:.0f} MB")
kept = H * T * (2 * 2 * D * 2 + 2 * 4)  # o, o2 and two float32 log-sums
print(f"o, o2 and log-sums: {kept / 1e6:.0f} MB")

# %% [markdown]
# The price is to compute the scores once more, 2 units on top of the 8 of
# `joined`: 10.
#
# ## Three kernels
#
# The sums $\delta$ need whole rows of $do$ and $o$. The gradients $dk$ and
# $dv$ of a key need all queries, and $dq$ of a query needs all keys. So the
# work is cut into three kernels:

# %% mystnb={"image": {"alt": "A flow of boxes. dy, o and o2 go into the kernel prepare, which makes do, delta 1 and delta 2; minus the sum of delta 2 is the gradient of lambda. These and q, k, v and the log-sums go into two kernels: the keys kernel, which walks over queries and makes dk1, dk2 and dv, and the queries kernel, which walks over keys and makes dq1 and dq2."}}
show_backward()
plt.show()

# %% [markdown]
# The first, `prepare`, makes $do$ by equation 4.8, and with
# $o_1 = o + \lambda\,o_2$, row by row:
#
# $$
# \delta_2 = do \cdot o_2, \qquad
# \delta_1 = do \cdot o + \lambda\,\delta_2
# \tag{12.2}
# $$
#
# Multiply equation 4.8 by $o$: since
# $1 - r^2 \operatorname{mean}(o^2) = \varepsilon r^2$, almost all cancels,
#
# $$
# do \cdot o = \varepsilon\,r^3\,(g \cdot o)
# \tag{12.3}
# $$
#
# so $\delta_1$ is almost $\lambda\,\delta_2$. May a kernel leave the small rest
# out? A control at the end tries it.
#
# ### Exercise 12.1: the rows
#
# *Optional, 15 minutes.* Two helpers are imported:
# `load_rows(p, o_t, stride, T, W)` returns rows `o_t` of the matrix `(T, W)`
# at `p`, and zeros beyond row `T`; `store_rows(p, b, o_t, stride, T, W)`
# writes block `b` there. Compute in float32, `b.to(tl.float32)`. The other
# kernels will read $do$ as it is stored, perhaps in 16 bits. So round it to
# that type first, which is `p_do.dtype.element_ty`, and compute both deltas
# from the rounded $do$.


# %% tags=["stub:12.1"]
@triton.jit
def prepare(
    p_dy, p_o, p_o2, p_do, p_delta, dy_t, out_t, delta_j,
    T, lam, norm_scale, eps, DV: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Write do by eq. 4.8, and delta_1 and delta_2 by eq. 12.2, for one head.

    dy, o and o2 (T, DV); to write: do (T, DV) in its own dtype, and delta
    (2, T), float32: delta_1, then delta_2. Rows of dy are dy_t elements
    apart, rows of o, of o2 and of do out_t, the two of delta delta_j.
    Program i takes BT rows, from row i BT on. norm_scale is the factor of
    the norm.
    """
    # your code


# %% tags=["check:12.1"]
check.ex12_1(prepare)

# %% [markdown]
# ## Which units disappear
#
# The units of each product, and their sum:
#
# | | scores | $dA$ | $dv$ | $dk$ | $dq$ | all |
# |---|---|---|---|---|---|---|
# | two plain heads | 2 | 2 | 2 | 2 | 2 | 10 |
# | fused, the ideal | 2 | 2 | 2 | 2 | 2 | 10 |
# | fused, as built | 4 | 4 | 2 | 2 | 2 | 14 |
# | two calls, values $2D$ wide | 2 | 4 | 4 | 2 | 2 | 14 |
# | four calls, values cut | 4 | 4 | 4 | 4 | 4 | 20 |
#
# *Two calls* make $dA$ and $dv$ once for each branch. *Four calls* also make
# scores, $dk$ and $dq$ once for each half of $v$. The *ideal* makes every
# product once. *As built*, it is two kernels with products, and each of them
# needs the scores and $dA$: 14. The rows of plain heads and of calls are ideals
# as well. Built as two kernels, the plain heads take 14 and the two calls 20.
#
# ## One tile
#
# Cut the maps into *tiles* of `BT` queries by `BS` keys. From its queries,
# keys and values, and the rows of $do$, $\ell$, $\delta_1$ and $\delta_2$, a
# tile of $A_1 - \lambda A_2$, $dS_1$ and $dS_2$ can be computed by itself.
# Both kernels need it, so it is a function that kernels call.
#
# Where a key is hidden from a query, the log-sum does not include it. There
# $c\,q k^\top - \ell$ may be large, and its power infinite.
#
# ### Exercise 12.2: one tile
#
# *Medium, 10 minutes.* Equations 12.1 and 4.7, with one $dA$ for both
# branches.


# %% tags=["stub:12.2"]
@triton.jit
def one_tile(
    b_q1, b_q2, b_k1, b_k2, b_v, b_do, b_lse1, b_lse2, b_delta1, b_delta2,
    lam, m_seen, c,
):  # fmt: skip
    """Return a tile of A1 - lam A2, of dS1 and of dS2, each (BT, BS).

    b_q1, b_q2 (BT, D), b_k1, b_k2 (BS, D), b_v (BS, DV) and b_do (BT, DV);
    the log-sums, base 2, and delta_1, delta_2 (BT,). m_seen (BT, BS) is true
    where the query sees the key; elsewhere a logit may be anything, and all
    three tiles are 0. c is the scale times log2(e). Give tl.dot
    input_precision="ieee".
    """
    # your code


# %% tags=["check:12.2"]
check.ex12_2(one_tile)

# %% [markdown]
# From here on the chapter uses minidiff's version, `tile`.
#
# ## Two walks
#
# The index $ab$ means the tile of block $a$ of the queries and block $b$ of
# the keys:
#
# $$
# dk_{j,b} = \frac{1}{\sqrt D} \sum_a dS_{j,ab}^\top\, q_{j,a}, \qquad
# dv_b = \sum_a (A_1 - \lambda A_2)_{ab}^\top\, do_a
# \tag{12.4}
# $$
#
# $$
# dq_{j,a} = \frac{1}{\sqrt D} \sum_b dS_{j,ab}\, k_{j,b}
# \tag{12.5}
# $$
#
# A program can hold a sum in registers as long as it goes on adding to it. So
# a program with its block of *keys* walks over the queries that see them, from
# the diagonal down. One with its block of *queries* walks over the keys, up to
# the diagonal. Before you look: sketch the tiles, and write into each the step
# in which each kernel makes it. Each colour is one program.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Two grids of 4 blocks of queries by 4 blocks of keys; tiles above the diagonal are empty. Left, keys kernel: each column is one program; its steps count down the column from 1 on the diagonal. Right, queries kernel: each row is one program; its steps count along the row from 1 at the first keys to the diagonal."}}
if INTERPRETED:  # on a GPU nobody sees the programs at work
    show_walks(record_walks())
    plt.show()

# %% [markdown]
# Every tile is computed twice, once in each kernel, and no program touches
# what another one writes.
#
# Below is the loop of the first walk, from `keys_kernel` in
# `minidiff/course/kernels/fused_backward.py`. Each step loads what belongs to
# the queries, makes one mask and one tile, and adds three products. Before a
# product the tile is rounded to the inputs' type, because `tl.dot` takes two
# blocks of one type. The outer loop runs over the `G` query heads that share
# these keys, and `q_n` is the stride from head to head. `scale` is the factor
# of equations 12.4 and 12.5, and `c` is `scale` times $\log_2 e$.

# %%
text = inspect.getsource(keys_kernel.fn)
print(textwrap.dedent(text[text.index("    for i_n in range") :]))

# %% [markdown]
# ### Exercise 12.3: the walk over the keys
#
# *Hard, 20 minutes.* Turn the kernel round: now a program owns queries and
# walks over keys. There is one head, with as many queries as keys, always
# causal. The inputs may be float16.


# %% tags=["stub:12.3"]
@triton.jit
def queries_walk(
    p_q, p_k, p_v, p_do, p_lse, p_delta, p_dq,
    q_j, q_t, k_j, k_s, v_s, do_t, row_j, dq_j, dq_t, T, lam, scale, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """Write dq1 and dq2 of BT queries of one head, eq. 12.5.

    q, k and, to write, dq (2, T, D); v and do (T, DV), all of one dtype;
    lse and delta (2, T), float32, both with the stride row_j. Query t sees
    keys 0 to t. Program i takes the queries from i BT on and walks over the
    keys, BS at a time; it visits no block of keys that none of them sees.
    Use tile, load_rows and store_rows.
    """
    # your code


# %% tags=["check:12.3"]
check.ex12_3(queries_walk)

# %% [markdown]
# ## The same bits, every time
#
# `fused_attention` joins chapter 11's forward and these three kernels into one
# operation for autograd. Run it twice, and compare not with a tolerance but
# bit by bit:


# %%
def gradients(attend, given: list[Tensor], **options) -> tuple[Tensor, ...]:
    """Gradients of q, k, v and lambda; the sum of y is the loss."""
    given = [x.detach().requires_grad_() for x in given]
    return torch.autograd.grad(attend(*given, **options).sum(), given)


def drawn(dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(1)
    shapes = (1, 4, 2, 40, 16), (1, 2, 2, 50, 16), (1, 2, 50, 32)
    x = [torch.randn(s).to(DEVICE, dtype) for s in shapes]
    return [*x, torch.full((), 0.8, device=DEVICE)]


# %%
given = drawn(torch.float16)
first, second = (
    gradients(fused_attention, given, norm_scale=0.2) for _ in range(2)
)
for name, x, y in zip(("q", "k", "v", "lam"), first, second, strict=True):
    print(f"d{name:3s}: equal bits in both runs: {torch.equal(x, y)}")

# %% [markdown]
# In the interpreter programs run one after another, so this result was
# certain. On a GPU they run at the same time and finish in any order; there
# minidiff's tests check the same. It holds because each number is written by
# one program, which adds in the order of its own loop.
#
# The ideal of 10 units needs one kernel instead of two. Its programs would own
# keys and walk over queries, so a row of $dq$ would be a sum over many
# programs. Each would add its part in memory, by an *atomic* addition: no part
# is lost, and the order is left to chance. Does the order matter? Predict the
# sum of $2^{24}$, $1$ and $-2^{24}$ in float32, in two orders. Then guess how
# many different sums 64 numbers have, in a thousand orders.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
big, one = np.float32(2**24), np.float32(1)
print("(big + 1) - big =", big + one - big, end=", but ")
print("(big - big) + 1 =", big - big + one)
rng = np.random.default_rng(0)
parts = rng.normal(size=64).astype(np.float32)
sums = {rng.permutation(parts).cumsum()[-1] for _ in range(1000)}
print(f"{len(sums)} different sums in 1000 orders of 64 numbers")

# %% [markdown]
# From $2^{24}$ on float32 has only every second whole number, so the 1 is
# rounded away. In the same way each addition rounds a little, and the order
# decides what is lost. Still, all sums are right to six digits. Who cares
# about the seventh?
#
# Let us train a small network twice, from the same start, on the same 64
# examples. Its gradient is a sum over the examples. One run always adds them in
# the same order. The other takes a new order in each step, as atomics might.
# *Nothing else differs.* How far apart are the weights after 600 steps? Sketch
# two curves, for a slow rate and for one eight times as large.

# %% tags=["hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true} mystnb={"image": {"alt": "Relative distance of two trainings against the step, on a logarithmic axis, four lines for each of two rates. All begin near 1e-8. At rate 0.05 they creep up to about 1e-7. At rate 0.4 all four follow them for about 100 steps, shoot up before step 250 to between 1e-2 and 1e-1, and end between 1e-4 and 1e-2."}}
gaps: dict[float, list[np.ndarray]] = {}
looks = ((0.05, plots.COLOURS[0], "-"), (0.4, plots.COLOURS[1], "--"))
for rate, colour, style in looks:
    for start in range(4):
        fixed, _ = train(rate, start)
        free, _ = train(rate, start, shuffled=True)
        gaps.setdefault(rate, []).append(distances(fixed, free))
        plt.semilogy(gaps[rate][-1], color=colour, ls=style, lw=1)
    plt.gca().lines[-1].set_label(f"rate {rate}")
plt.gca().set(xlabel="step", ylabel="distance of the two runs")
plt.legend()
plt.show()
again, _ = train(rate, start)
print("same order, run again: equal bits:", np.array_equal(fixed, again))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
slow, fast = (np.array(gaps[rate]) for rate in (0.05, 0.4))
assert slow.max() < 1e-6 and (fast[:, :100] < 1e-6).all()
assert (fast[:, :250].max(1) > 1e-3).all()
assert (fast[:, :250].max(1) > 1e5 * fast[:, :1].max(1)).all()
assert all(train(0.4, start)[1][-1] < 0.02 for start in range(4))
assert len(sums) == 13 and np.array_equal(fixed, again)

# %% [markdown]
# At the slow rate the two runs stay together and differ in the seventh digit.
# The fast rate learns as well, and learns more. But somewhere between steps 100
# and 250 the runs part: the distance grows a hundred thousand times, from all
# four starts. Which of the two rates a training of yours resembles, you do not
# know beforehand.
#
# So with atomics the same command, twice, may give two models. A training that
# failed cannot be repeated and looked into, and a test can no longer ask for
# equal bits. For a fixed order we pay 4 of our 14 units. Which is faster in the
# end? One kernel would hold five accumulators in registers and send every part
# of $dq$ to memory. Only a clock on a GPU decides (chapter 13).
#
# ### Exercise 12.4: other cuts
#
# *Optional, 8 minutes.* What does any other cut into kernels cost?


# %% tags=["stub:12.4"]
def backward_units(kernels: list[str]) -> int:
    """Return the units of one head's backward pass, fused.

    kernels: what each of them computes, out of dq, dk and dv, for both
    branches. ["dk dv", "dq"] are our two. A kernel keeps nothing for the
    next: what it needs, it computes. Values are 2D wide; delta_1 and delta_2
    are known.
    """
    # your code


# %% tags=["check:12.4"]
check.ex12_4(backward_units)

# %% [markdown]
# ## The controls that fail
#
# Here are four mistakes: forget both deltas; forget $\lambda$ in $dS_2$;
# compute the deltas from $do$ *before* it is rounded to 16 bits; take
# $\lambda\,\delta_2$ for $\delta_1$, since the rest is almost 0. As in chapter
# 4, a number is added to all values. Then $dA$ and $\delta$ are large, and
# their difference is small. Which of the four stays hidden longest?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
shifts = 0, 8, 30
found = [dq_errors(shift) for shift in shifts]
print("relative error of dq, values shifted by", *(f"{s:8d}" for s in shifts))
for name in found[0]:
    print(f"{name:38s}", *(f"{f[name]:8.2%}" for f in found))

# %% [markdown]
# Two mistakes are large from the start, and two show only when the values are
# shifted far. The reason for these two: rows of $dS$ sum to zero only if
# $\delta$ is the mean of the same $dA$ from which it is subtracted. That $dA$
# is computed from the rounded $do$, which is not quite at a right angle to
# $o$. So our kernels round first, and then compute $do \cdot o$ although it is
# almost 0.
#
# ## The shipped kernels
#
# `minidiff/ops/triton/kernels/backward.py` has the same three kernels, made
# fast. Where three sums do not fit into the registers, the keys kernel runs
# twice, for $dk$ and then for $dv$, at 16 units. On Hopper GPUs its warps have
# *roles*: one loads, and two groups of four compute by turns, so that one
# group multiplies while the other takes exponentials.
#
# ## Check of this chapter
#
# Our kernels and the shipped ones against the eager operator in float64, with
# grouped queries, more keys than queries, lengths that are no multiple of a
# block, and a lambda that learns.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for dtype, limit in ((torch.float32, 1e-5), (torch.float16, 5e-3)):
    given = drawn(dtype)
    options = {"norm_scale": 0.2}
    truth = [x.double() for x in given]
    want = gradients(diff_attention, truth, **options, backend="eager")
    ours = gradients(fused_attention, given, **options)
    theirs = gradients(diff_attention, given, **options, backend="triton")
    for name, found in (("this chapter", ours), ("shipped", theirs)):
        for x, right in zip(found, want, strict=True):
            assert (x - right).norm() < limit * (right.norm() + 1)
        print(f"{str(dtype)[6:]}: {name} -> eager, dq dk dv dlam agree")

# %% [markdown]
# ## Common mistakes
#
# - **Deltas of another $do$** than the one that $dA$ is made of.
# - **Lambda in one place of two.** It is in $dS_2$ and in $dv$.
# - **A mask as a factor.** Hidden logits may overflow: infinity times 0.
#
# ## Summary
#
# - In the backward pass the log-sums are known, so the maps may be subtracted
#   first: $dA$ once, $dv$ once.
# - Ideal: 10 units, as for two plain heads; two flash calls take 14, four 20.
#   As built, in two kernels: 14, and 14 for the plain heads.
# - Kept: $o$, $o_2$ and two log-sums a row. Not $o_1$, and no map.
# - One owner for each sum makes the results bitwise reproducible.
#
# ## Further reading
#
# - Dao et al., *FlashAttention*, arXiv 2205.14135, the appendix on the
#   backward pass: one softmax, with equation 4.5.
