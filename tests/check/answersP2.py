"""Problem set 2: right and wrong answers written another way than ours."""

import math

import torch

# P2.1 and P2.2: heads and tokens in loops, no operator ------------------


def project(layer, x):
    """q (H, 2, T, D), k (Hkv, 2, T, D), v (Hkv, T, 2D) of one sequence."""
    (H, _, D), Hkv = layer.q_shape, layer.k_shape[0]
    T = len(x)
    q = (x @ layer.q_proj.weight.T).view(T, H, 2, D).permute(1, 2, 0, 3)
    k = (x @ layer.k_proj.weight.T).view(T, Hkv, 2, D).permute(1, 2, 0, 3)
    v = (x @ layer.v_proj.weight.T).view(T, Hkv, 2 * D).permute(1, 0, 2)
    return q, k, v


def lam_of(layer):
    a = torch.dot(layer.lambda_q1, layer.lambda_k1).exp()
    b = torch.dot(layer.lambda_q2, layer.lambda_k2).exp()
    return float(a - b) + layer.lam_init


def softmax_row(q, k):
    e = torch.exp(k @ q / math.sqrt(len(q)))
    return e / e.sum()


def attend(
    layer, q, k, v, seen, *, lam=None, scale=None, norm=True, weight=True
):
    """One sequence: q (H, 2, T, D) over k (Hkv, 2, S, D); `seen(t)` keys."""
    H, T, Hkv = q.shape[0], q.shape[2], k.shape[0]
    lam = lam_of(layer) if lam is None else lam
    scale = 1 - layer.lam_init if scale is None else scale
    rows = []
    for t in range(T):
        heads = []
        for h in range(H):
            g, n = h * Hkv // H, seen(t)
            maps = [softmax_row(q[h, i, t], k[g, i, :n]) for i in (0, 1)]
            o = maps[0] @ v[g, :n] - lam * (maps[1] @ v[g, :n])
            if norm:
                o = scale * o / math.sqrt(float((o**2).mean()) + 1e-5)
                o = o * layer.norm_weight if weight else o
            heads.append(o)
        rows.append(torch.cat(heads))
    return torch.stack(rows) @ layer.out_proj.weight.T


def turn(x, cos, sin, start):
    """Rotate x (..., T, D) as complex numbers, from position start on."""
    T = x.shape[-2]
    z = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    w = torch.complex(cos, sin)[start : start + T]
    return torch.view_as_real(z * w).flatten(-2)


def grow(
    layer, x, k, v, cos, sin, *,
    first=None, q_from=None, old=None, keep=None, see=None, new_only=False,
    front=False, **options,
):  # fmt: skip
    S = k.shape[3]
    first = S if first is None else first
    ys, ks, vs = [], [], []
    for b in range(len(x)):
        q1, k1, v1 = project(layer, x[b])
        if q_from is None:
            q1 = turn(q1, cos, sin, first)
        if keep is None:
            k1 = turn(k1, cos, sin, first)
        before = k[b] if old is None else turn(k[b], cos, sin, 0)
        everything = torch.cat([k1, before] if front else [before, k1], 2)
        values = torch.cat([v1, v[b]] if front else [v[b], v1], 1)
        used = everything
        if keep == "turned at use":
            used = turn(everything, cos, sin, 0)
        if new_only:
            used, values_used, n = k1, v1, 0
        else:
            values_used, n = values, S
        seen = see or (lambda t, n=n: n + t + 1)
        ys.append(attend(layer, q1, used, values_used, seen, **options))
        ks.append(everything)
        vs.append(values)
    return torch.stack(ys), torch.stack(ks), torch.stack(vs)


def changed(**options):
    return lambda *args: grow(*args, **options)


def one_late(layer, x, k, *rest):
    return grow(layer, x, k, *rest, first=k.shape[3] + 1)


def new_only_kept(layer, x, *rest):
    y, k, v = grow(layer, x, *rest)
    return y, k[:, :, :, -x.shape[1] :], v[:, :, -x.shape[1] :]


def unprojected(outcome, layer):
    """The heads side by side, found by solving for them."""
    y, k, v = outcome
    return torch.linalg.solve(layer.out_proj.weight, y.mT).mT, k, v


def badly_merged(layer, x, *rest):
    heads, k, v = unprojected(grow(layer, x, *rest), layer)
    rows = heads.unflatten(-1, (layer.q_shape[0], -1)).transpose(1, 2)
    return rows.reshape(heads.shape) @ layer.out_proj.weight.T, k, v


def step(
    layer, x, k, v, lengths, *,
    place=None, count=None, norm=True, zero=False,
):  # fmt: skip
    """Row by row; `place` writes, `count` says how many keys are seen."""
    k, v, ys = k.clone(), v.clone(), []
    new = [project(layer, row) for row in x]
    if place is None:
        for b, n in enumerate(lengths.tolist()):
            k[b, :, :, n], v[b, :, n] = new[b][1][:, :, 0], new[b][2][:, 0]
    else:
        k, v = place(k, v, new, lengths.tolist())
    for b, n in enumerate(lengths.tolist()):
        m = n + 1 if count is None else count(n, k.shape[3])
        keys, values = k[b], v[b]
        if zero:
            keys, values = torch.nan_to_num(keys), torch.nan_to_num(values)
        if m == 0:
            ys.append(torch.zeros_like(x[b]))
            continue
        ys.append(
            attend(layer, new[b][0], keys, values, lambda t, m=m: m, norm=norm)
        )
    return torch.stack(ys), k, v


def at_longest(k, v, new, lengths):
    for b, (_, k1, v1) in enumerate(new):
        k[b, :, :, max(lengths)], v[b, :, max(lengths)] = (
            k1[..., 0, :],
            v1[:, 0],
        )
    return k, v


def behind(k, v, new, lengths):
    k1 = torch.stack([x[1] for x in new])
    v1 = torch.stack([x[2] for x in new])
    return torch.cat((k, k1), dim=3), torch.cat((v, v1), dim=2)


def everywhere(k, v, new, lengths):
    for b, (_, k1, v1) in enumerate(new):
        for n in lengths:
            k[b, :, :, n], v[b, :, n] = k1[:, :, 0], v1[:, 0]
    return k, v


def one_too_early(k, v, new, lengths):
    for b, (_, k1, v1) in enumerate(new):
        k[b, :, :, lengths[b] - 1] = k1[:, :, 0]
        v[b, :, lengths[b] - 1] = v1[:, 0]
    return k, v


def keys_only(k, v, new, lengths):
    for b, n in enumerate(lengths):
        k[b, :, :, n] = new[b][1][:, :, 0]
    return k, v


def added_to_nothing(k, v, new, lengths):
    for b, n in enumerate(lengths):
        k[b, :, :, n] = 0 * k[b, :, :, n] + new[b][1][:, :, 0]
        v[b, :, n] = 0 * v[b, :, n] + new[b][2][:, 0]
    return k, v


# P2.3 --------------------------------------------------------------------


def four_heads(Wq, Wk, Wv, Wo, lam, H, *, order=None, sign=None, in_v=False):
    """Slices in a loop, branch first; lam may stand in Wv."""
    D = len(Wq) // (2 * H)
    parts = [[], [], [], []]
    sign = sign or (lambda i, j: 1.0 if i == 0 else -lam)
    for i in (0, 1):
        for j in (0, 1):
            for h in range(H):
                rows = slice((2 * h + i) * D, (2 * h + i + 1) * D)
                half = slice((2 * h + j) * D, (2 * h + j + 1) * D)
                if order:
                    rows, half = order(h, i, j, D)
                f = sign(i, j)
                parts[0].append(Wq[rows])
                parts[1].append(Wk[rows])
                parts[2].append(Wv[half] * (f if in_v else 1.0))
                parts[3].append(Wo[:, half] * (1.0 if in_v else f))
    return (*(torch.cat(p) for p in parts[:3]), torch.cat(parts[3], 1))


def values_by_branch(Wq, Wk, Wv, Wo, lam, H):
    """Queries and keys by head, then branch; values the other way round."""
    q, k, *_ = four_heads(Wq, Wk, Wv, Wo, lam, H)
    _, _, v, o = four_heads(Wq, Wk, Wv, Wo, lam, H)
    D = len(Wq) // (2 * H)
    by_head = [(i, j, h) for h in range(H) for i in (0, 1) for j in (0, 1)]
    by_half = [(i, j, h) for i in (0, 1) for h in range(H) for j in (0, 1)]

    def ordered(order):
        starts = [((2 * i + j) * H + h) * D for i, j, h in order]
        return torch.cat([torch.arange(n, n + D) for n in starts])

    return (
        q[ordered(by_head)],
        k[ordered(by_head)],
        v[ordered(by_half)],
        o[:, ordered(by_half)],
    )


def pairs_of_heads(Wq, Wk, Wv, Wo, lam, H):
    sign = torch.ones(Wo.shape[1], dtype=Wo.dtype)
    D = len(Wq) // (2 * H)
    for h in range(H):
        sign[(2 * h + 1) * D : (2 * h + 2) * D] = -lam
    return Wq, Wk, Wv, Wo @ torch.diag(sign)


def queries_scaled(Wq, Wk, Wv, Wo, lam, H):
    D = len(Wq) // (2 * H)
    f = torch.tensor([1.0, -lam], dtype=Wq.dtype).repeat(H)
    Wq = Wq * f.repeat_interleave(D)[:, None]
    return four_heads(Wq, Wk, Wv, Wo, lam, H, sign=lambda i, j: 1.0)


def in_both(Wq, Wk, Wv, Wo, lam, H):
    q, k, v, o = four_heads(Wq, Wk, Wv, Wo, lam, H)
    half = len(v) // 2
    return q, k, torch.cat([v[:half], lam * v[half:]]), o


# P2.4 --------------------------------------------------------------------


def plain(o1, o2, lam, weight, scale, eps, outside=False):
    o = o1 - o2 * lam
    square = (o * o).sum(-1, keepdim=True) / o.shape[-1]
    root = torch.sqrt(square) + eps if outside else torch.sqrt(square + eps)
    return o / root * (scale * weight)


def by_autograd(change=None, forward=plain):
    """Backward by recording the formula again; `change` spoils gradients."""

    class End(torch.autograd.Function):
        @staticmethod
        def forward(ctx, o1, o2, lam, weight, scale, eps):
            ctx.save_for_backward(o1, o2, lam, weight)
            ctx.numbers = scale, eps
            return forward(o1, o2, lam, weight, scale, eps)

        @staticmethod
        def backward(ctx, dout):
            inputs = [x.detach().requires_grad_() for x in ctx.saved_tensors]
            with torch.enable_grad():
                out = forward(*inputs, *ctx.numbers)
            grads = list(torch.autograd.grad(out, inputs, dout))
            if change:
                x = [t.detach() for t in inputs]
                grads = change(grads, x, *ctx.numbers, dout)
            return *grads, None, None

    return End


def fixed_root(grads, x, scale, eps, dout):
    o1, o2, lam, weight = x
    o = o1 - lam * o2
    do = dout * weight * scale / torch.sqrt(o.pow(2).mean(-1)[..., None] + eps)
    return [do, -do * lam, -(do * o2).sum(), grads[3]]


def with_second_term(grads, x, scale, eps, dout, factor):
    """The first term's gradient less `factor(r, Dv)` times the second."""
    o1, o2, lam, weight = x
    o, n = o1 - lam * o2, o1.shape[-1]
    g = dout * weight * scale
    r = 1 / torch.sqrt(torch.einsum("bhtc,bhtc->bht", o, o) / n + eps)
    inner = torch.einsum("bhtc,bhtc->bht", g, o) / n * factor(r, n)
    do = r[..., None] * (g - inner[..., None] * o)
    return [do, -do * lam, -(do * o2).sum(), grads[3]]


def without_norm(grads, x, scale, eps, dout):
    o = x[0] - x[2] * x[1]
    return [*grads[:3], torch.einsum("bhtc,bhtc->c", dout, o) * scale]


def own_do(find):
    """Gradients from a `do` of one's own: find(g, o, root, weight)."""

    def change(grads, x, scale, eps, dout):
        o1, o2, lam, weight = x
        o = o1 - lam * o2
        root = torch.sqrt((o * o).sum(-1, keepdim=True) / o.shape[-1] + eps)
        do = find(dout * weight * scale, o, root, weight)
        return [do, -lam * do, -(do * o2).sum(), grads[3]]

    return change


def by_sum(o1, o2, lam, weight, scale, eps):
    o = o1 - o2 * lam
    root = torch.sqrt((o * o).sum(-1, keepdim=True) + eps)
    return scale * weight * o / root


def reweighted(grads, x, scale, eps, dout):
    """dout as if the weight were 1."""
    weight = x[3]
    inputs = [t.clone().requires_grad_() for t in x[:3]]
    with torch.enable_grad():
        out = plain(*inputs, torch.ones_like(weight), scale, eps)
    return [*torch.autograd.grad(out, inputs, dout), grads[3]]


def negated(i):
    def change(grads, *rest):
        grads[i] = -grads[i]
        return grads

    return change


def with_entry(i, value):
    def change(grads, x, scale, eps, dout):
        grads[i] = value(grads, x, scale, eps, dout)
        return grads

    return change


RIGHT = {
    "P2.1": grow,
    "P2.2": step,
    "P2.3": lambda *args: four_heads(*args, in_v=True),
    "P2.4": by_autograd(),
}

WRONG = {
    "P2.1": {
        "positions from zero": changed(first=0),
        "kept without rotation": changed(keep="turned at use"),
        "rotated again": changed(old="turned"),
        "branches counted for tokens": changed(first=2),
        "one position late": one_late,
        "cache not whole": new_only_kept,
        "new tokens in front": changed(front=True),
        "not projected": lambda layer, *a: unprojected(grow(layer, *a), layer),
        "heads merged with tokens": badly_merged,
        "keys not rotated": changed(keep="never"),
        "queries not rotated": changed(q_from="nowhere"),
        "cache not read": changed(new_only=True),
        "not causal": lambda layer, x, k, *a: grow(
            layer, x, k, *a, see=lambda t: k.shape[3] + x.shape[1]
        ),
        "norm dropped": changed(norm=False),
        "norm without its weight": changed(weight=False),
        "norm without its factor": changed(scale=1.0),
        "scale by lam_init": lambda layer, *a: grow(
            layer, *a, scale=layer.lam_init
        ),
        "scale by lambda": lambda layer, *a: grow(
            layer, *a, scale=1 - lam_of(layer)
        ),
        "lam_init for lambda": lambda layer, *a: grow(
            layer, *a, lam=layer.lam_init
        ),
    },
    "P2.2": {
        "appended at the end": lambda *a: step(*a, place=behind),
        "one place for all rows": lambda *a: step(*a, place=at_longest),
        "every row at every place": lambda *a: step(*a, place=everywhere),
        "last token overwritten": lambda *a: step(*a, place=one_too_early),
        "only one of two written": lambda *a: step(*a, place=keys_only),
        "masked by a product": lambda *a: step(*a, place=added_to_nothing),
        "not projected": lambda layer, *a: unprojected(step(layer, *a), layer),
        "new token not seen": lambda *a: step(*a, count=lambda n, C: n),
        "empty places seen": lambda *a: step(*a, count=lambda n, C: C),
        "empty places zero": lambda *a: step(
            *a, count=lambda n, C: C, zero=True
        ),
        "norm dropped": lambda *a: step(*a, norm=False),
    },
    "P2.3": {
        "2H heads only": pairs_of_heads,
        "branches and halves out of step": lambda *a: four_heads(
            *a,
            order=lambda h, i, j, D: (
                (slice((2 * h + j) * D, (2 * h + j + 1) * D),) * 2
            ),
        ),
        "heads out of step": values_by_branch,
        "lam rounded": lambda Wq, Wk, Wv, Wo, lam, H: four_heads(
            Wq, Wk, Wv, Wo, float(torch.tensor(lam)), H
        ),
        "lam dropped": lambda *a: four_heads(
            *a, sign=lambda i, j: (-1.0) ** i
        ),
        "added": lambda Wq, Wk, Wv, Wo, lam, H: four_heads(
            Wq, Wk, Wv, Wo, -lam, H
        ),
        "not subtracted": lambda Wq, Wk, Wv, Wo, lam, H: four_heads(
            Wq, Wk, Wv, Wo, -1.0, H
        ),
        "branches swapped": lambda Wq, Wk, Wv, Wo, lam, H: four_heads(
            Wq, Wk, Wv, Wo, lam, H, sign=lambda i, j: 1.0 if i else -lam
        ),
        "lam before the softmax": queries_scaled,
        "lam twice": in_both,
        "halves weighted": lambda Wq, Wk, Wv, Wo, lam, H: four_heads(
            Wq, Wk, Wv, Wo, lam, H, sign=lambda i, j: -lam if j else 1.0
        ),
    },
    "P2.4": {
        "root mean square held fixed": by_autograd(fixed_root),
        "r squared missing": by_autograd(
            lambda *a: with_second_term(*a, lambda r, n: 1)
        ),
        "sum instead of mean": by_autograd(
            lambda *a: with_second_term(*a, lambda r, n: n * r**2)
        ),
        "second term added": by_autograd(
            lambda *a: with_second_term(*a, lambda r, n: -(r**2))
        ),
        "mean over everything": by_autograd(
            own_do(
                lambda g, o, root, w: (g - o / root**2 * (g * o).mean()) / root
            )
        ),
        "weight missing in the second term": by_autograd(
            own_do(
                lambda g, o, root, w: (
                    (g - o / root**2 * (g / w * o).mean(-1)[..., None]) / root
                )
            )
        ),
        "do without r": by_autograd(
            own_do(
                lambda g, o, root, w: (
                    g - o / root * (g * o / root).mean(-1)[..., None]
                )
            )
        ),
        "sum in the forward norm": by_autograd(forward=by_sum),
        "lam missing for o2": by_autograd(
            with_entry(1, lambda grads, *rest: -grads[0])
        ),
        "sign for o2": by_autograd(negated(1)),
        "lambda past the norm": by_autograd(
            with_entry(
                2,
                lambda grads, x, scale, eps, dout: (
                    -torch.einsum("bhtc,bhtc->", dout, x[1])
                ),
            )
        ),
        "lambda with o": by_autograd(
            with_entry(
                2,
                lambda grads, x, scale, eps, dout: (
                    -(grads[0] * (x[0] - x[2] * x[1])).sum()
                ),
            )
        ),
        "lambda without gradient": by_autograd(
            with_entry(2, lambda grads, *rest: None)
        ),
        "sign for lambda": by_autograd(negated(2)),
        "scale forgotten on the way back": by_autograd(
            lambda grads, x, scale, eps, dout: (
                [grad / scale for grad in grads[:3]] + grads[3:]
            )
        ),
        "weight's gradient without scale": by_autograd(
            with_entry(3, lambda grads, x, scale, *rest: grads[3] / scale)
        ),
        "weight forgotten on the way back": by_autograd(reweighted),
        "weight's gradient without the norm": by_autograd(without_norm),
        "eps forgotten": by_autograd(
            forward=lambda *x: plain(*x[:5], eps=0.0)
        ),
        "eps outside": by_autograd(forward=lambda *x: plain(*x, outside=True)),
    },
}
