"""Whether values may be read, and whether new tensors are ordinary ones.

A compiler and a function transform run a program without values, or with the
values of many calls at once. Every decision about that is made here.
"""

import torch
from torch import Tensor
from torch._guards import detect_fake_mode


def is_readable(x: object) -> bool:
    """Tell whether the value of a tensor or number can be read, at no cost.

    Reading a tensor on a GPU makes the program wait for it. A compiler and an
    exporter work with fake tensors and symbolic numbers, and inside a function
    transform (vmap, grad) a tensor has no single value.
    """
    if torch.compiler.is_compiling():
        return False
    if not isinstance(x, Tensor):
        return not isinstance(x, torch.SymInt | torch.SymFloat)
    return (
        type(x) in (Tensor, torch.nn.Parameter)  # no fake or sharded tensor
        and x.device.type == "cpu"
        and not torch._C._functorch.is_functorch_wrapped_tensor(x)
        and not torch._C._len_torch_dispatch_stack()
        and not torch._C._is_tracing()
    )


def is_ordinary(device: torch.device) -> bool:
    """Tell whether a tensor made now may be kept for later calls.

    It may not if it belongs to the caller's mode: a fake tensor, one that a
    function transform wraps, or memory of a CUDA graph that is being captured.
    """
    return not (
        torch.compiler.is_compiling()
        or in_transform()
        or torch._C._len_torch_dispatch_stack()
        or (device.type == "cuda" and torch.cuda.is_current_stream_capturing())
    )


def is_fake(*tensors: Tensor) -> bool:
    """Tell whether tensors, or what a call returns now, have no memory."""
    return detect_fake_mode(tensors) is not None


def may_skip_dispatcher(*given: object) -> bool:
    """Tell whether an operator may run without PyTorch's dispatcher.

    It may if nobody is there whom the dispatcher would tell: no compiler, no
    function transform, no mode, and among the arguments no subclass of Tensor
    and no batch of gradients (``is_grads_batched``).
    """
    return not (
        torch.compiler.is_compiling()
        or in_transform()
        or torch._C._len_torch_dispatch_stack()
    ) and all(
        type(x) in (Tensor, torch.nn.Parameter)
        and not torch._C._functorch.is_legacy_batchedtensor(x)
        for x in given
        if isinstance(x, Tensor)
    )


def in_transform() -> bool:
    """Tell whether a function transform (vmap, grad) or torch.jit records."""
    if torch.compiler.is_compiling():  # which handles transforms itself
        return False
    stack = torch._C._functorch.peek_interpreter_stack()
    return stack is not None or torch._C._is_tracing()


def in_func_gradient() -> bool:
    """Tell whether torch.func.grad, or another derivative of it, records."""
    if torch.compiler.is_compiling():
        return False
    levels = torch._C._functorch.get_interpreter_stack() or ()
    kinds = torch._C._functorch.TransformType
    return any(level.key() in (kinds.Grad, kinds.Jvp) for level in levels)


def is_certain(condition: bool) -> bool:
    """Tell whether a condition on sizes holds whatever the sizes will be.

    In a compiled graph of dynamic lengths, a condition that happens to hold
    for these sizes counts as false, and the graph serves other sizes too.
    """
    if torch.compiler.is_compiling() or isinstance(condition, torch.SymBool):
        # Imported here, because it takes most of a second.
        from torch.fx.experimental.symbolic_shapes import statically_known_true

        return statically_known_true(condition)
    return bool(condition)  # torch.jit.trace has a tensor here
