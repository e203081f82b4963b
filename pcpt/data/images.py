"""Reads colour and depth images and trusts none of them: sizes are compared before anything is
decoded, and a damaged file never turns into pixels.

Pillow rather than OpenCV: it gives the size from the header alone, reports truncation, and does not
turn images by their EXIF orientation (intrinsics belong to the pixels as they are stored).
"""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pcpt.data.frame import BrokenFrame, NoDepth

MAX_PIXELS = 1 << 26  # 67 million: a larger header is an accident or a decompression bomb
DEPTH_MODES = ("I;16", "I;16B", "I")  # what Pillow versions call 16-bit greyscale
ID_MODES = ("L", *DEPTH_MODES)
COLOR_MODES = ("RGB", "L", "P", "RGBA", "LA", "CMYK", "YCbCr")
COLOR_FORMATS, DEPTH_FORMATS = ("PNG", "JPEG"), ("PNG",)
SATURATED = 65535  # written by several scanners for "no measurement"


class WrongSize(BrokenFrame):
    """An image of another size than its camera's.

    Attributes:
        found, expected: (height, width) of the image, and of its camera.
    """

    def __init__(self, label: str, found: tuple[int, int], expected: tuple[int, int]) -> None:
        super().__init__(
            f"{label} is {found[1]}x{found[0]}, its camera is for {expected[1]}x{expected[0]}; "
            "re-export the image or correct the camera"
        )
        self.found, self.expected = found, expected


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
    pixels = _read_rgb(_File(f"colour image {path}", path, COLOR_FORMATS), size)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def decode_color(data: bytes, origin: str, size: tuple[int, int]) -> np.ndarray:
    """An 8-bit PNG or JPEG that lies in memory, as RGB.

    Args:
        data: the file's bytes.
        origin: where they come from, for messages, such as "of frame 3 of a.sens".
        size: (height, width) that its camera asks for.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        BrokenFrame, ValueError: as ``read_color``.
    """
    return _read_rgb(_File(f"colour image {origin}", data, COLOR_FORMATS), size)


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
    return _read_metres(_File(f"depth image {path}", path, DEPTH_FORMATS), size, scale)


def decode_depth(data: bytes, origin: str, size: tuple[int, int], scale: float) -> Tensor:
    """A 16-bit PNG that lies in memory, as metres.

    Args:
        data: the file's bytes.
        origin: where they come from, for messages.
        size, scale: as for ``read_depth``, as are the result and the errors.
    """
    return _read_metres(_File(f"depth image {origin}", data, DEPTH_FORMATS), size, scale)


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of a colour image, from its header; BrokenFrame if it has none."""
    with _header(_File(f"colour image {path}", path, COLOR_FORMATS)) as image:
        return image.height, image.width


def read_ids(path: Path, size: tuple[int, int]) -> np.ndarray:
    """An image of whole numbers, such as the label of each pixel.

    Args:
        path: an 8- or 16-bit greyscale PNG.
        size: (height, width) of the colour image that it belongs to.

    Returns:
        (H, W) int64.

    Raises:
        BrokenFrame: missing, damaged, or of another size.
        ValueError: not greyscale; colours of classes are no numbers.
    """
    file = _File(f"label image {path}", path, DEPTH_FORMATS)
    with _header(file) as image:
        if image.mode not in ID_MODES:
            raise ValueError(
                f"{file.label} holds {image.mode} pixels, expected 8- or 16-bit greyscale; "
                "pictures of coloured classes cannot be used, export the numbers"
            )
        _check_size(file, image, size)
        return np.array(_decode(file, image)).astype(np.int64)


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
            formats = DEPTH_FORMATS if kind == "depth" else COLOR_FORMATS
            file = _File(f"{kind} image {path}", path, formats)
            with _header(file) as image:
                if kind == "depth":
                    _check_depth_mode(file, image)
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


@dataclass(frozen=True)
class _File:
    """An image file on disk or in memory, and how messages call it."""

    label: str
    content: Path | bytes
    formats: tuple[str, ...]

    @property
    def num_bytes(self) -> int:
        content = self.content
        return len(content) if isinstance(content, bytes) else content.stat().st_size

    def open(self) -> Image.Image:
        content = self.content
        file = io.BytesIO(content) if isinstance(content, bytes) else content
        return Image.open(file, formats=self.formats)


def _read_rgb(file: _File, size: tuple[int, int]) -> np.ndarray:
    with _header(file) as image:
        _check_size(file, image, size)
        if image.mode not in COLOR_MODES or _is_deep(image):
            raise ValueError(
                f"{file.label} holds {'16-bit' if _is_deep(image) else image.mode} pixels, "
                "expected 8-bit RGB; is it a depth image? Otherwise convert it to 8 bits"
            )
        return np.array(_decode(file, image).convert("RGB"))


def _is_deep(image: Image.Image) -> bool:
    """Whether a colour image, not yet decoded, has 16 bits a channel, of which Pillow would keep
    the higher eight without a word."""
    return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def _read_metres(file: _File, size: tuple[int, int], scale: float) -> Tensor:
    with _header(file) as image:
        _check_depth_mode(file, image)
        _check_size(file, image, size)
        units = np.array(_decode(file, image)).astype(np.float32)
    units[units >= SATURATED] = 0
    if not units.any():
        raise NoDepth(f"{file.label}: all pixels are 0 or {SATURATED}, nothing measured")
    return torch.from_numpy(units / np.float32(scale))


@contextmanager
def _header(file: _File) -> Iterator[Image.Image]:
    """The image with its header read and its pixels not yet decoded."""
    if isinstance(file.content, Path) and not file.content.is_file():
        raise BrokenFrame(f"{file.label} does not exist")
    try:
        image = file.open()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BrokenFrame(
            f"{file.label} ({file.num_bytes} bytes) is not a readable "
            f"{' or '.join(file.formats)}: {error}"
        ) from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise BrokenFrame(
                f"{file.label} claims {image.width}x{image.height} pixels, more than "
                f"{MAX_PIXELS}; refused before decoding"
            )
        yield image


def _check_size(file: _File, image: Image.Image, size: tuple[int, int]) -> None:
    if (image.height, image.width) != size:
        raise WrongSize(file.label, (image.height, image.width), size)


def _check_depth_mode(file: _File, image: Image.Image) -> None:
    if image.mode not in DEPTH_MODES:
        raise ValueError(
            f"{file.label} holds {image.mode} pixels of 8 bits or fewer, expected 16-bit "
            "greyscale; 8 bits cannot hold distances, re-export the depth as 16-bit PNG"
        )


def _decode(file: _File, image: Image.Image) -> Image.Image:
    """The image with its pixels decoded, complete and with every PNG checksum verified."""
    try:
        if image.format == "PNG":  # loading stops at the last pixel and skips the checksums
            with file.open() as whole:
                whole.verify()
        image.load()
    except Exception as error:  # damaged data reaches any line of a decoder
        raise BrokenFrame(f"{file.label} ({file.num_bytes} bytes) is damaged: {error}") from error
    return image
