"""Bad input: the error names the argument, what came, what was expected."""

import pytest
import torch

from minidiff import diff_attention


def good():
    return {
        "q": torch.randn(2, 4, 2, 5, 8),
        "k": torch.randn(2, 2, 2, 5, 8),
        "v": torch.randn(2, 2, 5, 16),
        "lam": 0.5,
    }


BAD = [
    # changed arguments, error, what the message must say
    ({"q": [1.0]}, TypeError, r"q: got list, expected a tensor"),
    ({"q": torch.randn(2, 4, 5, 8)}, ValueError, r"q: got 4 axes"),
    ({"q": torch.randn(2, 4, 3, 5, 8)}, ValueError, r"q: .*two branches"),
    ({"q": torch.randn(2, 4, 2, 0, 8)}, ValueError, r"q: .*every axis >= 1"),
    ({"q": torch.ones(2, 4, 2, 5, 8).int()}, TypeError, r"q: got dtype"),
    ({"k": torch.randn(2, 2, 5, 8)}, ValueError, r"k: got 4 axes"),
    ({"k": torch.randn(2, 2, 2, 5, 8).half()}, TypeError, r"k: got dtype"),
    (
        {"k": torch.randn(2, 2, 2, 5, 8, device="meta")},
        ValueError,
        r"k: got device meta",
    ),
    (
        {"k": torch.randn(3, 2, 2, 5, 8)},
        ValueError,
        r"k: got batch 3, expected 2",
    ),
    ({"k": torch.randn(2, 2, 3, 5, 8)}, ValueError, r"k: got P = 3"),
    (
        {"k": torch.randn(2, 2, 2, 5, 4)},
        ValueError,
        r"k: got width D = 4, expected 8",
    ),
    ({"v": torch.randn(2, 2, 6, 16)}, ValueError, r"v: .*S = 5"),
    ({"v": torch.randn(2, 1, 5, 16)}, ValueError, r"v: .*Hkv = 2"),
    ({"v": torch.randn(2, 2, 5, 16).double()}, TypeError, r"v: got dtype"),
    (
        {"k": torch.randn(2, 3, 2, 5, 8), "v": torch.randn(2, 3, 5, 16)},
        ValueError,
        r"k: got Hkv = 3 .*divides H = 4",
    ),
    (
        {"k": torch.randn(2, 2, 2, 4, 8), "v": torch.randn(2, 2, 4, 16)},
        ValueError,
        r"causal: got T = 5 .*S = 4",
    ),
    ({"lam": torch.rand(4)}, ValueError, r"lam: got shape \(4,\)"),
    ({"lam": torch.rand(4, 5)}, ValueError, r"lam: got shape \(4, 5\)"),
    ({"lam": torch.rand(2, 3, 5)}, ValueError, r"lam: got shape \(2, 3, 5\)"),
    ({"lam": torch.tensor(1)}, TypeError, r"lam: got dtype"),
    ({"lam": "0.5"}, TypeError, r"lam: got str"),
    ({"lam": True}, TypeError, r"lam: got bool"),
    ({"lam": float("nan")}, ValueError, r"lam: got nan"),
    ({"scale": float("inf")}, ValueError, r"scale: got inf"),
    (
        {"norm_weight": torch.ones(16)},
        ValueError,
        r"norm_weight: .*norm_scale",
    ),
    (
        {"norm_weight": torch.ones(8), "norm_scale": 1.0},
        ValueError,
        r"norm_weight: got shape \(8,\), expected \(16,\)",
    ),
    ({"norm_scale": "big"}, TypeError, r"norm_scale: got str"),
    ({"eps": -1.0}, ValueError, r"eps: got -1.0"),
    ({"key_lengths": [5, 5]}, TypeError, r"key_lengths: got list"),
    (
        {"key_lengths": torch.tensor([5.0, 5])},
        TypeError,
        r"key_lengths: got dtype",
    ),
    (
        {"key_lengths": torch.tensor([5])},
        ValueError,
        r"key_lengths: got shape",
    ),
    (
        {"key_lengths": torch.tensor([5, 6])},
        ValueError,
        r"key_lengths: .*0 to S = 5",
    ),
    (
        {"key_lengths": torch.tensor([5, -1])},
        ValueError,
        r"key_lengths: .*from -1",
    ),
    (
        {"backend": "flash"},
        ValueError,
        r"backend: got 'flash', expected one of 'auto'",
    ),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_refused_by_name(change, error, message):
    with pytest.raises(error, match=message):
        diff_attention(**(good() | change))


def test_the_good_input_is_good():
    assert diff_attention(**good()).shape == (2, 4, 5, 16)


def test_more_queries_than_keys_is_fine_without_a_causal_mask():
    x = good()
    x["k"], x["v"] = x["k"][:, :, :, :3], x["v"][:, :, :3]
    assert diff_attention(**x, causal=False).shape == (2, 4, 5, 16)
