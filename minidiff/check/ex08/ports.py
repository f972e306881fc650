"""Differential attention in one right port and thirteen wrong ones.

Each wrong port is the right one with one or two lines changed. Chapter 08
prints the lines, finds out which port is which, and says where each was met.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import group_norm, layer_norm, mse_loss  # noqa: F401

from minidiff.check.compare import source_of
from minidiff.check.edited import edited
from minidiff.reference.lam import lambda_init


def causal_softmax(scores: Tensor) -> Tensor:
    """Softmax over the keys that each query may see; scores (..., T, T)."""
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(hidden, -torch.inf).softmax(-1)


class Port(nn.Module):
    """Right: the layer of chapter 5, in lines that a port can get wrong."""

    def __init__(self, E: int, H: int, Hkv: int, *, depth: int) -> None:
        super().__init__()
        D = E // (2 * H)
        Dv = 2 * D
        self.q_shape, self.k_shape = (H, 2, D), (Hkv, 2, D)
        self.v_shape = (Hkv, Dv)
        self.lam_init = lambda_init(depth)
        four = (nn.Parameter(0.1 * torch.randn(D)) for _ in range(4))
        self.lambda_q1, self.lambda_k1, self.lambda_q2, self.lambda_k2 = four
        self.norm_weight = nn.Parameter(torch.ones(Dv))
        self.q_proj = nn.Linear(E, H * 2 * D, bias=False)
        self.k_proj = nn.Linear(E, Hkv * 2 * D, bias=False)
        self.v_proj = nn.Linear(E, Hkv * Dv, bias=False)
        self.out_proj = nn.Linear(H * Dv, E, bias=False)

    def lam(self) -> Tensor:
        """Return lambda, one number for the layer."""
        dot1 = (self.lambda_q1 * self.lambda_k1).sum(-1)
        dot2 = (self.lambda_q2 * self.lambda_k2).sum(-1)
        return dot1.exp() - dot2.exp() + self.lam_init

    def share(self, k: Tensor) -> Tensor:
        """Repeat keys or values (B, Hkv, ...) for the heads that share."""
        return k.repeat_interleave(self.q_shape[0] // self.k_shape[0], 1)

    def map(self, q: Tensor, k: Tensor) -> Tensor:
        """Return A1 - lam A2 (B, H, T, T)."""
        keys = self.share(k)
        scores = q @ keys.mT / q.shape[-1] ** 0.5
        A1, A2 = causal_softmax(scores).unbind(2)
        return A1 - self.lam() * A2

    def norm(self, o: Tensor) -> Tensor:
        """Normalise each head and token of o (B, H, T, 2D)."""
        size = (o.square().mean(3, keepdim=True) + 1e-5).sqrt()
        return (1 - self.lam_init) * o / size * self.norm_weight

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, E)."""
        q = self.q_proj(x).unflatten(-1, self.q_shape).movedim(1, -2)
        k = self.k_proj(x).unflatten(-1, self.k_shape).movedim(1, -2)
        v = self.v_proj(x).unflatten(-1, self.v_shape).movedim(1, -2)
        heads = self.norm(self.map(q, k) @ self.share(v))
        return self.out_proj(heads.transpose(1, 2).flatten(2))


class Slip(NamedTuple):
    """What a wrong port changes, and where it was met when we read it."""

    changes: tuple[tuple[str, str], ...]  # (right lines, wrong lines)
    met: str


WRONG: dict[type[Port], Slip] = {}


def _wrong(name: str, met: str, *changes: tuple[str, str]) -> type[Port]:
    """Make the port with these (right, wrong) lines and add it to WRONG."""
    kind: type[Port] = edited(Port, *changes)
    kind.__name__ = kind.__qualname__ = name
    WRONG[kind] = Slip(changes, met)
    return kind


SqrtTwoD = _wrong(
    "SqrtTwoD",
    "as other wrong scales: Edifice (D / 2), jwliao1209 (multiplied)",
    (
        "scores = q @ keys.mT / q.shape[-1] ** 0.5",
        "scores = q @ keys.mT / (2 * q.shape[-1]) ** 0.5",
    ),
)
BeforeSoftmax = _wrong(
    "BeforeSoftmax",
    "as a question in microsoft/unilm, issue 1637",
    (
        "A1, A2 = causal_softmax(scores).unbind(2)",
        "scores1, scores2 = scores.unbind(2)",
    ),
    (
        "return A1 - self.lam() * A2",
        "return causal_softmax(scores1 - self.lam() * scores2)",
    ),
)
SingleKeys = _wrong(
    "SingleKeys",
    "in the naive file of microsoft/unilm",
    (
        "keys = self.share(k)",
        "keys = self.share(k.flatten(1, 2)).unflatten(1, (-1, 2))",
    ),
)
LayerFromOne = _wrong(
    "LayerFromOne",
    "as a frequent question, in no port we know",
    ("lambda_init(depth)", "lambda_init(depth + 1)"),
)
NoConstant = _wrong(
    "NoConstant",
    "in kyegomez/DifferentialTransformer, issue 5",
    (
        "return dot1.exp() - dot2.exp() + self.lam_init",
        "return dot1.exp() - dot2.exp()",
    ),
)
PerHead = _wrong(
    "PerHead",
    "in nanowell/Differential-Transformer-PyTorch and a lesson",
    ("0.1 * torch.randn(D)", "0.1 * torch.randn(H, 1, 1, D)"),
)
OneNorm = _wrong(
    "OneNorm",
    "in no port we know",
    ("o.square().mean(3, keepdim=True)", "o.square().mean((1, 3), True)"),
)
TorchGroupNorm = _wrong(
    "TorchGroupNorm",
    "as an option in jwliao1209/Differential-FT-Transformer",
    (
        "size = (o.square().mean(3, keepdim=True) + 1e-5).sqrt()",
        "columns = group_norm(o.mT.flatten(1, 2), o.shape[1])",
    ),
    ("o / size", "columns.view_as(o.mT).mT"),
)
LateNorm = _wrong(
    "LateNorm",
    "in kyegomez/DifferentialTransformer",
    (
        "self.norm(self.map(q, k) @ self.share(v))",
        "self.map(q, k) @ self.share(v)",
    ),
    (
        "self.out_proj(heads.transpose(1, 2).flatten(2))",
        "layer_norm(self.out_proj(heads.transpose(1, 2).flatten(2)), "
        "x.shape[2:])",
    ),
)
TwiceHalved = _wrong(
    "TwiceHalved",
    "in a comment in karpathy/nanoGPT, issue 567",
    ("D = E // (2 * H)", "D = E // (4 * H)"),
)
HeadsKept = _wrong(
    "HeadsKept",
    "in some vision models of timm, and in a public lesson",
    ("D = E // (2 * H)", "H, Hkv, D = 2 * H, 2 * Hkv, E // (4 * H)"),
)
NarrowValues = _wrong(
    "NarrowValues",
    "in a public lesson",
    ("Dv = 2 * D", "Dv = D"),
)
Halves = _wrong(
    "Halves",
    "in a public replication, whose author found it",
    (
        "unflatten(-1, self.q_shape).movedim(1, -2)",
        "unflatten(-1, (2, *self.q_shape[::2])).permute(0, 3, 2, 1, 4)",
    ),
)


def changed_lines(kind: type[Port]) -> list[tuple[str, str]]:
    """Return the lines of `Port` that a wrong port changes: (right, wrong)."""
    lines = [line.strip() for line in source_of(Port).splitlines()]
    return [
        (line, line.replace(right, wrong))
        for right, wrong in WRONG[kind].changes
        for line in lines
        if right in line
    ]


def build(
    kind: type[nn.Module], H: int = 4, Hkv: int = 2, depth: int = 3
) -> nn.Module:
    """Make a port of width 64 in float64, always with the same weights."""
    port = kind(64, H, Hkv, depth=depth).double()
    torch.manual_seed(1)
    for module in port.modules():
        if isinstance(module, nn.Linear):
            # Queries and keys of a size at which the maps are not flat.
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    for name, vector in port.named_parameters():
        if name.startswith("lambda_"):
            nn.init.normal_(vector, std=0.1)
    return port


def task() -> tuple[Tensor, Tensor]:
    """Return x (8, 7, 64) and for each token the one before it."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(8, 7, 64, generator=generator).double()
    return x, torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)


def train(port: nn.Module, steps: int = 30) -> list[float]:
    """Teach a port the task; return the mean squared error of each step."""
    x, target = task()
    optimizer = torch.optim.Adam(port.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        loss = mse_loss(port(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
