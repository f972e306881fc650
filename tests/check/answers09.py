"""Chapter 09: right and wrong kernels written another way than ours.

Pointers are moved instead of offsets, masks count from a block's own start,
and conditions are spelled out.
"""

from minidiff.check.kernels import Variant
from tests.check import puzzles09

# isort: split
import triton
import triton.language as tl


@triton.jit
def add(p_x, p_y, p_out, n, BLOCK: tl.constexpr, WRONG: tl.constexpr):
    start = tl.program_id(0) * BLOCK
    if WRONG == "programs overlap":
        start = tl.program_id(0) * (BLOCK // 2)
    o = tl.arange(0, BLOCK)
    left = n - start  # how many elements are left for this program
    m = o < left
    if WRONG == "mask counts within the block":
        m = n > o
    if WRONG == "unfinished block skipped" and left < BLOCK:
        m = o < 0
    p_x += start
    p_y += start
    p_out += start
    if WRONG == "load without mask":
        b = tl.load(p_x + o) + tl.load(p_y + o)
    elif WRONG == "x twice":
        b = 2 * tl.load(p_x + o, mask=m, other=0.0)
    else:
        b = tl.load(p_x + o, mask=m, other=0.0)
        b += tl.load(p_y + o, mask=m, other=0.0)
    if WRONG == "store without mask":
        tl.store(p_out + o, b)
    else:
        tl.store(p_out + o, b, mask=m)


@triton.jit
def transpose(
    p_x, p_out, rows, cols, x_row, out_row, BLOCK: tl.constexpr,
    WRONG: tl.constexpr,
):  # fmt: skip
    """Blocks are laid out as out has them: columns of x run downwards."""
    r = tl.program_id(0) * BLOCK
    c = tl.program_id(1) * BLOCK
    o_down = tl.arange(0, BLOCK)[:, None]
    o_right = tl.arange(0, BLOCK)[None, :]
    if WRONG == "programs overlap":
        r = 0
        c = 0
    if WRONG == "program's places swapped":
        r = tl.program_id(1) * BLOCK
        c = tl.program_id(0) * BLOCK
    m = (c + o_down < cols) & (r + o_right < rows)
    if WRONG == "mask of the other axes":
        m = (c + o_down < rows) & (r + o_right < cols)
    if WRONG == "half a mask":
        m = (c + o_down < cols) and (r + o_right < rows)
    if WRONG == "[:, None] forgotten":
        o_right = o_down
        m = (c + o_down < cols) & (r + o_right < rows)
    if WRONG == "width for stride":
        x_row = cols
    if WRONG == "strides swapped":
        p_x += r * out_row + c + o_right * out_row + o_down
        p_out += c * x_row + r + o_down * x_row + o_right
    elif WRONG == "blocks stay in place":
        p_x += r * x_row + c + o_right * x_row + o_down
        p_out += r * out_row + c + o_down * out_row + o_right
    elif WRONG == "not transposed":
        p_x += r * x_row + c + o_right * x_row + o_down
        p_out += r * out_row + c + o_right * out_row + o_down
    else:
        p_x += r * x_row + c + o_right * x_row + o_down
        p_out += c * out_row + r + o_down * out_row + o_right
    if WRONG == "load without mask":
        b = tl.load(p_x)
    else:
        b = tl.load(p_x, mask=m, other=7.0)
    if WRONG == "block not turned":
        b = tl.trans(tl.where(m, b, 0.0))
    if WRONG == "store without mask":
        tl.store(p_out, b)
    else:
        tl.store(p_out, b, mask=m)


@triton.jit
def softmax(
    p_x, p_out, width, x_row, out_row, BLOCK: tl.constexpr,
    WRONG: tl.constexpr,
):  # fmt: skip
    o = tl.arange(0, BLOCK)
    there = o <= width - 1
    row = tl.program_id(0)
    if WRONG == "first row only":
        row = 0
    if WRONG == "mask counts from row 0":
        there = row * BLOCK + o < width
    if WRONG == "stride of x":
        x_row = width
    if WRONG == "stride of out":
        out_row = x_row
    p_x += row * x_row
    p_out += row * out_row
    if WRONG == "load without mask":
        b = tl.where(there, tl.load(p_x + o), float("-inf"))
    elif WRONG == "masked entries undefined":
        b = tl.load(p_x + o, mask=there)
    else:
        b = tl.load(p_x + o, mask=there, other=float("-inf"))
    if WRONG == "masked entries zero":
        b = tl.where(there, b, 0.0)
    b = b.to(tl.float32)
    if WRONG == "largest taken with 0":
        b = tl.where(there, b, 0.0)
        b = tl.where(there, b - tl.max(b, axis=0), float("-inf"))
    elif WRONG != "largest not subtracted":
        b = b - tl.max(b, axis=0)
    if WRONG != "base 2":
        b = b * 1.4426950408889634  # log2(e)
    b = tl.exp2(b)
    if WRONG != "not divided":
        b = b * (1 / tl.sum(b, axis=0))
    if WRONG == "store without mask":
        tl.store(p_out + o, b)
    else:
        tl.store(p_out + o, b, mask=there)


@triton.jit
def matmul(
    p_a, p_b, p_out, M, N, K, a_row, b_row, out_row,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    WRONG: tl.constexpr,
):  # fmt: skip
    m = tl.program_id(0) * BM + tl.arange(0, BM)[:, None]
    n = tl.program_id(1) * BN + tl.arange(0, BN)[None, :]
    if WRONG == "program's places swapped":
        m = tl.program_id(1) * BM + tl.arange(0, BM)[:, None]
        n = tl.program_id(0) * BN + tl.arange(0, BN)[None, :]
    k = tl.arange(0, BK)
    if WRONG == "wrong stride":
        a_row = K
    if WRONG == "b read across":
        p_b += n * b_row + k[:, None]
    else:
        p_b += n + k[:, None] * b_row
    p_a += m * a_row + k[None, :]
    steps = tl.cdiv(K, BK)
    if WRONG == "last step dropped":
        steps = K // BK
    b_sum = tl.zeros((BM, BN), tl.float32)
    for step in range(steps):
        left = K - step * BK
        m_a = (m < M) & (k[None, :] < left)
        m_b = (k[:, None] < left) & (n < N)
        if WRONG == "K without mask":
            m_a = (m < M) & (k[None, :] >= 0)
            m_b = (k[:, None] >= 0) & (n < N)
        if WRONG == "rows or columns without mask":
            m_a = (m >= 0) & (k[None, :] < left)
        if WRONG == "no mask":
            b_product = tl.dot(
                tl.load(p_a), tl.load(p_b), input_precision="ieee"
            )
        elif WRONG == "masked entries undefined":
            b_product = tl.dot(
                tl.load(p_a, mask=m_a),
                tl.load(p_b, mask=m_b),
                input_precision="ieee",
            )
        elif WRONG == "masked entries minus infinity":
            b_product = tl.dot(
                tl.where(m_a, tl.load(p_a, mask=m_a), float("-inf")),
                tl.where(m_b, tl.load(p_b, mask=m_b), float("-inf")),
                input_precision="ieee",
            )
        else:
            b_product = tl.dot(
                tl.load(p_a, mask=m_a, other=0.0),
                tl.load(p_b, mask=m_b, other=0.0),
                input_precision="ieee",
            )
        if WRONG == "last step only":
            b_sum = b_product
        elif WRONG == "added twice":
            b_sum = b_sum + (b_sum + b_product)
        elif WRONG != "product not kept":
            b_sum += b_product
        if WRONG != "first step again":
            p_a += BK
            if WRONG == "start times BK":
                k += BK * BK
            if WRONG == "b read across":
                p_b += BK
            else:
                p_b += BK * b_row
    p_out += m * out_row + n
    if WRONG == "store without mask":
        tl.store(p_out, b_sum)
    else:
        tl.store(p_out, b_sum, mask=(m < M) & (n < N))


KERNELS = {"9.1": add, "9.2": transpose, "9.3": softmax, "9.4": matmul}
KEYS = {
    "9.1": (
        "load without mask",
        "mask counts within the block",
        "store without mask",
        "programs overlap",
        "unfinished block skipped",
        "x twice",
    ),
    "9.2": (
        "not transposed",
        "block not turned",
        "blocks stay in place",
        "width for stride",
        "strides swapped",
        "mask of the other axes",
        "load without mask",
        "half a mask",
        "store without mask",
        "[:, None] forgotten",
        "program's places swapped",
        "programs overlap",
    ),
    "9.3": (
        "load without mask",
        "masked entries undefined",
        "masked entries zero",
        "largest taken with 0",
        "mask counts from row 0",
        "store without mask",
        "largest not subtracted",
        "stride of x",
        "stride of out",
        "first row only",
        "base 2",
        "not divided",
    ),
    "9.4": (
        "K without mask",
        "rows or columns without mask",
        "no mask",
        "masked entries undefined",
        "masked entries minus infinity",
        "product not kept",
        "added twice",
        "last step only",
        "first step again",
        "start times BK",
        "last step dropped",
        "program's places swapped",
        "wrong stride",
        "b read across",
        "store without mask",
    ),
}
RIGHT = {name: Variant(k, WRONG="nothing") for name, k in KERNELS.items()}
RIGHT |= puzzles09.RIGHT
WRONG = {
    name: {key: Variant(KERNELS[name], WRONG=key) for key in keys}
    for name, keys in KEYS.items()
}
WRONG |= puzzles09.WRONG
