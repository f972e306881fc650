# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 8. Pitfalls: what published ports get wrong
#
# By the end of this chapter you will have tested fourteen versions of
# differential attention, thirteen of them wrong. You will have written short
# tests that find wrong versions without a second implementation to compare
# with, and know which mistake needs one.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - write a test that holds for every right layer, whatever its weights;
# - say on which inputs and sizes such a test cannot fail;
# - repair a port that splits pairs of keys;
# - move weights between two conventions, and show that nothing was lost.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | the multi-head module | it is what is ported | chapter 5 |
# | rotary positions, the whole model | the last two sections | chapter 7 |

# %%
import argparse
import random
import textwrap
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

# %%
from minidiff import DecoderLM, ModelConfig, MultiheadAttention
from minidiff import MultiheadDiffAttention
from minidiff import check, diff_attention, plots
from minidiff.check import hint, solution  # noqa: F401
from minidiff.check.ex08 import ports
from minidiff.check.ex08.ports import build, causal_softmax
from minidiff.convert.attention import attention_to_diffllama
from minidiff.course import attention_diagrams
from minidiff.data import ByteTokenizer, TextData
from minidiff.nn.layers import rope_angles
from minidiff.ops.sdpa import softmax_attention  # noqa: F401
from minidiff.reference import lambda_init

plots.use_style("svg")
MODULES = argparse, random, textwrap  # a little text for a later section

# %% [markdown]
# ## A cold open: fourteen layers, one of them right
#
# A *port* is a method written again for another code base. Below are fourteen
# ports of the layer of chapter 5, with 4 heads that share 2 pairs of keys.
# Each has a letter. Thirteen of them are wrong by a line or two. `build`
# gives all of them the same random matrices, as far as shapes agree.
#
# A new port usually gets three tests. Does the output have the right shape?
# Is every number finite? Does the layer learn? Here it must learn to copy the
# vector of the token before, and its loss must fall by a third in 30 steps.
# How many of the fourteen will fail one of the three? Write down a guess.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
x, before = ports.task()  # each (8, 7, 64)
drawn = torch.randperm(14, generator=torch.Generator().manual_seed(8))
kinds = [(ports.Port, *ports.WRONG)[i] for i in drawn]
letter = dict(zip(kinds, "ABCDEFGHIJKLMN", strict=True))
loss, tests = {}, []
print("  shape finite learns, last loss")
for kind in kinds:
    y, losses = build(kind)(x), ports.train(build(kind))
    loss[kind], learns = losses[-1], losses[-1] < losses[0] * 2 / 3
    passed = y.shape == x.shape, bool(y.isfinite().all()), learns
    print(letter[kind], *(f" {p!s:5}" for p in passed), f"{losses[-1]:.2f}")
    tests += passed

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert all(tests) and len(tests) == 3 * 14

# %% [markdown]
# None fails. Now the test that the author of a first port cannot run: compare
# the output with that of a right layer with the same weights. The *relative
# error* is the size of the difference, divided by the size of the right
# output. Two unrelated outputs of equal size would give $\sqrt 2$, about 1.41.


# %%
def error(kind: type) -> float:
    want = build(MultiheadDiffAttention)(x)
    return ((build(kind)(x) - want).norm() / want.norm()).item()


right = loss[ports.Port]
for kind in kinds:
    size = "< 1e-12" if error(kind) < 1e-12 else f"{error(kind):.2f}"
    print(letter[kind], "error", size)
    assert (error(kind) < 0.05) == (kind is ports.Port)
better = sorted(letter[kind] for kind in kinds if loss[kind] < right)
print("wrong, with a lower loss than the right one:", " ".join(better))

# %% [markdown]
# Only G is right. The others compute something else and learn all the same,
# and six of them end with a lower loss than the right layer: gradients fit the
# weights to whatever layer is there. (This is one toy task and one seed. It
# does not say that the wrong layers are better.)
#
# So what can you test without a right output? Two kinds of statement help:
#
# - A *property* holds for every right layer, whatever its weights.
# - A *case by hand* is so small that a pencil gives the right answer.
#
# Neither needs a second implementation. Write them before you write the port.
#
# ## The right port
#
# Here is the right port. Each wrong port changes one or two of its lines.


# %% tags=["same:minidiff.check.ex08.ports.Port"]
class Port(nn.Module):
    def __init__(self, E: int, H: int, Hkv: int, *, depth: int) -> None:
        super().__init__()
        D = E // (2 * H)
        Dv = 2 * D
        self.q_shape, self.k_shape = (H, 2, D), (Hkv, 2, D)
        self.v_shape = (Hkv, Dv)
        self.lam_init = lambda_init(depth)
        four = (nn.Parameter(0.1 * torch.randn(D)) for _ in range(4))
        self.lambda_q1, self.lambda_k1, self.lambda_q2, self.lambda_k2 = four
        self.norm_weight = nn.Parameter(torch.ones(Dv))
        self.q_proj = nn.Linear(E, H * 2 * D, bias=False)
        self.k_proj = nn.Linear(E, Hkv * 2 * D, bias=False)
        self.v_proj = nn.Linear(E, Hkv * Dv, bias=False)
        self.out_proj = nn.Linear(H * Dv, E, bias=False)

    def lam(self) -> Tensor:
        dot1 = (self.lambda_q1 * self.lambda_k1).sum(-1)
        dot2 = (self.lambda_q2 * self.lambda_k2).sum(-1)
        return dot1.exp() - dot2.exp() + self.lam_init

    def share(self, k: Tensor) -> Tensor:
        return k.repeat_interleave(self.q_shape[0] // self.k_shape[0], 1)

    def map(self, q: Tensor, k: Tensor) -> Tensor:
        keys = self.share(k)
        scores = q @ keys.mT / q.shape[-1] ** 0.5
        A1, A2 = causal_softmax(scores).unbind(2)
        return A1 - self.lam() * A2

    def norm(self, o: Tensor) -> Tensor:
        size = (o.square().mean(3, keepdim=True) + 1e-5).sqrt()
        return (1 - self.lam_init) * o / size * self.norm_weight

    def forward(self, x: Tensor) -> Tensor:
        q = self.q_proj(x).unflatten(-1, self.q_shape).movedim(1, -2)
        k = self.k_proj(x).unflatten(-1, self.k_shape).movedim(1, -2)
        v = self.v_proj(x).unflatten(-1, self.v_shape).movedim(1, -2)
        heads = self.norm(self.map(q, k) @ self.share(v))
        return self.out_proj(heads.transpose(1, 2).flatten(2))


# %% [markdown]
# The next figure follows one call of this layer from left to right, and says
# which wrong port changes what. The names appear again in the sections below.

# %% mystnb={"image": {"alt": "Six boxes in a row, joined by arrows: sizes; queries, keys and values from x; keys shared by heads; scores and softmax; A1 minus lambda A2; times v, norm and output. A seventh box, lambda, stands above and points down at the subtraction. Under each box, or beside lambda, stand the names of the wrong ports that change it."}}
attention_diagrams.show_stations(
    {
        "sizes": "TwiceHalved\nHeadsKept\nNarrowValues",
        "q, k, v": "Halves",
        "shared keys": "SingleKeys",
        "scores": "SqrtTwoD",
        "subtraction": "BeforeSoftmax",
        "lambda": "LayerFromOne\nNoConstant\nPerHead",
        "output": "OneNorm\nTorchGroupNorm\nLateNorm",
    }
)
plt.show()

# %% [markdown]
# The next function prints the lines that a wrong port changes, each with the
# right line above it, and what the change costs: the relative error, and the
# loss after 30 steps beside that of the right port.


# %%
def show(*kinds: type) -> None:
    for kind in kinds:
        print(f"{kind.__name__}. Met {ports.WRONG[kind].met}")
        for good, bad in ports.changed_lines(kind):
            print("    right ", good)
            print("    wrong ", bad)
        print(f"    costs  error {error(kind):.2f}, ", end="")
        print(f"loss {loss[kind]:.2f} instead of {right:.2f}")


show(ports.SqrtTwoD, ports.BeforeSoftmax)

# %% [markdown]
# ## Before the values: the map
#
# `SqrtTwoD` divides the scores by the wrong number. The queries and keys of one
# branch are $D$ wide, so their scores are divided by $\sqrt D$. ($2D$ is the
# width of the values.) `BeforeSoftmax` subtracts scores and takes one softmax
# of the difference, instead of subtracting two softmaxes.
#
# ### Exercise 8.1: write the first property
#
# *Easy, 5 minutes.* Each softmax has rows that sum to 1. So each row of
# $A_1 - \lambda A_2$ sums to $1 - \lambda$. The check hands your function
# right maps and wrong ones.


# %% tags=["stub:8.1"]
def rows_sum_to(A: Tensor, lam: float) -> bool:
    """Whether each row of A (B, H, T, S) sums to 1 - lam, up to rounding.

    Return True or False, not one answer a row.
    """
    # your code


# %% tags=["check:8.1"]
check.ex08_1(rows_sum_to)

# %% [markdown]
# The first two tests. `rows` is the property, with random queries and keys.
# `by_hand` is a case for pencil and paper. Take $D = 16$, a query and a key 0
# of ones, and a key 1 of zeros. The two scores are $16 / \sqrt{16} = 4$ and 0.
# So in both maps, and in their difference too, the weight of key 0 is $e^4$
# times the weight of key 1.


# %%
rows_sum_to = check.mine("8.1")


# %%
def rows(kind: type, lam: float = 0.6) -> bool:
    port = build(kind)
    port.lam = lambda: lam
    A = port.map(torch.randn(1, 4, 2, 7, 8), torch.randn(1, 2, 2, 7, 8))
    return rows_sum_to(A, lam)


def by_hand(kind: type) -> bool:
    q, k = torch.ones(1, 4, 2, 2, 16), torch.zeros(1, 2, 2, 2, 16)
    k[..., 0, :] = 1
    A = build(kind).map(q, k)[..., -1, :]  # the last query sees both keys
    ratio = (A[..., 0] / A[..., 1]).log()
    return torch.allclose(ratio, torch.full_like(ratio, 4))


# %% [markdown]
# Which test finds which port? Decide for both ports before you run the cell. It
# prints `found`, or `-` where the test sees nothing.


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
def verdict(kinds: list[type], *tests: Callable[[type], bool]) -> None:
    for kind in kinds:
        words = [f"{t.__name__} {'-' if t(kind) else 'found'}" for t in tests]
        print(f"{kind.__name__:15s}", ", ".join(words))


verdict([ports.Port, ports.SqrtTwoD, ports.BeforeSoftmax], rows, by_hand)

# %% [markdown]
# `rows` does not see a wrong scale, because the rows of a softmax sum to 1 at
# any scale. It does see the single softmax, whose rows sum to 1. `by_hand`
# sees both: the wrong scale makes the exponent smaller, and the single softmax
# has a score of $4 - 4\lambda$.
#
# ## Two official files that disagree
#
# When several heads share keys (grouped queries), the authors' naive file and
# their flash files give different results [U] (chapter 5). Both files store the
# branches on one flat axis of heads: rows $2i$ and $2i + 1$ belong to head
# $i$. This is the naive file, in our words:


# %%
def naive(q: Tensor, k: Tensor, v: Tensor, lam: float) -> Tensor:
    """q (B, 2H, T, D), k (B, 2Hkv, T, D), v (B, Hkv, T, 2D)."""
    n = q.shape[1] // k.shape[1]
    A = causal_softmax(q @ k.repeat_interleave(n, 1).mT / q.shape[-1] ** 0.5)
    return (A[:, 0::2] - lam * A[:, 1::2]) @ v.repeat_interleave(n, 1)


# %% [markdown]
# It repeats *single* keys. With $n = 2$ the keys 0, 1, 2, 3 become 0, 0, 1, 1,
# 2, 2, 3, 3, so both queries of head 0 meet key 0: the pair is split. The
# flash files take the branches apart first, and then call ordinary attention
# once for each branch.
#
# ### Exercise 8.2: repair it
#
# *Medium, 10 minutes.* Use `softmax_attention(q, k, v)`, which is ordinary
# causal attention. If it gets fewer key heads than query heads, neighbouring
# query heads share one.


# %% tags=["stub:8.2"]
def two_calls(q: Tensor, k: Tensor, v: Tensor, lam: float) -> Tensor:
    """Return A1 v - lam A2 v (B, H, T, 2D) by two softmax_attention calls.

    q (B, 2H, T, D): rows 2i and 2i + 1 of axis 1 are the branches of head i.
    k (B, 2Hkv, T, D) likewise; v (B, Hkv, T, 2D).
    """
    # your code


# %% tags=["check:8.2"]
check.ex08_2(two_calls)

# %% [markdown]
# How far apart are the two files? `diff_attention` pairs keys as the flash
# files do. The cell prints the size of the difference over that of the output.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
gaps = {}
torch.manual_seed(4)
for Hkv in (4, 2, 1):
    q, k = torch.randn(1, 4, 2, 7, 8), torch.randn(1, Hkv, 2, 7, 8)
    v = torch.randn(1, Hkv, 7, 16)
    flash = diff_attention(q, k, v, 0.6)
    gap = naive(q.flatten(1, 2), k.flatten(1, 2), v, 0.6) - flash
    gaps[Hkv] = gap = (gap.norm() / flash.norm()).item()
    print(f"Hkv = {Hkv}:", "< 1e-5" if gap < 1e-5 else f"{gap:.2f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert gaps[4] < 1e-5 and min(gaps[2], gaps[1]) > 0.5

# %% [markdown]
# Without sharing they agree, with sharing they do not. `SingleKeys` is the
# naive way as a port. Its test is a property: with $\lambda = 0$ the second
# branch must not matter. So set $\lambda$ to 0, set the second keys of each
# pair to 0, and see whether the output stays.


# %%
def silent(kind: type, Hkv: int = 2) -> bool:
    port = build(kind, Hkv=Hkv)
    port.lam = lambda: 0.0
    y = port(x)
    port.k_proj.weight.data.unflatten(0, port.k_shape)[:, 1] = 0
    return torch.allclose(port(x), y)


show(ports.SingleKeys)
verdict([ports.Port, ports.SingleKeys], silent)

# %% [markdown]
# ## Lambda
#
# The constant $\lambda_{\text{init}}$ follows a schedule that starts at layer
# 0, and $\lambda$ is one number for all heads of a layer (chapter 3).

# %%
show(ports.LayerFromOne, ports.NoConstant, ports.PerHead)

# %% [markdown]
# A case by hand: if the four vectors are zero, $\lambda$ in layer 0 is
# $e^0 - e^0 + \lambda_{\text{init}} = 1/5$. Which of the three gets past it?


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
def start(kind: type) -> bool:
    port = build(kind, depth=0)
    for name, vector in port.named_parameters():
        if name.startswith("lambda"):
            vector.data.zero_()
    return bool((port.lam() - 1 / 5).abs().max() < 1e-6)


three = [ports.LayerFromOne, ports.NoConstant, ports.PerHead]
verdict([ports.Port, *three], start)

# %% [markdown]
# `PerHead` gets past: with zero vectors all its heads agree. A later test,
# which counts parameters, will find it. It is a deviation more than a bug: V2
# has a lambda for each head and token, kept between 0 and 1 (chapter 5).
#
# ## After the values: the norm
#
# The heads `o` have shape `(B, H, T, 2D)`. Each head is normalised at each
# token, over its own $2D$ channels. The figure of the paper calls this
# GroupNorm, and PyTorch has a function of that name that does something else.

# %%
normed = [ports.OneNorm, ports.TorchGroupNorm, ports.LateNorm]
show(*normed)

# %% [markdown]
# On which heads and tokens of `o` does the normalised head 1 depend at token
# 3? Gradients tell: where they are zero, it does not depend. Predict which
# squares will be filled for the first two wrong ports.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Three grids of 4 heads by 7 tokens, a dot at head 1, token 3. Port: only that square is filled. OneNorm: the whole column of token 3 is filled. TorchGroupNorm: the whole row of head 1 is filled, later tokens too."}}
figure, axes = plt.subplots(1, 3, figsize=(7, 1.9), sharey=True)
drawn, filled = (ports.Port, ports.OneNorm, ports.TorchGroupNorm), []
for axis, kind in zip(axes, drawn, strict=True):
    o = torch.randn(1, 4, 7, 16).double().requires_grad_()
    build(kind).norm(o)[0, 1, 3].sum().backward()
    reach = o.grad[0].abs().amax(-1) > 0  # (H, T)
    filled.append(int(reach.sum()))
    axis.imshow(reach, cmap="Blues", vmin=-0.2, vmax=1.4)
    axis.plot(3, 1, "o", c="w")
    axis.set(title=kind.__name__, xlabel="token", xticks=(0, 3, 6))
    axis.grid(False)
axes[0].set(ylabel="head", yticks=range(4))
plt.show()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert filled == [1, 4, 7]

# %% [markdown]
# `OneNorm` averages over the heads too. `TorchGroupNorm` averages over the
# tokens, so each token depends on later ones. Two properties find this. You
# write the first.
#
# ### Exercise 8.3: does a layer look ahead?
#
# *Medium, 10 minutes.* Change later tokens, and see whether earlier outputs
# move. Some layers of the check look ahead in one place only, and some do not
# notice every change of a token.


# %% tags=["stub:8.3"]
def is_causal(layer: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    """Whether no output of layer depends on a later token of x (B, T, E).

    layer maps (B, T, E) to (B, T, E). x itself must not be changed.
    """
    # your code


# %% tags=["check:8.3"]
check.ex08_3(is_causal)

# %% [markdown]
# `causal` below asks your function about a port. (The section on tests that
# cannot fail shows why adding 1 to later tokens is not enough.)
#
# `loud` comes from what the norm is for: a loud head must not drown the
# others. Make one value head 100 times louder. No output may change, except
# for the effect of the small number under the root of the norm.


# %%
is_causal = check.mine("8.3")


def causal(kind: type, T: int = 7) -> bool:
    return is_causal(build(kind), x[:, :T])


def loud(kind: type, H: int = 4, Hkv: int = 2) -> bool:
    port = build(kind, H, Hkv)
    y = port(x)
    port.v_proj.weight.data.unflatten(0, port.v_shape)[0] *= 100
    return torch.allclose(port(x), y, atol=0.01)


# %%
verdict([ports.Port, *normed], causal, loud)

# %% [markdown]
# In a language model `TorchGroupNorm` is a leak: the tokens that the model must
# predict are among those it averages over. In the repository where we met it,
# the layer reads tables and has no causal mask, so nothing leaks there.
#
# ## The sizes
#
# A differential layer has *half as many heads* as the plain layer it is
# compared with. The width $D$ of a query or key stays, and values are $2D$
# wide. Then the matrices have as many parameters as in the plain layer, and
# $6D$ numbers are added: four vectors for lambda and the weight of the norm.

# %%
sized = [ports.TwiceHalved, ports.HeadsKept, ports.NarrowValues]
show(*sized)

# %% [markdown]
# Plain: 8 heads, $D = 8$. Right: 4 heads, $D = 8$. `TwiceHalved`: 4 heads of
# width 4. `HeadsKept`: 8 heads of width 4. `NarrowValues` gives the values the
# width of a key, which also halves the cache of values. A public lesson teaches
# the last two and a lambda for each head. The test counts parameters: $6 \times
# 8$ more than plain, since plain heads are 8 wide.


# %%
def size(kind: type, H: int = 4, Hkv: int = 2) -> bool:
    pair = MultiheadAttention(64, 8, 4), build(kind, H, Hkv)
    plain, own = (sum(p.numel() for p in m.parameters()) for m in pair)
    return own == plain + 6 * 8


verdict([ports.Port, *sized, ports.PerHead], size)

# %% [markdown]
# `HeadsKept` fits the toy task better than the right port, and some vision
# models are built so. For language models with $D = 128$ an author of the paper
# advises against it (`microsoft/unilm`, issue 1663).
#
# ## Thirteen ports, seven tests
#
# How many of the seven tests find one wrong port, do you expect?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
tests = (size, rows, by_hand, silent, start, causal, loud)
alone, unseen = set(), []
for kind in ports.WRONG:
    caught = [test.__name__ for test in tests if not test(kind)]
    alone |= set(caught) if len(caught) == 1 else set()
    unseen += [] if caught else [kind.__name__]
    print(f"{letter[kind]} {kind.__name__:15s}", ", ".join(caught) or "-")
print("needed, as some port is found by this test alone:", *sorted(alone))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert all(test(ports.Port) for test in tests) and unseen == ["Halves"]
assert alone == {test.__name__ for test in tests} - {"rows"}

# %% [markdown]
# Nearly always exactly one. If you leave out any of six tests, some wrong port
# gets through; only `rows` could be spared here. And one port gets past all
# seven: `Halves`. A later section comes to it.
#
# Would a real training have told? The paper tried two related changes, at 1.4
# billion parameters. Without the norm of the heads the loss was 3.122, with it
# 3.062, and 3.087 for the plain model [P, Table 6]: leaving out the norm costs
# more than the method gains. Constants of 0.8 or 0.5 instead of the schedule
# gave 3.065 and 3.066 [P, Table 6], so a schedule that is late by one layer
# would hardly show. For the other changes we know of no such comparison.
#
# ## The control that fails: tests that cannot fail
#
# Below, the same tests meet wrong ports that they found before, at other sizes.
# In the last case a layer averages over all tokens after a LayerNorm, and the
# probe adds 1 to all channels of the last token. Six wrong layers escape. Why?


# %%
def leak(x: Tensor) -> Tensor:
    """Looks ahead: every token gets the mean of all normalised tokens."""
    return x + layer_norm(x, x.shape[2:]).square().mean(1, keepdim=True).sin()


def probe(change: Tensor) -> bool:
    """Whether the first outputs of leak stay when the last token changes."""
    other = torch.cat([x[:, :-1], x[:, -1:] + change], 1)
    return torch.allclose(leak(other)[:, :-1], leak(x)[:, :-1])


# %%
escapes = {
    "rows, lambda = 0": rows(ports.BeforeSoftmax, lam=0.0),
    "silent, Hkv = H": silent(ports.SingleKeys, Hkv=4),
    "causal, one token": causal(ports.TorchGroupNorm, T=1),
    "loud, one head": loud(ports.OneNorm, H=1, Hkv=1),
    "loud, one key head": loud(ports.OneNorm, Hkv=1),
    "causal, adding 1": probe(torch.ones(64)),
}
for name, holds in escapes.items():
    print(f"{name:20s}", "-" if holds else "found")
print("causal, adding noise", "-" if probe(torch.randn(64)) else "found")
assert all(escapes.values())

# %% [markdown]
# With $\lambda = 0$ the rows of a right map sum to 1 too. With $H_{kv} = H$ no
# keys are shared. One token has no future. One head is all heads. One value
# head, made louder, makes all heads louder alike. And a LayerNorm subtracts the
# mean of each token, so it undoes adding 1 to all channels; it does not undo
# noise. (It divides by the size of the token as well, so multiplying a token by
# a number is no better.)
#
# So a test is half the work. The other half is a wrong layer that it finds:
# break the code and see the test fail.

# %% [markdown]
# ## A pitfall outside the layer: the scale of the embedding
#
# Every line of a layer can be right and a comparison still go wrong. PyTorch
# draws an embedding with standard deviation 1. Other choices are $1/\sqrt E$,
# which is 1/8 for $E = 64$, and 0.02, which `minidiff` uses. In these models
# the embedding is also the output matrix, so its scale sets the size of the
# first logits.
#
# Train a plain and a differential model of equal size for 80 steps on a little
# text, at each of the three scales, with three seeds each. Predict: does the
# scale decide which of the two is ahead?

# %% tags=["parameters"] quick={"STEPS": 4}
STEPS = 80


# %%
text = "".join(Path(m.__file__).read_text("utf-8") for m in MODULES)
ids = torch.tensor(ByteTokenizer().encode(text))
cut = len(ids) * 9 // 10
data = TextData(ids[:cut], ids[cut:], vocab_size=256, length=64)


# %%
def short_run(kind: str, std: float, seed: int) -> tuple[float, float]:
    """The first training loss, and the validation loss after STEPS steps."""
    torch.manual_seed(seed)
    sizes = {"embed_dim": 64, "num_layers": 2, "num_heads": 8}
    model = DecoderLM(ModelConfig(**sizes, max_length=64, attention=kind))
    nn.init.normal_(model.embedding.weight, std=std)
    optimizer = torch.optim.AdamW(model.parameters())
    first = model.loss(*data.batch(0, 8)).item()
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = min(3e-3, 1.5e-4 * (step + 1))
        optimizer.zero_grad()
        model.loss(*data.batch(step, 8)).backward()
        optimizer.step()
    return first, model.loss(*data.batch(0, 64, "valid")).item()


# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true}
lead = {}
for std in (0.02, 1 / 8, 1.0):
    lead[std], first = [], []
    for seed in range(3):
        plain, diff = (short_run(k, std, seed) for k in ("softmax", "diff"))
        first.append((plain[0] + diff[0]) / 2)
        lead[std].append(plain[1] - diff[1])
    gaps = ", ".join(f"{gap:+.2f}" for gap in lead[std])
    print(f"std {std:.3f}: first loss {sum(first) / 3:4.1f} nats,", end=" ")
    print(f"plain minus differential {gaps}")

# %% tags=["needs-training", "hide-input"] jupyter={"source_hidden": true}
assert sum(lead[0.02]) < 0 < min(sum(lead[1 / 8]), sum(lead[1.0]))

# %% [markdown]
# A positive number means that the differential model has the lower loss. When
# this page was made, the plain model was ahead with every seed at 0.02, and the
# differential model with every seed at 1/8 and on average at 1. At 1 the first
# loss is several times $\ln 256$, the loss of a guess among 256 bytes.
# Nothing else was changed, and the learning rate is one for all, not tuned for
# each scale. So who leads in a short comparison of two kinds of
# attention can depend on a line that has nothing to do with attention. State
# the scale of the embedding, and try more than one. These runs are short: 80
# steps say nothing about the end of a long training.
#
# ## The thirteenth port needs a second implementation
#
# `Halves` reads the rows of the query matrix as branch 1 of all heads, then
# branch 2. The right port reads them head by head.

# %%
show(ports.Halves)

# %% [markdown]
# No property can find it. With the rows of its matrix in another order it *is*
# a right layer, and a property holds whatever the weights are. The port goes
# wrong only with weights that were trained elsewhere, and they fit, because
# every shape is right. So the strongest test is a right port by other people,
# with the same weights.
#
# Hugging Face's `transformers` has one, `DiffLlama` [HF]. It shares keys as the
# flash files do, and counts layers from 0. Its conventions differ from ours in
# four places:
#
# | | `minidiff` | `DiffLlama` [HF] |
# |---|---|---|
# | queries, keys | head by head, with both branches | branch 1 of all heads, then branch 2 |
# | rotary pairs | channels $2i$, $2i + 1$ | channels $i$, $i + D/2$ |
# | value head $j$ | one head, $2D$ wide | heads $j$ and $H_{kv} + j$, $D$ wide |
# | norm of the heads | with a weight $g$ | without a weight |
#
# The last line is the shortest. After the norm comes only the matrix $W$ of
# the output, so $W$ can take the weight over: multiply the columns of each head
# by $g$, `W * g.repeat(H)`. The first two lines are yours.
#
# ### Exercise 8.4: rows in another order
#
# *Hard, 20 minutes.* RoPE turns two channels together. A dot product does not
# depend on the order of the channels, as long as queries and keys have the
# same order. So it is enough to move rows of the matrices.


# %% tags=["stub:8.4"]
def their_rows(weight: Tensor, D: int) -> Tensor:
    """Return the rows of a query matrix in the order of DiffLlama.

    weight (H * 2 * D, E): head after head; in each head the D rows of branch
    1, then the D rows of branch 2. Rows 2i and 2i + 1 of a branch are turned
    together by RoPE. The result has the same shape: branch 1 of all heads,
    then branch 2 of all heads. In each branch row 2i goes to place i, and
    row 2i + 1 to place i + D / 2.
    """
    # your code


# %% tags=["check:8.4"]
check.ex08_4(their_rows)

# %% [markdown]
# `minidiff.convert` makes all four changes, in both directions. The next cells
# need `transformers`: `pip install "minidiff[hf]"`. Nothing is downloaded.

# %%
try:
    from transformers.models.diffllama import modeling_diffllama as hf
except ImportError:
    hf = None
print("transformers is", "here" if hf else "missing: the next cells skip it")

# %%
ours = build(MultiheadDiffAttention)
nn.init.normal_(ours.norm_weight)  # ones would hide the fourth line
state = ours.state_dict()
mapped = attention_to_diffllama(state, 4, 2)
cos, sin = rope_angles(7, 8)
want = ours(x, rope=(cos, sin))
trials = {"all mapped": mapped}
for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
    raw = state[name.replace("o_", "out_") + ".weight"]
    trials[f"{name} left as it is"] = mapped | {f"{name}.weight": raw}

# %%
sizes = {"num_attention_heads": 8, "num_key_value_heads": 4, "hidden_size": 64}
for name, weights in trials.items() if hf else ():
    config = hf.DiffLlamaConfig(**sizes, attn_implementation="sdpa")
    theirs = hf.DiffLlamaAttention(config, layer_idx=3).double()
    theirs.load_state_dict(weights)
    angles = [torch.cat([a, a], -1)[None] for a in (cos, sin)]
    gap = (theirs(x, angles)[0] - want).norm() / want.norm()
    print(f"{name:22s}", "< 1e-6" if gap < 1e-6 else f"{gap:.2f}")
    assert (gap < 1e-6) == (weights is mapped)

# %% [markdown]
# With all four changes the two implementations agree up to rounding.
# (`DiffLlama` adds up the products of lambda in float32 even in a float64
# model [HF].) With one matrix left as it is, every shape still fits, and the
# output is wrong.
#
# `minidiff.save_diffllama` writes a whole model for `transformers` to open, and
# `minidiff.load_diffllama` reads one.
#
# ## A check of this chapter
#
# The port of this chapter against the module of `minidiff`, values and
# gradients, and your rows of the query matrix against those of the converter.

# %%
for H, Hkv, depth in ((4, 4, 0), (4, 2, 3), (4, 1, 1), (1, 1, 7)):
    found = []
    for kind in (Port, MultiheadDiffAttention):
        port = build(kind, H, Hkv, depth)
        (port(x) * before).sum().backward()
        found.append([port(x), *(p.grad for p in port.parameters())])
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-10)
    print(f"H = {H}, Hkv = {Hkv}: this chapter and minidiff are equal")
moved = check.mine("8.4")(state["q_proj.weight"], 8)
assert torch.equal(moved, mapped["q_proj.weight"])

# %% [markdown]
# ## Common mistakes
#
# - **Testing shapes, and trusting a loss that falls.** Thirteen wrong layers
#   passed.
# - **A test that cannot fail.** Sharing with $H_{kv} = H$, one token, one head,
#   $\lambda = 0$, a norm's weight of ones, the same number added to all
#   channels.
# - **Loading weights because they fit.** A shape does not know the order of
#   its rows.
# - **Comparing at one scale of the embedding.** It can decide who leads.
#
# ## Summary
#
# - A property holds for every right layer, whatever its weights. In a case by
#   hand a pencil gives the right answer. Seven such tests find twelve of the
#   thirteen wrong ports.
# - A wrong order of rows is found only with weights from elsewhere.
# - Under grouped queries take the branches apart first, then share keys.
# - PyTorch's GroupNorm averages over tokens too, and so looks ahead.
# - A differential layer has half as many heads as the plain one. The width of
#   queries and keys stays, and so does the size of the cache.
# - With four conventions mapped, `minidiff` and `DiffLlama` are one function.
#
# ## Further reading
#
# - `microsoft/unilm`, folder `Diff-Transformer`: both forms side by side. [U]
# - `Jaykef/ai-algorithms`, issue 1: an author of the paper lists three usual
#   mistakes; that code has been repaired since.
# - `huggingface/transformers`, pull request 34083: where the difference between
#   the naive and the flash file was noticed. [HF]
# - Claessen and Hughes, *QuickCheck*, ICFP 2000: where testing by properties
#   comes from.
