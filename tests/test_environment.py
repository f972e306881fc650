"""environment.yml, pyproject.toml and constraints.txt say one thing."""

import re
import tomllib

import pytest
import yaml
from committed import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
COURSE = ["torch", "jupyterlab", "jupytext", "nbval", "matplotlib", "tqdm"]


def pins() -> dict[str, str]:
    """constraints.txt as {name: version}; every line must be a pin."""
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (exact,) = requirement.specifier
            assert exact.operator == "==", line
            found[canonicalize_name(requirement.name)] = exact.version
    return found


def requirements() -> list[Requirement]:
    """All of pyproject.toml's."""
    lists = [PROJECT["dependencies"], *EXTRAS.values()]
    return [Requirement(text) for part in lists for text in part]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_requirement_has_a_range_and_a_pin_in_it(requirement):
    assert requirement.specifier, "expected a range"
    pin = pins()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pin)


def test_torch_is_a_range_from_2_11():
    (torch,) = (r for r in requirements() if r.name == "torch")
    assert str(torch.specifier) == ">=2.11"


def test_triton_is_for_linux_only():
    (triton,) = (r for r in requirements() if r.name == "triton")
    assert "platform_system" in str(triton.marker)
    assert not triton.marker.evaluate({"platform_system": "Darwin"})


def test_environment_yml():
    env = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert env["name"] == "minidiff"
    assert env["channels"] == ["conda-forge", "nodefaults"]
    python, pip, inside = env["dependencies"]
    version = re.fullmatch(r"python=([\d.]+)", python)[1]
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)
    assert pip == "pip"
    listed = inside["pip"]
    assert listed[-2:] == ["-c constraints.txt", "-e .[course]"]
    assert listed[:-2] == [*COURSE, 'triton; platform_system == "Linux"']


def test_the_seven_packages_come_with_the_package():
    names = {
        Requirement(text).name
        for text in PROJECT["dependencies"] + EXTRAS["course"]
    }
    assert {*COURSE, "triton"} <= names
