# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 16. Generation with a cache
#
# By the end of this chapter you will have shown that a differential model
# computes the same from a cache of keys and values as by reading the whole text
# again, and that the cache of V1 is as large as a plain model's and that of V2
# half as large. And you will have written the function that streams text from
# your own model.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - count the bytes of a cache for plain attention, V1 and V2;
# - compute one more token from a cache, and say why that is allowed;
# - test a cache, and say which test would miss a mistake;
# - say what one decode step reads, and where the cache outweighs the weights;
# - choose tokens with temperature and top-p, and stream them.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | the differential head, its two maps | what is cached | chapter 3 |
# | V1, V2 and plain heads, their shapes | the size of a cache | chapter 5 |
# | rotary positions, logits | a model that generates | chapter 7 |
# | tokens, and a trained model | text to look at | chapters 14, 15 |
# | probabilities at a temperature | the choice of a token | exercise 15.1 |
#
# Part III is not needed.

# %%
import copy
import inspect
import json
import textwrap
import timeit
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# %%
import minidiff
from minidiff import DecoderLM, ModelConfig, check, course, generate, load
from minidiff import plots
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course import attention_diagrams
from minidiff.data import BPETokenizer, ByteTokenizer
from minidiff.nn.config import count_parameters
from minidiff.reference import softmax  # noqa: F401

plots.use_style("svg")

# %% [markdown]
# ## Which model writes
#
# If you trained and saved a model in chapter 15, it is in the folder
# `runs/mine`, and this chapter generates from it. If not, it takes the
# differential model that comes with the course, most of whose text was Python
# source. The next cell prints which model it is.

# %% tags=["nbval-ignore-output"]
mine = course.runs("mine")
if (mine / "run.json").exists():
    own = mine / "tokenizer.json"
    model = load(mine)
    coder = BPETokenizer.load(own) if own.exists() else ByteTokenizer()
    print("your model, from", mine)
else:
    model = load(course.weights("pair_diff.safetensors"))
    coder = BPETokenizer.load(course.weights("pair_tokenizer.json"))
    print("the model that comes with the course")
model.requires_grad_(False)
print(f"{model.num_parameters() / 1e6:.2f} million parameters,", end=" ")
print("attention", repr(model.config.attention))

# %% [markdown]
# ## A cold open: reading it all again
#
# Let `my_prompt` be a beginning of your own and watch your model go on. It
# writes twice, from the same seed. To write 100 tokens it is asked 100 times
# which token comes next. In the first run it reads the whole text so far each
# time. In the second it has a *cache* and reads only the token that is new.
#
# Guess two numbers: how many times fewer tokens are read with a cache, and how
# many times faster it is.

# %%
my_prompt = '"""Read a file and '
prompt = torch.tensor([coder.encode(my_prompt)])
room = min(100, model.config.max_length - prompt.shape[1])


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def race(prompt: Tensor, cache: bool) -> tuple[Tensor, int, float]:
    """Write; return the text, the number of tokens read, and seconds."""
    read = []

    def show(module: object, tokens: tuple[Tensor], out: Tensor) -> None:
        new = tokens[0][0, -1:] if read else tokens[0][0]
        read.append(tokens[0].numel())
        print(coder.decode(new.tolist()), end="", flush=True)

    hook = model.embedding.register_forward_hook(show)
    start = timeit.default_timer()
    settings = {"max_new_tokens": room, "temperature": 0.7, "seed": 0}
    text = generate(model, prompt, cache=cache, **settings)
    hook.remove()
    return text, sum(read), timeit.default_timer() - start


# %% tags=["nbval-ignore-output"]
print("--- everything again for each token")
text, tokens, seconds = race(prompt, cache=False)
print("\n\n--- with a cache")
same, once, fast = race(prompt, cache=True)

# %% tags=["hide-output", "nbval-ignore-output"] jupyter={"outputs_hidden": true}
print("the same text:", torch.equal(text, same))
print(f"tokens   {tokens:5d} and {once:5d}, ratio {tokens / once:.0f}")
print(f"seconds  {seconds:5.2f} and {fast:5.2f}, ratio {seconds / fast:.1f}")
assert once < tokens

# %% [markdown]
# Without a cache the number of tokens read grows with the square of the
# length. The seconds shrink far less than the tokens, so each step has a cost
# that does not depend on how many tokens it reads. An optional section at the
# end measures it.
#
# ## What is worth keeping
#
# Take one differential head, and ask for the output $o_t$ of the last token
# $t$. Its two queries meet the keys of all tokens so far. That gives two rows
# of weights, $A_{1,ts}$ and $A_{2,ts}$, and their difference weighs the values:
#
# $$
# o_t = \sum_{s \le t} \big(A_{1,ts} - \lambda A_{2,ts}\big)\, v_s
# \tag{16.1}
# $$
#
# So a later token needs three things of token $s$: the keys $k_{1,s}$ and
# $k_{2,s}$, from which its weights are computed, and the value $v_s$. It does
# not need the queries of $s$, which are used once, in row $s$.

# %% mystnb={"image": {"alt": "One decode step of a V1 head. Three rows of five boxes: keys of branch 1, keys of branch 2, and values. Four boxes of each row are in the cache, the fifth is new. To the right two queries, used once: each points at a bracket under its whole row of keys and leads to A1 minus lambda A2, which together with the bracket under the row of values leads to the output o."}}
attention_diagrams.show_decode_step()
plt.show()

# %% [markdown]
# The figure is a V1 head. A plain head has one row of keys and values that are
# $D$ wide. A V2 head has two queries as well, but they share *one* row of keys,
# and its values are $D$ wide (chapter 5). $D$ is always the width of one query.
#
# ### Exercise 16.1: bytes for one token
#
# *Easy, 5 minutes.* Every layer and every key/value head keeps something for
# each token.


# %% tags=["stub:16.1"]
def bytes_per_token(kind: str, L: int, Hkv: int, D: int, size: int) -> int:
    """Return the bytes that all L layers cache for one token.

    kind: "softmax", "diff" (V1) or "diff_v2". Hkv: key/value heads in a
    layer, the real number in a model of that kind. D: width of one query or
    key. size: bytes of one number.
    """
    # your code


# %% tags=["check:16.1"]
check.ex16_1(bytes_per_token)

# %%
count_bytes = check.mine("16.1")

# %% [markdown]
# Now measure. Three untrained models of two layers and width 64: 4 plain heads,
# or 2 differential heads of V1 or V2, all with $D = 16$ and numbers of 4 bytes.
# PyTorch says how much memory the arrays of a cache own. (They are called `_k`
# and `_v`. The underscore says: leave it alone. We look, and later do damage.)
# Which cache is the largest?


# %%
def untrained(kind: str, **more: int) -> DecoderLM:
    """A small model; whether a cache is right does not need training."""
    torch.manual_seed(0)
    sizes = {"embed_dim": 64, "num_layers": 2, "num_heads": 4} | more
    return DecoderLM(ModelConfig(**sizes, attention=kind, max_length=256))


for kind, heads in (("softmax", 4), ("diff", 2), ("diff_v2", 2)):
    owned = 0
    for part in untrained(kind).new_cache(batch_size=1, capacity=100):
        for array in (part._k, part._v):
            owned += array.untyped_storage().nbytes() // 100
    print(f"{kind:8s} {heads} heads, {owned} bytes a token")

# %% [markdown]
# V1 takes as much as the plain model: it has half as many heads, and each
# holds twice as much. V2 takes half, because each of its heads holds what one
# plain head holds. (The authors of V2 use this differently: they double the
# query heads and keep as many key/value heads as the plain model has, so their
# cache is as large as the plain one [B2].)
#
# Now a real size: the paper's main model has 3.48 billion parameters in 28
# layers of 12 differential heads with $D = 128$ [P, Table 9]. Take numbers of
# two bytes and a text of 65,536 tokens. To write one more token, the model
# reads all weights, and the cache of the text so far. At how many tokens is
# the cache as large as the weights?

# %%
sizes = {"vocab_size": 100_288, "embed_dim": 3072, "num_layers": 28}
weights, token = {}, {}
for kind in ("softmax", "diff", "diff_v2"):
    c = ModelConfig(**sizes, num_heads=24, attention=kind)
    token[kind] = count_bytes(kind, 28, c.kv_heads, c.head_dim, 2)
    weights[kind] = 2 * count_parameters(c)
    GB, even = token[kind] * 65_536 / 1e9, weights[kind] / token[kind]
    print(
        f"{kind:8s} {token[kind]:6d} a token, 65,536 tokens {GB:.1f} GB",
        end="",
    )
    print(f"; weights {weights[kind] / 1e9:.1f} GB = {even:.0f} tokens")

# %% [markdown]
# The cache of this one text is larger than the model. (V2 has fewer weights
# too, because its key, value and output matrices are half as large.) The usual
# remedy is grouped heads: a quarter of the key/value heads, a quarter of the
# cache. The texts of a batch share the weights, but each has a cache of its
# own: with 32 texts, a thirty-second of the length above is enough for their
# caches to be as large as the weights.
#
# ## One step, by hand
#
# Take $D = 1$ and three tokens. Both queries of the last token are 1, and
# $\lambda = \frac12$. So the scores are the keys:
#
# | token | $k_1$ | $k_2$ | $v$ |
# |---|---|---|---|
# | 1, in the cache | $\ln 2$ | $\ln 1$ | $(8, 0)$ |
# | 2, in the cache | $\ln 1$ | $\ln 1$ | $(0, 8)$ |
# | 3, new | $\ln 1$ | $\ln 2$ | $(8, 8)$ |
#
# What is the output? Use a pencil.

# %%
A1, A2 = np.array([2, 1, 1]) / 4, np.array([1, 1, 2]) / 4
values = np.array([[8, 0], [0, 8], [8, 8]])
print("A1", A1, " A2", A2)
print("A1 - A2 / 2", A1 - A2 / 2, " output", (A1 - A2 / 2) @ values)

# %% [markdown]
# The last token takes nothing of itself: what branch 1 gives, branch 2 takes
# away.
#
# ### Exercise 16.2: one more token
#
# *Medium, 10 minutes.* Now for any cache and any width. Remember that scores are
# divided by $\sqrt D$.


# %% tags=["stub:16.2"]
def decode_step(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    K: np.ndarray,
    V: np.ndarray,
    lam: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the output (2D,) of one more token, and the grown K and V.

    q, k (2, D) and v (2D,): the new token's, both branches in q and k.
    K (2, S, D) and V (S, 2D): the cache of the S tokens before it, S >= 1.
    The output is that of a causal differential head, without a norm. Scores
    may be in the thousands.
    """
    # your code


# %% tags=["check:16.2"]
check.ex16_2(decode_step)

# %% [markdown]
# ### Why keys may be kept
#
# In layer 0 a key is computed from its own token alone. In layer 1 it is
# computed from the output of layer 0, which has read other tokens. Could a
# later token still change it? Replace the last of twelve tokens and look at
# the keys of layer 1.

# %%
small = untrained("diff").double().requires_grad_(False)
twelve = torch.randint(0, 256, (1, 12))
other = twelve.clone()
other[0, -1] = (other[0, -1] + 1) % 256

keys = []
small.blocks[1].attention.k_proj.register_forward_hook(
    lambda module, x, out: keys.extend(out)  # each (T, keys of all heads)
)
small(torch.cat([twelve, other]))
moved = (keys[0] - keys[1]).abs().amax(-1)
print("tokens whose keys moved:", torch.where(moved > 1e-12)[0].tolist())

# %% [markdown]
# Only the key of the replaced token, number 11, moved. The causal mask sees to
# that in every layer: no token reads a later one, so what was computed for it
# stays right. Without the mask there could be no cache.
#
# ## Prefill and decode
#
# Writing has two phases. In the *prefill* the whole prompt passes through the
# model at once and leaves its keys and values in each layer. In each step of
# the *decode* phase one token passes through, and adds its own.

# %%
cache = small.new_cache(batch_size=1, capacity=16)
start, rest = twelve.split([8, 4], dim=1)
small(start, cache=cache)
print("after prefill:", cache[0].length, "of", cache[0].capacity)
for t in range(4):
    small(rest[:, t : t + 1], cache=cache)
print("after 4 steps:", cache[1].length, "in each of", len(cache), "layers")
print("keys", tuple(cache[0]._k.shape), "values", tuple(cache[0]._v.shape))

# %% [markdown]
# The cache of a layer is two arrays. The keys have two axes of 2, one for the 2
# heads and one for the 2 branches. The memory is set aside once, and each step
# writes behind the last token. `torch.cat` would copy the
# whole cache in each step.
#
# Let $S$ be the number of tokens in the cache. It is also the *position* of
# the first new token, for which its query and key are rotated. And $T$ new
# tokens need a *mask* that is aligned to the end, as in chapter 3:
#
# $$
# \text{query } i \text{ sees key } j \iff j \le S + i,
# \qquad i = 0, \ldots, T - 1
# \tag{16.2}
# $$
#
# ### The test of a cache
#
# Cut a row into pieces, any pieces, and feed them one after the other. The
# logits must be those of the whole row read at once. (`forget` loses a part of
# the cache on purpose; the control below needs it.)


# %%
def in_pieces(
    model: DecoderLM, row: Tensor, pieces: list[int], forget: bool = False
) -> Tensor:
    """Logits (B, T, V) of a row that is fed to a cache piece by piece."""
    cache, logits = model.new_cache(len(row), capacity=row.shape[1]), []
    for piece in row.split(pieces, 1):
        logits.append(model(piece, cache=cache))
        for part in cache if forget else []:
            part._k[:, :, 1] = 0  # the keys of branch 2
    return torch.cat(logits, 1)


# %%
ways = {"8 and ones": [8, 1, 1, 1, 1], "ones": 12 * [1], "chunks": [5, 4, 3]}
for kind, kv_heads in (("softmax", 2), ("diff", 2), ("diff_v2", 1)):
    for more in ({}, {"num_kv_heads": kv_heads}):
        small = untrained(kind, **more).double().requires_grad_(False)
        whole = small(twelve)
        for pieces in ways.values():
            gap = (in_pieces(small, twelve, pieces) - whole).abs().max()
            assert gap < 1e-12
    print(f"{kind:8s} alone and grouped,", ", ".join(ways), "< 1e-12")

# %% [markdown]
# ### The control that fails
#
# Would this test notice a mistake? We make two. In the first, *positions not
# advanced*, each decoded token is rotated as if its position were 0. In the
# second, *branch 2 forgotten*, the keys of branch 2 are lost after each piece,
# as in a cache that was written for plain heads and keeps one key a head.


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def stuck(model: DecoderLM) -> DecoderLM:
    """A copy that rotates all tokens after the first 8 for position 0."""
    model = copy.deepcopy(model)
    for table in (model.cos, model.sin):
        table[8:] = table[0].clone()
    return model


# %%
small = untrained("diff").double().requires_grad_(False)
whole, pieces = small(twelve), ways["8 and ones"]
for name, logits in (
    ("positions not advanced", in_pieces(stuck(small), twelve, pieces)),
    ("branch 2 forgotten", in_pieces(small, twelve, pieces, forget=True)),
):
    gap = (logits - whole).abs().amax((0, 2))  # by position
    assert (gap[:8] < 1e-12).all() and (gap[8:] > 1e-4).all()
    print(f"{name}: wrong at positions", torch.where(gap > 1e-12)[0].tolist())

# %% [markdown]
# Both are right for the prompt, so a test of the prompt alone passes. (An
# optional section measures what they cost in a trained model.)
#
# ## From logits to a token
#
# The model gives a probability for each token, and something must choose. Lay
# the tokens end to end on a line from 0 to 1, each as long as its probability,
# and draw one number $u$ between 0 and 1. The token that $u$ falls on is chosen.

# %%
p = np.array([4, 2, 2]) / 8  # token 0 ends at 1/2, token 1 at 3/4
for u in (0.1, 0.6, 0.8):
    print(f"u = {u}: token", np.searchsorted(np.cumsum(p), u, side="right"))

# %% [markdown]
# So the numbers $u$ are the only random part, and a *seed* fixes them. Two
# settings change the probabilities before the draw.
#
# - The *temperature* divides the logits, as in exercise 15.1: below 1 likely tokens
#   get likelier, above 1 they get less likely.
# - *Top-p* (Holtzman and others, 2020) leaves out the tail. Each unlikely token
#   has a small probability, but there are thousands of them, and what follows
#   an odd token continues something odd. So keep the likeliest tokens, as few
#   as together reach the probability $p$.
#
# ### Exercise 16.3: top-p
#
# *Medium, 10 minutes.* The token that takes the sum to `top_p` is kept too. Of
# equally likely tokens any may be left out.


# %% tags=["stub:16.3"]
def keep_top_p(p: np.ndarray, top_p: float) -> np.ndarray:
    """Return probabilities (V,) with all but the top tokens set to 0.

    p (V,): probabilities. Kept are the likeliest tokens, as few as together
    reach top_p (0 < top_p <= 1), at least one. What is kept is divided by
    its sum; every token keeps its place.
    """
    # your code


# %% tags=["check:16.3"]
check.ex16_3(keep_top_p)

# %%
keep = check.mine("16.3")

# %% [markdown]
# How many tokens does it keep at each place of a docstring? Where do you expect
# one, where many?

# %% tags=["nbval-ignore-output"]
shipped = load(course.weights("pair_diff.safetensors")).requires_grad_(False)
words = BPETokenizer.load(course.weights("pair_tokenizer.json"))
code = torch.tensor([words.encode(inspect.getsource(minidiff.KVCache))[:161]])
P = shipped(code[:, :-1])[0, 8:34].softmax(-1).numpy()
count = [np.count_nonzero(keep(p.astype(float), 0.9)) for p in P]

# %% tags=["nbval-ignore-output", "hide-input"] jupyter={"source_hidden": true}
# P[i] was computed before the token names[i + 1] was seen.
names = [words.decode([int(i)]) for i in code[0, 8:35]]
inside = [
    old[-1:].isalpha() and new[:1].isalpha() for old, new in pairwise(names)
]
shown = ["⏎" if "\n" in x else x.replace(" ", "·") for x in names[1:]]

# %% tags=["hide-output", "nbval-ignore-output"] mystnb={"image": {"alt": "A bar for each of 26 tokens of a docstring: how many tokens top-p 0.9 kept before the token below it was seen, with the number on each bar. Orange bars are tokens that continue a word, blue ones all others. Most orange bars are low, two are above 100; the highest bars are blue, where a new word begins."}} jupyter={"outputs_hidden": true}
figure, axis = plt.subplots(figsize=(8, 3.2))
colours = [plots.COLOURS[i] for i in inside]
bars = axis.bar(range(26), count, width=0.8, color=colours)
axis.bar_label(bars, fontsize=8)
for i, label in enumerate(("begins a word, or none", "continues a word")):
    axis.bar(0, 0, color=plots.COLOURS[i], label=label)
axis.set_xticks(range(26), shown, fontsize=9, rotation=60, ha="right")
axis.grid(False, axis="x")
axis.set(
    xlabel="the token that came next", ylabel="tokens kept before it came"
)
axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
plt.show()

# %% tags=["nbval-ignore-output"]
for label, wanted in (("continues a word", True), ("others", False)):
    some = [n for n, x in zip(count, inside, strict=True) if x == wanted]
    print(f"{label:16s} median {np.median(some):.0f} kept, ", end="")
    print(f"from {min(some)} to {max(some)}")

# %% [markdown]
# (A dot is a space, an arrow a new line.) As a rule fewer tokens are kept
# where a word goes on than elsewhere. But look at the highest orange bar:
# after the first letters of a rare word the model is not sure either. To keep
# a fixed number of tokens is called top-$k$: that is too many where the model
# is sure and too few where it is not.
#
# ## Streaming
#
# A Python *generator* hands out each token as soon as it is chosen, and keeps
# the cache while it waits. You write it, with both phases and a cache. Here is
# the choice, which uses your top-p and, from exercise 15.1, your temperature.


# %%
Pick = Callable[[np.ndarray, float], int]
probabilities = check.mine("15.1")


def chooser(temperature: float, share: float) -> Pick:
    """Return pick(logits, u): the token that the number u falls on."""

    def pick(logits: np.ndarray, u: float) -> int:
        scores = torch.from_numpy(logits.astype(float))
        p = keep(probabilities(scores, temperature).numpy(), share)
        ends = np.cumsum(p)
        return int(np.searchsorted(ends, u * ends[-1], side="right"))

    return pick


# %% [markdown]
# ### Exercise 16.4: the stream
#
# *Hard, 20 minutes.* `yield token` hands a token out; the function goes on from
# there when the next one is asked for. The check counts the tokens that pass
# through the model. One trap: while a generator waits inside `with
# torch.no_grad():`, gradients are off in the code that called it. So let no `with`
# enclose the `yield`. (The models of this chapter record no gradients anyway.)


# %% tags=["stub:16.4"]
def stream(
    model: DecoderLM, prompt: list[int], pick: Pick, numbers: list[float]
) -> Iterator[int]:
    """Yield a token for each of the numbers, as soon as it is chosen.

    model.new_cache(1, capacity) makes an empty cache; capacity is how many
    tokens it must hold, prompt and new ones. model(tokens, cache=cache)
    returns logits (1, T, V) for tokens (1, T), and adds the tokens to the
    cache. pick(logits, u) chooses the next token for logits (V,), a NumPy
    array, and one of the numbers. Each token passes through the model once;
    the last one is yielded and does not pass through it.
    """
    # your code


# %% tags=["check:16.4"]
check.ex16_4(stream)

# %%
my_stream = check.mine("16.4")

# %% [markdown]
# One trap is left. A token may end in the middle of a character: in UTF-8 an é
# is two bytes, and one of them alone decodes to �. So wait for the rest. And
# `flush=True` prints each piece at once. Run it and watch.


# %%
def as_text(tokens: Iterator[int]) -> Iterator[str]:
    """Yield text, each character when its last byte has come."""
    ids, shown = [], 0
    for token in tokens:
        ids.append(token)
        text = coder.decode(ids)
        if not text.endswith("\ufffd"):
            yield text[shown:]
            shown = len(text)


# %% tags=["nbval-ignore-output"]
def write(temperature: float, share: float, seed: int = 2) -> Iterator[str]:
    """Yield what the model writes after my_prompt, piece by piece."""
    ids = coder.encode(my_prompt)
    n = min(60, model.config.max_length - len(ids))
    numbers = np.random.default_rng(seed).random(n).tolist()
    pick = chooser(temperature, share)
    return as_text(my_stream(model, ids, pick, numbers))


print(my_prompt, end="")
for piece in write(temperature=0.7, share=0.9):
    print(piece, end="", flush=True)

# %% [markdown]
# That is your stream and your top-p, or the course's where a check has not
# passed yet. Beyond `max_length` the model would meet distances that it has
# never seen, so the package's `generate` refuses to go on. With `slide=True`
# it forgets the older half instead: it reads the last half of its window again
# and goes on from there. The command in a shell does so:
#
# ```
# minidiff generate runs/mine --prompt "import " --temperature 0.7 --top-p 0.9
# ```
#
# ### Yours
#
# What do the two settings do? Here are your beginning and your model three times,
# with the same random numbers. Choose another beginning, temperatures and shares,
# and run the two cells again. The second saves the picture as `my_sample.png`
# beside this notebook, for you to keep.

# %%
my_prompt, my_seed = '"""Read a file and ', 2
my_settings = ((0.3, 1.0), (0.8, 0.9), (1.2, 1.0))  # temperature, top-p
look = {"va": "top", "family": "monospace", "size": 8, "parse_math": False}

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Three columns of text in a typewriter face, one for each temperature and top-p: the beginning in orange, and after it what the model wrote. At the low temperature whole lines repeat, at the high one words stand side by side that do not belong together."}}
figure, axes = plt.subplots(1, 3, figsize=(10, 3.0))
for axis, (temperature, share) in zip(axes, my_settings, strict=True):
    text = my_prompt + "".join(write(temperature, share, my_seed))
    lines = text.expandtabs(2).splitlines()
    wrapped = [textwrap.wrap(x, 34, drop_whitespace=False) for x in lines]
    page = "\n".join(row for part in wrapped for row in part or [""])
    n = len(my_prompt) if page.startswith(my_prompt) else 0
    blank = "".join(x if x.isspace() else " " for x in page[:n])
    axis.text(0, 1, blank + page[n:], **look)
    axis.text(0, 1, page[:n], color=plots.COLOURS[1], **look)
    axis.set_title(f"temperature {temperature}, top-p {share}", fontsize=10)
    axis.axis("off")
plots.save_figure(figure, "my_sample.png")
plt.show()

# %% [markdown]
# As a rule a low temperature repeats itself, a high one falls apart, and top-p
# leaves out the oddest tokens only: at a high temperature so many tokens share
# the probability that odd ones are kept too. Is it so with yours? One sample of
# each is no measurement.
#
# ## The package agrees
#
# Your step against the operator, and the stream against `generate`, both
# taking the likeliest token each time.

# %%
rng = np.random.default_rng(0)
q, K = rng.normal(size=(2, 2, 6, 4))  # (2, S, D): both branches
V = rng.normal(size=(6, 8))
step = check.mine("16.2")
mine, *_ = step(q[:, -1], K[:, -1], V[-1], K[:, :-1], V[:-1], 0.8)
arrays = (torch.from_numpy(x)[None, None] for x in (q[:, -1:], K, V))
out = minidiff.diff_attention(*arrays, lam=0.8)
assert np.allclose(out[0, 0, 0], mine)
print("the step is that of minidiff")

# %%
greedy = list(
    my_stream(small, twelve[0].tolist(), lambda x, u: x.argmax(), 20 * [0.0])
)
for cache in (True, False):
    text = generate(
        small, twelve, max_new_tokens=20, temperature=0, cache=cache
    )
    assert text[0, 12:].tolist() == greedy
print("the stream is that of minidiff")

# %% [markdown]
# ## Common mistakes
#
# - **Testing the prompt only.** Mistakes of a cache begin with the first token
#   after it.
# - **A mask aligned to the start**, as `is_causal=True` makes it in PyTorch. A
#   single query then sees the first key only. A single query needs no mask.
# - **Top-p before temperature.** Which tokens are kept depends on the
#   temperature.
#
# ## Summary
#
# - A later token needs the keys and values of the past, and the causal mask is
#   the reason why they may be kept.
# - For each token a V1 head holds $4D$ numbers, as many as two plain heads. A V2
#   head holds $2D$, as many as one.
# - A cache is right if every way to cut a row gives the logits of the whole row.
# - A decode step reads all weights and the whole cache, and in a long text the
#   cache is the larger part.
# - The same call with the same seed gives the same text. Temperature flattens
#   the probabilities or sharpens them, and top-p cuts off the tail.

# %% [markdown]
# ## Optional: measurements
#
# *The chapter ends here. The sections below measure times and losses, for
# another day.*
#
# ### A seed repeats a call
#
# Put the same prompt in a batch twice. Will the two rows be alike?

# %%
settings = {"max_new_tokens": 16, "seed": 1}
first, second = (generate(small, twelve, **settings) for _ in range(2))
print("the same seed twice:", torch.equal(first, second))
both = generate(small, twelve.repeat(2, 1), **settings)
print("two rows of one batch:", torch.equal(both[0], both[1]))

# %% [markdown]
# The rows differ, because they take their numbers from one stream, one after
# the other. And where $u$ falls close to the border between two tokens,
# rounding decides which one is chosen. Rounding differs between devices,
# between batch sizes, and with or without a cache.
#
# ### What a mistake costs
#
# The next cell takes the model that comes with the course and 160 tokens of code
# that it was not trained on, reads 8 of them as the prompt and the others one by
# one, and prints the mean loss after the prompt. Which mistake costs more?

# %% tags=["nbval-ignore-output"]
row, pieces, losses = code[:, :-1], [8] + 152 * [1], {}
for name, logits in (
    ("read at once", shipped(row)),
    ("from the cache", in_pieces(shipped, row, pieces)),
    ("positions not advanced", in_pieces(stuck(shipped), row, pieces)),
    ("branch 2 forgotten", in_pieces(shipped, row, pieces, forget=True)),
):
    losses[name] = F.cross_entropy(logits[0, 8:], code[0, 9:]).item()
    print(f"{losses[name]:.2f} nats a token, {name}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
gap = losses["from the cache"] - losses["read at once"]
assert abs(gap) < 1e-3
for mistake in list(losses)[2:]:
    assert losses[mistake] > losses["read at once"] + 0.05
assert losses["positions not advanced"] > losses["branch 2 forgotten"] + 1

# %% [markdown]
# The cache changes nothing. Both mistakes cost something, and nothing crashes.
# Wrong positions cost by far the most: every key and query after the prompt is
# turned by a wrong angle, in both branches. Without the old keys of branch 2
# the second map is wrong, but the first one still works.
#
# ### What a step costs
#
# To decode one token the processor reads every weight and the whole cache, and
# multiplies once with each weight. That is little work for much reading, so a
# step of a large model takes about as long as the reading. In the prefill a
# weight that was read once serves all tokens of the prompt. How much cheaper is
# a token there? And how much of your model's step is reading? The second model
# below has as many layers and hardly any weights, so its step is nearly all
# overhead: calling PyTorch for some dozens of small operations in every layer.


# %% tags=["nbval-ignore-output"]
def step_time(m: DecoderLM) -> float:
    """Seconds of a decode step after the tokens of row, the fastest of 50."""
    cache, new = m.new_cache(1), row[:, :1]
    m(row, cache=cache)
    return min(timeit.repeat(lambda: m(new, cache), number=1, repeat=50))


row = torch.zeros(1, min(256, model.config.max_length - 51), dtype=torch.int64)
narrow = {"embed_dim": 16, "num_heads": 2, "vocab_size": 64}
tiny = DecoderLM(replace(model.config, **narrow)).requires_grad_(False)
step, overhead = step_time(model), step_time(tiny)
prefill = min(timeit.repeat(lambda: model(row), number=1, repeat=5))

# %% tags=["nbval-ignore-output"]
prefill /= row.shape[1]
print(f"prefill {1e3 * prefill:.2f} ms a token")
print(f"decode  {1e3 * step:.2f} ms a token, {step / prefill:.0f} times that")
times = model.num_parameters() / tiny.num_parameters()
print(f"a model {times:.0f} times smaller decodes in {1e3 * overhead:.2f} ms")
print(f"so the overhead is {overhead / step:.0%} of your step")
assert step > prefill

# %% [markdown]
# That explains a large part of the cold open, where the seconds shrank so much
# less than the tokens: a token that is read among hundreds costs less than one
# that comes alone. All tokens that pass together pay the overhead once, and
# the reading of the weights once. The rest of a step is reading and
# arithmetic. In a large model the overhead is next to nothing, and the reading
# nearly all.
#
# ### How often the cache is read
#
# Chapter 6 counted it. V1 as two ordinary calls, one for each branch, reads its
# keys once and its values twice: one and a half times the cache. Code that
# computes both maps first, and then reads the values once, reads everything
# once. V2 needs one ordinary call, which reads its cache once.
#
# Does a clock agree? A recorded run on a GPU timed V1's attention alone, with
# $D = 64$ and 8 texts of 65,536 tokens. "Counted" is how often the cache is
# read. "Timed" is the time divided by that of plain attention, which reads a
# cache of the same size once. So the two should agree.

# %%
record = json.loads(course.results("bench_decode.json").read_text())
print("recorded on", record["provenance"]["device"])
ratio = {
    row["peer"]: row.get("decode_ratio")
    for row in record["rows"]
    if (row["B"], row["S"], row["D"]) == (8, 65536, 64)
}
for peer, name, reads in (
    ("diff/triton", "V1, one fused kernel", 1),
    ("diff/matmul", "V1, maps written out", 1),
    ("diff2/cudnn", "V1, two calls", 1.5),
):
    print(f"{name:20s} counted {reads:.1f}, timed {ratio[peer]:.2f}")
    assert reads <= ratio[peer] < 1.1 * reads

# %% [markdown]
# The clock agrees: each time is at most a tenth above its count. So if V1 is
# computed by two calls, reading the cache outweighs reading the weights
# already at two thirds of the length that you computed with exercise 16.1.

# %% [markdown]
# ## Further reading
#
# - *Differential Transformer V2*: why a cache should be read once. [B2]
# - Pope and others, *Efficiently Scaling Transformer Inference*, arXiv
#   2211.05102: prefill, decode, and what each waits for.
# - Holtzman and others, *The Curious Case of Neural Text Degeneration*, arXiv
#   1904.09751: top-p, and why the likeliest text is a dull one.
