"""Execution of a notebook, the same in every build and every test."""

import atexit
import functools
import os
import shutil
import tempfile
import time
from pathlib import Path

import nbclient
from nbformat import NotebookNode

CELL_TIMEOUT = 900  # seconds; chapter 15 trains for minutes in one cell
TWO_THREADS = "two-threads"  # tag on a chapter's first cell


def threads(nb: NotebookNode, name: str) -> int:
    """Return the threads for chapter `name`: two for 15 and tagged ones."""
    first = nb.cells[0].metadata.get("tags", [])
    return 2 if name.startswith("15_") or TWO_THREADS in first else 1


def environment(threads: int, answers: str = "") -> dict[str, str]:
    """Return the kernel's environment variables, free of user settings.

    No GPU is visible, so that all machines write the same outputs. Progress
    bars of tqdm and Hugging Face are off, because their timings differ
    between runs and a bar can be a widget. Figures with sliders are static,
    because a web page has no kernel to redraw them. Answers to exercises are
    kept in the folder ``answers``, by default nowhere. Runs are saved in a new
    temporary folder, so that no reader's run is read or replaced.
    """
    env = {k: v for k, v in os.environ.items() if k not in _LEAKS}
    for name in ("OMP", "MKL", "OPENBLAS"):
        env[f"{name}_NUM_THREADS"] = str(threads)
    env.update(
        CUDA_VISIBLE_DEVICES="",
        MINIDIFF_ANSWERS=answers,
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        HF_HUB_OFFLINE="1",
        IPYTHONDIR=_ipython_folder(),
        JUPYTER_PREFER_ENV_PATH="1",
        MINIDIFF_RUNS=_temporary_folder("minidiff-runs-"),
        MINIDIFF_STILL="1",
        MPLBACKEND="module://matplotlib_inline.backend_inline",
        PYDEVD_DISABLE_FILE_VALIDATION="1",
        TQDM_DISABLE="1",
    )
    return env


@functools.cache
def _ipython_folder() -> str:
    """Return a new, empty folder for IPython's profile.

    It has no fixed name in the shared temporary folder, because IPython runs
    the start-up files of its profile, and other users could put some there.
    """
    return _temporary_folder("minidiff-ipython-")


def _temporary_folder(prefix: str) -> str:
    """Return a new folder that is removed when this process ends."""
    folder = tempfile.mkdtemp(prefix=prefix)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


_LEAKS = {"MATPLOTLIBRC", "PYTHONSTARTUP", "PYTHONHASHSEED", "PYTHONPATH"}


def run(nb: NotebookNode, cwd: Path, threads: int, answers: str = "") -> float:
    """Execute in place and clean the outputs; return the run time in seconds.

    Raises nbclient's CellExecutionError if a cell fails that is not tagged
    raises-exception.
    """
    env = environment(threads, answers)
    # This variable must be set in this process, which chooses the kernel.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    client = nbclient.NotebookClient(
        nb,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(cwd)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
    )
    start = time.monotonic()
    client.execute(env=env)
    seconds = time.monotonic() - start
    clean(nb)
    return seconds


def clean(nb: NotebookNode) -> None:
    """Remove outputs that differ between runs: stderr and run metadata."""
    nb.metadata.pop("widgets", None)
    nb.metadata["language_info"] = NotebookNode(name="python")
    for cell in nb.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [
                out for out in cell.outputs if out.get("name") != "stderr"
            ]
