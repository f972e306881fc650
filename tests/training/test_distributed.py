"""Two processes over gloo are as good as one: the command, under torchrun."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors import safe_open
from safetensors.torch import load_file
from test_loop import make
from test_survive import cut

from minidiff.training.checkpoint import load_checkpoint

pytestmark = pytest.mark.slow

TRAIN = [
    *("train", "--data", "needles", "--length", "16", "--width", "16"),
    *("--layers", "2", "--heads", "2", "--batch-size", "8", "--steps", "24"),
]
CHECKPOINT = "checkpoint.safetensors"
ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "GLOO_SOCKET_IFNAME": "lo",
}


def start(processes, *arguments):
    """Start the command in one process, or in several under torchrun."""
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node"]
    program = ["minidiff"]
    if processes > 1:
        program = [*torchrun, str(processes), "-m", "minidiff"]
    return subprocess.Popen(
        [sys.executable, "-m", *program, *map(str, arguments)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def log(folder):
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def assert_equal(got, want):
    """Records agree to 1e-5, in everything that was measured."""
    assert [r["step"] for r in got] == [r["step"] for r in want]
    assert [r["tokens"] for r in got] == [r["tokens"] for r in want]
    for key in ("loss", "grad_norm", "valid_loss", "valid_accuracy"):
        a, b = ([r[key] for r in x if key in r] for x in (got, want))
        assert a == pytest.approx(b, rel=1e-5, abs=1e-9), key


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The run of one process."""
    folder = tmp_path_factory.mktemp("one") / "run"
    status, _, err = finish(start(1, *TRAIN, "--out", folder))
    assert status == 0, err
    return folder


LONG = [*TRAIN, "--steps", "200"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The log of 200 steps of one process."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    status, _, err = finish(start(1, *LONG, "--out", folder))
    assert status == 0, err
    return log(folder)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_have_the_losses_of_one(tmp_path, one, parallel):
    run = tmp_path / "run"
    options = ("--parallel", parallel, "--accumulate", 2)
    status, out, err = finish(start(2, *TRAIN, "--out", run, *options))
    assert status == 0, err
    assert_equal(log(run), log(one))
    assert out.count("validation loss") == 1  # one of them speaks
    assert err.count("| 0/24") == 1 and "tokens/s" in err
    card = json.loads((run / "run.json").read_text())
    assert card["processes"] == 2
    # What they leave is what one leaves: whole tensors, by the same names.
    tensors, expected = (
        load_file(run / CHECKPOINT),
        load_file(one / CHECKPOINT),
    )
    assert {n: t.shape for n, t in tensors.items()} == {
        n: t.shape for n, t in expected.items()
    }
    for name, tensor in tensors.items():
        want = expected[name]
        assert (tensor - want).abs().max() <= 1e-4 * want.abs().max() + 1e-7


@pytest.mark.parametrize(
    ("before", "after"),
    [((2, "fsdp"), (1, "ddp")), ((1, "ddp"), (2, "fsdp"))],
)
def test_any_number_of_processes_goes_on(tmp_path, whole, before, after):
    run = tmp_path / "run"
    processes, parallel = before
    process = start(processes, *LONG, "--out", run, "--parallel", parallel)
    while not (run / "log.jsonl").exists() or len(log_lines(run)) < 60:
        assert process.poll() is None, finish(process)
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    status, _, err = finish(process)
    assert status != 0
    steps = load_checkpoint(run).train["step"]
    assert steps >= 60 and len(log(run)) == steps < 200
    assert f"minidiff train --out {run} --resume" in err
    processes, parallel = after
    options = ("--resume", "--parallel", parallel)
    process = start(processes, "train", "--out", run, *options)
    status, _, err = finish(process)
    assert status == 0, err
    got = log(run)
    assert got[steps]["loss"] == pytest.approx(whole[steps]["loss"], rel=1e-5)
    # Rounding grows with the steps; the optimiser's averages lost would show.
    assert got[-1]["loss"] == pytest.approx(whole[-1]["loss"], rel=1e-2)


def log_lines(folder):
    return (folder / "log.jsonl").read_text().splitlines()


def test_one_processes_full_disk_ends_all(tmp_path):
    """Only the first writes; the others must not wait for ever."""
    run = tmp_path / "run"
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (80000,) * 2)"
    program = tmp_path / "program.py"
    program.write_text(
        f"import sys; {limit}\nfrom minidiff.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node"]
    process = subprocess.run(
        [sys.executable, "-m", *torchrun, "2", program, *TRAIN, "--out", run],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode != 0
    assert f"{run / CHECKPOINT}: could not be written" in process.stderr
    assert "another process could not go on" in process.stderr
    assert load_checkpoint(run).train["step"] == 0


# The loss of one process is infinite in step 2; its gradient stays finite.
BROKEN = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor
from minidiff.training.config import Compute
from minidiff.training.distributed import joined, world
from minidiff.training.loop import train
from test_loop import DATA, SHORT, make

with joined(torch.device("cpu")):
    model, calls = make(), []
    real = model.loss

    def loss(*args, **options):
        calls.append(None)
        broken = world().rank == 1 and len(calls) == 3
        return real(*args, **options) + (float("inf") if broken else 0.0)

    model.loss = loss
    try:
        train(model, DATA, SHORT, compute=Compute(parallel=sys.argv[2]),
              run_dir=sys.argv[1], progress=False)
    except FloatingPointError as error:
        said = str(error)
    weights = (x.detach() for x in model.parameters())
    whole = [x.full_tensor() if isinstance(x, DTensor) else x for x in weights]
    file = Path(sys.argv[1]).parent / f"{world().rank}.safetensors"
    save_file({str(i): x for i, x in enumerate(whole)}, file, {"said": said})
"""


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_one_processes_infinite_loss_stops_all_before_the_update(
    tmp_path, parallel
):
    program, run = tmp_path / "program.py", tmp_path / "run"
    program.write_text(BROKEN)
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node"]
    process = subprocess.run(
        [sys.executable, "-m", *torchrun, "2", program, run, parallel],
        env=ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    assert [r["step"] for r in log(run)] == [0, 1]
    saved = load_checkpoint(run)
    assert saved.train["step"] == 2
    for rank in ("0", "1"):
        with safe_open(tmp_path / f"{rank}.safetensors", "pt") as left:
            assert "loss is inf at step 2" in left.metadata()["said"]
            for i, (name, _) in enumerate(make().named_parameters()):
                assert left.get_tensor(str(i)).equal(saved.model[name]), name


def test_what_all_of_them_refuse_is_said(tmp_path, one):
    status, _, err = finish(start(2, *TRAIN, "--out", one))
    assert status != 0 and "is not empty" in err
    options = ("--out", tmp_path / "run", "--batch-size", 9)
    status, _, err = finish(start(2, *TRAIN, *options))
    assert status != 0
    assert "--batch-size: got 9, expected a multiple of 2: 2 processes" in err


def test_a_truncated_checkpoint_is_said_once_started(tmp_path):
    run = tmp_path / "run"
    assert finish(start(2, *TRAIN, "--out", run))[0] == 0
    cut(run / CHECKPOINT, 0.5)
    status, _, err = finish(start(2, "train", "--out", run, "--resume"))
    assert status != 0 and "cut short" in err and "is whole, of step 0" in err
