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
# By the end of this chapter you will have shown, from sixteen recorded
# trainings and by asking two trained models, that differential models learn
# one task from the demonstrations in a prompt earlier than plain ones, while
# about half of both kinds learn another task. You will also have shown that
# best minus worst over orders of the demonstrations is above zero even if the
# order has no effect.
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
# - choose a null for best minus worst, and say what it assumes;
# - say why one pair of models shows nothing about kinds.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | tokens, and a model that predicts the next one | prompts | 7, 14 |
# | a cache of keys and values | asking many questions | 16 |
# | paired intervals, Fisher's test | comparing kinds | 18, 19 |
# | permutations, mean, variance | orders | school |

# %%
import json
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import torch

from minidiff import check, course, load, plots
from minidiff.check import hint, solution  # noqa: F401
from minidiff.data import BPETokenizer, FewShotTask, Languages
from minidiff.data.small_languages import small_languages
from minidiff.evaluation.counts import fisher_exact

# %%
RECORD = "pair.json"
WEIGHTS = {
    "plain": "pair_softmax.safetensors",
    "diff": "pair_diff.safetensors",
}
TOKENIZER = BPETokenizer.load(course.weights("pair_tokenizer.json"))
plots.use_style("svg")
torch.set_num_threads(1)

# %% [markdown]
# The next numbers say how many questions you ask two models, and how often you
# shuffle their answers.

# %% tags=["parameters"] quick={"QUESTIONS": 8, "DRAWS": 200}
QUESTIONS, DRAWS = 32, 1000

# %% [markdown]
# ## A cold open: one pair
#
# Two models were trained on the same rows, one plain and one differential,
# both with seed 1. Most rows were text. Some held one of two *few-shot* tasks,
# in which a prompt shows a few examples and then asks:
#
# - *languages*: snippets of eight languages, three of each, every snippet
#   followed by a digit that stands for its language in this prompt only. No
#   training row of this task had the languages that are used now;
# - *symbols*: items of eight classes, fifteen of each, every item followed by
#   a label that stands for its class in this prompt only. An item is three
#   abstract symbols. The classes are the same as in training.
#
# The questions are items without a label. A guess is right one time in eight.
# Here is the share of right answers. Which kind learns better from a prompt?


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def runs_of(record: dict) -> dict[str, list[dict]]:
    """The runs of each kind, in order of the seed."""
    found: dict[str, list[dict]] = {}
    for job in record["jobs"]:
        rows = sorted(job["rows"], key=lambda row: row["seed"])
        found.setdefault(job["job"]["kind"], []).extend(rows)
    return found


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
record = json.loads(course.results(RECORD).read_text())
RUNS = runs_of(record)
TASKS = {"languages": "language_orders", "symbols": "orders"}


def right(run: dict, task: str) -> float:
    """Accuracy at the questions, as a mean over ten random orders."""
    return run[TASKS[task]]["random"]["mean"]


for kind, runs in RUNS.items():
    for task in TASKS:
        print(f"{kind:6s}seed 1, {task:10s}{right(runs[1], task):.2f}")

# %% tags=["hide-cell"] jupyter={"source_hidden": true, "outputs_hidden": true}
made = record["provenance"]
print("recorded", made["date"], "on", made["device"])
print("torch", made["versions"]["torch"], "by\n ", made["command"])
print("not run:", record["not_run"] or "nothing")

# %% [markdown]
# One task says that the differential model learns in context and the plain one
# does not, the other task the opposite. These are the two models that came
# with the course. (They were not chosen for these tasks: seed 1 is the first
# at which both look keys up, chapter 19.)
#
# Eight seeds of each kind were trained. Guess: which of the two differences is
# there in most pairs?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for task in TASKS:
    for kind, runs in RUNS.items():
        print(f"{task:10s}{kind:6s}", end="")
        print(*(f"{right(run, task):.2f}" for run in runs))

# %% [markdown]
# The first one is. The second is not: about half of both kinds learn the
# symbols. With seed 1 it happens to be the plain model. **One pair says
# nothing about kinds.**
#
# So there are three questions. *How many models of a kind learn from the
# prompt?* *How much does the order of the demonstrations matter to them?* And
# *how much would the best and the worst order differ by chance alone?*
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
# the sign that comes before a label. (A token can be half a letter, printed as
# a question mark in a diamond.)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
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
# Here is the beginning of this line for both tasks:

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
guess_by_shots = check.mine("21.2")
SYMBOLS = dict(record["data"]["short"]["few_shot"])
FIRST = SYMBOLS.pop("first")  # the id of its first symbol
del SYMBOLS["kind"]
three = FewShotTask(classes=8, shots=3, questions=4)  # as with languages
GUESS = {}
for name, rows in (("languages", three), ("symbols", FewShotTask(**SYMBOLS))):
    drawn = rows.sample(0, 256).classes.numpy()
    GUESS[name] = guess_by_shots(drawn, rows.shots)
    print(f"{name:10s}", *(f"{x:.3f}" for x in GUESS[name][:8]))


# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Two panels of accuracy against the number of earlier demonstrations of the same class, plain models solid and differential ones dashed, one line a seed, with a dotted line for the guess among labels said and a thin one at one eighth. Left, languages: seven dashed lines rise to between 0.5 and 0.65, one dashed and one solid line to about 0.3, two solid lines end a little above 0.2 and the others near the guess. Right, symbols: four dashed and four solid lines rise to between 0.6 and 0.8, one solid line to about 0.35, and the others lie on the guess line."}}
figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.1), sharey=True)
NAMES = {"languages": "languages", "symbols": "few_shot"}  # in the record
for axis, (task, guess) in zip(axes, GUESS.items(), strict=True):
    for kind, style, color in (("plain", "-", "C0"), ("diff", "--", "C1")):
        for run in RUNS[kind]:
            y = run["shots"][NAMES[task]]["accuracy"]
            axis.plot(y, style, color=color, lw=1.2, alpha=0.8)
        axis.plot([], style, color=color, label=kind)
    axis.plot(guess, ":", color="grey", lw=2.5, label="guess among said")
    axis.axhline(1 / 8, color="grey", lw=0.8)
    axis.set(title=task, xlabel="earlier ones of the class", ylim=(0, 1))
    axis.set(xticks=range(0, len(guess), 1 + len(guess) // 8))
axes[0].set(ylabel="right")
axes[0].legend(fontsize=9)
plt.show()

# %% [markdown]
# Look at the lower lines on the left. After one demonstration one plain line
# is above 1/8, but below the dotted one. With the flat line alone, one would
# report that this model has begun to learn. On the right the lowest lines end
# at 1/8. That is not nothing, as there are 64 labels: these models say a label
# of this prompt, but not the right one.
#
# ## Accuracy: plain against diff
#
# A run learns a task or guesses, as in chapter 19. So compare the counts, and
# compare the pairs as chapter 18 did: a seed is a pair.

# %%
STUDENT = 2.365  # the factor for 95 % and eight values (chapter 18)


def paired(measure: Callable[[dict], float]) -> np.ndarray:
    """Differences diff minus plain of the seeds, in their order."""
    plain, diff = (list(map(measure, RUNS[k])) for k in ("plain", "diff"))
    return np.array(diff) - plain


def half_width(d: np.ndarray) -> float:
    """Half of the 95 % interval of the mean, by Student's t."""
    return float(STUDENT * d.std(ddof=1) / len(d) ** 0.5)


# %% [markdown]
# We call a task learned above an accuracy of 0.3. This line was fixed for an
# earlier record. It is arbitrary, so look at two others as well. (All of this
# is *exploratory*: the measures were chosen after earlier records.)


# %%
def learned(runs: list[dict], task: str, line: float = 0.3) -> list[dict]:
    """The runs that have learned a task: a guess has 0.125."""
    return [run for run in runs if right(run, task) > line]


for task in TASKS:
    for line in (0.2, 0.3, 0.4):
        counts = []
        for runs in RUNS.values():
            counts += [len(learned(runs, task, line)), len(runs)]
        p = fisher_exact(*counts)
        print(f"{task:10s}above {line}: plain {counts[0]}, diff", end=" ")
        print(f"{counts[2]} of {counts[3]}; Fisher's test p = {p:.4f}")

# %%
for task in TASKS:
    d = paired(lambda run, task=task: right(run, task))
    print(f"{task:10s}", *(f"{x:+.2f}" for x in d), end="; ")
    print(f"mean {d.mean():+.3f} +- {half_width(d):.3f}")

# %% [markdown]
# **Languages: there is a difference.** The counts differ at each line, and the
# interval is far above 0. (At 0.2 three plain models count, too: they have
# begun.) **Symbols: no difference can be seen.** The interval contains 0, and
# it is so wide that it contains every gain in the paper as well: where half of
# the runs learn, a lottery decides each pair.
#
# ### Earlier, or better?
#
# The same two tasks, in the same shares, were part of three earlier trainings.
# They differ in the rows of another task (chapter 19), and two are longer. How
# many models learned?

# %%
TRIED = ("pair", "pair_dense_longer", "pair_12000_steps", "pair_64_rows")
LENGTH = record["data"]["short"]["text"]["length"]
for name in TRIED:
    tried = json.loads(course.results(f"{name}.json").read_text())
    config = tried["jobs"][0]["job"]["config"]
    tokens = config["steps"] * config["batch_size"] * LENGTH / 1e6
    for task in TASKS:
        print(f"{tokens:3.0f} million tokens, {task:10s}", end="")
        for kind, runs in sorted(runs_of(tried).items(), reverse=True):
            found = [right(run, task) for run in learned(runs, task)]
            mean = f"({np.mean(found):.2f})" if found else ""
            print(f"{kind:6s}{len(found)} of {len(runs)} {mean:8s}", end="")
        print()

# %% [markdown]
# (In brackets: the mean accuracy of those that learned. Four seeds of a kind
# are few, so the three other trainings are a hint and no verdict.)
#
# In the longer trainings more plain models learn the languages, and those that
# do are about as accurate as the differential ones. So we see that
# differential models learn this task *earlier*, and not that they end up
# better. Whether all plain ones would follow, no training here was long enough
# to say. The symbols tell no such story. In the second training of 66 million
# tokens all plain models learn them and no differential one, and in the longer
# ones hardly any model of either kind does. Whether this task is learned changes
# with the rest of the training.
#
# The curves of our sixteen models show what "earlier" means. (They count all
# labels of a row, also the first of each class, which nobody can know.)

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Two panels, languages and symbols: accuracy at all labels of validation rows against million tokens, a line for each run, plain solid and differential dashed. Left: the lines stay near 0.1 until 20 million tokens; then most dashed ones rise, one after another, to between 0.2 and 0.4, while the solid ones stay low. Right: solid and dashed lines rise suddenly, at different moments between 20 and 60 million tokens, and others never do."}}
per_step = record["jobs"][0]["job"]["config"]["batch_size"] * LENGTH / 1e6
figure, axes = plt.subplots(1, 2, figsize=(7.6, 2.9), sharey=True)
for axis, task in zip(axes, TASKS, strict=True):
    for kind, style, color in (("plain", "-", "C0"), ("diff", "--", "C1")):
        for run in RUNS[kind]:
            x = np.array(run["steps"]) * per_step
            y = run["parts"][NAMES[task]]["accuracy"]
            axis.plot(x, y, style, color=color, lw=1.2)
        axis.plot([], style, color=color, label=kind)
    axis.set(title=task, xlabel="million tokens", ylim=(0, 0.8))
axes[0].set(ylabel="right, all labels")
axes[0].legend()
plt.show()

# %% [markdown]
# A run stays at a guess for a long time and then rises, at its own moment. On
# both sides the first ones to rise are differential. A training that ends in
# the middle of this picture compares moments.
#
# ## Ask them yourself
#
# Now you ask the two models of seed 1. All questions come after the *same*
# demonstrations, in thirty random orders. To read the prompts only once, keep
# their keys and values in a cache (chapter 16), and let it forget each
# question after its answer.


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
# Languages: a few questions of each, and the right digit of each question.
asked = [parts[c][SHOTS + i] for i in range(QUESTIONS // C) for c in range(C)]
ASKED = {"languages": torch.tensor(asked)}
ANSWER = {"languages": np.tile(labels, QUESTIONS // C)}
K, rng, rows = 30, np.random.default_rng(2), []
for _ in range(K):
    order = rng.permutation(C * SHOTS)
    rows.append(few_shot_prompt(demos, classes, labels, order, END)[0])
PROMPTS = {"languages": torch.tensor(np.array(rows))}

# %%
# Symbols: one row of the task, in which only the order changes.
rows = []
for k in range(K):
    sizes = SYMBOLS | {"questions": QUESTIONS, "order_seed": k}
    rows.append(FewShotTask(**sizes).sample(0, 1, "valid").inputs[0] + FIRST)
row = torch.stack(rows)
end = QUESTIONS * 4  # three symbols and a label each
PROMPTS["symbols"], last = row[:, :-end], row[0, -end:].view(-1, 4)
ASKED["symbols"], ANSWER["symbols"] = last[:, :3], last[:, 3].numpy()
for task, prompts in PROMPTS.items():
    print(task, "prompts of", prompts.shape[1], "tokens")

# %% tags=["nbval-ignore-output"]
SAID = {}
for kind, name in WEIGHTS.items():
    model = load(course.weights(name))
    for task, prompts in PROMPTS.items():
        SAID[kind, task] = ask(model, prompts, ASKED[task])
        accuracy = (SAID[kind, task] == ANSWER[task]).mean(1)
        print(f"{kind:6s}{task:10s} {accuracy.mean():.2f} right,", end=" ")
        print(f"from {accuracy.min():.2f} to {accuracy.max():.2f}")

# %% [markdown]
# It is the picture of the cold open: each model has learned the task that the
# other has not. On languages the differential model is less often right than
# in the record. There, the eight languages of a row were drawn from 96. Here
# they are always these eight, all in Latin letters, and all questions follow one
# set of demonstrations. Which of this matters, we have not tested.
#
# How much can be had without any model? Count how many tokens a question
# shares with the demonstrations of each language, and say the language that
# shares most.


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

# %% [markdown]
# These few lines do much better than the differential model, though it is
# above a guess. Keep such a baseline beside a result in context: the chance
# line alone flatters.
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
LEARNERS = (("diff", "languages"), ("plain", "symbols"))
for kind, task in (*LEARNERS, ("plain", "languages"), ("diff", "symbols")):
    for n in (2, 10, K) if (kind, task) in LEARNERS else (K,):
        found = order_dependence(SAID[kind, task][:n], ANSWER[task])
        print(f"{kind:6s}{task:10s}{n:2d} orders: best - worst", end=" ")
        print(f"{found[0]:.3f}, changed {found[1]:.2f},", end=" ")
        print(f"disagreement {found[2]:.2f}")

# %% [markdown]
# With more orders the first two numbers grow: the best of thirty is at least
# as good as the best of the first two. The third can move while orders are
# few, but nothing pushes it up. So compare best minus worst, and the share
# that changes, only between equal numbers of orders.
#
# The last two lines are models that guess. One changes nearly all its answers
# with the order. The other changes none or hardly any, and would be called the
# most robust model of this book. **Compare dependence on order only
# between models that have learned the task.**
#
# ### Best minus worst in the record
#
# The record has 32 sets of demonstrations for each task. About each set 24
# questions were asked, after the same demonstrations in the same ten random
# orders and in thirty alternating ones, the numbers of orders in the paper's
# Figure 7. `by_set` holds the number of right answers by set and order.


# %%
def spread(found: dict) -> float:
    """Best minus worst accuracy over the orders, as a mean over sets."""
    share = np.array(found["by_set"]) / found["asked"]
    return float(np.ptp(share, axis=1).mean())


for kind, runs in RUNS.items():
    for run in learned(runs, "symbols"):
        found = run["orders"]["random"]
        print(f"symbols, {kind:6s}seed {run['seed']}:", end=" ")
        print(f"right {found['mean']:.2f}, best - worst", end=" ")
        print(f"{spread(found):.3f}, changed {found['changed']:.2f}")

# %% [markdown]
# (On languages there is nothing to compare, as no plain model has learned
# them.) All these spreads lie between a tenth and a fifth. Is that much? The
# paper's plain model has 0.190 and its differential one 0.040 [P, Figure 7].
# So we need a *null*: what best minus worst would be if the order had no
# effect. Two follow. The first needs counts only, which the record has; the
# second fits, but needs the single answers, which you have for two models.
#
# ## What chance does
#
# ### Dealing the right answers
#
# Look at one set of our record. Of its 240 answers, 24 in each of ten orders,
# some number $R$ is right. If neither the order nor the question had an
# effect, these $R$ could lie anywhere among the 240. So deal them to the
# orders like cards, many times, and take best minus worst each time:


# %%
def dealt(found: dict) -> float:
    """Best minus worst if the right answers are dealt to the orders."""
    rng, n, spreads = np.random.default_rng(0), found["asked"], []
    for counts in found["by_set"]:
        hands = [n] * len(counts)  # an order has room for n right answers
        drawn = rng.multivariate_hypergeometric(hands, sum(counts), 300)
        spreads.append(np.ptp(drawn, axis=1).mean() / n)
    return float(np.mean(spreads))


# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Two panels, languages and symbols: best minus worst against accuracy for the sixteen models, ten random orders. Grey dashes, the dealt answers, form an arch from 0.17 at an accuracy of 0.1 over 0.3 in the middle down to 0.25 at 0.8. All real spreads, circles for plain and diamonds for differential models, lie far below it, between 0.05 and 0.2, with the models that guess at the lower left."}}
figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.1), sharey=True)
for axis, (task, name) in zip(axes, TASKS.items(), strict=True):
    for kind, mark, color in (("plain", "o", "C0"), ("diff", "D", "C1")):
        found = [run[name]["random"] for run in RUNS[kind]]
        x = [f["mean"] for f in found]
        axis.plot(x, list(map(dealt, found)), "_", color="grey", ms=12)
        axis.plot(x, list(map(spread, found)), mark, color=color, label=kind)
    axis.plot([], [], "_", color="grey", ms=12, label="dealt")
    axis.set(title=task, xlabel="right", xlim=(0, 1), ylim=(0, 0.4))
axes[0].set(ylabel="best minus worst")
axes[0].legend(fontsize=9, loc="lower right")
plt.show()

# %%
for task, name in TASKS.items():
    for order in ("random", "alternating"):
        found = [run[name][order] for runs in RUNS.values() for run in runs]
        ratios = [spread(f) / dealt(f) for f in found]
        print(f"{task:10s}{order:12s}real over dealt:", end=" ")
        print(f"{min(ratios):.2f} to {max(ratios):.2f}")

# %% [markdown]
# All real spreads are *smaller* than those of chance. So this is not the null
# that fits. Dealing forgets that all orders get the same questions: an easy
# question is right in nearly all orders and a hard one in nearly none, and
# such a question adds the same to every order.
#
# Write it down. Let question $q$ be right with probability $p_q$ in every
# order, independently of the other questions. Then the number of right answers
# in an order has the variance
#
# $$
# \sum_q p_q (1 - p_q) \;=\; Q\,\big(p(1 - p) - \mathrm{Var}_q\,p_q\big),
# \qquad p = \text{mean of the } p_q,
# $$
#
# where $\mathrm{Var}_q$ is the variance over the questions. Dealt answers have
# $Q\,p(1 - p)$, or nearly. So dealing is an upper limit of chance: the more
# the questions differ, the less chance does. Counts do not say how much
# they differ. **So our record cannot tell whether some orders are better.**
#
# ### The control for equal questions
#
# Keep each question's own outcomes: right in, say, seven of ten orders.
# Shuffle *which* orders these are, for each question separately. Each question
# stays as easy and as unsteady as it was. But if one order was good for many
# questions, this is gone.
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
rng, NULL = np.random.default_rng(3), {}
SHUFFLES = rng.random((DRAWS, K, QUESTIONS)).argsort(axis=1)
for kind, task in LEARNERS:
    hits = SAID[kind, task] == ANSWER[task]  # (K, Q)
    NULL[kind, task], p = shuffled_spreads(hits, SHUFFLES)
    counts = {"by_set": [hits.sum(1).tolist()], "asked": QUESTIONS}
    print(f"{kind:6s}{task:10s}best - worst {spread(counts):.3f};", end=" ")
    print(f"dealt {dealt(counts):.3f} on average,", end=" ")
    print(f"shuffled {NULL[kind, task].mean():.3f}; p = {p:.2f}")

# %% tags=["nbval-ignore-output", "hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Two histograms, the differential model at the languages and the plain one at the symbols: best minus worst of shuffled outcomes, heaps between about 0.1 and 0.3, with a vertical line at the real value, which lies inside the heap."}}
figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.5), sharex=True)
edges = (np.arange(QUESTIONS + 2) - 0.5) / QUESTIONS
for axis, ((kind, task), spreads) in zip(axes, NULL.items(), strict=True):
    axis.hist(spreads, edges, color="C0")
    real = order_dependence(SAID[kind, task], ANSWER[task])[0]
    axis.axvline(real, color="C1", lw=3)
    axis.set(xlim=(0, 0.6), yticks=(), xlabel="best minus worst")
    axis.set_title(f"{kind}, {task}", fontsize=10)
plt.show()

# %% [markdown]
# (The vertical line is the real spread.) Shuffled outcomes have a spread far
# below the dealt one, and the real spread lies among them. Only a real spread
# that shuffling seldom reaches, a small $p$, says that some orders are better
# *as orders*. Nothing says so here. Many answers change with the order, but we
# see no order that is good for many questions.
#
# This null has a limit as well: it takes the questions as independent. A model
# that gives one digit to all questions of an order is right at an eighth of
# them, whichever digit it is, so its real spread is 0 and its shuffled one is
# not.
#
# ### A control that fails: an order that matters
#
# Does the test notice an order effect when there is one? Take the answers of
# the plain model to the symbols, and let one of the orders be bad: there, some
# or all of the answers that were right become wrong.

# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
for spoilt in (0, 0.1, 0.25, 0.5, 1):
    bad = SAID["plain", "symbols"] == ANSWER["symbols"]
    hit = np.flatnonzero(bad[4])
    bad[4, hit[: round(spoilt * len(hit))]] = False
    spreads, p = shuffled_spreads(bad, SHUFFLES)
    print(f"{spoilt:4.0%} spoilt: best - worst", end=" ")
    print(f"{np.ptp(bad.mean(1)):.3f}, shuffled", end=" ")
    print(f"{spreads.mean():.3f} on average; p = {p:.4f}")

# %% [markdown]
# It does, if enough is spoilt. A small effect stays hidden among few
# questions: raise `QUESTIONS` to 64, and look again.
#
# ## Order: plain against diff
#
# Only pairs in which both models have learned the task can be compared. This
# changes the question: it compares models that can, and not kinds.

# %%
BOTH = {}
for task, name in TASKS.items():
    able = [{r["seed"] for r in learned(runs, task)} for runs in RUNS.values()]
    BOTH[task] = len(able[0] & able[1])
    print(f"{task}: both have learned in {BOTH[task]} pairs")
    for seed in sorted(able[0] & able[1]):
        for kind, runs in RUNS.items():
            found = runs[seed][name]["random"]
            print(f"  seed {seed}, {kind:6s}right {found['mean']:.2f}", end="")
            print(f", best - worst {spread(found):.3f}", end=", ")
            print(f"dealt {dealt(found):.3f}")

# %% [markdown]
# In both pairs the differential model has the smaller spread, as in the paper,
# but the difference is only about a fifth of the paper's. That model is also
# more often right, and nearer to 1 chance alone gives a smaller spread: the
# dealt one is smaller, too. (In the paper as well, the model with the smaller
# spread is the more accurate one.) We give no verdict on fewer than three
# pairs.
#
# ## The verdict
#
# The words are those of chapter 18: *seen* if the interval excludes 0 in the
# paper's direction, *cannot be seen at this size* if its half-width is larger
# than the paper's effect (at most 0.216 in accuracy [P-fig, Figure 6]), and
# otherwise *not seen*. All of it is *exploratory*, and "higher" is at the end
# of this training.

# %%
for task in TASKS:
    d = paired(lambda run, task=task: right(run, task))
    verdict = "not seen"
    if d.mean() > half_width(d):
        verdict = "seen"
    elif half_width(d) > 0.216:
        verdict = "cannot be seen at this size"
    print(f"{task:10s}higher accuracy: {d.mean():+.3f}", end=" ")
    print(f"+- {half_width(d):.3f}, {verdict}")
    print(f"{'':10s}order matters less: none, {BOTH[task]} pairs of 8")

# %% [markdown]
# ### The same at 15 million parameters
#
# `book/results/pool.json` has models of twice the width, five seeds of each kind,
# trained at the same rate on as many tokens (of a larger vocabulary, so on more
# text). Do differential models still learn the languages more often, and is their
# spread still smaller?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
LARGER: dict = {}
for job in json.loads(course.results("pool.json").read_text())["jobs"]:
    LARGER[job["job"]["kind"]] = sorted(job["rows"], key=lambda r: r["seed"])
for task, name in TASKS.items():
    for kind in ("plain", "diff"):
        found = [run[name]["random"] for run in LARGER[kind]]
        print(f"{task:10s}{kind:6s}right       ", end="")
        print(*(f"{f['mean']:5.2f}" for f in found))
        print(f"{'':16s}best - worst", *(f"{spread(f):.3f}" for f in found))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
ENDS = {
    (kind, task): np.array([r[name]["random"]["mean"] for r in LARGER[kind]])
    for task, name in TASKS.items()
    for kind in ("plain", "diff")
}
assert sorted(LARGER) == ["diff", "plain", "sum", "wide", "wide + norm"]
assert all(len(x) == 5 for x in ENDS.values())


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def half_of_five(d: np.ndarray) -> float:
    """As half_width, for five pairs."""
    return float(2.776 * d.std(ddof=1) / 5**0.5)


d = ENDS["diff", "languages"] - ENDS["plain", "languages"]
half = half_of_five(d)
print(f"languages, diff minus plain: {d.mean():+.4f} +- {half:.4f}")
assert (d > 0).all() and 0.04 < d.mean() < half < 0.06
assert ENDS["plain", "languages"].min() > 0.4
assert (ENDS["diff", "symbols"] > 0.8).all()
assert sum(ENDS["plain", "symbols"] > 0.7) == 3

# %% tags=["hide-input"] jupyter={"source_hidden": true}
of_symbols = {}
for kind, factor in (("plain", 4.303), ("sum", 3.182)):
    pairs = np.array([
        spread(a["orders"]["random"]) - spread(b["orders"]["random"])
        for a, b in zip(LARGER["diff"], LARGER[kind], strict=True)
        if b["orders"]["random"]["mean"] > 0.7
    ])  # fmt: skip
    half = factor * pairs.std(ddof=1) / len(pairs) ** 0.5
    of_symbols[kind] = len(pairs), pairs.mean(), half
    print(f"symbols, best - worst, random, diff minus {kind}:", end=" ")
    print(f"{pairs.mean():+.4f} +- {half:.4f} ({len(pairs)} pairs)")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert [n for n, _, _ in of_symbols.values()] == [3, 4]
assert abs(of_symbols["plain"][1]) < of_symbols["plain"][2]
assert of_symbols["sum"][1] > of_symbols["sum"][2]


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def minus_plain(measure) -> np.ndarray:
    """Diff minus plain at the languages, by seed."""
    both = zip(LARGER["diff"], LARGER["plain"], strict=True)
    return np.array([
        measure(a["language_orders"]) - measure(b["language_orders"])
        for a, b in both
    ])  # fmt: skip


# %%
MEASURES = {
    "best - worst, random": lambda found: spread(found["random"]),
    "best - worst, alternating": lambda found: spread(found["alternating"]),
    "changed, random": lambda found: found["random"]["changed"],
    "changed, alternating": lambda found: found["alternating"]["changed"],
    "dealt, random": lambda found: dealt(found["random"]),
}
for name, measure in MEASURES.items():
    d = minus_plain(measure)
    half = half_of_five(d)
    print(f"{name:26s}{d.mean():+.4f} +- {half:.4f}; lower in", end=" ")
    print(f"{(d < 0).sum()} of 5")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
random, alternating, changed, less, luck = (
    minus_plain(measure) for measure in MEASURES.values()
)
for d in (random, alternating, less):
    assert d.mean() + half_of_five(d) < 0
assert abs(changed.mean()) < half_of_five(changed)
assert (random < 0).all() and (alternating < 0).all()
assert abs(luck.mean()) < 0.1 * abs(random.mean())

# %% [markdown]
# Now all ten models learn the languages. The differential ones are right more
# often in five of five pairs, by 0.0516 on average, with zero just inside the
# interval: a lead is not seen, and one of 0.1 [P, Figure 6] is not excluded. The
# symbols are learned by all five differential models and by three plain ones. From
# five seeds nobody can tell whether that is a difference; among the smaller models
# it was four against five.
#
# And the order? Fixed before the run was the spread of the symbols in random orders.
# Three pairs can be compared, and a smaller spread is *not seen*. Against sum, the
# control, it is larger, in the four pairs that can be compared.
#
# The measures of the languages were chosen after the run (exploratory). *Best minus
# worst* is smaller in the differential model in five of five pairs, in random and
# in alternating orders. The paper's effects are many times as large, 0.190 to 0.040
# and 0.567 to 0.134 [P, Figure 7]. The share of answers that change is smaller in
# alternating orders, and not clearly in random ones. Accuracy does not explain it:
# dealt answers have nearly the same spread. But from these counts nobody can say
# whether a spread is an effect of the *order* (see above).
#
# Which part of a differential model does it: the shape of its heads, the norm,
# or the subtraction? Three of the kinds that chapter 18 compares can say something.
# *Wide* has one map a head, and half as many heads, as wide as diff's values.
# *Wide + norm* has diff's norm as well, and *sum* is diff with the second map
# added. If the subtraction does it, none of them
# has a smaller spread than plain. What do you expect?

# %% tags=["hide-input"] jupyter={"source_hidden": true}
CONTROLS = {
    "right": lambda found: found["random"]["mean"],
    "best - worst, random": MEASURES["best - worst, random"],
    "best - worst, alternating": MEASURES["best - worst, alternating"],
}
LINES = ("wide, plain", "wide + norm, plain", "sum, plain")
LINES += ("diff, wide", "diff, wide + norm", "diff, sum", "sum, wide")
TOLD: dict = {}

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for name, measure in CONTROLS.items():
    by_kind = {
        kind: np.array([measure(run["language_orders"]) for run in runs])
        for kind, runs in LARGER.items()
    }
    for pair in LINES:
        a, b = pair.split(", ")
        d = TOLD[name, pair] = by_kind[a] - by_kind[b]
        print(f"{name:27s}{a:>11s} minus {b:11s}", end=" ")
        print(f"{d.mean():+.3f} +- {half_of_five(d):.3f}", end=", ")
        print(f"lower in {(d < 0).sum()} of 5")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for name in list(CONTROLS)[1:]:
    for pair in ("wide, plain", "sum, plain"):
        d = TOLD[name, pair]
        assert d.mean() + half_of_five(d) < 0 and (d < 0).all()
    for pair in ("diff, wide", "diff, wide + norm", "diff, sum"):
        d = TOLD[name, pair]
        assert abs(d.mean()) < min(0.007, half_of_five(d))
    d = TOLD[name, "wide + norm, plain"]
    sure = d.mean() + half_of_five(d) < 0
    assert (d < 0).sum() == 4 and sure == ("random" in name)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for pair, sure in (("wide, plain", 0), ("wide + norm, plain", 0),
                   ("sum, plain", 1), ("diff, wide", 1),
                   ("diff, wide + norm", 0)):  # fmt: skip
    d = TOLD["right", pair]
    assert (d.mean() > half_of_five(d)) == sure, pair
for pair, most in (("diff, sum", 0.03), ("sum, wide", 0.04)):
    d = TOLD["right", pair]
    assert abs(d.mean()) < half_of_five(d) < most

# %% [markdown]
# **The smaller spread needs no subtraction.** The spread of *wide*, which has one
# map, lies below plain's as far as diff's does, in five of five pairs, and so does
# that of *sum*. *Wide + norm* is below plain in four of five, and clear of it in
# random orders only. Whether a subtraction adds anything is open. Between diff and wide
# the interval is as wide as the effect itself. Between diff and sum it excludes the
# whole effect, but not a half. And a "sum" may have learned to subtract, as some
# did in chapter 19; the record does not say.
#
# **The accuracy is not decided.** Two intervals exclude zero, sum minus plain and
# diff minus wide. Those of diff minus plain, diff minus wide + norm and sum minus
# wide contain it.
#
# Above are 27 intervals for the languages, chosen after the run. By Holm's rule
# (chapter 24) none of them would stand. They are reasons for a new experiment. In
# the present run *first map* is not trained yet; row 7 of `book/recipes/queue.md`
# has command and price.
#
# Our models have 4 and 15 million parameters and prompts of 512 tokens. They show
# how such a claim is measured. They give no verdict on models of 3 billion.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
GUARD = {
    (kind, task): {run["seed"] for run in learned(runs, task)}
    for kind, runs in RUNS.items()
    for task in TASKS
}
assert record["data"]["short"]["languages"]["languages"]["valid"] == 96
assert not GUARD["plain", "languages"]
assert len(GUARD["diff", "languages"]) == 7
assert GUARD["plain", "symbols"] & GUARD["diff", "symbols"] == {5, 6}
assert len(GUARD["plain", "symbols"]) == 5
assert len(GUARD["diff", "symbols"]) == 4

# %% tags=["hide-input"] jupyter={"source_hidden": true}
part = RUNS["plain"][2]["shots"]["languages"]["accuracy"]
assert 1 / 8 < part[1] < GUESS["languages"][1]
for name in NAMES.values():
    first = {}
    for kind, runs in RUNS.items():
        curves = np.array([run["parts"][name]["accuracy"] for run in runs])
        first[kind] = (curves > 0.2).any(0).argmax()
    assert first["diff"] < first["plain"]
hit_rate = {k: (said == ANSWER[k[1]]).mean() for k, said in SAID.items()}
assert hit_rate["plain", "symbols"] > 0.4 > hit_rate["diff", "symbols"]
assert hit_rate["diff", "languages"] > hit_rate["plain", "languages"]
assert np.mean(counting) > hit_rate["diff", "languages"] > 1 / C

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for runs in RUNS.values():
    for found in [run[name] for run in runs for name in TASKS.values()]:
        assert all(spread(f) < 0.9 * dealt(f) for f in found.values())
for seed in (5, 6):
    two = [RUNS[kind][seed]["orders"]["random"] for kind in RUNS]
    assert 0.02 < spread(two[0]) - spread(two[1]) < 0.04
    assert two[0]["mean"] < two[1]["mean"]
    assert dealt(two[0]) > dealt(two[1])

# %% [markdown]
# ## The package agrees

# %% tags=["hide-input"] jupyter={"source_hidden": true}
package = Languages(
    small_languages(), TOKENIZER, classes=2, questions=2, snippet=8, length=128
)
rows = package.sample(0, 3, "valid")
size = 8 + len(SEPARATOR) + 2
for n in range(3):
    row = rows.inputs[n, : package.items * size].reshape(-1, size).numpy()
    given = [item[:-2].tolist() for item in row]
    known = rows.classes[n].numpy(), rows.labels[n].numpy()
    same, where = few_shot_prompt(given, *known, np.arange(package.items), END)
    assert np.array_equal(same, row.ravel())
    assert np.array_equal(where, rows.places.numpy())
assert abs(GUESS["symbols"][-1] - FewShotTask(classes=8).chance[1]) < 1e-9
print("prompts and the last chance line are those of minidiff.data")

# %% [markdown]
# ## Common mistakes
#
# - **A flat chance line.** Early in a prompt fewer labels are known, and a
#   guess is right more often.
# - **Labels with a meaning.** Then a model can answer without demonstrations,
#   and the accuracy is not only learned in context.
# - **One pair, or one task.** Ours would have said the opposite on the other
#   task.
# - **Robustness of models that guess.** They may change all answers or none,
#   and neither says anything.
# - **Best minus worst without its noise.** It is positive for a model that
#   does not know the order, it grows with orders and shrinks with questions.
# - **A null of fresh questions for questions that are the same.** It allows
#   too much.
#
# ## Summary
#
# - Labels drawn anew make a prompt a test of learning in context. Right beside
#   it belong the guess among labels said, and a program that counts.
# - In our record seven of eight differential models come above 0.3 on the
#   languages and no plain one, though three have begun. In longer trainings
#   some plain ones learn them, and are then as accurate: differential models
#   are earlier.
# - The symbols are a lottery for both kinds. In the shipped pair the plain
#   model learned them, which says nothing about kinds.
# - Best minus worst over orders has a noise of its own. Dealing the right
#   answers is its upper limit; shuffling the outcomes of each question is the
#   null that fits, and needs the single answers.
# - Whether order matters less to differential models has no verdict at 4 million
#   parameters: in no pair have both learned the languages, and in two pairs both
#   the symbols. At 15 million both kinds learn the languages in all five pairs, and
#   the spread is a little smaller in each; so it is in wide models with one map, and
#   in four of five with diff's norm. The counts cannot say whether that is an effect
#   of order (exploratory).

# %% [markdown]
# ## Optional: how many questions did the paper ask?
#
# Suppose that each of $K$ orders is measured on $Q$ *fresh* questions, and
# that a model is right with probability $p$ at each, whatever the order. Then
# the best minus the worst of the $K$ accuracies is positive by chance alone:


# %%
def noise(p: float, Q: int, K: int) -> tuple[float, float]:
    """Best minus worst of K accuracies: its mean, and 95 % lie below."""
    rng = np.random.default_rng(0)
    spreads = np.ptp(rng.binomial(Q, p, (20_000, K)) / Q, axis=1)
    return float(spreads.mean()), float(np.quantile(spreads, 0.95))


for Q in (30, 100, 1000):
    print(f"{Q:4d} questions, 10 orders: {noise(0.7, Q, 10)[0]:.3f}", end=", ")
    print(f"30 orders: {noise(0.7, Q, 30)[0]:.3f} on average")

# %% [markdown]
# The paper's four accuracies for alternating orders, 30.0, 86.7, 83.3 and 96.7
# [P, Figure 7], are multiples of one thirtieth. That would fit 30 questions,
# or a multiple of 30. (This is our inference, not a statement of the paper.)
# If there were 30, what would chance alone give?

# %%
for kind, low, high in (("plain", 0.300, 0.867), ("diff", 0.833, 0.967)):
    thirtieths = np.array([low, high]) * 30
    assert np.allclose(thirtieths, thirtieths.round(), atol=0.02)
    mean, most = noise((low + high) / 2, 30, 30)
    print(f"{kind:6s} measured {high - low:.3f}; noise {mean:.3f}", end=" ")
    print(f"on average, 95 % below {most:.3f}")

# %% [markdown]
# The plain model's spread is above what 30 fresh questions would give in 95 %
# of all cases, so chance alone is a poor explanation. The differential one's
# is *below* the average of chance, which is natural if every order got the
# same questions.
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
