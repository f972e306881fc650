"""Exercise 3.3: the headwise norm."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.imported import own_work
from minidiff.reference import headwise_norm, lambda_init


def normed_heads(o: np.ndarray, layer: int, eps: float = 1e-5) -> np.ndarray:
    """Return (1 - lam_init) * RMSNorm(o), each head and token by itself.

    o (H, T, Dv): the heads' outputs; lam_init is that of the layer, from 0.
    """
    lam_init = 0.8 - 0.6 * np.exp(-0.3 * layer)
    rms = np.sqrt((o**2).mean(-1, keepdims=True) + eps)
    return (1 - lam_init) * o / rms


def _cases() -> list[Case]:
    cases = []
    for seed, (H, T, Dv, layer, eps) in enumerate(
        [
            (1, 1, 4, 0, 1e-5),
            (3, 3, 3, 2, 1e-5),
            (2, 5, 8, 3, 1e-5),
            (4, 3, 6, 1, 1e-4),
        ]
    ):
        o = 0.01 * np.random.default_rng(seed).normal(size=(H, T, Dv)) + 0.004
        cases.append(
            Case(
                name=f"H = {H}, T = {T}, Dv = {Dv}, layer = {layer}, "
                f"eps = {eps}",
                args=(o, layer, eps),
            )
        )
    return cases


def _norm_like(
    o: np.ndarray, layer: int, eps: float, axes: tuple[int, ...]
) -> np.ndarray:
    """The norm over other axes, and without its scale: the mistakes."""
    rms = np.sqrt((o**2).mean(axes, keepdims=True) + eps)
    return (1 - lambda_init(layer)) * o / rms


def _divided(o: np.ndarray, layer: int, size: np.ndarray) -> np.ndarray:
    """The norm with another size to divide by."""
    return (1 - lambda_init(layer)) * o / size


def _times(o: np.ndarray, eps: float, factor: float) -> np.ndarray:
    """The norm with another factor than 1 - lam_init."""
    return factor * o / np.sqrt((o**2).mean(-1, keepdims=True) + eps)


EXERCISE = Exercise(
    id="3.3",
    cases=_cases,
    solution=normed_heads,
    run=own_work(headwise_norm),
    mistakes=(
        Mistake(
            key="imported answer",
            diagnosis="You call minidiff's own norm. Write the mean square, "
            "the root and the division yourself.",
            wrong=lambda o, n, eps: headwise_norm(
                o, 1.0, 1 - lambda_init(n), eps
            ),
        ),
        Mistake(
            key="heads together",
            diagnosis="One root mean square is shared by all heads of a "
            "token. Each head is normalised by itself: the mean runs over "
            "the last axis only.",
            wrong=lambda o, n, eps: _norm_like(o, n, eps, (0, 2)),
        ),
        Mistake(
            key="tokens together",
            diagnosis="The mean runs over the tokens as well, so a token "
            "sees later ones. It runs over the last axis only.",
            wrong=lambda o, n, eps: _norm_like(o, n, eps, (1, 2)),
        ),
        Mistake(
            key="everything together",
            diagnosis="One root mean square is taken of the whole array. "
            "Each head and token has its own: the mean runs over the last "
            "axis, with keepdims=True.",
            wrong=lambda o, n, eps: _norm_like(o, n, eps, (0, 1, 2)),
        ),
        Mistake(
            key="no scale",
            diagnosis="The factor (1 - lam_init) is missing.",
            wrong=lambda o, n, eps: (
                normed_heads(o, n, eps) / (1 - lambda_init(n))
            ),
        ),
        Mistake(
            key="scale by lam_init",
            diagnosis="You scale by lam_init. The factor is 1 - lam_init.",
            wrong=lambda o, n, eps: (
                normed_heads(o, n, eps) * lambda_init(n) / (1 - lambda_init(n))
            ),
        ),
        Mistake(
            key="mean subtracted",
            diagnosis="You subtract the mean first: that is LayerNorm. "
            "RMSNorm only divides.",
            wrong=lambda o, n, eps: normed_heads(
                o - o.mean(-1, keepdims=True), n, eps
            ),
        ),
        Mistake(
            key="no eps",
            diagnosis="eps is missing. It is added to the mean square, and "
            "these outputs are small enough to show it.",
            wrong=lambda o, n, eps: (
                (1 - lambda_init(n))
                * o
                / np.sqrt((o**2).mean(-1, keepdims=True))
            ),
        ),
        Mistake(
            key="eps outside",
            diagnosis="eps is added after the root. It belongs to the mean "
            "square, under the root; these outputs are small enough to show "
            "the difference.",
            wrong=lambda o, n, eps: (
                (1 - lambda_init(n))
                * o
                / (np.sqrt((o**2).mean(-1, keepdims=True)) + eps)
            ),
        ),
        Mistake(
            key="own eps",
            diagnosis="eps is always 1e-5. It is an argument: use the one "
            "that is given.",
            wrong=lambda o, n, eps: normed_heads(o, n),
        ),
        Mistake(
            key="axis put back too early",
            diagnosis="[:, None] puts the lost axis back in second place. "
            "It was the last one: mean(-1, keepdims=True), or [..., None].",
            wrong=lambda o, n, eps: _divided(
                o, n, np.sqrt((o**2).mean(-1)[:, None] + eps)
            ),
        ),
        Mistake(
            key="brackets of lam_init",
            diagnosis="The sign inside the factor is wrong: 1 - (0.8 - 0.6 * "
            "exp(...)) is 0.2 + 0.6 * exp(...).",
            wrong=lambda o, n, eps: (
                normed_heads(o, n, eps)
                * (lambda_init(n) - 0.6)
                / (1 - lambda_init(n))
            ),
        ),
        Mistake(
            key="no keepdims",
            diagnosis="The mean over the last axis has lost that axis, so "
            "the shapes no longer fit: mean(-1, keepdims=True).",
            wrong=lambda o, n, eps: _divided(
                o, n, np.sqrt((o**2).mean(-1) + eps)
            ),
        ),
        Mistake(
            key="sum, not mean",
            diagnosis="You add up the squares: then each head has length 1. "
            "Take their mean.",
            wrong=lambda o, n, eps: _divided(
                o, n, np.sqrt((o**2).sum(-1, keepdims=True) + eps)
            ),
            also=(
                lambda o, n, eps: _divided(
                    o, n, np.linalg.norm(o, axis=-1, keepdims=True) + eps
                ),
                lambda o, n, eps: _divided(
                    o, n, np.linalg.norm(o, axis=-1, keepdims=True)
                ),
            ),
        ),
        Mistake(
            key="no root",
            diagnosis="You divide by the mean square. The root is missing.",
            wrong=lambda o, n, eps: _divided(
                o, n, (o**2).mean(-1, keepdims=True) + eps
            ),
        ),
        Mistake(
            key="standard deviation",
            diagnosis="You divide by the standard deviation, which takes the "
            "mean off first. The root mean square does not.",
            wrong=lambda o, n, eps: _divided(
                o, n, np.sqrt(o.var(-1, keepdims=True) + eps)
            ),
            also=(
                lambda o, n, eps: _divided(
                    o, n, o.std(-1, keepdims=True) + eps
                ),
                lambda o, n, eps: _divided(o, n, o.std(-1, keepdims=True)),
            ),
        ),
        Mistake(
            key="wrong axis",
            diagnosis="The mean runs over heads or tokens. It runs over the "
            "channels of one head and one token: the last axis.",
            wrong=lambda o, n, eps: _norm_like(o, n, eps, (0,)),
            also=(lambda o, n, eps: _norm_like(o, n, eps, (1,)),),
        ),
        Mistake(
            key="scale before the norm",
            diagnosis="The factor is applied before the norm, which divides "
            "it out again. It comes after.",
            wrong=lambda o, n, eps: (
                normed_heads((1 - lambda_init(n)) * o, n, eps)
                / (1 - lambda_init(n))
            ),
        ),
        Mistake(
            key="another layer",
            diagnosis="The factor is that of another layer: layers count "
            "from 0 here, and 0.8 - 0.6 * exp(-0.3 * layer) takes layer as "
            "it comes.",
            wrong=lambda o, n, eps: (
                normed_heads(o, n, eps)
                * (1 - lambda_init(n + 1))
                / (1 - lambda_init(n))
            ),
            also=(
                lambda o, n, eps: (
                    normed_heads(o, n, eps)
                    * (0.2 + 0.6 * np.exp(-0.3 * (n - 1)))
                    / (1 - lambda_init(n))
                ),
            ),
        ),
        Mistake(
            key="mean before the square",
            diagnosis="You square the mean. Take the mean of the squares.",
            wrong=lambda o, n, eps: _divided(
                o, n, np.sqrt(o.mean(-1, keepdims=True) ** 2 + eps)
            ),
        ),
        Mistake(
            key="divided by the factor",
            diagnosis="You divide by 1 - lam_init. The norm is multiplied by "
            "it.",
            wrong=lambda o, n, eps: (
                normed_heads(o, n, eps) / (1 - lambda_init(n)) ** 2
            ),
        ),
        Mistake(
            key="multiplied by the root",
            diagnosis="You multiply by the root mean square. A norm divides "
            "by it.",
            wrong=lambda o, n, eps: _divided(
                o, n, 1 / np.sqrt((o**2).mean(-1, keepdims=True) + eps)
            ),
        ),
        Mistake(
            key="plus in the factor",
            diagnosis="The factor is 1 + lam_init. It is 1 - lam_init.",
            wrong=lambda o, n, eps: _times(o, eps, 1 + lambda_init(n)),
        ),
        Mistake(
            key="lam_init rises too fast",
            diagnosis="The exponent of lam_init has the wrong sign: "
            "exp(-0.3 layer) falls from layer to layer.",
            wrong=lambda o, n, eps: _times(o, eps, 1 - lambda_init(-n)),
        ),
    ),
    hints=(
        "Over which axis of (H, T, Dv) does one head of one token lie?",
        "(o**2).mean(-1, keepdims=True) is the mean square of each head and "
        "token; eps joins it before the root.",
        "(1 - lam_init) * o / np.sqrt((o**2).mean(-1, keepdims=True) + eps).",
    ),
)
