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
# compute, how the weight of one wanted key drowns among many others, and
# why neither a colder softmax nor longer training cures it.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - compute a needle's share of a row, and the lift it needs;
# - say what noise in the scores costs, and where the formula for it ends;
# - find the best temperature, and say when there is none;
# - explain attention sinks by what a row sums to;
# - say where the picture of noise-cancelling fits attention, and where not.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | softmax and attention weights | everything | chapter 1 |
# | mean, variance, the normal distribution | noise | any statistics course |
# | derivative of $e^x$ and $\ln x$ | derivations | any calculus course |

# %%
from math import erf

import matplotlib.pyplot as plt
import numpy as np

from minidiff import check, plots, reference
from minidiff.check import hint, solution  # noqa: F401
from minidiff.reference import softmax

plots.use_style()

# %% [markdown]
# ## A cold open: one key among many
#
# One key, the *needle*, holds what the query wants. Its score is 3 higher
# than the score of every other key, so its weight is $e^3$, about 20 times,
# the weight of any other. What share of the whole row does it get among 10
# keys? Among 100, 1000, 10 000? Write four guesses down, then run.

# %%
shares = {}
for keys in (10, 100, 1000, 10_000):
    scores = np.zeros(keys)
    scores[0] = 3.0
    shares[keys] = softmax(scores)[0]
    print(f"{keys:6,d} keys: the needle gets {shares[keys]:.1%}")
assert shares[10] > 0.6 and shares[10_000] < 0.003

# %% [markdown]
# Each other key gets 20 times less than the needle, and thousands of them
# take nearly everything. This is *attention noise*: weight on keys that do not
# matter. In a real model it has been measured. A plain Transformer with 3
# billion parameters, asked for a hidden fact, gave between 0.03
# and 0.09 of its attention to the answer and about half to noise
# [P, Table 3]. What follows is true of far simpler models, and of trained
# ones only where a source key stands.
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
# *Easy, 5 minutes.* Now $m$ needles, each lifted by $\delta$, and $n$
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
# Guess before the next figure: if the lift doubles from 4 to 8, how many
# times as many distractors can the needle stand?

# %% mystnb={"image": {"alt": "Share of the needle against the number of distractors from 1 to a million, on a logarithmic axis, for lifts 4, 8 and 12. Three falling curves of one shape, each further to the right; a lift of 4 drops through one half near 55 distractors, 8 near 3000, 12 near 160000."}}
n = np.logspace(0, 6, 200)
for lift in (4, 8, 12):
    plt.semilogx(n, 1 / (1 + n * np.exp(-lift)), label=f"lift {lift}")
plt.xlabel("distractors")
plt.ylabel("share of the needle")
plt.legend()
plt.show()

# %% [markdown]
# It is one curve, shifted. Each 4 more of lift buys $e^4$, about 55 times,
# as many distractors.
#
# ### Exercise 2.2: the lift it takes
#
# *Easy, 5 minutes.* Solve equation 2.1 for the lift.


# %% tags=["stub:2.2"]
def lift_needed(share: float, distractors: int) -> float:
    """Return the lift that gives one needle this share, 0 < share < 1."""
    # your code


# %% tags=["check:2.2"]
check.ex02_2(lift_needed)

# %%
print("distractors     lift for a share of 1/2    9/10   99/100")
for n in (100, 1000, 10_000, 100_000):
    half, most, nearly_all = np.log(n) + np.log([1, 9, 99])
    print(f"{n:11,d} {half:27.1f} {most:7.1f} {nearly_all:8.1f}")

# %% [markdown]
# ## Noise in the scores
#
# Real scores are not all equal. Take two distractors, and instead of 0 and 0
# let their scores be $+1$ and $-1$. The mean is still 0. Is the weight
# against the needle still $e^0 + e^0 = 2$?

# %%
print(f"e^1 + e^-1 = {np.exp(1) + np.exp(-1):.2f}")

# %% [markdown]
# It is more: $e^x$ raises a loud key more than it lowers a quiet one. So
# noise of mean zero does not cancel out. Let each distractor's
# score be $\sigma z$, with $z$ a standard normal random number and
# $\sigma$ the noise level. The needle's score stays clean. The mean of
# $e^{\sigma z}$ follows by completing a square:
#
# $$
# \int e^{\sigma z}\,\frac{e^{-z^2/2}}{\sqrt{2\pi}}\,dz
# = e^{\sigma^2/2} \int \frac{e^{-(z-\sigma)^2/2}}{\sqrt{2\pi}}\,dz
# = e^{\sigma^2/2}
# \tag{2.2}
# $$
#
# The last integral is a bell around $z = \sigma$, of area 1. So the mean
# is made by draws near $\sigma$. For a large $\sigma$ these are rare.
#
# In equation 2.1 each distractor adds $e^0 = 1$. Put the mean in its place:
#
# $$
# \overline{w_\star} \ge \frac{1}{1 + n\,e^{\sigma^2/2 - \delta}}
# \tag{2.3}
# $$
#
# Noise acts as if there were $e^{\sigma^2/2}$ times as many distractors. The
# bar is a mean over many rows, and the right side is a floor for it: one
# row's share is $1/(1+X)$ with a random $X$, and that curve bends upwards, so
# its mean lies above its value at the mean of $X$.
#
# ### Exercise 2.3: measure it
#
# *Medium, 8 minutes.* Now simulate. One row of `noise` gives one softmax row.
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
# Now theory against simulation. We give the needle the lift $2 + \ln n$, so
# that the floor is the same for all $n$. Where will the simulations leave it?

# %%
rng = np.random.default_rng(2)
levels = np.linspace(0, 4, 17)
floor = 1 / (1 + np.exp(levels**2 / 2 - 2))
simulated = {}
for n in (10, 100, 1000):
    z = rng.normal(size=(1000, n))
    excess = np.array([np.exp(s * z).mean(-1) for s in levels])
    simulated[n] = (1 / (1 + np.exp(-2) * excess)).mean(-1)
    assert (simulated[n] > floor - 0.01).all()
assert simulated[10][-1] > 0.1 > 0.02 > simulated[1000][-1] > floor[-1]

# %% mystnb={"image": {"alt": "Mean share of the needle against noise from 0 to 4. All curves start at 0.88 and fall. The simulation with 1000 distractors stays near the grey floor, down to almost 0. That with 100 lies above it from noise 1.5 on, and that with 10 from noise 1 on: it ends at 0.2."}}
for n, line in simulated.items():
    plt.plot(levels, line, label=f"{n} distractors, simulated")
plt.plot(levels, floor, "k-", lw=4, alpha=0.3, label="floor, equation 2.3")
plt.xlabel("noise in the scores")
plt.ylabel("mean share of the needle")
plt.legend()
plt.show()

# %% [markdown]
# With many keys and little noise the floor is the answer. With few keys or
# much noise the mean share lies above it, because of the bell at
# $z = \sigma$: at $\sigma = 3$ the mean needs draws near 3, and a row of 10
# keys rarely holds one. A key that loud takes much of its row:

# %%
z = rng.normal(size=(1000, 1000))
print("noise   e^(noise squared)   loudest of 1000 has")
for s in (0.0, 1.0, 2.0, 3.0, 4.0):
    loudest = softmax(s * z).max(-1).mean()
    print(f"{s:5.1f} {np.exp(s**2):19,.0f} {loudest:21.1%}")
assert softmax(z).max(-1).mean() < 0.05 < 0.3 < loudest

# %% [markdown]
# By equation 2.2 at $2\sigma$, the mean square of $e^{\sigma z}$ is
# $e^{2\sigma^2}$. So the mean of $n$ draws has a relative error of
# $\sqrt{(e^{\sigma^2} - 1)/n}$, and equation 2.3 is sharp when $n$ is large
# against $e^{\sigma^2}$.
#
# ## What temperature can do
#
# Divide all scores of a row by a *temperature* $\tau$ below 1, and the row
# gets sharper. A model can learn this: a larger query is a colder
# softmax. The lift becomes $\delta/\tau$. What becomes of the noise?
#
# ### Exercise 2.4: the best temperature
#
# *Medium, 10 minutes.* Put both into equation 2.3, and find the $\tau$ for
# which the floor is highest. Pencil first.


# %% tags=["stub:2.4"]
def best_temperature(
    lift: float, sigma: float, distractors: int
) -> tuple[float, float]:
    """Return the tau that makes the floor of eq. 2.3 highest, and that floor.

    lift and sigma > 0 are those at tau = 1.
    """
    # your code


# %% tags=["check:2.4"]
check.ex02_4(best_temperature)

# %% [markdown]
# Cold multiplies the lift by $1/\tau$, but the $\sigma^2/2$ of the noise by
# $1/\tau^2$. So the floor has a peak. Does the true share have one? Before
# you run: with 1000 distractors and $\sigma = 1$, will a needle of lift 2
# win in a very cold softmax? One of lift 4?

# %%
coldness = np.array([0.5, 1, 1.5, 2, 2.5, 3, 4, 6, 8, 11, 16, 24])
curves, floors = {}, {}
for lift in (4, 3, 2):
    rest = [np.exp(c * (z - lift)).sum(-1) for c in coldness]
    curves[lift] = np.array([(1 / (1 + r)).mean() for r in rest])
    price = coldness**2 / 2 - coldness * lift
    floors[lift] = 1 / (1 + 1000 * np.exp(price))

# %% mystnb={"image": {"alt": "Mean share against one over temperature, both axes logarithmic. Lift 4 rises towards 1 and stays, lift 3 rises to about a quarter and stays, lift 2 peaks below one percent near 2 and falls away. Grey floors follow each curve up to their own peak and then drop."}}
for lift, line in curves.items():
    plt.loglog(coldness, floors[lift], "k-", lw=4, alpha=0.2)
    plt.loglog(coldness, line, label=f"lift {lift}")
plt.ylim(1e-4, 2)
plt.xlabel("coldness, 1 / temperature")
plt.ylabel("mean share of the needle")
plt.legend()
plt.show()

# %% [markdown]
# Up to its peak the grey floor is close. Beyond, it says nothing, and the
# simulation decides. In the cold all weight goes to the loudest key, so the
# mean share tends to the chance that the needle *is* the loudest. All $n$
# distractors must lie below $\delta$. With $\Phi$ the normal
# distribution function this chance is
#
# $$
# \overline{w_\star} \to \Phi(\delta / \sigma)^{\,n} \quad (\tau \to 0)
# \tag{2.4}
# $$
#
# **A control that fails.** If cold were a cure, the last two columns would
# agree for every needle:

# %%
print(f"loudest of 1000 draws, median: {np.median(z.max(-1)):.1f}")
print("lift   is the loudest   best share   share at coldness 24")
for lift in (2, 3, 4):
    chance = (0.5 * (1 + erf(lift / np.sqrt(2)))) ** 1000
    best, cold = curves[lift].max(), curves[lift][-1]
    print(f"{lift:4d} {chance:16.1%} {best:12.1%} {cold:23.1%}")
    assert abs(cold - chance) < 0.03
assert curves[2].argmax() == list(coldness).index(2)  # 1 / tau = lift

# %% [markdown]
# A needle louder than the loudest distractor gains from every bit of cold.
# A needle clearly quieter has a best temperature, with a small share even
# there; colder, it is lost. Lift 3 stands on the border: its mean
# share comes from the quarter of rows that it wins.
#
# ## What longer training can do
#
# Let training raise the lift alone. Take one needle, $n = 1000$ silent
# distractors, the loss $-\ln w_\star$, and one parameter, $\delta$. By
# equation 2.1 the loss is $\ln(1 + n e^{-\delta})$, and its derivative is
#
# $$
# \frac{d(-\ln w_\star)}{d\delta} = -(1 - w_\star)
# \tag{2.5}
# $$
#
# The push is as strong as the noise that is left. How many steps does each
# halving of the noise take?

# %%
lift, step, halvings = 0.0, 0, []
while len(halvings) < 7:
    noise = 1 - 1 / (1 + 1000 * np.exp(-lift))
    if noise < 0.5 ** (len(halvings) + 1):
        halvings.append(step)
        part = 2 ** len(halvings)
        print(f"noise below 1/{part:<3d}: step {step:3d}, lift {lift:4.1f}")
    lift += noise  # gradient descent, learning rate 1
    step += 1
assert 1.6 < halvings[-1] / halvings[-2] < 2.2

# %% [markdown]
# Each halving takes a little more lift, about $\ln 2$, and in the end twice
# the steps: the lift grows like the logarithm of time. (The optimiser of
# chapter 14 can be faster; the lift that is needed stays the same.) Trained
# scores do get large. In the paper the largest was 318.0 in the plain model
# and 38.8 in the differential one [P, Table 5]. The table does not say why.
#
# Could training remove the noise instead? Give each key an offset, added to
# its score, and fit it to one noisy row. The best offsets with mean zero
# make its distractors equal: they are its noise with the sign reversed. Then
# draw new rows:

# %%
lift = 8.0
seen, fresh = 1.5 * rng.normal(size=(2, 500, 1000))
offset = -(seen[0] - seen[0].mean())
for name, noise in {"row it learned": seen[:1], "fresh rows": fresh}.items():
    before, after = (
        (1 / (1 + np.exp(noise + o - lift).sum(-1))).mean()
        for o in (0, offset)
    )
    print(f"{name:14s}  share {before:.2f} before, {after:.2f} after")
assert after < before

# %% [markdown]
# Good on the row it learned, worse than nothing elsewhere: there the old
# noise comes on top, $\sigma^2$ doubles, and the floor falls. A
# constant cannot cancel noise that changes with the input. To cancel it you
# must *hear* it, now, a second time. First, one more way out.
#
# ## Attention sinks
#
# A softmax row sums to 1. So a head that finds nothing must still put its
# weight somewhere, and puts out a mean of random values. Unless one key is a
# drain: its score is high for every query, and its value zero. Such a key
# is an *attention sink*. Guess: what does a sink of score 7 do to a head
# that finds nothing, and to one that has a needle of lift 10?

# %%
scores, values = rng.normal(size=(500, 64)), rng.normal(size=(64, 32))
found = scores.copy()
found[:, 0] += 10
values0 = np.vstack([values, np.zeros(32)])  # the sink's value is zero
print("sink (-inf: none)    rms output, idle    rms output, with a needle")
for sink in (-np.inf, 3, 5, 7):
    sizes = []
    for rows in (scores, found):
        weights = softmax(np.c_[rows, np.full(500, sink)])
        sizes.append(np.sqrt(((weights @ values0) ** 2).mean()))
    print(f"{sink:17.0f} {sizes[0]:19.3f} {sizes[1]:28.2f}")
assert sizes[0] < 0.03 < 0.5 < sizes[1]

# %% [markdown]
# The sink silences the idle head and leaves the one with a needle nearly
# alone. In the paper's plain model the first token, a mark for the beginning
# (BOS), took 0.32 of the attention; in the differential one, 0.19
# [P, Figure 1]. That it serves as a drain is our reading: the figure shows
# its weight, not its value.
#
# ## Hear the noise twice
#
# A noise-cancelling headphone has a second microphone that hears the noise
# and not the music. Its circuit, a *differential amplifier*, subtracts the
# second wire with some gain $\lambda$:
# $(\text{signal} + \text{hum}) - \lambda\,\text{hum}$. The signal passes
# whole, the hum with a factor $1 - \lambda$. The ratio of the two,
# $1/(1-\lambda)$, is the *common-mode rejection*.
#
# Differential attention, the subject of chapter 3, takes two branches and
# subtracts their maps: $A_1 - \lambda A_2$. Let both branches have the same
# noise, and only branch 1 know the needle. An amplifier would subtract
# the scores. Attention subtracts the *weights*, after each softmax. Which of
# the two leaves less weight on the distractors?

# %%
hum = rng.normal(size=(1000, 64))
music = np.zeros(64)
music[0] = 3.0
before = softmax((hum + music) - hum)
A1, A2 = softmax(hum + music), softmax(hum)
maps = {"nothing": A1, "scores": before, "0.8 * weights": A1 - 0.8 * A2}
print("subtracted       needle    others, absolute")
for name, A in maps.items():
    others = np.abs(A[:, 1:]).sum(-1).mean()
    print(f"{name:13s} {A[:, 0].mean():9.2f} {others:11.2f}")
assert np.allclose(before, softmax(music))

# %% [markdown]
# Subtracted scores lose the hum entirely, and are back at equation 2.1: still
# one softmax, with no zeros. Subtracted weights leave far less on the
# distractors, but not nothing. Why?
#
# ### Exercise 2.5: the quietest lambda
#
# *Medium, 7 minutes.* For one pair of rows, find the $\lambda$ that leaves
# the least noise: the smallest sum of squares of $A_1 - \lambda A_2$ over
# all keys but the needle. Set its derivative to zero.


# %% tags=["stub:2.5"]
def quietest_lambda(row1: np.ndarray, row2: np.ndarray, needle: int) -> float:
    """Return the lam with the least noise in row1 - lam * row2.

    Noise: the sum of squares over all keys but the needle. Rows (S,).
    """
    # your code


# %% tags=["check:2.5"]
check.ex02_5(quietest_lambda)

# %%
others1, others2 = A1[:, 1:], A2[:, 1:]
best = (others1 * others2).sum(-1) / (others2**2).sum(-1)
left = np.abs(others1 - best[:, None] * others2).max()
low, middle, high = np.quantile(best, (0.05, 0.5, 0.95))
assert left < 1e-12 and low < 0.8 < high
print("noise left, each row at its own lambda: < 1e-12")
print(f"that lambda: median {middle:.2f}, 90 % in {low:.2f} to {high:.2f}")

# %% [markdown]
# In each row the two sets of weights are proportional, so some
# $\lambda$ cancels the hum completely. But each row has its own: a
# softmax divides by the sum of its row. A layer has a
# single $\lambda$ [P, eq. 2]. So the analogy ends here:
#
# - An amplifier subtracts before anything nonlinear, attention after two
#   softmaxes. So even fully shared noise does not cancel in all rows.
# - A row of the difference sums to $1 - \lambda$ instead of 1, and some of
#   its weights may be negative.
# - A circuit is built so that both wires pick up the same hum. Here both maps
#   are learned, and nothing in the formula forces branch 2 to hear what
#   branch 1 hears. Chapter 3 measures what happens when it does not.
#
# ## Play with it
#
# The last figure is one fixed draw of 32 keys, the needles first. The
# branches share nine tenths of their noise's variance. With negative weights
# about, "share" needs care: summed with their signs, noise would hide itself.
# We divide the needles' absolute weight by that of all keys. (The paper does
# not say how its Table 3 treats signs.)


# %%
def draw(needles: int, noise: float, lam: float) -> plt.Figure:
    rng = np.random.default_rng(19)
    shared, own1, own2 = noise * rng.normal(size=(3, 32))
    lift = np.where(np.arange(32) < needles, 3.0, 0.0)
    A1 = softmax(np.sqrt(0.9) * shared + np.sqrt(0.1) * own1 + lift)
    A2 = softmax(np.sqrt(0.9) * shared + np.sqrt(0.1) * own2)
    rows = {"A1": A1, "lam A2": lam * A2, "A1 - lam A2": A1 - lam * A2}
    fig, axes = plt.subplots(3, 1, sharex=True, sharey=True, figsize=(6, 4))
    colours = np.where(lift > 0, plots.COLOURS[1], plots.COLOURS[0])
    for axis, (name, row) in zip(axes, rows.items(), strict=True):
        axis.bar(np.arange(32), row, color=colours)
        share = np.abs(row[:needles]).sum() / (np.abs(row).sum() + 1e-12)
        axis.set(title=f"{name}: needles hold {share:.0%}", ylabel="weight")
    axes[-1].set_xlabel("key")
    return fig


# %% [markdown]
# In JupyterLab, run the next cell and move the sliders, with the mouse or
# with Tab and the arrow keys. On paper, reason:
#
# 1. At `noise` 0, which `lam` makes the distractors of one needle vanish?
#    Compute it first, from equation 2.1 for both rows.
# 2. At `noise` 2, does one `lam` still silence all distractors? Why?
# 3. At `noise` 0, move `lam` past the best value. Which sign have the
#    distractors now, and what has the share done?

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Three rows of bars over 32 keys. In A1 key 14 stands a little above the needle, key 0, which holds 19 percent. Lambda times A2 has the same tall keys without the needle. In the difference the needle, in orange, stands far above small bars of both signs and holds 43 percent."}}
plots.sliders(
    draw, needles=(1, 4, 1, 1), noise=(0, 2, 0.1, 1.5), lam=(0, 1.2, 0.01, 0.6)
)

# %%
print(f"answer 1: lam = {32 / (31 + np.exp(3)):.2f}")

# %% [markdown]
# **Answers.** 1. A distractor has $1/(31 + e^3)$ in $A_1$ and $1/32$ in $A_2$;
# `lam` is the ratio. 2. No: each branch also has noise of its own, so each key
# has another ratio. 3. Negative: what is subtracted
# beyond the best is noise again, and the share falls.
#
# ## A check of this chapter
#
# `minidiff` makes its rows from queries and keys. If the keys are $\sqrt{S}$
# times the unit matrix, the queries *are* the scores, and both must agree.

# %%
keys = np.sqrt(64) * np.eye(64)
theirs = reference.diff_map(hum + music, keys, hum, keys, 0.8, causal=False)
assert np.abs(theirs - (A1 - 0.8 * A2)).max() < 1e-12
print("this chapter's maps and minidiff's differ by < 1e-12")

# %% [markdown]
# ## Common mistakes
#
# - **Forgetting the needle in its own denominator.** $n$ distractors make a
#   row of $n + 1$ keys.
# - **Reading equation 2.3 as the share.** It is a floor, sharp only while
#   $n$ is large against $e^{\sigma^2}$.
# - **Judging a cure on the row it was fitted to.** Draw fresh noise.
#
# ## Summary
#
# - No softmax weight is zero. A needle's share depends on $\delta - \ln n$.
# - Noise in the scores acts like $e^{\sigma^2/2}$ times as many keys, until
#   single loud keys take over.
# - A colder softmax helps a needle that is the loudest key. It cannot save
#   one that is not.
# - Plain gradient descent raises the lift like the logarithm of time. A
#   learned constant cannot cancel noise that it has not heard.
# - A sink lets a head without a needle be silent.
# - A second branch that hears the same noise can cancel most of it, but with
#   one $\lambda$ for all rows not all. Chapter 3 builds it.
#
# ## Further reading
#
# - Ye et al., *Differential Transformer*, arXiv 2410.05258: Figure 1 and
#   Table 3, attention noise measured in trained models. [P]
# - *Differential Transformer V2*, a post by the authors, also on sinks. Read
#   it after chapter 5. [B2]
# - Vaswani et al., *Attention Is All You Need*, 2017: why
#   scores are divided by $\sqrt D$, a temperature chosen in advance.
