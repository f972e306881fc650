"""Compiler reports of our kernels, for ``minidiff bench compile``; no GPU.

Registers, spills and shared memory decide much of a kernel's speed, and the
compiler reports them on any machine. It does not report the time.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minidiff.bench.builds import SHARED_LIMIT, Build, shape_of
from minidiff.bench.kernel_calls import call_of, call_with_roles


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

    shape = shape_of(build)
    if shape is None:
        raise ValueError(
            f"build: got {build}, expected one of builds(), which the table "
            "has"
        )
    call = call_with_roles if shape.roles else call_of
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
        f"{'kernel':15s} {'D':>4s} {'P':>2s} {'sm':>3s} {'BT x BS':>9s} "
        f"{'warps':>5s} {'regs':>5s} {'stack':>5s} {'KiB':>5s} "
        f"{'wgmma':>5s} {'waits':>5s} {'mma':>5s} {'eight':>5s} {'copies':>6s}"
    ]
    for row in rows:
        block = f"{row['BT']} x {row['BS']}"
        lines.append(
            f"{row['kernel']:15s} {row['D']:4d} {row['P']:2d} "
            f"{row['capability']:3d} {block:>9s} {row['warps']:5d} "
            f"{row['registers']:5d} {row['stack']:5d} "
            f"{row['shared'] / 1024:5.0f} {row['wgmma']:5d} "
            f"{row['waits']:5d} {row['mma']:5d} {row['eight']:5d} "
            f"{row['copies']:6d}"
        )
    return "\n".join(lines)


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
