"""Exercise 8.3: does a layer look ahead?"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, rms_norm

from minidiff.check.core import Case, Exercise, Mistake


def is_causal(layer: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    """Whether no output of layer depends on a later token of x (B, T, E).

    layer maps (B, T, E) to (B, T, E). x itself must not be changed.
    """
    before = layer(x)
    for t in range(1, x.shape[1]):
        changed = x.clone()
        changed[:, t:] += torch.randn_like(changed[:, t:])
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


def _only_later(x: Tensor) -> Tensor:
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


def _mean_after_layer_norm(x: Tensor) -> Tensor:
    """Not causal: the mean of all tokens, each of them normalised first.

    Adding one number to all channels of a token, or multiplying them all by
    one number, changes nothing.
    """
    return x + layer_norm(x, x.shape[2:]).square().mean(1, keepdim=True).sin()


def _mean_after_rms_norm(x: Tensor) -> Tensor:
    """Not causal either: here only multiplying changes nothing."""
    return x + rms_norm(x, x.shape[2:]).exp().mean(1, keepdim=True)


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
        ("only later tokens are seen: expected False", _only_later, 4),
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
        (
            "a LayerNorm, then a mean over all tokens: expected False",
            _mean_after_layer_norm,
            5,
        ),
        (
            "an RMSNorm, then a mean over all tokens: expected False",
            _mean_after_rms_norm,
            5,
        ),
    ]
    cases = []
    for seed, (name, layer, T) in enumerate(kinds):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(2, T, 3, generator=generator).double()
        cases.append(Case(name=name, args=(layer, x)))
    return cases


Layer = Callable[[Tensor], Tensor]
Change = Callable[[Tensor], Tensor]


def _noise(x: Tensor) -> Tensor:
    return x + torch.randn_like(x)


def _shift(x: Tensor) -> Tensor:
    return x + 1


def _double(x: Tensor) -> Tensor:
    return x * 2


def _poke(
    layer: Layer, x: Tensor, at: slice, keep: slice, change: Change
) -> bool:
    """Whether outputs `keep` stay when the tokens `at` are changed."""
    changed = x.clone()
    changed[:, at] = change(changed[:, at])
    return torch.allclose(layer(changed)[:, keep], layer(x)[:, keep])


def _everywhere(layer: Layer, x: Tensor, change: Change) -> bool:
    """The right answer but for the change."""
    return all(
        _poke(layer, x, slice(t, None), slice(t), change)
        for t in range(1, x.shape[1])
    )


def _last_only(layer: Layer, x: Tensor, change: Change) -> bool:
    return _poke(layer, x, slice(-1, None), slice(-1), change)


def _all_outputs(layer: Layer, x: Tensor, change: Change) -> bool:
    return _poke(layer, x, slice(-1, None), slice(None), change)


def _later_outputs(layer: Layer, x: Tensor, change: Change) -> bool:
    return _poke(layer, x, slice(1), slice(1, None), change)


def _one_place(layer: Layer, x: Tensor, change: Change) -> bool:
    half = x.shape[1] // 2
    return _poke(layer, x, slice(half, None), slice(half), change)


def _first_output(layer: Layer, x: Tensor, change: Change) -> bool:
    return _poke(layer, x, slice(1, None), slice(1), change)


def _last_left_out(layer: Layer, x: Tensor, change: Change) -> bool:
    return all(
        _poke(layer, x, slice(t, None), slice(t), change)
        for t in range(1, x.shape[1] - 1)
    )


def _neighbour(layer: Layer, x: Tensor, change: Change) -> bool:
    return all(
        _poke(layer, x, slice(t, t + 1), slice(t - 1, t), change)
        for t in range(1, x.shape[1])
    )


def _one_too_far(layer: Layer, x: Tensor, change: Change) -> bool:
    return all(
        _poke(layer, x, slice(t, None), slice(t + 1), change)
        for t in range(1, x.shape[1])
    )


def _in_place(layer: Layer, x: Tensor, change: Change) -> bool:
    before = layer(x)
    for t in range(1, x.shape[1]):
        x[:, t:] = change(x[:, t:])
        if not torch.allclose(layer(x)[:, :t], before[:, :t]):
            return False
    return True


def _backwards(layer: Layer, x: Tensor, change: Change) -> bool:
    return not _everywhere(layer, x, change)


def _with(
    wrong: Callable[[Layer, Tensor, Change], bool], change: Change
) -> Callable[[Layer, Tensor], bool]:
    return lambda layer, x: wrong(layer, x, change)


def _mistake(
    key: str, wrong: Callable[[Layer, Tensor, Change], bool], diagnosis: str
) -> Mistake:
    """A mistake, and the same one made with a weaker change than noise."""
    return Mistake(
        key=key,
        diagnosis=diagnosis,
        wrong=_with(wrong, _noise),
        also=(_with(wrong, _shift), _with(wrong, _double)),
    )


EXERCISE = Exercise(
    id="8.3",
    cases=_cases,
    solution=is_causal,
    mistakes=(
        Mistake(
            key="same number added",
            diagnosis="You add the same number to all channels of a token. A "
            "LayerNorm at the start of a layer subtracts it again, so that "
            "what follows may look ahead unseen. Add noise, another number "
            "for each channel.",
            wrong=_with(_everywhere, _shift),
        ),
        Mistake(
            key="multiplied",
            diagnosis="You multiply a token by a number. A norm at the start "
            "of a layer divides it out again, so that what follows may look "
            "ahead unseen. Add noise, another number for each channel.",
            wrong=_with(_everywhere, _double),
        ),
        Mistake(
            key="tokens reordered",
            diagnosis="You put the later tokens in another order. A mean "
            "over them stays the same, and a single last token has no other "
            "order. Give them new values.",
            wrong=_with(_everywhere, lambda x: x.flip(1)),
        ),
        _mistake(
            "last token only",
            _last_only,
            "You change the last token only. A first token that looks at the "
            "second one goes unseen: change each in turn.",
        ),
        _mistake(
            "all outputs compared",
            _all_outputs,
            "You compare all outputs. The changed token's own output, and "
            "those after it, may change: compare the earlier ones.",
        ),
        _mistake(
            "one output too many",
            _one_too_far,
            "You compare one output too many: the one at t belongs to the "
            "first changed token, and may change. [:, :t] ends before it.",
        ),
        _mistake(
            "later outputs compared",
            _later_outputs,
            "You change an early token and look at later outputs. Those "
            "should change. Change a later token and look at earlier outputs.",
        ),
        _mistake(
            "one place only",
            _one_place,
            "You cut the sequence in one place, in the middle. Only looks "
            "across that cut are seen: try every place.",
        ),
        _mistake(
            "first output only",
            _first_output,
            "You compare the first token's output only, as when the loop "
            "returns in its first round. Others may look ahead too.",
        ),
        _mistake(
            "last token left out",
            _last_left_out,
            "The last token is never changed alone, so a token that looks at "
            "it is not found. range(1, T) runs up to T - 1.",
        ),
        _mistake(
            "neighbour only",
            _neighbour,
            "You compare only the output right before the changed token. A "
            "token may look further ahead: compare all outputs before it.",
        ),
        _mistake(
            "x changed",
            _in_place,
            "You change x itself, so what you compare with is lost, and the "
            "caller's data too. Change a copy: x.clone().",
        ),
        Mistake(
            key="the change is lost",
            diagnosis="You say True to every layer: the changed input, or "
            "the comparison, is never looked at. (Or you change sequences, "
            "axis 0. Tokens are axis 1.)",
            wrong=lambda layer, x: True,
        ),
        _mistake(
            "backwards",
            _backwards,
            "Your answers are the wrong way round: True where a layer looks "
            "ahead.",
        ),
    ),
    hints=(
        "A layer that looks ahead betrays itself: change the future, and "
        "the past changes.",
        "For each t: copy x, add noise to tokens t and later in the copy, and "
        "compare the outputs before t.",
        "changed = x.clone(); changed[:, t:] += torch.randn_like(x[:, t:]); "
        "compare layer(changed)[:, :t] with layer(x)[:, :t], for t from 1 to "
        "T - 1.",
    ),
)
