# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10. Flash attention forward
#
# By the end of this chapter you will have shown that attention can be computed
# without ever storing its map: your kernel drops every block of scores after
# use, agrees with the formula, and needs memory for its results alone.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - merge two parts of a softmax by hand, and say what each part keeps;
# - write a running softmax for numbers, for rows and for tiles;
# - say where base 2 is used, and find the place where base e got in;
# - tell which blocks of a causal map are whole, masked and skipped;
# - count what the kernel keeps and what it reads;
# - name the parts of a GPU that decide how fast a kernel is.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | softmax, its maximum subtracted; the causal mask | all of it | chapter 1 |
# | programs, blocks, pointers, masks, `tl.dot` | the kernels | chapter 9 |
# | bytes alive, bytes moved, `Meter` | the memory | chapter 6 |
#
# The idea grows in five steps: two keys by hand, a row, a tile, a kernel in
# which every query sees every key, and the causal kernel. If you did problem
# set 1, you know steps 1 to 3: skim them. Exercises 9.10 to 9.13 are small
# steps towards exercise 10.4.

# %%
import json

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from minidiff.course.kernels import DEVICE, INTERPRETED, flash  # before triton
import triton
import triton.language as tl

# %%
from minidiff import check, course, plots
from minidiff.bench.peak_memory import Meter
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course.gpu_diagrams import show_gpu, show_stages
from minidiff.course.kernels.memory import fenced, outside_touched, poisoned
from minidiff.course.kernels.picture import show_touches
from minidiff.course.kernels.trace import record
from minidiff.course.tile_walk import show_tile_walk
from minidiff.reference import attention_map

plots.use_style("svg")

# %% [markdown]
# ## A cold open: a wrong function, tested
#
# Here is attention that takes the keys 16 at a time. For each row it keeps the
# largest score so far, a sum of weights, and a sum of weights times values. One
# line is missing. We test it with queries as small as a new layer makes them,
# and allow an error of one hundredth, as one would for bfloat16.


# %%
def blockwise(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    top = np.full((len(q), 1), -np.inf)
    total = out = 0.0
    for s in range(0, len(k), 16):
        scores = q @ k[s : s + 16].T / np.sqrt(q.shape[1])
        top = np.maximum(top, scores.max(1, keepdims=True))
        weights = np.exp(scores - top)
        total = total + weights.sum(1, keepdims=True)
        out = out + weights @ v[s : s + 16]
    return out / total


# %%
q, k, v = np.random.default_rng(0).normal(size=(3, 64, 16))
errors = {}
for size in (0.02, 3):
    right = attention_map(size * q, k, causal=False) @ v
    errors[size] = np.abs(blockwise(size * q, k, v) - right).max()
    print(f"queries of size {size}: largest error {errors[size]:.3f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert errors[0.02] < 0.01 < 1 < errors[3]

# %% [markdown]
# The test passes. With queries of size 3 the error of the same function is
# larger than a typical value, which is 1. There is no NaN and no infinity to
# notice. The missing line is what this chapter is about. If you see it already,
# say what it must do to `total` and to `out`.
#
# ## Step 1: two keys
#
# A row of attention is a weighted mean of values. The softmax seems to need
# all keys at once: it divides by a sum over *all* keys, and it subtracts the
# largest score of *all* keys, so that nothing overflows.
#
# We write weights as powers of 2 instead of $e$, for a reason given below.
# Since $e^x = 2^{\,x \log_2 e}$, a score in base 2 is the usual score times
# $\log_2 e$. We call it $y$.
#
# Take two keys with scores 1 and 3 and values 10 and 20. Their weights are
# $2^1 = 2$ and $2^3 = 8$, and the output is $(2 \cdot 10 + 8 \cdot 20) / 10 =
# 18$. Now take the keys one by one. Of any part of a row we keep three numbers:
# its largest score $m$; the sum $z$ of its weights $2^{\,y - m}$, which are
# relative to that score; and the sum $u$ of these weights times values. For one
# key these are $(y, 1, v)$: here $(1, 1, 10)$ and $(3, 1, 20)$.
#
# Now merge the two parts. The larger $m$ is 3. The first key's weight was
# relative to 1; relative to 3 it is $2^{1 - 3}$, a quarter. So $z = \frac14 +
# 1 = \frac54$, and $u = \frac{10}{4} + 20 = \frac{45}{2}$. Their quotient is
# 18 again. In general:
#
# $$
# m = \max(m_1, m_2), \quad
# z = 2^{\,m_1 - m}\, z_1 + 2^{\,m_2 - m}\, z_2, \quad
# u = 2^{\,m_1 - m}\, u_1 + 2^{\,m_2 - m}\, u_2
# \tag{10.1}
# $$
#
# No factor is ever above 1, so nothing overflows. Now add a third key, with
# score 2 and value 0. Work out $z$ and the output before you run this.


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
Part = tuple[float, float, float]


def merge(a: Part, b: Part) -> Part:
    top = max(a[0], b[0])
    f, g = 2.0 ** (a[0] - top), 2.0 ** (b[0] - top)
    return top, f * a[1] + g * b[1], f * a[2] + g * b[2]


two = merge((1, 1, 10), (3, 1, 20))
three = merge(two, (2, 1, 0))
for m, z, u in (two, three):
    print(f"m {m}, z {z}, u {u}, output {u / z:.4f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert two == (3, 5 / 4, 45 / 2) and three[2] / three[1] == 180 / 14

# %% [markdown]
# $z$ becomes $\frac54 + \frac12$, and $u$ does not change. The weights
# themselves are 2, 8 and 4. Their sum, 14, can be computed from what we keep:
# it is $2^m z$. Its logarithm is called the *log-sum*,
#
# $$
# \ell = m + \log_2 z = \log_2 \sum_s 2^{\,y_s}
# \tag{10.2}
# $$
#
# With $\ell$, a key's final weight follows from its score alone, as $2^{\,y -
# \ell}$. The backward pass (chapter 12) needs this, so our kernel will store
# $\ell$.
#
# ## Step 2: a row
#
# A row arrives in blocks of keys. We could make each block a part and merge
# it. It is shorter to take the new maximum first, and to compute the block's
# weights relative to that. Then only the *old* sums need a factor:
#
# $$
# m' = \max(m, \max_s y_s), \quad
# z' = 2^{\,m - m'} z + \sum_s 2^{\,y_s - m'}, \quad
# u' = 2^{\,m - m'} u + \sum_s 2^{\,y_s - m'}\, v_s
# \tag{10.3}
# $$
#
# The factor $2^{\,m - m'}$ is what was missing in the cold open: where the
# maximum grows, the old sums shrink. We begin with $m = -\infty$ and with sums
# of zero, so the first factor is $2^{-\infty} = 0$.
#
# ### Exercise 10.1: a row longer than a block
#
# *Medium, 10 minutes.* Chapter 9's softmax held a whole row at once. For the
# log-sum two numbers are enough, $m$ and $z$. `tl.exp2` and `tl.log2` work
# entry by entry, `tl.maximum(a, b)` takes the larger of two. Which `other`
# adds nothing to a sum of powers of 2?


# %% tags=["stub:10.1"]
@triton.jit
def log_sum_kernel(p_x, p_out, stride, S, BS: tl.constexpr):
    """Write log2 of the sum of 2 ** x over each row of x (T, S) to out (T,).

    Program i takes row i. Rows begin `stride` apart, and the S numbers of a
    row lie side by side; take BS of them at a time. They may be thousands.
    """
    # your code


# %% tags=["check:10.1"]
passed = check.ex10_1(log_sum_kernel)

# %% [markdown]
# ## An aside: base 2, base e
#
# Why base 2? An NVIDIA GPU has an instruction for $2^x$ and none for $e^x$.
# The compiler translates `tl.exp2` into that instruction, and `tl.exp` into a
# multiplication by $\log_2 e$ followed by it [test]. With `tl.exp` each of the
# $T S$ scores costs one multiplication more. But scores are multiplied by
# $1 / \sqrt D$ anyway. So put both factors into one number,
#
# $$
# c = \frac{\log_2 e}{\sqrt D}, \qquad y = c\; q \cdot k
# \tag{10.4}
# $$
#
# and the change of base costs nothing. The output is the same number. The
# log-sum is a different number: ours is in base 2, which is $\log_2 e$ times
# the one in base $e$ that PyTorch returns. If you mix the two, you get no
# error message. Predict for each line below whether the weights still sum
# to 1.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
x = np.array([0.5, 2.0, 1.0, 0.0])  # scores as in chapter 1
y = x * np.log2(np.e)
natural, ours = np.log(np.exp(x).sum()), np.log2(np.exp2(y).sum())
ways = {
    "base e":                  np.exp(x - natural),
    "base 2":                  np.exp2(y - ours),
    "e ** y, y in base 2":     np.exp(y) / np.exp(y).sum(),
    "2 ** (y - log-sum in e)": np.exp2(y - natural),
}  # fmt: skip
for name, weights in ways.items():
    print(f"{name:24s}{weights.round(3)} sum {weights.sum():.3f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert np.allclose(ways["base e"], ways["base 2"])

# %% [markdown]
# The third line is the dangerous one: its weights sum to 1, but they are too
# sharp. The fourth line is what a backward pass computes from the wrong
# log-sum.
#
# ## Step 3: tiles
#
# Rows of attention do not depend on each other. So take $B_T$ queries at once,
# each with its own $m$, $z$ and $u$. A block of $B_S$ keys is loaded once and
# used by all of them. The scores of a block of queries with a block of keys are
# a *tile* of the map, $B_T$ by $B_S$. Blue tiles are done and forgotten; the
# orange one is at work:

# %% mystnb={"image": {"alt": "A map of three blocks of queries by four blocks of keys and values. In the row of query block 1 tiles 0 and 1 are blue, tile 2 is orange, tile 3 is white. An arrow leads along the row to a box with m, z and u, kept for each row, and from there to u divided by z and the log-sum, stored at the end."}}
show_tile_walk()
plt.show()

# %% [markdown]
# This is equation 10.3 with a row axis in front, and with chapter 1's mask:


# %%
def numpy_step(acc, top, total, scores, v):
    """Equation 10.3 for tiles: scores (BT, BS), values v (BS, Dv)."""
    new = np.maximum(top, scores.max(1))
    shrink, weights = np.exp2(top - new), np.exp2(scores - new[:, None])
    acc = acc * shrink[:, None] + weights @ v
    return acc, new, total * shrink + weights.sum(1)


# %%
def numpy_flash(q, k, v, BT=16, BS=16, step=numpy_step):
    """Causal attention (T, Dv) and its log-sums (T,), no map held."""
    (T, D), S = q.shape, len(k)
    out, lse = np.zeros((T, v.shape[1])), np.zeros(T)
    for t in range(0, T, BT):
        rows = np.arange(t, min(t + BT, T))
        held = 0.0, np.full(len(rows), -np.inf), np.zeros(len(rows))
        for s in range(0, S, BS):
            keys = np.arange(s, min(s + BS, S))
            scores = np.log2(np.e) / np.sqrt(D) * q[rows] @ k[keys].T
            hidden = keys > rows[:, None] + S - T
            held = step(*held, np.where(hidden, -np.inf, scores), v[keys])
        acc, top, total = held
        out[rows], lse[rows] = acc / total[:, None], top + np.log2(total)
    return out, lse


# %% [markdown]
# If the first tile hid all its keys from a row, $m$ would stay $-\infty$, and
# $-\infty - (-\infty)$ would give NaN. That cannot happen here: with $T \le S$
# every query sees key 0, so $m$ is finite after the first tile. Is the result
# an approximation?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
rng = np.random.default_rng(1)
for T, S, BT, BS in ((1, 1, 16, 16), (17, 50, 8, 16), (33, 33, 16, 4)):
    q, k, v = (rng.normal(size=(n, 16)) for n in (T, S, S))
    out, lse = numpy_flash(q, k, v, BT, BS)
    A = attention_map(q, k)
    y = np.log2(np.e) / 4 * q @ k.T  # D = 16
    rebuilt = np.where(A > 0, np.exp2(y - lse[:, None]), 0)
    off = max(np.abs(out - A @ v).max(), np.abs(rebuilt - A).max())
    shown = "< 1e-12" if off < 1e-12 else f"{off:.1e}"
    print(f"T {T:2d}, S {S:2d}, tiles {BT:2d} x {BS:2d}: differ by {shown}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert off < 1e-12

# %% [markdown]
# It is exact, up to rounding, and the log-sums give back the whole map.
#
# ## Step 4: a kernel
#
# Kernels may call a function marked `@triton.jit`. It takes blocks and returns
# blocks. In this one $u$ is called `b_acc`, short for *accumulator*, a block
# in which a sum grows; $m$ is `b_top` and $z$ is `b_sum`. One thing is new:
# values may be float16, and `tl.dot` wants both its blocks in one type.
# Weights lie between 0 and 1. Rounding them to the type of the values, with
# `b.to(b_v.dtype)`, changes the result little; the sums stay in float32.
#
# ### Exercise 10.2: the softmax step
#
# *Medium, 12 minutes.* Equation 10.3 for a tile. `tl.max(b, 1)` reduces along
# the rows, `b[:, None]` makes a column.


# %% tags=["stub:10.2"]
@triton.jit
def step(b_acc, b_top, b_sum, b_s, b_v):
    """Take one block of keys into a running softmax; return what it holds.

    So far: b_top (BT,) the largest score of each row, b_sum (BT,) the sum of
    2 ** (score - b_top), b_acc (BT, DV) the sum of 2 ** (score - b_top) times
    value. b_s (BT, BS) are the block's scores, -inf where hidden; every row
    has a score above -inf in its first block. b_v (BS, DV) are the values,
    float32 or float16. Return b_acc, b_top, b_sum.
    """
    # your code


# %% tags=["check:10.2"]
passed = check.ex10_2(step)
softmax_step = step if passed else flash.softmax_step

# %% [markdown]
# **Not proved: that there are enough registers.** The accumulator has $B_T$
# times $D_v$ numbers and stays in registers for the whole walk, and chapter 11
# needs two of them.
#
# From here on `softmax_step` is yours, or minidiff's if exercise 10.2 is not
# solved. Around it we build a kernel for one head that is not causal: every
# query sees every key. `rows` loads a block of rows as in chapter 9, `walk` is
# the loop over keys, and program $i$ takes $B_T$ queries. A block's shape,
# `b_q.shape[0]`, may serve as a size; `tl.full` is `tl.zeros` with another
# number.


# %%
@triton.jit
def rows(p_x, o_r, stride, n, W: tl.constexpr):
    at = o_r[:, None] * stride + tl.arange(0, W)[None, :]
    return tl.load(p_x + at, (o_r < n)[:, None], 0.0)


# %%
@triton.jit
def walk(b_q, p_k, p_v, k_s, v_s, S, c, D: tl.constexpr, BS: tl.constexpr):
    BT: tl.constexpr = b_q.shape[0]
    b_acc = tl.zeros([BT, D], tl.float32)
    b_top = tl.full([BT], float("-inf"), tl.float32)
    b_sum = tl.zeros([BT], tl.float32)
    for start_s in range(0, S, BS):
        o_s = start_s + tl.arange(0, BS)
        b_k = rows(p_k, o_s, k_s, S, W=D)
        b_v = rows(p_v, o_s, v_s, S, W=D)
        b_s = tl.dot(b_q, b_k.T, input_precision="ieee") * c
        b_s = tl.where((o_s < S)[None, :], b_s, float("-inf"))
        b_acc, b_top, b_sum = softmax_step(b_acc, b_top, b_sum, b_s, b_v)
    return b_acc / b_sum[:, None]


# %%
@triton.jit
def full_kernel(
    p_q, p_k, p_v, p_out, q_t, k_s, v_s, out_t, T, S, c,
    D: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    o_t = tl.program_id(0) * BT + tl.arange(0, BT)
    b_q = rows(p_q, o_t, q_t, T, W=D)
    b_out = walk(b_q, p_k, p_v, k_s, v_s, S, c, D=D, BS=BS)
    at = o_t[:, None] * out_t + tl.arange(0, D)[None, :]
    tl.store(p_out + at, b_out, (o_t < T)[:, None])


# %% [markdown]
# Keys beyond the last one are read as zeros. Their scores are then 0, which is
# a score like any other, so we replace it by $-\infty$, and their weight is 0.
# Why must their values be zeros too? Because 0 times NaN is NaN. We run the
# kernel between fences, at lengths that fit no block:

# %%
torch.manual_seed(0)
q, k, v = (fenced(torch.randn(n, 16, device=DEVICE)) for n in (33, 50, 50))
out = poisoned(33, 16)
full_kernel[(triton.cdiv(33, 16),)](
    q, k, v, out, *(x.stride(0) for x in (q, k, v, out)), 33, 50,
    flash.LOG2_E / 16**0.5, D=16, BT=16, BS=16,
)  # fmt: skip
Q, K, V = (x.cpu().double().numpy() for x in (q, k, v))
right = attention_map(Q, K, causal=False) @ V
assert np.abs(out.cpu().numpy() - right).max() < 1e-5
assert outside_touched(out) == 0
print("full attention, float32: differs by < 1e-5")

# %% [markdown]
# ## Step 5: the diagonal
#
# Now the map becomes causal: query $t$ sees keys 0 to $t + S - T$. A tile is
# *whole* if all its queries see all its keys, *skipped* if none sees any, and
# otherwise *masked*: the diagonal goes through it, or the keys end inside it.
# Here is an example by hand, with $T = 4$, $S = 6$ and tiles of 2 by 2. Query 0 sees 3
# keys, query 1 sees 4. So for the first block of queries the block of keys 0
# and 1 is whole, keys 2 and 3 need a mask, and keys 4 and 5 are skipped. In the
# second block query 2 sees 5 keys and query 3 sees 6, so two blocks are whole
# and one is masked.
#
# ### Exercise 10.3: whole, masked, skipped
#
# *Medium, 8 minutes.* This is plain Python, not a kernel. Two of a block's
# queries decide the three numbers. Which two?


# %% tags=["stub:10.3"]
def blocks_seen(
    i_t: int, T: int, S: int, BT: int, BS: int
) -> tuple[int, int, int]:
    """Return how many blocks of keys are whole, masked and skipped.

    For block i_t of BT queries: the first is i_t * BT. Query t sees keys 0 to
    t + S - T, T <= S; the last blocks may be cut short by T and S. Whole: all
    BS keys exist and every query of the block sees them. Skipped: none sees
    any. Masked: the rest.
    """
    # your code


# %% tags=["check:10.3"]
passed = check.ex10_3(blocks_seen)
my_blocks = blocks_seen if passed else flash.blocks_seen

# %% mystnb={"image": {"alt": "A map of 44 queries by 76 keys cut into tiles of 16 by 16, the last row and column cut short. A staircase falls from key 33 at the top to key 76 at the bottom. Tiles left of it are called whole and are blue, those it crosses masked and orange, those right of it skipped and white. The short last column is masked where it is reached."}}
T, S, B = 44, 76, 16
figure, axis = plt.subplots(figsize=(6.4, 3.4))
fill = {"whole": "#b3d4e8", "masked": "#f4c9a6", "skipped": "white"}
for i in range(3):
    counts = zip(fill, my_blocks(i, T, S, B, B), strict=True)
    names = [name for name, n in counts for _ in range(n)]
    for j, name in enumerate(names):
        size = min(B, S - j * B), min(B, T - i * B)
        at = j * B, i * B
        axis.add_patch(plt.Rectangle(at, *size, fc=fill[name], ec="0.4"))
        axis.text(at[0] + 0.5, at[1] + 0.9 * size[1], name, fontsize=9)
axis.step(S - T + np.arange(T + 1), range(T + 1), "k-", where="post")
axis.set(xlim=(0, S), ylim=(T, 0), xlabel="key", ylabel="query")
axis.grid(False)
plt.show()

# %% [markdown]
# For a long sequence, what share of the tiles needs a mask? Guess.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
T, BT, BS = 16384, 64, 32
tiles = np.sum([my_blocks(i, T, T, BT, BS) for i in range(T // BT)], 0)
for name, share in zip(fill, tiles / tiles.sum(), strict=True):
    print(f"{name:8s}{share:6.1%}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert tiles[1] / tiles.sum() < 0.01 and tiles[2] / tiles.sum() > 0.49

# %% [markdown]
# Half of the work disappears, and fewer than one tile in a hundred needs a
# mask.
#
# ### Exercise 10.4: flash attention, causal
#
# *Hard, 20 minutes.* The whole kernel, for any number of heads, with the
# log-sum. You may call `softmax_step` and `rows`.


# %% tags=["stub:10.4"]
@triton.jit
def causal_kernel(
    p_q, p_k, p_v, p_out, p_lse,
    q_n, q_t, k_n, k_s, v_n, v_s, out_n, out_t, lse_n,
    T, S, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """out = softmax(q k') v and its log-sum; query t sees keys to t + S - T.

    For N heads, T <= S: q (N, T, D), k (N, S, D), v (N, S, DV), out
    (N, T, DV), lse (N, T). q_n and q_t are the strides of q between heads and
    between rows, and so on; the numbers of a row lie side by side. Program
    (n, i) takes BT queries of head n, from i * BT on, and visits no block of
    keys that none of them sees. Scores in base 2 are c times q k'. All are
    float32, or q, k, v and out are float16.
    """
    # your code


# %% tags=["check:10.4"]
passed = check.ex10_4(causal_kernel)
my_kernel, more = causal_kernel, {}
if not passed:  # minidiff's does both, causal and full
    my_kernel, more = flash.flash_kernel, {"CAUSAL": True}

# %% [markdown]
# **Not proved: that it compiles.** A first version of minidiff's kernel, which
# stands at the end of this chapter, passed all its tests in the interpreter,
# and the compiler refused it [test]:
#
# ```text
# Loop-carried variable p_row has initial type
# <['64', '1'], pointer<fp16>> but is re-assigned to
# <['32', '1'], pointer<fp16>> in loop!
# ```
#
# It used one name, `p_row`, for the addresses of $B_T$ rows before the loop
# and of $B_S$ rows inside. In Python a name may change its shape. In a
# compiled loop it may not, so use one name for each.
#
# ## Memory, counted
#
# The kernel allocates its output and the log-sums: for $N$ heads in float32
# these are $N\,T\,(4 D_v + 4)$ bytes. The version with maps, `with_maps`
# below, needs a mask and has two whole maps in memory at a time. Predict what
# twice the length does to the memory of each.


# %%
def with_maps(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    T, D = q.shape[1:]
    hidden = torch.ones(T, T, dtype=torch.bool, device=q.device).triu(1)
    scores = (q @ k.mT / D**0.5).masked_fill(hidden, -torch.inf)
    return scores.softmax(-1) @ v


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for T in (128, 256, 512):
    q, k = torch.randn(2, 2, T, 16, device=DEVICE)
    v = torch.randn(2, T, 32, device=DEVICE)
    with Meter() as maps:
        with_maps(q, k, v)
    with Meter() as ours:
        flash.flash(q, k, v, BS=64)
    held = maps.peak / 1024, ours.peak / 1024
    print("T {}: with maps {:4.0f} KiB, flash {:3.0f} KiB".format(T, *held))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert ours.peak == 2 * T * (4 * 32 + 4)
assert maps.peak == 2 * (2 * T * T * 4) + T * T + 2 * T * 4 * 32

# %% [markdown]
# Twice the length takes nearly four times the memory with maps, and twice the
# memory without. `Meter` cannot look into a kernel, but a program holds its few
# tiles in registers, and their size does not depend on the length.
#
# And how much is read? Each query is read once. Keys and values are read once
# *by each block of queries that sees them*. With four blocks of queries, the
# first reads a quarter of the keys, the second half of them, the third three
# quarters, and the last all: together ten quarters, or $\tfrac52$ times. In
# general, with $S = T$, $n = T / B_T$ blocks, and $B_T$ a multiple of $B_S$,
#
# $$
# \text{times read} = \frac{1}{n} (1 + 2 + \dots + n) = \frac{n + 1}{2}
# \tag{10.5}
# $$
#
# Now look at your kernel's own touches. There are 12 queries and tiles of 4 by
# 4, so $n = 3$. Which rows of `p_k` will be read by three programs (marked
# $\times 3$), and how often is a row read on average?


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def run(kernel, q: Tensor, k: Tensor, v: Tensor, BT: int, BS: int):
    (N, T, D), (S, DV) = q.shape, v.shape[1:]
    out, lse = poisoned(N, T, DV, dtype=q.dtype), poisoned(N, T)
    strides = [n for x in (q, k, v, out) for n in x.stride()[:2]]
    kernel[(N, triton.cdiv(T, BT))](
        q, k, v, out, lse, *strides, lse.stride(0), T, S,
        flash.LOG2_E / D**0.5, D=D, DV=DV, BT=BT, BS=BS, **more,
    )  # fmt: skip
    assert outside_touched(out) == outside_touched(lse) == 0
    return out, lse


# %% tags=["hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Three grids of squares, 12 rows of 4. In p_q and p_out the first four rows bear program 0,0, the next four 0,1, the last four 0,2. In p_k the first four rows bear times 3, the next four times 2, the last four program 0,2 alone."}}
if INTERPRETED:
    with record() as log:
        run(my_kernel, *torch.randn(3, 1, 12, 4), 4, 4)
    show_touches(log, "p_q", "p_k", "p_out")
    plt.show()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
if INTERPRETED:
    assert log.races() == [] and log.count("p_k") == 4 * (4 + 8 + 12)

# %% [markdown]
# Three, two and one: each row is read twice on average, as equation 10.5 says.
# Chapter 9's rule holds again: larger blocks mean less traffic, as far as there
# are registers for them.
#
# These counts say how often programs asked for a number. They do not say
# whether it came from main memory or from a cache that another program had
# just filled; only a measurement on a GPU does (chapter 13).
#
# ## The control that fails
#
# Remove the trick in two ways: leave the old sums as they are when the maximum
# grows, or subtract no maximum at all. Weights are rounded to float16 or
# float32, as in a kernel that multiplies them with values. How does the error
# change as scores grow? Sketch four curves: right, not rescaled, and without a
# maximum in either type.


# %%
def broken(kind, rescale=True, subtract=True):
    """The step with weights of one type, and perhaps something left out."""

    def way(acc, top, total, scores, v):
        new = np.maximum(top, scores.max(1)) if subtract else 0 * total
        shrink = np.exp2(top - new) if rescale else np.ones(len(top))
        weights = np.exp2(scores - new[:, None]).astype(kind).astype(float)
        acc = acc * shrink[:, None] + weights @ v
        return acc, new, total * shrink + weights.sum(1)

    return way


# %% tags=["hide-input"] jupyter={"source_hidden": true}
ways = {
    "right, float16": broken(np.float16),
    "not rescaled, float16": broken(np.float16, rescale=False),
    "not subtracted, float16": broken(np.float16, subtract=False),
    "not subtracted, float32": broken(np.float32, subtract=False),
}
q, k, v = np.random.default_rng(2).normal(size=(3, 64, 16))
largest = np.log2(np.e) / 4 * np.tril(q @ k.T).max()  # score in base 2
sizes, errors = np.geomspace(0.1, 300, 36), {name: [] for name in ways}
with np.errstate(over="ignore", invalid="ignore"):
    for scaled in (size / largest * q for size in sizes):
        right = attention_map(scaled, k) @ v
        for name, way in ways.items():
            out, _ = numpy_flash(scaled, k, v, step=way)
            errors[name].append(np.abs(out - right).max())

# %% tags=["hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true} mystnb={"image": {"alt": "Largest error against the largest score in base 2, both axes logarithmic. Right, in float16, stays below a hundredth throughout. Not rescaled starts near a hundredth and rises above 1. Not subtracted in float16 follows the right curve and ends in a cross just before 16; in float32 it runs far below and ends in a cross just before 128."}}
ends = {}
for name, found in errors.items():
    (line,) = plt.loglog(sizes, found, label=name)
    last = np.isfinite(found).sum() - 1
    ends[name] = sizes[last]
    if last < len(sizes) - 1:  # NaN from here on
        plt.plot(sizes[last], found[last], "x", color=line.get_color(), ms=9)
plt.gca().set(xlabel="largest score, base 2", ylabel="largest error")
plt.ylim(1e-8, 1e4)
plt.legend(fontsize=8, ncol=2)
plt.show()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert max(errors["right, float16"]) < 0.01
assert max(errors["not rescaled, float16"]) > 1
for kind in (np.float16, np.float32):
    bits = np.log2(np.finfo(kind).max)
    assert bits / 1.3 < ends[f"not subtracted, {kind.__name__}"] < bits

# %% [markdown]
# "Not rescaled" is wrong everywhere, never looks absurd, and is least wrong
# for the small scores that tests try first. It is the function of the cold
# open. "Not subtracted" is as accurate as its type allows until a score
# reaches 16 in float16 or 128 in float32, because these types end at $2^{16}$
# and $2^{128}$. From there on it gives NaN. (If all scores of a row are very
# low, it divides 0 by 0.)
#
# ## Inside a GPU
#
# Larger blocks load less. Why not always take the largest? To answer that, and
# to read chapter 11, you need a few more words. The picture shows the path of a
# number from its tensor to the arithmetic.

# %% mystnb={"image": {"alt": "Boxes from left to right. Main memory holds the tensors. An arrow leads to the L2 cache, shared by all multiprocessors, and from there to one of 132 multiprocessors, a large box. In it, shared memory of 228 KiB holds the blocks of a program, and two rows of four warps each, of program A and program B, have registers and arithmetic. Behind it stand more multiprocessors."}}
show_gpu()
plt.show()

# %% [markdown]
# **Who computes?** An NVIDIA H200 has 132 *multiprocessors*. A program runs on
# one of them until it ends, and each runs several programs at a time. With
# fewer than 132 programs some are idle. The threads of a program form *warps*
# of 32. All threads of a warp execute the same instruction at the same time,
# each on its own numbers. A launch sets the number of warps of a program:
# `kernel[grid](..., num_warps=4)`.
#
# **And while a warp waits for memory?** The multiprocessor runs another warp,
# so it should hold many. How many it holds is called *occupancy*, and
# registers limit it. A multiprocessor has 65,536. A program of 4 warps with
# 128 registers a thread takes $4 \cdot 32 \cdot 128 = 16{,}384$, so four
# programs fit. If each thread takes twice as many, two fit.
#
# **What does a load cost?** Memory is read in pieces of several neighbouring
# numbers. If the 32 threads of a warp read 32 neighbours, they share a few
# pieces: the load is *coalesced*. If they read down a column, each needs a
# piece of its own, and most of it is thrown away. (That is why, in exercise 9.2,
# threads exchange numbers between load and store.) What one program has loaded
# stays in the *L2 cache* for a while, and the next program may find it there. So
# not all reads counted by equation 10.5 go to main memory.
#
# **Can a load begin early?** *Shared memory* is a small fast store inside each
# multiprocessor, 228 KiB on a Hopper GPU. Blocks are put there before `tl.dot`
# multiplies them. With `kernel[grid](..., num_stages=2)` the next block is loaded
# into it while the program computes with this one. Each *stage* takes shared
# memory for one more block.

# %% mystnb={"image": {"alt": "Two timelines. With one stage, load 0, compute 0, load 1, compute 1, load 2, compute 2 follow each other. With two stages, load 1 runs while compute 0 does, and load 2 while compute 1 does, so the same work ends earlier."}}
show_stages()
plt.show()

# %% [markdown]
# So a larger block loads less (equations 9.1 and 10.5), but it takes more
# registers and shared memory, so fewer programs fit on a multiprocessor. Which
# side wins? Exercise 10.4's kernel was timed on a GPU with 16 shapes of tiles,
# for 32 heads of 4,096 tokens, $D = 64$, in float16. Guess first: which shape
# wins, and how much slower is the smallest one?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
timed = json.loads(course.results("block_sizes.json").read_text())
print(timed["provenance"]["device"], timed["provenance"]["date"])
ms: dict[tuple[int, ...], float] = {}
for r in timed["rows"]:
    if r["kernel"] == "flash":
        ms[r["BT"], r["BS"], r["num_warps"], r["num_stages"]] = r["ms"]
sides = 16, 32, 64, 128
print("milliseconds\n      BS" + "".join(f"{BS:9d}" for BS in sides))
for warps, stages in ((4, 1), (4, 2), (4, 3), (8, 2)):
    print(f"{warps} warps, stages: {stages}")
    for BT in sides:
        times = (ms[BT, BS, warps, stages] for BS in sides)
        print(f"  BT {BT:3d}" + "".join(f"{x:9.3f}" for x in times))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert min(ms, key=lambda shape: ms[shape]) == (64, 64, 4, 3)
for BS in sides:
    assert ms[32, BS, 4, 3] / ms[64, BS, 4, 3] > 2
    assert ms[64, BS, 8, 2] / ms[64, BS, 4, 2] > 1.8
assert 1.2 < ms[128, 128, 4, 3] / ms[64, 64, 4, 3] < 1.3
assert 6 < ms[16, 16, 4, 3] / ms[64, 64, 4, 3] < 7
tiles = [(BT, BS) for BT in sides for BS in sides]
assert all(ms[*tile, 4, 2] < ms[*tile, 4, 1] for tile in tiles)
assert [x for x in tiles if ms[*x, 4, 3] > ms[*x, 4, 2]] == [(32, 128)]

# %% [markdown]
# Tiles of 64 by 64 win, with four warps and three stages. With these, the
# smallest tiles take more than six times as long, and the largest a quarter
# more. A second stage helps every shape; a third helps all but one, and most of
# them little.
#
# The great step, with three stages, is from 32 rows of queries to 64: the time
# more than halves. This GPU multiplies fastest with an instruction for four
# warps together, which takes 64 rows (`wgmma`). With fewer rows Triton uses an
# older, slower one (`mma.sync`). Eight warps form two groups of four, and a tile
# of 64 rows keeps only one of them busy: it takes about twice as long as with four.
#
# Equation 10.5 could not tell you this, so measure: try the shapes. minidiff keeps the fastest one for each size in a table. If you have a GPU,
# `python book/recipes/block_sizes.py --mine` times your own kernel, and your
# softmax of chapter 9.
#
# ## Check of this chapter
#
# Your kernel, or minidiff's where yours is not done, runs between fences. It is
# compared with the map in NumPy's float64, with minidiff's flash, and, for as
# many queries as keys, with PyTorch's own attention.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
torch.manual_seed(0)
for T, S in ((1, 40), (17, 50), (50, 50)):
    for dtype, bound in ((torch.float32, 1e-5), (torch.float16, 5e-3)):
        q, k, v = (torch.randn(2, n, 16, device=DEVICE) for n in (T, S, S))
        q, k, v = (fenced(x.to(dtype)) for x in (q, k, v))
        out, lse = run(my_kernel, q, k, v, 16, 32)
        Q, K, V = (x.cpu().double().numpy() for x in (q, k, v))
        right = attention_map(Q, K) @ V
        assert np.abs(out.cpu().double().numpy() - right).max() < bound
        for mine, theirs in zip((out, lse), flash.flash(q, k, v), strict=True):
            assert (mine - theirs).abs().max() < bound
        name = str(dtype).removeprefix("torch.")
        print(f"T {T:2d}, S {S}, {name}: map, minidiff within {bound}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
q, k, v = torch.randn(3, 2, 50, 16, device=DEVICE)
theirs = torch.nn.functional.scaled_dot_product_attention(
    q, k, v, is_causal=True
)
assert (run(my_kernel, q, k, v, 16, 16)[0] - theirs).abs().max() < 1e-5
print("this chapter -> PyTorch's attention differ by < 1e-5")

# %% [markdown]
# ## Common mistakes
#
# - **The maximum changes and the sums do not.** Tests with small scores pass.
# - **The sum is rescaled and the accumulator is not.** Both are sums over
#   the same weights, so both need the factor.
# - **`exp` among `exp2`.** The weights still sum to 1.
# - **The diagonal is one off, or aligned to the start.** Test with more keys
#   than queries. One query at the end sees every key.
# - **Trusting a weight of 0.** 0 times NaN is NaN, so load values beyond the
#   end as zeros.
# - **Dividing in each step.** Divide once, after the last key.
#
# ## Summary
#
# - Three numbers describe any part of a row: its largest score, its sum of
#   weights, its sum of weights times values. Parts merge exactly.
# - $B_T$ queries share each block of keys, and nothing of size $T S$ is stored.
# - Scores in base 2 cost nothing, because $\log_2 e$ is part of the scale. The
#   log-sum is then in base 2 too.
# - In the causal map half of the tiles are skipped, and few of the rest need a
#   mask.
# - The kernel allocates only its results, and reads keys and values
#   $(n + 1) / 2$ times.
# - A kernel is fast if each multiprocessor holds enough warps, neighbouring
#   threads read neighbouring addresses, loads are started early, and its tiles
#   suit the GPU's instruction for products.
#
# Chapter 11 computes two of these walks in one kernel.
#
# ## Further reading
#
# - Milakov and Gimelshein, *Online normalizer calculation for softmax*,
#   arXiv 1805.02867: the running sum, before attention used it.
# - Rabe and Staats, *Self-attention Does Not Need $O(n^2)$ Memory*,
#   arXiv 2112.05682: the same thought without a kernel.
# - Dao and others, *FlashAttention*, arXiv 2205.14135: tiles, and the count
#   of what is moved.
# - Dao, *FlashAttention-2*, arXiv 2307.08691: why to divide at the end, and
#   one program for each block of queries.

# %% [markdown]
# ## Optional: minidiff's whole kernel
#
# Here is minidiff's kernel, to compare with yours; `solution("10.2")` prints
# its step. First the edges of exercise 10.3. The first query of a block sees
# the fewest keys and decides what is whole; the last query sees the most and
# decides what is skipped:
#
# $$
# \text{whole} = \left\lfloor \frac{\min(S,\; i B_T + S - T + 1)}{B_S}
# \right\rfloor, \qquad
# \text{visited} = \left\lceil \frac{\min(S,\; (i + 1) B_T + S - T)}{B_S}
# \right\rceil
# \tag{10.6}
# $$
#
# The kernel computes these edges in keys instead of blocks, as `whole` and
# `end`. Three more things are new. `CAUSAL` is fixed when the kernel is
# compiled, so one source text makes two kernels. A mask is made only where a
# block is not whole. And offsets between heads have 64 bits, since a tensor
# may have more than $2^{31}$ numbers.


# %% tags=["same:minidiff.course.kernels.flash.flash_kernel"]
@triton.jit
def flash_kernel(
    p_q, p_k, p_v, p_out, p_lse,
    q_n, q_t, k_n, k_s, v_n, v_s, out_n, out_t, lse_n,
    T, S, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
    CAUSAL: tl.constexpr,
):  # fmt: skip
    i_n = tl.program_id(0).to(tl.int64)  # tensors may exceed 2**31 numbers
    i_t = tl.program_id(1)
    o_t = i_t * BT + tl.arange(0, BT)
    o_d = tl.arange(0, D)
    o_v = tl.arange(0, DV)
    m_t = o_t < T
    # (BT, D)
    at_q = i_n * q_n + o_t[:, None] * q_t + o_d[None, :]
    b_q = tl.load(p_q + at_q, m_t[:, None], 0.0)
    # (BT, DV)
    b_acc = tl.zeros([BT, DV], tl.float32)
    # (BT,)
    b_top = tl.full([BT], float("-inf"), tl.float32)
    b_sum = tl.zeros([BT], tl.float32)

    shift = S - T
    whole = S  # keys before this one are seen by every query of the block
    end = S  # from this one on no query sees any
    if CAUSAL:
        whole = tl.minimum(S, i_t * BT + shift + 1)
        end = tl.minimum(S, (i_t + 1) * BT + shift)
    for start_s in range(0, end, BS):
        o_s = start_s + tl.arange(0, BS)
        m_s = o_s < S
        # (BS, D)
        at_k = i_n * k_n + o_s[:, None] * k_s + o_d[None, :]
        b_k = tl.load(p_k + at_k, m_s[:, None], 0.0)
        # (BS, DV)
        at_v = i_n * v_n + o_s[:, None] * v_s + o_v[None, :]
        b_v = tl.load(p_v + at_v, m_s[:, None], 0.0)
        # (BT, BS)
        b_s = tl.dot(b_q, b_k.T, input_precision="ieee") * c
        if start_s + BS > whole:
            # (1, BS), and causal (BT, BS)
            m_seen = m_s[None, :]
            if CAUSAL:
                m_seen = m_seen & (o_t[:, None] + shift >= o_s[None, :])
            b_s = tl.where(m_seen, b_s, float("-inf"))
        # (BT, DV), (BT,), (BT,)
        b_acc, b_top, b_sum = softmax_step(b_acc, b_top, b_sum, b_s, b_v)

    # (BT, DV)
    at_out = i_n * out_n + o_t[:, None] * out_t + o_v[None, :]
    tl.store(p_out + at_out, b_acc / b_sum[:, None], m_t[:, None])
    tl.store(p_lse + i_n * lse_n + o_t, b_top + tl.log2(b_sum), m_t)


# %% [markdown]
# The kernels that minidiff ships, in `minidiff.ops.triton`, walk in the same
# way, with more care for speed. Chapters 11 and 12 look at them.
