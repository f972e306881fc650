"""The class's table: one notebook costs its own row, at most one exercise."""

import json
import os
import sys
import threading
from pathlib import Path

import nbformat
import pytest

from minidiff.check import solution_source, teacher

pytest.importorskip("nbclient")
from minidiff.check import grading

START = (
    "import numpy as np\nfrom minidiff import check\n"
    "from minidiff.reference import softmax"
)
FIRST = solution_source("3.1") + "\ncheck.ex03_1(perfect_partner)"
WRONG = "check.ex03_1(lambda a, b, lam: a)"
NOT_YET = "check.ex03_2(lambda *a: None)"
FORGED = "\\n03_zoe.ipynb   yes   yes   yes   yes   yes"


def write(path, *sources, tags=()):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(s) for s in (START, *sources)]
    notebook.cells[-1].metadata["tags"] = list(tags)
    nbformat.write(notebook, path)
    return path


def rewriter(folder):
    """Puts a right answer into everybody's file."""
    return (
        f"import json, pathlib\nfor p in pathlib.Path({str(folder)!r}).glob("
        "'03_*'):\n    book = json.loads(p.read_text())\n"
        f"    book['cells'][1]['source'] = {FIRST!r}\n"
        "    p.write_text(json.dumps(book))"
    )


DEAF = (
    "import time\nwhile True:\n    try:\n        time.sleep(1)\n"
    "    except BaseException:\n        pass"
)
HOSTILE = {
    "endless": (FIRST, "while True: pass", NOT_YET),
    "deaf": (FIRST, DEAF, NOT_YET),
    "endless_answer": (
        "check.boundary.SECONDS = 1.0\n"
        "def forever(*a):\n    while True: pass\n"
        "check.ex03_1(forever)",
        NOT_YET,
    ),
    "dies": (FIRST, "import os\nos._exit(1)", NOT_YET),
    "killed": (
        "import os, signal\ncheck.ex03_1("
        "lambda *a: os.kill(os.getpid(), signal.SIGKILL))",
        NOT_YET,
    ),
    "leaves": (FIRST, "exit()", NOT_YET),
    "answer_leaves": ("check.ex03_1(lambda *a: exit())", NOT_YET),
    "flood": (FIRST, "while True: print('x' * 10_000)", NOT_YET),
    "forged_row": (
        FIRST,
        f"raise type('E{FORGED}', (Exception,), {{}})('x')",
        NOT_YET,
    ),
    "list": (FIRST, NOT_YET, "check.report = lambda: print('[1, 2]')"),
    "patched": ("np.isclose = np.equal = lambda *a, **k: True", WRONG),
    "silent": (FIRST, "import sys\nsys.stdout = None", NOT_YET),
}
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The table of a class of hostile notebooks: {student: words of a row}."""
    folder = tmp_path_factory.mktemp("class")
    paths = [
        write(folder / f"03_{name}.ipynb", *cells)
        for name, cells in HOSTILE.items()
    ]
    first = write(folder / "03_aaa.ipynb", rewriter(folder), FIRST)
    last = write(folder / "03_zzz.ipynb", WRONG, NOT_YET)
    rows = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grading, "OUTPUT", 1_000_000)
        patch.setattr(grading, "_GRACE", 2.0)
        patch.setattr(grading, "_REPORT_SECONDS", 3.0)
        patch.setattr(teacher, "_print", rows.extend)
        status = teacher.main([first, *paths, last], timeout=4.0)
    assert status == 1
    return {row.path.stem.removeprefix("03_"): row for row in rows}


@SLOW
def test_every_notebook_has_a_row(table):
    assert list(table) == ["aaa", *HOSTILE, "zzz"]


@SLOW
@pytest.mark.parametrize(
    ("student", "first", "says"),
    [
        ("endless", "passed", "cell 3 was stopped after 4 seconds"),
        ("deaf", "passed", "cell 3 was stopped after 4 seconds"),
        ("endless_answer", "failed", ""),
        ("dies", "passed", "cell 3 ended the kernel"),
        ("killed", "", "cell 2 ended the kernel"),
        ("leaves", "passed", ""),
        ("answer_leaves", "failed", ""),
        ("flood", "passed", "cell 3 printed more than"),
        ("forged_row", "passed", "a cell raised E"),
        ("list", "passed", "reported no results"),
        ("patched", "failed", ""),
    ],
)
def test_what_a_hostile_notebook_costs(table, student, first, says):
    row = table[student]
    assert row.found["3.1"] == first, row
    assert says in row.problem
    if student != "patched":
        assert row.found["3.2"] == "not attempted", row


@SLOW
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("where", ["here", "in_a_child"])
def test_a_cell_that_takes_all_memory_is_ended(where, tmp_path, monkeypatch):
    monkeypatch.setattr(grading, "MEMORY", 10**9)
    hungry = "x = [b'x' * 10**7 for _ in range(150)]\nimport time"
    hungry += "\ntime.sleep(4)"
    if where == "in_a_child":
        run = f"subprocess.run([sys.executable, '-c', {hungry!r}])"
        hungry = f"import subprocess, sys\n{run}"
    path = write(tmp_path / "03_a.ipynb", FIRST, hungry, NOT_YET)
    found, problem = teacher.grade(path)
    assert problem == "cell 3 took more than 1 GB of memory"
    assert found["3.1"] == "passed" and found["3.2"] == "not attempted"


@SLOW
def test_a_notebook_with_a_byte_order_mark(tmp_path):
    """Some editors of Windows put one in front."""
    path = write(tmp_path / "03_a.ipynb", FIRST)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    found, problem = teacher.grade(path)
    assert (found["3.1"], problem) == ("passed", "")


@SLOW
def test_a_notebook_without_stdout_keeps_what_was_graded(table):
    assert table["silent"].found["3.1"] == "passed"


@SLOW
def test_nobody_rewrites_the_next_notebook(table):
    assert table["zzz"].found["3.1"] == "failed"


@SLOW
def test_nothing_of_a_kernel_reaches_the_terminal(tmp_path, capfd):
    forge = f"import os\n[os.write(n, b'{FORGED}') for n in (1, 2)]"
    path = write(tmp_path / "03_a.ipynb", FIRST, forge)
    assert teacher.grade(path)[0]["3.1"] == "passed"
    assert capfd.readouterr() == ("", "")


@SLOW
def test_a_problem_is_one_line(table, capsys):
    teacher._print(list(table.values()))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(table) + 2
    assert not any(line.startswith("03_zoe") for line in lines)


@SLOW
def test_a_cell_that_is_meant_to_fail_is_no_problem(tmp_path):
    path = write(tmp_path / "03_a.ipynb", FIRST, "{}[0]", tags=["x"])
    assert teacher.grade(path)[1] == "a cell raised KeyError"
    path = write(path, FIRST, "{}[0]", tags=["raises-exception"])
    assert teacher.grade(path)[1] == ""


@SLOW
def test_an_untouched_notebook_fails(capsys):
    """A clone nobody has worked in: nothing attempted, and status 1."""
    root = Path(__file__).resolve().parents[2]
    (path,) = (root / "notebooks").glob("00_*.ipynb")
    assert teacher.main([path]) == 1
    row = capsys.readouterr().out.splitlines()[1]
    assert row.split()[1:2] == ["-"]
    assert row.endswith("nothing attempted")


@SLOW
def test_a_kernel_of_the_same_name_is_not_taken(tmp_path, monkeypatch):
    for variable in ("JUPYTER_DATA_DIR", "JUPYTER_PATH"):
        spec = tmp_path / variable / "kernels" / "python3" / "kernel.json"
        spec.parent.mkdir(parents=True)
        spec.write_text(
            json.dumps({"argv": ["/no/such/python"], "display_name": "old"})
        )
        monkeypatch.setenv(variable, str(tmp_path / variable))
    path = write(
        tmp_path / "03_a.ipynb",
        FIRST,
        "import os\nassert os.environ['JUPYTER_PREFER_ENV_PATH'] == '1'",
    )
    found, problem = teacher.grade(path)
    assert problem == ""
    assert found["3.1"] == "passed"


# Quick ones: no kernel is started. -----------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "{",
        '"text"',
        "null",
        "[" * 100_000,
        "9" * 5000,
        '{"3.' + "1" * 5000 + '": "passed"}',
        '{"3.99": "passed"}',
        '{"3.1": ["passed"]}',
        '{"3.1": {"a": 1}}',
        '{"3.1": "yes\\n03_zoe.ipynb yes"}',
    ],
)
def test_a_report_of_anything_is_a_problem_and_no_result(text):
    grade = grading.Grade()
    grade.read('{"3.2": "passed"}')
    grade.read(text)
    assert grade.found == {"3.2": "passed"}
    assert len(grade.problems) == 1


def row(name="03_a.ipynb", problem="", **found):
    found = {key.replace("_", ".")[1:]: value for key, value in found.items()}
    return teacher.Row(path=Path(name), found=found, problem=problem)


@pytest.mark.parametrize(
    "name",
    [
        f"03_a{FORGED.encode().decode('unicode_escape')}.ipynb",
        "03_\x1b[2Ka.ipynb",
        "03_\r.ipynb",
        "03_\u2028.ipynb",
        "03_\u202e.ipynb",
        os.fsdecode(b"03_\xff.ipynb"),
        "03_" + "a" * 5000,
    ],
)
def test_a_file_name_is_one_short_line(name, capsys):
    teacher._print([row(name, problem=f"a cell raised {name}")])
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 3
    assert all(line.isprintable() for line in out.splitlines())
    assert len(out) < 1500


def test_a_narrow_stdout_is_enough(monkeypatch, tmp_path):
    out = (tmp_path / "out").open("w", encoding="ascii")
    monkeypatch.setattr("sys.stdout", out)
    teacher._print([row("03_é.ipynb", problem="x")])
    out.close()
    assert r"03_\xe9.ipynb" in (tmp_path / "out").read_text()


@pytest.mark.parametrize(
    ("one", "good"),
    [
        (row(_3_1="passed"), True),
        (row(_3_1="passed", _3_2="not attempted", _3_3=""), True),
        (row(_3_1="passed", _3_2="failed"), False),
        (row(_3_1="not attempted"), False),
        (row(_3_1=""), False),
        (row(), False),
        (row(_3_1="passed", problem="a cell raised KeyError"), False),
    ],
)
def test_the_rows_that_give_exit_status_0(one, good):
    assert one.good is good


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_no_notebook(tmp_path):
    path = tmp_path / "03_pipe.ipynb"
    os.mkfifo(path)
    done = []
    thread = threading.Thread(
        target=lambda: done.append(teacher.grade(path)), daemon=True
    )
    thread.start()
    thread.join(20)
    assert done
    assert "not a regular file" in done[0][1]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[]",
        "null",
        '{"cells": 7, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
        '{"cells": [[]], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
    ],
)
def test_a_file_of_another_shape_is_told(text, tmp_path):
    path = tmp_path / "03_eve.ipynb"
    path.write_text(text)
    found, problem = teacher.grade(path)
    assert found == {}
    assert problem.startswith("not readable as a notebook")


def test_a_large_file_is_not_read(tmp_path):
    path = tmp_path / "03_eve.ipynb"
    with path.open("wb") as file:
        file.truncate(teacher.BYTES + 1)
    assert "over 50,000,000 bytes" in teacher.grade(path)[1]


def test_ctrl_c_keeps_the_rows_so_far(tmp_path, monkeypatch, capsys):
    paths = [write(tmp_path / f"03_{who}.ipynb", FIRST) for who in "ab"]

    def run(path, cells, timeout):
        if path == paths[1]:
            raise KeyboardInterrupt
        return {"3.1": "passed"}, ""

    monkeypatch.setattr(teacher, "_run", run)
    assert teacher.main(paths) == 130
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["03_a.ipynb", "yes"]
    assert lines[2].split() == ["03_b.ipynb", "?", "interrupted"]
