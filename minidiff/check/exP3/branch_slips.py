"""Slips in one branch of a kernel that writes its parts and log-sums."""

from typing import Any

from minidiff.check.core import Mistake
from minidiff.check.edited import slip


def branch_slips(kernel: Any) -> tuple[Mistake, ...]:
    """Return the slips of P3.1 and P3.4, whose kernels share these lines."""
    return (
        slip(
            "one branch without scale",
            "In one branch the scores are not multiplied by c, or divided "
            "by it.",
            kernel,
            (
                'b_s1 = tl.dot(b_q1, b_k1.T, input_precision="ieee") * c',
                'b_s1 = tl.dot(b_q1, b_k1.T, input_precision="ieee")',
            ),
            (
                'b_s2 = tl.dot(b_q2, b_k2.T, input_precision="ieee") * c',
                'b_s2 = tl.dot(b_q2, b_k2.T, input_precision="ieee")',
            ),
            (
                'b_s1 = tl.dot(b_q1, b_k1.T, input_precision="ieee") * c',
                'b_s1 = tl.dot(b_q1, b_k1.T, input_precision="ieee") / c',
            ),
            (
                'b_s2 = tl.dot(b_q2, b_k2.T, input_precision="ieee") * c',
                'b_s2 = tl.dot(b_q2, b_k2.T, input_precision="ieee") / c',
            ),
        ),
        slip(
            "one branch not divided",
            "In one branch the accumulator is written as it is, or "
            "multiplied. A part is the output over its keys: divide by the "
            "sum.",
            kernel,
            ("b_acc1 / b_sum1[:, None]", "b_acc1"),
            ("b_acc2 / b_sum2[:, None]", "b_acc2"),
            ("b_acc1 / b_sum1[:, None]", "b_acc1 * b_sum1[:, None]"),
            ("b_acc2 / b_sum2[:, None]", "b_acc2 * b_sum2[:, None]"),
        ),
        slip(
            "one log-sum without its top",
            "One of the log-sums lacks its top: the sum is relative to it.",
            kernel,
            ("b_top1 + tl.log2(b_sum1)", "tl.log2(b_sum1)"),
            ("b_top2 + tl.log2(b_sum2)", "tl.log2(b_sum2)"),
        ),
        slip(
            "one log-sum without its sum",
            "One of the log-sums is the top alone, or holds the sum and not "
            "its logarithm.",
            kernel,
            ("b_top1 + tl.log2(b_sum1)", "b_top1"),
            ("b_top2 + tl.log2(b_sum2)", "b_top2"),
            ("b_top1 + tl.log2(b_sum1)", "b_top1 + b_sum1"),
            ("b_top2 + tl.log2(b_sum2)", "b_top2 + b_sum2"),
            ("b_top1 + tl.log2(b_sum1)", "b_top1 - tl.log2(b_sum1)"),
            ("b_top2 + tl.log2(b_sum2)", "b_top2 - tl.log2(b_sum2)"),
        ),
        slip(
            "one log-sum in base e",
            "One of the log-sums is mixed: the top is in base 2, so the "
            "sum's logarithm is log2.",
            kernel,
            ("b_top1 + tl.log2(b_sum1)", "b_top1 + tl.log(b_sum1)"),
            ("b_top2 + tl.log2(b_sum2)", "b_top2 + tl.log(b_sum2)"),
        ),
        slip(
            "the same keys in every round",
            "Every round of the loop takes the same keys. A round begins at "
            "start_s.",
            kernel,
            ("start_s + tl.arange(0, BS)", "start + tl.arange(0, BS)"),
            ("start_s + tl.arange(0, BS)", "tl.arange(0, BS)"),
        ),
    )
