"""Parsers whose help keeps its line breaks."""

import argparse
from typing import Any


def new_parser(make: Any, **options: Any) -> argparse.ArgumentParser:
    """Call ``make`` with a formatter that keeps the text's line breaks."""
    return make(
        formatter_class=argparse.RawDescriptionHelpFormatter, **options
    )
