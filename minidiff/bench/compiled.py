"""Compiler reports of our kernels, for ``minidiff bench compile``; no GPU.

Registers, spills and shared memory decide much of a kernel's speed, and the
compiler reports them on any machine. It does not report the time.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
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
    "forward int8",
    "forward fp8",
)
CODES = {"int8": "i8", "fp8": "fp8e4nv"}  # types of 8 bits


# A kernel, its arguments' types, and its constants.
Call = tuple[Any, dict[str, Any], dict[str, Any]]


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
                    if _shape(build):
                        yield build


def compile_one(build: Build) -> dict[str, Any]:
    """Compile; return registers, stack and shared bytes, and instructions.

    ``stack`` above 0 means that registers were spilled to memory. ``wgmma``
    counts Hopper's tensor-core instructions and ``waits`` the instructions
    that wait for them: if there are as many waits as ``wgmma``, nothing
    overlaps. ``mma`` counts the tensor-core instructions of older GPUs,
    ``eight`` those of both kinds that multiply 8 bits, ``copies`` the
    asynchronous loads, which run while the program computes.

    Raises RuntimeError if Triton's interpreter is on, because it replaces
    the compiler.
    """
    if os.environ.get("TRITON_INTERPRET") == "1":
        raise RuntimeError(
            "TRITON_INTERPRET: got 1, expected it unset: the interpreter "
            "takes the compiler's place"
        )
    import triton
    from triton.backends.compiler import GPUTarget

    shape = _shape(build)
    if shape is None:
        raise ValueError(
            f"build: got {build}, expected one of builds(), which the table "
            "has"
        )
    call = _call_with_roles if shape.roles else _call
    kernel, arguments, constants = call(build, shape)
    signature, values, attributes = _describe(kernel, arguments, constants)
    done = triton.compile(
        _language(kernel)(kernel, signature, values, attributes),
        target=GPUTarget("cuda", build.capability, 32),
        options={"num_warps": shape.warps, "num_stages": shape.stages},
    )
    usage = _tool("cuobjdump", "-res-usage", done.asm["cubin"])
    code = _tool("nvdisasm", "-c", done.asm["cubin"])
    shared = done.metadata.shared
    return {
        **build._asdict(),
        "BT": shape.BT,
        "BS": shape.BS,
        "warps": shape.warps,
        "stages": shape.stages,
        "registers": int(re.findall(r"REG:(\d+)", usage)[0]),
        "stack": int(re.findall(r"STACK:(\d+)", usage)[0]),
        "shared": shared,
        "fits": shared <= SHARED_LIMIT[build.capability],
        "wgmma": len(re.findall(r"\b[HIQ]GMMA", code)),
        "waits": len(re.findall(r"\bWARPGROUP\.DEPBAR", code)),
        "mma": len(re.findall(r"\b[HIQ]MMA", code)),
        "eight": len(re.findall(r"\b[IQ]G?MMA", code)),
        "copies": len(re.findall(r"\b(?:LDGSTS|UTMALDG)", code)),
        "triton": triton.__version__,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Format the rows as text."""
    lines = [
        f"{'kernel':12s} {'D':>4s} {'P':>2s} {'sm':>3s} {'BT x BS':>9s} "
        f"{'warps':>5s} {'regs':>5s} {'stack':>5s} {'KiB':>5s} "
        f"{'wgmma':>5s} {'waits':>5s} {'mma':>5s} {'eight':>5s} {'copies':>6s}"
    ]
    for row in rows:
        block = f"{row['BT']} x {row['BS']}"
        lines.append(
            f"{row['kernel']:12s} {row['D']:4d} {row['P']:2d} "
            f"{row['capability']:3d} {block:>9s} {row['warps']:5d} "
            f"{row['registers']:5d} {row['stack']:5d} "
            f"{row['shared'] / 1024:5.0f} {row['wgmma']:5d} "
            f"{row['waits']:5d} {row['mma']:5d} {row['eight']:5d} "
            f"{row['copies']:6d}"
        )
    return "\n".join(lines)


def _case(build: Build) -> dict[str, Any]:
    return {
        "kernel": build.kernel.split()[0],
        "D": build.D,
        "DV": build.DV,
        "P": build.P,
        "bits": 16,
        "length": 4096,
        "capability": build.capability,
    }


def _shape(build: Build) -> "Shape | None":
    """Return the shape that a launcher would take; None if there is none."""
    from minidiff.ops.triton.tuning import choose, for_codes, for_products

    shape = choose(**_case(build))
    if shape is None or build.code is None:
        return shape
    if build.kernel.startswith("decode"):
        return for_codes(shape)
    return for_products(shape)


def _tool(name: str, option: str, cubin: bytes) -> str:
    """Run one of the tools that come with Triton; return its output."""
    import triton

    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        done = subprocess.run(
            [tools / name, option, path],
            capture_output=True,
            text=True,
            check=True,
        )
    return done.stdout


def _call(build: Build, shape: "Shape") -> Call:
    """Return the kernel, the types of its arguments, and its constants."""
    from minidiff.ops.low_bit_products import KEY_BLOCK, QUERY_BLOCK
    from minidiff.ops.triton.kernels import (
        backward,
        decode,
        forward,
        low_bit,
    )
    from minidiff.ops.triton.tuning import choose

    D, DV, P, BT, BS = build.D, build.DV, build.P, shape.BT, shape.BS

    def block(*sizes: int, dtype: str = "bf16") -> str | tuple[str, ...]:
        if shape.tma:
            return f"tensordesc<{dtype}{list(sizes)}>".replace(" ", "")
        numbers = len(sizes) + (0 if dtype == "fp32" else 2)
        return ("*" + dtype, *["i32"] * numbers)

    constants: dict[str, Any] = {
        "D": D,
        "DV": DV,
        "P": P,
        "BT": BT,
        "BS": BS,
        "CAUSAL": True,
        "PADDED": False,
    }
    q, k = block(1, 1, 1, BT, D), block(1, 1, 1, BS, D)
    v, out = block(1, 1, BS, DV), block(1, 1, BT, DV)
    types: dict[str, Any]
    row = block(1, 1, BT, dtype="fp32")
    branch_row = block(1, 1, 1, BT, dtype="fp32")
    if build.kernel.startswith("decode"):
        types = {"p_acc": "*fp32", "p_top": "*fp32", "p_sum": "*fp32"}
        types |= {"p_lengths": "*i64", "p_q": "*bf16"}
        types |= {"p_k_scale": "*fp32", "p_v_scale": "*fp32"}
        types |= dict.fromkeys(("p_k", "p_v"), f"*{build.code or 'bf16'}")
        constants["LOW"] = build.code is not None
        return decode.decode_kernel, types, constants
    constants["TMA"] = shape.tma
    if build.kernel == "forward":
        types = {"x_q": q, "x_k": k, "x_v": v, "x_y": out, "x_o": out}
        types |= {"p_o2": "*bf16", "p_lse": "*fp32", "p_lam": "*fp32"}
        types |= {"p_weight": "*bf16", "p_lengths": "*i64"}
        constants |= {
            "TOGETHER": shape.together,
            "NORM": P == 2,
            "WEIGHT": P == 2,
            "KEEP": True,
        }
        return forward.forward_kernel, types, constants
    if build.code is not None:
        types = {
            "x_q": block(1, 1, 1, BT, D, dtype=build.code),
            "x_k": block(1, 1, 1, BS, D, dtype=build.code),
            "x_v": v,
            "x_y": out,
            "p_q_scale": "*fp32",
            "p_k_scale": "*fp32",
            "p_o2": "*bf16",
            "p_lam": "*fp32",
            "p_weight": "*bf16",
            "p_lengths": "*i64",
        }
        constants |= {"QB": QUERY_BLOCK, "KB": KEY_BLOCK}
        constants |= {"NORM": P == 2, "WEIGHT": P == 2}
        return low_bit.low_bit_kernel, types, constants
    types = {"x_q": q, "x_k": k, "x_v": v, "x_do": out, "x_lam": row}
    types |= {"x_lse": branch_row, "x_delta": branch_row}
    types |= {"p_lengths": "*i64"}
    if build.kernel == "queries":
        return backward.queries_kernel, types | {"x_dq": q}, constants
    apart = choose(**_case(build._replace(kernel="values"))) is not None
    constants |= {
        "KEYS": build.kernel == "keys",
        "VALUES": build.kernel == "values" or not apart,
    }
    types |= {"x_dk": k, "x_dv": v}
    return backward.keys_kernel, types, constants


def _call_with_roles(build: Build, shape: "Shape") -> Call:
    """Do the same as _call for the kernels in Gluon."""
    from minidiff.ops.triton.hopper import keys as hopper_keys
    from minidiff.ops.triton.hopper import queries as hopper_queries
    from minidiff.ops.triton.launch.hopper import layout_of
    from minidiff.ops.triton.tuning import choose

    D, DV, P, BT, BS = build.D, build.DV, build.P, shape.BT, shape.BS

    def block(*sizes: int, dtype: str = "bf16") -> str:
        layout = layout_of(16 if dtype == "bf16" else 32, len(sizes))
        return f"tensordesc<{dtype}{list(sizes)},{layout!r}>".replace(" ", "")

    q, k = block(1, 1, 2, BT, D), block(1, 1, P, BS, D)
    v, do = block(1, 1, BS, DV), block(1, 1, BT, DV)
    rows = block(1, 1, 2, BT, dtype="fp32")
    types = {"x_q": q, "x_k": k, "x_v": v, "x_do": do, "x_lse": rows}
    types |= {"x_delta": rows, "x_lam": block(1, 1, BT, dtype="fp32")}
    types |= {"p_lengths": "*i64"}
    constants: dict[str, Any] = {"D": D, "DV": DV, "BT": BT, "BS": BS, "P": P}
    constants |= {"CAUSAL": True, "PADDED": False, "STAGES": shape.stages}
    if build.kernel == "queries":
        return hopper_queries.queries_kernel, types | {"x_dq": q}, constants
    apart = choose(**_case(build._replace(kernel="values"))) is not None
    constants |= {
        "KEYS": build.kernel == "keys",
        "VALUES": build.kernel == "values" or not apart,
    }
    types |= {"x_dk": k, "x_dv": v}
    return hopper_keys.keys_kernel, types, constants


def _language(kernel: Any) -> type:
    """Return the compiler's front end: Triton's or Gluon's."""
    if kernel.is_gluon():
        from triton.experimental.gluon._runtime import GluonASTSource

        return GluonASTSource
    from triton.compiler import ASTSource

    return ASTSource


def _describe(
    kernel: Any, types: dict[str, Any], constants: dict[str, Any]
) -> tuple[dict[str, Any], dict[Any, Any], dict[Any, Any]]:
    """Describe each argument as the compiler expects it.

    As in a real call, pointers and strides are divisible by 16 and the last
    stride is 1.
    """
    floats = {"c", "scale", "norm_scale", "eps"}
    signature: dict[str, Any] = {}
    values: dict[Any, Any] = {}
    aligned: list[tuple[int, ...]] = []
    for i, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name] = "constexpr"
            values[name] = constants[name]
        elif name not in types:
            signature[name] = "fp32" if name in floats else "i32"
            if name.endswith("_d"):
                signature[name] = "constexpr"
                values[name] = 1
            elif ("_" in name or name in ("d", "dv")) and name not in floats:
                aligned.append((i,))  # strides, widths
        elif isinstance(types[name], tuple):
            kind = list(types[name])
            aligned += [(i, j) for j in (0, *range(2, len(kind)))]
            if kind[0] != "*fp32":  # float32 arguments have no last stride
                aligned.pop()
                kind[-1] = "constexpr"
                values[i, len(kind) - 1] = 1
            signature[name] = tuple(kind)
        else:
            signature[name] = types[name]
            if types[name].startswith("*"):
                aligned.append((i,))
    attributes = {at: [["tt.divisibility", 16]] for at in aligned}
    return signature, values, attributes
