"""What our kernels must do at least, and how long a GPU takes for it.

Chapter 13 counts it. Causal attention with keys of its own for each pair of
heads, 16-bit numbers, values 2D wide.
"""

import numpy as np

# An NVIDIA H200's ceilings in 10^12 a second: FLOPs in products of matrices,
# bytes copied, exponentials. Recorded by probes such as the chapter's.
H200 = (789.0, 4.26, 4.15)


def work(what: str, B: int, H: int, T: int, D: int) -> tuple[float, ...]:
    """Return FLOPs, bytes and exponentials of one call.

    ``what`` is "forward", "backward", "train" (both) or "decode" (one query
    and T keys). Each tensor is read or written once per kernel.
    """
    if what == "decode":
        return B * H * 12 * T * D, B * H * 8 * T * D, 2 * B * H * T
    unit = B * H * T * T * D  # FLOPs: of 2 T T D half is seen
    matrix = B * H * T * 2 * D * 2  # bytes: q, or both keys, or v, ...
    entries = B * H * T * T  # of two maps, half of each seen
    more = D == 128  # dv has a kernel of its own, which makes the maps again
    units, matrices, times = {
        "forward": (6, 4, 1),  # q, k, v; y
        "backward": (14 + 2 * more, 9, 2 + more),  # and dy, o, o2; dq, dk, dv
        "train": (20 + 2 * more, 15, 3 + more),  # both; o and o2 written
    }[what]
    return units * unit, matrices * matrix, times * entries


def least_ms(
    what: str, B: int, H: int, T: int, D: int, rates: tuple[float, ...] = H200
) -> np.ndarray:
    """Return the milliseconds that each ceiling asks for: three numbers."""
    return np.array(work(what, B, H, T, D)) / np.array(rates) / 1e9
