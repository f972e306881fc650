"""Gluon kernels of the backward pass for Hopper, with specialised warps."""
