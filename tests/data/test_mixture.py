import numpy as np
import pytest
import torch

from minidiff.data import Mixture, NeedleTask, Part, TextData

TEXT = TextData(
    torch.arange(500) % 50, torch.arange(90) % 50, vocab_size=50, length=16
)
NEEDLES = NeedleTask(questions=2, length=16, keys=4, values=4, noise=8)
OTHER = NeedleTask(questions=1, length=16, keys=3, values=3, noise=4)
# Rows of the text's own ids, which differ from those of TEXT.
SAME = TextData(
    torch.arange(70) % 7, torch.arange(70) % 7, vocab_size=50, length=16
)
MIXTURE = Mixture(
    TEXT,
    needles=Part(NEEDLES, 0.25),
    other=Part(OTHER, 0.2),
    same=Part(SAME, 0.1, own_ids=False),
)
FIRST = {"needles": 50, "other": 66}


def test_each_row_is_of_its_source():
    inputs, targets = MIXTURE.batch(3, 64)
    kinds = torch.from_numpy(MIXTURE.kinds(3, 64))
    text = TEXT.batch(3, 64)
    assert torch.equal(inputs[kinds == 0], text[0][kinds == 0])
    assert torch.equal(targets[kinds == 0], text[1][kinds == 0])
    for number, name in enumerate(("needles", "other", "same"), start=1):
        mine = kinds == number
        task, first = MIXTURE.parts[name].task, FIRST.get(name, 0)
        made = task.batch(3, int(mine.sum()))
        assert torch.equal(inputs[mine], made[0] + first)
        counted = targets[mine] != -100
        assert torch.equal(counted, made[1] != -100)
        assert torch.equal(targets[mine][counted], made[1][counted] + first)
    assert MIXTURE.vocab_size == 50 + 16 + 10


def test_the_shares_are_kept():
    kinds = np.stack([MIXTURE.kinds(i, 100) for i in range(100)])
    shares = np.bincount(kinds.ravel(), minlength=4) / kinds.size
    assert shares == pytest.approx([0.45, 0.25, 0.2, 0.1], abs=0.02)
    assert len({tuple(r.tolist()) for r in kinds}) > 90


@pytest.mark.parametrize("count", [1, 8])
def test_a_process_gets_its_share_of_the_same_batch(count):
    whole = MIXTURE.batch(5, 32)
    parts = [
        MIXTURE.batch(5, 32, "train", slice(i, i + count))
        for i in range(0, 32, count)
    ]
    for a, *b in zip(whole, *parts, strict=True):
        assert torch.equal(a, torch.cat(b))


def test_what_the_text_holds_stays_as_it_is():
    whole = Held()
    mixture = Mixture(whole, needles=Part(NEEDLES, 0.9))
    before = whole.rows.clone()
    mixture.batch(0, 4)
    assert torch.equal(whole.rows, before)


class Held:
    """A source that hands out views of one tensor."""

    vocab_size = 50
    rows = torch.arange(4 * 17).view(4, 17) % 50

    def batch(self, step, batch_size, split="train", rows=slice(None)):
        return self.rows[rows, :-1], self.rows[rows, 1:]


def test_a_part_alone_has_the_mixtures_ids():
    inputs, targets = MIXTURE.sources["other"].batch(0, 4, "valid")
    task, answers = OTHER.batch(0, 4, "valid")
    assert torch.equal(inputs, task + 66)
    assert set(targets[targets != -100].tolist()) == {
        x + 66 for x in answers[answers != -100].tolist()
    }
    assert MIXTURE.sources["text"] is TEXT
    assert MIXTURE.sources["same"] is SAME


def test_which_rows_depends_on_seed_and_step_alone():
    parts = MIXTURE.parts
    first, second = (Mixture(TEXT, seed=s, **parts) for s in (0, 1))
    assert (first.kinds(0, 64) != second.kinds(0, 64)).any()
    assert (first.kinds(0, 64) == MIXTURE.kinds(0, 64)).all()
    valid = [m.kinds(0, 64, "valid") for m in (first, second)]
    assert (valid[0] == valid[1]).all()
    assert (valid[0] != first.kinds(0, 64)).any()


def test_which_rows_tells_nothing_of_what_is_in_them():
    draws = NEEDLES.sample(0, 64).inputs[:, 0].float()
    chosen = torch.from_numpy(MIXTURE.kinds(0, 64) == 1).float()
    assert torch.corrcoef(torch.stack([draws, chosen]))[0, 1].abs() < 0.4


def test_what_makes_it_itself():
    said = MIXTURE.describe()
    assert said["shares"] == {"needles": 0.25, "other": 0.2, "same": 0.1}
    assert said["text"] == TEXT.describe() and said["same"] == SAME.describe()
    assert said["other"] == OTHER.describe() | {"first": 66}


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_a_bad_share_is_named(share):
    with pytest.raises(ValueError, match=f"needles: got share {share}"):
        Mixture(TEXT, needles=Part(NEEDLES, share))


def test_bad_parts_are_named():
    half = Part(NEEDLES, 0.5)
    with pytest.raises(ValueError, match="parts: got shares of 1 together"):
        Mixture(TEXT, one=half, two=half)
    with pytest.raises(ValueError, match="parts: got shares of 0 together"):
        Mixture(TEXT)
    with pytest.raises(ValueError, match="one: got 16 token ids, expected 50"):
        Mixture(TEXT, one=Part(NEEDLES, 0.5, own_ids=False))


def test_rows_of_another_length_are_named():
    other = NeedleTask(length=15, keys=4, values=4, noise=8)
    mixture = Mixture(TEXT, needles=Part(other, 0.9))
    with pytest.raises(
        ValueError, match="needles: got rows of 15 tokens, expected 16"
    ):
        mixture.batch(0, 8)
