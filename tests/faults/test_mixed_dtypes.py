"""Models of which one part has another dtype, and inputs of another dtype."""

import pytest
import torch
from tiny_models import KINDS, T, adapted, make, tokens
from torch import nn

from minidiff import generate

DTYPES = [torch.bfloat16, torch.float64]
MATRICES = [
    name
    for name, part in make("diff_v2", tie_embeddings=False).named_modules()
    if isinstance(part, nn.Linear | nn.Embedding) and "blocks.1" not in name
    and "lambda" not in name
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MATRICES)
def test_a_matrix_of_another_dtype_is_named(name, dtype):
    model = make(tie_embeddings=False)
    model.get_submodule(name).to(dtype)
    message = (
        rf"model: {name}\.weight has dtype {dtype}, expected torch.float32"
    )
    with pytest.raises(TypeError, match=message):
        model(tokens())
    cache = model.new_cache(2, dtype=torch.float32)
    with torch.no_grad(), pytest.raises(TypeError, match=message):
        model(tokens(), cache)
    assert {part.length for part in cache} == {0}


@pytest.mark.parametrize("cast", ["to", "assign", "whole but it"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_tied_embedding_of_another_dtype(kind, cast):
    model = make(kind)
    got, want = torch.bfloat16, torch.float32
    if cast == "to":
        model.embedding.to(got)
    elif cast == "assign":
        state = {"weight": model.embedding.weight.to(got)}
        model.embedding.load_state_dict(state, assign=True)
    else:
        weight, (got, want) = model.embedding.weight, (want, got)
        model.to(want).embedding.weight = nn.Parameter(weight.to(got))
    message = f"embedding.weight has dtype {got}, expected {want} as most"
    with pytest.raises(TypeError, match=message):
        model(tokens())
    with pytest.raises(TypeError, match=message):
        model.loss(tokens(), tokens())
    with pytest.raises(TypeError, match=message):
        generate(model, tokens(), max_new_tokens=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # which casts anyway
        assert model(tokens()).isfinite().all()
    model.to(torch.bfloat16)
    assert model(tokens()).isfinite().all()


def test_a_tied_product_of_another_dtype():
    model = make()
    model.embedding.to(torch.bfloat16)
    model.embedding.register_forward_hook(lambda *given: given[2].float())
    with pytest.raises(TypeError, match=r"embedding\.weight has dtype"):
        model(tokens())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_an_input_of_another_dtype_is_named(kind, dtype):
    attention = make(kind).blocks[0].attention
    x = torch.randn(2, T, 32, dtype=dtype)
    message = f"x: got dtype {dtype}, expected torch.float32 as the weights"
    with pytest.raises(TypeError, match=message):
        attention(x)
    with pytest.raises(TypeError, match=message):  # has no autocast
        attention.to("meta")(x.to("meta"))
    attention = make(kind).blocks[0].attention
    assert attention.to(dtype)(x).dtype == dtype


def test_other_errors_stay_as_they_are():
    model = make()
    model.norm.to(torch.bfloat16)

    def fails(*_):
        raise RuntimeError("out of memory")

    handle = model.norm.register_forward_pre_hook(fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        model(tokens())
    handle.remove()
    model, _ = adapted(make())
    with pytest.raises(TypeError, match="positions: got dtype"):
        model(tokens(), positions=torch.zeros(2, 1))
