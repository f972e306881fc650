"""Problem set 4: right and wrong answers written another way than ours."""

import math

import numpy as np
import torch
from torch.nn import functional as F

from minidiff import diff_attention
from minidiff.check.edited import edited

# P4.1: rows, heads and queries in loops --------------------------------


def borders(ids, end):
    """Where each token's document begins, by walking along the row."""
    starts, begin = [], 0
    for t, token in enumerate(ids):
        starts.append(begin)
        if token == end:
            begin = t + 1
    return starts


def keys_of(ids, end):
    return [list(range(s, t + 1)) for t, s in enumerate(borders(ids, end))]


def by_documents(q, k, v, lam, tokens, end):
    """Each document alone, with minidiff's own operator."""
    out = torch.empty_like(v)
    for b, ids in enumerate(tokens.tolist()):
        starts = borders(ids, end)
        for first in sorted(set(starts)):
            here = slice(first, first + starts.count(first))
            out[b : b + 1, :, here] = diff_attention(
                *(x[b : b + 1, ..., here, :] for x in (q, k, v)), lam
            )
    return out


def weights(q, k, keys, width=None):
    logits = [float(q @ k[s]) / math.sqrt(width or len(q)) for s in keys]
    top = max(logits)
    e = [math.exp(x - top) for x in logits]
    row = torch.zeros(len(k), dtype=k.dtype)
    for s, x in zip(keys, e, strict=True):
        row[s] = x / sum(e)
    return row


def walk(
    *,
    keys=keys_of,
    keys2=None,
    keep=None,
    width=lambda D: D,
    sign=lambda lam: -lam,
    rows=lambda tokens: tokens,
):
    """Query by query; `keys` lists what each sees, `keep` what remains."""

    def answer(q, k, v, lam, tokens, end):
        out = torch.zeros_like(v)
        _, H, _, T, D = q.shape
        for b, ids in enumerate(rows(tokens).tolist()):
            lists = [keys(ids, end), (keys2 or keys)(ids, end)]
            for h in range(H):
                for t in range(T):
                    A = [
                        weights(
                            q[b, h, i, t], k[b, h, i], lists[i][t], width(D)
                        )
                        for i in (0, 1)
                    ]
                    A = A[0] + sign(lam) * A[1]
                    if keep:
                        gone = set(range(T)) - set(keep(ids, end)[t])
                        A[sorted(gone)] = 0
                    out[b, h, t] = A @ v[b, h]
        return out

    return answer


def everything_before(ids, end):
    return [list(range(t + 1)) for t in range(len(ids))]


def end_with_next(ids, end):
    lists, begin = [], 0
    for t, token in enumerate(ids):
        begin = t if token == end else begin
        lists.append(list(range(begin, t + 1)))
    return lists


def end_by_itself(ids, end):
    return [
        [t] if ids[t] == end else keys
        for t, keys in enumerate(keys_of(ids, end))
    ]


def two_documents(ids, end):
    if end not in ids:
        return everything_before(ids, end)
    cut = ids.index(end)
    return [
        list(range(0 if t <= cut else cut + 1, t + 1)) for t in range(len(ids))
    ]


def open_at_the_end(ids, end):
    """Blocks are cut out as ends come; what is left over keeps all."""
    lists, begin = everything_before(ids, end), 0
    for cut, token in enumerate(ids):
        if token == end:
            for t in range(begin, cut + 1):
                lists[t] = list(range(begin, t + 1))
            begin = cut + 1
    return lists


def heads_forgotten(q, k, v, lam, tokens, end):
    B, _, _, T, D = q.shape
    hide = torch.zeros(B, T, T, dtype=q.dtype)
    for b, ids in enumerate(tokens.tolist()):
        for t, keys in enumerate(keys_of(ids, end)):
            hide[b, t, [s for s in range(T) if s not in keys]] = -math.inf
    x = torch.einsum("bhitd,bhisd->bhits", q, k) / math.sqrt(D)
    A = [torch.softmax(x[:, :, i] + hide, -1) for i in (0, 1)]
    return (A[0] - lam * A[1]) @ v


def swapped(q, k, v, lam, tokens, end):
    return by_documents(q.flip(2), k.flip(2), v, lam, tokens, end)


def no_ends(ids, end):
    return [
        [s for s in range(t + 1) if ids[s] != end or s == t]
        for t in range(len(ids))
    ]


def both_ways(ids, end):
    starts = borders(ids, end)
    return [
        [s for s, other in enumerate(starts) if other == mine]
        for mine in starts
    ]


def others_only(ids, end):
    return [keys[:-1] or keys for keys in keys_of(ids, end)]


def with_zeros(q, k, v, lam, tokens, end):
    """Hidden logits made 0 in NumPy, the future minus infinity."""
    q, k, v = (x.numpy() for x in (q, k, v))
    D = q.shape[-1]
    logits = np.einsum("bhitd,bhisd->bhits", q, k) / np.sqrt(D)
    for b, ids in enumerate(tokens.tolist()):
        for t, keys in enumerate(keys_of(ids, end)):
            for s in range(t + 1):
                if s not in keys:
                    logits[b, :, :, t, s] = 0
            logits[b, :, :, t, t + 1 :] = -np.inf
    e = np.exp(logits - logits.max(-1, keepdims=True))
    A = e / e.sum(-1, keepdims=True)
    return (A[:, :, 0] - lam * A[:, :, 1]) @ v


def one_softmax(q, k, v, lam, tokens, end):
    T, D = q.shape[-2:]
    x = torch.einsum("bhtd,bhsd->bhts", q[:, :, 0], k[:, :, 0])
    x = x - lam * torch.einsum("bhtd,bhsd->bhts", q[:, :, 1], k[:, :, 1])
    x = x / math.sqrt(D)
    for b, ids in enumerate(tokens.tolist()):
        for t, keys in enumerate(keys_of(ids, end)):
            gone = [s for s in range(T) if s not in keys]
            x[b, :, t, gone] = -math.inf
    return torch.softmax(x, -1) @ v


# P4.2: losses by logarithms, gradients by torch.autograd.grad -------------


def loss_of(model, inputs, targets):
    """The sum of -log p over the targets that count, and their number."""
    counts = targets >= 0
    p = model(inputs).softmax(-1)[counts]
    p = p.gather(-1, targets[counts][:, None])
    return -p.log().sum(), int(counts.sum())


def mean_of(model, inputs, targets):
    """The mean, NaN where nothing counts."""
    return F.cross_entropy(model(inputs).transpose(1, 2), targets)


def gather(weigh, divide, start=0.0, *, loss_by=None):
    """Own sums of weigh(sum, n, targets); divided by divide(all targets)."""

    def answer(model, parts):
        weights = list(model.parameters())
        sums = [torch.full_like(w, start) for w in weights]
        loss, seen = 0.0, []
        for inputs, targets in parts:
            seen.append(targets)
            part, n = loss_of(model, inputs, targets)
            if n == 0:
                continue
            part = weigh(part, n, targets)
            grads = torch.autograd.grad(part, weights)
            sums = [a + g for a, g in zip(sums, grads, strict=True)]
            loss += part.item()
        number = divide(seen)
        for w, g in zip(weights, sums, strict=True):
            w.grad = g / number
        return loss / (loss_by or divide)(seen)

    return answer


def all_counted(seen):
    return sum(int((t != -100).sum()) for t in seen)


def is_sum(part, n, targets):
    return part


def is_mean(part, n, targets):
    return part / n


def old_kept(model, parts):
    before = [p.grad.clone() for p in model.parameters()]
    loss = gather(is_sum, all_counted)(model, parts)
    n = all_counted([t for _, t in LAST])
    for p, g in zip(model.parameters(), before, strict=True):
        p.grad += g / n
    return loss


LAST = []


def remembered(answer):
    """Leave the parts in LAST while they pass."""

    def with_memory(model, parts):
        LAST.clear()

        def passing():
            for part in parts:
                LAST.append(part)
                yield part

        return answer(model, passing())

    return with_memory


def only_last(model, parts):
    loss = gather(is_sum, all_counted)(model, parts)
    n = all_counted([t for _, t in LAST])
    inputs, targets = LAST[-1]
    last, _ = loss_of(model, inputs, targets)
    grads = torch.autograd.grad(last, list(model.parameters()))
    for p, g in zip(model.parameters(), grads, strict=True):
        p.grad = g / n
    return loss


def again_and_again(model, parts):
    count, loss = 0, 0.0
    model.zero_grad(set_to_none=True)
    grads = [torch.zeros_like(p) for p in model.parameters()]
    for inputs, targets in parts:
        part, n = loss_of(model, inputs, targets)
        part.backward(inputs=list(model.parameters()))
        count, loss = count + n, loss + part.item()
        for g, p in zip(grads, model.parameters(), strict=True):
            g += p.grad
            g /= count if count else math.nan
            p.grad = None
    for g, p in zip(grads, model.parameters(), strict=True):
        p.grad = g
    return loss / count


def nan_part(model, parts):
    """Means by PyTorch, weighed by counts."""
    loss, count = 0.0, 0
    model.zero_grad()
    for inputs, targets in parts:
        n = int((targets > -1).sum())
        part = mean_of(model, inputs, targets) * n
        part.backward()
        loss, count = loss + part.item(), count + n
    for p in model.parameters():
        p.grad.mul_(1 / count)
    return loss / count


def whole_graph(model, parts):
    losses, ns = zip(*(loss_of(model, *part) for part in parts), strict=True)
    loss = torch.stack(losses).sum() / sum(ns)
    for p, g in zip(
        model.parameters(),
        torch.autograd.grad(loss, list(model.parameters())),
        strict=True,
    ):
        p.grad = g
    return loss


def hoarded(model, parts):
    return gather(is_sum, all_counted)(model, [*parts])


# P4.3: process by process, AdamW written out ------------------------------


def adamw(w, g, m, s, t):
    m = m + (g - m) / 10
    s = s + (g * g - s) / 20
    root = np.sqrt(s / (1 - 0.95**t)) + 1e-8
    return w - 0.001 * w - 0.01 * (m / (1 - 0.9**t)) / root, m, s


def processes(
    *,
    everyone=lambda grads: sum(grads) / len(grads),
    share=lambda g, r, n: g[r * n : (r + 1) * n],
    length=lambda shares: math.sqrt(sum(float(x @ x) for x in shares)),
    clipped=lambda x, clip, norm: x * clip / norm if norm > clip else x,
    late=0,
):
    def answer(w, m, s, grads, t, clip):
        W, n = w.shape
        shares = []
        for r in range(W):
            g = everyone([*grads])
            g = g[r] if isinstance(g, list) else g
            mine = np.zeros(n)
            cut = share(np.append(g, np.zeros(W * n - len(g))), r, n)
            mine[: len(cut)] = cut
            shares.append(mine)
        norm = length(shares)
        norms = norm if isinstance(norm, list) else [norm] * W
        done = [
            adamw(
                w[r], clipped(shares[r], clip, norms[r]), m[r], s[r], t + late
            )
            for r in range(W)
        ]
        return tuple(np.stack(x) for x in zip(*done, strict=True))

    return answer


def norm_of(x):
    return float(np.linalg.norm(x))


def own_first(grads, clip):
    return [g / max(1.0, norm_of(g) / clip) for g in grads]


def clip_first(w, m, s, grads, t, clip):
    grads = np.stack(own_first(grads, clip))
    return processes(clipped=lambda x, clip, norm: x)(w, m, s, grads, t, clip)


def split_unevenly(w, m, s, grads, t, clip):
    shares = np.array_split(grads.mean(0), len(w))
    norm = math.sqrt(sum(float(x @ x) for x in shares))
    shares = [x * min(1, clip / norm) for x in shares]
    done = [adamw(*x, t) for x in zip(w, shares, m, s, strict=True)]
    return tuple(np.stack(x) for x in zip(*done, strict=True))


def long_norm(w, m, s, grads, t, clip):
    whole = math.sqrt(sum(norm_of(g) ** 2 for g in grads))
    return processes(length=lambda shares: whole)(w, m, s, grads, t, clip)


# P4.4 -------------------------------------------------------------------


def said_by(model, cache, tokens):
    logits = model(torch.tensor(tokens)[None], cache=cache)
    return [int(row.argmax()) for row in logits[0]]


def reading(
    back=lambda held, right, read: held + 1 + right,
    result=None,
    judge=None,
    parts=lambda cache: cache,
):
    """Guess by guess; `back` says how long the cache is afterwards."""

    def answer(model, cache, last, draft):
        held = [part.length for part in cache]
        said = said_by(model, cache, [last, *draft])
        right = 0
        for guess, own in zip(draft, said, strict=False):
            if guess != own:
                break
            right += 1
        right = judge(draft, said) if judge else right
        for part, n in zip(cache, held, strict=True):
            if part in parts(cache):
                part.length = back(n, right, part.length)
        if result:
            return result(draft, said, right)
        return [*said[: right + 1]]

    return answer


def by_mask(model, cache, last, draft):
    """The accepted prefix by a running product; a tensor comes back."""
    before = cache[-1].length
    row = torch.tensor([[last, *draft]])
    best = model(row, cache=cache).argmax(-1)[0]
    agree = (best[:-1] == row[0, 1:]).long().cumprod(0).sum()
    for part in cache:
        part.length = before + 1 + int(agree)
    return best[: int(agree) + 1].tolist()


def from_nothing(model, cache, last, draft):
    tokens = reading()(model, model.new_cache(1), last, draft)
    for part in cache:
        part.length += len(tokens)
    return tokens


def token_by_token(model, cache, last, draft):
    tokens, feed = [], last
    while True:
        tokens.append(said_by(model, cache, [feed])[0])
        feed = tokens[-1]
        if len(tokens) > len(draft) or draft[len(tokens) - 1] != feed:
            return tokens


def eager_reader(model, cache, last, draft):
    tokens = reading()(model, cache, last, draft)
    said_by(model, cache, [tokens[-1]])
    return tokens


# P4.5 -------------------------------------------------------------------


def by_sums(
    t_of=lambda t, n, N: t[n],
    variance=None,
    error=lambda var, n: math.sqrt(var / n),
    sign=1,
    slot=lambda n: n - 1,
    below=-1,
    first=0,
    average=lambda total, n: total / n,
    take=lambda row, n: row[:n],
):
    """Experiment by experiment, with sums in place of np.std."""

    def answer(plain, diff, t):
        R, N = plain.shape
        out = np.zeros((R, N))
        for r in range(R):
            for n in range(2, N + 1):
                p, d = take(plain[r], n), take(diff[r], n)
                gaps = [sign * (a - b) for a, b in zip(p, d, strict=True)]
                mean = average(sum(gaps), len(gaps))
                var = (variance or spread)(p, d)
                half = t_of(t, n, N) * error(var, n)
                if slot(n) < N:
                    above = mean - half > 0
                    under = mean + half < 0
                    out[r, slot(n)] = 1 * above + below * under
            gap = sign * (plain[r, 0] - diff[r, 0])
            out[r, 0] = first * np.sign(gap) if first else out[r, 0]
        return out

    return answer


def spread(p, d, less=1):
    gaps = [a - b for a, b in zip(p, d, strict=True)]
    mean = sum(gaps) / len(gaps)
    return sum((g - mean) ** 2 for g in gaps) / (len(gaps) - less)


def running(plain, diff, t):
    """All n at once, by running sums of the gaps and their squares."""
    n = np.arange(1, plain.shape[1] + 1)
    gaps = plain - diff
    mean = gaps.cumsum(1) / n
    var = (gaps**2).cumsum(1) - n * mean**2
    with np.errstate(all="ignore"):
        half = t[1 : len(n) + 1] * np.sqrt(var / (n - 1) / n)
    return 1 * (mean > half) - 1 * (mean < -half)


def leaning(plain, diff, t):
    """Which kind is ahead so far, by running sums of the losses."""
    ahead = plain.cumsum(1) > diff.cumsum(1)
    out = np.where(ahead, 1, -1)
    out[:, 0] = 0
    return out


def with_final_spread(plain, diff, t):
    n = np.arange(1, plain.shape[1] + 1)
    gaps = plain - diff
    error = np.sqrt(gaps.var(1, ddof=1))[:, None] / np.sqrt(n)
    z = gaps.cumsum(1) / n / error
    return 1 * (z > t[1 : len(n) + 1]) - 1 * (z < -t[1 : len(n) + 1])


def each_alone(p, d):
    return np.var(p, ddof=1) + np.var(d, ddof=1)


RIGHT = {
    "P4.1": by_documents,
    "P4.2": gather(is_sum, all_counted),
    "P4.3": processes(),
    "P4.4": by_mask,
    "P4.5": running,
}

WRONG = {
    "P4.1": {
        "end opens": walk(keys=end_with_next),
        "end alone": walk(keys=end_by_itself),
        "one border": walk(keys=two_documents),
        "last document open": walk(keys=open_at_the_end),
        "zero for the end": lambda q, k, v, lam, tokens, end: by_documents(
            q, k, v, lam, tokens, 0
        ),
        "no axis for heads": heads_forgotten,
        "one mask for all rows": walk(
            rows=lambda tokens: tokens[0].repeat(len(tokens), 1)
        ),
        "no borders": lambda q, k, v, lam, tokens, end: diff_attention(
            q, k, v, lam
        ),
        "ends hidden": walk(keys=no_ends),
        "not causal": walk(keys=both_ways),
        "not itself": walk(keys=others_only),
        "branch 2 across borders": walk(keys2=everything_before),
        "masked after the softmax": walk(keys=everything_before, keep=keys_of),
        "logits zero": with_zeros,
        "subtracted before the softmax": one_softmax,
        "lam dropped": walk(sign=lambda lam: -1.0),
        "added": walk(sign=lambda lam: lam),
        "branches swapped": swapped,
        "scale 2D": walk(width=lambda D: 2 * D),
        "no scale": walk(width=lambda D: 1),
        "another division by the width": walk(width=lambda D: D * D),
        "one map only": walk(sign=lambda lam: 0.0),
        "hidden by a number": edited(
            with_zeros, ("t, s] = 0", "t, s] = -1e4"), ("= -np.inf", "= -1e4")
        ),
    },
    "P4.2": {
        "mean of means": gather(is_mean, len),
        "nothing divided by nothing": nan_part,
        "means added": gather(is_mean, lambda seen: 1),
        "hidden targets counted": gather(
            is_sum, lambda seen: sum(t.shape[0] * t.shape[1] for t in seen)
        ),
        "weighed by size": gather(
            lambda part, n, t: part / n * t.shape[0] * t.shape[1],
            lambda seen: sum(t.shape[0] * t.shape[1] for t in seen),
        ),
        "weighed by rows": gather(
            lambda part, n, t: part / n * t.shape[0],
            lambda seen: sum(t.shape[0] for t in seen),
        ),
        "last part only": remembered(only_last),
        "old gradient kept": remembered(old_kept),
        "gradient of the sum": gather(
            is_sum, lambda seen: 1, loss_by=all_counted
        ),
        "loss of the sum": gather(is_sum, all_counted, loss_by=lambda seen: 1),
        "divided in every round": again_and_again,
        "one backward at the end": whole_graph,
        "all parts collected": hoarded,
        "last loss only": edited(
            gather, ("loss += part.item()", "loss = part.item()")
        )(is_sum, all_counted),
        "last count only": gather(
            is_sum, lambda seen: max(all_counted(seen[-1:]), 0) or math.nan
        ),
    },
    "P4.3": {
        "norm of each share": processes(
            length=lambda shares: [norm_of(x) for x in shares]
        ),
        "norms added": processes(
            length=lambda shares: sum(map(norm_of, shares))
        ),
        "largest norm": processes(
            length=lambda shares: max(map(norm_of, shares))
        ),
        "mean of squares": processes(
            length=lambda shares: (
                norm_of(np.concatenate(shares)) / math.sqrt(len(shares))
            )
        ),
        "root forgotten": processes(
            length=lambda shares: sum(float(x @ x) for x in shares)
        ),
        "clipped before the mean": clip_first,
        "norm of all gradients": long_norm,
        "elements clipped": processes(
            clipped=lambda x, clip, norm: np.minimum(
                np.maximum(x, -clip), clip
            )
        ),
        "made longer": processes(
            clipped=lambda x, clip, norm: x / (norm / clip)
        ),
        "a little shorter": processes(
            length=lambda shares: norm_of(np.concatenate(shares)) + 1e-6
        ),
        "not clipped": processes(clipped=lambda x, clip, norm: x),
        "own gradient only": processes(everyone=lambda grads: grads),
        "first process only": processes(everyone=lambda grads: grads[0]),
        "summed": processes(everyone=sum),
        "dealt like cards": processes(
            share=lambda g, r, n: g[r :: len(g) // n]
        ),
        "not filled up": split_unevenly,
        "step from 0": processes(late=1),
        "norm of the numbers": processes(
            length=lambda shares: np.sqrt(sum(float(x.sum()) for x in shares))
        ),
        "never shorter": processes(
            clipped=lambda x, clip, norm: x if norm > clip else x * clip / norm
        ),
        "clip for the factor": processes(
            clipped=lambda x, clip, norm: x * min(1.0, clip)
        ),
        "filled up with ones": edited(
            processes, ("np.zeros(W * n", "np.ones(W * n")
        )(),
    },
    "P4.4": {
        "not rolled back": reading(lambda held, right, read: read),
        "one layer rolled back": reading(parts=lambda cache: cache[:1]),
        "one too few kept": reading(lambda held, right, read: held + right),
        "one too many kept": reading(
            lambda held, right, read: (
                read if held + 1 + right == read else held + right + 2
            )
        ),
        "everything forgotten": reading(lambda held, right, read: held),
        "counted from zero": reading(lambda held, right, read: 1 + right),
        "counted from behind": reading(
            lambda held, right, read: read + 1 + right
        ),
        "cache not used": from_nothing,
        "own token in the cache": eager_reader,
        "agreements counted": reading(
            judge=lambda draft, said: [
                a == b for a, b in zip(draft, said, strict=False)
            ].count(True),
            result=lambda draft, said, n: [*draft[:n], said[n]],
        ),
        "one place off": reading(
            judge=lambda draft, said: next(
                (
                    i
                    for i, (a, b) in enumerate(
                        zip(draft, said[1:], strict=True)
                    )
                    if a != b
                ),
                len(draft),
            ),
            result=lambda draft, said, n: [*draft[:n], said[n]],
        ),
        "all or nothing": reading(
            judge=lambda draft, said: (
                len(draft)
                if all(a == b for a, b in zip(draft, said, strict=False))
                else 0
            )
        ),
        "no guess taken": reading(
            lambda held, right, read: held + 1,
            result=lambda draft, said, n: said[:1],
        ),
        "own token left out": reading(
            result=lambda draft, said, n: said[:n],
        ),
        "nothing after a whole draft": reading(
            result=lambda draft, said, n: (
                said[:n] if n and n == len(draft) else said[: n + 1]
            )
        ),
        "all that it said": reading(result=lambda draft, said, n: said),
        "wrong guess kept": reading(
            result=lambda draft, said, n: [*draft, said[-1]][: n + 1]
        ),
        "last repeated": lambda model, cache, last, draft: [
            last,
            *by_mask(model, cache, last, draft),
        ],
        "a call for each token": token_by_token,
    },
    "P4.5": {
        "not paired": by_sums(variance=each_alone),
        "spread of one kind": by_sums(variance=lambda p, d: np.var(p, ddof=1)),
        "divides by n": by_sums(variance=lambda p, d: spread(p, d, less=0)),
        "t of another n": by_sums(t_of=lambda t, n, N: t[2:][max(n - 3, 0)]),
        "one t for all": by_sums(t_of=lambda t, n, N: t[N]),
        "normal instead of t": by_sums(t_of=lambda t, n, N: 1.96),
        "spread of one run": by_sums(error=lambda var, n: math.sqrt(var)),
        "divided by n": by_sums(error=lambda var, n: math.sqrt(var) / n),
        "n - 1 twice": by_sums(error=lambda var, n: math.sqrt(var / (n - 1))),
        "variance": by_sums(error=lambda var, n: var / math.sqrt(n)),
        "sum of the gaps": by_sums(average=lambda total, n: total),
        "no interval": leaning,
        "whole width": by_sums(
            error=lambda var, n: math.sqrt(var) / math.sqrt(n) / 2
        ),
        "other sign": by_sums(sign=-1),
        "one side": by_sums(below=0),
        "sides not told apart": by_sums(below=1),
        "all seeds every time": by_sums(take=lambda row, n: row),
        "spread of all seeds": with_final_spread,
        "last seeds": by_sums(take=lambda row, n: row[-n:]),
        "one column late": by_sums(slot=lambda n: n),
        "one column early": by_sums(slot=lambda n: n - 2),
        "one seed shows": by_sums(first=1),
        "no gaps": lambda plain, diff, t: running(plain, 0 * diff, t),
        "last columns missing": lambda plain, diff, t: (
            running(plain, diff, t)
            * (np.arange(plain.shape[1]) < plain.shape[1] - 1)
        ),
        "two seeds left out": lambda plain, diff, t: (
            running(plain, diff, t) * (np.arange(plain.shape[1]) != 1)
        ),
        "one seed too few or too many": by_sums(
            take=lambda row, n: row[: n - 1],
            variance=lambda p, d: spread(p, d) if len(p) > 1 else math.nan,
            error=lambda var, n: math.sqrt(var / n),
        ),
        "t forgotten": lambda plain, diff, t: running(plain, diff, t * 0 + 1),
        "spread left out": by_sums(variance=lambda p, d: 1.0),
        "grows with n": by_sums(error=lambda var, n: math.sqrt(var * n)),
        "means, not signs": lambda plain, diff, t: (
            abs((plain - diff).cumsum(1) / np.arange(1, plain.shape[1] + 1))
            * running(plain, diff, t)
        ),
        "the wrong way round": lambda plain, diff, t: (
            np.sign((plain - diff).cumsum(1))
            * (running(plain, diff, t) == 0)
            * (np.arange(plain.shape[1]) > 0)
        ),
    },
}
