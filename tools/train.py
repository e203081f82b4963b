"""Trains a run: python tools/train.py CONFIG [CONFIG ...] [key=value ...] [--resume auto|PATH]
[--dry-run]. Several configs merge left to right. The same as ``pcpt train``."""

import sys

from pcpt.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
