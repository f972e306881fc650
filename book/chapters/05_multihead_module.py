# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5. The multi-head module
#
# By the end of this chapter you will have taken differential attention with
# many heads apart in PyTorch, and shown that its values agree with plain
# loops, and all its gradients with the formulas of chapter 4, to twelve
# digits.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - say what tensors, autograd and `nn.Module` add to NumPy;
# - explain why the heads are halved, and count the parameters;
# - take a projection apart into heads and branches, and name each shape;
# - share pairs of keys among heads, and say what the wrong sharing does;
# - test a module against a slower one, and show that the test can fail.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | one differential head in NumPy | everything | chapter 3 |
# | Python classes | modules | any Python tutorial |
# | gradients by hand | autograd, and a test of the module | chapter 4 |
#
# PyTorch is not among them: we open it here.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn

from minidiff import check, diff_attention, lambda_init, plots, reference
from minidiff.check import hint, solution  # noqa: F401

plots.use_style("svg")

# %% [markdown]
# ## A cold open: two programs for one layer
#
# Four differential heads share two *pairs* of keys, to save memory. A pair has
# one set of keys for each branch of a head, so each pair must be repeated. Two
# files of the authors' own code do it in two ways [U]. Both are below, in
# NumPy, with equal queries, keys and values. Every shape is right, nothing
# raises an error. Predict: how far apart are the outputs?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
rng = np.random.default_rng(5)
q = rng.normal(size=(1, 4, 2, 6, 8))  # 4 heads, 2 branches, 6 tokens
k = rng.normal(size=(1, 2, 2, 6, 8))  # 2 pairs of keys
v = np.repeat(rng.normal(size=(1, 2, 6, 16)), 2, axis=1)

one = np.repeat(k, 2, axis=1)
other = np.repeat(k.reshape(1, 4, 6, 8), 2, axis=1).reshape(q.shape)
out_one = reference.diff_attention(q, one, v, 0.8)
out_other = reference.diff_attention(q, other, v, 0.8)

print("shapes", out_one.shape, out_other.shape)
size, gap = np.abs(out_one).mean(), np.abs(out_one - out_other).mean()
print(f"mean size of an output {size:.2f}, mean difference {gap:.2f}")

# %% tags=["hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Three lower triangular heat maps of head 1: the maps of the two programs look unlike each other, and the third map, their difference, holds weights as large as theirs."}}
maps = []
for keys in (one, other):
    q1, q2, k1, k2 = (x[0, 1, j] for x in (q, keys) for j in (0, 1))
    maps.append(reference.diff_map(q1, k1, q2, k2, 0.8))
plots.show_maps(
    [*maps, maps[0] - maps[1]],
    ["head 1, one program", "the other", "difference"],
)
plt.show()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert gap > size

# %% [markdown]
# The outputs differ by as much as they are large: these are two different
# layers. A model trained with one of them and run with the other is not the
# model that was trained, and nothing says so. You will see in this chapter
# which one is meant, and how a test finds such a thing.
#
# ## Three things PyTorch adds to NumPy
#
# ### Tensors
#
# A *tensor* is an array. Much looks as in NumPy, but not all: `x.max(-1)`
# gives the largest values *and* their places. And Python floats become
# float32, with 7 digits, where NumPy takes float64, with 16. Three methods
# move axes about, and we shall use them all the time.
#
# - `unflatten(-1, (a, b))` cuts the last axis into two, `a` times `b`;
# - `flatten(2)` joins all axes from axis 2 on into one;
# - `movedim(1, -2)` takes axis 1 and puts it last but one.

# %%
x = torch.arange(12).reshape(1, 2, 6)  # (B, T, columns)
cut = x.unflatten(-1, (3, 2))  # (B, T, heads, width)
heads = cut.movedim(1, -2)  # (B, heads, T, width)
print("numbers become", torch.tensor([0.5, 0.25]).dtype)
print("arrays stay   ", torch.from_numpy(np.array([0.5, 0.25])).dtype)
print("x     ", x.tolist())
print("heads ", heads.tolist())
assert heads.movedim(-2, 1).flatten(2).equal(x)

# %% [markdown]
# Look at the last line of output: head 0 has columns 0 and 1 of token 0, then
# of token 1. The assert undoes it: move back, then flatten.
#
# ### Autograd
#
# Chapter 4 found gradients rule by rule. *Autograd* knows the rules. It
# records each operation on the way forward, and `backward()` walks the record
# in reverse with the chain rule.
#
# The smallest case with our subtraction in it: two numbers $a$ and $b$, and
# the loss
#
# $$
# f(\lambda) = (a - \lambda b)^2,
# \qquad
# f'(\lambda) = -2\,b\,(a - \lambda b)
# \tag{5.1}
# $$
#
# Take $a = 0.5$, $b = 0.25$, $\lambda = 0.8$. The bracket is $0.3$, so
# $f' = -2 \cdot 0.25 \cdot 0.3 = -0.15$ by hand. Autograd should agree.


# %%
a, b = 0.5, 0.25
lam = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)


def f() -> Tensor:
    return (a - lam * b) ** 2


f().backward()
by_hand = -2 * b * (a - 0.8 * b)
print(f"a = {a}, b = {b}, lambda = 0.8, bracket {a - 0.8 * b:.1f}")
print(f"by hand {by_hand:.2f}, by backward() {lam.grad:.2f}")
assert abs(lam.grad - by_hand) < 1e-12

# %% [markdown]
# `requires_grad=True` asks for the record; the derivative lands in `.grad`.
# Call `backward()` again, with a new forward pass. What will `.grad` be?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
f().backward()
print(f"after a second backward(): {lam.grad:.2f}")
lam.grad = None
f().backward()
print(f"emptied first:             {lam.grad:.2f}")

# %% [markdown]
# Gradients *add up* until somebody empties them. So a parameter used in two
# places gets the sum, as it should, and a training loop empties `.grad` at
# every step.
#
# ### Modules
#
# An `nn.Module` is a class that keeps parameters together with the function
# that uses them. The function is called `forward`, and calling the module
# calls it. Any `nn.Parameter` you assign to `self` is found by name.


# %%
class Subtraction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lam = nn.Parameter(torch.tensor(0.5))
        self.other = torch.tensor(0.5)  # no Parameter: watch what happens

    def forward(self, A1: Tensor, A2: Tensor) -> Tensor:
        return A1 - self.lam * A2


module = Subtraction()
print("output    ", module(torch.tensor([0.75, 0.25]), torch.ones(2)).tolist())
print("parameters", [name for name, _ in module.named_parameters()])
print("state_dict", dict(module.state_dict()))

# %% [markdown]
# `other` is missing. A plain tensor is not trained, not saved, not moved to a
# GPU. `state_dict` is what one saves: names and tensors, no code.
#
# The module we need most comes with PyTorch. `nn.Linear(E, n, bias=False)`
# holds a weight of shape `(n, E)` and computes $x W^\top$.
#
# ### Exercise 5.1: lambda as a module
#
# *Medium, 10 minutes.* Equation 3.3, with four learned vectors and the
# constant of chapter 3, which `lambda_init` gives:
#
# $$
# \lambda = e^{\lambda_{q_1} \cdot \lambda_{k_1}}
# - e^{\lambda_{q_2} \cdot \lambda_{k_2}} + \lambda_{\text{init}}
# $$


# %% tags=["stub:5.1"]
class LearnedLambda(nn.Module):
    """Lambda of one layer; layers count from 0.

    Parameters lambda_q1, lambda_k1, lambda_q2, lambda_k2, each (D,), start
    as normal random numbers with standard deviation 0.1.
    """

    def __init__(self, D: int, layer: int) -> None:
        super().__init__()
        # your code

    def forward(self) -> Tensor:
        """Return lambda (equation 3.3), a 0-d tensor."""
        # your code


# %% tags=["check:5.1"]
check.ex05_1(LearnedLambda)

# %% [markdown]
# ## From one head to many: why the heads are halved
#
# A plain layer of width $E$ has $2H$ heads of width $D$ each, and
# $2H \cdot D = E$. Its projections for queries, keys and values have $E$
# columns each, and so has the output.
#
# A differential head needs two queries and two keys, so it uses up twice the
# columns. Keep $D$ and take *half the heads*, $H$: the queries have
# $H \cdot 2 \cdot D = E$ columns again, the keys too, and the values, $2D$
# wide, have $H \cdot 2D = E$. Every matrix has the size it had. New are the
# four lambda vectors and the weight of the headwise norm: $4D + 2D = 6D$
# numbers, next to $4E^2$.

# %%
import minidiff


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


E, H = 64, 2
plain = minidiff.MultiheadAttention(E, 2 * H)
diff = minidiff.MultiheadDiffAttention(E, H, depth=0)
D = E // (2 * H)
print(f"plain,        {2 * H} heads of {D}      {count(plain)}")
print(f"differential, {H} heads of 2 x {D}  {count(diff)}")
print(f"6 D                             {6 * D}")
assert count(plain) == 4 * E**2 and count(diff) == 4 * E**2 + 6 * D

# %% [markdown]
# Equal size is what makes a comparison fair. There is another way to it: keep
# all heads and halve their width. But then each branch has 8 numbers to
# compare by, not 16; the paper keeps $D$ and halves the heads [P, sec. 3.1].
# Halving both throws away half the layer, and no shape of an output tells:
# chapter 8 meets both.
#
# ## The axis of pairs
#
# The two branches of a head belong together. We give them an axis of their
# own, of length 2, right after the heads:
#
# | array | shape | meaning |
# |---|---|---|
# | `q` | `(B, H, 2, T, D)` | queries |
# | `k` | `(B, H, 2, S, D)` | keys |
# | `v` | `(B, H, S, 2D)` | values, read by both branches |
# | heads | `(B, H, T, 2D)` | output before the merge |
#
# $B$ is the batch: sequences handled together. The projection delivers
# `(B, T, E)`, so its $E$ columns must be dealt out, in blocks of $D$. The
# official code puts the branches of a head side by side: blocks $2i$ and
# $2i + 1$ belong to head $i$ [U]. Another public version stores all first
# branches, then all second ones [HF].

# %% mystnb={"image": {"alt": "Two strips of four blocks of 16 columns. Interleaved: head 0 branch 1, head 0 branch 2, head 1 branch 1, head 1 branch 2. By halves: head 0 branch 1, head 1 branch 1, head 0 branch 2, head 1 branch 2."}}
layouts = {
    "interleaved\n(ours)": [(0, 1), (0, 2), (1, 1), (1, 2)],
    "by halves": [(0, 1), (1, 1), (0, 2), (1, 2)],
}
figure, axis = plt.subplots(figsize=(6, 1.8))
for row, blocks in enumerate(layouts.values()):
    for i, (head, branch) in enumerate(blocks):
        colour = plots.COLOURS[branch - 1]
        axis.barh(row, 16, left=16 * i, color=colour, height=0.6, ec="w")
        text = f"head {head}\nbranch {branch}"
        axis.text(16 * i + 8, row, text, c="w", ha="center", va="center")
axis.set_yticks([0, 1], list(layouts))
axis.set(xlabel="column of q", xticks=range(0, 65, 16), ylim=(1.5, -0.5))
axis.grid(False)
plt.show()

# %% [markdown]
# ### Exercise 5.2: split into pairs
#
# *Easy, 5 minutes.* Cut the columns, then move the tokens' axis.


# %% tags=["stub:5.2"]
def split_pairs(y: Tensor, H: int) -> Tensor:
    """Return y (B, T, H * 2 * D) as (B, H, 2, T, D).

    The columns hold head 0, branch 1; head 0, branch 2; head 1, branch 1;
    and so on, D columns each.
    """
    # your code


# %% tags=["check:5.2"]
check.ex05_2(split_pairs)

# %% [markdown]
# ## The layer in steps
#
# We walk once through the layer with two sequences of five tokens and the
# weights of `diff` from above. Step 1: project and split.

# %%
torch.manual_seed(0)
x = torch.randn(2, 5, E)
q = diff.q_proj(x).unflatten(-1, (H, 2, D)).movedim(1, -2)
k = diff.k_proj(x).unflatten(-1, (H, 2, D)).movedim(1, -2)
v = diff.v_proj(x).unflatten(-1, (H, 2 * D)).movedim(1, -2)
for name, array in (("x", x), ("q", q), ("k", k), ("v", v)):
    print(name, tuple(array.shape))

# %% [markdown]
# Step 2: the operator. `diff_attention` computes
# $(A_1 - \lambda A_2)\,v$ for all heads and, if given `norm_scale`, the
# headwise norm of equation 3.5. Inside it is what you wrote in chapter 3,
# with two more axes in front. Here it is once by hand.

# %%
lam_init = lambda_init(0)
lam = diff.lam().detach()
hidden = ~torch.ones(5, 5, dtype=torch.bool).tril()
logits = q @ k.mT / D**0.5  # .mT swaps the last two axes
maps = logits.masked_fill(hidden, -torch.inf).softmax(-1)
A1, A2 = maps.unbind(2)  # each (B, H, T, S)
by_hand = (A1 - lam * A2) @ v
by_hand = by_hand / (by_hand.square().mean(-1, keepdim=True) + 1e-5).sqrt()
heads = diff_attention(q, k, v, lam, norm_scale=1 - lam_init)
error = (heads - (1 - lam_init) * by_hand).abs().max()
assert error < 1e-5
print("heads", tuple(heads.shape), "differ by < 1e-5, in float32")

# %% [markdown]
# Step 3: merge. Move the tokens back in front of the heads, put the heads
# side by side, and multiply by the output matrix.

# %%
merged = heads.transpose(1, 2).flatten(2)  # (B, T, H * 2D)
out = diff.out_proj(merged)
print("merged", tuple(merged.shape), " out", tuple(out.shape))
assert torch.allclose(out, diff(x), atol=1e-5)
print("the three steps give what the module gives")

# %% [markdown]
# ## The two methods that matter
#
# `minidiff.MultiheadDiffAttention` is a module with these parts. Steps 1 and 3
# stand in its base class, which every kind of attention shares. Its own are
# two methods. The first computes lambda; `wide` turns the vectors into float32
# or wider, even in a model that stores fewer digits.

# %%
from minidiff.nn.attention import wide


# %% tags=["same:minidiff.nn.attention.MultiheadDiffAttention.lam"]
def lam(self) -> Tensor:
    """Return ``exp(q1 . k1) - exp(q2 . k2) + lam_init``, eq. 2, 0-d."""
    # Products and sums, not a matmul: autocast leaves these alone.
    dot1 = (wide(self.lambda_q1) * wide(self.lambda_k1)).sum()
    dot2 = (wide(self.lambda_q2) * wide(self.lambda_k2)).sum()
    return dot1.exp() - dot2.exp() + self.lam_init


# %% [markdown]
# The second, `attend`, is step 2. We give a class of our own these two methods
# and use it from here on. (`minidiff`'s `attend` passes on two options more:
# padding, and a way to compute.) Where is the depth of the layer used?


# %%
class DiffHeads(minidiff.MultiheadDiffAttention):
    lam = lam

    def attend(
        self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, *options: object
    ) -> Tensor:
        norm = {"norm_weight": self.norm_weight}
        norm["norm_scale"] = 1 - self.lam_init
        return diff_attention(q, k, v, self.lam(), **norm)


layer = DiffHeads(E, H, depth=3)
for name, parameter in layer.named_parameters():
    print(f"{name:16s} {tuple(parameter.shape)}")
print("lam_init is no parameter:", "lam_init" not in layer.state_dict())

# %% [markdown]
# The depth sets `lam_init`, a constant that appears twice: in `lam` and as
# $1 - \lambda_{\text{init}}$ after the norm. Learned are the four matrices,
# the four vectors and the norm's weight. The base class can do two more
# things, when asked: a rotation of `q` and `k` that tells the model the order
# of tokens (chapter 7), and a cache for generation (chapter 16).
#
# ## Grouped queries share pairs of keys
#
# When a model generates text, it keeps the keys and values of all past tokens.
# *Grouped queries* make that smaller: $H$ query heads share $H_{kv}$ key and
# value heads, in groups of $H / H_{kv}$ neighbours. What is shared here is a
# *pair*: head `h` reads pair `h // (H // Hkv)`, branch 1 the first keys of the
# pair and branch 2 the second.
#
# Name the four single sets of keys in the cold open: pair `a` is `a1`, `a2`,
# pair `b` is `b1`, `b2`. Repeat them in the two ways. Which line is right?

# %%
names = np.array([["a1", "a2"], ["b1", "b2"]])  # (Hkv, 2)
as_pairs = np.repeat(names, 2, axis=0)
as_single = np.repeat(names.reshape(4), 2).reshape(4, 2)
print("branches (1, 2) of head   0        1        2        3")
for name, who in (("pairs", as_pairs), ("single heads", as_single)):
    print(f"{name:22s}", *(f"  ({a} {b})" for a, b in who))

# %% [markdown]
# The first. In the second, both branches of head 0 read `a1`, both of head 1
# read `a2`, and no head sets one against the other. This is the trap of the
# cold open: one file of the official code repeats single heads, the two
# others keep the pairs [U], and so do later libraries [HF] [VL]. Without
# groups nothing is repeated and the files agree, so a test without groups sees
# nothing. Chapter 8 repairs the trap in a program.
#
# ### Exercise 5.3: repeat pairs
#
# *Easy, 5 minutes.* NumPy's `repeat` is `repeat_interleave` in PyTorch;
# PyTorch's own `.repeat` tiles.


# %% tags=["stub:5.3"]
def repeat_pairs(k: Tensor, H: int) -> Tensor:
    """Return k (B, Hkv, 2, S, D) written out for H heads: (B, H, 2, S, D).

    Heads share keys in groups of H / Hkv neighbours: the first group reads
    pair 0, the next one pair 1. Branch 1 reads branch 1, branch 2 branch 2.
    """
    # your code


# %% tags=["check:5.3"]
check.ex05_3(repeat_pairs)

# %% [markdown]
# ## The ladder
#
# How do we know that the module is right? We compare it with something slower
# that is easier to believe. At the bottom are Python loops. Above them is
# NumPy, with the gradients of chapter 4. The module is on top. (Between them
# stands the operator. Chapter 6 compares its several ways to compute.)
#
# All in float64, four heads on two key heads. First the module's weights as
# arrays, and queries, keys and values from them in NumPy.

# %%
torch.manual_seed(1)
module = DiffHeads(32, 4, 2, depth=3).double()
nn.init.normal_(module.norm_weight)
W = {n: p.detach().numpy() for n, p in module.named_parameters()}
rng = np.random.default_rng(11)
x = rng.normal(size=(2, 7, 32))


def project(name: str, *shape: int) -> np.ndarray:
    y = (x @ W[name + ".weight"].T).reshape(2, 7, *shape)
    return np.moveaxis(y, 1, -2)


q, k = project("q_proj", 4, 2, 4), project("k_proj", 2, 2, 4)
v = project("v_proj", 2, 8)

# %% [markdown]
# Lambda and the norm come next, then loops and NumPy. Note `h // 2`: heads 0
# and 1 read pair 0.

# %%
names = [n for n in W if n.startswith("lambda")]  # q1, k1, q2, k2
lq1, lk1, lq2, lk2 = (W[n] for n in names)
lam = reference.lambda_value(lq1, lk1, lq2, lk2, module.lam_init)
norm = {"norm_weight": W["norm_weight"], "norm_scale": 1 - module.lam_init}
loops = np.zeros((2, 4, 7, 8))
for b, h in np.ndindex(2, 4):
    (q1, q2), (k1, k2) = q[b, h], k[b, h // 2]
    loops[b, h] = reference.diff_head_loops(q1, k1, q2, k2, v[b, h // 2], lam)
loops = np.stack(
    [reference.headwise_norm_loops(o, *norm.values()) for o in loops]
)
arrays = reference.diff_attention(q, k, v, lam, **norm)

# %% [markdown]
# Now the gradients. Let the loss be $\sum G \cdot y$, where $y$ is the
# module's output, `(B, T, E)`, and $G$ is random. A linear layer
# $y = z W^\top$ sends the gradient $G W$ down to $z$, and its weight gets
# $G^\top z$, summed over all tokens (equation 4.2). So we go through the output
# matrix; through the heads with `diff_attention_backward`, which is chapter 4
# for many heads; and on to the other three matrices and to lambda's vectors
# (exercise 4.3).

# %%
G = rng.normal(size=(2, 7, 32))
dheads = (G @ W["out_proj.weight"]).reshape(2, 7, 4, 8).swapaxes(1, 2)
grads = reference.diff_attention_backward(dheads, q, k, v, lam, **norm)
merged = arrays.swapaxes(1, 2).reshape(14, 32)  # one row a token
want = {"out_proj.weight": G.reshape(14, 32).T @ merged}
for n in "qkv":
    dy = np.moveaxis(getattr(grads, n), -2, 1).reshape(14, -1)
    want[n + "_proj.weight"] = dy.T @ x.reshape(14, 32)
e1, e2 = np.exp(lq1 @ lk1), np.exp(lq2 @ lk2)
slopes = e1 * lk1, e1 * lq1, -e2 * lk2, -e2 * lq2
want |= {n: grads.lam * s for n, s in zip(names, slopes, strict=True)}
want["norm_weight"] = grads.norm_weight

# %% [markdown]
# On the module's side autograd does all that.

# %%
y = module(torch.from_numpy(x))
(y * torch.from_numpy(G)).sum().backward()
out = (merged @ W["out_proj.weight"].T).reshape(2, 7, 32)
ladder = {"loops -> NumPy": loops - arrays}
ladder["NumPy -> module"] = y.detach().numpy() - out
for n, parameter in module.named_parameters():
    ladder[f"gradient of {n}"] = parameter.grad.numpy() - want[n]
for name, gap in ladder.items():
    assert np.abs(gap).max() < 1e-12, name
    print(f"{name:27s} differ by < 1e-12")

# %% [markdown]
# ### The control that fails
#
# A test that cannot fail shows nothing. So break the NumPy side on purpose,
# in four ways that all run, and look at the same difference.

# %%
heads_np = reference.diff_attention
by_halves = q.reshape(2, 2, 4, 7, 4).swapaxes(1, 2)
single = np.repeat(k.reshape(2, 4, 7, 4), 2, 1).reshape(q.shape)
raw = heads_np(q, k, v, lam)
size = np.sqrt((raw**2).mean((1, 3), keepdims=True) + 1e-5)
one_norm = norm["norm_scale"] * raw / size * W["norm_weight"]
rounded = float(np.float32(lam))
broken = {
    "queries by halves": heads_np(by_halves, k, v, lam, **norm),
    "single keys": heads_np(q, single, np.repeat(v, 2, 1), lam, **norm),
    "one norm for all heads": one_norm,
    "lambda in float32": heads_np(q, k, v, rounded, **norm),
}

# %%
for name, wrong in broken.items():
    gap = np.abs(wrong - arrays).max()
    print(f"{name:24s} differs by {gap:.1g}")
    assert gap > 0.1 or ("float32" in name and 1e-12 < gap < 1e-6)

# %% [markdown]
# The first three would be seen in any precision. The last one, a lambda kept
# with 7 digits, is no larger than float32's own rounding: only float64 shows
# it. That is why the ladder is climbed in float64.
#
# ## The second version, in short
#
# In January 2026 the authors published a second version, V2, as a post and
# code [B2] [U-V2]. What changed, in shapes:
#
# | | V1 | V2 |
# |---|---|---|
# | queries | `(B, H, 2, T, D)` | `(B, H, 2, T, D)` |
# | keys | `(B, Hkv, 2, S, D)` | `(B, Hkv, 1, S, D)`: shared by both branches |
# | values | `(B, Hkv, S, 2D)` | `(B, Hkv, S, D)` |
# | lambda | one a layer | `(B, H, T)`: sigmoid of $x W_\lambda$ |
# | headwise norm | yes | no |
# | output matrix | $E \to E$ | $H D \to E$ |
#
# The sigmoid $1 / (1 + e^{-s})$ lies between 0 and 1, so each token and head
# chooses how much to subtract, and depth plays no part. The operator is the
# same one: it takes keys with one branch, and lambda with three axes. Why the
# authors changed the layer is in chapters 6 and 7.

# %%
v2 = minidiff.MultiheadDiffAttentionV2(E, H)
print("V1", count(diff), " V2", count(v2), " plain", count(plain))
assert count(v2) == E**2 + 2 * E * H * D + H * D * E + E * H

# %% [markdown]
# V2 has fewer parameters: its keys, values and output matrix are half as
# large. So with these sizes it is *not* matched with the plain layer, and in
# a comparison the saved parameters have to be spent elsewhere.
#
# ### Exercise 5.4: the whole of V2
#
# *Medium, 15 minutes.* Write the shape beside each line of `forward`. The
# operator does the attention.


# %% tags=["stub:5.4"]
class DiffHeadsV2(nn.Module):
    """Differential attention V2: H heads, Hkv key/value heads, causal."""

    def __init__(self, E: int, H: int, Hkv: int) -> None:
        super().__init__()
        self.H, self.Hkv, self.D = H, Hkv, E // (2 * H)
        self.q_proj = nn.Linear(E, H * 2 * self.D, bias=False)
        self.k_proj = nn.Linear(E, Hkv * self.D, bias=False)
        self.v_proj = nn.Linear(E, Hkv * self.D, bias=False)
        self.lambda_proj = nn.Linear(E, H, bias=False)
        self.out_proj = nn.Linear(H * self.D, E, bias=False)

    def split(self, y: Tensor, *shape: int) -> Tensor:
        """Cut the last axis of y (B, T, n) into shape; tokens to axis -2."""
        return y.unflatten(-1, shape).movedim(1, -2)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, E) for x (B, T, E)."""
        # your code


# %% tags=["check:5.4"]
check.ex05_4(DiffHeadsV2)

# %% [markdown]
# ## A check of this chapter
#
# Our class and `minidiff`'s get the same weights, through `state_dict`, and
# must give the same bits, values and gradients.

# %%
theirs = minidiff.MultiheadDiffAttention(32, 4, 2, depth=3).double()
theirs.load_state_dict(module.state_dict())
outputs = []
for m in (module, theirs):
    m.zero_grad()
    y, maps = m(torch.from_numpy(x), return_maps=True)
    (y * torch.from_numpy(G)).sum().backward()
    outputs.append([y, *maps, *(p.grad for p in m.parameters())])
assert all(a.equal(b) for a, b in zip(*outputs, strict=True))
rows = outputs[0][3].sum(-1)
assert torch.allclose(rows, 1 - module.lam().detach().expand_as(rows))
print("this chapter's module and minidiff's are equal")

# %% [markdown]
# ## Common mistakes
#
# - **Halving the heads and the width.** Count the parameters: $4E^2 + 6D$.
# - **Repeating single key heads.** Heads share pairs. Test with groups.
# - **`reshape` where an axis must move.** `(B, T, E)` reshaped to
#   `(B, H, 2, T, D)` has the right shape and mixes tokens with heads.
# - **A tensor that should be a parameter.** It is not trained and not saved.
# - **`.item()` on lambda.** A Python number has no gradient.
# - **Lambda of shape `(H,)`.** It would be lined up with the tokens, the last
#   axis of `(B, H, T)`. The operator refuses it: give `(1, H, 1)`.
# - **A parity test in float32.** Rounding hides small errors. Use float64.
#
# ## Summary
#
# - A tensor is an array, autograd is the chain rule on a record, a module is
#   parameters with a function.
# - A differential layer has half the heads, each with two branches of the
#   full width $D$ and values $2D$ wide. It has $6D$ parameters more than the
#   plain layer it is matched with.
# - The branches have an axis of their own: `(B, H, 2, T, D)`.
# - Grouped heads share pairs of keys, branch by branch.
# - Lambda is four vectors and a constant. The vectors are learned, the
#   constant is not.
# - The values agree on every rung of the ladder, and the gradients of all nine
#   parameters with chapter 4's. Four broken versions do not agree.
#
# ## Further reading
#
# - The authors' code, `microsoft/unilm`, folder `Diff-Transformer`: read the
#   naive file beside the two others, and find the line with the trap. [U]
# - Ye et al., *Differential Transformer*, arXiv 2410.05258, section 2.1 and
#   the appendix with code. [P]
# - *Differential Transformer V2*, the authors' post: the reasons for the
#   changes above. [B2]
# - Ainslie et al., *GQA*, arXiv 2305.13245: where grouped queries come from.
# - The PyTorch tutorial *Autograd mechanics*, when you want to know what the
#   record looks like.
