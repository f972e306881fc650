"""Values wider than the keys: no map is stored on a CPU either."""

import torch

from minidiff import diff_attention
from minidiff.bench.peak_memory import Meter


def test_a_long_row_needs_no_map_on_a_cpu():
    T, D = 1024, 8
    q, k = torch.randn(2, 1, 2, 2, T, D)
    v = torch.randn(1, 2, T, 2 * D)
    with torch.no_grad(), Meter() as meter:
        out = diff_attention(q, k, v, 0.5, backend="sdpa")
    assert meter.largest < T * T  # bytes; a map of floats has four times that
    right = diff_attention(q, k, v, 0.5, backend="eager")
    torch.testing.assert_close(out, right, rtol=1e-5, atol=1e-5)
