"""Makes examples/office, the scan that ships with the repository, from the HoloLens sample sequence
of deep-video-mvs: python examples/make_office.py SOURCE OUTPUT

SOURCE holds images/, depth/, K.txt, poses.txt, frames.txt and LICENSE as described in
docs/data_layout.md under `hololens`. OUTPUT must not exist.
"""

import argparse
import shutil
from pathlib import Path

from pcpt.data.sources.hololens import HoloLens
from pcpt.data.write_scan import write_folder_scan

# The way through the office, about one frame every 70 cm; names are the original frame numbers.
TRAIN_NUMBERS = (3, 15, 23, 31, 39, 47, 55, 63, 71, 83, 103, 115, 127, 135, 147, 159, 167, 175)
# One frame from the middle, and the way back, which sees much of the room from other sides.
HELD_OUT_NUMBERS = (95, 183, 191, 199, 207, 215)
TRAIN = [f"{number:05d}" for number in TRAIN_NUMBERS]
HELD_OUT = [f"{number:05d}" for number in HELD_OUT_NUMBERS]
JPEG_QUALITY = 92

NUM_FRAMES = len(TRAIN) + len(HELD_OUT)

README = f"""# The office scan

{NUM_FRAMES} posed RGB-D frames of an office, 540x360, for `make demo` and the tests.

**Origin.** The sample sequence of deep-video-mvs (https://github.com/ardaduz/deep-video-mvs,
commit fa14288; Duzceker et al., "DeepVideoMVS", CVPR 2021), recorded by its authors with a
Microsoft HoloLens and released with that repository under the MIT licence; `LICENSE` is a copy.

**Changes.** {NUM_FRAMES} of its 373 frames were chosen. Colour was recompressed from PNG to JPEG
(quality {JPEG_QUALITY}, no chroma subsampling). Depth images are the original files, byte for byte.
Poses and intrinsics are the original numbers, in pcpt's `folder` layout (`docs/data_layout.md`).
Names are the original frame numbers. `examples/make_office.py` does all this.

**Held out.** {", ".join(HELD_OUT[1:])} are the later part of the recording, in
which the camera comes back through the room; the last training frame before them is {TRAIN[-1]}.
{HELD_OUT[0]} lies between training frames. `scan.json` marks all {len(HELD_OUT)}.

**What to expect.** Depth is registered to colour; 22 to 56% of its pixels are unmeasured. Where two
frames see the same place, their depths differ by a median of 1.4 cm, in one pair in ten by 8 cm or
more (drift and occlusion). The world's y axis points up; the floor is at y = -1.56 m.
"""


def make_office(source: Path, output: Path) -> None:
    """Writes the chosen frames, their licence and a README into a new folder."""
    (scan,) = HoloLens(HoloLens.Config(roots=[str(source)])).open()
    write_folder_scan(
        output,
        "office",
        (scan.load(name) for name in sorted(TRAIN + HELD_OUT)),
        up=scan.up,
        held_out=HELD_OUT,
        jpeg_quality=JPEG_QUALITY,
        note="HoloLens sample of deep-video-mvs, MIT licence: see README.md and LICENSE",
    )
    for name in TRAIN + HELD_OUT:
        shutil.copyfile(source / "depth" / f"{name}.png", output / "depth" / f"{name}.png")
    shutil.copyfile(source / "LICENSE", output / "LICENSE")
    (output / "README.md").write_text(README, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    make_office(arguments.source, arguments.output)
