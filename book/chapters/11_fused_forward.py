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
# computes a whole differential head, norm included; that each branch needs a
# running sum of its own until the last key; and that the order of the work
# decides how large rounding errors become.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - say why two running softmaxes need two accumulators and two maximums;
# - write the walk of both branches, and what follows it, as kernels;
# - count registers by hand, and say whether both branches fit at once;
# - say what fusing saves, what it does not, and when it is more accurate.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | `softmax_step`, log-sums | every walk here | chapter 10 |
# | programs, blocks, masks | the kernels | chapter 9 |
# | units of FLOPs, two calls, four calls | counting | chapter 6 |
# | the headwise norm | the end of the kernel | chapter 3 |

# %%
import json

import matplotlib.pyplot as plt
import torch
from torch import Tensor
from torch.nn.functional import rms_norm

# %%
from minidiff.course.kernels import DEVICE  # before Triton

import triton
import triton.language as tl

# %%
from minidiff import check, course, diff_attention, plots
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course.kernel_diagrams import show_registers, show_walk
from minidiff.course.kernels.flash import softmax_step  # noqa: F401
from minidiff.course.kernels.fused_forward import fused_forward
from minidiff.course.rounding import errors
from minidiff.ops.triton.tuning import choose

plots.use_style("svg")

# %% [markdown]
# ## A cold open: a third less work, and every test passes
#
# Chapter 6 counted in units of $2\,T^2 D$ FLOPs. Scores are one unit for each
# branch; a product with $v$, which is $2D$ wide, is two. The eager form, which
# stores whole maps, subtracts them first and multiplies by $v$ once: 4 units.
# Two flash calls need 6, because each multiplies its own map by $v$. Can a
# walk over blocks of keys subtract first, too?
#
# Let us try it in PyTorch. As in chapter 10, `step` takes one block of scores,
# and keeps for each row the largest score so far and the sum of the
# exponentials. Here it divides by that sum at once. The sum grows with each
# block, so weights that were divided earlier are too large by now. The factor
# that corrects them is called `keep`. Both branches are on axis 0.


# %%
def step(scores: Tensor, top: Tensor, total: Tensor) -> tuple[Tensor, ...]:
    """One block (2, T, BS) of scores; top and total (2, T, 1)."""
    new = torch.maximum(top, scores.amax(-1, keepdim=True))
    p = torch.exp(scores - new)
    past = total * torch.exp(top - new)
    total = past + p.sum(-1, keepdim=True)
    return p / total, past / total, new, total


# %%
def walk(q, k, v, lam, accumulators: int, BS: int = 32) -> Tensor:
    """No mask; q (2, T, D), k (2, S, D), v (S, Dv)."""
    o = total = torch.zeros(2, q.shape[1], 1).double()
    top = total - torch.inf
    for s in range(0, len(v), BS):
        scores = q @ k[:, s : s + BS].mT / q.shape[-1] ** 0.5
        p, keep, top, total = step(scores, top, total)
        if accumulators == 1:  # subtract the maps, multiply once: 4 units
            o = keep[0] * o + (p[0] - lam * p[1]) @ v[s : s + BS]
        else:
            o = keep * o + p @ v[s : s + BS]
    return o[0] if accumulators == 1 else o[0] - lam * o[1]


# %% [markdown]
# With one *accumulator*, one running sum `o` for both branches, this takes 4
# units. Now test it against minidiff's eager operator, in float64, with more
# and more keys. A block has 32.


# %%
def compare(accumulators: int) -> None:
    for S in (1, 8, 31, 32, 33, 64, 256):
        torch.manual_seed(0)
        q, k, v = (torch.randn(2, n, 16).double() for n in (8, S, S))
        heads = q[None, None], k[None, None], v[None, :1]
        want = diff_attention(*heads, 0.8, causal=False, backend="eager")
        off = (walk(q, k, v[0], 0.8, accumulators) - want).abs().max()
        print(f"{S:4d} keys: error", f"{off:.2f}" if off > 1e-12 else "0")


compare(accumulators=1)

# %% [markdown]
# Right to twelve digits up to 32 keys, and wrong from 33 on. A test whose
# sequences fit into one block would not have shown it.
#
# ## Why two accumulators cannot be one
#
# Take one query and two keys, one key a block. Values are single numbers,
# $v = (8, 0)$, and $\lambda = \tfrac12$. Branch 1 has scores $(0, 0)$, so its
# weights are $(\tfrac12, \tfrac12)$. Branch 2 has $(\ln 3, 0)$, weights
# $(\tfrac34, \tfrac14)$. The right output is
# $\tfrac12 \cdot 8 - \tfrac12 \cdot \tfrac34 \cdot 8 = 1$.
#
# After the first key each branch has seen that key alone, with weight 1: both
# outputs are 8. The second key's value is 0, so it only takes weight away.
# Branch 1 keeps $\tfrac12$ of its past, branch 2 keeps $\tfrac34$:
#
# $$
# o_j \leftarrow \text{keep}_j\, o_j + p_j\, v, \qquad j = 1, 2
# \tag{11.1}
# $$
#
# So $o_1 = 4$, $o_2 = 6$, and $4 - \tfrac12 \cdot 6 = 1$. The single
# accumulator holds $8 - \tfrac12 \cdot 8 = 4$ and has one factor to apply.
# With branch 1's factor it ends at 2.
#
# No other factor helps. Imagine another past, $o_1 = 4$ and $o_2 = 0$: the
# single accumulator holds 4 as well, but now the right answer is 2. The
# difference does not say which past it came from. Each entry of the output
# needs two numbers until the last key.

# %%
compare(accumulators=2)

# %% [markdown]
# ## The walk in a picture
#
# Now in Triton. A program owns one block of queries, a row of tiles. It loads
# the queries of both branches once. Then it walks over the blocks of keys up
# to the diagonal. In each step it loads the keys of both branches, and the
# values and the mask once for both. Here program 2 is in its second step:

# %% mystnb={"image": {"alt": "A map cut into 4 by 4 tiles. Program 2 owns the third row: q1 and q2 stand at its left end, an arrow runs over two whole tiles to the masked tile on the diagonal, and the last tile is empty. Above the second column stand k1, k2 and v. On the right: accumulator, top and sum of each branch stay in registers to the end, then divide, subtract, norm."}}
show_walk()
plt.show()

# %% [markdown]
# ## Who owns which register
#
# A large GPU has over a hundred *multiprocessors*. Each runs a few programs at
# a time and has 65,536 registers of four bytes for all of them. A program's
# threads come in *warps* of 32, and a block of numbers is spread evenly over
# all its threads. So of each block one thread holds
#
# $$
# \text{registers per thread} = \frac{\text{rows} \times \text{columns}}
# {32 \times \text{warps}}
# \tag{11.2}
# $$
#
# numbers. A thread can have 255 registers. Numbers that do not fit are
# *spilled* to memory, and fetched back in every step of the loop. Here are 64
# queries, values 128 wide and 4 warps, in the layout that a Hopper GPU uses
# for large matrix products:

# %% mystnb={"image": {"alt": "Left: an accumulator of 64 queries by 128 columns in four bands of 16 rows, one for each warp; thread 37, in warp 1, holds pairs of columns in rows 17 and 25, marked. Right: 255 squares for the registers of that thread: accumulator 1 takes 64, accumulator 2 takes 64, scores 32, and 95 are left for the rest."}}
show_registers(BT=64, BS=64, Dv=128, warps=4)
plt.show()

# %% [markdown]
# In this layout each row belongs to one warp, and four of its threads share
# it. So a row's maximum and sum need an exchange among these four, and none
# between warps.
#
# ### Exercise 11.1: the walk
#
# *Hard, 15 minutes.* `softmax_step` is chapter 10's: it takes an accumulator,
# a top, a sum, a block of scores in base 2 and a block of values, and returns
# the first three, updated. The values that the loop starts from are given.


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
# ## One maximum for both branches?
#
# `b_top1` and `b_top2` could be one: any number may be subtracted from a row's
# scores, if all are divided by the same sum in the end. With the larger of the
# two maximums for both branches a kernel would have one rescaling factor a
# step instead of two. In exact arithmetic that is right.
#
# On a machine it *underflows*: a number too small for its type becomes 0. If
# branch 2's scores lie far below branch 1's, that happens to every exponential
# of branch 2. Here is branch 2's output when its scores lie `gap` below those
# of branch 1. The weights are rounded to the type of $v$ before their product,
# as in `softmax_step`. The control, in the last column, subtracts branch 2's
# own maximum. At which gap does each fail?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
torch.manual_seed(0)
scores, v = torch.randn(8, 64), torch.randn(64, 32)
own = scores.amax(-1, keepdim=True)
exact = scores.double().softmax(-1) @ v.double()
print(" gap   common, float16   common, float32   own, float16")
for gap in (0, 5, 10, 15, 20, 80, 95, 110):
    print(f"{gap:4d}", end="")
    for top, dtype in ((gap, torch.half), (gap, torch.float), (0, torch.half)):
        p = torch.exp(scores - own - top)
        o = p.to(dtype).float() @ v / p.sum(-1, keepdim=True)
        print(f"{(o - exact).norm() / exact.norm():18.5f}", end="")
    print()

# %% [markdown]
# In float16 every number below about $3 \cdot 10^{-8}$, which is $e^{-17}$,
# becomes 0. From such a gap on the whole output is 0, so the error is as large
# as the output, and there is no warning. In float32 the sum is 0 as well from
# about $e^{-104}$ on, and 0 / 0 is NaN. With its own maximum each branch has a
# weight of 1 somewhere, and its sum is at least 1. So each branch needs a
# maximum of its own, and the check of 11.1 tests rows like these.
#
# ## Both at once, or in turn
#
# Two accumulators live through the whole walk, and may not fit into the
# registers. So far the branches walk side by side: *both at once*. The other
# order is *in turn*: branch 2 walks first and leaves $o_2$ in memory, and then
# branch 1 walks with the same registers. That reads $v$ twice, the second time
# mostly from the cache on the chip.
#
# ### Exercise 11.2: registers by hand
#
# *Optional, 5 minutes.* The kernels have an argument `together`: true for both
# at once, false for in turn. A block of scores is used up before the other
# branch's is made.


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
# minidiff keeps a table of block shapes, measured on a GPU. This is what it
# holds for Hopper GPUs (H100, H200), sixteen-bit numbers and 4096 keys, with
# both counts by hand. Does it choose the order that you would?

# %%
print("  D   BT x BS  warps  both at once  in turn  the table says")
for D in (64, 128):
    size = {"D": D, "DV": 2 * D, "P": 2, "bits": 16, "capability": 90}
    x = choose("forward", length=4096, **size)
    both, one = (x.BT * (n * 2 * D + x.BS) // (32 * x.warps) for n in (2, 1))
    says = "both at once" if x.together else "in turn"
    print(f"{D:3d} {f'{x.BT} x {x.BS}':>9s} {x.warps:6d}", end="")
    print(f"{both:14d} {one:8d}  {says}")

# %% [markdown]
# The count is a lower bound: queries, addresses and counters come on top, and
# only the compiler knows how many. At $D = 128$ both at once would need more
# than 255. What did the compiler do when it was asked all the same?

# %% tags=["hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true}
tried = json.loads(course.results("tuning.json").read_text())["refused"]
tried = [r for r in tried if r["kernel"] == "forward" and r["together"]]
for r in tried:
    size = r["D"], r["P"], r["BT"], r["BS"], r["warps"], r["stages"]
    if size == (128, 2, 128, 64, 8, 2):
        print("D 128, both at once:", r["why"], "a thread")

# %% [markdown]
# The recipe behind the table does not even time a kernel that spills so much.
# Where both orders fit, a measurement decides. With fewer registers more
# programs share a multiprocessor, and while one waits for memory or
# exponentials, another multiplies.
#
# ## The epilogue
#
# What follows the walk is the *epilogue*: divide each accumulator by its sums,
# subtract, normalise. A separate kernel for the norm would read all rows and
# write them again. It needs the mean square over a row of $2D$ numbers, and
# here one program holds whole rows. So the norm costs a sum over registers,
# and only its weight is read for it.
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
# `fused_forward` joins walk and epilogue in one kernel, so that accumulators
# never reach memory. It adds batch and heads, and groups of query heads that
# share keys. For chapter 12 it also leaves $o$, $o_2$ and both log-sums. Read
# it in `minidiff/course/kernels/fused_forward.py`; you have written most of
# it.
#
# ## What fusing saves
#
# How many numbers travel between memory and chip for one token? We count in
# multiples of $D$, and a tensor as often as a kernel reads or writes it. *Two
# calls* each read $q$, $k$ and all of $v$, together $2 + 2 + 4$, and write
# $o_1$ and $o_2$, another 4. A third kernel reads these 4, subtracts,
# normalises and writes 2. That makes 18. The *fused* kernel reads $2 + 2 + 2$
# and writes 2. *To train*, it writes $o$ and $o_2$ too. Beside it stand the
# units of multiplications:
#
# | | units | numbers moved | kernels |
# |---|---|---|---|
# | two plain heads | 4 | 8 | 1 |
# | two calls | 6 | 18 | 3 |
# | four calls | 8 | 22 | 5 |
# | fused | 6 | 8 | 1 |
# | fused, to train | 6 | 12 | 1 |
#
# Compared with two calls, fusing saves no multiplication. It saves two kernels
# of three, and more than half of the traffic. Attention over many keys waits
# for multiplications and exponentials, not for memory, so do not expect half
# the time. Multiplications are saved in the backward pass, in chapter 12.
#
# ## Rounding: when fused is more accurate
#
# Models train in bfloat16, numbers with 8 significant bits: from 1 to 2 they
# stand $\tfrac1{128}$ apart. Let $o_1 = 1 + \tfrac3{512}$, $o_2 = 1$ and
# $\lambda = 1$. The difference is $\tfrac3{512}$. Two calls round $o_1$ before
# anyone subtracts:

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
exact = torch.tensor(1 + 3 / 512)
after = exact.bfloat16() - torch.tensor(1.0).bfloat16()
before = (exact - 1).bfloat16()
for name, x in (("two calls", after), ("one kernel", before)):
    print(f"{name}: {x.item() * 512:.0f}/512")

# %% [markdown]
# The two calls are off by a third, although both outputs were rounded as well
# as bfloat16 can. The rounding error is in proportion to $o_1$, and the
# difference is much smaller than $o_1$. Such cancelling is no accident: it is
# what the second branch is for.
#
# Now at full size, in `minidiff/course/rounding.py`: eight heads of $D = 64$
# and 256 tokens. From left to right in the figure, the outputs of the branches
# are more and more alike. Of its four ways, *one product* is new. If a first
# walk has found both log-sums, a second one knows every weight at once. It can
# subtract the *weights* and multiply once, as the eager form does. Predict the
# order of the four errors, and which of them does not depend on how alike the
# branches are.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Relative error in thousandths against cancellation from 1 to 5. Three lines rise: two calls the steepest, from about 4 to 14, then in turn, then both at once, which ends near 7. The line of one product stays level a little above 2."}}
found = [errors(alike) for alike in (0.0, 0.5, 0.9, 0.99, 0.999)]
x = [r["cancelled"] for r in found]
for name in ("two calls", "in turn", "both at once", "one product"):
    plt.plot(x, [1000 * r[name] for r in found], marker="o", label=name)
plt.gca().set(
    xlabel="size of branch 1's output / size of the difference",
    ylabel="error, thousandths",
    ylim=(0, None),
)
plt.legend()
plt.show()

# %% [markdown]
# - *Two calls* round both outputs at their own size.
# - *Both at once* rounds only the difference. It still grows: each branch's
#   weights are rounded for their product, and those errors do not cancel.
# - *In turn* lies between. $o_2$ is rounded on its way through memory.
# - *One product* has nothing left to cancel after rounding.
#
# So "fused is more accurate" is true of *both at once*, and only half true of
# *in turn*. bfloat16 rounds a number by at most $\tfrac1{256}$ of it. So
# storing $o_2$ adds an error of up to $|\lambda o_2| / 256$, however small the
# difference is. The worst case is equal maps, all queries zero, with $\lambda$
# near 1. There *in turn* is hardly better than two calls, and far behind *one
# product*:

# %%
worst = errors(0.0, lam=1.2, size=0.0)
for name in ("two calls", "in turn", "both at once", "one product"):
    print(f"{name:13s} {worst[name]:.4f}")
over = worst["in turn"] / worst["one product"]
print(f"in turn over one product: {over:.1f}")

# %% [markdown]
# Where the table above says *in turn*, the shipped kernel has this error. The
# headwise norm then multiplies difference and error alike. In training $o_2$
# is kept in bfloat16 in either order, so an error of that size reaches the
# gradients too.
#
# ### Exercise 11.4: one product
#
# *Optional, 5 minutes.* Once the sums are known, one accumulator *is* enough.
# Chapter 12 rests on this.


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
# As a forward this makes two walks: 2 units for the sums, then 2 for the
# scores again and 2 for one product. Again 6 units, but twice the
# exponentials. In the backward pass the log-sums are known from the start.
#
# ## The control that fails: what the norm hides
#
# The norm makes every row the same size, so it hides any factor of a whole
# row. Two wrong epilogues, looked at through the norm: one forgets the sums,
# one applies $\lambda$ to both branches. For which $\lambda$ does a test on
# $y$ not notice?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
torch.manual_seed(2)
a1, a2 = torch.randn(2, 32, 64).double()  # accumulators
l1, l2 = 1 + 9 * torch.rand(2, 32, 1).double()  # sums
print("lambda   sums forgotten   lambda on both")
for lam in (0.0, 0.8, 1.0):
    right = a1 / l1 - lam * a2 / l2
    wrong = a1 - lam * a2, lam * (a1 / l1 - a2 / l2)
    y, *ys = (rms_norm(o, (64,), eps=1e-5) for o in (right, *wrong))
    print(f"{lam:6.1f}", *(f"{(x - y).abs().max():16.1f}" for x in ys))

# %% [markdown]
# With $\lambda = 0$ there is one branch, and its sums are a factor of the row.
# With $\lambda = 1$ a $\lambda$ on both changes nothing. So test the output
# before the norm too, and with several $\lambda$.
#
# ## The shipped kernel
#
# `minidiff/ops/triton/kernels/forward.py` is this kernel, made fast:
#
# | optimisation | what it does | why |
# |---|---|---|
# | edge split | whole tiles are walked without a mask, then the diagonal with one | a mask costs a comparison and a choice at every entry |
# | long rows first | the last queries start first | they see the most keys; started last, they would run on alone |
# | both orders | chosen by the table | registers |
# | copy engine | on Hopper GPUs a unit of its own copies blocks, described by *tensor descriptors* | no thread computes addresses or masks |
# | late scale | weights are $2^{s c - m c}$: the scale $c$ waits until here | product and subtraction are one instruction |
#
# ## Check of this chapter
#
# The chapter's kernel and the shipped one against the eager operator in
# float64. Five queries at the end of 40 keys, four heads in two groups.

# %%
torch.manual_seed(1)
shapes = (1, 4, 2, 5, 16), (1, 2, 2, 40, 16), (1, 2, 40, 32), (1, 4, 1)
given = [torch.randn(s, device=DEVICE) for s in shapes]
truth = [x.double() for x in given]
want = diff_attention(*truth, norm_scale=0.2, backend="eager")
ours = fused_forward(*given, norm_scale=0.2).y
shipped = diff_attention(*given, norm_scale=0.2, backend="triton")
for name, y in (("this chapter", ours), ("shipped", shipped)):
    assert (y - want).abs().max() < 1e-5, name
    print(f"{name} -> eager, float64: differ by < 1e-5")

# %% [markdown]
# ## Common mistakes
#
# - **Subtracting inside the walk.** Right for one block of keys.
# - **One maximum for both branches.** Right until one branch underflows.
# - **Subtracting before dividing by the sums,** hidden by the norm at
#   $\lambda = 0$.
# - **Testing with sequences no longer than a block.**
#
# ## Summary
#
# - What is left of the past differs between the branches, so each needs an
#   accumulator and a maximum until its last key.
# - Fused costs 6 units, as two calls do. It saves two kernels of three and
#   more than half of the traffic.
# - Registers decide the order: in turn where two accumulators do not fit.
# - The norm is almost free, since a program holds whole rows; and it hides
#   mistakes.
# - Both at once is more accurate than two calls where branches cancel. In turn
#   adds up to $|\lambda o_2| / 256$, and can be worse than the eager form.
#
# ## Further reading
#
# - Dao, *FlashAttention-2*, arXiv 2307.08691: the walk of one softmax, and why
#   the division waits for the end.
# - Milakov and Gimelshein, *Online normalizer calculation for softmax*, arXiv
#   1805.02867: where the running maximum and sum come from.
# - The official code's form of two calls: compare its bytes with ours. [U]
