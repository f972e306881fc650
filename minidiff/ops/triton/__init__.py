"""The fused kernels, in Triton, behind ``backend="triton"``.

The reader's order: softmax.py (the shared step and the mask), tiles.py (how
a block is read), forward.py, backward.py, decode.py. Then the backward pass
again, for Hopper: hopper_copies.py, hopper_keys.py, hopper_queries.py. Then
how they are called: descriptors.py, shapes.py, launch*.py, operator.py.
"""
