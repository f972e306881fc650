# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4. The gradients by hand
#
# By the end of this chapter you will have shown that every gradient of a
# differential head, found with pencil and paper, is the one that finite
# differences measure.
#
# {card}
#
# ## Goals
#
# - judge any gradient by finite differences, and choose the step;
# - derive those of a softmax, a difference and a norm;
# - say when the second branch learns nothing;
# - prove that under the headwise norm one branch's row sums give the other's;
# - measure what the factor $1 - \lambda_{\text{init}}$ does to gradients.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | maps, lambda, headwise norm | everything here | chapter 3 |
# | slopes of $e^x$, $x^n$, products, quotients | derivations | calculus |

# %%
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np

from minidiff import check, plots, reference
from minidiff.check import hint, solution  # noqa: F401
from minidiff.reference import lambda_init, softmax, softmax_backward

plots.use_style()

# %% [markdown]
# ## A cold open: a wrong gradient that trains
#
# Eight queries, eight keys. The scores start at zero and shall learn the map
# whose output $A\,v$ hits a target. The loss is the mean squared miss. A
# *rule* says how steeply the loss grows with each score, and each step moves
# the other way. Of these two rules one is wrong.


# %%
def race(rule: Callable, shift: float = 0.0) -> np.ndarray:
    """The loss of 100 steps; rule(A, dA) gives the slopes of the scores."""
    rng = np.random.default_rng(0)
    v = rng.normal(size=(8, 8)) + shift
    target = softmax(2 * rng.normal(size=(8, 8))) @ v
    scores, losses = np.zeros((8, 8)), []
    for _ in range(100):
        A = softmax(scores)
        miss = A @ v - target
        losses.append((miss**2).mean())
        dA = 2 * miss @ v.T / 64  # the weights' slopes, see eq. 4.2
        scores = scores - 8 * rule(A, dA)
    return np.array(losses)


# %% mystnb={"image": {"alt": "Loss against step on a logarithmic axis. Both curves fall steeply and run side by side; the dashed curve of rule 2 ends a little below the solid one of rule 1."}}
rules = {"rule 1": softmax_backward, "rule 2": lambda A, dA: A * dA}
losses = {name: race(rule) for name, rule in rules.items()}
for name, loss in losses.items():
    print(f"{name}: loss {loss[0]:.4f} at first, {loss[-1]:.4f} at last")
    plt.semilogy(loss, label=name)
plt.gca().set(xlabel="step", ylabel="loss")
plt.legend()
plt.show()
assert losses["rule 2"][-1] < losses["rule 1"][-1]

# %% [markdown]
# Both give the right shape, both learn. Rule 2 even ends lower, and rule 2 is
# wrong. A falling loss proves nothing about a gradient. We need a judge.
#
# ## What a gradient is, and its judge
#
# Let $L$ be the loss, one number. The *gradient* of an array $X$ is written
# $dX$ and has the shape of $X$. Each entry says how fast $L$ grows when that
# entry of $X$ grows: its *slope*. We go backwards, from a head's output $o$
# to its inputs. $do$ comes from the layers above, and is given. For small
# changes of $o$ any loss with this $do$ moves like $L = \sum do \cdot o$, our
# loss from here on.
#
# The *chain rule* finds gradients: along a path from an entry to the loss,
# multiply the slopes; over several paths, add. The judge needs no rule. It
# moves one entry up by $h$, then down by $h$:
#
# $$
# \frac{\partial L}{\partial x} \approx \frac{L(x + h) - L(x - h)}{2h}
# \tag{4.1}
# $$
#
# Three keys have scores $(x, 0, 0)$, and $L$ is the first weight,
# $e^x / (e^x + 2)$. Its slope is $2 e^x / (e^x + 2)^2$, which is $\tfrac29$
# at $x = 0$. Predict: is a smaller $h$ always better?


# %% mystnb={"image": {"alt": "Error against step h, both axes logarithmic. Up and down falls steeply from h = 1 to a lowest point near h = 1e-5 and rises again, ragged, for smaller h. Up only falls more slowly, turns near h = 1e-8 and never gets as low."}}
def weight(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / (np.exp(x) + 2)


h = 10.0 ** np.arange(-13, 0.5, 0.5)
both = np.abs((weight(h) - weight(-h)) / (2 * h) - 2 / 9)
up = np.abs((weight(h) - weight(0.0)) / h - 2 / 9)
plt.loglog(h, both, label="up and down, eq. 4.1")
plt.loglog(h, up, label="up only")
plt.gca().set(xlabel="h", ylabel="error of the slope")
plt.legend()
plt.show()
assert both[16] < 1e-9 and min(up[16], both[0], both[-1]) > 1e-7

# %% [markdown]
# The curve is a V. On its right the formula errs, by about $h^2$. (Up only
# errs by about $h$; down errs as much the other way, and the two cancel.) On
# its left the computer errs, by about $10^{-16} / h$: it subtracts two numbers
# that agree in most digits. Near $h = 10^{-5}$ the error is below $10^{-9}$.
# That is our step.
#
# ### Exercise 4.1: the judge
#
# *Easy, 5 minutes.* Equation 4.1 for every entry of an array, one at a time.


# %% tags=["stub:4.1"]
def finite_differences(
    f: Callable[[np.ndarray], float], x: np.ndarray, h: float
) -> np.ndarray:
    """Return the gradient of f at x by eq. 4.1, shaped like x.

    f takes an array shaped like x and returns a number; x has any shape,
    float64. Leave x as it was.
    """
    # your code


# %% tags=["check:4.1"]
check.ex04_1(finite_differences)


# %%
def judge(name: str, by_hand: np.ndarray, f: Callable, x: np.ndarray) -> None:
    """Stop unless by_hand is minidiff's eq. 4.1 for f at x, h = 1e-5."""
    gap = np.abs(by_hand - reference.numerical_gradient(f, x)).max()
    assert gap < 1e-8, f"{name}: off by {gap}"
    print(f"{name:6s} agrees with finite differences")


# %% [markdown]
# ## Through a matrix product
#
# $o = A\,v$: the weight $A_{ts}$ enters row $t$ of the output, in channel $c$
# with slope $v_{sc}$. Adding over the channels, its own slope is
# $\sum_c do_{tc}\,v_{sc}$. Likewise $v_{sc}$ enters every row. As products:
#
# $$
# dA = do\;v^\top, \qquad dv = A^\top do
# \tag{4.2}
# $$
#
# The scores $q\,k^\top / \sqrt D$ are a product too. With $dS$ for their
# gradient, $dq = dS\,k / \sqrt D$ and $dk = dS^\top q / \sqrt D$.

# %%
rng = np.random.default_rng(5)
A, v, do = (rng.normal(size=shape) for shape in ((3, 5), (5, 4), (3, 4)))
judge("dA", do @ v.T, lambda A: (do * (A @ v)).sum(), A)
judge("dv", A.T @ do, lambda v: (do * (A @ v)).sum(), v)

# %% [markdown]
# ## Through a softmax
#
# Three keys again, scores $(\ln 2, 0, 0)$, weights
# $(\tfrac12, \tfrac14, \tfrac14)$. Raise the first score. Its weight grows
# with slope $2 \cdot 2 / 4^2 = \tfrac14$. The row must still sum to 1, so the
# other two fall, with slope $-\tfrac18$ each. One score moves *every* weight
# of its row: as many paths as keys. For scores $x$ of one row,
# $A_j = e^{x_j} / Z$, where $Z$ sums the exponentials. Raising $x_i$ raises
# $Z$, which takes $A_i\,A_j$ off every weight $j$; weight $i$ also gains
# $A_i$, through its numerator:
#
# $$
# \frac{\partial A_j}{\partial x_i} =
# \begin{cases} A_i\,(1 - A_i) & j = i \cr -A_i\,A_j & j \ne i \end{cases}
# \tag{4.3}
# $$
#
# ### Exercise 4.2: backward through a softmax
#
# *Medium, 8 minutes.* Add over the paths. You need no loop and no table of
# pairs $(i, j)$.


# %% tags=["stub:4.2"]
def through_softmax(A: np.ndarray, dA: np.ndarray) -> np.ndarray:
    """Return the gradient of the scores, shaped like A and dA (..., T, S).

    A: the weights, each row a softmax of scores; dA: their gradient.
    """
    # your code


# %% tags=["check:4.2"]
check.ex04_2(through_softmax)

# %% [markdown]
# Score $s$ gets $A_{ts}\,dA_{ts}$ by its own numerator; through $Z$ it loses
# $A_{ts}\,A_{tj}\,dA_{tj}$ for every key $j$. Take $A_{ts}$ out:
#
# $$
# dS_{ts} = A_{ts}\,(dA_{ts} - \Delta_t), \qquad
# \Delta_t = \sum_s dA_{ts}\,A_{ts}
# \tag{4.4}
# $$
#
# $\Delta_t$ is the row's mean slope, weighted by attention. Slopes count only
# *against that mean*. Rule 2 forgot it.

# %%
x, dA = rng.normal(size=(2, 3, 5))
dS, wrong = softmax_backward(softmax(x), dA), softmax(x) * dA
judge("rule 1", dS, lambda x: (dA * softmax(x)).sum(), x)
print(f"rule 2 is off by up to {np.abs(wrong - dS).max():.2f}")
assert np.abs(dS.sum(-1)).max() < 1e-12 < 0.1 < np.abs(wrong - dS).max()

# %% [markdown]
# Rows of $dS$ sum to zero, because raising all scores of a row together
# changes nothing: a free test.
#
# ### The control that fails
#
# When does the forgotten mean hurt? Add 3 to every value. Outputs and
# targets all grow by 3, since rows sum to 1, so the task is the very same.
# Predict both losses.

# %%
for name, rule in rules.items():
    last = race(rule, shift=3.0)[-1]
    print(f"{name}: last loss {last:.4f}, before {losses[name][-1]:.4f}")
    assert np.isclose(last, losses[name][-1]) == (name == "rule 1")

# %% [markdown]
# Rule 1 does not notice; rule 2 gets stuck. The shift adds one number to all
# slopes of a row, and only rule 1 takes it off again.
#
# Now put $dA = do\,v^\top$ into $\Delta$:
#
# $$
# \Delta_t = \sum_s \sum_c do_{tc}\, v_{sc}\, A_{ts}
# = \sum_c do_{tc}\, o_{tc}
# \tag{4.5}
# $$
#
# So $\Delta$ needs no map, only two rows of $D_v$ numbers. *Flash attention*,
# GPU code that never stores the map, gets $\Delta$ from here; so will chapter
# 12.
#
# ## Through the difference
#
# Now $o = (A_1 - \lambda A_2)\,v$, and $dA = do\,v^\top$ belongs to the
# difference. There $A_1$ enters with slope 1, $A_2$ with slope $-\lambda$,
# and $\lambda$ enters every entry, with slope $-A_2$:
#
# $$
# dA_1 = dA, \qquad dA_2 = -\lambda\,dA, \qquad
# d\lambda = -\sum_{t,s} dA_{ts}\,A_{2,ts}
# \tag{4.6}
# $$
#
# ### Exercise 4.3: the scores of both branches
#
# *Medium, 7 minutes.* You may use `softmax_backward`.


# %% tags=["stub:4.3"]
def through_difference(
    A1: np.ndarray, A2: np.ndarray, lam: float, dA: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return dS1 and dS2, the gradients of the two branches' scores.

    A1, A2 (T, S): the softmax maps; dA (T, S): the gradient of A1 - lam A2.
    """
    # your code


# %% tags=["check:4.3"]
check.ex04_3(through_difference)

# %% [markdown]
# Each branch has its own mean. With $D_1$, $D_2$ for the row sums of
# $dA \cdot A_1$, $dA \cdot A_2$:
#
# $$
# dS_1 = A_1\,(dA - D_1), \qquad dS_2 = \lambda\,A_2\,(D_2 - dA),
# \qquad d\lambda = -\sum_t D_{2,t}
# \tag{4.7}
# $$
#
# Read the signs, for $\lambda > 0$: where $dA$ is above both means, training
# lowers the score in branch 1 and raises it in branch 2. And branch 2 gets its
# gradient in proportion to $\lambda$. At zero it is deaf, until lambda's own
# gradient moves $\lambda$.
#
# ## Through lambda's four vectors
#
# By equation 3.3,
# $\lambda = e^{\lambda_{q_1} \cdot \lambda_{k_1}} - e^{\lambda_{q_2} \cdot
# \lambda_{k_2}} + \lambda_{\text{init}}$.
#
# ### Exercise 4.4: backward to the vectors
#
# *Easy, 5 minutes.* $d\lambda$ is known. One path leads to each vector.


# %% tags=["stub:4.4"]
def through_lambda(vectors: np.ndarray, dlam: float) -> np.ndarray:
    """Return the gradients of lq1, lk1, lq2, lk2, shaped like vectors.

    vectors (4, D): lq1, lk1, lq2, lk2; dlam: the gradient of lambda.
    """
    # your code


# %% tags=["check:4.4"]
check.ex04_4(through_lambda)

# %% [markdown]
# Each gradient is a multiple of the vector's *partner*. Four vectors of
# zeros would never move; they start at random (chapter 3).
#
# Why four vectors for one number? So that $\lambda$ learns in step with the
# other weights, says the paper [P, sec. 2.1]. Adam (chapter 14) at first
# moves every parameter by one *learning rate*, against the sign of its
# gradient. So a bare $\lambda$ moves by one. And with $4 \times 64$ numbers
# behind it?

# %%
vectors = 0.1 * np.random.default_rng(6).normal(size=(4, 64))
lq1, lk1, lq2, lk2 = vectors
e1, e2 = np.exp(lq1 @ lk1), np.exp(lq2 @ lk2)
slopes = np.stack([e1 * lk1, e1 * lq1, -e2 * lk2, -e2 * lq2])  # dlam = 1
stepped = reference.lambda_value(*(vectors + 1e-5 * np.sign(slopes)), 0.2)
moved = (stepped - reference.lambda_value(*vectors, 0.2)) / 1e-5
print(f"lambda moves by {moved:.1f} learning rates")
assert np.isclose(moved, np.abs(slopes).sum(), rtol=1e-2) and moved > 15

# %% [markdown]
# Many small steps add up. A score $q \cdot k$ hangs on many weights too; a
# bare number would be left behind. That is our reading, and it is about a
# first step.
#
# ## Through the headwise norm
#
# The norm of equation 3.5, its learned weight left out, is $y = c\,r\,o$:
# for each head and token a vector $o$ of $D_v$ numbers, a constant $c$, and
# $r = 1 / \sqrt{\operatorname{mean}(o^2) + \varepsilon}$. Twice as long an
# $o$ has half the $r$, and the same $y$. From the layers above now comes $dy$.
# Draw the loss $\sum dy \cdot y$ over $o$, for two channels. Which way can it
# not rise?

# %% mystnb={"image": {"alt": "A plane with axes o1 and o2. Lines of equal loss are rays from the origin. Along one ray stand three points, each twice as far out as the one before, each with an arrow at a right angle to the ray and half as long as the one before."}}
dy, direction = np.array([1.0, 0.5]), np.array([0.28, 0.96])
grid = np.stack(np.meshgrid(*[np.linspace(0.01, 4.5, 300)] * 2), -1)
loss = (dy * reference.headwise_norm(grid)).sum(-1)
figure, axis = plt.subplots(figsize=(4.2, 3.8))
axis.contour(*np.moveaxis(grid, -1, 0), loss, 14, colors="0.75", linewidths=1)
for length in (1, 2, 4):
    o = length * direction
    do, _ = reference.headwise_norm_backward(o, dy)
    axis.plot(*o, "o", color=plots.COLOURS[0])
    axis.quiver(*o, *do, color=plots.COLOURS[1], scale=1, scale_units="xy")
    assert abs(do @ o) < 1e-4
axis.set(xlabel="$o_1$", ylabel="$o_2$", aspect="equal")
axis.grid(False)
plt.show()

# %% [markdown]
# Never along $o$. The gradient (arrows) stands at a right angle to $o$, and
# it halves when $o$ doubles.
#
# ### Exercise 4.5: backward through the norm
#
# *Hard, 10 minutes.* A channel of $o$ reaches $y$ by two kinds of paths: as
# itself, and inside $r$, which is in every channel of $y$.


# %% tags=["stub:4.5"]
def through_norm(
    o: np.ndarray, dy: np.ndarray, scale: float, eps: float = 1e-5
) -> np.ndarray:
    """Return do for y = scale * o / sqrt(mean(o^2) + eps).

    o, dy and the result (H, T, Dv); the mean runs over the last axis.
    """
    # your code


# %% tags=["check:4.5"]
check.ex04_5(through_norm)

# %% [markdown]
# As itself, channel $i$ has slope $c\,r$. Inside: $r$ has slope
# $-r^3\,o_i / D_v$ in $o_i$, and meets $c\,o_j\,dy_j$ in every channel $j$.
# Added up,
#
# $$
# do = c\,r \left( dy - o\, r^2 \operatorname{mean}(dy\,o) \right)
# \tag{4.8}
# $$
#
# The second term takes from $dy$ its part along $o$, all of it up to
# $\varepsilon$, and $r$ in front does the halving. (A learned weight
# multiplies $dy$ first.)
#
# ## One whole head
#
# Now the pieces in a row, from end to start. A causal mask needs no line of
# its own: a hidden key has weight 0, so by equation 4.4 its score has
# gradient 0.


# %%
def head_backward(q1, k1, q2, k2, v, lam, dy, scale=None) -> dict:
    """All gradients of sum(dy * y), y one causal head; no norm if None."""
    A1, A2 = (reference.attention_map(*b) for b in ((q1, k1), (q2, k2)))
    A, do = A1 - lam * A2, dy
    if scale is not None:
        do, _ = reference.headwise_norm_backward(A @ v, dy, 1.0, scale)
    dA = do @ v.T
    D1, D2 = (dA * A1).sum(-1), (dA * A2).sum(-1)
    # Eq. 4.7, and the scores' 1 / sqrt(D) with it.
    dS1 = A1 * (dA - D1[:, None]) / np.sqrt(q1.shape[1])
    dS2 = lam * A2 * (D2[:, None] - dA) / np.sqrt(q1.shape[1])
    grads = {"q1": dS1 @ k1, "k1": dS1.T @ q1, "q2": dS2 @ k2}
    grads |= {"k2": dS2.T @ q2, "v": A.T @ do, "lam": -D2.sum()}
    return grads | {"D1": D1, "D2": D2}


# %%
head = {n: rng.normal(size=(7, 4)) for n in ("q1", "k1", "q2", "k2")}
head |= {"v": rng.normal(size=(7, 8)), "lam": np.array(0.6)}
dy = rng.normal(size=(7, 8))
grads = head_backward(**head, dy=dy, scale=0.4)
for name, x in head.items():

    def loss_of(x: np.ndarray, name: str = name) -> float:
        o = reference.diff_head(**(head | {name: x}))
        return (dy * reference.headwise_norm(o, scale=0.4)).sum()

    judge(f"d{name}", grads[name], loss_of, x)
assert not head_backward(**head | {"lam": 0.0}, dy=dy)["q2"].any()

# %% [markdown]
# ## A surprise: one row sum gives the other
#
# $D_1$ and $D_2$ come from two maps, with queries and keys of their own.
# Should one tell you anything about the other? Here they are for 7 queries.

# %%
bare = head_backward(**head, dy=dy)
for name, g in (("with", grads), ("without", bare)):
    for what, D in (("D1", g["D1"]), ("lambda D2", head["lam"] * g["D2"])):
        numbers = (f"{x:5.2f}" for x in D.round(2) + 0.0)
        print(f"{name:7s} the norm {what:>9s}:", *numbers)
rest = bare["D1"] - head["lam"] * bare["D2"]
assert np.allclose(rest, (dy * reference.diff_head(**head)).sum(-1))
assert np.abs(rest).max() > 1
assert np.allclose(grads["D1"], head["lam"] * grads["D2"], atol=1e-3)

# %% [markdown]
# The reason is in the picture above. By equation 4.5, $D_i$ is the dot
# product of $do$ with the branch's output, $o_i = A_i\,v$. And
# $o = o_1 - \lambda o_2$, so in every row
#
# $$
# D_1 - \lambda D_2 = do \cdot o
# \tag{4.9}
# $$
#
# Under the norm $do$ is at a right angle to $o$, so $D_1 = \lambda D_2$, up
# to $\varepsilon$. GPU code may keep one number a row instead of two.
#
# ## The factor $1 - \lambda_{\text{init}}$, measured
#
# Why does the paper scale the normed head by $1 - \lambda_{\text{init}}$?
# Early in training $o$ has about that size. By equation 4.8 the norm then
# multiplies gradients by $1 / (1 - \lambda_{\text{init}})$. The factor undoes
# it, and gradients stay those of a plain Transformer, up to constants
# [P, app. G].
#
# The plain head is branch 1 alone, without a norm. Take the size of a
# gradient over its size in the plain head, at each layer's
# $\lambda_{\text{init}}$. `sharp` scales the scores, `alike`
# is the share that all values have in common.


# %%
def ratios(layer: int, sharp: float, alike: float) -> np.ndarray:
    """Gradients of q1, k1, v: normed head without factor / plain head."""
    found = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        branches = np.sqrt(sharp) * rng.normal(size=(4, 32, 16))
        v = np.sqrt(1 - alike) * rng.normal(size=(32, 32))
        v += np.sqrt(alike) * rng.normal(size=32)
        dy = rng.normal(size=(32, 32))
        ours = head_backward(*branches, v, lambda_init(layer), dy, scale=1.0)
        plain = head_backward(*branches, v, 0.0, dy)
        norm, names = np.linalg.norm, ("q1", "k1", "v")
        found.append([norm(ours[n]) / norm(plain[n]) for n in names])
    return np.mean(found, 0)


# %% [markdown]
# Left: a head as the argument pictures it, flat maps and values alike.
# Right: sharp maps with nothing in common. Predict, on the left: does the
# factor help $q_1$? And $v$?

# %% mystnb={"image": {"alt": "Two panels: gradient over the plain head's against layer. Left, flat maps: without the factor q1 rises from above 1 to almost 5 while v stays near 1; with the factor q1 is a level line at 1 and v falls to about 0.2. Right, sharp maps: without the factor both are level a little above 1; with it both fall to about a quarter."}}
layers = range(24)
factor = np.array([1 - lambda_init(n) for n in layers])
cases = {"flat maps, values alike": (0.1, 0.9), "sharp maps": (4.0, 0.0)}
figure, axes = plt.subplots(1, 2, sharey=True, figsize=(7, 3.2))
curves = []
for axis, (title, case) in zip(axes, cases.items(), strict=True):
    curves += list(np.transpose([ratios(n, *case) for n in layers]))
    axis.plot(layers, curves[-3], "C0--", label="q1, no factor")
    axis.plot(layers, curves[-3] * factor, "C0-", label="q1, with it")
    axis.plot(layers, curves[-1], "C1:", label="v, no factor")
    axis.plot(layers, curves[-1] * factor, "C1-.", label="v, with it")
    axis.set(title=title, xlabel="layer")
axes[0].set(ylabel="gradient / plain head's", ylim=(0, None))
axes[1].legend()
plt.show()

# %%
print("layers 0 and 23: without the factor, with it")
names = [f"{maps}, {n}" for maps in cases for n in ("q1", "k1", "v")]
for name, r in zip(names, curves, strict=True):
    print(f"{name:27s}", r[[0, 23]].round(2), (r * factor)[[0, 23]].round(2))
assert np.ptp(curves[:2] * factor) < 0.05 and np.ptp(curves[2]) < 0.2
assert curves[0][-1] > 3.5 * curves[0][0] and curves[3][-1] < curves[3][0]
assert ratios(0, 0.1, 0.0)[0] > 3 * curves[0][0]  # values not alike

# %% [markdown]
# 1. *The argument holds for queries and keys.* Without the factor their
#    gradients grow with depth, to almost 5 times the plain head's. With it
#    they stay level, near 1.
# 2. *For values it is the other way round.* The rows of $A_1 - \lambda A_2$
#    sum to $1 - \lambda$. On the way to $v$ that alone undoes the norm, and
#    the factor does it a second time. The paper counts this map as of the
#    size of $A$ [P, app. G]. Adam, nearly blind to the size of gradients,
#    does not mind.
# 3. *Sharp maps with nothing in common do not shrink* $o$, and nothing grows
#    with depth. Now the factor makes the gradients of deep layers small. The
#    argument is about the start of training, and says so.
#
# If the values have nothing in common either, a flat head averages them
# away: over $n$ keys $o$ shrinks, and the gradient grows, by $\sqrt n$. The
# authors name this when they drop the norm in V2 [B2].
#
# ## Check of this chapter
#
# Our head against minidiff's.

# %%
q, k = (np.stack([head[n + "1"], head[n + "2"]])[None, None] for n in "qk")
theirs = reference.diff_attention_backward(
    dy[None, None], q, k, head["v"][None, None], 0.6, norm_scale=0.4
)
(dq1, dq2), (dk1, dk2) = theirs.q[0, 0], theirs.k[0, 0]
rungs = {"q1": dq1, "k1": dk1, "q2": dq2, "k2": dk2}
for name, rung in (rungs | {"v": theirs.v[0, 0], "lam": theirs.lam}).items():
    assert np.abs(grads[name] - rung).max() < 1e-12
    print(f"this chapter -> minidiff, d{name:4s} differ by < 1e-12")

# %% [markdown]
# ## Common mistakes
#
# - **A softmax entry by entry.** $A\,(1 - A)\,dA$ is one path of many.
# - **One mean for both branches.** $D_1$ and $D_2$ belong to their own maps.
# - **Losing $\lambda$, or its sign, in branch 2.**
# - **Treating $r$ as a constant.** The gradient then keeps a part along $o$.
#
# ## Summary
#
# - Multiply slopes along a path, add over paths; let finite differences
#   judge.
# - Softmax: $dS = A\,(dA - \Delta)$, where the mean slope $\Delta$ equals
#   $\sum do \cdot o$.
# - Branch 2's gradient carries $-\lambda$, and $d\lambda = -\sum D_2$.
# - The norm's gradient is at a right angle to $o$. So $D_1 = \lambda D_2$.
# - $1 - \lambda_{\text{init}}$ keeps the gradients of queries and keys level
#   over depth while maps are flat; not those of values.
#
# ## Further reading
#
# - Ye et al., *Differential Transformer*, appendix G: the argument measured
#   here. [P]
# - Dao et al., *FlashAttention*, 2022, its appendix on the backward pass:
#   equation 4.5 at work.
# - Baydin et al., *Automatic Differentiation in Machine Learning: a Survey*,
#   2018: how programs do what you did here.
