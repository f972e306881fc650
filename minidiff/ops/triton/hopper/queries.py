"""The backward pass's queries kernel for Hopper, with specialised warps.

It computes the same sums as ``queries_kernel`` of kernels/backward.py. The
warps have the roles of keys.py: here the loader copies blocks of keys and
values, and each of two consumers has BT queries of its own.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)

from minidiff.ops.triton.hopper.copies import bring_queries


@gluon.jit
def load(
    x_q, x_k, x_v, x_do, x_lse, x_delta, x_lam, s_q, s_k, s_v, s_do, s_lse,
    s_delta, s_lam, ready, free, own, i_b, i_h, i_hkv, start_t, n,
    D: gl.constexpr, DV: gl.constexpr, BT: gl.constexpr, BS: gl.constexpr,
    P: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    """Load each consumer's queries, then n blocks of keys (the loader)."""
    for j in gl.static_range(2):
        done = own.index(j)
        bring_queries(
            x_q, x_do, x_lse, x_delta, x_lam, s_q, s_do, s_lse, s_delta,
            s_lam, j, done, i_b, i_h, start_t + j * BT, D=D, DV=DV, BT=BT,
        )  # fmt: skip
    for i in range(n):
        stage = i % STAGES
        done = ready.index(stage)
        mbarrier.wait(free.index(stage), i // STAGES % 2 ^ 1)
        mbarrier.expect(done, BS * (P * D + DV) * 2)
        tma.async_copy_global_to_shared(
            x_k, [i_b, i_hkv, 0, i * BS, 0], done, s_k.index(stage)
        )
        tma.async_copy_global_to_shared(
            x_v, [i_b, i_hkv, i * BS, 0], done, s_v.index(stage)
        )


@gluon.jit
def cut(s, start_s, n_keys, j: gl.constexpr, N: gl.constexpr, W: gl.constexpr):
    """Set padding keys to zero, because 0 times NaN is NaN.

    s holds one or two matrices of N rows; consumer j sets one half of it.
    """
    rows: gl.constexpr = s.shape[0] // 2
    spread: gl.constexpr = gl.BlockedLayout([1, 8], [4, 8], [4, 1], [1, 0])
    # (rows, W)
    half = s.slice(j * rows, rows)
    o_s = j * rows + gl.arange(0, rows, gl.SliceLayout(1, spread))
    m_real = (start_s + o_s % N < n_keys)[:, None]
    b_zero = gl.zeros([rows, W], s.dtype, spread)
    half.store(gl.where(m_real, half.load(spread), b_zero))


@gluon.jit
def consume(
    x_dq, s_q, s_k, s_v, s_do, s_lse, s_delta, s_lam, ready, free, own,
    clean, i_b, i_h, start_t, shift, n, n_keys, c, scale, j: gl.constexpr,
    D: gl.constexpr, DV: gl.constexpr, BT: gl.constexpr, BS: gl.constexpr,
    P: gl.constexpr, CAUSAL: gl.constexpr, PADDED: gl.constexpr,
    STAGES: gl.constexpr,
):  # fmt: skip
    """Compute dQ1 and dQ2 of BT queries (a consumer); maps are (BT, BS)."""
    dtype: gl.constexpr = s_q.dtype
    of_map: gl.constexpr = gl.NVMMADistributedLayout(
        [3, 0], [4, 1], [16, BS, 16]
    )
    of_dq: gl.constexpr = gl.NVMMADistributedLayout(
        [3, 0], [4, 1], [16, D, 16]
    )
    left: gl.constexpr = gl.DotOperandLayout(0, of_dq, 2)
    row: gl.constexpr = gl.SliceLayout(1, of_map)  # a number for each query
    matrix: gl.constexpr = gl.NVMMASharedLayout(128, 16, 2)
    plain: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, [0])

    # (2 BT, D), of which each branch has (BT, D)
    q = s_q._reinterpret(dtype, [2 * BT, D], matrix)
    q1 = q.slice(0, BT)
    q2 = q.slice(BT, BT)
    # (BT, Dv)
    do = s_do._reinterpret(dtype, [BT, DV], matrix)
    mbarrier.wait(own, 0)
    # (2 BT,)
    lse = s_lse._reinterpret(gl.float32, [2 * BT], plain)
    delta = s_delta._reinterpret(gl.float32, [2 * BT], plain)
    # (BT, 1)
    b_lse1 = lse.slice(0, BT).load(row)[:, None]
    b_lse2 = lse.slice(BT, BT).load(row)[:, None]
    b_delta1 = delta.slice(0, BT).load(row)[:, None]
    b_delta2 = delta.slice(BT, BT).load(row)[:, None]
    b_lam = s_lam._reinterpret(gl.float32, [BT], plain).load(row)[:, None]
    # (BT, BS)
    b_zero = gl.zeros([BT, BS], gl.float32, of_map)
    # (BT, D)
    b_dq1 = gl.zeros([BT, D], gl.float32, of_dq)
    b_dq2 = gl.zeros([BT, D], gl.float32, of_dq)
    o_t = start_t + gl.arange(0, BT, row)
    o_s = gl.arange(0, BS, gl.SliceLayout(0, of_map))
    whole = n_keys
    if CAUSAL:  # all BT queries see the keys before this one
        whole = gl.minimum(n_keys, start_t + shift + 1)
    for i in range(n):
        stage = i % STAGES
        mbarrier.wait(ready.index(stage), i // STAGES % 2)
        # (P BS, D), of which each branch has (BS, D)
        k = s_k.index(stage)._reinterpret(dtype, [P * BS, D], matrix)
        # (BS, Dv)
        v = s_v.index(stage)._reinterpret(dtype, [BS, DV], matrix)
        if PADDED:  # noqa: SIM102 - decided when compiled; the next, when run
            if (i + 1) * BS > n_keys:
                # Only the last block has padding, so this happens once.
                cut(k, i * BS, n_keys, j=j, N=BS, W=D)
                cut(v, i * BS, n_keys, j=j, N=BS, W=DV)
                fence_async_shared()
                mbarrier.arrive(clean, count=1)
                mbarrier.wait(clean, 0)
        k1 = k.slice(0, BS)
        k2 = k.slice((P - 1) * BS, BS)
        # (BT, BS)
        b_s1 = warpgroup_mma(
            q1, k1.permute([1, 0]), b_zero, use_acc=False, is_async=True
        )
        b_s2 = warpgroup_mma(
            q2, k2.permute([1, 0]), b_zero, use_acc=False, is_async=True
        )
        b_s1 = warpgroup_mma_wait(1, deps=[b_s1])
        b_p1 = gl.exp2(b_s1 * c - b_lse1)
        b_s2 = warpgroup_mma_wait(0, deps=[b_s2])
        b_dp = warpgroup_mma(
            do, v.permute([1, 0]), b_zero, use_acc=False, is_async=True
        )
        b_p2 = gl.exp2(b_s2 * c - b_lse2) * b_lam
        if (i + 1) * BS > whole:
            o_keys = (i * BS + o_s)[None, :]
            m_seen = o_keys < n_keys
            if CAUSAL:
                m_seen = m_seen & (o_t[:, None] + shift >= o_keys)
            b_p1 = gl.where(m_seen, b_p1, 0.0)
            b_p2 = gl.where(m_seen, b_p2, 0.0)
        b_dp = warpgroup_mma_wait(0, deps=[b_dp])
        # (BT, BS), and from these (BT, D)
        b_ds1 = b_p1 * (b_dp - b_delta1)
        b_ds1 = gl.convert_layout(b_ds1.to(dtype), left)
        b_dq1 = warpgroup_mma(b_ds1, k1, b_dq1, is_async=True)
        b_ds2 = b_p2 * (b_delta2 - b_dp)
        b_ds2 = gl.convert_layout(b_ds2.to(dtype), left)
        b_dq2 = warpgroup_mma(b_ds2, k2, b_dq2, is_async=True)
        b_dq1, b_dq2, b_ds1, b_ds2 = warpgroup_mma_wait(
            0, deps=[b_dq1, b_dq2, b_ds1, b_ds2]
        )
        mbarrier.arrive(free.index(stage), count=1)
    # The queries are not needed any more, so the results are staged in their
    # shared memory.
    q1.store((b_dq1 * scale).to(dtype))
    q2.store((b_dq2 * scale).to(dtype))
    fence_async_shared()
    tma.async_copy_shared_to_global(x_dq, [i_b, i_h, 0, start_t, 0], s_q)
    tma.store_wait(0)


@gluon.jit
def queries_kernel(
    x_q, x_k, x_v, x_do, x_lse, x_delta, x_lam, x_dq, p_lengths,
    H, G, T, S, c, scale,
    D: gl.constexpr, DV: gl.constexpr, BT: gl.constexpr, BS: gl.constexpr,
    P: gl.constexpr, CAUSAL: gl.constexpr, PADDED: gl.constexpr,
    STAGES: gl.constexpr,
):  # fmt: skip
    """Compute dQ1 and dQ2 of 2 BT queries.

    Like :func:`minidiff.ops.triton.kernels.backward.queries_kernel`, for
    16-bit numbers and widths D and DV of 64, 128 or 256.
    """
    dtype: gl.constexpr = x_q.dtype
    i_b = gl.program_id(0) // H
    i_h = gl.program_id(0) % H
    i_t = gl.program_id(1)
    if CAUSAL:
        i_t = gl.num_programs(1) - 1 - i_t
    start_t = i_t * 2 * BT
    shift = S - T
    n_keys = S
    if PADDED:
        n_keys = gl.minimum(S, gl.load(p_lengths + i_b).to(gl.int32))
    end = n_keys
    if CAUSAL:
        end = gl.minimum(n_keys, start_t + 2 * BT + shift)
    n = (end + BS - 1) // BS

    s_q = gl.allocate_shared_memory(dtype, [2, 1, 1, 2, BT, D], x_q.layout)
    s_do = gl.allocate_shared_memory(dtype, [2, 1, 1, BT, DV], x_do.layout)
    s_lse = gl.allocate_shared_memory(
        gl.float32, [2, 1, 1, 2, BT], x_lse.layout
    )
    s_delta = gl.allocate_shared_memory(
        gl.float32, [2, 1, 1, 2, BT], x_delta.layout
    )
    s_lam = gl.allocate_shared_memory(gl.float32, [2, 1, 1, BT], x_lam.layout)
    s_k = gl.allocate_shared_memory(
        dtype, [STAGES, 1, 1, P, BS, D], x_k.layout
    )
    s_v = gl.allocate_shared_memory(dtype, [STAGES, 1, 1, BS, DV], x_v.layout)
    ready = gl.allocate_shared_memory(
        gl.int64, [STAGES, 1], mbarrier.MBarrierLayout()
    )
    free = gl.allocate_shared_memory(
        gl.int64, [STAGES, 1], mbarrier.MBarrierLayout()
    )
    own = gl.allocate_shared_memory(
        gl.int64, [2, 1], mbarrier.MBarrierLayout()
    )
    clean = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    mbarrier.init(clean, count=2)
    for i in gl.static_range(STAGES):
        mbarrier.init(ready.index(i), count=1)
        mbarrier.init(free.index(i), count=2)
    for j in gl.static_range(2):
        mbarrier.init(own.index(j), count=1)
    # The partitions' arguments can be given by position only.
    gl.warp_specialize(
        [
            (
                consume,
                (x_dq, s_q.index(0), s_k, s_v, s_do.index(0), s_lse.index(0),
                 s_delta.index(0), s_lam.index(0), ready, free, own.index(0),
                 clean, i_b, i_h, start_t, shift, n, n_keys, c, scale, 0, D,
                 DV, BT, BS, P, CAUSAL, PADDED, STAGES),
            ),
            (
                consume,
                (x_dq, s_q.index(1), s_k, s_v, s_do.index(1), s_lse.index(1),
                 s_delta.index(1), s_lam.index(1), ready, free, own.index(1),
                 clean, i_b, i_h, start_t + BT, shift, n, n_keys, c, scale, 1,
                 D, DV, BT, BS, P, CAUSAL, PADDED, STAGES),
            ),
            (
                load,
                (x_q, x_k, x_v, x_do, x_lse, x_delta, x_lam, s_q, s_k, s_v,
                 s_do, s_lse, s_delta, s_lam, ready, free, own, i_b, i_h,
                 i_h // G, start_t, n, D, DV, BT, BS, P, STAGES),
            ),
        ],
        [4, 1],
        [240, 24],
    )  # fmt: skip
