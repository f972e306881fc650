# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 23. Outliers and low-bit attention
#
# How large are the largest attention logits of a model, and how well does it
# still look keys up when all logits are rounded to a few bits? By the end of
# this chapter you will have measured two models, read the record of sixteen,
# and written a rule of rounding with which the two look keys up at two bits,
# where the usual rule does no better than a guess.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - find the outliers of a model, by layer and head;
# - turn a ratio of two largest values into a number of bits;
# - say why a softmax that must say "nothing" needs large logits, and what a
#   difference needs instead;
# - quantise a head, with a scale and with clipping;
# - tell an effect of the kind of model from one of its learning rate.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | softmax, causal mask, lift | what logits do | 1, 2 |
# | differential map, lambda, headwise norm | the other kind | 3 |
# | loss on text, the shipped pair | what is measured | 14, 15 |
# | needles, six kinds, paired intervals, "seen" | the records | 18, 19 |

# %%
import json
from contextlib import nullcontext

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from minidiff import DecoderLM, ModelConfig, check, course, load, plots
from minidiff.check import hint, solution  # noqa: F401
from minidiff.data import BPETokenizer, NeedleTask, standard_library

# %%
from minidiff.evaluation.activations import largest_activations
from minidiff.evaluation.rounding import round_logits
from minidiff.nn.kinds import KINDS
from minidiff.nn.layers import rope_angles
from minidiff.ops.logits import logits_through

PAIR = {"plain": "pair_softmax", "diff": "pair_diff"}  # in book/weights
RECORD = "pair.json"  # eight seeds of both kinds, in book/results
plots.use_style()
torch.set_num_threads(1)

# %% [markdown]
# The models are a pair that comes with the course, one plain and one
# differential, of 4 million parameters each, trained on a mixture of Python,
# English and small tasks. Both look keys up (chapter 19). They read the first
# tokens of a few held-out files of your Python's own library. The next number
# says how many files.

# %% tags=["parameters"] quick={"ROWS": 1}
ROWS = 4

# %%
WORDS = BPETokenizer.load(course.weights("pair_tokenizer.json"))
LENGTH = 128
starts = (d.text[:3000] for d in standard_library().valid if len(d.text) > 9e3)
lines = [WORDS.encode(next(starts))[: LENGTH + 1] for _ in range(ROWS)]
TEXT = torch.tensor(lines)  # (ROWS, LENGTH + 1)
SHIPPED = {
    kind: load(course.weights(f"{name}.safetensors"))
    for kind, name in PAIR.items()
}
for model in SHIPPED.values():
    model.requires_grad_(False)

# %% [markdown]
# ## A cold open: half are below three
#
# Here is the typical size of an attention logit, before the softmax, in each of
# the two models: half of all logits are smaller. Guess the largest one.

# %% tags=["nbval-ignore-output"]
FOUND = {
    kind: largest_activations(model, TEXT[:, :-1])
    for kind, model in SHIPPED.items()
}
for kind, found in FOUND.items():
    print(f"{kind:6s}half below {found['logits']['all']['median']:.1f}")

# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
for kind, found in FOUND.items():
    print(f"{kind:6s}largest {found['logits']['all']['top']['1']:.1f}")


# %%
def logits_of(model: torch.nn.Module, tokens: Tensor) -> list[np.ndarray]:
    """Logits of each layer, (rows, maps, T, T); a diff head has two maps."""
    layers = []

    def keep(logits: Tensor, mask: Tensor | None) -> Tensor:
        layers.append(logits.flatten(1, -3).numpy())
        return logits

    with logits_through(keep):
        model(tokens, backend="eager")
    return layers


# %%
LOGITS = {k: logits_of(model, TEXT[:, :-1]) for k, model in SHIPPED.items()}
SEEN = np.tril(np.ones((LENGTH, LENGTH), dtype=bool))
sizes = {
    kind: np.concatenate([np.abs(x[..., SEEN]).ravel() for x in layers])
    for kind, layers in LOGITS.items()
}  # of all logits that a query sees

# %% tags=["nbval-ignore-output", "hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true} mystnb={"image": {"alt": "Histogram of the absolute attention logits of the two models, the number of logits on a logarithmic axis. Both fall steeply from 0, and a thin tail of a few logits reaches far to the right, several times as far as where nearly all logits lie."}}
figure, axis = plt.subplots()
edges = np.linspace(0, max(x.max() for x in sizes.values()), 60)
for kind, style in (("plain", "-"), ("diff", "--")):
    counts, _ = np.histogram(sizes[kind], edges)
    counts = np.where(counts, counts, np.nan)  # 0 has no logarithm
    axis.stairs(counts, edges, ls=style, lw=2, label=kind, baseline=None)
axis.set(xlabel="absolute logit", ylabel="number of logits", yscale="log")
axis.legend()
plt.show()

# %% [markdown]
# A few logits are more than ten times the typical one. They are the *outliers*.
# This word has no sharp bound; here it means the largest values of a tensor,
# compared with its median. Do they matter?
#
# ## What an outlier costs
#
# A logit in few bits is an integer times a *step*. The simplest rule is *dynamic
# absmax quantisation*: look at all the numbers that share a step, and let the
# largest absolute one become the largest integer. With $b$ bits, of which one
# is the sign,
#
# $$
# s = \frac{\max_i |x_i|}{2^{b-1} - 1}, \qquad
# \hat x_i = s \, \mathrm{round}(x_i / s)
# \tag{23.1}
# $$
#
# Here are eight logits in three bits, which are the integers from -3 to 3, and
# below them the same eight beside one outlier.

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Two number lines. Above, eight logits between minus 2 and 2 move to the nearest of seven grid lines, which stand close together. Below, a ninth logit lies at 12. The seven grid lines now stand 4 apart, and all eight small logits move to the line at 0."}}
eight = np.array([-1.9, -1.3, -0.7, -0.2, 0.4, 0.9, 1.5, 2.0])
figure, axis = plt.subplots(figsize=(7.2, 2.4))
for y, numbers in ((1, eight), (0, np.append(eight, 12.0))):
    step = abs(numbers).max() / 3
    grid = step * np.arange(-3, 4)
    axis.scatter(grid, np.full(7, y), s=120, marker="|", color="C0")
    for x in numbers:
        ends = {"xy": (step * np.round(x / step), y), "xytext": (x, y + 0.4)}
        axis.annotate("", **ends, arrowprops={"arrowstyle": "->"})
        axis.plot(x, y + 0.4, "o", color="C1", ms=4)
axis.set(xlim=(-13, 13), ylim=(-0.2, 1.6), xlabel="logit", yticks=(0, 1))
axis.set_yticklabels(["with an outlier", "without"])
axis.grid(visible=False)
plt.show()

# %% [markdown]
# Beside the outlier, all eight have become equal, and their softmax is uniform.
#
# By (23.1) the step is proportional to the largest value. One bit more halves
# the step, so a largest value that is $r$ times as large costs $\log_2 r$ bits.
#
# ## What the paper found
#
# The largest values among 0.4 million tokens, of models of 3 billion parameters
# [P, Table 5], and the accuracy on a set of questions when all attention logits
# are rounded [P-fig, Figure 8]:
#
# | | top 1 | top 2 | top 3 | top 10 | top 100 | median | from |
# |---|---|---|---|---|---|---|---|
# | logits, plain | 318.0 | 308.2 | 304.9 | 284.7 | 251.5 | 5.4 | [P, Table 5] |
# | logits, diff | 38.8 | 38.8 | 37.3 | 32.0 | 27.4 | 3.3 | [P, Table 5] |
# | hidden states, plain | 3608.6 | 3607.4 | 3603.6 | 3552.1 | 2448.2 | 0.6 | [P, Table 5] |
# | hidden states, diff | 1688.2 | 1672.5 | 1672.1 | 1624.3 | 740.9 | 1.2 | [P, Table 5] |
#
# | accuracy, percent | 16 bits | 8 | 6 | 4 | from |
# |---|---|---|---|---|---|
# | plain | 63.4 | 62.7 | 58.9 | 33.9 | [P-fig, Figure 8] |
# | diff | 66.2 | 66.3 | 66.0 | 58.8 | [P-fig, Figure 8] |
#
# *Hidden states* are what each layer hands to the next. How many logits share a
# step in Figure 8 is not said; in this chapter it is one map of one row.

# %%
ratio = 318.0 / 38.8
print(f"{ratio:.1f} times as large: {np.log2(ratio):.1f} bits")
print(f"lost at 4 bits: {63.4 - 33.9:.1f} and {66.2 - 58.8:.1f} points")

# %% [markdown]
# The two tables agree roughly. From the largest logits one expects diff to need
# 3.0 bits less; in Figure 8 it needs two bits less, because diff with four is
# where plain is with six. But what does a small model show? And is the largest
# logit really the cause?
#
# ### Exercise 23.1: the k-th largest
#
# *Easy, 5 minutes.* A logit that no query sees must not count.


# %% tags=["stub:23.1"]
def kth_largest(logits: np.ndarray, k: int) -> np.ndarray:
    """Return the k-th largest absolute logit of each head, (H,).

    logits (H, T, T): query t sees the keys 0 to t, and only what a query
    sees counts. k = 1 asks for the largest. Equal values count separately.
    """
    # your code


# %% tags=["check:23.1"]
check.ex23_1(kth_largest)

# %% [markdown]
# ## Where they are
#
# Your function, for each layer and map of the two models, with the largest over
# the rows of text. In the differential model, two neighbouring columns are the
# two maps of a head.

# %%
kth_largest = check.mine("23.1")
HEADS = {
    kind: np.array(
        [np.max([kth_largest(row, 1) for row in x], 0) for x in layers]
    )
    for kind, layers in LOGITS.items()
}  # (layers, maps)

# %% tags=["nbval-ignore-output", "hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Two heat maps of the largest absolute logit, a row for each of four layers and a column for each of sixteen maps, with the number in each field. In both models most fields are between 10 and 30 and a few are far larger."}}
figure, axes = plt.subplots(2, 1, figsize=(7.2, 4.2))
high = max(x.max() for x in HEADS.values())
for axis, (kind, x) in zip(axes, HEADS.items(), strict=True):
    axis.imshow(x, vmin=0, vmax=high, cmap="cividis", aspect="auto")
    for (i, j), value in np.ndenumerate(x):
        color = "black" if value > high / 2 else "white"
        text = {"ha": "center", "va": "center", "fontsize": 8}
        axis.text(j, i, f"{value:.0f}", color=color, **text)
    if kind == "diff":
        axis.vlines(np.arange(1.5, x.shape[1] - 1, 2), -0.5, 3.5, color="w")
    axis.set(title=kind, ylabel="layer", xticks=[], yticks=range(len(x)))
    axis.grid(visible=False)
axes[1].set_xlabel("maps")
plt.show()

# %% [markdown]
# Outliers belong to single maps. With a step for each map, one such map loses
# its bits and its neighbours do not.
#
# Now look at the outliers themselves: the hundred largest logits of each model,
# their signs, and the weights that the softmax makes of them.


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def outliers(layers: list[np.ndarray], count: int = 100) -> np.ndarray:
    """The largest logits of a model and their weights, (count, 2)."""
    found = []
    for x in layers:
        seen = np.where(SEEN, x.astype(np.float64), -np.inf)
        A = np.exp(seen - seen.max(-1, keepdims=True))
        A /= A.sum(-1, keepdims=True)
        both = np.stack([seen[..., SEEN], A[..., SEEN]]).reshape(2, -1)
        found.append(both[:, np.argsort(-abs(both[0]))[:count]])
    both = np.concatenate(found, 1)
    return both[:, np.argsort(-abs(both[0]))[:count]].T


# %% tags=["nbval-ignore-output"]
for kind, layers in LOGITS.items():
    values, weights = outliers(layers).T
    print(f"{kind:6s}{(values < 0).mean():.0%} negative;", end=" ")
    print(f"weight below one in a million: {(weights < 1e-6).mean():.0%}")

# %% [markdown]
# When this page was made, all of these outliers were negative, and the
# softmax made nothing of them. They say *not this key*, and say it far louder
# than needed: to a softmax, 20 below the largest logit and 60 below it are the
# same nothing. Nor does the loss hold them back, because the gradient of a logit
# is proportional to its weight (chapter 4). But why would a model want large
# logits at all?
#
# ## What a softmax pays for "nothing"
#
# Suppose a head has nothing to say at some position. The weights of a softmax
# sum to 1, so it must put them somewhere. It can *park* them on one key whose
# value is small. To put all but $\varepsilon$ of the weight there, with $S - 1$
# other keys that have equal logits, its logit must exceed theirs by a *lead* of
#
# $$
# \ln \frac{(S - 1)(1 - \varepsilon)}{\varepsilon}
# \tag{23.2}
# $$
#
# This is the lift of chapter 2, for a share of $1 - \varepsilon$. It grows
# without end as $\varepsilon$ becomes 0.
#
# A differential head subtracts. If both its maps are equal and $\lambda = 1$,
# then *every* weight is 0, also with all logits 0. With $\lambda$ below 1, equal
# maps leave $1 - \lambda$ of the weight, which must be parked. Let the second
# map be uniform, $1/S$ on every key. Then the first may leave $\lambda / S$ on
# each of the others, and the subtraction makes exactly 0 of it. How large a lead
# is that?
#
# ### Exercise 23.2: the lead that is needed
#
# *Medium, 10 minutes.*


# %% tags=["stub:23.2"]
def lead_needed(S: int, eps: float, lam: float) -> float:
    """Return the smallest lead, 0 or more, with weight eps or less elsewhere.

    A row has S keys. In the first map, one of them has a logit that is larger
    by the lead than the S - 1 other logits, which are equal. The second map
    is uniform. The weight elsewhere is the sum of |A1 - lam A2| over the S -
    1 other keys. With lam = 0 this is an ordinary head, which needs eps > 0.
    """
    # your code


# %% tags=["check:23.2"]
check.ex23_2(lead_needed)

# %%
lead_needed = check.mine("23.2")
for lam in (0, 0.5, 0.8, 1):
    leads = [lead_needed(256, eps, lam) for eps in (0.1, 0.01, 0.001, 1e-6)]
    print(f"lambda {lam:3}: lead", *(f"{x:5.2f}" for x in leads))

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "The lead that one of 256 keys needs against the weight that is allowed elsewhere, from one in a million to one, on a logarithmic axis. For lambda 0 it is a straight line that rises from right to left up to 19. For lambda 0.5 and 0.8 the lines become level below one hundredth, at about 5.5 and 4.2. For lambda 1 the lead is 0."}}
eps = np.logspace(-6, -0.01, 100)
figure, axis = plt.subplots()
for lam in (0, 0.5, 0.8, 1):
    leads = [lead_needed(256, x, lam) for x in eps]
    axis.plot(eps, leads, label=f"lambda = {lam}", lw=2)
axis.set(xlabel="weight elsewhere", ylabel="lead needed", xscale="log")
axis.legend()
plt.show()

# %% [markdown]
# **A softmax pays for each further digit of "nothing"; a difference pays once.**
# With lambda at 0.8, a lead of 4.17 gives exactly 0 elsewhere, where a softmax
# needs 19.36 for one in a million.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert lead_needed(256, 1e-6, 0) > 19 > 5 > lead_needed(256, 0, 0.8)
assert lead_needed(256, 0, 1) == 0

# %% [markdown]
# ### Watch it grow
#
# Would a trained head go that way? Here is a tiny training: two rows of
# 64 logits, values that are positive except one, which is 0, and an output that
# should be 0. Adam trains the logits, at two learning rates.


# %%
def train_silence(lam: float, rate: float, steps: int = 300) -> list[float]:
    """Train a head to put out 0; return its lead at every step."""
    random = torch.Generator().manual_seed(0)
    values = torch.rand(64, 16, generator=random)
    values[0] = 0  # a place to park
    logits = (0.1 * torch.randn(2, 64, generator=random)).requires_grad_()
    adam, leads = torch.optim.Adam([logits], lr=rate), []
    for _ in range(steps):
        A1, A2 = logits.softmax(-1)
        loss = ((A1 - lam * A2) @ values).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        leads.append((logits[0, 0] - logits[0, 1:].mean()).item())
    return leads


# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "The lead of the parking key in the first map against 300 steps of training. With lambda 0 it keeps growing, to about 6 at the lower rate and to about 7.5 at the higher. With lambda 0.8 both rates end level at about 2."}}
LEADS: dict[tuple, list[float]] = {}
figure, axis = plt.subplots()
for lam, color in ((0, "C0"), (0.8, "C1")):
    for rate, style in ((0.03, "-"), (0.01, "--")):
        label = f"lambda {lam}, rate {rate}"
        leads = LEADS[lam, rate] = train_silence(lam, rate)
        axis.plot(leads, style, color=color, label=label)
        print(f"{label}: {leads[149]:.1f} after 150 steps, {leads[-1]:.1f}")
axis.set(xlabel="step", ylabel="lead of the parking key")
figure.legend(loc="outside right", fontsize=9)
plt.show()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert LEADS[0, 0.03][-1] > LEADS[0, 0.01][-1] > 5
for rate in (0.03, 0.01):
    assert 1.5 < LEADS[0.8, rate][-1] < 2.2
    assert LEADS[0, rate][-1] > LEADS[0, rate][-50] + 0.05

# %% [markdown]
# The lead of the softmax keeps growing, and after the same number of steps it is
# larger at the higher rate. That of the difference levels off, at either rate.
# So in this toy the kind sets *where* logits go, and the rate *how fast*.
#
# ### A control: the norm
#
# Now put back what the toy left out. In the paper's module each head's output
# is divided by its RMS. What does this make of a head that has become quiet?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for size in (1.0, 0.1, 0.01, 0.001, 0.0001):
    after = size / np.sqrt(size**2 + 1e-5)
    print(f"RMS before the norm {size:6}, after it {after:.3f}")

# %% [markdown]
# **The norm makes a quiet head loud again**, until its RMS is as small as the
# root of the $10^{-5}$ inside the norm. So the toy explains what a difference
# *could* do. That DIFF Transformers have small logits for this reason is a
# guess, and the paper does not test it.
#
# ## Quantise a head
#
# ### Exercise 23.3: a map in few bits
#
# *Medium, 10 minutes.* Equation (23.1), with one step for each head.


# %% tags=["stub:23.3"]
def rounded_map(q: np.ndarray, k: np.ndarray, bits: int) -> np.ndarray:
    """Return the causal map (H, T, T) of logits rounded to integers.

    q, k (H, T, D). The logits are q k' / sqrt(D). Each head has one scale:
    its largest absolute logit, among those that a query sees, becomes the
    integer 2**(bits - 1) - 1. Logits are rounded to the nearest integer
    (np.round) and scaled back before the softmax over the keys 0 to t.
    """
    # your code


# %% tags=["check:23.3"]
check.ex23_3(rounded_map)

# %% [markdown]
# What does that do to a model? Nothing is trained again. All logits of all
# layers are rounded while the model reads, and the loss on the text says what
# it costs. You know the largest logit of each model. Guess: which of the two
# will lose less at four bits?


# %%
@torch.no_grad()
def text_loss(model: torch.nn.Module, change=None) -> float:
    """Loss on the rows of text, while logits go through a function."""
    with logits_through(change) if change else nullcontext():
        predicted = model(TEXT[:, :-1], backend="eager")
    return cross_entropy(predicted.flatten(0, 1), TEXT[:, 1:].flatten()).item()


def absmax(bits: int):
    """Equation 23.1, one step for each map of each row."""
    return lambda logits, mask: round_logits(logits, mask, bits)


# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
BITS = (16, 8, 6, 4, 3)
EXACT = {kind: text_loss(model) for kind, model in SHIPPED.items()}
COST = {
    kind: [text_loss(model, absmax(b)) - EXACT[kind] for b in BITS]
    for kind, model in SHIPPED.items()
}
print("bits       exact", *(f"{bits:7d}" for bits in BITS))
for kind, costs in COST.items():
    print(f"{kind:10s}{EXACT[kind]:6.3f}", *(f"{x:+7.3f}" for x in costs))

# %% [markdown]
# (The first column is the loss in nats a token, the others what is added to it.)
# Eight bits cost next to nothing in either model, and three cost a lot. When
# this page was made, plain lost more at four bits and diff at three. How many
# bits should diff have saved?

# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
tops = [found["logits"]["all"]["top"]["1"] for found in FOUND.values()]
print(f"{np.log2(tops[0] / tops[1]):.1f} bits by the largest logit")
steps = np.log2(HEADS["plain"]).mean() - np.log2(HEADS["diff"]).mean()
print(f"{steps:.1f} bits by the mean over all maps")

# %% [markdown]
# A fraction of a bit. (Every map has its own step, so the second line is the
# one that counts.)
#
# ### Looking keys up
#
# The paper counts right answers. These models can give some: they look keys up.
# Here are rows of random tokens with six needles in
# them, a key and its value each. All six keys are asked at the end of a row. A
# guess among their values is right once in six. Predict: at how many bits does
# it break?

# %%
task = NeedleTask(needles=6, questions=6, length=128, repeats=False)
KEYS, ANSWERS = task.batch(0, 3 * ROWS, "valid")
ASKED = ANSWERS >= 0  # where an answer is due


@torch.no_grad()
def found_needles(model: torch.nn.Module, change=None) -> float:
    """Share of right answers, while logits go through a function."""
    first = WORDS.vocab_size  # the needles' ids come after those of the text
    with logits_through(change) if change else nullcontext():
        predicted = model(KEYS + first, backend="eager").argmax(-1)
    return (predicted == ANSWERS + first)[ASKED].float().mean().item()


# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
FEW = (6, 4, 3, 2)
LOOKED = {}
print("bits         exact", *(f"{bits:5d}" for bits in FEW))
for kind, model in SHIPPED.items():
    LOOKED[kind] = [found_needles(model, absmax(bits)) for bits in FEW]
    print(f"{kind:12s}{found_needles(model):6.2f}", end=" ")
    print(*(f"{x:5.2f}" for x in LOOKED[kind]))

# %% [markdown]
# Four bits are enough to look keys up, three are not, and with two bits neither
# model does better than a guess. Eight seeds of each kind follow below. First a
# question about the rounding.
#
# ## Are outliers to blame, or the step?
#
# You have seen what most outliers are: negative logits that the softmax makes
# nothing of. Absmax spends its integers on them. So do without:
#
# 1. subtract from each logit the largest one that its query sees. The softmax
#    does not notice;
# 2. clip whatever is more than a fixed *reach* below it;
# 3. round the distances, which have no sign. No maximum over the map is needed.
#
# ### Exercise 23.4: clip, then round
#
# *Hard, 20 minutes.* A whole differential head, both branches at once.


# %% tags=["stub:23.4"]
def clipped_difference(
    logits: np.ndarray, lam: float, bits: int, reach: float
) -> np.ndarray:
    """Return A1 - lam A2 (T, T) of logits clipped and rounded, query by query.

    logits (2, T, T): exact logits of both branches, not masked; query t sees
    the keys 0 to t. For each branch and query, take how far each visible
    logit lies below the largest visible one, and at most reach. Round these
    distances to the nearest multiple of reach / (2**bits - 1), so that they
    are integers without a sign. Each map is the softmax of minus the rounded
    distances. The result has zeros at hidden keys.
    """
    # your code


# %% tags=["check:23.4"]
check.ex23_4(clipped_difference)

# %% [markdown]
# Now the same for whole models, first for text, beside absmax with one step for a
# layer, for a map, and for a query. The reach is 8: what is clipped keeps a
# weight of $e^{-8}$ times the largest. (We tried 6, 8 and 10 on such text
# before, and kept one that did well. So for text this is not a fair test. No
# reach was chosen on needles.)


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def shared(bits: int, axes: int):
    """Equation 23.1 with one step for all numbers along the last axes."""

    def change(logits: Tensor, mask: Tensor) -> Tensor:
        dims = tuple(range(-min(axes, logits.ndim), 0))
        largest = logits.masked_fill(~mask, 0).abs().amax(dims, keepdim=True)
        step = (largest / (2 ** (bits - 1) - 1)).clamp(min=1e-9)
        return (logits / step).round() * step

    return change


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def clipped(bits: int, reach: float = 8.0):
    """Distances below each query's largest logit, clipped and rounded."""
    step = reach / (2**bits - 1)

    def change(logits: Tensor, mask: Tensor) -> Tensor:
        visible = logits.masked_fill(~mask, -torch.inf)
        below = visible.amax(-1, keepdim=True) - logits
        return -step * (below.clamp(0, reach) / step).round()

    return change


# %% tags=["nbval-ignore-output"]
RULES = {
    "absmax, a layer": lambda bits: shared(bits, 9),
    "absmax, a map": absmax,
    "absmax, a query": lambda bits: shared(bits, 1),
    "clipped": clipped,
}
ADDED = {
    (rule, kind): [text_loss(model, change(b)) - EXACT[kind] for b in FEW]
    for rule, change in RULES.items()
    for kind, model in SHIPPED.items()
}

# %% tags=["nbval-ignore-output", "hide-input"] jupyter={"source_hidden": true}
print("nats added        bits", *(f"{bits:6d}" for bits in FEW))
for (rule, kind), costs in ADDED.items():
    print(f"{rule:16s} {kind:5s}", *(f"{x:+6.3f}" for x in costs))

# %% tags=["nbval-ignore-output", "hide-input"] jupyter={"source_hidden": true}
for kind in SHIPPED:
    assert ADDED["clipped", kind][2] < ADDED["absmax, a map", kind][2] / 10
    assert ADDED["clipped", kind][3] < ADDED["absmax, a query", kind][2]

# %% [markdown]
# **With clipping, three bits cost less than a tenth of what they cost with one
# absmax step for a map, in both models.** The outliers are still there; the
# rounding no longer looks at them. (Absmax spends a bit on the sign. That does
# not explain all of it: clipping with two bits costs less than a step for a
# query with three.) And the fewer numbers share a step, the less it costs.
#
# Now look keys up at two bits. Each logit is one of four values. What do you
# expect?

# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
CLIPPED = {}
print("bits                     ", *(f"{bits:5d}" for bits in FEW))
for kind, model in SHIPPED.items():
    CLIPPED[kind] = [found_needles(model, clipped(bits)) for bits in FEW]
    for rule, found in (("a map", LOOKED[kind]), ("clipped", CLIPPED[kind])):
        print(f"{kind:6s} needles, {rule:8s}", *(f"{x:5.2f}" for x in found))

# %% tags=["nbval-ignore-output", "hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true} mystnb={"image": {"alt": "Two panels, plain and diff: the share of needles found against bits, from 6 to 2. With absmax and a step for a map the line stays at 1 or just below down to 4 bits, falls at 3 and is near the guess at 2. With clipping it stays at 1 throughout."}}
figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.6), sharey=True)
for axis, kind in zip(axes, SHIPPED, strict=True):
    axis.plot(FEW, LOOKED[kind], "s-C1", label="absmax, a map")
    axis.plot(FEW, CLIPPED[kind], "^--C3", label="clipped")
    axis.axhline(1 / 6, color="0.4", ls=":", label="guess")
    axis.set(title=kind, xlabel="bits", xticks=FEW, xlim=(6.2, 1.8))
axes[0].set(ylabel="needles found", ylim=(-0.05, 1.05))
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right")
plt.show()

# %% tags=["nbval-ignore-output", "hide-input"] jupyter={"source_hidden": true}
for kind in SHIPPED:
    assert LOOKED[kind][1] > 0.95 and LOOKED[kind][2] < 0.95
    assert LOOKED[kind][3] < 0.2 and CLIPPED[kind][3] > 0.95

# %% [markdown]
# **With four values a logit, both models look keys up as if nothing had
# happened; with absmax and as many bits they do no better than a guess.**
# (Absmax has three values there, because of the sign. With three bits it has
# seven, and still finds fewer.) A lookup needs to know which logit is the
# largest, and roughly by how much. It does not need the exact size of logits
# that are far below it.
#
# So a curve like Figure 8 measures two things together: a model's outliers, and
# a rule of rounding that is sensitive to them. Whether the paper's outliers can
# be clipped as well, we cannot say: these are two small models.
#
# ## Eight seeds of each kind
#
# The two models that you took apart are seed 1 of a record: eight seeds of each
# kind, all trained on the same mixture, at one rate for both kinds. Each model
# was measured with exact logits and with logits in few bits, one step for a map.
# First the lookups, of six needles of which two are asked: the medians, and then
# all sixteen models (grey: those that do not look keys up).


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def runs_of(name: str) -> dict[tuple, list[dict]]:
    """The runs of a record by kind and rate, in the order of their seeds."""
    found: dict[tuple, list[dict]] = {}
    for job in json.loads(course.results(name).read_text())["jobs"]:
        for run in sorted(job["rows"], key=lambda run: run["seed"]):
            found.setdefault((job["job"]["kind"], run["rate"]), []).append(run)
    return found


# %%
SEEDS = {kind: runs for (kind, _), runs in runs_of(RECORD).items()}
ROUNDED = ("exact", *(f"{bits} bits" for bits in BITS[1:]))
print("median of eight", *(f"{bits:>7s}" for bits in ROUNDED))
for kind, runs in SEEDS.items():
    right = [[run["rounding"][b]["needles"] for b in ROUNDED] for run in runs]
    print(f"{kind:15s}", *(f"{x:7.2f}" for x in np.median(right, 0)))

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Two panels, plain and diff: the share of needles found against bits of the logits, exact, 8, 6, 4 and 3, a line for each of eight seeds. In both panels seven lines stay near 1 down to 4 bits and then fall, at 3 bits, to between 0.3 and 0.9. One line in each panel lies near the guess throughout."}}
figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.8), sharey=True)
for axis, (kind, runs) in zip(axes, SEEDS.items(), strict=True):
    for run in runs:
        right = [run["rounding"][bits]["needles"] for bits in ROUNDED]
        looks_up = right[0] > 0.5
        color, style = ("C0", "o-") if looks_up else ("0.5", "x:")
        axis.plot(right, style, color=color, ms=4)
    axis.set(title=kind, xticks=range(len(ROUNDED)), ylim=(0, 1.05))
    axis.set_xticklabels(["exact", *BITS[1:]])
axes[0].set_ylabel("needles found")
figure.supxlabel("bits of a logit")
plt.show()

# %% [markdown]
# Down to six bits nothing is lost, and at four next to nothing, in either kind.
# Three bits break the lookup, very differently from seed to seed. In numbers,
# diff minus plain, paired by seed: for all eight seeds, and (exploratory) for
# the six at which both models look keys up.


# %% tags=["hide-input"] jupyter={"source_hidden": true}
STUDENT = {4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365}  # 95 %, by pairs


def by_seed(kind: str, measure) -> np.ndarray:
    """A measure of each run of a kind, in the order of the seeds."""
    return np.array([measure(run) for run in SEEDS[kind]])


def interval(gap: np.ndarray) -> tuple[float, float]:
    """The mean of paired differences, and its 95 % half-width."""
    n = len(gap)
    return gap.mean(), STUDENT[n] * gap.std(ddof=1) / n**0.5


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def lost(bits: int):
    """The needles that a run finds with exact logits only."""
    return lambda run: (
        run["rounding"]["exact"]["needles"]
        - run["rounding"][f"{bits} bits"]["needles"]
    )


def added(bits: int):
    """What rounding adds to the loss on text of a run."""
    return lambda run: (
        run["rounding"][f"{bits} bits"]["text_loss"]
        - run["rounding"]["exact"]["text_loss"]
    )


# %%
looks_up = {k: by_seed(k, lambda run: run["lookup"]) > 0.5 for k in SEEDS}
both = looks_up["diff"] & looks_up["plain"]
for measure, name in ((lost, "needles lost"), (added, "nats added")):
    for bits in (6, 4, 3):
        plain, diff = (by_seed(k, measure(bits)) for k in ("plain", "diff"))
        print(f"{name:12s} {bits} bits: plain {plain.mean():.3f}", end=" ")
        print(f"diff {diff.mean():.3f}; diff minus plain", end=" ")
        print("{:+.3f} +- {:.3f}".format(*interval(diff - plain)), end=" ")
        if measure is lost:
            six = interval((diff - plain)[both])
            print("(six: {:+.3f} +- {:.3f})".format(*six))
        else:
            print(f"more in {(diff > plain).sum()} of {len(diff)}")

# %% [markdown]
# Fourteen of the sixteen models look keys up. At four bits each of them still
# finds at least ninety-five in a hundred needles. Diff loses 0.010 less than
# plain, with an interval that contains zero; in the paper the difference is
# 0.221 (Figure 8, [calc]). Neither kind breaks, so there is next to nothing to
# save. At three bits both lose much, and the seeds differ so widely that a
# difference of the kinds cannot be told. The two models that do not look keys
# up have nothing to lose. They count among the eight, and the six pairs
# without them say the same.
#
# The loss on text says something else: at four bits diff loses *more*, in
# seven of eight seeds, with an interval that excludes zero. A differential
# head has two maps, so two errors meet in one difference. Whether that is the
# reason was not measured.
#
# ### Largest values
#
# And the numbers of Table 5, for logits and hidden states: the largest, the
# hundredth largest, the median, and the largest measured in medians. Each is
# compared as a ratio; below 1, diff has less.


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def largest(name: str, k: str):
    """The k-th largest of the logits or hidden states of a run."""
    return lambda run: run["activations"][name]["all"]["top"][k]


def median(name: str):
    """The median of the logits or hidden states of a run."""
    return lambda run: run["activations"][name]["all"]["median"]


def in_medians(name: str):
    """The largest, divided by the median."""
    return lambda run: largest(name, "1")(run) / median(name)(run)


# %%
def ratio_interval(a: np.ndarray, b: np.ndarray) -> str:
    """Geometric mean of a / b over paired runs, with its 95 % interval."""
    middle, half = interval(np.log(a / b))
    low, mean, high = np.exp([middle - half, middle, middle + half])
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


# %%
for name in ("logits", "hidden"):
    for label, measure in (
        ("top 1", largest(name, "1")),
        ("top 100", largest(name, "100")),
        ("median", median(name)),
        ("top 1 / median", in_medians(name)),
    ):
        plain, diff = (by_seed(k, measure) for k in ("plain", "diff"))
        print(f"{name:7s}{label:15s} plain {plain.mean():5.1f}", end="  ")
        print(f"diff {diff.mean():5.1f}  diff over plain", end=" ")
        print(ratio_interval(diff, plain))

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Two panels: the largest logit and the largest hidden state by layer, circles for eight plain and squares for eight differential models. Largest logits lie between 20 and 120; from the second layer on, circles are somewhat higher on average but overlap with squares. Largest hidden states grow from layer to layer, circles from about 15 to between 60 and 95 and squares from about 12 to between 35 and 63; in the first three layers every circle lies above every square."}}
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3))
for axis, name in zip(axes, ("logits", "hidden"), strict=True):
    for (kind, runs), shift, style in zip(
        SEEDS.items(), (-0.15, 0.15), ("oC0", "sC1"), strict=True
    ):
        for run in runs:
            layers = run["activations"][name]["layers"]
            y = [layer["top"]["1"] for layer in layers]
            x = np.arange(len(y)) + shift
            axis.plot(x, y, style, ms=4, ls="", label=kind)
    axis.set(title=f"largest of {name}", xlabel="layer", ylim=(0, None))
    axis.set_xticks(range(len(y)))
handles, labels = axes[0].get_legend_handles_labels()
figure.legend(handles[:: len(runs)], labels[:: len(runs)], loc="outside right")
plt.show()

# %% [markdown]
# On average diff has smaller values. For the largest logits the interval just
# contains 1, for the largest hidden states it does not. But look at the medians:
# the *typical* values of diff are smaller too, and by about as much. **What is
# smaller is the scale.** Measured in medians, a difference between the largest
# values of the two kinds is not seen in eight seeds. (In the paper the median
# of the logits shrinks as well, but far less than the largest, and that of the
# hidden states grows [P, Table 5].)
#
# To absmax rounding a scale does not matter, because the step grows and
# shrinks with it. So the values of these models give little reason to expect
# that diff needs fewer bits.
#
# ## The kind or the rate?
#
# Do such differences come from the kind of model, or from how it was trained? The
# pair has one rate. Small models of the six kinds (chapter 19), four seeds each,
# were trained on two needles in a row of 32 tokens, for 400 steps, at two
# learning rates. Before the run it was fixed what to compare: the largest logit,
# the higher rate against the lower within each kind, and diff against the other
# kinds at each rate.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
RUNS = runs_of("outliers.json")
RATES = sorted({rate for _, rate in RUNS})


def top_logit(runs: list[dict]) -> np.ndarray:
    """The largest logit of each run."""
    return np.array([largest("logits", "1")(run) for run in runs])


# %%
for kind in KINDS:
    low, high = (top_logit(RUNS[kind, rate]) for rate in RATES)
    print(f"{kind:12s} {RATES[1]} over {RATES[0]}:", ratio_interval(high, low))

# %%
for rate in RATES:
    for kind in KINDS[:-1]:
        pair = (top_logit(RUNS[k, rate]) for k in ("diff", kind))
        print(f"{rate}: diff over {kind:12s}", ratio_interval(*pair))

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "The largest logit of every run, a group for each of the six kinds with circles for the lower and squares for the higher learning rate. In every kind but sum all squares lie above all circles; in sum they overlap. Two squares of diff lie near 95, far above all other points."}}
figure, axis = plt.subplots(figsize=(7, 3))
for rate, shift, style in zip(
    RATES, (-0.12, 0.12), ("oC0", "sC1"), strict=True
):
    for n, kind in enumerate(KINDS):
        y = top_logit(RUNS[kind, rate])
        x = n + shift + 0.03 * (np.arange(len(y)) - 1.5)
        axis.plot(x, y, style, ms=5, ls="", label="" if n else f"rate {rate}")
axis.set(ylabel="largest logit", xlim=(-0.5, 5.5), xticks=range(len(KINDS)))
axis.set_xticklabels(KINDS)
axis.legend()
plt.show()

# %% [markdown]
# **The rate raises the largest logit in five of the six kinds.** Four times the
# rate gives 1.20 to 4.06 times the largest logit, and for "sum", which has the
# smallest ratio, the interval contains 1. That of diff is very wide, because two
# of its four seeds have logits near 95 at the higher rate, and two do not.
#
# **The kind matters at one rate, and at the other one cannot tell.** The interval
# of diff over plain contains 1 at both. At the lower rate diff has about half of
# what "first map" and "sum" have, which share its norm and its heads but do not
# subtract, but more than wide. At the higher rate no interval excludes 1; all
# five are so wide that a half would hardly show. (Of sixteen intervals, one may
# miss the truth by chance alone.) So a comparison at one rate, with one other
# kind, could have found that diff has smaller logits, or larger ones, or nothing
# at all.
#
# ### Larger models, and which part does it
#
# Of the six kinds five are trained at 15 million parameters, five seeds each, at
# one rate, on the mixture (`pool.json`, chapter 18). *Sum* is diff with the second
# map added, at least at the beginning: lambda is learned, and the record does not
# say whether its sign turned. *Wide* has the shape of diff's heads, with one map
# and no norm, and *wide + norm* has the norm as well. Which of these parts would
# you expect to make hidden states smaller? All of this was looked at after the run
# (exploratory), and of so many intervals some exclude zero by chance.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
LARGER = {kind: runs for (kind, _), runs in runs_of("pool.json").items()}
PAIRS = [(kind, "plain") for kind in ("diff", "sum", "wide", "wide + norm")]
PAIRS += [("wide + norm", "wide"), ("sum", "wide + norm")]
PAIRS += [("diff", kind) for kind in ("wide + norm", "sum", "wide")]


def larger(measure) -> dict[str, np.ndarray]:
    """A measure of the larger models, by kind, in the order of the seeds."""
    return {k: np.array(list(map(measure, v))) for k, v in LARGER.items()}


# %%
for name in ("logits", "hidden"):
    measures = largest(name, "1"), median(name), in_medians(name)
    found = [larger(measure) for measure in measures]
    print(f"{name:26s}largest           median            in medians")
    for a, b in PAIRS:
        cells = (ratio_interval(values[a], values[b]) for values in found)
        print(f"{a:>11s} / {b:11s}", *(x.replace(" to", ",") for x in cells))

# %%
for bits in (4, 3):
    for name, measure in (("nats added", added), ("needles lost", lost)):
        values = larger(measure(bits))
        for a, b in (*PAIRS[:4], ("diff", "sum")):
            gap = "{:+.3f} +- {:.3f}".format(*interval(values[a] - values[b]))
            print(f"{bits} bits: {name:13s}{a:>11s} minus {b:6s}{gap}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert sorted(LARGER) == ["diff", "plain", "sum", "wide", "wide + norm"]
top, states = (larger(largest(name, "1")) for name in ("logits", "hidden"))
assert (top["diff"] < top["sum"]).all()
for a, b, ratio in (("diff", "plain", 0.30), ("sum", "plain", 0.30),
                    ("wide + norm", "plain", 0.38),
                    ("wide + norm", "wide", 0.47)):  # fmt: skip
    mean, half = interval(np.log(states[a] / states[b]))
    assert np.exp(mean).round(2) == ratio and mean + half < 0
for kind in ("diff", "sum"):
    mean, half = interval(np.log(states[kind] / states["wide + norm"]))
    assert mean < 0 < mean + half and np.exp(mean).round(1) == 0.8
normed = top["wide + norm"]
assert (normed > np.maximum(top["sum"], top["wide"])).all()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
four, three = (larger(added(bits)) for bits in (4, 3))
for kind in ("diff", "wide + norm", "sum", "wide"):
    mean, half = interval(four[kind] - four["plain"])
    assert mean + half < 0
for kind in ("diff", "wide + norm"):
    mean, half = interval(three[kind] - three["plain"])
    assert mean - half > 0
assert (three["diff"] > three["plain"]).all()
needles = larger(lost(3))
assert (needles["diff"] > needles["plain"]).all()
assert max(x.max() for x in larger(lost(4)).values()) < 0.01

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert (top["diff"] < top["wide"]).all()
for name, middle in (("hidden", 0.65), ("logits", 1.32)):
    values = larger(in_medians(name))
    mean, half = interval(np.log(values["diff"] / values["plain"]))
    assert abs(mean) > half and abs(np.exp(mean) - middle) < 0.01
states = larger(in_medians("hidden"))
for a, b, clear in (("wide", "plain", 1), ("diff", "wide", 0)):
    mean, half = interval(np.log(states[a] / states[b]))
    assert mean < 0 and (mean + half < 0) == clear

# %% [markdown]
# **The norm makes the states smaller.** The largest hidden state of wide + norm is
# 0.47 of wide's and 0.38 of plain's, and wide + norm has one map, as plain has. Diff
# and sum come to 0.30 of plain's; against wide + norm both intervals contain 1, and
# so does that of diff over sum. *Typical* states are smaller with two maps: 0.75 of
# those of wide + norm. (A fixed gain, $1 - \lambda_{init}$, comes with the two maps,
# and it scales down what a head adds to a state.)
#
# Much of this is scale. In medians of its own model the norm's effect on the largest
# state is not seen (0.82 of wide's, with 1 inside). Diff is at 0.65 of plain's
# there, and wide, without a norm, at 0.75; between these two nothing is seen.
#
# **The norm makes logits larger; diff's are the smallest of the normed kinds.** Those
# of wide + norm, largest and typical, are 1.8 and 1.9 times wide's. Those of sum are
# two thirds of that, and those of diff a third to two fifths. Sum and diff differ
# from wide + norm in two maps, narrower queries and keys, and a gain. Diff differs
# from sum in the sign alone, and its largest logit is 0.59 times sum's. From plain's
# it is not seen to differ; in medians it is 1.32 times plain's.
#
# **Bits: it depends on how many.** At four bits rounding costs diff *less* on text
# than plain; in the smaller models it was the other way round. But it costs wide,
# sum and wide + norm less, too, so this belongs to no part of diff alone. And wide +
# norm has the largest logits of all: between kinds, the size of logits does not say
# what rounding costs. At three bits it costs diff *more* than plain, on text and in
# needles, and on text wide + norm as well. Four bits are enough to look keys up, for
# all kinds.
#
# All of this could be a property of this recipe. But it is a warning about the hidden
# states of Table 5 [P]: the Transformer there has neither DIFF's norm nor its gain,
# and here a norm alone made states smaller.
#
# ## The verdict
#
# The words are those of chapter 18. These verdicts hold for models of 4 million
# parameters, and all are *exploratory*: their measures were not fixed before the
# run. Those on the larger models are on the page of verdicts
# (`book/evidence.md`).


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def verdict(measure, paper: float) -> str:
    """Diff minus plain by seed, against the paper's (negative) effect."""
    a, b = (by_seed(kind, measure) for kind in ("diff", "plain"))
    mean, half = interval(a - b)
    word = "not seen" if half < -paper else "cannot be seen at this size"
    word = "not seen; the opposite sign" if mean - half > 0 else word
    word = "seen" if mean + half < 0 else word
    return f"{mean:+.3f} +- {half:.3f}: {word}"


def log_largest(name: str):
    """Logarithm of the largest logit or hidden state of a run."""
    return lambda run: np.log(largest(name, "1")(run))


# %%
FIGURE_8 = ((66.2 - 58.8) - (63.4 - 33.9)) / 100
CLAIMS = {
    "log of the largest logit": (log_largest("logits"), np.log(38.8 / 318.0)),
    "log of the largest hidden state": (
        log_largest("hidden"),
        np.log(1688.2 / 3608.6),
    ),
    "right answers lost at 4 bits": (lost(4), FIGURE_8),
}
for name, (measure, paper) in CLAIMS.items():
    print(f"{name}: {paper:+.3f} in the paper")
    print("  ours", verdict(measure, paper))
bits = by_seed("plain", log_largest("logits")) / np.log(2)
bits -= by_seed("diff", log_largest("logits")) / np.log(2)
print(f"by the largest logit, plain needs {bits.mean():.1f} bits more")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
VERDICTS = [verdict(*claim).split(": ")[1] for claim in CLAIMS.values()]
assert VERDICTS == ["not seen", "seen", "not seen"]
gap = by_seed("diff", added(4)) - by_seed("plain", added(4))
assert interval(gap)[0] > interval(gap)[1] and (gap > 0).sum() == 7
for kind in SEEDS:
    assert looks_up[kind].sum() == 7
    at_4 = by_seed(kind, lost(4))[looks_up[kind]]
    assert at_4.max() < 0.04
    assert by_seed(kind, lost(3))[looks_up[kind]].min() > 0.05

# %% [markdown]
# *Smaller largest logits* (Table 5) are **not seen**. Six of eight seeds have
# them, but the interval contains zero, and the effect is small beside the
# paper's. *Smaller largest hidden states* are **seen**, together with smaller
# typical ones. *Fewer bits suffice* (Figure 8) is **not seen**: at four bits
# neither kind loses much. In the loss on text the effect has the *opposite*
# sign.
#
# How firm is a verdict of this kind? Here is an earlier record: four pairs of
# the same size and with the same tasks, trained longer. None of its models
# looks keys up.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for name in ("pair_64_rows.json", RECORD):
    some = {kind: runs for (kind, _), runs in runs_of(name).items()}
    for what in ("logits", "hidden"):
        diff, plain = (
            np.array([largest(what, "1")(run) for run in some[kind]])
            for kind in ("diff", "plain")
        )
        print(f"{len(diff)} pairs, largest of {what:6s}: diff over", end=" ")
        print("plain", ratio_interval(diff, plain))

# %% [markdown]
# There the logits are seen and the hidden states are not. For the logits little
# differs, 0.75 and 0.83: one interval ends just below 1, the other just above,
# and the word changes. For the hidden states the ratios lie far apart, 1.09 and
# 0.64. The models of the two records were trained differently, and an interval
# over seeds does not know about that.
#
# This does not refute Figure 8. By the largest logits, the paper's plain model
# needs three bits more than its differential one; ours needs a fraction of a bit
# more. Where the outliers of both kinds are alike, there is little to gain. A
# better rule of rounding gained more, in both models of the pair.
#
# ## The package agrees

# %% tags=["hide-input"] jupyter={"source_hidden": true}
rounded_map, clipped_difference = check.mine("23.3"), check.mine("23.4")
random = np.random.default_rng(0)
q, k = 2 * random.normal(size=(2, 2, 9, 4))
exact = torch.from_numpy(q @ k.swapaxes(1, 2) / 2)
mask = torch.ones(9, 9, dtype=torch.bool).tril()
for bits in (3, 4, 6):
    ours = round_logits(exact, mask, bits).masked_fill(~mask, -torch.inf)
    theirs = rounded_map(q, k, bits)
    assert np.allclose(ours.softmax(-1).numpy(), theirs, atol=1e-5)
    near = clipped(bits)(exact, mask).masked_fill(~mask, -torch.inf)
    A1, A2 = near.softmax(-1).numpy()
    theirs = clipped_difference(exact.numpy(), 0.8, bits, 8.0)
    assert np.allclose(A1 - 0.8 * A2, theirs, atol=1e-5)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for kind in LOGITS:
    for mine, theirs in zip(
        HEADS[kind], FOUND[kind]["logits"]["layers"], strict=True
    ):
        assert abs(mine.max() - theirs["top"]["1"]) < 1e-3
print("outliers and rounding are what this chapter says")

# %% [markdown]
# ## Common mistakes
#
# - **Counting hidden logits.** What the mask hides never meets a softmax, but an
#   absmax taken before the mask is set by it.
# - **One step for everything.** It lets one head take the bits of all others. Say
#   how many numbers share a step; only their largest counts.
# - **A largest value without the rate.** Two models of one kind can differ in
#   their outliers because of their learning rates alone.
# - **A scale that sees the future.** With one step for a map, a later token
#   changes how an earlier logit is rounded. For a loss that is a small leak; for
#   generation such a scale does not exist yet. Clipping by query has no leak.
# - **A smaller scale for fewer outliers.** Compare the largest value with the
#   median of the same model.
#
# ## Summary
#
# - An outlier that is $r$ times as large costs absmax rounding $\log_2 r$ bits.
# - A softmax needs a lead of $\ln((S - 1)(1 - \varepsilon) / \varepsilon)$ to
#   say "nothing"; a difference needs a finite one, and none with $\lambda = 1$.
#   The headwise norm then makes the quiet head loud again.
# - In our record, models that look keys up do so at four bits nearly as with
#   exact logits, and lose a part at three. On text diff loses more at four in
#   models of 4 million parameters, and less in models of 15 million.
# - Diff has smaller largest hidden states, and smaller typical ones. So have models
#   that add the second map. At 15 million parameters the norm alone, on one map,
#   about halves the largest (exploratory). The largest logits are not seen to differ
#   from plain's.
# - Four times the learning rate raised the largest logit of five kinds of six.
#   At the lower rate diff had smaller ones than two of its controls, and larger
#   ones than wide.
# - Clipping each query's logits before rounding removes most of the cost in both
#   shipped models: with it they look keys up at two bits.

# %% [markdown]
# ## Optional: what do fewer bits cost the six kinds, and what do they save?
#
# *Exploratory.* Does the largest logit say what rounding costs? Here are the
# small models of the six kinds again, means of four runs, one step a map. Under
# each kind stands the rank correlation, over its eight runs, of the largest
# logit and the nats that rounding to 4 bits adds.


# %%
def mean_of(runs: list[dict], bits: str, name: str) -> float:
    """Mean over seeds of the loss or accuracy with rounded logits."""
    return float(np.mean([run["rounding"][bits][name] for run in runs]))


def added_at_4(run: dict) -> float:
    """What rounding to 4 bits adds to the loss of a run."""
    exact, four = (mean_of([run], b, "loss") for b in ("exact", "4 bits"))
    return four - exact


# %% tags=["hide-input"] jupyter={"source_hidden": true}
print("kind         rate    logit  right, exact  4 bits  nats added")
for kind in KINDS:
    for rate in RATES:
        runs = RUNS[kind, rate]
        print(f"{kind:12s} {rate}{top_logit(runs).mean():9.1f}", end=" ")
        for bits in ("exact", "4 bits"):
            print(f"{mean_of(runs, bits, 'accuracy'):10.2f}", end=" ")
        print(f"{np.mean([added_at_4(run) for run in runs]):10.3f}")
    runs = [run for rate in RATES for run in RUNS[kind, rate]]
    more = np.array([added_at_4(run) for run in runs])
    both = [np.argsort(np.argsort(x)) for x in (top_logit(runs), more)]
    print(f"{'':13s}rank correlation {np.corrcoef(*both)[0, 1]:+.2f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
most = max(
    RUNS["sum", RATES[1]], key=lambda run: mean_of([run], "exact", "accuracy")
)
assert mean_of([most], "exact", "accuracy") > 0.7
others = [added_at_4(run) for run in RUNS["sum", RATES[1]] if run is not most]
assert added_at_4(most) < np.mean(others)

# %% [markdown]
# **Within plain and wide it does:** runs with larger logits lose more. Over
# eight runs the four other correlations can be chance. (The larger logits are
# mostly those of the higher rate, so one cannot say what else the rate does.)
# **Between kinds it does not.** At the lower rate diff has largest logits like
# those of plain, and loses about ten times as much as any other kind.
#
# Perhaps diff has more to lose. It gets three quarters of the answers right,
# where a choice between the two values of a row gets half. But that is a guess,
# and one run speaks against it: a run of "sum" that gets nearly as many right
# loses no more than the others of its kind.
#
# And what could few bits *save*? The rounding of this chapter saves nothing,
# because rounded logits are still stored as 32-bit numbers. In training they
# might save memory: the way back needs what the way forward has computed.
# Autograd tells what it keeps. Here is one layer with its maps written out
# (`eager`), with 4 plain heads or 2 differential ones.


# %%
def kept(block: torch.nn.Module, T: int) -> list[tuple[torch.Size, int]]:
    """Shape and bytes of what a layer keeps of one row of T tokens."""
    found, x = {}, torch.randn(1, T, 128, requires_grad=True)
    weights = {p.data_ptr() for p in block.parameters()}

    def note(array: Tensor) -> Tensor:
        memory = array.untyped_storage()  # views share it: count it once
        found[memory.data_ptr()] = array.shape, memory.nbytes()
        return array

    rope = rope_angles(T, 32)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda array: array):
        block(x, rope, backend="eager")
    return [found[at] for at in found.keys() - weights]


# %%
SIZES = {"vocab_size": 8, "embed_dim": 128, "num_layers": 1, "num_heads": 4}
print("kind         T   maps  MB of maps  MB of all else")
for kind in ("softmax", "diff"):
    block = DecoderLM(ModelConfig(**SIZES, attention=kind)).blocks[0]
    for T in (256, 512, 1024):
        is_map = {True: 0, False: 0}
        for shape, size in kept(block, T):
            is_map[shape[-2:] == (T, T)] += size
        n = is_map[True] / (4 * T * T)  # float32: 4 bytes
        inside, other = is_map[True] / 1e6, is_map[False] / 1e6
        print(f"{kind:8s} {T:5d} {n:6.1f} {inside:11.1f} {other:15.1f}")

# %% [markdown]
# Maps grow with $T^2$, all else with $T$. Both kinds have four maps, and `eager`
# keeps each twice: before and after it sets what the mask hides to 0. DIFF also
# keeps its two differences: ten for eight. (The odd half is two masks, a byte an
# entry.) Four bits instead of 32 would make an eighth of these maps. But a
# kernel that never writes a map keeps none at all (chapters 10 to 12). There,
# few bits can save time to multiply, and memory of keys and values. That is
# chapter 25.
#
# ## Further reading
#
# - Ye et al., *Differential Transformer*, arXiv 2410.05258: Table 5 and Figure
#   8. [P]
# - Xiao et al., *Efficient Streaming Language Models with Attention Sinks*,
#   arXiv 2309.17453: where trained softmaxes park their weight.
# - Bondarenko, Nagel and Blankevoort, *Quantizable Transformers: Removing
#   Outliers by Helping Attention Heads Do Nothing*, arXiv 2306.12929: the same
#   argument as (23.2), with two other cures.
# - Dettmers et al., *LLM.int8()*, arXiv 2208.07339: outliers in hidden states,
#   and what they do to rounding.
