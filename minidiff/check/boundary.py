"""Boundary around an answer: whatever the answer does, the check goes on.

``run`` catches every exception, stops an answer that does not return, keeps
it from ending the process, and limits what it prints. It stays in this
process, because readers want to reach the same objects from their notebook.
So it cannot help against a single call into C that never returns, a crash of
Python, or memory that runs out; ``minidiff check`` is prepared for these.
"""

import io
import linecache
import os
import signal
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import (
    ExitStack,
    contextmanager,
    redirect_stderr,
    redirect_stdout,
)
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any

SECONDS = 30.0  # the slowest solution takes one
PRINTED = 2000  # characters shown of what one case prints
_MESSAGE = 1000  # characters kept of an exception's message
_LINE = 100  # characters kept of the line that raised it
# Folders of files that are not the answer's.
_OTHERS = (
    str(Path(__file__).parents[1]),
    *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")),
)


class StoppedError(BaseException):
    """Raised inside an answer that runs longer than the time limit.

    It is no Exception, so that ``except Exception`` does not catch it.
    """


@dataclass(frozen=True, kw_only=True)
class Raised:
    """An exception that an answer raised, its message, and its line.

    ``line`` is the text of the answer's line that raised it, or "".
    """

    error: BaseException
    text: str
    line: str = ""

    @property
    def ends_check(self) -> bool:
        """Tell whether further cases make no sense: a time limit, an exit."""
        return not isinstance(self.error, Exception)


class _Printed(io.StringIO):
    """Keeps the first characters that are printed and counts the others."""

    left_out = 0

    def write(self, text: str) -> int:
        room = max(0, PRINTED - self.tell())
        super().write(text[:room])
        self.left_out += max(0, len(text) - room)
        return len(text)

    def show(self, file: Any) -> None:
        if self.tell():  # Jupyter in a browser shows empty output too
            print(self.getvalue(), end="", file=file)
        if self.left_out:
            print(f"\n... {self.left_out:,} more characters", file=file)


def has_time_limit() -> bool:
    """Tell whether an answer that does not return is stopped here.

    That takes the main thread of a system with timers: Linux and macOS, not
    Windows and not Python in a browser.
    """
    main = threading.current_thread() is threading.main_thread()
    return main and hasattr(signal, "setitimer")


def run(call: Callable[[], Any], seconds: float) -> tuple[Any, str]:
    """Return what ``call`` returns, or ``Raised``; and what it printed.

    ``call`` is stopped after ``seconds`` if ``has_time_limit()``.
    KeyboardInterrupt is raised here only if a person pressed Ctrl-C or
    interrupted the kernel.
    """
    out, err = _Printed(), _Printed()
    process = os.getpid()
    with redirect_stdout(out), redirect_stderr(err), _no_exit(process):
        result = _caught(call, seconds)
    if os.getpid() != process:
        os._exit(1)  # the answer forked, and this is the copy
    out.show(sys.stdout)
    err.show(sys.stderr)
    return result, out.getvalue()


def _caught(call: Callable[[], Any], seconds: float) -> Any:
    stops = _Stops(seconds)
    try:
        with stops:
            try:
                result = call()
            except BaseException as error:
                result = Raised(
                    error=error, text=_message(error), line=_line(error)
                )
    except BaseException as error:  # raised as the lines above came to an end
        result = Raised(error=error, text=_message(error))
    if stops.interrupted:
        raise KeyboardInterrupt
    if stops.late:
        return Raised(
            error=StoppedError(), text=f"after {SECONDS:.0f} seconds"
        )
    if isinstance(result, Raised):
        # Tracebacks would keep all the answer's variables alive.
        result.error.__traceback__ = result.error.__context__ = None
    return result


def _message(error: BaseException) -> str:
    """Return the message of an exception whose class may be the answer's."""
    try:
        text = str(error)
        return text[:_MESSAGE] + ("..." if len(text) > _MESSAGE else "")
    except Exception:
        return "(its message cannot be printed)"


def _line(error: BaseException) -> str:
    """Return the line of the answer's own file that raised, "" if unknown.

    The answer's file is the first one outside this package and outside
    installed libraries: Triton's interpreter calls a kernel for us. What the
    answer calls elsewhere, as in NumPy, is not shown.
    """
    file = line = ""
    for frame, number in walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        if not file and not name.startswith(_OTHERS):
            file = name
        if name == file:
            line = linecache.getline(file, number).strip()
    return line[:_LINE]


class _Stops:
    """Context that ends late calls, and tells real interrupts from others.

    A signal handler raises the exception. An answer may catch it, as in
    ``while True: try: ... except: pass``; so a trace function raises it again
    at the next line of each function that is running.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.interrupted = self.late = self.active = False
        self.exception: type[BaseException] = StoppedError

    def __enter__(self) -> None:
        self.here = sys._getframe(1)
        self.trace = sys.gettrace()
        self.main = threading.current_thread() is threading.main_thread()
        self.timer = has_time_limit()
        self.active = True
        if self.main:
            self.on_int = signal.signal(signal.SIGINT, self._on_interrupt)
        if self.timer:
            self.on_alarm = signal.signal(signal.SIGALRM, self._on_alarm)
            # Repeated, as some code ignores exceptions: __del__ for one.
            self.before = signal.setitimer(
                signal.ITIMER_REAL, max(self.seconds, 1e-3), 0.1
            )

    def __exit__(self, *_: object) -> None:
        self.active = False
        if self.timer:
            signal.setitimer(signal.ITIMER_REAL, *self.before)
            signal.signal(signal.SIGALRM, self.on_alarm)
        if self.main:
            signal.signal(signal.SIGINT, self.on_int)
        sys.settrace(self.trace)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        self.interrupted, self.exception = True, KeyboardInterrupt
        self._stop(frame)

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        self.late = True
        self._stop(frame)

    def _stop(self, frame: FrameType | None) -> None:
        if not self.active:
            return
        while frame is not None and frame is not self.here:
            frame.f_trace = self._raise
            frame = frame.f_back
        sys.settrace(lambda frame, event, arg: None)
        raise self.exception

    def _raise(self, frame: FrameType, event: str, arg: Any) -> Any:
        if self.active and event == "line":
            raise self.exception
        return self._raise


@contextmanager
def _no_exit(process: int) -> Iterator[None]:
    """Turn calls that would end this process into SystemExit.

    ``sys.exit`` raises it anyway. In a notebook ``exit()`` raises nothing;
    it tells the kernel to end.
    """
    end = os._exit

    def raises(*status: Any, **_: Any) -> None:
        if os.getpid() != process:
            end(*status or (1,))  # a child of the answer may end
        raise SystemExit("the answer ended the program")

    with ExitStack() as stack:
        for owner, name in _exits():
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, raises)
        yield


def _exits() -> list[tuple[Any, str]]:
    found: list[tuple[Any, str]] = [(os, "_exit"), (os, "abort")]
    for module, name in (
        ("IPython.core.autocall", "ExitAutocall"),
        ("IPython.core.autocall", "ZMQExitAutocall"),
    ):
        if owner := getattr(sys.modules.get(module), name, None):
            found.append((owner, "__call__"))
    return found
