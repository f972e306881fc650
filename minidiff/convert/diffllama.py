"""Reading and writing Hugging Face's DiffLlama, without transformers.

DiffLlama and our V1 model compute the same function, but store their weights
differently [HF]:

- DiffLlama stores first all first branches of queries and keys (or halves of
  values) and then all second ones; ours alternate;
- DiffLlama rotates channel i with i + D / 2; ours rotates 2i with 2i + 1;
- DiffLlama's head norm has no weight; on export ours is multiplied into the
  output matrix;
- DiffLlama counts attention maps, 2H; ours counts pairs of them, H.

DiffLlama computes rotary angles, lambda and the norms between layers in
float32, so even in float64 the two models agree only to float32 precision. In
bfloat16 DiffLlama rounds lambda to bfloat16; our model does not.
"""

import os

from torch import nn

from minidiff.convert.attention import (
    attention_from_diffllama,
    attention_to_diffllama,
)
from minidiff.convert.config import config_from_diffllama
from minidiff.convert.folder import read_folder, write_folder
from minidiff.convert.model import from_diffllama, to_diffllama
from minidiff.nn.model import DecoderLM

__all__ = [
    "attention_from_diffllama",
    "attention_to_diffllama",
    "from_diffllama",
    "load_diffllama",
    "save_diffllama",
    "to_diffllama",
]


def save_diffllama(model: nn.Module, folder: str | os.PathLike[str]) -> None:
    """Write a folder that ``DiffLlamaForCausalLM.from_pretrained`` reads.

    It contains config.json and model.safetensors. If writing is interrupted,
    the folder still has its old files or it has no config.json, so a mixture
    cannot be loaded.

    Raises OSError if a file cannot be written, and ValueError as
    :func:`to_diffllama` does.
    """
    write_folder(folder, "DiffLlama", *to_diffllama(model))


def load_diffllama(folder: str | os.PathLike[str]) -> DecoderLM:
    """Read a folder that ``save_diffllama`` or ``save_pretrained`` wrote.

    Only a single model.safetensors is read, neither shards nor pickled
    weights (.bin).

    Raises ValueError naming the file, what it has and what was expected.
    """
    return read_folder(
        folder, "DiffLlama", config_from_diffllama, from_diffllama
    )
