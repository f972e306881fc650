# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Problem set 4: The same, or not
#
# To train and to write fast, one cuts things up: documents are laid in one
# row, a batch is computed in parts, the optimiser is shared out, and several
# tokens are written in one call. Each time the result must be the same as
# without the cut. In four problems you make it so, and test it. The fifth is
# about the other verdict: when may one say that two results are *not* the
# same? There we work in a laboratory in which training costs nothing.
#
# {card}
#
# ## Prerequisites
#
# | you need | for | from |
# |---|---|---|
# | differential maps, the causal mask | P4.1 | chapter 03 |
# | packing, ends of documents | P4.1 | chapter 14 |
# | targets that count, means over them | P4.2 | chapters 14 and 17 |
# | AdamW; shares, reduce-scatter | P4.3 | chapters 14 and 17 |
# | a cache, prefill and decode | P4.4 | chapter 16 |
# | mean, standard deviation | P4.5 | school |
#
# Each problem can be solved without the ones before it. A cell that begins
# with `if passed` uses your function once its check has passed, and is silent
# before.

# %%
import json
import textwrap
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector, vector_to_parameters

# %%
from minidiff import Compute, DecoderLM, KVCache, ModelConfig
from minidiff import MultiheadDiffAttention, TrainConfig
from minidiff import check, course, generate, plots, train
from minidiff.check import hint, solution  # noqa: F401
from minidiff.data import ByteTokenizer, NeedleTask, TextData
from minidiff.data.mixture import Mixture, Part
from minidiff.nn.layers import apply_rope, rope_angles
from minidiff.ops.epilogue import finish
from minidiff.training.step import Updates

plots.use_style()

# %% [markdown]
# ## Who is my neighbour?
#
# Chapter 14 laid all documents end to end and cut the row into windows. So a
# document has a stranger before it. Here is one short document behind three
# different strangers, all of equal length. The model is as it comes, untrained.
# Its loss on the document should be the same three times. Is it?


# %%
def new_model(E: int = 32, seed: int = 0) -> DecoderLM:
    """An untrained differential model of two layers, ids up to 511."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": 512, "embed_dim": E, "num_layers": 2}
    return DecoderLM(ModelConfig(**sizes, num_heads=4, max_length=256))


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
model, coder = new_model().double(), ByteTokenizer()
mine = coder.encode("def area(r):\n    return 3 * r * r  # near")
losses = []
for stranger in ("import os\n\n\n", "# a draft\n\n\n", "x = [1, 2]\n\n"):
    assert len(stranger) == 12
    row = torch.tensor([coder.encode(stranger) + mine])
    targets = row[:, 1:].clone()
    targets[:, : len(stranger)] = -100  # only my document counts
    losses.append(model.loss(row[:, :-1], targets).item())
change = max(losses) - min(losses)
print("one document, three neighbours, losses:", np.round(losses, 4))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert change > 1e-3

# %% [markdown]
# It is a small change, as no head has learned to look anywhere yet. But the
# maps do cross the border, and what they bring has nothing to do with the
# document. Chapter 14 left it to the model to learn that nothing carries over.
# We can do better and make it impossible.
#
# ## Problem P4.1: a row of several documents
#
# *Medium, 20 minutes.* A token shall see the tokens before it *in its own
# document*, and itself. The id `end` closes a document and is its last token.
# Take a row of seven ids, with 0 for the end:
#
# ```
# place     0   1   2   3   4   5   6
# id        4   0   6   7   0   5   5
# ```
#
# Which places does place 4 see? Which does place 5? Draw the mask of all seven
# on paper. It consists of triangles.
#
# The operator `diff_attention` has no argument for it. So write the head out:
# logits, mask, two softmaxes, the difference. Each row of the batch has its own
# borders.
#
# And if all logits are equal, what does row 4 of $A_1 - \lambda A_2$ hold?


# %% tags=["stub:P4.1"]
def packed_heads(
    q: Tensor, k: Tensor, v: Tensor, lam: float, tokens: Tensor, end: int
) -> Tensor:
    """Return (A1 - lam A2) v (B, H, T, 2D); no document sees another.

    q, k (B, H, 2, T, D) and v (B, H, T, 2D), of B packed rows. tokens (B, T):
    their ids. The id end closes a document and belongs to it; the last
    document of a row may be without one. Causal, no norm.
    """
    # your code


# %% tags=["check:P4.1"]
passed = check.exP4_1(packed_heads)

# %% [markdown]
# On paper: place 4 closes its document and sees 2, 3 and 4, with
# $(1 - \lambda)/3$ on each. Place 5 sees itself alone.
#
# The next judge is a layer that reads each document alone. In the packed row
# there is one thing more: *positions*. RoPE turns the third document's tokens
# for places 9 to 15, and alone it would begin at 0. Must positions begin anew
# in each document? Decide before you run the cell: here they run on.

# %%
torch.manual_seed(0)
layer = MultiheadDiffAttention(64, 4, depth=3).double().requires_grad_(False)
lengths = (4, 5, 7)
tokens = torch.full((1, 16), 7)
tokens[0, [3, 8, 15]] = 0  # an end after 4, 5 and 7 tokens
x = torch.randn(1, 16, 64).double()
cos, sin = (table.double() for table in rope_angles(16, 8))
q, k, v = (
    getattr(layer, f"{n}_proj")(x)
    .unflatten(-1, getattr(layer, f"{n}_shape"))
    .movedim(1, -2)
    for n in "qkv"
)
q, k = apply_rope(q, cos, sin), apply_rope(k, cos, sin)

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
if passed:
    heads = packed_heads(q, k, v, layer.lam(), tokens, end=0)
    norm = layer.norm_weight, 1 - layer.lam_init, layer.norm_eps
    heads = finish(heads, heads.dtype, *norm)  # the headwise norm
    gaps = []
    packed = layer.out_proj(heads.transpose(1, 2).flatten(2))
    for n, document, out in zip(
        lengths, x.split(lengths, 1), packed.split(lengths, 1), strict=True
    ):
        alone = layer(document, rope=(cos[:n], sin[:n]))
        gaps.append((out - alone).abs().max().item())
    print("three documents, packed and alone: differ by", end=" ")
    print("< 1e-6" if max(gaps) < 1e-6 else f"{max(gaps):.1e}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
if passed:
    assert max(gaps) < 1e-6  # cos and sin are float32

# %% [markdown]
# Positions may run on: RoPE knows distances only, and inside a document these
# are what they were. The mask is all it takes, in *both* maps. A mask in branch
# 1 alone would subtract what branch 2 finds in other texts.
#
# It even saves work. How many pairs of query and key are left, of those under
# the causal mask?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
kept, causal = (sum(n * (n + 1) // 2 for n in ns) for ns in (lengths, (16,)))
print(f"{kept} of {causal} pairs")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert (kept, causal) == (53, 136)

# %% [markdown]
# A kernel that skips hidden blocks takes this gift; chapter 06's FlexAttention
# does, if given such a mask. With many short documents in a long row nearly
# everything is skipped.
#
# ## Problem P4.2: parts of unequal weight
#
# *Medium, 15 minutes.* What should the last token of a document predict? The
# first word of a stranger cannot be known, so this target is set to $-100$ and
# does not count. Questions and needles leave even fewer targets in a row.
#
# Now a batch is too large for the memory and is computed in parts. Chapter 17
# gave each process its factor, as the counts were known to all. Here the parts
# come one after another, and nobody says how many there will be. Three come,
# and their targets have these losses:
#
# | part | losses | its mean |
# |---|---|---|
# | first | 1, 1, 1, 1, 1, 1 | 1 |
# | second | none that counts | ? |
# | third | 5, 5 | 5 |
#
# What is the mean over all targets? What is the mean of the means? And what is
# the mean of the second part, to a computer?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
loss = cross_entropy(torch.zeros(1, 4), torch.tensor([-100]))
print(f"all targets: {(6 * 1 + 2 * 5) / 8:.0f}")
print(f"mean of means: {(1 + 5) / 2:.0f}")
print("a mean over nothing:", loss.item())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert loss.isnan()

# %% [markdown]
# One such part, and every weight of the model is NaN after the step.
#
# What can be computed for a part that stays right whatever comes after it? What
# is left for the end? Mind the memory: `backward` frees what a part's forward
# pass has kept, and adds the gradient to what `.grad` holds.


# %% tags=["stub:P4.2"]
def mean_gradient(
    model: nn.Module, parts: Iterable[tuple[Tensor, Tensor]]
) -> float:
    """Leave in .grad the gradient of the mean loss of all parts; return it.

    parts gives (inputs, targets), ids (B, T) each; B and T may differ, and
    nobody knows how many will come. model(inputs) gives logits (B, T, V). The
    mean is over all targets but those of -100; in some parts none may count.
    What .grad held before is dropped. Before the next part is asked for, the
    backward pass of the last one is done: only one fits in memory.
    """
    # your code


# %% tags=["check:P4.2"]
passed = check.exP4_2(mean_gradient)

# %% [markdown]
# Against the package: `Updates` is one step of `minidiff.train`, and its record
# holds the loss and the norm of the gradient. The batch has 8 rows, some of
# text and some of needles.

# %%
source = Path(textwrap.__file__).read_text(encoding="utf-8")
ids = coder.encode(source)
text = TextData(ids, ids, vocab_size=256, length=32)
data = Mixture(text, needles=Part(NeedleTask(length=32), share=0.5))
inputs, targets = data.batch(3, 8)
print("targets by row:", (targets != -100).sum(1).tolist())

model = new_model().double()
theirs = Updates(model, TrainConfig(batch_size=8), Compute())(data, 3)

# %%
if passed:
    for sizes in ([8], [1, 3, 4], [1] * 8):
        model = new_model().double()
        parts = zip(inputs.split(sizes), targets.split(sizes), strict=True)
        loss = mean_gradient(model, parts)
        g = parameters_to_vector([p.grad for p in model.parameters()])
        assert np.isclose(loss, theirs["loss"])
        assert np.isclose(g.norm().item(), theirs["grad_norm"])
        print("rows in parts of", sizes, "- minidiff's loss and gradient")

# %% [markdown]
# What would the mean of means do? Take the parts of one row each. Text rows
# have 32 targets each and needle rows one. So what share of the weight do
# needles have in it, and what share should they have?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
counts = (targets != -100).sum(1)
needles = int((counts == 1).sum())
right, wrong = needles / int(counts.sum()), needles / 8
print(f"needles: {right:.0%} of the targets, {wrong:.0%} of the mean of means")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert wrong > 10 * right

# %% [markdown]
# It does not crash, the loss falls, and another task is trained than the one
# that was asked for. (One may *want* needles to weigh more. Then one says so.)
#
# ## Problem P4.3: a step in shares
#
# *Medium, 15 minutes.* With the whole gradient known, AdamW goes weight by
# weight: each new weight depends on its own gradient and averages alone. So $W$
# processes can share out the step. Each holds a $W$-th of the weights and of
# both averages, as in chapter 17. Chapter 14's step can be applied to a share as
# it is. Here it is, with a learning rate of a hundredth and a decay of a tenth.


# %% tags=["same:minidiff.check.exP4.shares.adamw_step"]
def adamw_step(
    w: np.ndarray, g: np.ndarray, m: np.ndarray, s: np.ndarray, t: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the new w, m and s after AdamW's step t, counted from 1."""
    m = 0.9 * m + 0.1 * g
    s = 0.95 * s + 0.05 * g**2
    mean, size = m / (1 - 0.9**t), np.sqrt(s / (1 - 0.95**t))
    return 0.999 * w - 0.01 * mean / (size + 1e-8), m, s


# %% [markdown]
# But a training also *clips*: a gradient longer than `clip` is made as short as
# that, all its elements by one factor. Let there be $W = 2$ processes and
# $N = 2$ weights. The mean gradient is $(3, 4)$, so process 0 holds the 3 and
# process 1 the 4, and `clip` is 1. What should come out? And what comes out if
# each clips its own share?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
g = np.array([3.0, 4.0])
print("by the norm of all: ", g * min(1, 1 / np.sqrt((g**2).sum())))
print("each by its own:    ", g * np.minimum(1, 1 / np.abs(g)))

# %% [markdown]
# The second is too long and points elsewhere. So the step is not quite without
# talk. What is the least that the processes must tell each other? One number
# from each.
#
# In your function axis 0 is the process. Keep in mind that what sums over axis
# 0 goes through a wire. $N$ need not be a multiple of $W$: shares are
# $n = \lceil N / W \rceil$ long, filled up with zeros behind the last element.


# %% tags=["stub:P4.3"]
def sharded_step(
    w: np.ndarray,
    m: np.ndarray,
    s: np.ndarray,
    grads: np.ndarray,
    t: int,
    clip: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return everyone's shares of w, m and s after step t, from 1.

    Axis 0 is the process, of W. w, m, s (W, n): process r holds elements r n
    to (r + 1) n - 1 of the model's N, where n = ceil(N / W); what is missing
    in the last shares is zeros. grads (W, N): the gradient of the whole model
    as each process found it on its own rows. Their mean is the gradient. If
    its norm, over all N, is above clip, it is made as short as clip.
    """
    # your code


# %% tags=["check:P4.3"]
passed = check.exP4_3(sharded_step)

# %% [markdown]
# Now train with it: three processes, each with two of six rows, against
# PyTorch's AdamW on all six. All rows are text, so their means weigh alike.


# %%
def gradient(model: DecoderLM, rows: slice, step: int) -> torch.Tensor:
    """The gradient of some rows of a batch of six, as one vector."""
    model.zero_grad()
    model.loss(*text.batch(step, 6, rows=rows)).backward()
    return parameters_to_vector([p.grad for p in model.parameters()])


# %%
whole = new_model().double()
optimizer = torch.optim.AdamW(
    whole.parameters(), lr=0.01, betas=(0.9, 0.95), weight_decay=0.1
)
CLIP, norms = 2.0, []
for step in range(8):
    norms.append(gradient(whole, slice(0, 6), step).norm().item())
    for p in whole.parameters():
        p.grad /= max(1.0, norms[-1] / CLIP)
    optimizer.step()

# %%
model, W = new_model().double(), 3
weights = parameters_to_vector(model.parameters()).detach()
N = len(weights)
n = -(-N // W)
w, m, s = np.zeros((3, W, n))
w.reshape(-1)[:N] = weights
for step in range(8 if passed else 0):
    rows = [slice(2 * r, 2 * r + 2) for r in range(W)]
    grads = np.stack([gradient(model, x, step).numpy() for x in rows])
    w, m, s = sharded_step(w, m, s, grads, step + 1, CLIP)
    gathered = torch.from_numpy(w.reshape(-1)[:N])  # the all-gather
    vector_to_parameters(gathered, model.parameters())

# %%
assert min(norms) < CLIP < max(norms)
print("some of the 8 gradients were clipped, others not")
print(f"{N} weights; each process holds {3 * n} numbers instead of {3 * N}")
assert N % W > 0
if passed:
    for a, b in zip(model.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-9)
    print("three shares and one whole, after 8 steps: differ by < 1e-9")

# %% [markdown]
# Reduce-scatter of the gradient, one number each for the norm, a step on one's
# share: so a step ends with FSDP too. Only the all-gather waits there, until
# the next step's layers want their weights.
#
# ## Problem P4.4: several tokens in one call
#
# *Hard, 25 minutes.* A decode step reads all weights and the whole cache to
# find one token (chapter 16). Reading them for five tokens costs hardly more.
# But the fifth cannot be computed before the fourth is known. Or can it?
#
# Suppose that somebody *guesses* the next four tokens, cheaply. Then one call
# with five tokens, the last known one and the four guesses, tells after each of
# them what the model would say next. Let the text so far end in `d`, and the
# guesses be `e f g h`:
#
# ```
# the model reads        d   e   f   g   h
# and says, in greedy    e   f   x   h   i
# ```
#
# *Greedy* means that it takes the likeliest. Which guesses are right? Which
# tokens does the text certainly go on with, and how many of those for one call?
# What is to be thought of the `h` and the `i`?
#
# The cache has read all five by now. It must forget those that are no part of
# the text. The layers' parts of the cache have a `length`, which may be set;
# what lies behind it will be written over.


# %% tags=["stub:P4.4"]
def verify(
    model: DecoderLM, cache: list[KVCache], last: int, draft: list[int]
) -> list[int]:
    """Return the tokens that greedy decoding writes next, as many as found.

    cache: a part for each layer, of all tokens before the token last. draft:
    guesses at what comes after it, none or more. The model is called once.
    The result is the guesses up to the first wrong one, then the model's own
    token. Afterwards the cache holds last and the guesses that were right.
    """
    # your code


# %% tags=["check:P4.4"]
passed = check.exP4_4(verify)

# %% [markdown]
# In the example `e` and `f` are right, and the text goes on with `e f x`: three
# tokens for one call. The `h` and `i` follow a `g` that never comes. That `h`
# was guessed, too, means nothing.
#
# Who guesses? Often a small model. Here nobody: we look the guess up. The model
# was trained on a file, so it likes to say what is in the file. Take the last
# four bytes, find them in the file or in what is written already, and guess
# that what came then comes again.

# %%
known = bytes(ids[:4000])


def look_up(row: list[int], most: int) -> list[int]:
    """What followed the last four bytes the last time: at most `most`."""
    text = known + bytes(row)
    place = text.rfind(text[-4:], 0, -1)
    return list(text[place + 4 :][:most]) if place >= 0 else []


print(bytes(look_up(list(b"size = 2; size"), 4)))
assert bytes(look_up(list(b"size = 2; size"), 4)) == b" = 2"

# %% [markdown]
# And a model to write with, trained on these 4000 bytes for some seconds. It
# writes in double precision: one call with five tokens and five calls with one
# round differently, and where two tokens are nearly as likely that could decide.

# %% tags=["parameters"] quick={"STEPS": 6}
STEPS = 400

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
sizes = {"embed_dim": 64, "num_layers": 2, "num_heads": 4}
writer = DecoderLM(ModelConfig(**sizes, max_length=256))
lines = TextData(ids[:4000], ids[:4000], vocab_size=256, length=96)
config = TrainConfig(
    steps=STEPS, batch_size=4, lr=5e-3, warmup_steps=min(30, STEPS // 2)
)
loss = train(writer, lines, config, progress=False)[-1]["loss"]
writer.double().requires_grad_(False)
print(f"{loss:.1f} nats a byte")


# %% [markdown]
# Each call tries at most `most` guesses; with `most = 0` this is ordinary
# decoding. How many calls will 180 bytes take, with up to 8 guesses in each?


# %%
def write(prompt: list[int], count: int, most: int) -> tuple[list[int], list]:
    """Write count tokens; return all, and how many each call found."""
    cache = writer.new_cache(1, capacity=256)
    writer(torch.tensor([prompt[:-1]]), cache=cache)
    row, found = list(prompt), []
    while len(row) < len(prompt) + count:
        tokens = verify(writer, cache, row[-1], look_up(row, most))
        row += tokens
        found.append(len(tokens))
    return row[: len(prompt) + count], found


# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
prompt = coder.encode("    width (default: 70)")
row = torch.tensor([prompt])
want = generate(writer, row, max_new_tokens=180, temperature=0)[0].tolist()
print(coder.decode(want))
if passed:
    for most in (0, 2, 4, 8):
        written, found = write(prompt, 180, most)
        assert written == want
        print(f"up to {most} guesses: this very text in {len(found)} calls")
    assert len(found) < 180


# %% [markdown]
# The same bytes as `generate`, in fewer calls. How many fewer is up to the
# guesser and the text: this model was trained on what we look up, which is kind
# to us, and it is poor, which is not. A wrong guess costs little as long as
# reading is the bill. On a CPU, with a model this small, it is not: count calls
# here, and do not reach for a clock.
#
# It all rests on one rule of chapter 16: the mask is aligned to the *end*, so
# $T$ new tokens behind $S$ old ones are no special case. And nothing in it asks
# whether attention is plain or differential.
#
# ## Problem P4.5: a laboratory without costs
#
# *Medium, 20 minutes.* The other verdict. Chapters 14 and 15 compare two ways
# to train by pairs of seeds: the gaps, their mean, and an interval. If it leaves
# 0 out, a difference is *shown*. But how reliable is the method itself? To find
# out one would repeat a whole experiment a thousand times. With losses drawn at
# random that takes no time. And as we choose the true gap, we can see how often
# the method says the truth.
#
# For $n$ values with standard deviation $s$ (dividing by $n - 1$) the half-width
# of the interval is
#
# $$
# h_n = t_n\, \frac{s}{\sqrt n}
# \tag{P4.1}
# $$
#
# with Student's $t_n$. It is large for few values, because these know their own
# spread badly. Written as $\sqrt{n - 1}\, \tan \theta$, Student's $t$ has an
# angle whose probability is a power of $\cos \theta$, so that $t_n$ can be found
# by adding up:


# %%
def student_t(n: int) -> float:
    """The factor of the 95 % interval for n values."""
    theta = np.linspace(-np.pi / 2, np.pi / 2, 200_001)
    share = np.cos(theta) ** (n - 2)
    share = np.cumsum(share) / share.sum()
    return np.sqrt(n - 1) * np.tan(np.interp(0.975, share, theta))


t = np.array([np.nan, np.nan] + [student_t(n) for n in range(2, 41)])
print("t for 2, 5, 10, 40 values:", t[[2, 5, 10, 40]].round(2))
assert np.allclose(t[[2, 5]], [12.706, 2.776], rtol=1e-3)

# %% [markdown]
# Your function gets the losses of $R$ experiments with $N$ seeds each, and says
# what each experiment shows after 1, 2, 3 seeds and so on. Begin on paper: the
# gaps of one experiment are 1, 2 and 3. With $t_2 = 12.7$ and $t_3 = 4.3$, what
# is shown after two seeds, and after three?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
gaps = np.array([1.0, 2.0, 3.0])
for n in (2, 3):
    mean, half = gaps[:n].mean(), t[n] * gaps[:n].std(ddof=1) / np.sqrt(n)
    print(f"n = {n}: t = {t[n]:.1f}, mean {mean:.1f} +- {half:.1f}")

# %% [markdown]
# Nothing yet, in both.


# %% tags=["stub:P4.5"]
def shown(plain: np.ndarray, diff: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return what each experiment shows after each seed: 1, -1 or 0.

    plain, diff (R, N): losses of R experiments of N seeds, in pairs by seed.
    Entry (r, n - 1) looks at the first n seeds of experiment r. It is 1 if
    the 95 % interval of the mean of plain - diff lies above 0, -1 if it lies
    below 0, and 0 if it holds 0. t[n] is Student's t for n values, n = 2 to
    N. One seed shows nothing.
    """
    # your code


# %% tags=["check:P4.5"]
passed = check.exP4_5(shown)

# %% [markdown]
# ### How many seeds, honestly?
#
# In the laboratory the true gap is one standard deviation of single gaps.
# A rule of thumb wants two standard errors to be at most the gap,
# $2 \sigma / \sqrt n \le$ gap, which asks for four seeds. Take two thousand
# experiments with up to 40 seeds: in what share of them do four seeds show the
# gap? Write down a number. And how many seeds would *you* plan?


# %%
def laboratory(gap: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Losses (2000, 40) of both kinds; gaps have standard deviation 1."""
    rng = np.random.default_rng(seed)
    luck = 2 * rng.normal(size=(2000, 40))  # of a seed, the same for both
    own = rng.normal(size=(2, 2000, 40)) / np.sqrt(2)
    return 5 + luck + own[0] + gap, 5 + luck + own[1]


# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
if passed:
    found = (shown(*laboratory(1.0), t) == 1).mean(0)
    for n in (3, 4, 5, 8, 10, 12, 15):
        print(f"{n:2d} seeds: shown in {found[n - 1]:.0%} of experiments")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
if passed:
    assert found[3] < 0.4 and found[11] > 0.8

# %% [markdown]
# Four seeds are a bad bet. The rule says when an *average* experiment would just
# touch the border, with the true $\sigma$. But half of all experiments find less
# than the true gap, and few seeds pay for not knowing $\sigma$. To be shown in
# nine of ten experiments the same gap needs about three times as many seeds. An
# experiment that shows nothing has not shown that there is nothing.
#
# ### How often is nothing taken for something?
#
# Now let the true gap be 0. With a fixed number of seeds, one in twenty
# experiments shows a difference all the same: that is what 95 % means. But
# suppose that we look after every seed, and stop as soon as something is shown.
# Forty seeds at most. Guess the share of experiments that end with a discovery.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Share of experiments that show a difference where there is none, against seeds, 2 to 40. In the solved notebook the curve for a number fixed before is level at five percent, and the curve for looking after each seed rises from five percent to about a third."}}
if passed:
    verdicts = shown(*laboratory(0.0), t)
    fixed = (verdicts != 0).mean(0)
    looking = np.maximum.accumulate(verdicts != 0, axis=1).mean(0)
    n = np.arange(2, 41)
    plt.plot(n, fixed[1:], label="number fixed before")
    plt.plot(n, looking[1:], "--", label="stopped when it looks right")
    plt.ylim(0, 0.4)
    plt.xlabel("seeds")
    plt.ylabel("shown, where nothing is")
    plt.legend()
    plt.show()

# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
if passed:
    print(f"40 seeds, fixed before: {fixed[-1]:.0%}")
    print(f"up to 40, looking on:   {looking[-1]:.0%}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
if passed:
    assert fixed[1:].min() > 0.03 and fixed[1:].max() < 0.07
    assert looking[-1] > 4 * fixed[-1]

# %% [markdown]
# Each look is honest, and all of them together are not. Whoever adds seeds until
# it looks right finds something in a large share of cases, where there is
# nothing at all. The number is chosen before, or each look is paid for by wider
# intervals.
#
# ### A real record
#
# A recorded sweep of the needle task: five seeds at each of four learning rates,
# and the same rows for both kinds. What do the first two, three, four and five
# seeds show at each? And how much did pairing save there?

# %%
record = json.loads(course.results("needle_sweep.json").read_text())
losses = {
    (run["kind"], run["lr"], run["seed"]): run["valid_loss"]
    for run in record["runs"]
}
rates = sorted({lr for _, lr, _ in losses})
print("recorded on", record["device"])

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
plain, diff = (
    np.array([[losses[kind, lr, seed] for seed in range(5)] for lr in rates])
    for kind in ("softmax", "diff")
)  # (rates, seeds)
ratios = []
for lr, p, d in zip(rates, plain, diff, strict=True):
    paired = (p - d).std(ddof=1)
    apart = np.sqrt(p.var(ddof=1) + d.var(ddof=1))
    print(f"rate {lr:g}: mean gap {(p - d).mean():.2f}")
    print(f"  sigma {paired:.2f} paired, {apart:.2f} unpaired")
    ratios.append(paired / apart)

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
if passed:
    verdicts = shown(plain, diff, t)
    for lr, row in zip(rates, verdicts, strict=True):
        print(f"rate {lr:g}: after 1 to 5 seeds", row.astype(int).tolist())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert min(ratios) > 0.9 and max(ratios) < 1.2
if passed:
    assert verdicts[:, -1].tolist() == [1, 1, 1, 0]

# %% [markdown]
# Pairing saved nothing here. It saves most where two ways to train are almost
# the same. Plain and differential models are not: the same seed gives them other weights and other luck. It costs nothing to
# pair, and one sees what it is worth.
#
# At three rates five seeds show a gap. At the highest rate nothing is shown,
# though all five gaps are positive: one plain run went so badly that it makes
# the spread larger than the gap. Is five times the same sign not enough by
# itself?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
worst = (plain - diff)[3]
assert worst.std(ddof=1) > worst.mean() and plain[3].argmax() == worst.argmax()
assert ((plain - diff) > 0).all()
print(f"five equal signs by luck: 2 of {2**5} = {2 / 2**5:.0%}")

# %% [markdown]
# Not quite: that is a bit more than one in twenty. With five seeds nothing can
# be shown by signs alone. With six it can.
#
# ## What you have now
#
# A mask for packed rows, a gradient from parts that nobody has counted, an
# optimiser in shares, a decoder that writes several tokens a call, each the same
# as the whole; and a way to say how much a comparison can be believed. Part V
# makes comparisons.
#
# Last, two of these in the package itself: a batch in parts, and a text with
# and without a cache.

# %%
records = []
for parts in (1, 2, 4, 8):
    compute = Compute(accumulate=parts)
    updates = Updates(new_model().double(), TrainConfig(batch_size=8), compute)
    records.append(updates(data, 3))
for name in ("loss", "grad_norm"):
    assert np.allclose([record[name] for record in records], theirs[name])

model, row = new_model().double(), torch.tensor([mine])
settings = {"max_new_tokens": 20, "temperature": 0}
with_cache = generate(model, row, **settings)
assert torch.equal(with_cache, generate(model, row, **settings, cache=False))
print("minidiff: parts and whole, cache and none, are the same")

# %% [markdown]
# ## Further reading
#
# - Krell and others, *Efficient Sequence Packing without Cross-contamination*,
#   arXiv 2107.02027: which documents to put in one row, and the mask.
# - Rajbhandari and others, *ZeRO*, arXiv 1910.02054: P4.3 as stage one of
#   three.
# - Leviathan and others, *Fast Inference from Transformers via Speculative
#   Decoding*, arXiv 2211.17192: P4.4 for sampled text too, where a guess is
#   accepted with a probability.
# - Bouthillier and others, *Accounting for Variance in Machine Learning
#   Benchmarks*, arXiv 2103.03098: P4.5 with real benchmarks.
