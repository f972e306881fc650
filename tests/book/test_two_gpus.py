"""The recipe of one process and two: how it compares, and what it refuses."""

import json
import subprocess
import sys

import pytest
from committed import ROOT

sys.path.insert(0, str(ROOT / "book" / "recipes"))
from two_gpus import differences

RECIPE = ROOT / "book" / "recipes" / "two_gpus.py"


def run(*arguments):
    command = [sys.executable, str(RECIPE), *map(str, arguments)]
    env = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=env
    )


def test_the_largest_difference_is_a_share_of_the_loss_at_its_step():
    one = [{"step": s, "loss": 4.0, "grad_norm": 2.0} for s in range(3)]
    two = [dict(record) for record in one]
    two[1]["loss"] = 4.2
    two[2]["grad_norm"] = 1.9
    assert differences(one, one) == {"loss": 0, "grad_norm": 0}
    found = differences(two, one)
    assert found == pytest.approx({"loss": 0.05, "grad_norm": 0.05})
    with pytest.raises(ValueError, match="steps"):
        differences(two[1:], one)


def test_updates_are_timed_after_some_that_are_not(tmp_path):
    out = tmp_path / "seconds.json"
    done = run("--quick", "--timed", "ddp", "--out", out)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert len(found["seconds"]) == 3 and min(found["seconds"]) > 0
    assert found["tokens_an_update"] == 32 * 32


def test_two_gpus_are_asked_for():
    done = run()
    assert done.returncode == 2 and "needs two GPUs, found 0" in done.stderr
    done = run("--quick")
    assert done.returncode == 2 and "another file" in done.stderr
