"""A chapter runs from top to bottom in a real JupyterLab, in a browser."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import committed
import pages
import pytest
import websocket
from builder import execute
from conftest import need

from minidiff import __version__

TOKEN = "for-the-test"
FIRST = next(path for path in committed.CHAPTERS if "/00_" in path)
CHAPTER = next(path for path in committed.CHAPTERS if "/03_" in path)
PLAYED = next(path for path in committed.CHAPTERS if "/02_" in path)
START_SECONDS = 60
RUN_SECONDS = 300
CELLS = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell"
SETTLED = """() => {
  const at = document.querySelector('.jp-Notebook-ExecutionIndicator');
  const busy = [...document.querySelectorAll('.jp-InputPrompt')];
  return at?.dataset.status === 'idle'
    && !busy.some(x => x.textContent.includes('*'));
}"""
RUNNING = """() => [...document.querySelectorAll('.jp-InputPrompt')].some(
  x => x.textContent.includes('*'))"""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(url: str) -> bool:
    """Whether a server is there."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """A reader's folder: the committed notebooks, away from the checkout."""
    for path in committed.JOBS:
        committed.export(path, tmp_path / "course")
    return tmp_path / "course"


@pytest.fixture
def lab(reader: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab rooted there; stopped afterwards."""
    need(pages.chromium(), "no Chromium: apt-get install chromium")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = execute.environment(1)
    del env["MINIDIFF_STILL"]  # in this Lab somebody moves the sliders
    # None of the settings, workspaces or signatures of whoever runs the tests.
    env["JUPYTER_DATA_DIR"] = str(tmp_path / "data")
    env["JUPYTER_CONFIG_DIR"] = str(tmp_path / "config")
    env["JUPYTERLAB_WORKSPACES_DIR"] = str(tmp_path / "workspaces")
    env["JUPYTERLAB_SETTINGS_DIR"] = str(tmp_path / "settings")
    here = str(Path(sys.executable).parent)
    env["PATH"] = os.pathsep.join([here, env["PATH"]])  # as `make lab` does
    jupyter = [sys.executable, "-m", "jupyter"]
    trust = [*jupyter, "trust", *map(str, reader.rglob("*.ipynb"))]
    subprocess.run(trust, env=env, check=True, capture_output=True)
    command = [*jupyter, "lab", "--no-browser"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += [f"--IdentityProvider.token={TOKEN}"]
    command += [f"--ServerApp.root_dir={reader}", "--ServerApp.ip=127.0.0.1"]
    # As `make lab` and `make_venv.sh` do.
    ours = committed.ROOT / "book" / "lab"
    shutil.copytree(ours, tmp_path / "lab")
    command += [f"--config={tmp_path / 'lab' / 'config.py'}"]
    command += [f"--LabApp.app_settings_dir={tmp_path / 'lab'}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    log = tmp_path / "lab.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            command, env=env, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"{url}/api?token={TOKEN}"):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Any]:
    """A tab of a browser; afterwards its picture lies at LAB_SCREENSHOT."""
    need(pages.chromium(), "no Chromium: apt-get install chromium")
    with pages.browser() as chrome:
        tab = chrome.new_page(viewport={"width": 1400, "height": 1000})
        yield tab
        picture = tmp_path / "lab.png"
        tab.screenshot(path=picture)
        keep = os.environ.get("LAB_SCREENSHOT")
        if keep:
            shutil.copy(picture, keep)


def kernel_is_ready(lab: str) -> bool:
    """Whether the page's kernel is connected and idle, by the server's word.

    The page shows "idle" before that, and running then runs nothing. While a
    kernel is being started, the server's answer can be an error.
    """
    try:
        url = f"{lab}/api/kernels?token={TOKEN}"
        with urllib.request.urlopen(url) as answer:
            kernels = json.load(answer)
    except HTTPError:
        return False
    return any(
        kernel["connections"] and kernel["execution_state"] == "idle"
        for kernel in kernels
    )


def open_chapter(tab: Any, lab: str, chapter: str) -> None:
    """Open a chapter and wait until its kernel is ready."""
    tab.goto(f"{lab}/lab/tree/{chapter}?token={TOKEN}&reset")
    tab.wait_for_selector(CELLS, timeout=60_000)
    deadline = time.monotonic() + START_SECONDS
    while not kernel_is_ready(lab):
        assert time.monotonic() < deadline, "no kernel for the notebook"
        tab.wait_for_timeout(200)
    tab.wait_for_function(SETTLED, timeout=60_000)


def run_all(tab: Any, lab: str, chapter: str) -> None:
    """Open a chapter and run it from top to bottom, as a reader does."""
    open_chapter(tab, lab, chapter)
    tab.locator(CELLS).first.click()
    tab.click('.lm-MenuBar-itemLabel:text-is("Run")')
    tab.click('.lm-Menu-itemLabel:text-is("Run All Cells")')
    tab.wait_for_function(RUNNING, timeout=60_000)
    tab.wait_for_function(SETTLED, timeout=RUN_SECONDS * 1000)


def scroll_up_to(tab: Any, cell: Any) -> None:
    """Scroll from the end to a cell: Lab holds those near the view only."""
    tab.locator(".jp-NotebookPanel:not(.lm-mod-hidden)").hover()
    for _ in range(60):
        if cell.count():
            break
        tab.mouse.wheel(0, -300)
        tab.wait_for_timeout(250)
    cell.scroll_into_view_if_needed()


def test_chapter_runs_top_to_bottom(lab: str, reader: Path, tab: Any):
    before = json.loads((reader / CHAPTER).read_text())
    for cell in before["cells"]:  # so that what is saved was run here
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    (reader / CHAPTER).write_text(json.dumps(before))
    run_all(tab, lab, CHAPTER)
    assert len(tab.screenshot()) > 10_000
    tab.keyboard.press("Control+s")
    after = saved(reader / CHAPTER)
    code = [c for c in after["cells"] if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in code] == [
        n for n, _ in enumerate(code, 1)
    ]
    errors = [
        "\n".join(out["traceback"])
        for c in code
        for out in c["outputs"]
        if out["output_type"] == "error"
        and "raises-exception" not in c["metadata"].get("tags", [])
    ]
    assert not errors, errors[0]
    assert [c["source"] for c in after["cells"]] == [
        c["source"] for c in before["cells"]
    ]


def test_an_untouched_chapter_shows_its_figures(
    lab: str, reader: Path, tab: Any
):
    said: list[str] = []
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on(
        "console",
        lambda line: (
            said.append(line.text)
            if line.type in ("warning", "error")
            else None
        ),
    )
    tab.set_viewport_size({"width": 1400, "height": 12_000})  # all of it
    open_chapter(tab, lab, FIRST)
    cells = json.loads((reader / FIRST).read_text())["cells"]
    shown = [out for cell in cells for out in cell.get("outputs", [])]
    figures = [out for out in shown if "image/svg+xml" in out.get("data", {})]
    assert len(figures) > 2
    tab.wait_for_function(
        "count => document.querySelectorAll('.jp-RenderedSVG').length"
        " === count",
        arg=len(figures),
        timeout=30_000,
    )
    assert tab.get_by_text("<Figure size").count() == 0
    assert said == []


def test_make_lab_trusts_the_notebooks_of_the_course():
    makefile = (committed.ROOT / "Makefile").read_text()
    recipe = makefile.split("\nlab:")[1].split("\n\n")[0]
    assert "-m jupyter trust $(NOTEBOOKS)" in recipe
    line = next(x for x in makefile.splitlines() if x.startswith("NOTEBOOKS"))
    found = [p for x in line.split()[2:] for p in committed.ROOT.glob(x)]
    assert {p.relative_to(committed.ROOT).as_posix() for p in found} == set(
        committed.JOBS
    )


def git(folder: Path, *words: str) -> str:
    """What git prints."""
    who = ["-c", "user.name=x", "-c", "user.email=x@x"]
    command = ["git", "-C", str(folder), *who, *words]
    return subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout


def test_a_chapter_that_was_only_run_closes_and_leaves_git_clean(
    lab: str, reader: Path, tab: Any
):
    shutil.copy(committed.ROOT / ".gitignore", reader)
    git(reader, "init", "-q")
    git(reader, "add", "-A")
    git(reader, "commit", "-qm", "course")
    file = reader / CHAPTER
    before = file.stat().st_mtime_ns
    run_all(tab, lab, CHAPTER)
    deadline = time.monotonic() + 60
    dirty = ".lm-TabBar-tab.jp-mod-dirty, .lm-TabBar-tab .jp-mod-dirty"
    while file.stat().st_mtime_ns == before or tab.locator(dirty).count():
        assert time.monotonic() < deadline, "Lab has not saved by itself"
        tab.wait_for_timeout(500)
    tab.click('.lm-MenuBar-itemLabel:text-is("File")')
    tab.click('.lm-Menu-itemLabel:text-is("Close Tab")')
    tab.locator(".jp-NotebookPanel").wait_for(state="detached")
    assert not tab.locator(".jp-Dialog").count()
    assert git(reader, "status", "--porcelain") == "", git(reader, "diff")
    assert file.stat().st_mtime_ns != before


def test_sliders_redraw_their_picture(lab: str, tab: Any):
    run_all(tab, lab, PLAYED)
    cell = tab.locator(".jp-Cell", has=tab.locator(".widget-slider"))
    scroll_up_to(tab, cell)
    handles = cell.get_by_role("slider")
    handles.first.wait_for(timeout=60_000)
    labels = cell.locator(".widget-slider .widget-label")
    labels.filter(has_text="lam").wait_for(timeout=60_000)
    assert labels.all_inner_texts() == ["needles", "noise", "lam"]
    assert handles.count() == 3
    for handle in handles.all():
        value = handle.get_attribute("aria-valuetext")
        picture = cell.locator("img").get_attribute("src")
        handle.focus()
        tab.keyboard.press("ArrowRight")
        tab.wait_for_function(
            "old => ![...document.images].some(x => x.src === old)",
            arg=picture,
            timeout=60_000,
        )
        assert handle.get_attribute("aria-valuetext") != value
        assert cell.locator("img").count() == 1


def saved(path: Path) -> dict:
    """The notebook once Lab has written outputs into it."""
    deadline = time.monotonic() + 30
    while True:
        nb = json.loads(path.read_text())
        last = [c for c in nb["cells"] if c["cell_type"] == "code"][-1]
        if last["execution_count"]:
            return nb
        assert time.monotonic() < deadline, "Lab did not save the notebook"
        time.sleep(0.3)


def test_a_terminal_finds_minidiff(lab: str):
    """Although a login shell would set PATH anew."""
    address = f"{lab}/api/terminals?token={TOKEN}"
    with urllib.request.urlopen(address, data=b"", timeout=30) as answer:
        name = json.load(answer)["name"]
    path = f"terminals/websocket/{name}?token={TOKEN}"
    terminal = websocket.create_connection(
        f"{lab.replace('http', 'ws')}/{path}", timeout=30
    )
    terminal.send(json.dumps(["stdin", "minidiff --version; echo en''d\r"]))
    said = ""
    while "end" not in said:
        kind, *texts = json.loads(terminal.recv())
        said += "".join(texts) if kind == "stdout" else ""
    terminal.close()
    assert f"minidiff {__version__}" in said
