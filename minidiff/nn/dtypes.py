"""Errors for weights or inputs of another dtype, in place of PyTorch's."""

from collections import Counter

from torch import Tensor, nn

from minidiff.nn.plain import is_plain
from minidiff.ops.autocast import autocast_dtype


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
    if autocast_dtype(x.device) is None:
        raise TypeError(
            f"{name}: got dtype {x.dtype}, expected {first.weight.dtype} as "
            "the weights"
        )
