import pytest
import torch
from known_models import KINDS, leak, small

from minidiff.evaluation.causality import assert_causal
from minidiff.nn import attention


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_our_models_are_causal(kind, backend):
    assert assert_causal(small(kind), backend=backend) < 1e-5


def test_a_leak_of_one_token_is_found_where_it_is():
    # Of 32 tokens those from 8 on are replaced first: 7 sees the eighth.
    with pytest.raises(ValueError, match=r"position 7 .* from 8 on"):
        assert_causal(leak(small()))


def test_a_leak_of_the_last_layer_too():
    with pytest.raises(ValueError, match="sees the future"):
        assert_causal(leak(small(), 1), length=2)


def test_a_leak_in_the_last_tile_only():
    model = small()
    attention = model.blocks[1].attention
    honest = attention.attend

    def attend(x, q, k, v, key_lengths, backend):
        heads = honest(x, q, k, v, key_lengths, backend).clone()
        heads[:, :, -2] += heads[:, :, -1]
        return heads

    attention.attend = attend
    with pytest.raises(ValueError, match=r"position 30 .* from 31 on"):
        assert_causal(model)


def test_a_mask_that_one_backend_lacks(monkeypatch):
    def all_seen(T, S, causal, key_lengths, device):
        return torch.ones(T, S, dtype=torch.bool)

    monkeypatch.setattr(attention, "visible", all_seen)
    model = small("softmax")
    assert_causal(model)
    with pytest.raises(ValueError, match=r"position 0 .*'eager'"):
        assert_causal(model, backend="eager")


def test_logits_that_are_not_numbers_are_refused():
    model = small()
    torch.nn.init.constant_(model.norm.weight, float("nan"))
    with pytest.raises(ValueError, match="moved by nan"):
        assert_causal(model)
