import pytest
import torch

from minidiff.files.checks import positive_int
from minidiff.nn.layers import (
    RMSNorm,
    SwiGLU,
    apply_rope,
    rope_angles,
    swiglu_width,
)


def rotated_by_hand(x, base):
    """Turn each adjacent pair of channels as one complex number."""
    T, D = x.shape[-2:]
    out = x.clone()
    for t in range(T):
        for i in range(D // 2):
            turn = torch.polar(
                torch.tensor(1.0, dtype=torch.float64),
                torch.tensor(t * base ** (-2 * i / D), dtype=torch.float64),
            )
            z = torch.complex(x[..., t, 2 * i], x[..., t, 2 * i + 1]) * turn
            out[..., t, 2 * i], out[..., t, 2 * i + 1] = z.real, z.imag
    return out


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_rope_turns_adjacent_pairs(float64):
    x = torch.randn(2, 3, 7, 6)
    got = apply_rope(x, *rope_angles(7, 6, 100.0))
    torch.testing.assert_close(
        got, rotated_by_hand(x, 100.0), rtol=0, atol=1e-12
    )


def test_rope_scores_depend_on_the_distance_only(float64):
    cos, sin = rope_angles(50, 8)
    q, k = torch.randn(8), torch.randn(8)
    turned_q = apply_rope(q.expand(50, 8), cos, sin)
    turned_k = apply_rope(k.expand(50, 8), cos, sin)
    scores = turned_q @ turned_k.T
    for distance in (-9, 0, 1, 30):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(
            diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-12
        )


def test_rope_angles_are_exact_far_out():
    cos, _ = rope_angles(65536, 4)
    want = torch.tensor(65535.0 * 10000.0**-0.5, dtype=torch.float64).cos()
    assert abs(cos[-1, 1].double() - want) < 1e-7


def test_rope_keeps_the_dtype_of_x():
    x = torch.randn(3, 4).bfloat16()
    assert apply_rope(x, *rope_angles(3, 4)).dtype == torch.bfloat16


def test_rope_refuses_bad_input():
    cos, sin = rope_angles(5, 4)
    with pytest.raises(ValueError, match=r"cos: got shape \(5, 2\)"):
        apply_rope(torch.randn(6, 4), cos, sin)
    with pytest.raises(ValueError, match=r"sin: .*expected \(5, 2\)"):
        apply_rope(torch.randn(5, 4), cos, sin[:, :1])
    with pytest.raises(ValueError, match="dim: got 5"):
        rope_angles(3, 5)
    with pytest.raises(ValueError, match="length: got 0"):
        rope_angles(0, 4)
    with pytest.raises(ValueError, match="base: got 0"):
        rope_angles(3, 4, 0)


@pytest.mark.parametrize(
    "embed_dim, width", [(3072, 8192), (1536, 4096), (64, 176), (1, 8)]
)
def test_swiglu_width_is_8_3_rounded_up(embed_dim, width):
    assert swiglu_width(embed_dim) == width
    assert width % 8 == 0
    assert 0 <= width - 8 * embed_dim / 3 < 8


def test_swiglu_is_the_formula_without_biases():
    layer = SwiGLU(6, 10).double()
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    names = [name for name, _ in layer.named_parameters()]
    assert names == ["gate_proj.weight", "up_proj.weight", "down_proj.weight"]
    gate, up, down = (p.detach() for p in layer.parameters())
    z = x @ gate.T
    want = (z / (1 + (-z).exp()) * (x @ up.T)) @ down.T
    torch.testing.assert_close(layer(x), want, rtol=0, atol=1e-12)


def test_swiglu_refuses_a_bad_width():
    with pytest.raises(ValueError, match="ffn_dim: got 0"):
        SwiGLU(6, 0)


def test_rmsnorm_divides_by_the_root_mean_square():
    x = torch.tensor([[3.0, 4.0]])
    want = x / (12.5 + 1e-5) ** 0.5
    torch.testing.assert_close(RMSNorm(2, eps=1e-5)(x), want)


@pytest.mark.parametrize(
    "value, error", [(0, ValueError), (2.0, TypeError), (True, TypeError)]
)
def test_positive_int_names_the_argument(value, error):
    with pytest.raises(error, match="width: got"):
        positive_int("width", value)
