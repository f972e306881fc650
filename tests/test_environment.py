"""environment.yml, pyproject.toml and constraints.txt say one thing."""

import re
import tomllib

import pytest
import yaml
from committed import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import minidiff
from minidiff.files import extras

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
    """All of pyproject.toml's, without extras that name other extras."""
    lists = [PROJECT["dependencies"], *EXTRAS.values()]
    every = (Requirement(text) for part in lists for text in part)
    return [r for r in every if r.name != "minidiff"]


def packages(extra: str) -> set[str]:
    """The packages of an extra, and of the extras that it names."""
    found: set[str] = set()
    for requirement in map(Requirement, EXTRAS[extra]):
        if requirement.name == "minidiff":
            found.update(*map(packages, requirement.extras))
        else:
            found.add(requirement.name)
    return found


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
    needed = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert {*COURSE, "triton"} <= needed | packages("course")


@pytest.mark.parametrize(("package", "extra"), extras.EXTRA.items())
def test_an_error_names_an_extra_that_has_the_package(package, extra):
    assert package in packages(extra)


def test_figures_and_checks_need_no_jupyterlab():
    check = {"ipykernel", "matplotlib", "nbclient", "nbformat", "tokenizers"}
    assert packages("plot") == {"matplotlib"}
    assert packages("check") == check < packages("course")


def test_the_citation_says_what_the_package_says():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert minidiff.__version__ == citation["version"]
    for key in ("authors", "keywords", "license"):
        assert PROJECT[key] == citation[key]


def test_the_classifiers_are_the_pythons_that_are_allowed():
    allowed = SpecifierSet(PROJECT["requires-python"])
    start = "Programming Language :: Python :: 3."
    listed = {
        int(text.removeprefix(start))
        for text in PROJECT["classifiers"]
        if text.startswith(start)
    }
    assert listed == {n for n in range(50) if allowed.contains(f"3.{n}")}
