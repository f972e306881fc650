"""The recipes of products in 8 bits: tried small, and the shipped record."""

import hashlib
import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
from committed import ROOT

RECIPES = ROOT / "book" / "recipes"
RECORD = ROOT / "book/results/low_bit_prefill_accuracy.json"
CELLS = [
    (kind, precision)
    for kind in ("softmax", "diff")
    for precision in (None, "int8", "fp8")
]
needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton exists for Linux only"
)


def run(name, *arguments):
    command = [sys.executable, str(RECIPES / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@needs_triton
@pytest.mark.slow
def test_a_quick_run_times_and_judges_every_precision(tmp_path):
    out = tmp_path / "tried.json"
    done = run("low_bit_prefill.py", "--quick", "--out", out)
    assert done.returncode == 0, done.stderr
    record = json.loads(out.read_text())
    rows = {(row["peer"], row["T"]): row for row in record["rows"]}
    for T in (32, 160):
        whole = rows["diff/triton", T]
        assert whole["forward_ms"] > 0 and "codes_ms" not in whole
        assert whole["rounding_error"] == whole["relative_error"] < 1e-5
        for name in ("int8", "fp8"):
            row = rows[f"diff/triton {name}", T]
            assert row["forward_ms"] > 0 and row["codes_ms"] > 0
            # Codes cost much more than the kernel that multiplies them.
            assert row["relative_error"] < 1e-5 < row["rounding_error"] < 0.2
    assert record["setting"]["quick"]


@needs_triton
def test_a_quick_run_of_products_needs_a_file_of_its_own():
    done = run("low_bit_prefill.py", "--quick")
    assert done.returncode == 2
    assert "--quick: expected --out" in done.stderr


def test_the_record_of_products_is_of_the_shipped_weights():
    record = json.loads(RECORD.read_text())
    for name, digest in record["weights"].items():
        weights = (ROOT / "book/weights" / name).read_bytes()
        assert digest == hashlib.sha256(weights).hexdigest(), (
            f"{name} has changed: run low_bit_prefill_accuracy.py again"
        )
    assert_complete(record)


@pytest.mark.slow
def test_the_recipe_measures_every_precision(tmp_path):
    out = tmp_path / "record.json"
    done = run(
        "low_bit_prefill_accuracy.py",
        *("--rows", 1, "--documents", 2, "--out", out),
    )
    assert done.returncode == 0, done.stderr
    assert_complete(json.loads(out.read_text()))


def assert_complete(record):
    cells = {(c["kind"], c["precision"]): c for c in record["cells"]}
    assert list(cells) == CELLS
    for (kind, precision), cell in cells.items():
        exact = cells[kind, None]
        added, low, high = cell["added"]
        assert added == pytest.approx(cell["nats"] - exact["nats"], abs=2e-5)
        assert cell["asked"] == 4 * record["rows"]
        if precision is None:
            assert added == low == high == cell["changed"] == 0
        if precision == "fp8":  # coarse enough to show in few tokens
            assert added != 0
