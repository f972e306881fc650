import pytest
import torch
from known_models import KINDS, small

from minidiff.evaluation.rounding import round_logits, rounded_logits
from minidiff.ops import attention_maps


def test_two_bits_leave_three_levels():
    logits = torch.tensor([[10.0, 4.0], [-6.0, 5.1]])
    found = round_logits(logits, None, 2)
    assert found.tolist() == [[10, 0], [-10, 10]]


def test_three_bits_leave_seven():
    logits = torch.linspace(-3, 3, 601)[None]
    assert len(round_logits(logits, None, 3).unique()) == 7


def test_hidden_logits_set_no_scale():
    logits = torch.tensor([[4.0, 1000.0], [1.0, 2.0]])
    mask = torch.ones(2, 2).tril().bool()
    found = round_logits(logits, mask, 8)
    torch.testing.assert_close(found[mask], logits[mask], atol=0.02, rtol=0)


def test_each_map_has_its_own_scale():
    small_and_large = torch.tensor([[[0.5, 1.0]], [[500.0, 1000.0]]])
    found = round_logits(small_and_large, None, 16)
    torch.testing.assert_close(found, small_and_large, rtol=1e-4, atol=0)


def test_zeros_stay_zeros():
    assert round_logits(torch.zeros(2, 2), None, 4).tolist() == [[0, 0]] * 2


def test_a_constructed_map_loses_the_second_key():
    # Logits 2 and 0.9: with 2 bits the second becomes 0.
    q = torch.ones(1, 1, 2, 1, 1)
    k = torch.tensor([2.0, 0.9]).expand(1, 1, 2, 2)[..., None]
    with rounded_logits(2):
        A = attention_maps(q, k, 0.0, causal=False).A
    expected = torch.tensor([2.0, 0.0]).softmax(0)
    torch.testing.assert_close(A[0, 0, 0], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_many_bits_change_nothing_and_few_do(kind):
    model = small(kind)
    tokens = torch.randint(0, 40, (2, 16))
    with torch.no_grad():
        for block in model.blocks:
            block.attention.q_proj.weight *= 30
        exact = model(tokens, backend="eager")
        with rounded_logits(16):
            fine = model(tokens, backend="eager")
        with rounded_logits(2):
            coarse = model(tokens, backend="eager")
    scale = exact.abs().max()
    assert (fine - exact).abs().max() < 1e-3 * scale
    assert (coarse - exact).abs().max() > 1e-2 * scale


def test_one_bit_is_refused():
    with pytest.raises(ValueError, match="bits: got 1, expected 2 or more"):
        round_logits(torch.ones(1, 1), None, 1)
