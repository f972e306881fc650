# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 20. Long context
#
# By the end of this chapter you will have shown, with two trained models, why
# a model breaks in rows longer than those of its training, how much of that a
# single number repairs without any training, and that "effective length" and
# "cumulative loss" can each tell two stories about the same measurements.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - say which rotary angles a longer row contains that training never showed;
# - compute a RoPE base for a longer row, and test what it does;
# - take a cumulative loss apart into the losses of stretches;
# - measure an effective length, and say how sure it is;
# - say what must grow with the square of the length, and what must not.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | RoPE, its pairs and speeds | positions | 7 |
# | nats per token, held-out text | loss by position | 7, 14 |
# | needles, accuracy at queries | retrieval | 15, 19 |
# | maps that are never stored (optional) | the kernel | 10, 11 |

# %%
import hashlib
import json
from dataclasses import replace
from math import comb  # noqa: F401
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

# %%
from minidiff import DecoderLM, check, course, diff_attention, load, plots
from minidiff.bench.peak_memory import Meter
from minidiff.check import hint, solution  # noqa: F401
from minidiff.data import (
    BPETokenizer,
    NeedleTask,
    TokenDocument,
    standard_library,
)
from minidiff.evaluation.loss import document_losses, position_edges
from minidiff.evaluation.recall import effective_length as package_length

plots.use_style()
torch.set_num_threads(1)

# %% [markdown]
# The chapter reads a long text. Put the path of one of your own between the
# quotes, a book or a source file of some 100 KB. Empty, it is a file of the
# standard library that the models did not see in training.

# %% tags=["parameters"] quick={"FILE": ""}
FILE = ""

# %% [markdown]
# ## A cold open: read on
#
# The two models of the course, plain and differential, read one long text. Most
# rows of their training had 512 tokens (dotted line). In one step of eight,
# rows had 2,048 (dashed line); longer ones they never saw. Before you run the
# cells, sketch the loss against the position. At which line does it rise?

# %%
MODELS = {
    kind: load(course.weights(f"pair_{kind}.safetensors"))
    for kind in ("softmax", "diff")
}
NAMES = {"softmax": "plain", "diff": "differential"}
CONFIG = MODELS["diff"].config
TRAINED = CONFIG.max_length  # tokens in the longest row of the training
LONG = 2 * TRAINED  # of the row that is read here
about = json.loads(course.results("pair.json").read_text())["data"]
USUAL = TRAINED // about["times"]  # tokens in most rows of the training
D, BASE = CONFIG.head_dim, CONFIG.rope_base
print(f"training: rows of {USUAL} tokens; in one step of", end=" ")
print(f"{about['every']}, of {TRAINED}. Here: {LONG}")
print(f"width of a head D = {D}, RoPE base {BASE:g}")


# %% tags=["nbval-ignore-output"]
def read_text() -> tuple[str, str]:
    """The name and the text of your file, or of a held-out one."""
    if FILE:
        return FILE, Path(FILE).expanduser().read_text(encoding="utf-8")
    held_out = [d for d in standard_library().valid if len(d.text) < 100_000]
    longest = max(held_out, key=lambda document: len(document.text))
    return longest.path, longest.text


NAME, text = read_text()
TOKENIZER = BPETokenizer.load(course.weights("pair_tokenizer.json"))
IDS = torch.tensor(TOKENIZER.encode(text))
print(f"{NAME}: {len(IDS)} tokens, of which {LONG} are read")
if len(IDS) <= LONG:
    raise ValueError(f"FILE: got {len(IDS)} tokens, expected over {LONG}")


# %% [markdown]
# Position and base enter a model in one place only, the tables of cosines and
# sines. So a copy with other tables has the same weights:


# %%
def stretched(
    kind: str, length: int, base: float = BASE, divide: float = 1
) -> DecoderLM:
    """The same weights; room for more tokens, and other rotary tables."""
    config = replace(MODELS[kind].config, max_length=length, rope_base=base)
    copy = DecoderLM(config)
    copy.load_state_dict(MODELS[kind].state_dict())
    positions = torch.arange(length, dtype=torch.float64) / divide
    pairs = torch.arange(0, D, 2, dtype=torch.float64)
    angles = positions[:, None] * base ** (-pairs / D)
    copy.cos, copy.sin = angles.cos().float(), angles.sin().float()
    return copy.eval()


# %%
@torch.no_grad()
def token_losses(model: DecoderLM, ids: Tensor) -> np.ndarray:
    """Loss of each token but the first, given all before it, in nats."""
    logits = model(ids[None, :-1])[0]
    return cross_entropy(logits, ids[1:], reduction="none").numpy()


# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
def stretch_means(losses: np.ndarray) -> np.ndarray:
    """The mean loss of 32 stretches of equal length."""
    return losses.reshape(32, -1).mean(1)


MIDDLES = (np.arange(32) + 0.5) * LONG / 32
ROW = IDS[: LONG + 1]
own = {kind: token_losses(stretched(kind, LONG), ROW) for kind in MODELS}
for kind, losses in own.items():
    first, last = losses[:TRAINED].mean(), losses[-LONG // 4 :].mean()
    print(
        f"{NAMES[kind]:13s}tokens 1 to {TRAINED}: {first:.2f} nats;", end=" "
    )
    print(f"the last quarter: {last:.2f}")


# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Loss against position for the plain and the differential model, with a dotted line at the usual row of their training and a dashed one at the longest. Up to the dashed line both curves fall, with bumps, also across the dotted one. Some way right of the dashed line both climb to several nats."}}
def draw_losses(curves: dict[str, np.ndarray]) -> None:
    """Loss by position, with lines where training rows ended."""
    plt.figure(figsize=(6, 2.6))
    for (name, losses), line in zip(curves.items(), plots.LINES, strict=False):
        plt.plot(MIDDLES, stretch_means(losses), ls=line, label=name)
    plt.axvline(USUAL, color="grey", ls=":", lw=1)
    plt.axvline(TRAINED, color="grey", ls="--", lw=1)
    plt.gca().set(xlabel="position in the row", ylabel="nats per token")
    plt.gcf().legend(loc="outside upper center", ncols=3)
    plt.show()


draw_losses({NAMES[kind]: losses for kind, losses in own.items()})

# %% [markdown]
# Nothing happens to the loss at the dotted line: training had longer rows, if
# rarely. Behind the dashed line the models have *more* to go by, and soon
# become worse. For comparison: guessing blindly among all tokens costs 7.6
# nats.

# %% tags=["hide-cell"] jupyter={"source_hidden": true, "outputs_hidden": true}
print(f"ln {TOKENIZER.vocab_size} = {np.log(TOKENIZER.vocab_size):.1f}")

# %% [markdown]
# The weights are the same on both sides of that line. The plain model has no
# subtraction and breaks too, so the subtraction cannot be the reason. (Which
# of two single models breaks harder says nothing about kinds.) What is new
# beyond the line?
#
# ## What the paper found
#
# The paper takes its models of 3 billion parameters and extends them to rows
# of 64K tokens: 1.5 billion more tokens, in which long texts are frequent, a
# lower learning rate, and a RoPE base of 640,000 [P]. Then it reports two
# measures.
#
# **Loss.** The cumulative loss on books is lower for DIFF at all lengths up to
# 64K [P, Figure 4]. The figure's axis has no numbers, so we cannot say by how
# much.
#
# **Needles.** Eight needles lie in the row, and one is asked. For each length
# and depth (where in the row the answer lies, 0 being its beginning) the paper
# gives the accuracy [P, Figure 5]:

# %%
KS = np.array([8, 16, 24, 32, 40, 48, 56, 64])  # thousand tokens
PAPER = {
    "plain": """ .96 .96 .90 .88 .50 .82 .78 .04
                 .92 .58 .66 .16 .12 .58 .66 .12
                 .90 .76 .72 .40 .28 .48 .56 .70
                 .96 .92 .64 .76 .58 .88 .88 .72""",
    "differential": """ 1. 1. 1. .44 1. .98 .66 .60
                        1. .86 .66 .80 .52 .80 .64 .88
                        1. .96 .74 .92 .90 .92 .92 .92
                        .98 .90 .94 .98 .74 .88 .98 .90""",
}  # a row for each depth: 0, 25, 50 and 75 %

# %%
FIGURE_5 = {}  # (5 depths, 8 lengths)
for name, numbers in PAPER.items():
    found = np.array(numbers.split(), float).reshape(4, 8)
    FIGURE_5[name] = np.vstack([found, np.ones(8)])  # at 100 % all are right
print("thousand tokens", *(f"{k:5d}" for k in KS))
for name, found in FIGURE_5.items():
    print(f"{name:15s}", *(f"{x:5.2f}" for x in found.mean(0)))
gap = FIGURE_5["differential"] - FIGURE_5["plain"]
print(f"largest lead {gap[:, -1].max():.2f} at 64K,", end=" ")
print(f"smallest {gap.min():.2f}, at {KS[gap.min(0).argmin()]}K")

# %% [markdown]
# DIFF is ahead on average at every length. The 76 points that are often quoted
# are one cell, depth 25 % at 64K. In other cells of the same figure DIFF is
# behind. And neither row falls steadily: the plain model has 0.50 at 40K and
# 0.78 at 56K. With one model of each kind nobody can say what another training
# would have given.
#
# ## Angles that nobody has seen
#
# RoPE turns pair $i$ of the channels of a query and a key by an angle that
# grows with the position $t$ (chapter 7):
#
# $$
# t\,\theta_i, \qquad \theta_i = b^{-2i/D}, \qquad i = 0, \ldots, D/2 - 1
# \tag{20.1}
# $$
#
# and a score depends on the *distance* of two tokens, through the angles
# between them. In rows of $T$ tokens the distances are 0 to $T - 1$. A fast
# pair goes around many times in a row, so training shows it every angle. A
# slow pair shows a small part of its circle, and nothing else. In a longer row
# it enters the rest.
#
# ### Exercise 20.1: how much of the circle
#
# *Easy, 5 minutes.*


# %% tags=["stub:20.1"]
def share_seen(trained: int, D: int, base: float) -> np.ndarray:
    """Return the share of a full turn that training shows, (D / 2,).

    trained: tokens in a training row, so distances are 0 to trained - 1.
    Pair i of a head of width D turns by base ** (-2 i / D) radians a token.
    A pair that makes one turn or more has the share 1.
    """
    # your code


# %% tags=["check:20.1"]
check.ex20_1(share_seen)

# %%
share_seen = check.mine("20.1")
before, after = (share_seen(T, D, BASE) for T in (TRAINED, LONG))
print("pair          ", *(f"{i:5d}" for i in range(D // 2)))
print("seen in training", *(f"{x:5.0%}" for x in before))
print(f"in {LONG:5d} tokens ", *(f"{x:5.0%}" for x in after))


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def draw_clock(axis: plt.Axes, blue: float, orange: float, name: str) -> None:
    """The angles that training has shown, and those of a longer row."""
    for a, b, color in ((blue, orange, "C1"), (0, blue, "C0")):
        turn = 2 * np.pi * np.linspace(a, b, 200)
        style = {"color": color, "lw": 5, "ls": "-", "solid_capstyle": "butt"}
        axis.plot(turn, np.ones(200), **style)
    axis.set_theta_zero_location("N")
    axis.set_theta_direction(-1)
    axis.set(xticks=[], yticks=[], ylim=(0, 1.2), title=name)


# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "A clock face for each pair of channels. The fast pairs have a full blue circle: every angle was seen in training. From one pair on, a blue arc covers a part of the circle, ever smaller for slower pairs, and an orange arc continues it: the angles that only longer rows contain."}}
style = {"subplot_kw": {"projection": "polar"}, "figsize": (7.4, 1.6)}
figure, axes = plt.subplots(1, D // 2, **style)
for i, axis in enumerate(axes):
    draw_clock(axis, before[i], after[i], f"pair {i}")
plt.show()

# %% [markdown]
# (Blue: seen in training. Orange: only in the longer row.) The weights learned
# what to do with blue angles. For orange ones they were never corrected, and a
# single head that puts large scores there is enough to draw weight from
# everything else. This can be tested: *if new angles are the reason, then a row
# without new angles must be read well*, however long it is.
#
# ## A larger base
#
# A larger base $b$ makes pair $i$ slower, the more so the larger $i$ is, and
# leaves pair 0 as it is. So choose the base with which the slowest pair turns
# as far in the longer row as it did in a training row.
#
# ### Exercise 20.2: a base for a longer row
#
# *Medium, 8 minutes.* With (20.1) and $i = D/2 - 1$, by pencil first.


# %% tags=["stub:20.2"]
def base_for(trained: int, longer: int, D: int, base: float) -> float:
    """Return the base that slows the slowest pair down to the longer row.

    With the new base the slowest pair, i = D / 2 - 1, turns as far over the
    largest distance of a row of ``longer`` tokens as it did with ``base``
    over that of a training row.
    """
    # your code


# %% tags=["check:20.2"]
check.ex20_2(base_for)

# %%
base_for = check.mine("20.2")
NEW_BASE = base_for(TRAINED, LONG, D, BASE)
shares = before[-1], after[-1], share_seen(LONG, D, NEW_BASE)[-1]
print(f"from {TRAINED} to {LONG} tokens: base {NEW_BASE:.0f}")
print(f"slowest pair: {shares[0]:.1%} of its circle in training;", end=" ")
print(f"in {LONG} tokens {shares[1]:.1%}, with the new base {shares[2]:.1%}")

# %% [markdown]
# Predict, for the same weights with the new base: how does the loss change far
# right? And how far left, in the first half of a training row?

# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
new = {
    kind: token_losses(stretched(kind, LONG, NEW_BASE), ROW) for kind in MODELS
}
HALF = TRAINED // 2
for kind in MODELS:
    for where, part in (
        (f"the first {HALF} tokens", slice(HALF)),
        ("the last quarter", slice(-LONG // 4, None)),
    ):
        print(f"{NAMES[kind]:13s}{where:22s}", end=" ")
        print(f"{own[kind][part].mean():.2f} ->", end=" ")
        print(f"{new[kind][part].mean():.2f} nats")

# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Loss against position with the new base: both curves stay between 1 and 4 nats, also beyond the dashed line at the longest training row. A third curve, the plain model with the old base, climbs there."}}
curves = {f"{NAMES[kind]}, new base": new[kind] for kind in MODELS}
draw_losses(curves | {"plain, old base": own["softmax"]})

# %% [markdown]
# Not one weight was changed, and most of the break is gone. So the explanation
# has passed a first test: without new angles the long row is read much better.
# (Whether a part of the break is left, one file cannot tell: its end may
# simply be harder to predict.) On the left the loss moves far less, although
# all pairs but the first turn at new speeds.
#
# ### Controls that fail
#
# Two other ways also keep every angle within the blue part. *Dividing the
# positions* by the factor of the lengths slows all pairs alike, the fast ones
# too; then neighbours are a fraction of a step apart. And a base *far larger*
# than needed, such as the paper's 640,000 [P], slows the middle pairs as well.
# Without training, which of the three is best near the beginning?

# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
CONTROLS = {
    "new base": new["softmax"],
    "positions divided": token_losses(
        stretched("softmax", LONG, divide=(LONG - 1) / (TRAINED - 1)), ROW
    ),
    "base 640,000": token_losses(stretched("softmax", LONG, 640_000), ROW),
}
print(f"{'plain model':19s} first {HALF}   last quarter")
for name, losses in (CONTROLS | {"old base": own["softmax"]}).items():
    first, last = losses[:HALF].mean(), losses[-LONG // 4 :].mean()
    print(f"{name:19s} {first:9.2f} {last:14.2f}")

# %% [markdown]
# Divided positions cost about one nat more than the new base far right, and as
# much at the beginning, at positions that training had. With them, even a
# distance of one token gives angles that training never showed *together*. So
# "no new angle" was too simple. A distance shows a *combination* of angles,
# and a row without new angles still has new combinations. They seem to matter
# most at short distances, which is a reason to leave the fast pairs alone. And
# the base 640,000 is worse than the smaller one at both ends.
#
# Try other bases:


# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Loss of the plain model against position at one base, with a slider for the logarithm of the base and a dashed line at the longest training row."}}
def draw_base(log10_base: float) -> plt.Figure:
    """Loss by position at one base."""
    losses = token_losses(stretched("softmax", LONG, 10**log10_base), ROW)
    figure, axis = plt.subplots(figsize=(6, 2.6))
    axis.plot(MIDDLES, stretch_means(losses))
    axis.axvline(TRAINED, color="grey", ls="--", lw=1)
    axis.set(xlabel="position in the row", ylabel="nats per token")
    axis.set(title=f"base {10**log10_base:,.0f}", ylim=(0, 8))
    return figure


plots.sliders(draw_base, log10_base=(3.0, 6.0, 0.1, 4.3))

# %% [markdown]
# ## Two ways to draw a loss
#
# The paper shows a *cumulative* loss: at position $t$ the mean over all tokens
# up to there,
#
# $$
# C(t) = \frac{1}{t} \sum_{s=1}^{t} \ell(s)
# \tag{20.2}
# $$
#
# It is smooth, and it answers "what did this text cost". But it remembers.
# Where the loss of the tokens themselves jumps, $C$ moves slowly; and it can
# fall while the loss rises, as long as the new losses are below the mean so
# far. Here is your text, with the old base.

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Cumulative loss and loss by stretch of the plain model with the old base. Some way beyond the dashed line the loss by stretch climbs, the cumulative loss follows slowly and stays far below it."}}
cumulative = {
    kind: losses.cumsum() / np.arange(1, LONG + 1)
    for kind, losses in own.items()
}
plt.figure(figsize=(6, 2.6))
plt.plot(np.arange(1, LONG + 1), cumulative["softmax"], label="cumulative")
means = stretch_means(own["softmax"])
plt.plot(MIDDLES, means, ls=plots.LINES[1], label="by stretch")
plt.axvline(TRAINED, color="grey", ls="--", lw=1)
plt.gca().set(xlabel="position in the row", ylabel="nats per token")
plt.ylim(0, 1.1 * means.max())
plt.legend()
plt.show()

# %% [markdown]
# Nothing is lost: from a few points of a cumulative curve one gets back the
# mean loss of each stretch.
#
# ### Exercise 20.3: stretches from a cumulative loss
#
# *Medium, 8 minutes.*


# %% tags=["stub:20.3"]
def stretches(ends: np.ndarray, cumulative: np.ndarray) -> np.ndarray:
    """Return the mean loss of each stretch of a text, (n,).

    ends (n,): increasing numbers of tokens. cumulative (n,): the mean loss of
    the first ends[j] tokens. Stretch j goes from ends[j - 1], or 0 for the
    first, to ends[j].
    """
    # your code


# %% tags=["check:20.3"]
check.ex20_3(stretches)

# %% tags=["nbval-ignore-output"]
stretches = check.mine("20.3")
ends = np.array([LONG // 16, LONG // 8, LONG // 4, LONG // 2, LONG])
print("tokens up to           ", *(f"{end:6d}" for end in ends))
for kind in MODELS:
    at_ends = cumulative[kind][ends - 1]
    print(f"{NAMES[kind]:13s}cumulative", *(f"{x:6.2f}" for x in at_ends))
    parts = stretches(ends, at_ends)
    print(f"{'':13s}by stretch", *(f"{x:6.2f}" for x in parts))

# %% [markdown]
# So a model that is better in the first tenth of a text, and equal in the
# rest, has a lower cumulative curve up to the end. "Lower at every length up
# to 64K" [P, Figure 4] does not say that the lead is made at long distances.
# Only the stretches would.
#
# Nor does a falling curve say that a model *uses* the far context. In one file
# position and content go together: a source file begins with comments and
# imports. To separate them, average over many rows whose beginnings are at
# random places, as the record below does, or read the *same tokens* with less
# before them. How much is the context worth that lies further back, in your
# text?

# %% tags=["nbval-ignore-output"]
SHORT, SAME = 64, IDS[: TRAINED + 1]  # within the training's length
for kind in MODELS:
    near = [
        token_losses(MODELS[kind], SAME[start - SHORT : start + 17])[-16:]
        for start in range(TRAINED // 2, TRAINED, 16)
    ]
    far = token_losses(MODELS[kind], SAME)[TRAINED // 2 :]
    print(f"{NAMES[kind]:13s}second half of a training row:", end=" ")
    print(f"{np.mean(near):.2f} nats with 64 to 79 tokens before,", end=" ")
    print(f"{far.mean():.2f} with all")

# %% [markdown]
# When this page was made, all that lies further back was worth less than a
# fifth of a nat to each model.
#
# ## Needles by length and depth
#
# Loss is a mean over tokens, and few tokens need anything far away. Needles
# need nothing else. First by eye: rows with eight needles, all asked, of the
# usual, the longest and twice the longest length of the training; the last also
# with the new base. Guess how many of the eight are found in each.

# %%
FIRST = TOKENIZER.vocab_size  # the needles' ids follow those of the text


@torch.no_grad()
def answered(model: DecoderLM, length: int) -> np.ndarray:
    """Which of the eight questions are answered right, by depth."""
    task = NeedleTask(needles=8, questions=8, length=length, repeats=False)
    row = task.sample(0, 1, "valid")
    at = row.questions[None]
    logits = model(row.inputs + FIRST, positions=at)[0]
    right = logits.argmax(-1) == row.targets[0, row.questions] + FIRST
    return right[row.answers[0].argsort()].numpy()


# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
print("answers from the beginning of the row to its end")
for kind in MODELS:
    for length, name, base in (
        (USUAL, "old", BASE),
        (TRAINED, "old", BASE),
        (LONG, "old", BASE),
        (LONG, "new", NEW_BASE),
    ):
        right = answered(stretched(kind, LONG, base), length)
        marks = " ".join("x" if r else "." for r in right)
        print(f"{NAMES[kind]:13s}{length:5d} tokens, {name} base  {marks}")

# %% [markdown]
# (x: right.) Both models look keys up in rows of 512 tokens (chapter 19). When
# this page was made, both found fewer at 2,048, and at 4,096 one of eight,
# which is a guess. The new base brought most back.
#
# One row is an anecdote. The recipe `book/recipes/long_pair.py` asks the same
# models in sixteen rows for each length, and reads held-out files.

# %%
PATH = course.root() / "book" / "results"


def record(name: str, command: str) -> dict | None:
    """A recorded run, or None, and then a line that says how to make it."""
    path = PATH / name
    if not path.exists():
        print(f"{name}: not run; {command}")
        return None
    found = json.loads(path.read_text())
    made = found["provenance"]
    print(f"{name}: recorded {made['date']} on {made['device']}")
    return found


# %% tags=["hide-input"] jupyter={"source_hidden": true}
RECIPE = "python book/recipes/long_pair.py"
pair = record("long_pair.json", RECIPE) or {"rows": []}
LONG_ROWS: dict = {}  # (kind, base) -> the row of the record
for found in pair["rows"]:
    path = course.weights(f"pair_{found['kind']}.safetensors")
    if found["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest():
        LONG_ROWS[found["kind"], found["base"]] = found
if len(LONG_ROWS) < len(pair["rows"]):
    print("recorded with other weights than these: not shown;", RECIPE)
BASES = sorted({base for _, base in LONG_ROWS})
for kind, base in LONG_ROWS:
    needles = LONG_ROWS[kind, base]["needles"]
    print(f"{NAMES[kind]:13s}base {base:7.0f}", end="  ")
    right = [f"{n['length']}: {n['right'] / n['asked']:.2f}" for n in needles]
    print(*right, sep="  ")

# %% tags=["hide-input", "nbval-ignore-output"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Two rows of heat maps, plain above, differential below, a column for each RoPE base. In each map the accuracy at needles by the depth of the answer and the length of the row. With the training's base a map is bright in short rows and falls off beyond the longest training row; with larger bases more lengths are bright."}}
if LONG_ROWS:
    shape = {"sharex": True, "sharey": True, "figsize": (7.4, 3.3)}
    figure, axes = plt.subplots(2, len(BASES), squeeze=False, **shape)
    for (kind, base), found in LONG_ROWS.items():
        axis = axes[list(MODELS).index(kind), BASES.index(base)]
        grid = [cell["by_depth"] for cell in found["needles"]]
        grid = np.array(grid, float).T
        image = axis.imshow(grid, vmin=0, vmax=1, aspect="auto")
        axis.set_title(f"{NAMES[kind]}\nbase {base:,.0f}", fontsize=9)
        axis.grid(visible=False)
        ticks = [cell["length"] for cell in found["needles"]]
        axis.set_xticks(range(len(ticks)), ticks, rotation=60, fontsize=8)
    axis.set_yticks([0, 4], ["begin", "end"], fontsize=8)
    figure.colorbar(image, ax=axes, label="answered right")
    plt.show()

# %% tags=["hide-input", "nbval-ignore-output"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Two panels, plain and differential: recorded loss against position on a logarithmic axis, a curve for each RoPE base and a dashed line at the longest training row. Up to the line the training's base and the two computed ones lie close together and the base 640,000 lies above them. Beyond the line the training's base climbs, the smaller computed base at twice the line, the larger one hardly, and 640,000 a little."}}
if LONG_ROWS:
    figure, axes = plt.subplots(1, 2, sharey=True, figsize=(7.4, 2.6))
    for (kind, base), found in LONG_ROWS.items():
        axis = axes[list(MODELS).index(kind)]
        cells = found["by_position"]
        x = [(c["first"] + c["last"] + 1) / 2 for c in cells]
        line = plots.LINES[BASES.index(base)]
        y = [c["nats"] for c in cells]
        axis.plot(x, y, ls=line, label=f"base {base:,.0f}")
        axis.set(xscale="log", title=NAMES[kind], xlabel="position")
        axis.axvline(TRAINED, color="grey", ls="--", lw=1)
    axes[0].set_ylabel("nats per token")
    axes[1].legend(fontsize=8)
    plt.show()

# %% [markdown]
# **No base makes the longer context pay.** Right of the line no curve falls
# below what the training's base had just before it. A base can repair. Whether
# a model then gains from more context is a question for training. (A row of the
# record may hold several files, so what lies far back need not be of use.)
#
# **The lower loss does not find more needles.** In rows of 8,192 tokens the base
# 640,000 finds all or nearly all, and the smaller one, 48,781, about three of
# four, although its loss is lower at every position.
#
# **Needles fail before any angle is new.** At 2,048 tokens, which training did
# show, the training's base finds 0.88 and 0.91 of them; most of the others lie
# near the beginning of the row. A larger base brings these back, too. So unseen
# angles can explain the break of the loss, but not all that needles lose.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for kind in MODELS:
    small, _, middle, large = (LONG_ROWS[kind, base] for base in BASES)
    before = small["by_position"][-3]["nats"]
    for base in BASES:
        cells = LONG_ROWS[kind, base]["by_position"][-2:]
        assert min(cell["nats"] for cell in cells) > before
    two = zip(middle["by_position"], large["by_position"], strict=True)
    assert all(a["nats"] < b["nats"] for a, b in two)
    most = [x["needles"][-1]["right"] for x in (middle, large)]
    assert most[0] < 0.8 * 128 < 0.94 * 128 < most[1]
    found = [x["needles"][2] for x in (small, middle, large)]
    assert found[0]["right"] < 118 < 124 < found[1]["right"]
    assert found[0]["length"] == TRAINED and found[0]["asked"] == 128

# %% [markdown]
# ## Effective length
#
# How long a context does a model have? Not the longest row that it accepts. A
# usual answer comes from the benchmark NoLiMa: take the accuracy in short rows
# as the *base accuracy*, and find the longest length with at least 0.85 of it.
# That is a relative measure, so a model that is poor everywhere can have a
# long effective length. And if the accuracy falls and rises again, "the
# longest that is kept" and "the longest up to which all are kept" differ.
#
# ### Exercise 20.4: effective length, twice
#
# *Medium, 10 minutes.*


# %% tags=["stub:20.4"]
def effective_length(
    lengths: np.ndarray, accuracy: np.ndarray, share: float = 0.85
) -> tuple[int, int]:
    """Return the effective length by two definitions.

    lengths (n,), in any order, and accuracy (n,) at each of them. A length
    is kept if its accuracy is at least share times that of the shortest
    length. The first number is the longest kept length. The second is the
    longest up to which every length is kept.
    """
    # your code


# %% tags=["check:20.4"]
check.ex20_4(effective_length)

# %% [markdown]
# Apply it to the paper's figure. What would you expect for its two models?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
effective_length = check.mine("20.4")
for name, found in FIGURE_5.items():
    mean = found.mean(0)
    longest, unbroken = effective_length(KS, mean)
    print(
        f"{name:13s} longest kept {longest}K, unbroken {unbroken}K;", end=" "
    )
    print(f"0.85 of the base accuracy is {0.85 * mean[0]:.3f}")

# %% [markdown]
# **By one definition DIFF's effective length is four times that of the plain
# model, by the other one and a half times.** Both use the same accuracies.
# DIFF's threshold is 0.847, and its accuracies at 32K, 40K and 56K are 0.83,
# 0.83 and 0.84: two hundredths decide between 24K and 64K.
#
# Now the course's pair, from the record:

# %% tags=["nbval-ignore-output"]
for (kind, base), found in LONG_ROWS.items():
    cells = found["needles"]
    lengths = np.array([cell["length"] for cell in cells])
    shares = np.array([cell["right"] / cell["asked"] for cell in cells])
    print(f"{NAMES[kind]:13s}base {base:7.0f}", end="  ")
    longest, unbroken = effective_length(lengths, shares)
    print(f"longest kept {longest}, unbroken {unbroken}", end="")
    print(f" = {unbroken / TRAINED:g} of the longest training row")

# %% [markdown]
# The base 22,088 was computed for 4,096 tokens, and 48,781 for 8,192. Only
# plain with the first of them reaches its length. And that hangs on two answers:
# at 4,096 plain has 109 of 128 right, the least that counts, and diff 107. The
# base 640,000 keeps the longest length that was measured, so it may have more.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for kind, right in (("softmax", 109), ("diff", 107)):
    cell = LONG_ROWS[kind, BASES[1]]["needles"][3]
    print(f"{NAMES[kind]:13s}{cell['length']} tokens, base", end=" ")
    print(f"{BASES[1]:.0f}: {cell['right']} of {cell['asked']}")
    assert cell["right"] == right and 108 < 0.85 * cell["asked"] < 109

# %% [markdown]
# ## Training for length
#
# In the paper the larger base begins an extension, and a short training
# completes it: the model can get used to the new speeds, and to weights that
# spread over more keys. The recipe `book/recipes/long_context.py` does the
# same, in small. Models of 15 million parameters of three kinds (plain, wide
# and diff) get the base 640,000, a quarter of their learning rate, and 20
# million tokens in rows of 16,384.
#
# Fixed before it: accuracy at eight needles, one asked, in rows of 8,192 tokens,
# as the mean over five depths; diff minus plain, paired by seed, with diff minus
# wide as the control for the shape of the heads; and chapter 18's rule, with the
# paper's lead at 8K, 0.05 on average, for the effect. It needs a GPU. This is
# its record:

# %% tags=["hide-input"] jupyter={"source_hidden": true}
POOL_COMMAND = "`book/recipes/queue.md`, row 7, has the command"
pool = record("pool_long.json", POOL_COMMAND) or {"jobs": []}
EXTENDED: dict = {}  # kind -> seed -> measures in long rows
for job in pool["jobs"]:
    for found in job.get("rows", []):
        if "long" in found:
            of_kind = EXTENDED.setdefault(job["job"]["kind"], {})
            of_kind[found["seed"]] = found["long"]
for kind, runs in EXTENDED.items():
    print(f"{kind:6s}", end="")
    for T in ("8192", "16384", "32768", "65536"):
        shares = [m["needles"][T]["accuracy"] for m in runs.values()]
        print(f"  {T} tokens: {np.mean(shares):.2f}", end="")
    print()


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def mean_of_depths(measures: dict) -> float:
    """Accuracy at 8,192 tokens, the mean over the depths with answers."""
    by_depth = measures["needles"]["8192"]["by_depth"]
    return np.nanmean(np.array(by_depth, float))


def by_rule(mean: float, half: float) -> str:
    """The verdict for a lead, against the paper's at 8K."""
    if mean > half:
        return "seen"
    small = half > gap[:, 0].mean()
    return "cannot be seen at this size" if small else "not seen"


# %% tags=["hide-input"] jupyter={"source_hidden": true}
for other in ("plain", "wide") if EXTENDED else ():
    both = [EXTENDED.get(kind, {}) for kind in ("diff", other)]
    seeds = sorted(both[0].keys() & both[1].keys())
    if len(seeds) < 3:
        continue
    a, b = (np.array([mean_of_depths(m[s]) for s in seeds]) for m in both)
    t = {3: 4.303, 4: 3.182, 5: 2.776}[len(seeds)]  # Student's, 95 %
    mean, half = (a - b).mean(), t * (a - b).std(ddof=1) / len(seeds) ** 0.5
    print(f"diff minus {other}: {mean:+.3f} +- {half:.3f},", end=" ")
    print(by_rule(mean, half))

# %% tags=["hide-cell"] jupyter={"source_hidden": true, "outputs_hidden": true}
print(f"lead at 8K, mean over depths: {gap[:, 0].mean():.2f}")

# %% [markdown]
# ## What a row of 65,536 tokens costs
#
# Attention compares every pair of tokens: its *time* grows with the square of
# the length, for both kinds. Its *memory* need not. Count what one layer with
# 8 differential heads of width 64 would store, in 2 bytes a number: the maps
# of all branches, or only queries, keys, values and output.

# %%
for T in (4_096, 16_384, 65_536):
    maps = 2 * 8 * T**2 * 2  # branches, heads, entries, bytes
    tensors = 4 * T * (8 * 2 * 64) * 2  # q, k, v and the output
    print(f"T = {T:6d}: maps {maps / 2**30:7.2f} GiB,", end=" ")
    print(f"tensors {tensors / 2**30:5.2f} GiB")

# %% [markdown]
# The maps grow by 16 when the length grows by 4, the tensors by 4. Measure it
# on your machine, in small: the peak of the memory that PyTorch allocates,
# with the maps written out (`eager`) and with a fused kernel (`sdpa`). (No
# fused kernel for a CPU takes values wider than keys, as chapter 6 found, so
# `sdpa` pads queries and keys with zeros there, which changes no score.)


# %%
def peak(T: int, backend: str) -> int:
    """Bytes allocated at once by one differential layer without norm."""
    q, k = torch.randn(2, 1, 2, 2, T, 16)
    v = torch.randn(1, 2, T, 32)
    with torch.no_grad(), Meter() as meter:
        diff_attention(q, k, v, 0.5, backend=backend)
    return meter.peak


for backend in ("eager", "sdpa"):
    small, large = (peak(T, backend) for T in (512, 1024))
    print(
        f"{backend:5s} at twice the length: {large / small:.1f} times as much"
    )

# %% [markdown]
# `minidiff`'s fused kernels (chapters 11 and 12) do the same for the
# difference of two maps, forward and backward, on a GPU. The recipe
# `book/recipes/long_kernel.py` measures one layer at up to 65,536 tokens
# against plain attention on cuDNN and on FlashAttention, and against maps that
# are stored.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
kernel = record("long_kernel.json", "python book/recipes/long_kernel.py")
rows = [] if kernel is None else kernel["rows"]
KERNEL = {(row["peer"], row["T"]): row for row in rows}
for (peer, T), found in sorted(KERNEL.items(), key=lambda x: x[0][1]):
    print(f"T = {T:6d}  {peer:12s}", end="")
    for what in ("forward", "train"):
        if f"{what}_ms" not in found:
            print(f"  {what}: does not run", end="")
            continue
        ms, mib = (found[f"{what}_{x}"] for x in ("ms", "peak_mib"))
        print(f"  {what}: {ms:8.2f} ms, {mib:8.0f} MiB", end="")
    print()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
PEERS = {
    "diff/triton": "DIFF, minidiff",
    "plain/cudnn": "plain, cuDNN",
    "plain/flash": "plain, FlashAttention",
    "diff/naive": "DIFF, maps stored",
}

# %% tags=["hide-input", "nbval-ignore-output"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Two panels on logarithmic axes against the length of the row: time of forward and backward, and peak memory, of the fused differential kernels, plain attention on cuDNN and on FlashAttention, and differential attention with stored maps. The curve of a peer ends at the longest row that it could run."}}
figure, axes = plt.subplots(1, 2, figsize=(6.6, 2.5))
at = [2**n for n in range(12, 17)]
for axis, what in zip(axes, ("ms", "peak_mib"), strict=True):
    for line, (peer, name) in zip(plots.LINES, PEERS.items(), strict=False):
        mine = [KERNEL[peer, T] for T in at]
        height = [row.get(f"train_{what}", np.nan) for row in mine]
        axis.plot(at, height, "o", ls=line, label=name)
    axis.set(xscale="log", yscale="log", xlabel="tokens", xticks=at)
    axis.set_xticklabels([f"{T // 1024}k" for T in at])
    axis.minorticks_off()
axes[0].set_ylabel("ms, with backward")
axes[1].set_ylabel("peak MiB")
handles = axes[0].get_legend_handles_labels()
figure.legend(*handles, loc="outside upper center", ncols=4, fontsize=8)
plt.show()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for T in at:
    for peer in ("plain/cudnn", "plain/flash"):
        ratios = [
            KERNEL["diff/triton", T][what] / KERNEL[peer, T][what]
            for what in ("forward_ms", "train_ms")
        ]
        print(f"T = {T}, DIFF to {PEERS[peer]:21s}", end=" ")
        print("forward {:.2f}, with backward {:.2f}".format(*ratios))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
grows = {
    peer: KERNEL[peer, 32_768]["train_peak_mib"]
    / KERNEL[peer, 16_384]["train_peak_mib"]
    for peer in ("diff/triton", "diff/naive")
}
print("memory at twice the length:", end=" ")
print(", ".join(f"{PEERS[x]}, {n:.2f} times" for x, n in grows.items()))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for T in at[2:]:
    for what in ("forward_ms", "train_ms"):
        ours, cudnn, flash = (
            KERNEL[peer, T][what]
            for peer in ("diff/triton", "plain/cudnn", "plain/flash")
        )
        assert 1.1 < ours / cudnn < 1.34 and ours < flash
assert grows["diff/triton"] < 2.02 and grows["diff/naive"] > 3.9
assert "train_ms" not in KERNEL["diff/naive", 65_536]
short, long = (KERNEL["diff/triton", T]["train_ms"] for T in (4096, 16_384))
assert 0.25 < short / long < 0.4

# %% [markdown]
# Twice the length takes twice the memory with our kernels, and four times with
# stored maps, which at 65,536 tokens would need more than this GPU has. From
# 16,384 tokens on, differential attention takes a tenth to a third longer than
# plain attention with 16 heads on cuDNN, and less than that on PyTorch's
# FlashAttention. Its values are twice as wide, which makes one and a half times
# the multiplications. With a shorter row the backward pass is slow: 4,096 tokens
# are a sixteenth of the work of 16,384, and take a third of the time. Probably
# the GPU waits there for the program that starts its kernels; that was not
# measured.
#
# ## The package agrees
#
# Positions, losses and effective lengths, by hand and by `minidiff`:


# %%
for kind, model in MODELS.items():
    tables = stretched(kind, TRAINED).cos
    assert torch.allclose(tables, model.cos, atol=1e-6)
    document = TokenDocument("text", NAME, 1, IDS[:201].numpy())
    theirs = document_losses(model, [document], length=200)
    edges = np.array(position_edges(200)[1:])
    means = token_losses(model, IDS[:201]).cumsum()[edges - 1] / edges
    cells = theirs["domains"]["text"]["by_position"]
    nats = [cell["nats"] for cell in cells]
    assert np.allclose(stretches(edges, means), nats, atol=1e-4)

# %%
for found in FIGURE_5.values():
    cells = [
        {"task": {"length": int(k)}, "accuracy": x, "low": x, "chance": 1 / 8}
        for k, x in zip(KS, found.mean(0), strict=True)
    ]
    ours, _ = effective_length(KS, found.mean(0))
    assert package_length(cells) == ours
print("tables, losses and effective lengths are what this chapter says")

# %% [markdown]
# ## Common mistakes
#
# - **Calling the longest accepted row the context length.** The models here
#   accept any row for which there is a table, and break behind their
#   training's.
# - **Reading a cumulative loss as a loss at a length.** It carries every
#   earlier token along. Take it apart.
# - **Position and content confounded.** Average over rows that begin at random
#   places, or read the same tokens with less before them.
# - **One definition of effective length.** Say which, show the accuracies, and
#   how many rows they rest on.
# - **Leaving out the base accuracy.** A model that guesses keeps 0.85 of a
#   guess at every length.
# - **A base far larger than needed as a free gift.** Not trained with, it has a
#   higher loss at every position than one that is just large enough, even where
#   it finds more needles.
#
# ## Summary
#
# - The loss of both models rises behind the longest row of their training, not
#   behind the usual one. There, slow pairs of channels reach angles that
#   training never showed.
# - A base computed for the longer row keeps these angles out. It repairs most
#   of the loss without training, and changes little in short rows. Dividing
#   the positions keeps them out too, but costs far more.
# - A cumulative loss hides where a lead is made; stretches show it.
# - From the paper's own figure DIFF's effective length is 64K or 24K, the
#   plain model's 16K, depending on the definition and on a few answers.
# - The base with the lower loss is not the one that finds more needles, and
#   needles are lost before any angle is new.
# - Whether DIFF keeps needles better than plain after an extension, only models
#   that were extended can say (*Training for length*).
# - Time grows with the square of the length, memory need not.

# %% [markdown]
# ## Optional: would it come out again?
#
# How sure is an effective length? Probability theory gives an answer, without
# a single new measurement.
#
# ### Exercise 20.5: repetitions of a test
#
# *Hard, 20 minutes.* `comb` is imported above. The accuracies of the paper's
# figure are multiples of 0.02, as they are with 50 rows a depth, 250 at each
# length [calc]. Suppose that the true share of right answers is the measured
# one. If somebody repeated the test, with the same model and 250 other rows,
# which effective lengths would come out, and how often? The shortest length is
# measured again too, so the threshold moves with it.


# %% tags=["stub:20.5"]
def repetitions(right: np.ndarray, asked: int, share: float) -> np.ndarray:
    """Return the probability of each unbroken effective length, (n,).

    right (n,): right answers of ``asked`` at n lengths, the shortest first.
    In a repetition each length has a new number of right answers, binomial
    with the measured share right / asked, independent of the others. A
    length is kept if its number is at least share times that of the shortest
    length in the same repetition. Entry j is the probability that lengths 0
    to j are kept and length j + 1 is not, or does not exist.
    """
    # your code


# %% tags=["check:20.5"]
check.ex20_5(repetitions)

# %%
repetitions = check.mine("20.5")
print("unbroken effective length", *(f"{k:4d}K" for k in KS))
for name, found in FIGURE_5.items():
    right = np.rint(250 * found.mean(0)).astype(int)
    chances = repetitions(right, 250, 0.85)
    print(f"{name:25s}", *(f"{chance:5.0%}" for chance in chances))

# %% [markdown]
# The plain model would come out at 8K, 16K or 24K, the differential one
# anywhere from 16K to 32K and, rarely, beyond. These are repetitions of the
# *test*. How much repetitions of the *training* (other seeds) would vary, the
# paper does not say.
#
# ## Further reading
#
# - Ye et al., *Differential Transformer*, arXiv 2410.05258: section 3.3,
#   Figures 4 and 5. [P]
# - Su et al., *RoFormer*, arXiv 2104.09864: the rotation, and why scores
#   depend on distances.
# - Chen et al., *Extending Context Window of Large Language Models via
#   Positional Interpolation*, 2023: divided positions, with a training.
# - Peng et al., *YaRN*, 2023: which pairs to slow down, and which to leave.
# - Hsieh et al., *RULER*, 2024, and Modarressi et al., *NoLiMa*, 2025: two
#   definitions of an effective length, and tasks that are harder than needles.
