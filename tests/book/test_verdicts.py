"""The page of verdicts agrees with the records, and the rule is the rule."""

import json
import shutil

import numpy as np
import pytest
from builder import evidence
from builder.claims import SECTIONS
from builder.claims.measures import spread
from builder.contrasts import TOO_SMALL, Paired, Solved, interval, verdict
from committed import ROOT

PAGE = (ROOT / "book" / "evidence.md").read_text(encoding="utf-8")


def copied(tmp_path):
    """A folder with the page, the records and the chapters' names."""
    book = tmp_path / "book"
    for name in ("results", "chapters"):
        shutil.copytree(ROOT / "book" / name, book / name)
    shutil.copy(ROOT / "book" / "evidence.md", book)
    return tmp_path


def record(kinds):
    """A record of runs with a value each, by kind and seed."""
    return {
        "jobs": [
            {
                "job": {"kind": kind},
                "rows": [
                    {"seed": seed, "x": x} for seed, x in enumerate(values)
                ],
            }
            for kind, values in kinds.items()
        ]
    }


def test_the_page_is_what_the_records_say():
    assert evidence.updated(ROOT) == PAGE, "run `make notebooks`"
    assert "| -0.011 (-0.017 to -0.005), 8 seeds | **seen** |" in PAGE


def test_another_figure_changes_the_page(tmp_path):
    root = copied(tmp_path)
    assert evidence.updated(root) == PAGE
    path = root / "book" / "results" / "text.json"
    changed = json.loads(path.read_text())
    for job in changed["jobs"]:
        if job["job"]["kind"] == "diff":
            for row in job["rows"]:
                row["valid_loss"] += 0.05
    path.write_text(json.dumps(changed))
    evidence.update(root)
    text = (root / "book" / "evidence.md").read_text(encoding="utf-8")
    assert "| +0.039 (+0.033 to +0.045), 8 seeds | **not seen; the" in text


def test_what_is_missing_is_not_run(tmp_path):
    root = copied(tmp_path)
    (root / "book" / "results" / "text.json").unlink()
    text = evidence.updated(root)
    first = next(x for x in text.splitlines() if x.startswith("| lower loss"))
    assert "| - | not run | no `text.json` |" in first
    assert "`text.json`" in evidence.summary(evidence.reader(root))


@pytest.mark.parametrize("lost", [evidence.BEGIN, evidence.END])
def test_a_page_without_its_lines_is_not_cut(tmp_path, lost):
    page = tmp_path / "book" / "evidence.md"
    page.parent.mkdir()
    page.write_text(PAGE.replace(lost, ""))
    with pytest.raises(ValueError, match="evidence:begin"):
        evidence.update(tmp_path)
    assert page.read_text() == PAGE.replace(lost, "")


def test_every_row_has_all_cells():
    rows = [x for x in PAGE.splitlines() if x.startswith("| ")]
    claims = sum(len(section.claims) for section in SECTIONS)
    assert len(rows) == claims + 2 * len(SECTIONS)
    assert {row.count(" | ") for row in rows} == {len(evidence.COLUMNS) - 1}


@pytest.mark.parametrize(
    "mean, half, effect, word",
    [
        (-2.0, 1.0, 0.5, "seen"),
        (-2.0, 3.0, 2.5, TOO_SMALL),
        (-2.0, 3.0, 3.5, "not seen"),
        (-2.0, 3.0, None, "not seen"),
        (2.0, 1.0, 1.5, "not seen; the opposite sign"),
        (2.0, 1.0, 0.5, f"{TOO_SMALL}; the opposite sign"),
    ],
)
def test_the_rule(mean, half, effect, word):
    assert verdict(mean, half, -1, effect) == word
    assert verdict(-mean, half, 1, effect) == word


def test_the_interval_by_hand():
    mean, half = interval([1.0, 2.0, 3.0, 6.0])
    assert mean == 3.0
    # Squares of -2, -1, 0 and 3 sum to 14.
    assert np.isclose(half, 3.182 * np.sqrt(14 / 3) / 2)
    with pytest.raises(ValueError, match="values: got 2, expected 3 to 8"):
        interval([1.0, 2.0])


def test_seeds_that_one_kind_lacks_are_left_out():
    runs = {"plain": [1.0, 1.0, 1.0], "diff": [1.5, 1.4, 1.6, 99.0]}
    pair = Paired(record="a", measure=lambda r: r["x"], sign=1)
    found = pair.find({"a": record(runs)}.get)
    assert (found.ours, found.seeds) == ("+0.500", "3 seeds")
    assert found.interval == "+0.252 to +0.748"
    assert str(found) == "+0.500 (+0.252 to +0.748), 3 seeds"
    alone = {"a": record({"diff": [1.0]})}
    assert pair.find(alone.get).verdict == "not run"


def test_a_ratio_is_that_of_the_logarithms():
    runs = {"plain": [1.0, 2.0, 4.0], "diff": [2.0, 4.0, 8.0]}
    pair = Paired(record="a", measure=lambda r: r["x"], sign=-1, ratio=True)
    found = pair.find({"a": record(runs)}.get)
    assert (found.ours, found.interval) == ("2.00", "2.00 to 2.00")


def test_models_that_guess_give_no_verdict():
    runs = {"plain": [0.1, 0.2, 0.1], "diff": [0.2, 0.3, 0.2]}
    pair = Paired(
        record="a",
        measure=lambda r: r["x"],
        sign=1,
        learned=lambda r: r["x"] > 0.25,
    )
    assert pair.find({"a": record(runs)}.get).verdict == "seen"
    runs["diff"] = [0.2, 0.25, 0.2]
    found = pair.find({"a": record(runs)}.get)
    assert found.verdict == "none: all models guess"


def test_only_pairs_that_both_learned_are_compared():
    runs = {"plain": [0.5, 0.1, 0.5, 0.5], "diff": [0.7, 0.9, 0.7, 0.8]}
    pair = Paired(
        record="a",
        measure=lambda r: r["x"],
        sign=1,
        learned=lambda r: r["x"] > 0.25,
        both=True,
    )
    found = pair.find({"a": record(runs)}.get)
    assert (found.ours, found.seeds) == ("+0.233", "3 seeds")
    runs["diff"][0] = 0.2
    found = pair.find({"a": record(runs)}.get)
    reason = "both models learned the task in 2 of 4 seeds"
    assert (str(found), found.verdict) == ("-", f"none: {reason}")


def test_a_spread_is_that_of_a_set_and_not_of_the_mean():
    # Each order is best in one set and worst in the other.
    found = {"by_set": [[4, 8], [6, 2]], "asked": 8}
    assert spread("orders", "random", {"orders": {"random": found}}) == 0.5


def test_counts_are_those_of_chapter_19():
    read = evidence.reader(ROOT)
    counts = {
        (pairs, width): Solved(
            record="mqar.json", pairs=pairs, width=width
        ).find(read)
        for pairs in (4, 8)
        for width in (64, 128)
    }
    assert counts[4, 64].ours == "2 of 8 against 0 of 8"
    assert counts[8, 64].ours == "8 of 8 against 0 of 8"
    assert [c.verdict == "seen" for c in counts.values()] == [0, 0, 1, 0]
