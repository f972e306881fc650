# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 26. Sparse caches
#
# Suppose that a key contributes exactly nothing to the output of a head. Throw
# it away, and the output changes. In a differential head both sentences can be
# true at once, and this chapter shows how.
#
# By the end you will have shown, with a scoring rule and an eviction of your
# own, what a plain and a differential model lose in lookup and on text when
# their caches keep a half, a quarter or an eighth of the keys.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - say what three published rules keep of a cache;
# - compute the weights of the kept keys after an eviction, in both branches;
# - write an eviction, and measure it with and without knowledge of the
#   question;
# - choose the map that scores the keys of a differential head;
# - use a cache with a budget, and measure its memory and its decode step.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | two maps, lambda, row sums | what an eviction changes | chapter 3 |
# | needles, chance | the lookup task | chapters 7, 19 |
# | the cache, the decode step | what is evicted | chapter 16 |
# | paired differences, intervals | the comparison of rules | chapter 18 |

# %%
import hashlib
import inspect
import json
import timeit
from collections.abc import Callable
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

import minidiff
from minidiff import DecoderLM, check, course, generate, load, plots

# %%
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course.cache_diagrams import show_eviction
from minidiff.data import BPETokenizer, NeedleTask
from minidiff.evaluation.recall import draw_questions
from minidiff.evaluation.sparse_cache import sparse_recall
from minidiff.nn.key_scores import h2o, h2o_difference, key_weights, streaming
from minidiff.ops import AttentionMaps

FILES = {"plain": "pair_softmax.safetensors", "diff": "pair_diff.safetensors"}
plots.use_style("svg")
torch.set_num_threads(1)

# %% [markdown]
# The next number says how many rows are read where a model runs on this page.

# %% tags=["parameters"] quick={"ROWS": 2}
ROWS = 4

# %% [markdown]
# ## A cold open: seven of eight keys thrown away
#
# The two models that come with the course read 505 tokens in which eight
# needles are hidden: pairs of a key and a value. Both models answer questions
# about them almost without an error. Now, in every head, seven of every eight
# cached keys and values are thrown away, before the first question comes. Those
# that stay are random ones, the latest ones, or those of a rule that you will
# write below. Guess what share of the questions is still answered right.

# %%
TASK = NeedleTask(needles=8, questions=4, length=512, repeats=False)
PAIR = {
    name: load(course.weights(file)).requires_grad_(False)
    for name, file in FILES.items()
}
coder = BPETokenizer.load(course.weights("pair_tokenizer.json"))
FIRST = coder.vocab_size  # needle tokens have ids after those of the text


# %%
def at_random(maps: AttentionMaps | Tensor) -> Tensor:
    """Random scores (B, H, S) for the S keys of a layer."""
    B, H, _, S = key_weights(maps, "first").shape
    return torch.rand(B, H, S, generator=torch.Generator().manual_seed(S))


def latest(maps: AttentionMaps | Tensor) -> Tensor:
    """StreamingLLM: the first four keys, then the latest ones."""
    return streaming(key_weights(maps, "first"))


# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
RULES = {"random": at_random, "latest": latest, "a rule": h2o_difference}
settings = {"fractions": (1.0, 1 / 8), "rows": ROWS, "first": FIRST}
for name, model in PAIR.items():
    for found in sparse_recall(model, TASK, RULES, **settings):
        if found["mode"] == "question-blind":
            kept, rule = found["kept"], found["score"]
            print(f"{name:5s} {kept:3d} keys kept, {rule:6s}", end="  ")
            print(f"{found['accuracy']:.0%} right")
print(f"by chance {TASK.chance.accuracy:.0%}")

# %% [markdown]
# Where all keys are kept, the rules agree, because nothing is evicted. With an
# eighth of them the choice of the keys decides, from guessing to many right
# answers. So which keys are worth their memory?
#
# ## What an eviction does
#
# A decode step reads the whole cache (chapter 16). With an eighth of the keys
# it reads an eighth of the bytes, and the cache takes an eighth of the memory.
# To *evict* means: score the keys of the prompt, keep the best ones, and free
# the memory of all others.

# %% mystnb={"image": {"alt": "Two heads with eight keys of a prompt each, at positions 0 to 7, and a bar above each key for its score. The three keys with the highest bars are blue, the others dotted: 0, 3, 7 in head 0 and 2, 3, 6 in head 1. To the right the smaller caches: the three kept keys with their old positions, followed by two new ones, 8 and 9, in orange."}}
show_eviction(
    [
        [0.9, 0.2, 0.1, 0.7, 0.15, 0.3, 0.1, 0.8],
        [0.3, 0.1, 0.6, 0.9, 0.2, 0.1, 0.7, 0.25],
    ],
    budget=3,
)
plt.show()

# %% [markdown]
# Each head keeps keys of its own: head 0 has kept position 7, head 1 has not.
# Both branches of a differential head keep the same ones, as they share the
# values. A kept key keeps its position too, because it was rotated for it
# before it was cached (chapter 7). The keys of new tokens are appended.
#
# What happens to the weights? Branch $b$ of a query had the weights $A_{b,s}$
# on all keys $s$. In its softmax the terms of the evicted keys are now
# missing, from the numerators and from the denominator. Let $m_b$ be the
# weight that the evicted keys had together. Then a kept key has
#
# $$
# A'_{b,s} = \frac{A_{b,s}}{\sum_{j\ \text{kept}} A_{b,j}}
#          = \frac{A_{b,s}}{1 - m_b}
# \tag{26.1}
# $$
#
# and again the weights of a branch sum to 1. In a plain head that is all: the
# kept weights grow by a common factor.
#
# ## The trap
#
# A differential head has two such factors. Take $\lambda = \frac12$ and three
# keys:
#
# | key | $A_1$ | $A_2$ | $A_1 - \lambda A_2$ |
# |---|---|---|---|
# | 1 | 4/16 | 8/16 | 0 |
# | 2 | 9/16 | 3/16 | 15/32 |
# | 3 | 3/16 | 5/16 | 1/32 |
#
# Key 1 contributes exactly nothing to the output: what branch 1 gives to its
# value, branch 2 takes away. So it looks like the best key to evict, and a
# rule that scores by $|A_1 - \lambda A_2|$ evicts it first. Which weights do
# keys 2 and 3 have afterwards? Use a pencil.
#
# ### Exercise 26.1: the weights after an eviction
#
# *Easy, 6 minutes.* For any number of keys.


# %% tags=["stub:26.1"]
def after_eviction(
    A1: np.ndarray, A2: np.ndarray, lam: float, kept: np.ndarray
) -> np.ndarray:
    """Return the differential weights (n,) of the keys that are kept.

    A1, A2 (S,): weights of one query on all S keys, each a softmax. kept
    (n,): places of the kept keys, ascending. After the eviction each branch
    takes its softmax over the same scores of the kept keys only.
    """
    # your code


# %% tags=["check:26.1"]
check.ex26_1(after_eviction)

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
weights_after = check.mine("26.1")
A1, A2 = np.array([4, 9, 3]) / 16, np.array([8, 3, 5]) / 16
before = A1 - A2 / 2
after = weights_after(A1, A2, 0.5, np.array([1, 2]))
print("before, in 32nds", 32 * before, " sum", 32 * before.sum())
print("after,  in 32nds      ", 32 * after, " sum", 32 * after.sum())

# %% [markdown]
# The value of key 3 was added a little, and now it is taken away. The evicted
# key had no part in the sum of values, but it had one in both denominators,
# and not the same: a quarter in branch 1 and a half in branch 2. Without it
# the weights of branch 1 grow by 4/3 and those of branch 2 by 2. No later norm
# can undo that: it has one factor for a head, and there were two.
#
# So a key that contributes nothing may still be needed. How much this matters
# in a trained model is measured in a section below.
#
# ## Three rules and a control
#
# Rules for plain models have been published by the dozen. NVIDIA's library
# kvpress holds more than 35 under one roof, and we take its definitions [KV]:
#
# | rule | keeps the keys | needs |
# |---|---|---|
# | StreamingLLM | that come first (4 of them) or latest | no map |
# | H2O | with the highest mean weight, over the queries that see the key | the whole map |
# | SnapKV | with the highest mean weight in the last 64 queries, averaged over 5 neighbours; and those of the 64 | the map's last rows |
# | random | that chance chooses | nothing |
#
# Two remarks. The paper of H2O takes the sum in place of the mean, and
# reserves half of the budget for the latest keys. And SnapKV's window was made
# for long prompts: our prompts have about 500 tokens, and an eighth of that is
# *fewer* than 64, so nothing but the latest keys is kept. To be fair to it, it
# is measured with a window of 16 as well ("snapkv 16").
#
# ### Exercise 26.2: the score of H2O
#
# *Medium, 8 minutes.* The causal mask lets more queries see an early key than a
# late one. A sum would prefer early keys for that reason alone.


# %% tags=["stub:26.2"]
def mean_weight(W: np.ndarray) -> np.ndarray:
    """Return the mean weight (S,) of each key over the queries that see it.

    W (T, S), T <= S: weights >= 0 of the last T of S tokens, as queries, on
    the keys of all S tokens. The maps are causal: the last query sees all
    keys, the one before it all but the last, and so on. W is 0 where a query
    does not see a key, and may be 0 elsewhere too.
    """
    # your code


# %% tags=["check:26.2"]
check.ex26_2(mean_weight)

# %% [markdown]
# A plain head has one map to score by. A differential head offers four:
#
# | name | weights | a key scores high if |
# |---|---|---|
# | first | $A_1$ | branch 1 looks at it |
# | second | $A_2$ | branch 2 looks at it |
# | mass | $(A_1 + A_2)/2$ | it matters for the denominators |
# | difference | $\lvert A_1 - \lambda A_2\rvert$ | it matters for the sum of values |
#
# The trap speaks for "mass", the output for "difference". We know of nobody
# who has scored keys by the difference before.


# %%
my_mean = check.mine("26.2")


def my_rule(maps: AttentionMaps | Tensor) -> Tensor:
    """H2O by the difference, with your mean: scores (B, H, S)."""
    rows = key_weights(maps, "difference").numpy()
    scores = [[my_mean(head) for head in heads] for heads in rows]
    return torch.from_numpy(np.array(scores))


# %% [markdown]
# ### Exercise 26.3: evict
#
# *Medium, 10 minutes.* Scores in hand, make the cache smaller.


# %% tags=["stub:26.3"]
def evict(
    K: np.ndarray, V: np.ndarray, scores: np.ndarray, budget: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the keys and values that are kept, and their places.

    K (H, 2, S, D): keys of both branches. V (H, S, 2D): values. scores
    (H, S), no two of a head equal. Each head keeps the keys of its own n
    highest scores, n = min(budget, S), in both branches and the values, in
    the order in which they stood. Results: K (H, 2, n, D), V (H, n, 2D), and
    the places (H, n) that they had among the S.
    """
    # your code


# %% tags=["check:26.3"]
check.ex26_3(evict)

# %%
my_evict = check.mine("26.3")

# %% [markdown]
# The package's `KVCache` does the same. A cache that was made with a budget
# has the method `evict`, which takes the scores (B, H, S) of a layer:

# %%
diff = PAIR["diff"]
row = draw_questions(TASK, diff, 1, first=FIRST).tokens
cache = diff.new_cache(1, 512, budget=505 // 8)
_, maps = diff(row[:, :505], cache, return_maps=True)
for part, of_layer in zip(cache, maps, strict=True):
    kept = part.evict(my_rule(of_layer))
print("places that head 0 of the last layer kept:", *kept[0, 0].tolist()[:8])
print("keys held:", cache[0].held, " tokens read:", cache[0].length)

# %% [markdown]
# ## Does the rule know the question?
#
# There are two ways to ask a model about its evicted prompt, and they are two
# different tests:
#
# - **query-aware**: the question is read before the eviction. The keys that it
#   looks at get high scores. This is a model that answers one question and then
#   forgets the text.
# - **question-blind**: the prompt is evicted before anybody knows what will be
#   asked. This is a model that reads a text once and answers many questions.
#
# The first test is the easier one for a rule that scores by attention. kvpress
# makes the second one its default, and SnapKV loses much more there [KV]. When
# you read of a rule that keeps nearly all accuracy with a tenth of the cache,
# look up which of the two was measured.
#
# ### Exercise 26.4: ask
#
# *Hard, 20 minutes.* Both tests in one function.


# %% tags=["stub:26.4"]
def ask(
    model: DecoderLM,
    prompt: Tensor,
    question: Tensor,
    score: Callable[[AttentionMaps | Tensor], Tensor],
    budget: int,
    aware: bool,
) -> Tensor:
    """Return the logits (B, Q, V) at the tokens of the question.

    prompt (B, P) and question (B, Q): token ids. The question is read with a
    cache that holds `budget` of the prompt's keys in each head.

    model.new_cache(B, capacity, budget=budget): a list of caches, one for
    each layer, with room for `capacity` tokens. model(tokens, cache,
    return_maps=True): the logits and a list of maps, one entry for each
    layer. score(maps of a layer): scores (B, H, S) of the S keys so far.
    part.evict(scores), for one layer's cache: keeps the best of the keys
    held. part.length = P: forgets all tokens after P.

    aware: if True, the scores have seen the attention of the question too;
    the keys that are kept are the prompt's all the same. If False, they have
    seen the prompt only.
    """
    # your code


# %% tags=["check:26.4"]
check.ex26_4(ask)

# %%
my_ask = check.mine("26.4")

# %% [markdown]
# Now measure, with your rule and your function. (Four questions stand in each
# row, each followed by its answer; all are read in one call.)

# %%
asked = draw_questions(TASK, diff, ROWS, first=FIRST)
P = int(asked.questions.min())
prompt, questions = asked.tokens.split([P, 512 - P], dim=1)
places = (asked.questions - P)[..., None]


# %% tags=["nbval-ignore-output"]
def share_right(model: DecoderLM, budget: int, aware: bool) -> float:
    """Share of the questions that are answered right, by your functions."""
    logits = my_ask(model, prompt, questions, my_rule, budget, aware)
    said = logits.take_along_dim(places, 1).argmax(-1)
    return (said == asked.targets).float().mean().item()


for name, model in PAIR.items():
    for aware in (True, False):
        label = "query-aware" if aware else "question-blind"
        found = [share_right(model, P // n, aware) for n in (1, 8)]
        print(f"{name:5s} {label:14s}", end=" ")
        print("all keys {:.0%}, an eighth {:.0%} right".format(*found))

# %% [markdown]
# ## Every cell of the table
#
# All rules, all shares, both tests and a loss of text take minutes, so they
# were recorded, with 256 questions in each cell. Nothing was fixed before this
# run, so all that follows is *exploratory*. And there is one pair, from one
# seed: you can compare rules within a model, but where the two models differ,
# it says nothing about plain and differential models in general.

# %%
record = json.loads(course.results("sparse_caches.json").read_text())
CELLS, SHARES = record["cells"], (1.0, 1 / 2, 1 / 4, 1 / 8)


def cells(**wanted: object) -> list[dict]:
    """The cells of the record with these fields, in its order."""
    return [
        cell
        for cell in CELLS
        if all(cell.get(name) == value for name, value in wanted.items())
    ]


# %% tags=["hide-cell"] jupyter={"source_hidden": true, "outputs_hidden": true}
made = record["provenance"]
print("recorded", made["date"], "on a", made["device"], "by", made["command"])
print("torch", made["versions"]["torch"], "at commit", made["commit"][:7])
print(record["rows"], "rows of lookup,", len(record["documents"]), "documents")
for name, digest in record["weights"].items():
    now = hashlib.sha256(course.weights(name).read_bytes()).hexdigest()
    assert now == digest, f"{name} is not the model that was measured"

# %% [markdown]
# First the lookup: the share of right answers, with all keys and with a half,
# a quarter and an eighth of them. For the differential model the rules score
# by the difference here.

# %%
KIND = {"plain": "softmax", "diff": "diff"}
MODES = ("query-aware", "question-blind")


def rules(name: str, weights: str = "difference") -> list[str]:
    """Names of the rules in the record, for one kind of weights."""
    added = "" if name == "plain" else f", {weights}"
    scored = [f"{x}{added}" for x in ("h2o", "snapkv", "snapkv 16")]
    return ["random", "streaming", *scored]


def line(value: str, **wanted: object) -> list[float]:
    """A value at each share, for one row of the table."""
    return [cell[value] for cell in cells(**wanted)]


# %%
for name, kind in KIND.items():
    for mode in MODES:
        print(f"{name}, {mode}")
        for rule in rules(name):
            where = {"kind": kind, "score": rule, "mode": mode}
            found = line("accuracy", **where, denominators="kept keys")
            print(f"   {rule:22s}", *(f"{x:6.3f}" for x in found))

# %% [markdown]
# The same for an eighth of the keys and three rules, with intervals. (They take
# questions as independent, which the four of a row are not quite.)

# %%
EIGHTH = {"fraction": 1 / 8, "denominators": "kept keys"}
for mode in MODES:
    for name, kind in KIND.items():
        print(f"{mode:14s} {name:5s}", end="")
        for rule in rules(name)[:3]:
            (cell,) = cells(kind=kind, score=rule, mode=mode, **EIGHTH)
            print(f"  {rule.split(',')[0]} {cell['accuracy']:.2f}", end=" ")
            print(f"({cell['low']:.2f} to {cell['high']:.2f})", end="")
        print()
print(f"by chance {record['chance']:.2f}")

# %% [markdown]
# Both models look keys up, so in both you can see what a rule is worth:
#
# - **Query-aware, most of the cache can go.** H2O and "snapkv 16" lose next to
#   nothing with a quarter of the keys, and little with an eighth.
# - **Blind, the same rules lose much more.** H2O is the best of them in every
#   column, and yet with an eighth of the keys it has lost part of the answers.
#   So the two tests give two verdicts on one rule.
# - **The latest keys are no memory.** "streaming" answers about half of the
#   questions with a half of the keys, and with an eighth it guesses: needles
#   lie anywhere, and it has only those at the end. With an eighth of the keys,
#   so has SnapKV with a window of 64, and blind it guesses too.
# - **Random is better than you might think.** With a half of the keys it still
#   answers about three of four questions. Each head evicts other keys, so a
#   needle that is lost in one head may be held in another. (That is our
#   explanation; it was not tested.) A rule has to beat this, not zero.
#
# Blind, and with an eighth of the keys, H2O keeps more of the differential
# model's answers than of the plain one's. One pair cannot say why, or whether
# another pair would show it again.
#
# Then text: a prompt of 256 tokens of Python source that no training has seen,
# then an eviction, then the loss on the 256 tokens that follow. Here every
# rule is blind: the text to come is the question.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
STYLES = (":", "--", "-", "-.", "-")


def draw(axis: plt.Axes, name: str, mode: str | None) -> None:
    """Draw a line for each rule: answers of one mode, or text if None."""
    where: dict = {"kind": KIND[name], "denominators": "kept keys"}
    where |= {"mode": mode} if mode else {"measure": "text"}
    for n, rule in enumerate(rules(name)):
        y = line("accuracy" if mode else "nats", score=rule, **where)
        label = rules("plain")[n]
        axis.plot(y, STYLES[n], color=plots.COLOURS[n], label=label)
    if mode:
        axis.axhline(record["chance"], color="grey", lw=0.8)


# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Six panels, the plain model above and the differential one below: answers right query-aware, answers right question-blind, and the loss of text, each against the share of keys kept, from all to an eighth, with a line for random, streaming, H2O, SnapKV and SnapKV with a window of 16. Both models look alike. Query-aware, H2O and SnapKV 16 stay near 1, SnapKV drops at an eighth, random falls steadily, and streaming falls to a half at once and then to chance. Question-blind, all lines fall: H2O stays highest, higher in the differential model than in the plain one, and SnapKV and streaming end at chance. In the text panels all lines rise; random rises most, streaming and SnapKV least, and H2O and SnapKV 16 lie a little above or beside them."}}
figure, axes = plt.subplots(2, 3, figsize=(8, 5.2), sharex=True)
for name, row_of_axes in zip(KIND, axes, strict=True):
    for axis, mode in zip(row_of_axes, (*MODES, None), strict=True):
        draw(axis, name, mode)
        axis.set_title(f"{name}: {mode or 'text'}", fontsize=10)
        axis.set_ylabel("answers right" if mode else "nats a token")
        axis.set_xticks(range(4), ("all", "1/2", "1/4", "1/8"))
        if mode:
            axis.set_ylim(0, 1.05)
axes[1, 1].set_xlabel("share of keys kept")
figure.legend(
    *axes[0, 0].get_legend_handles_labels(),
    loc="outside lower center", ncols=5,
)  # fmt: skip
plt.show()

# %% [markdown]
# The text has a fine scale, and it can be paired: all rules read the same
# twelve documents. So take the difference by document, as chapter 18 did by
# seed. Negative is better for H2O.

# %%
T95 = 2.201  # Student's t for 12 values


def by_document(kind: str, rule: str, share: float) -> np.ndarray:
    """Nats a token of each document, for an ordinary eviction."""
    where = {"measure": "text", "denominators": "kept keys"}
    (cell,) = cells(kind=kind, score=rule, fraction=share, **where)
    return np.array(cell["nats_by_document"])


def gap(kind: str, one: str, other: str, share: float) -> str:
    """Mean difference of two rules on text, with its 95 % interval."""
    found = by_document(kind, one, share) - by_document(kind, other, share)
    half = T95 * found.std(ddof=1) / len(found) ** 0.5
    return f"{found.mean():+.3f} +- {half:.3f}"


# %%
for name, kind in KIND.items():
    rule = rules(name)[2]
    for other in ("random", "streaming"):
        found = [gap(kind, rule, other, share) for share in SHARES[1:]]
        print(f"{name:5s} {rule} minus {other:9s}", *found, sep="   ")

# %% [markdown]
# On text it is the other way round: with the latest keys the loss is as low as
# with those of H2O, or lower, and with a half of the keys random ones are as
# good as H2O. (Perhaps what comes next in a program depends mostly on what came
# last. That was not tested.) If you measured text alone, you would choose the
# latest keys, and would have a cache that has lost most needles. For both, H2O
# is the safer rule in these models: on text it costs at most about two
# hundredths of a nat more than the latest keys, and blind it keeps the most
# answers.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
BLIND = {}
for name, kind in KIND.items():
    for mode in MODES:
        drawn, by_place, by_h2o = (
            cells(score=rule, mode=mode, kind=kind, **EIGHTH)[0]
            for rule in rules(name)[:3]
        )
        assert by_h2o["low"] > max(drawn["high"], by_place["high"])
    BLIND[name] = by_h2o  # of the last mode
assert BLIND["diff"]["low"] > BLIND["plain"]["high"]

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for name, kind in KIND.items():
    for share in SHARES[1:]:
        where = {"kind": kind, "mode": MODES[1], "fraction": share}
        right = [cells(score=x, **where)[0]["accuracy"] for x in rules(name)]
        assert max(right) == right[2]
        assert share < 1 / 2 or right[0] > 0.7
        two = (by_document(kind, r, share) for r in rules(name)[1:3])
        assert -0.02 < np.subtract(*(x.mean() for x in two)) < 0.005

# %% [markdown]
# ## Which map should score?
#
# A differential head has four weights to score by. The trap speaks for "mass":
# a key that matters for the denominators should stay. What do you expect? H2O
# on the differential model, with an eighth of the keys, by each of the four:
# the share of right answers, blind with its interval, and the loss of text.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
WEIGHTS = ("first", "second", "mass", "difference")
here = {"kind": "diff", "fraction": 1 / 8, "denominators": "kept keys"}
print(f"{'h2o by':12s} {'aware':>7s} {'blind':>7s} {'text':>23s}")
for weights in WEIGHTS:
    aware, blind, text = (
        cells(score=f"h2o, {weights}", **more, **here)[0]
        for more in (*({"mode": mode} for mode in MODES), {"measure": "text"})
    )
    print(f"{weights:12s} {aware['accuracy']:7.3f}", end=" ")
    print(f"{blind['accuracy']:7.3f}", end=" ")
    print(f"({blind['low']:.2f} to {blind['high']:.2f}) {text['nats']:7.3f}")

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for other in WEIGHTS[:-1]:
    rule = f"h2o, {other}"
    found = [gap("diff", "h2o, difference", rule, s) for s in SHARES[1:]]
    print(f"text, difference minus {other:7s}", *found, sep="   ")

# %% [markdown]
# "difference" answers most, aware and blind, and has the lowest loss, if only by
# a hair. Its interval lies above those of the first and of the second map
# alone; that of "mass" overlaps it. On text the second map alone is a poorer
# guide, and the three others are about a hundredth of a nat apart. So the trap,
# which spoke for "mass", is not what decides here. (One model, exploratory.) The
# difference is also what `generate` scores by.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
of_blind = {
    weights: cells(score=f"h2o, {weights}", mode=MODES[1], **here)[0]
    for weights in WEIGHTS
}
best = of_blind["difference"]
assert best["low"] > max(of_blind[x]["high"] for x in ("first", "second"))
assert best["accuracy"] > of_blind["mass"]["accuracy"] > best["low"] - 0.05

# %% [markdown]
# ## A control: what the trap costs
#
# Back to key 1 of the example. If the trap does the damage, there is a remedy:
# keep all keys in the denominators and drop the *values* only. Then the kept
# keys have exactly the weights of the full cache, $A_{1,s} - \lambda A_{2,s}$,
# and an evicted key that contributed nothing is missed by nobody. (It saves no
# keys, so a cache would shrink by half at most. As a control it is what we
# need: it takes the trap away and leaves the rest.) In the record each cell
# was measured in this way too. Predict: is it better than a plain eviction, by
# how much, and for which kind?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
print("an eighth kept; denominators of: kept keys, all keys")
MEASURES = (
    ("nats of text", "nats", {"measure": "text"}),
    ("answers right, blind", "accuracy", {"mode": "question-blind"}),
)
for title, value, measured in MEASURES:
    for name, kind in KIND.items():
        for rule in rules(name)[:3]:
            where = {"kind": kind, "score": rule, "fraction": 1 / 8} | measured
            both = [cell[value] for cell in cells(**where)]
            print(f"{title:21s} {name:5s} {rule:16s}", end=" ")
            print(*(f"{x:6.3f}" for x in both))

# %% tags=["hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true}
text_cells = cells(measure="text", denominators="all keys")
for cell in text_cells:
    same = {name: cell[name] for name in ("kind", "score", "fraction")}
    usual = cells(measure="text", denominators="kept keys", **same)[0]
    assert cell["nats"] > usual["nats"]
print(f"all keys in the denominators: worse in all {len(text_cells)} cells")

# %% [markdown]
# On text the remedy is worse than the disease, in both models, for every rule
# and every share. What of the lookups? Count the cells, all rules and both
# tests, by the share of keys that is kept:

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for name, kind in KIND.items():
    for share in SHARES[1:]:
        where = {"kind": kind, "measure": "lookup", "fraction": share}
        kept, every = (
            np.array([c["accuracy"] for c in cells(denominators=d, **where)])
            for d in ("kept keys", "all keys")
        )
        more = every - kept
        print(f"{name:5s} {share:5.3f} kept: the remedy is worse in", end=" ")
        print(
            f"{(more < 0).sum():2d}, better in {(more > 0).sum():2d}", end=" "
        )
        print(f"({more.max():+.2f} at most)")

# %% [markdown]
# With a quarter or an eighth of the keys the remedy mostly costs answers. With
# a half it saves some in most cells of the differential model, as one expects
# if the trap does damage. But it saves some in a few cells of the plain model
# too, and a plain head has no trap. So we cannot say that the trap is what the
# remedy removes. The arithmetic above is right, and yet the rescaling mostly
# does more good than harm. (It restores the sum of a row, and it does so with
# two factors. To see what the second factor costs by itself, one would restore
# the sum with one factor. That was not run.) Why does it help?
#
# Look at the sum of a row. The weights of a differential head sum to $1 -
# \lambda$, those of a plain head to 1, and (26.1) restores that sum after an
# eviction, whatever is evicted. With the old denominators the sum is another
# one: what the evicted keys had is missing, and that may have been positive or
# negative. What all values have in common then enters the output with a wrong
# factor. To rescale is to guess, in each branch, that the evicted values look
# like the mean of the kept ones. That is a crude guess, but a better one than
# zero.
#
# Here are the weights themselves, on the source code of this package's model:
# the weight of the evicted keys in either branch, and the sum over all other
# keys with both denominators.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
ids = coder.encode(inspect.getsource(minidiff.DecoderLM))[:512]
_, maps = diff(torch.tensor([ids]), return_maps=True)


def evicted_keys(A: AttentionMaps, prompt: int, budget: int) -> Tensor:
    """True (B, H, 1, S) for keys of the prompt that H2O does not keep."""
    seen = AttentionMaps(*(x[..., :prompt, :prompt] for x in A))
    scores = h2o_difference(seen)
    gone = torch.zeros(*A.A.shape[:2], A.A.shape[3], dtype=torch.bool)
    lowest = scores.argsort(-1)[..., : prompt - budget]
    return gone.scatter_(2, lowest, True)[:, :, None]


# %% tags=["nbval-ignore-output"]
print("layer  evicted: m1   m2   sum of the others: all keys, kept keys")
for n, layer in enumerate(maps):
    gone = evicted_keys(layer, 256, 256 // 8)
    rows = [x[:, :, 256:] for x in layer]  # the queries of the continuation
    m1, m2 = ((x * gone).sum(-1) for x in rows[:2])
    others = (rows[2] * ~gone).sum(-1).mean()
    total = rows[2].sum(-1).mean()  # 1 - lambda
    print(f"{n:5d} {m1.mean():13.2f} {m2.mean():4.2f}", end=" ")
    print(f"{others:28.2f} {total:10.2f}")

# %% [markdown]
# The two branches lose different weights, so their factors differ, as the trap
# says. With the old denominators the sums are off in three of the four layers,
# in either direction; the last column, $1 - \lambda$, is what (26.1) makes of
# them. (This explanation fits the numbers, but was not tested by itself.)
#
# ## A real cache
#
# What is it worth? Memory first. `nbytes` counts what a cache really owns, and
# the share of the prompt's keys is the share of its bytes; the places for new
# tokens come on top.

# %%
for name, model in PAIR.items():
    sizes = []
    for n in (1, 2, 4, 8):
        cache = model.new_cache(1, P, budget=P // n)
        _, maps = model(prompt[:1], cache, return_maps=True)
        for part, of_layer in zip(cache, maps, strict=True):
            part.evict(h2o_difference(of_layer))
        sizes.append(sum(part.nbytes for part in cache))
    print(f"{name:5s}", *(f"{x / 1000:7.0f}" for x in sizes), "kB")

# %% [markdown]
# Then time. A prompt of 500 tokens is too short to see anything: a step of a
# small model is mostly overhead (chapter 16). So here are models of the same
# sizes with room for more, and a cache of 4,096 random keys. (The time of a
# step does not depend on what the numbers are.) How many times faster is a
# step with an eighth of the keys: eight times?


# %%
def filled(model: DecoderLM, keys: int, budget: int) -> list:
    """A cache of random keys and values, evicted by random scores."""
    cache = model.new_cache(1, keys + 64, budget=budget)
    for part in cache:
        k, v = (
            torch.randn(*x.shape[:-2], keys, x.shape[-1])
            for x in (part._k, part._v)
        )
        part.append(k, v)
        part.evict(torch.rand(*v.shape[:2], keys))
    return cache


# %%
def step_times(model: DecoderLM, caches: list[list]) -> np.ndarray:
    """Seconds of a decode step with each cache, the fastest of 5."""
    new, rounds = torch.zeros(1, 1, dtype=torch.int64), []
    for _ in range(5):  # in turns, so that a disturbance meets all of them
        steps = []
        for cache in caches:
            start = timeit.default_timer()
            model(new, cache)
            steps.append(timeit.default_timer() - start)
        rounds.append(steps)
    return np.min(rounds, axis=0)


# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
S = 4096
for name, model in PAIR.items():
    config = replace(model.config, max_length=S + 64)
    long = DecoderLM(config).requires_grad_(False)
    times = step_times(long, [filled(long, S, S // n) for n in (1, 2, 4, 8)])
    print(f"{name:5s} times faster:", *(f"{times[0] / t:5.1f}" for t in times))

# %% [markdown]
# Between one and eight: reading the weights and calling the functions takes as
# long as before, whatever the cache holds. (A machine that is busy with other
# things can print odd ratios.)
#
# The package can write with such a cache. `generate` takes a `budget` and
# evicts the prompt by H2O of the difference; all new tokens are kept.

# %% tags=["nbval-ignore-output"]
text = coder.encode(inspect.getsource(minidiff.KVCache.evict))[:256]
more = {"max_new_tokens": 32, "temperature": 0}
for budget in (256, 128, 32):
    written = generate(diff, torch.tensor([text]), budget=budget, **more)
    words = coder.decode(written[0, 256:].tolist())
    print(f"--- {budget} keys of the prompt\n{words}")

# %% [markdown]
# From a shell it is
#
# ```
# minidiff generate runs/mine --prompt "$(cat start.py)" --budget 64
# ```
#
# Two limits. The rule needs the maps of the prompt, so reading the prompt
# takes memory that grows with the square of its length, one layer at a time.
# And the prompt is all that is evicted: over a long generation the new keys
# add up.
#
# ## What was not run: skipping on a GPU
#
# An eviction is for good. A kernel can instead decide for each query which
# blocks of keys to skip, and keep them all. BLASST does so in plain attention:
# where a block's largest score is far below the running maximum (chapter 10),
# it skips the block's exponentials, its product with the values, and the
# loading of the values. For a model of 70 billion parameters and 128K tokens
# 1.36 times faster decoding is reported, and a prefill 1.4 times faster
# [BLASST]. The scores themselves cannot be skipped, the test costs about two
# hundredths of the time, and the threshold must fall like one over the length
# [BLASST].
#
# For a differential head there are two ways. Skip a block whose largest possible
# weight is small in both branches: then its part in $A_1 - \lambda A_2$ is small
# too. Or skip where the *difference* is small: that needs both denominators
# first, so it is an idea for decoding or for a second pass. We have built and
# run neither.
#
# ## Yours
#
# Write a rule, and see it measured beside H2O. The one below does as H2O's
# paper: part of the budget is reserved for the latest keys. Change the number,
# the weights, or everything.

# %%
MY_WEIGHTS, MY_LATEST = "difference", 32


def my_score(maps: AttentionMaps | Tensor) -> Tensor:
    """Your scores (B, H, S) of a layer's keys; the highest are kept."""
    scores = h2o(key_weights(maps, MY_WEIGHTS)).clone()
    scores[..., -MY_LATEST:] = torch.inf
    return scores


# %% tags=["nbval-ignore-output"]
two = {"yours": my_score, "h2o": h2o_difference}
settings = {"fractions": (1 / 8,), "rows": ROWS, "first": FIRST}
for name, model in PAIR.items():
    for found in sparse_recall(model, TASK, two, **settings):
        print(f"{name:5s} {found['mode']:14s} {found['score']:5s}", end=" ")
        print(f"{found['accuracy']:.0%} right, {found['nats']:.2f} nats")

# %% [markdown]
# ## The package agrees
#
# Your mean, your eviction and your `ask` against the package.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
rng = np.random.default_rng(0)
W = np.tril(rng.random((5, 9)), 4)
theirs = h2o(torch.from_numpy(W)[None, None])[0, 0].numpy()
assert np.allclose(my_mean(W), theirs)
part = minidiff.KVCache((1, 3, 2, 9, 2), (1, 3, 9, 4), adapt=True, budget=4)
K, V = rng.normal(size=(3, 2, 9, 2)), rng.normal(size=(3, 9, 4))
scores = rng.random((3, 9))
part.append(torch.from_numpy(K)[None], torch.from_numpy(V)[None])
places = part.evict(torch.from_numpy(scores)[None])[0].numpy()
yours = my_evict(K, V, scores, 4)
for a, b in zip(yours, (part._k[0], part._v[0], places), strict=True):
    assert np.allclose(a, np.asarray(b))
print("mean and eviction are those of minidiff")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
rule = {"h2o": h2o_difference}
settings = {"fractions": (1 / 4,), "rows": 2, "first": FIRST}
two = draw_questions(TASK, diff, 2, first=FIRST)
for found in sparse_recall(diff, TASK, rule, batch_size=2, **settings):
    aware = found["mode"] == "query-aware"
    both = two.tokens.split([P, 512 - P], 1)
    logits = my_ask(diff, *both, rule["h2o"], P // 4, aware)
    said = logits.take_along_dim((two.questions - P)[..., None], 1)
    nats = torch.nn.functional.cross_entropy(
        said.flatten(0, 1), two.targets.flatten()
    )
    assert abs(nats.item() - found["nats"]) < 1e-3
print("and so are the answers, query-aware and question-blind")

# %% [markdown]
# ## Common mistakes
#
# - **Testing query-aware only.** A rule that has seen the question keeps what
#   the question needs. Ask it blind as well.
# - **Testing text only.** There the latest keys do well.
# - **No random keys.** They are the control. A rule that does not beat them has
#   learned nothing from the map.
# - **A window as long as the budget.** Then SnapKV keeps the latest keys and
#   nothing else, and one compares names.
# - **Rotating kept keys anew.** They were rotated for their positions. If one
#   counts positions from the number of keys held, later queries stand at wrong
#   distances.
# - **A remedy for a cost that was not measured.** The trap is real, and yet its
#   obvious remedy mostly makes things worse.
#
# ## Summary
#
# - After an eviction each branch divides by what it has left, so two branches
#   grow by two factors. A key with $A_1 = \lambda A_2$ contributes nothing, and
#   its eviction changes every other weight.
# - In these two models the rescaling as a whole is no damage but a help: with
#   the old denominators the loss of text is higher in every cell.
# - A rule must be measured blind, on lookup and on text, and beside random keys.
#   On text the latest keys suffice; lookup needed the map, in both models.
# - In the differential model, scores by the difference gave the most right
#   answers, with "mass" not clearly behind. On text, first, mass and difference
#   are close. `generate` with a budget evicts by the difference.
# - Memory falls with the share of keys; the time of a step falls less.
#
# When you next read that a model keeps its quality with a tenth of its cache,
# you have three questions ready. Had the rule seen the question? Was anything
# looked up, or was it text? And how well did random keys do?
#
# ## Further reading
#
# - kvpress: more than 35 rules under one roof, with a leaderboard. [KV]
# - Xiao and others, *Efficient Streaming Language Models with Attention Sinks*,
#   arXiv 2309.17453: why the first keys matter, and rotation by place in the
#   cache.
# - Zhang and others, *H2O*, arXiv 2306.14048: heavy hitters, and an eviction
#   that goes on while the model writes.
# - Li and others, *SnapKV*, arXiv 2404.14469: why the last queries know what
#   the answer will need.
