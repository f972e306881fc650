# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 12. The fused backward
#
# By the end of this chapter you will have shown that the backward pass of a
# differential head needs no more multiplications than that of the plain heads
# it replaces, and written it as kernels that repeat their results bit for bit.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - say what a forward pass must keep, and compute maps again from log-sums;
# - count a backward pass in units, and name those that fusing saves;
# - write it as kernels: the rows, a walk over queries, a walk over keys;
# - show why sums in a changing order change bits, and what order costs;
# - read the shipped kernels as your own with named optimisations.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | gradients by hand, equations 4.2 to 4.9 | all of it | chapter 4 |
# | units of FLOPs | counting | chapter 6 |
# | programs, blocks, masks, the recorder | the kernels | chapter 9 |
# | log-sums; what the fused forward returns | where we begin | chapters 10, 11 |

# %%
from minidiff.course.kernels import DEVICE, INTERPRETED  # before Triton

import inspect
import textwrap
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

# %%
from minidiff import check, diff_attention, plots, reference
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course.kernels.fused_backward import fused_attention
from minidiff.course.kernels.fused_backward import fused_backward, load_rows
from minidiff.course.kernels.fused_backward import store_rows, tile
from minidiff.course.kernels.fused_forward import fused_forward
from minidiff.course.kernels.trace import Log, record
from minidiff.ops.triton.kernels import backward as shipped

plots.use_style()

# %% [markdown]
# ## A cold open: brackets moved
#
# Forward, fusing saved no multiplications (chapter 11). The maps cannot be
# subtracted during the walk, so $v$ is multiplied twice: 6 units, where
# the plain heads need 4. Let PyTorch count both ways to write a head, and two
# plain heads of width $D$, with whole maps.


# %%
def maps(q: Tensor, k: Tensor) -> Tensor:
    """Causal maps, whole: (..., T, T)."""
    T, D = q.shape[-2:]
    hidden = torch.ones(T, T, dtype=torch.bool, device=q.device).triu(1)
    return (q @ k.mT / D**0.5).masked_fill(hidden, -torch.inf).softmax(-1)


def plain(q: Tensor, k: Tensor, v: Tensor, lam: float) -> Tensor:
    A1, A2 = maps(q, k).unbind(2)
    left, right = v.chunk(2, -1)
    return torch.cat([A1 @ left, A2 @ right], -1)


# %%
def apart(q: Tensor, k: Tensor, v: Tensor, lam: float) -> Tensor:
    A1, A2 = maps(q, k).unbind(2)
    return A1 @ v - lam * (A2 @ v)


def joined(q: Tensor, k: Tensor, v: Tensor, lam: float) -> Tensor:
    A1, A2 = maps(q, k).unbind(2)
    return (A1 - lam * A2) @ v


# %%
def drawn(B: int, H: int, T: int, D: int, **kind) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    q, k = (torch.randn(B, H, 2, T, D, **kind) for _ in range(2))
    return q, k, torch.randn(B, H, T, 2 * D, **kind)


def units(T: int, D: int, way, *given):
    """FLOPs of way(*given), in units of 2 T T D, and what it returns."""
    with FlopCounterMode(display=False) as flops:
        out = way(*given)
    return flops.get_total_flops() / (2 * T * T * D), out


# %% [markdown]
# The last two are one formula with its brackets moved. Forward, `apart` takes 6
# units and `joined` 4. And backward?

# %%
print("        forward  backward")
size = T, D = 256, 16
for way in (plain, apart, joined):
    given = [x.requires_grad_() for x in drawn(1, 1, T, D)]
    forward, y = units(*size, way, *given, 0.8)
    backward, _ = units(*size, torch.autograd.grad, y.sum(), given)
    print(f"{way.__name__:7s} {forward:6.0f} {backward:9.0f}")
    assert (forward == 6, backward == 12) == (way is apart,) * 2

# %% [markdown]
# A third of the backward pass was in the brackets. Equation 4.2 says where: each
# product with $v$ has two products behind it, $do\,v^\top$ for the map and
# $A^\top do$ for the values, of 2 units each. `apart` uses $v$ twice, and pays
# for
#
# $$
# A_1^\top do - \lambda\,A_2^\top do, \qquad
# \text{where } (A_1 - \lambda A_2)^\top do \text{ is enough.}
# $$
#
# Forward, no fused kernel could use the brackets: as long as it walks, no map
# is finished. The backward pass begins when both log-sums are known. It can.
#
# ## Keep, or compute again
#
# Autograd kept the maps for this. How much is that? We count what it keeps, on
# the device `meta`, shapes without data (chapter 6): 16 heads of $D = 64$, 4,096
# tokens, bfloat16.


# %%
def kept(way, q: Tensor, k: Tensor, v: Tensor) -> int:
    """Bytes that autograd keeps for the backward pass, inputs included."""
    storages = {}

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        storages[storage._cdata] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        y = way(*(x.requires_grad_() for x in (q, k, v)), 0.8)
    assert y.requires_grad
    return sum(storages.values())


# %%
large = drawn(1, 16, 4096, 64, dtype=torch.bfloat16, device="meta")
inputs = sum(x.nbytes for x in large)
print(f"q, k and v: {inputs / 1e6:.0f} MB; autograd keeps")
for way in (apart, joined):
    total = kept(way, *large)
    print(f"  {way.__name__:7s} {total / 1e6:5.0f} MB")
    assert total > 20 * inputs

# %% [markdown]
# The better form keeps even more, since it needs the difference too. A flash
# kernel keeps no map. It keeps one number a row, chapter 10's log-sum $\ell$, and
# computes each weight again:
#
# $$
# A_j = 2^{\,c\,q_j k_j^\top - \ell_j}, \qquad
# c = \frac{\log_2 e}{\sqrt D}, \qquad j = 1, 2
# \tag{12.1}
# $$
#
# By hand: three keys with scores 2, 1, 1 in base 2. Their powers are 4, 2, 2,
# with the sum 8, so $\ell = 3$. The weights are $2^{2-3} = \tfrac12$ and twice
# $2^{1-3} = \tfrac14$. No maximum is needed: a weight is at most 1.
#
# Our forward also keeps $o$ and $o_2 = A_2\,v$. Not $o_1$: it is
# $o + \lambda\,o_2$. `fused_attention` is the forward of chapter 11 joined
# to the backward of this one. What does it keep at those 4,096 tokens? We
# count at 48 and scale up.

# %%
q, k, v = (x.half().to(DEVICE) for x in drawn(1, 2, 48, 64))
small = kept(partial(fused_attention, norm_scale=0.2), q, k, v)
rows = 2 * 48  # heads times tokens
expected = q.nbytes + k.nbytes + v.nbytes + rows * (2 * 128 * 2 + 2 * 4)
print(f"ours: {small * 16 * 4096 / rows / 1e6:.0f} MB")
assert abs(small - expected) <= 8  # lambda, for two heads

# %% [markdown]
# Two rows of $2D$ numbers and two log-sums a token and head, beside the inputs.
# The price is the scores once more, 2 units: joined, $8 + 2 = 10$. The plain
# heads' flash kernel pays the same, and has 10 as well.
#
# ## Two numbers a row
#
# Each softmax needs its mean slope (equation 4.4), and equation 4.5 finds it
# without a map, from two rows. With $o_1 = o + \lambda\,o_2$, row by row:
#
# $$
# D_2 = do \cdot o_2, \qquad D_1 = do \cdot o + \lambda\,D_2
# \tag{12.2}
# $$
#
# With $D_2$ comes lambda's gradient: by equation 4.7 it is
# $-\sum_t D_{2,t}$, for free.
#
# In chapter 4, $do$ stood at a right angle to $o$, up to $\varepsilon$, so that
# $D_1 = \lambda D_2$. How exactly? Multiply equation 4.8 by $o$. Let $g$ be $dy$
# times the norm's constant (`norm_scale`; there it was called $c$). Since
# $1 - r^2 \operatorname{mean}(o^2) = \varepsilon r^2$, almost all cancels:
#
# $$
# do \cdot o = r\,(g \cdot o)\,(1 - r^2 \operatorname{mean}(o^2))
# = \varepsilon\,r^3\,(g \cdot o)
# \tag{12.3}
# $$

# %%
rng = np.random.default_rng(0)
o, dy = rng.normal(size=(2, 6, 32))
for size in (1.0, 0.01):
    x = size * o
    do, _ = reference.headwise_norm_backward(x, dy, 1.0, 0.2)
    r = 1 / np.sqrt((x**2).mean(-1) + 1e-5)
    left, right = (do * x).sum(-1), 1e-5 * r**3 * (0.2 * dy * x).sum(-1)
    print(f"rows of size {size}: do . o up to {np.abs(left).max():.6f}")
    assert np.abs(left - right).max() < 1e-12

# %% [markdown]
# Next to nothing, unless rows are as small as the root of $\varepsilon$.
#
# ### Exercise 12.1: the rows
#
# *Medium, 15 minutes.* The first kernel goes through the norm and leaves
# $do$, and $D_1$ and $D_2$ in `delta` (in code `D` is a width). Two helpers of
# `minidiff.course.kernels.fused_backward` are imported: `load_rows(p, o_t,
# stride, T, W)` returns rows `o_t` of the matrix `(T, W)` at `p`, and zeros
# beyond row `T`; `store_rows(p, b, o_t, stride, T, W)` writes block `b` there.
#
# Compute in float32: `b.to(tl.float32)`. $do$ may be stored in 16 bits, and the
# other kernels will read it so: let $D_1$ and $D_2$ belong to the rounded $do$.
# The type that a pointer `p` leads to is `p.dtype.element_ty`.


# %% tags=["stub:12.1"]
@triton.jit
def prepare(
    p_dy, p_o, p_o2, p_do, p_delta, dy_t, out_t, delta_j,
    T, lam, norm_scale, eps, DV: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Write do by eq. 4.8, and D1 and D2 by eq. 12.2, for one head.

    dy, o and o2 (T, DV); to write: do (T, DV) in its own dtype, and delta
    (2, T), float32: D1, then D2. Rows of dy are dy_t elements apart, rows
    of o, of o2 and of do out_t, the two of delta delta_j. Program i takes
    BT rows, from row i BT on. norm_scale is the factor of the norm.
    """
    # your code


# %% tags=["check:12.1"]
check.ex12_1(prepare)

# %% [markdown]
# What passes is right in its indices, masks and rounding. Whether it compiles
# for a GPU, and how fast it is there, the interpreter does not say, here and
# below.
#
# ## A head from what was kept
#
# Equation 4.7 with these parts, in PyTorch. $dA = do\,v^\top$ stands here once.
# So does $dv$.


# %%
def from_kept(q, k, v, lam, do, lse, D1, D2) -> tuple[Tensor, ...]:
    """dq, dk and dv, from log-sums in base 2 and eq. 12.2."""
    T, D = q.shape[-2:]
    c = np.log2(np.e) / np.sqrt(D)
    hidden = torch.ones(T, T, dtype=torch.bool, device=q.device).triu(1)
    logits = (c * q @ k.mT).masked_fill(hidden, -torch.inf)
    A1, A2 = torch.exp2(logits - lse[..., None]).unbind(-3)
    dA = do @ v.mT
    dS1, dS2 = A1 * (dA - D1[..., None]), lam * A2 * (D2[..., None] - dA)
    dS = torch.stack([dS1, dS2], -3) / np.sqrt(D)
    return dS @ k, dS.mT @ q, (A1 - lam * A2).mT @ do


# %%
def forward_of(q, k, v, lam) -> tuple[Tensor, ...]:
    """o, o2 and the log-sums, from whole maps."""
    A1, A2 = (A := maps(q, k)).unbind(-3)
    # ln A = logit - ln of the sum; key 0 is seen by all.
    logit = (q @ k.mT)[..., 0] / q.shape[-1] ** 0.5
    lse = (logit - A[..., 0].log()) * np.log2(np.e)
    return (A1 - lam * A2) @ v, A2 @ v, lse


def through_norm(o: Tensor, dy: Tensor) -> Tensor:
    x = o.numpy(), dy.numpy(), 1.0, 0.2
    return torch.from_numpy(reference.headwise_norm_backward(*x)[0])


# %% [markdown]
# Against the hand gradients of chapter 4, with `float64` all through:

# %%
q, k, v = (x.double() for x in drawn(1, 2, 20, 8))
dy, lam = torch.randn(1, 2, 20, 16).double(), 0.7
o, o2, lse = forward_of(q, k, v, lam)
do = through_norm(o, dy)
D2 = (do * o2).sum(-1)
D1 = (do * o).sum(-1) + lam * D2
mine = *from_kept(q, k, v, lam, do, lse, D1, D2), -D2.sum()

# %%
theirs = reference.diff_attention_backward(
    *(x.numpy() for x in (dy, q, k, v)), lam, norm_scale=0.2
)
for name, x in zip(("q", "k", "v", "lam"), mine, strict=True):
    assert np.abs(x.numpy() - getattr(theirs, name)).max() < 1e-12
    print(f"from what was kept -> chapter 4, d{name}: differ by < 1e-12")

# %% [markdown]
# ## Which FLOPs disappear
#
# What would flash calls do, two with wide values, or four with cut ones? Each
# call gets its share of $do$ and knows nothing of the others.


# %%
def call_backward(q, k, v, do) -> tuple[Tensor, ...]:
    """dq, dk and dv of one call of attention, its map computed again."""
    A = maps(q, k)
    dA = do @ v.mT
    dS = A * (dA - (A * dA).sum(-1, keepdim=True)) / q.shape[-1] ** 0.5
    return dS @ k, dS.mT @ q, A.mT @ do


# %%
def by_calls(q, k, v, lam, do, cuts: int) -> tuple[Tensor, ...]:
    """Both branches, and the values in one or two cuts."""
    dq, dk, dv = (torch.zeros_like(x) for x in (q, k, v))
    cut = [x.chunk(cuts, -1) for x in (v, do, dv)]
    for j, weight in enumerate((1, -lam)):
        for w, dw, to in zip(*cut, strict=True):
            found = call_backward(q[:, :, j], k[:, :, j], w, weight * dw)
            sums = dq[:, :, j], dk[:, :, j], to
            for x, part in zip(sums, found, strict=True):
                x += part
    return dq, dk, dv


# %% [markdown]
# Count before you run: scores, $dA$, $dv$, $dk$, $dq$, each 1 unit if $D$ wide
# and 2 if $2D$.

# %%
size, counts, grads = (20, 8), {}, {}
given = [x[:, :1] for x in (q, k, v)]  # one head
share, rows = do[:, :1], [x[:, :1] for x in (lse, D1, D2)]
for name, cuts in (("two calls", 1), ("four calls", 2)):
    found = units(*size, by_calls, *given, lam, share, cuts)
    counts[name], grads[name] = found
counts["fused"], want = units(*size, from_kept, *given, lam, share, *rows)
first = (x[:, :, 0] for x in given[:2])
head = units(*size, call_backward, *first, v[:, :1, :, :8], share[..., :8])
counts["a plain pair"] = 2 * head[0]

# %%
for name, count in counts.items():
    print(f"{name:12s} {count:3.0f} units")
    for x, y in zip(grads.get(name, want), want, strict=True):
        assert torch.allclose(x, y, atol=1e-12)
assert list(counts.values()) == [14, 20, 10, 10]

# %% [markdown]
# | | scores | $dA$ | $dv$ | $dk$ | $dq$ | |
# |---|---|---|---|---|---|---|
# | a plain pair of heads | 2 | 2 | 2 | 2 | 2 | 10 |
# | fused | 2 | 2 | 2 | 2 | 2 | 10 |
# | two calls, values $2D$ wide | 2 | 4 | 4 | 2 | 2 | 14 |
# | four calls, values cut | 4 | 4 | 4 | 4 | 4 | 20 |
#
# Two calls pay $dA$ and $dv$ for each branch. Four calls pay scores, $dk$ and
# $dq$ for each half of $v$ as well. Forward and backward together, training
# costs $6 + 10$ units, the plain pair $4 + 10$: a seventh more, where four
# calls, $8 + 20$, cost twice as much. That is with every product made once; we
# shall see what it takes.
#
# ## One tile
#
# Now without whole maps. Cut them into *tiles* of `BT` queries by `BS` keys.
# From its queries, keys and values, and the rows of $do$, $\ell$, $D_1$ and
# $D_2$, a tile of $A_1 - \lambda A_2$, $dS_1$ and $dS_2$ can be computed by
# itself. Both kernels need it, so it is a function that kernels call: $q_1
# k_1^\top$, $q_2 k_2^\top$ and $do\,v^\top$, 4 units.
#
# Where a key is hidden from a query, the log-sum knows nothing of it. There
# $c\,q k^\top - \ell$ may be large, and its power infinite.
#
# ### Exercise 12.2: one tile
#
# *Medium, 12 minutes.*


# %% tags=["stub:12.2"]
@triton.jit
def one_tile(
    b_q1, b_q2, b_k1, b_k2, b_v, b_do, b_lse1, b_lse2, b_delta1, b_delta2,
    lam, m_seen, c,
):  # fmt: skip
    """Return a tile of A1 - lam A2, of dS1 and of dS2, each (BT, BS).

    b_q1, b_q2 (BT, D), b_k1, b_k2 (BS, D), b_v (BS, DV) and b_do (BT, DV);
    the log-sums, base 2, and D1, D2 (BT,). m_seen (BT, BS) is true where the
    query sees the key; elsewhere a logit may be anything, and all three
    tiles are 0. c is the scale times log2(e). Give tl.dot
    input_precision="ieee".
    """
    # your code


# %% tags=["check:12.2"]
check.ex12_2(one_tile)

# %% [markdown]
# `"ieee"` asks a GPU for full float32 products. Left alone it takes fewer
# bits, and the interpreter would not show it.
#
# From here on the chapter uses minidiff's, `tile`.
#
# ## Two walks
#
# What is done with a tile? Let $ab$ be the tile of block $a$ of the queries and
# block $b$ of the keys, and $j$ the branch:
#
# $$
# dk_{j,b} = \frac{1}{\sqrt D} \sum_a dS_{j,ab}^\top\, q_{j,a}, \qquad
# dv_b = \sum_a (A_1 - \lambda A_2)_{ab}^\top\, do_a
# \tag{12.4}
# $$
#
# $$
# dq_{j,a} = \frac{1}{\sqrt D} \sum_b dS_{j,ab}\, k_{j,b}
# \tag{12.5}
# $$
#
# A program can hold a sum in registers as long as it goes on adding to it. So a
# program with its block of *keys* walks over the queries that see them, from the
# diagonal down. One with its block of *queries* walks over the keys, up to the
# diagonal, as in the forward pass. Neither walk can do the other's sums: two
# kernels, each making every tile.
#
# Here is the first, whole. `G` query heads may share a head of keys; then one
# program collects from all of them. With `S` keys and fewer queries, query
# $t$ sees keys up to $t + S - T$. Strides have chapter 11's names; `q_n` leads to
# the next head. `c` is for exp2, and has $\log_2 e$ in it; `scale` is the factor
# in equations 12.4 and 12.5.


# %% tags=["same:minidiff.course.kernels.fused_backward.keys_kernel"]
@triton.jit
def keys_kernel(
    p_q, p_k, p_v, p_do, p_lse, p_delta, p_lam, p_dk, p_dv,
    q_n, q_j, q_t, k_n, k_j, k_s, v_n, v_s, do_n, do_t, row_n, row_j,
    dk_n, dk_j, dk_s, dv_n, dv_s, G, T, S, scale, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
    CAUSAL: tl.constexpr,
):  # fmt: skip
    """dk1, dk2 and dv of BS keys, from all queries that see them.

    row_n and row_j are the strides of lse and of delta, both (N, 2, T). Rows
    beyond T come as zeros: with do = 0 and D1 = D2 = 0 they add nothing.
    """
    m = tl.program_id(0).to(tl.int64)  # a head of keys
    i_s = tl.program_id(1) * BS
    o_s = i_s + tl.arange(0, BS)
    b_k1 = load_rows(p_k + m * k_n, o_s, k_s, S, D)
    b_k2 = load_rows(p_k + m * k_n + k_j, o_s, k_s, S, D)
    b_v = load_rows(p_v + m * v_n, o_s, v_s, S, DV)
    b_dk1 = tl.zeros([BS, D], tl.float32)
    b_dk2 = tl.zeros([BS, D], tl.float32)
    b_dv = tl.zeros([BS, DV], tl.float32)
    first = 0
    if CAUSAL:  # key s is seen from query s - (S - T) on
        first = tl.maximum(i_s - (S - T), 0) // BT * BT
    for n in range(m * G, m * G + G):  # the query heads that read these keys
        lam = tl.load(p_lam + n)
        for i_t in range(first, T, BT):
            o_t = i_t + tl.arange(0, BT)
            b_q1 = load_rows(p_q + n * q_n, o_t, q_t, T, D)
            b_q2 = load_rows(p_q + n * q_n + q_j, o_t, q_t, T, D)
            b_do = load_rows(p_do + n * do_n, o_t, do_t, T, DV)
            at = n * row_n + o_t
            b_lse1 = tl.load(p_lse + at, o_t < T, 0.0)
            b_lse2 = tl.load(p_lse + at + row_j, o_t < T, 0.0)
            b_delta1 = tl.load(p_delta + at, o_t < T, 0.0)
            b_delta2 = tl.load(p_delta + at + row_j, o_t < T, 0.0)
            m_seen = (o_s < S)[None, :]
            if CAUSAL:
                m_seen = m_seen & (o_t[:, None] + S - T >= o_s[None, :])
            b_a, b_ds1, b_ds2 = tile(
                b_q1, b_q2, b_k1, b_k2, b_v, b_do, b_lse1, b_lse2,
                b_delta1, b_delta2, lam, m_seen, c,
            )  # fmt: skip
            b_a = b_a.to(b_do.dtype).T
            b_dv = tl.dot(b_a, b_do, b_dv, input_precision="ieee")
            b_ds1 = b_ds1.to(b_q1.dtype).T
            b_dk1 = tl.dot(b_ds1, b_q1, b_dk1, input_precision="ieee")
            b_ds2 = b_ds2.to(b_q2.dtype).T
            b_dk2 = tl.dot(b_ds2, b_q2, b_dk2, input_precision="ieee")
    store_rows(p_dk + m * dk_n, b_dk1 * scale, o_s, dk_s, S, D)
    store_rows(p_dk + m * dk_n + dk_j, b_dk2 * scale, o_s, dk_s, S, D)
    store_rows(p_dv + m * dv_n, b_dv, o_s, dv_s, S, DV)


# %% [markdown]
# In the loop: load what belongs to the queries, one mask, one tile, three
# products.
#
# Who does which tile, and when? 64 tokens, blocks of 16, one head: the recorder
# of chapter 9 watches both kernels. Before you look: sketch the tiles, and
# write into each the number of the step in which it is made.


# %%
def steps(log: Log, kernel: str, name: str) -> np.ndarray:
    """In which step a program (row) loads a block (column) of `name`."""
    log = Log([touch for touch in log.touches if touch.kernel == kernel])
    assert not log.races()
    order = np.zeros((4, 4), dtype=int)
    for touch in log.of(name, "load"):
        mine = order[touch.program[1]]
        block = touch.element.max() // (16 * touch.shape[-1])
        mine[block] = mine.max() + 1
    return order


# %%
def walks() -> dict[str, np.ndarray]:
    """Step numbers by query block and key block, for both kernels."""
    q, k, v = (x.to(DEVICE) for x in drawn(1, 1, 64, 16))
    lam = torch.full((1, 1, 1), 0.8, device=DEVICE)
    _, o, o2, lse = fused_forward(q, k, v, lam)
    with record() as log:
        fused_backward(v, q, k, v, lam, o, o2, lse, BT=16, BS=16)
    return {
        "keys kernel": steps(log, "keys_kernel", "p_do").T,
        "queries kernel": steps(log, "queries_kernel", "p_v"),
    }


# %% mystnb={"image": {"alt": "Two grids of 4 blocks of queries by 4 blocks of keys; tiles above the diagonal are empty. Left, keys kernel: each column is one program; its steps count down the column from 1 on the diagonal. Right, queries kernel: each row is one program; its steps count along the row from 1 at the first keys to the diagonal."}}
if INTERPRETED:  # on a GPU nobody sees the programs at work
    figure, axes = plt.subplots(1, 2, figsize=(6, 2.9), sharey=True)
    for axis, (title, order) in zip(axes, walks().items(), strict=True):
        mine = np.indices((4, 4))[int(title == "keys kernel")]
        axis.imshow(
            np.where(order > 0, mine, np.nan), cmap="Set2", vmin=0, vmax=7
        )
        for (a, b), n in np.ndenumerate(order):
            axis.text(b, a, n or "", ha="center", va="center")
        axis.set(title=title, xlabel="block of keys", xticks=range(4))
        axis.grid(False)
        assert ((order > 0) == np.tri(4, dtype=bool)).all()
    axes[0].set(ylabel="block of queries", yticks=range(4))
    plt.show()

# %% [markdown]
# A colour is a program, a number its step. Columns and rows: every tile is made
# twice. In neither kernel does a program touch what another one writes:
# `races()` found nothing.
#
# ### Exercise 12.3: the walk over the keys
#
# *Hard, 20 minutes.* Turn the kernel round: one head, as many queries as keys,
# always causal. `tile`, `load_rows` and `store_rows` are there.


# %% tags=["stub:12.3"]
@triton.jit
def queries_walk(
    p_q, p_k, p_v, p_do, p_lse, p_delta, p_dq,
    q_j, q_t, k_j, k_s, v_s, do_t, row_j, dq_j, dq_t, T, lam, scale, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """Write dq1 and dq2 of BT queries of one head, eq. 12.5.

    q, k and, to write, dq (2, T, D); v and do (T, DV); lse and delta
    (2, T), both of them with the stride row_j. Query t sees keys 0 to t.
    Program i takes the queries from i BT on and walks over the keys, BS at a
    time; it visits no block of keys that none of them sees. Use tile,
    load_rows and store_rows.
    """
    # your code


# %% tags=["check:12.3"]
check.ex12_3(queries_walk)

# %% [markdown]
# ## For autograd
#
# `fused_backward` launches the three kernels. `fused_attention` makes one
# operation of them and the forward, a `torch.autograd.Function`: its forward keeps
# the inputs, $o$, $o_2$ and $\ell$, its backward takes $dy$ and them.
#
# A backward pass in use, with grouped queries, more keys than queries, lengths
# that are no multiple of a block, and a lambda that learns:


# %%
def learned(B, H, Hkv, T, S, D=16, dtype=torch.float32) -> list[Tensor]:
    torch.manual_seed(1)
    shapes = (B, H, 2, T, D), (B, Hkv, 2, S, D), (B, Hkv, S, 2 * D)
    x = [torch.randn(s).to(DEVICE, dtype) for s in shapes]
    x.append(torch.full((), 0.8, device=DEVICE))
    return [y.requires_grad_() for y in x]


# %%
given = learned(2, 4, 2, 33, 50)
truth = [x.detach().double().requires_grad_() for x in given]
dy = torch.randn(2, 4, 33, 32).to(DEVICE)
y = fused_attention(*given, norm_scale=0.2)
want = diff_attention(*truth, norm_scale=0.2, backend="eager")
ours = torch.autograd.grad(y, given, dy)
eager = torch.autograd.grad(want, truth, dy.double())
for name, x, right in zip(("q", "k", "v", "lam"), ours, eager, strict=True):
    gap = (x - right).norm() / right.norm()
    print(f"three kernels -> autograd, float64, d{name:3s}: off by < 1e-5")
    assert gap < 1e-5

# %% [markdown]
# ## One kernel?
#
# The 10 units were counted with each product made once. Our kernels make every
# tile twice: 4 units for the tile, 4 more for $dk$ and $dv$; 4 again for the
# tile, 2 for $dq$. That is 14. (Like with like: cut into two kernels the plain
# pair takes 14 as well, and two calls 20.)
#
# With one walk, over the queries, 10 units would do. But then a row of $dq$ is a
# sum over programs. Each would add its part in memory, by an *atomic* addition:
# no part is lost, and nobody knows in what order they come. Does a sum mind?

# %%
big, one = np.float32(2**24), np.float32(1)
print(f"(1 + 1) + 2^24 = {(one + one) + big:.0f}")
print(f"(2^24 + 1) + 1 = {(big + one) + one:.0f}")
assert (one + one) + big != (big + one) + one

# %% [markdown]
# A float32 keeps 24 binary digits. $2^{24} + 1$ has 25, so the last is rounded
# away, and with the second 1 it happens again. Now 64 ordinary numbers, as 64
# programs might bring them, in a thousand orders. How many different sums?

# %% mystnb={"image": {"alt": "Bars of the number of orders against the distance of their sum from the exact one, in units of the last place, from about -6 to 7. The distribution is a bell around 0; about a quarter of the orders hit 0."}}
rng = np.random.default_rng(0)
parts = rng.normal(size=64).astype(np.float32)
sums = []
for _ in range(1000):
    total = np.float32(0)
    for part in rng.permutation(parts):
        total += part
    sums.append(total)
exact = np.float32(parts.sum(dtype=np.float64))
places = (np.array(sums) - exact) / np.spacing(exact)
plt.bar(*np.unique(places, return_counts=True))
plt.gca().set(xlabel="off by so many last places", ylabel="orders")
plt.show()

# %%
print(f"{len(set(sums))} different sums in 1000 orders of 64 numbers")
assert 5 < len(set(sums)) < 40 and np.abs(places).max() < 64

# %% [markdown]
# All are right to six digits, and no two runs need agree. What of it? A failed
# training run cannot be repeated to be looked into, and a test can no longer
# ask for equal bits. In our kernels each number is written by one program,
# which adds in the order of its own loop. So they are *deterministic*: they
# repeat their bits.
#
# ### Exercise 12.4: other cuts
#
# *Medium, 8 minutes.* Two kernels, or one with atomics, are not the only cuts.
# What does any cut cost?


# %% tags=["stub:12.4"]
def backward_units(kernels: list[str]) -> int:
    """Return the units of one head's backward pass, fused.

    kernels: what each of them computes, out of dq, dk and dv, for both
    branches. ["dk dv", "dq"] are our two. A kernel keeps nothing for the
    next: what it needs, it computes. Values are 2D wide; D1 and D2 are known.
    """
    # your code


# %% tags=["check:12.4"]
check.ex12_4(backward_units)

# %% [markdown]
# Order is bought with 4 units of 14. The other side of the bill: one kernel
# holds $dk_1$, $dk_2$, $dv$ and a part of $dq_1$ and $dq_2$ in registers, and
# a row of $dq$ goes to memory and back for every block of keys that it sees.
# Units do not decide that; a clock on a GPU does (chapter 13).
#
# ## The controls that fail
#
# Four ways to be wrong: forget $D$; forget lambda in $dS_2$; take $D_1$ and
# $D_2$ of $do$ *before* it is rounded to 16 bits; and, since equation 12.3 says
# that $do \cdot o$ is almost 0, leave it out of $D_1$. As in chapter 4 let all
# values have something in common, a number added to each. Then $dA$ is large,
# and what counts is the small rest that $D$ leaves. Guess which of the four
# stays hidden longest.
#
# Only what is stored is rounded here, $o$, $o_2$ and $do$; the rest is
# `float64`.


# %%
def half(x: Tensor) -> Tensor:
    return x.half().double()


def shifted(shift: float) -> list[Tensor]:
    """q, k, v and dy of one head, as 16-bit numbers."""
    q, k, v = drawn(1, 1, 64, 16)
    return [half(x) for x in (q, k, v + shift, torch.randn(v.shape))]


def compare(x: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Relative error, and cosine of the angle between both."""
    sizes = np.linalg.norm(x), np.linalg.norm(right)
    cosine = (x * right).sum() / sizes[0] / sizes[1]
    return np.linalg.norm(x - right) / sizes[1], cosine


# %%
# The do in D1, the do in D2, and the lambda in dS2, which is 0.5.
ways = {
    "as built": ("rounded", "rounded", 0.5),
    "lambda D2 for D1": ("none", "rounded", 0.5),
    "D before rounding": ("exact", "exact", 0.5),
    "no lambda in dS2": ("rounded", "rounded", 1.0),
    "no D": ("none", "none", 0.5),
}


# %%
def wrongs(shift: float) -> dict[str, tuple[float, float]]:
    """Each way's dq against the right one, with all values shifted."""
    q, k, v, dy = shifted(shift)
    x = [y.numpy() for y in (dy, q, k, v)]
    right = reference.diff_attention_backward(*x, 0.5, norm_scale=0.2).q
    o, o2, lse = forward_of(q, k, v, 0.5)
    o, o2 = half(o), half(o2)
    do = through_norm(o, dy)
    found, given = {}, {"exact": do, "rounded": half(do), "none": 0 * do}
    for name, (first, second, lam) in ways.items():
        D2 = (given[second] * o2).sum(-1)
        D1 = (given[first] * o).sum(-1) + 0.5 * D2
        dq, *_ = from_kept(q, k, v, lam, given["rounded"], lse, D1, D2)
        found[name] = compare(dq.numpy(), right)
    return found


# %% mystnb={"image": {"alt": "Relative error of dq on a logarithmic axis against the number added to all values, 0 to 30. As built rises from below 0.001 to about 0.005. Lambda D2 for D1 and D before rounding start beside it and end above it, the latter at about twice that. No lambda in dS2 is level near 0.5. No D rises from about 0.3 to above 1."}}
shifts = [0, 1, 2, 4, 8, 16, 30]
found = [wrongs(shift) for shift in shifts]
for name, mark in zip(found[0], "o^svx", strict=True):
    plt.semilogy(shifts, [f[name][0] for f in found], mark, ls="-", label=name)
plt.gca().set(xlabel="added to all values", ylabel="relative error of dq")
plt.legend()
plt.show()

# %%
print("                    off by  cosine   shifted: off by  cosine")
for name in found[0]:
    numbers = *found[0][name], *found[-1][name]
    print("{:18s} {:7.2%} {:7.2f} {:16.2%} {:7.2f}".format(name, *numbers))
built, left, early, loud, forgot = (x for x, _ in found[-1].values())
assert 1.2 * built < left < early < 0.05 < 0.3 < loud < forgot
assert all(cosine > 0 for f in found for _, cosine in f.values())

# %% [markdown]
# Every cosine is above 0: all lead downhill, so a falling loss shows none.
# Without $D$ it gets worse with the shift, as in chapter 4. With lambda
# forgotten branch 2 is too loud throughout. The other two are as good as the
# right way when nothing is added. Far out, where rounding costs the right way
# half a percent, `D before rounding` has about twice that, and $\lambda D_2$
# alone a third more: it stays hidden longest. Rows of $dS$ sum to zero only if
# $D$ is the mean of the very $dA$ that it is taken from. That $dA$ is made of the
# rounded $do$, and the rounded $do$ is not at a right angle to $o$.
#
# So our kernels round first, and then add up $do \cdot o$ all the same.
#
# ## The shipped kernels
#
# `minidiff/ops/triton/kernels/backward.py` has the same three kernels, made
# fast. They write $P_1$ for $A_1$, $P_2$ for $\lambda A_2$ and `dP` for $dA$. Edge split, long
# rows first, copy engine and tuned shapes are chapter 11's. New are:
#
# | optimisation | what it does | why |
# |---|---|---|
# | lambda inside | $P_2$ holds lambda: $dS_2 = P_2\,(D_2 - dP)$, $dv = (P_1 - P_2)^\top do$ | one multiplication an entry instead of two |
# | tiles turned over | the walk over queries makes $k\,q^\top$ | its products need the tile transposed |
# | one loop | heads of a group and blocks of queries, numbered through | nested loops cost registers |
# | $dv$ apart | the same kernel runs twice, for keys, then for values | three sums of a wide head exceed the registers |
# | weight inside | the norm's weight, and parts of its gradient, in the first kernel | one pass over $dy$ less; parts are added in fixed order |
#
# Some of it in its own words. Find each line in ours.


# %%
def lines_with(kernel, *words: str) -> None:
    """Print the lines of a kernel's source that hold one of the words."""
    text = inspect.getsource(kernel.fn).splitlines()
    found = [x for x in text if any(word in x for word in words)]
    print(textwrap.dedent("\n".join(found)))


print("# lambda inside, tiles turned over")
lines_with(shipped.keys_step, "b_s1 =", "b_s2 =", "b_p2 = tl.exp2")
lines_with(shipped.keys_step, "b_p =", "b_dp =", "b_ds1 =", "b_ds2 =")
print("# dO rounded before D1 and D2")
lines_with(shipped.prepare_kernel, "b_do = b_do.to", "b_delta1 =")

# %% [markdown]
# `dv` apart is a cut that exercise 12.4 knows: `["dk", "dv", "dq"]`, 16 units.
#
# **Warps with roles.** Here a program's warps do the same in step: while they take
# exponentials, they leave the *tensor cores*, which multiply, idle. For 16-bit
# numbers of the usual widths on a Hopper GPU both walks are written once more, in
# `hopper/keys.py` and `hopper/queries.py`: one warp loads ahead, two groups of
# four compute, each with keys (or queries) of its own. While one group takes
# exponentials, the other multiplies; each sum still has one owner and one order.
# This is *Gluon*, Triton's dialect in which copies and waits are explicit; the
# interpreter does not run it. Read `consume` first: its loop holds the lines
# above. Chapter 13 has the times.
#
# ## Check of this chapter
#
# Our kernels and those of `kernels/backward.py` against the eager operator in float64.

# %%
options = {"norm_scale": 0.2}
for dtype, limit in ((torch.float32, 1e-5), (torch.float16, 5e-3)):
    given = learned(1, 4, 2, 40, 50, dtype=dtype)
    truth = [x.detach().double().requires_grad_() for x in given]
    dy = torch.randn(1, 4, 40, 32).to(DEVICE, dtype)
    want = diff_attention(*truth, **options, backend="eager")
    want = torch.autograd.grad(want, truth, dy.double())
    ours = fused_attention(*given, **options)
    theirs = diff_attention(*given, **options, backend="triton")
    for rung, y in (("this chapter", ours), ("shipped", theirs)):
        found = torch.autograd.grad(y, given, dy)
        for x, right in zip(found, want, strict=True):
            assert (x - right).norm() < limit * right.norm()
        print(f"{str(dtype)[6:]}: {rung} -> eager, dq dk dv dlam agree")

# %% [markdown]
# What of this is proven? Every line ran, with real numbers and real masks. What
# the interpreter cannot say, tests of minidiff ask: that the kernels compile for
# a Hopper GPU, those with roles too, which needs no GPU; and, where there is
# one, that they are right and runs repeat their bits.
#
# ## Common mistakes
#
# - **$D_1$ and $D_2$ of another $do$** than the one that $dA$ is made of.
# - **Lambda in one place of two.** It is in $dS_2$ and in $dv$.
# - **A mask as a factor.** Hidden logits may overflow: infinity times 0.
# - **The scale with $\log_2 e$ in it** on $dq$ and $dk$.
# - **Reading row sums in the launch that writes them.** Programs do not wait for
#   each other: the rows need a kernel of their own.
#
# ## Summary
#
# - In the backward pass the log-sums are known, so the maps may be subtracted
#   first: $dA$ once, $dv$ once.
# - With every product made once: 10 units, as for the plain pair; two flash
#   calls take 14, four 20.
# - Cut into two kernels, so that sums keep their order: 14, and 14 for the
#   plain pair, 20 for two calls.
# - Kept: $o$, $o_2$ and two log-sums a row. Not $o_1$, and no map.
# - $D_2$ brings $d\lambda$ along; $D_1 = do \cdot o + \lambda D_2$, and under
#   the norm $do \cdot o = \varepsilon\,r^3\,(g \cdot o)$.
#
# ## Further reading
#
# - Dao et al., *FlashAttention*, arXiv 2205.14135, the appendix on the backward
#   pass: one softmax, with equation 4.5.
# - Dao, *FlashAttention-2*, arXiv 2307.08691: one walk, and atomics for $dq$.
# - Goldberg, *What every computer scientist should know about floating-point
#   arithmetic*, 1991: why addition is not associative.
# - `minidiff/ops/triton/kernels/backward.py`, whole.
