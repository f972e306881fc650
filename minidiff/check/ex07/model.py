"""Exercise 7.5: the whole model as a class."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from minidiff.check.core import Case, Exercise
from minidiff.check.ex07.transformer import Transformer
from minidiff.check.ex07.wrong_models import MISTAKES
from minidiff.nn.config import ModelConfig
from minidiff.nn.model import DecoderLM


class NamesError(Exception):
    """Raised if the parameters are not those of ``DecoderLM``."""

    def __init__(self, missing: list[str], extra: list[str]) -> None:
        self.key = tuple(missing), tuple(extra)
        parts = (("no", missing), ("one too many:", extra))
        said = [
            f"{what} {', '.join(names[:3])}" + ", ..." * (len(names) > 3)
            for what, names in parts
            if names
        ]
        super().__init__("the model has " + "; ".join(said))


class ConfigError(Exception):
    """Raised if the model loses its configuration, or part of it."""

    def __init__(self, key: str, text: str) -> None:
        self.key = key
        super().__init__(text)


class RopeError(Exception):
    """Raised if a block is given cosines that do not fit its x."""

    def __init__(self, key: str, text: str) -> None:
        self.key = key
        super().__init__(f"a block got cosines of {text}")


Builder = Callable[[ModelConfig], nn.Module]


def _run(
    answer: Builder,
    what: str,
    config: ModelConfig,
    tokens: Tensor,
) -> Tensor | tuple[Tensor, ...] | None:
    """Build the model and look at one thing.

    Some mistakes raise an error whatever is looked at. So they are named
    also where another mistake comes with them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = answer(config)
    _watch_rope(model, config.head_dim)
    shapes = _expected(config)
    with torch.no_grad():
        if model(tokens) is None:
            return None
    _check_names(model, shapes)
    _check_config(answer, model, config)
    if what == "config":
        return torch.tensor(1)
    if what == "count":
        return _count(model)
    if what == "start":
        return _start(model)
    model.double().load_state_dict(_draw(shapes))
    with torch.no_grad():
        out = model(tokens)
        if what == "logits":
            return out
        other = tokens.clone()
        other[:, -1] = (other[:, -1] + 1) % config.vocab_size
        return (model(other) - out)[:, :-1].abs().amax(-1)


def _watch_rope(model: nn.Module, D: int) -> None:
    """Look at cosines before a block uses them.

    Otherwise an error from inside the block would be all that is seen. A
    model whose blocks are not called is not watched.
    """

    def look(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        given = [*args, *kwargs.values()]
        x = next((y for y in given if isinstance(y, Tensor)), None)
        rope = next((y for y in given if isinstance(y, tuple | list)), None)
        if x is None or not rope or not isinstance(rope[0], Tensor):
            return
        cos, want = rope[0], (x.shape[1], D // 2)
        got = tuple(cos.shape)
        for key, axis in (("width", -1), ("length", -2)):
            if len(got) == 2 and got[axis] != want[axis]:
                raise RopeError(key, f"shape {got}, expected {want}")
        if cos.dtype != x.dtype:
            raise RopeError(
                "dtype", f"dtype {cos.dtype}, expected {x.dtype}, that of x"
            )

    blocks = getattr(model, "blocks", None)
    if isinstance(blocks, nn.Module):
        for block in blocks.children():
            block.register_forward_pre_hook(look, with_kwargs=True)


_ONE: dict[str, Any] = {
    "vocab_size": 11,
    "embed_dim": 16,
    "num_heads": 4,
    "num_layers": 1,
}


def _check_config(
    answer: Builder, model: nn.Module, config: ModelConfig
) -> None:
    """Raise a ConfigError if the configuration is lost or not used."""
    if getattr(model, "config", None) != config:
        raise ConfigError("config", "model.config is not the ModelConfig")

    def same(a: Tensor, b: Tensor) -> bool:
        return torch.allclose(a, b, rtol=1e-9, atol=1e-9)

    row = torch.arange(1, 6)[None]
    usual = _last_logits(answer, row)
    # A model without positions is another mistake.
    ordered = not same(usual, _last_logits(answer, row[:, [1, 0, 2, 3, 4]]))
    if ordered and same(usual, _last_logits(answer, row, rope_base=50.0)):
        raise ConfigError(
            "rope_base", "rope_base 10000 and 50 give the same logits"
        )
    # With empty blocks only the last norm is left to use norm_eps.
    usual = _last_logits(answer, row, ("proj",))
    normed = not same(usual, _last_logits(answer, row, ("proj", "norm.")))
    changed = _last_logits(answer, row, ("proj",), norm_eps=1.0)
    if normed and same(usual, changed):
        raise ConfigError(
            "norm_eps", "the last norm is the same for any norm_eps"
        )


def _last_logits(
    answer: Builder, row: Tensor, zero: tuple[str, ...] = (), **changed: Any
) -> Tensor:
    """Return the last logits of a small model whose weights are drawn.

    Weights with a part of their name in ``zero`` are 0.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        config = ModelConfig(**_ONE | changed)
        model = answer(config).double()
        for name, p in model.named_parameters():
            p.copy_(0.5 * torch.randn_like(p))
            if any(part in name for part in zero):
                p.zero_()
        out: Tensor = model(row)
        return out.flatten()[-config.vocab_size :]


@cache
def _expected(config: ModelConfig) -> dict[str, Tensor]:
    """Return the weights that the model must have, by name."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return DecoderLM(config).state_dict()


def _check_names(model: nn.Module, shapes: dict[str, Tensor]) -> None:
    held = model.state_dict()
    missing = [name for name in shapes if name not in held]
    extra = [name for name in held if name not in shapes]
    if missing or extra:
        raise NamesError(missing, extra)


_PARTS = ("embedding", "attention.", "ffn.", "norm.weight", "head")


def _count(model: nn.Module) -> Tensor:
    """Return the number of parameters of each part in _PARTS."""
    return torch.tensor(
        [
            sum(p.numel() for n, p in model.named_parameters() if part in n)
            for part in _PARTS
        ]
    )


def _start(model: nn.Module) -> Tensor:
    """Return spreads of embedding, matrices, lambda; size of norms."""
    parts: dict[str, list[Tensor]] = {}
    for name, p in model.named_parameters():
        kind = "norm" if "norm" in name else name.split(".")[0]
        kind = "matrix" if "proj" in name or kind == "head" else kind
        kind = "lambda" if "lambda" in name else kind
        parts.setdefault(kind, []).append(p.detach().flatten())
    flat = {kind: torch.cat(found) for kind, found in parts.items()}
    # Coarse, so that two ways to draw the same weights agree.
    spreads = [
        float(f"{flat[kind].std():.1g}") for kind in ("embedding", "matrix")
    ]
    norm = flat["norm"].mean().round(decimals=2)
    return torch.tensor(
        [*spreads, norm, flat["lambda"].std().round(decimals=1)]
    )


def _draw(shapes: dict[str, Tensor]) -> dict[str, Tensor]:
    """Draw weights large enough for every part to be seen."""
    generator = torch.Generator().manual_seed(7)
    return {
        name: torch.randn(like.shape, generator=generator).double()
        * (0.5 if like.ndim == 1 else like.shape[-1] ** -0.5)
        + float("norm" in name)
        for name, like in shapes.items()
    }


def _cases() -> list[Case]:
    small: dict[str, Any] = {"vocab_size": 11, "embed_dim": 16, "num_heads": 4}
    diff = ModelConfig(**small, num_layers=3)
    plain = ModelConfig(**small, num_layers=2, attention="softmax")
    untied = ModelConfig(
        **small,
        num_layers=2,
        tie_embeddings=False,
        ffn_dim=24,
        rope_base=50.0,
        norm_eps=0.1,
    )
    wide = ModelConfig(
        embed_dim=128, num_layers=2, num_heads=4, tie_embeddings=False
    )
    kinds = (("differential", diff), ("plain", plain), ("own head", untied))
    generator = torch.Generator().manual_seed(5)
    rows = torch.randint(11, (2, 7), generator=generator)
    cases = [
        Case(
            name="build a model, run it, and look at model.config",
            args=("config", diff, rows),
        )
    ]
    cases += [
        Case(
            name="number of parameters in embedding, attention, SwiGLU, "
            f"norms and head: {name}",
            args=("count", config, rows),
        )
        for name, config in kinds
    ]
    cases += [
        Case(
            name="before training: standard deviation of the embedding and "
            "of the matrices, mean of the norms' weights, standard deviation "
            "of lambda's vectors",
            args=("start", wide, rows),
        ),
        Case(
            name="logits of a row of one token, differential",
            args=("logits", diff, rows[:, :1]),
        ),
        Case(
            name="the last token is changed: by how much do the logits "
            "before it change?",
            args=("causality", diff, rows),
        ),
    ]
    return cases + [
        Case(name=f"logits, {name}", args=("logits", config, rows))
        for name, config in kinds
    ]


EXERCISE = Exercise(
    id="7.5",
    cases=_cases,
    solution=Transformer,
    run=_run,
    tolerance=1e-5,
    mistakes=MISTAKES,
    hints=(
        "Write __init__ first: six things, the config, embedding, blocks, "
        "norm, head and the start of the weights. In forward x goes through "
        "them in this order; what else does a block ask for?",
        "A block needs its number and, in forward, rope: the cosines and "
        "sines of angles(torch.arange(T), config.head_dim, "
        "config.rope_base), with .to(x). For the start, go through "
        "self.modules() and treat nn.Linear and nn.Embedding alike.",
        "The last line of forward is self.norm(x) @ head.weight.T, where "
        "head is self.embedding if self.head is None. Both nn.RMSNorm "
        "take eps=config.norm_eps.",
    ),
)
