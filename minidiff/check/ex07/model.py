"""Exercise 7.5: the whole model as a class."""

from collections.abc import Callable
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


def _run(
    answer: Callable[[ModelConfig], nn.Module],
    what: str,
    config: ModelConfig,
    tokens: Tensor,
) -> Tensor | tuple[Tensor, ...] | None:
    """Build the model and look at one thing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = answer(config)
        shapes = DecoderLM(config).state_dict()
    with torch.no_grad():
        if model(tokens) is None:
            return None
    _check_names(model, shapes)
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
    sizes = [flat[kind].std() for kind in ("embedding", "matrix")]
    sizes += [flat["norm"].mean(), flat["lambda"].std().round(decimals=1)]
    return torch.stack(sizes).round(decimals=2)


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
    wide = ModelConfig(num_layers=2, num_heads=4, tie_embeddings=False)
    kinds = (("differential", diff), ("plain", plain), ("own head", untied))
    generator = torch.Generator().manual_seed(5)
    rows = torch.randint(11, (2, 7), generator=generator)
    cases = [
        Case(
            name=f"parameters of {', '.join(_PARTS)}: {name}",
            args=("count", config, rows),
        )
        for name, config in kinds
    ]
    cases += [
        Case(
            name="at the start: spread of the embedding, of the matrices, "
            "mean of the norms' weights, spread of lambda's vectors",
            args=("start", wide, rows),
        ),
        Case(
            name="a row of one token: logits, differential",
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
        "Write __init__ first: five things, embedding, blocks, norm, "
        "head and the start of the weights. In forward x goes through "
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
