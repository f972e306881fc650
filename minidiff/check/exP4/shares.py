"""Problem P4.3: a step of AdamW in shares, its gradient clipped."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip

Shares = tuple[np.ndarray, np.ndarray, np.ndarray]


def adamw_step(
    w: np.ndarray, g: np.ndarray, m: np.ndarray, s: np.ndarray, t: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the new w, m and s after AdamW's step t, counted from 1."""
    m = 0.9 * m + 0.1 * g
    s = 0.95 * s + 0.05 * g**2
    mean, size = m / (1 - 0.9**t), np.sqrt(s / (1 - 0.95**t))
    return 0.999 * w - 0.01 * mean / (size + 1e-8), m, s


def sharded_step(
    w: np.ndarray,
    m: np.ndarray,
    s: np.ndarray,
    grads: np.ndarray,
    t: int,
    clip: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return everyone's shares of w, m and s after step t, from 1.

    Axis 0 is the process, of W. w, m, s (W, n): process r holds elements r n
    to (r + 1) n - 1 of the model's N, where n = ceil(N / W); what is missing
    in the last shares is zeros. grads (W, N): the gradient of the whole model
    as each process found it on its own rows. Their mean is the gradient. If
    its norm, over all N, is above clip, it is made as short as clip.
    """
    W, n = w.shape
    padding = np.zeros((W, W * n - grads.shape[1]))
    chunks = np.concatenate([grads, padding], axis=1).reshape(W, W, n)
    g = chunks.mean(0)  # (W, n): the reduce-scatter
    norm = np.sqrt((g**2).sum(1).sum())  # each process's sum, then all
    g = g * min(1.0, clip / norm)
    return adamw_step(w, g, m, s, t)


def _cases() -> list[Case]:
    cases = []
    for seed, (W, N, t, clip) in enumerate(
        [(1, 3, 1, 100.0), (2, 4, 2, 0.5), (3, 7, 5, 1.0), (4, 9, 3, 4.0)]
    ):
        n = -(-N // W)
        rng = np.random.default_rng(seed)
        grads = 2 * rng.normal(size=(W, N)) + rng.normal(size=N)
        inside = np.arange(W * n).reshape(W, n) < N
        w, m = rng.normal(size=(2, W, n)) * inside
        s = 3 * rng.random((W, n)) * inside
        cases.append(
            Case(
                name=f"W = {W}, N = {N}, t = {t}, clip = {clip}",
                args=(w, m, s, grads, t, clip),
            )
        )
    return cases


def _cut(x: np.ndarray, W: int, n: int) -> np.ndarray:
    """Vectors (..., N), zeros added, in shares (..., W, n)."""
    zeros = np.zeros((*x.shape[:-1], W * n - x.shape[-1]))
    return np.concatenate([x, zeros], axis=-1).reshape(*x.shape[:-1], W, n)


def _dealt(x: np.ndarray, W: int, n: int) -> np.ndarray:
    """As playing cards are dealt: every W-th element."""
    zeros = np.zeros((*x.shape[:-1], W * n - x.shape[-1]))
    x = np.concatenate([x, zeros], axis=-1)
    return np.swapaxes(x.reshape(*x.shape[:-1], n, W), -1, -2)


def _own(grads: np.ndarray, W: int, n: int) -> np.ndarray:
    """Each process its own gradient: nobody talks."""
    every = _cut(grads, W, n)  # (W, W, n)
    return every[np.arange(W), np.arange(W)]


def _norm(g: np.ndarray, **axis: Any) -> np.ndarray:
    return np.sqrt((g**2).sum(**axis))


def _shorten(g: np.ndarray, clip: float, norm: np.ndarray) -> np.ndarray:
    return g * np.minimum(1.0, clip / norm)


def _like(
    gather: Callable[..., np.ndarray] = lambda grads, W, n: _cut(
        grads.mean(0), W, n
    ),
    shorten: Callable[..., np.ndarray] = lambda g, clip: _shorten(
        g, clip, _norm(g)
    ),
    step: Callable[[int], int] = lambda t: t,
) -> Callable[..., Shares]:
    """A step with something about it changed."""

    def wrong(*args: Any) -> Shares:
        w, m, s, grads, t, clip = args
        g = shorten(gather(grads, *w.shape), clip)
        return adamw_step(w, g, m, s, step(t))

    return wrong


def _clipped_first(*args: Any) -> Shares:
    """Each process clips its own whole gradient; then the mean."""
    w, m, s, grads, t, clip = args
    grads = _shorten(grads, clip, _norm(grads, axis=1, keepdims=True))
    return adamw_step(w, _cut(grads.mean(0), *w.shape), m, s, t)


def _unfilled(*args: Any) -> Shares:
    """No zeros: an error unless W divides N."""
    w, m, s, grads, t, clip = args
    g = grads.mean(0).reshape(len(w), -1)
    return adamw_step(w, _shorten(g, clip, _norm(g)), m, s, t)


def _norm_of_all(*args: Any) -> Shares:
    """The norm of all W gradients, not of their mean."""
    w, m, s, grads, t, clip = args
    g = _cut(grads.mean(0), *w.shape)
    return adamw_step(w, _shorten(g, clip, _norm(grads)), m, s, t)


EXERCISE = Exercise(
    id="P4.3",
    cases=_cases,
    solution=sharded_step,
    mistakes=(
        Mistake(
            key="norm of each share",
            diagnosis="Each process clips by the norm of its own share. The "
            "norm is that of the whole gradient: add up all shares' squares "
            "first, and let everyone have the sum.",
            wrong=_like(
                shorten=lambda g, clip: _shorten(
                    g, clip, _norm(g, axis=1, keepdims=True)
                )
            ),
        ),
        Mistake(
            key="norms added",
            diagnosis="You add up the norms of the shares. Squares add up: "
            "3 and 4 make 5, not 7. Take the root once, of the whole sum.",
            wrong=_like(
                shorten=lambda g, clip: _shorten(
                    g, clip, _norm(g, axis=1).sum()
                )
            ),
        ),
        Mistake(
            key="largest norm",
            diagnosis="You clip by the largest share's norm. The whole "
            "gradient is longer than any of its shares.",
            wrong=_like(
                shorten=lambda g, clip: _shorten(
                    g, clip, _norm(g, axis=1).max()
                )
            ),
        ),
        Mistake(
            key="mean of squares",
            diagnosis="You take a mean of squares over the processes or over "
            "the elements, where the norm wants their sum.",
            wrong=_like(
                shorten=lambda g, clip: _shorten(
                    g, clip, np.sqrt((g**2).sum(1).mean())
                )
            ),
            also=(
                _like(
                    shorten=lambda g, clip: _shorten(
                        g, clip, np.sqrt((g**2).mean())
                    )
                ),
            ),
        ),
        Mistake(
            key="root forgotten",
            diagnosis="You compare clip with the sum of squares. The norm is "
            "its root.",
            wrong=_like(
                shorten=lambda g, clip: _shorten(g, clip, _norm(g) ** 2)
            ),
        ),
        Mistake(
            key="clipped before the mean",
            diagnosis="Each process clips its own gradient, and then you "
            "take the mean. First the mean, then its norm: a part may be "
            "long where the mean is short.",
            wrong=_clipped_first,
        ),
        Mistake(
            key="norm of all gradients",
            diagnosis="The norm is over all W gradients. It is that of "
            "their mean.",
            wrong=_norm_of_all,
        ),
        Mistake(
            key="elements clipped",
            diagnosis="Each element is cut off at clip, which turns the "
            "gradient to another side. All are multiplied by one factor.",
            wrong=_like(shorten=lambda g, clip: np.clip(g, -clip, clip)),
        ),
        Mistake(
            key="made longer",
            diagnosis="A gradient that is shorter than clip is made as long "
            "as clip. It stays as it is: the factor is at most 1.",
            wrong=_like(shorten=lambda g, clip: g * clip / _norm(g)),
        ),
        Mistake(
            key="a little shorter",
            diagnosis="The norm has a small number added, as in PyTorch's "
            "own clipping, so that the gradient comes out a little shorter "
            "than clip. Here it is as long as clip.",
            wrong=_like(
                shorten=lambda g, clip: _shorten(g, clip, _norm(g) + 1e-6)
            ),
        ),
        Mistake(
            key="not clipped",
            diagnosis="The gradient is not clipped.",
            wrong=_like(shorten=lambda g, clip: g),
        ),
        Mistake(
            key="own gradient only",
            diagnosis="Each process takes its share of its own gradient, as "
            "if nobody talked. The share is cut from the mean over all "
            "processes.",
            wrong=_like(_own),
        ),
        Mistake(
            key="first process only",
            diagnosis="The gradient is that of process 0. It is the mean "
            "over all processes: grads.mean(0).",
            wrong=_like(lambda grads, W, n: _cut(grads[0], W, n)),
        ),
        Mistake(
            key="summed",
            diagnosis="You add up the processes' gradients. Their mean is "
            "the gradient.",
            wrong=_like(lambda grads, W, n: _cut(grads.sum(0), W, n)),
        ),
        Mistake(
            key="dealt like cards",
            diagnosis="Process r gets every W-th element of the gradient. "
            "Its share of the weights is n neighbours, from r n on: "
            "reshape(W, n).",
            wrong=_like(lambda grads, W, n: _dealt(grads.mean(0), W, n)),
        ),
        Mistake(
            key="not filled up",
            diagnosis="Right where W divides N. Elsewhere the last shares "
            "are short: put zeros behind the gradient, up to W n elements, "
            "before you cut it.",
            wrong=_unfilled,
        ),
        Mistake(
            key="step from 0",
            diagnosis="adamw_step wants t as it comes, counted from 1.",
            wrong=_like(step=lambda t: t + 1),
            also=(_like(step=lambda t: t - 1),),
        ),
        slip(
            "norm of the numbers",
            "Your norm is not the root of the sum of squares.",
            sharded_step,
            ("(g**2).sum(1).sum()", "g.sum(1).sum()"),
            ("(g**2).sum(1).sum()", "(g * 2).sum(1).sum()"),
            ("np.sqrt((g**2).sum(1).sum())", "np.abs(g).sum()"),
        ),
        slip(
            "never shorter",
            "You take the larger of 1 and the factor, or turn the factor "
            "over. A gradient whose norm is above clip is made shorter, and "
            "no other.",
            sharded_step,
            ("min(1.0, clip / norm)", "max(1.0, clip / norm)"),
            ("min(1.0, clip / norm)", "min(1.0, norm / clip)"),
            ("g * min(1.0", "g / min(1.0"),
        ),
        slip(
            "clip for the factor",
            "You multiply by clip. The factor that makes a gradient as long "
            "as clip is clip over its norm.",
            sharded_step,
            ("clip / norm", "clip"),
        ),
        slip(
            "filled up with ones",
            "You fill the last shares up with ones, which have a part in "
            "the norm. What is missing is zeros.",
            sharded_step,
            ("padding = np.zeros(", "padding = np.ones("),
        ),
    ),
    hints=(
        "Three things: the mean gradient in shares, one number that needs "
        "all shares, and a step that needs nobody. Which axis may each sum "
        "cross?",
        "grads.mean(0) is (N,): put zeros behind it up to W n, and reshape "
        "to (W, n). The norm is the root of the sum of all squares, over "
        "both axes; the factor is min(1, clip / norm).",
        "g = np.zeros(W * n); g[:N] = grads.mean(0); g = g.reshape(W, n); "
        "g = g * min(1, clip / np.sqrt((g**2).sum())); return adamw_step(w, "
        "g, m, s, t).",
    ),
)
