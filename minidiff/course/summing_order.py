"""A small network, trained with its gradient summed in one order or in many.

Chapter 12 compares two trainings in which nothing differs but the order in
which the gradients of 64 examples are added up in float32.
"""

import numpy as np

EXAMPLES = 64


def train(
    rate: float, start: int, shuffled: bool = False, steps: int = 600
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights after each step, (steps, 288), and the losses.

    ``start`` is the seed of the data and of the first weights. With
    ``shuffled`` each step adds up the examples in a new order.
    """
    rng, chance = np.random.default_rng(start), np.random.default_rng(1)
    x = rng.normal(size=(EXAMPLES, 8)).astype(np.float32)
    y = np.sin(3 * x[:, 0]) * x[:, 1]
    V = (rng.normal(size=(8, 32)) / 8**0.5).astype(np.float32)
    w = (rng.normal(size=32) / 32**0.5).astype(np.float32)
    order = np.arange(EXAMPLES)
    weights, losses = [], []
    for _ in range(steps):
        hidden = np.tanh(x @ V)
        error = hidden @ w - y
        # One gradient for each example; the sum over them comes last.
        dw = error[:, None] * hidden
        dhidden = error[:, None] * w * (1 - hidden**2)
        dV = x[:, :, None] * dhidden[:, None, :]
        if shuffled:
            order = chance.permutation(EXAMPLES)
        w = w - rate * dw[order].sum(0) / EXAMPLES
        V = V - rate * dV[order].sum(0) / EXAMPLES
        weights.append(np.append(V, w))
        losses.append((error**2).mean())
    return np.array(weights), np.array(losses)


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how far apart two paths of weights are at each step.

    The length of the difference divided by the length of the weights.
    """
    gap: np.ndarray = np.linalg.norm(one - other, axis=1)
    return gap / np.linalg.norm(one, axis=1)
