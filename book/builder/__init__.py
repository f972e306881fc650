"""Builder that turns book/ into notebooks; see book/build_notebooks.py."""
