"""Small models and inputs for the tests of this folder."""

import torch
from torch import nn

from minidiff import DecoderLM, ModelConfig

KINDS = ["softmax", "diff", "diff_v2"]
V, T = 20, 6


def make(attention="diff", **options):
    """A model that is the same in every call; its logits differ visibly."""
    torch.manual_seed(0)
    sizes = {"vocab_size": V, "embed_dim": 32, "num_layers": 2}
    sizes |= {"num_heads": 4, "max_length": 24}
    model = DecoderLM(ModelConfig(attention=attention, **sizes | options))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3
    return model


def tokens(rows=2, length=T):
    g = torch.Generator().manual_seed(1)
    return torch.randint(0, V, (rows, length), generator=g)


def qkv(*, B=2, H=4, Hkv=2, P=2, T=7, S=None, D=16, Dv=32, dtype=None):
    """Queries, keys and values of diff_attention."""
    g = torch.Generator().manual_seed(2)
    shapes = (B, H, 2, T, D), (B, Hkv, P, S or T, D), (B, Hkv, S or T, Dv)
    return [torch.randn(*s, generator=g).to(dtype) for s in shapes]


class Adapter(nn.Module):
    """A LoRA-like wrapper, without a ``weight``; counts its calls."""

    def __init__(self, base, shift=0.0):
        super().__init__()
        self.base, self.shift, self.calls = base, shift, 0
        self.down = nn.Linear(base.in_features, 2, bias=False)
        self.up = nn.Linear(2, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        self.calls += 1
        return self.base(x) + self.up(self.down(x)) + self.shift


def adapted(model, shift=0.0):
    """Wrap every Linear of a model, in place; return it and the wrappers."""
    found = [
        (part, name, child)
        for part in model.modules()
        for name, child in part.named_children()
        if isinstance(child, nn.Linear)
    ]
    for part, name, child in found:
        setattr(part, name, Adapter(child, shift))
    return model, [m for m in model.modules() if isinstance(m, Adapter)]
