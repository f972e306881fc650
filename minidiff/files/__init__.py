"""Files: atomic writes, JSON, named tensors, and provenance of results."""
