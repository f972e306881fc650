"""The order in which the backward kernels make the tiles of a map."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from minidiff.course.kernels import DEVICE
from minidiff.course.kernels.fused_backward import fused_backward
from minidiff.course.kernels.fused_forward import fused_forward
from minidiff.course.kernels.trace import Log, record

BLOCKS, ROWS, D = 4, 16, 16


def steps(log: Log, kernel: str, name: str) -> np.ndarray:
    """In which step a program (row) loads a block (column) of ``name``.

    From 1 on; 0 if never.
    """
    order = np.zeros((BLOCKS, BLOCKS), dtype=int)
    for touch in log.touches:
        if (touch.kernel, touch.name, touch.kind) == (kernel, name, "load"):
            mine = order[touch.program[1]]
            block = touch.element.max() // (ROWS * touch.shape[-1])
            mine[block] = mine.max() + 1
    return order


def record_walks() -> dict[str, np.ndarray]:
    """Return the steps by block of queries and block of keys, per kernel.

    Only the interpreter sees programs at work.
    """
    g = torch.Generator().manual_seed(0)
    T = BLOCKS * ROWS
    shapes = (1, 1, 2, T, D), (1, 1, 2, T, D), (1, 1, T, 2 * D)
    q, k, v = (torch.randn(s, generator=g).to(DEVICE) for s in shapes)
    lam = torch.full((1, 1, 1), 0.8, device=DEVICE)
    _, o, o2, lse = fused_forward(q, k, v, lam)
    with record() as log:
        fused_backward(v, q, k, v, lam, o, o2, lse, BT=ROWS, BS=ROWS)
    return {
        "keys kernel": steps(log, "keys_kernel", "p_do").T,
        "queries kernel": steps(log, "queries_kernel", "p_v"),
    }


def show_walks(walks: dict[str, np.ndarray]) -> Figure:
    """Draw each kernel's tiles: a colour is a program, a number its step."""
    figure, axes = plt.subplots(1, 2, figsize=(6, 2.9), sharey=True)
    for axis, (title, order) in zip(axes, walks.items(), strict=True):
        mine = np.indices(order.shape)[int(title == "keys kernel")]
        seen = np.where(order > 0, mine, np.nan)
        axis.imshow(seen, cmap="Set2", vmin=0, vmax=7)
        for (a, b), n in np.ndenumerate(order):
            axis.text(b, a, n or "", ha="center", va="center")
        axis.set(title=title, xlabel="block of keys", xticks=range(BLOCKS))
        axis.grid(False)
    axes[0].set(ylabel="block of queries", yticks=range(BLOCKS))
    return figure
