"""Exercise 8.3: does a layer look ahead?"""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake


def is_causal(layer: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    """Whether no output of layer depends on a later token of x (B, T, E).

    layer maps (B, T, E) to (B, T, E). x itself must not be changed.
    """
    before = layer(x)
    for t in range(1, x.shape[1]):
        changed = x.clone()
        changed[:, t:] += 1
        if not torch.allclose(layer(changed)[:, :t], before[:, :t]):
            return False
    return True


# Layers to try it on. They are nonlinear, so that no change can cancel.
def _running(x: Tensor) -> Tensor:
    """Causal: the mean of all tokens so far."""
    count = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)
    return (x.cumsum(1) / count[:, None]).tanh()


def _alone(x: Tensor) -> Tensor:
    """Causal: each token by itself."""
    return x.sin() * x


def _everything(x: Tensor) -> Tensor:
    """Not causal: the mean of all tokens."""
    return x + (x + x.square() / 5).mean(1, keepdim=True)


def _backwards(x: Tensor) -> Tensor:
    """Not causal: the mean of all tokens to come."""
    return _running(x.flip(1)).flip(1)


def _next(x: Tensor) -> Tensor:
    """Not causal: each token sees the next one, as an edge off by one."""
    return x + torch.cat([x[:, 1:], x[:, -1:]], 1).sin()


def _first_sees_second(x: Tensor) -> Tensor:
    """Not causal: the first token sees the second, and nothing else."""
    y = _running(x)
    if x.shape[1] > 1:
        y = torch.cat([y[:, :1] + x[:, 1:2].sin(), y[:, 1:]], 1)
    return y


def _first_sees_last(x: Tensor) -> Tensor:
    """Not causal: the first token sees the last one."""
    y = _running(x)
    return torch.cat([y[:, :1] + x[:, -1:].sin(), y[:, 1:]], 1)


def _last_but_one_sees_last(x: Tensor) -> Tensor:
    """Not causal: the last token but one sees the last one."""
    y = _running(x)
    peek = y[:, -2:-1] + x[:, -1:].sin()
    return torch.cat([y[:, :-2], peek, y[:, -1:]], 1)


def _third_sees_fourth(x: Tensor) -> Tensor:
    """Not causal: the third token sees the fourth, and nothing else."""
    y = _running(x)
    if x.shape[1] > 3:  # an answer may cut x short
        peek = y[:, 2:3] + x[:, 3:4].sin()
        y = torch.cat([y[:, :2], peek, y[:, 3:]], 1)
    return y


def _cases() -> list[Case]:
    kinds = [
        ("each token alone: expected True", _alone, 5),
        ("a running mean: expected True", _running, 6),
        ("a single token: expected True", _running, 1),
        ("a mean over all tokens: expected False", _everything, 6),
        ("only later tokens are seen: expected False", _backwards, 4),
        ("each token sees the next: expected False", _next, 5),
        ("the first token sees the last: expected False", _first_sees_last, 5),
        (
            "the last token but one sees the last: expected False",
            _last_but_one_sees_last,
            6,
        ),
        (
            "the first token sees the second: expected False",
            _first_sees_second,
            6,
        ),
        (
            "the third token sees the fourth: expected False",
            _third_sees_fourth,
            6,
        ),
    ]
    cases = []
    for seed, (name, layer, T) in enumerate(kinds):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(2, T, 3, generator=generator).double()
        cases.append(Case(name=name, args=(layer, x)))
    return cases


def _poke(
    layer: Callable[[Tensor], Tensor], x: Tensor, at: slice, keep: slice
) -> bool:
    """Whether outputs `keep` stay when the tokens `at` are changed."""
    changed = x.clone()
    changed[:, at] += 1
    return torch.allclose(layer(changed)[:, keep], layer(x)[:, keep])


def _in_place(layer: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    before = layer(x)
    for t in range(1, x.shape[1]):
        x[:, t:] += 1
        if not torch.allclose(layer(x)[:, :t], before[:, :t]):
            return False
    return True


EXERCISE = Exercise(
    id="8.3",
    cases=_cases,
    solution=is_causal,
    mistakes=(
        Mistake(
            key="last token only",
            diagnosis="You change the last token only. A first token that "
            "looks at the second one goes unseen: change each in turn.",
            wrong=lambda layer, x: _poke(
                layer, x, slice(-1, None), slice(None, -1)
            ),
        ),
        Mistake(
            key="all outputs compared",
            diagnosis="You compare all outputs. The changed token's own "
            "output, and those after it, may change: compare the earlier "
            "ones.",
            wrong=lambda layer, x: _poke(
                layer, x, slice(-1, None), slice(None)
            ),
        ),
        Mistake(
            key="later outputs compared",
            diagnosis="You change an early token and look at later outputs. "
            "Those should change. Change a later token and look at earlier "
            "outputs.",
            wrong=lambda layer, x: _poke(
                layer, x, slice(0, 1), slice(1, None)
            ),
        ),
        Mistake(
            key="one place only",
            diagnosis="You cut the sequence in one place, in the middle. "
            "Only looks across that cut are seen: try every place.",
            wrong=lambda layer, x: _poke(
                layer,
                x,
                slice(x.shape[1] // 2, None),
                slice(None, x.shape[1] // 2),
            ),
        ),
        Mistake(
            key="first output only",
            diagnosis="You compare the first token's output only, as when "
            "the loop returns in its first round. Others may look ahead too.",
            wrong=lambda layer, x: _poke(
                layer, x, slice(1, None), slice(0, 1)
            ),
        ),
        Mistake(
            key="last token left out",
            diagnosis="The last token is never changed alone, so nobody "
            "sees who looks at it. range(1, T) runs up to T - 1.",
            wrong=lambda layer, x: all(
                _poke(layer, x, slice(t, None), slice(0, t))
                for t in range(1, x.shape[1] - 1)
            ),
        ),
        Mistake(
            key="neighbour only",
            diagnosis="You compare only the output right before the changed "
            "token. A token may look further ahead: compare all outputs "
            "before it.",
            wrong=lambda layer, x: all(
                _poke(layer, x, slice(t, t + 1), slice(t - 1, t))
                for t in range(1, x.shape[1])
            ),
        ),
        Mistake(
            key="x changed",
            diagnosis="You change x itself, so what you compare with is "
            "lost, and the caller's data too. Change a copy: x.clone().",
            wrong=_in_place,
        ),
        Mistake(
            key="the change is lost",
            diagnosis="You say True to every layer: the changed input, or "
            "the comparison, is never looked at. (Or you change sequences, "
            "axis 0. Tokens are axis 1.)",
            wrong=lambda layer, x: True,
        ),
        Mistake(
            key="backwards",
            diagnosis="Your answers are the wrong way round: True where a "
            "layer looks ahead.",
            wrong=lambda layer, x: not is_causal(layer, x),
        ),
    ),
    hints=(
        "A layer that looks ahead betrays itself: change the future, and "
        "the past changes.",
        "For each t: copy x, change tokens t and later in the copy, and "
        "compare the outputs before t.",
        "changed = x.clone(); changed[:, t:] += 1; compare "
        "layer(changed)[:, :t] with layer(x)[:, :t], for t from 1 to T - 1.",
    ),
)
