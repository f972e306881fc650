import pytest
import torch

from minidiff.data import Mixture, NeedleTask, TextData

TEXT = TextData(
    torch.arange(500) % 50, torch.arange(90) % 50, vocab_size=50, length=16
)
NEEDLES = NeedleTask(questions=2, length=16, keys=4, values=4, noise=8)
MIXTURE = Mixture(TEXT, NEEDLES, share=0.25)


def test_rows_are_the_texts_or_the_tasks():
    inputs, targets = MIXTURE.batch(3, 64)
    chosen = MIXTURE.is_needle(3, 64, "train")
    text, task = TEXT.batch(3, 64), NEEDLES.batch(3, 64)
    assert torch.equal(inputs[~chosen], text[0][~chosen])
    assert torch.equal(targets[~chosen], text[1][~chosen])
    assert torch.equal(inputs[chosen], task[0][chosen] + 50)
    counted = targets[chosen] != -100
    assert torch.equal(counted, task[1][chosen] != -100)
    assert torch.equal(targets[chosen][counted], task[1][chosen][counted] + 50)
    assert MIXTURE.vocab_size == 50 + 16


def test_the_share_is_kept():
    rows = [MIXTURE.is_needle(i, 100, "train") for i in range(100)]
    share = torch.cat(rows).float().mean().item()
    assert share == pytest.approx(0.25, abs=0.02)
    assert len({tuple(r.tolist()) for r in rows}) > 90


def test_a_process_gets_its_share_of_the_same_batch():
    whole = MIXTURE.batch(5, 8)
    parts = [MIXTURE.batch(5, 8, "train", slice(i, i + 4)) for i in (0, 4)]
    for a, *b in zip(whole, *parts, strict=True):
        assert torch.equal(a, torch.cat(b))


def test_recall_alone():
    inputs, targets = MIXTURE.recall.batch(0, 4, "valid")
    task, answers = NEEDLES.batch(0, 4, "valid")
    assert torch.equal(inputs, task + 50)
    assert set(targets[targets != -100].tolist()) == {
        x + 50 for x in answers[answers != -100].tolist()
    }
    assert MIXTURE.recall.vocab_size == MIXTURE.vocab_size


def test_which_rows_tells_nothing_of_what_is_in_them():
    draws = NEEDLES.sample(0, 64).inputs[:, 0].float()
    chosen = MIXTURE.is_needle(0, 64, "train").float()
    assert torch.corrcoef(torch.stack([draws, chosen]))[0, 1].abs() < 0.4


def test_what_makes_it_itself():
    said = MIXTURE.describe()
    assert said["text"] == TEXT.describe() and said["share"] == 0.25
    assert said["needles"] == NEEDLES.describe()


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_a_bad_share_is_named(share):
    with pytest.raises(ValueError, match=f"share: got {share}"):
        Mixture(TEXT, NEEDLES, share=share)


def test_rows_of_another_length_are_named():
    other = NeedleTask(length=15, keys=4, values=4, noise=8)
    with pytest.raises(ValueError, match="got rows of 15 tokens, expected 16"):
        Mixture(TEXT, other, share=0.5).batch(0, 2)
