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
# share, and that a needle and its lambda can be learned together.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - say what the rows of a differential map sum to, and write its head;
# - measure how much noise the subtraction removes, and when it removes none;
# - say where lambda and the widths of a head come from;
# - let a needle and its lambda learn together.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | NumPy, `attention_map`, the causal mask | all code here | chapter 1 |
# | needle, lift, noise in the scores | why to subtract | chapter 2 |

# %%
from math import exp

import matplotlib.pyplot as plt
import numpy as np

from minidiff import check, plots, reference
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course.head_diagram import show_head
from minidiff.reference import attention_map, softmax

plots.use_style("svg")

# %% [markdown]
# ## A cold open: which token do they all look for?
#
# Below are two causal attention maps of 12 tokens. Every query wants the same
# *needle*, one of the 12 keys. Only the first map knows it: there the needle's
# score is raised by 2. The rest is noise, nearly the same in both maps: `q2`
# and `k2` are `q1` and `k1` with a little noise of their own. The third map is
# the first minus 0.8 times the second. Orange is positive, purple negative;
# the strongest colours also stand for what lies beyond the scale. (The draw
# was picked for clarity; later we average.) Which key is the needle? Try each
# map alone.

# %%
rng = np.random.default_rng(1047)
T, D, lam, needle = 12, 8, 0.8, rng.integers(3, 6)
q1, k1, own_q, own_k = 1.2 * rng.normal(size=(4, T, D))
q1[:, 0], k1[:, 0] = 2.0, 0.0  # channel 0 is for the needle alone
q2, k2 = q1 + 0.15 * own_q, k1 + 0.15 * own_k
k1[needle, 0] = np.sqrt(D)  # its score grows by 2 sqrt(D) / sqrt(D)

A1, A2 = attention_map(q1, k1), attention_map(q2, k2)
A = A1 - lam * A2

# %% mystnb={"image": {"alt": "Three lower triangular heat maps side by side. A1 and A2 are orange, with strong cells in much the same places, in several columns. In the difference the column of key 3 is orange in every row from 3 on; most other cells are near zero, a few purple."}}
plots.show_maps([A1, A2, A], ["A1", "A2", "A1 - 0.8 A2"], limit=0.7)
plt.show()

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
rows = np.arange(needle + 1, T)  # the queries that can choose
for name, weights in {"A1": A1, "A2": A2, "difference": A}.items():
    right = (np.abs(weights[rows]).argmax(-1) == needle).sum()
    print(f"{name:10s} largest weight on the needle: {right} of {len(rows)}")

# %% [markdown]
# The needle is key 3. The third map is what this course is about: the
# Differential Transformer (Ye et al., 2025) replaces every attention map by
# such a difference. In the paper's measurement, a plain model of 3 billion
# parameters gave 0.03 to 0.09 of its attention to the answer and about half
# to noise; the differential one gave 0.27 to 0.40 to the answer and 0.01 to
# 0.02 to noise [P, Table 3].
#
# ## The idea with three keys
#
# Take one query and three keys, scored by two *branches*. Branch 1 gives the
# scores $(\ln 2, 0, 0)$, branch 2 gives $(0, 0, 0)$. Softmax turns these into
# $(2, 1, 1)/4$ and $(1, 1, 1)/3$. Subtract $\lambda = \tfrac34$ times the
# second from the first:
#
# $$
# \left(\tfrac12, \tfrac14, \tfrac14\right)
# - \tfrac34 \left(\tfrac13, \tfrac13, \tfrac13\right)
# = \left(\tfrac14, 0, 0\right)
# $$
#
# Two keys have weight exactly zero, which no softmax can do (chapter 2). That
# was luck: branch 2 had just the right row. Is there such a row for every row
# of branch 1?
#
# ### Exercise 3.1: be branch 2
#
# *Easy, 5 minutes.* Branch 1 has made its row, and $\lambda$ is given. Choose
# branch 2's row so that only the needle is left. Like every softmax row it
# sums to 1. How much will the needle keep? Stuck? `hint("3.1", 1)`, then 2,
# then 3, in a cell of your own. The chapter runs without your answer.


# %% tags=["stub:3.1"]
def perfect_partner(row1: np.ndarray, needle: int, lam: float) -> np.ndarray:
    """Return row2 so that row1 - lam * row2 is 0 at all keys but the needle.

    row1 (S,): the weights of one softmax row; needle: the index of the key we
    want; lam: a number, at least 1 - row1[needle]. row2 (S,) sums to 1.
    """
    # your code


# %% tags=["check:3.1"]
check.ex03_1(perfect_partner)

# %%
partner = check.mine("3.1")
row1 = softmax(np.array([1.0, 0.3, -0.5, 0.8]))
print("branch 1     ", row1.round(3))
print("branch 2     ", partner(row1, 0, 0.8).round(3))
print("difference   ", (row1 - 0.8 * partner(row1, 0, 0.8)).round(3) + 0.0)

# %% [markdown]
# The needle keeps $1 - \lambda$, whatever it had before. It has to: each row
# of $A_1$ sums to 1, each row of $A_2$ too, so each row of the difference sums
# to $1 - \lambda$. And $\lambda$ must be at least $1 - w_\star$, with
# $w_\star$ the needle's weight in row 1: the other keys hold that much weight,
# and $\lambda$ times a softmax row can cancel at most $\lambda$. Remember this
# bound; it comes back.
#
# ## One differential head
#
# A differential head has two queries and two keys for each token, each $D$
# wide, and so two maps. It has one set of values, and these are $2D$ wide:

# %% mystnb={"image": {"alt": "Block diagram, left to right. From the tokens x come q1 and k1 in blue, q2 and k2 in orange, each T by D, and v in green, T by 2D. q1 and k1 enter a softmax that gives A1, q2 and k2 one that gives A2. Both maps and lambda, one a layer, enter A1 minus lambda A2. This map times v is T by 2D, and goes through a norm and a factor one minus lambda init."}}
show_head()
plt.show()

# %% [markdown]
# Up to the norm, which comes later, this is equation 1 of the paper:
#
# $$
# O = \left(A_1 - \lambda A_2\right) v, \qquad
# A_i = \operatorname{softmax}\!\left(\frac{q_i\,k_i^\top}{\sqrt D} + M\right)
# \tag{3.1}
# $$
#
# $M$ is the causal mask of equation 1.3, the same for both branches; with more
# keys than queries, the last query is aligned with the last key. Three details
# are easy to miss. The subtraction comes *after* the two softmaxes. The scale
# is $\sqrt D$, the width of one branch, not of both. And $\lambda$ is one
# number for all heads of a layer.
#
# **Why are the values $2D$ wide?** Two maps take the queries and keys of two
# plain heads. So where a plain layer has $2H$ heads of width $D$, this one
# has $H$. With values $D$ wide they would put out $HD$ numbers, half of the
# plain layer's. With values $2D$ wide it is $2HD$ again. The matrices for
# queries, keys, values and output then have the sizes of the plain layer's,
# and the two models can be compared fairly [P, sec. 2.1].


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
# Back to the third map. Before you run the cell: what is its first entry,
# where the query sees only itself? And between which two numbers do all
# entries lie?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
A = diff_map(q1, k1, q2, k2, lam)
print("row sums         ", A.sum(-1).round(12)[:4])
print("first entry      ", A[0, 0].round(12))
print("smallest, largest", A.min().round(3), A.max().round(3))
print("negative entries ", (A < 0).sum(), "of", T * (T + 1) // 2)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert np.allclose(A.sum(-1), 1 - lam)
assert np.isclose(A[0, 0], 1 - lam)
assert -lam <= A.min() < 0 < A.max() <= 1

# %% [markdown]
# No entry leaves the interval from $-\lambda$ to 1, and negative weights are
# normal. With one, a head *subtracts* a value, which a softmax never could.
#
# ### Exercise 3.2: one whole head
#
# *Medium, 8 minutes.* Now from the tokens' vectors $x$, shape $(T, E)$. The
# matrices $W_q$ and $W_k$ give both branches at once, $2D$ columns: the first
# $D$ are branch 1, the others branch 2. You may use `attention_map`.


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
# One draw persuades too easily; we need a number. Suppose the values are
# random vectors. The output holds $w_\star$ times the needle's value, the
# signal. The other values are added, each times its own weight. The squares
# of independent random numbers add, so this noise has size
# $\sqrt{\sum_{s \ne \star} w_s^2}$. For many rows take the mean
# $\langle\,\rangle$ of the weight and of the squared noise. Signal over noise
# is the *signal-to-noise ratio*:
#
# $$
# \text{SNR} = \frac{|\langle w_\star \rangle|}
# {\sqrt{\langle \sum_{s \ne \star} w_s^2 \rangle}}
# \tag{3.2}
# $$
#
# If all rows are multiplied by a number, the ratio stays. So it does not
# matter that rows of the difference sum to less than 1.
#
# Next we need scores for both branches that share a part $\rho$ of their
# noise, from 0 to 1. Let $z$, $z_1$ and $z_2$ be independent with variance 1,
# and
#
# $$
# x_1 = \sqrt{\rho}\; z + \sqrt{1 - \rho}\; z_1, \qquad
# x_2 = \sqrt{\rho}\; z + \sqrt{1 - \rho}\; z_2
# $$
#
# Why the roots? A factor in front of a random number enters its variance
# squared. With the roots, $x_1$ and $x_2$ have variance
# $\rho + (1 - \rho) = 1$ at every $\rho$, and their covariance, which only
# $z$ makes, is $\sqrt\rho\,\sqrt\rho = \rho$. So $\rho$ is their correlation,
# and changing it changes nothing else.


# %%
def noisy_scores(rho: float, keys: int = 64, rows: int = 1000) -> tuple:
    """Draw scores x1, x2 (rows, keys) whose correlation is rho."""
    rng = np.random.default_rng(1)
    z, z1, z2 = rng.normal(size=(3, rows, keys))
    shared = np.sqrt(rho) * z
    return shared + np.sqrt(1 - rho) * z1, shared + np.sqrt(1 - rho) * z2


def snr(A: np.ndarray) -> float:
    """Eq. 3.2 for rows A (rows, keys) whose needle is key 0."""
    return abs(A[:, 0].mean()) / np.sqrt((A[:, 1:] ** 2).sum(-1).mean())


NEEDLE = np.eye(64)[0]  # 1 at key 0, 0 elsewhere

# %% [markdown]
# Branch 1 raises its needle by 3, and we sweep $\lambda$ from 0, which is
# plain attention. Before you run the cell, sketch two curves: 95 % of the
# noise shared, and nothing shared.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Signal-to-noise ratio against lambda from 0 to 1.2 for four degrees of shared noise. All start near 1.2. With 95 percent shared it rises to about 3.5 near lambda 0.8 and falls again; with nothing shared it rises to about 1.3 near 0.3 and falls below its start."}}
lams, curves = np.linspace(0, 1.2, 25), {}
for rho in (0.95, 0.9, 0.5, 0.0):
    x1, x2 = noisy_scores(rho)
    A1, A2 = softmax(x1 + 3 * NEEDLE), softmax(x2)
    curves[rho] = [snr(A1 - lam * A2) for lam in lams]
    plt.plot(lams, curves[rho], label=f"{rho:.0%} shared")
plt.xlabel("lambda")
plt.ylabel("signal-to-noise ratio")
plt.legend()
plt.show()

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for rho, curve in curves.items():
    print(f"{rho:4.0%} shared: SNR {curve[0]:.1f} at lambda 0,", end=" ")
    print(f"at best {max(curve):.1f} at {lams[np.argmax(curve)]:.2f}")
A1 = softmax(noisy_scores(0.95)[0] + 3 * NEEDLE)
print(f"mean weight on the needle in A1: {A1[:, 0].mean():.2f}")

# %% [markdown]
# 1. The more noise is shared, the higher the peak. The subtraction removes
#    what the branches have in common, and only that.
# 2. There is a best $\lambda$, and it is not 1. Here $w_\star$ is about a
#    fifth, and the upper curves peak near $1 - w_\star$, the bound of exercise
#    3.1. With less shared noise the second map also brings in noise of its
#    own, and the best $\lambda$ is smaller.
#
# ### The control that fails
#
# The lowest curve is the control. If having two maps were the benefit, it
# would rise like the others.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
x1, x2 = noisy_scores(0.0)
A1, A2 = softmax(x1 + 3 * NEEDLE), softmax(x2)
for lam in (0.0, 0.2, 0.8):
    print(f"nothing shared, lambda {lam}: SNR {snr(A1 - lam * A2):.2f}")
print(f"a constant 0.2 / 64 subtracted: SNR {snr(A1 - 0.2 / 64):.2f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert snr(A1 - 0.8 * A2) < snr(A1) < snr(A1 - 0.2 * A2)
assert snr(A1 - 0.2 * A2) < snr(A1 - 0.2 / 64)
assert max(curves[0.95]) > 2.5 * curves[0.95][0]

# %% [markdown]
# Independent noises do not cancel; their squares add. A small $\lambda$ still
# gains a little, because all softmax rows have a flat part in common, and the
# subtraction removes it. Subtracting a constant does that better (last line).
#
# ## Lambda: one learned number a layer
#
# Each layer learns its own $\lambda$, by four learned vectors of width $D$.
# This is equation 2 of the paper:
#
# $$
# \lambda = e^{\lambda_{q_1} \cdot \lambda_{k_1}}
# - e^{\lambda_{q_2} \cdot \lambda_{k_2}} + \lambda_{\text{init}}
# \tag{3.3}
# $$
#
# **Why this form?** The paper's reason is that $\lambda$ then learns at the
# pace of the other weights [P, sec. 2.1]; chapter 4 measures one step. An
# author adds that it worked better than learning the number directly (issue
# 1663 of the official code). With one exponential, $\lambda$ could only lie
# above a constant; with the difference of two it can go up and down. If all
# vectors are zero, both exponentials are 1 and $\lambda =
# \lambda_{\text{init}}$.
#
# $\lambda_{\text{init}}$ is a constant of the layer, not learned. With layers
# counted from 0 (the paper counts from 1) it is [P, sec. 2.1]
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
# **Why this schedule?** The first layer begins by subtracting little, deep
# ones by subtracting nearly 0.8 of the second map. The paper does not derive
# it, but tries others: with 0.8 or 0.5 in all layers, the loss of a
# 1.4-billion model rises from 3.062 to 3.065 or 3.066 [P, Table 6]. So it
# matters little. In the official code, [U], the vectors start as random
# numbers of standard deviation 0.1. So $\lambda$ starts only *near*
# $\lambda_{\text{init}}$.
#
# ## The headwise norm
#
# A head that leaves only the needle puts out $1 - \lambda$ times one value. A
# head with a flat map averages many values and puts out far less. The heads
# of a layer are joined and multiplied by one matrix, so the loud ones would
# drown the quiet ones. The cure is *RMSNorm*: divide each head's vector, for
# each token, by its root mean square. This is equation 3 of the paper, for a
# head's output $o$ with $2D$ numbers (*channels*) and a learned weight $g$
# that all heads of the layer share:
#
# $$
# y = (1 - \lambda_{\text{init}})\;
# \frac{o}{\sqrt{\operatorname{mean}(o^2) + \varepsilon}}\; g
# \tag{3.5}
# $$
#
# The factor in front keeps gradients as large as in a plain Transformer early
# in training, says the paper [P, app. G]; chapter 4 measures it. The paper's
# figures call the norm GroupNorm, but `torch`'s GroupNorm does something else
# (chapter 8).
#
# ### Exercise 3.3: the headwise norm
#
# *Easy, 5 minutes.* Leave out the weight $g$, as if it were 1. The mean runs
# over the channels of one head and one token, nothing else.


# %% tags=["stub:3.3"]
def normed_heads(o: np.ndarray, layer: int, eps: float = 1e-5) -> np.ndarray:
    """Return (1 - lam_init) * RMSNorm(o), each head and token by itself.

    o (H, T, Dv): the heads' outputs; lam_init is that of the layer, from 0.
    """
    # your code


# %% tags=["check:3.3"]
check.ex03_3(normed_heads)

# %% [markdown]
# Is it needed? With the norm, a 1.4-billion differential model reached a loss
# of 3.062; without it 3.122, worse than the plain model's 3.087 [P, Table 6].
#
# ## A needle that learns
#
# So far we chose the lift and swept $\lambda$. A model has to find both. The
# norm makes the size of an output irrelevant, so what counts is the SNR. Let
# lift and $\lambda$ climb it together, from hardly any lift and
# $\lambda = 0.2$. Predict first: where will $\lambda$ be while the lift is
# small, and where when the needle has half of its row? You know a bound.
#
# ### Exercise 3.4: a needle and its own lambda
#
# *Hard, 20 minutes.* The slope says how fast the goal grows with a number.
# Measure it: nudge the number up by $h = 10^{-4}$, then down, and divide the
# difference of the two goals by $2h$. Each step measures both slopes at the
# same place, then moves both numbers, each by `rate` times its slope. The
# goal is the logarithm of the SNR, whose slopes stay moderate.


# %% tags=["stub:3.4"]
def learned_needle(
    noise1: np.ndarray,
    noise2: np.ndarray,
    needle: int,
    start: tuple[float, float],
    rate: float,
    steps: int,
) -> np.ndarray:
    """Return (lift, lam) at the start and after each step, (steps + 1, 2).

    noise1, noise2 (N, S): the scores of N rows in both branches. Branch 1
    adds lift to its scores of the needle, branch 2 does not. start: the first
    lift and lam. Each step moves both by rate times their slope in
    log(SNR), with the SNR of eq. 3.2.
    """
    # your code


# %% tags=["check:3.4"]
check.ex03_4(learned_needle)

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
learn, x = check.mine("3.4"), noisy_scores(0.95)
lifts, lams = learn(*x, 0, (0.5, 0.2), 0.05, 100).T
A1 = softmax(x[0] + lifts[:, None, None] * NEEDLE)
found = A1[..., 0].mean(-1)  # the needle's mean weight at each step
for step in (0, 20, 40, 60, 80, 100):
    print(f"step {step:3d}: lift {lifts[step]:.1f},", end=" ")
    print(f"1 - needle's weight {1 - found[step]:.2f},", end=" ")
    print(f"lambda {lams[step]:.2f}")

# %% tags=["hide-output", "hide-input"] jupyter={"outputs_hidden": true, "source_hidden": true} mystnb={"image": {"alt": "Three curves against the step, 0 to 100. One minus the needle's weight falls slowly from 0.98 to about a half. Lambda with 95 percent shared noise rises steeply from 0.2, meets that line after about 20 steps and follows it down. Lambda with nothing shared stays between 0 and 0.3."}}
plt.plot(lams, label="lambda, 95% of the noise shared")
plt.plot(1 - found, label="1 - the needle's weight in A1")
plt.plot(learn(*noisy_scores(0.0), 0, (0.5, 0.2), 0.05, 100)[:, 1])
plt.gca().lines[-1].set_label("lambda, nothing shared")
plt.gca().set(xlabel="step", ylim=(0, 1.5))
plt.legend(loc="upper right")
plt.show()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert lams.max() > 0.85 and abs(lams - (1 - found))[25:].max() < 0.05

# %% [markdown]
# First $\lambda$ hurries up to meet the line $1 - w_\star$. Then it follows
# the line down: the louder the needle, the less noise there is to cancel.
# Nobody told it the rule. Where the branches share nothing, it stays low.
#
# What is it worth? Guess how many steps it takes until signal and noise are
# equal, with and without shared noise.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for rho in (0.95, 0.0):
    x1, x2 = noisy_scores(rho)
    path = learn(x1, x2, 0, (0.5, 0.2), 0.05, 100)
    A2 = softmax(x2)
    maps = (softmax(x1 + lift * NEEDLE) - lam * A2 for lift, lam in path)
    ratios = np.array([snr(A) for A in maps])
    print(f"{rho:4.0%} shared: SNR above 1 after", end=" ")
    print(f"{(ratios < 1).sum()} steps, {ratios[-1]:.1f} at the end")

# %% [markdown]
# Without shared noise nearly all of the rise comes from the lift. With it, the
# subtraction saves more than half of the steps.
#
# **Would a trained model do this?** Here branch 2 was given. It heard the
# noise already, and only the lift and $\lambda$ had to be found. In a model
# branch 2 is learned as well, and nothing in equation 3.1 makes it listen to
# branch 1's noise. The loss rewards whatever helps to predict, and a second
# map can help in another way: it can look at *other* tokens than the first and
# take their values away. In models as small as ours, training mostly finds
# such a second map with another use. In the one you train in chapter 15, some
# second maps look at the query's own token, where the first has little weight.
# There $\lambda$ becomes small, and setting it to 0 costs next to nothing. A
# model trained for longer, in the same chapter, does need its second maps, and
# we do not know for what. So cancelling noise is the idea behind the formula.
# What a trained head does with it has to be measured.
#
# ## A check of this chapter
#
# Our head against plain Python loops, and against `minidiff`:

# %%
rng = np.random.default_rng(11)
for T, S in ((9, 9), (3, 8), (1, 5)):
    q1, q2 = rng.normal(size=(2, T, 6))
    k1, k2 = rng.normal(size=(2, S, 6))
    v = rng.normal(size=(S, 12))
    ours = diff_map(q1, k1, q2, k2, 0.6) @ v
    for other in (reference.diff_head_loops, reference.diff_head):
        assert np.abs(ours - other(q1, k1, q2, k2, v, 0.6)).max() < 1e-12
    print(f"T = {T}, S = {S}: loops, chapter, minidiff differ by < 1e-12")
o, scale = rng.normal(size=(2, 5, 8)), 1 - lambda_init(4)
theirs = reference.headwise_norm(o, scale=scale)
assert np.abs(check.mine("3.3")(o, 4) - theirs).max() < 1e-12
assert lambda_init(4) == reference.lambda_init(4)

# %% [markdown]
# ## Common mistakes
#
# - **Subtracting before the softmax.** $\operatorname{softmax}(s_1 -
#   \lambda s_2)$ is one softmax again: no zeros, no negative weights.
# - **Scaling by $\sqrt{2D}$.** Each branch is $D$ wide.
# - **Splitting the values.** Both maps read the same values, $2D$ wide.
# - **Counting layers from 1** in a formula that counts from 0.
# - **Normalising the rows to sum to 1.** They sum to $1 - \lambda$, and the
#   headwise norm takes care of the size.
# - **One norm over all heads together.** It is one root mean square for each
#   head and each token.
#
# ## Summary
#
# - A differential map can hold zeros and negative weights. Its rows sum to
#   $1 - \lambda$.
# - The subtraction cancels the noise that both branches share. Noise they do
#   not share gets larger.
# - With shared noise the best $\lambda$ lies near $1 - w_\star$, and climbing
#   the SNR finds it. A layer learns one $\lambda$.
# - A differential head takes the place of two plain heads: two maps, values
#   twice as wide. Each head is normalised by itself.
#
# ## Further reading
#
# - Ye et al., *Differential Transformer*, arXiv 2410.05258: the paper. Read
#   section 2 now; it will look familiar. [P]
# - The authors' reference code, `microsoft/unilm`, folder
#   `Diff-Transformer`: three files that compute what you computed. [U]
# - *Differential Transformer V2*, a post by the authors: what they changed a
#   year later, and why. Read it after chapter 5. [B2]
