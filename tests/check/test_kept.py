"""Answers that pass are kept as files, and later chapters get them back."""

import linecache
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest

from minidiff import check
from minidiff.check import kept, teacher
from minidiff.check.standalone import CannotKeepError, standalone

ANSWER = """\
def subtract(a, b, lam):
    return np.asarray(a) - lam * np.asarray(b)
"""
IMPORT = "import numpy as np\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for answers, named by the environment variable."""
    monkeypatch.setenv(kept.VARIABLE, str(tmp_path / "answers"))
    return tmp_path / "answers"


class Notebook:
    """Cells that run as in Jupyter: one namespace, sources in linecache."""

    def __init__(self):
        self.names = {"__name__": "__main__", "np": np}
        self.count = 0

    def __call__(self, source):
        self.count += 1
        file = f"<cell {self.count} of {id(self)}>"
        lines = source.splitlines(keepends=True)
        linecache.cache[file] = len(source), None, lines, file
        exec(compile(source, file, "exec"), self.names)
        return SimpleNamespace(**self.names)


@pytest.fixture
def cell():
    return Notebook()


def run(text):
    names = {"__name__": "elsewhere"}
    exec(compile(text, "kept", "exec"), names)
    return SimpleNamespace(**names)


def test_a_function_is_kept_and_returned(folder, cell, capsys):
    answer = cell(ANSWER).subtract
    assert check.ex00_1(answer)
    assert f"kept in {folder / 'ex00_1.py'}\n" in capsys.readouterr().out
    head, body = (folder / "ex00_1.py").read_text().split("\n\n", 1)
    assert head.startswith("# Your answer to exercise 0.1 (")
    assert body == f"{IMPORT}\n\n{ANSWER}"
    got = check.mine("0.1")
    said = capsys.readouterr().out
    assert said.startswith("exercise 0.1: your answer of ")
    assert said.count("\n") == 1
    assert got is not answer
    assert check.ex00_1(got)
    assert "kept in" not in capsys.readouterr().out


def test_a_new_answer_replaces_the_old_one(folder, cell, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    newer = ANSWER.replace("lam * np.asarray(b)", "np.asarray(b) * lam")
    codes = []
    # Files of one length and one second: none is read from a cache.
    for text in (ANSWER, newer, ANSWER):
        assert check.ex00_1(cell(text).subtract)
        assert (folder / "ex00_1.py").read_text().endswith(text)
        codes.append(check.mine("0.1").__code__.co_code)
    assert codes[0] == codes[2] != codes[1]


def test_what_it_needs_comes_with_it(cell):
    cell("import numpy as np\nfrom math import exp as e, inf\nimport math")
    cell("SIZE = 3\nNAMES = {'a': [1, None]}\nFAR = -inf\nunused = 1")
    cell("@staticmethod\ndef scaled(x):\n    # a comment\n    return SIZE * x")
    cell("from functools import cache\n@cache\ndef far(x): return (FAR, x)")
    cell("from collections.abc import Callable\nPart = Callable[[int], "
         "tuple[np.ndarray]]\nfrom torch import float64")  # fmt: skip
    cell("twice = lambda x: 2 * scaled(x)\nfirst = twice")
    cell(
        "def f(x: np.ndarray, n=SIZE) -> Part:\n"
        "    unused = NAMES['a'], float64\n"
        "    def inner(): return math.pi\n"
        "    return e(0) + first(x) + inner() + far(x)[1], f\n"
    )
    text = standalone(cell("").f, "f")
    assert "unused = 1" not in text
    assert "# a comment" in text
    assert run(text).f(1)[0] == cell("").f(1)[0]
    assert run(text).Part == cell("").Part


def test_a_class_with_its_base_and_a_name_of_its_own(cell):
    cell("class Base:\n    def size(self):\n        return 2\n")
    cell("size_of = len\nWIDTH = 5")
    text = standalone(
        cell(
            "class Mine(Base):\n"
            "    WIDTH = WIDTH\n\n"
            "    def __init__(self):\n        super().__init__()\n\n"
            "    @property\n    def total(self):\n"
            "        return self.size() + self.WIDTH + size_of('abc')\n"
        ).Mine,
        "Stub",
    )
    assert text.index("class Base") < text.index("class Mine")
    assert run(text).Stub().total == 10


def test_an_answer_may_use_kept_answers_and_solutions(folder, cell):
    check.ex00_1(cell(ANSWER).subtract)
    nb = Notebook()
    nb.names |= {"part": check.mine("0.1"), "head": check.mine("3.2")}
    text = standalone(nb("def f(): return part, head").f, "f")
    assert "part = subtract" in text
    assert "from minidiff.check.ex03" in text
    (folder / "ex00_1.py").unlink()
    part, head = run(text).f()
    assert part(np.ones(1), np.ones(1), 0.5) == 0.5
    assert head is nb.names["head"]


def test_functions_that_call_each_other(cell):
    cell("def even(n): return n == 0 or odd(n - 1)")
    cell("def odd(n): return n > 0 and even(n - 1)")
    assert run(standalone(cell("").even, "even")).even(4)


@pytest.mark.parametrize(
    ("before", "source", "reason"),
    [
        ("import numpy as np\nW = np.ones(2)", "def f(): return W", "W, a nd"),
        ("x = object()\ndef g(): return x", "def f(): return g()", "uses x"),
        ("def g():\n    def f(): return 1\n    return f", "f = g()", "margin"),
        ("", "if True:\n    def f(): return 1", "left margin"),
        ("", "class f: pass", "source of f"),
        ("", "f = len", "source of len"),
        ("from functools import partial", "f = partial(int, 2)", "partial"),
    ],
)
def test_what_cannot_be_kept(cell, before, source, reason):
    cell(before)
    with pytest.raises(CannotKeepError, match=reason):
        standalone(cell(source).f, "f")


def test_two_things_of_one_name_cannot_be_kept(cell):
    other = Notebook()
    other("K = 1\ndef g(): return K")
    cell.names["g"] = other.names["g"]
    cell("K = 2\ndef f(): return g() + K")
    with pytest.raises(CannotKeepError, match=r"two different .* called K"):
        standalone(cell("").f, "f")
    cell("K = 1")
    assert run(standalone(cell("").f, "f")).f() == 2


def test_it_passes_though_it_cannot_be_kept(folder, cell, capsys):
    cell("ONE = object()")
    assert check.ex00_1(
        cell(ANSWER.replace("lam *", "(ONE and lam) *")).subtract
    )
    out = capsys.readouterr().out
    assert "0.1 passed" in out
    assert "not kept for later chapters: it uses ONE, a object" in out
    assert not (folder / "ex00_1.py").exists()


def test_nothing_is_stored_if_it_failed(folder, cell, capsys):
    assert not check.ex00_1(cell(ANSWER.replace(" - ", " + ")).subtract)
    check.ex00_1(lambda *_: None)
    assert not folder.exists()
    capsys.readouterr()
    assert check.mine("0.1") is check._find("0.1").solution
    assert capsys.readouterr().out == (
        "exercise 0.1 is not solved yet: the course's solution is used\n"
    )


def test_nothing_is_stored_or_read_with_an_empty_variable(
    tmp_path, monkeypatch, cell, capsys
):
    monkeypatch.setenv(kept.VARIABLE, "")
    monkeypatch.chdir(tmp_path)
    assert check.ex00_1(cell(ANSWER).subtract)
    assert "kept" not in capsys.readouterr().out
    assert check.mine("0.1") is check._find("0.1").solution
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("def subtract(:", "SyntaxError"),
        ("import no_such_package", "ModuleNotFoundError"),
        ("other = 1", "AttributeError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_broken_file(folder, capsys, text, error):
    folder.mkdir()
    (folder / "ex00_1.py").write_text(text)
    assert check.mine("0.1") is check._find("0.1").solution
    out = capsys.readouterr().out
    path = folder / "ex00_1.py"
    assert out.startswith(f"exercise 0.1: {path} does not load")
    assert error in out
    assert "the course's solution is used" in out
    assert "answers.ex00_1" not in sys.modules


def test_a_folder_that_cannot_be_written(folder, cell, capsys):
    folder.write_text("a file")
    assert check.ex00_1(cell(ANSWER).subtract)
    assert "not kept for later chapters: " in capsys.readouterr().out


def test_the_folder(monkeypatch, tmp_path):
    monkeypatch.delenv(kept.VARIABLE)
    assert kept.path_of("ex07_5").parts[-2:] == ("answers", "ex07_5.py")
    assert kept.path_of("ex07_5").parent.parent == kept.root()
    ignored = subprocess.run(
        ["git", "check-ignore", "answers/ex07_5.py"], cwd=kept.root()
    )
    assert ignored.returncode == 0

    def no_course():
        raise FileNotFoundError

    monkeypatch.setattr(kept, "root", no_course)
    assert kept.path_of("ex07_5").as_posix() == "answers/ex07_5.py"


def test_an_unknown_exercise():
    with pytest.raises(ValueError, match=r"3\.99"):
        check.mine("3.99")


def test_in_jupyter_and_under_grading(folder, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    torch = pytest.importorskip("torch")
    nb = nbformat.v4.new_notebook()
    lam = check.solution_source("5.1").replace("0.1 *", "SMALL *")
    nb.cells = [
        nbformat.v4.new_code_cell(source)
        for source in (
            "import torch\nfrom torch import Tensor, nn\nSMALL = 0.1\n"
            "from minidiff import check, lambda_init",
            lam,
            "check.ex05_1(LearnedLambda)",
        )
    ]
    path = tmp_path / "05_ada.ipynb"
    nbformat.write(nb, path)
    assert teacher.grade(path)[0]["5.1"] == "passed"
    assert not folder.exists()

    nbclient.execute(nb)
    text = nb.cells[-1].outputs[0].text
    assert f"kept in {folder / 'ex05_1.py'}" in text, text
    assert "SMALL * torch" in (folder / "ex05_1.py").read_text()
    assert isinstance(check.mine("5.1")(4, 0)(), torch.Tensor)
