"""The recipe of block sizes: tried small, and what it refuses."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
from committed import ROOT

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton exists for Linux only"
)
RECIPE = ROOT / "book" / "recipes" / "block_sizes.py"


def run(*arguments):
    command = [sys.executable, str(RECIPE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.slow
def test_every_setting_of_a_quick_run_is_right_and_timed(tmp_path):
    out = tmp_path / "tried.json"
    done = run("--quick", "--out", out)
    assert done.returncode == 0, done.stderr
    record = json.loads(out.read_text())
    kernels = [row["kernel"] for row in record["rows"]]
    assert kernels.count("softmax") == 2 * 5
    assert kernels.count("flash") == 2 * 2 * 4
    assert all("why" not in row for row in record["rows"])
    assert all(row["ms"] > 0 for row in record["rows"])
    assert record["quick"] and record["provenance"]["versions"]["triton"]


def test_a_wrong_or_refused_setting_is_recorded_with_its_reason(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPE.parent))
    import block_sizes
    import torch

    def refused():
        raise ValueError("out of shared memory")

    right = torch.ones(3)
    calls = [
        ({"BT": 16}, lambda: right + 1, right),
        ({"BT": 32}, refused, right),
        ({"BT": 64}, lambda: right, right),
    ]
    rows = block_sizes.timed("flash", iter(calls), 1)
    assert [row.get("why") for row in rows] == [
        "relative error 1",
        "out of shared memory",
        None,
    ]
    assert ["ms" in row for row in rows] == [False, False, True]


def test_a_quick_run_needs_a_file_of_its_own():
    done = run("--quick")
    assert done.returncode == 2
    assert "--quick: expected --out" in done.stderr
