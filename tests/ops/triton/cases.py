"""Inputs for the kernels, and how far from the truth they may be."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from minidiff import diff_attention
from minidiff.ops.arguments import Arguments

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
# The interpreter is silently wrong in bfloat16.
HALF = [torch.bfloat16, torch.float16] if GPU else [torch.float16]
NAMES = ("q", "k", "v", "lam", "norm_weight")


@dataclass(frozen=True)
class Case:
    """Sizes and options of one call; lam "layer", "head", "token", number."""

    B: int = 1
    H: int = 2
    Hkv: int = 2
    P: int = 2
    T: int = 33
    S: int | None = None
    D: int = 16
    wide: bool = True
    causal: bool = True
    lam: str | float = "layer"
    norm: bool = True
    weight: bool = True
    lengths: tuple[int, ...] | None = None
    scale: float | None = None
    eps: float = 1e-5
    logits: float = 1.0
    slack: float = 1.0
    seed: int = 0

    def inputs(self, dtype: torch.dtype) -> dict[str, Tensor | float | None]:
        """Draw q, k, v, lam and the weight, as projections lay them out."""
        g = torch.Generator().manual_seed(self.seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=g)

        B, H, T, D = self.B, self.H, self.T, self.D
        S = self.S or T
        dv = 2 * D if self.wide else D
        x: dict[str, Tensor | float | None] = {
            "q": draw(B, T, H, 2, D) * self.logits,
            "k": draw(B, S, self.Hkv, self.P, D),
            "v": draw(B, S, self.Hkv, dv),
            "norm_weight": draw(dv) if self.norm and self.weight else None,
        }
        shapes = {"layer": (), "head": (1, H, 1), "token": (B, H, T)}
        lam = self.lam
        x["lam"] = draw(*shapes[lam]) if lam in shapes else lam
        for name in ("q", "k", "v"):
            x[name] = x[name].to(DEVICE, dtype)
        for name in ("lam", "norm_weight"):  # kept in float32, as weights are
            if isinstance(x[name], Tensor):
                x[name] = x[name].to(DEVICE)
        x["q"] = x["q"].permute(0, 2, 3, 1, 4)
        x["k"] = x["k"].permute(0, 2, 3, 1, 4)
        x["v"] = x["v"].transpose(1, 2)
        return x

    def options(self) -> dict:
        """The keyword arguments that are not tensors to differentiate."""
        lengths = self.lengths and torch.tensor(self.lengths, device=DEVICE)
        return {
            "causal": self.causal,
            "scale": self.scale,
            "norm_scale": 0.8 if self.norm else None,
            "eps": self.eps,
            "key_lengths": lengths,
        }

    def arguments(self, dtype: torch.dtype) -> Arguments:
        """As the kernels' launchers take them: lam for each row, a scale."""
        x, options = self.inputs(dtype), self.options()
        options["scale"] = self.D**-0.5 if self.scale is None else self.scale
        lam = x.pop("lam").expand(self.B, self.H, self.T)
        return Arguments(**x, lam=lam, **options)

    def but(self, **changes: object) -> "Case":
        """The same case with some changes."""
        return replace(self, **changes)


def run(x: dict, options: dict, backend: str, grads: bool = True) -> dict:
    """Outputs and gradients by name, with a fixed gradient of the output."""
    leaves = {
        n: a.detach().requires_grad_(grads)
        for n, a in x.items()
        if isinstance(a, Tensor)
    }
    out = diff_attention(**{**x, **leaves}, **options, backend=backend)
    found = {"out": out.detach()}
    if grads:
        g = torch.Generator().manual_seed(9)
        dy = torch.randn(out.shape, generator=g).to(out)
        got = torch.autograd.grad(out, list(leaves.values()), dy)
        found |= dict(zip(leaves, got, strict=True))
    return found


def wide(x: dict) -> dict:
    """The same numbers in float64."""
    return {
        n: a.double() if isinstance(a, Tensor) else a for n, a in x.items()
    }


def error(got: Tensor, want: Tensor, size: Tensor | None = None) -> float:
    """L2 of the difference over that of `want`, or over `size`.

    NaN never passes. What is truly zero is measured over 10: the products
    that cancel in it are about so large.
    """
    size = want.double().norm() if size is None else size
    off = (got.double() - want.double()).norm()
    return float(off / (size if size > 1e-9 else 10.0))


def check(case: Case, dtype: torch.dtype, grads: bool = True) -> None:
    """Hold the kernels to float64: at most twice eager's own error.

    Where eager is exact by luck, rounding to dtype is the floor. The gradient
    of lam is a sum over tokens that cancels, so it is measured over the sum
    of its terms' sizes.
    """
    x, options = case.inputs(dtype), case.options()
    got = run(x, options, "triton", grads)
    eager = run(x, options, "eager", grads)
    want = run(wide(x), options, "eager", grads)
    sizes = {}
    if grads and isinstance(x["lam"], Tensor):
        lam = x["lam"].expand(case.B, case.H, case.T)
        terms = run(wide({**x, "lam": lam}), options, "eager")["lam"]
        sizes["lam"] = terms.abs().sum()
    # A log-sum of hundreds has a rounding error of hundreds times 6e-8.
    exact = 2e-6 * max(1.0, case.logits / 5)
    floor = max(2 * torch.finfo(dtype).eps, exact) * case.slack
    for name, truth in want.items():
        assert got[name].shape == truth.shape, name
        assert got[name].dtype == eager[name].dtype, name
        size = sizes.get(name)
        bound = max(2 * error(eager[name], truth, size), floor)
        off = error(got[name], truth, size)
        assert off <= bound, (name, off, bound, case)
