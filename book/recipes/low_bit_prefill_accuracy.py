"""Measure the shipped pair with products of queries and keys in 8 bits.

    python book/recipes/low_bit_prefill_accuracy.py

Both models look keys up and read held-out text with int8, with fp8 and with
unrounded products, as ``diff_attention(..., precision=)`` computes them
(backend "eager", float32). Plain heads are computed by the same operator, with
lambda 0. The text is that of sparse_caches.py, the beginnings of files of the
standard library; the lookup rows are validation rows of the needle task.

"added" is what rounding adds to the loss on text, in nats a token, with a 95 %
interval over documents; "changed" counts the questions whose answer is another
one than without rounding.

Writes book/results/low_bit_prefill_accuracy.json, which names the weights by
their SHA-256. It takes a few minutes on one CPU core. Chapter 25 reads it.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from pair_record import TASK, TEXT_LENGTH, record_pair
from torch import Tensor
from torch.nn.functional import cross_entropy

from minidiff import DecoderLM, diff_attention
from minidiff.data.token_documents import TokenDocument
from minidiff.data.tokenizers import Tokenizer
from minidiff.evaluation.intervals import DocumentLoss, difference_interval
from minidiff.evaluation.loss import document_losses
from minidiff.evaluation.recall import draw_questions
from minidiff.nn.attention import MultiheadAttention, MultiheadDiffAttention
from minidiff.ops.low_bit_products import KEY_BLOCK, QUERY_BLOCK

PRECISIONS = (None, "int8", "fp8")


def attend_plain(
    precision: str | None, x: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any
) -> Tensor:
    """Compute plain heads as the first branches of differential ones."""
    q, k = (torch.stack([a, a], 2) for a in (q, k))
    return diff_attention(q, k, v, 0.0, precision=precision, backend="eager")


def attend_diff(
    layer: MultiheadDiffAttention,
    precision: str | None,
    x: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *_: Any,
) -> Tensor:
    """Compute differential heads of V1."""
    return diff_attention(
        q,
        k,
        v,
        layer.lam(),
        norm_weight=layer.norm_weight,
        norm_scale=layer.norm_scale,
        eps=layer.norm_eps,
        precision=precision,
        backend="eager",
    )


def read_in(model: DecoderLM, precision: str | None) -> None:
    """Let all layers of a shipped model multiply in ``precision``."""
    for block in model.blocks:
        layer = block.attention
        if isinstance(layer, MultiheadAttention):
            layer.attend = partial(attend_plain, precision)
        else:
            assert isinstance(layer, MultiheadDiffAttention)
            layer.attend = partial(attend_diff, layer, precision)


@torch.no_grad()
def answers(
    model: DecoderLM, first: int, rows: int
) -> tuple[Tensor, Tensor, float]:
    """Return answers and targets of all questions, and nats a question."""
    found, targets, nats = [], [], []
    for step in range(rows):
        asked = draw_questions(TASK, model, 1, step, first)
        logits = model(asked.tokens, positions=asked.questions).flatten(0, 1)
        target = asked.targets.flatten()
        found.append(logits.argmax(-1))
        targets.append(target)
        nats.append(cross_entropy(logits, target).item())
    return torch.cat(found), torch.cat(targets), sum(nats) / rows


def measure(
    model: DecoderLM,
    coder: Tokenizer,
    rows: int,
    documents: Sequence[TokenDocument],
) -> list[dict[str, Any]]:
    """Return a row for each precision; the first one is not rounded."""
    cells = []
    exact_text: list[DocumentLoss] = []
    exact_answers = torch.empty(0)
    for precision in PRECISIONS:
        read_in(model, precision)
        text = document_losses(
            model, documents, length=TEXT_LENGTH, batch_size=1
        )
        found, targets, nats = answers(model, coder.vocab_size, rows)
        if precision is None:
            exact_text, exact_answers = text["documents"], found
        added = difference_interval(text["documents"], exact_text)
        cells.append(
            {
                "precision": precision,
                "nats": round(text["domains"]["all"]["nats"], 5),
                "added": [round(x, 5) for x in added],
                "asked": len(found),
                "right": int((found == targets).sum()),
                "changed": int((found != exact_answers).sum()),
                "nats_a_question": round(nats, 5),
            }
        )
    return cells


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both models and write the record."""
    record_pair(
        measure,
        "low_bit_prefill_accuracy",
        "the shipped pair, products of q and k in 8 bits",
        description=__doc__,
        documents=24,
        arguments=arguments,
        blocks={"queries": QUERY_BLOCK, "keys": KEY_BLOCK},
    )


if __name__ == "__main__":
    main()
