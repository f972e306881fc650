"""The forms of a head in bfloat16 differ by their rounding, and only so."""

import pytest

from minidiff.course.rounding import draw, errors, rounded


def test_without_lambda_there_is_nothing_to_cancel():
    found = errors(0.5, lam=0.0)
    assert found["cancelled"] == pytest.approx(1)
    assert found["in turn"] == found["both at once"]
    assert found["two calls"] == pytest.approx(found["both at once"])


def test_rounding_early_costs_more_where_branches_are_alike():
    found = errors(0.99)
    assert found["cancelled"] > 2
    order = "two calls", "in turn", "both at once", "one product"
    values = [found[name] for name in order]
    assert values == sorted(values, reverse=True)


def test_equal_maps_are_the_worst_case_of_in_turn():
    found = errors(0.0, lam=1.2, size=0.0)
    assert found["cancelled"] == pytest.approx(5)
    assert found["in turn"] > 2.5 * found["both at once"]


def test_inputs_are_bfloat16_and_as_alike_as_asked():
    q1, _, q2, _, v = draw(0.9)
    assert v.equal(rounded(v))
    assert (q1 * q2).mean().item() == pytest.approx(0.9, abs=0.02)
