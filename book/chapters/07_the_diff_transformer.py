# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 7. The DIFF Transformer
#
# By the end of this chapter you will have built a whole DIFF Transformer,
# mostly out of parts that you wrote yourself, and shown that with equal
# weights it computes the same logits as `minidiff`'s model.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - derive rotary positions, and test them;
# - put a layer together from norms, attention and SwiGLU;
# - compute cross-entropy and perplexity, and predict them for a new model;
# - count a model to the last parameter, and check a paper's table;
# - write the whole model as one class, and test it.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | modules, heads and pairs; exercises 5.1 and 5.2 | attention | chapter 5 |
# | lambda and the headwise norm | attention | chapter 3 |
# | cosine, logarithm | rotations, losses | school |

# %%
from collections.abc import Callable
from dataclasses import replace
from math import cos, log, pi

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

# %%
from minidiff import DecoderLM, ModelConfig, MultiheadAttention, check
from minidiff import MultiheadDiffAttention, diff_attention, lambda_init, plots
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course import diagrams
from minidiff.nn.config import count_parameters
from minidiff.nn.layers import SwiGLU, rope_angles

plots.use_style("svg")

# %% [markdown]
# ## A cold open: who bites whom?
#
# Take the layer of chapter 5, give each word a random vector, and let it read
# two sentences: *dog bites man.* and *man bites dog.* Predict: how far apart
# are its outputs at the full stop? (`rope` is left out until the layer has
# positions.)

# %%
torch.manual_seed(0)
layer = MultiheadDiffAttention(16, 2, depth=0).double()
dog, bites, man, stop = torch.randn(4, 16).double()
one = torch.stack([dog, bites, man, stop])  # (T, E)
other = torch.stack([man, bites, dog, stop])


def gap_at_the_stop(rope: tuple[Tensor, Tensor] | None = None) -> str:
    out = layer(torch.stack([one, other]), rope=rope)[:, -1]
    gap = (out[0] - out[1]).abs().max()
    return "< 1e-12" if gap < 1e-12 else f"{gap:.2f}"


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
print("the outputs differ by", gap_at_the_stop())
print(f"size of an output: {layer(one[None]).square().mean().sqrt():.2f}")

# %% [markdown]
# They are equal. Attention is a weighted sum over keys, and a sum has no
# order. The causal mask only says which keys are in the sum, and for the last
# query all of them are. So the layer cannot tell who bites.
#
# ## The plan
#
# The layer must be told where its tokens stand. And a model needs more than
# attention:

# %% mystnb={"image": {"alt": "Two rows. Above, the model as a chain: tokens (B, T), embedding (B, T, E), block 0, block 1 and so on, norm, head, logits (B, T, V). Below, block 0 enlarged: a straight line, the residual stream, runs from x on the left to x' on the right. A branch leaves the line, goes through a norm and through attention, and is added back to the line. A second branch after it does the same with a norm and SwiGLU."}}
diagrams.show_model()
plt.show()

# %% [markdown]
# Each token becomes a vector of width $E$, the *embedding* of its id. The
# blocks change these vectors, one block after the other. A last norm sets
# their size, and the *head*, a matrix, makes $V$ numbers of each vector, one
# for each token that might come next: the *logits*.
#
# You have written parts of this already. From here on the course uses *your*
# functions: `check.mine` loads the answer that was kept when its check passed,
# or takes the course's solution, and says which.

# %%
LearnedLambda = check.mine("5.1")
split_pairs = check.mine("5.2")

# %% [markdown]
# ## Positions as rotations
#
# The score of query $t$ for key $s$ should depend on the *distance* $t - s$
# and not on $t$ and $s$ themselves. Then what is learned at the start of a
# text holds at its end.
#
# Begin with $D = 2$: a query and a key are arrows in the plane. Turn each
# arrow by $\theta$ times its position: the query by $t\theta$, the key by
# $s\theta$. Here $\theta$ is 30 degrees, and before turning both arrows
# point to the right. Compare the first two pictures.

# %% mystnb={"image": {"alt": "Three circles with an arrow q and an arrow k each, and their angles. At t = 3, s = 1 q stands at 90 degrees and k at 30, 60 apart. At t = 8, s = 6 q stands at 240 and k at 180, 60 apart again; the score is 0.50 in both. At t = 8, s = 3 they are 150 degrees apart and the score is -0.87."}}
diagrams.show_turned((3, 1), (8, 6), (8, 3))
plt.show()

# %% [markdown]
# From the first picture to the second both arrows turn on by five steps, 150
# degrees. The angle between them stays, and so does the score, their dot
# product. In the third the distance is 5 instead of 2, and the score changes.
#
# As a formula: let $R(\alpha)$ turn an arrow by $\alpha$,
#
# $$
# R(\alpha)\,(a, b)
# = (a\cos\alpha - b\sin\alpha,\; a\sin\alpha + b\cos\alpha)
# \tag{7.1}
# $$
#
# Turning two arrows by the same angle leaves their dot product as it was. So
# turn both by $-t\theta$: the query is back where it stood, and the key is
# turned by $(s - t)\,\theta$:
#
# $$
# R(t\theta)\,q \cdot R(s\theta)\,k = q \cdot R\big((s - t)\,\theta\big)\,k
# \tag{7.2}
# $$
#
# One angle is not enough. With 30 degrees a step, what is the score at
# distance 12?

# %%
for distance in (0, 2, 5, 12):
    print(f"distance {distance:2d}: score {cos(distance * pi / 6):.2f}")

# %% [markdown]
# Distance 12 looks like distance 0, because the arrow has gone once around. A
# clock has the same problem, and therefore has several hands: a fast one for
# short times and slow ones for long times. In the same way we cut the $D$
# channels into $D / 2$ pairs, and turn pair $i$ at a speed of its own, in
# radians a token:
#
# $$
# \theta_i = b^{-2i/D}, \qquad i = 0, \ldots, D/2 - 1
# \tag{7.3}
# $$
#
# Pair $i$ is channels $2i$ and $2i + 1$, here and in the official code [U].
# Elsewhere it is channels $i$ and $i + D/2$ [HF]. Weights trained with one
# pairing are wrong with the other, and no error says so.
#
# The base $b$ is a field of the configuration, `rope_base`. Usually it is
# 10000. The paper names its base only once: 640,000, for texts of 64K tokens
# [P].


# %% tags=["same:minidiff.check.ex07.transformer.angles"]
def angles(positions: Tensor, D: int, base: float = 10000.0) -> Tensor:
    """Angle of each position and pair: (T, D / 2)."""
    i = torch.arange(D // 2, dtype=torch.float64)
    return positions[:, None] * base ** (-2 * i / D)


# %%
for i, speed in enumerate(angles(torch.ones(1), 8)[0]):
    print(f"pair {i}: {speed:.3f} a token, around in {2 * pi / speed:.0f}")

# %% [markdown]
# ### Exercise 7.1: turn the pairs
#
# *Medium, 10 minutes.* Equation 7.1, for all pairs at once.


# %% tags=["stub:7.1"]
def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of channels of x (..., T, D) by its angle.

    cos and sin are (T, D / 2): row t for position t, column i for pair i,
    which is channels 2i and 2i + 1. The channels keep their places.
    """
    # your code


# %% tags=["check:7.1"]
check.ex07_1(rotate)

# %%
rotate = check.mine("7.1")

# %% [markdown]
# What do many pairs give together? Take a $q$ and a $k$ whose entries are all
# equal, scaled so that the score at distance 0 is 1. Sketch how the score
# depends on the distance: for the fastest pair, for the slowest, and for the
# mean of all pairs.

# %% mystnb={"image": {"alt": "Score against distance from 0 to 64. The fastest pair swings between 1 and -1 all the way. The slowest pair stays at 1. The mean of all 16 pairs falls from 1 to about 0.7 within four tokens, then slowly and with swings, between about 0.3 and 0.7; at distance 64 it is about 0.5."}} tags=["hide-output"] jupyter={"outputs_hidden": true}
waves = angles(torch.arange(65), 32).cos()  # (distances, pairs)
plt.plot(waves.mean(-1), label="all 16 pairs")
plt.plot(waves[:, 0], label="fastest", linewidth=1)
plt.plot(waves[:, -1], label="slowest")
plt.gca().set(xlabel="distance", ylabel="score")
plt.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
plt.show()

# %% [markdown]
# The fast pair tells neighbours apart and repeats. The slow pair hardly
# changes over a text, so it can compare meanings at any distance.
# The mean of all falls quickly over the first few tokens, then slowly, with
# swings: such a query prefers what is near. Other $q$ and $k$ can prefer
# another distance, and learning decides which.
#
# ### The control that fails
#
# A differential head turns both queries and both keys by the same angles, and
# the values not at all. Test it: read six tokens at positions 0 to 5, and
# again at 100 to 105. The distances are the same, so the output must not
# change. Predict whether two other ways pass: turning queries only, and
# turning values as well.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
q, k = torch.randn(2, 1, 2, 2, 6, 8).double()  # (B, H, 2, T, D) each
v = torch.randn(1, 2, 6, 16).double()
for names in ("qk", "q", "qkv"):
    outputs = []
    for start in (0, 100):
        parts = {"q": q, "k": k, "v": v}
        for name in names:
            a = angles(start + torch.arange(6), parts[name].shape[-1])
            parts[name] = rotate(parts[name], a.cos(), a.sin())
        outputs.append(diff_attention(**parts, lam=0.8))
    moved = (outputs[0] - outputs[1]).abs().max()
    change = "< 1e-12" if moved < 1e-12 else f"{moved:.2f}"
    print(f"turning {names:3s}: the output changes by {change}")

# %% [markdown]
# Only turning queries and keys passes. If queries alone are turned, a score
# depends on the query's position. Turned values carry their absolute angle
# into the sum. And the sentences of the cold open? Now the layer gets angles
# for its four positions.

# %%
rope = rope_angles(4, 4)  # four positions, D = 4
print("with positions they differ by", gap_at_the_stop(rope))

# %% [markdown]
# It can tell who bites.
#
# ## One block
#
# Attention moves information between tokens. The other part of a block works
# on each token alone: *SwiGLU* (Shazeer, 2020) makes two vectors of an inner
# width $F$, multiplies them entry by entry ($\odot$), and goes back to $E$:
#
# $$
# \big(\operatorname{silu}(x W_{\text{gate}}) \odot x W_{\text{up}}\big)
# W_{\text{down}},
# \qquad \operatorname{silu}(s) = \frac{s}{1 + e^{-s}}
# \tag{7.4}
# $$
#
# For large $s$, silu is nearly $s$. For very negative $s$ it is nearly 0, and
# the gate is shut. The paper takes $F = \frac83 E$ [P, sec. 2]: the three
# matrices then hold $3 E F = 8 E^2$ numbers, as many as the two of a plain
# network with inner width $4E$. `minidiff` rounds $F$ up to a multiple of 8.

# %%
ffn, x = SwiGLU(64), torch.randn(5, 64)
gate, up = ffn.gate_proj(x), ffn.up_proj(x)
by_hand = ffn.down_proj(gate / (1 + (-gate).exp()) * up)
assert torch.allclose(by_hand, ffn(x), atol=1e-6)
print("F for E = 64:", gate.shape[-1])

# %% [markdown]
# Attention and SwiGLU both read their input through an *RMSNorm* (chapter 3):
# a token's $E$ numbers are divided by their root mean square, then multiplied
# by $E$ learned weights. So both see a vector's direction, not its length.
#
# What they compute is *added* to what came in. The straight line in the
# picture, from the first block to the last, is the *residual stream*. Both
# read from it and add to it, and no norm stands on it (*pre-norm*).
#
# ### Exercise 7.2: the order of a block
#
# *Easy, 5 minutes.* Four functions, each used once.

# %%
Part = Callable[[Tensor], Tensor]  # from vectors to vectors


# %% tags=["stub:7.2"]
def one_layer(
    x: Tensor, norm1: Part, attention: Part, norm2: Part, ffn: Part
) -> Tensor:
    """Return the output (B, T, E) of one pre-norm layer for x (B, T, E).

    norm1, attention, norm2 and ffn are functions from (B, T, E) to the same.
    """
    # your code


# %% tags=["check:7.2"]
check.ex07_2(one_layer)

# %%
one_layer = check.mine("7.2")

# %% [markdown]
# ### Attention from your parts
#
# The next class does the three steps of chapter 5 (project and split, attend,
# merge), and rotates queries and keys after the first. It extends your
# `LearnedLambda`, so the four vectors are called `lambda_q1` and so on, as in
# `minidiff`, and `super().forward()` returns lambda.


# %% tags=["same:minidiff.check.ex07.transformer.DiffAttention"]
class DiffAttention(LearnedLambda):
    """A differential layer: lambda's vectors and four matrices."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        E, D = config.embed_dim, config.head_dim
        super().__init__(D, layer)
        self.H, self.eps = config.heads, config.norm_eps
        self.norm_scale = 1 - lambda_init(layer)
        self.norm_weight = nn.Parameter(torch.ones(2 * D))
        self.q_proj = nn.Linear(E, E, bias=False)
        self.k_proj = nn.Linear(E, E, bias=False)
        self.v_proj = nn.Linear(E, E, bias=False)
        self.out_proj = nn.Linear(E, E, bias=False)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        """Return (B, T, E) for x (B, T, E); rope is cos and sin."""
        lam = super().forward()
        q = rotate(split_pairs(self.q_proj(x), self.H), *rope)
        k = rotate(split_pairs(self.k_proj(x), self.H), *rope)
        v = self.v_proj(x).unflatten(-1, (self.H, -1)).transpose(1, 2)
        heads = diff_attention(
            q,
            k,
            v,
            lam,
            norm_weight=self.norm_weight,
            norm_scale=self.norm_scale,
            eps=self.eps,
        )  # (B, H, T, 2D)
        return self.out_proj(heads.transpose(1, 2).flatten(2))


# %% [markdown]
# A `ModelConfig` is a list of sizes with checks. `num_heads` counts plain
# heads. `heads` is the number of heads that a layer really has, half as many
# if it is differential. `head_dim` is $D$, the same for both.
#
# For the plain twin we take `minidiff`'s layer. The number of the block
# matters to the differential kind only: it sets $\lambda_{\text{init}}$.


# %% tags=["same:minidiff.check.ex07.transformer.Block"]
class Block(nn.Module):
    """Layer number ``layer`` of a model, counted from 0."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        E, eps = config.embed_dim, config.norm_eps
        self.attention_norm = nn.RMSNorm(E, eps=eps)
        self.attention = (
            DiffAttention(config, layer)
            if config.attention == "diff"
            else MultiheadAttention(E, config.heads)
        )
        self.ffn_norm = nn.RMSNorm(E, eps=eps)
        self.ffn = SwiGLU(E, config.ffn_dim)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        """Return (B, T, E) for x (B, T, E); rope is cos and sin."""

        def attention(y: Tensor) -> Tensor:
            return self.attention(y, rope=rope)

        return one_layer(
            x, self.attention_norm, attention, self.ffn_norm, self.ffn
        )


# %%
config = ModelConfig(embed_dim=64, num_heads=4, num_layers=2)
block, x = Block(config, layer=0), torch.randn(3, 10, 64)
a = angles(torch.arange(10), config.head_dim)
rope = a.cos().float(), a.sin().float()
print("x", tuple(x.shape), " block(x, rope)", tuple(block(x, rope).shape))

# %% [markdown]
# ## The loss, and perplexity
#
# Before the blocks become a model, two questions: how is a model judged, and
# how large is it? It is judged by the token that really came. A softmax turns
# the logits $z$ of a position into probabilities. The loss is minus the
# logarithm of the probability of that token $y$:
#
# $$
# \ell = -\ln p_y = \ln \sum_j e^{z_j} - z_y,
# \qquad \text{perplexity} = e^{\text{mean of } \ell}
# \tag{7.5}
# $$
#
# The mean of $\ell$ over all positions is the *cross-entropy*, in *nats*
# because the logarithm is natural. Take three tokens, and at two positions the
# probabilities $(\frac12, \frac14, \frac14)$. At the first position the token
# with $\frac12$ comes, at the second one with $\frac14$. What is the
# perplexity?

# %%
losses = torch.tensor([1 / 2, 1 / 4]).log().neg()
print(f"losses {losses[0]:.3f} and {losses[1]:.3f}, mean {losses.mean():.3f}")
print(f"perplexity {losses.mean().exp():.3f}, root(2 x 4) = {8**0.5:.3f}")

# %% [markdown]
# A perplexity of $n$ means: as unsure as an even guess among $n$ tokens. Here
# it is the geometric mean of 2 and 4.
#
# ### Exercise 7.3: loss and perplexity
#
# *Medium, 10 minutes.* Logits can be large, and $e^{1000}$ overflows. Make it
# safe. PyTorch's `cross_entropy` would pass; write it out from equation 7.5
# once, to know what it does.


# %% tags=["stub:7.3"]
def loss_and_perplexity(
    logits: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy in nats, and the perplexity.

    logits (N, V), which may be in the thousands; targets (N,): for each row
    the id of the right token.
    """
    # your code


# %% tags=["check:7.3"]
check.ex07_3(loss_and_perplexity)

# %% [markdown]
# ## Counting, to the last parameter
#
# What has parameters? The embedding is a matrix of $V$ rows. After the last
# block stands one more norm. The output head compares each position's vector
# with a vector for each of the $V$ tokens, by dot products. Most small models
# use the embedding's own rows for that: the head is then *tied* and has no
# parameters.
#
# ### Exercise 7.4: count a model
#
# *Medium, 5 minutes.* The two classes above show what is in a block.


# %% tags=["stub:7.4"]
def parameters(V: int, E: int, L: int, D: int, F: int, diff: bool) -> int:
    """Return the number of parameters of a model without biases.

    V tokens, width E, L layers, branch width D, inner width F of SwiGLU. The
    embedding serves as the output matrix too. Plain: E / D heads of width D.
    With diff: half as many differential heads, V1.
    """
    # your code


# %% tags=["check:7.4"]
check.ex07_4(parameters)

# %% [markdown]
# Now the paper's models, in billions, with $V = 100{,}288$ and $F = \frac83 E$
# [P]. *off* is the counted size less the stated one. The last row is the main
# model; the paper's text gives its size as about 2.8 [P, sec. 3.1]. Estimate
# one row before you look.

# %%
print("stated width layers heads    D counted    off  without embedding")
for stated, E, L, H in (
    (0.83, 1536, 24, 8),
    (1.4, 2048, 24, 8),
    (2.8, 2560, 32, 10),
    (6.8, 4096, 32, 16),
    (13.1, 5120, 40, 20),
    (2.8, 3072, 28, 12),  # the main model
):
    sizes = {"vocab_size": 100_288, "embed_dim": E, "num_layers": L}
    n = count_parameters(ModelConfig(**sizes, num_heads=2 * H))
    off = round(n / 1e9 - stated, 2) + 0.0  # no minus before 0.00
    line = f"{stated:6} {E:5d} {L:6d} {H:5d} {E // H // 2:4d}"
    print(f"{line} {n / 1e9:7.2f} {off:6.2f} {(n - 100_288 * E) / 1e9:8.2f}")
    assert (abs(off) < 0.065) == (E != 3072)

# %% [markdown]
# The first five rows, Table 10 of the paper, agree to within 0.06 billion. The
# main model does not: with the sizes of Table 9, where $F$ is $\frac83 E$ too,
# it has 3.48 billion parameters, or 3.17 without the embedding [P]. The
# paper's text and its table cannot both be right; we do not know which is.
#
# ## The whole model
#
# All parts are there now. One decision is left: how the weights start.
# `minidiff` draws the embedding and all matrices as normal numbers with
# standard deviation 0.02, a common choice. The paper does not state its own.
# The weights of norms stay at 1, and lambda's vectors keep the standard
# deviation 0.1 of exercise 5.1, which is the official code's [U].
#
# ### Exercise 7.5: your model
#
# *Hard, 20 minutes.* Use `Block` and `angles`. The angles are float64, and
# `.to(x)` gives their cosines and sines the dtype of `x`. With `minidiff`'s
# names for the parts your weights fit into its model, and chapters 15 and 16
# rely on that. The stub names the fields of the `ModelConfig` that you need;
# the rest are for `Block` and for experiments.


# %% tags=["stub:7.5"]
class Transformer(nn.Module):
    """A language model, plain or differential, as a ModelConfig says.

    self.config keeps the ModelConfig: chapter 15 reads it. The parts have
    minidiff's names: embedding, blocks, norm and head. blocks is an
    nn.ModuleList of Block; head is None if config.tie_embeddings, else an
    nn.Linear without bias. Embedding and matrices start as normal numbers
    with standard deviation 0.02.

    Read from the config: vocab_size, embed_dim, num_layers, head_dim,
    norm_eps, rope_base and tie_embeddings.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        # your code

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits (B, T, V) for tokens (B, T)."""
        # your code


# %% tags=["check:7.5"]
check.ex07_5(Transformer)

# %% [markdown]
# ## Test it
#
# That a model runs does not make it right. Three tests: do its weights fit
# into `minidiff`'s model, name by name? Are the logits the same then? Does a
# position see later tokens? With the small initial weights some parts would
# hardly change the logits, so every matrix is multiplied by ten, and every
# entry of a vector by a random number near 1. Both models compute in float64.
# But `minidiff` has rounded its cosines and sines to float32 before, so the
# test asks for agreement to 1e-5, not to 1e-12.

# %%
Transformer = check.mine("7.5")
torch.manual_seed(0)
mine = Transformer(config).double()
with torch.no_grad():
    for p in mine.parameters():
        p.mul_(10 if p.ndim == 2 else 0.5 + torch.rand_like(p))
weights, row = mine.state_dict(), torch.randint(0, 256, (2, 32))


def gap(config: ModelConfig) -> float:
    """Largest difference of logits, my weights in minidiff's model."""
    theirs = DecoderLM(config).double()
    theirs.load_state_dict(weights)  # raises an error if a name differs
    with torch.no_grad():
        return (theirs(row) - mine(row)).abs().max().item()


# %%
assert gap(config) < 1e-5
print(len(weights), "tensors fit by name, and the logits agree to 1e-5")
changed = row.clone()
changed[:, -1] += 1
with torch.no_grad():
    before = (mine(changed % 256) - mine(row))[:, :-1].abs().max()
assert before < 1e-9
print("another last token changes no logit before it")

# %% [markdown]
# ### A second control that fails
#
# Is the second test needed, if all names fit? Give `minidiff`'s model your
# weights, but change one number of its configuration. Predict which of these
# are refused when the weights are loaded.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for name, value in {
    "rope_base": 100.0,
    "lam_init": 0.2,  # every block as block 0
    "norm_eps": 0.1,
    "second_map": "add",  # A1 + lambda A2 instead of A1 - lambda A2
}.items():
    moved = gap(replace(config, **{name: value}))
    print(f"{name:10s} {value!s:5s} logits differ by {moved:.1g}")

# %% [markdown]
# None is refused. The weights fit, but the model computes something else. That
# names and shapes fit says little: compare outputs.
#
# ## Before training
#
# Your model exists, and it can write. Its 256 tokens, the default of
# `ModelConfig`, are the bytes. Give it one, draw the next from its
# probabilities, append it, and go on.

# %% tags=["nbval-ignore-output"]
model, text = Transformer(config), torch.tensor([[ord("I")]])
with torch.no_grad():
    for _ in range(40):
        probabilities = model(text)[0, -1].softmax(-1)
        text = torch.cat([text, torch.multinomial(probabilities, 1)[None]], 1)
print(bytes(text[0].tolist()))

# %% [markdown]
# Noise. The model needs no new parts to write words, only other numbers in its
# weights. Chapters 14 and 15 train it.
#
# A model that knows nothing guesses evenly, and an even guess loses $\ln V$.
# So the first number of a training is known before it begins. If it is far
# off, look for a bug. (Each row of random tokens below gives inputs and, moved
# by one place, targets.)

# %%
loss_and_perplexity = check.mine("7.3")
for V in (100, 1000, 10_000):
    model = Transformer(replace(config, vocab_size=V))
    row = torch.randint(0, V, (8, 65))
    with torch.no_grad():
        logits = model(row[:, :-1]).flatten(0, 1)
    loss, _ = loss_and_perplexity(logits, row[:, 1:].flatten())
    print(f"V = {V:5d}: ln V = {log(V):.1f}, loss {loss:.1f}")
    assert abs(loss - log(V)) < 0.1

# %% [markdown]
# ## A check of this chapter

# %%
theirs, ours = MultiheadDiffAttention(64, 2, depth=1), DiffAttention(config, 1)
ours.load_state_dict(theirs.state_dict())
x = torch.randn(2, 10, 64)
assert torch.allclose(theirs(x, rope=rope), ours(x, rope=rope), atol=1e-5)
print("the attention is that of minidiff, as the logits were above")

# %% [markdown]
# ## Common mistakes
#
# - **No norm after the last block.** All shapes fit without it.
# - **Every block as block 0.** Then all have the same $\lambda_{\text{init}}$.
# - **PyTorch's default for the embedding**, a standard deviation of 1. With a
#   tied head the first loss is then far above $\ln V$.
# - **Softmax, then logarithm.** Small probabilities round to 0, and their
#   logarithm is infinite. Use `logsumexp`.
#
# ## Summary
#
# - Queries and keys are turned by their positions, so that a score depends on
#   their distance.
# - A block is attention and SwiGLU, each reading through a norm and adding to
#   the stream.
# - The loss starts at $\ln V$, and perplexity is its exponential.
# - The two kinds differ by $6D$ parameters a block.
# - Weights that fit do not make a model right: compare logits.

# %% [markdown]
# ## Optional: how much attention adds
#
# *The chapter ends here; this section is for another day.*
#
# The two kinds differ before they have learned anything. How large is the
# output of attention in block 0, the first thing that is added to the stream?
# Here the *size* of a vector means the root mean square of its entries. For
# the plain layer the answer takes three steps:
#
# 1. *Values.* After the norm a token's $E$ entries have size about 1. A value
#    is a sum of $E$ products of them with weights of standard deviation
#    $\sigma$, so its size is $u = \sigma\sqrt E$.
# 2. *Map.* An untrained map is nearly flat. At position $t$ it takes the mean
#    of $t$ random values, which has size $u / \sqrt t$.
# 3. *Output matrix.* As in step 1, the size is multiplied by $u$. The plain
#    layer adds $u^2 / \sqrt t$.
#
# In a differential layer the headwise norm stands between steps 2 and 3. It
# sets every head to size 1, however small the mean was, and the factor
# $1 - \lambda_{\text{init}}$ makes it 0.8 in block 0. Predict: what does the
# differential layer add, and how does that depend on $t$?
#
# For the test, both layers read the same kind of rows: 256 random tokens,
# $E = 128$.

# %%
sizes = {}  # kind: size of the attention's output at each position
wide, a = replace(config, embed_dim=128), angles(torch.arange(256), 32).float()
for kind in ("softmax", "diff"):
    block = Transformer(replace(wide, attention=kind)).blocks[0]
    with torch.no_grad():
        x = block.attention_norm(torch.randn(8, 256, 128))
        out = block.attention(x, rope=(a.cos(), a.sin()))
    sizes[kind] = out.square().mean((0, 2)).sqrt()  # (T,)

# %% mystnb={"image": {"alt": "Size of the attention output of block 0 against position, both axes logarithmic. The plain curve falls in a straight line from 0.05 to about 0.003. The differential curve stays level near 0.18. Dotted predictions lie on both curves."}} tags=["hide-output"] jupyter={"outputs_hidden": true}
t, u, factor = torch.arange(1, 257), 0.02 * 128**0.5, 1 - lambda_init(0)
predicted = {"softmax": u**2 / t.sqrt(), "diff": factor * u + 0 * t}
for kind, name in (("softmax", "plain"), ("diff", "differential")):
    plt.loglog(t, sizes[kind], label=name)
    dots = plt.loglog(t, predicted[kind], ":", color="0.5")
    assert torch.allclose(sizes[kind], predicted[kind], rtol=0.25)
plt.gca().set(xlabel="position t, from 1", ylabel="size of what is added")
dots[0].set_label("predicted")
plt.legend()
plt.show()
print(f"1 - lambda_init in block 0: {factor:.1f}")
print(f"at the end: {sizes['diff'][-1] / sizes['softmax'][-1]:.0f} times")

# %% [markdown]
# The norm and the factor make a head's size 0.8, the output matrix multiplies
# it by $u$, and $t$ drops out: the differential layer adds $0.8\,u$ at every
# position. At the end of the row that is more than 50 times what the plain
# layer adds.
#
# Why the factor $1 - \lambda_{\text{init}}$? The paper's reason is about
# gradients [P, app. G]. A norm that enlarges a vector enlarges the gradient on
# its way back just as much. The rows of $A$ sum to $1 - \lambda$. So if all
# values are nearly one vector of size 1, a head has size about
# $1 - \lambda_{\text{init}}$. Then the norm divides by that number, the factor
# multiplies by it again, and head and gradient keep their sizes: a plain
# Transformer's learning rate still fits.
#
# Our random values are not alike. The heads are smaller, so the norm enlarges
# them, and their gradients too: by a factor that grows as $\sqrt t$ if the map
# is flat. The authors later named this enlargement as a cause of instability,
# late in training at large learning rates. Their second version has no
# headwise norm [B2].

# %% [markdown]
# ## Further reading
#
# - Ye et al., *Differential Transformer*, section 2 and appendix G: the model,
#   and the argument about gradients. [P]
# - Su et al., *RoFormer*, arXiv 2104.09864: rotary positions, with the proof.
# - Shazeer, *GLU Variants Improve Transformer*, arXiv 2002.05202: SwiGLU and
#   its relatives.
