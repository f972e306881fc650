"""Exercise 7.2: the order of things in a layer."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.check.core import Case, Exercise, Mistake

Part = Callable[[Tensor], Tensor]


def one_layer(
    x: Tensor, norm1: Part, attention: Part, norm2: Part, ffn: Part
) -> Tensor:
    """Return the output (B, T, E) of one pre-norm layer for x (B, T, E).

    norm1, attention, norm2 and ffn are functions from (B, T, E) to the same.
    """
    y = x + attention(norm1(x))
    return y + ffn(norm2(y))


def _parts(E: int, generator: torch.Generator) -> tuple[Part, ...]:
    """Four functions no two of which commute."""
    W1, W2, g1, g2 = (
        torch.randn(n, E, generator=generator, dtype=torch.float64)
        for n in (E, E, 1, 1)
    )

    def norm(x: Tensor, g: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * g[0]

    def attention(x: Tensor) -> Tensor:
        seen = 1 + torch.arange(x.shape[1])[:, None]
        return x.cumsum(1) / seen @ W1

    return (
        lambda x: norm(x, g1),
        attention,
        lambda x: norm(x, g2),
        lambda x: (x @ W2).tanh(),
    )


def _cases() -> list[Case]:
    cases = []
    for seed, (B, T, E) in enumerate([(1, 1, 3), (2, 5, 4), (1, 7, 2)]):
        generator = torch.Generator().manual_seed(seed)
        x = 3 * torch.randn(B, T, E, generator=generator, dtype=torch.float64)
        cases.append(
            Case(
                name=f"B = {B}, T = {T}, E = {E}",
                args=(x, *_parts(E, generator)),
            )
        )
    return cases


def _post(x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part) -> Tensor:
    y = n1(x + attention(x))
    return n2(y + ffn(y))


def _after_part(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    y = x + n1(attention(x))
    return y + n2(ffn(y))


def _no_sum(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    return ffn(n2(attention(n1(x))))


def _normed_stream(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    x = n1(x)
    y = n2(x + attention(x))
    return y + ffn(y)


def _parallel(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    return x + attention(n1(x)) + ffn(n2(x))


def _x_again(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    return x + ffn(n2(x + attention(n1(x))))


def _no_norms(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    y = x + attention(x)
    return y + ffn(y)


def _no_second_norm(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    y = x + attention(n1(x))
    return y + ffn(y)


def _ffn_not_added(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    return ffn(n2(x + attention(n1(x))))


def _attention_not_added(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    y = attention(n1(x))
    return y + ffn(n2(y))


def _attention_not_added_then_x(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    return x + ffn(n2(attention(n1(x))))


def _attention_read_alone(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    y = attention(n1(x))
    return x + y + ffn(n2(y))


def _first_normed(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    x = n1(x)
    y = x + attention(x)
    return y + ffn(n2(y))


def _last_normed(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    y = x + attention(n1(x))
    return n2(y + ffn(y))


def _x_twice(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    y = x + attention(n1(x))
    return x + y + ffn(n2(y))


def _norms_swapped(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    return one_layer(x, n2, attention, n1, ffn)


def _norm1_twice(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    return one_layer(x, n1, attention, n1, ffn)


def _norm2_twice(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    return one_layer(x, n2, attention, n2, ffn)


def _attention_alone(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    return x + attention(n1(x))


def _ffn_alone(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    return x + ffn(n2(x))


def _ffn_first(
    x: Tensor, n1: Part, attention: Part, n2: Part, ffn: Part
) -> Tensor:
    return one_layer(x, n2, ffn, n1, attention)


EXERCISE = Exercise(
    id="7.2",
    cases=_cases,
    solution=one_layer,
    mistakes=(
        Mistake(
            key="post-norm",
            diagnosis="You normalise after adding: post-norm. Here a norm "
            "stands before each part, and the sum is left as it is.",
            wrong=_post,
            also=(_last_normed,),
        ),
        Mistake(
            key="norm after the part",
            diagnosis="You normalise what a part gives back. The norm comes "
            "first: the part reads normalised numbers.",
            wrong=_after_part,
        ),
        Mistake(
            key="nothing added",
            diagnosis="The parts follow each other and nothing is added to "
            "x. Each part's output is added to what came in.",
            wrong=_no_sum,
        ),
        Mistake(
            key="the stream normalised",
            diagnosis="You add to the normalised x. Only the part reads it "
            "normalised; the sum starts from x itself.",
            wrong=_normed_stream,
            also=(_first_normed,),
        ),
        Mistake(
            key="both from x",
            diagnosis="The feed-forward part reads x. It comes after "
            "attention and reads the sum y = x + attention.",
            wrong=_parallel,
        ),
        Mistake(
            key="x instead of y",
            diagnosis="At the end you add to x, and so attention's own "
            "contribution is lost. Add to y = x + attention.",
            wrong=_x_again,
        ),
        Mistake(
            key="no norms",
            diagnosis="No norm is used: both parts read the bare sum.",
            wrong=_no_norms,
        ),
        Mistake(
            key="second norm missing",
            diagnosis="The feed-forward part reads the bare sum: norm2 is "
            "not used.",
            wrong=_no_second_norm,
        ),
        Mistake(
            key="ffn not added",
            diagnosis="The last sum is missing: what ffn gives back is added "
            "to y = x + attention.",
            wrong=_ffn_not_added,
        ),
        Mistake(
            key="attention not added",
            diagnosis="The first sum is missing: ffn reads attention's "
            "output alone. It reads y = x + attention.",
            wrong=_attention_not_added,
            also=(_attention_not_added_then_x, _attention_read_alone),
        ),
        Mistake(
            key="x added twice",
            diagnosis="x is in the result twice. y = x + attention holds it "
            "already; add only ffn's output to y.",
            wrong=_x_twice,
        ),
        Mistake(
            key="wrong norm",
            diagnosis="A part reads through the other part's norm. norm1 "
            "stands before attention, norm2 before ffn.",
            wrong=_norms_swapped,
            also=(_norm1_twice, _norm2_twice),
        ),
        Mistake(
            key="one part only",
            diagnosis="Only one of the two parts is used. Attention comes "
            "first, then ffn reads what attention's sum gave.",
            wrong=_attention_alone,
            also=(_ffn_alone,),
        ),
        Mistake(
            key="ffn first",
            diagnosis="ffn comes before attention. Attention is first.",
            wrong=_ffn_first,
        ),
    ),
    hints=(
        "There are two sums. What is added in each, and to what?",
        "Each part reads its input through its norm. What it gives is added "
        "to the input as it was before the norm.",
        "y = x + attention(norm1(x)), and the same once more with y, norm2 "
        "and ffn.",
    ),
)
