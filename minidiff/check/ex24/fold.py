"""Exercise 24.3: the norm's weight and gain, folded into the output matrix."""

from collections.abc import Callable

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.edited import slip


def folded(
    out_weight: np.ndarray, norm_weight: np.ndarray, gain: float
) -> np.ndarray:
    """Return the output matrix of a model that has no norm weight and gain.

    out_weight (E, H * Dv): W_O. It multiplies the H heads' normed outputs,
    side by side, each of them Dv numbers times norm_weight (Dv,) times gain.
    The result, of the same shape, gives the same output from normed outputs
    that nothing is multiplied with. The arguments stay as they are.
    """
    H = out_weight.shape[1] // len(norm_weight)
    return out_weight * np.tile(gain * norm_weight, H)


def _cases() -> list[Case]:
    cases = []
    for H, Dv, E, gain in (
        (1, 2, 3, 0.5),
        (2, 3, 6, 1.0),
        (3, 4, 8, 0.8),
        (4, 6, 24, 0.2),
    ):
        rng = np.random.default_rng(E)
        W = rng.normal(size=(E, H * Dv))
        args = W, rng.uniform(0.5, 2, Dv), gain
        name = f"H = {H}, Dv = {Dv}, E = {E}, gain = {gain}"
        cases.append(Case(name=name, args=args))
    return cases


Fold = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def _times(factor: Callable[[np.ndarray, float, int], np.ndarray]) -> Fold:
    """Multiply the columns of W_O by a factor of (norm_weight, gain, H)."""

    def answer(W: np.ndarray, w: np.ndarray, gain: float) -> np.ndarray:
        return W * factor(w, gain, W.shape[1] // len(w))

    return answer


def _rows(W: np.ndarray, w: np.ndarray, gain: float) -> np.ndarray:
    return W * np.resize(gain * w, len(W))[:, None]


EXERCISE = Exercise(
    id="24.3",
    cases=_cases,
    solution=folded,
    mistakes=(
        Mistake(
            key="gain only",
            diagnosis="The norm's weight is missing: each head's output is "
            "multiplied by it as well.",
            wrong=_times(lambda w, g, H: np.full(H * len(w), g)),
        ),
        Mistake(
            key="weight only",
            diagnosis="The gain is missing.",
            wrong=_times(lambda w, g, H: np.tile(w, H)),
        ),
        Mistake(
            key="each entry repeated",
            diagnosis="You repeat each entry of norm_weight H times in a row. "
            "The heads lie side by side, so the whole weight is repeated, "
            "head after head: np.tile.",
            wrong=_times(lambda w, g, H: np.repeat(g * w, H)),
        ),
        Mistake(
            key="undone",
            diagnosis="You divide. The new matrix has to do what the weight "
            "and the gain did, so it takes their factors over.",
            wrong=_times(lambda w, g, H: 1 / np.tile(g * w, H)),
            also=(
                _times(lambda w, g, H: np.tile(w / g, H)),
                _times(lambda w, g, H: np.tile(g / w, H)),
            ),
        ),
        Mistake(
            key="rows",
            diagnosis="You scale the rows of W_O, its outputs. The heads' "
            "channels are its inputs: scale the columns.",
            wrong=_rows,
        ),
        Mistake(
            key="gain once a head",
            diagnosis="Your factor depends on the number of heads. Each "
            "channel is multiplied by the gain once.",
            wrong=_times(lambda w, g, H: np.tile(w * g**H, H)),
            also=(_times(lambda w, g, H: np.tile(w * g * H, H)),),
        ),
        slip(
            "added",
            "You add the weight and the gain. Each channel was multiplied "
            "by both.",
            folded,
            ("out_weight * np", "out_weight + np"),
            ("gain * norm_weight", "gain + norm_weight"),
        ),
        slip(
            "unchanged",
            "Your matrix is the old one. It has to take over the weight of "
            "the norm and the gain.",
            folded,
            (
                "out_weight * np.tile(gain * norm_weight, H)",
                "out_weight * 1.0",
            ),
        ),
    ),
    hints=(
        "Column j of W_O multiplies channel j of the heads' outputs. By what "
        "was this channel multiplied before?",
        "Channel j belongs to head j // Dv, and is its number j % Dv.",
        "out_weight * np.tile(gain * norm_weight, H), with H = "
        "out_weight.shape[1] // len(norm_weight).",
    ),
)
