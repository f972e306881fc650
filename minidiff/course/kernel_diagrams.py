"""Diagrams of the fused kernels: walks over tiles, and owners of registers."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from minidiff.plots import COLOURS

QUERY, KEY, VALUE, BUSY = "#CFE2F3", "#FCE0C8", "#D5EFE3", "#F2D3E4"
LIMIT = 255  # registers that one thread can have


def _cell(
    axis: Axes, x: float, y: float, w: float, h: float, text: str, fill: str
) -> None:
    """Draw a labelled rectangle with its lower left corner at (x, y)."""
    axis.add_patch(Rectangle((x, y), w, h, facecolor=fill, edgecolor="0.3"))
    axis.text(x + w / 2, y + h / 2, text, ha="center", va="center", size=8.5)


def show_walk(program: int = 2, step: int = 1, blocks: int = 4) -> Figure:
    """Draw one program of the fused forward at one step of its walk.

    The map is cut into ``blocks`` by ``blocks`` tiles. The program owns a row
    of them; keys and values of the current step stand above their column,
    and what stays in registers stands on the right.
    """
    figure, axis = plt.subplots(figsize=(8, 3.6))
    for row in range(blocks):
        for column in range(blocks):
            y = blocks - 1 - row
            mine, hidden = row == program, column > row
            fill = "white"
            if mine and not hidden:
                fill = BUSY if column == step else "#F8E9F1"
            text = "" if hidden else "masked" if column == row else "whole"
            _cell(axis, column, y, 1, 1, text if mine else "", fill)
    y = blocks - 1 - program
    axis.annotate(
        "", (program + 0.9, y + 0.18), (0.1, y + 0.18),
        arrowprops={"arrowstyle": "->", "color": COLOURS[3], "lw": 2},
    )  # fmt: skip
    _cell(axis, -1.1, y, 0.5, 1, "$q_1$", QUERY)
    _cell(axis, -0.6, y, 0.5, 1, "$q_2$", QUERY)
    for height, text, fill in ((0.1, "$v$", VALUE), (0.55, "$k_2$", KEY)):
        _cell(axis, step, blocks + height, 1, 0.45, text, fill)
    _cell(axis, step, blocks + 1, 1, 0.45, "$k_1$", KEY)
    axis.text(-1.2, y + 0.5, f"program {program}", ha="right", va="center")
    axis.text(step + 1.1, blocks + 0.8, "one load each, a step", va="center")
    axis.text(blocks / 2, -0.35, "blocks of keys", ha="center", va="center")
    right = blocks + 0.9
    axis.text(right + 1.6, 3.75, "in registers, to the end", ha="center")
    for branch, bottom in ((1, 2.5), (2, 1.3)):
        _cell(axis, right, bottom, 1.8, 1, f"accumulator {branch}", "white")
        _cell(axis, right + 1.8, bottom, 0.7, 1, f"top {branch}", "white")
        _cell(axis, right + 2.5, bottom, 0.7, 1, f"sum {branch}", "white")
    _cell(axis, right, 0.0, 3.2, 0.8, "divide, subtract, norm: $y$", "white")
    axis.annotate(
        "", (right + 1.6, 0.82), (right + 1.6, 1.28),
        arrowprops={"arrowstyle": "->"},
    )  # fmt: skip
    axis.set(xlim=(-2.6, right + 3.3), ylim=(-0.6, blocks + 1.6))
    axis.axis("off")
    return figure


def owners(rows: int, columns: int, warps: int) -> np.ndarray:
    """Return which thread holds each number of an accumulator.

    The layout of a Hopper GPU's large product: a warp has 16 rows, and a
    quad of its threads has two columns of every eight in rows r and r + 8.
    """
    row, column = np.indices((rows, columns))
    lane = row % 8 * 4 + column % 8 // 2
    return row // 16 % warps * 32 + lane


def show_registers(
    BT: int = 64, BS: int = 64, Dv: int = 128, warps: int = 4, thread: int = 37
) -> Figure:
    """Draw who owns an accumulator, and what fills one thread's registers.

    Left, the BT x Dv numbers of one accumulator, coloured by warp, those of
    ``thread`` in black. Right, that thread's registers, one square each: two
    accumulators, one block of scores, and what is left of the limit.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(8, 3.2), width_ratios=(1.5, 1)
    )
    who = owners(BT, Dv, warps)
    light = 0.55 + 0.45 * np.array([to_rgb(c) for c in COLOURS[:5]])
    picture = light[who // 32 % 5]
    picture[who == thread] = 0
    left.imshow(picture, aspect="auto", interpolation="nearest")
    for warp in range(warps):
        left.text(
            Dv + 2, 16 * warp + 8, f"warp {warp}", va="center", clip_on=False
        )
    left.set(
        title=f"accumulator: thread {thread} marked",
        xlabel="column of the output",
        ylabel="query",
    )
    each, scores = (BT * n // (32 * warps) for n in (Dv, BS))
    parts = {
        "accumulator 1": each,
        "accumulator 2": each,
        "scores": scores,
        "the rest": max(LIMIT - 2 * each - scores, 0),
    }
    greys = np.array([0.4, 0.6, 0.75, 0.92])[:, None] * np.ones(3)
    squares = np.ones((16, 16, 3))
    flat = np.repeat(greys, list(parts.values()), axis=0)[:LIMIT]
    squares.reshape(-1, 3)[: len(flat)] = flat
    right.imshow(squares)
    start = 0
    for name, count in parts.items():
        middle = (start + count / 2) / 16 - 0.5
        right.text(16, middle, f"{name}: {count}", va="center", clip_on=False)
        start += count
    right.set(title=f"thread {thread}: {LIMIT} registers at most")
    right.set_xticks(np.arange(-0.5, 16), [])
    right.set_yticks(np.arange(-0.5, 16), [])
    right.tick_params(length=0)
    right.grid(color="white", alpha=1)
    left.grid(False)
    return figure


def show_backward() -> Figure:
    """Draw the three kernels of the backward pass, and what flows between."""
    figure, axis = plt.subplots(figsize=(8, 2.7))
    _cell(axis, 0, 1.4, 1.6, 1.0, "$dy,\\ o,\\ o_2$", QUERY)
    _cell(
        axis, 2.2, 1.4, 1.8, 1.0, "prepare\na program a\nblock of rows", BUSY
    )
    _cell(axis, 4.6, 1.4, 1.7, 1.0, "$do,\\ \\delta_1,\\ \\delta_2$", VALUE)
    _cell(
        axis, 4.6, 0.0, 1.7, 1.0, "$q,\\ k,\\ v,$\n$\\ell_1,\\ \\ell_2$", QUERY
    )
    _cell(axis, 7.2, 1.4, 2.0, 1.0, "keys kernel\nwalks over queries", BUSY)
    _cell(axis, 7.2, 0.0, 2.0, 1.0, "queries kernel\nwalks over keys", BUSY)
    _cell(axis, 9.9, 1.4, 1.5, 1.0, "$dk_1,\\ dk_2,\\ dv$", VALUE)
    _cell(axis, 9.9, 0.0, 1.5, 1.0, "$dq_1,\\ dq_2$", VALUE)
    _cell(axis, 2.2, 0.0, 1.8, 0.8, "$d\\lambda = -\\sum\\delta_2$", VALUE)
    flows = [
        ((1.6, 1.9), (2.2, 1.9)), ((4.0, 1.9), (4.6, 1.9)),
        ((6.3, 1.9), (7.2, 1.9)), ((6.3, 1.7), (7.2, 0.7)),
        ((6.3, 0.7), (7.2, 1.6)), ((6.3, 0.5), (7.2, 0.5)),
        ((9.2, 1.9), (9.9, 1.9)), ((9.2, 0.5), (9.9, 0.5)),
        ((4.6, 1.5), (4.0, 0.6)),
    ]  # fmt: skip
    for start, end in flows:
        axis.annotate("", end, start, arrowprops={"arrowstyle": "->"})
    axis.text(3.1, 2.6, "through the norm", ha="center")
    axis.text(8.2, 2.6, "each makes every tile", ha="center")
    axis.set(xlim=(-0.1, 11.5), ylim=(-0.2, 2.9))
    axis.axis("off")
    return figure
