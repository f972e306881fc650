"""Differential attention in one right port and ten wrong ones.

Each wrong one changes as little as it can, as real ports do. Chapter 08 finds
out which is which; where each was met is told there.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import group_norm, layer_norm, mse_loss, rms_norm

from minidiff.nn.attention import MultiheadDiffAttention


def causal_softmax(scores: Tensor) -> Tensor:
    """Softmax over the keys that each query may see; scores (..., T, T)."""
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(hidden, -torch.inf).softmax(-1)


class Port(MultiheadDiffAttention):
    """Right: attention in the steps that a port can get wrong."""

    def attend(
        self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, *options: object
    ) -> Tensor:
        """Return the normalised heads (B, H, T, 2D); no option is used."""
        return self.norm(self.map(q, k) @ self.share(v))

    def share(self, k: Tensor) -> Tensor:
        """Repeat keys or values (B, Hkv, ...) for all H heads."""
        return k.repeat_interleave(self.q_shape[0] // k.shape[1], 1)

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the scaled scores of both branches (B, H, 2, T, T)."""
        return q @ self.share(k).mT / q.shape[-1] ** 0.5

    def map(self, q: Tensor, k: Tensor) -> Tensor:
        """Return ``A1 - lam A2`` (B, H, T, T)."""
        A1, A2 = causal_softmax(self.scores(q, k)).unbind(2)
        return A1 - self.lam() * A2

    def norm(self, o: Tensor) -> Tensor:
        """Normalise each head and token of o (B, H, T, 2D)."""
        y = rms_norm(o, o.shape[-1:], self.norm_weight, self.norm_eps)
        return (1 - self.lam_init) * y


class SqrtTwoD(Port):
    """Scores divided by the root of 2D."""

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the scores (B, H, 2, T, T)."""
        return super().scores(q, k) / 2**0.5


class BeforeSoftmax(Port):
    """Scores subtracted, one softmax."""

    def map(self, q: Tensor, k: Tensor) -> Tensor:
        """Return a softmax map (B, H, T, T)."""
        s1, s2 = self.scores(q, k).unbind(2)
        return causal_softmax(s1 - self.lam() * s2)


class SingleKeys(Port):
    """Single key heads repeated, where pairs should be."""

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the scores (B, H, 2, T, T)."""
        flat = k.flatten(1, 2).repeat_interleave(q.shape[1] // k.shape[1], 1)
        return super().scores(q, flat.unflatten(1, (-1, 2)))


class LayerFromOne(Port):
    """The schedule of lambda_init, one layer late."""

    def __init__(self, *sizes: int, depth: int) -> None:
        super().__init__(*sizes, depth=depth + 1)


class NoConstant(Port):
    """Lambda without lambda_init."""

    def lam(self) -> Tensor:
        """Return the difference of the exponentials, 0-d."""
        return super().lam() - self.lam_init


class PerHead(Port):
    """A lambda of its own for each head."""

    def __init__(self, *sizes: int, depth: int) -> None:
        super().__init__(*sizes, depth=depth)
        H, _, D = self.q_shape
        for name in ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2"):
            setattr(self, name, nn.Parameter(0.1 * torch.randn(H, D)))

    def lam(self) -> Tensor:
        """Return lambda (H, 1, 1)."""
        dot1 = (self.lambda_q1 * self.lambda_k1).sum(-1)
        dot2 = (self.lambda_q2 * self.lambda_k2).sum(-1)
        return (dot1.exp() - dot2.exp() + self.lam_init)[:, None, None]


class TorchGroupNorm(Port):
    """``group_norm`` with a group for each head."""

    def norm(self, o: Tensor) -> Tensor:
        """Normalise each head over its channels and all tokens."""
        columns = o.mT.flatten(1, 2)  # (B, H * 2D, T), as group_norm wants
        assert self.norm_weight is not None
        weight = self.norm_weight.repeat(o.shape[1])
        y = group_norm(columns, o.shape[1], weight)
        return (1 - self.lam_init) * y.unflatten(1, (o.shape[1], -1)).mT


class OneNorm(Port):
    """One RMSNorm over all heads of a token."""

    def norm(self, o: Tensor) -> Tensor:
        """Divide all heads of a token by one number."""
        assert self.norm_weight is not None
        size = (o.square().mean((1, 3), keepdim=True) + 1e-5).sqrt()
        return (1 - self.lam_init) * o / size * self.norm_weight


class LateNorm(Port):
    """No norm of the heads; LayerNorm after the output matrix."""

    def norm(self, o: Tensor) -> Tensor:
        """Leave the heads alone."""
        return o

    def forward(self, x: Tensor, **options: Any) -> Tensor:
        """Return (B, T, E)."""
        out = super().forward(x, **options)
        assert isinstance(out, Tensor)
        return layer_norm(out, x.shape[-1:])


class TwiceHalved(Port):
    """Half of the heads, and each half as wide."""

    def __init__(self, E: int, H: int, Hkv: int, *, depth: int) -> None:
        super().__init__(E // 2, H, Hkv, depth=depth)
        self.embed_dim = E
        for name in ("q_proj", "k_proj", "v_proj"):
            columns = getattr(self, name).out_features
            setattr(self, name, nn.Linear(E, columns, bias=False))
        self.out_proj = nn.Linear(E // 2, E, bias=False)


# Each wrong port and where it was met, as code or thread stood when read.
WRONG = {
    SqrtTwoD: "no port we know; the reverse: jwliao1209",
    BeforeSoftmax: "asked: microsoft/unilm, issue 1637",
    SingleKeys: "microsoft/unilm, the naive file",
    LayerFromOne: "no port we know; often asked",
    NoConstant: "kyegomez, issue 5",
    PerHead: "nanowell",
    TorchGroupNorm: "jwliao1209, as an option",
    OneNorm: "no port we know",
    LateNorm: "kyegomez",
    TwiceHalved: "a comment in karpathy/nanoGPT, issue 567",
}


def build(
    kind: type[nn.Module], H: int = 4, Hkv: int = 2, depth: int = 3
) -> nn.Module:
    """Make a port of width 64 in float64, always with the same weights."""
    torch.manual_seed(0)
    port = kind(64, H, Hkv, depth=depth).double()
    torch.manual_seed(1)  # the same matrices, whatever was drawn before
    for module in port.modules():
        if isinstance(module, nn.Linear):
            # Queries and keys of a size at which the maps are not flat.
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
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
