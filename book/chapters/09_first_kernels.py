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
# By the end of this chapter you will have written four functions for a GPU.
# Without a GPU you will have shown that they compute what PyTorch computes,
# and that they touch no memory outside their tensors, although no error
# message would have stopped them.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - write and launch a Triton kernel, on a GPU or on any CPU;
# - turn a program's number and a stride into addresses;
# - mask elements that do not exist, and choose the value that replaces them;
# - draw which program touches which element, and find mistakes in the picture;
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
# You will write four kernels, each harder than the one before: a sum, a
# transposed copy, a softmax, a matrix product. After each a picture or a count
# shows what it touched. Nine optional puzzles at the end take smaller steps.
#
# Triton runs on Linux only (on Windows inside WSL 2).

# %%
import json

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from minidiff.course.kernels import DEVICE, INTERPRETED, first  # before triton
import triton
import triton.language as tl

# %%
from minidiff import check, course, plots
from minidiff.bench.peak_memory import Meter
from minidiff.check import hint, solution  # noqa: F401
from minidiff.course.block_diagram import show_blocks
from minidiff.course.kernels.memory import fenced, outside_touched, poisoned
from minidiff.course.kernels.picture import show_touches
from minidiff.course.kernels.trace import record

plots.use_style("svg")

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

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert torch.equal(out, x + y) and savings.sum() == 0

# %% [markdown]
# The sum is right, a test of the sum passes, and the savings are gone. There
# is no error message, here or on a GPU, because the function never saw a
# tensor of 50 numbers. It got three addresses and wrote 64 sums, the last 14
# of them $0 + 0$. When you write such functions, you have to take care of
# their ends.
#
# ## What a GPU is good for
#
# A laptop's processor has a few fast cores, each of which does one thing after
# another. A GPU has thousands of slower ones, which do the *same* thing to
# different numbers at the same time. So the work has to come in many equal
# pieces that do not wait for each other.
#
# Tensors are stored in the GPU's *main memory*. To compute with a number, a
# GPU has to load it into a *register*, right beside the arithmetic, and to
# store the result. Both take time. A large GPU that multiplies matrices of
# 16-bit numbers does well over a hundred operations in the time in which it
# moves one byte (chapter 13 measures it). The sum above does one addition for
# 12 bytes, so its arithmetic waits for memory nearly all the time.
#
# Hence the rule of this part: **load each number once, do everything with it,
# store once.** Each operation of PyTorch loads its inputs and stores its
# output. A function that runs on the GPU is called a *kernel*, and a kernel of
# your own can do several operations between one load and one store. (Chapter
# 10 looks inside a GPU.)
#
# ## Program, block, pointer, mask
#
# Take a smaller sum, of $n = 10$ elements in blocks of 4. That takes three
# *programs*: $10/4$ rounded up, which is `triton.cdiv(10, 4)`. All three run
# the same function. Program $i$ begins at element $4i$, so the last one gets
# four elements, of which two do not exist:

# %% mystnb={"image": {"alt": "A strip of twelve squares, 0 to 11; an arrow from p_x leads to square 0. Program 0 has squares 0 to 3, program 1 squares 4 to 7, program 2 squares 8 to 11. Squares 10 and 11 are dashed. Below each square stands whether its number is below 10: False for 10 and 11 only."}}
show_blocks(n=10, size=4)
plt.show()

# %% [markdown]
# The last row of the picture, the *mask*, is false for elements 10 and 11. The
# kernel of the cold open wrote such elements: it has no mask, and does not
# know $n$.
#
# Triton is a language for kernels that looks like Python. Look for its five
# words in that kernel:
#
# - **Kernel**: a function marked `@triton.jit`. On a GPU it is compiled.
# - **Program**: one run of a kernel. A launch `kernel[grid](...)` starts as
#   many as the tuple `grid` says, along up to three axes; `[(4,)]` started
#   four. `tl.program_id(0)` is the program's number along the first axis.
# - **Block**: a small array that a program holds, such as `tl.arange(0, 4)`.
#   Its size is a power of two that is known when the kernel is compiled: a
#   number you write, or an argument marked `tl.constexpr`. So
#   `start + tl.arange(0, 4)` is right, and `tl.arange(start, start + 4)` is
#   refused.
# - **Pointer**: the address of a tensor's first element. It is all that a
#   kernel gets of a tensor. `p_x + 3` is the address of element 3, and a
#   pointer plus a block of offsets is a block of addresses. `tl.load` reads
#   the numbers at these addresses (`p_x[3]` does not work), `tl.store` writes.
# - **Mask**: a block of booleans. Where it is false, nothing is read or
#   written. The cold open has none.
#
# Our names begin with `p_` for pointers, `o_` for offsets, `m_` for masks, and
# `b_` for other blocks.
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
# The first way works everywhere. `fenced(x)` returns the same numbers inside a
# larger tensor that is NaN everywhere else: if a kernel reads outside x and
# computes with it, its result is NaN. `poisoned(50)` returns an output full of
# NaN, so that elements which nobody writes stay NaN. All around it lies one
# fixed number, and `outside_touched` counts the places where that has changed.


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
# Without a GPU, `minidiff.course.kernels` has switched on Triton's
# *interpreter*, which runs the programs one after the other on the CPU, with
# NumPy. That is slow, but everything can be watched. `record` keeps every load
# and store (every *touch*) of every program, and `show_touches` draws them.
# This is your kernel, or ours if 9.1 is not solved, on 21 numbers in blocks of
# 8:

# %% mystnb={"image": {"alt": "Two strips of 21 squares, p_x with loads above and p_out with stores below. Squares 0 to 7 bear the number 0, 8 to 15 the number 1, 16 to 20 the number 2."}}
if INTERPRETED:
    with record() as log:
        launch_add(my_add, torch.ones(21), torch.ones(21), 8)
    show_touches(log, "p_x", "p_out")
    plt.show()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
if INTERPRETED:
    assert log.count("p_out") == 21 and log.outside("p_out") == 0

# %% [markdown]
# Each square shows the number of the program that touched it. The third
# program touches five elements. (Where there is a GPU, a cell that begins with
# `if INTERPRETED:` does nothing.)
#
# The interpreter itself allows a touch outside a tensor. Our check sees each
# touch before it happens, and refuses it. On a GPU the check has only the
# fences. They miss a number that is loaded from outside and not used.
#
# ## Rows, columns, strides
#
# Memory is one long line of elements. A matrix lies in it row by row, and its
# *stride* says how many elements after a row the next one begins. Element
# $(r, c)$ lies at $r \cdot \text{stride} + c$. The stride is not always the
# width: in a slice of five columns out of eight, rows are still eight apart.

# %%
piece = torch.zeros(3, 8)[:, :5]
print("shape", tuple(piece.shape), "stride", piece.stride(0))
o_r, o_c = np.arange(2), np.arange(4)
print("offsets of 2 rows, 4 columns:")
print(o_r[:, None] * piece.stride(0) + o_c[None, :])

# %% [markdown]
# As in NumPy, a column of row offsets plus a row of column offsets is a block
# with two axes. A mask is built in the same way, from two conditions that are
# joined by `&`. (`fenced` and `poisoned` give every matrix a stride that is
# not its width.)
#
# ### Exercise 9.2: a transposed copy
#
# *Medium, 8 minutes.* Now the grid has two axes, and so does each block.
# (`tl.trans(b)` transposes a block; you can do without it.)


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

# %% tags=["hide-input"] jupyter={"source_hidden": true}
if INTERPRETED:
    assert out.T.flatten().tolist() == list(range(54))

# %% [markdown]
# **Not proved: speed.** A GPU reads neighbouring addresses together. If each
# thread kept the numbers that it loads, either the loads or the stores would
# jump from row to row. Triton's compiler avoids that: in between, threads
# exchange their numbers. The interpreter cannot say what that costs.
#
# If this exercise took you long, do puzzles 9.5 to 9.8 at the end of this
# chapter before you go on. They take smaller steps.
#
# ## Softmax of rows
#
# Chapter 1's softmax takes five PyTorch operations: maximum, difference,
# exponential, sum, quotient. How many times is each entry of the matrix read
# or written in all? Count before you run this.


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
def by_steps(x: Tensor) -> Tensor:
    e = (x - x.amax(-1, keepdim=True)).exp()
    return e / e.sum(-1, keepdim=True)


x = torch.randn(8, 400, device=DEVICE)
with Meter() as meter:
    by_steps(x)
print(f"five operations move each entry {meter.moved / x.nbytes:.0f} times")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert round(meter.moved / x.nbytes) == 8

# %% [markdown]
# Maximum and sum read each entry, and the other three operations read and
# write it, so the total is $2 + 3 \cdot 2$. A kernel whose programs hold a
# whole row each needs one read and one write. But a row of 400 numbers cannot
# have a block of 400:


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
# On a GPU the numbers of a block are shared out among *threads*, which work on
# them side by side. They compute a sum by halving: 16 numbers become 8 sums,
# these become 4, and so on. So the size of a block is a power of two: take the
# next one, and mask the rest. Now the masked entries matter, because
# the maximum and the sum run over them too. The third argument of
# `tl.load(pointers, mask, other)` is the value they get. If you leave it out,
# their value is *undefined*: on a GPU it can be anything.
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


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def launch_softmax(kernel, x: Tensor, **more: bool) -> Tensor:
    (rows, width), out = x.shape, poisoned(*x.shape)
    sizes = width, x.stride(0), out.stride(0)
    block = triton.next_power_of_2(width)
    kernel[(rows,)](x, out, *sizes, BLOCK=block, **more)
    return out


# %%
if INTERPRETED:
    with record() as log:
        launch_softmax(my_softmax, x)
    moved = log.count("p_x") + log.count("p_out")
    print(f"your kernel moves each entry {moved / x.numel():.0f} times")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert torch.allclose(launch_softmax(my_softmax, x), x.softmax(-1), atol=1e-6)
if INTERPRETED:
    assert moved == 2 * x.numel()

# %% [markdown]
# If only moving took time, the kernel would be four times as fast as the five
# operations, and would move bytes as fast as a copy. Is the second true? The
# solution was timed on an NVIDIA H200. (A plain copy, timed on another H200 on
# another day, moved 4.26 TB/s [H200].) The threads of a program come in *warps* of
# 32, and a launch chooses how many. Each line has its own width; every matrix has
# about 34 million numbers.

# %%
timed = json.loads(course.results("block_sizes.json").read_text())
print(timed["provenance"]["device"], timed["provenance"]["date"])
rates: dict[int, list[float]] = {}  # by width; terabytes a second
for r in timed["rows"]:
    # Of the blocks that hold a row, the smallest.
    if r["kernel"] == "softmax" and r["BLOCK"] < 2 * r["width"]:
        moved = 2 * 4 * (2**25 // r["width"]) * r["width"]
        rates.setdefault(r["width"], []).append(moved / r["ms"] / 1e9)
print("TB/s, warps:" + "".join(f"{n:6d}" for n in (1, 2, 4, 8, 16)))
for width, found in rates.items():
    print(f"width {width:5d} " + "".join(f"{x:6.2f}" for x in found))

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert all(max(found) > 0.75 * 4.26 for found in rates.values())
assert rates[256][4] < rates[256][0] / 3.5
assert rates[16384][0] < rates[16384][4] / 5

# %% [markdown]
# At every width some number of warps moves more than three quarters of what the
# copy did, so the arithmetic costs at most a quarter of the time. But the number
# of warps matters. With one warp, each thread must hold 512 numbers of a row of
# 16,384. It has at most 255 registers, so numbers go to memory and come back.
# But 16 warps are 512 threads. A row of 256 gives work to half of them, and each
# sum must be put together from 16 warps. A wide row needs many, a narrow one few.
#
# **Not proved: rows of any width.** A program holds its whole row in
# registers. Chapter 10 takes rows in pieces.
#
# ## A matrix product, block by block
#
# We compute `out = a @ b`, with `a` $(M, K)$ and `b` $(K, N)$. Each entry of
# the output needs a whole row of `a` and a whole column of `b`. With 64 times
# 64 numbers in each, a program for one entry loads 128 numbers, and all 4,096
# programs load half a million, although `a` and `b` hold 8,192. A program that
# computes a *block* of $B_M$ times $B_N$ entries loads $B_M$ rows and $B_N$
# columns once, and uses them for all entries of the block:
#
# $$
# \text{numbers loaded} = \frac{M}{B_M} \cdot \frac{N}{B_N} \cdot
# (B_M K + K B_N) = M N K \left( \frac{1}{B_N} + \frac{1}{B_M} \right)
# \tag{9.1}
# $$
#
# It walks along $K$ in steps of $B_K$, since whole rows would not fit into its
# registers. Each step loads two small blocks, multiplies them with `tl.dot`,
# and adds the product to a sum. GPUs have special units for such products, by
# far the fastest arithmetic they have. These units take short numbers:
# float16, bfloat16, or TF32, which is float32 with 10 bits after the point
# instead of 23.
#
# ### Exercise 9.4: a matrix product
#
# *Hard, 15 minutes.* `tl.zeros((BM, BN), tl.float32)` makes a block of zeros,
# `for start in range(0, K, BK):` works as in Python, and
# `tl.dot(b_a, b_b, b_out, input_precision="ieee")` is `b_out` plus the
# product. Without `"ieee"` a GPU rounds float32 to TF32. Which value should
# masked entries have this time? (Puzzle 9.10 is the same loop with one block
# in place of two.)


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


# %% tags=["hide-input"] jupyter={"source_hidden": true}
def launch_matmul(kernel, a: Tensor, b: Tensor, B: int) -> Tensor:
    (M, K), N = a.shape, b.shape[1]
    out = poisoned(M, N)
    strides = a.stride(0), b.stride(0), out.stride(0)
    grid = triton.cdiv(M, B), triton.cdiv(N, B)
    kernel[grid](a, b, out, M, N, K, *strides, BM=B, BN=B, BK=16)
    return out


# %% [markdown]
# Which elements does program $(1, 2)$ touch, with blocks of 4 times 4 in steps
# of 16? Sketch them before you run this.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Three grids of squares. In p_a, 8 rows of 16, rows 4 to 7 are filled in whole; in p_b, 16 rows of 12, columns 8 to 11 are filled in whole; in p_out, 8 rows of 12, the block where these rows and columns meet."}}
if INTERPRETED:
    a, b = torch.randn(8, 16), torch.randn(16, 12)
    with record() as log:
        launch_matmul(my_matmul, a, b, 4)
    show_touches(log, "p_a", "p_b", "p_out", program=(1, 2))
    plt.show()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
if INTERPRETED:
    assert log.races() == [] and log.count("p_out") == 8 * 12

# %% [markdown]
# Back to matrices of 64 times 64. By equation 9.1, how much of the half million
# is left with blocks of 16, of 32 and of 64?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
a, b = torch.randn(2, 64, 64, device=DEVICE)
counted = {}
for B in (16, 32, 64):
    if INTERPRETED:
        with record() as log:
            launch_matmul(my_matmul, a, b, B)
        counted[B] = log.count("p_a") + log.count("p_b")
        print(f"blocks of {B}: {counted[B]:5d} numbers loaded")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for B in (16, 32, 64):
    assert torch.allclose(launch_matmul(my_matmul, a, b, B), a @ b, atol=1e-4)
    assert not INTERPRETED or counted[B] == 64**3 * 2 // B

# %% [markdown]
# Twice the block size means half the traffic. With blocks of 64 each number is
# loaded once. Why not always take larger blocks? One program would do all the
# work, and a block of sums has to fit into registers.
#
# **Not proved: that it compiles.** The compiler refuses a `tl.dot` whose steps
# along $K$ are shorter than 16, and the interpreter does not. Nor can it tell
# whether you wrote `"ieee"`, because it never rounds to TF32.
#
# ## What the interpreter hides: races
#
# Four programs each add up 8 of 32 ones. Then each adds its sum to one number
# that all of them share.


# %%
@triton.jit
def total_kernel(p_x, p_total, BLOCK: tl.constexpr):
    o_n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    b_sum = tl.sum(tl.load(p_x + o_n), 0)
    tl.store(p_total, tl.load(p_total) + b_sum)


# %% [markdown]
# Predict the total in the interpreter, which runs one program after the other.
# Then predict what a GPU may give, if all four programs load the total before
# any of them stores it.

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
if INTERPRETED:
    total = torch.zeros(1)
    with record() as log:
        total_kernel[(4,)](torch.ones(32), total, BLOCK=8)
    print("one after the other:", total.item())
    print("touched by several programs, and stored to:", log.races())

loaded = [0.0] * 4  # four programs load the total, all at once
stored = [old + 8 for old in loaded]  # each adds its 8 ones and stores
print("all at once:", stored[-1])

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert stored[-1] == 8
if INTERPRETED:
    assert total == 32 and log.races() == ["p_total"]

# %% [markdown]
# The totals are 32, and 8: three of four sums are lost. With two programs it
# goes like this:
#
# ```text
# program 0     program 1     total
# load: 0                       0
#               load: 0         0
# store: 8                      8
#               store: 8        8     the first sum is lost
# ```
#
# A GPU may also give 16 or 24. This is a *race*: two programs touch one
# element, at least one of them writes, and the result depends on which comes
# first. In the interpreter the total is never wrong, so only the record shows
# the race, and our checks refuse it. There are two remedies. Either each
# element of an output belongs to one program, as in all other kernels of this
# chapter, or load, addition and store become one *atomic* step that no other
# program can interrupt:


# %%
@triton.jit
def atomic_total_kernel(p_x, p_total, BLOCK: tl.constexpr):
    o_n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(p_total, tl.sum(tl.load(p_x + o_n), 0))


total = torch.zeros(1, device=DEVICE)
atomic_total_kernel[(4,)](torch.ones(32, device=DEVICE), total, BLOCK=8)
print("with atomics:", total.item())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert total == 32

# %% [markdown]
# The order of the additions is still not fixed, so with other numbers the last
# digits may differ from run to run. Chapter 12 chooses between the two.
#
# ## The control that fails
#
# Take exercise 9.3's softmax and spoil it in two ways: leave out the mask of
# the load, or read 0 where masked. The input is four rows of five zeros, in
# blocks of 8, so every weight should be $1/5$. It comes twice: once bare, with
# more zeros behind it in memory, and once fenced. Predict the four weights.
# Then predict them for rows of eight zeros, where every weight should be
# $1/8$.


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


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
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

# %% tags=["hide-input"] jupyter={"source_hidden": true}
x = fenced(zeros[:20].view(4, 5))
assert launch_softmax(careless_kernel, x, MASK=False).isnan().all()
assert (launch_softmax(careless_kernel, x, MASK=True) == 1 / 8).all()

# %% [markdown]
# At width 5 the bare rows give $1/8$ instead of $1/5$, because the sum counts
# three numbers that do not belong to the row. The fence turns the missing mask
# into NaN; without a fence you get a plausible number. But the second mistake,
# 0 where masked, reads nothing outside, so the fence cannot show it. Only a
# comparison shows it, and not at width 8, where all four weights are right.
#
# ## A type that the interpreter gets wrong
#
# Models are trained in bfloat16, which takes two bytes a number. What is $1 +
# 1$ in the interpreter?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
if INTERPRETED:
    one = torch.ones(1, dtype=torch.bfloat16)
    two = launch_add(my_add, one, one, 1)
    print("1 + 1 =", two.item())
    bits = one.view(torch.int16).item()
    print(f"the bits of 1: {bits}; {bits} + {bits} = {2 * bits}, which is")
    print(torch.tensor(2 * bits).to(torch.int16).view(torch.bfloat16).item())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert not INTERPRETED or two > 1e38

# %% [markdown]
# NumPy has no bfloat16, so the interpreter keeps the 16 bits of such a number
# as an integer, and adds the integers. It gives no warning. That is why every
# function of `minidiff.course.kernels` refuses the type in the interpreter. On
# a GPU bfloat16 is right; without one we test in float32 and float16.
#
# ## What a passing test proves
#
# | | interpreter alone | our checks in it | a GPU |
# |---|---|---|---|
# | wrong values in float32, float16 | seen | seen | seen |
# | values in bfloat16 | silently wrong | refused | right |
# | touches outside a tensor | not seen | all seen | some seen, by fences |
# | races | not seen | refused | seen by luck |
# | masked entry without `other` | 0, looks right | NaN, is seen | anything |
# | whether it compiles | not seen | not seen | seen |
# | whether it is fast | not seen | not seen | to be measured |
#
# If there is a GPU, the checks run on it and find what the last column says.
# For the middle column on such a machine, start with
# `TRITON_INTERPRET=1 make lab`. In such a session `minidiff`'s fused kernels
# cannot use the GPU either.
#
# ## Check of this chapter
#
# Your four kernels, or ours where yours are not done, are compared with those
# of `minidiff.course.kernels.first`, between fences, at sizes that fit no
# block.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
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
# - **A mask at the load only.** The store needs it even more.
# - **The width instead of the stride.** It is right until somebody passes a
#   slice.
# - **Tests at powers of two.** They hide every missing mask.
# - **No value for masked entries.** Take 0 for sums, and minus infinity for a
#   maximum or a softmax.
# - **`import triton` before `minidiff.course.kernels`.** Then it is too late to
#   switch the interpreter on.
#
# ## Summary
#
# - A kernel gets addresses. Program index, block size and strides decide which
#   elements a program touches; the mask excludes those outside the tensor.
# - Load once, compute everything, store once: softmax of rows moves each entry
#   2 times instead of 8.
# - Larger blocks load less, by equation 9.1.
# - The interpreter proves values. Fences and a record of touches show what it
#   hides. How fast a kernel is, only a GPU shows.
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

# %% [markdown]
# ## Optional: nine puzzles
#
# Each takes about five minutes: one to five lines in a given kernel. Together
# they lead to chapter 10 in small steps. Do them in order, or only those you
# are unsure about. `hint("9.6", 1)` and `solution("9.6")` work as usual.
#
# ### Exercise 9.5: a launch grid
#
# *Optional puzzle, 5 minutes.* This one is plain Python: how many programs are
# there along each of three axes?


# %% tags=["stub:9.5"]
def grid_of(
    N: int, rows: int, cols: int, BR: int, BC: int
) -> tuple[int, int, int]:
    """Return the grid of a launch over x (N, rows, cols).

    Program (n, i, j) takes BR rows and BC columns of matrix n: rows from
    i * BR on, columns from j * BC on. The last blocks may be cut short.
    """
    # your code


# %% tags=["check:9.5"]
check.ex09_5(grid_of)

# %% [markdown]
# ### Exercise 9.6: a column plus a row
#
# *Optional puzzle, 5 minutes.* Two loads, one store, and three masks. The
# block that is stored has two axes.


# %% tags=["stub:9.6"]
@triton.jit
def outer_kernel(p_x, p_y, p_out, rows, cols, out_row, BLOCK: tl.constexpr):
    """Write out[r, c] = x[r] + y[c] for x (rows,) and y (cols,).

    Program (i, j) takes BLOCK rows from i * BLOCK on, and BLOCK columns from
    j * BLOCK on. Rows of out lie out_row elements apart.
    """
    o_r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o_c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    # your code


# %% tags=["check:9.6"]
check.ex09_6(outer_kernel)

# %% [markdown]
# ### Exercise 9.7: any strided view
#
# *Optional puzzle, 5 minutes.* `x[:, ::2]` and `x.T` are views: they copy
# nothing and only change strides. PyTorch hands your kernel both strides.


# %% tags=["stub:9.7"]
@triton.jit
def view_kernel(
    p_x, p_out, rows, cols, x_row, x_col, out_row, BLOCK: tl.constexpr
):
    """Copy x (rows, cols) into out, for any two strides of x.

    Element (r, c) of x lies r * x_row + c * x_col after the first. Columns of
    out lie side by side. Program (i, j) takes BLOCK rows and BLOCK columns.
    """
    o_r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o_c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    # your code


# %% tags=["check:9.7"]
check.ex09_7(view_kernel)

# %% [markdown]
# ### Exercise 9.8: find the mistake in a picture
#
# *Optional puzzle, 5 minutes.* This kernel should halve a matrix. The picture
# shows which program stores which element, for 6 rows and 9 columns in blocks
# of 4. What is wrong? Two words have to be changed.


# %%
@triton.jit
def askew_kernel(p_x, p_out, rows, cols, x_row, out_row, BLOCK: tl.constexpr):
    o_r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o_c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m = (o_r < rows)[:, None] & (o_c < rows)[None, :]
    b_x = tl.load(p_x + o_r[:, None] * x_row + o_c[None, :], m)
    tl.store(p_out + o_r[:, None] * out_row + o_c[None, :], b_x / 2, m)


# %% mystnb={"image": {"alt": "A grid of 6 rows by 9 columns, p_out. Filled are only the block of rows 0 to 3 and columns 0 to 3 and the block of rows 4 and 5 and columns 4 and 5, each touched by three programs. Everything else is empty."}}
if INTERPRETED:
    x, out = torch.ones(6, 9), poisoned(6, 9)
    with record() as log:
        askew_kernel[(2, 3)](x, out, 6, 9, 9, out.stride(0), BLOCK=4)
    show_touches(log, "p_out")
    plt.show()


# %% tags=["stub:9.8"]
@triton.jit
def halve_kernel(p_x, p_out, rows, cols, x_row, out_row, BLOCK: tl.constexpr):
    """Write x / 2 into out, both (rows, cols).

    Program (i, j) takes BLOCK rows from i * BLOCK on, and BLOCK columns from
    j * BLOCK on.
    """
    # your code


# %% tags=["check:9.8"]
check.ex09_8(halve_kernel)

# %% [markdown]
# ### Exercise 9.9: repair a race
#
# *Optional puzzle, 5 minutes.* Here each program takes some rows, adds up
# their columns, and adds that to `out`. It is right in the interpreter and
# wrong on a GPU. Which two lines must not be separated? `tl.atomic_add` takes
# pointers, values and a mask, as `tl.store` does.


# %%
@triton.jit
def racing_kernel(p_x, p_out, rows, cols, x_row, BLOCK: tl.constexpr):
    o_r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o_c = tl.arange(0, BLOCK)
    m = (o_r < rows)[:, None] & (o_c < cols)[None, :]
    b_x = tl.load(p_x + o_r[:, None] * x_row + o_c[None, :], m, 0.0)
    b_old = tl.load(p_out + o_c, o_c < cols)
    tl.store(p_out + o_c, b_old + tl.sum(b_x, 0), o_c < cols)


# %% tags=["stub:9.9"]
@triton.jit
def column_sums_kernel(p_x, p_out, rows, cols, x_row, BLOCK: tl.constexpr):
    """Add the sum of each column of x (rows, cols) to out (cols,).

    out holds zeros before. Program i takes rows from i * BLOCK on, BLOCK of
    them, and all columns, cols <= BLOCK.
    """
    o_r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o_c = tl.arange(0, BLOCK)
    m = (o_r < rows)[:, None] & (o_c < cols)[None, :]
    # your code


# %% tags=["check:9.9"]
check.ex09_9(column_sums_kernel)

# %% [markdown]
# ### Exercise 9.10: sums of rows, a block at a time
#
# *Optional puzzle, 5 minutes.* Now a row is longer than a block, so the
# program walks along it. `b_sum` holds one sum for each place in a block.
# Write one line in the loop, and one after it.


# %% tags=["stub:9.10"]
@triton.jit
def row_sums_kernel(p_x, p_out, cols, x_row, BLOCK: tl.constexpr):
    """Write the sum of each row of x (rows, cols) into out (rows,).

    Program i takes row i, BLOCK columns at a time. Add up in float32.
    """
    i_r = tl.program_id(0)
    b_sum = tl.zeros([BLOCK], tl.float32)
    for start in range(0, cols, BLOCK):
        o_c = start + tl.arange(0, BLOCK)
        # your code


# %% tags=["check:9.10"]
check.ex09_10(row_sums_kernel)

# %% [markdown]
# ### Exercise 9.11: the largest so far
#
# *Optional puzzle, 5 minutes.* One number is carried along the row. Write one
# line before the loop, and three in it. `tl.maximum(a, b)` is the larger of
# two. All numbers of a row may be negative.


# %% tags=["stub:9.11"]
@triton.jit
def running_max_kernel(p_x, p_out, cols, x_row, out_row, BLOCK: tl.constexpr):
    """Write the largest number so far of each row of x, block by block.

    x (rows, cols), out (rows, blocks): out[i, k] is the largest of the first
    (k + 1) * BLOCK numbers of row i. Program i takes row i.
    """
    i_r = tl.program_id(0)
    # your code
    for k in range(tl.cdiv(cols, BLOCK)):
        o_c = k * BLOCK + tl.arange(0, BLOCK)
        p_row = p_x + i_r * x_row


# %% tags=["check:9.11"]
check.ex09_11(running_max_kernel)

# %% [markdown]
# ### Exercise 9.12: hide the future
#
# *Optional puzzle, 5 minutes.* This is chapter 1's causal mask.
# `tl.where(m, a, b)` takes `a` where `m` holds, and `b` elsewhere.
# A hidden score is $-\infty$, and it is written too.


# %% tags=["stub:9.12"]
@triton.jit
def hidden_kernel(p_x, p_out, T, S, x_row, out_row, BLOCK: tl.constexpr):
    """Copy scores x (T, S) into out, with -inf where a key is hidden.

    Query t sees keys 0 to t + S - T, and T <= S. Program (i, j) takes BLOCK
    queries from i * BLOCK on, and BLOCK keys from j * BLOCK on.
    """
    o_t = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o_s = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    m = (o_t < T)[:, None] & (o_s < S)[None, :]
    # your code


# %% tags=["check:9.12"]
check.ex09_12(hidden_kernel)

# %% [markdown]
# ### Exercise 9.13: a weighted mean
#
# *Optional puzzle, 5 minutes.* Attention gives each query a weighted mean of
# the values. Here the weights are given, and do not sum to 1. Two sums grow in
# the loop; divide once.


# %% tags=["stub:9.13"]
@triton.jit
def mean_kernel(
    p_w, p_v, p_out, S, v_row, BLOCK: tl.constexpr, D: tl.constexpr
):
    """Write the mean of the rows of v (S, D), weighted by w (S,), to out (D,).

    That is the sum of w[s] * v[s], divided by the sum of w. One program takes
    BLOCK rows at a time.
    """
    o_d = tl.arange(0, D)
    b_acc = tl.zeros([D], tl.float32)
    total = 0.0
    for start in range(0, S, BLOCK):
        o_s = start + tl.arange(0, BLOCK)
        m_s = o_s < S
        at = o_s[:, None] * v_row + o_d[None, :]
        # your code


# %% tags=["check:9.13"]
check.ex09_13(mean_kernel)

# %% [markdown]
# **What the puzzles do not prove.** `tl.max` ignores NaN in the interpreter,
# so in 9.11 a load without `other` goes unnoticed. On a GPU it is undefined.
