"""Signals: on Ctrl-C, SIGTERM or SIGHUP, finish the current step first."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

# Sent when the terminal of a program closes; Windows has no such signal.
HANGUP = getattr(signal, "SIGHUP", None)
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([HANGUP] if HANGUP else []))


class Stopped(KeyboardInterrupt):
    """Raised when a run was stopped by a signal and saved a checkpoint."""


class Stopping:
    """Record a signal instead of interrupting: ``with Stopping() as stop``.

    ``stop.asked`` tells whether SIGINT, SIGTERM or SIGHUP was received. A
    second signal raises KeyboardInterrupt at once unless ``patient`` is set,
    as it must be with several processes, which may receive the same signal
    more than once. A second SIGHUP never does: both the shell and the system
    may send one. SIGHUP stays ignored where it was, as by ``nohup``. Python
    allows signal handlers in the main thread only; in other threads signals
    are not recorded.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self.asked = False
        self._patient = patient
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Install the signal handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                if number == HANGUP and before == signal.SIG_IGN:
                    continue
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
        if self.asked and not self._patient and number != HANGUP:
            raise KeyboardInterrupt
        self.asked = True
