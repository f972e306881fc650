"""The NumPy floor works where PyTorch is not installed."""

import subprocess
import sys

BLOCK = """
import sys
sys.modules["torch"] = None
sys.modules["triton"] = None
"""


def run(code):
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code], capture_output=True, text=True
    )


def test_reference_and_checks_without_torch():
    done = run(
        "import minidiff, minidiff.reference, minidiff.plots\n"
        "from minidiff import check\n"
        "check.ex03_1(lambda *a: None)\n"
    )
    assert done.returncode == 0, done.stderr
    assert "not attempted" in done.stdout


def test_the_checks_of_part_1_run_without_torch():
    done = run(
        "from minidiff import check\n"
        "from minidiff.check.core import check as run\n"
        "for name in ('00', '01', '02', '03', '04', 'P1'):\n"
        "    for id in check.exercises(name):\n"
        "        exercise = check._find(id)\n"
        "        assert run(exercise, exercise.solution), id\n"
        "        print(id)\n"
    )
    assert done.returncode == 0, done.stderr
    assert {"3.5", "P1.1"} <= set(done.stdout.split())


def test_asking_for_the_operator_says_that_torch_is_missing():
    done = run("import minidiff; minidiff.diff_attention")
    assert "torch" in done.stderr


def test_importing_minidiff_imports_neither_torch_nor_triton():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, minidiff; heavy = {'torch', 'triton', 'numpy'}; "
            "print(sorted(heavy & set(sys.modules)))",
        ],
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]"
