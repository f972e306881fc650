"""How many CPU threads a training should use.

PyTorch divides each operation among all cores, and at its end the threads
wait for the slowest. In a small model an operation takes microseconds. Then a
second thread saves little, and beside another busy process it costs much: the
operation waits until the operating system lets the last thread run.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from minidiff.nn.model import DecoderLM

# Parameters times tokens of a step; about a fifth of a second on one core. On
# two free cores two threads were at most 1.9 times as fast as one. On two
# cores shared with others they were 2 to 11 times slower. So below this, where
# a training takes a minute or two, one thread risks less than it can lose.
SMALL = 2e9


def choose_threads(model: DecoderLM, tokens: int) -> int:
    """Return 1 for a small model, else as many threads as PyTorch has now.

    ``tokens`` is the number of tokens that a process computes at once in a
    step. The environment variable OMP_NUM_THREADS is respected: PyTorch then
    has that many.
    """
    if model.num_parameters() * tokens < SMALL:
        return 1
    return torch.get_num_threads()


@contextmanager
def use_threads(number: int) -> Iterator[None]:
    """Compute with so many threads inside; the old number is restored.

    The number belongs to the whole process, so :func:`minidiff.train` does
    not set it: ``with use_threads(1): train(...)``.
    """
    if number < 1:
        raise ValueError(f"threads: got {number}, expected 1 or more")
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
