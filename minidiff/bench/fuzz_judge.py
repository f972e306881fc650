"""Judgement of one fuzz case: compute it in three ways and compare.

The operator under test and the eager one compute in the case's dtype, and
the eager one in float64, which is the truth. A float32 reference could not
judge float32 kernels.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from minidiff.bench.fuzz_cases import Call, Case, make
from minidiff.bench.fuzz_sizes import largest_logit, sizes
from minidiff.bench.poison import filled_by_torch
from minidiff.ops import diff_attention
from minidiff.ops.arguments import Arguments

Operator = Callable[..., Tensor]
# Largest error allowed, in multiples of eager's own error, or of what
# rounding alone may cost where eager is exact by luck.
LIMIT = 3.0
_TENSORS = ("q", "k", "v", "lam", "norm_weight", "key_lengths")
_eager = partial(diff_attention, backend="eager")
triton = partial(diff_attention, backend="triton")


class Error(NamedTuple):
    """Error of one result: the operator's, eager's, and their ratio.

    Both errors are relative to the size of the terms that cancel. ``floor``
    is what rounding alone may cost, and takes the place of a smaller error
    of eager in the ratio.
    """

    name: str
    error: float
    eager: float
    floor: float

    @property
    def ratio(self) -> float:
        """Return the operator's error over eager's, or over the floor."""
        # NaN from eager, as in float16, says nothing: the floor is used.
        worse = self.eager if self.eager > self.floor else self.floor
        return self.error / worse


class Judgement(NamedTuple):
    """Errors of all results of a case, and why it failed, if it did."""

    errors: tuple[Error, ...]
    failure: str | None

    @property
    def worst(self) -> Error | None:
        """Return the error with the largest ratio."""
        return max(self.errors, key=lambda e: e.ratio, default=None)


def judge(case: Case, operator: Operator, device: torch.device) -> Judgement:
    """Run a case and compare its results with float64.

    ``operator`` takes the arguments of :func:`minidiff.diff_attention`
    without ``backend``.
    """
    call = make(case, device)
    before = [bits(x).clone() for x in call.memory]
    results = partial(_results, case, call)
    try:
        # The interpreter's NumPy warns of what it computes and then masks.
        with filled_by_torch(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = results(operator, case.dtype)
            again = results(operator, case.dtype) if call.dy.is_cuda else got
    except Exception as error:  # any error is the operator's failure
        first = str(error).strip().splitlines() or [""]
        return Judgement((), f"{type(error).__name__}: {first[0][:200]}")
    for name, x, y in zip("qkv", before, call.memory, strict=True):
        if not torch.equal(x, bits(y)):
            return Judgement((), f"wrote to the memory of its input {name}")
    eager = results(_eager, case.dtype)
    truth = results(_eager, torch.float64)
    tiny = smallest(case.dtype, flushes=device.type == "cuda")
    failure = None
    for name, x in got.items():
        if (x.shape, x.dtype) != (eager[name].shape, eager[name].dtype):
            failure = f"{name}: got {x.dtype} {tuple(x.shape)}"
            return Judgement((), failure)
        if not torch.equal(bits(x), bits(again[name])):
            failure = failure or f"{name}: differs when computed again"
    errors = tuple(_errors(case, call, got, eager, truth, tiny))
    for e in errors:
        if not e.ratio <= LIMIT:
            failure = failure or f"{e.name}: {describe(e)}"
    return Judgement(errors, failure)


def smallest(dtype: torch.dtype, *, flushes: bool) -> float:
    """Return the size that smaller terms are judged as if they had.

    That is the smallest normal number of the dtype. Compiled kernels also
    take float32's denormal numbers for zeros: ``flushes``. What this may cost,
    one smallest float32 number, must count as half a rounding.
    """
    info = torch.finfo(dtype)
    lost = torch.finfo(torch.float32).tiny if flushes else 0.0
    return max(info.tiny, lost / (info.eps / 2))


def describe(e: Error) -> str:
    """Return an error, eager's, and their ratio as text."""
    return (
        f"error {e.error:.2g}, eager's own {e.eager:.2g}, rounding "
        f"{e.floor:.2g}: ratio {e.ratio:.2f}"
    )


def bits(x: Tensor) -> Tensor:
    """Return the bits of x as integers, so that NaN equals itself."""
    kinds = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return x.detach().contiguous().view(kinds[x.element_size()])


def arguments(
    case: Case, call: Call, tensors: dict[str, Tensor], i: int | None = None
) -> dict[str, Any]:
    """Return all arguments of call i of a mapped case, or of the only call.

    ``tensors`` takes the place of ``call.tensors``.
    """
    given: dict[str, Any] = {**tensors, "key_lengths": call.key_lengths}
    if i is not None:
        given = {n: x if x is None else x[i] for n, x in given.items()}
    return {
        "lam": call.lam,
        "norm_weight": None,
        **given,
        "causal": case.causal,
        "scale": case.scale,
        "norm_scale": case.norm_scale,
        "eps": case.eps,
    }


def _results(
    case: Case, call: Call, operator: Operator, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Return the output, and the gradients by name if the case learns."""
    wide = dtype == torch.float64
    leaves = {
        n: (x.double() if wide else x).detach().requires_grad_(case.learns)
        for n, x in call.tensors.items()
    }
    if not case.M:
        out = operator(**arguments(case, call, leaves))
    elif operator is _eager:  # one by one: vmap is under test, too
        out = torch.stack(
            [
                operator(**arguments(case, call, leaves, i))
                for i in range(case.M)
            ]
        )
    else:
        out = _mapped(case, call, operator, leaves)
    found = {"out": out.detach()}
    if case.learns:
        dy = call.dy.to(out.dtype) if wide else call.dy
        got = torch.autograd.grad(out, list(leaves.values()), dy)
        found |= dict(zip(leaves, got, strict=True))
    return found


def _mapped(
    case: Case, call: Call, operator: Operator, leaves: dict[str, Tensor]
) -> Tensor:
    """Call the operator once under vmap, over axis 0 of every tensor."""
    given = arguments(case, call, leaves)
    names = [n for n in _TENSORS if isinstance(given[n], Tensor)]

    def one(*tensors: Tensor) -> Tensor:
        return operator(**(given | dict(zip(names, tensors, strict=True))))

    return torch.vmap(one)(*(given[n] for n in names))


def _errors(
    case: Case,
    call: Call,
    got: dict[str, Tensor],
    eager: dict[str, Tensor],
    truth: dict[str, Tensor],
    tiny: float,
) -> list[Error]:
    wide = {n: x.double() for n, x in call.tensors.items()}
    calls = [
        Arguments(**arguments(case, call, wide, i))
        for i in (range(case.M) if case.M else (None,))
    ]
    dy = call.dy.double()
    parts = [
        sizes(x, dy[i] if case.M else dy, tiny) for i, x in enumerate(calls)
    ]
    # A logit of some hundreds is wrong by some hundreds of roundings, and so
    # is its exponential.
    logits = max(largest_logit(x) for x in calls)
    exponent = 4 * torch.finfo(torch.float32).eps * (1 + logits)
    # Each addition of a long sum rounds the sum so far: for n terms of random
    # sign, this adds up to sqrt(n / 6) roundings of the whole.
    terms = max(case.S, case.T * case.H // case.Hkv)
    summed = torch.finfo(torch.float32).eps / 2 * (terms / 6) ** 0.5
    floor = torch.finfo(case.dtype).eps / 2 + exponent + summed
    errors = []
    for name, want in truth.items():
        each = [part[name] for part in parts]
        size = torch.stack(each) if case.M else each[0]
        size = size + tiny * (size > 0)
        rows = name != "lam"  # lam is one number for each row
        ours, eagers = (
            _relative(x[name], want, size, rows) for x in (got, eager)
        )
        errors.append(Error(name, ours, eagers, floor))
    return errors


def _relative(got: Tensor, want: Tensor, size: Tensor, rows: bool) -> float:
    """Return the largest error of a row relative to its size.

    What must be exactly 0 and is not has an infinite error. Numbers beyond
    the dtype's range count as its largest one, on both sides: there inf is
    the right result.
    """
    most = torch.finfo(got.dtype).max
    off = (got.double().clamp(-most, most) - want.clamp(-most, most)).abs()
    if rows:
        off, size = off.norm(dim=-1), size.norm(dim=-1)
    off = torch.where(off == 0, 0.0, off / size)
    return float(off.max())  # NaN if any is NaN
