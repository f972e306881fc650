"""The recipe of chapter 15's closing command, and what was recorded of it."""

import importlib.util
import json
import re
import subprocess
import sys

import pytest
from committed import ROOT

RECIPE = ROOT / "book" / "recipes" / "overnight.py"
CHAPTER = next((ROOT / "book" / "chapters").glob("15_*.py"))
STEPS = re.compile(r"--steps \d+ ?")


def words(text):
    return " ".join(text.replace("\\", " ").split())


def recipe():
    spec = importlib.util.spec_from_file_location("overnight", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_recipe_record_and_chapter_have_one_command():
    lines = CHAPTER.read_text("utf-8").splitlines()
    printed = words(" ".join(line.removeprefix("#") for line in lines))
    command = recipe().TRAIN
    assert f"minidiff {command} --out runs/overnight" in printed
    assert words(recipe().GENERATE).split(" --")[0] == "generate"
    assert 'minidiff generate runs/overnight --prompt "class R' in printed
    folder = ROOT / "book" / "results"
    recorded = [
        json.loads((folder / name).read_text("utf-8"))["provenance"]["command"]
        for name in ("overnight.json", "overnight_10000.json")
    ]
    for run in recorded:
        assert run.endswith(" --out runs/overnight")
    assert f"minidiff {command} " in recorded[0]
    assert STEPS.sub("", command).strip() in STEPS.sub("", recorded[1])


@pytest.mark.slow
def test_it_trains_measures_and_writes(tmp_path):
    out = tmp_path / "tried.json"
    command = [sys.executable, str(RECIPE), "--quick", "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    record = json.loads(out.read_text("utf-8"))
    assert [point["step"] for point in record["curve"]] == [4]
    assert record["tokens_read"] == 4 * 2 * record["data"]["length"]
    held_out = record["held_out"]
    assert held_out["low"] < held_out["nats"] < held_out["high"]
    assert len(set(record["samples"])) == 3
    assert all(text.startswith("class Reader:") for text in record["samples"])


def test_quick_needs_a_file_of_its_own():
    command = [sys.executable, str(RECIPE), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--quick: expected --out" in done.stderr
