"""Recipes: jobs that resume, and recordings that can be tried on a CPU."""

import json
import os
import re
import subprocess
import sys
import time

import pytest
from committed import ROOT

from minidiff.data import BPETokenizer, write_tokens

RECIPES = ROOT / "book" / "recipes"
sys.path.insert(0, str(RECIPES))

import jobs as recipe_jobs  # noqa: E402
from family import FAMILY  # noqa: E402
from variants import VARIANTS  # noqa: E402


def double(job, device):
    """A job's function, which other processes import from here."""
    if job["n"] == 5:
        time.sleep(1)  # the answer before is sent by a thread
        os._exit(1)  # as the system ends a process that takes its memory
    if job["n"] == 3:
        raise ValueError("three is refused")
    return [{"twice": 2 * job["n"]}]


def run(out, numbers, about=None, minutes=9.0):
    recipe_jobs.run_jobs(
        double,
        [{"n": n} for n in numbers],
        out,
        about or {"what": "doubling"},
        device="cpu",
        minutes=minutes,
    )
    return json.loads(out.read_text())


@pytest.mark.slow
def test_a_recipe_goes_on_where_it_stopped(tmp_path, capfd):
    out = tmp_path / "record.json"
    first = run(out, [1, 3, 2])
    assert [r["twice"] for r in recipe_jobs.rows(first)] == [2, 4]
    assert [e.get("error") for e in first["jobs"]] == [
        None,
        "ValueError('three is refused')",
        None,
    ]
    assert first["not_run"] == [{"n": 3}]
    assert first["provenance"]["versions"]["torch"]
    assert "three is refused" in capfd.readouterr().err  # with its traceback
    out.write_text(json.dumps(first | {"jobs": first["jobs"][:1]}))
    second = run(out, [1, 2, 4])
    assert [e["job"]["n"] for e in second["jobs"]] == [1, 2, 4]
    assert second["not_run"] == []


@pytest.mark.slow
def test_a_killed_process_ends_the_recipe(tmp_path):
    record = run(tmp_path / "record.json", [1, 5, 2])
    assert [r["twice"] for r in recipe_jobs.rows(record)] == [2]
    assert record["not_run"] == [{"n": 5}, {"n": 2}]


@pytest.mark.slow
def test_no_job_begins_after_the_last_minute(tmp_path):
    record = run(tmp_path / "record.json", [1, 2], minutes=0)
    assert record["jobs"] == []
    assert record["not_run"] == [{"n": 1}, {"n": 2}]


def test_the_record_of_something_else_is_refused(tmp_path):
    out = tmp_path / "record.json"
    out.write_text(json.dumps({"what": "tripling", "jobs": []}))
    with pytest.raises(ValueError, match=r"--out: .* has what = 'tripling'"):
        run(out, [1])


def corpus(**changes):
    """A corpus as a record describes it: hundreds of packages, two sides."""
    packages = [
        {"name": f"p{i}", "version": "1.0", "used": i % 2 == 0, "files": 3}
        for i in range(300)
    ]
    for place, change in changes.pop("packages", {}).items():
        packages[place] |= change
    sides = {"train": {"tokens": 9, "sha256": "ab"}} | changes
    return {"data": sides | {"about": {"packages": packages}}}


def recorded(tmp_path, about):
    """The record of a recipe that was stopped before its first job."""
    out = tmp_path / "record.json"
    record = {**about, "jobs": [], "not_run": [{"n": 1}]}
    out.write_text(json.dumps(record))
    return out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"packages": {200: {"version": "2.0"}}},
            r"data\.about\.packages\[100\]\.version = '1\.0', expected '2\.0'",
        ),
        (
            {"packages": {200: {"used": False}}},
            r"packages\[100\]\.name = 'p200', expected 'p202' as in this",
        ),
        (
            {"packages": {299: {"used": True}}},
            r"packages\[150\] = nothing, expected {'name': 'p299', ",
        ),
        (
            {"train": {"tokens": 9, "sha256": "cd"}},
            r"data\.train\.sha256 = 'ab', expected 'cd' as in this recipe",
        ),
        (
            {"train": {"tokens": 9}},
            r"data\.train\.sha256 = 'ab', expected nothing as in this",
        ),
        ({"train": 5}, r"data\.train = {'tokens': 9, .*}, expected 5 as in"),
    ],
)
def test_other_data_are_named_in_one_line(tmp_path, changes, message):
    out = recorded(tmp_path, corpus())
    with pytest.raises(
        ValueError, match=r"--out: .*record\.json has "
    ) as error:
        run(out, [1], corpus(**changes))
    said = str(error.value).replace(str(out), "")
    assert re.search(message, said)
    assert len(said) < 300 and "\n" not in said


def test_a_package_that_is_not_used_may_have_another_version(tmp_path):
    before = corpus(packages={7: {"version": "6.168.3"}})
    out = recorded(tmp_path, before)
    now = corpus(packages={7: {"version": "6.170.17"}, 9: {"name": "q"}})
    assert run(out, [], now)["data"] == before["data"]  # as it was


def recipe(name, *arguments):
    command = [sys.executable, str(RECIPES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_text_recipe_trains_every_kind(tmp_path):
    texts = [
        ("train", "def f(x): return x\n" * 400),
        ("valid", "x = 1\n" * 200),
    ]
    tokenizer = BPETokenizer.train((t for _, t in texts), 300)
    write_tokens(tmp_path / "tokens", texts, tokenizer, about={})
    given = ["--quick", "--tokens", tmp_path / "tokens", "--out"]
    pilot, main = tmp_path / "pilot.json", tmp_path / "main.json"
    recipe("text.py", "pilot", *given, pilot)
    recipe("text.py", "main", *given, main, "--pilot", pilot)
    out = tmp_path / "ablations.json"
    recipe("text.py", "ablations", *given, out, "--pilot", pilot)
    found = recipe_jobs.rows(json.loads(out.read_text()))
    assert {row["kind"] for row in found} == set(VARIANTS)
    out = tmp_path / "family.json"
    recipe("text.py", "family", *given, out, "--pilot", pilot)
    found = recipe_jobs.rows(json.loads(out.read_text()))
    assert {row["kind"] for row in found} == set(FAMILY)
    rows = recipe_jobs.rows(json.loads(main.read_text()))
    # Two jobs for each kind, with two seeds each: the first of each half.
    runs = {(row["kind"], row["seed"]) for row in rows}
    assert len(runs) == len(rows) == 6 * 4
    for row in rows:
        assert len(row["curve"]) == len(row["steps"]) == 2
        assert 0 < row["valid_loss"] < 10


def test_mqar_takes_its_rates_from_the_pilot():
    import mqar

    pilot = json.loads((ROOT / "book/results/mqar_pilot.json").read_text())
    best = mqar.best_rates(pilot)
    jobs = mqar.main_jobs(pilot)
    assert len(best) == len(jobs) == 24
    for job in jobs:
        rate = best[job["kind"], job["length"], job["width"]]
        low, middle, high = job["rates"]
        assert middle == rate
        assert high / middle == pytest.approx(10**0.5, rel=1e-2)
        assert middle / low == pytest.approx(10**0.5, rel=1e-2)
        assert not set(job["seeds"]) & set(mqar.PILOT_SEEDS)
    assert_resumable("mqar.json", jobs)


def test_the_text_record_can_be_resumed():
    import text

    pilot = json.loads((ROOT / "book/results/text_pilot.json").read_text())
    jobs = text.main_jobs(pilot)
    assert {seed for job in jobs for seed in job["seeds"]} == set(text.SEEDS)
    assert not set(text.SEEDS) & set(text.PILOT_SEEDS)
    assert_resumable("text.json", jobs)


def test_the_race_record_can_be_resumed():
    import needle_race

    from minidiff.nn.kinds import KINDS

    jobs = needle_race.race_jobs(needle_race.KINDS)
    assert {job["kind"] for job in jobs} == set(KINDS)
    assert_resumable("needle_race.json", jobs)


def test_the_record_of_outliers_can_be_resumed():
    import outliers

    from minidiff.nn.kinds import KINDS

    jobs = outliers.outlier_jobs()
    assert [job["kind"] for job in jobs] == list(KINDS)
    assert_resumable("outliers.json", jobs)


@pytest.mark.parametrize(
    ("recipe_name", "make", "record"),
    [
        ("family", "race_jobs", "family_race.json"),
        ("family", "rate_jobs", "family_rates.json"),
        ("second_branch", "continued_jobs", "second_branch.json"),
    ],
)
def test_the_small_records_can_be_resumed(recipe_name, make, record):
    jobs = getattr(__import__(recipe_name), make)()
    assert_resumable(record, jobs)


def assert_resumable(name, jobs):
    """Check that a record's jobs are among ``jobs``, and the rest not run."""
    recorded = json.loads((ROOT / "book/results" / name).read_text())
    jobs = json.loads(json.dumps(jobs))  # the form that a record has
    done = [entry["job"] for entry in recorded["jobs"]]
    assert all(job in jobs for job in done)
    assert [job for job in jobs if job not in done] == recorded["not_run"]
