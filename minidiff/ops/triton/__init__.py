"""The fused kernels, in Triton, behind ``backend="triton"``.

Read kernels/ first: softmax.py (the shared step and the mask), tiles.py (how
a block is read), forward.py, backward.py, decode.py. hopper/ holds the
backward pass again, for Hopper: copies.py, keys.py, queries.py. launch/ calls
the kernels; operator.py with vmap.py makes PyTorch operators of them; and
tuning.py (with shapes.json), descriptors.py and interpreter.py serve all.
"""
