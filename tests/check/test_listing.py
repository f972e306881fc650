"""Tab and help find every exercise, and load none."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from conftest import need

from minidiff import check
from minidiff.files.extras import MissingPackageError

LISTED = [name for name in dir(check) if re.match(r"ex\w\w_", name)]


def name_of(exercise_id):
    return f"ex{check.set_of(exercise_id)}_{exercise_id.partition('.')[2]}"


@pytest.mark.parametrize("set_name", check.sets())
def test_the_files_say_which_exercises_there_are(set_name):
    try:
        module = import_module(f"minidiff.check.ex{set_name}")
    except MissingPackageError as error:
        need(False, str(error))
    found = [exercise.id for exercise in module.EXERCISES]
    assert check.exercises(set_name) == found
    assert {name_of(i) for i in found} <= set(LISTED)


def test_every_folder_is_a_set():
    folders = Path(check.__file__).parent.glob("ex*")
    assert check.sets() == sorted(f.name.removeprefix("ex") for f in folders)


def test_names_of_exercises_are_beside_the_other_names():
    offered = set(dir(check))
    assert {"ex03_2", "exP1_1", "hint", "solution", "mine"} <= offered
    assert not offered & {"Any", "re", "json", "import_module", "Result"}


@pytest.mark.parametrize("name", LISTED)
def test_each_has_one_line_of_help(name):
    one = getattr(check, name)
    assert one.__name__ == name
    assert one.__doc__.startswith("Check exercise ")
    assert len(one.__doc__) < 80 and "\n" not in one.__doc__


def test_the_help_says_what_the_exercise_is_about():
    assert check.ex03_2.__doc__ == (
        "Check exercise 3.2: one differential head."
    )
    assert check.exP1_4.__doc__ == (
        "Check exercise P1.4: the best lambda in closed form."
    )


def test_looking_loads_nothing():
    code = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['triton'] = None\n"
        "from minidiff import check\n"
        "for name in dir(check): getattr(check, name).__doc__\n"
        "print([n for n in sys.modules if n.startswith('minidiff.check.ex')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr
