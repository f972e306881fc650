"""Benchmark of training: updates of whole models, timed side by side."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._functorch import config as functorch
from torch.profiler import ProfilerActivity, profile

from minidiff.bench import report
from minidiff.bench.inputs import check_parts, check_sizes
from minidiff.bench.poison import poisoned
from minidiff.bench.record import Run
from minidiff.bench.refusals import attempt
from minidiff.bench.report import Column, Row, add_times
from minidiff.bench.train_peers import Peer, Rows, Size, peers
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM
from minidiff.training.config import Compute, TrainConfig
from minidiff.training.step import Updates

COLUMNS = (
    Column("train_ratio", "train", 7, 3),
    Column("train_ms", "ms", 9, 2),
    Column("tokens_per_s", "tokens/s", 10, 0),
    Column("train_peak_mib", "MiB", 8, 0),
)
# Largest relative difference to float32 allowed in the first update; bfloat16
# numbers are 0.8 % apart.
TOLERANCE = {"loss": 0.01, "grad_norm": 0.05}


def sizes(
    *,
    tokens: int,
    hidden: int,
    layers: int,
    vocab_size: int,
    widths: Sequence[int],
    lengths: Sequence[int],
) -> list[Size]:
    """Return a size for every head width at every length.

    All have ``tokens`` tokens in a batch. Raises ValueError, naming the
    size, if one does not divide.
    """
    check_sizes("layers", [layers])
    check_sizes("vocab-size", [vocab_size])
    check_parts("length", lengths, "tokens", tokens)
    check_parts("width", widths, "hidden", hidden, times=2)
    return [
        Size(tokens // T, T, hidden, layers, hidden // D, vocab_size)
        for D in widths
        for T in lengths
    ]


def run(sizes: Sequence[Size], how: Run) -> dict[str, Any]:
    """Time every peer at every size; return the record.

    If a peer cannot run, its row has "train_error" instead of a time. Raises
    ValueError for float16, and ArithmeticError if a peer's result is wrong.
    """
    if how.dtype == torch.float16:
        raise ValueError(
            "--dtype: got float16, expected bfloat16 or float32: its small "
            "gradients would vanish, and nothing here scales them"
        )
    return how.record(
        sizes,
        measure,
        table,
        what="one update of a whole model: forward, backward, clipping and "
        "AdamW; medians",
        compiled=how.device.type == "cuda",
    )


def measure(
    size: Size, device: torch.device, dtype: torch.dtype, rounds: int
) -> Iterator[Row]:
    """Yield a row for each peer: milliseconds, tokens/s, ratio, MiB.

    A row is yielded when its peer has run and is right; the times are added
    to all rows when all have been yielded. Raises ArithmeticError if a peer's
    first update differs from that of the same model in float32, or if that on
    other tokens does after the timing, or if it changes its tokens.
    """
    precision = str(dtype).removeprefix("torch.")
    gpu = device.type == "cuda"
    data, rows = Rows(size, device), []
    calls: dict[str, Callable[[], object]] = {}
    starts: list[Started] = []
    right: dict[str, dict[str, Any]] = {}
    for peer in peers(device):
        if peer.attention not in right:
            right[peer.attention] = _reference(peer.attention, size, data)
        row = {"peer": peer.name, "kind": peer.attention, **size._asdict()}
        rows.append(row)
        before = torch.cuda.memory_allocated() if gpu else 0
        compute = Compute(compile=gpu, backend=peer.backend)
        done, said = attempt(
            partial(_start, peer, size, device, precision, compute, data)
        )
        if done is None:
            row["train_error"] = said
            yield row
            continue
        check_tokens(peer.name, data, size)
        _judge(peer, done.first, right[peer.attention])
        call = partial(done.update, data)
        row["parameters"] = done.model.num_parameters()
        row["train_peak_mib"] = _peak(call, before) if gpu else None
        calls[peer.name] = call
        starts.append(done)
        yield row
    add_times("train", rows, calls, device, rounds)
    for row in rows:
        if "train_ms" in row:
            tokens = 1e3 * size.B * size.T / row["train_ms"]
            row["tokens_per_s"] = round(tokens)
    check_tokens(", ".join(calls), data, size)
    _, said = attempt(partial(_check_again, starts, size, device))
    if said is not None:
        for row in rows:
            if "train_ms" in row:
                row["again_error"] = f"not checked again: {said}"


class Started(NamedTuple):
    """A peer that has made an update: what repeats it, and that one's record.

    ``weights`` are the model's before any update.
    """

    peer: Peer
    update: Callable[[Rows], dict[str, Any]]
    model: DecoderLM
    weights: dict[str, Tensor]
    first: dict[str, Any]

    def again(self, data: Rows) -> dict[str, Any]:
        """Return the record of a first update on other data."""
        self.model.load_state_dict(self.weights)
        return self.update(data)


def _check_again(
    starts: Iterable[Started], size: Size, device: torch.device
) -> None:
    """Check a first update on tokens that the peers have not seen."""
    new = Rows(size, device, seed=1)
    right: dict[str, dict[str, Any]] = {}
    for done in starts:
        kind = done.peer.attention
        if kind not in right:
            right[kind] = _reference(kind, size, new)
        _judge(done.peer, done.again(new), right[kind], " with new tokens")


def _start(
    peer: Peer,
    size: Size,
    device: torch.device,
    precision: str,
    compute: Compute,
    data: Rows,
) -> Started:
    """Build a model and make its first update."""
    torch.manual_seed(0)
    model = DecoderLM(
        ModelConfig(
            vocab_size=size.vocab_size,
            embed_dim=size.E,
            num_layers=size.L,
            num_heads=size.heads,
            attention=peer.attention,
            max_length=size.T,
        )
    )
    weights = {n: x.clone() for n, x in model.state_dict().items()}
    model = model.to(device)
    # The rate is so low that the model hardly changes.
    config = TrainConfig(
        steps=1,
        batch_size=size.B,
        lr=1e-6,
        warmup_steps=0,
        precision=precision,
    )
    updates = Updates(model, config, compute)

    def update(data: Rows) -> dict[str, Any]:
        try:
            with peer.held():
                return updates(data, 0)
        except FloatingPointError as error:
            raise ArithmeticError(f"{peer.name}: {error}") from error

    # The keys of this cache do not include the chosen attention kernel, so a
    # compiled graph could be reused with the wrong one.
    # A CPU's poison would have a compiled model compiled again.
    twice = compute.compile and device.type == "cpu"
    poison = nullcontext() if twice else poisoned(device)
    with functorch.patch(enable_autograd_cache=False), poison:
        first = update(data)
    if peer.operator is not None:
        check_operator(peer.operator, partial(update, data))
    return Started(peer, update, model, weights, first)


def _reference(attention: str, size: Size, data: Rows) -> dict[str, Any]:
    """Return the first update's record of the model in float32."""
    peer = Peer(name="reference", attention=attention)
    compute = Compute(accumulate=size.B)
    device = data.batch(0, size.B)[0].device
    return _start(peer, size, device, "float32", compute, data).first


def _judge(
    peer: Peer, got: dict[str, Any], want: dict[str, Any], when: str = ""
) -> None:
    for key, most in TOLERANCE.items():
        off = abs(got[key] / want[key] - 1)
        if not off < most:
            raise ArithmeticError(
                f"{peer.name}: {key} {got[key]:.4g} in the first update"
                f"{when}, expected {want[key]:.4g} as in float32"
            )


def check_tokens(name: str, data: Rows, size: Size) -> None:
    """Raise ArithmeticError unless the tokens are as they were drawn."""
    batch = data.batch(0, size.B)
    drawn = Rows(size, batch[0].device).batch(0, size.B)
    if not all(torch.equal(x, y) for x, y in zip(batch, drawn, strict=True)):
        raise ArithmeticError(
            f"{name}: changed its tokens, expected inputs left as they are"
        )


def check_operator(name: str, call: Callable[[], object]) -> None:
    """Raise RuntimeError unless a call runs an operator of this name.

    ``name`` may be a part of the operator's name. This is needed because a
    compiled model can run another kernel than the one that PyTorch was
    restricted to while compiling.
    """
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        call()
    ran = {event.key for event in watched.key_averages()}
    if not any(name in key for key in ran):
        others = sorted(k for k in ran if "attention" in k or "diff_" in k)
        said = ", ".join(others) or "no attention"
        raise RuntimeError(f"expected {name} to run, got {said}")


def _peak(call: Callable[[], object], before: int) -> int:
    """Return the peak memory of an update in MiB, beyond ``before``."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) >> 20


def table(rows: Sequence[Row]) -> str:
    """Format the rows of one size as text, fastest first."""
    size = Size(*(rows[0][n] for n in Size._fields))
    millions = max(row.get("parameters", 0) for row in rows) / 1e6
    title = (
        f"B = {size.B}, T = {size.T}, E = {size.E}, L = {size.L}, "
        f"{millions:.0f} M parameters; ratios to the fastest plain"
    )
    return report.table(title, rows, COLUMNS, by="train_ms")
