"""The solution of P4.1 serves models that have a frozen parameter."""

import torch
from torch import nn

from minidiff.check.exP4.parts import mean_gradient


def test_a_parameter_without_gradient_is_left_alone():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5))
    model[0].weight.requires_grad_(False)
    ids = torch.arange(4).view(1, 4)
    mean_gradient(model, [(ids, ids)])
    assert model[0].weight.grad is None
    assert model[1].weight.grad.isfinite().all()
