# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 9. First kernels
#
# By the end of this chapter you will have shown, without a GPU, that four
# functions for a GPU that you wrote compute what PyTorch computes and touch
# nothing beyond their tensors, though nothing would have stopped them.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - write and launch a Triton kernel, on a GPU or on any CPU;
# - turn a program's number and a stride into addresses;
# - mask what is not there, and choose what stands in for it;
# - draw which program touches which element;
# - say what a passing test in the interpreter does not prove.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | `x[:, None]` and broadcasting | blocks with two axes | NumPy |
# | softmax, and why its largest is subtracted | exercise 9.3 | chapter 1 |
# | bytes moved, fused functions | why kernels at all | chapter 6 |
#
# Triton runs on Linux only (on Windows inside WSL 2).

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from minidiff.course.kernels import DEVICE, INTERPRETED, first  # before triton
import triton
import triton.language as tl

# %%
from minidiff import check, plots
from minidiff.bench.peak_memory import Meter
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course.kernels.memory import fenced, outside_touched, poisoned
from minidiff.course.kernels.picture import show_touches
from minidiff.course.kernels.trace import record

plots.use_style()

# %% [markdown]
# ## A cold open: a right sum, and an empty account
#
# `memory` holds 64 numbers. The first 50 are `out`, room for a sum. The other
# 14 are somebody's savings, 100 each. The function below adds two vectors, in
# four blocks of 16. You need not understand it yet.


# %%
@triton.jit
def reckless_kernel(p_x, p_y, p_out, BLOCK: tl.constexpr):
    o_n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(p_out + o_n, tl.load(p_x + o_n) + tl.load(p_y + o_n))


# %%
memory = torch.full((64,), 100.0, device=DEVICE)
out, savings = memory[:50], memory[50:]
# Of x and y, too, only 50 numbers are ours; 14 zeros lie behind them.
x = torch.zeros(64, device=DEVICE)[:50].normal_()
y = torch.zeros(64, device=DEVICE)[:50].normal_()
reckless_kernel[(4,)](x, y, out, BLOCK=16)
print("the sum is right:", torch.equal(out, x + y))
print("savings: 1400 before,", savings.sum().item(), "after")
assert torch.equal(out, x + y) and savings.sum() == 0

# %% [markdown]
# The sum is right, a test of the sum passes, and the savings are gone. No
# error, here or on a GPU: the function never saw a tensor of 50 numbers. It
# got three addresses, and wrote 64 sums, the last 14 of them $0 + 0$. Whoever
# writes such functions has to look after their ends.
#
# ## What a GPU is good for
#
# A laptop's processor has a few cores that each do one thing after another,
# fast. A GPU has thousands of slower ones, which do the *same* thing to
# different numbers at once. So the work has to come in many equal pieces that
# do not wait for each other.
#
# Tensors lie in the GPU's *main memory*. To compute with a number, one has to
# fetch it into a *register*, right beside the arithmetic, and carry the result
# back. That costs. A large GPU, multiplying matrices of short numbers, does
# well over a hundred operations in the time in which it moves one byte
# (chapter 13 measures it). The sum above does one addition for 12 bytes: two
# numbers of 4 bytes in, one out. Nearly all the time its arithmetic waits.
#
# Hence the rule of this part: **fetch each number once, do everything with it,
# write once.** PyTorch's operations each fetch and write, one after the other.
# A function of your own, which runs on the GPU and does several steps in one
# go, is a *kernel*.
#
# ## Program, block, pointer, mask
#
# Triton is a language for kernels that looks like Python. Five words:
#
# - **Kernel**: a function marked `@triton.jit`. On a GPU it is compiled.
# - **Program**: one run of it. A launch `kernel[grid](...)` starts many; the
#   tuple `grid` says how many along each of up to three axes.
#   `tl.program_id(0)` is a program's number along the first.
# - **Block**: a small array that a program holds. `tl.arange(0, 4)` is one.
#   Its size must be a power of two, and known when the kernel is compiled: a
#   number you write, or an argument marked `tl.constexpr`. So
#   `tl.arange(start, start + 4)` is refused; `start + tl.arange(0, 4)` is not.
# - **Pointer**: the address of a tensor's first element, all that a kernel
#   gets of a tensor you pass. `p_x + 3` is the address of element 3, and a
#   pointer plus a block of offsets is a block of addresses. `tl.load` fetches
#   what lies there (`p_x[3]` does not), `tl.store` writes.
# - **Mask**: a block of truths. Where it is false nothing is touched.
#
# Our names begin with `p_` for pointers, `o_` for offsets, `m_` for masks,
# `b_` for other blocks.
#
# By hand, with $n = 10$ elements in blocks of 4. That takes three programs,
# $10/4$ rounded up, which is `triton.cdiv(10, 4)`. Program $i$ begins at
# element $4i$. Which elements does the last one get?

# %%
for i in range(triton.cdiv(10, 4)):
    o_n = i * 4 + np.arange(4)
    print("program", i, "elements", o_n, "there:", o_n < 10)

# %% [markdown]
# Elements 10 and 11 are not there. The kernel above wrote them all the same:
# it has no mask, and does not even know $n$.
#
# ### Exercise 9.1: a sum and nothing else
#
# *Easy, 5 minutes.* Both functions take a mask: `tl.load(pointers, mask)` and
# `tl.store(pointers, values, mask)`.


# %% tags=["stub:9.1"]
@triton.jit
def add_kernel(p_x, p_y, p_out, n, BLOCK: tl.constexpr):
    """Write x + y into out; each has n elements, side by side in memory.

    Program i takes elements i * BLOCK to (i + 1) * BLOCK - 1, if there.
    """
    # your code


# %% tags=["check:9.1"]
passed = check.ex09_1(add_kernel)
my_add = add_kernel if passed else first.add_kernel

# %% [markdown]
# ## Two ways to see the ends
#
# The first works everywhere. `fenced(x)` gives the same numbers as a piece of
# a larger tensor that is NaN everywhere else: a result in which something from
# outside had a part is NaN too. `poisoned(50)` is an output full of NaN, so
# what nobody writes stays NaN. Around it lies one fixed number, and
# `outside_touched` counts where it no longer does.


# %%
def launch_add(kernel, x: Tensor, y: Tensor, BLOCK: int) -> Tensor:
    n, out = len(x), poisoned(len(x), dtype=x.dtype)
    kernel[(triton.cdiv(n, BLOCK),)](x, y, out, n, BLOCK=BLOCK)
    return out


x, y = (fenced(torch.ones(50, device=DEVICE)) for _ in range(2))
out = poisoned(50)
reckless_kernel[(4,)](x, y, out, BLOCK=16)
print("reckless writes outside:", outside_touched(out), "elements")
out = launch_add(my_add, x, y, 16)
print("yours writes outside:", outside_touched(out), "elements")
assert torch.equal(out, x + y) and not outside_touched(out)

# %% [markdown]
# Where there is no GPU, `minidiff.course.kernels` has switched on Triton's
# *interpreter*: it runs the programs one after the other, on the CPU, with
# NumPy: slowly, but one can watch. `record` writes down every touch of every
# program, `show_touches` draws it. Your kernel, on 21 numbers in blocks of 8
# (from here on: ours, where an exercise is not solved):

# %% mystnb={"image": {"alt": "Two strips of 21 squares, p_x with loads above and p_out with stores below. Squares 0 to 7 bear the number 0, 8 to 15 the number 1, 16 to 20 the number 2."}}
if INTERPRETED:
    with record() as log:
        launch_add(my_add, torch.ones(21), torch.ones(21), 8)
    show_touches(log, "p_x", "p_out")
    plt.show()
    assert log.count("p_out") == 21 and log.outside("p_out") == 0

# %% [markdown]
# Each square bears the number of the program that touched it; the third
# touches five. (With a GPU such cells do nothing.)
#
# **What 9.1 proves, and what not.** The values are right for these lengths.
# The interpreter itself lets every touch pass. Our check looks at each before
# it happens and refuses those outside a tensor. On a GPU it has only fences,
# and a load that is thrown away again goes unseen.
#
# ## What one after the other hides
#
# Four programs each sum up 8 of 32 ones (`tl.sum(b, 0)`, along axis 0) and add
# that to a single number.


# %%
@triton.jit
def total_kernel(p_x, p_total, BLOCK: tl.constexpr):
    o_n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    b_sum = tl.sum(tl.load(p_x + o_n), 0)
    tl.store(p_total, tl.load(p_total) + b_sum)


# %% [markdown]
# Predict the total in the interpreter. Then predict what a GPU may give, if
# all four load the total before any of them stores.

# %%
if INTERPRETED:
    total = torch.zeros(1)
    with record() as log:
        total_kernel[(4,)](torch.ones(32), total, BLOCK=8)
    print("one after the other:", total.item())
    print("touched by several programs, and stored to:", log.races())
    assert total == 32 and log.races() == ["p_total"]

loaded = [0.0] * 4  # four programs load the total, all at once
stored = [old + 8 for old in loaded]  # each adds its 8 ones and stores
print("all at once:", stored[-1])

# %% [markdown]
# 32, and 8: three of four sums are lost. A GPU may give 16 or 24 as well. That
# is a *race*: two programs at one place, one of which writes. The interpreter
# never gives a wrong total, so the record has to tell; our checks refuse
# races. Either each element of an output has one program, as in all other
# kernels of this chapter, or the addition is made indivisible:


# %%
@triton.jit
def atomic_total_kernel(p_x, p_total, BLOCK: tl.constexpr):
    o_n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(p_total, tl.sum(tl.load(p_x + o_n), 0))


total = torch.zeros(1, device=DEVICE)
atomic_total_kernel[(4,)](torch.ones(32, device=DEVICE), total, BLOCK=8)
print("with atomics:", total.item())
assert total == 32

# %% [markdown]
# Their order stays open, so with other numbers the last digits may differ from
# run to run. Chapter 12 has to choose between the two.
#
# ## Rows, columns, strides
#
# Memory is one long line. A matrix lies in it row by row, and its *stride*
# says how many elements further the next row begins. Element $(r, c)$ lies at
# $r \cdot \text{stride} + c$. That is not the width: take five columns out of
# eight, and the next row still begins eight further.

# %%
piece = torch.zeros(3, 8)[:, :5]
print("shape", tuple(piece.shape), "stride", piece.stride(0))
o_r, o_c = np.arange(2), np.arange(4)
print("offsets of 2 rows, 4 columns:")
print(o_r[:, None] * piece.stride(0) + o_c[None, :])

# %% [markdown]
# A column of row offsets plus a row of column offsets is a block of addresses
# with two axes, as in NumPy. A mask is built alike, joined by `&`. (`fenced`
# and `poisoned` give every matrix a stride that is not its width.)
#
# ### Exercise 9.2: a transposed copy
#
# *Medium, 8 minutes.* Now the grid has two axes, and so has each block.
# (`tl.trans(b)` turns a block; you can do without.)


# %% tags=["stub:9.2"]
@triton.jit
def transpose_kernel(
    p_x, p_out, rows, cols, x_row, out_row, BLOCK: tl.constexpr
):
    """Write x (rows, cols) transposed into out (cols, rows).

    x_row and out_row are strides: from a row to the next, in elements.
    Program (i, j) takes BLOCK rows of x from i * BLOCK on, and BLOCK
    columns from j * BLOCK on.
    """
    # your code


# %% tags=["check:9.2"]
passed = check.ex09_2(transpose_kernel)
my_transpose = transpose_kernel if passed else first.transpose_kernel


# %% mystnb={"image": {"alt": "Left p_x, 6 rows of 9 squares, right p_out, 9 rows of 6 squares, each square with the place of its program in the grid. Programs 0,0 and 0,1 and so on fill blocks of four times four; on the right the blocks lie transposed, those at the edges are smaller."}}
def launch_transpose(kernel, x: Tensor, B: int) -> Tensor:
    (rows, cols), out = x.shape, poisoned(*x.T.shape)
    grid = triton.cdiv(rows, B), triton.cdiv(cols, B)
    kernel[grid](x, out, rows, cols, x.stride(0), out.stride(0), BLOCK=B)
    return out


if INTERPRETED:
    with record() as log:
        out = launch_transpose(my_transpose, torch.arange(54.0).view(6, 9), 4)
    show_touches(log, "p_x", "p_out")
    plt.show()
    assert out.T.flatten().tolist() == list(range(54))

# %% [markdown]
# **What 9.2 proves, and what not.** Addresses and masks, for odd sizes and
# strides. Not speed: a GPU fetches neighbouring addresses together, and here
# either the reads or the writes jump from row to row. What that costs, the
# interpreter cannot say.
#
# ## Softmax of rows
#
# Chapter 1's softmax in five PyTorch operations: largest, difference,
# exponential, sum, quotient. How often does each entry travel, read or
# written? Count first.


# %%
def by_steps(x: Tensor) -> Tensor:
    e = (x - x.amax(-1, keepdim=True)).exp()
    return e / e.sum(-1, keepdim=True)


x = torch.randn(8, 400, device=DEVICE)
with Meter() as meter:
    by_steps(x)
print(f"five operations move each entry {meter.moved / x.nbytes:.0f} times")
assert round(meter.moved / x.nbytes) == 8

# %% [markdown]
# Largest and sum read it, the other three read and write it: together
# $2 + 3 \cdot 2$. A kernel whose programs hold a whole row each needs one read
# and one write. But a row of 400 does not get a block of 400:


# %%
@triton.jit
def count_kernel(p_out, BLOCK: tl.constexpr):
    tl.store(p_out + tl.arange(0, BLOCK), tl.arange(0, BLOCK))


try:
    count_kernel[(1,)](torch.zeros(400, device=DEVICE), BLOCK=400)
except Exception as error:
    print(error)
print("so take", triton.next_power_of_2(400))

# %% [markdown]
# On a GPU a block is dealt out to workers, *threads*, whose number is a power
# of two, and sums are taken by halving. So take the next power of two, and
# mask the rest. Now masked entries matter: the largest and the sum run over
# them too. What shall stand in for them is the third argument of
# `tl.load(pointers, mask, other)`. Left out, it is *undefined*: on a GPU,
# anything.
#
# ### Exercise 9.3: softmax of rows
#
# *Medium, 12 minutes.* `tl.max(b, 0)` and `tl.sum(b, 0)` reduce a block along
# axis 0, `tl.exp` works entry by entry, `b.to(tl.float32)` converts.


# %% tags=["stub:9.3"]
@triton.jit
def softmax_kernel(p_x, p_out, width, x_row, out_row, BLOCK: tl.constexpr):
    """Write the softmax of each row of x into out, both (rows, width).

    x_row and out_row are the strides of their rows. Program i takes row i.
    BLOCK is a power of two, width or more. Compute in float32.
    """
    # your code


# %% tags=["check:9.3"]
passed = check.ex09_3(softmax_kernel)
my_softmax = softmax_kernel if passed else first.softmax_kernel


# %%
def launch_softmax(kernel, x: Tensor, **more: bool) -> Tensor:
    (rows, width), out = x.shape, poisoned(*x.shape)
    sizes = width, x.stride(0), out.stride(0)
    block = triton.next_power_of_2(width)
    kernel[(rows,)](x, out, *sizes, BLOCK=block, **more)
    return out


# %%
assert torch.allclose(launch_softmax(my_softmax, x), x.softmax(-1), atol=1e-6)
if INTERPRETED:
    with record() as log:
        launch_softmax(my_softmax, x)
    moved = log.count("p_x") + log.count("p_out")
    print(f"your kernel moves each entry {moved / x.numel():.0f} times")
    assert moved == 2 * x.numel()

# %% [markdown]
# Twice instead of eight times. If carrying is all that costs, it is four times
# as fast.
#
# ## The control that fails
#
# Take the mask of the load away, or let 0 stand in where masked. Four rows of
# five zeros, in blocks of 8: every weight should be $1/5$. Once they lie bare,
# with more zeros behind them, once fenced. Predict the four weights. Then for
# rows of eight zeros, which should give $1/8$.


# %%
@triton.jit
def careless_kernel(
    p_x, p_out, width, x_row, out_row, BLOCK: tl.constexpr, MASK: tl.constexpr
):
    o_w = tl.arange(0, BLOCK)
    p_row = p_x + tl.program_id(0) * x_row + o_w
    if MASK:
        b_e = tl.exp(tl.load(p_row, o_w < width, 0.0))
    else:
        b_e = tl.exp(tl.load(p_row))
    p_end = p_out + tl.program_id(0) * out_row + o_w
    tl.store(p_end, b_e / tl.sum(b_e, 0), o_w < width)


# %%
zeros = torch.zeros(9, 8, device=DEVICE).reshape(-1)
for name, mask in (("no mask", False), ("0 where masked", True)):
    for width in (5, 8):
        bare = zeros[: 4 * width].view(4, width)
        outs = [
            launch_softmax(careless_kernel, x, MASK=mask)
            for x in (bare, fenced(bare))
        ]
        found = [out[0, 0].item() for out in outs]
        print(f"{name:15s}width {width}: bare {found[0]}, fenced {found[1]}")
        assert (found == [1 / 8] * 2) == (mask or width == 8)

# %% [markdown]
# At width 5, $1/8$ instead of $1/5$: three strangers are in the sum. The fence
# turns the missing mask into NaN; without it you get a plausible number. The
# wrong stand-in not even the fence can show, since nothing outside was read.
# There only a comparison helps, and not at width 8, where all four are right.
#
# **What 9.3 proves, and what not.** Values, at widths that fill their block
# and that do not. Where a load names no `other`, our check puts NaN; the
# interpreter's 0 might look right. Not shown: how wide a row may be. A program
# holds its row in registers, which are few. Chapter 10 takes rows in pieces.
#
# ## A matrix product, block by block
#
# `out = a @ b`, with `a` $(M, K)$ and `b` $(K, N)$. Entry $(m, n)$ needs a
# whole row of `a` and a whole column of `b`. If each entry had a program of
# its own, every row of `a` would be fetched $N$ times. A program that computes
# a *block* of $B_M$ times $B_N$ entries fetches $B_M$ rows and $B_N$ columns,
# for all of them:
#
# $$
# \text{numbers fetched} = \frac{M}{B_M} \cdot \frac{N}{B_N} \cdot
# (B_M K + K B_N) = M N K \left( \frac{1}{B_N} + \frac{1}{B_M} \right)
# \tag{9.1}
# $$
#
# It walks along $K$ in steps of $B_K$, since whole rows would fill its
# registers. Each step loads two small blocks, multiplies them by `tl.dot`, and
# adds. GPUs have units for just this, faster than all else there, which take
# short numbers: float16, bfloat16, or TF32, which is float32 with 10 bits
# after the point instead of 23.
#
# ### Exercise 9.4: a matrix product
#
# *Hard, 15 minutes.* `tl.zeros((BM, BN), tl.float32)` makes a block of zeros,
# `for start in range(0, K, BK):` works as in Python, and
# `tl.dot(b_a, b_b, b_out, input_precision="ieee")` is `b_out` plus the
# product. Without `"ieee"` a GPU shortens float32 to TF32. What should stand
# in where masked this time?


# %% tags=["stub:9.4"]
@triton.jit
def matmul_kernel(
    p_a, p_b, p_out, M, N, K, a_row, b_row, out_row,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Write a @ b into out: a (M, K), b (K, N), out (M, N).

    a_row, b_row and out_row are the strides of their rows. Program (i, j)
    computes BM rows of out from i * BM on, and BN columns from j * BN on,
    in steps of BK along K, and adds up in float32.
    """
    # your code


# %% tags=["check:9.4"]
passed = check.ex09_4(matmul_kernel)
my_matmul = matmul_kernel if passed else first.matmul_kernel


# %%
def launch_matmul(kernel, a: Tensor, b: Tensor, B: int) -> Tensor:
    (M, K), N = a.shape, b.shape[1]
    out = poisoned(M, N)
    strides = a.stride(0), b.stride(0), out.stride(0)
    grid = triton.cdiv(M, B), triton.cdiv(N, B)
    kernel[grid](a, b, out, M, N, K, *strides, BM=B, BN=B, BK=16)
    return out


# %% [markdown]
# What does program $(1, 2)$ touch, with blocks of 4 times 4 in steps of 16?

# %% mystnb={"image": {"alt": "Three grids of squares. In p_a, 8 rows of 16, rows 4 to 7 are filled in whole; in p_b, 16 rows of 12, columns 8 to 11 are filled in whole; in p_out, 8 rows of 12, the block where these rows and columns meet."}}
if INTERPRETED:
    a, b = torch.randn(8, 16), torch.randn(16, 12)
    with record() as log:
        launch_matmul(my_matmul, a, b, 4)
    show_touches(log, "p_a", "p_b", "p_out", program=(1, 2))
    plt.show()
    assert log.races() == [] and log.count("p_out") == 8 * 12

# %% [markdown]
# Now equation 9.1, for matrices of 64 times 64 in blocks of 16, of 32 and of
# 64. Predict the three counts before you look.

# %%
a, b = torch.randn(2, 64, 64, device=DEVICE)
for B in (16, 32, 64):
    foretold = 64**3 * 2 // B
    assert torch.allclose(launch_matmul(my_matmul, a, b, B), a @ b, atol=1e-4)
    if INTERPRETED:
        with record() as log:
            launch_matmul(my_matmul, a, b, B)
        counted = log.count("p_a") + log.count("p_b")
        print(f"blocks of {B}: foretold {foretold:5d}, counted {counted:5d}")
        assert counted == foretold

# %% [markdown]
# Twice the block, half the traffic. At 64 each number is fetched once. Why not
# always larger? One program would do all the work while the rest of the GPU
# looks on, and a block of sums has to fit into registers.
#
# **What 9.4 proves, and what not.** Values, for sizes that are no multiples of
# blocks. Not that the compiler takes your blocks: it refuses a `tl.dot` whose
# steps along $K$ are shorter than 16, the interpreter does not. Nor that you
# wrote `"ieee"`: the interpreter never rounds to TF32.
#
# ## A type that the interpreter gets wrong
#
# Models are trained in bfloat16, two bytes a number. In the interpreter, what
# is $1 + 1$?

# %%
if INTERPRETED:
    one = torch.ones(1, dtype=torch.bfloat16)
    two = launch_add(my_add, one, one, 1)
    print("1 + 1 =", two.item())
    bits = one.view(torch.int16).item()
    print(f"the bits of 1: {bits}; {bits} + {bits} = {2 * bits}, which is")
    print(torch.tensor(2 * bits).to(torch.int16).view(torch.bfloat16).item())
    assert two > 1e38

# %% [markdown]
# NumPy has no bfloat16, so the interpreter keeps such numbers as the whole
# numbers that their bits spell, and adds those. No warning. That is why every
# function of `minidiff.course.kernels` refuses the type there:

# %%
if INTERPRETED:
    try:
        first.add(one, one)
    except TypeError as error:
        print(error)

# %% [markdown]
# On a GPU bfloat16 is right. Without one we test in float32 and float16.
#
# ## What a passing test proves
#
# | | interpreter alone | our checks there | on a GPU |
# |---|---|---|---|
# | values in float32, float16 | yes | yes | yes |
# | bfloat16 | wrong, silently | refused | yes |
# | touches outside a tensor | silent | each is seen | fences |
# | races | hidden | refused | by luck |
# | masked and no `other` | 0, looks right | NaN | anything |
# | will it compile | no | no | yes |
# | is it fast | no | no | measure |
#
# Where there is a GPU, the checks run on it and see what the last column says.
# Who wants the middle column there sets `TRITON_INTERPRET=1` before Python
# starts, for instance `TRITON_INTERPRET=1 make lab`. That holds for the whole
# session, so stop it when Part III's exercises are done: `minidiff`'s fused
# kernels then cannot run on the GPU either.
#
# ## Check of this chapter
#
# Your four kernels, or ours where yours are not done, against those of
# `minidiff.course.kernels.first`, between fences, at sizes that fit no block.

# %%
torch.manual_seed(0)
a, b = (fenced(torch.randn(17, 50, device=DEVICE)) for _ in range(2))
c = fenced(torch.randn(50, 20, device=DEVICE))
for name, mine, theirs in (
    ("add", launch_add(my_add, a[0], b[0], 16), first.add(a[0], b[0])),
    ("transpose", launch_transpose(my_transpose, a, 16), first.transpose(a)),
    ("softmax", launch_softmax(my_softmax, a), first.softmax(a)),
    ("matmul", launch_matmul(my_matmul, a, c, 32), first.matmul(a, c)),
):
    assert (mine - theirs).abs().max() < 1e-5 and not outside_touched(mine)
    print(f"this chapter -> minidiff.course.kernels.first, {name:9s} < 1e-5")

# %% [markdown]
# ## Common mistakes
#
# - **A mask at the load only.** The store needs it more.
# - **The width for the stride.** Right, until somebody passes a slice.
# - **Tests at powers of two.** They hide every missing mask.
# - **Nothing named for masked entries.** 0 for sums, minus infinity for a
#   largest or a softmax.
# - **`import triton` before `minidiff.course.kernels`.** The interpreter then
#   comes too late.
#
# ## Summary
#
# - A kernel gets addresses. Programs, blocks and strides say which, masks
#   which not.
# - Fetch once, do all, write once. Softmax of rows: 2 instead of 8.
# - Larger blocks fetch less, by equation 9.1.
# - The interpreter proves values; fences and a record of touches show what it
#   hides; only a GPU tells the time.
#
# ## Further reading
#
# - The Triton documentation, <https://triton-lang.org>: its tutorials time a
#   sum, a softmax and a product on a GPU.
# - Tillet, Kung and Cox, *Triton*, MAPL 2019: why to think in blocks and not
#   in threads.
# - *Triton-Puzzles*, <https://github.com/gpu-mode/Triton-Puzzles>: more
#   exercises of this kind, with a viewer of their own.
# - The CUDA C++ Programming Guide, on memory: what a load really does.
