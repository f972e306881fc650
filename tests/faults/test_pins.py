"""Pins admit every Python that is promised, the oldest of each line too."""

import re
from importlib import metadata

import pytest
import yaml
from builder import execute
from committed import ROOT
from conftest import need
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.test_environment import PROJECT, pins

ALLOWED = SpecifierSet(PROJECT["requires-python"])
# Debian 12 has 3.11.2: a promise of 3.11 is one of 3.11.0.
PROMISED = [f"3.{n}.0" for n in range(50) if ALLOWED.contains(f"3.{n}.0")]


def installed() -> dict[str, metadata.Distribution]:
    """What is installed here, by normalised name."""
    return {
        canonicalize_name(found.metadata["Name"]): found
        for found in metadata.distributions()
        if found.metadata["Name"]
    }


HERE = installed()
PINNED = {name: pin for name, pin in pins().items() if name in HERE}


def excluded(requires: str | None) -> list[str]:
    """The promised Pythons that a Requires-Python leaves out."""
    allowed = SpecifierSet(requires or "")
    return [python for python in PROMISED if not allowed.contains(python)]


def test_the_promise():
    assert PROMISED == ["3.11.0", "3.12.0", "3.13.0", "3.14.0"]
    assert excluded(">=3.11.5") == ["3.11.0"]
    assert excluded("<3.14,!=3.12.*") == ["3.12.0", "3.14.0"]
    assert excluded(">=3.9") == excluded(None) == []


def test_nearly_all_pins_can_be_read_here():
    assert len(PINNED) > 0.9 * len(pins())


@pytest.mark.parametrize(("name", "pin"), PINNED.items())
def test_a_pin_admits_every_promised_python(name, pin):
    found = HERE[name]
    here = Version(found.version).public  # torch's is 2.13.0+cpu
    need(here == pin, f"{name} {here} is installed, and {pin} is pinned")
    requires = found.metadata["Requires-Python"]
    assert not excluded(requires), f"{name}=={pin} needs Python {requires}"


@pytest.mark.parametrize("page", ["README.md", "book/intro.md"])
def test_pages_promise_what_is_allowed(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    (listed,) = set(re.findall(r"Python (3\.\d+(?:,? (?:or )?3\.\d+)+)", text))
    minors = [f"{version}.0" for version in re.findall(r"3\.\d+", listed)]
    assert minors == PROMISED


def test_make_venv_takes_the_pythons_that_are_allowed():
    text = (ROOT / "book" / "make_venv.sh").read_text(encoding="utf-8")
    low, high = re.search(
        r"\(3, (\d+)\) <= sys\.version_info\[:2\] <= \(3, (\d+)\)", text
    ).groups()
    assert [f"3.{n}.0" for n in range(int(low), int(high) + 1)] == PROMISED


def test_the_readme_says_which_macs_have_a_pytorch():
    """There is no torch >= 2.11 for Intel Macs, the oldest allowed."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| macOS")]
    assert len(rows) == 2
    assert any("Apple" in row and "nothing to do" in row for row in rows)
    assert any("Intel" in row and "not supported" in row for row in rows)


def test_every_way_into_jupyter_prefers_the_environments_kernel():
    """An old kernel of the user's must not run the course's notebooks."""
    lab = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(
        r"JUPYTER_PREFER_ENV_PATH=1 \\\n\s*\$\(PY\) -m jupyter lab", lab
    )
    # And its terminals find `minidiff`.
    assert 'PATH="$(CURDIR)/$(VENV)/bin:$$PATH" JUPYTER' in lab
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert conda["variables"] == {"JUPYTER_PREFER_ENV_PATH": "1"}
    assert execute.environment(1)["JUPYTER_PREFER_ENV_PATH"] == "1"
