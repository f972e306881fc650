"""Exercise 14.3: one step of AdamW."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip

Step = tuple[np.ndarray, np.ndarray, np.ndarray]


def adamw_step(
    w: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    s: np.ndarray,
    t: int,
    lr: float,
    decay: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the new w, m and s after step t, counted from 1.

    w (N,): weights; g (N,): their gradient; m, s (N,): the two averages as
    the step before left them. The betas are 0.9 and 0.95, eps is 1e-8.
    """
    m = 0.9 * m + 0.1 * g
    s = 0.95 * s + 0.05 * g**2
    mean = m / (1 - 0.9**t)
    size = np.sqrt(s / (1 - 0.95**t))
    w = (1 - lr * decay) * w - lr * mean / (size + 1e-8)
    return w, m, s


def _cases() -> list[Case]:
    cases = []
    for t, lr, decay, scale in (
        (1, 0.1, 0.0, 1.0),
        (1, 0.1, 0.5, 1e-6),  # so small that eps counts
        (2, 0.03, 0.1, 10.0),
        (50, 0.1, 2.0, 1e-3),
    ):
        rng = np.random.default_rng(t)
        w, g, m = rng.normal(size=(3, 4))
        s = rng.random(4)
        if t == 1:
            m, s = np.zeros(4), np.zeros(4)
        args = (w, scale * g, scale * m, scale**2 * s, t, lr, decay)
        name = f"t = {t}, lr = {lr}, decay = {decay}, gradients near {scale:g}"
        cases.append(Case(name=name, args=args))
    return cases


class State(NamedTuple):
    """What the weights are updated from: the averages, plain and corrected."""

    w: np.ndarray
    m: np.ndarray
    s: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    t: int
    lr: float
    decay: float

    def counted(self, t: int) -> "State":
        """With corrections for step t."""
        mean, square = self.m / (1 - 0.9**t), self.s / (1 - 0.95**t)
        return self._replace(mean=mean, square=square)


Weights = Callable[[State], np.ndarray]
Average = Callable[..., tuple[np.ndarray, np.ndarray]]


def _right(x: State, **changed: Any) -> np.ndarray:
    """Update the weights rightly, from a state with something changed."""
    x = x._replace(**changed)
    shrunk = (1 - x.lr * x.decay) * x.w
    return shrunk - x.lr * x.mean / (np.sqrt(x.square) + 1e-8)


def _average(
    g: np.ndarray,
    m: np.ndarray,
    s: np.ndarray,
    betas: tuple[float, float] = (0.9, 0.95),
) -> tuple[np.ndarray, np.ndarray]:
    b1, b2 = betas
    return b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g**2


def _step(
    weights: Weights = _right,
    average: Average = _average,
    betas: tuple[float, float] = (0.9, 0.95),
) -> Callable[..., Step]:
    """A step with something about it changed; betas are the corrections'."""

    def answer(*args: Any) -> Step:
        w, g, m, s, t, lr, decay = args
        m, s = average(g, m, s)
        mean, square = m / (1 - betas[0] ** t), s / (1 - betas[1] ** t)
        return weights(State(w, m, s, mean, square, t, lr, decay)), m, s

    return answer


def _betas(b1: float, b2: float) -> Callable[..., Step]:
    """A step with other betas throughout."""
    return _step(average=partial(_average, betas=(b1, b2)), betas=(b1, b2))


def _coupled(*args: Any) -> Step:
    w, g, m, s, t, lr, decay = args
    return adamw_step(w, g + decay * w, m, s, t, lr, 0.0)


def _old_averages(*args: Any) -> Step:
    w, _, m, s, t, lr, decay = args
    old = State(w, m, s, m, s, t, lr, decay).counted(t)
    return (_right(old), *adamw_step(*args)[1:])


def _corrected_kept(*args: Any) -> Step:
    w, m, s = adamw_step(*args)
    t = args[4]
    return w, m / (1 - 0.9**t), s / (1 - 0.95**t)


EXERCISE = Exercise(
    id="14.3",
    cases=_cases,
    solution=adamw_step,
    results=("the new w", "m", "s"),
    mistakes=(
        Mistake(
            key="no correction",
            diagnosis="The averages begin at 0 and are too small at first. "
            "Divide m by 1 - 0.9**t and s by 1 - 0.95**t.",
            wrong=_step(lambda x: _right(x, mean=x.m, square=x.s)),
        ),
        Mistake(
            key="s not corrected",
            diagnosis="You correct m and not s. Divide s by 1 - 0.95**t.",
            wrong=_step(lambda x: _right(x, square=x.s)),
        ),
        Mistake(
            key="m not corrected",
            diagnosis="You correct s and not m. Divide m by 1 - 0.9**t.",
            wrong=_step(lambda x: _right(x, mean=x.m)),
        ),
        Mistake(
            key="root first",
            diagnosis="You take the root and then correct it. Correct s, "
            "then take the root.",
            wrong=_step(
                lambda x: _right(
                    x, square=(np.sqrt(x.s) / (1 - 0.95**x.t)) ** 2
                )
            ),
        ),
        Mistake(
            key="no power",
            diagnosis="You divide by 1 - 0.9 and 1 - 0.95 at every step. The "
            "betas are raised to t, so that the correction fades.",
            wrong=_step(lambda x: _right(x.counted(1))),
        ),
        Mistake(
            key="corrected kept",
            diagnosis="You return the corrected averages, and the next step "
            "would correct them again. Return m and s as they are averaged.",
            wrong=_corrected_kept,
        ),
        Mistake(
            key="times t",
            diagnosis="You multiply the betas by t. The corrections raise "
            "them to the power t: 0.9**t.",
            wrong=_step(
                lambda x: _right(
                    x,
                    mean=x.m / (1 - 0.9 * x.t),
                    square=x.s / (1 - 0.95 * x.t),
                )
            ),
        ),
        Mistake(
            key="counted from 0",
            diagnosis="The power is t - 1. Steps are counted from 1 here: at "
            "step 1 divide by 1 - 0.9.",
            wrong=_step(lambda x: _right(x.counted(x.t - 1))),
        ),
        Mistake(
            key="counted one more",
            diagnosis="The power is t + 1, but t counts from 1 already.",
            wrong=_step(lambda x: _right(x.counted(x.t + 1))),
        ),
        Mistake(
            key="old averages",
            diagnosis="You step by the averages of the step before. Average "
            "the new gradient in first.",
            wrong=_old_averages,
        ),
        Mistake(
            key="sums",
            diagnosis="You add the whole gradient. An average takes 0.9 of "
            "the old and 0.1 of the new.",
            wrong=_step(
                average=lambda g, m, s: (0.9 * m + g, 0.95 * s + g**2)
            ),
        ),
        Mistake(
            key="shares swapped",
            diagnosis="You keep 0.1 of the old average and take 0.9 of the "
            "new gradient. It is the other way round; likewise for s.",
            wrong=_step(average=partial(_average, betas=(0.1, 0.05))),
            also=(_betas(0.1, 0.05),),
        ),
        Mistake(
            key="another beta",
            diagnosis="You average s with 0.999, PyTorch's default. Here it "
            "is 0.95.",
            wrong=_betas(0.9, 0.999),
        ),
        Mistake(
            key="betas swapped",
            diagnosis="The betas have changed places: 0.9 is for m, 0.95 for "
            "s.",
            wrong=_betas(0.95, 0.9),
        ),
        Mistake(
            key="s of the size",
            diagnosis="You average the gradient's size. s averages its "
            "square.",
            wrong=_step(
                average=lambda g, m, s: (
                    _average(g, m, s)[0],
                    0.95 * s + 0.05 * np.abs(g),
                )
            ),
        ),
        Mistake(
            key="no root",
            diagnosis="You divide by s itself. Take its root: the step must "
            "not depend on the unit of the gradient.",
            wrong=_step(lambda x: _right(x, square=x.square**2)),
        ),
        Mistake(
            key="eps in the root",
            diagnosis="eps is inside the root. It is added to the root.",
            wrong=_step(
                lambda x: (
                    (1 - x.lr * x.decay) * x.w
                    - x.lr * x.mean / np.sqrt(x.square + 1e-8)
                )
            ),
        ),
        Mistake(
            key="no eps",
            diagnosis="eps is missing: a weight whose gradient is 0 would "
            "become NaN.",
            wrong=_step(
                lambda x: (
                    (1 - x.lr * x.decay) * x.w
                    - x.lr * x.mean / np.sqrt(x.square)
                )
            ),
        ),
        Mistake(
            key="decay in the gradient",
            diagnosis="You add decay * w to the gradient, and dividing by "
            "the root of s undoes it. Decay acts on the weights directly: "
            "that is the W in AdamW.",
            wrong=_coupled,
        ),
        Mistake(
            key="decay without lr",
            diagnosis="You take away decay * w. The learning rate belongs to "
            "it: lr * decay * w.",
            wrong=_step(lambda x: _right(x, decay=0.0) - x.decay * x.w),
        ),
        Mistake(
            key="decay grows",
            diagnosis="Your weights grow by lr * decay. Decay pulls them "
            "towards 0: 1 - lr * decay.",
            wrong=_step(lambda x: _right(x, decay=-x.decay)),
        ),
        Mistake(
            key="decay after the step",
            diagnosis="You shrink the weights after they have moved. Decay "
            "takes its share of the old weights.",
            wrong=_step(lambda x: (1 - x.lr * x.decay) * _right(x, decay=0.0)),
        ),
        Mistake(
            key="decay dropped",
            diagnosis="The decay has no effect.",
            wrong=_step(lambda x: _right(x, decay=0.0)),
        ),
        Mistake(
            key="uphill",
            diagnosis="You step along the gradient, and the loss goes up. "
            "Step against it.",
            wrong=_step(lambda x: _right(x, mean=-x.mean)),
        ),
        Mistake(
            key="no learning rate",
            diagnosis="The step lacks the learning rate: it is lr times the "
            "quotient.",
            wrong=_step(lambda x: _right(x, mean=x.mean / x.lr)),
        ),
        Mistake(
            key="weights only",
            diagnosis="You return the weights only. The next step needs m "
            "and s: return all three.",
            wrong=lambda *args: adamw_step(*args)[0],
        ),
        Mistake(
            key="order of results",
            diagnosis="You return s before m. The order is w, m, s.",
            wrong=lambda *args: tuple(adamw_step(*args)[i] for i in (0, 2, 1)),
        ),
        slip(
            "old average dropped",
            "One of your averages forgets what it was. It keeps a share of "
            "the old one.",
            adamw_step,
            ("0.9 * m + 0.1 * g", "0.1 * g"),
            ("0.95 * s + 0.05 * g**2", "0.05 * g**2"),
        ),
        slip(
            "new gradient dropped",
            "One of your averages does not take the new gradient in.",
            adamw_step,
            ("0.9 * m + 0.1 * g", "0.9 * m"),
            ("0.95 * s + 0.05 * g**2", "0.95 * s"),
        ),
        slip(
            "old average kept whole",
            "One of your averages keeps all of the old one, and grows "
            "without end. It keeps the share beta.",
            adamw_step,
            ("0.9 * m", "m"),
            ("0.95 * s", "s"),
        ),
        slip(
            "another share of the new",
            "One of your averages takes another share of the new gradient. "
            "The shares of old and new add up to 1.",
            adamw_step,
            ("0.1 * g", "0.05 * g"),
            ("0.05 * g**2", "0.1 * g**2"),
            ("0.1 * g", "g"),
            ("0.05 * g**2", "g**2"),
            ("0.1 * g", "0.2 * g"),
        ),
        slip(
            "gradient subtracted",
            "Your average subtracts the gradient. The sign changes once, in "
            "the step.",
            adamw_step,
            ("+ 0.1 * g", "- 0.1 * g"),
        ),
        slip(
            "corrected the wrong way",
            "One of your corrections multiplies. The averages are too small "
            "at first: divide by the correction.",
            adamw_step,
            ("m / (1", "m * (1"),
            ("s / (1", "s * (1"),
        ),
        slip(
            "one correction wrong",
            "One of your two corrections is another number. Both are 1 "
            "minus the beta raised to t.",
            adamw_step,
            ("0.9**t", "0.9"),
            ("0.95**t", "0.95"),
            ("0.9**t", "0.9 * t"),
            ("1 - 0.9**t", "0.9**t"),
            ("1 - 0.95**t", "0.95**t"),
            ("1 - 0.9**t", "1 + 0.9**t"),
            ("1 - 0.95**t", "1 + 0.95**t"),
            ("0.95**t", "t**0.95"),
        ),
        slip(
            "not divided by the root",
            "Your step is not divided by the root of s, so that it depends "
            "on the unit of the gradient.",
            adamw_step,
            (" / (size + 1e-8)", ""),
            ("/ (size", "* (size"),
        ),
        slip(
            "no m in the step",
            "Your step does not contain the average of the gradient, m.",
            adamw_step,
            ("lr * mean / (size", "lr / (size"),
        ),
        slip(
            "no step",
            "Your weights only decay. The step against the gradient is "
            "missing.",
            adamw_step,
            (
                "(1 - lr * decay) * w - lr * mean / (size + 1e-8)",
                "(1 - lr * decay) * w",
            ),
        ),
        slip(
            "old weights lost",
            "The old weights are missing from the new ones, or have the "
            "wrong sign. A step is added to them.",
            adamw_step,
            ("(1 - lr * decay) * w - lr", "-lr"),
            ("(1 - lr * decay) * w", "(lr * decay - 1) * w"),
            ("(1 - lr * decay) * w", "(1 - lr * decay)"),
            ("(1 - lr * decay) * w", "lr * decay * w"),
        ),
        slip(
            "decay by another factor",
            "Your weights shrink by another factor. Decay takes the share "
            "lr * decay of them away.",
            adamw_step,
            ("(1 - lr * decay)", "(1 - lr)"),
            ("(1 - lr * decay)", "(1 - lr - decay)"),
        ),
        slip(
            "another eps",
            "Your eps is another number. Where the gradients are small, it "
            "matters: 1e-8.",
            adamw_step,
            ("1e-8)", "1e-6)"),
            ("1e-8)", "1e-7)"),
            ("1e-8)", "1e-5)"),
            ("+ 1e-8)", "- 1e-8)"),
            ("1e-8)", "1e-12)"),
            ("1e-8)", "1.0)"),
        ),
    ),
    hints=(
        "Four lines: both averages, their corrections, the weights.",
        "m = 0.9 * m + 0.1 * g, likewise s with 0.95, 0.05 and g**2. Then "
        "divide by 1 - 0.9**t and 1 - 0.95**t, under new names.",
        "w = (1 - lr * decay) * w - lr * mean / (size + 1e-8), where size is "
        "the root of the corrected s.",
    ),
)
