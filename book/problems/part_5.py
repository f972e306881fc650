# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Problem set 5: Comparing runs
#
# A comparison of two kinds of model needs a measure for each run, an error for
# each measure, a way to compare runs, and enough runs. In four problems you
# write one of each. Three of them are then applied to recorded runs of the
# book.
#
# {card}
#
# ## Prerequisites
#
# | you need | for | from |
# |---|---|---|
# | logits, targets of -100 | P5.1 | chapters 14 and 19 |
# | runs that never solve a task | P5.2 | chapter 19 |
# | the variance of a share; sets of demonstrations | P5.3 | chapters 21, 22 |
# | interval of a mean difference, Student's factor | P5.4 | chapter 18 |
# | pairs that an effect needs | P5.4 | chapter 22 |
#
# Each problem can be solved alone. A cell that begins with `if passed` uses
# your function once its check has passed, and is silent before.

# %%
import json

import matplotlib.pyplot as plt
import numpy as np

from minidiff import check, course, plots
from minidiff.check import hint, solution  # noqa: F401

plots.use_style()

# %% [markdown]
# ## Problem P5.1: accuracy at the queries
#
# *Easy, 10 minutes.* In associative recall most positions of a row ask
# nothing: their target is -100. Rows may hold different numbers of queries,
# and every query counts once. If one row has one query, answered right, and
# another has three, all answered wrong, what is the accuracy?


# %% tags=["stub:P5.1"]
def accuracy_at_queries(logits: np.ndarray, targets: np.ndarray) -> float:
    """Return the share of all queries that are answered right.

    logits (B, T, V); the answer is the token with the largest logit.
    targets (B, T): the right token at a query, -100 everywhere else.
    """
    # your code


# %% tags=["check:P5.1"]
passed = check.exP5_1(accuracy_at_queries)

# %% [markdown]
# It is one quarter. The mean over rows would be one half.

# %%
if passed:
    targets = np.array([[1, -100, -100], [1, 1, 1]])
    logits = np.zeros((2, 3, 2))
    logits[0, 0, 1] = 1  # the only right answer
    print("accuracy:", accuracy_at_queries(logits, targets))
    assert accuracy_at_queries(logits, targets) == 1 / 4

# %% [markdown]
# ## Problem P5.2: ranks of runs
#
# *Medium, 20 minutes.* Which kind solves a task sooner? A mean of steps has no
# value when some runs never solve it, and leaving those runs out favours a
# kind that solves the task rarely. Ranks can include them: a run that never
# solves the task comes after all that do. Equal runs share the mean of their
# ranks. Which ranks do 500, 250, never and 500 steps get?


# %% tags=["stub:P5.2"]
def ranks(steps: np.ndarray) -> np.ndarray:
    """Return the rank of each run (n,): 1 for the run that solves it first.

    steps (n,): the steps that a run took until it solved the task, NaN if it
    never did. Runs that never did come last. Runs that are equal, as all of
    those are, share the mean of their ranks.
    """
    # your code


# %% tags=["check:P5.2"]
passed = check.exP5_2(ranks)

# %% [markdown]
# The next cell shows them.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
if passed:
    print(ranks(np.array([500, 250, np.nan, 500])))

# %% [markdown]
# Now rank the recorded runs of chapter 19, plain
# against differential, at each setting and learning rate that both have.


# %%
record = json.loads(course.results("mqar.json").read_text())
found: dict[tuple, dict[str, list[float]]] = {}
for job in record["jobs"]:
    spec = job["job"]
    for row in job["rows"]:
        key = spec["pairs"], spec["width"], row["rate"]
        steps = float(row["solved_after"] or np.nan)
        found.setdefault(key, {}).setdefault(spec["kind"], []).append(steps)

# %%
for key, kinds in sorted(found.items()):
    if passed and {"plain", "diff"} <= set(kinds):
        n = len(kinds["plain"])
        both = ranks(np.array(kinds["plain"] + kinds["diff"]))
        pairs, width, rate = key
        print(
            f"{pairs} pairs, width {width}, rate {rate:g}: mean rank", end=" "
        )
        print(f"plain {both[:n].mean():.1f}, diff {both[n:].mean():.1f}")

# %% [markdown]
# A lower mean rank means sooner. One setting with few seeds shows little:
# chapter 18 says how sure a difference is.
#
# ## Problem P5.3: questions in groups
#
# *Medium, 20 minutes.* A model answers 96 questions, and half of the answers
# are right. Chapter 22 says how sure this share is: its variance is
# $p (1 - p) / n$ with $n = 96$. That holds if the answers are independent.
#
# But suppose that the questions come in four groups of 24. All questions of a
# group follow the same text, and the model either understands a text or does
# not: 24, 0, 24 and 0 answers are right. How many independent things have been
# observed, 96 or 4? How large is the standard error of the share, and what
# would the formula above say?
#
# If all groups are equally large, (18.1) does it, with the groups' shares for
# values. Here they may have different sizes. Every question counts once, so
# take numbers of right answers in place of shares.


# %% tags=["stub:P5.3"]
def accuracy_of_groups(
    right: np.ndarray, asked: np.ndarray
) -> tuple[float, float]:
    """Return an accuracy and its standard error, for questions in groups.

    right, asked (G,): in each of G >= 2 groups, how many questions were
    answered right and how many were asked, at least one. The accuracy p is the
    share of all questions that are right. Questions of a group may be right or
    wrong together; only the groups are independent. The deviation of a group
    is how many more of its questions are right than p times those asked. The
    variance of the number of right answers is estimated by the sum of the
    squared deviations, times G / (G - 1). The result's second number is the
    standard error of p.
    """
    # your code


# %% tags=["check:P5.3"]
passed = check.exP5_3(accuracy_of_groups)


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
def independent(p: float, questions: int) -> float:
    """The standard error of a share of independent questions."""
    return (p * (1 - p) / questions) ** 0.5


if passed:
    p, error = accuracy_of_groups(np.array([24, 0, 24, 0]), np.full(4, 24))
    print(f"groups {error:.3f}, questions {independent(p, 96):.3f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
if passed:
    assert error > 5 * independent(p, 96)

# %% [markdown]
# More than five times as large. In real data the answers of a group are less
# alike. The record of the shipped pair's training has 32 sets of
# demonstrations; after each set, 24 questions were asked about languages, in
# ten orders of the demonstrations. First take one order, and then all ten as
# if they were ten times as many questions.

# %%
record = json.loads(course.results("pair.json").read_text())
sets = {}
for job in record["jobs"]:
    for row in job["rows"]:
        found = row["language_orders"]["random"]
        right = np.array(found["by_set"])  # (sets, orders)
        sets[job["job"]["kind"], row["seed"]] = right, found["asked"]


# %%
def errors(right: np.ndarray, asked: int) -> tuple[float, float, float]:
    """Accuracy, its error by sets, and as if answers were independent."""
    G, orders = right.shape
    p, error = accuracy_of_groups(right.sum(1), np.full(G, asked * orders))
    return p, error, independent(p, G * asked * orders)


# %%
for (kind, seed), (right, asked) in sets.items():
    if passed:
        print(f"{kind:5s} {seed}", end="  ")
        for name, some in (("one", right[:, :1]), ("ten", right)):
            p, error, naive = errors(some, asked)
            print(
                f"{name}: {p:.3f} +- {error:.3f}, naive {naive:.3f}", end="  "
            )
        print()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
if passed:
    ratio = {}
    for orders in (1, 10):
        found = [errors(r[:, :orders], asked) for r, asked in sets.values()]
        ratio[orders] = np.mean([by_set / naive for _, by_set, naive in found])
        print(f"{orders:2d} orders: {ratio[orders]:.1f} times, on average")
    assert 1 < ratio[1] < ratio[10] and ratio[10] > 2

# %% [markdown]
# With one order, the error by sets is on average somewhat larger than the naive
# one: the demonstrations of a set are good or bad for all its questions. With
# ten orders the naive error shrinks by the root of ten, and the error by sets
# hardly at all. The same questions were asked again, and what is uncertain is
# how other *sets* would do.
#
# None of these errors knows of other trainings. An interval over questions,
# however careful, is one over questions (chapter 18).
#
# ## Problem P5.4: enough pairs
#
# *Hard, 25 minutes.* You plan an experiment: how many pairs of runs? Chapter 22
# asked when the half-width of the interval falls below the effect. Imagine that
# it is exactly as large as the effect. The interval excludes zero if the mean
# that is found lies above the half-width. How often is it above, if its true
# value is the effect?
#
# So that answer is too small. Ask instead: with how many pairs would, say, 80 %
# of all experiments see the effect? (This share is called the *power*.) Imagine
# ten thousand experiments and count. The random numbers are given, so that the
# result can be checked.


# %% tags=["stub:P5.4"]
def pairs_for_power(
    effect: float,
    spread: float,
    noise: np.ndarray,
    t: dict[int, float],
    share: float,
) -> int:
    """Return how many pairs it takes to see an effect in most experiments.

    noise (R, N): standard normal numbers, a row for each of R imagined
    experiments. In an experiment with n pairs, pair i has the difference
    effect + spread * noise[r, i], for the first n entries of its row; effect
    is above 0. The experiment knows only its n differences. It sees the
    effect if the whole of its interval (18.1) is above 0: their mean plus and
    minus t[n] s / sqrt(n), where s is their standard deviation with n - 1 in
    the denominator. t holds Student's factor for each n, in increasing order
    of n, and no n is above N. Return the first n of t with which at least
    this share of all R experiments sees the effect, or 0 if there is none.
    """
    # your code


# %% tags=["check:P5.4"]
passed = check.exP5_4(pairs_for_power)

# %% [markdown]
# A mean is found above its true value as often as below. So if the half-width
# is as large as the effect, about half of the experiments see it. Now with
# numbers of the book. The spread comes from the pair's record: how much do
# eight pairs differ in their loss on text?

# %%
loss: dict[str, dict[int, float]] = {}
for job in record["jobs"]:
    for row in job["rows"]:
        loss.setdefault(job["job"]["kind"], {})[row["seed"]] = row[
            "valid_loss"
        ]
lower = np.array([loss["plain"][i] - loss["diff"][i] for i in loss["diff"]])
spread = lower.std(ddof=1)
print("plain minus diff:", *(f"{x:.3f}" for x in lower))
print(f"mean {lower.mean():.3f}, spread {spread:.3f}")

# %%
STUDENT = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 10: 2.262}
STUDENT |= {12: 2.201, 16: 2.131, 20: 2.093, 30: 2.045, 60: 2.001}
noise = np.random.default_rng(0).normal(size=(10_000, 60))
print("effect  half-width below it  power of one half, 80 %, 95 %")
for effect in (0.005, 0.01, 0.02, 0.03):
    simple = [n for n, t in STUDENT.items() if t * spread / n**0.5 < effect]
    if passed:
        print(f"{effect:6.3f} {simple[0] if simple else 0:20d}", end="  ")
        for share in (0.5, 0.8, 0.95):
            found = pairs_for_power(effect, spread, noise, STUDENT, share)
            print(f"{found:10d}", end="")
        print()

# %% [markdown]
# (0: more pairs than the table has.) The simple rule finds about the number
# with which half of the experiments see the effect. For 80 % one needs between
# one and a half times and twice as many pairs as for one half.
#
# Before you believe such a plan, look at the spread that goes into it. It was
# estimated from eight pairs. What do eight normal numbers say of theirs?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
guess = noise[:, :8].std(1, ddof=1)
low, high = np.quantile(guess, (0.025, 0.975))
print(f"true spread 1: eight pairs find {low:.2f} to {high:.2f}, in 95 %")
for true in (spread / high, spread, spread / low):
    if passed:
        print(
            f"spread {true:.3f}: pairs for effects of 0.01 and 0.02:", end=""
        )
        for effect in (0.01, 0.02):
            found = pairs_for_power(effect, true, noise, STUDENT, 0.8)
            print(f"{found:4d}", end="")
        print()

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Share of imagined experiments that see the effect, against the number of pairs from 3 to 60 on a logarithmic axis: three rising curves, for effects of half the spread, the spread and twice the spread. The larger the effect, the earlier its curve rises to 1. A horizontal line marks 80 percent."}}
figure, axis = plt.subplots(figsize=(6, 3.2))
counts = np.array(list(STUDENT))
for effect in (0.5, 1, 2):
    seen = []
    for n, t in STUDENT.items():
        d = effect + noise[:, :n]
        half = t * d.std(1, ddof=1) / n**0.5
        seen.append((d.mean(1) > half).mean())
    axis.plot(counts, seen, "o-", ms=3, label=f"{effect:g} times the spread")
axis.axhline(0.8, color="grey", lw=0.8, ls=":")
axis.set(xscale="log", xlabel="pairs", ylabel="share that sees it")
axis.set_xticks([3, 5, 10, 20, 60], ["3", "5", "10", "20", "60"])
axis.minorticks_off()
axis.legend(title="effect")
plt.show()

# %% [markdown]
# So a plan made from eight pairs can be wrong by a factor of several. And it
# assumes normal differences. Whether a run has learned to look keys up is not
# of that kind: most pairs differ by nothing, and a few by nearly everything.

# %%
for kind in ("plain", "diff"):
    (rows,) = [j["rows"] for j in record["jobs"] if j["job"]["kind"] == kind]
    print(f"{kind:5s}", *(f"{row['lookup']:.2f}" for row in rows))

# %% [markdown]
# For such results count runs, as Fisher's test does (chapter 19), or rank them
# (P5.2).
#
# ## Further reading
#
# - Arora et al., *Zoology: Measuring and improving recall in efficient
#   language models*, arXiv 2312.04927: the task of P5.1, and why only its
#   queries count.
# - Agresti, *Categorical Data Analysis*: comparing counts of solved runs, where
#   P5.2 compares times.
# - Bouthillier and others, *Accounting for Variance in Machine Learning
#   Benchmarks*, arXiv 2103.03098: what else varies beside the seed.
# - Miller, *Adding Error Bars to Evals*, arXiv 2411.00640: the standard error
#   of P5.3 for evaluations of language models.
