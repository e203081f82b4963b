"""Reads colour and depth images and trusts none of them: sizes are compared before anything is
decoded, and a damaged file never turns into pixels.

Pillow rather than OpenCV: it gives the size from the header alone, reports truncation, and does not
turn images by their EXIF orientation (intrinsics belong to the pixels as they are stored).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pcpt.data.frame import BrokenFrame

MAX_PIXELS = 1 << 26  # 67 million: a larger header is an accident or a decompression bomb
DEPTH_MODES = ("I;16", "I;16B", "I")  # what Pillow versions call 16-bit greyscale
COLOR_MODES = ("RGB", "L", "P", "RGBA", "LA", "CMYK", "YCbCr")
SATURATED = 65535  # written by several scanners for "no measurement"


class WrongSize(BrokenFrame):
    """An image of another size than its camera's.

    Attributes:
        kind: "colour" or "depth".
        found, expected: (height, width) of the image, and of its camera.
    """

    def __init__(
        self, path: Path, kind: str, found: tuple[int, int], expected: tuple[int, int]
    ) -> None:
        super().__init__(
            f"{kind} image {path} is {found[1]}x{found[0]}, its camera is for "
            f"{expected[1]}x{expected[0]}; re-export the image or correct the camera"
        )
        self.kind, self.found, self.expected = kind, found, expected


def read_color(path: Path, size: tuple[int, int]) -> Tensor:
    """An 8-bit PNG or JPEG as RGB.

    Args:
        path: the file; grey images are repeated over the channels, transparency is dropped.
        size: (height, width) that its camera asks for.

    Returns:
        (3, H, W) uint8, RGB.

    Raises:
        BrokenFrame: missing, damaged, or of another size.
        ValueError: more than 8 bits a channel.
    """
    with _header(path, "colour") as image:
        _check_size(path, "colour", image, size)
        if image.mode not in COLOR_MODES:
            raise ValueError(
                f"colour image {path} holds {image.mode} pixels, expected 8-bit RGB; "
                "is it a depth image? Otherwise convert it to 8 bits"
            )
        pixels = np.array(_decode(path, "colour", image).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def read_depth(path: Path, size: tuple[int, int], scale: float) -> Tensor:
    """A 16-bit PNG as metres.

    Args:
        path: the file; 0 and 65535 are no measurement.
        size: (height, width) that its camera asks for.
        scale: units per metre.

    Returns:
        (H, W) float32, metres, 0 where nothing was measured.

    Raises:
        BrokenFrame: missing, damaged, of another size, or without a single measurement.
        ValueError: not 16 bits.
    """
    with _header(path, "depth") as image:
        _check_depth_mode(path, image)
        _check_size(path, "depth", image, size)
        units = np.array(_decode(path, "depth", image)).astype(np.float32)
    units[units >= SATURATED] = 0
    if not units.any():
        raise BrokenFrame(f"depth image {path}: all pixels are 0 or {SATURATED}, nothing measured")
    return torch.from_numpy(units / np.float32(scale))


def common_size(paths: Sequence[Path], kind: str, sample: int = 9) -> tuple[int, int]:
    """The size most images of a scan have, for layouts whose intrinsics file does not say it.

    Only headers are read, of up to ``sample`` readable files spread over the scan; a few frames of
    another size do not win, they are refused one by one when loaded.

    Args:
        paths: images of one camera.
        kind: "colour" or "depth".
        sample: how many readable headers decide.

    Returns:
        (height, width).

    Raises:
        ValueError: none can be read, or depth is not 16 bits.
    """
    sizes: Counter[tuple[int, int]] = Counter()
    first_error = "there are none"
    for path in _spread(paths, sample):
        try:
            with _header(path, kind) as image:
                if kind == "depth":
                    _check_depth_mode(path, image)
                sizes[image.height, image.width] += 1
        except BrokenFrame as error:
            first_error = str(error) if first_error == "there are none" else first_error
        if sizes.total() == sample:
            break
    if not sizes:
        raise ValueError(f"none of {len(paths)} {kind} images can be read: {first_error}")
    return sizes.most_common(1)[0][0]


def _spread(paths: Sequence[Path], sample: int) -> Iterator[Path]:
    """All paths, ``sample`` evenly spaced ones first."""
    step = max(1, len(paths) // sample)
    for offset in range(step):
        yield from paths[offset::step]


@contextmanager
def _header(path: Path, kind: str) -> Iterator[Image.Image]:
    """The image with its header read and its pixels not yet decoded; depth must be a PNG."""
    if not path.is_file():
        raise BrokenFrame(f"{kind} image {path} does not exist")
    formats = ("PNG",) if kind == "depth" else ("PNG", "JPEG")
    try:
        image = Image.open(path, formats=formats)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BrokenFrame(
            f"{kind} image {path} ({path.stat().st_size} bytes) is not a readable "
            f"{' or '.join(formats)}: {error}"
        ) from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise BrokenFrame(
                f"{kind} image {path} claims {image.width}x{image.height} pixels, more than "
                f"{MAX_PIXELS}; refused before decoding"
            )
        yield image


def _check_size(path: Path, kind: str, image: Image.Image, size: tuple[int, int]) -> None:
    if (image.height, image.width) != size:
        raise WrongSize(path, kind, (image.height, image.width), size)


def _check_depth_mode(path: Path, image: Image.Image) -> None:
    if image.mode not in DEPTH_MODES:
        raise ValueError(
            f"depth image {path} holds {image.mode} pixels of 8 bits or fewer, expected 16-bit "
            "greyscale; 8 bits cannot hold distances, re-export the depth as 16-bit PNG"
        )


def _decode(path: Path, kind: str, image: Image.Image) -> Image.Image:
    """The image with its pixels decoded, complete and with every PNG checksum verified."""
    try:
        if image.format == "PNG":  # loading stops at the last pixel and skips the checksums
            with Image.open(path, formats=("PNG",)) as whole:
                whole.verify()
        image.load()
    except Exception as error:  # damaged data reaches any line of a decoder
        raise BrokenFrame(
            f"{kind} image {path} ({path.stat().st_size} bytes) is damaged: {error}"
        ) from error
    return image
