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
# By the end of this chapter you will have shown that a subtraction cancels
# what two maps share and adds up what rounding did to each, how far this makes
# the error of 8-bit keys grow, and what a cache of 8 bits costs two small
# trained models.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - quantise tokens to int8 and to fp8, with a scale for each;
# - predict how a rounding error grows in a difference;
# - say why K may lose its mean, and what V needs back;
# - tell saturation from rounding;
# - measure a cache in 8 bits.
#
# ## Prerequisites
#
# | you need | where |
# |---|---|
# | differential map, lambda | 3 |
# | cache, generation | 16 |
# | absmax rounding, outliers | 23 |

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.nn.functional import cross_entropy

from minidiff import check, course, generate, load, plots
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course.low_bit_errors import low_bit_errors
from minidiff.course.rounding import draw
from minidiff.data import BPETokenizer, standard_library
from minidiff.ops.low_bit import quantise, restore

PAIR = "mixture"
plots.use_style()
torch.set_num_threads(1)

# %% [markdown]
# How many rows of text the trained models read:

# %% tags=["parameters"] quick={"ROWS": 1}
ROWS = 4

# %% [markdown]
# ## A cold open: the same keys, another error
#
# A head reads random keys that were stored in int8. Its output has a relative
# error. Now a differential head reads such keys, with queries and keys of its
# branches that are almost alike (correlation 0.99), and lambda is 0.8. Guess
# the error of its output; then guess it for keys that are exact and values
# that are not.

# %% tags=["nbval-ignore-output"]
ALIKE = 0.99
print(f"correlation {ALIKE}")
for name in ("keys", "values"):
    one, both = low_bit_errors(ALIKE, "int8")[name]
    print(f"int8 {name:6s}: one branch {one:.2%}, difference {both:.2%}")

# %% [markdown]
# Keys and values are stored in the same 8 bits. Only one of them becomes worse
# in the difference. This chapter is about why.
#
# ## Where a kernel would use 8 bits
#
# A unit that multiplies 8-bit numbers does more of them at a time than one of
# 16 bits, and a cache of 8 bits is half as large. Orange: what is rounded.

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
# An **int8** number is an integer from -127 to 127 times a scale. The $D$
# numbers of one token share it:
#
# $$
# s = \max_i |x_i| / 127, \qquad \hat x_i = s \, \mathrm{round}(x_i / s)
# \tag{25.1}
# $$
#
# An **fp8** number (e4m3) has a sign, 4 bits of exponent and 3 of fraction. Its
# steps are small near 0 and large far from it: its *relative* error is at most
# 1/16, except very near 0. The largest is 448.
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
# For normal numbers int8 is more exact, with the same memory. fp8 keeps small
# numbers beside one large number, where int8 rounds them to 0.
#
# ## Saturation is no rounding
#
# Make one token thirty times as large as the others. Three scales: one for
# each token; one for all; and a *fixed* one, which somebody measured before on
# text without such a token. What lies beyond a fixed range is cut off: it
# *saturates*.

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
# One scale ruins all tokens but the large one. The fixed scale ruins only that
# one, whose error a mean over tokens hides. A scale for each token avoids both.
#
# ## Keys without their mean
#
# A query's softmax does not change if all its logits change by one number. Take
# the mean $\bar k$ over all keys from each key. Then
#
# $$
# q \cdot (k_s - \bar k) = q \cdot k_s - q \cdot \bar k ,
# \tag{25.2}
# $$
#
# and $q \cdot \bar k$ is the same for all keys $s$. So the weights are the
# same. This holds for each softmax, so a differential head subtracts a mean
# *for each branch*. Where keys share an offset, the scale becomes smaller:


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
# ## Errors that do not cancel
#
# Each branch $i$ has an output $o_i = A_i V$ and an error $e_i$. The difference
# has the output $o_1 - \lambda o_2$ and the error $e_1 - \lambda e_2$. If two
# branches are alike, the outputs cancel. Their errors cancel only if they are
# alike too.
#
# ### Exercise 25.2: how an error grows
#
# *Medium, 8 minutes.* Take pen and paper.


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
# The prediction takes independent errors, with a cosine of 0.

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
# **The shared part of two maps cancels, independent rounding errors add.** An
# error of V is the exception: it is multiplied by the one map $A_1 - \lambda
# A_2$, so it shrinks as the output does. The headwise norm afterwards makes
# the output large again, and its error with it.
#
# ## One signed map, not two
#
# The last product, $(A_1 - \lambda A_2) V$, can be in int8 too. Subtract
# first, then round the one map, which has a sign. V may also lose its mean; the
# rows of this map do not sum to 1.
#
# ### Exercise 25.3: the product with the values
#
# *Hard, 20 minutes.* What has to be added back?


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
# ## A cache in 8 bits
#
# The package stores keys and values in 8 bits, with a scale for each token,
# head and branch: `generate(..., cache_precision="int8")`. Two trained models
# of 4 million parameters, a plain and a differential one, read held-out Python
# through such a cache. This pair does not look keys up, so the accuracy of
# lookups, which a cache could spoil, is not measured here.

# %%
WORDS = BPETokenizer.load(course.weights(f"{PAIR}_tokenizer.json"))
starts = (d.text[:3000] for d in standard_library().valid if len(d.text) > 9e3)
TEXT = torch.tensor([WORDS.encode(next(starts))[:129] for _ in range(ROWS)])
MODELS = {
    kind: load(course.weights(f"{PAIR}_{kind}.safetensors"))
    for kind in ("plain", "diff")
}


# %% tags=["hide-input"] jupyter={"source_hidden": true}
@torch.no_grad()
def measured(model, precision):
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
FOUND = {
    (kind, precision): measured(model, precision)
    for kind, model in MODELS.items()
    for precision in (None, "int8", "fp8")
}

# %% tags=["nbval-ignore-output", "hide-input"] jupyter={"source_hidden": true}
print("                  bytes of 16 bits   nats added   same tokens")
for (kind, precision), (size, loss, tokens) in FOUND.items():
    base, exact_loss, exact_tokens = FOUND[kind, None]
    if precision:
        same = (tokens == exact_tokens)[:, 64:].float().mean().item()
        print(f"{kind:6s}{precision:6s}{size / base:16.3f}", end="")
        print(f"{loss - exact_loss:+16.5f}{same:14.0%}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for (kind, precision), (size, loss, _) in FOUND.items():
    if precision:
        assert size < 0.65 * FOUND[kind, None][0]
        assert abs(loss - FOUND[kind, None][1]) < 0.02

# %% [markdown]
# The cache is more than half of one of 16 bits: each token, head and branch has
# a scale of 4 bytes, and these models have narrow heads. When this page was
# made, the loss moved by less than a hundredth, in both directions, and the
# written text did change, in diff more than in plain. These are a few hundred
# tokens and one model of each kind, so that is no comparison of kinds. (Losses are compared with a cache of 32 bits.) One different token
# changes all that follow, so "same tokens" falls faster than the loss rises.
#
# ## Fused kernels: not run
#
# Kernels that multiply 8-bit numbers inside the fused forward are **not made**
# in this course, and no time was measured. Above, only the arithmetic is that
# of such kernels. The package's cache saves memory and no time: it restores
# its numbers before each step. What others published:
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
# The TOPS leave out the time to quantise. That time grows with the length $T$
# of a row, the saved multiplications with $T^2$. So on short rows it does not
# pay, and a backend chosen automatically (`auto`) should not take such a kernel
# there.
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
#
# ## Summary
#
# - int8 has equal steps, fp8 equal relative steps; a scale for each token keeps
#   an outlier to itself.
# - K may lose its mean in each branch; V may, if $1 - \lambda$ of it comes back.
# - What two maps share cancels, independent errors add. Errors of V shrink with
#   the output.
# - A cache of 8 bits needs half the memory and its scales. Kernels of 8 bits
#   were not run here.
#
# ## Further reading
#
# - Zhang and others, *SageAttention*, arXiv 2410.02367: keys without their mean.
# - Shah and others, *FlashAttention-3*, arXiv 2407.08608: fp8 on Hopper. [F3]
# - Dettmers et al., *LLM.int8()*, arXiv 2208.07339: outliers and their scales.
