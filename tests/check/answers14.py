"""Chapter 14: right and wrong answers written another way than ours."""

import json
import math
from itertools import pairwise

import numpy as np
import torch

from minidiff.check.edited import edited
from minidiff.training.config import learning_rate
from minidiff.training.step import adamw


def merge(ids, pair, new):
    out = []
    for token in ids:
        out.append(token)
        # The id new is never half of the pair, so none is used twice.
        if len(out) > 1 and (out[-2], out[-1]) == pair:
            out[-2:] = [new]
    return out


def places(ids, pair):
    return [i for i, both in enumerate(pairwise(ids)) if both == pair]


def every_pair(ids, pair, new):
    """Each place where a pair begins, overlapping ones too."""
    begin = places(ids, pair)
    gone = {i + 1 for i in begin} | set(begin)
    return [
        new if i in begin else x
        for i, x in enumerate(ids)
        if i in begin or i not in gone
    ]


def halves(ids, pair, new):
    out = list(ids)
    for i in places(ids, pair):
        out[i] = new
    return out


def added(ids, pair, new):
    out = list(ids)
    for i in reversed(places(ids, pair)):
        out.insert(i, new)
    return out


def backwards(ids, pair, new):
    out, i = [], len(ids) - 1
    while i >= 0:
        if i > 0 and (ids[i - 1], ids[i]) == pair:
            out.insert(0, new)
            i -= 2
        else:
            out.insert(0, ids[i])
            i -= 1
    return out


def one(ids, pair, new):
    out = list(ids)
    for i in places(ids, pair)[:1]:
        out[i : i + 2] = [new]
    return out


def stops_early(ids, pair, new):
    whole = merge(ids, pair, new)
    return whole if whole[-1] == new else whole[:-1]


def beyond(ids, pair, new):
    out, skip = [], False
    for i in range(len(ids)):
        if skip:
            skip = False
            continue
        skip = ids[i] == pair[0] and ids[i + 1] == pair[1]
        if not skip:
            ids[i + 1]  # looked at in any case
        out.append(new if skip else ids[i])
    return out


def any_order(ids, pair, new):
    out = []
    for token in ids:
        out.append(token)
        if len(out) > 1 and sorted(out[-2:]) == sorted(pair):
            out[-2:] = [new]
    return out


def digits(ids, pair, new):
    text = str(ids).replace(f"{pair[0]}, {pair[1]}", f"{new}")
    return json.loads(text)


def shortened(ids, pair, new):
    i = 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            ids[i] = new
            del ids[i + 1]
        i += 1
    return ids


def longer_documents(documents, end, T):
    row = []
    for document in documents:
        document += [end]
        row += document
    return cut(row, T)


def one_list(documents, end, behind=True):
    out = []
    for document in documents:
        out += [*document, end] if behind else [end, *document]
    return out


def cut(row, T, step=None, width=None):
    step, width = step or T, width or T + 1
    out, i = [], 0
    while i + T + 1 <= len(row):
        out.append(row[i : i + width])
        i += step
    return np.array(out)


def filled_up(documents, end, T):
    row = one_list(documents, end)
    while (len(row) - 1) % T:
        row.append(end)
    return cut(row, T)


def alone(documents, end, T):
    parts = [cut([*document, end], T) for document in documents]
    return np.concatenate([part for part in parts if len(part)])


def adam(
    w,
    g,
    m,
    s,
    t,
    lr,
    decay,
    *,
    betas=(0.9, 0.95),
    power=0,
    fix=(True, True),
    averaged=lambda x: x * x,
    root=lambda x: math.sqrt(x) + 1e-8,
    pull=lambda w, moved, lr, decay: moved - lr * decay * w,
    sign=-1,
    share=True,
    old=False,
    keep_fixed=False,
):
    """One weight after the other, in plain floats; each flaw is a switch."""
    news = [], [], []
    for w0, g0, m0, s0 in zip(w, g, m, s, strict=True):
        a, b = betas
        m1 = a * m0 + (1 - a if share else 1) * g0
        s1 = b * s0 + (1 - b if share else 1) * averaged(g0)
        c, d = np.float64(1 - a ** (t + power)), 1 - b ** (t + power)
        mean = np.float64(m0 if old else m1) / (c if fix[0] else 1)
        size = np.float64(s0 if old else s1) / (d if fix[1] else 1)
        moved = w0 + sign * lr * mean / root(size)
        news[0].append(pull(w0, moved, lr, decay))
        news[1].append(m1 / c if keep_fixed else m1)
        news[2].append(s1 / d if keep_fixed else s1)
    return tuple(np.array(x) for x in news)


def with_(**flaw):
    return lambda *args: adam(*args, **flaw)


def root_first(w, g, m, s, t, lr, decay):
    twice = 1 - 0.95**t
    root = lambda x: math.sqrt(x / twice) + 1e-8  # noqa: E731
    return adam(w, g, m, s, t, lr, decay, root=root)


def multiplied(w, g, m, s, t, lr, decay):
    _, m, s = adam(w, g, m, s, t, lr, decay)
    ratio = m / (1 - t * 0.9) / (np.sqrt(s / (1 - t * 0.95)) + 1e-8)
    return w - lr * decay * w - lr * ratio, m, s


def s_then_m(*args):
    w, m, s = adam(*args)
    return w, s, m


def in_gradient(w, g, m, s, t, lr, decay):
    return adam(w, g + w * decay, m, s, t, lr, 0)


def ramp(step, steps, warmup, peak, floor=0.1):
    x = [-1, warmup - 1, warmup, steps - 1]
    y = [0.0, peak, peak, floor * peak]
    return float(np.interp(step, x[2 * (not warmup) :], y[2 * (not warmup) :]))


def from_zero(step, steps, warmup, peak):
    x = [0, warmup, steps - 1][not warmup :]
    return float(np.interp(step, x, [0.0, peak, 0.1 * peak][not warmup :]))


def from_start(step, steps, warmup, peak):
    return float(np.interp(step, [0, steps - 1], [peak, 0.1 * peak]))


def then(fall):
    def answer(step, steps, warmup, peak):
        early = step < warmup
        return (ramp if early else fall)(step, steps, warmup, peak)

    return answer


def too_long(step, steps, warmup, peak):
    if step > warmup:
        return ramp(step, steps, warmup, peak)
    return peak / warmup * (step + 1)


def not_there(step, steps, warmup, peak):
    return ramp(step, steps + 1, warmup, peak)


def beyond_the_end(step, steps, warmup, peak):
    return float(np.interp(step, [warmup, steps], [peak, 0.0]))


def early(step, steps, warmup, peak):
    x, y = [warmup - 1, steps - 1], [peak, 0.1 * peak]
    return float(np.interp(step, x, y))


def cut_off(step, steps, warmup, peak):
    return max(ramp(step, steps, warmup, peak, floor=0), peak / 10)


def half_wave(step, steps, warmup, peak):
    turn = math.pi * (step - warmup) / (steps - warmup - 1)
    return 0.1 * peak + 0.9 * peak * (1 + math.cos(turn)) / 2


def length_of(model):
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return sum((g * g).sum() for g in grads) ** 0.5


def pieces(model, rows, shift):
    """The loss of each target, (B, T)."""
    give, want = {
        "ahead": (rows[:, :-1], rows[:, 1:]),
        "copy": (rows[:, :-1], rows[:, :-1]),
        "back": (rows[:, 1:], rows[:, :-1]),
    }[shift]
    chances = model(give).log_softmax(-1)
    return -chances.gather(-1, want[..., None])[..., 0]


def loop(
    model,
    rows,
    held_out,
    config,
    report,
    *,
    forget="first",
    clip="all",
    logged="before",
    ahead=0,
    when="before",
    groups=None,
    plain=False,
    fresh=False,
    moves=True,
    shift="ahead",
    start=None,
    modes=(True, True),
    grad=False,
    mean="targets",
    first_measure=False,
    due=lambda n, every, steps: n % every == 0 or n == steps,
    tell="late",
    first=0,
    number=lambda x: x.item(),
    drop=(),
    unmeasured=None,
    again=False,
    limit=None,
    part=None,
    begin=True,
    gather=torch.mean,
    share=1,
    told=False,
):
    """Each flaw is a switch; clipping and losses are written out."""

    def made():
        if plain:
            return torch.optim.AdamW(model.parameters(), config.lr)
        return adamw(model, config)

    def set_rate(n):
        for group in optimizer.param_groups[:groups]:
            group["lr"] = rate_of(n)

    def rate_of(n):
        return learning_rate(max(n + ahead, 0), config)

    def shorten():
        norm = length_of(model)
        if clip == "each":
            for p in model.parameters():
                p.grad.clamp_(-longest, longest)
        elif clip and norm > longest:
            beside = 0 if clip == "exact" else 1e-6  # as PyTorch does
            for p in model.parameters():
                p.grad *= longest / (norm + beside)
        return norm if logged == "before" else length_of(model)

    def measure():
        model.train(not modes[0])
        with torch.set_grad_enabled(grad):
            if mean == "targets":
                some = held_out[: part and config.batch_size]
                found = pieces(model, some, eval_shift).mean()
            else:
                parts = held_out.split(config.batch_size)
                means = [pieces(model, x, eval_shift).mean() for x in parts]
                found = sum(means) / len(means)
            found = found * (share or held_out[:, 1:].numel())
        model.train(modes[1])
        return found.item()

    eval_shift, longest = shift, limit or config.clip_norm
    optimizer, log, size = made(), [], config.batch_size
    model.train(begin or model.training)
    for n in range(config.steps):
        if when == "before":
            if fresh:
                optimizer = made()
            set_rate(n)
        at = n * size if start is None else start * n
        loss = gather(pieces(model, rows[at : at + size], shift))
        norm = 0.0
        if forget == "first":
            model.zero_grad()
        if clip == "early" and n:
            norm = length_of(model) if forget == "never" else 0.0
        loss.backward()
        if forget == "middle":
            model.zero_grad()
        if clip != "early":
            norm = shorten()
        record = dict(step=n + first, loss=number(loss), lr=rate_of(n))
        record["grad_norm"] = number(torch.as_tensor(norm))
        if told:
            record["lr"] = config.lr
        for name in drop:
            del record[name]
        record.update(unmeasured or {})
        measured = due(n + 1, config.eval_every, config.steps)
        if measured and first_measure:
            record["valid_loss"] = measure()
        if tell == "early":
            report(record)
        if moves:
            optimizer.step()
        if when == "after":
            set_rate(n)
        if measured and not first_measure:
            record["valid_loss"] = measure()
        if again:
            rest = pieces(model, rows[at : at + size], shift).mean()
            record["loss"] = rest.item()
        log += [record]
        if tell == "late":
            report(record)
        elif tell == "other":
            report({name: -1 for name in record})
    if tell == "end":
        list(map(report, log))
    return log


def looped(**flaw):
    return lambda *args: loop(*args, **flaw)


RIGHT = {
    "14.1": merge,
    "14.2": lambda documents, end, T: cut(one_list(documents, end), T),
    "14.3": adam,
    "14.4": ramp,
    "14.5": loop,
}

WRONG = {
    "14.1": {
        "overlapping": every_pair,
        "second stays": halves,
        "pair stays": added,
        "from the right": backwards,
        "first only": one,
        "end lost": stops_early,
        "past the end": beyond,
        "either order": any_order,
        "each one": lambda ids, pair, new: [
            {pair[0]: new, pair[1]: new}.get(x, x) for x in ids
        ],
        "as text": digits,
        "nothing merged": lambda ids, pair, new: [x for x in ids],
        "in place": shortened,
    },
    "14.2": {
        "no ends": lambda documents, end, T: cut(
            [x for document in documents for x in document], T
        ),
        "one end": lambda documents, end, T: cut(
            [*(x for document in documents for x in document), end], T
        ),
        "end in front": lambda documents, end, T: cut(
            one_list(documents, end, behind=False), T
        ),
        "last window lost": lambda documents, end, T: cut(
            one_list(documents, end)[:-1], T
        ),
        "windows counted by T + 1": lambda documents, end, T: cut(
            one_list(documents, end), T
        )[: len(one_list(documents, end)) // (T + 1)],
        "one window too few": lambda documents, end, T: np.array(
            list(cut(one_list(documents, end), T))[:-1]
        ),
        "steps of T + 1": lambda documents, end, T: cut(
            one_list(documents, end), T, step=T + 1
        ),
        "steps of 1": lambda documents, end, T: cut(
            one_list(documents, end), T, step=1
        ),
        "T ids a window": lambda documents, end, T: cut(
            one_list(documents, end), T, width=T
        ),
        "short window": lambda documents, end, T: [
            one_list(documents, end)[i : i + T + 1]
            for i in range(0, len(one_list(documents, end)) - T + 1, T)
        ],
        "padded": filled_up,
        "each document alone": alone,
        "ends written": longer_documents,
    },
    "14.3": {
        "no correction": with_(fix=(False, False)),
        "s not corrected": with_(fix=(True, False)),
        "m not corrected": with_(fix=(False, True)),
        "root first": root_first,
        "no power": lambda w, g, m, s, t, lr, decay: adam(
            w, g, m, s, 1, lr, decay
        ),
        "corrected kept": with_(keep_fixed=True),
        "times t": multiplied,
        "counted from 0": with_(power=-1),
        "counted one more": with_(power=1),
        "old averages": with_(old=True),
        "sums": with_(share=False),
        "shares swapped": with_(betas=(0.1, 0.05)),
        "another beta": with_(betas=(0.9, 0.999)),
        "betas swapped": with_(betas=(0.95, 0.9)),
        "s of the size": with_(averaged=abs),
        "no root": with_(root=lambda x: x + 1e-8),
        "eps in the root": with_(root=lambda x: math.sqrt(x + 1e-8)),
        "no eps": with_(root=math.sqrt),
        "decay in the gradient": in_gradient,
        "decay without lr": with_(
            pull=lambda w, moved, lr, decay: moved - decay * w
        ),
        "decay grows": with_(
            pull=lambda w, moved, lr, decay: moved + lr * decay * w
        ),
        "decay after the step": with_(
            pull=lambda w, moved, lr, decay: moved - lr * decay * moved
        ),
        "decay dropped": with_(pull=lambda w, moved, lr, decay: moved),
        "uphill": with_(sign=1),
        "no learning rate": lambda w, g, m, s, t, lr, decay: adam(
            w, g, m, s, t, 1.0, lr * decay
        ),
        "weights only": lambda *args: np.array(adam(*args)[0]),
        "order of results": s_then_m,
        "old average dropped": edited(adam, ("a * m0 + ", "")),
        "new gradient dropped": edited(
            adam, (" + (1 - a if share else 1) * g0", "")
        ),
        "old average kept whole": edited(adam, ("a * m0", "m0")),
        "another share of the new": edited(
            adam, ("(1 - a if share else 1) * g0", "(1 - b) * g0")
        ),
        "gradient subtracted": edited(adam, ("* g0\n", "* -g0\n")),
        "corrected the wrong way": edited(adam, ("m1) / (c", "m1) * (c")),
        "one correction wrong": edited(
            adam, ("1 - a ** (t + power)", "1 - a")
        ),
        "not divided by the root": with_(root=lambda x: 1.0),
        "no m in the step": edited(
            adam, ("sign * lr * mean / root(size)", "sign * lr / root(size)")
        ),
        "no step": with_(sign=0),
        "old weights lost": with_(pull=lambda w, moved, lr, decay: moved - w),
        "decay by another factor": with_(
            pull=lambda w, moved, lr, decay: moved - lr * w
        ),
        "another eps": with_(root=lambda x: math.sqrt(x) + 1e-6),
    },
    "14.4": {
        "starts at zero": from_zero,
        "no warm-up": from_start,
        "one step too long": too_long,
        "rise too slow": lambda step, steps, warmup, peak: (
            ramp(step, steps, warmup, peak)
            * (warmup / (1 + warmup) if step < warmup else 1)
        ),
        "divided by no warm-up": lambda step, steps, warmup, peak: (
            ramp(step, steps, warmup, peak) * warmup / warmup
        ),
        "never arrives": then(not_there),
        "falls one step early": then(early),
        "falls to zero": lambda *a: ramp(*a, floor=0.0),
        "towards zero": then(beyond_the_end),
        "cut at a tenth": cut_off,
        "falls by a tenth": lambda *a: ramp(*a, floor=0.9),
        "never falls": lambda *a: ramp(*a, floor=1.0),
        "jump after the warm-up": then(from_start),
        "equal factors": then(
            lambda step, steps, warmup, peak: (
                peak
                * math.exp(
                    math.log(0.1) * (step - warmup) / (steps - 1 - warmup)
                )
            )
        ),
        "cosine": then(half_wave),
        "peak left out": lambda step, steps, warmup, peak: ramp(
            step, steps, warmup, 1.0
        ),
        "rise not divided": lambda step, steps, warmup, peak: (
            peak * (step + 1)
            if step < warmup
            else ramp(step, steps, warmup, peak)
        ),
        "rise off by one": lambda step, steps, warmup, peak: (
            peak * (step + 2) / warmup
            if step < warmup
            else ramp(step, steps, warmup, peak)
        ),
        "another length of the fall": lambda step, steps, warmup, peak: (
            peak - 0.9 * peak * (step - warmup) / (steps - 1)
            if step >= warmup
            else ramp(step, steps, warmup, peak)
        ),
        "not from peak to a tenth": lambda step, steps, warmup, peak: (
            2 * peak - ramp(step, steps, warmup, peak)
            if step >= warmup
            else ramp(step, steps, warmup, peak)
        ),
    },
    "14.5": {
        "no step number": looped(drop=["step"]),
        "steps counted from 1": looped(first=1),
        "tensors in the record": looped(number=lambda x: x.detach()),
        "None where nothing was measured": looped(
            unmeasured={"valid_loss": None}
        ),
        "loss after the update": looped(again=True),
        "clipped to 1": looped(limit=1.0),
        "one batch measured": looped(part=True),
        "reported at the end": looped(tell="end"),
        "something else reported": looped(tell="other"),
        "no zero_grad": looped(forget="never"),
        "no gradient left": looped(forget="middle"),
        "loss summed": looped(gather=lambda x: x.mean() * x.numel()),
        "measurement not divided": looped(share=None),
        "not clipped": looped(clip=None),
        "clipped too early": looped(clip="early"),
        "length after clipping": looped(logged="after"),
        "each number clipped": looped(clip="each"),
        "clipped to exactly the norm": looped(clip="exact"),
        "rate one step ahead": looped(ahead=1),
        "rate one step behind": looped(ahead=-1),
        "rate set after the step": looped(when="after"),
        "rate not logged": looped(told=True),
        "rate not used": looped(groups=0),
        "one group": looped(groups=1),
        "another optimiser": looped(plain=True),
        "a new optimiser at every step": looped(fresh=True),
        "no step": looped(moves=False),
        "not shifted": looped(shift="copy"),
        "shifted the wrong way": looped(shift="back"),
        "the same rows": looped(start=0),
        "rows overlap": looped(start=1),
        "measured in training mode": looped(modes=(False, True)),
        "training mode not set": looped(begin=False),
        "trained in eval mode": looped(modes=(True, False)),
        "measured with gradients": looped(grad=True),
        "mean of means": looped(mean="parts"),
        "measured before the step": looped(first_measure=True),
        "measured one step early": looped(
            due=lambda n, every, steps: n % every == 1 or n == steps
        ),
        "not measured at the end": looped(
            due=lambda n, every, steps: not n % every
        ),
        "measured only at the end": looped(
            due=lambda n, every, steps: n == steps
        ),
        "measured at every step": looped(due=lambda n, every, steps: 1),
        "not reported": looped(tell="never"),
        "reported too early": looped(tell="early"),
        "another number of rows": edited(
            loop, ("rows[at : at + size]", "rows[: at + size]")
        ),
        "measured at other steps": looped(
            due=lambda n, every, steps: n % every == 0 and n == steps
        ),
    },
}
