import pytest
import torch
from test_loop import make

from minidiff.training.threads import SMALL, choose_threads, use_threads


@pytest.fixture
def three():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_a_small_model_gets_one_thread_and_a_large_one_all(three):
    model = make()
    most = int(SMALL / model.num_parameters())
    assert choose_threads(model, most) == 1
    assert choose_threads(model, most + 1) == 3


def test_the_number_is_restored(three):
    with pytest.raises(KeyError), use_threads(1):
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 3


def test_no_thread_is_refused(three):
    with (
        pytest.raises(ValueError, match="threads: got 0, expected 1 or more"),
        use_threads(0),
    ):
        pass
    assert torch.get_num_threads() == 3
