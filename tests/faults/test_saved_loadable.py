"""What is saved can be loaded, and a run that was saved can be resumed."""

import pytest
import torch
import torch.distributed as dist
from tiny_models import V, adapted, make, tokens
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    checkpoint_wrapper,
)
from torch.nn.parallel import DistributedDataParallel

from minidiff import TrainConfig, generate, load, save, train
from minidiff.convert.model import from_diffllama, to_diffllama
from minidiff.nn.wrappers import unwrapped

CONFIG = TrainConfig(
    steps=4, batch_size=4, warmup_steps=0, eval_batches=1, lr=1e-2
)


class Rows:
    vocab_size = V

    def batch(self, step, batch_size, split="train", rows=slice(None)):
        g = torch.Generator().manual_seed(step)
        x = torch.randint(0, V, (batch_size, 8), generator=g)[rows]
        return x, x.roll(-1, 1)

    def describe(self):
        return {}


@pytest.fixture
def one_process(tmp_path):
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def compiled(model):
    return torch.compile(model, backend="eager")


def parts_compiled(model):
    for i, block in enumerate(model.blocks):
        model.blocks[i] = compiled(block)
    return model


def parts_checkpointed(model):
    for block in model.blocks:
        block.ffn = checkpoint_wrapper(block.ffn)
    return model


def ddp(model):
    return DistributedDataParallel(model)


def compiled_ddp(model):
    return compiled(DistributedDataParallel(compiled(model)))


def sharded(model):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (1,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


WRAPPERS = [
    compiled,
    parts_compiled,
    parts_checkpointed,
    nn.DataParallel,
    ddp,
    compiled_ddp,
    sharded,
]


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("tied", [True, False])
def test_a_wrapped_model_is_saved_as_the_model(
    wrap, tied, one_process, tmp_path
):
    want = make(tie_embeddings=tied)
    save(wrap(make(tie_embeddings=tied)), tmp_path / "m.safetensors")
    got = load(tmp_path / "m.safetensors")
    assert torch.equal(got(tokens()), want(tokens()))


@pytest.mark.parametrize(
    "wrap",
    [pytest.param(compiled, marks=pytest.mark.slow), ddp, nn.DataParallel],
)
def test_a_wrapped_model_generates_and_converts(wrap, one_process):
    want = generate(make(), tokens(), max_new_tokens=3, temperature=0)
    got = generate(wrap(make()), tokens(), max_new_tokens=3, temperature=0)
    assert torch.equal(got, want)
    config, state = to_diffllama(wrap(make()))
    wanted_config, wanted = to_diffllama(make())
    assert config == wanted_config
    assert state.keys() == wanted.keys()


@pytest.mark.parametrize("model", [nn.Linear(2, 2), None, "model"])
def test_something_else_is_refused_by_name(model, tmp_path):
    for call in (
        lambda: save(model, tmp_path / "m.safetensors"),
        lambda: to_diffllama(model),
        lambda: generate(model, tokens(), max_new_tokens=1),
        lambda: train(model, Rows(), CONFIG),
    ):
        with pytest.raises(TypeError, match=r"model: got .* a DecoderLM"):
            call()
    assert not list(tmp_path.iterdir())


def frozen():
    model = make()
    model.embedding.weight.requires_grad_(False)
    return model


def unused():
    """A weight that has no gradient, although it is not frozen."""
    model = make()
    attention = model.blocks[0].attention
    real = attention.lam
    constant = real().detach()
    attention.lam = lambda: constant
    return model


def with_adapters():
    model, _ = adapted(make())
    for name, p in model.named_parameters():
        p.requires_grad_(".up." in name or ".down." in name)
    return model


def compiled_model():
    return compiled(make())


@pytest.mark.parametrize(
    "build", [frozen, unused, with_adapters, compiled_model]
)
def test_a_run_resumes(build, tmp_path):
    torch.manual_seed(1)
    first = build()
    whole = train(first, Rows(), CONFIG, progress=False)
    torch.manual_seed(1)
    second = build()

    class Interrupt(Exception):
        pass

    class Until(Rows):
        def batch(self, step, batch_size, split="train", rows=slice(None)):
            if step == 3:
                raise Interrupt
            return super().batch(step, batch_size, split, rows)

    config = TrainConfig(**CONFIG.__dict__ | {"checkpoint_every": 2})
    options = {"run_dir": tmp_path / "run", "progress": False}
    with pytest.raises(Interrupt):
        train(second, Until(), config, **options)
    torch.manual_seed(1)
    third = build()
    log = train(third, Rows(), config, resume=True, **options)
    assert [r["loss"] for r in log] == [r["loss"] for r in whole]
    if build is not with_adapters:
        again = load(tmp_path / "run")
        assert torch.equal(again(tokens()), unwrapped(first)(tokens()))


def test_half_a_state_is_still_refused(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    train(frozen(), Rows(), CONFIG, run_dir=tmp_path, progress=False)
    path = tmp_path / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {n: file.get_tensor(n) for n in file.keys()}  # noqa: SIM118
    del tensors["optimizer.norm.weight.exp_avg_sq"]
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match=r"norm\.weight\.exp_avg_sq is miss"):
        train(frozen(), Rows(), CONFIG, run_dir=tmp_path, resume=True)


def stretched(model):
    """Positions divided by two, as in interpolation to longer rows."""
    angles = make(rope_base=3.0)
    model.cos, model.sin = angles.cos, angles.sin
    return "model: cos has other rotary angles"


def another_lambda(model):
    model.blocks[1].attention.lam_init = 0.0
    return r"blocks\.1\.attention\.lam_init is 0\.0, expected 0\.355"


def without_the_second_map(model):
    model.blocks[0].attention.second_map = "off"
    return r"blocks\.0\.attention\.second_map is 'off', expected 'subtract'"


def another_eps(model):
    model.norm.eps = 0.5
    return r"norm\.eps is 0\.5, expected 1e-05"


def on_meta(model):
    model.to("meta")
    return "model: got weights on meta, expected values"


@pytest.mark.parametrize(
    "change",
    [stretched, another_lambda, without_the_second_map, another_eps, on_meta],
)
def test_what_a_file_would_not_hold_is_refused(change, tmp_path):
    """It would be loaded without an error, as another model."""
    model = make()
    says = change(model)
    for write in (
        lambda: save(model, tmp_path / "m"),
        lambda: to_diffllama(model),
    ):
        with pytest.raises(ValueError, match=says):
            write()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_models_of_other_dtypes_are_saved(dtype, tmp_path):
    torch.set_default_dtype(dtype)
    try:
        model = make()
    finally:
        torch.set_default_dtype(torch.float32)
    for each in (model, model.bfloat16(), model.float(), model.double()):
        save(each, tmp_path / "m")
    assert {p.dtype for p in model.parameters()} == {torch.float64}


def test_a_model_in_float64_is_so_everywhere():
    torch.set_default_dtype(torch.float64)
    try:
        dtypes = {p.dtype for p in make().parameters()}
    finally:
        torch.set_default_dtype(torch.float32)
    assert dtypes == {torch.float64}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("read", ["load", "from_diffllama"])
def test_loaded_in_float32_on_the_cpu_whatever_the_defaults(
    read, dtype, tmp_path
):
    want = make()
    save(want, tmp_path / "m")
    config, state = to_diffllama(want)
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"), torch.inference_mode():
            got = (
                load(tmp_path / "m")
                if read == "load"
                else from_diffllama(config, state)
            )
    finally:
        torch.set_default_dtype(torch.float32)
    for x in (*got.parameters(), *got.buffers()):
        assert (x.dtype, x.device.type) == (torch.float32, "cpu")
    assert not got.embedding.weight.is_inference()
    torch.testing.assert_close(got(tokens()), want(tokens()))
