from math import isnan

import pytest

from minidiff.evaluation.intervals import (
    DocumentLoss,
    difference_interval,
    loss_interval,
    wilson,
)


def documents(means, tokens=10):
    return [
        DocumentLoss("a", f"{i}", tokens, tokens, tokens * mean, 0)
        for i, mean in enumerate(means)
    ]


def test_wilson_as_in_the_literature():
    assert wilson(8, 10) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((1, 0.7225, 1), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0, 0, 0.2775), abs=1e-4)
    with pytest.raises(ValueError, match="got 3 of 2"):
        wilson(3, 2)


def test_equal_documents_have_no_spread():
    assert loss_interval(documents([2, 2, 2])) == pytest.approx((2, 2, 2))


def test_long_documents_weigh_more():
    both = documents([1], 30) + documents([5], 10)
    assert loss_interval(both).value == pytest.approx(2)
    low, high = loss_interval(both)[1:]
    assert low == pytest.approx(1) and high == pytest.approx(5)


def test_one_document_has_no_interval():
    found = loss_interval(documents([3]))
    assert found.value == 3 and isnan(found.low) and isnan(found.high)


def test_pairs_take_away_what_documents_share():
    first, second = documents([1.5, 4.5, 9.5]), documents([1, 4, 9])
    found = difference_interval(first, second)
    assert found == pytest.approx((0.5, 0.5, 0.5))
    alone = loss_interval(first)
    assert alone.high - alone.low > 1


def test_pairs_must_be_of_the_same_documents():
    with pytest.raises(ValueError, match="second: got 1 of a"):
        difference_interval(documents([1, 2])[:1], documents([1, 2])[1:])
