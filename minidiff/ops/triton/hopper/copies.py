"""The copy that both Hopper kernels make: queries and what belongs to them."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier, tma


@gluon.jit
def bring_queries(
    x_q, x_do, x_lse, x_delta, x_lam, s_q, s_do, s_lse, s_delta, s_lam,
    place, done, i_b, i_h, start_t,
    D: gl.constexpr, DV: gl.constexpr, BT: gl.constexpr,
):  # fmt: skip
    """Start copying BT queries of head h, dO, log-sums, D1, D2 and lambda.

    They go to element `place` of each s_*; the barrier `done` counts their
    bytes. Rows beyond T are zeros and add nothing.
    """
    mbarrier.expect(done, BT * (2 * D + DV) * 2 + BT * 5 * 4)
    tma.async_copy_global_to_shared(
        x_q, [i_b, i_h, 0, start_t, 0], done, s_q.index(place)
    )
    tma.async_copy_global_to_shared(
        x_do, [i_b, i_h, start_t, 0], done, s_do.index(place)
    )
    tma.async_copy_global_to_shared(
        x_lse, [i_b, i_h, 0, start_t], done, s_lse.index(place)
    )
    tma.async_copy_global_to_shared(
        x_delta, [i_b, i_h, 0, start_t], done, s_delta.index(place)
    )
    tma.async_copy_global_to_shared(
        x_lam, [i_b, i_h, start_t], done, s_lam.index(place)
    )
