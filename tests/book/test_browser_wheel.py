"""The wheel for the browser: what is in it, and what runs with it alone.

The chapters and checks run in a Python as poor as the browser's: no PyTorch,
no threads, no other processes, no timers.
"""

import base64
import csv
import email
import hashlib
import io
import os
import signal
import subprocess
import sys
import zipfile
from itertools import chain
from pathlib import Path

import pytest
from committed import ROOT
from website import wheel

from minidiff import check

CHAPTERS = sorted((ROOT / "book" / "chapters").glob("0[0-4]_*.py"))
BROWSER = """
import os, runpy, signal, subprocess, sys, threading

missing = "torch triton safetensors tqdm tokenizers ipywidgets nbformat"
for name in missing.split():
    sys.modules[name] = None  # an import of it fails

def no(*args, **options):
    raise RuntimeError("a browser cannot do this")

threading.Thread.start = os.fork = subprocess.Popen.__init__ = no
for name in ("setitimer", "getitimer"):
    if hasattr(signal, name):
        delattr(signal, name)
"""
CHECKS = """
from minidiff import check
for name in sys.argv[1:]:
    for id in check.exercises(name):
        solution = check._find(id).solution
        assert getattr(check, check._check_name(id))(solution), id
"""
CHAPTER = """
runpy.run_path(sys.argv[1], run_name="__main__")
import minidiff
print(minidiff.__file__)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return wheel.write(ROOT, CHAPTERS, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def unpacked(made, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(made) as archive:
        archive.extractall(folder)
    return folder


def in_browser(unpacked: Path, code: str, *arguments: str) -> str:
    env = dict(os.environ, PYTHONPATH=str(unpacked), MPLBACKEND="Agg")
    env.pop("MINIDIFF_ANSWERS", None)  # they are kept beside the wheel
    done = subprocess.run(
        [sys.executable, "-c", BROWSER + code, *arguments],
        cwd=unpacked,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_asks_for_no_other_package(made):
    with zipfile.ZipFile(made) as archive:
        text = archive.read(f"{wheel.INFO}/METADATA")
    found = email.message_from_bytes(text)
    assert (found["Name"], made.name) == ("minidiff", wheel.NAME)
    assert found.get_all("Requires-Dist") is None


def test_it_has_the_package_and_what_the_chapters_read(made):
    with zipfile.ZipFile(made) as archive:
        names = set(archive.namelist())
    assert names >= {
        path.relative_to(ROOT).as_posix()
        for path in [*(ROOT / "minidiff").rglob("*.py"), *CHAPTERS]
    }
    assert "book/results/trained_heads.json" in names
    assert made.stat().st_size < 2e6


def test_the_record_fits_the_files_and_a_second_wheel_is_the_same(
    made, tmp_path
):
    with zipfile.ZipFile(made) as archive:
        record = archive.read(f"{wheel.INFO}/RECORD").decode()
        rows = list(csv.reader(io.StringIO(record)))
        assert {row[0] for row in rows} == set(archive.namelist())
        for name, digest, size in rows[:-1]:
            data = archive.read(name)
            found = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
            assert digest == "sha256=" + found.decode().rstrip("=")
            assert int(size) == len(data)
    again = wheel.write(ROOT, CHAPTERS, tmp_path)
    assert again.read_bytes() == made.read_bytes()


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_runs_in_the_browsers_python(unpacked, chapter):
    assert str(unpacked) in in_browser(unpacked, CHAPTER, str(chapter))


def test_checks_run_without_threads_and_say_that_nothing_stops_them(unpacked):
    names = [chapter.name[:2] for chapter in CHAPTERS]
    out = in_browser(unpacked, CHECKS, *names)
    for exercise_id in chain.from_iterable(map(check.exercises, names)):
        assert f"\n{exercise_id} passed" in out
    assert out.startswith("Checks have no time limit here.")
    assert out.count("no time limit") == 1


def test_nothing_is_said_where_there_is_a_time_limit(unpacked):
    if not hasattr(signal, "setitimer"):
        pytest.skip("no timers on this system")
    code = BROWSER.replace('("setitimer", "getitimer")', "()") + CHECKS
    env = dict(os.environ, PYTHONPATH=str(unpacked))
    done = subprocess.run(
        [sys.executable, "-c", code, "00"],
        env=env,
        capture_output=True,
        text=True,
    )
    assert "passed" in done.stdout and "limit" not in done.stdout, done.stderr
