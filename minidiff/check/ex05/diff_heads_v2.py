"""Exercise 5.4: a whole module, the second version."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.ops import diff_attention


class DiffHeadsV2(nn.Module):
    """Differential attention V2: H heads, Hkv key/value heads, causal."""

    def __init__(self, E: int, H: int, Hkv: int) -> None:
        super().__init__()
        self.H, self.Hkv, self.D = H, Hkv, E // (2 * H)
        self.q_proj = nn.Linear(E, H * 2 * self.D, bias=False)
        self.k_proj = nn.Linear(E, Hkv * self.D, bias=False)
        self.v_proj = nn.Linear(E, Hkv * self.D, bias=False)
        self.lambda_proj = nn.Linear(E, H, bias=False)
        self.out_proj = nn.Linear(H * self.D, E, bias=False)

    def split(self, y: Tensor, *shape: int) -> Tensor:
        """Cut the last axis of y (B, T, n) into shape; tokens to axis -2."""
        return y.unflatten(-1, shape).movedim(1, -2)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, E) for x (B, T, E)."""
        H, Hkv, D = self.H, self.Hkv, self.D
        q = self.split(self.q_proj(x), H, 2, D)
        k = self.split(self.k_proj(x), Hkv, 1, D)
        v = self.split(self.v_proj(x), Hkv, D)
        lam = self.lambda_proj(x).sigmoid().transpose(1, 2)  # (B, H, T)
        heads = diff_attention(q, k, v, lam)  # (B, H, T, D)
        return self.out_proj(heads.transpose(1, 2).flatten(2))


def _run(
    answer: Callable[..., Any],
    sizes: tuple[int, int, int],
    weights: dict[str, Tensor],
    x: Tensor,
) -> tuple[Tensor, Tensor] | None:
    """Build the module, give it weights: its output, lambda's gradient."""
    module = answer(*sizes).double()
    with torch.no_grad():
        for name, weight in weights.items():
            getattr(module, name).weight.copy_(weight)
    out = module(x)
    if out is None:
        return None
    if out.requires_grad:
        out.square().sum().backward()
    grad = module.lambda_proj.weight.grad
    if grad is None:
        grad = torch.zeros(sizes[1], sizes[0])
    return out, grad


def _cases() -> list[Case]:
    cases = []
    for seed, (B, T, D, H, Hkv) in enumerate(
        [(1, 1, 4, 1, 1), (2, 5, 4, 2, 2), (1, 7, 2, 4, 2), (2, 4, 3, 3, 1)]
    ):
        E = 2 * H * D
        generator = torch.Generator().manual_seed(seed)
        shapes = {
            "q_proj": (E, E),
            "k_proj": (Hkv * D, E),
            "v_proj": (Hkv * D, E),
            "lambda_proj": (H, E),
            "out_proj": (E, H * D),
        }
        weights = {
            name: torch.randn(shape, generator=generator).double()
            * (2 / E**0.5)
            for name, shape in shapes.items()
        }
        x = torch.randn(B, T, E, generator=generator).double()
        cases.append(
            Case(
                name=f"T = {T}, D = {D}, H = {H}, Hkv = {Hkv}",
                args=((E, H, Hkv), weights, x),
            )
        )
    return cases


class _Wrong(DiffHeadsV2):
    """The solution in parts, so that a mistake can replace one of them."""

    options: dict[str, Any] = {}  # noqa: RUF012

    def queries(self, y: Tensor) -> Tensor:
        return self.split(y, self.H, 2, self.D)

    def keys(self, y: Tensor) -> Tensor:
        return self.split(y, self.Hkv, 1, self.D)

    def lam(self, y: Tensor) -> Tensor:
        return y.sigmoid().transpose(1, 2)

    def merge(self, heads: Tensor) -> Tensor:
        return heads.transpose(1, 2).flatten(2)

    def project(self, y: Tensor) -> Tensor:
        return self.out_proj(y)

    def forward(self, x: Tensor) -> Tensor:
        q, k = self.queries(self.q_proj(x)), self.keys(self.k_proj(x))
        v = self.keys(self.v_proj(x))[:, :, 0]
        lam = self.lam(self.lambda_proj(x))
        heads = diff_attention(q, k, v, lam, **self.options)
        return self.project(self.merge(heads))


class _NoSigmoid(_Wrong):
    def lam(self, y: Tensor) -> Tensor:
        return y.transpose(1, 2)


class _OneLambda(_Wrong):
    def lam(self, y: Tensor) -> Tensor:
        return y.mean().sigmoid()


class _Halves(_Wrong):
    def queries(self, y: Tensor) -> Tensor:
        return y.unflatten(-1, (2, self.H, self.D)).permute(0, 3, 2, 1, 4)


class _Swapped(_Wrong):
    def queries(self, y: Tensor) -> Tensor:
        return super().queries(y).flip(2)


class _NotMoved(_Wrong):
    def merge(self, heads: Tensor) -> Tensor:
        B, _, T, _ = heads.shape
        return heads.reshape(B, T, -1)


class _Everything(_Wrong):
    options = {"causal": False}  # noqa: RUF012


class _Normed(_Wrong):
    options = {"norm_scale": 1.0}  # noqa: RUF012


class _NotTransposed(_Wrong):
    def lam(self, y: Tensor) -> Tensor:
        return y.sigmoid()


class _Reshaped(_Wrong):
    def lam(self, y: Tensor) -> Tensor:
        return y.sigmoid().reshape(len(y), self.H, -1)


class _Cut(_Wrong):
    def lam(self, y: Tensor) -> Tensor:
        return super().lam(y).detach()


class _Interleaved(_Wrong):
    def merge(self, heads: Tensor) -> Tensor:
        return heads.movedim(1, -1).flatten(2)


class _Unmixed(_Wrong):
    def project(self, y: Tensor) -> Tensor:
        return y


EXERCISE = Exercise(
    id="5.4",
    cases=_cases,
    solution=DiffHeadsV2,
    run=_run,
    results=("the output", "lambda_proj's gradient"),
    mistakes=(
        Mistake(
            key="no sigmoid",
            diagnosis="lambda_proj's output is used as it is. It goes "
            "through a sigmoid first, which keeps lambda between 0 and 1.",
            wrong=_NoSigmoid,
        ),
        Mistake(
            key="one lambda",
            diagnosis="One lambda is used for everything, and it looks at "
            "later tokens. In V2 each token and head has its own: "
            "(B, H, T).",
            wrong=_OneLambda,
        ),
        Mistake(
            key="halves of the columns",
            diagnosis="Branch 1 is the first half of the query columns. The "
            "two branches of a head stand side by side: (H, 2, D).",
            wrong=_Halves,
        ),
        Mistake(
            key="branches swapped",
            diagnosis="The branches are swapped: this is A2 - lambda A1.",
            wrong=_Swapped,
        ),
        Mistake(
            key="heads merged unmoved",
            diagnosis="The heads are reshaped without moving the tokens' "
            "axis back: transpose (B, H, T, D) to (B, T, H, D) before "
            "flattening.",
            wrong=_NotMoved,
        ),
        Mistake(
            key="not causal",
            diagnosis="Every token sees the later ones. The operator is "
            "causal unless told otherwise.",
            wrong=_Everything,
        ),
        Mistake(
            key="norm kept",
            diagnosis="The heads are normalised as in V1. V2 has no headwise "
            "norm: leave norm_scale alone.",
            wrong=_Normed,
        ),
        Mistake(
            key="lambda not transposed",
            diagnosis="lambda is (B, T, H), as lambda_proj gives it. The "
            "operator wants (B, H, T).",
            wrong=_NotTransposed,
        ),
        Mistake(
            key="lambda cut from the graph",
            diagnosis="The output is right, but no gradient reaches "
            "lambda_proj: .detach(), .item() and torch.tensor leave autograd "
            "behind.",
            wrong=_Cut,
        ),
        Mistake(
            key="heads interleaved",
            diagnosis="The heads are merged channel by channel: (B, T, D, H) "
            "was flattened. Whole heads stand side by side: (B, T, H, D).",
            wrong=_Interleaved,
        ),
        Mistake(
            key="no output matrix",
            diagnosis="The merged heads come back as they are. out_proj "
            "takes them to width E.",
            wrong=_Unmixed,
        ),
        Mistake(
            key="lambda reshaped",
            diagnosis="lambda_proj gives (B, T, H), and a reshape to "
            "(B, H, T) mixes tokens with heads. Swap the axes: "
            "transpose(1, 2).",
            wrong=_Reshaped,
        ),
    ),
    hints=(
        "Five steps: queries, keys and values, lambda, the operator, the "
        "merge. Write the shape of each beside it.",
        "Split the query columns into (H, 2, D), the key columns into "
        "(Hkv, 1, D), the value columns into (Hkv, D). lambda must be "
        "(B, H, T).",
        "lam = self.lambda_proj(x).sigmoid().transpose(1, 2); heads = "
        "diff_attention(q, k, v, lam); then "
        "self.out_proj(heads.transpose(1, 2).flatten(2)).",
    ),
)
