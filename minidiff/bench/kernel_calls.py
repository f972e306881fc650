"""How our kernels are called: types of arguments, and constants."""

from typing import TYPE_CHECKING, Any

from minidiff.bench.builds import Build, case_of

if TYPE_CHECKING:
    from minidiff.ops.triton.tuning import Shape

# A kernel, its arguments' types, and its constants.
Call = tuple[Any, dict[str, Any], dict[str, Any]]


def call_of(build: Build, shape: "Shape") -> Call:
    """Return the kernel, the types of its arguments, and its constants."""
    from minidiff.ops.low_bit_products import KEY_BLOCK, QUERY_BLOCK
    from minidiff.ops.triton.kernels import (
        backward,
        decode,
        decode_row,
        forward,
        low_bit,
    )
    from minidiff.ops.triton.tuning import choose, streams

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
        if shape.BT == 1:
            del constants["BT"]
            constants |= {"N": streams(D, shape.warps), "ks_s": 1, "vs_s": 1}
            constants["STAGES"] = shape.stages
            return decode_row.decode_row_kernel, types, constants
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
        constants["TOGETHER"] = shape.together
        constants |= {"NORM": P == 2, "WEIGHT": P == 2}
        return low_bit.low_bit_kernel, types, constants
    types = {"x_q": q, "x_k": k, "x_v": v, "x_do": out, "x_lam": row}
    types |= {"x_lse": branch_row, "x_delta": branch_row}
    types |= {"p_lengths": "*i64"}
    if build.kernel == "queries":
        return backward.queries_kernel, types | {"x_dq": q}, constants
    apart = choose(**case_of(build._replace(kernel="values"))) is not None
    constants |= {
        "KEYS": build.kernel == "keys",
        "VALUES": build.kernel == "values" or not apart,
    }
    types |= {"x_dk": k, "x_dv": v}
    return backward.keys_kernel, types, constants


def call_with_roles(build: Build, shape: "Shape") -> Call:
    """Do the same as call_of for the kernels in Gluon."""
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
    apart = choose(**case_of(build._replace(kernel="values"))) is not None
    constants |= {
        "KEYS": build.kernel == "keys",
        "VALUES": build.kernel == "values" or not apart,
    }
    types |= {"x_dk": k, "x_dv": v}
    return hopper_keys.keys_kernel, types, constants
