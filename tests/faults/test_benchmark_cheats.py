"""A benchmark is not cheated, even by accident: each cheat is refused by name.

The public catalogues of cheats are of gpu-mode/pygpubench#7 and
ScalingIntelligence/KernelBench#82: changed inputs, kept results, results that
are never written and so found in freed memory, NaN, another call's inputs.
"""

import json
from dataclasses import replace

import pytest
import torch

from minidiff.bench import attention, decode, train
from minidiff.bench.decode_peers import peers as decode_peers
from minidiff.bench.inputs import Shape, Step
from minidiff.bench.peers import peers, plain
from minidiff.bench.poison import poisoned
from minidiff.bench.record import Run
from minidiff.bench.train_peers import Size
from minidiff.bench.train_peers import peers as train_peers
from minidiff.nn.attention import MultiheadDiffAttention

CPU = torch.device("cpu")
SHAPE = Shape(B=2, H=2, T=9, D=4)
STEP = Step(B=3, H=2, S=9, D=4)
SIZE = Size(B=2, T=8, E=32, L=2, heads=4, vocab_size=16)


class Cheat:
    """Right in its first call; ``calls`` counts them."""

    def __init__(self, attend):
        self.attend, self.calls, self.kept = attend, 0, None

    def __call__(self, q, k, v):
        self.calls += 1
        return self.cheat(q, k, v)


class ChangesItsInputs(Cheat):
    """Scales the queries where they lie, and puts them back: almost."""

    says = "changed its input q"

    def cheat(self, q, k, v):
        out = self.attend(q, k, v)
        with torch.no_grad():
            q.mul_(1 / 3).mul_(3)
        return out


class ChangesItsInputsLater(ChangesItsInputs):
    """Is careful as long as it is checked: in the rounds it is not."""

    def cheat(self, q, k, v):
        out = self.attend(q, k, v)
        if self.calls == 6:
            with torch.no_grad():
                q.zero_()
        return out


class ZeroesTheValues(Cheat):
    """A truth that is computed from the same memory agrees: 0 is 0."""

    says = "changed its input v"

    def cheat(self, q, k, v):
        with torch.no_grad():
            v.zero_()
        return self.attend(q, k, v)


class KeepsItsFirstResult(Cheat):
    says = "with new inputs"

    def cheat(self, q, k, v):
        if self.kept is None or torch.is_grad_enabled():
            self.kept = self.attend(q, k, v)
        return self.kept.clone()


class KeepsResultsByAddress(Cheat):
    """New tensors are noticed, new numbers in the old ones are not."""

    says = "with new numbers in its inputs"

    def cheat(self, q, k, v):
        self.kept = self.kept or {}
        where = q.data_ptr()
        if torch.is_grad_enabled() or where not in self.kept:
            self.kept[where] = self.attend(q, k, v)
        return self.kept[where].clone()


class KeepsAViewOfItsInputs(Cheat):
    """As a graph that was captured once: it reads the old addresses."""

    says = "with new inputs"

    def cheat(self, q, k, v):
        if self.kept is None or torch.is_grad_enabled():
            self.kept = q[:], k[:], v[:]
        return self.attend(*self.kept)


class WritesNothing(Cheat):
    says = "never written"

    def cheat(self, q, k, v):
        return torch.empty_like(v) + 0 * (q.sum() + k.sum() + v.sum())


class WritesAllButTheEnd(Cheat):
    """The tail lies behind the prefix that is compared."""

    says = "never written"

    def cheat(self, q, k, v):
        out = torch.empty_like(v)
        n = v.shape[-2] - 1
        out[..., :n, :] = self.attend(q, k, v)[..., :n, :]
        return out


class ReturnsNan(Cheat):
    says = "NaN"

    def cheat(self, q, k, v):
        return self.attend(q, k, v) * float("nan")


class ReturnsItsInput(Cheat):
    says = "lies in the memory of its input v"

    def cheat(self, q, k, v):
        return v[:]


class WrongGradient(Cheat):
    says = "of a gradient"

    def cheat(self, q, k, v):
        return self.attend(q, k.detach(), v) + 0 * k.sum()


class GradientOfNan(Cheat):
    says = "gradients: the result has NaN"

    def cheat(self, q, k, v):
        out = self.attend(q, k, v)
        # 0 / 0 in the gradient of v, nothing in the result.
        return out + (0 * v).sqrt()


EVERYWHERE = [
    ChangesItsInputs,
    ZeroesTheValues,
    KeepsItsFirstResult,
    KeepsResultsByAddress,
    KeepsAViewOfItsInputs,
    WritesNothing,
    ReturnsNan,
    ReturnsItsInput,
]
TRAINED = [
    ChangesItsInputsLater,
    WritesAllButTheEnd,
    WrongGradient,
    GradientOfNan,
]


def named(cheat):
    return f"plain/{cheat.__name__}"


@pytest.mark.parametrize("cheat", EVERYWHERE + TRAINED)
@pytest.mark.parametrize("T", [9, 270])  # within the prefix, and beyond
def test_attention_refuses(cheat, T, monkeypatch):
    def some(shape, device):
        first = next(iter(peers(shape, device)))
        yield replace(first, name=named(cheat), attend=cheat(plain))

    monkeypatch.setattr(attention, "peers", some)
    with pytest.raises(ArithmeticError, match=f"{named(cheat)}.*{cheat.says}"):
        list(attention.measure(SHAPE._replace(T=T), CPU, torch.float32, 3))


@pytest.mark.parametrize("cheat", EVERYWHERE)
def test_decode_refuses(cheat, monkeypatch):
    def some(device):
        first = next(iter(decode_peers(device)))
        if cheat is WritesNothing:  # a result has one query, v all keys
            yield replace(
                first,
                name=named(cheat),
                attend=lambda q, k, v: torch.empty_like(q),
            )
            return
        yield replace(first, name=named(cheat), attend=cheat(plain))

    monkeypatch.setattr(decode, "peers", some)
    with pytest.raises(ArithmeticError, match=f"{named(cheat)}.*{cheat.says}"):
        list(decode.measure(STEP, CPU, torch.float32, 3))


def kept_result(monkeypatch):
    real, kept = MultiheadDiffAttention.forward, {}

    def forward(self, x, *rest, **options):
        out = real(self, x, *rest, **options)
        first = kept.setdefault(id(self), out.detach())
        return out + (first - out.detach())

    monkeypatch.setattr(MultiheadDiffAttention, "forward", forward)


def nan_result(monkeypatch):
    real = MultiheadDiffAttention.forward

    def forward(self, *given, **options):
        return real(self, *given, **options) * float("nan")

    monkeypatch.setattr(MultiheadDiffAttention, "forward", forward)


def changed_tokens(monkeypatch):
    real = train.Updates.__call__

    def call(self, data, step):
        record = real(self, data, step)
        data.batch(0, SIZE.B)[0][0, 0] += 1
        return record

    monkeypatch.setattr(train.Updates, "__call__", call)


@pytest.mark.parametrize(
    ("cheat", "says"),
    [
        (kept_result, "with new tokens, expected"),
        (nan_result, "not finite|nan"),
        (changed_tokens, "changed its tokens"),
    ],
)
def test_training_refuses(cheat, says, monkeypatch):
    honest = train._reference

    def reference(*given):
        with monkeypatch.context() as undone:
            undone.setattr(MultiheadDiffAttention, "forward", right)
            undone.setattr(train.Updates, "__call__", update)
            return honest(*given)

    def some(device):
        yield replace(list(train_peers(device))[1], name="diff/cheat")

    right, update = MultiheadDiffAttention.forward, train.Updates.__call__
    monkeypatch.setattr(train, "_reference", reference)
    monkeypatch.setattr(train, "peers", some)
    # A model that has learnt nothing loses much the same on any tokens.
    monkeypatch.setattr(train, "TOLERANCE", {"loss": 1e-4, "grad_norm": 1e-3})
    list(train.measure(SIZE, CPU, torch.float32, 1))  # honest: no complaint
    cheat(monkeypatch)
    with pytest.raises(ArithmeticError, match=f"diff/cheat.*({says})"):
        list(train.measure(SIZE, CPU, torch.float32, 1))


def test_an_honest_peer_is_measured():
    rows = list(attention.measure(SHAPE, CPU, torch.float32, 1))
    assert all(r["train_ms"] > 0 and r["gradient_error"] < 1e-4 for r in rows)


def test_memory_is_poisoned_and_only_inside():
    with poisoned(CPU):
        assert torch.empty(5).isnan().all()
        assert torch.empty(5, dtype=torch.bfloat16).isnan().all()
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_cheats_times_are_not_kept(monkeypatch, tmp_path):
    def some(shape, device):
        first = next(iter(peers(shape, device)))
        yield first
        if shape.T == 12:
            cheat = KeepsItsFirstResult(plain)
            yield replace(first, name="plain/cheat", attend=cheat)

    monkeypatch.setattr(attention, "peers", some)
    out = tmp_path / "record.json"
    how = Run(device=CPU, dtype=torch.float32, rounds=1, command="", out=out)
    with pytest.raises(ArithmeticError, match="plain/cheat"):
        attention.run([SHAPE, SHAPE._replace(T=12)], how)
    assert [row["T"] for row in json.loads(out.read_text())["rows"]] == [9]
