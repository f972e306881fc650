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
# everything again, that V1's cache is as large as a plain model's and V2's
# half of that, and how a few lines turn logits into text that appears as it
# is written.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - compute one more token from a cache by hand, and say why it may be kept;
# - test a cache, and recognise the ways in which it is wrong;
# - count the bytes of a cache for plain, V1 and V2, and measure them;
# - say what a decode step reads, and where the cache outweighs the weights;
# - draw tokens from a seed, with top-k and top-p;
# - stream text into a notebook, byte by byte.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | the differential head, its two maps | what is cached | chapter 3 |
# | the multi-head module, pairs of heads | shapes of a cache | chapter 5 |
# | rotary positions, logits | a model that generates | chapter 7 |
# | temperature, the training loop | text to look at | chapter 15 |
#
# Part III is not needed.

# %%
import codecs
import json
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

# %%
import minidiff
from minidiff import DecoderLM, ModelConfig, check, course, plots
from minidiff.cache import KVCache
from minidiff.check import hint, solution  # noqa: F401
from minidiff.data import ByteTokenizer, TextData
from minidiff.generate import generate, sample
from minidiff.reference import softmax
from minidiff.train import TrainConfig, train

plots.use_style()

# %% [markdown]
# ## A cold open: reading it all again
#
# A language model says what comes next. To write 224 bytes one asks it 224
# times. The plain way hands it the whole row each time. How many tokens pass
# through the model, after a prompt of 32? Write down a guess.


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
    start, prompt = time.perf_counter(), torch.arange(32)[None]
    generate(model, prompt, max_new_tokens=224, seed=0, cache=cache)
    count.remove()
    return sum(read), time.perf_counter() - start


# %%
model = new_model("diff", E=128)
read_again, slow = write(model, cache=False)
read_once, fast = write(model, cache=True)
assert read_again == sum(range(32, 256)) and read_once == 32 + 223
print("tokens read without a cache:", read_again)
print("tokens read with a cache:   ", read_once)
print("ratio:                      ", round(read_again / read_once))

# %% [markdown]
# 32 tokens, then 33, then 34: a sum that grows with the square of the length.
# With a cache each token is read once. (The last one is never read.) And the
# clock?

# %% tags=["nbval-ignore-output"]
print(f"without {slow:.1f} s, with {fast:.1f} s, ratio {slow / fast:.1f}")
assert 1 < slow / fast < read_again / read_once

# %% [markdown]
# Faster, but nowhere near 126 times. Keep both numbers in mind: the first
# says why there is a cache, the second that a step costs something else than
# tokens. First the cache.
#
# ## What is worth keeping
#
# One differential head, $D = 1$, three tokens. We want the output of the
# third. Its two queries meet the keys of all three tokens, and its two maps
# weigh their values:
#
# $$
# o_t = \sum_{s \le t} \big(A_{1,ts} - \lambda A_{2,ts}\big)\, v_s
# \tag{16.1}
# $$
#
# So from token $s$ a later token wants $k_{1,s}$, $k_{2,s}$ and $v_s$. It does
# not want the query: $q_s$ is used once, in row $s$. Nor $o_s$.
#
# Let both queries of token 3 be 1, its keys $\ln 1 = 0$ and $\ln 2$, and the
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
print("A1 - A2 / 2 =", A1 - A2 / 2)
print("output", (A1 - A2 / 2) @ V)
assert np.allclose((A1 - A2 / 2) @ V, [3, 1])

# %% [markdown]
# The row sums to $1 - \lambda$ as always. Token 3 takes nothing of itself:
# what branch 1 gives, branch 2 takes away.
#
# ### Exercise 16.1: one more token
#
# *Medium, 10 minutes.* The same for any width and any cache.


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
# In the first layer a key is made of its own token alone. In the second it is
# made of what the first layer put out, which has read other tokens. Could a
# later token change it? Change the last of twelve tokens and look at the keys
# of layer 1 (layers count from 0).

# %%
model = new_model("diff").double().requires_grad_(False)
twelve = torch.randint(0, 256, (1, 12))
other = twelve.clone()
other[0, -1] = (other[0, -1] + 1) % 256

keys = []
model.blocks[1].attention.k_proj.register_forward_hook(
    lambda module, x, out: keys.append(out[0])  # (T, keys of all heads)
)
for tokens in (twelve, other):
    model(tokens)
moved = (keys[0] - keys[1]).abs().amax(-1)
assert (moved[:-1] < 1e-12).all() and moved[-1] > 0.01
print("tokens whose keys moved:", torch.where(moved > 1e-12)[0].tolist())

# %% [markdown]
# Only its own. The causal mask does that, layer by layer: what is to the left
# never reads what is to the right. Without the mask every key would move with
# every new token, and there could be no cache.
#
# ## Prefill and decode
#
# So writing has two phases. *Prefill*: the prompt goes through at once, and
# leaves keys and values in each layer. *Decode*: one token a step, which adds
# its own. In `minidiff` both are the same call.

# %%
cache = model.new_cache(batch_size=1, capacity=16)
prompt, rest = twelve.split([8, 4], dim=1)
model(prompt, cache=cache)
print("after prefill:", cache[0].length, "of", cache[0].capacity)
for t in range(4):
    logits = model(rest[:, t : t + 1], cache=cache)
print("after 4 steps:", cache[1].length, "in each of", len(cache), "layers")
print("logits of a step:", tuple(logits.shape))

# %% [markdown]
# The memory is set aside at once, and each step writes behind the last token:
# `torch.cat` would copy the whole cache at each step.
#
# The model needs two things from the cache that it could do without before.
# The *position* of the first new token is the number of tokens held: the new
# key is rotated for position $S$, not for 0. The keys held were rotated when
# they came, and stay so. And the *mask* of $T$ new tokens against $S + T$
# keys is aligned to the end:
#
# $$
# \text{query } i \text{ sees key } j \iff j \le S + i,
# \qquad i = 0, \ldots, T - 1
# \tag{16.2}
# $$

# %%
S, T = 4, 3
i, j = torch.arange(T)[:, None], torch.arange(S + T)
print((j <= S + i).int())

# %% [markdown]
# ### The cache equals the full forward
#
# The test of a cache: cut a row in pieces, any pieces, and feed them one after
# the other. The logits must be those of the row read at once. Here for all
# three kinds, and with grouped heads (`num_kv_heads`), where query heads
# share keys.


# %%
def in_pieces(model: DecoderLM, row: Tensor, pieces: list[int]) -> Tensor:
    """Logits (B, T, V) of a row that is fed to a cache piece by piece."""
    cache = model.new_cache(*row.shape)
    return torch.cat([model(x, cache=cache) for x in row.split(pieces, 1)], 1)


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
# Would this test notice? Here are three ways to be wrong. First the *positions not advanced*. `read` is what the model does with a
# cache, with the position of the first token said from outside.


# %%
def read(
    model: DecoderLM, tokens: Tensor, cache: list[KVCache], start: int
) -> Tensor:
    """Logits of tokens that stand at positions start, start + 1, ..."""
    stop = start + tokens.shape[1]
    rope = model.cos[start:stop], model.sin[start:stop]
    x = model.embedding(tokens)
    for block, part in zip(model.blocks, cache, strict=True):
        x, _ = block(x, rope, part)
    return model.norm(x) @ model.embedding.weight.T


# %%
def steps(model: DecoderLM, row: Tensor, stuck: bool = False) -> Tensor:
    """Prefill of 8, then one by one; all logits. Stuck: at position 0."""
    cache = model.new_cache(*row.shape)
    logits = [read(model, row[:, :8], cache, 0)]
    for t in range(8, row.shape[1]):
        start = 0 if stuck else t
        logits.append(read(model, row[:, t : t + 1], cache, start))
    return torch.cat(logits, 1)


# %% [markdown]
# Second, *the past of branch 2 forgotten*: a cache written for plain heads
# keeps one key a head, and what is not kept is read as 0. We take a cache
# that works and lose branch 2 on the way out.


# %%
class LosesBranch2(KVCache):
    """Gives back zeros for what branch 2 saw in earlier calls."""

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k and v; return all, but for branch 2's past keys."""
        before = self.length
        keys, values = super().append(k, v)
        keys = keys.clone()
        keys[:, :, 1, :before] = 0
        return keys, values


# %%
def forgetful(model: DecoderLM, row: Tensor) -> Tensor:
    """As ``steps``, with branch 2 forgotten between the calls."""
    B, N = row.shape
    D, Hkv = model.config.head_dim, model.config.kv_heads
    shapes = (B, Hkv, 2, N, D), (B, Hkv, N, 2 * D)
    dtype = model.cos.dtype
    cache = [LosesBranch2(*shapes, dtype=dtype) for _ in model.blocks]
    pieces = [8] + (N - 8) * [1]
    return torch.cat([model(x, cache=cache) for x in row.split(pieces, 1)], 1)


# %%
model = new_model("diff").double().requires_grad_(False)
whole = model(twelve)
assert (steps(model, twelve) - whole).abs().max() < 1e-12
print("right: < 1e-12")
for name, logits in (
    ("positions not advanced", steps(model, twelve, stuck=True)),
    ("branch 2 forgotten", forgetful(model, twelve)),
):
    gap = (logits - whole).abs().amax((0, 2))  # by position
    assert (gap[:8] < 1e-12).all() and (gap[8:] > 1e-4).all()
    print(f"{name}: wrong at positions", torch.where(gap > 1e-12)[0].tolist())

# %% [markdown]
# Both are right for the prompt and wrong for all that is written: a test
# that looks at the prompt alone passes.
#
# The third is a mask aligned to the *start*. PyTorch's own `is_causal=True`
# means that, and its documentation says so. With one query and 9 keys, which
# keys does the query see?

# %%
q = torch.randn(1, 1, 1, 4)
k, v = torch.randn(2, 1, 1, 9, 4)
out = sdpa(q, k, v, is_causal=True)
assert torch.allclose(out[0, 0, 0], v[0, 0, 0])
assert not torch.allclose(out, sdpa(q, k, v), atol=1e-3)
print("with is_causal=True the output is the value of the first key")

# %% [markdown]
# One key, the first. A single query needs no mask at all: everything held is
# its past. `diff_attention` aligns to the end, by (16.2).
#
# ## A model to write with
#
# For what follows the model should know something. We train one on a single
# file of the standard library, `textwrap.py`, some hundred lines, of which
# the last tenth is held out. It takes under half a minute.

# %% tags=["parameters"] quick={"STEPS": 6}
STEPS = 300

# %% tags=["nbval-ignore-output"]
coder = ByteTokenizer()
source = Path(textwrap.__file__).read_text(encoding="utf-8")
ids = torch.tensor(coder.encode(source))
cut = len(ids) * 9 // 10
data = TextData(ids[:cut], ids[cut:], vocab_size=256, length=128)
print(source.count("\n"), "lines,", len(ids), "bytes")

# %% tags=["nbval-ignore-output"]
writer = new_model("diff", E=96)
config = TrainConfig(
    steps=STEPS,
    batch_size=8,
    lr=4e-3,
    warmup_steps=min(50, STEPS // 2),
    eval_every=STEPS,
)
log = train(writer, data, config)
writer.requires_grad_(False)
print(f"nats a byte on training windows: {log[-1]['loss']:.2f}")
print(f"on held-out windows:             {log[-1]['valid_loss']:.2f}")

# %% [markdown]
# Now the wrong caches cost something one can name: nats. Read held-out
# windows through each and take the mean loss of the bytes after the prompt.


# %%
def nats(logits: Tensor, targets: Tensor) -> float:
    """Mean cross-entropy from position 8 on."""
    log_p = logits[:, 8:].log_softmax(-1)
    return -log_p.gather(-1, targets[:, 8:, None]).mean().item()


# %% tags=["nbval-ignore-output"]
inputs, targets = data.batch(0, 16, "valid")
losses = {
    "read at once": nats(writer(inputs), targets),
    "from the cache": nats(steps(writer, inputs), targets),
    "positions not advanced": nats(steps(writer, inputs, True), targets),
    "branch 2 forgotten": nats(forgetful(writer, inputs), targets),
}
for name, loss in losses.items():
    print(f"{loss:.2f} nats a byte, {name}")

# %% tags=["needs-training"]
at_once, by_steps, stuck, forgot = losses.values()
assert abs(at_once - by_steps) < 1e-3
assert stuck > at_once + 0.1 and forgot > at_once + 0.02
print("the cache costs nothing, each mistake something")

# %% [markdown]
# None of them crashes. Only a test against the full forward tells.
#
# ## What it costs: bytes
#
# ### Exercise 16.2: bytes for one token
#
# *Easy, 5 minutes.* In each layer and key/value head, by kind.


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
# Count first, then weigh. PyTorch says how much memory an array really owns.
# A matched trio has 4 plain heads, or 2 differential ones of V1 or V2, all of
# $D = 16$, in two layers of float32. Which is largest?


# %%
def held(model: DecoderLM, capacity: int) -> int:
    """Bytes of memory behind a cache for one row."""
    total = 0
    for block in model.blocks:
        layer = block.attention
        part = layer.new_cache(1, capacity)
        k = torch.zeros(1, *layer.k_shape[:-1], 1, layer.k_shape[-1])
        v = torch.zeros(1, *layer.v_shape[:-1], 1, layer.v_shape[-1])
        for array in part.append(k, v):
            total += array.untyped_storage().nbytes()
    return total


# %%
print("kind      keys  values  a token  measured")
L, D = 2, 16
for kind, heads, keys, values in (
    ("softmax", 4, D, D),
    ("diff", 2, D + D, 2 * D),
    ("diff_v2", 2, D, D),
):
    counted = 4 * L * heads * (keys + values)
    measured = held(new_model(kind), 100) / 100
    row = f"{heads} x {keys:2d}  {heads} x {values:2d}"
    print(f"{kind:8s} {row} {counted:8d} {measured:9.0f}")
    assert counted == measured

# %% [markdown]
# V1 takes as much as the plain model: half as many heads, each with two keys
# and a value twice as wide. V2 takes half, because its two queries share one
# key and its value is $D$ wide. (One may as well spend that: V2 with as many
# key/value heads as the plain model has as large a cache, and twice the
# queries. The authors compare it so [B2].)
#
# Now a real size: the paper's 3B model, 28 layers, 12 differential heads,
# $D = 128$ [P, Table 9], numbers of two bytes. What does a text of 65,536
# tokens hold?

# %%
sizes = {"vocab_size": 100_288, "embed_dim": 3072, "num_layers": 28}
big = {
    kind: ModelConfig(**sizes, num_heads=24, attention=kind)
    for kind in ("softmax", "diff", "diff_v2")
}
weights, token = {}, {}
for kind, c in big.items():
    width = 4 if kind == "diff" else 2  # keys and values, in units of D
    token[kind] = 2 * c.num_layers * c.kv_heads * width * c.head_dim
    weights[kind] = 2 * minidiff.model.count_parameters(c)
    GB = token[kind] * 65_536 / 1e9
    print(f"{kind:8s} {token[kind]:6d} a token, 65,536 tokens {GB:.1f} GB")
print(f"all weights, V1: {weights['diff'] / 1e9:.1f} GB")

# %% [markdown]
# The cache of one such text is larger than the model. Grouped heads are the
# usual remedy: with a quarter of the key/value heads everything above is a
# quarter.
#
# ## What a step reads
#
# To decode one token the processor fetches every weight once (the embedding
# as the output matrix) and the whole cache. Each weight then
# serves one multiplication a row. That is little work for much reading, so a
# step takes about as long as the reading. In prefill the same weight serves
# all tokens of the prompt. Try it.


# %%
@torch.no_grad()
def seconds(run: Callable[[], object], times: int) -> float:
    """Fastest of some runs."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return min(found)


# %% tags=["nbval-ignore-output"]
model = new_model("diff", E=512)
tokens, cache = torch.zeros(1, 256, dtype=torch.int64), model.new_cache(1)
fill = seconds(lambda: model(tokens), 5) / 256
model.eval().requires_grad_(False)
step = seconds(lambda: model(tokens[:, :1], cache=cache), 100)
print(
    f"prefill {1e6 * fill:.0f} microseconds a token, decode {1e6 * step:.0f}"
)
assert step > fill

# %% [markdown]
# There is the cold open's missing factor. Reading a row again costs less a
# token than a step does, so 126 times fewer tokens are not 126 times faster.
# The gain grows with the length of the text.
#
# ### Why two calls read more
#
# Chapter 6 counted it: a call reads what it needs once, and two ordinary
# calls, one a branch, each need the values. For a V1 head with $D = 64$:

# %%
keys, values = 64, 128
for name, read_by_calls in (
    ("one kernel for both", 2 * keys + values),
    ("two calls", 2 * (keys + values)),
    ("four calls, values by halves", 4 * (keys + values // 2)),
):
    print(f"{name:29s} {read_by_calls / 256} times the cache")

# %% [markdown]
# The keys are read once by two calls, the values twice: one and a half. Only
# code that holds both maps before it fetches a value reads everything once.
# V2 has one key and one value for both queries, and any kernel for grouped
# heads reads them once.
#
# Does a clock agree? On a laptop other costs hide it, so here is a recorded
# run on a GPU: one layer, 8 texts of 65,536 tokens, caches of equal size.

# %%
record = json.loads(course.results("bench_decode.json").read_text())
print("recorded on", record["provenance"]["device"])
ratios = {}
for row in record["rows"]:
    if (row["B"], row["S"]) == (8, 65536) and row.get("decode_ms"):
        ratios[row["peer"]] = row["decode_ratio"]
for peer, name in (
    ("plain/cudnn", "plain"),
    ("diff/triton", "V1, one kernel for both"),
    ("diff/matmul", "V1, maps written out"),
    ("diff2/cudnn", "V1, two calls"),
    ("diff4/cudnn", "V1, four calls"),
    ("v2/cudnn", "V2, one grouped call"),
):
    print(f"{name:24s} {ratios[peer]:.2f} times the plain model's time")

# %%
one, two, four = (
    ratios[p] for p in ("diff/triton", "diff2/cudnn", "diff4/cudnn")
)
assert one < 1.1 and 1.4 < two < 1.7 and 1.9 < four < 2.5

# %% [markdown]
# Writing the maps out costs little here: for one query a map is one row.
#
# ### Where the cache takes over
#
# Weights are read once a step whatever the length. The cache grows. Before you
# run it: at how many tokens does the 3B model read as much cache as weights?

# %% mystnb={"image": {"alt": "Gigabytes read per decode step against tokens in the cache, both axes logarithmic. All curves begin flat at the weights, about 7 gigabytes. From some ten thousand tokens on they rise: V1 by two calls first, then plain and V1 in one kernel, which lie together, last V2."}}
n = np.geomspace(100, 1e6, 200)
forms = (
    ("V1, two calls", "diff", 1.5),
    ("plain, or V1 in one kernel", "diff", 1),
    ("V2", "diff_v2", 1),
)
for name, kind, times in forms:
    plt.loglog(n, (weights[kind] + times * token[kind] * n) / 1e9, label=name)
plt.gca().set(xlabel="tokens in the cache", ylabel="GB read a step")
plt.legend()
plt.show()

# %%
for name, kind, times in forms:
    even = weights[kind] / (times * token[kind])
    print(f"{name:26s} cache = weights at {even:6.0f} tokens")

# %% [markdown]
# (V2 starts a little lower, as its output matrix is half as large.)
# Rows of a batch share the weights and not the caches: with 32 texts at a
# time divide these lengths by 32. So for long texts and many users the cache
# is the bill, and what counts is its size and how often it is read.
#
# ## From logits to a token
#
# The model gives probabilities; something must choose. Here is what ours
# expects after two prompts (temperature 1).


# %%
def expected(prompt: str) -> np.ndarray:
    """Probabilities (V,) of the next byte."""
    logits = writer(torch.tensor([coder.encode(prompt)]))[0, -1]
    return softmax(logits.double().numpy())


# %% tags=["nbval-ignore-output"]
for prompt in ("        retur", "        self."):
    p = expected(prompt)
    best = np.argsort(-p)[:6]
    shown = [f"{chr(i)!r} {p[i]:.2f}" for i in best]
    print(f"{prompt.strip():6s} ->", ", ".join(shown))

# %% [markdown]
# ### Exercise 16.3: from a random number to a token
#
# *Easy, 5 minutes.* Chance comes in as one number $u$, even in $[0, 1)$. Lay
# the tokens end to end on a line and see where it falls.


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
# So all chance is in the $u$, and a *seed* fixes those. Same model, same
# prompt, same seed: same text. Does the seed alone decide? Write a row alone
# and beside another one.

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
# Two rows with the same prompt differ: they draw from one stream of numbers,
# one after the other. So a seed repeats a *call*, with its batch, prompt and
# settings, not a row. And where two tokens are almost equally likely,
# rounding can decide, which differs between devices, batch sizes, and with or
# without a cache. Temperature 0 draws nothing, but such near-ties it has too.
#
# ### The long tail
#
# Each unlikely byte has a small probability, but there are many of them. How
# often do we draw one that the model holds to be nonsense? *Top-k* keeps the
# $k$ likeliest tokens and drops the rest:


# %%
def keep_top_k(p: np.ndarray, k: int) -> np.ndarray:
    """Probabilities (V,) with all but the k largest set to 0."""
    kept = np.where(np.argsort(np.argsort(-p)) < k, p, 0)
    return kept / kept.sum()


four = np.array([1, 4, 2, 1]) / 8
print(keep_top_k(four, 2))
assert np.allclose(keep_top_k(four, 2), [0, 2 / 3, 1 / 3, 0])

# %% [markdown]
# A fixed $k$ is too many where the model is sure and too few where it is not.
# *Top-p* (Holtzman and others, 2019) fixes the probability instead: as few
# tokens as together reach $p$. A sure model then keeps one, an unsure one
# many.
#
# ### Exercise 16.4: top-p
#
# *Medium, 15 minutes.* The token that takes the sum to `top_p` is in.


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
# The rest of the chapter goes on with `minidiff`'s own, which works on a
# batch. How many bytes does it keep along a line of the held-out text?


# %%
def kept_by_top_p(logits: Tensor, top_p: float) -> Tensor:
    """Which tokens top-p keeps, (..., V) booleans."""
    p = logits.softmax(-1)
    kept = minidiff.generate.keep_top_p(p.flatten(0, -2), top_p) > 0
    return kept.unflatten(0, p.shape[:-1])


# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Bars: how many bytes top-p 0.9 keeps at each of 60 positions of a line of code, the byte that really came written below each bar. The axis is logarithmic: at some positions one or two bytes, at many ten to thirty, at a few more. A dotted line marks a fixed k of 5."}}
count = kept_by_top_p(writer(inputs[:1]), 0.9).sum(-1)[0, 40:100]
letters = coder.decode(targets[0, 40:100].tolist())
figure, axis = plt.subplots(figsize=(7, 2.6))
axis.bar(range(60), count, width=0.8)
axis.axhline(5, color="black", linestyle=":")
names = [c if c.isprintable() and c != " " else "·" for c in letters]
axis.set_xticks(range(60), names, fontsize=8)
axis.grid(False, axis="x")
axis.set(xlabel="the byte that came", ylabel="bytes kept", yscale="log")
plt.show()

# %% [markdown]
# (The dotted line is $k = 5$, a dot below a bar a space or a line's end.) And
# how much does top-p leave out? At most 1 in 10 draws, by its definition;
# what is it in fact? The model can say beforehand, and we can count.

# %% tags=["nbval-ignore-output"]
start = torch.tensor([coder.encode("    def ")]).repeat(16, 1)
text = generate(writer, start, max_new_tokens=112, seed=0)
logits = writer(text[:, :-1])[:, start.shape[1] - 1 :]
kept = kept_by_top_p(logits, 0.9)
foreseen = (logits.softmax(-1) * ~kept).sum(-1).mean().item()
drawn = text[:, start.shape[1] :, None]
counted = (~kept.gather(-1, drawn)).float().mean().item()
print(f"outside of top-p 0.9: foreseen {foreseen:.3f}, drawn {counted:.3f}")
assert foreseen < 0.1 and abs(foreseen - counted) < 0.03

# %% [markdown]
# Less than one in ten, as the last byte kept goes past the bound. But a text
# has hundreds of bytes, and each is conditioned on all before it: one odd
# byte, and what follows continues something odd. So a small tail does harm.
#
# ## Streaming
#
# Text should appear as it is written. A Python *generator* hands out each
# token as soon as it is drawn, and keeps the cache between.


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
# One trap is left. A token need not be a character. In UTF-8 an é is two
# bytes: half of it decodes to nothing one wants to see. A decoder that
# remembers waits for the other half.


# %%
def pieces(tokens: Iterable[int]) -> Iterator[str]:
    """Yield text, each character when its last byte has come."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for token in tokens:
        yield decoder.decode(bytes([token]))
    yield decoder.decode(b"", final=True)


byte_by_byte = coder.encode("né")
print("each on its own: ", [coder.decode([b]) for b in byte_by_byte])
print("with a memory:   ", list(pieces(byte_by_byte)))

# %% [markdown]
# `flush=True` sends each piece at once; without it Python may collect a line
# or more. Run the next cell and watch. No widget is needed.

# %% tags=["nbval-ignore-output"]
for seed, opening in enumerate(("    def ", "# ", "        self.")):
    print(f"----\n{opening}", end="")
    for piece in pieces(stream(writer, coder.encode(opening), 115, seed)):
        print(piece, end="", flush=True)
    print()

# %% [markdown]
# Words of one file, and little sense. We stop at 128 bytes: it was trained on
# windows of that length, and beyond them it meets distances it has never
# seen. The cache does not change that: it gives what the full forward gives.
# Change the seed, the opening, and in `stream` the temperature and top-p. In a
# terminal, a trained run does the same:
#
# ```
# minidiff generate runs/diff --prompt "def main(" --top-p 0.9 --seed 1
# ```
#
# ## The package agrees
#
# The head by hand against the operator, the counted bytes against the cache's
# own count, `read` against the model, `stream` against `generate`.

# %%
rng = np.random.default_rng(0)
q, K = rng.normal(size=(2, 2, 6, 4))  # (2, S, D): both branches
V = rng.normal(size=(6, 8))
A1, A2 = softmax(np.einsum("bd,bsd->bs", q[:, -1], K) / np.sqrt(4))
arrays = (torch.from_numpy(x)[None, None] for x in (q[:, -1:], K, V))
out = minidiff.diff_attention(*arrays, lam=0.8)
assert np.allclose(out[0, 0, 0], (A1 - 0.8 * A2) @ V)

# %%
for kind, width in (("softmax", 4 * 2), ("diff", 2 * 4), ("diff_v2", 2 * 2)):
    cache = new_model(kind).new_cache(1)
    assert cache[0].numbers_per_token == width * 16
model = new_model("diff").double().requires_grad_(False)
gap = read(model, twelve, model.new_cache(1), 0) - model(twelve)
assert gap.abs().max() < 1e-12
settings = {"max_new_tokens": 20, "temperature": 0.7, "top_p": 0.9}
texts = [
    generate(model, twelve, **settings, seed=3, cache=way)
    for way in (True, False)
]
assert torch.equal(*texts)
whole = generate(writer, torch.tensor([[32]]), **settings, seed=3)
assert whole[0, 1:].tolist() == list(stream(writer, [32], 20, seed=3))
print("head, bytes, reading and streaming are those of minidiff")

# %% [markdown]
# ## Common mistakes
#
# - **Testing the prompt only.** The mistakes of a cache begin with the first
#   token after it. Compare all logits, for several ways to cut the row.
# - **Positions from 0 in each call.** The first new token stands at position
#   $S$.
# - **One key a head.** V1 has two, and the values are twice as wide.
# - **`is_causal=True` with a cache.** PyTorch aligns that mask to the start.
# - **A cache used for a second text.** Make a new one.
# - **`with torch.no_grad()` around a `yield`.** Between two tokens it is then
#   in force for the code that called.
# - **Top-p before temperature.** The set depends on the temperature.
#
# ## Summary
#
# - A later token wants keys and values of the past, nothing else. The causal
#   mask is why they may be kept.
# - A cache is right when every way to cut a row gives the logits of the whole,
#   here to $10^{-12}$.
# - V1's cache is as large as the plain model's, $4D$ a differential head. V2's
#   is $2D$.
# - A decode step reads all weights and the whole cache. Two calls read V1's
#   values twice, one and a half times the cache in all; one kernel for both
#   maps, or V2, reads it once.
# - A seed fixes the numbers that draw. Top-p fixes the probability that may
#   be drawn from.
#
# ## Further reading
#
# - *Differential Transformer V2*: why the authors wanted a cache that is read
#   once. [B2]
# - Pope and others, *Efficiently Scaling Transformer Inference*, arXiv
#   2211.05102: prefill, decode, and what each waits for.
# - Holtzman and others, *The Curious Case of Neural Text Degeneration*, arXiv
#   1904.09751: top-p, and why the likeliest text is a dull one.
# - Shazeer, *Fast Transformer Decoding*, arXiv 1911.02150: sharing keys and
#   values between heads.
