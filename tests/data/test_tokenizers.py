import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff.data import BPETokenizer, ByteTokenizer

TEXTS = ["def mean(x):\n    return sum(x) / len(x)\n"] * 20
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.fixture(scope="module")
def bpe():
    return BPETokenizer.train(TEXTS, vocab_size=300)


@given(text=ANY_TEXT)
def test_bytes_round_trip(text):
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(0 <= i < tokenizer.vocab_size for i in ids)


@settings(deadline=None)
@given(text=ANY_TEXT)
def test_bpe_round_trip_of_text_it_never_saw(bpe, text):
    ids = bpe.encode(text)
    assert bpe.decode(ids) == text
    assert all(0 <= i < bpe.vocab_size for i in ids)


@pytest.mark.parametrize("text", ["", " a", "a  b\t\n\n", "naïve 🦊 \x00"])
def test_bpe_round_trip_of_awkward_text(bpe, text):
    assert bpe.decode(bpe.encode(text)) == text


def test_bpe_is_shorter_than_bytes(bpe):
    assert 256 <= bpe.vocab_size <= 300
    assert len(bpe.encode(TEXTS[0])) < 0.5 * len(TEXTS[0])


def test_bpe_is_the_same_after_saving(bpe, tmp_path):
    path = tmp_path / "tokenizer.json"
    bpe.save(path)
    again = BPETokenizer.load(path)
    assert again.encode(TEXTS[0]) == bpe.encode(TEXTS[0])
    assert again.vocab_size == bpe.vocab_size
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_bad_input_is_named(tmp_path):
    with pytest.raises(ValueError, match="vocab_size: got 10"):
        BPETokenizer.train(TEXTS, vocab_size=10)
    path = tmp_path / "other.json"
    path.write_text('{"a": 1}')
    with pytest.raises(ValueError, match=r"other\.json: not a tokenizer"):
        BPETokenizer.load(path)
