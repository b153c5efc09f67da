"""`python -m penstock` is the command line, for environments whose scripts are not on PATH."""

import sys

from penstock.tools.cli import main

if __name__ == "__main__":
    sys.exit(main())
