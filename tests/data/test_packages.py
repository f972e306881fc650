"""What is read of installed packages, and what is said of it."""

import pytest

from minidiff.data.packages import (
    installed_packages,
    is_permissive,
    library_entry,
)

SAYS = {
    "good": "License-Expression: MIT",
    "twofold": "License-Expression: (Apache-2.0 OR BSD-3-Clause)",
    "older": "Classifier: License :: OSI Approved :: MIT License",
    "oldest": "License: BSD 3-Clause License",
    "strict": "License-Expression: GPL-3.0-only",
    "partly": "License-Expression: MIT AND LGPL-2.1",
    "unclear": "Classifier: License :: OSI Approved :: BSD License",
    "silent": "Summary: says nothing",
}


@pytest.fixture
def site(tmp_path):
    """A site-packages folder with a package for each way of saying it."""
    for name, line in SAYS.items():
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{line}\n"
        )
        files = ["__init__.py", "data.bin", "tests/test_it.py"]
        files += [f"part{i}.py" for i in range(20)]
        for file in files:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"# {name} {file}\n")
        record = [f"{name}/{file},," for file in files]
        (info / "RECORD").write_text("\n".join([*record, "../bin/x.py,,"]))
    return tmp_path


def test_only_permissive_packages_are_read(site):
    corpus, entries = installed_packages(site)
    used = {"good", "twofold", "older", "oldest"}
    texts = [text for _, text in corpus.texts()]
    assert {text.split()[1] for text in texts} == used
    assert len(texts) == 4 * 21  # no tests, no data, nothing from elsewhere
    assert {e["name"] for e in entries if e["used"]} == used
    by_name = {e["name"]: e for e in entries}
    assert by_name.keys() == SAYS.keys()
    assert by_name["good"] == {
        "name": "good",
        "version": "1.0",
        "licence": "MIT",
        "used": True,
        "files": 21,
        "characters": sum(len(t) for t in texts if " good " in t),
    }
    assert by_name["older"]["licence"] == "MIT"
    assert by_name["oldest"]["licence"] == "BSD-3-Clause"
    assert by_name["strict"] == {
        "name": "strict",
        "version": "1.0",
        "licence": "GPL-3.0-only",
        "used": False,
    }
    assert by_name["unclear"]["licence"] is None  # which BSD?


def test_sides_are_by_file(site):
    corpus, _ = installed_packages(site)
    assert corpus.train and corpus.valid
    paths = [{d.path for d in side} for side in (corpus.train, corpus.valid)]
    assert not paths[0] & paths[1]
    assert "good/part3.py" in paths[0] | paths[1]


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("MIT AND (ISC OR Apache-2.0)", True),
        ("MIT OR GPL-3.0-only", False),
        ("Apache-2.0 WITH LLVM-exception", False),
        (None, False),
    ],
)
def test_what_is_permissive(licence, allowed):
    assert is_permissive(licence) is allowed


def test_nothing_to_read_is_named(tmp_path):
    with pytest.raises(ValueError, match="has no package with Python source"):
        installed_packages(tmp_path)


def test_the_library_has_an_entry_too(site):
    corpus, _ = installed_packages(site)
    entry = library_entry(corpus)
    assert entry["licence"] == "PSF-2.0" and entry["files"] == 84
