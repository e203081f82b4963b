"""Scores runs on held-out frames: python tools/test.py RUN [RUN ...]. The same as ``pcpt test``."""

import sys

from pcpt.cli import main

if __name__ == "__main__":
    sys.exit(main(["test", *sys.argv[1:]]))
