"""Choice of the number of CPU threads for training.

PyTorch divides each operation among all cores, and the operation ends when
the slowest thread is done. In a small model an operation takes microseconds,
so a second thread saves little. If another process is busy, it can cost much:
the operation waits until the operating system schedules the last thread.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from minidiff.nn.model import DecoderLM

# Threshold for parameters times tokens of a step; a step of this size takes
# about a fifth of a second on one core. On two free cores, two threads were at
# most 1.9 times as fast as one; on two cores shared with other processes, they
# were 2 to 11 times slower. Below the threshold a training run takes a minute
# or two, so one thread is the safer choice.
SMALL = 2e9


def choose_threads(model: DecoderLM, tokens: int) -> int:
    """Return 1 for a small model, else as many threads as PyTorch has now.

    ``tokens`` is the number of tokens that a process computes at once in a
    step. For a larger model the environment variable OMP_NUM_THREADS is
    respected, because PyTorch takes its number of threads from it.
    """
    if model.num_parameters() * tokens < SMALL:
        return 1
    return torch.get_num_threads()


@contextmanager
def use_threads(number: int) -> Iterator[None]:
    """Set the number of threads inside the block, then restore the old one.

    The number applies to the whole process, so :func:`minidiff.train` does
    not set it. Use ``with use_threads(1): train(...)``. Raises ValueError if
    ``number`` is below 1.
    """
    if number < 1:
        raise ValueError(f"threads: got {number}, expected 1 or more")
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
