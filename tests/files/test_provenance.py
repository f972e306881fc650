"""A record says which code it comes from, or that nobody knows."""

import json
import shutil
import subprocess

import pytest
from conftest import need

from minidiff.files import provenance


def git(root, *arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", *who, *arguments],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """The module's file, copied to where a repository may be made."""
    need(shutil.which("git"), "git is missing")
    for name in ("GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "env" / "minidiff" / "provenance.py"
    file.parent.mkdir(parents=True)
    shutil.copy(provenance.__file__, file)
    monkeypatch.setattr(provenance, "__file__", str(file))
    return file


def test_the_commit_is_the_packages_own(copy, tmp_path):
    assert provenance._commit() is None  # no repository
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("env\n")
    git(tmp_path, "add", ".gitignore")
    git(tmp_path, "commit", "-qm", "somebody's project")
    assert provenance._commit() is None  # of another project
    git(tmp_path, "add", "-f", "env")
    git(tmp_path, "commit", "-qm", "ours")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert provenance._commit() == head
    (tmp_path / "new").write_text("not tracked")
    assert provenance._commit() == head
    copy.write_text("changed")
    assert provenance._commit() == head + "+"


def test_what_a_record_says():
    card = provenance.provenance("cpu", "minidiff x")
    assert (card["device"], card["command"]) == ("cpu", "minidiff x")
    assert card["versions"]["torch"].startswith("2.")
    assert json.loads(json.dumps(card)) == card
