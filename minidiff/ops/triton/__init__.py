"""The fused kernels, in Triton, behind ``backend="triton"``.

The reader's order: softmax.py (the shared step and the mask), forward.py,
backward.py, decode.py. Then how they are called: descriptors.py and
shapes.py, launch.py, operator.py.
"""
