"""What has passed is kept, counted after each check, and shown in a table."""

import json

import pytest

from minidiff import check
from minidiff.check import kept, progress
from minidiff.cli import main
from minidiff.course.parts import PARTS, part_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for answers, named by the environment variable."""
    monkeypatch.setenv(kept.VARIABLE, str(tmp_path / "answers"))
    return tmp_path / "answers"


def solution(exercise_id):
    """The check of an exercise, and a right answer to it."""
    name = check.set_of(exercise_id), exercise_id.partition(".")[2]
    answer = check._find(exercise_id).solution
    return lambda: getattr(check, "ex{}_{}".format(*name))(answer)


def wrong(*_):
    return 0.5


def count(name):
    return len(check.exercises(name))


def test_a_tally_follows_each_check(folder, capsys):
    all_of_them = count("03")
    assert solution("3.2")()
    out = capsys.readouterr().out
    assert out.endswith(f"\n1 of {all_of_them} in chapter 3\n")
    check.ex03_1(wrong)
    out = capsys.readouterr().out
    assert out.endswith(f"\n1 of {all_of_them} in chapter 3\n")
    assert solution("3.2")()  # counted once
    assert f"\n1 of {all_of_them} in ch" in capsys.readouterr().out
    assert solution("P1.1")()
    assert f"1 of {count('P1')} in problem set 1" in capsys.readouterr().out


def test_an_untouched_stub_says_nothing_of_it(folder, capsys):
    check.ex03_1(lambda *_: None)
    out = capsys.readouterr().out
    assert "not attempted" in out and " in chapter" not in out
    assert not folder.exists()


def test_nothing_is_kept_where_answers_are_not(monkeypatch, capsys):
    monkeypatch.setenv(kept.VARIABLE, "")
    assert solution("3.2")()
    assert capsys.readouterr().out.count("\n") == 1


def test_the_file_holds_ids_and_days(folder):
    solution("3.2")()
    kept_file = json.loads((folder / progress.FILE_NAME).read_text())
    assert set(kept_file) == {"passed"} and set(kept_file["passed"]) == {"3.2"}
    assert progress.passed(folder) == {"3.2"}


@pytest.mark.parametrize("text", ["{", '{"passed": {"3.2": 5}}', "[]"])
def test_a_damaged_file_is_said_and_no_check_fails(folder, capsys, text):
    folder.mkdir()
    (folder / progress.FILE_NAME).write_text(text)
    assert solution("3.2")()
    assert "progress is not kept: " in capsys.readouterr().out
    assert (folder / progress.FILE_NAME).read_text() == text
    assert main(["progress"]) == 2
    assert progress.FILE_NAME in capsys.readouterr().err


def test_the_last_exercise_of_a_part_is_a_milestone(folder, capsys):
    part = PARTS[0]
    ids = [i for c in part.chapters for i in check.exercises(c)]
    last, others = ids[-1], ids[:-1]
    for exercise_id in others:
        progress.note(folder, exercise_id)
    assert solution(last)()
    out = capsys.readouterr().out
    assert f"Part {part.name} is done: {part.milestone}\n" in out
    assert solution(last)()  # reached once
    assert "is done" not in capsys.readouterr().out


def test_every_chapter_with_exercises_belongs_to_one_part():
    listed = [chapter for part in PARTS for chapter in part.chapters]
    assert len(listed) == len(set(listed))
    assert set(check.sets()) <= {*listed, *(p.problems for p in PARTS)}
    assert part_of("P2") is part_of("05") is PARTS[1]


def test_the_command_shows_what_is_left(folder, capsys):
    assert main(["progress"]) == 0
    nothing = capsys.readouterr().out
    total = len(check.subjects())
    assert f"0 of {total}" in nothing and "done" not in nothing
    for exercise_id in check.exercises("03")[:-1]:
        progress.note(folder, exercise_id)
    assert main(["progress"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = (x for x in lines if x.startswith("  chapter 3 "))
    n, last = count("03"), check.exercises("03")[-1]
    assert f"{n - 1} of {n}" in row and row.endswith(f"left: {last}")
    (row,) = (x for x in lines if x.startswith("Part I "))
    assert f"{n - 1} of " in row
    for part in PARTS:
        for name in (*part.chapters, part.problems):
            for exercise_id in check.exercises(name):
                progress.note(folder, exercise_id)
    assert main(["progress"]) == 0
    out = capsys.readouterr().out
    assert f"{total} of {total}" in out and "left:" not in out
    reached = [p for p in PARTS if any(map(check.exercises, p.chapters))]
    assert all(p.milestone in out for p in reached)


def test_an_exercise_that_is_gone_does_not_count(folder, capsys):
    progress.note(folder, "3.99")
    assert main(["progress"]) == 0
    assert f"0 of {len(check.subjects())}" in capsys.readouterr().out


def test_without_a_folder_the_command_says_why(monkeypatch, capsys):
    monkeypatch.setenv(kept.VARIABLE, "")
    assert main(["progress"]) == 2
    assert "MINIDIFF_ANSWERS" in capsys.readouterr().err
