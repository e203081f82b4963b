"""Times pcpt against its alternatives: python tools/benchmark.py PART [PART ...|all] [--json FILE]
[--device cpu|cuda] [--threads N] [--repeats N] [--scan FOLDER]. See docs/benchmarks.md. The same as
``pcpt benchmark``."""

import sys

from pcpt.cli import main

if __name__ == "__main__":
    sys.exit(main(["benchmark", *sys.argv[1:]]))
