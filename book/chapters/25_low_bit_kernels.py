# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 25. Low-bit kernels
#
# A differential head subtracts what two maps have in common, and much of their
# noise goes with it. In this chapter the same subtraction makes noise *larger*:
# the noise of rounding. By the end you will have shown which rounding errors
# cancel and which do not, computed by what factor the error of 8-bit keys
# grows, and measured what a cache in 8 bits costs two small trained models, on
# text and in lookups.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - store tokens as int8 or fp8 numbers, with a scale for each token;
# - tell saturation from rounding;
# - predict how a rounding error grows in a difference;
# - say why keys may lose their mean, and what values need back;
# - measure what a cache in 8 bits costs a trained model.
#
# ## Prerequisites
#
# | you need | where |
# |---|---|
# | differential map, lambda | 3 |
# | cache, generation | 16 |
# | needles, the lookup task | 7, 19 |
# | absmax rounding, outliers | 23 |

# %%
import hashlib
import json

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.nn.functional import cross_entropy

from minidiff import check, course, generate, load, plots

# %%
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course.low_bit_errors import low_bit_errors
from minidiff.course.rounding import draw
from minidiff.data import BPETokenizer, NeedleTask, standard_library
from minidiff.evaluation.intervals import wilson
from minidiff.evaluation.recall import draw_questions
from minidiff.ops.low_bit import quantise, restore

PAIR = {"plain": "pair_softmax.safetensors", "diff": "pair_diff.safetensors"}
plots.use_style("svg")
torch.set_num_threads(1)

# %% [markdown]
# How many rows of text the trained models read (and four times as many rows of
# lookups):

# %% tags=["parameters"] quick={"ROWS": 1}
ROWS = 4

# %% [markdown]
# ## A cold open: the same keys, another error
#
# An ordinary head, one branch, reads random keys that were rounded to 8 bits.
# The *relative error* of its output is the norm of the error over the norm of
# the exact output: about half a percent. Now take a differential head. Its
# keys are rounded in the same way, its two branches have queries and keys that
# are almost alike (correlation 0.99), and lambda is 0.8. Is its error smaller,
# the same, or larger, and how many times? Guess. Then guess once more, with
# exact keys and *values* in 8 bits.

# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
ALIKE = 0.99
print(f"correlation {ALIKE}")
for name in ("keys", "values"):
    one, both = low_bit_errors(ALIKE, "int8")[name]
    print(f"int8 {name:6s}: one branch {one:.2%}, difference {both:.2%}")

# %% [markdown]
# With rounded keys the difference is about five times as wrong as one branch.
# With rounded values it is as good as before. Keys and values have the same
# 8 bits, so the cause must be where in the head the rounding happens. This
# chapter finds it, and then asks whether it matters in a trained model.
#
# ## Where a kernel would use 8 bits
#
# There are two reasons to want 8 bits. A GPU multiplies more 8-bit numbers than
# 16-bit ones in the same time. And a cache of 8-bit numbers takes about half
# the memory. In this picture of one differential head, orange marks what is
# rounded: queries and keys before their product, the signed map and the values
# before theirs. Sums of products are kept in 32 bits.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
boxes = [(6.4, 0, "A1 - λ A2\nint8", "C1"), (8.2, 0, "times v\nint8", "C1")]
for n, y in ((1, 0.9), (2, -0.9)):
    boxes += [(0, y, f"q{n}, k{n}\nint8", "C1"), (2, y, "q k'\nint32", "k")]
    boxes += [(4.2, y, f"scales,\nsoftmax: A{n}", "k")]

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Diagram of one differential head in 8 bits. For each of two branches, q and k in int8 lead to a product in int32, then to scales and softmax, a map A1 or A2. Both lead to A1 minus lambda A2, which is rounded to int8 once, and multiplied with v in int8. The boxes that are rounded are orange."}}
figure, axis = plt.subplots(figsize=(8, 2.6))
for x, y, text, color in boxes:
    style = {"boxstyle": "round", "facecolor": "white", "edgecolor": color}
    axis.text(x, y, text, ha="center", va="center", bbox=style, color="k")
arrows = [((6.4, 0), (8.2, 0))]
for y in (0.9, -0.9):
    arrows += [((0, y), (2, y)), ((2, y), (4.2, y)), ((4.2, y), (6.4, 0))]
for a, b in arrows:
    arrow = {"arrowstyle": "->", "shrinkA": 36, "shrinkB": 36}
    axis.annotate("", b, a, arrowprops=arrow)
axis.set(xlim=(-0.7, 9), ylim=(-1.5, 1.5))
axis.axis("off")
plt.show()

# %% [markdown]
# ## Two kinds of 8 bits
#
# To *quantise* numbers is to store them as small whole numbers, called
# *codes*, and one *scale* that turns codes back into numbers. An **int8** code
# is an integer from -127 to 127. The $D$ numbers $x_i$ of one token share a
# scale $s$, and what comes back is $\hat x_i$:
#
# $$
# s = \max_i |x_i| / 127, \qquad \hat x_i = s \, \mathrm{round}(x_i / s)
# \tag{25.1}
# $$
#
# All steps between neighbouring int8 numbers are equal. An **fp8** number is a
# floating-point number of 8 bits: a sign, 4 bits of exponent and 3 of fraction
# (this form is called e4m3). Its steps are small near 0 and grow with the
# number, so its *relative* error is at most 1/16, except very near 0. The
# largest is 448, so fp8 is used with a scale too.
#
# ### Exercise 25.1: int8 codes
#
# *Easy, 5 minutes.*


# %% tags=["stub:25.1"]
def int8_codes(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 codes (T, D) and scales (T, 1) of T tokens x (T, D).

    codes * scales is x, up to rounding to the nearest integer (np.round).
    Each token has its own scale, with which its largest absolute number
    becomes 127 or -127. No token has only zeros.
    """
    # your code


# %% tags=["check:25.1"]
check.ex25_1(int8_codes)

# %%
int8_codes = check.mine("25.1")
x = np.random.default_rng(0).normal(size=(256, 64))


def relative(near, exact) -> float:
    """Norm of the error over the norm of the exact numbers."""
    return float(np.linalg.norm(near - exact) / np.linalg.norm(exact))


codes, scales = int8_codes(x)
print(f"int8: {relative(codes * scales, x):.2%}")
near = restore(*quantise(torch.from_numpy(x), "fp8"), torch.float64)
print(f"fp8:  {relative(near.numpy(), x):.2%}")

# %% [markdown]
# For numbers from a normal distribution int8 is the more exact of the two, with
# the same memory. The strength of fp8 is elsewhere: it keeps small numbers
# beside a very large one, where int8 rounds them to 0.
#
# ## Saturation is not rounding
#
# Make one token thirty times as large as the others, and try three scales: one
# for each token; one for all tokens; and a *fixed* one, which somebody measured
# earlier on text without such a token. A number beyond the range of a fixed
# scale is cut off at 127 steps. That is called *saturation*.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
outlier = x.copy()
outlier[7] *= 30
top = np.abs(x).max() / 127
RULES = {
    "a scale a token": int8_codes(outlier)[1],
    "one scale": np.abs(outlier).max() / 127,
    "fixed scale": top,
}
usual = np.delete(np.arange(len(x)), 7)
print("relative error   all but one   the large token")
for name, step in RULES.items():
    near = np.clip(np.round(outlier / step), -127, 127) * step
    errors = [relative(near[i], outlier[i]) for i in (usual, 7)]
    print(f"{name:16s}{errors[0]:12.2%}{errors[1]:18.2%}")

# %% [markdown]
# One scale for all ruins every token but the large one. The fixed scale ruins
# the large one alone, and a mean over 256 tokens would hardly show it. A scale
# for each token avoids both, and the rest of this chapter uses it.
#
# ## Keys without their mean
#
# Smaller numbers have a smaller rounding error, because their scale is smaller.
# A query's softmax does not change if one number is added to all its logits.
# So subtract from each key the mean $\bar k$ of all keys. Then
#
# $$
# q \cdot (k_s - \bar k) = q \cdot k_s - q \cdot \bar k ,
# \tag{25.2}
# $$
#
# and the last term is the same for all keys $s$, so the weights do not change.
# This is true of each softmax by itself, so a differential head subtracts one
# mean *in each branch*. It pays where keys share a large offset. Take branch 1
# of the cold open, add 20 to one channel of every key, and compute the map
# from int8 codes with and without the mean:


# %%
def logits(q, k):
    """Logits of int8 codes: an integer product, then the scales."""
    (a, sa), (b, sb) = int8_codes(q), int8_codes(k)
    total = a.astype(np.int32) @ b.astype(np.int32).T  # exact
    return total * sa * sb.T / np.sqrt(q.shape[-1])


def attention(logits):
    """Causal softmax."""
    seen = np.tril(np.ones(logits.shape, dtype=bool))
    logits = np.where(seen, logits, -np.inf)
    A = np.exp(logits - logits.max(-1, keepdims=True))
    return A / A.sum(-1, keepdims=True)


# %%
q1, k1, q2, k2, v = (a[0].double().numpy() for a in draw(0.99))
offset = np.zeros(64)
offset[3] = 20
shifted = k1 + offset
exact = attention(q1 @ shifted.T / 8)
for name, keys in (("as is", shifted), ("no mean", shifted - shifted.mean(0))):
    print(f"{name:8s} {relative(attention(logits(q1, keys)), exact):.2%}")

# %% [markdown]
# (The mean must be known before the first key is rounded. A cache that grows
# token by token does not know it, so the package's cache does without.)
#
# ## Errors that do not cancel
#
# Back to the cold open. Branch $i$ has an output $o_i = A_i V$
# and a rounding error $e_i$. The difference has the output $o_1 - \lambda o_2$
# and the error $e_1 - \lambda e_2$. If the two branches are alike, the outputs
# nearly cancel. The errors cancel only if *they* are alike.
#
# In the picture an output is an arrow and the size of its error a disc at the
# tip.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
o1, o2 = ([3 * np.cos(angle), 3 * np.sin(angle)] for angle in (0.2, 0.1))
rest = np.subtract(o1, np.multiply(0.8, o2))
size, disc = np.linalg.norm(rest), 0.22
ARROWS = {
    "two branches": [(o1, disc, "C0"), (np.multiply(0.8, o2), disc, "C1")],
    "difference: keys rounded": [(rest, disc * 1.64**0.5, "C2")],
    "difference: values rounded": [(rest, disc * size / 3, "C2")],
}

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Three panels. Left: two long arrows, o1 and lambda o2, in nearly the same direction, each with a small disc at its tip. Middle: their difference, a short arrow, with a disc half as large as the arrow is long. Right: the same short arrow with a tiny disc."}}
figure, axes = plt.subplots(1, 3, figsize=(8, 1.9))
for axis, (title, arrows) in zip(axes, ARROWS.items(), strict=True):
    for tip, radius, color in arrows:
        style = {"arrowstyle": "->", "color": color, "lw": 2}
        axis.annotate("", tip, (0, 0), arrowprops=style)
        axis.add_patch(plt.Circle(tip, radius, color=color, alpha=0.35))
    axis.set_title(title, fontsize=10)
    axis.set(xlim=(-0.2, 3.4), ylim=(-0.35, 1.1), aspect="equal")
    axis.axis("off")
axes[0].text(1.5, 0.5, "o1")
axes[0].text(1.5, -0.15, "λ o2")
plt.show()

# %% [markdown]
# Keys of the two branches are rounded separately. Their errors point anywhere,
# and on average a difference of two such errors is longer than either. Values
# are rounded once, for both branches, so their error cancels as the outputs do.
#
# ### Exercise 25.2: how an error grows
#
# *Medium, 8 minutes.* By how much does the error grow? Take pen and paper.


# %% tags=["stub:25.2"]
def growth(lam: float, outputs: float, errors: float) -> float:
    """Return the relative error of a difference over that of one branch.

    The outputs o1 and o2 of two branches are vectors of equal norm, and
    ``outputs`` is the cosine of the angle between them. Their rounding errors
    e1 and e2 are much smaller vectors, also of equal norm, and ``errors`` is
    the cosine between these. Compare o1 - lam o2, whose error is e1 - lam e2,
    with o1, whose error is e1. A relative error is the norm of the error over
    the norm of the output. The cosine of the outputs is below 1.
    """
    # your code


# %% tags=["check:25.2"]
check.ex25_2(growth)

# %% [markdown]
# Now measure it: queries and keys in int8, the rest exact, for several lambda.
# The prediction is yours, for errors that have nothing to do with each other: a
# cosine of 0.

# %% tags=["nbval-ignore-output"]
growth = check.mine("25.2")
o1, o2 = (attention(q @ k.T / 8) @ v for q, k in ((q1, k1), (q2, k2)))
near1, near2 = (attention(logits(q, k)) @ v for q, k in ((q1, k1), (q2, k2)))
cosine = (o1 * o2).sum() / np.linalg.norm(o1) / np.linalg.norm(o2)
LAMBDAS = (0, 0.2, 0.5, 0.8, 1)
print("lambda  error  times that of a plain head: measured, predicted")
GROWN = []
for lam in LAMBDAS:
    error = relative(near1 - lam * near2, o1 - lam * o2)
    GROWN.append(error / relative(near1, o1))
    print(f"{lam:5.1f} {error:7.2%}", end=" ")
    print(f"{GROWN[-1]:8.2f} {growth(lam, cosine, 0):8.2f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "How many times the relative error of a difference exceeds that of one branch, against lambda from 0 to 1. The line for independent errors rises steeply towards 1, and the measured points lie near it. The line for errors as alike as the outputs stays at 1."}}
figure, axis = plt.subplots(figsize=(6, 3))
grid = np.linspace(0, 1, 100)
independent = [growth(lam, cosine, 0) for lam in grid]
axis.plot(grid, independent, label="independent errors")
alike = [growth(lam, cosine, cosine) for lam in grid]
axis.plot(grid, alike, "--", label="errors alike, as of V")
axis.plot(LAMBDAS, GROWN, "o", color="C2", ls="", label="measured, int8 Q K")
axis.set(xlabel="lambda", ylabel="error over that of a plain head")
axis.legend()
plt.show()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for lam, grown in zip(LAMBDAS, GROWN, strict=True):
    assert abs(grown / growth(lam, cosine, 0) - 1) < 0.25
assert GROWN[-2] > 2

# %% [markdown]
# One formula of two cosines explains both numbers of the beginning. **What two
# branches share cancels; independent rounding errors do not.** An error of V is
# multiplied by the one map $A_1 - \lambda A_2$, so it shrinks as the output
# does. (The norm that follows in each head, chapter 5, does not help: it makes
# the output large again, and its error with it.)
#
# ## One signed map, not two
#
# The second product, $(A_1 - \lambda A_2) V$, can be computed from int8 codes
# too. After what you have seen the order is clear: subtract first, then round
# the one map, which has weights of both signs. V may lose its mean as well, and
# then something has to be added back at the end. What? A row of this map does
# not sum to 1.
#
# ### Exercise 25.3: the product with the values
#
# *Hard, 20 minutes.*


# %% tags=["stub:25.3"]
def int8_values(maps: np.ndarray, lam: float, v: np.ndarray) -> np.ndarray:
    """Return (A1 - lam A2) v (T, Dv) through one product of int8 codes.

    maps (2, T, S): A1 and A2, whose rows sum to 1. v (S, Dv). Subtract from
    each channel of v its mean over the S tokens. Quantise the difference of
    the maps with a scale for each row, and the centred v with a scale for
    each channel: the largest absolute number of a row or channel becomes 127
    or -127, and numbers are rounded with np.round. The sums of products are
    whole numbers. Scale them back, and add what the mean contributes to the
    exact result.
    """
    # your code


# %% tags=["check:25.3"]
check.ex25_3(int8_values)

# %% [markdown]
# ### A control: two maps in int8
#
# Round the two maps separately, and subtract afterwards:

# %% tags=["nbval-ignore-output"]
int8_values = check.mine("25.3")
maps = np.stack([attention(q @ k.T / 8) for q, k in ((q1, k1), (q2, k2))])
exact = (maps[0] - 0.8 * maps[1]) @ v
one_map = int8_values(maps, 0.8, v)
first, second = (int8_values(np.stack([A, A]), 0, v) for A in maps)
ONE, TWO = relative(one_map, exact), relative(first - 0.8 * second, exact)
print(f"one signed map {ONE:.2%}, two maps {TWO:.2%}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert ONE < TWO

# %% [markdown]
# With one map the error is smaller, because what the maps share is subtracted
# before anything is rounded.
#
# ## A cache in 8 bits
#
# These were random numbers. Does the growth of errors matter in a trained
# model? The package stores keys and values in 8 bits, with a scale for each
# token, head and branch: `generate(..., cache_precision="int8")`. The two
# models that come with the course, one plain and one differential, now read
# held-out Python through such a cache; continue it, always with the most likely
# token; and look keys up: eight needles in a row of 512 tokens, four of them
# asked. Predict: which of the two loses more, and on what?

# %%
WORDS = BPETokenizer.load(course.weights("pair_tokenizer.json"))
starts = (d.text[:3000] for d in standard_library().valid if len(d.text) > 9e3)
TEXT = torch.tensor([WORDS.encode(next(starts))[:129] for _ in range(ROWS)])
TASK = NeedleTask(needles=8, questions=4, length=512, repeats=False)
MODELS = {kind: load(course.weights(name)) for kind, name in PAIR.items()}
ASKED = draw_questions(
    TASK, MODELS["diff"], 4 * ROWS, first=WORDS.vocab_size
)  # fmt: skip


# %% tags=["hide-input"] jupyter={"source_hidden": true}
@torch.no_grad()
def on_text(model, precision):
    """Bytes of the cache, loss on text, and 40 greedy tokens."""
    bf16 = torch.bfloat16
    parts = model.new_cache(1, 128, dtype=bf16, precision=precision)
    size = sum(c.nbytes for c in parts)
    cache = model.new_cache(len(TEXT), 128, precision=precision)
    found = model(TEXT[:, :-1], cache=cache).flatten(0, 1)
    loss = cross_entropy(found, TEXT[:, 1:].flatten()).item()
    how = {"temperature": 0, "cache_precision": precision}
    text = generate(model, TEXT[:, :64], max_new_tokens=40, **how)
    return size, loss, text


# %% tags=["nbval-ignore-output"]
CASES = [(kind, p) for kind in MODELS for p in (None, "int8", "fp8")]
FOUND = {(kind, p): on_text(MODELS[kind], p) for kind, p in CASES}

# %% tags=["nbval-ignore-output", "hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true}
print("                  bytes of 16 bits   nats added   same tokens")
for (kind, precision), (size, loss, tokens) in FOUND.items():
    base, exact_loss, exact_tokens = FOUND[kind, None]
    if precision:
        same = (tokens == exact_tokens)[:, 64:].float().mean().item()
        print(f"{kind:6s}{precision:6s}{size / base:16.3f}", end="")
        print(f"{loss - exact_loss:+16.5f}{same:14.0%}")


# %%
@torch.no_grad()
def lookups(model, precision):
    """Number of right answers, of questions, and the loss a question."""
    cache = model.new_cache(len(ASKED.tokens), 512, precision=precision)
    logits = model(ASKED.tokens, cache, positions=ASKED.questions)
    right = (logits.argmax(-1) == ASKED.targets).sum().item()
    nats = cross_entropy(logits.flatten(0, 1), ASKED.targets.flatten())
    return right, ASKED.targets.numel(), nats.item()


# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
RIGHT = {(kind, p): lookups(MODELS[kind], p) for kind, p in CASES}
for (kind, precision), (right, asked, nats) in RIGHT.items():
    _, low, high = wilson(right, asked)
    print(f"{kind:6s}{precision or '32 bits':8s}", end="")
    print(f"{right} of {asked} right ({low:.2f} to {high:.2f}),", end=" ")
    print(f"{nats:.4f} nats a question")
print(f"by chance {TASK.chance.accuracy:.2f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for (kind, precision), (size, loss, _) in FOUND.items():
    right, asked, _ = RIGHT[kind, precision]
    assert right >= 0.9 * asked
    if precision:
        assert size < 0.65 * FOUND[kind, None][0]
        assert abs(loss - FOUND[kind, None][1]) < 0.02
        assert right >= RIGHT[kind, None][0] - 0.05 * asked

# %% [markdown]
# - *Memory.* The cache takes about six tenths of one of 16 bits. Each token,
#   head and branch has a scale of 4 bytes, and these heads are narrow (16
#   numbers a key); wide heads come closer to one half.
# - *Text.* When this page was made, the loss moved by less than a hundredth of
#   a nat, in both directions.
# - *Written text.* Many tokens did change. One different token can change all
#   that follow, so "same tokens" falls although the loss hardly moves.
# - *Lookups.* Both models still answer as they did with the exact cache, and
#   the loss a question hardly moves.
#
# (Losses are compared with a cache of 32 bits. A few hundred tokens, 64
# questions and one model of each kind show that 8 bits can be enough. They do
# not rank the kinds.)
#
# ### Where is the growth?
#
# So the differential model pays next to nothing, although its errors should
# grow in the subtraction. Do they? Give each of its layers the input that it
# has in the exact model, on the rows of text, and read the keys once exactly
# and once through int8. Then compare the output of branch 1 with the
# difference, in each head.


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def inputs(model, tokens):
    """The input of each attention layer."""
    found = []

    def keep(module, given):
        found.append(given[0])

    hooks = [
        block.attention.register_forward_pre_hook(keep)
        for block in model.blocks
    ]
    model(tokens)
    for hook in hooks:
        hook.remove()
    return found


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def maps_and_values(layer, x, precision):
    """The maps (B, H, T, T) through a cache, and its values."""
    cache = layer.new_cache(len(x), x.shape[1], precision=precision)
    _, maps = layer(x, cache=cache, return_maps=True)
    return maps, cache._v[..., : x.shape[1], :]


def by_head(near, exact):
    """Relative errors (B, H) of outputs (B, H, T, Dv)."""
    norm = torch.linalg.matrix_norm
    return norm(near - exact) / norm(exact)


# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
GREW = []
print("layer  lambda  error of branch 1  of the difference  times  at most")
with torch.no_grad():
    given = inputs(MODELS["diff"], TEXT[:, :-1])
    for block, x_in in zip(MODELS["diff"].blocks, given, strict=True):
        exact, values = maps_and_values(block.attention, x_in, None)
        near, _ = maps_and_values(block.attention, x_in, "int8")
        one = by_head(near.A1 @ values, exact.A1 @ values)
        both = by_head(near.A @ values, exact.A @ values)
        lam, grown = 1 - exact.A.sum(-1).mean(), both / one
        print(f"{len(GREW):5d} {lam:7.2f} {one.mean():18.2%}", end=" ")
        print(f"{both.mean():18.2%} {grown.mean():6.1f} {grown.max():8.1f}")
        GREW.append((grown.mean().item(), both.mean().item()))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert all(times > 1 and error < 0.05 for times, error in GREW)
assert max(times for times, _ in GREW) < max(GROWN)

# %% [markdown]
# The growth is there, in every layer: the error becomes up to about twice as
# large, as a mean over heads, and more in single heads. It is less than in the
# cold open, where lambda was larger than in any of these layers and the
# branches were nearly equal. And it starts from about a percent, so it stays
# small, which fits the small losses above. With fewer bits one would have to
# measure again.
#
# ## Products in 8 bits
#
# A long prompt is read in one pass, with many queries. There the *products* are
# what takes time, and `diff_attention(..., precision="int8")` multiplies queries
# and keys as codes. Keys lose their mean in each branch (equation 25.2), and
# 128 queries or 64 keys share a scale, so that a tile of the map needs one
# factor. Values and maps are not rounded to 8 bits. (Means and scales are taken
# over later tokens too, so a later token can change how an earlier logit is
# rounded, and nothing else.) With `backend="eager"` the same arithmetic runs on
# any machine. `book/recipes/low_bit_prefill_accuracy.py` let both models read
# with it:

# %% tags=["hide-input"] jupyter={"source_hidden": true}
record = course.results("low_bit_prefill_accuracy.json").read_text()
record = json.loads(record)
for name, digest in record["weights"].items():
    now = hashlib.sha256(course.weights(name).read_bytes()).hexdigest()
    assert now == digest, f"{name} is not the model that was measured"
CELLS = [cell for cell in record["cells"] if cell["precision"]]
print("nats added to a token of text, answers that changed, right ones")
for cell in CELLS:
    added, low, high = cell["added"]
    kind = "plain" if cell["kind"] == "softmax" else cell["kind"]
    print(f"{kind:6s}{cell['precision']:5s}{added:+9.5f}", end="")
    print(f" ({low:+.5f} to {high:+.5f})", end="")
    print(f"{cell['changed']:4d}, {cell['right']} of {cell['asked']}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
trained = json.loads(course.results("pair.json").read_text())["jobs"]
APART = {}
for job in trained:
    losses = [row["valid_loss"] for row in job["rows"]]
    kind = job["job"]["kind"]
    APART[kind] = max(losses) - min(losses)
    print(f"{len(losses)} seeds of {kind}: {APART[kind]:.3f} nats apart")
for cell in CELLS:
    added, low, high = cell["added"]
    assert cell["changed"] == 0 and abs(added) < min(APART.values()) / 5
    assert low < 0 < high if cell["precision"] == "int8" else low > 0

# %% [markdown]
# (In brackets are 95 % intervals over documents.) No answer changed. With int8
# the loss on text did not measurably change. With fp8 it rose, by a few
# thousandths of a nat; seeds of one kind differ by several times as much. For
# the normal numbers above int8 was the more exact of the two as well. One model
# of each kind does not rank the kinds.
#
# What can it gain in time? In each branch, a pair of a query and a key costs $D$
# multiplications for the logit and $D_v$ for the values. Suppose that codes are
# multiplied twice as fast, that making them takes no time, and that
# multiplications are all that counts:

# %%
for name, values in (("values as wide as keys", 1), ("twice as wide (V1)", 2)):
    gain = (1 + values) / (1 / 2 + values)
    print(f"{name:24s}at most {gain:.2f} times as fast")

# %% [markdown]
# Two thirds of the multiplications of a V1 head are with values, and these are
# not in 8 bits here.
#
# ## When are the kernels faster?
#
# There are kernels for decoding and for reading a prompt, and neither is used
# unless you ask for 8 bits. In decoding, each new token reads the whole cache
# once. A cache in 8 bits hands its codes to `diff_attention`, as `k_scale=` and
# `v_scale=`, and for up to 16 queries the kernels read them as they are. For a
# prompt, `precision="int8"` or `"fp8"` multiplies codes inside the fused forward
# pass.
#
# The record is of one H200: our kernels in 8 bits against our kernels in
# bfloat16. First decoding, one query in each sequence. A cache in 8 bits has
# little more than half of the bytes. Before you look: what is the largest
# possible speed-up, and for which sizes do you expect the smallest?


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def gains(name: str, what: str) -> dict:
    """Time in 16 bits over time in 8, by precision, rows, width, length."""
    ours, found, length = "diff/triton", {}, "S" if "decode" in what else "T"
    for row in json.loads(course.results(name).read_text())["rows"]:
        found[row["peer"], row["B"], row["D"], row[length]] = row[what]
    return {
        (peer.removeprefix(ours + " "), *at): found[ours, *at] / ms
        for (peer, *at), ms in found.items()
        if peer.startswith(ours + " ")
    }


DECODE = gains("low_bit_decode.json", "decode_ms")
PREFILL = gains("low_bit_prefill.json", "forward_ms")

# %% tags=["hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true}
print("decoding: times as fast as bfloat16, by number of keys")
kept = sorted({S for _, _, _, S in DECODE})
print(" " * 28, *(f"{S:6d}" for S in kept))
for B, D in ((1, 64), (1, 128), (16, 64)):
    for precision in ("int8", "fp8"):
        some = [DECODE[precision, B, D, S] for S in kept]
        print(f"{B:2d} sequences, D = {D:3d}, {precision:5s}", end=" ")
        print(*(f"{x:6.2f}" for x in some))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
many = {S: DECODE["int8", 16, 64, S] for S in kept}
assert min(x for S, x in many.items() if S >= 8192) > 1.5 > many[2048]
assert max(DECODE.values()) < 2 and min(DECODE.values()) > 1
one = [DECODE[p, B, D, S] for p, B, D, S in DECODE if (B, S) == (1, 8192)]
assert max(one) < 1.3
old = gains("low_bit_decode_tiles.json", "decode_ms")
assert max(old["int8", 16, 64, S] for S in (8192, 65_536)) < 0.9

# %% [markdown]
# If time depended on bytes alone, 8 bits would be not quite twice as fast, because
# the scales count too. With 16 sequences and 8,192 keys or more they are at
# least one and a half times as fast. With a single sequence the gain is smaller:
# a part of each call does not depend on the number of keys (we did not measure
# what it is).
#
# Our first kernel for codes was a small change to the one for 16 bits, and with
# 16 sequences and 8,192 keys or more it was *slower* than that:

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for S in (8192, 65_536):
    for precision in ("int8", "fp8"):
        before, now = (x[precision, 16, 64, S] for x in (old, DECODE))
        print(f"{S:6d} keys, {precision:5s}", end=" ")
        print(f"first {before:.2f} times as fast, now {now:.2f}")

# %% [markdown]
# It converted the codes to 16 bits and rearranged them in shared memory, as
# tensor cores want them. But a single query leaves fifteen of the sixteen rows of
# a tensor core's tile empty. The kernel that ships uses no tensor cores: the
# thread that loads a code multiplies it, and nothing is rearranged
# (`minidiff/ops/triton/kernels/decode_row.py`). It is for one or two queries of a
# key head (the queries in a call, times the heads that share its keys), and
# gains with one. All others still use the first kernel: a cache in 8 bits then
# saves memory, and can be slower.
#
# Now prompts, 16,384 tokens in all or one longer sequence, with the time to make
# the codes:

# %% tags=["hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true} mystnb={"image": {"alt": "Times as fast as bfloat16 against the number of tokens, on a logarithmic axis from 1,024 to 65,536, for int8 and fp8 at widths 64 and 128. All four curves begin between 0.8 and 0.9 and rise. At width 64 they cross 1 before 4,096 tokens, at width 128 at about 8,192. fp8 lies above int8. At 65,536 tokens int8 falls back, at width 128 below 1."}}
for D, colour in ((64, "C0"), (128, "C1")):
    for precision, line in (("int8", "-"), ("fp8", "--")):
        at = sorted(T for p, _, d, T in PREFILL if (p, d) == (precision, D))
        rows = {T: B for p, B, d, T in PREFILL if d == D}
        some = [PREFILL[precision, rows[T], D, T] for T in at]
        style = {"color": colour, "ls": line, "marker": "o", "ms": 4}
        plt.plot(at, some, label=f"{precision}, D = {D}", **style)
plt.axhline(1, color="grey", lw=1, ls="-")
plt.gca().set(xscale="log", xlabel="tokens", ylabel="times as fast")
plt.xticks(at, [f"{T // 1024}k" for T in at])
plt.minorticks_off()
plt.legend()
plt.show()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for D in (64, 128):
    for precision in ("int8", "fp8"):
        some = {T: x for (p, _, d, T), x in PREFILL.items()
                if (p, d) == (precision, D)}  # fmt: skip
        won = [T for T, x in sorted(some.items()) if x > 1]
        print(f"D = {D:3d}, {precision:5s}faster at", *won)
print(f"most: {max(PREFILL.values()):.2f} times")
rows = json.loads(course.results("low_bit_prefill.json").read_text())["rows"]
cudnn = {(r["D"], r["T"]): r["forward_ms"] for r in rows
         if r["peer"] == "plain/cudnn"}  # fmt: skip
near = min(r["forward_ms"] / cudnn[r["D"], r["T"]] for r in rows
           if r["peer"].startswith("diff/triton "))  # fmt: skip
print(f"to plain on cuDNN in 16 bits: {near:.2f} times as long, or more")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert near > 1
for (precision, _, D, T), gain in PREFILL.items():
    assert gain < 1 if T < 3000 or (D == 128 and T < 5000) else True
    assert gain > 1 if T > 4000 and D == 64 else True
    assert gain > 1 if T > 8000 and precision == "fp8" else True

# %% [markdown]
# Up to 2,048 tokens, and at width 128 up to 4,096, making the codes costs more
# than it saves. Longer prompts gain, but not everywhere: int8 at width 128 loses
# again at 65,536. (The largest value, fp8 at width 64 and 65,536, lies above what
# the multiplications allow. There the bfloat16 kernel is itself slow, in this
# record more than in that of chapter 20; do not rely on that value.) Plain
# attention on cuDNN, in 16 bits, is still faster than our forward pass in 8 bits
# at every size of this record. And no number here holds for another GPU.
#
# What others published (TOPS are 10¹² operations a second; FA3 is
# FlashAttention-3; H100 and H20 are GPUs; PV is the product with the values;
# 32k and 16k are lengths in tokens):
#
# | what | result | from |
# |---|---|---|
# | causal, D = 128, H100, 32k | fp16 590, fp8 817 TOPS (FA3); int8 QK with fp8 PV 858 | [SA] |
# | fp8, D = 256 causal, 16k | 1024 TOPS (FA3), 1099 (cuDNN), 663 (Triton) | [F3] |
# | SageAttention, up to about 2,048 keys | slower than FlashAttention-2 | [LB] |
# | fp8 decode, FlashInfer, H20 | 1.12 to 1.35 times *slower* than bf16 | [LB] |
# | fp8 decode, FA3, H20 | 15.97 to 8.03 ms | [LB] |
# | per-token scales in the cache | cost 5 to 25 % of time | [LB] |
#
# In some of these rows, too, 8 bits are slower. And the TOPS leave out the time
# to quantise. That time grows with the length $T$
# of a row, the saved multiplications grow with $T^2$. On short rows it does not
# pay, and `backend="auto"` never rounds unless it is told to.
#
# ## The package agrees

# %% tags=["hide-input"] jupyter={"source_hidden": true}
theirs, sizes = quantise(torch.from_numpy(x), "int8")
codes, scales = int8_codes(x)
assert np.abs(theirs.numpy().astype(int) - codes).max() <= 1
assert np.allclose(sizes.numpy(), scales, rtol=1e-6)
print("codes and scales are those of the cache")

# %% [markdown]
# ## Common mistakes
#
# - **Judging one branch.** An error that is small in $A_1 V$ can be several
#   times larger in the difference.
# - **Two rounded maps.** Subtract, then round once.
# - **Adding the whole mean of V back.** Rows of a differential map sum to
#   $1 - \lambda$.
# - **Only a mean error.** One saturated token hides in it.
# - **Sums in int8.** They wrap around; hardware adds in int32.
# - **Text alone.** A cache is there to look things up. Measure lookups too.
#
# ## Summary
#
# - int8 has equal steps, fp8 equal relative steps; a scale for each token keeps
#   an outlier to itself.
# - Keys may lose their mean in each branch; values may, if $1 - \lambda$ of it
#   comes back.
# - What two branches share cancels; independent errors do not. Errors of keys
#   grow in the difference, errors of values shrink with the output.
# - A cache of 8 bits takes half the memory and its scales. The two trained
#   models kept their text loss and their lookups, with products in 8 bits too.
# - With 16 sequences of 8,192 keys or more, at width 64, our kernels decode from
#   codes at least one and a half times as fast as from bfloat16. Long prompts
#   gain less, batches of short ones lose.
#
# You can now look at any proposal to round something in a head and say, before
# you run it, whether the subtraction will forgive it. The question is always
# the same: is it rounded once for both branches, or once for each?
#
# ## Further reading
#
# - Zhang and others, *SageAttention*, arXiv 2410.02367: keys without their mean.
# - Shah and others, *FlashAttention-3*, arXiv 2407.08608: fp8 on Hopper. [F3]
# - Dettmers et al., *LLM.int8()*, arXiv 2208.07339: outliers and their scales.
