"""The recipe of decoding from 8 bits: tried small, and what it refuses."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
from committed import ROOT

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton exists for Linux only"
)
RECIPE = ROOT / "book" / "recipes" / "low_bit_decode.py"


def run(*arguments):
    command = [sys.executable, str(RECIPE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.slow
def test_a_quick_run_times_and_judges_every_cache(tmp_path):
    out = tmp_path / "tried.json"
    done = run("--quick", "--out", out)
    assert done.returncode == 0, done.stderr
    record = json.loads(out.read_text())
    rows = {(row["peer"], row["S"]): row for row in record["rows"]}
    for S in (32, 64):
        whole = rows["diff/triton", S]
        for name in ("int8", "fp8"):
            row = rows[f"diff/triton {name}", S]
            assert row["decode_ms"] > 0
            # Codes cost much more than the kernel that reads them.
            assert row["relative_error"] < 1e-5 < row["rounding_error"] < 0.1
            # 32 numbers of 1 byte and 2 of 4 bytes, instead of 4 bytes each.
            assert row["cache_bytes"] < 0.4 * whole["cache_bytes"]
    assert record["setting"]["quick"]


def test_a_quick_run_of_8_bits_needs_a_file_of_its_own():
    done = run("--quick")
    assert done.returncode == 2
    assert "--quick: expected --out" in done.stderr
