"""One step against a cache: everybody right, and what the record says."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from conftest import need

from minidiff import (
    MultiheadAttention,
    MultiheadDiffAttention,
    MultiheadDiffAttentionV2,
    cli,
)
from minidiff.bench import decode, report
from minidiff.bench.accuracy import ends, exact, relative_error
from minidiff.bench.decode_peers import peers
from minidiff.bench.inputs import Step, cached
from minidiff.bench.peers import KERNELS
from minidiff.bench.record import Run

CPU = torch.device("cpu")
STEP = Step(B=3, H=2, S=9, D=4)


def assert_right(peer):
    given = cached(peer.kind, STEP, CPU, torch.float64)
    got = peer.attend(*given)
    torch.testing.assert_close(got, exact(peer.kind, given).to(got))


@pytest.mark.parametrize("peer", list(peers(CPU)), ids=lambda p: p.name)
def test_every_peer_is_right_in_float64(peer):
    assert_right(peer)


# FlexAttention warns that it is not compiled.
@pytest.mark.filterwarnings("ignore:.*without torch.compile")
def test_a_gpus_other_peers_are_right_too(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda f, **options: f)
    found = {}
    for peer in peers(torch.device("cuda")):
        form, kernel = peer.name.split("/")
        found.setdefault(kernel, set()).add(form)
        if kernel in ("flex", "matmul", "math"):
            assert_right(peer)
    calls = {"plain", "base", "v2", "v2-packed"}
    calls |= {"diff2", "diff4", "hf-stacked"}
    kinds = set(decode.KINDS)
    assert found == {
        **{kernel: calls for kernel in (*KERNELS, "math")},
        "flex": kinds,
        "matmul": kinds,
        "triton": {"diff", "v2"},
    }


def test_our_kernel_is_right_in_the_interpreter():
    need(find_spec("triton"), "triton is not installed")
    code = (
        "import torch\n"
        "from minidiff.bench.inputs import Step, cached\n"
        "from minidiff.bench.accuracy import ends, relative_error\n"
        "from minidiff.bench.peers import OURS\n"
        "step = Step(B=2, H=2, S=700, D=16)  # in two splits\n"
        "for peer in OURS:\n"
        "    given = cached(\n"
        "        peer.kind, step, torch.device('cpu'), torch.float32\n"
        "    )\n"
        "    relative_error(peer, given, torch.float32, ends)\n"
        "    print(peer.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"TRITON_INTERPRET": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["diff/triton", "v2/triton"]


def test_caches_lie_as_the_modules_hold_them():
    B, H, S, D = STEP
    for kind, module in (
        ("plain", MultiheadAttention(2 * H * D, 2 * H)),
        ("base", MultiheadAttention(2 * H * D, H)),
        ("diff", MultiheadDiffAttention(2 * H * D, H, depth=0)),
        ("v2", MultiheadDiffAttentionV2(4 * H * D, H)),
    ):
        q, k, v, *rest = cached(kind, STEP, CPU, torch.float32)
        held = module.new_cache(B, S)
        zeros = (torch.zeros(s) for s in (held._k.shape, held._v.shape))
        k_held, v_held = held.append(*zeros)
        k = k[:, :, None] if kind == "v2" else k
        assert (k.shape, k.stride()) == (k_held.shape, k_held.stride())
        assert (v.shape, v.stride()) == (v_held.shape, v_held.stride())
        assert q.shape[-2] == 1
        assert not any(x.requires_grad for x in (q, k, v, *rest))


def test_the_cache_does_not_repeat_the_queries():
    for kind in decode.KINDS:
        q, k, *_ = cached(kind, STEP, CPU, torch.float32)
        assert not torch.isin(k, q).any()


def test_first_and_last_row_are_judged_whole():
    x = torch.arange(24.0).reshape(4, 1, 6, 1)
    assert ends(x)[:, 0, 0, 0].tolist() == [0, 18]
    assert ends(x).shape == (2, 1, 6, 1) and ends(x).dtype == torch.float64
    assert ends(x[:1]).shape == (1, 1, 6, 1)
    assert ends(x[0, 0, :, 0]).shape == (6,)


def test_everybody_is_right_with_a_longer_cache():
    step = STEP._replace(S=400)
    for row in list(decode.measure(step, CPU, torch.float32, 1)):
        assert row["relative_error"] < 1e-5


def test_a_peer_wrong_beyond_its_first_keys_and_row_is_caught():
    first = next(iter(peers(CPU)))
    step = STEP._replace(S=400)
    given = cached("plain", step, CPU, torch.float32)

    def short(q, k, v):
        return first.attend(q, k[..., :300, :], v[..., :300, :])

    def one_row(q, k, v):
        out = first.attend(q, k, v)
        out[-1] = out[0]
        return out

    for wrong in (short, one_row):
        with pytest.raises(ArithmeticError, match="plain/sdpa: relative er"):
            peer = replace(first, attend=wrong)
            relative_error(peer, given, torch.float32, ends)


def test_the_record(tmp_path, capsys):
    out = tmp_path / "new" / "record.json"
    arguments = "bench decode --device cpu --rounds 1 --batch 1 3"
    arguments += f" --length 8 16 --width 4 --hidden 16 --out {out}"
    assert cli.main(arguments.split()) == 0
    record = json.loads(out.read_text())
    assert record["provenance"]["command"] == f"minidiff {arguments}"
    assert record["setting"]["queries"] == 1
    assert record["setting"]["dtype"] == "float32"
    settings = [tuple(row[n] for n in "BHSD") for row in record["rows"]]
    assert list(dict.fromkeys(settings)) == [
        (1, 2, 8, 4), (3, 2, 8, 4), (1, 2, 16, 4), (3, 2, 16, 4)
    ]  # fmt: skip
    for row in record["rows"]:
        size = 4 * 2 * row["B"] * 16 * row["S"]  # k and v, float32
        want = size / 1e6 / row["decode_ms"]
        assert row["gb_per_s"] == pytest.approx(want, abs=0.06)
        assert row["decode_ratio"] > 0 and row["relative_error"] < 1e-4
    for setting in set(settings):
        ratios = [
            row["decode_ratio"]
            for row in record["rows"]
            if tuple(row[n] for n in "BHSD") == setting
            and row["kind"] == "plain"
        ]
        assert len(ratios) == 2 and min(ratios) == 1
    assert "diff/matmul" in capsys.readouterr().out


def test_gigabytes_are_of_the_cache_once_and_ratios_to_plain(monkeypatch):
    monkeypatch.setattr(
        report,
        "by_round",
        lambda functions, *rest: [
            {
                name: 0.001 if name == "plain/matmul" else 0.002
                for name in functions
            }
        ],
    )
    got = list(decode.measure(STEP, CPU, torch.float32, 1))
    size = 2 * 4 * 3 * 2 * 8 * 9  # k and v, B * H * 2D * S numbers of 4 bytes
    for row in got:
        fast = row["peer"] == "plain/matmul"
        assert row["decode_ratio"] == (1 if fast else 2)
        assert row["gb_per_s"] == round(size / (1e3 if fast else 2e3), 1)
    first, second = decode.table(got).splitlines()[2:4]
    assert first.split() == ["plain/matmul", "1.00", "0.0010", "3.5"]
    assert second.split()[1:] == ["2.00", "0.0020", "1.7"]


def test_what_cannot_run_is_recorded_and_the_rest_goes_on(monkeypatch):
    def full(*given):
        raise torch.OutOfMemoryError("CUDA out of memory.\nlong story")

    def refuse(*given):
        raise ValueError("q: got width D = 4 with backend 'triton'")

    def draw(kind, *rest):
        return full() if kind == "base" else cached(kind, *rest)

    def some(device):
        for peer in peers(device):
            broken = peer.name == "diff2/sdpa"
            yield replace(peer, attend=refuse) if broken else peer

    monkeypatch.setattr(decode, "peers", some)
    monkeypatch.setattr(decode, "cached", draw)
    got = list(decode.measure(STEP, CPU, torch.float32, 1))
    said = {r["peer"]: r["decode_error"] for r in got if "decode_ms" not in r}
    assert said == {
        "base/sdpa": "CUDA out of memory.",
        "base/matmul": "CUDA out of memory.",
        "diff2/sdpa": "q: got width D = 4 with backend 'triton'",
    }
    assert "\n  CUDA out of memory.\n" in decode.table(got)


def test_judging_too_may_find_no_memory(monkeypatch):
    def full(*given):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(decode, "relative_error", full)
    got = list(decode.measure(STEP, CPU, torch.float32, 1))
    assert all("decode_error" in row for row in got)  # and nobody is timed


def test_math_runs_only_where_no_kernel_would(monkeypatch):
    def refuse(*given):
        raise RuntimeError("no kernel for this")

    def some(device):
        first, second, *_ = peers(device)  # plain, base
        yield replace(first, name="plain/a")
        yield replace(second, name="base/a", attend=refuse)
        yield replace(first, name="plain/math")
        yield replace(second, name="base/math")

    monkeypatch.setattr(decode, "peers", some)
    got = list(decode.measure(STEP, CPU, torch.float32, 1))
    assert [row["peer"] for row in got] == ["plain/a", "base/a", "base/math"]
    assert "decode_error" in got[1] and "decode_ms" in got[2]


def test_what_was_measured_is_kept_if_the_run_stops(monkeypatch, tmp_path):
    def measure(step, *rest):
        if step.S == 16:
            raise KeyboardInterrupt
        return [{"peer": "plain/a", **step._asdict()}]

    monkeypatch.setattr(decode, "measure", measure)
    out = tmp_path / "record.json"
    how = Run(device=CPU, dtype=torch.float32, rounds=1, command="", out=out)
    with pytest.raises(KeyboardInterrupt):
        decode.run([STEP, STEP._replace(S=16)], how)
    assert [row["S"] for row in json.loads(out.read_text())["rows"]] == [9]


def test_a_wrong_peer_is_no_peer(monkeypatch, capsys):
    def some(device):
        first = next(iter(peers(device)))
        # is_causal counts from the start: the query sees the first key alone
        yield replace(first, attend=lambda q, k, v: v[..., :1, :].clone())

    monkeypatch.setattr(decode, "peers", some)
    with pytest.raises(ArithmeticError, match="plain/sdpa: relative error"):
        list(decode.measure(STEP, CPU, torch.float32, 1))
    given = "bench decode --device cpu --length 8 --batch 1"
    assert cli.main(given.split()) == 2
    assert "plain/sdpa: relative error" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--width 12", "--hidden: got 128, expected a multiple of 24, 2 tim"),
        ("--width 0", "--width: got 0, expected 1 or more"),
        ("--hidden 0", "--hidden: got 0, expected a multiple of 32"),
        ("--length 128 0", "--length: got 0, expected 1 or more"),
        ("--batch 1 -2", "--batch: got -2, expected 1 or more"),
        ("--rounds 0", "--rounds: got 0, expected 1 or more"),
        ("--device meta", "--device: got 'meta', expected cpu or cuda"),
    ],
)
def test_bad_sizes_are_refused(options, says, capsys):
    given = ["bench", "decode", "--device", "cpu", *options.split()]
    assert cli.main(given) == 2
    assert says in capsys.readouterr().err
