"""Chapter 05: right and wrong answers written another way than ours."""

import math

import torch
from torch import nn

LAMBDAS = ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")


class Lambda(nn.Module):
    """One ParameterDict-free way: names registered in a loop, torch.dot."""

    std = 0.1
    first_layer = 0

    def __init__(self, D, layer):
        super().__init__()
        for name in LAMBDAS:
            start = torch.empty(D).normal_(std=self.std)
            self.register_parameter(name, nn.Parameter(start))
        self.start = self.schedule(layer)

    def schedule(self, layer):
        return 0.8 - 0.6 * math.exp(-0.3 * (layer - self.first_layer))

    def forward(self):
        a = torch.dot(self.lambda_q1, self.lambda_k1)
        b = torch.dot(self.lambda_q2, self.lambda_k2)
        return torch.exp(a) - torch.exp(b) + self.start


class Buffers(Lambda):
    def __init__(self, D, layer):
        nn.Module.__init__(self)
        for name in LAMBDAS:
            self.register_buffer(name, torch.normal(0, 0.1, (D,)))
        self.start = self.schedule(layer)


class Large(Lambda):
    std = 1.0


class Zeros(Lambda):
    def __init__(self, D, layer):
        super().__init__(D, layer)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


class Item(Lambda):
    def forward(self):
        return super().forward().item()


class LearnedStart(Lambda):
    def __init__(self, D, layer):
        super().__init__(D, layer)
        self.bias = nn.Parameter(torch.full((), self.start))

    def forward(self):
        return super().forward() - self.start + self.bias


class Late(Lambda):
    first_layer = 1


class Early(Lambda):
    first_layer = -1


class Entries(Lambda):
    def forward(self):
        a = torch.einsum("d,d->d", self.lambda_q1, self.lambda_k1)
        b = torch.einsum("d,d->d", self.lambda_q2, self.lambda_k2)
        return torch.exp(a) - torch.exp(b) + self.start


class NoStart(Lambda):
    def schedule(self, layer):
        return 0


class Uniform(Lambda):
    def __init__(self, D, layer):
        super().__init__(D, layer)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, 0, 0.1)


class Small(Lambda):
    std = 0.01


class Deep(Lambda):
    def schedule(self, layer):
        return 0.8


class Alike(Lambda):
    def __init__(self, D, layer):
        super().__init__(D, layer)
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.1)


class Plain(Lambda):
    def dots(self):
        return [
            sum(getattr(self, LAMBDAS[i]) * getattr(self, LAMBDAS[i + 1]))
            for i in (0, 2)
        ]

    def forward(self):
        a, b = self.dots()
        return a - b + self.start


class TurnedRound(Plain):
    def forward(self):
        a, b = self.dots()
        return self.start - (a.exp() - b.exp())


class Averaged(Plain):
    def forward(self):
        a, b = (x / len(self.lambda_q1) for x in self.dots())
        return torch.exp(a) - torch.exp(b) + self.start


class StartSubtracted(Lambda):
    def schedule(self, layer):
        return -super().schedule(layer)


class Each(Plain):
    def forward(self):
        q1, k1, q2, k2 = self.parameters()
        pairs = zip(q1 * k1, q2 * k2, strict=True)
        return sum(a.exp() - b.exp() for a, b in pairs) + self.start


class OneExp(Plain):
    def forward(self):
        a, b = self.dots()
        return torch.exp(a) / torch.exp(b) + self.start


class Added(Plain):
    def forward(self):
        return sum(torch.exp(x) for x in self.dots()) + self.start


class Partners(Plain):
    def dots(self):
        q1, k1, q2, k2 = self.parameters()
        return torch.dot(q1, q2), torch.dot(k1, k2)

    def forward(self):
        a, b = self.dots()
        return a.exp() - b.exp() + self.start


class Axis(Plain):
    def forward(self):
        rows = torch.stack(list(self.parameters())).unflatten(0, (2, 2))
        a, b = rows.prod(1).sum(-1, keepdim=True).exp()
        return a - b + self.start


def loop_split(y, H, column):
    B, T, n = y.shape
    D = n // (2 * H)
    out = torch.zeros(B, H, 2, T, D, dtype=y.dtype)
    for h in range(H):
        for j in range(2):
            for c in range(D):
                out[:, h, j, :, c] = y[:, :, column(h, j, c, H, D)]
    return out


def in_order(h, j, c, H, D):
    return (2 * h + j) * D + c


def loop_repeat(k, H, source):
    Hkv = k.shape[1]
    rows = []
    for h in range(H):
        (h1, j1), (h2, j2) = source(h, H, Hkv)
        rows.append(torch.stack([k[:, h1, j1], k[:, h2, j2]], 1))
    return torch.stack(rows, 1)


def pair(h, H, Hkv):
    g = h * Hkv // H
    return (g, 0), (g, 1)


def flat(h, H, Hkv):
    group = H // Hkv
    return tuple(divmod(m // group, 2) for m in (2 * h, 2 * h + 1))


class V2(nn.Module):
    """Loops over heads and tokens, no operator."""

    def __init__(self, E, H, Hkv):
        super().__init__()
        D = E // (2 * H)
        self.sizes = H, Hkv, D
        self.q_proj = nn.Linear(E, E, bias=False)
        self.k_proj = nn.Linear(E, Hkv * D, bias=False)
        self.v_proj = nn.Linear(E, Hkv * D, bias=False)
        self.lambda_proj = nn.Linear(E, H, bias=False)
        self.out_proj = nn.Linear(H * D, E, bias=False)

    def first_column(self, h, branch):
        return (2 * h + branch) * self.sizes[2]

    def lam(self, x):
        return 1 / (1 + torch.exp(-self.lambda_proj(x)))  # (B, T, H)

    def seen(self, t, T):
        return t + 1

    def finish(self, o):
        return o

    def merge(self, heads):
        return torch.cat(heads, -1)

    def forward(self, x):
        H, Hkv, D = self.sizes
        T = x.shape[1]
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        lam, heads = self.lam(x), []
        for h in range(H):
            kv = slice(h * Hkv // H * D, (h * Hkv // H + 1) * D)
            rows = []
            for t in range(T):
                n, parts = self.seen(t, T), []
                for branch in (0, 1):
                    i = self.first_column(h, branch)
                    scores = (k[:, :n, kv] * q[:, t : t + 1, i : i + D]).sum(
                        -1
                    )
                    A = torch.softmax(scores / math.sqrt(D), -1)
                    parts.append((A[..., None] * v[:, :n, kv]).sum(1))
                rows.append(parts[0] - lam[:, t, h, None] * parts[1])
            heads.append(self.finish(torch.stack(rows, 1)))
        return self.out_proj(self.merge(heads))


class V2Linear(V2):
    def lam(self, x):
        return x @ self.lambda_proj.weight.T


class V2One(V2):
    def lam(self, x):
        B, T, _ = x.shape
        mean = self.lambda_proj(x).sum() / (B * T * self.sizes[0])
        return torch.sigmoid(mean).expand(B, T, self.sizes[0])


class V2Halves(V2):
    def first_column(self, h, branch):
        return (branch * self.sizes[0] + h) * self.sizes[2]


class V2Swapped(V2):
    def first_column(self, h, branch):
        return super().first_column(h, 1 - branch)


class V2Unmoved(V2):
    def merge(self, heads):
        B, T, D = heads[0].shape
        return torch.stack(heads, 1).view(B, T, len(heads) * D)


class V2All(V2):
    def seen(self, t, T):
        return T


class V2Unturned(V2):
    def forward(self, x):
        if x.shape[1] != self.sizes[0]:
            raise ValueError("lam: (B, T, H)")
        return super().forward(x)


class V2Reshaped(V2):
    def lam(self, x):
        (B, T, _), H = x.shape, self.sizes[0]
        flat = torch.sigmoid(self.lambda_proj(x)).flatten(1)
        return flat.view(B, H, T).permute(0, 2, 1)


class V2Cut(V2):
    def lam(self, x):
        return torch.tensor(super().lam(x).tolist(), dtype=x.dtype)


class V2Channels(V2):
    def merge(self, heads):
        D = heads[0].shape[-1]
        columns = [o[:, :, c] for c in range(D) for o in heads]
        return torch.stack(columns, -1)


class V2Unmixed(V2):
    def merge(self, heads):
        self.heads = super().merge(heads)
        return self.heads

    def forward(self, x):
        super().forward(x)
        return self.heads


class V2Normed(V2):
    def finish(self, o):
        return o / torch.sqrt(torch.mean(o**2, -1, keepdim=True) + 1e-5)


RIGHT = {
    "5.1": Lambda,
    "5.2": lambda y, H: loop_split(y, H, in_order),
    "5.3": lambda k, H: loop_repeat(k, H, pair),
    "5.4": V2,
}

WRONG = {
    "5.1": {
        "exponentials swapped": TurnedRound,
        "mean for the sum": Averaged,
        "lam_init subtracted": StartSubtracted,
        "not parameters": Buffers,
        "starts too large": Large,
        "starts at zero": Zeros,
        "cut from the graph": Item,
        "lam_init learned": LearnedStart,
        "layer off by one": Late,
        "layer counted from one": Early,
        "product without a sum": Entries,
        "no lam_init": NoStart,
        "starts uniform": Uniform,
        "starts alike": Alike,
        "starts too small": Small,
        "no schedule": Deep,
        "exponential of each product": Each,
        "no exponential": Plain,
        "one exponential": OneExp,
        "exponentials added": Added,
        "wrong partners": Partners,
        "an axis left": Axis,
    },
    "5.2": {
        "reshaped only": lambda y, H: y.flatten(1).view(
            len(y), H, 2, y.shape[1], -1
        ),
        "halves of the columns": lambda y, H: loop_split(
            y, H, lambda h, j, c, H, D: (j * H + h) * D + c
        ),
        "every second column": lambda y, H: loop_split(
            y, H, lambda h, j, c, H, D: 2 * (h * D + c) + j
        ),
        "tokens not moved": lambda y, H: torch.stack(
            [torch.stack(p.chunk(2, -1), 2) for p in y.chunk(H, -1)], 2
        ),
        "branch before head": lambda y, H: torch.stack(
            [loop_split(y, H, in_order)[:, :, j] for j in (0, 1)], 1
        ),
        "tokens before branches": lambda y, H: y.view(
            *y.shape[:2], H, 2, -1
        ).transpose(1, 2),
        "one axis for heads and branches": lambda y, H: torch.stack(
            y.chunk(2 * H, -1), 1
        ),
        "tokens last": lambda y, H: y.mT.reshape(len(y), H, 2, -1, y.shape[1]),
        "branches moved": lambda y, H: torch.stack(
            y.view(*y.shape[:2], H, 2, -1).unbind(3), 1
        ),
    },
    "5.3": {
        "single heads repeated": lambda k, H: loop_repeat(k, H, flat),
        "groups interleaved": lambda k, H: torch.cat(
            [k] * (H // k.shape[1]), 1
        ),
        "branches repeated": lambda k, H: torch.stack(
            [k] * (H // k.shape[1]), 3
        ).flatten(2, 3),
        "first key head only": lambda k, H: torch.stack([k[:, 0]] * H, 1),
        "repeated H times": lambda k, H: torch.stack([k] * H, 2).flatten(1, 2),
        "not repeated": lambda k, H: k.clone(),
        "no axis given": lambda k, H: torch.stack(
            [k.flatten()] * (H // k.shape[1]), 1
        ).flatten(),
        "a float number of times": lambda k, H: torch.cat(
            [k[:, h : h + 1] for h in range(k.shape[1]) for _ in range(H / 2)],
            1,
        ),
        "batch repeated": lambda k, H: torch.stack(
            [k] * (H // k.shape[1]), 1
        ).flatten(0, 1),
        "repeated Hkv times": lambda k, H: torch.stack(
            [k] * k.shape[1], 2
        ).flatten(1, 2),
    },
    "5.4": {
        "no sigmoid": V2Linear,
        "one lambda": V2One,
        "halves of the columns": V2Halves,
        "branches swapped": V2Swapped,
        "heads merged unmoved": V2Unmoved,
        "not causal": V2All,
        "norm kept": V2Normed,
        "lambda not transposed": V2Unturned,
        "lambda reshaped": V2Reshaped,
        "lambda cut from the graph": V2Cut,
        "heads interleaved": V2Channels,
        "no output matrix": V2Unmixed,
    },
}
