"""Every public name is in the API reference, with an example that runs."""

import doctest
import re
from importlib import import_module
from importlib.util import find_spec

import pytest
from committed import ROOT
from website import api

import minidiff
from minidiff import check
from minidiff.convert import diffllama, llama, second_branch

if find_spec("triton"):
    # An example that trains imports Triton, through PyTorch. Switch the
    # interpreter on before, for the tests that need it in the same process.
    import_module("minidiff.course.kernels")


def functions(module):
    """The public functions of a module, as the reference names them."""
    found = {*getattr(module, "__all__", ())} - {*minidiff._HOME}
    for name, value in vars(module).items():
        here = getattr(value, "__module__", None) == module.__name__
        if here and not name.startswith("_") and name not in minidiff._HOME:
            found.add(name)
    short = module.__name__.removeprefix("minidiff.")
    return [f"{short}.{name}" for name in found]


# One check of an exercise stands for all of them.
MODULES = (check, diffllama, llama, second_branch)
LISTED = [name for module in MODULES for name in functions(module)]
NAMES = sorted([*minidiff._HOME, *LISTED, "check.ex03_2"])


def test_the_reference_has_every_public_name_once():
    listed = [name for names in api.GROUPS.values() for name in names]
    assert sorted(listed) == NAMES
    page = api.page()
    for name in NAMES:
        assert page.count(f"\n### {name}\n") == 1, name


@pytest.mark.parametrize("name", NAMES)
def test_example(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    file = api.EXAMPLES / f"{name}.txt"
    assert name.split(".")[-1] in file.read_text(encoding="utf-8")
    report = doctest.testfile(
        str(file),
        module_relative=False,
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert report.attempted > 1 and report.failed == 0


@pytest.mark.parametrize("name", NAMES)
def test_entry_has_no_markup_of_another_language(name):
    text = api.entry(name).split("**Example**")[0]
    assert ":func:" not in text and "----" not in text.split("|")[0]
    prose = [part for i, part in enumerate(text.split("```")) if i % 2 == 0]
    assert all(part.count("`") % 2 == 0 and "``" not in part for part in prose)


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_of_a_list_is_a_name_and_no_sentence(name):
    names = re.findall(r"^- \*\*(.*?)\*\*", api.entry(name), re.MULTILINE)
    assert all(re.fullmatch(r"\w+(, \w+)*", one) for one in names), names


def test_a_docstring_becomes_markdown():
    made = api.markdown(
        "Return ``x``.\n\nParameters\n----------\na : (B, T)\n    The "
        "first.\n\nReturns\n-------\n(B,), see :func:`f`.\n"
    )
    assert made == (
        "Return `x`.\n\n**Parameters**\n\n- **a**: (B, T)\n\n  The first."
        "\n\n**Returns**\n\n(B,), see `f`."
    )


def test_a_configuration_shows_each_default_and_its_reason():
    table = api.fields(minidiff.TrainConfig)
    assert "| `steps` | `800` | enough for the needle task |" in table
    assert table.count("\n") - 1 == len(
        minidiff.TrainConfig.__dataclass_fields__
    )
