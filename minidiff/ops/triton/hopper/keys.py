"""The backward pass's keys kernel for Hopper, with specialised warps.

It computes the same sums as ``keys_kernel`` of kernels/backward.py, but is
written in Gluon, Triton's dialect in which layouts, copies and waits are
explicit. In the other kernel all warps do the same at the same time, and the
tensor cores are idle while exponentials are computed. Here warps have two
roles:

    loader     one warp; starts the copies of queries ahead of their use
    consumers  two groups of four warps, each with BS keys of its own

While one consumer computes exponentials, the other multiplies. Each stage of
shared memory has two barriers: ``ready`` (its block has arrived) and ``free``
(both consumers have used it).

Names as in kernels/tiles.py; x_ are tensor descriptors, s_ is shared memory.
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
    s_delta, s_lam, ready, free, own, i_b, i_hkv, G, T, start_s, first, n,
    D: gl.constexpr, DV: gl.constexpr, BT: gl.constexpr, BS: gl.constexpr,
    P: gl.constexpr, KEYS: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    """Load each consumer's keys, then n blocks of queries (the loader)."""
    for j in gl.static_range(2):
        start = start_s + j * BS
        done = own.index(j)
        if KEYS:
            mbarrier.expect(done, BS * (P * D + DV) * 2)
            tma.async_copy_global_to_shared(
                x_v, [i_b, i_hkv, start, 0], done, s_v.index(j)
            )
        else:
            mbarrier.expect(done, BS * P * D * 2)
        tma.async_copy_global_to_shared(
            x_k, [i_b, i_hkv, 0, start, 0], done, s_k.index(j)
        )
    i_h = i_hkv * G
    start_t = first
    for i in range(n):
        stage = i % STAGES
        done = ready.index(stage)
        mbarrier.wait(free.index(stage), i // STAGES % 2 ^ 1)
        bring_queries(
            x_q, x_do, x_lse, x_delta, x_lam, s_q, s_do, s_lse, s_delta,
            s_lam, stage, done, i_b, i_h, start_t, D=D, DV=DV, BT=BT,
        )  # fmt: skip
        start_t += BT
        if start_t >= T:  # go on with the first block of the group's next head
            start_t = first
            i_h += 1


@gluon.jit
def consume(
    x_dk, x_dv, s_q, s_k, s_v, s_do, s_lse, s_delta, s_lam, ready, free, own,
    i_b, i_hkv, T, start_s, shift, first, n, n_keys, c, scale,
    D: gl.constexpr, DV: gl.constexpr, BT: gl.constexpr, BS: gl.constexpr,
    P: gl.constexpr, KEYS: gl.constexpr, VALUES: gl.constexpr,
    CAUSAL: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    """Compute dK1, dK2 and dV of BS keys (a consumer); maps are (BS, BT).

    Products are asynchronous: `warpgroup_mma_wait(n)` waits until at most the
    n products that were started last are unfinished.
    """
    dtype: gl.constexpr = s_q.dtype
    # Register layouts of the products' results and left operands.
    of_map: gl.constexpr = gl.NVMMADistributedLayout(
        [3, 0], [4, 1], [16, BT, 16]
    )
    of_dk: gl.constexpr = gl.NVMMADistributedLayout(
        [3, 0], [4, 1], [16, D, 16]
    )
    of_dv: gl.constexpr = gl.NVMMADistributedLayout(
        [3, 0], [4, 1], [16, DV, 16]
    )
    left_dk: gl.constexpr = gl.DotOperandLayout(0, of_dk, 2)
    left_dv: gl.constexpr = gl.DotOperandLayout(0, of_dv, 2)
    row: gl.constexpr = gl.SliceLayout(0, of_map)  # a number for each query
    # Shared memory layouts of matrices of 16-bit numbers and of plain rows.
    matrix: gl.constexpr = gl.NVMMASharedLayout(128, 16, 2)
    plain: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, [0])

    # (P BS, D), of which each branch has (BS, D)
    k = s_k._reinterpret(dtype, [P * BS, D], matrix)
    k1 = k.slice(0, BS)
    k2 = k.slice((P - 1) * BS, BS)
    # (BS, Dv)
    v = s_v._reinterpret(dtype, [BS, DV], matrix)
    # (BS, BT)
    b_zero = gl.zeros([BS, BT], gl.float32, of_map)
    # (BS, D)
    b_dk1 = gl.zeros([BS, D], gl.float32, of_dk)
    b_dk2 = gl.zeros([BS, D], gl.float32, of_dk)
    # (BS, Dv)
    b_dv = gl.zeros([BS, DV], gl.float32, of_dv)
    o_s = start_s + gl.arange(0, BS, gl.SliceLayout(1, of_map))
    o_t = gl.arange(0, BT, row)
    first_whole = 0
    if CAUSAL:  # from here on every query sees all BS keys
        first_whole = gl.maximum(start_s + BS - 1 - shift, 0)
    start_t = first
    mbarrier.wait(own, 0)
    for i in range(n):
        stage = i % STAGES
        mbarrier.wait(ready.index(stage), i // STAGES % 2)
        # (2 BT, D), of which each branch has (BT, D)
        q = s_q.index(stage)._reinterpret(dtype, [2 * BT, D], matrix)
        q1 = q.slice(0, BT)
        q2 = q.slice(BT, BT)
        # (BT, Dv)
        do = s_do.index(stage)._reinterpret(dtype, [BT, DV], matrix)
        # (2 BT,), (BT,)
        lse = s_lse.index(stage)._reinterpret(gl.float32, [2 * BT], plain)
        lam = s_lam.index(stage)._reinterpret(gl.float32, [BT], plain)
        # (BS, BT)
        b_s1 = warpgroup_mma(
            k1, q1.permute([1, 0]), b_zero, use_acc=False, is_async=True
        )
        b_s2 = warpgroup_mma(
            k2, q2.permute([1, 0]), b_zero, use_acc=False, is_async=True
        )
        b_s1 = warpgroup_mma_wait(1, deps=[b_s1])
        b_p1 = gl.exp2(b_s1 * c - lse.slice(0, BT).load(row)[None, :])
        b_s2 = warpgroup_mma_wait(0, deps=[b_s2])
        if KEYS:
            b_dp = warpgroup_mma(
                v, do.permute([1, 0]), b_zero, use_acc=False, is_async=True
            )
        b_p2 = gl.exp2(b_s2 * c - lse.slice(BT, BT).load(row)[None, :])
        b_p2 = b_p2 * lam.load(row)[None, :]
        if CAUSAL:  # noqa: SIM102 - decided when compiled; the next, when run
            if start_t < first_whole:
                m_seen = (start_t + o_t)[None, :] + shift >= o_s[:, None]
                b_p1 = gl.where(m_seen, b_p1, 0.0)
                b_p2 = gl.where(m_seen, b_p2, 0.0)
        if VALUES:
            # (BS, BT), and from it (BS, Dv)
            b_p = gl.convert_layout((b_p1 - b_p2).to(dtype), left_dv)
            b_dv = warpgroup_mma(b_p, do, b_dv, is_async=True)
        if KEYS:
            b_dp = warpgroup_mma_wait(1 if VALUES else 0, deps=[b_dp])
            # (2 BT,)
            delta = s_delta.index(stage)._reinterpret(
                gl.float32, [2 * BT], plain
            )
            # (BS, BT), and from these (BS, D)
            b_ds1 = b_p1 * (b_dp - delta.slice(0, BT).load(row)[None, :])
            b_ds1 = gl.convert_layout(b_ds1.to(dtype), left_dk)
            b_dk1 = warpgroup_mma(b_ds1, q1, b_dk1, is_async=True)
            b_ds2 = b_p2 * (delta.slice(BT, BT).load(row)[None, :] - b_dp)
            b_ds2 = gl.convert_layout(b_ds2.to(dtype), left_dk)
            if P == 1:
                b_dk1 = warpgroup_mma(b_ds2, q2, b_dk1, is_async=True)
            else:
                b_dk2 = warpgroup_mma(b_ds2, q2, b_dk2, is_async=True)
                b_dk2 = warpgroup_mma_wait(0, deps=[b_dk2])
            b_dk1, b_ds1, b_ds2 = warpgroup_mma_wait(
                0, deps=[b_dk1, b_ds1, b_ds2]
            )
        if VALUES:
            b_dv, b_p = warpgroup_mma_wait(0, deps=[b_dv, b_p])
        mbarrier.arrive(free.index(stage), count=1)
        start_t += BT
        start_t = gl.where(start_t >= T, first, start_t)

    # Padding may hold NaN, but only in its own rows, which become zero here.
    # The keys and values are not needed any more, so the results are staged in
    # their shared memory.
    if KEYS:
        m_k = start_s + gl.arange(0, BS, gl.SliceLayout(1, of_dk)) < n_keys
        k1.store(gl.where(m_k[:, None], b_dk1 * scale, 0.0).to(dtype))
        if P == 2:
            k2.store(gl.where(m_k[:, None], b_dk2 * scale, 0.0).to(dtype))
        fence_async_shared()
        tma.async_copy_shared_to_global(x_dk, [i_b, i_hkv, 0, start_s, 0], s_k)
    if VALUES:
        m_v = start_s + gl.arange(0, BS, gl.SliceLayout(1, of_dv)) < n_keys
        v.store(gl.where(m_v[:, None], b_dv, 0.0).to(dtype))
        fence_async_shared()
        tma.async_copy_shared_to_global(x_dv, [i_b, i_hkv, start_s, 0], s_v)
    tma.store_wait(0)


@gluon.jit
def keys_kernel(
    x_q, x_k, x_v, x_do, x_lse, x_delta, x_lam, x_dk, x_dv, p_lengths,
    HKV, G, T, S, c, scale,
    D: gl.constexpr, DV: gl.constexpr, BT: gl.constexpr, BS: gl.constexpr,
    P: gl.constexpr, KEYS: gl.constexpr, VALUES: gl.constexpr,
    CAUSAL: gl.constexpr, PADDED: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    """Compute dK1, dK2 and dV of 2 BS keys, from all heads that read them.

    Like :func:`minidiff.ops.triton.kernels.backward.keys_kernel`, for
    16-bit numbers and widths D and DV of 64, 128 or 256.
    """
    dtype: gl.constexpr = x_q.dtype
    i_b = gl.program_id(0) // HKV
    i_hkv = gl.program_id(0) % HKV
    start_s = gl.program_id(1) * 2 * BS
    shift = S - T
    n_keys = S
    if PADDED:
        n_keys = gl.minimum(S, gl.load(p_lengths + i_b).to(gl.int32))
    first = 0
    if CAUSAL:  # key s is seen by the queries from t = s - shift on
        first = gl.maximum(start_s - shift, 0) // BT * BT
    n = G * ((T - first + BT - 1) // BT)

    s_k = gl.allocate_shared_memory(dtype, [2, 1, 1, P, BS, D], x_k.layout)
    s_v = gl.allocate_shared_memory(dtype, [2, 1, 1, BS, DV], x_v.layout)
    s_q = gl.allocate_shared_memory(
        dtype, [STAGES, 1, 1, 2, BT, D], x_q.layout
    )
    s_do = gl.allocate_shared_memory(
        dtype, [STAGES, 1, 1, BT, DV], x_do.layout
    )
    s_lse = gl.allocate_shared_memory(
        gl.float32, [STAGES, 1, 1, 2, BT], x_lse.layout
    )
    s_delta = gl.allocate_shared_memory(
        gl.float32, [STAGES, 1, 1, 2, BT], x_delta.layout
    )
    s_lam = gl.allocate_shared_memory(
        gl.float32, [STAGES, 1, 1, BT], x_lam.layout
    )
    ready = gl.allocate_shared_memory(
        gl.int64, [STAGES, 1], mbarrier.MBarrierLayout()
    )
    free = gl.allocate_shared_memory(
        gl.int64, [STAGES, 1], mbarrier.MBarrierLayout()
    )
    own = gl.allocate_shared_memory(
        gl.int64, [2, 1], mbarrier.MBarrierLayout()
    )
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
                (x_dk, x_dv, s_q, s_k.index(0), s_v.index(0), s_do, s_lse,
                 s_delta, s_lam, ready, free, own.index(0), i_b, i_hkv, T,
                 start_s, shift, first, n, n_keys, c, scale, D, DV, BT, BS,
                 P, KEYS, VALUES, CAUSAL, STAGES),
            ),
            (
                consume,
                (x_dk, x_dv, s_q, s_k.index(1), s_v.index(1), s_do, s_lse,
                 s_delta, s_lam, ready, free, own.index(1), i_b, i_hkv, T,
                 start_s + BS, shift, first, n, n_keys, c, scale, D, DV, BT,
                 BS, P, KEYS, VALUES, CAUSAL, STAGES),
            ),
            (
                load,
                (x_q, x_k, x_v, x_do, x_lse, x_delta, x_lam, s_q, s_k, s_v,
                 s_do, s_lse, s_delta, s_lam, ready, free, own, i_b, i_hkv,
                 G, T, start_s, first, n, D, DV, BT, BS, P, KEYS, STAGES),
            ),
        ],
        [4, 1],
        # Registers of each thread: the loader needs few.
        [240, 24],
    )  # fmt: skip
