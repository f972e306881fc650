import pytest
import torch
from known_models import KINDS, small, with_map

from minidiff.evaluation.attention import (
    answer_attention,
    map_shape,
    place_attention,
    summary,
)
from minidiff.ops import AttentionMaps

# Four keys, questions at 3, the answer at 1; heads differ.
ROWS = torch.tensor(
    [
        [0.1, 0.6, 0.2, 0.1],
        [0.25, 0.25, 0.25, 0.25],
        [0.5, -0.5, 0.0, 0.0],
    ]
)


def constructed():
    """A layer of three heads whose third query rows are ROWS, all scaled."""
    A = torch.zeros(2, 3, 4, 4)
    A[..., 0] = 1
    A[:, :, 3] = 0.3 * ROWS  # the sum of a row must not matter
    even = torch.full_like(A, 0.25)
    model = with_map(small(), 0, AttentionMaps(even, even, A))
    return with_map(model, 1, A.flip(1))


TOKENS = torch.ones(2, 4, dtype=torch.int64)
ASKED = torch.full((2, 1), 3), torch.full((2, 1), 1)


def test_attention_on_the_answer():
    found = answer_attention(constructed(), TOKENS, *ASKED)
    assert found.on_answer[0].tolist() == pytest.approx([0.6, 0.25, -0.5])
    assert found.on_answer[1].tolist() == pytest.approx([-0.5, 0.25, 0.6])
    assert found.on_rest[0].tolist() == pytest.approx([0.4, 0.75, 0.5])
    assert found.negative[0].tolist() == pytest.approx([0, 0, 0.5])
    # exp of 0.6 ln(1/0.6) + 0.2 ln 5 + 0.2 ln 10, then four and two keys.
    assert found.support[0].tolist() == pytest.approx([2.9707, 4, 2], abs=1e-3)


def test_the_places_of_figure_1():
    found = place_attention(constructed(), TOKENS, *ASKED)
    first, before, answer, after, itself = (x[0].tolist() for x in found)
    assert first == pytest.approx([0.1, 0.25, 0.5])
    assert before == [0, 0, 0]
    assert answer == pytest.approx([0.6, 0.25, 0.5])
    assert after == pytest.approx([0.2, 0.25, 0])
    assert itself == pytest.approx([0.1, 0.25, 0])
    asked = ASKED[0], ASKED[1] + 1  # the answer at 2
    before = place_attention(constructed(), TOKENS, *asked).before[0]
    assert before.tolist() == pytest.approx([0.6, 0.25, 0.5])


def test_the_shape_of_maps_is_a_mean_over_queries():
    found = map_shape(constructed(), TOKENS)
    # Three queries see the first token alone, the fourth is as above.
    assert found.support[0].tolist() == pytest.approx(
        [(3 + 2.9707) / 4, 7 / 4, 5 / 4], abs=1e-3
    )
    assert found.negative[0].tolist() == pytest.approx([0, 0, 0.125])
    assert found.first[0].tolist() == pytest.approx([0.775, 0.8125, 0.875])


@pytest.mark.parametrize("kind", KINDS)
def test_batches_change_nothing_and_places_sum_to_one(kind):
    model = small(kind)
    tokens = torch.randint(0, 40, (5, 20))
    asked = torch.full((5, 2), 19), torch.randint(0, 18, (5, 2))
    heads = 4 if kind == "softmax" else 2
    for measure in (answer_attention, place_attention):
        whole = measure(model, tokens, *asked)
        assert whole[0].shape == (2, heads)
        parts = measure(model, tokens, *asked, batch_size=2)
        for a, b in zip(whole, parts, strict=True):
            torch.testing.assert_close(a, b)
    total = sum(place_attention(model, tokens, *asked))
    torch.testing.assert_close(total, torch.ones_like(total))
    if kind == "softmax":
        assert map_shape(model, tokens).negative.max() == 0
    assert not model.blocks[0].attention._forward_hooks


def test_a_summary_names_the_highest_head():
    found = summary(torch.tensor([[0.1, 0.2], [0.9, 0.0]]))
    assert found["mean"] == pytest.approx(0.3)
    assert (found["highest"], found["layer"], found["head"]) == (
        pytest.approx(0.9),
        1,
        0,
    )
    assert found["heads"] == [[0.1, 0.2], [0.9, 0.0]]
