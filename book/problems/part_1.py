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
# in blocks, each is seen once, and a map is never held. In six problems you
# build a differential head that works like this: first its output, then the
# best lambda, then its gradient. The result is exact, not an approximation.
#
# {card}
#
# ## Prerequisites
#
# | you need | for | from |
# |---|---|---|
# | softmax with the maximum subtracted | all problems but P1.5 | chapter 01 |
# | the causal mask, T queries and S keys | P1.3, P1.6 | chapter 01 |
# | the differential head | P1.4, P1.6 | chapter 03 |
# | signal and noise of a row | P1.5 | chapters 02 and 03 |
# | the gradient of a softmax | P1.6 | chapter 04 |
#
# NumPy is all you use. Each problem can be solved without the ones before it,
# but each is easier after them. Hints and solutions work as in the chapters:
# `hint("P1.1", 1)`, `solution("P1.1")`. A cell that begins with `if passed`
# uses your function once its check has passed, and is silent before.

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
# maps, each with a row for every token and a number for every pair. At four
# bytes a number, do they fit into your computer's memory? Guess, then run.

# %%
tokens = 100_000
maps = 2 * tokens**2 * 4
kept = 4 * tokens * 4
print(f"two maps                 {maps / 1e9:10.0f} GB")
print(f"what this set will keep  {kept / 1e6:10.1f} MB")
assert maps // kept == tokens // 2

# %% [markdown]
# That is one head of one layer. The second line is four numbers for each
# token, and you will find out which.
#
# The difficulty is the softmax. Each weight is divided by a sum over *all*
# keys, and the last key may change every weight before it.
#
# Could each block have a softmax of its own, and the results be averaged? Try
# it with four keys in two blocks, with scores $(0, \ln 2)$ and $(\ln 8, 0)$
# and values $(0, 0)$ and $(12, 0)$. Work out both numbers on paper first: the
# whole row has $e^{\text{score}} = 1, 2, 8, 1$.

# %%
scores = np.log([1.0, 2.0, 8.0, 1.0])
values = np.array([0.0, 0.0, 12.0, 0.0])
first = softmax(scores[:2]) @ values[:2]
second = softmax(scores[2:]) @ values[2:]
print(f"one softmax over the row   {softmax(scores) @ values:.0f}")
print(f"average of two softmaxes   {(first + second) / 2:.1f}")
assert np.isclose(softmax(scores) @ values, 8)

# %% [markdown]
# Not even close. A block cannot know its share of the row until the others
# have come. But it can keep something that is true for good.
#
# ## Problem P1.1: a sum whose maximum moves
#
# *Easy, 10 minutes.* The softmax of chapter 01 subtracts the largest score
# $m$ and needs
#
# $$
# z = \sum_s e^{x_s - m}
# \tag{P1.1}
# $$
#
# In a stream the largest score *so far* changes. Say that 0 and $\ln 2$ have
# come: $m = \ln 2$ and $z = \frac12 + 1$. Next comes $\ln 8$. What is $z$
# now? You may not look at the first two scores again, and you do not have
# to.
#
# Two numbers are all that you may keep. The check writes over each block when
# you ask for the next one, as a fast kernel does with its memory.


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
# Now a long row with wild scores: their exponentials are far outside what a
# float can hold.

# %%
if passed:
    row = np.random.default_rng(0).normal(scale=2000.0, size=10_000)
    m, z = running_sum(iter(np.split(row, 100)))
    assert m == row.max() and np.isclose(z, np.exp(row - m).sum())
    print("10,000 scores in 100 blocks: m and z as over the whole row")
    with np.errstate(over="ignore"):
        assert np.exp(row).sum() == np.inf

# %% [markdown]
# ## Problem P1.2: two halves of a row
#
# *Medium, 10 minutes.* Now the values. Let $u$ be the sum that still has to
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
# Let two readers share the work, each with half of the keys. Neither waits
# for the other. In the end two parts are there, and neither comes first. Make
# one part of them. A part without keys is possible too: in a causal map a
# reader may have nothing that the query is allowed to see.


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
# If two may be merged, so may any number. Does the order matter? Below, 64
# parts of one key each are merged in three orders: as they come, in pairs
# like a knockout tournament, and in a random order.

# %%
if passed:
    rng = np.random.default_rng(1)
    scores, values = rng.normal(scale=9, size=64), rng.normal(size=(64, 3))
    single = [(x, 1.0, v) for x, v in zip(scores, values, strict=True)]
    shuffled = [single[i] for i in rng.permutation(64)]
    rounds = single
    while len(rounds) > 1:
        rounds = list(map(merge, rounds[::2], rounds[1::2]))
    for way in (reduce(merge, single), rounds[0], reduce(merge, shuffled)):
        assert np.allclose(way[2] / way[1], softmax(scores) @ values)
    print("in three orders, the same output as one softmax")

# %% [markdown]
# So the softmax was never one indivisible step. Its parts may be computed on
# different cores, on different machines, and merged in any order. The price
# is that $u/z$ is taken once, at the very end.
#
# ## Problem P1.3: a whole branch, block by block
#
# *Hard, 20 minutes.* One branch of a head has many queries, and each has its
# own $m$, $z$ and $u$. The keys come in blocks, together with their values:
#
# | | shape | |
# |---|---|---|
# | `q` | (T, D) | all there from the start |
# | `k`, `v` of a block | (n, D), (n, Dv) | seen once, then written over |
# | scores of a block | (T, n) | the largest thing you hold |
# | `m`, `z` | (T,) | one number for each query |
# | `u` | (T, Dv) | |
#
# The branch is causal: query $t$ sees keys 0 to $t + S - T$, counted over all
# blocks. Return the output and, for each row, the logarithm of its whole sum,
#
# $$
# \mathrm{lse}_t = \ln \sum_s e^{x_{ts}} = m_t + \ln z_t
# \tag{P1.3}
# $$
#
# short for log-sum-exp. It is one number that holds both $m$ and $z$. You
# will need it in P1.6.


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
# Compare with chapter 01's map on 512 tokens, in blocks of 32.

# %%
if passed:
    rng = np.random.default_rng(2)
    q, k = rng.normal(size=(2, 512, 16))
    v = rng.normal(size=(512, 32))
    pages = zip(np.split(k, 16), np.split(v, 16), strict=True)
    out, lse = streamed_branch(q, pages, 512)
    assert np.abs(out - attention_map(q, k) @ v).max() < 1e-12
    print("differs from the map times v by < 1e-12")
    print("numbers in the map", 512 * 512, " in a block of scores", 512 * 32)

# %% [markdown]
# ## What a differential head must not do
#
# Two branches, one set of values. It is tempting to keep the *difference* so
# far, one vector instead of two. First look at what happens to old weights
# while keys come in. The cell follows the total weight on the first 32 of 128
# keys. Key 60 attracts branch 2, key 100 attracts branch 1. After 32 keys both
# totals are 1, so their difference with $\lambda = 0.8$ is 0.2. Sketch the
# three curves before you run the cell.

# %%
scores1, scores2 = np.random.default_rng(3).normal(size=(2, 128))
scores2[60] += 6.0
scores1[100] += 6.0
read = np.arange(32, 129)
first = np.array([softmax(scores1[:n])[:32].sum() for n in read])
second = np.array([softmax(scores2[:n])[:32].sum() for n in read])

# %% mystnb={"image": {"alt": "Total weight on the first 32 keys against the number of keys read. Both branches start at 1; branch 2 drops steeply at key 60, branch 1 at key 100. Their difference starts at 0.2, jumps up at key 60 and falls to about a tenth at key 100."}}
plt.plot(read, first, label="branch 1")
plt.plot(read, second, label="branch 2")
plt.plot(read, first - 0.8 * second, label="branch 1 - 0.8 branch 2")
plt.xlabel("keys read so far")
plt.ylabel("weight on the first 32 keys")
plt.legend()
plt.show()

# %%
for key in (60, 100):
    i = key - 32  # before the key is read; after it: i + 1
    factors = first[i + 1] / first[i], second[i + 1] / second[i]
    print(f"key {key:3d} multiplies the old weights by", end=" ")
    print("{:.2f} in branch 1, {:.2f} in branch 2".format(*factors))
print(f"at the start: 1 - 0.8 = {first[0] - 0.8 * second[0]:.1f}")
assert np.ptp(np.sign(np.diff(first - 0.8 * second))) == 2  # up and down

# %% [markdown]
# Every weight is provisional until the last key has come. A new key shrinks
# all old weights of a branch by one factor, but the two branches have
# *different* factors. That settles the question. Take two heads with
# $\lambda = 1$ and one channel. Head A has $o_1 = 3$ and $o_2 = 1$ so far,
# head B has 5 and 3. Both differences are 2. Now a key with value 0 comes.
# It halves branch 1's old weights and leaves those of branch 2 alone:

# %%
for name, o1, o2 in (("A", 3, 1), ("B", 5, 3)):
    print(f"head {name}: difference {o1 - o2} before, {o1 / 2 - o2} after")

# %% [markdown]
# The same difference before, another one after. So what comes after does not
# follow from the difference: whoever keeps the difference alone has lost what
# is needed. The branches stay apart until both sums are final. This is why a
# kernel that reads the keys once has two accumulators.
#
# ## Problem P1.4: both branches in one pass
#
# *Medium, 10 minutes.* One new token is to be written. Its two queries see
# all keys, so there is no mask. The blocks bring both branches' keys and the
# values. Each block is read once, and this matters: writing one token is
# limited by fetching keys and values from memory, not by arithmetic [B2]. Two
# separate branches would fetch the values twice.


# %% tags=["stub:P1.4"]
def one_pass(
    q1: np.ndarray,
    q2: np.ndarray,
    blocks: Iterable[tuple[np.ndarray, ...]],
    lam: float,
) -> np.ndarray:
    """Return the output (Dv,) of a differential head for its newest token.

    q1, q2 (D,): the token's two queries, which see every key. blocks gives
    (k1, k2, v) of the next keys, (n, D), (n, D) and (n, Dv), each once.
    """
    # your code


# %% tags=["check:P1.4"]
passed = check.exP1_4(one_pass)

# %%
if passed:
    rng = np.random.default_rng(4)
    q1, q2 = rng.normal(size=(2, 1, 16))
    k1, k2 = rng.normal(size=(2, 1000, 16))
    v = rng.normal(size=(1000, 32))
    pages = zip(*(np.split(x, 10) for x in (k1, k2, v)), strict=True)
    ours = one_pass(q1[0], q2[0], pages, 0.8)
    whole = reference.diff_head(q1, k1, q2, k2, v, 0.8)[0]
    assert np.abs(ours - whole).max() < 1e-12
    print("differs from chapter 03's head by < 1e-12")

# %%
D = 128
once, twice = 2 * D + 2 * D, 2 * D + 2 * 2 * D
print("numbers fetched for each key: one pass", once, " two passes", twice)
assert 2 * twice == 3 * once

# %% [markdown]
# ## Problem P1.5: was 0.8 a good lambda?
#
# *Medium, 15 minutes, mostly on paper.* Chapter 03 found the best $\lambda$ by
# a sweep. Sums are enough to compute it, and a stream can carry sums. Take
# many pairs of rows. Let $a$ and $b$ be the mean weights on the needle in
# branch 1 and branch 2. Over the *other* keys, let
#
# $$
# n_{ij} = \Big\langle \sum_{s \ne \star} A_{i,s}\, A_{j,s} \Big\rangle,
# \qquad i, j \in \{1, 2\},
# $$
#
# where $\langle\,\rangle$ is the mean over the pairs of rows. The weights of
# $A_1 - \lambda A_2$ then have the signal $a - \lambda b$. Multiply out the
# square of the noise, and the squared signal-to-noise ratio is
#
# $$
# R(\lambda) = \frac{(a - \lambda b)^2}
# {n_{11} - 2 \lambda\, n_{12} + \lambda^2 n_{22}}
# \tag{P1.5}
# $$
#
# Where is it largest? Set the derivative to zero. It looks like a cubic
# equation; keep calm, most of it cancels.
#
# Two checks for your paper. If branch 2 does not see the needle, $b = 0$, the
# answer must make the denominator smallest. If both branches carry the same
# noise, $A_{1,s} = c\, A_{2,s}$ for all $s \ne \star$, then $\lambda = c$
# removes all of it, so $c$ must come out.


# %% tags=["stub:P1.5"]
def best_lam(A1: np.ndarray, A2: np.ndarray, needle: int) -> float:
    """Return the lambda at which the ratio R of equation P1.5 is largest.

    A1, A2 (N, S): N pairs of rows of weights; needle: the index of the key
    we want, the same in all rows.
    """
    # your code


# %% tags=["check:P1.5"]
passed = check.exP1_5(best_lam)

# %% [markdown]
# Here is the noise model of chapter 03 with one change: branch 2 sees the
# needle a little, too. The curves are $R(\lambda)$ itself, swept. When your
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
# The end of that cell is chapter 03's rule of thumb, made exact. If the noise
# of two rows differs only by the share that the needle takes away, the best
# lambda is the ratio of what is left, $(1 - a) / (1 - b)$. The rule
# $1 - w_\star$ is the case where branch 2 gives the needle next to nothing.
#
# A model does not compute this $\lambda$. It learns one number for a whole
# layer, by gradient. So let us get gradients.
#
# ## Problem P1.6: the gradient of a map that was never kept
#
# *Hard, 15 minutes.* Chapter 04 went back through the softmax with the map
# $A$ in hand. We have thrown it away. Two facts bring it back.
#
# First, `lse` gives back any single weight from its score, without the rest of
# the row: $A_{ts} = e^{x_{ts} - \mathrm{lse}_t}$. (Why? It is one line.)
#
# Second, chapter 04's formula $dS = A \odot (dA - \delta)$ needs for each row
# the sum $\delta_t = \sum_s A_{ts}\, dA_{ts}$ over all keys. With
# $dA = d\mathrm{out}\; v^\top$ the sum over $s$ can be done first:
#
# $$
# \delta_t = \sum_s A_{ts} \sum_c d\mathrm{out}_{tc}\, v_{sc}
# = \sum_c d\mathrm{out}_{tc}\, \mathrm{out}_{tc}
# \tag{P1.6}
# $$
#
# The sum over all keys has become a sum over channels, of the output that the
# branch has anyway. So two numbers a row are enough, and any block of keys can
# be done without the others. In which of $dq$, $dk$, $dv$ do the blocks add
# up?


# %% tags=["stub:P1.6"]
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


# %% tags=["check:P1.6"]
passed = check.exP1_6(branch_backward)

# %% [markdown]
# A differential head is two such branches. With $o = o_1 - \lambda\, o_2$,
# branch 1 gets $d\mathrm{out}$ and branch 2 gets $-\lambda\, d\mathrm{out}$.
# Both give a gradient of $v$, and these add. And lambda? Its gradient is
# $-\sum d\mathrm{out} \cdot o_2$: the very products that $\delta$ of branch 2
# sums up. It costs nothing. Note what is needed: the outputs of *both*
# branches, not only their difference.
#
# We compare with the gradients of `minidiff`, which keeps its maps.

# %%
rng = np.random.default_rng(6)
T, D, lam = 50, 8, 0.7
q1, q2, k1, k2 = rng.normal(size=(4, T, D))
v, dout = rng.normal(size=(2, T, 2 * D))
A1, A2 = attention_map(q1, k1), attention_map(q2, k2)
hidden = ~np.tril(np.ones((T, T), dtype=bool))
lse1, lse2 = (
    np.log(np.exp(np.where(hidden, -np.inf, q @ k.T / np.sqrt(D))).sum(-1))
    for q, k in ((q1, k1), (q2, k2))
)
delta1, delta2 = (dout * (A1 @ v)).sum(-1), (dout * (A2 @ v)).sum(-1)
q, k = (np.stack(x)[None, None] for x in ((q1, q2), (k1, k2)))
want = reference.diff_attention_backward(
    dout[None, None], q, k, v[None, None], lam
)

# %%
assert np.isclose(-delta2.sum(), want.lam)
print("lambda's gradient is the sum of -delta2")
if passed:
    one = branch_backward(q1, k1, v, lse1, delta1, dout, 16)
    two = branch_backward(q2, k2, v, lse2, -lam * delta2, -lam * dout, 16)
    for i in (0, 1):
        assert np.abs((one, two)[i][0] - want.q[0, 0, i]).max() < 1e-12
        assert np.abs((one, two)[i][1] - want.k[0, 0, i]).max() < 1e-12
    assert np.abs(one[2] + two[2] - want.v[0, 0]).max() < 1e-12
    print("all gradients of the head: differ by < 1e-12")

# %% [markdown]
# ## What you have now
#
# In place of two maps the head keeps $\mathrm{lse}$ and $\delta$ of both
# branches for the way back: four numbers a token, the second line of this
# set's first output.
#
# This is the plan of a fast kernel, forward and backward. Part III writes it
# for a GPU: the blocks become tiles, the running maxima stay in registers,
# and P1.4's warning about the difference decides how many accumulators there
# are. Part II first builds the whole model in PyTorch.
#
# ## Further reading
#
# - Milakov and Gimelshein, *Online normalizer calculation for softmax*,
#   arXiv 1805.02867: the idea of problem P1.1.
# - Dao and others, *FlashAttention*, arXiv 2205.14135: P1.3 and P1.6 on a
#   GPU, and why it is fast: not fewer operations, but less to fetch.
# - Ye et al., *Differential Transformer*, arXiv 2410.05258, appendix G: the
#   gradients of both branches, written with the maps in hand. [P]
