"""The record of training whole models: who, how fast, how right."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from conftest import need
from torch.nn.attention import SDPBackend

from minidiff import cli
from minidiff.bench import report, train, train_peers
from minidiff.bench.train_peers import Rows, Size, peers
from minidiff.training.config import Compute

CPU = torch.device("cpu")
SIZE = Size(B=2, T=8, E=32, L=2, heads=4, vocab_size=16)


def test_the_record(tmp_path, capsys):
    out = tmp_path / "new" / "record.json"
    arguments = "bench train --device cpu --rounds 1 --tokens 16 --layers 1"
    arguments += " --vocab-size 16 --hidden 16 --width 4 --length 8 16"
    arguments += f" --out {out}"
    assert cli.main(arguments.split()) == 0
    record = json.loads(out.read_text())
    assert record["provenance"]["command"] == f"minidiff {arguments}"
    assert record["setting"]["dtype"] == "float32"
    assert record["setting"]["compiled"] is False
    assert [r["peer"] for r in record["rows"]] == 2 * [
        "plain/sdpa", "diff/sdpa", "v2/sdpa"
    ]  # fmt: skip
    for row in record["rows"]:
        assert (row["E"], row["L"], row["heads"]) == (16, 1, 4)
        assert row["B"] * row["T"] == 16
        rate = 1e3 * 16 / row["train_ms"]
        assert row["tokens_per_s"] == pytest.approx(rate, abs=1)
        assert row["train_peak_mib"] is None
    plain = [r["train_ratio"] for r in record["rows"][::3]]
    assert plain == [1, 1]
    diff = record["rows"][1]["parameters"] - record["rows"][0]["parameters"]
    assert diff == 6 * 4 * 1  # 6 D a layer
    assert "tokens/s" in capsys.readouterr().out


def test_gpu_peers_are_who_they_say():
    found = {p.name: p for p in peers(torch.device("cuda"))}
    assert found.keys() == {
        *("plain/cudnn", "plain/flash"),
        *("diff/triton", "v2/triton", "diff/sdpa"),
    }
    flash = found["plain/flash"]
    assert flash.kernel is SDPBackend.FLASH_ATTENTION
    assert flash.operator == "flash_attention"
    assert found["diff/triton"].backend == "triton"
    from minidiff.ops.triton import operator  # noqa: F401

    assert hasattr(torch.ops.minidiff, "diff_forward")


def test_the_same_rows_at_every_step():
    data = Rows(SIZE, CPU)
    inputs, targets = data.batch(0, 2)
    assert inputs.shape == targets.shape == (2, 8)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert torch.equal(data.batch(5, 2, "valid")[0], inputs)
    assert torch.equal(Rows(SIZE, CPU).batch(0, 2)[0], inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_everybody_is_right(dtype):
    for row in list(train.measure(SIZE, CPU, dtype, 1)):
        assert row["train_ms"] > 0, row


def test_who_learns_something_else_is_caught(monkeypatch):
    from minidiff.nn.attention import MultiheadDiffAttention

    def some(device):
        yield from list(peers(device))[1:2]
        # As a kernel that forgets the gradient of the first map's queries.
        real = MultiheadDiffAttention.attend

        def wrong(self, x, q, *rest):
            return real(self, x, q.detach(), *rest)

        monkeypatch.setattr(MultiheadDiffAttention, "attend", wrong)
        yield replace(list(peers(device))[1], name="diff/wrong")

    monkeypatch.setattr(train, "peers", some)
    monkeypatch.setattr(train, "TOLERANCE", {"loss": 0.01, "grad_norm": 1e-4})
    with pytest.raises(ArithmeticError, match="diff/wrong: grad_norm"):
        list(train.measure(SIZE, CPU, torch.float32, 1))


def test_what_cannot_run_is_recorded(monkeypatch):
    def some(device):
        first, diff, _ = peers(device)
        yield first
        yield replace(diff, name="diff/triton", backend="triton")
        yield replace(first, name="plain/other", operator="cudnn_attention")

    monkeypatch.setattr(train, "peers", some)
    # D = 8 has no kernel, nor has a CPU.
    got = list(train.measure(SIZE, CPU, torch.float32, 1))
    assert got[0]["train_ms"] > 0
    assert "triton" in got[1]["train_error"]
    assert got[2]["train_error"].startswith("expected cudnn_attention to run")
    assert "scaled_dot_product" in got[2]["train_error"]
    assert "tokens_per_s" not in got[1]
    text = train.table(got)
    assert "  expected cudnn_attention to run" in text


def test_an_operator_that_ran_is_found():
    q = torch.randn(1, 2, 8, 4)
    attend = torch.nn.functional.scaled_dot_product_attention
    train.check_operator("dot_product", lambda: attend(q, q, q))


@pytest.mark.slow
def test_compiled_peers_keep_their_own_kernel():
    """PyTorch's cache of graphs would give the second one the first's."""
    need(shutil.which("c++") or shutil.which("g++"), "no C++ compiler")
    peer = train_peers.Peer(
        name="plain/flash",
        attention="softmax",
        operator="flash_attention",
        kernel=SDPBackend.FLASH_ATTENTION,
    )
    given = (SIZE, CPU, "float32", Compute(compile=True), Rows(SIZE, CPU))
    train._start(peer, *given)
    with pytest.raises(RuntimeError, match="got no attention"):
        train._start(replace(peer, kernel=SDPBackend.MATH), *given)


def test_ratios_are_to_the_faster_plain(monkeypatch):
    def some(device):
        first, diff, _ = peers(device)
        yield replace(first, name="plain/a")
        yield replace(first, name="plain/b")
        yield diff

    given = {"plain/a": 40.0, "plain/b": 20.0, "diff/sdpa": 30.0}
    monkeypatch.setattr(train, "peers", some)
    monkeypatch.setattr(report, "by_round", lambda *rest: [given])
    got = list(train.measure(SIZE, CPU, torch.float32, 1))
    assert [r["train_ratio"] for r in got] == [2, 1, 1.5]
    assert [r["tokens_per_s"] for r in got] == [400, 800, 533]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--length 5", "--tokens: got 256, expected a multiple of 5"),
        ("--width 24", "--hidden: got 64, expected a multiple of 48"),
        ("--layers 0", "--layers: got 0"),
        ("--dtype float16", "--dtype: got float16, expected bf"),
    ],
)
def test_bad_sizes_are_named(capsys, options, says):
    arguments = ["bench", "train", "--device", "cpu", *options.split()]
    assert cli.main(arguments) == 2
    assert says in capsys.readouterr().err
