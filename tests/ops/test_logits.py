"""The place where the eager backend's logits can be seen and changed."""

import pytest
import torch

from minidiff.ops import diff_attention
from minidiff.ops.logits import logits_through, masked_softmax

SEEN = torch.tensor([[True, False], [True, True], [False, False]])


def test_hidden_keys_get_nothing():
    A = masked_softmax(torch.tensor([[1.0, 9.0]] * 3), SEEN)
    assert A[0].tolist() == [1, 0] and A[2].tolist() == [0, 0]
    assert A[1].tolist() == pytest.approx([0.000335, 0.999665], abs=1e-5)


def test_logits_pass_through_inside_the_block_only():
    def flat(logits, mask):
        assert mask is SEEN
        return logits * 0

    logits = torch.tensor([[1.0, 9.0]] * 3)
    with logits_through(flat):
        assert masked_softmax(logits, SEEN)[1].tolist() == [0.5, 0.5]
    assert masked_softmax(logits, SEEN)[1, 1] > 0.9


def test_it_ends_with_an_error_too():
    def wrong(logits, mask):
        raise ArithmeticError

    with pytest.raises(ArithmeticError), logits_through(wrong):
        masked_softmax(torch.ones(1, 1), None)
    assert masked_softmax(torch.ones(1, 1), None).item() == 1


def test_another_backend_is_noticed():
    q = torch.ones(1, 1, 2, 3, 4)
    with (
        pytest.raises(RuntimeError, match="no logits came"),
        logits_through(lambda logits, mask: logits),
    ):
        diff_attention(q, q, q[:, :, 0], 0.5, backend="sdpa")


def test_a_compiled_graph_follows_the_block():
    q, k = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3, 4)

    def attend(q, k):
        return masked_softmax(q @ k.mT, None)

    compiled = torch.compile(attend, backend="eager", fullgraph=True)
    for _ in range(2):
        torch.testing.assert_close(compiled(q, k), attend(q, k))
        with logits_through(lambda logits, mask: logits * 0):
            assert (compiled(q, k) == 1 / 3).all()
