"""The benchmark's record: who, how long, and that everybody was right."""

import json
from dataclasses import replace

import pytest
import torch

from minidiff import cli
from minidiff.bench import attention, timing
from minidiff.bench.peers import Shape, inputs, own_code, peers

CPU = torch.device("cpu")
SHAPE = Shape(B=2, H=2, T=9, D=4)


def test_functions_take_turns_and_the_median_counts(monkeypatch):
    calls = []
    clocks = iter([5.0, 9.0, 1.0, 7.0, 2.0, 8.0])

    def clock(function):
        function()
        return next(clocks)

    monkeypatch.setattr(timing, "_cpu", clock)
    functions = {
        "a": lambda: calls.append("a"),
        "b": lambda: calls.append("b"),
    }
    times = timing.alternate(functions, CPU, rounds=3)
    assert calls == ["a", "b"] * 4  # once to warm up
    assert times == {"a": 2.0, "b": 8.0}


@pytest.mark.parametrize("peer", list(peers(SHAPE, CPU)), ids=lambda p: p.name)
def test_every_peer_is_right_in_float64(peer):
    given = inputs(peer.kind, SHAPE, CPU, torch.float64)
    got = peer.attend(*given)
    torch.testing.assert_close(got, attention.exact(peer.kind, given).to(got))


def test_sizes_of_the_kinds_match():
    def entries(kind):
        q, k, v = inputs(kind, SHAPE, CPU, torch.float32)[:3]
        return q.numel(), k.numel(), v.numel()

    assert entries("plain") == entries("base") == entries("diff")
    assert entries("v2") == (2 * 2 * 2 * 9 * 8, *entries("diff")[1:])


def test_the_record(tmp_path, capsys):
    out = tmp_path / "new" / "record.json"
    arguments = "bench attention --device cpu --rounds 1 --tokens 16"
    arguments += f" --length 8 16 --width 4 --hidden 16 --out {out}"
    assert cli.main(arguments.split()) == 0
    record = json.loads(out.read_text())
    assert record["provenance"]["command"] == f"minidiff {arguments}"
    assert record["provenance"]["device"] == "cpu"
    assert {r["T"] for r in record["rows"]} == {8, 16}
    for row in record["rows"]:
        assert row["B"] * row["T"] == 16 and row["H"] * 2 * row["D"] == 16
        assert 0 < row["forward_ms"] < row["train_ms"] * 10
        assert row["relative_error"] < 1e-4
    plain = [r for r in record["rows"] if r["kind"] == "plain"]
    assert [r["forward_ratio"] for r in plain] == [1.0, 1.0]
    assert "diff/naive" in capsys.readouterr().out


def test_what_cannot_run_is_recorded_and_the_rest_goes_on(monkeypatch):
    def broken(q, k, v):
        raise RuntimeError("no kernel for this\nlong story")

    def some(shape, device):
        plain = next(iter(peers(shape, device)))
        yield plain
        yield replace(plain, name="plain/broken", attend=broken)

    monkeypatch.setattr(attention, "peers", some)
    rows = attention.measure(SHAPE, CPU, torch.float32, 1)
    assert rows[0]["train_ms"] > 0
    assert rows[1]["forward_error"] == "no kernel for this"
    assert "forward_ms" not in rows[1] and "train_ms" not in rows[1]
    assert "plain/broken" in attention.table(rows)


def test_a_wrong_peer_is_no_peer(monkeypatch):
    def some(shape, device):
        plain = next(iter(peers(shape, device)))
        yield replace(plain, attend=lambda q, k, v: v.cumsum(-2))

    monkeypatch.setattr(attention, "peers", some)
    with pytest.raises(ArithmeticError, match="plain/sdpa: relative error"):
        attention.measure(SHAPE, CPU, torch.float32, 1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--length 100", "--tokens: got 1024, expected a multiple of"),
        ("--width 100", "--hidden: got 128, expected a multiple of twice"),
        ("--rounds 0", "--rounds: got 0, expected 1 or more"),
        ("--width 0", "--hidden: got 128, expected"),
    ],
)
def test_bad_sizes_are_refused(options, says, capsys):
    given = ["bench", "attention", "--device", "cpu", *options.split()]
    assert cli.main(given) == 2
    assert says in capsys.readouterr().err


def test_copies_share_no_compiled_code():
    def f(x):
        return x + 1

    g = own_code(f)
    assert g(1) == 2
    assert g.__code__ is not f.__code__
