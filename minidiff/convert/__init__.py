"""Conversion to and from the model formats of other libraries."""
