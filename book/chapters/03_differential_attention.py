# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. Differential attention
#
# By the end of this chapter you will have shown, in a model of noise, that
# subtracting one softmax map from another removes the noise that both of them
# share, and hardly any other.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - compute a differential attention map by hand, and in NumPy;
# - say what its rows sum to, and why it may hold negative weights;
# - measure how much noise the subtraction removes, and when it removes none;
# - compute lambda from its four learned vectors and its schedule;
# - apply the headwise norm, and say what goes wrong without it.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | NumPy arrays and broadcasting | all code here | any NumPy tutorial |
# | softmax and the causal mask | both maps | chapter 1, or as recalled |
# | what noise does to a map | why to subtract | chapter 2, or the cold open |

# %%
from math import exp

import matplotlib.pyplot as plt
import numpy as np

from minidiff import check, plots
from minidiff.check import hint, solution  # noqa: F401
from minidiff.reference import attention_map, softmax

plots.use_style()

# %% [markdown]
# ## A cold open: two wrong rows and a right one
#
# One query looks at 64 keys. One of them, the *needle*, holds what the query
# wants. The scores are noisy, as scores in a real model are. Below are two
# rows of attention weights, made from scores that share 95 % of their noise,
# and a third row that is nothing but the first minus 0.8 times the second.
# Only the first knows the needle: its score there is raised by 3.
#
# Run the two cells. Which key would you say is the needle, from each row?

# %%
rng = np.random.default_rng(92)
shared, own1, own2 = rng.normal(size=(3, 64))
scores1 = np.sqrt(0.95) * shared + np.sqrt(0.05) * own1
scores2 = np.sqrt(0.95) * shared + np.sqrt(0.05) * own2
scores1[20] += 3.0

rows = {"first": softmax(scores1), "second": softmax(scores2)}
rows["difference"] = rows["first"] - 0.8 * rows["second"]

# %% mystnb={"image": {"alt": "Three rows of bars over 64 keys. In the first some other key is taller than key 20, the second has the same tall keys but not key 20, in the third key 20 stands far above small bars of both signs."}}
figure, axes = plt.subplots(3, 1, sharex=True, sharey=True, figsize=(6, 4))
for axis, (name, row) in zip(axes, rows.items(), strict=True):
    axis.bar(np.arange(64), row, color=plots.COLOURS[0])
    axis.set_ylabel(name)
axes[-1].set_xlabel("key")
plt.show()

# %%
for name, row in rows.items():
    loudest, next_one = np.argsort(-np.abs(row))[:2]
    times = abs(row[loudest] / row[next_one])
    print(f"{name:10s}  loudest key {loudest:2d}, {times:.1f} times the next")
assert rows["first"].argmax() != 20 == np.abs(rows["difference"]).argmax()

# %% [markdown]
# The needle is key 20. The first row points elsewhere; only the third points
# at it, and clearly. The third row is what this course is about. The
# Differential Transformer (Ye et al., 2025) replaces every attention map by
# such a difference. In the paper's own measurement, a plain model of 3 billion
# parameters gave between 0.03 and 0.09 of its attention to the answer and
# about half to noise; the differential one gave 0.27 to 0.40 to the answer and
# 0.01 to 0.02 to noise [P, Table 3]. (Letters in brackets name sources: see
# the [bibliography](../book/bibliography.md).)
#
# ## The idea with three keys
#
# Take one query, three keys, and numbers small enough for paper. There are
# two *branches*, two ways of scoring the same keys. The first scores them
# $(\ln 2, 0, 0)$, the second $(0, 0, 0)$. A softmax turns scores into
# $e^{\text{score}}$ divided by their sum, so
#
# - branch 1 gives $(2, 1, 1) / 4$,
# - branch 2 gives $(1, 1, 1) / 3$.
#
# Now subtract $\lambda = 3/4$ of the second from the first:
#
# $$
# \left(\tfrac12, \tfrac14, \tfrac14\right)
# - \tfrac34 \left(\tfrac13, \tfrac13, \tfrac13\right)
# = \left(\tfrac14, 0, 0\right)
# $$
#
# Two keys have weight exactly zero. A softmax cannot do that: it gives every
# key some weight, and many small weights on many useless keys add up to
# *attention noise* (chapter 2).

# %%
first, second = softmax(np.array([[np.log(2), 0, 0], [0, 0, 0]]))
print((first - 0.75 * second).round(4) + 0.0)
assert np.allclose(first - 0.75 * second, [1 / 4, 0, 0])

# %% [markdown]
# ### Exercise 3.1: two softmaxes and a subtraction
#
# *Easy, 5 minutes.* Write the difference for whole matrices of scores
# (`logits`): each row is one query. `softmax` works row by row. Stuck?
# `hint("3.1", 1)`, then 2, then 3, in a cell of your own. The rest of the
# chapter runs without your answer.


# %% tags=["stub:3.1"]
def difference(
    logits1: np.ndarray, logits2: np.ndarray, lam: float
) -> np.ndarray:
    """Return softmax(logits1) - lam * softmax(logits2), row by row.

    logits1 and logits2 (T, S); lam a number; the result (T, S).
    """
    # your code


# %% tags=["check:3.1"]
check.ex03_1(difference)

# %% [markdown]
# ## From queries and keys to a map
#
# A reminder. A language model reads *tokens*, pieces of text, each one a
# vector. Matrix products make of each token a *query*, a *key* and a *value*.
# There are $T$ queries and $S$ keys, each $D$ wide: $q$ has shape $(T, D)$,
# $k$ has shape $(S, D)$. An attention *map* is, as in equation 1.3,
#
# $$
# A = \operatorname{softmax}\!\left(\frac{q\,k^\top}{\sqrt D} + M\right)
# $$
#
# with the softmax taken over each row. The *causal mask* $M$ is $-\infty$ for
# every later token, so that its weight is 0, and 0 elsewhere. If there are
# more keys than queries, the last query is aligned with the last key: query
# $t$ sees keys $0$ to $t + S - T$. In NumPy the map is `attention_map(q, k)`,
# imported above; chapter 1 writes it.
#
# What query $t$ gets is the sum of all values, each times its weight in row
# $t$: $O = A\,v$. Queries, keys, values and map together are one attention
# *head*. A layer has several.
#
# A *differential head* has two queries and two keys for each token,
# $q_1, q_2, k_1, k_2$, each $D$ wide, and so two maps $A_1$ and $A_2$. It
# has one set of values $v$, and these are $2D$ wide. Its output is
#
# $$
# O = \left(A_1 - \lambda A_2\right) v
# \tag{3.1}
# $$
#
# This is equation 1 of the paper. Three details are easy to miss. The
# subtraction comes *after* the two softmaxes. The
# scale is $\sqrt D$, the width of one branch, not of both. And $\lambda$ is
# one number for all heads of a layer.


# %% tags=["same:minidiff.reference.diff_map"]
def diff_map(
    q1: np.ndarray,
    k1: np.ndarray,
    q2: np.ndarray,
    k2: np.ndarray,
    lam: float,
    causal: bool = True,
) -> np.ndarray:
    """The differential map A1 - lam A2 of one head, shape (T, S)."""
    A1 = attention_map(q1, k1, causal)
    A2 = attention_map(q2, k2, causal)
    return A1 - lam * A2


# %% [markdown]
# What do the rows sum to? Each row of $A_1$ sums to 1 and each row of $A_2$
# too. So each row of the difference sums to $1 - \lambda$. The first query
# sees only itself: both its weights are 1, and the difference is
# $1 - \lambda$ exactly. For $\lambda \ge 0$ no entry can leave the interval
# from $-\lambda$ to 1. Will there be negative weights? Decide before you run
# the next cell. It shows the three maps of a random head: orange is positive,
# purple is negative, white is zero.

# %% mystnb={"image": {"alt": "Three lower triangular heat maps side by side: A1 and A2 all orange, and their difference with orange and purple cells and many near white."}}
T, D, lam = 12, 8, 0.8
q1, q2, k1, k2 = rng.normal(size=(4, T, D))
A1, A2 = attention_map(q1, k1), attention_map(q2, k2)
A = diff_map(q1, k1, q2, k2, lam)
plots.show_maps([A1, A2, A], ["A1", "A2", "A1 - 0.8 A2"])
plt.show()

# %%
print("row sums        ", A.sum(-1).round(12)[:4])
print("first entry     ", A[0, 0].round(12))
print("smallest, largest", A.min().round(3), A.max().round(3))
print("negative entries", (A < 0).sum(), "of", T * (T + 1) // 2)
assert np.allclose(A.sum(-1), 1 - lam)
assert np.isclose(A[0, 0], 1 - lam)
assert -lam <= A.min() < 0 < A.max() <= 1

# %% [markdown]
# Negative weights are normal here. A head can *subtract* a value, which a
# softmax never could.
#
# ### Exercise 3.2: one whole head
#
# *Medium, 10 minutes.* Now from the tokens' vectors $x$, shape $(T, E)$: $T$
# tokens, each $E$ wide. The matrices $W_q$ and $W_k$ give both branches at
# once, $2D$ columns: the first $D$ are branch 1, the others branch 2. You may
# use `attention_map`.


# %% tags=["stub:3.2"]
def one_head(
    x: np.ndarray,
    Wq: np.ndarray,
    Wk: np.ndarray,
    Wv: np.ndarray,
    lam: float,
) -> np.ndarray:
    """Return the output (T, 2D) of one causal differential head.

    x (T, E); Wq, Wk, Wv (E, 2D). The first D columns of x @ Wq are q1, the
    other D are q2; k1 and k2 likewise; the values are not split.
    """
    # your code


# %% tags=["check:3.2"]
check.ex03_2(one_head)

# %% [markdown]
# ## Noise that cancels, measured
#
# The cold open was one draw, and a picture persuades too easily. We need a
# number. Suppose the value of each key is a random vector: the wanted key's
# value is signal, the rest is noise. The output then holds $w_\star$ times
# the signal, where $w_\star$ is the weight on the wanted key, the *needle*.
# To it come the other values, each times its own weight. Independent random
# numbers add like squares, so the noise has size
# $\sqrt{\sum_{s \ne \star} w_s^2}$. The ratio of the two is the
# *signal-to-noise ratio* of the row:
#
# $$
# \text{SNR} = \frac{|w_\star|}{\sqrt{\sum_{s \ne \star} w_s^2}}
# \tag{3.2}
# $$
#
# It does not change when the whole row is multiplied by a number. So the row
# sum $1 - \lambda$, small or large, plays no part in it.
#
# ### Exercise 3.3: signal and noise of a row
#
# *Easy, 5 minutes.*


# %% tags=["stub:3.3"]
def signal_to_noise(weights: np.ndarray, needle: int) -> float:
    """Return |weight on the needle| / root of the summed squares elsewhere.

    weights (S,): one row of a map; needle: the index of the key we want.
    """
    # your code


# %% tags=["check:3.3"]
check.ex03_3(signal_to_noise)

# %% [markdown]
# Now a model of noise. The scores of both branches are random, and a number
# $\rho$ between 0 and 1 says how much of their noise they share: at
# $\rho = 1$ the two branches see the same noise, at $\rho = 0$ each has its
# own. Only branch 1 knows the needle: its score for key 0 is raised by 3.
# The function draws many such pairs of rows.


# %%
def noisy_rows(
    rho: float, keys: int = 64, draws: int = 2000, lift: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows A1, A2 (draws, keys) whose noise is shared to degree rho."""
    rng = np.random.default_rng(1)
    shared, own1, own2 = rng.normal(size=(3, draws, keys))
    scores1 = np.sqrt(rho) * shared + np.sqrt(1 - rho) * own1
    scores2 = np.sqrt(rho) * shared + np.sqrt(1 - rho) * own2
    scores1[:, 0] += lift
    return softmax(scores1), softmax(scores2)


# %%
def median_snr(A: np.ndarray) -> float:
    """Median over the rows of A of eq. 3.2, the needle being key 0."""
    noise = np.sqrt((A[:, 1:] ** 2).sum(-1))
    return float(np.median(np.abs(A[:, 0]) / noise))


A1, A2 = noisy_rows(rho=0.9)
plain, diff = median_snr(A1), median_snr(A1 - 0.8 * A2)
needle, other = A1[:, 0].mean(), A1[:, 1:].mean()
print(f"needle's weight in A1    {needle:.2f}")
print(f"mean of the others       {other:.4f}, {needle / other:.0f} times less")
print(f"SNR of A1                {plain:.2f}")
print(f"SNR of A1 - 0.8 A2       {diff:.2f}")
assert diff > 2 * plain

# %% [markdown]
# The first map gives the needle a fifth of all weight, many times the mean of
# the others. Still signal and noise are of equal size, because the others are
# many and a few of them are loud. The difference more than doubles the ratio.
#
# How much of this is due to the choice of $\lambda$, and how much to the
# shared noise? Sweep both. Before you run the cell, sketch the curve for
# $\rho = 0$, where the branches share nothing.

# %% mystnb={"image": {"alt": "Signal-to-noise ratio against lambda from 0 to 1.2 for four degrees of shared noise. With 0.95 shared it rises above 3 near lambda 0.8 and falls again; with nothing shared it never rises much above its start and then falls."}}
lams = np.linspace(0, 1.2, 25)
for rho in (0.95, 0.9, 0.5, 0.0):
    A1, A2 = noisy_rows(rho)
    ratios = [median_snr(A1 - lam * A2) for lam in lams]
    plt.plot(lams, ratios, label=f"{rho:.0%} shared")
    print(f"{rho:.0%} shared: best lambda {lams[np.argmax(ratios)]:.2f}")
plt.xlabel("lambda")
plt.ylabel("signal-to-noise ratio")
plt.legend()
plt.show()

# %% [markdown]
# Three things to see.
#
# 1. The more noise is shared, the higher the peak. The subtraction removes
#    what the branches have in common, and only that.
# 2. There is a best $\lambda$, and it is not 1. Branch 1 spends $w_\star$ of
#    its weight on the needle. So, with all noise shared, its noise is nearly
#    $1 - w_\star$ times that of branch 2, and $\lambda = 1 - w_\star$ nearly
#    cancels it. Here $w_\star$ is about a fifth, and the upper curves peak
#    near four fifths. (Not exactly, as each row has a $\lambda$ of its own:
#    exercise 2.4.) With less shared noise the second map also brings in noise
#    of its own, so the best $\lambda$ is smaller.
# 3. Past the peak the gain is lost again.
#
# ### The control that fails
#
# If the benefit came from having two maps, or from the subtraction as such,
# it would survive when the two branches see unrelated noise. It does not:

# %%
A1, A2 = noisy_rows(rho=0.0)
for lam in (0.0, 0.3, 0.8, 1.0):
    print(f"nothing shared, lambda {lam}: SNR {median_snr(A1 - lam * A2):.2f}")
print(f"a constant 0.8 / 64 subtracted: SNR {median_snr(A1 - 0.8 / 64):.2f}")
assert median_snr(A1 - 0.8 * A2) < median_snr(A1)

# %% [markdown]
# Two independent noises do not cancel; their squares add. What a small
# $\lambda$ still gains is the flat part that all softmax rows have in common,
# and the last line shows that plain subtraction of a constant does that
# better. So the second microphone of a noise-cancelling headphone is a fair
# picture in this one respect: it helps much only if it hears the same noise
# as the first.
#
# Nothing in equation 3.1 makes the branches share their noise. Training would
# have to find that, and whether it does is a question about trained models.
# Chapter 15 looks inside one that you train, and chapter 19 will ask larger
# ones.
#
# ## Lambda: one learned number a layer
#
# Each layer learns its own $\lambda$. It is not a bare parameter: it comes
# from four learned vectors of width $D$, so that it learns at the pace of
# the other weights [P, sec. 2.1]; chapter 4 measures a step. This is equation
# 2 of the paper:
#
# $$
# \lambda = e^{\lambda_{q_1} \cdot \lambda_{k_1}}
# - e^{\lambda_{q_2} \cdot \lambda_{k_2}} + \lambda_{\text{init}}
# \tag{3.3}
# $$
#
# If all four vectors are zero, both exponentials are 1 and $\lambda$ is
# $\lambda_{\text{init}}$. That constant is fixed, not learned, and grows
# with depth. The paper counts layers from 1; we count from 0, and then it is
# [P, sec. 2.1]
#
# $$
# \lambda_{\text{init}}(\ell) = 0.8 - 0.6\,e^{-0.3\,\ell}
# \tag{3.4}
# $$


# %% tags=["same:minidiff.reference.lambda_init"]
def lambda_init(depth: int) -> float:
    """The constant of eq. 3.4; depth counts layers from 0."""
    return 0.8 - 0.6 * exp(-0.3 * depth)


# %%
for layer in (0, 1, 3, 7, 15, 23):
    print(f"layer {layer:2d}  lambda_init {lambda_init(layer):.4f}")

# %% [markdown]
# So training begins with a first layer that subtracts little, and deep ones
# that subtract nearly 0.8 of the second map [P, sec. 2.1].
#
# ### Exercise 3.4: lambda of a layer
#
# *Easy, 5 minutes.* From the four vectors and the layer's number.


# %% tags=["stub:3.4"]
def lam_of_layer(
    lq1: np.ndarray,
    lk1: np.ndarray,
    lq2: np.ndarray,
    lk2: np.ndarray,
    layer: int,
) -> float:
    """Return lambda of one layer; layers count from 0.

    Four learned vectors (D,), one layer's own.
    """
    # your code


# %% tags=["check:3.4"]
check.ex03_4(lam_of_layer)

# %% [markdown]
# The official code starts the vectors as random numbers with standard
# deviation 0.1 [U]. So $\lambda$ does *not* start at
# $\lambda_{\text{init}}$, only near it. How near? A product of two such
# numbers has standard deviation $0.1^2$; a dot product adds up $D$ of them,
# and there are two. Near 0, $e^x$ moves as $x$ does. So expect
# $0.1^2 \sqrt{2D}$. Draw many starts for $D = 64$ in layer 0:

# %%
rng = np.random.default_rng(5)
lq1, lk1, lq2, lk2 = 0.1 * rng.normal(size=(4, 20_000, 64))
starts = np.exp((lq1 * lk1).sum(-1)) - np.exp((lq2 * lk2).sum(-1))
starts += lambda_init(0)
expected = 0.1**2 * np.sqrt(2 * 64)
print(f"0.1 squared is {0.1**2:.2f}; expected deviation {expected:.2f}")
print(f"mean {starts.mean():.2f}, standard deviation {starts.std():.2f}")
print(f"share of starts below zero: {(starts < 0).mean():.0%}")
assert abs(starts.std() - expected) < 0.005

# %% [markdown]
# In the first layer some models begin by *adding* a little of the second
# map. Nothing breaks: $\lambda$ may have any sign.
#
# ## The headwise norm
#
# One problem is left. A head whose map is sharp puts out large vectors. A
# head whose map is flat averages many values and puts out small ones, and
# the subtraction makes these smaller still, since a flat row keeps only
# $1 - \lambda$ of its weight. The heads of a layer are joined end to end and
# multiplied by one matrix, so the loud ones would drown the quiet ones.


# %%
def random_head(sharpness: float) -> np.ndarray:
    """The output (T, Dv) of one random head with scaled-up queries."""
    rng = np.random.default_rng(7)
    q1, k1, q2, k2 = rng.normal(size=(4, 64, 16))
    v = rng.normal(size=(64, 32))
    return diff_map(sharpness * q1, k1, sharpness * q2, k2, 0.5) @ v


heads = np.stack([random_head(s) for s in (0.1, 1.0, 4.0)])  # (H, T, Dv)
sizes = np.sqrt((heads**2).mean(-1))[:, -1]
for name, size in zip(("flat", "medium", "sharp"), sizes, strict=True):
    print(f"{name:6s} head, last token: root mean square {size:.3f}")
assert sizes[2] > 5 * sizes[0]

# %% [markdown]
# The cure is a root-mean-square norm, *RMSNorm*, of each head by itself:
# divide each head's vector, for each token, by its root mean square. Then
# multiply by the constant $1 - \lambda_{\text{init}}$. The paper's reason is
# that an output without a norm would be about that large early in training;
# so the constant keeps the size of the gradients as in a plain Transformer
# [P, app. G]. Chapter 4 measures where that holds. Equation 3 of the paper,
# for head output $o$ with $2D$ numbers (*channels*) and a learned weight $g$,
# also $2D$ numbers, that all heads of the layer share:
#
# $$
# y = (1 - \lambda_{\text{init}})\;
# \frac{o}{\sqrt{\operatorname{mean}(o^2) + \varepsilon}}\; g
# \tag{3.5}
# $$
#
# The mean runs over the channels of one head and one token, nothing else.
# Figures in the paper call it GroupNorm, which it is not: `torch`'s
# GroupNorm subtracts a mean and pools over the tokens too (chapter 8).
#
# ### Exercise 3.5: the headwise norm
#
# *Medium, 10 minutes.* Leave out the weight $g$, as if it were 1.


# %% tags=["stub:3.5"]
def normed_heads(o: np.ndarray, layer: int, eps: float = 1e-5) -> np.ndarray:
    """Return (1 - lam_init) * RMSNorm(o), each head and token by itself.

    o (H, T, Dv): the heads' outputs; lam_init is that of the layer, from 0.
    """
    # your code


# %% tags=["check:3.5"]
check.ex03_5(normed_heads)

# %% [markdown]
# Here is ours, with the weight. Every head of every token comes out with the
# same size, $1 - \lambda_{\text{init}}$.


# %% tags=["same:minidiff.reference.headwise_norm"]
def headwise_norm(
    o: np.ndarray,
    weight: np.ndarray | float = 1.0,
    scale: float = 1.0,
    eps: float = 1e-5,
) -> np.ndarray:
    """The norm of eq. 3.5: o (..., H, T, Dv), weight (Dv,)."""
    rms = np.sqrt((o**2).mean(-1, keepdims=True) + eps)
    return scale * o / rms * weight


# %%
layer = 3
y = headwise_norm(heads, scale=1 - lambda_init(layer))
print("sizes before", sizes.round(3))
print("sizes after ", np.sqrt((y**2).mean(-1))[:, -1].round(3))
print(f"1 - lambda_init({layer}) = {1 - lambda_init(layer):.3f}")
assert np.allclose(np.sqrt((y**2).mean(-1)), 1 - lambda_init(layer), atol=0.01)

# %% [markdown]
# Is the norm needed? The paper tried without. The differential model then
# predicted text less well than the plain one, and with the norm better
# [P, Table 6]; chapter 8 has the numbers.
#
# ## A check of this chapter
#
# Every implementation in this course is held against a slower one that is
# easier to believe. Below this chapter stand plain Python loops, one
# multiplication at a time; above it, `minidiff`.

# %%
from minidiff import reference

rng = np.random.default_rng(11)
for T, S in ((9, 9), (3, 8), (1, 5)):
    q1, q2 = rng.normal(size=(2, T, 6))
    k1, k2 = rng.normal(size=(2, S, 6))
    v = rng.normal(size=(S, 12))
    ours = diff_map(q1, k1, q2, k2, 0.6) @ v
    loops = reference.diff_head_loops(q1, k1, q2, k2, v, 0.6)
    head = reference.diff_head(q1, k1, q2, k2, v, 0.6)
    assert np.abs(ours - loops).max() < 1e-12
    assert np.abs(ours - head).max() < 1e-12
    print(f"T = {T}, S = {S}: loops, chapter, minidiff differ by < 1e-12")

# %%
x = rng.normal(size=(2, 5, 8))
theirs = reference.diff_map(x[0], x[1], x[1], x[0], 0.6)
assert np.array_equal(diff_map(x[0], x[1], x[1], x[0], 0.6), theirs)
assert np.array_equal(headwise_norm(x), reference.headwise_norm(x))
assert lambda_init(4) == reference.lambda_init(4)
print("this chapter's functions and minidiff's are equal")

# %% [markdown]
# ## Common mistakes
#
# - **Subtracting before the softmax.** $\operatorname{softmax}(s_1 -
#   \lambda s_2)$ is one softmax again: no zeros, no negative weights.
# - **Scaling by $\sqrt{2D}$.** Each branch is $D$ wide.
# - **Splitting the values.** Both maps read the same values, $2D$ wide.
# - **Counting layers from 1 in a formula that counts from 0.** The schedule
#   is then one layer early everywhere: the first layer gets the second's.
# - **Normalising the rows to sum to 1.** They sum to $1 - \lambda$, and the
#   headwise norm takes care of the size.
# - **One norm over all heads together**, or `torch.nn.GroupNorm`. It is one
#   root mean square for each head and each token.
#
# Chapter 8 shows how tests find most of these.
#
# ## Summary
#
# - A softmax gives every key some weight, and the small weights on many
#   useless keys add up to noise.
# - The difference of two softmaxes can hold zeros and negative weights. Its
#   rows sum to $1 - \lambda$.
# - The subtraction cancels the noise that both branches share. Noise they do
#   not share gets larger.
# - $\lambda$ is one number a layer, learned through four vectors around a
#   constant that grows with depth.
# - Each head is normalised by itself and scaled by
#   $1 - \lambda_{\text{init}}$.
#
# ## Further reading
#
# - Ye et al., *Differential Transformer*, arXiv 2410.05258: the paper. Read
#   section 2 now; it will look familiar. [P]
# - The authors' reference code, `microsoft/unilm`, folder
#   `Diff-Transformer`: three files that compute what you computed. [U]
# - *Differential Transformer V2*, a post by the authors: what they changed a
#   year later, and why. Read it after chapter 5. [B2]
# - Vaswani et al., *Attention Is All You Need*, 2017: where the formula for
#   $A$ comes from.
