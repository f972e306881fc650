# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. Attention noise, measured
#
# By the end of this chapter you will have shown, in models small enough to
# compute, how the weight of one wanted key is lost among many others, why a
# sharper softmax does not save it, and how much of the noise a second map can
# remove.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - compute which share of the weight one wanted key gets among many others,
#   and the score it needs;
# - say how much of that share random scores cost;
# - say when a sharper softmax helps, and when it does not;
# - compute how much noise one subtraction can remove;
# - (optional) explain why some keys only collect weight: *attention sinks*.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | softmax and attention weights | everything | chapter 1 |
# | mean, variance, the normal distribution | noise | any statistics course |
# | derivative of a square | exercise 2.4 | any calculus course |

# %%
import json

import matplotlib.pyplot as plt
import numpy as np

from minidiff import check, course, plots, reference
from minidiff.check import hint, solution  # noqa: F401
from minidiff.reference import softmax

plots.use_style("svg")

# %% [markdown]
# ## A cold open: one key among many
#
# One key, the *needle*, holds what the query wants. Its score is 3 higher
# than the score of every other key, so its weight is $e^3$, about 20 times,
# the weight of any other. What share of the whole row does it get among 10
# keys? Among 100, 1000, 10 000? Write four guesses down, then run.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for keys in (10, 100, 1000, 10_000):
    scores = np.zeros(keys)
    scores[0] = 3.0
    print(f"{keys:6,d} keys: the needle gets {softmax(scores)[0]:.1%}")

# %% [markdown]
# Each other key gets 20 times less than the needle, and thousands of them
# together take nearly everything. This is *attention noise*: weight on keys
# that do not matter. It has been measured in a real model, a plain Transformer
# with 3 billion parameters. Asked for a fact hidden in a long text, it gave
# between 0.03 and 0.09 of its attention to the answer and about half to noise
# [P, Table 3]. ([P] is the paper that this course is about.) What follows is
# computed in far simpler models. We claim it for trained models only where a
# source or a recording is named.
#
# ## Why a softmax cannot be zero
#
# The ratio of two softmax weights is $e^{s_i - s_j}$, with $s_i$ and $s_j$
# their scores. No finite difference of scores makes that zero. One
# small weight does no harm; the sum of all of them does. Let the needle
# stand $\delta$ above $n$ other keys, the *distractors*, all equal. We call
# $\delta$ its *lift*. Its share of the row is
#
# $$
# w_\star = \frac{e^{\delta}}{e^{\delta} + n}
# = \frac{1}{1 + n\,e^{-\delta}}
# \tag{2.1}
# $$
#
# ### Exercise 2.1: several needles
#
# *Easy, 4 minutes.* Now $m$ needles, each lifted by $\delta$, and $n$
# distractors. What share do the needles get together?


# %% tags=["stub:2.1"]
def needle_share(lift: float, distractors: int, needles: int = 1) -> float:
    """Return the weight of all needles together in one softmax row.

    Each needle's score is lift, each distractor's is 0.
    """
    # your code


# %% tags=["check:2.1"]
check.ex02_1(needle_share)

# %% [markdown]
# Guess before you look: if the lift doubles from 4 to 8, how many times as
# many distractors leave the needle the same share?

# %%
needle_share = check.mine("2.1")

# %% tags=["hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Share of the needle against the number of distractors from 1 to a million, on a logarithmic axis, for lifts 4, 8 and 12. Three falling curves of one shape, each further to the right; a lift of 4 drops through one half near 55 distractors, 8 near 3000, 12 near 160000."}}
n = np.logspace(0, 6, 200)
for lift in (4, 8, 12):
    plt.semilogx(n, [needle_share(lift, x) for x in n], label=f"lift {lift}")
plt.gca().set(xlabel="distractors", ylabel="share of the needle")
plt.legend()
plt.show()

# %% [markdown]
# It is one curve, shifted. Each 4 more of lift buys $e^4$, about 55 times,
# as many distractors.
#
# ### Exercise 2.2: the lift it takes
#
# *Easy, 4 minutes.* The other way round: which lift gives a needle the share
# that we want?


# %% tags=["stub:2.2"]
def lift_needed(share: float, distractors: int) -> float:
    """Return the lift that gives one needle this share, 0 < share < 1."""
    # your code


# %% tags=["check:2.2"]
check.ex02_2(lift_needed)

# %%
lift_needed = check.mine("2.2")
print("distractors     lift for a share of 1/2    9/10   99/100")
for n in (100, 1000, 10_000, 100_000):
    half, most, nearly_all = (lift_needed(p, n) for p in (0.5, 0.9, 0.99))
    print(f"{n:11,d} {half:27.1f} {most:7.1f} {nearly_all:8.1f}")

# %% [markdown]
# Every factor of ten in the number of keys asks for the same extra lift. Every
# further nine in the share, from 9/10 to 99/100, asks for nearly as much.
#
# ## Noise in the scores
#
# Real scores are not all equal. Let each distractor's score be $\sigma z$,
# with $z$ a standard normal random number and $\sigma$ the noise level. The
# mean of the scores is still 0. Below is one row: a needle with lift 3 and 40
# distractors, at three noise levels. Predict what happens to the needle's
# bar.

# %%
rng = np.random.default_rng(2)
z = rng.normal(size=40)

# %% tags=["hide-output", "hide-input"] jupyter={"outputs_hidden": true, "source_hidden": true} mystnb={"image": {"alt": "Three rows of 41 bars, the needle first and in orange. Without noise it stands high above 40 equal low bars. At noise 1 it is lower and the others are uneven. At noise 2 two distractors are taller than the needle."}}
figure, axes = plt.subplots(3, 1, sharex=True, sharey=True, figsize=(6, 3.6))
for axis, sigma in zip(axes, (0, 1, 2), strict=True):
    bars = axis.bar(range(41), softmax(np.append(3.0, sigma * z)))
    bars[0].set_color(plots.COLOURS[1])
    axis.set(title=f"noise {sigma}", ylabel="weight")
axes[-1].set_xlabel("key (the needle is key 0)")
plt.show()

# %% [markdown]
# It loses to keys whose scores are high by accident; we call them *loud*.
# Other keys became quieter. Why does that not make up for it? Two distractors
# with scores 0 and 0 weigh $e^0 + e^0 = 2$ against the needle. With scores
# $+1$ and $-1$ they weigh:

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
print(f"e^1 + e^-1 = {np.exp(1) + np.exp(-1):.2f}")

# %% [markdown]
# An exponential raises a loud key by more than it lowers a quiet one. The mean
# of $e^{\sigma z}$ over many draws, written with a bar, is known:
#
# $$
# \overline{e^{\sigma z}} = e^{\sigma^2/2}
# \tag{2.2}
# $$
#
# (Write the mean as an integral over the bell curve $e^{-z^2/2}$ and complete
# the square.) In equation 2.1 each distractor adds $e^0 = 1$. Put the mean in
# its place:
#
# $$
# \overline{w_\star} \ge \frac{1}{1 + n\,e^{\sigma^2/2 - \delta}}
# \tag{2.3}
# $$
#
# **Noise acts as if there were $e^{\sigma^2/2}$ times as many distractors.**
# The right side is a floor and not the mean itself. The share is $1/(1+X)$
# with a random $X$. This curve bends upwards (it is convex), so the mean of
# the shares lies above the share at the mean of $X$.
#
# ### Exercise 2.3: measure it
#
# *Medium, 7 minutes.* Now simulate. One row of `noise` gives one softmax row.
# Average the needle's share over the rows.


# %% tags=["stub:2.3"]
def mean_share(lift: float, noise: np.ndarray) -> float:
    """Return the mean over the rows of the needle's softmax weight.

    noise (draws, n): the distractors' scores. The needle, one more key, has
    score lift.
    """
    # your code


# %% tags=["check:2.3"]
check.ex02_3(mean_share)

# %% [markdown]
# Theory against your simulation. We give the needle the lift $2 + \ln n$. Then
# $n\,e^{-\delta} = e^{-2}$, so the floor is the same for all $n$. At which
# noise, and for which $n$, will the simulated shares lie well above it?

# %%
mean_share = check.mine("2.3")
levels = np.linspace(0, 4, 17)
simulated = {}
for n in (10, 100, 1000):
    z = rng.normal(size=(1000, n))
    simulated[n] = [mean_share(2 + np.log(n), s * z) for s in levels]

# %% tags=["hide-output", "hide-input"] jupyter={"outputs_hidden": true, "source_hidden": true} mystnb={"image": {"alt": "Mean share of the needle against noise from 0 to 4. All curves start at 0.88 and fall. The simulation with 1000 distractors stays near the thick grey floor, down to almost 0. That with 100 lies above it from noise 1.5 on, and that with 10 from noise 1 on: it ends at 0.2."}}
for n, line in simulated.items():
    plt.plot(levels, line, label=f"{n} distractors, simulated")
floor = 1 / (1 + np.exp(levels**2 / 2 - 2))
plt.plot(levels, floor, "-", color="grey", lw=5, alpha=0.5, label="floor")
plt.gca().set(xlabel="noise in the scores", ylabel="mean share of the needle")
plt.legend()
plt.show()

# %% [markdown]
# With many keys and little noise the floor is the answer. With few keys or
# much noise the share lies above it: the mean in equation 2.2 owes its size to
# rare, very loud draws, and a row of 10 keys seldom holds one.
#
# ## What a lower temperature can do
#
# Divide all scores of a row by a *temperature* $\tau$ below 1, and the row
# gets sharper. A model can learn this: longer queries make a colder softmax.
# The number $1/\tau$ says how cold it is. Before you run: with 1000
# distractors and $\sigma = 1$, will a needle of lift 2 win in a very cold
# softmax? One of lift 4?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
z = rng.normal(size=(1000, 1000))
cold = (1, 2, 4, 8, 24)
print("mean share at coldness 1/tau =", *(f"{c:7d}" for c in cold))
for lift in (2, 3, 4):
    shares = [mean_share(c * lift, c * z) for c in cold]
    print(f"needle of lift {lift}              ", end=" ")
    print(*(f"{share:7.1%}" for share in shares))
print(f"loudest of 1000 distractors, median: {np.median(z.max(-1)):.1f}")

# %% [markdown]
# In the coldest softmax all weight goes to the loudest key. A needle louder
# than the loudest distractor gains from every bit of cold. One that is clearly
# quieter gets little at its best temperature, and nothing in the coldest. Lift
# 3 stands on the border: in the coldest softmax it wins about a quarter of the
# rows, and so its mean share is about a quarter.
#
# So the lift itself has to grow, and more keys ask for more of it. Trained
# scores do get large. In the paper the largest was 318.0 in the plain model
# and 38.8 in the differential one [P, Table 5]. The table does not say why.
#
# Could a model learn to subtract a constant from each key's score instead?
# That would remove only what is the same in every text, and noise changes with
# the text. To cancel it, the model has to *hear* it, in this text, a second
# time: it needs a second map.
#
# ## Hear the noise twice
#
# A noise-cancelling headphone has a second microphone that hears the noise
# and not the music. Its circuit, a *differential amplifier*, subtracts the
# second wire times some gain $\lambda$:
# $(\text{music} + \text{hum}) - \lambda\,\text{hum}$. The music passes
# whole, and $1 - \lambda$ of the hum is left.
#
# Differential attention, the subject of chapter 3, does this with two maps,
# $A_1 - \lambda A_2$. Here is one row of each: 32 keys, the needles first and
# in orange. Nine keys in ten have the same noise in both rows. The needles'
# scores are lifted in $A_1$ only.
#
# Weights may now be negative, so we measure shares with absolute values: the
# needles' divided by all keys'. (If we kept the signs, positive and negative
# noise would cancel in the sum. The paper does not say how its Table 3 treats
# signs.)


# %%
def share_of(rows: np.ndarray, needles: int = 1) -> float:
    """Share of the first keys in the absolute weights, all rows together."""
    sizes = np.abs(rows)
    return float(sizes[..., :needles].sum() / (sizes.sum() + 1e-12))


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def draw(needles: int, noise: float, lam: float) -> plt.Figure:
    rng = np.random.default_rng(2)
    first, other = noise * rng.normal(size=(2, 32))
    second = np.where(rng.random(32) < 0.9, first, other)
    lift = np.where(np.arange(32) < needles, 3.0, 0.0)
    A1, A2 = softmax(first + lift), softmax(second)
    rows = {"A1": A1, "lam A2": lam * A2, "A1 - lam A2": A1 - lam * A2}
    fig, axes = plt.subplots(3, 1, sharex=True, sharey=True, figsize=(6, 4))
    colours = np.where(lift > 0, plots.COLOURS[1], plots.COLOURS[0])
    for axis, (name, row) in zip(axes, rows.items(), strict=True):
        axis.bar(np.arange(32), row, color=colours)
        title = f"{name}: needles hold {share_of(row, needles):.0%}"
        axis.set(title=title, ylabel="weight", ylim=(-0.2, 0.5))
    return fig


# %% [markdown]
# In JupyterLab, move the sliders, with the mouse or with Tab and the arrow
# keys. At `noise` 0, which `lam` makes the distractors of one needle vanish,
# and what happens beyond it? At `noise` 2, does one `lam` still silence them
# all? (The answers stand at the end of the chapter.)

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Three rows of bars over 32 keys. In A1 the needle, key 0 in orange, holds 25 percent, and key 26 is nearly as tall. Lambda times A2 has the same tall keys without the needle. In the difference the needle stands far above small bars of both signs and holds 52 percent."}}
plots.sliders(
    draw, needles=(1, 4, 1, 1), noise=(0, 2, 0.1, 1.5), lam=(0, 1.2, 0.01, 0.6)
)

# %% [markdown]
# What about the amplifier's own way, to subtract the *scores* before a single
# softmax? Let all noise be shared, the best case for both ways, with 64 keys
# and a needle of lift 3. Which leaves the needle the larger share?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
hum = rng.normal(size=(1000, 64))
music = np.zeros(64)
music[0] = 3.0
A1, A2 = softmax(hum + music), softmax(hum)
scores_first = softmax((hum + music) - hum)
print(f"nothing subtracted:        {share_of(A1):.2f}")
print(f"scores, before a softmax:  {share_of(scores_first):.2f}")
print(f"0.8 times the weights:     {share_of(A1 - 0.8 * A2):.2f}")

# %% [markdown]
# Subtracted scores lose the hum entirely, and are back at equation 2.1: still
# a softmax, with no zeros. Subtracted weights can come near zero, and do.
#
# They do not reach it, though all noise was shared. In each row the
# distractors of $A_1$ and $A_2$ are proportional, so some $\lambda$ cancels
# them completely. But each row has a $\lambda$ of its own, because each
# softmax divides by the sum of its row. A layer has a single one [P, eq. 2].
#
# ### Exercise 2.4: one lambda for all rows
#
# *Hard, 20 minutes.* Which single $\lambda$ leaves the least noise, and how
# much? Let the noise be the sum of squares of $A_1 - \lambda A_2$ over all
# rows and all keys but the needle. Write it down, set its derivative with
# respect to $\lambda$ to zero, and solve. Begin with one row of two
# distractors on paper.


# %% tags=["stub:2.4"]
def quietest_lambda(
    A1: np.ndarray, A2: np.ndarray, needle: int
) -> tuple[float, float]:
    """Return the one lam with the least noise, and the share that is left.

    A1, A2 (N, S): N pairs of rows. The noise of A1 - lam A2 is the sum of
    squares over all rows and all keys but the needle, whose index is needle.
    The share that is left is this noise divided by the noise of A1 alone.
    """
    # your code


# %% tags=["check:2.4"]
check.ex02_4(quietest_lambda)

# %% [markdown]
# ### The control that fails
#
# The subtraction works because both rows have the same noise. Take that away
# step by step: in the second row, more and more keys get a new random score.
# Sketch both curves first: the best $\lambda$, and the share of the noise that
# it leaves.

# %%
quietest_lambda = check.mine("2.4")
other, luck = rng.normal(size=(1000, 64)), rng.random(size=(1000, 64))
parts, found = np.linspace(0, 1, 21), []
for part in parts:  # the part of the keys whose noise is the same
    heard = np.where(luck < part, hum, other)
    found.append(quietest_lambda(A1, softmax(heard), 0))
print(f"left with half of the noise shared: {found[10][1]:.0%}")

# %% tags=["hide-output", "hide-input"] jupyter={"outputs_hidden": true, "source_hidden": true} mystnb={"image": {"alt": "Best lambda and noise left against the shared part of the noise, from 0 to 1. Lambda rises from about 0.3 to 0.8. The noise left falls from about 0.85 slowly at first and steeply at the end, to a few hundredths at 1."}}
plt.plot(parts, found, label=["best lambda", "share of the noise left"])
plt.gca().set(xlabel="part of the keys with the same noise", ylim=(0, 1))
plt.legend()
plt.show()

# %% [markdown]
# With all noise shared almost nothing is left. With half of it shared, about
# half is. (At the left end something is still removed: the mean level of
# the weights, which both rows have.) So the analogy with the headphone ends
# here: a circuit is built so that both wires pick up the same hum. Two maps
# are *learned*, and nothing in the formula makes the second hear what the
# first hears. Whether it does is a question for measurements, in chapter 3
# and Part V.
#
# ## Common mistakes
#
# - **Forgetting the needle in its own denominator.** $n$ distractors make a
#   row of $n + 1$ keys.
# - **Reading equation 2.3 as the share.** It is a floor, sharp only with many
#   keys and little noise.
# - **Comparing weights whose rows sum to different totals.** A row of
#   $A_1 - \lambda A_2$ sums to $1 - \lambda$: compare shares.
#
# ## Summary
#
# - No softmax weight is zero. A needle's share falls with the number of keys,
#   and ten times as many keys always ask for the same extra lift.
# - Noise in the scores acts like $e^{\sigma^2/2}$ times as many keys, until
#   single loud keys take over.
# - A colder softmax helps a needle that is the loudest key. It cannot save
#   one that is not.
# - A second branch with the same noise can cancel most of it, but not
#   all of it, since one $\lambda$ serves all rows. Chapter 3 builds it.
#
# ## Further reading
#
# - Ye et al., *Differential Transformer*, arXiv 2410.05258: Figure 1 and
#   Table 3, attention noise measured in trained models. [P]
# - *Differential Transformer V2*, a post by the authors, also on sinks. Read
#   it after chapter 5. [B2]
# - Xiao et al., *Efficient Streaming Language Models with Attention Sinks*,
#   arXiv 2309.17453: where sinks got their name.
#
# ## Answers to the sliders, and a check
#
# At `noise` 0 a distractor has $1/(31 + e^3)$ in $A_1$ and $1/32$ in $A_2$, so
# `lam` is $32/(31 + e^3)$, nearly five eighths. Beyond it distractors become
# negative, and the share falls again. At `noise` 2 no `lam` silences them all:
# some keys have another noise in the second row.
#
# `minidiff` makes its rows from queries and keys. If the keys are $\sqrt{S}$
# times the unit matrix, the queries *are* the scores, and both must agree:

# %%
keys = np.sqrt(64) * np.eye(64)
theirs = reference.diff_map(hum + music, keys, hum, keys, 0.8, causal=False)
assert np.abs(theirs - (A1 - 0.8 * A2)).max() < 1e-12
print("this chapter's maps and minidiff's differ by < 1e-12")

# %% [markdown]
# ## Optional: attention sinks
#
# What does a head do that finds nothing? A softmax row sums to 1, so it must
# still put its weight somewhere, and its output is a mean of values that it
# does not need. It can avoid that if one key serves as a drain, with a score
# that is high for every query and a value that is small. Such a key is an
# *attention sink*.
#
# In chapter 1's map, most words with nothing to copy looked at the first one
# of the sentence. Is that a drain? Predict the length of the first one's
# value, compared with the others', and then the length of the head's output.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
record = json.loads(course.results("trained_heads.json").read_text())
head = {n: np.array(record["heads"]["copying"][n]) for n in ("v", "map")}
lengths = np.linalg.norm(head["v"], axis=-1)
outputs = np.linalg.norm(head["map"] @ head["v"], axis=-1)
idle = head["map"][1:, 0] > 0.5  # mostly looking at the first word
print(f"value of the first word {lengths[0]:.1f}", end="")
print(f", the others {lengths[1:].min():.1f} to {lengths[1:].max():.1f}")
print(f"output: idle {outputs[1:][idle].mean():.1f}, the largest ", end="")
print(f"{outputs.max():.1f}, at word {outputs.argmax()}")

# %% [markdown]
# The first word has the shortest value, though other words come close. When
# the head looks there, its output is less than half as long as the longest,
# where it has found something: word 5, the second *the*, looks at *name*,
# which stood after the first. That is one head of one small model and one
# sentence. In the paper's plain model the first token, a mark for the
# beginning (BOS), took 0.32 of the attention; in the differential one, 0.19
# [P, Figure 1]. That it serves as a drain there is our reading: the figure
# shows its weight, not its value.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert (np.array(simulated[1000]) > floor - 0.01).all()
assert simulated[10][-1] > 0.1 > 0.02 > simulated[1000][-1]
assert shares[-1] > 0.9 and abs(32 / (31 + np.exp(3)) - 5 / 8) < 0.01
assert lengths.argmin() == 0 and outputs.argmax() == 5
assert outputs[1:][idle].mean() < outputs.max() / 2
assert share_of(A1 - 0.8 * A2) > 2 * share_of(scores_first)
assert found[-1][1] < 0.05 and found[10][1] > 0.45
