"""The recipe of the kernel at long rows: tried small, and what it refuses."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
from committed import ROOT

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton exists for Linux only"
)
RECIPE = ROOT / "book" / "recipes" / "long_kernel.py"


def run(*arguments):
    command = [sys.executable, str(RECIPE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.slow
def test_a_quick_run_times_and_weighs_every_implementation(tmp_path):
    out = tmp_path / "tried.json"
    done = run("--quick", "--out", out)
    assert done.returncode == 0, done.stderr
    record = json.loads(out.read_text())
    rows = {(row["peer"], row["T"]): row for row in record["rows"]}
    assert len(rows) == 3 * 2
    for row in rows.values():
        assert row["forward_ms"] > 0 and row["train_ms"] > 0
        assert row["relative_error"] < 1e-5 and row["gradient_error"] < 1e-5
    # Without maps memory grows as the length, with them as its square.
    short, long = (rows["diff/triton", T] for T in (32, 64))
    assert long["train_peak_mib"] < 2.5 * short["train_peak_mib"]
    short, long = (rows["diff/naive", T] for T in (32, 64))
    assert long["forward_peak_mib"] > 3 * short["forward_peak_mib"]
    assert record["setting"]["quick"]
    assert record["provenance"]["versions"]["triton"]


def test_a_quick_run_of_long_rows_needs_a_file_of_its_own():
    done = run("--quick")
    assert done.returncode == 2
    assert "--quick: expected --out" in done.stderr
