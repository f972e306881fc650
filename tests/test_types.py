"""The package type-checks, and so do programs that use it.

mypy's settings are in pyproject.toml.
"""

import ast
import subprocess
import sys
import sysconfig
import venv
from importlib.util import find_spec
from pathlib import Path

from committed import ROOT
from conftest import need

import minidiff

RIGHT = """\
from torch import Tensor, ones
from minidiff import diff_attention
y: Tensor = diff_attention(q := ones(1, 1, 2, 4, 8), q, q[:, :, 0], 0.8)
"""

# Each line that is wrong ends with the error that it must give.
WRONG = """\
from minidiff import ModelConfig, diff_attention
from minidiff import diff_atention  # attr-defined
ModelConfig(head_number=8)  # call-arg
diff_attention("q", "k", "v", 0.8)  # arg-type
causal: int = diff_attention  # assignment
"""


def mypy(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    need(find_spec("mypy"), "mypy is not installed")
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
    )


def test_the_package_has_no_type_error(tmp_path):
    done = mypy(f"--cache-dir={tmp_path}", cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_programs_see_the_types_of_the_installed_package(tmp_path):
    # An environment that holds this checkout, as if it were installed:
    # there a package without py.typed has no types.
    venv.create(tmp_path / "env")
    (site,) = tmp_path.glob("env/lib/*/site-packages")
    paths = (str(ROOT), sysconfig.get_path("purelib"))
    (site / "all.pth").write_text("\n".join(paths))
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text(WRONG)
    python = f"--python-executable={tmp_path}/env/bin/python"
    done = mypy(python, "right.py", "wrong.py", cwd=tmp_path)
    found = [line for line in done.stdout.splitlines() if "error:" in line]
    expected = [
        (f"wrong.py:{number}:", f"[{line.split('# ')[1]}]")
        for number, line in enumerate(WRONG.splitlines(), 1)
        if "# " in line
    ]
    seen = [(line.split()[0], line.split()[-1]) for line in found]
    assert sorted(set(seen)) == expected, done.stdout + done.stderr


def test_editors_and_python_find_each_name_in_the_same_module():
    tree = ast.parse(Path(minidiff.__file__).read_text())
    (typed,) = (node for node in tree.body if isinstance(node, ast.If))
    found = {
        alias.asname: node.module
        for node in typed.body
        for alias in node.names
    }
    assert found == minidiff._HOME
