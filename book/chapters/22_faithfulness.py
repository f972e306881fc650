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
# nowhere. You will have shown with it that a nearly perfect score can be had
# without reading whom a question is about, and computed how many trainings it
# takes to see an effect of the paper's size.
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
# | looking keys up, the needle task | what the models can do | 19 |
# | variance of a share | how many questions | school |

# %%
import json
from collections import Counter
from collections.abc import Callable
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import torch

from minidiff import check, course, load, plots
from minidiff.check import hint, solution  # noqa: F401

# %%
from minidiff.course.answer_diagrams import SOURCES, show_shares, show_sources
from minidiff.data import BPETokenizer, FactBook, small_table
from minidiff.data.fact_scenes import Document, Question, Scenes
from minidiff.evaluation import answers

PAIR = {"plain": "pair_softmax", "diff": "pair_diff"}  # in book/weights
RECORD = "pair.json"  # eight seeds of both kinds, in book/results
plots.use_style()
torch.set_num_threads(1)

# %% [markdown]
# This chapter asks the two small models that came with the course. The next
# number says how many questions of a kind they get.

# %% tags=["parameters"] quick={"QUESTIONS": 2}
QUESTIONS = 10

# %% [markdown]
# ## A cold open: what grows on the Moon
#
# Here is a document that we made up. Both shipped models, the plain and the
# differential one, read it and answer questions about it. Make up one yourself:
# put in names and values that you like, and run the cells again. (Keep the
# attributes to those of the course's documents: capital, currency, language,
# main crop, main resource, religion, national symbol, highest point.)

# %%
TOKENIZER = BPETokenizer.load(course.weights("pair_tokenizer.json"))
MODELS = {
    kind: load(course.weights(f"{name}.safetensors"))
    for kind, name in PAIR.items()
}


def written(
    documents: list[Document], question: Question | None = None
) -> str:
    """The text that a model reads, up to where its answer begins."""
    pieces = [piece for document in documents for piece in document.pieces()]
    return "".join([*pieces, *(question.pieces() if question else [])])


# %%
@torch.no_grad()
def ask(kind: str, prompt: str, most: int = 9) -> tuple[str, np.ndarray]:
    """The most likely answer, and the probabilities of its first token."""
    model, said = MODELS[kind], []
    ids, sure = TOKENIZER.encode(prompt), None
    cache = model.new_cache(1, len(ids) + most)
    while len(said) < most and "." not in TOKENIZER.decode(said):
        logits = model(torch.tensor([ids]), cache=cache)[0, -1]
        sure = logits.softmax(-1).numpy() if sure is None else sure
        ids = [int(logits.argmax())]
        said += ids
    return TOKENIZER.decode(said).partition(".")[0].strip(), sure


# %% tags=["nbval-ignore-output"]
MOON = Document(
    "the Moon",
    {"main crop": "cheese", "capital": "Houston", "language": "silence"},
)


def question(country: str, attribute: str) -> Question:
    return Question("single", country, attribute, [], (), None)


print(written([MOON], question("the Moon", "main crop")))
for kind in MODELS:
    for attribute in MOON.facts:
        prompt = written([MOON], question("the Moon", attribute))
        print(f"{kind:6s} {attribute:9s}: {ask(kind, prompt)[0]}")

# %% [markdown]
# They read it. So ask the same document something that it does not say: what is
# the main crop of *the Sun*? Write down what a faithful model answers, and what
# you expect.

# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
for kind in MODELS:
    prompt = written([MOON], question("the Sun", "main crop"))
    print(f"{kind:6s} main crop of the Sun: {ask(kind, prompt)[0]}")

# %% [markdown]
# Was that an accident of the Moon? Here are documents about countries, one at a
# time. Each is asked one question twice: about its own country, and about
# another one, which it does not mention.

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


# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
SINGLE = draw("single", QUESTIONS)
for kind in MODELS:
    right = same = 0
    for i, (documents, q) in enumerate(SINGLE):
        text, _ = ask(kind, written(documents, q))
        other = SINGLE[i - 1][1].country
        swapped = written(documents, q._replace(country=other))
        right += text == q.answer
        same += text == ask(kind, swapped)[0]
    print(f"{kind:6s} {right} of {QUESTIONS} right;", end=" ")
    print(f"{same} answers stay when the country is another")

# %% [markdown]
# A nearly perfect score, and nearly the same answers to questions that have no
# answer. These models find the sentence about the *attribute*, and over one
# document that is enough. Whom the question is about need not be read.
#
# So "is usually right" says little about reading before one knows what a model
# does when the answer is *not* there. This chapter asks both, over one
# document and over several. It needs a scorer that knows where an answer came
# from.
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

# %% tags=["hide-input"] jupyter={"source_hidden": true}
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
# Let the scorer first judge *answerers* whose behaviour you know. Four of
# them, and no model:

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
for kind in ("single", "several", "unanswerable"):
    scenes = draw(kind, 300)
    for name, answerer in ANSWERERS.items():
        found = sources_of(scenes, [answerer(scene) for scene in scenes])
        shares = [found[s] / len(scenes) for s in SOURCES]
        print(f"{kind:13s} {name:17s}", *(f"{x:11.2f}" for x in shares))

# %% [markdown]
# The scorer tells them apart. Look at the two that do not read:
#
# - "Takes any value" finds the documents that state the attribute and does not
#   notice which country they are about. Over one document it is always right.
#   Over several it is the guess to beat: a model that is right more often has
#   connected a value with a country.
# - "Says nothing" is right on every unanswerable question, and it never makes
#   anything up. No system hallucinates less.
#
# Each has a perfect score in one of the three tests. And for a model that cannot
# connect, "says nothing" is the *best* it can do over four documents: where half
# of the questions have no answer, "not stated" is right in half of all cases,
# and any single value in fewer. Training rewards that.
#
# ## Sixteen models
#
# Now the record: eight plain and eight differential models, seeds 0 to 7, with
# the same rows in the same order for both models of a seed. They were trained
# on a mixture of text and tasks, with questions about the fact book among
# them, and were asked held-out questions of the four kinds. The models that
# you asked are seed 1. Predict first: which of the five sources will be the
# rarest?

# %% tags=["hide-input"] jupyter={"source_hidden": true}
SHORT = ("single", "several", "unanswerable", "list")
Runs = dict[str, dict[int, dict]]  # kind of model -> seed -> what was measured


def read_runs(name: str) -> Runs:
    """The runs of a record, by kind and seed."""
    found: Runs = {}
    for job in json.loads(course.results(name).read_text())["jobs"]:
        runs = {row["seed"]: row for row in job["rows"]}
        found.setdefault(job["job"]["kind"], {}).update(runs)
    return found


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def shares(runs: dict[int, dict], asked: str, source: str) -> np.ndarray:
    """The share of answers of one source, for every seed."""
    rows = (runs[seed]["facts"][asked] for seed in sorted(runs))
    return np.array([row.get(source, 0.0) for row in rows])


FACTS = read_runs(RECORD)
made = json.loads(course.results(RECORD).read_text())["provenance"]
print("recorded", made["date"], "on", made["device"])

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
print("means over eight seeds  ", *HEAD)
for asked in SHORT:
    for kind, runs in FACTS.items():
        n = runs[0]["facts"][asked]["questions"]
        means = [shares(runs, asked, s).mean() for s in SOURCES]
        print(f"{asked:13s} {kind:6s}{n:4d}", end=" ")
        print(*(f"{x:11.3f}" for x in means))

# %% tags=["hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true} mystnb={"image": {"alt": "Four panels of bars, one for each kind of question, with a bar for each of eight plain and eight differential models, cut by the sources of the answers. Single: nearly all right in every model. Several: mostly wrongly not stated, in every plain model and most differential ones; differential models 3, 6 and 7 answer a third to a half, partly right and partly from another document. Unanswerable: half to nine tenths right, the rest from another document. List: nearly all from nowhere."}}
bars = {
    asked: {
        f"{kind} {seed}": FACTS[kind][seed]["facts"][asked]
        for kind in FACTS
        for seed in sorted(FACTS[kind])
    }
    for asked in SHORT
}
show_shares(bars)
plt.show()

# %% [markdown]
# (In the table, the first number is how many questions.) Look at one panel
# alone, and these models are fine. Over one document nearly all is right. Over
# several, few answers come from another document. Of the unanswerable
# questions they rightly refuse about three in four.
#
# Look at all panels, and they are "takes any value" over one document and
# mostly "says nothing" over four. Two numbers show it: how many questions over
# several documents are answered at all, and how many of these answers are right.


# %%
def dared(runs: dict[int, dict]) -> tuple[np.ndarray, np.ndarray]:
    """Answers given over several documents, and the share that is right."""
    n = runs[0]["facts"]["several"]["questions"]
    answered = 1 - shares(runs, "several", "not stated")
    right = shares(runs, "several", "right") / answered
    return (n * answered).round().astype(int), right


guess = np.mean([1 / len(stated(scene)) for scene in draw("several", 300)])
print(f"takes any value: answers all, {guess:.2f} of these right")
for kind, runs in FACTS.items():
    given, right = dared(runs)
    print(f"{kind:6s} answers given ", *(f"{x:4d}" for x in given))
    print(f"{kind:6s} of these right", *(f"{x:.2f}" for x in right))

# %% [markdown]
# The differential models are bolder: three of them answer 51 to 65 of these 135
# questions, no plain one more than 22. Of what the sixteen models answer, 0.30
# to 0.86 is right; taking any value gives 0.39 on average (0.43 above was one
# draw). Few answers make rough shares: 0.86 is six of seven.
#
# *Memory* is the rarest source: not one answer came from there. That tells us
# about these models, and nothing about faithfulness: small models of a small
# mixture know hardly any facts about the world that they could prefer to a
# document. Ask them:

# %% tags=["nbval-ignore-output"]
known = [(c, a) for c in TABLE for a in ("capital", "language", "currency")]
known = known[:QUESTIONS]
for kind in MODELS:
    right = 0
    for country, attribute in known:
        said, _ = ask(kind, f"The {attribute} of {country.name} is")
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
# (HotpotQA, [P, Table 4]); otherwise *not seen*, and if the interval lies above
# zero, the *opposite sign* is said as well. (The paper's number is a share of
# answers without hallucination, so it is only the nearest one to compare with.)
# Everything else is exploratory. And the eight pairs are not the first look at
# this number: three earlier trainings of four pairs have it, and in each zero
# lies inside the interval.

# %%
STUDENT = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 10: 2.262}
STUDENT |= {16: 2.131, 30: 2.045, 60: 2.001, 120: 1.980}  # 95 %, n values
HOTPOT = 0.10  # the paper's effect on questions over several documents


def interval(gap: np.ndarray) -> tuple[float, float]:
    """The mean of paired differences, and its 95 % half-width."""
    n = len(gap)
    return gap.mean(), STUDENT[n] * gap.std(ddof=1) / n**0.5


def gap_of(asked: str, source: str) -> np.ndarray:
    """Differences of a share, diff minus plain, one for each seed."""
    diff, plain = (shares(FACTS[k], asked, source) for k in ("diff", "plain"))
    return diff - plain


# %%
def verdict(mean: float, half: float, effect: float) -> str:
    """The verdict by the rule, for an effect that makes a share smaller."""
    if mean + half < 0:
        return "seen"
    if mean - half > 0:
        return "not seen; the opposite sign"
    return "cannot be seen at this size" if half > effect else "not seen"


gap = gap_of("several", "another document")
mean, half = interval(gap)
print(f"from another document, diff minus plain: {mean:+.3f}", end=" ")
print(f"+- {half:.3f}, larger in {(gap > 0).sum()} of {len(gap)} seeds")
print("verdict:", verdict(mean, half, HOTPOT))

# %% [markdown]
# Beside it, everything that could have moved this number without any better or
# worse reading (exploratory):

# %%
for asked in ("several", "unanswerable"):
    for source in ("right", "another document", "not stated"):
        if (asked, source) != ("unanswerable", "not stated"):  # that is right
            mean, half = interval(gap_of(asked, source))
            print(f"{asked:13s} {source:17s} {mean:+.3f} +- {half:.3f}")
mean, half = interval(dared(FACTS["diff"])[1] - dared(FACTS["plain"])[1])
print(f"several       right, of those answered {mean:+.2f} +- {half:.2f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for name in ("pair_64_rows", "pair_12000_steps", "pair_dense_longer"):
    earlier = read_runs(f"{name}.json")
    more, less = (
        shares(earlier[kind], "several", "another document")
        for kind in ("diff", "plain")
    )
    middle, half = interval(more - less)
    assert len(more) == 4 and abs(middle) < half

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert verdict(*interval(gap), HOTPOT) == "not seen; the opposite sign"
assert (gap > 0).sum() == 7 and (gap >= 0).all()
gap = dared(FACTS["diff"])[1] - dared(FACTS["plain"])[1]
assert (gap > 0).sum() == 3 and abs(gap.mean()) < interval(gap)[1] / 5
mean, half = interval(gap_of("several", "not stated"))
assert mean + half < 0 < interval(gap_of("several", "right"))[0]
given = {kind: dared(runs)[0] for kind, runs in FACTS.items()}
assert sorted(given["diff"])[-3:] == [51, 52, 65] and max(given["plain"]) == 22

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for kind, asked in product(FACTS, SHORT):
    assert shares(FACTS[kind], asked, "memory").max() == 0
    assert shares(FACTS[kind], "single", "right").min() > 0.95
    assert shares(FACTS[kind], "several", "another document").mean() < 0.1
    assert 0.7 < shares(FACTS[kind], "unanswerable", "right").mean() < 0.77
    assert shares(FACTS[kind], "list", "right").max() < 0.03

# %% [markdown]
# By the rule the verdict is "not seen", and the sign is the opposite one: the
# differential models take *more* answers from another document. The other
# lines say where this comes from. They refuse less often, and so they give
# more answers from the wrong document and perhaps more right ones (this
# interval contains 0). Of the answers *given*, eight pairs show no difference
# in the share that is right, but an effect of the paper's 0.10 could hide in
# this interval. So the fixed number has measured how bold a model is: a model
# that refuses has no wrong answers. A metric that is chosen beforehand is
# honest. It need not be good.
#
# The share of right answers among those given would have been better. An
# earlier record has it as well: four pairs that were trained longer, on the
# same mixture with its needles made in another way. There it seemed to favour
# the differential models. As it had been chosen after looking, it was a reason
# for a new experiment and not a result. Your sixteen models are the new
# experiment:

# %%
for name in ("pair_64_rows.json", RECORD):
    both = read_runs(name)
    (few, plain), (many, diff) = (dared(both[k]) for k in ("plain", "diff"))
    gap = diff - plain
    mean, half = interval(gap)
    print(f"{len(gap)} pairs: right, of those answered", end=" ")
    print(f"{mean:+.2f} +- {half:.2f}: {(gap > 0).sum()} in favour of diff")
    print("   answers given: plain", *few, "diff", *many)

# %% [markdown]
# Four of four pairs favoured diff, and of eight new ones three. The first
# interval contained zero, and rested on as few as ten answers of a model: it was
# no result.
#
# The controls that say *what* causes a difference (wide heads, the norm, a
# second map that is added) belong to a run of 15 million parameters with all
# six kinds of chapter 19. Of that run all but *first map* are done
# (`pool.json`), five seeds each. Here is what they answer to questions about
# several documents, seed by seed.

# %%
larger = json.loads(course.results("pool.json").read_text())["jobs"]
for job in larger:
    rows = sorted(job["rows"], key=lambda row: row["seed"])
    several = [row["facts"]["several"] for row in rows]
    print(f"{job['job']['kind']:12s}right           ", end="")
    print(*(f"{found['right']:5.2f}" for found in several))
    print(f"{'':12s}another document", end="")
    print(*(f"{found['another document']:5.2f}" for found in several))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
rows = [row for job in larger for row in job["rows"]]
assert len(rows) == 25 and min(r["needles"]["N=6 R=2"] for r in rows) > 0.9
right = sorted(row["facts"]["several"]["right"] for row in rows)
assert right[-3] < 0.155 and 0.5 < right[-2] < 0.6 and right[-1] > 0.75

# %% [markdown]
# *Another document* was fixed as the measure of these larger models. No difference
# is seen, neither from plain nor from sum (`book/evidence.md` has the intervals).
# The share that is right was looked at afterwards. One of the five models of diff
# answers half of the questions right, one of sum three quarters, and the other
# 23 at most 15 in a hundred: two lucky draws, which a mean over five seeds
# would have shown as a difference of kinds.
#
# ## Looking keys up is not reading
#
# Of your sixteen models, fourteen look needles up nearly without an error
# (chapter 19). A needle is a key and its value. A fact is a country, an
# attribute and a value. One might hope that a model that can do the first can
# do the second. Four earlier tries to make small models look keys up, with
# other curricula, batches and lengths, are recorded as well. Here are all
# models.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
TRIES = {
    RECORD: "the pair",
    "pair_few_first.json": "few needles first",
    "pair_64_rows.json": "64 rows a batch",
    "pair_12000_steps.json": "12,000 steps",
    "pair_dense_longer.json": "another curriculum",
}

# %% tags=["hide-input"] jupyter={"source_hidden": true}
ALL = {}  # what the models of a record can do
for name, label in TRIES.items():
    runs = [run for kind in read_runs(name).values() for run in kind.values()]
    read = [run["facts"]["several"].get("right", 0) for run in runs]
    found = [run["needles"]["N=6 R=2"] for run in runs]
    ALL[label] = np.array(found), np.array(read)
    config = json.loads(course.results(name).read_text())["jobs"][0]["job"]
    tokens = config["config"]["steps"] * config["config"]["batch_size"] * 512
    print(f"{label:19s} {len(runs):2d} models of {tokens / 1e6:.0f} M tokens")

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "The share right over several documents against the share of needles found, a point for each of 44 models of five records. All points lie on two vertical lines. At the guess, one in eight, they reach from 0 up to more than four fifths. At the right edge, where all needles are found, none is above one third."}}
figure, axis = plt.subplots(figsize=(6.5, 3.2))
looks = zip("osD^v", ("C0", "C1", "C2", "C3", "black"), strict=True)
for (label, xy), (marker, color) in zip(ALL.items(), looks, strict=True):
    style = {"marker": marker, "color": color, "s": 30, "alpha": 0.8}
    axis.scatter(*xy, **style, label=label)
axis.axvline(1 / 8, color="0.4", ls=":")
axis.set(xlim=(0, 1.05), ylim=(-0.03, 1))
axis.set(xlabel="share of needles found (dotted: a guess)")
axis.set_ylabel("right over several documents")
figure.legend(loc="outside right", fontsize=9)
plt.show()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
found, read = (np.concatenate(x) for x in zip(*ALL.values(), strict=True))
print(f"{len(found)} models: {(found > 0.9).sum()} find the needles,", end=" ")
print(f"{(read > 0.5).sum()} read the documents,", end=" ")
print(f"{((found > 0.9) & (read > 0.5)).sum()} do both")
assert not ((found > 0.9) & (read > 0.5)).any() and (read > 0.5).sum() == 4
assert (found > 0.9).sum() == 19 and len(found) == 44
assert (read > 1 / 3).sum() == 5
longer = (ALL[x][1] for x in ("64 rows a batch", "12,000 steps"))
assert sum((x > 0.5).sum() for x in longer) == 4
assert read[found > 0.9].max() < 1 / 3 and max(found[found < 0.9]) < 0.2

# %% [markdown]
# No model does both. The nineteen that find needles are right on less than a
# third of the questions over several documents. The four that are right on
# more than half of them find no needles. (These lines were drawn after looking.
# For needles it does not matter: no model lies between one fifth and nine
# tenths. With a line at one third five models read, and still none does both.)
#
# One skill does not exclude the other: of the 25 larger models above, all of
# which find the needles, two read as well. And all four that read here are from
# tries of three or four times as many tokens. But it does say that
# *finding needles, even without an error, is no sign of reading documents*. A
# needle is one token beside another. To read, a model must connect three things
# in a sentence.
#
# ## What makes them refuse?
#
# Back to the two shipped models. Over one document they answer, over four they
# mostly refuse. Is it the text that makes them refuse, or how much of it there
# is? A search engine that answers questions meets this every day: it brings one
# document or several, and a model reads them.
#
# So ask each question over one to four documents, and each one twice: as it is,
# and with one sentence *deleted*, the one that has the answer. That is the
# control of this chapter. It takes away what an answer should have been read
# from, and afterwards "not stated" is right. Sketch two lines before you run it,
# for a perfect reader: how often does it refuse, with the sentence there and
# with the sentence gone?


# %%
def deleted(scene: Scene) -> Scene:
    """The scene without the sentence that answers its question."""
    documents, q = scene
    cut = []
    for d in documents:
        rest = {a: v for a, v in d.facts.items() if a != q.attribute}
        own = d.country == q.country
        cut.append(Document(d.country, rest) if own else d)
    return cut, q._replace(said=[" not stated"])


# %%
COUNTS = (1, 2, 3, 4)  # documents; trained were one and four
SCENES: dict[tuple, list[Scene]] = {}
for count in COUNTS:
    some = draw("several", QUESTIONS, count) if count > 1 else SINGLE
    SCENES[count, "there"] = some
    SCENES[count, "gone"] = [deleted(scene) for scene in some]

# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
REPLIES = {
    (kind, *case): [ask(kind, written(*scene)) for scene in some]
    for case, some in SCENES.items()
    for kind in MODELS
}
for kind, count in product(MODELS, COUNTS):
    there, gone = (
        sources_of(
            SCENES[count, c], [text for text, _ in REPLIES[kind, count, c]]
        )
        for c in ("there", "gone")
    )
    print(f"{kind:6s} {count} documents, right: {there['right']}", end=" ")
    print(f"with the sentence, {gone['right']} without it;", end=" ")
    print(f"then {gone['another document']} from another document")

# %% tags=["nbval-ignore-output", "hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true} mystnb={"image": {"alt": "Two panels, plain and diff: the share of answers not stated against one to four documents, a line with the answering sentence in place and one with it deleted. In both panels both lines are lower for one and two documents than for four, where more than half is refused; at four documents the line with the sentence in place is the higher one."}}
figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.8), sharey=True)
for axis, kind in zip(axes, MODELS, strict=True):
    for case, style in (("there", "o-C0"), ("gone", "s--C1")):
        y = [
            np.mean(
                [text == "not stated" for text, _ in REPLIES[kind, n, case]]
            )
            for n in COUNTS
        ]
        axis.plot(COUNTS, y, style, label=f"sentence {case}")
    axis.set(title=kind, xlabel="documents", xticks=COUNTS, ylim=(-0.05, 1.05))
axes[0].set_ylabel('share of "not stated"')
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right")
plt.show()

# %% [markdown]
# A perfect reader has one line at 0 and the other at 1. When this page was
# made, the two lines of a model lay close together, and rose together. Over
# one or two documents both models mostly answered, also when the sentence was
# gone, and over two then with what the *other* document says. Over four they
# mostly refused, and rather more often with the sentence there than without
# it. **Their refusals say how many documents there are, and hardly what is in
# them.** (Ten questions draw rough lines. QUESTIONS = 60 takes a few minutes.)
#
# The training may explain it. In the fact book, a question over one document
# always has its answer there, and over four documents about half of the
# questions have none. So the number of documents is a clue to what pays, and a
# cheap one. Two or three documents it never has. One should not expect a model
# to be faithful in a case that its training did not have.
#
# ### Two documents of your own
#
# With two documents you can see them choose. Change documents and question, and
# run these cells (the second, folded away, finds what is right).

# %% tags=["nbval-ignore-output"]
MINE = [
    Document("Japan", {"capital": "Oslo", "main crop": "coffee"}),
    Document("Kenya", {"capital": "Vienna", "currency": "yen"}),
]
COUNTRY, ATTRIBUTE = "Kenya", "capital"

# %% tags=["nbval-ignore-output", "hide-input"] jupyter={"source_hidden": true}
values = [d.facts[ATTRIBUTE] for d in MINE if ATTRIBUTE in d.facts]
own = {d.country: d.facts for d in MINE}.get(COUNTRY, {})
right = own.get(ATTRIBUTE, "not stated")
others = tuple(v for v in values if v != right)
fact = {c.name: c.facts for c in TABLE}.get(COUNTRY, {}).get(ATTRIBUTE)
mine = Question("several", COUNTRY, ATTRIBUTE, [f" {right}"], others, fact)

# %% tags=["nbval-ignore-output"]
print(written(MINE, mine))
for kind in MODELS:
    text, _ = ask(kind, written(MINE, mine))
    source = answer_source(text, right, list(others), fact)
    print(f"{kind:6s} {text!r}: {source}")

# %% [markdown]
# Things to try: exchange the two documents; ask about Japan; ask for an
# attribute that only the other document states; write Nairobi, which is true;
# add a third document, and a fourth.
#
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


def forced(scene: Scene, sure: np.ndarray) -> tuple[float, bool]:
    """Confidence in the surest stated value, and whether it is right."""
    first = [TOKENIZER.encode(f" {value}")[0] for value in stated(scene)]
    chosen = stated(scene)[int(sure[first].argmax())]
    return sure[first].max(), chosen == scene[1].answer


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def choices(kind: str, *cases: tuple) -> tuple[np.ndarray, np.ndarray]:
    """How sure, and whether right, for each question of some cases."""
    scenes = [scene for case in cases for scene in SCENES[case]]
    replies = [reply for case in cases for reply in REPLIES[kind, *case]]
    pairs = zip(scenes, (sure for _, sure in replies), strict=True)
    confidence, right = zip(*(forced(*pair) for pair in pairs), strict=True)
    return np.array(confidence), np.array(right)


# %% tags=["nbval-ignore-output"]
for count in COUNTS[1:]:
    some = SCENES[count, "there"]
    blind = np.mean([1 / len(stated(scene)) for scene in some])
    print(f"{count} documents: takes any value {blind:.2f}", end="")
    for kind in MODELS:
        right = choices(kind, (count, "there"))[1].mean()
        print(f", {kind} {right:.2f}", end="")
    print(" right")

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Risk against coverage, a line with dots for the plain and one for the differential model, from the surest answer on the left to all questions on the right. Both begin at a risk of 1 and end somewhat below the dashed line of a model that takes any stated value. A dotted line shows a model that reads perfectly: no risk up to a coverage of one half, then rising to one half."}}
figure, axis = plt.subplots(figsize=(6, 3.4))
n = 2 * QUESTIONS  # over four documents, with the sentence and without
k = np.arange(1, n + 1)
for kind, ls in zip(MODELS, ("-", "-."), strict=True):
    curve = risk_coverage(*choices(kind, (4, "there"), (4, "gone")))
    axis.plot(*curve, ls=ls, marker="o", ms=3, label=kind)
best = np.maximum(k - n / 2, 0) / k
axis.plot(k / n, best, ls=":", color="0.4", label="reads perfectly")
axis.axhline(1 - blind / 2, color="0.4", ls="--", label="takes any value")
axis.set(xlabel="coverage: share answered", xlim=(0, 1.02))
axis.set(ylabel="risk: share wrong of these", ylim=(-0.03, 1.03))
figure.legend(loc="outside right")
plt.show()

# %% [markdown]
# First the table. When this page was made, both models, forced to choose, took
# the right value more often than a blind choice would. Over four documents
# alone, where by themselves they mostly refuse, ten questions are too few to
# be sure. They may read a little more than their answers show.
#
# Then the curves. A curve is one model at *every* willingness. "Says nothing"
# is its left end, where nothing is answered and nothing is wrong. Of two
# models, the one whose curve lies lower at the same coverage is the more
# faithful. A model that knows when it does not know has a curve that begins
# low and rises; one whose confidence means nothing has a flat one. A curve
# that begins high and falls, as these two roughly do, belongs to a model that
# is surest where it is wrong, perhaps because fewer values compete where a
# sentence is deleted. So few questions of one model a kind draw a rough curve,
# and no verdict about kinds.
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
        text, _ = ask(kind, written(documents, q), most=48)
        about = [d.country for d in documents].index(q.country)
        facts = [d.facts for d in documents]
        total += judge_summary(text, facts, about)
    here, there, nowhere, left = total
    print(f"{kind:6s} {here + there + nowhere} statements:", end=" ")
    print(f"{here} of this document, {there} of another one,", end=" ")
    print(f"{nowhere} of none; {left} facts left out")

# %% [markdown]
# The record counts almost every list as "nowhere", as if the models made
# everything up. Statement by statement it looks different: nearly all of what
# they say stands in some document. The second number is the hallucination that
# a reader of search results fears: a statement that stands in a document, but
# about something else.
#
# ## How large, and how many seeds?
#
# The half-width of the fixed contrast is what *eight* pairs can see. Two things
# widen it. A share of few questions is uncertain, and two trainings of a kind
# differ. The first can be cured by asking more; the second only by training
# more.
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
in_record = FACTS["plain"][0]["facts"]["several"]["questions"]
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
    spread = gap_of("several", source).std(ddof=1)
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
ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]
axis.set_yticks(ticks, [f"{x:g}" for x in ticks])
axis.minorticks_off()
axis.set(ylim=(0.01, 1), ylabel="smallest effect that is seen")
axis.legend(title="pairs differ by")
plt.show()

# %% [markdown]
# (Shaded: effects of the paper's size. $p$ is one half, the worst case. The
# spreads that the record gives include the uncertainty of its questions.)
# Between pairs the share of right answers differs with a standard deviation of
# 0.10, that of refusals with more. With a spread of 0.10 an effect of 0.10
# takes eight pairs and one of 0.07 takes sixteen, and more questions would not
# help. So our eight pairs are just enough to see an effect of the size of
# HotpotQA's, and four pairs saw only effects like the largest in the paper's
# table.
#
# This says nothing against the paper. Ours are models of which some have begun
# to read and most have not; two trainings of its size may differ by less. But
# from one pair nobody can know.
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
# - **Only questions that have an answer.** A model can be nearly perfect
#   without reading whom it is asked about. Delete the sentence, or ask about
#   somebody else.
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
# - A question over one document is answered without reading whom it is about.
#   And the system with the fewest hallucinations says nothing. Ask also what
#   is not there, and put coverage beside risk.
# - Of the paper's six differences one is clear of zero by itself and so is
#   their mean, for one training of each kind.
# - In eight pairs of ours, the differential models answer more often, and more
#   often wrongly. Of what they answer, the same share is right, as far as
#   these pairs tell.
# - The shipped models refuse by the number of documents: deleting the sentence
#   with the answer hardly changes how often.
# - Looking keys up does not make a model read: of 44 small models none does both,
#   and of 25 larger ones, which all look keys up, two.
# - The spread of trainings, and not the number of questions, decides how small
#   an effect a desk can see.
# - The text here is templated, and the models are small and remember next to
#   nothing. They test a part of the paper's claim, and are no verdict on it.
#
# Ask what it says when the answer is there, then what it says when it is gone.
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
