import numpy as np
import pytest

from minidiff.evaluation.frequency import frequency_deciles


def test_ten_equal_tokens_are_ten_deciles():
    assert frequency_deciles(np.full(10, 7)).tolist() == list(range(10))


def test_deciles_are_tenths_of_the_text_not_of_the_vocabulary():
    # 80 of 100 occurrences are of token 1, whose middle lies at 60.
    counts = np.array([10, 80, 0, 10])
    assert frequency_deciles(counts).tolist() == [0, 6, 0, 1]


def test_counts_must_be_counts():
    with pytest.raises(ValueError, match=r"counts: got shape .* sum 0"):
        frequency_deciles(np.zeros(4))
