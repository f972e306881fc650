"""The recipe of the pool and of the shipped pair, tried whole and tiny."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from committed import ROOT

import minidiff
from minidiff.data import BPETokenizer, NeedleTask, write_tokens
from minidiff.data.document_list import Piece
from minidiff.nn.config import count_parameters
from minidiff.nn.kinds import KINDS, six_kinds

RECIPES = ROOT / "book" / "recipes"
sys.path.insert(0, str(RECIPES))

import evidence_data  # noqa: E402
import jobs as recipe_jobs  # noqa: E402
import pool  # noqa: E402
import pool_measures  # noqa: E402
import shot_measures  # noqa: E402


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    texts = [
        Piece("train", "def f(x): return x\n" * 900, "code", "f.py"),
        Piece("valid", "x = 1\n" * 900, "code", "x.py"),
    ]
    tokenizer = BPETokenizer.train((piece.text for piece in texts), 300)
    folder = tmp_path_factory.mktemp("pool") / "tokens"
    write_tokens(folder, texts, tokenizer, about={"packages": ["texts"]})
    return folder


@pytest.fixture(scope="module")
def data(tokens):
    return evidence_data.evidence_data(
        tokens,
        None,
        evidence_data.QUICK,
        steps=100,
        seed=0,
        stages="few first",
    )


@pytest.fixture(scope="module")
def lookup(tokens, tmp_path_factory):
    """The path of a record of the curricula, after a few steps each."""
    out = tmp_path_factory.mktemp("lookup") / "lookup.json"
    recipe("lookup", "--quick", "--tokens", tokens, "--out", out)
    return out


def recipe(*arguments):
    command = [sys.executable, str(RECIPES / "pool.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_kind_is_trained_measured_and_saved(tokens, tmp_path):
    given = ["--quick", "--tokens", tokens, "--weights", tmp_path / "weights"]
    pilot = ROOT / "book" / "results" / "text_pilot.json"
    main, longer = tmp_path / "main.json", tmp_path / "longer.json"
    recipe("main", *given, "--out", main, "--pilot", pilot)
    pool.weight_path(tmp_path / "weights", "plain", 1).unlink()
    recipe("extend", *given, "--out", longer, "--pilot", pilot)
    rows = recipe_jobs.rows(json.loads(main.read_text()))
    found = {(row["kind"], row["seed"]) for row in rows}
    assert found == {(kind, seed) for kind in KINDS for seed in range(2)}
    saved = {path.name for path in (tmp_path / "weights").iterdir()}
    assert saved == {pool.weight_path(tmp_path, *row).name for row in found}
    assert len(saved) == 12
    for row in rows:
        assert set(row["parts"]) == {
            "text",
            "needles",
            "few_shot",
            "facts",
            "languages",
        }
        for part in row["parts"].values():
            assert len(part["loss"]) == len(row["steps"]) == 2
        assert row["valid_loss"] == pytest.approx(
            row["parts"]["text"]["loss"][-1], abs=1e-4
        )
        assert set(row["needles"]) == {
            "N=1 R=1",
            "N=2 R=2",
            "N=4 R=2",
            "N=6 R=2",
        }
        for name in ("orders", "language_orders"):
            assert set(row[name]) == {"random", "alternating"}
            for found in row[name].values():
                assert len(found["by_set"]) == 1
        assert len(row["shots"]["few_shot"]["accuracy"]) == 24
        assert len(row["shots"]["languages"]["accuracy"]) == 4
        assert row["activations"]["tokens"] == 2 * 384
        assert set(row["rounding"]) == {
            "exact",
            "16 bits",
            "8 bits",
            "6 bits",
            "4 bits",
            "3 bits",
        }
    rows = recipe_jobs.rows(json.loads(longer.read_text()))
    assert [(row["kind"], row["seed"]) for row in rows] == [
        (kind, seed) for kind in ("diff", "plain", "wide") for seed in range(2)
    ]
    for row in rows:
        assert set(row["long"]["needles"]) == {"256", "1024"}
        assert row["long"]["text"]["by_position"][-1]["last"] == 1023


@pytest.mark.slow
def test_the_pair_leaves_its_weights(tokens, lookup, tmp_path):
    found = recipe_jobs.rows(json.loads(lookup.read_text()))
    assert {(row["kind"], row["curriculum"]) for row in found} == {
        (kind, stages)
        for kind in ("plain", "diff")
        for stages in evidence_data.CANDIDATES
    }
    weights = tmp_path / "weights"
    given = ["--quick", "--tokens", tokens, "--weights", weights]
    out = tmp_path / "pair.json"
    said = recipe("pair", *given, "--out", out)
    # After ten steps nothing is looked up, so nothing is shipped.
    assert "shipped seed: None" in said
    assert not (weights / "shipped").exists()
    pool.ship(1, weights, tokens)
    shipped = sorted(p.name for p in (weights / "shipped").iterdir())
    assert shipped == [
        "pair_diff.safetensors",
        "pair_licences.json",
        "pair_softmax.safetensors",
        "pair_tokenizer.json",
    ]
    model = minidiff.load(weights / "shipped" / "pair_diff.safetensors")
    same = minidiff.load(weights / "diff_seed1.safetensors")
    assert model.config.attention == "diff"
    ids = torch.arange(8)[None]
    assert torch.equal(model(ids), same(ids))
    licences = (weights / "shipped" / "pair_licences.json").read_text()
    assert json.loads(licences) == {"packages": ["texts"]}


def pair_record(*lookup):
    """A record of the pair: the accuracies of (plain, diff) by seed."""
    return {
        "jobs": [
            {
                "job": {"kind": kind},
                "rows": [
                    {"seed": seed, "lookup": both[i]}
                    for seed, both in enumerate(lookup)
                ],
            }
            for i, kind in enumerate(("plain", "diff"))
        ]
    }


@pytest.mark.parametrize(
    ("lookup", "seed"),
    [
        ([(1, 1), (1, 1)], 0),
        ([(0.5, 1), (0.9, 0.9)], 1),
        ([(1, 0.89), (0.1, 1), (1, 1)], 2),
        ([(1, 0), (0, 1)], None),
    ],
)
def test_shipped_is_the_first_seed_at_which_both_look_up(lookup, seed):
    assert pool.shipped_seed(pair_record(*lookup)) == seed


PILOT = {  # the best rate of each kind is its number
    "jobs": [
        {
            "job": {"kind": kind},
            "rows": [{"rate": i, "valid_loss": abs(i - best)}
                     for i in range(len(KINDS))],
        }
        for best, kind in enumerate(KINDS)
    ]
}  # fmt: skip


def test_sizes_are_what_is_said_of_them(data):
    rows = evidence_data.FULL
    own = rows.needles.vocab_size + rows.few_shot.vocab_size
    assert rows.few_shot.length == rows.needles.length == rows.length == 512
    for new_job, text, low, high in (
        (pool.lookup_jobs()[0], 2048, 3.5e6, 4e6),
        (pool.main_jobs(PILOT)[0], 4096, 14.5e6, 15.5e6),
        (pool.pair_jobs()[0], 2048, 3.5e6, pool.MOST_BYTES / 2 - 10_000),
    ):
        base = pool.base_config(new_job, text + own)
        assert base.max_length == 2048
        for config in six_kinds(base).values():
            assert low < count_parameters(config) < high
    tokens = pool.CONFIG.steps * pool.CONFIG.batch_size * rows.length
    assert tokens == pytest.approx(66e6, rel=0.01)


def test_the_main_run_takes_its_rates_from_the_pilot():
    jobs = pool.main_jobs(PILOT)
    assert [job["kind"] for job in jobs[:3]] == ["diff", "plain", "sum"]
    assert {job["kind"]: job["rates"] for job in jobs} == {
        kind: [best] for best, kind in enumerate(KINDS)
    }
    for job in jobs:
        assert job["seeds"] == [0, 1, 2, 3, 4]
    jobs = pool.extend_jobs(PILOT)
    assert [job["kind"] for job in jobs] == ["diff", "plain", "wide"]
    assert {tuple(job["seeds"]) for job in jobs} == {(0, 1, 2)}


def test_steps_are_of_all_parts_and_some_are_long(data):
    shapes = [tuple(data.batch(i, 2)[0].shape) for i in range(3)]
    assert shapes == [(2, 384), (2, 384), (1, 768)]
    inputs, _ = data.batch(0, 64)
    kinds = data.short.kinds(0, 64)
    assert set(kinds) == {0, 1, 2, 3, 4}
    highest, text = inputs.max(1).values, data.short.text.vocab_size
    assert (highest[(kinds == 0) | (kinds >= 3)] < text).all()
    assert (highest[kinds == 1] < text + 256).all()
    assert (highest[kinds == 2] >= text + 256).all()
    assert data.vocab_size == text + 256 + 192


def test_needles_grow_in_number(data):
    for source in (data.short, data.long):
        stages = source.sources["needles"].task.stages
        found = [(n, task.needles, task.questions) for n, task in stages]
        assert found == [(0, 2, 32), (20, 4, 24), (35, 8, 16)]
    assert data.long.vocab_size == data.long.text.vocab_size + 256


class Oracle(torch.nn.Module):
    """Stands for a model: says what follows in rows that it has seen."""

    def __init__(self, rows, vocab_size):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.rows, self.vocab_size = rows, vocab_size

    def forward(self, tokens, positions=None):
        logits = torch.zeros(*tokens.shape, self.vocab_size)
        for out, row in zip(logits, tokens, strict=True):
            for known in self.rows:
                n = min(len(row), len(known) - 1)
                same = (row[:n] == known[:n]).cumprod(0)
                places = same.nonzero()[:, 0]
                out[places, known[places + 1]] = 1
        return logits.take_along_dim(positions[..., None], dim=1)


def test_right_answers_are_counted_as_right(data, tokens):
    tokenizer = BPETokenizer.load(tokens / "tokenizer.json")
    rows = data.short.sources["facts"].sample(0, 2, "valid").inputs
    model = Oracle(rows, data.vocab_size)
    found = pool_measures.fact_sources(model, data.short, tokenizer, 2)
    assert found
    for of_kind in found.values():
        assert of_kind["right"] == 1
    nothing = Oracle(rows[:0], data.vocab_size)
    found = pool_measures.fact_sources(nothing, data.short, tokenizer, 2)
    for of_kind in found.values():
        assert of_kind["nowhere"] == 1


def test_needles_of_table_2_are_asked_once_each(data, monkeypatch):
    asked = []

    def look(model, source, *, batches, batch_size, parts):
        asked.append(source.task)
        return minidiff.training.validation.Validation(0.0, 0.5)

    monkeypatch.setattr(pool_measures, "validate", look)
    assert pool_measures.needle_accuracy(None, data.short, 6, 2, 4) == 0.5
    (task,) = asked
    assert task == NeedleTask(
        needles=6, questions=2, length=384, repeats=False
    )


class Learner(torch.nn.Module):
    """Stands for a model: says a class's label after two items of it."""

    def __init__(self, sample, first, vocab_size):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.sample, self.first = sample, first
        self.vocab_size = vocab_size

    def forward(self, tokens, positions):
        assert torch.equal(tokens, self.sample.inputs + self.first)
        assert torch.equal(positions[0], self.sample.places)
        said = torch.zeros(len(tokens), len(self.sample.places)).long()
        for b, classes in enumerate(self.sample.classes.tolist()):
            for i, c in enumerate(classes):
                if classes[:i].count(c) >= 2:
                    said[b, i] = self.first + self.sample.labels[b, c]
        return torch.nn.functional.one_hot(said, self.vocab_size).float()


@pytest.mark.parametrize("name", ["few_shot", "languages"])
def test_accuracy_is_grouped_by_earlier_items_of_the_class(data, name):
    source = data.short.sources[name]
    task, first = shot_measures.in_order(source, "random", 0)
    model = Learner(task.sample(0, 8, "valid"), first, data.vocab_size)
    found = shot_measures.shot_accuracy(model, source, 8)
    S, C = task.shots, task.classes
    assert found["accuracy"] == [0, 0] + [1] * (S - 1)
    assert found["labels"] == [8 * C] * S + [8 * task.questions]
    assert found["chance"] == 1 / C


class OrderBound(torch.nn.Module):
    """Stands for a model: always says the last demonstration's label."""

    def __init__(self, task, first, vocab_size):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.place = task.sample(0, 1).places[-task.questions - 1] + 1
        self.vocab_size = vocab_size

    def forward(self, tokens, positions):
        said = tokens[:, self.place, None].expand_as(positions)
        return torch.nn.functional.one_hot(said, self.vocab_size).float()


@pytest.mark.parametrize("name", ["few_shot", "languages"])
def test_answers_that_depend_on_the_order_are_found(data, name):
    source = data.short.sources[name]
    model = OrderBound(
        *shot_measures.in_order(source, "random", 0), data.vocab_size
    )
    found = shot_measures.order_spread(model, source, "random", 12, 64)
    assert found["changed"] > 0.95
    chance = 1 / source.classes if name == "languages" else 0.25
    assert found["mean"] == pytest.approx(chance, abs=0.08)
    assert found["worst"] < found["mean"] < found["best"]


@pytest.mark.parametrize("name", ["few_shot", "languages"])
def test_questions_of_a_set_see_the_same_demonstrations(data, name):
    source = data.short.sources[name]
    task, first = shot_measures.in_order(source, "random", 0)
    model = OrderBound(task, first, data.vocab_size)
    found = np.array(
        shot_measures.right_by_set(model, source, "random", 12, 64, 6)
    )
    assert found.shape == (64, 12)
    # It says the same to all questions of a row, the last label's class.
    asked, _ = shot_measures.in_order(source, "random", 3, 6)
    sample = asked.sample(0, 64, "valid")
    shown = asked.classes * asked.shots
    last = sample.classes[:, shown - 1 : shown]
    same = (sample.classes[:, shown:] == last).sum(1)
    assert found[:, 3].tolist() == same.tolist()
    # What best minus worst is for: it is large in a set, and over all sets
    # the orders cancel.
    within = found.max(1) - found.min(1)
    over_all = found.sum(0).max() - found.sum(0).min()
    assert within.mean() > 2 * over_all / 64


def test_fewer_bits_cost_something(data):
    torch.manual_seed(0)
    config = pool.base_config(pool.quick(pool.pair_jobs()[0]), data.vocab_size)
    model = minidiff.DecoderLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    found = pool_measures.rounding(model, data.short, 2)
    exact = found["exact"]["text_loss"]
    text = data.short.text
    plain = minidiff.training.validation.validate(
        model, text, batches=1, batch_size=2
    )
    assert exact == pytest.approx(plain.loss, abs=2e-4)
    wrong = {bits: abs(v["text_loss"] - exact) for bits, v in found.items()}
    assert wrong["16 bits"] <= 2e-4 < wrong["3 bits"]
    assert list(found) == ["exact", *(f"{b} bits" for b in (16, 8, 6, 4, 3))]
