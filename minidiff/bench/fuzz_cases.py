"""Random cases of the operator, each drawn from a seed and a number.

A case holds everything that defines one call: shapes, options, strides and
the seed of its numbers. `draw` returns the same case for the same seed and
number on every machine of one kind (GPU or CPU).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import product

import torch
from torch import Tensor

from minidiff.ops.dispatch import WIDTHS

DTYPES = {
    "cuda": (torch.bfloat16, torch.float16, torch.float32),
    # Triton's interpreter silently computes bfloat16 incorrectly.
    "cpu": (torch.float16, torch.float32),
}
# Largest numbers of queries and keys. The interpreter is slow.
LONGEST = {"cuda": 1000, "cpu": 40}
# Orders of the last three axes in memory (heads or branches, tokens, width).
LAYOUTS = {
    "contiguous": (0, 1, 2),
    "tokens first": (1, 0, 2),
    "transposed": (0, 2, 1),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One call: its shapes, options, strides, and the seed of its numbers.

    M is the number of calls mapped by ``torch.vmap``, 0 for a plain call.
    ``lam_shape`` is None for a number. ``alike`` is the correlation of the
    second branch with the first, and ``logits`` multiplies the queries.
    ``margin`` is the number of rows and columns of memory around each matrix
    of q, k and v; ``cache`` is how many more tokens that of k and v holds.
    """

    number: str
    seed: int
    dtype: torch.dtype
    learns: bool
    M: int
    B: int
    H: int
    Hkv: int
    P: int
    T: int
    S: int
    D: int
    Dv: int
    causal: bool
    lam: float
    lam_shape: tuple[int, ...] | None
    scale: float | None
    norm_scale: float | None
    weight: bool
    eps: float
    lengths: tuple[int, ...] | None
    alike: float
    logits: float
    layouts: tuple[str, str, str, str]  # of q, k, v and the output's gradient
    margin: int
    cache: int

    def __str__(self) -> str:
        """Return all fields in one line."""
        said = (f"{f.name}={getattr(self, f.name)}" for f in fields(self))
        return " ".join(x.replace("torch.", "") for x in said)


def draw(
    seed: int, number: int, device: str, dtype: torch.dtype | None = None
) -> Case:
    """Draw a case; ``device`` is "cuda" or "cpu".

    ``dtype`` replaces the one that is drawn and changes nothing else.
    """
    rng = random.Random(f"{seed}:{number}")
    drawn = rng.choice(DTYPES[device])
    longest = LONGEST[device]
    M = rng.choice((0, 0, 0, 0, 0, 2, 3))
    Hkv, G = rng.choice((1, 2)), rng.choice((1, 2, 3))
    B = rng.choice((1, 2, 3))
    learns = rng.random() < 0.75
    # A quarter of the calls decodes, half of these a single query.
    few = 1 if rng.random() < 0.5 else _size(rng, 16)
    T = few if rng.random() < 0.25 else _size(rng, longest)
    causal = rng.random() < 0.6
    S = _size(rng, longest)
    if causal:
        S = T if rng.random() < 0.5 else T + S
    D = rng.choice(WIDTHS)
    H = G * Hkv
    lam, lam_shape = _lam(rng, (B, H, T))
    norm = rng.random() < 0.5
    lengths = tuple(rng.randint(0, S) for _ in range(max(M, 1) * B))
    return Case(
        number=f"{seed}:{number}",
        seed=rng.randrange(2**31),
        dtype=dtype or drawn,
        learns=learns,
        M=M,
        B=B,
        H=H,
        Hkv=Hkv,
        P=rng.choice((1, 2)),
        T=T,
        S=S,
        D=D,
        Dv=rng.choice((D, 2 * D)),
        causal=causal,
        lam=lam,
        lam_shape=lam_shape,
        scale=rng.choice((None, None, rng.uniform(0.05, 0.5), 0.0, -0.2)),
        norm_scale=rng.choice((0.8, 0.2, -1.0)) if norm else None,
        weight=norm and rng.random() < 0.7,
        eps=rng.choice((1e-6, 1e-5, 1e-2)),
        lengths=lengths if rng.random() < 0.4 else None,
        alike=rng.choice((0.0, 0.0, 0.9, 1.0)),
        logits=rng.choice((0.0, 1.0, 1.0, 1.0, 5.0, 50.0)),
        layouts=_layouts(rng),
        margin=rng.choice((0, 3, 8)),
        cache=rng.choice((0, 0, 5, 32)),
    )


def _size(rng: random.Random, longest: int) -> int:
    """Draw a length, often one at the edge of a block."""
    edges = [n + d for n in (16, 32, 64, 128, 256, 512) for d in (-1, 0, 1)]
    edges = [n for n in edges if n <= longest]
    if edges and rng.random() < 0.4:
        return rng.choice(edges)
    return rng.randint(1, longest)


def _lam(
    rng: random.Random, full: Sequence[int]
) -> tuple[float, tuple[int, ...] | None]:
    """Draw lambda's size, and its shape: None, () or one of three axes."""
    shapes = list(product(*((1, n) for n in full)))
    lam = rng.choice((0.0, 0.3, 0.8, 1.0, 1.0, 1.2, -0.5, -1.0, 8.0, -20.0))
    return lam, rng.choice((None, (), rng.choice(shapes), tuple(full)))


def _layouts(rng: random.Random) -> tuple[str, str, str, str]:
    q, k, v, dy = (rng.choice(tuple(LAYOUTS)) for _ in range(4))
    return q, k, v, dy


@dataclass(frozen=True, kw_only=True)
class Call:
    """The tensors of a case: those to differentiate, and all others.

    ``tensors`` has q, k, v, and lam and norm_weight if they are tensors, each
    with a leading axis of M calls if M is not 0. ``memory`` holds what they
    are views of: NaN wherever no view is.
    """

    tensors: dict[str, Tensor]
    lam: float | None
    key_lengths: Tensor | None
    dy: Tensor
    memory: tuple[Tensor, ...]


def make(case: Case, device: torch.device) -> Call:
    """Draw the numbers of a case, with its strides."""
    g = torch.Generator().manual_seed(case.seed)
    lead = (case.M,) if case.M else ()

    def normal(*sizes: int) -> Tensor:
        return torch.randn(*lead, *sizes, generator=g)

    def alike(x: Tensor) -> Tensor:
        """Mix the first branch into the second, on axis -3."""
        if x.shape[-3] == 2:
            first, second = x.unbind(-3)
            rest = (1 - case.alike**2) ** 0.5
            x = torch.stack([first, case.alike * first + rest * second], -3)
        return x

    B, H, Hkv, T, S = case.B, case.H, case.Hkv, case.T, case.S
    plain = {
        "q": alike(normal(B, H, 2, T, case.D)) * case.logits,
        "k": alike(normal(B, Hkv, case.P, S, case.D)),
        "v": normal(B, Hkv, S, case.Dv),
    }
    dy = normal(B, H, T, case.Dv)
    tensors, memory = {}, []
    for layout, (name, x) in zip(case.layouts[:3], plain.items(), strict=True):
        more = 0 if name == "q" else case.cache
        x = x.to(device, case.dtype)
        view, around = fenced(x, LAYOUTS[layout], case.margin, more)
        tensors[name] = view
        memory.append(around)
    if case.lam_shape is not None:
        noise = (
            normal(*case.lam_shape) if case.lam_shape else normal(1)[..., 0]
        )
        # A lambda of 1 stays 1 everywhere, so that branches can cancel.
        lam = case.lam if case.lam == 1 else case.lam * (1 + 0.1 * noise)
        tensors["lam"] = torch.as_tensor(lam).expand_as(noise).clone()
    if case.weight:
        tensors["norm_weight"] = 1 + 0.3 * normal(case.Dv)
    for name in ("lam", "norm_weight"):  # kept in float32, as weights are
        if name in tensors:
            tensors[name] = tensors[name].to(device)
    lengths = None
    if case.lengths is not None:
        lengths = torch.tensor(case.lengths, device=device).view(*lead, B)
        _spoil(tensors, lengths)
    order = LAYOUTS[case.layouts[3]]
    return Call(
        tensors=tensors,
        lam=case.lam if case.lam_shape is None else None,
        key_lengths=lengths,
        dy=fenced(dy.to(device, case.dtype), order, 0, 0)[0],
        memory=tuple(memory),
    )


def fenced(
    x: Tensor, order: tuple[int, int, int], margin: int, more: int
) -> tuple[Tensor, Tensor]:
    """Return x as a view of larger memory that is NaN elsewhere, and that.

    ``order`` is the order of the last three axes in memory, ``margin`` the
    rows and columns around each matrix of x, ``more`` the rows that follow.
    """
    *outer, rows, width = x.shape
    sizes = [*outer, rows + 2 * margin + more, width + 2 * margin]
    first = x.ndim - 3
    axes = [*range(first), *(first + i for i in order)]
    memory = torch.full(
        [sizes[a] for a in axes], torch.nan, dtype=x.dtype, device=x.device
    )
    back = [axes.index(a) for a in range(x.ndim)]
    view = memory.permute(back).narrow(-2, margin, rows)
    view = view.narrow(-1, margin, width)
    view.copy_(x)
    return view, memory


def _spoil(tensors: dict[str, Tensor], lengths: Tensor) -> None:
    """Write NaN to the padding of k and v: it must have no effect."""
    for name in ("k", "v"):
        x = tensors[name]
        S = x.shape[-2]
        padding = torch.arange(S, device=x.device) >= lengths[..., None]
        between = x.ndim - lengths.ndim - 2  # heads, and branches of k
        shape = (*lengths.shape, *[1] * between, S, 1)
        x.masked_fill_(padding.view(shape), torch.nan)
