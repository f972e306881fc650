"""Sources that change with the step."""

import pytest
import torch

from minidiff.data import Curriculum, LongRows, NeedleTask

EASY, HARD = (NeedleTask(needles=n, length=16, questions=2) for n in (1, 3))
LESSONS = Curriculum([(0, EASY), (3, HARD)])
LONG = NeedleTask(length=64, noise=16)
ROWS = LongRows(EASY, LONG, times=4, every=5)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_curriculum_goes_on_to_the_next_stage():
    for step, task in ((0, EASY), (2, EASY), (3, HARD), (99, HARD)):
        assert same(LESSONS.batch(step, 4), task.batch(step, 4))
    rows = slice(1, 3)
    got = LESSONS.batch(0, 4, "train", rows)
    assert same(got, EASY.batch(0, 4, "train", rows))


def test_a_curriculum_validates_on_its_end():
    assert same(LESSONS.batch(0, 4, "valid"), HARD.batch(0, 4, "valid"))


def test_every_fifth_step_is_long_and_has_as_many_tokens():
    shapes = [tuple(ROWS.batch(i, 8)[0].shape) for i in range(10)]
    assert shapes == ([(8, 16)] * 4 + [(2, 64)]) * 2
    assert same(ROWS.batch(4, 8), LONG.batch(4, 2))
    assert same(ROWS.batch(3, 8), EASY.batch(3, 8))
    assert same(ROWS.batch(4, 8, "valid"), EASY.batch(4, 8, "valid"))


def test_processes_share_a_long_batch():
    whole = ROWS.batch(4, 8)
    halves = [ROWS.batch(4, 8, "train", slice(i, i + 4)) for i in (0, 4)]
    assert same(whole, map(torch.cat, zip(*halves, strict=True)))


def test_what_makes_them_themselves():
    assert LESSONS.describe()["stages"] == [
        [0, EASY.describe()],
        [3, HARD.describe()],
    ]
    said = ROWS.describe()
    assert (said["short"], said["long"]) == (EASY.describe(), LONG.describe())
    assert (said["times"], said["every"]) == (4, 5)
    assert ROWS.vocab_size == EASY.vocab_size == LESSONS.vocab_size


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], r"stages: got first steps \[\]"),
        ([(1, EASY)], r"stages: got first steps \[1\]"),
        ([(0, EASY), (0, HARD)], r"stages: got first steps \[0, 0\]"),
        ([(0, EASY), (2, LONG)], "from step 2 has 144 token ids"),
    ],
)
def test_bad_stages_are_named(stages, message):
    with pytest.raises(ValueError, match=message):
        Curriculum(stages)


@pytest.mark.parametrize("name", ["times", "every"])
def test_bad_numbers_are_named(name):
    with pytest.raises(ValueError, match=f"{name}: got 1, expected 2 or more"):
        LongRows(EASY, LONG, **({"times": 4, "every": 5} | {name: 1}))
    with pytest.raises(ValueError, match="long: got 256 token ids"):
        LongRows(LONG, EASY, times=4, every=5)


def test_rows_that_cannot_be_put_together_are_named():
    with pytest.raises(ValueError, match="batch_size: got 6, expected a mul"):
        ROWS.batch(4, 6)
    with pytest.raises(ValueError, match="rows: got 2, expected a multiple"):
        ROWS.batch(4, 8, "train", slice(2, 8))
