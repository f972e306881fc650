# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Problem set 3: One token and a long cache
#
# A model that answers has one query at a time and thousands of keys. The
# kernels of chapters 10 and 11 cut the *queries* into blocks and give each
# program one. Here there is nothing to cut, and a GPU stands idle. You cut
# the keys instead, join what the programs found, decide how many cuts are
# best, and serve caches of unequal lengths, with a window. But for the window
# these are the kernels that minidiff decodes with.
#
# {card}
#
# ## Prerequisites
#
# | you need | for | from |
# |---|---|---|
# | programs, masks, strides, the recorder | all kernels | chapter 09 |
# | `softmax_step`, log-sums, merging two parts | P3.1, P3.2, P3.4 | chapter 10 |
# | two branches, one walk | P3.1, P3.2, P3.4 | chapter 11 |
# | rounding up, by hand | P3.3 | paper |
#
# Each problem can be solved without the ones before it. A cell that begins
# with `if passed` uses your function once its check has passed, and is silent
# before.

# %%
from math import ceil

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from minidiff.course.kernels import DEVICE, INTERPRETED  # before Triton
import triton
import triton.language as tl

# %%
from minidiff import check, diff_attention, plots
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course.kernels.flash import LOG2_E, softmax_step  # noqa: F401
from minidiff.course.kernels.fused_forward import fused_forward
from minidiff.course.kernels.memory import outside_touched, poisoned
from minidiff.course.kernels.trace import record
from minidiff.ops.arguments import Arguments
from minidiff.ops.triton.launch.decode import busy, decode

plots.use_style()

# %% [markdown]
# ## How busy is the GPU?
#
# A layer has 8 differential heads; groups of 4 share their keys and values.
# One text of 48 tokens is cached, and one new token asks. Chapter 11's kernel
# runs. How many programs does it start, and how often is each key read?


# %%
def drawn(B: int, S: int, H: int = 8, Hkv: int = 2, D: int = 16):
    torch.manual_seed(0)
    q = torch.randn(B, H, 2, 1, D, device=DEVICE)
    k = torch.randn(B, Hkv, 2, S, D, device=DEVICE)
    v = torch.randn(B, Hkv, S, 2 * D, device=DEVICE)
    return q, k, v, torch.rand(B, H, 1, device=DEVICE)


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
q, k, v, lam = drawn(B=1, S=48)
if INTERPRETED:
    with record() as log:
        fused_forward(q, k, v, lam)
    print("programs          ", len({t.program for t in log.touches}))
    print("each key is read  ", log.count("p_k") // k.numel(), "times")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
if INTERPRETED:
    assert log.count("p_k") == 4 * k.numel()

# %% [markdown]
# Eight programs, one for each head: with 48 keys, and with 48 thousand, which
# each then walks along alone. A large GPU has 132 multiprocessors. 124 have
# nothing to do.
#
# And the heads of a group each read the same keys. In training that hardly
# mattered: a block of keys served many queries, once fetched. Now it serves
# one, the other rows of the block are empty, and fetching is nearly all there
# is to do.
#
# So two things change. A program takes *all heads of a group* for its rows:
# each key is read once, and rows are filled. That makes even fewer programs,
# 2 here. Therefore the keys are cut into *splits*, one program each.
#
# ## What a split leaves behind
#
# Problem set 1 and chapter 10 kept three things of a part of a row: top $m$,
# sum $z$, and $u$, the sum of weights times values. Two are enough, if a
# program finishes its part as if there were no other: its output $o_i = u_i /
# z_i$, and its log-sum $\ell_i = m_i + \log_2 z_i$. The sum of the weights
# themselves is then $2^{\ell_i}$, and each split's share in the row follows:
#
# $$
# o = \sum_i 2^{\,\ell_i - \ell}\, o_i, \qquad
# \ell = \log_2 \sum_i 2^{\,\ell_i}
# \tag{P3.1}
# $$
#
# By hand, in base 2. Split A has scores 1 and 1, values 0 and 4: weights 2 and
# 2, so $o_A = 2$ and $\ell_A = 2$. Split B has scores 3, 2, 2 and values 10, 2,
# 2. What are $o_B$, $\ell_B$, the two shares, and $o$?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
scores = torch.tensor([1.0, 1.0, 3.0, 2.0, 2.0])
values = torch.tensor([0.0, 4.0, 10.0, 2.0, 2.0])
weights = torch.exp2(scores)
parts = {"A": slice(0, 2), "B": slice(2, 5), "row": slice(5)}
for name, keys in parts.items():
    total = weights[keys].sum()
    o = (weights[keys] * values[keys]).sum() / total
    print(f"{name:3s} output {o:.1f}, log-sum {total.log2():.2f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert torch.isclose(o, torch.tensor(2 / 5 + 6 * 4 / 5))

# %% [markdown]
# Shares of a fifth and four fifths.
#
# ## Problem P3.1: one split
#
# *Hard, 25 minutes.* The walk of exercise 11.1, with rows that are heads. One
# token sees all keys of its cache, so nothing is causal; but a split may end
# in the middle of a block, and the keys behind its end are another program's:
# they are not read. The axes of batch and key head are one here, `N` long, and
# the first lines move each pointer to where its program works, so that `q_n`,
# `k_n`, `part_i` and the like are used up. Strides are named as in
# exercise 11.1; along a last axis numbers lie side by side, `lse`'s too.


# %% tags=["stub:P3.1"]
@triton.jit
def split_kernel(
    p_q, p_k, p_v, p_part, p_lse, q_n, q_j, q_g, k_n, k_j, k_s, v_n, v_s,
    part_n, part_i, part_j, part_g, lse_n, lse_i, lse_j, G, S, split, c,
    D: tl.constexpr, DV: tl.constexpr, ROWS: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """Both branches over one split of the keys: outputs and log-sums.

    Each of N heads of keys is shared by G queries, G <= ROWS: q (N, 2, G, D),
    k (N, 2, S, D), v (N, S, DV). To write: part (N, I, 2, G, DV), a branch's
    output over the split's keys alone, and lse (N, I, 2, G), its log-sum in
    base 2. Program (n, i) takes keys i * split to (i + 1) * split - 1 of head
    n, BS at a time; the last split may be shorter, none is empty. Scores in
    base 2 are c times q k'.
    """
    i_n, i_split = tl.program_id(0).to(tl.int64), tl.program_id(1)
    p_q += i_n * q_n
    p_k += i_n * k_n
    p_v += i_n * v_n
    p_part += i_n * part_n + i_split * part_i
    p_lse += i_n * lse_n + i_split * lse_i
    # your code


# %% tags=["check:P3.1"]
split_passed = passed = check.exP3_1(split_kernel)


# %% [markdown]
# How it is launched. The operator's tensors have a batch axis, and an axis of
# one token; `by_groups` turns them into those of the kernel without a copy.


# %%
def by_groups(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    """q (N, 2, G, D), k (N, 2, S, D), v (N, S, DV); N is batch by key head."""
    q = q.squeeze(3).unflatten(1, (v.shape[1], -1))  # (B, Hkv, G, 2, D)
    q = q.flatten(0, 1).transpose(1, 2)
    return q, k.flatten(0, 1), v.flatten(0, 1)


# %%
def cut(kernel, q, k, v, splits: int, split: int, *lengths, last: int):
    """Launch P3.1's kernel, or P3.4's; last is S, or W."""
    (N, _, G, D), DV = q.shape, v.shape[-1]
    part, lse = poisoned(N, splits, 2, G, DV), poisoned(N, splits, 2, G)
    strides = [n for x in (q, k, v, part, lse) for n in x.stride()[:-1]]
    kernel[N, splits](
        q, k, v, *lengths, part, lse, *strides, G, last, split,
        LOG2_E / D**0.5, D=D, DV=DV, ROWS=16, BS=16,
    )  # fmt: skip
    return part, lse


# %% [markdown]
# 48 keys in three splits, of 20, 20 and 8. Which keys does which program
# read, in which blocks of 16? And how often is each key read now?

# %% tags=["hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true} mystnb={"image": {"alt": "In the solved notebook: a bar of 48 keys in three shades. Keys 0 to 19 bear the number 0, keys 20 to 39 the number 1, keys 40 to 47 the number 2."}}
if passed and INTERPRETED:
    q1, k1, v1 = by_groups(*drawn(B=1, S=48, Hkv=1, H=4)[:3])
    with record() as log:
        cut(split_kernel, q1, k1, v1, 3, 20, last=48)
    assert log.count("p_k") == k1.numel() and log.races() == []
    owners = log.programs("p_k")[0, 0, :, 0]  # of branch 1's keys
    picture = [[program[1] for (program,) in owners]]
    plt.figure(figsize=(7, 1))
    plt.imshow(picture, cmap="Blues", vmin=-2, vmax=5, aspect="auto")
    plt.gca().set(yticks=[], xlabel="key", title="read by program (0, i)")
    plt.grid(False)
    for at, i in ((10, 0), (30, 1), (44, 2)):
        plt.text(at - 0.5, 0, i, color="black", ha="center", va="center")
    plt.show()

# %% [markdown]
# Each key once, where four programs read it before. The first two programs
# walk in blocks of 16 and of 4, the third has one of 8.
#
# ## When branches may be subtracted
#
# Each split leaves *two* outputs, one a branch. It is tempting to subtract in
# the split: half as much to write, half to read again. Take chapter 11's two
# keys, now in two splits of one key each, values 8 and 0, $\lambda = \frac12$.
# In branch 1 the splits have equal shares. In branch 2 the first one has
# $\frac34$. Alone, a key has weight 1 in both branches. So the first split
# would leave $8 - \frac12 \cdot 8 = 4$, the second one 0. Which branch's
# shares make 1 of them, the right output?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
first, second = 8 - 8 / 2, 0
print("right:           ", 8 * 1 / 2 - 8 * 3 / 4 / 2)
print("branch 1's share:", first * 1 / 2 + second * 1 / 2)
print("branch 2's share:", first * 3 / 4 + second * 1 / 4)

# %% [markdown]
# Neither. A split has one share in branch 1 and another in branch 2, and after
# the subtraction nobody can apply both. So: join each branch, *then* subtract.
# A norm comes last: it needs the whole row.
#
# ## Problem P3.2: joining splits
#
# *Medium, 20 minutes.* Equation P3.1 for both branches, then $o_1 - \lambda
# o_2$. There are few splits: one block holds them all. Two things to think
# of. Log-sums may be thousands, and $2^{3000}$ is no float32. And `SPLITS` is a
# power of two, the number of splits need not be one. (A split without keys
# will come up in P3.4.)


# %% tags=["stub:P3.2"]
@triton.jit
def join_kernel(
    p_part, p_lse, p_lam, p_y, part_n, part_i, part_j, part_g,
    lse_n, lse_i, lse_j, lam_n, y_n, y_g, n_split,
    DV: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Write o1 - lam o2 into y (N, G, DV); o_j is joined from I splits.

    part (N, I, 2, G, DV) and lse (N, I, 2, G) are what P3.1 writes, lam
    (N, G) has a number for each query. A split may be without keys: log-sum
    -inf, and zeros. At least one has keys. Log-sums may be thousands.
    Program (n, g) writes one row. SPLITS is a power of two, n_split = I or
    more.
    """
    # your code


# %% tags=["check:P3.2"]
join_passed = passed = check.exP3_2(join_kernel)


# %% [markdown]
# Both kernels make a decoding step. Splits of any length must give one
# result, that of the eager operator in float64.


# %%
def join(part: Tensor, lse: Tensor, lam: Tensor) -> Tensor:
    """Launch P3.2's kernel: y as the operator gives it, (B, H, 1, DV)."""
    N, splits, _, G, DV = part.shape
    y, lam_n = poisoned(N, G, DV), lam.reshape(N, G)
    join_kernel[N, G](
        part, lse, lam_n, y, *part.stride()[:-1], *lse.stride()[:-1],
        lam_n.stride(0), *y.stride()[:-1], splits,
        DV=DV, SPLITS=triton.next_power_of_2(splits),
    )  # fmt: skip
    assert not any(outside_touched(x) for x in (part, lse, y))
    return y.reshape(*lam.shape, DV)


# %%
q, k, v, lam = drawn(B=2, S=50)
truth = [x.double() for x in (q, k, v, lam)]
want = diff_attention(*truth, backend="eager")
if split_passed and join_passed:
    for split in (50, 32, 20, 7):
        splits = ceil(50 / split)
        parts = cut(split_kernel, *by_groups(q, k, v), splits, split, last=50)
        assert (join(*parts, lam) - want).abs().max() < 1e-5
        print(f"{splits} splits of {split:2d} keys: differs by < 1e-5")

# %% [markdown]
# Exact, as merging always was. So the number of splits is free, and a question
# of time alone.
#
# ## Problem P3.3: how many splits?
#
# *Medium, 15 minutes.* "As many as possible" is wrong for two reasons. Each
# program has to start, and to leave a part that is read again. And programs
# come in *rounds*. Say that 8 fit on a GPU at once. With 3 heads, each with
# 12 blocks of keys, and one unit of time for each block and one for each
# program:
#
# | splits | programs | rounds | blocks each | time |
# |---|---|---|---|---|
# | 1 | 3 | 1 | 12 | 13 |
# | 2 | 6 | 1 | 6 | 7 |
# | 3 | 9 | 2 | 4 | 10 |
# | 4 | 12 | 2 | 3 | 8 |
#
# The third split lets a ninth program wait for the first eight. Its round has
# seven empty places, and is as long as a full one. Write the search.


# %% tags=["stub:P3.3"]
def plan(N: int, S: int, BS: int, places: int, extra: int) -> tuple[int, int]:
    """Return the best number of splits, and the time it takes.

    N heads have S keys each, in blocks of BS; the last block may be cut
    short and takes as long. A split is some whole blocks, as many in each
    split of a head, the last may have fewer. One program for each head and
    split: it takes one unit of time for each block of a split, and extra
    units more. As many programs as there are places run at once, and when
    they are done, the next ones do: a round, which takes as long as a full
    split. The fewest splits, if several numbers of them are best.
    """
    # your code


# %% tags=["check:P3.3"]
passed = check.exP3_3(plan)

# %% [markdown]
# Now a large GPU: 132 multiprocessors, two programs on each. 64 heads (8
# texts of 8 heads), 8192 keys in blocks of 32. Beside this model's time, in
# whole rounds, stands one in parts of rounds: after the first, a round that is
# half full costs half. For which numbers of splits will the two agree?


# %%
def model(N: int, n: int, splits: int, places: int) -> tuple[float, float]:
    """Time in whole rounds, and in parts of rounds; n blocks, extra 1."""
    each, rounds = ceil(n / splits), N * splits / places
    return ceil(rounds) * (each + 1), max(rounds, 1) * (each + 1)


N, n, places = 64, 8192 // 32, 2 * 132
many = sorted({ceil(n / ceil(n / s)) for s in range(1, 33)})
whole, parts = zip(*(model(N, n, s, places) for s in many), strict=True)

# %% tags=["hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Time against the number of splits, 1 to 32. In whole rounds it falls steeply to its lowest point at 4 splits, jumps up by more than half at 5, and falls and jumps again in smaller teeth. In parts of rounds it is the same up to 4 splits, then nearly level, rising a little. At 8, 12 and 16 splits, the bottoms of the teeth, the two nearly touch. In the solved notebook a dot marks 4 splits."}}
plt.plot(many, whole, marker=".", label="whole rounds")
plt.plot(many, parts, label="parts of rounds")
if passed:
    plt.plot(*plan(N, 8192, 32, places, 1), "o", label="your plan")
plt.gca().set(xlabel="splits", ylabel="time, in blocks", ylim=(0, None))
plt.legend()
plt.show()

# %% [markdown]
# Up to four, where all programs are in one round, and again, nearly, where the
# last round is nearly full: at 8, 12, 16. Four splits make 256 programs for
# 264 places; the fifth is one too many, and costs more than half of the time
# again. minidiff's own rule is in `busy`: one round, if it gets nearly full,
# else about four rounds, and no split below 256 keys. Is it as good as the
# search?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
cpu = torch.device("cpu")  # stands for 132 multiprocessors
print("heads   keys   minidiff: splits, time   search: splits, time")
for N, S in ((8, 8192), (16, 8192), (64, 8192), (128, 8192), (300, 8192)):
    n, rule = S // 32, busy(N, S, cpu)
    time, _ = model(N, n, rule, places)
    line = f"{N:5d} {S:6d} {rule:17d} {time:6.0f}"
    if passed:
        splits, best = plan(N, S, 32, places, 1)
        line += f" {splits:16d} {best:6d}"
        assert best <= time
    print(line)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert model(300, 256, 7, places)[0] == 304

# %% [markdown]
# It is, but for 300 heads: there 4 splits take 325, and the best, 7 splits,
# 304. And is the *model* good? The first version of minidiff's rule asked for
# four programs a multiprocessor. That made 9 splits in the case of the
# picture. The change to 4 was measured on one NVIDIA H200, and its two times,
# in milliseconds, stand in `book/results/kernel-log.md`:

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
before, after = (model(64, 256, s, places)[0] for s in (9, 4))
print(f"9 splits against 4, foretold {before / after:.2f} times as long")
print(f"recorded               {0.1555 / 0.1395:.2f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert before / after > 1.3 > 1.2 > 0.1555 / 0.1395

# %% [markdown]
# The right choice, and a poor estimate. In the model an empty place is lost.
# But decoding waits for memory, which all programs share: where few are left
# in the last round, each gets its keys sooner. Rounds say *which* number of
# splits to try, and a measurement says what it is worth.
#
# ## A cache in use
#
# In problem P2.2 four texts of unequal length shared one cache, and behind
# each text stood whatever an earlier one had left:
#
# ```
# place    0   1   2   3   4   5   6   7   8   9
# text 0   k   k   k   k   k   k   k   k   k   ?
# text 1   k   k   ?   ?   ?   ?   ?   ?   ?   ?
# ```
#
# Some models also have layers with a *window*: a token sees the last $W$ keys
# only. Let $W = 5$ and splits have 3 keys. Text 0 sees places 4 to 8. How do
# you cut them? Cutting the *cache* gives 0 to 2, 3 to 5, 6 to 8 and 9: the
# first and the last program have nothing to do, and the second one key less.
# Cutting *what is seen* gives 4 to 6 and 7 to 8. Text 1 sees two keys, and its
# second split is empty. What does it write?
#
# ## Problem P3.4: what is seen is cut
#
# *Hard, 25 minutes.* If you have P3.1, copy its body: a few lines change. What
# joins the parts is P3.2's kernel, unchanged, so an empty split must have no
# share. The check reads along: no key that is not seen may be touched. With a
# window of a hundred in a cache of thousands that is the whole gain, and
# values would not show it. (Only the interpreter can read along.)


# %% tags=["stub:P3.4"]
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
    # your code


# %% tags=["check:P3.4"]
passed = check.exP3_4(window_kernel)

# %% [markdown]
# Three texts, a window of 20, and NaN behind each text. The judge is the eager
# operator, which gets the keys seen and no other.

# %%
q, k, v, lam = drawn(B=3, S=60)
lengths = [60, 9, 33]
for b, n in enumerate(lengths):
    k[b, :, :, n:] = v[b, :, n:] = torch.nan


def row_by_row(W: int) -> Tensor:
    """Each text alone, in float64, with the keys that it sees."""
    rows = []
    for b, n in enumerate(lengths):
        see = slice(max(n - W, 0), n)
        heads = q[b], k[b, :, :, see], v[b, :, see], lam[b]
        rows.append([x[None].double() for x in heads])
    return torch.cat([diff_attention(*r, backend="eager") for r in rows])


# %%
def ours(W: int, splits: int) -> Tensor:
    """Your two kernels: a split has what it takes to cover W keys."""
    for_each = torch.tensor(lengths, dtype=torch.int32, device=DEVICE)
    for_each = for_each.repeat_interleave(v.shape[1])  # one a key head
    groups, split = by_groups(q, k, v), ceil(min(W, 60) / splits)
    parts = cut(window_kernel, *groups, splits, split, for_each, last=W)
    return join(*parts, lam)


# %%
if passed and join_passed:
    for W, splits in ((20, 3), (5, 2), (1, 1), (100, 4)):
        assert (ours(W, splits) - row_by_row(W)).abs().max() < 1e-5
        print(f"window {W:3d}, {splits} splits: differs by < 1e-5")

# %% [markdown]
# One kernel serves all: a window of 100 is none, for texts of 60 tokens. A
# step with a window of 20 reads 20 keys, however long the text has become.
#
# ## What you have now
#
# A decoding step in two kernels, exact for any number of splits, texts of any
# lengths and any window, and a way to choose the number. minidiff's
# `decode_kernel` and `combine_kernel` are the same algorithm without a window.
# They keep top, sum and $u$ instead of a finished output, which saves a
# division; they take a few tokens at once as further rows; and the second one
# ends with the norm.
#
# Proven are values, and what is touched, at the sizes tried. Not that it is
# fast: the interpreter has no rounds, it runs one program after another. The
# solutions of the three kernels compile for a Hopper GPU [test].
#
# Last, all of them held together: the shipped kernels, yours if you have
# them, and the eager operator in float64, on the three texts.

# %%
held = torch.tensor(lengths, dtype=torch.int32, device=DEVICE)
given = Arguments(q, k, v, lam, scale=q.shape[-1] ** -0.5, key_lengths=held)
theirs = decode(given, splits=4)
assert (theirs - row_by_row(60)).abs().max() < 1e-5
print("minidiff's decode and the eager operator: differ by < 1e-5")
if passed and join_passed:
    assert (ours(60, 4) - theirs).abs().max() < 1e-5
    print("yours and minidiff's: differ by < 1e-5")

# %% [markdown]
# ## Further reading
#
# - Dao, Haziza, Massa and Sizov, *Flash-Decoding for long-context inference*
#   (2023): splits of the keys, for one softmax.
# - Osama and others, *Stream-K*, arXiv 2301.03598: what to do about the
#   last, half-empty round.
# - `minidiff/ops/triton/kernels/decode.py`, whole: it is short.
