# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. Attention from scratch
#
# By the end of this chapter you will have shown that attention is a
# dictionary lookup made soft, and seen what breaks without its root, its
# subtracted maximum and its mask.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - compute a soft lookup by hand, and in NumPy;
# - write a softmax that no score can break;
# - measure what the scale $\sqrt D$ does to weights and to learning;
# - write causal attention with many heads, and test that it is causal;
# - count its operations and its bytes.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | arrays and broadcasting | all code here | any NumPy tutorial |
# | dot and matrix products | scores, outputs | any linear algebra course |
# | variance, derivatives | the scale | any first course |

# %%
from math import exp, inf, sqrt
from string import ascii_lowercase
from timeit import repeat

import matplotlib.pyplot as plt
import numpy as np

from minidiff import check, plots, reference
from minidiff.check import hint, solution  # noqa: F401

plots.use_style()

# %% [markdown]
# ## A cold open: a lookup that forgives
#
# A dictionary knows the price of a pear, but not of a bannana. Beside it we
# put a lookup that compares nothing. It counts letters, multiplies, and takes
# a weighted average. Which of the two words will it answer better?

# %%
prices = {"apple": 3, "pear": 5, "banana": 2, "orange": 4}


def letters(word: str) -> np.ndarray:
    """How often each letter from a to z stands in the word, shape (26,)."""
    return np.array([word.count(letter) for letter in ascii_lowercase])


# %%
keys = np.array([letters(word) for word in prices])  # (4, 26)
values = np.array(list(prices.values()))  # (4,)
answers = {}
for query in ("bannana", "pear"):
    e = np.exp(keys @ letters(query))
    weights = e / e.sum()
    answers[query] = weights @ values
    print(f"{query}: the dictionary says {prices.get(query)}")
    print("   weights of", *prices, weights.round(2))
    print(f"   weighted average {answers[query]:.2f}")
assert abs(answers["bannana"] - 2) < 0.01 and answers["pear"] < 4

# %% [markdown]
# The misspelt word is found, the correct one is not: the apple weighs as much
# as the pear. Count by hand. *Pear* and *pear* share p, e, a and r:
# $1+1+1+1=4$. *Pear* and *apple* share p, which *apple* has twice, e and a:
# $2+1+1=4$. A tie.
#
# The machine works, but letter counts are poor vectors for it. A model learns
# better ones and keeps the machine. It is called *attention*.
#
# ## The lookup, made soft
#
# In effect, a dictionary compares the *query* with every *key*. The equal key
# gets weight 1, all others 0, and the answer is the sum of the *values*, each
# times its weight. Soft lookup changes only where the weights come from.
#
# 1. **Score.** Query $q$ and key $k_s$ are vectors of $D$ numbers. Their dot
#    product $q \cdot k_s$ is large where they point the same way.
# 2. **Weights.** Scores may be negative, weights may not. So take
#    $e^{\text{score}}$, and divide by the sum over all keys: the *softmax*.
# 3. **Mean.** Add up the values $v_s$, each times its weight.
#
# $$
# w_s = \frac{e^{q \cdot k_s}}{\sum_r e^{q \cdot k_r}},
# \qquad o = \sum_s w_s\, v_s
# \tag{1.1}
# $$
#
# Two keys, $(1, 0)$ and $(0, 1)$, have the values 8 and 4. The query is
# $(\ln 3, 0)$. Scores: $(\ln 3, 0)$. Exponentials: $(3, 1)$. Weights:
# $(\frac34, \frac14)$. Answer: $\frac34 \cdot 8 + \frac14 \cdot 4 = 7$.
#
# What is the answer for a query twice as long? For one of length zero?

# %%
k, v = np.eye(2), np.array([8.0, 4.0])
for length in (0, 1, 2, 10):
    scores = k @ (length * np.array([np.log(3), 0]))
    weights = np.exp(scores) / np.exp(scores).sum()
    print(f"{length:2d} times: weights {weights.round(4)}, {weights @ v:.4f}")
    assert 4 <= weights @ v <= 8

# %% [markdown]
# Twice as long squares each exponential: $(9, 1)$. A zero query gets the
# plain mean. A very long one gets nearly one value alone: a dictionary again.
# The length of a query sets how *sharp* the lookup is.
#
# ### Exercise 1.1: many queries at once
#
# *Easy, 5 minutes.* Stack $T$ queries into `q`, $S$ keys into `k`, and let
# each value be a vector of $D_v$ numbers. Stuck? Run `hint("1.1", 1)`, then
# 2, then 3, in a cell of your own.


# %% tags=["stub:1.1"]
def soft_lookup(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return eq. 1.1 for every query: one row of answers each, (T, Dv).

    q (T, D), k (S, D), v (S, Dv). The scores are plain dot products.
    """
    # your code


# %% tags=["check:1.1"]
check.ex01_1(soft_lookup)

# %% [markdown]
# ## The softmax that broke
#
# Take the scores 1000 and 1001. On paper the second weight is $e$ times the
# first. What will NumPy say? And which is the first whole number whose
# exponential is too large?

# %%
with np.errstate(all="ignore"):
    e = np.exp(np.array([1000.0, 1001.0]))
    print("exponentials", e, "weights", e / e.sum())
    assert np.isnan(e / e.sum()).all()
    for kind in (np.float16, np.float32, np.float64):
        n = next(n for n in range(1000) if np.isinf(np.exp(kind(n))))
        print(f"{kind.__name__}: exp({n}) is infinite")

# %% [markdown]
# Infinity divided by infinity is `nan`, *not a number*, and so is every sum
# it enters. In the 16 bits of `float16` a score of 12 is enough.
#
# The cure: take any constant $c$ off all scores of a *row*, of one query.
# Then every exponential is divided by $e^c$, and so is their sum:
#
# $$
# \frac{e^{x_s - c}}{\sum_r e^{x_r - c}}
# = \frac{e^{x_s} / e^c}{\sum_r e^{x_r} / e^c}
# = \frac{e^{x_s}}{\sum_r e^{x_r}}
# \tag{1.2}
# $$
#
# ### Exercise 1.2: a softmax that holds
#
# *Medium, 7 minutes.* Which $c$ makes every row safe? Think of a row near
# $-1000$, of one with both $1000$ and $-1000$, of many rows in one array. Some
# scores of a row may be $-\infty$, but not all.


# %% tags=["stub:1.2"]
def safe_softmax(x: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis of x (..., S), shaped like x.

    Neither large nor small scores may give nan or inf.
    """
    # your code


# %% tags=["check:1.2"]
check.ex01_2(safe_softmax)

# %% [markdown]
# Ours takes the largest score of the row. The largest exponential is then
# $e^0 = 1$: nothing overflows, and the sum is at least 1.


# %% tags=["same:minidiff.reference.softmax"]
def softmax(x: np.ndarray) -> np.ndarray:
    """Softmax over the last axis of x (..., S)."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# %%
with np.errstate(invalid="ignore"):
    for row in ([1000, 1001], [0, -1000], [0, 0, -inf], [-inf, -inf]):
        print(row, "->", softmax(np.array(row)).round(4))
assert softmax(np.array([0, -1000]))[1] == 0

# %% [markdown]
# In the second row $e^{-1000}$ became 0. That *underflow* is harmless: next
# to a 1 it is nothing. The last row has no answer: $-\infty$ minus $-\infty$
# is `nan`. A row must see at least one key.
#
# ## Why the root of D
#
# Long queries make sharp lookups. How long are they before any learning? Let
# all entries of $q$ and $k$ be independent random numbers with mean 0 and
# variance 1. A product of two has variance 1. A dot product adds up $D$ of
# them, and variances of independent numbers add: a score has variance $D$.
#
# With 64 keys and no knowledge, a fair weight is 1/64. Predict the largest
# weight of a row at $D = 1024$: scores as they are, divided by $\sqrt D$,
# which brings the variance back to 1, and divided by $D$.


# %%
def random_scores(D: int) -> np.ndarray:
    """Scores of 300 random queries for 64 random keys, (300, 64)."""
    rng = np.random.default_rng(D)
    return rng.normal(size=(300, D)) @ rng.normal(size=(64, D)).T


print("    D variance/D as they are   / sqrt(D)         / D")
for D in (4, 64, 1024):
    x = random_scores(D)
    tops = [softmax(x / c).max(-1).mean() for c in (1, np.sqrt(D), D)]
    print(f"{D:5d}{x.var() / D:11.2f}", *(f"{top:11.3f}" for top in tops))
    assert 0.9 < x.var() / D < 1.1
assert tops[0] > 0.9 and tops[1] < 0.2 and tops[2] < 1.2 / 64

# %% [markdown]
# Unscaled, chance picks one key and gives it nearly everything. Divided by
# $D$, all keys end up alike, whatever the query asks. Divided by $\sqrt D$,
# the row looks much the same at every width.
#
# Can the model learn its way out? It learns from derivatives: nudge a score a
# little up and a little down, and see how its weight responds. The derivative
# is $w_s (1 - w_s)$, as chapter 4 will show: near 0 both for a weight near 0
# and for one near 1. We call its sum over a row the row's *response*. What
# will it be unscaled?


# %%
def response(x: np.ndarray, h: float = 1e-4) -> np.ndarray:
    """Sum over keys of d w_s / d x_s for each row: x (R, S) gives (R,)."""
    nudge = h * np.eye(x.shape[-1])  # copy s of a row nudges score s
    up, down = softmax(x[:, None] + nudge), softmax(x[:, None] - nudge)
    return np.trace(up - down, axis1=1, axis2=2) / (2 * h)


r, w = response(x), softmax(x)  # x is from D = 1024
assert np.allclose(r, (w * (1 - w)).sum(-1))
gaps = np.ptp(np.sort(x)[:, -2:], -1)  # between the two best keys
assert gaps[r > 0.25].max() < 3 < np.median(gaps)

# %% mystnb={"image": {"alt": "Median response of a row against width D from 4 to 4096, both axes logarithmic. Divided by root D it stays level near 1. As they are, the curve bends down ever more steeply and ends near one ten-millionth."}}
widths = 4 ** np.arange(1, 7)
for name, power in (("as they are", 0), ("/ sqrt(D)", 0.5)):
    rows = [response(random_scores(D) / D**power) for D in widths]
    plt.loglog(widths, np.median(rows, -1), label=name)
    mean, median = np.mean(rows, -1)[4], np.median(rows, -1)[4]  # D = 1024
    dead = (rows[4] < 0.01).mean()
    assert dead == 0 if power else dead > 0.5
    print(f"D = 1024, {name}: mean {mean:.2f}, median {median:.4f}", end="")
    print(f", under 0.01 in {dead:.0%} of the rows")
plt.gca().set(xlabel="width D", ylabel="response of the median row")
plt.legend()
plt.show()

# %% [markdown]
# Unscaled, most rows do not respond. The mean falls less than the median: in
# a few rows the best keys happen to be level, and those still respond. So
# learning does not stop; it becomes a lottery. With $\sqrt D$ every row takes
# part. This is about the start: a trained model may make its queries as long
# as it likes.
#
# ## The causal mask
#
# A language model reads *tokens*, pieces of text, one vector each. It learns
# to predict the next token, at all positions at once. So the query of token
# $t$ must not see a later key. Its score there is set to $-\infty$, and its
# weight becomes exactly 0:
#
# $$
# A = \operatorname{softmax}\!\left(\frac{q\,k^\top}{\sqrt D} + M\right),
# \qquad O = A\,v,
# \qquad M_{ts} \in \{0, -\infty\}
# \tag{1.3}
# $$
#
# Shapes: $q$ is $(T, D)$, $k$ is $(S, D)$, $v$ is $(S, D_v)$. The *map* $A$
# is $(T, S)$, each row sums to 1, and $O$ is $(T, D_v)$.
#
# While training, $T = S$. While writing text, only the newest token asks:
# $T = 1$, and it may see all. So the *last* query is aligned with the last
# key: query $t$ sees keys $0$ to $t + S - T$. With 3 queries and 5 keys,
# query 0 sees keys 0 to 2, query 1 one more, and query 2 all five. As long as
# $T \le S$, every query sees a key, and no row is `nan`.
#
# ## Loops, then vectors
#
# First as loops, one multiplication at a time: slow, and hard to get wrong. A
# hidden key needs no $-\infty$ here: its entry stays 0. (A *logit* is a score
# on its way into a softmax.) What will the first row be, when $T = S$?


# %% tags=["same:minidiff.reference.attention_map_loops"]
def attention_map_loops(
    q: np.ndarray, k: np.ndarray, causal: bool = True
) -> np.ndarray:
    """The weights of eq. 1.3, one at a time: q (T, D), k (S, D), (T, S)."""
    (T, D), S = q.shape, k.shape[0]
    A = np.zeros((T, S))
    for t in range(T):
        seen = t + S - T + 1 if causal else S
        logits = []
        for s in range(seen):
            dot = sum(q[t, i] * k[s, i] for i in range(D))
            logits.append(dot / sqrt(D))
        top = max(logits)
        total = sum(exp(x - top) for x in logits)
        for s in range(seen):
            A[t, s] = exp(logits[s] - top) / total
    return A


# %%
rng = np.random.default_rng(1)
A = attention_map_loops(*rng.normal(size=(2, 4, 8)))
print(A.round(3))
assert A[0, 0] == 1

# %% [markdown]
# It sees one key, so that key gets all the weight.
#
# ### Exercise 1.3: the map without loops
#
# *Medium, 8 minutes.* No `for` now. `softmax` from above, `np.tril` and
# `np.where` will be of use.


# %% tags=["stub:1.3"]
def causal_map(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return the causal attention map (T, S) of eq. 1.3.

    q (T, D), k (S, D), T <= S; query t sees keys 0 to t + S - T.
    """
    # your code


# %% tags=["check:1.3"]
check.ex01_3(causal_map)

# %% [markdown]
# Ours. It takes more axes in front, as heads will need.


# %% tags=["same:minidiff.reference.attention_map"]
def attention_map(
    q: np.ndarray, k: np.ndarray, causal: bool = True
) -> np.ndarray:
    """The weights softmax(q k' / sqrt(D)), shape (..., T, S)."""
    T, D = q.shape[-2:]
    S = k.shape[-2]
    logits = q @ np.swapaxes(k, -1, -2) / np.sqrt(D)  # (..., T, S)
    if causal:
        hidden = ~np.tril(np.ones((T, S), dtype=bool), S - T)
        logits = np.where(hidden, -np.inf, logits)
    return softmax(logits)


# %% mystnb={"image": {"alt": "Three heat maps of attention weights. Without a mask all cells of the square hold some weight. With the causal mask only the lower triangle does, and the first row has one full cell. The third map is equal to the last three rows of the second."}}
q, k = rng.normal(size=(2, 8, 16))
full, map8 = attention_map(q, k, causal=False), attention_map(q, k)
map3 = attention_map(q[5:], k)
plots.show_maps([full, map8, map3], ["no mask", "causal", "last 3 queries"])
plt.show()
assert np.allclose(map3, map8[5:]) and np.allclose(map8.sum(-1), 1)

# %% [markdown]
# How much faster than the loops? Guess a factor.

# %% tags=["nbval-ignore-output"]
q, k = rng.normal(size=(2, 64, 16))
slow, fast = (
    min(repeat(lambda f=f: f(q, k), number=1, repeat=3))
    for f in (attention_map_loops, attention_map)
)
print(f"{slow / fast:.0f} times as fast")
assert slow > 5 * fast

# %% [markdown]
# At least several times, on any machine; here much more. The loop has moved
# from Python into compiled code.
#
# ### The control that fails
#
# It is tempting to mask last: compute the whole map, then set the future to
# zero. We replace the key of the *last* of 6 tokens, and ask which rows of the
# output change. How many should? How many will?


# %%
def masked_late(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """A map that is masked after the softmax: wrong."""
    return np.tril(attention_map(q, k, causal=False))


q, k, v, new = rng.normal(size=(4, 6, 8))
other = np.concatenate([k[:5], new[5:]])
for f, rows in ((attention_map, 1), (masked_late, 6)):
    moved = np.abs(f(q, other) @ v - f(q, k) @ v).max(-1) > 1e-12
    print(f"{f.__name__:14s} rows changed {np.flatnonzero(moved)}", end="")
    print(", rows sum to", f(q, k).sum(-1).round(1))
    assert moved.sum() == rows

# %% [markdown]
# One row should change, the last. All six do. The weights of the future are
# gone, but it is still in the denominator: token 0 can tell from the size of
# its own row how well later keys match. A model trained so is graded on text
# it has partly seen.
#
# ## Several heads
#
# One row of weights gives one mean. If a token needs two earlier ones, for
# two purposes, one map can only blend their values. So a layer has $H$
# *heads*, each with queries, keys and values of its own: one more axis in
# front, $(H, T, D)$. No head sees another:

# %%
q, k, v = rng.normal(size=(3, 4, 6, 8))  # (H, T, D)
together = attention_map(q, k) @ v  # (H, T, Dv)
alone = [attention_map(q[h], k[h]) @ v[h] for h in range(4)]
assert np.abs(together - alone).max() < 1e-12
print("4 heads together, and each alone: differ by < 1e-12")

# %% [markdown]
# Where do they come from? Each token's vector has $E$ numbers, so the text is
# $x$, shape $(T, E)$. Three learned matrices, each $(E, E)$, give $x W_q$,
# $x W_k$ and $x W_v$. Each product is cut into $H$ blocks of $D = E / H$
# columns, one block a head. At the end the heads' outputs stand side by side
# again, $(T, E)$, and a fourth matrix $W_o$ mixes them.
#
# ### Exercise 1.4: a whole layer of attention
#
# *Medium, 10 minutes.* You may use `attention_map`. Mind the order of the
# axes when you cut and when you join.


# %% tags=["stub:1.4"]
def multi_head(x: np.ndarray, W: np.ndarray, H: int) -> np.ndarray:
    """Return causal attention with H heads, shape (T, E).

    x (T, E); W (4, E, E): the matrices Wq, Wk, Wv and Wo. Head h has columns
    h D to (h + 1) D - 1 of x @ Wq, x @ Wk and x @ Wv, where D = E // H.
    """
    # your code


# %% tags=["check:1.4"]
check.ex01_4(multi_head)

# %% [markdown]
# ## What it costs
#
# A dot product takes $D$ multiplications and $D - 1$ additions. Everybody
# counts $2D$ *floating point operations*, or FLOPs: a multiply and an add for
# each pair. Exponentials, one an entry, are left out.
#
# ### Exercise 1.5: operations and bytes
#
# *Easy, 5 minutes.* For the whole of $A\,v$: scores and values, all heads,
# nothing masked away.


# %% tags=["stub:1.5"]
def cost(
    T: int, S: int, D: int, Dv: int, H: int, itemsize: int
) -> tuple[int, int, int]:
    """Return (FLOPs, bytes of all maps, bytes of q, k and v together).

    H heads; q (H, T, D), k (H, S, D), v (H, S, Dv); a number takes itemsize
    bytes; a multiply-add counts 2.
    """
    # your code


# %% tags=["check:1.5"]
check.ex01_5(cost)

# %% [markdown]
# Each entry of a map costs $2D$ FLOPs for its score and $2D_v$ for its value.
# Take one layer with 32 heads, $D = D_v = 128$, and numbers of 2 bytes. From
# which $T = S$ on are the maps larger than $q$, $k$ and $v$ together? Work it
# out, then read the figure.

# %% mystnb={"image": {"alt": "Bytes against tokens from 64 to 131072, both axes logarithmic. The line of the map is twice as steep as the line of q, k and v. They cross at 384 tokens, marked by a grey line; at the right end the map is more than 300 times larger."}}
H, D = 32, 128
T = 2 ** np.arange(6, 18)
map_bytes, qkv_bytes = 2 * H * T**2, 2 * H * 3 * T * D
plt.loglog(T, map_bytes, label="map")
plt.loglog(T, qkv_bytes, label="q, k and v")
plt.axvline(3 * D, color="grey", lw=0.8)
plt.gca().set(xlabel="tokens", ylabel="bytes, one layer")
plt.legend()
plt.show()

# %%
print(" tokens      FLOPs          map      q, k, v")
for i in (1, 4, 7, 11):
    flops, sizes = 4 * H * T[i] ** 2 * D, (map_bytes[i], qkv_bytes[i])
    print(f"{T[i]:7d}{flops:11.1e}", *(f"{b // 2**20:8d} MiB" for b in sizes))
assert ((map_bytes > qkv_bytes) == (T > 3 * D)).all()
assert (attention_map(*np.ones((2, 64, 8))) == 0).mean() > 0.49

# %% [markdown]
# From $3D = 384$ tokens on. Twice the tokens make four times the map, and
# twice the rest. At 131072 tokens one layer's maps fill a tebibyte, with
# numbers that no later layer reads. So fast kernels never write the map:
# chapter 10 builds it tile by tile. The FLOPs stay, except those for hidden
# entries: nearly half, and our `attention_map` spends them.
#
# ## One ladder, and a check of this chapter
#
# In this course every implementation is held against a slower one that is
# easier to believe: here vectors against loops, then this chapter against
# `minidiff`.

# %%
for T, S in ((7, 7), (3, 8), (1, 5)):
    q, k, v = (rng.normal(size=(n, 6)) for n in (T, S, S))
    ours = attention_map(q, k)
    assert np.abs(ours - attention_map_loops(q, k)).max() < 1e-12
    loops = reference.diff_head_loops(q, k, q, k, v, 0.0)  # chapter 3's
    assert np.abs(ours @ v - loops).max() < 1e-12
    print(f"T = {T}, S = {S}: map and output differ from loops by < 1e-12")

# %%
x = rng.normal(size=(2, 5, 8))
assert np.array_equal(softmax(x), reference.softmax(x))
assert np.array_equal(attention_map(x, x), reference.attention_map(x, x))
theirs = reference.attention_map_loops(*x)
assert np.array_equal(attention_map_loops(*x), theirs)
print("this chapter's functions and minidiff's are equal")

# %% [markdown]
# ## Common mistakes
#
# - **Masking after the softmax.** The future stays in the denominator.
# - **Masking with 0 before it.** $e^0 = 1$: hidden keys get weight.
# - **Aligning the mask to the start** when $T < S$. A new token would see
#   only the oldest keys.
# - **Dividing by $D$, or by $\sqrt E$.** It is the root of one head's width.
# - **Cutting heads with one `reshape`** to $(H, T, D)$. It mixes tokens.
#
# ## Summary
#
# - Attention is a lookup: scores by dot product, weights by softmax, the
#   weighted mean of the values.
# - Softmax minus the row's maximum is the same softmax, and cannot overflow.
# - Random scores have variance $D$. Divided by $\sqrt D$, every row starts
#   soft and responds to learning.
# - The mask puts $-\infty$ before the softmax, aligned to the end.
# - Map and operations grow with the square of the length.
#
# On paper, a softmax gives no visible key a weight of zero. Chapter 2 measures
# what the small weights add up to.
#
# ## Further reading
#
# - Vaswani et al., *Attention Is All You Need*, arXiv 1706.03762: where
#   equation 1.3 comes from. You can read its formulas now.
# - `minidiff/reference/loops.py` and `attention.py`: the functions above and
#   their differential kin, to keep open.
# - Dao et al., *FlashAttention*, arXiv 2205.14135: attention without storing
#   the map. Read it with chapter 10.
