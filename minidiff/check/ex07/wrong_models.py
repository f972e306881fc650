"""Mistakes of exercise 7.5: right models with one thing changed."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from minidiff.check.core import Mistake
from minidiff.check.edited import edited
from minidiff.check.ex05.split_pairs import split_pairs
from minidiff.check.ex07.rotate import rotate
from minidiff.check.ex07.transformer import (
    Block,
    DiffAttention,
    Transformer,
    angles,
)
from minidiff.nn.config import ModelConfig
from minidiff.ops import diff_attention

Rope = tuple[Tensor, Tensor]


def _edited(
    change: Callable[[Any], None],
) -> Callable[[ModelConfig], nn.Module]:
    """Return a builder of models to which ``change`` was done."""

    def build(config: ModelConfig) -> nn.Module:
        model = Transformer(config)
        change(model)
        return model

    return build


def _blocks(forward: Callable[[Any, Tensor, Rope], Tensor]) -> Any:
    """Give every block another forward."""

    def change(model: Any) -> None:
        for block in model.blocks:
            block.forward = partial(forward, block)

    return _edited(change)


def _numbered(number: Callable[[int], int]) -> Any:
    """Give layer i the schedule of another layer."""

    def change(model: Any) -> None:
        old = model.blocks
        model.blocks = nn.ModuleList(
            Block(model.config, number(i)) for i in range(len(old))
        )
        model.blocks.load_state_dict(old.state_dict())

    return _edited(change)


def _attend(
    attention: Any, x: Tensor, rope: Rope, *, causal: bool, turned: bool
) -> Tensor:
    """Differential attention with one of two things wrong."""
    q = rotate(split_pairs(attention.q_proj(x), attention.H), *rope)
    k = rotate(split_pairs(attention.k_proj(x), attention.H), *rope)
    v = attention.v_proj(x).unflatten(-1, (attention.H, -1)).transpose(1, 2)
    if turned:
        v = torch.cat([rotate(part, *rope) for part in v.chunk(2, -1)], -1)
    heads = diff_attention(
        q,
        k,
        v,
        super(DiffAttention, attention).forward(),
        norm_weight=attention.norm_weight,
        norm_scale=attention.norm_scale,
        eps=attention.eps,
        causal=causal,
    )
    return attention.out_proj(heads.transpose(1, 2).flatten(2))


def _attention(**wrong: Any) -> Any:
    def change(model: Any) -> None:
        for block in model.blocks:
            attention: Any = block.attention
            if isinstance(attention, DiffAttention):
                forward = partial(_attend, attention, **wrong)
                attention.forward = forward  # type: ignore[method-assign]

    return _edited(change)


def _no_sum(block: Any, x: Tensor, rope: Rope) -> Tensor:
    y = block.attention(block.attention_norm(x), rope=rope)
    return block.ffn(block.ffn_norm(y))


def _ffn_not_added(block: Any, x: Tensor, rope: Rope) -> Tensor:
    y = x + block.attention(block.attention_norm(x), rope=rope)
    return block.ffn(block.ffn_norm(y))


def _post(block: Any, x: Tensor, rope: Rope) -> Tensor:
    y = block.attention_norm(x + block.attention(x, rope=rope))
    return block.ffn_norm(y + block.ffn(y))


def _norm_after(block: Any, x: Tensor, rope: Rope) -> Tensor:
    y = x + block.attention_norm(block.attention(x, rope=rope))
    return y + block.ffn_norm(block.ffn(y))


def _unturned(block: Any, x: Tensor, rope: Rope) -> Tensor:
    cos, sin = rope
    return Block.forward(block, x, (torch.ones_like(cos), 0 * sin))


def _logits(change: Callable[[Tensor], Tensor]) -> Any:
    """Do something to what comes out."""

    def edit(model: Any) -> None:
        model.forward = lambda tokens: change(
            Transformer.forward(model, tokens)
        )

    return _edited(edit)


def _no_last_norm(model: Any) -> None:
    model.norm.forward = lambda x: x


def _own_head(model: Any) -> None:
    V, E = model.embedding.weight.shape
    model.head = nn.Linear(E, V, bias=False)


def _shared_head(model: Any) -> None:
    model.head = None


def _head_with_bias(model: Any) -> None:
    if model.head is not None:
        V, E = model.embedding.weight.shape
        model.head = nn.Linear(E, V)


def _loud(model: Any) -> None:
    nn.init.normal_(model.embedding.weight)


def _as_built(model: Any) -> None:
    for part in model.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            part.reset_parameters()


def _matrices_as_built(model: Any) -> None:
    for part in model.modules():
        if isinstance(part, nn.Linear):
            part.reset_parameters()


def _variance(model: Any) -> None:
    for part in model.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=0.02**0.5)


def _all_drawn(model: Any) -> None:
    for p in model.parameters():
        nn.init.normal_(p, std=0.02)


def _scaled(model: Any) -> None:
    size = model.config.embed_dim**0.5
    model.embedding.forward = lambda tokens: (
        size * nn.Embedding.forward(model.embedding, tokens)
    )


def _one_block(model: Any) -> None:
    model.blocks = nn.ModuleList([model.blocks[0]] * len(model.blocks))


def _in_a_list(model: Any) -> None:
    blocks = list(model.blocks)
    del model.blocks
    model.blocks = blocks


def _saved_tables(model: Any) -> None:
    a = angles(torch.arange(8), model.config.head_dim)
    model.register_buffer("cos", a.cos())
    model.register_buffer("sin", a.sin())


def _always_differential(config: ModelConfig) -> nn.Module:
    model = Transformer(replace(config, attention="diff"))
    model.config = config
    return model


def _last_eps(model: Any) -> None:
    model.norm.eps = None


def _every_eps(model: Any) -> None:
    for part in model.modules():
        if isinstance(part, nn.RMSNorm):
            part.eps = None


_ROPE = "a.cos().to(x), a.sin().to(x)"

MISTAKES = (
    Mistake(
        key="configuration not kept",
        diagnosis="Keep the whole configuration as self.config. Chapter 15 "
        "makes minidiff's model from it.",
        wrong=edited(Transformer, ("self.config", "self.settings")),
    ),
    Mistake(
        key="angles in float64",
        diagnosis="The angles are float64, and the rest of the model is not. "
        "a.cos().to(x) gives the cosines the dtype of x.",
        wrong=edited(Transformer, (_ROPE, "a.cos(), a.sin()")),
    ),
    Mistake(
        key="width of a whole head",
        diagnosis="The angles are for a head of another width. Each of the "
        "two branches is turned by itself, and its width is config.head_dim.",
        wrong=edited(
            Transformer,
            (
                "self.config.head_dim",
                "self.config.embed_dim // self.config.heads",
            ),
        ),
    ),
    Mistake(
        key="table of another length",
        diagnosis="There are not as many rows of angles as tokens in a row. "
        "Take torch.arange(tokens.shape[1]), or cut a longer table to it.",
        wrong=edited(
            Transformer, ("tokens.shape[1]", "self.config.max_length")
        ),
        also=(edited(Transformer, ("tokens.shape[1]", "len(tokens)")),),
    ),
    Mistake(
        key="cos and sin swapped",
        diagnosis="rope has the sines first. It is cosines, then sines.",
        wrong=edited(Transformer, (_ROPE, "a.sin().to(x), a.cos().to(x)")),
    ),
    Mistake(
        key="nothing added",
        diagnosis="In a block the parts follow each other and x is lost. "
        "Each part's output is added to what came in.",
        wrong=_blocks(_no_sum),
        also=(_blocks(_ffn_not_added),),
    ),
    Mistake(
        key="norm after",
        diagnosis="A block normalises after a part. The norm stands before "
        "it: the part reads norm(x), and its output is added to x.",
        wrong=_blocks(_post),
        also=(_blocks(_norm_after),),
    ),
    Mistake(
        key="no last norm",
        diagnosis="The stream goes to the head as it is. One more norm, "
        "self.norm, comes after the last block.",
        wrong=_edited(_no_last_norm),
    ),
    Mistake(
        key="every layer is layer 0",
        diagnosis="All blocks have the lambda_init of layer 0. Give each "
        "block its own number.",
        wrong=_numbered(lambda i: 0),
    ),
    Mistake(
        key="layers counted from one",
        diagnosis="The blocks' numbers begin with 1, so each has the "
        "lambda_init of the next layer. Here layers count from 0.",
        wrong=_numbered(lambda i: i + 1),
    ),
    Mistake(
        key="not causal",
        diagnosis="A position sees later tokens: changing the last token "
        "changes logits before it. diff_attention hides them unless it is "
        "called with causal=False.",
        wrong=_attention(causal=False, turned=False),
    ),
    Mistake(
        key="values turned",
        diagnosis="The values are turned too. Only queries and keys are: a "
        "turned value would depend on where it stands.",
        wrong=_attention(causal=True, turned=True),
    ),
    Mistake(
        key="no positions",
        diagnosis="Queries and keys are not turned, so the model does not "
        "know the order of its tokens. Give the blocks rope.",
        wrong=_blocks(_unturned),
    ),
    Mistake(
        key="base ignored",
        diagnosis="The angles have the same base in every model. Give "
        "config.rope_base to angles.",
        wrong=edited(Transformer, (", self.config.rope_base", "")),
    ),
    Mistake(
        key="eps ignored",
        diagnosis="The last norm does not use config.norm_eps: "
        "nn.RMSNorm(E) takes a much smaller number, and the embedding starts "
        "small enough for it to matter.",
        wrong=_edited(_last_eps),
        also=(_edited(_every_eps),),
    ),
    Mistake(
        key="tied model has a head",
        diagnosis="With tie_embeddings there is no parameter head.weight: "
        "self.head is None, and the embedding's weight is used twice.",
        wrong=_edited(_own_head),
    ),
    Mistake(
        key="always tied",
        diagnosis="Without tie_embeddings the model has a matrix of its own "
        "for the logits: self.head.",
        wrong=_edited(_shared_head),
    ),
    Mistake(
        key="head with a bias",
        diagnosis="The head has a bias. nn.Linear takes bias=False.",
        wrong=_edited(_head_with_bias),
    ),
    Mistake(
        key="embedding at PyTorch's scale",
        diagnosis="The embedding starts with standard deviation 1, PyTorch's "
        "own choice. With a tied head the first logits would be about "
        "root E large. It starts with 0.02, as the matrices.",
        wrong=_edited(_loud),
    ),
    Mistake(
        key="PyTorch's own start",
        diagnosis="Embedding and matrices start as PyTorch makes them. Draw "
        "them anew: normal numbers with standard deviation 0.02.",
        wrong=_edited(_as_built),
    ),
    Mistake(
        key="matrices at PyTorch's scale",
        diagnosis="Only the embedding starts with standard deviation 0.02. "
        "The matrices inside the blocks do so too: self.modules() finds them.",
        wrong=_edited(_matrices_as_built),
    ),
    Mistake(
        key="variance 0.02",
        diagnosis="You took 0.02 as the variance, so the weights start seven "
        "times too large. It is the standard deviation.",
        wrong=_edited(_variance),
    ),
    Mistake(
        key="norms drawn too",
        diagnosis="Every parameter is drawn anew, those of the norms and "
        "lambda's vectors too. Norms start at 1, lambda's vectors at 0.1: "
        "draw only nn.Linear and nn.Embedding.",
        wrong=_edited(_all_drawn),
    ),
    Mistake(
        key="one block many times",
        diagnosis="There is one block, used many times: [block] * n copies "
        "nothing. Build each block in its own turn of a loop.",
        wrong=_edited(_one_block),
    ),
    Mistake(
        key="blocks in a list",
        diagnosis="The blocks are in a Python list, where a module does not "
        "find their parameters. Put them into an nn.ModuleList.",
        wrong=_edited(_in_a_list),
    ),
    Mistake(
        key="tables saved",
        diagnosis="cos and sin are saved with the weights. They can be "
        "computed again: do so in forward, or register_buffer with "
        "persistent=False.",
        wrong=_edited(_saved_tables),
    ),
    Mistake(
        key="always differential",
        diagnosis="The plain model has differential layers too. "
        "config.attention says which kind; give the config to Block.",
        wrong=_always_differential,
    ),
    Mistake(
        key="embedding multiplied",
        diagnosis="The embedding is multiplied by the root of E. Some models "
        "do that; this one does not.",
        wrong=_edited(_scaled),
    ),
    Mistake(
        key="probabilities",
        diagnosis="These are probabilities. Logits are asked for: what goes "
        "into the softmax.",
        wrong=_logits(lambda z: z.softmax(-1)),
        also=(_logits(lambda z: z.log_softmax(-1)),),
    ),
    Mistake(
        key="last position only",
        diagnosis="You return the logits of the last position. Every "
        "position predicts its next token: (B, T, V).",
        wrong=_logits(lambda z: z[:, -1]),
    ),
)
