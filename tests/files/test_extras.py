"""Where an optional package is missing, the error says what to install."""

import subprocess
import sys

import pytest
import torch

from minidiff import diff_attention
from minidiff.check.teacher import grade
from minidiff.cli import main
from minidiff.data.hub import stream_dataset
from minidiff.files.extras import MissingPackageError, need


@pytest.fixture
def missing(monkeypatch):
    """Make packages missing, for Python and for whoever looks for them."""

    def block(*packages):
        for package in packages:
            monkeypatch.setitem(sys.modules, package, None)

    return block


def test_nothing_is_said_of_a_package_that_is_there():
    need("numpy", "this test")


@pytest.mark.parametrize(
    ("package", "command", "says"),
    [
        (
            "matplotlib",
            ["plot", "{}/run"],
            "minidiff plot needs matplotlib: pip install 'minidiff[plot]'",
        ),
        (
            "nbformat",
            ["check", "03_a.ipynb"],
            "minidiff check needs nbformat: pip install 'minidiff[check]'",
        ),
        (
            "nbclient",
            ["check", "03_a.ipynb"],
            "minidiff check needs nbclient: pip install 'minidiff[check]'",
        ),
        (
            "ipykernel",
            ["check", "03_a.ipynb"],
            "minidiff check needs ipykernel: pip install 'minidiff[check]'",
        ),
        (
            "tensorboardX",
            ["train", "--tensorboard", "--out", "{}/run"],
            "minidiff train --tensorboard needs tensorboardX: pip install "
            "'minidiff[tensorboard]'",
        ),
        (
            "datasets",
            ["tokens", "hub:x", "--out", "{}/x"],
            "minidiff tokens hub:x needs datasets: pip install "
            "'minidiff[datasets]'",
        ),
        (
            "triton",
            ["bench", "compile"],
            "minidiff bench compile needs triton: pip install "
            "'minidiff[triton]'. It exists for Linux only",
        ),
    ],
)
def test_a_command_says_what_to_install(
    missing, tmp_path, capsys, package, command, says
):
    missing(package)
    assert main([word.format(tmp_path) for word in command]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"minidiff: error: {says}")
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def ask_triton():
    q, v = torch.zeros(1, 1, 2, 1, 16), torch.zeros(1, 1, 1, 32)
    diff_attention(q, q, v, 0.5, backend="triton")


@pytest.mark.parametrize(
    ("package", "use", "says"),
    [
        ("datasets", lambda: next(stream_dataset("x")), "needs datasets: pip"),
        ("nbclient", lambda: grade("03_a.ipynb"), "needs nbclient: pip"),
        ("triton", ask_triton, 'backend="triton" needs triton: pip'),
    ],
)
def test_a_function_says_what_to_install(missing, package, use, says):
    missing(package)
    with pytest.raises(MissingPackageError, match=says):
        use()


def test_importing_the_plots_says_what_to_install():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['matplotlib'] = None\n"
            "import minidiff.plots",
        ],
        capture_output=True,
        text=True,
    )
    says = "minidiff.plots needs matplotlib: pip install 'minidiff[plot]'"
    assert says in done.stderr
