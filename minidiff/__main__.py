"""``python -m minidiff``, and so ``torchrun -m minidiff``."""

import sys

from minidiff.cli import main

if __name__ == "__main__":
    sys.exit(main())
