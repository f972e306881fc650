# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 14. Text to tokens, and how training works
#
# By the end of this chapter you will have shown that a held-out loss can lie
# and choose the wrong model, and that AdamW's first step is as long as the
# learning rate, whatever the gradient.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - split text so that its loss can be trusted, and state it in bits per byte;
# - train byte-pair encoding by hand, and pack documents into rows;
# - write AdamW, and say what warm-up and a falling rate are for;
# - say how many seeds a comparison needs.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | modules, autograd | the models | chapter 5 |
# | cross-entropy, nats | every loss here | chapter 7 |
# | standard deviation | gradients, seeds | school |

# %%
from collections import Counter
from itertools import pairwise
from math import log, log2
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import torch

# %%
from minidiff import DecoderLM, ModelConfig, TrainConfig, check, plots, train
from minidiff.check import hint, solution  # noqa: F401
from minidiff.data import BPETokenizer, ByteTokenizer, NeedleTask, TextData
from minidiff.data import TokenData, standard_library, write_tokens
from minidiff.training.config import learning_rate
from minidiff.training.step import adamw

plots.use_style()

# %% [markdown]
# ## A cold open: a loss that lies
#
# A language model says which byte comes next. The cheapest one counts: after
# these $n$ bytes, how often did byte $c$ follow in the training text? What
# $n - 1$ bytes say counts like four more sightings; below $n = 0$ stands an
# even guess:
#
# $$
# p_n(c) = \frac{\text{times followed by } c + 4\, p_{n-1}(c)}
# {\text{times seen} + 4}
# \tag{14.1}
# $$
#
# Its loss is the mean of $-\log_2 p$, in *bits per byte*. How far back should
# it look? Held-out rows decide; ours are from the source of Python's own
# library. First the model has read a million bytes of other files. Then part
# of them is the rest of the very files that the rows come from. Will it look
# further back?


# %%
def modules(side: tuple) -> str:
    """The library's single-file modules, an empty line between them."""
    return "".join(d.text + "\n\n" for d in side if "/" not in d.path)


library = standard_library()
training, held_out = modules(library.train), modules(library.valid)
data = held_out.encode()
rows = [data[i : i + 128] for i in range(0, len(data) - 127, 128)]
rest = b"".join(row for i, row in enumerate(rows) if i % 10)
million = training.encode()[:1_000_000]


# %%
def bits_per_byte(text: bytes, rows: list, longest: int = 10) -> np.ndarray:
    """Loss of (14.1) by how far it looks back: 0 to longest bytes."""
    at, bits = range(len(text)), np.zeros(longest + 1)
    seen = [Counter(text[i : i + n] for i in at) for n in range(longest + 2)]
    for row in rows:
        for i in range(longest, len(row)):
            p = 1 / 256
            for n in range(longest + 1):
                with_c, before = row[i - n : i + 1], row[i - n : i]
                p = (seen[n + 1][with_c] + 4 * p) / (seen[n][before] + 4)
                bits[n] -= log2(p)
    return bits / sum(len(row) - longest for row in rows)


# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Bits per byte against the number of bytes looked back, 0 to 10. Having read other files the loss falls from 4.4 to 2.4 at three or four bytes and rises again. Having read the rest of the same files it falls further, to about 1.6 at seven bytes, and stays there."}}
honest = bits_per_byte(million, rows[::10])
leaky = bits_per_byte(million[len(rest) :] + rest, rows[::10])
plt.plot(honest, label="read other files")
plt.plot(leaky, label="read the rest of the same files", linestyle="--")
plt.gca().set(xlabel="bytes looked back", ylabel="bits per byte")
plt.legend()
plt.show()
print("best:", honest.argmin(), "bytes back, and", leaky.argmin())
assert honest.argmin() < leaky.argmin()
assert leaky.min() < honest.min() - 0.4

# %% [markdown]
# Same rows, same amount of text. The second loss is too low, as a file repeats
# itself. Worse, it picks another model: one that looks far back, finds copies
# and does harm in a new file. Who shuffles rows of all text and holds
# out a tenth is on the second curve. This is *leakage*.
#
# So `minidiff` splits by file. A hash of the path decides the side: a file
# keeps it when others come or go. But copies exist under other names. What
# share of held-out lines (of 20 characters or more) do training files hold?

# %% tags=["nbval-ignore-output"]
known = {line for d in library.train for line in d.text.splitlines()}
for tables in (True, False):
    lines = []
    for d in library.valid:
        if d.path.startswith("encodings/") == tables:
            lines += [x for x in d.text.splitlines() if len(x) >= 20]
    share = np.mean([line in known for line in lines])
    print("encodings/" if tables else "elsewhere ", f"{share:.0%}")
    assert (share > 0.5) == tables

# %% [markdown]
# `encodings` holds tables nearly alike, and our split puts some on each side.
# Look before you trust a split, ours too. This chapter stays with single-file
# modules.
#
# ## Cross-entropy, again
#
# A *token* is what a model predicts at once: a byte, or a longer piece.
# Chapter 7: the loss is the mean of $-\ln p$ over the tokens that came, in
# nats. How a text is cut into tokens changes; its bytes stay, so this number
# compares:
#
# $$
# \text{bits per byte} = \frac{\text{nats per token}}{\ln 2}
# \cdot \frac{\text{tokens}}{\text{bytes}}
# \tag{14.2}
# $$
#
# ## Bytes
#
# In UTF-8, ASCII takes one byte a character, all else two to four. With 256
# ids every text can be written. The price is length.

# %%
line = "if naïve: return None"
ids = ByteTokenizer().encode(line)
print(len(line), "characters,", len(ids), "bytes:", ids[:8], "...")
assert ByteTokenizer().decode(ids) == line

# %% [markdown]
# ## Pairs of bytes
#
# *Byte-pair encoding* (BPE; Sennrich and others, 2016): count neighbours, make
# the commonest pair a new token, repeat. Here are four words, and how often
# each occurs. Which pair is merged first, which second?

# %%
words, pieces = {"k e y": 5, "k e y s": 3, "t h e y": 4, "h e y": 2}, []
for _ in range(5):
    pairs = Counter()
    for word, times in words.items():
        for pair in pairwise(word.split()):
            pairs[pair] += times
    (a, b), times = pairs.most_common(1)[0]
    print(f"{a} + {b}: {times} times")
    pieces.append(a + b)
    words = {w.replace(f"{a} {b}", a + b): n for w, n in words.items()}

# %% [markdown]
# The `tokenizers` library does the same, fast; `BPETokenizer` wraps it. New
# ids follow the 256 bytes.

# %%
toy = ["key"] * 5 + ["keys"] * 3 + ["they"] * 4 + ["hey"] * 2
coder = BPETokenizer.train(toy, vocab_size=256 + 5)
assert [coder.decode([256 + i]) for i in range(5)] == pieces
print([coder.decode([i]) for i in coder.encode("monkeys")])

# %% [markdown]
# A text is encoded by the same merges in the same order. A word never seen
# falls into smaller pieces, at worst bytes. No piece reaches across words; a
# space goes with the word behind it.
#
# ### Exercise 14.1: one merge
#
# *Easy, 5 minutes.* On ids, as a tokenizer does it.


# %% tags=["stub:14.1"]
def merge(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """Return ids with each pair of neighbours replaced by the id new.

    Read from left to right; an id can be part of one pair only.
    """
    # your code


# %% tags=["check:14.1"]
check.ex14_1(merge)

# %% [markdown]
# Now learn from a megabyte, of *training* files only: a tokenizer could
# leak too. A model that knows nothing loses $\ln V$ nats a token for $V$ ids.
# With how many does it look best?

# %% tags=["nbval-ignore-output"]
print("   V  bytes/token  nats/token  bits/byte")
bits = []
for V in (256, 1024, 4096):
    coder = BPETokenizer.train([training[: len(million)]], V)
    length = len(data) / len(coder.encode(held_out))
    bits.append(log2(V) / length)
    print(f"{V:4d} {length:12.2f} {log(V):11.2f} {bits[-1]:10.2f}")
print(pieces := [coder.decode([i]) for i in coder.encode(line)])
assert bits[0] > bits[1] > bits[2] and pieces.count("\ufffd") == 2

# %% [markdown]
# The more ids, the *worse* the loss per token and the *better* per byte. Only
# the second compares: the tokenizer has learned, if not the model. But more
# ids shorten less and less, and each costs a row of the embedding. (Behind "a"
# stand the halves of ï, too rare for a merge.)
#
# ## Packing
#
# A model reads rows of $T$ tokens; files have all lengths. Filling each up to
# the longest would waste work. Instead all files lie end to end, an end mark
# behind each (in `minidiff` an empty line), and this long row is cut into
# windows side by side. A window may hold two files; the model has to learn
# what the mark means.
#
# ### Exercise 14.2: pack
#
# *Easy, 5 minutes.* A window is one id longer than $T$, as each input needs a
# target.


# %% tags=["stub:14.2"]
def pack(documents: list[list[int]], end: int, T: int) -> np.ndarray:
    """Return the windows (W, T + 1) of all documents in one row.

    Behind each document stands the id end. The windows lie side by side: T
    inputs each, and one id more, the last target, which is also the next
    window's first input. What is left over is dropped.
    """
    # your code


# %% tags=["check:14.2"]
check.ex14_2(pack)

# %% [markdown]
# `write_tokens`, on the command line `minidiff tokens`, puts the long row on
# disk. `TokenData` deals its windows shuffled, each once before any comes
# again (an *epoch*). Row $n$ dealt is the same whatever the batch size:

# %%
texts = [("train", "abc\ndef\n" * 40), ("valid", "ghi\njkl\n" * 40)]
with TemporaryDirectory() as folder:
    coder, quiet = ByteTokenizer(), {"about": {}, "progress": False}
    write_tokens(f"{folder}/toy", texts, coder, **quiet)
    dealt = TokenData(f"{folder}/toy", length=8, seed=1)
    twelve, _ = dealt.batch(0, batch_size=12)
    fours = torch.cat([dealt.batch(step, 4)[0] for step in range(3)])
assert torch.equal(twelve, fours)

# %% [markdown]
# ## AdamW
#
# A training step has a gradient $g$ for each weight $w$. How far should it go?
# The gradient's size is a poor guide: state the loss in bits instead of nats,
# and it grows. AdamW keeps two running averages, of $g$ and of $g^2$:
#
# $$
# m \leftarrow \beta_1 m + (1 - \beta_1)\, g, \qquad
# s \leftarrow \beta_2 s + (1 - \beta_2)\, g^2
# \tag{14.3}
# $$
#
# Both begin at 0, so at first they are too small: with equal gradients, $m$ is
# $(1 - \beta_1^t)\, g$ after step $t = 1, 2, \ldots$ Dividing by that factor
# is the *bias correction*. Then, with learning rate $\eta$, *weight decay*
# $\omega$, and a tiny $\epsilon$ against dividing by 0,
#
# $$
# w \leftarrow (1 - \eta\, \omega)\, w - \eta\,
# \frac{m / (1 - \beta_1^t)}{\sqrt{s / (1 - \beta_2^t)} + \epsilon}
# \tag{14.4}
# $$
#
# Let $w = 1$, $g = 0.5$, $\eta = 0.1$, $\omega = 0$. What is $w$ after the
# first step? And with $g = 0.005$?

# %%
for g in (0.5, 0.005):
    w = torch.tensor([1.0])
    w.grad = torch.tensor([g])
    torch.optim.AdamW([w], lr=0.1, weight_decay=0).step()
    print(f"g = {g}: w = {w.item():.1f}")

# %% [markdown]
# Corrected, the averages are $g$ and $g^2$, and $g / |g|$ is a sign: every
# weight steps by $\eta$. Later a weight whose gradients agree keeps that pace;
# where signs change, $m$ is small, $s$ is not, and the step is short.
#
# Weight decay pulls weights towards 0. It does not go through $m$ and $s$,
# where dividing would undo it: that is the W. `minidiff` lets it act on
# matrices only, since the neutral value of a norm's weight is 1.
#
# ### Exercise 14.3: one step
#
# *Medium, 10 minutes.* Equations 14.3 and 14.4.


# %% tags=["stub:14.3"]
def adamw_step(
    w: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    s: np.ndarray,
    t: int,
    lr: float,
    decay: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the new w, m and s after step t, counted from 1.

    w (N,): weights; g (N,): their gradient; m, s (N,): the two averages as
    the step before left them. The betas are 0.9 and 0.95, eps is 1e-8.
    """
    # your code


# %% tags=["check:14.3"]
check.ex14_3(adamw_step)

# %% [markdown]
# ### The control that fails
#
# Leave the bias correction out. With equal gradients, are the first steps too
# short, or too long?

# %% mystnb={"image": {"alt": "Step length in units of the learning rate against step number 1 to 1000, logarithmic. With correction it is level at 1. Without, and beta 2 of 0.95, it starts at 0.45 and rises to about 1. Without, and beta 2 of 0.999, it starts at 3.2, rises to above 6 near step 12 and falls slowly towards 1."}}
t = np.arange(1, 1001)
plt.semilogx(t, np.ones(1000), label="with correction")
for b2, style in ((0.95, "--"), (0.999, "-.")):
    length = (1 - 0.9**t) / np.sqrt(1 - b2**t)
    plt.plot(t, length, style, label=f"without, beta 2 = {b2}")
plt.gca().set(xlabel="step", ylabel="length / learning rate")
plt.legend()
plt.show()
assert 6 < length.max() < 7

# %% [markdown]
# It depends. With $\beta_2 = 0.999$, PyTorch's default, $\sqrt s$ is far too
# small, and steps get six times too long just when weights are still random.
# With 0.95, the paper's [P, Table 9] and `minidiff`'s, they begin too short.
#
# ### Warm-up
#
# Even so the first step is risky. One output of a matrix adds up $E$ inputs of
# size about 1, times weights; random ones give $0.02 \sqrt E$ (chapter 7). A
# weight's gradient has its input as a factor, so all $E$ products change to
# one side, together by about $\eta E$: the wider the model, the larger the
# jump. One step at $\eta = 0.003$, or at a fiftieth of it: what will the loss
# be? A guess costs $\ln 256$, 5.55.

# %%
ids = (ByteTokenizer().encode(side) for side in (training, held_out))
text = TextData(*ids, vocab_size=256, length=64)


def new_model(E: int, seed: int = 0) -> DecoderLM:
    """An untrained differential model of one layer."""
    torch.manual_seed(seed)
    sizes = {"embed_dim": E, "num_layers": 1, "num_heads": 4}
    return DecoderLM(ModelConfig(**sizes, attention="diff"))


# %% tags=["nbval-ignore-output"]
print("   E  0.003 E  0.02 root(E)  losses: full step, a fiftieth")
for E in (64, 256, 1024):
    losses = []
    for lr in (3e-3, 3e-3 / 50):
        model = new_model(E)
        model.loss(*text.batch(0, 8)).backward()
        adamw(model, TrainConfig(lr=lr)).step()
        with torch.no_grad():
            losses.append(model.loss(*text.batch(1, 8)).item())
    print(f"{E:4d} {3e-3 * E:8.2f} {0.02 * E**0.5:13.2f}", np.round(losses, 1))
    assert E > 64 or losses[0] < losses[1]
assert losses[0] > log(256) + 1 and losses[1] < log(256)

# %% [markdown]
# At width 1024 the full step leaves the model worse than an even guess; a
# fiftieth helps. At width 64 the full step is better. So *warm-up*, a rate
# that rises from small to full, guards wide models. A small one may do
# without.
#
# ### Decay of the rate
#
# A batch is a sample, so its gradient is noisy, and near the best weights
# noise is all there is: at a constant rate they shake for ever. Take a
# thousand weights, each with loss $w^2 / 2$ and noise of size 1 in its
# gradient, and 300 steps. Order three plans: 0.1 throughout, 0.01 throughout,
# from 0.1 down to 0.01 in a straight line.

# %%
for lr, last in ((0.1, 1), (0.01, 1), (0.1, 0.1)):
    plan = {"lr": lr, "final_lr_fraction": last, "warmup_steps": 0}
    config, w = TrainConfig(steps=300, **plan), torch.full((1000,), 3.0)
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW([w], betas=config.betas, weight_decay=0)
    for step in range(config.steps):
        optimizer.param_groups[0]["lr"] = learning_rate(step, config)
        w.grad = w + torch.randn(1000)
        optimizer.step()
    loss = w.square().mean().item() / 2
    print(f"from {lr} to {last * lr:.2f}: loss {loss:.3f}")
assert loss < 0.01

# %% [markdown]
# The high rate arrives and shakes. The low one has not arrived. Falling wins.
#
# ## Seeds and intervals
#
# And in a real training? A small model learns bytes as usual, with a constant
# rate after the warm-up, and without weight decay (rows in this order). A seed
# decides first weights and batches; for one seed all three get the same. Which
# is ahead after 60 steps?

# %% tags=["parameters"] quick={"STEPS": 6, "SEEDS": [0, 1]}
STEPS = 60
SEEDS = [0, 1, 2, 3, 4, 5, 6, 7]


# %% tags=["nbval-ignore-output"]
def trained(seed: int, **changed: float) -> float:
    """Validation loss, nats a byte, of a small model."""
    model, text.seed = new_model(32, seed), seed
    shared = {"lr": 1e-2, "batch_size": 8, "warmup_steps": min(10, STEPS)}
    config = TrainConfig(steps=STEPS, **shared, **changed)
    return train(model, text, config, progress=False)[-1]["valid_loss"]


usual = np.array([trained(seed) for seed in SEEDS])
constant = np.array([trained(s, final_lr_fraction=1) for s in SEEDS])
no_decay = np.array([trained(s, weight_decay=0) for s in SEEDS])
print(np.stack([usual, constant, no_decay]).round(2))

# %% [markdown]
# Within a row only the seed changes. Give two of its numbers two names, and
# one "wins": one run is no evidence.
#
# Down a column the seed is the same, and what it does to both ways cancels in
# their gap. Let $\sigma$ be the standard deviation of single gaps. The mean of
# $n$ has the standard error $\sigma / \sqrt n$; about two of these to either
# side is an interval of 95 percent (chapter 15 makes it exact for few seeds).
# A gap is seen when its interval does not reach 0.
#
# ### Exercise 14.4: how many seeds?
#
# *Easy, 5 minutes.*


# %% tags=["stub:14.4"]
def seeds_needed(a: np.ndarray, b: np.ndarray, gap: float) -> int:
    """Return the least n for which 2 sigma / sqrt(n) is at most gap.

    a, b (K,): losses of a first trial of two ways to train, a[i] and b[i]
    with the same seed. sigma: the standard deviation of their differences,
    dividing by K - 1.
    """
    # your code


# %% tags=["check:14.4"]
check.ex14_4(seeds_needed)

# %% tags=["nbval-ignore-output"]
for name, losses in (("constant", constant), ("no decay", no_decay)):
    gaps = losses - usual
    # Had each way its own seeds, their variances would add.
    apart = np.sqrt(losses.var(ddof=1) + usual.var(ddof=1))
    print(f"{name}: mean gap {gaps.mean():.3f}; seeds to see 0.01:")
    for how, sigma in (("unpaired", apart), ("paired", gaps.std(ddof=1))):
        print(f"  {how:8s} {(2 * sigma / 0.01) ** 2:4.0f}, sigma {sigma:.3f}")

# %% tags=["needs-training"]
assert gaps.std(ddof=1) < apart / 2 and (constant - usual).mean() < 0

# %% [markdown]
# Pairing saves most where two ways are nearly one, as without weight decay,
# which does next to nothing in so short a time. And the falling rate *loses*,
# on our machines: after 60 steps, we take it, noise is not yet the problem.
#
# ## Tasks that we make
#
# Nobody knows the best loss on text. So chapter 15 begins with a made-up task.
# Here is a row: k is a key, v a value, a dot noise.

# %%
task = NeedleTask(needles=2, questions=1, length=24)
inputs, targets = task.batch(step=0, batch_size=1)
names = [f"{x}{n}" for x in "kv" for n in range(64)] + 128 * ["."]
print(*(names[i] for i in inputs[0]), "->", names[targets[0, -1]])
assert (targets != -100).sum() == 1 and task.chance.loss == log(2)

# %% [markdown]
# Two keys hide with their values, one key is asked. Noise cannot be predicted,
# so its targets are $-100$, which the loss leaves out. Knowing nothing costs
# $\ln 256$; guessing between the two values, $\ln 2$; looking the key up, 0.
# Rows are made from seed and step: nothing can leak.
#
# ## The package agrees
#
# (14.3) and (14.4) against the optimiser in `minidiff.training.step`, packing
# against `TokenData`.

# %%
model, config = new_model(16), TrainConfig(lr=0.01)
matrix, optimizer = model.embedding.weight, adamw(model, config)
w, m, s = matrix.detach().clone(), 0.0, 0.0
for t in (1, 2, 3):
    optimizer.zero_grad()
    model.loss(*text.batch(t, 4)).backward()
    m, s = 0.9 * m + 0.1 * matrix.grad, 0.95 * s + 0.05 * matrix.grad**2
    step = m / (1 - 0.9**t) / ((s / (1 - 0.95**t)).sqrt() + 1e-8)
    w = (1 - 0.01 * config.weight_decay) * w - 0.01 * step
    optimizer.step()
    assert torch.allclose(w, matrix, atol=1e-5)
row = (texts[0][1] + "\n\n").encode()
windows = [[*row[i : i + 8]] for i in range(0, len(row) - 8, 8)]
assert all(window in windows for window in twelve.tolist())
print("AdamW and windows are those of minidiff")

# %% [markdown]
# ## Common mistakes
#
# - **Going on without the averages.** A checkpoint needs $m$, $s$ and $t$.
# - **Adding seeds until it looks right.** Choose their number before.
#
# ## Summary
#
# - A split that leaks gives a lower loss and another winner.
# - BPE merges the commonest pair. Losses compare in bits per byte.
# - Packing: one long row, an end behind each document, windows side by side.
# - A step of AdamW is about $\eta$ long while gradients agree, else short.
# - Warm-up guards the first steps of wide models; a falling rate lets the last
#   ones settle.
# - The spread over seeds is what a gap is measured against; pairs shrink it.
#
# ## Further reading
#
# - Sennrich, Haddow and Birch, *Neural Machine Translation of Rare Words with
#   Subword Units*, arXiv 1508.07909: BPE, with code.
# - Kingma and Ba, *Adam*, ICLR 2015: the averages and their correction.
# - Loshchilov and Hutter, *Decoupled Weight Decay Regularization*,
#   arXiv 1711.05101: why decay stays outside.
# - Lee and others, *Deduplicating Training Data Makes Language Models Better*,
#   arXiv 2107.06499: copies, and what they do.
