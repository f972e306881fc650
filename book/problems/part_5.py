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
# A comparison of two kinds of model needs a measure for each run and a way to
# compare runs. In two problems you write one of each, and apply the second to
# the recorded runs of chapter 19.
#
# {card}
#
# ## Prerequisites
#
# | you need | for | from |
# |---|---|---|
# | logits, targets of -100 | P5.1 | chapters 14 and 19 |
# | runs that never solve a task | P5.2 | chapter 19 |
#
# Each problem can be solved alone. A cell that begins with `if passed` uses
# your function once its check has passed, and is silent before.

# %%
import json

import numpy as np

from minidiff import check, course
from minidiff.check import hint, solution  # noqa: F401

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

# %%
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
# ## Further reading
#
# - Arora et al., *Zoology: Measuring and improving recall in efficient
#   language models*, arXiv 2312.04927: the task of P5.1, and why only its
#   queries count.
# - Agresti, *Categorical Data Analysis*: comparing counts of solved runs, where
#   P5.2 compares times.
# - Bouthillier and others, *Accounting for Variance in Machine Learning
#   Benchmarks*, arXiv 2103.03098: what else varies beside the seed.
