"""Exercise 4.4: backward through the headwise norm."""

import numpy as np

from minidiff.check.core import Case, Exercise, Mistake
from minidiff.check.imported import own_work
from minidiff.reference import headwise_norm_backward


def through_norm(
    o: np.ndarray, dy: np.ndarray, scale: float, eps: float = 1e-5
) -> np.ndarray:
    """Return do for y = scale * o / sqrt(mean(o^2) + eps).

    o, dy and the result (H, T, Dv); the mean runs over the last axis.
    """
    r = 1 / np.sqrt((o**2).mean(-1, keepdims=True) + eps)
    g = scale * dy
    return r * (g - o * r**2 * (g * o).mean(-1, keepdims=True))


def _cases() -> list[Case]:
    cases = []
    for seed, (H, T, Dv, scale) in enumerate(
        [
            (1, 1, 4, 0.8),
            (3, 3, 3, 0.7),
            (2, 3, 8, 0.5),
            (3, 4, 2, 0.2),
            (2, 3, 1, 0.6),
        ]
    ):
        eps = 1e-4 if seed == 3 else 1e-5
        rng = np.random.default_rng(seed)
        o, dy = rng.normal(size=(2, H, T, Dv))
        o = 0.02 * o  # small enough for eps to matter
        cases.append(
            Case(
                name=f"H = {H}, T = {T}, Dv = {Dv}, scale = {scale}, "
                f"eps = {eps}",
                args=(o, dy, scale, eps),
            )
        )
    return cases


def _like(
    o: np.ndarray,
    dy: np.ndarray,
    scale: float,
    eps: float = 1e-5,
    *,
    power: int = 2,
    times: float = 1.0,
    total: bool = False,
    axes: int | tuple[int, ...] | None = -1,
    inner: float = 1.0,
    front: np.ndarray | float | None = None,
) -> np.ndarray:
    """The gradient with something about its second term changed."""
    r = 1 / np.sqrt((o**2).mean(-1, keepdims=True) + eps)
    g = scale * dy
    product = g * inner * o
    pooled = (product.sum if total else product.mean)(axes, keepdims=True)
    front = o if front is None else front
    return r * (g - times * front * r**power * pooled)


def _own_path(
    o: np.ndarray,
    dy: np.ndarray,
    scale: float,
    eps: float,
    parts: int | None = None,
) -> np.ndarray:
    r = 1 / np.sqrt((o**2).mean(-1, keepdims=True) + eps)
    return scale * dy * (r - o**2 * r**3 / (parts or o.shape[-1]))


def _whole_part(
    o: np.ndarray, dy: np.ndarray, scale: float, eps: float
) -> np.ndarray:
    square = (o**2).mean(-1, keepdims=True)
    along = o * (o * dy).mean(-1, keepdims=True) / square
    return scale * (dy - along) / np.sqrt(square + eps)


def _eps_outside(
    o: np.ndarray, dy: np.ndarray, scale: float, eps: float
) -> np.ndarray:
    r = 1 / (np.sqrt((o**2).mean(-1, keepdims=True)) + eps)
    return scale * r * (dy - o * r**2 * (o * dy).mean(-1, keepdims=True))


def _with_r(
    o: np.ndarray, dy: np.ndarray, scale: float, eps: float, *, power: float
) -> np.ndarray:
    """The gradient with another power of the mean square as r."""
    r = ((o**2).mean(-1, keepdims=True) + eps) ** power
    return scale * r * (dy - o * r**2 * (o * dy).mean(-1, keepdims=True))


def _lost_axis(
    o: np.ndarray,
    dy: np.ndarray,
    scale: float,
    eps: float,
    kept: tuple[bool, bool] = (False, False),
) -> np.ndarray:
    """The axis of one mean, or of both, is not kept."""
    r = 1 / np.sqrt((o**2).mean(-1, keepdims=kept[0]) + eps)
    product = (scale * dy * o).mean(-1, keepdims=kept[1])
    return r * (scale * dy - o * r**2 * product)


def _centred(
    o: np.ndarray, dy: np.ndarray, scale: float, eps: float
) -> np.ndarray:
    out = through_norm(o, dy, scale, eps)
    return out - out.mean(-1, keepdims=True)


def _early(
    o: np.ndarray,
    dy: np.ndarray,
    scale: float,
    eps: float,
    places: tuple[int, int],
) -> np.ndarray:
    """The two means with their lost axis put back at these places."""
    square = np.expand_dims((o**2).mean(-1), places[0])
    product = np.expand_dims((scale * dy * o).mean(-1), places[1])
    r = 1 / np.sqrt(square + eps)
    return r * (scale * dy - o * r**2 * product)


EXERCISE = Exercise(
    id="4.4",
    cases=_cases,
    solution=through_norm,
    run=own_work(headwise_norm_backward),
    mistakes=(
        Mistake(
            key="imported answer",
            diagnosis="You call minidiff's own function. Add over the two "
            "kinds of paths yourself.",
            wrong=lambda o, dy, scale, eps: headwise_norm_backward(
                o, dy, 1.0, scale, eps
            )[0],
        ),
        Mistake(
            key="own eps",
            diagnosis="eps is always 1e-5. It is an argument: use the one "
            "that is given.",
            wrong=lambda o, dy, scale, eps: through_norm(o, dy, scale),
        ),
        Mistake(
            key="r constant",
            diagnosis="You treat r as a constant. It holds o too: the path "
            "through r is missing.",
            wrong=lambda *a: _like(*a, times=0.0),
        ),
        Mistake(
            key="own path",
            diagnosis="Through r, each channel of o reaches only its own "
            "channel of y here. r is shared: it reaches all of them, so a "
            "mean over the channels is needed.",
            wrong=_own_path,
        ),
        Mistake(
            key="own path, no mean",
            diagnosis="r is made of the mean over all channels. Through it a "
            "channel reaches every channel of y, each by a share 1 / Dv: "
            "put a mean over the channels where you have o * dy.",
            wrong=lambda o, dy, scale, eps: _own_path(o, dy, scale, eps, 1),
        ),
        Mistake(
            key="o in front forgotten",
            diagnosis="The second term lacks a factor o: the slope of r in "
            "o_i is -r^3 * o_i / Dv.",
            wrong=lambda o, dy, scale, eps: _like(
                o, dy, scale, eps, front=1.0
            ),
        ),
        Mistake(
            key="sum",
            diagnosis="The second term is Dv times too large: r is made of a "
            "mean, so its slope carries 1 / Dv.",
            wrong=lambda *a: _like(*a, total=True),
        ),
        Mistake(
            key="twice",
            diagnosis="The second term is twice too large. The 2 from the "
            "slope of o^2 cancels the 1/2 from the root.",
            wrong=lambda *a: _like(*a, times=2.0),
        ),
        Mistake(
            key="half",
            diagnosis="The second term is half of what it should be. The "
            "1/2 from the root cancels the 2 from the slope of o^2.",
            wrong=lambda *a: _like(*a, times=0.5),
        ),
        Mistake(
            key="r to the second",
            diagnosis="The second term has r^2 in all. r is a power of -1/2; "
            "its slope is a power of -3/2, which is r^3.",
            wrong=lambda *a: _like(*a, power=1),
        ),
        Mistake(
            key="r to the first",
            diagnosis="The second term has r only once. r is a power of "
            "-1/2; its slope is a power of -3/2, which is r^3.",
            wrong=lambda *a: _like(*a, power=0),
        ),
        Mistake(
            key="sign",
            diagnosis="The second term has the wrong sign. A larger o makes "
            "r smaller.",
            wrong=lambda *a: _like(*a, times=-1.0),
        ),
        Mistake(
            key="axis put back too early",
            diagnosis="[:, None] puts the lost axis back in second place. "
            "It was the last one: keepdims=True, or [..., None].",
            wrong=lambda o, dy, scale, eps: _early(o, dy, scale, eps, (1, 1)),
            also=(
                lambda o, dy, scale, eps: _early(o, dy, scale, eps, (1, -1)),
                lambda o, dy, scale, eps: _early(o, dy, scale, eps, (-1, 1)),
            ),
        ),
        Mistake(
            key="keepdims",
            diagnosis="A mean has lost its last axis, so it does not fit "
            "(H, T, Dv). Use keepdims=True in both means.",
            wrong=_lost_axis,
            also=(
                lambda o, dy, scale, eps: _lost_axis(
                    o, dy, scale, eps, (True, False)
                ),
                lambda o, dy, scale, eps: _lost_axis(
                    o, dy, scale, eps, (False, True)
                ),
            ),
        ),
        Mistake(
            key="everything pooled",
            diagnosis="Your mean runs over heads and tokens too. Each vector "
            "of Dv numbers is normed by itself: axis -1.",
            wrong=lambda *a: _like(*a, axes=None),
        ),
        Mistake(
            key="whole part along o",
            diagnosis="You take off the whole part along o. With eps a "
            "little of it stays: multiply by r^2, which holds eps, in place "
            "of 1 / mean(o^2).",
            wrong=_whole_part,
        ),
        Mistake(
            key="eps outside the root",
            diagnosis="You add eps to the root. It is added to the mean "
            "square, under the root.",
            wrong=_eps_outside,
        ),
        Mistake(
            key="root forgotten",
            diagnosis="r is 1 / (mean square + eps). The norm divides by the "
            "root of it.",
            wrong=lambda *a: _with_r(*a, power=-1.0),
        ),
        Mistake(
            key="r upside down",
            diagnosis="r is the root of the mean square. The norm divides by "
            "it: r = 1 / np.sqrt(...).",
            wrong=lambda *a: _with_r(*a, power=0.5),
        ),
        Mistake(
            key="scale twice",
            diagnosis="scale stands in the result twice. y holds it once.",
            wrong=lambda o, dy, scale, eps: through_norm(o, dy, scale**2, eps),
        ),
        Mistake(
            key="scale dropped",
            diagnosis="scale is not used.",
            wrong=lambda o, dy, scale, eps: through_norm(o, dy, 1.0, eps),
        ),
        Mistake(
            key="scale in one term",
            diagnosis="scale is missing in the second term. It multiplies y, "
            "so it multiplies both paths.",
            wrong=lambda o, dy, scale, eps: _like(
                o, dy, scale, eps, inner=1 / scale
            ),
        ),
        Mistake(
            key="no eps",
            diagnosis="eps is missing. It is added to the mean square, and "
            "these outputs are small enough to show it.",
            wrong=lambda o, dy, scale, eps: through_norm(o, dy, scale, 0.0),
        ),
        Mistake(
            key="mean subtracted",
            diagnosis="You take off the mean of the gradient: that belongs "
            "to LayerNorm, which subtracts a mean on its way forward.",
            wrong=_centred,
        ),
    ),
    hints=(
        "y_j = scale * r * o_j. What is its slope in o_i with r held fixed, "
        "and what is the slope of r in o_i?",
        "r = (mean(o^2) + eps)^(-1/2), so its slope in o_i is -r^3 * o_i / "
        "Dv. Multiply by scale * o_j * dy_j and add over j.",
        "With g = scale * dy: r * g - r**3 * o * m, where m is the mean of "
        "g * o over the last axis, with keepdims=True.",
    ),
)
