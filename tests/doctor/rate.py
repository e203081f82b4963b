"""The doctor's confusion table: every fault x seeds on every scan given.

python tests/doctor/rate.py --seeds 10 PATH[,key=value...] [PATH ...]
"""

import argparse
import random
import time
from collections import Counter

import torch
from corruptions import FAULTS, Cached

from pcpt.doctor import VERDICTS, examine, open_scan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scans", nargs="+", metavar="PATH[,key=value...]")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--faults", default=",".join(FAULTS))
    options = parser.parse_args()
    said: Counter[tuple[str, str]] = Counter()
    for words in options.scans:
        path, *settings = words.split(",")
        scan = Cached(open_scan(path, options=settings))
        for fault in options.faults.split(","):
            for seed in range(options.seeds):
                start = time.perf_counter()
                ill = FAULTS[fault](scan, random.Random(f"{fault} {seed}"))
                diagnosis = examine(ill).diagnosis
                said[fault, diagnosis.verdict] += 1
                if diagnosis.verdict != fault:
                    print(f"{scan.name} {fault} seed {seed}: {diagnosis.to_json()}", flush=True)
            print(f"{scan.name} {fault}: last took {time.perf_counter() - start:.1f} s", flush=True)
    verdicts = [verdict for verdict in VERDICTS if any(v == verdict for _, v in said)]
    print("| fault | " + " | ".join(verdicts) + " |")
    print("|---" * (len(verdicts) + 1) + "|")
    for fault in options.faults.split(","):
        row = " | ".join(str(said[fault, verdict] or "") for verdict in verdicts)
        print(f"| {fault} | {row} |")
    right = sum(count for (fault, verdict), count in said.items() if fault == verdict)
    print(f"right: {right} of {said.total()}; torch {torch.__version__}")


if __name__ == "__main__":
    main()
