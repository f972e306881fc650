"""Words for the place that a check runs in: a notebook or a program."""

import sys


def in_notebook() -> bool:
    """Tell whether the code runs in a cell: in Jupyter or IPython."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def run_again() -> str:
    """Return what to do after a change: "run this cell again", or "it"."""
    return "run this cell again" if in_notebook() else "run the check again"
