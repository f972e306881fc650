"""Signals: on Ctrl-C or SIGTERM, finish the current step first."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A run that was asked to stop, and saved what it had."""


class Stopping:
    """Notes a signal instead of breaking off: ``with Stopping() as stop``.

    ``stop.asked`` says whether one came. A second Ctrl-C breaks off at once,
    unless ``patient``: several processes get the same signal more than once.
    Python allows handlers in the main thread only; elsewhere nothing is
    noted.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self.asked = False
        self._patient = patient
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Take the signals over."""
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
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked and not self._patient:
            raise KeyboardInterrupt
        self.asked = True
