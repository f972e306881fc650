"""Chapter 09's puzzles: right and wrong answers written another way.

Pointers are moved step by step, and masks compare what is left.
"""

from functools import partial

from minidiff.check.edited import edited

# isort: split
import triton
import triton.language as tl


def grid(N, rows, cols, BR, BC):
    return N, (rows + BR - 1) // BR, (cols + BC - 1) // BC


GRID = {
    "rounded down": lambda N, rows, cols, BR, BC: (
        N,
        int(rows / BR),
        int(cols / BC),
    ),
    "one too many": lambda N, rows, cols, BR, BC: (
        N,
        (rows + BR) // BR,
        (cols + BC) // BC,
    ),
    "elements for blocks": lambda *sizes: sizes[:3],
    "block sizes for counts": lambda N, *sizes: (N, *sizes[2:]),
    "axes in another order": lambda N, rows, cols, BR, BC: (
        N,
        -(-cols // BC),
        -(-rows // BR),
    ),
}


@triton.jit
def outer(p_x, p_y, p_out, rows, cols, out_row, BLOCK: tl.constexpr):
    r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[:, None]
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[None, :]
    b_x = tl.load(p_x + r, mask=r < rows, other=0.0)
    b_y = tl.load(p_y + c, mask=c < cols, other=0.0)
    p_out += r * out_row + c
    tl.store(p_out, b_x + b_y, mask=(r < rows) & (c < cols))


out = partial(edited, outer)
OUTER = {
    "not broadcast": out(("b_x + b_y,", "tl.sum(b_x, 1) + tl.sum(b_y, 0),")),
    "row and column exchanged": out(
        ("b_x + b_y,", "tl.trans(b_x) + tl.trans(b_y),")
    ),
    "load without mask": out(
        (", mask=r < rows, other=0.0", ""), (", mask=c < cols, other=0.0", "")
    ),
    "store beyond the edge": out((", mask=(r < rows) & (c < cols)", "")),
    "width for stride": out(("r * out_row", "r * cols")),
}


@triton.jit
def view(p_x, p_out, rows, cols, x_row, x_col, out_row, BLOCK: tl.constexpr):
    r = tl.program_id(0) * BLOCK
    c = tl.program_id(1) * BLOCK
    o_r = tl.arange(0, BLOCK)[:, None]
    o_c = tl.arange(0, BLOCK)[None, :]
    there = (o_r < rows - r) & (o_c < cols - c)
    p_x += r * x_row + c * x_col + o_r * x_row + o_c * x_col
    p_out += r * out_row + c + o_r * out_row + o_c
    tl.store(p_out, tl.load(p_x, mask=there), mask=there)


of = partial(edited, view)
VIEW = {
    "columns side by side": of(
        ("c * x_col + o_r", "c + o_r"), ("o_c * x_col", "o_c")
    ),
    "strides exchanged": of(
        (
            "r * x_row + c * x_col + o_r * x_row + o_c * x_col",
            "r * x_col + c * x_row + o_r * x_col + o_c * x_row",
        )
    ),
    "strides of x for out": of(
        (
            "p_out += r * out_row + c + o_r * out_row + o_c",
            "p_out += r * x_row + c * x_col + o_r * x_row + o_c * x_col",
        )
    ),
    "mask forgotten": of(
        ("tl.load(p_x, mask=there), mask=there", "tl.load(p_x)")
    ),
}


@triton.jit
def halve(p_x, p_out, rows, cols, x_row, out_row, BLOCK: tl.constexpr):
    r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[:, None]
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[None, :]
    there = (r < rows) & (c < cols)
    b_x = tl.load(p_x + r * x_row + c, mask=there, other=0.0)
    tl.store(p_out + r * out_row + c, 0.5 * b_x, mask=there)


by = partial(edited, halve)
HALVE = {
    "as before": by(
        ("c = tl.program_id(1)", "c = tl.program_id(0)"),
        ("c < cols", "c < rows"),
    ),
    "blocks on the diagonal": by(
        ("c = tl.program_id(1)", "c = tl.program_id(0)")
    ),
    "columns cut off at rows": by(("c < cols", "c < rows")),
    "program's places swapped": by(
        ("tl.program_id(1)", "tl.program_id(2 - 2)"),
        ("r = tl.program_id(0)", "r = tl.program_id(1)"),
    ),
}


@triton.jit
def column_sums(p_x, p_out, rows, cols, x_row, BLOCK: tl.constexpr):
    r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    c = tl.arange(0, BLOCK)
    there = (c < cols)[:, None] & (r < rows)
    b_x = tl.load(p_x + r * x_row + c[:, None], mask=there, other=0.0)
    b_sum = tl.sum(b_x.to(tl.float32), axis=1)
    p_out += c
    tl.atomic_add(p_out, b_sum, mask=c < cols)


down = partial(edited, column_sums)
ATOMIC = "tl.atomic_add(p_out, b_sum, mask=c < cols)"
COLUMN_SUMS = {
    "load and store": down(
        (
            ATOMIC,
            "b_old = tl.load(p_out, mask=c < cols, other=0.0)\n"
            "    tl.store(p_out, b_old + b_sum, mask=c < cols)",
        )
    ),
    "stored, not added": down(
        (ATOMIC, "tl.store(p_out, b_sum, mask=c < cols)")
    ),
    "sum along the other axis": down(("axis=1", "axis=0")),
    "atomic without mask": down((ATOMIC, "tl.atomic_add(p_out, b_sum)")),
    "masked entries undefined": down((", other=0.0", "")),
    "load without mask": down((", mask=there, other=0.0", "")),
}


@triton.jit
def row_sums(p_x, p_out, cols, x_row, BLOCK: tl.constexpr):
    p_x += tl.program_id(0) * x_row
    o = tl.arange(0, BLOCK)
    total = 0.0
    for k in range(tl.cdiv(cols, BLOCK)):
        there = o < cols - k * BLOCK
        b_x = tl.load(p_x + o, mask=there, other=0.0).to(tl.float32)
        total = total + tl.sum(b_x, axis=0)
        p_x += BLOCK
    tl.store(p_out + tl.program_id(0), total)


along = partial(edited, row_sums)
ROW_SUMS = {
    "last block only": along(("total = total + ", "total = ")),
    "masked entries undefined": along((", other=0.0", "")),
    "load without mask": along((", mask=there, other=0.0", "")),
    "width for stride": along(("* x_row", "* cols")),
    "same row for all": along(("p_x += tl.program_id(0) * x_row", "pass")),
    "added up in float16": along((".to(tl.float32)", "")),
}


@triton.jit
def running_max(p_x, p_out, cols, x_row, out_row, BLOCK: tl.constexpr):
    p_x += tl.program_id(0) * x_row
    p_out += tl.program_id(0) * out_row
    b_top = tl.full([BLOCK], float("-inf"), tl.float32)
    o = tl.arange(0, BLOCK)
    left = cols
    while left > 0:
        b_x = tl.load(p_x + o, mask=o < left, other=float("-inf"))
        b_top = tl.where(b_x > b_top, b_x, b_top)
        tl.store(p_out, tl.max(b_top, axis=0))
        p_out += 1
        p_x += BLOCK
        left -= BLOCK


top = partial(edited, running_max)
RUNNING_MAX = {
    "starts at zero": top(('[BLOCK], float("-inf")', "[BLOCK], 0.0")),
    "maximum of the block": top(("tl.max(b_top", "tl.max(b_x")),
    "masked entries zero": top(('other=float("-inf")', "other=0.0")),
    "load without mask": top((', mask=o < left, other=float("-inf")', "")),
    "wrong stride": top(("* x_row", "* cols")),
    "stored once": top(("p_out += 1", "pass")),
}


@triton.jit
def hidden(p_x, p_out, T, S, x_row, out_row, BLOCK: tl.constexpr):
    t = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[:, None]
    s = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[None, :]
    there = (t < T) & (s < S)
    ahead = s - t - (S - T)  # how far a key lies beyond the last one seen
    b_x = tl.load(p_x + t * x_row + s, mask=there & (ahead <= 0), other=0.0)
    b_x = tl.where(ahead > 0, float("-inf"), b_x)
    tl.store(p_out + t * out_row + s, b_x, mask=there)


hide = partial(edited, hidden)
LOAD = "there & (ahead <= 0)"
HIDDEN = {
    "not hidden": hide((LOAD, "there"), ("ahead > 0", "ahead > S")),
    "own key hidden": hide(("ahead > 0", "ahead >= 0")),
    "one key too many": hide((LOAD, "there"), ("ahead > 0", "ahead > 1")),
    "aligned to the start": hide(("s - t - (S - T)", "s - t")),
    "turned around": hide((LOAD, "there"), ("ahead > 0", "ahead < 0")),
    "places inside the block": hide(
        (LOAD, "there"),
        (
            "ahead = s - t",
            "ahead = tl.arange(0, BLOCK)[None, :] "
            "- tl.arange(0, BLOCK)[:, None]",
        ),
    ),
    "hidden by a number": hide(('float("-inf")', "-1e9")),
    "hidden scores not written": hide(
        ("mask=there)", "mask=there & (ahead <= 0))")
    ),
}


@triton.jit
def mean(p_w, p_v, p_out, S, v_row, BLOCK: tl.constexpr, D: tl.constexpr):
    b_sums = tl.zeros([D, BLOCK], tl.float32)
    b_weights = tl.zeros([BLOCK], tl.float32)
    o = tl.arange(0, BLOCK)
    o_d = tl.arange(0, D)[:, None]
    for k in range(tl.cdiv(S, BLOCK)):
        s = k * BLOCK + o
        b_w = tl.load(p_w + s, mask=s < S, other=0.0).to(tl.float32)
        b_v = tl.load(p_v + s[None, :] * v_row + o_d, mask=s < S, other=0.0)
        b_sums = b_sums + b_w[None, :] * b_v
        b_weights = b_weights + b_w
    b_out = tl.sum(b_sums, axis=1)
    b_out = b_out / tl.sum(b_weights, axis=0)
    tl.store(p_out + tl.arange(0, D), b_out)


weighted = partial(edited, mean)
MEAN = {
    "weights along the wrong axis": weighted(
        ("b_w[None, :] * b_v", "b_w[:, None] * b_v")
    ),
    "sum along the other axis": weighted(
        ("tl.sum(b_sums, axis=1)", "tl.sum(b_sums, axis=0)"),
        ("b_sums + b_w[None, :] * b_v", "b_sums + b_w[None, :] * b_v"),
    ),
    "not divided": weighted(
        ("b_out = b_out / tl.sum(b_weights, axis=0)", "pass")
    ),
    "divided by the number of rows": weighted(
        ("tl.sum(b_weights, axis=0)", "S")
    ),
    "divided each time": weighted(
        (
            "b_weights = b_weights + b_w",
            "b_weights = b_weights + b_w\n"
            "        b_sums = b_sums / tl.sum(b_weights, axis=0)",
        ),
        ("b_out = b_out / tl.sum(b_weights, axis=0)", "pass"),
    ),
    "last block only": weighted(
        ("b_sums = b_sums + ", "b_sums = "),
        ("b_weights = b_weights + ", "b_weights = "),
    ),
    "masked entries undefined": weighted(
        ("+ o_d, mask=s < S, other=0.0", "+ o_d, mask=s < S")
    ),
    "load without mask": weighted((", mask=s < S, other=0.0", "")),
}

RIGHT = {
    "9.5": grid,
    "9.6": outer,
    "9.7": view,
    "9.8": halve,
    "9.9": column_sums,
    "9.10": row_sums,
    "9.11": running_max,
    "9.12": hidden,
    "9.13": mean,
}
WRONG = {
    "9.5": GRID,
    "9.6": OUTER,
    "9.7": VIEW,
    "9.8": HALVE,
    "9.9": COLUMN_SUMS,
    "9.10": ROW_SUMS,
    "9.11": RUNNING_MAX,
    "9.12": HIDDEN,
    "9.13": MEAN,
}
