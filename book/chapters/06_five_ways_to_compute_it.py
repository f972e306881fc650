# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6. Five ways to compute it
#
# By the end of this chapter you will have shown that five functions compute
# the same differential attention, and that the number of multiplications
# foretells neither their memory nor, on a GPU, their time: the one that writes
# whole maps needs the most of both.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - count and measure FLOPs and memory, even at sizes that fit no machine;
# - compute it with fused calls: two, four, or all heads in one;
# - time functions so that the ratio means something;
# - say what each way reads from a cache for one new token.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | the shapes of `q`, `k`, `v` with pairs | all code here | chapter 5 |
# | two softmax maps and their difference | the formula | chapter 3 |

# %%
import json
import warnings
from collections.abc import Callable
from functools import partial

import matplotlib.pyplot as plt
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention as sdpa
from torch.utils.flop_counter import FlopCounterMode

# %%
from minidiff import check, course, diff_attention, plots
from minidiff.bench import variants
from minidiff.bench.peak_memory import Meter
from minidiff.bench.timing import alternate
from minidiff.check import hint, solution  # noqa: F401

plots.use_style("svg")
warnings.simplefilter("ignore", UserWarning)  # we do what they warn of

# %% [markdown]
# ## A cold open: a right function that does not fit
#
# Here is equation 3.1 for all heads at once, without the headwise norm.


# %% tags=["same:minidiff.bench.variants.naive"]
def naive(q: Tensor, k: Tensor, v: Tensor, lam: float | Tensor) -> Tensor:
    """Both maps written out, subtracted, one product with the values."""
    T, D = q.shape[-2:]
    hidden = torch.ones(T, T, dtype=torch.bool, device=q.device).triu(1)
    logits = q @ k.mT / D**0.5  # (B, H, 2, T, T)
    A1, A2 = logits.masked_fill(hidden, -torch.inf).softmax(-1).unbind(2)
    return (A1 - lam * A2) @ v


# %%
def inputs(B: int, H: int, T: int, D: int, **kind) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    q, k = torch.randn(2, B, H, 2, T, D, **kind)  # each (B, H, 2, T, D)
    return q, k, torch.randn(B, H, T, 2 * D, **kind)


q, k, v = inputs(2, 3, 17, 8, dtype=torch.float64)
gap = naive(q, k, v, 0.8) - diff_attention(q, k, v, 0.8)
assert gap.abs().max() < 1e-12

# %% [markdown]
# It agrees with minidiff's operator to twelve digits. Now give it one sequence
# of 16,384 tokens, 16 heads of $D = 64$, in bfloat16, two bytes a number. On
# PyTorch's device `meta` tensors have shapes and no data, so any laptop can
# run this. `Meter` keeps the highest sum of bytes alive at one time. The
# inputs take a fifth of a gigabyte. What does the function need on top?
# Guess first.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
q, k, v = inputs(1, 16, 16384, 64, dtype=torch.bfloat16, device="meta")
with Meter() as meter:
    naive(q, k, v, 0.8)
given, foretold = q.nbytes + k.nbytes + v.nbytes, meter.peak
print(f"inputs {given / 1e9:.1f} GB, on top {foretold / 1e9:.1f} GB")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert foretold > 200 * given

# %% [markdown]
# More than two hundred times the inputs, for one layer.
#
# ## What to count
#
# A product of a $(T, D)$ and a $(D, S)$ matrix has $TS$ entries, each the sum
# of $D$ products: $D$ multiplications and as many additions. These
# floating-point operations are called FLOPs.
#
# $$
# \text{one unit} = 2\,T\,S\,D \ \text{FLOPs}
# \tag{6.1}
# $$
#
# We count units for one differential head. A product with values $2D$ wide is
# two. Softmax, mask and subtraction do a few operations for each entry, not
# $2D$, and are left out.
#
# Two more counts: **bytes alive** at the worst moment, and **bytes moved**,
# what operations read and write. Memory delivers more slowly than processors
# compute, so a function can be slow without computing much.
#
# By hand, with $T = S = 2$ and $D = 3$: four entries of six operations, 24
# FLOPs; 12 numbers of four bytes read and 4 written, 64 bytes moved.

# %%
a, b = torch.ones(2, 3), torch.ones(3, 2)
with FlopCounterMode(display=False) as flops, Meter() as meter:
    c = a @ b
counts = flops.get_total_flops(), meter.moved, meter.peak
print("FLOPs {}, bytes moved {}, made {}".format(*counts))
assert counts == (24, 64, 16)

# %% [markdown]
# ### Exercise 6.1: FLOPs of one call
#
# *Medium, 10 minutes.* What the mask hides is free here.


# %% tags=["stub:6.1"]
def call_flops(T: int, S: int, D: int, Dv: int, causal: bool) -> int:
    """Return the FLOPs of the two matrix products of one call, one head.

    T queries and S >= T keys of width D, values of width Dv. If causal,
    query t sees keys 0 to t + S - T; what is hidden costs nothing.
    """
    # your code


# %% tags=["check:6.1"]
check.ex06_1(call_flops)

# %% [markdown]
# For long sequences the mask halves the work, if hidden entries are skipped.
# Units count the whole square.
#
# **Way 1, eager**, is `naive`: one unit for each score matrix, and *one*
# product with the values, two units. That is 4. The plain model's two heads
# of width $D$, which this head replaces, cost $2 \cdot (1 + 1) = 4$ as well.
# `naive` computes the square and throws half away, a factor of 2. The trouble
# is memory: scores, masked scores and softmax, six maps alive together.
#
# ## Way 2: two fused calls
#
# Nobody needs a whole map at once. A *fused* kernel, one program instead of
# many operations, walks over the keys block by block, skips what is hidden,
# keeps running sums, and forgets each block of scores after use; chapter 10
# builds one. PyTorch's is `scaled_dot_product_attention`, short SDPA. It
# returns $A\,v$, never $A$. But $(A_1 - \lambda A_2)\,v = A_1 v - \lambda A_2 v$:


# %%
def two_calls(q: Tensor, k: Tensor, v: Tensor, lam: float) -> Tensor:
    o1 = sdpa(q[:, :, 0], k[:, :, 0], v, is_causal=True)
    o2 = sdpa(q[:, :, 1], k[:, :, 1], v, is_causal=True)
    return o1 - lam * o2


# %% [markdown]
# Each call is one unit for scores and two for values: together 6.
#
# A catch: a fused kernel may not exist for your shapes. Then SDPA falls back,
# without a word, to operations that write the maps out. Values wider than keys
# are such a shape on a CPU. Forbid the fallback and PyTorch says so:

# %%
x = torch.randn(1, 1, 8, 4)
with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
    sdpa(x, x, x)  # values as wide as keys: fused
    try:
        sdpa(x, x, torch.randn(1, 1, 8, 8))
    except RuntimeError as error:
        print("values twice as wide:", error)

# %% [markdown]
# On a GPU, cuDNN, a library behind SDPA, takes such values.
#
# ## Way 3: four narrow calls
#
# If all widths must be equal, cut the values. The official code does so where
# its kernel takes one width only [U].
#
# ### Exercise 6.2: four calls
#
# *Medium, 10 minutes.*


# %% tags=["stub:6.2"]
def four_narrow(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: float,
    attend: Callable[..., Tensor],
) -> Tensor:
    """Return A1 v - lam A2 v, (B, H, T, 2D), from four calls of attend.

    q and k (B, H, 2, T, D), v (B, H, T, 2D). attend(q, k, v) is causal
    attention for q, k, v of one shape, (B, H, T, D); other widths fail.
    """
    # your code


# %% tags=["check:6.2"]
check.ex06_2(four_narrow)

# %% [markdown]
# Each branch's scores are now computed twice. Four calls of $1 + 1$ units: 8.
#
# ## Way 4: branches as heads
#
# A kernel knows no branches. So $2H$ of them can go into one call as $2H$
# ordinary heads.
#
# ### Exercise 6.3: one call
#
# *Medium, 10 minutes.*


# %% tags=["stub:6.3"]
def one_call(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: float,
    attend: Callable[..., Tensor],
) -> Tensor:
    """Return A1 v - lam A2 v, (B, H, T, Dv), from one call of attend.

    q and k (B, H, 2, T, D), v (B, H, T, Dv). attend(q, k, v) is causal
    attention on (B, heads, T, width): any number of heads, in all the same.
    """
    # your code


# %% tags=["check:6.3"]
check.ex06_3(one_call)

# %% [markdown]
# With wide values this call is 6 units, as in way 2. Hugging Face's DiffLlama
# stacks the heads *and* cuts the values: two calls of $2H$ narrow heads, 8
# units [HF]. That is `stacked` below.
#
# ## Counted, then measured
#
# Who needs the least memory, and who moves the fewest bytes? Guess first.
# Bytes are given in maps of all heads, $B H T^2$ numbers each. FLOPs are
# counted twice: with SDPA held to its plain form, which skips nothing, and as
# it runs.

# %%
ways = {"naive": naive, "two calls": two_calls}
ways |= {"four calls": variants.four_calls, "stacked": variants.stacked}
q, k, v = inputs(1, 2, 512, 16)
one_map = 2 * 512**2  # numbers, for two heads


def units(way, *given: Tensor) -> float:
    with FlopCounterMode(display=False) as flops:
        way(*given)
    return flops.get_total_flops() / (2 * one_map * 16)


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
table = {}
print("            units  as run  alive  moved")
for name, way in ways.items():
    with sdpa_kernel(SDPBackend.MATH):
        count = units(way, q, k, v, 0.8)
    with Meter() as meter:
        way(q, k, v, 0.8)
    alive, moved = meter.peak / 4 / one_map, meter.moved / 4 / one_map
    row = table[name] = count, units(way, q, k, v, 0.8), alive, moved
    print(f"{name:11s}", "{:5.0f} {:7.0f} {:6.2f} {:6.1f}".format(*row))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for name, (count, _, alive, _) in table.items():
    assert count == {"naive": 4, "two calls": 6}.get(name, 8)
    assert (alive < 1) == (count == 8)

# %% [markdown]
# `naive` holds six maps, and a mask of one byte a position. As run, two
# functions seem to cost nothing: PyTorch's counter does not know this CPU
# kernel. Our meter is blind to what a kernel uses inside itself.
#
# Bytes turn the order around: most units, least memory. (The two calls are
# the fallback, which writes maps.) How does it grow?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Peak memory against sequence length from 128 to 1024, both axes logarithmic. Naive and two calls are steep parallel lines that reach 49 and 21 MiB; four calls and stacked rise half as steeply and end near 1 and 2 MiB."}}
lengths, growth = [128, 256, 512, 1024], {}
for name, way in ways.items():
    peaks = []
    for T in lengths:
        given = inputs(1, 2, T, 16)
        with Meter() as meter:
            way(*given, 0.8)
        peaks.append(meter.peak / 2**20)
    plt.loglog(lengths, peaks, marker="o", label=name)
    growth[name] = round(peaks[3] / peaks[2])
plt.xticks(lengths, lengths)
plt.minorticks_off()
plt.gca().set(xlabel="sequence length T", ylabel="peak memory, MiB")
plt.legend()
plt.show()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert list(growth.values()) == [4, 4, 2, 2]

# %% [markdown]
# Twice the length: fused calls need twice the memory, maps four times.
#
# ## Way 5: FlexAttention
#
# If no ready kernel fits, FlexAttention takes a Python function that says
# which keys a query sees and, compiled, *writes* a fused kernel for it.


# %%
def seen(b, h, t, s):
    return s <= t


def by_flex(q: Tensor, k: Tensor, v: Tensor, lam: float) -> Tensor:
    T = q.shape[-2]
    mask = create_block_mask(seen, None, None, T, T, device=q.device)
    attend = partial(flex_attention, block_mask=mask)
    o1, o2 = (attend(q[:, :, i], k[:, :, i], v) for i in (0, 1))
    return o1 - lam * o2


print(create_block_mask(seen, None, None, 1024, 1024, device="cpu"))

# %% [markdown]
# The *block mask* cuts the map into blocks of 128 times 128 and finds out in
# advance which hold nothing to see: 28 of these 64. They are skipped.
#
# Two calls, 6 units by hand, as in way 2: our counters cannot follow it. A
# second function may change the scores. Could it do the subtraction, in one
# call? No: it acts *before* the softmax, and that gives no negative weight.
#
# On a GPU wrap `flex_attention` in `torch.compile`. On a CPU we run its plain
# form, which has no backward in PyTorch 2.13.
#
# ## The control that fails
#
# A tempting shortcut: queries of both branches side by side, keys too, and one
# call of width $2D$, for 4 units. What does it compute?

# %%
q, k, v = inputs(1, 2, 6, 4, dtype=torch.float64)
q_wide, k_wide = (x.movedim(2, -2).flatten(-2) for x in (q, k))
tempting = sdpa(q_wide, k_wide, v, scale=4**-0.5)
right = diff_attention(q, k, v, 0.8, causal=False)
error = (tempting - right).abs().max()
print(f"largest error {error:.1f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
summed = (q @ k.mT * 4**-0.5).sum(2)  # both branches' scores, added
assert torch.allclose(tempting, summed.softmax(-1) @ v, atol=1e-12)
assert error > 0.1

# %% [markdown]
# One softmax of summed scores: the dot product of joined vectors is the sum of
# the dot products. A difference of softmaxes needs two of them.
#
# ## Your machine
#
# The first call pays for setting up; a busy machine slows whatever runs at
# that moment. So call everything once unmeasured, take *turns* for several
# rounds, and compare ratios of medians, here to `naive`: `alternate` does.

# %%
given = inputs(1, 2, 1024, 64)
learned = [x.clone().requires_grad_() for x in given]


def step(way):
    return torch.autograd.grad(way(*learned, 0.8).sum(), learned)


train = {name: partial(step, way) for name, way in ways.items()}
every = {**ways, "flex, plain": by_flex}
forward = {name: partial(way, *given, 0.8) for name, way in every.items()}

# %% tags=["nbval-ignore-output"]
for what, calls in (("forward", forward), ("training", train)):
    times = alternate(calls, torch.device("cpu"), 5)
    for name, t in times.items():
        print(f"{what:9s}{name:12s}{t:5.0f} ms, {t / times['naive']:.2f}")

# %% [markdown]
# Where these pages were built, four narrow calls beat two wide ones forward,
# with a third more to multiply: the four are fused there, the two are not.
# Change the 1024 and see.
#
# ## V2: made for one call
#
# Later the authors changed the layer [B2]. In V2 both branches read the *same*
# keys, and values are as wide as keys: ordinary attention with twice the query
# heads, two of which share one head of keys and values. Let a V2 head have
# width $2D$, so that its output is as wide as V1's. How many units?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
q, k, v = inputs(1, 2, 512, 32)  # width 2D, where V1 had D = 16
k, v = k[:, :, 0], v[..., :32]  # no axis of pairs
want = diff_attention(q, k[:, :, None], v, 0.5)
assert torch.allclose(variants.v2(q, k, v, 0.5), want, atol=1e-5)
with sdpa_kernel(SDPBackend.MATH):
    count = units(variants.v2, q, k, v, 0.5)
print(f"V2: {count:.0f} units")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert count == 8

# %% [markdown]
# As many as four calls. V2 saves no multiplications. What it saves comes last.
#
# ## A GPU, recorded
#
# What follows was recorded, not run here, V1 with its headwise norm.
# `diff2/cudnn` is two calls through the library cuDNN, `diff4/flash` four
# through FlashAttention, `hf-stacked` Hugging Face's, `naive-compiled` what
# `torch.compile` makes of `naive`. `plain` is the matched model, $2H$ heads of
# width $D$, `v2` the layer above. Beside each name stand its units.

# %%
record = json.loads(course.results("bench_attention.json").read_text())
print(*(record["provenance"][n] for n in ("device", "date", "commit")))
rows = {(r["peer"], r["D"], r["T"]): r for r in record["rows"]}


def ms(peer: str, what: str, D: int = 64, T: int = 4096) -> float:
    return rows[peer, D, T].get(what + "_ms", float("inf"))  # inf: cannot run


# %% mystnb={"image": {"alt": "Marks on a logarithmic axis: time relative to the plain model for nine ways, forward and training, with their units. The fused forms, 4 to 8 units, lie between 1 and 5; the naive form compiled between 5 and 20; the naive form, 4 units, furthest right, beyond 20."}}
cost = {"plain/cudnn": 4, "v2/cudnn": 8, "diff2/cudnn": 6, "diff/flex": 6}
cost |= {"hf-stacked/cudnn": 8, "diff4/cudnn": 8, "diff4/flash": 8}
cost |= {"diff/naive-compiled": 4, "diff/naive": 4}
shown = sorted(cost, key=lambda name: ms(name, "train"))
labels = [f"{name}, {cost[name]}" for name in shown]
for what, mark in (("forward", "o"), ("train", "s")):
    ratio = [ms(p, what) / ms("plain/cudnn", what) for p in shown]
    plt.plot(ratio, labels, mark, label=what, fillstyle="none")
    assert max(ratio[:7]) < 5 < ratio[7] < 20 < ratio[8]
plt.gca().invert_yaxis()
plt.xscale("log")
plt.xticks([1, 2, 5, 10, 20, 50], [1, 2, 5, 10, 20, 50])
plt.xlabel("recorded time, plain/cudnn = 1 (D = 64, T = 4096)")
plt.legend()
plt.show()

# %% [markdown]
# Read the units from top to bottom: they do not order the fused forms. In
# numbers:

# %%
names = "plain/cudnn", "diff2/cudnn", "diff4/cudnn", "v2/cudnn", "diff/naive"
plain, two, four, v2, eager = (ms(name, "forward") for name in names)
print(f"two / plain   by units {6 / 4:.2f}   recorded {two / plain:5.2f}")
print(f"four / two    by units {8 / 6:.2f}   recorded {four / two:5.2f}")
print(f"v2 / two      by units {8 / 6:.2f}   recorded {v2 / two:5.2f}")
print(f"naive / four  by units {4 / 4:.2f}   recorded {eager / four:5.2f}")
assert plain < two < four < eager / 10 and v2 < two * 1.1

# %% [markdown]
# Two calls cost what the units say, four a quarter more. And V2's 8 units take
# no longer than 6. One reason may be what we left out: softmax works on every
# entry of every map, of which V2 and two calls have $2H$, four $4H$.
#
# In the last line 4 whole units stand against half of 8, as fused forms skip
# what is hidden. As many multiplications, more than ten times the time: maps
# travel to memory and back. Was their size foretold?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
pair = (rows[n, 64, 16384] for n in ("diff/naive", "diff/flex"))
peak, peak_flex = (row["forward_peak_mib"] for row in pair)
print(f"naive {peak} MiB, foretold {foretold / 2**20:.0f}; flex {peak_flex}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert abs(peak * 2**20 / foretold - 1) < 0.02 and peak_flex < peak / 100

# %% [markdown]
# The meter foretold it within two percent, without a GPU. FlexAttention needs
# less than a hundredth. Who is fastest at other sizes? The record also has
# `diff/triton`, the kernel that Part III writes: how much faster is that one?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
ours = sorted({p for p, *_ in rows if p.startswith(("diff", "hf-"))})
ours.remove("diff/triton")
best, ahead = set(), []
for size in sorted({tuple(size) for _, *size in rows}):
    for what in ("forward", "train"):
        winner = min(ours, key=lambda p: ms(p, what, *size))
        best.add(winner)
        ahead.append(ms(winner, what, *size) / ms("diff/triton", what, *size))
        at = "D {:3d}  T {:5d} ".format(*size)
        print(at, f"{what:7s} {winner:16s} {ahead[-1]:.2f}")
print("flex, D 128:", rows["diff/flex", 128, 4096]["train_error"][:37])

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert len(best) > 1 and sorted(ahead)[1] > 1 > min(ahead) > 0.9

# %% [markdown]
# None of our ways wins everywhere. Where maps are small, even writing them out
# wins once, compiled. And one does not even run: FlexAttention's backward found
# no kernel that fits this GPU at $D = 128$. The last column is the winner's
# time over the kernel's: above 1 everywhere but once, where two calls are
# ahead. `minidiff bench attention` measures your sizes. Whole models differ
# less: in the paper plain ones were 5 to 12 percent faster [P, Table 7]; ours
# are in chapter 13.
#
# ## One new token
#
# While a model writes, each step has one query and a cache of all past keys
# and values (chapter 16). There is little to multiply and much to read: a V1
# head keeps $D + D + 2D = 4D$ numbers a token, and so does a V2 head of width
# $2D$.
#
# ### Exercise 6.4: reads of the cache
#
# *Easy, 5 minutes.* Two calls are `[("k1", "v"), ("k2", "v")]`, with
# `{"k1": 64, "k2": 64, "v": 128}`. A call reads what it needs once.


# %% tags=["stub:6.4"]
def cache_reads(calls: list[tuple[str, ...]], widths: dict[str, int]) -> float:
    """Return how many times over the whole cache is read for one token.

    widths: the numbers that the cache holds for each past token, by name.
    calls: for each call, the names of what it reads.
    """
    # your code


# %% tags=["check:6.4"]
check.ex06_4(cache_reads)

# %%
reads = [n / 256 for n in (2 * (64 + 128), 4 * (64 + 64), 128 + 128)]
print("the cache, read by two calls {}, four {}, V2 {} times".format(*reads))

# %% [markdown]
# This is V2's point. But look at way 1 again. With one query its maps are
# single rows. Where each head has keys of its own, it reads the cache once:

# %%
_, k, v = inputs(1, 8, 4096, 64)
q = torch.randn(1, 8, 2, 1, 64)
with Meter() as meter:
    diff_attention(q, k, v, 0.8, backend="eager")
moved = meter.moved / (k.nbytes + v.nbytes)
print(f"the eager operator moves {moved:.2f} times the cache")
assert moved < 1.2

# %% [markdown]
# ## When which is right
#
# | you have | take | because |
# |---|---|---|
# | maps to see, a form to test | eager | easy to believe |
# | a kernel that takes wide values | two calls | 6 units, no maps |
# | a kernel of one width | four calls, stacked heads | 8 units, no maps |
# | a mask of your own, a GPU | FlexAttention | it writes the kernel |
# | one token a step | eager | the cache is read once |
# | a new model, ordinary kernels | V2 | one call, one reading |
#
# Part III writes the kernel that is missing, with the subtraction inside. Last,
# all five ways against the package:

# %%
q, k, v = inputs(2, 3, 40, 8, dtype=torch.float64)
results = {name: way(q, k, v, 0.8) for name, way in every.items()}
for backend in ("sdpa", "flex"):
    results[backend] = diff_attention(q, k, v, 0.8, backend=backend)
want = diff_attention(q, k, v, 0.8, backend="eager")
for name, out in results.items():
    assert (out - want).abs().max() < 1e-12
    print(f"{name:12s} and the eager operator differ by < 1e-12")

# %% [markdown]
# ## Common mistakes
#
# - **Comparing FLOPs of fused and unfused code.** Equal counts, more than ten
#   times the time.
# - **Trusting that SDPA is fused.** Forbid the fallback.
# - **Believing a meter's zero.** It may not know the kernel.
#
# ## Summary
#
# - Eager costs 4 units, two calls, one stacked call and FlexAttention 6, four
#   calls and Hugging Face's stacked heads 8.
# - Maps need memory that grows with $T^2$, fused calls with $T$.
# - Among fused forms compare units and maps, otherwise bytes; then measure.
# - V2 costs 8 units at equal output width, and reads its cache once.
#
# ## Further reading
#
# - Dao and others, *FlashAttention*, arXiv 2205.14135: why attention waits
#   for bytes and not for FLOPs.
# - The official code: eager, two calls and four calls, one file each. [U]
# - *Differential Transformer V2*: why the authors wanted one call. [B2]
