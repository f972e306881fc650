"""An answer costs its own exercise, whatever it does, and nothing else."""

import builtins
import math
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
import torch

from minidiff import check
from minidiff.check import boundary, untouched
from minidiff.check.core import check as run
from tests.check.test_checks import EX

LIMIT = 0.3
NEEDS_TIMER = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="no timers on this system"
)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(boundary, "SECONDS", LIMIT)


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    """After every test: handlers, timer, tracing, modules as before."""
    here = os.getcwd(), sys.getrecursionlimit(), sys.gettrace()
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGALRM)]
    ends = os._exit, os.abort, sys.stdout
    yield
    assert here == (os.getcwd(), sys.getrecursionlimit(), sys.gettrace())
    assert ends == (os._exit, os.abort, sys.stdout)
    assert handlers == [
        signal.getsignal(s) for s in (signal.SIGINT, signal.SIGALRM)
    ]
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert not untouched.changed()
    assert run(EX, EX.solution)


def endless(a, b, lam):
    while True:
        pass


def endless_and_deaf(a, b, lam):
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            continue


def endless_at_the_end(a, b, lam):
    try:
        while True:
            pass
    finally:
        while True:
            pass


def endless_generator(a, b, lam):
    def numbers():
        try:
            yield 1
        finally:
            while True:
                pass

    return next(numbers())


def endless_message(a, b, lam):
    class Slow(Exception):
        def __str__(self):
            while True:
                pass

    raise Slow


def swallows_the_stop(a, b, lam):
    try:
        while True:
            pass
    except BaseException:
        return EX.solution(a, b, lam)


@NEEDS_TIMER
@pytest.mark.parametrize(
    "answer",
    [
        endless,
        endless_and_deaf,
        endless_at_the_end,
        endless_generator,
        endless_message,
        swallows_the_stop,
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_answer_that_never_returns_is_stopped(answer, short):
    result = run(EX, answer)
    assert result.status == "failed"
    assert "stopped   after" in result.text
    assert "a loop" in result.text
    assert "no mistake we know" not in result.text


@NEEDS_TIMER
def test_the_limit_is_for_all_cases_together(short):
    calls = []

    def slow(a, b, lam):
        calls.append(1)
        time.sleep(0.7 * LIMIT)
        return EX.solution(a, b, lam)

    assert "stopped" in run(EX, slow).text
    assert len(calls) <= 2


def deep(a, b, lam):
    return deep(a, b, lam)


def own_ending(a, b, lam):
    class Ending(BaseException):
        pass

    raise Ending("of its own kind")


def silent_message(a, b, lam):
    class Broken(Exception):
        def __str__(self):
            raise ValueError

    raise Broken


def raising(error):
    def answer(a, b, lam):
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda a, b, lam: sys.exit("bye"), "raised    SystemExit: bye"),
        (lambda a, b, lam: exit(3), "raised    SystemExit: 3"),
        (lambda a, b, lam: os._exit(3), "raised    SystemExit: the answer"),
        (lambda a, b, lam: os.abort(), "raised    SystemExit: the answer"),
        (raising(KeyboardInterrupt("no key")), "KeyboardInterrupt: no key"),
        (raising(GeneratorExit()), "raised    GeneratorExit"),
        (raising(MemoryError()), "raised    MemoryError"),
        (own_ending, "raised    Ending: of its own kind"),
        (silent_message, "raised    Broken: (its message"),
        (deep, "raised    RecursionError"),
        (lambda a, b, lam: [0.0] * 10**15, "raised    MemoryError"),
    ],
)
def test_an_answer_that_ends_the_program_fails(answer, says):
    result = run(EX, answer)
    assert result.status == "failed"
    assert says in result.text
    assert "no mistake we know" not in result.text


def test_a_message_of_megabytes_is_cut():
    assert len(run(EX, raising(ValueError("x" * 10**7))).text) < 2000


def test_exit_in_a_notebook_does_not_end_the_kernel():
    shell = pytest.importorskip("IPython.core.autocall")
    asked = []

    class Shell:
        def ask_exit(self):
            asked.append(1)

    leave = shell.ZMQExitAutocall(Shell())
    assert "raised    SystemExit" in run(EX, lambda *a: leave()).text
    assert not asked
    leave()
    assert asked == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_an_answer_that_forks_goes_on_once(tmp_path):
    children = []

    def forks(a, b, lam):
        child = os.fork()
        if child == 0:
            (tmp_path / "child").touch()
        children.append(child)
        return EX.solution(a, b, lam)

    assert run(EX, forks)
    ends = [os.waitpid(child, 0)[1] for child in children]
    assert ends and all(map(os.WIFEXITED, ends))  # they ended in the check
    assert (tmp_path / "child").exists()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_flood_of_output_is_cut(stream, capsys):
    def floods(a, b, lam):
        print("x" * 10**7, file=getattr(sys, stream))
        return EX.solution(a, b, lam)

    assert run(EX, floods)
    shown = getattr(capsys.readouterr(), stream.removeprefix("std"))
    assert len(shown) < 20_000
    assert "more characters" in shown


@NEEDS_TIMER
def test_a_flood_without_an_end_is_stopped(capsys, short):
    def floods(a, b, lam):
        while True:
            print("x" * 1000)

    assert "stopped" in run(EX, floods).text
    assert len(capsys.readouterr().out) < 20_000


@NEEDS_TIMER
@pytest.mark.parametrize("answer", [endless, endless_and_deaf])
def test_a_person_may_still_interrupt(answer):
    pressed = threading.Timer(0.2, os.kill, args=(os.getpid(), signal.SIGINT))
    pressed.start()
    with pytest.raises(KeyboardInterrupt):
        run(EX, answer)
    pressed.join()


def test_a_check_in_another_thread_works_without_a_limit():
    results = []
    for answer in (EX.solution, raising(SystemExit("bye"))):
        thread = threading.Thread(
            target=lambda a=answer: results.append(run(EX, a))
        )
        thread.start()
        thread.join()
    assert [r.status for r in results] == ["passed", "failed"]


REPLACED = [
    (np, "isclose"),
    (np, "allclose"),
    (np, "asarray"),
    (np.linalg, "norm"),
    (np, "pi"),
    (math, "exp"),
    (builtins, "len"),
    (torch, "softmax"),
    (torch.nn.functional, "softmax"),
    (torch.Tensor, "sum"),
    (torch.nn.Module, "__call__"),
    (sys.modules["minidiff.check.compare"], "same"),
    (sys.modules["minidiff.check.core"], "_problems"),
    (sys.modules["minidiff.check.core"], "Result"),
]


@pytest.mark.parametrize(("owner", "name"), REPLACED)
def test_an_answer_that_replaces_a_function_fails(owner, name):
    original = getattr(owner, name)

    def answer(a, b, lam):
        out = EX.solution(a, b, lam)
        setattr(owner, name, lambda *args, **kwargs: True)
        return out

    result = run(EX, answer)
    assert result.status == "failed"
    assert f"{owner.__name__.rpartition('.')[2]}.{name}" in result.text
    assert "changed " in result.text and "your function" in result.text
    assert getattr(owner, name) is original


def test_a_function_given_other_code_fails():
    def answer(a, b, lam):
        check.core.same.__code__ = (lambda *args: True).__code__
        return EX.solution(a, b, lam)

    assert "check.compare.same" in run(EX, answer).text


def test_a_module_patched_between_cells_fails_the_check(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(np, "isclose", lambda x, *a, **k: np.ones(x.shape, bool))
        result = run(EX, lambda a, b, lam: a)
    assert result.status == "failed"
    assert "numpy.isclose" in result.text
    assert "restart the kernel" in result.text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda: torch.set_default_dtype(torch.float64), "default dtype"),
        (lambda: torch.set_grad_enabled(False), "switch for gradients"),
        (lambda: sys.setrecursionlimit(5000), "recursion limit"),
        (lambda: os.chdir("/"), "working directory"),
    ],
)
def test_an_answer_that_changes_a_setting_fails(change, says):
    def answer(a, b, lam):
        change()
        return EX.solution(a, b, lam)

    result = run(EX, answer)
    assert result.status == "failed"
    assert says in result.text
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
