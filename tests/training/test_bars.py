"""Progress bars say which model they are of, and can be hidden."""

import subprocess
import sys
from importlib.util import find_spec

import nbformat
import pytest
import torch
from committed import ROOT
from conftest import need
from nbclient import NotebookClient

from minidiff.data import NeedleTask
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM
from minidiff.training.config import TrainConfig
from minidiff.training.loop import train
from minidiff.training.stacked.train import train_stacked

SIZES = {"needles": 1, "length": 8, "keys": 4, "values": 4, "noise": 4}
TWO_STEPS = TrainConfig(steps=2, batch_size=2, warmup_steps=1, eval_batches=1)


def task(seed):
    return NeedleTask(**SIZES, seed=seed)


def make(attention):
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=task(0).vocab_size,
        embed_dim=16,
        num_layers=1,
        num_heads=2,
        attention=attention,
        max_length=8,
    )
    return DecoderLM(config)


@pytest.mark.parametrize("kind", ["softmax", "diff"])
def test_a_bar_names_the_kind_and_the_seed(kind, capsys):
    train(make(kind), task(3), TWO_STEPS)
    assert f"{kind}, seed 3: 100%" in capsys.readouterr().err


def test_a_stack_names_its_seeds(capsys):
    models = [make("diff") for _ in range(3)]
    train_stacked(models, [task(1), task(5), task(1)], TWO_STEPS)
    assert "3 x diff, seeds 1, 5: 100%" in capsys.readouterr().err


def test_a_source_without_a_seed_has_none_named(capsys):
    class Rows:
        vocab_size = task(0).vocab_size
        batch = staticmethod(task(0).batch)
        describe = staticmethod(task(0).describe)

    train(make("diff"), Rows(), TWO_STEPS)
    assert "diff: 100%" in capsys.readouterr().err


def test_no_progress_prints_nothing(capsys):
    train(make("diff"), task(0), TWO_STEPS, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("hidden", [False, True])
def test_tqdms_own_variable_hides_bars(hidden):
    code = (
        "from minidiff.training.bars import progress_bar\n"
        "progress_bar('diff', [], 1, shown=True).update()"
    )
    env = {"TQDM_DISABLE": "1"} if hidden else {}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert bool(done.stderr) != hidden


def test_in_a_notebook_the_bar_is_a_widget():
    need(find_spec("ipywidgets"), "ipywidgets is missing")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from minidiff.training.bars import progress_bar\n"
        "bar = progress_bar('diff', [], 1, shown=True)"
    )
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(nb, kernel_name="python3").execute()
    (out,) = nb.cells[0].outputs
    assert "application/vnd.jupyter.widget-view+json" in out["data"]
