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
# writes the same text from a cache of keys and values as by reading
# everything again, and that V1's cache is as large as a plain model's and
# V2's half of that. And text will appear as it is written.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - compute one more token from a cache, and say why there can be one;
# - test a cache, and count its bytes for plain, V1 and V2;
# - say what a decode step reads, and where the cache outweighs the weights;
# - draw tokens from a seed, with top-k and top-p, and stream them.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | the differential head, its two maps | what is cached | chapter 3 |
# | V1, V2 and plain heads, their shapes | the size of a cache | chapter 5 |
# | rotary positions, logits | a model that generates | chapter 7 |
# | temperature, the training loop | text to look at | chapter 15 |
#
# Part III is not needed.

# %%
import codecs
import copy
import json
import textwrap
import timeit
from collections.abc import Iterable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# %%
import minidiff
from minidiff import DecoderLM, ModelConfig, TrainConfig, check, course
from minidiff import generate, plots, sample, train
from minidiff.check import hint, solution  # noqa: F401
from minidiff.data import ByteTokenizer, TextData
from minidiff.nn.config import count_parameters
from minidiff.reference import softmax

plots.use_style()

# %% [markdown]
# ## A cold open: reading it all again
#
# To write 224 bytes one asks a language model 224 times what comes next, each
# time with the whole text so far. How many tokens pass through the model, after
# a prompt of 32? Guess.


# %%
def new_model(kind: str, E: int = 64, **more: int) -> DecoderLM:
    """An untrained byte-level model of two layers."""
    torch.manual_seed(0)
    sizes = {"embed_dim": E, "num_layers": 2, "num_heads": 4} | more
    return DecoderLM(ModelConfig(**sizes, attention=kind, max_length=256))


# %%
def write(model: DecoderLM, cache: bool) -> tuple[int, float]:
    """Write 224 bytes after 32; tokens read, and seconds taken."""
    read = []
    count = model.embedding.register_forward_hook(
        lambda module, tokens, out: read.append(tokens[0].numel())
    )
    prompt, start = torch.arange(32)[None], timeit.default_timer()
    generate(model, prompt, max_new_tokens=224, seed=0, cache=cache)
    count.remove()
    return sum(read), timeit.default_timer() - start


# %%
model = new_model("diff", E=128)
(read_again, slow), (read_once, fast) = write(model, False), write(model, True)
assert read_again == sum(range(32, 256)) and read_once == 32 + 223
print("tokens read without and with a cache:", read_again, read_once)
print("ratio:", round(read_again / read_once))

# %% [markdown]
# 32 tokens, then 33, then 34: a sum that grows with the square of the length.
# With a cache each is read once. And the clock?

# %% tags=["nbval-ignore-output"]
print(f"without {slow:.1f} s, with {fast:.1f} s, ratio {slow / fast:.1f}")
assert 1 < slow / fast < read_again / read_once

# %% [markdown]
# Faster, but nowhere near 126 times. So a step costs something else than
# tokens: what, comes below.
#
# ## What is worth keeping
#
# One differential head, three tokens. We want the output of the third. Its two
# queries meet the keys of all three, and its two maps weigh their values:
#
# $$
# o_t = \sum_{s \le t} \big(A_{1,ts} - \lambda A_{2,ts}\big)\, v_s
# \tag{16.1}
# $$
#
# So from token $s$ a later token wants $k_{1,s}$ and $k_{2,s}$, which make
# its weights, and $v_s$. It does not want the queries of $s$: they are used
# once, in row $s$.
#
# Let $D = 1$, both queries of token 3 be 1, its keys $\ln 1$ and $\ln 2$, and the
# cache hold keys $\ln 2, \ln 1$ for branch 1 and $\ln 1, \ln 1$ for branch 2.
# The exponentials are then 2, 1, 1 and 1, 1, 2. With $\lambda = \frac12$ and
# values $(8, 0)$, $(0, 8)$, $(8, 8)$: what is the output? Use a pencil.

# %%
K = np.log([[[2.0], [1.0]], [[1.0], [1.0]]])  # (2, S, D): two tokens so far
V = np.array([[8.0, 0.0], [0.0, 8.0]])  # (S, 2D)
q, k, v = np.ones((2, 1)), np.log([[1.0], [2.0]]), np.array([8.0, 8.0])
K, V = np.concatenate([K, k[:, None]], axis=1), np.vstack([V, v])
A1, A2 = softmax(np.einsum("bd,bsd->bs", q, K))  # D = 1: no scale
print("A1", A1, " A2", A2)
print("A1 - A2 / 2", A1 - A2 / 2, " output", (A1 - A2 / 2) @ V)
assert np.allclose((A1 - A2 / 2) @ V, [3, 1])

# %% [markdown]
# Token 3 takes nothing of itself: what branch 1 gives, branch 2 takes away.
#
# ### Exercise 16.1: one more token
#
# *Medium, 10 minutes.* The same for any cache and any width, so divide the
# logits by $\sqrt D$.


# %% tags=["stub:16.1"]
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
    The output is that of a causal differential head, without a norm.
    """
    # your code


# %% tags=["check:16.1"]
check.ex16_1(decode_step)

# %% [markdown]
# ### Why it may be kept
#
# In layer 0 a key is made of its own token alone. In layer 1 it is made of what
# layer 0 put out, which has read other tokens. Could a later token change it?
# Change the last of twelve tokens and look at the keys of layer 1.

# %%
model = new_model("diff").double().requires_grad_(False)
twelve = torch.randint(0, 256, (1, 12))
other = twelve.clone()
other[0, -1] = (other[0, -1] + 1) % 256

keys = []
model.blocks[1].attention.k_proj.register_forward_hook(
    lambda module, x, out: keys.extend(out)  # each (T, keys of all heads)
)
model(torch.cat([twelve, other]))
moved = (keys[0] - keys[1]).abs().amax(-1)
assert (moved[:-1] < 1e-12).all() and moved[-1] > 0.01
print("tokens whose keys moved:", torch.where(moved > 1e-12)[0].tolist())

# %% [markdown]
# Only its own, number 11. The causal mask does that, layer by layer: the left
# never reads the right. Without it there could be no cache.
#
# ## Prefill and decode
#
# So writing has two phases. *Prefill*: the prompt goes through at once, and
# leaves its keys and values in each layer. *Decode*: one token a step, which
# adds its own.

# %%
cache = model.new_cache(batch_size=1, capacity=16)
prompt, rest = twelve.split([8, 4], dim=1)
model(prompt, cache=cache)
print("after prefill:", cache[0].length, "of", cache[0].capacity)
for t in range(4):
    logits = model(rest[:, t : t + 1], cache=cache)
print("after 4 steps:", cache[1].length, "in each of", len(cache), "layers")
print("keys", tuple(cache[0]._k.shape), "values", tuple(cache[0]._v.shape))

# %% [markdown]
# A layer's cache is two arrays: 2 heads with keys for both branches, and 2
# heads of values. (The underscore says hands off; we look, and later do damage.)
# The memory is set aside at once, and each step writes behind the last
# token: `torch.cat` would copy the whole cache each time.
#
# The number $S$ of tokens held is also the *position* of the first new token:
# its key is rotated for $S$, not for 0. (The keys held were rotated when they
# came.) And the *mask* of $T$ new tokens is aligned to the end, as in chapter 3:
#
# $$
# \text{query } i \text{ sees key } j \iff j \le S + i,
# \qquad i = 0, \ldots, T - 1
# \tag{16.2}
# $$
#
# ### The cache equals the full forward
#
# The test of a cache: cut a row in pieces, any pieces, and feed them one after
# the other. The logits must be those of the row read at once. (`forget` is for
# later.)


# %%
def in_pieces(
    model: DecoderLM, row: Tensor, pieces: list[int], forget: bool = False
) -> Tensor:
    """Logits (B, T, V) of a row that is fed to a cache piece by piece."""
    cache, logits = model.new_cache(*row.shape), []
    for piece in row.split(pieces, 1):
        logits.append(model(piece, cache=cache))
        for part in cache if forget else []:
            part._k[:, :, 1] = 0  # branch 2
    return torch.cat(logits, 1)


# %%
ways = {"8 and ones": [8, 1, 1, 1, 1], "ones": 12 * [1], "chunks": [5, 4, 3]}
for kind, kv_heads in (("softmax", 2), ("diff", 2), ("diff_v2", 1)):
    for more in ({}, {"num_kv_heads": kv_heads}):
        model = new_model(kind, **more).double().requires_grad_(False)
        whole = model(twelve)
        for pieces in ways.values():
            gap = (in_pieces(model, twelve, pieces) - whole).abs().max()
            assert gap < 1e-12
    print(f"{kind:8s} alone and grouped,", ", ".join(ways), "< 1e-12")

# %% [markdown]
# ### The control that fails
#
# Would this test notice a mistake? First, *positions not advanced*: each
# decoded token is rotated for position 0. We overwrite the table of rotations.


# %%
def stuck(model: DecoderLM) -> DecoderLM:
    """A copy that rotates all tokens after the first 8 for position 0."""
    model = copy.deepcopy(model)
    for table in (model.cos, model.sin):
        table[8:] = table[0]
    return model


# %% [markdown]
# Second, *branch 2 forgotten*: a cache written for plain heads keeps one key a
# head. That is `forget=True`: after each piece branch 2's keys are set to 0.

# %%
model = new_model("diff").double().requires_grad_(False)
whole, pieces = model(twelve), ways["8 and ones"]
for name, logits in (
    ("positions not advanced", in_pieces(stuck(model), twelve, pieces)),
    ("branch 2 forgotten", in_pieces(model, twelve, pieces, forget=True)),
):
    gap = (logits - whole).abs().amax((0, 2))  # by position
    assert (gap[:8] < 1e-12).all() and (gap[8:] > 1e-4).all()
    print(f"{name}: wrong at positions", torch.where(gap > 1e-12)[0].tolist())

# %% [markdown]
# Both are right for the prompt, and a test of the prompt alone passes.
#
# Third, a mask aligned to the *start*, which is what PyTorch's
# `is_causal=True` means. Which of 9 keys does a single query see?

# %%
q = torch.randn(1, 1, 1, 4)
k, v = torch.randn(2, 1, 1, 9, 4)
out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
assert torch.allclose(out[0, 0, 0], v[0, 0, 0])
print("with is_causal=True the output is the value of the first key")

# %% [markdown]
# The first alone. A single query needs no mask: all that is held is its past.
# `diff_attention` aligns to the end, by (16.2).
#
# ## A model to write with
#
# From here on we need a trained model. Ours reads a single file of the standard
# library, `textwrap.py`, with the last tenth held out.

# %% tags=["parameters"] quick={"STEPS": 6}
STEPS = 300

# %% tags=["nbval-ignore-output"]
coder = ByteTokenizer()
source = Path(textwrap.__file__).read_text(encoding="utf-8")
ids = torch.tensor(coder.encode(source))
cut = len(ids) * 9 // 10
data = TextData(ids[:cut], ids[cut:], vocab_size=256, length=128)
writer = new_model("diff", E=96)
config = TrainConfig(
    steps=STEPS, batch_size=8, lr=4e-3, warmup_steps=min(50, STEPS // 2)
)
train(writer, data, config)
writer.requires_grad_(False)
print("trained on", cut, "bytes of text")

# %% [markdown]
# Now a mistake has a price in nats. Read held-out windows through each cache,
# 8 bytes as the prompt and then one by one, and take the mean loss after the
# prompt. Which mistake costs more?

# %% tags=["nbval-ignore-output"]
inputs, targets = data.batch(0, 16, "valid")
pieces, losses = [8] + 120 * [1], []
for name, logits in (
    ("read at once", writer(inputs)),
    ("from the cache", in_pieces(writer, inputs, pieces)),
    ("positions not advanced", in_pieces(stuck(writer), inputs, pieces)),
    ("branch 2 forgotten", in_pieces(writer, inputs, pieces, forget=True)),
):
    loss = F.cross_entropy(logits[:, 8:].mT, targets[:, 8:])
    losses.append(loss.item())
    print(f"{losses[-1]:.2f} nats a byte, {name}")

# %% tags=["needs-training"]
at_once, by_steps, not_advanced, forgotten = losses
assert abs(at_once - by_steps) < 1e-3
assert not_advanced > at_once + 0.1 and forgotten > at_once + 0.02

# %% [markdown]
# The cache costs nothing, a mistake does, and nothing crashes.
#
# ## What it costs: bytes
#
# ### Exercise 16.2: bytes for one token
#
# *Easy, 5 minutes.* Every layer and every key/value head holds something for
# each token; what, depends on the kind (chapter 5).


# %% tags=["stub:16.2"]
def bytes_per_token(kind: str, L: int, Hkv: int, D: int, size: int) -> int:
    """Return the bytes that all L layers cache for one token.

    kind: "softmax", "diff" (V1) or "diff_v2". Hkv: key/value heads in a
    layer, counted as that kind counts them. D: width of one query or key.
    size: bytes of one number.
    """
    # your code


# %% tags=["check:16.2"]
check.ex16_2(bytes_per_token)

# %% [markdown]
# Now measure: PyTorch says how much memory an array owns. Our small model has 2
# layers of float32, with 4 plain heads or 2 differential ones, all of $D = 16$.
# Which cache is largest?

# %%
D = 16
for kind, heads, width in (
    ("softmax", 4, D + D),
    ("diff", 2, D + D + 2 * D),
    ("diff_v2", 2, D + D),
):
    counted, measured = 4 * 2 * heads * width, 0
    for part in new_model(kind).new_cache(1, capacity=100):
        for array in (part._k, part._v):
            measured += array.untyped_storage().nbytes() / 100
    print(
        f"{kind:8s} {heads} x {width}: counted {counted}, owned {measured:.0f}"
    )
    assert counted == measured

# %% [markdown]
# V1 takes as much as the plain model: half as many heads, each with two keys
# and a value twice as wide. V2 takes half, because its two queries share one
# key and its value is $D$ wide. (The authors spend what is saved on twice as
# many query heads [B2].)
#
# Now a real size: the paper's 3B model, 28 layers, 12 differential heads,
# $D = 128$ [P, Table 9], numbers of two bytes, a text of 65,536 tokens.

# %%
sizes = {"vocab_size": 100_288, "embed_dim": 3072, "num_layers": 28}
weights, token = {}, {}
for kind, width in (("softmax", 2), ("diff", 4), ("diff_v2", 2)):
    c = ModelConfig(**sizes, num_heads=24, attention=kind)
    token[kind] = 2 * c.num_layers * c.kv_heads * width * c.head_dim
    weights[kind] = 2 * count_parameters(c)
    GB = token[kind] * 65_536 / 1e9
    print(f"{kind:8s} {token[kind]:6d} a token, 65,536 tokens {GB:.1f} GB")
print(f"all weights, V1: {weights['diff'] / 1e9:.1f} GB")

# %% [markdown]
# The cache of one such text is larger than the model. A usual remedy is grouped
# heads: a quarter of the key/value heads, a quarter of the cache.
#
# ## What a step reads
#
# To decode one token the processor fetches every weight and the whole cache,
# and multiplies once with each weight. That is little work for much reading, so
# a step of a large model takes about as long as the reading. In prefill a weight
# once fetched serves all tokens of the prompt. How much cheaper is a token then?

# %% tags=["nbval-ignore-output"]
model = new_model("diff", E=512).requires_grad_(False)
row, cache = torch.zeros(1, 256, dtype=torch.int64), model.new_cache(1)
prefill = min(timeit.repeat(lambda: model(row), number=1, repeat=5)) / 256
one = row[:, :1]
decode = min(timeit.repeat(lambda: model(one, cache), number=1, repeat=100))
print(4 * model.num_parameters() // 10**6, "MB of weights; ms a token:")
print(f"prefill {1e3 * prefill:.2f}, decode {1e3 * decode:.2f}")
assert decode > prefill

# %% [markdown]
# There is the cold open's missing factor: a token read among hundreds costs less
# than one that comes alone.
#
# ### How often the cache is read
#
# Chapter 6 counted it. Two ordinary calls, one a branch, read V1's keys once
# and its values twice: one and a half times the cache. Code that has both maps
# before it fetches values, written out or in one fused kernel, reads everything
# once. V2 needs one ordinary call.
#
# Does a clock agree? A recorded run on a GPU: attention alone, $D = 64$, 8
# texts of 65,536 tokens, V2's heads $2D$ wide as in chapter 6, so that all
# caches are equal. Counted in readings of the cache, timed in times of plain
# attention:

# %%
record = json.loads(course.results("bench_decode.json").read_text())
print("recorded on", record["provenance"]["device"])
ratio = {
    (row["peer"], row["D"]): row.get("decode_ratio")
    for row in record["rows"]
    if (row["B"], row["S"]) == (8, 65536)
}
for peer, name, reads in (
    ("diff/triton", "V1, one fused kernel", 1),
    ("diff/matmul", "V1, maps written out", 1),
    ("diff2/cudnn", "V1, two calls", 1.5),
    ("v2/cudnn", "V2, one call", 1),
):
    print(f"{name:20s} counted {reads:.1f}, timed {ratio[peer, 64]:.2f}")
    assert reads <= ratio[peer, 64] < 1.1 * reads

# %% [markdown]
# It does. Still, a count is not a clock: the last line needs a kernel that is
# good at the width of the head. At $D = 128$ V2's heads are 256 wide:

# %%
for peer in ("v2/cudnn", "v2/flash"):
    print(f"{peer:9s} counted 1.0, timed {ratio[peer, 128]:.2f}")
assert ratio["v2/flash", 128] < 1.1 < 1.3 < ratio["v2/cudnn", 128]

# %% [markdown]
# ### Where the cache takes over
#
# The weights stay and the cache grows. Before you run it: at how many tokens
# does a step of the 3B model read as much cache as weights?

# %% mystnb={"image": {"alt": "Gigabytes read per decode step against tokens in the cache, both axes logarithmic. All curves begin flat at the weights, V2 at 6 gigabytes, the others at 7. From some ten thousand tokens on they rise: V1 by two calls first, then plain and V1 in one kernel, which are one curve, last V2."}}
n = np.geomspace(100, 1e6, 200)
for name, kind, reads in (
    ("V1, two calls", "diff", 1.5),
    ("plain, or V1 in one kernel", "diff", 1),
    ("V2", "diff_v2", 1),
):
    plt.loglog(n, (weights[kind] + reads * token[kind] * n) / 1e9, label=name)
    even = weights[kind] / (reads * token[kind])
    print(f"{name:26s} cache = weights at {even:6.0f} tokens")
plt.gca().set(xlabel="tokens in the cache", ylabel="GB read a step")
plt.legend()
plt.show()

# %% [markdown]
# (V2 starts lower, as it has fewer weights: chapter 5.) The texts of a batch
# share the weights and not the caches: with 32 at a time divide these lengths by
# 32. So for long texts and many users the cache is the bill.
#
# ## From logits to a token
#
# The model gives probabilities; something must choose.
#
# ### Exercise 16.3: from a random number to a token
#
# *Easy, 5 minutes.* Chance comes in as one number $u$, all values in $[0, 1)$
# equally likely. Lay the tokens end to end on a line and see where it falls.


# %% tags=["stub:16.3"]
def draw(p: np.ndarray, u: float) -> int:
    """Return the token that the number u falls on.

    p (V,): probabilities, in eighths here, so that sums are exact.
    0 <= u < 1. On a line from 0 to 1 the tokens lie end to end in their
    order, token i taking p[i] of it, its left end included.
    """
    # your code


# %% tags=["check:16.3"]
check.ex16_3(draw)

# %% [markdown]
# So all chance is in random numbers, and a *seed* fixes those. The same call
# with the same seed writes the same text. Now put a prompt in a batch twice.
# Will the two rows be alike?

# %%
prompt = torch.tensor([coder.encode("    def _")])
settings = {"max_new_tokens": 24, "seed": 1}
first, second = (generate(writer, prompt, **settings) for _ in range(2))
assert torch.equal(first, second)
print("the same seed twice: the same text")
both = generate(writer, prompt.repeat(2, 1), **settings)
print("two rows of one batch alike:", torch.equal(both[0], both[1]))
assert not torch.equal(both[0], both[1])

# %% [markdown]
# They differ: they draw from one stream of numbers, one after the other. So a
# seed repeats a *call*, not a row. And where a draw is close, rounding can
# decide, which differs between devices, batch sizes, and with or without a
# cache.
#
# ### The long tail
#
# Each unlikely byte has a small probability, but there are many of them, and
# what follows an odd byte continues something odd. *Top-k* keeps the $k$
# likeliest tokens. With $k = 2$:

# %%
p = np.array([1, 4, 2, 1]) / 8
kept = np.where(p >= np.sort(p)[-2], p, 0)
print(kept / kept.sum())

# %% [markdown]
# A fixed $k$ is too many where the model is sure and too few where it is not.
# *Top-p* (Holtzman and others, 2020) fixes the probability instead.
#
# ### Exercise 16.4: top-p
#
# *Medium, 10 minutes.* The token that takes the sum to `top_p` is in. Of equally
# likely ones any may go.


# %% tags=["stub:16.4"]
def keep_top_p(p: np.ndarray, top_p: float) -> np.ndarray:
    """Return probabilities (V,) with all but the top tokens set to 0.

    p (V,): probabilities. Kept are the likeliest tokens, as few as together
    reach top_p (0 < top_p <= 1), at least one. What is kept is divided by
    its sum; every token keeps its place.
    """
    # your code


# %% tags=["check:16.4"]
check.ex16_4(keep_top_p)

# %% [markdown]
# How many bytes does it keep along a line of the held-out text? Where do you
# expect one, where many? (`minidiff`'s own takes a batch.)

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Bars: how many bytes top-p 0.9 keeps at each of 60 positions of a line of code, the byte that really came written below each bar. The axis is logarithmic: one byte where a long indent begins, two to eight at several places, nine to forty at most others. A dotted line marks a fixed k of 5."}}
p = writer(inputs[:1])[0, 40:100].softmax(-1)
count = (minidiff.nn.generate.keep_top_p(p, 0.9) > 0).sum(-1)
letters = coder.decode(targets[0, 40:100].tolist())
figure, axis = plt.subplots(figsize=(7, 2.6))
axis.bar(range(60), count, width=0.8)
axis.axhline(5, color="black", linestyle=":")
names = [c if c.isprintable() and c != " " else "·" for c in letters]
axis.set_xticks(range(60), names, fontsize=8)
axis.grid(False, axis="x")
axis.set(xlabel="the byte that came", ylabel="bytes kept", yscale="log")
axis.set_yticks([1, 5, 10, 50], ["1", "5", "10", "50"])
plt.show()

# %% [markdown]
# (The dotted line is $k = 5$, a dot below a bar a space or a line's end.) Where
# one byte is kept, $k = 5$ lets in four odd ones; at the tallest bars it shuts
# out most.
#
# ## Streaming
#
# A Python *generator* hands out each token as soon as it is drawn, and keeps
# the cache between.


# %%
def stream(
    model: DecoderLM, prompt: list[int], tokens: int, seed: int
) -> Iterator[int]:
    """Yield tokens one by one, as ``generate`` would draw them."""
    generator = torch.Generator().manual_seed(seed)
    cache = model.new_cache(1, len(prompt) + tokens)
    new = torch.tensor([prompt])
    for _ in range(tokens):
        with torch.no_grad():
            logits = model(new, cache=cache)[:, -1]
        new = sample(logits, 0.7, 0.9, generator)[:, None]
        yield new.item()


# %% [markdown]
# (The two numbers in `sample` are temperature and top-p.) One trap is left: in
# UTF-8 an é is two bytes, and half of it decodes to nothing one wants to see. A
# decoder that remembers waits for the other half.


# %%
def as_text(tokens: Iterable[int]) -> Iterator[str]:
    """Yield text, each character when its last byte has come."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for token in tokens:
        yield decoder.decode(bytes([token]))
    yield decoder.decode(b"", final=True)


byte_by_byte = coder.encode("né")
print("each on its own: ", [coder.decode([b]) for b in byte_by_byte])
print("with a memory:   ", list(as_text(byte_by_byte)))

# %% [markdown]
# `flush=True` sends each piece at once. Run it and watch.

# %% tags=["nbval-ignore-output"]
for seed, opening in enumerate(("    if ", "import ", "return ")):
    print(f"----\n{opening}", end="")
    for piece in as_text(stream(writer, coder.encode(opening), 115, seed)):
        print(piece, end="", flush=True)
    print()

# %% [markdown]
# Words of one file, and little sense. We stop before 128 bytes, the length of
# the training windows: beyond it a model meets distances it has never seen.
# Change the seed and the opening.
#
# ## The package agrees
#
# The head by hand against the operator, `stream` against `generate`, with and
# without a cache.

# %%
rng = np.random.default_rng(0)
q, K = rng.normal(size=(2, 2, 6, 4))  # (2, S, D): both branches
V = rng.normal(size=(6, 8))
A1, A2 = softmax(np.einsum("bd,bsd->bs", q[:, -1], K) / np.sqrt(4))
arrays = (torch.from_numpy(x)[None, None] for x in (q[:, -1:], K, V))
out = minidiff.diff_attention(*arrays, lam=0.8)
assert np.allclose(out[0, 0, 0], (A1 - 0.8 * A2) @ V)

model = new_model("diff").double().requires_grad_(False)
settings = {"max_new_tokens": 20, "temperature": 0.7, "top_p": 0.9, "seed": 3}
streamed = list(stream(model, twelve[0].tolist(), 20, seed=3))
for cache in (True, False):
    text = generate(model, twelve, **settings, cache=cache)
    assert text[0, 12:].tolist() == streamed
print("head and streaming are those of minidiff")

# %% [markdown]
# ## Common mistakes
#
# - **Testing the prompt only.** Mistakes begin with the first token after it.
# - **A cache used for a second text.** Make a new one.
# - **`with torch.no_grad()` around a `yield`.** Between two tokens it is then
#   in force for the code that called.
# - **Top-p before temperature.** The set depends on the temperature.
#
# ## Summary
#
# - A later token wants keys and values of the past, and the causal mask is why
#   they may be kept.
# - A cache is right when every way to cut a row gives the logits of the whole.
# - For each token V1 holds $4D$ numbers a head, as many as two plain heads. V2
#   holds $2D$.
# - A decode step reads all weights and the whole cache: V1's one and a half
#   times by two calls, once in one kernel; V2's once.
# - A seed repeats a call. Top-p fixes how much probability may be drawn from.
#
# ## Further reading
#
# - *Differential Transformer V2*: why a cache should be read once. [B2]
# - Pope and others, *Efficiently Scaling Transformer Inference*, arXiv
#   2211.05102: prefill, decode, and what each waits for.
# - Holtzman and others, *The Curious Case of Neural Text Degeneration*, arXiv
#   1904.09751: top-p, and why the likeliest text is a dull one.
