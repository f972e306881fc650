import pytest

from minidiff.course.low_bit_errors import low_bit_errors


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_errors_of_keys_do_not_cancel_and_those_of_values_do(precision):
    found = low_bit_errors(0.99, precision)
    of_one, of_difference = found["keys"]
    assert of_difference > 4 * of_one
    of_one, of_difference = found["values"]
    assert of_difference == pytest.approx(of_one, rel=0.1)
    assert found["both"][1] > found["keys"][1]


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_branches_with_equal_keys_make_equal_errors(precision):
    """Then both maps are one, and o is (1 - lam) o1 with its errors."""
    for of_one, of_difference in low_bit_errors(1.0, precision).values():
        assert of_difference == pytest.approx(of_one, rel=1e-9)


def test_fp8_is_coarser_than_int8_where_no_number_stands_out():
    int8, fp8 = (low_bit_errors(0.9, p) for p in ("int8", "fp8"))
    for name in int8:
        assert fp8[name][0] > 2 * int8[name][0] > 0


def test_without_the_second_map_both_errors_are_one():
    for of_one, of_difference in low_bit_errors(0.5, "int8", 0.0).values():
        assert of_difference == of_one
