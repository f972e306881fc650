"""A file of the package imports only from floors below its own.

FLOORS is the one list of floors; CONTRIBUTING.md shows it.
"""

import ast
import re
from pathlib import Path

import pytest
from committed import ROOT

FLOORS = (
    ("reference", "files"),
    ("ops",),
    ("data",),
    ("nn",),
    ("training",),
    ("evaluation", "convert", "plots"),
    ("course", "bench"),
    ("check",),
    ("cli",),
)
FLOOR = {name: n for n, floor in enumerate(FLOORS) for name in floor}
PACKAGE = ROOT / "minidiff"
# The public names are loaded from every floor; `python -m` is the command.
ABOVE_ALL = {"__init__", "__main__"}


def imported(path: Path) -> list[tuple[int, str]]:
    """Lines of a file and the parts of minidiff that they import."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(
                    f"{path}, line {node.lineno}: expected an absolute import"
                )
            names = [node.module or ""]
            if node.module == "minidiff":
                names = [f"minidiff.{alias.name}" for alias in node.names]
        else:
            continue
        parts = (name.split(".") for name in names)
        found += [
            (node.lineno, (*part, "__init__")[1])
            for part in parts
            if part[0] == "minidiff"
        ]
    return found


def problems(package: Path) -> list[str]:
    """Every import that is not from the file's own part or from below."""
    wrong = []
    for path in sorted(package.rglob("*.py")):
        part, *rest = path.relative_to(package).with_suffix("").parts
        if not rest and part in ABOVE_ALL:
            continue
        if not rest or part not in FLOOR:
            wrong.append(f"{path}: {part} is on no floor")
            continue
        for line, other in imported(path):
            # The version stands above all floors, and needs none of them.
            allowed = (
                other in (part, "__version__")
                or FLOOR.get(other, 99) < FLOOR[part]
            )
            if not allowed:
                wrong.append(f"{path}, line {line}: {part} imports {other}")
    return wrong


def test_imports_go_down():
    assert problems(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("nn/layers.py", "from minidiff.training.step import adamw"),
        ("nn/layers.py", "    import minidiff.bench"),
        ("ops/masks.py", "from minidiff import nn"),
        ("ops/masks.py", "from minidiff import diff_attention"),
        ("files/json.py", "import minidiff"),
        ("reference/lam.py", "from minidiff.files.json import write_json"),
        ("plots/style.py", "from minidiff.convert.config import ROPE"),
        ("extra/new.py", "import os"),
        ("alone.py", "import os"),
    ],
)
def test_a_wrong_import_is_found(tmp_path, file, line):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    inside = line.startswith(" ")
    path.write_text(f"def f():\n{line}\n" if inside else f"{line}\n")
    (found,) = problems(tmp_path)
    assert str(path) in found


def test_imports_from_below_and_beside_are_allowed(tmp_path):
    path = tmp_path / "training" / "loop.py"
    path.parent.mkdir()
    path.write_text(
        "import os\n"
        "from minidiff.training.step import Updates\n"
        "from minidiff.nn.model import DecoderLM\n"
        "from minidiff.files.json import write_json\n"
    )
    assert problems(tmp_path) == []


def test_relative_imports_are_refused(tmp_path):
    path = tmp_path / "nn" / "layers.py"
    path.parent.mkdir()
    path.write_text("from . import cache\n")
    with pytest.raises(ValueError, match="expected an absolute import"):
        problems(tmp_path)


def test_contributing_shows_the_floors():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = re.findall(r"^    (\d)  (\w+(?:, \w+)*)  ", text, re.MULTILINE)
    floors = [(str(n), ", ".join(names)) for n, names in enumerate(FLOORS)]
    assert shown == floors[::-1]
