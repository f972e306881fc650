# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 13. Roofline and benchmark
#
# By the end of this chapter you will have shown that a few rates of a machine
# set a least time for every kernel, before it is written. They also tell how
# fast your own machine could write with a large model. You will have compared
# our recorded runs with that least time: where the fused kernels win, and where
# they do not.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - measure how fast your own machine multiplies and reads, draw both as its
#   roofline, and say how fast it could write with a large model;
# - compute the least time of a forward pass, and of generating a token;
# - read a benchmark's ratios, and name ways in which it deceives.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | units of FLOPs, bytes moved, medians in turn | all of it | chapter 6 |
# | both fused kernels; 14 units as built | their counts | chapters 11, 12 |
#
# No GPU is needed. What was recorded on one is labelled so.

# %%
import json

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import LogLocator

# %%
from minidiff import check, course, plots
from minidiff.bench.timing import alternate
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course.ceilings import H200, work
from minidiff.course.recorded import Attention, show_floors, show_ratios
from minidiff.course.roofline import show_roofs

plots.use_style("svg")
cpu = torch.device("cpu")
torch.set_num_threads(1)  # less noise from whoever shares the machine

# %% [markdown]
# ## A cold open: sixteen times the work
#
# A matrix of 4096 times 4096 numbers, 64 MiB. One row is multiplied by it,
# then sixteen rows: sixteen times as many FLOPs. How much longer does that
# take on one of your cores? Guess first.

# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
n = 4096
W = torch.randn(n, n)
x = {m: torch.randn(m, n) for m in (1, 4, 16, 64, 256)}
times = alternate({m: lambda m=m: x[m] @ W for m in x}, cpu, 5)
print(f"16 rows take {times[16] / times[1]:.1f} times as long as one")

# %% [markdown]
# Far less than sixteen times. The matrix must come from memory, whether one
# row uses it or sixteen. While the processor waits for the matrix, it has time
# for many products.
#
# ## Two ceilings
#
# A machine computes at most $\pi$ FLOPs a second ($\pi$ for *peak*), and its
# memory delivers at most $\beta$ bytes a second. A kernel with $F$ FLOPs that
# must move $M$ bytes needs at least
#
# $$
# t \ge \max\left(\frac{F}{\pi},\ \frac{M}{\beta}\right)
# \tag{13.1}
# $$
#
# even if it does both at once. Write $I = F / M$ for the *intensity*, the
# FLOPs for each byte moved. Then its rate is bounded by
#
# $$
# \frac{F}{t} \le \min(\pi,\ \beta\,I)
# \tag{13.2}
# $$
#
# Drawn over $I$, this bound is a slope and then a flat roof: the *roofline*.
# Slope and roof meet at $I = \pi / \beta$, the *ridge*. Left of the ridge a
# kernel is limited by memory, right of it by multiplications. *Fusing* a
# kernel with its neighbour moves fewer bytes, so it moves the kernel to the
# right.
#
# ## Your roofline
#
# We measure both ceilings by *probes*: a large product, and a large copy,
# which reads and writes each byte. A product of $m$ rows with the $n \times n$
# matrix has $2 m n^2$ FLOPs and moves at least $4\,(n^2 + 2 m n)$ bytes, so
# with $m$ we can choose the intensity. Where will the points of the cold open
# lie?

# %% tags=["nbval-ignore-output"]
a = torch.randn(1536, 1536)
source, target = torch.randn(2, 2**25)  # 128 MiB each
probes = {"product": lambda: a @ a, "copy": lambda: target.copy_(source)}
took = {name: ms / 1e3 for name, ms in alternate(probes, cpu, 5).items()}
probe = 2 * len(a) ** 3 / took["product"]
memory = 2 * source.nbytes / took["copy"]
dial = {m: 2 * m * n**2 / (4 * (n**2 + 2 * m * n)) for m in x}
rate = {m: 2 * m * n**2 / times[m] * 1e3 for m in x}
peak = max(probe, *rate.values())
print(f"{peak / 1e9:.0f} GFLOP/s, {memory / 1e9:.0f} GB/s")
print(f"the probe reached {probe / peak:.0%} of that peak")

# %% tags=["hide-input", "nbval-ignore-output"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Roofline of the machine that built this page, both axes logarithmic: a slope, then a flat roof, and just below or on the roof a dotted line, what the probe reached. Five points, products of m = 1, 4, 16, 64 and 256 rows, begin near the slope at its foot and end at the flat roof; between, most lie well below both."}}
ends = np.array([0.2, peak / memory, 200])  # with the ridge between
plt.loglog(ends, np.minimum(peak, memory * ends) / 1e9, label="your roof")
plt.axhline(probe / 1e9, color="0.5", ls=":", label="the probe's rate")
paper = {"fc": "w", "ec": "none", "pad": 1}  # no line runs through a label
for m in x:
    at, high = dial[m], rate[m] / 1e9
    plt.plot(at, high, "oC1", label="products" if m == 1 else None)
    plt.text(1.1 * at, 0.65 * high, f"m = {m}", fontsize=8, bbox=paper)
plt.gca().set(xlabel="intensity, FLOPs a byte", ylabel="GFLOP/s")
for axis in (plt.gca().xaxis, plt.gca().yaxis):
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
plt.legend()
plt.show()

# %% [markdown]
# Most points lie below the roof, because a ceiling is no promise. And a
# measured ceiling is only the best that some program reached. If one of the
# products is faster than the probe, the dotted line, the flat roof has to be
# raised, as the cell above does. A point above the slope says that your cache
# holds the matrix, or that your memory reads faster than it copies.
#
# ## How fast could your machine write?
#
# A language model with 7 billion weights writes a text token by token. For
# each token it has to read all its weights: at 16 bits each, 14 GB. How many
# tokens a second can you expect from the core that you have just measured? And
# from an NVIDIA H200, which copies 4.26 TB/s [H200]? Guess both.

# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
weights = 7e9 * 2  # bytes
for name, rate_of in (("your core", memory), ("an H200", H200[1] * 1e12)):
    print(f"{name}: about {rate_of / weights:.1f} tokens a second")

# %% [markdown]
# However fast it multiplies: nothing but the slope of the roof stands in this
# number. Now remember the cold open. If sixteen people ask at once, the
# weights are read once for all sixteen. Each waits hardly longer, and nearly
# sixteen times as much is written in the same time. So a server gathers
# questions, and a model on your own machine, which answers you alone, leaves
# most of its arithmetic idle.
#
# ## What attention asks for
#
# ### Exercise 13.1: intensity
#
# *Medium, 8 minutes.* A forward pass has as many queries as keys. *Decoding*,
# which generates one token at a time, has one query a step. The keys and
# values of all earlier tokens wait in memory, in a *cache*.


# %% tags=["stub:13.1"]
def intensity(T: int, S: int, D: int, H: int, Hkv: int, size: int) -> float:
    """Return the FLOPs of a fused forward pass for each byte it must move.

    H pairs of query heads, D wide, share Hkv pairs of key heads and as many
    heads of values, 2D wide. T queries, S keys, nothing is hidden. Each
    input is read once and the output, 2D wide, written once. A number takes
    size bytes.
    """
    # your code


# %% tags=["check:13.1"]
check.ex13_1(intensity)

# %% [markdown]
# `work` counts the same for our causal kernels, with 16-bit numbers and with
# keys of its own for each pair of heads. It also counts the exponentials, one
# for each entry of each map.

# %%
print("              T     FLOPs a byte   FLOPs an exp")
lines = [("forward", 64), ("forward", 1024), ("forward", 4096)]
for what, T in [*lines, ("train", 4096), ("decode", 4096)]:
    flops, moved, powers = work(what, 1, 16, T, 64)
    print(f"{what:9s} {T:6d} {flops / moved:12.1f} {flops / powers:14.0f}")

# %% [markdown]
# FLOPs a byte span a factor of a thousand. The intensity of decoding does not
# depend on the length, which cancels.
#
# An H200 does 789 TFLOP/s in products, by a probe like yours [H200]. Put the
# calls under its roof, and under yours. (Its products are of 16-bit numbers,
# yours of 32 bits.) Which of the calls wait for memory, on which machine?

# %% tags=["nbval-ignore-output", "hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true} mystnb={"image": {"alt": "Two roofs over the intensity, both axes logarithmic: that of an H200, and far below it that of the core that built this page. Under each, a dot for each of four calls. Decoding lies on both slopes, far to the left; forward passes of 1024 and 4096 tokens lie on both flat roofs. The forward pass of 64 tokens, between, lies on the H200's slope and on the core's flat roof."}}
calls = {}
for what, T in (("decode", 4096), *lines):
    flops, moved, _ = work(what, 1, 16, T, 64)
    calls[f"{what}, T {T}"] = flops / moved
h200 = H200[0] * 1e12, H200[1] * 1e12
show_roofs({"an H200": h200, "your core": (peak, memory)}, calls)
plt.show()

# %% [markdown]
# Decoding waits for memory on both, a long forward pass on neither. But the
# short one lies on the slope of the H200, and on the flat roof of the core
# that built this page. So no kernel is "limited by memory" as such. A kernel
# on a machine is.
#
# The last column of the table, FLOPs for each exponential, points to a third
# ceiling. A GPU has few units for exponentials, apart from the *tensor cores*
# that do the products: an H200 takes $4.15 \cdot 10^{12}$ a second [H200].
#
# ### Exercise 13.2: two least times
#
# *Easy, 6 minutes.* Equation 13.1 with three ceilings, once if everything
# happens at the same time, and once if one thing happens after another. A
# kernel that is slower than the second time has lost time elsewhere.


# %% tags=["stub:13.2"]
def floors(
    work: tuple[float, ...], rates: tuple[float, ...]
) -> tuple[float, float]:
    """Return two least times of a kernel, in milliseconds.

    work: how many FLOPs, bytes and exponentials it needs. rates: how many
    of each the machine does in a second, in units of 10^12. The first time
    is for a kernel in which all three go on at once, the second for one in
    which they take turns.
    """
    # your code


# %% tags=["check:13.2"]
check.ex13_2(floors)

# %% [markdown]
# ## Recorded: how far from the floor?
#
# `minidiff bench` wrote what follows on an H200. Each file names its device,
# date, commit and command. At every size the batch has 16,384 tokens in all,
# as sixteen sequences of 1,024, four of 4,096 or one of 16,384. All heads
# together are 2,048 columns wide. Before the picture: where is the kernel
# nearest to its least time, with sequences of 1,024 or of 16,384? At $D = 64$
# or at $D = 128$?

# %%
record = Attention()
print("{device}, {date}, commit {commit:.7}".format(**record.provenance))

# %% tags=["hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Two panels, forward and train, each with six rows: D = 64 and 128 with 1024, 4096 and 16384 tokens. On a linear axis from 1 to about 4.5 a dot gives the recorded time over the least time and a cross the time of taking turns. At 16384 tokens dots and crosses nearly coincide below 1.6; at 1024 tokens the dots lie far to the right of the crosses."}}
show_floors(record)
plt.show()

# %% [markdown]
# The line at 1 is the least time, everything at once. The cross is the time of
# products, memory and exponentials one after the other. A better kernel with
# the same products could gain the distance from its dot to the line, and no
# more. If the dot is at the cross, it would have to gain it by doing things at
# once.
#
# ## What a small size measures
#
# At 1,024 tokens the dots lie far to the right. To see one reason, add 1 to
# one number, to 16, to 256, and so on. What do you expect?

# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
for k in range(0, 25, 4):
    y = torch.randn(2**k)
    took = alternate({"add": lambda y=y: y.add_(1)}, cpu, 31)["add"]
    print(f"{2**k:9d} numbers {1e3 * took:8.1f} us")

# %% [markdown]
# Up to some thousand numbers this measures Python and PyTorch, not an
# addition. A step of attention has several launches, and Python starts each of
# them.
#
# ## Reading ratios
#
# Now we compare with other implementations, timed in turn with ours in one
# run. The first is the best *other* way to compute differential attention at
# that size. The others are the matched plain model ($2H$ heads of width $D$)
# on two libraries, cuDNN and FlashAttention-2. We divide their time by ours:
# above 1, ours is faster.
#
# Predict where plain on cuDNN lies. Forward it has 4 units and we have 6. If
# units were time, it would take $4 / 6$ of our time. To train, it has $4 + 10$
# and we have $6 + 14$, since our backward kernels compute some products twice
# (chapter 12) and cuDNN computes each once.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for name, found in record.ratios().items():
    behind = sum(r < 1 for r in found)
    span = f"{min(found):.2f} to {max(found):.2f}"
    print(f"{name:23s} {span}; ours is slower at {behind} of {len(found)}")

# %% mystnb={"image": {"alt": "Two panels, forward and train, with six rows each by D and tokens. On a linear axis around 1, marked by a line, each row has three marks: the best other DIFF mostly right of 1, plain on cuDNN left of 1 in every row, plain on FlashAttention-2 right of 1 at long lengths and left at short ones."}}
show_ratios(record)
plt.show()

# %% [markdown]
# - A differential head has more to do, so plain on cuDNN should be ahead.
# - If you say "DIFF is as fast as the Transformer", say with whose kernel.
# - The rows of 1,024 tokens depend on how much Python an implementation runs
#   around its kernels. A second benchmark that shares no code with ours wrote
#   two cuDNN calls more leanly, and found them *ahead* of ours there, in
#   training too. And two runs of ours, minutes apart, differed by up to 12
#   percent. Do not lean on differences smaller than that.
#
# ## Whole models
#
# A model does more than attend, so its ratio is nearer to 1. Here are the
# speeds of training updates of models with 336 million parameters, 24 layers
# and $D = 64$, as multiples of the speed of plain on cuDNN. `diff/sdpa` is two
# calls of PyTorch's attention:

# %%
for T in (2048, 8192):
    file = course.results(f"bench_train_gpu_{T}.json")
    took = {
        r["peer"]: r["train_ms"] for r in json.loads(file.read_text())["rows"]
    }
    for peer in ("plain/flash", "diff/triton", "diff/sdpa"):
        print(f"T {T}: {peer:11s} {took['plain/cudnn'] / took[peer]:.2f}")

# %% [markdown]
# The paper gives 0.90 to 0.94 for larger models [P, Table 7], with both on
# FlashAttention-2. At 2,048 tokens two calls are faster than our kernels. The
# time to start kernels may be the reason again, but that was not measured.
#
# ## Decoding: at the limit
#
# $B$ sequences generate one new token each, at $D = 64$, with $S$ tokens in
# each cache. A step must read its cache once, so its rate of reading says how
# much is left to gain. The table gives shares of the fastest rate that
# anything reached in this record. `eager` is chapter 6's form, compiled.

# %%
steps = json.loads(course.results("bench_decode.json").read_text())["rows"]
steps = [r for r in steps if "decode_ms" in r]
fastest = max(r["gb_per_s"] for r in steps)
print(f"fastest: {fastest / 1e3:.2f} TB/s\n    S   B    ours   eager")
by = {(r["peer"], r["D"], r["S"], r["B"]): r["gb_per_s"] for r in steps}
for S, B in ((8192, 1), (65536, 1), (8192, 32), (65536, 32)):
    two = (by[p, 64, S, B] / fastest for p in ("diff/triton", "diff/matmul"))
    print(f"{S:5d} {B:3d}" + "{:8.0%}{:8.0%}".format(*two))

# %% [markdown]
# With many sequences and long caches both are near the limit, and no kernel
# can gain much, unless it reads *less*: 8-bit numbers, fewer keys. (Reading
# alone is faster than copying: a memory that turns between reading and writing
# loses time.)
#
# ## Predict, then measure
#
# If you do not predict first, every outcome looks as if you had expected it.
# Our log, `book/results/kernel-log.md`, holds version, prediction and outcome.
# Here are four changes from it. Which of them made the backward pass faster?
# Write your guesses into the cell, then see how many more you got right than
# we.
#
# 1. A kernel for $dk$ and $dv$ at $D = 128$ gets tiles so large that it spills
#    registers.
# 2. The warps of that kernel, at $D = 64$, get roles: one loads, two groups
#    compute by turns.
# 3. The same with 64 queries a tile instead of 32.
# 4. One backward kernel of 10 units with atomics, in place of two of 14 [H200].

# %%
yours = {1: None, 2: None, 3: None, 4: None}  # True for faster, or False

# %% tags=["hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true}
ours = {1: False, 2: True, 3: True, 4: True}
came_out = {
    1: (True, "the fastest version in plain Triton, spills and all"),
    2: (True, "from 381 to 437 TFLOP/s"),
    3: (False, "a fifth slower than 2: it spilled"),
    4: (False, "the two took a third less time: the one spilled"),
}
for n, (faster, words) in came_out.items():
    print(f"{n}. {'faster' if faster else 'slower'}: {words}")
for name, said in (("you", yours), ("we", ours)):
    right = sum(said[n] == faster for n, (faster, _) in came_out.items())
    print(name, "were right", right, "times of 4")

# %% [markdown]
# We were right once. Counting units foretold the fourth, and counting leaves
# out the registers. So count in order to know what to expect, and believe the
# clock.
#
# ## A control that fails: one's own units
#
# Here are two recorded forward passes, at $D = 64$ and 16,384 tokens. `cudnn`
# is two calls, 6 units; `cudnn-pad` two calls with queries and keys padded by
# zeros to the width of the values, 8 units. Which has the higher rate?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
unit = 16 * 16384**2 * 64
for peer, units in (("cudnn-pad", 8), ("cudnn", 6)):
    t = record.ms("diff2/" + peer, "forward", 64, 16384)
    print(f"{peer:10s} {t:.2f} ms, {units * unit / t / 1e9:.0f} TFLOP/s")

# %% [markdown]
# The slower one has the higher rate, because it multiplies zeros, and does so
# fast. Report milliseconds first.
#
# Other ways to deceive: time all runs of one implementation and then all of
# the other, on a machine that grows warm; count the first call, which
# compiles; leave the inputs in the cache; give a ratio without its spread.
#
# With a GPU, `minidiff bench attention --help` tells how to repeat this.
#
# ## Check of this chapter
#
# Is the recorded file what this chapter took it for? Ratios are worked out
# again from milliseconds, and every implementation (*peer*) was compared with
# float32 before it was timed.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for row in record.rows:
    if "train_ms" in row:
        size = row["D"], row["T"]
        plain = [f"plain/{k}" for k in ("cudnn", "flash", "efficient")]
        best = min(record.ms(p, "train", *size) for p in plain)
        assert abs(row["train_ms"] / best / row["train_ratio"] - 1) < 0.006
errors = [r["relative_error"] for r in record.rows if "relative_error" in r]
assert max(errors) < 0.01
print(f"ratios are those of their times; all {len(errors)} peers were right")

# %% [markdown]
# ## Common mistakes
#
# - **A data sheet's peak as the roof.** Measure one.
# - **FLOPs over time as merit.** The slower of two may compute more.
# - **"DIFF costs nothing."** Whose kernel did the other model use?
#
# ## Summary
#
# - A kernel's time is at least work over rate, for each of three ceilings.
# - A long forward pass is limited by products and exponentials, decoding by
#   reading.
# - At long lengths ours is the fastest recorded way to compute differential
#   attention, and the plain model on cuDNN stays ahead. At 1,024 tokens the
#   time of Python counts too, and we claim nothing.
#
# ## Further reading
#
# - Williams, Waterman, Patterson, *Roofline*, Communications of the ACM 2009:
#   the picture, and more ceilings below the roof.
# - Hoefler and Belli, *Scientific benchmarking of parallel computing systems*,
#   2015.

# %% [markdown]
# ## Optional: how sure is a ratio?
#
# ### Exercise 13.3: a ratio one can believe
#
# *Optional, 10 minutes.* Round $i$ of `alternate` times both, one right after
# the other, so each round has a ratio. How sure is their median? Each ratio
# lies above or below the true median with equal chance, as a coin falls. That
# ten coins show the same side at least nine times has a probability of
# $2 \cdot 11 / 2^{10}$, some 2 percent. In all other cases at least two ratios
# lie on either side of the true median. Then it lies between those that are
# left when the least and the largest are dropped.


# %% tags=["stub:13.3"]
def ratio_interval(
    ours: list[float], theirs: list[float], drop: int
) -> tuple[float, float, float]:
    """Return (low, middle, high) for how much longer ours takes than theirs.

    ours[i] and theirs[i] are the times of round i, taken one right after the
    other, so each round has its own ratio. The middle is the median of
    these; low and high are the least and the largest of those left when the
    `drop` least and the `drop` largest are dropped. 2 drop < rounds.
    """
    # your code


# %% tags=["check:13.3"]
check.ex13_3(ratio_interval)
