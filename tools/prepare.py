"""Makes checked folder scans of recordings: python tools/prepare.py SOURCE IN OUT [--every N]
[--size HxW] [--max-depth M] [--jobs N] [--shards MB] [key=value]. The same as ``pcpt prepare``."""

import sys

from pcpt.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", *sys.argv[1:]]))
