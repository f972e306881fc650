"""The public names, and which of them work without PyTorch."""

import subprocess
import sys
from importlib import import_module
from inspect import isfunction

import minidiff

OPERATOR = ("minidiff.ops", "diff_attention")
COMMAND = ("minidiff.cli", "main")

BLOCK = """
import sys
sys.modules["torch"] = None
sys.modules["triton"] = None
"""


def run(code):
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code], capture_output=True, text=True
    )


def test_reference_and_checks_without_torch():
    done = run(
        "import minidiff, minidiff.reference, minidiff.plots\n"
        "from minidiff import check\n"
        "check.ex03_1(lambda *a: None)\n"
    )
    assert done.returncode == 0, done.stderr
    assert "not attempted" in done.stdout


def test_the_checks_of_part_1_run_without_torch():
    done = run(
        "from minidiff import check\n"
        "from minidiff.check.core import check as run\n"
        "for name in ('00', '01', '02', '03', '04', 'P1'):\n"
        "    for id in check.exercises(name):\n"
        "        exercise = check._find(id)\n"
        "        assert run(exercise, exercise.solution), id\n"
        "        print(id)\n"
    )
    assert done.returncode == 0, done.stderr
    assert {"3.4", "P1.1"} <= set(done.stdout.split())


def test_lambda_init_needs_no_torch():
    done = run("from minidiff import lambda_init; print(lambda_init(0))")
    assert done.stdout.startswith("0.2"), done.stderr


PUBLIC = {
    *("diff_attention", "attention_maps", "lambda_init"),
    *("MultiheadAttention", "MultiheadDiffAttention"),
    *("MultiheadDiffAttentionV2", "ModelConfig", "DecoderLM", "KVCache"),
    *("generate", "sample", "train", "evaluate", "TrainConfig", "Compute"),
    *("save", "load", "load_tokenizer", "load_diffllama"),
    "save_diffllama",
}


def test_the_public_names_are_functions_and_classes():
    assert set(minidiff.__all__) == PUBLIC
    for name in PUBLIC:
        found = getattr(minidiff, name)
        assert isinstance(found, type) or isfunction(found), name
        assert found.__module__.startswith("minidiff."), name
    assert set(dir(minidiff)) >= PUBLIC


def test_functions_win_over_modules_of_their_name():
    for module, name in (OPERATOR, COMMAND):
        import_module(f"{module}.{name}")
        assert isfunction(getattr(import_module(module), name))


def test_asking_for_the_operator_says_that_torch_is_missing():
    done = run("import minidiff; minidiff.diff_attention")
    assert "torch" in done.stderr


def test_importing_minidiff_imports_neither_torch_nor_triton():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, minidiff; heavy = {'torch', 'triton', 'numpy'}; "
            "print(sorted(heavy & set(sys.modules)))",
        ],
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]"
