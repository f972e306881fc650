"""The kernels that ``minidiff bench compile`` builds, and for which cases."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from minidiff.ops.triton.tuning import Shape

# Most bytes of shared memory that one program can use, by compute capability
# (CUDA C++ Programming Guide, technical specifications).
SHARED_LIMIT = {80: 163 * 1024, 89: 99 * 1024, 90: 227 * 1024}
KERNELS = (
    "forward",
    "keys",
    "values",
    "queries",
    "decode",
    "decode int8",
    "decode fp8",
    "decode row int8",
    "decode row fp8",
    "forward int8",
    "forward fp8",
)
CODES = {"int8": "i8", "fp8": "fp8e4nv"}  # types of 8 bits


class Build(NamedTuple):
    """One kernel for one case: bfloat16, causal, with the norm in V1."""

    kernel: str
    D: int
    P: int
    capability: int

    @property
    def DV(self) -> int:
        """Return the values' width: 2D in V1 (P = 2), D in V2 (P = 1)."""
        return self.D * self.P

    @property
    def code(self) -> str | None:
        """Return the type of codes that it reads, if it reads 8 bits."""
        return CODES.get(self.kernel.split()[-1])


def builds(
    capabilities: Sequence[int] = tuple(SHARED_LIMIT),
) -> Iterator[Build]:
    """Yield every kernel of the table at D = 64 and 128, for V1 and V2."""
    for capability in capabilities:
        for P in (2, 1):
            for D in (64, 128):
                for kernel in KERNELS:
                    if kernel.endswith("fp8") and capability < 89:
                        continue  # Ampere has no fp8
                    build = Build(kernel, D, P, capability)
                    if shape_of(build):
                        yield build


def case_of(build: Build) -> dict[str, Any]:
    """Return the arguments by which the table is searched."""
    return {
        "kernel": build.kernel.split()[0],
        "D": build.D,
        "DV": build.DV,
        "P": build.P,
        "bits": 16,
        "length": 4096,
        "capability": build.capability,
    }


def shape_of(build: Build) -> "Shape | None":
    """Return the shape that a launcher would take; None if there is none."""
    from minidiff.ops.triton.tuning import (
        choose,
        for_codes,
        for_products,
        for_row,
    )

    if build.kernel.startswith("decode row"):
        return for_row(build.D)
    shape = choose(**case_of(build))
    if shape is None or build.code is None:
        return shape
    if build.kernel.startswith("decode"):
        return for_codes(shape)
    return for_products(shape)
