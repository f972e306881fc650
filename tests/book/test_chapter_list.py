"""Every list of the chapters is the one in book/_toc.yml.

The titles are those of the chapters' own headings.
"""

import os
import re
from pathlib import Path

import pytest
import yaml
from committed import ROOT

TOC = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())


def files(entries):
    """The pages of a list of contents, each before its own sections."""
    for entry in entries:
        yield entry["file"]
        yield from files(entry.get("sections", []))


FILES = [(p["caption"], list(files(p["chapters"]))) for p in TOC["parts"]]
PARTS = [
    (caption, [Path(f).name for f in files if f.startswith("notebooks/")])
    for caption, files in FILES
]
CHAPTERS = [name for _, names in PARTS for name in names]
SETS = [
    Path(f).name
    for _, files in FILES
    for f in files
    if f.startswith("exercises/part_")
]


def page(name):
    return (ROOT / name).read_text(encoding="utf-8")


def title(name):
    """The heading of a chapter, without its number."""
    script = page(f"book/chapters/{name}.py")
    return re.search(r"^# # (?:\d+\. )?(.*)$", script, re.MULTILINE)[1]


TITLES = [(name[:2], title(name)) for name in CHAPTERS]


def test_every_script_is_in_the_table_of_contents():
    scripts = (ROOT / "book" / "chapters").glob("*.py")
    assert sorted(CHAPTERS) == sorted(path.stem for path in scripts)
    scripts = (ROOT / "book" / "problems").glob("*.py")
    assert sorted(SETS) == sorted(path.stem for path in scripts)
    numbers = [int(number) for number, _ in TITLES]
    assert numbers == list(range(len(numbers)))


def test_jupyter_book_2_has_the_same_table_of_contents():
    text = page("book/myst.yml")
    files = re.findall(r"- file: (\S+)\.(?:md|ipynb)$", text, re.M)
    pages = [os.path.normpath(Path("book", file)) for file in files]
    assert pages == [TOC["root"], *(f for _, part in FILES for f in part)]
    captions = re.findall(r"^    - title: (.+)$", text, re.M)
    assert captions == [caption for caption, _ in FILES]


def test_readme():
    rows = re.findall(
        r"^\| \[(\d\d) (.+?)\]\(notebooks/(.+?)\.ipynb\) \| .+ \|$",
        page("README.md"),
        re.M,
    )
    assert rows == [
        (*both, name) for both, name in zip(TITLES, CHAPTERS, strict=True)
    ]


def test_how_to_read():
    text = page("book/how_to_read.md")
    rows = re.findall(r"^\| (\d\d) \| \[(.+?)\]\[c(\d\d)\] \|$", text, re.M)
    assert rows == [(number, title, number) for number, title in TITLES]


def test_the_parts_of_the_first_page():
    rows = re.findall(
        r"^\| (.+) \| (\[\d\d .*\]) \|$", page("book/intro.md"), re.M
    )
    chapters = [
        (name, re.findall(r"\[(\d\d) (.+?)\]\[c\1\]", cell))
        for name, cell in rows
    ]
    wanted = [(caption, names) for caption, names in PARTS if names]
    assert [c for _, c in chapters] == [
        [(name[:2], title(name)) for name in names] for _, names in wanted
    ]
    # Chapter 00 is a part of its own there.
    assert [name for name, _ in chapters][1:] == [c for c, _ in wanted][1:]


@pytest.mark.parametrize("name", ["book/how_to_read.md", "book/intro.md"])
def test_links_lead_to_the_notebooks(name):
    links = re.findall(r"^\[c(\d\d)\]: (.+)$", page(name), re.M)
    assert links == [(c[:2], f"../notebooks/{c}.ipynb") for c in CHAPTERS]


NUMBERS = ("One", "Two", "Three", "Four", "Five", "Six")
ROMAN = ("I", "II", "III", "IV", "V", "VI")


def test_problem_sets():
    exercises = page("book/exercises.md")
    found = re.findall(r"^- \[Problem set (\d)\]\((.+?)\)", exercises, re.M)
    assert found == [(s[-1], f"../exercises/{s}.ipynb") for s in SETS]
    solutions = re.findall(r"\(\[Solutions\]\((.+?)\)\)", exercises)
    assert solutions == [f"../exercises/solutions/{s}.ipynb" for s in SETS]
    solved = page("book/solutions.md")
    found = re.findall(
        r"^- \[Problem set (\d), solved\]\((.+?)\)", solved, re.M
    )
    assert found == [
        (s[-1], f"../exercises/solutions/{s}.ipynb") for s in SETS
    ]
    parts = f"Parts I to {ROMAN[len(SETS) - 1]}"
    said = f"{NUMBERS[len(SETS) - 1]} longer *problem sets* end {parts}."
    assert said in exercises
    for name in ("README.md", "book/intro.md", "book/for_teachers.md"):
        assert parts in page(name), name


@pytest.mark.parametrize(
    "name", ["README.md", "book/intro.md", "book/how_to_read.md"]
)
def test_only_part_3_needs_linux(name):
    """One claim about systems: Triton needs Linux, the rest does not."""
    text = " ".join(page(name).split())
    assert "You need Linux" not in text
    assert "Linux" in text
    if name != "book/how_to_read.md":
        assert "On Linux or macOS" in text
        assert re.search(r"Triton[^.;]* exists (on|for) Linux only", text)
