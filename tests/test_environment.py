"""environment.yml, pyproject.toml and constraints.txt say one thing."""

import re
import tomllib

import pytest
import yaml
from committed import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from website import address

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


def citation_problems(text: str, project: dict, repository: str | None):
    """What CITATION.cff says otherwise than pyproject.toml or the package.

    ``repository`` is the address of pyproject.toml, None for a placeholder.
    """
    citation = yaml.safe_load(text)
    expected = {
        key: project[key] for key in ("authors", "keywords", "license")
    }
    expected["title"] = project["description"].partition(":")[0]
    expected["version"] = minidiff.__version__
    expected["repository-code"] = repository
    return [key for key in expected if citation.get(key) != expected[key]]


def test_the_citation_says_what_the_package_says():
    text = (ROOT / "CITATION.cff").read_text()
    found = address.read()
    url = found.url if found else None
    assert citation_problems(text, PROJECT, url) == []
    for key, old, new in (
        ("title", 'title: "Differential attention', 'title: "Attention'),
        ("version", f"version: {minidiff.__version__}", "version: 0.0.1"),
        ("authors", "The minidiff authors", "Somebody else"),
        ("license", "license: MIT", "license: Apache-2.0"),
        ("keywords", "  - pytorch\n", ""),
    ):
        assert text.count(old) == 1
        edited = text.replace(old, new)
        assert citation_problems(edited, PROJECT, url) == [key]
    assert citation_problems(text, PROJECT, f"{url}x") == ["repository-code"]


def test_the_home_page_cites_what_the_citation_says():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    home = (ROOT / "book" / "intro.md").read_text(encoding="utf-8")
    (entry,) = re.findall(
        r"^@software\{minidiff,\n(.*?)^\}", home, re.M | re.S
    )
    fields = dict(re.findall(r"^  (\w+) += \{(.*)\},?$", entry, re.MULTILINE))
    assert fields.get("url") == citation.get("repository-code")
    assert fields["title"] == citation["title"]
    assert fields["version"] == str(citation["version"])
    names = " and ".join(a["name"] for a in citation["authors"])
    assert fields["author"] == f"{{{names}}}"


def test_the_classifiers_are_the_pythons_that_are_allowed():
    allowed = SpecifierSet(PROJECT["requires-python"])
    start = "Programming Language :: Python :: 3."
    listed = {
        int(text.removeprefix(start))
        for text in PROJECT["classifiers"]
        if text.startswith(start)
    }
    assert listed == {n for n in range(50) if allowed.contains(f"3.{n}")}
