"""Launchers: they choose block shapes and call the kernels."""
