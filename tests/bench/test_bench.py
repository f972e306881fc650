"""The benchmark's record: who, how long, and that everybody was right."""

import json
from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend

from minidiff import cli
from minidiff.bench import attention, report, timing, variants
from minidiff.bench.accuracy import exact, relative_error
from minidiff.bench.inputs import Shape, inputs
from minidiff.bench.peers import held_to, padded, peers, plain
from minidiff.bench.record import Run
from minidiff.training.compile import own_code

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
    torch.testing.assert_close(got, exact(peer.kind, given).to(got))


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
        assert row["forward_ms"] > 0 and row["train_ms"] > 0
        assert row["relative_error"] < 1e-4
    plain = [r for r in record["rows"] if r["kind"] == "plain"]
    assert [r["forward_ratio"] for r in plain] == [1.0, 1.0]
    assert "diff/naive" in capsys.readouterr().out


def test_what_cannot_run_is_recorded_and_the_rest_goes_on(monkeypatch):
    def broken(q, k, v):
        raise RuntimeError("no kernel for this\nlong story")

    def speechless(q, k, v):
        raise NotImplementedError

    def refuse(gradient):
        raise RuntimeError("no backward")

    def forward_only(q, k, v):
        out = plain(q, k, v)
        if out.requires_grad:
            out.register_hook(refuse)
        return out

    def some(shape, device):
        first = next(iter(peers(shape, device)))
        yield first
        yield replace(first, name="plain/broken", attend=broken)
        yield replace(first, name="plain/speechless", attend=speechless)
        yield replace(first, name="plain/forward", attend=forward_only)

    monkeypatch.setattr(attention, "peers", some)
    rows = list(attention.measure(SHAPE, CPU, torch.float32, 1))
    assert rows[0]["train_ms"] > 0
    assert rows[1]["forward_error"] == "no kernel for this"
    assert "forward_ms" not in rows[1] and "train_ms" not in rows[1]
    assert rows[2]["forward_error"] == "NotImplementedError()"
    assert rows[3]["forward_ms"] > 0 and rows[3]["relative_error"] < 1e-4
    assert rows[3]["train_error"] == "no backward"
    lines = attention.table(rows).splitlines()
    assert lines[2].startswith("plain/sdpa")  # it alone has a training time
    at = next(i for i, x in enumerate(lines) if x.startswith("plain/broken"))
    assert lines[at + 1] == "  no kernel for this"


def test_ratios_are_to_the_faster_plain(monkeypatch):
    given = {"plain/a": 4.0, "plain/b": 2.0, "diff/c": 3.0}

    def some(shape, device):
        first = next(iter(peers(shape, device)))
        for name in given:
            yield replace(first, name=name)

    monkeypatch.setattr(attention, "peers", some)
    monkeypatch.setattr(report, "by_round", lambda *rest: [given])
    got = list(attention.measure(SHAPE, CPU, torch.float32, 1))
    for way in ("forward", "train"):
        assert [row[f"{way}_ms"] for row in got] == [4, 2, 3]
        assert [row[f"{way}_ratio"] for row in got] == [2, 1, 1.5]


def test_what_was_measured_is_kept_if_the_run_stops(monkeypatch, tmp_path):
    def measure(shape, *rest):
        if shape.T == 16:
            raise KeyboardInterrupt
        return [{"peer": "plain/a", **shape._asdict()}]

    monkeypatch.setattr(attention, "measure", measure)
    out = tmp_path / "record.json"
    with pytest.raises(KeyboardInterrupt):
        attention.run(
            [SHAPE, SHAPE._replace(T=16)],
            Run(
                device=CPU, dtype=torch.float32, rounds=1, command="", out=out
            ),
        )
    assert [row["T"] for row in json.loads(out.read_text())["rows"]] == [9]


def test_the_rounds_so_far_are_kept_on_ctrl_c(monkeypatch, tmp_path, capsys):
    calls = []

    def clock(function):
        calls.append(1)
        if len(calls) == 6:  # in the third round of two peers
            raise KeyboardInterrupt
        function()
        return 7.0

    def some(shape, device):
        first = next(iter(peers(shape, device)))
        yield replace(first, name="plain/a")
        yield replace(first, name="plain/b")

    monkeypatch.setattr(timing, "_cpu", clock)
    monkeypatch.setattr(attention, "peers", some)
    out = tmp_path / "record.json"
    how = Run(device=CPU, dtype=torch.float32, rounds=9, command="", out=out)
    with pytest.raises(KeyboardInterrupt):
        attention.run([SHAPE, SHAPE], how)
    record = json.loads(out.read_text())
    assert record["stopped"] is True
    assert [row["forward_ms"] for row in record["rows"]] == [7.0, 7.0]
    assert not any("train_ms" in row for row in record["rows"])
    lines = capsys.readouterr().out.rstrip().splitlines()
    ready, first = lines[0], lines[-2]
    assert ready.split()[:4] == ["plain/a", "right,", "relative", "error"]
    assert first.split()[:2] == ["plain/a", "1.00"]


def test_a_row_is_printed_and_kept_as_soon_as_its_peer_is_ready(tmp_path):
    out, seen = tmp_path / "record.json", []

    def measure(shape, *rest):
        yield {"peer": "plain/a", "relative_error": 1e-7}
        seen.append(len(json.loads(out.read_text())["rows"]))
        seen.append(said[-1].split())
        yield {"peer": "plain/b", "forward_error": "no kernel for this"}

    said = []
    how = Run(
        device=CPU,
        dtype=torch.float32,
        rounds=1,
        command="",
        out=out,
        say=said.append,
    )
    how.record([SHAPE], measure, lambda rows: "table", what="")
    assert seen == [1, ["plain/a", "right,", "relative", "error", "1.0e-07"]]
    assert said[1:] == [f"  {'plain/b':20s} no kernel for this", "table"]


def test_padding_changes_nothing():
    q, k, v, lam, _ = inputs("diff", SHAPE, CPU, torch.float64)
    want = variants.two_calls(q, k, v, lam)
    got = padded(q, k, v, lam, variants.subtract)
    torch.testing.assert_close(got, want)


def test_a_peer_is_held_to_one_kernel():
    def allowed():
        cuda = torch.backends.cuda
        return cuda.math_sdp_enabled(), cuda.flash_sdp_enabled()

    assert held_to(SDPBackend.MATH, allowed)() == (True, False)
    assert held_to(SDPBackend.FLASH_ATTENTION, allowed)() == (False, True)
    assert held_to(None, allowed)() == allowed()


def test_a_wrong_peer_is_no_peer(monkeypatch, capsys):
    def some(shape, device):
        plain = next(iter(peers(shape, device)))
        yield replace(plain, attend=lambda q, k, v: v.cumsum(-2))

    monkeypatch.setattr(attention, "peers", some)
    with pytest.raises(ArithmeticError, match="plain/sdpa: relative error"):
        list(attention.measure(SHAPE, CPU, torch.float32, 1))
    small = ["--tokens", "16", "--length", "8", "--width", "4"]
    given = ["bench", "attention", "--device", "cpu", *small]
    assert cli.main(given) == 2
    assert "plain/sdpa: relative error" in capsys.readouterr().err


def test_a_prefix_judges_long_rows():
    shape = SHAPE._replace(T=300)
    for peer in peers(shape, CPU):
        given = inputs(peer.kind, shape, CPU, torch.float32)
        assert relative_error(peer, given, torch.float32) < 1e-5


def test_peers_of_a_kind_share_their_inputs(monkeypatch):
    kinds = []

    def draw(kind, *rest):
        kinds.append(kind)
        return inputs(kind, *rest)

    monkeypatch.setattr(attention, "inputs", draw)
    list(attention.measure(SHAPE, CPU, torch.float32, 1))
    # Once before the timing and once after it, for all peers of a kind.
    assert sorted(kinds) == sorted(2 * ["base", "diff", "plain", "v2"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--length 100", "--tokens: got 1024, expected a multiple of 100"),
        ("--width 12", "--hidden: got 128, expected a multiple of 24, 2 tim"),
        ("--rounds 0", "--rounds: got 0, expected 1 or more"),
        ("--width 0", "--width: got 0, expected 1 or more"),
        ("--length 128 0", "--length: got 0, expected 1 or more"),
        ("--tokens 0", "--tokens: got 0, expected a multiple of 128"),
        ("--hidden 0", "--hidden: got 0, expected a multiple of 32"),
        ("--device meta", "--device: got 'meta', expected cpu or cuda"),
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
