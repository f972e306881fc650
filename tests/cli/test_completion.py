"""Tab completes commands and options in the shell."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from conftest import need

# Leave by the usual way, so that coverage is written, and say what is loaded.
PROGRAM = """
import os, sys
def leave(status):
    assert not {"torch", "numpy"} & set(sys.modules)
    sys.exit(status)
os._exit = leave
from minidiff.cli import main
sys.exit(main([]))
"""


def complete(tmp_path, line: str, program: str = PROGRAM):
    """What is offered after ``line``, as the shell would ask for it."""
    out = tmp_path / "offered"
    env = dict(
        os.environ,
        _ARGCOMPLETE="1",
        _ARGCOMPLETE_IFS="\n",
        _ARGCOMPLETE_STDOUT_FILENAME=str(out),
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    return done, out.read_text().split() if out.exists() else []


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("minidiff tr", {"train"}),
        ("minidiff train --attention d", {"diff", "diff_v2"}),
        ("minidiff generate runs/a --max", {"--max-new-tokens"}),
        ("minidiff bench at", {"attention"}),
    ],
)
def test_tab_offers_commands_options_and_choices(tmp_path, line, offered):
    need(find_spec("argcomplete"), "argcomplete is missing")
    done, found = complete(tmp_path, line)
    assert done.returncode == 0, done.stderr
    assert set(found) == offered


def test_without_argcomplete_nothing_is_run(tmp_path):
    hidden = "import sys; sys.modules['argcomplete'] = None\n" + PROGRAM
    done, found = complete(tmp_path, "minidiff tr", hidden)
    assert done.returncode == 2 and not found
    assert "pip install 'minidiff[completion]'" in done.stderr
