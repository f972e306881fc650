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
# After this chapter you can
#
# - test any gradient by finite differences, and choose the step;
# - derive the gradients of a softmax, a difference and a norm;
# - write the backward pass of a whole differential head;
# - say when the second branch learns nothing;
# - prove that the headwise norm ties the gradients of both branches together.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | maps, lambda, headwise norm | everything here | chapter 3 |
# | slopes of $e^x$, $x^n$, products, quotients | derivations | calculus |

# %%
from collections.abc import Callable
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

from minidiff import check, plots, reference
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course.chain_rule_diagram import show_paths
from minidiff.reference import lambda_init, softmax

plots.use_style("svg")

# %% [markdown]
# ## A cold open: a wrong gradient that trains
#
# A head has eight queries and eight keys. Its scores start at zero and learn
# to bring the output $A\,v$ close to a target. The loss is the mean squared
# error. A *rule* says how steeply the loss grows with each score, and each
# step moves the scores the other way. One of the two rules below is wrong. Can
# you tell which, from the losses alone?


# %%
def race(rule: Callable, shift: float = 0.0) -> np.ndarray:
    """The loss of 100 steps; rule(A, dA) gives the slopes of the scores."""
    rng = np.random.default_rng(0)
    v = rng.normal(size=(8, 8)) + shift
    target = softmax(2 * rng.normal(size=(8, 8))) @ v
    scores, losses = np.zeros((8, 8)), []
    for _ in range(100):
        A = softmax(scores)
        error = A @ v - target
        losses.append((error**2).mean())
        dA = 2 * error @ v.T / 64  # the weights' slopes, see eq. 4.2
        scores = scores - 8 * rule(A, dA)
    return np.array(losses)


# %% mystnb={"image": {"alt": "Loss against step on a logarithmic axis. Both curves fall steeply and run side by side; the dashed curve of rule 2 ends a little below the solid one of rule 1."}}
rules = {"rule 1": reference.softmax_backward}
rules["rule 2"] = lambda A, dA: A * dA
losses = {name: race(rule) for name, rule in rules.items()}
for name, loss in losses.items():
    print(f"{name}: loss {loss[0]:.4f} at first, {loss[-1]:.4f} at last")
    plt.semilogy(loss, label=name)
plt.gca().set(xlabel="step", ylabel="loss")
plt.legend()
plt.show()

# %% [markdown]
# Both rules learn. Rule 2 even ends lower, and rule 2 is the wrong one. So a
# falling loss does not prove that a gradient is right. We need a test that
# does.
#
# ## What a gradient is, and how to test one
#
# Let $L$ be the loss, one number. The *gradient* of an array $X$ is written
# $dX$ and has the shape of $X$. Each entry says how fast $L$ grows when that
# entry of $X$ grows: its *slope*. We go backwards, from a head's output $o$ to
# its inputs. The gradient $do$ comes from the layers above, and is given.
#
# What those layers compute need not concern us. If $o$ changes a little, the
# loss changes by $do$ times that change, summed over all entries. Now hold
# $do$ fixed and look at the sum $\sum do \cdot o$: it changes by exactly as
# much. So this sum can stand in for the loss, and from here on it is our $L$.
#
# The *chain rule* finds gradients: along a path from an entry to the loss,
# multiply the slopes; over several paths, add. Here a score reaches the loss
# through three weights. (Take the six slopes as given; we find such numbers
# below.) Its own slope is
# $\tfrac14 \cdot 2 - \tfrac18 \cdot 1 - \tfrac18 \cdot 0 = \tfrac38$:

# %% mystnb={"image": {"alt": "A score x1 on the left, three weights A1, A2, A3 in the middle, the loss L on the right. Arrows from x1 to the weights bear the slopes 1/4, -1/8, -1/8, those from the weights to L the slopes 2, 1, 0. Below: the slope of L for x1 is 3/8."}}
show_paths()
plt.show()

# %% [markdown]
# To *test* a gradient you need no rule. Move one entry up by $h$, then down by
# $h$:
#
# $$
# \frac{\partial L}{\partial x} \approx \frac{L(x + h) - L(x - h)}{2h}
# \tag{4.1}
# $$
#
# Three keys have scores $(x, 0, 0)$, and $L$ is the first weight,
# $e^x / (e^x + 2)$. Its slope is $2 e^x / (e^x + 2)^2$, which is $\tfrac29$
# at $x = 0$. Predict: is a smaller $h$ always better?


# %% tags=["hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Error against step h, both axes logarithmic. Up and down falls steeply from h = 1 to a lowest point near h = 1e-5 and rises again, ragged, for smaller h. Up only falls more slowly, turns near h = 1e-8 and never gets as low."}}
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

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert losses["rule 2"][-1] < losses["rule 1"][-1]
assert both[16] < 1e-9 and min(up[16], both[0], both[-1]) > 1e-7

# %% [markdown]
# The curve is a V. On its right the formula is inexact, by about $h^2$ (up
# only: by about $h$). On its left the computer rounds, by about
# $10^{-16} / h$, because it subtracts two numbers that agree in most digits.
# Near $h = 10^{-5}$ the error is below $10^{-9}$. That is our step.
#
# ### Exercise 4.1: finite differences
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
slopes_of = check.mine("4.1")


def test(name: str, by_hand: np.ndarray, f: Callable, x: np.ndarray) -> None:
    """Stop unless by_hand is eq. 4.1 for f at x, with h = 1e-5."""
    gap = np.abs(by_hand - slopes_of(f, x, 1e-5)).max()
    assert gap < 1e-8, f"{name}: off by {gap}"
    print(f"{name:6s} agrees with finite differences")


# %% [markdown]
# ## Through a matrix product
#
# In $o = A\,v$ the weight $A_{ts}$ enters row $t$ of the output, and channel
# $c$ of that row with slope $v_{sc}$. So there is one path to the loss for
# each channel. Added up, the slope of $A_{ts}$ is $\sum_c do_{tc}\,v_{sc}$.
# Likewise $v_{sc}$ enters every row. As products:
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
test("dA", do @ v.T, lambda A: (do * (A @ v)).sum(), A)
test("dv", A.T @ do, lambda v: (do * (A @ v)).sum(), v)

# %% [markdown]
# ## Through a softmax
#
# The picture of the paths has scores $(\ln 2, 0, 0)$ and weights
# $(\tfrac12, \tfrac14, \tfrac14)$. Raise the first score. Its weight grows
# with slope $2 \cdot 2 / 4^2 = \tfrac14$. The row must still sum to 1, so the
# other two fall, with slope $-\tfrac18$ each. So one score moves *every*
# weight of its row. All nine slopes make a table, the *Jacobian*. Before you
# look: which sign do the numbers off the diagonal have, and what does each
# row sum to?

# %% tags=["hide-output", "hide-input"] jupyter={"outputs_hidden": true, "source_hidden": true} mystnb={"image": {"alt": "A three by three table. Row: score that is raised; column: weight that moves. First row 1/4, -1/8, -1/8; second row -1/8, 3/16, -1/16; third row -1/8, -1/16, 3/16. The diagonal is orange, all else purple."}}
weights = np.array([1 / 2, 1 / 4, 1 / 4])
jacobian = np.diag(weights) - np.outer(weights, weights)
figure, axis = plt.subplots(figsize=(3.4, 3.0))
axis.imshow(jacobian, cmap="PuOr_r", vmin=-0.4, vmax=0.4)
for i, j in np.ndindex(3, 3):
    number = str(Fraction(jacobian[i, j]))
    axis.text(j, i, number, ha="center", va="center")
axis.set(xticks=range(3), yticks=range(3), xlabel="weight that moves")
axis.set(ylabel="score that is raised")
axis.grid(False)
plt.show()

# %% [markdown]
# The rule behind the table: $A_j = e^{x_j} / Z$, where $Z$ sums the
# exponentials of the row. Raising $x_i$ raises $Z$, which takes $A_i\,A_j$ off
# every weight $j$. Weight $i$ also gains $A_i$, through its own numerator:
#
# $$
# \frac{\partial A_j}{\partial x_i} =
# \begin{cases} A_i\,(1 - A_i) & j = i \cr -A_i\,A_j & j \ne i \end{cases}
# \tag{4.3}
# $$
#
# ### Exercise 4.2: backward through a softmax
#
# *Medium, 8 minutes.* Score $i$ reaches the loss through every weight of its
# row. Add over the paths. You need no loop and no table.


# %% tags=["stub:4.2"]
def through_softmax(A: np.ndarray, dA: np.ndarray) -> np.ndarray:
    """Return the gradient of the scores, shaped like A and dA (..., T, S).

    A: the weights, each row a softmax of scores; dA: their gradient.
    """
    # your code


# %% tags=["check:4.2"]
check.ex04_2(through_softmax)

# %%
through = check.mine("4.2")
x, dA = rng.normal(size=(2, 3, 5))
dS, wrong = through(softmax(x), dA), softmax(x) * dA
test("dS", dS, lambda x: (dA * softmax(x)).sum(), x)
print(f"rule 2 is off by up to {np.abs(wrong - dS).max():.2f}")
print("row sums of dS are 0:", np.abs(dS.sum(-1)).max() < 1e-12)

# %% [markdown]
# Rows of $dS$ sum to 0: raising all scores of a row changes no weight.
#
# ### The control that fails
#
# When does rule 2 do harm? Add 3 to every value. All outputs and targets grow
# by 3, since rows sum to 1, so the task is the same as before. Predict both
# losses.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for name, rule in rules.items():
    last = race(rule, shift=3.0)[-1]
    print(f"{name}: last loss {last:.4f}, before {losses[name][-1]:.4f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert np.isclose(race(rules["rule 1"], 3.0)[-1], losses["rule 1"][-1])
assert last > 2 * losses["rule 2"][-1]
assert np.abs(dS.sum(-1)).max() < 1e-12 < 0.1 < np.abs(wrong - dS).max()

# %% [markdown]
# Rule 1 does not notice; rule 2 gets stuck. The shift adds one number to all
# slopes of a row, and only rule 1 takes it off again. Rule 1 says
#
# $$
# dS_{ts} = A_{ts}\,(dA_{ts} - \delta_t), \qquad
# \delta_t = \sum_s dA_{ts}\,A_{ts}
# \tag{4.4}
# $$
#
# The row sum $\delta_t$ is the mean slope of row $t$, weighted by attention. A
# key's slope counts only as far as it differs from that mean. Now put
# $dA = do\,v^\top$ in:
#
# $$
# \delta_t = \sum_s \sum_c do_{tc}\, v_{sc}\, A_{ts}
# = \sum_c do_{tc}\, o_{tc}
# \tag{4.5}
# $$
#
# So $\delta$ needs no map, only two rows of $D_v$ numbers. *Flash attention*,
# which never stores the map, computes it in this way (chapter 12).
#
# ## Through the difference
#
# Now $o = (A_1 - \lambda A_2)\,v$, and $dA = do\,v^\top$ is the gradient of
# the difference. $A_1$ enters it with slope 1 and $A_2$ with slope $-\lambda$.
# $\lambda$ enters every entry, with slope $-A_2$:
#
# $$
# dA_1 = dA, \qquad dA_2 = -\lambda\,dA, \qquad
# d\lambda = -\sum_{t,s} dA_{ts}\,A_{2,ts}
# \tag{4.6}
# $$
#
# ## Through lambda's four vectors
#
# By equation 3.3,
# $\lambda = e^{\lambda_{q_1} \cdot \lambda_{k_1}} - e^{\lambda_{q_2} \cdot
# \lambda_{k_2}} + \lambda_{\text{init}}$.
#
# ### Exercise 4.3: backward to the vectors
#
# *Easy, 4 minutes.* $d\lambda$ is known. One path leads to each vector.


# %% tags=["stub:4.3"]
def through_lambda(vectors: np.ndarray, dlam: float) -> np.ndarray:
    """Return the gradients of lq1, lk1, lq2, lk2, shaped like vectors.

    vectors (4, D): lq1, lk1, lq2, lk2; dlam: the gradient of lambda.
    """
    # your code


# %% tags=["check:4.3"]
check.ex04_3(through_lambda)

# %% [markdown]
# Each vector's gradient has another of the vectors as a factor. So four
# vectors of zeros would never move, and they start at random (chapter 3).
#
# Why four vectors for one number? So that $\lambda$ learns at the pace of the
# other weights, says the paper [P, sec. 2.1]. Adam (chapter 14) at first moves
# every parameter by one *learning rate*, against the sign of its gradient. A
# $\lambda$ stored as one number would move by one learning rate. How far does
# it move with $4 \times 64$ numbers behind it?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
vectors = 0.1 * np.random.default_rng(6).normal(size=(4, 64))
slopes = check.mine("4.3")(vectors, 1.0)
stepped = reference.lambda_value(*(vectors + 1e-5 * np.sign(slopes)), 0.2)
moved = (stepped - reference.lambda_value(*vectors, 0.2)) / 1e-5
print(f"lambda moves by {moved:.1f} learning rates")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert np.isclose(moved, np.abs(slopes).sum(), rtol=1e-2) and moved > 15

# %% [markdown]
# Many small steps add up. A score $q \cdot k$ depends on many weights too, and
# moves by as many small steps; a $\lambda$ stored as one number would fall
# behind. That is our reading of the reason.
#
# ## Through the headwise norm
#
# For each head and token, the norm of equation 3.5 brings a vector $o$ of
# $D_v$ numbers to a fixed size. Without its learned weight it is
# $y = c\,r\,o$, with a constant $c$ and
# $r = 1 / \sqrt{\operatorname{mean}(o^2) + \varepsilon}$. If $o$ becomes twice
# as long, $r$ is halved and $y$ stays the same. From the layers above now
# comes $dy$, so the loss is $\sum dy \cdot y$. The figure shows it for two
# channels, $dy = (1, \frac12)$ and $c = 1$; its lines join points of equal
# loss. In which direction does the loss not change?

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "A plane with axes o1 and o2. Lines of equal loss are rays from the origin, labelled with the loss, from 0.8 near the upper axis to 1.5. Along one ray stand three points, each twice as far out as the one before, each with an arrow at a right angle to the ray and half as long as the one before."}}
dy, direction = np.array([1.0, 0.5]), np.array([0.28, 0.96])
grid = np.stack(np.meshgrid(*[np.linspace(0.01, 4.5, 300)] * 2), -1)
loss = (dy * reference.headwise_norm(grid)).sum(-1)
figure, axis = plt.subplots(figsize=(4.6, 4.2))
levels = axis.contour(*np.moveaxis(grid, -1, 0), loss, 9, colors="0.6")
axis.clabel(levels, fontsize=8)
for length in (1, 2, 4):
    o = length * direction
    do, _ = reference.headwise_norm_backward(o, dy)
    axis.plot(*o, "o", color=plots.COLOURS[0])
    axis.quiver(*o, *do, color=plots.COLOURS[1], scale=1, scale_units="xy")
axis.set(xlabel="$o_1$", ylabel="$o_2$", aspect="equal")
axis.grid(False)
plt.show()

# %% [markdown]
# Along $o$ it does not change. The gradient (arrows) stands at a right angle
# to $o$, and it halves when $o$ doubles.
#
# ### Exercise 4.4: backward through the norm
#
# *Medium, 10 minutes.* A channel of $o$ reaches $y$ by two kinds of paths: as
# itself, and inside $r$, which is in every channel of $y$.


# %% tags=["stub:4.4"]
def through_norm(
    o: np.ndarray, dy: np.ndarray, scale: float, eps: float = 1e-5
) -> np.ndarray:
    """Return do for y = scale * o / sqrt(mean(o^2) + eps).

    o, dy and the result (H, T, Dv); the mean runs over the last axis.
    """
    # your code


# %% tags=["check:4.4"]
check.ex04_4(through_norm)

# %% [markdown]
# ## One whole head
#
# You have all the pieces. The scores $S_i = q_i\,k_i^\top / \sqrt D$ are a
# matrix product, so equation 4.2 gives the gradients of $q_i$ and $k_i$. A
# causal mask needs no line of its own: a hidden key has weight 0, so the slope
# of its score is 0.
#
# ### Exercise 4.5: backward through a head
#
# *Hard, 20 minutes.* Sketch the paths in the block diagram of chapter 3 first,
# from $o$ back to each of the six inputs. You may use the functions of the
# next cell, and `test`.

# %%
from minidiff.reference import attention_map, softmax_backward  # noqa: F401


# %% tags=["stub:4.5"]
def head_backward(
    q1: np.ndarray,
    k1: np.ndarray,
    q2: np.ndarray,
    k2: np.ndarray,
    v: np.ndarray,
    lam: float,
    do: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Return dq1, dk1, dq2, dk2, dv, dlam for o = (A1 - lam A2) v.

    q1, q2 (T, D), k1, k2 (S, D), v (S, Dv), do (T, Dv); both maps are causal.
    Each gradient has the shape of its input; dlam is a number.
    """
    # your code


# %% tags=["check:4.5"]
check.ex04_5(head_backward)

# %% [markdown]
# Together with the norm, tested on every input:

# %%
through_head, back_norm = check.mine("4.5"), check.mine("4.4")
head = {n: rng.normal(size=(7, 4)) for n in ("q1", "k1", "q2", "k2")}
head |= {"v": rng.normal(size=(7, 8)), "lam": np.array(0.6)}
dy = rng.normal(size=(7, 8))
do = back_norm(reference.diff_head(**head)[None], dy[None], 0.4)[0]
grads = dict(zip(head, through_head(**head, do=do), strict=True))
for name, x in head.items():

    def loss_of(x: np.ndarray, name: str = name) -> float:
        o = reference.diff_head(**(head | {name: x}))
        return (dy * reference.headwise_norm(o, scale=0.4)).sum()

    test(f"d{name}", grads[name], loss_of, x)

# %% [markdown]
# Each branch has its own mean slope. With $\delta_1$ and $\delta_2$ for the
# row sums of $dA \cdot A_1$ and $dA \cdot A_2$:
#
# $$
# dS_1 = A_1\,(dA - \delta_1), \qquad
# dS_2 = \lambda\,A_2\,(\delta_2 - dA), \qquad
# d\lambda = -\sum_t \delta_{2,t}
# \tag{4.7}
# $$
#
# Read the signs, for $\lambda > 0$. Where $dA$ is above both means, the key
# raises the loss: training lowers its score in branch 1 and raises it in
# branch 2. And branch 2's gradient is proportional to $\lambda$. At
# $\lambda = 0$ branch 2 learns nothing, until $\lambda$ has moved.
#
# ## A surprise: one row sum gives the other
#
# $\delta_1$ and $\delta_2$ come from two maps, with queries and keys of their
# own. Does one tell anything about the other? By equation 4.5, $\delta_i$ is
# $do \cdot o_i$ with the branch's output $o_i = A_i\,v$. Here they are for 7
# queries, with the norm behind the head and without it.

# %%
pairs = ((head["q1"], head["k1"]), (head["q2"], head["k2"]))
o1, o2 = (attention_map(q, k) @ head["v"] for q, k in pairs)
rest = {}
for name, back in (("with", do), ("without", dy)):
    d1, d2 = (back * o1).sum(-1), (back * o2).sum(-1)
    rest[name] = np.abs(d1 - 0.6 * d2).max()
    for what, d in (("delta_1", d1), ("lambda delta_2", 0.6 * d2)):
        numbers = (f"{x:5.2f}" for x in d.round(2) + 0.0)
        print(f"{name:7s} the norm {what:>14s}:", *numbers)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert rest["with"] < 1e-3 and rest["without"] > 1
off = through_head(**(head | {"lam": 0.0}), do=do)
assert not off[2].any() and not off[3].any()

# %% [markdown]
# The reason is in the picture of the rays. Since $o = o_1 - \lambda o_2$, in
# every row $\delta_1 - \lambda \delta_2 = do \cdot o$, and under the norm $do$
# stands at a right angle to $o$. In formulas, channel $i$ of $o$ has two kinds
# of paths. As itself it reaches $y_i$, with slope $c\,r$. It also changes $r$,
# with slope $-r^3\,o_i / D_v$, and $r$ reaches the loss through every channel
# $j$, with slope $c\,o_j\,dy_j$. Added up,
#
# $$
# do = c\,r \left( dy - o\, r^2 \operatorname{mean}(dy\,o) \right)
# \tag{4.8}
# $$
#
# The second term takes from $dy$ its part along $o$, up to $\varepsilon$. (If
# the norm has a learned weight, $dy$ is multiplied by it first.) So
#
# $$
# \delta_1 - \lambda\,\delta_2 = do \cdot o \approx 0
# \tag{4.9}
# $$
#
# So GPU code could keep one number a row instead of two. (Chapter 12 keeps
# both, because of rounding.)
#
# ## Check of this chapter
#
# Our gradients against minidiff's.

# %%
q, k = (np.stack([head[n + "1"], head[n + "2"]])[None, None] for n in "qk")
theirs = reference.diff_attention_backward(
    dy[None, None], q, k, head["v"][None, None], 0.6, norm_scale=0.4
)
(dq1, dq2), (dk1, dk2) = theirs.q[0, 0], theirs.k[0, 0]
expected = {"q1": dq1, "k1": dk1, "q2": dq2, "k2": dk2}
expected |= {"v": theirs.v[0, 0], "lam": theirs.lam}
for name, right in expected.items():
    assert np.abs(grads[name] - right).max() < 1e-12
    print(f"this chapter -> minidiff, d{name:4s} differ by < 1e-12")

# %% [markdown]
# ## Common mistakes
#
# - **A softmax entry by entry.** $A\,(1 - A)\,dA$ is one path of many.
# - **One mean for both branches.** $\delta_1$ and $\delta_2$ belong to their
#   own maps.
# - **Losing $\lambda$, or its sign, in branch 2.**
# - **Treating $r$ as a constant.** The gradient then keeps a part along $o$.
#
# ## Summary
#
# - Multiply slopes along a path, add over paths, and test the result by finite
#   differences. A falling loss is no test.
# - Softmax: $dS = A\,(dA - \delta)$ with $\delta = \sum do \cdot o$. Branch
#   2's gradient carries $-\lambda$, and $d\lambda = -\sum \delta_2$.
# - The norm's gradient is at a right angle to $o$. So
#   $\delta_1 = \lambda \delta_2$.
#
# ## Further reading
#
# - Ye et al., *Differential Transformer*, appendix G: the argument measured
#   below. [P]
# - Dao et al., *FlashAttention*, 2022, its appendix on the backward pass:
#   equation 4.5 at work.
# - Baydin et al., *Automatic Differentiation in Machine Learning: a Survey*,
#   2018: how programs do what you did here.

# %% [markdown]
# ## Optional: the factor $1 - \lambda_{\text{init}}$, measured
#
# Why does the paper multiply the normed head by $1 - \lambda_{\text{init}}$?
# Early in training maps are nearly flat. Rows of the difference sum to
# $1 - \lambda$, so $o$ has about that size, and the norm divides by it. Then
# $r$ in equation 4.8 multiplies gradients by
# $1 / (1 - \lambda_{\text{init}})$, and the factor undoes it [P, app. G].
#
# We test this with flat maps and values that are much alike. The table gives
# the size of a gradient divided by its size in a plain head, which is branch 1
# alone without a norm. If the argument is right, a column "with" the factor
# stays level from layer to layer. Predict: does it for $q_1$? For $v$?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
rng, norm, table = np.random.default_rng(0), np.linalg.norm, []
branches = 0.3 * rng.normal(size=(4, 32, 16))
above = rng.normal(size=(32, 32))  # the gradient from above
values = 0.3 * rng.normal(size=(32, 32)) + rng.normal(size=32)
plain = through_head(*branches, values, 0.0, above)
print("layer   q1 without   with    v without   with")
for layer in (0, 3, 11, 23):
    c = 1 - lambda_init(layer)
    o = reference.diff_head(*branches, values, 1 - c)
    do_o = back_norm(o[None], above[None], 1.0)[0]
    ours = through_head(*branches, values, 1 - c, do_o)
    q, v = (norm(ours[i]) / norm(plain[i]) for i in (0, 4))
    table.append((q, q * c, v, v * c))
    print(f"{layer:5d}{q:13.2f}{q * c:7.2f}{v:13.2f}{v * c:7.2f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
q, q_with, v, v_with = np.transpose(table)
assert np.ptp(q_with) < 0.05 and q[-1] > 3.5 * q[0]
assert np.ptp(v) < 0.2 and v_with[-1] < 0.3

# %% [markdown]
# *For queries and keys the argument holds*: without the factor their gradients
# grow with depth, with it they stay level. *For values it is the other way
# round.* Their gradient is $(A_1 - \lambda A_2)^\top do$, by equation 4.2, and
# the rows of this map sum to $1 - \lambda$. This alone makes up for the norm,
# and the factor then makes the gradient too small. Adam hardly depends on the
# size of gradients, so it does not mind. And the argument is about flat maps:
# once they are sharp, $o$ no longer shrinks with $\lambda$.
