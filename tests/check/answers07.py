"""Chapter 07: right and wrong answers written another way than ours."""

import math

import torch

from minidiff.check.ex07.transformer import Transformer
from minidiff.nn.layers import rope_angles


def turn(x, cos, sin, pair=None, sign=1, place=None):
    """Multiply complex numbers, one for each pair."""
    D = x.shape[-1]
    pair = pair or (lambda i: (2 * i, 2 * i + 1))
    out = torch.empty_like(x)
    for i in range(D // 2):
        a, b = pair(i)
        z = torch.complex(x[..., a], x[..., b])
        z = z * torch.complex(cos[:, i], sign * sin[:, i])
        a, b = (place or (lambda i: (a, b)))(i)  # noqa: B023
        out[..., a], out[..., b] = z.real, z.imag
    return out


def halves(i, D):
    return i, i + D // 2


def matrix(x, cos, sin, a, b, c, d):
    """Each pair times a 2 x 2 matrix of cos and sin with these signs."""
    x0, x1 = x.unflatten(-1, (-1, 2)).unbind(-1)
    rows = torch.stack((a * cos, b * sin, c * sin, d * cos)).unflatten(
        0, (2, 2)
    )
    y = torch.einsum("abti,b...ti->a...ti", rows, torch.stack((x0, x1)))
    return torch.stack(tuple(y), dim=-1).reshape(x.shape)


def overwritten(x, cos, sin):
    y = x.clone()
    y[..., 0::2] = y[..., 0::2] * cos - y[..., 1::2] * sin
    y[..., 1::2] = y[..., 0::2] * sin + y[..., 1::2] * cos
    return y


def tables_twice(x, cos, sin):
    twice = [torch.cat([table] * 2, dim=-1) for table in (cos, sin)]
    other = torch.empty_like(x)
    other[..., ::2], other[..., 1::2] = -x[..., 1::2], x[..., ::2]
    return torch.addcmul(x * twice[0], other, twice[1])


def steps(x, *parts):
    """The stream as a list of contributions."""
    n1, attention, n2, ffn = parts
    contributions = [x]
    contributions.append(attention(n1(sum(contributions))))
    contributions.append(ffn(n2(sum(contributions))))
    return sum(contributions)


def post(x, n1, attention, n2, ffn):
    for n, part in ((n1, attention), (n2, ffn)):
        x = n(part(x) + x)
    return x


def norm_after(x, n1, attention, n2, ffn):
    for n, part in ((n1, attention), (n2, ffn)):
        x = x + n(part(x))
    return x


def chain(x, n1, attention, n2, ffn):
    for f in (n1, attention, n2, ffn):
        x = f(x)
    return x


def normed(x, n1, attention, n2, ffn):
    for n, part in ((n1, attention), (n2, ffn)):
        x = n(x)
        x = x + part(x)
    return x


def by_loops(logits, targets, log=math.log):
    total = 0.0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        best = max(row)
        total += best - row[target]
        total += log(sum(math.exp(z - best) for z in row))
    total /= len(targets)
    return total, math.exp(total)


def losses(logits, targets):
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none")


def naive(logits, targets):
    p = torch.exp(logits) / torch.exp(logits).sum(-1)[:, None]
    loss = -torch.log(p.gather(1, targets[:, None])).mean()
    return loss, torch.exp(loss)


def naive_sum(logits, targets):
    picked = logits.gather(1, targets[:, None])[:, 0]
    loss = (torch.log(torch.exp(logits).sum(1)) - picked).sum() / len(picked)
    return loss, torch.exp(loss)


def shifted_softmax(logits, targets):
    e = torch.exp(logits - logits.max(1, keepdim=True).values)
    p = (e / e.sum(1, keepdim=True)).gather(1, targets[:, None])
    loss = -p.log().mean()
    return loss, loss.exp()


def shifted(logits, targets, best, put_back=True):
    sums = torch.exp(logits - best).sum(1).log()
    if put_back:
        sums = sums + best.flatten()
    loss = (sums - logits.gather(1, targets[:, None])[:, 0]).mean()
    return loss, torch.exp(loss)


def count(V, E, L, D, F, differential, leave=(), add=0):
    """One tensor at a time."""
    tensors = [(V, E), ("last", E)]
    for _ in range(L):
        tensors += [("q", E, E), ("k", E, E), ("v", E, E), ("o", E, E)]
        tensors += [("gate", F, E), ("up", F, E), ("down", E, F)]
        tensors += [("norm1", E), ("norm2", E)]
        if differential:
            tensors += [("lambda", D)] * 4 + [("head norm", 2 * D)]
    numbers = [
        math.prod(n for n in t if isinstance(n, int))
        for t in tensors
        if t[0] not in leave
    ]
    return sum(numbers) + add


def without(*leave):
    return lambda *sizes: count(*sizes, leave=leave)


def more(extra):
    return lambda V, E, L, D, F, differential: count(
        V, E, L, D, F, differential, add=extra(V, E, L, D, F, differential)
    )


class Flat(torch.nn.Module):
    """The model of 7.5 without a module for any part, one line a step.

    ``wrong`` holds what to do otherwise.
    """

    def __init__(self, config, **wrong):
        super().__init__()
        self.c, self.wrong = config, wrong
        self.config = wrong.get("kept", lambda config: config)(config)
        E, D, F = config.embed_dim, config.head_dim, config.ffn_dim
        F = F or -(-E // 3) * 8
        shapes = {"embedding.weight": (config.vocab_size, E)}
        for i in range(config.num_layers):
            b = f"blocks.{i}."
            shapes |= {b + f"attention.{x}_proj.weight": (E, E) for x in "qkv"}
            shapes[b + "attention.out_proj.weight"] = E, E
            shapes |= {b + f"ffn.{x}_proj.weight": (F, E) for x in UP}
            shapes[b + "ffn.down_proj.weight"] = E, F
            shapes |= {b + f"{x}_norm.weight": (E,) for x in PARTS}
            if config.attention == "diff":
                shapes |= {b + f"attention.lambda_{x}": (D,) for x in VECTORS}
                shapes[b + "attention.norm_weight"] = (2 * D,)
        shapes["norm.weight"] = (E,)
        if wrong.get("own_head", not config.tie_embeddings):
            shapes["head.weight"] = config.vocab_size, E
        if wrong.get("bias") and "head.weight" in shapes:
            shapes["head.bias"] = (config.vocab_size,)
        for name, shape in shapes.items():
            if not wrong.get("blocks_lost") or "blocks" not in name:
                self.put(name, self.start(name, torch.empty(shape)))
        for name in wrong.get("tables", ()):
            self.register_buffer(name, torch.zeros(3))

    def start(self, name, p):
        mean = float("norm" in name)
        size = 0.1 if "lambda" in name else 0.02 * (1 - mean)
        for part, other in self.wrong.get("sizes", {}).items():
            if part in name:
                mean, size = 0.0, other(p)
        return mean + size * torch.randn(p.shape)

    def put(self, name, value):
        *path, last = name.split(".")
        at = self
        for part in path:
            if part not in at._modules:
                at.add_module(part, torch.nn.Module())
            at = at._modules[part]
        at.register_parameter(last, torch.nn.Parameter(value))

    def heads(self, i, x, w):
        c, wrong = self.c, self.wrong
        (B, T, _), D = x.shape, c.head_dim
        q, k, v = (x @ w(f"attention.{n}_proj.weight").T for n in "qkv")
        q, k = (y.reshape(B, T, -1, D).swapaxes(1, 2) for y in (q, k))
        base = wrong.get("base", c.rope_base)
        a = torch.outer(
            torch.arange(T).double(), base ** (-torch.arange(0, D, 2) / D)
        )
        a = (a * wrong.get("turn", 1)).to(x)
        q, k = (turn(y, a.cos(), a.sin()) for y in (q, k))
        logits = q @ k.swapaxes(-1, -2) / math.sqrt(D)
        future = torch.ones(T, T).triu(1).bool()
        if not (wrong.get("sees") and c.attention == "diff"):
            logits = logits.masked_fill(future, -math.inf)
        A = torch.softmax(logits, -1)
        if c.attention != "diff":
            v = v.reshape(B, T, -1, D).swapaxes(1, 2)
            return (A @ v).swapaxes(1, 2).reshape(x.shape)
        v = v.reshape(B, T, -1, 2 * D).swapaxes(1, 2)
        if wrong.get("turn_values"):
            parts = v[..., :D], v[..., D:]
            v = torch.cat([turn(y, a.cos(), a.sin()) for y in parts], -1)
        start = 0.8 - 0.6 * math.exp(-0.3 * wrong.get("layer", int)(i))
        vectors = [w(f"attention.lambda_{n}") for n in VECTORS]
        lam = start + math.e ** vectors[0].dot(vectors[1])
        lam = lam - math.e ** vectors[2].dot(vectors[3])
        o = (A[:, ::2] - lam * A[:, 1::2]) @ v
        o = self.rms(o, w("attention.norm_weight"), c.norm_eps) * (1 - start)
        return o.swapaxes(1, 2).reshape(x.shape)

    @staticmethod
    def rms(x, weight, eps):
        return x * weight * torch.rsqrt((x * x).mean(-1, True) + eps)

    def forward(self, tokens):
        c, wrong = self.c, self.wrong
        x = self.get_parameter("embedding.weight")[tokens]
        x = x * wrong.get("loud", lambda E: 1)(c.embed_dim)
        for i in range(c.num_layers):

            def w(name, i=i):
                if wrong.get("blocks_lost"):
                    return self.lost[name]
                return self.get_parameter(f"blocks.{i}.{name}")

            def attention(x, i=i, w=w):
                return self.heads(i, x, w) @ w("attention.out_proj.weight").T

            def ffn(x, w=w):
                gate, up = (x @ w(f"ffn.{n}_proj.weight").T for n in UP)
                gate = gate * torch.sigmoid(gate)
                return gate * up @ w("ffn.down_proj.weight").T

            norms = [
                lambda x, n=n, w=w: self.rms(
                    x, w(n + "_norm.weight"), c.norm_eps
                )
                for n in PARTS
            ]
            order = wrong.get("order", steps)
            x = order(x, norms[0], attention, norms[1], ffn)
        if wrong.get("last_norm", True):
            eps = wrong.get("eps", c.norm_eps)
            x = self.rms(x, self.get_parameter("norm.weight"), eps)
        head = wrong.get("own_head", not c.tie_embeddings)
        name = "head.weight" if head else "embedding.weight"
        z = torch.einsum("bte,ve->btv", x, self.get_parameter(name))
        return wrong.get("out", lambda z: z)(z)


UP, PARTS = ("gate", "up"), ("attention", "ffn")
VECTORS = ("q1", "k1", "q2", "k2")


def flat(**wrong):
    return lambda config: Flat(config, **wrong)


def ordinary(p):
    """The spread of what PyTorch draws: uniform for matrices."""
    return (3 * p.shape[1]) ** -0.5


class Lost(Flat):
    """Blocks whose parameters no module holds."""

    def __init__(self, config):
        super().__init__(config, blocks_lost=True)
        self.lost = {
            n.removeprefix("blocks.0."): p.detach()
            for n, p in Flat(config).named_parameters()
        }


class Shared(Flat):
    """Every number of a block stands for the same parameters."""

    def __init__(self, config):
        super().__init__(config, layer=lambda i: 0)
        for name in list(self._modules["blocks"]._modules):
            one = self._modules["blocks"]._modules["0"]
            self._modules["blocks"]._modules[name] = one


class Assembled(torch.nn.Module):
    """The course's blocks between parts of one's own; rope(config, x, T)."""

    def __init__(self, config, rope):
        super().__init__()
        self.config, self.rope = config, rope
        for name, part in Transformer(config).named_children():
            self.add_module(name, part)

    def forward(self, tokens):
        x = self.embedding(tokens)
        rope = self.rope(self.config, x, tokens.shape[-1])
        for block in self.blocks:
            x = block(x, rope=rope)
        last = self._modules.get("head", self.embedding)
        return torch.nn.functional.linear(self.norm(x), last.weight)


def assembled(D=None, T=None, cast=True, swap=False):
    """A model whose tables of angles have something wrong."""

    def rope(config, x, length):
        width = D(config) if D else config.head_dim
        tables = rope_angles(T or length, width, config.rope_base)
        dtype = x.dtype if cast else torch.float64
        return tuple(t.to(dtype) for t in tables[:: -1 if swap else 1])

    return lambda config: Assembled(config, rope)


RIGHT = {
    "7.1": turn,
    "7.2": steps,
    "7.3": by_loops,
    "7.4": count,
    "7.5": Flat,
}

WRONG = {
    "7.1": {
        "paired by halves": lambda x, c, s: turn(
            x, c, s, pair=lambda i: halves(i, x.shape[-1])
        ),
        "channels moved": lambda x, c, s: turn(
            x, c, s, place=lambda i: halves(i, x.shape[-1])
        ),
        "backwards": lambda x, c, s: turn(x, c, s, sign=-1),
        "two minuses": lambda x, c, s: matrix(x, c, s, 1, -1, -1, 1),
        "two pluses": lambda x, c, s: matrix(x, c, s, 1, 1, 1, 1),
        "overwritten": overwritten,
        "cos and sin swapped": lambda x, c, s: turn(x, s, c),
        "cos with the first channel twice": lambda x, c, s: torch.stack(
            (
                turn(x, c, s)[..., ::2],
                x[..., ::2] * c + x[..., 1::2] * s,
            ),
            dim=-1,
        ).reshape(x.shape),
        "channels of a pair swapped": lambda x, c, s: turn(
            x, c, s, place=lambda i: (2 * i + 1, 2 * i)
        ),
        "not flattened": lambda x, c, s: turn(x, c, s).unflatten(-1, (-1, 2)),
        "tables in a row": tables_twice,
    },
    "7.2": {
        "post-norm": post,
        "norm after the part": norm_after,
        "nothing added": chain,
        "the stream normalised": normed,
        "both from x": lambda x, n1, a, n2, f: sum((f(n2(x)), a(n1(x)), x)),
        "x instead of y": lambda x, n1, a, n2, f: (
            f(n2(torch.add(x, a(n1(x))))) + x
        ),
        "no norms": lambda x, n1, a, n2, f: steps(
            x, lambda z: z, a, lambda z: z, f
        ),
        "second norm missing": lambda x, n1, a, n2, f: steps(
            x, n1, a, lambda z: z, f
        ),
        "ffn not added": lambda x, n1, a, n2, f: (
            steps(x, n1, a, n2, f) - steps(x, n1, a, n2, lambda z: 0 * z)
        ),
        "attention not added": lambda x, n1, a, n2, f: steps(
            a(n1(x)), n1, lambda z: 0 * z, n2, f
        ),
        "x added twice": lambda x, *parts: x + steps(x, *parts),
        "wrong norm": lambda x, n1, a, n2, f: steps(x, n2, a, n1, f),
        "one part only": lambda x, n1, a, n2, f: a(n1(x)).add(x),
        "ffn first": lambda x, n1, a, n2, f: steps(x, n2, f, n1, a),
    },
    "7.3": {
        "softmax overflows": naive,
        "sum overflows": naive_sum,
        "log of a rounded zero": shifted_softmax,
        "summed": lambda x, t: (
            losses(x, t).sum(),
            losses(x, t).sum().exp(),
        ),
        "sign": lambda x, t: (-losses(x, t).mean(), 1 / by_loops(x, t)[1]),
        "bits": lambda x, t: (
            by_loops(x, t)[0] * math.log2(math.e),
            by_loops(x, t)[1],
        ),
        "two to the loss": lambda x, t: (
            by_loops(x, t)[0],
            2 ** by_loops(x, t)[0],
        ),
        "mean of the exponentials": lambda x, t: (
            losses(x, t).mean(),
            torch.exp(losses(x, t)).sum() / len(t),
        ),
        "every target in every row": lambda x, t: (
            -torch.log_softmax(x, 1).index_select(1, t).mean(),
            torch.exp(-torch.log_softmax(x, 1).index_select(1, t).mean()),
        ),
        "normalised over the rows": lambda x, t: (
            (x.logsumexp(0)[t] - x.gather(1, t[:, None])[:, 0]).mean(),
            (x.logsumexp(0)[t] - x.gather(1, t[:, None])[:, 0]).mean().exp(),
        ),
        "not normalised": lambda x, t: (
            -x.gather(1, t[:, None]).mean(),
            torch.exp(-x.gather(1, t[:, None]).mean()),
        ),
        "swapped": lambda x, t: by_loops(x, t)[::-1],
        "not averaged": lambda x, t: (losses(x, t), losses(x, t).exp()),
        "one maximum for all rows": lambda x, t: shifted(
            x, t, x.flatten().sort().values[-1:]
        ),
        "maximum lost": lambda x, t: shifted(
            x, t, x.max(1, keepdim=True).values, put_back=False
        ),
        "logarithm of the mean": lambda x, t: (
            -torch.exp(-losses(x, t)).mean().log(),
            1 / torch.exp(-losses(x, t)).mean(),
        ),
        "smallest probability": lambda x, t: (
            -(torch.softmax(x, 1).gather(1, t[:, None]) + 1e-10).log().mean(),
            torch.exp(
                -torch.log(1e-10 + x.softmax(1)[range(len(t)), t]).mean()
            ),
        ),
    },
    "7.4": {
        "embedding twice": more(lambda V, E, *_: V * E),
        "no embedding": more(lambda V, E, *_: -V * E),
        "two matrices": without("gate"),
        "no last norm": without("last"),
        "no norms in the layers": without("norm1", "norm2"),
        "no norms at all": without("norm1", "norm2", "last"),
        "one norm a layer": without("norm2"),
        "nothing extra": lambda V, E, L, D, F, d: count(V, E, L, D, F, False),
        "extra in the plain model": lambda V, E, L, D, F, d: count(
            V, E, L, D, F, True
        ),
        "extra for each head": more(
            lambda V, E, L, D, F, d: (
                d * L * sum(6 * D for _ in range(1, E // D // 2))
            )
        ),
        "lambdas per head": more(
            lambda V, E, L, D, F, d: (
                d * L * sum(4 * D for _ in range(D, E // 2, D))
            )
        ),
        "lambda as a number": more(
            lambda V, E, L, D, F, d: d * L * (E // D // 2 - 4 * D)
        ),
        "lambda vectors only": without("head norm"),
        "norm weight D wide": more(lambda V, E, L, D, F, d: -d * L * D),
        "extra once": more(lambda V, E, L, D, F, d: -d * (L - 1) * 6 * D),
        "three projections": without("o"),
        "queries and keys doubled": more(
            lambda V, E, L, D, F, d: 2 * L * E**2 * d
        ),
        "vectors 2D wide": more(lambda V, E, L, D, F, d: d * 4 * L * D),
        "norm weight E wide": more(
            lambda V, E, L, D, F, d: d * L * (E - 2 * D)
        ),
        "head norm only": without("lambda"),
    },
    "7.5": {
        "configuration not kept": flat(kept=vars),
        "angles in float64": assembled(cast=False),
        "width of a whole head": assembled(
            D=lambda c: c.head_dim * (1 + (c.attention == "diff"))
        ),
        "table of another length": assembled(T=256),
        "cos and sin swapped": assembled(swap=True),
        "nothing added": flat(order=chain),
        "norm after": flat(order=post),
        "no last norm": flat(last_norm=False),
        "every layer is layer 0": flat(layer=lambda i: 0),
        "layers counted from one": flat(layer=lambda i: 1 + i),
        "not causal": flat(sees=True),
        "values turned": flat(turn_values=True),
        "no positions": flat(turn=0),
        "base ignored": flat(base=1e4),
        "eps ignored": flat(eps=torch.finfo(torch.float64).eps),
        "tied model has a head": flat(own_head=True),
        "always tied": flat(own_head=False),
        "head with a bias": flat(bias=True),
        "embedding at PyTorch's scale": flat(
            sizes={"embedding": lambda p: 1.0}
        ),
        "PyTorch's own start": flat(
            sizes={
                "embedding": lambda p: 1.0,
                "proj": ordinary,
                "head": ordinary,
            }
        ),
        "matrices at PyTorch's scale": flat(
            sizes={"proj": ordinary, "head": ordinary}
        ),
        "variance 0.02": flat(
            sizes={
                "embedding": lambda p: math.sqrt(0.02),
                "proj": lambda p: math.sqrt(0.02),
                "head": lambda p: math.sqrt(0.02),
            }
        ),
        "norms drawn too": flat(
            sizes={"norm": lambda p: 0.02, "lambda": lambda p: 0.02}
        ),
        "one block many times": Shared,
        "blocks in a list": Lost,
        "tables saved": flat(tables=("cos", "sin")),
        "always differential": lambda config: Flat(
            type(config)(**{**vars(config), "attention": "diff"}),
            kept=lambda _: config,
        ),
        "embedding multiplied": flat(loud=math.sqrt),
        "probabilities": flat(out=lambda z: z.softmax(dim=2)),
        "last position only": flat(out=lambda z: z[:, z.shape[1] - 1]),
    },
}
