"""What the command line repeats, to start fast, agrees with the package."""

import argparse
import inspect

import pytest

from minidiff import generate
from minidiff.check import teacher
from minidiff.cli.main import build_parser
from minidiff.evaluation.suite import evaluate
from minidiff.nn.config import KINDS
from minidiff.ops import diff_attention as operator
from minidiff.training import config


def options(command):
    """The options of a command, by name."""
    (commands,) = (
        action
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return {a.dest: a for a in commands.choices[command]._actions}


@pytest.mark.parametrize(
    ("command", "function", "names"),
    [
        ("evaluate", evaluate, ("windows", "rows", "batch_size")),
        ("generate", generate, ("temperature", "top_p")),
        ("check", teacher.main, ("timeout",)),
    ],
)
def test_a_command_has_the_defaults_of_its_function(command, function, names):
    ours = inspect.signature(function).parameters
    theirs = options(command)
    for name in names:
        assert theirs[name].default == ours[name].default, name


def test_kinds_and_backends_are_those_of_the_package():
    train = options("train")
    assert tuple(train["attention"].choices) == KINDS
    # FlexAttention is for inspection, so no training offers it in the shell.
    rest = tuple(name for name in config.BACKENDS if name != "flex")
    assert tuple(train["backend"].choices) == rest
    names = inspect.getmodule(operator).BACKENDS
    assert names == config.BACKENDS
