"""The wheel and the sdist: what is in them, and what the wheel alone can do.

Both are built from the files that git lists, without a network.
"""

import email
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from committed import ROOT
from conftest import need
from packaging.requirements import Requirement

import minidiff

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BUILD = (
    "from setuptools import build_meta as b; "
    "b.build_wheel('dist'); b.build_sdist('dist')"
)
CORE = {"numpy", "safetensors", "torch", "tqdm"}
HEAVY = """
import sys
names = "tokenizers huggingface_hub matplotlib IPython nbformat jupytext"
names += " transformers datasets triton tensorboardX ipywidgets pandas"
for name in names.split():
    sys.modules[name] = None  # an import of it fails
"""


def listed() -> list[str]:
    """Files that git knows or would add, relative to the root."""
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(
        git, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [f for f in done.stdout.splitlines() if (ROOT / f).is_file()]


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """A folder with the two archives, built from a copy."""
    copy = tmp_path_factory.mktemp("source")
    for file in listed():
        if not file.startswith(("notebooks/", "exercises/", "book/")):
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, copy / file)
    done = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return copy / "dist"


@pytest.fixture(scope="module")
def wheel(dist) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    about = {name for name in names if ".dist-info/" in name}
    assert names - about == {f for f in listed() if f.startswith("minidiff/")}
    licences = {n for n in about if "/licenses/" in n}
    assert {Path(name).name for name in licences} == {"LICENSE"}


def test_the_sdist_holds_what_builds_the_wheel_and_tells_of_it(dist):
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {n.partition("/")[2] for n in archive.getnames()}
    package = {f for f in listed() if f.startswith("minidiff/")}
    texts = {"README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"}
    assert names >= package | texts | {"pyproject.toml", "CITATION.cff"}
    assert not [n for n in names if n.startswith(("tests", "book"))]
    assert path.stat().st_size < 2e6


def test_the_version_comes_from_one_place(wheel):
    assert PROJECT["dynamic"] == ["version"]
    assert metadata(wheel)["Version"] == minidiff.__version__
    assert wheel.name.startswith(f"minidiff-{minidiff.__version__}-")


def test_a_bare_install_asks_for_four_packages(wheel):
    found = map(Requirement, metadata(wheel).get_all("Requires-Dist"))
    assert {r.name for r in found if "extra" not in str(r.marker)} == CORE


def test_the_archives_pass_twine(dist):
    try:
        import twine  # noqa: F401
    except ImportError:
        need(False, "twine is missing: pip install twine")
    files = [str(path) for path in sorted(dist.iterdir())]
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def alone(unpacked: Path, code: str) -> str:
    """Run code with the wheel, and none of what a bare install lacks."""
    env = dict(os.environ, PYTHONPATH=str(unpacked), OMP_NUM_THREADS="1")
    done = subprocess.run(
        [sys.executable, "-c", HEAVY + code],
        cwd=unpacked,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_attention_and_the_model_need_nothing_more(unpacked):
    out = alone(
        unpacked,
        "import torch, minidiff\n"
        "from minidiff import DecoderLM, ModelConfig, diff_attention\n"
        "from minidiff import generate, load, save\n"
        "q, v = torch.randn(1, 2, 2, 8, 4), torch.randn(1, 2, 8, 8)\n"
        "print(tuple(diff_attention(q, q, v, 0.5).shape))\n"
        "model = DecoderLM(ModelConfig(embed_dim=16, num_heads=2))\n"
        "save(model, 'model.safetensors')\n"
        "row = torch.tensor([[1, 2]])\n"
        "row = generate(load('model.safetensors'), row, max_new_tokens=2)\n"
        "print(tuple(row.shape), minidiff.__file__)\n",
    )
    assert "(1, 2, 8, 8)" in out and "(1, 4)" in out
    assert str(unpacked) in out


def test_training_and_generating_need_nothing_more(unpacked):
    out = alone(
        unpacked,
        "from minidiff.cli import main\n"
        "small = '--width 16 --layers 1 --heads 2 --steps 2'.split()\n"
        "open('text.txt', 'w').write('la li lu ' * 200)\n"
        "text = ['--data', 'text.txt', '--out', 'run']\n"
        "assert main(['train', *text, *small]) == 0\n"
        "assert main(['generate', 'run', '--prompt', 'la']) == 0\n",
    )
    assert "validation loss" in out


def test_what_needs_an_extra_says_which(unpacked):
    out = alone(
        unpacked,
        "from minidiff.cli import main\n"
        "sys.stderr = sys.stdout\n"
        "open('words.txt', 'w').write('la li lu ' * 200)\n"
        "text = ['--data', 'words.txt', '--tokenizer', 'bpe', '--out', 'b']\n"
        "assert main(['train', *text]) == 2\n"
        "assert main(['plot', 'run']) == 2\n",
    )
    assert "pip install 'minidiff[bpe]'" in out
    assert "pip install 'minidiff[plot]'" in out
