import pytest
import torch

from minidiff.data import ByteTokenizer, Corpus, Document, TextData


def make(seed=0, length=8):
    return TextData(
        range(100), range(100, 150), vocab_size=150, length=length, seed=seed
    )


def test_target_is_the_next_token():
    inputs, targets = make().batch(0, 16)
    assert inputs.shape == targets.shape == (16, 8)
    assert inputs.dtype == targets.dtype == torch.int64
    # The tokens count up, so the next one is one more.
    torch.testing.assert_close(targets, inputs + 1)
    assert inputs.max() < 100


def test_every_window_can_be_drawn():
    data = TextData(range(5), range(5), vocab_size=5, length=3)
    inputs, targets = data.batch(0, 200)
    assert set(inputs[:, 0].tolist()) == {0, 1}
    assert targets.max() == 4


def test_a_batch_depends_on_seed_split_and_step_alone():
    data = make()
    data.batch(5, 4)
    assert torch.equal(data.batch(3, 4)[0], make().batch(3, 4)[0])
    assert not torch.equal(data.batch(3, 4)[0], data.batch(4, 4)[0])
    assert not torch.equal(data.batch(3, 4)[0], make(1).batch(3, 4)[0])
    # Not even seed 1, step 0 is seed 0, step 1.
    assert not torch.equal(make(1).batch(0, 4)[0], data.batch(1, 4)[0])


def test_validation_is_the_same_for_every_seed():
    inputs, _ = make(0).batch(2, 4, "valid")
    assert torch.equal(inputs, make(7).batch(2, 4, "valid")[0])
    assert inputs.min() >= 100


def test_from_corpus_keeps_the_sides_apart():
    corpus = Corpus(
        train=(Document("a", "aaaa"), Document("b", "bb")),
        valid=(Document("c", "cccc"),),
        skipped=(),
    )
    data = TextData.from_corpus(corpus, ByteTokenizer(), length=2)
    assert (data.size("train"), data.size("valid")) == (10, 6)
    assert ord("c") not in data.batch(0, 100)[0]


def test_description_tells_data_apart():
    assert make().describe() == make().describe()
    other = TextData(range(1, 101), range(50), vocab_size=150, length=8)
    assert make().describe()["sha256"] != other.describe()["sha256"]
    assert make().describe() != make(seed=1).describe()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": [1, 2]}, "train: got 2 tokens, expected more than"),
        ({"valid": [0] * 9 + [5]}, "valid: got token ids 0 to 5"),
        ({"train": [0.5] * 9}, "train: got shape .* of float64"),
        ({"length": 0}, "length: got 0"),
    ],
)
def test_bad_input_is_named(arguments, message):
    good = {"train": [0] * 9, "valid": [0] * 9, "vocab_size": 5, "length": 4}
    with pytest.raises(ValueError, match=message):
        TextData(**(good | arguments))


def test_bad_batch_is_named():
    with pytest.raises(ValueError, match="split: got 'test'"):
        make().batch(0, 1, "test")
    with pytest.raises(ValueError, match="batch_size: got 0"):
        make().batch(0, 0)
    with pytest.raises(ValueError, match="step: got -1"):
        make().batch(-1, 1)
