"""The shipped shapes through the real compiler, on machines without a GPU."""

import json
import os
import subprocess
import sys

import pytest

from minidiff.bench.builds import KERNELS, Build, builds
from minidiff.bench.compiled import compile_one
from minidiff.ops.triton.tuning import table


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 89, 90])
def test_every_shipped_kernel_compiles_without_a_spill(capability, tmp_path):
    out = tmp_path / "rows.json"
    # In a process of its own: the interpreter takes the compiler's place.
    env = {n: v for n, v in os.environ.items() if n != "TRITON_INTERPRET"}
    env["TRITON_CACHE_DIR"] = str(tmp_path / "cache")
    command = [sys.executable, "-m", "minidiff", "bench", "compile"]
    command += ["--capability", str(capability), "--out", str(out)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    rows = json.loads(out.read_text())["rows"]
    found = {(row["kernel"], row["D"], row["P"]) for row in rows}
    rare = {"values"}
    if capability < 89:
        rare |= {k for k in KERNELS if k.endswith("fp8")}
    assert {(k, D, P) for k in KERNELS if k not in rare for D in (64, 128)
            for P in (1, 2)} <= found  # fmt: skip
    for row in rows:
        assert row["stack"] == 0, row
        assert row["fits"], row
        assert row["copies"] > 0, row
        hopper = capability == 90 and not row["kernel"].startswith("decode")
        assert (row["wgmma"] > 0) == hopper, row
        one_row = row["kernel"].startswith("decode row")
        assert (row["mma"] > 0) != (hopper or one_row), row
        # Codes of a cache are widened first; those of products are not.
        products = row["kernel"] in ("forward int8", "forward fp8")
        assert (row["eight"] > 0) == products, row


def test_the_compiler_is_not_asked_inside_the_interpreter(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET: got 1"):
        compile_one(Build("forward", 64, 2, 90))


def test_builds_cover_both_versions():
    found = list(builds([90]))
    assert {(b.D, b.P) for b in found} == {
        (64, 1),
        (64, 2),
        (128, 1),
        (128, 2),
    }
    assert {b.DV for b in found if b.P == 1} == {64, 128}


def test_rows_of_numbers_are_long_enough_for_the_copy_engine():
    # Fewer than 32 float32 in a row: misaligned address on a real GPU.
    for row in table():
        shape = row["shape"]
        if shape and shape.get("tma") and row["case"]["kernel"] != "forward":
            assert shape["BT"] >= 32, row
