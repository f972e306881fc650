"""When the training loop reads the values that its steps measured.

Reading a value makes the program wait for a GPU, and several processes must
agree on the step after which they stop. So both happen about twice a second,
not at every step.
"""

import time

import torch

from minidiff.training.distributed import total, world

SECONDS = 0.5  # between two readings: a bar still moves, a signal is heard
MOST = 100  # steps between two readings, however fast they are


class Reading:
    """Says after which steps to read; the same ones in every process.

    Where reading costs nothing, in one process on a CPU, that is every step.
    """

    def __init__(self, step: int, *, waits: bool) -> None:
        self._world = world()
        self._every_step = self._world.size == 1 and not waits
        self._last, self._next = step - 1, step
        self._time = time.monotonic()

    def due(self, step: int, stop_asked: bool) -> bool:
        """Whether to read after this step.

        One process reads as soon as it is asked to stop. Several cannot: the
        others do not know of it before the next reading.
        """
        alone = self._world.size == 1
        return step >= self._next or (alone and stop_asked)

    def agree(self, step: int, stop_asked: bool) -> bool:
        """Whether any process is asked to stop; they also set the next step.

        Every process must call it, after the same step.
        """
        now = time.monotonic()
        # Some clocks stand still for milliseconds.
        done, seconds = step - self._last, max(now - self._time, 1e-3)
        ahead = 1
        if not self._every_step:
            ahead = min(max(int(done * SECONDS / seconds), 1), MOST)
        # Clocks differ, so the first process's counts for all of them.
        shared = torch.tensor([stop_asked, ahead if self._world.first else 0])
        asked, ahead = total(shared).tolist()
        self._last, self._next, self._time = step, step + ahead, now
        return asked > 0
