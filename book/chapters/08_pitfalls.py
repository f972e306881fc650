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
# By the end of this chapter you will have shown that ten wrong versions of
# differential attention pass the tests that a port is usually given, and that
# seven properties find them all without knowing the right output.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - write a property: a test that needs no right output;
# - say at which sizes such a test cannot fail;
# - repair a port that splits pairs of keys;
# - move weights between two conventions and show that nothing was lost.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | the multi-head module | it is what is ported | chapter 5 |
# | rotary positions | the last section | chapter 7 |

# %%
from collections.abc import Callable

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from minidiff import MultiheadAttention, MultiheadDiffAttention
from minidiff import check, diff_attention, plots
from minidiff.check import hint, solution  # noqa: F401
from minidiff.check.ex08 import ports
from minidiff.check.ex08.ports import build, causal_softmax
from minidiff.ops.sdpa import softmax_attention  # noqa: F401

plots.use_style()

# %% [markdown]
# ## A cold open: eleven layers, one of them right
#
# A *port* is a method written anew in another code base. Below are eleven
# ports of chapter 5's layer, 4 heads on 2 pairs of keys, each with a letter.
# Ten are wrong by a few lines. `build` gives all the same random matrices
# where shapes agree.
#
# Three usual tests. Has the output the right shape? Is every number finite?
# Does the layer learn? Its task is to hand on the vector of the token before;
# the loss must fall by a third in 30 steps. Predict how many ports fail.

# %%
x, before = ports.task()  # each (8, 7, 64)
drawn = torch.randperm(11, generator=torch.Generator().manual_seed(8))
kinds = [(ports.Port, *ports.WRONG)[i] for i in drawn]
letters = dict(zip(kinds, "ABCDEFGHIJK", strict=True))
print("  shape finite learns loss")
for kind, letter in letters.items():
    y, losses = build(kind)(x), ports.train(build(kind))
    learns = losses[-1] < losses[0] * 2 / 3
    passed = y.shape == x.shape, bool(y.isfinite().all()), learns
    print(letter, *(f" {p!s:5}" for p in passed), f"{losses[-1]:.2f}")
    assert all(passed)

# %% [markdown]
# None. Now the test that a first port's author cannot run: against the right
# layer. The *relative error* is the size of the difference over that of the
# right output. Unrelated outputs of equal size would give $\sqrt 2$, about
# 1.41.


# %%
def error(kind: type) -> float:
    want = build(MultiheadDiffAttention)(x)
    return ((build(kind)(x) - want).norm() / want.norm()).item()


for kind, letter in letters.items():
    print(letter, "< 1e-12" if error(kind) < 1e-12 else f"{error(kind):.2f}")
    assert (error(kind) < 0.05) == (kind is ports.Port)

# %% [markdown]
# Only E is right. The others compute something else and learn all the same,
# G even better: gradients fit the weights to whatever layer is there.
#
# What helps without a right output? The mathematics says things that hold for
# any right layer, whatever its weights. Such a statement, turned into a test,
# is a *property*. Write it before the port.
#
# Here is the right port, in short steps. Each wrong one overrides a step; the
# repair is to delete the override.


# %% tags=["same:minidiff.check.ex08.ports.Port"]
class Port(MultiheadDiffAttention):
    def attend(
        self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, *options: object
    ) -> Tensor:
        return self.norm(self.map(q, k) @ self.share(v))

    def share(self, k: Tensor) -> Tensor:
        # q_shape is (H, 2, D) and k is (B, Hkv, 2, T, D)
        return k.repeat_interleave(self.q_shape[0] // k.shape[1], 1)

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        return q @ self.share(k).mT / q.shape[-1] ** 0.5

    def map(self, q: Tensor, k: Tensor) -> Tensor:
        A1, A2 = causal_softmax(self.scores(q, k)).unbind(2)
        return A1 - self.lam() * A2

    def norm(self, o: Tensor) -> Tensor:
        y = rms_norm(o, o.shape[-1:], self.norm_weight, self.norm_eps)
        return (1 - self.lam_init) * y


# %% [markdown]
# ## Before the values: the map
#
# Two wrong maps. `SqrtTwoD` divides the scores by `(2 * D) ** 0.5`; right is
# `D ** 0.5`. `BeforeSoftmax` overrides `map`, where `A1 - lam * A2` is right:


# %% tags=["same:minidiff.check.ex08.ports.BeforeSoftmax"]
class BeforeSoftmax(Port):
    def map(self, q: Tensor, k: Tensor) -> Tensor:
        s1, s2 = self.scores(q, k).unbind(2)
        return causal_softmax(s1 - self.lam() * s2)


# %% [markdown]
# ### Exercise 8.1: write the first property
#
# *Easy, 5 minutes.* The check hands your function right maps and wrong ones.


# %% tags=["stub:8.1"]
def rows_sum_to(A: Tensor, lam: float) -> bool:
    """Whether each row of A (B, H, T, S) sums to 1 - lam, up to rounding.

    Return True or False, not one answer a row.
    """
    # your code


# %% tags=["check:8.1"]
check.ex08_1(rows_sum_to)

# %% [markdown]
# Two properties. `rows` puts random queries and keys in. `by_hand` is a case
# for pencil and paper: $D = 16$, queries and key 0 all ones, key 1 all zeros.
# The scores are $16 / \sqrt{16} = 4$ and 0. So in both maps, and in their
# difference, the two weights have the ratio $e^4$.


# %%
def rows(kind: type, lam: float = 0.6) -> bool:
    port = build(kind)
    port.lam = lambda: lam
    A = port.map(torch.randn(1, 4, 2, 7, 8), torch.randn(1, 2, 2, 7, 8))
    return torch.allclose(A.sum(-1), torch.tensor(1 - lam))


def by_hand(kind: type) -> bool:
    q, k = torch.ones(1, 4, 2, 2, 16), torch.zeros(1, 2, 2, 2, 16)
    k[..., 0, :] = 1
    A = build(kind).map(q, k)[..., -1, :]  # the last query sees both keys
    ratio = (A[..., 0] / A[..., 1]).log()
    return torch.allclose(ratio, torch.full_like(ratio, 4))


# %% [markdown]
# Which property fails for which port?


# %%
def verdict(kinds: list[type], *properties: Callable[[type], bool]) -> None:
    for kind in kinds:
        found = {p.__name__: p(kind) for p in properties}
        print(f"{kind.__name__:15s}", found)  # True: the property holds


verdict([Port, ports.SqrtTwoD, BeforeSoftmax], rows, by_hand)

# %% [markdown]
# A wrong scale leaves the sums alone. One softmax over subtracted scores has
# rows that sum to 1, and no negative weight: it cannot cancel. Its score by
# hand is $4 - 4\lambda$, so the other property sees it too. Whether the
# official code subtracts on the wrong side is asked in unilm, issue 1637. It
# does not. A scale bug the other way, scores *divided* by $D^{-1/2}$, was in
# `jwliao1209/Differential-FT-Transformer`.
#
# ### Two official files that disagree
#
# Under grouped queries the authors' naive file and their flash files part [U]
# (chapter 5). Both keep the branches in one flat axis of heads: rows $2i$ and
# $2i + 1$ belong to head $i$. The naive way, in our words:


# %%
def naive(q: Tensor, k: Tensor, v: Tensor, lam: float) -> Tensor:
    """q (B, 2H, T, D), k (B, 2Hkv, T, D), v (B, Hkv, T, 2D)."""
    n = q.shape[1] // k.shape[1]
    A = causal_softmax(q @ k.repeat_interleave(n, 1).mT / q.shape[-1] ** 0.5)
    return (A[:, 0::2] - lam * A[:, 1::2]) @ v.repeat_interleave(n, 1)


# %% [markdown]
# The flash files take the branches apart *first*, and call ordinary attention
# on each.
#
# ### Exercise 8.2: repair it
#
# *Medium, 10 minutes.* `softmax_attention(q, k, v)` is ordinary causal
# attention. Where there are fewer key heads than query heads, neighbouring
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
# How far apart are the two? `diff_attention` pairs as the flash files do.

# %%
torch.manual_seed(4)
for Hkv in (4, 2, 1):
    q, k = torch.randn(1, 4, 2, 7, 8), torch.randn(1, Hkv, 2, 7, 8)
    v = torch.randn(1, Hkv, 7, 16)
    flash = diff_attention(q, k, v, 0.6)
    gap = naive(q.flatten(1, 2), k.flatten(1, 2), v, 0.6) - flash
    gap = (gap.norm() / flash.norm()).item()
    print(f"Hkv = {Hkv}:", "< 1e-5" if gap < 1e-5 else f"{gap:.2f}")
    assert gap < 1e-5 if Hkv == 4 else gap > 0.5

# %% [markdown]
# Without groups they agree, with groups they do not. `SingleKeys` is `naive`
# as a port. Which property sees it? With $\lambda = 0$ the second branch must
# not matter. So set it to zero, wipe out the second keys, and look.


# %%
def silent(kind: type, Hkv: int = 2) -> bool:
    port = build(kind, Hkv=Hkv)
    port.lam = lambda: 0.0
    y = port(x)
    port.k_proj.weight.data.unflatten(0, port.k_shape)[:, 1] = 0
    return torch.allclose(port(x), y)


verdict([Port, ports.SingleKeys], silent)

# %% [markdown]
# ## Lambda
#
# | port | its line | right |
# |---|---|---|
# | `LayerFromOne` | `lambda_init(depth + 1)` | `lambda_init(depth)`, from 0 |
# | `NoConstant` | `dot1.exp() - dot2.exp()` | `... + self.lam_init` |
# | `PerHead` | vectors `(H, D)`, $H$ lambdas | vectors `(D,)`, one lambda |
#
# In `kyegomez/DifferentialTransformer` lambda was a number passed in, and the
# constant was missing (its issue 5). A lambda for each head was in
# `nanowell/Differential-Transformer-PyTorch`.
#
# The property: with four zero vectors, lambda in the first layer is
# $e^0 - e^0 + \lambda_{\text{init}} = 1/5$. Which of the three gets past it?


# %%
def start(kind: type) -> bool:
    port = build(kind, depth=0)
    for name, vector in port.named_parameters():
        if name.startswith("lambda"):
            vector.data.zero_()
    return bool((port.lam() - 1 / 5).abs().max() < 1e-6)


verdict([Port, ports.LayerFromOne, ports.NoConstant, ports.PerHead], start)

# %% [markdown]
# `PerHead`: with zero vectors all its heads agree. Counting will find it. It
# is a deviation more than a bug: V2 has a lambda for each head and token, but
# a bounded one (chapter 5).
#
# ## After the values: the norm
#
# | port | its line | right |
# |---|---|---|
# | `OneNorm` | size from `o.square().mean((1, 3))` | `.mean(3)` |
# | `TorchGroupNorm` | `group_norm(columns, H)` | `rms_norm(o, (2 * D,))` |
# | `LateNorm` | `layer_norm(out_proj(heads))` | `out_proj(norm(heads))` |
#
# The heads `o` are `(B, H, T, 2D)`. The paper's figure says GroupNorm, and
# PyTorch has a function of that name. It takes columns `(B, H * 2D, T)`, and
# subtracts a mean besides. Predict: on the numbers of which heads and tokens
# does the result of head 1 at token 3 depend?

# %% mystnb={"image": {"alt": "Three grids of 4 heads by 7 tokens, a white dot at head 1, token 3. Port: only that square is dark. OneNorm: the whole column of token 3 is dark. TorchGroupNorm: the whole row of head 1 is dark, later tokens too."}}
figure, axes = plt.subplots(1, 3, figsize=(7, 1.9), sharey=True)
normed = Port, ports.OneNorm, ports.TorchGroupNorm
for axis, kind, dark in zip(axes, normed, (1, 4, 7), strict=True):
    o = torch.randn(1, 4, 7, 16).double().requires_grad_()
    build(kind).norm(o)[0, 1, 3].sum().backward()
    reach = o.grad[0].abs().amax(-1) > 0  # (H, T)
    assert reach.sum() == dark
    axis.imshow(reach, cmap="Blues", vmin=-0.2, vmax=1.4)
    axis.plot(3, 1, "o", c="w")
    axis.set(title=kind.__name__, xlabel="token", xticks=(0, 3, 6))
    axis.grid(False)
axes[0].set(ylabel="head", yticks=range(4))
plt.show()

# %% [markdown]
# Dark is where the gradient is not zero. `OneNorm` averages over the heads
# too, `TorchGroupNorm` over the tokens, later ones among them. Two properties
# will see it. You write the first.
#
# ### Exercise 8.3: does a layer look ahead?
#
# *Medium, 10 minutes.* Some layers of the check peek in one place only.


# %% tags=["stub:8.3"]
def is_causal(layer: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    """Whether no output of layer depends on a later token of x (B, T, E).

    layer maps (B, T, E) to (B, T, E). x itself must not be changed.
    """
    # your code


# %% tags=["check:8.3"]
check.ex08_3(is_causal)

# %% [markdown]
# The second comes from what the norm is for: a loud head must not drown the
# others. Make one value head 100 times louder, and no output may change, save
# for the small number under the norm's root.


# %%
def causal(kind: type, T: int = 7) -> bool:
    port, tokens = build(kind), x[:, :T]
    for t in range(1, T):
        changed = tokens + (torch.arange(T) >= t)[:, None]
        if not torch.allclose(port(changed)[:, :t], port(tokens)[:, :t]):
            return False
    return True


def loud(kind: type, H: int = 4, Hkv: int = 2) -> bool:
    port = build(kind, H, Hkv)
    y = port(x)
    port.v_proj.weight.data.unflatten(0, port.v_shape)[0] *= 100
    return torch.allclose(port(x), y, atol=0.01)


# %%
verdict([*normed, ports.LateNorm], causal, loud)

# %% [markdown]
# In a language model `TorchGroupNorm` leaks: the answers lie in the future.
# `jwliao1209/Differential-FT-Transformer` offered it, off by default, in a
# model for tables; without a causal mask nothing leaks there. A LayerNorm
# after the output matrix was in `kyegomez/DifferentialTransformer`.
#
# ## The sizes
#
# `TwiceHalved` halves heads *and* width: `D = E // H // 4`, where
# `E // H // 2` is right. A comment in `karpathy/nanoGPT`, issue 567, traces a
# worse loss to it. The property counts: as many parameters as the matched
# plain layer, and $6D$ more, where $D$ is the width of the *plain* heads.


# %%
def size(kind: type, H: int = 4, Hkv: int = 2) -> bool:
    pair = MultiheadAttention(64, 8, 4), build(kind, H, Hkv)
    plain, own = (sum(p.numel() for p in m.parameters()) for m in pair)
    return own == plain + 6 * 8


verdict([Port, ports.PerHead, ports.TwiceHalved], size)
assert not size(Port, H=8, Hkv=4)

# %% [markdown]
# The assert is one more layer: all heads kept, each half as wide. Its
# matrices have the right count, its $6D$ has not. Some vision models in
# `timm` are built so. For language models with $D = 128$ an author of the
# paper advises against it (unilm, issue 1663).
#
# ## Ten ports, seven properties
#
# How many of the seven fail for one wrong port, do you expect? The last
# column says where a slip was met, as code or thread stood when we read it.

# %%
properties = (size, rows, by_hand, silent, start, causal, loud)
alone = set()
print("  port            error  caught by       met in")
for kind, where in ports.WRONG.items():
    caught = [p.__name__ for p in properties if not p(kind)]
    alone |= set(caught) if len(caught) == 1 else set()
    name = f"{kind.__name__:15s} {error(kind):5.2f}  {', '.join(caught):14s}"
    print(letters[kind], name, where)
assert all(holds(Port) for holds in properties)
assert alone == {p.__name__ for p in properties} - {"rows"}

# %% [markdown]
# Nearly always one. Without any of six, some port would get through; only
# `rows` could be spared here.
#
# Would training have told? The paper tried two related changes, at 1.4
# billion parameters. Without the headwise norm the loss was 3.122, with it
# 3.062, plain 3.087 [P, Table 6]: that costs more than the method gains.
# Constants 0.8 or 0.5 in place of the schedule gave 3.065 and 3.066
# [P, Table 6], so a schedule late by one layer would hardly show. For the
# others we know of no such comparison.
#
# ## The control that fails: tests that cannot
#
# The same properties against ports that they caught, at other sizes. All
# hold. Why?

# %%
escapes = {
    "rows, lambda = 0": rows(BeforeSoftmax, lam=0.0),
    "silent, Hkv = H": silent(ports.SingleKeys, Hkv=4),
    "causal, one token": causal(ports.TorchGroupNorm, T=1),
    "loud, one head": loud(ports.OneNorm, H=1, Hkv=1),
    "loud, one key head": loud(ports.OneNorm, Hkv=1),
}
for name, holds in escapes.items():
    print(f"{name:20s}", holds)
assert all(escapes.values())

# %% [markdown]
# With $\lambda = 0$ a row should sum to 1. With $H_{kv} = H$ nothing is
# shared. One token has no future. One head is all heads. And one value head,
# made louder, makes all heads louder alike. So a property is half a test. The
# other half is a case in which it can fail: break the code and see it.
#
# ## A second port to agree with
#
# The strongest test is a right port by other people. Hugging Face's
# `transformers` has one, `DiffLlama` [HF]. It shares keys as the flash files
# do and counts layers from 0. Its conventions differ in four places:
#
# | | `minidiff` | `DiffLlama` [HF] |
# |---|---|---|
# | queries, keys | pairs side by side | all first branches, then all second |
# | value head $j$ | one head, $2D$ wide | heads $j$ and $H_{kv} + j$, $D$ wide |
# | rotary pairs | channels $2i$, $2i + 1$ | channels $i$, $i + D/2$ |
# | headwise norm | with a weight | without |
#
# Take the third line. RoPE turns pairs of channels, and a dot product does
# not mind the order of channels if queries and keys have the same. So move
# the rows of both matrices.
#
# ### Exercise 8.4: rows in another order
#
# *Easy, 5 minutes.*


# %% tags=["stub:8.4"]
def half_order(weight: Tensor, D: int) -> Tensor:
    """Return the rows of weight (n * D, E) in the order of DiffLlama.

    Each block of D rows is one branch of a head. Rows 2i and 2i + 1 of a
    block go to places i and i + D / 2 of the same block.
    """
    # your code


# %% tags=["check:8.4"]
check.ex08_4(half_order)

# %% [markdown]
# The fourth line. After the norm come only a number and a matrix, so the
# matrix can take the weight $g$ over.
#
# ### Exercise 8.5: fold the weight
#
# *Easy, 5 minutes.*


# %% tags=["stub:8.5"]
def fold_norm(W: Tensor, g: Tensor) -> Tensor:
    """Return W (E, H * 2D) with the norm's weight g (2D,) moved into it.

    m (T, H * 2D) holds heads side by side. Until now each head is multiplied
    by g, then all by W.T. With the result W2, m @ W2.T must give the same.
    """
    # your code


# %% tags=["check:8.5"]
check.ex08_5(fold_norm)

# %% [markdown]
# `minidiff.convert` does all four, both ways. The next cells need
# `transformers`: `pip install "minidiff[hf]"`. Nothing is downloaded.

# %%
try:
    from transformers.models.diffllama import modeling_diffllama as hf
except ImportError:
    hf = None
print("transformers is", "here" if hf else "missing: the next cells skip it")

# %%
from minidiff.convert.attention import attention_to_diffllama
from minidiff.nn.layers import rope_angles

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
# Equal to rounding: `DiffLlama` adds up lambda's products in float32 even in
# a float64 model [HF]. With one matrix unmapped every shape still fits.
#
# `minidiff.save_diffllama` writes a whole model for `transformers` to open, and
# `minidiff.load_diffllama` reads one.
#
# ## A check of this chapter
#
# The port written here against the module, values and gradients.

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

# %% [markdown]
# ## Common mistakes
#
# - **Testing shapes, and trusting a falling loss.** Ten wrong layers passed.
# - **Testing where it cannot fail:** $H_{kv} = H$, one token, one head,
#   $\lambda = 0$, a norm's weight of ones.
# - **Loading weights because they fit.** Shapes know no order.
#
# ## Summary
#
# - A property holds for every right layer, whatever its weights. Seven of
#   them find all ten wrong ports.
# - Grouped queries: branches apart first, share after that.
# - Torch's GroupNorm averages over tokens too, and so looks ahead.
# - With four conventions mapped, `minidiff` and `DiffLlama` are one function.
#
# ## Further reading
#
# - `microsoft/unilm`, folder `Diff-Transformer`: both forms side by side. [U]
# - `Jaykef/ai-algorithms`, issue 1: an author of the paper lists three usual
#   mistakes; that code has been repaired since.
# - `huggingface/transformers`, pull request 34083: where naive and flash were
#   seen to differ. [HF]
# - Claessen and Hughes, *QuickCheck*, ICFP 2000: where testing by properties
#   comes from.
