"""Writes the report of a run: python tools/visualize.py RUN. The same as ``pcpt visualize``."""

import sys

from pcpt.cli import main

if __name__ == "__main__":
    sys.exit(main(["visualize", *sys.argv[1:]]))
