# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 22. Faithfulness
#
# By the end of this chapter you will have built a program that says where each
# answer of a model came from: the right document, another one, memory, or
# nowhere. You will have shown with it that one number, "the share of made-up
# answers", can be improved by saying less, and you will have computed how many
# trainings it takes to see an effect of the size that the paper reports.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - write documents and questions whose answers a program can judge;
# - tell an answer that was read from one that was remembered or made up;
# - compare two models that refuse to answer differently often;
# - judge a summary statement by statement;
# - say how many questions and how many seeds an effect needs to be seen.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | generation with a cache | asking a model | 16 |
# | paired differences, intervals, Student's factor | the records | 18 |
# | shares of attention with signs | where a model looks | 19 |
# | variance of a share | how many questions | school |

# %%
import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch

from minidiff import check, course, generate, load, plots
from minidiff.check import hint, solution  # noqa: F401

# %%
from minidiff.course.answer_diagrams import SOURCES, show_shares, show_sources
from minidiff.data import BPETokenizer, FactBook, small_table
from minidiff.data.fact_scenes import Document, Question, Scenes
from minidiff.evaluation import answers
from minidiff.nn.prompt import read_prompt

plots.use_style()
torch.set_num_threads(1)

# %% [markdown]
# This chapter asks the two small models that came with the course. The next
# number says how many questions of a kind they get.

# %% tags=["parameters"] quick={"QUESTIONS": 2}
QUESTIONS = 10

# %% [markdown]
# ## A cold open: which system makes up the least?
#
# Three systems read four short documents and answer a question about them. For
# half of the questions no document has the answer, and then "not stated" is
# right. Here is one of them.

# %%
TABLE = small_table()  # twelve countries with their real facts
Scene = tuple[list[Document], Question]


def draw(kind: str, count: int, documents: int = 4) -> list[Scene]:
    """Scenes with one question each, always the same ones."""
    scenes = Scenes(TABLE, documents, 4, (kind,))
    random = np.random.default_rng(22)
    found: list[Scene] = []
    while len(found) < count:
        some, questions = scenes.draw(random, "valid")
        found += [(some, q) for q in list(questions)[:1]]
    return found


# %%
def written(
    documents: list[Document], question: Question | None = None
) -> str:
    """The text that a model reads, up to where its answer begins."""
    pieces = [piece for document in documents for piece in document.pieces()]
    return "".join([*pieces, *(question.pieces() if question else [])])


ANSWERABLE = draw("several", QUESTIONS)
UNANSWERABLE = draw("unanswerable", QUESTIONS)
print(written(*ANSWERABLE[0]))


# %% [markdown]
# (Yes, these documents are wrong about the world. That is on purpose, as you
# will see.) Systems A and B are the shipped models, plain and differential.
# System C is a function that you will see. We count answers that state
# something which the document about that country does not say.

# %%
TOKENIZER = BPETokenizer.load(course.weights("mixture_tokenizer.json"))
FILES = {"plain": "mixture_plain", "diff": "mixture_diff"}
MODELS = {
    kind: load(course.weights(f"{name}.safetensors"))
    for kind, name in FILES.items()
}
MOST = 9  # tokens of an answer


def ask(kind: str, prompt: str, most: int = MOST) -> str:
    """The most likely continuation, up to its first full stop."""
    ids = torch.tensor([TOKENIZER.encode(prompt)])
    options = {"max_new_tokens": most, "temperature": 0}
    new = generate(MODELS[kind], ids, **options)[0, ids.shape[1] :]
    return TOKENIZER.decode(new.tolist()).partition(".")[0].strip()


# %% tags=["nbval-ignore-output"]
def system_c(prompt: str) -> str:
    return "not stated"


SYSTEMS: dict[str, Callable[[str], str]] = {
    "A": lambda prompt: ask("plain", prompt),
    "B": lambda prompt: ask("diff", prompt),
    "C": system_c,
}
some = ANSWERABLE[::2] + UNANSWERABLE[::2]
for name, system in SYSTEMS.items():
    said = [(system(written(*scene)), scene[1]) for scene in some]
    false = [t for t, q in said if t not in (q.answer, "not stated")]
    print(f"{name}: {len(false)} of {len(said)} answers made up or mixed up")

# %% [markdown]
# No system can have a lower number than C. But look at its code: it reads
# nothing. And on the questions without an answer it is always right.
#
# So "hallucinates less" is no statement about a model before one knows *how
# often it answers*. This chapter keeps both numbers side by side. It needs a
# scorer that knows where an answer came from. The paper had another kind of
# judge.
#
# ## What the paper measured
#
# | task | plain | differential | from |
# |---|---|---|---|
# | summaries: XSum | 0.44 | 0.53 | [P, Table 4] |
# | summaries: CNN/DM | 0.32 | 0.41 | [P, Table 4] |
# | summaries: MultiNews | 0.42 | 0.61 | [P, Table 4] |
# | questions: Qasper | 0.28 | 0.39 | [P, Table 4] |
# | questions: HotpotQA | 0.36 | 0.46 | [P, Table 4] |
# | questions: 2WikiMQA | 0.29 | 0.36 | [P, Table 4] |
#
# These are shares of answers that a larger model, GPT-4o, judged accurate and
# free of hallucination; each is of 100 samples [P, Table 4]. In HotpotQA and
# 2WikiMQA, a question is asked over several documents.
#
# How sure are six differences of 100 samples each? A share $p$ of $n$ samples
# has the variance $p (1 - p) / n$, and the variances of two independent shares
# add. (If both models had the same samples, a paired interval would be
# somewhat narrower, but that takes the single verdicts, and we know of none
# published.)

# %%
PAPER = {
    "XSum": (0.44, 0.53),
    "CNN/DM": (0.32, 0.41),
    "MultiNews": (0.42, 0.61),
    "Qasper": (0.28, 0.39),
    "HotpotQA": (0.36, 0.46),
    "2WikiMQA": (0.29, 0.36),
}
two = np.array(list(PAPER.values()))
gain = two[:, 1] - two[:, 0]
error = np.sqrt((two * (1 - two) / 100).sum(1))
names = [*PAPER, "mean of six"]
gain = np.append(gain, gain.mean())
error = np.append(error, np.sqrt((error**2).sum()) / 6)

# %%
for name, value, half in zip(names, gain, 1.96 * error, strict=True):
    print(f"{name:12s} {value:+.2f} +- {half:.2f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Seven differences with their 95 percent intervals, differential minus plain, all above zero. XSum, CNN/DM, Qasper, HotpotQA and 2WikiMQA lie between 0.07 and 0.11 with intervals that reach below zero. MultiNews lies at 0.19, its interval above zero. The mean of six lies at 0.11 with a narrow interval from 0.05 to 0.16."}}
figure, axis = plt.subplots(figsize=(6, 2.9))
place = np.arange(len(names))[::-1]
for y, value, half in zip(place, gain, 1.96 * error, strict=True):
    color = "C1" if y == 0 else "C0"
    axis.plot([value - half, value + half], [y, y], "-", color=color)
    axis.plot(value, y, "o", color=color)
axis.axvline(0, color="0.4", lw=1, ls="-")
axis.set_yticks(place, names)
axis.set(xlabel="judged free of hallucination, differential minus plain")
plt.show()

# %% [markdown]
# One of the six is clear of zero by itself. All six point the same way, and
# their mean is clear of zero: the share of answers without hallucination is
# about 0.11 higher, give or take 0.05, *if* the judge is right, and for *this
# one training* of each kind. Another training could give something else; how
# much, one cannot know from one.
#
# Three things a desk can do better than this table: judge without a model, see
# *what* the wrong answers are, and train more than once.
#
# ## Documents that contradict the world
#
# A model that answers "Tokyo" when asked for the capital of Japan may have
# read it, or may have known it. So write documents that are false: the capital
# of Japan is Oslo. Such a *counterfactual edit* separates the two: who says
# Oslo has read, who says Tokyo has remembered. And let no two documents of a
# scene state the same value of an attribute. Then a wrong answer says which
# document it was taken from.

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Diagram. On the left two documents in a dashed frame, the prompt: one says that the capital of Japan is Oslo, the other that the capital of Kenya is Lima. Below the frame stand the real world, and no place at all. Above the arrows the question: what is the capital of Japan? On the right the possible answers, each with an arrow from where it comes from: Oslo is right, Lima is another document, Tokyo is memory, Cairo is nowhere. A fifth answer, not stated, has no arrow."}}
show_sources()
plt.show()

# %% [markdown]
# The *fact book* of `minidiff.data` writes such documents about countries.
# Half of its countries do not exist, so that nothing can be known about them.
# It asks four kinds of questions:
#
# | kind | documents | the right answer |
# |---|---|---|
# | single | one | the value that it states |
# | several | four | the value that the document about this country states |
# | unanswerable | four | "not stated": only *other* documents state it |
# | list | four | everything that this country's document states, in order |
#
# ### Exercise 22.1: where an answer comes from
#
# *Easy, 6 minutes.* The tests that score long answers for a larger model often
# ask only whether the right words *occur* in them. Then "eagle" and "golden
# eagle" are the same animal. Be strict.


# %% tags=["stub:22.1"]
def answer_source(
    text: str, right: str, others: list[str], memory: str | None
) -> str:
    """Return the source of an answer, as one of five texts.

    "right": it is `right`, what the document about the country says (or
    "not stated", if that is right). "another document": it is in `others`,
    what other documents say. "memory": it is the real value, which may be
    None, for unknown. "not stated": it says so, wrongly. "nowhere": none of
    these. The first that fits counts. Spaces around the text and one full
    stop at its end do not matter; everything else must be equal.
    """
    # your code


# %% tags=["check:22.1"]
check.ex22_1(answer_source)

# %% [markdown]
# ## Test the scorer before the models
#
# Before a scorer judges models whose behaviour you do not know, let it judge
# *answerers* whose behaviour you do know. Four of them, and no model:

# %%
answer_source = check.mine("22.1")


def sources_of(scenes: list[Scene], texts: list[str]) -> Counter[str]:
    """Count the sources of the answers to the questions of some scenes."""
    found: Counter[str] = Counter()
    for (_, q), text in zip(scenes, texts, strict=True):
        found[answer_source(text, q.answer, q.others, q.memory)] += 1
    return found


# %%
def stated(scene: Scene) -> list[str]:
    """All values that the scene's documents state of what is asked."""
    documents, q = scene
    facts = [d.facts.get(q.attribute or "") for d in documents]
    return [value for value in facts if value]


random = np.random.default_rng(0)
ANSWERERS: dict[str, Callable[[Scene], str]] = {
    "reads": lambda scene: scene[1].answer,
    "knows the world": lambda scene: scene[1].memory or "not stated",
    "takes any value": lambda scene: str(random.choice(stated(scene))),
    "says nothing": lambda scene: "not stated",
}

# %%
HEAD = [f"{s.replace('document', 'doc'):>11s}" for s in SOURCES]
print(" " * 31, *HEAD)
for kind in ("several", "unanswerable"):
    scenes = draw(kind, 300)
    for name, answerer in ANSWERERS.items():
        found = sources_of(scenes, [answerer(scene) for scene in scenes])
        shares = [found[s] / len(scenes) for s in SOURCES]
        print(f"{kind:13s} {name:17s}", *(f"{x:11.2f}" for x in shares))

# %% [markdown]
# The scorer tells them apart. Two rows deserve a second look.
#
# "Takes any value" finds the documents that state the attribute and does not
# notice which country they are about. This is the guess to beat: a model that
# is right more often has connected a value with a country.
#
# "Says nothing" is right on every unanswerable question. And for a model that
# cannot connect, it is the *best* answer: where half of the questions have no
# answer, "not stated" is right in half of all cases, and any single value in
# fewer. Training rewards that. Keep it in mind for what comes.
#
# ## Four models that cannot read
#
# Here is a record of four plain models, seeds 0 to 3, trained on a mixture of
# text and tasks, with questions about the fact book among them. They were to
# become the course's pair, but none of them learned to look up needles. They
# were asked held-out questions of the four kinds.

# %%
SHORT = ("single", "several", "unanswerable", "list")
Facts = dict[str, dict[int, dict]]  # kind of model -> seed -> sources


def read_runs(name: str) -> Facts:
    """By kind and seed: where answers to each kind of question came from."""
    record = json.loads(course.results(name).read_text())
    found: Facts = {}
    for job in record["jobs"]:
        seeds = {row["seed"]: row["facts"] for row in job["rows"]}
        found.setdefault(job["job"]["kind"], {}).update(seeds)
    return found


# %%
def shares(runs: dict[int, dict], asked: str, source: str) -> np.ndarray:
    """The share of answers of one source, for every seed."""
    rows = (runs[seed][asked] for seed in sorted(runs))
    return np.array([row.get(source, 0.0) for row in rows])


# %%
def table(facts: Facts) -> None:
    """Print the number of questions, and the means over seeds."""
    print(" " * 24, *HEAD)
    for asked in SHORT:
        for kind, runs in facts.items():
            n = runs[0][asked]["questions"]
            means = [shares(runs, asked, s).mean() for s in SOURCES]
            print(f"{asked:13s} {kind:6s}{n:4d}", end=" ")
            print(*(f"{x:11.3f}" for x in means))


EARLY = read_runs("pair_few_first.json")
table(EARLY)


# %%
def bars(facts: Facts, asked: str) -> dict[str, dict[str, float]]:
    """The sources of one kind of question, for each model."""
    return {
        f"{kind} {seed}": runs[seed][asked]
        for kind, runs in facts.items()
        for seed in sorted(runs)
    }


# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Four panels of bars, one for each kind of question, with a bar for each of four plain models, cut by the sources of the answers. Single: all right. Several: three quarters or more are wrongly not stated, the rest right or from another document. Unanswerable: two thirds or more right, the rest from another document. List: mostly from nowhere or from another document, one in seven right."}}
show_shares({asked: bars(EARLY, asked) for asked in SHORT})
plt.show()

# %% [markdown]
# Look at one panel alone, and these models are fine. Over one document nearly
# all is right. (There it is enough to find the sentence about the attribute.
# Which country it is about need not be read.) Over several documents fewer
# than one answer in ten comes from another document. Of the unanswerable
# questions they rightly refuse nearly three in four.
#
# Look at all panels, and they are "says nothing" with a little of "takes any
# value". The number that shows it: of the answers *that state something*, how
# many are right?


# %%
def dared(runs: dict[int, dict]) -> tuple[np.ndarray, np.ndarray]:
    """Share of questions over several documents answered, and right."""
    answered = 1 - shares(runs, "several", "not stated")
    return answered, shares(runs, "several", "right") / answered


guess = np.mean([1 / len(stated(scene)) for scene in draw("several", 300)])
print(f"takes any value: 1.00 answered, {guess:.2f} of these right")
for seed, x, y in zip(range(4), *dared(EARLY["plain"]), strict=True):
    print(f"plain, seed {seed}:   {x:.2f} answered, {y:.2f} of these right")

# %% [markdown]
# Hardly better than taking any value. They give few wrong answers because they
# give few answers. A table of hallucinations would have praised them.
#
# ## The recorded pair
#
# A later run has both kinds: four plain and four differential models, with the
# same seeds 0 to 3, asked the same questions. Only the needles of its mixture
# are made in another way. Predict first: which of the five sources will be the
# rarest?

# %%
RECORD = "pair_64_rows.json"
FACTS = read_runs(RECORD)
made = json.loads(course.results(RECORD).read_text())["provenance"]
print("recorded", made["date"], "on", made["device"])
table(FACTS)

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "The same four panels for the pair: a bar for each of four plain and four differential models, cut by the sources of the answers. Single: nearly all right. Several: mostly wrongly not stated, but a third right for differential model 1 and more than half for differential model 3. Unanswerable: mostly right, the rest from another document. List: mostly from another document or from nowhere."}}
show_shares({asked: bars(FACTS, asked) for asked in SHORT})
plt.show()

# %%
for kind, runs in FACTS.items():
    for seed, x, y in zip(sorted(runs), *dared(runs), strict=True):
        print(f"{kind:6s} seed {seed}: {x:.2f} answered,", end=" ")
        print(f"{y:.2f} of these right")

# %% [markdown]
# Two differential models, seeds 1 and 3, answer many questions and are right
# far more often than a guess. The other two, and all plain ones, are not
# clearly better than "takes any value". (At the needles, none of the eight
# looks keys up. Two of them have learned to read these sentences all the
# same.) But four against four is a lottery, as in chapter 19: if two of eight
# models learn and the kind plays no part, both are of the same kind in three
# of seven cases.
#
# *Memory* is the rarest source. That tells us about these models, and nothing
# about faithfulness: small models of a small mixture know hardly any facts
# about the world that they could prefer to a document. Ask them:

# %% tags=["nbval-ignore-output"]
known = [(c, a) for c in TABLE for a in ("capital", "language", "currency")]
known = known[:QUESTIONS]
for kind in MODELS:
    right = 0
    for country, attribute in known:
        said = ask(kind, f"The {attribute} of {country.name} is")
        right += said.startswith(country.facts[attribute])
    print(f"{kind:6s} knows {right} of {len(known)} real facts")

# %% [markdown]
# A large model remembers much, and the conflict of memory with a document is
# the heart of the problem. *That part of the paper's claim cannot be tested on
# this desk.* What can be tested is the other part: does the answer come from
# the right place *in the prompt*?
#
# ### The contrast that was fixed before
#
# Before the run, one number was chosen: the share of answers that come *from
# another document*, on questions over several documents, differential minus
# plain, paired by seed. The rule, as in chapter 18: *seen* if the 95 %
# interval lies below zero; *cannot be seen at this size* if its half-width is
# larger than the effect that the paper reports for such questions, 0.10
# (HotpotQA, [P, Table 4]); otherwise *not seen*. (The paper's number is a
# share of answers without hallucination, so it is only the nearest one to
# compare with.) Everything else is exploratory.

# %%
STUDENT = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 10: 2.262}
STUDENT |= {16: 2.131, 30: 2.045, 60: 2.001, 120: 1.980}  # 95 %, n values
HOTPOT = 0.10  # the paper's effect on questions over several documents


def paired(asked: str, source: str) -> tuple[float, float]:
    """Mean difference of a share, diff minus plain, and its half-width."""
    diff, plain = (shares(FACTS[k], asked, source) for k in ("diff", "plain"))
    gap, n = diff - plain, len(diff)
    return gap.mean(), STUDENT[n] * gap.std(ddof=1) / n**0.5


# %%
def verdict(mean: float, half: float, effect: float) -> str:
    """The verdict by the rule, for an effect that makes a share smaller."""
    if mean + half < 0:
        return "seen"
    return "cannot be seen at this size" if half > effect else "not seen"


mean, half = paired("several", "another document")
print(f"from another document, diff minus plain: {mean:+.3f}", end=" ")
print(f"+- {half:.3f}: {verdict(mean, half, HOTPOT)}")

# %% [markdown]
# Beside it, as the cold open demands, everything that could have moved this
# number without any better reading (exploratory):

# %%
for asked in ("several", "unanswerable"):
    for source in ("right", "another document", "not stated"):
        if (asked, source) != ("unanswerable", "not stated"):  # that is right
            mean, half = paired(asked, source)
            print(f"{asked:13s} {source:17s} {mean:+.3f} +- {half:.3f}")

# %%
gain = dared(FACTS["diff"])[1] - dared(FACTS["plain"])[1]
half = STUDENT[4] * gain.std(ddof=1) / 2
print(f"right, of those answered: {gain.mean():+.2f} +- {half:.2f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert verdict(*paired("several", "another document"), HOTPOT) == "not seen"
right = {kind: dared(runs)[1] for kind, runs in FACTS.items()}
assert ((right["diff"] > 0.7) == [False, True, False, True]).all()
assert max(right["plain"]) < 0.5 and abs(gain.mean()) < half
assert all(
    shares(FACTS[k], a, "memory").max() == 0 for k in FACTS for a in SHORT
)
early = EARLY["plain"]
assert shares(early, "several", "another document").mean() < 0.1
assert 0.7 < shares(early, "unanswerable", "right").mean() < 0.75
assert max(dared(early)[1]) < 0.5

# %% [markdown]
# By the rule the verdict is "not seen", and the half-width is smaller than the
# paper's effect. But look at what the number that was fixed before cannot see.
# The two models that have learned to read give many more right answers. They
# also answer more often, and so they do not give fewer wrong ones. The number
# counts wrong answers only, and a model that refuses has none. A metric that
# is chosen beforehand is honest. It need not be good. The share of right
# answers *among those given* would have been better. It is higher for the
# differential models here, with an interval that still contains zero. As it
# was chosen afterwards, it is a reason for a new experiment and not a result.
#
# The controls that say *what* caused a difference (wide heads, the norm, a
# second map that is added) belong to the pool: models of 15 million
# parameters, five seeds of each of the six kinds of chapter 19.

# %%
try:
    table(read_runs("pool.json"))
except FileNotFoundError:
    print("the pool was not run; on one large GPU, about an hour:")
    print("python book/recipes/pool.py main --device cuda ...")
    print("(the whole command stands in book/recipes/queue.md)")

# %% [markdown]
# ## At equal coverage
#
# Two models that refuse differently often cannot be compared by their wrong
# answers. But one can *make* them equally willing. Force each model to choose
# one of the values that the documents state for the attribute, and write down
# how sure it was. Then let it answer only the questions of which it is surest,
# few or many, as many for one model as for the other. The share of questions
# that it answers is its *coverage*, the share of wrong ones among these its
# *risk*.
#
# One pass over a prompt gives all that this needs: the logits of the answer's
# first token, and, for later, the share of attention on each document.


# %%
class Reading(NamedTuple):
    """What one model made of one scene."""

    text: str  # its answer
    sure: np.ndarray  # probability of each first token, (V,)
    looks: np.ndarray  # share of attention on each document, (heads, docs)


def on_documents(maps: object, ends: np.ndarray) -> np.ndarray:
    """The last query's share of absolute weight on each document."""
    A = getattr(maps, "A", maps)[0, :, -1].abs().numpy()  # (heads, S)
    share = A / A.sum(-1, keepdims=True)
    parts = np.split(share, ends, axis=1)[:-1]  # without the question
    return np.stack([part.sum(-1) for part in parts], axis=1)


# %%
@torch.no_grad()
def read(kind: str, documents: list[Document], question: Question) -> Reading:
    """Read a prompt once, then answer from the cache."""
    model = MODELS[kind]
    ends = np.cumsum([len(TOKENIZER.encode(written([d]))) for d in documents])
    ids = torch.tensor([TOKENIZER.encode(written(documents, question))])
    cache = model.new_cache(1, ids.shape[1] + MOST)
    look = partial(on_documents, ends=ends)
    logits, looks = read_prompt(model, ids, cache, look)
    sure, said = logits[0].softmax(-1).numpy(), []
    for _ in range(MOST):
        said.append(int(logits.argmax()))
        logits = model(torch.tensor([said[-1:]]), cache=cache)[:, -1]
    text = TOKENIZER.decode(said).partition(".")[0].strip()
    return Reading(text, sure, np.concatenate(looks))


# %% tags=["nbval-ignore-output"]
SCENES = ANSWERABLE + UNANSWERABLE
READINGS = {kind: [read(kind, *scene) for scene in SCENES] for kind in MODELS}
for kind, readings in READINGS.items():
    texts = [reading.text for reading in readings]
    found = sources_of(ANSWERABLE, texts[:QUESTIONS])
    print(f"{kind:6s} answerable  ", dict(found))
    found = sources_of(UNANSWERABLE, texts[QUESTIONS:])
    print(f"{kind:6s} unanswerable", dict(found))

# %% [markdown]
# ### Exercise 22.2: risk and coverage
#
# *Medium, 8 minutes.*


# %% tags=["stub:22.2"]
def risk_coverage(
    confidence: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return coverage and risk when only the surest k questions are answered.

    confidence (n,): how sure the model is of each answer, all different.
    right (n,): True where its answer is right. Entry k - 1 of the results,
    for k from 1 to n, belongs to answering the k questions of the highest
    confidence and no others: coverage is their share of all n questions,
    risk is the share of wrong answers among these k.
    """
    # your code


# %% tags=["check:22.2"]
check.ex22_2(risk_coverage)

# %%
risk_coverage = check.mine("22.2")


def forced(scene: Scene, reading: Reading) -> tuple[float, bool]:
    """Confidence in the surest stated value, and whether it is right."""
    first = [TOKENIZER.encode(f" {value}")[0] for value in stated(scene)]
    chosen = stated(scene)[int(reading.sure[first].argmax())]
    return reading.sure[first].max(), chosen == scene[1].answer


def curve(readings: list[Reading]) -> tuple[np.ndarray, np.ndarray]:
    pairs = [forced(*x) for x in zip(SCENES, readings, strict=True)]
    confidence, right = map(np.array, zip(*pairs, strict=True))
    return risk_coverage(confidence, right)


# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Risk against coverage, a line with dots for the plain and one for the differential model, from the surest answer on the left to all questions on the right. A dotted line shows a model that reads perfectly: no risk up to a coverage of one half, then rising to one half. A dashed line shows one that takes any stated value."}}
figure, axis = plt.subplots(figsize=(6, 3.4))
n = len(SCENES)
k = np.arange(1, n + 1)
for (kind, readings), ls in zip(READINGS.items(), ("-", "-."), strict=True):
    axis.plot(*curve(readings), ls=ls, marker="o", ms=3, label=kind)
best = np.maximum(k - n / 2, 0) / k
axis.plot(k / n, best, ls=":", color="0.4", label="reads perfectly")
blind = 1 - np.mean([1 / len(stated(s)) for s in ANSWERABLE]) / 2
axis.axhline(blind, color="0.4", ls="--", label="takes any value")
axis.set(
    xlabel="coverage: share answered", ylabel="risk: share wrong of these"
)
axis.set(xlim=(0, 1.02), ylim=(-0.03, 1.03))
figure.legend(loc="outside right")
plt.show()

# %% [markdown]
# A curve is one model at *every* willingness. The cold open's system C is its
# left end, where nothing is answered and nothing is wrong. Of two models, the
# one whose curve lies lower at the same coverage is the more faithful. A model
# that knows when it does not know has a curve that begins low and rises; one
# whose confidence means nothing has a flat one. A curve that begins high and
# falls belongs to a model that is surest where it is wrong.
#
# So few questions of one model a kind draw a rough curve, and no verdict about
# kinds.
#
# ## Search, then read
#
# A search engine that answers questions has two steps. It finds documents, and
# a model reads them. Either can fail. What does the reader do when search
# brings too much, or the wrong thing?
#
# - *right alone*: search brought the one document about the country;
# - *right of four*: it brought three more (the readings that we have);
# - *sentence deleted*: the four, but the sentence with the answer is gone;
# - *wrong alone*: it brought one document, about another country.
#
# In the last two "not stated" is right. They are the control of this chapter:
# take away what the answer was read from. A model that still gives the same
# answer did not read it there. (The control needs a model that answers. One
# that refuses every question over four documents passes it, as system C does.)


# %%
def without(document: Document, attribute: str) -> Document:
    """The document without one of its facts."""
    rest = {a: v for a, v in document.facts.items() if a != attribute}
    return Document(document.country, rest)


# %%
def searched(scene: Scene) -> dict[str, Scene]:
    """The same question over what a search may have brought."""
    documents, q = scene
    own = [d for d in documents if d.country == q.country]
    wrong = [d for d in documents if d.country != q.country]
    wrong = [d for d in wrong if q.attribute in d.facts][:1]
    cut = [without(d, q.attribute) if d in own else d for d in documents]
    refused = q._replace(said=[" not stated"])
    cases = {"right alone": (own, q), "right of four": scene}
    cases |= {"sentence deleted": (cut, refused)}
    return cases | {"wrong alone": (wrong, refused)}


# %% tags=["nbval-ignore-output"]
BROUGHT: dict = {}  # (what search brought, kind) -> answers and scenes
for i, scene in enumerate(ANSWERABLE):
    for name, case in searched(scene).items():
        for kind in MODELS:
            text = READINGS[kind][i].text
            if name != "right of four":
                text = ask(kind, written(*case))
            BROUGHT.setdefault((name, kind), []).append((case, text))

# %% tags=["nbval-ignore-output", "hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Eight horizontal bars: for right alone, right of four, sentence deleted and wrong alone, one bar for the plain and one for the differential model, each cut into the shares of answers that are right, from another document, from memory, wrongly not stated and from nowhere."}}
parts = {}
for (name, kind), some in BROUGHT.items():
    found = sources_of(*map(list, zip(*some, strict=True)))
    shares_of = {source: found[source] / len(some) for source in SOURCES}
    parts[f"{name}, {kind}"] = shares_of
show_shares({f"{len(some)} questions": parts})
plt.show()

# %% [markdown]
# "Right alone" against "right of four" is what a better search is worth to
# these readers. Read "sentence deleted" beside "right of four": it counts for
# reading only as far as the model was right with the sentence in place. A
# model may refuse with the sentence in place, and state a value once it is
# gone. Then its refusals do not come from reading. "Wrong alone" is the case
# that makes people distrust such systems: does the model notice that the
# document is about another country? It was never trained on that. In the fact
# book, a question over one document always has its answer there, so a model
# that takes whatever the one document says about the attribute was never
# punished for it. One should not expect a model to be faithful in a case that
# its training did not have.
#
# ### Two documents of your own
#
# Change the documents and the question, and run the cell. Keep to the form of
# the sentences, which is all that these models know, and use any names and
# values.

# %% tags=["nbval-ignore-output"]
MINE = [
    Document("Japan", {"capital": "Oslo", "main crop": "coffee"}),
    Document("Kenya", {"capital": "Vienna", "currency": "yen"}),
]
COUNTRY, ATTRIBUTE = "Kenya", "capital"

values = [d.facts[ATTRIBUTE] for d in MINE if ATTRIBUTE in d.facts]
own = {d.country: d.facts for d in MINE}.get(COUNTRY, {})
right = own.get(ATTRIBUTE, "not stated")
others = tuple(v for v in values if v != right)
fact = {c.name: c.facts for c in TABLE}.get(COUNTRY, {}).get(ATTRIBUTE)
mine = Question("several", COUNTRY, ATTRIBUTE, [f" {right}"], others, fact)

# %% tags=["nbval-ignore-output"]
print(written(MINE, mine))
for kind in MODELS:
    reading = read(kind, MINE, mine)
    source = answer_source(reading.text, right, list(others), fact)
    print(f"{kind:6s} {reading.text!r}: {source}")
    head = reading.looks.sum(1).argmax()
    print("  the head that looks at documents most gives", end=" ")
    print(*(f"{x:.0%}" for x in reading.looks[head]), "to each")

# %% [markdown]
# Things to try: ask for an attribute that only the other document states; give
# both documents the same country; write Nairobi, which is true.
#
# ## Does attention tell which document was read?
#
# If an answer was read, the head that reads should look at the right document.
# Which of the heads is that? Picking the best one *after* looking is cheating:
# among so many, one looks at the right document by chance. So choose it on the
# first half of the questions, and measure on the second.


# %%
def on_right(scene: Scene, reading: Reading) -> np.ndarray:
    """Each head's share on the right document, of all on documents."""
    place = [d.country for d in scene[0]].index(scene[1].country)
    return reading.looks[:, place] / reading.looks.sum(1)


# %% tags=["nbval-ignore-output"]
HALF = QUESTIONS // 2
LOOKS: dict[str, np.ndarray] = {}
for kind, readings in READINGS.items():
    pairs = zip(ANSWERABLE, readings, strict=False)
    looks = np.array([on_right(*pair) for pair in pairs])  # (Q, heads)
    head = looks[:HALF].mean(0).argmax()
    LOOKS[kind] = looks[HALF:, head]
    print(f"{kind:6s} head {head} of {looks.shape[1]}:", end=" ")
    print(f"{looks[:HALF, head].mean():.2f} where it was chosen,", end=" ")
    print(f"{LOOKS[kind].mean():.2f} on the other half; chance 0.25")

# %% tags=["nbval-ignore-output", "hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Dots in two rows, plain and differential: the chosen head's share of attention on the right document, for each question of the second half, filled where the answer was right and hollow where it was wrong. A dotted line at one quarter marks chance."}}
figure, axis = plt.subplots(figsize=(6.5, 1.9))
for y, (kind, looks) in enumerate(LOOKS.items()):
    texts = [reading.text for reading in READINGS[kind][HALF:QUESTIONS]]
    asked = [q.answer for _, q in ANSWERABLE[HALF:]]
    right = np.array(texts) == np.array(asked)
    style = {"edgecolors": f"C{y}", "s": 40}
    face = np.where(right, f"C{y}", "white")
    axis.scatter(looks, np.full(len(looks), -y), facecolors=face, **style)
axis.axvline(0.25, color="0.4", ls=":")
axis.set_yticks([0, -1], list(LOOKS))
axis.set(xlim=(0, 1), ylim=(-1.6, 0.6))
axis.set(xlabel="chosen head's share on the right document")
plt.show()

# %% [markdown]
# (Filled: the answer was right.) Where no answer is right, the picture cannot
# tell whether a look at the right document helps. And chapter 19 has warned
# us: a share of attention describes a map, and a model can look a fact up
# without resting its weight on it. For a model that answers, the deleted
# sentence is the stronger test, because it changes the text and not only looks
# at it.
#
# ## A summary, statement by statement
#
# "What is said of Chad?" asks for everything that a document states: a summary
# whose every statement a program can check. The record counts an answer as
# right only if the whole list is, and four facts are four chances to slip. So
# cut it into statements.
#
# ### Exercise 22.3: judge a summary
#
# *Medium, 10 minutes.* A summary can be faithful by being short. So count what
# it leaves out as well.


# %% tags=["stub:22.3"]
def judge_summary(
    text: str, documents: list[dict[str, str]], about: int
) -> tuple[int, int, int, int]:
    """Count the statements of a summary by where they come from.

    text: statements such as "capital Oslo, main crop tea", an attribute and
    a value each, joined by ", ". documents: their values by attribute; the
    summary is about documents[about]. Return how many different statements
    the summary makes that are in this document; that are not, but are in
    another one; that are in none; and how many facts of this document it
    leaves out. A statement said twice counts once, and order is free.
    """
    # your code


# %% tags=["check:22.3"]
check.ex22_3(judge_summary)

# %%
judge_summary = check.mine("22.3")

# %% tags=["nbval-ignore-output"]
SUMMARIES = draw("list", max(2, QUESTIONS // 3))
for kind in MODELS:
    total = np.zeros(4, int)
    for documents, q in SUMMARIES:
        text = ask(kind, written(documents, q), most=48)
        about = [d.country for d in documents].index(q.country)
        facts = [d.facts for d in documents]
        total += judge_summary(text, facts, about)
    here, there, nowhere, left = total
    print(f"{kind:6s} {here + there + nowhere} statements:", end=" ")
    print(f"{here} of this document, {there} of another one,", end=" ")
    print(f"{nowhere} of none; {left} facts left out")

# %% [markdown]
# The second number is the hallucination that a reader of search results fears:
# a statement that stands in a document, but about something else.
#
# ## How large, and how many seeds?
#
# The half-width that the pair's record gave was what *four* pairs can see. Two
# things widen it. A share of few questions is uncertain, and two trainings of
# a kind differ. The first can be cured by asking more; the second only by
# training more.
#
# ### Exercise 22.4: how many pairs does an effect need?
#
# *Hard, 15 minutes.*


# %% tags=["stub:22.4"]
def seeds_needed(
    effect: float,
    seed_sd: float,
    p: float,
    questions: int,
    t: dict[int, float],
) -> int:
    """Return how many pairs of trainings it takes to see an effect.

    Both models of a pair answer this many questions, each right with a
    probability near p, independently, so the difference of their shares has
    a variance of 2 p (1 - p) / questions from the questions alone. On top of
    this, pairs differ with the standard deviation seed_sd. t: Student's
    factor for each number n of pairs, in increasing order of n. The mean of
    n pairs has the half-width t[n] times its standard error. Return the
    first n of t whose half-width is below effect, or 0 if there is none.
    """
    # your code


# %% tags=["check:22.4"]
check.ex22_4(seeds_needed)

# %% [markdown]
# Now the numbers. How many pairs would see effects of the paper's size? And
# how much do our own pairs differ?

# %%
seeds_needed = check.mine("22.4")
EFFECTS = (0.07, 0.10, 0.19)  # the paper's smallest, HotpotQA, largest
in_record = EARLY["plain"][0]["several"]["questions"]
print("pairs needed, for effects of", *EFFECTS)
for seed_sd in (0.02, 0.05, 0.10, 0.20):
    for questions in (in_record, 2000):
        needed = [
            seeds_needed(e, seed_sd, 0.5, questions, STUDENT) for e in EFFECTS
        ]
        print(
            f"pairs differ by {seed_sd:.2f}, {questions:4d} questions:", needed
        )

# %%
for source in ("right", "another document", "not stated"):
    mean, half = paired("several", source)
    spread = half / STUDENT[4] * 4**0.5
    print(f"{source:17s} differences of pairs: SD {spread:.2f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "The half-width of a 95 percent interval against the number of pairs, from 3 to 120, both axes logarithmic: three falling lines, for pairs that differ by 0.05, 0.10 and 0.20. A band marks effects of the paper's size, 0.07 to 0.19. With pairs that differ by 0.05 the line enters the band at 4 pairs and leaves it before 8; with 0.20 it enters at 8 and leaves near 40."}}
figure, axis = plt.subplots(figsize=(6, 3.4))
n = np.array(list(STUDENT))
t = np.array(list(STUDENT.values()))
for seed_sd in (0.05, 0.10, 0.20):
    error = np.sqrt((seed_sd**2 + 0.5 / in_record) / n)
    axis.plot(n, t * error, marker="o", ms=3, label=f"{seed_sd:.2f}")
axis.axhspan(EFFECTS[0], EFFECTS[-1], color="0.85", zorder=0)
axis.set(xscale="log", yscale="log", xlabel="pairs of trainings")
axis.set_xticks([3, 5, 10, 30, 100], ["3", "5", "10", "30", "100"])
axis.set_yticks([0.05, 0.1, 0.2, 0.5, 1], ["0.05", "0.1", "0.2", "0.5", "1"])
axis.minorticks_off()
axis.set_ylabel("smallest effect that is seen")
axis.legend(title="pairs differ by")
plt.show()

# %% [markdown]
# (Shaded: effects of the paper's size. $p$ is one half, the worst case.) The
# share of right answers differs most between our pairs, since some models have
# learned to read and some have not. (The spreads that the record gives include
# the uncertainty of its questions.) For a spread like that, an effect of 0.10
# takes about thirty pairs, and four pairs see only effects larger than any in
# the paper's table. More questions would not help.
#
# This says nothing against the paper. Its models are long past the point where
# some have learned to read and some have not, so two trainings of a kind may
# differ by little. But from one pair nobody can know.
#
# ## What this desk can and cannot say
#
# - It *can* say where answers come from, without a model as a judge, and over
#   several trainings.
# - It *cannot* test the pull of memory, because these models remember next to
#   nothing.
# - Its text is templated. Whether a model reads prose faithfully, with all
#   that prose leaves unsaid, is another question.
# - Its models have at most eight differential heads in a layer of width 256;
#   claims about the paper are for larger ones.
#
# ## The package agrees

# %%
book = FactBook(TABLE, TOKENIZER, length=512).sample(0, 2, "valid")
for row, start, stop, question in book.questions:
    said = TOKENIZER.decode(book.inputs[row, start:stop].tolist())
    tried = [question.answer, *question.others, question.memory, "not stated"]
    for text in (said, "nothing known", *filter(None, tried)):
        plain = text.strip().removesuffix(".")
        theirs = answers.answer_source(question, plain)
        q = question
        assert theirs == answer_source(text, q.answer, q.others, q.memory)
print("the sources are what the recipe of the record counts")

# %% [markdown]
# ## Common mistakes
#
# - **One number.** Fewer made-up answers may be fewer answers. Put the share
#   of refusals beside it, or compare at equal coverage.
# - **A scorer that was never tested.** Let it judge answerers that you know:
#   one that reads, one that guesses, one that says nothing.
# - **True documents.** If memory and document agree, an answer does not tell
#   which was used.
# - **A part for the whole.** Words that occur in an answer are not the answer.
# - **Many questions for many trainings.** Questions measure a model. Only
#   seeds measure a kind.
#
# ## Summary
#
# - A counterfactual document and values that no two documents share make the
#   source of an answer readable: right, another document, memory, nowhere.
# - The system with the fewest hallucinations says nothing. Coverage belongs
#   beside risk.
# - Of the paper's six differences one is clear of zero by itself and so is
#   their mean, for one training of each kind.
# - For a model that answers, deleting the sentence that an answer should have
#   come from tests reading better than a share of attention does.
# - Where trainings differ as much as ours, their spread, and not the number of
#   questions, decides how small an effect a desk can see.
#
# Ask how often it answers, then how often it is wrong.
#
# ## Further reading
#
# - Ye et al., *Differential Transformer*, arXiv 2410.05258: Table 4, and how
#   the judge was asked. [P]
# - Kalai et al., *Why Language Models Hallucinate*, arXiv 2509.04664: why a
#   score that gives nothing for "I do not know" rewards guessing.
# - El-Yaniv and Wiener, *On the Foundations of Noise-free Selective
#   Classification*, JMLR 2010: risk and coverage.
# - Min et al., *FActScore*, arXiv 2305.14251: a text cut into statements, each
#   checked.
# - Longpre et al., *Entity-Based Knowledge Conflicts in Question Answering*,
#   arXiv 2109.05052: counterfactual documents against memory in large models.
# - Liu et al., *Lost in the Middle*, arXiv 2307.03172: where in a long prompt
#   the right document stands, and what that changes.
