# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Problem set 1: A head that never sees the whole row
#
# The maps of chapters 01 to 04 were small enough to print. Here the keys come
# in blocks, each is seen once, and a map is never held. In five problems you
# build a differential head that works like this: first its output, then the
# best lambda, then its gradient. The result is exact, not an approximation.
#
# {card}
#
# ## Prerequisites
#
# | you need | for | from |
# |---|---|---|
# | softmax with the maximum subtracted | all problems but P1.4 | chapter 01 |
# | the causal mask, T queries and S keys | P1.3, P1.5 | chapter 01 |
# | the differential head | P1.4, P1.5 | chapter 03 |
# | signal and noise of a row | P1.4 | chapters 02 and 03 |
# | the gradient of a softmax | P1.5 | chapter 04 |
#
# NumPy is all you use. Each problem can be solved without the ones before it,
# but is easier after them. `hint("P1.1", 1)` and `solution("P1.1")` help. A
# cell that begins with `if passed` uses your function once its check has
# passed, and is silent before.

# %%
from collections.abc import Iterable
from functools import reduce

import matplotlib.pyplot as plt
import numpy as np

from minidiff import check, plots, reference
from minidiff.check import hint, solution  # noqa: F401
from minidiff.reference import attention_map, softmax

plots.use_style()
Part = tuple[float, float, np.ndarray]  # of problem P1.2

# %% [markdown]
# ## How large is a map?
#
# Take a text as long as a book: 100,000 tokens. One differential head has two
# maps, with a number for every pair of tokens. At four bytes a number, do they
# fit into your computer's memory? Guess, then run.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
tokens = 100_000
maps = 2 * tokens**2 * 4
kept = 4 * tokens * 4
print(f"two maps                 {maps / 1e9:10.0f} GB")
print(f"what this set will keep  {kept / 1e6:10.1f} MB")
assert maps // kept == tokens // 2

# %% [markdown]
# That is one head of one layer. The second line is what takes the maps'
# place: four numbers for each token. You will find out which.
#
# The difficulty is the softmax. Each weight is divided by a sum over *all*
# keys, and the last key may change every weight before it.
#
# Could each block have a softmax of its own, and the results be averaged?
# Take two blocks, with scores $(0, \ln 2)$ and $(\ln 8, 0)$ and values
# $(0, 0)$ and $(12, 0)$. Work out both numbers on paper first: the whole row
# has $e^{\text{score}} = 1, 2, 8, 1$.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
scores = np.log([1.0, 2.0, 8.0, 1.0])
values = np.array([0.0, 0.0, 12.0, 0.0])
first = softmax(scores[:2]) @ values[:2]
second = softmax(scores[2:]) @ values[2:]
print(f"one softmax over the row   {softmax(scores) @ values:.0f}")
print(f"average of two softmaxes   {(first + second) / 2:.1f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert np.isclose(softmax(scores) @ values, 8)

# %% [markdown]
# A block cannot know its share of the row until the others have come. But it
# can keep something that stays true.
#
# ## Problem P1.1: a sum whose maximum moves
#
# *Easy, 8 minutes.* The softmax of chapter 01 subtracts the largest score
# $m$ and needs
#
# $$
# z = \sum_s e^{x_s - m}
# \tag{P1.1}
# $$
#
# In a stream the largest score *so far* changes. Say that 0 and $\ln 2$ have
# come: $m = \ln 2$ and $z = \frac12 + 1$. Next comes $\ln 8$, and $z$ is
# $\frac{11}{8}$. How does it follow from the old $z$? You do not need the
# first two scores again, and you may not look: two numbers are all that you
# keep. The check writes over each block when you ask for the next one.


# %% tags=["stub:P1.1"]
def running_sum(blocks: Iterable[np.ndarray]) -> tuple[float, float]:
    """Return (m, z) of a row of scores that arrives in blocks.

    m is the largest score of the whole row, z the sum of exp(score - m) over
    the whole row. Each block is an array (n,) of finite numbers, n >= 1, and
    is written over when the next one is asked for.
    """
    # your code


# %% tags=["check:P1.1"]
passed = check.exP1_1(running_sum)

# %% [markdown]
# ## Problem P1.2: two halves of a row
#
# *Medium, 8 minutes.* Now the values. Let $u$ be the sum that still has to
# be divided:
#
# $$
# u = \sum_s e^{x_s - m}\, v_s
# \qquad\text{so that the output is}\quad \frac uz
# \tag{P1.2}
# $$
#
# Three things, $(m, z, u)$, say all about any *part* of a row: one key, a
# block, or half of the book. For one key with score $x$ and value $v$ they
# are $(x, 1, v)$.
#
# Let two readers take half of the keys each. Neither waits for the other, and
# neither part comes first. Make one part of the two. A part without keys is
# possible too: in a causal map, half of the keys may all be hidden.


# %% tags=["stub:P1.2"]
def merge(a: Part, b: Part) -> Part:
    """Return the part that two parts of one row make together.

    A part (m, z, u) of some keys: m the largest score, z the sum of
    exp(score - m), u (Dv,) the sum of exp(score - m) * value. A part without
    keys is (-inf, 0, zeros), and two of them make another one.
    """
    # your code


# %% tags=["check:P1.2"]
passed = check.exP1_2(merge)

# %% [markdown]
# Does the order matter? Below, 64 parts of one key each are merged as they
# come, in pairs like a knockout tournament, and in a random order.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
if passed:
    rng = np.random.default_rng(1)
    scores, values = rng.normal(scale=9, size=64), rng.normal(size=(64, 3))
    single = [(x, 1.0, v) for x, v in zip(scores, values, strict=True)]
    shuffled = [single[i] for i in rng.permutation(64)]
    rounds = single
    while len(rounds) > 1:
        rounds = list(map(merge, rounds[::2], rounds[1::2]))
    ways = reduce(merge, single), rounds[0], reduce(merge, shuffled)
    gaps = [way[2] / way[1] - softmax(scores) @ values for way in ways]
    gap = np.abs(gaps).max()
    print("three orders and one softmax differ by", end=" ")
    print("< 1e-12" if gap < 1e-12 else f"{gap:.1e}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
if passed:
    assert gap < 1e-12

# %% [markdown]
# So the softmax was never one indivisible step. Its parts may be computed on
# different machines and merged in any order; $u/z$ is taken once, at the end.
#
# ## Problem P1.3: a whole branch, block by block
#
# *Hard, 20 minutes.* A branch has $T$ queries, there from the start, each with
# its own $m$, $z$ and $u$. Keys and values come in blocks of $n$:
#
# | | shape | |
# |---|---|---|
# | scores of a block | (T, n) | gone with the block |
# | `m`, `z` | (T,) | one number for each query |
# | `u` | (T, Dv) | |
#
# The branch is causal: query $t$ sees keys 0 to $t + S - T$, counted over all
# blocks, and $S \ge T$. Return the output and, for each row, the logarithm of
# its whole sum,
#
# $$
# \mathrm{lse}_t = \ln \sum_s e^{x_{ts}} = m_t + \ln z_t
# \tag{P1.3}
# $$
#
# short for log-sum-exp. You will need it in P1.5.


# %% tags=["stub:P1.3"]
def streamed_branch(
    q: np.ndarray, blocks: Iterable[tuple[np.ndarray, np.ndarray]], S: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (out, lse) of softmax(q k' / sqrt(D)) v, causal.

    q (T, D). blocks gives (k, v) of the next keys, (n, D) and (n, Dv); the
    last block may be shorter, and S is the number of all keys. Query t sees
    keys 0 to t + S - T. out (T, Dv); lse (T,) is the logarithm of each row's
    sum of exp(score).
    """
    # your code


# %% tags=["check:P1.3"]
passed = check.exP1_3(streamed_branch)

# %% [markdown]
# ## What a differential head must not do
#
# It is tempting to keep the *difference* of the branches so far, one vector
# instead of two. First look at what happens to old weights while keys come in.
# The cell follows the total weight on the first 32 of 128 keys. Key 60
# attracts branch 2, key 100 attracts branch 1. After 32 keys both totals are
# 1, and their difference with $\lambda = \frac45$ is a fifth. Sketch the three
# curves before you run the cell.

# %%
scores1, scores2 = np.random.default_rng(3).normal(size=(2, 128))
scores2[60] += 6.0
scores1[100] += 6.0
read = np.arange(32, 129)
first = np.array([softmax(scores1[:n])[:32].sum() for n in read])
second = np.array([softmax(scores2[:n])[:32].sum() for n in read])
gap = first - 0.8 * second

# %% tags=["hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Total weight on the first 32 keys against the number of keys read. Both branches start at 1; branch 2 drops steeply at key 60, branch 1 at key 100. Their difference starts at 0.2, jumps up at key 60 and falls to about a tenth at key 100."}}
plt.plot(read, first, label="branch 1")
plt.plot(read, second, label="branch 2")
plt.plot(read, gap, label="branch 1 - 0.8 branch 2")
plt.xlabel("keys read so far")
plt.ylabel("weight on the first 32 keys")
plt.legend()
plt.show()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert first[29] > 0.9 * first[28] and gap[29] > 1.5 * gap[28]  # key 60
assert second[69] > 0.9 * second[68] and gap[69] < 0.5 * gap[68]  # key 100

# %% [markdown]
# Every weight is provisional until the last key has come. A new key shrinks
# all old weights of a branch by one factor. But the two branches have
# *different* factors, so the difference may even grow. Take two heads with
# $\lambda = 1$ and one channel. Head A has $o_1 = 3$ and $o_2 = 1$ so far,
# head B has 5 and 3. Both differences are 2. Now a key with value 0 comes. It
# halves the old weights of branch 1; branch 2 hardly notices it:

# %%
for name, o1, o2 in (("A", 3, 1), ("B", 5, 3)):
    print(f"head {name}: difference {o1 - o2} before, {o1 / 2 - o2} after")

# %% [markdown]
# What comes after does not follow from the difference before: whoever keeps
# the difference alone has lost what is needed. The branches stay apart until
# both sums are final. So a program that reads the keys once keeps $m$, $z$
# and $u$ of *both* branches, side by side, and subtracts at the end. Then each
# block of values, which both branches use, is fetched once, not twice. That
# matters when a model writes one token after another: fetching from memory,
# not arithmetic, then sets the speed [B2].
#
# Here is the head, from two runs of your branch:

# %%
if passed:
    rng = np.random.default_rng(4)
    q1, q2, k1, k2 = rng.normal(size=(4, 100, 16))
    v = rng.normal(size=(100, 32))
    o1, o2 = (
        streamed_branch(q, [(k[:64], v[:64]), (k[64:], v[64:])], 100)[0]
        for q, k in ((q1, k1), (q2, k2))
    )
    whole = reference.diff_head(q1, k1, q2, k2, v, 0.8)
    assert np.abs(o1 - 0.8 * o2 - whole).max() < 1e-12
    print("differs from chapter 03's head by < 1e-12")

# %% [markdown]
# ## Problem P1.4: the best lambda without a sweep
#
# *Medium, 15 minutes, mostly on paper.* Chapter 03 found the best $\lambda$ by
# a sweep. Five means are enough to compute it. Take many pairs of rows. Let
# $a$ and $b$ be the mean weights on the needle $\star$ in branch 1 and branch
# 2. Over the *other* keys, let
#
# $$
# n_{ij} = \Big\langle \sum_{s \ne \star} A_{i,s}\, A_{j,s} \Big\rangle,
# \qquad i, j \in \{1, 2\},
# $$
#
# where $\langle\,\rangle$ is the mean over the pairs of rows. So $n_{11}$ is
# branch 1's squared noise, and $n_{12}$ is how much the branches share. The
# weights of $A_1 - \lambda A_2$ have the signal $a - \lambda b$. Multiply out
# the square of their noise, and the squared signal-to-noise ratio is
#
# $$
# R(\lambda) = \frac{(a - \lambda b)^2}
# {n_{11} - 2 \lambda\, n_{12} + \lambda^2 n_{22}}
# \tag{P1.4}
# $$
#
# Where is it largest? Set the derivative to zero. It looks like a cubic
# equation; keep calm, most of it cancels.
#
# Two checks for your paper. If branch 2 does not see the needle, $b = 0$, the
# answer must make the denominator smallest. If $A_{1,s} = c\, A_{2,s}$ for all
# $s \ne \star$, then $\lambda = c$ removes all noise, so $c$ must come out.


# %% tags=["stub:P1.4"]
def best_lam(A1: np.ndarray, A2: np.ndarray, needle: int) -> float:
    """Return the lambda at which the ratio R of equation P1.4 is largest.

    A1, A2 (N, S): N pairs of rows of weights; needle: the index of the key
    we want, the same in all rows.
    """
    # your code


# %% tags=["check:P1.4"]
passed = check.exP1_4(best_lam)

# %% [markdown]
# Here is the noise model of chapter 03 with one change: branch 2 sees the
# needle a little, too. The curves are $\sqrt{R(\lambda)}$, swept. When your
# function has passed, its answers stand on them as dots.


# %%
def noisy_rows(rho: float) -> tuple[np.ndarray, np.ndarray]:
    """2000 pairs of rows over 64 keys; rho is how much noise they share."""
    rng = np.random.default_rng(5)
    shared, own1, own2 = rng.normal(size=(3, 2000, 64))
    scores1 = np.sqrt(rho) * shared + np.sqrt(1 - rho) * own1
    scores2 = np.sqrt(rho) * shared + np.sqrt(1 - rho) * own2
    scores1[:, 0] += 3.0
    scores2[:, 0] += 1.0
    return softmax(scores1), softmax(scores2)


def ratio(A: np.ndarray) -> float:
    """The root of R for rows A (N, S) whose needle is key 0."""
    return A[:, 0].mean() / np.sqrt((A[:, 1:] ** 2).sum(-1).mean())


# %% mystnb={"image": {"alt": "Signal-to-noise ratio against lambda for rows that share 95, 90, 50 and 0 percent of their noise: each curve rises to one peak and falls; more sharing gives a higher peak at a larger lambda. In the solved notebook a dot sits on each peak."}}
lams = np.linspace(-0.2, 1.4, 161)
peaks = {}
for i, rho in enumerate((0.95, 0.9, 0.5, 0.0)):
    A1, A2 = noisy_rows(rho)
    swept = [ratio(A1 - lam * A2) for lam in lams]
    peaks[rho] = lams[np.argmax(swept)]
    plt.plot(lams, swept, label=f"{rho:.0%} shared")
    if passed:
        lam = best_lam(A1, A2, 0)
        plt.plot(lam, ratio(A1 - lam * A2), "o", color=plots.COLOURS[i])
plt.xlabel("lambda")
plt.ylabel("signal-to-noise ratio")
plt.legend()
plt.show()

# %%
if passed:
    for rho, peak in peaks.items():
        lam = best_lam(*noisy_rows(rho), 0)
        assert abs(lam - peak) <= 0.01
        print(f"{rho:4.0%} shared: closed form {lam:.3f}, swept {peak:.2f}")
    A1, A2 = noisy_rows(1.0)
    c = (1 - A1[:1, 0]) / (1 - A2[:1, 0])
    assert np.isclose(best_lam(A1[:1], A2[:1], 0), c)
    print("all noise shared, one row: (1 - needle in A1) / (1 - needle in A2)")

# %% [markdown]
# The last of these is chapter 03's rule of thumb, made exact. If the noise of
# two rows differs only by the share that the needle takes away, the best
# lambda is the ratio of what is left, $(1 - a) / (1 - b)$. The rule
# $1 - w_\star$ is the case where branch 2 gives the needle next to nothing.
#
# A model does not compute this $\lambda$: it learns its own by gradient.
#
# ## Problem P1.5: the gradient of a map that was never kept
#
# *Hard, 15 minutes.* Chapter 04 went back through the softmax with the map
# $A$ in hand. We have thrown it away. Two facts help.
#
# First, `lse` gives back any weight from its score alone:
# $A_{ts} = e^{x_{ts} - \mathrm{lse}_t}$. (Why? It is one line.)
#
# Second, chapter 04's formula $dS = A\,(dA - \delta)$ needs for each row the
# sum $\delta_t = \sum_s A_{ts}\, dA_{ts}$ over all keys. By its equation 4.5
# that is a sum over channels, of the output that the branch has anyway:
#
# $$
# \delta_t = \sum_c d\mathrm{out}_{tc}\, \mathrm{out}_{tc}
# \tag{P1.5}
# $$
#
# So two numbers a row are enough, $\mathrm{lse}_t$ and $\delta_t$, and any
# block of keys can be done without the others. In which of $dq$, $dk$, $dv$
# do the blocks add up?


# %% tags=["stub:P1.5"]
def branch_backward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    lse: np.ndarray,
    delta: np.ndarray,
    dout: np.ndarray,
    block: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return dq, dk, dv of sum(dout * A v), A = softmax(q k' / sqrt(D)).

    q (T, D), k (S, D), v (S, Dv), dout (T, Dv); A is causal: query t sees
    keys 0 to t + S - T. lse (T,) as in P1.3; delta (T,) is the row sum of
    dout * out. A is rebuilt for `block` keys at a time.
    """
    # your code


# %% tags=["check:P1.5"]
passed = check.exP1_5(branch_backward)

# %% [markdown]
# A differential head is two such branches. Branch 1 is called with
# $d\mathrm{out}$, branch 2 with $-\lambda\, d\mathrm{out}$, so the row sum of
# branch 2 gets the factor $-\lambda$ as well. Both give a gradient of $v$,
# and these add. And lambda? By equation 4.7 its gradient is
# $-\sum_t \delta_{2,t}$, where $\delta_2$ sums $d\mathrm{out} \cdot o_2$ over
# each row's channels. It costs nothing, but it needs $o_2$ itself, not only
# the difference.
#
# We compare with the gradients of `minidiff`, which keeps its maps.

# %%
rng = np.random.default_rng(6)
T, D, lam = 50, 8, 0.7
q, k = rng.normal(size=(2, 2, T, D))  # each holds both branches
v, dout = rng.normal(size=(2, T, 2 * D))
hidden = ~np.tril(np.ones((T, T), dtype=bool))
scores = np.where(hidden, -np.inf, q @ k.transpose(0, 2, 1) / np.sqrt(D))
lse = np.logaddexp.reduce(scores, axis=-1)
delta1, delta2 = (dout * (attention_map(q, k) @ v)).sum(-1)
want = reference.diff_attention_backward(
    *(x[None, None] for x in (dout, q, k, v)), lam
)
assert np.isclose(-delta2.sum(), want.lam)
print("lambda's gradient is minus the sum of delta_2")

# %%
if passed:
    one = branch_backward(q[0], k[0], v, lse[0], delta1, dout, 16)
    two = branch_backward(
        q[1], k[1], v, lse[1], -lam * delta2, -lam * dout, 16
    )
    for i, (dq, dk, _) in enumerate((one, two)):
        assert np.abs(dq - want.q[0, 0, i]).max() < 1e-12
        assert np.abs(dk - want.k[0, 0, i]).max() < 1e-12
    assert np.abs(one[2] + two[2] - want.v[0, 0]).max() < 1e-12
    print("all gradients of the head: differ by < 1e-12")

# %% [markdown]
# ## What you have now
#
# In place of two maps the head keeps $\mathrm{lse}$ and $\delta$ of both
# branches: four numbers a token, the second line of this set's first output.
# Everything else that it keeps, $o_1$ and $o_2$ among it, grows with the
# length of the text, not with its square.
#
# This is the plan of a fast GPU program, forward and backward. Part III
# writes it. Part II first builds the whole model in PyTorch.
#
# ## Further reading
#
# - Milakov and Gimelshein, *Online normalizer calculation for softmax*,
#   arXiv 1805.02867: the idea of P1.1.
# - Dao and others, *FlashAttention*, arXiv 2205.14135: P1.3 and P1.5 on a
#   GPU, and why it is fast: not fewer operations, but less to fetch.
