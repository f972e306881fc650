"""Timing of several functions in turn, so that drift affects all of them."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping

import torch

# Far larger than any L2 cache, so that no run finds its inputs there. Clearing
# it also takes longer than Python needs to launch the kernels that follow.
FLUSH_BYTES = 2**32


def alternate(
    functions: Mapping[str, Callable[[], object]],
    device: torch.device,
    rounds: int,
) -> dict[str, float]:
    """Return the median milliseconds of each function.

    All are called once to warm up, then once each in every round. So slow
    changes (clocks, other programs) affect all of them alike, and the ratios
    are more reliable than the single times.
    """
    medians: dict[str, float] = {}
    for medians in by_round(functions, device, rounds):  # noqa: B007
        pass
    return medians


def by_round(
    functions: Mapping[str, Callable[[], object]],
    device: torch.device,
    rounds: int,
) -> Iterator[dict[str, float]]:
    """Yield, after each round, the medians so far as `alternate` returns them.

    If a benchmark is stopped, those of the last whole round are known.
    """
    for function in functions.values():
        function()
    clock = _gpu if device.type == "cuda" else _cpu
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(clock(function))
        yield {name: statistics.median(t) for name, t in times.items()}


def _cpu(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - start)


def _gpu(function: Callable[[], object]) -> float:
    torch.empty(FLUSH_BYTES, dtype=torch.int8, device="cuda").zero_()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    function()
    end.record()
    # All streams, so that nothing left running slows who comes next.
    torch.cuda.synchronize()
    return start.elapsed_time(end)
