"""Exports a run's student: python tools/export.py RUN_OR_CHECKPOINT OUT. The same as ``pcpt
export``."""

import sys

from pcpt.cli import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
