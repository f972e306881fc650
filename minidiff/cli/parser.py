"""Parsers whose help keeps its line breaks."""

import argparse
from typing import Any


def new_parser(make: Any, **options: Any) -> argparse.ArgumentParser:
    """Call ``make``; line breaks of the text are kept as they are written."""
    return make(
        formatter_class=argparse.RawDescriptionHelpFormatter, **options
    )
