"""The fused kernels, in Triton, behind ``backend="triton"``.

Read kernels/ first, in this order: softmax.py (the shared softmax step and
the mask), tiles.py (loading and storing blocks), forward.py, backward.py and
decode.py. hopper/ contains a second version of the backward pass, for Hopper
GPUs: copies.py, keys.py and queries.py. launch/ calls the kernels. operator.py
and vmap.py register them as PyTorch operators. tuning.py (with shapes.json),
descriptors.py and interpreter.py are used by all of these.
"""
