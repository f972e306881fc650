"""Token files: whole or not there, read from the disk, each row once."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from minidiff.data import (
    BPETokenizer,
    ByteTokenizer,
    TextData,
    TokenData,
    write_tokens,
)
from minidiff.data import token_files as files

TEXTS = [("train", "abc" * 40), ("valid", "xyz" * 10), ("train", "hello")]


@pytest.fixture
def folder(tmp_path):
    where = tmp_path / "tokens"
    about = {"source": "a test", "licences": []}
    write_tokens(where, TEXTS, ByteTokenizer(), about=about, progress=False)
    return where


def test_what_is_in_the_folder(folder):
    card, sides = files.open_tokens(folder)
    assert card["about"] == {"source": "a test", "licences": []}
    assert card["vocab_size"] == 256 and card["tokenizer"] == "byte"
    assert bytes(sides["train"].astype(np.uint8)) == (
        b"abc" * 40 + b"\n\nhello\n\n"
    )
    assert bytes(sides["valid"].astype(np.uint8)) == b"xyz" * 10 + b"\n\n"
    assert (folder / "train.tokens").stat().st_size == 2 * 129
    assert isinstance(sides["train"], np.memmap)
    assert [p.name for p in folder.parent.iterdir()] == ["tokens"]


def test_large_vocabularies_take_four_bytes(tmp_path):
    class Large(ByteTokenizer):
        vocab_size = 2**16 + 1

        def encode(self, text):
            return [2**16] * len(text)

    where = tmp_path / "t"
    write_tokens(where, TEXTS, Large(), about={}, progress=False)
    assert files.open_tokens(where)[1]["valid"].tolist() == [2**16] * 32


def test_a_trained_tokenizer_is_kept_beside(tmp_path):
    tokenizer = BPETokenizer.train([t for _, t in TEXTS], 260)
    where = tmp_path / "t"
    card = write_tokens(where, TEXTS, tokenizer, about={}, progress=False)
    assert card["tokenizer"] == "bpe"
    again = BPETokenizer.load(where / "tokenizer.json")
    data = TokenData(where, length=4)
    assert data.vocab_size == tokenizer.vocab_size
    tokens = files.open_tokens(where)[1]["valid"]
    assert again.decode(tokens.tolist()) == "xyz" * 10 + "\n\n"


def test_a_bar_shows_how_far_it_is(tmp_path, capsys):
    size = sum(len(text) for _, text in TEXTS)
    write_tokens(tmp_path / "t", TEXTS, ByteTokenizer(), about={}, size=size)
    err = capsys.readouterr().err
    assert "tokenizing: 100%" in err and f"{size}/{size}" in err


def test_it_can_stop_early(tmp_path):
    texts = [("valid", "v" * 10), *[("train", "t" * 10)] * 50]
    card = write_tokens(
        tmp_path / "t", texts, ByteTokenizer(), about={}, most=100
    )
    total = sum(card[side]["tokens"] for side in ("train", "valid"))
    assert 100 <= total < 115


def test_it_is_never_there_half(tmp_path):
    def texts():
        yield from TEXTS
        raise RuntimeError("the line went dead")

    with pytest.raises(RuntimeError, match="went dead"):
        write_tokens(tmp_path / "t", texts(), ByteTokenizer(), about={})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="none for 'valid'"):
        write_tokens(tmp_path / "t", TEXTS[:1], ByteTokenizer(), about={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="needs kill -9")
def test_a_build_killed_before_is_no_hindrance(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from minidiff.data import ByteTokenizer, write_tokens\n"
        "def texts():\n"
        "    yield 'train', 'abc' * 9999\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_tokens(sys.argv[1], texts(), ByteTokenizer(), about={})\n"
    )
    where = tmp_path / "t"
    done = subprocess.run([sys.executable, "-c", code, where])
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(ValueError, match=r"tokens\.json: no such file"):
        files.open_tokens(where)
    write_tokens(where, TEXTS, ByteTokenizer(), about={})
    assert files.open_tokens(where)[1]["train"].shape == (129,)
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on files")
def test_a_full_disk_is_named_and_left_as_it_was(tmp_path):
    code = (
        "import resource, sys\n"
        "from minidiff.data import ByteTokenizer, write_tokens\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "texts = [('train', 'abc' * 999)] * 99\n"
        "try: write_tokens(sys.argv[1], texts, ByteTokenizer(), about={})\n"
        "except OSError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "t"],
        capture_output=True,
        text=True,
    )
    assert f"{tmp_path / 't'}: could not be written (File too" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused(folder):
    with pytest.raises(ValueError, match=r"folder: .*tokens exists"):
        write_tokens(folder, TEXTS, ByteTokenizer(), about={})


def test_a_truncated_file_is_named(folder):
    path = folder / "train.tokens"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train\.tokens: got 257 bytes, exp"):
        TokenData(folder, length=4)
    path.unlink()
    with pytest.raises(ValueError, match=r"train\.tokens: got 0 bytes"):
        TokenData(folder, length=4)


@pytest.mark.parametrize("text", ["{", "{}", '{"format": "other"}', "[]"])
def test_a_foreign_card_is_named(folder, text):
    (folder / "tokens.json").write_text(text)
    with pytest.raises(ValueError, match=r"tokens\.json: cannot be read"):
        TokenData(folder, length=4)


def test_damaged_ids_are_named(folder):
    path = folder / "valid.tokens"
    path.write_bytes(b"\xff" * path.stat().st_size)
    data = TokenData(folder, length=4)
    with pytest.raises(ValueError, match="token id 65535 in valid, expected"):
        data.batch(0, 2, "valid")


def test_an_epoch_is_every_window_once_in_a_new_order(folder):
    data = TokenData(folder, length=4)
    tokens = files.open_tokens(folder)[1]["train"].astype(int).tolist()
    want = [tuple(tokens[i : i + 5]) for i in range(0, 128, 4)]
    assert data.windows("train") == len(want) == 32

    def epoch(number):
        batches = [data.batch(4 * number + i, 8) for i in range(4)]
        inputs, targets = (torch.cat(x) for x in zip(*batches, strict=True))
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
        rows = torch.cat([inputs, targets[:, -1:]], 1)
        return [tuple(row) for row in rows.tolist()]

    first, second = epoch(0), epoch(1)
    assert Counter(first) == Counter(second) == Counter(want)
    assert first != second and first != want


def test_the_stream_is_the_same_whatever_the_batch(folder):
    data = TokenData(folder, length=4)
    # 40 rows reach into the second epoch.
    large = data.batch(0, 40)[0]
    small = torch.cat([data.batch(i, 5)[0] for i in range(8)])
    assert torch.equal(large, small)
    again = TokenData(folder, length=4).batch(7, 5)[0]
    assert torch.equal(again, small[35:])


def test_seeds_differ_and_validation_does_not(folder):
    one, two = (TokenData(folder, length=4, seed=s) for s in (1, 2))
    assert not torch.equal(one.batch(0, 8)[0], two.batch(0, 8)[0])
    for a, b in zip(one.batch(0, 4, "valid"), two.batch(0, 4, "valid")):  # noqa: B905
        assert torch.equal(a, b)


def test_a_process_reads_its_own_rows_alone(folder):
    data, read = TokenData(folder, length=4), []

    class Watched:
        def __getitem__(self, where):
            read.append(where)
            return real[where]

    real = data._sides["train"]
    data._sides["train"] = Watched()
    data._sides["train"].__class__.__len__ = lambda self: len(real)
    inputs, _ = data.batch(3, 8, "train", slice(2, 4))
    assert len(read) == 2
    whole = TokenData(folder, length=4).batch(3, 8)[0]
    assert torch.equal(inputs, whole[2:4])


def test_what_makes_it_itself(folder, tmp_path):
    said = TokenData(folder, length=4).describe()
    assert json.loads(json.dumps(said)) == said
    other = tmp_path / "other"
    texts = [("train", "abd" * 40), *TEXTS[1:]]
    write_tokens(other, texts, ByteTokenizer(), about={}, progress=False)
    changed = TokenData(other, length=4).describe()
    assert {k for k in said if said[k] != changed[k]} == {"train"}


def test_too_little_text_is_named(folder):
    with pytest.raises(ValueError, match="valid has 32 tokens, expected more"):
        TokenData(folder, length=32)
    with pytest.raises(ValueError, match="length: got 0"):
        TokenData(folder, length=0)


def test_rows_of_text_in_memory(folder):
    rows = torch.arange(200) % 7
    data = TextData(rows, rows, vocab_size=7, length=5)
    whole = data.batch(2, 6)
    part = data.batch(2, 6, "train", slice(4, 6))
    for a, b in zip(whole, part, strict=True):
        assert torch.equal(a[4:6], b)
