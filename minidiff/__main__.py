"""Entry point of ``python -m minidiff`` and ``torchrun -m minidiff``."""

import sys

from minidiff.cli import main

if __name__ == "__main__":
    sys.exit(main())
