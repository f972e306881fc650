"""Ids that a tokenizer is asked to decode: beyond it, and of any kind."""

import numpy as np
import pytest
import torch

from minidiff import course
from minidiff.data import BPETokenizer, ByteTokenizer

TOKENIZERS = {
    "byte": ByteTokenizer(),
    "bpe": BPETokenizer.load(course.weights("pair_tokenizer.json")),
}
TEXT = "a naïve x"


@pytest.fixture(params=TOKENIZERS)
def coder(request):
    return TOKENIZERS[request.param]


@pytest.mark.parametrize("beyond", [0, 1, 255, 10**6, 2**32 - 1])
def test_ids_beyond_the_vocabulary_are_seen(coder, beyond):
    # The shipped pair has needles and few-shot tokens from 2048 on.
    V, ids = coder.vocab_size, coder.encode(TEXT)
    other = min(V + beyond, 2**32 - 1)
    assert coder.decode([other]) == "\ufffd"
    assert (
        coder.decode([*ids, other, other, *ids]) == f"{TEXT}\ufffd\ufffd{TEXT}"
    )
    assert coder.decode([other, *ids, other]) == f"\ufffd{TEXT}\ufffd"


def test_a_character_is_not_joined_across_an_unknown_id():
    first, second = "é".encode()
    text = ByteTokenizer().decode([first, 256, second])
    assert text == "\ufffd\ufffd\ufffd"


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (-1, r"ids\[1\]: got -1, expected 0 to 4294967295"),
        (2**32, r"ids\[1\]: got 4294967296, expected 0 to"),
        (10**30, r"ids\[1\]: got .*, expected 0 to"),
        (np.int64(-5), r"ids\[1\]: got -5, expected 0 to"),
        (65.0, r"ids\[1\]: got float, expected an int"),
        (np.float32(65), r"ids\[1\]: got float32, expected an int"),
        (True, r"ids\[1\]: got bool, expected an int"),
        ("a", r"ids\[1\]: got str, expected an int"),
        (None, r"ids\[1\]: got NoneType, expected an int"),
        ([65], r"ids\[1\]: got list, expected an int"),
        (torch.tensor([65]), r"ids\[1\]: got Tensor, expected an int"),
    ],
)
def test_other_ids_are_refused_by_place(coder, odd, message):
    with pytest.raises((ValueError, TypeError), match=message):
        coder.decode([65, odd])


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (5, "ids: got int, expected a sequence of ints"),
        (None, "ids: got NoneType, expected a sequence"),
        (torch.tensor(5), "ids: got int, expected a sequence"),
        ("ab", r"ids\[0\]: got str, expected an int"),
        (torch.tensor([[65], [66]]), r"ids\[0\]: got list"),
        (torch.tensor([65.0]), r"ids\[0\]: got float"),
        (np.array([65.0]), r"ids\[0\]: got float"),
        (np.array([True]), r"ids\[0\]: got bool"),
    ],
)
def test_what_is_no_row_of_ids_is_refused(coder, odd, message):
    with pytest.raises(TypeError, match=message):
        coder.decode(odd)


@pytest.mark.parametrize(
    "kind", [tuple, np.array, torch.tensor, map, "numbers", "0-d"]
)
def test_rows_of_every_kind(coder, kind):
    ids = coder.encode(TEXT)
    given = {
        "numbers": [np.int64(i) for i in ids],
        "0-d": list(torch.tensor(ids)),
        map: map(int, ids),
    }.get(kind) or kind(ids)
    assert coder.decode(given) == TEXT
