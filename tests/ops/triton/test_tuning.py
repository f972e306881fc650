"""The table of shapes: which row serves which inputs."""

from types import ModuleType

import cases  # noqa: F401  (it turns Triton's interpreter on)
import pytest

from minidiff.ops.low_bit_products import KEY_BLOCK, QUERY_BLOCK
from minidiff.ops.triton.launch import backward as launch_backward
from minidiff.ops.triton.tuning import (
    LOADED,
    Shape,
    choose,
    for_products,
    for_row,
    streams,
)

HOPPER = {"bits": 16, "length": 4096, "capability": 90}
V1 = {"D": 64, "DV": 128, "P": 2, **HOPPER}


@pytest.mark.parametrize("kernel", ["keys", "queries"])
def test_roles_are_for_hopper_and_the_widths_they_name(kernel):
    assert choose(kernel, **V1).roles
    assert not choose(kernel, **V1, roles=False).roles
    for change in (
        {"D": 32, "DV": 64},
        {"capability": 80},
        {"capability": 100},
        {"capability": 120},
        {"bits": 32},
    ):
        assert not choose(kernel, **V1 | change).roles, change


@pytest.mark.parametrize("roles", [True, False])
@pytest.mark.parametrize("P", [1, 2])
@pytest.mark.parametrize("D", [16, 32, 64, 128])
@pytest.mark.parametrize("capability", [80, 89, 90, 100, 120])
@pytest.mark.parametrize("bits", [16, 32])
def test_every_case_has_a_shape(D, P, capability, bits, roles):
    for length in (1, 1024, 4096, 100_000):
        for DV in (D, 2 * D):
            case = {
                "D": D, "DV": DV, "P": P, "bits": bits, "length": length,
                "capability": capability,
            }  # fmt: skip
            for kernel in ("forward", "keys", "queries", "decode"):
                assert choose(kernel, **case, roles=roles), (kernel, case)


def test_without_gluon_the_portable_kernels_are_launched():
    portable = choose("keys", **V1, roles=False)
    way = launch_backward.way_of(portable)
    assert isinstance(way, ModuleType)
    assert way.__name__.endswith("launch.plain")
    special = Shape(BT=32, BS=64, warps=4, stages=3, roles=True)
    name = launch_backward.way_of(special).__name__
    assert name.endswith("launch.hopper")


@pytest.mark.parametrize("P", [1, 2])
@pytest.mark.parametrize("D", [16, 64, 128])
@pytest.mark.parametrize("capability", [80, 90, 100])
def test_a_tile_of_products_has_one_scale(D, P, capability):
    case = {"D": D, "DV": D * P, "P": P, "bits": 16, "capability": capability}
    for length in (1024, 4096, 100_000):
        shape = for_products(choose("forward", length=length, **case))
        assert QUERY_BLOCK % shape.BT == KEY_BLOCK % shape.BS == 0


@pytest.mark.parametrize("D", [16, 32, 64, 128])
def test_every_thread_loads_codes_of_one_stream(D):
    shape = for_row(D)
    N = streams(D, shape.warps)
    assert 32 * shape.warps * LOADED == N * D
    assert shape.BS % N == 0
