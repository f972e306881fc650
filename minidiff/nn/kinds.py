"""The six kinds of model that the evidence chapters compare.

They are one architecture with one thing changed at a time, so that a
difference between two of them has one cause. All are configurations of
:class:`minidiff.DecoderLM`; none has code of its own.
"""

from dataclasses import replace

import torch

from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM

KINDS = ("plain", "wide", "wide + norm", "first map", "sum", "diff")


def six_kinds(base: ModelConfig) -> dict[str, ModelConfig]:
    """Return the configuration of each kind, by its name in ``KINDS``.

    base has ``num_heads`` = 2H plain heads of width D; its ``attention`` does
    not matter.

    - "plain": 2H softmax heads of width D, the paper's matched Transformer;
    - "wide": H softmax heads of width 2D (Table 6 of the paper, row 2);
    - "wide + norm": "wide" with the headwise norm and its weight (row 3);
    - "first map": "diff" with lambda = 0. Its second queries and keys, a
      quarter of the attention's weights, have no effect;
    - "sum": "diff" with the second map added instead of subtracted;
    - "diff": H differential heads (V1).

    A layer of "wide + norm" has 2D parameters more than a layer of "plain":
    the norm's weight. A layer of "diff", "sum" or "first map" has another 4D:
    the lambda vectors.
    """
    plain = replace(base, attention="softmax")
    wide = replace(plain, num_heads=base.num_heads // 2)
    diff = replace(base, attention="diff")
    return {
        "plain": plain,
        "wide": wide,
        "wide + norm": replace(wide, head_norm=True),
        "first map": replace(diff, second_map="off"),
        "sum": replace(diff, second_map="add"),
        "diff": diff,
    }


def build_kind(base: ModelConfig, kind: str, seed: int) -> DecoderLM:
    """Build a model of one kind; all kinds share the seed's initial weights.

    Every weight whose name and shape also occur in the plain model gets the
    plain model's initial value. The other weights, such as the lambda
    vectors, are drawn after those. Raises ValueError for an unknown kind.
    """
    configs = six_kinds(base)
    if kind not in configs:
        raise ValueError(
            f"kind: got {kind!r}, expected one of {', '.join(KINDS)}"
        )
    torch.manual_seed(seed)
    shared = DecoderLM(configs["plain"]).state_dict()
    model = DecoderLM(configs[kind])
    own = model.state_dict()
    agreed = {
        name: value
        for name, value in shared.items()
        if name in own and own[name].shape == value.shape
    }
    model.load_state_dict(own | agreed)
    return model
