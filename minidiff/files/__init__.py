"""Files: atomic writes, JSON, named tensors, and where a record comes from."""
