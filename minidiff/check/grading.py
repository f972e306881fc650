"""Execution of one student's notebook, whatever its cells do.

The notebook runs in a kernel, a process of its own, in a new folder. A cell
that does not end is interrupted, and a kernel that dies is started again and
runs the notebook without the cell that ended it. Results are read after every
cell, so that none is lost. On Linux a kernel that takes too much memory is
ended before the machine has none left.
"""

import asyncio
import json
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete, DeadKernelError
from nbformat.v4 import new_code_cell, new_notebook

from minidiff.check import kept, subjects
from minidiff.files.machine import memory_of, physical_memory

SECONDS = 1800.0  # for a whole notebook
OUTPUT = 10_000_000  # characters of output of one cell
MEMORY = min(8 * 10**9, physical_memory() // 2)  # of a notebook's processes
_LOOK = 0.2  # seconds between two looks at the memory
_GRACE = 10.0  # seconds that an interrupted cell has to end
_START_SECONDS, _REPORT_SECONDS = 120.0, 20.0
_RESTARTS = 5  # as many cells may end the kernel
STATUSES = ("passed", "failed", "not attempted")

_PACKAGE = str(Path(__file__).resolve().parents[2])
# Each runs in a namespace of its own and leaves the notebook's names alone.
_START = f"""
import contextlib, sys
with contextlib.suppress(OSError):  # if memory runs out, end this one first
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
if {_PACKAGE!r} not in sys.path:
    sys.path.insert(0, {_PACKAGE!r})
with contextlib.suppress(ImportError):
    import {{modules}}
from minidiff.check import untouched
untouched.changed()  # what is replaced from here on is noticed
"""
_REPORT = """
from minidiff import check
print({mark!r}, end="")
check.report()
"""


class Grade:
    """Results of a notebook: {exercise: status}, and what went wrong."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self.problems: list[str] = []

    def say(self, problem: str) -> None:
        """Add a problem, once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def read(self, text: str) -> None:
        """Add results from what the kernel printed, which may be anything."""
        try:
            report = json.loads(text)
        except (ValueError, RecursionError):
            report = None
        if not isinstance(report, dict):
            self.say("reported no results that can be read")
            return
        for name, status in report.items():
            if name in subjects() and status in STATUSES:
                self.found[name] = status
            else:
                self.say("reported results of no exercise")


def run(
    grade: Grade, cells: list[tuple[str, bool]], cell_seconds: float
) -> None:
    """Run a notebook and note its results in ``grade``.

    ``cells`` has (source, whether it may raise an error) of its code cells.
    """
    skipped: set[int] = set()
    end = time.monotonic() + SECONDS
    while True:
        with tempfile.TemporaryDirectory(
            prefix="minidiff-check-", ignore_cleanup_errors=True
        ) as folder:
            fatal = _wait_for(
                _attempt(grade, cells, skipped, folder, cell_seconds, end)
            )
        if fatal is None:
            return
        skipped.add(fatal)
        if len(skipped) > _RESTARTS:
            return


def _wait_for(attempt: Coroutine[Any, Any, int | None]) -> int | None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(attempt)
    with ThreadPoolExecutor(1) as pool:  # called from a notebook
        return pool.submit(asyncio.run, attempt).result()


async def _attempt(
    grade: Grade,
    cells: list[tuple[str, bool]],
    skipped: set[int],
    folder: str,
    cell_seconds: float,
    end: float,
) -> int | None:
    """Run the cells in a new kernel; return the one that ended it, if any."""
    client = _Client()
    try:
        await client.start(folder)
        torch = any("torch" in source for source, _ in cells)
        modules = "torch" if torch else "numpy"
        source = _START.format(modules=modules)
        await client.cell(source, _START_SECONDS, alone=True)
        for number, (source, may_raise) in enumerate(cells):
            if number in skipped or not source.strip():
                continue
            seconds = min(cell_seconds, end - time.monotonic())
            if seconds <= 0:
                grade.say(f"stopped after {SECONDS / 60:.0f} minutes")
                return None
            try:
                await client.cell(source, seconds)
                if client.stopped:
                    grade.say(f"cell {number + 1} {client.stopped}")
                elif client.error and not may_raise:
                    grade.say(f"a cell raised {client.error}")
                grade.read(await client.report())
            except DeadKernelError:
                why = client.stopped or "ended the kernel"
                grade.say(f"cell {number + 1} {why}")
                return number
        return None
    finally:
        await client.end()


class _Client(NotebookClient):
    """A client that keeps no outputs, and ends cells that go on too long."""

    def __init__(self) -> None:
        super().__init__(
            new_notebook(),
            kernel_name="python3",
            allow_errors=True,
            timeout=None,
            log=_silent(),
        )
        self._flood = asyncio.Event()
        self._clear()

    def _clear(self) -> None:
        self.error = self.stopped = self.text = ""
        self.size = 0
        self._flood.clear()

    async def start(self, folder: str) -> None:
        env = dict(
            os.environ,
            IPYTHONDIR=str(Path(folder, ".ipython")),
            JUPYTER_PREFER_ENV_PATH="1",
        )
        # Neither store students' answers nor read the teacher's own.
        env[kept.VARIABLE] = ""
        km = self.create_kernel_manager()
        # Without folders to look in, the kernel is this Python's own: not
        # one of the same name that the user installed for another Python.
        km.kernel_spec_manager = KernelSpecManager(kernel_dirs=[])
        # What the kernel writes past its messages must not reach the table.
        await self.async_start_new_kernel(
            cwd=folder, env=env, stdout=DEVNULL, stderr=DEVNULL
        )
        await self.async_start_new_kernel_client()

    async def end(self) -> None:
        """Kill the kernel and the processes of its group."""
        if self.km is not None:
            self.shutdown_kernel = "immediate"
            with suppress(Exception):
                await self._async_cleanup_kernel()

    async def cell(
        self, source: str, seconds: float, alone: bool = False
    ) -> None:
        """Run a cell; afterwards ``error``, ``stopped`` and ``text`` tell.

        Raises DeadKernelError if the kernel died, or had to be killed.
        """
        if alone:
            source = f"exec({source!r}, {{}})"
        self._clear()
        self.nb.cells = [new_code_cell(source)]
        watch = asyncio.ensure_future(self._watch(self.km, seconds))
        try:
            await self.async_execute_cell(
                self.nb.cells[0], 0, store_history=False
            )
        finally:
            watch.cancel()

    async def report(self) -> str:
        """Return what the checks report, after a mark nobody can guess."""
        mark = secrets.token_hex(8)
        source = _REPORT.format(mark=mark)
        await self.cell(source, _REPORT_SECONDS, alone=True)
        return self.text.partition(mark)[2].partition("\n")[0]

    async def _watch(self, km: Any, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (
            not self._flood.is_set() and (left := end - time.monotonic()) > 0
        ):
            if memory_of(getattr(km.provisioner, "pgid", None)) > MEMORY:
                # At once: an interrupted cell would keep what it has.
                self.stopped = (
                    f"took more than {MEMORY / 1e9:.0f} GB of memory"
                )
                await km.shutdown_kernel(now=True)
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._flood.wait(), min(_LOOK, left))
        self.stopped = f"was stopped after {seconds:.0f} seconds"
        if self._flood.is_set():
            self.stopped = f"printed more than {OUTPUT:,} characters"
        await km.interrupt_kernel()
        await asyncio.sleep(_GRACE)
        await km.shutdown_kernel(now=True)

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> None:
        """Note errors and printed text; end the cell if it is too much."""
        kind, content = msg["msg_type"], msg["content"]
        if kind == "status":
            if content["execution_state"] == "idle":
                raise CellExecutionComplete()
            return
        self.size += len(repr(content))
        if self.size > OUTPUT:
            self._flood.set()
        elif kind == "error":
            self.error = str(content.get("ename"))[:100]
        elif kind == "stream" and content.get("name") == "stdout":
            self.text += str(content.get("text"))


def _silent() -> logging.Logger:
    log = logging.Logger("minidiff.check.grading")
    log.addHandler(logging.NullHandler())
    return log
