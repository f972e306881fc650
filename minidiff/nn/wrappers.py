"""Models inside the wrappers of torch.compile, DDP and FSDP."""

import torch
from torch import Tensor, nn

from minidiff.nn.layers import rope_angles
from minidiff.nn.model import DecoderLM

# Names under which wrappers hold what they wrap; no part of a DecoderLM has
# one of these names.
WRAPPERS = {
    "_orig_mod",  # torch.compile
    "module",  # DataParallel, DistributedDataParallel
    "_fsdp_wrapped_module",  # FullyShardedDataParallel
    "_checkpoint_wrapped_module",  # activation checkpointing
}


def unwrapped(model: nn.Module) -> DecoderLM:
    """Return the DecoderLM inside any number of wrappers.

    Raises TypeError if there is none.
    """
    inner: object = model
    while isinstance(inner, nn.Module) and not isinstance(inner, DecoderLM):
        parts = dict(inner.named_children())
        inner = next((parts[name] for name in WRAPPERS & parts.keys()), None)
    if not isinstance(inner, DecoderLM):
        raise TypeError(
            f"model: got {type(model).__name__}, expected a DecoderLM"
        )
    return inner


def named_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters by the names they have without wrappers.

    A tied weight comes once. Parts of the model may be wrapped too.
    """
    parameters = unwrapped(model).named_parameters()
    return {_without_wrappers(name): p for name, p in parameters}


def check_unchanged(model: nn.Module) -> None:
    """Raise ValueError unless every part is what the model's config builds.

    A file has the weights of these parts and nothing else, so an adapter, a
    quantised layer, another lambda_init or scaled positions would be lost.
    """
    inner = unwrapped(model)
    with torch.device("meta"):
        blank = DecoderLM(inner.config)
    built = dict(blank.named_modules())
    parts = {
        _without_wrappers(name): part
        for name, part in inner.named_modules()
        if not WRAPPERS & dict(part.named_children()).keys()
    }
    for name in [*parts, *(built.keys() - parts.keys())]:
        if name and not _alike(parts.get(name), built.get(name)):
            raise ValueError(
                f"model: got {_kind(parts.get(name))} as {name}, expected "
                f"{_kind(built.get(name))} as the model's config says; merge "
                "adapters and undo quantisation first"
            )
    if any(weight.is_meta for weight in inner.parameters()):
        raise ValueError("model: got weights on meta, expected values")
    _check_settings(inner, {n: parts[n] for n in built}, built)
    got, want = (
        {name: tuple(w.shape) for name, w in named_weights(m).items()}
        for m in (inner, blank)
    )
    for name in [*got, *(want.keys() - got.keys())]:
        if got.get(name) != want.get(name):
            raise ValueError(
                f"model: weight {name} has shape {got.get(name)}, expected "
                f"{want.get(name)} as the model's config says (None: no such "
                "weight)"
            )


def _check_settings(
    model: DecoderLM,
    parts: dict[str, nn.Module],
    built: dict[str, nn.Module],
) -> None:
    """Raise ValueError if a part's setting or the positions were changed."""
    for name, part in parts.items():
        for key, want in vars(built[name]).items():
            # "training" is the mode; what begins with "_" is PyTorch's.
            if key[0] == "_" or key == "training" or not _is_plain(want):
                continue
            got = getattr(part, key, None)
            if got != want:
                raise ValueError(
                    f"model: {name}.{key} is {got!r}, expected {want!r} as "
                    "the model's config says: only the weights are saved"
                )
    config = model.config
    tables = rope_angles(config.max_length, config.head_dim, config.rope_base)
    for name, want in zip(("cos", "sin"), tables, strict=True):
        got = getattr(model, name)
        # Tables may have been rounded to 16 bits, as the weights.
        if got.shape != want.shape or not torch.allclose(
            got.to("cpu", want.dtype), want, rtol=0, atol=0.01
        ):
            raise ValueError(
                f"model: {name} has other rotary angles than the model's "
                "config says, expected the same: only the weights are saved"
            )


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str | tuple)


def _kind(part: nn.Module | None) -> str:
    if part is None:
        return "nothing"
    return f"{type(part).__module__}.{type(part).__qualname__}"


def _alike(part: nn.Module | None, built: nn.Module | None) -> bool:
    """Tell whether a part computes what the built one does."""
    if part is None or built is None:
        return False
    # FSDP makes a subclass of a module's class, with the same forward.
    return (
        isinstance(part, type(built))
        and type(part).forward is type(built).forward
    )


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)
