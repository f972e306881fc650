# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 21. In-context learning and order
#
# By the end of this chapter you will have shown, from eight recorded trainings
# and by asking two trained models, that most of them learn one task from the
# demonstrations in a prompt and none learns another. You will also have shown
# that many answers depend on the order of the demonstrations, and that best
# minus worst over orders is above zero even if the order has no effect.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - write a few-shot prompt whose labels mean nothing outside it;
# - draw the right chance line beside accuracy by shots;
# - measure dependence on order in three ways, and say what each misses;
# - simulate what best minus worst would be if the order did not matter;
# - say how large an effect a number of seeds could see.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | tokens, and a model that predicts the next one | prompts | 7, 14 |
# | a cache of keys and values | asking many questions | 16 |
# | paired intervals, Fisher's test | comparing kinds | 18, 19 |
# | permutations, mean | orders | school |

# %%
import json
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from minidiff import check, course, load, plots
from minidiff.check import hint, solution  # noqa: F401
from minidiff.data import BPETokenizer, FewShotTask, Languages
from minidiff.data.small_languages import small_languages

# %%
from minidiff.data.orders import item_order
from minidiff.evaluation.counts import fisher_exact
from minidiff.nn.kinds import KINDS

plots.use_style()
torch.set_num_threads(1)

# %% [markdown]
# The next numbers say how many questions you ask two models, and how often you
# shuffle their answers.

# %% tags=["parameters"] quick={"QUESTIONS": 8, "DRAWS": 200}
QUESTIONS, DRAWS = 32, 2000

# %% [markdown]
# ## A cold open: ten orders
#
# Plain and differential models were trained on text with four tasks among it,
# with four seeds each, and recorded. One task is *language identification*: a
# prompt shows snippets of eight languages, each followed by a digit that
# stands for its language in this prompt only. Then come four snippets without
# a digit. No row of this task in the training had text in these languages.
#
# Each model answered the questions of 256 prompts ten times. The ten prompts
# held the same demonstrations, in ten random orders. The accuracies of the
# best and the worst of the ten orders are close. Guess: how many of the
# answers were the same in all ten orders?


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def newest(find: Callable[[str], Path], *names: str) -> Path:
    """The first of these files that this copy of the course has."""
    for name in names:
        try:
            return find(name)
        except FileNotFoundError:
            continue
    raise FileNotFoundError(" or ".join(names))


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def runs_of(record: dict) -> dict[str, list[dict]]:
    """The runs of each kind, in order of the seed."""
    found: dict[str, list[dict]] = {}
    for job in record["jobs"]:
        rows = sorted(job["rows"], key=lambda row: row["seed"])
        found.setdefault(job["job"]["kind"], []).extend(rows)
    return found


# %%
RECORDS = "pair.json", "pair_64_rows.json"
record = json.loads(newest(course.results, *RECORDS).read_text())
RUNS = runs_of(record)
for kind, runs in RUNS.items():
    for run in runs:
        ten = run["language_orders"]["random"]
        print(
            f"{kind:6s}seed {run['seed']}: right {ten['mean']:.3f}", end=", "
        )
        print(f"best - worst {ten['best'] - ten['worst']:.3f}", end=", ")
        print(f"answers that change {ten['changed']:.0%}")

# %% tags=["hide-cell"] jupyter={"source_hidden": true, "outputs_hidden": true}
made = record["provenance"]
print("recorded", made["date"], "on", made["device"])
print("torch", made["versions"]["torch"], "by\n ", made["command"])
print("not run:", record["not_run"] or "nothing")

# %% [markdown]
# Best and worst order differ by a few hundredths at most, and yet many answers
# change, in some models every second one. Somebody who measures only best
# minus worst would call all of these models robust. Models that are hardly
# better than a guess would look as robust as the others.
#
# So there are three questions. *Does a model learn from the prompt at all?*
# *How much does the order matter to it?* And *how large would best minus worst
# be if the order did not matter?*
#
# ## What the paper found
#
# Models of 3 billion parameters, extended to 64,000 tokens, classify sentences
# after as many demonstrations as fit into the context.
#
# | | plain | differential | from |
# |---|---|---|---|
# | TREC, 6 classes, % right | 69.9 | 87.9 | [P-fig, Figure 6] |
# | TREC-fine, 50 classes | 61.0 | 82.6 | [P-fig, Figure 6] |
# | Banking-77 | 65.2 | 75.6 | [P-fig, Figure 6] |
# | Clinic-150 | 74.0 | 79.2 | [P-fig, Figure 6] |
# | TREC, best minus worst of 10 random orders | 19.0 | 4.0 | [P, Figure 7] |
# | TREC, best minus worst of 30 alternating orders | 56.7 | 13.4 | [P, Figure 7] |
# | TREC-fine, best minus worst, random orders | 24.0 | 9.0 | [P, Figure 11] |
# | Banking-77, best minus worst, random orders | 13.0 | 9.0 | [P, Figure 11] |
# | Clinic-150, best minus worst, random orders | 12.0 | 6.0 | [P, Figure 11] |
#
# (In an *alternating* order the classes take turns: one demonstration of each,
# then again one of each.) The gain in accuracy is 5 to 22 points. The spread
# is more than four times smaller on TREC, and less than three times smaller on
# the three other data sets. All of it is one model of each kind.
#
# ## A prompt whose labels mean nothing
#
# If a class is called "location", a model may know from its training what that
# means, and need no demonstration. To measure learning *in context*, the
# labels must be drawn anew for each prompt. Then nothing but the
# demonstrations says which digit belongs to which language.

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Diagram of a prompt as five boxes in a row: Todos los seres = 4, Kõik inimesed = 1, Basque text Gizon-emakume = 7, derechos iguales = 4, and a question, dotados como = ?. Two curved arrows lead from the question back to the two Spanish items, which carry the label 4."}}
ITEMS = ["Todos los\nseres", "Kõik\ninimesed", "Gizon-\nemakume"]
ITEMS += ["derechos\niguales", "dotados\ncomo"]
figure, axis = plt.subplots(figsize=(7.2, 1.9))
for x, (text, label) in enumerate(zip(ITEMS, "4174?", strict=True)):
    color = "C1" if label in "4?" else "C0"
    box = {"boxstyle": "round", "facecolor": "none", "edgecolor": color}
    axis.text(x, 0, text, ha="center", va="center", bbox=box, fontsize=9)
    axis.text(x + 0.46, 0, f"= {label}", ha="center", va="center", color=color)
for x in (0, 3):
    bend = {"arrowstyle": "->", "connectionstyle": "arc3,rad=0.35"}
    ends = {"xy": (x, 0.4), "xytext": (4, 0.4)}
    axis.annotate("", **ends, arrowprops=bend | {"color": "C1", "lw": 2})
axis.set(xlim=(-0.5, 4.7), ylim=(-0.5, 1.9))
axis.axis("off")
plt.show()

# %% [markdown]
# The question must find items that look like itself, and take over their
# label. The course comes with texts in eight of the languages that were kept
# out of the training rows, all in Latin letters. A snippet is 15 tokens and
# the sign that comes before a label.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
TOKENIZER = BPETokenizer.load(
    newest(course.weights, "mixture_tokenizer.json", "pair_tokenizer.json")
)
source = course.weights("eight_languages.json").read_text("utf-8")
TEXTS = {x["name"]: x["text"] for x in json.loads(source)["languages"]}
SEPARATOR = TOKENIZER.encode(" =")
END = TOKENIZER.encode("\n")[0]
DIGITS = np.array([TOKENIZER.encode(str(d))[0] for d in range(10)])


# %%
def snippets(seed: int) -> list[list[list[int]]]:
    """All snippets of each language, in a random order."""
    rng, found = np.random.default_rng(seed), []
    for text in TEXTS.values():
        ids = TOKENIZER.encode(text)
        starts = rng.permutation(len(ids) // 15) * 15
        found.append([ids[i : i + 15] + SEPARATOR for i in starts])
    return found


SHOTS, C = 3, len(TEXTS)
for name, parts in zip(TEXTS, snippets(0), strict=True):
    print(f"{name:9s}", repr(TOKENIZER.decode(parts[0])))

# %% [markdown]
# ### Exercise 21.1: the tokens of a prompt
#
# *Easy, 8 minutes.* Texts may have different lengths. The positions are where
# you will later ask the model; think about which token they are.


# %% tags=["stub:21.1"]
def few_shot_prompt(
    texts: list[list[int]],
    classes: np.ndarray,
    labels: np.ndarray,
    order: np.ndarray,
    end: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the token ids of a prompt, and the positions before its labels.

    texts: the token ids of each of I items. classes (I,): the class of each
    item. labels (C,): the token id that stands for each class in this row.
    order (I,): order[n] is the number of the item that comes n-th. Each item
    is its text, then its class's label, then the token id end. A position
    predicts the token after it: return those whose next token is a label.
    """
    # your code


# %% tags=["check:21.1"]
check.ex21_1(few_shot_prompt)

# %%
few_shot_prompt = check.mine("21.1")
parts = snippets(0)
# Item n has class n % C, so item C + 2 is the second one of class 2.
demos = [parts[n % C][n // C] for n in range(C * SHOTS)]
classes = np.arange(C * SHOTS) % C
labels = np.random.default_rng(0).permutation(DIGITS)[:C]
order = np.random.default_rng(1).permutation(C * SHOTS)
ids, places = few_shot_prompt(demos, classes, labels, order, END)
print(TOKENIZER.decode(ids.tolist())[:330])

# %% [markdown]
# Every label of the row is a prediction, also those of the demonstrations:
# before the first item of a language the model cannot know its digit, before
# the second it could.
#
# ## Which chance line?
#
# Eight classes, so a guess is right one time in eight? That is the guess of
# somebody who knows the eight labels of this prompt. Ten digits are possible.
# Which eight this prompt uses, the model must read. After a few
# demonstrations it has perhaps read three of them, and chooses among three.
#
# So the chance line should be that of a model that has learned nothing about
# the texts, but knows which labels it has read, and picks one of them.
#
# ### Exercise 21.2: a guess among the labels said before
#
# *Medium, 10 minutes.* Before you write it: is this line above or below 1/8
# where the model has seen one demonstration of the class? And at the end?


# %% tags=["stub:21.2"]
def guess_by_shots(classes: np.ndarray, shots: int) -> np.ndarray:
    """Return the accuracy of guessing among labels said before, (shots + 1,).

    classes (B, I): the class of each item of each row. At an item the guess
    is one of the different labels of the items before it in the row, each
    equally likely; at the first item it is wrong. Entry n of the result is
    the mean over all items that have n earlier items of their own class;
    the last entry takes those with ``shots`` or more.
    """
    # your code


# %% tags=["check:21.2"]
check.ex21_2(guess_by_shots)

# %% [markdown]
# The record has a second task of this kind, *few-shot labels*: items of three
# abstract features, 8 classes, 15 demonstrations of each, 8 questions. A class
# has a fixed set of features; its label is drawn anew for each row. Both
# lines:

# %%
guess_by_shots = check.mine("21.2")
GUESS = {}
for task, shots, asked in (("languages", 3, 4), ("few_shot", 15, 8)):
    rows = FewShotTask(classes=8, shots=shots, questions=asked)
    GUESS[task] = guess_by_shots(rows.sample(0, 256).classes.numpy(), shots)
    print(f"{task:10s}", *(f"{x:.3f}" for x in GUESS[task][:8]), "...")


# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Two panels of accuracy against the number of earlier demonstrations of the same class, plain models solid and differential ones dashed, one line a seed, with a dotted line for the guess among labels said and a thin one at one eighth. Left, languages: the guess line is near one eighth; lines of both kinds rise far above it at one demonstration and then slowly, others stay at the guess. Right, few-shot labels: all lines lie on the guess line."}}
figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.1))
for axis, (task, guess) in zip(axes, GUESS.items(), strict=True):
    for kind, style, color in (("plain", "-", "C0"), ("diff", "--", "C1")):
        for run in RUNS.get(kind, []):
            y = run["shots"][task]["accuracy"]
            axis.plot(y, style, color=color, lw=1.2, alpha=0.8)
        axis.plot([], style, color=color, label=kind)
    axis.plot(guess, ":", color="grey", lw=2.5, label="guess among said")
    axis.axhline(1 / 8, color="grey", lw=0.8)
    axis.set(title=task.replace("_", " "), xlabel="earlier ones of the class")
axes[0].set(ylabel="right", ylim=(0, 1), xticks=range(4))
axes[1].set(ylim=(0, 0.3))
axes[0].legend(fontsize=9)
plt.show()

# %% [markdown]
# Look at the right panel first (its axis is shorter). After one demonstration
# most models are above 1/8. With the flat line beside them, one would report
# that they have begun to learn, and that more demonstrations hurt. With the
# dotted line nothing of this remains: a guess among the labels said does as
# well. (With no earlier demonstration that guess is always wrong, while a
# model may choose a digit that has not been said.)
#
# **In this record none of the eight models learns the few-shot labels.** So
# the task can say nothing about kinds here, not about accuracy and not about
# order. That is about this training, and not about models of this size: a
# search for another setting, with 32 rows a step in place of 64 and a quarter
# of the tokens, has models that learn it.

# %%
LEARNED = 0.3  # between the two groups: a guess has 0.125
search = json.loads(course.results("lookup.json").read_text())
for kind, runs in runs_of(search).items():
    last = [run["parts"]["few_shot"]["accuracy"][-1] for run in runs]
    learned = sum(x > LEARNED for x in last)
    print(f"{kind:6s}few-shot labels learned: {learned} of {len(last)} runs")

# %% [markdown]
# (Two rates, two curricula of the needles and two seeds of each kind. This is
# a search and not a comparison: each setting has two runs of a kind.) All that
# follows is about languages.
#
# ## Accuracy: plain against diff
#
# In the left panel most models learn from one demonstration. Not all do.
# Compare them as chapters 18 and 19 did: a seed is a pair, and where a run
# either learns or guesses, count.

# %%
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 8: 2.365}  # 95 %


def paired(measure: Callable[[dict], float], runs: dict) -> np.ndarray:
    """Differences diff minus plain of all seeds that have both."""
    by_seed = {k: {r["seed"]: measure(r) for r in runs[k]} for k in runs}
    seeds = sorted(by_seed["plain"].keys() & by_seed["diff"].keys())
    return np.array([by_seed["diff"][s] - by_seed["plain"][s] for s in seeds])


def half_width(d: np.ndarray) -> float:
    """Half of the 95 % interval of the mean, by Student's t."""
    return float(STUDENT[len(d)] * d.std(ddof=1) / len(d) ** 0.5)


# %%
def right(run: dict) -> float:
    """Accuracy at the questions, as a mean over ten random orders."""
    return run["language_orders"]["random"]["mean"]


counts = []
for kind in ("plain", "diff"):
    found = [right(run) for run in RUNS[kind]]
    counts += [sum(x > LEARNED for x in found), len(found)]
    print(f"{kind:6s}", *(f"{x:.3f}" for x in found), end="   ")
    print(f"learned: {counts[-2]} of {counts[-1]}")
print(f"Fisher's test of the counts: p = {fisher_exact(*counts):.2f}")
d = paired(right, RUNS)
print(f"diff minus plain {d.mean():+.3f} +- {half_width(d):.3f}")

# %% [markdown]
# Most of such a difference comes from one thing: whether a run has learned the
# task at all. Does the seed decide that? Four plain models were trained once
# before, with the same four seeds. Only their needle rows were made in another
# way, and these rows have nothing to do with languages:

# %%
first = json.loads(course.results("pair_few_first.json").read_text())
for name, runs in (("before", runs_of(first)), ("now", RUNS)):
    shown = (f"seed {r['seed']} {right(r):.3f}" for r in runs["plain"])
    print(f"plain, {name:7s}", ", ".join(shown))

# %% [markdown]
# The seeds that learn are not the same ones. This is a lottery, as in chapter
# 19, and four runs of each kind cannot tell which kind has the better odds.
# What about the pairs in which both models have learned?

# %%
LEARNERS = {
    kind: {run["seed"] for run in RUNS[kind] if right(run) > LEARNED}
    for kind in ("plain", "diff")
}
seeds = LEARNERS["plain"] & LEARNERS["diff"]
both = {k: [r for r in RUNS[k] if r["seed"] in seeds] for k in LEARNERS}
some = paired(right, both)
print(f"{len(some)} pairs:", *(f"{x:+.3f}" for x in some))
if len(some) > 1:
    print(f"mean {some.mean():+.3f} +- {half_width(some):.3f}")

# %% [markdown]
# (Leaving out seeds that failed changes the question: it compares models that
# can, not kinds. This selection was made after looking, so it is
# *exploratory*.)
#
# ### When do they learn it?

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Accuracy at all labels of the language rows against million tokens, a line for each run, plain solid and differential dashed. The lines stay near 0.1 for a long time; then one after another rises within a short stretch, at very different moments, to between 0.4 and 0.6. Some never do."}}
config = record["jobs"][0]["job"]["config"]
length = record["data"]["short"]["text"]["length"]
per_step = config["batch_size"] * length / 1e6  # million tokens
figure, axis = plt.subplots(figsize=(6.5, 2.9))
for kind, style, color in (("plain", "-", "C0"), ("diff", "--", "C1")):
    for run in RUNS[kind]:
        x = np.array(run["steps"]) * per_step
        y = run["parts"]["languages"]["accuracy"]
        axis.plot(x, y, style, color=color, lw=1.2)
    axis.plot([], style, color=color, label=kind)
axis.set(xlabel="million tokens", ylabel="right, all labels", ylim=(0, 0.8))
axis.legend()
plt.show()

# %% [markdown]
# They stay at a guess for a long time and then rise suddenly, each at its own
# moment. A training that ends in the middle of this picture compares moments,
# not kinds. Remember it for the section about the six kinds.
#
# ## Ask them yourself
#
# One model of each kind came with the course. You ask both after the same
# demonstrations in ten random orders and in thirty alternating ones. Every
# order gets the same questions, a few of each language. To read the prompts
# only once, keep their keys and values in a cache (chapter 16), and let it
# forget each question after its answer.


# %%
@torch.no_grad()
def ask(
    model: torch.nn.Module, prompts: torch.Tensor, questions: torch.Tensor
) -> np.ndarray:
    """Answers (K, Q) to each of Q questions after each of K prompts."""
    K, T = prompts.shape
    cache = model.new_cache(K, T + questions.shape[1])
    model(prompts, cache=cache)
    said = []
    for question in questions:
        for layer in cache:
            layer.length = T  # forget the last question
        logits = model(question.expand(K, -1), cache=cache)
        said.append(logits[:, -1].argmax(-1))
    return torch.stack(said, 1).numpy()


# %%
# A few of each language, and the right digit of each question.
asked = [parts[c][SHOTS + i] for i in range(QUESTIONS // C) for c in range(C)]
answer = np.tile(labels, QUESTIONS // C)

# %%
questions, COUNT = torch.tensor(asked), {"random": 10, "alternating": 30}
sizes = {"classes": C, "shots": SHOTS, "questions": 0}
ORDERS, PROMPTS = {}, {}
for name, K in COUNT.items():
    rng = np.random.default_rng(2)
    ORDERS[name] = item_order(rng, name, rows=K, **sizes)  # (K, items)
    rows = [
        few_shot_prompt(demos, classes, labels, order, END)[0]
        for order in ORDERS[name]
    ]
    PROMPTS[name] = torch.tensor(np.array(rows))
    print(f"{K} {name} prompts of {len(rows[0])} tokens")

# %% tags=["nbval-ignore-output"]
SHIPPED = {
    "plain": ("mixture_plain.safetensors", "pair_softmax.safetensors"),
    "diff": ("mixture_diff.safetensors", "pair_diff.safetensors"),
}
SAID = {}
for kind, names in SHIPPED.items():
    model = load(newest(course.weights, *names))
    for name, prompts in PROMPTS.items():
        SAID[kind, name] = ask(model, prompts, questions)
        accuracy = (SAID[kind, name] == answer).mean(1)
        print(f"{kind:6s}{name:12s} {accuracy.mean():.2f} right,", end=" ")
        print(f"from {accuracy.min():.2f} to {accuracy.max():.2f}")

# %% [markdown]
# How does this compare with the record? There, the eight languages of a row
# were drawn from almost a hundred, of which many have letters of their own.
# Here all are written in Latin letters, which should be harder (we have not
# tested it). How much can be had without any model? Count how many tokens a
# question shares with the demonstrations of each language, and say the
# language that shares most.


# %%
def by_shared_tokens(seed: int) -> float:
    """Accuracy of counting the tokens that a question shares."""
    parts = snippets(seed)
    known = [{t for p in part[:SHOTS] for t in p} for part in parts]
    found = []
    for c, part in enumerate(parts):
        for p in part[SHOTS:]:
            shared = [sum(t in k for t in p) for k in known]
            found.append(int(np.argmax(shared)) == c)
    return float(np.mean(found))


counting = [by_shared_tokens(seed) for seed in range(20)]
print(f"counting shared tokens: {np.mean(counting):.2f} right on average")

# %% tags=["nbval-ignore-output"]
for kind in SHIPPED:
    share = (SAID[kind, "random"] == answer).mean()
    print(f"{kind:6s} {share:.2f} right on average, a guess {1 / C:.2f}")

# %% [markdown]
# When this page was made, these few lines did much better than both models.
# The models learn from the prompt, as they are well above a guess, but less
# than a program that counts. Keep such a baseline beside a result in context:
# the chance line alone flatters.
#
# (Two models are one pair. They say nothing about kinds.)
#
# ## Order: three measures
#
# ### Exercise 21.3: how much do answers depend on order?
#
# *Medium, 10 minutes.* Best minus worst is the paper's measure. The second
# counts the questions whose answer is not always the same. It has a flaw: with
# more orders, it can only grow. The third has not: it compares two orders at a
# time, and averages over all pairs.


# %% tags=["stub:21.3"]
def order_dependence(
    said: np.ndarray, labels: np.ndarray
) -> tuple[float, float, float]:
    """Return best minus worst, the share that changes, and disagreement.

    said (K, Q): the answers to Q questions with the demonstrations in each
    of K orders. labels (Q,): the right answers. Best and worst are the
    accuracies of single orders. The second result is the share of questions
    that did not get the same answer in all orders. The third is the share of
    questions answered differently by two different orders, as a mean over
    all pairs of orders.
    """
    # your code


# %% tags=["check:21.3"]
check.ex21_3(order_dependence)

# %%
order_dependence = check.mine("21.3")

# %% tags=["nbval-ignore-output"]
for (kind, name), said in SAID.items():
    for K in (2, 10, 30)[: 2 if name == "random" else 3]:
        found = order_dependence(said[:K], answer)
        print(f"{kind:6s}{K:2d} {name:12s}", end="")
        print(f"best - worst {found[0]:.3f}, changed {found[1]:.2f},", end=" ")
        print(f"disagreement {found[2]:.2f}")

# %% [markdown]
# With more orders the first two numbers grow: the best of ten is at least as
# good as the best of the first two. The third has no such trend. So compare
# best minus worst, and the share that changes, only between equal numbers of
# orders, and not ten random ones with thirty alternating ones.
#
# Here are the first two in the record:


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def spread(run: dict, order: str) -> float:
    """Best minus worst accuracy over the orders."""
    found = run["language_orders"][order]
    return found["best"] - found["worst"]


def changed(run: dict, order: str) -> float:
    """Share of the answers that are not the same in all orders."""
    return run["language_orders"][order]["changed"]


# %%
def compare(measure: Callable[[dict, str], float], order: str) -> None:
    """Print diff minus plain, with its interval."""
    for name, runs in (("all pairs", RUNS), ("both learned", both)):
        d = paired(lambda run: measure(run, order), runs)
        if len(d) > 1:
            print(f"{COUNT[order]} {order:12s}{measure.__name__:8s}", end="")
            print(f"{name:13s}{d.mean():+.3f} +- {half_width(d):.3f}")


each = record["data"]["short"]["languages"]["questions"]
print(f"{record['jobs'][0]['job']['measure']} prompts,", end=" ")
print(f"{each} questions each; diff minus plain:")
for order in COUNT:
    compare(spread, order)
    compare(changed, order)

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Two panels, random and alternating orders. For each of eight runs, plain and differential, the share of answers that change against the accuracy. Runs that have learned lie to the right; among those, the differential ones lie somewhat above the plain ones. The runs at a guess, at the left, lie far apart."}}
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3), sharey=True)
for axis, (order, count) in zip(axes, COUNT.items(), strict=True):
    for kind, mark, color in (("plain", "o", "C0"), ("diff", "D", "C1")):
        x = [run["language_orders"][order]["mean"] for run in RUNS[kind]]
        y = [changed(run, order) for run in RUNS[kind]]
        axis.plot(x, y, mark, color=color, label=kind)
    axis.axvline(1 / 8, color="grey", lw=1, ls=":")
    axis.set(title=f"{count} {order} orders", xlabel="right", xlim=(0, 1))
axes[0].set(ylabel="answers that change", ylim=(0, 1))
axes[0].legend()
plt.show()

# %% [markdown]
# A robust model has its point at the lower right. After reading the paper one
# would expect the differential models below the plain ones. In this picture
# those that have learned lie above. Accuracy plays a part: among the
# differential ones, the most accurate model changes the fewest answers. So a
# difference in robustness may partly be a difference in accuracy, in the
# paper's models as well. Here it is not all of it. The most accurate
# differential model is as accurate as the best plain one, and changes more of
# its answers.
#
# In the table, one interval of eight excludes 0: over ten random orders of all
# pairs, best minus worst is a little *larger* for the differential models.
# Among eight intervals, one may do so by chance. And look first at how large
# best minus worst is if the order has no effect.
#
# ## What chance does
#
# ### Noise alone has a spread
#
# Take a model that is right with probability $p$ at each question, whatever
# the order. If each of $K$ orders is measured on $Q$ *fresh* questions, its
# $K$ accuracies still differ, and the best minus the worst is always positive:


# %%
def noise(p: float, Q: int, K: int) -> tuple[float, float]:
    """Best minus worst of K accuracies: its mean, and 95 % lie below."""
    rng = np.random.default_rng(0)
    spreads = np.ptp(rng.binomial(Q, p, (20_000, K)) / Q, axis=1)
    return float(spreads.mean()), float(np.quantile(spreads, 0.95))


for Q in (30, 100, 500, 1024):
    for K in (10, 30):
        mean, most = noise(0.7, Q, K)
        print(f"{Q:4d} questions, {K} orders: {mean:.3f} on average,", end=" ")
        print(f"95 % below {most:.3f}")

# %% [markdown]
# With 100 questions and ten orders, 14 points of "order sensitivity" come from
# nothing. And how many questions did the paper ask? Its four accuracies for
# alternating orders, 30.0, 86.7, 83.3 and 96.7 [P, Figure 7], are multiples of
# one thirtieth. That would fit 30 questions, or a multiple of 30. (This is our
# inference, not a statement of the paper.) If there were 30, what would noise
# alone give?

# %%
for kind, low, high in (("plain", 0.300, 0.867), ("diff", 0.833, 0.967)):
    thirtieths = np.array([low, high]) * 30
    assert np.allclose(thirtieths, thirtieths.round(), atol=0.02)
    mean, most = noise((low + high) / 2, 30, 30)
    print(f"{kind:6s} measured {high - low:.3f}; noise {mean:.3f}", end=" ")
    print(f"on average, 95 % below {most:.3f}")

# %% [markdown]
# The plain model's spread is above what 30 fresh questions would give in 95 %
# of all cases, so noise alone is a poor explanation. The differential one's is
# *below* the average of the noise. It would be natural if every order got the
# *same* questions: then an answer that never changes adds no noise at all.
#
# ### The control for equal questions
#
# This is the control that fits. Keep each question's own outcomes: right in,
# say, seven of ten orders. Shuffle *which* orders these are, for each question
# separately. Each question stays as easy and as unsteady as it was. But if one
# order was good for many questions, this is gone.
#
# ### Exercise 21.4: shuffled outcomes
#
# *Hard, 20 minutes.* This is a null distribution, as the flipped signs of
# chapter 18 were. Ties matter: with few questions many spreads are equal.


# %% tags=["stub:21.4"]
def shuffled_spreads(
    right: np.ndarray, shuffles: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the spreads of shuffled outcomes (N,), and a p-value.

    right (K, Q): whether each of Q questions was answered right in each of K
    orders. shuffles (N, K, Q): for each of N draws and each question a
    permutation of 0 to K - 1. In draw n, order k gets for question q the
    outcome that order shuffles[n, k, q] really had. A spread is the best
    accuracy of an order minus the worst. p is the share of spreads at least
    as large as the real one, where the real one counts as one more draw:
    1 is added to the count and to N.
    """
    # your code


# %% tags=["check:21.4"]
check.ex21_4(shuffled_spreads)

# %% tags=["nbval-ignore-output"]
shuffled_spreads = check.mine("21.4")
NULL, SHUFFLES = {}, {}
for name, K in COUNT.items():
    rng = np.random.default_rng(3)
    SHUFFLES[name] = rng.random((DRAWS, K, QUESTIONS)).argsort(axis=1)
for key, said in SAID.items():
    NULL[key], p = shuffled_spreads(said == answer, SHUFFLES[key[1]])
    real = order_dependence(said, answer)[0]
    print(f"{key[0]:6s}{key[1]:12s} best - worst {real:.3f};", end=" ")
    print(f"shuffled {NULL[key].mean():.3f} on average; p = {p:.2f}")

# %% tags=["nbval-ignore-output", "hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Four histograms, plain and differential, random and alternating orders: best minus worst of shuffled outcomes, heaps between about 0.05 and 0.4, with a vertical line at the real value, which lies inside the heap."}}
figure, axes = plt.subplots(2, 2, figsize=(7.2, 3.8), sharex=True)
edges = (np.arange(QUESTIONS + 2) - 0.5) / QUESTIONS
for axis, (key, spreads) in zip(axes.flat, NULL.items(), strict=True):
    axis.hist(spreads, edges, color="C0")
    real = order_dependence(SAID[key], answer)[0]
    axis.axvline(real, color="C1", lw=3)
    axis.set(xlim=(0, 0.6), yticks=())
    axis.set_title(f"{key[0]}, {COUNT[key[1]]} {key[1]} orders", fontsize=10)
figure.supxlabel("best minus worst")
plt.show()

# %% [markdown]
# (Orange: the real spread.) A large spread by itself says little: shuffled
# outcomes have a large one too. Only a real spread that shuffling seldom
# reaches, a small $p$, says that some orders are better *as orders*.
#
# ### A control that fails: an order that matters
#
# Does the test notice an order effect when there is one? Take the answers of
# the plain model, and let one of the ten orders be bad: there, some or all of
# the answers that were right become wrong.

# %% tags=["nbval-ignore-output"]
for spoilt in (0, 0.25, 0.5, 1):
    bad = SAID["plain", "random"] == answer
    hit = np.flatnonzero(bad[4])
    bad[4, hit[: round(spoilt * len(hit))]] = False
    spreads, p = shuffled_spreads(bad, SHUFFLES["random"])
    print(f"{spoilt:4.0%} spoilt: best - worst", end=" ")
    print(f"{np.ptp(bad.mean(1)):.3f}, shuffled", end=" ")
    print(f"{spreads.mean():.3f} on average; p = {p:.4f}")

# %% [markdown]
# It does, if enough is spoilt. A small effect stays hidden among few
# questions: raise `QUESTIONS` to 64, and look again.
#
# ### What the record cannot say
#
# Now think about the record once more. There, each of 256 prompts has
# demonstrations of its own, and "order 3" shuffles those of each prompt in
# another way. Order 3 of one prompt has nothing in common with order 3 of the
# next. So between prompts the outcomes *are* shuffled, by construction. **The
# recorded best minus worst is noise, for every model**: it depends on how
# often answers flip between right and wrong, and on how many prompts there
# were. With four times as many prompts it would be about half as large.
#
# So the interval that excluded 0 says nothing about good and bad orders. If it
# is more than chance, the answers of the differential models flip more often.
# The share that changes measures that directly, and its intervals contain 0.
# (The few questions of one prompt do share their order, and can flip together.
# That widens the noise a little.)
#
# ## The six kinds
#
# A differential head differs from a plain one in head shape, norm and second
# map (chapter 19). Which of them matters in context? First looks at these
# tasks could not separate head shape from subtraction. The recipe for that is
# a *pool* of models of 15 million parameters, of six kinds with five seeds
# each:

# %%
try:
    pool = json.loads(newest(course.results, "pool.json").read_text())
except FileNotFoundError:
    pool = {"jobs": []}
POOL = runs_of(pool)
for kind in KINDS:
    found = [right(run) for run in POOL.get(kind, [])]
    shown = " ".join(f"{x:.3f}" for x in found) or "not run"
    print(f"{kind:12s} {shown}")

# %% [markdown]
# As long as these rows say "not run", the question stays open. You can run
# them on a GPU; `book/recipes/queue.md` has the price:
#
#     python book/recipes/pool.py main --tokens data/evidence \
#         --archives data/archives --device cuda \
#         --lookup book/results/lookup.json \
#         --pilot book/results/text_pilot.json --weights runs/pool \
#         --out book/results/pool.json
#
# Could two CPU cores decide it with smaller models? The record says how many
# tokens a run reads before it has learned anything from the prompt. A task
# that no kind has learned compares nothing.

# %%
for kind in ("plain", "diff"):
    for run in RUNS[kind]:
        rises = np.array(run["parts"]["languages"]["accuracy"]) > LEARNED
        if not rises.any():
            print(f"{kind:6s} seed {run['seed']}: never")
            continue
        tokens = run["steps"][int(rises.argmax())] * per_step
        hours = tokens * 1e6 / 2000 / 3600  # at 2,000 tokens a second
        print(f"{kind:6s} seed {run['seed']}: {tokens:.0f} million", end="")
        print(f" tokens, {hours:.0f} hours at 2,000 tokens a second")

# %% [markdown]
# They cannot, in an evening. (Your own speed stands in the log of chapter 15.
# Smaller models are faster, but we know of no smaller one of ours that learns
# this task.) The nearest thing that was run for six kinds is chapter 19's
# lookup, where keys come back exactly as they were. Plain, wide and diff solve
# it in at least seven of eight seeds, each at a rate that suits it; the other
# three kinds in fewer.
#
# And how large must an effect be, to be seen by five seeds, if they scatter
# like these?

# %%
MEASURES = {"accuracy": right, "changed": lambda r: changed(r, "random")}
for name, runs in (("all pairs", RUNS), ("both learned", both)):
    for what, measure in MEASURES.items():
        if len(paired(measure, runs)) < 2:
            continue
        sd = paired(measure, runs).std(ddof=1)
        widths = {n: STUDENT[n] * sd / n**0.5 for n in (4, 5, 8)}
        print(f"{name:13s}{what:9s} SD {sd:.3f}:", end=" ")
        print(", ".join(f"{n} seeds {w:.3f}" for n, w in widths.items()))

# %% [markdown]
# An effect as large as the half-width is found about every second time. As
# long as some seeds do not learn the task, accuracy scatters so much that
# eight seeds would miss even the paper's largest gain. Pairs in which both
# have learned it scatter less: if the estimate holds, eight of them would show
# a difference of several hundredths. (It comes from so few pairs that it may
# be wrong by a large factor.)
#
# ## The verdict
#
# For the pool, the recipe fixed best minus worst over ten random orders of the
# few-shot labels as the measure of order. We have seen that this is noise in
# our design, on a task that none of these models has learned. So the verdict
# on order uses the share of answers that change on the languages instead, and
# is *exploratory*. The words are those of chapter 18: *seen* if the interval
# excludes 0 in the paper's direction, *cannot be seen at this size* if its
# half-width is larger than the paper's effect (at most 0.216 in accuracy
# [P-fig, Figure 6]), and otherwise *not seen*. The paper reports no share of
# answers that change, so there the second word cannot be given.

# %%
d = paired(right, RUNS)
verdict = "not seen"
if d.mean() > half_width(d):
    verdict = "seen"
elif half_width(d) > 0.216:
    verdict = "cannot be seen at this size"
print(f"accuracy {d.mean():+.3f} +- {half_width(d):.3f}: {verdict}")
for order in COUNT:
    d = paired(lambda run, order=order: changed(run, order), RUNS)
    verdict = "seen" if d.mean() < -half_width(d) else "not seen"
    print(f"fewer answers change, {order:12s}{d.mean():+.3f}", end=" ")
    print(f"+- {half_width(d):.3f}: {verdict}")
print("diff minus sum:", "see the pool" if "sum" in POOL else "not run")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
every = [run for kind in LEARNERS for run in RUNS[kind]]
last = [run["shots"]["few_shot"]["accuracy"][-1] for run in every]
assert max(last) < 0.2  # no model learns the few-shot labels
assert max(spread(run, "random") for run in every) < 0.05
assert max(changed(run, "random") for run in every) > 0.4
assert {r["seed"] for r in runs_of(first)["plain"] if right(r) > LEARNED} != (
    LEARNERS["plain"]
)
for order in COUNT:
    d = paired(lambda run, order=order: changed(run, order), RUNS)
    assert 0 < d.mean() < half_width(d)
d = paired(lambda run: spread(run, "random"), RUNS)
assert d.mean() > half_width(d)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
top = {k: max(RUNS[k], key=right) for k in LEARNERS}
assert abs(right(top["diff"]) - right(top["plain"])) < 0.01
fewest = min(RUNS["diff"], key=lambda run: changed(run, "random"))
assert fewest == top["diff"]
assert changed(top["diff"], "random") > changed(top["plain"], "random")

# %% [markdown]
# These are models of 4 million parameters and prompts of 512 tokens. They show
# how such a claim is measured. They give no verdict on models of 3 billion.
#
# ## The package agrees

# %% tags=["hide-input"] jupyter={"source_hidden": true}
task = Languages(
    small_languages(), TOKENIZER, classes=2, questions=2, snippet=8, length=128
)
rows = task.sample(0, 3, "valid")
size = 8 + len(SEPARATOR) + 2
for n in range(3):
    row = rows.inputs[n, : task.items * size].reshape(-1, size).numpy()
    given = [item[:-2].tolist() for item in row]
    known = rows.classes[n].numpy(), rows.labels[n].numpy()
    same, where = few_shot_prompt(given, *known, np.arange(task.items), END)
    assert np.array_equal(same, row.ravel())
    assert np.array_equal(where, rows.places.numpy())
assert abs(GUESS["few_shot"][-1] - FewShotTask(classes=8).chance[1]) < 1e-9
print("prompts and the last chance line are those of minidiff.data")

# %% [markdown]
# ## Common mistakes
#
# - **A flat chance line.** Early in a prompt fewer labels are known, and a
#   guess is right more often.
# - **Labels with a meaning.** Then a model can answer without demonstrations,
#   and the accuracy is not only learned in context.
# - **Best minus worst without its noise.** It is positive for a model that
#   does not know the order, and it grows with orders and shrinks with
#   questions.
# - **Comparing ten orders with thirty.** The best of thirty is better than the
#   best of ten.
# - **"Order 3" of prompts that share nothing.** There is no such order.
# - **Leaving out failed seeds silently.** It changes the question.
#
# ## Summary
#
# - Labels drawn anew make a prompt a test of learning in context. Right beside
#   it belong the guess among labels said, and a program that counts.
# - In our record none of eight models learns few-shot labels. Most learn
#   language identification, suddenly and late, and which ones is a lottery.
# - Best minus worst over orders has a noise of its own. Shuffling the outcomes
#   of each question shows how large that is.
# - That fewer answers of differential models depend on the order is not seen
#   in our record. On average more of them change, with an interval around 0.
# - Head shape against subtraction: open, until the pool has been run.
#
# ## Further reading
#
# - Ye et al., *Differential Transformer*, arXiv 2410.05258: Figures 6, 7 and
#   11. Read the accuracies of single orders, not only the margins. [P]
# - Lu et al., *Fantastically Ordered Prompts and Where to Find Them*, ACL
#   2022: how much orders can matter in large models.
# - Zhao et al., *Calibrate Before Use*, ICML 2021: recency and other biases of
#   prompts, and a simple correction.
# - Min et al., *Rethinking the Role of Demonstrations*, 2022: what remains if
#   the labels are wrong.
# - Yen et al., *HELMET*, 2024: many-shot tasks whose labels are numbers, the
#   idea of this chapter's rows.
