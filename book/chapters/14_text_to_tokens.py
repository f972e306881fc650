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
# and choose the wrong model, and you will have written a training loop whose
# losses are those of `minidiff.train` to nine decimals. Chapter 15 trains your
# own model with it.
#
# {card}
#
# (It has two halves, for two evenings: up to *Packing* text becomes rows of
# numbers, and from *AdamW* on a model is trained on them.)
#
# ## Goals
#
# After this chapter you can
#
# - split text so that its loss can be trusted, and state it in bits per byte;
# - watch byte-pair encoding being trained, write its merge, and pack documents
#   into rows;
# - write AdamW, and say what warm-up, a falling rate and clipping are for;
# - write a training loop that measures itself, and name mistakes in training
#   that raise no error.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | modules, autograd | the models | chapter 5 |
# | cross-entropy, nats | every loss here | chapter 7 |

# %%
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from math import log, log2

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_  # noqa: F401

# %%
from minidiff import DecoderLM, ModelConfig, TrainConfig, check, generate
from minidiff import plots, train
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course import training_diagrams
from minidiff.data import BPETokenizer, ByteTokenizer, TextData
from minidiff.data import standard_library
from minidiff.training.config import learning_rate
from minidiff.training.step import adamw

plots.use_style("svg")

# %% [markdown]
# ## A cold open: a loss that lies
#
# A language model says which byte comes next. The simplest one counts: after
# these $n$ bytes, how often did byte $c$ follow in the training text? A long
# context has been seen rarely or never, so its counts are mixed with
# $p_{n-1}$, what the context one byte shorter predicts:
#
# $$
# p_n(c) = \frac{\text{times followed by } c + 4\, p_{n-1}(c)}
# {\text{times seen} + 4}
# \tag{14.1}
# $$
#
# Example: `th` was seen 6 times, 5 of them before `e`. Then
# $p_2(\mathtt{e}) = (5 + 4\, p_1(\mathtt{e})) / 10$. The recursion ends at an
# even guess, $p_{-1} = 1/256$.
#
# The loss is the mean of $-\log_2 p$, in *bits per byte*. How far back should
# the model look? To decide that, measure the loss on *held-out* text, which
# the model has not read. Cut some files of Python's own library into rows of
# 128 bytes; every tenth row is the test (its first ten bytes only serve as
# context). The model reads a million bytes, in one of two ways:
#
# - *honest*: all of them come from other files;
# - *leaky*: two thirds come from other files, and one third from the tested
#   files themselves, namely the nine rows of ten that are not in the test.
#
# Will the best model look further back in the leaky case, or less far?


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
                # the n bytes before byte i, with it and without
                with_c, before = row[i - n : i + 1], row[i - n : i]
                p = (seen[n + 1][with_c] + 4 * p) / (seen[n][before] + 4)
                bits[n] -= log2(p)
    return bits / sum(len(row) - longest for row in rows)


# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Bits per byte against the number of bytes looked back, 0 to 10. The honest loss falls from 4.4 to 2.4 at three or four bytes and rises again. The leaky loss falls further, to about 1.6 at seven bytes, and stays there. A dot marks each minimum."}}
honest = bits_per_byte(million, rows[::10])
leaky = bits_per_byte(million[len(rest) :] + rest, rows[::10])
plt.plot(honest, label="honest")
plt.plot(leaky, label="leaky")
for curve in (honest, leaky):
    plt.plot(curve.argmin(), curve.min(), "o", color="0.4")
plt.gca().set(xlabel="bytes looked back", ylabel="bits per byte")
plt.legend()
plt.show()
far = leaky.argmin()
print(f"best: {honest.argmin()} bytes back, and {far}")
print(f"honest: {honest.min():.2f}, and {honest[far]:.2f} at {far} bytes")
assert honest.argmin() < far and honest[far] > honest.min() + 0.1
assert leaky.min() < honest.min() - 0.4

# %% [markdown]
# The tested rows are the same, and so is the amount of text. But the leaky
# loss is too low, because a file repeats itself. Worse, it picks another
# model, one that looks far back and finds copies. In a new file that model is
# the worse one: the honest curve rises again. If you shuffle the rows of all
# files and hold out a tenth of them, you measure the leaky curve. This is
# *leakage*.
#
# So `minidiff` splits by file: a hash of the path decides the side. Copies can
# still get across: the library's folder `encodings` holds tables that are
# nearly alike, on both sides. Look at a split before you trust it. This
# chapter and the next one stay with modules that are a single file.
#
# ## The map: one step of training
#
# Everything that follows is part of one loop:
#
# 1. set the learning rate (*The learning rate*);
# 2. compute the loss of the next rows of text (*Pairs of bytes*, *Packing*);
# 3. set the old gradients to zero, because PyTorch adds new ones to them;
# 4. compute the gradients and shorten those that are too long (*Clipping*);
# 5. move the weights (*AdamW*);
# 6. if it is time, measure on held-out text (*Measuring on the way*);
# 7. write down what happened.
#
# It will train this DIFF Transformer of one layer. What does the model write
# before its first step?


# %%
def new_model(E: int, seed: int = 0) -> DecoderLM:
    """An untrained differential model of one layer, width E."""
    torch.manual_seed(seed)
    sizes = {"embed_dim": E, "num_layers": 1, "num_heads": 4}
    return DecoderLM(ModelConfig(**sizes, attention="diff"))


def write(model: DecoderLM, prompt: str = "import") -> None:
    """Print 50 bytes that the model puts behind the prompt."""
    ids = torch.tensor([ByteTokenizer().encode(prompt)])
    out = generate(model, ids, max_new_tokens=50, temperature=0.7, seed=1)
    print(bytes(out[0].tolist()))


# %% tags=["nbval-ignore-output"]
write(new_model(64))

# %% [markdown]
# Noise, with `\x` and two digits for each byte that cannot be printed.
#
# ## Cross-entropy, again
#
# A *token* is the unit a model predicts: a byte, or a longer piece. The loss
# is the mean of $-\ln p$ over the tokens that came, in nats (chapter 7). Two
# ways to cut a text give different numbers of tokens, so their losses per
# token cannot be compared. The number of bytes is the same for both, so the
# loss per byte can be compared:
#
# $$
# \text{bits per byte} = \frac{\text{nats per token}}{\ln 2}
# \cdot \frac{\text{tokens}}{\text{bytes}}
# \tag{14.2}
# $$
#
# ## Pairs of bytes
#
# With the 256 bytes as ids every text can be written. (In UTF-8 an ASCII
# character takes one byte, every other character two to four.) The price is
# length. *Byte-pair encoding* (BPE; Sennrich and others, 2016) counts pairs of
# neighbours, makes the most frequent pair a new token, and repeats. Here are
# four words, and how often each occurs. Which pair is merged first, which
# second?

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
# (Replacing text is safe for these four words only; exercise 14.1 does it
# properly.) The `tokenizers` library does the same, fast; `BPETokenizer` wraps
# it. New ids follow the 256 bytes.

# %%
toy = ["key"] * 5 + ["keys"] * 3 + ["they"] * 4 + ["hey"] * 2
coder = BPETokenizer.train(toy, vocab_size=256 + 5)
assert [coder.decode([256 + i]) for i in range(5)] == pieces
print([coder.decode([i]) for i in coder.encode("monkeys")])

# %% [markdown]
# A text is encoded by the same merges in the same order. A word that was never
# seen falls into smaller pieces, at worst into bytes. No piece reaches across
# words; a space belongs to the word after it.
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
# Now learn merges from a megabyte of text, of *training* files only, since a
# tokenizer can leak too. A model that knows nothing loses $\ln V$ nats a token
# for $V$ ids. For which $V$ is the loss per token lowest, and for which the
# loss per byte?

# %% tags=["nbval-ignore-output"]
print("   V  bytes/token  nats/token  bits/byte")
line, bits = "if naïve: return None", []
for V in (256, 1024, 4096):
    coder = BPETokenizer.train([training[: len(million)]], V)
    length = len(data) / len(coder.encode(held_out))
    bits.append(log2(V) / length)
    print(f"{V:4d} {length:12.2f} {log(V):11.2f} {bits[-1]:10.2f}")
shown = [coder.decode([i]) for i in coder.encode(line)]
print(shown)
assert bits[0] > bits[1] > bits[2] and shown.count("\ufffd") == 2

# %% [markdown]
# With more ids the loss per token gets *worse* and the loss per byte *better*.
# Only the loss per byte can be compared. The gain here is the tokenizer's
# alone, because the model knows nothing. Going from 1024 ids to 4096 shortens
# the text less than going from 256 to 1024 did, and each id costs a row of the
# embedding. (The two signs after "a" are the two bytes of ï, which is too rare
# for a merge.) Chapter 15 uses 1024 ids; here bytes are enough.
#
# ## Packing
#
# A model reads rows of $T$ tokens, and files have all lengths. *Padding* each
# file to the length of the longest one would waste most of the work. Instead
# all files are put into one ribbon, with an end mark after each (in `minidiff`
# an empty line), and the ribbon is cut into windows:

# %% mystnb={"image": {"alt": "A ribbon of nine tokens: if, x, end mark, def, f, (, ), :, end mark. Below it two windows of five tokens. The first holds tokens 0 to 4, the second tokens 4 to 8, so they share token 4. In each window the first four tokens are the inputs and the last four are the targets: an arrow leads from each input to the token after it."}}
tokens = ["if", "x", "¶", "def", "f", "(", ")", ":", "¶"]
training_diagrams.show_ribbon(tokens, T=4)
plt.show()

# %% [markdown]
# A window has $T + 1$ tokens. Its first $T$ are the inputs, its last $T$ the
# targets: what should be predicted at each place is the token after it. A
# window may hold the end of one file and the start of the next; the model has
# to learn what the mark means.
#
# ### Exercise 14.2: pack
#
# *Easy, 5 minutes.* Cut the ribbon as in the picture.


# %% tags=["stub:14.2"]
def pack(documents: list[list[int]], end: int, T: int) -> np.ndarray:
    """Join all documents into one row; return its windows (W, T + 1).

    After each document comes the id end. A window has T inputs and one id
    more, its last target, which is also the first input of the next window.
    What is left over at the end is dropped.
    """
    # your code


# %% tags=["check:14.2"]
check.ex14_2(pack)

# %% [markdown]
# In the chapter's trainings `TextData` does this, with a window from a random
# place for each row. `text.batch(i, B)` gives the inputs and targets of step
# $i$, both $(B, 64)$:

# %%
ids = (ByteTokenizer().encode(side) for side in (training, held_out))
text = TextData(*ids, vocab_size=256, length=64)
inputs, targets = text.batch(0, 8)
print("inputs", tuple(inputs.shape), " targets", tuple(targets.shape))

# %% [markdown]
# ## AdamW
#
# A training step has a gradient $g$ for each weight $w$. How far should the
# weight move? The gradient's size is a poor guide: state the loss in bits
# instead of nats, and all gradients grow. AdamW keeps two running averages, of
# $g$ and of $g^2$:
#
# $$
# m \leftarrow \beta_1 m + (1 - \beta_1)\, g, \qquad
# s \leftarrow \beta_2 s + (1 - \beta_2)\, g^2
# \tag{14.3}
# $$
#
# We take $\beta_1 = 0.9$ and $\beta_2 = 0.95$, as the paper does [P, Table 9].
# Both averages begin at 0, so at first they are too small. If all gradients
# are equal, $m$ is $(1 - \beta_1^t)\, g$ after step $t = 1, 2, \ldots$
# Dividing by that factor is the *bias correction*. With learning rate $\eta$,
# *weight decay* $\omega$ and a tiny $\epsilon$ against dividing by 0, the step
# is
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
# After the correction the averages are $g$ and $g^2$, and $g / |g|$ is a sign:
# at the first step every weight whose gradient is not 0 moves by $\eta$,
# however small that gradient is. Later, a weight whose gradients agree keeps
# that pace. Where their signs change, $m$ is small and $s$ is not, and the
# step is short.
#
# Weight decay pulls weights towards 0. It does not go through $m$ and $s$,
# where the division would undo it: that is the W in AdamW. Only matrices are
# decayed: norm weights should stay near 1, and no other vector is decayed
# either, for simplicity. `adamw(model, config)` of `minidiff` makes PyTorch's
# AdamW with these betas and two groups of weights: matrices, and all others.
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
# ## The learning rate
#
# ### Warm-up: the first step moves every weight
#
# One output of a matrix is a sum, $\sum_j w_j x_j$, over $E$ inputs of size
# about 1. Random weights of size 0.02 make it about $0.02 \sqrt E$, because
# most of it cancels. Now AdamW takes its first step, for one token:
#
# - The gradient of weight $j$ is $c\, x_j$, with the same $c$ for all $j$.
# - AdamW keeps its sign: weight $j$ moves by
#   $-\eta \operatorname{sign}(c\, x_j)$.
# - So for each $j$ the output changes by
#   $-\eta \operatorname{sign}(c)\, |x_j|$.
#
# All $E$ changes have one sign. They add up to about $\eta E$:

# %% mystnb={"image": {"alt": "Running sums over the inputs j from 1 to 256. The output, a sum of random products, wanders between -0.3 and 0.2 and ends near 0. The change by the first step of AdamW falls in a nearly straight line to about -0.6."}}
rng = np.random.default_rng(3)
w, x = 0.02 * rng.normal(size=256), rng.normal(size=256)
change = -0.003 * np.sign(x)  # the first step, for c = 1
plt.figure(figsize=(6, 2.4))
plt.plot(np.cumsum(w * x), label="the output")
plt.plot(np.cumsum(change * x), label="its change by one step")
plt.gca().set(xlabel="inputs added so far", ylabel="running sum")
plt.legend()
plt.show()

# %% [markdown]
# The wider the model, the larger the jump. Let a new model take one step, at
# $\eta = 0.003$ or at a fiftieth of it. At which of the widths 64, 256 and
# 1024 does the full step help more? An even guess costs $\ln 256$.


# %% tags=["nbval-ignore-output"]
print(f"ln 256 = {log(256):.2f}; jump: 0.003 E, old output: 0.02 root(E)")
print("   E  jump  old   loss after: full step, a fiftieth")
for E in (64, 256, 1024):
    losses = []
    for lr in (3e-3, 3e-3 / 50):
        model = new_model(E)
        model.loss(*text.batch(0, 8)).backward()
        adamw(model, TrainConfig(lr=lr)).step()
        with torch.no_grad():
            losses.append(model.loss(*text.batch(1, 8)).item())
    print(f"{E:4d} {3e-3 * E:.2f}  {0.02 * E**0.5:.2f}", np.round(losses, 1))
    assert E > 256 or losses[0] < losses[1]
assert losses[0] > log(256) + 1 and losses[1] < log(256)

# %% [markdown]
# At width 1024 the full step leaves the model worse than an even guess, and a
# fiftieth of it helps: the jump can be nearly five times the old output. At
# the smaller widths the full step is the better one. This is one reason for
# *warm-up*, a rate that rises from small to full over the first steps: it
# keeps those steps small, in which the changes of all weights add up. Later,
# we assume, the signs of a weight's gradients change from batch to batch, and
# the steps partly cancel. A small model may do without.
#
# ### Decay of the rate
#
# A batch is a sample, so its gradient is noisy. Near the best weights the
# gradient's mean is near 0 and the noise is left, and at a constant rate the
# weights keep shaking. Take a thousand weights that start at 3, each with loss
# $w^2 / 2$ and noise of size 1 in its gradient, and 300 steps. Which of three
# plans ends lowest: 0.1 throughout, 0.01 throughout, or from 0.1 down to 0.01
# in a straight line?


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
    print(f"from {lr} to {last * lr:g}: loss {loss:.3f}")
    assert (loss < 0.01) == (last < 1)

# %% [markdown]
# At 0.1 the weights arrive and keep shaking. At 0.01 they have not arrived.
# The falling rate arrives first and settles at the end. It has a price: if you
# stop a training early, it has not reached the low rates, and its weights are
# still shaking.
#
# ### Exercise 14.4: a rate that rises and falls
#
# *Easy, 5 minutes.* Two straight lines.


# %% tags=["stub:14.4"]
def rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Return the learning rate of a step, counted from 0.

    It rises in a straight line: step 0 has peak / warmup, and step
    warmup - 1 has peak. Then it falls in a straight line: step warmup has
    peak, and the last step, steps - 1, has a tenth of peak. warmup is less
    than steps - 1, and may be 0: then it only falls.
    """
    # your code


# %% tags=["check:14.4"]
check.ex14_4(rate)

# %% [markdown]
# ## Clipping: one bad batch
#
# Most batches have gradients of similar length. Now and then one is far
# longer, a file of numbers among programs for example. *Clipping* shortens a
# gradient that is longer than $c$, and leaves the others alone:
#
# $$
# g \leftarrow g \cdot \min\Big(1, \frac{c}{\lVert g \rVert}\Big)
# \tag{14.5}
# $$
#
# $g$ is the gradient of *all* weights as one long vector, so its direction
# stays. Is clipping needed? AdamW divides by $\sqrt s$, so one long gradient
# does not make one long step. What does that gradient do instead? Take a model
# of a single weight, where (14.5) is `np.clip`. Let all its gradients be 1,
# except for one, which is $-100$. Sketch the length of AdamW's steps before
# and after it.


# %%
def steps_taken(gradients: np.ndarray) -> np.ndarray:
    """AdamW's steps for one weight, in units of the learning rate."""
    m = s = 0.0
    steps = []
    for t, g in enumerate(gradients, 1):
        m, s = 0.9 * m + 0.1 * g, 0.95 * s + 0.05 * g**2
        steps.append(m / (1 - 0.9**t) / np.sqrt(s / (1 - 0.95**t)))
    return np.array(steps)


gradients = np.ones(300)
gradients[99] = -100  # step 100


# %% mystnb={"image": {"alt": "Step length in units of the learning rate against steps 1 to 300, all gradients 1 but one of -100 at step 100. Unclipped, the step turns to -0.4 at step 100, stays negative for twenty steps and needs more than a hundred to come back to 1. Clipped to length 1, it dips to 0.8 and is back within thirty steps."}} tags=["hide-output"] jupyter={"outputs_hidden": true}
clipped = np.clip(gradients, -1, 1)
for g, name in ((gradients, "as it is"), (clipped, "clipped to length 1")):
    plt.plot(range(1, 301), steps_taken(g), label=name)
    lost = 300 - steps_taken(g).sum()
    print(f"{name:20s} lowest {steps_taken(g).min():5.2f}, lost {lost:4.1f}")
plt.gca().set(xlabel="step", ylabel="step / rate (negative: wrong way)")
plt.legend()
plt.show()
assert 100 < 300 - steps_taken(gradients).sum() < 105

# %% [markdown]
# The bad gradient turns the steps around for a while, because it stays in $m$,
# and then keeps them short, because it stays in $s$ for longer. If all
# gradients were 1, AdamW would take 300 full steps. "Lost" is how many of them
# are missing: about a hundred, from one bad gradient.
#
# Every training of this course is clipped at $c = 1$, the usual choice; the
# paper does not state its own. PyTorch's `clip_grad_norm_` does it in place
# and returns the length before, which is worth logging: it shows bad batches.
#
# ## Measuring on the way
#
# The loss of a training batch is noisy, and the model is about to learn from
# it. So every few hundred steps the same held-out windows are measured:


# %% tags=["same:minidiff.check.ex14.fit.measure"]
def measure(model: nn.Module, held_out: Tensor, B: int) -> float:
    """Return the mean loss over all targets of held_out, B rows at a time."""
    model.eval()
    total = 0.0
    with torch.no_grad():
        for part in held_out.split(B):
            logits = model(part[:, :-1]).flatten(0, 1)
            targets = part[:, 1:].flatten()
            total += cross_entropy(logits, targets, reduction="sum").item()
    model.train()
    return total / held_out[:, 1:].numel()


# %% [markdown]
# Three things are easily forgotten in it:
#
# - `model.eval()` and `model.train()`. Some modules compute differently in
#   training: dropout sets random numbers to 0.
# - `torch.no_grad()`, or autograd keeps all activations for nothing.
# - A mean over all *targets*. The last part can be smaller than the others,
#   and in a mean of the parts' means its targets would count more.
#
# ## The loop
#
# Now put the seven steps of the map together: rate, loss, zero, gradients and
# clipping, the move, the measurement, the record.
#
# ### Exercise 14.5: the training loop
#
# *Hard, 15 minutes.* Chapter 15 trains your model with this function. You may
# use `adamw(model, config)`; `learning_rate(step, config)`, which is your
# `rate`; `measure`, `cross_entropy` and `clip_grad_norm_`, which divides by the
# length plus $10^{-6}$. Your log is compared with `minidiff.train`'s to $10^{-9}$.

# %%
Record = dict[str, float]


# %% tags=["stub:14.5"]
def fit(
    model: nn.Module,
    rows: Tensor,
    held_out: Tensor,
    config: TrainConfig,
    report: Callable[[Record], None],
) -> list[Record]:
    """Train model in place; return the log, one record for each step.

    rows (N, T + 1): windows of tokens in the order in which they are read,
    the next config.batch_size at each step. held_out (M, T + 1): windows to
    measure on. model(inputs) returns logits (B, T, V).

    A record is a dict of plain numbers, not tensors: "step" (from 0), "loss"
    (mean over this step's targets, before the update), "lr", "grad_norm"
    (before clipping to config.clip_norm) and, only after every
    config.eval_every steps and after the last one, "valid_loss": what measure
    gives on held_out, config.batch_size rows at a time. Each record goes to
    report when it is complete, before the next step. The model may arrive in
    eval mode.
    """
    # your code


# %% tags=["check:14.5"]
check.ex14_5(fit)

# %% [markdown]
# ### Sixty steps
#
# Train the model of the beginning with your `fit`, or with ours if you have
# not solved it. Sketch its loss: where does it begin, and does it fall evenly?


# %%
def windows(steps: int, size: int, split: str = "train") -> Tensor:
    """The rows that minidiff.train reads in so many steps, (N, T + 1)."""
    pairs = [text.batch(step, size, split) for step in range(steps)]
    return torch.cat([torch.cat([x, y[:, -1:]], 1) for x, y in pairs])


fit, model = check.mine("14.5"), new_model(64)
sizes = {"steps": 60, "batch_size": 32, "eval_every": 10}
config = TrainConfig(**sizes, lr=1e-2, warmup_steps=5)
measured = windows(1, 64, "valid")
records = fit(model, windows(60, 32), measured, config, lambda record: None)

# %% tags=["hide-output", "nbval-ignore-output"] mystnb={"image": {"alt": "Loss in nats per byte against steps 1 to 60. The training loss starts at a dotted line, the even guess at 5.5. Within ten steps it drops to a second dotted line near 3, the loss of looking 0 bytes back. Then it falls slowly to about 2.7. Dots, measured on held-out text every ten steps, lie on the curve."}} jupyter={"outputs_hidden": true}
losses = [record["loss"] for record in records]
valid = {n: records[n - 1]["valid_loss"] for n in range(10, 61, 10)}
plt.plot(range(1, 61), losses, label="training batch")
plt.plot(valid.keys(), valid.values(), "o", label="held-out text")
back_0 = honest[0] * log(2)  # from bits to nats
for y, name in ((log(256), "even guess"), (back_0, "0 bytes back")):
    plt.axhline(y, color="0.5", linestyle=":")
    plt.text(61, y + 0.06, name, ha="right")
plt.gca().set(xlabel="step", ylabel="nats per byte")
plt.legend()
plt.show()
write(model)
assert losses[0] > 5 and valid[60] < back_0

# %% [markdown]
# After ten steps it is nearly as good as the counting model that looks 0 bytes
# back (the first point of the cold open's honest curve): it has learned which
# bytes are frequent. Then it gets better than that, so it must use the bytes
# before. What it writes has spaces and common letters by now, but no words.
#
# ### The control that fails
#
# Now take one thing out of the loop: the targets are the inputs themselves,
# not moved by one place. Nothing raises an error. Again sixty steps. What will
# the training loss be? And what will the model write?

# %% tags=["nbval-ignore-output"]
copier = new_model(64)
optimizer = adamw(copier, TrainConfig(lr=1e-2))
for step in range(60):
    inputs, targets = text.batch(step, 8)
    loss = copier.loss(inputs, inputs)  # should be targets
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
true = measure(copier, measured, 32)
print(f"training loss {loss:.2f}, loss on the next byte {true:.1f}")
write(copier)
assert loss < 0.1 and true > log(256)

# %% [markdown]
# A loss near 0 within seconds, and a model that is worse than an even guess:
# it has learned to repeat what it reads, for ever. A loss that is too good is
# a bug until shown otherwise. The leak at the start of this chapter was one,
# too.
#
# ## The package agrees
#
# First compare twenty steps of `fit` with twenty of `minidiff.train`, in
# float64; then `adamw_step` with PyTorch's optimiser, and `rate` with the
# package's schedule.

# %%
sizes = {"batch_size": 8, "eval_every": 10, "eval_batches": 2}
config = TrainConfig(steps=20, warmup_steps=5, **sizes)
ours, theirs = new_model(32).double(), new_model(32).double()
parts = windows(20, 8), windows(2, 8, "valid")
a = fit(ours, *parts, config, lambda record: None)
b = train(theirs, text, config, progress=False)
for name in ("loss", "lr", "grad_norm"):
    x, y = ([record[name] for record in found] for found in (a, b))
    assert np.allclose(x, y, rtol=0, atol=1e-9)
for step in (9, 19):
    assert abs(a[step]["valid_loss"] - b[step]["valid_loss"]) < 1e-9
print("losses, rates, gradients, measurements: differences < 1e-9")

# %%
step, w = check.mine("14.3"), torch.ones(3, dtype=torch.float64)
optimizer = torch.optim.AdamW([w], 0.1, betas=(0.9, 0.95), weight_decay=0.5)
mine, m, s = np.ones(3), np.zeros(3), np.zeros(3)
for t in (1, 2, 3):
    w.grad = torch.randn(3, dtype=torch.float64)
    mine, m, s = step(mine, w.grad.numpy(), m, s, t, 0.1, 0.5)
    optimizer.step()
assert np.allclose(mine, w)
rate, schedule = check.mine("14.4"), TrainConfig(steps=30, warmup_steps=4)
ours = [rate(n, 30, 4, schedule.lr) for n in range(30)]
assert np.allclose(ours, [learning_rate(n, schedule) for n in range(30)])
print("the steps are PyTorch's, and the schedule is that of minidiff")

# %% [markdown]
# ## Common mistakes
#
# - **Splitting rows instead of files.** The loss gets better, the model worse.
# - **Comparing nats per token** of different tokenizers. Use bits per byte.
# - **No `zero_grad`.** The gradients of all steps add up, and no error says
#   so.
# - **One group forgotten.** The rate is set for the matrices, and lambda's
#   vectors go on at the peak.
# - **Continuing without the averages.** A checkpoint needs $m$, $s$ and $t$.
#
# ## Summary
#
# - A split that leaks gives a lower loss and another winner.
# - BPE merges the most frequent pair. Compare losses in bits per byte.
# - Packing: one long row, an end mark after each document, cut into windows.
# - A step of AdamW is about $\eta$ long while gradients agree, else shorter.
# - Warm-up keeps the first steps of wide models small; the falling rate lets
#   the last ones settle; clipping keeps one bad batch from shortening the many
#   steps after it.
# - A loop is about thirty lines, and most of its mistakes raise no error.

# %% [markdown]
# ## Optional: bfloat16
#
# The trainings on a GPU in this course say `--precision bfloat16`. Such a
# number has 16 bits. It covers the range of a float32, but keeps only two or
# three decimal digits. Can a weight of 1 be trained by steps of 0.003?

# %%
w = torch.ones((), dtype=torch.bfloat16)
for _ in range(1000):
    w = w + 0.003
print("1 + 1000 x 0.003 =", w.item())
assert w == 1

# %% [markdown]
# Not one step has moved it: the number after 1 is $1 + 2^{-7}$, and 0.003 is
# less than half of that gap, so each sum is rounded back to 1. So weights,
# averages and sums stay in float32, and only the large products of matrices
# are computed in bfloat16 (PyTorch calls this *autocast*), for speed on a GPU.

# %% [markdown]
# ## Further reading
#
# - Sennrich, Haddow and Birch, *Neural Machine Translation of Rare Words with
#   Subword Units*, arXiv 1508.07909: BPE, with code.
# - Kingma and Ba, *Adam*, ICLR 2015.
# - Loshchilov and Hutter, *Decoupled Weight Decay Regularization*,
#   arXiv 1711.05101: why decay stays outside.
# - Pascanu, Mikolov and Bengio, *On the difficulty of training recurrent
#   neural networks*, ICML 2013: clipping.
# - Micikevicius and others, *Mixed Precision Training*, arXiv 1710.03740.
# - Lee and others, *Deduplicating Training Data Makes Language Models Better*,
#   arXiv 2107.06499.
