# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 27. The family
#
# Since differential attention was published, others have changed it or answered
# it. In this chapter you meet six of these methods. One of them will turn out
# to be an ordinary attention head. One can be folded into a matrix that every
# layer already has. And one lets tokens see the future, if it is copied from
# the code that we found. None of this needs a GPU. It needs a pencil, a few
# lines of code, and four questions that you can put to the next such paper.
#
# By the end you will have checked five of the six against their maps, and given
# a trained plain model, such as a Llama of your own, a second branch that
# changes none of its outputs.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - express a variant through `diff_attention`, and check it against its map;
# - say what a variant changes: parameters, work, cache, sums of rows, signs;
# - recognise a variant that is an old method with another constant;
# - turn a trained Llama into a differential model that starts where the Llama
#   stood.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | the operator, V1 and V2 | everything | 3, 5, 6 |
# | the six kinds, the needle race | the trained table | 19 |
# | rows of matrices in another order | the Llama | 8 |

# %%
import copy
import hashlib
import json
import tempfile
from math import prod
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn

from minidiff import attention_maps, check, course, diff_attention, load, plots
from minidiff.check import hint, solution  # noqa: F401

# %%
from minidiff import MultiheadAttention, MultiheadDiffAttention
from minidiff import MultiheadDiffAttentionV2
from minidiff.convert.llama import load_llama, save_llama
from minidiff.convert.second_branch import add_second_branch
from minidiff.course import family
from minidiff.data import BPETokenizer, TextData, standard_library
from minidiff.ops.sdpa import softmax_attention

PLAIN, TOKENS = "pair_softmax.safetensors", "pair_tokenizer.json"
plots.use_style("svg")
torch.set_num_threads(1)
_ = torch.manual_seed(0)

# %% tags=["parameters"] quick={"STEPS": 1}
STEPS = 6

# %% [markdown]
# ## A cold open: five relatives, one race
#
# Chapter 19 had a race in which a subtraction helps. A row holds two needles,
# pairs of a key and a value. Both keys are asked, one after the other, so the
# second answer is "the value not yet said". After 400 steps of training diff has
# it right. Wide heads, which are as large but subtract nothing, guess
# between the two values and are right half of the time.
#
# Here are five relatives of V1, which is what we call the method of the paper:
#
# | name | in one line |
# |---|---|
# | V2 | shares keys and values between the branches, lambda for each token |
# | grouped | several signal maps share one noise map |
# | DINT | adds an average of the first map, so that rows sum to 1 |
# | Integral | averages several logits before one softmax |
# | Cog | one map, whose weights take the signs of the logits |
#
# Which of them will have the second answer right? Decide for each, then look.
# Three seeds of each were trained with the rows and the learning rate of
# chapter 19. All have as many parameters as diff, within one percent. (The last
# loss is that on held-out rows.)


# %%
def read(name: str) -> dict[str, list[dict]]:
    """The runs of a record by kind; empty if it was not run."""
    path = course.root() / "book" / "results" / name
    if not path.exists():
        return {}
    runs: dict = {}
    for job in json.loads(path.read_text())["jobs"]:
        for row in job["rows"]:
            runs.setdefault(job["job"]["kind"], []).append(job["job"] | row)
    return runs


RACE = read("needle_race.json") | read("family_race.json")

# %% tags=["hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true} mystnb={"image": {"alt": "Share of second answers that are right, a dot for each seed. Plain: five dots between 0.45 and 0.92. Wide: five near a half. Diff: five at 1. Then three dots each: V2 at 0.42, 0.61 and 0.95; grouped and DINT at 1; Integral near a half; Cog below 0.25."}}
SHOWN = ["plain", "wide", "diff", "V2", *family.LAYERS]
figure, axis = plt.subplots(figsize=(7, 2.7))
for n, kind in enumerate(SHOWN):
    y = [run["second"] for run in RACE[kind]]
    x = n + 0.07 * (np.arange(len(y)) - (len(y) - 1) / 2)
    axis.scatter(x, y, color="C1" if n > 2 else "C0", s=24)
axis.axhline(0.5, color="grey", lw=1, ls=":")
axis.axvline(2.5, color="grey", lw=1)
axis.set(ylabel="second answers right", ylim=(-0.03, 1.05))
axis.set_xticks(range(len(SHOWN)), SHOWN)
plt.show()

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for kind in SHOWN[3:]:
    old = {run["seed"]: run["second"] for run in RACE["diff"]}
    gap = np.array([run["second"] - old[run["seed"]] for run in RACE[kind]])
    half = 4.303 * gap.std(ddof=1) / len(gap) ** 0.5  # Student's t, 3 values
    print(f"{kind:9s} minus diff {gap.mean():+.2f} +- {half:.2f}", end="; ")
    print(f"last loss {np.mean([r['valid_loss'] for r in RACE[kind]]):.2f}")

# %% [markdown]
# Grouped and DINT give the second answer in every seed, as diff does. Integral
# guesses, as wide does: remember that. V2's three seeds lie so far apart that
# its interval contains 0 and nearly everything else. Cog has not even learned
# to guess between the two values.
#
# Is it the learning rate, which was tuned for plain and diff? After this
# picture had been seen, V2 and Cog were tried at a third and at about three
# times the rate, with the same seeds:

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for kind, runs in read("family_rates.json").items():
    for rate in sorted({run["config"]["lr"] for run in runs}):
        some = [run for run in runs if run["config"]["lr"] == rate]
        print(f"{kind:3s} at {rate:g}: second right", end=" ")
        print(*(f"{run['second']:.2f}" for run in some), end=", ")
        print(f"last loss {np.mean([r['valid_loss'] for r in some]):.2f}")

# %% [markdown]
# At none of the three rates does either solve the task in 400 steps. Three seeds
# cannot rank V2's rates, because at each of them the seeds lie far apart. Cog
# does best at the highest rate that was tried, so a higher one may suit it
# better. This is one small task with three seeds, and **it ranks nobody**.
#
# ## What they all are: a sum of maps with signs
#
# How does one read six papers? By writing down one matrix for each. A *map* is
# the matrix (T, S) of the weights that a head gives to keys, a row for each
# query. V1's is
#
# $$
# A = A_1 - \lambda A_2
# $$
#
# Most of the family are other sums of this kind, $A = \sum_m c_m A_m$: each
# $A_m$ is an ordinary attention map, whose rows sum to 1, and the $c_m$ are
# numbers. The output is $\sum_m c_m (A_m V)$, and `diff_attention` computes two
# terms of it at once.
#
# | name | map | $c$ | a row sums to |
# |---|---|---|---|
# | V1 | $A_1 - \lambda A_2$ | $1, -\lambda$ | $1 - \lambda$ |
# | V2 | $A_1 - \lambda_t A_2$ | $1, -\lambda_t$ | $1 - \lambda_t$, from 0 to 1 |
# | grouped | $A_i - \lambda A_{\text{noise}}$ | $1, -\lambda$ | $1 - \lambda$ |
# | DINT | $A_1 - \lambda A_2 + \lambda G$ | $1, -\lambda, \lambda$ | 1 |
# | Integral | softmax of a mean of logits | 1 | 1 |
# | Cog | sign times softmax | not such a sum | from $-1$ to 1 |
#
# Look at the last column first. Whether a row sums to 1, to less, or to
# anything says what happens to the part that all values have in common.
#
# (We have V2's formula from the official code [U-V2], those of grouped and Cog
# from public code, and those of DINT and Integral from code of third parties.
# We did not have the full papers. The bibliography says what was verified of
# each. Of published results only a loss of V2 is repeated here.)
#
# The picture shows all six maps for the same queries and keys of one head; the
# noise of "grouped" comes from the head beside it. Red is positive weight,
# blue negative.


# %%
def causal_map(q: Tensor, k: Tensor) -> Tensor:
    """softmax(q k' / sqrt(D)) (..., T, T), written out."""
    logits = q @ k.mT / q.shape[-1] ** 0.5
    seen = torch.ones_like(logits).tril().bool()
    return logits.masked_fill(~seen, -torch.inf).softmax(-1)


T, D = 12, 8
q, k = 1.6 * torch.randn(2, 1, 2, 2, T, D, dtype=torch.float64)
v = torch.randn(1, 2, T, 2 * D, dtype=torch.float64)
LAM = 0.6
A1, A2 = causal_map(q, k).unbind(2)  # each (1, 2, T, T)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
gate = torch.linspace(0.1, 0.9, T, dtype=torch.float64)[:, None]
shown = {
    "V1": A1 - LAM * A2,
    "V2": A1 - gate * causal_map(q[:, :, 1], k[:, :, 0]),
    "grouped": A1 - LAM * A2[:, :1],
    "DINT": A1 - LAM * A2 + LAM * family.running_mean(A1),
    "Integral": causal_map(family.one_head(q), family.one_head(k)),
    "Cog": family.cog_map(q[:, :, 0], k[:, :, 0]),
}

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Six lower triangular maps of 12 by 12 weights for the same queries and keys. V1, V2 and grouped have red and blue squares in most rows, DINT the same with a faint red added, Integral only red ones, Cog red and blue ones that are strong in the first rows and faint below. A colour bar goes from blue, a weight of minus 1, over white to red, 1."}}
figure, axes = plt.subplots(1, 6, figsize=(8, 1.75))
for axis, (name, A) in zip(axes, shown.items(), strict=True):
    image = axis.imshow(A[0, 1], cmap="RdBu_r", vmin=-1, vmax=1)
    axis.set_title(name, fontsize=9)
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
figure.colorbar(image, ax=axes, label="weight", ticks=(-1, 0, 1))
plt.show()

# %% [markdown]
# ## V2, again
#
# Chapter 5 has V2. Two queries of a head meet the *same* keys, and each token
# computes its own lambda. For the operator this is a matter of shapes: the axis
# of key branches has length 1, values are $D$ wide, and lambda is one number
# for each token and head.

# %%
x = torch.randn(1, T, 16, dtype=torch.float64)
W_lambda = torch.randn(2, 16, dtype=torch.float64)
lam = (x @ W_lambda.T).sigmoid().mT  # (1, H, T)
shared, narrow = k[:, :, :1], v[..., :D]
out = diff_attention(q, shared, narrow, lam)
by_hand = causal_map(q, shared)  # both branches meet the same keys
by_hand = by_hand[:, :, 0] - lam[..., None] * by_hand[:, :, 1]
print("V2 and its map agree:", torch.allclose(out, by_hand @ narrow))

# %% [markdown]
# At the start $W_\lambda x$ is near 0, so lambda, its sigmoid, is near one half.
# V1's norm of each head's output is gone: the authors name it as a cause of
# unstable training at large learning rates [B2].
#
# ## Grouped: fewer noise maps than signal maps
#
# V1 computes as many maps to subtract, $A_2$, as maps to subtract from, $A_1$.
# Call them noise maps and signal maps. Must each signal map have a noise map of
# its own? *Grouped differential attention* lets $r$ signal queries share one
# noise query. The pair axis of length 2 becomes a group axis of length $r + 1$:
# signal, ..., signal, noise. The operator expects pairs, so the noise query is
# paired with each signal query of its group.
#
# ### Exercise 27.1: a noise for several signals
#
# *Easy, 6 minutes.*


# %% tags=["stub:27.1"]
def grouped(q: Tensor, k: Tensor, v: Tensor, lam: float) -> Tensor:
    """Return the heads of grouped differential attention, (B, G r, T, Dv).

    q (B, G, r + 1, T, D): in each of G groups r signal queries, then one
    noise query. k (B, G, 2, T, D): a group's signal keys and noise keys.
    v (B, G, T, Dv). A head is (A_signal - lam A_noise) v with the noise map,
    keys and values of its group. Use one call of diff_attention.
    """
    # your code


# %% tags=["check:27.1"]
check.ex27_1(grouped)

# %%
grouped = check.mine("27.1")
three = torch.randn(1, 2, 4, T, D, dtype=torch.float64)  # r = 3, two groups
out = grouped(three, k, v, LAM)
for head in range(6):
    g, i = divmod(head, 3)
    A = causal_map(three[0, g, i], k[0, g, 0])
    A = A - LAM * causal_map(three[0, g, 3], k[0, g, 1])
    assert torch.allclose(out[0, head], A @ v[0, g])
print(out.shape[1], "heads from", 2 * 4, "queries agree")

# %% [markdown]
# What is gained is signal maps: with the budget of 16 plain heads V1 has 8 of
# them, and grouped with $r = 3$ has 12. The model Motif-2-12.7B is built with
# it; a port of it has 32 signal and 8 noise queries, $r = 4$. Which ratio is
# best we could not verify. (Our line computes the noise map of a group $r$
# times. A kernel of its own would compute it once.)
#
# ## DINT: rows that sum to 1 again
#
# A row of V1 sums to $1 - \lambda$. DINT adds $\lambda G$, where $G$ is the mean
# of the rows of $A_1$, with large weights on keys that many queries look at. A
# row of $G$ sums to 1, so a row of the map sums to $1 - \lambda + \lambda = 1$.
#
# The code that we read was written for tables, whose rows have no order, and
# there $G$ is the mean over *all* queries. Would you use that in a language
# model?
#
# ### Exercise 27.2: a map that sees no future
#
# *Medium, 10 minutes.*


# %% tags=["stub:27.2"]
def dint_map(A1: Tensor, A2: Tensor, lam: float) -> Tensor:
    """Return A1 - lam A2 + lam G, (H, T, T), for causal maps A1, A2.

    Row t of G is the mean of the rows 0 to t of A1, so that no row depends
    on a later query.
    """
    # your code


# %% tags=["check:27.2"]
check.ex27_2(dint_map)

# %%
dint_map = check.mine("27.2")
by_map = dint_map(A1[0], A2[0], LAM)
sums = by_map.sum(-1)
print(f"rows sum to {sums.min():.6f} up to {sums.max():.6f}")

# %% [markdown]
# ### The control that fails
#
# Take the mean over all queries, as in the code for tables, and change the
# last query only. Which outputs before it change?


# %%
def leaking(q: Tensor) -> Tensor:
    """DINT with the mean over all queries."""
    first = diff_attention(q, k, v, 0.0)
    G_v = first.mean(2, keepdim=True)
    return diff_attention(q, k, v, LAM) + LAM * G_v


changed = q.clone()
changed[..., -1, :] += 1

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
kinds = {"all": leaking, "running": lambda q: family.dint(q, k, v, LAM)}
leaks = {}
for name, f in kinds.items():
    leaks[name] = (f(changed) - f(q))[..., :-1, :].abs().max().item()
    print(f"{name:8s} earlier outputs change by {leaks[name]:.2f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert leaks["all"] > 1e-3 >= leaks["running"]

# %% [markdown]
# With the mean over all queries each token sees the future, through one vector
# for the whole row. Nothing crashes, and in training such a leak can look like
# a good loss. The test is cheap: change the last token, and nothing before it
# may move.
#
# ### Without the maps
#
# Your function stores maps, which a fused kernel avoids (chapter 10). But $G V$
# needs no map: the mean of rows of $A_1$, times $V$, is the mean of the rows of
# $A_1 V$. So DINT is two calls of the operator, one of them with lambda 0, and
# a running mean. (It is folded away, because it is half of exercise 27.2.)


# %% tags=["same:minidiff.course.family.running_mean", "hide-input"] jupyter={"source_hidden": true}
def running_mean(x: Tensor) -> Tensor:
    """Return the mean of rows 0 to t, for each row t of x (..., T, Dv)."""
    T = x.shape[-2]
    counts = torch.arange(1, T + 1, device=x.device, dtype=x.dtype)
    return x.cumsum(-2) / counts[:, None]


# %% tags=["same:minidiff.course.family.dint"]
def dint(q: Tensor, k: Tensor, v: Tensor, lam: float) -> Tensor:
    """DINT: ``(A1 - lam A2 + lam G) v``, G the running mean of A1's rows."""
    first = diff_attention(q, k, v, 0.0)
    return diff_attention(q, k, v, lam) + lam * running_mean(first)


# %%
out = dint(q, k, v, LAM)[0]
print("map and operator agree:", torch.allclose(out, by_map @ v[0]))

# %% [markdown]
# A running mean has a price in generation: row $t$ needs the sum of all
# earlier rows of $A_1 V$. A cache would have to carry it, one more vector of
# $2D$ numbers a head. Our layer does not do that, and refuses a cache.
#
# ## Integral: average first, one softmax
#
# The *Integral Transformer* goes the other way: nothing is subtracted, and no
# weight is negative. Noise, it says, can be averaged away. Take $S$ queries and
# keys for a head, average their logits, and take one softmax of the mean.
#
# $$
# A = \text{softmax}\Big(\frac{1}{S} \sum_{s=1}^{S}
# \frac{Q_s K_s^\top}{\sqrt{D}}\Big)
# $$
#
# ### Exercise 27.3: in one call
#
# *Medium, 10 minutes.* Before you write anything, look at the sum. What else is
# a sum of dot products?


# %% tags=["stub:27.3"]
def integral(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return softmax(mean of the S signals' logits) v, (B, H, T, Dv).

    q and k (B, H, S, T, D), v (B, H, T, Dv). The logits of signal s are
    q_s k_s' / sqrt(D). Use one call of softmax_attention(q, k, v), which takes
    (B, H, T, width) and divides its logits by sqrt(width).
    """
    # your code


# %% tags=["check:27.3"]
check.ex27_3(integral)

# %%
integral = check.mine("27.3")
logits = (q @ k.mT / D**0.5).mean(2)
seen = torch.ones(T, T).tril().bool()
A = logits.masked_fill(~seen, -torch.inf).softmax(-1)
print("one ordinary head:", torch.allclose(integral(q, k, v), A @ v))

# %% [markdown]
# So an Integral head *is* an ordinary head. $S$ signals of width $D$ are one
# query of width $S D$. Its logits are divided by $S \sqrt D$ where an ordinary
# head of that width divides by $\sqrt{S D}$, and the query matrix can learn
# such a constant factor. (With rotary positions one more thing differs: each
# signal is turned by the angles of a narrow head.)
#
# With $S = 2$ and V1's shapes it is the kind "wide" of chapter 19, but for the
# factor at the start and the angles. So one can predict, without training
# anything, that it does in the race what wide does. You were asked to remember
# this:

# %%
for kind in ("wide", "Integral"):
    seconds = [run["second"] for run in RACE[kind]]
    losses = [run["valid_loss"] for run in RACE[kind]]
    print(f"{kind:9s} second right", np.round(seconds, 2), end=", ")
    print(f"loss {np.mean(losses):.2f}")

# %% [markdown]
# (This is about the form that we could verify. The paper does more around it:
# plain attention in the lower layers helps, it says. Others have noticed before
# us that the sum is one ordinary head.)
#
# ## Cog: signs in one map
#
# *Cog attention* gets negative weights without a second softmax: the softmax
# is taken of the sizes $|p|$ of the logits, and each weight gets the sign of
# its logit. The absolute weights of a row sum to 1.


# %% tags=["same:minidiff.course.family.cog"]
def cog(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Cog attention: ``(sign(P) softmax(|P|)) v``, P the causal logits."""
    return cog_map(q, k) @ v


# %%
cog_map = family.cog_map
one_q, one_k, one_v = q[:, :, 0], k[:, :, 0], v[..., :D]
p = one_k[0, 0] @ one_q[0, 0, -1] / D**0.5  # the last query's logits
w = p.abs().softmax(0) * p.sign()
agrees = torch.allclose(cog(one_q, one_k, one_v)[0, 0, -1], w @ one_v[0, 0])
print("Cog and its row agree:", agrees)
sums = cog_map(one_q, one_k).sum(-1)
print(f"rows sum to {sums.min():.2f} up to {sums.max():.2f}")

# %% [markdown]
# There is no call of `diff_attention` for this, because $|p|$ is not a dot
# product. And something else is unusual. Let a logit pass through 0: what
# happens to the weight?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for p in (-0.01, -1e-9, 1e-9, 0.01):
    logits = torch.tensor([p, 0.5], dtype=torch.float64)
    w = logits.abs().softmax(0) * logits.sign()
    print(f"logit {p:+.0e}: weight {w[0]:+.3f}")

# %% [markdown]
# It jumps. In a row without large logits, a key of no interest, with a logit
# near 0, gets a weight that is far from 0, and rounding decides its sign. Is
# that why Cog did not get off the ground in 400 steps? We do not know.
#
# ## DEX: no second softmax at all
#
# The sixth method is for those who have a *trained* plain model and want it to
# profit from a subtraction. DEX takes the output $O = A V$ of a head and, as
# far as we could read it, subtracts a learned linear function of it,
#
# $$
# O' = O - \lambda\, O W_D
# $$
#
# in some heads only. $W_D$ is a matrix $(D, D)$, and $\lambda$ grows during
# training by a schedule. After the heads comes the output matrix $W_O$, as in
# every layer. What can the new layer compute that the old one could not?

# %% tags=["hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true}
W_D, W_O = torch.randn(2, D, D, dtype=torch.float64)
old = causal_map(one_q, one_k) @ one_v
new = (old - LAM * old @ W_D) @ W_O  # DEX, then the output matrix
folded = (torch.eye(D, dtype=torch.float64) - LAM * W_D) @ W_O
print("an old layer with another W_O:", torch.allclose(new, old @ folded))

# %% [markdown]
# Nothing. In this form DEX can be folded into $W_O$, and then it costs nothing
# when the model is used. What it changes is how the layer is *trained*: in
# which directions a few steps can move it. Training it has a trap that you will
# need to know in a moment. Start with both $\lambda = 0$ and $W_D = 0$, so that
# the outputs are the old ones. What are the two gradients?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
W_D = torch.zeros(D, D, dtype=torch.float64, requires_grad=True)
dex_lam = torch.zeros((), dtype=torch.float64, requires_grad=True)
((old - dex_lam * old @ W_D) @ W_O).square().sum().backward()
print("gradients:", dex_lam.grad.item(), W_D.grad.abs().max().item())

# %% [markdown]
# Both are 0, exactly, because each is multiplied by the other factor. Training
# never leaves such a start. If a product should have no effect at the start,
# one of its factors may be zero, but not both.
#
# ## What each of them changes
#
# One layer of each, at the size of the models that come with the course:
# parameters; numbers that a cache keeps for one token; work, in multiplications
# for one query and one key, over that of plain; and, for random weights, what
# rows sum to and which share of absolute weight is negative.

# %%
E, H = 256, 8
layers = {
    "plain": MultiheadAttention(E, 2 * H),
    "V1": MultiheadDiffAttention(E, H, depth=3),
    "V2": MultiheadDiffAttentionV2(E, H),
    "grouped": family.GroupedAttention(E, H, depth=3),
    "DINT": family.DintAttention(E, H, depth=3),
    "Integral": family.IntegralAttention(E, H),
    "Cog": family.CogAttention(E, 2 * H),
}
D = E // (2 * H)
maps = {"V2": (16, D), "V1": (16, 2 * D), "DINT": (16, 2 * D)}
maps |= {"plain": (16, D), "Cog": (16, D), "grouped": (16, 2 * D)}
work = {name: n * (D + Dv) for name, (n, Dv) in maps.items()}
work["Integral"] = 8 * (2 * D + 2 * D)

# %%
x = torch.randn(1, 64, E)
for name, layer in layers.items():
    for proj in (layer.q_proj, layer.k_proj):
        nn.init.normal_(proj.weight, std=0.12)  # so that maps are not flat
    A = layer(x, return_maps=True)[1]
    A = getattr(A, "A", A)
    size = sum(p.numel() for p in layer.parameters())
    kept = prod(layer.k_shape) + prod(layer.v_shape)
    sums, share = A.sum(-1), A[A < 0].abs().sum() / A.abs().sum()
    print(f"{name:9s}{size:7d} parameters, cache {kept:3d},", end=" ")
    print(f"work {work[name] / work['plain']:.2f}, rows", end=" ")
    print(f"{sums.min():+.2f} to {sums.max():+.2f}, negative {share:.0%}")

# %% [markdown]
# - *Work* counts each map once, and one product of a map with values for each
#   map. (DINT as written above does twice as much.) V1, grouped and DINT take
#   1.50 times plain, because their values are twice as wide.
# - *Cache*: DINT would need one vector a head besides. Grouped has half of V1's
#   because we gave each group one pair of keys, a choice of ours.
# - *Parameters*: V2 has one key head and one value head of width $D$ for two
#   queries, and half of $W_O$. What it and grouped save went to the feed-forward
#   layers in the race.
# - *Rows*: with V2 a row can sum to nearly 0. Then a head can say nothing for a
#   token without a *sink*, a key that takes the weight and gives little, which
#   is a reason that its authors give [B2].
#
# ### On text, at 8 million parameters
#
# The race is a toy. Do these differences show on text? `book/recipes/text.py
# family` trains all five with the rows of chapter 18, five seeds each. Once its
# record exists, this cell compares the loss on held-out text with diff's:

# %% tags=["hide-input"] jupyter={"source_hidden": true}
TEXT, DIFF = read("family.json"), {}
for run in read("text.json").get("diff", []):
    DIFF[run["seed"]] = run["valid_loss"]
for kind in SHOWN[3:]:
    runs = [run for run in TEXT.get(kind, []) if run["seed"] in DIFF]
    if len(runs) < 3:
        print(f"{kind:9s} not run: see book/recipes/queue.md")
        continue
    gap = np.array([run["valid_loss"] - DIFF[run["seed"]] for run in runs])
    t = {3: 4.303, 4: 3.182, 5: 2.776}[len(gap)]
    half = t * gap.std(ddof=1) / len(gap) ** 0.5
    print(f"{kind:9s} minus diff {gap.mean():+.4f} +- {half:.4f} nats")

# %% [markdown]
# Where a line says "not run", this course knows nothing yet. V2's authors report
# a loss that is 0.02 to 0.03 lower than that of plain [B2], at sizes far beyond
# this course.
#
# ## You have a Llama
#
# Training a large model from nothing is out of reach for nearly everybody.
# Trained plain models can be had for free. Can you turn one into a differential
# model that starts with the same outputs?
#
# The plain model of the course will serve as our Llama. It is first written as a
# folder that the library `transformers` reads as a Llama, and then read back as
# any Llama is. (Only rows of matrices change places, as in chapter 8. A test
# compares the logits with those of `transformers`.)

# %%
with tempfile.TemporaryDirectory() as folder:
    save_llama(load(course.weights(PLAIN)), folder)
    config = json.loads(Path(folder, "config.json").read_text())
    plain = load_llama(folder)
print(config["architectures"], config["num_attention_heads"], "heads")
print("read back:", plain.num_parameters(), "parameters")

# %% [markdown]
# Your own folder goes in the same way: `load_llama("path/of/the/folder")`, one
# `config.json` and one `model.safetensors`. What we do not support, such as
# scaled rotary positions or biases, is refused by name.
#
# ### Where does the second branch come from?
#
# A plain layer with $H$ heads has $H$ maps. V1 with the same matrices has $H / 2$
# differential heads: half of the maps, which were trained to be added, would be
# subtracted overnight. V2 fits better. Next to a plain layer *with as many
# heads* it has the same keys, values, $W_O$ and cache, and twice the queries
# [B2]. So add second queries, and choose their start so that nothing changes.
#
# The obvious start is $\lambda = 0$, a second branch that is silent. But V2's
# lambda is a sigmoid, which is never 0.
#
# ### Exercise 27.4: a start that changes nothing
#
# *Hard, 20 minutes.*


# %% tags=["stub:27.4"]
def mirrored(
    W_q: Tensor, W_o: Tensor, H: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return V2's matrices of queries, of lambda and W_O, for a plain layer.

    W_q (H D, E) and W_o (E, H D) are the plain layer's, with H heads. The
    results are (2 H D, E), (H, E) and (E, H D). The rows of V2's queries are
    head after head, in each the D rows of branch 1 and then those of branch
    2; lambda is sigmoid(W_lambda x) for each token and head. Branch 2 begins
    as a copy of branch 1, all tokens begin with the same lambda, and the
    layer computes what the plain layer computes. Keys and values stay.
    """
    # your code


# %% tags=["check:27.4"]
check.ex27_4(mirrored)

# %% [markdown]
# The second branch is not silent at this start: it takes half of every head
# away, and something else gives it back exactly. Now do it in the whole model,
# and compare with three other starts.

# %%
coder = BPETokenizer.load(course.weights(TOKENS))
library = standard_library()
sides = [
    torch.tensor(coder.encode("\n\n".join(d.text for d in documents[:20])))
    for documents in (library.train, library.valid)
]
text = TextData(*sides, vocab_size=plain.config.vocab_size, length=192)
valid = text.batch(0, 8, "valid")


# %% tags=["nbval-ignore-output"]
def start(name: str, model: nn.Module) -> float:
    """The loss of a start, printed."""
    with torch.no_grad():
        loss = model.loss(*valid).item()
    print(f"{name:22s} loss {loss:.4f}")
    return loss


old = start("plain", plain)
both = add_second_branch(plain)
assert abs(start("mirrored", both) - old) < 1e-4

# %%
with torch.no_grad():
    wide_plain, wide_both = (copy.deepcopy(m).double() for m in (plain, both))
    gap = (wide_plain(valid[0][:2]) - wide_both(valid[0][:2])).abs().max()
print("logits in float64 differ by", "< 1e-9" if gap < 1e-9 else f"{gap:.1e}")

# %% tags=["nbval-ignore-output"]
wrong = {}
for name in ("W_O as it was", "second queries zero", "second queries drawn"):
    model = copy.deepcopy(both)
    for block, old_block in zip(model.blocks, plain.blocks, strict=True):
        module, old_W = block.attention, old_block.attention.out_proj.weight
        second = module.q_proj.weight.data.unflatten(0, module.q_shape)[:, 1]
        if name == "W_O as it was":
            module.out_proj.weight.data.copy_(old_W)
        else:
            second.normal_(std=0.02 * name.endswith("drawn"))
    wrong[name] = start(name, model)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert all(loss > old + 0.05 for loss in wrong.values())

# %% [markdown]
# The three other starts lose a part of what the model knew. (A second query of
# zeros does not switch its map off: the map is then the mean over all keys.)
#
# Can training leave this start? Unlike the two zeros above, yes. The output of
# a head is $A_1 v - \lambda A_2 v$ with $\lambda = 1/2$. So the second query of
# a head gets the gradient of the first, times $-1/2$, and the first step takes
# them apart. Lambda's gradient is not 0 either, since $A_2 v$ is not.

# %%
model = copy.deepcopy(both)
model.loss(*text.batch(0, 2)).backward()
module = model.blocks[-1].attention
gradient = module.q_proj.weight.grad.unflatten(0, module.q_shape)
ratio = (gradient[:, 1].norm() / gradient[:, 0].norm()).item()
opposite = torch.cosine_similarity(
    *(gradient[:, i].flatten() for i in (0, 1)), 0
)
print(f"size of the second to the first: {ratio:.2f}, cosine {opposite:.2f}")
print("lambda's gradient is zero:", not module.lambda_proj.weight.grad.any())

# %% [markdown]
# ### A few steps on your machine
#
# Now train on: the differential model and, as a control, the plain one, with
# the same rows, the same rate and a fresh optimiser. Without the control you
# could not tell what the second branch does from what any training does. Three
# measures: the loss on held-out rows; the *support* of the maps, which is the
# number of keys that share a row's weight (the exp of the entropy; smaller is
# sharper); and the share of weight that is negative.


# %%
def shape(model: nn.Module) -> tuple[float, float]:
    """Support in keys and negative share, over all layers and heads."""
    with torch.no_grad():
        _, maps = model(valid[0][:2], return_maps=True)
    A = torch.stack([getattr(m, "A", m) for m in maps])
    share = A.abs() / A.abs().sum(-1, keepdim=True)
    support = torch.special.entr(share).sum(-1).exp().mean().item()
    return support, (share[A < 0].sum() / share.sum()).item()


# %%
def train_on(model: nn.Module, rate: float = 1e-4) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    for step in range(STEPS):
        optimizer.zero_grad()
        model.loss(*text.batch(step, 4)).backward()
        optimizer.step()


# %% tags=["nbval-ignore-output"]
pair = {"plain": plain, "second branch": both}
for name, model in pair.items():
    model = copy.deepcopy(model)
    for when in ("before", f"after {STEPS}"):
        support, negative = shape(model)
        loss = model.loss(*valid).item()
        print(f"{name:14s} {when:8s} loss {loss:.4f},", end=" ")
        print(f"support {support:.3f} keys, negative {negative:.4%}")
        if when == "before":
            train_on(model)
    pair[name] = model

# %% tags=["needs-training"]
losses = {name: m.loss(*valid).item() for name, m in pair.items()}
assert abs(losses["second branch"] - losses["plain"]) < 0.05
assert abs(losses["plain"] - old) < 0.2

# %% [markdown]
# Compare after with after, not after with before. A handful of steps hardly
# moves the loss of either model, or its maps. So few steps say nothing about
# the second branch.
#
# Here is a longer run, recorded: 60 steps of both, at two rates, with two
# seeds for the rows, and 32 held-out rows of files that are not trained on. The
# maps are measured on two of these rows, in the first and in the last layer.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
record = json.loads(course.results("second_branch.json").read_text())
trained = hashlib.sha256(course.weights(PLAIN).read_bytes()).hexdigest()
assert record["weights"] == trained, f"{PLAIN} is not what was trained on"
LONGER = {
    (run["rate"], run["seed"], kind): run
    for kind, runs in read("second_branch.json").items()
    for run in runs
}

# %%
print("rate, seed, kind")
for (rate, seed, kind), run in sorted(LONGER.items()):
    loss, support = (
        [run[when][key] for when in ("before", "after")]
        for key in ("valid_loss", "support")
    )
    print(f"{rate:.0e} {seed} {kind:13s}", end=" ")
    print("loss {:.4f} -> {:.4f},".format(*loss), end=" ")
    for layer in (0, -1):
        keys = [layers[layer] for layers in support]
        print("{:.1f} -> {:.1f} keys,".format(*keys), end=" ")
    print(f"negative at most {max(run['after']['negative']):.3%}")

# %%
gaps = [
    run["after"]["valid_loss"]
    - LONGER[rate, seed, "plain"]["after"]["valid_loss"]
    for (rate, seed, kind), run in LONGER.items()
    if kind != "plain"
]
print("second branch minus plain:", *(f"{gap:+.4f}" for gap in gaps))

# %% [markdown]
# (The keys are the support in the first and in the last layer.) *Does it keep
# its loss?* At the start exactly. After 60 steps at the lower rate the held-out
# loss is a little lower in both models; at the higher rate it has risen in
# both. In each of the four runs the second branch ends a little above plain.
# Two seeds at each rate are too few for an interval, but there is no sign of a
# gain. *Do the maps sharpen?* In the last layer a little, in plain too. *Does
# it subtract?* Almost no weight is negative: $\lambda$ began as one half, and
# near there a weight is negative only if the second map has more than twice the
# weight of the first. After 60 steps the second branch is a copy that has
# moved slightly.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert all(0 < gap < 0.02 for gap in gaps)
for (rate, _, _), run in LONGER.items():
    before, after = run["before"], run["after"]
    lower = after["valid_loss"] < before["valid_loss"]
    assert lower == (rate == min(rate for rate, _, _ in LONGER))
    assert after["support"][-1] < before["support"][-1]
    assert max(after["negative"]) < 0.001

# %% [markdown]
# What would be a fair test? As many steps as the queries need, at rates tuned
# for each of the two, with seeds, and on something that attention noise hurts.
# And the right control for a model with more queries is a plain model that got
# as many new parameters. None of this was run.
#
# A model with a second branch is an ordinary module: `generate` and the cache
# work. Its weights are its `state_dict()`, and it is built again by
# `add_second_branch` of the plain model before they are loaded.
# `minidiff.save` refuses it, because the configuration in such a file could
# not describe it.
#
# ## The package agrees

# %% tags=["hide-input"] jupyter={"source_hidden": true}
layer = plain.blocks[0].attention
new = add_second_branch(plain).blocks[0].attention
weights = layer.q_proj.weight, layer.out_proj.weight
found = check.mine("27.4")(*weights, layer.q_shape[0])
names = ("q_proj", "lambda_proj", "out_proj")
for name, tensor in zip(names, found, strict=True):
    assert torch.equal(tensor, new.get_submodule(name).weight)
print("exercise 27.4 and the package agree")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
A = attention_maps(q, k, LAM)
joined = family.one_head(q), family.one_head(k)
for ours, theirs in (
    (grouped(three, k, v, LAM), family.grouped(three, k, v, LAM)),
    (dint_map(A.A1[0], A.A2[0], LAM) @ v[0], family.dint(q, k, v, LAM)[0]),
    (integral(q, k, v), softmax_attention(*joined, v)),
):
    assert torch.allclose(ours, theirs)
print("exercises 27.1 to 27.3 and the package agree")

# %% [markdown]
# ## Common mistakes
#
# - **A mean over all queries.** It is a leak, and looks like a good loss.
# - **Two zero factors.** A start without effect that no training leaves.
# - **Queries of zeros for "no second map".** That map is a mean over all keys.
# - **Comparing after with before.** Any training moves a loss. Train the old
#   model on as a control.
# - **A ranking from one rate.** What was tuned for diff favours diff.
#
# ## Summary
#
# - V2, grouped and DINT are sums of softmax maps with signs, a few lines over
#   `diff_attention`.
# - Integral, in the form that we could verify, is an ordinary head of width
#   $S D$ with another constant. In the race it guesses, as wide does.
# - DEX, in the form that we could read, can be folded into $W_O$. Cog's weights
#   jump where a logit changes sign.
# - With second queries copied, lambda's matrix zero and $W_O$ doubled, a trained
#   plain model becomes a V2 model and starts where it stood.
# - Nothing in this chapter ranks the family.
#
# You can now read the next paper about attention with a pencil and four
# questions. What is its map, and what does a row sum to? Does a row depend on a
# later token? Which part of it could be folded into a matrix that is there
# already? And which control would show the same gain without the idea?
#
# ## Further reading
#
# - *Differential Transformer V2*, blog of the authors' group, 2026: the
#   reasons and four ablations, in words. [B2]
# - Kong, Jang and Kwak, *Understanding Differential Transformer Unchains
#   Pretrained Self-Attentions*, arXiv 2505.16333: DEX, and another explanation
#   of why V1 works.
# - *Grouped Differential Attention*, arXiv 2510.06949, and Cang et al., *DINT
#   Transformer*, arXiv 2501.17486: the two that did in the race what diff does.
# - Kobyzev et al., *Integral Transformer*, arXiv 2508.18387: against negative
#   weights. Read it with exercise 27.3 in hand.
# - `trestad/CogAttn`: Cog attention in one short file.
