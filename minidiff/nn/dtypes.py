"""Errors for weights or inputs of another dtype, in place of PyTorch's."""

from collections import Counter

from torch import Tensor, is_autocast_enabled, nn
from torch.amp import is_autocast_available

from minidiff.nn.plain import is_plain


def check_one_dtype(model: nn.Module) -> None:
    """Raise TypeError, naming a matrix, if matrices have several dtypes.

    Call it after a product has failed: under autocast, and with adapters,
    several dtypes can be right.
    """
    dtypes = {
        name: weight.dtype
        for name, weight in model.named_parameters()
        if weight.ndim > 1 and weight.is_floating_point()
    }
    common = Counter(dtypes.values()).most_common(1)
    for name, dtype in dtypes.items():
        if dtype != common[0][0]:
            raise TypeError(
                f"model: {name} has dtype {dtype}, expected {common[0][0]} as "
                "most weights have: model.to(dtype) casts all of them"
            )


def check_input_dtype(name: str, x: Tensor, first: nn.Module) -> None:
    """Raise TypeError unless x has the dtype of the layer that reads it.

    An adapter, and a layer with hooks or under autocast, may take any.
    """
    # A parametrised layer has another type, and computes its weight.
    if type(first) is not nn.Linear or x.dtype == first.weight.dtype:
        return
    if not is_plain(first, nn.Linear):
        return
    dtype, device = first.weight.dtype, x.device.type
    if not is_autocast_available(device) or not is_autocast_enabled(device):
        raise TypeError(
            f"{name}: got dtype {x.dtype}, expected {dtype} as the weights"
        )
