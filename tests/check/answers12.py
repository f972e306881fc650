"""Chapter 12: right and wrong answers written another way than ours."""

from minidiff.check.edited import edited
from minidiff.course.kernels.fused_backward import tile

import triton  # isort: skip
import triton.language as tl  # isort: skip


@triton.jit
def by_pointers(
    p_dy, p_o, p_o2, p_do, p_delta, dy_t, out_t, delta_j,
    T, lam, norm_scale, eps, DV: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Project dy's part along o away, then scale; o1 is built first."""
    rows = tl.arange(0, BT) + BT * tl.program_id(0)
    inside = rows < T
    both = inside[:, None]
    cols = tl.arange(0, DV)
    at_dy = rows[:, None] * dy_t + cols
    at_o = rows[:, None] * out_t + cols
    at_do = rows[:, None] * out_t + cols
    dy = tl.load(p_dy + at_dy, mask=both, other=0).to(tl.float32)
    o = tl.load(p_o + at_o, mask=both, other=0).to(tl.float32)
    o2 = tl.load(p_o2 + at_o, mask=both, other=0).to(tl.float32)
    square = tl.sum(o * o, axis=1, keep_dims=True) / DV + eps
    along = tl.sum(dy * o, axis=1, keep_dims=True) / DV / square
    do = norm_scale * (dy - along * o) / tl.sqrt(square)
    half = do.to(p_do.dtype.element_ty)
    tl.store(p_do + at_do, half, mask=both)
    do = half.to(tl.float32)
    o1 = o + lam * o2
    d1, d2 = tl.sum(do * o1, axis=1), tl.sum(do * o2, axis=1)
    tl.store(p_delta + rows, d1, mask=inside)
    tl.store(p_delta + rows + delta_j, d2, mask=inside)


@triton.jit
def weights(b_q, b_k, b_lse, m_seen, c):
    b_s = tl.dot(b_q * c, tl.trans(b_k), input_precision="ieee")
    return tl.exp2(tl.where(m_seen, b_s - b_lse[:, None], float("-inf")))


@triton.jit
def branch_by_branch(
    b_q1, b_q2, b_k1, b_k2, b_v, b_do, b_lse1, b_lse2, b_delta1, b_delta2,
    lam, m_seen, c,
):  # fmt: skip
    """A function for one branch; lam goes into the slopes."""
    a1 = weights(b_q1, b_k1, b_lse1, m_seen, c)
    a2 = weights(b_q2, b_k2, b_lse2, m_seen, c)
    slope = tl.trans(tl.dot(b_v, tl.trans(b_do), input_precision="ieee"))
    above1 = slope - tl.expand_dims(b_delta1, 1)
    above2 = slope - tl.expand_dims(b_delta2, 1)
    ds1 = above1 * a1
    ds2 = -lam * above2 * a2
    return a1 - a2 * lam, ds1, ds2


@triton.jit
def backwards(
    p_q, p_k, p_v, p_do, p_lse, p_delta, p_dq,
    q_j, q_t, k_j, k_s, v_s, do_t, row_j, dq_j, dq_t, T, lam, scale, c,
    D: tl.constexpr, DV: tl.constexpr, BT: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """From the last block of keys to the first, by pointers of its own."""
    me = tl.program_id(0)
    rows = me * BT + tl.arange(0, BT)
    m_t = rows < T
    wide, cols = tl.arange(0, DV)[None, :], tl.arange(0, D)[None, :]
    at_q = rows[:, None] * q_t + cols
    q1 = tl.load(p_q + at_q, m_t[:, None], 0)
    q2 = tl.load(p_q + at_q + q_j, m_t[:, None], 0)
    do = tl.load(p_do + rows[:, None] * do_t + wide, m_t[:, None], 0)
    lse1 = tl.load(p_lse + rows, m_t, 0)
    lse2 = tl.load(p_lse + rows + row_j, m_t, 0)
    delta1 = tl.load(p_delta + rows, m_t, 0)
    delta2 = tl.load(p_delta + rows + row_j, m_t, 0)
    dq1 = tl.zeros([BT, D], tl.float32)
    dq2 = tl.zeros([BT, D], tl.float32)
    blocks = tl.cdiv(tl.minimum(T, me * BT + BT), BS)
    for i in range(blocks):
        keys = (blocks - 1 - i) * BS + tl.arange(0, BS)
        m_s = (keys < T)[:, None]
        at_k = keys[:, None] * k_s + cols
        k1 = tl.load(p_k + at_k, m_s, 0)
        k2 = tl.load(p_k + at_k + k_j, m_s, 0)
        v = tl.load(p_v + keys[:, None] * v_s + wide, m_s, 0)
        seen = keys[None, :] <= rows[:, None]
        _, ds1, ds2 = tile(
            q1, q2, k1, k2, v, do, lse1, lse2, delta1, delta2, lam, seen, c
        )
        dq1 += tl.dot(ds1, k1.to(tl.float32) * scale, input_precision="ieee")
        dq2 += tl.dot(ds2, k2.to(tl.float32) * scale, input_precision="ieee")
    at_dq = rows[:, None] * dq_t + cols
    tl.store(p_dq + at_dq, dq1, m_t[:, None])
    tl.store(p_dq + at_dq + dq_j, dq2, m_t[:, None])


def table(kernels, needs=None, widths=None, forget=()):
    """List every product of every kernel, then add up their widths."""
    needs = needs or {
        "dq": "s1 s2 da dq1 dq2",
        "dk": "s1 s2 da dk1 dk2",
        "dv": "s1 s2 dv",
    }
    products = []
    for number, kernel in enumerate(kernels):
        for result in kernel.split():
            for name in needs[result].split():
                mine = -1 if name in forget else number
                if (mine, name) not in products:
                    products.append((mine, name))
    wide = {"da": 2, "dv": 2} | (widths or {})
    return sum(wide.get(name, 1) for _, name in products)


def needing(**changes):
    needs = {
        "dq": "s1 s2 da dq1 dq2",
        "dk": "s1 s2 da dk1 dk2",
        "dv": "s1 s2 dv",
    }
    return {n: changes.get(n, products) for n, products in needs.items()}


def without(*names):
    return lambda kernels: table(kernels, widths=dict.fromkeys(names, 0))


def pre(*changes):
    return edited(by_pointers, *changes)


def one(*changes):
    return edited(branch_by_branch, *changes)


def walk(*changes):
    return edited(backwards, *changes)


def weighed(old, new):
    """Branch by branch with another way to weigh."""
    other = edited(weights, (old, new))
    other.fn.__globals__["weights"] = other
    names = {**branch_by_branch.fn.__globals__, "weights": other}
    changed = edited(branch_by_branch)
    changed.fn.__globals__.update(names)
    return changed


RIGHT = {
    "12.1": by_pointers,
    "12.2": branch_by_branch,
    "12.3": backwards,
    "12.4": table,
}

_SEEN = 'tl.where(m_seen, b_s - b_lse[:, None], float("-inf"))'
_FORWARDS = "(blocks - 1 - i) * BS", "i * BS"
_RAW = "b_s - b_lse[:, None]"

WRONG = {
    "12.1": {
        "root held fixed": pre(("(dy - along * o)", "dy")),
        "scale not everywhere": pre(
            ("norm_scale * (dy - along * o)", "(norm_scale * dy - along * o)")
        ),
        "scale dropped": pre(("norm_scale * (", "(")),
        "powers of r": pre(("(dy - along * o)",
                            "(dy - along * o * tl.sqrt(square))")),
        "sum for mean": pre(("/ DV / square", "/ square")),
        "eps outside": pre(
            ("/ DV + eps", "/ DV"),
            ("    along =", "    square = (tl.sqrt(square) + eps) * "
             "(tl.sqrt(square) + eps)\n    along ="),
        ),
        "sums of dy": pre(("do * o1", "dy * o1"), ("do * o2,", "dy * o2,")),
        "o for o1": pre(("do * o1", "do * o")),
        "sign of lam": pre(("o + lam * o2", "o - lam * o2")),
        "lam dropped": pre(("o + lam * o2", "o + o2")),
        "identity for the row sum": pre(("o + lam * o2", "lam * o2")),
        "branches swapped": pre(("d1, d2 =", "d2, d1 =")),
        "sums before rounding": pre(("do = half.to(tl.float32)", "")),
        "wrong stride": pre(("at_o = rows[:, None] * out_t",
                             "at_o = rows[:, None] * dy_t")),
        "delta_2 right behind delta_1": pre(("rows + delta_j", "rows + T")),
        "delta_1 unmasked": pre(("rows, d1, mask=inside", "rows, d1")),
        "output not written": pre(
            ("    tl.store(p_delta + rows + delta_j, d2, mask=inside)", "")
        ),
        "same rows for all": pre((" + BT * tl.program_id(0)", "")),
        "sign of the second term": pre(
            ("(dy - along * o)", "(dy + along * o)")
        ),
        "root or inverse forgotten": pre(
            ("/ DV / square", "/ DV * square * square"),
            ("/ tl.sqrt(square)", "* square"),
        ),
    },
    "12.2": {
        "base e": weighed("tl.exp2", "tl.exp"),
        "no scale": weighed("b_q * c", "b_q"),
        "log-sum scaled": weighed("b_lse[:, None]", "(b_lse * c)[:, None]"),
        "no mask": weighed(_SEEN, _RAW),
        "mask as a factor": weighed(
            f"tl.exp2({_SEEN})", f"m_seen * tl.exp2({_RAW})"
        ),
        "hidden logits are 0": weighed(
            _SEEN, "tl.where(m_seen, b_s, 0) - b_lse[:, None]"
        ),
        "mask turned round": weighed("where(m_seen", "where(m_seen == 0"),
        "numbers of columns": weighed("b_lse[:, None]", "b_lse"),
        "tile turned over": one(("tl.trans(tl.dot(b_v, tl.trans(b_do), "
                                 'input_precision="ieee"))',
                                 "tl.dot(b_v, tl.trans(b_do), "
                                 'input_precision="ieee")')),
        "keys of branch 1 twice": one(("b_q2, b_k2, b_lse2",
                                       "b_q2, b_k1, b_lse2")),
        "log-sum of branch 1 twice": one(("b_q2, b_k2, b_lse2",
                                          "b_q2, b_k2, b_lse1")),
        "lam dropped in dS2": one(("-lam * above2", "-above2")),
        "sign of dS2": one(("-lam * above2", "lam * above2")),
        "lam in both branches": one(("above1 * a1", "above1 * a1 * lam")),
        "lam twice": one(("    ds1 =", "    a2 *= lam\n    ds1 =")),
        "lam on delta_2": one(
            ("slope - tl.expand_dims(b_delta2, 1)",
             "slope - lam * tl.expand_dims(b_delta2, 1)"),
            ("-lam * above2", "-above2"),
        ),
        "lam dropped in the map": one(("a1 - a2 * lam", "a1 - a2")),
        "no delta": one(("slope - tl.expand_dims(b_delta1, 1)", "slope"),
                    ("slope - tl.expand_dims(b_delta2, 1)", "slope")),
        "one delta for both": one(("dims(b_delta2", "dims(b_delta1")),
        "delta of the other branch": one(
            ("above1 = slope - tl.expand_dims(b_delta1",
             "above1 = slope - tl.expand_dims(b_delta0"),
            ("b_delta2, 1)", "b_delta1, 1)"),
            ("b_delta0", "b_delta2"),
        ),
        "results in another order": one(("* lam, ds1, ds2",
                                         "* lam, ds2, ds1")),
        "c again": one(("ds1, ds2", "c * ds1, c * ds2")),
    },
    "12.3": {
        "from the diagonal on": walk(
            ("range(blocks)", "range(tl.cdiv(T, BS) - me * BT // BS)"),
            ("(blocks - 1 - i) * BS", "(me * BT // BS + i) * BS"),
        ),
        "diagonal left out": walk(("me * BT + BT)", "me * BT)")),
        "hidden blocks visited": walk(("tl.minimum(T, me * BT + BT)", "T")),
        "step of one": walk(
            ("range(blocks)", "range(tl.minimum(T, me * BT + BT))"),
            ("(blocks - 1 - i) * BS", "i"),
        ),
        "own key hidden": walk(("<= rows", "< rows")),
        "mask without an axis": walk(("<= rows[:, None]",
                                      "<= rows[None, :]")),
        "mask turned round": walk(("<= rows", ">= rows")),
        "no mask of what is seen": walk(
            ("keys[None, :] <= rows[:, None]",
             "tl.trans(m_s) & m_t[:, None]"),
        ),
        "stale accumulator": walk(("dq1 += ", "dq1 = "),
                                  ("dq2 += ", "dq2 = "), _FORWARDS),
        "no scale": walk((" * scale", "")),
        "scale of base 2": walk((" * scale", " * c")),
        "scale twice": walk((" * scale", " * scale * scale")),
        "scale in tile": walk(("seen, c", "seen, scale")),
        "scale at every step": walk(
            ("* scale, ", ", "),
            ("        dq1 += ", "        dq1 *= scale\n        dq1 += "),
            ("        dq2 += ", "        dq2 *= scale\n        dq2 += "),
            ("    at_dq =", "    dq1 *= scale\n    dq2 *= scale\n    at_dq ="),
            _FORWARDS,
        ),
        "queries for keys": walk(("ds1, k1.to", "ds1, q1.to"),
                                 ("ds2, k2.to", "ds2, q2.to")),
        "tile turned over": walk(("dot(ds1", "dot(tl.trans(ds1)"),
                                 ("dot(ds2", "dot(tl.trans(ds2)")),
        "tiles in another order": walk(("_, ds1, ds2", "ds1, ds2, _")),
        "keys of branch 1 twice": walk(("at_k + k_j", "at_k")),
        "queries of branch 1 twice": walk(("at_q + q_j", "at_q")),
        "rows of branch 1 twice": walk(("rows + row_j", "rows")),
        "rows unmasked": walk(("p_lse + rows, m_t, 0", "p_lse + rows")),
        "branch 2 right behind": walk(("rows + row_j", "rows + T")),
        "same queries for all": walk(("tl.program_id(0)",
                                      "tl.program_id(1)")),
        "a branch not written": walk(
            ("    tl.store(p_dq + at_dq + dq_j, dq2, m_t[:, None])", "")
        ),
        "branches swapped": walk(("at_dq, dq1", "at_dq, dq0"),
                                 ("dq_j, dq2", "dq_j, dq1"),
                                 ("dq0", "dq2")),
        "added, not written": walk(("tl.store(p_dq", "tl.atomic_add(p_dq")),
        "dS not rounded": walk(("k1.to(tl.float32)", "k1"),
                               ("k2.to(tl.float32)", "k2"),
                               (" * scale, input", ", input"),
                               ("at_dq, dq1", "at_dq, dq1 * scale"),
                               ("dq_j, dq2", "dq_j, dq2 * scale")),
        "branch 2 onto branch 1": walk(("at_dq + dq_j", "at_dq")),
        "wrong stride": walk(("keys[:, None] * k_s", "keys[:, None] * q_t")),
        "the same keys in every round": walk(
            ("(blocks - 1 - i) * BS", "0 * i")
        ),
        "branches crossed": walk(
            ("v, do, lse1, lse2, d", "v, do, lse2, lse1, d")
        ),
    },
    "12.4": {
        "scores once": lambda k: table(k, forget=("s1", "s2")),
        "slopes once": lambda k: table(k, forget=("da",)),
        "nothing again": lambda k: table(k, forget=("s1", "s2", "da")),
        "each result by itself": lambda k: sum(
            table([name]) for kernel in k for name in kernel.split()
        ),
        "slopes in each branch": lambda k: table(k, widths={"da": 4}),
        "slopes D wide": lambda k: table(k, widths={"da": 1}),
        "slopes for dv": lambda k: table(k, needing(dv="s1 s2 da dv")),
        "dv in each branch": lambda k: table(k, widths={"dv": 4}),
        "one branch": without("dq2", "dk2"),
        "scores of one branch": without("s2"),
        "scores not computed again": without("s1", "s2"),
        "slopes left out": lambda kernels: table(kernels, widths={"da": 0}),
        "slopes for one result": lambda k: table(
            k, needing(dk="s1 s2 dk1 dk2")
        ),
        "results left out": without("dq1", "dq2", "dk1", "dk2", "dv"),
        "last kernel only": lambda kernels: table(kernels[-1:]),
        "letters counted": lambda k: (
            table(k) + 2 * sum(len(x) - len(x.split()) for x in k)
        ),
        "count begun anew": lambda k: 2 * len(k[-1].split()),
    },
}  # fmt: skip
