# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Problem set 6: Eight bits, fewer keys, one branch more
#
# Part VI changes heads that somebody has trained. It stores their keys in fewer
# bits, throws keys away, or adds a second branch. The first problem bounds what
# such a change does to a head, the second computes it exactly, and in the third
# it does nothing to the outputs, and you find out what it does to the first
# step of training.
#
# {card}
#
# ## Prerequisites
#
# | you need | for | from |
# |---|---|---|
# | int8 with a scale, keys without their mean | P6.1 | chapter 25 |
# | logits, softmax, the causal mask, lambda | P6.1, P6.2 | chapter 3 |
# | weights after an eviction, H2O's score, asking blind | P6.2 | chapter 26 |
# | a start that changes nothing | P6.3 | chapter 27 |
# | gradients of a product; gradient descent, AdamW | P6.3 | chapters 4, 14 |
#
# Each problem can be solved alone. A cell that begins with `if passed` uses
# your function once its check has passed, and is silent before.

# %%
import numpy as np
import torch
from torch import Tensor

from minidiff import attention_maps, check, course, diff_attention, load
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course.rounding import draw
from minidiff.data import BPETokenizer, standard_library
from minidiff.nn.low_bit import quantise, restore
from minidiff.ops.sdpa import softmax_attention

torch.set_num_threads(1)
_ = torch.manual_seed(0)

# %% [markdown]
# ## Problem P6.1: a bound for eight bits
#
# *Medium, 20 minutes.* Chapter 25 measured the error of int8 keys on one set of
# random numbers. How bad can it become? Follow one row of a map:
#
# 1. A number of a key moves by at most half a step.
# 2. So a logit moves by at most some $e$. By how much, if every error has the
#    worst sign?
# 3. So the weights of a softmax move by at most $e$, absolute values added up.
# 4. So the weights of $A_1 - \lambda A_2$ move by how much?
#
# Step 3 is given. To believe it, move the logits of a row a little at a time:
# if they move at the rates $\delta_s$, then weight $A_s$ moves at the rate
# $A_s (\delta_s - \bar\delta)$, where $\bar\delta$ is the mean of the rates
# under the weights. Summed up, the absolute values are a mean distance from
# the mean, which is at most a standard deviation, and that is at most the
# largest $|\delta_s|$. Here is a try:

# %%
logits = 2 * torch.randn(10_000, 12, dtype=torch.float64)
for e in (0.01, 0.1, 1.0):
    moved = logits + e * (2 * torch.rand_like(logits) - 1).sign()
    change = (moved.softmax(-1) - logits.softmax(-1)).abs().sum(-1)
    print(f"e = {e:4.2f}: the weights of a row move by {change.max():.4f}")
    assert change.max() <= e

# %% [markdown]
# Which keys' errors matter for a query? And which numbers are rounded, if keys
# lose their mean first (chapter 25)?


# %% tags=["stub:P6.1"]
def error_bound(q: Tensor, k: Tensor, lam: float) -> Tensor:
    """Return how far int8 keys can move each row of A1 - lam A2, (H, T).

    q, k (H, 2, T, D): of H causal heads, with logits q k' / sqrt(D). lam may
    be negative. Before the keys are stored they lose their mean over the T
    tokens, for each head and branch by itself. The codes are int8, with a
    scale for each token, head and branch: its largest absolute number
    becomes 127 or -127. Rounding moves a number by at most half a step, and
    a step is the scale. The queries stay exact.

    First bound the error of every logit that a query sees, for each branch.
    If no logit of a row moves by more than e, then the weights of its softmax
    move by at most e, absolute values added up. The result bounds the sum of
    the absolute errors of a row of A1 - lam A2.
    """
    # your code


# %% tags=["check:P6.1"]
passed = check.exP6_1(error_bound)

# %% [markdown]
# Now the bound beside the error itself, for branches that are more and more
# alike. The third number is the size of the exact map: the sum of its absolute
# weights in a row.


# %%
def pair_of(alike: float) -> tuple[Tensor, Tensor]:
    """Queries and keys (H, 2, T, D) of branches with this correlation."""
    q1, k1, q2, k2, _ = draw(alike)
    return torch.stack((q1, q2), 1).double(), torch.stack((k1, k2), 1).double()


def moved(q: Tensor, k: Tensor, lam: float) -> tuple[Tensor, Tensor]:
    """Sums (H, T) over a row: of absolute errors, and of absolute weights."""
    centred = k - k.mean(2, keepdim=True)
    near = restore(*quantise(centred, "int8"), k.dtype)
    exact = attention_maps(q[None], k[None], lam).A[0]
    error = attention_maps(q[None], near[None], lam).A[0] - exact
    return error.abs().sum(-1), exact.abs().sum(-1)


# %%
LAM = 0.8
for alike in (0.0, 0.9, 0.99):
    q, k = pair_of(alike)
    error, size = moved(q, k, LAM)
    print(
        f"alike {alike:4.2f}: errors {error.mean():.4f} on average,", end=" "
    )
    print(f"{error.max():.4f} at most; size {size.mean():.2f}", end=" ")
    if passed:
        bound = error_bound(q, k, LAM)
        assert (error <= bound).all()
        print(f"bound {bound.mean():.4f} on average", end="")
    print()

# %% [markdown]
# The more alike the branches are, the smaller is the map. The bound stays, and
# so nearly do the errors, since the rounding of one branch knows nothing of the
# other. So the *relative* error grows as the map shrinks: this is chapter 25's
# result, as a statement about the worst case.
#
# The bound is far above the errors. It lets every number of every key err by a
# full half step with the worst sign, at the key with the largest step. Errors
# of random sign add up like the root of their number. If you need a guarantee,
# you pay for it.
#
# One more question. Add an offset to all keys of a branch. What does it do to
# the bound? And what would it do if the mean were kept?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
q, k = pair_of(0.9)
offset = torch.zeros(2, 1, 64, dtype=torch.float64)
offset[0, 0, 3], offset[1, 0, 7] = 20, -20
if passed:
    before, after = (error_bound(q, x, LAM) for x in (k, k + offset))
    print(f"the bound grows {(after / before).max():.2f} times")
    steps = [x.abs().amax(-1).mean() / 127 for x in (k, k + offset)]
    print(f"with the mean, steps grow {steps[1] / steps[0]:.1f} times")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
if passed:
    assert torch.allclose(before, after)

# %% [markdown]
# ## Problem P6.2: the price of one key
#
# *Medium, 20 minutes.* Chapter 26 scored keys by $|A_1 - \lambda A_2|$ and
# warned of a trap: a key that contributes nothing still has a part in both
# denominators. So let us compute what the eviction of a key really does to the
# output, values and denominators included.
#
# Take one branch first, with the output $o = \sum_j A_j v_j$. Without key $s$
# the other weights are divided by $1 - A_s$. What is the new output, written
# with $o$, $A_s$ and $v_s$ only? What is the change? If you have it as one
# short product, all keys can be done at once, without a loop over evictions.


# %% tags=["stub:P6.2"]
def eviction_cost(
    A1: np.ndarray, A2: np.ndarray, v: np.ndarray, lam: float
) -> np.ndarray:
    """Return the cost (S,) of evicting each key alone.

    A1, A2 (T, S): weights of T queries on S keys, each row a softmax; no
    weight is 1. v (S, Dv): the values of the keys. The output of a query is
    (A1 - lam A2) v. If key s alone is evicted, each branch takes its softmax
    over the same scores of the other keys. The cost of key s is the length
    (Euclidean norm) of the change of a query's output, as a mean over the
    T queries. All keys are compared with the full cache.
    """
    # your code


# %% tags=["check:P6.2"]
passed = check.exP6_2(eviction_cost)

# %% [markdown]
# The change of a branch is $\frac{A_s}{1 - A_s}(o - v_s)$. So in a branch, a
# key is free to go not only if its weight is small, but also if its value is
# what the branch says anyway.
#
# Here is the example of the trap, with $\lambda = \frac12$ and key 1, which
# contributes nothing. In the second line key 1 gets another value, far away
# from the others. Which of the three costs will change?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
A1, A2 = np.array([[4, 9, 3]]) / 16, np.array([[8, 3, 5]]) / 16
print("|A1 - A2/2|      ", np.round(abs(A1 - A2 / 2)[0], 3))
v = np.eye(3)
if passed:
    print("cost             ", np.round(eviction_cost(A1, A2, v, 0.5), 3))
    v[0] = 7, 0, -2
    print("with a far value ", np.round(eviction_cost(A1, A2, v, 0.5), 3))

# %% [markdown]
# The key with the score zero is not the cheapest at first: key 3 is. And its
# own cost does not depend on its value, because that value is in no output,
# before or after. All that its eviction costs is due to the denominators. The
# costs of the two others do change: without them the far value gets a weight.
#
# Does this matter in a trained model? Take the shipped differential model and
# four texts that it has not been trained on. A prompt of 128 tokens keeps 16
# keys in each head. The keys are scored by the last 32 queries of the prompt,
# which is asking blind, or by the 64 queries that come after it, which is
# asking with knowledge of the question. The measure is the relative error of
# the heads' outputs at these 64 queries. Before you run it: the cost of every
# key is exact now. How much better will it be than the plain difference?

# %%
model = load(course.weights("pair_diff.safetensors")).requires_grad_(False)
coder = BPETokenizer.load(course.weights("pair_tokenizer.json"))
texts = [d.text[:4000] for d in standard_library().valid if len(d.text) > 4000]
ids = torch.tensor([coder.encode(text)[:192] for text in texts[:4]])

values = []  # of each layer, (B, H, T, 2D)
for block in model.blocks:
    block.attention.v_proj.register_forward_hook(
        lambda m, x, out, shape=block.attention.v_shape: values.append(
            out.unflatten(-1, shape).movedim(1, -2)
        )
    )
_, maps = model(ids, return_maps=True)

# %%
heads = []  # A1, A2, v and lambda of each layer, text and head
for layer, v in zip(maps, values, strict=True):
    for b, h in np.ndindex(v.shape[:2]):
        A1, A2, A, one = (x[b, h].double().numpy() for x in (*layer, v))
        heads.append((A1, A2, one, 1 - A[-1].sum()))
P, KEPT = 128, 16
print(len(heads), "heads")


def outputs(A1, A2, v, lam, gone) -> np.ndarray:
    """Outputs of the last queries without the keys that are gone."""
    A1, A2 = (np.where(gone, 0, A[P:]) for A in (A1, A2))
    A1, A2 = (A / A.sum(-1, keepdims=True) for A in (A1, A2))
    return (A1 - lam * A2) @ v


# %%
def scores(rule: str, A1, A2, v, lam) -> np.ndarray:
    """Scores of all keys for some queries."""
    if rule == "cost":
        return eviction_cost(A1, A2, v, lam)
    W = {"difference": abs(A1 - lam * A2), "mass": A1 + A2}
    W["random"] = np.random.default_rng(len(A1)).random(A1.shape)
    return W[rule].mean(0)


# %%
def error(rule: str, queries: slice, A1, A2, v, lam) -> float:
    """Relative error of a head's outputs after the eviction by a rule."""
    found = scores(rule, A1[queries], A2[queries], v, lam)[:P]
    gone = np.zeros(len(v), dtype=bool)
    gone[np.argsort(found)[:-KEPT]] = True
    none = np.zeros_like(gone)
    exact, near = (outputs(A1, A2, v, lam, g) for g in (none, gone))
    return np.linalg.norm(near - exact) / np.linalg.norm(exact)


# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
found = {}
print("scored by     the last of the prompt   the coming queries")
for rule in ("random", "mass", "difference", "cost"):
    if passed or rule != "cost":
        found[rule] = blind, aware = [
            np.mean([error(rule, queries, *head) for head in heads])
            for queries in (slice(P - 32, P), slice(P, None))
        ]
        print(f"{rule:12s}{blind:24.3f}{aware:21.3f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for rule, (blind, aware) in found.items():
    if rule != "random":
        assert aware < blind < found["random"][0] - 0.02
        assert abs(blind - found["difference"][0]) < 0.02

# %% [markdown]
# Hardly at all. The difference, the mass and the exact cost keep keys that are
# equally good, and all of them beat random keys. What helps is to know the
# queries that will come, as chapter 26 says. (One model and four texts: this is
# an example and ranks no rules.)
#
# Why does exact knowledge not help? The cost is exact for *one* key. Here 112
# keys go together, and their changes are vectors, of which many cancel. And in
# these heads keys of low cost are mostly those of small difference:

# %% tags=["nbval-ignore-output"]
if passed:
    alike, together = [], []
    for A1, A2, v, lam in heads:
        late = A1[P:], A2[P:]
        cost = eviction_cost(*late, v, lam)[:P]
        apart = abs(late[0] - lam * late[1]).mean(0)[:P]
        ranks = [x.argsort().argsort() for x in (cost, apart)]
        alike.append(np.corrcoef(ranks)[0, 1])
        gone = np.zeros(len(v), dtype=bool)
        gone[np.argsort(cost)[:-KEPT]] = True
        change = outputs(A1, A2, v, lam, gone) - (late[0] - lam * late[1]) @ v
        sizes = np.linalg.norm(change, axis=1).mean(), cost[gone[:P]].sum()
        together.append(sizes[0] / sizes[1])
    print(f"correlation of the two rankings: {np.mean(alike):.2f}")
    print(f"change together over the sum of costs: {np.mean(together):.2f}")

# %% [markdown]
# The trap is real for a single key. For the choice of 16 keys out of 128, in
# this model, it decides little.
#
# ## Problem P6.3: a second branch, and its first step
#
# *Hard, 25 minutes.* Chapter 27 gave a plain layer second queries in such a way
# that no output changes: branch 2 is a copy of branch 1, and $W_O$ makes up for
# what is subtracted. There lambda was one half for all. Here each head has a
# lambda of its own, and heads share keys and values in groups, as in most
# models of today.
#
# The outputs are the same at the start. Is the first step the same, too? Take
# one head. Its output is now
#
# $$
# \frac{1}{1 - \lambda}\, W_O\, (A_1 - \lambda A_2)\, v ,
# $$
#
# and both maps are the plain map $A$, but of two sets of queries. Let $g$ be
# the plain layer's gradient of these queries. What are the gradients of the
# two sets now? What does a step along each of them do to the output? Mind the
# signs: the second map is subtracted.
#
# Then ask the same of $W_O$, whose gradient is made of what the heads give.


# %% tags=["stub:P6.3"]
def second_branch(
    W_q: Tensor, W_o: Tensor, lam: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the new queries and W_O, and factors for their learning rates.

    W_q (H D, E) and W_o (E, H D) are those of a plain layer with H heads,
    which may share keys and values in groups. In the new layer, head h
    computes (A1 - lam[h] A2) v with the old keys and values; lam (H,), from 0
    to below 1, is not trained. Results:

    - queries (2 H D, E): head after head, in each the D rows of branch 1,
      then those of branch 2, which begins as a copy of branch 1;
    - W_O (E, H D), with which the layer computes what the plain one does;
    - a factor (H,) for the learning rate of each head's queries, the same in
      both branches, and one (H,) for that of its columns of W_O. With these
      factors, a small step of gradient descent in the queries alone, or in
      W_O alone, changes the outputs as the plain layer's step would.
    """
    # your code


# %% tags=["check:P6.3"]
passed = check.exP6_3(second_branch)

# %% [markdown]
# Try it on a layer of four heads, of which two and two share keys and values.
# The loss is a distance to random targets. For each of the two matrices, and
# with your factors or without them: how far does one small step move the
# outputs, compared with the plain layer's step? And how far from that step is
# it? (0 is the same.)

# %%
H, Hkv, D, E, T = 4, 2, 8, 32, 24
x, target = torch.randn(2, 1, T, E, dtype=torch.float64)
k, v = torch.randn(2, 1, Hkv, T, D, dtype=torch.float64)
lams = torch.tensor([0.2, 0.5, 0.5, 0.8], dtype=torch.float64)


# %%
def plain(W_q: Tensor, W_o: Tensor) -> Tensor:
    q = (x @ W_q.T).unflatten(-1, (H, D)).movedim(1, -2)
    k4, v4 = (a.repeat_interleave(H // Hkv, 1) for a in (k, v))
    return softmax_attention(q, k4, v4).transpose(1, 2).flatten(2) @ W_o.T


def both(W_q: Tensor, W_o: Tensor) -> Tensor:
    q = (x @ W_q.T).unflatten(-1, (H, 2, D)).movedim(1, -2)
    out = diff_attention(q, k[:, :, None], v, lams[None, :, None])
    return out.transpose(1, 2).flatten(2) @ W_o.T


# %%
def step(layer, weights, which: int, factors: Tensor, rule: str) -> Tensor:
    """Change of the outputs by one small step in one of the matrices."""
    weights = [w.clone().requires_grad_() for w in weights]
    before = layer(*weights)
    (before - target).square().mean().backward()
    direction = weights[which].grad
    if rule == "adam":  # the first step of AdamW has this form
        direction = direction.sign()
    shape = (H, -1, E) if which == 0 else (E, H, -1)
    factors = factors[:, None] if which else factors[:, None, None]
    with torch.no_grad():
        scaled = direction.reshape(shape) * factors
        weights[which] -= 1e-6 * scaled.reshape(direction.shape)
        return layer(*weights) - before


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
W_q, W_o = torch.randn(2, H * D, E, dtype=torch.float64) / E**0.5
ones = torch.ones_like(lams)
if passed:
    *new, rate_q, rate_o = second_branch(W_q, W_o.T, lams)
    print("same outputs:", torch.allclose(plain(W_q, W_o.T), both(*new)))
    for which, name, rate in ((0, "queries", rate_q), (1, "W_O", rate_o)):
        wanted = step(plain, (W_q, W_o.T), which, ones, "descent")
        for label, factors in (("rates as before", ones), ("yours", rate)):
            got = step(both, new, which, factors, "descent")
            size = (got.norm() / wanted.norm()).item()
            off = ((got - wanted).norm() / wanted.norm()).item()
            print(f"{name:8s}{label:16s}size {size:5.2f}, off by {off:.3f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
if passed:
    assert size < 1.01 and off < 1e-3
    assert torch.allclose(plain(W_q, W_o.T), both(*new))

# %% [markdown]
# With the rates as before, the queries move the outputs many times as far, and
# $W_O$ less far. So an "equal" start with an equal learning rate is no equal
# training: part of what one sees in the first steps is a larger step.
#
# Models are trained by AdamW, whose steps do not depend on the size of the
# gradient (its first one is nearly the gradient's sign). What are the factors
# there? Do the same sums again with steps of equal size: in branch 1 and in
# branch 2 they are equal and opposite.

# %% tags=["hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true}
adam_q, adam_o = (1 - lams) / (1 + lams), 1 / (1 - lams)
if passed:
    for which, name, rate in ((0, "queries", adam_q), (1, "W_O", adam_o)):
        wanted = step(plain, (W_q, W_o.T), which, ones, "adam")
        got = step(both, new, which, rate, "adam")
        off = ((got - wanted).norm() / wanted.norm()).item()
        print(f"{name:8s}", *(f"{r:.2f}" for r in rate), end="; ")
        print(f"off by {off:.3f}")
        assert off < 1e-3

# %% [markdown]
# For lambda one half these are a third and two. The record of chapter 27
# trained both models at one rate; whether these factors would change what it
# shows was not run. After the first steps the two branches
# are no copies any more, and no fixed factor makes the trainings the same. That
# is what the second branch is for.
#
# ## Further reading
#
# - Zhang and others, *SageAttention*, arXiv 2410.02367: keys without their
#   mean, in kernels of 8 bits.
# - Guo, Kamigaito and Watanabe, *Attention Score is Not All You Need for Token
#   Importance Indicator in KV Cache Reduction: Value Also Matters*,
#   arXiv 2406.12335: a rule for plain heads that uses the sizes of the values.
# - Chen, Goodfellow and Shlens, *Net2Net*, arXiv 1511.05641: larger networks
#   that compute what the smaller ones did.
