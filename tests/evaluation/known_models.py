"""Models whose measures are known beforehand."""

import torch

from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM

KINDS = ("softmax", "diff", "diff_v2")


def small(attention="diff", **sizes):
    """A random model of two layers and two heads' width of 8."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "embed_dim": 32, "max_length": 32} | sizes
    config = ModelConfig(
        num_layers=2, num_heads=4, attention=attention, **sizes
    )
    return DecoderLM(config)


def uniform(vocab_size=256, **sizes):
    """Every token is as likely as any other."""
    model = small(vocab_size=vocab_size, **sizes)
    torch.nn.init.zeros_(model.embedding.weight)
    return model


def successor(vocab_size=32, logit=2.0, max_length=32):
    """After token i, i + 1 has the given logit, and all others have 0."""
    model = small(
        vocab_size=vocab_size,
        embed_dim=vocab_size,
        max_length=max_length,
        tie_embeddings=False,
    )
    eye = torch.eye(vocab_size)
    with torch.no_grad():
        for block in model.blocks:
            block.attention.out_proj.weight.zero_()
            block.ffn.down_proj.weight.zero_()
        model.embedding.weight.copy_(eye)
        # The last norm makes the one into sqrt(vocab_size).
        model.head.weight.copy_(eye.roll(1, 0) * logit / vocab_size**0.5)
    return model


class Lookup(DecoderLM):
    """Says the token after the earlier occurrence of the asked key.

    Only if that lies before ``reach``, a share of the questions' place.
    """

    reach = 1.0

    def forward(self, tokens, positions, backend="auto"):
        keys = tokens.take_along_dim(positions, 1)  # (B, Q)
        limit = self.reach * positions.amin(1)[:, None, None]
        places = torch.arange(tokens.shape[1])
        found = (tokens[:, None] == keys[..., None]) & (places < limit)
        after = (found.int().argmax(-1) + 1).clamp(max=tokens.shape[1] - 1)
        said = tokens.take_along_dim(after, 1)
        said = said.where(found.any(-1), 0)
        return 9.0 * torch.nn.functional.one_hot(said, self.config.vocab_size)


def lookup(vocab_size, reach=1.0, max_length=64):
    """A model of class Lookup."""
    model = Lookup(ModelConfig(vocab_size=vocab_size, max_length=max_length))
    model.reach = reach
    return model


def with_map(model, layer, A):
    """Let a layer's attention map be A (B, H, T, S)."""
    model.blocks[layer].attention.maps = lambda *_: A
    return model


def leak(model, layer=0):
    """Let the attention of a layer see one token ahead, on every backend."""
    attention = model.blocks[layer].attention
    honest = attention.attend

    def attend(x, q, k, v, key_lengths, backend):
        heads = honest(x, q, k, v, key_lengths, backend)
        return heads + 0.1 * heads.roll(-1, dims=2)

    attention.attend = attend
    return model
