"""The teacher's table: run for real, stored outputs not believed."""

import nbformat
import pytest

from minidiff.check import solution_source, teacher

pytest.importorskip("nbclient")

START = "import numpy as np\nfrom minidiff import check\n" + (
    "from minidiff.reference import softmax"
)


def write(path, *sources, fake=None):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(s) for s in (START, *sources)]
    if fake:
        notebook.cells[-1].outputs = [
            nbformat.v4.new_output("stream", name="stdout", text=fake)
        ]
    nbformat.write(notebook, path)
    return path


def test_a_class(tmp_path, capsys):
    good = write(
        tmp_path / "03_ada.ipynb",
        solution_source("3.1"),
        "check.ex03_1(perfect_partner)",
    )
    bad = write(
        tmp_path / "03_bob.ipynb",
        "check.ex03_1(lambda a, b, lam: a)\n1 / 0",
        "check.ex03_2(lambda *a: None)",
        fake="3.1 passed: 4 cases.",
    )
    assert teacher.main([good, bad]) == 1
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["notebook", "3.1", "3.2", "3.3", "3.4"]
    assert lines[1] == ["03_ada.ipynb", "yes", "?", "?", "?"]
    assert lines[2][:4] == ["03_bob.ipynb", "no", "-", "?"]
    assert lines[2][-1] == "ZeroDivisionError"


def test_a_problem_set(tmp_path, capsys):
    path = write(
        tmp_path / "part_1_ada.ipynb",
        solution_source("P1.2").replace("Part", "tuple"),
        "check.exP1_2(merge)\ncheck.ex03_1(lambda *a: None)",
        "check.exP1_1(lambda blocks: None)",
    )
    assert teacher.main([path]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][1:4] == ["3.1", "P1.1", "P1.2"]
    assert lines[1] == [path.name, "-", "-", "yes", "?", "?", "?"]


@pytest.mark.parametrize(
    ("name", "set_name"),
    [
        ("03_ada.ipynb", "03"),
        ("hand_in/part_1.ipynb", "P1"),
        ("part_2_bob.ipynb", "P2"),
        ("ada.ipynb", ""),
    ],
)
def test_the_set_a_file_name_stands_for(name, set_name):
    assert teacher.set_name(name) == set_name


def test_notebooks_of_one_name_are_told_apart(tmp_path, capsys):
    paths = [tmp_path / who / "03_x.ipynb" for who in ("ada", "bob")]
    assert teacher.main(paths) == 1  # there are none
    lines = capsys.readouterr().out.splitlines()
    for path, line in zip(paths, lines[1:3], strict=True):
        assert line.startswith(str(path))


def test_a_file_that_is_no_notebook(tmp_path):
    path = tmp_path / "03_eve.ipynb"
    path.write_text("{")
    found, problem = teacher.grade(path)
    assert found == {}
    assert "not readable" in problem
