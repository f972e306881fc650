"""Run a notebook the way every build and every test runs it."""

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
    """How many threads chapter `name` gets: 15 and tagged ones get two."""
    first = nb.cells[0].metadata.get("tags", [])
    return 2 if name.startswith("15_") or TWO_THREADS in first else 1


def environment(threads: int) -> dict[str, str]:
    """The kernel's environment variables: no reader's settings leak in.

    No GPU is visible, so that a machine with one writes the same outputs,
    tqdm and Hugging Face draw no bars, since their timings differ from run to
    run and a bar may be a widget, and figures with sliders stand still, since
    a page has no kernel to redraw them.
    """
    env = {k: v for k, v in os.environ.items() if k not in _LEAKS}
    for name in ("OMP", "MKL", "OPENBLAS"):
        env[f"{name}_NUM_THREADS"] = str(threads)
    env.update(
        CUDA_VISIBLE_DEVICES="",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        HF_HUB_OFFLINE="1",
        IPYTHONDIR=_ipython_folder(),
        JUPYTER_PREFER_ENV_PATH="1",
        MINIDIFF_STILL="1",
        MPLBACKEND="module://matplotlib_inline.backend_inline",
        PYDEVD_DISABLE_FILE_VALIDATION="1",
        TQDM_DISABLE="1",
    )
    return env


@functools.cache
def _ipython_folder() -> str:
    """An empty profile of our own.

    Not a fixed name in the shared temporary folder: IPython runs the start-up
    files it finds, and anybody could have put some there.
    """
    folder = tempfile.mkdtemp(prefix="minidiff-ipython-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


_LEAKS = {"MATPLOTLIBRC", "PYTHONSTARTUP", "PYTHONHASHSEED", "PYTHONPATH"}


def run(nb: NotebookNode, cwd: Path, threads: int) -> float:
    """Execute in place, clean the outputs, return the seconds it took.

    Raises nbclient's CellExecutionError when a cell fails that is not
    tagged raises-exception.
    """
    env = environment(threads)
    # JUPYTER_PREFER_ENV_PATH matters in this process: it picks the kernel.
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
    """Drop what may differ from run to run: stderr and run metadata."""
    nb.metadata.pop("widgets", None)
    nb.metadata["language_info"] = NotebookNode(name="python")
    for cell in nb.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [
                out for out in cell.outputs if out.get("name") != "stderr"
            ]
