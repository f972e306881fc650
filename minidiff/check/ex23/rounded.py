"""Exercise 23.3: a causal map whose logits are rounded to a few bits."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def rounded_map(q: np.ndarray, k: np.ndarray, bits: int) -> np.ndarray:
    """Return the causal map (H, T, T) of logits rounded to integers.

    q, k (H, T, D). The logits are q k' / sqrt(D). Each head has one scale:
    its largest absolute logit, among those that a query sees, becomes the
    integer 2**(bits - 1) - 1. Logits are rounded to the nearest integer
    (np.round) and scaled back before the softmax over the keys 0 to t.
    """
    T, D = q.shape[-2:]
    logits = q @ k.swapaxes(-1, -2) / np.sqrt(D)
    seen = np.tril(np.ones((T, T), dtype=bool))
    largest = np.abs(logits[:, seen]).max(-1)[:, None, None]
    step = largest / (2 ** (bits - 1) - 1)
    logits = np.where(seen, np.round(logits / step) * step, -np.inf)
    A = np.exp(logits - logits.max(-1, keepdims=True))
    return A / A.sum(-1, keepdims=True)


def _cases() -> list[Case]:
    cases = []
    for H, T, D, bits, size in (
        (1, 3, 4, 4, 1.5),
        (2, 5, 2, 3, 1.5),
        (3, 7, 4, 6, 1.5),
        (1, 4, 2, 5, 1e6),  # exp of these logits overflows
    ):
        rng = np.random.default_rng(T)
        q, k = size * rng.normal(size=(2, H, T, D))
        q *= np.arange(1, H + 1)[:, None, None]  # heads differ in size
        k[:, -1] *= -3  # the last key is hidden from all but one query
        q[:, -1] /= 4
        if size > 2:  # the only logit that query 0 sees is far below 0
            q[:, 0] = -k[:, 0]
        name = f"H = {H}, T = {T}, D = {D}, {bits} bits"
        cases.append(Case(name=name, args=(q, k, bits)))
    # Logits 7, 0.5, 2.5 with a step of 1: np.round takes them to 7, 0, 2.
    q, k = np.ones((1, 3, 1)), np.array([[[7], [0.5], [2.5]]])
    return [*cases, Case(name="halves, 4 bits", args=(q, k, 4))]


Step = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def _softmax(x: np.ndarray) -> np.ndarray:
    A = np.exp(x - x.max(-1, keepdims=True))
    return A / A.sum(-1, keepdims=True)


def _largest(logits: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return np.abs(logits[:, seen]).max(-1)[:, None, None]


def _top(bits: int) -> int:
    return 2 ** (bits - 1) - 1


def _seen_and_logits(
    q: np.ndarray, k: np.ndarray, scale: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    T, D = q.shape[-2:]
    scale = D**-0.5 if scale is None else scale
    return np.tril(np.ones((T, T), bool)), q @ k.swapaxes(-1, -2) * scale


def _with(
    step: Step,
    nearest: Callable[[np.ndarray], np.ndarray] = np.round,
    back: bool = True,
) -> Callable[[np.ndarray, np.ndarray, int], np.ndarray]:
    """Answer with another step, another rounding, or integers left."""

    def answer(q: np.ndarray, k: np.ndarray, bits: int) -> np.ndarray:
        seen, logits = _seen_and_logits(q, k)
        size = step(logits, seen, bits)
        whole = nearest(logits / size)
        whole = np.where(seen, whole * size if back else whole, -np.inf)
        return _softmax(whole)

    return answer


def _right_step(x: np.ndarray, seen: np.ndarray, bits: int) -> np.ndarray:
    return _largest(x, seen) / _top(bits)


def _all_keys(x: np.ndarray, seen: np.ndarray, bits: int) -> np.ndarray:
    return np.abs(x).max((-2, -1), keepdims=True) / _top(bits)


def _one_for_all(x: np.ndarray, seen: np.ndarray, bits: int) -> np.ndarray:
    return np.asarray(_largest(x, seen).max() / _top(bits))


def _by_query(x: np.ndarray, seen: np.ndarray, bits: int) -> np.ndarray:
    rows = np.where(seen, np.abs(x), 0).max(-1, keepdims=True)
    return rows / _top(bits)


def _signed(x: np.ndarray, seen: np.ndarray, bits: int) -> np.ndarray:
    return x[:, seen].max(-1)[:, None, None] / _top(bits)


def _weights(q: np.ndarray, k: np.ndarray, bits: int) -> np.ndarray:
    seen, logits = _seen_and_logits(q, k)
    A = _softmax(np.where(seen, logits, -np.inf))
    step = A.max((-2, -1), keepdims=True) / _top(bits)
    return np.round(A / step) * step


def _not_rounded(q: np.ndarray, k: np.ndarray, bits: int) -> np.ndarray:
    seen, logits = _seen_and_logits(q, k)
    return _softmax(np.where(seen, logits, -np.inf))


def _no_mask(q: np.ndarray, k: np.ndarray, bits: int) -> np.ndarray:
    seen, logits = _seen_and_logits(q, k)
    step = _right_step(logits, seen, bits)
    return _softmax(np.round(logits / step) * step)


def _no_root(q: np.ndarray, k: np.ndarray, bits: int) -> np.ndarray:
    seen, logits = _seen_and_logits(q, k, 1.0)
    step = _right_step(logits, seen, bits)
    return _softmax(np.where(seen, np.round(logits / step) * step, -np.inf))


EXERCISE = Exercise(
    id="23.3",
    cases=_cases,
    solution=rounded_map,
    mistakes=(
        Mistake(
            key="hidden keys set the scale",
            diagnosis="Your scale looks at logits that the mask hides. An "
            "outlier that no query sees would make the steps coarser.",
            wrong=_with(_all_keys),
        ),
        Mistake(
            key="one scale for all heads",
            diagnosis="All heads share one scale. Each head has its own, so "
            "that one with large logits does not spoil the others.",
            wrong=_with(_one_for_all),
        ),
        Mistake(
            key="a scale for each query",
            diagnosis="Each query has its own scale. Here a head has one for "
            "all its queries.",
            wrong=_with(_by_query),
        ),
        Mistake(
            key="largest with its sign",
            diagnosis="Your scale is the largest logit, not the largest "
            "absolute one. Negative logits can leave the range of integers.",
            wrong=_with(_signed),
        ),
        Mistake(
            key="no bit for the sign",
            diagnosis="Your largest integer is 2**bits - 1. One of the bits "
            "holds the sign: 2**(bits - 1) - 1.",
            wrong=_with(lambda x, seen, b: _largest(x, seen) / (2**b - 1)),
        ),
        Mistake(
            key="one integer too many",
            diagnosis="Your largest integer is 2**(bits - 1). Signed integers "
            "of that many bits end at 2**(bits - 1) - 1.",
            wrong=_with(lambda x, seen, b: _largest(x, seen) / 2 ** (b - 1)),
        ),
        Mistake(
            key="rounded down",
            diagnosis="You round down, or towards 0. Round to the nearest "
            "integer.",
            wrong=_with(_right_step, np.floor),
            also=(_with(_right_step, np.trunc),),
        ),
        Mistake(
            key="not scaled back",
            diagnosis="The softmax gets the integers. Multiply by the step "
            "first: a softmax depends on the size of its logits.",
            wrong=_with(_right_step, back=False),
        ),
        Mistake(
            key="weights rounded",
            diagnosis="You round the weights. The logits are rounded, and the "
            "softmax is exact.",
            wrong=_weights,
        ),
        Mistake(
            key="not rounded",
            diagnosis="That is the exact map: nothing is rounded.",
            wrong=_not_rounded,
        ),
        Mistake(
            key="no mask",
            diagnosis="Queries see keys that come after them. Set those "
            "logits to -inf before the softmax.",
            wrong=_no_mask,
        ),
        Mistake(
            key="no root of D",
            diagnosis="You do not divide the logits by sqrt(D).",
            wrong=_no_root,
        ),
        slip(
            "another division by the width",
            "Your logits are divided by something else than sqrt(D), or "
            "multiplied. What does the width do to the size of a dot "
            "product?",
            rounded_map,
            ("/ np.sqrt(D)", "/ D"),
            ("/ np.sqrt(D)", "* np.sqrt(D)"),
        ),
        slip(
            "logits rounded too early",
            "You round the logits down before the scale is known. Divide "
            "with /, and round once, to the grid.",
            rounded_map,
            ("/ np.sqrt(D)", "// np.sqrt(D)"),
            ("logits / step", "logits // step"),
        ),
        slip(
            "least logit",
            "Your scale is the smallest absolute logit. It is the largest "
            "that becomes the largest integer.",
            rounded_map,
            (".max(-1)[:, None, None]", ".min(-1)[:, None, None]"),
        ),
        slip(
            "another number of integers",
            "Your largest integer is another one. With so many bits, of "
            "which one is for the sign, how far can you count?",
            rounded_map,
            ("(2 ** (bits - 1) - 1)", "(2 ** (bits - 2) - 1)"),
            ("(2 ** (bits - 1) - 1)", "(2 ** (bits - 1) - 2)"),
            ("(2 ** (bits - 1) - 1)", "(2 ** (bits - 1) + 1)"),
            ("(2 ** (bits - 1) - 1)", "(2 * (bits - 1) - 1)"),
            ("(2 ** (bits - 1) - 1)", "(2 ** (bits + 1) - 1)"),
            ("(2 ** (bits - 1) - 1)", "((bits - 1) ** 2 - 1)"),
            ("(2 ** (bits - 1) - 1)", "(bits - 1)"),
        ),
        slip(
            "no integers",
            "Your step does not depend on the number of bits, so that the "
            "largest logit becomes 1.",
            rounded_map,
            ("largest / (2 ** (bits - 1) - 1)", "largest"),
            ("largest / (2 ** (bits - 1) - 1)", "largest / 1.0"),
        ),
        slip(
            "step upside down",
            "Your step is not the logit that one integer stands for. Divide "
            "by it to round, and multiply by it to scale back.",
            rounded_map,
            ("largest / (2", "largest * (2"),
            (
                "largest / (2 ** (bits - 1) - 1)",
                "(2 ** (bits - 1) - 1) / largest",
            ),
            ("logits / step) * step", "logits * step) / step"),
            ("logits / step) * step", "logits * step) * step"),
            ("logits / step) * step", "logits / step) / step"),
            ("logits / step) * step", "logits) * step"),
            ("largest / (2 ** (bits - 1) - 1)", "(2 ** (bits - 1) - 1)"),
        ),
        slip(
            "softmax over another axis",
            "Your softmax does not run over the keys of a row: look at the "
            "axes of the maximum and of the sum, and at keepdims.",
            rounded_map,
            ("A.sum(-1, keepdims=True)", "A.sum(-2, keepdims=True)"),
            ("A.sum(-1, keepdims=True)", "A.sum(-1)"),
            ("logits.max(-1, keepdims=True)", "logits.max(-2, keepdims=True)"),
            ("logits.max(-1, keepdims=True)", "logits.max(-1)"),
            ("-1, keepdims=True", "-2, keepdims=True"),
        ),
        slip(
            "not normalised",
            "Your rows do not sum to 1. A softmax divides by the sum of its "
            "row.",
            rounded_map,
            ("A / A.sum(-1, keepdims=True)", "A"),
            ("A / A.sum(-1, keepdims=True)", "A / A.mean(-1, keepdims=True)"),
            ("A / A.sum(-1, keepdims=True)", "A * A.sum(-1, keepdims=True)"),
        ),
        slip(
            "mask the wrong way round",
            "You hide the keys that a query sees, and show those that come "
            "after it.",
            rounded_map,
            ("np.tril(", "np.triu("),
        ),
        slip(
            "no mask at all",
            "Queries see keys that come after them, and these set the scale "
            "as well.",
            rounded_map,
            (
                "np.tril(np.ones((T, T), dtype=bool))",
                "np.ones((T, T), dtype=bool)",
            ),
        ),
        slip(
            "hidden by a number",
            "Hidden logits are set to a large negative number. A query "
            "whose visible logits are as low would look at hidden keys: use "
            "minus infinity.",
            rounded_map,
            ("-np.inf", "-1e4"),
            ("-np.inf", "-1e9"),
            ("-np.inf", "-1e3"),
        ),
    ),
    hints=(
        "Three steps: the exact logits; the same on a grid; masked softmax. "
        "The distance of the grid's lines is the step.",
        "step = largest / (2**(bits - 1) - 1), where largest has the shape "
        "(H, 1, 1) and comes from the logits that are seen.",
        "np.where(seen, np.round(logits / step) * step, -np.inf), with seen = "
        "np.tril(np.ones((T, T), dtype=bool)).",
    ),
)
