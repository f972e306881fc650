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
# dictionary lookup made soft, and redrawn with your own code what a trained
# language model looks at.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - compute a soft lookup by hand, and in NumPy;
# - say what queries, keys and values are, and why there are three of them;
# - write a softmax that no score can break;
# - show what the scale $\sqrt D$ does to weights and to learning;
# - write causal attention with many heads, and test that it is causal.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | arrays and broadcasting | all code here | any NumPy tutorial |
# | dot and matrix products | scores, outputs | any linear algebra course |
# | variance | the scale | any first course |

# %%
import json
from math import exp, sqrt
from string import ascii_lowercase

import matplotlib.pyplot as plt
import numpy as np

from minidiff import check, course, plots, reference
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course.lookup_diagram import show_lookup, show_looks

plots.use_style("svg")

# %% [markdown]
# ## A cold open: what does *name* look at?
#
# A language model reads a text from left to right and guesses the next word.
# Here is a sentence, and what happened inside a small trained model when it
# read it. Each row of the picture is a word that looks back. The stronger
# the colour of a cell, the more it looks at that word. (The model knows the
# long word *Return* only in two pieces.)
#
# Find the second *name*, in the third row from below. Where does it look? And
# the second *of*, one row further down? Say the rule in one sentence.

# %%
record = json.loads(course.results("trained_heads.json").read_text())
words = [token.strip() for token in record["tokens"]]
print(" ".join(words), "...")

# %% mystnb={"image": {"alt": "Heat map of attention weights, 13 words by 13 words. The second name looks almost only at the first of. The second of looks most at the second the, which came right after the first of. The last the looks most at module. Many other words look at the first piece of the sentence."}}
show_looks(words, record["heads"]["copying"]["map"])
plt.show()

# %% [markdown]
# The second *name* looks at *of*, the word that came after the first *name*.
# The second *of* looks at several words, but most at *the*, which came after
# the first *of*. So the rule is: find the place where the same word stood
# before, and look at the word that followed it. That is a good way to guess
# the next word of a text that repeats itself:

# %%
for word, chance in record["next"]:
    print(f"the model's guess: {word.strip() or 'a new line':10} {chance:.0%}")

# %% [markdown]
# Nobody programmed this rule. The model learned it, with the method that this
# chapter builds: *attention*. It was trained on text, and on made-up lists in
# which it had to look things up.
#
# To be honest about it: the model has 64 such pictures, and this is the
# clearest for this rule. And we chose the sentence: it repeats itself, and
# among many sentences like it we took one whose picture is clear. The last
# *the* came more than once before, so it has several words to look at, and
# *module* gets less than half of its weight. The words that have nothing to
# copy look most at the first piece; chapter 2 says why that may be.
#
# ## A lookup that forgives
#
# How does a program look something up? In Python, with a dictionary. It knows
# the price of a pear, but not of a bannana. Beside it we put a lookup that
# compares nothing. It counts letters, multiplies, and takes a weighted
# average. Which of the two words will it answer better?

# %%
prices = {"apple": 3, "pear": 5, "banana": 2, "orange": 4}


def letters(word: str) -> np.ndarray:
    """How often each letter from a to z stands in the word, shape (26,)."""
    return np.array([word.count(letter) for letter in ascii_lowercase])


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
keys = np.array([letters(word) for word in prices])  # (4, 26)
values = np.array(list(prices.values()))  # (4,)
for query in ("bannana", "pear"):
    e = np.exp(keys @ letters(query))
    weights = e / e.sum()
    print(f"{query}: the dictionary says {prices.get(query)}")
    print("   weights of", *prices, weights.round(2))
    print(f"   weighted average {weights @ values:.2f}")

# %% [markdown]
# The misspelt word is found. The correct one is not: the apple weighs as much
# as the pear. Count by hand. *Pear* and *pear* share p, e, a and r:
# $1+1+1+1=4$. *Pear* and *apple* share p, e and a, and *apple* has two p:
# $2+1+1=4$. A tie.
#
# The method works, but letter counts are poor vectors for it. A model keeps
# the method and learns better vectors.
#
# ## The lookup, made soft
#
# In effect, a dictionary compares the *query* with every *key*. The equal key
# gets weight 1, all others 0, and the answer is the sum of the *values*, each
# times its weight. A soft lookup has other weights:
#
# 1. **Score.** The query $q$ and the key $k_s$ are vectors of $D$ numbers.
#    Their dot product $q \cdot k_s$ is large where they point the same way.
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

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
k, v = np.eye(2), np.array([8.0, 4.0])
for length in (0, 1, 2, 10):
    scores = k @ (length * np.array([np.log(3), 0]))
    weights = np.exp(scores) / np.exp(scores).sum()
    print(f"{length:2d} times: weights {weights.round(4)}, {weights @ v:.4f}")

# %% [markdown]
# Twice as long squares each exponential: $(9, 1)$. A zero query gets the
# plain mean. A very long one gets nearly one value alone: a dictionary again.
# The length of a query sets how *sharp* the lookup is.
#
# ### Exercise 1.1: many queries at once
#
# *Easy, 4 minutes.* Stack $T$ queries into `q`, $S$ keys into `k`, and let
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
# ## A text looks itself up
#
# Who asks in a language model, and whom? The text is cut into *tokens*: words
# or pieces of words. Each token $s$ has a vector $x_s$ of $E$ numbers, which
# at first depends on this token alone. To guess what follows *name*, that is
# too little: what matters is what stood before it. So each token asks the
# others, and the answer is added to its vector. Queries, keys and values all
# come from the same text, so this is called *self-attention*.
#
# Three learned matrices make them from the vectors: $q_s = x_s W_q$,
# $k_s = x_s W_k$ and $v_s = x_s W_v$. Here the last of four tokens asks:

# %% mystnb={"image": {"alt": "Diagram with a row for each of the tokens name, of, the, name. In each row arrows lead from the vector x to the key k and, below, to the value v. The last token's vector also gives the query q, which meets every key and gives one score a row. A softmax turns the column of scores into weights that sum to 1. Each weight multiplies its row's value, and all are added up into the answer o."}}
show_lookup(["name", "of", "the", "name"])
plt.show()

# %% [markdown]
# **Why three matrices?** The query says what a token looks for, the key what
# it can be found by, and the value what it hands over. These are different
# things. In the cold open *name* looked for *of*, not for another *name*.
# Suppose there were no keys, and its query met the other tokens' queries
# instead. What would *name* look at? (`reference.attention_map` is what you
# will have written yourself by exercise 1.3.)

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
head = {name: np.array(record["heads"]["copying"][name]) for name in "qkv"}
second = 10  # the place of the second "name"
for name in "kq":
    row = reference.attention_map(head["q"], head[name])[second]
    best = row.argmax()
    print(f"q meets {name}: word {second} looks at word {best:2d}, ", end="")
    print(f"{words[best]!r}, with weight {row[best]:.2f}")

# %% [markdown]
# At the first *name*. The dot product of a vector with itself is its squared
# length, and to beat that, another vector must be longer and point nearly the
# same way. The first *name* has such a query; most of the other words here
# would look at themselves. So with one matrix for both, a token looks at
# itself or at what resembles it, and that is not what *name* looked for.
#
# **What does attention know of order?** Nothing. Equation 1.1 is a sum over
# keys, and a sum has no order. Predict by how much the answers change if the
# keys are shuffled, and the values with them:

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
rng = np.random.default_rng(1)
q, k, v = rng.normal(size=(3, 6, 8))
order = rng.permutation(6)
answers = reference.attention_map(q, k, causal=False) @ v
again = reference.attention_map(q, k[order], causal=False) @ v[order]
gap = np.abs(again - answers).max()
print("shuffled: the answers differ by", "< 1e-12" if gap < 1e-12 else gap)

# %% [markdown]
# Not at all. So a model has to put the place of a token into its query and
# its key. The one in the picture does (chapter 7 shows how).
#
# ## The softmax that broke
#
# Take the scores 1000 and 1001. On paper the second weight is $e$ times the
# first. What will NumPy say? And which is the first whole number whose
# exponential is too large?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
with np.errstate(all="ignore"):
    e = np.exp(np.array([1000.0, 1001.0]))
    print("exponentials", e, "weights", e / e.sum())
    for kind in (np.float16, np.float32, np.float64):
        n = next(n for n in range(1000) if np.isinf(np.exp(kind(n))))
        print(f"{kind.__name__}: exp({n}) is infinite")

# %% [markdown]
# Infinity divided by infinity is `nan`, *not a number*, and so is every sum
# it enters. In the 16 bits of `float16` a score of 12 is enough.
#
# The cure: subtract any constant $c$ from all scores of a *row*, that is, of
# one query. Then every exponential is divided by $e^c$, and so is their sum:
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
# *Medium, 6 minutes.* Which $c$ makes every row safe? Think of a row near
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
# From here on the chapter uses your softmax, or ours if you have none yet.

# %%
softmax = check.mine("1.2")

# %% [markdown]
# ## Why the root of D
#
# Long queries make sharp lookups. How long are they before any learning? Let
# all entries of $q$ and $k$ be independent random numbers with mean 0 and
# variance 1. A product of two has variance 1. A dot product adds up $D$ of
# them, and variances of independent numbers add. So a score has variance $D$,
# and a typical size of $\sqrt D$.
#
# Below is one random query against 64 random keys of width 1024. All keys are
# equally good, so a fair weight is 1/64. Predict the three rows of bars:
# scores as they are; divided by $\sqrt D$, which brings their variance back
# to 1; and divided by $D$. (Mind the scales on the left.)

# %%
D = 1024
rng = np.random.default_rng(D)
x = rng.normal(size=(300, D)) @ rng.normal(size=(64, D)).T  # 300 rows
scales = {"as they are": 1, "/ sqrt(D)": sqrt(D), "/ D": D}

# %% tags=["hide-output", "hide-input"] jupyter={"outputs_hidden": true, "source_hidden": true} mystnb={"image": {"alt": "Three rows of 64 bars. As they are, on a scale to 1: one bar of nearly full height, the others invisible. Divided by the root of D, on a scale to 0.15: bars of all heights up to about 0.1. Divided by D, on the same scale: all bars equally low."}}
figure, axes = plt.subplots(3, 1, sharex=True, figsize=(6, 3.6))
for axis, (name, scale) in zip(axes, scales.items(), strict=True):
    axis.bar(np.arange(64), softmax(x[0] / scale))
    axis.set(title=f"scores {name}", ylabel="weight")
    axis.set_ylim(0, 1 if scale == 1 else 0.15)
axes[-1].set_xlabel("key")
plt.show()

# %% [markdown]
# Unscaled, chance picks one key and gives it nearly everything. Divided by
# $D$, all keys end up alike, whatever the query asks. Divided by $\sqrt D$,
# the row is soft and still has an opinion, at every width.
#
# Can a model learn its way out of the first picture? It learns by nudging
# scores a little. How fast does the best key's weight $w$ follow its score?
# Chapter 4 derives the slope: it is $w (1 - w)$, near 0 for a weight near 1.
# Here is its median in 300 rows. Guess the ratio of the two first.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for name in ("as they are", "/ sqrt(D)"):
    w = softmax(x / scales[name]).max(-1)
    print(f"{name:12s} slope {np.median(w * (1 - w)):.6f}")

# %% [markdown]
# If nearly all weight of a row lies on one key, nudging the scores changes
# almost nothing, so the row can hardly be taught. This is about the start of
# training: later a model may make its queries as long as it likes.
#
# ## The causal mask
#
# In training a model guesses the next token at all positions at once. So
# token $t$ must not see a later one: it would read the answer. Its score
# there is set to $-\infty$, and its weight becomes exactly 0:
#
# $$
# A = \operatorname{softmax}\!\left(\frac{q\,k^\top}{\sqrt D} + M\right),
# \qquad O = A\,v,
# \qquad M_{ts} \in \{0, -\infty\}
# \tag{1.3}
# $$
#
# Shapes: $q$ is $(T, D)$, $k$ is $(S, D)$, $v$ is $(S, D_v)$. The *map* $A$ is
# $(T, S)$, each row sums to 1, and $O$ is $(T, D_v)$. The picture of the cold
# open is a map. It has an entry for each pair of tokens, so twice the tokens
# make four times the map. At 131072 tokens, a layer with 32 maps, at 2 bytes a
# number, fills a tebibyte. So fast programs never write the map down (chapter
# 10).
#
# In training, $T = S$. When a model writes, only the newest token asks:
# $T = 1$, and it may see all. So the *last* query is aligned with the last
# key: query $t$ sees keys $0$ to $t + S - T$. With 3 queries and 5 keys:
#
# ```
#     key   0  1  2  3  4
# query 0   x  x  x  .  .
# query 1   x  x  x  x  .
# query 2   x  x  x  x  x
# ```
#
# First we write the map as loops, one multiplication at a time. That is slow,
# and hard to get wrong. A hidden key needs no $-\infty$ here: its entry
# stays 0. (A *logit* is a score on its way into a softmax.) What will the
# first row be, when $T = S$?


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


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
print(attention_map_loops(*rng.normal(size=(2, 4, 8))).round(3))

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
# Now the cold open again. We have the head's queries and keys; your function
# makes the map of them. Does it agree with what the model itself computed?

# %%
causal_map = check.mine("1.3")
A = causal_map(head["q"], head["k"])
gap = np.abs(A - np.array(record["heads"]["copying"]["map"])).max()
print("yours and the model's differ by", "< 0.001" if gap < 1e-3 else gap)

# %% [markdown]
# The picture is yours: it takes a matrix product, a mask and a softmax.
#
# ### The control that fails
#
# It is tempting to mask last: compute the whole map, then set the future to
# zero. We replace the key of the *last* of 6 tokens, and ask which rows of the
# output change. How many should? How many will?


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
def masked_late(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """A map that is masked after the softmax: wrong."""
    return np.tril(reference.attention_map(q, k, causal=False))


q, k, v, new = rng.normal(size=(4, 6, 8))
other = np.concatenate([k[:5], new[5:]])
for f in (causal_map, masked_late):
    moved = np.abs(f(q, other) @ v - f(q, k) @ v).max(-1) > 1e-12
    print(f"{f.__name__:12s} rows changed {np.flatnonzero(moved)}", end="")
    print(", rows sum to", f(q, k).sum(-1).round(1))

# %% [markdown]
# One row should change, the last. All six do. The weights of the future are
# gone, but it is still in the denominator: token 0 can tell from the size of
# its own row how well later keys match. A model trained in this way is graded
# on text it has partly seen.
#
# ## Several heads
#
# One row of weights gives one mean. If a token needs two earlier ones, for
# two purposes, one map can only blend their values. So a layer has $H$
# *heads*, each with queries, keys and values of its own. Here is another head
# of the same model, on the same sentence. What is its rule?

# %% mystnb={"image": {"alt": "Heat map of attention weights, 13 words by 13 words. Every word looks almost only at the word just before it: the strongest cells form a line just below the diagonal."}}
before = record["heads"]["previous"]
A = causal_map(np.array(before["q"]), np.array(before["k"]))
show_looks(words, A)
plt.show()

# %% [markdown]
# Every word looks at the one before it. Why would a model want that? Think of
# the second *name*, which has to find *of*. The key of *of* must say "before
# me stands *name*", and a word does not know its neighbour by itself. A head
# that looks one word back can hand that over, and this one stands in an
# earlier layer than the first. Together they make the rule of the cold open.
# In other models such pairs have been taken apart, and this is how they work
# (Olsson et al., below). In this one we have only looked at the maps.
#
# **Shapes.** $x$ is $(T, E)$, and $W_q$, $W_k$ and $W_v$ are $(E, E)$. Each
# of $x W_q$, $x W_k$ and $x W_v$ is cut into $H$ blocks of $D = E / H$
# columns, one block a head. No head sees another. At the end their outputs
# stand side by side again, $(T, E)$, and a fourth matrix $W_o$ mixes them.
#
# ### Exercise 1.4: a whole layer of attention
#
# *Hard, 20 minutes.* The whole diagram, for all tokens and all heads. Begin
# with a loop over the heads and `causal_map` for each. Once it passes, try it
# without a loop: one array $(H, T, D)$ holds the queries of all heads, and `@`
# and your softmax take the extra axis in front as it is. Then mind the order
# of the axes when you cut and when you join.


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
# When it passes, you have written the part that *Attention Is All You Need*
# is named after. Chapter 3 changes one line of it.
#
# ## Common mistakes
#
# - **Masking after the softmax.** The future stays in the denominator.
# - **Setting hidden scores to 0 before the softmax.** $e^0 = 1$, so hidden
#   keys get weight. A large negative number works until the visible scores are
#   lower still.
# - **Aligning the mask to the start** when $T < S$. A new token would see
#   only the oldest keys.
# - **Dividing by $D$, or by $\sqrt E$.** It is the root of one head's width.
# - **Cutting heads with one `reshape`** to $(H, T, D)$. It mixes tokens.
#
# ## Summary
#
# - Attention is a lookup: scores by dot product, weights by softmax, the
#   weighted mean of the values.
# - In self-attention the tokens of one text look each other up. Queries say
#   what is wanted, keys what a token is found by, values what is handed over.
#   Order has to be put in.
# - Subtracting the row's maximum from its scores does not change the softmax,
#   and prevents overflow.
# - Random scores have variance $D$. Divided by $\sqrt D$, every row starts
#   soft and can be taught.
# - The mask puts $-\infty$ before the softmax, aligned to the end.
#
# On paper, a softmax gives no visible key a weight of zero. Chapter 2 measures
# what the small weights add up to.
#
# ## Further reading
#
# - Vaswani et al., *Attention Is All You Need*, arXiv 1706.03762: where
#   equation 1.3 comes from. You can read its formulas now.
# - Olsson et al., *In-context Learning and Induction Heads*,
#   arXiv 2209.11895: the pair of heads above, taken apart in many models.
# - `minidiff/reference/loops.py` and `attention.py`: the functions above and
#   their differential versions, to keep open.
# - Dao et al., *FlashAttention*, arXiv 2205.14135: attention without storing
#   the map. Read it with chapter 10.
#
# In this course every implementation is compared with a slower one that is
# easier to believe. Here are yours, `minidiff`'s and the loops:

# %%
for T, S in ((7, 7), (3, 8), (1, 5)):
    q, k = (rng.normal(size=(n, 6)) for n in (T, S))
    loops = attention_map_loops(q, k)
    assert np.abs(causal_map(q, k) - loops).max() < 1e-9
    assert np.abs(reference.attention_map(q, k) - loops).max() < 1e-12
    print(f"T = {T}, S = {S}: yours, minidiff's and the loops agree")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert 0.9 < x.var() / D < 1.1
tops = [softmax(x / scale).max(-1).mean() for scale in scales.values()]
assert tops[0] > 0.9 and tops[1] < 0.2 and tops[2] < 1.2 / 64
place = [(i, words[i]) for i in (3, 4, 5, 6, 10, 11, 12)]
found = "3 name 4 of 5 the 6 module 10 name 11 of 12 the"
assert " ".join(f"{i} {word}" for i, word in place) == found
A = np.array(record["heads"]["copying"]["map"])
assert A[10].argmax() == 4 and A[10, 4] > 0.9
assert A[11].argmax() == 5 and A[12].argmax() == 6 and A[12, 6] < 0.5
assert (A[[1, 2, 3, 4, 6, 7, 8]].argmax(-1) == 0).all()
row = reference.attention_map(head["q"], head["q"])
assert row[10].argmax() == 3 and (row.argmax(-1) == np.arange(13)).sum() > 7
assert np.array_equal(np.diag(before["map"], -1) > 0.85, [True] * 12)
assert before["layer"] < record["heads"]["copying"]["layer"]
assert record["next"][0][0].strip() == "module"
