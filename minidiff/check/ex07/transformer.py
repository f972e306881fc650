"""The model of exercise 7.5 and its parts, as the chapter builds them."""

import torch
from torch import Tensor, nn

from minidiff.check.ex05.learned_lambda import LearnedLambda
from minidiff.check.ex05.split_pairs import split_pairs
from minidiff.check.ex07.layer import one_layer
from minidiff.check.ex07.rotate import rotate
from minidiff.nn.attention import MultiheadAttention
from minidiff.nn.config import ModelConfig
from minidiff.nn.layers import SwiGLU
from minidiff.ops import diff_attention
from minidiff.reference import lambda_init


def angles(positions: Tensor, D: int, base: float = 10000.0) -> Tensor:
    """Angle of each position and pair: (T, D / 2)."""
    i = torch.arange(D // 2, dtype=torch.float64)
    return positions[:, None] * base ** (-2 * i / D)


class DiffAttention(LearnedLambda):
    """A differential layer: lambda's vectors and four matrices."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        E, D = config.embed_dim, config.head_dim
        super().__init__(D, layer)
        self.H, self.eps = config.heads, config.norm_eps
        self.norm_scale = 1 - lambda_init(layer)
        self.norm_weight = nn.Parameter(torch.ones(2 * D))
        self.q_proj = nn.Linear(E, E, bias=False)
        self.k_proj = nn.Linear(E, E, bias=False)
        self.v_proj = nn.Linear(E, E, bias=False)
        self.out_proj = nn.Linear(E, E, bias=False)

    # A LearnedLambda's forward takes no x; here it is a part of the layer.
    def forward(  # type: ignore[override]
        self, x: Tensor, rope: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return (B, T, E) for x (B, T, E); rope is cos and sin."""
        lam = super().forward()
        q = rotate(split_pairs(self.q_proj(x), self.H), *rope)
        k = rotate(split_pairs(self.k_proj(x), self.H), *rope)
        v = self.v_proj(x).unflatten(-1, (self.H, -1)).transpose(1, 2)
        heads = diff_attention(
            q,
            k,
            v,
            lam,
            norm_weight=self.norm_weight,
            norm_scale=self.norm_scale,
            eps=self.eps,
        )  # (B, H, T, 2D)
        return self.out_proj(heads.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Layer number ``layer`` of a model, counted from 0."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        E, eps = config.embed_dim, config.norm_eps
        self.attention_norm = nn.RMSNorm(E, eps=eps)
        self.attention = (
            DiffAttention(config, layer)
            if config.attention == "diff"
            else MultiheadAttention(E, config.heads)
        )
        self.ffn_norm = nn.RMSNorm(E, eps=eps)
        self.ffn = SwiGLU(E, config.ffn_dim)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        """Return (B, T, E) for x (B, T, E); rope is cos and sin."""

        def attention(y: Tensor) -> Tensor:
            return self.attention(y, rope=rope)

        return one_layer(
            x, self.attention_norm, attention, self.ffn_norm, self.ffn
        )


class Transformer(nn.Module):
    """A language model, plain or differential, as a ModelConfig says.

    self.config keeps the ModelConfig: chapter 15 reads it. The parts have
    minidiff's names: embedding, blocks, norm and head. blocks is an
    nn.ModuleList of Block; head is None if config.tie_embeddings, else an
    nn.Linear without bias. Embedding and matrices start as normal numbers
    with standard deviation 0.02.

    Read from the config: vocab_size, embed_dim, num_layers, head_dim,
    norm_eps, rope_base and tie_embeddings.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        V, E = config.vocab_size, config.embed_dim
        self.embedding = nn.Embedding(V, E)
        self.blocks = nn.ModuleList(
            Block(config, layer) for layer in range(config.num_layers)
        )
        self.norm = nn.RMSNorm(E, eps=config.norm_eps)
        self.head = None
        if not config.tie_embeddings:
            self.head = nn.Linear(E, V, bias=False)
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.normal_(part.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits (B, T, V) for tokens (B, T)."""
        x = self.embedding(tokens)
        positions = torch.arange(tokens.shape[1])
        a = angles(positions, self.config.head_dim, self.config.rope_base)
        rope = a.cos().to(x), a.sin().to(x)
        for block in self.blocks:
            x = block(x, rope)
        head = self.embedding if self.head is None else self.head
        return self.norm(x) @ head.weight.T
