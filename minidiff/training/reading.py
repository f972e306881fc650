"""Schedule of the steps after which the loop reads losses and signals.

Reading a value makes the program wait for the GPU, and several processes must
communicate to stop after the same step. Both therefore happen about twice a
second instead of at every step.
"""

import time

import torch

from minidiff.training.distributed import total, world

SECONDS = 0.5  # between two readings; short enough for bar and signals
MOST = 100  # maximum number of steps between two readings


class Reading:
    """Schedule of the steps after which to read, equal in all processes.

    A single process on a CPU reads after every step, because that is free.
    ``waits`` tells whether reading waits for the device.
    """

    def __init__(self, step: int, *, waits: bool) -> None:
        self._world = world()
        self._every_step = self._world.size == 1 and not waits
        self._last, self._next = step - 1, step
        self._time = time.monotonic()

    def due(self, step: int, *, stop_asked: bool) -> bool:
        """Tell whether to read after this step.

        A single process also reads as soon as it is asked to stop. One of
        several cannot, because the others do not know of the request before
        the next reading.
        """
        alone = self._world.size == 1
        return step >= self._next or (alone and stop_asked)

    def agree(self, step: int, *, stop_asked: bool) -> bool:
        """Tell whether any process is asked to stop; plan the next reading.

        Every process must call this after the same step.
        """
        now = time.monotonic()
        # Some clocks advance only every few milliseconds: avoid zero.
        done, seconds = step - self._last, max(now - self._time, 1e-3)
        ahead = 1
        if not self._every_step:
            ahead = min(max(int(done * SECONDS / seconds), 1), MOST)
        # Clocks differ between processes, so all use the first one's plan.
        shared = torch.tensor([stop_asked, ahead if self._world.first else 0])
        asked, ahead = total(shared).tolist()
        self._last, self._next, self._time = step, step + ahead, now
        return asked > 0
