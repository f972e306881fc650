"""Recall: accuracy at looking up keys in the context, by depth and length."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from minidiff.data.mqar import MQARBatch, MQARTask
from minidiff.data.needles import NeedleBatch, NeedleTask
from minidiff.evaluation.intervals import wilson
from minidiff.files.checks import positive_int
from minidiff.nn.model import DecoderLM

DEPTHS = 5  # number of bins; the paper has five depths


class Questions(NamedTuple):
    """Rows with Q questions each.

    tokens : (B, T) int64
    questions : (B, Q) positions of the asked keys
    answers : (B, Q) positions of the values that they ask for
    targets : (B, Q) these values, as token ids
    """

    tokens: Tensor
    questions: Tensor
    answers: Tensor
    targets: Tensor


def needle_grid(
    needles: Iterable[int],
    questions: Iterable[int] = (1,),
    lengths: Iterable[int] = (64,),
    **ids: Any,
) -> list[NeedleTask]:
    """Return a needle task for each N, R and length.

    ``ids`` are further fields of the tasks, such as the number of keys.
    Combinations are left out if a row has no room for the needles and
    questions.
    """
    needles, questions, lengths = (
        list(x) for x in (needles, questions, lengths)
    )
    return [
        NeedleTask(needles=N, questions=R, length=T, **ids)
        for N in needles
        for R in questions
        for T in lengths
        if T >= 2 * N + 2 * R - 1
    ]


def draw_questions(
    task: NeedleTask | MQARTask,
    model: DecoderLM,
    rows: int,
    step: int = 0,
    first: int | None = None,
) -> Questions:
    """Return validation rows of a task, on the model's device.

    The task's token ids begin at ``first``. By default they are the last ones
    of the model's vocabulary, as in a :class:`minidiff.data.Mixture` with one
    task, where the ids of the text come before them.

    Raises ValueError if the model has too few ids or too short a window.
    """
    most = model.config.vocab_size - task.vocab_size
    if most < 0:
        raise ValueError(
            f"task: got {task.vocab_size} token ids, expected at most the "
            f"model's {model.config.vocab_size}"
        )
    if first is None:
        first = most
    if not 0 <= first <= most:
        raise ValueError(
            f"first: got {first}, expected 0 to {most}, so that the task's "
            "ids are the model's"
        )
    if task.length > model.config.max_length:
        raise ValueError(
            f"task: got length {task.length}, expected at most the model's "
            f"max_length {model.config.max_length}"
        )
    sample: NeedleBatch | MQARBatch
    if isinstance(task, MQARTask):
        sample = task.sample(step, rows, "valid")
        questions = sample.queries
    else:
        sample = task.sample(step, rows, "valid")
        questions = sample.questions.expand(rows, -1)
    targets = sample.targets.take_along_dim(questions, 1)
    device = next(model.parameters()).device
    return Questions(
        *(
            part.to(device)
            for part in (
                sample.inputs + first,
                questions,
                sample.answers,
                targets + first,
            )
        )
    )


@torch.no_grad()
def recall(
    model: DecoderLM,
    task: NeedleTask | MQARTask,
    *,
    rows: int = 128,
    batch_size: int = 32,
    first: int | None = None,
    backend: str = "auto",
) -> dict[str, Any]:
    """Measure a model's accuracy at the questions of some rows.

    At each question the model sees the right answers to the earlier ones.

    Parameters
    ----------
    model : DecoderLM
    task : NeedleTask or MQARTask
        Its seed has no effect, because validation rows do not depend on it.
    rows : int
        Number of rows in all.
    first : int, optional
        First token id of the task; by default its ids are the model's last.
    backend : str
        Backend of the attention.

    Returns
    -------
    A dict that JSON can hold: "task"; "questions", their number; "accuracy",
    the share of questions whose right value is the most likely of all tokens;
    "low" and "high", its Wilson interval, which assumes independent
    questions; "chance", the accuracy of guessing among the row's values;
    "nats" per question; and, for needles, "by_depth", the accuracy by
    position of the answer, from the first fifth of the haystack to the last,
    None where no answer lies.

    References
    ----------
    Ye et al. 2025, Table 2 and Figure 5: N needles, R questions. The paper
    puts answers at five depths; here positions are random, and questions are
    grouped by the depth of their answer.
    """
    right, depth, nats = [], [], 0.0
    for step, size in enumerate(batches(rows, batch_size)):
        asked = draw_questions(task, model, size, step, first)
        logits = model(
            asked.tokens, positions=asked.questions, backend=backend
        ).float()
        nats += cross_entropy(
            logits.flatten(0, 1), asked.targets.flatten(), reduction="sum"
        ).item()
        right.append((logits.argmax(-1) == asked.targets).flatten())
        haystack = asked.questions.amin(1, keepdim=True)
        depth.append((asked.answers * DEPTHS // haystack).flatten())
    correct = torch.cat(right)
    share = wilson(int(correct.sum()), len(correct))
    found = {
        "task": task.describe(),
        "questions": len(correct),
        "accuracy": share.value,
        "low": share.low,
        "high": share.high,
        "chance": task.chance.accuracy,
        "nats": nats / len(correct),
    }
    if isinstance(task, NeedleTask):
        bins = torch.cat(depth)
        hits, all_of_them = (
            torch.bincount(x, minlength=DEPTHS).tolist()
            for x in (bins[correct], bins)
        )
        found["by_depth"] = [
            hit / n if n else None
            for hit, n in zip(hits, all_of_them, strict=True)
        ]
    return found


def effective_length(
    cells: Sequence[dict[str, Any]], share: float = 0.85
) -> int | None:
    """Return the longest length that keeps a share of the base accuracy.

    The base accuracy is that of the shortest length.

    Parameters
    ----------
    cells : results of :func:`recall` that differ only in the length
    share : float
        The default is that of NoLiMa (Modarressi et al. 2025).

    Returns
    -------
    The length in tokens, or None if the base accuracy is not better than
    chance.
    """
    by_length = {cell["task"]["length"]: cell for cell in cells}
    base = by_length[min(by_length)]
    if base["low"] <= base["chance"]:
        return None
    return max(
        length
        for length, cell in by_length.items()
        if cell["accuracy"] >= share * base["accuracy"]
    )


def batches(rows: int, batch_size: int) -> Iterable[int]:
    """Return the sizes of batches that add up to ``rows``."""
    positive_int("rows", rows)
    positive_int("batch_size", batch_size)
    full, rest = divmod(rows, batch_size)
    return [batch_size] * full + [rest] * (rest > 0)
