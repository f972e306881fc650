"""Several threads that use one model, or the library, at the same time.

The first thread stops in the middle of its work, the second one does all of
its own, and then the first goes on. So no test depends on luck.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tiny_models import make, tokens

import minidiff.nn.model
from minidiff import TrainConfig, evaluate, generate, load, save, train
from minidiff.data import NeedleTask
from minidiff.evaluation.activations import largest_activations
from minidiff.evaluation.attention import map_shape
from minidiff.evaluation.rounding import rounded_logits
from minidiff.nn.key_scores import h2o_difference
from minidiff.nn.prompt import read_prompt

WAIT = 60  # seconds; reached only if a test fails
NEEDLES = {"vocab_size": NeedleTask().vocab_size, "max_length": 64}


def rounded(model):
    with rounded_logits(2), torch.no_grad():
        return model(tokens(), backend="eager")


def maps(model):
    with torch.no_grad():
        logits, found = model(tokens(), return_maps=True)
    return logits, [list(layer) for layer in found]


CALLS = {
    "generate": lambda m: generate(m, tokens(), max_new_tokens=3, seed=1),
    "budget": lambda m: generate(
        m, tokens(), max_new_tokens=3, seed=2, budget=3
    ),
    "maps": maps,
    "shape": lambda m: map_shape(m, tokens()),
    "largest": lambda m: largest_activations(m, tokens()),
    "rounded": rounded,
    "scores": lambda m: read_prompt(
        m, tokens(), m.new_cache(2), h2o_difference
    ),
}  # fmt: skip


class Stops:
    """Calls in threads of their own, each of which stops inside the model."""

    def __init__(self, model):
        self.model, self.pool = model, ThreadPoolExecutor(4)
        self.stops = {}
        model.norm.register_forward_pre_hook(self._stop)

    def _stop(self, *_):
        inside, go_on = self.stops.pop(threading.get_ident(), (None, None))
        if inside is not None:
            inside.set()
            assert go_on.wait(WAIT)

    def begin(self, call):
        """Start a call; return what continues it and returns its result."""
        inside, go_on = threading.Event(), threading.Event()

        def work():
            self.stops[threading.get_ident()] = inside, go_on
            return call(self.model)

        result = self.pool.submit(work)
        assert inside.wait(WAIT)

        def finish():
            go_on.set()
            return result.result(WAIT)

        return finish


@pytest.mark.parametrize("second", CALLS)
@pytest.mark.parametrize("first", CALLS)
def test_each_gets_what_it_gets_alone(first, second):
    want = [CALLS[name](make()) for name in (first, second)]
    model = make()
    finish = Stops(model).begin(CALLS[first])
    other = CALLS[second](model)
    torch.testing.assert_close([finish(), other], want, atol=0, rtol=0)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_last_to_end_restores_the_modes(order):
    model = make().train()
    model.blocks[0].eval()
    before = [part.training for part in model.modules()]
    stops = Stops(model)
    ends = [stops.begin(CALLS["generate"]) for _ in range(2)]
    ends[order[0]]()
    assert not any(part.training for part in model.modules())
    ends[order[1]]()
    assert [part.training for part in model.modules()] == before


def trained(model, **options):
    config = TrainConfig(
        steps=2, batch_size=2, warmup_steps=0, eval_batches=1, eval_every=1
    )
    return train(model, NeedleTask(), config, progress=False, **options)


def measured(model):
    record = evaluate(model, tasks=[NeedleTask()], parts=["recall"], rows=4)
    return record["recall"]


@pytest.mark.parametrize("name", ["generate", "evaluate", "train"])
def test_a_model_in_training_is_refused(name):
    calls = {"train": trained, "evaluate": measured, **CALLS}
    model = make(**NEEDLES)
    finish = Stops(model).begin(trained)
    with pytest.raises(ValueError, match="model: another thread trains it"):
        calls[name](model)
    got, want = finish(), trained(make(**NEEDLES))
    assert [r["loss"] for r in got] == [r["loss"] for r in want]
    calls[name](model)


@pytest.mark.parametrize("call", [measured, CALLS["generate"]])
def test_no_training_of_a_model_in_use(call, tmp_path):
    model = make(**NEEDLES)
    finish = Stops(model).begin(call)
    with pytest.raises(ValueError, match="model: another thread evaluates it"):
        trained(model, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert str(finish()) == str(call(make(**NEEDLES)))
    trained(model, run_dir=tmp_path / "run")


def test_another_model_may_train_meanwhile():
    finish = Stops(make()).begin(CALLS["generate"])
    trained(make(**NEEDLES))
    finish()


def test_loading_while_another_thread_loads(tmp_path, monkeypatch):
    save(make(), tmp_path / "m")
    real, building = minidiff.nn.model.Block, []
    second_builds, first_done = threading.Event(), threading.Event()

    def build(*given):
        thread = threading.get_ident()
        if torch.get_default_dtype() == torch.float32:
            if thread not in building:  # on meta it builds in float64
                building.append(thread)
                if len(building) == 2:
                    second_builds.set()
            # If the two can overlap, the first ends while the second builds.
            first = thread == building[0]
            (second_builds if first else first_done).wait(0.5)
        return real(*given)

    monkeypatch.setattr(minidiff.nn.model, "Block", build)

    def whole(_):
        model = load(tmp_path / "m")
        first_done.set()
        return {x.dtype for x in (*model.parameters(), *model.buffers())}

    torch.set_default_dtype(torch.float64)
    try:
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(whole, range(2)))
        after = torch.get_default_dtype()
    finally:
        torch.set_default_dtype(torch.float32)
    assert found == [{torch.float32}] * 2
    assert after == torch.float64
