"""Comparison of results: in kind, dtype and shape first, then in value."""

import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

# Types of NumPy's own numbers, not of subclasses.
_SCALARS = {t for t in np.sctypeDict.values() if issubclass(t, np.number)} | {
    np.bool_
}
# Tolerances, relative and absolute, for results of few operations.
_ROUNDING = {"float64": 1e-9, "float32": 1e-5, "float16": 1e-2}
_ROUNDING["bfloat16"] = 5e-2
_REAL = ("float", "bfloat", "real")
_CLASSES = {"b": "boolean", "i": "integer", "u": "integer", "f": "real"}
_WORDS = {
    "boolean": "booleans",
    "integer": "integers",
    "real": "real numbers",
    "complex": "complex numbers",
}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One result of an answer, as it is compared.

    ``kind`` is "number" (also an array or a tensor without axes), "array",
    "tensor", "list", or the name of another type, whose value is None.
    ``numbers`` is the class of the dtype: "boolean", "integer", "real" or
    "complex". ``dtype`` is "" for a number.
    """

    kind: str
    numbers: str = ""
    dtype: str = ""
    value: Any = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result; () for a number."""
        return np.shape(self.value)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A difference between an answer's result and the solution's.

    ``text`` has the lines to print. ``explained`` is False if they show two
    unequal numbers, which does not yet say what is wrong with the answer.
    ``only_dtype`` is True if the numbers agree, as closely as the answer's
    dtype can tell.
    """

    text: str
    explained: bool = True
    only_dtype: bool = False


def as_array(x: Any) -> np.ndarray:
    """Return a number, an array or a tensor in float64."""
    return np.asarray(_numpy(x), dtype=np.float64)


def _numpy(x: Any) -> Any:
    """Return tensors as arrays, also in the dtypes that NumPy lacks."""
    if isinstance(x, list | tuple):
        return [_numpy(part) for part in x]
    if not hasattr(x, "detach"):
        return x
    x = x.detach().cpu().resolve_conj().resolve_neg()
    return (x.double() if x.is_floating_point() else x).numpy()


def part_of(x: Any) -> Part:
    """Describe one result; only plain numbers, arrays and lists have values.

    An array of a subclass, such as a masked one, would be compared without
    what the subclass adds, and a text would be read as the number in it.
    """
    kind = kind_of(x)
    if kind in ("text", "bytes"):
        return Part(kind=kind, value=x)
    if kind not in ("number", "array", "tensor", "list"):
        return Part(kind=kind)
    if kind == "list" and not all(_plain(y) for y in _leaves(x)):
        return Part(kind="list of other things than numbers")
    value = np.asarray(_numpy(x))
    numbers = class_of(value, x)
    if not numbers:
        return Part(kind=f"{kind} of dtype {value.dtype}")
    bare = kind == "number" or kind == "list"
    dtype = "" if bare else str(x.dtype).removeprefix("torch.")
    if numbers == "real":
        value = value.astype(np.float64)
    return Part(kind=kind, numbers=numbers, dtype=dtype, value=value)


def kind_of(x: Any) -> str:
    """Return the kind of a result, as ``Part.kind`` names it."""
    kind = type(x)
    if kind in (bool, int, float, complex) or kind in _SCALARS:
        return "number"
    if kind is np.ndarray:
        return "array" if x.ndim else "number"
    if kind is str:
        return "text"
    torch = sys.modules.get("torch")
    if torch and kind in (torch.Tensor, torch.nn.Parameter):
        if x.layout != torch.strided or x.is_meta or x.is_quantized:
            return "tensor without plain values"
        return "tensor" if x.ndim else "number"
    return kind.__name__


def class_of(value: np.ndarray, made_of: Any) -> str:
    """Return the class of an array's dtype; "" if it holds no numbers.

    ``made_of`` is what the array was made of: Python's integers may be too
    large for 64 bits, and then their array holds objects.
    """
    if value.dtype.kind == "c":
        return "complex"
    if value.dtype == object and made_of is not value:
        whole = all(type(x) is int for x in value.flat)
        return "integer" if whole else ""
    return _CLASSES.get(value.dtype.kind, "")


def _plain(x: Any) -> bool:
    return kind_of(x) in ("number", "array", "tensor")


def _leaves(x: Any) -> list[Any]:
    if isinstance(x, list | tuple):
        return [leaf for part in x for leaf in _leaves(part)]
    if isinstance(x, dict):
        return [leaf for part in x.values() for leaf in _leaves(part)]
    return [x]


def kinds_in(x: Any) -> set[str]:
    """Return what a result is made of: "list", "float64 array"."""
    found = set()
    if isinstance(x, list | tuple | dict):
        found.add(type(x).__name__)
    for leaf in _leaves(x):
        part = part_of(leaf)
        real = part.numbers == "real"
        kind = part.dtype if real and part.dtype else part.numbers
        found.add(f"{kind} {part.kind}".strip())
    return found


def unexpected(got: set[str], want: set[str]) -> list[str]:
    """Return the kinds in ``got`` that do not go for a kind in ``want``."""
    real = {x for x in want if x.startswith(_REAL)}
    wider = {f"integer {x.partition(' ')[2]}" for x in real}
    return sorted(got - want - wider)


def narrower(got: list[str], want: set[str]) -> float:
    """Return by how much rounding may change the unexpected kinds ``got``.

    0 unless each is a real kind in ``want`` of another precision.
    """
    kinds = {x.partition(" ")[2] for x in want if x.startswith(_REAL)}
    if not all(x.partition(" ")[2] in kinds for x in got):
        return 0.0
    found = [_ROUNDING.get(x.partition(" ")[0], 0.0) for x in got]
    return max(found, default=0.0) if all(found) else 0.0


def rounding_between(a: Sequence[Part], b: Sequence[Part]) -> float:
    """Return a tolerance for the comparison of results; 0 if dtypes agree.

    If one of several results has another dtype, all may be rounded: some are
    gradients, computed from the others.
    """
    pairs = [(x.dtype, y.dtype) for x, y in zip(a, b, strict=True)]
    found = [x for pair in pairs if pair[0] != pair[1] for x in pair]
    return max((_ROUNDING.get(x, 0.0) for x in found), default=0.0)


def unchanged(now: Any, before: Any) -> bool:
    """Tell whether arguments are as they were, also inside lists and dicts.

    Objects of other types, such as modules, are not looked into.
    """
    if isinstance(before, list | tuple):
        return len(now) == len(before) and all(map(unchanged, now, before))
    if isinstance(before, dict):
        return list(now) == list(before) and all(
            unchanged(now[key], before[key]) for key in before
        )
    if hasattr(before, "shape"):
        return type(now) is type(before) and _same_part(now, before, 0.0)
    if isinstance(before, int | float | complex | str | bytes):
        return bool(now == before) or before != before
    return True


def problem(got: Part, want: Part, tolerance: float) -> Problem | None:
    """Return the first difference of two results; None if they agree.

    Integers and booleans agree only if they are equal.
    """
    if got.kind != want.kind:
        return _other(_named(got.kind), _named(want.kind))
    if want.value is None:
        raise TypeError(f"a solution returned {_named(want.kind)}")
    if not want.numbers:
        x, y = repr(got.value), repr(want.value)
        text = f"  expected  {y:.200}\n  got       {x:.200}"
        return None if x == y else Problem(text=text, explained=False)
    # Integers are real numbers too; the reverse is not true.
    widened = (got.numbers, want.numbers) == ("integer", "real")
    some = got.value.size and want.value.size
    if some and got.numbers != want.numbers and not widened:
        return _other(_WORDS[got.numbers], _WORDS[want.numbers])
    if got.shape != want.shape:
        return _other(f"shape {got.shape}", f"{want.shape}")
    x, y = got.value, want.value
    tolerance = max(tolerance, rounding_between([got], [want]))
    differs = ~_close(x, y, tolerance)
    if not differs.any():
        if got.numbers == "real" and got.dtype != want.dtype:
            other = _other(f"dtype {got.dtype}", want.dtype)
            return replace(other, only_dtype=True)
        return None
    odd = np.zeros(x.shape, bool)
    if want.numbers == "real":
        odd = differs & ~np.isfinite(x.astype(np.float64)) & np.isfinite(y)
    i = tuple(int(n) for n in np.argwhere(odd if odd.any() else differs)[0])
    lines = f"  index     {list(i)}\n" if i else ""
    expected, came = unlike(y[i], x[i])
    lines += f"  expected  {expected}\n  got       {came}"
    if odd.any() and i:
        lines += f"\n  not finite {int(odd.sum())} of {odd.size} numbers"
    return Problem(text=lines, explained=bool(odd.any()))


def _other(got: str, expected: str) -> Problem:
    return Problem(text=f"  got       {got}, expected {expected}")


def _named(kind: str) -> str:
    if kind == "text":
        return kind
    return ("an " if kind[0] in "aeiouAEIOU" else "a ") + kind


def _close(x: Any, y: Any, tolerance: float) -> np.ndarray:
    if "f" in x.dtype.kind + y.dtype.kind:
        x, y = (z.astype(np.float64) for z in (x, y))
        return np.isclose(x, y, rtol=tolerance, atol=tolerance)
    return np.asarray(x == y)


def same(a: Any, b: Any, tolerance: float = 0.0, loose: bool = False) -> bool:
    """Tell whether two outcomes agree.

    An outcome is a sequence of results, or an exception. None means no
    outcome and agrees with nothing. Two exceptions agree if they have the
    same type and, where they have a ``key``, the same key. With ``loose``,
    parts of different dtypes agree up to the rounding of the narrower one.
    """
    if a is None or b is None:
        return False
    if isinstance(a, BaseException) or isinstance(b, BaseException):
        keys = [getattr(x, "key", None) for x in (a, b)]
        return type(a) is type(b) and keys[0] == keys[1]
    if len(a) != len(b):
        return False
    if loose:
        tolerance = max(tolerance, rounding_between(a, b))
    return all(_same_part(x, y, tolerance) for x, y in zip(a, b, strict=True))


def _same_part(x: Any, y: Any, tolerance: float) -> bool:
    """Compare values only: a known mistake may come in another dtype too."""
    x, y = (z.value if isinstance(z, Part) else z for z in (x, y))
    if x is None or y is None:
        return False
    x, y = (np.asarray(_numpy(z)) for z in (x, y))
    if x.shape != y.shape:
        return False
    if not all(z.dtype.kind in "biufc" for z in (x, y)):
        return bool((x == y).all())
    x, y = (z.astype(np.complex128) for z in (x, y))
    return np.allclose(x, y, rtol=tolerance, atol=tolerance, equal_nan=True)


def unlike(a: Any, b: Any) -> tuple[str, str]:
    """Format two numbers with enough digits to tell them apart."""
    if not isinstance(a, float) or not isinstance(b, float):
        return str(a), str(b)
    short = f"{a:.6g}", f"{b:.6g}"
    return short if short[0] != short[1] else (f"{a:.12g}", f"{b:.12g}")


def source_of(answer: Any) -> str:
    """Return the source text of a function, or of a Triton kernel.

    The source starts with the decorator in both cases.
    ``inspect.getsource`` does not support the object that ``triton.jit``
    returns.
    """
    return inspect.getsource(getattr(answer, "fn", answer))
