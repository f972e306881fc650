"""Signals: on Ctrl-C or SIGTERM, finish the current step first."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """Raised when a run was stopped by a signal and saved a checkpoint."""


class Stopping:
    """Record a signal instead of interrupting: ``with Stopping() as stop``.

    ``stop.asked`` tells whether SIGINT or SIGTERM was received. A second
    signal raises KeyboardInterrupt at once unless ``patient`` is set, as it
    must be with several processes, which may receive the same signal more
    than once. Python allows signal handlers in the main thread only; in other
    threads signals are not recorded.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self.asked = False
        self._patient = patient
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Install the signal handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked and not self._patient:
            raise KeyboardInterrupt
        self.asked = True
