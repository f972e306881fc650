# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 24. Ablations
#
# By the end of this chapter you will have shown that in the paper's table norm
# and second map help only together, that of seven changes recorded in a small
# race a test fixed beforehand sees none, and that taking the constant gain away
# only changes one matrix's initial value and learning rate.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - say what each ablation of a differential head isolates;
# - compute main effects and an interaction;
# - correct several contrasts with one reference;
# - tell what an ablation removes from what it moves elsewhere;
# - list what the paper did not ablate.
#
# ## Prerequisites
#
# | you need | where |
# |---|---|
# | lambda, headwise norm, gain | 3, 5 |
# | AdamW | 14 |
# | paired intervals | 18 |
# | six kinds, race of two needles | 19 |

# %%
import json
from math import sqrt
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.nn.functional import cross_entropy

from minidiff import DecoderLM, ModelConfig, MultiheadDiffAttention
from minidiff import check, course, lambda_init, plots
from minidiff.check import hint, solution  # noqa: F401
from minidiff.data import NeedleTask
from minidiff.nn.kinds import KINDS

# %%
plots.use_style("svg")
torch.set_num_threads(1)
_ = torch.manual_seed(0)

# %% [markdown]
# How many steps this chapter trains itself, near the end:

# %% tags=["parameters"] quick={"STEPS": 2}
STEPS = 20

# %% [markdown]
# ## A cold open: Table 6
#
# To *ablate* a part is to train the same model without it. The paper does so
# with 1.4 billion parameters and 10 billion tokens [P, Table 6]. The last two
# numbers are the validation loss and AR-Hit, the loss at the last token of an
# n-gram seen before. Guess: which is worse than the plain Transformer,
# differential attention without its norm, or without a lambda that depends on
# the layer?

# %% tags=["hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true}
TABLE_6 = {  # [P, Table 6]
    "Transformer": (16, 128, "no", 3.087, 0.898),
    "Transformer, wide": (8, 256, "no", 3.088, 0.899),
    "Transformer, wide + norm": (8, 256, "yes", 3.086, 0.899),
    "DIFF": (8, 128, "yes", 3.062, 0.880),
    "DIFF without norm": (8, 128, "no", 3.122, 0.911),
    "DIFF, lambda_init 0.8": (8, 128, "yes", 3.065, 0.883),
    "DIFF, lambda_init 0.5": (8, 128, "yes", 3.066, 0.882),
}
loss = {name: row[3] for name, row in TABLE_6.items()}
for name, (heads, width, norm, valid, hit) in TABLE_6.items():
    print(f"{name:25s}{heads:3d} x {width}  norm: {norm:4s}", end="")
    print(f"{valid:.3f} ({valid - loss['DIFF']:+.3f})  {hit:.3f}")

# %% [markdown]
# (In brackets: minus DIFF.) Each row has a reason:
#
# | row | against | isolates |
# |---|---|---|
# | wide | Transformer | fewer, wider heads, which DIFF has too |
# | wide + norm | wide | the norm, without a second map |
# | DIFF | wide + norm | a second map, subtracted (and narrower queries and keys, a gain) |
# | without norm | DIFF | the norm, with a second map |
# | lambda_init 0.8, 0.5 | DIFF | lambda_init growing with the layer |
#
# DIFF leads by 0.025 nats over the first row and by 0.024 over the third.
# Without its norm it is *behind* the Transformer, by 0.035. A constant
# lambda_init costs 0.003 or 0.004. Would another seed change more than that?
# The paper gives one number a row and no seeds [P, Table 6], so the table
# cannot say.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for a, b in (
    ("Transformer", "DIFF"),
    ("Transformer, wide + norm", "DIFF"),
    ("DIFF without norm", "Transformer"),
    ("DIFF, lambda_init 0.8", "DIFF"),
    ("DIFF, lambda_init 0.5", "DIFF"),
):
    print(f"{a} minus {b}: {loss[a] - loss[b]:.3f}")

# %% [markdown]
# ## One head, and what can be taken from it
#
# Boxes: the parts. Dashed lines and orange: what our records change.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
BOX = {"boxstyle": "round", "facecolor": "white", "edgecolor": "black"}
PARTS = {  # a part: its place, its text, what it gets its input from
    "1": (0, 1, "q1, k1", ()),
    "2": (0, -1, "q2, k2", ()),
    "A1": (1.5, 1, "map A1", ("1",)),
    "A2": (1.5, -1, "map A2", ("2",)),
    "-": (3, 0, "A1 - λ A2,\ntimes v", ("A1", "A2")),
    "norm": (4.6, 0, "norm", ("-",)),
    "gain": (6, 0, "gain\n1 - λ_init", ("norm",)),
    "out": (7.5, 0, "W_O", ("gain",)),
}

# %% tags=["hide-input"] jupyter={"source_hidden": true}
CHANGES = (  # part, place of the text, text
    ("2", 0, -2, "shared keys:\nk2 = k1"),
    ("A2", 1.5, -2, "first map,\nsum"),
    ("-", 3, 1.9, "λ: constant λ_init,\nfixed, per head,\nwithout exp"),
    ("norm", 4.6, -1.3, "without norm\n(and gain)"),
    ("gain", 6, 1.4, "without gain"),
)


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def draw_parts(axis: plt.Axes) -> None:
    """A box for each part, and arrows from box to box."""
    boxes: dict = {}
    for part, (x, y, text, sources) in PARTS.items():
        boxes[part] = axis.text(x, y, text, ha="center", va="center", bbox=BOX)
        for source in sources:
            arrow = {"arrowstyle": "->", "shrinkA": 2, "shrinkB": 2}
            arrow |= {"patchA": boxes[source].get_bbox_patch()}
            arrow |= {"patchB": boxes[part].get_bbox_patch()}
            axis.annotate("", (x, y), PARTS[source][:2], arrowprops=arrow)


# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Diagram of one differential head. Queries and keys of two branches lead to two maps, A1 and A2; both lead to A1 minus lambda A2, times v; then come norm, gain and the output matrix. Orange texts, joined by dashed lines: shared keys at the second branch; first map and sum at A2; constant lambda_init, fixed, per head and without exp at lambda; without norm (and gain) at the norm; without gain at the gain."}}
figure, axis = plt.subplots(figsize=(8, 3.4))
draw_parts(axis)
for part, x, y, text in CHANGES:
    px, py = PARTS[part][:2]
    near = y - 0.45 * np.sign(y)  # the line ends before the text
    axis.plot([px, x], [py, near], "--", color="C1", lw=1, zorder=0)
    axis.text(x, y, text, ha="center", va="center", color="C1", fontsize=9)
axis.set(xlim=(-0.7, 8.1), ylim=(-2.5, 2.4))
axis.axis("off")
plt.show()

# %% [markdown]
# The output of a head is, with $\mu$ for lambda_init,
#
# $$
# (1 - \mu) \cdot \mathrm{norm}\big((A_1 - \lambda A_2) V\big),
# \qquad
# \lambda = e^{\lambda_{q1} \cdot \lambda_{k1}} - e^{\lambda_{q2} \cdot
# \lambda_{k2}} + \mu.
# \tag{24.1}
# $$
#
# *One change is seldom one thing.* "Without norm" takes the gain away too,
# which is there to balance the norm. "Shared keys" has fewer parameters,
# "lambda per head" has more.
#
# ## Two parts at once
#
# The norm is worth 0.060 nats in DIFF and 0.002 in the wide Transformer. Four
# rows of Table 6 make a square: with or without norm, with or without second
# map. In it each part has a *main effect*, averaged over the other, and both
# have an *interaction*: how much one part changes the effect of the other.
#
# ### Exercise 24.1: main effects and interaction
#
# *Easy, 6 minutes.*


# %% tags=["stub:24.1"]
def effects(y: np.ndarray) -> np.ndarray:
    """Return two main effects and the interaction of each seed, (n, 3).

    y (n, 2, 2): y[i, a, b] is the result of seed i, with the second map if a
    = 1, and with the norm if b = 1. The effect of a part is the result with
    it minus the result without it. Column 0: the effect of the second map,
    averaged over both values of b. Column 1: the effect of the norm, averaged
    over both values of a. Column 2: the effect of the norm where there is a
    second map, minus its effect where there is none.
    """
    # your code


# %% tags=["check:24.1"]
check.ex24_1(effects)

# %%
effects = check.mine("24.1")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
SQUARE = (
    ("Transformer, wide", "Transformer, wide + norm"),
    ("DIFF without norm", "DIFF"),
)
paper = np.array([[[loss[name] for name in row] for row in SQUARE]])
NAMES = "second map", "norm", "interaction"
for row, name in zip(paper[0], ("one map", "two maps"), strict=True):
    print(f"{name}: the norm changes the loss by {row[1] - row[0]:+.3f}")
for col, name in zip(paper[0].T, ("without norm", "with norm"), strict=True):
    print(f"{name}: the second map by {col[1] - col[0]:+.3f}")
for name, x in zip(NAMES, effects(paper)[0], strict=True):
    print(f"{name:12s} {x:+.3f}")

# %% [markdown]
# The interaction is the largest of the three. The second map alone makes the
# paper's model *worse*, by 0.034; the norm alone does next to nothing; together
# they are the best row. So an ablation measures a part *in the presence of all
# others*. (The square is not perfect: with the second map the queries become
# narrower.)
#
# ## Our race
#
# Does that repeat, with seeds? In chapter 19's race a row of 64 tokens holds
# two needles, both are asked, and a training has 400 steps. The second answer
# can be found as *the value not yet said*. The task was chosen because a
# subtraction helps in it. No model looks keys up here: the first answer stays a
# guess.
#
# The models have two layers, two differential heads and width 64; the authors
# advise at least eight heads [U]. This record shows mechanisms; it says nothing
# about what the parts are worth in a language model.


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def read(name: str) -> dict[str, list[dict]]:
    """The runs of a record by kind, in order of seeds; empty if not run."""
    path = course.root() / "book" / "results" / name
    runs: dict = {}
    if path.exists():
        for job in json.loads(path.read_text())["jobs"]:
            for row in job["rows"]:
                runs.setdefault(job["job"]["kind"], []).append(row)
    return {k: sorted(r, key=lambda x: x["seed"]) for k, r in runs.items()}


RACE = read("needle_race.json") | read("race_ablations.json")
VARIANTS = list(read("race_ablations.json"))


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def results(kind: str, metric: str) -> np.ndarray:
    """One number for each seed."""
    return np.array([run[metric] for run in RACE[kind]])


# %% tags=["hide-input"] jupyter={"source_hidden": true}
print("first answers right, all runs:", end=" ")
firsts = np.concatenate([results(kind, "first") for kind in RACE])
print(f"{firsts.min():.2f} to {firsts.max():.2f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for name in ("needle_race.json", "race_ablations.json"):
    made = json.loads(course.results(name).read_text())["provenance"]
    print(made["date"], made["device"], "torch", made["versions"]["torch"])
    print("  commit", made["commit"][:7], "by", made["command"])

# %% tags=["hide-input"] jupyter={"source_hidden": true}
RACE_SQUARE = (("wide", "wide + norm"), ("without norm", "diff"))


def square(metric: str) -> np.ndarray:
    """Results of the four kinds, (seeds, second map, norm)."""
    cells = [[results(kind, metric) for kind in row] for row in RACE_SQUARE]
    return np.moveaxis(np.array(cells), -1, 0)


def interval(d: np.ndarray) -> tuple[float, float]:
    """Mean and half-width of the 95 % interval."""
    t = {3: 4.303, 4: 3.182, 5: 2.776, 8: 2.365}[len(d)]  # Student's
    return d.mean(), t * d.std(ddof=1) / sqrt(len(d))


# %% tags=["hide-input"] jupyter={"source_hidden": true}
found = effects(square("valid_loss"))
for name, d in zip(NAMES, found.T, strict=True):
    print("{:16s} {:+.2f} +- {:.2f} nats".format(name, *interval(d)))
four = square("valid_loss")
for name, d in (
    ("second map alone", four[:, 1, 0] - four[:, 0, 0]),
    ("norm alone", four[:, 0, 1] - four[:, 0, 0]),
):
    print("{:16s} {:+.2f} +- {:.2f} nats".format(name, *interval(d)))

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Two panels, losses with and without norm. Left, the paper: the line of one map is nearly level at 3.09, the line of two maps falls from 3.122 to 3.062 and crosses it. Right, the race, five thin lines and a thick mean each: one map falls from 1.21 to 0.99, two maps from 1.11 to 0.64; the thin lines of two maps begin between 0.7 and 1.65 and end close together."}}
figure, axes = plt.subplots(1, 2, figsize=(7.6, 3))
for axis, y, title in zip(
    axes,
    (paper, square("valid_loss")),
    ("paper, one run each", "race, five seeds"),
    strict=True,
):
    for a, (name, style) in enumerate((("one map", "--"), ("two maps", "-"))):
        axis.plot(y[:, a].T, style, color=f"C{a}", lw=0.7)
        axis.plot(y[:, a].mean(0), f"o{style}", color=f"C{a}", label=name)
    axis.set_xticks([0, 1], ["without norm", "with norm"])
    axis.set(title=title, xlim=(-0.3, 1.3), ylabel="loss")
axes[0].legend()
plt.show()

# %% [markdown]
# If the two parts worked independently, the thick lines of a panel would be
# parallel. In the paper they cross. In the race (exploratory) the norm alone
# lowers the loss, by 0.23, and of the second map alone one cannot tell. The
# interaction has the paper's sign, but its interval contains zero: without a
# norm, the models with two maps lie far apart.
#
# ## Seven changes, predicted
#
# Seven variants of diff, five seeds each. Predict for each: does it still
# answer the second question?
#
# | variant | also changes | reason to try it |
# |---|---|---|
# | lambda_init 0.8 | the gain, to 0.2 | in Table 6 |
# | without norm | no gain | V2 has none [B2] |
# | lambda fixed | lambda's vectors are idle | is learning it needed? |
# | lambda per head | more parameters | heads may differ |
# | lambda without exp | how fast lambda moves | simpler |
# | without gain | - | simpler |
# | shared keys | fewer parameters | a smaller key cache |
#
# Fixed before the run: the share of right second answers, each variant against
# diff, paired by seed, with a correction for seven contrasts. The learning rate
# was chosen for diff and plain.

# %% tags=["hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true}
for kind in [*KINDS, *VARIANTS]:
    second = results(kind, "second")
    print(f"{kind:19s}", *(f"{x:.3f}" for x in second), end="  ")
    print(f"loss {results(kind, 'valid_loss').mean():.2f}", end="  ")
    print(f"{RACE[kind][0]['parameters']:,} parameters")

# %% [markdown]
# Six of the seven do it with every seed. Without the norm, two seeds of five
# guess. So do nearly all runs of chapter 19's controls, in the first rows: one
# wide map, lambda held at zero, the sign turned; plain, with four heads, comes
# near it in three seeds. What a differential head needs here is its
# subtraction, and hardly any detail of its lambda.
#
# But **a metric at its ceiling cannot tell better from equal.** The loss still
# can, but it was not the fixed metric: what it shows is *exploratory*.
#
# ## Many contrasts, one reference
#
# An interval excludes zero by chance in 5 of 100 experiments. One of seven does
# so more often. *Holm's correction* keeps the chance of even one false finding
# at 5 % or below, however many effects are real. It takes p-values.


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def student_p(d: np.ndarray) -> np.ndarray:
    """Two-sided p-values of five paired differences, (..., 5)."""
    error = d.std(-1, ddof=1) / sqrt(5)
    t = d.mean(-1) / np.where(error > 0, error, 1)  # no spread: all are 0
    x = t**2 / (4 + t**2)
    return 1 - np.sqrt(x) * (3 - x) / 2  # four degrees of freedom [calc]


# %% tags=["hide-input"] jupyter={"source_hidden": true}
edge = np.array([-2, -1, 0, 1, 2.0])
edge += 2.776 * edge.std(ddof=1) / sqrt(5)
assert abs(student_p(edge) - 0.05) < 1e-4
assert student_p(np.zeros(5)) == 1

# %% [markdown]
# ### Exercise 24.2: Holm's correction
#
# *Medium, 8 minutes.*


# %% tags=["stub:24.2"]
def holm(p: np.ndarray) -> np.ndarray:
    """Return the adjusted p-values of m contrasts, (m,), in p's order.

    p (m,): p-values. The smallest is multiplied by m, the next by m - 1, and
    so on to the largest, which is multiplied by 1. An adjusted value is never
    below that of a smaller p, and never above 1. A contrast passes if its
    adjusted value is at most 0.05.
    """
    # your code


# %% tags=["check:24.2"]
check.ex24_2(holm)

# %%
holm = check.mine("24.2")


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def contrasts(metric: str) -> dict[str, np.ndarray]:
    """Each variant minus diff, by seed."""
    base = results("diff", metric)
    return {kind: results(kind, metric) - base for kind in VARIANTS}


# %% tags=["hide-input"] jupyter={"source_hidden": true}
for metric in ("second", "valid_loss"):
    p = student_p(np.array(list(contrasts(metric).values())))
    print(f"{metric}, variant minus diff")
    for kind, d, raw, fair in zip(
        VARIANTS, contrasts(metric).values(), p, holm(p), strict=True
    ):
        print("  {:19s}{:+.3f} +- {:.3f}".format(kind, *interval(d)), end="")
        print(f"  p = {raw:.3f}, corrected {fair:.3f}")
    print(f"  {(p <= 0.05).sum()} pass, {(holm(p) <= 0.05).sum()} by Holm")

# %% [markdown]
# By the fixed metric **no contrast passes**. For six changes there is nothing
# to see at the ceiling. "Without norm" is the opposite: two models of five lost
# the ability, and the interval is so wide that it contains zero. *No difference
# seen* means two different things; only the single runs tell which.
#
# By the loss four intervals of seven exclude zero, and one passes Holm: a fixed
# lambda ends higher than a learned one.

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Twelve contrasts with diff, in two panels: mean and 95 % interval, and above them the dots of five seeds. Left, second answers: the means of the five other kinds lie between minus 0.27 and minus 0.55; without norm at minus 0.22 with an interval from minus 0.6 to 0.15; the other six variants at 0. Right, loss: the other kinds between 0.29 and 0.58, without norm at 0.48 with a wide interval, the other six variants between 0.02 and 0.06."}}
figure, axes = plt.subplots(1, 2, figsize=(8, 4.2), sharey=True)
shown = [*KINDS[:-1], *VARIANTS]
for axis, metric in zip(axes, ("second", "valid_loss"), strict=True):
    for y, kind in enumerate(shown):
        d = results(kind, metric) - results("diff", metric)
        mean, half = interval(d)
        look = ("C0", "D") if kind in VARIANTS else ("C1", "s")
        axis.plot(d, np.full(len(d), y - 0.3), "o", color="0.45", ms=3)
        axis.errorbar(mean, y, None, half, color=look[0], marker=look[1])
    axis.axvline(0, color="grey", lw=1, ls="-")
axes[0].set_yticks(range(len(shown)), shown)
axes[0].invert_yaxis()
for axis, name in zip(axes, ("second answers right", "loss"), strict=True):
    axis.set_xlabel(f"{name}, minus diff")
plt.show()

# %% [markdown]
# But for "without norm", the gap between the two groups is what this record
# shows best: *that* something is subtracted matters in this task; *how* lambda
# is made, far less.
#
# ### A control: seven parts that do nothing
#
# All seven variants have a higher mean loss than diff. Is that strong evidence
# for diff? Suppose that no part did anything. We draw eight kinds with five
# seeds each from one normal distribution, 20,000 times, and call one of them
# diff. Guess how often all seven others lie on the same side of it.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
noise = np.random.default_rng(0).normal(size=(20_000, 8, 5))
null = noise[:, 1:] - noise[:, :1]  # seven variants minus one reference
p = student_p(null)
any_raw = (p <= 0.05).any(1).mean()
any_holm = (7 * p.min(1) <= 0.05).mean()  # Holm's first step decides this
same_side = (abs(np.sign(null.mean(-1)).sum(1)) == 7).mean()
print(
    f"some interval excludes zero: {any_raw:.0%}; after Holm: {any_holm:.0%}"
)
print(f"all seven on the same side: {same_side:.0%};", end=" ")
print(f"with a reference each it would be {2 * 0.5**7:.1%}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert 0.15 < any_raw < 0.3 and any_holm < 0.05
assert abs(same_side - 2 / 8) < 0.02
for metric, passing, by_holm in (("second", 0, 0), ("valid_loss", 4, 1)):
    d = np.array(list(contrasts(metric).values()))
    assert (student_p(d) <= 0.05).sum() == passing
    assert (holm(student_p(d)) <= 0.05).sum() == by_holm
assert (d.mean(1) > 0).all()

# %% [markdown]
# Without a correction the control fails: far more than 5 % of these experiments
# "find" something. And in one of four all seven lie on the same side, because
# their reference only has to be the best or the worst of eight. **Contrasts
# with one reference are not independent.** If diff's five runs were lucky,
# every row of our table is shifted. Three rows of Table 6, too, share one run
# of DIFF.
#
# The sign-flip test of chapter 18 would not have helped. With few seeds it
# cannot give a small p, which one should see *before* a run:

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for n in (5, 8, 9):
    least = 2 / 2**n
    print(f"{n} seeds: p at least {least:.4f}, by Holm for seven", end=" ")
    print(
        f"{7 * least:.3f}:", "can" if 7 * least <= 0.05 else "cannot", "pass"
    )

# %% [markdown]
# ## On text, at 8 million parameters
#
# Here is the paper's own question, the loss on text, with chapter 18's models
# (width 512, two layers, eight differential heads):

# %% tags=["hide-input"] jupyter={"source_hidden": true}
TEXT, CHANGED = read("text.json"), read("ablations.json")


def against(first: list[dict], second: list[dict]) -> str:
    """The difference over common seeds, and what it says."""
    a, b = ({r["seed"]: r["valid_loss"] for r in x} for x in (first, second))
    mean, half = interval(np.array([a[s] - b[s] for s in a if s in b]))
    if abs(mean) > half:
        return f"{mean:+.4f} +- {half:.4f}, zero is outside"
    ends = f"{mean - half:+.4f} to {mean + half:+.4f}"
    return f"{mean:+.4f} +- {half:.4f} ({ends}), zero is inside"


# %% tags=["hide-input"] jupyter={"source_hidden": true}
print("diff minus plain:", against(TEXT["diff"], TEXT["plain"]))
print("diff minus sum:  ", against(TEXT["diff"], TEXT["sum"]))
print("diff minus wide: ", against(TEXT["diff"], TEXT["wide"]))
print("diff minus wide + norm:", end=" ")
print(against(TEXT["diff"], TEXT["wide + norm"]))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for kind in CHANGED:
    said = against(CHANGED[kind], TEXT["diff"])
    print(f"{kind} minus diff: {said} (exploratory)")
missing = [kind for kind in VARIANTS if kind not in CHANGED]
if missing:
    print(fill("not run: " + ", ".join(missing), 70))
    print("python book/recipes/text.py ablations --tokens data/evidence \\")
    print("    --device cuda --pilot book/results/text_pilot.json \\")
    print("    --out book/results/ablations.json")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
lead = [r["valid_loss"] - w["valid_loss"] for r, w in zip(
    TEXT["diff"], sorted(TEXT["wide"], key=lambda r: r["seed"]), strict=True
)]  # fmt: skip
mean, half = interval(np.array(lead))
assert mean > half and [r["seed"] for r in TEXT["diff"]] == list(range(8))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
alone = sorted(TEXT["wide + norm"], key=lambda r: r["seed"])
below = np.array([
    r["valid_loss"] - w["valid_loss"]
    for r, w in zip(TEXT["diff"], alone, strict=True)
])  # fmt: skip
mean, half = interval(below)
assert (below > 0).sum() == 7 and mean > half

# %% tags=["hide-input"] jupyter={"source_hidden": true}
mean, half = interval(np.array([
    r["valid_loss"] - TEXT["diff"][r["seed"]]["valid_loss"]
    for r in CHANGED["lambda_init 0.8"]
]))  # fmt: skip
assert abs(mean) < half and list(CHANGED) == ["lambda_init 0.8"]
assert mean < 0 < mean + half < 0.003  # the paper's difference
lower = [r["valid_loss"] < TEXT["diff"][r["seed"]]["valid_loss"]
         for r in CHANGED["lambda_init 0.8"]]  # fmt: skip
assert sum(lower) == 4 and len(lower) == 5

# %% [markdown]
# Diff is ahead of plain. Does the *sign* of the second map do it? The pairs with
# "sum" cannot tell: their interval has room for no difference, and for all that
# diff leads plain by. And diff ended 0.0106 nats *above* "wide" (as many heads, each
# with one map of twice the width, and no norm) and 0.0164 above "wide + norm" (the
# same with diff's norm). Both are exploratory; chapter 18 says what they may mean,
# and what not.
#
# At 15 million parameters, after 66 million tokens of a mixture of text and tasks,
# five seeds each were trained, at one rate. Diff minus these kinds:

# %% tags=["hide-input"] jupyter={"source_hidden": true}
POOL = read("pool.json")
for kind in ("sum", "wide", "wide + norm"):
    print(f"diff minus {kind}:", against(POOL["diff"], POOL[kind]))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
lost = {k: np.array([r["valid_loss"] for r in POOL[k]]) for k in POOL}
for kind in ("sum", "wide", "wide + norm"):
    assert len(lost[kind]) == 5 and (lost["diff"] < lost[kind]).all()

# %% [markdown]
# In each line diff ended lower in five of five pairs. The first was fixed before the
# run, the others are exploratory. Against wide and wide + norm the sign is the
# opposite of that at 8 million. So what a part contributes may depend on what it is
# put into, and on how that is trained.
#
# One variant of seven has been trained on text so far, lambda_init 0.8. In four
# of five pairs it ended lower than diff; zero lies just inside the interval, and
# the paper's difference, 0.003 higher, just outside. For an interval as narrow
# as that difference, how many pairs would it take?

# %% tags=["hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true}
plain = [r["valid_loss"] for r in TEXT["plain"]]
print(f"eight plain models scatter by    {np.std(plain, ddof=1):.4f}")
a = [r["valid_loss"] for r in CHANGED["lambda_init 0.8"]]
b = [r["valid_loss"] for r in TEXT["diff"][: len(a)]]
spread = np.std(np.subtract(a, b), ddof=1)
print(f"differences of variant and diff by {spread:.4f}")
size = loss["DIFF, lambda_init 0.8"] - loss["DIFF"]
pairs = (1.96 * spread / size) ** 2  # t is larger than 1.96
print(f"for a half-width of {size:.3f}: more than {pairs:.0f} pairs")

# %% [markdown]
# At our size another seed changes more than the 0.003 of lambda_init. Pairs do
# not help here, and it would take dozens for an interval as narrow as that.
#
# ## Another task, another table
#
# MQAR of chapter 19, median accuracy of eight seeds, each kind at the best of
# its three rates (chosen after looking, so *exploratory*):

# %% tags=["hide-input"] jupyter={"source_hidden": true}
medians: dict = {}
for job in json.loads(course.results("mqar.json").read_text())["jobs"]:
    part = job["job"]
    where = part["pairs"], part["width"], part["kind"]
    for rate in part["rates"]:
        some = [r["accuracy"] for r in job["rows"] if r["rate"] == rate]
        medians[where] = max(medians.get(where, 0), np.median(some))
sizes = sorted({where[:2] for where in medians})
print(" " * 12, *(f"{pairs} pairs, {width:3d}" for pairs, width in sizes))
for kind in KINDS:
    cells = (f"{medians[*size, kind]:12.3f}" for size in sizes)
    print(f"{kind:12s}", *cells)

# %% [markdown]
# With 4 pairs the norm alone leaves the median at a guess (wide + norm against
# wide), and a second map mends it. In the paper's text the norm alone did
# nothing, in the race it lowered the loss. What a part does depends on the task
# and on the rest of the model.
#
# ## An ablation that removes nothing
#
# Now the gain, the last box before $W_O$. It is a constant.
#
# ### Exercise 24.3: fold it away
#
# *Optional puzzle, 5 minutes.*


# %% tags=["stub:24.3"]
def folded(
    out_weight: np.ndarray, norm_weight: np.ndarray, gain: float
) -> np.ndarray:
    """Return the output matrix of a model that has no norm weight and gain.

    out_weight (E, H * Dv): W_O. It multiplies the H heads' normed outputs,
    side by side, each of them Dv numbers times norm_weight (Dv,) times gain.
    The result, of the same shape, gives the same output from normed outputs
    that nothing is multiplied with. The arguments stay as they are.
    """
    # your code


# %% tags=["check:24.3"]
check.ex24_3(folded)

# %% [markdown]
# So the gain adds nothing to what a model *can* compute. An ablation of it
# measures only how the model *trains*. Take the twin without a gain, with
# $V = (1 - \mu) W$ for its output matrix. Both compute the same before the
# first step. With the same AdamW they do not after it: the steps of $W$ and of
# $V$ are about as large as the learning rate, but the function sees only
# $(1 - \mu)$ times the step of $W$.
#
# ### Exercise 24.4: the same path
#
# *Hard, 20 minutes.* With which settings of its own does $V$ go where
# $(1 - \mu) W$ goes, step for step? Take pen and paper.


# %% tags=["stub:24.4"]
def same_path(
    weight: np.ndarray,
    gain: float,
    lr: float,
    weight_decay: float,
    eps: float,
) -> tuple[np.ndarray, float, float, float]:
    """Return what W_O needs to train without a gain as it did with it.

    A model multiplies by gain, then by weight, W_O. AdamW trains weight with
    lr, weight_decay and eps. Its twin has no gain. Return the initial W_O of
    the twin, and its lr, weight_decay and eps, with which both compute the
    same function after every step. A step of AdamW is
    weight <- weight - lr * (weight_decay * weight + m / (sqrt(v) + eps)),
    with m and v running means of the gradient and of its square.
    """
    # your code


# %% tags=["check:24.4"]
check.ex24_4(same_path)

# %% [markdown]
# Let it train: the model with the gain, the twin with your settings, and a twin
# that has the folded matrix but the old settings. All see the same rows of the
# race, in float64.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
TASK = NeedleTask(needles=2, questions=2, repeats=False, length=64)
CONFIG = ModelConfig(
    vocab_size=TASK.vocab_size,
    embed_dim=64,
    num_layers=2,
    num_heads=4,
    max_length=64,
    attention="diff",
)
SETTINGS = {"lr": 3e-3, "weight_decay": 0.1, "eps": 1e-8}


# %%
class WithoutGain(MultiheadDiffAttention):
    """A variant in one line: the norm's output is not scaled."""

    norm_scale = 1.0


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def build(gain: bool) -> DecoderLM:
    """The same initial weights, with or without the gain."""
    torch.manual_seed(0)
    model = DecoderLM(CONFIG).double()
    for block in model.blocks:
        if not gain:
            block.attention.__class__ = WithoutGain
    return model


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def optimiser(model: DecoderLM, change) -> torch.optim.AdamW:
    """AdamW, in which change gives each W_O and its settings."""
    groups = []
    for block in model.blocks:
        W, gain = block.attention.out_proj.weight, 1 - block.attention.lam_init
        V, lr, decay, eps = change(W.detach().numpy(), gain, **SETTINGS)
        W.data = torch.tensor(V)
        own = {"lr": lr, "weight_decay": decay, "eps": eps}
        groups.append({"params": [W]} | own)
    special = {id(group["params"][0]) for group in groups}
    rest = [p for p in model.parameters() if id(p) not in special]
    return torch.optim.AdamW([*groups, {"params": rest}], **SETTINGS)


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def losses(model: DecoderLM, change) -> np.ndarray:
    """Train for STEPS steps; the loss before each."""
    adamw, found = optimiser(model, change), []
    for step in range(STEPS):
        inputs, targets = TASK.batch(step, 8)
        error = cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        found.append(error.item())
        adamw.zero_grad()
        error.backward()
        adamw.step()
    return np.array(found)


# %% tags=["nbval-ignore-output"]
same_path = check.mine("24.4")


def only_folded(W, gain, lr, weight_decay, eps):
    return gain * W, lr, weight_decay, eps


with_gain = losses(build(True), lambda W, gain, *_, **s: (W, *s.values()))
twin = losses(build(False), same_path)
hasty = losses(build(False), only_folded)
print(f"your settings: at most {abs(twin - with_gain).max():.0e} apart")
print(f"old settings:  at most {abs(hasty - with_gain).max():.0e} apart")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert abs(twin - with_gain).max() < 1e-9
assert abs(hasty - with_gain).max() > 1e-6

# %% [markdown]
# Only rounding is left. So a model "without gain" is a model *with* it whose
# output matrices begin larger, by $1 / (1 - \mu)$, with a learning rate larger
# by the same factor (and another decay and eps). By layer that is:

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for name, depths in (("race", (0, 1)), ("28 layers", (0, 13, 27))):
    factors = (1 / (1 - lambda_init(depth)) for depth in depths)
    print(f"{name:9s}", *(f"{x:.2f}" for x in factors))

# %% [markdown]
# In the last of 28 layers the rate would be five times as large. An ablation of
# the gain at one learning rate compares *learning rates of one matrix*. It
# wants a sweep of the rate, which our race does not have. (With gradient
# clipping, as there, the paths differ a little.)
#
# ## What the paper did not ablate
#
# | not in the paper's tables [P, Table 6] | here |
# |---|---|
# | lambda fixed, per head, without exp | race |
# | the gain | race, and an identity |
# | shared keys | race |
# | sign of the second map | race, MQAR, text |
# | width of the values | nothing |
#
# The authors' later V2 drops norm and lambda_init, and gives each token a
# lambda [B2]: with another lambda, the norm could go. Chapter 27 has it.
#
# ## The package agrees

# %% tags=["hide-input"] jupyter={"source_hidden": true}
layer = MultiheadDiffAttention(32, 2, depth=3).double()
bare = MultiheadDiffAttention(32, 2, depth=3).double()
bare.load_state_dict(layer.state_dict())
bare.__class__ = WithoutGain
with torch.no_grad():
    layer.norm_weight.copy_(torch.linspace(0.5, 2, len(layer.norm_weight)))
    W, w = layer.out_proj.weight.numpy(), layer.norm_weight.numpy()
    new = check.mine("24.3")(W, w, layer.norm_scale)
    bare.out_proj.weight.copy_(torch.from_numpy(new))
    x = torch.randn(2, 5, 32, dtype=torch.float64)
    assert torch.allclose(layer(x), bare(x), atol=1e-12)
print("a layer with its norm weight and gain folded computes the same")

# %% [markdown]
# ## Common mistakes
#
# - **Changing two things.** Without the norm there is no gain. Name both.
# - **A metric at its ceiling.** "No difference" then says that the task is too
#   easy to tell.
# - **Seven rows as seven pieces of evidence.** They share a reference, and each
#   can be a false finding.
# - **One learning rate**, where a part is one.
#
# ## Summary
#
# - In the paper's table norm and second map interact: the one alone does
#   nothing, the other harm, both together help. One run a row.
# - In our race six of seven changes leave the ability as it was; without the
#   norm two seeds of five lose it. By the fixed metric no contrast passes; by
#   the loss, exploratory, one does after Holm.
# - This small race ranks nothing for language models. On text, at 8 million
#   parameters, eight pairs do not tell subtracting from adding; at 15 million, on
#   a mixture and at one rate, subtracting ends lower in five of five. Of the seven
#   ablations one is run, lambda_init 0.8, with five seeds.
# - The gain can be folded away. Its ablation compares learning rates.
#
# Ask of each ablation what else it changed.
#
# ## Further reading
#
# - Ye et al., *Differential Transformer*, arXiv 2410.05258: Table 6, and
#   appendix G on the gain. [P]
# - Holm, *A Simple Sequentially Rejective Multiple Test Procedure*, 1979.
# - Fisher, *The Design of Experiments*, 1935: why one varies several things at
#   once.
# - Dunnett, 1955: a test that knows of the shared reference.
# - Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, 2019: AdamW.
