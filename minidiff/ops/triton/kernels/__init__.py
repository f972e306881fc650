"""Triton kernels that run on every supported GPU."""
