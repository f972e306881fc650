"""The recipe of the pair in long rows: its bases, and a quick run."""

import json
import subprocess
import sys

import pytest
from committed import ROOT

from minidiff.check.ex20.base import base_for

RECIPE = ROOT / "book" / "recipes" / "long_pair.py"


def run(*arguments):
    command = [sys.executable, str(RECIPE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_the_bases_are_those_of_exercise_20_2(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPE.parent))
    import long_pair

    own, twice, four_times, paper = long_pair.bases(512, 16, 10_000.0)
    assert own == 10_000.0 and paper == 640_000.0
    assert twice == pytest.approx(base_for(512, 1024, 16, own))
    assert four_times == pytest.approx(base_for(512, 2048, 16, own))


def test_a_quick_run_of_the_pair_needs_a_file_of_its_own():
    done = run("--quick")
    assert done.returncode == 2
    assert "--quick: expected --out" in done.stderr


@pytest.mark.slow
def test_a_quick_run_measures_both_kinds_at_every_base(tmp_path):
    out = tmp_path / "tried.json"
    done = run("--quick", "--out", out)
    assert done.returncode == 0, done.stderr
    record = json.loads(out.read_text())
    assert [row["kind"] for row in record["rows"]] == ["softmax"] * 4 + [
        "diff"
    ] * 4
    for row in record["rows"]:
        assert len(row["sha256"]) == 64
        assert [cell["asked"] for cell in row["needles"]] == [8, 8]
        assert all(0 <= cell["right"] <= 8 for cell in row["needles"])
        assert row["by_position"][0]["first"] == 0
