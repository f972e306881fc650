"""Models inside the wrappers of torch.compile, DDP and FSDP."""

import torch
from torch import Tensor, nn

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

    A file has the weights of these parts and nothing else, so an adapter or a
    quantised layer would be lost.
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
