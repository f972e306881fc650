"""SIGTERM and SIGHUP, handled by every command as Ctrl-C is."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Ended(KeyboardInterrupt):
    """Raised where the program is when it receives SIGTERM or SIGHUP."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number


@contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """Raise :class:`Ended` for a signal that would end the process at once.

    Without this, temporary files stay behind, and a benchmark loses what it
    has measured. A signal that is ignored, as by ``nohup``, or has a handler
    is left alone, and so is everything outside the main thread, where Python
    allows no handlers.
    """
    changed = []
    if threading.current_thread() is threading.main_thread():
        # Windows has no SIGHUP.
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number and signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, _end)
                changed.append(number)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended(number)
