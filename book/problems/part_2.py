# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Problem set 2: A layer goes to work
#
# A differential layer that is only trained is of no use to anybody. Here one
# goes to work. It answers token by token from a cache, serves several texts
# at once, and runs on a machine that has never heard of differential
# attention. At last its end becomes one operation with a gradient of its own,
# as every fast kernel needs it.
#
# {card}
#
# ## Prerequisites
#
# | you need | for | from |
# |---|---|---|
# | a causal mask with fewer queries than keys | P2.1, P2.2 | chapter 01 |
# | the module, its shapes, `diff_attention` | P2.1 to P2.3 | chapter 05 |
# | rotary positions | P2.1 | chapter 07 |
# | the gradients of lambda and of the headwise norm | P2.4 | chapter 04 |
#
# Each problem can be solved without the ones before it. A cell that begins
# with `if passed` uses your function once its check has passed, and is silent
# before.

# %%
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention

import minidiff
from minidiff import (  # noqa: F401
    MultiheadDiffAttention,
    check,
    diff_attention,
)
from minidiff.check import hint, solution  # noqa: F401
from minidiff.nn.layers import apply_rope, rope_angles  # noqa: F401

# %% [markdown]
# ## How much work is an answer?
#
# A model reads a question of 100 tokens and writes an answer of 400. Each new
# token needs the ones before it. If the model runs over everything again for
# each token it writes, how many tokens go through it? And if it could
# remember? Guess both.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
question, answer = 100, 400
again = sum(question + n for n in range(answer))
once = question + answer - 1  # nothing follows the last one
print("everything again ", again)
print("each token once  ", once)
print(f"{again / once:.0f} times as many")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert again > 200 * once

# %% [markdown]
# It can remember because of the causal mask: what comes later changes nothing
# about earlier tokens. So what they contribute can be kept.
#
# ## Problem P2.1: a cache
#
# *Medium, 15 minutes.* What does a new token want from the old ones? Not
# their queries: each query is used once, by its own token. It wants their
# keys and values. In a differential layer the cache of S tokens holds
#
# | | shape | |
# |---|---|---|
# | `k` | (B, Hkv, 2, S, D) | both branches, already rotated |
# | `v` | (B, Hkv, S, 2D) | shared by both branches |
#
# Write the step that takes T new tokens. With an empty cache, S = 0, it reads
# the question; with T = 1 it writes the answer. Of the layer, a
# `minidiff.MultiheadDiffAttention`, you need:
#
# - `layer.q_proj(x).unflatten(-1, layer.q_shape).movedim(1, -2)` gives the
#   queries (B, H, 2, T, D); `k_proj`, `k_shape`, `v_proj` and `v_shape`
#   likewise the keys and values;
# - `apply_rope(q, cos, sin)`, where the tables have one row a token of q;
# - `layer.lam()`, `layer.lam_init`, `layer.norm_weight` for the operator;
# - `layer.out_proj`, which takes the heads side by side, (B, T, 2HD).


# %% tags=["stub:P2.1"]
def extend(
    layer: MultiheadDiffAttention,
    x: Tensor,
    k: Tensor,
    v: Tensor,
    cos: Tensor,
    sin: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the outputs (B, T, E) of T more tokens, and the grown cache.

    x (B, T, E): the tokens at positions S to S + T - 1. The cache of the S
    tokens before them, S >= 0: k (B, Hkv, 2, S, D), already rotated, and v
    (B, Hkv, S, 2D). cos, sin (N, D / 2): the angles of positions 0 to N - 1.
    """
    # your code


# %% tags=["check:P2.1"]
passed = check.exP2_1(extend)

# %% [markdown]
# A question of 8 tokens in one piece, then an answer of 4, one by one. All
# outputs must equal those of the layer on the 12 tokens at once.

# %%
torch.manual_seed(0)
layer = minidiff.MultiheadDiffAttention(64, 4, 2, depth=3).double()
layer.requires_grad_(False)
x = torch.randn(1, 12, 64).double()
cos, sin = (table.double() for table in rope_angles(32, 8))
whole = layer(x, rope=(cos[:12], sin[:12]))

# %%
if passed:
    k = torch.zeros(1, 2, 2, 0, 8).double()
    v = torch.zeros(1, 2, 0, 16).double()
    outputs = []
    for piece in x.split([8, 1, 1, 1, 1], 1):
        y, k, v = extend(layer, piece, k, v, cos, sin)
        outputs.append(y)
    assert (torch.cat(outputs, 1) - whole).abs().max() < 1e-12
    print("from the cache and at once: differ by < 1e-12")

# %% [markdown]
# `torch.cat` copies the whole cache for each token. The cache of `minidiff`
# sets its memory aside at once and writes into it. That leaves free places
# behind the last token, and brings the next problem.
#
# ## Problem P2.2: texts of unequal length
#
# *Hard, 15 minutes.* Four people wait for an answer, and one call can serve
# them all. But their texts differ in length. Here is such a cache, with room
# for ten tokens a row. Each row holds some tokens `t` and gets one more:
#
# ```
# place    0   1   2   3   4   5   6   7   8   9
# text 0   t   t   t  new  ?   ?   ?   ?   ?   ?
# text 1   t   t   t   t   t   t   t  new  ?   ?
# text 2   t   t   t   t   t  new  ?   ?   ?   ?
# text 3  new  ?   ?   ?   ?   ?   ?   ?   ?   ?
# ```
#
# A `?` is what an earlier text left there. The new token of a row may see
# every `t` of its row and itself, and no `?`. Think before you write: what
# does the causal mask say about the `?`? The operator has one argument for
# this, `key_lengths`.
#
# Positions are left out: one thing at a time. (With RoPE every row would need
# its own angles.)


# %% tags=["stub:P2.2"]
def ragged_step(
    layer: MultiheadDiffAttention,
    x: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the outputs (B, 1, E) of one more token a row, and the cache.

    x (B, 1, E). k (B, Hkv, 2, C, D) and v (B, Hkv, C, 2D) have room for C
    tokens. Row b holds lengths[b] < C of them, at the front; what stands
    behind them may be anything, NaN too. New tensors are returned, k and v
    stay as they are. No RoPE.
    """
    # your code


# %% tags=["check:P2.2"]
passed = check.exP2_2(ragged_step)

# %% [markdown]
# The judge: every row must come out as if its text were alone.

# %%
if passed:
    lengths = torch.tensor([3, 7, 5, 0])
    x = torch.randn(4, 10, 64).double()
    k = layer.k_proj(x).unflatten(-1, layer.k_shape).movedim(1, -2)
    v = layer.v_proj(x).unflatten(-1, layer.v_shape).movedim(1, -2)
    new = x[torch.arange(4), lengths][:, None]
    y, _, _ = ragged_step(layer, new, k, v, lengths)
    for b, n in enumerate(lengths):
        alone = layer(x[b : b + 1, : n + 1])[:, -1]
        assert (y[b] - alone).abs().max() < 1e-12
    print("each of four texts, together and alone: differ by < 1e-12")

# %% [markdown]
# ## An ordinary layer
#
# The next problem needs something to compare with: softmax attention as
# PyTorch has it, with heads of width $D$ for queries, keys and values.


# %%
def ordinary_layer(x: Tensor, weights: tuple[Tensor, ...], D: int) -> Tensor:
    """Causal softmax attention (B, T, E) with heads of width D."""
    Wq, Wk, Wv, Wo = weights
    q, k, v = (
        linear(x, W).unflatten(-1, (-1, D)).transpose(1, 2)
        for W in (Wq, Wk, Wv)
    )  # (B, heads, T, D)
    heads = scaled_dot_product_attention(q, k, v, is_causal=True)
    return linear(heads.transpose(1, 2).flatten(2), Wo)


# %% [markdown]
# ## Problem P2.3: on a machine that knows ordinary heads only
#
# *Medium, 15 minutes.* Suppose the server has this layer and nothing else.
# Training is over, so $\lambda$ is a number. Leave out the headwise norm for
# now. Can the differential layer run there, exactly?
#
# A head adds to the layer's output its map, times its values, times its own
# columns of $W_O$. So a differential head adds
#
# $$
# (A_1 - \lambda A_2)\; v\; W_O^\top
# \tag{P2.1}
# $$
#
# The values are $2D$ wide, and ordinary heads take $D$: cut $v$ into two
# halves, and $W_O$ with it. Multiply out. How many terms of the form "map,
# times values, times matrix" do you get? Each of them is an ordinary head.
# Where does $-\lambda$ go?
#
# The check runs your weights through `ordinary_layer`, so any order of the
# heads is right.


# %% tags=["stub:P2.3"]
def as_ordinary_heads(
    Wq: Tensor, Wk: Tensor, Wv: Tensor, Wo: Tensor, lam: float, H: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the weights of 4H ordinary heads of width D that do the same.

    The weights of H differential heads without norm: Wq, Wk, Wv (2HD, E), Wo
    (E, 2HD). Rows of Wq and Wk are ordered (H, 2, D), head, branch, column;
    rows of Wv and columns of Wo are ordered (H, 2D). Returned are Wq, Wk, Wv
    (4HD, E) and Wo (E, 4HD).
    """
    # your code


# %% tags=["check:P2.3"]
passed = check.exP2_3(as_ordinary_heads)

# %%
names = ("q_proj", "k_proj", "v_proj", "out_proj")
bare = minidiff.MultiheadDiffAttention(64, 4, depth=3, head_norm=False)
bare.double().requires_grad_(False)
W = [getattr(bare, name).weight for name in names]
x = torch.randn(2, 9, 64).double()
print("numbers in the differential layer ", sum(w.numel() for w in W))
if passed:
    theirs = as_ordinary_heads(*W, float(bare.lam()), 4)
    gap = ordinary_layer(x, theirs, 8) - bare(x)
    assert gap.abs().max() < 1e-12
    print("numbers in the ordinary heads     ", sum(w.numel() for w in theirs))
    print("the two layers differ by < 1e-12")

# %% [markdown]
# So without the norm a differential layer is an ordinary layer of twice the
# size whose weights are tied: heads share queries, keys or values, and the
# output matrix holds the same numbers twice, once times $-\lambda$. An
# ordinary layer could learn this. The authors say so of their second version,
# and assume that training does not find it [B2].
#
# ### What no output matrix can do
#
# Ordinary heads are linear in the values: double the values, and the output
# doubles. Now do it with the norm. What do you expect?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
times = {}
for probe in (bare, layer):
    before, norm = probe(x), probe.norm_weight is not None
    probe.v_proj.weight.mul_(2)
    times[norm] = (probe(x).norm() / before.norm()).item()
    print(f"norm: {norm!s:5}  values doubled: output times {times[norm]:.2f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert abs(times[False] - 2) < 0.01 and abs(times[True] - 1) < 0.01

# %% [markdown]
# The norm divides by a number that depends on the token. No fixed matrix does
# that: ordinary heads carry a differential layer up to its norm, and no
# further. A fast implementation writes that end, subtraction and norm, as one
# operation with its own gradient.
#
# ## Problem P2.4: an operation of your own
#
# *Hard, 20 minutes.* Autograd knows the gradient of each PyTorch operation.
# It does not know that of a kernel you write yourself. So you tell it, with a
# `torch.autograd.Function`: a class with a forward, a backward, and a pocket
# `ctx` in which forward leaves what backward will need. Here is a small one.


# %%
class Scaled(torch.autograd.Function):
    """out = number * x * x, with its gradient by hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, number: float) -> Tensor:
        ctx.save_for_backward(x)  # tensors go in this way
        ctx.number = number  # anything else like this
        return number * x * x

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        return dout * 2 * ctx.number * x, None  # one for each input


# %%
x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
Scaled.apply(x, 10.0).sum().backward()
print("gradient of 10 x x:", x.grad.tolist())
assert torch.autograd.gradcheck(Scaled.apply, (x, 10.0))

# %% [markdown]
# It is called with `.apply`, and inside it autograd is off. `gradcheck` is
# the judge: it compares with finite differences, as you did in chapter 04.
#
# Now the end of the layer. It takes the two branches' outputs:
#
# $$
# o = o_1 - \lambda\, o_2, \qquad
# r = \frac1{\sqrt{\operatorname{mean}(o^2) + \varepsilon}}, \qquad
# y = c\, r\, o \odot w
# \tag{P2.2}
# $$
#
# with the weight $w$ and $c = 1 - \lambda_{\text{init}}$, `scale` in code.
# Four inputs need gradients: $o_1$, $o_2$, $\lambda$ and $w$. Go backwards one
# step at a time. Through the norm, exercise 4.4 was the same without $w$. When
# you have the gradient of $o$, those of $o_1$, $o_2$ and $\lambda$ follow in a
# line each. One $\lambda$ serves all elements, and one $w$ all heads and
# tokens: a number used often collects the gradients of all its uses.
#
# To the check, result 1 is $y$, and 2 to 5 are the four gradients.


# %% tags=["stub:P2.4"]
class DiffEnd(torch.autograd.Function):
    """out = scale * RMSNorm(o1 - lam o2) * weight, one operation.

    o1, o2 (B, H, T, Dv), lam 0-d, weight (Dv,); scale and eps are numbers.
    The mean of the norm runs over the last axis; eps joins it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        o1: Tensor,
        o2: Tensor,
        lam: Tensor,
        weight: Tensor,
        scale: float,
        eps: float,
    ) -> Tensor:
        """Return out (B, H, T, Dv); save in ctx what backward needs."""
        # your code

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        """Return a gradient for each input of forward, None for numbers."""
        # your code


# %% tags=["check:P2.4"]
passed = check.exP2_4(DiffEnd)

# %% [markdown]
# The check compares with known gradients. `gradcheck` needs none:

# %%
if passed:
    shapes = ((2, 3, 4, 6), (2, 3, 4, 6), (), (6,))  # o1, o2, lam, weight
    inputs = [torch.rand(s).double().requires_grad_() for s in shapes]
    assert torch.autograd.gradcheck(DiffEnd.apply, (*inputs, 0.4, 1e-5))
    print("gradcheck agrees, for o1, o2, lambda and the weight")

# %% [markdown]
# And in its place: two calls of ordinary attention, then your operation.
# Every parameter must get the gradient that `minidiff` gives it, the four
# vectors of lambda included.

# %%
torch.manual_seed(2)
layer = minidiff.MultiheadDiffAttention(64, 4, depth=3).double()
x, dy = torch.randn(2, 2, 9, 64).double()
layer(x).backward(dy)
want = {n: p.grad.clone() for n, p in layer.named_parameters()}
layer.zero_grad()
q, k, v = (
    getattr(layer, f"{n}_proj")(x)
    .unflatten(-1, getattr(layer, f"{n}_shape"))
    .movedim(1, -2)
    for n in "qkv"
)

# %%
if passed:
    o1, o2 = (
        scaled_dot_product_attention(q[:, :, i], k[:, :, i], v, is_causal=True)
        for i in (0, 1)
    )
    lam, scale = layer.lam(), 1 - layer.lam_init
    heads = DiffEnd.apply(o1, o2, lam, layer.norm_weight, scale, 1e-5)
    layer.out_proj(heads.transpose(1, 2).flatten(2)).backward(dy)
    for name, parameter in layer.named_parameters():
        assert torch.allclose(parameter.grad, want[name], atol=1e-12), name
    print("all", len(want), "parameters: the gradients of minidiff's layer")

# %% [markdown]
# ## What you have now
#
# A cache that grows, a batch of unequal texts, an exact answer to what a
# differential layer adds to ordinary heads, and an operation with a gradient
# of its own. Part III puts a GPU kernel where your forward and backward
# stand. Part IV generates text with the cache.
#
# Last, `minidiff`'s own cache. For each token it keeps two numbers a channel,
# as an ordinary layer does: one of the keys, one of the values.

# %%
cache = layer.new_cache(2, capacity=16)
with torch.no_grad():
    steps = [layer(t, cache=cache) for t in x.split([5, 1, 1, 1, 1], 1)]
    assert (torch.cat(steps, 1) - layer(x)).abs().max() < 1e-12
print("token by token and at once: differ by < 1e-12")
print("numbers kept for each token", cache.numbers_per_token)
assert cache.numbers_per_token == 2 * 64

# %% [markdown]
# ## Further reading
#
# - The PyTorch note *Extending PyTorch*: all that a
#   `torch.autograd.Function` can do, and what it must not.
# - *Differential Transformer V2*, the authors' post: why the second version
#   has no norm, and what it costs to read a cache. [B2]
# - Ainslie and others, *GQA*, arXiv 2305.13245: fewer key and value heads, a
#   smaller cache.
